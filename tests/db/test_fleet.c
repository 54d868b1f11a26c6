/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hundred edges on one PostgreSQL: the real adapter a hundred times on one loop, with operators
 * who change the configuration meanwhile, a region that all lose at once, and a database that is
 * killed under them. One fleet for all tests, which go on from each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/adapters.h"
#include "user/adapters/migrate.h"
#include "user/app/snapshot_io.h"
#include "user/core/snapshot.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PATIENCE_MS = 60000, /* a bound for a machine that is busy, not an expectation */
	LOOK_AGAIN_MS = 5,
	EDGES = 100,
	REGIONS = 8, /* as base_state has it */
	PAIRED_REGION = REGIONS,
	WRITERS = 4,
	CHANGES = 25, /* of each writer */
	TRANSITIONS = 20,
	TOGETHER = 10,	     /* edges that start in the same moment */
	OUTAGE_ATTEMPTS = 3, /* of each edge, before the database comes back */
	BEATS = 2,
};

struct edge {
	char name[GS_NAME_MAX];
	struct gs_store store;
	struct gs_latency_store latency;
	bool is_connected;
	uint32_t connections, failures; /* attempts and connections that came to nothing */
	uint64_t revision;
	uint32_t snapshots, halves, steps_back;
	uint32_t demand_edges;
	uint32_t hearings, hearings_due; /* how often it has read what others vote */
	/* Of each other edge, whether it says down of region 1; and how many do. */
	bool is_heard[EDGES], says_down[EDGES];
	uint32_t heard, down;
	bool is_told; /* its round trips are on their way */
};

static struct {
	char conninfo[256];
	PGconn *admin;
	struct gs_loop *loop;
	struct gs_timer look;
	uint64_t deadline_us;
	bool (*is_done)(void);
	bool is_timed_out;
	struct edge edges[EDGES];
	FILE *command; /* cluster.sh, while it runs */
	atomic_uint writing;
	atomic_uint writer_failures;
	/* for conditions */
	uint64_t revision;
	const char *sql, *wanted;
	int opened;
} fleet;

/* ---- the cluster -----------------------------------------------------------------------------*/

static FILE *cluster_begin(const char *command)
{
	const char *build = getenv("BUILD") ? getenv("BUILD") : "build";
	char shell[512];

	snprintf(shell, sizeof(shell), "tests/db/cluster.sh %s %s/test-db-fleet", command, build);
	return popen(shell, "r");
}

/* The first line it prints into out (may be NULL). */
static int cluster(const char *command, char *out, size_t size)
{
	char line[512] = "";
	FILE *pipe = cluster_begin(command);

	if (!pipe)
		return -1;
	if (fgets(line, sizeof(line), pipe) && out) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, size, "%.255s", line);
	}
	return pclose(pipe);
}

static bool run_on(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(connection));
		return false;
	}
	return true;
}

static const char *value(const char *sql)
{
	static char text[256];
	PGresult *result = PQexec(fleet.admin, sql);

	snprintf(text, sizeof(text), "%s",
		 PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "no row");
	PQclear(result);
	return text;
}

static uint64_t number(const char *sql)
{
	return strtoull(value(sql), NULL, 10);
}

/* ---- waiting ---------------------------------------------------------------------------------*/

static void look(struct gs_timer *timer)
{
	fleet.is_timed_out = gs_now_us() > fleet.deadline_us;
	if (fleet.is_timed_out || fleet.is_done())
		gs_loop_stop(fleet.loop);
	else
		gs_loop_timer_set(fleet.loop, timer, LOOK_AGAIN_MS);
}

static bool until(bool (*is_done)(void))
{
	fleet.is_done = is_done;
	fleet.deadline_us = gs_now_us() + PATIENCE_MS * 1000ull;
	gs_loop_timer_set(fleet.loop, &fleet.look, 0);
	gs_loop_run(fleet.loop);
	return !fleet.is_timed_out;
}

static bool has_value(void)
{
	return strcmp(value(fleet.sql), fleet.wanted) == 0;
}

static bool until_value(const char *sql, const char *wanted)
{
	fleet.sql = sql;
	fleet.wanted = wanted;
	return until(has_value);
}

static bool are_all(bool (*is_so)(const struct edge *edge))
{
	for (int i = 0; i < EDGES; i++)
		if (!is_so(&fleet.edges[i]))
			return false;
	return true;
}

static bool is_current(const struct edge *edge)
{
	return edge->is_connected && edge->revision == fleet.revision;
}

static bool all_are_current(void)
{
	return are_all(is_current);
}

static bool until_current(void)
{
	fleet.revision = number("SELECT revision FROM geostream.revision");
	return until(all_are_current);
}

static bool hears_all(const struct edge *edge)
{
	return edge->heard == EDGES - 1;
}

static bool all_hear_all(void)
{
	return are_all(hears_all);
}

/* ---- edges -----------------------------------------------------------------------------------*/

/* Writers change a region's cost and its backends' weights in one transaction, or add and remove
 * two backends together. */
static bool is_half(const struct gs_snapshot *snapshot)
{
	uint32_t paired = 0;

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		const struct gs_region *region = gs_snapshot_region(snapshot, backend->region);

		paired += strncmp(backend->name, "pair-", 5) == 0;
		if (backend->region < WRITERS && backend->weight != (uint16_t)region->cost)
			return true;
	}
	return paired == 1;
}

static void report(struct edge *edge)
{
	const struct gs_edge_report row = {.generation = edge->revision,
					   .revision = edge->revision,
					   .digest = edge->revision * 7,
					   .published_unix_ms = gs_unix_ms()};

	edge->store.ops->report_edge(edge->store.self, &row);
}

static void on_snapshot(void *context, struct gs_snapshot *snapshot)
{
	struct edge *edge = context;

	edge->snapshots++;
	edge->halves += is_half(snapshot);
	edge->steps_back += snapshot->revision < edge->revision;
	edge->revision = snapshot->revision;
	gs_snapshot_free(snapshot);
	report(edge);
}

static void on_breakers(void *context, const struct gs_breaker_record *records, uint32_t count)
{
	(void)context;
	(void)records;
	(void)count;
}

static void on_connection(void *context, bool is_connected, const char *why)
{
	struct edge *edge = context;

	(void)why;
	edge->connections += is_connected && !edge->is_connected;
	edge->failures += !is_connected;
	edge->is_connected = is_connected;
}

static void on_demand(void *context, const struct gs_demand_told *rows, uint32_t count,
		      uint32_t edges)
{
	struct edge *edge = context;

	(void)rows;
	(void)count;
	edge->demand_edges = edges;
}

static void on_ballots(void *context, const struct gs_ballots *ballots)
{
	struct edge *edge = context;

	edge->hearings++;
	for (uint32_t i = 0; i < ballots->count; i++) {
		const struct gs_edge_ballot *ballot = &ballots->edges[i];
		unsigned int other = EDGES;

		if (sscanf(ballot->edge, "edge-%u", &other) != 1 || other >= EDGES)
			fail_msg("%s heard of '%s'", edge->name, ballot->edge);
		for (uint32_t v = 0; v < ballot->count; v++) {
			bool is_down = ballot->votes[v].vote == GS_VOTE_DOWN;

			if (ballot->votes[v].region != 1)
				continue;
			edge->heard += !edge->is_heard[other];
			edge->down += is_down;
			edge->down -= edge->says_down[other];
			edge->is_heard[other] = true;
			edge->says_down[other] = is_down;
		}
	}
}

static void vote(struct edge *edge, enum gs_vote of_first)
{
	struct gs_edge_vote votes[REGIONS];
	struct gs_ballot_paper paper = {.self = "well", .votes = votes, .count = REGIONS};

	for (gs_id region = 1; region <= REGIONS; region++)
		votes[region - 1] = (struct gs_edge_vote){
			.region = region, .vote = region == 1 ? of_first : GS_VOTE_UP};
	snprintf(paper.site, sizeof(paper.site), "site-%td", (edge - fleet.edges) % 10);
	edge->store.ops->vote(edge->store.self, &paper);
}

static void on_turn(void *context, int64_t epoch, const struct gs_latency_measured *measured,
		    uint32_t count)
{
	const struct gs_latency_change change = {
		.place = "country:DE", .region = 1, .us = 1000 + (int32_t)count, .samples = 5};
	static const struct gs_latency_step step = {.begins = true};
	struct edge *edge = context;

	(void)measured;
	edge->latency.ops->publish(edge->latency.self, epoch, &step, &change, 1);
}

static void on_published(void *context, bool is_published)
{
	(void)context;
	(void)is_published;
}

static int edge_open(struct edge *edge)
{
	static const struct gs_store_events events = {.on_snapshot = on_snapshot,
						      .on_breakers = on_breakers,
						      .on_demand = on_demand,
						      .on_connection = on_connection,
						      .on_ballots = on_ballots};
	static const struct gs_latency_store_events latency_events = {.on_turn = on_turn,
								      .on_published = on_published};
	struct gs_error error = {{0}};

	snprintf(edge->name, sizeof(edge->name), "edge-%td", edge - fleet.edges);
	if (gs_pg_open(fleet.loop, fleet.conninfo, edge->name, &edge->store, &error) != 0)
		return -1;
	edge->latency = gs_pg_latency_store(&edge->store);
	edge->latency.ops->start(edge->latency.self, &latency_events, edge);
	if (edge->store.ops->start(edge->store.self, &events, edge) != 0)
		return -1;
	vote(edge, GS_VOTE_UP);
	return 0;
}

/* ---- the group -------------------------------------------------------------------------------*/

static const char base_state[] =
	"BEGIN;"
	"INSERT INTO geostream.regions (name, latitude, longitude, cost)"
	" SELECT 'region-' || n, n, n, 100 FROM generate_series(1, 8) n;"
	"INSERT INTO geostream.policies (name, kind) VALUES ('nearest', 'geo');"
	"INSERT INTO geostream.policy_regions SELECT 1, n, n FROM generate_series(1, 8) n;"
	"INSERT INTO geostream.services (name, vip, port, protocol, policy)"
	" VALUES ('web', '198.51.100.10', 80, 'tcp', 1);"
	"INSERT INTO geostream.backends (name, service, region, address, weight)"
	" SELECT 'backend-' || n, 1, 1 + n % 8, '10.1.0.0'::inet + n, 100"
	" FROM generate_series(1, 32) n;"
	"COMMIT";

static int set_up_group(void **state)
{
	struct gs_migration_status status;
	struct gs_error error = {{0}};

	(void)state;
	if (cluster("destroy", NULL, 0) != 0 ||
	    cluster("start", fleet.conninfo, sizeof(fleet.conninfo)) != 0)
		return -1;
	if (gs_migrate_run(fleet.conninfo, NULL, NULL, &status, &error) != 0) {
		fprintf(stderr, "%s\n", error.text);
		return -1;
	}
	fleet.admin = PQconnectdb(fleet.conninfo);
	if (PQstatus(fleet.admin) != CONNECTION_OK || !run_on(fleet.admin, base_state) ||
	    !run_on(fleet.admin, "ALTER SYSTEM SET log_connections = on") ||
	    !run_on(fleet.admin, "SELECT pg_reload_conf()") || gs_loop_new(&fleet.loop) != 0)
		return -1;
	fleet.look = (struct gs_timer){.on_due = look};
	return 0;
}

static int tear_down_group(void **state)
{
	(void)state;
	for (int i = 0; i < fleet.opened; i++)
		fleet.edges[i].store.ops->close(fleet.edges[i].store.self);
	gs_loop_timer_clear(fleet.loop, &fleet.look);
	gs_loop_free(fleet.loop);
	PQfinish(fleet.admin);
	return cluster("destroy", NULL, 0);
}

/* ---- tests -----------------------------------------------------------------------------------*/

static const char connections_each[] =
	"SELECT max(n) || ' ' || count(*) FROM (SELECT count(*) AS n FROM pg_stat_activity"
	" WHERE application_name LIKE 'geostream:edge-%' GROUP BY application_name) AS each";

/* A hundred machines do not start in the same millisecond, but soon after each other. */
static bool are_few_on_the_way(void)
{
	int on_the_way = 0;

	for (int i = 0; i < fleet.opened; i++)
		on_the_way += !fleet.edges[i].is_connected;
	return on_the_way < TOGETHER;
}

static void all_register(void **state)
{
	(void)state;
	while (fleet.opened < EDGES) {
		assert_true(until(are_few_on_the_way));
		assert_int_equal(edge_open(&fleet.edges[fleet.opened++]), 0);
	}
	assert_true(until_current());
	assert_true(until(all_hear_all));
	assert_true(until_value("SELECT count(*) FROM geostream.edges WHERE revision ="
				" (SELECT revision FROM geostream.revision)",
				"100"));
	assert_string_equal(value("SELECT count(*) || ' ' || count(DISTINCT edge) FROM"
				  " geostream.votes WHERE vote = 'up'"),
			    "800 100");
	assert_true(until_value(connections_each, "1 100"));
}

/* One region's cost and its backends' weights; or, of the last writer, two backends. */
static void write_change(int writer, int n, char *sql, size_t size)
{
	if (writer < WRITERS - 1)
		snprintf(sql, size,
			 "BEGIN; UPDATE geostream.regions SET cost = %d WHERE id = %d;"
			 "UPDATE geostream.backends SET weight = %d WHERE region = %d; COMMIT",
			 101 + n, writer + 1, 101 + n, writer + 1);
	else if (n % 2 == 0)
		snprintf(sql, size,
			 "BEGIN; INSERT INTO geostream.backends (name, service, region, address)"
			 " VALUES ('pair-a', 1, %d, '10.2.0.1');"
			 "INSERT INTO geostream.backends (name, service, region, address)"
			 " VALUES ('pair-b', 1, %d, '10.2.0.2'); COMMIT",
			 PAIRED_REGION, PAIRED_REGION);
	else
		snprintf(sql, size,
			 "BEGIN; DELETE FROM geostream.backends WHERE name = 'pair-b';"
			 "DELETE FROM geostream.backends WHERE name = 'pair-a'; COMMIT");
}

static void *write_changes(void *context)
{
	int writer = (int)(intptr_t)context;
	PGconn *connection = PQconnectdb(fleet.conninfo);
	char sql[512];

	for (int n = 0; n < CHANGES; n++) {
		write_change(writer, n, sql, sizeof(sql));
		if (!run_on(connection, sql))
			atomic_fetch_add(&fleet.writer_failures, 1);
	}
	PQfinish(connection);
	atomic_fetch_sub(&fleet.writing, 1);
	return NULL;
}

static bool have_written(void)
{
	return atomic_load(&fleet.writing) == 0;
}

/* All there is to tell, while others write. */
static void tell(struct edge *edge)
{
	const struct gs_demand_told demand = {
		.home = "region-1", .usable = "region-1,region-2", .priority = 4, .per_second = 2};
	const struct gs_probe_minute minute = {.unix_s = gs_unix_ms() / 60000 * 60,
					       .service = "web",
					       .region = "region-1",
					       .backend = "backend-8",
					       .count = 60,
					       .p50_us = 100,
					       .p90_us = 200,
					       .p99_us = 300,
					       .max_us = 400};
	struct gs_transition transition = {.unix_ms = gs_unix_ms(),
					   .kind = GS_OBJECT_REGION,
					   .region = "region-1",
					   .from = "up",
					   .why = "a test"};

	for (int i = 0; i < TRANSITIONS; i++) {
		snprintf(transition.to, sizeof(transition.to), "state %d", i);
		edge->store.ops->record_transition(edge->store.self, &transition);
	}
	edge->store.ops->record_probes(edge->store.self, &minute, 1);
	edge->store.ops->report_demand(edge->store.self, &demand, 1);
}

static bool tells_round_trips(const struct edge *edge)
{
	return edge->is_told;
}

static bool all_tell_round_trips(void)
{
	static const struct gs_latency_told told = {.place = "cell:DE/52,13",
						    .continent = "EU",
						    .region = "region-1",
						    .samples = 10,
						    .rtt_us = 20000,
						    .model_us = 15000};

	for (int i = 0; i < EDGES; i++) {
		struct edge *edge = &fleet.edges[i];

		edge->is_told = edge->is_told ||
				edge->latency.ops->exchange(edge->latency.self, &told, 1, 60000);
	}
	return are_all(tells_round_trips);
}

static bool hears_demand(const struct edge *edge)
{
	return edge->demand_edges == EDGES - 1;
}

static bool all_hear_demand(void)
{
	return are_all(hears_demand);
}

static void operators_change_the_configuration(void **state)
{
	uint64_t before = number("SELECT revision FROM geostream.revision"), snapshots = 0;
	uint64_t began_us = gs_now_us();
	pthread_t threads[WRITERS];

	(void)state;
	atomic_store(&fleet.writing, WRITERS);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, write_changes, (void *)(intptr_t)i), 0);
	for (int i = 0; i < EDGES; i++)
		tell(&fleet.edges[i]);
	assert_true(until(have_written));
	assert_true(until(all_tell_round_trips));
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&fleet.writer_failures), 0);
	assert_true(until_value("SELECT count(*) FROM geostream.latency_estimates", "1"));
	assert_true(until_current());
	print_message("# %ju revisions by %d writers, in force on %d edges after %.1f s\n",
		      (uintmax_t)(fleet.revision - before), WRITERS, EDGES,
		      (double)(gs_now_us() - began_us) / 1e6);
	assert_true(fleet.revision - before > WRITERS * CHANGES);
	for (int i = 0; i < EDGES; i++) {
		assert_int_equal(fleet.edges[i].halves, 0);
		assert_int_equal(fleet.edges[i].steps_back, 0);
		snapshots += fleet.edges[i].snapshots;
	}
	/* they saw them come, not only the last one */
	assert_true(snapshots > 3 * EDGES);
	assert_true(until_value("SELECT count(*) || ' ' || count(DISTINCT (edge, to_state)) FROM"
				" geostream.transitions WHERE kind = 'region'",
				"2000 2000"));
	assert_true(until_value("SELECT count(*) FROM geostream.probe_minutes", "100"));
	assert_true(until_value("SELECT count(*) FROM geostream.latency_samples", "100"));
	assert_true(until_value("SELECT sum(per_second) FROM geostream.edge_demand", "200"));
	assert_true(until(all_hear_demand));
	assert_true(until_value(connections_each, "1 100"));
}

static bool has_listened(const struct edge *edge)
{
	return edge->hearings >= edge->hearings_due;
}

static bool all_have_listened(void)
{
	return are_all(has_listened);
}

static bool until_beats(uint32_t beats)
{
	for (int i = 0; i < EDGES; i++)
		fleet.edges[i].hearings_due = fleet.edges[i].hearings + beats;
	return until(all_have_listened);
}

static uint64_t transactions(void)
{
	return number("SELECT xact_commit + xact_rollback FROM pg_stat_database"
		      " WHERE datname = current_database()");
}

/* Nothing changes: heartbeats and what others say. Backends count with up to a second's delay. */
static void a_quiet_fleet_asks_little(void **state)
{
	uint64_t began_us, began;
	double seconds, each;

	(void)state;
	assert_true(until_beats(1));
	began_us = gs_now_us();
	began = transactions();
	assert_true(until_beats(BEATS));
	seconds = (double)(gs_now_us() - began_us) / 1e6;
	each = (double)(transactions() - began) / seconds / EDGES;
	print_message("# quiet: %.2f transactions a second of each edge\n", each);
	assert_true(each < 3);
}

static bool hears_down(const struct edge *edge)
{
	return edge->down == EDGES - 1;
}

static bool all_hear_down(void)
{
	return are_all(hears_down);
}

static uint64_t all_hearings(void)
{
	uint64_t all = 0;

	for (int i = 0; i < EDGES; i++)
		all += fleet.edges[i].hearings;
	return all;
}

/*
 * Everybody has news in the same moment, and everybody hears of it from everybody. A backend that
 * wakes up for a notification counts it as a transaction of its own.
 */
static void a_region_is_lost_by_all(void **state)
{
	uint64_t began_us, began, hearings;
	double seconds, each;

	(void)state;
	began_us = gs_now_us();
	began = transactions();
	hearings = all_hearings();
	for (int i = 0; i < EDGES; i++)
		vote(&fleet.edges[i], GS_VOTE_DOWN);
	assert_true(until(all_hear_down));
	seconds = (double)(gs_now_us() - began_us) / 1e6;
	each = (double)(all_hearings() - hearings) / EDGES;
	print_message("# all know of all others' votes after %.2f s, having read %.1f times\n",
		      seconds, each);
	assert_true(each <= 2 + seconds * 1000 / (4 * (EDGES - 1)));
	assert_true(until_beats(1)); /* what is counted late is counted then */
	each = (double)(transactions() - began) / EDGES;
	print_message("# that took %.1f transactions of each edge\n", each);
	assert_true(each < EDGES);
}

/* ---- a restart -------------------------------------------------------------------------------*/

static bool is_away_long(const struct edge *edge)
{
	return edge->failures >= OUTAGE_ATTEMPTS;
}

static bool all_are_away_long(void)
{
	return are_all(is_away_long);
}

static bool command_is_done(void)
{
	struct pollfd end = {.fd = fileno(fleet.command), .events = POLLIN};

	return poll(&end, 1, 0) == 1;
}

/* Milliseconds of the day, of a line "2026-01-31 12:34:56.789 UTC [...". */
static bool time_of(const char *line, uint32_t *ret_ms)
{
	unsigned int h, m, s, ms;

	if (sscanf(line, "%*4d-%*2d-%*2d %2u:%2u:%2u.%3u UTC", &h, &m, &s, &ms) != 4)
		return false;
	*ret_ms = ((h * 60 + m) * 60 + s) * 1000 + ms;
	return true;
}

struct seen {
	uint32_t attempts, busiest; /* connections, and the most of them within 100 ms */
	uint32_t errors;
	char first_error[256];
};

enum { DAY_MS = 86400000, SPAN_MS = 100, ATTEMPTS_MAX = 4096 };

/* What the server wrote from `from` on. Errors: but for those of its own going and coming. */
static struct seen read_log(long from)
{
	static uint32_t at_ms[ATTEMPTS_MAX];
	struct seen seen = {.attempts = 0};
	char path[512], line[1024];
	uint32_t first = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/server.log", value("SHOW data_directory"));
	file = fopen(path, "r");
	assert_non_null(file);
	fseek(file, from, SEEK_SET);
	while (fgets(line, sizeof(line), file)) {
		uint32_t ms;

		if (strstr(line, "connection received") && time_of(line, &ms) &&
		    seen.attempts < ATTEMPTS_MAX) {
			at_ms[seen.attempts++] = ms;
			while ((ms + DAY_MS - at_ms[first]) % DAY_MS >= SPAN_MS)
				first++;
			if (seen.attempts - first > seen.busiest)
				seen.busiest = seen.attempts - first;
		}
		if ((strstr(line, "ERROR:") || strstr(line, "PANIC:") || strstr(line, "FATAL:")) &&
		    !strstr(line, "the database system is") &&
		    /* an edge that gave up connecting, which is slow when a hundred do */
		    !strstr(line, "connection to client lost") &&
		    !strstr(line, "terminating connection")) {
			if (seen.errors++ == 0)
				snprintf(seen.first_error, sizeof(seen.first_error), "%.255s",
					 line);
		}
	}
	fclose(file);
	return seen;
}

static long log_end(void)
{
	char path[512];
	FILE *file;
	long end;

	snprintf(path, sizeof(path), "%s/server.log", value("SHOW data_directory"));
	file = fopen(path, "r");
	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	end = ftell(file);
	fclose(file);
	return end;
}

/*
 * All lose it in the same moment; they come back spread out, and what they have to say is there.
 * core/retry.c: ten waits shorter than the cap are in store; those at the cap are 5 s in the mean,
 * and earn a fifth of a short one.
 */
static void the_database_is_killed(void **state)
{
	long from = log_end();
	uint64_t lost_us, began_us, failures = 0;
	double away_s, back_s;
	struct seen seen;

	(void)state;
	for (int i = 0; i < EDGES; i++)
		fleet.edges[i].failures = 0;
	lost_us = gs_now_us();
	fleet.command = cluster_begin("crash");
	assert_non_null(fleet.command);
	assert_true(until(command_is_done));
	assert_int_equal(pclose(fleet.command), 0);
	assert_true(until(all_are_away_long));
	for (int i = 0; i < EDGES; i++)
		tell(&fleet.edges[i]);
	began_us = gs_now_us();
	fleet.command = cluster_begin("start");
	assert_non_null(fleet.command);
	assert_true(until(command_is_done));
	assert_int_equal(pclose(fleet.command), 0);
	PQreset(fleet.admin);
	assert_int_equal(PQstatus(fleet.admin), CONNECTION_OK);
	assert_true(run_on(fleet.admin, "UPDATE geostream.regions SET cost = 7 WHERE id = 8"));
	assert_true(until_current());
	back_s = (double)(gs_now_us() - began_us) / 1e6;
	away_s = (double)(gs_now_us() - lost_us) / 1e6;
	for (int i = 0; i < EDGES; i++)
		failures += fleet.edges[i].failures;
	seen = read_log(from);
	print_message("# all are back %.1f s after it is begun: %u connections, at most %u within"
		      " 100 ms; %.1f attempts in vain of each edge in %.1f s\n",
		      back_s, seen.attempts, seen.busiest, (double)failures / EDGES, away_s);
	assert_true(seen.attempts >= EDGES);
	assert_true(seen.attempts < EDGES * (1 + back_s / 4));
	assert_true(seen.busiest < EDGES / 2);
	assert_true((double)failures < EDGES * (11 + away_s / 4));
	assert_true(until_value("SELECT count(*) FROM geostream.transitions WHERE kind = 'region'",
				"4000"));
	assert_true(until_value("SELECT count(*) || ' ' || count(DISTINCT edge) FROM"
				" geostream.votes WHERE vote = 'down'",
				"100 100"));
	assert_true(until_value(connections_each, "1 100"));
}

static void nothing_was_refused(void **state)
{
	struct seen seen = read_log(0);

	(void)state;
	if (seen.errors > 0)
		fail_msg("%u errors, the first: %s", seen.errors, seen.first_error);
	assert_string_equal(value("SELECT deadlocks FROM pg_stat_database"
				  " WHERE datname = current_database()"),
			    "0");
	for (int i = 0; i < EDGES; i++) {
		assert_int_equal(fleet.edges[i].halves, 0);
		assert_int_equal(fleet.edges[i].steps_back, 0);
		assert_true(fleet.edges[i].connections >= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_register),
		cmocka_unit_test(operators_change_the_configuration),
		cmocka_unit_test(a_quiet_fleet_asks_little),
		cmocka_unit_test(a_region_is_lost_by_all),
		cmocka_unit_test(the_database_is_killed),
		cmocka_unit_test(nothing_was_refused),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
