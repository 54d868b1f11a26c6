#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon dies, is restarted, is told to end: the packets do not notice.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t34
lab_test_up

identity() {
	status_of '"\(.generation.number) \(.generation.digest)"'
}

before=$(identity)
flows_of_region eu
reached=25
ok "traffic" lab_wait 20 flows_reached "$reached"

lab_daemon_end KILL
refuses "the daemon is gone" lab_ctl status
ok "traffic goes on without it" lab_wait 20 flows_reached $((reached += 50))
ok "nothing failed" no_flow_failed

ok "it comes back" lab_daemon_start
is "to the same generation" "$(identity)" "$before"
ok "traffic goes on" lab_wait 20 flows_reached $((reached += 50))
ok "nothing failed while it came back" no_flow_failed
ok "it steers again" lab_ctl override add "$(lab_client_address ke 4)/32" us
lands_in_us() {
	[[ $(region_of ke "$LAB_VIP4") == us ]]
}
ok "an override takes effect" lab_wait 10 lands_in_us
ok "and goes" lab_ctl override remove "$(lab_client_address ke 4)/32"
ok "home again" lab_wait 10 lab_everyone_home ke

lab_daemon_end TERM
ok "after SIGTERM traffic goes on too" lab_wait 20 flows_reached $((reached += 50))
ok "without a failure" no_flow_failed
lab_flows_stop

# ---- the last good snapshot ----------------------------------------------------------------------
lab_database_crash
ok "the daemon starts without its database" lab_daemon_start
ok "and steers by the last good snapshot" lab_wait 30 lab_everyone_home "${LAB_CLIENTS[@]}"
lab_region_reset us
us_is_down() {
	[[ $(region_of br "$LAB_VIP4") != us && $(region_of br "$LAB_VIP6") != us ]]
}
ok "failover works" lab_wait 20 us_is_down
lab_region_heal us

done_testing
