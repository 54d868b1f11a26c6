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

# ---- all down ------------------------------------------------------------------------------------
# A probe that nobody passes, of servers that are well.
panic_is() { # REGEX
	[[ $(status_of '.services[] | select(.name == "web") | .panic // ""') =~ $1 ]]
}
decided() { # REGION REASON
	[[ $(lab_explain_client de 4 --dport 80 | jq -r '"\(if (.region // "") == "" then "none" else .region end) \(.reason)"') == "$1 $2"* ]]
}
ok "the daemon starts again" lab_daemon_start
ok "a probe that nobody passes" lab_ctl service set web probe.status=599
ok "all down, it says" lab_wait 15 panic_is '^all down: health is ignored'
is "clients are served all the same, at home" "$(region_of de "$LAB_VIP4")" eu
says_all_down() { # once this daemon's own generation is in force
	lab_ctl route get "$(lab_client_address de 4)" --service web | grep -qE 'health +all down'
}
ok "route get says so" lab_wait 20 says_all_down
is "the other services know nothing of it" "$(status_of '[.services[] | select(.panic)] | length')" 1
ok "one region, then" lab_ctl service set web panic.all_down=fixed:us
ok "is where they go" lab_wait 10 decided us tx_
ok "none" lab_ctl service set web panic.all_down=fail_closed
ok "is what they get" lab_wait 10 decided none drop_no_region
ok "the probe is repaired" lab_ctl service set web probe.status=200-399 panic.all_down=serve_any
ok "health counts again" lab_wait 15 panic_is '^$'
ok "home again" lab_wait 10 lab_everyone_home de

# ---- the last good snapshot ----------------------------------------------------------------------
ok "a region is drained, for some seconds" lab_ctl region drain us --for 15s --reason "a short one"
overlay_of() { # REGION
	status_of ".regions[] | select(.name == \"$1\") | \"\(.admin) \(.configured) \(.overlay.actor // \"\")\""
}
us_is_drained() {
	[[ $(overlay_of us) == "drain auto"* ]]
}
ok "on this edge" lab_wait 10 us_is_drained
ok "which remembers it" lab_wait 5 grep -q "a short one" "$LAB_DIR/state/last-good.json"
lab_daemon_end KILL
lab_database_crash
ok "the daemon starts without its database" lab_daemon_start
ok "the drain holds all the same" lab_wait 5 us_is_drained
ok "it ends, and what the last good snapshot says is steered by" lab_wait 30 lab_everyone_home "${LAB_CLIENTS[@]}"
lab_region_reset us
us_is_down() {
	[[ $(region_of br "$LAB_VIP4") != us && $(region_of br "$LAB_VIP6") != us ]]
}
ok "failover works" lab_wait 20 us_is_down
lab_region_heal us
us_is_up() {
	[[ $(region_of br "$LAB_VIP4") == us && $(region_of br "$LAB_VIP6") == us ]]
}
ok "and failback" lab_wait 20 us_is_up

# ---- operators, without the database ---------------------------------------------------------------
like "the others cannot be told" "$(lab_ctl region drain us --for 1h 2>&1)" 'for this edge alone: geostreamctl edge region drain'
ok "this edge can" lab_ctl edge region drain us --for 1h --reason "a cable" --ticket OPS-7
ok "its clients go elsewhere" lab_wait 5 us_is_down
like "edge show says so" "$(lab_ctl edge show)" 'alone +region us: drain until .*: a cable'
like "not everything may go" "$(lab_ctl edge region maintain 'e*' --for 1h 2>&1)" '2 of 3 regions would take no new flows'
lab_daemon_end KILL
ok "the daemon starts again" lab_daemon_start
ok "it holds" lab_wait 10 us_is_down
like "and is shown beside what is configured" "$(overlay_of us)" '^drain auto .'
ok "taken back" lab_ctl edge region auto us
ok "its clients are back" lab_wait 5 us_is_up

done_testing
