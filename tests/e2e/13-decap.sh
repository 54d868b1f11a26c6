#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# geostream-loader decap: the backend kit on and off, other lists without a gap, and what is
# another's stays another's.
#
#	gs-dc-a-PID             gs-dc-b-PID
#	  peer0.1 ------------------ peer1        a backend, and whoever sends to it
#
# What comes out of tunnels and what becomes of an MSS: tests/bpf/test_decap.c; with real packets
# every test of the lab.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

BUILD=$(realpath "${BUILD:-build}")
A=gs-dc-a-$$
B=gs-dc-b-$$
VIP4=198.51.100.10
VIP6=2001:db8:100::10
NIC=peer0.1 # a dot, which bpffs does not have
export GEOSTREAM_DECAP_PIN_DIR=/sys/fs/bpf/gs-decap-$$ PATH=$BUILD:$PATH
unset GEOSTREAM_PIN_DIR

in_space() { nsenter --net="/run/netns/$A" "$@"; }
decap() { in_space geostream-loader decap "$@"; }
exit_of() {
	local code=0
	"$@" >"$TAP_WORK/said" 2>&1 || code=$?
	printf '%d %s' "$code" "$(<"$TAP_WORK/said")"
}
status() { decap status "$NIC" -j | jq -rc "$1"; } # JQ
filters() { in_space tc filter show dev "$NIC" egress; }
qdiscs() { in_space tc qdisc show dev "$NIC"; }
xdp() { ip -n "$A" -d link show dev "$NIC"; }

cleanup() {
	rm -rf "$GEOSTREAM_DECAP_PIN_DIR"
	ip netns del "$A"
	ip netns del "$B"
}
need "bpffs" sh -c 'mountpoint -q /sys/fs/bpf || mount -t bpf bpffs /sys/fs/bpf'
need "a network namespace" ip netns add "$A"
at_exit cleanup
need "another" ip netns add "$B"
need "a veth pair" ip -n "$A" link add "$NIC" type veth peer name peer1 netns "$B"
ip -n "$A" link set "$NIC" up
ip -n "$B" link set peer1 up

# ---- words ---------------------------------------------------------------------------------------
like "no subcommand" "$(exit_of decap)" '^2 .*attach, detach or status'
like "another" "$(exit_of decap replace $NIC)" "^2 .*unknown command 'replace'"
like "no interface" "$(exit_of decap attach)" '^2 .*which interface'
like "one that is not there" "$(exit_of decap attach nowhere0 --mode native --edge ::/0 --vip $VIP4)" '^1 .*nowhere0: no such interface'
like "no edge" "$(exit_of decap attach $NIC --mode native --vip $VIP4)" '^1 .*which --edge'
like "no VIP" "$(exit_of decap attach $NIC --mode native --edge ::/0)" '^1 .*which --vip'
like "no mode" "$(exit_of decap attach $NIC --edge ::/0 --vip $VIP4)" '^1 .*which --mode'
like "an edge that is none" "$(exit_of decap attach $NIC --edge 192.0.2.1/24)" "^2 .*--edge '192.0.2.1/24'"
like "a VIP that is none" "$(exit_of decap attach $NIC --vip $VIP4/24)" "^2 .*--vip '$VIP4/24'"
for mss in 87 65496 -1 automatic ''; do
	like "an MSS of '$mss'" "$(exit_of decap attach $NIC --mss "$mss")" "^2 .*--mss '$mss'"
done
like "an option of others" "$(exit_of decap attach $NIC --flows 2)" '^2 .*attach takes no --flows'
like "detach what is not there" "$(exit_of decap detach $NIC)" '^1 .*not attached'
like "its status is none" "$(exit_of decap status $NIC)" '^0 .*not attached'
is "nor has it one in JSON" "$(status '[.attached, .holder]')" '[false,"free"]'
ok "no folder was made for all that" test ! -e "$GEOSTREAM_DECAP_PIN_DIR/peer0:1"

# ---- on ------------------------------------------------------------------------------------------
ok "attach" decap attach $NIC --mode native --edge 192.0.2.0/24 --edge 2001:db8:e::1 --vip $VIP4 --vip $VIP6
is "what it believes" "$(status '[.attached, .mode, (.edges | sort), (.vips | sort)]')" \
	"[true,\"native\",[\"192.0.2.0/24\",\"2001:db8:e::1/128\"],[\"$VIP4\",\"$VIP6\"]]"
is "what fits 1500 bytes" "$(status .mss)" '{"mode":"auto","ipv4":1412,"ipv6":1392,"filter":true}'
like "in the driver" "$(xdp)" 'xdp .*name gs_decap '
like "and at egress" "$(filters)" 'gs_decap_mss'
like "for people" "$(decap status)" $'edge  192.0.2.0/24\n'
is "in a list" "$(decap status -j | jq -c '[.[].interface]')" "[\"$NIC\"]"
like "bpftool names the counters" "$(bpftool map dump pinned "$GEOSTREAM_DECAP_PIN_DIR/peer0:1/decap_count")" '"pass_ipip4": '
like "an edge is told to stay away" "$(exit_of in_space geostream-loader attach $NIC --mode native -p /sys/fs/bpf/gs-decap-$$-edge)" "^1 .*another XDP program, 'gs_decap'"

# ---- again: lists, in one step -------------------------------------------------------------------
link=$(decap status $NIC | sed -n 's/.*link //p')
counted=$(status .counts.pass_other)
ok "other lists" decap attach $NIC --edge 10.0.0.0/8 --vip $VIP6 --mss 1300
is "are in force" "$(status '[.edges, .vips, .mss]')" \
	"[[\"10.0.0.0/8\"],[\"$VIP6\"],{\"mode\":\"fixed\",\"ipv4\":1300,\"ipv6\":1300,\"filter\":true}]"
is "by the same link" "$(decap status $NIC | sed -n 's/.*link //p')" "$link"
ok "counters went on" test "$(status .counts.pass_other)" -ge "$counted"
is "one filter" "$(filters | grep -c gs_decap_mss)" 1
like "another mode is refused" "$(exit_of decap attach $NIC --mode generic --edge ::/0 --vip $VIP4)" '^1 .*attached in mode native.*decap detach'
like "an object that is none" "$(exit_of decap attach $NIC --edge ::/0 --vip $VIP4 -o "$BUILD/bpf/gs_xdp.bpf.o")" '^1 '
is "nothing has changed" "$(status '[.edges, .mss.filter]')" '[["10.0.0.0/8"],true]'
is "nothing is left of it" "$(find "$GEOSTREAM_DECAP_PIN_DIR" -name 'new-*')" ''
ok "no filter wanted" decap attach $NIC --edge 10.0.0.0/8 --vip $VIP6 --mss off
is "none is there" "$(filters)" ''
in_space tc qdisc del dev $NIC clsact
ok "its qdisc gone, and again" decap attach $NIC --edge 10.0.0.0/8 --vip $VIP6
is "a filter again" "$(status .mss.filter)" true

# Every packet meets lists, old ones or new ones: none passes as it came while they change.
ip -n "$A" address add 10.255.0.1/24 dev $NIC
ip -n "$B" address add 10.255.0.2/24 dev peer1
ok "for the time being" decap attach $NIC --edge 10.255.0.2 --vip $VIP6
before=$(status .counts.pass_not_edge)
need "a sender" nsenter --net="/run/netns/$B" ping -c 1 -W 5 10.255.0.1
# IPIP by hand, to the backend: for no VIP, so the kit drops each one.
python3 - "$B" >"$TAP_WORK/sender" 2>&1 <<'PYTHON' &
import ctypes, os, socket, sys, time
fd = os.open("/run/netns/" + sys.argv[1], os.O_RDONLY)
assert ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) == 0
inner = bytes.fromhex("4500001400000000400600000a0000010a000002")
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, 4)
until = time.monotonic() + 4
while time.monotonic() < until:
    out.sendto(inner, ("10.255.0.1", 0))
    time.sleep(0.0005)
PYTHON
SENDER=$!
met() { (($(status .counts.drop_not_vip) > 10)); }
ok "packets come" wait_for 10 met
for round in 1 2 3 4 5; do
	ok "lists change, $round" decap attach $NIC --edge 10.255.0.2 --edge "192.0.2.$round" --vip $VIP6
done
wait $SENDER
is "none passed" "$(status .counts.pass_not_edge)" "$before"
ok "and many were met" test "$(status .counts.drop_not_vip)" -gt 100

# ---- off -----------------------------------------------------------------------------------------
ok "somebody else's filter" in_space tc filter add dev $NIC egress pref 5 handle 1 bpf da obj "$BUILD/bpf/gs_decap.bpf.o" sec tc
ok "detach" decap detach $NIC
like "theirs stays" "$(filters)" 'pref 5 bpf .*handle 0x1 '
is "ours is gone" "$(filters | grep -c 0x6773)" 0
is "the program too" "$(xdp | grep -c xdp)" 0
ok "and the folder" test ! -e "$GEOSTREAM_DECAP_PIN_DIR/peer0:1"
in_space tc qdisc del dev $NIC clsact
ok "attach, alone" decap attach $NIC --mode generic --edge ::/0 --vip $VIP4
ok "detach, alone" decap detach $NIC
is "no qdisc is left" "$(qdiscs | grep -c clsact)" 0
need "a qdisc of others" in_space tc qdisc add dev $NIC clsact
ok "attach beside it" decap attach $NIC --mode native --edge ::/0 --vip $VIP4
ok "detach from it" decap detach $NIC
is "the others' stays" "$(qdiscs | grep -c clsact)" 1

# ---- another's -----------------------------------------------------------------------------------
need "another's program" in_space ip link set dev $NIC xdpdrv obj "$BUILD/bpf/bystander.bpf.o" sec xdp
like "is refused" "$(exit_of decap attach $NIC --mode native --edge ::/0 --vip $VIP4)" '^1 .*another XDP program.*untouched'
like "detach leaves it" "$(exit_of decap detach $NIC)" '^1 .*not attached'
like "it is there" "$(xdp)" 'xdp'
is "nothing was left at egress" "$(filters)" ''
in_space ip link set dev $NIC xdpdrv off
need "another's filter in its place" in_space tc filter add dev $NIC egress pref 10 handle 0x6773 bpf da obj "$BUILD/bpf/gs_decap.bpf.o" sec tc
like "is refused, too" "$(exit_of decap attach $NIC --mode native --edge ::/0 --vip $VIP4)" "^1 .*egress filter belongs"
is "and nothing attached" "$(xdp | grep -c xdp)" 0
in_space tc filter del dev $NIC egress pref 10

# ---- an interface that goes ----------------------------------------------------------------------
ok "attach once more" decap attach $NIC --mode native --edge ::/0 --vip $VIP4
ip -n "$A" link del $NIC
like "its status" "$(exit_of decap status)" '^0 .*no such interface'
ok "its folder can be removed" decap detach $NIC
ok "and is gone" test ! -e "$GEOSTREAM_DECAP_PIN_DIR/peer0:1"

done_testing
