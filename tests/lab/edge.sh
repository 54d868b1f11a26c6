# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's GeoStream: database, configuration, loader, daemon. Sourced after topology.sh.
#
# DATABASE names another PostgreSQL than the private one; its GeoStream configuration is replaced.

LAB_PIN=${LAB_PIN:-/sys/fs/bpf/geostream}
LAB_MMDB=${LAB_MMDB:-$PWD/$BUILD/geoip/geostream-country.mmdb}
LAB_CONF=$LAB_DIR/geostream.conf
LAB_SOCKET=/run/$LAB_PREFIX-geostreamd.sock # a socket's path is short; a checkout's may be long
LAB_LOG=$LAB_DIR/geostreamd.log
LAB_SAMPLE=${LAB_SAMPLE:-$PWD/tests/lab/lab.json}
unset "${!GEOSTREAM_@}" # would win over the lab's configuration file

lab_ctl() { # ARGUMENT...
	"$BUILD/geostreamctl" --config "$LAB_CONF" "$@"
}

# ---- database ------------------------------------------------------------------------------------

lab_database_up() {
	if [[ -n ${DATABASE:-} ]]; then
		LAB_DATABASE=$DATABASE
	else
		LAB_DATABASE=$(tests/db/cluster.sh start "$LAB_DIR/db")
	fi
}

lab_database_crash() {
	tests/db/cluster.sh crash "$LAB_DIR/db"
}

# The private one, also when DATABASE names another now: an earlier run may have left it.
lab_database_down() {
	if [[ -e $LAB_DIR/db ]]; then
		tests/db/cluster.sh destroy "$LAB_DIR/db"
	fi
}

lab_write_conf() {
	cat >"$LAB_CONF" <<-CONF
		# The lab's edge. Made by tests/lab/edge.sh.
		database = $LAB_DATABASE
		edge = lab
		geoip = $LAB_MMDB
		pin_dir = $LAB_PIN
		socket = $LAB_SOCKET
		state_dir = $LAB_DIR/state
		log_format = logfmt
	CONF
	mkdir -p "$LAB_DIR/state"
}

# ---- the program on the NIC ----------------------------------------------------------------------

lab_loader() { # ARGUMENT...
	lab_in edge "$BUILD/geostream-loader" "$@"
}

lab_attach() {
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
	lab_loader attach "$LAB_UPLINK" --mode native --pin-dir "$LAB_PIN"
}

# Pins of a lab that is gone: theirs is a link on an interface of the lab's name. A folder with
# another link belongs to a GeoStream that works on this machine's own NIC.
lab_pins_are_ours() {
	local link
	for link in "$LAB_PIN"/link-*; do
		if [[ -e $link && ${link##*/} != "link-$LAB_UPLINK" ]]; then
			return 1
		fi
	done
}

lab_pins_down() {
	[[ -d $LAB_PIN ]] || return 0
	if ! lab_pins_are_ours; then
		printf 'lab: %s belongs to a GeoStream on this machine: %s\n' "$LAB_PIN" \
			"$(cd "$LAB_PIN" && echo link-*)" >&2
		printf 'lab: detach it (geostream-loader detach IFACE), or name another folder: LAB_PIN=...\n' >&2
		return 1
	fi
	rm -rf "$LAB_PIN"
}

# ---- the daemon ----------------------------------------------------------------------------------

# In a session of its own: Ctrl-C at the terminal is for the script. Not lab_in: a function in the
# background would be a shell, and the pid its.
lab_daemon_start() {
	nsenter --net="$(lab_path edge)" setsid "$BUILD/geostreamd" --config "$LAB_CONF" \
		>>"$LAB_LOG" 2>&1 </dev/null &
	LAB_DAEMON=$!
	lab_wait 30 lab_daemon_answers
}

lab_daemon_answers() {
	lab_ctl status
}

lab_daemon_end() { # SIGNAL
	[[ -n ${LAB_DAEMON:-} ]] || return 0
	kill -"$1" "$LAB_DAEMON" 2>/dev/null || :
	wait "$LAB_DAEMON" 2>/dev/null
	LAB_DAEMON=
}

# ---- everything ----------------------------------------------------------------------------------

# Whatever is left of this lab, by whichever way it ended.
lab_down() {
	local status=0
	LAB_DAEMON=
	lab_network_down || status=1
	lab_database_down || status=1
	lab_pins_down || status=1
	rm -f "$LAB_SOCKET"
	rm -rf "$LAB_DIR"/state "$LAB_DIR"/state-* # an edge's memory: the next lab's edge is another one
	return "$status"
}

lab_edge_up() {
	lab_database_up && lab_write_conf && lab_ctl db migrate && lab_ctl apply -f "$LAB_SAMPLE" &&
		lab_attach && lab_daemon_start
}
