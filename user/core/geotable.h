/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled geo table: sorted disjoint prefixes -> blocks of struct gs_geo_block, and the same
 * look-up the packet path does. Pure; caller's memory. Layout and source: maps/gs_maps.h.
 */
#pragma once

#include "maps/gs_maps.h"
#include "types.h"

#include <stddef.h>

/* An interval of addresses of one location, ends included. IPv4: 32-bit numbers in `low`. */
struct gs_geo_key {
	uint64_t high; /* IPv6: bits 127 .. 64; IPv4: 0 */
	uint64_t low;  /* IPv6: bits 63 .. 0; IPv4: the address */
};

struct gs_geo_range {
	struct gs_geo_key first;
	struct gs_geo_key last;
	uint16_t location;
};

enum gs_geo_family { GS_GEO_V4, GS_GEO_V6 };

/* ranges: ascending, disjoint; gaps are location 0. Neighbours of one location need not be merged.
 */
struct gs_geo_input {
	enum gs_geo_family family;
	const struct gs_geo_range *ranges;
	size_t count;
};

/* The same without gaps: starts ascend, the first one is 0, and each reaches to the next one's,
 * the last one to the end. */
struct gs_geo_starts {
	enum gs_geo_family family;
	const struct gs_geo_key *starts;
	const uint16_t *locations;
	size_t count;
};

/* Where a build writes; grow() (may be NULL: never grow) enlarges blocks[] and returns 0 or
 * -ENOMEM. */
struct gs_geo_output {
	struct gs_geo_block *blocks;
	size_t block_count; /* in use after the build */
	size_t block_limit; /* room in blocks[] */
	int (*grow)(struct gs_geo_output *output, size_t block_limit);
};

/*
 * 0; -EINVAL: ranges or starts not ascending, ranges not disjoint, the first start not 0 (*ret_at:
 * index of the first that is not); -ENOMEM; -EFBIG: more blocks than 2^26.
 */
int gs_geo_build(const struct gs_geo_input *input, struct gs_geo_output *output, size_t *ret_at);
int gs_geo_build_starts(const struct gs_geo_starts *input, struct gs_geo_output *output,
			size_t *ret_at);

/* The location of an address; what the packet path computes. Out-of-range numbers give 0. */
uint16_t gs_geo_find(const struct gs_geo_block *blocks, size_t block_count,
		     enum gs_geo_family family, struct gs_geo_key key);

struct gs_geo_key gs_geo_key_of(const struct gs_addr *addr); /* family by gs_addr_is_v4 */
/*
 * 2002::/16 (6to4) and 64:ff9b::/96 (NAT64) carry an IPv4 address: true, and *ret_v4 is it. The
 * packet path and route get both locate such clients by it.
 */
bool gs_geo_embedded_v4(const struct gs_addr *addr, struct gs_addr *ret_v4);
