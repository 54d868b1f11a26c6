/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips through a real PostgreSQL: what several edges tell comes to the one whose turn it is,
 * what it publishes to all of them as one revision; whoever else publishes is refused.
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

enum { PATIENCE_MS = 60000, EDGES = 3, PERIOD_MS = 600000 };

static char conninfo[256];
static PGconn *admin;

/* ---- the cluster -----------------------------------------------------------------------------*/

static int cluster(const char *command, char *out, size_t size)
{
	const char *build = getenv("BUILD") ? getenv("BUILD") : "build";
	char line[512] = "", shell[512];
	FILE *pipe;

	snprintf(shell, sizeof(shell), "tests/db/cluster.sh %s %s/test-db-latency", command, build);
	pipe = popen(shell, "r");
	if (!pipe)
		return -1;
	if (fgets(line, sizeof(line), pipe) && out) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, size, "%s", line);
	}
	return pclose(pipe);
}

static const char *value(const char *sql)
{
	static char text[512];
	PGresult *result = PQexec(admin, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(admin));
	snprintf(text, sizeof(text), "%s",
		 PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "no row");
	PQclear(result);
	return text;
}

static void run(const char *sql)
{
	PGresult *result = PQexec(admin, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(admin));
}

static int set_up_group(void **state)
{
	struct gs_migration_status status;
	struct gs_error error = {{0}};

	(void)state;
	if (cluster("destroy", NULL, 0) != 0 || cluster("start", conninfo, sizeof(conninfo)) != 0 ||
	    gs_migrate_run(conninfo, NULL, NULL, &status, &error) != 0)
		return -1;
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

struct edge {
	struct gs_store store;
	struct gs_latency_store latency;
	bool connected;
	uint32_t disconnections;
	uint32_t turns, published, refused;
	int64_t epoch;
	struct gs_latency_measured measured[16];
	uint32_t measured_count;
	struct gs_snapshot *snapshot;
};

struct world {
	struct gs_loop *loop;
	struct gs_timer look;
	uint64_t deadline_us;
	bool (*is_done)(const struct world *world);
	bool timed_out;
	uint32_t want;
	const struct gs_latency_store *asker;
	const char *want_sql, *want_value;
	struct edge edges[EDGES];
};

static void on_snapshot(void *context, struct gs_snapshot *snapshot)
{
	struct edge *edge = context;

	gs_snapshot_free(edge->snapshot);
	edge->snapshot = snapshot;
}

static void on_connection(void *context, bool connected, const char *why)
{
	struct edge *edge = context;

	if (why[0])
		fprintf(stderr, "%s\n", why);
	edge->disconnections += edge->connected && !connected;
	edge->connected = connected;
}

static void on_turn(void *context, int64_t epoch, const struct gs_latency_measured *measured,
		    uint32_t count)
{
	struct edge *edge = context;

	assert_true(count <= ARRAY_SIZE(edge->measured));
	edge->turns++;
	edge->epoch = epoch;
	edge->measured_count = count;
	memcpy(edge->measured, measured, count * sizeof(*measured));
}

static void on_published(void *context, bool is_published)
{
	struct edge *edge = context;

	edge->published += is_published;
	edge->refused += !is_published;
}

static void look(struct gs_timer *timer)
{
	struct world *world = timer->context;

	world->timed_out = gs_now_us() > world->deadline_us;
	if (world->timed_out || world->is_done(world))
		gs_loop_stop(world->loop);
	else
		gs_loop_timer_set(world->loop, timer, 2);
}

static void until(struct world *world, bool (*is_done)(const struct world *world))
{
	world->is_done = is_done;
	world->deadline_us = gs_now_us() + PATIENCE_MS * 1000ull;
	gs_loop_timer_set(world->loop, &world->look, 0);
	gs_loop_run(world->loop);
	assert_false(world->timed_out);
}

static bool all_connected(const struct world *world)
{
	for (int e = 0; e < EDGES; e++)
		if (!world->edges[e].connected || !world->edges[e].snapshot)
			return false;
	return true;
}

static bool has_value(const struct world *world)
{
	return strcmp(value(world->want_sql), world->want_value) == 0;
}

static void until_value(struct world *world, const char *sql, const char *wanted)
{
	world->want_sql = sql;
	world->want_value = wanted;
	until(world, has_value);
}

static int set_up(void **state)
{
	static const struct gs_store_events events = {.on_snapshot = on_snapshot,
						      .on_connection = on_connection};
	static const struct gs_latency_store_events latency_events = {.on_turn = on_turn,
								      .on_published = on_published};
	static const char *const names[EDGES] = {"ams1", "fra1", "iad1"};
	struct world *world = calloc(1, sizeof(*world));
	struct gs_error error = {{0}};

	run("BEGIN; TRUNCATE geostream.regions CASCADE; TRUNCATE geostream.latency_samples,"
	    " geostream.retired_ids;"
	    " DELETE FROM geostream.retired_ids;"
	    " UPDATE geostream.latency_turn SET epoch = 0, holder = '', taken_at = '-infinity';"
	    " INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('eu', 50, 8),"
	    " ('us', 39, -77); COMMIT");
	world->look = (struct gs_timer){.on_due = look, .context = world};
	if (gs_loop_new(&world->loop))
		return -1;
	for (int e = 0; e < EDGES; e++) {
		struct edge *edge = &world->edges[e];

		if (gs_pg_open(world->loop, conninfo, names[e], &edge->store, &error) ||
		    edge->store.ops->start(edge->store.self, &events, edge))
			return -1;
		edge->latency = gs_pg_latency_store(&edge->store);
		edge->latency.ops->start(edge->latency.self, &latency_events, edge);
	}
	until(world, all_connected);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	for (int e = 0; e < EDGES; e++) {
		world->edges[e].store.ops->close(world->edges[e].store.self);
		gs_snapshot_free(world->edges[e].snapshot);
	}
	gs_loop_timer_clear(world->loop, &world->look);
	gs_loop_free(world->loop);
	free(world);
	return 0;
}

static struct gs_latency_told told_of(const char *place, const char *region, uint32_t samples,
				      uint32_t rtt_us)
{
	struct gs_latency_told told = {.continent = "EU",
				       .samples = samples,
				       .rtt_us = rtt_us,
				       .model_us = 3000,
				       .age_ms = 1000};

	snprintf(told.place, sizeof(told.place), "%s", place);
	snprintf(told.region, sizeof(told.region), "%s", region);
	return told;
}

static bool exchange(struct world *world, int e, const struct gs_latency_told *rows, uint32_t count)
{
	struct edge *edge = &world->edges[e];

	return edge->latency.ops->exchange(edge->latency.self, rows, count, PERIOD_MS);
}

static void publish(struct world *world, int e, int64_t epoch, const char *place, int32_t us,
		    bool is_gone)
{
	struct edge *edge = &world->edges[e];
	struct gs_latency_change change = {.region = 1, .is_gone = is_gone, .us = us, .samples = 9};
	static const struct gs_latency_step step = {.begins = true};

	snprintf(change.place, sizeof(change.place), "%s", place);
	edge->latency.ops->publish(edge->latency.self, epoch, &step, &change, 1);
}

/* Of so many of a hundred clients who go by what was before, to so many. */
static void go_on(struct world *world, int e, uint8_t from, uint8_t to)
{
	const struct gs_latency_step step = {.from_percent = from, .to_percent = to};
	struct edge *edge = &world->edges[e];

	edge->latency.ops->publish(edge->latency.self, edge->epoch, &step, NULL, 0);
}

static bool has_turns(const struct world *world)
{
	uint32_t turns = 0;

	for (int e = 0; e < EDGES; e++)
		turns += world->edges[e].turns;
	return turns >= world->want;
}

static bool has_answers(const struct world *world)
{
	uint32_t answers = 0;

	for (int e = 0; e < EDGES; e++)
		answers += world->edges[e].published + world->edges[e].refused;
	return answers >= world->want;
}

static bool has_rows(const struct world *world)
{
	for (int e = 0; e < EDGES; e++)
		if (world->edges[e].snapshot->latency_count != world->want)
			return false;
	return true;
}

static void until_count(struct world *world, bool (*is_done)(const struct world *world),
			uint32_t want)
{
	world->want = want;
	until(world, is_done);
}

static bool takes_exchange(const struct world *world)
{
	return world->asker->ops->exchange(world->asker->self, NULL, 0, PERIOD_MS);
}

/* Once its last one has ended. */
static void until_exchange(struct world *world, int e)
{
	world->asker = &world->edges[e].latency;
	until(world, takes_exchange);
}

/* ---- tests -----------------------------------------------------------------------------------*/

/* Two edges see the same cell; a third one has the turn. Of what is as new, samples are the weight.
 */
static void what_all_tell_comes_to_one(void **state)
{
	struct world *world = *state;
	const struct gs_latency_told of_ams[] = {told_of("cell:DE-BE/52,13", "eu", 10, 10000),
						 told_of("cell:DE/51,9", "us", 3, 90000)};
	const struct gs_latency_told of_fra[] = {told_of("cell:DE-BE/52,13", "eu", 30, 30000),
						 told_of("cell:DE/51,9", "nowhere", 3, 1)};
	const struct gs_latency_measured *m = world->edges[2].measured;

	assert_true(exchange(world, 2, NULL, 0));
	until_count(world, has_turns, 1);
	assert_int_equal(world->edges[2].turns, 1);
	assert_int_equal(world->edges[2].measured_count, 0);
	assert_true(exchange(world, 0, of_ams, 2));
	assert_true(exchange(world, 1, of_fra, 2));
	assert_false(exchange(world, 1, of_fra, 2)); /* it goes on */
	until_value(world, "SELECT count(*) FROM geostream.latency_samples", "4");
	assert_true(exchange(world, 2, NULL, 0));
	until_count(world, has_turns, 2);
	assert_int_equal(world->edges[2].turns, 2);
	assert_int_equal(world->edges[2].epoch, 2);
	assert_int_equal(world->edges[2].measured_count, 2);
	assert_string_equal(m[0].place, "cell:DE-BE/52,13");
	assert_string_equal(m[0].continent, "EU");
	assert_int_equal(m[0].region, 1);
	assert_int_equal(m[0].samples, 40);
	assert_in_range(m[0].rtt_us, 24500, 25500);
	assert_int_equal(m[0].model_us, 3000);
	assert_in_range(m[0].age_ms, 1000, PATIENCE_MS);
	assert_int_equal(m[1].region, 2);
	/* What is older counts less, and then not at all. */
	run("UPDATE geostream.latency_samples SET at = at - interval '4 minutes' WHERE edge = "
	    "'fra1'");
	assert_true(exchange(world, 2, NULL, 0));
	until_count(world, has_turns, 3);
	assert_in_range(m[0].rtt_us, 10000, 12000);
	run("UPDATE geostream.latency_samples SET at = at - interval '11 minutes'");
	assert_true(exchange(world, 2, NULL, 0));
	until_count(world, has_turns, 4);
	assert_int_equal(world->edges[2].measured_count, 0);
}

/* One vote an edge, however often it has probed; the middle one of what is more than distance. */
static void probes_have_a_vote_an_edge(void **state)
{
	static const struct {
		const char *region;
		uint32_t samples, rtt_us, model_us;
	} told[EDGES][2] = {
		{{"eu", 9, 12000, 2000}, {"us", 600, 80000, 70000}}, /* 10 ms more, 10 */
		{{"eu", 900, 45000, 40000},
		 {"us", 600, 30000, 60000}},			  /* 5, 0: less than distance */
		{{"eu", 600, 90000, 1000}, {"nowhere", 9, 1, 1}}, /* 89 */
	};
	struct world *world = *state;
	const struct gs_latency_measured *m = world->edges[2].measured;
	const struct gs_latency_told of_cell = told_of("cell:DE-BE/52,13", "eu", 10, 10000);

	assert_true(exchange(world, 2, &of_cell, 1));
	until_count(world, has_turns, 1);
	for (int e = 0; e < EDGES; e++) {
		struct gs_latency_told rows[2];

		for (int i = 0; i < 2; i++) {
			rows[i] = told_of("probes", told[e][i].region, told[e][i].samples,
					  told[e][i].rtt_us);
			rows[i].continent[0] = '\0';
			rows[i].model_us = told[e][i].model_us;
		}
		assert_true(exchange(world, e, rows, 2));
	}
	until_value(world, "SELECT count(*) FROM geostream.latency_samples WHERE place = 'probes'",
		    "6");
	until_count(world, has_turns, 2);
	assert_true(exchange(world, 2, NULL, 0));
	until_count(world, has_turns, 3);
	assert_int_equal(world->edges[2].measured_count, 3);
	assert_string_equal(m[0].place, "cell:DE-BE/52,13");
	assert_int_equal(m[0].rtt_us, 10000);
	assert_string_equal(m[1].place, "probes");
	assert_string_equal(m[1].continent, "");
	assert_int_equal(m[1].region, 1);
	assert_int_equal(m[1].samples, 1509);
	assert_int_equal(m[1].rtt_us, 45000);
	assert_int_equal(m[1].model_us, 35000); /* so that it is 10 ms more */
	assert_in_range(m[1].age_ms, 1000, PATIENCE_MS);
	assert_int_equal(m[2].region, 2);
	assert_int_equal(m[2].rtt_us, 30000); /* the lower of two */
	assert_int_equal(m[2].model_us, 30000);
	/* Who is away has no vote. */
	run("UPDATE geostream.latency_samples SET at = at - interval '11 minutes' WHERE edge = "
	    "'fra1' OR place <> 'probes'");
	assert_true(exchange(world, 2, NULL, 0));
	until_count(world, has_turns, 4);
	assert_int_equal(world->edges[2].measured_count, 2);
	assert_int_equal(m[0].rtt_us, 12000);
	assert_int_equal(m[0].model_us, 2000);
	assert_int_equal(m[1].rtt_us, 80000);
}

static void probes_are_published_as_places_are(void **state)
{
	struct world *world = *state;

	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 1);
	publish(world, 1, world->edges[1].epoch, "probes", 12345, false);
	until_count(world, has_rows, 1);
	for (int e = 0; e < EDGES; e++) {
		assert_string_equal(world->edges[e].snapshot->latencies->place, "probes");
		assert_int_equal(world->edges[e].snapshot->latencies->us, 12345);
	}
	publish(world, 1, world->edges[1].epoch, "probes", 0, true);
	until_count(world, has_rows, 0);
}

/* The same again is the same row; what is old goes, whoever's it was. */
static void what_is_told_is_kept_tidy(void **state)
{
	struct world *world = *state;
	struct gs_latency_told told[] = {told_of("cell:DE/51,9", "eu", 10, 10000),
					 told_of("cell:FR/48,2", "eu", 10, 20000)};

	run("INSERT INTO geostream.latency_samples (edge, place, region, samples, rtt_us, model_us,"
	    " at) VALUES ('gone', 'cell:DE/51,9', 'eu', 1, 1, 1, now() - interval '21 minutes'),"
	    " ('ams1', 'cell:DE/51,9', 'eu', 1, 1, 1, now() - interval '21 minutes'),"
	    " ('gone', 'cell:DE/51,9', 'us', 1, 1, 1, now() - interval '19 minutes')");
	assert_true(exchange(world, 0, told, 2));
	until_value(world,
		    "SELECT string_agg(edge || rtt_us, ' ' ORDER BY edge, rtt_us) FROM"
		    " geostream.latency_samples",
		    "ams110000 ams120000 gone1");
	until_count(world, has_turns, 1);
	told[0].rtt_us = 11000;
	assert_true(exchange(world, 0, told, 1));
	until_value(world,
		    "SELECT string_agg(edge || rtt_us, ' ' ORDER BY edge, rtt_us) FROM"
		    " geostream.latency_samples",
		    "ams111000 ams120000 gone1");
}

/* All at once, again and again: each epoch is one edge's, and the one that has it keeps it. */
static void one_edge_has_the_turn(void **state)
{
	struct world *world = *state;
	int holder = 0;

	for (uint32_t round = 0; round < 10; round++) {
		for (int e = 0; e < EDGES; e++)
			exchange(world, e, NULL, 0);
		until_count(world, has_turns, round + 1);
	}
	for (int e = 0; e < EDGES; e++)
		holder = world->edges[e].turns ? e : holder;
	assert_true(world->edges[holder].turns >= 10);
	assert_int_equal(world->edges[holder].epoch, world->edges[holder].turns);
	for (int e = 0; e < EDGES; e++)
		assert_true(e == holder || world->edges[e].turns == 0);
	/* It is away for three periods: another one takes it. */
	run("UPDATE geostream.latency_turn SET taken_at = now() - interval '29 minutes'");
	until_exchange(world, (holder + 1) % EDGES);
	until_value(world,
		    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%take_latency%'"
		    " AND state = 'active' AND pid <> pg_backend_pid()",
		    "0");
	assert_int_equal(world->edges[(holder + 1) % EDGES].turns, 0);
	run("UPDATE geostream.latency_turn SET taken_at = now() - interval '31 minutes'");
	world->want = world->edges[holder].turns + 1;
	until_exchange(world, (holder + 2) % EDGES);
	until(world, has_turns);
	assert_int_equal(world->edges[(holder + 2) % EDGES].turns, 1);
}

static void what_is_published_is_everybodys(void **state)
{
	struct world *world = *state;
	int64_t before;

	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 1);
	before = atoll(value("SELECT revision FROM geostream.revision"));
	publish(world, 1, world->edges[1].epoch, "cell:DE/51,9", 12345, false);
	until_count(world, has_rows, 1);
	assert_int_equal(world->edges[1].published, 1);
	for (int e = 0; e < EDGES; e++) {
		const struct gs_latency *row = world->edges[e].snapshot->latencies;

		assert_int_equal(world->edges[e].snapshot->revision, before + 1);
		assert_string_equal(world->edges[e].snapshot->actor, "latency, judged by fra1");
		assert_string_equal(row->place, "cell:DE/51,9");
		assert_int_equal(row->region, 1);
		assert_int_equal(row->us, 12345);
		assert_int_equal(row->samples, 9);
		assert_in_range(gs_unix_ms() - row->at_unix_ms, 0, PATIENCE_MS);
	}
	/* The same is no news. */
	publish(world, 1, world->edges[1].epoch, "cell:DE/51,9", 12345, false);
	until_count(world, has_answers, 2);
	assert_int_equal(atoll(value("SELECT revision FROM geostream.revision")), before + 1);
	publish(world, 1, world->edges[1].epoch, "cell:DE/51,9", 0, true);
	until_count(world, has_answers, 3);
	go_on(world, 1, 75, 0);
	until_count(world, has_rows, 0);
	assert_int_equal(world->edges[1].refused, 0);
}

/* us, what it was before, how many go by that, does it go: of all rows there are. */
static const char rows_now[] =
	"SELECT coalesce(string_agg(format('%s:%s/%s/%s%s', right(place, 2), us, before_us,"
	" before_percent, CASE WHEN goes THEN '/goes' END), ' ' ORDER BY place), '')"
	" FROM geostream.latency_estimates";

static void expect_rows(struct world *world, const char *rows)
{
	static uint32_t answers;

	answers = 0;
	for (int e = 0; e < EDGES; e++)
		answers += world->edges[e].published + world->edges[e].refused;
	until_count(world, has_answers, answers + 1);
	assert_string_equal(value(rows_now), rows);
}

/* What an edge has of it in the end. */
static bool has_wanted_row(const struct world *world)
{
	const struct gs_snapshot *snapshot = world->edges[2].snapshot;
	char text[64] = "";

	if (snapshot->latency_count == 1)
		snprintf(text, sizeof(text), "%d/%d/%u", snapshot->latencies[0].us,
			 snapshot->latencies[0].before_us, snapshot->latencies[0].before_percent);
	return strcmp(text, world->want_value) == 0;
}

static void until_row(struct world *world, const char *row)
{
	world->want_value = row;
	until(world, has_wanted_row);
}

static void a_change_is_published_step_by_step(void **state)
{
	struct world *world = *state;
	int64_t epoch, before;
	char at[64];

	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 1);
	epoch = world->edges[1].epoch;
	/* What is new. */
	publish(world, 1, epoch, "country:DE", 12345, false);
	expect_rows(world, "DE:12345//75");
	until_row(world, "12345/-2147483648/75");
	before = atoll(value("SELECT revision FROM geostream.revision"));
	go_on(world, 1, 75, 50);
	expect_rows(world, "DE:12345//50");
	/* Who has not read that yet takes no step twice, and ends nothing. */
	go_on(world, 1, 75, 50);
	expect_rows(world, "DE:12345//50");
	publish(world, 1, epoch, "country:DE", 12345, false);
	expect_rows(world, "DE:12345//50");
	assert_int_equal(atoll(value("SELECT revision FROM geostream.revision")), before + 1);
	go_on(world, 1, 50, 25);
	expect_rows(world, "DE:12345//25");
	go_on(world, 1, 25, 0);
	expect_rows(world, "DE:12345//0");
	until_row(world, "12345/0/0");
	/* What becomes another, at once with the end of the last change; when it did is told. */
	publish(world, 1, epoch, "country:DE", -20000, false);
	expect_rows(world, "DE:-20000/12345/75");
	until_row(world, "-20000/12345/75");
	snprintf(at, sizeof(at), "%s", value("SELECT at FROM geostream.latency_estimates"));
	go_on(world, 1, 75, 0);
	expect_rows(world, "DE:-20000//0");
	assert_string_equal(value("SELECT at FROM geostream.latency_estimates"), at);
	/* What goes, and comes back meanwhile. */
	publish(world, 1, epoch, "country:DE", 0, true);
	expect_rows(world, "DE:-20000//75/goes");
	until_row(world, "-2147483648/-20000/75");
	publish(world, 1, epoch, "country:FR", 1, false);
	expect_rows(world, "DE:-20000//75/goes FR:1//75");
	publish(world, 1, epoch, "country:FR", 0, true); /* nobody needs to go from it */
	expect_rows(world, "DE:-20000//75/goes");
	publish(world, 1, epoch, "country:DE", 7, false);
	expect_rows(world, "DE:7/-20000/75");
	publish(world, 1, epoch, "country:DE", 8, false); /* they still go by the first */
	expect_rows(world, "DE:8/-20000/75");
	publish(world, 1, epoch, "country:DE", 0, true);
	expect_rows(world, "DE:-20000//75/goes");
	go_on(world, 1, 75, 0);
	expect_rows(world, "");
	assert_int_equal(world->edges[1].refused, 0);
	/* An older program's list of rows: all at once. */
	publish(world, 1, epoch, "country:DE", 9, false);
	expect_rows(world, "DE:9//75");
	run("SELECT geostream.publish_latency('fra1', 1,"
	    " '[{\"place\": \"country:FR\", \"region\": 1, \"us\": 5, \"samples\": 1}]')");
	assert_string_equal(value(rows_now), "DE:9//0 FR:5//0");
	run("SELECT geostream.publish_latency('fra1', 1,"
	    " '[{\"place\": \"country:FR\", \"region\": 1}]')");
	assert_string_equal(value(rows_now), "DE:9//0");
}

static void whose_turn_is_over_publishes_nothing(void **state)
{
	struct world *world = *state;

	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 1);
	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 2);
	publish(world, 1, 1, "cell:DE/51,9", 12345, false); /* an epoch ago */
	publish(world, 0, 2, "cell:DE/51,9", 12345, false); /* another's */
	publish(world, 2, 3, "cell:DE/51,9", 12345, false); /* nobody's yet */
	until_count(world, has_answers, 3);
	for (int e = 0; e < EDGES; e++)
		assert_int_equal(world->edges[e].refused, 1);
	assert_string_equal(value("SELECT count(*) FROM geostream.latency_estimates"), "0");
}

/* Somebody edits the configuration and has not committed: the publish gives up, the edge stays. */
static void a_lock_is_not_waited_for(void **state)
{
	struct world *world = *state;

	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 1);
	run("BEGIN; UPDATE geostream.regions SET cost = 9 WHERE name = 'eu'");
	publish(world, 1, world->edges[1].epoch, "cell:DE/51,9", 12345, false);
	until_count(world, has_answers, 1);
	assert_int_equal(world->edges[1].refused, 1);
	run("ROLLBACK");
	publish(world, 1, world->edges[1].epoch, "cell:DE/51,9", 12345, false);
	until_count(world, has_rows, 1);
	assert_int_equal(world->edges[1].disconnections, 0);
	/* A region that goes takes its rows along. */
	run("DELETE FROM geostream.regions WHERE name = 'eu'");
	until_count(world, has_rows, 0);
}

/* The connection goes while something is under way: who waits hears that it came to nothing. */
static void a_lost_connection_is_told(void **state)
{
	struct world *world = *state;

	exchange(world, 1, NULL, 0);
	until_count(world, has_turns, 1);
	run("BEGIN; LOCK TABLE geostream.latency_turn");
	publish(world, 1, world->edges[1].epoch, "cell:DE/51,9", 12345, false);
	until_value(world, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
		    "1");
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
	    " 'geostream:fra1'");
	until_count(world, has_answers, 1);
	assert_int_equal(world->edges[1].refused, 1);
	assert_false(exchange(world, 1, NULL, 0)); /* away */
	run("ROLLBACK");
	until(world, all_connected);
	until_exchange(world, 1);
	until_count(world, has_turns, 2);
	assert_string_equal(value("SELECT count(*) FROM geostream.latency_estimates"), "0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_all_tell_comes_to_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(probes_have_a_vote_an_edge, set_up, tear_down),
		cmocka_unit_test_setup_teardown(probes_are_published_as_places_are, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_told_is_kept_tidy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_edge_has_the_turn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_published_is_everybodys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_is_published_step_by_step, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(whose_turn_is_over_publishes_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_lock_is_not_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_connection_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
