#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Connections that last, while everything around them is changed: none moves that should not. A
# server is drained: it keeps what it has and gets nothing new, until the deadline; then what is left
# goes at once. And affinity: whose flows meet one backend.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t42
lab_test_up
PORT=9000
HELD=40
DRAIN_S=25

# ---- a service for connections that last -------------------------------------------------------
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	ok "a service over IPv$family" lab_ctl service add "long$family" "vip=$vip" port=$PORT protocol=tcp \
		policy=nearest probe_kind=none
done
while read -r backend address4 address6; do
	ok "$backend" lab_ctl backend add "$backend-long4" service=long4 region="${backend%-*}" address="$address4"
	ok "$backend over IPv6" lab_ctl backend add "$backend-long6" service=long6 region="${backend%-*}" address="$address6"
	for vip in "$LAB_VIP4" "$LAB_VIP6"; do
		lab_in "$backend" setsid "$BUILD/lab-talk" serve "$vip" $PORT "$backend" </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
	done
done <<-ROWS
	eu-1 10.1.0.11 fd00:1::11
	eu-2 10.1.0.12 fd00:1::12
	us-1 10.2.0.11 fd00:2::11
ROWS
new_flow() { # ADDRESS; who answers
	lab_in client-de timeout 20 "$BUILD/lab-talk" get "$1" $PORT 10 2>&1 | cut -d ' ' -f 1
}
served() {
	[[ $(new_flow "$LAB_VIP4") == eu-* && $(new_flow "$LAB_VIP6") == eu-* ]]
}
ok "served" lab_wait 30 served

# ---- connections that last ---------------------------------------------------------------------
declare -A HOLDERS=()
hold() { # FAMILY ADDRESS
	nsenter --net="$(lab_path client-de)" setsid "$BUILD/lab-talk" hold "$2" $PORT $HELD \
		>"$TAP_WORK/held$1" 2>&1 </dev/null &
	HOLDERS[$1]=$!
}
lines() { # FAMILY REGEX
	grep -cE "$2" "$TAP_WORK/held$1" || :
}
all_open() {
	(($(lines 4 '^open') == HELD && $(lines 6 '^open') == HELD))
}
rounds() { # FAMILY
	lines "$1" '^round'
}
more_rounds() { # COUNT4 COUNT6: the connections were used again, all of them
	(($(rounds 4) >= $1 && $(rounds 6) >= $2))
}
ok_rounds() { # WHAT
	ok "$1: every connection is used 5 times more" lab_wait 60 more_rounds $(($(rounds 4) + 6)) $(($(rounds 6) + 6))
	is "$1: none was lost" "$(lines 4 '^lost') $(lines 6 '^lost')" "0 0"
}
hold 4 "$LAB_VIP4"
hold 6 "$LAB_VIP6"
ok "$HELD connections of each family" lab_wait 30 all_open
for family in 4 6; do
	for backend in eu-1 eu-2; do
		ok "IPv$family: some with $backend" test "$(lines $family "^open $backend ")" -gt 0
	done
done
ok_rounds "at rest"

# ---- planned changes ---------------------------------------------------------------------------
generation() {
	status_of .generation.number
}
newer() { # GENERATION
	(($(generation) > $1))
}
while IFS='|' read -r what command; do
	before=$(generation)
	read -ra command <<<"$command"
	ok "$what" lab_ctl "${command[@]}"
	ok "$what: in force" lab_wait 20 newer "$before"
	ok_rounds "$what"
done <<-ROWS
	another weight|backend set eu-2-long4 weight=300
	affinity by client|service set long4 affinity=client
	affinity by prefix|service set long6 affinity=prefix affinity.prefix6=32
	an override to another region|override add $(lab_client_address de 4)/32 us
	the override is gone|override remove $(lab_client_address de 4)/32
	a server more|backend add us-2-long4 service=long4 region=us address=10.2.0.12
ROWS

# ---- affinity: whose new flows meet -------------------------------------------------------------
MORE_PORTS=()
explained() { # FAMILY SOURCE SPORT
	local vip=$LAB_VIP4
	[[ $1 == 4 ]] || vip=$LAB_VIP6
	lab_ctl -j explain --src "$2" --dst "$vip" --sport "$3" --dport $PORT | jq -r .backend
}
met() { # FAMILY SOURCE...; the backends of new flows from many ports of each
	local source sport
	for source in "${@:2}"; do
		for sport in 20001 20002 30003 40004 50005 60006 "${MORE_PORTS[@]}"; do
			explained "$1" "$source" "$sport"
		done
	done | sort -u | paste -sd ' '
}
de4=$(lab_client_address de 4)
de6=$(lab_client_address de 6)
like "by client: one backend for all ports" "$(met 4 "$de4")" '^eu-[12]-long4$'
like "route get says so" "$(lab_ctl route get "$de4" --service long4)" "affinity +client: new flows of $de4/32 meet one backend"
neighbours6=("${de6%:*}:7" "${de6%:*}:8" "${de6%:*}:9")
like "by prefix: one for all neighbours" "$(met 6 "${neighbours6[@]}")" '^eu-[12]-long6$'
like "explain says so, too" "$(lab_ctl explain --src "${neighbours6[0]}" --dst "$LAB_VIP6" --dport $PORT)" \
	'affinity +prefix: new flows of [0-9a-f:]+/32 meet one backend'
before=$(generation)
ok "by flow again" lab_ctl service set long4 affinity=flow
ok "in force" lab_wait 20 newer "$before"
# Six may meet by chance, once in 32 runs.
MORE_PORTS=(2{1,2,3,4,5}007 3{1,2,3,4,5}008)
is "by flow: ports part" "$(met 4 "$de4")" "eu-1-long4 eu-2-long4"
is "affinity is no more spoken of" "$(lab_ctl route get "$de4" --service long4 | grep -c affinity)" 0
ok "IPv6 by flow again" lab_ctl service set long6 affinity=flow

# ---- drain -------------------------------------------------------------------------------------
repicked=$(status_of '.reasons.tx_repicked // 0')
until_ms=$((($(date +%s) + DRAIN_S) * 1000))
until=$(date -u -d "@$((until_ms / 1000))" +%Y-%m-%dT%H:%M:%SZ)
for family in 4 6; do
	ok "eu-1 is drained, IPv$family" lab_ctl backend set eu-1-long$family admin=drain "drain_until=$until"
done
state_is() { # BACKEND STATE
	[[ $(status_of ".backends[] | select(.name == \"$1\") | .state") == "$2" ]]
}
for family in 4 6; do
	ok "it drains, IPv$family" lab_wait 10 state_is eu-1-long$family drain
done
like "health list says until when" "$(lab_ctl health list)" "eu-1-long4 .*drained until $until"
like "status, too" "$(lab_ctl status)" "backend eu-1-long6 .*drained until $until"
ok_rounds "drained"
others=$(for _ in 1 2 3 4 5 6 7 8 9 10; do
	new_flow "$LAB_VIP4"
	new_flow "$LAB_VIP6"
done | sort | uniq -c | tr -s ' ')
is "new ones go elsewhere, all of them" "$others" " 20 eu-2"
ok "all that before the deadline" test "$(date +%s%3N)" -lt "$until_ms"
is "and none of the old ones was lost" "$(lines 4 '^lost') $(lines 6 '^lost')" "0 0"

# Its packets go to another server then, which knows nothing of these connections and resets them.
gone() { # FAMILY
	(($(lines "$1" '^lost eu-1 ') == $(lines "$1" '^open eu-1 ')))
}
for family in 4 6; do
	ok "IPv$family: at the deadline what is left there goes" lab_wait $((DRAIN_S + 20)) gone $family
	is "IPv$family: none of the others" "$(lines $family '^lost eu-2 ')" 0
	first=$(awk '$1 == "lost" { print $3; exit }' "$TAP_WORK/held$family")
	last=$(awk '$1 == "lost" { last = $3 } END { print last }' "$TAP_WORK/held$family")
	diag "IPv$family: from $((first - until_ms)) ms to $((last - until_ms)) ms after the deadline"
	ok "IPv$family: not before it" test "$first" -ge "$until_ms"
	ok "IPv$family: within 5 s" test "$last" -le $((until_ms + 5000))
	ok "eu-1 is down, IPv$family" lab_wait 5 state_is eu-1-long$family down
done
moved() {
	(($(status_of '.reasons.tx_repicked // 0') > repicked))
}
ok "counted as tx_repicked" lab_wait 5 moved
drained_in_history() {
	lab_ctl history --kind backend | grep -q 'eu-1-long4.*the deadline of its drain has passed'
}
ok "history says why" lab_wait 10 drained_in_history

# ---- a restart -----------------------------------------------------------------------------------
lab_daemon_end KILL
ok "the daemon starts again" lab_daemon_start
ok "a drain that is over stays over" lab_wait 20 state_is eu-1-long4 down
is "nothing new goes there" "$(new_flow "$LAB_VIP4") $(new_flow "$LAB_VIP6")" "eu-2 eu-2"
before6=$(rounds 6)
before4=$(rounds 4)
ok "the others go on" lab_wait 30 more_rounds $((before4 + 5)) $((before6 + 5))
for family in 4 6; do
	kill -TERM "${HOLDERS[$family]}"
	wait "${HOLDERS[$family]}" 2>/dev/null
	is "IPv$family: every connection with eu-2 was held to the end" \
		"$(lines $family '^held eu-2 ')" "$(lines $family '^open eu-2 ')"
done
ok "taken back, it takes new flows" lab_ctl backend set eu-1-long4 admin=auto
ok "as every other one" lab_wait 20 state_is eu-1-long4 up

done_testing
