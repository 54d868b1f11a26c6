#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A region dies, by reset and by black hole, and comes back. The bound is the origin project's 3 s; what
# it takes is printed, and is a benchmark's business.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t32
lab_test_up
LIMIT_US=3000000

# REGION HOW: everyone of the region's clients is served elsewhere within the limit.
dies() {
	local region=$1 how=$2 flow last first failed there elsewhere others
	others=$(printf '%s\n' "${LAB_REGIONS[@]}" | grep -vx "$region" | paste -sd '|')
	flows_of_region "$region"
	ok "$how: $region serves its clients" lab_wait 20 flows_reached 50 "^$region-"
	ok "$how: without a failure" no_flow_failed
	"lab_region_$how" "$region"
	ok "$how: others serve them" lab_wait 20 flows_reached 50 "^($others)-"
	lab_flows_stop "${FLOWS[@]}"
	for flow in "${FLOWS[@]}"; do
		read -r last first failed there elsewhere <<<"$(lab_flows_failover "$flow" "$region")"
		like "$how $flow: its log can be read" "$last $first $failed $there $elsewhere" \
			'^[0-9]+ -?[0-9]+ [0-9]+ [0-9]+ [0-9]+$'
		diag "$how $flow: last new flow there after $((last / 1000)) ms, first answer elsewhere \
after $((first / 1000)) ms, $failed failed, $there answered there, $elsewhere elsewhere"
		ok "$how $flow: within $((LIMIT_US / 1000)) ms" \
			test "$last" -lt "$LIMIT_US" -a "$first" -ge 0 -a "$first" -lt "$LIMIT_US"
	done
	is "$how: status says the region is down" \
		"$(status_of ".regions[] | select(.name == \"$region\") | .state")" down
	lab_region_heal "$region"
	mapfile -t clients < <(lab_clients_of "$region")
	ok "$how: back home" lab_wait 30 lab_everyone_home "${clients[@]}"
}

dies eu reset
dies us blackhole

# One backend of two: its clients stay in the region.
lab_backend_stop ap-1
served_by_other() {
	[[ $(lab_ask jp "$LAB_VIP4") == "ap-2 ap "* && $(lab_ask au "$LAB_VIP6") == "ap-2 ap "* ]]
}
steadily() { # COUNT COMMAND...
	local i
	for ((i = 0; i < $1; i++)); do
		"${@:2}" || return 1
	done
}
ok "one backend dies: the other takes all of the region's clients" lab_wait 20 steadily 20 served_by_other
lab_region_heal ap

transition() { # REGION TO
	[[ -n $(psql -XAt "$LAB_DATABASE" -c "SELECT 1 FROM geostream.transitions
		WHERE kind = 'region' AND region = '$1' AND to_state = '$2' LIMIT 1") ]]
}
ok "PostgreSQL has eu's way down" lab_wait 10 transition eu down
ok "and up" lab_wait 10 transition eu up

done_testing
