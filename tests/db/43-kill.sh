#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A change is killed (SIGKILL) before each message it sends to the database: all of it is there, or
# nothing.
. tests/db/database.sh
db_test kill
ctl db migrate >/dev/null || exit 1
ctl apply -f tests/lab/lab.json >/dev/null || exit 1

# Ids rest for a day, so what comes back comes last.
state() {
	ctl export --portable | jq -S -c '.regions |= sort_by(.name) | .policies |= sort_by(.name)
		| .services |= sort_by(.name) | .backends |= sort_by(.name)'
}
# Something of every kind, so that every statement of a change is sent.
jq '.regions += [{"name": "sa", "latitude": -23.5, "longitude": -46.6}] | .regions[0].cost = 9
	| .policies[0].order = ["sa", "us"] | .policies += [{"name": "b", "kind": "failover", "order": ["us"]}]
	| .services += [{"name": "dns", "vip": "198.51.100.53", "port": 53, "protocol": "udp", "policy": "b", "probe": {"kind": "none"}}]
	| .services[0].probe.rise = 7 | .backends = .backends[2:] | .backends[0].weight = 9
	| .backends += [{"name": "sa-1", "service": "dns", "region": "sa", "address": "10.4.0.1"}]
	| .overrides = [{"prefix": "203.0.113.0/24", "region": "sa"}]' tests/lab/lab.json >"$TAP_WORK/new.json"

before=$(state)
ok "the change itself" ctl apply -f "$TAP_WORK/new.json"
after=$(state)
refuses "changes something" test "$before" = "$after"
ok "and back" ctl apply -f tests/lab/lab.json
is "to what it was" "$(state)" "$before"

# One more message each time, until one attempt gets through whole.
killed_before=0
killed_after=0
for ((n = 1; n < 200; n++)); do
	revision=$(revision)
	audits=$(sql "SELECT count(*) FROM geostream.audit")
	strace -qq -o /dev/null -e trace=sendto -e "inject=sendto:signal=KILL:when=$n" \
		"$BUILD/geostreamctl" apply -f "$TAP_WORK/new.json" >/dev/null 2>&1
	status=$?
	is_over() {
		[[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'geostreamctl'") == 0 ]]
	}
	wait_for 30 is_over || break
	now=$(state)
	if [[ $now == "$after" ]]; then
		killed_after=$((killed_after + (status != 0)))
		break
	fi
	[[ $now == "$before" && $(revision) == "$revision" &&
		$(sql "SELECT count(*) FROM geostream.audit") == "$audits" ]] || break
	killed_before=$((killed_before + 1))
done
is "killed before each of its messages: nothing, and no trace in the audit, until all of it was there" \
	"$now" "$after"
ok "it was killed at $killed_before messages that were too early" test "$killed_before" -ge 12
is "a kill after the commit lost nothing" "$((killed_after == 1 || status == 0))" 1
done_testing
