#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What each role may do, and what not; audit and upkeep.
. tests/db/database.sh
db_test roles
ctl db migrate >/dev/null || exit 1
ctl apply -f tests/lab/lab.json >/dev/null || exit 1
is "roles are made" "$(sql "SELECT geostream.grant_roles()")" ""
sql "CREATE ROLE an_edge LOGIN IN ROLE geostream_edge; CREATE ROLE an_operator LOGIN IN ROLE geostream_operator;
	CREATE ROLE a_reader LOGIN IN ROLE geostream_readonly; CREATE ROLE nobody LOGIN"

as() { # ROLE STATEMENT
	"$PSQL" "${DATABASE/user=geostream/user=$1}" -X -q -A -t -v ON_ERROR_STOP=1 -c "$2" >"$TAP_WORK/out" 2>&1
}
denied() { # ROLE STATEMENT
	! as "$1" "$2" && grep -qE 'permission denied|must be owner' "$TAP_WORK/out"
}

while IFS='|' read -r edge operator reader statement; do
	for pair in "an_edge $edge" "an_operator $operator" "a_reader $reader" "nobody no"; do
		read -r role may <<<"$pair"
		if [[ $may == yes ]]; then
			ok "$role may: $statement" as "$role" "BEGIN; $statement; ROLLBACK"
		else
			ok "$role may not: $statement" denied "$role" "BEGIN; $statement; ROLLBACK"
		fi
	done
done <<'ROWS'
yes|yes|yes|SELECT count(*) FROM geostream.regions
yes|yes|yes|SELECT count(*) FROM geostream.transitions
yes|yes|yes|SELECT count(*) FROM geostream.audit
no|yes|no|UPDATE geostream.regions SET cost = 9 WHERE name = 'eu'
no|yes|no|INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('sa', 1, 1)
no|yes|no|DELETE FROM geostream.backends WHERE name = 'eu-1'
no|yes|no|DELETE FROM geostream.policy_regions WHERE position = 3
no|yes|no|INSERT INTO geostream.access VALUES ('192.0.2.0/24', NULL, 'deny')
no|yes|no|INSERT INTO geostream.fences (place, regions) VALUES ('country:DE', '{1}')
no|yes|no|INSERT INTO geostream.overrides (place, region) VALUES ('country:DE', 1)
no|yes|no|INSERT INTO geostream.overrides (asn, region) VALUES (64500, 1)
no|yes|no|UPDATE geostream.policies SET kind = 'ranked', rank = '{latency,cost}', band_ms = 20
no|yes|no|UPDATE geostream.backends SET forward = 'nat', port = 80, admin = 'drain', drain_until = now() WHERE name = 'eu-1'
no|yes|no|INSERT INTO geostream.breaker_forces (service, region, state, expires_at) VALUES ('web', 'eu', 'open', now() + interval '1 hour')
no|yes|no|INSERT INTO geostream.overlays (region, admin) VALUES ('eu', 'drain')
no|yes|no|INSERT INTO geostream.overlays (backend, edge, admin) VALUES ('eu-1', 'e', 'auto') ON CONFLICT DO NOTHING
yes|no|no|INSERT INTO geostream.transitions (edge, run, number, at, kind, from_state, to_state) VALUES ('e', 1, 1, now(), 'region', '', '')
yes|no|no|INSERT INTO geostream.probe_minutes (minute, edge, service, region, backend, probes, failures) VALUES (now(), 'e', 's', 'r', 'b', 1, 0)
yes|no|no|INSERT INTO geostream.breaker_states (edge, service, region, state, saved_at) VALUES ('e', 's', 'r', 'open', now())
yes|no|no|INSERT INTO geostream.latency_samples (edge, place, region, samples, rtt_us, model_us, at) VALUES ('e', 'cell:DE/52,13', 'eu', 1, 1, 1, now())
yes|no|no|DELETE FROM geostream.latency_samples
yes|no|no|SELECT geostream.publish_latency('e', geostream.take_latency_turn('e', 10000), '[{"place":"country:DE","region":1,"us":1,"samples":1}]')
no|no|no|INSERT INTO geostream.latency_estimates (place, region, us, samples) VALUES ('country:DE', 1, 1, 1)
no|no|no|UPDATE geostream.latency_turn SET epoch = 9
yes|no|no|INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second) VALUES ('e', 'eu', '{eu,us}', 4, 1)
yes|no|no|DELETE FROM geostream.edge_demand
yes|yes|yes|SELECT * FROM geostream.demand
no|yes|no|UPDATE geostream.services SET limit_priority = 7
yes|no|no|INSERT INTO geostream.edges (name, version) VALUES ('e', 'v'); INSERT INTO geostream.votes VALUES ('e', 0, 1, 'up', 1); DELETE FROM geostream.votes
no|yes|no|UPDATE geostream.quorum SET down_permille = 660
no|no|no|DELETE FROM geostream.quorum
yes|yes|yes|SELECT count(*) FROM geostream.votes, geostream.quorum
yes|yes|no|SELECT geostream.maintain()
no|no|no|DELETE FROM geostream.transitions
no|no|no|UPDATE geostream.audit SET actor = 'somebody else'
no|no|no|INSERT INTO geostream.audit (revision, actor, role, kind, name, after) VALUES (1, 'a', 'b', 'region', 'c', '{}')
no|no|no|TRUNCATE geostream.audit
no|no|no|SELECT geostream.note_change('region', 'eu', '{}', NULL)
yes|yes|yes|SELECT done_at FROM geostream.upkeep
no|no|no|UPDATE geostream.upkeep SET done_at = now()
no|no|no|UPDATE geostream.retention SET keep_days = 1
no|no|no|DROP TABLE geostream.regions
no|no|no|CREATE TABLE geostream.mine (x int)
ROWS

# ---- through the commands ----------------------------------------------------------------------
as_ctl() { # ROLE ARGUMENT...
	GEOSTREAM_DATABASE=${DATABASE/user=geostream/user=$1} "$BUILD/geostreamctl" "${@:2}"
}
ok "an operator changes a region" as_ctl an_operator --actor alice region set eu cost=3
is "audited with actor and role" "$(sql "SELECT actor || ' ' || role FROM geostream.audit ORDER BY id DESC LIMIT 1")" "alice an_operator"
ok "a policy's order" as_ctl an_operator policy set nearest order=us,eu
ok "a new backend" as_ctl an_operator backend add eu-9 service=web region=eu address=10.1.0.99
refuses "a reader does not" as_ctl a_reader region set eu cost=4
ok "a reader lists" as_ctl a_reader region list
ok "an operator changes the quorum's rule" as_ctl an_operator --actor alice quorum set down_permille=660
is "audited" "$(sql "SELECT concat_ws(' ', actor, role, kind, name, before, after) FROM geostream.audit ORDER BY id DESC LIMIT 1")" \
	'alice an_operator quorum rule {"down_permille": 500} {"down_permille": 660}'
for role in an_edge a_reader; do
	ok "$role sees it" as_ctl "$role" quorum show
	like "$role does not change it" "$(as_ctl "$role" quorum set down_permille=700 2>&1)" 'permission denied for table'
	ok "nor does $role by itself" denied "$role" "UPDATE geostream.quorum SET down_permille = 700"
done
is "it is as it was" "$(as_ctl a_reader -j quorum show | jq .down_permille)" 660

# ---- the audit ---------------------------------------------------------------------------------
last() {
	sql "SELECT concat_ws(' ', kind, name, before ->> '$1', '->', after ->> '$1') FROM geostream.audit ORDER BY id DESC LIMIT 1"
}
ok "an operator fences" as_ctl an_operator fence add country:DE@web eu,us unknown=fenced
is "which is audited by names" "$(last regions)" 'fence country:DE@web -> ["eu", "us"]'
ok "an override of a place" as_ctl an_operator override add continent:AS us
is "is named by it" "$(last region)" 'override continent:AS -> us'
ok "a rank and weights" as_ctl an_operator policy set nearest rank=latency,weight weight=eu:70
is "are a policy's, in one row" "$(last order)" 'policy nearest ["us", "eu"] -> ["us", "eu weight 70"]'
is "with its rank" "$(last rank)" 'policy nearest [] -> ["latency", "weight"]'
ok "taken back" as_ctl an_operator policy set nearest kind=geo weight=eu:100
sql "UPDATE geostream.regions SET capacity = 5 WHERE name = 'us'"
is "psql is audited too" "$(last capacity)" "region us 0 -> 5"
sql "BEGIN; DELETE FROM geostream.policy_regions; INSERT INTO geostream.policy_regions VALUES (1, 1, 3), (1, 2, 1); COMMIT"
is "an order is its policy's, one row a transaction" "$(last order)" 'policy nearest ["us", "eu"] -> ["ap", "eu"]'
count=$(sql "SELECT count(*) FROM geostream.audit")
sql "BEGIN; UPDATE geostream.regions SET cost = 77; UPDATE geostream.regions SET cost = 3 WHERE name = 'eu'; ROLLBACK"
sql "BEGIN; UPDATE geostream.regions SET capacity = 6 WHERE name = 'us'; UPDATE geostream.regions SET capacity = 5 WHERE name = 'us'; COMMIT"
is "what is taken back leaves no row" "$(sql "SELECT count(*) FROM geostream.audit")" "$count"
sql "TRUNCATE geostream.overrides; INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 1); TRUNCATE geostream.overrides"
is "TRUNCATE is audited" "$(sql "SELECT string_agg(CASE WHEN after IS NULL THEN 'removed' ELSE 'added' END, ' ' ORDER BY id) FROM geostream.audit WHERE name = '203.0.113.0/24'")" ""
sql "INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 1)"
sql "TRUNCATE geostream.overrides"
is "in transactions of their own" "$(sql "SELECT string_agg(CASE WHEN after IS NULL THEN 'removed' ELSE 'added' END, ' ' ORDER BY id) FROM geostream.audit WHERE name = '203.0.113.0/24'")" "added removed"

# ---- upkeep ------------------------------------------------------------------------------------
partitions() {
	sql "SELECT count(*) FROM pg_inherits WHERE inhparent = 'geostream.$1'::regclass"
}
before=$(partitions probe_minutes)
sql "SELECT geostream.make_partition(r, now() - interval '40 days') FROM geostream.retention r WHERE history = 'probe_minutes'"
is "an old partition" "$(partitions probe_minutes)" $((before + 1))
sql "INSERT INTO geostream.probe_minutes (minute, edge, service, region, backend, probes, failures) VALUES
	(now() - interval '40 days', 'e', 's', 'r', 'b', 1, 0), (now() + interval '20 days', 'e', 's', 'r', 'b', 1, 0),
	(now() - interval '30 days', 'e', 's', 'r', 'b', 1, 0)"
is "strays wait in the default one" "$(sql "SELECT count(*) FROM geostream.probe_minutes_default")" 2
"$PSQL" "$DATABASE" -X -q -c "SELECT geostream.maintain()" >/dev/null &
"$PSQL" "$DATABASE" -X -q -c "SELECT geostream.maintain()" >/dev/null
wait $!
is "what is old is gone, whole and stray" "$(sql "SELECT count(*) FROM geostream.probe_minutes WHERE minute < now()")" 0
is "with its partition" "$(partitions probe_minutes)" "$before"
sql "SELECT geostream.make_partition(r, now() + interval '20 days') FROM geostream.retention r WHERE history = 'probe_minutes'"
is "a stray moves into its partition" "$(sql "SELECT count(*) FROM geostream.probe_minutes_default") $(sql "SELECT count(*) FROM geostream.probe_minutes")" "0 1"
done_testing
