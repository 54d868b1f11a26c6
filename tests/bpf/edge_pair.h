/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two edges of one world (xdp_edge.h) whose packets go different ways: those of LANE by the express
 * lane, where it takes them, those of WHOLE never: a monitor looks on there, and asks for nothing.
 * Asserts inside.
 */
#pragma once

#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <stdint.h>

enum { LANE, WHOLE, EDGES };
enum { EDGE_PAIR_KEYS = 32 };

struct edge_pair {
	struct xdp_edge edge[EDGES];
	struct gs_meta_value first_meta[EDGES];
	/* The maps themselves, as far as the world has use for them. */
	struct gs_flow_bucket *flows[EDGES];
	struct gs_trial_value *trials[EDGES];
	uint32_t *demand[EDGES];
	struct gs_service_key keys[EDGE_PAIR_KEYS]; /* as the world has them at first, sorted */
	struct gs_service_value values[EDGE_PAIR_KEYS];
	uint32_t key_count;
	uint32_t reasons[GS_REASON__COUNT]; /* how often each was both edges' */
};

/* From here on this process stays on its CPU: each has a cache of services of its own. */
void edge_stay_here(void);
/* Slot 1 has the world with regions swapped, another number and seed; slot 0 is in force. And
 * edge_stay_here. */
void edge_pair_open(struct edge_pair *pair);
void edge_pair_close(struct edge_pair *pair);
void edge_pair_set(const struct edge_pair *pair, const char *map, const void *key,
		   const void *value);

/* The packet through both: same action, bytes, counters, flows and quotas of trials; or the test
 * fails, and says where. */
void edge_pair_expect_alike(struct edge_pair *pair, const char *name, const struct packet *packet);
/* So many new flows were counted where they come from. */
void edge_pair_expect_demand_alike(const struct edge_pair *pair);

/* A number below that. */
uint32_t edge_pair_draw(uint64_t *seed, uint32_t below);
/* Another world, of random services, words, backends and generations, the same for both edges.
 * Flows of the one before may stay. */
void edge_pair_change(struct edge_pair *pair, uint64_t *seed);
