/* SPDX-License-Identifier: Apache-2.0 */
/* What clients see, under times that the tests choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/app/round_trips.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <stdlib.h>
#include <string.h>

enum { START_MS = 7 * GS_ROUND_TRIPS_WINDOW_MS, WEB = 3, FRA = 1, SYD = 2, BERLIN = 300 };

static int set_up(void **state)
{
	struct gs_round_trips *trips = NULL;
	int ret = gs_round_trips_new(42, &trips);

	*state = trips;
	return ret;
}

static int tear_down(void **state)
{
	gs_round_trips_free(*state);
	return 0;
}

/* From the n-th /24. */
static struct gs_handshake shake(uint32_t n, uint32_t rtt_us)
{
	struct gs_handshake handshake = {
		.rtt_us = rtt_us,
		.service = WEB,
		.region = FRA,
		.backend = 9,
		.location = BERLIN,
		.client = {.length = 24, .is_v4 = true},
	};

	handshake.client.addr.bytes[12] = (uint8_t)(n >> 16);
	handshake.client.addr.bytes[13] = (uint8_t)(n >> 8);
	handshake.client.addr.bytes[14] = (uint8_t)n;
	return handshake;
}

/* The median of the newest, of this many milliseconds apart: what a change comes to, and when. */
static void recent_ones_speak(void **state)
{
	static const struct {
		uint32_t apart_ms, before, after; /* of 20 ms, then of 90 ms */
		uint32_t want_us;
	} cases[] = {
		{60000, 1, 0, 20000},  {60000, 5, 2, 20000}, {60000, 5, 3, 90000},
		{1000, 9, 5, 20000},   {1000, 9, 14, 90000}, {1000, 40, 4, 20000},
		{1000, 40, 12, 90000}, {20000, 9, 2, 20000}, {20000, 9, 4, 90000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t now_ms = START_MS + i * 100 * GS_ROUND_TRIPS_WINDOW_MS;
		struct gs_recent_trip trip;
		struct gs_handshake handshake;

		gs_round_trips_forget_locations(*state);
		for (uint32_t n = 0; n < cases[i].before + cases[i].after; n++) {
			handshake = shake((uint32_t)(i * 1000 + n),
					  n < cases[i].before ? 20000 : 90000);
			now_ms += cases[i].apart_ms;
			assert_true(gs_round_trips_add(*state, &handshake, now_ms));
		}
		assert_true(gs_round_trips_recent(*state, BERLIN, FRA, now_ms + 700, &trip));
		if (trip.us != cases[i].want_us)
			fail_msg("case %zu: %u", i, trip.us);
		assert_int_equal(trip.age_ms, 700);
		assert_false(gs_round_trips_recent(*state, BERLIN, SYD, now_ms, &trip));
	}
}

/* One client that sends more than all others is one of them. */
static void one_prefix_has_one_vote(void **state)
{
	struct gs_recent_trip trip;

	for (uint32_t n = 0; n < 3; n++) {
		struct gs_handshake handshake = shake(n, 20000);

		assert_true(gs_round_trips_add(*state, &handshake, START_MS));
	}
	for (uint32_t n = 0; n < 10; n++) {
		struct gs_handshake handshake = shake(7, 900000);

		assert_true(gs_round_trips_add(*state, &handshake, START_MS));
	}
	assert_true(gs_round_trips_recent(*state, BERLIN, FRA, START_MS, &trip));
	assert_int_equal(trip.us, 20000);
	assert_int_equal(trip.count, 13);
}

/*
 * Who has given its share of a window is followed all the same, and is one of many as ever: of
 * clients that had 20 ms, one goes on, at 90 ms.
 */
static void who_sends_much_is_followed(void **state)
{
	static const struct {
		uint32_t others, sends; /* each once; of the one, in a window */
		uint32_t want_us;
	} cases[] = {{0, 1000, 90000},
		     {1, 1000, 20000},
		     {2, 1000, 20000},
		     {9, 1000, 20000},
		     {9, 3, 20000}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_recent_trip trip;
		struct gs_handshake handshake;

		gs_round_trips_forget_locations(*state);
		for (uint32_t n = 0; n < 100; n++) {
			handshake = shake(7, 20000);
			gs_round_trips_add(*state, &handshake, START_MS);
		}
		for (uint32_t n = 0; n < cases[i].others; n++) {
			handshake = shake(100 + n, 20000);
			gs_round_trips_add(*state, &handshake, START_MS);
		}
		for (uint32_t n = 0; n < cases[i].sends; n++) {
			handshake = shake(7, 90000);
			gs_round_trips_add(*state, &handshake, START_MS + 1);
		}
		assert_true(gs_round_trips_recent(*state, BERLIN, FRA, START_MS + 1, &trip));
		if (trip.us != cases[i].want_us)
			fail_msg("case %zu: %u", i, trip.us);
	}
}

/* Who was there, and is no more, has no vote for long. */
static void who_has_gone_is_heard_no_more(void **state)
{
	struct gs_recent_trip trip;
	struct gs_handshake handshake;

	for (uint32_t n = 0; n < 200; n++) {
		handshake = n < 20 ? shake(9, 20000) : shake(7, 90000);
		gs_round_trips_add(*state, &handshake, START_MS + n * 1000);
		assert_true(gs_round_trips_recent(*state, BERLIN, FRA, START_MS + n * 1000, &trip));
		assert_int_equal(trip.us, n < 50 ? 20000 : 90000);
	}
}

/* One of few that had to be repeated, a second later, is not what these clients have. */
static void a_lost_syn_says_nothing(void **state)
{
	static const uint32_t us[] = {20000, 1020000};
	struct gs_recent_trip trip;

	for (uint32_t n = 0; n < 2; n++) {
		struct gs_handshake handshake = shake(n, us[n]);

		assert_true(gs_round_trips_add(*state, &handshake, START_MS));
		assert_true(gs_round_trips_recent(*state, BERLIN, FRA, START_MS, &trip));
		assert_int_equal(trip.us, 20000);
		assert_int_equal(trip.count, n + 1);
	}
}

static void only_what_is_new_comes_next(void **state)
{
	struct gs_handshake handshake = shake(1, 20000);
	struct gs_recent_trip trip;
	uint32_t at = 0;

	assert_true(gs_round_trips_add(*state, &handshake, START_MS));
	handshake.location = BERLIN + 1;
	assert_true(gs_round_trips_add(*state, &handshake, START_MS + 5));
	assert_true(gs_round_trips_next_recent(*state, &at, START_MS + 1, START_MS + 9, &trip));
	assert_int_equal(trip.id, BERLIN + 1);
	assert_int_equal(trip.age_ms, 4);
	assert_false(gs_round_trips_next_recent(*state, &at, START_MS + 1, START_MS + 9, &trip));
	/* Nor what the windows have forgotten. */
	at = 0;
	assert_false(gs_round_trips_next_recent(*state, &at, 0,
						START_MS + 3 * GS_ROUND_TRIPS_WINDOW_MS, &trip));
}

static bool is_known(struct gs_round_trips *trips, uint64_t now_ms)
{
	struct gs_round_trip trip;

	return gs_round_trips_get(trips, GS_ROUND_TRIPS_LOCATION, BERLIN, FRA, now_ms, &trip);
}

static void one_handshake_counts_for_its_location_and_its_service(void **state)
{
	struct gs_handshake handshake = shake(1, 40000);
	struct gs_round_trip trip;

	assert_true(gs_round_trips_add(*state, &handshake, START_MS));
	assert_true(
		gs_round_trips_get(*state, GS_ROUND_TRIPS_LOCATION, BERLIN, FRA, START_MS, &trip));
	assert_int_equal(trip.id, BERLIN);
	assert_int_equal(trip.region, FRA);
	assert_int_equal(trip.count, 1);
	assert_int_equal(trip.p50_us, 40000);
	assert_true(gs_round_trips_get(*state, GS_ROUND_TRIPS_SERVICE, WEB, FRA, START_MS, &trip));
	assert_int_equal(trip.count, 1);
	assert_false(
		gs_round_trips_get(*state, GS_ROUND_TRIPS_LOCATION, BERLIN, SYD, START_MS, &trip));
	assert_false(
		gs_round_trips_get(*state, GS_ROUND_TRIPS_LOCATION, WEB, FRA, START_MS, &trip));
	assert_false(
		gs_round_trips_get(*state, GS_ROUND_TRIPS_SERVICE, BERLIN, FRA, START_MS, &trip));
}

static void what_cannot_be_is_not_believed(void **state)
{
	static const struct {
		const char *name;
		uint32_t rtt_us;
		gs_id service, region;
		bool is_believed;
	} cases[] = {
		{"no time", 0, WEB, FRA, false},
		{"the least", 1, WEB, FRA, true},
		{"the most", GS_ROUND_TRIPS_MAX_US, WEB, FRA, true},
		{"longer than the most", GS_ROUND_TRIPS_MAX_US + 1, WEB, FRA, false},
		{"no service", 1000, 0, FRA, false},
		{"a service there cannot be", 1000, GS_MAX_SERVICES, FRA, false},
		{"no region", 1000, WEB, 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_handshake handshake = shake(1, cases[i].rtt_us);

		print_message("# %s\n", cases[i].name);
		handshake.service = cases[i].service;
		handshake.region = cases[i].region;
		assert_int_equal(gs_round_trips_add(*state, &handshake, START_MS),
				 cases[i].is_believed);
	}
}

static void samples_pass_after_five_to_ten_minutes(void **state)
{
	static const struct {
		const char *name;
		uint64_t added_ms, asked_ms;
		bool is_known;
	} cases[] = {
		{"at once", 0, 0, true},
		{"the end of its window", 0, GS_ROUND_TRIPS_WINDOW_MS - 1, true},
		{"the next window", 0, 2 * GS_ROUND_TRIPS_WINDOW_MS - 1, true},
		{"the one after", 0, 2 * GS_ROUND_TRIPS_WINDOW_MS, false},
		{"late in its window", GS_ROUND_TRIPS_WINDOW_MS - 1,
		 2 * GS_ROUND_TRIPS_WINDOW_MS - 1, true},
		{"five minutes later", GS_ROUND_TRIPS_WINDOW_MS - 1, 2 * GS_ROUND_TRIPS_WINDOW_MS,
		 false},
		{"long after", 0, 1000ULL * GS_ROUND_TRIPS_WINDOW_MS, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_handshake handshake = shake(1, 1000);
		struct gs_round_trips *trips;
		bool known;
		(void)state;

		print_message("# %s\n", cases[i].name);
		assert_int_equal(gs_round_trips_new(i, &trips), 0);
		gs_round_trips_add(trips, &handshake, START_MS + cases[i].added_ms);
		known = is_known(trips, START_MS + cases[i].asked_ms);
		gs_round_trips_free(trips);
		assert_int_equal(known, cases[i].is_known);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static void assert_near(uint32_t got, uint32_t want)
{
	assert_true((uint64_t)(got > want ? got - want : want - got) * 32 <= want);
}

/* Both windows together, beside a sorted list of all: at random, from clients of everywhere. */
static void quantiles_as_a_list_has_them(void **state)
{
	enum { MOST = 3000 };
	static uint32_t list[MOST];
	(void)state;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		uint64_t random = seed;
		uint32_t offered = 1 + (uint32_t)(gs_random(&random) % MOST), count = 0;
		struct gs_round_trips *trips;
		struct gs_round_trip trip;

		assert_int_equal(gs_round_trips_new(seed, &trips), 0);
		for (uint32_t i = 0; i < offered; i++) {
			uint32_t rtt_us = 1 + ((uint32_t)gs_random(&random) & 0xfffff);
			struct gs_handshake handshake =
				shake((uint32_t)gs_random(&random), rtt_us >> (i % 8));

			if (handshake.rtt_us == 0)
				continue;
			if (gs_round_trips_add(trips, &handshake,
					       START_MS + 2ULL * GS_ROUND_TRIPS_WINDOW_MS * i /
								  offered))
				list[count++] = handshake.rtt_us;
		}
		/* Clients of everywhere are hardly ever refused. */
		assert_true(count + count / 20 + 3 >= offered);
		qsort(list, count, sizeof(list[0]), compare);
		assert_true(gs_round_trips_get(trips, GS_ROUND_TRIPS_LOCATION, BERLIN, FRA,
					       START_MS + 2 * GS_ROUND_TRIPS_WINDOW_MS - 1, &trip));
		gs_round_trips_free(trips);
		assert_int_equal(trip.count, count);
		assert_near(trip.p50_us, list[(count * 50ULL + 99) / 100 - 1]);
		assert_near(trip.p90_us, list[(count * 90ULL + 99) / 100 - 1]);
		assert_near(trip.p99_us, list[(count * 99ULL + 99) / 100 - 1]);
		assert_int_equal(trip.max_us, list[count - 1]);
	}
}

/* Whoever forges handshakes of one prefix moves the high percentiles, not the median. */
static void one_prefix_does_not_outvote_the_others(void **state)
{
	struct gs_round_trip trip;

	for (uint32_t i = 0; i < 2000; i++) {
		struct gs_handshake honest = shake(i * 257, 20000);

		gs_round_trips_add(*state, &honest, START_MS);
		for (uint32_t n = 0; n < 10; n++) {
			struct gs_handshake forged = shake(0xcb0071, 9000000);

			gs_round_trips_add(*state, &forged, START_MS);
		}
	}
	assert_true(
		gs_round_trips_get(*state, GS_ROUND_TRIPS_LOCATION, BERLIN, FRA, START_MS, &trip));
	assert_near(trip.p50_us, 20000);
	assert_in_range(trip.count, 2000, 2800);
}

/* More pairs than there is room for: what is heard of stays, all that is told is true. */
static void memory_has_an_end(void **state)
{
	struct gs_handshake busy = shake(1, 5000);
	struct gs_round_trip trip;
	uint32_t at = 0, count = 0;

	for (uint32_t i = 0; i < 65536; i++) {
		struct gs_handshake handshake = shake(i, 1000 + i % 8);

		handshake.location = (uint16_t)i;
		handshake.region = SYD;
		gs_round_trips_add(*state, &handshake, START_MS + i);
		if (i % 16 == 0) {
			busy.client = handshake.client;
			gs_round_trips_add(*state, &busy, START_MS + i);
		}
	}
	assert_true(is_known(*state, START_MS + 65536));
	while (gs_round_trips_next(*state, GS_ROUND_TRIPS_LOCATION, &at, START_MS + 65536, &trip)) {
		count++;
		if (trip.region == SYD) {
			assert_int_equal(trip.count, 1);
			assert_int_equal(trip.max_us, 1000 + trip.id % 8);
		}
	}
	assert_int_equal(count, GS_ROUND_TRIPS_PAIRS);
	at = count = 0;
	while (gs_round_trips_next(*state, GS_ROUND_TRIPS_SERVICE, &at, START_MS + 65536, &trip))
		count++;
	assert_int_equal(count, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void other_locations_keep_services(void **state)
{
	struct gs_handshake handshake = shake(1, 40000);
	struct gs_round_trip trip;

	assert_true(gs_round_trips_add(*state, &handshake, START_MS));
	gs_round_trips_forget_locations(*state);
	assert_false(is_known(*state, START_MS));
	assert_true(gs_round_trips_get(*state, GS_ROUND_TRIPS_SERVICE, WEB, FRA, START_MS, &trip));
	assert_true(gs_round_trips_add(*state, &handshake, START_MS));
	assert_true(is_known(*state, START_MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(other_locations_keep_services),
		TEST(one_handshake_counts_for_its_location_and_its_service),
		TEST(recent_ones_speak),
		TEST(one_prefix_has_one_vote),
		TEST(who_sends_much_is_followed),
		TEST(who_has_gone_is_heard_no_more),
		TEST(a_lost_syn_says_nothing),
		TEST(only_what_is_new_comes_next),
		TEST(what_cannot_be_is_not_believed),
		TEST(samples_pass_after_five_to_ten_minutes),
		TEST(quantiles_as_a_list_has_them),
		TEST(one_prefix_does_not_outvote_the_others),
		TEST(memory_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
