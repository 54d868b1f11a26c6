#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A private PostgreSQL cluster in DIR: unix socket only, as an unprivileged user when run as root.
#
#   cluster.sh start DIR    make it if it is not there, start it if it is not running; print conninfo
#   cluster.sh conninfo DIR print conninfo
#   cluster.sh stop DIR     stop it, keep the data (harmless if it does not run)
#   cluster.sh crash DIR    stop it as a power cut would (pg_ctl -m immediate)
#   cluster.sh pid DIR      print the server's pid; exit 1 if it does not run
#   cluster.sh destroy DIR  stop it and remove everything
#
# Leftovers of a crash never stop the next start: a half-made cluster is made anew, a stale pid or
# socket file is replaced. Durability is off on purpose: these clusters are for tests and the lab.
set -eu

die() {
	echo "cluster.sh: $*" >&2
	exit 1
}

[ $# -eq 2 ] || die "usage: cluster.sh start|conninfo|stop|crash|pid|destroy DIR"
command=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)

find_bin() {
	for candidate in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -n -r); do
		[ -x "$candidate/initdb" ] && [ -x "$candidate/pg_ctl" ] && {
			echo "$candidate"
			return
		}
	done
	command -v initdb >/dev/null 2>&1 && dirname "$(command -v initdb)"
}
bin=$(find_bin)
[ -n "$bin" ] || die "no PostgreSQL server programs (initdb, pg_ctl): install package postgresql"

# The server refuses to run as root. Anyone else runs it as himself.
as=""
if [ "$(id -u)" -eq 0 ]; then
	as=nobody
	id -u postgres >/dev/null 2>&1 && as=postgres
fi

run() {
	if [ -n "$as" ]; then
		(cd / && exec setpriv --reuid "$as" --regid "$(id -g "$as")" --clear-groups \
			env HOME=/nonexistent "$@")
	else
		(cd / && exec "$@")
	fi
}

# Data lives in DIR, unless the unprivileged user cannot get there (a clone below /root). Sockets
# need short paths (107 bytes), so they have a folder of their own.
key=$(printf '%s' "$dir" | sha256sum | cut -c1-12)
base=$dir
if [ -n "$as" ] && ! run test -x "$dir" 2>/dev/null; then
	base=/var/tmp/geostream-pg-$key
fi
data=$base/data
socket=/tmp/gs-pg-$key

conninfo() {
	echo "host=$socket port=5432 user=geostream dbname=geostream"
}

# A folder of ours in a place where others may write: made with mode 700, never one of theirs.
own_folder() {
	[ ! -L "$1" ] || die "$1 is a symbolic link: remove it"
	mkdir -m 700 "$1" 2>/dev/null || [ -d "$1" ] || die "cannot make $1"
	owner=$(stat -c %u "$1")
	want=$(id -u ${as:+"$as"})
	if [ "$owner" != "$want" ]; then
		if [ "$(id -u)" -ne 0 ] || [ "$owner" -ne 0 ]; then
			die "$1 belongs to uid $owner: remove it"
		fi
		chown "$as" "$1"
	fi
	chmod 700 "$1"
}

# A killed server nobody has reaped still has a pid, which fools pg_ctl and the server's own check.
running() {
	[ -f "$data/postmaster.pid" ] || return 1
	if grep -qs '^State:[[:space:]]*Z' "/proc/$(head -n 1 "$data/postmaster.pid")/status"; then
		rm -f "$data/postmaster.pid"
		return 1
	fi
	run "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1
}

stop() {
	running || return 0
	run "$bin/pg_ctl" -D "$data" -m "$1" -w -t 60 stop >/dev/null || die "cannot stop $data"
}

create() {
	rm -rf "$data"
	own_folder "$data"
	run "$bin/initdb" -D "$data" --username=geostream --auth=trust --encoding=UTF8 \
		--locale=C.UTF-8 --no-sync >"$base/initdb.log" 2>&1 ||
		die "initdb failed: $(tail -n 3 "$base/initdb.log")"
	cat >>"$data/postgresql.conf" <<-CONF
		listen_addresses = ''
		port = 5432
		unix_socket_directories = '$socket'
		unix_socket_permissions = 0700
		fsync = off
		full_page_writes = off
		shared_buffers = 32MB
		max_connections = 250
		autovacuum_naptime = 10
		log_line_prefix = '%m [%p] %a '
		log_min_messages = warning
		timezone = 'UTC'
	CONF
}

# Children of a killed server may hold its shared memory for a moment: try again for a while.
launch() {
	tries=0
	until run "$bin/pg_ctl" -D "$data" -l "$data/server.log" -w -t 60 start \
		>/dev/null 2>&1 </dev/null; do
		tries=$((tries + 1))
		[ "$tries" -lt 50 ] && grep -q 'shared memory' "$data/server.log" || return 1
		timeout 0.1 tail -f /dev/null || :
	done
}

start() {
	if [ "$base" != "$dir" ]; then
		own_folder "$base"
	fi
	[ -f "$data/gs_initialised" ] || {
		stop immediate
		create
	}
	running || {
		# What is in the socket folder belongs to a server that is gone.
		rm -f "$socket/.s.PGSQL.5432" "$socket/.s.PGSQL.5432.lock"
		own_folder "$socket"
		launch || die "the server does not start: $(tail -n 3 "$data/server.log" 2>/dev/null)"
	}
	[ -f "$data/gs_initialised" ] || {
		run "$bin/createdb" -h "$socket" -U geostream geostream
		touch "$data/gs_initialised"
	}
	conninfo
}

case $command in
start) start ;;
conninfo) conninfo ;;
stop) stop fast ;;
crash) stop immediate ;;
pid)
	running || exit 1
	head -n 1 "$data/postmaster.pid"
	;;
destroy)
	stop immediate
	rm -rf "$data" "$socket" "$base/initdb.log"
	[ "$base" = "$dir" ] || rm -rf "$base"
	rmdir "$dir" 2>/dev/null || :
	;;
*) die "no command '$command': start, conninfo, stop, crash, pid, destroy" ;;
esac
