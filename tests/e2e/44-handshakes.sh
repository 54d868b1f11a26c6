#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What clients see: a client's requests, and geostreamctl, REST and /metrics that tell its round
# trip; over a slower line they tell a longer one.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t44
lab_test_up
DELAY_MS=40

shown() { # JQ_FILTER
	lab_ctl -j handshake list | jq "$@"
}
is_shown() { # JQ_CONDITION
	shown -e "$1" >/dev/null
}
requests() { # COUNT
	local i
	for ((i = 0; i < $1; i++)); do
		lab_ask de "$LAB_VIP4" >/dev/null
	done
}
HERE='.locations[] | select(.location.country == "DE" and .region == "eu")'

is "one flow in 64 at first" "$(shown .one_in)" 64
echo "handshakes = 1" >>"$LAB_CONF"
kill -HUP "$LAB_DAEMON"
ok "each flow, from the next settings on" lab_wait 10 is_shown '.one_in == 1'

requests 4
ok "the client's country appears, with its region" lab_wait 10 is_shown "[$HERE | select(.count >= 4)] | length == 1"
ok "its round trip is short" is_shown "[$HERE | .p50_ms] | .[0] > 0 and .[0] < $DELAY_MS"
ok "so is the service's" is_shown "[.regions[] | select(.service == \"web\" and .region == \"eu\").p50_ms][0] < $DELAY_MS"
ok "each backend's SYNs are counted" lab_wait 10 is_shown '[.backends[] | select(.region == "eu") | .opened] | add >= 4'
is "none of them was lost" "$(shown '[.backends[].lost] | add')" 0

# 500 bytes a second, once the 1,600 that may go at once are used up: an ACK waits behind its SYN.
need "a slower line" lab_in client-de tc qdisc add dev wan root tbf rate 4kbit burst 1600 latency 5s
lab_in client-de ping -c 1 -W 1 -s 1450 "$LAB_VIP4" >/dev/null
requests 14
ok "its round trip is longer" lab_wait 10 is_shown "[$HERE | .p50_ms][0] >= $DELAY_MS"
like "for people" "$(lab_ctl handshake list)" 'location DE.* eu .*p50 ([4-9]|[1-9][0-9])[0-9]\.'
is "REST has the same" "$(lab_in edge curl -s 'http://127.0.0.1:8080/api/v1/handshakes' | jq -S -c '.locations | map(.location)')" \
	"$(shown -S -c '.locations | map(.location)')"
lab_in edge curl -s http://127.0.0.1:8080/metrics >"$TAP_WORK/metrics"
ok "metrics have it" grep -Eq '^geostream_handshake_seconds\{service="web",region="eu",quantile="0.5"\} 0\.(0[4-9]|[1-9])' "$TAP_WORK/metrics"
ok "and SYNs" grep -q '^geostream_syns_total{backend="eu-1"} [1-9]' "$TAP_WORK/metrics"

# ---- off ---------------------------------------------------------------------------------------
sed -i 's/^handshakes = .*/handshakes = 0/' "$LAB_CONF"
kill -HUP "$LAB_DAEMON"
ok "no flow any more" lab_wait 10 is_shown '.one_in == 0'
before=$(shown "[$HERE | .count][0]")
syns=$(shown '[.backends[].opened] | add')
requests 3
ok "SYNs are counted on" lab_wait 10 is_shown "([.backends[].opened] | add) >= $syns + 3"
is "handshakes are not" "$(shown "[$HERE | .count][0]")" "$before"
done_testing
