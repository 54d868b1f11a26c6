/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When so little of a service is healthy that health is no guide any more. Pure: time is a
 * parameter. What follows from it: app/panic.h.
 *
 * Two questions, both by weight, of backends that health decides about and has decided about:
 *  - Can what is healthy take everybody? norm = sum over regions of min(100, 140 * healthy /
 *    weight): a region with 5 of 7 counts as whole. At 100 or more there is no panic, so that a
 *    region that fails is left, whatever its size.
 *  - If not: is less than `percent` of it healthy? Then it panics.
 * It is over when norm is 100, or percent + 10 are healthy, for 10 s.
 */
#pragma once

#include "types.h"

enum {
	GS_PANIC_PERCENT = 50, /* where nobody says */
	GS_PANIC_LEAVES_ABOVE = 10,
	GS_PANIC_HOLD_MS = 10000,
	GS_PANIC_RECENT_MS = 10000, /* last good: lost within that before the last one was lost */
	GS_PANIC_WHOLE_AT = 140,    /* Envoy's factor of overprovisioning, in percent */
};

enum gs_panic_mode {
	GS_PANIC_CALM,
	GS_PANIC_ON,	   /* some are healthy, too few */
	GS_PANIC_ALL_DOWN, /* none is */
	GS_PANIC__COUNT
};

/* What there is of a service, in all regions. */
struct gs_panic_tally {
	uint64_t weight;  /* of backends with a verdict that health decides about */
	uint64_t healthy; /* of those */
	uint32_t norm;	  /* percent; may be more than 100 */
	uint32_t regions, healthy_regions; /* that have some of either */
	bool has_unknown;		   /* there are backends without a verdict */
};

/* One region's backends, added. */
void gs_panic_count(struct gs_panic_tally *tally, uint64_t weight, uint64_t healthy);

/* All zero: calm. */
struct gs_panic {
	enum gs_panic_mode mode;
	bool is_fine;	  /* it is on, and would not be entered now */
	uint64_t fine_ms; /* since when */
};

/* True: the mode has changed. */
bool gs_panic_step(struct gs_panic *panic, uint8_t percent, const struct gs_panic_tally *tally,
		   uint64_t now_ms);
/* When it is to be stepped at the latest; UINT64_MAX: only when something changes. */
uint64_t gs_panic_due_ms(const struct gs_panic *panic);

const char *gs_panic_mode_name(enum gs_panic_mode mode); /* calm panic all_down */
const char *gs_all_down_name(enum gs_all_down kind);	 /* serve_any last_good fixed fail_closed */
/* -EINVAL; "fixed" is one of them. */
int gs_all_down_parse(const char *text, enum gs_all_down *ret_kind);
