/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/fence.h"
#include "user/core/place.h"
#include "user/core/rank.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <string.h>

static void parses_what_it_formats(void **state)
{
	static const char *const texts[] = {
		"everybody",	      "continent:EU",	   "continent:AN",
		"country:DE",	      "country:XK",	   "subdivision:US-CA",
		"subdivision:GB-ENG", "subdivision:FR-75", "subdivision:AT-9"};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char text[GS_PLACE_TEXT_MAX];
		struct gs_place place;

		if (gs_place_parse(texts[i], &place) != 0)
			fail_msg("%s: refused", texts[i]);
		assert_true(gs_place_is_valid(&place));
		assert_string_equal(gs_place_format(&place, text), texts[i]);
		for (size_t j = 0; j < ARRAY_SIZE(texts); j++) {
			struct gs_place other;

			assert_int_equal(gs_place_parse(texts[j], &other), 0);
			assert_int_equal(gs_place_compare(&place, &other) == 0, i == j);
		}
	}
}

static void refuses(void **state)
{
	static const char *const texts[] = {"",
					    "DE",
					    "everybody:",
					    "everybody:EU",
					    "country",
					    "country:",
					    "country:de",
					    "country:DEU",
					    "country:D1",
					    "continent:DE",
					    "continent:eu",
					    "continent:",
					    "subdivision:US",
					    "subdivision:US-",
					    "subdivision:USCA",
					    "subdivision:US-CALI",
					    "subdivision:US-ca",
					    "subdivision:us-CA",
					    "city:Berlin",
					    "countr:DE",
					    "country :DE",
					    "country:DE ",
					    "subdivision:US-CALIFORNIAAAAAAAAAAAA",
					    "2001:db8::/32"};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct gs_place place = {.code = "untouched"};

		if (gs_place_parse(texts[i], &place) != -EINVAL)
			fail_msg("'%s': taken", texts[i]);
		assert_string_equal(place.code, "untouched");
	}
	assert_false(gs_place_is_valid(&(struct gs_place){.kind = GS_PLACE__COUNT}));
	assert_false(
		gs_place_is_valid(&(struct gs_place){.kind = GS_PLACE_EVERYBODY, .code = "X"}));
	assert_false(gs_place_is_valid(&(struct gs_place){
		GS_PLACE_COUNTRY, {'D', 'E', 'D', 'E', 'D', 'E', 'D', 'E', 'D', 'E', 'D', 'E'}}));
}

static const struct gs_location BERLIN = {.country = "DE", .continent = "EU", .subdivision = "BE"};
static const struct gs_location GERMANY = {.country = "DE", .continent = "EU"};
static const struct gs_location EUROPE = {.continent = "EU"};
static const struct gs_location NOWHERE;

static void holds(void **state)
{
	static const struct {
		const char *place;
		enum gs_place_answer berlin, germany, europe, nowhere;
	} cases[] = {
		{"everybody", GS_PLACE_YES, GS_PLACE_YES, GS_PLACE_YES, GS_PLACE_YES},
		{"continent:EU", GS_PLACE_YES, GS_PLACE_YES, GS_PLACE_YES, GS_PLACE_UNKNOWN},
		{"continent:AS", GS_PLACE_NO, GS_PLACE_NO, GS_PLACE_NO, GS_PLACE_UNKNOWN},
		{"country:DE", GS_PLACE_YES, GS_PLACE_YES, GS_PLACE_UNKNOWN, GS_PLACE_UNKNOWN},
		{"country:FR", GS_PLACE_NO, GS_PLACE_NO, GS_PLACE_UNKNOWN, GS_PLACE_UNKNOWN},
		{"subdivision:DE-BE", GS_PLACE_YES, GS_PLACE_UNKNOWN, GS_PLACE_UNKNOWN,
		 GS_PLACE_UNKNOWN},
		{"subdivision:DE-BY", GS_PLACE_NO, GS_PLACE_UNKNOWN, GS_PLACE_UNKNOWN,
		 GS_PLACE_UNKNOWN},
		{"subdivision:US-BE", GS_PLACE_NO, GS_PLACE_NO, GS_PLACE_UNKNOWN, GS_PLACE_UNKNOWN},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_place place;

		assert_int_equal(gs_place_parse(cases[i].place, &place), 0);
		if (gs_place_holds(&place, &BERLIN) != cases[i].berlin ||
		    gs_place_holds(&place, &GERMANY) != cases[i].germany ||
		    gs_place_holds(&place, &EUROPE) != cases[i].europe ||
		    gs_place_holds(&place, &NOWHERE) != cases[i].nowhere)
			fail_msg("%s", cases[i].place);
	}
}

static struct gs_place place(const char *text)
{
	struct gs_place parsed = {.code = ""};

	assert_int_equal(gs_place_parse(text, &parsed), 0);
	return parsed;
}

static void smallest_place_wins(void **state)
{
	struct gs_override overrides[] = {
		{.region = 1, .place = place("continent:EU")},
		{.region = 9}, /* of a prefix: not asked here */
		{.region = 2, .place = place("subdivision:DE-BE")},
		{.region = 3, .place = place("country:DE")},
	};
	struct gs_snapshot snapshot = {.overrides = overrides, .override_count = 4};
	(void)state;

	assert_int_equal(gs_snapshot_place_override(&snapshot, &BERLIN)->region, 2);
	assert_int_equal(gs_snapshot_place_override(&snapshot, &GERMANY)->region, 3);
	assert_int_equal(gs_snapshot_place_override(&snapshot, &EUROPE)->region, 1);
	assert_null(gs_snapshot_place_override(&snapshot, &NOWHERE));
}

/* Fences of service 0 are of every service; unknown clients are free unless the fence says so. */
static void fences(void **state)
{
	struct gs_fence list[] = {
		{.place = place("everybody"), .region_count = 3, .regions = {1, 2, 200}},
		{.place = place("continent:EU"),
		 .service = 7,
		 .holds_unknown = true,
		 .region_count = 2,
		 .regions = {2, 3}},
		{.place = place("country:DE"), .region_count = 1, .regions = {3}},
	};
	struct gs_snapshot snapshot = {.fences = list, .fence_count = 3};
	static const struct {
		const struct gs_location *location;
		gs_id service;
		uint64_t want; /* of regions 0 .. 63 */
	} cases[] = {
		{&NOWHERE, 1, 1 << 1 | 1 << 2}, {&NOWHERE, 7, 1 << 2}, {&EUROPE, 7, 1 << 2},
		{&EUROPE, 1, 1 << 1 | 1 << 2},	{&GERMANY, 1, 0},      {&GERMANY, 7, 0},
	};
	struct gs_fence_set none = {{0}}, both;
	struct gs_region_set left;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_fence_set of_location =
			gs_fences_of_location(&snapshot, cases[i].location);
		struct gs_fence_set of_service = gs_fences_of_service(&snapshot, cases[i].service);

		both = gs_fences_both(&of_location, &of_service);
		assert_false(gs_fences_are_none(&both));
		left = gs_fences_leave(&snapshot, &both);
		if (left.words[0] != cases[i].want)
			fail_msg("case %zu: %llx", i, (unsigned long long)left.words[0]);
		assert_int_equal(gs_region_set_has(&left, 200),
				 cases[i].service == 1 && cases[i].location != &GERMANY);
	}
	assert_true(gs_fences_are_none(&none));
	left = gs_fences_leave(&snapshot, &none);
	assert_true(gs_region_set_has(&left, 255) && gs_region_set_has(&left, 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_it_formats),
		cmocka_unit_test(refuses),
		cmocka_unit_test(holds),
		cmocka_unit_test(smallest_place_wins),
		cmocka_unit_test(fences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
