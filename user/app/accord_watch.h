/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This edge beside the others it hears of: whether all decide alike (core/accord.h), and one line
 * in the log when this one does not, for longer than a change takes to get around.
 */
#pragma once

#include "user/core/accord.h"
#include "votes.h"

enum { GS_ACCORD_PATIENCE_MS = 10000 };

/* All zero: nothing is known. */
struct gs_accord_watch {
	uint32_t differs; /* GS_DIFFERS_* of this edge, since */
	uint64_t since_ms;
	uint32_t told;
};

/* As it is now. */
struct gs_accord_view {
	uint32_t compared;		 /* edges, this one included */
	uint32_t differing;		 /* of those */
	uint32_t differs[GS_VOTERS_MAX]; /* GS_DIFFERS_*, by index as gs_votes_edge has it */
};

/* Edges whose votes are stale, and those without a generation, are not compared. */
void gs_accord_view(const struct gs_votes *votes, struct gs_accord_view *ret_view);
/* Whenever something was heard of others. */
void gs_accord_watch_look(struct gs_accord_watch *watch, const struct gs_votes *votes,
			  uint64_t now_ms);
