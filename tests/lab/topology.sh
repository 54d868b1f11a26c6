# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's network: namespaces, links, addresses, web servers. Sourced; README.md has the picture.
#
# Several labs live beside each other: LAB_PREFIX starts the names of namespaces, LAB_DIR holds
# configuration, logs and state. Nothing is made outside those namespaces but files below LAB_DIR,
# and no namespace has a link to the machine's own: nothing gets out.
#
# What runs in a namespace of ours is ours: lab_down ends exactly those processes, also after a
# crash that forgot their pids.

LAB_PREFIX=${LAB_PREFIX:-gs}
BUILD=${BUILD:-build}
LAB_DIR=${LAB_DIR:-$PWD/$BUILD/lab}
LAB_VIP4=198.51.100.10
LAB_VIP6=2001:db8:100::10
LAB_EDGE4=192.0.2.2
LAB_EDGE6=2001:db8:0:e::2
LAB_UPLINK=gs-uplink # the edge's interface; a name no machine's own NIC has
LAB_REGIONS=(eu us ap)
# Six countries on six continents; their addresses are chosen in the database's own source.
LAB_CLIENTS=(de ke us br jp au)
LAB_KIT=${LAB_KIT:-/sys/fs/bpf/$LAB_PREFIX-kit} # pins of the backends' kits
LAB_PASS=${LAB_PASS:-$PWD/$BUILD/bpf/lab_pass.bpf.o}
LAB_TOR=${LAB_TOR:-/usr/share/tor}
LAB_GATEWAY4=169.254.1.1 # of every client and backend, on its own link
LAB_GATEWAY6=fe80::1
unset http_proxy all_proxy ALL_PROXY # this machine's way out is none of the lab's

# ---- names ---------------------------------------------------------------------------------------

lab_region_number() { # REGION
	local i
	for i in "${!LAB_REGIONS[@]}"; do
		if [[ ${LAB_REGIONS[i]} == "$1" ]]; then
			printf '%d\n' $((i + 1))
			return
		fi
	done
	return 1
}

lab_backends() {
	local region
	for region in "${LAB_REGIONS[@]}"; do
		printf '%s-1\n%s-2\n' "$region" "$region"
	done
}

# Every namespace's short name: the whole list, so that another lab's are never touched.
lab_spaces() {
	printf '%s\n' internet edge
	printf 'client-%s\n' "${LAB_CLIENTS[@]}"
	printf 'region-%s\n' "${LAB_REGIONS[@]}"
	lab_backends
}

# Those a test has opened beside them.
LAB_MORE_SPACES=()
lab_all_spaces() {
	lab_spaces
	printf '%s' "${LAB_MORE_SPACES[@]/%/$'\n'}"
}

lab_path() { # SPACE
	printf '/run/netns/%s-%s\n' "$LAB_PREFIX" "$1"
}

# `ip netns exec` would mount another /sys and hide the bpffs.
lab_in() { # SPACE COMMAND...
	nsenter --net="/run/netns/$LAB_PREFIX-$1" "${@:2}"
}

lab_client_address() { # COUNTRY 4|6
	awk -v name="$1" -v field=$((($2 - 4) / 2 + 2)) '$1 == name { print $field }' \
		"$LAB_DIR/clients"
}

# ---- client addresses ----------------------------------------------------------------------------

# An IPv4 address of the country: the 10th of its largest range.
pick_address4() { # COUNTRY
	awk -F , -v country="${1^^}" '
	$3 == country && $2 - $1 > size { size = $2 - $1; first = $1 }
	END {
		if (!size)
			exit 1
		first += 10
		printf "%d.%d.%d.%d\n", int(first / 16777216), int(first / 65536) % 256,
			int(first / 256) % 256, first % 256
	}' "$LAB_TOR/geoip"
}

# An IPv6 address of the country: ::10 of its first range that is at least a /32 in one of the
# registries' large blocks (not in 2001::, where Teredo, benchmarks and documentation are).
pick_address6() { # COUNTRY
	awk -F , -v country="${1^^}" '
	$3 == country && $1 ~ /^2[468ac][0-9a-f]+:[0-9a-f]+::$/ {
		print $1 "10"
		found = 1
		exit
	}
	END { exit !found }' "$LAB_TOR/geoip6"
}

pick_clients() {
	local country address4 address6
	for country in "${LAB_CLIENTS[@]}"; do
		if ! address4=$(pick_address4 "$country") || ! address6=$(pick_address6 "$country"); then
			printf 'lab: %s has no address in %s/geoip and geoip6\n' "$country" "$LAB_TOR" >&2
			return 1
		fi
		printf '%s %s %s\n' "$country" "$address4" "$address6"
	done >"$LAB_DIR/clients"
}

# ---- links ---------------------------------------------------------------------------------------

# A link between two namespaces. Checksums are filled in by the sender's stack: veth would hand
# over packets without them, and what XDP encapsulates then arrives broken.
link_spaces() { # SPACE_A DEV_A SPACE_B DEV_B
	ip link add "$2" netns "$LAB_PREFIX-$1" type veth peer name "$4" netns "$LAB_PREFIX-$3" &&
		lab_in "$1" ethtool -K "$2" tx off >/dev/null &&
		lab_in "$3" ethtool -K "$4" tx off >/dev/null &&
		ip -n "$LAB_PREFIX-$1" link set "$2" up &&
		ip -n "$LAB_PREFIX-$3" link set "$4" up
}

configure() { # SPACE; ip commands on standard input
	ip -n "$LAB_PREFIX-$1" -batch -
}

# Replies leave by another way than requests come (direct return): no reverse path filter.
# shellcheck disable=SC2016 # a script for another shell
space_settings='
for name in all default; do
	echo 0 >/proc/sys/net/ipv4/conf/$name/rp_filter
	echo 0 >/proc/sys/net/ipv6/conf/$name/disable_ipv6
	echo 0 >/proc/sys/net/ipv6/conf/$name/accept_dad
	echo 0 >/proc/sys/net/ipv6/conf/$name/accept_ra
done
echo "$1" >/proc/sys/net/ipv4/ip_forward
echo "$1" >/proc/sys/net/ipv6/conf/all/forwarding
'

make_space() { # SPACE FORWARD
	ip netns add "$LAB_PREFIX-$1" &&
		lab_in "$1" sh -ec "$space_settings" settings "$2" &&
		ip -n "$LAB_PREFIX-$1" link set lo up
}

make_spaces() {
	local space forward
	for space in $(lab_spaces); do
		forward=0
		[[ $space == internet || $space == region-* ]] && forward=1
		make_space "$space" "$forward" || return 1
	done
}

# One more, which lab_down ends like the others, with all that runs in it.
lab_space_open() { # SPACE
	if [[ -e $(lab_path "$1") ]]; then # of a run that was killed
		ip netns pids "$LAB_PREFIX-$1" | xargs -r kill -KILL
		ip netns del "$LAB_PREFIX-$1" || return 1
	fi
	LAB_MORE_SPACES+=("$1")
	make_space "$1" 0
}

make_edge() {
	link_spaces edge "$LAB_UPLINK" internet edge || return 1
	# What XDP_TX sends arrives at once only if the other end has a program too.
	lab_in internet ip link set dev edge xdpdrv obj "$LAB_PASS" sec xdp || return 1
	configure edge <<-IP || return 1
		addr add $LAB_EDGE4/30 dev $LAB_UPLINK
		addr add $LAB_EDGE6/64 dev $LAB_UPLINK nodad
		route add default via 192.0.2.1
		route add default via 2001:db8:0:e::1
	IP
	configure internet <<-IP
		addr add 192.0.2.1/30 dev edge
		addr add 2001:db8:0:e::1/64 dev edge nodad
		route add $LAB_VIP4/32 via $LAB_EDGE4
		route add $LAB_VIP6/128 via $LAB_EDGE6
	IP
}

# One host behind a router that has $LAB_GATEWAY4 and _GATEWAY6 on the link.
attach_host() { # SPACE ROUTER_SPACE ROUTER_DEV ADDRESS4 ADDRESS6
	link_spaces "$1" wan "$2" "$3" || return 1
	configure "$1" <<-IP || return 1
		addr add $4/32 dev wan
		addr add $5/128 dev wan nodad
		route add default via $LAB_GATEWAY4 dev wan onlink
		route add default via $LAB_GATEWAY6 dev wan
	IP
	configure "$2" <<-IP
		addr add $LAB_GATEWAY4/32 dev $3
		addr add $LAB_GATEWAY6/64 dev $3 nodad
		route add $4/32 dev $3
		route add $5/128 dev $3
	IP
}

make_clients() {
	local country address4 address6
	while read -r country address4 address6; do
		attach_host "client-$country" internet "client-$country" "$address4" \
			"$address6" || return 1
	done <"$LAB_DIR/clients"
}

# The backend kit, or other options of one that is there. It also asks clients for segments that
# fit the tunnel.
lab_kit() { # BACKEND [OPTION...]
	lab_in "$1" "$BUILD/geostream-loader" decap attach wan --pin-dir "$LAB_KIT/$1" --mode native \
		--edge "$LAB_EDGE4" --edge "$LAB_EDGE6" --vip "$LAB_VIP4" --vip "$LAB_VIP6" "${@:2}"
}

make_region() { # REGION
	local region=$1 n backend i
	n=$(lab_region_number "$region")
	link_spaces "region-$region" wan internet "region-$region" || return 1
	configure "region-$region" <<-IP || return 1
		addr add 100.64.$n.2/30 dev wan
		addr add fd00:ff:$n::2/64 dev wan nodad
		route add default via 100.64.$n.1
		route add default via fd00:ff:$n::1
	IP
	configure internet <<-IP || return 1
		addr add 100.64.$n.1/30 dev region-$region
		addr add fd00:ff:$n::1/64 dev region-$region nodad
		route add 10.$n.0.0/16 via 100.64.$n.2
		route add fd00:$n::/64 via fd00:ff:$n::2
	IP
	for i in 1 2; do
		backend=$region-$i
		attach_host "$backend" "region-$region" "$backend" "10.$n.0.1$i" "fd00:$n::1$i" || return 1
		configure "$backend" <<-IP || return 1
			addr add $LAB_VIP4/32 dev lo
			addr add $LAB_VIP6/128 dev lo nodad
		IP
		lab_kit "$backend" || return 1
	done
}

# ---- web servers ---------------------------------------------------------------------------------

write_nginx() { # BACKEND
	cat >"$LAB_DIR/$1/nginx.conf" <<-NGINX
		user www-data;
		worker_processes 1;
		pid $LAB_DIR/$1/nginx.pid;
		error_log $LAB_DIR/$1/error.log warn;
		events { worker_connections 1024; }
		http {
			access_log off;
			client_body_temp_path $LAB_DIR/$1/tmp;
			proxy_temp_path $LAB_DIR/$1/tmp;
			fastcgi_temp_path $LAB_DIR/$1/tmp;
			uwsgi_temp_path $LAB_DIR/$1/tmp;
			scgi_temp_path $LAB_DIR/$1/tmp;
			default_type application/json;
			server {
				listen 80 backlog=4096;
				listen [::]:80 ipv6only=on backlog=4096;
				listen 8080 backlog=4096;
				listen [::]:8080 ipv6only=on backlog=4096;
				location = /health { return 200 "ok\n"; }
				location = /whoami {
					return 200 '{"backend":"$1","region":"${1%-*}","client":"\$remote_addr"}\n';
				}
			}
		}
	NGINX
}

lab_backend_start() { # BACKEND
	mkdir -p "$LAB_DIR/$1/tmp"
	write_nginx "$1"
	lab_in "$1" nginx -e "$LAB_DIR/$1/error.log" -p "$LAB_DIR/$1" -c "$LAB_DIR/$1/nginx.conf"
}

# Its connections end, and whoever comes now is answered with a reset.
lab_backend_stop() { # BACKEND
	local pid
	pid=$(cat "$LAB_DIR/$1/nginx.pid" 2>/dev/null) || return 0
	kill -TERM "$pid" 2>/dev/null || return 0
	lab_wait 10 lab_is_gone "$pid"
}

lab_is_gone() { # PID
	[[ ! -e /proc/$1 ]]
}

# ---- the weather ---------------------------------------------------------------------------------

lab_region_reset() { # REGION
	lab_backend_stop "$1-1"
	lab_backend_stop "$1-2"
}

# Everything that would pass the region's router disappears, ICMP errors about it too.
lab_region_blackhole() { # REGION
	lab_in "region-$1" ip rule add pref 1 blackhole
	lab_in "region-$1" ip -6 rule add pref 1 blackhole
}

lab_region_heal() { # REGION
	local backend
	while lab_in "region-$1" ip rule del pref 1 2>/dev/null; do :; done
	while lab_in "region-$1" ip -6 rule del pref 1 2>/dev/null; do :; done
	for backend in "$1-1" "$1-2"; do
		if ! [[ -e /proc/$(cat "$LAB_DIR/$backend/nginx.pid" 2>/dev/null || echo none) ]]; then
			lab_backend_start "$backend"
		fi
	done
}
# It takes all its clients' flows again, as the daemon sees it: up, and no breaker's ramp is under way.
lab_region_is_whole() { # REGION
	[[ $(lab_ctl -j status | jq -r ".regions[] | select(.name == \"$1\").state") == up ]] &&
		lab_ctl -j breaker list | jq -e "[.breakers[] | select(.region == \"$1\")]
			| length > 0 and all(.state == \"closed\" and (has(\"accept_percent\") | not))" >/dev/null
}

# ---- up and down ---------------------------------------------------------------------------------

# A pipe nobody writes to: reading with a timeout waits without a process.
exec {LAB_TICK}<> <(:)

# A signal's trap only sets LAB_ENDING: bash 5.2 crashes if a trap exits in the middle of `read -t`
# and the EXIT trap reads again.
LAB_ENDING= # or the exit code

lab_pause() { # SECONDS
	read -r -t "$1" -u "$LAB_TICK" || :
	lab_end_if_asked
}

lab_end_if_asked() {
	if [[ -n $LAB_ENDING ]]; then
		exit "$LAB_ENDING"
	fi
}

# shellcheck source=tests/wait.sh
. tests/wait.sh
lab_wait() { # SECONDS COMMAND...
	wait_until lab_pause "$@"
}

lab_pids() {
	local space
	for space in $(lab_all_spaces); do
		if [[ -e $(lab_path "$space") ]]; then
			ip netns pids "$LAB_PREFIX-$space" 2>/dev/null
		fi
	done
}

lab_no_process() {
	[[ -z $(lab_pids) ]]
}

lab_kill() { # SIGNAL
	local pids
	mapfile -t pids < <(lab_pids)
	if ((${#pids[@]})); then
		kill -"$1" "${pids[@]}" 2>/dev/null || :
	fi
}

# Removes the network whatever state it is in. Harmless when there is none.
lab_network_down() {
	local space
	lab_kill TERM
	lab_wait 5 lab_no_process || {
		lab_kill KILL
		lab_wait 5 lab_no_process
	}
	for space in $(lab_all_spaces); do
		if [[ -e $(lab_path "$space") ]]; then
			ip netns del "$LAB_PREFIX-$space"
		fi
	done
	rm -rf "$LAB_KIT"
}

lab_network_up() {
	local region backend
	lab_network_down
	mkdir -p "$LAB_DIR"
	pick_clients || return 1
	make_spaces && make_edge && make_clients || return 1
	for region in "${LAB_REGIONS[@]}"; do
		make_region "$region" || return 1
	done
	for backend in $(lab_backends); do
		lab_backend_start "$backend" || return 1
	done
}
