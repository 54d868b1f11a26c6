#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# page.sh SOURCE GEOSTREAMCTL: a manual page in scdoc's language, on standard output. The line
# @COMMANDS@ becomes the commands of geostreamctl as the program itself tells them, so that the page
# has every command there is, and none that there is not.
set -euo pipefail

# Text that says nothing to scdoc.
plain() {
	sed 's/[\\_*#]/\\&/g'
}

# Under the headings of its help, all that each object's help tells.
commands() { # GEOSTREAMCTL
	local mark word line
	while read -r mark word; do
		if [[ $mark == heading ]]; then
			printf '## %s\n\n' "$(plain <<<"${word^}")"
			continue
		fi
		while IFS= read -r line; do
			case $line in
			'usage: geostreamctl '*)
				printf '*%s*\n' "$(plain <<<"${line#usage: geostreamctl }")"
				;;
			*) printf '\t%s\n\n' "$(plain <<<"${line#"${line%%[! ]*}"}")" ;;
			esac
		done < <("$1" "$word" --help)
	done < <("$1" --help | awk '
		/^options:/ { exit }
		/^[a-z].*:$/ { print "heading " substr($0, 1, length($0) - 1) }
		/^  [a-z]/ && !seen[$1]++ { print "object " $1 }')
}

while IFS= read -r line; do
	if [[ $line == @COMMANDS@ ]]; then
		commands "$2"
	else
		printf '%s\n' "$line"
	fi
done <"$1"
