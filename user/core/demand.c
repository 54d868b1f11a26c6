/* SPDX-License-Identifier: Apache-2.0 */
#include "demand.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_MS = 100 };

static const double span_units[GS_DEMAND__SPANS] = {
	[GS_DEMAND_MINUTE] = 60000.0 / UNIT_MS,
	[GS_DEMAND_FIVE_MINUTES] = 300000.0 / UNIT_MS,
};

/* Cells that were looked at together are as old as each other: hardly ever another exponent. */
static const double *decay_of(struct gs_demand_look *look, uint32_t elapsed)
{
	if (elapsed != look->elapsed) {
		look->elapsed = elapsed;
		for (int span = 0; span < GS_DEMAND__SPANS; span++)
			look->decay[span] = exp(-(double)elapsed / span_units[span]);
	}
	return look->decay;
}

void gs_demand_look_init(struct gs_demand_look *look, uint64_t now_ms, uint64_t since_ms)
{
	look->at = (uint32_t)(now_ms / UNIT_MS);
	look->elapsed = 0;
	for (int span = 0; span < GS_DEMAND__SPANS; span++) {
		double share = 1 - exp(-(double)since_ms / UNIT_MS / span_units[span]);

		look->share_per_second[span] = share / ((double)since_ms / 1000);
		look->decay[span] = 1;
	}
}

uint32_t gs_demand_count(struct gs_demand_look *look, struct gs_demand_cell *cell, uint32_t counter)
{
	uint32_t flows = counter - cell->counter;
	const double *decay;

	if (flows == 0)
		return 0;
	decay = decay_of(look, look->at - cell->at);
	for (int span = 0; span < GS_DEMAND__SPANS; span++)
		cell->per_second[span] = (float)((double)cell->per_second[span] * decay[span] +
						 flows * look->share_per_second[span]);
	cell->at = look->at;
	cell->counter = counter;
	cell->flows += flows;
	return flows;
}

double gs_demand_rate(struct gs_demand_look *look, const struct gs_demand_cell *cell,
		      enum gs_demand_span span)
{
	return (double)cell->per_second[span] * decay_of(look, look->at - cell->at)[span];
}

/* ---- other locations -------------------------------------------------------------------------*/

static uint64_t mix(uint64_t sum, const void *bytes, size_t length)
{
	const unsigned char *byte = bytes;

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ byte[i]) * 0x100000001b3ULL;
	return sum ^ sum >> 29;
}

static uint64_t hash_of(const struct gs_location *location)
{
	uint64_t sum = 0xcbf29ce484222325ULL;

	sum = mix(sum, location->country, strlen(location->country));
	sum = mix(sum, location->subdivision, strlen(location->subdivision));
	if (location->has_coord) {
		sum = mix(sum, &location->coord.lat_deg, sizeof(location->coord.lat_deg));
		sum = mix(sum, &location->coord.lon_deg, sizeof(location->coord.lon_deg));
	}
	return mix(sum, &location->override_region, sizeof(location->override_region));
}

static bool says_the_same(const struct gs_location *a, const struct gs_location *b)
{
	return strcmp(a->country, b->country) == 0 && strcmp(a->continent, b->continent) == 0 &&
	       strcmp(a->subdivision, b->subdivision) == 0 &&
	       a->override_region == b->override_region && a->has_coord == b->has_coord &&
	       (!a->has_coord ||
		(a->coord.lat_deg == b->coord.lat_deg && a->coord.lon_deg == b->coord.lon_deg));
}

size_t gs_demand_match_slots(uint32_t count)
{
	size_t slots = 16;

	while (slots < 2 * (size_t)count)
		slots *= 2;
	return slots;
}

/* The slot that has the location, or the free one where it belongs. */
static size_t slot_of(const struct gs_location *location, const struct gs_location *after,
		      const uint16_t *slots, size_t slot_count)
{
	size_t slot = (size_t)hash_of(location) & (slot_count - 1);

	while (slots[slot] && !says_the_same(&after[slots[slot]], location))
		slot = (slot + 1) & (slot_count - 1);
	return slot;
}

void gs_demand_match(const struct gs_location *before, uint32_t before_count,
		     const struct gs_location *after, uint32_t after_count, uint16_t *slots,
		     uint16_t *ret_after)
{
	size_t slot_count = gs_demand_match_slots(after_count);

	memset(slots, 0, slot_count * sizeof(*slots));
	for (uint32_t i = 1; i < after_count; i++) {
		size_t slot = slot_of(&after[i], after, slots, slot_count);

		if (!slots[slot])
			slots[slot] = (uint16_t)i;
	}
	for (uint32_t i = 0; i < before_count; i++)
		ret_after[i] = i ? slots[slot_of(&before[i], after, slots, slot_count)] : 0;
}

/* ---- the busiest -----------------------------------------------------------------------------*/

static int compare(const struct gs_demand_row *a, const struct gs_demand_row *b)
{
	double left = a->per_second[GS_DEMAND_MINUTE], right = b->per_second[GS_DEMAND_MINUTE];

	if (left > right || left < right)
		return left > right ? -1 : 1;
	if (a->flows != b->flows)
		return a->flows > b->flows ? -1 : 1;
	if (a->policy != b->policy)
		return a->policy < b->policy ? -1 : 1;
	return (a->key > b->key) - (a->key < b->key);
}

/* A heap, the least busy first: who is less busy than that has no place. */
static void sink(struct gs_demand_top *top, struct gs_demand_row row)
{
	uint32_t at = 0;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= top->count)
			break;
		if (child + 1 < top->count && compare(&top->rows[child], &top->rows[child + 1]) < 0)
			child++;
		if (compare(&row, &top->rows[child]) >= 0)
			break;
		top->rows[at] = top->rows[child];
		at = child;
	}
	top->rows[at] = row;
}

static void rise(struct gs_demand_top *top, struct gs_demand_row row)
{
	uint32_t at = top->count++;

	while (at > 0 && compare(&row, &top->rows[(at - 1) / 2]) > 0) {
		top->rows[at] = top->rows[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	top->rows[at] = row;
}

void gs_demand_top_offer(struct gs_demand_top *top, const struct gs_demand_row *row)
{
	top->offered++;
	if (top->count < top->room)
		rise(top, *row);
	else if (top->room > 0 && compare(row, &top->rows[0]) < 0)
		sink(top, *row);
}

static int compare_rows(const void *a, const void *b)
{
	return compare(a, b);
}

void gs_demand_top_sort(struct gs_demand_top *top)
{
	if (top->count > 1)
		qsort(top->rows, top->count, sizeof(*top->rows), compare_rows);
}
