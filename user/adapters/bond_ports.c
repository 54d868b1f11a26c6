/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own: the kernel's headers of bonds and the C library's of interfaces exclude each
 * other. */
#include "bond_ports.h"

#include "user/base/cleanup.h"

#include <linux/if.h>
#include <linux/if_bonding.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int ask_bond(int fd, unsigned long what, const char *name, void *answer)
{
	struct ifreq request = {.ifr_data = answer};

	memcpy(request.ifr_name, name, sizeof(request.ifr_name));
	return ioctl(fd, what, &request);
}

static struct gs_link *find_link(struct gs_link_set *set, const char *name)
{
	for (uint32_t i = 0; i < set->link_count; i++)
		if (strncmp(set->links[i].name, name, sizeof(set->links[i].name)) == 0)
			return &set->links[i];
	return NULL;
}

/* A port that leaves meanwhile is no port. */
static void mark_ports(int fd, const struct gs_link *bond, struct gs_link_set *set)
{
	struct ifbond info = {0};
	struct ifslave slave;
	struct gs_link *port;

	if (ask_bond(fd, SIOCBONDINFOQUERY, bond->name, &info)) /* no bond */
		return;
	for (int i = 0; i < info.num_slaves; i++) {
		slave = (struct ifslave){.slave_id = i};
		if (ask_bond(fd, SIOCBONDSLAVEINFOQUERY, bond->name, &slave))
			return;
		port = find_link(set, slave.slave_name);
		if (port)
			port->bond = bond->ifindex;
	}
}

void gs_bond_mark_ports(struct gs_link_set *set)
{
	GS_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (uint32_t i = 0; fd >= 0 && i < set->link_count; i++)
		mark_ports(fd, &set->links[i], set);
}
