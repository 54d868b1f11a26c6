#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# PostgreSQL is cut off: forwarding and failover go on, and what happened meanwhile is written when it
# is back.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t35
lab_test_up

transitions() { # REGION STATE
	psql -XAt "$LAB_DATABASE" -c "SELECT count(*) FROM geostream.transitions
		WHERE kind = 'region' AND region = '$1' AND to_state = '$2' AND at > '$began'"
}
written() { # REGION STATE
	(($(transitions "$@") > 0))
}
connected() { # true|false
	[[ $(status_of .database.connected) == "$1" ]]
}

began=$(psql -XAt "$LAB_DATABASE" -c 'SELECT now()')
flows_of_region ap
ok "traffic" lab_wait 20 flows_reached 25
ok "PostgreSQL stops at once" lab_database_crash
ok "the daemon notices" lab_wait 20 connected false
ok "traffic goes on" lab_wait 20 flows_reached 100
ok "nothing failed" no_flow_failed

lab_region_reset ap
ok "failover without PostgreSQL" lab_wait 20 flows_reached 25 '^(eu|us)-'
lab_flows_stop
lab_region_heal ap
ok "and back" lab_wait 30 lab_everyone_home jp au

ok "PostgreSQL is back" lab_database_up
ok "the daemon is connected again" lab_wait 60 connected true
ok "the region's way down is written" lab_wait 20 written ap down
ok "and its way up" lab_wait 20 written ap up
lands_in_eu() {
	[[ $(region_of au "$LAB_VIP4") == eu ]]
}
ok "a change is heard again" lab_ctl override add "$(lab_client_address au 4)/32" eu
ok "and followed" lab_wait 20 lands_in_eu

done_testing
