/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An edge's doubt in itself: where what it sees says more of the edge than of what it looks at, its
 * votes are unknown. Pure: facts and time are parameters.
 *
 *   LATE        its loop is late: timeouts measure the edge.
 *   NO_CARRIER  none of the links that packets come by is up.
 *   ANCHORS     none of the addresses answers that an operator named as always there.
 *   SILENT      no region answers at all, of two or more.
 *   FAILING     more than half of the regions that answered have begun to fail at once.
 *
 * What has failed for a minute is no longer "at once": then FAILING ends and the votes are what the
 * probes say. The others last as long as they are so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gs_self_state {
	GS_SELF_WELL,
	GS_SELF_LATE,
	GS_SELF_NO_CARRIER,
	GS_SELF_ANCHORS,
	GS_SELF_SILENT,
	GS_SELF_FAILING,
	GS_SELF__COUNT,
};

enum {
	GS_SELF_WINDOW_MS = 3000,	/* "at once" */
	GS_SELF_LATCH_MS = 5000,	/* after the last sign of it */
	GS_SELF_FAILING_MS_MAX = 60000, /* then it is how things are */
};

/* Regions with probed backends; unrelated ones, as regions are. */
struct gs_self_facts {
	uint32_t regions; /* with a verdict */
	uint32_t alive;	  /* of these: something there answers */
	uint32_t steady;  /* that answered, a window ago */
	uint32_t failing; /* of these: more than half of what answered there fails since */
	uint32_t anchors, anchors_silent;
	bool is_late;
	bool has_no_carrier;
};

struct gs_self {
	enum gs_self_state state;
	uint64_t since_ms;
	uint64_t failing_ms;	  /* when FAILING began; 0: it has not */
	uint64_t until_ms;	  /* it lasts at least so long */
	uint32_t failing, steady; /* when it was worst */
};

/* True: the state has changed. */
bool gs_self_step(struct gs_self *self, const struct gs_self_facts *facts, uint64_t now_ms);
const char *gs_self_name(enum gs_self_state state); /* well late no_carrier ... */
/* For people; WELL: "". */
const char *gs_self_text(const struct gs_self *self, char *out, size_t room);
