// SPDX-License-Identifier: Apache-2.0
#include "loader/doctor_facts.h"

#include "loader/loader.h"
#include "loader/netlink.h"
#include "loader/pins.h"
#include "loader/status.h"
#include "user/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/ip6_tunnel.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#define CAPABILITY_NET_ADMIN 12
#define CAPABILITY_SYS_ADMIN 21
#define CAPABILITY_PERFMON 38
#define CAPABILITY_BPF 39
#define STRINGS_MAX 4096u
#define TUNNEL_GET (SIOCDEVPRIVATE + 0) /* SIOCGETTUNNEL */

static enum gs_fact fact(bool is_so)
{
	return is_so ? GS_FACT_YES : GS_FACT_NO;
}

/* ---- files -----------------------------------------------------------------------------------*/

/* -1: it is not there, or no number. */
static int read_conf(int version, const char *device, const char *setting)
{
	char path[128];
	GS_AUTO_FCLOSE FILE *file = NULL;
	char line[32], *end;
	long value;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv%d/conf/%s/%s", version, device, setting);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return -1;
	value = strtol(line, &end, 10);
	return end == line || value < 0 || value > 1000 ? -1 : (int)value;
}

static void read_capabilities(struct gs_doctor_facts *facts)
{
	static const char label[] = "CapEff:";
	GS_AUTO_FCLOSE FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	uint64_t bits;

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, label, strlen(label)) != 0)
			continue;
		bits = strtoull(line + strlen(label), NULL, 16);
		if (bits >> CAPABILITY_SYS_ADMIN & 1) /* which holds these two */
			bits |= UINT64_C(1) << CAPABILITY_BPF | UINT64_C(1) << CAPABILITY_PERFMON;
		facts->has_cap_bpf = fact(bits >> CAPABILITY_BPF & 1);
		facts->has_cap_perfmon = fact(bits >> CAPABILITY_PERFMON & 1);
		facts->has_cap_net_admin = fact(bits >> CAPABILITY_NET_ADMIN & 1);
	}
}

static void read_kernel(struct gs_doctor_facts *facts)
{
	struct utsname name;
	char *at;

	if (uname(&name))
		return;
	facts->kernel_major = (uint32_t)strtoul(name.release, &at, 10);
	if (*at == '.')
		facts->kernel_minor = (uint32_t)strtoul(at + 1, NULL, 10);
}

/* "": there is none. */
static void find_decap(struct gs_doctor_facts *facts)
{
	char path[PATH_MAX];

	facts->decap_object[0] = '\0';
	if (!gs_loader_find_object(NULL, GS_DECAP_OBJECT, path, NULL) &&
	    strlen(path) < sizeof(facts->decap_object))
		strcpy(facts->decap_object, path);
}

static void read_machine(struct gs_doctor_facts *facts)
{
	struct rlimit memlock = {0};

	read_kernel(facts);
	read_capabilities(facts);
	facts->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	facts->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	facts->has_btf = fact(!access("/sys/kernel/btf/vmlinux", R_OK));
	facts->has_bpffs = fact(gs_pins_is_bpffs("/sys/fs/bpf"));
	facts->is_mount_private = facts->has_bpffs == GS_FACT_NO && gs_pins_are_private();
	getrlimit(RLIMIT_MEMLOCK, &memlock);
	facts->memlock_bytes = memlock.rlim_cur; /* RLIM_INFINITY is the largest there is */
	facts->rp_filter_all = read_conf(4, "all", "rp_filter");
	facts->arp_ignore_all = read_conf(4, "all", "arp_ignore");
	facts->arp_announce_all = read_conf(4, "all", "arp_announce");
	facts->accept_local_all = read_conf(4, "all", "accept_local");
	facts->forwarding6 = read_conf(6, "all", "forwarding");
	facts->lo_disable_ipv6 = read_conf(6, "lo", "disable_ipv6");
	find_decap(facts);
}

/* ---- ioctls ----------------------------------------------------------------------------------*/

static int ask_device(int fd, unsigned long what, const char *name, struct ifreq *ret_answer)
{
	memset(ret_answer, 0, sizeof(*ret_answer));
	snprintf(ret_answer->ifr_name, sizeof(ret_answer->ifr_name), "%s", name);
	return ioctl(fd, what, ret_answer) ? -errno : 0;
}

static int ask_ethtool(int fd, const char *name, void *question)
{
	struct ifreq request = {.ifr_data = question};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

static void read_driver(int fd, const char *name, char ret_driver[32])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	ret_driver[0] = '\0';
	if (!ask_ethtool(fd, name, &info))
		snprintf(ret_driver, 32, "%s", info.driver);
}

/* NULL, or owned by the caller: `len` names of ETH_GSTRING_LEN. */
static struct ethtool_gstrings *read_strings(int fd, const char *name, uint32_t set)
{
	union {
		struct ethtool_sset_info head;
		char bytes[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} info = {.head = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = UINT64_C(1) << set}};
	GS_AUTO_FREE struct ethtool_gstrings *strings = NULL;
	uint32_t count;

	if (ask_ethtool(fd, name, &info) || !info.head.sset_mask)
		return NULL;
	memcpy(&count, info.bytes + sizeof(info.head), sizeof(count));
	if (!count || count > STRINGS_MAX)
		return NULL;
	strings = calloc(1, sizeof(*strings) + (size_t)count * ETH_GSTRING_LEN);
	if (!strings)
		return NULL;
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = set;
	strings->len = count;
	if (ask_ethtool(fd, name, strings))
		return NULL;
	return gs_take_ptr(strings);
}

static bool is_string(const struct ethtool_gstrings *strings, uint32_t i, const char *word)
{
	return !strncmp((const char *)strings->data + (size_t)i * ETH_GSTRING_LEN, word,
			ETH_GSTRING_LEN);
}

struct offload_slot {
	const char *word;
	struct gs_doctor_offload *offload;
};

/* Several words of one offload: on if one is, fixed if all that are on are. */
static void add_offload(struct gs_doctor_offload *offload, bool is_on, bool is_fixed)
{
	if (!is_on) {
		if (offload->is_on == GS_FACT_UNKNOWN)
			offload->is_on = GS_FACT_NO;
		return;
	}
	offload->is_fixed = is_fixed && (offload->is_on != GS_FACT_YES || offload->is_fixed);
	offload->is_on = GS_FACT_YES;
}

static void read_offloads(int fd, const char *name, const struct offload_slot *slots, size_t count)
{
	GS_AUTO_FREE struct ethtool_gstrings *strings = read_strings(fd, name, ETH_SS_FEATURES);
	GS_AUTO_FREE struct ethtool_gfeatures *features = NULL;
	uint32_t blocks;

	if (!strings)
		return;
	blocks = (strings->len + 31) / 32;
	features = calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (!features)
		return;
	features->cmd = ETHTOOL_GFEATURES;
	features->size = blocks;
	if (ask_ethtool(fd, name, features))
		return;
	for (uint32_t i = 0; i < strings->len && i / 32 < features->size; i++) {
		const struct ethtool_get_features_block *block = &features->features[i / 32];
		bool is_switchable = (block->available & ~block->never_changed) >> i % 32 & 1;

		for (size_t slot = 0; slot < count; slot++) {
			if (is_string(strings, i, slots[slot].word))
				add_offload(slots[slot].offload, block->active >> i % 32 & 1,
					    !is_switchable);
		}
	}
}

static void read_tx_checksum(int fd, const char *name, struct gs_doctor_offload *offload)
{
	const struct offload_slot slots[] = {
		{"tx-checksum-ipv4", offload},
		{"tx-checksum-ipv6", offload},
		{"tx-checksum-ip-generic", offload},
	};

	read_offloads(fd, name, slots, ARRAY_SIZE(slots));
}

static void read_peer(int fd, struct gs_doctor_facts *facts)
{
	char name[IF_NAMESIZE];
	struct ifreq answer;
	uint32_t peer;

	if (gs_netlink_peer(if_nametoindex(facts->interface), &peer) || !peer ||
	    !if_indextoname(peer, name))
		return;
	memcpy(facts->peer, name, sizeof(facts->peer));
	read_tx_checksum(fd, name, &facts->peer_tx_checksum);
	if (!ask_device(fd, SIOCGIFMTU, name, &answer))
		facts->peer_mtu = (uint32_t)answer.ifr_mtu;
}

static void read_queues(int fd, struct gs_doctor_facts *facts)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};

	if (ask_ethtool(fd, facts->interface, &channels))
		return;
	facts->are_queues_combined = channels.max_combined > 0;
	facts->rx_queues = channels.rx_count + channels.combined_count;
	facts->rx_queues_max = facts->are_queues_combined ? channels.max_combined : channels.max_rx;
}

static void read_link(int fd, struct gs_doctor_facts *facts)
{
	const struct offload_slot slots[] = {
		{"rx-lro", &facts->lro},
		{"rx-gro-hw", &facts->gro_hw},
		{"rx-vlan-hw-parse", &facts->rx_vlan},
	};
	struct ifreq answer;

	if (!ask_device(fd, SIOCGIFFLAGS, facts->interface, &answer)) {
		facts->is_up = answer.ifr_flags & IFF_UP;
		facts->has_carrier = answer.ifr_flags & IFF_RUNNING;
	}
	if (!ask_device(fd, SIOCGIFHWADDR, facts->interface, &answer))
		facts->is_ethernet = answer.ifr_hwaddr.sa_family == ARPHRD_ETHER;
	if (!ask_device(fd, SIOCGIFMTU, facts->interface, &answer))
		facts->mtu = (uint32_t)answer.ifr_mtu;
	read_driver(fd, facts->interface, facts->driver);
	read_offloads(fd, facts->interface, slots, ARRAY_SIZE(slots));
	read_tx_checksum(fd, facts->interface, &facts->tx_checksum);
	read_queues(fd, facts);
	gs_bond_read(facts->interface, &facts->bond);
	if (!strcmp(facts->driver, "veth"))
		read_peer(fd, facts);
}

/* ---- XDP, sysctls ----------------------------------------------------------------------------*/

static void read_xdp(const char *pin_dir, struct gs_doctor_facts *facts)
{
	struct gs_status status;
	uint64_t features;

	if (!gs_netlink_xdp_features(if_nametoindex(facts->interface), &features)) {
		facts->xdp_native = fact(features & GS_XDP_FEATURE_BASIC);
		facts->xdp_redirect_out = fact(features & GS_XDP_FEATURE_NDO_XMIT);
	}
	/* without the right to open the pins it is seen all the same, as another's */
	if (!gs_status_read(facts->interface, pin_dir, &status, NULL))
		facts->nic = status.nic;
	else if (gs_nic_look(facts->interface, NULL, &facts->nic, NULL))
		return;
	facts->is_attached = fact(facts->nic.holder != GS_NIC_FREE);
}

static void read_interface_conf(struct gs_doctor_facts *facts)
{
	facts->rp_filter = read_conf(4, facts->interface, "rp_filter");
	facts->forwarding4 = read_conf(4, facts->interface, "forwarding");
	facts->arp_ignore = read_conf(4, facts->interface, "arp_ignore");
	facts->arp_announce = read_conf(4, facts->interface, "arp_announce");
	facts->accept_local = read_conf(4, facts->interface, "accept_local");
	facts->disable_ipv6 = read_conf(6, facts->interface, "disable_ipv6");
}

/* ---- a backend -------------------------------------------------------------------------------*/

int gs_doctor_parse_vip(const char *text, struct gs_doctor_vip *ret_vip)
{
	struct gs_doctor_vip vip = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
	struct in6_addr address;

	if (inet_pton(vip.family, text, &address) != 1)
		return -EINVAL;
	inet_ntop(vip.family, &address, vip.text, sizeof(vip.text));
	*ret_vip = vip;
	return 0;
}

static const void *address_of(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return &((const struct sockaddr_in *)(const void *)address)->sin_addr;
	return &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
}

static uint32_t prefix_of(const struct sockaddr *mask, int family)
{
	const unsigned char *bytes = address_of(mask);
	uint32_t prefix = 0;

	for (size_t i = 0; i < (family == AF_INET ? 4u : 16u); i++)
		prefix += (uint32_t)__builtin_popcount(bytes[i]);
	return prefix;
}

static void take_address(struct gs_doctor_vip *vip, const struct ifaddrs *entry)
{
	bool is_on_wire = !(entry->ifa_flags & (IFF_LOOPBACK | IFF_NOARP));
	char text[INET6_ADDRSTRLEN];

	if (!entry->ifa_addr || !entry->ifa_netmask || entry->ifa_addr->sa_family != vip->family)
		return;
	inet_ntop(vip->family, address_of(entry->ifa_addr), text, sizeof(text));
	if (strcmp(text, vip->text) != 0 || (vip->device[0] && !is_on_wire))
		return;
	/* IPv4 addresses come under their label, eth0:1 */
	snprintf(vip->device, sizeof(vip->device), "%.*s", (int)strcspn(entry->ifa_name, ":"),
		 entry->ifa_name);
	vip->prefix = prefix_of(entry->ifa_netmask, vip->family);
	vip->is_on_wire = is_on_wire;
	vip->is_up = entry->ifa_flags & IFF_UP;
}

/* Of several places the one on the wire counts. */
static void read_vips(struct gs_doctor_facts *facts)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all))
		return;
	for (uint32_t i = 0; i < facts->vip_count; i++) {
		for (const struct ifaddrs *entry = all; entry; entry = entry->ifa_next)
			take_address(&facts->vips[i], entry);
	}
	freeifaddrs(all);
}

/* What an ip6tnl takes out: only one of the two by default. */
static int read_protocol(const char *name)
{
	GS_AUTO_CLOSE int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ip6_tnl_parm parameters = {.proto = 0};
	struct ifreq request = {.ifr_data = (void *)&parameters};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return fd < 0 || ioctl(fd, TUNNEL_GET, &request) ? -1 : parameters.proto;
}

static bool find_kind(int hardware, enum gs_tunnel_kind *ret_kind)
{
	switch (hardware) {
	case ARPHRD_TUNNEL:
		*ret_kind = GS_TUNNEL_IPIP;
		return true;
	case ARPHRD_SIT:
		*ret_kind = GS_TUNNEL_SIT;
		return true;
	case ARPHRD_TUNNEL6:
		*ret_kind = GS_TUNNEL_IP6;
		return true;
	default:
		return false;
	}
}

static void take_tunnel(int fd, const char *name, struct gs_doctor_facts *facts)
{
	struct gs_doctor_tunnel tunnel = {.protocol = -1};
	struct ifreq answer;

	if (facts->tunnel_count == GS_DOCTOR_TUNNELS_MAX ||
	    ask_device(fd, SIOCGIFHWADDR, name, &answer) ||
	    !find_kind(answer.ifr_hwaddr.sa_family, &tunnel.kind))
		return;
	snprintf(tunnel.name, sizeof(tunnel.name), "%s", name);
	tunnel.is_up = !ask_device(fd, SIOCGIFFLAGS, name, &answer) && answer.ifr_flags & IFF_UP;
	tunnel.rp_filter = read_conf(4, name, "rp_filter");
	if (tunnel.kind == GS_TUNNEL_IP6)
		tunnel.protocol = read_protocol(name);
	facts->tunnels[facts->tunnel_count++] = tunnel;
}

static void read_tunnels(int fd, struct gs_doctor_facts *facts)
{
	struct if_nameindex *all = if_nameindex();

	for (const struct if_nameindex *one = all; one && one->if_index; one++)
		take_tunnel(fd, one->if_name, facts);
	if (all)
		if_freenameindex(all);
}

static void read_route(int fd, int family, struct gs_doctor_route *route)
{
	struct gs_default_route found;
	char name[IF_NAMESIZE];
	struct ifreq answer;

	if (gs_netlink_default_route(family, &found))
		return;
	route->exists = fact(found.exists);
	route->mtu = found.mtu;
	route->advmss = found.advmss;
	if (found.ifindex && if_indextoname(found.ifindex, name) &&
	    !ask_device(fd, SIOCGIFMTU, name, &answer))
		route->device_mtu = (uint32_t)answer.ifr_mtu;
}

void gs_doctor_gather(const char *interface, const char *pin_dir, const char *decap_pin_dir,
		      struct gs_doctor_facts *facts)
{
	GS_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(facts->interface, sizeof(facts->interface), "%s", interface);
	read_machine(facts);
	facts->exists = strlen(interface) < IF_NAMESIZE && if_nametoindex(interface);
	if (!facts->exists || fd < 0)
		return;
	read_link(fd, facts);
	read_xdp(pin_dir, facts);
	read_interface_conf(facts);
	if (!facts->is_backend)
		return;
	gs_decap_read(interface, decap_pin_dir, &facts->decap, NULL);
	read_vips(facts);
	read_tunnels(fd, facts);
	read_route(fd, AF_INET, &facts->route4);
	read_route(fd, AF_INET6, &facts->route6);
}
