/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows when a service panics, or nothing of it is healthy (core/panic.h says when): which
 * backends serve though health says they do not. It ends in the words that packets read anyway; it
 * never puts a region into a plan, so no fence is crossed.
 *
 *  - panic: inside regions that have a healthy backend, all of them serve. A region without one is
 *    left as ever.
 *  - all down, serve_any: all backends; last_good: those that were healthy within the 10 s before
 *    the last one was lost (none is known to have been: all); fixed: those of one region;
 *    fail_closed: none.
 *
 * Never what an operator has out or forces, nor what this machine has no way to.
 */
#pragma once

#include "usable.h"
#include "user/core/panic.h"

struct gs_panics;

/* NULL: out of memory. */
struct gs_panics *gs_panics_new(void);
void gs_panics_free(struct gs_panics *panics);

/*
 * Judges all services anew. view: its admins and pools are made, of `snapshot`. NULL panics:
 * nothing.
 */
void gs_panics_step(struct gs_panics *panics, const struct gs_usable_view *view,
		    const struct gs_snapshot *snapshot, const struct gs_usable_health *health);
/* Does the backend serve whatever health says? NULL panics: no. */
bool gs_panics_let(const struct gs_panics *panics, gs_id backend);

struct gs_panic_status {
	enum gs_panic_mode mode;
	struct gs_panic_tally tally;
	uint64_t entered; /* how often it has left calm */
	bool changed;	  /* by the last step */
};
/* All zero: calm. NULL panics: so are all. */
struct gs_panic_status gs_panics_get(const struct gs_panics *panics, gs_id service);
/* When to step at the latest; UINT64_MAX: when something changes. */
uint64_t gs_panics_due_ms(const struct gs_panics *panics);

enum { GS_PANIC_TEXT_MAX = 160 };
/* For people: "panic: 1 of 4 regions has ...". "" while calm. Returns out. */
const char *gs_panic_text(const struct gs_snapshot *snapshot, const struct gs_service *service,
			  const struct gs_panic_status *status, char out[GS_PANIC_TEXT_MAX]);
