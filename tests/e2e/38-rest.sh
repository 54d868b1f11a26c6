#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# REST and metrics of a real edge: what docs/API_Reference.md shows is what is answered, hostile
# requests are refused, promtool finds nothing to say.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t38
lab_test_up
URL=http://127.0.0.1:8080

http() { # CURL_ARGUMENT...; the body, then a line with the status
	lab_in edge curl -s -m 10 -w '\n%{http_code} %{content_type}\n' "$@"
}
status() { # CURL_ARGUMENT...
	http "$@" | tail -n 1 | cut -d ' ' -f 1
}
body() { # CURL_ARGUMENT...
	http "$@" | sed '$d'
}
route() { # BODY
	body -H 'Content-Type: application/json' -d "$1" "$URL/api/v1/route"
}
route_status() { # BODY
	status -H 'Content-Type: application/json' -d "$1" "$URL/api/v1/route"
}

# A decision without what only a running edge has: ids, and what it has measured here by now.
what_files_know() {
	jq -c 'del(.generation, .winner.backends, .match, .location.id)
		| .candidates[] |= (del(.round_trip_here_ms, .round_trip_here_samples) | .round_trip |= sub("; here .*"; ""))'
}

# ---- health ------------------------------------------------------------------------------------
is "live" "$(status "$URL/health/live")" 200
is "ready" "$(status "$URL/health")" 200
is "says so" "$(body "$URL/health" | jq -c '[.live, .ready, .edge, .database]')" '[true,true,"lab",true]'

# ---- route: the same as the packets and geostreamctl -------------------------------------------
for client in "${LAB_CLIENTS[@]}"; do
	for family in 4 6; do
		address=$(lab_client_address "$client" "$family")
		service=web
		[[ $family == 4 ]] || service=web6
		is "route of $address" "$(route "{\"client_ip\": \"$address\", \"service\": \"$service\"}" | jq -r .region)" \
			"$(lab_ctl -j route get "$address" --service "$service" | jq -r .winner.region)"
		is "from files alone, the same" \
			"$("$BUILD/geostreamctl" -j route get "$address" --offline -f "$LAB_SAMPLE" --geo "$LAB_MMDB" --service "$service" |
				what_files_know)" \
			"$(lab_ctl -j route get "$address" --service "$service" | what_files_know)"
	done
done
decision=$(route "{\"client_ip\": \"$(lab_client_address de 4)\", \"service\": \"web\"}")
is "its members" "$(jq -c keys <<<"$decision")" '["generation","latency_ms","latency_source","reason","region"]'
ok "a latency by distance: 1 ms for 100 km" jq -e '.latency_source == "distance" and .latency_ms > 0
	and ((.reason | capture("(?<km>[0-9]+) km").km | tonumber) - .latency_ms * 100 | fabs) < 6' <<<"$decision"
is "an address nobody knows: no latency, a region all the same" \
	"$(route '{"client_ip": "192.0.2.1", "service": "web"}' | jq -c '[.latency_ms, .region]')" '[null,"eu"]'

# ---- what is wrong with a request --------------------------------------------------------------
while IFS='|' read -r want field request; do
	is "$request: $want" "$(route_status "$request")" "$want"
	is "as a problem, naming the field" "$(route "$request" | jq -c '[.status, .field]')" "[$want,$field]"
done <<'ROWS'
400|"client_ip"|{"service": "web"}
400|"client_ip"|{"client_ip": 5, "service": "web"}
400|"client_ip"|{"client_ip": "8.8.8.8/32", "service": "web"}
400|"client_ip"|{"client_ip": "'; DROP TABLE regions; --", "service": "web"}
400|"service"|{"client_ip": "8.8.8.8"}
400|"service"|{"client_ip": "8.8.8.8", "service": 7}
404|"service"|{"client_ip": "8.8.8.8", "service": "mars"}
400|null|{"client_ip": "8.8.8.8", "service": "web\u0000"}
400|"client-ip"|{"client-ip": "8.8.8.8", "service": "web"}
400|null|["8.8.8.8"]
400|null|{"client_ip": "8.8.8.8", "client_ip": "8.8.4.4", "service": "web"}
400|null|{"client_ip": "8.8.8.8"
400|null|nothing
ROWS
like "a suggestion" "$(route '{"client-ip": "8.8.8.8"}' | jq -r .detail)" "did you mean 'client_ip'"
is "another content type" "$(status -d 'client_ip=8.8.8.8' "$URL/api/v1/route")" 415
head -c 70000 /dev/zero | tr '\0' ' ' >"$TAP_WORK/big"
is "a body that is too large" "$(status -H 'Content-Type: application/json' -d "@$TAP_WORK/big" "$URL/api/v1/route")" 413
is "no such resource" "$(status "$URL/api/v1/nothing")" 404
is "nor a file" "$(status --path-as-is "$URL/../../etc/passwd")" 404
is "nor below a resource" "$(status "$URL/api/v1/breakers/x")" 404
is "the wrong method" "$(status -X DELETE "$URL/api/v1/regions")" 405
like "says which there are" "$(lab_in edge curl -s -i -X DELETE "$URL/api/v1/regions")" 'Allow: GET, HEAD'
is "route takes POST only" "$(status "$URL/api/v1/route")" 405
is "a word of the query nobody knows" "$(status "$URL/api/v1/backends?limits=1")" 400
is "a path with a zero byte" "$(status "$URL/health%00junk")" 404
is "a header of 20 KB" "$(status -H "X: $(head -c 20000 /dev/zero | tr '\0' x)" "$URL/health")" 431
is "HEAD has no body" "$(lab_in edge curl -s -I "$URL/health" | tail -n 1 | tr -d '\r\n')" ''
ok "bytes that are no HTTP end the connection, not the daemon" sh -c "head -c 3000 /dev/urandom |
	timeout 10 nsenter --net=$(lab_path edge) bash -c 'cat >/dev/tcp/127.0.0.1/8080' || :"
is "it answers on" "$(status "$URL/health/live")" 200

# ---- objects -----------------------------------------------------------------------------------
for kind in regions policies services backends overrides access; do
	is "$kind: as the command has them" "$(body "$URL/api/v1/$kind" | jq -S -c ".${kind}[] | del(.state, .health, .latency_ms)")" \
		"$(lab_ctl -j "$(sed -E 's/ies$/y/; s/([^s])s$/\1/' <<<"$kind")" list | jq -S -c '.[]')"
done
is "one of them" "$(body "$URL/api/v1/backends/eu-1" | jq -c '[.name, .region, .state, .health]')" '["eu-1","eu","up","up"]'
is "one there is not" "$(status "$URL/api/v1/backends/mars-1")" 404
is "a page of them" "$(body "$URL/api/v1/backends?offset=22&limit=10" | jq -c '[.total, (.backends | length)]')" '[24,2]'
is "a page of nonsense" "$(status "$URL/api/v1/backends?limit=-1")" 400
is "breakers" "$(body "$URL/api/v1/breakers" | jq -c '[.breakers[].state] | unique')" '["closed"]'
is "status" "$(body "$URL/api/v1/status" | jq -r .edge)" lab

# ---- metrics -----------------------------------------------------------------------------------
body "$URL/metrics" >"$TAP_WORK/metrics"
said=$(promtool check metrics <"$TAP_WORK/metrics" 2>&1)
is "promtool has nothing to say" "$said" ""
for metric in geostream_packets_total geostream_service_packets_total geostream_region_bytes_total \
	geostream_backend_up geostream_breaker_state geostream_generation geostream_generation_age_seconds \
	geostream_database_connected geostream_loop_lag_seconds geostream_loop_callback_seconds_bucket geostream_loop_stalls_total geostream_build_info \
	geostream_http_responses_total geostream_http_connections geostream_probe_failures_total; do
	ok "$metric is there" grep -q "^${metric}[ {]" "$TAP_WORK/metrics"
done
is "as many breakers as status has pools" \
	"$(grep -c '^geostream_breaker_state{.*state="closed"} 1$' "$TAP_WORK/metrics")" 12
refuses "no client's address is a label" grep -qF "$(lab_client_address de 4)" "$TAP_WORK/metrics"

# ---- the reference -----------------------------------------------------------------------------
# Every example: the command after "$ ", then what is answered. Numbers vary, words do not.
same_words() { # FILE FILE
	diff <(sed -E 's/[0-9]+(\.[0-9]+)?/N/g' "$1") <(sed -E 's/[0-9]+(\.[0-9]+)?/N/g' "$2")
}
check_example() { # COMMAND; the answer to be expected in $TAP_WORK/want
	lab_in edge bash -c "$1" >"$TAP_WORK/got" 2>&1
	same_words "$TAP_WORK/want" "$TAP_WORK/got"
}
examples=0
command=
while IFS= read -r line; do
	case $line in
	'$ '*)
		command=${line#'$ '}
		: >"$TAP_WORK/want"
		;;
	'```')
		if [[ $command ]]; then
			ok "API_Reference.md: $command" check_example "$command"
			examples=$((examples + 1))
		fi
		command=
		;;
	*) [[ -z $command ]] || printf '%s\n' "$line" >>"$TAP_WORK/want" ;;
	esac
done <docs/API_Reference.md
ok "there were examples of every call" test "$examples" -ge 12

# README's two: what follows "curl", on one line, and the line that is answered.
while IFS= read -r line; do
	case $line in
	*' curl '*)
		command="curl${line#*curl}"
		[[ $command != *\\ ]] || {
			IFS= read -r line
			command="${command%\\}$line"
		}
		IFS= read -r line
		printf '%s\n' "$line" >"$TAP_WORK/want"
		ok "README.md: $command" check_example "$command"
		;;
	esac
done < <(sed -n '/^Over REST\|Over REST, where/,/^## /p' README.md)
is "README.md has two of them" "$(grep -c '^\$ sudo .* curl ' README.md)" 2

# ---- an override, by its prefix ----------------------------------------------------------------
ok "an override" lab_ctl override add 203.0.113.0/24 us
override_is_there() {
	[[ $(body "$URL/api/v1/overrides/203.0.113.0/24" | jq -r .region) == us ]]
}
ok "is answered by its prefix" lab_wait 10 override_is_there
is "another one is not there" "$(status "$URL/api/v1/overrides/203.0.113.0/25")" 404
ok "access rules" lab_ctl access add 203.0.113.0/24 deny
ok "one of a service" lab_ctl access add 203.0.113.0/24@web allow
access_is_there() {
	[[ $(body "$URL/api/v1/access/203.0.113.0/24@web" | jq -r .action) == allow ]]
}
ok "is answered by prefix and service" lab_wait 10 access_is_there
is "that of every service by its prefix" "$(body "$URL/api/v1/access/203.0.113.0/24" | jq -r .action)" deny
is "that of another service is not there" "$(status "$URL/api/v1/access/203.0.113.0/24@web6")" 404

# ---- the database is away, the daemon is told to end -------------------------------------------
lab_database_crash
away() {
	[[ $(body "$URL/health" | jq .database) == false ]]
}
ok "the database is away" lab_wait 20 away
is "routes are answered all the same" "$(route_status '{"client_ip": "8.8.8.8", "service": "web"}')" 200
is "and it is ready" "$(status "$URL/health")" 200
lab_daemon_end TERM
is "no daemon, no answer" "$(status "$URL/health")" 000

done_testing
