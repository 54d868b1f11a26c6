/* SPDX-License-Identifier: Apache-2.0 */
/* The world that bench_xdp.c and modes.c measure in: geo tables, edges, the driver with its
 * flows. Asserts inside. */
#pragma once

#include "driver.h"
#include "geo.h"
#include "maps/gs_maps.h"
#include "report.h"
#include "rivals.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/xdp_edge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MAX_FLOWS = 1 << 20,
	REGIONS = 8, /* ids 1 .. 8 */
	MEMBERS = 16,
	SLOTS = 16411,	/* of a ring: a prime, about 1,000 a member */
	STRIDE = 65536, /* of routes: as many locations as there can be */
};

/* Also the index of the program in the driver's table. */
enum row {
	ROW_DROP,
	ROW_TX,
	ROW_GROW,
	ROW_FLOOR,
	ROW_CLASSICAL_KNOWN,
	ROW_CLASSICAL_NEW,
	ROW_ESTABLISHED,
	ROW_NEW,
	ROW__COUNT
};

struct bench {
	struct xdp_edge edge[2]; /* established flows in one, new ones in the other */
	uint32_t buckets[2];	 /* of their flow tables; 0: not open */
	struct bench_rivals rivals;
	struct bpf_object *driver;
	struct bench_conf *conf; /* mapped */
	struct bench_flow4 *flows4;
	struct bench_flow6 *flows6;
	struct bench_geo geo;
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

/* world.c. The edge of a row, with an empty flow table for so many flows. */
void bench_open_edge(struct bench *bench, enum row row, uint32_t flows);
/* A flow table sized to the traffic, as docs/flows.md has it: a quarter full, never below the
 * default. */
uint32_t bench_buckets_for(uint32_t flows);
/* The services, without limits or with those of clients and of the service, which nobody meets. */
void bench_put_services(const struct xdp_edge *edge, bool is_limited);
/* The compiled table into slot 0. */
void bench_put_geo(const struct xdp_edge *edge, const struct bench_geo_family *family);
/* How all backends are sent to: enum gs_forward_mode, family of the outer header. */
void bench_put_backends(const struct xdp_edge *edge, uint8_t mode, uint8_t family);

/* runs.c. The driver and its flows, clients drawn from the geo tables. */
void bench_open_driver(struct bench *bench);
/* ns a packet, as the kernel measured around the loop. */
uint32_t bench_run(struct bench *bench, const struct run *run);

/* modes.c: the other ways a packet can go, at 1,024 flows. */
void bench_modes(struct bench *bench, int family);
