/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which backends are held down because they flap (core/damping.h says when), as this edge sees
 * them. A part of what words are judged by:
 *
 *  - Holding begins while a backend is down anyway: it keeps one from coming back, and takes out
 *    nobody who serves.
 *  - Never below the floor: where less than panic_percent (50, if a service never panics) of a
 *    service's weight would be healthy and not held, or while it panics, those that are held and
 *    answer are let go, least penalty first, in the same turn in which the others failed. Who was
 *    let go stays so until it goes down again.
 *  - Whom an operator forces up, or who is cleared, is let go.
 *
 * What is known outlives a restart, in a file: penalties by name and address, and when it was.
 */
#pragma once

#include "panic.h"
#include "usable.h"
#include "user/core/damping.h"

#include <jansson.h>

struct gs_dampings;

/* NULL: out of memory. */
struct gs_dampings *gs_dampings_new(void);
void gs_dampings_free(struct gs_dampings *dampings);

/* A backend of the snapshot was up and went down. */
void gs_dampings_on_down(struct gs_dampings *dampings, const struct gs_snapshot *snapshot,
			 const struct gs_backend *backend, uint64_t now_ms);
/* It was this edge that failed: flaps since since_ms do not count. */
void gs_dampings_take_back(struct gs_dampings *dampings, const struct gs_snapshot *snapshot,
			   uint64_t since_ms, uint64_t now_ms);
/* By an operator: as if it had never flapped. False: nothing is known of it. */
bool gs_dampings_clear(struct gs_dampings *dampings, gs_id backend);
/*
 * Judges all anew. view: its admins and pools are made, of `snapshot`. NULL dampings: nothing, here
 * and below.
 */
void gs_dampings_step(struct gs_dampings *dampings, const struct gs_usable_view *view,
		      const struct gs_snapshot *snapshot, const struct gs_usable_health *health);
/* Is it down, whatever probes say? */
bool gs_dampings_hold(const struct gs_dampings *dampings, gs_id backend);
/* When to step at the latest; UINT64_MAX: when something changes. */
uint64_t gs_dampings_due_ms(const struct gs_dampings *dampings);

struct gs_dampings_status {
	double penalty;
	uint32_t flaps;
	bool is_suppressed;
	bool is_held;
	uint64_t left_ms; /* until `reuse`; 0: not suppressed */
};
/* False: it has not flapped of late. *ret_status is all zero then. */
bool gs_dampings_get(const struct gs_dampings *dampings, const struct gs_service *service,
		     gs_id backend, uint64_t now_ms, struct gs_dampings_status *ret_status);
uint32_t gs_dampings_held(const struct gs_dampings *dampings); /* how many */

enum { GS_DAMPING_TEXT_MAX = 120 };
/* "damped: down 3 times, held for 57 s more", "damped, but needed: ..."; "": neither. Returns out.
 */
const char *gs_dampings_text(const struct gs_dampings_status *status,
			     char out[GS_DAMPING_TEXT_MAX]);
/* Of one that the last step began to hold or let go: why, for people. "": of no other. */
const char *gs_dampings_why(const struct gs_dampings *dampings, const struct gs_service *service,
			    gs_id backend, uint64_t now_ms, char out[GS_DAMPING_TEXT_MAX]);

/* ---- over a restart -------------------------------------------------------------------------- */

enum { GS_DAMPINGS_SAVED_MAX = 1024 };
/* Is what gs_dampings_json would say another thing than when it was asked last, but for decay? */
bool gs_dampings_is_unsaved(const struct gs_dampings *dampings);
/* The first GS_DAMPINGS_SAVED_MAX that are of any weight. NULL: out of memory. */
json_t *gs_dampings_json(struct gs_dampings *dampings, const struct gs_snapshot *snapshot,
			 uint64_t now_ms, int64_t unix_ms);
/*
 * Kept until a snapshot has such backends, at the first step; times that are not past are now.
 * -EINVAL: not what gs_dampings_json makes, and nothing is known.
 */
int gs_dampings_load(struct gs_dampings *dampings, const json_t *json, uint64_t now_ms,
		     int64_t unix_ms);
