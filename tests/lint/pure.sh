#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Purity: what libgscore.a asks of others is this list. No malloc, no clock, no I/O, no logging.
set -euo pipefail
cd "$(dirname "$0")/../.."
lib=${BUILD:-build}/libgscore.a
allowed='^(mem(cmp|cpy|move|set|chr)|str(cmp|ncmp|casecmp|ncasecmp|len|nlen|chr|rchr|cspn|spn|pbrk|tod|toul|tol|toull)|strtok_r|__isoc99_sscanf|bsearch|qsort|a?sin|a?cos|sincos|atan2?|sqrt|fabs|fm(in|ax|od)|floor|ceil|l?round|lround|pow|log2?|exp|hypot|isfinite|inet_(pton|ntop)|snprintf|__ctype_(b|tolower|toupper)_loc|tolower|toupper|__errno_location|__stack_chk_fail|__popcountdi2|_GLOBAL_OFFSET_TABLE_|__snprintf_chk|__mem(cpy|set|move)_chk)$'

defined=$(nm --defined-only "$lib" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u)
bad=0
while IFS= read -r symbol; do
	grep -qxF "$symbol" <<<"$defined" && continue
	[[ $symbol =~ $allowed ]] && continue
	printf '%s: needs %s: core has no I/O, clock, allocation or logging\n' "$lib" "$symbol" >&2
	bad=1
done < <(nm -u "$lib" | awk '$1 == "U" { print $2 }' | sort -u)

# Globals: nothing writable (.data.rel.ro is constant once it is relocated).
while read -r section symbol; do
	printf '%s: writable global %s (%s)\n' "$lib" "$symbol" "$section" >&2
	bad=1
done < <(objdump -t "$lib" | awk 'NF >= 5 && $(NF - 2) ~ /^\.(data|bss)/ && $(NF - 2) !~ /^\.data\.rel\.ro/ &&
	$NF !~ /^\./ { print $(NF - 2), $NF }')
exit "$bad"
