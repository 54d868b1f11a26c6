/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The announcer port: interfaces and addresses of this network namespace as getifaddrs has them,
 * and frames by a packet socket (CAP_NET_RAW). Without the socket the edge answers all the same.
 */
#include "adapters.h"
#include "bond_ports.h"

#include "user/base/cleanup.h"
#include "user/core/announce.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct announcer {
	int fd; /* -1: may not send */
	int err;
};

static bool read_addr(const struct sockaddr *address, struct gs_addr *ret_addr)
{
	if (address && address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)address;

		*ret_addr = gs_addr_from_v4(ntohl(in->sin_addr.s_addr));
		return true;
	}
	if (address && address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)address;

		memcpy(ret_addr->bytes, &in6->sin6_addr, sizeof(ret_addr->bytes));
		return true;
	}
	return false;
}

/* Ones of a mask in the family's own terms. */
static uint8_t mask_length(const struct sockaddr *mask)
{
	struct gs_addr addr;
	unsigned int ones = 0, from;

	if (!read_addr(mask, &addr))
		return 0;
	from = mask->sa_family == AF_INET ? 12 : 0;
	for (unsigned int i = from; i < 16; i++)
		ones += (unsigned int)__builtin_popcount(addr.bytes[i]);
	return (uint8_t)ones;
}

static void add_link(struct gs_link_set *set, const struct ifaddrs *entry)
{
	const struct sockaddr_ll *hardware = (const void *)entry->ifa_addr;
	struct gs_link *link = &set->links[set->link_count];

	if (set->link_count == GS_LINKS_MAX)
		return;
	*link = (struct gs_link){
		.ifindex = (uint32_t)hardware->sll_ifindex,
		.is_up = (entry->ifa_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING),
	};
	strncpy(link->name, entry->ifa_name, sizeof(link->name) - 1);
	if (hardware->sll_hatype == ARPHRD_ETHER && hardware->sll_halen == sizeof(link->mac))
		memcpy(link->mac, hardware->sll_addr, sizeof(link->mac));
	set->link_count++;
}

static void add_addr(struct gs_link_set *set, const struct ifaddrs *entry)
{
	struct gs_link_addr *addr = &set->addrs[set->addr_count];

	if (set->addr_count == GS_LINK_ADDRS_MAX || !read_addr(entry->ifa_addr, &addr->addr))
		return;
	addr->ifindex = if_nametoindex(entry->ifa_name);
	addr->length = mask_length(entry->ifa_netmask);
	set->addr_count++;
}

static int look(void *self, struct gs_link_set *ret_set)
{
	struct ifaddrs *all;

	(void)self;
	if (getifaddrs(&all))
		return -errno;
	ret_set->link_count = ret_set->addr_count = 0;
	for (const struct ifaddrs *entry = all; entry; entry = entry->ifa_next) {
		if (entry->ifa_addr && entry->ifa_addr->sa_family == AF_PACKET)
			add_link(ret_set, entry);
		else if (entry->ifa_addr)
			add_addr(ret_set, entry);
	}
	freeifaddrs(all);
	gs_bond_mark_ports(ret_set);
	return 0;
}

static int announce(void *self, const struct gs_link *link, const struct gs_addr *vip)
{
	const struct announcer *announcer = self;
	uint8_t frame[GS_ANNOUNCE_BYTES];
	uint32_t length = gs_announce_frame(vip, link->mac, frame);
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)link->ifindex,
				 .sll_halen = sizeof(link->mac)};

	if (announcer->fd < 0)
		return announcer->err;
	memcpy(to.sll_addr, frame, sizeof(link->mac));
	to.sll_protocol = (uint16_t)(frame[13] << 8 | frame[12]);
	if (sendto(announcer->fd, frame, length, MSG_DONTWAIT, (const struct sockaddr *)&to,
		   sizeof(to)) < 0)
		return -errno;
	return 0;
}

static void close_announcer(void *self)
{
	struct announcer *announcer = self;

	if (!announcer)
		return;
	gs_close_fd(&announcer->fd);
	free(announcer);
}

int gs_announcer_open(struct gs_announcer *ret_announcer)
{
	static const struct gs_announcer_ops ops = {
		.look = look,
		.announce = announce,
		.close = close_announcer,
	};
	struct announcer *announcer = calloc(1, sizeof(*announcer));

	if (!announcer)
		return -ENOMEM;
	/* Protocol 0: it hears nothing. */
	announcer->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	announcer->err = announcer->fd < 0 ? -errno : 0;
	*ret_announcer = (struct gs_announcer){.ops = &ops, .self = announcer};
	return 0;
}
