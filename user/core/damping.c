// SPDX-License-Identifier: Apache-2.0
#include "damping.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#define LN2 0.693147180559945309
/* Then it is as good as new: the flaps that are told of begin anew. */
#define NOTHING (GS_DAMPING_FLAP / 20.0)

static double half_life_ms(const struct gs_damping_spec *spec)
{
	return (spec->half_life_s > 0 ? spec->half_life_s : 1) * 1000.0;
}

static double decayed(double penalty, uint64_t for_ms, const struct gs_damping_spec *spec)
{
	return penalty * exp(-LN2 * (double)for_ms / half_life_ms(spec));
}

double gs_damping_penalty(const struct gs_damping *damping, const struct gs_damping_spec *spec,
			  uint64_t now_ms)
{
	if (now_ms <= damping->at_ms)
		return damping->penalty;
	return decayed(damping->penalty, now_ms - damping->at_ms, spec);
}

double gs_damping_penalty_max(const struct gs_damping_spec *spec)
{
	double most = spec->reuse * exp(LN2 * spec->ceiling_s * 1000.0 / half_life_ms(spec));

	/* Below that nobody would be held at all; the ceiling ends it all the same. */
	return fmax(most, spec->suppress);
}

static void go_on(struct gs_damping *damping, const struct gs_damping_spec *spec, uint64_t now_ms)
{
	damping->penalty = gs_damping_penalty(damping, spec, now_ms);
	damping->at_ms = now_ms;
}

bool gs_damping_flap(struct gs_damping *damping, const struct gs_damping_spec *spec,
		     uint64_t now_ms)
{
	bool was_suppressed;

	if (spec->suppress == 0) {
		*damping = (struct gs_damping){0};
		return false;
	}
	gs_damping_step(damping, spec, now_ms);
	was_suppressed = damping->is_suppressed;
	go_on(damping, spec, now_ms);
	if (damping->penalty < NOTHING)
		damping->flaps = 0;
	damping->before = damping->penalty;
	damping->was_suppressed = was_suppressed;
	damping->can_take_back = true;
	damping->flaps++;
	damping->flapped_ms = now_ms;
	damping->penalty = fmin(damping->penalty + GS_DAMPING_FLAP, gs_damping_penalty_max(spec));
	if (damping->penalty < spec->suppress || was_suppressed)
		return false;
	damping->is_suppressed = true;
	damping->since_ms = now_ms;
	return true;
}

void gs_damping_take_back(struct gs_damping *damping, const struct gs_damping_spec *spec,
			  uint64_t since_ms, uint64_t now_ms)
{
	if (!damping->can_take_back || damping->flapped_ms < since_ms)
		return;
	damping->can_take_back = false;
	damping->flaps--;
	damping->penalty = damping->before;
	damping->at_ms = damping->flapped_ms;
	damping->is_suppressed = damping->was_suppressed;
	gs_damping_step(damping, spec, now_ms);
}

bool gs_damping_step(struct gs_damping *damping, const struct gs_damping_spec *spec,
		     uint64_t now_ms)
{
	if (!damping->is_suppressed)
		return false;
	if (gs_damping_due_ms(damping, spec, now_ms) > now_ms)
		return false;
	damping->is_suppressed = false;
	damping->since_ms = now_ms;
	return true;
}

uint64_t gs_damping_due_ms(const struct gs_damping *damping, const struct gs_damping_spec *spec,
			   uint64_t now_ms)
{
	uint64_t ceiling_ms = damping->flapped_ms + spec->ceiling_s * UINT64_C(1000), due_ms;
	double over;

	if (!damping->is_suppressed)
		return UINT64_MAX;
	if (spec->suppress == 0 || spec->reuse == 0 || ceiling_ms <= now_ms)
		return now_ms;
	over = gs_damping_penalty(damping, spec, now_ms) / spec->reuse;
	if (over <= 1)
		return now_ms;
	due_ms = now_ms + (uint64_t)ceil(log(over) / LN2 * half_life_ms(spec)) + 1;
	return due_ms < ceiling_ms ? due_ms : ceiling_ms;
}

/* ---- the floor ------------------------------------------------------------------------------- */

/* Of equal penalties the first one in its array. */
static int compare_held(const void *left, const void *right)
{
	const struct gs_damping_target *const *a = left, *const *b = right;

	if ((*a)->penalty != (*b)->penalty)
		return (*a)->penalty < (*b)->penalty ? -1 : 1;
	return (*a > *b) - (*a < *b);
}

static uint32_t sort_held(struct gs_damping_target *targets, uint32_t count,
			  struct gs_damping_target **held)
{
	uint32_t held_count = 0;

	for (uint32_t i = 0; i < count; i++)
		if (targets[i].is_held && targets[i].is_healthy)
			held[held_count++] = &targets[i];
	if (held_count > 0)
		qsort(held, held_count, sizeof(struct gs_damping_target *), compare_held);
	return held_count;
}

uint32_t gs_damping_keep_floor(struct gs_damping_target *targets, uint32_t count, uint32_t percent,
			       struct gs_damping_target **scratch)
{
	uint32_t held_count, released = 0;
	uint64_t all = 0, serving = 0;

	for (uint32_t i = 0; i < count; i++) {
		all += targets[i].weight;
		serving += targets[i].is_healthy && !targets[i].is_held ? targets[i].weight : 0;
	}
	if (serving * 100 >= all * percent)
		return 0;
	held_count = sort_held(targets, count, scratch);
	while (released < held_count && serving * 100 < all * percent) {
		struct gs_damping_target *least = scratch[released++];

		least->is_held = false;
		serving += least->weight;
	}
	return released;
}
