/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing a generation. First, unlocked, everything no packet sees: inner maps, the free slot,
 * its descriptor. Then, locked and quick, what packets see, in an order that leaves a data plane
 * which forwards wherever this process is killed: backends, services that are gone, the flip,
 * services that are new, markers that are gone, regions' limits, backends that are gone. What is
 * there already is not written again, so that a publish of what is in force only finishes what an
 * interrupted one began.
 */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <time.h>

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct change {
	struct gs_dataplane_service_list wanted;
	struct gs_dataplane_service_list current;
	struct gs_dataplane_undo undo;
	uint32_t old_slot;
	uint32_t new_slot;
	uint64_t now_ms;
};

static void change_done(struct change *change)
{
	gs_dataplane_services_done(&change->wanted);
	gs_dataplane_services_done(&change->current);
	gs_dataplane_undo_done(&change->undo);
}

static void flip(struct gs_dataplane_state *state, uint32_t slot)
{
	__atomic_store_n(&state->maps.meta->active, slot, __ATOMIC_RELEASE);
}

/* After a failure half-way: what was in force is in force. */
static void take_back(struct gs_dataplane_state *state, const struct gs_snapshot *snapshot,
		      const struct change *change)
{
	struct gs_error ignored; /* the first error is the one to tell */

	gs_dataplane_services_remove(state, &change->wanted, &change->current, false, &ignored);
	flip(state, change->old_slot);
	/* First room, then what was there: the map may be full. */
	gs_dataplane_services_remove(state, &change->wanted, &change->current, true, &ignored);
	gs_dataplane_services_add(state, &change->current, &(struct gs_dataplane_service_list){0},
				  &ignored);
	gs_dataplane_services_changed(state);
	gs_dataplane_backends_revive(state, snapshot, false);
	gs_dataplane_backends_restore(state, &change->undo, change->now_ms);
}

static int switch_over(struct gs_dataplane_state *state, const struct gs_tables *tables,
		       const struct gs_hop *hops, struct change *change, struct gs_error *error)
{
	int result = gs_dataplane_backends_write(state, tables->snapshot, hops, change->now_ms,
						 &change->undo, error);

	gs_dataplane_links_mark(state, &change->wanted);
	if (result)
		return result;
	gs_dataplane_backends_revive(state, tables->snapshot, true);
	result = gs_dataplane_services_remove(state, &change->current, &change->wanted, false,
					      error);
	if (result == 0) {
		if (change->new_slot != change->old_slot)
			flip(state, change->new_slot);
		result = gs_dataplane_services_add(state, &change->wanted, &change->current, error);
	}
	if (result == 0)
		result = gs_dataplane_services_remove(state, &change->current, &change->wanted,
						      true, error);
	if (result == 0)
		result = gs_dataplane_limits_write(state, tables->snapshot, error);
	if (result) {
		take_back(state, tables->snapshot, change);
		return result;
	}
	gs_dataplane_services_changed(state); /* also if a publish before this one was cut short */
	gs_dataplane_backends_retire(state, tables->snapshot, change->now_ms);
	for (uint32_t i = 0; i < tables->snapshot->service_count; i++)
		state->has_service[tables->snapshot->services[i].id] = true;
	return 0;
}

static bool is_in_force(const struct gs_meta_value *meta, uint32_t slot,
			const struct gs_tables *tables)
{
	return slot < GS_GENERATIONS && meta->generation[slot].number != 0 &&
	       meta->generation[slot].digest == tables->digest;
}

int gs_dataplane_publish(struct gs_dataplane_state *state, const struct gs_tables *tables,
			 const struct gs_hop *hops, struct gs_error *error)
{
	GS_CLEANUP(change_done)
	struct change change = {.old_slot = state->maps.meta->active, .now_ms = now_ms()};
	int result = gs_dataplane_maps_check(&state->maps, error);

	change.new_slot = change.old_slot;
	if (result == 0)
		result = gs_dataplane_services_want(tables->snapshot, &change.wanted, error);
	if (result == 0)
		result = gs_dataplane_services_list(state, &change.current, error);
	if (result == 0 && !is_in_force(state->maps.meta, change.old_slot, tables))
		result = gs_dataplane_slot_prepare(state, tables, &change.new_slot, error);
	if (result)
		return result;
	pthread_mutex_lock(&state->lock);
	result = switch_over(state, tables, hops, &change, error);
	pthread_mutex_unlock(&state->lock);
	return result;
}
