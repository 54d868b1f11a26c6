#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What clients see: a client's requests, and geostreamctl, REST and /metrics that tell its round
# trip; over a slower line they tell a longer one. What clients want: their new flows by policy,
# location, region and country, none lost and none mistaken when the configuration changes.
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

# ---- demand ------------------------------------------------------------------------------------
sed -i 's/^handshakes = .*/handshakes = 1/' "$LAB_CONF"
kill -HUP "$LAB_DAEMON"
ok "each flow again" lab_wait 10 is_shown '.one_in == 1'
demand() { # BY JQ_FILTER
	lab_ctl -j demand list --limit 20000 --by "$1" | jq "${@:2}"
}
# Flows of what is opened from here on: counted before are those of above.
declare -A was
of_country() { # COUNTRY
	demand country "[.demand[] | select(.country == \"$1\").flows] | add // 0"
}
of_region() { # REGION
	demand region "[.demand[] | select(.region == \"$1\").flows] | add // 0"
}
open_flows() { # CLIENT COUNT
	local i
	for ((i = 0; i < $2; i++)); do
		lab_ask "$1" "$LAB_VIP4" >/dev/null
		lab_ask "$1" "$LAB_VIP6" >/dev/null
	done
}
# COUNTRY FLOWS...: so many more than there were, and no more
has_grown() {
	while (($# > 0)); do
		(($(of_country "$1") == ${was[$1]} + $2)) || return 1
		shift 2
	done
}
is_counted() { # COUNTRY LEAST
	(($(of_country "$1") >= $2))
}
# Once the last flows opened are counted, all before them are.
marked=$(of_country AU)
open_flows au 1
ok "what was opened is known" lab_wait 10 is_counted AU $((marked + 2))
for country in KE US JP DE; do
	was[$country]=$(of_country $country)
done
for region in eu us ap; do
	was[$region]=$(of_region $region)
done
open_flows ke 2
open_flows us 3
open_flows jp 4
ok "each client's flows are its country's" lab_wait 10 has_grown KE 4 US 6 JP 8 DE 0
is "and its region's" "$(of_region eu) $(of_region us) $(of_region ap)" \
	"$((was[eu] + 4)) $((was[us] + 6)) $((was[ap] + 8))"
is "all are the policy's" "$(demand policy '[.demand[].flows] | add')" "$(demand country '[.demand[].flows] | add')"
is "and locations'" "$(demand location '[.demand[].flows] | add')" "$(demand policy '[.demand[].flows] | add')"
ok "there is a rate" demand location -e '[.demand[] | select(.location.country == "JP").per_second_1m] | add > 0'
like "for people" "$(lab_ctl demand list --by region)" 'nearest +- +ap +[0-9]+ +[0-9.]+ +[0-9.]+'
refuses "of a policy there is not" lab_ctl demand list --policy nobody
is "REST has the same" "$(lab_in edge curl -s 'http://127.0.0.1:8080/api/v1/demand?by=country&policy=nearest' | jq -S -c '[.demand[] | {country, flows}] | sort_by(.country)')" \
	"$(demand country -S -c '[.demand[] | {country, flows}] | sort_by(.country)')"
lab_in edge curl -s http://127.0.0.1:8080/metrics >"$TAP_WORK/metrics"
ok "metrics, by region" grep -q "^geostream_new_flows_total{policy=\"nearest\",region=\"ap\"} $((was[ap] + 8))\$" "$TAP_WORK/metrics"
ok "and by country" grep -q "^geostream_country_new_flows_total{country=\"JP\"} $((was[JP] + 8))\$" "$TAP_WORK/metrics"
# Another generation, in which places have other numbers; flows just before it, and after.
generation=$(status_of .generation.number)
open_flows jp 1
address=$(lab_client_address de 4)
ok "an override moves a client" lab_ctl override add "${address%.*}.0/24" us
has_generation() {
	(($(status_of .generation.number) > generation))
}
ok "is in force" lab_wait 10 has_generation
open_flows jp 1
ok "no flow is lost or counted for another" lab_wait 10 has_grown KE 4 US 6 JP 12 DE 0
# The client's flows of above, that were sampled, are known to be moved; and nobody else's.
is "that it moves is known" "$(status_of '.generation.shift | .moved >= 4 and .moved < .sampled')" true
is "from where to where" "$(status_of '.generation.shift.moves | map([.service, .from, .to]) | tojson')" '[["web","eu","us"]]'
like "for people" "$(lab_ctl status)" 'clients +generation [0-9]+: [0-9.]+ % of the hour.s sampled flows begin in another region'

done_testing
