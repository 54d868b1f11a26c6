/* SPDX-License-Identifier: Apache-2.0 */
/* What the votes (votes.h) are told of this edge, and what comes of them. */
#include "reconcile_parts.h"

#include <stdio.h>

static const struct gs_snapshot *snapshot_of(void *context)
{
	const struct gs_reconcile *r = context;

	return r->snapshot;
}

static bool health_of(void *context, gs_id backend, struct gs_monitor_status *ret_status)
{
	const struct gs_reconcile *r = context;

	return gs_monitor_get(r->monitor, backend, ret_status);
}

static void look_at_self(void *context, struct gs_self_facts *facts)
{
	const struct gs_reconcile *r = context;
	uint64_t late_ms = gs_monitor_late_ms(r->monitor);

	facts->is_late =
		late_ms != 0 && gs_loop_now_ms(r->ports.loop) < late_ms + GS_SELF_WINDOW_MS;
	gs_anchors_count(r->ports.anchors, &facts->anchors, &facts->anchors_silent);
	if (r->ports.reach) {
		const struct gs_reach_state *reach = gs_reach_state(r->ports.reach);

		facts->has_no_carrier = reach->carrier_count > 0 && reach->up_count == 0;
	}
}

static void on_change(void *context, const char *why)
{
	gs_reconcile_apply_words(context, 0, why);
}

int gs_reconcile_votes_new(struct gs_reconcile *r)
{
	const struct gs_votes_ports ports = {
		.loop = r->ports.loop,
		.store = r->ports.store,
		.snapshot = snapshot_of,
		.health = health_of,
		.look_at_self = look_at_self,
		.on_change = on_change,
		.context = r,
	};

	return gs_votes_new(&ports, r->settings.edge, r->settings.site, &r->votes);
}

void gs_reconcile_on_ballots(void *context, const struct gs_ballots *ballots)
{
	struct gs_reconcile *r = context;

	gs_votes_on_ballots(r->votes, ballots);
	gs_breakers_share(r->breakers, gs_votes_live(r->votes));
	gs_accord_watch_look(&r->accord, r->votes, gs_loop_now_ms(r->ports.loop));
}

enum gs_global gs_reconcile_global(void *context, gs_id service, gs_id region)
{
	const struct gs_reconcile *r = context;

	return gs_votes_global(r->votes, service, region);
}
