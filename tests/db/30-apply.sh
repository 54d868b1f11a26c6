#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# geostreamctl on the desired state: apply, dry runs, small changes, tables, JSON, mistakes.
. tests/db/database.sh
db_test apply
ctl db migrate >/dev/null

doc=$TAP_WORK/doc.json
cat >"$doc" <<'JSON'
{
  "policies": [{"name": "nearest", "kind": "geo", "order": ["eu", "us"]}],
  "regions": [
    {"name": "eu", "latitude": 50.1, "longitude": 8.7, "cost": 0.02, "capacity": 1000},
    {"name": "us", "latitude": 39.0, "longitude": -77.5}
  ],
  "services": [
    {"name": "web", "vip": "198.51.100.10", "port": 80, "protocol": "tcp", "policy": "nearest",
     "probe": {"kind": "http", "path": "/health", "rise": 2}},
    {"name": "web6", "vip": "2001:db8:100::10", "port": 80, "protocol": "tcp", "policy": "nearest"}
  ],
  "backends": [
    {"name": "eu-1", "service": "web", "region": "eu", "address": "10.1.0.11"},
    {"name": "us-1", "service": "web", "region": "us", "address": "10.2.0.11", "weight": 50, "forward": "gue"},
    {"name": "eu6-1", "service": "web6", "region": "eu", "address": "fd00:1::11"}
  ],
  "overrides": [{"prefix": "203.0.113.0/24", "region": "us", "reason": "ticket 42"}]
}
JSON
change() { # SED_EXPRESSION: the document, changed
	sed -e "$1" "$doc" >"$TAP_WORK/changed.json"
	echo "$TAP_WORK/changed.json"
}
everything() {
	sql "SELECT json_build_object('r', (SELECT json_agg(r ORDER BY id) FROM geostream.regions r),
		'p', (SELECT json_agg(p ORDER BY id) FROM geostream.policies p),
		'o', (SELECT json_agg(o ORDER BY policy, position) FROM geostream.policy_regions o),
		's', (SELECT json_agg(s ORDER BY id) FROM geostream.services s),
		'b', (SELECT json_agg(b ORDER BY id) FROM geostream.backends b),
		'v', (SELECT json_agg(v ORDER BY prefix) FROM geostream.overrides v))"
}

# ---- apply -------------------------------------------------------------------------------------
start=$(revision)
is "a dry run of nine additions" "$(ctl apply -f "$doc" --dry-run | grep -c '^+ ')" 9
is "changes nothing" "$(sql 'SELECT count(*) FROM geostream.regions'),$(revision)" "0,$start"
ctl apply -f "$doc" --dry-run | grep '^[+~-]' >"$TAP_WORK/dry"
ctl apply -f "$doc" | grep '^[+~-]' >"$TAP_WORK/wet"
ok "apply makes what the dry run showed" diff "$TAP_WORK/dry" "$TAP_WORK/wet"
is "in one revision" "$(revision)" "$((start + 1))"
once=$(everything)
like "the same again: nothing to change" "$(ctl apply -f "$doc")" '^nothing to change'
is "no revision, no row touched" "$(revision),$(everything)" "$((start + 1)),$once"
is "from standard input too" "$(ctl apply -f - <"$doc")" "nothing to change, revision $((start + 1))"
is "a dry run as JSON" "$(ctl -j apply --dry-run -f "$(change 's/0.02/0.5/')" | tr -d ' \n')" \
	"{\"changes\":[{\"change\":\"update\",\"kind\":\"region\",\"name\":\"eu\",\"fields\":{\"cost\":{\"from\":0.02,\"to\":0.5}}}],\"revision\":$((start + 1)),\"dry_run\":true,\"seed_changes\":false}"

ids=$(sql "SELECT json_object_agg(name, id) FROM geostream.backends WHERE name <> 'us-1'")
ctl apply -f "$(change 's/"us-1", \(.*\)10.2.0.11/"us-2", \1 10.2.0.12/; s/ 10.2/10.2/; s/"rise": 2/"fall": 5/; s/\["eu", "us"\]/["us", "eu"]/')" >"$TAP_WORK/out"
is "a removed, an added and two changed objects" "$(cut -d: -f1 "$TAP_WORK/out" | head -n 4)" \
	"~ policy nearest
~ service web
- backend us-1
+ backend us-2"
is "the others keep their ids" \
	"$(sql "SELECT json_object_agg(name, id) FROM geostream.backends WHERE name <> 'us-2'")" "$ids"
is "the new one has an id nobody had" "$(sql "SELECT id FROM geostream.backends WHERE name = 'us-2'")" 4
is "the order is turned round" "$(ctl -j policy list | jq -c '.[].order')" '["us","eu"]'
ok "two services swap their VIPs" ctl apply -f \
	"$(change 's/198.51.100.10/TMP/; s/2001:db8:100::10/198.51.100.10/; s/TMP/2001:db8:100::10/')"
ok "a VIP becomes a backend's address and the other way round" ctl apply -f \
	"$(change 's/198.51.100.10/TMP/; s/10.1.0.11/198.51.100.10/; s/TMP/10.1.0.11/')"
ok "all of it goes away" ctl apply -f - <<<'{"regions":[],"policies":[],"services":[],"backends":[]}'
is "it is gone" "$(sql 'SELECT (SELECT count(*) FROM geostream.regions) + (SELECT count(*) FROM geostream.policies)')" 0
ok "and comes back" ctl apply -f "$doc"
is "with its forward modes" "$(ctl export --portable | jq -c '[.backends[] | .name, .forward]')" \
	'["eu-1","ipip","us-1","gue","eu6-1","ipip"]'
like "its export is the same configuration" "$(ctl export --portable | ctl apply -f -)" '^nothing to change'
ok "left out of the document it is ipip again" ctl apply -f "$(change 's/, "forward": "[a-z0-9]*"//')"
is "in the table" "$(sql "SELECT string_agg(DISTINCT forward, ' ') FROM geostream.backends")" ipip
ok "as it was" ctl apply -f "$doc"

# ---- all or nothing ----------------------------------------------------------------------------
before=$(everything)
at=$(revision)
sql "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not today''; END';
	CREATE TRIGGER no BEFORE INSERT ON geostream.overrides EXECUTE FUNCTION public.no()"
said=$(ctl apply -f "$(change 's/0.02/0.7/; s/113.0/114.0/; s/"eu6-1"/"eu6-2"/')" 2>&1) && said="done: $said"
like "the database refuses the last statement: it is said" "$said" '^geostreamctl: database: refused: not today'
is "nothing of it was done" "$(revision),$(everything)" "$at,$before"
sql "DROP TRIGGER no ON geostream.overrides"

while IFS='|' read -r expression want; do
	said=$(ctl apply -f "$(change "$expression")" 2>&1)
	is "exit 1: $want" "$?" 1
	like "$want" "$said" "^geostreamctl: $TAP_WORK/changed.json:$want"
done <<'ROWS'
s/"port": 80,/"port": 70000,/|8: services\[0\].port: 70000 is not a port
s/"vip": "198/"vpi": "198/|8: services\[0\]: unknown key "vpi", did you mean "vip"
s/"region": "eu", "address": "10/"region": "mars", "address": "10/|13: backends\[0\].region: "mars" is not the name of a region
s/10.2.0.11/198.51.100.10/|14: backends\[1\].address: 198.51.100.10 is the VIP of service web
s/"gue"/"gre"/|14: backends\[1\].forward: "gre" is not one of ipip, gue, l2 and nat
s/10.2.0.11\(.*\)"gue"/fd00:2::11\1"l2"/|14: backends\[1\].forward: l2 needs an IPv4 address, as the VIP 198.51.100.10 of service web is; fd00:2::11 is IPv6
s/50.1,/"50.1",/|4: regions\[0\].latitude
s/^}$/]/|18: 
ROWS
is "after all that: nothing was done" "$(revision),$(everything)" "$at,$before"
refuses "no such file" ctl apply -f /nonexistent/doc.json
refuses "a folder" ctl apply -f /tmp
ctl apply >/dev/null 2>&1
is "no file named: usage, exit 2" "$?" 2

# ---- small changes -----------------------------------------------------------------------------
like "region set" "$(ctl region set eu admin=drain cost=0.5 capacity=7)" \
	'^~ region eu: cost 0.02 -> 0.5, capacity 1000 -> 7, admin auto -> drain'
is "is in the table" "$(sql "SELECT admin, cost, capacity FROM geostream.regions WHERE name = 'eu'")" "drain|0.5|7"
is "in one revision" "$(revision)" "$((at + 1))"
like "the same again" "$(ctl region set eu admin=drain)" '^nothing to change'
is "makes none" "$(revision)" "$((at + 1))"
like "backend set" "$(ctl backend set us-1 weight=7 admin=maintenance)" '^~ backend us-1: weight 50 -> 7, admin auto -> maint'
like "its forward mode" "$(ctl backend set eu6-1 forward=l2)" '^~ backend eu6-1: forward ipip -> l2'
at=$(revision)
while IFS='|' read -r command want; do
	# shellcheck disable=SC2086
	said=$(ctl $command 2>&1)
	is "exit 1: $command" "$?" 1
	like "says why" "$said" "$want"
done <<'ROWS'
region set eu admin=sideways|region eu.admin: "sideways" is not one of auto, force_up
region set eu cost=-1|region eu.cost: -1 is not a cost
region set eu cost=nan|region eu.cost: "nan" is not a cost
region set eu capacity=1.5|region eu.capacity: 1.5 is not a capacity
region set eu port=80|region eu: unknown key "port"
region set mars admin=auto|no region is named "mars"
backend set eu-1 weight=0|backend eu-1.weight: 0 is not a weight .1 to 1000.
backend set eu-1 weight=99999999999999999999|backend eu-1.weight: "99999999999999999999" is not a weight
backend set eu-9 weight=1|no backend is named "eu-9"
override add 10.0.0.1/8 us|bits are set beyond
override add 10.0.0.0/33 us|not a length
override add mars us|not an IPv4 or IPv6 prefix
override add 10.0.0.0/8 mars|"mars" is not the name of a region
override remove 10.0.0.0/8|no override is for 10.0.0.0/8
service show mars|no service is named "mars"
ROWS
is "and changed nothing" "$(revision)" "$at"
ok "override add" ctl override add 2001:db8::/32 eu "because of" this
ok "override add again: another region" ctl override add 2001:db8::/32 us
ok "override remove" ctl override remove 203.0.113.0/24
is "override list" "$(ctl override list)" "CLIENTS        REGION  REASON
2001:db8::/32  us      "
is "a table" "$(ctl backend list)" "NAME   SERVICE  REGION  ADDRESS     WEIGHT  FORWARD  ADMIN
eu-1   web      eu      10.1.0.11      100  ipip     auto
us-1   web      us      10.2.0.11        7  gue      maintenance
eu6-1  web6     eu      fd00:1::11     100  l2       auto"
sql "INSERT INTO geostream.health_states (edge, kind, region, service, backend, state, why, since)
	VALUES ('fra1', 'backend', 'eu', 'web', 'eu-1', 'down', 'timeout', '2026-11-23 12:00:00Z')"
like "show: what the edges told" "$(ctl backend show eu-1)" \
	'eu web eu-1: down since 2026-11-23T12:00:00.000Z, edge fra1: timeout'
is "show as JSON" "$(ctl -j backend show eu-1 | tr -d ' \n')" \
	'{"name":"eu-1","service":"web","region":"eu","address":"10.1.0.11","weight":100,"forward":"ipip","port":0,"admin":"auto","drain_until":"","revision":'"$(revision)"',"health":[{"edge":"fra1","kind":"backend","region":"eu","service":"web","backend":"eu-1","state":"down","why":"timeout","since":"2026-11-23T12:00:00.000Z"}]}'

# ---- other people ------------------------------------------------------------------------------
mkfifo "$TAP_WORK/go"
"$PSQL" "$DATABASE" -X -q >"$TAP_WORK/other" 2>&1 <<<"BEGIN; UPDATE geostream.regions SET cost = 7;
	\\! touch $TAP_WORK/locked; read _ <$TAP_WORK/go
	COMMIT" &
other=$!
someone_waits() {
	[[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") -ge 1 ]]
}
ok "somebody else is changing it" wait_for 30 test -e "$TAP_WORK/locked"
like "a dry run waits for nobody" "$(ctl apply -f "$doc" --dry-run)" 'not made'
ctl region set us cost=3 >"$TAP_WORK/mine" 2>&1 &
mine=$!
ok "a change waits" wait_for 30 someone_waits
echo >"$TAP_WORK/go"
wait "$mine"
is "and is told that it is about what the other one has just changed" "$?" 1
like "by whom, and what" "$(cat "$TAP_WORK/mine")" \
	'region us has changed since revision [0-9]+: cost [0-9.]+ -> 7 \(by geostream, .*look again'
wait "$other"
ok "repeated, it is made on what the other one left" ctl region set us cost=3
is "both are there" "$(sql "SELECT string_agg(cost::text, ',' ORDER BY name) FROM geostream.regions")" "7,3"

# ---- as much as the maps hold ------------------------------------------------------------------
objects() { # COUNT FORMAT: # is the number, %A.%B two bytes of an address
	awk -v n="$1" -v format="$2" 'BEGIN { for (i = 0; i < n; i++) {
		text = format; gsub(/#/, i, text); gsub(/%A/, int(i / 250), text)
		gsub(/%B/, i % 250 + 1, text); printf "%s%s", i ? "," : "", text } }'
}
{
	printf '{"regions":[%s],"policies":[{"name":"p","kind":"geo","order":["r0"]}],' \
		"$(objects 255 '{"name":"r#","latitude":1,"longitude":1}')"
	printf '"services":[%s],"backends":[%s],"overrides":[%s]}' \
		"$(objects 1023 '{"name":"s#","vip":"198.18.%A.%B","port":80,"protocol":"tcp","policy":"p"}')" \
		"$(objects 16000 '{"name":"b#","service":"s%B","region":"r%A","address":"10.1.%A.%B"}')" \
		"$(objects 20000 '{"prefix":"100.%A.%B.0/24","region":"r1"}')"
} >"$TAP_WORK/full.json"
sql "TRUNCATE geostream.overrides, geostream.access, geostream.backends, geostream.services, geostream.breaker_forces, geostream.policy_regions, geostream.policies, geostream.regions CASCADE; DELETE FROM geostream.retired_ids"
ok "255 regions, 1,023 services, 16,000 backends, 20,000 overrides" ctl apply -f "$TAP_WORK/full.json"
is "are there" "$(sql 'SELECT (SELECT count(*) FROM geostream.backends), (SELECT max(id) FROM geostream.services), (SELECT count(*) FROM geostream.overrides)')" "16000|1023|20000"
like "again: nothing to change" "$(ctl apply -f "$TAP_WORK/full.json")" '^nothing to change'
done_testing
