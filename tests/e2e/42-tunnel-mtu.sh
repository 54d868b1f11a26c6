#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A router between edge and backends whose link takes less than the edge's own: what it says of the
# tunnel's packets reaches the edge, clients are told in turn, and uploads go on.
#
#	client ---- internet ==== edge          edge -> internet -- 1400 bytes -- region eu -- backends
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t42
lab_test_up
PORT=9000
NARROW=1400

talk() { # CLIENT put|get ADDRESS BYTES
	lab_in "client-$1" timeout 120 "$BUILD/lab-talk" "$2" "$3" "$PORT" "$4" 2>&1
}
reason() { # NAME
	status_of ".reasons.$1 // 0"
}
told() { # ADDRESS; the MTUs of the backends there
	status_of "[.backends[] | select(.address == \"$1\") | .tunnel_mtu] | unique | tostring"
}
logged() { # BACKEND; how often
	grep -c "event=tunnel_mtu backend=$1 " "$LAB_LOG"
}
client_mtu() { # ADDRESS
	lab_in client-de ip route get "$1" | grep -o 'mtu [0-9]*'
}

for family in 4 6; do
	vip=$LAB_VIP4
	[[ $family == 4 ]] || vip=$LAB_VIP6
	ok "a service over IPv$family" lab_ctl service add "bytes$family" "vip=$vip" port=$PORT protocol=tcp \
		policy=nearest probe_kind=none
done
ok "an IPv4 backend" lab_ctl backend add eu-1-bytes4 service=bytes4 region=eu address=10.1.0.11
ok "an IPv6 backend, by GUE" lab_ctl backend add eu-2-bytes6 service=bytes6 region=eu address=fd00:1::12 forward=gue
lab_in eu-1 setsid "$BUILD/lab-talk" serve "$LAB_VIP4" $PORT eu-1 </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
lab_in eu-2 setsid "$BUILD/lab-talk" serve "$LAB_VIP6" $PORT eu-2 </dev/null >>"$TAP_WORK/talk.log" 2>&1 &
# Clients send full segments: nothing asks them for less.
for backend in eu-1 eu-2; do
	ok "$backend asks for full segments" lab_kit "$backend" --mss off
done
served() {
	[[ $(talk de put "$LAB_VIP4" 10) == eu-1* && $(talk de put "$LAB_VIP6" 10) == eu-2* ]]
}
ok "served" lab_wait 30 served

# ---- wide ----------------------------------------------------------------------------------------
is "10 MB up" "$(talk de put "$LAB_VIP4" 10000000)" 'eu-1 10000000'
is "10 MB up over IPv6" "$(talk de put "$LAB_VIP6" 10000000)" 'eu-2 10000000'
is "no router has complained" "$(reason pass_tunnel_mtu)" 0
is "nothing is told" "$(told 10.1.0.11)$(told fd00:1::12)" '[null][null]'

# ---- narrow --------------------------------------------------------------------------------------
lab_in internet ip link set region-eu mtu $NARROW
lab_in region-eu ip link set wan mtu $NARROW
# 20 bytes of IPv4; 40 of IPv6 and 8 of UDP
for row in "$LAB_VIP4 eu-1 10.1.0.11 $((NARROW - 20))" "$LAB_VIP6 eu-2 fd00:1::12 $((NARROW - 48))"; do
	read -r vip backend address fits <<<"$row"
	before=$(reason pass_tunnel_mtu)
	is "100 MB up to $vip arrive" "$(talk de put "$vip" 100000000)" "$backend 100000000"
	ok "the router has been heard" test "$(reason pass_tunnel_mtu)" -gt "$before"
	is "the way to $address is known" "$(told "$address")" "[$NARROW]"
	is "the client knows what fits" "$(client_mtu "$vip")" "mtu $fits"
	before=$(reason pass_tunnel_mtu)
	is "10 MB more" "$(talk de put "$vip" 10000000)" "$backend 10000000"
	is "and the router has nothing to say" "$(reason pass_tunnel_mtu)" "$before"
done
is "all services at the address have it" "$(status_of '[.backends[] | select(.address == "10.1.0.11") | .tunnel_mtu] | tostring')" \
	"[$NARROW,$NARROW,$NARROW]"
is "said once a backend" "$(logged eu-1-bytes4) $(logged eu-2-bytes6)" "1 1"
like "for people" "$(lab_ctl health list)" "eu-1-bytes4 .*, its path takes $NARROW bytes"
is "another backend's way is as it was" "$(told 10.2.0.11)" '[null]'

# ---- another route -------------------------------------------------------------------------------
lab_in internet ip link set region-eu mtu 1500
lab_in region-eu ip link set wan mtu 1500
lab_in edge ip route change default via 192.0.2.1 mtu 1490
lab_in edge ip -6 route change default via 2001:db8:0:e::1 mtu 1490
forgotten() {
	[[ $(told 10.1.0.11)$(told fd00:1::12) == '[null][null]' ]]
}
ok "another route forgets it" lab_wait 10 forgotten
lab_in client-de ip route flush cache
lab_in client-de ip -6 route flush cache
is "10 MB up again" "$(talk de put "$LAB_VIP4" 10000000)" 'eu-1 10000000'
is "by all the new route has" "$(client_mtu "$LAB_VIP4")" "mtu 1470"

done_testing
