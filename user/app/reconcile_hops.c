/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Next hops follow routes, links and neighbours: looked at again when the nexthop port tells of a
 * change, and every HOPS_POLL_MS though it told nothing. Thousands of them take a walk of several
 * turns, so that probes and verdicts come between.
 */
#include "reconcile_parts.h"

#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_US = 2000, PAUSE_MS = 4 };

static bool is_known(const struct gs_hop *hop)
{
	return hop->mtu != 0 || hop->ifindex != 0;
}

static bool is_equal(const struct gs_hop *a, const struct gs_hop *b)
{
	return a->ifindex == b->ifindex && a->link == b->link && a->mtu == b->mtu &&
	       a->reflect == b->reflect && a->tag_count == b->tag_count &&
	       memcmp(a->tags, b->tags, sizeof(a->tags)) == 0 &&
	       memcmp(a->dst_mac, b->dst_mac, sizeof(a->dst_mac)) == 0 &&
	       memcmp(a->src_mac, b->src_mac, sizeof(a->src_mac)) == 0 &&
	       gs_addr_compare(&a->src4, &b->src4) == 0 && gs_addr_compare(&a->src6, &b->src6) == 0;
}

/* There is no way now; packets ask the kernel, and say why they are dropped. */
static bool is_no_way(int err)
{
	return err == -ENETDOWN || err == -ENETUNREACH || err == -EHOSTUNREACH;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static void note(struct gs_hops_walk *walk, const struct gs_backend *backend,
		 const struct gs_hop *now)
{
	struct gs_hop *before = &walk->hops[backend->id];

	if (is_known(before) && !is_equal(before, now)) {
		if (walk->changed++ == 0)
			snprintf(walk->first, sizeof(walk->first), "%s", backend->name);
		if (now->mtu == 0)
			walk->down++;
	}
	*before = *now;
}

static void tell(struct gs_hops_walk *walk)
{
	if (walk->changed)
		gs_log(walk->down ? GS_LOG_WARNING : GS_LOG_INFO, "hops_changed",
		       "backends=%u down=%u first=%s why=%s", walk->changed, walk->down,
		       walk->first, walk->why);
	walk->changed = walk->down = 0;
}

/* A publish is about to replace this address, or to take the backend away. */
static bool is_moving(const struct gs_reconcile *r, const struct gs_backend *backend)
{
	const struct gs_backend *next;

	if (!r->publishing || r->publish.snapshot == r->snapshot)
		return false;
	next = gs_snapshot_backend(r->publish.snapshot, backend->id);
	return !next || gs_addr_compare(&next->addr, &backend->addr) != 0;
}

static void visit(struct gs_reconcile *r, const struct gs_backend *backend)
{
	const struct gs_nexthop *nexthop = r->ports.nexthop;
	uint32_t was_ifindex = r->walk.hops[backend->id].ifindex;
	struct gs_hop hop;
	int err;

	if (is_moving(r, backend))
		return;
	err = nexthop->ops->resolve(nexthop->self, &backend->addr, was_ifindex, &hop);
	if (err && !is_no_way(err))
		return; /* the asking failed: what is known is kept */
	if (is_known(&r->walk.hops[backend->id]) && !is_equal(&r->walk.hops[backend->id], &hop))
		gs_reconcile_tunnels_forget(r, backend->id);
	hop.told_mtu = gs_reconcile_tunnel_mtu(r, backend->id);
	err = r->ports.dataplane->ops->set_hop(r->ports.dataplane->self, backend->id, &hop);
	if (err)
		gs_log_limited(GS_LOG_ERROR, "hop_kept", "backend=%s why=%s", backend->name,
			       strerror(-err));
	else
		note(&r->walk, backend, &hop);
}

static void on_turn(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	struct gs_hops_walk *walk = &r->walk;
	uint32_t count = r->snapshot ? r->snapshot->backend_count : 0;
	uint64_t until_us = gs_now_us() + TURN_US;

	if (walk->left > count)
		walk->left = count;
	while (walk->left > 0 && gs_now_us() < until_us) {
		if (walk->at >= count)
			walk->at = 0;
		walk->left--;
		visit(r, &r->snapshot->backends[walk->at++]);
	}
	walk->is_walking = walk->left > 0 && gs_loop_timer_set(r->ports.loop, timer, PAUSE_MS) == 0;
	if (!walk->is_walking)
		tell(walk);
}

/* One under way goes on, for a whole round from where it is. */
void gs_reconcile_hops_look(struct gs_reconcile *r, const char *why)
{
	struct gs_hops_walk *walk = &r->walk;

	walk->why = why;
	walk->is_stale = walk->is_stale || r->publishing;
	walk->left = r->snapshot ? r->snapshot->backend_count : 0;
	if (walk->left > 0 && !walk->is_walking)
		walk->is_walking = gs_loop_timer_set(r->ports.loop, &walk->turn_timer, 0) == 0;
}

static void on_change(void *context, const char *why)
{
	struct gs_reconcile *r = context;

	gs_reconcile_hops_look(r, why);
	gs_reach_look(r->ports.reach);
}

static void on_poll(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	uint32_t poll_ms = r->settings.hops_poll_ms ? r->settings.hops_poll_ms : HOPS_POLL_MS;

	if (!r->walk.is_walking)
		gs_reconcile_hops_look(r, "looked at again");
	gs_reach_look(r->ports.reach);
	gs_loop_timer_set(r->ports.loop, timer, poll_ms);
}

/* ---- publishes ------------------------------------------------------------------------------- */

static void gather(struct gs_reconcile *r, const struct gs_backend *after, struct gs_hop *hop)
{
	const struct gs_nexthop *nexthop = r->ports.nexthop;
	const struct gs_backend *before =
		r->snapshot ? gs_snapshot_backend(r->snapshot, after->id) : NULL;

	if (before && gs_addr_compare(&before->addr, &after->addr) == 0)
		*hop = r->walk.hops[after->id];
	else
		gs_reconcile_tunnels_forget(r, after->id);
	if (hop->mtu == 0)
		nexthop->ops->resolve(nexthop->self, &after->addr, hop->ifindex, hop);
	hop->told_mtu = gs_reconcile_tunnel_mtu(r, after->id);
}

bool gs_reconcile_hops_gather(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;
	uint64_t until_us = gs_now_us() + TURN_US;

	if (p->hops_at == 0)
		r->walk.is_stale = r->walk.is_walking;
	for (; p->hops_at < p->snapshot->backend_count && gs_now_us() < until_us; p->hops_at++)
		gather(r, &p->snapshot->backends[p->hops_at], &p->hops[p->hops_at]);
	return p->hops_at == p->snapshot->backend_count;
}

void gs_reconcile_hops_published(struct gs_reconcile *r, const struct gs_hop *hops)
{
	for (uint32_t i = 0; hops && i < r->snapshot->backend_count; i++) {
		gs_id id = r->snapshot->backends[i].id;

		r->walk.hops[id] = hops[i];
		/* told meanwhile */
		r->walk.is_stale |= hops[i].told_mtu != gs_reconcile_tunnel_mtu(r, id);
	}
	if (r->walk.is_stale)
		gs_reconcile_hops_look(r, r->walk.why);
}

/* ---- life ------------------------------------------------------------------------------------ */

int gs_reconcile_hops_new(struct gs_reconcile *r)
{
	r->walk.poll_timer = (struct gs_timer){.on_due = on_poll, .context = r};
	r->walk.turn_timer = (struct gs_timer){.on_due = on_turn, .context = r};
	r->walk.hops = calloc(GS_MAX_BACKENDS, sizeof(*r->walk.hops));
	return r->walk.hops ? 0 : -ENOMEM;
}

int gs_reconcile_hops_start(struct gs_reconcile *r)
{
	static const struct gs_nexthop_events events = {.on_change = on_change};
	const struct gs_nexthop *nexthop = r->ports.nexthop;

	on_poll(&r->walk.poll_timer);
	return nexthop->ops->start(nexthop->self, &events, r);
}

void gs_reconcile_hops_free(struct gs_reconcile *r)
{
	gs_loop_timer_clear(r->ports.loop, &r->walk.poll_timer);
	gs_loop_timer_clear(r->ports.loop, &r->walk.turn_timer);
	free(r->walk.hops);
}
