#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# sudo make run: GeoStream's story in network namespaces, with real packets, a real GeoIP database,
# real web servers and a real PostgreSQL. Stays until Ctrl-C; ONCE=1 leaves after the story with
# exit 0 if all of it was true, 1 otherwise.
#
# sudo make run IFACE=eth1 CONFIG=FILE [MODE=native|generic]: no lab, the machine's own NIC instead
# (nic.sh).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/lab/topology.sh
. tests/lab/topology.sh
# shellcheck source=tests/lab/edge.sh
. tests/lab/edge.sh
# shellcheck source=tests/lab/clients.sh
. tests/lab/clients.sh
# shellcheck source=tests/lab/oracle.sh
. tests/lab/oracle.sh

FAILOVER_LIMIT_MS=3000
untrue=0

# ---- telling -------------------------------------------------------------------------------------

title() {
	lab_end_if_asked
	printf '\n== %s\n' "$*"
}

say() {
	printf '   %s\n' "$*"
}

untrue() {
	lab_end_if_asked # what was cut short is not untrue
	printf '   NOT TRUE: %s\n' "$*"
	untrue=$((untrue + 1))
}

# Without this step there is no story.
must() { # WHAT COMMAND...
	local what=$1
	shift
	if ! "$@" >"$LAB_DIR/step.log" 2>&1; then
		lab_end_if_asked
		printf 'lab: %s failed:\n' "$what" >&2
		sed 's/^/   /' "$LAB_DIR/step.log" >&2
		if [[ -s $LAB_LOG ]]; then
			printf 'lab: the daemon said last:\n' >&2
			tail -n 20 "$LAB_LOG" | sed 's/^/   /' >&2
		fi
		exit 1
	fi
}

milliseconds() { # MICROSECONDS
	printf '%d.%d ms' $(($1 / 1000)) $(($1 % 1000 / 100))
}

# ---- one lab of a name at a time, also from two checkouts ----------------------------------------

CLAIM=/run/$LAB_PREFIX-lab.pid

claim() {
	local pid
	pid=$(cat "$CLAIM" 2>/dev/null || echo none)
	if [[ -e /proc/$pid ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q 'tests/lab/run.sh'; then
		printf 'lab: process %d runs this lab already (another name: LAB_PREFIX, LAB_PIN)\n' "$pid" >&2
		exit 1
	fi
	echo $$ >"$CLAIM"
}

leave() {
	local status=$?
	trap '' INT TERM HUP
	LAB_ENDING=
	title "cleaning up"
	lab_flows_stop
	lab_daemon_end TERM
	if lab_down; then
		say "nothing is left: no namespace, no pinned map, no process (logs: ${LAB_DIR#"$PWD"/})"
	else
		status=1
	fi
	rm -f "$CLAIM"
	exit "$status"
}

# ---- requests ------------------------------------------------------------------------------------

row() { # CLIENT VIP PORT CLIENT_ADDRESS
	local backend region seconds nearest answer country
	answer=$(lab_ask "$1" "$2" "$3")
	read -r backend region seconds <<<"$answer"
	country=$(oracle_country "$4")
	nearest=$(oracle_nearest "$4")
	printf '   %-20s %-8s %-22s %-7s %-8s %s\n' "$4" "$country" "$2 :$3" "${region:--}" "${backend:--}" \
		"$(milliseconds "$(awk -v s="${seconds:-0}" 'BEGIN { printf "%d", s * 1000000 }')")"
	if [[ -z $region ]]; then
		untrue "$1 got no answer from $2:$3"
	elif [[ $region != "$nearest" ]]; then
		untrue "$1 is nearest to $nearest, not to $region"
	fi
	if [[ $country != "${1^^}" ]]; then
		untrue "the database places $4 in '$country', not in ${1^^}"
	fi
}

table() {
	local client address4 address6
	printf '   %-20s %-8s %-22s %-7s %-8s %s\n' client country service region backend time
	while read -r client address4 address6; do
		row "$client" "$LAB_VIP4" 80 "$address4"
		row "$client" "$LAB_VIP6" 80 "$address6"
	done <"$LAB_DIR/clients"
	say "and through a tunnel of the other family:"
	read -r client address4 address6 <"$LAB_DIR/clients"
	row "$client" "$LAB_VIP4" 8080 "$address4"
	row "$client" "$LAB_VIP6" 8080 "$address6"
}

# ---- a region dies -------------------------------------------------------------------------------

# HOW: reset or blackhole.
kill_region() { # REGION HOW
	local region=$1 how=$2 client flow clients flows=()
	mapfile -t clients < <(lab_clients_of "$region")
	say "clients: ${clients[*]}, each over IPv4 and IPv6, a new connection every 20 ms, 200 ms limit"
	for client in "${clients[@]}"; do
		lab_flows_start "$client-4" "client-$client" "$LAB_VIP4" 80
		lab_flows_start "$client-6" "client-$client" "$LAB_VIP6" 80
		flows+=("$client-4" "$client-6")
	done
	for flow in "${flows[@]}"; do
		lab_wait 10 lab_flows_reached "$flow" 50 "^$region-" ||
			untrue "$flow is not served by $region before it dies"
	done
	"lab_region_$how" "$region"
	say "$region is gone ($how)"
	for flow in "${flows[@]}"; do
		lab_wait 10 lab_flows_reached "$flow" 25 "^($(others "$region"))-" ||
			untrue "$flow is not served by another region"
	done
	lab_flows_stop "${flows[@]}"
	printf '   %-10s %-22s %-22s %s\n' client "last new flow there" "first answer elsewhere" \
		"failed / answered there / elsewhere"
	for flow in "${flows[@]}"; do
		report_flow "$flow" "$region"
	done
	lab_region_heal "$region"
	if lab_wait 30 lab_everyone_home "${clients[@]}"; then
		say "$region is back, and so are its clients"
	else
		untrue "$region is back, its clients are not"
	fi
}

others() { # REGION; as a regular expression
	printf '%s\n' "${LAB_REGIONS[@]}" | grep -vx "$1" | paste -sd '|'
}

report_flow() { # FLOW REGION
	local last first failed there elsewhere
	read -r last first failed there elsewhere <<<"$(lab_flows_failover "$1" "$2")"
	if [[ ! $last$failed$there$elsewhere =~ ^[0-9]+$ || ! $first =~ ^-?[0-9]+$ ]]; then
		untrue "$1 left no log that can be read"
		return
	fi
	printf '   %-10s %-22s %-22s %s\n' "$1" "$(milliseconds "$last")" "$(milliseconds "$first")" \
		"$failed / $there / $elsewhere"
	if ((last > FAILOVER_LIMIT_MS * 1000)); then
		untrue "$1 was sent to the dead region for more than $FAILOVER_LIMIT_MS ms"
	fi
	if ((first < 0 || first > FAILOVER_LIMIT_MS * 1000)); then
		untrue "$1 had no answer from elsewhere within $FAILOVER_LIMIT_MS ms"
	fi
}

# ---- the story -----------------------------------------------------------------------------------

look_around() {
	local ctl="$BUILD/geostreamctl --config ${LAB_CONF#"$PWD"/}"
	title "look around (from another terminal, as root)"
	say "$ctl status"
	say "$ctl route get $(lab_client_address br 4) --service web"
	say "$ctl geo show $(lab_client_address jp 6)"
	say "$ctl region set eu admin=drain      # and admin=auto"
	say "$ctl override add $(lab_client_address jp 4)/32 us --reason 'a try'"
	say "nsenter --net=$(lab_path client-jp) curl http://$LAB_VIP4/whoami"
	bpftool_lines
	say "logs: ${LAB_LOG#"$PWD"/}"
}

# As maps/README.md has them.
bpftool_lines() {
	# shellcheck disable=SC2016 # no expansion meant
	grep -oE 'bpftool map [^`|]*pinned [^`|]*' maps/README.md 2>/dev/null | grep -vF '$' |
		sed "s|/sys/fs/bpf/geostream|$LAB_PIN|; s/^/   /"
}

story() {
	title "the network: ${#LAB_CLIENTS[@]} clients, an internet, an edge, ${#LAB_REGIONS[@]} regions with two nginx each"
	must "the network" lab_network_up
	say "namespaces: $(lab_spaces | sed "s/^/$LAB_PREFIX-/" | paste -sd ' ')"

	title "the database"
	must "the database" lab_database_up
	lab_write_conf
	must "the migration" lab_ctl db migrate
	must "the sample configuration" lab_ctl apply -f "$LAB_SAMPLE"
	say "PostgreSQL: $LAB_DATABASE"
	say "configuration: ${LAB_SAMPLE#"$PWD"/}"

	title "the edge"
	must "attaching" lab_attach
	sed 's/^/   /' "$LAB_DIR/step.log"
	must "the daemon" lab_daemon_start
	must "waiting for the backends" lab_wait 30 lab_everyone_home "${LAB_CLIENTS[@]}"
	say "geostreamd runs, pid $LAB_DAEMON; every backend is up"

	title "a request from every client"
	table

	title "eu dies: its web servers stop, connections are reset"
	kill_region eu reset

	title "us dies: it answers nothing any more (black hole)"
	kill_region us blackhole
}

main() {
	if (($(id -u) != 0)); then
		echo 'lab: network namespaces and BPF need root: sudo make run' >&2
		exit 1
	fi
	claim
	trap leave EXIT
	trap 'LAB_ENDING=130' INT TERM HUP
	lab_down || exit 1
	mkdir -p "$LAB_DIR"
	: >"$LAB_LOG"
	story
	look_around
	if ((untrue)); then
		title "$untrue things were not true"
	else
		title "all of it was true"
	fi
	if [[ -n ${ONCE:-} ]]; then
		exit $((untrue > 0))
	fi
	say "The lab stays until Ctrl-C."
	trap 'LAB_ENDING=$((untrue > 0))' INT TERM HUP
	while :; do
		lab_pause 0.5 # bash goes on reading after a trap: a long pause would not end
	done
}

if [[ -n ${IFACE:-} ]]; then
	exec tests/lab/nic.sh
fi
main
