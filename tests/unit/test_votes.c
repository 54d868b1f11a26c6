/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edges in simulated time: each with a loop and a clock of its own, real health, real votes, real
 * words; paths from each edge to each region that are cut and lose packets; one database that
 * carries ballots, a little late. What acts on what may be seen in struct edge.
 */
#include "tests/fakes/simulated_loop.h"

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "user/app/accord_watch.h"
#include "user/app/anchors.h"
#include "user/app/snapshot_io.h"
#include "user/app/usable.h"
#include "user/app/votes.h"
#include "user/base/cleanup.h"
#include "user/core/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	EDGES_MAX = 8,
	STEP_MS = 10,
	WRITE_MS = 30, /* from telling to committed, at most */
	HEAR_MS = 130, /* from committed to read by the others, at most */
	SETTLE_MS = 15000,
};

enum path { FINE, BLACK_HOLE, RESET };

struct row {
	struct gs_ballot_paper paper;
	struct gs_edge_vote votes[64];
	uint64_t seq, voted_ms; /* the database's clock */
	bool is_there;
};

struct world;

struct edge {
	struct world *world;
	uint32_t number;
	char name[GS_NAME_MAX], site[GS_NAME_MAX];
	struct gs_loop loop;
	struct fake_prober prober_fake;
	struct gs_prober prober;
	struct gs_store store;
	struct gs_monitor *monitor;
	struct fake_prober anchor_fake;
	struct gs_prober anchor_prober;
	struct gs_anchors *anchors;
	struct gs_votes *votes;
	struct gs_usable_view *view;
	struct gs_edge_report running; /* its row has that, too */
	struct gs_accord_watch watch;
	enum path path[FAKE_REGIONS + 1];
	uint32_t loss_percent;
	bool is_deaf; /* the database is away */
	uint64_t late_ms;
	struct row wanted;		     /* told, not yet committed */
	uint64_t write_ms, beat_ms, hear_ms; /* the world's clock; when it is due */
	uint64_t heard_seq[EDGES_MAX];
	enum gs_global was[FAKE_REGIONS + 1];
	uint32_t transitions;		    /* between up and down, for all */
	uint64_t word_ms[FAKE_REGIONS + 1]; /* when the region's word last changed */
};

struct world {
	struct gs_snapshot *snapshot;
	struct edge *edges;
	uint32_t count;
	struct row rows[EDGES_MAX];
	enum path region[FAKE_REGIONS + 1]; /* of everybody */
	uint64_t now_ms;
	uint64_t random;
	uint16_t down_permille;
};

/* ---- one edge -------------------------------------------------------------------------------- */

static enum gs_health_state health_state(void *context, gs_id backend)
{
	struct edge *edge = context;
	struct gs_monitor_status status;

	if (!gs_monitor_get(edge->monitor, backend, &status))
		return GS_HEALTH_UNKNOWN;
	if (status.state == GS_HEALTH_DOWN && gs_votes_holds(edge->votes, backend))
		return GS_HEALTH_UP;
	return status.state;
}

static enum gs_global global_of(void *context, gs_id service, gs_id region)
{
	const struct edge *edge = context;

	return gs_votes_global(edge->votes, service, region);
}

static void judge(struct edge *edge)
{
	const struct gs_usable_health health = {
		.get = health_state, .global = global_of, .context = edge};
	struct gs_usable_view *view;

	assert_int_equal(gs_usable_view_new(edge->world->snapshot, &health, &view), 0);
	for (gs_id id = 1; id <= FAKE_REGIONS; id++)
		if (!edge->view || edge->view->regions[id].state != view->regions[id].state)
			edge->word_ms[id] = edge->world->now_ms;
	gs_usable_view_free(edge->view);
	edge->view = view;
}

static void on_verdict(void *context, const struct gs_monitor_verdict *verdict)
{
	struct edge *edge = context;

	(void)verdict;
	judge(edge);
	gs_votes_touch(edge->votes);
}

static void on_change(void *context, const char *why)
{
	assert_true(strlen(why) > 0);
	judge(context);
}

static const struct gs_snapshot *snapshot_of(void *context)
{
	return ((struct edge *)context)->world->snapshot;
}

static bool health_of(void *context, gs_id backend, struct gs_monitor_status *ret_status)
{
	return gs_monitor_get(((struct edge *)context)->monitor, backend, ret_status);
}

static void look_at_self(void *context, struct gs_self_facts *facts)
{
	struct edge *edge = context;

	gs_anchors_count(edge->anchors, &facts->anchors, &facts->anchors_silent);
	facts->is_late = edge->late_ms != 0 && edge->world->now_ms < edge->late_ms + 3000;
}

static struct fake_answer answer(void *context, gs_id backend, uint32_t n)
{
	struct edge *edge = context;
	struct world *world = edge->world;
	gs_id region = world->snapshot->backends[backend - 1].region;
	enum path path = world->region[region] != FINE ? world->region[region] : edge->path[region];

	(void)n;
	if (path == FINE && gs_random(&world->random) % 100 < edge->loss_percent)
		path = BLACK_HOLE;
	if (path == BLACK_HOLE)
		return (struct fake_answer){.class = GS_PROBE_TIMEOUT};
	return (struct fake_answer){.class = path == RESET ? GS_PROBE_REFUSED : GS_PROBE_OK,
				    .after_ms = 20 + 10 * region};
}

/* ---- the database ---------------------------------------------------------------------------- */

static void store_vote(void *self, const struct gs_ballot_paper *paper)
{
	struct edge *edge = self;

	assert_true(paper->count <= ARRAY_SIZE(edge->wanted.votes));
	edge->wanted.paper = *paper;
	edge->wanted.is_there = true;
	if (paper->count > 0)
		memcpy(edge->wanted.votes, paper->votes, paper->count * sizeof(*paper->votes));
	edge->write_ms = edge->world->now_ms + 1 + gs_random(&edge->world->random) % WRITE_MS;
}

static void write_row(struct edge *edge, bool is_news)
{
	struct world *world = edge->world;
	struct row *row = &world->rows[edge->number];
	uint64_t seq = row->seq;

	*row = edge->wanted;
	row->seq = seq + is_news;
	row->voted_ms = world->now_ms;
	for (uint32_t i = 0; is_news && i < world->count; i++) {
		uint64_t due_ms = world->now_ms + 100 + gs_random(&world->random) % (HEAR_MS - 100);

		if (i != edge->number && due_ms < world->edges[i].hear_ms)
			world->edges[i].hear_ms = due_ms;
	}
}

static void hear(struct edge *edge)
{
	struct world *world = edge->world;
	struct gs_edge_ballot ballots[EDGES_MAX] = {0};
	struct gs_edge_vote votes[EDGES_MAX][64];
	struct gs_ballots all = {.edges = ballots, .rule = {.down_permille = world->down_permille}};

	for (uint32_t i = 0; i < world->count; i++) {
		const struct row *row = &world->rows[i];
		struct gs_edge_ballot *ballot = &ballots[all.count];

		if (i == edge->number || !row->is_there)
			continue;
		*ballot = (struct gs_edge_ballot){
			.seq = row->seq,
			.age_ms = (uint32_t)(world->now_ms - row->voted_ms),
			.is_new = edge->heard_seq[i] != row->seq,
			.is_whole = true,
			.votes = votes[all.count],
		};
		memcpy(ballot->edge, world->edges[i].name, GS_NAME_MAX);
		ballot->generation = world->edges[i].running.generation;
		ballot->revision = world->edges[i].running.revision;
		ballot->digest = world->edges[i].running.digest;
		ballot->geo_digest = world->edges[i].running.geo_digest;
		snprintf(ballot->version, sizeof(ballot->version), "%s", GS_VERSION);
		memcpy(ballot->site, row->paper.site, GS_NAME_MAX);
		if (ballot->is_new) {
			ballot->count = row->paper.count;
			memcpy(votes[all.count], row->votes, sizeof(row->votes));
		}
		edge->heard_seq[i] = row->seq;
		all.count++;
	}
	gs_votes_on_ballots(edge->votes, &all);
	gs_accord_watch_look(&edge->watch, edge->votes, edge->loop.now_ms);
}

static void exchange(struct edge *edge)
{
	uint64_t now_ms = edge->world->now_ms;

	if (edge->is_deaf)
		return;
	if (edge->wanted.is_there && edge->write_ms <= now_ms) {
		edge->write_ms = UINT64_MAX;
		write_row(edge, true);
	}
	if (edge->wanted.is_there && edge->beat_ms <= now_ms)
		write_row(edge, false);
	if (edge->beat_ms <= now_ms)
		edge->beat_ms = now_ms + GS_VOTE_EVERY_MS;
	if (edge->hear_ms <= now_ms) {
		edge->hear_ms = now_ms + GS_VOTE_EVERY_MS;
		hear(edge);
	}
}

static void away(struct edge *edge, bool is_away)
{
	edge->is_deaf = is_away;
	gs_votes_on_connection(edge->votes, !is_away);
}

/* ---- the world ------------------------------------------------------------------------------- */

static void note_transitions(struct edge *edge)
{
	for (gs_id id = 1; id <= FAKE_REGIONS; id++) {
		enum gs_global is = gs_votes_global(edge->votes, 0, id);

		edge->transitions += edge->was[id] != is && edge->was[id] != GS_GLOBAL_NONE &&
				     is != GS_GLOBAL_NONE;
		edge->was[id] = is;
	}
}

static void world_run(struct world *world, uint64_t ms)
{
	for (uint64_t end = world->now_ms + ms; world->now_ms < end;) {
		world->now_ms += STEP_MS;
		for (uint32_t i = 0; i < world->count; i++) {
			run_for(&world->edges[i].loop, STEP_MS);
			exchange(&world->edges[i]);
			note_transitions(&world->edges[i]);
		}
	}
}

static void edge_new(struct world *world, uint32_t number, const char *site)
{
	static const struct gs_monitor_events events = {.on_verdict = on_verdict};
	static const struct gs_store_ops ops = {.vote = store_vote};
	struct edge *edge = &world->edges[number];
	struct gs_votes_ports ports;
	struct gs_probe_target targets[FAKE_REGIONS * FAKE_PER_REGION];

	edge->world = world;
	edge->number = number;
	/* Clocks that have nothing to do with each other. */
	edge->loop.now_ms = 5000 + number * 7777777ull;
	edge->beat_ms = world->now_ms + 1000 + number * 317;
	edge->hear_ms = edge->beat_ms + 200;
	edge->write_ms = UINT64_MAX;
	snprintf(edge->name, sizeof(edge->name), "edge-%u", number);
	snprintf(edge->site, sizeof(edge->site), "%s", site);
	edge->store = (struct gs_store){.ops = &ops, .self = edge};
	fake_prober_init(&edge->prober_fake, &edge->loop, &edge->prober);
	assert_int_equal(gs_monitor_new(&edge->loop, &edge->prober, &events, edge,
					gs_random(&world->random), &edge->monitor),
			 0);
	ports = (struct gs_votes_ports){.loop = &edge->loop,
					.store = &edge->store,
					.snapshot = snapshot_of,
					.health = health_of,
					.look_at_self = look_at_self,
					.on_change = on_change,
					.context = edge};
	assert_int_equal(gs_votes_new(&ports, edge->name, edge->site, &edge->votes), 0);
	gs_votes_on_connection(edge->votes, true);
	for (uint32_t i = 0; i < world->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &world->snapshot->backends[i];

		targets[i] = (struct gs_probe_target){.backend = backend->id,
						      .addr = backend->addr,
						      .port = 80,
						      .spec = gs_probe_spec_default()};
		edge->prober_fake.backend[backend->id].script = answer;
		edge->prober_fake.backend[backend->id].context = edge;
	}
	assert_int_equal(
		fake_watch(edge->monitor, targets, world->snapshot->backend_count, NULL, NULL), 0);
	assert_int_equal(gs_votes_start(edge->votes), 0);
}

/* sites: one letter an edge; equal letters share a site. Everything is up when it returns. */
static struct world *world_of(const char *sites)
{
	struct world *world = calloc(1, sizeof(*world));

	world->count = (uint32_t)strlen(sites);
	world->edges = calloc(world->count, sizeof(*world->edges));
	world->snapshot = fake_snapshot(1);
	world->snapshot->services[0].probe = gs_probe_spec_default();
	world->random = 42;
	world->now_ms = 1000;
	world->down_permille = GS_QUORUM_DOWN_PERMILLE;
	for (uint32_t i = 0; i < world->count; i++)
		edge_new(world, i, (char[]){sites[i], '\0'});
	world_run(world, SETTLE_MS);
	return world;
}

static void world_end(struct world *world)
{
	for (uint32_t i = 0; i < world->count; i++) {
		struct edge *edge = &world->edges[i];

		gs_votes_free(edge->votes);
		gs_anchors_free(edge->anchors);
		gs_monitor_free(edge->monitor);
		fake_prober_done(&edge->prober_fake);
		gs_usable_view_free(edge->view);
	}
	gs_snapshot_free(world->snapshot);
	free(world->edges);
	free(world);
}

static uint32_t all_transitions(const struct world *world)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < world->count; i++)
		sum += world->edges[i].transitions;
	return sum;
}

static void assert_global(const struct world *world, gs_id region, enum gs_global want)
{
	for (uint32_t i = 0; i < world->count; i++)
		assert_int_equal(gs_votes_global(world->edges[i].votes, 0, region), want);
}

static uint16_t word(const struct edge *edge, gs_id region)
{
	return edge->view->regions[region].state;
}

static const char *words_of(const struct edge *edge, gs_id region)
{
	static char text[128];
	struct gs_votes_status status;

	gs_votes_get(edge->votes, 0, region, &status);
	return gs_votes_words(&status, text, sizeof(text));
}

/* ---- the acceptance list --------------------------------------------------------------------- */

static void one_path_cut_moves_one_edge(void **state)
{
	struct world *world = world_of("aabbc");
	uint64_t cut_ms = world->now_ms;
	(void)state;

	assert_global(world, FAKE_EU, GS_GLOBAL_UP);
	world->edges[2].path[FAKE_EU] = BLACK_HOLE;
	world_run(world, 1500);
	assert_int_equal(word(&world->edges[2], FAKE_EU), GS_USABLE_DOWN);
	assert_true(world->edges[2].word_ms[FAKE_EU] - cut_ms <= 1500);
	world_run(world, 600000);
	assert_int_equal(all_transitions(world), 0);
	for (uint32_t i = 0; i < world->count; i++)
		assert_int_equal(word(&world->edges[i], FAKE_EU),
				 i == 2 ? GS_USABLE_DOWN : GS_USABLE_UP);
	assert_string_equal(words_of(&world->edges[2], FAKE_EU),
			    "up by 4 of 5 edges in 2 of 3 domains");
	world_end(world);
}

/* An edge that hears nobody says nothing of anybody, and does not drop its clients. */
static void an_uplink_cut_is_doubt(void **state)
{
	struct world *world = world_of("aabbc");
	struct edge *edge = &world->edges[0];
	(void)state;

	for (gs_id id = 1; id <= FAKE_REGIONS; id++)
		edge->path[id] = BLACK_HOLE;
	world_run(world, 3000);
	assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_SILENT);
	for (gs_id id = 1; id <= FAKE_REGIONS; id++) {
		assert_int_equal(word(edge, id), GS_USABLE_UP);
		assert_int_equal(gs_votes_of(edge->votes, 0, 0, id), GS_VOTE_UNKNOWN);
		assert_int_equal(gs_votes_of(world->edges[1].votes, 1, 0, id), GS_VOTE_UNKNOWN);
	}
	world_run(world, 300000);
	assert_int_equal(all_transitions(world), 0);
	/* Somebody answers again: from here on the probes decide, at once. */
	edge->path[FAKE_US] = FINE;
	world_run(world, 3000);
	assert_int_equal(word(edge, FAKE_US), GS_USABLE_UP);
	assert_int_equal(word(edge, FAKE_EU), GS_USABLE_DOWN);
	edge->path[FAKE_EU] = edge->path[FAKE_AP] = FINE;
	world_run(world, 10000);
	assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_WELL);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 1, 0, FAKE_EU), GS_VOTE_UP);
	assert_int_equal(all_transitions(world), 0);
	world_end(world);
}

static void loss_at_one_vantage_moves_nobody_else(void **state)
{
	struct world *world = world_of("aabbc");
	(void)state;

	world->edges[4].loss_percent = 5;
	world_run(world, 600000);
	assert_int_equal(all_transitions(world), 0);
	world_end(world);
}

static void a_killed_region_is_down_for_all(void **state)
{
	static const enum path ways[] = {BLACK_HOLE, RESET};
	(void)state;

	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		struct world *world = world_of("aabbc");

		world->region[FAKE_US] = ways[w];
		world_run(world, 1500);
		assert_global(world, FAKE_US, GS_GLOBAL_DOWN);
		assert_global(world, FAKE_EU, GS_GLOBAL_UP);
		assert_int_equal(all_transitions(world), 5);
		for (uint32_t i = 0; i < world->count; i++)
			assert_int_equal(word(&world->edges[i], FAKE_US), GS_USABLE_DOWN);
		world_run(world, 2000);
		assert_string_equal(words_of(&world->edges[0], FAKE_US),
				    "down by 5 of 5 edges in 3 of 3 domains");
		world->region[FAKE_US] = FINE;
		world_run(world, 5000);
		assert_global(world, FAKE_US, GS_GLOBAL_UP);
		assert_int_equal(all_transitions(world), 10);
		world_end(world);
	}
}

/* One edge reaches it, the others do not: it gives no new flows there, and keeps those it has. */
static void who_can_still_reach_it_goes_along(void **state)
{
	struct world *world = world_of("aabbc");
	(void)state;

	for (uint32_t i = 0; i < 4; i++)
		world->edges[i].path[FAKE_AP] = BLACK_HOLE;
	world_run(world, 3000);
	assert_global(world, FAKE_AP, GS_GLOBAL_DOWN);
	assert_int_equal(word(&world->edges[4], FAKE_AP), GS_USABLE_DRAIN);
	assert_string_equal(words_of(&world->edges[4], FAKE_AP),
			    "down by 4 of 5 edges in 2 of 3 domains");
	/* Unless it is all that is left. */
	world->edges[4].path[FAKE_EU] = world->edges[4].path[FAKE_US] = BLACK_HOLE;
	world_run(world, 3000);
	assert_int_equal(word(&world->edges[4], FAKE_AP), GS_USABLE_UP);
	world_end(world);
}

static void halves_keep_what_was(void **state)
{
	struct world *world = world_of("aabb");
	(void)state;

	world->edges[0].path[FAKE_EU] = world->edges[1].path[FAKE_EU] = BLACK_HOLE;
	world_run(world, 60000);
	assert_global(world, FAKE_EU, GS_GLOBAL_UP);
	assert_int_equal(all_transitions(world), 0);
	world->region[FAKE_EU] = BLACK_HOLE;
	world_run(world, 3000);
	assert_global(world, FAKE_EU, GS_GLOBAL_DOWN);
	world->region[FAKE_EU] = FINE;
	world_run(world, 60000);
	/* Two of four cannot reach it: it stays what all had seen. */
	assert_global(world, FAKE_EU, GS_GLOBAL_DOWN);
	assert_int_equal(all_transitions(world), 4);
	world_end(world);
}

/* The database splits: each half has only itself, and too few. */
static void a_split_database_ages_out(void **state)
{
	struct world *world = world_of("aabbc");
	(void)state;

	world->region[FAKE_EU] = BLACK_HOLE;
	world_run(world, 3000);
	assert_global(world, FAKE_EU, GS_GLOBAL_DOWN);
	for (uint32_t i = 0; i < world->count; i++)
		away(&world->edges[i], true);
	world_run(world, GS_VOTE_FRESH_MS - 500);
	assert_global(world, FAKE_EU, GS_GLOBAL_DOWN);
	world_run(world, 1000);
	assert_global(world, FAKE_EU, GS_GLOBAL_NONE);
	/* From here on each for itself, as fast as ever. */
	world->region[FAKE_EU] = FINE;
	world->region[FAKE_US] = BLACK_HOLE;
	world_run(world, 1500);
	for (uint32_t i = 0; i < world->count; i++)
		assert_int_equal(word(&world->edges[i], FAKE_US), GS_USABLE_DOWN);
	for (uint32_t i = 0; i < world->count; i++)
		away(&world->edges[i], false);
	world_run(world, 5000);
	assert_global(world, FAKE_US, GS_GLOBAL_DOWN);
	assert_global(world, FAKE_EU, GS_GLOBAL_UP);
	world_end(world);
}

/* An edge that stops is no voter after six seconds, and three of two sites are enough. */
static void the_dead_do_not_vote(void **state)
{
	struct world *world = world_of("aabb");
	(void)state;

	world->edges[3].is_deaf = true; /* and nobody hears of it any more */
	world_run(world, GS_VOTE_FRESH_MS + 3000);
	assert_int_equal(gs_votes_live(world->edges[0].votes), 3);
	world->region[FAKE_AP] = RESET;
	world_run(world, 1500);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(gs_votes_global(world->edges[i].votes, 0, FAKE_AP),
				 GS_GLOBAL_DOWN);
	assert_string_equal(words_of(&world->edges[0], FAKE_AP),
			    "down by 3 of 3 edges in 2 of 2 domains");
	world_end(world);
}

/* As if there were no votes: whatever one or two edges see, and whatever three of one site do. */
static void without_a_group_each_for_itself(void **state)
{
	static const char *const groups[] = {"a", "ab", "aaa"};
	(void)state;

	for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
		struct world *world = world_of(groups[g]);

		assert_global(world, FAKE_EU, GS_GLOBAL_NONE);
		world->edges[0].path[FAKE_EU] = BLACK_HOLE;
		world_run(world, 3000);
		assert_int_equal(word(&world->edges[0], FAKE_EU), GS_USABLE_DOWN);
		world->edges[0].path[FAKE_US] = world->edges[0].path[FAKE_AP] = BLACK_HOLE;
		world_run(world, 3000);
		/* Nothing is held: nobody vouches for anything. */
		for (gs_id id = 1; id <= FAKE_REGIONS; id++)
			assert_int_equal(word(&world->edges[0], id), GS_USABLE_DOWN);
		assert_global(world, FAKE_EU, GS_GLOBAL_NONE);
		world_end(world);
	}
}

static void a_late_edge_does_not_vote(void **state)
{
	struct world *world = world_of("abc");
	(void)state;

	world->edges[1].late_ms = world->now_ms;
	world->edges[1].path[FAKE_EU] = BLACK_HOLE;
	world_run(world, 1200);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 0, 0, FAKE_EU), GS_VOTE_UNKNOWN);
	assert_int_equal(word(&world->edges[1], FAKE_EU), GS_USABLE_DOWN);
	world_run(world, 5000);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 0, 0, FAKE_EU), GS_VOTE_DOWN);
	world_end(world);
}

/* ---- anchors --------------------------------------------------------------------------------- */

/* Each edge has two, which answer. */
static void give_anchors(struct world *world)
{
	struct gs_anchor_set set;
	char why[64];

	assert_int_equal(gs_anchors_parse("icmp:192.0.2.1,dns:9.9.9.9", &set, why, sizeof(why)), 0);
	for (uint32_t i = 0; i < world->count; i++) {
		struct edge *edge = &world->edges[i];

		fake_prober_init(&edge->anchor_fake, &edge->loop, &edge->anchor_prober);
		assert_int_equal(
			gs_anchors_new(&edge->loop, &edge->anchor_prober, i, &edge->anchors), 0);
		edge->anchor_fake.backend[1].answer.after_ms = 5;
		edge->anchor_fake.backend[2].answer.after_ms = 30;
		gs_anchors_set(edge->anchors, &set);
	}
	world_run(world, SETTLE_MS);
}

static void cut_anchor(struct edge *edge, gs_id number, bool is_cut)
{
	edge->anchor_fake.backend[number].answer.class = is_cut ? GS_PROBE_TIMEOUT : GS_PROBE_OK;
}

/* Nobody but the edge itself doubts, and whatever it says of a region while it does is unknown. */
static void who_hears_no_anchor_does_not_vote(void **state)
{
	struct world *world = world_of("aabbc");
	struct edge *edge = &world->edges[0];
	(void)state;

	give_anchors(world);
	/* One that answers is enough. */
	cut_anchor(edge, 1, true);
	world_run(world, 20000);
	assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_WELL);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 1, 0, FAKE_EU), GS_VOTE_UP);

	cut_anchor(edge, 2, true);
	world_run(world, 4000);
	assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_ANCHORS);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 1, 0, FAKE_EU), GS_VOTE_UNKNOWN);
	/* One region fails for it alone: it acts on that, and tells nobody that it is down. */
	edge->path[FAKE_EU] = BLACK_HOLE;
	world_run(world, 2000);
	assert_int_equal(word(edge, FAKE_EU), GS_USABLE_DOWN);
	assert_int_equal(word(edge, FAKE_US), GS_USABLE_UP);
	world_run(world, 60000);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 1, 0, FAKE_EU), GS_VOTE_UNKNOWN);
	assert_string_equal(words_of(&world->edges[1], FAKE_EU),
			    "up by 4 of 4 edges in 3 of 3 domains");
	assert_int_equal(all_transitions(world), 0);
	for (uint32_t i = 1; i < world->count; i++)
		assert_int_equal(word(&world->edges[i], FAKE_EU), GS_USABLE_UP);

	cut_anchor(edge, 2, false);
	world_run(world, 6000);
	assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_WELL);
	assert_int_equal(gs_votes_of(world->edges[1].votes, 1, 0, FAKE_EU), GS_VOTE_DOWN);
	assert_int_equal(all_transitions(world), 0);
	world_end(world);
}

/* Anchors that lose packets, or are away for a moment, are no reason to doubt. */
static void anchors_take_a_few(void **state)
{
	struct world *world = world_of("abc");
	struct edge *edge = &world->edges[1];
	(void)state;

	give_anchors(world);
	for (int i = 0; i < 6; i++) {
		cut_anchor(edge, 1, true);
		cut_anchor(edge, 2, true);
		world_run(world, 900);
		cut_anchor(edge, 1, false);
		cut_anchor(edge, 2, false);
		world_run(world, 20000);
		assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_WELL);
	}
	/* For ever in turns: one of them is always there. */
	for (int i = 0; i < 6; i++) {
		cut_anchor(edge, 1 + i % 2, true);
		cut_anchor(edge, 2 - i % 2, false);
		world_run(world, 100);
		cut_anchor(edge, 1 + i % 2, false);
		world_run(world, 10000);
		assert_int_equal(gs_votes_self(edge->votes)->state, GS_SELF_WELL);
	}
	assert_int_equal(all_transitions(world), 0);
	world_end(world);
}

/* The anchors of all are gone (their owner moved them): edges go on, each for itself. */
static void anchors_of_all_are_silent(void **state)
{
	struct world *world = world_of("abc");
	(void)state;

	give_anchors(world);
	for (uint32_t i = 0; i < world->count; i++) {
		cut_anchor(&world->edges[i], 1, true);
		cut_anchor(&world->edges[i], 2, true);
	}
	world_run(world, 4000 + GS_VOTE_FRESH_MS);
	assert_global(world, FAKE_EU, GS_GLOBAL_NONE);
	for (uint32_t i = 0; i < world->count; i++)
		assert_int_equal(word(&world->edges[i], FAKE_EU), GS_USABLE_UP);
	world->region[FAKE_EU] = RESET;
	world_run(world, 1500);
	for (uint32_t i = 0; i < world->count; i++)
		assert_int_equal(word(&world->edges[i], FAKE_EU), GS_USABLE_DOWN);
	world_end(world);
}

/* ---- ballots --------------------------------------------------------------------------------- */

struct told {
	const char *edge, *site;
	bool is_whole;
	struct gs_edge_vote votes[3];
	uint32_t count;
};

static void tell(struct edge *edge, const struct told *told, uint32_t count)
{
	struct gs_edge_ballot ballots[EDGES_MAX] = {0};
	struct gs_edge_vote votes[EDGES_MAX][3];
	struct gs_ballots all = {.edges = ballots, .count = count, .rule = {500}};

	for (uint32_t i = 0; i < count; i++) {
		ballots[i].is_new = true;
		ballots[i].is_whole = told[i].is_whole;
		ballots[i].votes = votes[i];
		ballots[i].count = told[i].count;
		memcpy(votes[i], told[i].votes, sizeof(votes[i]));
		snprintf(ballots[i].edge, GS_NAME_MAX, "%s", told[i].edge);
		snprintf(ballots[i].site, GS_NAME_MAX, "%s", told[i].site);
	}
	gs_votes_on_ballots(edge->votes, &all);
}

/* A pool has its region's vote until it has one of its own, and again when that is taken back. */
static void pools_are_as_their_regions(void **state)
{
	struct world *world = world_of("a");
	struct edge *edge = &world->edges[0];
	const struct told up[] = {
		{"b", "b", true, {{0, FAKE_EU, GS_VOTE_UP}, {1, FAKE_EU, GS_VOTE_DOWN}}, 2},
		{"c", "c", true, {{0, FAKE_EU, GS_VOTE_UP}, {1, FAKE_EU, GS_VOTE_DOWN}}, 2},
	};
	const struct told back[] = {
		{"b", "b", false, {{1, FAKE_EU, GS_VOTE__COUNT}}, 1},
		{"c", "c", false, {{1, FAKE_EU, GS_VOTE__COUNT}}, 1},
	};
	const struct told down[] = {
		{"b", "b", false, {{0, FAKE_EU, GS_VOTE_DOWN}}, 1},
		{"c", "c", false, {{0, FAKE_EU, GS_VOTE_DOWN}}, 1},
	};
	(void)state;

	tell(edge, up, 2);
	assert_int_equal(gs_votes_global(edge->votes, 0, FAKE_EU), GS_GLOBAL_UP);
	assert_int_equal(gs_votes_global(edge->votes, FAKE_WEB, FAKE_EU), GS_GLOBAL_DOWN);
	assert_int_equal(gs_votes_global(edge->votes, FAKE_WEB + 1, FAKE_EU), GS_GLOBAL_UP);
	assert_int_equal(edge->view->pools[0].word.state, GS_USABLE_DRAIN);
	assert_int_equal(word(edge, FAKE_EU), GS_USABLE_UP);
	tell(edge, back, 2);
	assert_false(gs_votes_has_pool(edge->votes, FAKE_WEB, FAKE_EU));
	assert_int_equal(gs_votes_global(edge->votes, FAKE_WEB, FAKE_EU), GS_GLOBAL_UP);
	tell(edge, down, 2);
	assert_int_equal(gs_votes_global(edge->votes, 0, FAKE_EU), GS_GLOBAL_DOWN);
	assert_int_equal(gs_votes_global(edge->votes, FAKE_WEB, FAKE_EU), GS_GLOBAL_DOWN);
	/* Who is not named any more is gone. */
	tell(edge, down, 1);
	assert_int_equal(gs_votes_edge_count(edge->votes), 2);
	world_run(world, GS_VOTE_FRESH_MS + 1000);
	assert_int_equal(gs_votes_global(edge->votes, 0, FAKE_EU), GS_GLOBAL_NONE);
	world_end(world);
}

/* What an operator holds up stays up. */
static void forced_regions_stay(void **state)
{
	struct world *world = world_of("aabbc");
	(void)state;

	world->snapshot->regions[FAKE_AP - 1].admin = GS_ADMIN_FORCE_UP;
	for (uint32_t i = 0; i < 4; i++)
		world->edges[i].path[FAKE_AP] = BLACK_HOLE;
	world_run(world, 3000);
	assert_global(world, FAKE_AP, GS_GLOBAL_DOWN);
	assert_int_equal(word(&world->edges[4], FAKE_AP), GS_USABLE_UP);
	world_end(world);
}

/* ---- do they decide alike -------------------------------------------------------------------- */

static void run_on(struct edge *edge, uint64_t revision, uint64_t geo)
{
	edge->running = (struct gs_edge_report){.generation = edge->number + 1,
						.revision = revision,
						.digest = revision ^ geo << 32,
						.geo_digest = geo};
	gs_votes_set_running(edge->votes, &edge->running);
}

/* What `seer` holds of `seen`. */
static uint32_t differs(const struct edge *seer, const struct edge *seen)
{
	struct gs_accord_view view;
	struct gs_votes_edge edge;

	gs_accord_view(seer->votes, &view);
	for (uint32_t i = 0; i < gs_votes_edge_count(seer->votes); i++) {
		gs_votes_edge(seer->votes, i, &edge);
		if (strcmp(edge.name, seen->name) == 0)
			return view.differs[i];
	}
	fail_msg("%s has not heard of %s", seer->name, seen->name);
	return 0;
}

static void assert_accord(const struct world *world, uint32_t odd, uint32_t want)
{
	for (uint32_t i = 0; i < world->count; i++)
		for (uint32_t j = 0; j < world->count; j++)
			assert_int_equal(differs(&world->edges[i], &world->edges[j]),
					 j == odd ? want : 0);
}

static void assert_told(const struct world *world, uint32_t odd, uint32_t want)
{
	for (uint32_t i = 0; i < world->count; i++)
		assert_int_equal(world->edges[i].watch.told, i == odd ? want : 0);
}

static void who_decides_otherwise_is_seen(void **state)
{
	struct world *world = world_of("abc");
	struct gs_accord_view view;
	(void)state;

	/* without a generation there is nothing to compare */
	gs_accord_view(world->edges[0].votes, &view);
	assert_int_equal(view.compared, 0);
	for (uint32_t i = 0; i < world->count; i++)
		run_on(&world->edges[i], 7, 1);
	world_run(world, 20000);
	gs_accord_view(world->edges[0].votes, &view);
	assert_int_equal(view.compared, 3);
	assert_accord(world, 1, 0);

	run_on(&world->edges[1], 7, 2);
	world_run(world, 3000);
	assert_accord(world, 1, GS_DIFFERS_GEO);
	assert_told(world, 1, 0);
	world_run(world, 12000);
	assert_told(world, 1, GS_DIFFERS_GEO);
	run_on(&world->edges[1], 7, 1);
	world_run(world, 15000);
	assert_accord(world, 1, 0);
	assert_told(world, 1, 0);
	world_end(world);
}

/* A change takes a moment to get around: nobody is told of that, but of one who stays behind. */
static void who_stays_behind_is_seen(void **state)
{
	struct world *world = world_of("abc");
	(void)state;

	for (uint64_t revision = 1; revision < 20; revision++) {
		for (uint32_t i = 0; i < world->count; i++) {
			run_on(&world->edges[i], revision, 1);
			world_run(world, 2000);
			assert_told(world, i, 0);
		}
	}
	run_on(&world->edges[0], 20, 1);
	run_on(&world->edges[1], 20, 1);
	world_run(world, 15000);
	assert_accord(world, 2, GS_DIFFERS_REVISION);
	assert_told(world, 2, GS_DIFFERS_REVISION);
	world_end(world);
}

/* One that hears nobody is alone with what it has, and no measure for others. */
static void who_is_away_is_not_compared(void **state)
{
	struct world *world = world_of("abc");
	struct gs_accord_view view;
	(void)state;

	for (uint32_t i = 0; i < world->count; i++)
		run_on(&world->edges[i], 7, 1);
	world_run(world, 3000);
	away(&world->edges[2], true);
	run_on(&world->edges[0], 8, 1);
	run_on(&world->edges[1], 8, 1);
	world_run(world, 15000);
	gs_accord_view(world->edges[2].votes, &view);
	assert_int_equal(view.compared, 1);
	assert_int_equal(view.differing, 0);
	gs_accord_view(world->edges[0].votes, &view);
	assert_int_equal(view.compared, 2);
	assert_int_equal(view.differing, 0);
	assert_told(world, 0, 0);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_path_cut_moves_one_edge),
		cmocka_unit_test(an_uplink_cut_is_doubt),
		cmocka_unit_test(loss_at_one_vantage_moves_nobody_else),
		cmocka_unit_test(a_killed_region_is_down_for_all),
		cmocka_unit_test(who_can_still_reach_it_goes_along),
		cmocka_unit_test(halves_keep_what_was),
		cmocka_unit_test(a_split_database_ages_out),
		cmocka_unit_test(the_dead_do_not_vote),
		cmocka_unit_test(without_a_group_each_for_itself),
		cmocka_unit_test(a_late_edge_does_not_vote),
		cmocka_unit_test(who_hears_no_anchor_does_not_vote),
		cmocka_unit_test(anchors_take_a_few),
		cmocka_unit_test(anchors_of_all_are_silent),
		cmocka_unit_test(pools_are_as_their_regions),
		cmocka_unit_test(forced_regions_stay),
		cmocka_unit_test(who_decides_otherwise_is_seen),
		cmocka_unit_test(who_stays_behind_is_seen),
		cmocka_unit_test(who_is_away_is_not_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
