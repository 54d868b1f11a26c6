// SPDX-License-Identifier: Apache-2.0
#include "loader/bond.h"

#include "loader/doctor.h"
#include "loader/netlink.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const mode_names[] = {
	[GS_BOND_ROUND_ROBIN] = "balance-rr", [GS_BOND_ACTIVE_BACKUP] = "active-backup",
	[GS_BOND_XOR] = "balance-xor",	      [GS_BOND_BROADCAST] = "broadcast",
	[GS_BOND_8023AD] = "802.3ad",	      [GS_BOND_TLB] = "balance-tlb",
	[GS_BOND_ALB] = "balance-alb",
};
_Static_assert(ARRAY_SIZE(mode_names) == GS_BOND__MODES, "a mode without a name");

const char *gs_bond_mode_name(uint8_t mode)
{
	return mode < GS_BOND__MODES ? mode_names[mode] : "?";
}

/* ---- judging ---------------------------------------------------------------------------------*/

static bool is_mode_bad(uint8_t mode)
{
	return mode == GS_BOND_BROADCAST || mode == GS_BOND_TLB || mode == GS_BOND_ALB;
}

static bool hashes(uint8_t mode)
{
	return mode == GS_BOND_XOR || mode == GS_BOND_8023AD;
}

enum gs_bond_fault gs_bond_judge(const struct gs_bond *bond, const struct gs_bond_port **ret_port)
{
	if (!bond->is_bond)
		return GS_BOND_FINE;
	if (is_mode_bad(bond->mode))
		return GS_BOND_BAD_MODE;
	if (hashes(bond->mode) && bond->policy == GS_BOND_POLICY_VLAN_SRCMAC)
		return GS_BOND_BAD_POLICY;
	for (uint32_t i = 0; i < bond->port_count; i++) {
		const struct gs_bond_port *port = &bond->ports[i];

		if (port->mode == GS_XDP_NONE && !port->lacks_native)
			continue;
		*ret_port = port;
		return port->lacks_native ? GS_BOND_PORT_DRIVER : GS_BOND_PORT_PROGRAM;
	}
	return GS_BOND_FINE;
}

void gs_bond_explain(const struct gs_bond *bond, char ret_text[GS_BOND_TEXT_MAX])
{
	const struct gs_bond_port *port = NULL;

	ret_text[0] = '\0';
	switch (gs_bond_judge(bond, &port)) {
	case GS_BOND_BAD_MODE:
		snprintf(ret_text, GS_BOND_TEXT_MAX,
			 "a bond in mode %s has no native XDP: in active-backup, 802.3ad, "
			 "balance-xor and balance-rr it has",
			 gs_bond_mode_name(bond->mode));
		break;
	case GS_BOND_BAD_POLICY:
		snprintf(ret_text, GS_BOND_TEXT_MAX,
			 "a bond with xmit_hash_policy vlan+srcmac has no native XDP: with any "
			 "other policy it has");
		break;
	case GS_BOND_PORT_PROGRAM:
		snprintf(ret_text, GS_BOND_TEXT_MAX,
			 "its port %s has an XDP program of its own, '%s' (id %u), which has to "
			 "leave first",
			 port->name, port->program.name, port->program.id);
		break;
	case GS_BOND_PORT_DRIVER:
		snprintf(ret_text, GS_BOND_TEXT_MAX,
			 "driver %s of its port %s has no native XDP, so the bond has none",
			 port->driver[0] ? port->driver : "unknown", port->name);
		break;
	default:
		break;
	}
}

/* ---- reading ---------------------------------------------------------------------------------*/

static void read_driver(const char *name, char ret_driver[32])
{
	GS_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (void *)&info};

	ret_driver[0] = '\0';
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd >= 0 && !ioctl(fd, SIOCETHTOOL, &request))
		snprintf(ret_driver, 32, "%s", info.driver);
}

static void read_port(const char *name, uint32_t ifindex, struct gs_bond_port *port)
{
	struct gs_nic nic;
	uint64_t features;

	snprintf(port->name, sizeof(port->name), "%s", name);
	read_driver(name, port->driver);
	if (gs_netlink_xdp_features(ifindex, &features))
		port->lacks_native = gs_doctor_driver_has_xdp(port->driver) == GS_FACT_NO;
	else
		port->lacks_native = !(features & GS_XDP_FEATURE_BASIC);
	if (gs_nic_look(name, NULL, &nic, NULL) || nic.holder == GS_NIC_FREE)
		return;
	port->mode = nic.mode;
	port->program.id = nic.attached_id;
	gs_program_identify(nic.attached_id, &port->program);
}

static void read_ports(uint32_t ifindex, struct gs_bond *bond)
{
	struct if_nameindex *all = if_nameindex();
	struct gs_netlink_bond link;

	for (const struct if_nameindex *one = all; one && one->if_index; one++) {
		if (bond->port_count == GS_BOND_PORTS_MAX ||
		    gs_netlink_bond(one->if_index, &link) || link.master != ifindex)
			continue;
		read_port(one->if_name, one->if_index, &bond->ports[bond->port_count++]);
	}
	if (all)
		if_freenameindex(all);
}

int gs_bond_read(const char *interface, struct gs_bond *ret_bond)
{
	uint32_t ifindex = strlen(interface) < IF_NAMESIZE ? if_nametoindex(interface) : 0;
	struct gs_bond bond = {.is_bond = false};
	struct gs_netlink_bond link;
	int ret = ifindex ? gs_netlink_bond(ifindex, &link) : -ENODEV;

	if (ret)
		return ret;
	if (link.master && !if_indextoname(link.master, bond.master))
		bond.master[0] = '\0';
	bond.is_bond = link.is_bond;
	bond.mode = link.mode;
	bond.policy = link.policy;
	if (bond.is_bond)
		read_ports(ifindex, &bond);
	*ret_bond = bond;
	return 0;
}
