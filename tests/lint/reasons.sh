#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/reasons.md has every reason of maps/gs_maps.h, in its order, and no other.
set -euo pipefail
cd "$(dirname "$0")/../.."

in_code=$(sed -nE 's/^[[:space:]]*X\(([a-z_0-9]+), (PASS|DROP|TX),.*/\1/p' maps/gs_maps.h)
in_docs=$(sed -nE 's/^\| \x60([a-z_0-9]+)\x60 \|.*/\1/p' docs/reasons.md)
[[ $(wc -l <<<"$in_code") -gt 20 ]] || { # or nothing was compared
	echo "reasons.sh: cannot read the list in maps/gs_maps.h" >&2
	exit 1
}
if ! diff <(echo "$in_code") <(echo "$in_docs") >&2; then
	echo "docs/reasons.md: not the reasons of maps/gs_maps.h (<: there, >: here)" >&2
	exit 1
fi
