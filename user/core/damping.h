/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flap damping of one target, seen from one edge: who goes down again and again is held down for a
 * while after it answers. Pure: time is a parameter. What follows from it: app/dampings.h.
 *
 * Each time it goes from up to down costs GS_DAMPING_FLAP; what that came to halves every
 * `half_life_s`. At `suppress` it is held, until `reuse` is reached. The penalty never exceeds what
 * takes `ceiling_s` to come down to `reuse` (or `suppress`, if that is more), and nobody is held
 * longer than that after its last flap.
 */
#pragma once

#include "types.h"

enum {
	GS_DAMPING_FLAP = 1000,
	GS_DAMPING_SUPPRESS = 2500, /* two never reach it, three within 33 s do */
	GS_DAMPING_REUSE = 1500,
	GS_DAMPING_HALF_LIFE_S = 60,
	GS_DAMPING_CEILING_S = 300,
	GS_DAMPING_PENALTY_MAX = 100000,
};

/* All zero: never flapped. */
struct gs_damping {
	double penalty; /* at at_ms */
	uint64_t at_ms;
	bool is_suppressed;
	uint64_t since_ms;   /* that */
	uint64_t flapped_ms; /* the last time */
	uint32_t flaps;	     /* since it was all zero, or penalty last came to next to nothing */
	double before;	     /* penalty at flapped_ms, without that flap */
	bool was_suppressed; /* then */
	bool can_take_back;  /* the last flap has not been taken back yet */
};

/* Half lives of 0 s (nobody has said) are a second. */
double gs_damping_penalty(const struct gs_damping *damping, const struct gs_damping_spec *spec,
			  uint64_t now_ms);
/* The highest penalty there is. */
double gs_damping_penalty_max(const struct gs_damping_spec *spec);
/* It was up and went down. True: from now on it is suppressed, and was not. */
bool gs_damping_flap(struct gs_damping *damping, const struct gs_damping_spec *spec,
		     uint64_t now_ms);
/*
 * It was not the target's fault: the last flap, if it was at since_ms or later, has not been. What
 * was held for that is not. Once a flap.
 */
void gs_damping_take_back(struct gs_damping *damping, const struct gs_damping_spec *spec,
			  uint64_t since_ms, uint64_t now_ms);
/* Time passes, or the spec is another one. True: it was suppressed, and is not any more. */
bool gs_damping_step(struct gs_damping *damping, const struct gs_damping_spec *spec,
		     uint64_t now_ms);
/* When it will reach `reuse`, rounded up, or the ceiling; UINT64_MAX: it is not suppressed. */
uint64_t gs_damping_due_ms(const struct gs_damping *damping, const struct gs_damping_spec *spec,
			   uint64_t now_ms);

/* ---- the floor ------------------------------------------------------------------------------- */

/* A target of a service that health decides about and has decided about. */
struct gs_damping_target {
	uint32_t weight;
	double penalty;
	bool is_healthy; /* answers, whether held or not */
	bool is_held;
	uint32_t tag; /* the caller's */
};

/*
 * Lets go of those that are held and healthy, least penalty first (then the first one), until
 * `percent` of all weight is healthy and not held, or none is left to be let go. Returns how many.
 * scratch: room for `count` of them; the targets keep their order.
 */
uint32_t gs_damping_keep_floor(struct gs_damping_target *targets, uint32_t count, uint32_t percent,
			       struct gs_damping_target **scratch);
