/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the controller computes on its worker: a GeoIP file to tables, rings, plans. `make bench`.
 *
 *	bench_controller [-r ROUNDS] [-G] [-g MMDB]
 *
 * -G: only the first.
 *
 * geo_load     file opened to tables, by the adapter; resident memory at most
 * maglev       a ring
 * planner      20 policies x 8,301 locations x 50 regions ranked anew, plans interned
 * tables       all of a generation for the same: the former, rings of 1,000 pools and the rest
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller.h"
#include "report.h"
#include "tests/fakes/large_world.h"
#include "user/app/tables.h"
#include "user/core/maglev.h"
#include "user/core/plan.h"
#include "user/core/random.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- GeoIP -----------------------------------------------------------------------------------*/

/* In a process of its own, so that its memory is its own. kb: at most. */
struct loaded {
	char name[64];
	double ms, cpu_ms, kb, networks4, networks6, prefixes4, prefixes6, table_bytes, locations;
};

static double milliseconds(struct timeval time)
{
	return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

static struct loaded load(const char *path)
{
	struct loaded loaded = {0};
	struct gs_geodata *geo;
	struct rusage usage;
	double before_ms;

	getrusage(RUSAGE_SELF, &usage);
	before_ms = milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime);
	geo = bench_geodata(path, &loaded.ms);
	getrusage(RUSAGE_SELF, &usage);
	loaded.kb = (double)usage.ru_maxrss;
	loaded.cpu_ms = milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime) - before_ms;
	snprintf(loaded.name, sizeof(loaded.name), "%s", geo->database_type);
	loaded.networks4 = (double)geo->v4.networks;
	loaded.networks6 = (double)geo->v6.networks;
	loaded.prefixes4 = (double)geo->v4.prefixes;
	loaded.prefixes6 = (double)geo->v6.prefixes;
	loaded.locations = geo->location_count;
	loaded.table_bytes =
		(double)(geo->v4.block_count + geo->v6.block_count) * sizeof(struct gs_geo_block);
	return loaded;
}

static struct loaded load_alone(const char *path)
{
	struct loaded loaded;
	int ends[2], status;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		loaded = load(path);
		_exit(write(ends[1], &loaded, sizeof(loaded)) != sizeof(loaded));
	}
	assert_int_equal(read(ends[0], &loaded, sizeof(loaded)), sizeof(loaded));
	assert_int_equal(waitpid(child, &status, 0), child);
	close(ends[0]);
	close(ends[1]);
	return loaded;
}

static void measure_load(const char *path, uint32_t rounds)
{
	struct bench_sample ms = {0};
	struct loaded last = {0};

	for (uint32_t round = 0; round < rounds; round++) {
		last = load_alone(path);
		bench_add(&ms, last.ms);
	}
	bench_report(&(struct bench_row){
		.bench = "geo_load",
		.variant = "file_to_tables",
		.unit = "ms",
		.value = &ms,
		.prefixes = (uint64_t)(last.prefixes4 + last.prefixes6),
		.text_name = "geo",
		.text = last.name,
		.more = {{"networks", last.networks4 + last.networks6},
			 {"prefixes4", last.prefixes4},
			 {"prefixes6", last.prefixes6},
			 {"locations", last.locations},
			 {"table_bytes", last.table_bytes},
			 {"peak_bytes", last.kb * 1024},
			 {"cpu_ms", last.cpu_ms}},
	});
}

/* ---- rings -----------------------------------------------------------------------------------*/

static void measure_ring(uint32_t count, uint32_t rounds)
{
	struct gs_maglev_member *members = calloc(count, sizeof(*members));
	uint32_t slots = gs_maglev_slots(count);
	gs_id *ring = calloc(slots, sizeof(*ring));
	void *scratch = malloc(gs_maglev_scratch(count));
	struct bench_sample ms = {0};
	uint64_t seed = 1;
	char name[64];

	assert_true(members && ring && scratch);
	for (uint32_t i = 0; i < count; i++)
		members[i] = (struct gs_maglev_member){
			.backend = (gs_id)(i + 1), .weight = 100, .key = gs_random(&seed)};
	for (uint32_t round = 0; round < rounds; round++) {
		double began_ms = bench_now_ms();

		assert_int_equal(gs_maglev_build(members, count, 42 + round, scratch, slots, ring),
				 0);
		bench_add(&ms, bench_now_ms() - began_ms);
	}
	snprintf(name, sizeof(name), "ring_of_%u", count);
	bench_report(&(struct bench_row){
		.bench = "maglev",
		.variant = name,
		.unit = "ms",
		.value = &ms,
		.more = {{"backends", count},
			 {"slots", slots},
			 {"bytes", slots * (double)sizeof(*ring)}},
	});
	free(members);
	free(ring);
	free(scratch);
}

/* ---- plans -----------------------------------------------------------------------------------*/

/* All policies, all locations, by the model's round trips; how many different plans. */
static uint32_t plan_all(const struct gs_snapshot *s, const struct gs_geodata *geo,
			 struct gs_ranker *ranker, struct gs_ranked_policy *policies,
			 struct gs_plan_set *set)
{
	gs_ranker_init(ranker, s->regions, s->region_count, NULL);
	for (uint32_t p = 0; p < s->policy_count; p++)
		gs_ranked_policy_init(&policies[p], ranker, &s->policies[p], NULL);
	for (uint32_t at = 0; at < geo->location_count; at++) {
		gs_ranker_move(ranker, (uint16_t)at, &geo->locations[at]);
		for (uint32_t p = 0; p < s->policy_count; p++) {
			struct gs_ranking ranking;
			struct gs_plan plan;

			gs_rank(ranker, &policies[p], NULL, 0, &ranking);
			gs_plan_from_ranking(ranker, &ranking, &plan);
			gs_plan_set_intern(set, &plan);
		}
	}
	return gs_plan_set_count(set);
}

static void measure_planner(const struct gs_snapshot *s, const struct gs_geodata *geo,
			    uint32_t rounds)
{
	struct gs_ranker *ranker = calloc(1, sizeof(*ranker));
	struct gs_ranked_policy *policies = calloc(s->policy_count, sizeof(*policies));
	void *memory = malloc(gs_plan_set_size(GS_MAX_PLANS - 1));
	struct bench_sample ms = {0};
	uint32_t plans = 0;

	assert_true(ranker && policies && memory);
	for (uint32_t round = 0; round < rounds; round++) {
		struct gs_plan_set *set = gs_plan_set_init(memory, GS_MAX_PLANS - 1);
		double began_ms = bench_now_ms();

		plans = plan_all(s, geo, ranker, policies, set);
		bench_add(&ms, bench_now_ms() - began_ms);
	}
	bench_report(&(struct bench_row){
		.bench = "planner",
		.variant = "rank_and_intern",
		.unit = "ms",
		.value = &ms,
		.more = {{"policies", s->policy_count},
			 {"locations", geo->location_count},
			 {"regions", s->region_count},
			 {"plans", plans}},
	});
	free(ranker);
	free(policies);
	free(memory);
}

static void measure_tables(const struct gs_snapshot *s, const struct gs_geodata *geo,
			   uint32_t rounds)
{
	struct bench_sample ms = {0};
	uint32_t plans = 0, slots = 0, exact = 0;

	for (uint32_t round = 0; round < rounds; round++) {
		double began_ms = bench_now_ms();
		struct gs_error error = {{0}};
		struct gs_tables *tables;

		if (gs_tables_build(s, geo, &tables, &error))
			fail_msg("%s", error.text);
		bench_add(&ms, bench_now_ms() - began_ms);
		plans = gs_plan_set_count(tables->plans);
		slots = tables->ring_slot_count;
		exact = tables->exact_choices;
		gs_tables_free(tables);
	}
	bench_report(&(struct bench_row){
		.bench = "planner",
		.variant = "whole_tables",
		.unit = "ms",
		.value = &ms,
		.more = {{"policies", s->policy_count},
			 {"locations", geo->location_count},
			 {"regions", s->region_count},
			 {"plans", plans},
			 {"exact_choices", exact},
			 {"ring_slots", slots}},
	});
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_controller [-r ROUNDS] [-G] [-g MMDB]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const uint32_t rings[] = {4, 16, 100, 1000};
	struct gs_snapshot *snapshot = bench_snapshot(1);
	struct gs_geodata *geo = large_geodata();
	const char *path = NULL;
	bool only_load = false;
	uint32_t rounds = 5;
	int option;

	while ((option = getopt(argc, argv, "r:g:G")) != -1) {
		if (option == 'r')
			rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'g')
			path = optarg;
		else if (option == 'G')
			only_load = true;
		else
			return usage();
	}
	if (rounds < 1 || rounds > BENCH_ROUNDS_MAX)
		return usage();
	bench_begin();
	bench_title("the controller's worker");
	if (path)
		measure_load(path, rounds);
	if (only_load)
		return 0;
	for (unsigned i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		measure_ring(rings[i], rounds);
	measure_planner(snapshot, geo, rounds);
	measure_tables(snapshot, geo, rounds);
	large_geodata_free(geo);
	return 0;
}
