/* SPDX-License-Identifier: Apache-2.0 */
/* What many edges' votes come to; and when an edge does not trust its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/quorum.h"
#include "user/core/random.h"
#include "user/core/self.h"

#include <string.h>

enum { START_MS = 1000000 };

static const struct gs_quorum_rule HALF = {.down_permille = GS_QUORUM_DOWN_PERMILLE};

/* "d" down, "u" up, "?" unknown; a space begins another domain. */
static struct gs_tally tally_of(const char *votes)
{
	struct gs_ballot ballots[64];
	uint32_t count = 0;
	uint16_t domain = 0;

	for (; *votes; votes++) {
		if (*votes == ' ') {
			domain++;
			continue;
		}
		ballots[count++] = (struct gs_ballot){
			.domain = domain,
			.vote = *votes == 'd'	? GS_VOTE_DOWN
				: *votes == 'u' ? GS_VOTE_UP
						: GS_VOTE_UNKNOWN,
		};
	}
	return gs_quorum_count(ballots, count);
}

static enum gs_global after(enum gs_global before, uint16_t permille, const char *votes)
{
	struct gs_quorum quorum = {.state = before, .quorate_ms = START_MS};
	const struct gs_quorum_rule rule = {.down_permille = permille};
	struct gs_tally tally = tally_of(votes);

	gs_quorum_step(&quorum, &rule, &tally, START_MS + 1);
	return quorum.state;
}

#define N GS_GLOBAL_NONE
#define U GS_GLOBAL_UP
#define D GS_GLOBAL_DOWN

static void who_decides(void **state)
{
	static const struct {
		const char *name, *votes;
		uint16_t permille;
		enum gs_global before, want;
	} cases[] = {
		{"nobody", "", 500, U, U},
		{"one edge", "d", 500, N, N},
		{"two edges of two sites", "d d", 500, U, U},
		{"three of one site", "ddd", 500, U, U},
		{"three of two sites", "dd d", 500, U, D},
		{"a third who does not know is no third", "dd ?", 500, U, U},
		{"unknown counts for nobody", "dd d ??????", 500, U, D},
		{"the majority of domains, not of edges", "d d uuuuuuuu", 500, U, D},
		{"and the other way round", "dddddddd u u", 500, D, U},
		{"a domain's majority is its word", "ddu du dd", 500, U, D},
		{"halves keep up", "dd uu", 500, U, U},
		{"halves keep down", "dd uu", 500, D, D},
		{"halves of nothing", "dd uu", 500, N, N},
		{"a domain that is split is against both", "dd du uu", 500, U, U},
		{"against down, too", "dd du uu", 500, D, D},
		{"one split, two up", "du u u", 500, D, U},
		{"one of three is not enough", "dd u u", 500, U, U},
		{"two of three", "d d u", 500, U, D},
		{"up again by two of three", "d u u", 500, D, U},
		{"quick to say down: one of five", "d u u u u", 180, U, D},
		{"one of six is less than 18 %", "d u u u u u", 180, U, U},
		{"and up again only with fewer", "d u u u u u", 180, D, U},
		{"slow: all of them", "d d d u", 1000, U, U},
		{"all", "d d d d", 1000, U, D},
		{"slow to say down is quick to say up", "d d d u", 1000, D, U},
		{"exactly the share keeps up", "d d d u u", 600, U, U},
		{"exactly the share keeps down", "d d d u u", 600, D, D},
		{"more than it", "d d d d u", 600, U, D},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s\n", cases[i].name);
		assert_int_equal(after(cases[i].before, cases[i].permille, cases[i].votes),
				 cases[i].want);
	}
}

/* What was decided holds for as long as a vote is believed; then there is no common state. */
static void without_a_quorum_it_ages(void **state)
{
	struct gs_tally enough = tally_of("d d d"), few = tally_of("d d"), up = tally_of("u u u");
	struct gs_quorum quorum = {.state = GS_GLOBAL_NONE};
	(void)state;

	assert_false(gs_quorum_step(&quorum, &HALF, &few, START_MS));
	assert_true(gs_quorum_step(&quorum, &HALF, &enough, START_MS));
	assert_int_equal(quorum.state, GS_GLOBAL_DOWN);
	assert_int_equal(quorum.since_ms, START_MS);
	assert_false(gs_quorum_step(&quorum, &HALF, &enough, START_MS + 5000));
	assert_false(gs_quorum_step(&quorum, &HALF, &few, START_MS + 5000 + GS_VOTE_FRESH_MS - 1));
	assert_int_equal(quorum.state, GS_GLOBAL_DOWN);
	assert_true(gs_quorum_step(&quorum, &HALF, &few, START_MS + 5000 + GS_VOTE_FRESH_MS));
	assert_int_equal(quorum.state, GS_GLOBAL_NONE);
	assert_true(gs_quorum_step(&quorum, &HALF, &up, START_MS + 20000));
	assert_int_equal(quorum.state, GS_GLOBAL_UP);
}

/* Whatever the votes: the order of ballots, and what else says unknown, change nothing. */
static void it_is_a_function_of_the_votes(void **state)
{
	uint64_t seed = 7;
	(void)state;

	for (int round = 0; round < 20000; round++) {
		struct gs_ballot ballots[40];
		uint32_t count = (uint32_t)(gs_random(&seed) % 20);
		struct gs_quorum one = {.state = (enum gs_global)(gs_random(&seed) % 3),
					.quorate_ms = START_MS};
		struct gs_quorum other = one;
		const struct gs_quorum_rule rule = {
			.down_permille = (uint16_t)(180 + gs_random(&seed) % 821)};
		struct gs_tally tally, again;

		for (uint32_t i = 0; i < count; i++)
			ballots[i] = (struct gs_ballot){
				.domain = (uint16_t)(gs_random(&seed) % 5),
				.vote = (enum gs_vote)(gs_random(&seed) % GS_VOTE__COUNT)};
		tally = gs_quorum_count(ballots, count);
		for (uint32_t i = count; i > 1; i--) {
			uint32_t j = (uint32_t)(gs_random(&seed) % i);
			struct gs_ballot swapped = ballots[i - 1];

			ballots[i - 1] = ballots[j];
			ballots[j] = swapped;
		}
		for (uint32_t i = 0; i < 20; i++)
			ballots[count + i] = (struct gs_ballot){.domain = (uint16_t)i};
		again = gs_quorum_count(ballots, count + 20);
		gs_quorum_step(&one, &rule, &tally, START_MS);
		gs_quorum_step(&other, &rule, &again, START_MS);
		assert_int_equal(one.state, other.state);
		/* Nobody says up: never up; nobody says down: never down, but as it was. */
		if (tally.up == 0)
			assert_true(one.state != GS_GLOBAL_UP || one.since_ms == 0);
		if (tally.down == 0)
			assert_true(one.state != GS_GLOBAL_DOWN || one.since_ms == 0);
		if (tally.up + tally.down < GS_QUORUM_VOTERS)
			assert_int_equal(one.since_ms, 0);
	}
}

/* ---- doubt ----------------------------------------------------------------------------------- */

static void when_an_edge_doubts(void **state)
{
	static const struct {
		const char *name;
		struct gs_self_facts facts;
		enum gs_self_state want;
	} cases[] = {
		{"nothing is known", {.regions = 0}, GS_SELF_WELL},
		{"all is well", {.regions = 5, .alive = 5, .steady = 5}, GS_SELF_WELL},
		{"one region of five fails",
		 {.regions = 5, .alive = 5, .steady = 5, .failing = 1},
		 GS_SELF_WELL},
		{"half of them",
		 {.regions = 4, .alive = 4, .steady = 4, .failing = 2},
		 GS_SELF_WELL},
		{"more than half",
		 {.regions = 5, .alive = 5, .steady = 5, .failing = 3},
		 GS_SELF_FAILING},
		{"more than half of those that answered",
		 {.regions = 5, .alive = 3, .steady = 3, .failing = 2},
		 GS_SELF_FAILING},
		{"the only one there is", {.regions = 1, .steady = 1, .failing = 1}, GS_SELF_WELL},
		{"the last one that answered",
		 {.regions = 4, .alive = 1, .steady = 1, .failing = 1},
		 GS_SELF_WELL},
		{"nobody answers, since long ago", {.regions = 2}, GS_SELF_SILENT},
		{"one of two", {.regions = 2, .alive = 1, .steady = 1}, GS_SELF_WELL},
		{"late", {.regions = 3, .alive = 3, .is_late = true}, GS_SELF_LATE},
		{"no carrier",
		 {.regions = 3, .alive = 3, .has_no_carrier = true},
		 GS_SELF_NO_CARRIER},
		{"no anchor",
		 {.alive = 3, .regions = 3, .anchors = 2, .anchors_silent = 2},
		 GS_SELF_ANCHORS},
		{"one anchor is silent",
		 {.alive = 3, .regions = 3, .anchors = 2, .anchors_silent = 1},
		 GS_SELF_WELL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_self self = {.state = GS_SELF_WELL};
		char text[96];

		print_message("# %s\n", cases[i].name);
		assert_int_equal(gs_self_step(&self, &cases[i].facts, START_MS),
				 cases[i].want != GS_SELF_WELL);
		assert_int_equal(self.state, cases[i].want);
		assert_int_equal(gs_self_text(&self, text, sizeof(text))[0] == '\0',
				 cases[i].want == GS_SELF_WELL);
	}
}

/* "At once" is over after a minute: then half of the world is down, and the edge says so. */
static void doubt_ends(void **state)
{
	const struct gs_self_facts begins = {.regions = 5, .alive = 4, .steady = 5, .failing = 3};
	const struct gs_self_facts lasts = {.regions = 5, .alive = 2, .steady = 2};
	const struct gs_self_facts ends = {.regions = 5, .alive = 5, .steady = 5};
	struct gs_self self = {.state = GS_SELF_WELL};
	uint64_t now_ms = START_MS;
	(void)state;

	assert_true(gs_self_step(&self, &begins, now_ms));
	assert_false(gs_self_step(&self, &lasts, now_ms + GS_SELF_FAILING_MS_MAX - 1));
	assert_true(gs_self_step(&self, &lasts, now_ms + GS_SELF_FAILING_MS_MAX));
	assert_int_equal(self.state, GS_SELF_WELL);
	assert_false(gs_self_step(&self, &lasts, now_ms + GS_SELF_FAILING_MS_MAX + 1000));

	now_ms += 200000;
	assert_true(gs_self_step(&self, &begins, now_ms));
	assert_false(gs_self_step(&self, &ends, now_ms + GS_SELF_LATCH_MS - 1));
	assert_true(gs_self_step(&self, &ends, now_ms + GS_SELF_LATCH_MS));
	assert_int_equal(self.state, GS_SELF_WELL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_decides),
		cmocka_unit_test(without_a_quorum_it_ages),
		cmocka_unit_test(it_is_a_function_of_the_votes),
		cmocka_unit_test(when_an_edge_doubts),
		cmocka_unit_test(doubt_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
