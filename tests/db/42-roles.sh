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
no|yes|no|UPDATE geostream.backends SET forward = 'nat', port = 80, admin = 'drain', drain_until = now() WHERE name = 'eu-1'
no|yes|no|INSERT INTO geostream.breaker_forces (service, region, state, expires_at) VALUES ('web', 'eu', 'open', now() + interval '1 hour')
yes|no|no|INSERT INTO geostream.transitions (edge, run, number, at, kind, from_state, to_state) VALUES ('e', 1, 1, now(), 'region', '', '')
yes|no|no|INSERT INTO geostream.probe_minutes (minute, edge, service, region, backend, probes, failures) VALUES (now(), 'e', 's', 'r', 'b', 1, 0)
yes|no|no|INSERT INTO geostream.breaker_states (edge, service, region, state, saved_at) VALUES ('e', 's', 'r', 'open', now())
yes|yes|no|SELECT geostream.maintain()
no|no|no|DELETE FROM geostream.transitions
no|no|no|UPDATE geostream.audit SET actor = 'somebody else'
no|no|no|INSERT INTO geostream.audit (revision, actor, role, kind, name, after) VALUES (1, 'a', 'b', 'region', 'c', '{}')
no|no|no|TRUNCATE geostream.audit
no|no|no|SELECT geostream.note_change('region', 'eu', '{}', NULL)
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

# ---- the audit ---------------------------------------------------------------------------------
last() {
	sql "SELECT concat_ws(' ', kind, name, before ->> '$1', '->', after ->> '$1') FROM geostream.audit ORDER BY id DESC LIMIT 1"
}
sql "UPDATE geostream.regions SET capacity = 5 WHERE name = 'us'"
is "psql is audited too" "$(last capacity)" "region us 0 -> 5"
sql "BEGIN; DELETE FROM geostream.policy_regions; INSERT INTO geostream.policy_regions VALUES (1, 1, 3), (1, 2, 1); COMMIT"
is "an order is its policy's, one row a transaction" "$(last order)" 'policy nearest ["us", "eu"] -> ["ap", "eu"]'
count=$(sql "SELECT count(*) FROM geostream.audit")
sql "BEGIN; UPDATE geostream.regions SET cost = 77; UPDATE geostream.regions SET cost = 3 WHERE name = 'eu'; ROLLBACK"
sql "BEGIN; UPDATE geostream.regions SET capacity = 6 WHERE name = 'us'; UPDATE geostream.regions SET capacity = 5 WHERE name = 'us'; COMMIT"
is "what is taken back leaves no row" "$(sql "SELECT count(*) FROM geostream.audit")" "$count"
sql "TRUNCATE geostream.overrides; INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 1); TRUNCATE geostream.overrides"
is "TRUNCATE is audited" "$(sql "SELECT string_agg(CASE WHEN after IS NULL THEN 'removed' ELSE 'added' END, ' ' ORDER BY id) FROM geostream.audit WHERE kind = 'override'")" ""
sql "INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 1)"
sql "TRUNCATE geostream.overrides"
is "in transactions of their own" "$(sql "SELECT string_agg(CASE WHEN after IS NULL THEN 'removed' ELSE 'added' END, ' ' ORDER BY id) FROM geostream.audit WHERE kind = 'override'")" "added removed"

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
