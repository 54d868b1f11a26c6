#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's network by itself: it comes up over the ruins of another, nothing gets out of it, and
# down means gone.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t30

namespaces_left() {
	ip netns list | grep -c "^$LAB_PREFIX-"
}

# Its only links are lo and veths whose other end is in a namespace of the lab.
no_way_out() {
	local space path links=0 ours
	ours=$(for space in $(lab_spaces); do
		path=$(lab_path "$space")
		stat -Lc %i "$path"
	done)
	for space in $(lab_spaces); do
		lab_in "$space" ip -j -d link show | jq -e 'all(.[];
			.link_type == "loopback" or (.linkinfo.info_kind == "veth" and has("link_netnsid")))' \
			>/dev/null || {
			echo "$space has another link than veths to other namespaces"
			return 1
		}
		links=$((links + $(ip -n "$LAB_PREFIX-$space" -o link show type veth | wc -l)))
	done
	# Both ends of every veth are counted, and the machine's own namespace has none of them.
	echo "$links ends in $(wc -l <<<"$ours") namespaces"
	((links == 2 * ($(lab_spaces | wc -l) - 1)))
}

backend_answers() { # SPACE ADDRESS
	lab_in "$1" curl -s -g -m 2 "http://$2/health" | grep -q '^ok$'
}

need "the network" lab_network_up
ok "no way out of any namespace" no_way_out
ok "a client finds no way to the real internet" bash -c \
	"nsenter --net=$(lab_path client-de) curl -s -m 5 http://9.9.9.9/; [ \$? -eq 7 ]"
for n in 1 2 3; do
	ok "the edge reaches region $n over IPv4" backend_answers edge "10.$n.0.11"
	ok "the edge reaches region $n over IPv6" backend_answers edge "[fd00:$n::12]"
done
ok "clients have addresses in six countries" bash -c \
	"cut -d ' ' -f 2 '$LAB_DIR/clients' | sort -u | wc -l | grep -qx 6"
while read -r client address4 _; do
	is "$address4 is of ${client^^} in the database's source" "$(oracle_tor_country "$address4")" \
		"${client^^}"
done <"$LAB_DIR/clients"

lab_region_blackhole us
ok "a black hole says nothing" bash -c \
	"nsenter --net=$(lab_path edge) curl -s -m 1 http://10.2.0.11/health; [ \$? -eq 28 ]"
lab_region_heal us
ok "and ends" backend_answers edge 10.2.0.11
lab_region_reset us
ok "a reset refuses at once" bash -c \
	"nsenter --net=$(lab_path edge) curl -s -m 5 http://10.2.0.11/health; [ \$? -eq 7 ]"
lab_region_heal us
ok "and ends too" lab_wait 10 backend_answers edge 10.2.0.11

# A crash in the middle: some namespaces gone, processes alive, pids forgotten.
ip netns del "$LAB_PREFIX-internet"
rm -f "$LAB_DIR"/*/nginx.pid
ok "comes up over the ruins of a crash" lab_network_up
ok "and works" backend_answers edge 10.3.0.11
ok "goes down" lab_down
is "no namespace is left" "$(namespaces_left)" 0
ok "going down twice is no error" lab_down

done_testing
