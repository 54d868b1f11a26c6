#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs tests and counts: tests/run.sh lint|unit|race|db|bpf|e2e|all, or the tests themselves by path.
#
# Every test speaks TAP (cmocka's, or tests/e2e/lib.sh's). Failed counts: "not ok", "# SKIP" (a test
# that did not run has shown nothing), a plan not kept, no plan, an exit that contradicts the lines,
# a test that ran longer than TEST_TIMEOUT seconds, a suite without tests. What a failed test said
# is shown; everything is in $BUILD/tests/log, what each took and computed (ms) in spent.tsv there. The
# last line is "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
TEST_TIMEOUT=${TEST_TIMEOUT:-300}
LOG=${TEST_LOG:-$BUILD/tests/log}
export BUILD CMOCKA_MESSAGE_OUTPUT=TAP LC_ALL=C.UTF-8
without_others=${WITHOUT_OTHERS-} # those of tests/computing and tests/patient have lanes of their own
unset MAKEFLAGS MAKELEVEL MFLAGS WITHOUT_OTHERS

passed=0
failed=0
cases=0 # rows of tables of packets, as tests of the packet path tell
wrapper=() # what every test is run by

# Reads TAP; prints "PASSED FAILED", then what failed and why. Plans add up: a cmocka program has
# one a group. Lines that are no TAP belong to the test before them.
judge() { # EXIT_STATUS
	awk -v status="$1" '
	function blame(text) { failed++; story = story text "\n"; showing = 1 }
	/^1\.\.[0-9]+/ { plans++; planned += substr($1, 4); next }
	/^ok / {
		seen++
		showing = 0
		if (toupper($0) ~ /# *SKIP/)
			blame("skipped: " $0)
		else
			passed++
		next
	}
	/^not ok / { seen++; blame($0); next }
	/^Bail out!/ { blame($0); next }
	showing { story = story "    " $0 "\n" }
	END {
		showing = 0
		if (!plans)
			blame("no plan: it died, or it is no test")
		else if (seen < planned)
			blame("planned " planned " tests, ran " seen)
		else if (seen > planned)
			blame("ran " seen " tests, planned " planned)
		if (plans && !planned)
			blame("a plan of no tests")
		if (status == 124)
			blame("stopped: ran too long")
		else if (status != 0 && !failed)
			blame("every test passed, yet it exited with " status)
		printf "%d %d\n%s", passed, failed, story
	}'
}

# Sets $spent: processor time of the children waited for so far, in ms (not in a subshell: it has none).
spent=0
measure_spent() {
	times >"$LOG/times.$$"
	spent=$(tr ms '  ' <"$LOG/times.$$" | awk 'NR == 2 { printf "%d", ($1 * 60 + $2 + $3 * 60 + $4) * 1000 }')
	rm -f "$LOG/times.$$"
}

run_test() { # PROGRAM
	local program=$1 name status=0 began=${EPOCHREALTIME//[.,]/} result counts took before
	name=${program#"$BUILD"/}
	name=${name#tests/}
	local log=$LOG/${name//\//-}
	if [[ ! -x $program ]]; then
		printf 'FAIL  %-44s not built, or not executable\n' "$name"
		failed=$((failed + 1))
		return
	fi
	measure_spent
	before=$spent
	timeout -k 20 "$TEST_TIMEOUT" "${wrapper[@]}" "$program" </dev/null >"$log.tap" 2>"$log.err" || status=$?
	result=$(judge "$status" <"$log.tap")
	cases=$((cases + $(awk '/^# [0-9]+ packet cases$/ { n += $2 } END { print n + 0 }' "$log.tap")))
	read -ra counts <<<"${result%%$'\n'*}"
	passed=$((passed + counts[0]))
	failed=$((failed + counts[1]))
	took=$(((${EPOCHREALTIME//[.,]/} - began) / 1000))
	measure_spent
	printf '%s\t%d\t%d\n' "$name" "$took" $((spent - before)) >>"$LOG/spent.tsv"
	if ((counts[1] == 0)); then
		printf 'pass  %-44s %3d tests %7d ms\n' "$name" "${counts[0]}" "$took"
		return
	fi
	printf 'FAIL  %-44s %3d of %d failed, exit %d, %d ms\n' "$name" "${counts[1]}" \
		$((counts[0] + counts[1])) "$status" "$took"
	sed 1d <<<"$result" | sed 's/^/      /'
	if [[ -s $log.err ]]; then
		printf '      standard error, the last 60 lines (%s):\n' "$log.err"
		tail -n 60 "$log.err" | sed 's/^/      | /'
	fi
}

# Every check of make lint is a test. The analyzer follows a function for as long as pays in a whole
# run: the last three quarters of its states take two thirds of its time.
run_lint() {
	local began=$SECONDS status=0 good bad
	printf -- '---- lint\n'
	LINT_STATES=${LINT_STATES:-50000} tests/lint/run.sh </dev/null >"$LOG/lint.log" 2>&1 || status=$?
	good=$(grep '^  LINT ' "$LOG/lint.log" | grep -vc 'FAILED$')
	bad=$(grep -c '^  LINT .*FAILED$' "$LOG/lint.log")
	if ((status && !bad)); then
		bad=1
	fi
	passed=$((passed + good))
	failed=$((failed + bad))
	if ((bad)); then
		cat "$LOG/lint.log"
	else
		printf 'pass  %-44s %3d tests\n' lint "$good"
	fi
	printf -- '---- lint: %d s\n\n' $((SECONDS - began))
}

# The programs of a suite, one a line. By source, so that a stale binary is no test and one that
# was not built is missed.
suite_tests() { # SUITE
	local source
	for source in tests/"$1"/test_*.c; do
		if [[ -e $source ]]; then
			source=${source%.c}
			printf '%s/%s\n' "$BUILD" "$source"
		fi
	done
	for source in tests/"$1"/[0-9]*.sh; do
		if [[ -e $source ]]; then
			printf '%s\n' "$source"
		fi
	done
}

# What is to be run, of a list of tests.
listed() { # FILE...
	sed "/^#/d; /\.sh$/!s|^|$BUILD/tests/|; /\.sh$/s|^|tests/|" "$@"
}

# The tests with threads, again: built with ThreadSanitizer, in a build folder of their own. It wants
# its memory where it expects it, which the address randomness of some kernels denies it.
run_race() {
	local BUILD=$BUILD/race LOG=$LOG/race wrapper=(setarch -R) tests threads
	export TSAN_OPTIONS=halt_on_error=1
	mkdir -p "$LOG"
	mapfile -t tests < <(suite_tests race)
	mapfile -t threads < <(sed '/^#/d' tests/race/threads)
	run_suite race "${tests[@]}" "${threads[@]/#/$BUILD/tests/}"
	unset TSAN_OPTIONS
}

# Where programs and maps are pinned. Systemd mounts it; a container may not have it yet.
need_bpffs() {
	if (($(id -u) == 0)) && ! mountpoint -q /sys/fs/bpf; then
		mount -t bpf bpf /sys/fs/bpf
	fi
}

run_suite() { # NAME TEST...
	local name=$1 began=$SECONDS test
	shift
	cases=0
	printf -- '---- %s\n' "$name"
	if (($# == 0)); then
		printf 'FAIL  %s: a suite without tests\n' "$name"
		failed=$((failed + 1))
	fi
	for test in "$@"; do
		run_test "$test"
	done
	if ((cases)); then
		printf -- '---- %s: %d packet cases\n' "$name" "$cases"
	fi
	printf -- '---- %s: %d s\n\n' "$name" $((SECONDS - began))
}

# What a lane of suites, run by a run.sh of its own, printed and counted.
take_lane() { # NAME PID
	local log=$LOG/lane-$1.log line
	wait "$2"
	line=$(tail -n 1 "$log")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		sed '$d' "$log"
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
	else
		cat "$log"
		printf 'FAIL  the lane %s ended without a count\n' "$1"
		failed=$((failed + 1))
	fi
}

# Suites beside each other, one a processor: none of them needs a lab, and each would leave the other
# processor idle. With them the end-to-end tests that have none, the virtual machine's among them.
run_beside() {
	local user packets tests
	WITHOUT_OTHERS=1 tests/run.sh unit db >"$LOG/lane-user.log" 2>&1 </dev/null &
	user=$!
	mapfile -t tests < <(suite_tests e2e | xargs grep -L '^lab_test ' | grep -vxFf <(listed tests/patient))
	WITHOUT_OTHERS=1 tests/run.sh bpf "${tests[@]}" >"$LOG/lane-packets.log" 2>&1 </dev/null &
	packets=$!
	take_lane user "$user"
	take_lane packets "$packets"
}

# Lint is computing, as some tests are, and the lab mostly waits: they have the time that nothing else
# wants. Idle tasks are weighed within their session only where sessions are groups (autogroup), hence
# the session.
begin_idle() {
	local tests
	mapfile -t tests < <(listed tests/computing)
	# shellcheck disable=SC2016 # the inner shell expands
	setsid sh -c '[ ! -w /proc/self/autogroup ] || echo 19 >/proc/self/autogroup; exec chrt --idle 0 "$@"' \
		idle env TEST_TIMEOUT=900 tests/run.sh lint "${tests[@]}" >"$LOG/lane-idle.log" 2>&1 </dev/null &
	idle=$!
	trap 'kill -- "-$idle" 2>/dev/null' EXIT
}
end_idle() {
	take_lane idle "$idle"
	trap - EXIT
}

# One lab after the other, and beside them what is in no hurry.
run_labs() {
	local patient tests
	mapfile -t tests < <(listed tests/patient)
	TEST_TIMEOUT=900 nice -n 10 tests/run.sh race "${tests[@]}" >"$LOG/lane-patient.log" 2>&1 </dev/null &
	patient=$!
	mapfile -t tests < <(suite_tests e2e | xargs grep -l '^lab_test ')
	run_suite e2e "${tests[@]}"
	take_lane patient "$patient"
}

usage() {
	sed -n '4s/^# //p' "$0" >&2
	exit 2
}

(($#)) || usage
mkdir -p "$LOG"
suites=()
for argument in "$@"; do
	case $argument in
	all)
		suites+=(begin_idle beside labs end_idle)
		rm -f "$LOG/spent.tsv"
		;;
	lint | unit | race | db | bpf | e2e) suites+=("$argument") ;;
	*/*) suites+=("$argument") ;;
	*) usage ;;
	esac
done
need_bpffs
for suite in "${suites[@]}"; do
	case $suite in
	begin_idle | end_idle) "$suite" ;;
	lint) run_lint ;;
	race) run_race ;;
	beside) run_beside ;;
	labs) run_labs ;;
	*/*) run_suite "${suite##*/}" "$suite" ;;
	*)
		mapfile -t tests < <(suite_tests "$suite" | if [[ -n $without_others ]]; then
			grep -vxFf <(listed tests/computing tests/patient)
		else
			cat
		fi)
		run_suite "$suite" "${tests[@]}"
		;;
	esac
done
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
