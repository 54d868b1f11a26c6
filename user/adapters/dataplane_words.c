/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane.h"

#include <string.h>

union word {
	struct gs_usable_word fields;
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
				  .fallback = word.fields.fallback};
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
