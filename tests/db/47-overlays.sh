#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What operators lay over regions, pools and backends: made, refused, shown, taken back, audited.
. tests/db/database.sh
db_test overlays
ctl db migrate >/dev/null || exit 1
ctl apply -f tests/lab/lab.json >/dev/null || exit 1
export GEOSTREAM_ACTOR=alice GEOSTREAM_SOCKET=$TAP_WORK/nobody

said() { # ARGUMENT...; what it says on either stream
	ctl "$@" 2>&1
}
laid() { # what there is, in short
	sql "SELECT string_agg(name || ' ' || admin, ', ' ORDER BY name) FROM geostream.overlays"
}

# ---- made, shown, taken back -------------------------------------------------------------------
before=$(revision)
like "drain" "$(said region drain eu --for 1h --reason "kernel update" --ticket OPS-1)" \
	'^region eu: drain until 2[0-9-]*T[0-9:]*Z, version [0-9]+$'
is "one revision" "$(revision)" $((before + 1))
like "region list shows who, why and until when" "$(said region list)" \
	'OVERLAY.*eu .*auto.*drain until 2[0-9TZ:-]* by alice: kernel update \(OPS-1\), version [0-9]+'
is "as JSON, too" "$(ctl -j region list | jq -c '[.[] | select(.name == "eu") | .admin, (.overlays[0] | .admin, .actor, .reason, .ticket)]')" \
	'["auto","drain","alice","kernel update","OPS-1"]'
like "region show" "$(said region show eu)" 'overlay +drain until'
is "audited" "$(ctl -j audit --kind overlay --limit 1 | jq -c '.[0] | [.actor, .change, .name, .after.admin, .after.reason, .after.forced]')" \
	'["alice","add","eu","drain","kernel update",false]'
is "the configuration knows nothing of it" "$(ctl export | jq -c '[.regions[].admin]')" '["auto","auto","auto"]'
like "again: another word" "$(said region maintain eu)" '^region eu: maintenance, version [0-9]+$'
is "in the place of the one before" "$(laid)" "eu maintenance"
like "auto takes it back" "$(said region auto eu)" '^region eu: no longer maintenance$'
is "audited" "$(ctl -j audit --kind overlay --limit 1 | jq -c '.[0] | [.change, .name]')" '["remove","eu"]'
like "again: there is nothing" "$(said region auto eu)" 'nothing is laid over it'
ok "a pool" ctl service drain web@eu --for 90d
ok "a backend, on one edge" ctl backend force-up us-1-web6 --for 5m --edge fra1
is "both" "$(laid)" "us-1-web6 on fra1 force_up, web@eu drain"
like "service list has the region" "$(said service list)" 'web .*eu: drain until .* by alice, version'
like "backend list has the edge" "$(said backend list)" 'us-1-web6 .*force_up on fra1 until'
like "of another edge there is none" "$(said backend auto us-1-web6 --edge ams1)" 'nothing is laid over it on edge ams1'
ok "auto" ctl service auto web@eu
ok "auto on that edge" ctl backend auto us-1-web6 --edge fra1
is "all is as configured" "$(laid)" ""

# ---- several, by patterns, all or nothing ------------------------------------------------------
like "a pattern" "$(said backend maintain 'us-1-*' --force)" 'backend us-1-cross: maintenance.*backend us-1-web6: maintenance'
ok "taken back by one" ctl backend auto '*'
like "one that matches nothing" "$(said region drain 'mars*' --for 1h)" 'no region matches "mars\*"'
like "a name there is not" "$(said region drain eo --for 1h)" 'no region is named "eo"; did you mean "eu"'
before=$(revision)
refuses "one good, one bad" ctl region drain eu mars --for 1h
is "nothing was laid" "$(laid)/$(revision)" "/$before"
like "named twice is once" "$(said region drain eu eu 'e*' --for 1h | wc -l)" '^1$'
ok "auto" ctl region auto eu

# ---- compare and swap --------------------------------------------------------------------------
version=$(ctl -j region drain eu --for 1h --if-version 0 | jq '.[0].version')
like "there is one already" "$(GEOSTREAM_ACTOR=bob said region maintain eu --if-version 0)" \
	"region eu has version $version by now: drain by alice; look again"
ok "who has seen it may" ctl region maintain eu --if-version "$version"
like "nobody else" "$(said region auto eu --if-version "$version")" 'by now: maintenance by alice'
is "it stands" "$(laid)" "eu maintenance"
newer=$(sql "SELECT version FROM geostream.overlays")
ok "auto, too" ctl region auto eu --if-version "$newer"
like "it is gone" "$(said region drain eu --for 1h --if-version "$newer")" 'nothing is laid over region eu any more'
ok "made again" ctl region drain eu --for 1h
ok "a version is never used twice" test "$(sql "SELECT version FROM geostream.overlays")" -gt "$newer"
ok "auto" ctl region auto eu
# Two at once: one of them has seen nothing of the other.
"$PSQL" "$DATABASE" -X -q -c "BEGIN; SELECT FROM geostream.revision FOR UPDATE; SELECT pg_sleep(1); COMMIT" >/dev/null &
wait_for 5 test "$(sql "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)%' AND pid <> pg_backend_pid()")" = 1
for region in eu us; do
	ctl region drain $region --for 1h --if-version 0 >"$TAP_WORK/$region" 2>&1 &
done
wait
is "of two that drain a region each one is refused: not all may go" "$(cat "$TAP_WORK"/{eu,us} | grep -c 'would')" 1
ok "auto" ctl region auto '*'

# ---- rules -------------------------------------------------------------------------------------
like "more than half" "$(said region drain eu us --for 1h)" '2 of 3 regions would take no new flows, 50 % at most'
like "no region left" "$(said region maintain '*')" 'service .* would have no region left that is up'
is "nothing was laid" "$(laid)" ""
ok "one of three" ctl region drain eu --for 1h
like "one more" "$(said backend drain 'us-*' --for 1h)" 'would'
ok "not against making it worse for those that are out" ctl region maintain eu
ok "by force" ctl region drain us --for 1h --reason "the building burns" --force
is "which the audit keeps" "$(ctl -j audit --kind overlay --limit 1 | jq -c '.[0] | [.name, .after.forced, .after.reason]')" \
	'["us",true,"the building burns"]'
ok "auto" ctl region auto '*'
sql "INSERT INTO geostream.edges (name, version, seen_at) VALUES ('fra1', '', now()), ('old', '', now() - interval '1 day');
	INSERT INTO geostream.health_states (edge, kind, region, state, since) SELECT e, 'region', r, s, now() FROM
	(VALUES ('fra1', 'us', 'down'), ('fra1', 'ap', 'down'), ('fra1', 'eu', 'up'), ('old', 'us', 'up')) AS h(e, r, s)"
like "what every edge sees down is not left" "$(said region drain eu --for 1h)" 'no region left that is up'
sql "DELETE FROM geostream.health_states"
ok "capacities" ctl region set us capacity=100
ok "capacities" ctl region set ap capacity=10
like "not enough for the demand" "$(said region drain eu --for 1h --demand 101)" 'a capacity of 110 new flows a second, 111 are needed'
ok "enough" ctl region drain eu --for 1h --demand 100
ok "auto" ctl region auto eu

# ---- usage -------------------------------------------------------------------------------------
while IFS='|' read -r code words said; do
	read -ra words <<<"$words"
	like "${words[*]}" "$(said "${words[@]}"; echo "exit $?")" "$said.*exit $code"
done <<'ROWS'
2|region force-up eu|for how long
2|region force-down eu|for how long
2|region drain --for 1h|which region
2|region drain eu --for 91d|is no span of 1s to 90d
2|region drain eu --for 1|is no span
2|region drain eu --if-version x|is no version
2|region drain eu --fro 1h|did you mean '--for'
2|region drain eu --reason|a value expected
2|region drain eu --demand many|is no number
1|service drain web --for 1h|in which region
1|service drain web@mars --for 1h|no service with a backend there is named "web@mars"
1|region drain e* u* --for 1h --if-version 0|a version is of one object, not of 2
2|edge region sideways eu|drain, maintain, force-up, force-down or auto expected
2|edge region drain eu|for how long
2|edge region drain eu --for 1h --edge fra1|unexpected "--edge"
1|edge region drain eu --for 1h|nobody
ROWS
like "a database that is away: what this edge can do" "$(GEOSTREAM_DATABASE=host=/nonexistent said region drain eu --for 1h)" \
	'for this edge alone: geostreamctl edge region drain'

# ---- over the configuration --------------------------------------------------------------------
ok "a region is drained by configuration" ctl region set eu admin=drain
like "left to health for an hour" "$(said region auto eu --for 1h --supersede)" '^region eu: auto until'
is "and says so to edges that have their own" "$(sql "SELECT supersedes FROM geostream.overlays")" t
ok "a renamed region takes it along" sql "UPDATE geostream.regions SET name = 'eu2' WHERE name = 'eu'"
is "by its new name" "$(laid)" "eu2 auto"
sql "UPDATE geostream.regions SET name = 'eu' WHERE name = 'eu2'"
ok "fixed, when all is down" ctl service set web panic.percent=30 panic_all_down=fixed:us
like "as it is shown" "$(said service show web)" 'panic_percent +30.*panic_all_down +fixed:us'
ok "there and back" ctl export -o "$TAP_WORK/exported"
like "the same" "$(said apply -f "$TAP_WORK/exported")" '^nothing to change'
like "a region there is not" "$(said service set web panic.all_down=fixed:mars)" 'service web.panic.all_down: "fixed:mars" does not name a region'
like "a word there is not" "$(said service set web panic.all_down=fixed)" 'is not one of serve_any, last_good, fixed:REGION'
like "a number there is not" "$(said service set web panic.percent=101)" 'is not a whole number from 0'
ok "fail closed" ctl service set web panic.all_down=fail_closed
is "and no region" "$(sql "SELECT panic_all_down, panic_region IS NULL FROM geostream.services WHERE name = 'web'")" "fail_closed|t"
ok "a region that goes takes what is laid over it along" ctl region auto eu
done_testing
