# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A lab of a test's own: lab_test NAME first, then tests/lab's functions. Names of namespaces, pins
# and files have the test's name and the checkout's mark in them, so that tests, `make run` and
# another checkout's tests do not see each other.

# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

lab_test() { # NAME
	LAB_PREFIX=gs-$1-$(cksum <<<"$PWD" | cut -c 1-5)
	LAB_DIR=$PWD/${BUILD:-build}/tests/lab-$1
	LAB_PIN=/sys/fs/bpf/$LAB_PREFIX
	unset DATABASE
	mkdir -p "$LAB_DIR"
	# shellcheck source=tests/lab/topology.sh
	. tests/lab/topology.sh
	# shellcheck source=tests/lab/edge.sh
	. tests/lab/edge.sh
	# shellcheck source=tests/lab/oracle.sh
	. tests/lab/oracle.sh
	# shellcheck source=tests/lab/clients.sh
	. tests/lab/clients.sh
	: >"$LAB_LOG"
	need "nothing left of an earlier run" lab_down
	at_exit lab_test_end
}

lab_test_end() {
	if ((TAP_FAILED)) && [[ -s $LAB_LOG ]]; then
		echo "the daemon said last:" | diag
		tail -n 40 "$LAB_LOG" | diag
	fi >&3
	lab_flows_stop
	lab_daemon_end TERM
	lab_down
}
exec 3>&1

# The network, GeoStream on it, and every client served by its region.
lab_test_up() {
	need "the network" lab_network_up
	need "the edge" lab_edge_up
	need "every client at home" lab_wait 30 lab_everyone_home "${LAB_CLIENTS[@]}"
}

# "region" of an answer, or "none".
region_of() { # CLIENT ADDRESS [PORT]
	local answer
	answer=$(lab_ask "$@")
	read -ra answer <<<"$answer"
	printf '%s\n' "${answer[1]:-none}"
}

# Flows of all the clients of a region, both families.
flows_of_region() { # REGION
	local client
	FLOWS=()
	for client in $(lab_clients_of "$1"); do
		lab_flows_start "$client-4" "client-$client" "$LAB_VIP4" 80
		lab_flows_start "$client-6" "client-$client" "$LAB_VIP6" 80
		FLOWS+=("$client-4" "$client-6")
	done
}

flows_reached() { # COUNT [BACKEND_REGEX]; every one of FLOWS
	local flow logs=()
	for flow in "${FLOWS[@]}"; do
		logs+=("$(lab_flows_log "$flow")")
	done
	# Asked twenty times a second: one process for all of them.
	awk -v want="$1" -v backend="${2:-.}" '$3 == "ok" && $4 ~ backend && ++n[FILENAME] == want { reached++ }
		END { exit reached < ARGC - 1 }' "${logs[@]}"
}

# Nobody was refused, reset or left waiting.
no_flow_failed() {
	local flow bad=0
	for flow in "${FLOWS[@]}"; do
		if (($(lab_flows_count "$flow" failed))); then
			grep -m 5 -n failed "$(lab_flows_log "$flow")" | sed "s/^/$flow: /"
			bad=1
		fi
	done
	return "$bad"
}

status_of() { # JQ_EXPRESSION
	lab_ctl -j status | jq -r "$1"
}

# Whose interfaces it can name, so where the edge is.
lab_explain() { # OPTION...
	lab_in edge "$BUILD/geostreamctl" --config "$LAB_CONF" explain "$@"
}

lab_explain_client() { # CLIENT 4|6 [OPTION...]; as JSON
	local vip=$LAB_VIP4
	[[ $2 == 4 ]] || vip=$LAB_VIP6
	lab_in edge "$BUILD/geostreamctl" --config "$LAB_CONF" -j explain \
		--src "$(lab_client_address "$1" "$2")" --dst "$vip" "${@:3}"
}

# ---- ICMP errors -------------------------------------------------------------------------------
# What the kernels of these spaces have counted in all.
lab_counted() { # COUNTER SPACE...
	local space
	for space in "${@:2}"; do
		lab_in "$space" nstat -asz "$1"
	done | awk -v name="$1" '$1 == name { n += $2 } END { printf "%d\n", n }'
}

lab_asks_and_told() { # COUNTER BEFORE SPACES ASK...
	"${@:4}" >/dev/null 2>&1
	# shellcheck disable=SC2086 # a list of names
	(($(lab_counted "$1" $3) > $2))
}

# Routers between servers and the client de tell the VIP what became of an answer; it reaches one of
# SERVERS. ASK makes them answer; TTL: the client's own router is the last it passes.
lab_errors_reach() { # WHAT FAMILY TTL SERVERS ASK...
	local what=$1 family=$2 servers=$4 server before hops=net.ipv4.ip_default_ttl
	local unreachable=IcmpInDestUnreachs exceeded=IcmpInTimeExcds
	[[ $family == 4 ]] || unreachable=Icmp6InDestUnreachs exceeded=Icmp6InTimeExcds hops=net.ipv6.conf.wan.hop_limit
	# shellcheck disable=SC2086
	before=$(lab_counted "$unreachable" $servers)
	lab_in internet ip "-$family" rule add to "$(lab_client_address de "$family")" unreachable priority 10
	ok "$what, IPv$family: of a client out of reach the server is told" lab_wait 10 \
		lab_asks_and_told "$unreachable" "$before" "$servers" "${@:5}"
	lab_in internet ip "-$family" rule del priority 10
	# shellcheck disable=SC2086
	before=$(lab_counted "$exceeded" $servers)
	for server in $servers; do
		lab_in "$server" sysctl -qw "$hops=$3"
	done
	ok "$what, IPv$family: of an answer that comes too far, too" lab_wait 10 \
		lab_asks_and_told "$exceeded" "$before" "$servers" "${@:5}"
	for server in $servers; do
		lab_in "$server" sysctl -qw "$hops=64"
	done
}
