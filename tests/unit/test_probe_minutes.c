/* SPDX-License-Identifier: Apache-2.0 */
/* Minutes under simulated time, of a wall clock that the tests move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "tests/fakes/simulated_loop.h"
#include "user/app/probe_minutes.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <errno.h>
#include <string.h>

enum { MINUTE_MS = 60000, BACKENDS = FAKE_REGIONS * FAKE_PER_REGION, EDGES = 100 };

/* ---- a store that keeps the rows ------------------------------------------------------------- */

enum { ROWS_MAX = 1024 };

struct kept {
	struct gs_loop *loop;
	uint32_t calls, count;
	uint64_t call_ms;
	int64_t call_wall_ms;
	struct gs_probe_minute rows[ROWS_MAX];
};

static void keep(void *self, const struct gs_probe_minute *minutes, uint32_t count)
{
	struct kept *kept = self;

	assert_true(count > 0);
	kept->calls++;
	kept->call_ms = kept->loop->now_ms;
	kept->call_wall_ms = wall_ms;
	for (uint32_t i = 0; i < count; i++)
		if (kept->count < ROWS_MAX)
			kept->rows[kept->count++] = minutes[i];
}

static const struct gs_store_ops KEEPING = {.record_probes = keep};

/* ---- the scene ------------------------------------------------------------------------------- */

struct scene {
	struct gs_loop loop;
	struct kept kept;
	struct gs_store store;
	struct gs_snapshot *snapshot;
	struct gs_probe_minutes *minutes;
};

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	scene->loop.now_ms = 5000000;
	wall_ms = 1795600000LL / 60 * 60 * 1000 + 12345; /* 12.345 s into a minute */
	scene->kept.loop = &scene->loop;
	scene->store = (struct gs_store){.ops = &KEEPING, .self = &scene->kept};
	scene->snapshot = fake_snapshot(1);
	return gs_probe_minutes_new(&scene->loop, &scene->store, 1, &scene->minutes);
}

static int tear_down(void **state)
{
	struct scene *scene = *state;
	uint32_t timers;

	gs_probe_minutes_free(scene->minutes);
	timers = scene->loop.count;
	gs_snapshot_free(scene->snapshot);
	free(scene);
	return timers ? -1 : 0; /* nothing is left behind in the loop */
}

static void add(struct scene *scene, gs_id backend, enum gs_probe_class class, uint32_t latency_us)
{
	gs_probe_minutes_add(scene->minutes, scene->snapshot,
			     &(struct gs_monitor_result){.backend = backend,
							 .class = class,
							 .latency_us = latency_us,
							 .began_ms = scene->loop.now_ms});
}

static int64_t minute_s(void)
{
	return wall_ms / MINUTE_MS * 60;
}

/* To the end of the wall clock's minute and until the rows must have been handed over. */
static void end_minute(struct scene *scene)
{
	run_for(&scene->loop, (uint64_t)(MINUTE_MS - wall_ms % MINUTE_MS));
	run_for(&scene->loop, GS_PROBE_MINUTES_SPREAD_MS);
}

/* ---- what is counted ------------------------------------------------------------------------- */

static void classes_are_counted_as_what_they_are(void **state)
{
	static const struct {
		const char *name;
		enum gs_probe_class classes[6];
		uint32_t results;
		uint32_t count, failures, local;
	} cases[] = {
		{"good", {GS_PROBE_OK, GS_PROBE_OK}, 2, 2, 0, 0},
		{"each failure",
		 {GS_PROBE_REFUSED, GS_PROBE_TIMEOUT, GS_PROBE_RESET, GS_PROBE_STATUS,
		  GS_PROBE_BAD_REPLY, GS_PROBE_NO_ROUTE},
		 6,
		 6,
		 6,
		 0},
		{"our own trouble", {GS_PROBE_LOCAL, GS_PROBE_LOCAL, GS_PROBE_LOCAL}, 3, 0, 0, 3},
		{"all of it", {GS_PROBE_OK, GS_PROBE_LOCAL, GS_PROBE_RESET}, 3, 2, 1, 1},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct gs_probe_minute *row;
		int64_t want_s = minute_s();

		print_message("# %s\n", cases[i].name);
		scene->kept.count = 0;
		for (uint32_t n = 0; n < cases[i].results; n++)
			add(scene, fake_backend(FAKE_US, 1), cases[i].classes[n], 7);
		end_minute(scene);
		assert_int_equal(scene->kept.count, 1);
		row = &scene->kept.rows[0];
		assert_true(row->unix_s == want_s);
		assert_string_equal(row->service, "web");
		assert_string_equal(row->region, "region-2");
		assert_string_equal(row->backend, "backend-2-1");
		assert_int_equal(row->count, cases[i].count);
		assert_int_equal(row->failures, cases[i].failures);
		assert_int_equal(row->local, cases[i].local);
		assert_int_equal(row->p50_us, cases[i].count > cases[i].failures ? 7 : 0);
		assert_int_equal(row->max_us, cases[i].count > cases[i].failures ? 7 : 0);
	}
}

static void nothing_counted_nothing_told(void **state)
{
	struct scene *scene = *state;

	end_minute(scene);
	end_minute(scene);
	assert_int_equal(scene->kept.calls, 0);
	add(scene, 999, GS_PROBE_OK, 7); /* of no snapshot */
	add(scene, GS_MAX_BACKENDS, GS_PROBE_OK, 7);
	add(scene, UINT16_MAX, GS_PROBE_OK, 7);
	end_minute(scene);
	assert_int_equal(scene->kept.calls, 0);
}

static void sort(uint32_t *values, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		uint32_t value = values[i], at = i;

		for (; at > 0 && values[at - 1] > value; at--)
			values[at] = values[at - 1];
		values[at] = value;
	}
}

static void assert_percentile(uint32_t got, const uint32_t *sorted, uint32_t count, double share)
{
	uint32_t at = 0, want;

	if (count == 0) {
		assert_int_equal(got, 0);
		return;
	}
	while (at + 1 < count * share - 1e-9)
		at++;
	want = sorted[at];
	assert_true((uint64_t)(got > want ? got - want : want - got) * 32 <= want);
}

/* Beside lists of all results: hours of them, for all backends, each at random. */
static void as_lists_would_have_it(void **state)
{
	enum { MOST = 700 };
	static uint32_t good[BACKENDS][MOST];
	struct scene *scene = *state;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint32_t goods[BACKENDS] = {0}, bads[BACKENDS] = {0}, locals[BACKENDS] = {0};
		uint64_t random = seed;
		uint32_t results = (uint32_t)(gs_random(&random) % MOST), at = 0;
		int64_t want_s = minute_s();

		print_message("# seed %d, %u results\n", (int)seed, results);
		scene->kept.count = 0;
		for (uint32_t i = 0; i < results; i++) {
			uint32_t b = (uint32_t)(gs_random(&random) % BACKENDS);
			enum gs_probe_class class =
				(enum gs_probe_class)(gs_random(&random) % GS_PROBE_CLASS__COUNT);
			uint32_t us = 1 + (uint32_t)(gs_random(&random) % 60000000);

			if (gs_random(&random) % 2)
				class = GS_PROBE_OK;
			if (class == GS_PROBE_OK)
				good[b][goods[b]++] = us;
			else if (class == GS_PROBE_LOCAL)
				locals[b]++;
			else
				bads[b]++;
			add(scene, (gs_id)(b + 1), class, class == GS_PROBE_OK ? us : 0);
			run_for(&scene->loop, gs_random(&random) % 60);
		}
		end_minute(scene);
		for (uint32_t b = 0; b < BACKENDS; b++) {
			const struct gs_probe_minute *row = &scene->kept.rows[at];

			if (goods[b] + bads[b] + locals[b] == 0)
				continue;
			at++;
			sort(good[b], goods[b]);
			assert_string_equal(row->backend, scene->snapshot->backends[b].name);
			assert_true(row->unix_s == want_s);
			assert_int_equal(row->count, goods[b] + bads[b]);
			assert_int_equal(row->failures, bads[b]);
			assert_int_equal(row->local, locals[b]);
			assert_percentile(row->p50_us, good[b], goods[b], .5);
			assert_percentile(row->p90_us, good[b], goods[b], .9);
			assert_percentile(row->p99_us, good[b], goods[b], .99);
			assert_int_equal(row->max_us, goods[b] ? good[b][goods[b] - 1] : 0);
		}
		assert_int_equal(scene->kept.count, at);
	}
}

/* ---- when ------------------------------------------------------------------------------------ */

/* A probe's minute is the one it ended in, to the millisecond. */
static void minutes_end_with_the_wall_clocks(void **state)
{
	struct scene *scene = *state;
	int64_t first_s = minute_s();

	run_for(&scene->loop, (uint64_t)(MINUTE_MS - wall_ms % MINUTE_MS - 1));
	add(scene, 1, GS_PROBE_OK, 7); /* 59.999 s */
	run_for(&scene->loop, 1);
	add(scene, 1, GS_PROBE_RESET, 0); /* 0.000 s */
	run_for(&scene->loop, GS_PROBE_MINUTES_SPREAD_MS);
	assert_int_equal(scene->kept.count, 1);
	assert_true(scene->kept.rows[0].unix_s == first_s);
	assert_int_equal(scene->kept.rows[0].failures, 0);
	end_minute(scene);
	assert_int_equal(scene->kept.count, 2);
	assert_true(scene->kept.rows[1].unix_s == first_s + 60);
	assert_int_equal(scene->kept.rows[1].failures, 1);
	assert_int_equal(scene->kept.rows[1].count, 1);
}

/* A hundred edges, the same wall clock: all within ten seconds of the minute, and not in step. */
static void edges_do_not_write_in_step(void **state)
{
	static struct kept kept[EDGES];
	struct scene *scene = *state;
	struct gs_probe_minutes *edges[EDGES];
	struct gs_store stores[EDGES];
	uint32_t seconds[10] = {0}, changed = 0;
	int64_t first_offset[EDGES];

	memset(kept, 0, sizeof(kept));
	for (uint32_t e = 0; e < EDGES; e++) {
		kept[e].loop = &scene->loop;
		stores[e] = (struct gs_store){.ops = &KEEPING, .self = &kept[e]};
		assert_int_equal(gs_probe_minutes_new(&scene->loop, &stores[e], e, &edges[e]), 0);
	}
	for (int minute = 0; minute < 2; minute++) {
		for (uint32_t e = 0; e < EDGES; e++)
			gs_probe_minutes_add(edges[e], scene->snapshot,
					     &(struct gs_monitor_result){.backend = 1});
		end_minute(scene);
		for (uint32_t e = 0; e < EDGES; e++) {
			int64_t offset = kept[e].call_wall_ms % MINUTE_MS;

			assert_int_equal(kept[e].calls, minute + 1);
			assert_in_range(offset, 0, GS_PROBE_MINUTES_SPREAD_MS - 1);
			if (minute == 0)
				seconds[offset / 1000]++;
			else
				changed += offset != first_offset[e];
			first_offset[e] = offset;
		}
	}
	for (int s = 0; s < 10; s++) /* ten expected */
		assert_in_range(seconds[s], 2, 25);
	assert_true(changed > EDGES / 2); /* nobody is always the last one */
	for (uint32_t e = 0; e < EDGES; e++)
		gs_probe_minutes_free(edges[e]);
}

/* The clock is set, forwards and backwards, by a little and by a lot: every result is told once. */
static void clocks_may_jump(void **state)
{
	static const int64_t jumps_ms[] = {1,	   -1,	  30000,   -30000,   59999,
					   -59999, 60000, 3600000, -3600000, -86400000};
	struct scene *scene = *state;
	uint32_t added = 0, told = 0;

	for (size_t i = 0; i < ARRAY_SIZE(jumps_ms); i++) {
		for (int n = 0; n < 50; n++) {
			add(scene, 1, GS_PROBE_OK, 7);
			added++;
			run_for(&scene->loop, 3100);
			if (n == 20)
				wall_ms += jumps_ms[i];
		}
	}
	run_for(&scene->loop, 2 * MINUTE_MS);
	for (uint32_t i = 0; i < scene->kept.count; i++) {
		told += scene->kept.rows[i].count;
		assert_int_equal(scene->kept.rows[i].unix_s % 60, 0);
	}
	assert_int_equal(told, added);
}

static void a_late_loop_loses_nothing(void **state)
{
	struct scene *scene = *state;

	add(scene, 1, GS_PROBE_OK, 7);
	stall_for(&scene->loop, 5 * MINUTE_MS);
	end_minute(scene);
	assert_int_equal(scene->kept.count, 1);
	assert_int_equal(scene->kept.rows[0].count, 1);
}

/* ---- who ------------------------------------------------------------------------------------- */

/* Names are the minute's first ones; who goes in a minute is told of it, and then forgotten. */
static void configuration_changes_within_a_minute(void **state)
{
	struct scene *scene = *state;

	add(scene, 1, GS_PROBE_OK, 7);
	add(scene, BACKENDS, GS_PROBE_OK, 7);
	strcpy(scene->snapshot->backends[0].name, "renamed");
	scene->snapshot->backend_count--; /* the last one is gone */
	add(scene, 1, GS_PROBE_OK, 7);
	add(scene, BACKENDS, GS_PROBE_OK,
	    7); /* on its way when it went: it had begun this minute */
	end_minute(scene);
	assert_int_equal(scene->kept.count, 2);
	assert_string_equal(scene->kept.rows[0].backend, "backend-1-0");
	assert_int_equal(scene->kept.rows[0].count, 2);
	assert_string_equal(scene->kept.rows[1].backend, "backend-3-1");
	add(scene, 1, GS_PROBE_OK, 7);
	add(scene, BACKENDS, GS_PROBE_OK, 7);
	end_minute(scene);
	assert_int_equal(scene->kept.count, 3);
	assert_string_equal(scene->kept.rows[2].backend, "renamed");
}

static void freed_at_any_moment(void **state)
{
	struct scene *scene = *state;

	for (uint32_t ms = 0; ms < 200000; ms += 997) {
		struct gs_probe_minutes *minutes;

		assert_int_equal(gs_probe_minutes_new(&scene->loop, &scene->store, ms, &minutes),
				 0);
		gs_probe_minutes_add(minutes, scene->snapshot,
				     &(struct gs_monitor_result){.backend = 1});
		run_for(&scene->loop, ms % (MINUTE_MS + GS_PROBE_MINUTES_SPREAD_MS));
		gs_probe_minutes_free(minutes);
	}
	gs_probe_minutes_free(NULL);
}

static void no_memory_for_the_timer(void **state)
{
	struct scene *scene = *state;
	struct gs_probe_minutes *minutes = NULL;

	scene->loop.timer_error = -ENOMEM;
	assert_int_equal(gs_probe_minutes_new(&scene->loop, &scene->store, 1, &minutes), -ENOMEM);
	assert_null(minutes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(classes_are_counted_as_what_they_are),
		TEST(nothing_counted_nothing_told),
		TEST(as_lists_would_have_it),
		TEST(minutes_end_with_the_wall_clocks),
		TEST(edges_do_not_write_in_step),
		TEST(clocks_may_jump),
		TEST(a_late_loop_loses_nothing),
		TEST(configuration_changes_within_a_minute),
		TEST(freed_at_any_moment),
		TEST(no_memory_for_the_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
