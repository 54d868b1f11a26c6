#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Under attack: clients that are kept out and let in again, and rates that are held to limits, as an
# operator does it and real clients feel it.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t41
lab_test_up

reason() { # NAME
	status_of ".reasons.$1 // 0"
}
grew() { # NAME BEFORE
	(($(reason "$1") > $2))
}
served() { # CLIENT FAMILY
	local vip=$LAB_VIP4
	[[ $2 == 4 ]] || vip=$LAB_VIP6
	[[ $(region_of "$1" "$vip") == "$(oracle_nearest "$(lab_client_address "$1" "$2")")" ]]
}
not_served() { # CLIENT FAMILY
	! served "$@"
}
explain() { # CLIENT
	lab_ctl -j explain --src "$(lab_client_address "$1" 4)" --dst "$LAB_VIP4" --dport 80
}
explained() { # CLIENT REASON
	[[ $(explain "$1" | jq -r .reason) == "$2" ]]
}

# ---- access ------------------------------------------------------------------------------------
ke4=$(lab_client_address ke 4)
ke6=$(lab_client_address ke 6)
net4=${ke4%.*.*}.0.0/16
net6=${ke6%::*}::/48
ok "served at first" served ke 4
before=$(reason drop_denied)
ok "its network is kept out" lab_ctl access add "$net4" deny "flood 7"
ok "so is its IPv6 one" lab_ctl access add "$net6" deny
ok "in force" lab_wait 10 explained ke drop_denied
ok "not served" not_served ke 4
ok "nor by IPv6" lab_wait 10 not_served ke 6
ok "with a reason of its own" lab_wait 5 grew drop_denied "$before"
ok "others are" served de 4
said=$(lab_ctl -j route get "$ke4" --service web)
is "route get names the rule" "$(jq -r '[.access.action, .access.reason] | join(" ")' <<<"$said")" "deny flood 7"
is "and sends it nowhere" "$(jq -r .winner.region <<<"$said")" null
like "for people" "$(lab_ctl route get "$ke4" --service web)" 'access +deny .*, by a rule of every service \(flood 7\)'
like "explain, too" "$(lab_ctl explain --src "$ke4" --dst "$LAB_VIP4" --dport 80)" \
	'access +deny .*, by a rule of every service \(flood 7\).*verdict +drop, drop_denied'
ok "one address of it is let in, by one service" lab_ctl access add "$ke4/32@web" allow
ok "served again" lab_wait 10 served ke 4
ok "not by IPv6" not_served ke 6
ok "the rule is lifted" lab_ctl access remove "$net6"
ok "served by IPv6, too" lab_wait 10 served ke 6
ok "the others are lifted" lab_ctl access remove "$ke4/32@web"
ok "all of them" lab_ctl access remove "$net4"
ok "served without a rule" lab_wait 10 served ke 4

# ---- limits ------------------------------------------------------------------------------------
# Connections at once, each repeating its SYN for two seconds.
burst() { # CLIENT
	local pids=()
	for _ in {1..8}; do
		lab_ask "$1" "$LAB_VIP4" >>"$TAP_WORK/burst" &
		pids+=("$!")
	done
	wait "${pids[@]}"
}
limited() { # CLIENT REASON
	local before
	before=$(reason "$2")
	burst "$1"
	lab_wait 5 grew "$2" "$before"
}
ok "a client may begin one connection a second" lab_ctl service set web limit_client_flows=1 limit_prefix4=24
ok "and is held to it" lab_wait 20 limited de drop_client_flows
before=$(reason drop_client_flows)
ok "another one is served" served us 4
is "untouched" "$(reason drop_client_flows)" "$before"
like "explain names the limit" "$(lab_ctl explain --src "$(lab_client_address us 4)" --dst "$LAB_VIP4" --dport 80)" \
	'limit +[0-9.]+/24: 1 new flows a second.*used +client flows: [0-9]+ % of 1 a second'
ok "the service may have one a second" lab_ctl service set web limit_client_flows=0 limit_flows=1
ok "and is held to it" lab_wait 20 limited de drop_service_flows
ok "the region may" lab_ctl service set web limit_flows=0
ok "have one a second" lab_ctl region set eu limit_flows=1
ok "and is held to it" lab_wait 20 limited de drop_region_flows
ok "no limits" lab_ctl region set eu limit_flows=0
ok "served as before" lab_wait 10 served de 4

done_testing
