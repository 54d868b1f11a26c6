#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A new generation under traffic loses nothing: overrides, weights, a GeoIP load, a whole
# configuration. And a GeoIP file that is no good changes nothing.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t33
lab_test_up

generation() {
	status_of .generation.number
}
newer_than() { # NUMBER
	(($(generation) > $1))
}

# COMMAND...: under traffic, leads to a new generation, and no connection fails.
changes() { # NAME COMMAND...
	local name=$1 before
	shift
	before=$(generation)
	ok "$name" "$@"
	ok "$name: a new generation" lab_wait 10 newer_than "$before"
	ok "$name: traffic goes on" lab_wait 20 flows_reached $((reached += 25))
	ok "$name: nothing failed" no_flow_failed
}

reached=25
flows_of_region ap
ok "traffic" lab_wait 20 flows_reached "$reached"
changes "an override for someone else" lab_ctl override add 203.0.113.0/24 us --reason test
changes "an override for a client" lab_ctl override add "$(lab_client_address jp 4)/32" eu
changes "its removal" lab_ctl override remove "$(lab_client_address jp 4)/32"
changes "a weight" lab_ctl backend set ap-1 weight=300
# Drained first: what is taken away at once takes its connections along.
backend_is() { # BACKEND STATE
	[[ $(status_of ".backends[] | select(.name == \"$1\") | .state") == "$2" ]]
}
ok "a backend is drained" lab_ctl backend set ap-2 admin=drain
ok "the daemon has heard" lab_wait 10 backend_is ap-2 drain
ok "its connections end" lab_wait 20 flows_reached $((reached += 25))
changes "a drained backend less" lab_ctl apply -f <(jq 'del(.backends[] | select(.name == "ap-2"))' "$LAB_SAMPLE")
changes "the whole configuration" lab_ctl apply -f "$LAB_SAMPLE"

# Another database, in which the network of jp's client is in the United States.
jp=$(lab_client_address jp 4)
awk -F , -v OFS=, -v address="$jp" '
BEGIN { split(address, byte, "."); number = ((byte[1] * 256 + byte[2]) * 256 + byte[3]) * 256 + byte[4] }
$1 <= number && number <= $2 { $3 = "US" }
{ print }' "$LAB_TOR/geoip" >"$LAB_DIR/moved"
ok "another GeoIP database is made" "$BUILD/geoip/mkgeoip" "$LAB_DIR/moved" "$LAB_TOR/geoip6" \
	/usr/share/zoneinfo/zone.tab "$LAB_DIR/moved.mmdb"
is "it has jp's client in the US" "$(LAB_MMDB=$LAB_DIR/moved.mmdb oracle_country "$jp")" US
changes "a GeoIP load" lab_ctl geo load "$LAB_DIR/moved.mmdb"
is "jp's client is served there now" "$(region_of jp "$LAB_VIP4")" \
	"$(LAB_MMDB=$LAB_DIR/moved.mmdb oracle_nearest "$jp")"
changes "the GeoIP load of before" lab_ctl geo load "$LAB_MMDB"
ok "everyone is home" lab_everyone_home jp au
before=$(generation)
ok "the same file again" lab_ctl geo load "$LAB_MMDB"
is "makes no new generation" "$(generation)" "$before"

# ---- a database that moves too much --------------------------------------------------------------
# In this one every IPv4 network is in the United States: what another region serves is moved.
awk -F , -v OFS=, '{ $3 = "US"; print }' "$LAB_TOR/geoip" >"$LAB_DIR/all-us"
ok "a database of one country is made" "$BUILD/geoip/mkgeoip" "$LAB_DIR/all-us" "$LAB_TOR/geoip6" \
	/usr/share/zoneinfo/zone.tab "$LAB_DIR/all-us.mmdb"
before=$(generation)
home=$(region_of jp "$LAB_VIP4")
like "a dry run tells what it would move" "$(lab_ctl geo load --dry-run "$LAB_DIR/all-us.mmdb")" \
	'IPv4: .* [3-9][0-9]\.[0-9]+ % begin in another region'
is "and leaves no trace in status" "$(status_of '.geoip | [.file, .problem // "", .change.outcome] | join(" ")')" \
	"$LAB_MMDB  shown"
refuses "a load above the limit" lab_ctl geo load "$LAB_DIR/all-us.mmdb"
like "it says what to do" "$(lab_ctl geo load "$LAB_DIR/all-us.mmdb" 2>&1 >/dev/null)" \
	'more than geoip_change_limit = 20 %; .*--dry-run .*--force'
is "the generation stays" "$(generation)" "$before"
is "jp's client stays where it was" "$(region_of jp "$LAB_VIP4")" "$home"
ok "status says so" [ "$(status_of .geoip.refused)" = true ]
lab_in edge curl -s http://127.0.0.1:8080/metrics >"$TAP_WORK/metrics"
ok "metrics, too" grep -q '^geostream_geoip_refused 1$' "$TAP_WORK/metrics"
ok "twice" grep -q '^geostream_geoip_loads_total{result="refused"} 2$' "$TAP_WORK/metrics"
is "one line in the log for each" "$(grep -c 'event=geoip_refused .*would send' "$LAB_LOG")" 2
changes "the same load, forced" lab_ctl geo load --force "$LAB_DIR/all-us.mmdb"
is "jp's client is served in the US" "$(region_of jp "$LAB_VIP4")" us
is "the database before is kept" "$(status_of .geoip.before.file)" "$LAB_MMDB"
changes "a rollback" lab_ctl geo rollback
is "jp's client is home again" "$(region_of jp "$LAB_VIP4")" "$home"
is "in the same tables as before" "$(status_of .geoip.file)" "$LAB_MMDB"
ok "everyone is home again" lab_everyone_home jp au

# ---- files that are no good ----------------------------------------------------------------------
before=$(generation)
: >"$LAB_DIR/empty.mmdb"
head -c 1000000 "$LAB_MMDB" >"$LAB_DIR/truncated.mmdb"
# The end, with the metadata, stays: it opens, and is wrong inside.
{ head -c 500000 "$LAB_MMDB" && tail -c 300000 "$LAB_MMDB"; } >"$LAB_DIR/shortened.mmdb"
head -c 4096 /dev/urandom >"$LAB_DIR/noise.mmdb"
for file in empty truncated shortened noise absent; do
	refuses "geo load of a file that is $file" lab_ctl geo load "$LAB_DIR/$file.mmdb"
	like "$file: the error names the file" "$(lab_ctl geo load "$LAB_DIR/$file.mmdb" 2>&1)" "$file.mmdb"
done
is "the generation in force stays" "$(generation)" "$before"
ok "the clients' table too" lab_everyone_home jp au
ok "traffic goes on" lab_wait 20 flows_reached $((reached += 25))
ok "nothing failed" no_flow_failed

# ---- admin states --------------------------------------------------------------------------------
gone() { # REGION
	local client
	for client in $(lab_clients_of "$1"); do
		[[ $(region_of "$client" "$LAB_VIP4") != "$1" && $(region_of "$client" "$LAB_VIP6") != "$1" ]] ||
			return 1
	done
}
moves_away() { # ADMIN
	ok "region set ap admin=$1" lab_ctl region set ap admin="$1"
	ok "$1: its clients go elsewhere" lab_wait 10 gone ap
	ok "$1: traffic goes on" lab_wait 20 flows_reached $((reached += 25))
	ok "region set ap admin=auto" lab_ctl region set ap admin=auto
	ok "$1: and come back" lab_wait 30 lab_everyone_home jp au
}
moves_away drain
ok "traffic goes on" lab_wait 20 flows_reached $((reached += 25))
ok "drain: nothing failed" no_flow_failed
lab_flows_stop

# Down is down, for connections that exist too: those that are open at that moment end, no others.
few_failed() {
	local flow
	for flow in "${FLOWS[@]}"; do
		(($(lab_flows_count "$flow" failed) <= 10)) || return 1
	done
}
flows_of_region ap
reached=0
moves_away force_down
moves_away maintenance
ok "only open connections were lost" few_failed
lab_flows_stop
refuses "an admin state that is none" lab_ctl region set ap admin=asleep
refuses "a region that is none" lab_ctl region set mars admin=drain

done_testing
