/* SPDX-License-Identifier: Apache-2.0 */
/* What the rows of bench_xdp.c and those of bench_modes.c have in common. Asserts inside. */
#pragma once

#include "driver.h"
#include "maps/gs_maps.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/xdp_edge.h"
#include "user/core/geotable.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MAX_FLOWS = 1 << 20,
	MAX_ROUNDS = 31,
	REGIONS = 8, /* ids 1 .. 8 */
	MEMBERS = 16,
	SLOTS = 16411,	/* of a ring: a prime, about 1,000 a member */
	STRIDE = 65536, /* of routes: as many locations as there can be */
	CITY_PREFIXES4 = 4400000,
	CITY_PREFIXES6 = 2000000,
	CITY_LOCATIONS = 8300,
	BLOCK_LIMIT = 1 << 21,
};

/* Also the index of the program in the driver's table. */
enum row { ROW_DROP, ROW_TX, ROW_GROW, ROW_ESTABLISHED, ROW_NEW, ROW__COUNT };

/* What clients are drawn from, and the table compiled from it. */
struct family {
	struct gs_geo_block *blocks;
	size_t block_count;
	struct gs_geo_key *starts; /* of prefixes */
	size_t start_count;
};

struct bench {
	struct xdp_edge edge[2]; /* established flows in one, new ones in the other */
	uint32_t buckets[2];	 /* of their flow tables; 0: not open */
	struct bpf_object *driver;
	struct bench_conf *conf; /* mapped */
	struct bench_flow4 *flows4;
	struct bench_flow6 *flows6;
	struct family family[2]; /* IPv4, IPv6; kept until the end */
	char geo[128];
	uint32_t rounds, packets;
	uint64_t laps; /* of new flows there were; the next one's number */
};

struct run {
	const char *driver;	    /* its program; NULL: whole packets of the family */
	const struct packet *frame; /* template; NULL: a TCP packet */
	int family;
	uint32_t flows;
	enum row row;
	uint8_t flags;
	bool is_fresh; /* each time all flows have been gone through they are new ones */
	uint32_t packets;
};

/* ns a packet, as the kernel measured around the loop. */
uint32_t bench_run(struct bench *bench, const struct run *run);
/* The edge of a row, with an empty flow table for so many flows. */
void bench_open_edge(struct bench *bench, enum row row, uint32_t flows);
/* How all backends are sent to: enum gs_forward_mode, family of the outer header. */
void bench_put_backends(const struct xdp_edge *edge, uint8_t mode, uint8_t family);

/* bench_modes.c: the other ways a packet can go, at 1,024 flows; JSON lines, and lines for people.
 */
void bench_modes(struct bench *bench, int family);
