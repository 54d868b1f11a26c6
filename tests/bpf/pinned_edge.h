/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real program with its maps pinned as geostream-loader pins them, in a folder of the test's
 * own, and packets through it: for tests of whoever fills the maps. Asserts inside.
 */
#pragma once

#include "user/app/tables.h"
#include "user/core/types.h"

#include <linux/bpf.h>
#include <stdint.h>

struct bpf_object;

/* Zeroed before it is first opened. */
struct pinned_edge {
	char pin_dir[64];
	struct bpf_object *object;
	int prog_fd;
};

/* A new flow: where from, and which of the snapshot's services it is for. */
struct world;

struct edge_flow {
	struct gs_addr client;
	uint16_t client_port;
	const struct gs_service *service;
	uint16_t port; /* the service's, or any for a service of every port */
};

struct edge_answer {
	uint32_t verdict;  /* XDP_* */
	struct gs_addr to; /* forwarded: outer destination, outer source, MACs */
	struct gs_addr from;
	uint8_t dst_mac[6];
	uint8_t src_mac[6];
};

void pinned_edge_open(struct pinned_edge *edge);
void pinned_edge_close(struct pinned_edge *edge);
int pinned_edge_map(const struct pinned_edge *edge, const char *name);

/* The first packet of the flow (SYN, or UDP) through the program. */
struct edge_answer pinned_edge_send(const struct pinned_edge *edge, const struct edge_flow *flow);

/* A random client of the same family as the service. NULL world clients are fine: see world.h. */
struct edge_flow edge_flow_draw(const struct gs_service *service, struct gs_addr client,
				uint64_t *seed);
/* Of any of the world's services, from a client that packets may come from. */
struct edge_flow edge_flow_of(const struct world *world, uint64_t *seed);

/*
 * Which backend the tables give a new flow when every word is UP but those of the regions in
 * `down` (indexed by id; NULL: none). NULL: none, the packet is dropped.
 */
const struct gs_backend *edge_expect(const struct gs_tables *tables, const struct edge_flow *flow,
				     const bool *down);
