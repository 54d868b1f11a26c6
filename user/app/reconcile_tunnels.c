/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths to backends that are narrower than the edge's own link: what routers on them have told. A
 * backend so told of gets a hop of that MTU, and clients are told in turn what fits. It is
 * forgotten after KEEPS_MS, for a path may have become wide again, and at once when the route
 * changes. Few changes a turn, so that nobody who forges errors by the thousand makes hops so.
 */
#include "reconcile_parts.h"

#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdlib.h>

enum {
	LOOK_MS = 100,
	PER_LOOK = 8,
	KEEPS_MS = 600000, /* RFC 1191, 6.3: ten minutes */
	INNER4_MIN = 576,
	INNER6_MIN = 1280,
	OUTER4 = 20,
	OUTER6 = 40,
	GUE = 8,
};

uint32_t gs_reconcile_tunnel_floor(const struct gs_backend *backend,
				   const struct gs_service *service)
{
	uint32_t outer = (gs_addr_is_v4(&backend->addr) ? OUTER4 : OUTER6) +
			 (backend->forward == GS_FORWARD_AS_GUE ? GUE : 0);

	/* No IPv6 packet is ever made smaller than that: less would help nobody, and cost all. */
	return outer + (gs_addr_is_v4(&service->vip) ? INNER4_MIN : INNER6_MIN);
}

static void set(struct gs_reconcile *r, const struct gs_backend *backend, uint32_t mtu,
		const char *why)
{
	const struct gs_dataplane *dataplane = r->ports.dataplane;
	struct gs_hop hop = r->walk.hops[backend->id];
	uint32_t was = r->tunnels.mtu[backend->id];
	char text[GS_ADDR_TEXT_MAX];

	if (was == mtu)
		return;
	r->tunnels.mtu[backend->id] = mtu;
	r->tunnels.count += (was == 0) - (mtu == 0);
	gs_log(GS_LOG_INFO, "tunnel_mtu", "backend=%s address=%s mtu=%u was=%u why=%s",
	       backend->name, gs_addr_format(&backend->addr, text), mtu ? mtu : hop.mtu,
	       was ? was : hop.mtu, why);
	if (hop.mtu == 0)
		return; /* the walk will find it */
	hop.told_mtu = mtu;
	if (dataplane->ops->set_hop(dataplane->self, backend->id, &hop) == -ENOSPC)
		gs_log_limited(GS_LOG_ERROR, "hop_kept", "backend=%s why=%s", backend->name,
			       "no hop is free");
}

/* 0: it says nothing new of this backend's path. */
static uint32_t believed(const struct gs_reconcile *r, const struct gs_backend *backend,
			 uint32_t mtu)
{
	const struct gs_service *service = gs_snapshot_service(r->snapshot, backend->service);
	uint32_t floor = service ? gs_reconcile_tunnel_floor(backend, service) : INNER6_MIN;
	uint32_t link = r->walk.hops[backend->id].mtu;
	uint32_t was = r->tunnels.mtu[backend->id];

	if (mtu < floor)
		mtu = floor;
	if (was && mtu > was)
		mtu = was;
	return link == 0 || mtu < link ? mtu : 0;
}

static bool has_tunnel(const struct gs_backend *backend)
{
	return backend->forward == GS_FORWARD_AS_IPIP || backend->forward == GS_FORWARD_AS_GUE;
}

/* Of all backends at that address. */
static void hear(struct gs_reconcile *r, const struct gs_told *told)
{
	const struct gs_backend *named = gs_snapshot_backend(r->snapshot, told->backend);

	for (uint32_t i = 0; named && i < r->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &r->snapshot->backends[i];
		uint32_t mtu;

		if (!has_tunnel(backend) || gs_addr_compare(&backend->addr, &named->addr) != 0)
			continue;
		mtu = believed(r, backend, told->mtu);
		if (mtu == 0)
			continue;
		r->tunnels.until_ms[backend->id] =
			gs_loop_now_ms(r->ports.loop) +
			(r->settings.tunnel_keeps_ms ? r->settings.tunnel_keeps_ms : KEEPS_MS);
		set(r, backend, mtu, "a router on the way told so");
	}
}

static void forget_old(struct gs_reconcile *r)
{
	uint64_t now_ms = gs_loop_now_ms(r->ports.loop);

	for (uint32_t i = 0; r->tunnels.count > 0 && i < r->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &r->snapshot->backends[i];

		if (r->tunnels.mtu[backend->id] && now_ms >= r->tunnels.until_ms[backend->id])
			set(r, backend, 0, "told long ago");
	}
}

static void on_look(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	const struct gs_dataplane *dataplane = r->ports.dataplane;
	struct gs_told told[PER_LOOK];

	if (r->snapshot) {
		uint32_t count = dataplane->ops->told(dataplane->self, told, PER_LOOK);

		for (uint32_t i = 0; i < count; i++)
			hear(r, &told[i]);
		forget_old(r);
	}
	gs_loop_timer_set(r->ports.loop, timer, LOOK_MS);
}

uint32_t gs_reconcile_tunnel_mtu(const struct gs_reconcile *r, gs_id backend)
{
	return backend < GS_MAX_BACKENDS ? r->tunnels.mtu[backend] : 0;
}

void gs_reconcile_tunnels_forget(struct gs_reconcile *r, gs_id backend)
{
	if (r->tunnels.mtu[backend] == 0)
		return;
	gs_log(GS_LOG_INFO, "tunnel_mtu_forgotten", "backend=%u was=%u why=%s", (unsigned)backend,
	       r->tunnels.mtu[backend], "its path has changed");
	r->tunnels.mtu[backend] = 0;
	r->tunnels.count--;
}

int gs_reconcile_tunnels_new(struct gs_reconcile *r)
{
	r->tunnels.timer = (struct gs_timer){.on_due = on_look, .context = r};
	r->tunnels.mtu = calloc(GS_MAX_BACKENDS, sizeof(*r->tunnels.mtu));
	r->tunnels.until_ms = calloc(GS_MAX_BACKENDS, sizeof(*r->tunnels.until_ms));
	return r->tunnels.mtu && r->tunnels.until_ms ? 0 : -ENOMEM;
}

int gs_reconcile_tunnels_start(struct gs_reconcile *r)
{
	return gs_loop_timer_set(r->ports.loop, &r->tunnels.timer, LOOK_MS);
}

void gs_reconcile_tunnels_free(struct gs_reconcile *r)
{
	gs_loop_timer_clear(r->ports.loop, &r->tunnels.timer);
	free(r->tunnels.mtu);
	free(r->tunnels.until_ms);
}
