/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/core/accord.h"

#include <string.h>

enum { EDGES_MAX = 256, LARGE = EDGES_MAX };

/* One that runs on what all should. */
static struct gs_accord_edge usual(void)
{
	return (struct gs_accord_edge){.revision = 7,
				       .digest = 0xd,
				       .geo_digest = 0x9,
				       .selection_seed = 0x5,
				       .version = "1.0",
				       .is_compared = true};
}

static struct gs_accord_edge with_geo(uint64_t geo)
{
	struct gs_accord_edge edge = usual();

	edge.geo_digest = geo;
	edge.digest ^= geo << 8;
	return edge;
}

static struct gs_accord_edge with_seed(void)
{
	struct gs_accord_edge edge = usual();

	edge.selection_seed++;
	edge.digest++;
	return edge;
}

static struct gs_accord_edge with_plans(uint64_t digest)
{
	struct gs_accord_edge edge = usual();

	edge.digest = digest;
	return edge;
}

static struct gs_accord_edge of_program(const char *version, uint64_t digest)
{
	struct gs_accord_edge edge = with_plans(digest);

	edge.version = version;
	return edge;
}

static struct gs_accord_edge at_revision(uint64_t revision, uint64_t digest)
{
	struct gs_accord_edge edge = with_plans(digest);

	edge.revision = revision;
	return edge;
}

static struct gs_accord_edge silent(struct gs_accord_edge edge)
{
	edge.is_compared = false;
	return edge;
}

static void edges_are_compared_with_the_most(void **state)
{
	const struct {
		const char *name;
		uint32_t count;
		struct gs_accord_edge edges[5];
		uint32_t want[5];
	} cases[] = {
		{"alone", 1, {usual()}, {0}},
		{"alike", 3, {usual(), usual(), usual()}, {0}},
		{"nobody there", 2, {silent(usual()), silent(with_seed())}, {0}},
		{"another database", 3, {usual(), with_geo(3), usual()}, {[1] = GS_DIFFERS_GEO}},
		{"another seed", 3, {with_seed(), usual(), usual()}, {GS_DIFFERS_SEED}},
		{"nothing explains it",
		 4,
		 {usual(), usual(), usual(), with_plans(1)},
		 {[3] = GS_DIFFERS_PLANS}},
		{"another program that decides otherwise",
		 3,
		 {usual(), usual(), of_program("2.0", 1)},
		 {[2] = GS_DIFFERS_PROGRAM}},
		{"another program that decides alike",
		 3,
		 {usual(), usual(), of_program("2.0", usual().digest)},
		 {0}},
		{"two, and nobody knows who is right",
		 2,
		 {usual(), with_geo(3)},
		 {GS_DIFFERS_GEO, GS_DIFFERS_GEO}},
		{"two against two, one against all",
		 5,
		 {usual(), with_geo(3), usual(), with_geo(3), with_plans(1)},
		 {GS_DIFFERS_GEO, GS_DIFFERS_GEO, GS_DIFFERS_GEO, GS_DIFFERS_GEO,
		  GS_DIFFERS_PLANS}},
		{"one that is not there is nobody's measure",
		 3,
		 {usual(), silent(with_geo(3)), silent(with_geo(3))},
		 {0}},
		{"behind, and compared with nobody",
		 4,
		 {at_revision(6, 1), usual(), usual(), at_revision(6, 2)},
		 {GS_DIFFERS_REVISION, 0, 0, GS_DIFFERS_REVISION}},
		{"the first to be ahead",
		 3,
		 {at_revision(6, 1), at_revision(6, 1), usual()},
		 {GS_DIFFERS_REVISION, GS_DIFFERS_REVISION, 0}},
		{"one ahead that is not there", 2, {usual(), silent(at_revision(9, 1))}, {0}},
		{"three ways",
		 5,
		 {with_geo(3), usual(), usual(), with_seed(), usual()},
		 {GS_DIFFERS_GEO, 0, 0, GS_DIFFERS_SEED, 0}},
	};

	(void)state;
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct gs_accord_edge edges[5];
		uint32_t differing = 0;

		memcpy(edges, cases[c].edges, sizeof(edges));
		for (uint32_t i = 0; i < cases[c].count; i++)
			differing += cases[c].want[i] != 0;
		if (gs_accord_judge(edges, cases[c].count) != differing)
			fail_msg("%s: not %u", cases[c].name, differing);
		for (uint32_t i = 0; i < cases[c].count; i++)
			if (edges[i].differs != cases[c].want[i])
				fail_msg("%s: edge %u differs in %#x", cases[c].name, i,
					 edges[i].differs);
	}
}

/* Whoever reads it, in whatever order: who differs, and in what, is the same. */
static void the_order_does_not_matter(void **state)
{
	struct gs_accord_edge edges[LARGE], turned[LARGE];

	(void)state;
	for (int i = 0; i < LARGE; i++)
		edges[i] = i % 4 == 1	 ? with_geo(3)
			   : i % 16 == 2 ? with_plans(1)
			   : i % 32 == 4 ? silent(with_seed())
					 : usual();
	for (int i = 0; i < LARGE; i++)
		turned[LARGE - 1 - i] = edges[i];
	assert_int_equal(gs_accord_judge(edges, LARGE), LARGE / 4 + LARGE / 16);
	assert_int_equal(gs_accord_judge(turned, LARGE), LARGE / 4 + LARGE / 16);
	for (int i = 0; i < LARGE; i++)
		assert_int_equal(edges[i].differs, turned[LARGE - 1 - i].differs);
}

static void words_name_it(void **state)
{
	char text[GS_DIFFERS_TEXT_MAX], small[8];
	const uint32_t all = GS_DIFFERS_REVISION | GS_DIFFERS_GEO | GS_DIFFERS_SEED |
			     GS_DIFFERS_PROGRAM | GS_DIFFERS_PLANS;

	(void)state;
	assert_string_equal(gs_differs_words(0, text, sizeof(text)), "");
	assert_string_equal(gs_differs_words(GS_DIFFERS_PLANS, text, sizeof(text)), "plans");
	assert_string_equal(
		gs_differs_words(GS_DIFFERS_GEO | GS_DIFFERS_PROGRAM, text, sizeof(text)),
		"GeoIP database, program");
	assert_string_equal(
		gs_differs_words(all, text, sizeof(text)),
		"configuration revision, GeoIP database, selection seed, program, plans");
	assert_string_equal(gs_differs_words(all, small, sizeof(small)), "configu");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges_are_compared_with_the_most),
		cmocka_unit_test(the_order_does_not_matter),
		cmocka_unit_test(words_name_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
