#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What a real edge meets besides whole packets that fit: datagrams in fragments, path MTUs in both
# directions, echo requests; and the answer to "why did this client go there?".
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t40
lab_test_up
PORT=9000

talk() { # CLIENT put|get|udp ADDRESS BYTES
	lab_in "client-$1" timeout 60 "$BUILD/lab-talk" "$2" "$3" "$PORT" "$4" 2>&1
}
reason() { # NAME
	status_of ".reasons.$1 // 0"
}
datagram() { # ADDRESS; that nobody need answer
	lab_in client-de timeout 0.5 "$BUILD/lab-talk" udp "$1" "$PORT" 100
}
grew() { # NAME BEFORE
	(($(reason "$1") > $2))
}
explain() { # CLIENT FAMILY [OPTION...]
	lab_explain_client "$@"
}

# ---- explain -----------------------------------------------------------------------------------
forwarded() {
	status_of '[.reasons | to_entries[] | select(.key | startswith("tx_")) | .value] | add'
}
before=$(forwarded)
has_settled() {
	local was=$before
	before=$(forwarded)
	[[ $before == "$was" ]]
}
ok "the last connections have ended" lab_wait 10 has_settled
for family in 4 6; do
	said=$(explain de "$family" --dport 80)
	is "IPv$family: decided, not remembered" "$(jq -c '[.verdict, .reason, .known_flow]' <<<"$said")" \
		'["tx","tx_new",false]'
done
is "the program's counters have not moved" "$(forwarded)" "$before"
said=$(explain de 4 --dport 80)
is "by its mode, to the backend's address" "$(jq -c '.backend as $name | [.forward.mode, .forward.to == (.plan.winner.backends[] | select(.name == $name) | .address)]' <<<"$said")" '["ipip",true]'
like "from another namespace, too, and it says what it does not know there" \
	"$(lab_ctl explain --src "$(lab_client_address de 4)" --dst "$LAB_VIP4" --dport 80)" \
	'interface +unknown: .*verdict +tx, tx_new: forwarded: new flow'
refuses "an interface without the program" lab_explain --src 8.8.8.8 --dst "$LAB_VIP4" --dport 80 --iface lo
refuses "one there is not" lab_explain --src 8.8.8.8 --dst "$LAB_VIP4" --dport 80 --iface gs-no
is "another port" "$(explain de 4 --dport 81 | jq -r '.reason')" pass_not_service
is "another protocol" "$(explain de 6 --dport 80 --proto udp | jq -r '.verdict')" pass
ok "a region that is drained" lab_ctl region set eu admin=drain
drained() {
	[[ $(explain de 4 --dport 80 | jq -r .region) == us ]]
}
ok "is not where it goes" lab_wait 10 drained
like "and the plan says why" "$(explain de 4 --dport 80 | jq -r '.plan.candidates[0].why')" '^drained by an operator'
ok "in maintenance" lab_ctl region set eu admin=maintenance
skipped() {
	[[ $(explain de 4 --dport 80 | jq -c '.plan.skipped[0] | [.region, .admin, .why]') == '["eu","maintenance","down by an operator"]' ]]
}
ok "it is in no plan, and that is said" lab_wait 10 skipped
like "for people, too" "$(lab_explain --src "$(lab_client_address de 4)" --dst "$LAB_VIP4" --dport 80)" \
	'skipped +eu +[0-9]+ km  admin maintenance: down by an operator'
ok "home again" lab_ctl region set eu admin=auto
ok "is where it goes" lab_wait 10 lab_everyone_home de
refuses "another program is no twin" lab_ctl explain --src 8.8.8.8 --dst "$LAB_VIP4" --dport 80 \
	--object "$BUILD/bpf/gs_decap.bpf.o"
refuses "an address that is none" lab_ctl explain --src 8.8.8 --dst "$LAB_VIP4" --dport 80
refuses "two families" lab_ctl explain --src 8.8.8.8 --dst "$LAB_VIP6" --dport 80
refuses "no port" lab_ctl explain --src 8.8.8.8 --dst "$LAB_VIP4"
refuses "a capture that is none" lab_ctl explain --pcap README.md
# One frame of a capture: ARP, 42 zero bytes behind its type.
{
	printf '\xd4\xc3\xb2\xa1\x02\x00\x04\x00\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0'
	printf '\0\0\0\0\0\0\0\0\x3c\0\0\0\x3c\0\0\0'
	printf '\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\x06'
	head -c 46 /dev/zero
} >"$TAP_WORK/arp.pcap"
is "a capture" "$(lab_ctl -j explain --pcap "$TAP_WORK/arp.pcap" | jq -r .reason)" pass_not_ip
head -c 50 "$TAP_WORK/arp.pcap" >"$TAP_WORK/cut.pcap"
refuses "a capture that is cut short" lab_ctl explain --pcap "$TAP_WORK/cut.pcap"
like "which is named, with its packet" "$(lab_ctl explain --pcap "$TAP_WORK/cut.pcap" 2>&1)" \
	'cut.pcap: packet 1: the file ends within it'
# In nanoseconds, big endian: a connection's SYN, its ACK, of which half was captured, and its RST.
{
	printf '\xa1\xb2\x3c\x4d\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\x01'
	for flags in '\x02' '\x10' '\x04'; do
		length='\0\0\0\x36'
		[[ $flags != '\x10' ]] || length='\0\0\0\x6c'
		printf '\0\0\0\0\0\0\0\0\0\0\0\x36%b' "$length"
		printf '\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0\x45\0\0\x28\0\0\x40\0\x40\x06\0\0\x08\x08\x08\x08\xc6\x33\x64\x0a'
		printf '\x9c\x40\0\x50\0\0\0\0\0\0\0\0\x50%b\xff\xff\0\0\0\0' "$flags"
	done
} >"$TAP_WORK/tcp.pcap"
before=$(forwarded)
is "a connection: its packets follow each other" "$(lab_in edge "$BUILD/geostreamctl" --config "$LAB_CONF" -j explain \
	--pcap "$TAP_WORK/tcp.pcap" | jq -c '[.number, .captured, .packet.length, .reason, .known_flow, .flow]' | paste -sd ' ')" \
	'[1,54,54,"tx_new",false,null] [2,54,108,"tx_flow",true,null] [3,54,54,"tx_flow",true,null]'
like "for people" "$(lab_explain --pcap "$TAP_WORK/tcp.pcap")" \
	'number +2.captured +54 bytes of it.*flow +known by an earlier packet of this capture'
is "of which the edge has met none" "$(forwarded)" "$before"

# ---- a service for bytes -----------------------------------------------------------------------
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	for protocol in tcp udp; do
		ok "a service: $protocol over IPv$family" lab_ctl service add "bytes-$protocol$family" "vip=$vip" \
			port=$PORT protocol=$protocol policy=nearest probe_kind=none
	done
done
while read -r backend address4 address6; do
	for protocol in tcp udp; do
		ok "$backend, $protocol" lab_ctl backend add "$backend-$protocol-4" \
			service="bytes-${protocol}4" region="${backend%-*}" address="$address4"
		ok "$backend, $protocol over IPv6" lab_ctl backend add "$backend-$protocol-6" \
			service="bytes-${protocol}6" region="${backend%-*}" address="$address6"
	done
	for vip in "$LAB_VIP4" "$LAB_VIP6"; do
		lab_in "$backend" setsid "$BUILD/lab-talk" serve "$vip" $PORT "$backend" </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
	done
done <<-ROWS
	eu-1 10.1.0.11 fd00:1::11
	eu-2 10.1.0.12 fd00:1::12
	us-1 10.2.0.11 fd00:2::11
	us-2 10.2.0.12 fd00:2::12
ROWS
served() { # CLIENT REGION
	[[ $(talk "$1" udp "$LAB_VIP4" 10) == "$2"-* && $(talk "$1" udp "$LAB_VIP6" 10) == "$2"-* &&
	$(talk "$1" get "$LAB_VIP4" 10) == "$2"-* && $(talk "$1" get "$LAB_VIP6" 10) == "$2"-* ]]
}
ok "served" lab_wait 30 served de eu

# ---- fragments ---------------------------------------------------------------------------------
# Smaller than the way to the backends by the outer header, or its pieces would not fit.
small_pieces() { # [no]
	local mtu=(mtu lock 1400)
	[[ -z ${1:-} ]] || mtu=()
	lab_in client-de ip route change default via "$LAB_GATEWAY4" dev wan onlink "${mtu[@]}"
	lab_in client-de ip -6 route change default via "$LAB_GATEWAY6" dev wan "${mtu[@]}"
}
small_pieces
whole=$(reason drop_fragment)
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	before=$(reason tx_fragment)
	for bytes in 1373 2000 4000 9000 30000; do
		like "$bytes bytes in fragments to $vip" "$(talk de udp "$vip" $bytes)" "^eu-[12] $bytes\$"
	done
	ok "they were counted" lab_wait 5 grew tx_fragment "$before"
done
is "none came without its first" "$(reason drop_fragment)" "$whole"
small_pieces no

# ---- too large, once encapsulated --------------------------------------------------------------
# Servers that ask for full segments: clients send what does not fit, and are told what does.
for backend in eu-1 eu-2; do
	ok "$backend asks for full segments" lab_kit "$backend" --mss off
done
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	before=$(reason tx_too_big)
	like "100 MB up to $vip arrive" "$(talk de put "$vip" 100000000)" '^eu-[12] 100000000$'
	ok "because the client was told" lab_wait 5 grew tx_too_big "$before"
done
for backend in eu-1 eu-2; do
	ok "$backend asks for what fits" lab_kit "$backend"
done

# ---- a narrow way to the client ----------------------------------------------------------------
# A router behind the servers tells the VIP; only the edge knows which server sent it.
lab_in internet ip link set client-ke mtu 1300
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	before=$(reason tx_icmp)
	like "100 MB down from $vip arrive" "$(talk ke get "$vip" 100000000)" '^eu-[12] 100000000$'
	ok "because the server was told, through the edge" lab_wait 5 grew tx_icmp "$before"
done
lab_in internet ip link set client-ke mtu 1500
lab_errors_reach IPIP 4 2 "eu-1 eu-2" datagram "$LAB_VIP4"
lab_errors_reach IPIP 6 2 "eu-1 eu-2" datagram "$LAB_VIP6"

# ---- GUE ---------------------------------------------------------------------------------------
for backend in eu-1 eu-2; do
	for protocol in tcp udp; do
		for family in 4 6; do
			ok "$backend by GUE: $protocol over IPv$family" \
				lab_ctl backend set "$backend-$protocol-$family" forward=gue
		done
	done
done
by_gue() { # FAMILY
	[[ $(explain de "$1" --dport "$PORT" | jq -c '[.forward.mode, .forward.to_port, .verdict]') == '["gue",6080,"tx"]' ]]
}
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	ok "in force for IPv$family" lab_wait 10 by_gue "$family"
	like "10 MB up" "$(talk de put "$vip" 10000000)" '^eu-[12] 10000000$'
	like "10 MB down" "$(talk de get "$vip" 10000000)" '^eu-[12] 10000000$'
	like "a datagram" "$(talk de udp "$vip" 1200)" '^eu-[12] 1200$'
	small_pieces
	like "one in fragments" "$(talk de udp "$vip" 9000)" '^eu-[12] 9000$'
	small_pieces no
	lab_errors_reach GUE "$family" 2 "eu-1 eu-2" datagram "$vip"
done

# ---- L2 ----------------------------------------------------------------------------------------
# A server on a link of the edge's own, found by its own MAC; it answers directly.
need "a space" lab_space_open local
need "its link" link_spaces edge lan local wan
lab_in local ip link set dev wan xdpdrv obj "$LAB_PASS" sec xdp
lab_in edge sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
configure edge <<-IP
	addr add 10.9.0.1/24 dev lan
	addr add fd00:9::1/64 dev lan nodad
IP
configure local <<-IP
	addr add 10.9.0.11/24 dev wan
	addr add fd00:9::11/64 dev wan nodad
	addr add $LAB_VIP4/32 dev lo
	addr add $LAB_VIP6/128 dev lo nodad
	route add default via 10.9.0.1
	route add default via fd00:9::1
IP
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	lab_in local setsid "$BUILD/lab-talk" serve "$vip" $PORT local </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
done
for protocol in tcp udp; do
	ok "IPv4 by L2: $protocol" lab_ctl backend add "local-$protocol-4" "service=bytes-${protocol}4" region=eu \
		address=10.9.0.11 forward=l2
	ok "IPv6 by L2: $protocol" lab_ctl backend add "local-$protocol-6" "service=bytes-${protocol}6" region=eu \
		address=fd00:9::11 forward=l2
done
refuses "an IPv6 backend of an IPv4 service" lab_ctl backend add wrong service=bytes-tcp4 region=eu address=fd00:9::12 forward=l2
for family in 4 6; do
	for backend in eu-1 eu-2; do
		for protocol in tcp udp; do
			ok "the others rest" lab_ctl backend set "$backend-$protocol-$family" admin=drain
		done
	done
done
by_l2() { # FAMILY PROTOCOL
	[[ $(explain de "$1" --dport "$PORT" --proto "$2" | jq -c '[.forward.mode, .verdict, .forward.to]') == *'"l2","tx"'* ]]
}
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	ok "in force for TCP over IPv$family" lab_wait 10 by_l2 "$family" tcp
	ok "and UDP" lab_wait 10 by_l2 "$family" udp
	is "as it came, to its own MAC, by that link" \
		"$(explain de "$family" --dport "$PORT" | jq -c '[.leaves.by, .leaves.interface, .forward.to, .forward.dst_mac]')" \
		"[\"redirect\",\"lan\",\"$vip\",\"$(lab_in local ip -j link show wan | jq -r ".[0].address")\"]"
	is "10 MB up" "$(talk de put "$vip" 10000000)" 'local 10000000'
	is "10 MB down" "$(talk de get "$vip" 10000000)" 'local 10000000'
	is "a datagram in fragments" "$(talk de udp "$vip" 9000)" 'local 9000'
	lab_errors_reach L2 "$family" 2 local datagram "$vip"
done

# ---- echo --------------------------------------------------------------------------------------
for vip in "$LAB_VIP4" "$LAB_VIP6"; do
	before=$(reason tx_echo)
	ok "ping $vip" lab_in client-de ping -c 3 -i 0.2 -W 5 "$vip"
	is "by the edge" "$(($(reason tx_echo) - before))" 3
done

done_testing
