#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vagrant/provision.sh, in network namespaces instead of virtual machines: each role's steps run as they
# do there, but for building and installing; then the client's requests go where README.md says.
#
#	client eth1 --- front --- eth1 edge eth2 --- back --- eth1 eu
#	       eth2 -------------------------------- back --- eth1 us
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/e2e/lib.sh
. tests/e2e/lib.sh

BUILD=${BUILD:-build}
NAME=gs-v37-$$
PINS=/sys/fs/bpf/$NAME
WORK=$PWD/$BUILD/test-vagrant
unset http_proxy all_proxy ALL_PROXY

inside() { # MACHINE COMMAND...
	local space=$1
	shift
	nsenter --net="/run/netns/$NAME-$space" "$@"
}

provision() { # MACHINE [stop]
	inside "$1" env GS_TREE="$PWD" GS_PROGRAMS="$PWD/$BUILD" GS_STATE="$WORK/$1" \
		GS_CONF="$WORK/$1/geostream.conf" GS_PIN_DIR="$PINS" vagrant/provision.sh "$@"
}

ctl() {
	inside edge "$BUILD/geostreamctl" --config "$WORK/edge/geostream.conf" "$@"
}

clean() {
	local machine
	for machine in edge eu us; do
		provision "$machine" stop
	done
	tests/db/cluster.sh destroy "$WORK/edge/db"
	for machine in client edge eu us switch; do
		ip netns del "$NAME-$machine"
	done
	rm -rf "$WORK" "$PINS" "$PINS-decap"
}

# What Vagrant does: machines, networks, one address an interface.
plug() { # MACHINE INTERFACE NETWORK ADDRESS
	ip link add "$2" netns "$NAME-$1" type veth peer name "$1-$2" netns "$NAME-switch" &&
		ip -n "$NAME-switch" link set "$1-$2" master "$3" up &&
		ip -n "$NAME-$1" address add "$4/24" dev "$2" &&
		ip -n "$NAME-$1" link set "$2" up
}

machines() {
	local machine network
	for machine in client edge eu us switch; do
		ip netns add "$NAME-$machine" && ip -n "$NAME-$machine" link set lo up || return 1
	done
	for network in front back; do
		ip -n "$NAME-switch" link add "$network" type bridge &&
			ip -n "$NAME-switch" link set "$network" up || return 1
	done
	plug client eth1 front 192.168.61.10 && plug client eth2 back 192.168.62.10 &&
		plug edge eth1 front 192.168.61.2 && plug edge eth2 back 192.168.62.2 &&
		plug eu eth1 back 192.168.62.11 && plug us eth1 back 192.168.62.12
}

tried() { # EXPRESSION
	inside client vagrant/try.sh >"$TAP_WORK/tried" 2>&1
	diag <"$TAP_WORK/tried" >&2
	grep -q "$1" "$TAP_WORK/tried"
}

mkdir -p "$WORK"
at_exit clean
need "four machines on two networks" machines
for machine in eu us edge client; do
	ok "provision $machine" provision "$machine"
done
ok "the German address is served by eu" wait_for 20 tried '^53.*"region":"eu","client":"53.0.0.10"'
ok "the American one by us" wait_for 20 tried '^28.*"region":"us","client":"28.0.0.10"'
ok "provisioning the edge again does no harm" provision edge
ok "nor a region" provision us
ok "and requests go on" wait_for 20 tried '^28.*"region":"us"'
ok "us drains" ctl region set us admin=drain
ok "then eu serves America" wait_for 20 tried '^28.*"region":"eu"'
ok "us returns" ctl region set us admin=auto
ok "and serves it again" wait_for 20 tried '^28.*"region":"us"'
ok "eu's web server stops" provision eu stop
ok "then us serves Germany" wait_for 20 tried '^53.*"region":"us"'
ok "eu returns" provision eu
ok "and serves it again" wait_for 20 tried '^53.*"region":"eu"'
refuses "an unknown role" provision mars
refuses "a word that is no verb" inside client env GS_STATE="$WORK/client" vagrant/provision.sh client start
done_testing
