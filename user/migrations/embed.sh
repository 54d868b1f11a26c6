#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh FILE...: C initialisers { number, "name", "sha256", "sql" }, one a migration.
set -eu
export LC_ALL=C
expected=1
for file in "$@"; do
	name=$(basename "$file" .sql)
	number=$(printf '%s\n' "$name" | sed -nE 's/^0*([1-9][0-9]*)_[a-z0-9_]+$/\1/p')
	[ "$number" = "$expected" ] || {
		echo "embed.sh: $file: migrations are numbered without gaps: expected number $expected" >&2
		exit 1
	}
	expected=$((expected + 1))
	sum=$(sha256sum "$file" | cut -d' ' -f1)
	printf '{ %d, "%s", "%s",\n' "$number" "$name" "$sum"
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/?/\\?/g' -e 's/^/"/' -e 's/$/\\n"/' "$file"
	printf '},\n'
done
