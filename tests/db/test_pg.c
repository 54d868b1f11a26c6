/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store adapter on a real PostgreSQL of its own: what is committed arrives, what makes no sense
 * does not, what is told is written once and in order, whatever happens to the server meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/adapters/adapters.h"
#include "user/adapters/migrate.h"
#include "user/adapters/pg_writes.h"
#include "user/app/snapshot_io.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Generous: a bound for a machine that is busy, not an expectation. */
enum { PATIENCE_MS = 60000, LOOK_AGAIN_MS = 2, OFFLINE_TRANSITIONS = 450 };

static char conninfo[256];
static PGconn *admin;

/* ---- the cluster -----------------------------------------------------------------------------*/

/* Runs cluster.sh on this program's cluster; the first line it prints into out (may be NULL). */
static int cluster(const char *command, char *out, size_t size)
{
	const char *build = getenv("BUILD") ? getenv("BUILD") : "build";
	char line[512] = "", shell[512];
	FILE *pipe;

	snprintf(shell, sizeof(shell), "tests/db/cluster.sh %s %s/test-db-pg", command, build);
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
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(admin));
	snprintf(text, sizeof(text), "%s",
		 PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "no row");
	PQclear(result);
	return text;
}

static void run_on(PGconn *connection, const char *sql)
{
	PGresult *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);

	PQclear(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(connection));
}

static void run(const char *sql)
{
	run_on(admin, sql);
}

static void reconnect_admin(void)
{
	PQfinish(admin);
	admin = PQconnectdb(conninfo);
	if (PQstatus(admin) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(admin));
}

static const char base_state[] =
	"BEGIN;"
	"TRUNCATE geostream.regions, geostream.policies, geostream.policy_regions,"
	" geostream.services, geostream.backends, geostream.overrides, geostream.access, geostream.fences,"
	" geostream.retired_ids,"
	" geostream.edges, geostream.votes, geostream.generations, geostream.transitions,"
	" geostream.health_states,"
	" geostream.breaker_forces, geostream.breaker_states, geostream.probe_minutes,"
	" geostream.overlays,"
	" geostream.audit CASCADE;"
	"DELETE FROM geostream.retired_ids;"
	/* times here are round numbers long ago, and edges tidy up when they start */
	"UPDATE geostream.retention SET keep_days = 36500;"
	"INSERT INTO geostream.regions (name, latitude, longitude, cost, capacity)"
	" VALUES ('eu', 50.1, 8.7, 0.02, 1000), ('us', 39, -77, 0, 0);"
	"INSERT INTO geostream.policies (name, kind) VALUES ('nearest', 'geo');"
	"INSERT INTO geostream.policy_regions VALUES (1, 1, 2), (1, 2, 1);"
	"INSERT INTO geostream.services (name, vip, port, protocol, policy, probe_host)"
	" VALUES ('web', '198.51.100.10', 80, 'tcp', 1, 'example.net');"
	"INSERT INTO geostream.backends (name, service, region, address, admin)"
	" VALUES ('eu-1', 1, 1, '10.1.0.11', 'drain'), ('us-1', 1, 2, 'fd00:2::11', 'auto');"
	"INSERT INTO geostream.overrides VALUES ('203.0.113.0/24', 2, 'ticket 42'),"
	" ('2001:db8::/32', 1, 'h\u00e9');"
	"INSERT INTO geostream.overrides (asn, region) VALUES (4294967295, 2), (64500, 1);"
	"INSERT INTO geostream.overrides (place, region) VALUES ('country:DE', 1);"
	"COMMIT";

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

/* ---- a store and what it says ----------------------------------------------------------------*/

struct world {
	struct gs_loop *loop;
	struct gs_store store;
	struct gs_timer look;
	uint64_t deadline_us;
	bool (*is_done)(const struct world *world);
	bool timed_out;

	struct gs_snapshot *snapshot;
	uint64_t went_back; /* snapshots older than the one before */
	uint32_t snapshots;
	bool connected;
	uint32_t disconnections;
	char why[GS_ERROR_MAX];
	uint64_t arrived_us;

	uint64_t want_revision;
	const char *want_why;
	const char *want_sql, *want_value;
	int breaker_calls;
	uint32_t breaker_count;
	struct gs_breaker_record breaker; /* the first one */
	struct gs_demand_told demand[4];  /* of others, as heard last */
	uint32_t demand_count, demand_edges;
	float want_demand; /* the first row's */
};

static void on_snapshot(void *context, struct gs_snapshot *snapshot)
{
	struct world *world = context;

	world->snapshots++;
	world->arrived_us = gs_now_us();
	if (world->snapshot && world->snapshot->revision > snapshot->revision)
		world->went_back++;
	gs_snapshot_free(world->snapshot);
	world->snapshot = snapshot;
}

static void on_connection(void *context, bool connected, const char *why)
{
	struct world *world = context;

	world->disconnections += world->connected && !connected;
	world->connected = connected;
	snprintf(world->why, sizeof(world->why), "%s", why);
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

/* Runs the loop until the condition holds; false if it never did. */
static bool until(struct world *world, bool (*is_done)(const struct world *world))
{
	world->is_done = is_done;
	world->deadline_us = gs_now_us() + PATIENCE_MS * 1000ull;
	gs_loop_timer_set(world->loop, &world->look, 0);
	gs_loop_run(world->loop);
	if (world->timed_out)
		fprintf(stderr, "gave up: connected=%d why=%s revision=%ju\n", world->connected,
			world->why, world->snapshot ? (uintmax_t)world->snapshot->revision : 0);
	return !world->timed_out;
}

static void on_breakers(void *context, const struct gs_breaker_record *records, uint32_t count)
{
	struct world *world = context;

	assert_int_equal(world->snapshots, 0); /* they come first */
	world->breaker_calls++;
	world->breaker_count = count;
	if (count > 0)
		world->breaker = records[0];
}

static void on_demand(void *context, const struct gs_demand_told *rows, uint32_t count,
		      uint32_t edges)
{
	struct world *world = context;

	assert_true(count <= 4);
	memcpy(world->demand, rows, count * sizeof(*rows));
	world->demand_count = count;
	world->demand_edges = edges;
}

static bool has_demand(const struct world *world)
{
	return world->want_demand > 0 ? world->demand_count > 0 &&
						world->demand[0].per_second == world->want_demand
				      : world->demand_count == 0;
}

static bool has_revision(const struct world *world)
{
	return world->snapshot && world->snapshot->revision == world->want_revision;
}

static bool has_why(const struct world *world)
{
	return strstr(world->why, world->want_why);
}

static bool has_value(const struct world *world)
{
	return strcmp(value(world->want_sql), world->want_value) == 0;
}

static bool is_connected(const struct world *world)
{
	return world->connected;
}

static bool is_away(const struct world *world)
{
	return !world->connected;
}

static bool until_current(struct world *world)
{
	world->want_revision = strtoull(value("SELECT revision FROM geostream.revision"), NULL, 10);
	return until(world, has_revision);
}

static bool until_value(struct world *world, const char *sql, const char *want)
{
	world->want_sql = sql;
	world->want_value = want;
	return until(world, has_value);
}

static void world_open(struct world *world, const char *database)
{
	static const struct gs_store_events events = {.on_snapshot = on_snapshot,
						      .on_breakers = on_breakers,
						      .on_demand = on_demand,
						      .on_connection = on_connection};
	struct gs_error error = {{0}};

	*world = (struct world){.look = {.on_due = look, .context = world}};
	assert_int_equal(gs_loop_new(&world->loop), 0);
	assert_int_equal(gs_pg_open(world->loop, database, "edge-1", &world->store, &error), 0);
	assert_int_equal(world->store.ops->start(world->store.self, &events, world), 0);
}

static void world_close(struct world *world)
{
	world->store.ops->close(world->store.self);
	gs_loop_timer_clear(world->loop, &world->look);
	gs_loop_free(world->loop);
	gs_snapshot_free(world->snapshot);
}

static const char tidied[] = "SELECT count(*) FROM pg_stat_activity"
			     " WHERE application_name = 'geostream:edge-1' AND state = 'idle'"
			     " AND query LIKE '%maintain%'";

static int set_up(void **state)
{
	struct world *world = malloc(sizeof(*world));

	run(base_state);
	world_open(world, conninfo);
	*state = world;
	/* An edge that starts tidies the history up: a test may stop or kill its connection. */
	return until_current(world) && until_value(world, tidied, "1") ? 0 : -1;
}

static int tear_down(void **state)
{
	world_close(*state);
	free(*state);
	return 0;
}

/* An edge tidies up as it starts only if none has of late: many start at once after an upgrade. */
static void test_one_edge_tidies_for_all(void **state)
{
	static const struct {
		const char *done_at, *is_done;
	} cases[] = {{"now() - interval '40 minutes'", "f"},
		     {"now() - interval '51 minutes'", "t"},
		     {"'-infinity'", "t"},
		     {"now() + interval '1 day'", "t"}};
	struct world *world = *state;

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		char update[128];

		snprintf(update, sizeof(update), "UPDATE geostream.upkeep SET done_at = %s",
			 cases[c].done_at);
		world_close(world);
		run(update);
		world_open(world, conninfo);
		assert_true(until_current(world));
		assert_true(until_value(world, tidied, "1"));
		assert_string_equal(value("SELECT abs(extract(epoch FROM now() - done_at)) < 600"
					  " FROM geostream.upkeep"),
				    cases[c].is_done);
	}
}

/* ---- snapshots -------------------------------------------------------------------------------*/

static void test_first_snapshot_is_whole(void **state)
{
	const struct world *world = *state;
	const struct gs_snapshot *s = world->snapshot;
	struct gs_prefix prefix;
	struct gs_addr addr;
	char seed[32];

	snprintf(seed, sizeof(seed), "%jd", (intmax_t)s->selection_seed);
	assert_string_equal(seed, value("SELECT selection_seed FROM geostream.revision"));
	assert_int_equal(s->region_count, 2);
	assert_string_equal(s->regions[0].name, "eu");
	assert_true(s->regions[0].coord.lat_deg == 50.1 && s->regions[0].coord.lon_deg == 8.7);
	assert_true(s->regions[0].cost == 0.02 && s->regions[0].capacity == 1000);
	assert_int_equal(s->policy_count, 1);
	assert_int_equal(s->policies[0].kind, GS_POLICY_GEO);
	assert_int_equal(s->policies[0].order_count, 2);
	assert_int_equal(s->policies[0].order[0], 2);
	assert_int_equal(s->policies[0].order[1], 1);
	assert_int_equal(s->service_count, 1);
	assert_int_equal(gs_addr_parse("198.51.100.10", &addr), 0);
	assert_memory_equal(&s->services[0].vip, &addr, sizeof(addr));
	assert_int_equal(s->services[0].port, 80);
	assert_int_equal(s->services[0].protocol, GS_PROTOCOL_TCP);
	assert_int_equal(s->services[0].probe.kind, GS_PROBE_TCP);
	assert_int_equal(s->services[0].probe.interval_ms, GS_HEALTH_INTERVAL_MS);
	assert_int_equal(s->services[0].probe.clear, GS_HEALTH_CLEAR);
	assert_string_equal(s->services[0].probe.path, "/");
	assert_string_equal(s->services[0].probe.host, "example.net");
	assert_int_equal(s->backend_count, 2);
	assert_int_equal(s->backends[0].admin, GS_ADMIN_DRAIN);
	assert_int_equal(s->backends[0].weight, 100);
	assert_int_equal(gs_addr_parse("fd00:2::11", &addr), 0);
	assert_memory_equal(&s->backends[1].addr, &addr, sizeof(addr));
	assert_int_equal(s->override_count, 5);
	assert_int_equal(gs_prefix_parse("203.0.113.0/24", &prefix), 0);
	assert_int_equal(gs_prefix_compare(&s->overrides[0].prefix, &prefix), 0);
	assert_string_equal(s->overrides[0].reason, "ticket 42");
	assert_string_equal(s->overrides[1].reason, "h\u00e9");
	assert_int_equal(s->overrides[2].asn, 64500);
	assert_int_equal(s->overrides[3].asn, 4294967295);
	assert_int_equal(s->overrides[3].region, 2);
	assert_int_equal(s->overrides[4].place.kind, GS_PLACE_COUNTRY);
	assert_int_equal(s->overrides[4].asn, 0);
}

static void test_every_commit_arrives(void **state)
{
	static const char *const changes[] = {
		"INSERT INTO geostream.regions (name, latitude, longitude) VALUES ('ap', 1, 103)",
		"UPDATE geostream.regions SET admin = 'drain' WHERE name = 'eu'",
		"UPDATE geostream.policy_regions SET region = 3 WHERE position = 2",
		"UPDATE geostream.services SET port = 8080",
		"UPDATE geostream.backends SET weight = 7 WHERE name = 'us-1'",
		"UPDATE geostream.backends SET forward = 'gue' WHERE name = 'us-1'",
		"DELETE FROM geostream.overrides WHERE family(prefix) = 6",
		"TRUNCATE geostream.overrides",
	};
	struct world *world = *state;
	uint64_t worst_us = 0;

	for (size_t c = 0; c < sizeof(changes) / sizeof(changes[0]); c++) {
		uint32_t before = world->snapshots;
		uint64_t committed_us;

		run(changes[c]);
		committed_us = gs_now_us();
		assert_true(until_current(world));
		assert_int_equal(world->snapshots, before + 1);
		if (world->arrived_us - committed_us > worst_us)
			worst_us = world->arrived_us - committed_us;
	}
	assert_int_equal(world->snapshot->regions[0].admin, GS_ADMIN_DRAIN);
	assert_int_equal(world->snapshot->policies[0].order[1], 3);
	assert_int_equal(world->snapshot->services[0].port, 8080);
	assert_int_equal(world->snapshot->backends[0].forward, GS_FORWARD_AS_IPIP);
	assert_int_equal(world->snapshot->backends[1].weight, 7);
	assert_int_equal(world->snapshot->backends[1].forward, GS_FORWARD_AS_GUE);
	assert_int_equal(world->snapshot->override_count, 0);
	print_message("# commit to snapshot: %ju us at worst\n", (uintmax_t)worst_us);
}

/* The writer that begins second commits first in time order of ids, were ids a sequence. */
static void test_concurrent_writers_arrive_in_order(void **state)
{
	struct world *world = *state;
	PGconn *first = PQconnectdb(conninfo), *second = PQconnectdb(conninfo);
	PGresult *result;

	run_on(first, "BEGIN; UPDATE geostream.regions SET cost = 1 WHERE name = 'eu'");
	/* Waits for the first one's lock, though it touches another table. */
	assert_int_equal(
		PQsendQuery(second, "BEGIN; UPDATE geostream.backends SET weight = 9; COMMIT"), 1);
	assert_true(until_value(world,
				"SELECT count(*) FROM pg_stat_activity"
				" WHERE wait_event_type = 'Lock'",
				"1"));
	assert_int_equal(world->snapshot->backends[0].weight, 100);
	run_on(first, "COMMIT");
	while ((result = PQgetResult(second))) {
		assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
		PQclear(result);
	}
	assert_true(until_current(world));
	assert_int_equal(world->went_back, 0);
	assert_true(world->snapshot->regions[0].cost == 1);
	assert_int_equal(world->snapshot->backends[0].weight, 9);
	PQfinish(first);
	PQfinish(second);
}

/* Each half of a loop is fine alone; whoever commits second is refused, at any isolation level. */
static void test_vip_loop_has_no_race(void **state)
{
	static const struct {
		const char *begin, *sqlstate;
	} rows[] = {
		{"BEGIN ISOLATION LEVEL READ COMMITTED", "23514"},
		{"BEGIN ISOLATION LEVEL REPEATABLE READ", "40001"},
		{"BEGIN ISOLATION LEVEL SERIALIZABLE", "40001"},
	};
	struct world *world = *state;

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		PGconn *first = PQconnectdb(conninfo), *second = PQconnectdb(conninfo);
		PGresult *result;

		run_on(first, "BEGIN; INSERT INTO geostream.services (name, vip, port, protocol,"
			      " policy) VALUES ('loop', '10.66.0.1', 80, 'tcp', 1)");
		run_on(second, rows[r].begin);
		run_on(second, "SELECT count(*) FROM geostream.services");
		assert_int_equal(PQsendQuery(second,
					     "INSERT INTO geostream.backends (name, service,"
					     " region, address) VALUES ('x', 1, 1, '10.66.0.1')"),
				 1);
		assert_true(until_value(world,
					"SELECT count(*) FROM pg_stat_activity"
					" WHERE wait_event_type = 'Lock'",
					"1"));
		run_on(first, "COMMIT");
		result = PQgetResult(second);
		assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
		assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), rows[r].sqlstate);
		PQclear(result);
		PQfinish(first);
		PQfinish(second);
		run("DELETE FROM geostream.services WHERE name = 'loop'");
	}
}

static void test_nothing_but_desired_state_makes_revisions(void **state)
{
	static const struct {
		const char *sql;
		int revisions;
	} rows[] = {
		{"UPDATE geostream.regions SET cost = cost", 0},
		{"UPDATE geostream.regions SET cost = 5 WHERE name = 'nowhere'", 0},
		{"DELETE FROM geostream.overrides WHERE false", 0},
		{"INSERT INTO geostream.overrides SELECT '10.0.0.0/8', 1 WHERE false", 0},
		{"BEGIN; UPDATE geostream.regions SET cost = 6; ROLLBACK", 0},
		{"INSERT INTO geostream.edges (name, version) VALUES ('e', '1')", 0},
		{"INSERT INTO geostream.health_states (edge, kind, state, since)"
		 " VALUES ('e', 'region', 'up', now())",
		 0},
		{"BEGIN; UPDATE geostream.regions SET cost = 7; UPDATE geostream.backends SET"
		 " weight = 3; SAVEPOINT s; DELETE FROM geostream.overrides; ROLLBACK TO s; COMMIT",
		 1},
		{"BEGIN; SAVEPOINT s; UPDATE geostream.regions SET cost = 8; ROLLBACK TO s;"
		 " UPDATE geostream.regions SET cost = 9; COMMIT",
		 1},
		{"UPDATE geostream.policy_regions SET position = position + 5", 1},
		{"TRUNCATE geostream.overrides", 1},
		{"INSERT INTO geostream.access VALUES ('10.0.0.0/8', NULL, 'deny')", 1},
		{"UPDATE geostream.access SET action = 'deny'", 0},
		{"UPDATE geostream.access SET action = 'allow'", 1},
		{"TRUNCATE geostream.access", 1},
	};

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		static const char now[] = "SELECT revision FROM geostream.revision";
		int before = atoi(value(now));

		run(rows[r].sql);
		if (atoi(value(now)) - before != rows[r].revisions)
			fail_msg("%s: %d revisions", rows[r].sql, atoi(value(now)) - before);
	}
}

/* Constraints dropped, nonsense inserted: what is in force stays. */
static void test_hostile_rows_are_refused(void **state)
{
	static const struct {
		const char *name, *spoil, *repair, *why;
	} rows[] = {
		{"port",
		 "ALTER TABLE geostream.services DROP CONSTRAINT services_port;"
		 "UPDATE geostream.services SET port = 70000",
		 "UPDATE geostream.services SET port = 80;"
		 "ALTER TABLE geostream.services ADD CONSTRAINT services_port"
		 " CHECK (port BETWEEN 0 AND 65535)",
		 "services[0].port"},
		{"latitude",
		 "ALTER TABLE geostream.regions DROP CONSTRAINT regions_latitude;"
		 "UPDATE geostream.regions SET latitude = 'NaN' WHERE name = 'us'",
		 "UPDATE geostream.regions SET latitude = 39 WHERE name = 'us';"
		 "ALTER TABLE geostream.regions ADD CONSTRAINT regions_latitude"
		 " CHECK (latitude BETWEEN -90 AND 90)",
		 "regions[1].latitude"},
		{"loop",
		 "ALTER TABLE geostream.backends DISABLE TRIGGER backends_address_is_no_vip;"
		 "UPDATE geostream.backends SET address = '198.51.100.10' WHERE name = 'us-1'",
		 "UPDATE geostream.backends SET address = '10.2.0.1' WHERE name = 'us-1';"
		 "ALTER TABLE geostream.backends ENABLE TRIGGER backends_address_is_no_vip",
		 "packets would loop"},
		{"name",
		 "ALTER TABLE geostream.regions DROP CONSTRAINT regions_name;"
		 "UPDATE geostream.regions SET name = repeat('x', 5000) WHERE name = 'us'",
		 "UPDATE geostream.regions SET name = 'us' WHERE length(name) > 100;"
		 "ALTER TABLE geostream.regions ADD CONSTRAINT regions_name"
		 " CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$')",
		 "regions[1].name"},
		{"order",
		 "ALTER TABLE geostream.policy_regions DISABLE TRIGGER ALL;"
		 "DELETE FROM geostream.policy_regions;"
		 "ALTER TABLE geostream.policy_regions ENABLE TRIGGER ALL;"
		 "UPDATE geostream.regions SET cost = cost + 1",
		 "INSERT INTO geostream.policy_regions VALUES (1, 1, 2)", "policies[0].order"},
		{"null",
		 "ALTER TABLE geostream.backends ALTER weight DROP NOT NULL;"
		 "UPDATE geostream.backends SET weight = NULL WHERE name = 'eu-1'",
		 "UPDATE geostream.backends SET weight = 1 WHERE name = 'eu-1';"
		 "ALTER TABLE geostream.backends ALTER weight SET NOT NULL",
		 "backends[0].weight: is NULL"},
		{"forward",
		 "ALTER TABLE geostream.backends DROP CONSTRAINT backends_forward;"
		 "UPDATE geostream.backends SET forward = 'gre' WHERE name = 'eu-1'",
		 "UPDATE geostream.backends SET forward = 'ipip' WHERE name = 'eu-1';"
		 "ALTER TABLE geostream.backends ADD CONSTRAINT backends_forward"
		 " CHECK (forward IN ('ipip', 'gue', 'l2'))",
		 "backends[0].forward: not a forward mode"},
		{"l2",
		 "ALTER TABLE geostream.backends DISABLE TRIGGER backends_forward_fits_vip;"
		 "UPDATE geostream.backends SET forward = 'l2', address = 'fd00:2::11'"
		 " WHERE name = 'us-1';"
		 "ALTER TABLE geostream.backends ENABLE TRIGGER backends_forward_fits_vip",
		 "UPDATE geostream.backends SET forward = 'ipip' WHERE name = 'us-1'",
		 "backends[1].forward: l2 needs an IPv4 address"},
		{"seed",
		 "INSERT INTO geostream.revision (only_row, selection_seed) SELECT NULL, 1"
		 " WHERE false;"
		 "ALTER TABLE geostream.revision DROP CONSTRAINT revision_pkey;"
		 "ALTER TABLE geostream.revision DROP CONSTRAINT revision_only_row;"
		 "INSERT INTO geostream.revision (only_row, revision, selection_seed)"
		 " VALUES (false, 999999, 1); NOTIFY geostream, '999999'",
		 "DELETE FROM geostream.revision WHERE NOT only_row;"
		 "ALTER TABLE geostream.revision ADD CONSTRAINT revision_pkey PRIMARY KEY (only_row);"
		 "ALTER TABLE geostream.revision ADD CONSTRAINT revision_only_row CHECK (only_row);"
		 "UPDATE geostream.regions SET cost = cost + 1",
		 "revision: 2 rows"},
	};
	struct world *world = *state;

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		uint64_t in_force = world->snapshot->revision;
		uint32_t snapshots = world->snapshots;

		run(rows[r].spoil);
		world->want_why = rows[r].why;
		if (!until(world, has_why))
			fail_msg("%s: not refused", rows[r].name);
		assert_true(world->connected);
		assert_int_equal(world->snapshot->revision, in_force);
		assert_int_equal(world->snapshots, snapshots);
		run(rows[r].repair);
		if (!until_current(world))
			fail_msg("%s: not taken once repaired", rows[r].name);
		assert_string_equal(world->why, "");
	}
}

/* ---- what is told ----------------------------------------------------------------------------*/

static void tell(struct world *world, int number)
{
	struct gs_transition transition = {
		.unix_ms = 1700000000000 + number,
		.kind = GS_OBJECT_BACKEND,
		.region = "eu",
		.service = "web",
		.backend = "eu-1",
	};

	snprintf(transition.from, sizeof(transition.from), "%s", number % 2 ? "down" : "up");
	snprintf(transition.to, sizeof(transition.to), "%s", number % 2 ? "up" : "down");
	snprintf(transition.why, sizeof(transition.why), "number %d", number);
	world->store.ops->record_transition(world->store.self, &transition);
}

/* All of them, once, in order: "" if so. */
static const char *what_is_wrong_with_transitions(int count)
{
	char sql[512];

	snprintf(sql, sizeof(sql),
		 "SELECT CASE WHEN count(*) = %d AND count(DISTINCT number) = %d"
		 " AND bool_and(why = 'number ' || row_number - 1) THEN 'fine'"
		 " ELSE count(*) || ' rows' END FROM (SELECT *, row_number() OVER (ORDER BY id)"
		 " FROM geostream.transitions) AS t",
		 count, count);
	return value(sql);
}

static void test_transitions_are_written_with_states(void **state)
{
	struct world *world = *state;
	struct gs_transition region = {
		.unix_ms = 1700000000500, .kind = GS_OBJECT_REGION, .region = "us", .to = "down"};

	for (int i = 0; i < 7; i++)
		tell(world, i);
	memcpy(region.why, "bad \xff\xfe bytes \x01", 14);
	world->store.ops->record_transition(world->store.self, &region);
	assert_true(until_value(world, "SELECT count(*) FROM geostream.transitions", "8"));
	assert_string_equal(value("SELECT why FROM geostream.transitions WHERE kind = 'region'"),
			    "bad ?? bytes ?");
	assert_string_equal(value("SELECT state || ' ' || why FROM geostream.health_states"
				  " WHERE backend = 'eu-1'"),
			    "down number 6");
	assert_string_equal(value("SELECT count(*) FROM geostream.health_states"), "2");
	assert_string_equal(value("SELECT extract(epoch FROM at) FROM geostream.transitions"
				  " WHERE why = 'number 3'"),
			    "1700000000.003000");
}

static void test_server_crash_loses_and_doubles_nothing(void **state)
{
	struct world *world = *state;
	uint64_t in_force = world->snapshot->revision;
	int number = 0;

	for (; number < 100; number++)
		tell(world, number);
	assert_true(until_value(world, "SELECT count(*) > 0 FROM geostream.transitions", "t"));
	for (; number < 200; number++)
		tell(world, number);
	assert_int_equal(cluster("crash", NULL, 0), 0);
	assert_true(until(world, is_away));
	assert_string_not_equal(world->why, "");
	for (; number < OFFLINE_TRANSITIONS; number++)
		tell(world, number);
	assert_int_equal(world->snapshot->revision, in_force);
	assert_int_equal(cluster("start", NULL, 0), 0);
	reconnect_admin();
	assert_true(until(world, is_connected));
	assert_true(until_value(world, "SELECT count(*) FROM geostream.transitions", "450"));
	assert_string_equal(what_is_wrong_with_transitions(OFFLINE_TRANSITIONS), "fine");
	assert_string_equal(value("SELECT why FROM geostream.health_states"), "number 449");
	run("UPDATE geostream.regions SET cost = 77 WHERE name = 'us'");
	assert_true(until_current(world));
	assert_true(world->snapshot->regions[1].cost == 77);
}

/* The connection dies in the middle of it, again and again. */
static void test_killed_connections_lose_and_double_nothing(void **state)
{
	struct world *world = *state;
	int number = 0;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 60; i++)
			tell(world, number++);
		run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		    " WHERE application_name = 'geostream:edge-1'");
		assert_true(until(world, is_away));
		assert_true(until(world, is_connected));
	}
	assert_true(until_value(world, "SELECT count(*) FROM geostream.transitions", "300"));
	assert_string_equal(what_is_wrong_with_transitions(number), "fine");
}

/*
 * A server that is there and says nothing is given up. What it was asked it does later, when the
 * same has long been written through another connection: written once all the same.
 */
static void test_silent_server_is_given_up(void **state)
{
	struct world *world = *state;
	long pid = strtol(value("SELECT pid FROM pg_stat_activity"
				" WHERE application_name = 'geostream:edge-1'"),
			  NULL, 10);
	char gone[128];

	assert_true(pid > 1);
	assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
	for (int i = 0; i < 10; i++)
		tell(world, i);
	world->want_why = "no answer";
	assert_true(until(world, has_why));
	assert_true(until(world, is_connected));
	assert_true(until_value(world, "SELECT count(*) FROM geostream.transitions", "10"));
	assert_int_equal(kill((pid_t)pid, SIGCONT), 0);
	snprintf(gone, sizeof(gone), "SELECT count(*) FROM pg_stat_activity WHERE pid = %ld", pid);
	assert_true(until_value(world, gone, "0"));
	assert_string_equal(what_is_wrong_with_transitions(10), "fine");
}

/* ---- breakers, forces, minutes ---------------------------------------------------------------*/

static void test_breakers_come_back_after_a_restart(void **state)
{
	struct world *world = *state, again;
	struct gs_transition transition = {
		.unix_ms = 1700000000000,
		.kind = GS_OBJECT_BREAKER,
		.region = "eu",
		.service = "web",
		.from = "closed",
		.to = "open",
		.why = "5 connections failed in a row",
		.actor = "alice",
		.breaker = {.state = GS_BREAKER_OPEN, .exponent = 3, .epoch = 8, .left_ms = 4711},
	};

	assert_int_equal(world->breaker_calls, 1);
	assert_int_equal(world->breaker_count, 0);
	transition.breaker.left_ms = 1;
	world->store.ops->record_transition(world->store.self, &transition);
	transition.breaker.left_ms = 4711;
	world->store.ops->record_transition(world->store.self, &transition);
	assert_true(until_value(world, "SELECT count(*) FROM geostream.transitions", "2"));
	assert_string_equal(value("SELECT state || exponent || actor FROM geostream.breaker_states"
				  " JOIN geostream.transitions ON kind = 'breaker' LIMIT 1"),
			    "open3alice");
	assert_string_equal(value("SELECT count(*) FROM geostream.health_states"), "0");

	world_open(&again, conninfo);
	assert_true(until_current(&again));
	assert_int_equal(again.breaker_calls, 1);
	assert_int_equal(again.breaker_count, 1);
	assert_string_equal(again.breaker.service, "web");
	assert_string_equal(again.breaker.region, "eu");
	assert_int_equal(again.breaker.saved.state, GS_BREAKER_OPEN);
	assert_int_equal(again.breaker.saved.exponent, 3);
	assert_int_equal(again.breaker.saved.epoch, 8);
	assert_int_equal(again.breaker.saved.left_ms, 4711);
	assert_true(again.breaker.unix_ms == 1700000000000);
	/* Told once, whatever happens to the connection. */
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = 'geostream:edge-1'");
	assert_true(until(&again, is_away));
	assert_true(until(&again, is_connected));
	assert_int_equal(again.breaker_calls, 1);
	world_close(&again);
}

static void test_forces_come_with_the_snapshot(void **state)
{
	struct world *world = *state;
	const struct gs_snapshot *s;

	run("SET geostream.actor = 'alice@desk'; INSERT INTO geostream.breaker_forces"
	    " (service, region, edge, state, expires_at, reason) VALUES"
	    " ('web', 'us', '', 'open', now() + interval '1 hour', 'ticket 7'),"
	    " ('web', 'eu', 'fra1', 'closed', now() + interval '2 hours', '')");
	assert_true(until_current(world));
	s = world->snapshot;
	assert_int_equal(s->force_count, 2);
	assert_int_equal(s->forces[0].region, 1);
	assert_string_equal(s->forces[0].edge, "fra1");
	assert_false(s->forces[0].open);
	assert_int_equal(s->forces[1].region, 2);
	assert_true(s->forces[1].open);
	assert_string_equal(s->forces[1].reason, "ticket 7");
	assert_string_equal(s->forces[1].actor, "alice@desk");
	assert_string_equal(s->actor, "alice@desk");
	assert_int_equal(s->forces[1].expires_unix_ms / 1000,
			 strtoll(value("SELECT floor(extract(epoch FROM expires_at))"
				       " FROM geostream.breaker_forces WHERE edge = ''"),
				 NULL, 10));
	run("DELETE FROM geostream.breaker_forces");
	assert_true(until_current(world));
	assert_int_equal(world->snapshot->force_count, 0);
}

static void test_overlays_come_with_the_snapshot(void **state)
{
	struct world *world = *state;
	const struct gs_overlay *o;

	run("SET geostream.actor = 'alice@desk'; INSERT INTO geostream.overlays"
	    " (region, service, backend, edge, admin, expires_at, reason, ticket, supersedes) VALUES"
	    " (NULL, NULL, 'eu-1', '', 'maintenance', NULL, '', '', false),"
	    " ('us', NULL, NULL, 'fra1', 'auto', NULL, '', '', false),"
	    " ('us', NULL, NULL, '', 'drain', now() + interval '1 hour', 'kernel', 'OPS-1', true),"
	    " ('eu', 'web', NULL, '', 'force_up', now() + interval '2 hours', '', '', false),"
	    " ('eu', NULL, NULL, '', 'force_down', now() + interval '1 ms', '', '', false)");
	assert_true(until_current(world));
	o = world->snapshot->overlays;
	/* The last one has come to its end; the others by object, that of every edge first. */
	assert_int_equal(world->snapshot->overlay_count, 4);
	assert_int_equal(o[0].region, 2);
	assert_int_equal(o[0].admin, GS_ADMIN_DRAIN);
	assert_true(o[0].supersedes);
	assert_string_equal(o[0].edge, "");
	assert_string_equal(o[0].reason, "kernel");
	assert_string_equal(o[0].ticket, "OPS-1");
	assert_string_equal(o[0].actor, "alice@desk");
	assert_int_equal(o[0].expires_unix_ms - o[0].made_unix_ms, 3600000);
	assert_string_equal(o[1].edge, "fra1");
	assert_int_equal(o[1].expires_unix_ms, 0);
	assert_int_equal(o[2].service, 1);
	assert_int_equal(o[2].region, 1);
	assert_int_equal(o[2].admin, GS_ADMIN_FORCE_UP);
	assert_int_equal(o[3].backend, 1);
	assert_int_equal(o[3].region, 0);
	assert_true(o[0].version != o[1].version && o[2].version != o[3].version);
	/* One machine, one clock. */
	assert_in_range(world->snapshot->clock_ahead_ms + 5000, 0, 10000);
	run("DELETE FROM geostream.overlays");
	assert_true(until_current(world));
	assert_int_equal(world->snapshot->overlay_count, 0);
}

static void test_minutes_are_written_and_the_fuller_one_stays(void **state)
{
	struct world *world = *state;
	struct gs_probe_minute rows[2] = {
		{.unix_s = 1700000040,
		 .service = "web",
		 .region = "eu",
		 .backend = "eu-1",
		 .count = 150,
		 .failures = 3,
		 .local = 1,
		 .p50_us = 900,
		 .p90_us = 1500,
		 .p99_us = 4000,
		 .max_us = 4100},
		{.unix_s = 1700000040,
		 .service = "web",
		 .region = "us",
		 .backend = "us-1",
		 .count = 10,
		 .failures = 10},
	};

	world->store.ops->record_probes(world->store.self, rows, 2);
	assert_true(until_value(world, "SELECT count(*) FROM geostream.probe_minutes", "2"));
	assert_string_equal(value("SELECT concat_ws(' ', extract(epoch FROM minute)::bigint, edge,"
				  " probes, failures, local_failures, p50_us, p90_us, p99_us,"
				  " max_us) FROM geostream.probe_minutes WHERE backend = 'eu-1'"),
			    "1700000040 edge-1 150 3 1 900 1500 4000 4100");
	assert_string_equal(value("SELECT p50_us IS NULL AND max_us IS NULL"
				  " FROM geostream.probe_minutes WHERE backend = 'us-1'"),
			    "t");
	rows[0].count = 20;
	rows[1].count = 20;
	world->store.ops->record_probes(world->store.self, rows, 2);
	assert_true(until_value(
		world, "SELECT probes FROM geostream.probe_minutes WHERE backend = 'us-1'", "20"));
	assert_string_equal(
		value("SELECT probes FROM geostream.probe_minutes WHERE backend = 'eu-1'"), "150");
}

static void test_history_is_kept_tidy(void **state)
{
	static const char there[] = "SELECT count(*) FROM pg_class c JOIN pg_inherits i"
				    " ON i.inhrelid = c.oid"
				    " WHERE i.inhparent = 'geostream.probe_minutes'::regclass"
				    " AND pg_get_expr(c.relpartbound, c.oid) LIKE '%2020-%'";
	struct world again;

	(void)state;
	run("UPDATE geostream.retention SET keep_days = 14 WHERE history = 'probe_minutes'");
	run("SELECT geostream.make_partition(r, '2020-02-02') FROM geostream.retention r"
	    " WHERE history = 'probe_minutes'");
	assert_string_equal(value(there), "1");
	run("UPDATE geostream.upkeep SET done_at = '-infinity'");
	world_open(&again, conninfo); /* an edge that starts looks after it */
	assert_true(until_value(&again, there, "0"));
	world_close(&again);
	/* and room is made for what is to come */
	assert_string_equal(value("SELECT count(*) > 0 FROM pg_class c JOIN pg_inherits i"
				  " ON i.inhrelid = c.oid"
				  " WHERE i.inhparent = 'geostream.probe_minutes'::regclass"
				  " AND pg_get_expr(c.relpartbound, c.oid) LIKE"
				  " to_char(now() + interval '1 day', '%YYYY-MM-DD%')"),
			    "t");
}

static void test_minutes_wait_for_the_database(void **state)
{
	struct gs_pg_minutes minutes = {0};
	struct gs_probe_minute row = {.backend = "b"};
	(void)state;

	for (row.unix_s = 0; row.unix_s < GS_PG_MINUTES_MAX + 7; row.unix_s++)
		gs_pg_minutes_add(&minutes, &row, 1);
	assert_int_equal(minutes.count, GS_PG_MINUTES_MAX);
	assert_int_equal(minutes.dropped, 7);
	assert_int_equal(minutes.rows[0].unix_s, 7);
	minutes.in_flight = 5;
	gs_pg_minutes_sent(&minutes, true);
	assert_int_equal(minutes.count, GS_PG_MINUTES_MAX);
	minutes.in_flight = 5;
	gs_pg_minutes_sent(&minutes, false);
	assert_int_equal(minutes.rows[0].unix_s, 12);
	gs_pg_minutes_done(&minutes);
}

/* The commit happened, the answer was lost: sent again, it is written once. */
static void test_resent_batch_is_written_once(void **state)
{
	struct gs_pg_writes writes;
	struct gs_transition transition = {.kind = GS_OBJECT_POOL, .to = "up"};
	PGresult *result;

	(void)state;
	gs_pg_writes_init(&writes, "edge-2");
	for (int i = 0; i < 3; i++)
		gs_pg_writes_add(&writes, &transition);
	for (int attempt = 0; attempt < 3; attempt++) {
		assert_int_equal(gs_pg_writes_send(&writes, admin), 0);
		assert_int_equal(writes.in_flight, 3);
		while ((result = PQgetResult(admin))) {
			assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
			PQclear(result);
		}
		assert_false(gs_pg_writes_refused(&writes, NULL));
		assert_int_equal(writes.count, 3);
	}
	assert_string_equal(value("SELECT count(*) FROM geostream.transitions"), "3");
	gs_pg_writes_done(&writes);
}

/* One the database can never take is given up; those around it are not. */
static void test_poisonous_transition_is_discarded(void **state)
{
	struct world *world = *state;
	struct gs_transition poison = {.kind = (enum gs_object_kind)99, .to = "up"};

	tell(world, 0);
	world->store.ops->record_transition(world->store.self, &poison);
	tell(world, 1);
	tell(world, 2);
	assert_true(until_value(world, "SELECT count(*) FROM geostream.transitions", "3"));
	assert_string_equal(what_is_wrong_with_transitions(3), "fine");
	assert_true(world->connected);
	assert_int_equal(world->disconnections, 0);
}

static void test_queue_is_bounded(void **state)
{
	struct gs_pg_writes writes;
	struct gs_transition transition = {.kind = GS_OBJECT_POOL, .to = "up"};

	(void)state;
	gs_pg_writes_init(&writes, "edge-2");
	for (int i = 0; i < GS_PG_TRANSITIONS_MAX + 50; i++)
		gs_pg_writes_add(&writes, &transition);
	assert_int_equal(writes.count, GS_PG_TRANSITIONS_MAX);
	assert_int_equal(writes.dropped, 50);
	gs_pg_writes_done(&writes);
	assert_int_equal(writes.count, 0);
}

static void test_edge_and_generations_are_reported(void **state)
{
	struct world *world = *state;
	struct gs_edge_report report = {.generation = 3,
					.revision = 12,
					.digest = 0xfedcba9876543210u,
					.published_unix_ms = 1700000000123,
					.geo_path = "/var/lib/x\xff.mmdb",
					.geo_build_unix_s = 1690000000};

	assert_true(until_value(world, "SELECT count(*) FROM geostream.edges", "1"));
	world->store.ops->report_edge(world->store.self, &report);
	assert_true(until_value(
		world,
		"SELECT concat_ws(' ', name, version <> '', generation, revision, to_hex(digest),"
		" extract(epoch FROM published_at), geo_path, extract(epoch FROM geo_build_at))"
		" FROM geostream.edges",
		"edge-1 t 3 12 fedcba9876543210 1700000000.123000 /var/lib/x?.mmdb "
		"1690000000.000000"));
	assert_string_equal(value("SELECT number FROM geostream.generations"), "3");
	for (int g = 4; g < 120; g++) {
		char want[16];

		report.generation = (uint64_t)g;
		report.published_unix_ms += 1000;
		world->store.ops->report_edge(world->store.self, &report);
		snprintf(want, sizeof(want), "%d", g);
		assert_true(
			until_value(world, "SELECT max(number) FROM geostream.generations", want));
	}
	assert_true(atoi(value("SELECT count(*) FROM geostream.generations")) <= 101);
}

/* ---- demand ----------------------------------------------------------------------------------*/

static bool until_demand(struct world *world, float want)
{
	world->want_demand = want;
	return until(world, has_demand);
}

/* What an edge tells is all it tells; what it hears is the sum of the others, while it is fresh. */
static void test_demand_goes_from_edge_to_edge(void **state)
{
	static const struct gs_demand_told rows[] = {
		{.home = "eu", .usable = "ap,eu,us", .priority = 4, .per_second = 12.5F},
		{.home = "us", .usable = "", .priority = 0, .per_second = 3},
	};
	static const char told[] =
		"SELECT string_agg(concat_ws(' ', edge, home, usable, priority, per_second), ', '"
		" ORDER BY home) FROM geostream.edge_demand WHERE edge = 'edge-1'";
	struct world *world = *state;

	world->store.ops->report_demand(world->store.self, rows, 2);
	assert_true(until_value(world, told, "edge-1 eu {ap,eu,us} 4 12.5, edge-1 us {} 0 3"));
	world->store.ops->report_demand(world->store.self, rows, 1);
	assert_true(until_value(world, told, "edge-1 eu {ap,eu,us} 4 12.5"));
	/* two others, and one that has long been silent */
	run("INSERT INTO geostream.edge_demand (edge, home, usable, priority, per_second, told_at) VALUES"
	    " ('edge-2', 'eu', '{ap,eu,us}', 4, 10, now()), ('edge-3', 'eu', '{ap,eu,us}', 4, 5, now()),"
	    " ('edge-3', 'ap', '{ap}', 7, 1, now()),"
	    " ('edge-4', 'eu', '{ap,eu,us}', 4, 99, now() - interval '61 seconds'),"
	    " ('edge-5', 'eu', '{ap}', 4, 99, now() - interval '2 days')");
	assert_true(until_demand(world, 15));
	assert_int_equal(world->demand_count, 2);
	assert_int_equal(world->demand_edges, 2);
	assert_string_equal(world->demand[0].home, "eu");
	assert_string_equal(world->demand[0].usable, "ap,eu,us");
	assert_int_equal(world->demand[0].priority, 4);
	assert_string_equal(world->demand[1].home, "ap");
	assert_int_equal(world->demand[1].priority, 7);
	assert_string_equal(value("SELECT per_second FROM geostream.demand WHERE region = 'eu'"),
			    "27.5");
	/* the next who tells sweeps */
	world->store.ops->report_demand(world->store.self, rows, 1);
	assert_true(until_value(
		world, "SELECT count(*) FROM geostream.edge_demand WHERE edge = 'edge-5'", "0"));
	run("DELETE FROM geostream.edge_demand WHERE edge <> 'edge-1'");
	assert_true(until_demand(world, 0));
	assert_int_equal(world->demand_edges, 0);
}

/* A connection that is cut: what was told is told again. */
static void test_demand_is_told_again(void **state)
{
	static const struct gs_demand_told row = {
		.home = "eu", .usable = "eu", .priority = 4, .per_second = 2};
	struct world *world = *state;

	assert_true(until(world, is_connected));
	world->store.ops->report_demand(world->store.self, &row, 1);
	assert_true(until_value(world, "SELECT count(*) FROM geostream.edge_demand", "1"));
	run("DELETE FROM geostream.edge_demand");
	run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
	    " WHERE application_name = 'geostream:edge-1'");
	assert_true(until_value(world, "SELECT count(*) FROM geostream.edge_demand", "1"));
}

/* ---- connections that do not come about ------------------------------------------------------*/

static void test_unreachable_is_told_without_password(void **state)
{
	struct world world;

	(void)state;
	world_open(&world, "host=/nonexistent user=u password=geheim");
	world.want_why = "/nonexistent";
	assert_true(until(&world, has_why));
	assert_false(world.connected);
	assert_null(strstr(world.why, "geheim"));
	assert_null(strchr(world.why, '\n'));
	tell(&world, 1);
	world_close(&world);
}

static void test_bad_conninfo_is_refused_without_password(void **state)
{
	static const char *const bad[] = {"host=x password=ge heim", "postgresql://u:geheim@[::1/",
					  "geheim=1", "port='80"};
	struct gs_loop *loop;

	(void)state;
	assert_int_equal(gs_loop_new(&loop), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct gs_store store = {0};
		struct gs_error error = {{0}};

		assert_int_equal(gs_pg_open(loop, bad[i], "e", &store, &error), -EINVAL);
		assert_null(store.ops);
		assert_null(strstr(error.text, "heim"));
		assert_non_null(strstr(error.text, "database"));
	}
	gs_loop_free(loop);
}

static void test_missing_schema_is_told(void **state)
{
	struct world world;
	char other[300];

	(void)state;
	run("CREATE DATABASE empty");
	snprintf(other, sizeof(other), "%s dbname=empty", conninfo);
	world_open(&world, other);
	world.want_why = "geostreamctl db migrate";
	assert_true(until(&world, has_why));
	assert_null(world.snapshot);
	world_close(&world);
	run("DROP DATABASE empty WITH (FORCE)");
}

/* A store may be closed at any moment. */
static void test_close_at_any_turn(void **state)
{
	(void)state;
	for (int turns = 0; turns < 25; turns++) {
		struct world world;

		world_open(&world, conninfo);
		tell(&world, turns);
		world.want_revision = UINT64_MAX;
		world.is_done = has_revision;
		world.deadline_us = gs_now_us() + (uint64_t)turns * 700;
		gs_loop_timer_set(world.loop, &world.look, 0);
		gs_loop_run(world.loop);
		world_close(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_edge_tidies_for_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_first_snapshot_is_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_commit_arrives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_concurrent_writers_arrive_in_order, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_vip_loop_has_no_race, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_but_desired_state_makes_revisions,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_rows_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_transitions_are_written_with_states, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_server_crash_loses_and_doubles_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_killed_connections_lose_and_double_nothing,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_silent_server_is_given_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_breakers_come_back_after_a_restart, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_forces_come_with_the_snapshot, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_overlays_come_with_the_snapshot, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_minutes_are_written_and_the_fuller_one_stays,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_history_is_kept_tidy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_minutes_wait_for_the_database, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_resent_batch_is_written_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_poisonous_transition_is_discarded, set_up,
						tear_down),
		cmocka_unit_test(test_queue_is_bounded),
		cmocka_unit_test_setup_teardown(test_edge_and_generations_are_reported, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_demand_goes_from_edge_to_edge, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_demand_is_told_again, set_up, tear_down),
		cmocka_unit_test(test_unreachable_is_told_without_password),
		cmocka_unit_test(test_bad_conninfo_is_refused_without_password),
		cmocka_unit_test(test_missing_schema_is_told),
		cmocka_unit_test(test_close_at_any_turn),
	};

	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}
