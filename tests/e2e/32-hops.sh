#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The router before the edge gets another MAC address, as after a failover of two routers that share
# an address: the edge's packets follow as soon as its kernel knows, not at the next poll. And a route
# that is withdrawn.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t32h
lab_test_up

# Patient ones: a connection whose packets are lost for less than half the poll's 10 s is answered.
flows_of_patient_clients() { # REGION
	local client
	FLOWS=()
	for client in $(lab_clients_of "$1"); do
		lab_flows_start "$client-4" "client-$client" "$LAB_VIP4" 80 -l 5000
		lab_flows_start "$client-6" "client-$client" "$LAB_VIP6" 80 -l 5000
		FLOWS+=("$client-4" "$client-6")
	done
}

followed() { # WHY COUNT
	(($(grep -c "event=hops_changed .* why=\"$1\"" "$LAB_LOG") >= $2))
}

# A router that takes an address over says so: gratuitous ARP, unsolicited neighbour advertisement.
need "a router that says so" lab_in internet sh -c \
	'echo 1 >/proc/sys/net/ipv4/conf/edge/arp_notify && echo 1 >/proc/sys/net/ipv6/conf/edge/ndisc_notify'
flows_of_patient_clients eu
reached=25
ok "traffic" lab_wait 20 flows_reached "$reached"
for n in 1 2 3; do
	ok "$n: the router has another MAC address" \
		ip -n "$LAB_PREFIX-internet" link set dev edge address "02:00:00:00:99:0$n"
	ok "$n: the next hops follow" lab_wait 20 followed "a neighbour" "$n"
	ok "$n: traffic goes on" lab_wait 20 flows_reached $((reached += 100))
done
ok "nothing failed" no_flow_failed
refuses "no link is said to be unable to send" grep event=link_takes_no_redirect "$LAB_LOG"

ok "a smaller MTU on the way" ip -n "$LAB_PREFIX-edge" route change default via 192.0.2.1 mtu 1400
ok "is followed" lab_wait 20 followed "a route" 1
ok "traffic goes on" lab_wait 20 flows_reached $((reached += 25))
ok "nothing failed" no_flow_failed

# A route that is withdrawn takes its hops along: packets are dropped for the reason there is, and no longer
# than that.
no_route() {
	(($(status_of '.reasons.drop_no_route // 0') > 0))
}
# The kernel says why only if it forwards itself.
need "an edge that forwards" lab_in edge sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
is "no packet lacked a route" "$(status_of '.reasons.drop_no_route // 0')" 0
ok "the routes to the backends are withdrawn" ip -n "$LAB_PREFIX-edge" route add unreachable 10.0.0.0/8
ok "packets say so" lab_wait 20 no_route
ok "they come back" ip -n "$LAB_PREFIX-edge" route del unreachable 10.0.0.0/8
ok "traffic goes on" lab_wait 20 flows_reached $((reached += 50))
dropped=$(status_of '.reasons.drop_no_route')
ok "and on" lab_wait 20 flows_reached $((reached += 25))
is "with a route" "$(status_of '.reasons.drop_no_route')" "$dropped"
ok "nothing failed" no_flow_failed

done_testing
