#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make bench, make bench-quick: all benchmarks that need no lab, a JSON object a line.
#
#	tests/bench/run.sh full|quick [-g MMDB] [-o FILE] [SECTION...]
#
# Sections: packets geo modes floods cases controller maps probes; all of them if none is named. full:
# into build/bench.json, tables for people on standard error. quick: into build/bench-quick.json with few
# packets, and one line a row beside what the file held before; of sections that are not run it keeps what
# it had. -g: the GeoIP file in place of the
# city-sized one.
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
export BUILD
HERE=tests/bench
country=$BUILD/geoip/geostream-country.mmdb
city=$BUILD/geoip/city.mmdb

usage() {
	printf 'usage: tests/bench/run.sh full|quick [-g MMDB] [-o FILE] [SECTION...]\n' >&2
	exit 2
}
[[ ${1:-} == full || ${1:-} == quick ]] || usage
how=$1
out=$BUILD/bench.json
[[ $how == full ]] || out=$BUILD/bench-quick.json city=$country
OPTIND=2
while getopts 'g:o:' option; do
	case $option in
	g) city=$OPTARG ;;
	o) out=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
sections=" ${*:-packets geo modes floods cases controller maps probes} "
if [[ $EUID -ne 0 ]]; then
	printf 'make bench: loading BPF programs needs root\n' >&2
	exit 1
fi

machine() {
	local commit
	commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
	printf '{"bench":"machine","variant":"%s","cpu":"%s","cores":%d,"memory_bytes":%d,"kernel":"%s","commit":"%s","date":"%s"}\n' \
		"$how" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1 | tr -cd '[:alnum:] ()@.,_-')" "$(nproc --all)" \
		"$(awk '/^MemTotal:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)" "$(uname -r)" "$commit" "$(date -u +%F)"
}

# Without a file of a city's size a synthetic table is used by those that take one (-g is left out).
big=()
[[ ! -r $city ]] || big=(-g "$city")

bench() { # NAME ARGUMENT...; its table is for people who wait
	local name=$1
	shift
	if [[ $how == full ]]; then
		"$BUILD/bench/bench_$name" "$@" >>"$out.new"
	else
		"$BUILD/bench/bench_$name" "$@" >>"$out.new" 2>"$out.log" || {
			cat "$out.log" >&2
			return 1
		}
	fi
}

want() { # SECTION
	[[ $sections == *" $1 "* ]]
}

run_full() {
	! want packets || bench xdp -r 5 -g "$country"
	! want packets || bench xdp -r 5 "${big[@]}"
	! want geo || bench geo -q -g "$country"
	! want geo || bench geo "${big[@]}"
	! want modes || bench xdp -r 5 -m "${big[@]}"
	! want floods || bench flood -r 5
	! want cases || bench cases -r 5
	! want controller || bench controller -r 5 -g "$country"
	! want maps || bench maps -r 3 -g "$country"
	if [[ -r $city ]]; then
		! want controller || bench controller -r 3 -G -g "$city"
		! want maps || bench maps -r 3 -g "$city"
	fi
	! want probes || bench probe -s 4
}

# What must be quick: hot and cold flows, no more.
run_quick() {
	! want packets || bench xdp -r 3 -n 131072 -l 65536 "${big[@]}"
	! want geo || bench geo -q -r 3 -n 131072 "${big[@]}"
	! want modes || bench xdp -m -4 -r 3 -n 32768 "${big[@]}"
	! want floods || bench flood -r 1 -n 131072
	! want controller || bench controller -r 1 "${big[@]}"
	! want maps || bench maps -r 1 "${big[@]}"
	! want probes || bench probe -s 0.5
}

machine >"$out.new"
"run_$how"
if [[ $how == quick ]]; then
	if [[ -r $out ]]; then
		awk -v files=2 -f "$HERE/json.awk" -f "$HERE/compare.awk" "$out" "$out.new"
		awk -f "$HERE/json.awk" -f "$HERE/keep.awk" "$out.new" "$out" >"$out.all"
		mv "$out.all" "$out.new"
	else
		awk -v files=1 -f "$HERE/json.awk" -f "$HERE/compare.awk" "$out.new"
	fi
fi
rm -f "$out.log"
mv "$out.new" "$out"
printf 'written: %s\n' "$out" >&2
