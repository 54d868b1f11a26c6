#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Plots of a file of benchmarks: FOLDER/bench-flows.svg and bench-prefixes.svg. plots.sh JSON FOLDER
set -euo pipefail
here=$(dirname "$0")
for what in flows prefixes; do
	awk -v what="$what" -f "$here/json.awk" -f "$here/plot.awk" "$1" >"$2/bench-$what.svg"
done
