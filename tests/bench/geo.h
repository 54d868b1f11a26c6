/* SPDX-License-Identifier: Apache-2.0 */
/* The prefixes a benchmark locates clients by: from a file, compiled, drawn from, and as the
 * kernel's LPM trie. Asserts inside. */
#pragma once

#include "user/core/geotable.h"

#include <stdint.h>

struct bench_geo_family {
	enum gs_geo_family kind;
	struct gs_geo_block *blocks;
	size_t block_count;
	/* Ascending, the first at 0; each reaches to the next one. Location 0: unknown. */
	struct gs_geo_key *starts;
	uint16_t *locations;
	size_t start_count;
	uint64_t prefixes; /* that say the same; only those of known locations */
};

struct bench_geo {
	char name[64];
	struct bench_geo_family family[2]; /* IPv4, IPv6 */
	double load_ms;			   /* file opened to tables; 0: there was no file */
};

/* Kept until the end. path NULL: a synthetic one of a city database's size. */
void bench_geo_open(struct bench_geo *geo, const char *path);
/* The synthetic one, without prefixes counted. */
void bench_geo_synthesize(struct bench_geo *geo);

/* A client, by intervals drawn evenly, somewhere in its own: of a known location, unicast, and
 * located by its own address (no 6to4, no NAT64). As in struct gs_service_key. */
void bench_geo_draw(const struct bench_geo_family *family, uint64_t *seed, uint32_t ret_addr[4]);
uint16_t bench_geo_find(const struct bench_geo_family *family, const uint32_t addr[4]);

/* An LPM trie of the same prefixes; values are locations, 4 bytes. Keys: struct gs_override4_key
 * and _6. ret_ms: what the updates took. A file descriptor. */
int bench_geo_trie(const struct bench_geo_family *family, double *ret_ms);

/* Of so many prefixes, drawn from all: the other ones' addresses are unknown. Compiled anew;
 * ret_ms: what that took. */
void bench_geo_thin(const struct bench_geo_family *all, uint64_t prefixes,
		    struct bench_geo_family *ret_family, double *ret_ms);
void bench_geo_release(struct bench_geo_family *family);
