/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Votes by way of a real PostgreSQL: several sessions of the real adapter on one loop, each an edge
 * that hears what the others have told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/adapters.h"
#include "user/adapters/migrate.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A bound for a machine that is busy, not an expectation. */
enum { PATIENCE_MS = 60000, LOOK_AGAIN_MS = 2, EDGES = 4, VOTES_MAX = 8 };

static char conninfo[256];
static PGconn *admin;

/* ---- the cluster -----------------------------------------------------------------------------*/

static int cluster(const char *command, char *out, size_t size)
{
	const char *build = getenv("BUILD") ? getenv("BUILD") : "build";
	char line[512] = "", shell[512];
	FILE *pipe;

	snprintf(shell, sizeof(shell), "tests/db/cluster.sh %s %s/test-db-votes", command, build);
	pipe = popen(shell, "r");
	if (!pipe)
		return -1;
	if (fgets(line, sizeof(line), pipe) && out) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, size, "%s", line);
	}
	return pclose(pipe);
}

static void run(const char *sql)
{
	PGresult *result = PQexec(admin, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(admin));
}

static const char *value(const char *sql)
{
	static char text[256];
	PGresult *result = PQexec(admin, sql);

	snprintf(text, sizeof(text), "%s",
		 PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "no row");
	PQclear(result);
	return text;
}

static int set_up_group(void **state)
{
	struct gs_migration_status status;
	struct gs_error error = {{0}};

	(void)state;
	if (cluster("destroy", NULL, 0) != 0 || cluster("start", conninfo, sizeof(conninfo)) != 0)
		return -1;
	if (gs_migrate_run(conninfo, NULL, NULL, &status, &error) != 0) {
		fprintf(stderr, "%s\n", error.text);
		return -1;
	}
	admin = PQconnectdb(conninfo);
	return PQstatus(admin) == CONNECTION_OK ? 0 : -1;
}

static int tear_down_group(void **state)
{
	(void)state;
	PQfinish(admin);
	return cluster("destroy", NULL, 0);
}

/* ---- edges -----------------------------------------------------------------------------------*/

/* What one edge has heard of another, put together as the daemon does. */
struct heard {
	struct gs_edge_ballot last;
	struct gs_edge_vote votes[VOTES_MAX];
	uint32_t count, news, wholes;
};

struct edge {
	struct world *world;
	char name[GS_NAME_MAX];
	struct gs_store store;
	bool connected;
	uint32_t connections, ballots;
	struct heard heard[EDGES];
	uint16_t permille;
};

struct world {
	struct gs_loop *loop;
	struct gs_timer look;
	uint64_t deadline_us;
	bool timed_out;
	bool (*is_done)(const struct world *world);
	struct edge edges[EDGES];
	/* for conditions */
	gs_id service, region;
	enum gs_vote vote;
	uint32_t count;
	const char *text;
};

static void on_snapshot(void *context, struct gs_snapshot *snapshot)
{
	(void)context;
	gs_snapshot_free(snapshot);
}

static void on_breakers(void *context, const struct gs_breaker_record *records, uint32_t count)
{
	(void)context;
	(void)records;
	(void)count;
}

static void on_connection(void *context, bool connected, const char *why)
{
	struct edge *edge = context;

	(void)why;
	edge->connections += connected && !edge->connected;
	edge->connected = connected;
}

static void take(struct heard *heard, const struct gs_edge_vote *vote)
{
	uint32_t at = 0;

	while (at < heard->count && (heard->votes[at].service != vote->service ||
				     heard->votes[at].region != vote->region))
		at++;
	if (at == heard->count)
		heard->count++;
	assert_true(heard->count <= VOTES_MAX);
	heard->votes[at] = *vote;
}

static void on_ballots(void *context, const struct gs_ballots *ballots)
{
	struct edge *edge = context;

	edge->ballots++;
	edge->permille = ballots->rule.down_permille;
	for (uint32_t i = 0; i < ballots->count; i++) {
		const struct gs_edge_ballot *news = &ballots->edges[i];
		unsigned int number;
		struct heard *heard;

		assert_int_equal(sscanf(news->edge, "edge-%u", &number), 1);
		assert_string_not_equal(news->edge, edge->name);
		heard = &edge->heard[number];
		assert_true(news->seq >= heard->last.seq || news->is_whole);
		heard->last = *news;
		heard->last.votes = NULL;
		heard->news += news->is_new;
		heard->wholes += news->is_whole;
		if (news->is_whole)
			heard->count = 0;
		for (uint32_t v = 0; v < news->count; v++)
			take(heard, &news->votes[v]);
	}
}

static void look(struct gs_timer *timer)
{
	struct world *world = timer->context;

	world->timed_out = gs_now_us() > world->deadline_us;
	if (world->timed_out || world->is_done(world))
		gs_loop_stop(world->loop);
	else
		gs_loop_timer_set(world->loop, timer, LOOK_AGAIN_MS);
}

static bool until(struct world *world, bool (*is_done)(const struct world *world))
{
	world->is_done = is_done;
	world->deadline_us = gs_now_us() + PATIENCE_MS * 1000ull;
	gs_loop_timer_set(world->loop, &world->look, 0);
	gs_loop_run(world->loop);
	return !world->timed_out;
}

static void tell(struct edge *edge, const char *site, const char *why,
		 const struct gs_edge_vote *votes, uint32_t count)
{
	struct gs_ballot_paper paper = {.votes = votes, .count = count};

	snprintf(paper.site, sizeof(paper.site), "%s", site);
	snprintf(paper.self, sizeof(paper.self), "%s", why[0] ? "late" : "well");
	snprintf(paper.self_why, sizeof(paper.self_why), "%s", why);
	edge->store.ops->vote(edge->store.self, &paper);
}

static void report(struct edge *edge)
{
	const struct gs_edge_report row = {.generation = 7,
					   .revision = 4,
					   .digest = 8,
					   .geo_digest = UINT64_MAX,
					   .selection_seed = 9};

	edge->store.ops->report_edge(edge->store.self, &row);
}

static bool all_connected(const struct world *world)
{
	for (int i = 0; i < EDGES; i++)
		if (!world->edges[i].connected)
			return false;
	return true;
}

/* Everybody has heard everybody's vote on the world's region. */
static bool all_heard(const struct world *world)
{
	for (int i = 0; i < EDGES; i++)
		for (int j = 0; j < EDGES; j++) {
			const struct heard *heard = &world->edges[i].heard[j];

			if (i != j && (heard->count != 2 || heard->votes[0].vote != GS_VOTE_UP))
				return false;
		}
	return true;
}

static int set_up(void **state)
{
	static const struct gs_store_events events = {.on_snapshot = on_snapshot,
						      .on_breakers = on_breakers,
						      .on_connection = on_connection,
						      .on_ballots = on_ballots};
	static const struct gs_edge_vote up[] = {{0, 1, GS_VOTE_UP}, {0, 2, GS_VOTE_DOWN}};
	struct world *world = calloc(1, sizeof(*world));
	struct gs_error error = {{0}};

	run("TRUNCATE geostream.edges, geostream.votes, geostream.generations;"
	    "UPDATE geostream.quorum SET down_permille = 500");
	world->look = (struct gs_timer){.on_due = look, .context = world};
	if (gs_loop_new(&world->loop) != 0)
		return -1;
	for (int i = 0; i < EDGES; i++) {
		struct edge *edge = &world->edges[i];

		edge->world = world;
		snprintf(edge->name, sizeof(edge->name), "edge-%d", i);
		if (gs_pg_open(world->loop, conninfo, edge->name, &edge->store, &error) != 0 ||
		    edge->store.ops->start(edge->store.self, &events, edge) != 0)
			return -1;
		tell(edge, i < 2 ? "fra" : "ams", "", up, 2);
		report(edge);
	}
	*state = world;
	return until(world, all_connected) && until(world, all_heard) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	for (int i = 0; i < EDGES; i++)
		world->edges[i].store.ops->close(world->edges[i].store.self);
	gs_loop_timer_clear(world->loop, &world->look);
	gs_loop_free(world->loop);
	free(world);
	return 0;
}

/* ---- tests -----------------------------------------------------------------------------------*/

static void edges_hear_each_other(void **state)
{
	struct world *world = *state;
	const struct gs_edge_ballot *ballot = &world->edges[0].heard[3].last;

	assert_string_equal(ballot->site, "ams");
	assert_string_equal(ballot->self, "well");
	assert_string_equal(ballot->self_why, "");
	assert_int_equal(ballot->generation, 7);
	assert_string_equal(ballot->version, GS_VERSION);
	assert_int_equal(ballot->revision, 4);
	assert_int_equal(ballot->digest, 8);
	assert_true(ballot->geo_digest == UINT64_MAX);
	assert_int_equal(ballot->selection_seed, 9);
	assert_true(ballot->age_ms < PATIENCE_MS);
	assert_int_equal(world->edges[0].permille, 500);
	assert_int_equal(world->edges[0].heard[1].votes[1].vote, GS_VOTE_DOWN);
	assert_string_equal(value("SELECT count(*) FROM geostream.votes"), "8");
}

static bool heard_change(const struct world *world)
{
	for (int i = 0; i < EDGES - 1; i++) {
		const struct heard *heard = &world->edges[i].heard[EDGES - 1];
		bool found = false;

		for (uint32_t v = 0; v < heard->count; v++)
			found = found || (heard->votes[v].service == world->service &&
					  heard->votes[v].region == world->region &&
					  heard->votes[v].vote == world->vote);
		if (!found)
			return false;
	}
	return true;
}

static bool heard_twice_more(const struct world *world)
{
	return world->edges[0].ballots >= world->count;
}

/* Of what changes the others read just that, and soon. */
static void a_change_is_news(void **state)
{
	static const struct gs_edge_vote pool[] = {
		{0, 1, GS_VOTE_UP}, {0, 2, GS_VOTE_DOWN}, {5, 1, GS_VOTE_DOWN}};
	static const struct gs_edge_vote turned[] = {{0, 1, GS_VOTE_DOWN}, {0, 2, GS_VOTE_DOWN}};
	struct world *world = *state;
	struct heard *heard = &world->edges[0].heard[EDGES - 1];
	uint32_t wholes = heard->wholes, news;

	world->service = 5;
	world->region = 1;
	world->vote = GS_VOTE_DOWN;
	tell(&world->edges[EDGES - 1], "ams", "", pool, 3);
	assert_true(until(world, heard_change));
	assert_int_equal(heard->count, 3);
	/* The pool's own is taken back in the same turn as the region's changes. */
	world->vote = GS_VOTE__COUNT;
	tell(&world->edges[EDGES - 1], "ams", "", turned, 2);
	assert_true(until(world, heard_change));
	world->service = 0;
	world->vote = GS_VOTE_DOWN;
	assert_true(until(world, heard_change));
	assert_int_equal(heard->wholes, wholes);
	assert_string_equal(
		value("SELECT vote FROM geostream.votes WHERE edge = 'edge-3' AND service = 5"),
		"region");
	/* While it goes on saying the same, its votes stay fresh, and are not read again. */
	news = heard->news;
	world->count = world->edges[0].ballots + 2;
	assert_true(until(world, heard_twice_more));
	assert_int_equal(heard->news, news);
	assert_true(heard->last.age_ms < GS_VOTE_FRESH_MS);
}

static bool heard_doubt(const struct world *world)
{
	return strcmp(world->edges[0].heard[1].last.self_why, world->text) == 0;
}

static void doubt_is_told(void **state)
{
	static const struct gs_edge_vote unknown[] = {{0, 1, GS_VOTE_UNKNOWN},
						      {0, 2, GS_VOTE_UNKNOWN}};
	struct world *world = *state;

	world->text = "its loop is late";
	tell(&world->edges[1], "fra", world->text, unknown, 2);
	assert_true(until(world, heard_doubt));
	assert_string_equal(world->edges[0].heard[1].last.self, "late");
	assert_int_equal(world->edges[0].heard[1].votes[0].vote, GS_VOTE_UNKNOWN);
}

static bool heard_rule(const struct world *world)
{
	return world->edges[2].permille == 660;
}

static void the_rule_is_heard(void **state)
{
	run("UPDATE geostream.quorum SET down_permille = 660");
	assert_true(until(*state, heard_rule));
}

static bool has_come_again(const struct world *world)
{
	return strcmp(value("SELECT count(*) FROM geostream.votes"), "8") == 0 &&
	       world->edges[3].heard[0].wholes >= world->count;
}

/* An edge that somebody removes registers again, with all it has to say. */
static void a_removed_edge_comes_again(void **state)
{
	struct world *world = *state;

	world->count = world->edges[3].heard[0].wholes + 1;
	run("DELETE FROM geostream.edges WHERE name = 'edge-0'");
	assert_true(until(world, has_come_again));
	assert_true(all_heard(world));
}

static bool is_back(const struct world *world)
{
	return world->edges[2].connections >= 2 && world->edges[2].connected &&
	       world->edges[2].heard[0].wholes >= world->count && all_heard(world) &&
	       strcmp(value("SELECT count(*) FROM geostream.votes WHERE edge = 'edge-2'"), "2") ==
		       0;
}

/* What was written while it was away, and by whom, does not matter: all of it is written anew. */
static void a_lost_connection_begins_anew(void **state)
{
	struct world *world = *state;

	world->count = world->edges[2].heard[0].wholes + 1;
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = 'geostream:edge-2'");
	run("UPDATE geostream.votes SET vote = 'down' WHERE edge = 'edge-2';"
	    "INSERT INTO geostream.votes (edge, service, region, vote, seq)"
	    " VALUES ('edge-2', 9, 9, 'down', 1)");
	assert_true(until(world, is_back));
}

/* The clock is the database's: an edge's own says nothing of how old its votes are. */
static void ages_are_the_databases(void **state)
{
	struct world *world = *state;

	world->edges[1].store.ops->close(world->edges[1].store.self);
	run("UPDATE geostream.edges SET voted_at = clock_timestamp() - interval '40 seconds'"
	    " WHERE name = 'edge-1'");
	world->count = world->edges[0].ballots + 2;
	assert_true(until(world, heard_twice_more));
	assert_true(world->edges[0].heard[1].last.age_ms >= 40000);
	/* In the future of it, by somebody's hand: as of now. */
	run("UPDATE geostream.edges SET voted_at = clock_timestamp() + interval '40 seconds'"
	    " WHERE name = 'edge-1'");
	world->count = world->edges[0].ballots + 2;
	assert_true(until(world, heard_twice_more));
	assert_int_equal(world->edges[0].heard[1].last.age_ms, 0);
	world->edges[1].store.ops = NULL;
}

static int tear_down_but_one(void **state)
{
	struct world *world = *state;
	struct gs_error error;

	/* In place of the one that the test has closed. */
	if (gs_pg_open(world->loop, conninfo, "edge-1", &world->edges[1].store, &error) != 0)
		return -1;
	return tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(edges_hear_each_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_is_news, set_up, tear_down),
		cmocka_unit_test_setup_teardown(doubt_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_rule_is_heard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_removed_edge_comes_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_connection_begins_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ages_are_the_databases, set_up, tear_down_but_one),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
