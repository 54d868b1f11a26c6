#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# sudo make run IFACE=eth1 CONFIG=FILE MODE=native|generic: GeoStream on this machine's own NIC.
# Migrates and fills a database (a private PostgreSQL below build/nic, or DATABASE=...), attaches,
# and runs the daemon until Ctrl-C. The program stays attached then and forwards on.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
DIR=${NIC_DIR:-$PWD/$BUILD/nic}
PIN=${PIN_DIR:-/sys/fs/bpf/geostream}

refuse() {
	printf 'run: %s\n' "$*" >&2
	exit 1
}

step() { # WHAT COMMAND...
	local what=$1
	shift
	printf '== %s\n' "$what"
	"$@" || refuse "$what failed"
}

# A link that is pinned is ours, of an earlier run: its program is replaced, packets go on.
attach() {
	if [[ -e $PIN/link-$IFACE ]]; then
		"$BUILD/geostream-loader" replace "$IFACE" --pin-dir "$PIN"
	else
		"$BUILD/geostream-loader" attach "$IFACE" --mode "$MODE" --pin-dir "$PIN"
	fi
}

(($(id -u) == 0)) || refuse "attaching needs root: sudo make run IFACE=$IFACE ..."
ip link show dev "${IFACE:=}" >/dev/null 2>&1 || refuse "IFACE=$IFACE: there is no such interface"
[[ -r ${CONFIG:-} ]] ||
	refuse "CONFIG=FILE: a configuration as tests/lab/lab.json is one ('${CONFIG:-}' cannot be read)"
case ${MODE:-} in
native | generic | offload) ;;
*) refuse "MODE=native (in the driver) or MODE=generic (any NIC, slower): it is never guessed" ;;
esac

mkdir -p "$DIR/state"
if [[ -z ${DATABASE:-} ]]; then
	DATABASE=$(tests/db/cluster.sh start "$DIR/db") || refuse "the private PostgreSQL does not start"
	trap 'tests/db/cluster.sh stop "$DIR/db"' EXIT
fi
cat >"$DIR/geostream.conf" <<-CONF
	# Made by tests/lab/nic.sh.
	database = $DATABASE
	edge = $(hostname)
	geoip = $(realpath -m "${GEOIP:-$BUILD/geoip/geostream-country.mmdb}")
	pin_dir = $PIN
	socket = ${NIC_SOCKET:-/run/geostream-nic.sock}
	state_dir = $DIR/state
	log_format = logfmt
CONF
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
step "migrating" "$BUILD/geostreamctl" --config "$DIR/geostream.conf" db migrate
step "applying $CONFIG" "$BUILD/geostreamctl" --config "$DIR/geostream.conf" apply -f "$CONFIG"
step "attaching to $IFACE ($MODE)" attach
printf '== geostreamd; Ctrl-C ends it\n'
trap : INT
status=0
"$BUILD/geostreamd" --config "$DIR/geostream.conf" || status=$?
cat <<-END
	== geostreamd has ended; the program is still on $IFACE and forwards by the last tables.
	   to steer it again:  sudo make run IFACE=$IFACE CONFIG=$CONFIG MODE=$MODE
	   to take it off:     sudo $BUILD/geostream-loader detach $IFACE --pin-dir $PIN
END
exit "$status"
