#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each client lands in the region that an independent calculation says; what an operator sees agrees;
# an override moves one client and nobody else.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t31
lab_test_up

# ---- every client, both families, both kinds of tunnel -------------------------------------------
while read -r client address4 address6; do
	is "the database places $address4 in ${client^^}" "$(oracle_country "$address4")" "${client^^}"
	is "the database places $address6 in ${client^^}" "$(oracle_country "$address6")" "${client^^}"
	# shellcheck disable=SC2046 # two numbers
	ok "with coordinates tzdata has for it" oracle_is_zone "$client" $(oracle_coordinates "$address4")
	is "$client, IPv4" "$(region_of "$client" "$LAB_VIP4")" "$(oracle_nearest "$address4")"
	is "$client, IPv6" "$(region_of "$client" "$LAB_VIP6")" "$(oracle_nearest "$address6")"
	is "$client, IPv4 in IPv6" "$(region_of "$client" "$LAB_VIP4" 8080)" \
		"$(oracle_nearest "$address4")"
	is "$client, IPv6 in IPv4" "$(region_of "$client" "$LAB_VIP6" 8080)" \
		"$(oracle_nearest "$address6")"
	is "route get $address4 agrees" \
		"$(lab_ctl -j route get "$address4" --service web | jq -r .winner.region)" \
		"$(oracle_nearest "$address4")"
	is "route get $address6 agrees" \
		"$(lab_ctl -j route get "$address6" --service web6 | jq -r .winner.region)" \
		"$(oracle_nearest "$address6")"
done <"$LAB_DIR/clients"

# ---- explain: before the connection, what then becomes of it -------------------------------------
whoami() { # CLIENT ADDRESS PORT; by this port of its own
	local host=$2
	[[ $host == *:* ]] && host="[$host]"
	lab_in "client-$1" curl -s -g -m 2 --local-port "$3" "http://$host/whoami"
}
explained=0 port=52000
for client in "${LAB_CLIENTS[@]}"; do
	for family in 4 6; do
		vip=$LAB_VIP4 name=web
		[[ $family == 4 ]] || vip=$LAB_VIP6 name=web6
		address=$(lab_client_address "$client" $family)
		port=$((port + 1))
		said=$(lab_explain_client "$client" $family --dport 80 --sport $port)
		met=$(whoami "$client" "$vip" $port)
		is "$client, IPv$family: explain has said which server would answer" \
			"$(jq -r '.backend | sub("-web6$"; "")' <<<"$said")" "$(jq -r .backend <<<"$met")"
		is "in which region, as the daemon's plan has it" "$(jq -c '[.region, .plan.winner.region]' <<<"$said")" \
			"$(jq -c '[.region, .region]' <<<"$met")"
		is "by which prefix and country" "$(jq -c --arg address "$address" \
			'[(.plan.match.prefix | test("/")), .plan.client == $address, .plan.location.country]' <<<"$said")" \
			"[true,true,\"${client^^}\"]"
		is "every step of it" "$(jq -c '[.packet.protocol, .packet.sport, .interface.name, .service, .known_flow, .flow,
			(.plan.candidates | length), .plan.skipped, .forward.mode, .forward.to == "\(.plan.winner.backends[] |
				select(.name == $backend) | .address)", .leaves.by, .leaves.interface, .forward.mtu, .verdict, .reason]' \
			--arg backend "$(jq -r .backend <<<"$said")" <<<"$said")" \
			"[\"tcp\",$port,\"$LAB_UPLINK\",\"$name\",false,null,${#LAB_REGIONS[@]},[],\"ipip\",true,\"tx\",\"$LAB_UPLINK\",1500,\"tx\",\"tx_new\"]"
		explained=$((explained + 1))
	done
done
is "of every country, both families" $explained $((2 * ${#LAB_CLIENTS[@]}))
is "afterwards the flow is known, and where it is" "$(lab_explain_client au 6 --dport 80 --sport $port --ack |
	jq -c --arg backend "$(jq -r .backend <<<"$met")" '[.reason, .known_flow, .flow.proven, (.flow.backend | startswith($backend))]')" \
	'["tx_flow",true,true,true]'
is "by the other family's tunnel" "$(lab_explain_client jp 4 --dport 8080 |
	jq -c '[.forward.mode, (.forward.from + .forward.to | contains(":")), .verdict]')" '["ipip",true,"tx"]'
is "by the other's, too" "$(lab_explain_client jp 6 --dport 8080 |
	jq -c '[.forward.mode, (.forward.from + .forward.to | contains(":")), .verdict]')" '["ipip",false,"tx"]'
said=$(lab_explain --src "$(lab_client_address de 4)" --dst "$LAB_VIP4" --dport 80)
for line in 'packet +54 bytes, tcp [0-9.]+:40000 -> ' "interface +in by $LAB_UPLINK " 'program +gs_xdp, tag [0-9a-f]{16}' \
	'service +web, policy nearest' 'prefix +[0-9./]+, by GeoIP' 'location .*DE, EU' 'plan +1. eu ' 'region +eu: nearest usable one' \
	'flow +not known' 'backend +eu-[12] in eu' 'forward +ipip, 192.0.2.2 -> 10.1.0.1[12]' \
	"next hop +[0-9a-f:]+ -> [0-9a-f:]+, back out by $LAB_UPLINK .*, MTU 1500" 'verdict +tx, tx_new: forwarded: new flow'; do
	like "for people: ${line%% *}" "$said" "$line"
done

# Distances too, to the kilometre.
distances() { # ADDRESS
	lab_ctl -j route get "$1" --service web | jq -r '.candidates[] | "\(.region) \(.distance_km | round)"'
}
for client in "${LAB_CLIENTS[@]}"; do
	address=$(lab_client_address "$client" 4)
	# shellcheck disable=SC2046 # two numbers
	is "route get has ${client}'s distances" "$(distances "$address")" \
		"$(oracle_regions $(oracle_coordinates "$address") | awk '{ printf "%s %.0f\n", $1, $2 }')"
done

regions_in_use() {
	while read -r _ address4 _; do
		oracle_nearest "$address4"
	done <"$LAB_DIR/clients" | sort -u | wc -l
}
is "all the regions are somebody's nearest" "$(regions_in_use)" "${#LAB_REGIONS[@]}"

# ---- more than one packet each way ---------------------------------------------------------------
upload() { # CLIENT URL
	head -c 300000 /dev/zero | lab_in "client-$1" curl -s -g -m 20 -o /dev/null \
		-w '%{http_code} %{size_upload}' --data-binary @- -H 'Expect:' "$2"
}
is "300 kB up, IPv4" "$(upload de "http://$LAB_VIP4/whoami")" "200 300000"
is "300 kB up, IPv6" "$(upload de "http://[$LAB_VIP6]/whoami")" "200 300000"
is "300 kB up, IPv4 in IPv6" "$(upload jp "http://$LAB_VIP4:8080/whoami")" "200 300000"
is "300 kB up, IPv6 in IPv4" "$(upload jp "http://[$LAB_VIP6]:8080/whoami")" "200 300000"

is "the backend sees the client's own address" \
	"$(lab_in client-br curl -s -m 2 "http://$LAB_VIP4/whoami" | jq -r .client)" \
	"$(lab_client_address br 4)"

both_backends() { # CLIENT REGION
	local i
	for i in {1..40}; do
		lab_ask "$1" "$LAB_VIP4"
	done | cut -d ' ' -f 1 | sort -u | paste -sd ' ' | grep -qx "$2-1 $2-2"
}
ok "both backends of a region get connections" both_backends de eu

# ---- overrides -----------------------------------------------------------------------------------
jp=$(lab_client_address jp 4)
lands() { # CLIENT ADDRESS REGION
	[[ $(region_of "$1" "$2") == "$3" ]]
}
ok "override add" lab_ctl override add "$jp/32" us --reason "a test"
ok "the client lands there" lab_wait 10 lands jp "$LAB_VIP4" us
is "its IPv6 address does not" "$(region_of jp "$LAB_VIP6")" \
	"$(oracle_nearest "$(lab_client_address jp 6)")"
is "nor does another client" "$(region_of au "$LAB_VIP4")" \
	"$(oracle_nearest "$(lab_client_address au 4)")"
is "route get says so" "$(lab_ctl -j route get "$jp" --service web | jq -r .winner.region)" us
ok "override remove" lab_ctl override remove "$jp/32"
ok "the client is home again" lab_wait 10 lands jp "$LAB_VIP4" "$(oracle_nearest "$jp")"

# ---- a country, and a fence that nothing leads over ------------------------------------------------
steered() { # ADDRESS JQ_EXPRESSION
	lab_ctl -j route get "$1" --service web | jq -c "$2"
}
ok "override of a country" lab_ctl override add country:JP us --reason "a test"
ok "its clients land there" lab_wait 10 lands jp "$LAB_VIP4" us
is "those of both families" "$(region_of jp "$LAB_VIP6")" us
is "and nobody else" "$(region_of au "$LAB_VIP4")" "$(oracle_nearest "$(lab_client_address au 4)")"
is "route get names it" "$(steered "$jp" '[.override.clients, .override.followed]')" '["country:JP",true]'
ok "override of a prefix in it" lab_ctl override add "$jp/32" eu
ok "which is nearer to what the operator means" lab_wait 10 lands jp "$LAB_VIP4" eu
ok "a fence around the continent" lab_ctl fence add continent:AS ap --reason "a law"
ok "neither leads over it" lab_wait 10 lands jp "$LAB_VIP4" ap
is "in neither family" "$(region_of jp "$LAB_VIP6")" ap
is "clients outside go where they went" "$(region_of de "$LAB_VIP4")" \
	"$(oracle_nearest "$(lab_client_address de 4)")"
is "route get names it, too" "$(steered "$jp" '[.fences[0].place, .fences[0].reason, .override.followed, .winner.region]')" \
	'["continent:AS","a law",false,"ap"]'
dropped=$(status_of '.reasons.drop_no_region // 0')
ok "its only region takes nobody new" lab_ctl region set ap admin=drain
ok "so nobody is served, rather than elsewhere" lab_wait 10 lands jp "$LAB_VIP4" none
ok "and it is counted" test "$(status_of '.reasons.drop_no_region // 0')" -gt "$dropped"
is "others have other regions" "$(region_of de "$LAB_VIP4")" eu
ok "region set" lab_ctl region set ap admin=auto
ok "served again, inside" lab_wait 10 lands jp "$LAB_VIP4" ap
ok "fence remove" lab_ctl fence remove continent:AS
ok "override remove" lab_ctl override remove "$jp/32"
ok "override remove" lab_ctl override remove country:JP
ok "and where it is nearest" lab_wait 10 lands jp "$LAB_VIP6" "$(oracle_nearest "$(lab_client_address jp 6)")"

# ---- systems, by a database of their own -----------------------------------------------------------
ok "override of a system" lab_ctl override add as64500 us --reason "their peering"
asn() { # EXPRESSION; of the status' ASN database
	lab_ctl -j status | jq -r ".asn.$1 // \"\""
}
asn_says() { # EXPRESSION PATTERN
	[[ $(asn "$1") =~ $2 ]]
}
ok "which nobody is under without an ASN database, and status says so" lab_wait 10 asn_says missing 'no ASN database'
is "clients stay" "$(region_of jp "$LAB_VIP4")" "$(oracle_nearest "$jp")"
jp6=$(lab_client_address jp 6)
"$BUILD/lab-systems" "$LAB_DIR/systems.mmdb" "$jp/32=64500" "$jp6/128=64500" "$(lab_client_address au 4)/32=64501"
printf 'asn = %s\n' "$LAB_DIR/systems.mmdb" >>"$LAB_CONF"
kill -HUP "$LAB_DAEMON"
ok "with one its clients land there" lab_wait 10 lands jp "$LAB_VIP4" us
is "those of both families" "$(region_of jp "$LAB_VIP6")" us
is "and nobody else" "$(region_of au "$LAB_VIP4")" "$(oracle_nearest "$(lab_client_address au 4)")"
is "nothing is missing" "$(asn missing)" ""
is "route get names it" "$(steered "$jp" '[.asn, .match.asn, .override.clients, .override.followed, .winner.why]')" \
	'["AS64500","AS64500","AS64500",true,"the override of AS64500 names it, and it is usable"]'
like "for people, too" "$(lab_ctl route get "$jp" --service web)" "by an override of AS64500 to us \(their peering\)"
is "explain names it" "$(lab_explain_client jp 4 --dport 80 | jq -c '[.region, .plan.override.clients]')" '["us","AS64500"]'
ok "its region takes nobody new" lab_ctl region set us admin=drain
ok "so the next one does" lab_wait 10 lands jp "$LAB_VIP4" "$(oracle_regions "$(jq -r '.regions[] | select(.name == "us").latitude' "$LAB_SAMPLE")" \
	"$(jq -r '.regions[] | select(.name == "us").longitude' "$LAB_SAMPLE")" | sed -n '2s/ .*//p')"
ok "region set" lab_ctl region set us admin=auto
ok "override of a prefix in it" lab_ctl override add "$jp/32" eu
ok "which wins" lab_wait 10 lands jp "$LAB_VIP4" eu
ok "override remove" lab_ctl override remove "$jp/32"
ok "a fence" lab_ctl fence add continent:AS ap
ok "is not led over" lab_wait 10 lands jp "$LAB_VIP6" ap
ok "fence remove" lab_ctl fence remove continent:AS
ok "back there" lab_wait 10 lands jp "$LAB_VIP6" us
head -c 300 "$LAB_DIR/systems.mmdb" >"$LAB_DIR/systems.cut" && mv "$LAB_DIR/systems.cut" "$LAB_DIR/systems.mmdb"
kill -HUP "$LAB_DAEMON"
ok "a broken file is refused" lab_wait 10 asn_says problem 'systems.mmdb: '
is "and the one in force stays" "$(region_of jp "$LAB_VIP4")" us
ok "override remove" lab_ctl override remove AS64500
ok "and where it is nearest" lab_wait 10 lands jp "$LAB_VIP6" "$(oracle_nearest "$jp6")"

# ---- what an operator sees -----------------------------------------------------------------------
# The lines of maps/README.md, in its two blocks, on the maps of this lab.
# shellcheck disable=SC2016 # the fences of a code block
sed -n '/^## Looking in/,/^## Decisions/{/^```sh/,/^```/{/^```/!p}}' maps/README.md |
	sed "s|/sys/fs/bpf/geostream|$LAB_PIN|" >"$LAB_DIR/bpftool.sh"
ok "maps/README.md has bpftool lines" test "$(grep -c bpftool "$LAB_DIR/bpftool.sh")" -gt 15
ok "they work as printed" bash -euo pipefail "$LAB_DIR/bpftool.sh"
bash "$LAB_DIR/bpftool.sh" >"$LAB_DIR/bpftool.out" 2>&1
for field in layout_version heartbeat_ns service state packets dst_mac share child_map; do
	ok "and show the field $field" grep -q "\"$field\"" "$LAB_DIR/bpftool.out"
done

# ---- what is not ours passes -------------------------------------------------------------------
ok "a port of the VIP that is no service is the edge's own business (refused by its kernel, not eaten)" \
	bash -c "nsenter --net=$(lab_path client-de) curl -s -m 5 http://$LAB_EDGE4:81/; [ \$? -eq 7 ]"

done_testing
