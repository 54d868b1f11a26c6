/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing keeps the loop from everything else: a daemon's whole app with fakes at its ports, at the
 * size of tests/fakes/large_world.h, is led through a start, probes, clients, minutes,
 * generations, an outage, other edges and questions. Each callback of the loop, and each call of a
 * port into the app, is held to the work of 20 ms: see measure_rounds().
 */
#include "tests/fakes/simulated_loop.h"

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "tests/fakes/large_world.h"
#include "user/app/api.h"
#include "user/app/rest.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/heap.h"
#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/latency.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 8, ATTEMPTS = 3 };

struct scene {
	int load_err;
	struct gs_location *other_locations; /* of the database that was taken back */
	struct gs_loop loop;
	struct fake_store store_fake;
	struct fake_geodb geodb_fake;
	struct fake_nexthop nexthop_fake;
	struct fake_dataplane dataplane_fake;
	struct fake_prober prober_fake;
	struct fake_detour detour_fake;
	struct gs_store store;
	struct gs_geodb geodb;
	struct gs_nexthop nexthop;
	struct gs_dataplane dataplane;
	struct gs_dataplane_ops dataplane_ops; /* the fake's, busier */
	struct gs_prober prober;
	struct gs_detour detour;
	struct gs_latency_store latency_store;
	const struct gs_latency_store_events *latency_events;
	void *latency_context;
	uint32_t latency_told, latency_published;
	struct gs_config config;
	struct gs_reconcile *reconcile;
	struct gs_handshakes *handshakes;
	struct gs_demand *demand;
	struct gs_latencies *latencies;
	struct gs_capacity *capacity;
	struct gs_api api;
	struct gs_geodata *geo;
	char folder[32];
	uint32_t flows; /* of each counter of demand */
	struct gs_job *jobs[JOBS_MAX];
	uint32_t job_count;
	const char *phase;
	uint64_t worst_ns; /* of anything in this round */
	char worst_what[128];
};

static struct scene *the_scene; /* of gs_loop_work and the data plane */

/* ---- what a callback costs ------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t gs_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- what 20 ms are -------------------------------------------------------------------------- */

/*
 * The least disturbed round took 0.77 ms of processor time where 20 ms were chosen, on a virtual
 * machine of two 2.x GHz processors, -O2: 26 of them are 20 ms.
 */
enum {
	REFERENCE_ROUNDS = 26,
	REFERENCE_ATTEMPTS = 200,
	REFERENCE_NAMES = 2000,
	FRESH_BYTES = 32768
};

static int compare_names(const void *left, const void *right)
{
	const char *const *a = left, *const *b = right;

	return strcmp(*a, *b);
}

/* What the app's work is: texts, the heap, sorting and looking up, memory nobody has touched yet.
 */
static uint32_t do_round(void)
{
	static char *names[REFERENCE_NAMES];
	uint32_t found = 0;
	void *fresh;

	for (uint32_t i = 0; i < REFERENCE_NAMES; i++) {
		names[i] = malloc(GS_NAME_MAX);
		assert_non_null(names[i]);
		snprintf(names[i], GS_NAME_MAX, "backend-%u", i * 7919 % REFERENCE_NAMES);
	}
	qsort(names, REFERENCE_NAMES, sizeof(names[0]), compare_names);
	for (uint32_t i = 0; i < REFERENCE_NAMES; i++)
		found += bsearch(&names[i], names, REFERENCE_NAMES, sizeof(names[0]),
				 compare_names) != NULL;
	for (uint32_t i = 0; i < REFERENCE_NAMES; i++)
		free(names[i]);
	fresh = mmap(NULL, FRESH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fresh, MAP_FAILED);
	memset(fresh, 1, FRESH_BYTES);
	munmap(fresh, FRESH_BYTES);
	return found;
}

/*
 * What counts as 20 ms is what a fixed piece of work costs, here and now, so that a slower machine
 * or another compiler has a limit of its own. But a busy one has not: who shares a core makes
 * all work on it dearer, twice as dear as a rule, and the limit must not grow with it. The best of
 * many rounds is one that nobody disturbed: each is so short that there is room for it
 * between two disturbances. *least_ns: of all rounds so far; call it now and then.
 */
static void measure_rounds(uint64_t *least_ns)
{
	for (uint32_t attempt = 0; attempt < REFERENCE_ATTEMPTS; attempt++) {
		uint64_t began_ns = cpu_ns(), took_ns;

		assert_int_equal(do_round(), REFERENCE_NAMES);
		took_ns = cpu_ns() - began_ns;
		*least_ns = took_ns < *least_ns ? took_ns : *least_ns;
	}
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static void work_off(struct scene *scene);

/* what: NULL: the function is all that is known, for addr2line. */
static void note_cost(struct scene *scene, uint64_t ns, const char *what, const void *function)
{
	char place[64];
	Dl_info info = {0};

	if (ns > 1000000 && getenv("STALLS")) {
		dladdr(function, &info);
		printf("# %s: %s %#lx %.1f ms\n", scene->phase, what ? what : "",
		       function ? (unsigned long)((uintptr_t)function - (uintptr_t)info.dli_fbase)
				: 0,
		       (double)ns / 1e6);
	}
	if (ns <= scene->worst_ns)
		return;
	scene->worst_ns = ns;
	if (!what) {
		dladdr(function, &info);
		snprintf(place, sizeof(place), "callback %#lx",
			 (unsigned long)((uintptr_t)function - (uintptr_t)info.dli_fbase));
		what = place;
	}
	snprintf(scene->worst_what, sizeof(scene->worst_what), "%s: %s", scene->phase, what);
}

/* One that came from outside: a port's, or a question's. */
#define MEASURE(scene, what, statement)                             \
	do {                                                        \
		uint64_t began_ns_ = cpu_ns();                      \
		statement;                                          \
		note_cost(scene, cpu_ns() - began_ns_, what, NULL); \
		work_off(scene);                                    \
	} while (0)

static void call_timer(struct gs_loop *loop, struct gs_timer *timer)
{
	struct scene *scene = the_scene;
	const void *function = (const void *)timer->on_due;
	uint64_t began_ns = cpu_ns();

	(void)loop;
	timer->on_due(timer);
	note_cost(scene, cpu_ns() - began_ns, NULL, function);
	work_off(scene);
}

void gs_loop_work(struct gs_loop *loop, struct gs_job *job)
{
	(void)loop;
	assert_true(the_scene->job_count < JOBS_MAX);
	the_scene->jobs[the_scene->job_count++] = job;
}

/* The worker: what it does costs the loop nothing, what comes of it does. */
static void work_off(struct scene *scene)
{
	while (scene->job_count > 0) {
		struct gs_job *job = scene->jobs[0];
		const void *function = (const void *)job->done;
		uint64_t began_ns;

		memmove(scene->jobs, scene->jobs + 1, --scene->job_count * sizeof(struct gs_job *));
		job->run(job);
		began_ns = cpu_ns();
		job->done(job);
		note_cost(scene, cpu_ns() - began_ns, NULL, function);
	}
}

/* ---- a busy data plane ----------------------------------------------------------------------- */

static int busy_demand(void *self, uint32_t slot, uint32_t first, uint32_t count,
		       uint32_t *ret_flows)
{
	(void)self;
	(void)slot;
	if (first + count > GS_DEMAND_ENTRIES)
		return -ERANGE;
	for (uint32_t i = 0; i < count; i++)
		ret_flows[i] = the_scene->flows;
	return 0;
}

static struct gs_counter *make_counters(const char *name, uint32_t count)
{
	struct gs_counter *counters = calloc(count, sizeof(*counters));

	for (uint32_t i = 0; i < count; i++)
		counters[i] = (struct gs_counter){name, (gs_id)(i + 1), 7000000000, 700000000000};
	return counters;
}

static int busy_count(void *self, struct gs_counters *ret_counters)
{
	(void)self;
	*ret_counters = (struct gs_counters){
		.reasons = make_counters("tx_new", 100),
		.services = make_counters(NULL, LARGE_SERVICES),
		.regions = make_counters(NULL, LARGE_REGIONS),
		.backends = make_counters(NULL, LARGE_BACKENDS),
		.reason_count = 100,
		.service_count = LARGE_SERVICES,
		.region_count = LARGE_REGIONS,
		.backend_count = LARGE_BACKENDS,
	};
	return 0;
}

/* ---- a store of round trips ------------------------------------------------------------------ */

static void latency_start(void *self, const struct gs_latency_store_events *events, void *context)
{
	struct scene *scene = self;

	scene->latency_events = events;
	scene->latency_context = context;
}

static bool latency_exchange(void *self, const struct gs_latency_told *rows, uint32_t count,
			     uint32_t period_ms)
{
	struct scene *scene = self;

	(void)rows;
	(void)period_ms;
	scene->latency_told += count;
	return true;
}

static void latency_publish(void *self, int64_t epoch, const struct gs_latency_step *step,
			    const struct gs_latency_change *changes, uint32_t count)
{
	struct scene *scene = self;

	(void)epoch;
	(void)step;
	(void)changes;
	scene->latency_published += count;
}

/* ---- the scene ------------------------------------------------------------------------------- */

static const struct gs_reconcile_state *look(void *context)
{
	const struct scene *scene = context;

	return gs_reconcile_look(scene->reconcile);
}

static bool on_generation(void *context, const struct gs_generation_change *change)
{
	struct scene *scene = context;

	if (!gs_demand_replace(scene->demand, change))
		return false;
	gs_handshakes_replace(scene->handshakes, change);
	return true;
}

static uint32_t clients(void *context, struct gs_client_count *ret_counts)
{
	const struct scene *scene = context;

	return gs_handshakes_clients(scene->handshakes, ret_counts);
}

static void on_demand(void *context, const struct gs_demand_told *rows, uint32_t count,
		      uint32_t edges)
{
	struct scene *scene = context;

	gs_capacity_hear(scene->capacity, rows, count, edges);
}

static void on_flows(void *context, const struct gs_tables *tables, uint32_t entry, uint32_t flows)
{
	struct scene *scene = context;

	gs_capacity_count(scene->capacity, tables, entry, flows);
}

static void on_round(void *context, uint64_t elapsed_ms)
{
	struct scene *scene = context;

	gs_capacity_counted(scene->capacity, elapsed_ms);
}

static void open_ports(struct scene *scene)
{
	static const struct gs_latency_store_ops latency_ops = {
		.start = latency_start, .exchange = latency_exchange, .publish = latency_publish};

	fake_store_init(&scene->store_fake, &scene->store);
	fake_geodb_init(&scene->geodb_fake, &scene->geodb);
	fake_nexthop_init(&scene->nexthop_fake, &scene->nexthop);
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	fake_prober_init(&scene->prober_fake, &scene->loop, &scene->prober);
	fake_detour_init(&scene->detour_fake, &scene->detour);
	scene->latency_store = (struct gs_latency_store){.ops = &latency_ops, .self = scene};
	scene->geodb_fake.geo = scene->geo;
	scene->nexthop_fake.mtu = 1500;
	scene->dataplane_fake.handshake_fd = 0; /* nobody reads it */
	scene->dataplane_ops = *scene->dataplane.ops;
	scene->dataplane_ops.demand = busy_demand;
	scene->dataplane_ops.count = busy_count;
	scene->dataplane.ops = &scene->dataplane_ops;
}

static void open_parts(struct scene *scene)
{
	const struct gs_handshakes_ports handshakes = {.loop = &scene->loop,
						       .dataplane = &scene->dataplane,
						       .look = look,
						       .look_context = scene};
	const struct gs_demand_ports demand = {.loop = &scene->loop,
					       .dataplane = &scene->dataplane,
					       .look = look,
					       .look_context = scene,
					       .on_flows = on_flows,
					       .on_round = on_round,
					       .flows_context = scene};
	const struct gs_capacity_ports capacity = {.loop = &scene->loop,
						   .dataplane = &scene->dataplane,
						   .store = &scene->store,
						   .look = look,
						   .look_context = scene};
	struct gs_latencies_ports latencies = {.loop = &scene->loop,
					       .store = &scene->latency_store,
					       .look = look,
					       .look_context = scene};

	assert_int_equal(gs_handshakes_new(&handshakes, 3, 64, &scene->handshakes), 0);
	assert_int_equal(gs_handshakes_attach(scene->handshakes), 0);
	assert_int_equal(gs_capacity_new(&capacity, &scene->capacity), 0);
	assert_int_equal(gs_demand_new(&demand, &scene->demand), 0);
	latencies.handshakes = scene->handshakes;
	assert_int_equal(gs_latencies_new(&latencies, 10000, &scene->latencies), 0);
}

static struct scene *scene_new(struct gs_geodata *geo)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct gs_reconcile_settings settings = {.geoip = "/geo/one.mmdb", .edge = "edge-0"};
	struct gs_reconcile_ports ports;

	assert_non_null(scene);
	the_scene = scene;
	scene->geo = geo;
	scene->phase = "opening";
	scene->loop.call = call_timer;
	scene->loop.now_ms = 1000;
	strcpy(scene->folder, "/tmp/gs-test-XXXXXX");
	assert_non_null(mkdtemp(scene->folder));
	snprintf(settings.last_good, sizeof(settings.last_good), "%s/last-good.json",
		 scene->folder);
	snprintf(settings.overlays, sizeof(settings.overlays), "%s/overlays.json", scene->folder);
	gs_config_default(&scene->config);
	open_ports(scene);
	ports = (struct gs_reconcile_ports){
		.loop = &scene->loop,
		.store = &scene->store,
		.geodb = &scene->geodb,
		.dataplane = &scene->dataplane,
		.nexthop = &scene->nexthop,
		.prober = &scene->prober,
		.detour = &scene->detour,
		.on_generation = on_generation,
		.on_demand = on_demand,
		.clients = clients,
		.generation_context = scene,
	};
	assert_int_equal(gs_reconcile_new(&ports, &settings, &scene->reconcile), 0);
	open_parts(scene);
	scene->api = (struct gs_api){.reconcile = scene->reconcile,
				     .dataplane = &scene->dataplane,
				     .loop = &scene->loop,
				     .config = &scene->config,
				     .handshakes = scene->handshakes,
				     .demand = scene->demand,
				     .latencies = scene->latencies,
				     .capacity = scene->capacity};
	gs_heap_warm(GS_HEAP_WARM_BYTES); /* as a daemon does, before its loop begins */
	return scene;
}

static void scene_free(struct scene *scene)
{
	char path[64];

	gs_latencies_free(scene->latencies);
	gs_handshakes_free(scene->handshakes);
	gs_demand_free(scene->demand);
	gs_capacity_free(scene->capacity);
	gs_reconcile_free(scene->reconcile);
	free(scene->other_locations);
	fake_prober_done(&scene->prober_fake);
	snprintf(path, sizeof(path), "%s/last-good.json", scene->folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/overlays.json", scene->folder);
	unlink(path);
	rmdir(scene->folder);
	free(scene);
}

static void run_seconds(struct scene *scene, uint32_t seconds)
{
	for (uint32_t s = 0; s < seconds; s++) {
		if (s % 8 == 0)
			scene->flows += 20; /* of each pair of a policy and a location */
		run_for(&scene->loop, 1000);
	}
}

static void give(struct scene *scene, struct gs_snapshot *snapshot)
{
	const struct fake_store *store = &scene->store_fake;

	MEASURE(scene, "a snapshot", store->events->on_snapshot(store->context, snapshot));
}

/* One backend in so many. */
static void answer(struct scene *scene, enum gs_probe_class class, uint32_t one_in)
{
	for (uint32_t i = 1; i <= LARGE_BACKENDS; i += one_in)
		scene->prober_fake.backend[i].answer.class = class;
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void begin(struct scene *scene)
{
	const struct fake_store *store = &scene->store_fake;
	GS_AUTO_FREE struct gs_breaker_record *records = calloc(LARGE_POOLS, sizeof(*records));

	scene->phase = "start";
	MEASURE(scene, "start", assert_int_equal(gs_reconcile_start(scene->reconcile), 0));
	for (uint32_t i = 0; i < LARGE_POOLS; i++) {
		snprintf(records[i].service, GS_NAME_MAX, "service-%u", i % LARGE_SERVICES + 1);
		snprintf(records[i].region, GS_NAME_MAX, "region-%u", i % LARGE_REGIONS + 1);
	}
	MEASURE(scene, "connected", store->events->on_connection(store->context, true, ""));
	MEASURE(scene, "saved breakers",
		store->events->on_breakers(store->context, records, LARGE_POOLS));
	give(scene, large_snapshot(1));
	run_seconds(scene, 1);
	assert_non_null(look(scene)->tables);
	scene->phase = "first probes";
	run_seconds(scene, 15);
	assert_int_equal(gs_monitor_unknown_count(look(scene)->monitor), 0);
}

static void hear_clients(struct scene *scene)
{
	struct fake_dataplane *fake = &scene->dataplane_fake;
	uint32_t n = 0;

	scene->phase = "clients";
	for (uint32_t turn = 0; turn < 8; turn++) {
		for (uint32_t i = 0; i < FAKE_HANDSHAKES_MAX; i++, n++)
			fake->handshakes[i] = (struct gs_handshake){
				.rtt_us = 10000 + n,
				.service = (gs_id)(1 + n % LARGE_SERVICES),
				.region = (gs_id)(1 + n % LARGE_REGIONS),
				.backend = (gs_id)(1 + n % LARGE_BACKENDS),
				.location = (uint16_t)(1 + n % (LARGE_LOCATIONS - 1)),
				.client = {.addr = gs_addr_from_v4(0x10000000 + n * 256),
					   .length = 24,
					   .is_v4 = true}};
		fake->handshake_count = FAKE_HANDSHAKES_MAX;
		while (fake->handshake_count > 0)
			MEASURE(scene, "handshakes",
				scene->loop.io->on_ready(scene->loop.io, GS_LOOP_READABLE));
		run_seconds(scene, 1);
	}
	scene->phase = "minutes";
	run_seconds(scene, 75);
	assert_true(scene->store_fake.minute_count >= LARGE_BACKENDS);
	assert_true(scene->latency_told > 1000);
}

/* A weight: some slots of rings; another region's override: locations mean others. */
static void change(struct scene *scene)
{
	struct gs_snapshot *weight = large_snapshot(2), *override = large_snapshot(3),
			   *drain = large_snapshot(4);

	scene->phase = "another weight";
	weight->backends[6].weight = 9;
	give(scene, weight);
	run_seconds(scene, 2);
	assert_int_equal(look(scene)->snapshot->revision, 2);
	scene->phase = "another override";
	override->overrides[0].region = 2;
	give(scene, override);
	run_seconds(scene, 12);
	assert_int_equal(look(scene)->info.generation, 3);
	scene->phase = "a region drained";
	drain->regions[2].admin = GS_ADMIN_DRAIN;
	drain->overrides[0].region = 2;
	give(scene, drain);
	run_seconds(scene, 2);
	assert_int_equal(look(scene)->snapshot->revision, 4);
}

static void on_loaded(void *context, int err, const char *problem)
{
	struct scene *scene = context;

	scene->load_err = err;
	if (err)
		print_message("%s\n", problem);
}

/* Every place is the next one's: compared, in force, and taken back. */
static void change_database(struct scene *scene)
{
	struct gs_geodata other = *scene->geo;
	uint64_t before = look(scene)->info.generation;

	scene->phase = "another GeoIP database";
	other.locations = calloc(LARGE_LOCATIONS, sizeof(*other.locations));
	assert_non_null(other.locations);
	for (uint32_t i = 1; i < LARGE_LOCATIONS; i++)
		other.locations[i] = scene->geo->locations[1 + i % (LARGE_LOCATIONS - 1)];
	other.digest++;
	scene->geodb_fake.geo = &other;
	scene->load_err = 1;
	MEASURE(scene, "load",
		assert_int_equal(gs_reconcile_load_geo(scene->reconcile, "/geo/two.mmdb",
						       GS_LOAD_FORCED, on_loaded, scene),
				 0));
	run_seconds(scene, 8);
	assert_int_equal(scene->load_err, 0);
	assert_int_equal(look(scene)->info.generation, before + 1);
	assert_true(look(scene)->geo_change->v4.moved > 0.1);
	assert_true(look(scene)->geo_change->shift.flows > 1000);
	scene->geodb_fake.geo = scene->geo;
	scene->phase = "a rollback";
	MEASURE(scene, "rollback",
		assert_int_equal(gs_reconcile_rollback_geo(scene->reconcile, on_loaded, scene), 0));
	run_seconds(scene, 8);
	assert_int_equal(look(scene)->info.generation, before + 2);
	scene->other_locations = other.locations;
}

static void lose_some(struct scene *scene)
{
	uint32_t before = scene->store_fake.transition_count;

	scene->phase = "backends down";
	answer(scene, GS_PROBE_REFUSED, 8);
	run_seconds(scene, 20);
	scene->phase = "backends up";
	answer(scene, GS_PROBE_OK, 8);
	run_seconds(scene, 20);
	assert_true(scene->store_fake.transition_count > before + LARGE_BACKENDS / 4);
}

/* ---- other edges ----------------------------------------------------------------------------- */

enum { EDGE_VOTES = 2 * LARGE_REGIONS + LARGE_SERVICES };

static void hear_votes(struct scene *scene, enum gs_vote vote)
{
	static struct gs_edge_ballot edges[LARGE_EDGES];
	static struct gs_edge_vote votes[LARGE_EDGES][EDGE_VOTES];
	const struct gs_ballots ballots = {
		.edges = edges, .count = LARGE_EDGES - 1, .rule = {.down_permille = 500}};
	const struct fake_store *store = &scene->store_fake;

	for (uint32_t e = 0; e < ballots.count; e++) {
		edges[e] = (struct gs_edge_ballot){.seq = edges[e].seq + 1,
						   .is_new = true,
						   .is_whole = true,
						   .votes = votes[e],
						   .count = EDGE_VOTES};
		snprintf(edges[e].edge, GS_NAME_MAX, "edge-%u", e + 1);
		snprintf(edges[e].site, GS_NAME_MAX, "site-%u", e % 20);
		snprintf(edges[e].self, GS_NAME_MAX, "well");
		for (uint32_t v = 0; v < EDGE_VOTES; v++)
			votes[e][v] = (struct gs_edge_vote){
				.service = v < LARGE_REGIONS ? 0 : (gs_id)(1 + v % LARGE_SERVICES),
				.region = (gs_id)(1 + v % LARGE_REGIONS),
				.vote = vote};
	}
	MEASURE(scene, "ballots", store->events->on_ballots(store->context, &ballots));
}

static void hear_demand(struct scene *scene)
{
	static struct gs_demand_told rows[GS_DEMAND_TOLD_MAX];
	const struct fake_store *store = &scene->store_fake;

	for (uint32_t i = 0; i < GS_DEMAND_TOLD_MAX; i++) {
		size_t length = 0;

		snprintf(rows[i].home, GS_NAME_MAX, "region-%u", 1 + i % LARGE_REGIONS);
		for (uint32_t r = 0; r < GS_PLAN_REGIONS; r++)
			length += (size_t)snprintf(rows[i].usable + length,
						   sizeof(rows[i].usable) - length, "%sregion-%u",
						   r ? "," : "",
						   1 + (i * 7 + r * (1 + i / 128)) % LARGE_REGIONS);
		rows[i].per_second = (float)(20 + i % 100);
	}
	MEASURE(scene, "demand",
		store->events->on_demand(store->context, rows, GS_DEMAND_TOLD_MAX, LARGE_EDGES));
}

static void judge_round_trips(struct scene *scene)
{
	const struct gs_snapshot *snapshot = look(scene)->snapshot;
	GS_AUTO_FREE struct gs_latency_measured *rows =
		calloc(snapshot->latency_count, sizeof(*rows));

	for (uint32_t i = 0; i < snapshot->latency_count; i++) {
		rows[i] = (struct gs_latency_measured){.continent = "EU",
						       .region = snapshot->latencies[i].region,
						       .samples = 1000,
						       .rtt_us = 90000,
						       .model_us = 10000,
						       .at_unix_ms = gs_unix_ms()};
		memcpy(rows[i].place, snapshot->latencies[i].place, sizeof(rows[i].place));
	}
	MEASURE(scene, "round trips",
		scene->latency_events->on_turn(scene->latency_context, 1, rows,
					       snapshot->latency_count));
}

static void hear_others(struct scene *scene)
{
	scene->phase = "other edges";
	hear_demand(scene);
	hear_votes(scene, GS_VOTE_UP);
	run_seconds(scene, 4);
	hear_votes(scene, GS_VOTE_DOWN);
	run_seconds(scene, 4);
	hear_votes(scene, GS_VOTE_UP);
	run_seconds(scene, 4);
	for (uint32_t turn = 0; turn < 4; turn++) {
		judge_round_trips(scene);
		if (scene->latency_published)
			MEASURE(scene, "published",
				scene->latency_events->on_published(scene->latency_context, true));
		run_seconds(scene, 10);
	}
}

/* ---- questions ------------------------------------------------------------------------------- */

static void on_reply(void *context, json_t *reply)
{
	size_t *length = context;
	char *line = json_dumps(reply, JSON_COMPACT | JSON_REAL_PRECISION(12));

	*length += strlen(line);
	free(line);
	json_decref(reply);
}

#define LAY                                                                            \
	"{\"command\":\"overlay.lay\",\"kind\":\"backend\",\"names\":[\"backend-*\"]," \
	"\"admin\":\"drain\",\"reason\":\"x\",\"actor\":\"y\",\"for_s\":3600}"

static void ask_control(struct scene *scene)
{
	static const char *const requests[] = {
		"{\"command\":\"status\"}",
		"{\"command\":\"status\",\"backends_from\":500}",
		"{\"command\":\"route.get\",\"address\":\"16.0.16.1\",\"service\":\"service-1\"}",
		"{\"command\":\"breaker.list\"}",
		"{\"command\":\"vote.list\"}",
		"{\"command\":\"handshake.list\",\"limit\":16384}",
		"{\"command\":\"demand.list\",\"by\":\"location\",\"limit\":20000}",
		"{\"command\":\"demand.list\",\"by\":\"region\"}",
		"{\"command\":\"latency.list\",\"limit\":16384}",
		"{\"command\":\"capacity.list\"}",
		"{\"command\":\"geo.show\",\"address\":\"16.0.16.1\"}",
		"{\"command\":\"edge.show\"}",
		"{\"command\":\"overlay.list\"}",
		LAY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		size_t length = 0;

		MEASURE(scene, requests[i],
			gs_api_handle(&scene->api, requests[i], strlen(requests[i]), on_reply,
				      &length));
		assert_true(length > 10);
	}
}

static void ask_rest(struct scene *scene)
{
	static const char *const paths[] = {
		"/health",	    "/metrics",		"/api/v1/regions",    "/api/v1/policies",
		"/api/v1/services", "/api/v1/backends", "/api/v1/breakers",   "/api/v1/votes",
		"/api/v1/overlays", "/api/v1/status",	"/api/v1/handshakes", "/api/v1/latencies",
		"/api/v1/demand",   "/api/v1/capacity",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct gs_rest_request request = {.method = "GET", .path = paths[i]};
		struct gs_rest_response response;

		MEASURE(scene, paths[i], gs_rest_handle(&scene->api, &request, &response));
		assert_int_equal(response.status, 200);
		free(response.body);
		for (int ret = response.metrics != NULL; ret;) {
			size_t length;
			char *part = NULL;

			MEASURE(scene, "a part of the metrics",
				ret = gs_metrics_next(response.metrics, &part, &length));
			assert_true(ret >= 0);
			free(part);
		}
		gs_metrics_free(response.metrics);
	}
}

static void ask(struct scene *scene)
{
	scene->phase = "questions";
	ask_control(scene);
	ask_rest(scene);
}

/* ---- the database is away, the maps are others ----------------------------------------------- */

static void restart_alone(struct gs_geodata *geo, struct scene *before)
{
	struct scene *scene = scene_new(geo);
	char from[64], to[64];

	scene->phase = "a start without the database";
	scene->worst_ns = before->worst_ns;
	memcpy(scene->worst_what, before->worst_what, sizeof(scene->worst_what));
	snprintf(from, sizeof(from), "%s/last-good.json", before->folder);
	snprintf(to, sizeof(to), "%s/last-good.json", scene->folder);
	assert_int_equal(rename(from, to), 0);
	MEASURE(scene, "start", assert_int_equal(gs_reconcile_start(scene->reconcile), 0));
	run_seconds(scene, 10);
	assert_true(look(scene)->from_last_good);
	assert_non_null(look(scene)->tables);
	before->worst_ns = scene->worst_ns;
	memcpy(before->worst_what, scene->worst_what, sizeof(scene->worst_what));
	scene_free(scene);
	the_scene = before;
}

/* The whole story; what its dearest callback cost, and which it was. */
static uint64_t lead_through(char *ret_what, size_t room)
{
	struct gs_geodata *geo = large_geodata();
	struct scene *scene = scene_new(geo);
	uint64_t worst_ns;

	begin(scene);
	hear_clients(scene);
	hear_others(scene);
	change(scene);
	change_database(scene);
	lose_some(scene);
	ask(scene);
	restart_alone(geo, scene);
	worst_ns = scene->worst_ns;
	snprintf(ret_what, room, "%s", scene->worst_what);
	scene_free(scene);
	large_geodata_free(geo);
	return worst_ns;
}

/* Log lines are made and written, as they are by a daemon; but not for people. */
static uint64_t lead_through_silently(char *ret_what, size_t room)
{
	int held_fd = dup(STDERR_FILENO), null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	uint64_t worst_ns;

	assert_true(held_fd >= 0 && dup2(null_fd, STDERR_FILENO) >= 0);
	worst_ns = lead_through(ret_what, room);
	dup2(held_fd, STDERR_FILENO);
	close(held_fd);
	close(null_fd);
	return worst_ns;
}

/* Noise only adds: what is too much each time is too much. */
static void nothing_keeps_the_loop(void **state)
{
	uint64_t round_ns = UINT64_MAX;
	char what[128];

	(void)state;
	measure_rounds(&round_ns);
	for (uint32_t attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t worst_ns = lead_through_silently(what, sizeof(what)), limit_ns;

		measure_rounds(&round_ns);
		limit_ns = round_ns * REFERENCE_ROUNDS;
		print_message("dearest: %.1f ms of %.1f, %s\n", (double)worst_ns / 1e6,
			      (double)limit_ns / 1e6, what);
		if (worst_ns < limit_ns)
			return;
	}
	fail_msg("%s: more than 20 ms of work", what);
}

/* ---- memory that is warm --------------------------------------------------------------------- */

enum { WARM_BLOCKS = 32, WARM_BLOCK_BYTES = 256 * 1024 };

static long page_faults(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
	return usage.ru_minflt;
}

/* Of touching these blocks for the first time since they were asked for. */
static long faults_of(void *const *blocks)
{
	long before = page_faults();

	for (uint32_t i = 0; i < WARM_BLOCKS; i++)
		memset(blocks[i], 1, WARM_BLOCK_BYTES);
	return page_faults() - before;
}

static void warm_memory_has_its_pages(void **state)
{
	void *blocks[WARM_BLOCKS];
	long cold, warm;

	(void)state;
	for (uint32_t i = 0; i < WARM_BLOCKS; i++) {
		blocks[i] = mmap(NULL, WARM_BLOCK_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(blocks[i], MAP_FAILED);
	}
	cold = faults_of(blocks);
	for (uint32_t i = 0; i < WARM_BLOCKS; i++)
		munmap(blocks[i], WARM_BLOCK_BYTES);
	gs_heap_warm((size_t)WARM_BLOCKS * WARM_BLOCK_BYTES * 2);
	/* Twice: what is freed stays warm. */
	for (int turn = 0; turn < 2; turn++) {
		for (uint32_t i = 0; i < WARM_BLOCKS; i++)
			assert_non_null(blocks[i] = malloc(WARM_BLOCK_BYTES));
		warm = faults_of(blocks);
		for (uint32_t i = 0; i < WARM_BLOCKS; i++)
			free(blocks[i]);
		assert_true(cold > WARM_BLOCKS && warm < cold / 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(warm_memory_has_its_pages),
		cmocka_unit_test(nothing_keeps_the_loop),
	};

	gs_log_setup(GS_LOG_INFO, GS_LOG_LOGFMT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
