/* SPDX-License-Identifier: Apache-2.0 */
/* The dataplane adapter against the real program: what it publishes is where packets go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/pinned_edge.h"
#include "tests/fakes/world.h"
#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/core/access.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORLDS = 12, FLOWS = 400, KILL_FLOWS = 12 };

/* ---- fixture --------------------------------------------------------------------------------- */

/* A world, its tables, and a next hop a backend that tells them apart. */
struct scene {
	struct world *world;
	struct gs_tables *tables;
	struct gs_hop *hops;
};

static struct gs_hop hop_of(gs_id backend)
{
	struct gs_hop hop = {.dst_mac = {2, 1, 0, 0, (uint8_t)(backend >> 8), (uint8_t)backend},
			     .src_mac = {2, 2, 0, 0, 0, 9},
			     .ifindex = 0, /* the one it came in by: XDP_TX */
			     .mtu = 1500,
			     .src4 = gs_addr_from_v4(0xc0000202)};

	hop.src6 = (struct gs_addr){{0x20, 0x01, 0x0d, 0xb8, [15] = 2}};
	return hop;
}

static void scene_build(struct scene *scene)
{
	const struct gs_snapshot *snapshot = &scene->world->snapshot;
	struct gs_error error = {{0}};

	if (gs_tables_build(snapshot, &scene->world->geo, &scene->tables, &error))
		fail_msg("tables: %s", error.text);
	scene->hops = calloc(snapshot->backend_count + 1, sizeof(*scene->hops));
	assert_non_null(scene->hops);
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		scene->hops[i] = hop_of(snapshot->backends[i].id);
}

static struct scene scene_new(uint64_t seed)
{
	struct scene scene = {.world = world_new(seed)};

	scene_build(&scene);
	return scene;
}

/* After a change of the world's snapshot. */
static void scene_rebuild(struct scene *scene)
{
	gs_tables_free(scene->tables);
	free(scene->hops);
	scene_build(scene);
}

static void scene_free(struct scene *scene)
{
	gs_tables_free(scene->tables);
	free(scene->hops);
	world_free(scene->world);
}

static struct gs_dataplane open_ok(const struct pinned_edge *edge)
{
	struct gs_dataplane dataplane = {0};
	struct gs_error error = {{0}};

	if (gs_dataplane_open(edge->pin_dir, &dataplane, &error))
		fail_msg("open: %s", error.text);
	return dataplane;
}

static struct gs_dataplane_info publish_ok(const struct gs_dataplane *dataplane,
					   const struct scene *scene)
{
	struct gs_dataplane_info info = {0};
	struct gs_error error = {{0}};

	if (dataplane->ops->publish(dataplane->self, scene->tables, scene->hops, &info, &error))
		fail_msg("publish: %s", error.text);
	return info;
}

static void all_up(const struct gs_dataplane *dataplane, const struct gs_snapshot *snapshot)
{
	struct gs_usable up = {.state = GS_USABLE_UP, .accept = UINT16_MAX};

	for (uint32_t i = 0; i < snapshot->region_count; i++)
		dataplane->ops->set_usable(dataplane->self, GS_OBJECT_REGION,
					   snapshot->regions[i].id, up);
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		dataplane->ops->set_usable(dataplane->self, GS_OBJECT_BACKEND, backend->id, up);
		dataplane->ops->set_usable(dataplane->self, GS_OBJECT_POOL,
					   gs_pool_index(backend->service, backend->region), up);
	}
}

static bool lands_at(const struct edge_answer *answer, const struct gs_backend *backend)
{
	if (!backend)
		return answer->verdict == XDP_DROP;
	return answer->verdict == XDP_TX && gs_addr_compare(&answer->to, &backend->addr) == 0;
}

static void check_flows(const struct pinned_edge *edge, const struct scene *scene, int count,
			const bool *down, uint64_t *seed)
{
	for (int i = 0; i < count; i++) {
		struct edge_flow flow = edge_flow_of(scene->world, seed);
		const struct gs_backend *want = edge_expect(scene->tables, &flow, down);
		struct edge_answer answer = pinned_edge_send(edge, &flow);
		char client[GS_ADDR_TEXT_MAX], to[GS_ADDR_TEXT_MAX];

		if (!lands_at(&answer, want))
			fail_msg("client %s of %s: verdict %u, to %s, not %s",
				 gs_addr_format(&flow.client, client), flow.service->name,
				 answer.verdict, gs_addr_format(&answer.to, to),
				 want ? want->name : "dropped");
		if (!want)
			continue;
		assert_memory_equal(answer.dst_mac, hop_of(want->id).dst_mac, 6);
		assert_memory_equal(answer.from.bytes,
				    gs_addr_is_v4(&want->addr) ? hop_of(want->id).src4.bytes
							       : hop_of(want->id).src6.bytes,
				    16);
	}
}

static int setup(void **state)
{
	struct pinned_edge *edge = calloc(1, sizeof(*edge));

	assert_non_null(edge);
	*state = edge;
	pinned_edge_open(edge);
	return 0;
}

static int teardown(void **state)
{
	struct pinned_edge *edge = *state;

	pinned_edge_close(edge);
	free(edge);
	return 0;
}

static struct gs_meta_value read_meta(const struct pinned_edge *edge)
{
	struct gs_meta_value meta;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_META), &zero, &meta), 0);
	return meta;
}

static void assert_same_info(const struct gs_dataplane_info *a, const struct gs_dataplane_info *b)
{
	assert_int_equal(a->generation, b->generation);
	assert_int_equal(a->digest, b->digest);
	assert_int_equal(a->built_unix_s, b->built_unix_s);
	assert_int_equal(a->slot, b->slot);
}

static uint32_t inner_id(const struct pinned_edge *edge, const char *outer, uint32_t slot)
{
	uint32_t id = 0;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, outer), &slot, &id), 0);
	return id;
}

/* ---- publish --------------------------------------------------------------------------------- */

/* Each world replaces the one before: ids, addresses, services, everything. */
static void test_packets_follow_tables(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	uint64_t seed = 20261123;
	uint32_t last_slot = GS_GENERATIONS;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (unsigned i = 1; i <= WORLDS; i++) {
		struct scene scene = scene_new(world_draw(&seed));
		struct gs_dataplane_info info = publish_ok(&dataplane, &scene);

		assert_int_equal(info.generation, i);
		assert_int_equal(info.digest, scene.tables->digest);
		assert_int_not_equal(info.slot, last_slot);
		assert_true(info.built_unix_s > 1700000000);
		last_slot = info.slot;
		all_up(&dataplane, &scene.world->snapshot);
		check_flows(edge, &scene, FLOWS, NULL, &seed);
		scene_free(&scene);
	}
	dataplane.ops->close(dataplane.self);
}

static void test_region_down_is_one_word(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	uint64_t seed = 4;

	for (int i = 0; i < WORLDS; i++) {
		struct scene scene = scene_new(world_draw(&seed));
		const struct gs_snapshot *snapshot = &scene.world->snapshot;
		bool down[GS_MAX_REGIONS] = {false};

		publish_ok(&dataplane, &scene);
		all_up(&dataplane, snapshot);
		for (uint32_t j = 0; j < snapshot->region_count; j++) {
			if (world_draw(&seed) % 2)
				continue;
			down[snapshot->regions[j].id] = true;
			dataplane.ops->set_usable(dataplane.self, GS_OBJECT_REGION,
						  snapshot->regions[j].id,
						  (struct gs_usable){.state = GS_USABLE_DOWN});
		}
		check_flows(edge, &scene, FLOWS / 2, down, &seed);
		scene_free(&scene);
	}
	dataplane.ops->close(dataplane.self);
}

static void test_no_geoip(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(21);
	struct gs_error error = {{0}};
	uint64_t seed = 1;

	gs_tables_free(scene.tables);
	assert_int_equal(gs_tables_build(&scene.world->snapshot, NULL, &scene.tables, &error), 0);
	publish_ok(&dataplane, &scene);
	all_up(&dataplane, &scene.world->snapshot);
	check_flows(edge, &scene, FLOWS, NULL, &seed);
	scene_free(&scene);
	dataplane.ops->close(dataplane.self);
}

/* But for the epoch of services, which counts every publish: one before may have been cut short. */
static void assert_same_meta(struct gs_meta_value after, const struct gs_meta_value *before)
{
	assert_true(after.services_epoch > before->services_epoch);
	after.services_epoch = before->services_epoch;
	assert_memory_equal(&after, before, sizeof(after));
}

static void test_equal_digest_writes_nothing(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_dataplane_info first = publish_ok(&dataplane, &scene), again;
	struct gs_meta_value before = read_meta(edge), after;
	uint32_t plans = inner_id(edge, GS_MAP_PLANS, first.slot);

	again = publish_ok(&dataplane, &scene);
	after = read_meta(edge);
	assert_same_info(&again, &first);
	assert_same_meta(after, &before);
	assert_int_equal(inner_id(edge, GS_MAP_PLANS, first.slot), plans);
	dataplane.ops->close(dataplane.self);

	dataplane = open_ok(edge); /* as a restarted daemon */
	again = publish_ok(&dataplane, &scene);
	after = read_meta(edge);
	assert_same_info(&again, &first);
	assert_same_meta(after, &before);
	dataplane.ops->info(dataplane.self, &again);
	assert_same_info(&again, &first);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* A small change shares the big tables, also after a restart. */
static void test_geo_is_shared(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3), other = scene_new(4);
	struct gs_dataplane_info info = publish_ok(&dataplane, &scene);
	uint32_t geo4 = inner_id(edge, GS_MAP_GEO4, info.slot);
	uint32_t geo6 = inner_id(edge, GS_MAP_GEO6, info.slot);
	uint64_t seed = 9;

	for (int round = 0; round < 2; round++) {
		scene.world->snapshot.selection_seed++;
		scene_rebuild(&scene);
		info = publish_ok(&dataplane, &scene);
		assert_int_equal(info.generation, 2 + round);
		assert_int_equal(inner_id(edge, GS_MAP_GEO4, info.slot), geo4);
		assert_int_equal(inner_id(edge, GS_MAP_GEO6, info.slot), geo6);
		dataplane.ops->close(dataplane.self);
		dataplane = open_ok(edge);
	}
	info = publish_ok(&dataplane, &other);
	assert_int_not_equal(inner_id(edge, GS_MAP_GEO4, info.slot), geo4);
	all_up(&dataplane, &other.world->snapshot);
	check_flows(edge, &other, FLOWS, NULL, &seed);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
	scene_free(&other);
}

/* Of every map of maps there is. */
static void test_inner_maps_have_types(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_dataplane_info info = publish_ok(&dataplane, &scene);
	const struct bpf_map *outer;
	int outers = 0;

	bpf_object__for_each_map(outer, edge->object)
	{
		struct bpf_map_info map = {0};
		__u32 size = sizeof(map);
		int fd;

		if (bpf_map__type(outer) != BPF_MAP_TYPE_ARRAY_OF_MAPS)
			continue;
		fd = bpf_map_get_fd_by_id(inner_id(edge, bpf_map__name(outer), info.slot));
		assert_true(fd >= 0);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &map, &size), 0);
		close(fd);
		if (!map.btf_key_type_id || !map.btf_value_type_id)
			fail_msg("%s: its inner map has no BTF", bpf_map__name(outer));
		outers++;
	}
	assert_int_equal(outers, 10);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* ---- services and backends that are gone ----------------------------------------------------- */

static void test_vanished_service_is_nobodys(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_snapshot *snapshot = &scene.world->snapshot;
	struct gs_service_key marker = {.port = 0};
	uint64_t seed = 2;
	struct edge_flow flow;
	uint32_t keep = snapshot->backend_count, epoch;

	publish_ok(&dataplane, &scene);
	flow = edge_flow_of(scene.world, &seed);
	memcpy(marker.addr, flow.service->vip.bytes, sizeof(marker.addr));
	assert_int_not_equal(pinned_edge_send(edge, &flow).verdict, XDP_PASS);
	epoch = read_meta(edge).services_epoch;
	snapshot->backend_count = 0;
	snapshot->service_count = 0;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	assert_int_not_equal(read_meta(edge).services_epoch, epoch); /* nothing cached holds */
	assert_int_equal(pinned_edge_send(edge, &flow).verdict, XDP_PASS);
	assert_int_not_equal(
		bpf_map_get_next_key(pinned_edge_map(edge, GS_MAP_SERVICES), NULL, &marker), 0);
	for (uint32_t i = 0; i < keep; i++)
		assert_int_equal(dataplane.ops
					 ->get_usable(dataplane.self, GS_OBJECT_BACKEND,
						      snapshot->backends[i].id)
					 .state,
				 GS_USABLE_DOWN);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static bool has_key(const struct pinned_edge *edge, const struct gs_service *service, uint16_t port,
		    bool marker, struct gs_service_value *ret_value)
{
	struct gs_service_key key = {
		.port = htons(port), .protocol = (__u8)service->protocol, .marker = marker};

	memcpy(key.addr, service->vip.bytes, sizeof(key.addr));
	return bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_SERVICES), &key, ret_value) == 0;
}

static uint32_t count_keys(const struct pinned_edge *edge)
{
	struct gs_service_key key, *previous = NULL;
	uint32_t count = 0;

	while (!bpf_map_get_next_key(pinned_edge_map(edge, GS_MAP_SERVICES), previous, &key)) {
		previous = &key;
		count++;
	}
	return count;
}

/* A marker for every address and protocol and for every address, as long as it has services. */
static void test_markers(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_snapshot *snapshot = &scene.world->snapshot;
	struct gs_service *services = snapshot->services;
	struct gs_service_value value;

	assert_true(snapshot->service_count >= 3);
	snapshot->backend_count = 0;
	snapshot->service_count = 3;
	services[1].vip = services[2].vip = services[0].vip;
	services[0].protocol = services[1].protocol = GS_PROTOCOL_TCP;
	services[2].protocol = GS_PROTOCOL_UDP;
	services[0].port = 80;
	services[1].port = services[2].port = 81;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	for (int i = 0; i < 3; i++) {
		assert_true(has_key(edge, &services[i], services[i].port, false, &value));
		assert_int_equal(value.service, services[i].id);
		assert_true(has_key(edge, &services[i], 0, true, &value));
		assert_int_equal(value.service, 0);
		assert_false(has_key(edge, &services[i], 0, false, &value));
	}
	assert_int_equal(count_keys(edge), 6);
	snapshot->service_count = 2;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	assert_true(has_key(edge, &services[0], 0, true, &value));
	assert_false(has_key(edge, &services[2], 0, true, &value));
	assert_int_equal(count_keys(edge), 4);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static struct gs_service_value address_of(const struct pinned_edge *edge, const struct gs_addr *vip)
{
	struct gs_service_key key = {.marker = 1};
	struct gs_service_value value;

	memcpy(key.addr, vip->bytes, sizeof(key.addr));
	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_SERVICES), &key, &value),
			 0);
	return value;
}

/* An address is as stale as the most patient of its services. */
static void test_stale_addresses(void **state)
{
	static const struct {
		struct gs_stale_spec one, other;
		uint8_t want;
		uint32_t after_s;
	} rows[] = {
		{{GS_STALE_IS_DROPPED, 30}, {GS_STALE_IS_DROPPED, 60}, GS_STALE_DROP, 60},
		{{GS_STALE_IS_DROPPED, 60}, {GS_STALE_IS_PASSED, 30}, GS_STALE_PASS, 60},
		{{GS_STALE_IS_KEPT, 300}, {GS_STALE_IS_DROPPED, 30}, GS_STALE_KEEP, 0},
		{{GS_STALE_IS_PASSED, 30}, {GS_STALE_IS_KEPT, 300}, GS_STALE_KEEP, 0},
	};
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_snapshot *snapshot = &scene.world->snapshot;
	struct gs_service *services = snapshot->services;

	snapshot->backend_count = 0;
	snapshot->service_count = 2;
	services[1].vip = services[0].vip;
	services[0].port = 80;
	services[1].port = 81;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gs_service_value value;

		services[0].stale = rows[i].one;
		services[1].stale = rows[i].other;
		scene_rebuild(&scene);
		publish_ok(&dataplane, &scene);
		value = address_of(edge, &services[0].vip);
		assert_int_equal(value.stale, rows[i].want);
		assert_int_equal(value.stale_after_s, rows[i].after_s);
	}
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* What is set of links and on-link VIPs stands until it is set again: over publishes, restarts. */
static void test_reach(void **state)
{
	const struct gs_link links[] = {{.ifindex = 7, .mac = {2, 0, 0, 0, 0, 7}},
					{.ifindex = 8, .mac = {2, 0, 0, 0, 0, 8}}};
	const struct gs_link ports[] = {{.ifindex = 9, .mac = {2, 0, 0, 0, 0, 9}, .bond = 8}};
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_service *services = scene.world->snapshot.services;
	struct gs_reach_set reach = {
		.links = links, .ports = ports, .link_count = 2, .port_count = 1};
	int fd = pinned_edge_map(edge, GS_MAP_OWN_MACS);
	struct gs_addr vips[1] = {services[0].vip};
	struct gs_own_mac_value value;
	uint32_t seven = 7, eight = 8, nine = 9;
	struct gs_error error;

	reach.vips = vips;
	reach.vip_count = 1;
	assert_int_equal(dataplane.ops->set_reach(dataplane.self, &reach, &error), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &eight, &value), 0);
	assert_memory_equal(value.mac, links[1].mac, sizeof(value.mac));
	assert_int_equal(value.flags, GS_OWN_MAC_ANSWERS);
	assert_int_equal(value.bond, 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &nine, &value), 0); /* as the bond is known */
	assert_memory_equal(value.mac, links[1].mac, sizeof(value.mac));
	assert_int_equal(value.flags, GS_OWN_MAC_ANSWERS);
	assert_int_equal(value.bond, 8);
	publish_ok(&dataplane, &scene); /* the VIP comes after it was said to be on-link */
	assert_int_equal(address_of(edge, &services[0].vip).flags, GS_SERVICE_ON_LINK);
	dataplane.ops->close(dataplane.self);

	dataplane = open_ok(edge);
	publish_ok(&dataplane, &scene);
	assert_int_equal(address_of(edge, &services[0].vip).flags, GS_SERVICE_ON_LINK);
	reach.link_count = 1;
	reach.port_count = 0;
	reach.is_silent = true;
	assert_int_equal(dataplane.ops->set_reach(dataplane.self, &reach, &error), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &eight, &value), -ENOENT);
	assert_int_equal(bpf_map_lookup_elem(fd, &nine, &value), -ENOENT);
	assert_int_equal(bpf_map_lookup_elem(fd, &seven, &value), 0);
	assert_int_equal(value.flags, 0);
	reach.vip_count = 0;
	assert_int_equal(dataplane.ops->set_reach(dataplane.self, &reach, &error), 0);
	assert_int_equal(address_of(edge, &services[0].vip).flags, 0);
	assert_false(dataplane.ops->carries(dataplane.self, if_nametoindex("lo")));
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* The loop may still believe in a backend the worker has just retired. */
static void test_retired_backend_stays_down(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_snapshot *snapshot = &scene.world->snapshot;
	struct gs_usable up = {.state = GS_USABLE_UP, .accept = 7};
	gs_id last = snapshot->backends[snapshot->backend_count - 1].id;

	publish_ok(&dataplane, &scene);
	dataplane.ops->set_usable(dataplane.self, GS_OBJECT_BACKEND, last, up);
	snapshot->backend_count--;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	dataplane.ops->set_usable(dataplane.self, GS_OBJECT_BACKEND, last, up);
	assert_int_equal(dataplane.ops->get_usable(dataplane.self, GS_OBJECT_BACKEND, last).state,
			 GS_USABLE_DOWN);
	snapshot->backend_count++;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	assert_int_equal(dataplane.ops->get_usable(dataplane.self, GS_OBJECT_BACKEND, last).accept,
			 7);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* ---- words, hops, counters ------------------------------------------------------------------- */

static void test_usable_words(void **state)
{
	static const struct {
		const char *map;
		enum gs_object_kind kind;
		uint32_t index;
	} cases[] = {
		{GS_MAP_USABLE_REGION, GS_OBJECT_REGION, GS_MAX_REGIONS - 1},
		{GS_MAP_USABLE_POOL, GS_OBJECT_POOL, GS_MAX_SERVICES * GS_MAX_REGIONS - 1},
		{GS_MAP_USABLE_BACKEND, GS_OBJECT_BACKEND, GS_MAX_BACKENDS - 1},
	};
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct gs_usable usable = {.state = GS_USABLE_DRAIN, .accept = 513, .fallback = 77};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = pinned_edge_map(edge, cases[i].map);
		struct gs_usable got;
		struct gs_usable_word word;

		for (uint16_t epoch = 1; epoch <= 3; epoch++) {
			usable.accept++;
			dataplane.ops->set_usable(dataplane.self, cases[i].kind, cases[i].index,
						  usable);
			/* Saying it again is no change. */
			dataplane.ops->set_usable(dataplane.self, cases[i].kind, cases[i].index,
						  usable);
			assert_int_equal(bpf_map_lookup_elem(fd, &cases[i].index, &word), 0);
			assert_int_equal(word.state, GS_USABLE_DRAIN);
			assert_int_equal(word.accept, usable.accept);
			assert_int_equal(word.fallback, 77);
			assert_int_equal(word.epoch, epoch);
		}
		got = dataplane.ops->get_usable(dataplane.self, cases[i].kind, cases[i].index);
		assert_int_equal(got.state, GS_USABLE_DRAIN);
		assert_int_equal(got.accept, usable.accept);
		assert_int_equal(got.fallback, 77);
		dataplane.ops->set_usable(dataplane.self, cases[i].kind, cases[i].index + 1,
					  usable); /* beyond: harmless */
		got = dataplane.ops->get_usable(dataplane.self, cases[i].kind, cases[i].index + 1);
		assert_int_equal(got.state, GS_USABLE_DOWN);
	}
	dataplane.ops->close(dataplane.self);
}

/* The quota comes with the word that begins a trial; what is left then is the packets' alone. */
static void test_trials(void **state)
{
	const uint32_t pool = gs_pool_index(3, 2);
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct gs_usable usable = {.state = GS_USABLE_TRIAL, .accept = UINT16_MAX, .trials = 10};
	int words = pinned_edge_map(edge, GS_MAP_USABLE_POOL);
	int trials = pinned_edge_map(edge, GS_MAP_TRIALS);
	struct gs_trial_value trial;
	struct gs_usable_word word;

	for (uint16_t epoch = 1; epoch < 6; epoch += 2) {
		usable.fallback = 0;
		dataplane.ops->set_usable(dataplane.self, GS_OBJECT_POOL, pool, usable);
		assert_int_equal(bpf_map_lookup_elem(words, &pool, &word), 0);
		assert_int_equal(bpf_map_lookup_elem(trials, &pool, &trial), 0);
		assert_int_equal(word.state, GS_USABLE_TRIAL);
		assert_int_equal(word.epoch, epoch);
		assert_int_equal(trial.epoch, epoch);
		assert_int_equal(trial.left, 10);

		trial.left = 4; /* packets took six */
		assert_int_equal(bpf_map_update_elem(trials, &pool, &trial, 0), 0);
		usable.fallback = 9;
		dataplane.ops->set_usable(dataplane.self, GS_OBJECT_POOL, pool, usable);
		assert_int_equal(
			dataplane.ops->get_usable(dataplane.self, GS_OBJECT_POOL, pool).trials, 4);
		assert_int_equal(
			dataplane.ops->get_usable(dataplane.self, GS_OBJECT_POOL, pool).fallback,
			9);

		trial.left = -1;
		assert_int_equal(bpf_map_update_elem(trials, &pool, &trial, 0), 0);
		assert_int_equal(
			dataplane.ops->get_usable(dataplane.self, GS_OBJECT_POOL, pool).trials, 0);
		dataplane.ops->set_usable(dataplane.self, GS_OBJECT_POOL, pool,
					  (struct gs_usable){.state = GS_USABLE_DRAIN});
		assert_int_equal(
			dataplane.ops->get_usable(dataplane.self, GS_OBJECT_POOL, pool).trials, 0);
	}
	dataplane.ops->close(dataplane.self);
}

static int32_t trials_left(struct pinned_edge *edge, uint32_t pool)
{
	struct gs_trial_value trial;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_TRIALS), &pool, &trial),
			 0);
	return trial.left;
}

/* What packets have put in is read, taken out, and given back to its own epoch. */
static void test_leases(void **state)
{
	const uint32_t pool = gs_pool_index(3, 2);
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	const struct gs_usable on_trial = {
		.state = GS_USABLE_TRIAL, .accept = UINT16_MAX, .trials = 10};
	int fd = pinned_edge_map(edge, GS_MAP_LEASES);
	int trials = pinned_edge_map(edge, GS_MAP_TRIALS);
	struct gs_trial_value trial;
	struct gs_lease leases[8];

	assert_int_equal(dataplane.ops->leases(dataplane.self, leases, 8), 0);
	dataplane.ops->set_usable(dataplane.self, GS_OBJECT_POOL, pool, on_trial);
	for (uint64_t id = 1; id <= 3; id++) {
		const struct gs_lease_value value = {.pool = pool,
						     .epoch = id == 3 ? 9 : 1,
						     .backend = 5,
						     .proven = id == 1,
						     .answered = id == 2};

		assert_int_equal(bpf_map_update_elem(fd, &id, &value, 0), 0);
	}
	assert_int_equal(dataplane.ops->leases(dataplane.self, leases, 2), 2);
	assert_int_equal(dataplane.ops->leases(dataplane.self, leases, 8), 3);
	trial = (struct gs_trial_value){.epoch = 1, .left = -2}; /* two CPUs took none */
	assert_int_equal(bpf_map_update_elem(trials, &pool, &trial, 0), 0);
	for (int i = 0; i < 3; i++) {
		const struct gs_lease *lease = &leases[i];

		assert_int_equal(lease->service, 3);
		assert_int_equal(lease->region, 2);
		assert_int_equal(lease->backend, 5);
		assert_int_equal(lease->is_current, lease->id != 3);
		assert_int_equal(lease->is_proven, lease->id == 1);
		assert_int_equal(lease->is_answered, lease->id == 2);
		dataplane.ops->end_lease(dataplane.self, lease, lease->id != 1);
		dataplane.ops->end_lease(dataplane.self, lease, true); /* it is gone */
	}
	/* One is given back: the first is spent, the third is of another epoch. */
	assert_int_equal(trials_left(edge, pool), 1);
	assert_int_equal(dataplane.ops->leases(dataplane.self, leases, 8), 0);
	dataplane.ops->close(dataplane.self);
}

static struct gs_backend_value read_backend(const struct pinned_edge *edge, uint32_t id)
{
	struct gs_backend_value value;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_BACKENDS), &id, &value),
			 0);
	return value;
}

static void test_hop_is_never_changed_in_place(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	gs_id id = scene.world->snapshot.backends[0].id;
	struct gs_hop hop = hop_of(id);
	uint32_t first_hop, second_hop;
	struct gs_hop_value old, now;

	publish_ok(&dataplane, &scene);
	first_hop = read_backend(edge, id).hop;
	assert_int_not_equal(first_hop, 0);
	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_HOPS), &first_hop, &old),
			 0);
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, &hop), 0);
	assert_int_equal(read_backend(edge, id).hop, first_hop);
	for (uint8_t i = 1; i < 50; i++) {
		hop.dst_mac[1] = (uint8_t)(100 + i);
		assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, &hop), 0);
		second_hop = read_backend(edge, id).hop;
		assert_int_not_equal(second_hop, first_hop);
		assert_int_equal(
			bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_HOPS), &second_hop, &now),
			0);
		assert_memory_equal(now.dst_mac, hop.dst_mac, 6);
		assert_int_equal(
			bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_HOPS), &first_hop, &now),
			0);
		assert_memory_equal(&now, &old, sizeof(old));
	}
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, GS_MAX_BACKENDS - 1, &hop),
			 -ENOENT);
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, GS_MAX_BACKENDS, &hop), -ENOENT);
	/* Reflect: no MACs, back by the interface it came in by. */
	hop = (struct gs_hop){.reflect = true, .mtu = 1500, .ifindex = 77, .dst_mac = {9}};
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, &hop), 0);
	second_hop = read_backend(edge, id).hop;
	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_HOPS), &second_hop, &now),
			 0);
	assert_int_equal(now.flags, GS_HOP_REFLECT);
	assert_int_equal(now.ifindex, 0);
	assert_int_equal(now.dst_mac[0], 0);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static struct gs_hop_value read_hop(const struct pinned_edge *edge, gs_id backend)
{
	uint32_t hop = read_backend(edge, backend).hop;
	struct gs_hop_value value;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_HOPS), &hop, &value), 0);
	return value;
}

/* The backend that stands for an address; 0: nobody does. */
static uint32_t tunnel_of(const struct pinned_edge *edge, const struct gs_addr *addr)
{
	struct gs_tunnel_value value = {0};
	struct gs_tunnel_key key;

	memcpy(key.addr, addr->bytes, sizeof(key.addr));
	if (bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_TUNNELS), &key, &value))
		return 0;
	return value.backend;
}

static uint32_t count_tunnels(const struct pinned_edge *edge)
{
	int fd = pinned_edge_map(edge, GS_MAP_TUNNELS);
	struct gs_tunnel_key key;
	uint32_t count = 0;

	for (const void *last = NULL; bpf_map_get_next_key(fd, last, &key) == 0; last = &key)
		count++;
	return count;
}

/* Exactly the addresses that get outer headers are known, whatever was before. */
static void expect_tunnels(const struct pinned_edge *edge, const struct gs_snapshot *snapshot)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		bool is_tunnel = false, is_first = true;
		uint32_t id = tunnel_of(edge, &backend->addr);

		for (uint32_t j = 0; j < snapshot->backend_count; j++) {
			const struct gs_backend *other = &snapshot->backends[j];

			if (memcmp(&other->addr, &backend->addr, sizeof(other->addr)) != 0)
				continue;
			is_first = is_first && j >= i;
			if (other->forward == GS_FORWARD_AS_IPIP ||
			    other->forward == GS_FORWARD_AS_GUE)
				is_tunnel = true;
		}
		assert_int_equal(id != 0, is_tunnel);
		if (id)
			assert_memory_equal(read_backend(edge, (gs_id)id).addr, backend->addr.bytes,
					    16);
		count += is_first && is_tunnel;
	}
	assert_int_equal(count_tunnels(edge), count);
}

static void test_tunnels_follow_backends(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	uint64_t seed = 11;
	struct scene scene = scene_new(seed);
	struct gs_backend *backends;
	struct gs_tunnel_key stranger = {.addr = {1, 2, 3, 4}};
	struct gs_tunnel_value value = {.backend = 5};

	while (scene.world->snapshot.backend_count < 3) {
		scene_free(&scene);
		scene = scene_new(++seed);
	}
	backends = scene.world->snapshot.backends;
	publish_ok(&dataplane, &scene);
	expect_tunnels(edge, &scene.world->snapshot);
	/* Another kind of tunnel, no tunnel, a tunnel again; and another address. */
	for (int step = 0; step < 4; step++) {
		static const enum gs_forward forwards[] = {GS_FORWARD_AS_GUE, GS_FORWARD_AS_L2,
							   GS_FORWARD_AS_IPIP, GS_FORWARD_AS_IPIP};

		backends[0].forward = forwards[step];
		if (step == 3)
			backends[1].addr.bytes[14] ^= 0x55;
		scene_rebuild(&scene);
		publish_ok(&dataplane, &scene);
		expect_tunnels(edge, &scene.world->snapshot);
	}
	/* A restart repairs what a death between two writes left. */
	dataplane.ops->close(dataplane.self);
	assert_int_equal(bpf_map_update_elem(pinned_edge_map(edge, GS_MAP_TUNNELS), &stranger,
					     &value, BPF_ANY),
			 0);
	memcpy(stranger.addr, backends[2].addr.bytes, sizeof(stranger.addr));
	assert_int_equal(bpf_map_delete_elem(pinned_edge_map(edge, GS_MAP_TUNNELS), &stranger), 0);
	dataplane = open_ok(edge);
	expect_tunnels(edge, &scene.world->snapshot);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static void tell(const struct pinned_edge *edge, uint32_t id, struct gs_tunnel_told told)
{
	int fd = pinned_edge_map(edge, GS_MAP_TUNNEL_TOLD);
	uint32_t zero = 0;
	uint64_t count;

	assert_int_equal(bpf_map_update_elem(fd, &id, &told, BPF_ANY), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &count), 0);
	count++;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &count, BPF_ANY), 0);
}

static uint32_t now_units(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)(((uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec) >> 20);
}

/* Each telling once, in order, no more than asked for at once; what is old is no news. */
static void test_what_tunnels_are_told(void **state)
{
	enum { TOLD = 10 };
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	uint32_t now = now_units();
	struct gs_told told[TOLD];

	assert_int_equal(dataplane.ops->told(dataplane.self, told, TOLD), 0);
	for (uint32_t id = 1; id <= TOLD; id++)
		tell(edge, id * 1000, (struct gs_tunnel_told){1300 + id, now});
	tell(edge, 7, (struct gs_tunnel_told){1300, now - 700 * 1000}); /* 12 minutes */
	assert_int_equal(dataplane.ops->told(dataplane.self, told, 4), 4);
	assert_int_equal(dataplane.ops->told(dataplane.self, told + 4, 4), 4);
	assert_int_equal(dataplane.ops->told(dataplane.self, told + 8, 4), 2);
	assert_int_equal(dataplane.ops->told(dataplane.self, told, 0), 0);
	for (uint32_t i = 0; i < TOLD; i++) {
		assert_int_equal(told[i].backend, (i + 1) * 1000);
		assert_int_equal(told[i].mtu, 1301 + i);
	}
	assert_int_equal(dataplane.ops->told(dataplane.self, told, TOLD), 0);
	/* the same again, by a packet that came after the clock was read */
	tell(edge, 3000, (struct gs_tunnel_told){1303, now_units() + 1000});
	assert_int_equal(dataplane.ops->told(dataplane.self, told, TOLD), 1);
	assert_int_equal(told[0].backend, 3000);
	/* A restart tells of all that is not old. */
	dataplane.ops->close(dataplane.self);
	dataplane = open_ok(edge);
	assert_int_equal(dataplane.ops->told(dataplane.self, told, TOLD), TOLD);
	dataplane.ops->close(dataplane.self);
}

/* What was told is the hop's, if it is less. */
static void test_a_told_mtu(void **state)
{
	static const struct {
		uint32_t mtu, told, want;
	} rows[] = {{1500, 1400, 1400}, {1500, 0, 1500}, {1400, 1450, 1400}, {1500, 1500, 1500}};
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(11);
	gs_id id = scene.world->snapshot.backends[0].id;

	publish_ok(&dataplane, &scene);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gs_hop hop = hop_of(id);

		hop.mtu = rows[i].mtu;
		hop.told_mtu = rows[i].told;
		assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, &hop), 0);
		assert_int_equal(read_hop(edge, id).mtu, rows[i].want);
	}
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static struct gs_hop_value read_sources(const struct pinned_edge *edge)
{
	struct gs_hop_value value;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_HOPS), &zero, &value), 0);
	return value;
}

/*
 * NAT's flows live by their source. Without a way there a backend keeps the one it had, whatever
 * other hops have; the edge's own stays as long as packets go by it.
 */
static void test_sources_stay(void **state)
{
	const uint32_t first = htonl(0xc0000202), second = htonl(0xc0000263);
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	const struct gs_snapshot *snapshot = &scene.world->snapshot;
	gs_id a = snapshot->backends[0].id, b = snapshot->backends[1].id;
	struct gs_hop hop_a = hop_of(a), hop_b = hop_of(b), gone = {.reflect = true};

	hop_b.src4 = gs_addr_from_v4(0xc0000263);
	hop_b.src6.bytes[15] = 0x63;
	publish_ok(&dataplane, &scene);
	assert_int_equal(read_sources(edge).src4, first);
	for (int restart = 0; restart < 2; restart++) {
		assert_int_equal(dataplane.ops->set_hop(dataplane.self, b, &hop_b), 0);
		assert_int_equal(read_hop(edge, b).src4, second);
		assert_int_equal(read_sources(edge).src4, first);
		assert_int_equal(((const uint8_t *)read_sources(edge).src6)[15], 2);
		for (int again = 0; again < 2; again++) {
			assert_int_equal(dataplane.ops->set_hop(dataplane.self, b, &gone), 0);
			assert_int_equal(read_hop(edge, b).mtu, 0);
			assert_int_equal(read_hop(edge, b).src4, second);
			assert_int_equal(((const uint8_t *)read_hop(edge, b).src6)[15], 0x63);
			/* a publish changes nothing about it */
			scene.hops[1] = gone;
			publish_ok(&dataplane, &scene);
		}
		dataplane.ops->close(dataplane.self);
		dataplane = open_ok(edge);
	}
	/* Nobody goes by the first any more: the edge has another address by now. */
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		hop_a = hop_of(snapshot->backends[i].id);
		hop_a.src4 = hop_b.src4;
		hop_a.src6 = hop_b.src6;
		assert_int_equal(
			dataplane.ops->set_hop(dataplane.self, snapshot->backends[i].id, &hop_a),
			0);
	}
	hop_a.dst_mac[5] ^= 0x40;
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, a, &hop_a), 0);
	assert_int_equal(read_sources(edge).src4, second);
	assert_int_equal(((const uint8_t *)read_sources(edge).src6)[15], 0x63);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static uint32_t told_mtu_of(const struct pinned_edge *edge, gs_id backend)
{
	struct gs_tunnel_told told;
	__u32 id = backend;

	assert_int_equal(bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_TUNNEL_TOLD), &id, &told),
			 0);
	return told.mtu;
}

/* What no longer holds is taken from packets, too: they go by it where the kernel gives the hop. */
static void test_what_was_told_is_forgotten(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(11);
	struct gs_backend *backend = &scene.world->snapshot.backends[0];
	struct gs_tunnel_told telling = {1400, now_units()};
	struct gs_hop hop = hop_of(backend->id);
	struct gs_told told;

	backend->forward = GS_FORWARD_AS_IPIP;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	tell(edge, backend->id, telling);
	/* nobody has heard of it yet */
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, backend->id, &hop), 0);
	assert_int_equal(told_mtu_of(edge, backend->id), 1400);
	assert_int_equal(dataplane.ops->told(dataplane.self, &told, 1), 1);
	hop.told_mtu = 1400;
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, backend->id, &hop), 0);
	assert_int_equal(told_mtu_of(edge, backend->id), 1400);
	hop.told_mtu = 0;
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, backend->id, &hop), 0);
	assert_int_equal(told_mtu_of(edge, backend->id), 0);
	/* told of one address says nothing of another one */
	tell(edge, backend->id, telling);
	publish_ok(&dataplane, &scene);
	assert_int_equal(told_mtu_of(edge, backend->id), 1400);
	backend->addr.bytes[14] ^= 0x55;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	assert_int_equal(told_mtu_of(edge, backend->id), 0);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* Publishes backend 0 in this mode, by this hop. */
static void publish_forward(const struct gs_dataplane *dataplane, struct scene *scene,
			    enum gs_forward forward, const struct gs_hop *hop)
{
	scene->world->snapshot.backends[0].forward = forward;
	scene_rebuild(scene);
	scene->hops[0] = *hop;
	publish_ok(dataplane, scene);
}

/* A change of nothing else rewrites the entry, and takes no other hop. */
static void test_forward_mode(void **state)
{
	static const uint8_t modes[] = {GS_FORWARD_IPIP, GS_FORWARD_GUE, GS_FORWARD_L2,
					GS_FORWARD_GUE, GS_FORWARD_IPIP};
	static const enum gs_forward forwards[] = {GS_FORWARD_AS_IPIP, GS_FORWARD_AS_GUE,
						   GS_FORWARD_AS_L2, GS_FORWARD_AS_GUE,
						   GS_FORWARD_AS_IPIP};
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	gs_id id = scene.world->snapshot.backends[0].id;
	struct gs_backend_value first, now;
	struct gs_hop hop = hop_of(id);

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		publish_forward(&dataplane, &scene, forwards[m], &hop);
		now = read_backend(edge, id);
		assert_int_equal(now.mode, modes[m]);
		if (m == 0)
			first = now;
		now.mode = first.mode;
		assert_memory_equal(&now, &first, sizeof(now));
	}
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* An L2 backend gets packets by its own MAC or none: never by a router's, never back. */
static void test_l2_by_its_own_mac(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	gs_id id = scene.world->snapshot.backends[0].id;
	struct gs_hop own = hop_of(id), routed = hop_of(id), back = hop_of(id);
	const struct gs_hop *others[] = {&routed, &back};

	routed.has_gateway = true;
	routed.dst_mac[0] = 0x66;
	back.reflect = true;
	for (size_t o = 0; o < ARRAY_SIZE(others); o++) {
		publish_forward(&dataplane, &scene, GS_FORWARD_AS_IPIP, others[o]);
		assert_int_equal(read_hop(edge, id).mtu, others[o]->mtu);
		publish_forward(&dataplane, &scene, GS_FORWARD_AS_L2, others[o]);
		assert_int_equal(read_hop(edge, id).mtu, 0);
		assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, others[o]),
				 others[o]->has_gateway ? -EHOSTUNREACH : 0);
		assert_int_equal(read_hop(edge, id).mtu, 0);
		assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, &own), 0);
		assert_memory_equal(read_hop(edge, id).dst_mac, own.dst_mac, 6);
		/* Not known for a moment: the one that works stays. */
		assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, others[o]),
				 others[o]->has_gateway ? -EHOSTUNREACH : 0);
		publish_forward(&dataplane, &scene, GS_FORWARD_AS_L2, others[o]);
		assert_memory_equal(read_hop(edge, id).dst_mac, own.dst_mac, 6);
	}
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* A route that is away for a moment: known hops stay, unknown ones drop with their reason. */
static void test_no_way_there(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_snapshot *snapshot = &scene.world->snapshot;
	struct gs_counters counters = {0};
	uint32_t count = snapshot->backend_count;
	uint64_t seed = 1, dropped = 0;

	for (uint32_t i = 0; i < count; i++)
		scene.hops[i] = (struct gs_hop){.reflect = true};
	publish_ok(&dataplane, &scene);
	all_up(&dataplane, snapshot);
	for (int i = 0; i < FLOWS; i++) {
		struct edge_flow flow = edge_flow_of(scene.world, &seed);

		assert_int_equal(pinned_edge_send(edge, &flow).verdict, XDP_DROP);
	}
	assert_int_equal(dataplane.ops->count(dataplane.self, &counters), 0);
	for (uint32_t i = 0; i < counters.reason_count; i++)
		if (strcmp(counters.reasons[i].name, "drop_no_hop") == 0)
			dropped = counters.reasons[i].packets;
	assert_true(dropped > 0);
	free(counters.reasons);
	free(counters.services);
	free(counters.regions);
	free(counters.backends);
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	for (uint32_t i = 0; i < count; i++)
		scene.hops[i] = (struct gs_hop){.reflect = true};
	publish_ok(&dataplane, &scene);
	check_flows(edge, &scene, FLOWS, NULL, &seed);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static uint64_t sum(const struct gs_counter *counters, uint32_t count)
{
	uint64_t packets = 0;

	for (uint32_t i = 0; i < count; i++) {
		assert_true(counters[i].packets > 0);
		packets += counters[i].packets;
	}
	return packets;
}

static void test_counters(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_counters counters = {0};
	uint64_t seed = 6, forwarded = 0, named = 0;

	publish_ok(&dataplane, &scene);
	all_up(&dataplane, &scene.world->snapshot);
	assert_int_equal(dataplane.ops->count(dataplane.self, &counters), 0);
	assert_int_equal(counters.reason_count, 0);
	free(counters.reasons);
	free(counters.services);
	free(counters.regions);
	free(counters.backends);
	for (int i = 0; i < FLOWS; i++) {
		struct edge_flow flow = edge_flow_of(scene.world, &seed);

		forwarded += pinned_edge_send(edge, &flow).verdict == XDP_TX;
	}
	dataplane.ops->close(dataplane.self);
	dataplane = open_ok(edge); /* counters belong to the maps */
	assert_int_equal(dataplane.ops->count(dataplane.self, &counters), 0);
	assert_int_equal(sum(counters.reasons, counters.reason_count), FLOWS);
	assert_int_equal(sum(counters.services, counters.service_count), FLOWS);
	assert_int_equal(sum(counters.regions, counters.region_count), forwarded);
	assert_int_equal(sum(counters.backends, counters.backend_count), forwarded);
	for (uint32_t i = 0; i < counters.reason_count; i++)
		if (strncmp(counters.reasons[i].name, "tx_", 3) == 0)
			named += counters.reasons[i].packets;
	assert_int_equal(named, forwarded);
	free(counters.reasons);
	free(counters.services);
	free(counters.regions);
	free(counters.backends);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static void test_heartbeat(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct gs_meta_value first, second;

	dataplane.ops->heartbeat(dataplane.self);
	first = read_meta(edge);
	assert_int_equal(first.controller_pid, getpid());
	assert_true(first.heartbeat_ns > 0);
	dataplane.ops->heartbeat(dataplane.self);
	second = read_meta(edge);
	assert_true(second.heartbeat_ns > first.heartbeat_ns);
	dataplane.ops->close(dataplane.self);
}

/* ---- what fails ------------------------------------------------------------------------------ */

static void refused(const char *pin_dir, int want, const char *want_text)
{
	struct gs_dataplane dataplane = {0};
	struct gs_error error = {{0}};
	int result = gs_dataplane_open(pin_dir, &dataplane, &error);

	if (result != want || !strstr(error.text, want_text))
		fail_msg("open: %d, \"%s\"", result, error.text);
	assert_null(dataplane.self);
	assert_int_equal(gs_dataplane_open(pin_dir, &dataplane, NULL), want);
}

static void test_open_refuses(void **state)
{
	struct pinned_edge *edge = *state;
	int meta_fd = pinned_edge_map(edge, GS_MAP_META);
	struct gs_meta_value meta = read_meta(edge);
	char path[128], text[32], long_dir[300];
	__u32 zero = 0;
	int fd;

	refused("/sys/fs/bpf/gs-test-nowhere", -ENOENT, "/sys/fs/bpf/gs-test-nowhere/meta");
	memset(long_dir, 'a', sizeof(long_dir) - 1);
	long_dir[sizeof(long_dir) - 1] = 0;
	refused(long_dir, -ENAMETOOLONG, "pin_dir");
	meta.layout_version = GS_MAPS_VERSION + 1;
	assert_int_equal(bpf_map_update_elem(meta_fd, &zero, &meta, BPF_ANY), 0);
	snprintf(text, sizeof(text), "version %u", GS_MAPS_VERSION + 1);
	refused(edge->pin_dir, -EPROTO, text);
	meta.layout_version = GS_MAPS_VERSION;
	assert_int_equal(bpf_map_update_elem(meta_fd, &zero, &meta, BPF_ANY), 0);
	snprintf(path, sizeof(path), "%s/%s", edge->pin_dir, GS_MAP_RINGS);
	assert_int_equal(unlink(path), 0);
	refused(edge->pin_dir, -ENOENT, "rings");
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "rings", 4, 8, 3, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	refused(edge->pin_dir, -EPROTO, "rings");
}

/* Nothing of what is in force changes, and the next publish goes through. */
static void check_failed_publish(struct pinned_edge *edge, const struct gs_dataplane *dataplane,
				 const struct scene *in_force, const struct scene *next, int want,
				 const char *want_text)
{
	struct gs_dataplane_info before, info = {.generation = 99}, after;
	struct gs_error error = {{0}};
	uint64_t seed = 8;
	int result;

	dataplane->ops->info(dataplane->self, &before);
	result = dataplane->ops->publish(dataplane->self, next->tables, next->hops, &info, &error);
	if (result != want || !strstr(error.text, want_text))
		fail_msg("publish: %d, \"%s\"", result, error.text);
	assert_int_equal(info.generation, 99);
	dataplane->ops->info(dataplane->self, &after);
	assert_same_info(&after, &before);
	check_flows(edge, in_force, FLOWS, NULL, &seed);
}

/* The services map is full: found out after the flip, which is taken back. */
static void test_failure_after_the_flip(void **state)
{
	struct pinned_edge *edge = *state;
	int services = pinned_edge_map(edge, GS_MAP_SERVICES);
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene first = scene_new(3), second = scene_new(3);
	struct gs_service_key key = {.addr = {1}, .marker = 1};
	struct gs_service_value value = {0};
	uint64_t seed = 5;

	publish_ok(&dataplane, &first);
	all_up(&dataplane, &first.world->snapshot);
	for (__u32 i = 0; i < GS_MAX_SERVICE_KEYS; i++) {
		key.addr[1] = i; /* markers, which are removed last of all */
		if (bpf_map_update_elem(services, &key, &value, BPF_ANY))
			break;
	}
	/* One key goes, two come: the service's and its new VIP's marker. */
	second.world->snapshot.services[0].vip = gs_addr_from_v4(0xc6336463);
	scene_rebuild(&second);
	check_failed_publish(edge, &dataplane, &first, &second, -E2BIG, GS_MAP_SERVICES);
	key.addr[1] = 0;
	for (__u32 i = 0; i < 100; i++) {
		key.addr[1] = i;
		bpf_map_delete_elem(services, &key);
	}
	publish_ok(&dataplane, &second);
	all_up(&dataplane, &second.world->snapshot);
	check_flows(edge, &second, FLOWS, NULL, &seed);
	dataplane.ops->close(dataplane.self);
	scene_free(&first);
	scene_free(&second);
}

/* More different next hops than there are entries: backends already written are taken back. */
static void test_failure_amid_backends(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene first = scene_new(3), second = scene_new(4);
	gs_id id = first.world->snapshot.backends[0].id;
	struct gs_hop hop = hop_of(id);

	publish_ok(&dataplane, &first);
	all_up(&dataplane, &first.world->snapshot);
	for (unsigned i = 0; i < GS_MAX_HOPS; i++) { /* all rest for the grace period */
		hop.src_mac[2] = (uint8_t)(1 + i / 256);
		hop.src_mac[3] = (uint8_t)i;
		if (dataplane.ops->set_hop(dataplane.self, id, &hop))
			break;
	}
	hop = hop_of(id); /* which it had: its entry is there still */
	assert_int_equal(dataplane.ops->set_hop(dataplane.self, id, &hop), 0);
	for (uint32_t i = 0; i < second.world->snapshot.backend_count; i++)
		second.hops[i].src_mac[5] = 1;
	check_failed_publish(edge, &dataplane, &first, &second, -ENOSPC, GS_MAP_HOPS);
	dataplane.ops->close(dataplane.self);
	scene_free(&first);
	scene_free(&second);
}

/* Another loader has made new maps: publishing into the old ones would say "done" and do nothing.
 */
static void test_replaced_pins(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct gs_dataplane_info info = {0};
	struct gs_error error = {{0}};

	pinned_edge_close(edge);
	assert_int_equal(
		dataplane.ops->publish(dataplane.self, scene.tables, scene.hops, &info, &error),
		-ESTALE);
	pinned_edge_open(edge);
	assert_int_equal(
		dataplane.ops->publish(dataplane.self, scene.tables, scene.hops, &info, &error),
		-ESTALE);
	assert_non_null(strstr(error.text, edge->pin_dir));
	dataplane.ops->close(dataplane.self);
	dataplane = open_ok(edge);
	publish_ok(&dataplane, &scene);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* ---- killed between any two steps ------------------------------------------------------------ */

/* Publishes `scene` in a child that is killed at its steps-th system call. False: it was done. */
static bool publish_killed(const struct pinned_edge *edge, const struct scene *scene, int steps)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		struct gs_dataplane dataplane;
		struct gs_dataplane_info info;

		if (gs_dataplane_open(edge->pin_dir, &dataplane, NULL) ||
		    ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(2);
		raise(SIGSTOP);
		_exit(dataplane.ops->publish(dataplane.self, scene->tables, scene->hops, &info,
					     NULL) != 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (int i = 0; i < steps && WIFSTOPPED(status); i++) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	if (!WIFSTOPPED(status)) {
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	return true;
}

/* Every packet goes where the old or the new tables say; a service only one has, maybe nowhere. */
static void check_either(const struct pinned_edge *edge, const struct scene *old,
			 const struct scene *new, uint64_t *seed)
{
	for (int i = 0; i < KILL_FLOWS; i++) {
		struct edge_flow flow = edge_flow_of(old->world, seed);
		struct edge_answer answer = pinned_edge_send(edge, &flow);

		if (!lands_at(&answer, edge_expect(old->tables, &flow, NULL)) &&
		    !lands_at(&answer, edge_expect(new->tables, &flow, NULL)))
			fail_msg("neither the old nor the new tables: verdict %u", answer.verdict);
	}
}

static void test_killed_anywhere(void **state)
{
	struct pinned_edge *edge = *state;
	struct scene old = scene_new(3), new = scene_new(3);
	uint64_t seed = 12;
	int kills = 0;
	bool killed = true;

	/* New seed and overrides, a backend fewer: the next generation of the same services. */
	new.world->snapshot.selection_seed ^= 1;
	new.world->snapshot.override_count /= 2;
	new.world->snapshot.backend_count--;
	scene_rebuild(&new);
	for (int steps = 1; killed; steps += 2) {
		struct gs_dataplane dataplane = open_ok(edge);

		publish_ok(&dataplane, &old);
		all_up(&dataplane, &old.world->snapshot);
		dataplane.ops->close(dataplane.self);
		killed = publish_killed(edge, &new, steps);
		kills += killed;
		check_either(edge, &old, &new, &seed);
		dataplane = open_ok(edge);
		publish_ok(&dataplane, &new);
		check_flows(edge, &new, KILL_FLOWS, NULL, &seed);
		dataplane.ops->close(dataplane.self);
	}
	print_message("killed %d times\n", kills);
	assert_true(kills > 50);
	scene_free(&old);
	scene_free(&new);
}

/* ---- the loop's thread beside the worker's --------------------------------------------------- */

struct loop_side {
	const struct gs_dataplane *dataplane;
	const struct gs_snapshot *snapshot;
	atomic_bool stop;
};

static void *run_loop_side(void *context)
{
	struct loop_side *side = context;
	const struct gs_dataplane *dataplane = side->dataplane;
	gs_id region = side->snapshot->regions[0].id;
	gs_id backend = side->snapshot->backends[0].id;

	for (uint16_t i = 0; !atomic_load(&side->stop); i++) {
		struct gs_hop hop = hop_of(backend);
		struct gs_dataplane_info info;

		hop.dst_mac[1] = (uint8_t)(i % 100);
		dataplane->ops->set_usable(
			dataplane->self, GS_OBJECT_REGION, region,
			(struct gs_usable){.state = i % (GS_USABLE_UP + 1), .accept = i});
		dataplane->ops->set_hop(dataplane->self, backend, &hop);
		dataplane->ops->info(dataplane->self, &info);
		dataplane->ops->heartbeat(dataplane->self);
	}
	return NULL;
}

static void test_loop_beside_worker(void **state)
{
	struct pinned_edge *edge = *state;
	struct gs_dataplane dataplane = open_ok(edge);
	struct scene scene = scene_new(3);
	struct loop_side side = {.dataplane = &dataplane, .snapshot = &scene.world->snapshot};
	uint64_t seed = 3;
	pthread_t thread;

	publish_ok(&dataplane, &scene);
	assert_int_equal(pthread_create(&thread, NULL, run_loop_side, &side), 0);
	for (int i = 0; i < 10; i++) {
		scene.tables->digest++; /* another generation of the same */
		publish_ok(&dataplane, &scene);
	}
	atomic_store(&side.stop, true);
	pthread_join(thread, NULL);
	publish_ok(&dataplane, &scene);
	all_up(&dataplane, &scene.world->snapshot);
	check_flows(edge, &scene, FLOWS, NULL, &seed);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

/* ---- access rules and limits of regions ------------------------------------------------------ */

static int compare_access(const void *left, const void *right)
{
	return gs_access_compare(left, right);
}

/* Rules about the prefixes of the world's overrides, of one service or of all. Freed by the world's
 * owner. */
static void draw_access(struct gs_snapshot *snapshot, uint64_t *seed)
{
	uint32_t drawn = 2 * snapshot->override_count, count = 0;
	struct gs_access *rules = calloc(drawn + 1, sizeof(*rules));

	assert_non_null(rules);
	for (uint32_t i = 0; i < drawn; i++)
		rules[i] = (struct gs_access){
			.prefix = snapshot->overrides[i / 2].prefix,
			.service = i % 2 ? snapshot->services[world_draw(seed) %
							      snapshot->service_count]
						   .id
					 : 0,
			.allow = world_draw(seed) % 2,
		};
	qsort(rules, drawn, sizeof(*rules), compare_access);
	for (uint32_t i = 0; i < drawn; i++)
		if (i == 0 || compare_access(&rules[i], &rules[count - 1]) != 0)
			rules[count++] = rules[i];
	snapshot->access = rules;
	snapshot->access_count = count;
}

static void check_access(const struct pinned_edge *edge, const struct scene *scene, uint64_t *seed)
{
	int denied = 0;

	for (int i = 0; i < FLOWS; i++) {
		struct edge_flow flow = edge_flow_of(scene->world, seed);
		const struct gs_access *rule =
			gs_access_find(&scene->world->snapshot, flow.service->id, &flow.client);
		const struct gs_backend *want = edge_expect(scene->tables, &flow, NULL);
		struct edge_answer answer = pinned_edge_send(edge, &flow);

		if (rule && !rule->allow)
			assert_int_equal(answer.verdict, XDP_DROP);
		else
			assert_true(lands_at(&answer, want));
		denied += rule && !rule->allow;
	}
	assert_in_range(denied, 5, FLOWS - 5);
}

static void test_access(void **state)
{
	struct pinned_edge *edge = *state;
	struct scene scene = scene_new(31);
	struct gs_dataplane dataplane = open_ok(edge);
	uint64_t seed = 31;

	draw_access(&scene.world->snapshot, &seed);
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	all_up(&dataplane, &scene.world->snapshot);
	check_access(edge, &scene, &seed);
	free(scene.world->snapshot.access);
	scene.world->snapshot.access = NULL;
	scene.world->snapshot.access_count = 0;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	check_flows(edge, &scene, FLOWS, NULL, &seed);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

static struct gs_region_limit_value region_limit(const struct pinned_edge *edge, uint32_t region)
{
	struct gs_region_limit_value value;

	assert_int_equal(
		bpf_map_lookup_elem(pinned_edge_map(edge, GS_MAP_REGION_LIMITS), &region, &value),
		0);
	return value;
}

/* In place, also when all else stays as it is. */
static void test_region_limits(void **state)
{
	struct pinned_edge *edge = *state;
	struct scene scene = scene_new(32);
	struct gs_dataplane dataplane = open_ok(edge);
	struct gs_region *region = &scene.world->snapshot.regions[0];
	struct gs_dataplane_info first, second;

	region->limit_packets = 700;
	region->limit_flows = 7;
	scene_rebuild(&scene);
	first = publish_ok(&dataplane, &scene);
	assert_int_equal(region_limit(edge, region->id).packets, 700);
	assert_int_equal(region_limit(edge, region->id).flows, 7);
	assert_int_equal(read_meta(edge).generation[read_meta(edge).active].asks &
				 GS_ASK_REGION_LIMITS,
			 GS_ASK_REGION_LIMITS);
	region->limit_packets = 0;
	scene_rebuild(&scene);
	second = publish_ok(&dataplane, &scene);
	assert_int_equal(second.generation, first.generation);
	assert_int_equal(region_limit(edge, region->id).packets, 0);
	region->limit_flows = 0;
	scene_rebuild(&scene);
	publish_ok(&dataplane, &scene);
	assert_int_equal(region_limit(edge, region->id).flows, 0);
	assert_int_equal(read_meta(edge).generation[read_meta(edge).active].asks, 0);
	dataplane.ops->close(dataplane.self);
	scene_free(&scene);
}

#define EDGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EDGE_TEST(test_packets_follow_tables),
		EDGE_TEST(test_region_down_is_one_word),
		EDGE_TEST(test_no_geoip),
		EDGE_TEST(test_equal_digest_writes_nothing),
		EDGE_TEST(test_geo_is_shared),
		EDGE_TEST(test_inner_maps_have_types),
		EDGE_TEST(test_vanished_service_is_nobodys),
		EDGE_TEST(test_markers),
		EDGE_TEST(test_stale_addresses),
		EDGE_TEST(test_reach),
		EDGE_TEST(test_retired_backend_stays_down),
		EDGE_TEST(test_usable_words),
		EDGE_TEST(test_trials),
		EDGE_TEST(test_leases),
		EDGE_TEST(test_hop_is_never_changed_in_place),
		EDGE_TEST(test_tunnels_follow_backends),
		EDGE_TEST(test_what_tunnels_are_told),
		EDGE_TEST(test_a_told_mtu),
		EDGE_TEST(test_what_was_told_is_forgotten),
		EDGE_TEST(test_sources_stay),
		EDGE_TEST(test_forward_mode),
		EDGE_TEST(test_l2_by_its_own_mac),
		EDGE_TEST(test_no_way_there),
		EDGE_TEST(test_access),
		EDGE_TEST(test_region_limits),
		EDGE_TEST(test_counters),
		EDGE_TEST(test_heartbeat),
		EDGE_TEST(test_open_refuses),
		EDGE_TEST(test_failure_after_the_flip),
		EDGE_TEST(test_failure_amid_backends),
		EDGE_TEST(test_replaced_pins),
		EDGE_TEST(test_killed_anywhere),
		EDGE_TEST(test_loop_beside_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
