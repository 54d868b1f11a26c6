/* SPDX-License-Identifier: Apache-2.0 */
#include "pinned_edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "tests/bpf/packet.h"
#include "tests/fakes/world.h"
#include "user/core/cidr.h"
#include "user/core/plan.h"
#include "user/core/snapshot.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FRAME_MAX = 256, ETH = 14, MAC = 6, IP4 = 20, IP6 = 40, L4 = 20 };

static const uint8_t router_mac[MAC] = {2, 0, 0, 0, 0, 1};
static const uint8_t edge_mac[MAC] = {2, 0, 0, 0, 0, 2};

/* ---- the object ------------------------------------------------------------------------------ */

static void pin_path(const struct pinned_edge *edge, const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", edge->pin_dir, name);
}

static bool is_ours(const struct bpf_map *map)
{
	return !strchr(bpf_map__name(map), '.'); /* .rodata and its like are the object's own */
}

void pinned_edge_open(struct pinned_edge *edge)
{
	static int opened; /* there may be several at a time */
	const char *build = getenv("BUILD");
	struct gs_meta_value meta = {.layout_version = GS_MAPS_VERSION,
				     .table_seed = 0x5eed,
				     .flow_mask = GS_FLOW_BUCKETS_DEFAULT - 1};
	char path[128];
	__u32 zero = 0;
	struct bpf_map *map;

	if (!edge->pin_dir[0]) /* opened again, it is where it was */
		snprintf(edge->pin_dir, sizeof(edge->pin_dir), "/sys/fs/bpf/gs-test-%d-%d",
			 (int)getpid(), ++opened);
	snprintf(path, sizeof(path), "%s/bpf/gs_xdp.bpf.o", build ? build : "build");
	assert_true(mkdir(edge->pin_dir, 0700) == 0 || errno == EEXIST);
	edge->object = bpf_object__open_file(path, NULL);
	assert_non_null(edge->object);
	assert_int_equal(bpf_object__load(edge->object), 0);
	bpf_object__for_each_map(map, edge->object)
	{
		if (!is_ours(map))
			continue;
		pin_path(edge, bpf_map__name(map), path);
		assert_int_equal(bpf_map__pin(map, path), 0);
	}
	edge->prog_fd = bpf_program__fd(bpf_object__find_program_by_name(edge->object, "gs_xdp"));
	assert_true(edge->prog_fd >= 0);
	assert_int_equal(
		bpf_map_update_elem(pinned_edge_map(edge, GS_MAP_META), &zero, &meta, BPF_ANY), 0);
}

void pinned_edge_close(struct pinned_edge *edge)
{
	struct bpf_map *map;
	char path[128];

	if (!edge->object)
		return;
	bpf_object__for_each_map(map, edge->object)
	{
		pin_path(edge, bpf_map__name(map), path);
		unlink(path);
	}
	rmdir(edge->pin_dir);
	bpf_object__close(edge->object);
	edge->object = NULL;
}

int pinned_edge_map(const struct pinned_edge *edge, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(edge->object, name);

	assert_true(fd >= 0);
	return fd;
}

/* ---- packets --------------------------------------------------------------------------------- */

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Length of the frame. Checksums of the inner packet are nothing the edge looks at. */
static uint32_t make_frame(const struct edge_flow *flow, uint8_t frame[FRAME_MAX])
{
	bool is_v4 = gs_addr_is_v4(&flow->service->vip);
	uint8_t *ip = frame + ETH;
	uint8_t *l4 = ip + (is_v4 ? IP4 : IP6);

	memset(frame, 0, FRAME_MAX);
	memcpy(frame, edge_mac, MAC);
	memcpy(frame + MAC, router_mac, MAC);
	put16(frame + 2 * MAC, is_v4 ? 0x0800 : 0x86dd);
	if (is_v4) {
		ip[0] = 0x45;
		put16(ip + 2, IP4 + L4);
		ip[8] = 64;
		ip[9] = (uint8_t)flow->service->protocol;
		memcpy(ip + 12, flow->client.bytes + 12, 4);
		memcpy(ip + 16, flow->service->vip.bytes + 12, 4);
	} else {
		ip[0] = 0x60;
		put16(ip + 4, L4);
		ip[6] = (uint8_t)flow->service->protocol;
		ip[7] = 64;
		memcpy(ip + 8, flow->client.bytes, 16);
		memcpy(ip + 24, flow->service->vip.bytes, 16);
	}
	put16(l4, flow->client_port);
	put16(l4 + 2, flow->port);
	if (flow->service->protocol == GS_PROTOCOL_TCP) {
		l4[12] = 5 << 4;
		l4[13] = 2; /* SYN */
	} else {
		put16(l4 + 4, L4);
	}
	return (uint32_t)(l4 + L4 - frame);
}

struct edge_answer pinned_edge_send(const struct pinned_edge *edge, const struct edge_flow *flow)
{
	uint8_t frame[FRAME_MAX], out[FRAME_MAX] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);
	struct edge_answer answer = {0};

	opts.data_size_in = make_frame(flow, frame);
	assert_int_equal(bpf_prog_test_run_opts(edge->prog_fd, &opts), 0);
	answer.verdict = opts.retval;
	if (answer.verdict != XDP_TX && answer.verdict != XDP_REDIRECT)
		return answer;
	memcpy(answer.dst_mac, out, MAC);
	memcpy(answer.src_mac, out + MAC, MAC);
	if (out[2 * MAC] == 0x08) {
		uint32_t to, from;

		memcpy(&from, out + ETH + 12, 4);
		memcpy(&to, out + ETH + 16, 4);
		answer.from = gs_addr_from_v4(ntohl(from));
		answer.to = gs_addr_from_v4(ntohl(to));
	} else {
		memcpy(answer.from.bytes, out + ETH + 8, 16);
		memcpy(answer.to.bytes, out + ETH + 24, 16);
	}
	return answer;
}

struct edge_flow edge_flow_draw(const struct gs_service *service, struct gs_addr client,
				uint64_t *seed)
{
	struct edge_flow flow = {
		.client = client,
		.client_port = (uint16_t)(1024 + world_draw(seed) % 60000),
		.service = service,
		.port = service->port ? service->port : (uint16_t)(30000 + world_draw(seed) % 999),
	};

	if (gs_addr_is_v4(&service->vip) != gs_addr_is_v4(&client)) {
		if (gs_addr_is_v4(&service->vip)) {
			flow.client = gs_addr_from_v4((uint32_t)world_draw(seed));
		} else {
			struct gs_addr nat64 = {.bytes = {0x00, 0x64, 0xff, 0x9b}};

			memcpy(&nat64.bytes[12], &client.bytes[12], 4);
			flow.client = nat64;
		}
	}
	return flow;
}

struct edge_flow edge_flow_of(const struct world *world, uint64_t *seed)
{
	const struct gs_snapshot *snapshot = &world->snapshot;
	const struct gs_service *service =
		&snapshot->services[world_draw(seed) % snapshot->service_count];
	struct edge_flow flow;

	do
		flow = edge_flow_draw(service, world_client(world, seed), seed);
	while (packet_is_martian(flow.client.bytes));
	return flow;
}

/* ---- what should come out -------------------------------------------------------------------- */

const struct gs_backend *edge_expect(const struct gs_tables *tables, const struct edge_flow *flow,
				     const bool *down)
{
	uint16_t location = gs_tables_locate(tables, &flow->client, NULL, NULL);
	const struct gs_plan *plan = gs_tables_plan(tables, flow->service->id, location);
	struct gs_flow_tuple tuple = {.src_port = htons(flow->client_port),
				      .dst_port = htons(flow->port),
				      .protocol = (__u8)flow->service->protocol};
	bool usable[GS_PLAN_REGIONS] = {false};
	const struct gs_table_pool *pool;
	uint32_t slot;
	int picked;

	if (!plan)
		return NULL;
	memcpy(tuple.src, flow->client.bytes, sizeof(tuple.src));
	memcpy(tuple.dst, flow->service->vip.bytes, sizeof(tuple.dst));
	for (uint32_t i = 0; i < plan->count; i++)
		usable[i] = !down || !down[plan->region[i]];
	picked = gs_plan_pick(plan, usable, gs_hash_client(tuple.src, tables->seed));
	if (picked < 0)
		return NULL;
	pool = &tables->pools[flow->service->id * tables->region_stride + plan->region[picked]];
	slot = gs_hash_slot(gs_hash_flow(&tuple, tables->seed), 0, pool->slots);
	return gs_snapshot_backend(tables->snapshot, tables->ring_slots[pool->base + slot]);
}
