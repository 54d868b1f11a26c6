#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# geostream-loader doctor on a veth pair of its own: what is set wrongly is found, the remedy, pasted
# into a shell, makes it go, and what it says would fail does fail.
#
#	gs-dr-a-PID             gs-dr-b-PID
#	   edge0  ------------------ peer0        an edge and its backend
#
# LRO and GRO by hardware, kernels, drivers: no such machine is at hand; tests/unit/test_doctor.c has them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

BUILD=$(realpath "${BUILD:-build}")
A=gs-dr-a-$$
B=gs-dr-b-$$
VIP4=198.51.100.10
VIP6=2001:db8:100::10
export GEOSTREAM_PIN_DIR=/sys/fs/bpf/gs-doctor-$$ GEOSTREAM_DECAP_PIN_DIR=/sys/fs/bpf/gs-doctor-$$-kit PATH=$BUILD:$PATH
JUDGED=() # arguments of doctor that the functions below ask with; SPACE: where
SPACE=$A

in_space() { nsenter --net="/run/netns/$SPACE" "$@"; }
doctor() { in_space geostream-loader doctor "${JUDGED[@]}" "$@"; }
# The first finding of a check that is not ok, else the last one that is: LEVEL<tab>REMEDY<tab>FOUND
finding() { # CHECK [PART_OF_ITS_REMEDY]
	doctor --json | jq -r --arg check "$1" --arg part "${2-}" '
		[.findings[] | select(.check == $check)] |
		(map(select(.level != "ok" and ((.remedy // "") | contains($part)))) + map(select(.level == "ok")))[0] //
		{level: "none"} | [.level, .remedy // "", .found // ""] | @tsv'
}
level() { finding "$@" | cut -f 1; }
is_gone() { [[ $(level "$@") =~ ^(ok|none)$ ]]; } # a link takes a moment to come up
# It is found, and its remedy makes it go.
cures() { # NAME LEVEL CHECK [PART_OF_ITS_REMEDY]
	local level remedy
	IFS=$'\t' read -r level remedy _ < <(finding "${@:3}")
	is "found: $1" "$level" "$2"
	ok "remedy: $1: $remedy" in_space bash -c "$remedy"
	ok "gone: $1" wait_for 10 is_gone "${@:3}"
}
# So that `ok` of lib.sh sees an exit status as text.
exit_of() {
	local code=0
	"$@" >"$TAP_WORK/said" 2>&1 || code=$?
	printf '%d %s' "$code" "$(<"$TAP_WORK/said")"
}
worse_than_ok() { doctor --json | jq -r '[.findings[] | select(.level != "ok") | .check] | join(" ")'; }

cleanup() {
	nsenter --net="/run/netns/$A" geostream-loader detach edge0 --purge
	rm -rf "$GEOSTREAM_PIN_DIR" "$GEOSTREAM_DECAP_PIN_DIR"
	ip netns del "$A"
	ip netns del "$B"
}

need "bpffs" sh -c 'mountpoint -q /sys/fs/bpf || mount -t bpf bpffs /sys/fs/bpf'
need "a network namespace" ip netns add "$A"
at_exit cleanup
need "another" ip netns add "$B"
need "a veth pair" ip -n "$A" link add edge0 type veth peer name peer0 netns "$B"
need "the backend's end, up" ip -n "$B" link set peer0 up

# ---- words ---------------------------------------------------------------------------------------
like "usage: no interface" "$(exit_of doctor)" '^2 .*which interface'
JUDGED=(edge0)
like "usage: --vip without --backend" "$(exit_of doctor --vip $VIP4)" '^2 .*--vip is for --backend'
like "usage: --vip that is none" "$(exit_of doctor --backend --vip example.org)" "^2 .*--vip 'example.org'"
like "usage: --vip with a length" "$(exit_of doctor --backend --vip $VIP4/32)" "^2 .*--vip '$VIP4/32'"
like "usage: --mode is none of its options" "$(exit_of doctor --mode native)" '^2 .*doctor takes no --mode'
like "usage: status judges no backend" "$(exit_of in_space geostream-loader status edge0 --backend)" '^2 .*status takes no --backend'
JUDGED=(nowhere0)
like "an interface that is not there" "$(exit_of doctor)" $'^1 bad +link +no interface nowhere0'
JUDGED=(eth0) # the machine may have one: another namespace's is none
like "another namespace's interface" "$(exit_of doctor)" $'^1 bad +link +no interface eth0'
JUDGED=(lo)
is "lo is no Ethernet" "$(level link)" bad
is "nor has it native XDP" "$(level native)" warn

# ---- an edge, all wrong --------------------------------------------------------------------------
JUDGED=(edge0)
conf=net/ipv4/conf/edge0
in_space sysctl -qw $conf/rp_filter=1 $conf/forwarding=1 net/ipv6/conf/all/forwarding=1
like "down: exit 1" "$(exit_of doctor)" '^1 '
cures "down" bad link
ok "attach" in_space geostream-loader attach edge0 --mode native
like "our own program is none to complain of" "$(finding program)" $'^ok\t.*GeoStream is attached, mode native'
ok "detach" in_space geostream-loader detach edge0
cures "no room for a tunnel" warn room
cures "VLAN tags stripped" warn rxvlan
if (($(nproc) > 1)); then
	cures "fewer queues than CPUs" warn queues
fi
is "no redirects to it" "$(level redirect)" warn
nsenter --net="/run/netns/$B" ethtool -K peer0 gro on
is "unless the other end has GRO" "$(level redirect)" ok
cures "unfinished checksums" warn checksum
cures "rp_filter strict" warn rp_filter
in_space sysctl -qw $conf/rp_filter=0 net/ipv4/conf/all/rp_filter=1
cures "rp_filter strict for all" warn rp_filter
like "forwarding is a fallback" "$(finding forwarding)" $'^ok\t.*may forward both families.*blackhole route'
in_space sysctl -qw $conf/forwarding=0 net/ipv6/conf/all/forwarding=0
like "none is needed" "$(finding forwarding)" $'^ok\t.*forwards nothing.*drop_no_hop'
need "another's program" in_space ip link set dev edge0 xdpgeneric obj "$BUILD/bpf/bystander.bpf.o" sec xdp
like "it is refused indeed" "$(exit_of in_space geostream-loader attach edge0 --mode generic)" '^1 .*another XDP program'
cures "another's program" bad program
ok "detach, again" in_space geostream-loader detach edge0 --purge
is "LRO is looked at" "$(level lro)" ok
is "so is GRO by hardware" "$(level gro-hw)" ok
is "nothing is left of it" "$(worse_than_ok)" ""
like "exit 0" "$(exit_of doctor)" '^0 ok '
is "a line each" "$(doctor | grep -cvE '^(ok  |warn|bad )  [a-z0-9_-]+ +.')" 0
is "JSON: nothing bad" "$(doctor -j | jq -r '[.interface, .role, .bad, .warn] | tostring')" '["edge0","edge",0,0]'

# ---- who looks, and from where -------------------------------------------------------------------
cp "$BUILD/geostream-loader" "$TAP_WORK/"
chmod 755 "$TAP_WORK"
like "not root" "$(exit_of in_space setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
	"$TAP_WORK/geostream-loader" doctor edge0)" '.*bad +capabilities +this user lacks CAP_BPF CAP_NET_ADMIN CAP_PERFMON'
like "one capability short" "$(exit_of in_space setpriv --bounding-set=-perfmon,-sys_admin --inh-caps=-perfmon,-sys_admin \
	"$TAP_WORK/geostream-loader" doctor edge0)" '^1 .*this user lacks CAP_PERFMON '
like "pins would vanish" "$(exit_of ip netns exec "$A" geostream-loader doctor edge0)" '^1 .*bad +bpffs .*vanish'
# The other end in the same namespace is looked at, too; another namespace's is not, whatever its number.
need "ends of equal numbers" ip -n "$A" link add y0 index 901 type veth peer name y1 index 901 netns "$B"
need "ends of crossed numbers" ip -n "$A" link add z0 index 902 type veth peer name z1 index 903 netns "$B"
need "and their mirror" ip -n "$A" link add w0 index 903 type veth peer name w1 index 902 netns "$B"
for end in y0 z0 w0; do
	nsenter --net="/run/netns/$A" ethtool -K $end tx off
done
for end in y0 z0; do
	JUDGED=("$end")
	like "$end: the other end is not in sight" "$(finding checksum)" $'^ok\t.*not in sight'
	is "$end: nor is its MTU" "$(level mtu)" none
done
need "a veth pair in one namespace" ip -n "$A" link add x0 type veth peer name x1
ip -n "$A" link set x0 up
ip -n "$A" link set x1 up
JUDGED=(x0)
cures "unfinished checksums here" warn checksum x0
cures "unfinished checksums at the other end" warn checksum x1
cures "no redirects to it, the other end in sight" warn redirect "x1 gro on"
ip -n "$A" link set x1 mtu 9000
like "a large MTU is refused indeed" "$(exit_of in_space geostream-loader attach x0 --mode native)" '^1 .*MTU'
cures "a large MTU" bad mtu
ok "and native works" in_space geostream-loader attach x0 --mode native
ok "detach" in_space geostream-loader detach x0 --purge
like "both are looked at" "$(finding checksum)" $'\tveth finishes checksums$'

# ---- a backend, all wrong ------------------------------------------------------------------------
SPACE=$B
JUDGED=(peer0 --backend)
is "no --vip" "$(level vip)" warn
JUDGED=(peer0 --backend --edge 192.0.2.3 --vip "$VIP4" --vip "$VIP6")
conf=net/ipv4/conf/peer0
in_space sysctl -qw $conf/rp_filter=1 $conf/accept_local=1 net/ipv4/conf/lo/accept_local=1 net/ipv6/conf/lo/disable_ipv6=1
cures "IPv6 disabled" bad ipv6
ip -n "$B" link set lo down
cures "no VIP" bad vip "$VIP4/32"
cures "no IPv6 VIP" bad vip "$VIP6/128"
cures "lo is down" bad vip "lo up"
is "and nothing more of them" "$(level vip)" ok
ip -n "$B" address del "$VIP4/32" dev lo
ip -n "$B" address add "$VIP4/24" dev lo
cures "the VIP's whole network" bad vip
ip -n "$B" address del "$VIP4/32" dev lo
ip -n "$B" address add "$VIP4/32" dev peer0 label peer0:vip
cures "VIP on the wire" bad vip
like "now it is on lo" "$(ip -n "$B" -o address show)" "lo +inet $VIP4/32 "
ip -n "$B" address add "$VIP6/64" dev peer0
cures "IPv6 VIP on the wire" bad vip
JUDGED+=(--forward l2)
is "nothing to take out by L2" "$(level decap)" ok
JUDGED+=(--forward ipip)
cures "no decapsulator" bad decap
like "gs_decap is on it" "$(ip -n "$B" -d link show dev peer0)" 'xdp.* name gs_decap '
is "and no other program to complain of" "$(level program)" none
JUDGED+=(--edge 192.0.2.64/26)
cures "an edge it does not believe" bad edges
JUDGED+=(--vip 198.51.100.11)
ip -n "$B" address add 198.51.100.11/32 dev lo
cures "a VIP it drops packets for" bad vips
nsenter --net="/run/netns/$B" tc qdisc del dev peer0 clsact
cures "its filter is gone" warn egress
cures "unfinished checksums" warn checksum
cures "rp_filter strict" warn rp_filter
cures "ARP answered for the VIP" warn arp arp_ignore
cures "ARP announces the VIP" warn arp arp_announce
cures "accept_local" warn accept_local
is "no way for answers" "$(level route)" warn
ip -n "$B" address add 192.0.2.2/24 dev peer0
ip -n "$B" address add 2001:db8::2/64 dev peer0 nodad
ip -n "$B" route add default via 192.0.2.1 dev peer0
ip -n "$B" route add default via 2001:db8::1 dev peer0
is "a way for answers" "$(level route)" none
like "the kit's filter asks for less" "$(finding mss)" $'^ok\t'
need "without it" in_space geostream-loader decap attach peer0 --mss off --edge 192.0.2.3 --edge 2001:db8::3 --vip "$VIP4" --vip "$VIP6" --vip 198.51.100.11 --edge 192.0.2.64/26
cures "clients send too much" warn mss
# By hand nobody sees what it believes, and only routes can say what fits.
need "not the kit's way" in_space geostream-loader decap detach peer0
need "by hand" in_space ip link set dev peer0 xdpgeneric obj "$BUILD/bpf/gs_decap.bpf.o" sec xdp.frags
cures "clients send too much" warn mss 'ip route'
cures "clients send too much over IPv6" warn mss 'ip -6'
like "the MSS is announced" "$(ip -n "$B" route show default)" 'via 192.0.2.1 .*advmss 1400'
like "over IPv6, too" "$(ip -n "$B" -6 route show default)" 'via 2001:db8::1 .*advmss 1380'
ip -n "$B" route change default via 192.0.2.1 dev peer0 advmss 1450
cures "an MSS that is too large" warn mss
ip -n "$B" route del default
ip -n "$B" route add default metric 5 nexthop via 192.0.2.1 dev peer0 nexthop via 192.0.2.3 dev peer0
is "a route of several ways" "$(level mss 'ip route')" warn
ip -n "$B" link set peer0 mtu 1540
is "an MTU with room needs no smaller MSS" "$(level mss)" ok
cures "attached by hand" warn edges
is "nothing is left of it" "$(worse_than_ok)" ""
like "exit 0" "$(exit_of doctor)" '^0 ok '
is "JSON: its role" "$(doctor -j | jq -r '[.interface, .role, .bad, .warn] | tostring')" '["peer0","backend",0,0]'

done_testing
