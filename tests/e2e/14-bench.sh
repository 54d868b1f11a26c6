#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Benchmarks say what they say they do: rows as README.md has them, of packets that were what the row is of,
# and documents and plots made from them. No figure is judged.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

BUILD=${BUILD:-build}
export BUILD
JSON=$TAP_WORK/bench.json
need "a GeoIP file" "$BUILD/lab-places" 2000 "$TAP_WORK/places.mmdb"
printf '{"bench":"machine","variant":"test","cpu":"a processor","cores":2,"memory_bytes":1,"kernel":"6","commit":"c0ffee","date":"2026-11-26"}\n' \
	>"$JSON"

rows() { # an expression of jq that must hold for the list of rows
	jq -es "$1" "$JSON"
}

measure() {
	"$BUILD/bench/bench_xdp" -r 2 -n 4096 -f 1 -4 -g "$TAP_WORK/places.mmdb" >>"$JSON"
}
ok "packets are measured" measure
is "a row for each program" "$(jq -r 'select(.bench == "xdp").variant' "$JSON" | paste -sd ' ')" \
	"baseline xdp_tx grow_20_tx floor classical_established classical_new established new"
ok "with all the fields there are" rows 'all(.[1:][]; [.bench, .variant, .family, .flows, .prefixes, .ns, .net_ns, .baseline_ns,
	.low, .high, .rounds, .packets] | all(. != null))'
ok "net is what was measured less the driver's" rows 'all(.[1:][]; .net_ns == .ns - .baseline_ns and .low <= .net_ns and
	.net_ns <= .high)'
ok "packets were what the rows say" rows '[.[] | select(.share)] | length == 4 and all(.[]; .share == 1)'
# So short a run may find that one of them takes no more than the driver: then there is nothing to divide by.
# shellcheck disable=SC2016 # variables of jq
ok "and are compared with another row" rows '. as $rows |
	{"classical_established": "floor", "classical_new": "floor", "established": "classical_established",
		"new": "classical_new"} as $of |
	[.[] | select($of[.variant // ""])] | length == 4 and
	all(.[]; . as $row | ($rows[] | select(.variant == $of[$row.variant])) as $base |
		if $base.net_ns > 0 then .ratio_to == $base.variant and .ratio != null else .ratio == null end)'

mkdir "$TAP_WORK/docs"
# Documents: written anew between their marks, and only where there is something to write.
printf '%s\n' before '<!-- bench:flows -->' old '<!-- /bench -->' between '<!-- bench:rest -->' kept '<!-- /bench -->' \
	'<!-- bench:machine -->' old '<!-- /bench -->' '<!-- bench:goals -->' old '<!-- /bench -->' after >"$TAP_WORK/docs/benchmarks.md"
ok "documents are rendered" tests/bench/docs.sh "$JSON" "$TAP_WORK/docs"
page=$(<"$TAP_WORK/docs/benchmarks.md")
like "the machine is named" "$page" 'a processor, 2 cores.*kernel 6; the program of commit c0ffee'
like "the row is there" "$page" $'\n\\| 1 \\| 4 \\| '
like "goals are judged" "$page" '\| established, 1 flow, IPv4 \| at most 0.5 x the peer \| -?[0-9.,]+ ns \| [0-9]+ ns \| -?[0-9.]+ \| (yes|\*\*no\*\*) \|'
like "what was not measured is not met" "$page" '\| planner[^|]*\| at most 100 ms \| - \|  \|  \| not measured \|'
refuses "nothing old is left" grep -x old "$TAP_WORK/docs/benchmarks.md"
is "what is around tables stays" "$(grep -xE 'before|between|kept|after' <<<"$page" | paste -sd ' ')" "before between kept after"
is "a line for each of five programs" "$(grep -c '<polyline' "$TAP_WORK/docs/bench-flows.svg")" 5
refuses "a file that is not there" tests/bench/docs.sh "$TAP_WORK/none.json" "$TAP_WORK/docs"

sed 's/"net_ns":[0-9]*/"net_ns":1000/' "$JSON" >"$TAP_WORK/old.json"
like "a run is compared with the one before" "$(awk -v files=2 -f tests/bench/json.awk -f tests/bench/compare.awk \
	"$TAP_WORK/old.json" "$JSON")" 'xdp established +IPv4 +1 +[0-9.]+ ns +was +1,000 +-[0-9.]+ %'
done_testing
