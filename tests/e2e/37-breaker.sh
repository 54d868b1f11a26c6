#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A region dies and returns: its breaker opens, lets trials through, closes by a ramp. Operators force
# it; a daemon that is restarted takes it up again.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t37
lab_test_up

sql() {
	psql -XAtq "$LAB_DATABASE" -c "$1"
}
breaker() { # JQ_EXPRESSION; of web in eu
	lab_ctl -j breaker list | jq -r ".breakers[] | select(.service == \"web\" and .region == \"eu\") | $1"
}
breaker_is() { # STATE
	[[ $(breaker .state) == "$1" ]]
}
forced_is() { # STATE, or null
	[[ $(breaker .forced.state) == "$1" ]]
}
pool_is() { # WORD
	[[ $(breaker .pool) == "$1" ]]
}
told() { # TO [WHERE]
	[[ $(sql "SELECT count(*) FROM geostream.transitions WHERE kind = 'breaker' AND service = 'web'
		AND region = 'eu' AND to_state = '$1' ${2:-}") -gt 0 ]]
}

is "every pool has a breaker" "$(lab_ctl -j breaker list | jq '.breakers | length')" 12
is "all of them closed" "$(lab_ctl -j breaker list | jq -r '[.breakers[].state] | unique | .[]')" closed

# ---- a region dies and returns -----------------------------------------------------------------
# A long half-open time to look at: many good results needed.
ok "settings of one service" lab_ctl service set web breaker_successes=20 breaker_trials=7
flows_of_region eu
ok "traffic" lab_wait 20 flows_reached 20 '^eu-'
lab_region_reset eu
ok "the breaker opens" lab_wait 20 breaker_is open
like "and says why" "$(breaker .why)" 'failures|failed again'
ok "clients are served elsewhere" lab_wait 20 flows_reached 40 '^(us|ap)-'
ok "status names it" test -n "$(status_of '.breakers[] | select(.region == "eu") | .state' | head -n 1)"
ok "history has it" lab_wait 10 told open
before=$(status_of '.reasons.tx_trial // 0')
lab_region_heal eu
ok "it is half open" lab_wait 40 breaker_is half_open
is "with as many trials as the service says" "$(breaker .trials)" 7
ok "and closes by a ramp" lab_wait 40 breaker_is closing
ok "to the end" lab_wait 40 breaker_is closed
ok "all new flows again" lab_wait 10 pool_is up
lab_flows_stop "${FLOWS[@]}"
trials() {
	local now
	now=$(status_of '.reasons.tx_trial // 0')
	((now > before))
}
ok "trials were let through, and counted" trials
for state in half_open closing closed; do
	ok "history has $state" lab_wait 10 told "$state"
done
ok "everyone is home" lab_wait 30 lab_everyone_home de ke
like "history, for people" "$(lab_ctl history --kind breaker --service web --region eu)" \
	'breaker +web eu: closed -> open, '

# ---- forced ------------------------------------------------------------------------------------
ok "forced open" lab_ctl --actor alice breaker force web eu open --for 1h --reason "ticket 7"
ok "takes effect" lab_wait 10 forced_is open
ok "known flows only" lab_wait 10 pool_is drain
elsewhere() {
	[[ $(region_of de "$LAB_VIP4") != eu ]]
}
ok "clients go elsewhere" lab_wait 10 elsewhere
like "route get says why" "$(lab_ctl route get "$(lab_client_address de 4)" --service web)" 'its breaker is open'
is "so does explain, of a packet" "$(lab_explain_client de 4 --dport 80 |
	jq -c '[.region != "eu", (.plan.candidates[] | select(.region == "eu") | .why)]')" \
	'[true,"its breaker is open: known flows only"]'
ok "history says who" lab_wait 10 told forced_open "AND actor = 'alice' AND why = 'ticket 7'"
like "so does the audit" "$(lab_ctl audit --kind force)" 'alice .*add force web/eu'
refuses "an unknown region is refused" lab_ctl breaker force web mars open --for 1h
refuses "a span of years too" lab_ctl breaker force web eu open --for 400d
ok "released" lab_ctl breaker release web eu
ok "takes effect" lab_wait 10 forced_is null
ok "home again" lab_wait 20 lab_everyone_home de
refuses "there is nothing more to release" lab_ctl breaker release web eu
ok "a force that expires" lab_ctl breaker force web eu open --for 3s
ok "holds" lab_wait 10 forced_is open
ok "and ends by itself" lab_wait 20 forced_is null
ok "home again" lab_wait 20 lab_everyone_home de

# ---- health, watched ---------------------------------------------------------------------------
"$BUILD/geostreamctl" --config "$LAB_CONF" health list --watch >"$TAP_WORK/watch" 2>&1 &
watcher=$!
watched() { # LINES_MATCHING COUNT
	(($(grep -c "$1" "$TAP_WORK/watch") >= $2))
}
ok "health list --watch begins with every backend" lab_wait 10 watched ' up ' 24
lab_backend_stop ap-1
ok "and tells of one that goes" lab_wait 20 watched '^ap-1 .* down ' 1
lab_region_heal ap
ok "and comes back" lab_wait 30 watched '^ap-1 .* up ' 2
kill -TERM "$watcher"
wait "$watcher" 2>/dev/null

# ---- the minutes of probes -----------------------------------------------------------------------
# Told when a minute is over; its numbers hold together.
minutes() { # [WHERE]
	sql "SELECT count(*) FROM geostream.probe_minutes WHERE edge = 'lab' AND probes > 0 ${1:-}"
}
minutes_are_there() {
	(($(minutes) >= 24))
}
ok "a minute of every backend is written" lab_wait 75 minutes_are_there
is "none without a backend there is" "$(minutes "AND backend NOT IN (SELECT name FROM geostream.backends)")" 0
is "percentiles are in order" "$(minutes "AND NOT (p50_us <= p90_us AND p90_us <= p99_us AND p99_us <= max_us)")" 0
is "not more failures than probes" "$(minutes "AND failures > probes")" 0
region_has_failures() {
	(($(minutes "AND region = 'eu' AND failures > 0") > 0))
}
ok "the region that died has failures, once that minute is over" lab_wait 75 region_has_failures

# ---- a restart ---------------------------------------------------------------------------------
ok "a breaker that stays open for long" lab_ctl service set web breaker_open_ms=3600000 breaker_open_max_ms=3600000
settled() {
	[[ $(status_of .revision) == "$(sql 'SELECT revision FROM geostream.revision')" ]]
}
ok "in force" lab_wait 10 settled
lab_region_reset eu
ok "opens" lab_wait 20 breaker_is open
left=$(breaker .half_open_in_ms)
ok "is saved" lab_wait 10 test -n "$(sql "SELECT 1 FROM geostream.breaker_states WHERE service = 'web' AND region = 'eu' AND state = 'open'")"
lab_region_heal eu
lab_daemon_end KILL
ok "the daemon starts again" lab_daemon_start
ok "and takes it up" lab_wait 20 breaker_is open
ok "with what is left of its time" test "$(breaker .half_open_in_ms)" -le "$left"
ok "switched off, it is closed" lab_ctl service set web breaker_enabled=false
ok "at once" lab_wait 10 breaker_is closed
ok "and everyone is home" lab_wait 30 lab_everyone_home de ke

done_testing
