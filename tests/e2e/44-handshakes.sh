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

# ---- one that flaps, all the while ---------------------------------------------------------------
# A backend nobody asks: 2 s without an answer, 2 s with. Rules can be before the local table only if
# that has one of its own.
flap() {
	lab_in ap-2 ip rule add pref 100 lookup local && lab_in ap-2 ip rule del pref 0 || return
	while :; do
		lab_in ap-2 ip rule add pref 50 ipproto tcp dport 8080 blackhole
		lab_pause 2
		lab_in ap-2 ip rule del pref 50
		lab_pause 2
	done
}
flap &
at_exit kill $!
flaps_since=$SECONDS

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
# Counters are read by parts, round and round: once the last flows opened are counted for the second
# time, all before the first are.
for round in first second; do
	marked=$(of_country AU)
	open_flows au 1
	ok "what was opened is known, for the $round time" lab_wait 10 is_counted AU $((marked + 2))
done
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

# ---- round trips decide ------------------------------------------------------------------------
# What edges measured, judged twice a second.
echo "latency_ms = 500" >>"$LAB_CONF"
kill -HUP "$LAB_DAEMON"
ok "a policy by latency" lab_ctl policy set nearest rank=latency,geo
address=$(lab_client_address br 4)
# A connection without a word: its handshake is what counts.
connect() { # VIP
	lab_in client-br timeout 10 bash -c "exec 3<>/dev/tcp/$1/80" 2>/dev/null
}
candidate() { # REGION JQ_FILTER
	lab_ctl -j route get "$address" --service web | jq -r --arg region "$1" ".candidates[] | select(.region == \$region) | $2"
}
connects_until() { # VIP CONNECTIONS CHECK...
	local i
	for ((i = 0; i < $2; i++)); do
		connect "$1"
		"${@:3}" && return
	done
	return 1
}
is_measured() {
	[[ $(candidate us .round_trip_source) == measured ]]
}
like "distance decides at first" "$(candidate us .round_trip)" '^distance|^of '
ok "what Brazil has is published" connects_until "$LAB_VIP6" 60 is_measured
is "it stays where it is" "$(region_of br "$LAB_VIP4")" us
like "and says why" "$(lab_ctl route get "$address" --service web)" "us .*first by latency, geo
.*round trip [0-9.]+ ms: measured, [0-9]+ samples, published [0-9]+ s ago; here .*: held, a change needs 15 % and 5 ms"
like "its country is a place, too" "$(lab_ctl latency list country:BR)" 'cell:BR/-?[0-9]+,-?[0-9]+ +us +[0-9.]+ ms'
is "nobody moves for that" "$(region_of us "$LAB_VIP4") $(region_of jp "$LAB_VIP4")" "us ap"
is "REST has what is published" "$(lab_in edge curl -s 'http://127.0.0.1:8080/api/v1/latencies?place=country:BR' | jq -S -c '.latencies | map([.place, .region])')" \
	"$(lab_ctl -j latency list country:BR | jq -S -c '.latencies | map([.place, .region])')"
lab_in edge curl -s http://127.0.0.1:8080/metrics >"$TAP_WORK/metrics"
ok "metrics say that this edge judges" grep -q '^geostream_latency_judge 1$' "$TAP_WORK/metrics"
ok "and count what is published" grep -q '^geostream_latency_estimates{source="measured"} [1-9]' "$TAP_WORK/metrics"

# A region is slow for Brazil, and for nobody else, probes included: what it sends there takes a detour.
slow_line() { # REGION DEVICE MS [NOISE_MS]
	local gateway log=$LAB_DIR/$1-$2.log
	nsenter --net="$(lab_path "region-$1")" "$BUILD/lab-slowline" "${@:2}" >"$log" 2>&1 </dev/null &
	at_exit kill $!
	lab_wait 10 grep -qx ready "$log" || return 1
	lab_in "region-$1" sysctl -qw net.ipv4.conf.all.rp_filter=0 "net.ipv4.conf.$2.rp_filter=0"
	lab_in "region-$1" ip link set "$2" up
	for family in -4 -6; do
		# What has been slow goes on as everything does.
		gateway=$(lab_in "region-$1" ip "$family" -j route show default | jq -r '.[0] | "via \(.gateway) dev \(.dev)"')
		# shellcheck disable=SC2086 # words
		lab_in "region-$1" ip "$family" route replace default $gateway table 44 &&
			lab_in "region-$1" ip "$family" rule add iif "$2" lookup 44 &&
			lab_in "region-$1" ip "$family" route add "$(lab_client_address br "${family#-}")" dev "$2" || return 1
	done
}
# By and by; not all of its clients at once. That takes three periods, fewer than connections may.
watch_move() {
	until grep -qs '^moving' "$TAP_WORK/moving" && grep -qs 'clients go by it' "$TAP_WORK/changing"; do
		lab_ctl route get "$address" --service web >"$TAP_WORK/moving"
		lab_ctl latency list country:BR >"$TAP_WORK/changing"
		lab_pause 0.1
	done
	touch "$TAP_WORK/moved"
}
is_moving() {
	connect "$LAB_VIP4" # both of the cell's prefixes have a vote
	[[ -e $TAP_WORK/moved ]]
}
is_elsewhere() {
	lab_ctl -j route get "$address" --service web |
		jq -e '(.moving | not) and (.winner.region | test("^(eu|ap)$"))' >/dev/null
}
need "a slow line from us to Brazil" slow_line us slow 300
watch_move &
at_exit kill $!
ok "the latency that clients have is followed" connects_until "$LAB_VIP6" 60 is_moving
like "by a share of them at first" "$(<"$TAP_WORK/moving")" 'moving +from us to (eu|ap): (25|50|75) % so far, by measured round trips'
like "as the round trip is" "$(<"$TAP_WORK/changing")" 'us +[1-9][0-9][0-9]+\.[0-9] ms .*; (25|50|75) % of clients go by it, the others by [0-9.]+ ms'
ok "by all in the end" lab_wait 10 is_elsewhere
like "Brazil is served elsewhere" "$(region_of br "$LAB_VIP4") $(region_of br "$LAB_VIP6")" '^(eu|ap) (eu|ap)$'
is "nobody else moves" "$(region_of us "$LAB_VIP4") $(region_of jp "$LAB_VIP4")" "us ap"
like "and why is told" "$(lab_ctl route get "$address" --service web)" 'us .*
.*round trip [1-9][0-9][0-9]+\.?[0-9]* ms: measured'
is "us is up for all that" "$(status_of '.regions[] | select(.name == "us").state')" up
for family in -4 -6; do
	lab_in region-us ip "$family" route del "$(lab_client_address br "${family#-}")" dev slow
done

# ---- two that are equally fast -------------------------------------------------------------------
# Both 100 ms from Brazil, each packet 10 ms more or less, and nothing is tied. One service asks the
# one, the other the other, so that both are heard all the time.
winner() {
	lab_ctl -j route get "$address" --service web | jq -r .winner.region
}
is_even() { # REGION
	[[ $(candidate "$1" '.round_trip_source == "measured" and .round_trip_ms > 75 and .round_trip_ms < 140') == true ]]
}
# By both of the cell's prefixes: what one of them had before counts for half a minute.
both_have_it_even() { # REGION
	connect "$LAB_VIP4"
	is_even "$1"
}
is_settled() {
	lab_ctl -j latency list --limit 1000 | jq -e '[.latencies[].moved_percent // empty] == []' >/dev/null
}
for region in us eu; do
	need "a noisy line from $region" slow_line "$region" even 100 10
done
ok "who is faster decides" lab_ctl policy set nearest rank=latency band_ms=0 band_percent=0
for region in us eu; do
	ok "Brazil goes to $region for a while" lab_ctl override add country:BR "$region"
	ok "which is measured anew" connects_until "$LAB_VIP6" 80 both_have_it_even "$region"
	ok "and goes where it wants" lab_ctl override remove country:BR
done
ok "whoever has to go over has" lab_wait 10 is_settled
first=$(winner)
ok "another service goes to the other" lab_ctl policy add aside kind=failover \
	order="$([[ $first == us ]] && echo eu,us,ap || echo us,eu,ap)"
ok "and keeps it in sight" lab_ctl service set web6 policy=aside
winners=()
for ((i = 0; i < 25; i++)); do
	connect "$LAB_VIP4"
	connect "$LAB_VIP6"
	winners+=("$(winner)")
done
ok "both are heard" test "$(candidate us .round_trip_here_samples)" -ge 5 -a "$(candidate eu .round_trip_here_samples)" -ge 5
is "and stay equal" "$(candidate us .round_trip_source) $(candidate eu .round_trip_source)" "measured measured"
ok "the other service is as it was" lab_ctl service set web6 policy=nearest
is "nobody moves to and fro" "$(printf '%s\n' "${winners[@]}" | sort | uniq -c | tr -s ' ')" " 25 $first"

# What nobody has measured is known by probes, of an edge that knows where it is.
is_probed() {
	[[ $(lab_ctl -j latency list probes | jq -c '.latencies | map([.place, .region])') == '[["probes","eu"],["probes","us"],["probes","ap"]]' ]]
}
australia=$(lab_client_address au 4)
is "this one does not" "$(lab_ctl -j latency list probes | jq -c '[.total, .probed]')" '[0,0]'
echo "coordinates = 50.1,8.7" >>"$LAB_CONF"
kill -HUP "$LAB_DAEMON"
ok "now it does, and all regions' are published" lab_wait 20 is_probed
like "a client nobody has measured goes by them" "$(lab_ctl route get "$australia" --service web)" \
	'round trip [0-9.]+ ms: of probes: distance.*, [0-9]+ samples, published [0-9]+ s ago'
is "REST has the same source" "$(lab_in edge curl -s -H 'Content-Type: application/json' -d "{\"client_ip\": \"$australia\", \"service\": \"web\"}" http://127.0.0.1:8080/api/v1/route | jq -r .latency_source)" probes
is "who has measured one goes by that" "$(candidate us .round_trip_source)" measured
like "status has where it is" "$(lab_ctl status)" 'at 50\.10,8\.70: its probes tell'

# ---- capacity ----------------------------------------------------------------------------------
ok "by geography again" lab_ctl policy set nearest kind=geo
filled() { # JQ_CONDITION
	lab_ctl -j capacity list | jq -e "$1" >/dev/null
}
told_demand() { # REGION
	[[ $(psql -XAt "$LAB_DATABASE" -c "SELECT per_second > 1 FROM geostream.demand WHERE region = '$1'") == t ]]
}
lands_at_home() {
	[[ $(region_of jp "$LAB_VIP4") == ap && $(region_of jp "$LAB_VIP6") == ap ]]
}
like "nobody states a capacity" "$(lab_ctl capacity list)" 'no region states its capacity'
for region in eu us; do
	ok "$region states one" lab_ctl region set "$region" capacity=1000
done
ok "ap's is soon used up" lab_ctl region set ap capacity=1
# One new flow a second, and a client that opens many: most of its region's clients have to leave.
leave() {
	open_flows jp 5
	filled '.capacity[] | select(.region == "ap") | .away_percent > 60'
}
ok "clients leave a region that is full" lab_wait 30 leave
ok "it keeps what it is filled to" filled '.capacity[] | select(.region == "ap") | .kept <= 1.2 and .taken == 0'
ok "the others take them, by headroom" filled '[.capacity[] | select(.region != "ap") | .taken] | min > 0'
ok "and nobody is shed" filled '[.capacity[].shed] | add == 0'
# By the words of one moment: they move on while demand falls.
goes_as_said() { # CLIENT FAMILY VIP
	[[ $(region_of "$1" "$3") == "$(lab_ctl -j route get "$(lab_client_address "$1" "$2")" | jq -r .winner.region)" ]]
}
ok "packets go where route get says" lab_wait 5 goes_as_said jp 4 "$LAB_VIP4"
ok "of both families" lab_wait 5 goes_as_said jp 6 "$LAB_VIP6"
like "route get says why" "$(lab_ctl route get "$(lab_client_address jp 4)")" \
	'capacity +ap is filled to 80 %: [0-9.]+ % of its clients go elsewhere by headroom: (us|eu) [0-9]+ %, (us|eu) [0-9]+ %'
like "for people" "$(lab_ctl capacity list)" 'ap +1 +80 % +[0-9.]+ % +[0-9.]+ '
is "REST has it" "$(lab_in edge curl -s http://127.0.0.1:8080/api/v1/capacity | jq -c '.capacity | map(.region)')" '["eu","us","ap"]'
metrics_say_so() {
	leave
	[[ $(lab_in edge curl -s http://127.0.0.1:8080/metrics) =~ geostream_region_away_ratio.region=\"ap\".\ 0\.[3-9] ]]
}
ok "so have metrics" lab_wait 30 metrics_say_so
told() {
	leave
	told_demand ap
}
ok "and the database" lab_wait 30 told
for region in eu us ap; do
	ok "$region states none" lab_ctl region set "$region" capacity=0
done
ok "then nobody leaves" lab_wait 10 filled '.capacity == []'
ok "packets neither" lab_wait 5 lands_at_home

# ---- the one that flaps ------------------------------------------------------------------------
a_minute() {
	((SECONDS - flaps_since >= 60))
}
went_down() {
	psql -XAt "$LAB_DATABASE" -c "SELECT count(*) FROM geostream.transitions
		WHERE kind = 'backend' AND backend = 'ap-2-cross' AND to_state = 'down'"
}
ok "a backend has flapped for a minute" lab_wait 60 a_minute
like "it is held down" "$(lab_ctl health list)" \
	'ap-2-cross +cross +ap +down +[a-z]+ [^,]*, (last failure: timeout, )?damped: down [1-9][0-9] times'
ok "it went down three times, and not with each flap" test "$(went_down)" -ge 3 -a "$(went_down)" -le 4
is "the other has its place" "$(status_of '.backends[] | select(.name == "ap-1-cross").state')" up

done_testing
