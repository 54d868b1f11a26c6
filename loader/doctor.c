// SPDX-License-Identifier: Apache-2.0
#include "loader/doctor.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KERNEL_MAJOR 6u
#define KERNEL_MINOR 1u
#define XDP_HEADROOM 256u
#define XDP_TAIL 320u /* struct skb_shared_info */
#define ETHERNET 22u  /* header and one VLAN tag */
#define CLIENT_MTU 1500u
#define OUTER4 20u
#define OUTER6 40u
#define GUE 8u		/* UDP alone: variant 1 */
#define OUTER_SPARE 60u /* what a remedy leaves free: IPv6, UDP, and VLAN tags on the way */
#define DECAP_PROGRAM GS_DECAP_PROGRAM
#define FALLBACK6 "ip6tnl0"
#define SHELL_MAX (IF_NAMESIZE * 4 + 3)

struct doctor {
	const struct gs_doctor_facts *facts;
	struct gs_findings *findings;
	char name[SHELL_MAX]; /* of the interface, for a shell */
};

static const char *const level_names[] = {
	[GS_LEVEL_OK] = "ok",
	[GS_LEVEL_WARN] = "warn",
	[GS_LEVEL_BAD] = "bad",
};
_Static_assert(ARRAY_SIZE(level_names) == GS_LEVEL__COUNT, "a level without a name");

const char *gs_level_name(enum gs_level level)
{
	return level_names[level];
}

static const char *const forward_names[] = {
	[GS_DOCTOR_NOT_TOLD] = "", [GS_DOCTOR_IPIP] = "ipip", [GS_DOCTOR_GUE] = "gue",
	[GS_DOCTOR_L2] = "l2",	   [GS_DOCTOR_NAT] = "nat",
};
_Static_assert(ARRAY_SIZE(forward_names) == GS_DOCTOR__FORWARDS, "a mode without a name");

int gs_doctor_parse_forward(const char *word, enum gs_doctor_forward *ret_forward)
{
	for (int i = GS_DOCTOR_IPIP; i < GS_DOCTOR__FORWARDS; i++) {
		if (!strcmp(word, forward_names[i])) {
			*ret_forward = (enum gs_doctor_forward)i;
			return 0;
		}
	}
	return -EINVAL;
}

uint32_t gs_doctor_count(const struct gs_findings *findings, enum gs_level level)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < findings->count; i++)
		count += findings->list[i].level == level;
	return count;
}

/* ---- words -----------------------------------------------------------------------------------*/

/* A finding without remedy; the next call of fix() gives it one. */
static void __attribute__((format(printf, 4, 5)))
find(struct doctor *doctor, enum gs_level level, const char *check, const char *format, ...)
{
	struct gs_findings *findings = doctor->findings;
	struct gs_finding *finding;
	va_list args;

	if (findings->count == GS_DOCTOR_FINDINGS_MAX)
		return;
	finding = &findings->list[findings->count++];
	finding->level = level;
	finding->check = check;
	finding->remedy[0] = '\0';
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
}

static void __attribute__((format(printf, 2, 3)))
fix(struct doctor *doctor, const char *format, ...)
{
	struct gs_finding *finding = &doctor->findings->list[doctor->findings->count - 1];
	va_list args;

	va_start(args, format);
	vsnprintf(finding->remedy, sizeof(finding->remedy), format, args);
	va_end(args);
}

/* A name may hold about anything, and remedies are pasted into a shell. */
static void quote(const char *name, char *ret_word, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_.@:/-";
	size_t used = 0;

	if (name[strspn(name, plain)] == '\0') {
		snprintf(ret_word, size, "%s", name);
		return;
	}
	ret_word[used++] = '\'';
	for (const char *at = name; *at && used + 6 < size; at++) {
		if (*at == '\'') {
			memcpy(ret_word + used, "'\\''", 4);
			used += 4;
		} else {
			ret_word[used++] = *at;
		}
	}
	ret_word[used++] = '\'';
	ret_word[used] = '\0';
}

/* With slashes: a name may have dots, which sysctl's other form takes for slashes. */
static void fix_conf(struct doctor *doctor, const char *device, const char *setting, int value)
{
	char word[SHELL_MAX];

	quote(device, word, sizeof(word));
	fix(doctor, "sysctl -w net/ipv4/conf/%s/%s=%d", word, setting, value);
}

static int larger(int left, int right)
{
	return left > right ? left : right;
}

/* ---- the machine -----------------------------------------------------------------------------*/

static void check_kernel(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	uint32_t major = facts->kernel_major, minor = facts->kernel_minor;

	if (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR)) {
		find(doctor, GS_LEVEL_OK, "kernel", "kernel %u.%u", major, minor);
		return;
	}
	find(doctor, GS_LEVEL_BAD, "kernel", "kernel %u.%u is older than %u.%u", major, minor,
	     KERNEL_MAJOR, KERNEL_MINOR);
	fix(doctor, "apt-get install linux-image-$(dpkg --print-architecture) && reboot");
}

static void check_capabilities(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	const struct {
		const char *name;
		enum gs_fact has;
	} wanted[] = {
		{" CAP_BPF", facts->has_cap_bpf},
		{" CAP_NET_ADMIN", facts->has_cap_net_admin},
		{" CAP_PERFMON", facts->has_cap_perfmon},
	};
	char missing[64] = "";

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (wanted[i].has == GS_FACT_NO)
			strncat(missing, wanted[i].name, sizeof(missing) - strlen(missing) - 1);
	}
	if (!missing[0]) {
		find(doctor, GS_LEVEL_OK, "capabilities", "what attaching needs is granted");
		return;
	}
	find(doctor, GS_LEVEL_BAD, "capabilities", "this user lacks%s", missing);
	fix(doctor, "sudo geostream-loader doctor %s", doctor->name);
}

static void check_btf(struct doctor *doctor)
{
	if (doctor->facts->has_btf != GS_FACT_NO) {
		find(doctor, GS_LEVEL_OK, "btf", "the kernel describes its types (BTF)");
		return;
	}
	find(doctor, GS_LEVEL_WARN, "btf",
	     "no /sys/kernel/btf/vmlinux: attaching --beside other programs needs it");
	fix(doctor, "apt-get install linux-image-$(dpkg --print-architecture) && reboot");
}

static void check_bpffs(struct doctor *doctor)
{
	if (doctor->facts->has_bpffs == GS_FACT_YES) {
		find(doctor, GS_LEVEL_OK, "bpffs", "bpffs is mounted on /sys/fs/bpf");
	} else if (doctor->facts->is_mount_private) {
		find(doctor, GS_LEVEL_BAD, "bpffs",
		     "no bpffs on /sys/fs/bpf in this mount namespace, and one mounted here would "
		     "vanish with the command ('ip netns exec' hides it)");
		fix(doctor, "nsenter --net=/run/netns/NAME geostream-loader doctor %s",
		    doctor->name);
	} else {
		find(doctor, GS_LEVEL_WARN, "bpffs", "no bpffs on /sys/fs/bpf; attach mounts one");
		fix(doctor, "mount -t bpf bpf /sys/fs/bpf");
	}
}

static void check_memlock(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	bool is_counted =
		facts->kernel_major < 5 || (facts->kernel_major == 5 && facts->kernel_minor < 11);

	if (!is_counted || facts->memlock_bytes >= UINT64_C(1) << 30) {
		find(doctor, GS_LEVEL_OK, "memlock", "%s",
		     is_counted ? "enough memory may be locked"
				: "this kernel does not count maps as locked memory");
		return;
	}
	find(doctor, GS_LEVEL_BAD, "memlock",
	     "this kernel counts maps as locked memory, and %llu KiB are allowed",
	     (unsigned long long)facts->memlock_bytes / 1024);
	fix(doctor, "ulimit -l unlimited");
}

/* ---- the interface ---------------------------------------------------------------------------*/

static void check_link(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (!facts->is_ethernet) {
		find(doctor, GS_LEVEL_BAD, "link",
		     "%s is no Ethernet interface: its packets would not be understood",
		     facts->interface);
		fix(doctor, "ip -brief link");
	} else if (!facts->is_up) {
		find(doctor, GS_LEVEL_BAD, "link", "%s is down", facts->interface);
		fix(doctor, "ip link set dev %s up", doctor->name);
	} else if (!facts->has_carrier) {
		find(doctor, GS_LEVEL_WARN, "link", "%s is up, and nothing is at the other end",
		     facts->interface);
		fix(doctor, "ethtool %s", doctor->name);
	} else {
		find(doctor, GS_LEVEL_OK, "link", "%s is up, Ethernet", facts->interface);
	}
}

/* LRO, queues, tags and their like are the ports' own. */
static void judge_bond(struct doctor *doctor)
{
	const struct gs_bond *bond = &doctor->facts->bond;
	char ports[128] = "";
	size_t used = 0;

	for (uint32_t i = 0; i < bond->port_count && used < sizeof(ports); i++)
		used += (size_t)snprintf(ports + used, sizeof(ports) - used, " %s",
					 bond->ports[i].name);
	find(doctor, GS_LEVEL_OK, "bond",
	     "a bond in mode %s; the program runs on its ports, which the doctor sees one by "
	     "one:%s",
	     gs_bond_mode_name(bond->mode), bond->port_count ? ports : " none yet");
}

static void fix_port(struct doctor *doctor, const struct gs_bond_port *port)
{
	char word[SHELL_MAX];

	quote(port->name, word, sizeof(word));
	if (!strcmp(port->program.name, "gs_xdp"))
		fix(doctor, "geostream-loader detach %s", word);
	else
		fix(doctor, "ip link set dev %s %s off", word, gs_xdp_mode_ip(port->mode));
}

static void check_bond(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	const struct gs_bond_port *port = NULL;
	char text[GS_BOND_TEXT_MAX];
	enum gs_bond_fault fault = gs_bond_judge(&facts->bond, &port);

	if (facts->bond.master[0]) {
		quote(facts->bond.master, text, sizeof(text));
		find(doctor, GS_LEVEL_WARN, "bond",
		     "a port of bond %s, to which the program belongs: it runs on all ports then",
		     facts->bond.master);
		fix(doctor, "geostream-loader doctor %s%s", text,
		    facts->is_backend ? " --backend" : "");
	}
	if (!facts->bond.is_bond)
		return;
	if (fault == GS_BOND_FINE) {
		judge_bond(doctor);
		return;
	}
	gs_bond_explain(&facts->bond, text);
	find(doctor, fault == GS_BOND_PORT_PROGRAM ? GS_LEVEL_BAD : GS_LEVEL_WARN, "bond", "%s",
	     text);
	if (fault == GS_BOND_BAD_POLICY)
		fix(doctor, "ip link set dev %s type bond xmit_hash_policy layer3+4", doctor->name);
	else if (fault == GS_BOND_PORT_PROGRAM)
		fix_port(doctor, port);
	else if (!facts->is_backend)
		fix(doctor, "geostream-loader attach %s --mode generic", doctor->name);
}

/* Drivers by their own names, of kernels that do not say themselves (before 6.3). */
static const char *const native_drivers[] = {
	"atlantic",	 "bnxt_en",	"bonding",    "cpsw",	 "ena",	   "fsl_dpa",
	"fsl_dpaa2_eth", "fsl_enetc",	"hv_netvsc",  "i40e",	 "ice",	   "igb",
	"igc",		 "ixgbe",	"ixgbevf",    "lan966x", "mana",   "mlx4_en",
	"mlx5_core",	 "mtk_soc_eth", "mvneta",     "mvpp2",	 "netsec", "nfp",
	"nicvf",	 "qede",	"sfc",	      "stmmac",	 "tsnep",  "tun",
	"veth",		 "vif",		"virtio_net",
};
static const char *const plain_drivers[] = {
	"802.1Q VLAN Support",
	"b44",
	"bridge",
	"dummy",
	"e1000",
	"e1000e",
	"forcedeth",
	"ipvlan",
	"macvlan",
	"openvswitch",
	"r8152",
	"r8169",
	"tg3",
	"vxlan",
};

static bool is_in(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(word, list[i]))
			return true;
	}
	return false;
}

enum gs_fact gs_doctor_driver_has_xdp(const char *driver)
{
	if (is_in(driver, native_drivers, ARRAY_SIZE(native_drivers)))
		return GS_FACT_YES;
	return is_in(driver, plain_drivers, ARRAY_SIZE(plain_drivers)) ? GS_FACT_NO
								       : GS_FACT_UNKNOWN;
}

static enum gs_fact native_of(const struct gs_doctor_facts *facts)
{
	const struct gs_bond_port *port;

	/* its driver has, and the kernel denies it of a bond without ports, which it takes */
	if (facts->bond.is_bond)
		return gs_bond_judge(&facts->bond, &port) == GS_BOND_FINE ? GS_FACT_YES
									  : GS_FACT_NO;
	return facts->xdp_native ? facts->xdp_native : gs_doctor_driver_has_xdp(facts->driver);
}

static bool is_veth(const struct gs_doctor_facts *facts)
{
	return !strcmp(facts->driver, "veth");
}

static const char *driver_of(const struct gs_doctor_facts *facts)
{
	return facts->driver[0] ? facts->driver : "unknown";
}

static void check_native(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	const char *says = facts->xdp_native ? "says the kernel" : "by its name";

	if (facts->bond.is_bond) /* check_bond has said it */
		return;
	switch (native_of(facts)) {
	case GS_FACT_YES:
		find(doctor, GS_LEVEL_OK, "native", "driver %s has native XDP, %s",
		     driver_of(facts), says);
		return;
	case GS_FACT_NO:
		find(doctor, GS_LEVEL_WARN, "native",
		     "driver %s has no native XDP, %s: mode generic works, and is slower",
		     driver_of(facts), says);
		break;
	default:
		find(doctor, GS_LEVEL_WARN, "native",
		     "unknown whether driver %s has native XDP (this kernel does not say)",
		     driver_of(facts));
	}
	if (!facts->is_backend)
		fix(doctor, "geostream-loader attach %s --mode %s", doctor->name,
		    native_of(facts) == GS_FACT_NO ? "generic" : "native");
}

/* Most drivers take redirected frames only once a program is attached to them. */
static void check_redirect(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	char peer[SHELL_MAX];

	if (facts->xdp_redirect_out == GS_FACT_YES) {
		find(doctor, GS_LEVEL_OK, "redirect",
		     "takes packets that other interfaces redirect to it");
	} else if (facts->xdp_redirect_out == GS_FACT_UNKNOWN) {
		find(doctor, GS_LEVEL_OK, "redirect",
		     "unknown whether it takes packets that other interfaces redirect to it; "
		     "packets that leave where they came in do not need it");
	} else if (is_veth(facts)) {
		find(doctor, GS_LEVEL_WARN, "redirect",
		     "takes no packets that other interfaces redirect to it: veth's other end "
		     "needs an XDP program, or GRO");
		if (facts->peer[0]) {
			quote(facts->peer, peer, sizeof(peer));
			fix(doctor, "ethtool -K %s gro on", peer);
		}
	} else if (native_of(facts) == GS_FACT_YES && facts->is_attached == GS_FACT_NO) {
		find(doctor, GS_LEVEL_OK, "redirect",
		     "takes no packets that other interfaces redirect to it; most drivers do once "
		     "a program is attached");
	} else {
		find(doctor, GS_LEVEL_WARN, "redirect",
		     "takes no packets that other interfaces redirect to it: backends behind "
		     "it are out of reach of programs on other interfaces");
		fix(doctor, "geostream-loader attach %s --mode native", doctor->name);
	}
}

static uint32_t single_buffer_mtu(const struct gs_doctor_facts *facts)
{
	uint32_t taken = XDP_HEADROOM + XDP_TAIL + ETHERNET;

	return facts->page_bytes > taken + CLIENT_MTU ? facts->page_bytes - taken : CLIENT_MTU;
}

/* A veth is given what its other end sends, and goes by that one's MTU. */
static void check_mtu(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	uint32_t most = single_buffer_mtu(facts);
	uint32_t mtu = is_veth(facts) ? facts->peer_mtu : facts->mtu;
	const char *whose = is_veth(facts) ? facts->peer : facts->interface;
	char word[SHELL_MAX];

	if (!mtu)
		return;
	if (mtu <= most) {
		find(doctor, GS_LEVEL_OK, "mtu", "MTU %u of %s fits XDP's single buffer (about %u)",
		     mtu, whose, most);
		return;
	}
	find(doctor, GS_LEVEL_BAD, "mtu",
	     "MTU %u of %s exceeds what XDP takes in a single buffer (about %u, some drivers "
	     "less): mode native is refused",
	     mtu, whose, most);
	quote(whose, word, sizeof(word));
	fix(doctor, "ip link set dev %s mtu %u", word, most);
}

static void check_room(struct doctor *doctor)
{
	uint32_t mtu = doctor->facts->mtu;

	if (mtu >= CLIENT_MTU + OUTER6) {
		find(doctor, GS_LEVEL_OK, "room",
		     "MTU %u has room for a client's %u bytes in a tunnel of either family%s", mtu,
		     CLIENT_MTU,
		     mtu < CLIENT_MTU + OUTER6 + GUE ? " (GUE needs 8 more)" : ", GUE too");
		return;
	}
	find(doctor, GS_LEVEL_WARN, "room",
	     "MTU %u: a client's %u bytes do not fit %s (%u bytes, %u with IPv6, 8 more for GUE); "
	     "senders are told or their packets dropped, unless backends announce a smaller MSS",
	     mtu, CLIENT_MTU,
	     mtu >= CLIENT_MTU + OUTER4 ? "with an outer IPv6 header" : "with an outer header",
	     OUTER4, OUTER6);
	fix(doctor, "ip link set dev %s mtu %u", doctor->name, CLIENT_MTU + OUTER6 + GUE);
}

struct offload_words {
	const char *check;
	const char *good; /* when it is off */
	const char *bad;  /* when it is on */
	const char *switch_name;
	bool spoils_native; /* generic mode switches it off in its own way */
};

static void judge_offload(struct doctor *doctor, const struct gs_doctor_offload *offload,
			  enum gs_level level, const struct offload_words *words)
{
	/* what a bond says of itself is nothing its ports do, and no reason to refuse XDP */
	if (offload->is_on == GS_FACT_UNKNOWN || doctor->facts->bond.is_bond)
		return;
	if (offload->is_on == GS_FACT_NO) {
		find(doctor, GS_LEVEL_OK, words->check, "%s", words->good);
		return;
	}
	find(doctor, level, words->check, "%s%s", words->bad,
	     !offload->is_fixed	    ? ""
	     : words->spoils_native ? "; its driver cannot switch it off"
				    : "; its driver cannot switch it off, so another NIC, or no "
				      "clients and backends behind tags");
	if (!offload->is_fixed)
		fix(doctor, "ethtool -K %s %s off", doctor->name, words->switch_name);
	else if (words->spoils_native)
		fix(doctor, "geostream-loader %sattach %s --mode generic%s",
		    doctor->facts->is_backend ? "decap " : "", doctor->name,
		    doctor->facts->is_backend ? " --edge EDGE --vip VIP" : "");
}

static void check_lro(struct doctor *doctor)
{
	judge_offload(doctor, &doctor->facts->lro, GS_LEVEL_BAD,
		      &(struct offload_words){
			      "lro", "LRO is off",
			      "LRO is on: received packets are merged, and drivers refuse XDP",
			      "lro", true});
}

static void check_gro_hw(struct doctor *doctor)
{
	judge_offload(doctor, &doctor->facts->gro_hw, GS_LEVEL_WARN,
		      &(struct offload_words){
			      "gro-hw", "GRO by hardware is off",
			      "GRO by hardware is on: received packets are merged, and some "
			      "drivers refuse XDP",
			      "rx-gro-hw", true});
}

static void check_rx_vlan(struct doctor *doctor)
{
	judge_offload(
		doctor, &doctor->facts->rx_vlan, GS_LEVEL_WARN,
		&(struct offload_words){
			"rxvlan", "XDP sees VLAN tags",
			"VLAN tags are taken off before XDP sees a packet: those of VLANs are "
			"taken for untagged ones, and leave without their tag",
			"rxvlan", false});
}

static void check_queues(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	uint32_t wanted = facts->cpus;

	if (!facts->rx_queues)
		return;
	if (facts->rx_queues_max && facts->rx_queues_max < wanted)
		wanted = facts->rx_queues_max;
	if (facts->rx_queues >= wanted || !facts->rx_queues_max) {
		find(doctor, GS_LEVEL_OK, "queues", "receive queues: %u%s for %u CPUs",
		     facts->rx_queues,
		     facts->rx_queues == facts->rx_queues_max ? ", all there are," : "",
		     facts->cpus);
		return;
	}
	find(doctor, GS_LEVEL_WARN, "queues",
	     "receive queues: %u of %u for %u CPUs, of which some will idle", facts->rx_queues,
	     facts->rx_queues_max, facts->cpus);
	fix(doctor, "ethtool -L %s %s %u", doctor->name,
	    facts->are_queues_combined ? "combined" : "rx", wanted);
}

/* veth: the sender leaves checksums to a card there is none of. */
static void check_checksums(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	char peer[SHELL_MAX];

	if (!is_veth(facts))
		return;
	if (facts->tx_checksum.is_on == GS_FACT_YES) {
		find(doctor, GS_LEVEL_WARN, "checksum",
		     "veth hands over unfinished checksums: what XDP tunnels or redirects then "
		     "arrives broken. To be off at both ends");
		if (!facts->tx_checksum.is_fixed)
			fix(doctor, "ethtool -K %s tx off", doctor->name);
	}
	if (facts->peer_tx_checksum.is_on == GS_FACT_YES) {
		quote(facts->peer, peer, sizeof(peer));
		find(doctor, GS_LEVEL_WARN, "checksum",
		     "veth's other end, %s, hands over unfinished checksums", facts->peer);
		if (!facts->peer_tx_checksum.is_fixed)
			fix(doctor, "ethtool -K %s tx off", peer);
	}
	if (facts->tx_checksum.is_on == GS_FACT_NO && facts->peer_tx_checksum.is_on != GS_FACT_YES)
		find(doctor, GS_LEVEL_OK, "checksum", "veth finishes checksums%s",
		     facts->peer[0] ? "" : " at this end (the other one is not in sight)");
}

static void judge_others(struct doctor *doctor)
{
	const struct gs_nic *nic = &doctor->facts->nic;

	if (nic->holder == GS_NIC_FOREIGN_DISPATCHER) {
		find(doctor, GS_LEVEL_WARN, "program",
		     "libxdp's dispatcher runs %u other XDP programs there, mode %s: --beside "
		     "joins them",
		     nic->other_count, gs_xdp_mode_name(nic->mode));
		fix(doctor, "geostream-loader attach %s --mode %s --beside", doctor->name,
		    gs_xdp_mode_name(nic->mode));
		return;
	}
	find(doctor, GS_LEVEL_BAD, "program",
	     "another XDP program is attached, '%s' (id %u), mode %s: attach refuses; --force "
	     "takes it off",
	     nic->program.name, nic->program.id, gs_xdp_mode_name(nic->mode));
	fix(doctor, "geostream-loader attach %s --mode %s --force", doctor->name,
	    gs_xdp_mode_name(nic->mode));
}

static void check_program(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->is_attached == GS_FACT_UNKNOWN)
		return;
	if (facts->nic.holder == GS_NIC_FREE)
		find(doctor, GS_LEVEL_OK, "program", "no XDP program is attached");
	else if (facts->nic.holder == GS_NIC_LINK || facts->nic.holder == GS_NIC_DISPATCHER)
		find(doctor, GS_LEVEL_OK, "program", "GeoStream is attached, mode %s",
		     gs_xdp_mode_name(facts->nic.mode));
	else
		judge_others(doctor);
}

/* ---- sysctls of an edge ----------------------------------------------------------------------*/

static void check_rp_filter(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->rp_filter < 0)
		return;
	if (larger(facts->rp_filter, facts->rp_filter_all) != 1) {
		find(doctor, GS_LEVEL_OK, "rp_filter", "rp_filter is not strict");
		return;
	}
	find(doctor, GS_LEVEL_WARN, "rp_filter",
	     "rp_filter is strict: an answer to a probe that comes back by another way is dropped");
	fix_conf(doctor, facts->interface, "rp_filter", 2);
}

/* Either is right: bpf_fib_lookup asks the kernel's routes only where it may forward. */
static void check_forwarding(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	static const char *const whose[] = {"", "IPv4", "IPv6", "both families"};
	int which = (facts->forwarding4 > 0) + 2 * (facts->forwarding6 > 0);

	if (which)
		find(doctor, GS_LEVEL_OK, "forwarding",
		     "the kernel may forward %s from there: its routes help where the controller has no "
		     "next hop. What is for a VIP but no service goes round in circles, unless the "
		     "VIP has a blackhole route",
		     whose[which]);
	else
		find(doctor, GS_LEVEL_OK, "forwarding",
		     "the kernel forwards nothing from there, and need not: XDP does it alone, "
		     "and drops (drop_no_hop) what the controller has no next hop for");
}

/* ---- a backend -------------------------------------------------------------------------------*/

static bool has_decap(const struct gs_doctor_facts *facts)
{
	const struct gs_nic *nic = &facts->nic;

	if (facts->is_attached == GS_FACT_UNKNOWN || nic->holder == GS_NIC_FREE)
		return false;
	if (!strcmp(nic->program.name, DECAP_PROGRAM))
		return true;
	for (uint32_t i = 0; i < nic->other_count; i++) {
		if (!strcmp(nic->others[i].name, DECAP_PROGRAM))
			return true;
	}
	return false;
}

static bool has_vip_of(const struct gs_doctor_facts *facts, int family)
{
	for (uint32_t i = 0; i < facts->vip_count; i++) {
		if (facts->vips[i].family == family)
			return true;
	}
	return false;
}

static bool takes_out(const struct gs_doctor_tunnel *tunnel, int family)
{
	int protocol = family == AF_INET ? IPPROTO_IPIP : IPPROTO_IPV6;

	if (tunnel->kind != GS_TUNNEL_IP6)
		return (tunnel->kind == GS_TUNNEL_IPIP) == (family == AF_INET);
	return tunnel->protocol <= 0 || tunnel->protocol == protocol;
}

/* One that is up, else one that is not, else NULL. */
static const struct gs_doctor_tunnel *find_tunnel(const struct gs_doctor_facts *facts, int family)
{
	const struct gs_doctor_tunnel *found = NULL;

	for (uint32_t i = 0; i < facts->tunnel_count; i++) {
		if (takes_out(&facts->tunnels[i], family) && (!found || !found->is_up))
			found = &facts->tunnels[i];
	}
	return found;
}

/* The interface that takes whatever no other tunnel does; of others the mode is their owner's. */
static bool has_fallback6(const struct gs_doctor_facts *facts)
{
	for (uint32_t i = 0; i < facts->tunnel_count; i++) {
		if (!strcmp(facts->tunnels[i].name, FALLBACK6))
			return true;
	}
	return false;
}

static bool has_tunnel(const struct gs_doctor_facts *facts)
{
	return facts->forward != GS_DOCTOR_L2 && facts->forward != GS_DOCTOR_NAT;
}

/* A command under construction; one that does not fit is none. */
struct command {
	char text[640];
	size_t used;
	bool is_whole;
};

static void __attribute__((format(printf, 2, 3)))
add(struct command *command, const char *format, ...)
{
	size_t room = sizeof(command->text) - command->used;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(command->text + command->used, room, format, args);
	va_end(args);
	command->is_whole = command->is_whole && length >= 0 && (size_t)length < room;
	if (command->is_whole)
		command->used += (size_t)length;
}

/* Attach, or attach again: what is believed now, and what should be. */
static void fix_by_kit(struct doctor *doctor, const char *first)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	const struct gs_decap_lists *lists = &facts->decap.lists;
	struct command command = {.is_whole = true};
	char text[GS_DECAP_TEXT_MAX];
	struct gs_decap_vip_key key;

	add(&command, "%sgeostream-loader decap attach %s", first, doctor->name);
	if (!facts->decap.is_attached)
		add(&command, " --mode %s", native_of(facts) == GS_FACT_YES ? "native" : "generic");
	for (uint32_t i = 0; i < lists->edge_count; i++)
		add(&command, " --edge %s", gs_decap_format_edge(&lists->edges[i], text));
	for (uint32_t i = 0; i < facts->edge_count; i++) {
		if (!gs_decap_covers(lists, &facts->edges[i]))
			add(&command, " --edge %s", gs_decap_format_edge(&facts->edges[i], text));
	}
	if (!lists->edge_count && !facts->edge_count)
		add(&command, " --edge EDGE");
	for (uint32_t i = 0; i < lists->vip_count; i++)
		add(&command, " --vip %s", gs_decap_format_vip(&lists->vips[i], text));
	for (uint32_t i = 0; i < facts->vip_count; i++) {
		if (!gs_decap_parse_vip(facts->vips[i].text, &key) &&
		    !gs_decap_has_vip(lists, &key))
			add(&command, " --vip %s", facts->vips[i].text);
	}
	if (!lists->vip_count && !facts->vip_count)
		add(&command, " --vip VIP");
	if (command.is_whole)
		fix(doctor, "%s", command.text);
	else
		fix(doctor, "geostream-loader decap status %s", doctor->name);
}

static void fix_decap(struct doctor *doctor, int family)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->decap_object[0])
		fix_by_kit(doctor, "");
	else if (family == AF_INET)
		fix(doctor, "modprobe ipip && ip link set dev tunl0 up");
	else
		fix(doctor, "modprobe ip6_tunnel && ip link set dev ip6tnl0 up");
}

static void judge_decap(struct doctor *doctor, int family)
{
	const struct gs_doctor_tunnel *tunnel = find_tunnel(doctor->facts, family);
	int version = family == AF_INET ? 4 : 6;
	char word[SHELL_MAX];

	if (!tunnel && has_fallback6(doctor->facts)) {
		find(doctor, GS_LEVEL_BAD, "decap",
		     FALLBACK6 " takes out the other family only, as it does by default: nothing "
			       "takes IPv%d packets out of their tunnel",
		     version);
		fix(doctor, "ip -6 tunnel change " FALLBACK6
			    " mode any && ip link set dev " FALLBACK6 " up");
	} else if (!tunnel) {
		find(doctor, GS_LEVEL_BAD, "decap",
		     "nothing takes IPv%d packets out of their tunnel (forward ipip): neither " DECAP_PROGRAM
		     " on %s nor a tunnel interface",
		     version, doctor->facts->interface);
		fix_decap(doctor, family);
	} else if (!tunnel->is_up) {
		find(doctor, GS_LEVEL_BAD, "decap",
		     "%s, which could take IPv%d packets out of their tunnel, is down",
		     tunnel->name, version);
		quote(tunnel->name, word, sizeof(word));
		fix(doctor, "ip link set dev %s up", word);
	} else {
		find(doctor, GS_LEVEL_OK, "decap", "%s takes IPv%d packets out of an IPv%d tunnel",
		     tunnel->name, version, tunnel->kind == GS_TUNNEL_IP6 ? 6 : 4);
	}
}

static void judge_list(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	const struct gs_decap_lists *lists = &facts->decap.lists;
	char text[GS_DECAP_TEXT_MAX];
	struct gs_decap_vip_key key;

	for (uint32_t i = 0; i < facts->edge_count; i++) {
		if (gs_decap_covers(lists, &facts->edges[i]))
			continue;
		find(doctor, GS_LEVEL_BAD, "edges", "packets from edge %s are not taken out",
		     gs_decap_format_edge(&facts->edges[i], text));
		fix_by_kit(doctor, "");
		return;
	}
	for (uint32_t i = 0; i < facts->vip_count; i++) {
		if (gs_decap_parse_vip(facts->vips[i].text, &key) || gs_decap_has_vip(lists, &key))
			continue;
		find(doctor, GS_LEVEL_BAD, "vips", "packets for %s are dropped by " DECAP_PROGRAM,
		     facts->vips[i].text);
		fix_by_kit(doctor, "");
		return;
	}
	find(doctor, GS_LEVEL_OK, "edges", "%u edge%s believed, %u VIP%s served", lists->edge_count,
	     lists->edge_count == 1 ? " is" : "s are", lists->vip_count,
	     lists->vip_count == 1 ? "" : "s");
}

/* What it believes, and whom it tells what fits. */
static void check_kit(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	char first[SHELL_MAX + 64];

	if (!has_decap(facts) || !has_tunnel(facts))
		return;
	if (!facts->decap.is_attached) {
		find(doctor, GS_LEVEL_WARN, "edges",
		     DECAP_PROGRAM " was not attached by 'decap attach': whom it believes cannot "
				   "be seen");
		snprintf(first, sizeof(first), "ip link set dev %s %s off && ", doctor->name,
			 gs_xdp_mode_ip(facts->nic.mode));
		fix_by_kit(doctor, first);
		return;
	}
	judge_list(doctor);
	if (facts->decap.conf.mss_mode != GS_DECAP_MSS_OFF && !facts->decap.has_egress) {
		find(doctor, GS_LEVEL_WARN, "egress",
		     "the kit's filter at egress is gone: the MSS of answers is not made smaller");
		fix_by_kit(doctor, "");
	}
}

static void check_decap(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	bool has6 = has_vip_of(facts, AF_INET6);

	if (!has_tunnel(facts)) {
		find(doctor, GS_LEVEL_OK, "decap", "forward %s: nothing to take out",
		     forward_names[facts->forward]);
		return;
	}
	if (has_decap(facts)) {
		find(doctor, GS_LEVEL_OK, "decap",
		     DECAP_PROGRAM " on %s takes packets out of tunnels of either family",
		     facts->interface);
		return;
	}
	if (facts->forward == GS_DOCTOR_GUE) {
		find(doctor, GS_LEVEL_BAD, "decap",
		     "nothing takes packets out of GUE: no " DECAP_PROGRAM
		     " on %s (the kernel's fou is not looked for)",
		     facts->interface);
		fix_by_kit(doctor, "");
		return;
	}
	if (has_vip_of(facts, AF_INET) || !has6)
		judge_decap(doctor, AF_INET);
	if (has6)
		judge_decap(doctor, AF_INET6);
}

/* Another program would be taken off by nobody: it may be the host's own firewall. */
static void check_backend_program(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->is_attached == GS_FACT_UNKNOWN || has_decap(facts) ||
	    facts->nic.holder == GS_NIC_FREE)
		return;
	if (facts->nic.holder == GS_NIC_LINK || facts->nic.holder == GS_NIC_DISPATCHER) {
		find(doctor, GS_LEVEL_OK, "program",
		     "GeoStream is attached: an edge that is a backend, too");
		return;
	}
	find(doctor, GS_LEVEL_WARN, "program",
	     "an XDP program sees packets first, '%s' (id %u): it must pass IPIP",
	     facts->nic.program.name, facts->nic.program.id);
	fix(doctor, "bpftool prog show id %u", facts->nic.attached_id);
}

static void judge_vip(struct doctor *doctor, const struct gs_doctor_vip *vip)
{
	uint32_t host = vip->family == AF_INET ? 32 : 128;
	char word[SHELL_MAX];

	quote(vip->device, word, sizeof(word));
	if (!vip->device[0]) {
		find(doctor, GS_LEVEL_BAD, "vip", "%s is not an address of this host", vip->text);
		fix(doctor, "ip address replace %s/%u dev lo", vip->text, host);
	} else if (vip->is_on_wire) {
		find(doctor, GS_LEVEL_BAD, "vip",
		     "%s is on %s, which answers for it on the wire: it belongs on lo or a dummy",
		     vip->text, vip->device);
		fix(doctor, "ip address delete %s/%u dev %s && ip address replace %s/%u dev lo",
		    vip->text, vip->prefix, word, vip->text, host);
	} else if (!vip->is_up) {
		find(doctor, GS_LEVEL_BAD, "vip", "%s is on %s, which is down", vip->text,
		     vip->device);
		fix(doctor, "ip link set dev %s up", word);
	} else if (vip->prefix != host) {
		find(doctor, GS_LEVEL_BAD, "vip",
		     "%s/%u on %s: all of that network's addresses are local now, or unreachable",
		     vip->text, vip->prefix, vip->device);
		fix(doctor, "ip address replace %s/%u dev lo && ip address delete %s/%u dev %s",
		    vip->text, host, vip->text, vip->prefix, word);
	} else {
		find(doctor, GS_LEVEL_OK, "vip", "%s is on %s", vip->text, vip->device);
	}
}

static void check_vips(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->forward == GS_DOCTOR_NAT) {
		find(doctor, GS_LEVEL_OK, "vip", "forward nat: packets come to its own address");
		return;
	}
	for (uint32_t i = 0; i < facts->vip_count; i++)
		judge_vip(doctor, &facts->vips[i]);
	if (facts->vip_count)
		return;
	find(doctor, GS_LEVEL_WARN, "vip", "no --vip was given: not looked for");
	fix(doctor, "geostream-loader doctor %s --backend --vip ADDRESS", doctor->name);
}

static void check_ipv6(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (!has_vip_of(facts, AF_INET6))
		return;
	if (facts->disable_ipv6 == 1 || facts->lo_disable_ipv6 == 1) {
		find(doctor, GS_LEVEL_BAD, "ipv6", "IPv6 is disabled on %s",
		     facts->disable_ipv6 == 1 ? facts->interface : "lo");
		fix(doctor,
		    "sysctl -w net/ipv6/conf/%s/disable_ipv6=0 net/ipv6/conf/lo/disable_ipv6=0",
		    doctor->name);
		return;
	}
	if (facts->disable_ipv6 == 0)
		find(doctor, GS_LEVEL_OK, "ipv6", "IPv6 is enabled");
}

static void judge_tunnel_rp_filter(struct doctor *doctor, const char *device, int own,
				   enum gs_level level)
{
	if (own < 0)
		return;
	if (larger(own, doctor->facts->rp_filter_all) != 1) {
		find(doctor, GS_LEVEL_OK, "rp_filter", "rp_filter of %s is not strict", device);
		return;
	}
	find(doctor, level, "rp_filter",
	     "rp_filter of %s is strict: packets of clients whose way back is another interface "
	     "are dropped",
	     device);
	fix_conf(doctor, device, "rp_filter", 2);
}

/* Where the client's packet appears: out of a tunnel interface, or on the one XDP is on. */
static void check_backend_rp_filter(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->forward == GS_DOCTOR_NAT)
		return;
	judge_tunnel_rp_filter(doctor, facts->interface, facts->rp_filter, GS_LEVEL_WARN);
	if (!has_tunnel(facts))
		return;
	for (uint32_t i = 0; i < facts->tunnel_count; i++) {
		const struct gs_doctor_tunnel *tunnel = &facts->tunnels[i];

		if (tunnel->is_up && takes_out(tunnel, AF_INET))
			judge_tunnel_rp_filter(doctor, tunnel->name, tunnel->rp_filter,
					       GS_LEVEL_BAD);
	}
}

static void check_arp(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	/* By L2 it shares the edge's link, where the VIP may well be asked for. */
	enum gs_level level = facts->forward == GS_DOCTOR_L2 ? GS_LEVEL_BAD : GS_LEVEL_WARN;

	if (facts->arp_ignore < 0 || facts->arp_announce < 0 || facts->forward == GS_DOCTOR_NAT ||
	    (facts->vip_count && !has_vip_of(facts, AF_INET)))
		return;
	if (larger(facts->arp_ignore, facts->arp_ignore_all) == 0) {
		find(doctor, level, "arp",
		     "arp_ignore is 0: where the VIP is on-link this host answers ARP for it, and "
		     "takes it from the edge");
		fix_conf(doctor, facts->interface, "arp_ignore", 1);
	} else {
		find(doctor, GS_LEVEL_OK, "arp", "no ARP is answered for addresses of lo");
	}
	if (larger(facts->arp_announce, facts->arp_announce_all) < 2) {
		find(doctor, level, "arp",
		     "arp_announce is not 2: where the VIP is on-link this host's own ARP "
		     "questions may announce it");
		fix_conf(doctor, facts->interface, "arp_announce", 2);
	} else {
		find(doctor, GS_LEVEL_OK, "arp", "ARP questions announce no address of lo");
	}
}

static void check_accept_local(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;

	if (facts->accept_local < 0 || facts->forward == GS_DOCTOR_NAT)
		return;
	if (facts->accept_local == 0 && facts->accept_local_all <= 0) {
		find(doctor, GS_LEVEL_OK, "accept_local",
		     "packets that claim to come from this host are refused");
		return;
	}
	find(doctor, GS_LEVEL_WARN, "accept_local",
	     "accept_local is 1: packets from a tunnel may claim to come from this host's own "
	     "addresses, the VIP among them");
	fix(doctor, "sysctl -w net/ipv4/conf/all/accept_local=0 net/ipv4/conf/%s/accept_local=0",
	    doctor->name);
}

/* The largest packet that clients are asked to send at most, capped by what arrives anywhere. */
static uint32_t largest_asked(const struct gs_doctor_route *route, uint32_t headers)
{
	uint32_t bytes =
		route->mtu && route->mtu < route->device_mtu ? route->mtu : route->device_mtu;

	if (route->advmss)
		bytes = route->advmss + headers;
	return bytes && bytes < CLIENT_MTU ? bytes : CLIENT_MTU;
}

/* The kit's filter has the last word on SYN-ACKs. */
static uint32_t clamped(const struct gs_doctor_facts *facts, int version, uint32_t headers,
			uint32_t asked)
{
	uint32_t mss = version == 4 ? facts->decap.conf.mss4 : facts->decap.conf.mss6;

	return facts->decap.has_egress && mss && mss + headers < asked ? mss + headers : asked;
}

/* What the outer header takes at most. */
static uint32_t outer_most(const struct gs_doctor_facts *facts)
{
	uint32_t outer = OUTER6;

	/* The kit knows of which families its edges are. */
	if (facts->decap.is_attached) {
		outer = OUTER4;
		for (uint32_t i = 0; i < facts->decap.lists.edge_count; i++) {
			if (facts->decap.lists.edges[i].family == 6)
				outer = OUTER6;
		}
	}
	return outer + (facts->forward == GS_DOCTOR_GUE ? GUE : 0);
}

static void judge_mss(struct doctor *doctor, const struct gs_doctor_route *route, int version)
{
	uint32_t mtu = doctor->facts->mtu, headers = version == 4 ? 40 : 60;
	uint32_t outer = outer_most(doctor->facts);
	uint32_t asked = clamped(doctor->facts, version, headers, largest_asked(route, headers));
	const char *family = version == 4 ? "" : " -6";

	if (route->exists == GS_FACT_UNKNOWN)
		return;
	if (route->exists == GS_FACT_NO) {
		find(doctor, GS_LEVEL_WARN, "route",
		     "no IPv%d default route: answers to clients need a way of their own", version);
		fix(doctor, "ip%s route show table all", family);
		return;
	}
	if (asked + outer <= mtu) {
		find(doctor, GS_LEVEL_OK, "mss",
		     "clients' IPv%d packets of up to %u bytes fit a tunnel in MTU %u", version,
		     asked, mtu);
		return;
	}
	find(doctor, GS_LEVEL_WARN, "mss",
	     "clients are asked for IPv%d packets of up to %u bytes, which do not fit MTU %u with "
	     "an outer header (up to %u bytes)",
	     version, asked, mtu, outer);
	if (doctor->facts->decap.is_attached) {
		fix_by_kit(doctor, "");
		return;
	}
	if (mtu < OUTER_SPARE + headers + 500)
		return;
	/* advmss appears once; the first default route is the one in force */
	fix(doctor,
	    "ip%s route change $(ip%s route show default | head -n 1 | sed 's/ advmss [0-9]*//; "
	    "s/ pref [a-z]*//; s/ expires [0-9]*sec//') advmss %u",
	    family, family, mtu - OUTER_SPARE - headers);
}

static void check_mss(struct doctor *doctor)
{
	const struct gs_doctor_facts *facts = doctor->facts;
	bool has6 = has_vip_of(facts, AF_INET6);

	if (!has_tunnel(facts))
		return;
	if (has_vip_of(facts, AF_INET) || !has6)
		judge_mss(doctor, &facts->route4, 4);
	if (has6)
		judge_mss(doctor, &facts->route6, 6);
}

/* ---- all of it -------------------------------------------------------------------------------*/

enum {
	EDGE = 1,
	BACKEND = 2,
	KIT = 4, /* a backend that takes tunnels apart in XDP, as an edge makes them */
};

static const struct {
	void (*run)(struct doctor *doctor);
	unsigned roles;
	bool needs_interface;
} checks[] = {
	{check_kernel, EDGE | KIT, false},
	{check_capabilities, EDGE, false},
	{check_btf, EDGE, false},
	{check_bpffs, EDGE, false},
	{check_memlock, EDGE, false},
	{check_link, EDGE | BACKEND, true},
	{check_bond, EDGE | BACKEND, true},
	{check_native, EDGE, true},
	{check_redirect, EDGE, true},
	{check_program, EDGE, true},
	{check_mtu, EDGE, true},
	{check_room, EDGE, true},
	{check_lro, EDGE | KIT, true},
	{check_gro_hw, EDGE | KIT, true},
	{check_rx_vlan, EDGE, true},
	{check_queues, EDGE, true},
	{check_checksums, EDGE | BACKEND, true},
	{check_rp_filter, EDGE, true},
	{check_forwarding, EDGE, true},
	{check_vips, BACKEND, true},
	{check_ipv6, BACKEND, true},
	{check_decap, BACKEND, true},
	{check_kit, BACKEND, true},
	{check_backend_program, BACKEND, true},
	{check_backend_rp_filter, BACKEND, true},
	{check_arp, BACKEND, true},
	{check_accept_local, BACKEND, true},
	{check_mss, BACKEND, true},
};

void gs_doctor_judge(const struct gs_doctor_facts *facts, struct gs_findings *ret_findings)
{
	struct doctor doctor = {.facts = facts, .findings = ret_findings};
	unsigned role = facts->is_backend ? BACKEND : EDGE;

	if (facts->is_backend && has_tunnel(facts) && (has_decap(facts) || !facts->tunnel_count))
		role |= KIT;
	ret_findings->count = 0;
	quote(facts->interface, doctor.name, sizeof(doctor.name));
	if (!facts->exists) {
		find(&doctor, GS_LEVEL_BAD, "link", "no interface %s in this network namespace",
		     facts->interface);
		fix(&doctor, "ip -brief link");
	}
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (checks[i].roles & role && (facts->exists || !checks[i].needs_interface))
			checks[i].run(&doctor);
	}
}
