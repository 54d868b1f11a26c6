/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One GeoIP database, compiled: locations, both geo tables, and what it was made from. Immutable
 * once made, so that the loop and the worker may read it at the same time. Whoever makes it (the
 * geodb port) allocates it; gs_geodata_free releases it.
 */
#pragma once

#include "geotable.h"
#include "types.h"

struct gs_geodata_family {
	struct gs_geo_block *blocks;
	size_t block_count;
	uint64_t networks; /* of the file, aliases of the IPv4 tree not counted */
	uint64_t prefixes; /* after neighbours of one location are merged: the smallest number of
			      prefixes that says the same */
	/* Ascending; the first starts at 0; each reaches to the next one's start: for "which
	 * prefix matched", not for packets. */
	struct gs_geo_key *starts;
	uint16_t *start_locations;
	size_t start_count;
};

struct gs_geodata {
	char path[GS_PATH_MAX];
	char database_type[GS_NAME_MAX];
	uint64_t build_unix_s;
	uint64_t digest; /* of locations and tables: equal digests, equal answers */
	uint64_t load_us;
	uint32_t location_count; /* location 0, unknown, included */
	struct gs_location *locations;
	struct gs_geodata_family v4;
	struct gs_geodata_family v6;
};

/*
 * The location of a client (6to4 and NAT64 by the address inside), and the largest prefix around
 * it with that location only. ret_prefix may be NULL. 0: unknown.
 */
uint16_t gs_geodata_find(const struct gs_geodata *geo, const struct gs_addr *addr,
			 struct gs_prefix *ret_prefix);
