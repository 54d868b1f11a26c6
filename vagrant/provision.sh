#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# provision.sh edge|eu|us|client [stop]: makes this machine that part of the picture in README.md, as
# root; again does no harm. The interfaces are found by the addresses they have (Vagrantfile).
#
# tests/e2e/37-vagrant.sh runs the same steps in network namespaces. For that:
#   GS_TREE      the source tree (/vagrant)
#   GS_PROGRAMS  a build folder whose programs to use; without it they are built and installed
#   GS_STATE     what this machine keeps (/var/lib/geostream)
#   GS_CONF      geostream.conf (/etc/geostream/geostream.conf)
#   GS_PIN_DIR   where maps are pinned (/sys/fs/bpf/geostream); the backends' kit beside it, -decap
set -euo pipefail

TREE=${GS_TREE:-/vagrant}
STATE=${GS_STATE:-/var/lib/geostream}
CONF=${GS_CONF:-/etc/geostream/geostream.conf}
PIN_DIR=${GS_PIN_DIR:-/sys/fs/bpf/geostream}

VIP=198.51.100.10
FRONT=192.168.61
BACK=192.168.62
# The client's addresses in the world: of Germany and of the United States in the GeoIP database.
CLIENTS=(53.0.0.10 28.0.0.10)

say() {
	printf '== %s: %s\n' "$role" "$*"
}

die() {
	printf 'provision.sh: %s\n' "$*" >&2
	exit 1
}

# The interface that has an address.
interface_of() { # ADDRESS
	local name
	name=$(ip -o -4 address show to "$1" | awk 'NR == 1 { print $2 }')
	[[ -n $name ]] || die "no interface has $1"
	printf '%s\n' "$name"
}

# A tunnel changes what offloads have promised about a packet: sums are made where it is sent.
plain_packets() { # INTERFACE
	ethtool -K "$1" tx off gro off >/dev/null 2>&1 || :
}

# Answers go another way than questions come: no reverse path filter.
settings() {
	local name
	for name in /proc/sys/net/ipv4/conf/*; do
		echo 0 >"$name/rp_filter"
	done
	echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce
	echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
}

# ---- programs --------------------------------------------------------------------------------------

build() {
	if [[ -n ${GS_PROGRAMS:-} ]]; then
		PATH=$GS_PROGRAMS:$PATH
		OBJECTS=$GS_PROGRAMS/bpf
		GEOIP=$GS_PROGRAMS/geoip/geostream-country.mmdb
		return
	fi
	say "building and installing"
	"$TREE/.ci/packages.sh"
	make -C "$TREE" BUILD=/var/tmp/geostream-build install
	OBJECTS=/usr/lib/geostream/bpf
	GEOIP=/usr/share/geostream/geostream-country.mmdb
}

# A program in the background, once. Its words go to $STATE/NAME.log.
start() { # NAME COMMAND...
	local name=$1 program
	program=$(command -v "$2")
	shift 2
	start-stop-daemon --start --oknodo --background --make-pidfile --pidfile "$STATE/$name.pid" \
		--output "$STATE/$name.log" --startas "$program" -- "$@"
}

stop() { # NAME
	start-stop-daemon --stop --oknodo --retry 10 --remove-pidfile --pidfile "$STATE/$1.pid" >/dev/null
}

# ---- roles -----------------------------------------------------------------------------------------

client() {
	local address
	plain_packets "$(interface_of "$FRONT.10")"
	for address in "${CLIENTS[@]}"; do
		ip address replace "$address/32" dev lo
	done
	ip route replace "$VIP/32" via "$FRONT.2"
	say "try: $TREE/vagrant/try.sh"
}

write_nginx() { # REGION
	mkdir -p "$STATE/tmp"
	cat >"$STATE/nginx.conf" <<-NGINX
		user www-data;
		worker_processes 1;
		daemon off;
		pid $STATE/nginx.own.pid;
		error_log $STATE/error.log warn;
		events { worker_connections 1024; }
		http {
			access_log off;
			client_body_temp_path $STATE/tmp;
			proxy_temp_path $STATE/tmp;
			fastcgi_temp_path $STATE/tmp;
			uwsgi_temp_path $STATE/tmp;
			scgi_temp_path $STATE/tmp;
			default_type application/json;
			server {
				listen 80;
				location = /health { return 200 "ok\n"; }
				location = /whoami {
					return 200 '{"region":"$1","client":"\$remote_addr"}\n';
				}
			}
		}
	NGINX
}

region() { # REGION ADDRESS
	local name address
	name=$(interface_of "$2")
	plain_packets "$name"
	ip address replace "$VIP/32" dev lo
	# Straight back to the client.
	for address in "${CLIENTS[@]}"; do
		ip route replace "$address/32" via "$BACK.10"
	done
	say "decapsulator on $name"
	geostream-loader decap attach "$name" --mode generic --pin-dir "$PIN_DIR-decap/$1" \
		--edge "$BACK.0/24" --vip "$VIP"
	write_nginx "$1"
	start nginx nginx -e "$STATE/error.log" -p "$STATE" -c "$STATE/nginx.conf"
	say "web server on port 80"
}

write_conf() { # CONNINFO
	mkdir -p "$(dirname "$CONF")"
	cat >"$CONF" <<-CONFIG
		database = $1
		edge = vagrant
		geoip = $GEOIP
		pin_dir = $PIN_DIR
		socket = $STATE/geostreamd.sock
		state_dir = $STATE
	CONFIG
}

is_ready() {
	geostreamctl --config "$CONF" status
}

wait_until_ready() {
	local deadline=$((SECONDS + 30))
	until is_ready >/dev/null 2>&1; do
		((SECONDS < deadline)) || die "the daemon does not answer; it said: $(tail -n 5 "$STATE/geostreamd.log")"
		sleep 0.2
	done
}

edge() {
	local front
	front=$(interface_of "$FRONT.2")
	plain_packets "$front"
	plain_packets "$(interface_of "$BACK.2")"
	say "PostgreSQL, schema, configuration"
	write_conf "$("$TREE/tests/db/cluster.sh" start "$STATE/db")"
	geostreamctl --config "$CONF" db migrate
	geostreamctl --config "$CONF" apply -f "$TREE/vagrant/site.json"
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
	if [[ -e $PIN_DIR/link-$front ]]; then
		geostream-loader replace "$front" --pin-dir "$PIN_DIR" --object "$OBJECTS/gs_xdp.bpf.o"
	else
		# Generic: the virtual NICs of most machines cannot do it in the driver.
		geostream-loader attach "$front" --mode generic --pin-dir "$PIN_DIR" \
			--object "$OBJECTS/gs_xdp.bpf.o"
	fi
	start geostreamd geostreamd --config "$CONF"
	wait_until_ready
	geostreamctl --config "$CONF" status
}

stop_region() { # ADDRESS
	stop nginx
	geostream-loader decap detach "$(interface_of "$1")" --pin-dir "$PIN_DIR-decap/$role"
}

stop_role() {
	case $role in
	edge)
		stop geostreamd
		geostream-loader detach "$(interface_of "$FRONT.2")" --purge --pin-dir "$PIN_DIR"
		"$TREE/tests/db/cluster.sh" stop "$STATE/db"
		;;
	eu) stop_region "$BACK.11" ;;
	us) stop_region "$BACK.12" ;;
	esac
}

role=${1:-}
[[ $role =~ ^(edge|eu|us|client)$ && ${2:-stop} == stop && $# -le 2 ]] ||
	die "usage: provision.sh edge|eu|us|client [stop]"
(($(id -u) == 0)) || die "this changes addresses and routes: as root"
mkdir -p "$STATE"
build
if (($# == 2)); then
	stop_role
	exit
fi
settings
case $role in
edge) edge ;;
eu) region eu "$BACK.11" ;;
us) region us "$BACK.12" ;;
client) client ;;
esac
say "done"
