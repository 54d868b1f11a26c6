# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# TAP for shell tests, and waiting for conditions. Source it, then:
#
#	ok "what must hold" COMMAND...          one test: passes if the command does
#	refuses "what must not" COMMAND...      passes if it exits with 1 or 2: died is not refused
#	is "what" "$got" "$want"                equal strings
#	like "what" "$got" 'regular expression' bash's =~
#	wait_for SECONDS COMMAND...             until it succeeds; 1 when the time is over
#	at_exit COMMAND...                      last registered runs first, whatever happens
#	done_testing                            last line: prints the plan
#
# A failed test's output follows it as diagnostics. SECONDS are bounds, not expectations: they are
# generous, because a slow machine must not fail a test.

TAP_COUNT=0
TAP_FAILED=0
TAP_EXIT=()
TAP_WORK=$(mktemp -d "${TMPDIR:-/tmp}/gs-test.XXXXXX")

# A pipe that nobody writes to: reading it with a timeout is waiting without a process.
exec {TAP_TICK}<> <(:)

pause() { # SECONDS
	read -r -t "$1" -u "$TAP_TICK" || :
}

# shellcheck source=tests/wait.sh
. tests/wait.sh
wait_for() { # SECONDS COMMAND...
	wait_until pause "$@"
}

at_exit() { # COMMAND...
	TAP_EXIT=("$(printf '%q ' "$@")" "${TAP_EXIT[@]}")
}

tap_cleanup() {
	local status=$? command
	for command in "${TAP_EXIT[@]}"; do
		eval "$command" >"$TAP_WORK/cleanup" 2>&1 || diag <"$TAP_WORK/cleanup"
	done
	rm -rf "$TAP_WORK"
	exit "$status"
}
trap tap_cleanup EXIT
trap 'exit 130' INT TERM HUP

diag() { # [TEXT]; without it: standard input
	if (($#)); then
		printf '%s\n' "$*"
	else
		cat
	fi | sed 's/^/# /'
}

pass() { # NAME
	TAP_COUNT=$((TAP_COUNT + 1))
	printf 'ok %d - %s\n' "$TAP_COUNT" "$1"
}

fail() { # NAME [DIAGNOSTIC]
	TAP_COUNT=$((TAP_COUNT + 1))
	TAP_FAILED=$((TAP_FAILED + 1))
	printf 'not ok %d - %s\n' "$TAP_COUNT" "$1"
	if [[ -n ${2-} ]]; then
		diag "$2"
	fi
	return 0
}

ok() { # NAME COMMAND...
	local name=$1 status=0
	shift
	"$@" >"$TAP_WORK/out" 2>&1 || status=$?
	if ((status == 0)); then
		pass "$name"
	else
		fail "$name" "exit $status: $*"
		diag <"$TAP_WORK/out"
	fi
}

refuses() { # NAME COMMAND...
	local name=$1 status=0
	shift
	"$@" >"$TAP_WORK/out" 2>&1 || status=$?
	if ((status == 1 || status == 2)); then
		pass "$name"
	else
		fail "$name" "exit $status, wanted 1 or 2: $*"
		diag <"$TAP_WORK/out"
	fi
}

is() { # NAME GOT WANT
	if [[ $2 == "$3" ]]; then
		pass "$1"
	else
		fail "$1" "got:    $2"
		diag "wanted: $3"
	fi
}

like() { # NAME GOT REGEX
	if [[ $2 =~ $3 ]]; then
		pass "$1"
	else
		fail "$1" "got:    $2"
		diag "wanted: $3"
	fi
}

# Of the whole script: nothing that follows makes sense without it.
need() { # WHAT COMMAND...
	local what=$1
	shift
	"$@" >"$TAP_WORK/out" 2>&1 && return 0
	fail "$what" "needed by everything after it: $*"
	diag <"$TAP_WORK/out"
	done_testing
}

done_testing() {
	printf '1..%d\n' "$TAP_COUNT"
	exit $((TAP_FAILED > 0))
}
