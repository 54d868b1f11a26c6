/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane.h"

#include <string.h>

union word {
	struct gs_usable_word fields;
	uint64_t bits;
};

union trial {
	struct gs_trial_value fields;
	uint64_t bits;
};

static union word load(const struct gs_dataplane_state *state, enum gs_object_kind kind,
		       uint32_t index)
{
	return (union word){
		.bits = __atomic_load_n(&state->maps.usable[kind][index], __ATOMIC_ACQUIRE)};
}

/* Counts the change; a word that says the same already is left alone. words_lock held. */
static void store(struct gs_dataplane_state *state, enum gs_object_kind kind, uint32_t index,
		  union word new)
{
	union word old = load(state, kind, index);

	new.fields.epoch = old.fields.epoch;
	if (new.bits == old.bits)
		return;
	new.fields.epoch++;
	__atomic_store_n(&state->maps.usable[kind][index], new.bits, __ATOMIC_RELEASE);
}

/*
 * A pool that goes on trial gets its quota before the word that makes it count. One that is on
 * trial keeps the epoch and what is left, whatever else of its word changes. words_lock held.
 */
static void store_pool(struct gs_dataplane_state *state, uint32_t pool, union word new,
		       uint16_t trials)
{
	union word old = load(state, GS_OBJECT_POOL, pool);
	union trial trial = {.fields = {.left = trials}};

	if (new.fields.state != GS_USABLE_TRIAL) {
		store(state, GS_OBJECT_POOL, pool, new);
		return;
	}
	new.fields.epoch = old.fields.epoch;
	if (old.fields.state != GS_USABLE_TRIAL) {
		new.fields.epoch++;
		trial.fields.epoch = new.fields.epoch;
		__atomic_store_n(&state->maps.trials[pool], trial.bits, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&state->maps.usable[GS_OBJECT_POOL][pool], new.bits, __ATOMIC_RELEASE);
}

/* What is left of the quota of this word; packets may have taken it below 0. */
static uint16_t trials_left(const struct gs_dataplane_state *state, uint32_t pool, union word word)
{
	union trial trial = {.bits = __atomic_load_n(&state->maps.trials[pool], __ATOMIC_ACQUIRE)};

	if (word.fields.state != GS_USABLE_TRIAL || trial.fields.epoch != word.fields.epoch ||
	    trial.fields.left <= 0)
		return 0;
	return trial.fields.left < UINT16_MAX ? (uint16_t)trial.fields.left : UINT16_MAX;
}

void gs_dataplane_word_set(struct gs_dataplane_state *state, enum gs_object_kind kind,
			   uint32_t index, struct gs_usable usable)
{
	union word word = {.fields = {.state = usable.state,
				      .accept = usable.accept,
				      .fallback = usable.fallback}};

	if ((uint32_t)kind >= GS_DATAPLANE_USABLE_KINDS || index >= state->maps.usable_count[kind])
		return;
	pthread_mutex_lock(&state->words_lock);
	if (kind == GS_OBJECT_BACKEND && state->retired[index])
		state->held[index] = word.bits;
	else if (kind == GS_OBJECT_POOL)
		store_pool(state, index, word, usable.trials);
	else
		store(state, kind, index, word);
	pthread_mutex_unlock(&state->words_lock);
}

struct gs_usable gs_dataplane_word_get(const struct gs_dataplane_state *state,
				       enum gs_object_kind kind, uint32_t index)
{
	union word word;

	if ((uint32_t)kind >= GS_DATAPLANE_USABLE_KINDS || index >= state->maps.usable_count[kind])
		return (struct gs_usable){.state = GS_USABLE_DOWN};
	word = load(state, kind, index);
	return (struct gs_usable){.state = word.fields.state,
				  .accept = word.fields.accept,
				  .fallback = word.fields.fallback,
				  .trials = kind == GS_OBJECT_POOL ? trials_left(state, index, word)
								   : 0};
}

/* ---- capacity -------------------------------------------------------------------------------- */

union fill {
	struct gs_fill_word fields;
	uint64_t bits;
};

void gs_dataplane_fill_set(struct gs_dataplane_state *state, gs_id region, struct gs_fill fill)
{
	const union fill word = {.fields = {.away = fill.away,
					    .room = fill.room,
					    .spare = fill.spare,
					    .shed = fill.shed}};

	if (region < GS_MAX_REGIONS)
		__atomic_store_n(&state->maps.fill[region], word.bits, __ATOMIC_RELEASE);
}

struct gs_fill gs_dataplane_fill_get(const struct gs_dataplane_state *state, gs_id region)
{
	union fill word = {.bits = 0};

	if (region < GS_MAX_REGIONS)
		word.bits = __atomic_load_n(&state->maps.fill[region], __ATOMIC_ACQUIRE);
	return (struct gs_fill){.away = word.fields.away,
				.room = word.fields.room,
				.spare = word.fields.spare,
				.shed = word.fields.shed};
}

void gs_dataplane_word_retire(struct gs_dataplane_state *state, gs_id backend, bool is_retired)
{
	union word down = {.fields = {.state = GS_USABLE_DOWN}};

	pthread_mutex_lock(&state->words_lock);
	if (is_retired && !state->retired[backend]) {
		state->held[backend] = down.bits;
		store(state, GS_OBJECT_BACKEND, backend, down);
	} else if (!is_retired && state->retired[backend]) {
		store(state, GS_OBJECT_BACKEND, backend,
		      (union word){.bits = state->held[backend]});
	}
	state->retired[backend] = is_retired;
	pthread_mutex_unlock(&state->words_lock);
}
