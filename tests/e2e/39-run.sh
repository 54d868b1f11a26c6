#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The story of `make run`: killed in the middle, told again to its end (on a database that is named,
# this time), and everything is gone then.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t39
export LAB_PREFIX LAB_DIR LAB_PIN

said() { # REGEX
	grep -qE "$1" "$LAB_DIR/story"
}

setsid tests/lab/run.sh >"$LAB_DIR/story" 2>&1 </dev/null &
story=$!
ok "it begins" lab_wait 90 said 'a request from every client'
refuses "a second one is refused meanwhile" tests/lab/run.sh
kill -KILL "$story"
wait "$story" 2>/dev/null

other=$(tests/db/cluster.sh start "$LAB_DIR/other")
at_exit tests/db/cluster.sh destroy "$LAB_DIR/other"
ok "after a crash it is told to the end, all of it true" \
	bash -c "ONCE=1 DATABASE='$other' tests/lab/run.sh >'$LAB_DIR/story' 2>&1 </dev/null"
is "on the database that was named" "$(psql -XAt "$other" -c 'SELECT name FROM geostream.edges')" lab
for client in "${LAB_CLIENTS[@]}"; do
	ok "$client has its row" said "^ +$(lab_client_address "$client" 4) +${client^^} "
done
ok "eu died and came back" said 'eu is back, and so are its clients'
ok "us died and came back" said 'us is back, and so are its clients'
ok "it says how to look around" said 'geostreamctl .*route get'
is "no namespace is left" "$(ip netns list | grep -c "^$LAB_PREFIX-")" 0
ok "no pin is left" test ! -e "$LAB_PIN"
ok "no server is left" bash -c "! tests/db/cluster.sh pid '$LAB_DIR/db'"
diag <"$LAB_DIR/story"

done_testing
