#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Route decisions per second over REST, beside nginx returning a constant body: the lab's edge, one core
# for whoever answers, another for wrk, rounds interleaved. tests/bench/rest.sh [ROUNDS [SECONDS]]
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
ROUNDS=${1:-5}
SPAN=${2:-4}
export BUILD=${BUILD:-build}
# The lab of a test, without its TAP.
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh >/dev/null
OUT=$BUILD/bench.json
HERE=$PWD/$BUILD/bench/rest
CONNECTIONS=32

command -v wrk >/dev/null || {
	echo "tests/bench/rest.sh: no wrk: install the package of that name" >&2
	exit 1
}
if (($(nproc) < 2)); then
	echo "tests/bench/rest.sh: two cores are needed, one for each side" >&2
	exit 1
fi
{
	lab_test bench-rest
	lab_test_up
} >/dev/null 3>&1
mkdir -p "$HERE"

cat >"$HERE/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $HERE/nginx.pid;
error_log $HERE/error.log;
events { worker_connections 1024; }
http {
	access_log off;
	keepalive_requests 100000000;
	client_body_temp_path $HERE; proxy_temp_path $HERE; fastcgi_temp_path $HERE;
	uwsgi_temp_path $HERE; scgi_temp_path $HERE;
	server {
		listen 127.0.0.1:8081;
		default_type application/json;
		location / { return 200 '{"region":"us","latency_ms":3.5,"latency_source":"distance","reason":"nearest usable one, 354 km away","generation":1}\n'; }
	}
}
CONF
# Another client each time, from all of IPv4.
cat >"$HERE/route.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local n = 0
function request()
	n = (n * 1103515245 + 12345) % 4294967296
	return wrk.format(nil, nil, nil, string.format('{"client_ip": "%d.%d.%d.%d", "service": "web"}',
		1 + math.floor(n / 16777216) % 223, math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256))
end
function done(summary, latency, requests)
	local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
	io.write(string.format("RESULT %.0f %.3f %.3f %d\n", summary.requests / summary.duration * 1e6,
		latency:percentile(50) / 1000, latency:percentile(99) / 1000, bad))
end
LUA
nsenter --net="$(lab_path edge)" taskset -c 0 nginx -e "$HERE/error.log" -p "$HERE" -c "$HERE/nginx.conf" \
	>/dev/null 2>&1 </dev/null &
NGINX=$!
at_exit kill "$NGINX"
for task in /proc/"$LAB_DAEMON"/task/*; do
	taskset -cp 0 "${task##*/}" >/dev/null
done

round() { # PORT; "REQUESTS_A_SECOND P50_MS P99_MS ERRORS"
	nsenter --net="$(lab_path edge)" taskset -c 1 wrk -t 1 -c "$CONNECTIONS" -d "${SPAN}s" -s "$HERE/route.lua" \
		"http://127.0.0.1:$1/api/v1/route" | sed -n 's/^RESULT //p'
}
round 8081 >/dev/null # until it answers, and to warm up
round 8080 >/dev/null
: >"$HERE/rounds"
for ((i = 0; i < ROUNDS; i++)); do
	printf 'nginx %s\n' "$(round 8081)" >>"$HERE/rounds"
	printf 'geostream %s\n' "$(round 8080)" >>"$HERE/rounds"
done

# Columns: variant, median, lowest and highest of a column.
spread() { # VARIANT COLUMN
	awk -v v="$1" -v c="$2" '$1 == v { print $c }' "$HERE/rounds" | sort -n |
		awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)], a[1], a[NR] }'
}
printf '%-10s %12s %24s %8s %8s %8s\n' REST 'requests/s' 'low .. high' 'p50 ms' 'p99 ms' errors
for variant in nginx geostream; do
	read -r rate low high <<<"$(spread "$variant" 2)"
	read -r p50 _ <<<"$(spread "$variant" 3)"
	read -r p99 _ <<<"$(spread "$variant" 4)"
	errors=$(awk -v v="$variant" '$1 == v { n += $5 } END { print n + 0 }' "$HERE/rounds")
	[[ $variant == nginx ]] && base=$rate
	printf '%-10s %12s %24s %8s %8s %8s\n' "$variant" "$rate" "$low .. $high" "$p50" "$p99" "$errors"
	printf '{"bench":"rest","variant":"%s","per_s":%s,"low":%s,"high":%s,"p50_ms":%s,"p99_ms":%s,"errors":%s,"ratio_to":"nginx","ratio":%s,"rounds":%d}\n' \
		"$variant" "$rate" "$low" "$high" "$p50" "$p99" "$errors" \
		"$(awk -v a="$rate" -v b="$base" 'BEGIN { printf "%.2f", a / b }')" "$ROUNDS" >>"$OUT"
done
printf 'geostream answers %s of what nginx does with a constant body\n' \
	"$(awk -v a="$rate" -v b="$base" 'BEGIN { printf "%.2f", a / b }')"
