/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What steering has to keep, as whole scenes under simulated time; docs/steering.md lists which
 * test shows what. Here: regions that are killed, a hundred thousand times, by the real schedule of
 * probes, with the words that packets read; and two regions that are as far, through judge, ranking
 * and plan, and how their clients go over when one becomes slower.
 */
#include "tests/fakes/simulated_loop.h"

#include "maps/gs_hash.h"
#include "tests/fakes/fake_prober.h"
#include "user/app/gradual.h"
#include "user/app/monitor.h"
#include "user/base/cleanup.h"
#include "user/core/health.h"
#include "user/core/latency.h"
#include "user/core/random.h"
#include "user/core/rank.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* ---- a region is killed ---------------------------------------------------------------------- */

/* So many regions of so many backends are watched, and die, at a time. */
enum {
	AT_A_TIME = 10,
	EACH = 2,
	BACKENDS = AT_A_TIME * EACH,
	TRIALS = 100000,
	SETTLE_MS = 500,
	P99_MS = 1500,
	LONGEST_MS = 3000
};

struct killing {
	struct gs_loop loop;
	struct fake_prober prober_fake;
	struct gs_prober prober;
	struct gs_monitor *monitor;
	uint64_t random;
	bool is_reset[AT_A_TIME];    /* else a black hole */
	uint64_t dies_ms[AT_A_TIME]; /* all of its backends, in one moment */
	uint64_t left_ms[AT_A_TIME]; /* when the last of them was down; 0: it is not */
	uint32_t rtt_ms[AT_A_TIME];
	uint32_t up[AT_A_TIME];
	uint32_t left;
};

static uint32_t region_of(gs_id backend)
{
	return (backend - 1u) / EACH;
}

/* The probe is answered if it is at the backend before that dies. */
static struct fake_answer answer(void *context, gs_id backend, uint32_t n)
{
	const struct killing *killing = context;
	uint32_t region = region_of(backend), rtt_ms = killing->rtt_ms[region];

	(void)n;
	if (killing->loop.now_ms + rtt_ms / 2 < killing->dies_ms[region])
		return (struct fake_answer){.class = GS_PROBE_OK, .after_ms = rtt_ms};
	if (killing->is_reset[region])
		return (struct fake_answer){.class = GS_PROBE_REFUSED, .after_ms = rtt_ms};
	return (struct fake_answer){.class = GS_PROBE_TIMEOUT};
}

/* The words are written in the verdict's own turn: it ends with the region's last backend. */
static void on_verdict(void *context, const struct gs_monitor_verdict *verdict)
{
	struct killing *killing = context;
	uint32_t region = region_of(verdict->backend);

	if (verdict->up) {
		killing->up[region]++;
		return;
	}
	/* Nobody is down who has not died. */
	assert_true(killing->loop.now_ms >= killing->dies_ms[region]);
	if (--killing->up[region] > 0)
		return;
	killing->left_ms[region] = killing->loop.now_ms;
	killing->left++;
}

static void set_targets(struct killing *killing, uint32_t round)
{
	static struct gs_probe_target targets[BACKENDS];

	for (gs_id b = 1; b <= BACKENDS; b++) {
		targets[b - 1] = (struct gs_probe_target){
			.backend = b, .port = 80, .spec = gs_probe_spec_default()};
		/* Another address is another target: nothing is known of it. */
		targets[b - 1].addr.bytes[12] = (uint8_t)(round >> 16);
		targets[b - 1].addr.bytes[13] = (uint8_t)(round >> 8);
		targets[b - 1].addr.bytes[14] = (uint8_t)round;
		targets[b - 1].addr.bytes[15] = (uint8_t)b;
	}
	assert_int_equal(fake_watch(killing->monitor, targets, BACKENDS, NULL, NULL), 0);
}

/* ret_ms: from each region's death to its last new flow. */
static void kill_regions(struct killing *killing, uint32_t round, uint32_t *ret_ms)
{
	uint64_t now_ms = killing->loop.now_ms;

	killing->left = 0;
	for (uint32_t r = 0; r < AT_A_TIME; r++) {
		killing->up[r] = 0;
		killing->left_ms[r] = 0;
		killing->is_reset[r] = gs_random(&killing->random) % 2 == 0;
		killing->rtt_ms[r] = 1 + (uint32_t)(gs_random(&killing->random) % 80);
		killing->dies_ms[r] = now_ms + SETTLE_MS + gs_random(&killing->random) % 1000;
	}
	set_targets(killing, round);
	run_for(&killing->loop, SETTLE_MS);
	for (uint32_t r = 0; r < AT_A_TIME; r++)
		assert_int_equal(killing->up[r], EACH);
	for (int i = 0; killing->left < AT_A_TIME; i++) {
		assert_true(i < 100);
		run_for(&killing->loop, 100);
	}
	for (uint32_t r = 0; r < AT_A_TIME; r++)
		ret_ms[r] = (uint32_t)(killing->left_ms[r] - killing->dies_ms[r]);
}

static int compare_u32(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/*
 * By reset and by black hole, 1 to 80 ms away, in any moment of the schedule. No database, no other
 * edge is asked anywhere in it.
 */
static void a_killed_region_has_its_last_new_flow_p99_1500_ms_and_3_s_at_most(void **state)
{
	static const struct gs_monitor_events events = {.on_verdict = on_verdict};
	struct killing *killing = calloc(1, sizeof(*killing));
	uint32_t *ms = calloc(TRIALS, sizeof(*ms));
	(void)state;

	assert_true(killing && ms);
	killing->loop.now_ms = 1000000;
	killing->random = 20261126;
	fake_prober_init(&killing->prober_fake, &killing->loop, &killing->prober);
	for (gs_id b = 1; b <= BACKENDS; b++) {
		killing->prober_fake.backend[b].script = answer;
		killing->prober_fake.backend[b].context = killing;
	}
	assert_int_equal(gs_monitor_new(&killing->loop, &killing->prober, &events, killing, 42,
					&killing->monitor),
			 0);
	for (uint32_t done = 0; done < TRIALS; done += AT_A_TIME)
		kill_regions(killing, done / AT_A_TIME + 1, ms + done);
	qsort(ms, TRIALS, sizeof(*ms), compare_u32);
	print_message("# %d regions of %d backends killed: last new flow %u/%u/%u ms after it "
		      "(P50/P99/max)\n",
		      TRIALS, EACH, ms[TRIALS / 2], ms[TRIALS / 100 * 99], ms[TRIALS - 1]);
	assert_true(ms[TRIALS / 100 * 99] <= P99_MS);
	assert_true(ms[TRIALS - 1] <= LONGEST_MS);
	gs_monitor_free(killing->monitor);
	fake_prober_done(&killing->prober_fake);
	free(killing);
	free(ms);
}

/* ---- two regions as far ---------------------------------------------------------------------- */

enum { NEAR = 1, AS_FAR = 2, ROOM = 64 };

struct judging {
	struct gs_latency_board board;
	struct gs_latency_track tracks[2][ROOM];
	uint64_t now_ms, random;
	struct gs_latency rows[ROOM]; /* that are published */
	uint32_t row_count;
};

static const struct gs_location munich = {
	.country = "DE", .continent = "EU", .has_coord = true, .coord = {48.1, 11.6}};

/* What clients have to both, 40 ms and 10 % of noise; to the first one more. */
static uint32_t gather(struct judging *judging, uint32_t more_us, struct gs_latency_input *inputs)
{
	struct gs_latency_measured measured[2];
	int64_t unix_ms = 1700000000000 + (int64_t)judging->now_ms;

	for (int i = 0; i < 2; i++) {
		measured[i] = (struct gs_latency_measured){
			.place = "cell:DE/48,11",
			.continent = "EU",
			.region = (gs_id)(i + 1),
			.samples = 20,
			.rtt_us = 36000 + (uint32_t)(gs_random(&judging->random) % 8001) +
				  (i == 0 ? more_us : 0),
			.model_us = 4000,
			.age_ms = 1000,
			.at_unix_ms = unix_ms,
		};
	}
	return gs_latency_gather(measured, 2, inputs);
}

/* Which region the policy has first for Munich, by what is published. */
static gs_id first_of(const struct judging *judging, const struct gs_policy *policy)
{
	static const struct gs_region regions[] = {
		{.id = NEAR, .name = "near", .coord = {50.1, 8.7}},
		{.id = AS_FAR, .name = "as-far", .coord = {46.1, 14.5}},
	};
	struct gs_latency rows[ROOM];
	struct gs_latency_view view;
	struct gs_rank_facts facts;
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_ranker ranker;
	uint32_t count = 0;

	for (uint32_t i = 0; i < judging->board.count; i++)
		if (judging->board.tracks[i].is_told)
			rows[count++] = judging->board.tracks[i].row;
	gs_latency_view_init(&view, rows, count);
	facts = gs_latency_facts(&view);
	gs_ranker_init(&ranker, regions, ARRAY_SIZE(regions), &facts);
	gs_ranked_policy_init(&ranked, &ranker, policy, NULL);
	gs_ranker_move(&ranker, 1, &munich);
	gs_rank(&ranker, &ranked, NULL, 0, &ranking);
	assert_int_equal(ranking.count, 2);
	return regions[ranking.index[0]].id;
}

/* An hour by the judge's own period. *ret_changed: how often another region was first. */
static void judge_for_an_hour(struct judging *judging, const struct gs_policy *policy,
			      uint32_t slower_us, uint32_t slower_after_ms, gs_id *ret_first,
			      uint32_t *ret_changed)
{
	uint64_t begin_ms = judging->now_ms;
	gs_id first = 0;

	*ret_changed = 0;
	while (judging->now_ms < begin_ms + 3600000) {
		struct gs_latency_input inputs[2 * GS_LATENCY_INPUTS];
		bool is_slower = judging->now_ms - begin_ms >= slower_after_ms;
		int64_t unix_ms;
		uint32_t count;
		gs_id now;

		judging->now_ms += GS_LATENCY_PERIOD_MS;
		unix_ms = 1700000000000 + (int64_t)judging->now_ms;
		count = gather(judging, is_slower ? slower_us : 0, inputs);
		if (gs_latency_judge(&judging->board, inputs, count, judging->now_ms, unix_ms))
			gs_latency_board_told(&judging->board, judging->now_ms);
		if (judging->now_ms < begin_ms + 60000) /* nothing is published yet */
			continue;
		now = first_of(judging, policy);
		*ret_changed += first != 0 && now != first;
		first = now;
	}
	*ret_first = first;
}

static void two_regions_at_equal_rtt_with_10_percent_noise_for_1_h_never_change_places(void **state)
{
	/* Without a band, so that nothing but the judge holds them; and as policies are. */
	const struct gs_policy policies[] = {
		{.id = 1, .kind = GS_POLICY_LATENCY, .order_count = 2, .order = {NEAR, AS_FAR}},
		{.id = 2,
		 .kind = GS_POLICY_LATENCY,
		 .band_ms = 5,
		 .band_percent = 10,
		 .order_count = 2,
		 .order = {NEAR, AS_FAR}},
	};
	static struct judging judging;
	(void)state;

	for (uint64_t seed = 0; seed < 100; seed++) {
		uint32_t changed;
		gs_id first;

		judging = (struct judging){.now_ms = 5000000, .random = seed};
		judging.board = (struct gs_latency_board){.tracks = judging.tracks[0],
							  .spare = judging.tracks[1],
							  .room = ROOM,
							  .period_ms = GS_LATENCY_PERIOD_MS};
		judge_for_an_hour(&judging, &policies[seed % 2], 0, 0, &first, &changed);
		if (changed != 0)
			fail_msg("seed %lu: %u changes", (unsigned long)seed, changed);
		/* And it is no stubbornness: one that becomes slower is left, once. */
		judge_for_an_hour(&judging, &policies[seed % 2], 40000, 600000, &first, &changed);
		assert_true(changed <= 1);
		assert_int_equal(first, AS_FAR);
	}
}

/* ---- clients go over ------------------------------------------------------------------------- */

enum { PREFIXES = 1000 };

static void put_row(struct judging *judging, const struct gs_latency *row)
{
	uint32_t at = judging->row_count++;

	assert_true(at < ROOM);
	for (; at > 0 && gs_latency_compare(&judging->rows[at - 1], row) > 0; at--)
		judging->rows[at] = judging->rows[at - 1];
	judging->rows[at] = *row;
}

/* As the database has it (publish_latency): what is under way goes on, what is due begins. */
static void publish_step(struct judging *judging)
{
	const struct gs_latency_step *step = &judging->board.step;

	for (uint32_t i = 0; i < judging->row_count; i++)
		if (judging->rows[i].before_percent)
			judging->rows[i].before_percent = step->to_percent;
	for (uint32_t i = 0; step->begins && i < judging->board.count; i++) {
		const struct gs_latency_track *track = &judging->board.tracks[i];
		struct gs_latency row = track->row, *old = NULL;

		if (!gs_latency_is_due(track))
			continue;
		assert_true(track->is_published); /* all are measured all the time here */
		for (uint32_t r = 0; r < judging->row_count; r++)
			if (gs_latency_compare(&judging->rows[r], &row) == 0)
				old = &judging->rows[r];
		row.before_us = old ? old->us : GS_LATENCY_NONE;
		row.before_percent = 100 - GS_LATENCY_STEP_PERCENT;
		if (old)
			*old = row;
		else
			put_row(judging, &row);
	}
}

/* One period. True: there is another revision. more_us: what the first region has now. */
static bool judge_once(struct judging *judging, uint32_t more_us)
{
	struct gs_latency_input inputs[2 * GS_LATENCY_INPUTS];
	int64_t unix_ms;
	uint32_t count;

	judging->now_ms += GS_LATENCY_PERIOD_MS;
	unix_ms = 1700000000000 + (int64_t)judging->now_ms;
	count = gather(judging, more_us, inputs);
	gs_latency_board_follow(&judging->board, judging->rows, judging->row_count, judging->now_ms,
				unix_ms);
	if (!gs_latency_judge(&judging->board, inputs, count, judging->now_ms, unix_ms))
		return false;
	publish_step(judging);
	gs_latency_board_told(&judging->board, judging->now_ms);
	return true;
}

/* Which region each prefix of Munich has, by what is published: as any edge makes its plans. */
static void home_all(const struct judging *judging, gs_id home[PREFIXES])
{
	static const struct gs_region regions[] = {
		{.id = NEAR, .name = "near", .coord = {50.1, 8.7}},
		{.id = AS_FAR, .name = "as-far", .coord = {46.1, 14.5}},
	};
	static const struct gs_policy policy = {.id = 1,
						.kind = GS_POLICY_LATENCY,
						.band_ms = 5,
						.band_percent = 10,
						.order_count = 2,
						.order = {NEAR, AS_FAR}};
	static struct gs_gradual gradual;
	struct gs_snapshot snapshot = {.regions = (struct gs_region *)regions,
				       .region_count = ARRAY_SIZE(regions),
				       .latencies = (struct gs_latency *)judging->rows,
				       .latency_count = judging->row_count};
	struct gs_latency_view view;
	struct gs_rank_facts facts = gs_latency_facts(&view);
	struct gs_ranked_policy ranked;
	struct gs_ranking ranking;
	struct gs_ranker ranker;
	struct gs_plan plan;

	gs_latency_view_init(&view, judging->rows, judging->row_count);
	gs_ranker_init(&ranker, regions, ARRAY_SIZE(regions), &facts);
	gs_ranked_policy_init(&ranked, &ranker, &policy, NULL);
	gs_gradual_init(&gradual, &snapshot);
	gs_ranker_move(&ranker, 1, &munich);
	gs_gradual_move(&gradual, &view, 1, &munich);
	gs_rank(&ranker, &ranked, NULL, 0, &ranking);
	gs_plan_from_ranking(&ranker, &ranking, &plan);
	gs_gradual_plan(&gradual, &ranked, NULL, 0, &plan, NULL);
	for (uint32_t i = 0; i < PREFIXES; i++) {
		const __be32 prefix[4] = {0, 0, htonl(0xffff), htonl(0xcb000000u + (i << 8))};

		home[i] = plan.region[gs_plan_home(&plan, gs_hash_client(prefix, 20261126))];
	}
}

static void
a_cell_whose_best_region_changes_is_moved_by_a_quarter_a_period_each_prefix_once(void **state)
{
	static gs_id home[PREFIXES], was[PREFIXES];
	static struct judging judging;
	(void)state;

	for (uint64_t seed = 0; seed < 50; seed++) {
		uint32_t moved = 0, revisions = 0, most = 0, times = 0;

		judging = (struct judging){.now_ms = 5000000, .random = seed};
		judging.board = (struct gs_latency_board){.tracks = judging.tracks[0],
							  .spare = judging.tracks[1],
							  .room = ROOM,
							  .period_ms = GS_LATENCY_PERIOD_MS};
		for (int i = 0; i < 60; i++)
			judge_once(&judging, 0);
		home_all(&judging, was);
		for (int i = 0; i < 60; i++) {
			uint32_t now = 0;

			revisions += judge_once(&judging, 40000);
			home_all(&judging, home);
			for (uint32_t p = 0; p < PREFIXES; p++) {
				now += home[p] != was[p];
				/* Never back: who has gone is counted once, at its way there. */
				if (home[p] != was[p])
					assert_int_equal(home[p], AS_FAR);
			}
			memcpy(was, home, sizeof(was));
			moved += now;
			times += now > 0;
			most = now > most ? now : most;
		}
		assert_int_equal(moved, PREFIXES);
		assert_int_equal(times, 100 / GS_LATENCY_STEP_PERCENT);
		/* By a hash, so not quite a quarter. */
		assert_true(most <= PREFIXES * GS_LATENCY_STEP_PERCENT / 100 + 50);
		assert_true(revisions >= 100 / GS_LATENCY_STEP_PERCENT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_region_has_its_last_new_flow_p99_1500_ms_and_3_s_at_most),
		cmocka_unit_test(
			two_regions_at_equal_rtt_with_10_percent_noise_for_1_h_never_change_places),
		cmocka_unit_test(
			a_cell_whose_best_region_changes_is_moved_by_a_quarter_a_period_each_prefix_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
