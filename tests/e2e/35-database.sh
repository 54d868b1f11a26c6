#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# PostgreSQL is cut off: forwarding goes on (failover too: 32-failover.sh), and changes are heard again
# when it is back. Then a pooler is put in between, through which notifications do not come.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lab.sh
. tests/e2e/lab.sh

lab_test t35
lab_test_up

connected() { # true|false
	[[ $(status_of .database.connected) == "$1" ]]
}

flows_of_region ap
ok "traffic" lab_wait 20 flows_reached 25
ok "PostgreSQL stops at once" lab_database_crash
ok "the daemon notices" lab_wait 20 connected false
ok "traffic goes on" lab_wait 20 flows_reached 100
ok "nothing failed" no_flow_failed

lab_flows_stop
ok "PostgreSQL is back" lab_database_up
ok "the daemon is connected again" lab_wait 60 connected true
lands_in_eu() {
	[[ $(region_of au "$LAB_VIP4") == eu ]]
}
ok "a change is heard again" lab_ctl override add "$(lab_client_address au 4)/32" eu
ok "and followed" lab_wait 20 lands_in_eu
is "nothing is in between" "$(status_of .database.pooled)" false

# ---- a pooler of transactions --------------------------------------------------------------------
pooler_up() { # SOCKET_FOLDER; as the unprivileged user that PostgreSQL has, too
	local folder=$1 server=${LAB_DATABASE#host=}
	cat >"$folder/pgbouncer.ini" <<-INI
		[databases]
		* = host=${server%% *} user=geostream
		[pgbouncer]
		listen_addr =
		listen_port = 6432
		unix_socket_dir = $folder
		auth_type = any
		pool_mode = transaction
		logfile = $folder/log
	INI
	chown -R postgres: "$folder"
	setpriv --reuid postgres --regid postgres --clear-groups \
		pgbouncer -q "$folder/pgbouncer.ini" >"$LAB_DIR/pooler.log" 2>&1 </dev/null &
	at_exit kill $!
	lab_wait 10 test -S "$folder/.s.PGSQL.6432"
}
lands_at_home() {
	[[ $(region_of au "$LAB_VIP4") == ap ]]
}
pooler=$(mktemp -d /tmp/gs-pooler.XXXXXX)
at_exit rm -rf "$pooler"
ok "a pooler" pooler_up "$pooler"
lab_daemon_end TERM
straight=$LAB_DATABASE
LAB_DATABASE="host=$pooler port=6432 user=geostream dbname=geostream"
lab_write_conf
LAB_DATABASE=$straight
ok "the daemon goes through it" lab_daemon_start
ok "and is connected" lab_wait 20 connected true
is "it has seen what it is" "$(status_of .database.pooled)" true
like "the status says what that means" "$(lab_ctl status)" 'through a pooler: changes are looked for every second'
is "the log does, too" "$(grep -c 'event=database_pooled' "$LAB_LOG")" 1
ok "a change is made elsewhere" env GEOSTREAM_DATABASE="$straight" "$BUILD/geostreamctl" \
	override remove "$(lab_client_address au 4)/32"
ok "and found" lab_wait 10 lands_at_home

done_testing
