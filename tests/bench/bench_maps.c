/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's side of the controller's work, through the adapter that the daemon has: generations
 * published, words written, what maps take, what programs cost the verifier. `make bench`.
 *
 *	bench_maps [-r ROUNDS] [-g MMDB]
 *
 * publish_all     maps that were empty: backends, hops, geo tables, routes, plans, rings, flip
 * publish_config  another configuration, the same geo tables
 * publish_geo     another GeoIP database, the same configuration
 * publish_same    what is in force already
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller.h"
#include "driver.h"
#include "kernel.h"
#include "maps/gs_maps.h"
#include "report.h"
#include "tests/bpf/pinned_edge.h"
#include "tests/fakes/large_world.h"
#include "user/adapters/adapters.h"
#include "user/core/cidr.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 1 << 16, ROWS = 64, ROW_BLOCKS_MAX = 65536 / GS_BLOCK_U16 };

static const char *geo_name; /* of the database in the maps */

struct scene {
	struct pinned_edge edge;
	struct gs_dataplane dataplane;
	struct gs_hop *hops;
	uint32_t rounds;
};

static void report(const char *bench, const char *variant, const char *unit,
		   const struct bench_sample *sample)
{
	bench_report(&(struct bench_row){.bench = bench,
					 .variant = variant,
					 .unit = unit,
					 .value = sample,
					 .text_name = "geo",
					 .text = geo_name});
}

static void report_one(const char *bench, const char *variant, const char *unit, double value)
{
	struct bench_sample sample = {0};

	bench_add(&sample, value);
	report(bench, variant, unit, &sample);
}

/* ---- generations -----------------------------------------------------------------------------*/

static void make_hops(struct scene *scene)
{
	scene->hops = calloc(PLANNER_BACKENDS, sizeof(*scene->hops));
	assert_non_null(scene->hops);
	for (uint32_t i = 0; i < PLANNER_BACKENDS; i++)
		scene->hops[i] =
			(struct gs_hop){.dst_mac = {2, 1, 0, 0, (uint8_t)(i >> 8), (uint8_t)i},
					.src_mac = {2, 2, 0, 0, 0, 9},
					.mtu = 1500,
					.src4 = gs_addr_from_v4(0xc0000202)};
}

static double publish(const struct scene *scene, const struct gs_tables *tables)
{
	struct gs_dataplane_info info;
	struct gs_error error = {{0}};
	double began_ms = bench_now_ms();

	if (scene->dataplane.ops->publish(scene->dataplane.self, tables, scene->hops, &info,
					  &error))
		fail_msg("publish: %s", error.text);
	return bench_now_ms() - began_ms;
}

static struct gs_tables *tables_of(const struct gs_snapshot *snapshot, const struct gs_geodata *geo)
{
	struct gs_error error = {{0}};
	struct gs_tables *tables;

	if (gs_tables_build(snapshot, geo, &tables, &error))
		fail_msg("tables: %s", error.text);
	return tables;
}

static void open_edge(struct scene *scene)
{
	struct gs_error error = {{0}};

	pinned_edge_open(&scene->edge);
	if (gs_dataplane_open(scene->edge.pin_dir, &scene->dataplane, &error))
		fail_msg("open: %s", error.text);
}

static struct pinned_edge *pinned; /* whose pins are to go, whatever happens */

static void unpin(void)
{
	pinned_edge_close(pinned);
}

static void close_edge(struct scene *scene)
{
	scene->dataplane.ops->close(scene->dataplane.self);
	pinned_edge_close(&scene->edge);
}

/* The last round's edge stays open, with the geo tables in force. */
static void measure_publish(struct scene *scene, const struct gs_geodata *geo)
{
	struct bench_sample all = {0}, config = {0}, other = {0}, same = {0};
	struct gs_snapshot *first = bench_snapshot(1), *second = bench_snapshot(2);
	struct gs_geodata *small = large_geodata();
	struct gs_tables *tables[3];

	second->backends[0].weight++;
	tables[0] = tables_of(first, geo);
	tables[1] = tables_of(second, geo);
	tables[2] = tables_of(second, small);
	for (uint32_t round = 0; round < scene->rounds; round++) {
		if (round)
			close_edge(scene);
		open_edge(scene);
		bench_add(&all, publish(scene, tables[0]));
		bench_add(&same, publish(scene, tables[0]));
		bench_add(&config, publish(scene, tables[1]));
		publish(scene, tables[2]);
		bench_add(&other, publish(scene, tables[1]));
	}
	report("publish", "publish_all", "ms", &all);
	report("publish", "publish_same", "ms", &same);
	report("publish", "publish_config", "ms", &config);
	report("publish", "publish_geo", "ms", &other);
	for (int i = 0; i < 3; i++)
		gs_tables_free(tables[i]);
	large_geodata_free(small);
}

/* ---- words and rows --------------------------------------------------------------------------*/

static void measure_words(const struct scene *scene)
{
	static const enum gs_object_kind kinds[] = {GS_OBJECT_REGION, GS_OBJECT_POOL,
						    GS_OBJECT_BACKEND};
	static const char *const names[] = {"usable_region", "usable_pool", "usable_backend"};
	const struct gs_dataplane *dataplane = &scene->dataplane;

	for (int kind = 0; kind < 3; kind++) {
		struct bench_sample rate = {0};

		for (uint32_t round = 0; round < scene->rounds; round++) {
			double began_ms = bench_now_ms();

			for (uint32_t i = 0; i < WORDS; i++)
				dataplane->ops->set_usable(
					dataplane->self, kinds[kind],
					kinds[kind] == GS_OBJECT_REGION ? 1 + i % PLANNER_REGIONS
									: 1 + i % PLANNER_BACKENDS,
					(struct gs_usable){.state = GS_USABLE_UP,
							   .accept = (uint16_t)(i + round)});
			bench_add(&rate, WORDS / (bench_now_ms() - began_ms) * 1000);
		}
		report("map_update", names[kind], "per_s", &rate);
	}
}

/* A row of routes, all its locations, written into the slot in force. */
static void measure_routes(const struct scene *scene)
{
	static struct gs_route_block blocks[ROW_BLOCKS_MAX];
	static uint32_t keys[ROW_BLOCKS_MAX];
	struct bpf_map_info map = {0};
	uint32_t size = sizeof(map), blocks_each;
	struct bench_sample rate = {0};
	struct gs_dataplane_info info;
	int fd;

	scene->dataplane.ops->info(scene->dataplane.self, &info);
	fd = bench_inner_map(pinned_edge_map(&scene->edge, GS_MAP_ROUTES), info.slot);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &map, &size), 0);
	blocks_each = map.max_entries / PLANNER_POLICIES;
	assert_in_range(blocks_each, 1, ROW_BLOCKS_MAX);
	for (uint32_t i = 0; i < blocks_each; i++)
		keys[i] = i;
	for (uint32_t round = 0; round < scene->rounds; round++) {
		double began_ms = bench_now_ms();

		for (uint32_t row = 0; row < ROWS; row++) {
			uint32_t count = blocks_each;

			assert_int_equal(bpf_map_update_batch(fd, keys, blocks, &count, NULL), 0);
		}
		bench_add(&rate, ROWS / (bench_now_ms() - began_ms) * 1000);
	}
	close(fd);
	bench_report(&(struct bench_row){
		.bench = "map_update",
		.variant = "route_rows",
		.unit = "per_s",
		.value = &rate,
		.more = {{"locations", blocks_each * GS_BLOCK_U16}},
	});
}

/* ---- what they take --------------------------------------------------------------------------*/

static bool is_outer(const struct bpf_map *map)
{
	return bpf_map__type(map) == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

/* Of all filled slots. */
static uint64_t inner_bytes(int outer, uint32_t slots)
{
	uint64_t bytes = 0;
	uint32_t id;

	for (uint32_t at = 0; at < slots; at++) {
		int fd;

		if (bpf_map_lookup_elem(outer, &at, &id))
			continue;
		fd = bpf_map_get_fd_by_id(id);
		assert_true(fd >= 0);
		bytes += bench_map_bytes(fd);
		close(fd);
	}
	return bytes;
}

static void measure_memory(const struct scene *scene)
{
	uint64_t all = 0;
	struct bpf_map *map;

	bpf_object__for_each_map(map, scene->edge.object)
	{
		uint64_t bytes = bench_map_bytes(bpf_map__fd(map));

		if (is_outer(map))
			bytes += inner_bytes(bpf_map__fd(map), bpf_map__max_entries(map));
		all += bytes;
		if (!strchr(bpf_map__name(map), '.'))
			report_one("memory", bpf_map__name(map), "bytes", (double)bytes);
	}
	report_one("memory", "all_maps", "bytes", (double)all);
}

/* ---- the verifier ----------------------------------------------------------------------------*/

static void measure_program(const char *object_name)
{
	struct bpf_object *object = bench_object_open(object_name);
	double began_ms = bench_now_ms(), took_ms;
	struct bpf_program *program;
	uint32_t programs = 0;

	assert_int_equal(bpf_object__load(object), 0);
	took_ms = bench_now_ms() - began_ms;
	bpf_object__for_each_program(program, object) programs++;
	bpf_object__for_each_program(program, object)
	{
		struct bench_sample count = {0};

		bench_add(&count, bench_verified_instructions(bpf_program__fd(program)));
		bench_report(&(struct bench_row){
			.bench = "verifier",
			.variant = bpf_program__name(program),
			.unit = "instructions",
			.value = &count,
			.more = {{"limit", 1000000},
				 {"insns", (double)bpf_program__insn_cnt(program)},
				 {programs == 1 ? "load_ms" : NULL, took_ms}},
		});
	}
	bpf_object__close(object);
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_maps [-r ROUNDS] [-g MMDB]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct scene scene = {.rounds = 5};
	const char *path = NULL;
	struct gs_geodata *geo;
	double ms;
	int option;

	while ((option = getopt(argc, argv, "r:g:")) != -1) {
		if (option == 'r')
			scene.rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'g')
			path = optarg;
		else
			return usage();
	}
	if (scene.rounds < 1 || scene.rounds > BENCH_ROUNDS_MAX)
		return usage();
	bench_begin();
	pinned = &scene.edge;
	atexit(unpin);
	bench_title("maps and programs");
	geo = path ? bench_geodata(path, &ms) : large_geodata();
	geo_name = path ? geo->database_type : "8,300 prefixes";
	make_hops(&scene);
	measure_publish(&scene, geo);
	measure_words(&scene);
	measure_routes(&scene);
	measure_memory(&scene);
	close_edge(&scene);
	free(scene.hops);
	measure_program("gs_xdp.bpf.o");
	measure_program("gs_decap.bpf.o");
	measure_program("gs_probe.bpf.o");
	return 0;
}
