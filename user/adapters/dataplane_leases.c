/* SPDX-License-Identifier: Apache-2.0 */
/* What trials were spent on: the map `leases`, and what is given back of a quota. */
#include "dataplane.h"

#include <bpf/bpf.h>
#include <time.h>

union trial {
	struct gs_trial_value fields;
	uint64_t bits;
};

static struct gs_usable_word word_of(const struct gs_dataplane_state *state, uint32_t pool)
{
	union {
		uint64_t bits;
		struct gs_usable_word fields;
	} word = {.bits = __atomic_load_n(&state->maps.usable[GS_OBJECT_POOL][pool],
					  __ATOMIC_ACQUIRE)};

	return word.fields;
}

static bool is_current(const struct gs_dataplane_state *state, uint32_t pool, uint16_t epoch)
{
	struct gs_usable_word word = word_of(state, pool);

	return word.state == GS_USABLE_TRIAL && word.epoch == epoch;
}

static uint32_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
}

uint32_t gs_dataplane_leases(struct gs_dataplane_state *state, struct gs_lease *ret_leases,
			     uint32_t most)
{
	int fd = state->maps.fd[GS_DATAPLANE_LEASES];
	uint64_t id, *before = NULL;
	uint32_t count = 0, us = now_us();

	/* An id that goes meanwhile begins the walk again: `most` ends it all the same. */
	while (count < most && bpf_map_get_next_key(fd, before, &id) == 0) {
		struct gs_lease_value value;

		before = &id;
		if (bpf_map_lookup_elem(fd, &id, &value) ||
		    value.pool >= GS_MAX_SERVICES * GS_MAX_REGIONS)
			continue;
		ret_leases[count++] = (struct gs_lease){
			.id = id,
			.service = (gs_id)(value.pool / GS_MAX_REGIONS),
			.region = (gs_id)(value.pool % GS_MAX_REGIONS),
			.backend = value.backend,
			.age_ms = (us - value.us) / 1000,
			.is_current = is_current(state, value.pool, value.epoch),
			.is_answered = value.answered,
			.is_proven = value.proven,
		};
	}
	return count;
}

/* A quota that packets have taken below 0 counts as empty. */
static void give_back_one(struct gs_dataplane_state *state, uint32_t pool)
{
	struct gs_usable_word word = word_of(state, pool);
	union trial was = {.bits = __atomic_load_n(&state->maps.trials[pool], __ATOMIC_ACQUIRE)};
	union trial is;

	do {
		if (word.state != GS_USABLE_TRIAL || was.fields.epoch != word.epoch)
			return;
		is = was;
		is.fields.left = was.fields.left > 0 ? was.fields.left + 1 : 1;
	} while (!__atomic_compare_exchange_n(&state->maps.trials[pool], &was.bits, is.bits, false,
					      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

void gs_dataplane_lease_end(struct gs_dataplane_state *state, const struct gs_lease *lease,
			    bool give_back)
{
	uint32_t pool = gs_pool_index(lease->service, lease->region);

	if (bpf_map_delete_elem(state->maps.fd[GS_DATAPLANE_LEASES], &lease->id))
		return; /* somebody else has, and has given it back */
	pthread_mutex_lock(&state->words_lock);
	if (give_back && lease->is_current)
		give_back_one(state, pool);
	pthread_mutex_unlock(&state->words_lock);
}
