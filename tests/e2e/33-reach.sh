#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# VIPs on the edge's own link: the router before it finds them by ARP and neighbour discovery, which
# the program answers; whoever had them before is forgotten at once; a drained edge is silent and
# not ready; and so is one whose controller is away for too long, if its services say so.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t33r
lab_test_up

router=$LAB_PREFIX-internet

# "MAC STATE" of the router's entry of a VIP; "" if it has none.
entry() { # VIP
	ip -n "$router" -j neigh show dev edge | jq -r --arg vip "$1" \
		'.[] | select(.dst == $vip) | "\(.lladdr // "-") \(.state[0])"'
}

edge_mac() {
	ip -n "$LAB_PREFIX-edge" -j link show dev "$LAB_UPLINK" | jq -r '.[0].address'
}

at_the_edge() { # VIP
	[[ $(entry "$1") == "$(edge_mac) "* ]]
}

both_at_the_edge() {
	at_the_edge "$LAB_VIP4" && at_the_edge "$LAB_VIP6"
}

forget() {
	ip -n "$router" neigh flush dev edge "$LAB_VIP4" nud all
	ip -n "$router" neigh flush dev edge "$LAB_VIP6" nud all
}

# The router takes the VIPs to be at somebody else's MAC, and is sure of it.
at_a_stranger() {
	ip -n "$router" neigh replace "$LAB_VIP4" lladdr 02:00:00:00:99:99 nud reachable dev edge &&
		ip -n "$router" neigh replace "$LAB_VIP6" lladdr 02:00:00:00:99:99 nud reachable dev edge
}

served() {
	[[ $(region_of de "$LAB_VIP4") == eu && $(region_of de "$LAB_VIP6") == eu ]]
}

nobody_served() {
	[[ $(region_of de "$LAB_VIP4") == none && $(region_of de "$LAB_VIP6") == none ]]
}

reason() { # NAME
	status_of ".reasons.$1 // 0"
}

health() { # [QUERY]
	lab_in edge curl -s -o "$TAP_WORK/health" -w '%{http_code}' "http://127.0.0.1:8080/health/ready${1:-}"
}

# ---- routed, so far: nothing is on-link ----------------------------------------------------------
is "no VIP is on-link while they are routed" "$(status_of .reach.vips_on_link)" 0
is "one interface has the program" "$(status_of .reach.interfaces)" 1

# ---- on-link -------------------------------------------------------------------------------------
# With all of their prefixes: the edge's own address there is where its probes may come from.
need "the VIPs are on the link" ip -n "$router" -batch - <<-IP
	route del $LAB_VIP4/32
	route del $LAB_VIP6/128
	route add 198.51.100.0/24 dev edge scope link
	route add 2001:db8:100::/64 dev edge
IP
refuses "the kernel does not answer for them" served
# Not preferred: backends take tunnels from the edge's other address only.
need "the edge has addresses of their prefixes" ip -n "$LAB_PREFIX-edge" -batch - <<-IP
	addr add 198.51.100.1/24 dev $LAB_UPLINK
	addr add 2001:db8:100::1/64 dev $LAB_UPLINK nodad preferred_lft 0
IP
# Its own addresses are its kernel's to announce, when its MAC changes below.
need "a kernel that announces its own" lab_in edge sh -c \
	"echo 1 >/proc/sys/net/ipv4/conf/$LAB_UPLINK/arp_notify && echo 1 >/proc/sys/net/ipv6/conf/$LAB_UPLINK/ndisc_notify"
two_on_link() { [[ $(status_of .reach.vips_on_link) == 2 ]]; }
ok "the daemon sees that the VIPs are on-link now" lab_wait 15 two_on_link
forget
ok "clients are served" lab_wait 15 served
ok "the router has found the edge" both_at_the_edge
ok "by ARP" test "$(reason tx_arp)" -gt 0
ok "by neighbour discovery" test "$(reason tx_nd)" -gt 0
ok "the daemon has said so too" grep -q 'event=vips_on_link .*vips=2' "$LAB_LOG"
refuses "and could" grep -q vip_not_announced "$LAB_LOG"

# ---- the controller is away: the program answers by itself ---------------------------------------
lab_daemon_end KILL
forget
ok "without the daemon the VIPs are found all the same" lab_wait 15 served
ok "at the edge" both_at_the_edge
refuses "an edge whose daemon is away is not ready" lab_ctl edge ready -q
is "and says nothing when asked quietly" "$(lab_ctl edge ready -q 2>&1)" ""
ok "the daemon comes back" lab_daemon_start
ok "ready again" lab_wait 30 lab_ctl edge ready -q

# ---- drain ---------------------------------------------------------------------------------------
is "ready over HTTP" "$(health)" 200
ok "ready for a VIP" lab_ctl edge ready -q --vip "$LAB_VIP6"
refuses "not for what is none" lab_ctl edge ready --vip 192.0.2.99
is "nor over HTTP" "$(health '?vip=192.0.2.99')" 503
is "what is no address is told so" "$(health '?vip=nonsense')" 400
ok "drained" lab_ctl edge drain --reason "new kernel"
is "not ready over HTTP" "$(health)" 503
like "and says why" "$(cat "$TAP_WORK/health")" 'drained: new kernel'
like "edge ready says why" "$(lab_ctl edge ready 2>&1)" 'not ready: the edge is drained: new kernel'
like "status says so" "$(lab_ctl status)" 'DRAINED for .*: new kernel'
ok "what comes all the same is forwarded" served
forget
nobody_at_the_edge() { ! at_the_edge "$LAB_VIP4" && ! at_the_edge "$LAB_VIP6"; }
ok "nobody finds a drained edge" lab_wait 15 nobody_served
ok "neither by ARP nor by neighbour discovery" nobody_at_the_edge
lab_daemon_end TERM
ok "a restart" lab_daemon_start
refuses "does not end a drain" lab_ctl edge ready -q
like "its reason is kept" "$(lab_ctl edge show)" 'drained +for .*: new kernel'
is "metrics have it" "$(lab_in edge curl -s http://127.0.0.1:8080/metrics | grep -c '^geostream_edge_drained 1$')" 1

# ---- takeover: who had the VIPs before is forgotten at once --------------------------------------
need "the router takes them to be at another edge" at_a_stranger
ok "this edge takes them over" lab_ctl edge resume
ok "and the router knows before it asks" lab_wait 5 both_at_the_edge
ok "clients are served" lab_wait 10 served
ok "ready" lab_wait 10 lab_ctl edge ready -q
need "the router has the edge's old MAC" test "$(entry "$LAB_VIP4")" != ""
ok "the edge gets another MAC" ip -n "$LAB_PREFIX-edge" link set dev "$LAB_UPLINK" address 02:00:00:00:77:01
ok "the router follows" lab_wait 15 both_at_the_edge
ok "clients are served there" lab_wait 15 served

# ---- a controller that is away for too long ------------------------------------------------------
for service in $(lab_ctl -j service list | jq -r '.[].name'); do
	need "$service is for fresh controllers only" lab_ctl service set "$service" stale=drop stale_after_s=10
done
stale_in_force() {
	[[ $(bpftool -j map dump pinned "$LAB_PIN/services" | jq '[.[].formatted.value | select(.stale == 0)] | length') == "$markers" ]]
}
# (address, protocol) markers have no policy of their own
markers=$(bpftool -j map dump pinned "$LAB_PIN/services" |
	jq '[.[].formatted | select(.key.marker == 1 and .key.protocol != 0)] | length')
ok "in force" lab_wait 15 stale_in_force
ok "served while the controller is there" lab_wait 30 served
lab_daemon_end KILL
ok "served for a while" served
ok "then not any more" lab_wait 30 nobody_served
forget
refuses "nor is the edge found" served
ok "by nobody" nobody_at_the_edge
ok "the daemon comes back" lab_daemon_start
ok "and all is as before" lab_wait 30 served
ok "packets were dropped for that reason" test "$(reason drop_stale)" -gt 0

done_testing
