/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loader/doctor.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <arpa/inet.h>
#include <string.h>

#define CHANGES_MAX 6

/* ---- a machine with nothing to complain of ----------------------------------------------------*/

static struct gs_doctor_facts healthy(bool is_backend)
{
	const struct gs_doctor_offload off = {.is_on = GS_FACT_NO};
	struct gs_doctor_facts facts = {
		.interface = "eth1",
		.is_backend = is_backend,
		.kernel_major = 6,
		.kernel_minor = 1,
		.page_bytes = 4096,
		.cpus = 8,
		.has_cap_bpf = GS_FACT_YES,
		.has_cap_net_admin = GS_FACT_YES,
		.has_cap_perfmon = GS_FACT_YES,
		.has_btf = GS_FACT_YES,
		.has_bpffs = GS_FACT_YES,
		.memlock_bytes = 65536,
		.exists = true,
		.is_up = true,
		.has_carrier = true,
		.is_ethernet = true,
		.driver = "ice",
		.mtu = 1540,
		.xdp_native = GS_FACT_YES,
		.xdp_redirect_out = GS_FACT_YES,
		.lro = off,
		.gro_hw = off,
		.rx_vlan = off,
		.tx_checksum = {.is_on = GS_FACT_YES},
		.rx_queues = 8,
		.rx_queues_max = 64,
		.are_queues_combined = true,
		.arp_ignore = 1,
		.arp_announce = 2,
		.is_attached = GS_FACT_NO,
	};

	if (!is_backend)
		return facts;
	strcpy(facts.decap_object, "/usr/lib/geostream/bpf/gs_decap.bpf.o");
	facts.vip_count = 2;
	facts.vips[0] = (struct gs_doctor_vip){"198.51.100.10", AF_INET, "lo", 32, false, true};
	facts.vips[1] = (struct gs_doctor_vip){"2001:db8::10", AF_INET6, "lo", 128, false, true};
	facts.tunnel_count = 2;
	facts.tunnels[0] = (struct gs_doctor_tunnel){"tunl0", GS_TUNNEL_IPIP, true, -1, 0};
	facts.tunnels[1] =
		(struct gs_doctor_tunnel){"ip6tnl0", GS_TUNNEL_IP6, true, IPPROTO_IPV6, 0};
	facts.route4 = (struct gs_doctor_route){GS_FACT_YES, 1540, 0, 0};
	facts.route6 = facts.route4;
	return facts;
}

struct change {
	size_t offset, size;
	uint64_t value;
};
#define IS(field, to)                                                                \
	{                                                                            \
		offsetof(struct gs_doctor_facts, field),                             \
			sizeof(((struct gs_doctor_facts *)0)->field), (uint64_t)(to) \
	}

static void apply(struct gs_doctor_facts *facts, const struct change *change)
{
	uint8_t one = (uint8_t)change->value;
	uint32_t four = (uint32_t)change->value;

	if (change->size == 1)
		memcpy((char *)facts + change->offset, &one, 1);
	else if (change->size == 4)
		memcpy((char *)facts + change->offset, &four, 4);
	else
		memcpy((char *)facts + change->offset, &change->value, change->size);
}

/* ---- facts -> the one finding -----------------------------------------------------------------*/

struct row {
	const char *name;
	const char *check, *remedy; /* NULL: nothing may be found */
	enum gs_level level;
	const char *driver;  /* NULL: as it is */
	const char *program; /* attached, not ours */
	struct change changes[CHANGES_MAX];
};

static const struct row edge_rows[] = {
	{"kernel 6.0", "kernel",
	 "apt-get install linux-image-$(dpkg --print-architecture) && reboot", GS_LEVEL_BAD,
	 .changes = {IS(kernel_minor, 0)}},
	{"kernel 5.15", "kernel",
	 "apt-get install linux-image-$(dpkg --print-architecture) && reboot", GS_LEVEL_BAD,
	 .changes = {IS(kernel_major, 5), IS(kernel_minor, 15)}},
	{"kernel 6.18", .changes = {IS(kernel_minor, 18)}},
	{"kernel 7.0", .changes = {IS(kernel_major, 7), IS(kernel_minor, 0)}},
	{"no CAP_BPF", "capabilities", "sudo geostream-loader doctor eth1", GS_LEVEL_BAD,
	 .changes = {IS(has_cap_bpf, GS_FACT_NO)}},
	{"no CAP_NET_ADMIN", "capabilities", "sudo geostream-loader doctor eth1", GS_LEVEL_BAD,
	 .changes = {IS(has_cap_net_admin, GS_FACT_NO)}},
	{"no CAP_PERFMON", "capabilities", "sudo geostream-loader doctor eth1", GS_LEVEL_BAD,
	 .changes = {IS(has_cap_perfmon, GS_FACT_NO)}},
	{"capabilities unknown",
	 .changes = {IS(has_cap_bpf, 0), IS(has_cap_net_admin, 0), IS(has_cap_perfmon, 0)}},
	{"no BTF", "btf", "apt-get install linux-image-$(dpkg --print-architecture) && reboot",
	 GS_LEVEL_WARN, .changes = {IS(has_btf, GS_FACT_NO)}},
	{"no bpffs", "bpffs", "mount -t bpf bpf /sys/fs/bpf", GS_LEVEL_WARN,
	 .changes = {IS(has_bpffs, GS_FACT_NO)}},
	{"bpffs hidden", "bpffs", "nsenter --net=/run/netns/NAME geostream-loader doctor eth1",
	 GS_LEVEL_BAD, .changes = {IS(has_bpffs, GS_FACT_NO), IS(is_mount_private, true)}},
	{"locked memory not counted", .changes = {IS(memlock_bytes, 0)}},

	{"not Ethernet", "link", "ip -brief link", GS_LEVEL_BAD,
	 .changes = {IS(is_ethernet, false)}},
	{"down", "link", "ip link set dev eth1 up", GS_LEVEL_BAD, .changes = {IS(is_up, false)}},
	{"no carrier", "link", "ethtool eth1", GS_LEVEL_WARN, .changes = {IS(has_carrier, false)}},

	{"a bond", .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_ACTIVE_BACKUP)}},
	{"a bond's offloads are its ports'",
	 .changes = {IS(bond.is_bond, true), IS(lro.is_on, GS_FACT_YES),
		     IS(gro_hw.is_on, GS_FACT_YES), IS(rx_vlan.is_on, GS_FACT_YES)}},
	{"a bond without ports, which has no native XDP until then",
	 .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_8023AD),
		     IS(xdp_native, GS_FACT_NO)}},
	{"a bond in mode broadcast", "bond", "geostream-loader attach eth1 --mode generic",
	 GS_LEVEL_WARN, .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_BROADCAST)}},
	{"a bond in mode balance-tlb", "bond", "geostream-loader attach eth1 --mode generic",
	 GS_LEVEL_WARN, .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_TLB)}},
	{"a bond in mode balance-alb", "bond", "geostream-loader attach eth1 --mode generic",
	 GS_LEVEL_WARN, .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_ALB)}},
	{"a bond in balance-xor by vlan+srcmac", "bond",
	 "ip link set dev eth1 type bond xmit_hash_policy layer3+4", GS_LEVEL_WARN,
	 .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_XOR), IS(bond.policy, 5)}},
	{"a bond in 802.3ad by vlan+srcmac", "bond",
	 "ip link set dev eth1 type bond xmit_hash_policy layer3+4", GS_LEVEL_WARN,
	 .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_8023AD), IS(bond.policy, 5)}},
	{"a bond that does not hash",
	 .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_ACTIVE_BACKUP),
		     IS(bond.policy, 5)}},
	{"a bond whose port has a program", "bond", "ip link set dev p xdpgeneric off",
	 GS_LEVEL_BAD,
	 .changes = {IS(bond.is_bond, true), IS(bond.port_count, 1), IS(bond.ports[0].name[0], 'p'),
		     IS(bond.ports[0].mode, GS_XDP_GENERIC)}},
	{"a bond whose second port has no native XDP", "bond",
	 "geostream-loader attach eth1 --mode generic", GS_LEVEL_WARN,
	 .changes = {IS(bond.is_bond, true), IS(bond.port_count, 2), IS(bond.ports[0].name[0], 'p'),
		     IS(bond.ports[1].name[0], 'q'), IS(bond.ports[1].lacks_native, true)}},
	{"a port of a bond", "bond", "geostream-loader doctor b", GS_LEVEL_WARN,
	 .changes = {IS(bond.master[0], 'b')}},

	{"no native XDP", "native", "geostream-loader attach eth1 --mode generic", GS_LEVEL_WARN,
	 .changes = {IS(xdp_native, GS_FACT_NO)}},
	{"old kernel, driver known", .changes = {IS(xdp_native, 0), IS(xdp_redirect_out, 0)}},
	{"old kernel, driver known to have none", "native",
	 "geostream-loader attach eth1 --mode generic", GS_LEVEL_WARN, .driver = "e1000e",
	 .changes = {IS(xdp_native, 0), IS(xdp_redirect_out, 0)}},
	{"old kernel, driver unknown", "native", "geostream-loader attach eth1 --mode native",
	 GS_LEVEL_WARN, .driver = "acme", .changes = {IS(xdp_native, 0), IS(xdp_redirect_out, 0)}},
	{"no driver name", "native", "geostream-loader attach eth1 --mode native", GS_LEVEL_WARN,
	 .driver = "", .changes = {IS(xdp_native, 0), IS(xdp_redirect_out, 0)}},
	{"the kernel knows better than the name", .driver = "e1000e"},

	{"no ndo_xdp_xmit before attaching", .changes = {IS(xdp_redirect_out, GS_FACT_NO)}},
	{"no ndo_xdp_xmit though attached", "redirect",
	 "geostream-loader attach eth1 --mode native", GS_LEVEL_WARN,
	 .changes = {IS(xdp_redirect_out, GS_FACT_NO), IS(is_attached, GS_FACT_YES),
		     IS(nic.holder, GS_NIC_LINK)}},
	{"veth whose other end lacks GRO", "redirect", "ethtool -K p gro on", GS_LEVEL_WARN,
	 .driver = "veth",
	 .changes = {IS(xdp_redirect_out, GS_FACT_NO), IS(tx_checksum.is_on, GS_FACT_NO),
		     IS(peer[0], 'p')}},
	{"veth whose other end is elsewhere", "redirect", "", GS_LEVEL_WARN, .driver = "veth",
	 .changes = {IS(xdp_redirect_out, GS_FACT_NO), IS(tx_checksum.is_on, GS_FACT_NO)}},

	{"another's program", "program", "geostream-loader attach eth1 --mode generic --force",
	 GS_LEVEL_BAD, .program = "xdp_fw",
	 .changes = {IS(nic.holder, GS_NIC_FOREIGN), IS(nic.mode, GS_XDP_GENERIC)}},
	{"others' dispatcher", "program", "geostream-loader attach eth1 --mode native --beside",
	 GS_LEVEL_WARN, .program = "xdp_fw",
	 .changes = {IS(nic.holder, GS_NIC_FOREIGN_DISPATCHER), IS(nic.mode, GS_XDP_NATIVE)}},
	{"ours, alone", .program = "gs_xdp", .changes = {IS(nic.holder, GS_NIC_LINK)}},
	{"ours, beside others", .program = "gs_xdp",
	 .changes = {IS(nic.holder, GS_NIC_DISPATCHER)}},
	{"programs unknown", .changes = {IS(is_attached, GS_FACT_UNKNOWN)}},

	{"MTU 9000", "mtu", "ip link set dev eth1 mtu 3498", GS_LEVEL_BAD,
	 .changes = {IS(mtu, 9000)}},
	{"MTU one too many", "mtu", "ip link set dev eth1 mtu 3498", GS_LEVEL_BAD,
	 .changes = {IS(mtu, 3499)}},
	{"MTU just fits", .changes = {IS(mtu, 3498)}},
	{"MTU 9000, pages of 64 KiB", .changes = {IS(mtu, 9000), IS(page_bytes, 65536)}},
	{"veth, large MTU here", .driver = "veth",
	 .changes = {IS(tx_checksum.is_on, GS_FACT_NO), IS(mtu, 9000), IS(peer_mtu, 1540)}},
	{"veth, large MTU there", "mtu", "ip link set dev p mtu 3498", GS_LEVEL_BAD,
	 .driver = "veth",
	 .changes = {IS(tx_checksum.is_on, GS_FACT_NO), IS(peer[0], 'p'), IS(peer_mtu, 9000)}},
	{"MTU 1500", "room", "ip link set dev eth1 mtu 1548", GS_LEVEL_WARN,
	 .changes = {IS(mtu, 1500)}},
	{"MTU 1539: IPv4 tunnels only", "room", "ip link set dev eth1 mtu 1548", GS_LEVEL_WARN,
	 .changes = {IS(mtu, 1539)}},

	{"LRO", "lro", "ethtool -K eth1 lro off", GS_LEVEL_BAD,
	 .changes = {IS(lro.is_on, GS_FACT_YES)}},
	{"LRO, fixed", "lro", "geostream-loader attach eth1 --mode generic", GS_LEVEL_BAD,
	 .changes = {IS(lro.is_on, GS_FACT_YES), IS(lro.is_fixed, true)}},
	{"GRO-HW", "gro-hw", "ethtool -K eth1 rx-gro-hw off", GS_LEVEL_WARN,
	 .changes = {IS(gro_hw.is_on, GS_FACT_YES)}},
	{"GRO-HW, fixed", "gro-hw", "geostream-loader attach eth1 --mode generic", GS_LEVEL_WARN,
	 .changes = {IS(gro_hw.is_on, GS_FACT_YES), IS(gro_hw.is_fixed, true)}},
	{"VLAN tags stripped", "rxvlan", "ethtool -K eth1 rxvlan off", GS_LEVEL_WARN,
	 .changes = {IS(rx_vlan.is_on, GS_FACT_YES)}},
	{"VLAN tags stripped, fixed", "rxvlan", "", GS_LEVEL_WARN,
	 .changes = {IS(rx_vlan.is_on, GS_FACT_YES), IS(rx_vlan.is_fixed, true)}},
	{"offloads unknown",
	 .changes = {IS(lro.is_on, 0), IS(gro_hw.is_on, 0), IS(rx_vlan.is_on, 0)}},

	{"one queue", "queues", "ethtool -L eth1 combined 8", GS_LEVEL_WARN,
	 .changes = {IS(rx_queues, 1)}},
	{"fewer queues there are", "queues", "ethtool -L eth1 rx 4", GS_LEVEL_WARN,
	 .changes = {IS(rx_queues, 1), IS(rx_queues_max, 4), IS(are_queues_combined, false)}},
	{"all queues there are", .changes = {IS(rx_queues, 4), IS(rx_queues_max, 4)}},
	{"more queues than CPUs", .changes = {IS(rx_queues, 64)}},
	{"queues unknown", .changes = {IS(rx_queues, 0), IS(rx_queues_max, 0)}},

	{"veth, unfinished checksums", "checksum", "ethtool -K eth1 tx off", GS_LEVEL_WARN,
	 .driver = "veth"},
	{"veth, finished here", .driver = "veth", .changes = {IS(tx_checksum.is_on, GS_FACT_NO)}},
	{"veth, unfinished there", "checksum", "ethtool -K p tx off", GS_LEVEL_WARN,
	 .driver = "veth",
	 .changes = {IS(tx_checksum.is_on, GS_FACT_NO), IS(peer[0], 'p'),
		     IS(peer_tx_checksum.is_on, GS_FACT_YES)}},
	{"a card finishes them", .driver = "mlx5_core"},

	{"rp_filter strict", "rp_filter", "sysctl -w net/ipv4/conf/eth1/rp_filter=2", GS_LEVEL_WARN,
	 .changes = {IS(rp_filter, 1)}},
	{"rp_filter strict for all", "rp_filter", "sysctl -w net/ipv4/conf/eth1/rp_filter=2",
	 GS_LEVEL_WARN, .changes = {IS(rp_filter_all, 1)}},
	{"rp_filter loose", .changes = {IS(rp_filter, 2), IS(rp_filter_all, 1)}},
	{"rp_filter loose for all", .changes = {IS(rp_filter, 1), IS(rp_filter_all, 2)}},
	{"rp_filter unknown", .changes = {IS(rp_filter, -1), IS(rp_filter_all, -1)}},

	{"forwarding is the operator's choice",
	 .changes = {IS(forwarding4, 1), IS(forwarding6, 1)}},
	{"no IPv6 at all", .changes = {IS(forwarding6, -1)}},

	{"a backend's matters are none of an edge's",
	 .changes = {IS(arp_ignore, 0), IS(arp_announce, 0), IS(accept_local, 1),
		     IS(disable_ipv6, 1)}},
};

static const struct row backend_rows[] = {
	{"an edge's matters are none of a backend's",
	 .changes = {IS(kernel_major, 5), IS(has_cap_bpf, GS_FACT_NO), IS(has_bpffs, GS_FACT_NO),
		     IS(lro.is_on, GS_FACT_YES), IS(rx_vlan.is_on, GS_FACT_YES),
		     IS(forwarding4, 1)}},
	{"down", "link", "ip link set dev eth1 up", GS_LEVEL_BAD, .changes = {IS(is_up, false)}},
	{"a port of a bond", "bond", "geostream-loader doctor b --backend", GS_LEVEL_WARN,
	 .changes = {IS(bond.master[0], 'b')}},
	{"a bond in mode balance-alb", "bond", "", GS_LEVEL_WARN,
	 .changes = {IS(bond.is_bond, true), IS(bond.mode, GS_BOND_ALB)}},

	{"no --vip", "vip", "geostream-loader doctor eth1 --backend --vip ADDRESS", GS_LEVEL_WARN,
	 .changes = {IS(vip_count, 0)}},
	{"VIP nowhere", "vip", "ip address replace 198.51.100.10/32 dev lo", GS_LEVEL_BAD,
	 .changes = {IS(vips[0].device[0], 0)}},
	{"IPv6 VIP nowhere", "vip", "ip address replace 2001:db8::10/128 dev lo", GS_LEVEL_BAD,
	 .changes = {IS(vips[1].device[0], 0)}},
	{"VIP on the wire", "vip",
	 "ip address delete 198.51.100.10/24 dev eo && ip address replace 198.51.100.10/32 dev lo",
	 GS_LEVEL_BAD,
	 .changes = {IS(vips[0].is_on_wire, true), IS(vips[0].device[0], 'e'),
		     IS(vips[0].prefix, 24)}},
	{"VIP on a lo that is down", "vip", "ip link set dev lo up", GS_LEVEL_BAD,
	 .changes = {IS(vips[0].is_up, false)}},
	{"VIP with its network", "vip",
	 "ip address replace 198.51.100.10/32 dev lo && ip address delete 198.51.100.10/24 dev lo",
	 GS_LEVEL_BAD, .changes = {IS(vips[0].prefix, 24)}},
	{"IPv6 VIP with its network", "vip",
	 "ip address replace 2001:db8::10/128 dev lo && ip address delete 2001:db8::10/32 dev lo",
	 GS_LEVEL_BAD, .changes = {IS(vips[1].prefix, 32)}},

	{"IPv6 disabled", "ipv6",
	 "sysctl -w net/ipv6/conf/eth1/disable_ipv6=0 net/ipv6/conf/lo/disable_ipv6=0",
	 GS_LEVEL_BAD, .changes = {IS(disable_ipv6, 1)}},
	{"IPv6 disabled on lo", "ipv6",
	 "sysctl -w net/ipv6/conf/eth1/disable_ipv6=0 net/ipv6/conf/lo/disable_ipv6=0",
	 GS_LEVEL_BAD, .changes = {IS(lo_disable_ipv6, 1)}},
	{"IPv6 disabled, no VIP of it", .changes = {IS(vip_count, 1), IS(disable_ipv6, 1)}},

	{"no tunnel for IPv6", "decap",
	 "geostream-loader decap attach eth1 --mode native --edge EDGE --vip 198.51.100.10 --vip 2001:db8::10",
	 GS_LEVEL_BAD, .changes = {IS(tunnel_count, 1)}},
	{"no tunnel for IPv6, no native XDP", "decap",
	 "geostream-loader decap attach eth1 --mode generic --edge EDGE --vip 198.51.100.10 --vip 2001:db8::10",
	 GS_LEVEL_BAD, .changes = {IS(tunnel_count, 1), IS(xdp_native, GS_FACT_NO)}},
	{"no tunnel for IPv4", "decap",
	 "ip -6 tunnel change ip6tnl0 mode any && ip link set dev ip6tnl0 up", GS_LEVEL_BAD,
	 .changes = {IS(tunnels[0].kind, GS_TUNNEL_SIT)}},
	{"no tunnel for IPv4, but somebody's for IPv6", "decap",
	 "geostream-loader decap attach eth1 --mode native --edge EDGE --vip 198.51.100.10 --vip 2001:db8::10",
	 GS_LEVEL_BAD,
	 .changes = {IS(tunnels[0].kind, GS_TUNNEL_SIT), IS(tunnels[1].name[6], '7')}},
	{"no tunnel for IPv4, no object", "decap", "modprobe ipip && ip link set dev tunl0 up",
	 GS_LEVEL_BAD,
	 .changes = {IS(tunnels[0].kind, GS_TUNNEL_SIT), IS(tunnels[1].name[6], '7'),
		     IS(decap_object[0], 0)}},
	{"no tunnel for IPv6, no object", "decap",
	 "modprobe ip6_tunnel && ip link set dev ip6tnl0 up", GS_LEVEL_BAD,
	 .changes = {IS(tunnel_count, 1), IS(decap_object[0], 0)}},
	{"tunnel down", "decap", "ip link set dev tunl0 up", GS_LEVEL_BAD,
	 .changes = {IS(tunnels[0].is_up, false)}},
	{"no tunnel, gs_decap by hand", "edges",
	 "ip link set dev eth1 xdpgeneric off && geostream-loader decap attach eth1 --mode native --edge EDGE "
	 "--vip 198.51.100.10 --vip 2001:db8::10",
	 GS_LEVEL_WARN, .program = "gs_decap",
	 .changes = {IS(tunnel_count, 0), IS(nic.holder, GS_NIC_FOREIGN),
		     IS(nic.mode, GS_XDP_GENERIC)}},
	{"GUE, tunnel interfaces", "decap",
	 "geostream-loader decap attach eth1 --mode native --edge EDGE --vip 198.51.100.10 --vip 2001:db8::10",
	 GS_LEVEL_BAD, .changes = {IS(forward, GS_DOCTOR_GUE), IS(mtu, 9000)}},
	{"L2, nothing to take out", .changes = {IS(forward, GS_DOCTOR_L2), IS(tunnel_count, 0)}},
	{"L2, no room for a tunnel", .changes = {IS(forward, GS_DOCTOR_L2), IS(mtu, 1500)}},
	{"L2, ARP answered", "arp", "sysctl -w net/ipv4/conf/eth1/arp_ignore=1", GS_LEVEL_BAD,
	 .changes = {IS(forward, GS_DOCTOR_L2), IS(arp_ignore, 0)}},
	{"L2, ARP announced", "arp", "sysctl -w net/ipv4/conf/eth1/arp_announce=2", GS_LEVEL_BAD,
	 .changes = {IS(forward, GS_DOCTOR_L2), IS(arp_announce, 0)}},
	{"L2, VIP nowhere", "vip", "ip address replace 198.51.100.10/32 dev lo", GS_LEVEL_BAD,
	 .changes = {IS(forward, GS_DOCTOR_L2), IS(vips[0].device[0], 0)}},
	{"L2, rp_filter of a tunnel",
	 .changes = {IS(forward, GS_DOCTOR_L2), IS(tunnels[0].rp_filter, 1)}},
	{"NAT, a plain host",
	 .changes = {IS(forward, GS_DOCTOR_NAT), IS(vip_count, 0), IS(tunnel_count, 0),
		     IS(arp_ignore, 0), IS(rp_filter, 1), IS(mtu, 1500)}},
	{"NAT, down", "link", "ip link set dev eth1 up", GS_LEVEL_BAD,
	 .changes = {IS(forward, GS_DOCTOR_NAT), IS(is_up, false)}},
	{"ip6tnl takes out both",
	 .changes = {IS(tunnels[0].is_up, false), IS(tunnels[1].protocol, 0)}},
	{"ip6tnl takes out IPv4 only", "decap",
	 "ip -6 tunnel change ip6tnl0 mode any && ip link set dev ip6tnl0 up", GS_LEVEL_BAD,
	 .changes = {IS(tunnels[1].protocol, IPPROTO_IPIP)}},
	{"IPv6 by sit", .changes = {IS(tunnels[1].kind, GS_TUNNEL_SIT)}},
	{"a firewall in XDP", "program", "bpftool prog show id 7", GS_LEVEL_WARN,
	 .program = "xdp_fw", .changes = {IS(nic.holder, GS_NIC_FOREIGN)}},
	{"an edge, too", .program = "gs_xdp", .changes = {IS(nic.holder, GS_NIC_LINK)}},

	{"rp_filter strict", "rp_filter", "sysctl -w net/ipv4/conf/eth1/rp_filter=2", GS_LEVEL_WARN,
	 .changes = {IS(rp_filter, 1)}},
	{"rp_filter strict on the tunnel", "rp_filter", "sysctl -w net/ipv4/conf/tunl0/rp_filter=2",
	 GS_LEVEL_BAD, .changes = {IS(tunnels[0].rp_filter, 1)}},
	{"rp_filter loose on the tunnel", .changes = {IS(tunnels[0].rp_filter, 2)}},
	{"rp_filter strict where no IPv4 comes out", .changes = {IS(tunnels[1].rp_filter, 1)}},

	{"ARP answered", "arp", "sysctl -w net/ipv4/conf/eth1/arp_ignore=1", GS_LEVEL_WARN,
	 .changes = {IS(arp_ignore, 0)}},
	{"ARP ignored by all", .changes = {IS(arp_ignore, 0), IS(arp_ignore_all, 2)}},
	{"ARP announced", "arp", "sysctl -w net/ipv4/conf/eth1/arp_announce=2", GS_LEVEL_WARN,
	 .changes = {IS(arp_announce, 1)}},
	{"ARP unknown", .changes = {IS(arp_ignore, -1)}},
	{"accept_local", "accept_local",
	 "sysctl -w net/ipv4/conf/all/accept_local=0 net/ipv4/conf/eth1/accept_local=0",
	 GS_LEVEL_WARN, .changes = {IS(accept_local_all, 1)}},

	{"MTU 1500, smaller MSS",
	 .changes = {IS(mtu, 1500), IS(route4.device_mtu, 1500), IS(route4.advmss, 1400),
		     IS(route6.device_mtu, 1500), IS(route6.advmss, 1400)}},
	{"MTU 1500, MSS too large for IPv6", "mss",
	 "ip -6 route change $(ip -6 route show default | head -n 1 | sed 's/ advmss [0-9]*//; s/ pref [a-z]*//; "
	 "s/ expires [0-9]*sec//') advmss 1380",
	 GS_LEVEL_WARN,
	 .changes = {IS(mtu, 1500), IS(route4.advmss, 1400), IS(route6.advmss, 1401)}},
	{"MTU 1500, MTU of the routes",
	 .changes = {IS(mtu, 1500), IS(route4.mtu, 1460), IS(route6.mtu, 1460)}},
	{"MTU 1500, MTU of a route too large", "mss",
	 "ip route change $(ip route show default | head -n 1 | sed 's/ advmss [0-9]*//; s/ pref [a-z]*//; "
	 "s/ expires [0-9]*sec//') advmss 1400",
	 GS_LEVEL_WARN, .changes = {IS(mtu, 1500), IS(route4.mtu, 1461), IS(route6.mtu, 1460)}},
	{"jumbo: clients' packets are 1500 on their way",
	 .changes = {IS(mtu, 9000), IS(route4.device_mtu, 9000)}},
	{"answers by another interface, of a small MTU",
	 .changes = {IS(mtu, 1500), IS(route4.device_mtu, 1400), IS(route6.device_mtu, 1400)}},
	{"no default route", "route", "ip route show table all", GS_LEVEL_WARN,
	 .changes = {IS(route4.exists, GS_FACT_NO)}},
	{"routes unknown", .changes = {IS(mtu, 1500), IS(route4.exists, 0), IS(route6.exists, 0)}},

	{"veth, unfinished checksums", "checksum", "ethtool -K eth1 tx off", GS_LEVEL_WARN,
	 .driver = "veth"},
};

static struct gs_doctor_facts facts_of(const struct row *row, bool is_backend)
{
	struct gs_doctor_facts facts = healthy(is_backend);

	for (size_t i = 0; i < CHANGES_MAX && row->changes[i].size; i++)
		apply(&facts, &row->changes[i]);
	if (row->driver)
		snprintf(facts.driver, sizeof(facts.driver), "%s", row->driver);
	if (row->program) {
		facts.is_attached = GS_FACT_YES;
		facts.nic.attached_id = 7;
		facts.nic.program.id = 7;
		snprintf(facts.nic.program.name, sizeof(facts.nic.program.name), "%s",
			 row->program);
	}
	return facts;
}

/* Exactly the wanted one is worse than ok. */
static void expect_row(const struct row *row, bool is_backend)
{
	struct gs_doctor_facts facts = facts_of(row, is_backend);
	static struct gs_findings findings;
	uint32_t found = 0;

	gs_doctor_judge(&facts, &findings);
	for (uint32_t i = 0; i < findings.count; i++) {
		const struct gs_finding *one = &findings.list[i];

		assert_true(one->text[0]);
		if (one->level == GS_LEVEL_OK) {
			assert_string_equal(one->remedy, "");
			continue;
		}
		found++;
		if (!row->check || strcmp(one->check, row->check) != 0 ||
		    one->level != row->level || strcmp(one->remedy, row->remedy) != 0)
			fail_msg("%s: got %s %s '%s' fix '%s', wanted %s '%s'", row->name,
				 gs_level_name(one->level), one->check, one->text, one->remedy,
				 row->check ? row->check : "nothing",
				 row->check ? row->remedy : "");
	}
	if (found != (row->check ? 1 : 0))
		fail_msg("%s: %u findings", row->name, found);
	assert_int_equal(gs_doctor_count(&findings, GS_LEVEL_BAD),
			 row->check && row->level == GS_LEVEL_BAD);
}

static void edges(void **state)
{
	(void)state;
	expect_row(&(struct row){.name = "healthy"}, false);
	for (size_t i = 0; i < ARRAY_SIZE(edge_rows); i++)
		expect_row(&edge_rows[i], false);
}

static void backends(void **state)
{
	(void)state;
	expect_row(&(struct row){.name = "healthy"}, true);
	for (size_t i = 0; i < ARRAY_SIZE(backend_rows); i++)
		expect_row(&backend_rows[i], true);
}

/* ---- the kit ----------------------------------------------------------------------------------*/

/* On MTU 1500, believes 192.0.2.0/24, serves both VIPs, and its filter says what fits. */
static struct gs_doctor_facts with_kit(void)
{
	struct gs_doctor_facts facts = healthy(true);

	facts.tunnel_count = 0;
	facts.mtu = 1500;
	facts.is_attached = GS_FACT_YES;
	facts.nic.holder = GS_NIC_FOREIGN; /* none of an edge's */
	strcpy(facts.nic.program.name, "gs_decap");
	facts.decap.is_attached = true;
	facts.decap.has_egress = true;
	facts.decap.conf.mss_mode = GS_DECAP_MSS_AUTO;
	facts.decap.lists.edge_count = 1;
	assert_int_equal(gs_decap_parse_edge("192.0.2.0/24", &facts.decap.lists.edges[0]), 0);
	facts.decap.lists.vip_count = 2;
	assert_int_equal(gs_decap_parse_vip("198.51.100.10", &facts.decap.lists.vips[0]), 0);
	assert_int_equal(gs_decap_parse_vip("2001:db8::10", &facts.decap.lists.vips[1]), 0);
	facts.decap.conf.mss4 = gs_decap_mss_of(1500, &facts.decap.lists, 4);
	facts.decap.conf.mss6 = gs_decap_mss_of(1500, &facts.decap.lists, 6);
	facts.edge_count = 1;
	assert_int_equal(gs_decap_parse_edge("192.0.2.7", &facts.edges[0]), 0);
	return facts;
}

#define KIT_AGAIN "geostream-loader decap attach eth1 --edge 192.0.2.0/24"
#define KIT_VIPS " --vip 198.51.100.10 --vip 2001:db8::10"

static void expect_kit(const char *name, const struct gs_doctor_facts *facts, const char *check,
		       enum gs_level level, const char *remedy)
{
	static struct gs_findings findings;
	uint32_t found = 0;

	gs_doctor_judge(facts, &findings);
	for (uint32_t i = 0; i < findings.count; i++) {
		const struct gs_finding *one = &findings.list[i];

		if (one->level == GS_LEVEL_OK)
			continue;
		if (found++ || !check || strcmp(one->check, check) != 0 || one->level != level ||
		    strcmp(one->remedy, remedy) != 0)
			fail_msg("%s: %s %s '%s' fix '%s'", name, gs_level_name(one->level),
				 one->check, one->text, one->remedy);
	}
	assert_int_equal(found, check != NULL);
}

static void the_kit(void **state)
{
	struct gs_doctor_facts facts = with_kit();
	(void)state;

	expect_kit("as it should be", &facts, NULL, GS_LEVEL_OK, NULL);
	facts.lro.is_on = GS_FACT_YES;
	expect_kit("LRO", &facts, "lro", GS_LEVEL_BAD, "ethtool -K eth1 lro off");
	facts.forward = GS_DOCTOR_L2;
	expect_kit("which is nobody's matter without tunnels", &facts, NULL, GS_LEVEL_OK, NULL);
	facts = with_kit();
	facts.forward = GS_DOCTOR_GUE;
	expect_kit("GUE", &facts, NULL, GS_LEVEL_OK, NULL);
	gs_decap_parse_edge("192.0.3.7", &facts.edges[0]);
	expect_kit("another edge", &facts, "edges", GS_LEVEL_BAD,
		   KIT_AGAIN " --edge 192.0.3.7/32" KIT_VIPS);
	facts.edge_count = 0;
	expect_kit("no edge asked for", &facts, NULL, GS_LEVEL_OK, NULL);
	facts.decap.lists.vip_count = 1;
	expect_kit("a VIP it drops", &facts, "vips", GS_LEVEL_BAD, KIT_AGAIN KIT_VIPS);
	facts = with_kit();
	facts.decap.has_egress = false;
	facts.mtu = 9000;
	expect_kit("filter gone", &facts, "egress", GS_LEVEL_WARN, KIT_AGAIN KIT_VIPS);
	facts = with_kit();
	facts.decap.conf.mss4 = 1441;
	expect_kit("an MSS too large by one", &facts, "mss", GS_LEVEL_WARN, KIT_AGAIN KIT_VIPS);
	facts.decap.conf.mss4 = 1440;
	expect_kit("an MSS that just fits IPIP over IPv4", &facts, NULL, GS_LEVEL_OK, NULL);
	facts.forward = GS_DOCTOR_GUE;
	expect_kit("but not GUE", &facts, "mss", GS_LEVEL_WARN, KIT_AGAIN KIT_VIPS);
	facts = with_kit();
	for (uint32_t i = 0; i < 64; i++) {
		facts.decap.lists.edges[i] = facts.decap.lists.edges[0];
		facts.decap.lists.edges[i].addr[3] ^= htonl(i << 9);
	}
	facts.decap.lists.edge_count = 64;
	facts.decap.has_egress = false;
	facts.mtu = 9000;
	expect_kit("too long a command", &facts, "egress", GS_LEVEL_WARN,
		   "geostream-loader decap status eth1");
}

static void the_kits_words(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.7", "192.0.2.7/32"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"::/0", "::/0"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"192.0.2.1/24", NULL},
		{"192.0.2.0/33", NULL},
		{"192.0.2.0/", NULL},
		{"192.0.2.0/-1", NULL},
		{"192.0.2.0/24x", NULL},
		{"192.0.2", NULL},
		{"2001:db8::/129", NULL},
		{"2001:db8::1/64", NULL},
		{"::ffff:192.0.2.1", NULL},
		{"", NULL},
		{"/", NULL},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
	};
	struct gs_decap_edge_key key;
	struct gs_decap_vip_key vip;
	struct gs_decap_lists lists = {.edge_count = 0};
	char text[GS_DECAP_TEXT_MAX];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int ret = gs_decap_parse_edge(rows[i].text, &key);

		if (!rows[i].want != (ret != 0))
			fail_msg("'%s': %d", rows[i].text, ret);
		if (!ret)
			assert_string_equal(gs_decap_format_edge(&key, text), rows[i].want);
	}
	assert_int_equal(gs_decap_parse_vip("198.51.100.10", &vip), 0);
	assert_string_equal(gs_decap_format_vip(&vip, text), "198.51.100.10");
	assert_int_equal(gs_decap_parse_vip("2001:db8::10", &vip), 0);
	assert_string_equal(gs_decap_format_vip(&vip, text), "2001:db8::10");
	assert_int_not_equal(gs_decap_parse_vip("198.51.100.0/24", &vip), 0);
	/* ::/0 believes nobody of IPv4. */
	lists.edge_count = 1;
	gs_decap_parse_edge("::/0", &lists.edges[0]);
	gs_decap_parse_edge("192.0.2.7", &key);
	assert_false(gs_decap_covers(&lists, &key));
	gs_decap_parse_edge("2001:db8::/32", &key);
	assert_true(gs_decap_covers(&lists, &key));
	gs_decap_parse_edge("::/0", &key);
	gs_decap_parse_edge("2001:db8::/32", &lists.edges[0]);
	assert_false(gs_decap_covers(&lists, &key));
	/* 1500 less 40 of IPv6, 8 of UDP, 20 or 40 of IP, 20 of TCP */
	assert_int_equal(gs_decap_mss_of(1500, &lists, 4), 1412);
	assert_int_equal(gs_decap_mss_of(1500, &lists, 6), 1392);
	gs_decap_parse_edge("192.0.2.7", &lists.edges[0]);
	assert_int_equal(gs_decap_mss_of(1500, &lists, 4), 1432);
	assert_int_equal(gs_decap_mss_of(1500, &lists, 6), 1412);
	assert_int_equal(gs_decap_mss_of(70, &lists, 4), 0);
	assert_int_equal(gs_decap_mss_of(70000, &lists, 4), 65467);
}

static void old_kernels_count_locked_memory(void **state)
{
	struct gs_doctor_facts facts = healthy(false);
	struct gs_findings findings;
	(void)state;

	facts.kernel_major = 5;
	facts.kernel_minor = 10;
	gs_doctor_judge(&facts, &findings);
	assert_int_equal(gs_doctor_count(&findings, GS_LEVEL_BAD), 2);
	facts.memlock_bytes = UINT64_MAX;
	gs_doctor_judge(&facts, &findings);
	assert_int_equal(gs_doctor_count(&findings, GS_LEVEL_BAD), 1);
}

static void an_interface_that_is_not_there(void **state)
{
	struct gs_doctor_facts facts = {.interface = "eth9",
					.kernel_major = 6,
					.kernel_minor = 1,
					.has_bpffs = GS_FACT_YES};
	struct gs_findings findings;
	(void)state;

	for (int is_backend = 0; is_backend < 2; is_backend++) {
		facts.is_backend = is_backend;
		gs_doctor_judge(&facts, &findings);
		assert_int_equal(gs_doctor_count(&findings, GS_LEVEL_BAD), 1);
		assert_int_equal(gs_doctor_count(&findings, GS_LEVEL_WARN), 0);
		assert_string_equal(findings.list[0].check, "link");
	}
}

/* ---- names in a shell -------------------------------------------------------------------------*/

static void names_are_words_of_a_shell(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{"eth0", "ip link set dev eth0 up"},
		{"eth0.100", "ip link set dev eth0.100 up"},
		{"gs-uplink", "ip link set dev gs-uplink up"},
		{"a;reboot", "ip link set dev 'a;reboot' up"},
		{"$(reboot)", "ip link set dev '$(reboot)' up"},
		{"it's", "ip link set dev 'it'\\''s' up"},
		{"'''''''''''''''", /* the longest there can be */
		 "ip link set dev '"
		 "'\\'''\\'''\\'''\\'''\\'''\\'''\\'''\\''"
		 "'\\'''\\'''\\'''\\'''\\'''\\'''\\''"
		 "' up"},
	};
	struct gs_findings findings;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_doctor_facts facts = healthy(true);

		snprintf(facts.interface, sizeof(facts.interface), "%s", cases[i].name);
		facts.is_up = false;
		gs_doctor_judge(&facts, &findings);
		assert_string_equal(findings.list[0].check, "link");
		assert_string_equal(findings.list[0].remedy, cases[i].want);
	}
}

static void sysctl_gets_slashes(void **state)
{
	struct gs_doctor_facts facts = healthy(true);
	struct gs_findings findings;
	bool found = false;
	(void)state;

	strcpy(facts.interface, "eth0.100");
	facts.arp_ignore = 0;
	gs_doctor_judge(&facts, &findings);
	for (uint32_t i = 0; i < findings.count; i++)
		found |= !strcmp(findings.list[i].remedy,
				 "sysctl -w net/ipv4/conf/eth0.100/arp_ignore=1");
	assert_true(found);
}

static void drivers(void **state)
{
	(void)state;
	assert_int_equal(gs_doctor_driver_has_xdp("virtio_net"), GS_FACT_YES);
	assert_int_equal(gs_doctor_driver_has_xdp("bridge"), GS_FACT_NO);
	assert_int_equal(gs_doctor_driver_has_xdp("virtio_net2"), GS_FACT_UNKNOWN);
	assert_int_equal(gs_doctor_driver_has_xdp(""), GS_FACT_UNKNOWN);
}

/* ---- whatever the facts, lines that can be printed --------------------------------------------*/

static void any_row_on_any_other(void **state)
{
	struct gs_findings findings;
	uint64_t random = 20261125;
	(void)state;

	for (int round = 0; round < 20000; round++) {
		bool is_backend = gs_random(&random) & 1;
		struct gs_doctor_facts facts = healthy(is_backend);

		facts.vip_count = GS_DOCTOR_VIPS_MAX;
		facts.tunnel_count = GS_DOCTOR_TUNNELS_MAX;
		for (uint32_t i = 0; i < GS_DOCTOR_VIPS_MAX; i++)
			facts.vips[i] = facts.vips[i & 1];
		for (uint32_t i = 0; i < GS_DOCTOR_TUNNELS_MAX; i++)
			facts.tunnels[i] = facts.tunnels[i & 1];
		for (int times = 0; times < 12; times++) {
			uint64_t draw = gs_random(&random);
			const struct row *row =
				draw & 1 ? &edge_rows[(draw >> 8) % ARRAY_SIZE(edge_rows)]
					 : &backend_rows[(draw >> 8) % ARRAY_SIZE(backend_rows)];

			for (size_t i = 0; i < CHANGES_MAX && row->changes[i].size; i++)
				apply(&facts, &row->changes[i]);
		}
		gs_doctor_judge(&facts, &findings);
		assert_in_range(findings.count, 1, GS_DOCTOR_FINDINGS_MAX - 1);
		for (uint32_t i = 0; i < findings.count; i++) {
			const struct gs_finding *one = &findings.list[i];

			assert_true(one->level < GS_LEVEL__COUNT);
			assert_in_range(strlen(one->text), 1, sizeof(one->text) - 2);
			assert_true(strlen(one->remedy) < sizeof(one->remedy) - 1);
			assert_null(strchr(one->text, '\n'));
			assert_null(strchr(one->remedy, '\n'));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),
		cmocka_unit_test(backends),
		cmocka_unit_test(the_kit),
		cmocka_unit_test(the_kits_words),
		cmocka_unit_test(old_kernels_count_locked_memory),
		cmocka_unit_test(an_interface_that_is_not_there),
		cmocka_unit_test(names_are_words_of_a_shell),
		cmocka_unit_test(sysctl_gets_slashes),
		cmocka_unit_test(drivers),
		cmocka_unit_test(any_row_on_any_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
