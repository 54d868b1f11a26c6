# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# Part of init: the loader, and packets, on real bonds and VLAN interfaces. bond.c has the picture.
# The doctor's VIP is no address of this machine here: its kernel would answer for it.
ip -o address show to 198.51.100.10 | while read -r _ device _ address _; do
	ip address del "$address" dev "$device"
done
for module in tls bonding llc stp garp mrp 8021q; do
	insmod "/gs/$module.ko"
done
for port in 1 2 3; do
	ip link add "eth$port" address "02:00:00:00:00:0$port" type veth peer name "p$port"
done
vlan() { # BELOW NAME PROTOCOL ID ADDRESS
	ip link add link "$1" name "$2" type vlan proto "$3" id "$4" &&
		ip address add "$5/24" dev "$2" && ip link set "$2" up
}
bond() { # NAME PORT... -- OPTION...: anew
	bond=$1
	shift
	ip link del "$bond" 2>/dev/null
	ports=""
	while [ "$1" != -- ]; do
		ports="$ports $1"
		shift
	done
	shift
	ip link add "$bond" address 02:00:00:00:00:b0 type bond miimon 20 "$@" || return 1
	for port in $ports; do
		ip link set "$port" down && ip link set "$port" master "$bond" || return 1
	done
	ip link set "$bond" up
}

# As found and cures of init, of the check `bond`
bond_found() { # LEVEL REGEX
	doctor_says bond0 "$@"
}
port_found() { # LEVEL REGEX
	doctor_says eth1 "$@"
}
doctor_says() { # INTERFACE LEVEL REGEX
	loader doctor "$1" >/tmp/doctor
	grep -E "^(ok|warn|bad) +bond " /tmp/doctor >/tmp/finding
	grep -Eq "^$2 .*$3" /tmp/finding || { cat /tmp/doctor && return 1; }
}
no_offloads() {
	! grep -E "^(ok|warn|bad) +(lro|gro-hw|rxvlan) " /tmp/doctor
}
bond_cures() { # REGEX
	bond_found "(warn|bad)" "$1" || return 1
	eval "$(sed 's/.*  fix: //' /tmp/finding)" || return 1
	bond_found ok ""
}

# ---- where it may be attached --------------------------------------------------------------------
ok "a bond whose port has a program of its own" bond bond0 eth1 eth2 -- mode 802.3ad
ok "(it has)" xdp-loader load -m native eth1 /gs/bpf/bystander.bpf.o
refused "is refused" "its port eth1 has an XDP program of its own" loader attach bond0 --mode native
ok "doctor: and what to do" bond_cures "eth1 has an XDP program of its own"
ok "doctor: a bond that will do" bond_found ok "mode 802.3ad.* eth1 eth2$"
ok "doctor: what is its ports' matter is none of its own" no_offloads
ok "doctor: its port" port_found warn "a port of bond bond0.*fix: geostream-loader doctor bond0$"
refused "a port is refused" "a port of bond bond0: attach to bond0" loader attach eth1 --mode native
ok "that hash is refused" bond bond0 eth1 -- mode balance-xor xmit_hash_policy vlan+srcmac
refused "with the reason" "xmit_hash_policy vlan.srcmac has no native XDP" \
	loader attach bond0 --mode native
ok "doctor: another one will do" bond_cures "xmit_hash_policy vlan.srcmac"
ok "a bond in mode balance-alb" bond bond0 eth1 -- mode balance-alb
refused "is refused" "a bond in mode balance-alb has no native XDP" loader attach bond0 --mode native
ok "doctor: generic it may be" bond_found warn "mode balance-alb.*attach bond0 --mode generic$"
ok "and is" loader attach bond0 --mode generic
ok "off" loader detach bond0 --purge

# ---- packets -------------------------------------------------------------------------------------
ok "a bond" bond bond0 eth1 -- mode active-backup
ok "the loader attaches to it" loader attach bond0 --mode native
ip link set eth2 down
ip link set eth2 xdpdrv object /gs/bpf/bystander.bpf.o section xdp
refused "a NIC that brings a program cannot join" "[Nn]ot supported|XDP program" \
	ip link set eth2 master bond0
ip link set eth2 xdpdrv off
ok "without it, it can, later" ip link set eth2 master bond0
ok "and to another NIC" loader attach eth3 --mode native
ip link set eth3 up
ip address add 10.8.0.1/24 dev bond0
ip address add 10.9.0.1/24 dev eth3
ok "a VLAN on it" vlan bond0 bond0.10 802.1Q 10 10.8.10.1
ok "a VLAN on that" vlan bond0.10 bond0.10.20 802.1Q 20 10.8.20.1
ok "a service VLAN on the NIC" vlan eth3 eth3.30 802.1ad 30 10.9.30.1
ok "and one of a customer" vlan eth3.30 eth3.30.40 802.1Q 40 10.9.40.1
take BUILD=/gs CMOCKA_MESSAGE_OUTPUT=tap /gs/vm-bond
