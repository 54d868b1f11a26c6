#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Things text can tell: licences, waiting by the clock, goto, names no part should have.
set -euo pipefail
cd "$(dirname "$0")/../.."
bad=0
fail() {
	printf '%s\n' "$1" >&2
	bad=1
}

while IFS= read -r hit; do
	fail "$hit"
done < <(git ls-files -co --exclude-standard '*.c' '*.h' '*.sh' '*.sql' '*.pl' Makefile .ci/run | xargs awk '
	function judge() {
		if (file != "" && !has_line)
			print file ": no SPDX line at the top"
		if (file ~ /^bpf\/|^maps\/.*\.h$/ && !is_dual)
			print file ": loads into the kernel, must be GPL-2.0-only OR BSD-2-Clause"
	}
	FNR == 1 { judge(); file = FILENAME; has_line = is_dual = 0 }
	FNR > 3 { next }
	/SPDX-License-Identifier: / { has_line = 1 }
	/GPL-2\.0-only OR BSD-2-Clause/ { is_dual = 1 }
	END { judge() }')

while IFS= read -r hit; do
	fail "$hit: a test waits for a condition, not for the clock"
done < <(git ls-files -co --exclude-standard 'tests/*.c' 'tests/*.h' 'tests/*.sh' |
	grep -v '^tests/lint/' | xargs grep -nE '(^|[^a-z_.])(u|nano)?sleep([^a-z_]|$)' || true)

while IFS= read -r hit; do
	fail "$hit: cleanup attributes instead of goto"
done < <(git ls-files -co --exclude-standard 'user/*.c' 'loader/*.c' | grep -v 'user/geostreamd.c' |
	xargs grep -nE '^[[:space:]]+goto ' || true)

while IFS= read -r file; do
	fail "$file: name it after what it does"
done < <(git ls-files -co --exclude-standard | grep -E '(^|/)(common|utils?|misc|helpers?)(\.[ch]|/)' || true)

# Links to files, and to headings of the same page.
while IFS=: read -r file target; do
	case $target in
	http*) ;;
	'#'*) sed -nE 's/^#+ //p' "$file" | tr '[:upper:] ' '[:lower:]-' | tr -d ".,?'" |
		grep -qxF -- "${target#\#}" || fail "$file: links to $target, which is no heading" ;;
	*) [[ -e $(dirname "$file")/${target%%#*} ]] || fail "$file: links to $target, which is not there" ;;
	esac
done < <(git ls-files -co --exclude-standard '*.md' | xargs grep -oE '\]\([^) ]+\)' | sed 's/](//; s/)$//')

for folder in bpf maps loader tests vagrant user user/core user/app user/adapters user/base user/ctl; do
	[[ -d $folder && -n $(git ls-files "$folder") && ! -f $folder/README.md ]] &&
		fail "$folder: no README.md"
done
exit "$bad"
