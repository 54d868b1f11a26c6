#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone, by both compilers; what the packet path shares also for bpf.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
bad=0
stub=$(mktemp --suffix=.c)
trap 'rm -f "$stub"' EXIT

compile() { # header compiler-and-flags...
	printf '#include "%s"\n' "$1" >"$stub"
	"${@:2}" -I. -fsyntax-only "$stub" || {
		printf '%s: does not compile alone (%s)\n' "$1" "$2" >&2
		bad=1
	}
}

read -ra packages < <(pkg-config --cflags libbpf libxdp libpq libmaxminddb jansson libmnl libmicrohttpd)
flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror "${packages[@]}")
while IFS= read -r header; do
	head -n 40 "$header" | grep -q '^#pragma once' || {
		printf '%s: no #pragma once\n' "$header" >&2
		bad=1
	}
	compile "$header" gcc "${flags[@]}"
	compile "$header" clang "${flags[@]}"
done < <(git ls-files -co --exclude-standard 'maps/*.h' 'user/*.h' 'loader/*.h' 'tests/*.h' |
	grep -v '\.bpf\.h$')
for header in maps/gs_maps.h maps/gs_hash.h maps/gs_maps.bpf.h bpf/*.h; do
	compile "$header" clang -target bpf -mcpu=v3 -O2 -std=gnu11 -Wall -Wextra -Werror \
		-Wno-unused-function "-I/usr/include/$(gcc -print-multiarch)"
done
exit "$bad"
