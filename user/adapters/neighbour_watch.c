/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel tells of links, routes, addresses and neighbours, heard on a socket of its own
 * and told on once a burst. Neighbours chatter (each is looked at again twice a minute): of theirs
 * only what changes an answer that was given counts.
 */
#include "neighbour.h"

#include "user/core/cidr.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	BURST_MS = 20,	/* from the first message of a burst until it is told on */
	QUIET_MS = 200, /* between two tellings at least */
	HEAR_MAX = 256, /* datagrams a reading; who tells more changes anything */
	HEAR_BYTES = 16384,
	ROOM_BYTES = 1 << 20, /* of the socket */
};

/* ---- what is remembered ---------------------------------------------------------------------- */

struct gs_neighbour_link_slot *gs_neighbour_link_slot(struct gs_neighbour *self, uint32_t ifindex)
{
	return &self->links[ifindex & (GS_NEIGHBOUR_LINKS - 1)];
}

/* FNV-1a */
struct gs_neighbour_entry_slot *gs_neighbour_entry_slot(struct gs_neighbour *self, uint32_t ifindex,
							const struct gs_addr *via)
{
	uint32_t hash = 2166136261u ^ ifindex;

	for (size_t i = 0; i < sizeof(via->bytes); i++)
		hash = (hash ^ via->bytes[i]) * 16777619u;
	return &self->entries[(hash ^ hash >> 16) & (GS_NEIGHBOUR_ENTRIES - 1)];
}

static void forget_all(struct gs_neighbour *self)
{
	for (uint32_t i = 0; i < GS_NEIGHBOUR_LINKS; i++)
		self->links[i].asked_ms = 0;
	for (uint32_t i = 0; i < GS_NEIGHBOUR_ENTRIES; i++)
		if (self->entries[i].asked_ms != 0)
			self->entries[i].asked_ms = 0;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static enum gs_neighbour_change hear_link(struct gs_neighbour *self, const struct nlmsghdr *message)
{
	const struct ifinfomsg *body = mnl_nlmsg_get_payload(message);
	struct gs_neighbour_link_slot *slot;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*body))
		return GS_NEIGHBOUR_ANYTHING;
	slot = gs_neighbour_link_slot(self, (uint32_t)body->ifi_index);
	slot->asked_ms = 0;
	if (message->nlmsg_type == RTM_DELLINK) /* the number may be another link's tomorrow */
		slot->is_xmit_checked = false;
	return GS_NEIGHBOUR_LINK;
}

static enum gs_neighbour_change hear_entry(struct gs_neighbour *self,
					   const struct nlmsghdr *message)
{
	struct gs_neighbour_entry now, before;
	struct gs_neighbour_entry_slot *slot;
	struct gs_addr via;
	uint32_t ifindex;

	if (!gs_neighbour_read_entry(message, &ifindex, &via, &now)) /* a bridge's, say */
		return GS_NEIGHBOUR_NOTHING;
	slot = gs_neighbour_entry_slot(self, ifindex, &via);
	if (slot->ifindex != ifindex || gs_addr_compare(&slot->via, &via) != 0)
		return slot->is_shared ? GS_NEIGHBOUR_ENTRY : GS_NEIGHBOUR_NOTHING;
	before = slot->entry;
	if (message->nlmsg_type == RTM_NEWNEIGH)
		gs_neighbour_entry_after(&before, &now);
	if (now.is_known == before.is_known && now.is_failed == before.is_failed &&
	    (now.is_managed || !before.is_managed) &&
	    (!now.is_known || memcmp(now.mac, before.mac, sizeof(now.mac)) == 0))
		return GS_NEIGHBOUR_NOTHING;
	slot->entry = now;
	slot->asked_ms = 0;
	return GS_NEIGHBOUR_ENTRY;
}

static enum gs_neighbour_change hear_message(struct gs_neighbour *self,
					     const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return hear_link(self, message);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return hear_entry(self, message);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return GS_NEIGHBOUR_ADDRESS;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		return GS_NEIGHBOUR_ROUTE;
	default:
		return GS_NEIGHBOUR_NOTHING;
	}
}

static void on_tell(struct gs_timer *timer)
{
	static const char *const names[GS_NEIGHBOUR__CHANGES] = {
		[GS_NEIGHBOUR_NOTHING] = "nothing",   [GS_NEIGHBOUR_ADDRESS] = "an address",
		[GS_NEIGHBOUR_ENTRY] = "a neighbour", [GS_NEIGHBOUR_ROUTE] = "a route",
		[GS_NEIGHBOUR_LINK] = "a link",	      [GS_NEIGHBOUR_ANYTHING] = "too much to hear",
	};
	struct gs_neighbour *self = timer->context;
	enum gs_neighbour_change change;

	gs_neighbour_hear(self); /* is_telling: what is heard now is told now */
	change = self->change;
	self->is_telling = false;
	self->change = GS_NEIGHBOUR_NOTHING;
	self->told_ms = gs_now_us() / 1000;
	self->events->on_change(self->context, names[change]);
}

static void note(struct gs_neighbour *self, enum gs_neighbour_change change)
{
	uint64_t now_ms = gs_now_us() / 1000;
	uint32_t delay_ms = BURST_MS;

	if (change == GS_NEIGHBOUR_NOTHING || !self->events)
		return;
	if (change > self->change)
		self->change = change;
	if (self->is_telling)
		return;
	if (now_ms + BURST_MS < self->told_ms + QUIET_MS)
		delay_ms = (uint32_t)(self->told_ms + QUIET_MS - now_ms);
	self->is_telling = gs_loop_timer_set(self->loop, &self->tell_timer, delay_ms) == 0;
}

/* One datagram; false: no more of them. */
static bool hear_some(struct gs_neighbour *self)
{
	char heard[HEAR_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *message = (const struct nlmsghdr *)heard;
	ssize_t got = mnl_socket_recvfrom(self->watch, heard, sizeof(heard));
	int err = got < 0 ? errno : 0;
	int bytes = (int)got;

	if (err == EINTR)
		return true;
	if (err == EAGAIN || err == EWOULDBLOCK)
		return false;
	if (got <= 0) { /* ENOBUFS: messages were lost; ENOSPC: one longer than the buffer */
		forget_all(self);
		note(self, GS_NEIGHBOUR_ANYTHING);
		return err == ENOBUFS || err == ENOSPC;
	}
	for (; mnl_nlmsg_ok(message, bytes); message = mnl_nlmsg_next(message, &bytes))
		note(self, hear_message(self, message));
	return true;
}

void gs_neighbour_hear(struct gs_neighbour *self)
{
	int left = HEAR_MAX;

	while (left > 0 && hear_some(self))
		left--;
	if (left > 0)
		return;
	forget_all(self);
	note(self, GS_NEIGHBOUR_ANYTHING);
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	(void)epoll_events;
	gs_neighbour_hear(io->context);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int join(struct gs_neighbour *self)
{
	static const int groups[] = {
		RTNLGRP_LINK,	    RTNLGRP_NEIGH,	RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
		RTNLGRP_NEXTHOP, /* the last: kernels before 5.3 have none */
	};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(self->watch, NETLINK_ADD_MEMBERSHIP, &group,
					  sizeof(group)) &&
		    group != RTNLGRP_NEXTHOP)
			return -errno;
	}
	return 0;
}

int gs_neighbour_watch_open(struct gs_neighbour *self)
{
	int room = ROOM_BYTES;
	int fd;

	self->tell_timer = (struct gs_timer){.on_due = on_tell, .context = self};
	self->watch = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!self->watch || mnl_socket_bind(self->watch, 0, MNL_SOCKET_AUTOPID))
		return -errno;
	fd = mnl_socket_get_fd(self->watch);
	self->watch_io = (struct gs_io){.fd = fd, .on_ready = on_ready, .context = self};
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return join(self);
}

int gs_neighbour_watch_start(struct gs_neighbour *self)
{
	return gs_loop_io_set(self->loop, &self->watch_io, EPOLLIN);
}

void gs_neighbour_watch_close(struct gs_neighbour *self)
{
	if (!self->watch)
		return;
	gs_loop_io_clear(self->loop, &self->watch_io);
	gs_loop_timer_clear(self->loop, &self->tell_timer);
	mnl_socket_close(self->watch);
}
