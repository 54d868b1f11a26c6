/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdbool.h>
#include <stdlib.h>

/* ---- what is in the program's maps ----------------------------------------------------------- */

enum { NOBODY_MEETS = 1000000000 }; /* a second */

static uint32_t backend_id(uint32_t region, uint32_t member)
{
	return region * MEMBERS + member;
}

void bench_put_backends(const struct xdp_edge *edge, uint8_t mode, uint8_t family)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t hop_id = EDGE_HOP;

	xdp_edge_set(edge, GS_MAP_HOPS, &hop_id, &hop);
	for (uint32_t region = 1; region <= REGIONS; region++) {
		uint32_t pool = 1 * GS_MAX_REGIONS + region;

		xdp_edge_set(edge, GS_MAP_USABLE_REGION, &region, &edge_up);
		xdp_edge_set(edge, GS_MAP_USABLE_POOL, &pool, &edge_up);
		for (uint32_t member = 0; member < MEMBERS; member++) {
			uint32_t id = backend_id(region, member);
			struct gs_backend_value value = {
				.hop = EDGE_HOP,
				.service = 1,
				.region = (uint8_t)region,
				.mode = mode,
				.family = family,
				.addr = {0, 0, htonl(0xffff), htonl(0x0a000000 + id)}};

			if (family == 6) {
				packet_addr("2001:db8:b::", (uint8_t *)value.addr);
				value.addr[3] = htonl(id);
			}
			xdp_edge_set(edge, GS_MAP_BACKENDS, &id, &value);
			xdp_edge_set(edge, GS_MAP_USABLE_BACKEND, &id, &edge_up);
		}
	}
}

static void put_service(const struct xdp_edge *edge, const char *vip, bool is_limited)
{
	struct gs_service_key key = {.port = htons(80), .protocol = IPPROTO_TCP};
	struct gs_service_value value = {.service = 1, .limit4 = 24, .limit6 = 48};

	if (is_limited)
		value.client_packets = value.client_flows = value.packets = value.flows =
			NOBODY_MEETS;
	packet_addr(vip, (uint8_t *)key.addr);
	xdp_edge_set(edge, GS_MAP_SERVICES, &key, &value);
}

void bench_put_services(const struct xdp_edge *edge, bool is_limited)
{
	put_service(edge, "198.51.100.10", is_limited);
	put_service(edge, "2001:db8:100::10", is_limited);
}

/* One plan a region that comes first; locations take them in turn. */
static void put_plans(const struct xdp_edge *edge)
{
	struct gs_plan_value plans[REGIONS + 1] = {0};
	struct gs_route_block *routes = calloc(STRIDE / GS_BLOCK_U16, sizeof(*routes));

	assert_non_null(routes);
	for (uint32_t first = 0; first < REGIONS; first++) {
		struct gs_plan_value *plan = &plans[first + 1];

		plan->count = REGIONS;
		for (uint32_t i = 0; i < REGIONS; i++) {
			plan->region[i] = (uint8_t)((first + i) % REGIONS + 1);
			plan->share[i] = 65535;
			plan->spare[i] = 100;
		}
	}
	for (uint32_t i = 0; i < STRIDE; i++)
		routes[i / GS_BLOCK_U16].plan[i % GS_BLOCK_U16] = (uint16_t)(i % REGIONS + 1);
	xdp_edge_put_array(edge, GS_MAP_PLANS, 0, sizeof(plans[0]), REGIONS + 1, plans);
	xdp_edge_put_array(edge, GS_MAP_ROUTES, 0, sizeof(*routes), STRIDE / GS_BLOCK_U16, routes);
	free(routes);
}

static void put_pools(const struct xdp_edge *edge)
{
	enum { BLOCKS = REGIONS * SLOTS / GS_BLOCK_U16 + 1, POOLS = 2 * (REGIONS + 1) };
	struct gs_pool_value pools[POOLS] = {0};
	struct gs_ring_block *rings = calloc(BLOCKS, sizeof(*rings));

	assert_non_null(rings);
	for (uint32_t region = 1; region <= REGIONS; region++) {
		uint32_t base = (region - 1) * SLOTS;

		pools[REGIONS + 1 + region] = (struct gs_pool_value){base, SLOTS};
		for (uint32_t i = base; i < base + SLOTS; i++)
			rings[i / GS_BLOCK_U16].backend[i % GS_BLOCK_U16] =
				(uint16_t)backend_id(region, i * 7 % MEMBERS);
	}
	xdp_edge_put_array(edge, GS_MAP_POOLS, 0, sizeof(pools[0]), POOLS, pools);
	xdp_edge_put_array(edge, GS_MAP_RINGS, 0, sizeof(*rings), BLOCKS, rings);
	free(rings);
}

static void put_generation(const struct xdp_edge *edge)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	meta.generation[0] = (struct gs_generation_value){.number = 1,
							  .seed = 0x5eed,
							  .locations = STRIDE,
							  .regions = REGIONS + 1,
							  .plans = REGIONS + 1};
	xdp_edge_set_meta(edge, &meta);
}

/* ---- edges ------------------------------------------------------------------------------------
 */

/* A flow table sized to the traffic as docs/flows.md has it: a quarter full. */
uint32_t bench_buckets_for(uint32_t flows)
{
	uint32_t buckets = flows / (GS_FLOW_WAYS / 4);

	return buckets > GS_FLOW_BUCKETS_DEFAULT ? buckets : GS_FLOW_BUCKETS_DEFAULT;
}

static void forget_flows(const struct xdp_edge *edge, uint32_t buckets)
{
	struct gs_flow_bucket *empty = calloc(buckets, sizeof(*empty));
	uint32_t *keys = calloc(buckets, sizeof(*keys)), count = buckets;

	assert_true(empty && keys);
	for (uint32_t i = 0; i < buckets; i++)
		keys[i] = i;
	assert_int_equal(
		bpf_map_update_batch(xdp_edge_map(edge, GS_MAP_FLOWS), keys, empty, &count, NULL),
		0);
	free(empty);
	free(keys);
}

void bench_put_geo(const struct xdp_edge *edge, const struct bench_geo_family *family)
{
	xdp_edge_put_array(edge, family->kind == GS_GEO_V4 ? GS_MAP_GEO4 : GS_MAP_GEO6, 0,
			   sizeof(struct gs_geo_block), (uint32_t)family->block_count,
			   family->blocks);
}

static void load_edge(struct bench *bench, enum row row, uint32_t buckets)
{
	struct xdp_edge *edge = &bench->edge[row - ROW_ESTABLISHED];

	if (edge->object)
		xdp_edge_close(edge);
	xdp_edge_load(edge, buckets);
	bench_put_services(edge, false);
	bench_put_backends(edge, GS_FORWARD_IPIP, 4);
	put_plans(edge);
	put_pools(edge);
	put_generation(edge);
	for (int i = 0; i < 2; i++)
		bench_put_geo(edge, &bench->geo.family[i]);
	bench_driver_set(bench->driver, row, edge->prog_fd);
	bench->buckets[row - ROW_ESTABLISHED] = buckets;
}

void bench_open_edge(struct bench *bench, enum row row, uint32_t flows)
{
	uint32_t buckets = bench_buckets_for(flows);

	/* the verifier takes its time for each load */
	if (bench->buckets[row - ROW_ESTABLISHED] == buckets)
		forget_flows(&bench->edge[row - ROW_ESTABLISHED], buckets);
	else
		load_edge(bench, row, buckets);
}
