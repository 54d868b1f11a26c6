/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefixes of overrides, cut where the class of the clients inside changes (class: which fences
 * hold for them), so that each piece may have a location of its own. What an address then matches
 * first is a piece of the longest override around it, of its own class. Pure.
 */
#pragma once

#include "geotable.h"
#include "types.h"

/* Addresses from `start` to the next run's are of one class. Ascending, the first at 0. */
struct gs_cut_run {
	struct gs_geo_key start; /* IPv4: 32 bits in `low` */
	uint16_t class;
};

struct gs_cut_piece {
	struct gs_prefix prefix;
	uint32_t owner; /* index of its prefix */
	uint16_t class;
};

struct gs_cut_output {
	struct gs_cut_piece *pieces;
	uint32_t count, limit; /* appended behind `count`, up to `limit` */
};

/*
 * prefixes: of one family, sorted (gs_prefix_compare), distinct. Each becomes as few pieces as
 * halving finds: one that is of one class stays whole. scratch: count numbers. 0, or -EFBIG: more
 * pieces than there is room for, and *ret_at is the prefix that was being cut.
 */
int gs_cut(const struct gs_prefix *prefixes, uint32_t count, uint32_t *scratch,
	   const struct gs_cut_run *runs, uint32_t run_count, struct gs_cut_output *output,
	   uint32_t *ret_at);
