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

commands() { # GEOSTREAMCTL
	local object line
	# What it answers to an object it does not have: the list of those it has.
	for object in $("$1" no-such-object 2>&1 | sed -n 's/^objects: //p'); do
		while IFS= read -r line; do
			case $line in
			'usage: geostreamctl '*)
				printf '*%s*\n' "$(plain <<<"${line#usage: geostreamctl }")"
				;;
			*) printf '\t%s\n\n' "$(plain <<<"${line#"${line%%[! ]*}"}")" ;;
			esac
		done < <("$1" "$object" --help)
	done
}

while IFS= read -r line; do
	if [[ $line == @COMMANDS@ ]]; then
		commands "$2"
	else
		printf '%s\n' "$line"
	fi
done <"$1"
