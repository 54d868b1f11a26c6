#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Three edges of three sites on one PostgreSQL. One loses its way to a region: its clients move, and
# nobody else's. One loses its anchors: it does not vote. The region dies: all say so.
#
#   client de -> edge b -+            client ke -> the lab's edge -+
#                        +- internet ------------------------------+- regions
#                   edge c -+   (no clients)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t46
pins_end() {
	rm -rf "$LAB_PIN-b" "$LAB_PIN-c"
	rm -f "$(edge_socket b)" "$(edge_socket c)"
}
at_exit pins_end

# ---- more edges --------------------------------------------------------------------------------
declare -A ROUTER=([b]=192.0.2.5 [c]=192.0.2.9) ADDR=([b]=192.0.2.6 [c]=192.0.2.10)
declare -A SITE=([b]=ams [c]=waw)
edge_socket() { # EDGE
	printf '/run/%s-%s.sock\n' "$LAB_PREFIX" "$1"
}
edge_ctl() { # EDGE ARGUMENT...
	"$BUILD/geostreamctl" --config "$LAB_DIR/$1.conf" "${@:2}"
}
edge_link() { # EDGE
	lab_space_open "edge-$1" && link_spaces "edge-$1" "$LAB_UPLINK" internet "edge-$1" &&
		lab_in internet ip link set dev "edge-$1" xdpdrv obj "$LAB_PASS" sec xdp &&
		configure "edge-$1" <<-IP && configure internet <<-IP
			addr add ${ADDR[$1]}/30 dev $LAB_UPLINK
			addr add 2001:db8:0:e$1::2/64 dev $LAB_UPLINK nodad
			route add default via ${ROUTER[$1]}
			route add default via 2001:db8:0:e$1::1
		IP
			addr add ${ROUTER[$1]}/30 dev edge-$1
			addr add 2001:db8:0:e$1::1/64 dev edge-$1 nodad
		IP
}
anchors() { # of edge c: hosts on the other side
	printf 'icmp:%s, icmp:%s\n' "$(lab_client_address de 4)" "$(lab_client_address ke 4)"
}
edge_up() { # EDGE
	mkdir -p "$LAB_DIR/state-$1"
	sed "s|^edge = .*|edge = $1|; s|^site = .*|site = ${SITE[$1]}|; s|^pin_dir = .*|pin_dir = $LAB_PIN-$1|
		s|^socket = .*|socket = $(edge_socket "$1")|; s|^state_dir = .*|state_dir = $LAB_DIR/state-$1|" \
		"$LAB_CONF" >"$LAB_DIR/$1.conf"
	[[ $1 != c ]] || echo "anchors = $(anchors)" >>"$LAB_DIR/$1.conf"
	lab_in "edge-$1" "$BUILD/geostream-loader" attach "$LAB_UPLINK" --mode native --pin-dir "$LAB_PIN-$1" || return 1
	nsenter --net="$(lab_path "edge-$1")" setsid "$BUILD/geostreamd" --config "$LAB_DIR/$1.conf" \
		>>"$LAB_LOG" 2>&1 </dev/null &
	lab_wait 30 edge_ctl "$1" status
}
# Probes of edges without clients come through the tunnel, too.
believe_all() { # BACKEND
	lab_kit "$1" --edge "${ADDR[b]}" --edge 2001:db8:0:eb::2 --edge "${ADDR[c]}" --edge 2001:db8:0:ec::2
}

need "the network" lab_network_up
lab_write_site_conf() {
	lab_database_up && lab_write_conf && echo "site = fra" >>"$LAB_CONF" && lab_ctl db migrate &&
		lab_ctl apply -f "$LAB_SAMPLE" && lab_attach && lab_daemon_start
}
need "the first edge" lab_write_site_conf
for edge in b c; do
	need "edge $edge's link" edge_link "$edge"
	need "edge $edge" edge_up "$edge"
done
for backend in $(lab_backends); do
	need "$backend believes all edges" believe_all "$backend"
done
# The client de has edge b before it.
need "a client of edge b" lab_in internet ip rule add pref 20 from "$(lab_client_address de 4)" \
	to "$LAB_VIP4" lookup 46
need "and its way" lab_in internet ip route add default via "${ADDR[b]}" table 46
need "every client at home" lab_wait 30 lab_everyone_home de ke

# ---- three edges vote --------------------------------------------------------------------------
global() { # CTL REGION
	"${@:1:$#-1}" -j vote list "${!#}" | jq -r '.votes[0] | "\(.global): \(.why)"'
}
all_hold() { # REGION TEXT
	local ctl
	for ctl in "lab_ctl" "edge_ctl b" "edge_ctl c"; do
		# shellcheck disable=SC2086 # a command and its word
		[[ $(global $ctl "$1") == "$2" ]] || return 1
	done
}
ok "all edges hold that eu is up" lab_wait 20 all_hold eu "up: up by 3 of 3 edges in 3 of 3 domains"
is "they decide alike" "$(lab_ctl -j edge list | jq -c '[.[] | .site], ([.[] | .digest, .geo_digest, .selection_seed] | unique | length)' | tr -d '\n')" \
	'["ams","waw","fra"]3'
is "and say so" "$(lab_ctl -j edge list | jq -c '[.[].differs_in] | unique')$(edge_ctl b -j status | jq -c '[.accord[]]')" '[""][3,0,""]'
like "and trust themselves" "$(lab_ctl edge list | grep ^lab)" '^lab +fra '

# ---- one edge's way to a region is cut ---------------------------------------------------------
cut() { # add|del
	lab_in internet ip rule "$1" pref 5 from "${ADDR[b]}" to 10.1.0.0/16 blackhole
	lab_in internet ip -6 rule "$1" pref 5 from 2001:db8:0:eb::2 to fd00:1::/64 blackhole
}
moved() { # CLIENT
	local region
	region=$(region_of "$1" "$LAB_VIP4")
	[[ $region != eu && $region != none ]]
}
transitions() { # WHERE
	psql -XAtq "$LAB_DATABASE" -c "SELECT count(*) FROM geostream.transitions WHERE kind = 'region' AND region = 'eu' AND $1"
}
before=$(transitions "edge <> 'b'")
cut add
ok "its client moves" lab_wait 5 moved de
ok "eu is up for all, by the two others" lab_wait 10 all_hold eu "up: up by 2 of 3 edges in 2 of 3 domains"
like "route get says so" "$(edge_ctl b route get "$(lab_client_address de 4)" --service web)" \
	'this edge cannot reach it, others can: up by 2 of 3 edges in 2 of 3 domains'
like "vote list has it" "$(lab_ctl vote list eu)" '  b +ams +down '
is "the others' clients stay" "$(region_of ke "$LAB_VIP4")" eu
is "and their words" "$(transitions "edge <> 'b'")" "$before"
cut del
ok "it comes home" lab_wait 15 lab_everyone_home de
ok "and all agree again" lab_wait 15 all_hold eu "up: up by 3 of 3 edges in 3 of 3 domains"

# ---- an edge hears no anchor -------------------------------------------------------------------
cut_anchor() { # add|del CLIENT
	lab_in internet ip rule "$1" pref 5 from "${ADDR[c]}" to "$(lab_client_address "$2" 4)/32" blackhole
}
anchors_are() { # STATE STATE SELF
	[[ $(edge_ctl c -j status | jq -r '"\([.anchors[].health] | join(" ")) \(.self.state)"') == "$*" ]]
}
votes_of_c() { # VOTE
	[[ $(lab_ctl -j vote list | jq -r '[.votes[].votes[] | select(.edge == "c").vote] | unique | join(" ")') == "$1" ]]
}
like "a name is no anchor" "$("$BUILD/geostreamd" -c "$LAB_DIR/c.conf" -o anchors=icmp:gateway --check 2>&1)" \
	"^--set: anchors: 'icmp:gateway' has no IP address"
ok "its anchors answer" lab_wait 10 anchors_are up up well
before=$(transitions true)
cut_anchor add de
ok "one is silent: the other one is enough" lab_wait 10 anchors_are down up well
ok "it votes" votes_of_c up
cut_anchor add ke
ok "both are: it doubts itself" lab_wait 10 anchors_are down down anchors_silent
ok "and votes for nothing" lab_wait 5 votes_of_c unknown
like "edge list says why" "$(lab_ctl edge list | grep ^c)" ' doubts itself: no anchor answers;'
like "status, too" "$(edge_ctl c status)" 'anchors +2, of which 2 silent'
like "and metrics" "$(lab_in edge-c curl -s http://127.0.0.1:8080/metrics | grep -c '^geostream_anchor_up{.*} 0$')" 2
cut_anchor del de
ok "one answers: it trusts itself" lab_wait 10 anchors_are up down well
cut_anchor del ke
ok "and votes as before" lab_wait 10 all_hold eu "up: up by 3 of 3 edges in 3 of 3 domains"
is "no word has changed anywhere" "$(transitions true)" "$before"

# ---- the region dies ---------------------------------------------------------------------------
lab_region_blackhole eu
ok "the client of edge b moves" lab_wait 5 moved de
ok "and the others'" lab_wait 5 moved ke
ok "eu is down for all" lab_wait 10 all_hold eu "down: down by 3 of 3 edges in 3 of 3 domains"
like "metrics have it" "$(lab_in edge-c curl -s http://127.0.0.1:8080/metrics)" 'geostream_region_global.region="eu". 0'
lab_region_heal eu
ok "everyone is home" lab_wait 30 lab_everyone_home de ke

done_testing
