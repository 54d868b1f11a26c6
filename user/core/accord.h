/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the edges of one database decide alike. Each publishes what its generation is of, and a
 * digest of what comes of it (app/tables.h); equal digests send every flow alike. Edges of one
 * revision ought to have the same, and are compared with the most of them. Pure: every edge, and
 * whoever reads their rows, comes to the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In what an edge differs from the others; bits. */
enum {
	GS_DIFFERS_REVISION = 1, /* it is behind the newest one that an edge is at */
	GS_DIFFERS_GEO = 2,	 /* of one revision: another GeoIP database */
	GS_DIFFERS_SEED = 4,	 /* another selection seed */
	GS_DIFFERS_PROGRAM = 8,	 /* another version of the program, and other decisions */
	GS_DIFFERS_PLANS = 16,	 /* all of that is the same, and it decides otherwise */
};
enum { GS_DIFFERS_TEXT_MAX = 96 };

/* What one edge runs on. */
struct gs_accord_edge {
	uint64_t revision;
	uint64_t digest; /* of its generation */
	uint64_t geo_digest, selection_seed;
	const char *version; /* of its program; not NULL */
	bool is_compared;    /* it is there now, and has a generation */
	/* out */
	uint32_t differs; /* GS_DIFFERS_*; 0: as the others, alone, or not compared */
	uint32_t alike_;  /* the judge's own */
};

/*
 * Fills in `differs`. An edge behind the newest revision differs in that alone. Among those of one
 * revision the digest that most have is right; if several are as frequent none is, and whoever has
 * one of them is compared with the first edge that has another. How many differ.
 */
uint32_t gs_accord_judge(struct gs_accord_edge *edges, uint32_t count);

/* "GeoIP database, program"; "": in nothing. Returns out. */
const char *gs_differs_words(uint32_t differs, char *out, size_t room);
