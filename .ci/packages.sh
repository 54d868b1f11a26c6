#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The Debian 12 packages that building, running and testing GeoStream needs.
#
#   nothing missing               says nothing, exit 0
#   root on Debian 12             installs what is missing; starts none of the services that come
#                                 with it and makes no PostgreSQL cluster
#   anybody else, anywhere else   names what is missing, exit 1
set -eu

PACKAGES="
	make gcc libc6-dev pkg-config git scdoc
	clang llvm libclang-rt-14-dev clang-format clang-tidy shellcheck ruby
	libbpf-dev libxdp-dev xdp-tools bpftool
	libpq-dev libmaxminddb-dev libjansson-dev libmnl-dev libmicrohttpd-dev libcmocka-dev
	libssl-dev libnghttp2-dev openssl
	postgresql-15 postgresql-client-15 pgbouncer nginx-light prometheus wrk
	tor-geoipdb mmdb-bin tzdata
	iproute2 iputils-ping ethtool curl jq strace procps util-linux xz-utils
	qemu-system-x86 busybox-static cpio ca-certificates
"
# Units that would start with the machine from now on. They are not ours to start.
UNITS="nginx.service tor.service postgresql.service pgbouncer.service prometheus.service"

POLICY=/usr/sbin/policy-rc.d
CREATECLUSTER=/etc/postgresql-common/createcluster.conf

say() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Those of $PACKAGES that are not there, separated by blanks.
missing_packages() {
	for package in $PACKAGES; do
		is_installed "$package" || printf '%s ' "$package"
	done
}

is_debian_12() {
	[ -r /etc/os-release ] && (
		# shellcheck source=/dev/null
		. /etc/os-release
		[ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ]
	)
}

apt() {
	DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o Acquire::Retries=5 -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
		-o Dpkg::Options::=--force-confold "$@" </dev/null >&2
}

# A mirror that fails once often answers half a minute later.
persistently() {
	for pause in 5 15 30 0; do
		"$@" && return 0
		[ "$pause" -gt 0 ] || break
		say "'$*' failed, once more in $pause s"
		sleep "$pause"
	done
	return 1
}

forbid_services() {
	# One saved by a run that was killed is the machine's own; $POLICY is then ours.
	if [ -e "$POLICY" ] && [ ! -e "$POLICY.geostream-saved" ]; then
		mv "$POLICY" "$POLICY.geostream-saved"
	fi
	printf '#!/bin/sh\nexit 101\n' >"$POLICY"
	chmod 755 "$POLICY"
}

allow_services() {
	rm -f "$POLICY"
	if [ -e "$POLICY.geostream-saved" ]; then
		mv "$POLICY.geostream-saved" "$POLICY"
	fi
	if [ -e "$CREATECLUSTER.geostream-saved" ]; then
		mv "$CREATECLUSTER.geostream-saved" "$CREATECLUSTER"
	fi
}

# postgresql-15 makes and starts a cluster unless postgresql-common, there before it, says no.
forbid_cluster() {
	[ -e "$CREATECLUSTER" ] || return 0
	cp -p "$CREATECLUSTER" "$CREATECLUSTER.geostream-saved"
	printf 'create_main_cluster = false\n' >>"$CREATECLUSTER"
}

install_packages() {
	say "installing: $*"
	trap allow_services EXIT
	trap 'exit 130' INT TERM HUP
	forbid_services
	persistently apt update || say "apt-get update failed; trying with the lists there are"
	if ! is_installed postgresql-15; then
		persistently apt install --no-install-recommends postgresql-common
		forbid_cluster
	fi
	persistently apt install --no-install-recommends "$@"
}

# Only what this run brought: an nginx that was there before keeps starting at boot.
disable_units() {
	command -v systemctl >/dev/null || return 0
	for unit in $UNITS; do
		case " $UNITS_BEFORE " in
		*" $unit "*) ;;
		*) systemctl disable "$unit" >/dev/null 2>&1 || : ;;
		esac
	done
}

units_present() {
	for unit in $UNITS; do
		if [ -e "/lib/systemd/system/$unit" ]; then
			printf '%s ' "$unit"
		fi
	done
}

MISSING=$(missing_packages)
MISSING=${MISSING% }
[ -n "$MISSING" ] || exit 0
if ! is_debian_12; then
	say "GeoStream is built on Debian 12, and this is not it; it needs, by Debian's names: $MISSING"
	say "if all of that is here under other names, 'mkdir -p build && touch build/.deps' says so"
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	say "missing packages: $MISSING"
	say "as root: apt-get install --no-install-recommends $MISSING   (or: sudo make deps)"
	exit 1
fi
UNITS_BEFORE=$(units_present)
# shellcheck disable=SC2086 # a list of names
install_packages $MISSING
disable_units
MISSING=$(missing_packages)
if [ -n "$MISSING" ]; then
	say "still missing after the installation: $MISSING"
	exit 1
fi
