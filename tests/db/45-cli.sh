#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# add, set, remove, export, audit, history and forces: good, bad and hostile.
. tests/db/database.sh
db_test cli
ctl db migrate >/dev/null || exit 1
ctl apply -f tests/lab/lab.json >/dev/null || exit 1

said() { # ARGUMENT...; what it says on either stream
	ctl "$@" 2>&1
}

# ---- what there is -----------------------------------------------------------------------------
ctl --help >"$TAP_WORK/help"
like "help is in groups" "$(grep '^[a-z].*:$' "$TAP_WORK/help" | tr '\n' ' ')" \
	'^objects: .*health and breakers: history: routing: .*GeoIP: options: $'
is "which have every command, once" "$(sed '/^options:/,$d' "$TAP_WORK/help" | grep -oE '^  [a-z]+( [a-z][a-z-]*)?' | sed 's/^  //' |
	sed -E 's/^(status|apply|export|history|audit) .*/\1/' | sort)" "$(ctl complete | sort)"
is "as has the manual page" "$(docs/man/page.sh docs/man/geostreamctl.1.scd "$BUILD/geostreamctl" |
	sed -n '/^# COMMANDS/,/^# THE STATES/p' | grep -c '^\*')" "$(ctl complete | wc -l)"

# ---- every kind, there and back ----------------------------------------------------------------
declare -A again=([override]=us [access]=deny)
while IFS='|' read -r kind name add set shown; do
	read -ra add <<<"$add"
	read -ra set <<<"$set"
	ok "$kind add" ctl "$kind" add "$name" "${add[@]}"
	ok "$kind show" ctl "$kind" show "$name"
	before=$(revision)
	like "$kind set --dry-run shows it" "$(said "$kind" set "$name" "${set[@]}" --dry-run)" "~ $kind $name: $shown"
	is "and makes nothing" "$(revision)" "$before"
	ok "$kind set" ctl "$kind" set "$name" "${set[@]}"
	like "again: nothing to change" "$(said "$kind" set "$name" "${set[@]}")" '^nothing to change'
	like "audited: who, what, from, to" "$(said audit --kind "$kind" --limit 1)" "update $kind $name: "
	if [[ $kind == override || $kind == access ]]; then
		ok "adding it again is what it is now" ctl "$kind" add "$name" "${again[$kind]}"
	else
		like "$kind add again is refused" "$(said "$kind" add "$name" "${add[@]}")" "$kind $name is there already"
	fi
	ok "$kind list has it" grep -q "^${name/@/ *} " <<<"$(said "$kind" list)"
	ok "$kind remove" ctl "$kind" remove "$name"
	refuses "$kind remove again" ctl "$kind" remove "$name"
	like "audited" "$(said audit --kind "$kind" --limit 1)" "remove $kind $name"
done <<'ROWS'
region|sa|latitude=-23.5 longitude=-46.6 cost=0.05|cost=1 admin=drain|cost 0.05 -> 1, admin auto -> drain
policy|backup|kind=failover order=us,eu|order=ap|order us,eu -> ap
service|dns|vip=198.51.100.53 port=53 protocol=udp policy=nearest probe_kind=none|port=5353 breaker_enabled=false|port 53 -> 5353, breaker_enabled true -> false
service|sick|vip=198.51.100.55 port=0 protocol=tcp policy=nearest probe_kind=exec probe_command=check probe_arguments=-x,y failover_budget_ms=3000|probe_arguments=-z probe.kind=dns probe.port=53 probe_request=a.b probe_dns_type=SOA|probe_kind exec -> dns, probe_port 0 -> 53, probe_request "" -> a.b, probe_dns_type A -> SOA, probe_arguments -x,y -> -z
backend|eu-3|service=web region=eu address=10.1.0.13|weight=7|weight 100 -> 7
backend|eu-4|service=web region=eu address=10.1.0.14 forward=gue|forward=l2 weight=9|weight 100 -> 9, forward gue -> l2
backend|eu-5|service=web6 region=eu address=10.1.0.15|forward=gue|forward ipip -> gue
override|203.0.113.0/24|eu because of a ticket|region=ap reason=none|region eu -> ap
access|203.0.113.0/24|deny --reason spam|action=allow|action deny -> allow
access|2001:db8::/32@web6|allow|action=deny reason=x|action allow -> deny, reason "" -> x
service|q|vip=198.51.100.54 port=443 protocol=udp policy=nearest probe_port=80 affinity=prefix affinity.prefix4=20 limits.client_flows=100|affinity=client limit_client_flows=0 limits.flows=7 stale=drop stale.after_s=20|affinity prefix -> client, limit_client_flows 100 -> 0, limit_flows 0 -> 7, stale keep -> drop, stale_after_s 300 -> 20
region|af|latitude=1 longitude=2 limits.packets=1000|admin=drain drain_until=2030-01-01T01:00:00+01:00|admin auto -> drain, drain_until "" -> 2030-01-01T00:00:00Z
backend|eu-6|service=web region=eu address=10.1.0.16 forward=nat port=8080|port=8081 admin=drain|port 8080 -> 8081, admin auto -> drain
ROWS

# ---- what depends on another field --------------------------------------------------------------
like "a deadline may be a span" "$(said backend set eu-1 admin=drain drain_until=20m)" \
	'admin auto -> drain, drain_until "" -> 20[0-9-]+T[0-9:]+Z'
is "of twenty minutes" "$(sql "SELECT drain_until BETWEEN now() + interval '19 min' AND now() + interval '21 min' FROM geostream.backends WHERE name = 'eu-1'")" t
like "a listing has a column for it" "$(said backend list | head -n 1)" ' ADMIN +DRAIN_UNTIL$'
like "it goes with the drain" "$(said backend set eu-1 admin=auto)" 'admin drain -> auto, drain_until 20[^ ]* -> ""'
refuses "and its column with it" grep -q DRAIN_UNTIL <<<"$(said backend list)"
ok "NAT" ctl backend set eu-1 forward=nat port=8080
like "its port goes with it" "$(said backend set eu-1 forward=ipip)" 'forward nat -> ipip, port 8080 -> 0'


# ---- the quorum's rule -------------------------------------------------------------------------
is "the rule there is" "$(ctl -j quorum show | jq -c .)" "{\"down_permille\":500,\"revision\":$(revision)}"
like "for people" "$(ctl quorum show | head -n 1)" '^down_permille +500$'
before=$(revision)
like "quorum set --dry-run shows it" "$(said quorum set down_permille=660 --dry-run)" '~ quorum rule: down_permille 500 -> 660'
is "and makes nothing" "$(revision) $(sql 'SELECT down_permille FROM geostream.quorum')" "$before 500"
is "quorum set" "$(said --actor alice quorum set down_permille=660)" $'~ quorum rule: down_permille 500 -> 660\n1 change, revision '$((before + 1))
is "is a revision" "$(revision)" $((before + 1))
like "audited: who, what, from, to" "$(said audit --kind quorum --limit 1)" "rev $((before + 1)) +alice .*update quorum rule: down_permille 500 -> 660"
like "again: nothing to change" "$(said quorum set down_permille=660)" "^nothing to change, revision $((before + 1))"
is "no revision of it" "$(revision)" $((before + 1))
like "bob, who looked before, is told" "$(said --actor bob quorum set down_permille=700 --since "$before")" \
	"quorum rule has changed since revision $before: down_permille 500 -> 660 \\(by alice, "
ok "of what nobody has changed he is not" ctl quorum set down_permille=660 --since "$before"
is "having looked again he changes it" "$(ctl -j --actor bob quorum set down_permille=180 --since "$(revision)" | jq -c '[.changes[0].fields.down_permille, .dry_run]')" \
	'[{"from":660,"to":180},false]'
ok "all of them" ctl quorum set down_permille=1000
ok "psql does it, too" sql "UPDATE geostream.quorum SET down_permille = 500"
like "and is audited" "$(said audit --kind quorum --limit 1)" "update quorum rule: down_permille 1000 -> 500"

# ---- wrong words -------------------------------------------------------------------------------
before=$(revision)
while IFS='|' read -r status why arguments; do
	eval "set -- $arguments"
	ctl "$@" >"$TAP_WORK/out" 2>&1
	is "$arguments: exit" "$?" "$status"
	like "says why" "$(cat "$TAP_WORK/out")" "$why"
done <<'ROWS'
1|no region is named "eo"; did you mean "eu"|region set eo cost=1
1|no backend is named "eu-11"; did you mean|backend remove eu-11
1|no service is named "wob"; did you mean "web"|service show wob
1|region x.latitude: 91 is not a latitude|region add x latitude=91 longitude=0
1|region x: "longitude" is missing|region add x latitude=1
1|region x: unknown key "lattitude", did you mean "latitude"|region add x lattitude=1
1|region X.name: "X" is not a name|region add X latitude=1 longitude=1
1|is not a name|region add "a'; DROP TABLE geostream.regions; --" latitude=1 longitude=1
1|is not a name|region add $'a\e[31m' latitude=1 longitude=1
1|is not a name|region add '' latitude=1 longitude=1
1|UTF-8|region add $'a\xff' latitude=1 longitude=1
1|too long|region add aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa latitude=1 longitude=1
1|region eu.cost: "much" is not a cost|region set eu cost=much
1|region eu.cost: "" is not a cost|region set eu cost=
1|region eu.capacity: |region set eu capacity=99999999999999999999
1|name: cannot be set|region set eu name=ue
1|id: cannot be set|region set eu id=7
1|policy nearest.kind: "geographic" is not one of geo, failover, latency, cost, availability, weighted and ranked|policy set nearest kind=geographic
1|policy nearest.rank: .* needs "kind": "ranked", or no kind|policy set nearest kind=geo rank=cost
1|policy nearest.rank: "price" is not one of order|policy set nearest rank=latency,price
1|policy nearest.weight.mars: 3 is of no region of the policy.s order|policy set nearest weight=mars:3
1|policy nearest.bias.eu: 200 is not a bias|policy set nearest bias=eu:200
1|country:Germany: not a place|override add country:Germany eu
1|override everybody.place: "everybody" is for fences|override add everybody eu
1|AS0: not an AS number \(AS1 to AS4294967295\)|override add AS0 eu
1|as4294967296: not an AS number|override add as4294967296 eu
1|AS64500: not a place|fence add AS64500 eu
1|no override is for AS64499|override remove as64499
1|override AS64499.region: "mars" is not the name of a region|override add AS64499 mars
1|germany: not a place|fence add germany eu
1|fence country:DE.regions.1.: "ue" is not the name of a region|fence add country:DE eu,ue
1|fence country:DE.unknown: "maybe" is not one of free and fenced|fence add country:DE eu unknown=maybe
2|which place, and which regions|fence add country:DE
1|no fence is for country:FR|fence remove country:FR
1|policy nearest.order\[1\]: "mars" is not the name of a region|policy set nearest order=eu,mars
1|policy nearest.order: .* is not a list of 1 to 16|policy set nearest order=
1|service web.breaker: unknown key "trails", did you mean "trials"|service set web breaker_trails=4
1|service web.breaker.trials: 0 is not a whole number|service set web breaker_trials=0
1|service web.breaker.enabled: "yes" is not true or false|service set web breaker_enabled=yes
1|service web.breaker.open_max_ms: .*less than open_ms|service set web breaker_open_ms=90000
1|service web.vip: "10.1.0.11.5" is not an IP|service set web vip=10.1.0.11.5
1|packets would loop|service set web vip=10.1.0.11
1|backend x.service: "wep" is not the name of a service, did you mean "web"|backend add x service=wep region=eu address=10.9.0.1
1|backend eu-1.weight: "many" is not a weight|backend set eu-1 weight=many
1|backend eu-1.forward: "gre" is not one of ipip, gue, l2 and nat|backend set eu-1 forward=gre
1|backend x.forward: "" is not one of ipip, gue, l2 and nat|backend add x service=web region=eu address=10.9.0.1 forward=
1|backend eu-1: unknown key "foward", did you mean "forward"|backend set eu-1 foward=gue
1|eu-1-cross.forward: l2 needs an IPv|backend set eu-1-cross forward=l2
1|region eu is still used by policy nearest, backend eu-1, backend eu-2, backend .* more|region remove eu
1|policy nearest is still used by service web|policy remove nearest
1|service web is still used by backend|service remove web
1|bits are set beyond|override add 203.0.113.1/24 eu
1|bits are set beyond|access add 203.0.113.1/24@web deny
1|access 203.0.113.0/24.action: "permit" is not one of allow and deny|access add 203.0.113.0/24 permit
1|access 203.0.113.0/24@wbe.service: "wbe" is not the name of a service, did you mean "web"|access add 203.0.113.0/24@wbe deny
1|no service.s name after the @|access add 203.0.113.0/24@ deny
1|no access rule is for 203.0.113.0/24@web|access set 203.0.113.0/24@web action=deny
2|which prefix, and allow or deny|access add 203.0.113.0/24
1|service web.affinity.kind: "host" is not one of flow, client and prefix|service set web affinity=host
1|service web.affinity.prefix4: 7 is not a whole number from 8 to 32|service set web affinity.prefix4=7
1|service web.limits: unknown key "client_flow", did you mean "client_flows"|service set web limits.client_flow=1
1|service web.limits.flows: -1 is not a whole number|service set web limit_flows=-1
1|service web.stale.after_s: 9 is not a whole number from 10 to 86400|service set web stale_after_s=9
1|region eu.limits.packets: "many" is not a limit|region set eu limits.packets=many
1|region eu.drain_until: "2030-01-01T00:00:00Z" needs "admin": "drain"|region set eu drain_until=2030-01-01T00:00:00Z
1|drain_until: 1999-01-01T00:00:00Z is past|backend set eu-1 admin=drain drain_until=1999-01-01T00:00:00Z
1|backend eu-1.drain_until: "tomorrow" is not a time|backend set eu-1 admin=drain drain_until=tomorrow
1|backend eu-1.port: 80 needs "forward": "nat"|backend set eu-1 port=80
1|eu-1-cross.forward: nat needs an IPv|backend set eu-1-cross forward=nat
1|"mars" is not the name of a region|override add 203.0.113.0/24 mars
2|not of the form FIELD=VALUE|region set eu cost
2|set what of eu|region set eu
2|cost is given twice: "1" and "2"|region set eu cost=1 cost=2
2|cost is given twice: "1" and "1"|region set eu cost=1 admin=drain cost=1
2|longitude is given twice: "2" and ""|region add x latitude=1 longitude=2 longitude=
2|order is given twice: "eu" and "us"|policy set nearest order=eu order=us
2|reason is given twice: "a=b" and "c"|override set 203.0.113.0/24 reason=a=b reason=c
2|is given twice: "1" and "2"|region set eu =1 =2
1|no such field|region set eu coster-than-any-field-there-is-here=1 cost=2
2|which region|region add
2|is not a revision|region set eu cost=1 --since x
1|revision 99999 has not been yet|region set eu cost=1 --since 99999
1|quorum.down_permille: "179" is not a share of the failure domains .180 to 1000 per mille|quorum set down_permille=179
1|quorum.down_permille: "1001" is not a share|quorum set down_permille=1001
1|quorum.down_permille: "-500" is not a share|quorum set down_permille=-500
1|quorum.down_permille: "66%" is not a share|quorum set down_permille=66%
1|quorum.down_permille: "0.66" is not a share|quorum set down_permille=0.66
1|quorum.down_permille: "" is not a share|quorum set down_permille=
1|quorum.down_permille: "18446744073709552116" is not a share|quorum set down_permille=18446744073709552116
1|quorum: unknown key "down_permil", did you mean "down_permille"|quorum set down_permil=660
1|quorum: unknown key "only_row"|quorum set only_row=false
1|quorum: unknown key ""|quorum set =660
2|not of the form FIELD=VALUE|quorum set down_permille
2|not of the form FIELD=VALUE|quorum set 660
2|down_permille is given twice: "500" and "660"|quorum set down_permille=500 down_permille=660
2|set what of the rule|quorum set
2|set what of the rule|quorum set --dry-run
2|unexpected "down_permille"|quorum show down_permille
2|no verb .remove|quorum remove
2|is not a revision|quorum set down_permille=660 --since x
1|revision 99999 has not been yet|quorum set down_permille=660 --since 99999
2|unexpected "x"|export x
1|/nonexistent/x: No such file|export -o /nonexistent/x
2|neither open nor closed|breaker force web eu ajar --for 1h
2|for how long|breaker force web eu open
2|is no span|breaker force web eu open --for 8d
2|is no span|breaker force web eu open --for 1
1|no service "wob", or no region "eu"|breaker force wob eu open --for 1h
1|nobody forces|breaker release web eu
1|kind: there is no 'regoin'|history --kind regoin
1|since: 'yesterday' is neither|history --since yesterday
1|since: |audit --since "1h' OR 1=1"
2|is not 1 to 100000|audit --limit 0
2|unknown option --edgy|history --edgy x
2|a value expected|history --kind
ROWS
refuses "an error moves no terminal" grep -q $'\e' <<<"$(said region set eu $'a\e[31mb'; said $'x\e[31m'; said region show $'\e[31m')"
is "nothing of it made a revision" "$(revision)" "$before"
is "and the table is there" "$(sql 'SELECT count(*) FROM geostream.regions')" 3

# ---- two operators -----------------------------------------------------------------------------
seen=$(ctl -j region show us | jq .revision)
ok "bob changes a region" ctl --actor bob region set us cost=5
like "alice, who looked before, is told" "$(said --actor alice region set us capacity=9 --since "$seen")" \
	"region us has changed since revision $seen: cost 0.01 -> 5 \\(by bob, "
ok "another object is no conflict" ctl --actor alice region set ap capacity=9 --since "$seen"
ok "having looked again she changes it" ctl region set us capacity=9 --since "$(revision)"
is "both are there" "$(ctl -j region show us | jq -c '[.cost, .capacity]')" '[5,9]'
like "an actor may be anybody" "$(said --actor "$(printf 'm\xc3\xb6rk <x>')" region set us cost=6; said audit --limit 1)" 'mörk <x> \(geostream\) update region us: cost 5 -> 6'

# ---- export ------------------------------------------------------------------------------------
sql "DELETE FROM geostream.backends WHERE name = 'eu-1'" # a gap in the ids
ctl access add 192.0.2.0/24 deny some reason >/dev/null && ctl access add 192.0.0.0/16@web allow >/dev/null &&
	ctl access add 192.0.2.0/24@web allow >/dev/null && ctl region set eu admin=drain drain_until=2d >/dev/null &&
	ctl service set web affinity=prefix stale=pass limits.packets=9 >/dev/null
like "a service with access rules is still used" "$(said service remove web)" 'service web is still used by .*access 192.0.0.0/16@web'
for how in '' --portable; do
	# shellcheck disable=SC2086
	ok "export $how" ctl export -o "$TAP_WORK/all.json" $how
	before=$(revision)
	like "applied it changes nothing" "$(said apply -f "$TAP_WORK/all.json")" '^nothing to change'
	is "no revision" "$(revision)" "$before"
done
ctl export >"$TAP_WORK/exact.json"
sql "DROP SCHEMA geostream CASCADE"
ctl db migrate >/dev/null
ok "into a fresh database" ctl apply -f "$TAP_WORK/exact.json"
is "ids, seed and all" "$(ctl export)" "$(cat "$TAP_WORK/exact.json")"
like "another seed is a change to be seen" \
	"$(jq '.selection_seed = "00000000000000ff"' "$TAP_WORK/exact.json" | said apply -f - --dry-run)" \
	'^~ selection seed: [0-9a-f]{16} -> 00000000000000ff: almost every client moves'
like "another id is refused" "$(jq '.regions[0].id = 9' "$TAP_WORK/exact.json" | said apply -f -)" \
	'region eu: the document says id 9, it has 1 here, and ids cannot change'

# ---- policies, overrides of places, fences -------------------------------------------------------
ok "a rank" ctl policy add cheap rank=latency,cost band_ms=20 order=us,eu weight=us:300 bias=eu:-20
is "as it was said" "$(ctl -j policy show cheap | jq -c '[.kind, .rank, .band_ms, .band_percent, .bias, .weight]')" \
	'["ranked",["latency","cost"],20,10,{"eu":-20},{"us":300}]'
ok "a kind in its place" ctl policy set cheap kind=weighted
is "takes the rank away" "$(ctl -j policy show cheap | jq -c '[.kind, .rank, .weight]')" '["weighted",[],{"us":300}]'
ok "another order" ctl policy set cheap order=eu
is "takes strangers' numbers away" "$(ctl -j policy show cheap | jq -c '[.order, .bias, .weight]')" '[["eu"],{"eu":-20},{}]'
ok "policy remove" ctl policy remove cheap
ok "an override of a place" ctl override add country:JP us the reason why
is "beside those of prefixes" "$(ctl -j override list | jq -c '.[-1]')" '{"place":"country:JP","region":"us","reason":"the reason why"}'
like "in one table" "$(ctl override list | head -1)" '^CLIENTS +REGION +REASON$'
ok "said anew" ctl override add country:JP eu
is "is changed" "$(ctl -j override show country:JP | jq -r .region)" eu
ok "override remove" ctl override remove country:JP
ok "an override of a system" ctl override add as4294967295 us --reason "their peering"
is "is known by its number" "$(ctl -j override list | jq -c '.[-1]')" '{"asn":"AS4294967295","region":"us","reason":"their peering"}'
like "among the others" "$(ctl override list)" 'AS4294967295 +us +their peering'
like "its number is its name" "$(ctl override set AS4294967295 asn=AS1 2>&1)" 'asn: cannot be set'
ok "override set" ctl override set AS4294967295 region=eu
is "is changed" "$(ctl -j override show AS4294967295 | jq -c '[.region, .reason]')" '["eu","their peering"]'
like "in the audit by name" "$(said audit --limit 1)" 'update override AS4294967295: region us -> eu'
ok "export" ctl export -o "$TAP_WORK/systems"
ok "override remove" ctl override remove As4294967295
ok "what was exported is applied" ctl apply -f "$TAP_WORK/systems"
is "and is back" "$(ctl -j override show AS4294967295 | jq -r .region)" eu
like "and nothing else" "$(ctl apply -f "$TAP_WORK/systems" --dry-run 2>&1)" 'nothing to change|no change|[Nn]o '
ok "override remove" ctl override remove AS4294967295
ok "a fence" ctl fence add country:DE eu,us unknown=fenced for the law
ok "of a service" ctl fence add country:DE@web eu
is "fences" "$(ctl -j fence list | jq -c '.[]')" \
	'{"place":"country:DE","service":"","regions":["eu","us"],"unknown":"fenced","reason":"for the law"}
{"place":"country:DE","service":"web","regions":["eu"],"unknown":"free","reason":""}'
ok "export" ctl export -o "$TAP_WORK/steered"
ok "fence set" ctl fence set country:DE regions=us
like "a region with fences is still used" "$(ctl region remove us 2>&1)" 'fence country:DE'
ok "what was exported is applied" ctl apply -f "$TAP_WORK/steered"
is "and is back" "$(ctl -j fence show country:DE | jq -c .regions)" '["eu","us"]'
ok "fence remove" ctl fence remove country:DE
ok "fence remove" ctl fence remove country:DE@web

# ---- forces, history ---------------------------------------------------------------------------
ok "force" ctl breaker force web eu closed --for 2h --edge fra1 --reason "it's fine"
is "is there" "$(ctl -j breaker list --edges | jq -c '[.forces[0] | .edge, .service, .region, .forced, .reason]')" \
	'["fra1","web","eu","closed","it'"'"'s fine"]'
ok "again: another word" ctl breaker force web eu open --for 7d --edge fra1
refuses "release of another edge's" ctl breaker release web eu --edge ams2
ok "release" ctl breaker release web eu
sql "INSERT INTO geostream.transitions (edge, run, number, at, kind, region, service, from_state, to_state, why, actor)
	VALUES ('fra1', 1, 1, now() - interval '2 hours', 'breaker', 'eu', 'web', 'closed', 'open', E'bad \x1b[31m', ''),
	('fra1', 1, 2, now(), 'generation', '', '', '1', '2', 'revision 2', 'bob')"
is "history" "$(ctl history | wc -l)" 2
is "of the last hour" "$(ctl -j history --since 1h | jq -c '[.[] | .kind, .actor]')" '["generation","bob"]'
is "of one kind" "$(ctl -j history --kind breaker --service web --region eu --edge fra1 | jq length)" 1
is "of another edge" "$(ctl -j history --edge ams2)" '[]'
refuses "what is printed moves no terminal" grep -q $'\e' <<<"$(ctl history)"
is "no edges yet" "$(ctl -j edge list)" '[]'
sql "INSERT INTO geostream.edges (name, version, site, self, self_why, voted_at, geo_digest) VALUES
	('ams1', 'v', 'ams', 'well', '', clock_timestamp(), 255),
	('fra1', 'v', 'fra', 'late', 'its loop is late', clock_timestamp() - interval '1 minute', -1), ('old', 'v', '', '', '', NULL, 0)"
is "edges: where, and what of their GeoIP database" "$(ctl -j edge list | jq -c '[.[] | .name, .site, .geo_digest]')" \
	'["ams1","ams","00000000000000ff","fra1","fra","ffffffffffffffff","old","","0000000000000000"]'
like "one that votes" "$(ctl edge list | grep ^ams1)" '^ams1 +ams .* [0-9.]+ s '
like "one whose votes are stale, and that doubts itself" "$(ctl edge list | grep ^fra1)" '^fra1 +fra .* 6[0-9][.][0-9] s stale +doubts itself: its loop is late;'
like "one that never voted" "$(ctl edge list | grep ^old)" '^old +- .* none'
sql "UPDATE geostream.edges SET generation = 2, revision = 9, digest = 5, geo_digest = 7 WHERE name <> 'old'"
is "edges that decide alike" "$(ctl -j edge list | jq -c '[.[].differs_in]')" '["","",""]'
sql "INSERT INTO geostream.edges (name, version, generation, revision, digest, geo_digest, selection_seed, seen_at) VALUES
	('late', 'v', 2, 8, 4, 7, 0, now()), ('geo', 'v', 2, 9, 6, 8, 0, now()), ('gone', 'v', 2, 9, 6, 8, -1, now() - interval '1 minute'),
	('seed', 'w', 2, 9, 3, 7, -1, now()), ('sole', 'v', 2, 9, 1, 7, 0, now())"
is "edges that do not, and why" "$(ctl -j edge list | jq -c '[.[] | select(.differs_in != "") | .name, .differs_in]')" \
	'["geo","GeoIP database","late","configuration revision","seed","selection seed, program","sole","plans"]'
like "and for people" "$(ctl edge list | grep ^sole)" ' none +DIFFERS in plans;'
sql "DELETE FROM geostream.edges"
like "no health yet" "$(ctl -j health list --edges)" '^\[\]$'

# ---- what somebody wrote into the database past every check -------------------------------------
# A line break, an escape, DEL, and the C1 control that begins an escape, in UTF-8.
evil="E'a\\n\\x1b[31m\\x7f\\u009b31m\\u00f6'"
shown='a[?][?]\[31m[?][?][?]31mö'
acts_on_terminals() { # of the standard input
	LC_ALL=C grep -qP '[\x01-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]'
}
ok "the check sees one" acts_on_terminals <<<$'\xc2\x9b31m'
sql "ALTER TABLE geostream.edges DROP CONSTRAINT edges_site, DROP CONSTRAINT edges_self_why;
	INSERT INTO geostream.edges (name, version, geo_path, site, self_why) VALUES ($evil, $evil, $evil, $evil, $evil);
	INSERT INTO geostream.health_states (edge, kind, region, service, backend, state, why, since)
	VALUES ($evil, 'backend', $evil, $evil, $evil, $evil, $evil, now()),
		($evil, 'region', 'eu', $evil, $evil, $evil, $evil, now());
	INSERT INTO geostream.breaker_states (edge, service, region, state, saved_at, why)
	VALUES ($evil, $evil, $evil, 'open', now(), $evil);
	ALTER TABLE geostream.breaker_forces DROP CONSTRAINT breaker_forces_edge,
		DROP CONSTRAINT breaker_forces_actor, DROP CONSTRAINT breaker_forces_reason;
	INSERT INTO geostream.breaker_forces (service, region, edge, state, expires_at, actor, reason)
	VALUES ('web', 'eu', $evil, 'open', now() + interval '1 hour', $evil, $evil);
	DELETE FROM geostream.transitions;
	INSERT INTO geostream.transitions (edge, run, number, at, kind, region, service, backend, from_state, to_state, why, actor)
	VALUES ($evil, 2, 1, now(), 'breaker', $evil, $evil, $evil, $evil, $evil, $evil, $evil);
	INSERT INTO geostream.audit (revision, actor, role, kind, name, before, after)
	VALUES (1, $evil, $evil, 'region', $evil, jsonb_build_object('x', 1), jsonb_build_object($evil, $evil))"
while IFS='|' read -r lines times command; do
	read -ra words <<<"$command"
	ctl "${words[@]}" >"$TAP_WORK/said" 2>&1
	refuses "$command moves no terminal" acts_on_terminals <"$TAP_WORK/said"
	is "its lines are its own" "$(wc -l <"$TAP_WORK/said")" "$lines"
	is "the rest is there" "$(grep -o "$shown" "$TAP_WORK/said" | wc -l)" "$times"
	ctl -j "${words[@]}" >"$TAP_WORK/said"
	refuses "nor as JSON" acts_on_terminals <"$TAP_WORK/said"
	ok "which has it whole" jq -e '[.. | strings] | any(. == "a\n\u001b[31m\u007f\u009b31mö")' "$TAP_WORK/said"
done <<'ROWS'
2|5|edge list
2|11|health list --edges
2|7|breaker list --edges
1|8|history
1|4|audit --kind region --limit 1
ROWS
like "a desired state like that is refused" "$(said region show eu)" 'forces\[0\]: edge, reason or actor is no clean text'
sql "DELETE FROM geostream.breaker_forces"
refuses "region show moves no terminal" acts_on_terminals <<<"$(said region show eu)"
like "and has the health told" "$(said region show eu)" "region +eu $shown $shown: $shown since .*, edge $shown: $shown"
refuses "an error has only UTF-8 in it" acts_on_terminals <<<"$(said region show $'\xc2\x9b31m'; said -c $'/\x9b\xc2\x9b' region list)"
like "and no half of it" "$(said region show $'a\xff\xe2\x82' | iconv -f UTF-8 -t UTF-8 2>&1)" '"a[?][?][?]"'
done_testing
