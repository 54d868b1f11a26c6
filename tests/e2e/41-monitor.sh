#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Looking on while packets pass: geostreamctl monitor and geostreamctl flow, beside clients of the
# lab; and long-lived UDP flows (as QUIC has them) that stay while weights change and a backend is
# added, until somebody flushes them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t41
lab_test_up
PORT=4433
STAYING=64 # flows over UDP of each family

# ---- monitor -----------------------------------------------------------------------------------
watch_start() { # OPTION...; in the background, as JSON
	"$BUILD/geostreamctl" --config "$LAB_CONF" -j monitor "$@" >"$TAP_WORK/seen" 2>"$TAP_WORK/said" </dev/null &
	WATCH=$!
}
watch_end() { # SIGNAL
	kill -"$1" "$WATCH"
	wait "$WATCH" 2>/dev/null
}
watch_gone() {
	[[ -z ${WATCH:-} ]] || kill -KILL "$WATCH" 2>/dev/null || :
}
at_exit watch_gone
# A client asks until the monitor has shown a line like that: it need not be on yet.
shows() { # CLIENT ADDRESS JQ_CONDITION
	lab_ask "$1" "$2" >/dev/null
	jq -e -n "[inputs | select($3)] | length > 0" <"$TAP_WORK/seen"
}
more_lines() { # CLIENT ADDRESS BEFORE
	lab_ask "$1" "$2" >/dev/null
	(($(wc -l <"$TAP_WORK/seen") > $3))
}
monitored_until() {
	bpftool -j map dump pinned "$LAB_PIN/meta" | jq '.[0].formatted.value.monitor_until_ns'
}
is "nobody looks on" "$(monitored_until)" 0

for family in 4 6; do
	vip=$LAB_VIP4 service=web
	[[ $family == 4 ]] || vip=$LAB_VIP6 service=web6
	client=$(lab_client_address de "$family")
	watch_start --src "$client"
	ok "IPv$family: a client's packets appear, with all their names" lab_wait 20 shows de "$vip" \
		".src == \"$client\" and .dst == \"$vip\" and .dport == 80 and .reason == \"tx_new\" and .verdict == \"tx\" and .flags == \"S\" and .service == \"$service\" and .region == \"eu\" and (.backend | startswith(\"eu-\"))"
	ok "and the rest of its connection" lab_wait 20 shows de "$vip" '.reason == "tx_flow" and .protocol == "tcp"'
	is "a packet that explain tries" "$(lab_ctl -j explain --src "$client" --dst "$vip" --dport 80 --sport 40123 | jq -r .verdict)" tx
	lab_ask ke "$vip" >/dev/null
	before=$(wc -l <"$TAP_WORK/seen")
	ok "and then come real ones" lab_wait 20 more_lines de "$vip" "$before"
	is "of which it is none" "$(jq '.sport | select(. == 40123)' <"$TAP_WORK/seen")" ""
	is "nobody else's" "$(jq -r .src <"$TAP_WORK/seen" | sort -u)" "$client"
	refuses "a second one" lab_ctl monitor --count 1
	like "is told who has it" "$(lab_ctl monitor --count 1 2>&1)" "process $WATCH\b"
	watch_end TERM
	is "ended by a signal: done" $? 0
	like "with a summary" "$(cat "$TAP_WORK/said")" '^[0-9]+ shown; 0 lost because the ring was full; 0 drops'
	is "and off" "$(monitored_until)" 0
done

ask_elsewhere() { # a port that is no service
	lab_in client-de curl -s -m 1 "http://$LAB_VIP4:81/" || :
	jq -e -n '[inputs | select(.reason == "pass_not_service" and .dport == 81 and .service == null)] | length > 0' <"$TAP_WORK/seen"
}
watch_start --reason pass_not_service
ok "what is for nobody, on request" lab_wait 20 ask_elsewhere
is "and nothing else" "$(jq -r .reason <"$TAP_WORK/seen" | sort -u)" pass_not_service
watch_end KILL
ok "one that was killed: the next waits for the end of its lease" timeout 20 "$BUILD/geostreamctl" \
	--config "$LAB_CONF" monitor --reason tx --reason drop --reason pass --count 1
ended_by_itself() { [[ $(monitored_until) == 0 ]]; }
watch_start
ok "on" lab_wait 20 shows de "$LAB_VIP4" .service
watch_end KILL
is "killed: still on" "$(($(monitored_until) > 0))" 1
off_again() {
	lab_ask de "$LAB_VIP4" >/dev/null
	ended_by_itself
}
ok "it switches itself off" lab_wait 10 off_again
lab_in client-de setsid bash -c "while curl -s -m 1 -o /dev/null http://$LAB_VIP4/whoami; do :; done" </dev/null >/dev/null 2>&1 &
text=$(lab_ctl monitor --service web --count 5 2>"$TAP_WORK/said")
is "--count ends it" $? 0
is "after so many lines" "$(wc -l <<<"$text")" 5
like "for people" "$text" '^[0-9:]{8}\.[0-9]{6} tx +tx_(new|flow) +tcp .* > 198\.51\.100\.10:80 +web +eu +eu-[12]'
like "its summary" "$(cat "$TAP_WORK/said")" '^5 shown'
text=$(lab_ctl monitor --service web --every 8 --count 2 2>/dev/null)
is "one in eight" "$(wc -l <<<"$text")" 2
refuses "a reason that is none" lab_ctl monitor --reason drop_no_plans
like "but nearly" "$(lab_ctl monitor --reason drop_no_plans 2>&1)" "did you mean 'drop_no_plan'"
refuses "a service that is none" lab_ctl monitor --service wbe
refuses "a prefix that is none" lab_ctl monitor --src 192.0.2.1/24
refuses "every none" lab_ctl monitor --every 0
is "refused, it is off" "$(monitored_until)" 0

# ---- flows that stay ---------------------------------------------------------------------------
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	ok "a service: UDP over IPv$family" lab_ctl service add "quic$family" "vip=$vip" port=$PORT protocol=udp \
		policy=nearest probe_kind=none
done
while read -r backend address4 address6; do
	[[ $backend == us-* ]] || ok "$backend" lab_ctl backend add "$backend-q4" service=quic4 region=eu address="$address4"
	[[ $backend == us-* ]] || ok "$backend, IPv6" lab_ctl backend add "$backend-q6" service=quic6 region=eu address="$address6"
	for vip in "$LAB_VIP4" "$LAB_VIP6"; do
		lab_in "$backend" setsid "$BUILD/lab-talk" serve "$vip" "$PORT" "$backend" </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
	done
done <<-ROWS
	eu-1 10.1.0.11 fd00:1::11
	eu-2 10.1.0.12 fd00:1::12
	us-1 10.2.0.11 fd00:2::11
ROWS
served() {
	local vip
	for vip in "$LAB_VIP4" "$LAB_VIP6"; do
		lab_in client-de timeout 10 "$BUILD/lab-talk" udp "$vip" "$PORT" 10 || return 1
	done
}
ok "served" lab_wait 30 served
for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	lab_in client-de setsid "$BUILD/lab-talk" stay "$vip" "$PORT" "$STAYING" </dev/null >"$TAP_WORK/stay$family" 2>&1 &
done
rounds() { # FAMILY; whole ones so far
	awk -v flows="$STAYING" '$2 == flows { n++ } END { print n + 0 }' "$TAP_WORK/stay$1"
}
more_rounds() { # BEFORE4 BEFORE6: three more of each, every flow answered
	(($(rounds 4) >= $1 + 3 && $(rounds 6) >= $2 + 3))
}
last_round() { tail -n 1 "$TAP_WORK/stay$1"; }
moved() { # FAMILY; the most there ever was in a round
	awk '$3 > most { most = $3 } END { print most + 0 }' "$TAP_WORK/stay$1"
}
nobody_moved() { # WHAT
	ok "$1: they go on" lab_wait 30 more_rounds "$(rounds 4)" "$(rounds 6)"
	is "$1: none of $STAYING IPv4 flows moved" "$(moved 4)" 0
	is "$1: none of $STAYING IPv6 flows moved" "$(moved 6)" 0
}
nobody_moved "flows over UDP"
like "both servers have some" "$(last_round 4)" 'eu-1=.*eu-2=|eu-2=.*eu-1='
# How many of the next new flows would be there.
new_flows_on() { # BACKEND FAMILY FLOWS
	local vip=$LAB_VIP4 sport
	[[ $2 == 4 ]] || vip=$LAB_VIP6
	for ((sport = 40000; sport < 40000 + $3; sport++)); do
		lab_ctl -j explain --src "$(lab_client_address de "$2")" --dst "$vip" --dport "$PORT" --sport "$sport" --proto udp |
			jq -r .backend
	done | grep -c -x "$1"
}
# Half of all go there: that 30 do not is one run of 10^9.
some_on() { # BACKEND FAMILY
	local flows
	for flows in 3 30; do
		(($(new_flows_on "$1" "$2" "$flows") > 0)) && return 0
	done
	return 1
}
# One of 1,001 goes there: that two of six do is one run of 60,000.
hardly_any_on() { # BACKEND FAMILY
	(($(new_flows_on "$1" "$2" 6) <= 1))
}
for family in 4 6; do
	ok "all weight to eu-1" lab_ctl backend set "eu-1-q$family" weight=1000
	ok "nearly none to eu-2" lab_ctl backend set "eu-2-q$family" weight=1
done
for family in 4 6; do
	ok "in force for new flows, IPv$family" lab_wait 20 hardly_any_on "eu-2-q$family" "$family"
done
nobody_moved "weights changed"
ok "another backend" lab_ctl backend add extra-q4 service=quic4 region=eu address=10.2.0.11 weight=1000
ok "over IPv6" lab_ctl backend add extra-q6 service=quic6 region=eu address=fd00:2::11 weight=1000
for family in 4 6; do
	ok "it gets new flows, IPv$family" lab_wait 20 some_on "extra-q$family" "$family"
done
nobody_moved "a backend added"

# ---- flow --------------------------------------------------------------------------------------
show() { # SPORT [OPTION...]
	lab_ctl "${@:2}" flow show --src "$(lab_client_address de 4)" --sport "$1" --dst "$LAB_VIP4" --dport "$PORT" --proto udp
}
said=$(show 20000 -j)
is "a flow is found by its name" "$(jq -c '[.known, .service, .region, .state, .proven, .closed]' <<<"$said")" \
	'[true,"quic4","eu","active",true,false]'
like "and where it is" "$(jq -r .backend <<<"$said")" '^eu-[12]-q4$'
like "for people" "$(show 20000)" 'state +active: proven, open, seen [0-9]+ s ago'
said=$(show 33333 -j)
is "one that is not there" "$(jq -c '[.known, .explain.verdict, .explain.reason, .explain.service]' <<<"$said")" \
	'[false,"tx","tx_new","quic4"]'
like "what it would meet" "$(show 33333)" 'if new +tx, tx_new, to (eu-[12]|extra)-q4 in eu'
said=$(lab_ctl -j flow count --by service)
is "the table is as large as it is" "$(jq -c '[.buckets, .capacity]' <<<"$said")" '[65536,524288]'
is "all flows are there" "$(jq "[.service.quic4, .service.quic6] | min >= $STAYING" <<<"$said")" true
on_backend() { # BACKEND
	lab_ctl -j flow count --by backend | jq -r ".backend[\"$1\"] // 0"
}
mine=$(last_round 4 | grep -o 'eu-2=[0-9]*' | cut -d = -f 2)
is "as many on eu-2 as the clients say" "$(($(on_backend eu-2-q4) >= mine && mine > 0))" 1
rows=$(lab_ctl -j flow list --backend eu-2-q4 --state active --limit 0)
is "a list of them" "$(jq "length >= $mine and all(.[]; .backend == \"eu-2-q4\" and .state == \"active\" and .service == \"quic4\")" <<<"$rows")" true
is "a limit" "$(lab_ctl flow list --service quic4 --limit 2 2>/dev/null | wc -l)" 3
is "no addresses in it" "$(jq '[.[] | keys[] | select(. == "src" or . == "dst")] | length' <<<"$rows")" 0
refuses "a flush that nobody confirms" lab_ctl flow flush --backend eu-2-q4 </dev/null
refuses "of nothing in particular" lab_ctl flow flush --yes
refuses "of a backend that is none" lab_ctl flow flush --backend eu-9-q4 --yes
is "nothing is gone" "$(($(on_backend eu-2-q4) >= mine))" 1
# a weight of 1 may still get one of them, which is no error
ok "it takes no new flows" lab_ctl backend set eu-2-q4 admin=drain
drained() { [[ $(status_of '.backends[] | select(.name == "eu-2-q4") | .state') == drain ]]; }
ok "in force" lab_wait 20 drained
before=$(status_of '.reasons.tx_new')
forgotten=$(lab_ctl -j flow flush --backend eu-2-q4 --yes | jq .forgotten)
is "a flush" "$((forgotten >= mine))" 1
all_moved() {
	[[ $(last_round 4) != *eu-2=* && $(last_round 4) == *=* ]]
}
ok "flows on it are decided anew" lab_wait 20 all_moved
is "those, and no others" "$(last_round 4 | cut -d ' ' -f 3)" "$mine"
is "none of IPv6" "$(moved 6)" 0
learnt() { (($(status_of '.reasons.tx_new') >= before + mine)); }
ok "and learnt" lab_wait 10 learnt
ok "everything, too" lab_ctl flow flush --all --yes
ok "and all go on" lab_wait 30 more_rounds "$(rounds 4)" "$(rounds 6)"

# ---- without the daemon ------------------------------------------------------------------------
lab_daemon_end TERM
is "names are those of the last snapshot" "$(lab_ctl -j flow count --by service | jq '.service.quic4 > 0')" true
like "monitor, too" "$(lab_ctl monitor --service quic4 --count 1 2>/dev/null)" ' quic4 +eu +(eu-1|eu-2|extra)-q4$'
ok "and explains itself" lab_daemon_start

done_testing
