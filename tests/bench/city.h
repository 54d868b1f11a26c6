/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of mkcity: a city-level GeoIP database of a given shape over the address space as it is
 * really given out. All of it is a function of its arguments: one seed, one database.
 */
#pragma once

#include "user/core/geodata.h"

#include <stdio.h>

__extension__ typedef unsigned __int128 city_number;

/* ---- shape ---------------------------------------------------------------------------------- */

/* What one family is to have. */
struct city_shape {
	unsigned width;		/* 32 or 128 */
	uint32_t prefixes[129]; /* by length; neighbours are of different cells */
	uint32_t networks;	/* these, cut into pieces of one cell */
	uint32_t cells;
	unsigned part; /* 1: of all addresses; 64: of a 64th of what is given out */
};

/* IPv4, IPv6. A file like city_prefixes.csv; "networks" and "cells" may be left out. 0, or -EINVAL
 * and said, with file and line. */
int city_shape_read(const char *path, struct city_shape ret_shapes[2]);
/* A part of it, 1 / scale; what is rounded adds up. */
void city_shape_scale(struct city_shape *shape, unsigned scale);
uint64_t city_shape_prefixes(const struct city_shape *shape);
/* What a database that was loaded has, by length: the fewest prefixes that say the same. */
void city_shape_count(const struct gs_geodata_family *family, unsigned width,
		      uint64_t ret_counts[129]);

/* ---- addresses ------------------------------------------------------------------------------ */

enum { CITY_COUNTRIES = 26 * 26 };

/* A prefix. */
struct city_block {
	city_number first; /* IPv4: 32 bits */
	uint64_t key;	   /* its place among others, while they are split */
	uint16_t country;  /* number of its code */
	uint16_t cell;	   /* of the country */
	uint8_t length;
	bool is_spare; /* nobody has it: as databases do, it is its neighbour's */
};

struct city_blocks {
	struct city_block *at;
	size_t count, room;
};

int city_blocks_add(struct city_blocks *blocks, const struct city_block *block); /* -ENOMEM */
void city_blocks_done(struct city_blocks *blocks);
/* CITY_COUNTRIES: none. */
unsigned city_country_number(const char *code);

/*
 * All public addresses, by countries of a country-level database, in address order, in as few
 * prefixes as it takes. IPv6: 2000::/4, borders between countries at multiples of a /56.
 */
int city_space_make(const struct gs_geodata *countries, unsigned width,
		    struct city_blocks *ret_space);

/*
 * Splits until there are as many prefixes of each length as the shape wants, in address order.
 * Blocks that nobody has stay whole if they can. ret_lacking[length]: so many fewer, because
 * there was nothing left to split. Takes the space.
 */
int city_split(struct city_blocks *space, const struct city_shape *shape, uint64_t seed,
	       struct city_blocks *ret_prefixes, uint32_t ret_lacking[129]);

/* ---- places --------------------------------------------------------------------------------- */

struct city_cell {
	struct gs_coord coord;
	uint16_t subdivision; /* from 1; some neighbouring cells have the same */
};

struct city_country {
	char code[3], continent[3];
	struct city_cell *cells; /* nearest to one of its time zones first */
	uint32_t cell_count;
	uint32_t used[2]; /* by family: the first so many */
};

struct city_zone {
	double x, y, z; /* on the unit sphere */
	uint16_t country;
};

struct city_places {
	struct city_country countries[CITY_COUNTRIES];
	struct city_zone *zones;
	size_t zone_count, zone_room;
};

/* Which degree cells are whose: the country's with the nearest time zone. 0, -EINVAL, said. */
int city_places_read(const char *zone_tab, struct city_places *ret_places);
void city_places_done(struct city_places *places);
/* Number of the country with the nearest time zone. */
unsigned city_places_nearest(const struct city_places *places, const struct gs_coord *coord);
/*
 * Shares a family's cells (0: IPv4, first, or 1: IPv6) out by addresses and gives each prefix one:
 * all are used, and none is that of the prefix just before. Returns how many there are.
 */
uint32_t city_places_give(struct city_places *places, struct city_blocks *prefixes, int family,
			  const struct city_shape *shape, uint64_t seed);

/* ---- file ----------------------------------------------------------------------------------- */

/* Cuts prefixes into networks and writes the file. prefixes[]: IPv4, IPv6; their keys change.
 * *ret_nodes: of its search tree. 0 or -errno. */
int city_file_write(const struct city_places *places, struct city_blocks prefixes[2],
		    const struct city_shape shapes[2], uint64_t seed, const char *path,
		    uint32_t *ret_nodes);
