#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone; what both compilers read by both, what the packet path shares for bpf. Two at
# once.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
export work
trap 'rm -rf "$work"' EXIT

compile() { # header compiler-and-flags...
	local stub=$work/$BASHPID.c
	printf '#include "%s"\n' "$1" >"$stub"
	"${@:2}" -I. -fsyntax-only "$stub" || {
		printf '%s: does not compile alone (%s)\n' "$1" "$2" >&2
		return 1
	}
}

check_header() { # header flags...
	local bad=0
	head -n 40 "$1" | grep -q '^#pragma once' || {
		printf '%s: no #pragma once\n' "$1" >&2
		bad=1
	}
	compile "$1" gcc "${@:2}" || bad=1
	if [[ $1 == maps/* ]]; then
		compile "$1" clang "${@:2}" || bad=1
	fi
	return "$bad"
}
export -f compile check_header

read -ra packages < <(pkg-config --cflags libbpf libxdp libpq libmaxminddb jansson libmnl libmicrohttpd libssl libcrypto libnghttp2)
flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror "${packages[@]}")
bpf_flags=(clang -target bpf -mcpu=v3 -O2 -std=gnu11 -Wall -Wextra -Werror
	-Wno-unused-function "-I/usr/include/$(gcc -print-multiarch)")
bad=0
git ls-files -co --exclude-standard 'maps/*.h' 'user/*.h' 'loader/*.h' 'tests/*.h' | grep -v '\.bpf\.h$' |
	xargs -P 2 -I HEADER bash -c 'check_header "$@"' check HEADER "${flags[@]}" || bad=1
printf '%s\n' maps/gs_maps.h maps/gs_hash.h maps/gs_maps.bpf.h bpf/*.h |
	xargs -P 2 -I HEADER bash -c 'compile "$@"' check HEADER "${bpf_flags[@]}" || bad=1
exit "$bad"
