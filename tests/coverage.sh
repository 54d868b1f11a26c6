#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage.sh BUILD: runs the unit and database tests of a build made with --coverage, then says how
# many lines of each folder they reached. `make test-coverage` makes that build. A line counts as
# reached if any program reached it; tests themselves do not count.
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILD=$1 LC_ALL=C.UTF-8

find "$BUILD" -name '*.gcda' -delete
status=0
tests/run.sh unit db || status=$?

find "$BUILD" -name '*.gcda' -path '*/user/*' -print0 |
	xargs -0 -r gcov --json-format --stdout 2>/dev/null |
	jq -r '.files[] | select(.file | test("^(user|maps)/.*[.][ch]$")) | .file as $file |
		.lines[] | [$file, .line_number, .count] | @tsv' |
	awk -F '\t' '
	{
		folder = $1
		sub(/\/[^\/]*$/, "", folder)
		line = $1 ":" $2
		if (!(line in reached)) {
			reached[line] = 0
			lines[folder]++
			total++
		}
		if ($3 > 0 && !reached[line]) {
			reached[line] = 1
			hit[folder]++
			total_hit++
		}
	}
	END {
		if (!total)
			exit 1
		for (folder in lines)
			printf "%-20s %6d of %6d lines  %5.1f %%\n", folder, hit[folder], lines[folder],
				100 * hit[folder] / lines[folder] | "sort"
		close("sort")
		printf "%-20s %6d of %6d lines  %5.1f %%\n", "total", total_hit, total,
			100 * total_hit / total
	}' || {
	echo "coverage.sh: gcov counted nothing below $BUILD" >&2
	exit 1
}
exit "$status"
