/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the trials that half-open breakers let through: looked at in the data plane while
 * any pool is on trial, and given back there when their time is over.
 */
#include "reconcile_parts.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/snapshot.h"

#include <stdlib.h>

enum { LOOK_MS = 100, LEASES_MOST = 4096 };

static enum gs_lease_fate fate_of(const struct gs_reconcile *r, const struct gs_lease *lease)
{
	const struct gs_backend *backend =
		r->snapshot ? gs_snapshot_backend(r->snapshot, lease->backend) : NULL;
	const struct gs_lease_facts facts = {
		.is_current = lease->is_current && backend,
		.is_nat = backend && backend->forward == GS_FORWARD_AS_NAT,
		.is_answered = lease->is_answered,
		.is_proven = lease->is_proven,
		.age_ms = lease->age_ms,
	};

	return gs_lease_judge(&facts);
}

/* Those that are over leave the data plane, before anybody is told: what is told may change words,
 * and with them the epoch. How many there were. */
static uint32_t take(struct gs_reconcile *r, struct gs_lease *leases,
		     struct gs_breakers_lease *ret_told)
{
	const struct gs_dataplane *dataplane = r->ports.dataplane;
	uint32_t count = dataplane->ops->leases(dataplane->self, leases, LEASES_MOST);
	uint32_t told = 0;

	for (uint32_t i = 0; i < count; i++) {
		enum gs_lease_fate fate = fate_of(r, &leases[i]);

		if (fate != GS_LEASE_OPEN)
			dataplane->ops->end_lease(dataplane->self, &leases[i],
						  gs_lease_gives_back(fate));
		if (fate != GS_LEASE_STALE)
			ret_told[told++] = (struct gs_breakers_lease){leases[i].service,
								      leases[i].region, fate};
	}
	gs_breakers_on_leases(r->breakers, ret_told, told);
	return count;
}

void gs_reconcile_on_leases(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	GS_AUTO_FREE struct gs_lease *leases = malloc(LEASES_MOST * sizeof(*leases));
	GS_AUTO_FREE struct gs_breakers_lease *told = malloc(LEASES_MOST * sizeof(*told));
	uint32_t count = 0;

	r->watches_leases = false;
	if (leases && told)
		count = take(r, leases, told);
	else
		gs_log_limited(GS_LOG_ERROR, "leases_kept", "why=%s", "out of memory");
	/* Once more after the last one has closed: what was out is taken away. */
	if (count > 0 || gs_breakers_on_trial(r->breakers))
		gs_reconcile_watch_leases(r);
}

void gs_reconcile_watch_leases(struct gs_reconcile *r)
{
	if (r->watches_leases || !r->ports.dataplane->ops->leases)
		return;
	r->watches_leases = true;
	gs_loop_timer_set(r->ports.loop, &r->lease_timer, LOOK_MS);
}
