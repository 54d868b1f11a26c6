#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Each client lands in the region that an independent calculation says; what an operator sees agrees;
# an override moves one client and nobody else.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t31
lab_test_up

# ---- every client, both families, both kinds of tunnel -------------------------------------------
while read -r client address4 address6; do
	is "the database places $address4 in ${client^^}" "$(oracle_country "$address4")" "${client^^}"
	is "the database places $address6 in ${client^^}" "$(oracle_country "$address6")" "${client^^}"
	# shellcheck disable=SC2046 # two numbers
	ok "with coordinates tzdata has for it" oracle_is_zone "$client" $(oracle_coordinates "$address4")
	is "$client, IPv4" "$(region_of "$client" "$LAB_VIP4")" "$(oracle_nearest "$address4")"
	is "$client, IPv6" "$(region_of "$client" "$LAB_VIP6")" "$(oracle_nearest "$address6")"
	is "$client, IPv4 in IPv6" "$(region_of "$client" "$LAB_VIP4" 8080)" \
		"$(oracle_nearest "$address4")"
	is "$client, IPv6 in IPv4" "$(region_of "$client" "$LAB_VIP6" 8080)" \
		"$(oracle_nearest "$address6")"
	is "route get $address4 agrees" \
		"$(lab_ctl -j route get "$address4" --service web | jq -r .winner.region)" \
		"$(oracle_nearest "$address4")"
	is "route get $address6 agrees" \
		"$(lab_ctl -j route get "$address6" --service web6 | jq -r .winner.region)" \
		"$(oracle_nearest "$address6")"
done <"$LAB_DIR/clients"

# Distances too, to the kilometre.
distances() { # ADDRESS
	lab_ctl -j route get "$1" --service web | jq -r '.candidates[] | "\(.region) \(.distance_km | round)"'
}
for client in "${LAB_CLIENTS[@]}"; do
	address=$(lab_client_address "$client" 4)
	# shellcheck disable=SC2046 # two numbers
	is "route get has ${client}'s distances" "$(distances "$address")" \
		"$(oracle_regions $(oracle_coordinates "$address") | awk '{ printf "%s %.0f\n", $1, $2 }')"
done

regions_in_use() {
	while read -r _ address4 _; do
		oracle_nearest "$address4"
	done <"$LAB_DIR/clients" | sort -u | wc -l
}
is "all the regions are somebody's nearest" "$(regions_in_use)" "${#LAB_REGIONS[@]}"

# ---- more than one packet each way ---------------------------------------------------------------
upload() { # CLIENT URL
	head -c 300000 /dev/zero | lab_in "client-$1" curl -s -g -m 20 -o /dev/null \
		-w '%{http_code} %{size_upload}' --data-binary @- -H 'Expect:' "$2"
}
is "300 kB up, IPv4" "$(upload de "http://$LAB_VIP4/whoami")" "200 300000"
is "300 kB up, IPv6" "$(upload de "http://[$LAB_VIP6]/whoami")" "200 300000"
is "300 kB up, IPv4 in IPv6" "$(upload jp "http://$LAB_VIP4:8080/whoami")" "200 300000"
is "300 kB up, IPv6 in IPv4" "$(upload jp "http://[$LAB_VIP6]:8080/whoami")" "200 300000"

is "the backend sees the client's own address" \
	"$(lab_in client-br curl -s -m 2 "http://$LAB_VIP4/whoami" | jq -r .client)" \
	"$(lab_client_address br 4)"

both_backends() { # CLIENT REGION
	local i
	for i in {1..40}; do
		lab_ask "$1" "$LAB_VIP4"
	done | cut -d ' ' -f 1 | sort -u | paste -sd ' ' | grep -qx "$2-1 $2-2"
}
ok "both backends of a region get connections" both_backends de eu

# ---- overrides -----------------------------------------------------------------------------------
jp=$(lab_client_address jp 4)
lands() { # CLIENT ADDRESS REGION
	[[ $(region_of "$1" "$2") == "$3" ]]
}
ok "override add" lab_ctl override add "$jp/32" us --reason "a test"
ok "the client lands there" lab_wait 10 lands jp "$LAB_VIP4" us
is "its IPv6 address does not" "$(region_of jp "$LAB_VIP6")" \
	"$(oracle_nearest "$(lab_client_address jp 6)")"
is "nor does another client" "$(region_of au "$LAB_VIP4")" \
	"$(oracle_nearest "$(lab_client_address au 4)")"
is "route get says so" "$(lab_ctl -j route get "$jp" --service web | jq -r .winner.region)" us
ok "override remove" lab_ctl override remove "$jp/32"
ok "the client is home again" lab_wait 10 lands jp "$LAB_VIP4" "$(oracle_nearest "$jp")"

# ---- what an operator sees -----------------------------------------------------------------------
# The lines of maps/README.md, in its two blocks, on the maps of this lab.
# shellcheck disable=SC2016 # the fences of a code block
sed -n '/^## Looking in/,/^## Decisions/{/^```sh/,/^```/{/^```/!p}}' maps/README.md |
	sed "s|/sys/fs/bpf/geostream|$LAB_PIN|" >"$LAB_DIR/bpftool.sh"
ok "maps/README.md has bpftool lines" test "$(grep -c bpftool "$LAB_DIR/bpftool.sh")" -gt 15
ok "they work as printed" bash -euo pipefail "$LAB_DIR/bpftool.sh"
bash "$LAB_DIR/bpftool.sh" >"$LAB_DIR/bpftool.out" 2>&1
for field in layout_version heartbeat_ns service state packets dst_mac share child_map; do
	ok "and show the field $field" grep -q "\"$field\"" "$LAB_DIR/bpftool.out"
done

# ---- what is not ours passes -------------------------------------------------------------------
ok "a port of the VIP that is no service is the edge's own business (refused by its kernel, not eaten)" \
	bash -c "nsenter --net=$(lab_path client-de) curl -s -m 5 http://$LAB_EDGE4:81/; [ \$? -eq 7 ]"

done_testing
