#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# How long clients of a region that dies are without an answer: in the lab, PostgreSQL stopped, by
# reset and by black hole in turn, each time another region. tests/bench/failover.sh [TRIALS]
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
TRIALS=${1:-100}
# The lab of a test, without its TAP.
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh >/dev/null
OUT=${BUILD:=build}/bench.json

die() {
	echo "tests/bench/failover.sh: $*" >&2
	exit 1
}
{
	lab_test bench-failover
	lab_test_up
} >/dev/null 3>&1
lab_database_crash || die "PostgreSQL does not stop"

trial() { # HOW REGION; a line "HOW LAST FIRST" for each flow, microseconds
	local how=$1 region=$2 others flow last first
	others=$(printf '%s\n' "${LAB_REGIONS[@]}" | grep -vx "$region" | paste -sd '|')
	lab_wait 60 lab_region_is_whole "$region" || die "$region does not come back"
	flows_of_region "$region"
	lab_wait 30 flows_reached 20 "^$region-" || die "$region does not serve"
	no_flow_failed >&2 || die "a flow failed before anything did"
	"lab_region_$how" "$region"
	lab_wait 30 flows_reached 10 "^($others)-" || die "nobody else serves"
	lab_flows_stop "${FLOWS[@]}"
	for flow in "${FLOWS[@]}"; do
		read -r last first _ <<<"$(lab_flows_failover "$flow" "$region")"
		((first >= 0)) || die "no answer elsewhere"
		printf '%s %d %d\n' "$how" "$last" "$first"
	done
	lab_region_heal "$region"
	# It dies more often than anything may that is to come back at once.
	lab_ctl health clear "$region-*" >/dev/null
}

hows=(reset blackhole)
for ((i = 0; i < TRIALS; i++)); do
	trial "${hows[i % 2]}" "${LAB_REGIONS[i % ${#LAB_REGIONS[@]}]}"
	printf '\rfailover: %d of %d' $((i + 1)) "$TRIALS" >&2
done >"$TAP_WORK/trials"
printf '\n' >&2

quantile() { # HOW COLUMN SHARE
	awk -v how="$1" -v column="$2" '$1 == how { print $column }' "$TAP_WORK/trials" | sort -n |
		awk -v share="$3" '{ v[NR] = $1 } END { i = int(NR * share + 0.999999); print v[i < 1 ? 1 : i] / 1000 }'
}
for how in "${hows[@]}"; do
	read -r p50 p99 worst last < <(echo "$(quantile "$how" 3 0.5) $(quantile "$how" 3 0.99)" \
		"$(quantile "$how" 3 1) $(quantile "$how" 2 0.99)")
	flows=$(grep -c "^$how " "$TAP_WORK/trials")
	printf '%-10s %d trials, %d flows: first answer elsewhere after %s ms (median), %s ms (99 %%), %s ms at most; last new flow there %s ms (99 %%)\n' \
		"$how" $((TRIALS / 2)) "$flows" "$p50" "$p99" "$worst" "$last" >&2
	printf '{"bench":"failover","variant":"%s","ms":%s,"high":%s,"p99_ms":%s,"last_flow_p99_ms":%s,"clients":%d,"rounds":%d}\n' \
		"$how" "$p50" "$worst" "$p99" "$last" "$flows" $((TRIALS / 2)) >>"$OUT"
done
