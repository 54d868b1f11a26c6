/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nexthop port over rtnetlink: route, link and neighbour of an address, as the kernel of this
 * network namespace has them, and word of every change (neighbour_watch.c).
 */
#include "neighbour.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MTU_DEFAULT = 1500, IP_BYTES_MAX = 65535 };

/* ---- what is remembered ---------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	return gs_now_us() / 1000;
}

static bool is_fresh(uint64_t asked_ms)
{
	return asked_ms != 0 && now_ms() - asked_ms < GS_NEIGHBOUR_MEMORY_MS;
}

static int find_link(struct gs_neighbour *self, uint32_t ifindex,
		     struct gs_neighbour_link_slot **ret_slot)
{
	struct gs_neighbour_link_slot *slot = gs_neighbour_link_slot(self, ifindex);
	struct gs_neighbour_link link;
	int result;

	if (slot->ifindex != ifindex || !is_fresh(slot->asked_ms)) {
		result = gs_neighbour_ask_link(&self->asker, ifindex, &link);
		if (result)
			return result;
		if (slot->ifindex != ifindex)
			*slot = (struct gs_neighbour_link_slot){.ifindex = ifindex};
		slot->link = link;
		slot->asked_ms = now_ms();
	}
	*ret_slot = slot;
	return 0;
}

static bool is_same_neighbour(const struct gs_neighbour_entry_slot *slot,
			      const struct gs_neighbour_route *route)
{
	return slot->ifindex == route->ifindex && gs_addr_compare(&slot->via, &route->via) == 0;
}

/* A neighbour that is not known, or would be forgotten, is asked for. */
static int find_entry(struct gs_neighbour *self, const struct gs_neighbour_route *route,
		      struct gs_neighbour_entry *ret_entry)
{
	struct gs_neighbour_entry_slot *slot =
		gs_neighbour_entry_slot(self, route->ifindex, &route->via);
	bool is_same = is_same_neighbour(slot, route);
	struct gs_neighbour_entry entry = {0};
	int result;

	if (!is_same || !is_fresh(slot->asked_ms)) {
		result = gs_neighbour_ask_entry(&self->asker, route->ifindex, &route->via, &entry);
		if (result && result != -ENOENT)
			return result;
		if (result == 0 && is_same)
			gs_neighbour_entry_after(&slot->entry, &entry);
		*slot = (struct gs_neighbour_entry_slot){
			.ifindex = route->ifindex,
			.via = route->via,
			.is_shared = slot->is_shared || (slot->ifindex != 0 && !is_same),
			.asked_ms = now_ms(),
			.entry = entry,
		};
		if (!entry.is_known || !entry.is_managed)
			gs_neighbour_have_resolved(&self->asker, route->ifindex, &route->via);
	}
	*ret_entry = slot->entry;
	return 0;
}

/*
 * Packets are sent as they came (XDP_TX) by the link they came in by, and handed to any other one
 * (a redirect), whose driver must be able to take them. A link with a program is taken to be the
 * former, but for a bond: its packets come in by another link, a slave.
 */
static void check_xmit(struct gs_neighbour_link_slot *slot)
{
	char name[IF_NAMESIZE] = "?";

	if (slot->is_xmit_checked || (slot->link.has_program && !slot->link.is_bond))
		return;
	slot->is_xmit_checked = true;
	if (gs_neighbour_ask_xmit(slot->ifindex))
		return;
	if_indextoname(slot->ifindex, name);
	gs_log(GS_LOG_WARNING, "link_takes_no_redirect", "interface=%s why=%s", name,
	       "its driver does not send what XDP redirects from another interface "
	       "(no ndo_xdp_xmit): packets for backends behind it are lost");
}

/* ---- the port -------------------------------------------------------------------------------- */

static void fill_source(const struct gs_neighbour_route *route, struct gs_hop *hop)
{
	if (!route->has_source)
		return;
	if (gs_addr_is_v4(&route->source))
		hop->src4 = route->source;
	else
		hop->src6 = route->source;
}

enum { SPREAD_MAX = 24 };

static uint8_t spread_bits(const struct gs_prefix *prefix)
{
	int host = (prefix->is_v4 ? 32 : 128) - prefix->length;

	return (uint8_t)(host < SPREAD_MAX ? host : SPREAD_MAX);
}

/* Instead of the edge's own addresses, if prefixes of its are configured. */
static void spread_sources(const struct gs_neighbour *self, struct gs_hop *hop)
{
	static const struct gs_addr none;
	const struct gs_prefix *v4 = &self->sources.v4, *v6 = &self->sources.v6;

	if (gs_addr_compare(&v4->addr, &none) != 0) {
		hop->src4 = v4->addr;
		hop->spread4 = spread_bits(v4);
	}
	if (gs_addr_compare(&v6->addr, &none) != 0) {
		hop->src6 = v6->addr;
		hop->spread6 = spread_bits(v6);
	}
}

/* The kernel's answer that there is no way: no route, unreachable, prohibited, blackhole. */
static bool is_no_route(int answer)
{
	return answer == -ENETUNREACH || answer == -EHOSTUNREACH || answer == -EACCES ||
	       answer == -EINVAL;
}

/* Routes leave with their link: no route, and the link there was is down or gone. */
static int explain_no_route(struct gs_neighbour *self, uint32_t was_ifindex, int answer,
			    struct gs_hop *hop)
{
	struct gs_neighbour_link_slot *slot;
	int result;

	if (!is_no_route(answer))
		return answer;
	if (was_ifindex == 0)
		return -ENETUNREACH;
	hop->ifindex = was_ifindex;
	result = find_link(self, was_ifindex, &slot);
	if (result != -ENODEV && (result || slot->link.is_up))
		return -ENETUNREACH;
	return -ENETDOWN;
}

static int fill_macs(struct gs_neighbour *self, const struct gs_neighbour_route *route,
		     const struct gs_neighbour_link *link, struct gs_hop *hop)
{
	struct gs_neighbour_entry entry;
	int result = find_entry(self, route, &entry);

	if (result)
		return result;
	if (entry.is_failed && !hop->has_gateway)
		return -EHOSTUNREACH;
	if (!entry.is_known)
		return 0;
	memcpy(hop->dst_mac, entry.mac, sizeof(hop->dst_mac));
	memcpy(hop->src_mac, link->mac, sizeof(hop->src_mac));
	hop->reflect = false;
	return 0;
}

/*
 * The link that sends what leaves by *slot, and the tags it does that with. 0; -ENETDOWN; 1: by
 * more tags than a packet may have.
 */
static int find_sender(struct gs_neighbour *self, struct gs_neighbour_link_slot **slot,
		       struct gs_hop *hop)
{
	while ((*slot)->link.below != 0) {
		struct gs_neighbour_link upper = (*slot)->link;
		int result;

		if (hop->tag_count == GS_HOP_TAGS)
			return 1;
		memmove(&hop->tags[1], &hop->tags[0], sizeof(hop->tags[0]));
		hop->tags[0] = upper.vlan;
		hop->tag_count++;
		result = find_link(self, upper.below, slot);
		if (result)
			return result;
		if (!(*slot)->link.is_up)
			return -ENETDOWN;
		hop->ifindex = upper.below;
	}
	return 0;
}

static int fill_by_link(struct gs_neighbour *self, const struct gs_neighbour_route *route,
			struct gs_neighbour_link_slot *slot, struct gs_hop *hop)
{
	struct gs_neighbour_link link = slot->link; /* finding another one may take the slot */
	int result = find_sender(self, &slot, hop);

	if (result > 0)
		return 0;
	if (result)
		return result;
	check_xmit(slot);
	hop->link = route->ifindex;
	return fill_macs(self, route, &link, hop);
}

static int fill_hop(struct gs_neighbour *self, const struct gs_addr *addr, uint32_t was_ifindex,
		    struct gs_hop *hop)
{
	struct gs_neighbour_route route;
	struct gs_neighbour_link_slot *slot;
	int result = gs_neighbour_ask_route(&self->asker, addr, &route);

	if (result)
		return explain_no_route(self, was_ifindex, result, hop);
	fill_source(&route, hop);
	hop->ifindex = route.ifindex;
	hop->has_gateway = gs_addr_compare(&route.via, addr) != 0;
	result = find_link(self, route.ifindex, &slot);
	if (result)
		return result;
	if (!slot->link.is_up)
		return -ENETDOWN;
	if (slot->link.mtu)
		hop->mtu = slot->link.mtu;
	if (route.mtu)
		hop->mtu = route.mtu;
	if (hop->mtu > IP_BYTES_MAX) /* loopback takes more than an IP packet can be */
		hop->mtu = IP_BYTES_MAX;
	if (!slot->link.is_ethernet || route.type != RTN_UNICAST)
		return 0;
	return fill_by_link(self, &route, slot, hop);
}

static int resolve(void *context, const struct gs_addr *addr, uint32_t was_ifindex,
		   struct gs_hop *ret_hop)
{
	struct gs_hop hop = {.reflect = true, .mtu = MTU_DEFAULT};
	int result;

	gs_neighbour_hear(context);
	result = fill_hop(context, addr, was_ifindex, &hop);
	spread_sources(context, &hop);
	if (result)
		hop.mtu = 0;
	*ret_hop = hop;
	return result;
}

static int start(void *context, const struct gs_nexthop_events *events, void *events_context)
{
	struct gs_neighbour *self = context;

	self->events = events;
	self->context = events_context;
	return gs_neighbour_watch_start(self);
}

static void close_neighbour(void *context)
{
	struct gs_neighbour *self = context;

	if (!self)
		return;
	gs_neighbour_watch_close(self);
	gs_neighbour_asker_close(&self->asker);
	free(self->links);
	free(self->entries);
	free(self);
}

static int open_neighbour(struct gs_neighbour *self)
{
	int result;

	self->links = calloc(GS_NEIGHBOUR_LINKS, sizeof(*self->links));
	self->entries = calloc(GS_NEIGHBOUR_ENTRIES, sizeof(*self->entries));
	if (!self->links || !self->entries)
		return -ENOMEM;
	result = gs_neighbour_asker_open(NETLINK_ROUTE, &self->asker);
	return result ? result : gs_neighbour_watch_open(self);
}

static const struct gs_nexthop_ops ops = {
	.start = start, .resolve = resolve, .close = close_neighbour};

int gs_neighbour_open(struct gs_loop *loop, const struct gs_outer_sources *sources,
		      struct gs_nexthop *ret_nexthop, struct gs_error *error)
{
	struct gs_neighbour *self = calloc(1, sizeof(*self));
	int result = -ENOMEM;

	if (self) {
		self->loop = loop;
		if (sources)
			self->sources = *sources;
		result = open_neighbour(self);
	}
	if (result) {
		if (error)
			snprintf(error->text, sizeof(error->text), "rtnetlink socket: %s",
				 strerror(-result));
		close_neighbour(self);
		return result;
	}
	*ret_nexthop = (struct gs_nexthop){.ops = &ops, .self = self};
	return 0;
}
