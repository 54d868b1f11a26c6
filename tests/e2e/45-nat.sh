#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Servers that nobody has touched as NAT backends: no decapsulator, no VIP, their own routes. One is
# far, behind two routers on the edge's only uplink (one-armed: what comes leaves by the same NIC);
# one is near, on a second NIC of the edge (two-armed: the program is on both).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t45
lab_test_up
HTTP=8000 BYTES=9000

talk() { # CLIENT put|get|udp ADDRESS BYTES
	lab_in "client-$1" timeout 60 "$BUILD/lab-talk" "$2" "$3" "$BYTES" "$4" 2>&1
}
reason() { # NAME
	status_of ".reasons.$1 // 0"
}
datagram() { # ADDRESS; that nobody need answer
	lab_in client-de timeout 0.5 "$BUILD/lab-talk" udp "$1" "$BYTES" 100
}
grew() { # NAME BEFORE
	(($(reason "$1") > $2))
}
explain() { # FAMILY PORT [OPTION...]
	lab_explain_client de "$1" --dport "$2" --iface "$LAB_UPLINK" "${@:3}"
}
answers() { # BACKEND VIP
	local answer
	answer=$(lab_ask de "$2" "$HTTP")
	[[ $answer == "$1 "* ]]
}
ask_all() { # BACKEND VIP COUNT
	local i
	for ((i = 0; i < $3; i++)); do
		answers "$1" "$2" || return 1
	done
}
state() { # BACKEND
	status_of ".backends[] | select(.name == \"$1\") | .state"
}
is_state() { # BACKEND STATE
	[[ $(state "$1") == "$2" ]]
}

# ---- the servers -------------------------------------------------------------------------------
need "a space" lab_space_open plain-far
need "behind a region's router" attach_host plain-far region-eu plain-far 10.1.0.99 fd00:1::99
lab_in plain-far ip route change default via "$LAB_GATEWAY4" dev wan onlink
lab_in plain-far ip -6 route change default via "$LAB_GATEWAY6" dev wan
lab_in plain-far ethtool -K wan gro on # veth takes no redirect otherwise
need "a space" lab_space_open plain-near
need "on a second NIC" link_spaces edge lan plain-near wan
lab_in plain-near ethtool -K wan gro on
configure edge <<-IP
	addr add 10.9.0.1/24 dev lan
	addr add fd00:9::1/64 dev lan nodad
IP
configure plain-near <<-IP
	addr add 10.9.0.11/24 dev wan
	addr add fd00:9::11/64 dev wan nodad
	route add default via 10.9.0.1
	route add default via fd00:9::1
IP
at_exit rm -f "$LAB_PIN/link-lan" # the lab only knows of its uplink
ok "the program is on the second NIC, too" lab_loader attach lan --mode native --pin-dir "$LAB_PIN"
for server in plain-far plain-near; do
	need "$server: a web server" lab_backend_start "$server"
done
for address in 10.1.0.99 fd00:1::99; do
	lab_in plain-far setsid "$BUILD/lab-talk" serve "$address" 9001 far </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
done
for address in 10.9.0.11 fd00:9::11; do
	lab_in plain-near setsid "$BUILD/lab-talk" serve "$address" 9001 near </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
done

# ---- services ----------------------------------------------------------------------------------
for family in 4 6; do
	vip=$LAB_VIP4
	declare -A addresses=([far]=10.1.0.99 [near]=10.9.0.11)
	if [[ $family == 6 ]]; then
		vip=$LAB_VIP6
		addresses=([far]=fd00:1::99 [near]=fd00:9::11)
	fi
	ok "IPv$family: the web" lab_ctl service add "plain$family" "vip=$vip" port=$HTTP protocol=tcp policy=nearest \
		probe_kind=http probe_path=/health
	for protocol in tcp udp; do
		ok "IPv$family: bytes over $protocol" lab_ctl service add "bytes-$protocol$family" "vip=$vip" port=$BYTES \
			protocol=$protocol policy=nearest probe_kind=none
	done
	for server in far near; do
		address=${addresses[$server]}
		admin=auto
		[[ $server == far ]] || admin=drain
		ok "$server, IPv$family: the web" lab_ctl backend add "$server$family" "service=plain$family" region=eu \
			"address=$address" forward=nat port=8080 "admin=$admin"
		for protocol in tcp udp; do
			ok "$server, IPv$family: $protocol" lab_ctl backend add "$server-$protocol$family" \
				"service=bytes-$protocol$family" region=eu "address=$address" forward=nat port=9001 "admin=$admin"
		done
	done
done
refuses "an IPv6 backend of an IPv4 service" lab_ctl backend add wrong service=plain4 region=eu \
	address=fd00:1::98 forward=nat

# The client's side of a connection as the edge sends it, and what its server answers to.
declare -A said=() # by server and family: the first
explain_back() { # SERVER FAMILY [OPTION...]
	local there=${said[$1$2]}
	lab_in edge "$BUILD/geostreamctl" --config "$LAB_CONF" "${@:3}" explain --ack --sport 8080 \
		--iface "$([[ $1 == near ]] && echo lan || echo "$LAB_UPLINK")" --src "$(jq -r .forward.to <<<"$there")" \
		--dst "$(jq -r .forward.from <<<"$there")" --dport "$(jq -r .forward.from_port <<<"$there")"
}
both_ways_explained() { # SERVER FAMILY
	local server=$1 family=$2 there vip=$LAB_VIP4 client sport=$((53000 + $2)) way="tx $LAB_UPLINK"
	[[ $family == 4 ]] || vip="[$LAB_VIP6]"
	[[ $server == far ]] || way="redirect lan" sport=$((53010 + family))
	client=$(lab_client_address de "$family")
	ok "a connection by a port we know" lab_in client-de curl -s -g -m 2 --local-port "$sport" "http://$vip:$HTTP/whoami"
	there=$(explain "$family" $HTTP --sport "$sport" --ack)
	said[$server$family]=$there
	like "explain, IPv$family" "$(jq -c '[.verdict, .forward.mode, .forward.to, .forward.to_port]' <<<"$there")" \
		'"tx","nat","(10|fd00)[^"]*",8080'
	is "by which link" "$(jq -r '"\(.leaves.by) \(.leaves.interface)"' <<<"$there")" "$way"
	is "$server, IPv$family: its answer is explained" "$(explain_back "$server" "$family" -j |
		jq -c '[.reason, .reply.backend, .reply.service, .reply.client, .reply.client_port, .reply.vip_port, .forward.mode,
			.forward.to, .forward.to_port, .leaves.interface]')" \
		"[\"tx_nat_reply\",\"$server$family\",\"plain$family\",\"$client\",$sport,$HTTP,\"reply\",\"$client\",$sport,\"$LAB_UPLINK\"]"
}

# SERVER: the other one rests.
all_is_well() {
	local server=$1 name=plain-$1 vip family before
	for vip in "$LAB_VIP4" "$LAB_VIP6"; do
		before=$(reason tx_nat_reply)
		ok "$server: curl $vip" lab_wait 30 answers "$name" "$vip"
		ok "and 50 times more" ask_all "$name" "$vip" 50
		ok "replies were counted" lab_wait 5 grew tx_nat_reply "$before"
		is "10 MB up" "$(talk de put "$vip" 10000000)" "$server 10000000"
		is "10 MB down" "$(talk de get "$vip" 10000000)" "$server 10000000"
		is "a datagram" "$(talk de udp "$vip" 1200)" "$server 1200"
		is "one in fragments" "$(talk de udp "$vip" 9000)" "$server 9000"
	done
	for family in 4 6; do
		both_ways_explained "$server" "$family"
		ok "the probe is served" lab_wait 10 is_state "$server$family" up
	done
}
all_is_well far
like "explain's answer, for people" "$(explain_back far 4)" \
	'reply +from NAT, of the flow [0-9.]+:53004 -> 198.51.100.10:8000.*backend +far4 in eu, where the flow is the edge.s port'
is "whom the server sees" "$(lab_in client-de curl -s -m 2 "http://$LAB_VIP4:$HTTP/whoami" | jq -r .client)" "$LAB_EDGE4"

# ---- the edge's own connections ----------------------------------------------------------------
# From the address NAT sends from, to the port it sends to: the kernel's ports are not NAT's.
own() {
	local i
	for ((i = 0; i < 20; i++)); do
		lab_in edge curl -s -g -m 2 -o /dev/null "http://10.1.0.99:8080/whoami" || return 1
		lab_in edge curl -s -g -m 2 -o /dev/null "http://[fd00:1::99]:8080/whoami" || return 1
	done
}
ok "work beside it" own

# ---- under traffic -----------------------------------------------------------------------------
FLOWS=(nat-4 nat-6)
lab_flows_start nat-4 client-de "$LAB_VIP4" $HTTP
lab_flows_start nat-6 client-de "$LAB_VIP6" $HTTP
reached=50
ok "traffic" lab_wait 20 flows_reached "$reached" '^plain-far'
for i in 1 2 3; do
	ok "the program is replaced" lab_loader replace "$LAB_UPLINK" --pin-dir "$LAB_PIN"
	ok "traffic goes on" lab_wait 20 flows_reached $((reached += 50)) '^plain-far'
done
lab_daemon_end KILL
ok "without the daemon, too" lab_wait 20 flows_reached $((reached += 50)) '^plain-far'
ok "which comes back" lab_daemon_start
ok "traffic goes on" lab_wait 20 flows_reached $((reached += 50)) '^plain-far'
lab_flows_stop "${FLOWS[@]}"
ok "nothing failed" no_flow_failed
for name in drop_nat_full drop_nat_unknown drop_ttl; do
	is "no $name" "$(reason $name)" 0
done

# ---- narrow ways -------------------------------------------------------------------------------
# A router behind the edge tells the edge's own address what it cannot take; the client has to know.
lab_in internet ip link set region-eu mtu 1300
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	is "100 MB up through 1,300 bytes to $vip" "$(talk de put "$vip" 100000000)" 'far 100000000'
	like "because the client was told" "$(lab_in client-de ip route get "$vip")" 'mtu 1300'
done
lab_in internet ip link set region-eu mtu 1500
# A router before the client tells the VIP; only the edge knows which of its ports sent it.
lab_in internet ip link set client-ke mtu 1300
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	before=$(reason tx_icmp)
	is "100 MB down through 1,300 bytes from $vip" "$(talk ke get "$vip" 100000000)" 'far 100000000'
	ok "the server was told, through the edge" lab_wait 5 grew tx_icmp "$before"
done
lab_in internet ip link set client-ke mtu 1500
# The other errors, both ways.
for family in 4 6; do
	vip=$LAB_VIP4 address=10.1.0.99 unreachable=IcmpInDestUnreachs
	[[ $family == 4 ]] || vip=$LAB_VIP6 address=fd00:1::99 unreachable=Icmp6InDestUnreachs
	lab_errors_reach NAT "$family" 4 plain-far datagram "$vip"
	before=$(lab_counted "$unreachable" client-de)
	lab_in region-eu ip "-$family" rule add to "$address" unreachable priority 10
	ok "of a server out of reach the client is told" lab_wait 10 \
		lab_asks_and_told "$unreachable" "$before" client-de datagram "$vip"
	lab_in region-eu ip "-$family" rule del priority 10
done

# ---- near --------------------------------------------------------------------------------------
for family in 4 6; do
	for kind in "" -tcp -udp; do
		ok "the near one" lab_ctl backend set "near$kind$family" admin=auto
		ok "not the far one" lab_ctl backend set "far$kind$family" admin=drain
	done
done
for kind in tcp udp; do
	for vip in "$LAB_VIP4" "$LAB_VIP6"; do
		is_near() {
			[[ $(talk de "${kind/tcp/get}" "$vip" 10) == near* ]]
		}
		ok "in force" lab_wait 20 is_near
	done
done
all_is_well near

# It takes more than the client's link: what is too large for that the server is told, and sends in
# pieces then.
lab_in edge ip link set lan mtu 3000
lab_in plain-near ip link set wan mtu 3000
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	before=$(reason tx_too_big)
	is "a datagram of 2,500 bytes, answered by $vip" "$(talk de udp "$vip" 2500)" 'near 2500'
	ok "the server was told" lab_wait 5 grew tx_too_big "$before"
	is "10 MB down" "$(talk de get "$vip" 10000000)" 'near 10000000'
done
lab_in edge ip link set lan mtu 1500
lab_in plain-near ip link set wan mtu 1500

# The edge's link to it takes less than the client's and the server's own: both are told by the MSS.
lab_in edge ip link set lan mtu 1300
hop_is_narrow() {
	[[ $(explain "$1" "$BYTES" | jq .forward.mtu) == 1300 ]]
}
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	ok "the hop's MTU is known" lab_wait 20 hop_is_narrow "$family"
	before=$(reason tx_too_big)
	is "10 MB up" "$(talk de put "$vip" 10000000)" 'near 10000000'
	is "10 MB down" "$(talk de get "$vip" 10000000)" 'near 10000000'
	is "nobody sent too much" "$(reason tx_too_big)" "$before"
done

# ---- a server that stops -----------------------------------------------------------------------
for family in 4 6; do
	ok "the far one again" lab_ctl backend set "far$family" admin=auto
done
lab_backend_stop plain-near
for family in 4 6; do
	ok "the probe finds out" lab_wait 20 is_state "near$family" down
done
ok "the far one serves IPv4" lab_wait 10 answers plain-far "$LAB_VIP4"
ok "and IPv6" lab_wait 10 answers plain-far "$LAB_VIP6"

# ---- a server that refuses -----------------------------------------------------------------------
# Nobody listens there, and nobody probes: only what it answers clients tells.
ok "another port" lab_ctl backend set near-tcp4 port=9009
refused() {
	local said
	said=$(lab_in client-de timeout 2 bash -c "exec 3<>/dev/tcp/$LAB_VIP4/$BYTES" 2>&1)
	[[ $said == *refused* ]]
}
ok "clients are refused" lab_wait 20 refused
# shellcheck disable=SC2016 # for the inner shell
lab_in client-de timeout 10 bash -c 'for i in {1..20}; do (exec 3<>"/dev/tcp/$0/$1"); done' "$LAB_VIP4" "$BYTES" 2>/dev/null
has_resets() {
	lab_ctl -j handshake list --limit 200 |
		jq -e '[.backends[] | select(.backend == "near-tcp4").resets] | add >= 20' >/dev/null
}
ok "each is counted" lab_wait 10 has_resets
is "of nobody else" "$(lab_ctl -j handshake list --limit 200 | jq '[.backends[] | select(.backend != "near-tcp4").resets] | add')" 0

done_testing
