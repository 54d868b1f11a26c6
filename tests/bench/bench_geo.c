/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a client is, and nothing else: the compiled table beside the kernel's LPM trie of the same
 * prefixes, and what both take to be made, in memory, and to be freed. `make bench`.
 *
 *	bench_geo [-r ROUNDS] [-n LOOKUPS] [-q] [-g MMDB]
 *
 * -q: only with all prefixes there are; else with fewer as well. Without -g: a synthetic geo table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"
#include "gs_bench.h"
#include "kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum way { NONE, TABLE, TRIE, WAY__COUNT };

static const char *const way_names[] = {"baseline", "table", "lpm_trie"};
static const uint32_t address_counts[] = {1, 1024, 65536, MAX_FLOWS};
static const uint64_t prefix_counts[] = {1024, 16384, 262144};

enum { ADDRESS_COUNTS = sizeof(address_counts) / sizeof(address_counts[0]) };

struct lookups {
	uint32_t rounds, lookups;
	struct xdp_edge edge; /* only its maps of geo tables */
	int trie;
	struct bench_lookup *conf; /* mapped */
	struct bench_address *addresses;
};

/* ---- one set of prefixes ---------------------------------------------------------------------*/

static const char *program_of(enum way way, enum gs_geo_family kind)
{
	if (way == NONE)
		return "bench_lookup_none";
	if (way == TABLE)
		return kind == GS_GEO_V4 ? "bench_lookup_table4" : "bench_lookup_table6";
	return kind == GS_GEO_V4 ? "bench_lookup_trie4" : "bench_lookup_trie6";
}

static void load(struct lookups *bench, const struct bench_geo_family *family)
{
	static const char *const kept[] = {GS_MAP_GEO4, GS_MAP_GEO6, GS_MAP_OVERRIDE4,
					   GS_MAP_OVERRIDE6, NULL};
	const char *trie = family->kind == GS_GEO_V4 ? "bench_trie4" : "bench_trie6";
	struct bpf_object *object = bench_object_open("gs_lookup.bpf.o");

	bench_object_keep(object, kept);
	assert_int_equal(bpf_map__reuse_fd(bpf_object__find_map_by_name(object, trie), bench->trie),
			 0);
	assert_int_equal(
		bpf_map__set_max_entries(bpf_object__find_map_by_name(object, "bench_addresses"),
					 MAX_FLOWS),
		0);
	assert_int_equal(bpf_object__load(object), 0);
	bench->edge.object = object;
	bench->conf = bench_driver_map(object, "bench_lookup", sizeof(*bench->conf));
	bench->addresses =
		bench_driver_map(object, "bench_addresses", MAX_FLOWS * sizeof(*bench->addresses));
}

static void unload(struct lookups *bench)
{
	munmap(bench->conf, sizeof(*bench->conf));
	munmap(bench->addresses, MAX_FLOWS * sizeof(*bench->addresses));
	bpf_object__close(bench->edge.object);
}

/* Sum of what is found at the first `count` addresses. */
static uint64_t host_sum(const struct lookups *bench, const struct bench_geo_family *family,
			 uint32_t count)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += bench_geo_find(family, bench->addresses[i].addr);
	return sum;
}

static void draw(const struct lookups *bench, const struct bench_geo_family *family)
{
	uint64_t seed = 5;

	for (uint32_t i = 0; i < MAX_FLOWS; i++)
		bench_geo_draw(family, &seed, bench->addresses[i].addr);
}

/* ns of one look-up, what is around it included. */
static double run(const struct lookups *bench, enum way way, enum gs_geo_family kind,
		  uint32_t addresses, uint32_t lookups)
{
	uint8_t frame[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = (int)((lookups + BENCH_BURST - 1) / BENCH_BURST));

	*bench->conf = (struct bench_lookup){.mask = addresses - 1};
	assert_int_equal(
		bpf_prog_test_run_opts(
			bench_object_program(bench->edge.object, program_of(way, kind)), &opts),
		0);
	assert_int_equal(opts.retval, XDP_DROP);
	return (double)opts.duration / BENCH_BURST;
}

/* All find the same for a round's clients, or the benchmark ends here. */
static void check(const struct lookups *bench, const struct bench_geo_family *family)
{
	uint32_t count = bench->lookups < MAX_FLOWS ? bench->lookups : MAX_FLOWS;
	uint64_t want = host_sum(bench, family, count);

	for (enum way way = TABLE; way <= TRIE; way++) {
		run(bench, way, family->kind, MAX_FLOWS, count);
		assert_int_equal(bench->conf->sum, want);
	}
}

static void report(const struct lookups *bench, const struct bench_geo_family *family,
		   uint32_t addresses, const struct bench_sample ns[WAY__COUNT])
{
	double trie = bench_median(&ns[TRIE]) - bench_median(&ns[NONE]);

	for (enum way way = NONE; way < WAY__COUNT; way++)
		bench_report(&(struct bench_row){
			.bench = "geo_lookup",
			.variant = way_names[way],
			.value = &ns[way],
			.baseline = &ns[NONE],
			.family = family->kind == GS_GEO_V4 ? 4 : 6,
			.prefixes = family->prefixes,
			.ratio_to = way == TABLE ? way_names[TRIE] : NULL,
			.ratio_base = trie,
			.packets = bench->lookups,
			.more = {{"addresses", addresses}},
		});
}

static void measure(const struct lookups *bench, const struct bench_geo_family *family)
{
	for (int n = 0; n < ADDRESS_COUNTS; n++) {
		struct bench_sample ns[WAY__COUNT] = {0};

		if (address_counts[n] > bench->lookups) /* not all of them would be asked for */
			continue;
		for (uint32_t round = 0; round < bench->rounds; round++)
			for (enum way way = NONE; way < WAY__COUNT; way++)
				bench_add(&ns[way], run(bench, way, family->kind, address_counts[n],
							bench->lookups));
		report(bench, family, address_counts[n], ns);
	}
}

/* ---- what they take --------------------------------------------------------------------------*/

static void report_one(const char *bench, const char *variant, const char *unit,
		       const struct bench_geo_family *family, double value, double per_prefix)
{
	struct bench_sample sample = {0};

	bench_add(&sample, value);
	bench_report(&(struct bench_row){
		.bench = bench,
		.variant = variant,
		.unit = unit,
		.value = &sample,
		.family = family->kind == GS_GEO_V4 ? 4 : 6,
		.prefixes = family->prefixes,
		.more = {{per_prefix > 0 ? "bytes_per_prefix" : NULL, per_prefix}},
	});
}

static void report_bytes(const char *variant, const struct bench_geo_family *family, uint64_t bytes)
{
	report_one("geo_tables", variant, "bytes", family, (double)bytes,
		   (double)bytes / (double)family->prefixes);
}

static void report_ms(const char *variant, const struct bench_geo_family *family, double ms)
{
	if (ms > 0)
		report_one("geo_tables", variant, "ms", family, ms, 0);
}

/* A table and a trie of their own, gone afterwards; of little memory nobody can tell when that is.
 */
static void measure_set(struct lookups *bench, const struct bench_geo_family *family,
			double build_ms, bool is_all)
{
	const char *map = family->kind == GS_GEO_V4 ? GS_MAP_GEO4 : GS_MAP_GEO6;
	uint64_t table_bytes, trie_bytes;
	double trie_ms, began_ms;
	int table;

	bench->trie = bench_geo_trie(family, &trie_ms);
	load(bench, family);
	began_ms = bench_now_ms();
	bench_put_geo(&bench->edge, family);
	report_ms("table_upload", family, bench_now_ms() - began_ms);
	report_ms("table_build", family, build_ms);
	report_ms("lpm_trie_fill", family, trie_ms);
	table = bench_inner_map(xdp_edge_map(&bench->edge, map), 0);
	table_bytes = bench_map_bytes(table);
	trie_bytes = bench_map_bytes(bench->trie);
	report_bytes("table_bytes", family, table_bytes);
	report_bytes("lpm_trie_bytes", family, trie_bytes);
	draw(bench, family);
	check(bench, family);
	measure(bench, family);
	unload(bench);
	if (is_all) {
		report_ms("table_free", family, bench_close_and_wait(table, table_bytes));
		report_ms("lpm_trie_free", family, bench_close_and_wait(bench->trie, trie_bytes));
	} else {
		close(table);
		close(bench->trie);
	}
}

static void measure_family(struct lookups *bench, const struct bench_geo_family *all, bool is_quick)
{
	struct bench_geo_family thin;
	double ms;

	for (unsigned i = 0; i < sizeof(prefix_counts) / sizeof(prefix_counts[0]) && !is_quick;
	     i++) {
		if (prefix_counts[i] * 2 > all->prefixes)
			continue;
		bench_geo_thin(all, prefix_counts[i], &thin, &ms);
		measure_set(bench, &thin, ms, false);
		bench_geo_release(&thin);
	}
	bench_geo_thin(all, all->prefixes, &thin, &ms);
	measure_set(bench, &thin, ms, true);
	bench_geo_release(&thin);
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_geo [-r ROUNDS] [-n LOOKUPS] [-q] [-g MMDB]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct lookups bench = {.rounds = 5, .lookups = MAX_FLOWS};
	static struct bench_geo geo;
	const char *path = NULL;
	bool is_quick = false;
	int option;

	while ((option = getopt(argc, argv, "r:n:qg:")) != -1) {
		if (option == 'r')
			bench.rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			bench.lookups = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'q')
			is_quick = true;
		else if (option == 'g')
			path = optarg;
		else
			return usage();
	}
	bench.lookups = bench.lookups / BENCH_BURST * BENCH_BURST;
	if (bench.rounds < 1 || bench.rounds > BENCH_ROUNDS_MAX || bench.lookups < 1)
		return usage();
	bench_begin();
	bench_geo_open(&geo, path);
	bench_title("where a client is: the compiled table beside the kernel's LPM trie, %s",
		    geo.name);
	for (int i = 0; i < 2; i++)
		measure_family(&bench, &geo.family[i], is_quick);
	return 0;
}
