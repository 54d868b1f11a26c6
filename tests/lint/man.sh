#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Manual pages: they build without a word; they have every option and setting there is, and name none
# that there is not. (The commands of geostreamctl are put in by docs/man/page.sh.)
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
bad=0
fail() {
	printf '%s\n' "$1" >&2
	bad=1
}

# What is in one list only. WHAT PAGE LIST_OF_THE_PROGRAM LIST_OF_THE_PAGE
compare() {
	local word
	while IFS= read -r word; do
		fail "$2: lacks the $1 $word"
	done < <(comm -23 <(sort -u <<<"$3") <(sort -u <<<"$4"))
	while IFS= read -r word; do
		fail "$2: names the $1 $word, which does not exist"
	done < <(comm -13 <(sort -u <<<"$3") <(sort -u <<<"$4"))
}

long_options() {
	grep -oE -- '(^|[^a-z-])--[a-z][a-z-]*' | sed 's/^[^-]//'
}

page() { # NAME.SECTION
	docs/man/page.sh "docs/man/$1.scd" "$BUILD/geostreamctl"
}

ctl_help() {
	local object
	"$BUILD/geostreamctl" --help
	for object in $("$BUILD/geostreamctl" no-such-object 2>&1 | sed -n 's/^objects: //p'); do
		"$BUILD/geostreamctl" "$object" --help
	done
}

for source in docs/man/*.scd; do
	name=$(basename "$source" .scd)
	said=$(page "$name" | scdoc 2>&1 >/dev/null) || said="scdoc: $said"
	[[ -z $said ]] || fail "$source: $said"
	while IFS=' ' read -r other; do
		[[ $other != geostream* || -f docs/man/$other.scd ]] ||
			fail "$source: refers to $other, which is no page"
	done < <(grep -oE '\*[a-z.-]+\*\([0-9]\)' "$source" | tr -d '*)' | tr '(' '.')
done

compare option geostream-loader.8 "$("$BUILD/geostream-loader" --help | long_options)" \
	"$(page geostream-loader.8 | long_options)"
compare option geostreamd.8 "$("$BUILD/geostreamd" --help | long_options)" \
	"$(page geostreamd.8 | long_options)"
compare option geostreamctl.1 "$(ctl_help | long_options)" "$(page geostreamctl.1 | long_options)"
compare setting geostream.conf.5 \
	"$(sed -nE '/SETTINGS\[\] = \{/,/^\};/s/^\t\{"([a-z_0-9]+)",.*/\1/p' user/app/config.c)" \
	"$(sed -nE '/^# SETTINGS/,/^# EX/s/^\*([a-z_0-9]+)\*$/\1/p' docs/man/geostream.conf.5.scd)"
compare "sample setting" docs/geostream.conf \
	"$(sed -nE '/SETTINGS\[\] = \{/,/^\};/s/^\t\{"([a-z_0-9]+)",.*/\1/p' user/app/config.c)" \
	"$(sed -nE 's/^#?([a-z_0-9]+) = .*/\1/p' docs/geostream.conf)"
[[ $(page geostreamctl.1) == *'*status*'* ]] || fail "geostreamctl.1: no commands; has its help changed?"
exit "$bad"
