#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Programs have 512 bytes of stack for all frames of a chain of calls. This machine's kernel may round frames to less than
# 6.1 does, and take what that refuses: so it is counted here.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
failed=0

for source in bpf/*.bpf.c; do
	object=${BUILD:-build}/bpf/$(basename "$source" .c).o
	[[ -r $object ]] || {
		echo "$object: not there; make builds it" >&2
		exit 1
	}
	llvm-objdump -dr --no-show-raw-insn "$object" | awk -v MOST=512 -v object="$object" -f tests/lint/stack.awk >&2 || failed=1
done
exit "$failed"
