# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What clients do: single requests, and connections all the time with a log of each (its format is
# described in flowgen.c). Sourced after topology.sh, edge.sh and oracle.sh.

# ---- single requests -----------------------------------------------------------------------------

# One request by curl: "BACKEND REGION SECONDS", or a time only without an answer.
lab_ask() { # CLIENT ADDRESS [PORT]
	local host=$2
	[[ $host == *:* ]] && host="[$host]"
	lab_in "client-$1" curl -s -g -m 2 -w '%{time_total}' "http://$host:${3:-80}/whoami" |
		sed -nE 's/.*"backend":"([^"]*)","region":"([^"]*)".*/\1 \2/;t keep;s/^([0-9.]+)$/\1/;:keep;p' |
		paste -sd ' '
}

lab_serves() { # CLIENT ADDRESS REGION
	local answer
	answer=$(lab_ask "$1" "$2")
	[[ $answer == *" $3 "* ]]
}

lab_clients_of() { # REGION; by the independent calculation
	local client address4 address6
	while read -r client address4 address6; do
		if [[ $(oracle_nearest "$address4") == "$1" && $(oracle_nearest "$address6") == "$1" ]]; then
			printf '%s\n' "$client"
		fi
	done <"$LAB_DIR/clients"
}

lab_everyone_home() { # CLIENT...
	local client region
	for client in "$@"; do
		region=$(oracle_nearest "$(lab_client_address "$client" 4)")
		lab_serves "$client" "$LAB_VIP4" "$region" && lab_serves "$client" "$LAB_VIP6" "$region" || return 1
	done
}

# ---- connections all the time --------------------------------------------------------------------

declare -gA LAB_FLOWS=() # name -> pid

lab_flows_log() { # NAME
	printf '%s/flows-%s.log\n' "$LAB_DIR" "$1"
}

# A fresh connection every 20 ms, each with 200 ms to be answered.
lab_flows_start() { # NAME SPACE ADDRESS PORT [OPTION...]
	local name=$1 space=$2 address=$3 port=$4
	shift 4
	# Not lab_in: a function in the background would be a shell, and the pid its.
	nsenter --net="$(lab_path "$space")" setsid "$BUILD/lab-flowgen" "$@" "$address" "$port" /whoami \
		>"$(lab_flows_log "$name")" 2>&1 </dev/null &
	LAB_FLOWS[$name]=$!
}

lab_flows_stop() { # [NAME...]; all without a name
	local name
	(($#)) || set -- "${!LAB_FLOWS[@]}"
	for name in "$@"; do
		kill -TERM "${LAB_FLOWS[$name]}" 2>/dev/null || :
	done
	for name in "$@"; do
		wait "${LAB_FLOWS[$name]}" 2>/dev/null
		unset "LAB_FLOWS[$name]"
	done
}

lab_flows_count() { # NAME OUTCOME [BACKEND_REGEX]
	awk -v outcome="$2" -v backend="${3:-.}" '$3 == outcome && $4 ~ backend { n++ } END { print n + 0 }' \
		"$(lab_flows_log "$1")"
}

# So many answers (from backends that match) are in the log: for lab_wait.
lab_flows_reached() { # NAME COUNT [BACKEND_REGEX]
	(($(lab_flows_count "$1" ok "${3:-.}") >= $2))
}

# What a failed region cost a client, in microseconds since its last answer:
#	"LAST_NEW_FLOW FIRST_ELSEWHERE FAILED ANSWERED_THERE ANSWERED_ELSEWHERE"
# The last new flow sent there is the last that failed, or the last it answered. FIRST_ELSEWHERE is
# -1 if nobody else answered. A flow that fails after others answered elsewhere still counts.
lab_flows_failover() { # NAME REGION
	awk -v region="$2" '
	function there(backend) { return index(backend, region "-") == 1 }
	$3 == "ok" && there($4) {
		answered++
		if ($2 > last_answer)
			last_answer = $2
		if ($1 > last_flow)
			last_flow = $1
	}
	$3 == "failed" { failed++; if ($1 > last_flow) last_flow = $1 }
	$3 == "ok" && !there($4) { elsewhere++; if (!first || $2 < first) first = $2 }
	END {
		spent = last_flow - last_answer
		if (spent < 0)
			spent = 0
		gap = -1
		if (first && answered)
			gap = first - last_answer
		printf "%d %d %d %d %d\n", spent, gap, failed, answered, elsewhere
	}' "$(lab_flows_log "$1")"
}
