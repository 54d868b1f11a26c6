/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two generations' answers to "where is this address", walked in step over the whole space of one
 * family: runs of addresses that have one location in the one and one in the other. Exact, and
 * each step looks at what follows only, so that a walk may be left off and taken up again. Pure;
 * caller's memory.
 */
#pragma once

#include "geotable.h"

/* Of one generation and family. All borrowed; they outlive the walk. */
struct gs_geo_layers {
	const struct gs_geo_block *blocks; /* compiled table; block_count 0: unknown everywhere */
	size_t block_count;
	const struct gs_geo_range *over; /* ascending, disjoint; they win over the table */
	size_t over_count;
};

struct gs_geodiff_run {
	struct gs_geo_key first, last; /* both included */
	uint16_t before, after;	       /* locations, each of its own generation */
};

/* Where one compiled table is being read. The module's own. */
struct gs_geo_cursor {
	const struct gs_geo_block *blocks;
	size_t block_count;
	enum gs_geo_family family;
	uint32_t root;	/* the next entry of the root */
	unsigned depth; /* nodes on the way down */
	struct gs_geo_cursor_frame {
		struct gs_geo_key first;
		uint32_t node;
		unsigned slot; /* the next one */
	} frames[GS_GEO6_LEVELS];
	struct gs_geo_key last; /* of the run that was read last */
	uint16_t location;
	bool has_run;
};

struct gs_geodiff {
	enum gs_geo_family family;
	struct gs_geodiff_side {
		struct gs_geo_cursor cursor;
		const struct gs_geo_range *over;
		size_t over_count, over_at;
	} side[2];
	struct gs_geo_key at; /* the first address that no run has had */
	bool is_over;
};

void gs_geodiff_init(struct gs_geodiff *ret_diff, enum gs_geo_family family,
		     const struct gs_geo_layers *before, const struct gs_geo_layers *after);
/*
 * The next runs, in order, without a gap; how many, `most` (not 0) at most, and 0 at the end.
 * Neighbours of one call differ in a location. Addresses of IPv6 that clients are located by the
 * IPv4 address in (gs_geo_embedded_v4) are unknown on both sides.
 */
uint32_t gs_geodiff_next(struct gs_geodiff *diff, struct gs_geodiff_run *ret_runs, uint32_t most);
