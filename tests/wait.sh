# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Waiting for a condition. Sourced.

# PAUSE waits for so many seconds. Asks again after a tenth of the time it has waited, 50 ms at first,
# 250 at most: most conditions are several processes, and what waits shares the machine.
wait_until() { # PAUSE SECONDS COMMAND...
	local pause_by=$1 began=${EPOCHREALTIME//[.,]/} limit=$(($2 * 1000000)) waited pause
	shift 2
	until "$@" >/dev/null 2>&1; do
		waited=$((${EPOCHREALTIME//[.,]/} - began))
		((waited < limit)) || return 1
		pause=$((waited / 10))
		pause=$((pause < 50000 ? 50000 : pause > 250000 ? 250000 : pause))
		printf -v pause '0.%06d' "$pause"
		"$pause_by" "$pause"
	done
}
