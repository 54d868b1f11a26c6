#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ThreadSanitizer itself: on this machine, with this kernel, it must see a race and say nothing of
# what is none. Without this, a sanitizer that does not work would call everything clean.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

racy=$BUILD/tests/race/racy

refuses_race() {
	local status=0
	"$racy" >"$TAP_WORK/said" 2>&1 || status=$?
	((status == 66)) # the sanitizer's exit code
}

ok "a race is an exit code of its own" refuses_race
ok "and is reported" grep -q 'data race' "$TAP_WORK/said"
ok "two threads with a lock are none" "$racy" ordered
done_testing
