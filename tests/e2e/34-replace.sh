#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The program is exchanged under HTTP traffic, again and again: no request fails, no flow moves, and
# what the maps hold carries over. Pinned maps of another layout are refused untouched.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t34r
lab_test_up

replace() {
	lab_loader replace "$LAB_UPLINK" --pin-dir "$LAB_PIN"
}

map_ids() {
	local pin
	for pin in "$LAB_PIN"/*; do
		case ${pin##*/} in
		prog | link-*) ;;
		*) bpftool -j map show pinned "$pin" | jq -r "\"${pin##*/} \\(.id)\"" ;;
		esac
	done
}

program_id() {
	bpftool -j prog show pinned "$LAB_PIN/prog" | jq .id
}

reason() { # NAME
	status_of ".reasons.$1 // 0"
}

# ---- under traffic -------------------------------------------------------------------------------
flows_of_region eu
reached=25
ok "traffic" lab_wait 20 flows_reached "$reached"
maps=$(map_ids)
program=$(program_id)
counted=$(reason tx_new)
for n in 1 2 3 4 5; do
	ok "$n: replaced" replace
	ok "$n: traffic goes on" lab_wait 20 flows_reached $((reached += 25))
done
ok "another program runs" test "$(program_id)" != "$program"
is "on the same maps" "$(map_ids)" "$maps"
ok "nothing failed" no_flow_failed
is "no flow has moved" "$(reason tx_repicked)" 0
ok "counters have gone on" test "$(reason tx_new)" -gt "$counted"
lab_flows_stop

# ---- maps of another layout ----------------------------------------------------------------------
program=$(program_id)
meta=$(bpftool -j map lookup pinned "$LAB_PIN/meta" key 0 0 0 0 | jq -r '.value | map(.[2:]) | join(" ")')
write_meta() { # BYTES, as hex words
	# shellcheck disable=SC2086 # words
	bpftool map update pinned "$LAB_PIN/meta" key 0 0 0 0 value hex $1
}
lab_daemon_end TERM
need "maps as of layout 4" write_meta "04 ${meta#* }"
refuses "are not taken over" replace
like "and the remedy is named" "$(replace 2>&1)" 'layout version 4.*(detach|purge)'
is "the program is what it was" "$(program_id)" "$program"
is "the maps, too" "$(map_ids)" "$maps"
need "the layout again" write_meta "$meta"
ok "clients were not hurt for good" lab_wait 20 lab_everyone_home "${LAB_CLIENTS[@]}"
ok "and a replace goes through" replace

done_testing
