/* SPDX-License-Identifier: Apache-2.0 */
/* What the world of an edge_pair may be like: random, but the same for both. */
#include "edge_pair.h"

#include "maps/gs_hash.h"

#include <arpa/inet.h>
#include <linux/bpf.h>

static const struct gs_limit_block used = {{~0ull >> 1, ~0ull >> 1}}; /* up, and for long */

uint32_t edge_pair_draw(uint64_t *seed, uint32_t below)
{
	*seed += 0x9e3779b97f4a7c15ULL;
	return (uint32_t)(gs_hash_mix(*seed) >> 32) % below;
}

/* Of region 1, and how much of it is used. */
static void set_region_limit(struct edge_pair *pair, const struct gs_limit_block *words)
{
	const struct gs_region_limit_value limit = {.packets = 1000, .flows = 1000};
	uint32_t region = 1, block = GS_LIMIT_REGION_BLOCK + region;

	edge_pair_set(pair, GS_MAP_REGION_LIMITS, &region, &limit);
	edge_pair_set(pair, GS_MAP_LIMITS, &block, words);
}

static void reset_world(struct edge_pair *pair)
{
	const struct gs_hop_value hop = edge_hop_value();
	const struct gs_limit_block unused = {0};
	uint32_t id = EDGE_HOP;

	edge_pair_set(pair, GS_MAP_HOPS, &id, &hop);
	for (uint32_t i = 0; i < pair->key_count; i++)
		edge_pair_set(pair, GS_MAP_SERVICES, &pair->keys[i], &pair->values[i]);
	for (uint32_t service = 0; service < EDGE_SERVICES; service++)
		edge_pair_set(pair, GS_MAP_LIMITS, &service, &unused);
	set_region_limit(pair, &unused);
	for (int e = 0; e < EDGES; e++) {
		for (uint32_t region = 1; region < EDGE_REGIONS; region++)
			xdp_edge_set_region(&pair->edge[e], region, edge_up);
		for (uint32_t backend = edge_backend_id(1, 1, 0); backend < EDGE_BACKENDS;
		     backend++) {
			struct gs_backend_value value = edge_backend_value(backend);

			if (value.region == 0 || backend % 4 > 1)
				continue;
			xdp_edge_set(&pair->edge[e], GS_MAP_BACKENDS, &backend, &value);
			xdp_edge_set_backend(&pair->edge[e], backend, edge_up);
			xdp_edge_set_pool(&pair->edge[e], value.service, value.region, edge_up);
		}
		xdp_edge_set_meta(&pair->edge[e], &pair->first_meta[e]);
	}
}

static void change_usable(struct edge_pair *pair, uint64_t *seed)
{
	const struct gs_usable_word word = {.state = (uint16_t)edge_pair_draw(seed, 4),
					    .accept = (uint16_t)edge_pair_draw(seed, 65536),
					    .epoch = 9};
	const struct gs_trial_value trial = {.epoch = 9, .left = (int32_t)edge_pair_draw(seed, 6)};
	uint32_t service = 1 + edge_pair_draw(seed, EDGE_SERVICES - 1),
		 region = 1 + edge_pair_draw(seed, 3);
	uint32_t pool = service * GS_MAX_REGIONS + region, kind = edge_pair_draw(seed, 5);
	uint32_t backend = edge_backend_id(service, region, 0), members = edge_pair_draw(seed, 3);
	struct gs_usable_word no_trial = word;

	if (no_trial.state == GS_USABLE_TRIAL) /* is of pools only */
		no_trial.state = GS_USABLE_DRAIN;
	for (int e = 0; e < EDGES; e++) {
		if (kind == 0)
			xdp_edge_set_region(&pair->edge[e], region, no_trial);
		else if (kind <= 2)
			for (uint32_t i = members % 2; i <= members / 2 + members % 2; i++)
				xdp_edge_set_backend(&pair->edge[e], backend + i, no_trial);
		else
			xdp_edge_set_pool(&pair->edge[e], service, region, word);
		xdp_edge_set(&pair->edge[e], GS_MAP_TRIALS, &pool, &trial);
	}
}

static void set_heartbeat(struct edge_pair *pair, uint64_t time_ns)
{
	for (int e = 0; e < EDGES; e++) {
		struct gs_meta_value meta = xdp_edge_meta(&pair->edge[e]);

		meta.heartbeat_ns = time_ns;
		xdp_edge_set_meta(&pair->edge[e], &meta);
	}
}

/* All services at once: what is asked of the packets of each. */
static void change_services(struct edge_pair *pair, uint64_t *seed)
{
	uint32_t kind = edge_pair_draw(seed, 7);

	for (uint32_t i = 0; i < pair->key_count; i++) {
		struct gs_service_value value = pair->values[i];

		value.limit4 = 24;
		value.limit6 = 48;
		value.client_packets = kind == 0 ? 1000000 : 0;
		value.packets = kind == 1 ? 1000 : 0;
		value.client_flows = kind == 2 ? 1000000 : 0;
		value.flows = kind == 3 ? 1000 : 0;
		value.stale = kind == 4 ? GS_STALE_DROP : kind == 5 ? GS_STALE_PASS : 0;
		value.stale_after_s = 1;
		value.affinity = kind == 6 ? GS_AFFINITY_CLIENT : GS_AFFINITY_FLOW;
		if (edge_pair_draw(seed, 2))
			edge_pair_set(pair, GS_MAP_SERVICES, &pair->keys[i], &value);
	}
	for (uint32_t i = 1; i < EDGE_SERVICES; i++)
		if (edge_pair_draw(seed, 2))
			edge_pair_set(pair, GS_MAP_LIMITS, &i, &used);
	if ((kind == 4 || kind == 5) && edge_pair_draw(seed, 4))
		set_heartbeat(pair, 1); /* long ago */
}

static void change_backends(struct edge_pair *pair, uint64_t *seed)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t mode = edge_pair_draw(seed, 6), id = EDGE_HOP, lost = edge_pair_draw(seed, 4) == 0;

	hop.mtu = 200 + edge_pair_draw(seed, 1300);
	hop.flags = edge_pair_draw(seed, 4) == 0 ? GS_HOP_REFLECT : 0;
	hop.tags = edge_pair_draw(seed, 4) == 0;
	hop.tag[0] = (struct gs_tag){.protocol = htons(0x8100), .tci = htons(7)};
	hop.spread4 = (uint8_t)(edge_pair_draw(seed, 2) * 4);
	hop.src4 &= htonl(~15u);
	edge_pair_set(pair, GS_MAP_HOPS, &id, &hop);
	for (uint32_t i = edge_backend_id(1, 1, 0); i < EDGE_BACKENDS; i++) {
		struct gs_backend_value value = edge_backend_value(i);

		if (value.region == 0 || i % 4 > 1 || edge_pair_draw(seed, 2))
			continue;
		value.mode = (uint8_t)(mode == 5 ? GS_FORWARD_GUE : mode);
		value.service = (uint16_t)(value.service ^ (edge_pair_draw(seed, 16) == 0));
		value.hop = lost ? EDGE_HOP + 1 : EDGE_HOP;
		edge_pair_set(pair, GS_MAP_BACKENDS, &i, &value);
	}
}

static void change_meta(struct edge_pair *pair, uint64_t *seed)
{
	uint32_t kind = edge_pair_draw(seed, 3), asks = edge_pair_draw(seed, 2);
	const struct gs_fill fill = {.away = 30000, .room = 100, .spare = 50, .shed = 20000};
	static const uint32_t samples[] = {0, 1, 4};
	uint32_t one_in = samples[edge_pair_draw(seed, 3)];

	set_region_limit(pair, &used);
	for (int e = 0; e < EDGES; e++) {
		struct gs_meta_value meta = xdp_edge_meta(&pair->edge[e]);

		if (kind == 0)
			meta.active = 1;
		else if (kind == 1)
			meta.generation[0].asks |= asks ? GS_ASK_REGION_LIMITS : 0;
		meta.handshake_one_in = one_in;
		xdp_edge_set_meta(&pair->edge[e], &meta);
		if (kind == 1 && !asks)
			xdp_edge_access(&pair->edge[e], 0, "203.0.113.0", 24, 0, false);
		if (kind == 2)
			xdp_edge_set_fill(&pair->edge[e], 1 + asks, fill);
	}
}

/* Every flow was last seen so long before. */
static void age_flows(struct edge_pair *pair, uint32_t units)
{
	for (int e = 0; e < EDGES; e++)
		for (uint32_t i = 0; i < EDGE_FLOW_BUCKETS * GS_FLOW_WAYS; i++) {
			struct gs_flow_entry *entry = &pair->flows[e][0].entry[0] + i;

			entry->seen = (uint16_t)((entry->seen & GS_FLOW_PROVEN) |
						 ((entry->seen - units) & GS_SEEN_TIME));
		}
}

void edge_pair_change(struct edge_pair *pair, uint64_t *seed)
{
	reset_world(pair);
	for (uint32_t i = edge_pair_draw(seed, 3) + 1; i; i--)
		switch (edge_pair_draw(seed, 9)) {
		case 0:
			change_services(pair, seed);
			break;
		case 1:
			change_backends(pair, seed);
			break;
		case 2:
			change_meta(pair, seed);
			break;
		case 3:
			age_flows(pair, edge_pair_draw(seed, 4) * 30 + 1);
			break;
		case 4:
			xdp_edge_forget(&pair->edge[LANE]);
			xdp_edge_forget(&pair->edge[WHOLE]);
			break;
		default:
			for (int k = 0; k < 8; k++)
				change_usable(pair, seed);
		}
}
