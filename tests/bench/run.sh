#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make bench: a table for people, JSON lines in build/bench.json. Arguments go to bench_xdp; without
# a choice of its own (-g FILE, -c) the geo table is this machine's country database, and a
# synthetic one of a city database's size comes after it, and the ways packets can go (-m, which may
# stand alone).
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
export BUILD
out=$BUILD/bench.json
country=$BUILD/geoip/geostream-country.mmdb

if [[ $EUID -ne 0 ]]; then
	printf 'make bench: loading BPF programs needs root\n' >&2
	exit 1
fi
: >"$out"
printf '%s, kernel %s\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(uname -r)" >&2
case " $* " in
*" -m "*) "$BUILD/bench/bench_xdp" "$@" >>"$out" ;;
*" -g "* | *" -c "*)
	"$BUILD/bench/bench_xdp" "$@" >>"$out"
	;;
*)
	if [[ -r $country ]]; then
		"$BUILD/bench/bench_xdp" "$@" -g "$country" >>"$out"
	fi
	"$BUILD/bench/bench_xdp" "$@" >>"$out"
	[[ " $* " == *" -f "* ]] || "$BUILD/bench/bench_xdp" "$@" -m >>"$out"
	;;
esac
others=() # -r and -n are for all
for ((i = 1; i < $#; i++)); do
	case ${!i} in
	-r | -n) others+=("${!i}" "${@:i+1:1}") ;;
	esac
done
"$BUILD/bench/bench_flood" "${others[@]}" >>"$out"
"$BUILD/bench/bench_cases" "${others[@]}" >>"$out"
printf 'written: %s\n' "$out" >&2
