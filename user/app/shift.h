/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another generation means to clients: the share of the last hour's sampled flows whose region
 * it changes, by what their plans have first. Whether a region is usable is no part of it: that
 * would tell of failures, and not of the configuration and the GeoIP database.
 */
#pragma once

#include "tables.h"
#include "user/core/client_sample.h"

enum { GS_SHIFT_MOVES = 16 };

/* Flows of a service whose first region was another one. */
struct gs_shift_move {
	char service[GS_NAME_MAX];
	char from[GS_NAME_MAX]; /* region; "": there was none */
	char to[GS_NAME_MAX];	/* "": there is none */
	double flows;
};

struct gs_shift {
	uint64_t generation; /* that it is of; the caller's */
	uint32_t prefixes;   /* that are in the sample */
	double flows;	     /* sampled ones that they stand for */
	double moved;	     /* of those: they begin in another region now */
	uint32_t move_count;
	struct gs_shift_move
		moves[GS_SHIFT_MOVES]; /* the largest, first; of all there may be more */
};

/* Services and regions are matched by name; what was for a service that is no more has no `to`. */
void gs_shift_judge(const struct gs_tables *before, const struct gs_tables *after,
		    const struct gs_client_count *clients, uint32_t count,
		    struct gs_shift *ret_shift);
