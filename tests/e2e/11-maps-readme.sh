#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# maps/README.md is true: its bpftool lines work as printed (on another pin folder), on maps that the
# loader really pinned, with a generation in slot 1; and its table names the maps there are.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

BUILD=${BUILD:-build}
NETNS=gs-readme-$$
PINS=/sys/fs/bpf/gs-readme-$$
loader() { nsenter --net="/run/netns/$NETNS" "$BUILD/geostream-loader" --pin-dir "$PINS" "$@"; }
clean() {
	loader detach lo
	rm -rf "$PINS"
	ip netns del "$NETNS"
}

need "bpffs" sh -c 'mountpoint -q /sys/fs/bpf || mount -t bpf bpffs /sys/fs/bpf'
need "a network namespace" ip netns add "$NETNS"
at_exit clean
need "pinned maps" loader attach lo --mode generic

# An inner map for each map of a generation, as the controller makes them.
inner_map() { # OUTER TYPE KEY_SIZE VALUE_SIZE ENTRIES FLAGS
	bpftool map create "$PINS/inner" type "$2" key "$3" value "$4" entries "$5" name "$1" flags "$6" &&
		bpftool map update pinned "$PINS/$1" key 1 0 0 0 value pinned "$PINS/inner" &&
		rm "$PINS/inner"
}
for row in "geo4 array 4 64 4 0x1000" "geo6 array 4 64 4 0x1000" "override4 lpm_trie 8 8 65536 1" \
	"override6 lpm_trie 20 8 65536 1" "access4 lpm_trie 12 8 65536 1" "access6 lpm_trie 24 8 65536 1" \
	"routes array 4 64 4 0x1000" "plans array 4 128 4 0x1000" \
	"pools array 4 8 4 0x1000" "rings array 4 64 4 0x1000"; do
	# shellcheck disable=SC2086 # a row
	need "inner map: $row" inner_map $row
done
raw=$(bpftool -j map lookup pinned "$PINS/meta" key 0 0 0 0 | jq -r '.value | join(" ")')
# shellcheck disable=SC2086 # bytes; active is the second word
need "slot 1 in force" bpftool map update pinned "$PINS/meta" key 0 0 0 0 \
	value ${raw%% *} 0 0 0 1 0 0 0 ${raw#* * * * * * * * }

lines=0
definitions=
while IFS= read -r line; do
	line=${line//\/sys\/fs\/bpf\/geostream/$PINS}
	case $line in
	bpftool\ *)
		lines=$((lines + 1))
		ok "${line%%  #*}" bash -c "set -eo pipefail; $definitions $line"
		;;
	?*) definitions+=$line$'\n' ;;
	esac
done < <(awk '/^.``/ { on = /sh$/; next } on' maps/README.md)
ok "it has lines ($lines)" test "$lines" -ge 20
like "the slot is found" "$(bash -c "$definitions echo \$slot")" '^1$'
layout=$(awk '$2 == "GS_MAPS_VERSION" { print $3 + 0 }' maps/gs_maps.h)
like "fields have their names" "$(bpftool map dump pinned "$PINS/meta")" "\"layout_version\": $layout,"

documented=$(sed -n '/^| map /,/^$/p' maps/README.md | cut -d'|' -f2 | tr -d '` ' | tr , '\n' | sed -n '/^map$/d; /^-*$/d; p' | sort)
there=$(cd "$PINS" && printf '%s\n' * | grep -vE '^(prog|link-.*)$' | sort)
is "its table has every map, and no other" "$documented" "$there"
for map in $there; do
	ok "it has a line for $map" grep -qE "^bpftool .*(geostream/$map\b|inner $map\))" maps/README.md
done

done_testing
