#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The runner itself: what it must not call a success. Each row is a test program and what the
# runner has to say of it.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

# NAME EXIT LAST_LINE SCRIPT: runs a program made of SCRIPT under the runner.
judged() {
	local name=$1 want_status=$2 want_last=$3 status=0 out
	printf '#!/bin/sh\n%s\n' "$4" >"$TAP_WORK/program"
	chmod +x "$TAP_WORK/program"
	out=$(TEST_LOG=$TAP_WORK/log TEST_TIMEOUT=1 tests/run.sh "$TAP_WORK/program" 2>&1) || status=$?
	is "$name" "${out##*$'\n'}, exit $status" "$want_last, exit $want_status"
	printf '%s\n' "$out" >"$TAP_WORK/said"
}

judged "all pass" 0 "2 passed, 0 failed" 'echo 1..2; echo ok 1 - a; echo ok 2 - b'
judged "plan at the end" 0 "1 passed, 0 failed" 'echo ok 1 - a; echo 1..1'
judged "two groups, two plans" 0 "2 passed, 0 failed" \
	'echo 1..1; echo ok 1 - a; echo 1..1; echo ok 1 - b'
judged "one fails" 1 "1 passed, 1 failed" \
	'echo 1..2; echo ok 1 - a; echo "not ok 2 - b"; echo "# the cause"; echo trouble >&2; exit 1'
ok "its diagnostics are shown" grep -q 'the cause' "$TAP_WORK/said"
ok "its standard error is shown" grep -q '| trouble' "$TAP_WORK/said"
judged "one fails, exit 0 all the same" 1 "0 passed, 1 failed" 'echo 1..1; echo "not ok 1 - a"'
judged "a skip is a failure" 1 "1 passed, 1 failed" \
	'echo 1..2; echo ok 1 - a; echo "ok 2 - b # SKIP no root"'
judged "exit 1 with every test passed" 1 "1 passed, 1 failed" 'echo 1..1; echo ok 1 - a; exit 1'
judged "died half-way" 1 "1 passed, 1 failed" 'echo 1..3; echo ok 1 - a; kill -9 $$'
judged "died before the plan" 1 "0 passed, 1 failed" 'kill -9 $$'
judged "says nothing" 1 "0 passed, 1 failed" ':'
judged "a plan of nothing" 1 "0 passed, 1 failed" 'echo 1..0'
judged "more tests than planned" 1 "2 passed, 1 failed" 'echo 1..1; echo ok 1 - a; echo ok 2 - b'
judged "bails out" 1 "0 passed, 2 failed" 'echo 1..1; echo "Bail out! no database"; exit 1'
judged "runs for ever" 1 "1 passed, 1 failed" 'echo 1..1; echo ok 1 - a; while :; do :; done'
# shellcheck disable=SC2016 # the program's variable
judged "reads no standard input" 0 "1 passed, 0 failed" 'read -r line; echo 1..1; echo "ok 1 - $line"'

status=0
out=$(TEST_LOG=$TAP_WORK/log tests/run.sh "$TAP_WORK/absent" 2>&1) || status=$?
is "a program that is not there" "${out##*$'\n'}, exit $status" "0 passed, 1 failed, exit 1"
refuses "an unknown suite" tests/run.sh everything
refuses "no suite" tests/run.sh

done_testing
