/* SPDX-License-Identifier: Apache-2.0 */
#include "maglev.h"

#include "maps/gs_hash.h"

#include <errno.h>
#include <stdlib.h>

#define SLOT_EMPTY 0 /* no backend has this id */

/* A member as it walks its own permutation of the slots. */
struct walker {
	uint64_t key;
	uint32_t slot; /* next candidate */
	uint32_t skip;
	uint32_t credit; /* weight gathered since its last turn; a turn costs the top weight */
	uint16_t weight;
	gs_id backend;
};

uint32_t gs_maglev_slots(uint32_t members)
{
	if (members <= 4)
		return 4099;
	if (members <= 16)
		return 16411;
	return 65537;
}

size_t gs_maglev_scratch(uint32_t members)
{
	return (size_t)members * sizeof(struct walker);
}

static bool is_prime(uint32_t n)
{
	if (n < 2)
		return false;
	for (uint32_t d = 2; d <= n / d; d++)
		if (n % d == 0)
			return false;
	return true;
}

static int compare_keys(const void *a, const void *b)
{
	const struct walker *left = a, *right = b;

	return (left->key > right->key) - (left->key < right->key);
}

/* Walkers sorted by key, each at the start of its permutation; 0 or -EINVAL. */
static int set_out(const struct gs_maglev_member *members, uint32_t count, uint64_t seed,
		   uint32_t slots, struct walker *walkers, uint32_t *ret_top_weight)
{
	uint32_t top_weight = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (members[i].weight == 0 || members[i].backend == SLOT_EMPTY)
			return -EINVAL;
		if (members[i].weight > top_weight)
			top_weight = members[i].weight;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint64_t h = gs_hash_mix(gs_hash_step(seed, members[i].key));

		walkers[i] = (struct walker){
			.key = members[i].key,
			.slot = (uint32_t)(h >> 32) % slots,
			.skip = (uint32_t)h % (slots - 1) + 1,
			/* Half a turn in advance: counts are rounded to the nearest. */
			.credit = top_weight / 2,
			.weight = members[i].weight,
			.backend = members[i].backend,
		};
	}
	/* So that turns do not depend on the order members are listed in. */
	qsort(walkers, count, sizeof(*walkers), compare_keys);
	for (uint32_t i = 1; i < count; i++)
		if (walkers[i].key == walkers[i - 1].key)
			return -EINVAL;
	*ret_top_weight = top_weight;
	return 0;
}

static uint32_t next_slot(const struct walker *walker, uint32_t slots)
{
	uint32_t left = slots - walker->slot; /* no overflow, whatever the prime */

	return walker->skip < left ? walker->slot + walker->skip : walker->skip - left;
}

int gs_maglev_build(const struct gs_maglev_member *members, uint32_t count, uint64_t seed,
		    void *scratch, uint32_t slots, gs_id *ret_slots)
{
	struct walker *walkers = scratch;
	uint32_t top_weight, filled = 0;
	int ret;

	if (count == 0 || slots < count || !is_prime(slots))
		return -EINVAL;
	ret = set_out(members, count, seed, slots, walkers, &top_weight);
	if (ret)
		return ret;

	for (uint32_t i = 0; i < slots; i++)
		ret_slots[i] = SLOT_EMPTY;
	/* Rounds: everyone gathers its weight, and takes a slot whenever it has gathered a turn's
	 * worth. In each round those of the top weight move, so this ends. */
	for (;;) {
		for (struct walker *walker = walkers; walker < walkers + count; walker++) {
			walker->credit += walker->weight;
			if (walker->credit < top_weight)
				continue;
			walker->credit -= top_weight;
			while (ret_slots[walker->slot] != SLOT_EMPTY)
				walker->slot = next_slot(walker, slots);
			ret_slots[walker->slot] = walker->backend;
			if (++filled == slots)
				return 0;
		}
	}
}
