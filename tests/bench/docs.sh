#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make bench-docs: tables of docs/benchmarks.md, docs/scaling.md and the plots from build/bench.json, so that nobody copies
# figures. tests/bench/docs.sh [JSON [FOLDER]]: FOLDER holds benchmarks.md, and gets the plots.
set -euo pipefail
cd "$(dirname "$0")/../.."
json=${1:-${BUILD:-build}/bench.json}
docs=${2:-docs}
HERE=tests/bench
if [[ ! -r $json ]]; then
	printf '%s: not there; make bench writes it\n' "$json" >&2
	exit 1
fi
awk -f "$HERE/json.awk" -f "$HERE/docs.awk" "$HERE/goals" "$json" "$docs/benchmarks.md" >"$docs/benchmarks.md.new"
mv "$docs/benchmarks.md.new" "$docs/benchmarks.md"
if [[ -r $docs/scaling.md ]]; then
	awk -f "$HERE/json.awk" -f "$HERE/scaling.awk" "$json" "$docs/scaling.md" >"$docs/scaling.md.new"
	mv "$docs/scaling.md.new" "$docs/scaling.md"
fi
cp "$json" "$docs/bench.json"
"$HERE/plots.sh" "$json" "$docs"
