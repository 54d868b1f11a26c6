/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a running daemon: right answers, and hostile questions. Every port is a fake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fake_prober.h"
#include "tests/fakes/fakes.h"
#include "tests/fakes/metrics_whole.h"
#include "tests/fakes/world.h"
#include "user/app/api.h"
#include "user/app/api_latency.h"
#include "user/app/rest.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/geo.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LIMIT_MS = 20000 };

struct scene {
	struct gs_loop *loop;
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
	struct gs_prober prober;
	struct gs_detour detour;
	struct gs_config config;
	struct gs_reconcile *reconcile;
	struct gs_handshakes *handshakes;
	struct gs_demand *demand;
	struct gs_capacity *capacity;
	struct fake_prober anchor_fake;
	struct gs_prober anchor_prober;
	struct gs_anchors *anchors;
	struct gs_api api;
	struct world *world;

	struct gs_timer poll, limit;
	bool (*until)(struct scene *scene);
	bool timed_out;

	int replies;
	json_t *reply; /* the last one */
};

static void on_poll(struct gs_timer *timer)
{
	struct scene *scene = timer->context;

	if (scene->until(scene))
		gs_loop_stop(scene->loop);
	else
		gs_loop_timer_set(scene->loop, timer, 2);
}

static void on_limit(struct gs_timer *timer)
{
	struct scene *scene = timer->context;

	scene->timed_out = true;
	gs_loop_stop(scene->loop);
}

static void run_until(struct scene *scene, bool (*until)(struct scene *scene))
{
	scene->until = until;
	gs_loop_timer_set(scene->loop, &scene->poll, 0);
	gs_loop_timer_set(scene->loop, &scene->limit, LIMIT_MS);
	assert_int_equal(gs_loop_run(scene->loop), 0);
	gs_loop_timer_clear(scene->loop, &scene->poll);
	gs_loop_timer_clear(scene->loop, &scene->limit);
	assert_false(scene->timed_out);
}

static const struct gs_reconcile_state *look(void *context)
{
	const struct scene *scene = context;

	return gs_reconcile_look(scene->reconcile);
}

static int set_up_handshakes(struct scene *scene)
{
	const struct gs_handshakes_ports ports = {.loop = scene->loop,
						  .dataplane = &scene->dataplane,
						  .look = look,
						  .look_context = scene};

	scene->dataplane_fake.handshake_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (gs_handshakes_new(&ports, 3, 64, &scene->handshakes))
		return -1;
	return gs_handshakes_attach(scene->handshakes);
}

static int set_up_capacity(struct scene *scene)
{
	const struct gs_capacity_ports ports = {.loop = scene->loop,
						.dataplane = &scene->dataplane,
						.store = &scene->store,
						.look = look,
						.look_context = scene};

	return gs_capacity_new(&ports, &scene->capacity);
}

static int set_up_demand(struct scene *scene)
{
	const struct gs_demand_ports ports = {.loop = scene->loop,
					      .dataplane = &scene->dataplane,
					      .look = look,
					      .look_context = scene};

	return gs_demand_new(&ports, &scene->demand);
}

static bool on_generation(void *context, const struct gs_generation_change *change)
{
	struct scene *scene = context;

	if (!gs_demand_replace(scene->demand, change))
		return false;
	gs_handshakes_replace(scene->handshakes, change);
	return true;
}

static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	struct gs_reconcile_settings settings = {.geoip = "/geo/one.mmdb",
						 .last_good = "/proc/nowhere/last-good.json",
						 .edge = "edge-7"};
	struct gs_reconcile_ports ports;

	*state = scene;
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
	if (gs_loop_new(&scene->loop))
		return -1;
	scene->world = world_new(3);
	scene->geodb_fake.geo = &scene->world->geo;
	fake_store_init(&scene->store_fake, &scene->store);
	fake_geodb_init(&scene->geodb_fake, &scene->geodb);
	fake_nexthop_init(&scene->nexthop_fake, &scene->nexthop);
	fake_dataplane_init(&scene->dataplane_fake, &scene->dataplane);
	fake_prober_init(&scene->prober_fake, scene->loop, &scene->prober);
	fake_detour_init(&scene->detour_fake, &scene->detour);
	fake_prober_init(&scene->anchor_fake, scene->loop, &scene->anchor_prober);
	if (gs_anchors_new(scene->loop, &scene->anchor_prober, 3, &scene->anchors))
		return -1;
	scene->poll = (struct gs_timer){.on_due = on_poll, .context = scene};
	scene->limit = (struct gs_timer){.on_due = on_limit, .context = scene};
	gs_config_default(&scene->config);
	strcpy(scene->config.edge, "edge-7");
	snprintf(settings.overlays, sizeof(settings.overlays), "/tmp/test_api.%d.json",
		 (int)getpid());
	unlink(settings.overlays);
	ports = (struct gs_reconcile_ports){
		.loop = scene->loop,
		.store = &scene->store,
		.geodb = &scene->geodb,
		.dataplane = &scene->dataplane,
		.nexthop = &scene->nexthop,
		.prober = &scene->prober,
		.detour = &scene->detour,
		.anchors = scene->anchors,
		.on_generation = on_generation,
		.generation_context = scene,
	};
	if (gs_reconcile_new(&ports, &settings, &scene->reconcile) || set_up_handshakes(scene) ||
	    set_up_demand(scene) || set_up_capacity(scene) || gs_reconcile_start(scene->reconcile))
		return -1;
	scene->api = (struct gs_api){
		.reconcile = scene->reconcile,
		.dataplane = &scene->dataplane,
		.loop = scene->loop,
		.config = &scene->config,
		.handshakes = scene->handshakes,
		.demand = scene->demand,
		.capacity = scene->capacity,
		.anchors = scene->anchors,
		.started_ms = gs_loop_now_ms(scene->loop),
	};
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	gs_loop_end_worker(scene->loop);
	gs_handshakes_free(scene->handshakes);
	gs_demand_free(scene->demand);
	gs_capacity_free(scene->capacity);
	close(scene->dataplane_fake.handshake_fd);
	unlink(gs_reconcile_look(scene->reconcile)->local->path);
	gs_reconcile_free(scene->reconcile);
	gs_anchors_free(scene->anchors);
	fake_prober_done(&scene->prober_fake);
	gs_loop_free(scene->loop);
	world_free(scene->world);
	json_decref(scene->reply);
	free(scene);
	return 0;
}

static bool all_known(struct scene *scene)
{
	const struct gs_reconcile_state *look = gs_reconcile_look(scene->reconcile);

	return look->tables && !look->working && gs_monitor_unknown_count(look->monitor) == 0;
}

/* region-2 is named by an override for 203.0.113.0/24 and 2001:db8:7::/48. */
static void start(struct scene *scene)
{
	struct gs_snapshot *plain = fake_snapshot(5), *snapshot;

	assert_int_equal(gs_snapshot_copy(plain, 2, &snapshot), 0);
	gs_snapshot_free(plain);
	snapshot->override_count = 2;
	assert_int_equal(gs_prefix_parse("203.0.113.0/24", &snapshot->overrides[0].prefix), 0);
	assert_int_equal(gs_prefix_parse("2001:db8:7::/48", &snapshot->overrides[1].prefix), 0);
	for (int i = 0; i < 2; i++) {
		snapshot->overrides[i].region = FAKE_US;
		strcpy(snapshot->overrides[i].reason, "ticket 42");
	}
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_until(scene, all_known);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void on_reply(void *context, json_t *reply)
{
	struct scene *scene = context;

	json_decref(scene->reply);
	scene->reply = reply;
	scene->replies++;
}

static json_t *ask_bytes(struct scene *scene, const char *request, size_t length)
{
	/* Exactly as long: a read beyond it is seen. */
	char *copy = malloc(length ? length : 1);

	assert_non_null(copy);
	memcpy(copy, request, length);
	scene->replies = 0;
	gs_api_handle(&scene->api, copy, length, on_reply, scene);
	free(copy);
	return scene->reply;
}

static json_t *ask(struct scene *scene, const char *request)
{
	json_t *reply = ask_bytes(scene, request, strlen(request));

	assert_int_equal(scene->replies, 1);
	assert_true(json_is_object(reply));
	return reply;
}

static json_t *ask_route(struct scene *scene, const char *address)
{
	char request[256];

	snprintf(request, sizeof(request), "{\"command\":\"route.get\",\"address\":\"%s\"}",
		 address);
	return ask(scene, request);
}

/* "a.b.0.c": members by name, elements by number. */
static json_t *at(json_t *json, const char *path)
{
	while (*path && json) {
		char word[64];
		size_t length = strcspn(path, ".");

		memcpy(word, path, length);
		word[length] = '\0';
		json = json_is_array(json) ? json_array_get(json, strtoul(word, NULL, 10))
					   : json_object_get(json, word);
		path += length + (path[length] == '.');
	}
	return json;
}

static const char *text_at(json_t *json, const char *path)
{
	const char *text = json_string_value(at(json, path));

	return text ? text : "(no text)";
}

static json_int_t number_at(json_t *json, const char *path)
{
	assert_true(json_is_integer(at(json, path)));
	return json_integer_value(at(json, path));
}

/* ---- hostile questions ----------------------------------------------------------------------- */

static void hostile_requests(void **state)
{
	static const struct {
		const char *request, *want; /* in the error's text */
	} cases[] = {
		{"", "request: column"},
		{"{", "request: column"},
		{"null", "request: column"},
		{"[]", "command: missing"},
		{"\"status\"", "request: column"},
		{"{}", "command: missing"},
		{"{\"command\":null}", "command: missing"},
		{"{\"command\":7}", "command: missing"},
		{"{\"command\":\"\"}", "command: no ''"},
		{"{\"command\":\"statusx\"}", "command: no 'statusx'"},
		{"{\"command\":\"status\",\"command\":\"status\"}", "request: column"},
		{"{\"command\":\"status\"} x", "request: column"},
		{"{\"command\":\"sta\\u0000tus\"}", "request: column"},
		{"{\"command\":\"\xff\"}", "request: column"},
		{"{\"command\":\"route.get\"}", "address: missing"},
		{"{\"command\":\"route.get\",\"address\":[]}", "address: missing"},
		{"{\"command\":\"route.get\",\"address\":\"\"}", "address: ''"},
		{"{\"command\":\"route.get\",\"address\":\"1.2.3\"}", "address: '1.2.3'"},
		{"{\"command\":\"route.get\",\"address\":\"1.2.3.4/32\"}", "address: "},
		{"{\"command\":\"route.get\",\"address\":\"1.2.3.4\",\"service\":\"no\"}",
		 "service: no 'no'"},
		{"{\"command\":\"route.get\",\"address\":\"1.2.3.4\",\"service\":4}", "service: "},
		{"{\"command\":\"geo.show\",\"address\":\"::gggg\"}", "address: "},
		{"{\"command\":\"latency.list\",\"limit\":-1}", "limit: is no"},
		{"{\"command\":\"latency.list\",\"limit\":99999}", "limit: is no"},
		{"{\"command\":\"latency.list\",\"place\":5}", "place: is no text"},
		{"{\"command\":\"latency.list\",\"place\":\"Berlin\"}", "place: 'Berlin' is none"},
		{"{\"command\":\"handshake.list\",\"limit\":-1}", "limit: is no"},
		{"{\"command\":\"handshake.list\",\"limit\":99999}", "limit: is no"},
		{"{\"command\":\"handshake.list\",\"limit\":\"5\"}", "limit: is no"},
		{"{\"command\":\"geo.load\"}", "path: missing"},
		{"{\"command\":\"geo.load\",\"path\":\"relative\"}", "path: "},
		{"{\"command\":\"geo.load\",\"path\":\"\"}", "path: "},
	};
	struct scene *scene = *state;

	start(scene);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *error = text_at(ask(scene, cases[i].request), "error");

		if (!strstr(error, cases[i].want))
			fail_msg("%s: error is '%s', not '%s'", cases[i].request, error,
				 cases[i].want);
	}
}

static void deep_and_long_requests(void **state)
{
	enum { LENGTH = 65536 };
	struct scene *scene = *state;
	char *text = malloc(LENGTH);

	assert_non_null(text);
	start(scene);
	memset(text, '[', LENGTH);
	ask_bytes(scene, text, LENGTH);
	assert_int_equal(scene->replies, 1);
	assert_non_null(strstr(text_at(scene->reply, "error"), "request: column"));
	memset(text, 'a', LENGTH);
	memcpy(text, "{\"command\":\"", 12);
	memcpy(text + LENGTH - 2, "\"}", 2);
	ask_bytes(scene, text, LENGTH);
	assert_int_equal(scene->replies, 1);
	assert_true(strlen(text_at(scene->reply, "error")) < 200);
	free(text);
}

/* Good requests with bytes changed, cut or doubled: one reply each, always an object. */
static void mutated_requests(void **state)
{
	static const char *const SEEDS[] = {
		"{\"command\":\"status\"}",
		"{\"command\":\"route.get\",\"address\":\"203.0.113.9\",\"service\":\"web\"}",
		"{\"command\":\"geo.show\",\"address\":\"2001:db8::1\"}",
	};
	struct scene *scene = *state;
	uint64_t seed = gs_now_us();

	print_message("seed %lu\n", (unsigned long)seed);
	start(scene);
	for (int round = 0; round < 3000; round++) {
		char text[128];
		size_t length;

		strcpy(text, SEEDS[world_draw(&seed) % ARRAY_SIZE(SEEDS)]);
		length = strlen(text);
		for (uint64_t n = world_draw(&seed) % 4; n > 0; n--)
			text[world_draw(&seed) % length] = (char)world_draw(&seed);
		if (world_draw(&seed) % 4 == 0)
			length = world_draw(&seed) % (length + 1);
		ask_bytes(scene, text, length);
		assert_int_equal(scene->replies, 1);
		assert_true(json_is_object(scene->reply));
	}
}

/* ---- status ---------------------------------------------------------------------------------- */

static void status_before_anything_is_known(void **state)
{
	struct scene *scene = *state;
	json_t *reply;

	scene->store_fake.events->on_connection(scene->store_fake.context, false,
						"could not connect");
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "edge"), "edge-7");
	assert_string_equal(text_at(reply, "version"), GS_VERSION);
	assert_true(json_is_false(at(reply, "database.connected")));
	assert_string_equal(text_at(reply, "database.why"), "could not connect");
	assert_int_equal(number_at(reply, "generation.number"), 0);
	assert_null(at(reply, "regions"));
	assert_non_null(strstr(text_at(ask_route(scene, "1.2.3.4"), "error"), "no generation"));
}

static void status_of_a_running_edge(void **state)
{
	struct scene *scene = *state;
	json_t *reply;

	start(scene);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_true(json_is_true(at(reply, "database.connected")));
	assert_int_equal(number_at(reply, "revision"), 5);
	assert_int_equal(number_at(reply, "generation.number"), 1);
	assert_int_equal(strlen(text_at(reply, "generation.digest")), 16);
	assert_string_equal(text_at(reply, "geoip.file"), "/geo/one.mmdb");
	assert_int_equal(number_at(reply, "geoip.locations"), scene->world->geo.location_count - 1);
	assert_int_equal(json_array_size(at(reply, "regions")), FAKE_REGIONS);
	assert_int_equal(json_array_size(at(reply, "backends")), FAKE_REGIONS * FAKE_PER_REGION);
	assert_string_equal(text_at(reply, "regions.0.name"), "region-1");
	assert_string_equal(text_at(reply, "regions.0.state"), "up");
	assert_string_equal(text_at(reply, "regions.0.admin"), "auto");
	assert_true(number_at(reply, "regions.0.since_s") < 60);
	assert_string_equal(text_at(reply, "backends.5.name"), "backend-3-1");
	assert_string_equal(text_at(reply, "backends.5.region"), "region-3");
	assert_string_equal(text_at(reply, "backends.5.address"), "10.0.3.2");
	assert_string_equal(text_at(reply, "backends.5.health"), "up");
	assert_string_equal(text_at(reply, "backends.5.state"), "up");
	assert_string_equal(text_at(reply, "backends.5.probe_path"), "tunnel");
	assert_null(at(reply, "backends.5.probe_direct_why"));
	assert_true(scene->prober_fake.backend[fake_backend(FAKE_AP, 1)].last_target.is_through);
	assert_int_equal(number_at(reply, "services.0.packets"), 7);
	assert_int_equal(number_at(reply, "services.0.bytes"), 700);
	assert_int_equal(number_at(reply, "reasons.tx_new"), 7);
	assert_true(json_is_false(at(reply, "from_last_good")));
	assert_null(at(reply, "coordinates"));
	scene->config.coordinates = (struct gs_config_coord){true, {50.5, -8.5}};
	scene->dataplane_fake.count_error = -EIO;
	scene->detour_fake.why = "there is none";
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "backends.5.probe_path"), "direct");
	assert_string_equal(text_at(reply, "backends.5.probe_direct_why"), "there is none");
	assert_string_not_equal(text_at(reply, "counters_problem"), "(no text)");
	assert_float_equal(json_real_value(at(reply, "coordinates.0")), 50.5, 0);
	assert_float_equal(json_real_value(at(reply, "coordinates.1")), -8.5, 0);
}

/* ---- route.get ------------------------------------------------------------------------------- */

static bool us_is_down(struct scene *scene)
{
	return scene->dataplane_fake.regions[FAKE_US].state == GS_USABLE_DOWN;
}

static void access_and_limits_are_named(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = fake_snapshot(6);
	json_t *reply;

	free(snapshot->access);
	snapshot->access = calloc(2, sizeof(*snapshot->access));
	assert_non_null(snapshot->access);
	snapshot->access_count = 2;
	assert_int_equal(gs_prefix_parse("203.0.113.0/24", &snapshot->access[0].prefix), 0);
	strcpy(snapshot->access[0].reason, "flood 7");
	assert_int_equal(gs_prefix_parse("203.0.113.64/26", &snapshot->access[1].prefix), 0);
	snapshot->access[1].service = snapshot->services[0].id;
	snapshot->access[1].allow = true;
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		snapshot->services[i].limit = (struct gs_limit_spec){
			.client_flows = 50, .packets = 9000, .prefix4 = 24, .prefix6 = 48};
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		snapshot->regions[i].limit_packets = 777;
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_until(scene, all_known);

	reply = ask_route(scene, "203.0.113.9");
	assert_string_equal(text_at(reply, "access.action"), "deny");
	assert_string_equal(text_at(reply, "access.prefix"), "203.0.113.0/24");
	assert_true(json_is_null(at(reply, "access.service")));
	assert_string_equal(text_at(reply, "access.reason"), "flood 7");
	assert_true(json_is_null(at(reply, "winner.region")));
	assert_non_null(strstr(text_at(reply, "winner.why"), "denies 203.0.113.0/24 (flood 7)"));
	reply = ask_route(scene, "203.0.113.99"); /* allowed: under no client limit */
	assert_string_equal(text_at(reply, "access.action"), "allow");
	assert_string_equal(text_at(reply, "access.service"), "web");
	assert_null(at(reply, "limits.client_flows"));
	assert_int_equal(number_at(reply, "limits.packets"), 9000);
	assert_int_equal(number_at(reply, "winner.limit_packets"), 777);
	reply = ask_route(scene, "8.8.8.8");
	assert_null(at(reply, "access"));
	assert_string_equal(text_at(reply, "limits.client_prefix"), "8.8.8.0/24");
	assert_int_equal(number_at(reply, "limits.client_flows"), 50);
	assert_null(at(reply, "limits.client_packets"));
	reply = ask_route(scene, "64:ff9b::8.8.8.8"); /* by the address inside */
	assert_string_equal(text_at(reply, "limits.client_prefix"), "8.8.8.0/24");
}

static void an_override_is_named(void **state)
{
	struct scene *scene = *state;
	json_t *reply;

	start(scene);
	reply = ask_route(scene, "203.0.113.9");
	assert_string_equal(text_at(reply, "client"), "203.0.113.9");
	assert_string_equal(text_at(reply, "service"), "web");
	assert_string_equal(text_at(reply, "policy"), "nearest");
	assert_string_equal(text_at(reply, "match.source"), "override");
	assert_string_equal(text_at(reply, "match.prefix"), "203.0.113.0/24");
	assert_string_equal(text_at(reply, "match.region"), "region-2");
	assert_string_equal(text_at(reply, "match.reason"), "ticket 42");
	assert_string_equal(text_at(reply, "candidates.0.region"), "region-2");
	assert_int_equal(json_array_size(at(reply, "candidates")), FAKE_REGIONS);
	assert_string_equal(text_at(reply, "winner.region"), "region-2");
	assert_non_null(strstr(text_at(reply, "winner.why"), "override"));
	assert_int_equal(json_array_size(at(reply, "winner.backends")), FAKE_PER_REGION);
	assert_string_equal(text_at(reply, "winner.backends.0.health"), "up");
	reply = ask_route(scene, "2001:db8:7::1");
	assert_string_equal(text_at(reply, "match.prefix"), "2001:db8:7::/48");
	assert_string_equal(text_at(reply, "affinity.kind"), "flow");
	assert_null(at(reply, "affinity.prefix"));
	/* 6to4 of an overridden IPv4 address */
	reply = ask_route(scene, "2002:cb00:7109::1");
	assert_string_equal(text_at(reply, "match.source"), "override");
	assert_string_equal(text_at(reply, "match.embedded_ipv4"), "203.0.113.9");

	for (int n = 0; n < FAKE_PER_REGION; n++)
		scene->prober_fake.backend[fake_backend(FAKE_US, n)].answer.class =
			GS_PROBE_REFUSED;
	run_until(scene, us_is_down);
	reply = ask_route(scene, "203.0.113.9");
	assert_true(json_is_false(at(reply, "candidates.0.usable")));
	assert_string_equal(text_at(reply, "candidates.0.state"), "down");
	assert_string_equal(text_at(reply, "candidates.0.why"), "no backend is up");
	assert_string_equal(text_at(reply, "winner.region"), "region-1"); /* nearer than -3 */
	assert_non_null(strstr(text_at(reply, "winner.why"), "region-2: no backend is up"));
}

/* Of a list of the route's the region's entry; NULL: it is not in it. */
static json_t *entry_of(json_t *reply, const char *list, const char *region)
{
	json_t *entry;
	size_t i;

	json_array_foreach (at(reply, list), i, entry)
		if (strcmp(text_at(entry, "region"), region) == 0)
			return entry;
	return NULL;
}

static bool asn_is_in_force(struct scene *scene)
{
	const struct gs_reconcile_state *look = gs_reconcile_look(scene->reconcile);

	return look->tables && look->tables->asn && look->snapshot->revision == 6;
}

static bool revision_6(struct scene *scene)
{
	return gs_reconcile_look(scene->reconcile)->tables->snapshot->revision == 6;
}

/* AS64500 has 198.51.100.0/23, and 203.0.112.0/23, of which another override has a part. */
static void an_override_of_a_system_is_named(void **state)
{
	struct gs_geo_key starts[] = {{0},
				      {.low = 0xc6336400},
				      {.low = 0xc6336600},
				      {.low = 0xcb007000},
				      {.low = 0xcb007200}};
	uint32_t asns[] = {0, 64500, 0, 64500, 0};
	const struct gs_asndata asn = {
		.digest = 5,
		.database_type = "Systems",
		.v4 = {.starts = starts, .asns = asns, .start_count = 5, .networks = 2},
		.v6 = {.starts = starts, .asns = asns, .start_count = 1}};
	struct scene *scene = *state;
	struct gs_snapshot *plain = fake_snapshot(6), *snapshot;
	json_t *reply;

	start(scene);
	assert_null(at(ask(scene, "{\"command\":\"status\"}"), "asn"));
	assert_int_equal(gs_snapshot_copy(plain, 2, &snapshot), 0);
	gs_snapshot_free(plain);
	snapshot->override_count = 2;
	assert_int_equal(gs_prefix_parse("203.0.113.0/24", &snapshot->overrides[0].prefix), 0);
	snapshot->overrides[0].region = FAKE_EU;
	snapshot->overrides[1].asn = 64500;
	snapshot->overrides[1].region = FAKE_US;
	strcpy(snapshot->overrides[1].reason, "their peering");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_until(scene, revision_6);

	/* No such database yet: nobody is under it, and the status says so. */
	assert_string_equal(text_at(ask_route(scene, "198.51.100.9"), "match.source"), "geoip");
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_non_null(strstr(text_at(reply, "asn.missing"), "overrides of systems (1)"));
	assert_null(at(reply, "asn.file"));

	scene->geodb_fake.asn = &asn;
	assert_int_equal(gs_reconcile_reload_asn(scene->reconcile, "/asn/one.mmdb"), 0);
	run_until(scene, asn_is_in_force);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_null(at(reply, "asn.missing"));
	assert_string_equal(text_at(reply, "asn.file"), "/asn/one.mmdb");
	assert_string_equal(text_at(reply, "asn.type"), "Systems");
	assert_int_equal(number_at(reply, "asn.networks4"), 2);

	reply = ask_route(scene, "198.51.101.9");
	assert_string_equal(text_at(reply, "match.source"), "override");
	assert_string_equal(text_at(reply, "match.prefix"), "198.51.100.0/23");
	assert_string_equal(text_at(reply, "match.asn"), "AS64500");
	assert_string_equal(text_at(reply, "match.region"), "region-2");
	assert_string_equal(text_at(reply, "match.reason"), "their peering");
	assert_string_equal(text_at(reply, "override.clients"), "AS64500");
	assert_true(json_is_true(at(reply, "override.followed")));
	assert_string_equal(text_at(reply, "asn"), "AS64500");
	assert_string_equal(text_at(reply, "winner.region"), "region-2");
	assert_string_equal(text_at(reply, "winner.why"),
			    "the override of AS64500 names it, and it is usable");
	/* 6to4 of one of its addresses */
	reply = ask_route(scene, "2002:c633:6409::1");
	assert_string_equal(text_at(reply, "match.asn"), "AS64500");
	assert_string_equal(text_at(reply, "match.embedded_ipv4"), "198.51.100.9");
	/* A prefix wins. */
	reply = ask_route(scene, "203.0.113.9");
	assert_string_equal(text_at(reply, "override.clients"), "203.0.113.0/24");
	assert_null(at(reply, "match.asn"));
	assert_string_equal(text_at(reply, "asn"), "AS64500");
	assert_string_equal(text_at(reply, "winner.region"), "region-1");
	/* Beside it the system's holds. */
	reply = ask_route(scene, "203.0.112.9");
	assert_string_equal(text_at(reply, "override.clients"), "AS64500");
	/* Nobody's. */
	reply = ask_route(scene, "198.51.102.1");
	assert_string_equal(text_at(reply, "match.source"), "geoip");
	assert_null(at(reply, "asn"));
}

/* Why the region an override names for 203.0.113.9 is passed over, as route.get says; "": it is
 * not. It is either in the plan or among those skipped. */
static const char *why_passed(struct scene *scene)
{
	json_t *reply = ask_route(scene, "203.0.113.9");
	json_t *candidate = entry_of(reply, "candidates", "region-2");
	json_t *skipped = entry_of(reply, "skipped", "region-2");
	const char *why = json_string_value(at(candidate ? candidate : skipped, "why"));

	assert_true(!candidate != !skipped);
	assert_int_equal(json_array_size(at(reply, "candidates")) +
				 json_array_size(at(reply, "skipped")),
			 FAKE_REGIONS);
	if (candidate)
		assert_int_equal(json_is_true(at(candidate, "usable")), why == NULL);
	assert_int_equal(strcmp(text_at(reply, "winner.region"), "region-2") == 0, why == NULL);
	if (candidate && why)
		assert_non_null(strstr(text_at(reply, "winner.why"), why));
	return why ? why : "";
}

static const char *wanted_why;

static bool says_wanted_why(struct scene *scene)
{
	return gs_reconcile_look(scene->reconcile)->tables &&
	       strcmp(why_passed(scene), wanted_why) == 0;
}

/* The snapshot of start, the region and its backends as they are given. */
static struct gs_snapshot *region_as(uint64_t revision, enum gs_admin region,
				     enum gs_admin backends)
{
	struct gs_snapshot *plain = fake_snapshot(revision), *snapshot;

	assert_int_equal(gs_snapshot_copy(plain, 1, &snapshot), 0);
	gs_snapshot_free(plain);
	snapshot->override_count = 1;
	assert_int_equal(gs_prefix_parse("203.0.113.0/24", &snapshot->overrides[0].prefix), 0);
	snapshot->overrides[0].region = FAKE_US;
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (snapshot->regions[i].id == FAKE_US)
			snapshot->regions[i].admin = region;
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (snapshot->backends[i].region == FAKE_US)
			snapshot->backends[i].admin = backends;
	return snapshot;
}

static void force_open(struct gs_snapshot *snapshot)
{
	free(snapshot->forces);
	snapshot->forces = calloc(1, sizeof(*snapshot->forces));
	assert_non_null(snapshot->forces);
	snapshot->force_count = 1;
	snapshot->forces[0] = (struct gs_force){
		.service = FAKE_WEB, .region = FAKE_US, .open = true, .expires_unix_ms = INT64_MAX};
}

static void each_region_passed_over_says_why(void **state)
{
	static const struct {
		enum gs_admin region, backends;
		bool is_forced;
		const char *why;
	} cases[] = {
		{GS_ADMIN_AUTO, GS_ADMIN_AUTO, false, ""},
		{GS_ADMIN_DRAIN, GS_ADMIN_AUTO, false, "drained by an operator: known flows only"},
		{GS_ADMIN_MAINTENANCE, GS_ADMIN_AUTO, false, "down by an operator"},
		{GS_ADMIN_FORCE_DOWN, GS_ADMIN_AUTO, false, "down by an operator"},
		{GS_ADMIN_AUTO, GS_ADMIN_FORCE_DOWN, false,
		 "all of the service's backends there are down by an operator"},
		{GS_ADMIN_AUTO, GS_ADMIN_MAINTENANCE, false,
		 "all of the service's backends there are down by an operator"},
		{GS_ADMIN_AUTO, GS_ADMIN_DRAIN, false, "its backends are draining"},
		{GS_ADMIN_FORCE_UP, GS_ADMIN_DRAIN, false, "its backends are draining"},
		{GS_ADMIN_AUTO, GS_ADMIN_AUTO, true, "its breaker is open: known flows only"},
	};
	struct scene *scene = *state;

	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_snapshot *snapshot =
			region_as(10 + i, cases[i].region, cases[i].backends);

		if (cases[i].is_forced)
			force_open(snapshot);
		wanted_why = cases[i].why;
		print_message("%zu: \"%s\"\n", i, wanted_why);
		scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
		run_until(scene, says_wanted_why);
	}
}

/* Its backends fail, and recover: trials only, for as long as it takes so many successes. */
static void a_half_open_breaker_says_so(void **state)
{
	struct gs_snapshot *snapshot = region_as(10, GS_ADMIN_AUTO, GS_ADMIN_AUTO);
	struct scene *scene = *state;

	snapshot->services[0].breaker.enabled = true;
	snapshot->services[0].breaker.open_ms = 100;
	snapshot->services[0].breaker.open_max_ms = 100;
	snapshot->services[0].breaker.successes = 100;
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_until(scene, all_known);
	for (int n = 0; n < FAKE_PER_REGION; n++)
		scene->prober_fake.backend[fake_backend(FAKE_US, n)].answer.class =
			GS_PROBE_REFUSED;
	run_until(scene, us_is_down);
	for (int n = 0; n < FAKE_PER_REGION; n++)
		scene->prober_fake.backend[fake_backend(FAKE_US, n)].answer.class = GS_PROBE_OK;
	wanted_why = "its breaker is half open: some trials only";
	run_until(scene, says_wanted_why);
}

/* Against the ranges the database was made of, and distances by hand. */
static void geography_is_right(void **state)
{
	struct scene *scene = *state;
	struct gs_snapshot *snapshot = fake_snapshot(1);
	uint64_t seed = gs_now_us();
	int located = 0;

	print_message("seed %lu\n", (unsigned long)seed);
	start(scene);
	for (int round = 0; round < 300; round++) {
		struct gs_addr client = world_client(scene->world, &seed), inner;
		char text[GS_ADDR_TEXT_MAX];
		uint16_t want = world_geo_location(scene->world, &client);
		const struct gs_location *location = &scene->world->geo.locations[want];
		const struct gs_region *nearest = &snapshot->regions[0];
		json_t *reply = ask_route(scene, gs_addr_format(&client, text));

		if (strcmp(text_at(reply, "match.source"), "geoip") != 0)
			continue;
		if (gs_geo_embedded_v4(&client, &inner))
			assert_true(json_is_string(at(reply, "match.embedded_ipv4")));
		assert_int_equal(number_at(reply, "location.id"), want);
		assert_string_equal(text_at(reply, "location.country"), location->country);
		for (gs_id r = 1; location->has_coord && r < FAKE_REGIONS; r++)
			if (gs_geo_distance_km(&location->coord, &snapshot->regions[r].coord) <
			    gs_geo_distance_km(&location->coord, &nearest->coord))
				nearest = &snapshot->regions[r];
		assert_string_equal(text_at(reply, "winner.region"), nearest->name);
		if (location->has_coord) {
			char want_why[64];

			snprintf(want_why, sizeof(want_why), "nearest usable one, %.0f km away",
				 gs_geo_distance_km(&location->coord, &nearest->coord));
			assert_string_equal(text_at(reply, "winner.why"), want_why);
		}
		located += location->has_coord;
		reply = ask(scene, "{\"command\":\"status\"}");
	}
	assert_true(located > 50);
	gs_snapshot_free(snapshot);
}

/* ---- geo.load, geo.show ---------------------------------------------------------------------- */

static bool has_reply(struct scene *scene)
{
	return scene->replies > 0;
}

static json_t *load(struct scene *scene, const char *path)
{
	char request[256];

	snprintf(request, sizeof(request), "{\"command\":\"geo.load\",\"path\":\"%s\"}", path);
	ask_bytes(scene, request, strlen(request));
	assert_int_equal(scene->replies, 0); /* the worker's */
	run_until(scene, has_reply);
	assert_int_equal(scene->replies, 1);
	return scene->reply;
}

static void geo_load_answers_when_done(void **state)
{
	struct scene *scene = *state;
	json_t *reply;

	start(scene);
	reply = load(scene, "/geo/two.mmdb");
	assert_string_equal(text_at(reply, "file"), "/geo/two.mmdb");
	assert_int_equal(number_at(reply, "generation"), 1); /* the same answers */
	scene->geodb_fake.error = -EINVAL;
	reply = load(scene, "/geo/broken.mmdb");
	assert_string_equal(text_at(reply, "error"), "/geo/broken.mmdb: scripted to be broken");
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "geoip.file"), "/geo/two.mmdb");
	assert_non_null(strstr(text_at(reply, "geoip.problem"), "scripted"));
	reply = ask(scene, "{\"command\":\"geo.show\",\"address\":\"203.0.113.9\"}");
	assert_string_equal(text_at(reply, "file"), "/geo/two.mmdb");
	assert_true(json_is_integer(at(reply, "location.id")));
}

static bool is_locating(struct scene *scene)
{
	return gs_reconcile_look(scene->reconcile)->load.progress.phase == GS_PHASE_LOCATING;
}

static bool is_cancelled(struct scene *scene)
{
	const struct gs_reconcile_state *look = gs_reconcile_look(scene->reconcile);

	return look->geo_counts.cancelled == 1 && !look->working;
}

static json_t *load_as(struct scene *scene, const char *path, const char *how)
{
	char request[256];

	snprintf(request, sizeof(request), "{\"command\":\"geo.load\",\"path\":\"%s\",\"%s\":true}",
		 path, how);
	ask_bytes(scene, request, strlen(request));
	run_until(scene, has_reply);
	return scene->reply;
}

/* The limit of the scene is 0: whatever moves is too much. */
static void geo_load_is_shown_refused_forced_and_taken_back(void **state)
{
	static const char rollback[] = "{\"command\":\"geo.rollback\"}";
	struct scene *scene = *state;
	struct world *other = world_new(4);
	json_t *reply;

	start(scene);
	reply = ask(scene, rollback);
	assert_non_null(strstr(text_at(reply, "error"), "nothing to go back to"));
	reply = ask(scene, "{\"command\":\"geo.cancel\"}");
	assert_string_equal(text_at(reply, "error"), "no load is under way");
	reply = load(scene, "/geo/one.mmdb");
	assert_true(json_is_true(at(reply, "change.same")));
	scene->geodb_fake.geo = &other->geo;

	reply = load_as(scene, "/geo/two.mmdb", "dry_run");
	assert_true(json_is_true(at(reply, "dry_run")));
	assert_null(at(reply, "generation"));
	assert_string_equal(text_at(reply, "change.outcome"), "shown");
	assert_string_equal(text_at(reply, "change.file"), "/geo/two.mmdb");
	assert_true(json_number_value(at(reply, "change.ipv4.addresses")) > 0);
	assert_true(json_number_value(at(reply, "change.ipv4.moved_share")) > 0);
	assert_true(json_array_size(at(reply, "change.moves")) > 0);
	assert_true(json_is_number(at(reply, "change.traffic.sampled")));

	reply = load(scene, "/geo/two.mmdb");
	assert_non_null(strstr(text_at(reply, "error"), "geoip_change_limit"));
	assert_string_equal(text_at(reply, "change.outcome"), "refused");
	assert_int_equal(number_at(reply, "change.limit_percent"), 0);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "geoip.file"), "/geo/one.mmdb");
	assert_true(json_is_true(at(reply, "geoip.refused")));
	assert_null(at(reply, "loading"));

	reply = load_as(scene, "/geo/two.mmdb", "force");
	assert_int_equal(number_at(reply, "generation"), 2);
	assert_string_equal(text_at(reply, "change.outcome"), "in force");
	reply = ask(scene, "{\"command\":\"geo.status\"}");
	assert_string_equal(text_at(reply, "geoip.file"), "/geo/two.mmdb");
	assert_string_equal(text_at(reply, "geoip.before.file"), "/geo/one.mmdb");
	assert_true(json_is_false(at(reply, "geoip.refused")));

	ask_bytes(scene, rollback, strlen(rollback));
	run_until(scene, has_reply);
	assert_string_equal(text_at(scene->reply, "file"), "/geo/one.mmdb");
	assert_int_equal(number_at(scene->reply, "generation"), 3);

	__atomic_store_n(&scene->geodb_fake.is_gated, true, __ATOMIC_RELEASE);
	assert_int_equal(gs_reconcile_reload_geo(scene->reconcile, "/geo/two.mmdb"), 0);
	run_until(scene, is_locating);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "loading.file"), "/geo/two.mmdb");
	assert_string_equal(text_at(reply, "loading.phase"), "locating");
	assert_int_equal(number_at(reply, "loading.size_bytes"), FAKE_GEODB_SIZE);
	reply = ask(scene, "{\"command\":\"geo.load\",\"path\":\"/geo/three.mmdb\"}");
	assert_non_null(strstr(text_at(reply, "error"), "another GeoIP load"));
	reply = ask(scene, "{\"command\":\"geo.cancel\"}");
	assert_string_equal(text_at(reply, "file"), "/geo/two.mmdb");
	run_until(scene, is_cancelled);
	world_free(other);
}

/* ---- REST ------------------------------------------------------------------------------------ */

static struct gs_rest_response http(struct scene *scene, const char *method, const char *path,
				    const char *type, const char *body, size_t length)
{
	const struct gs_rest_request request = {.method = method,
						.path = path,
						.content_type = type,
						.body = body,
						.length = length,
						.is_too_large = length > GS_REST_BODY_MAX};
	struct gs_rest_response response;

	gs_rest_handle(&scene->api, &request, &response);
	if (response.metrics)
		response.body = metrics_whole(response.metrics, &response.length);
	return response;
}

static void rest_knows_its_calls(void **state)
{
	static const struct {
		const char *method, *path, *type, *body;
		unsigned int before, after; /* there is a configuration */
	} rows[] = {
		{"GET", "/health/live", NULL, "", 200, 200},
		{"GET", "/health", NULL, "", 503, 200},
		{"HEAD", "/health", NULL, "", 503, 200},
		{"GET", "/metrics", NULL, "", 200, 200},
		{"GET", "/api/v1/overlays", NULL, "", 200, 200},
		{"POST", "/api/v1/overlays", NULL, "", 405, 405},
		{"GET", "/api/v1/regions", NULL, "", 503, 200},
		{"GET", "/api/v1/regions/region-1", NULL, "", 503, 200},
		{"GET", "/api/v1/regions/mars", NULL, "", 503, 404},
		{"GET", "/api/v1/backends", NULL, "", 503, 200},
		{"GET", "/api/v1/breakers", NULL, "", 200, 200},
		{"GET", "/api/v1/votes", NULL, "", 200, 200},
		{"GET", "/api/v1/votes/eu", NULL, "", 404, 404},
		{"POST", "/api/v1/votes", NULL, "", 405, 405},
		{"GET", "/api/v1/status", NULL, "", 200, 200},
		{"GET", "/api/v1/latencies", NULL, "", 200, 200},
		{"POST", "/api/v1/latencies", NULL, "", 405, 405},
		{"GET", "/api/v1/handshakes", NULL, "", 200, 200},
		{"GET", "/api/v1/handshakes/eu", NULL, "", 404, 404},
		{"POST", "/api/v1/handshakes", NULL, "", 405, 405},
		{"GET", "/api/v1/demand", NULL, "", 503, 200},
		{"GET", "/api/v1/demand/eu", NULL, "", 404, 404},
		{"GET", "/api/v1/capacity", NULL, "", 200, 200},
		{"GET", "/api/v1/capacity/eu", NULL, "", 404, 404},
		{"POST", "/api/v1/capacity", NULL, "", 405, 405},
		{"POST", "/api/v1/demand", NULL, "", 405, 405},
		{"GET", "/api/v1/regionsx", NULL, "", 404, 404},
		{"GET", "/api/v1/regions/", NULL, "", 404, 404},
		{"GET", "/api/v1", NULL, "", 404, 404},
		{"GET", "", NULL, "", 404, 404},
		{"POST", "/api/v1/regions", NULL, "", 405, 405},
		{"GET", "/api/v1/route", NULL, "", 405, 405},
		{"POST", "/api/v1/route", NULL, "{}", 415, 415},
		{"POST", "/api/v1/route", "text/plain", "{}", 415, 415},
		{"POST", "/api/v1/route", "application/jsonx", "{}", 415, 415},
		{"POST", "/api/v1/route", "Application/JSON", "[]", 400, 400},
		{"POST", "/api/v1/route", "application/json", "", 400, 400},
		{"POST", "/api/v1/route", "application/json", "{}", 503, 400},
		{"POST", "/api/v1/route", "application/json; charset=utf-8",
		 "{\"client_ip\": \"203.0.113.9\", \"service\": \"web\"}", 503, 200},
	};
	struct scene *scene = *state;

	for (int after = 0; after < 2; after++) {
		if (after)
			start(scene);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			struct gs_rest_response response =
				http(scene, rows[i].method, rows[i].path, rows[i].type,
				     rows[i].body, strlen(rows[i].body));
			unsigned int want = after ? rows[i].after : rows[i].before;
			bool is_problem =
				strcmp(response.content_type, "application/problem+json") == 0;

			if (response.status != want)
				fail_msg("%s %s: %u, not %u", rows[i].method, rows[i].path,
					 response.status, want);
			assert_non_null(response.body);
			assert_true(response.length > 0);
			assert_int_equal(is_problem,
					 want >= 400 && strncmp(rows[i].path, "/health", 7) != 0);
			assert_int_equal(want == 405, response.allow != NULL);
			free(response.body);
		}
	}
}

/* Words of a query nobody knows are told, not passed over. */
static void rest_reads_its_query(void **state)
{
	static const struct {
		const char *path;
		struct gs_rest_parameter parameters[2];
		uint32_t count;
		unsigned int status;
		const char *say;
	} rows[] = {
		{"/api/v1/regions", {{"limit", "1"}}, 1, 200, "\"total\":"},
		{"/api/v1/regions", {{"limit", "1"}, {"offset", "1"}}, 2, 200, "\"total\":"},
		{"/api/v1/regions", {{"limit", ""}}, 1, 400, "whole number"},
		{"/api/v1/regions", {{"limit", "1x"}}, 1, 400, "whole number"},
		{"/api/v1/regions", {{"limit", "99999999999999999999"}}, 1, 400, "whole number"},
		{"/api/v1/regions", {{"limits", "1"}}, 1, 400, "did you mean 'limit'"},
		{"/api/v1/regions", {{"", ""}}, 1, 400, "no parameter ''"},
		{"/api/v1/regions", {{"\xff", ""}}, 1, 400, "Unknown word"},
		{"/api/v1/regions", {{"limit", "1"}, {"limit", "2"}}, 2, 400, "given twice"},
		{"/api/v1/regions/region-1", {{"limit", "1"}}, 1, 400, "no parameter 'limit'"},
		{"/api/v1/status", {{"a", "b"}}, 1, 400, "no parameter 'a'"},
		{"/api/v1/breakers", {{"a", "b"}}, 1, 400, "no parameter 'a'"},
		{"/api/v1/latencies", {{"limit", "0"}}, 1, 200, "\"latencies\":[]"},
		{"/api/v1/latencies", {{"place", "country:DE"}}, 1, 200, "\"total\":0"},
		{"/api/v1/latencies", {{"place", "Berlin"}}, 1, 400, "a place is one like"},
		{"/api/v1/latencies", {{"limit", "16385"}}, 1, 400, "whole number"},
		{"/api/v1/votes", {{"region", "region-2"}}, 1, 200, "\"region\":\"region-2\""},
		{"/api/v1/votes", {{"region", "mars"}}, 1, 404, "no region has this name"},
		{"/api/v1/votes", {{"service", "web"}}, 1, 400, "no parameter 'service'"},
		{"/api/v1/handshakes", {{"limit", "0"}}, 1, 200, "\"locations\":[]"},
		{"/api/v1/handshakes", {{"limit", "16385"}}, 1, 400, "whole number"},
		{"/api/v1/handshakes", {{"offset", "1"}}, 1, 400, "no parameter 'offset'"},
		{"/api/v1/capacity", {{"limit", "0"}}, 1, 400, "no parameter 'limit'"},
		{"/api/v1/demand", {{"limit", "0"}}, 1, 200, "\"demand\":[]"},
		{"/api/v1/demand", {{"by", "country"}}, 1, 200, "\"by\":\"country\""},
		{"/api/v1/demand", {{"by", "city"}}, 1, 400, "is one of policy"},
		{"/api/v1/demand", {{"policy", "nearest"}}, 1, 200, "\"by\":\"location\""},
		{"/api/v1/demand", {{"policy", "nobody"}}, 1, 404, "no policy has this name"},
		{"/api/v1/demand", {{"limit", "20001"}}, 1, 400, "whole number"},
		{"/api/v1/demand", {{"offset", "20001"}}, 1, 400, "whole number"},
		{"/api/v1/demand", {{"service", "web"}}, 1, 400, "no parameter 'service'"},
		{"/health", {{"t", "1764"}}, 1, 200, "\"live\":true"}, /* balancers add such */
		{"/health", {{"vip", "nonsense"}}, 1, 400, "no IPv4 or IPv6"},
		{"/health/ready", {{"vip", "192.0.2.99"}}, 1, 503, "no service has the address"},
	};
	struct scene *scene = *state;

	start(scene);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct gs_rest_request request = {.method = "GET",
							.path = rows[i].path,
							.parameters = rows[i].parameters,
							.parameter_count = rows[i].count};
		struct gs_rest_response response;

		gs_rest_handle(&scene->api, &request, &response);
		assert_non_null(response.body);
		if (response.status != rows[i].status ||
		    !memmem(response.body, response.length, rows[i].say, strlen(rows[i].say)))
			fail_msg("row %zu: %u %.*s", i, response.status, (int)response.length,
				 response.body);
		free(response.body);
	}
}

/* ---- readiness ------------------------------------------------------------------------------- */

/* What edge.ready says; "": ready. */
static const char *why_not_ready(struct scene *scene, const char *vip)
{
	char request[128];
	json_t *reply;

	snprintf(request, sizeof(request), "{\"command\":\"edge.ready\"%s%s%s}",
		 vip ? ",\"vip\":\"" : "", vip ? vip : "", vip ? "\"" : "");
	reply = ask(scene, request);
	assert_int_equal(json_is_true(json_object_get(reply, "ready")),
			 json_array_size(json_object_get(reply, "why")) == 0);
	return json_is_true(json_object_get(reply, "ready")) ? "" : text_at(reply, "why.0");
}

static void an_edge_is_ready_or_says_why_not(void **state)
{
	struct scene *scene = *state;
	struct fake_announcer announcer_fake = {.set.link_count = 1};
	struct gs_announcer announcer;
	const struct gs_reach_ports ports = {scene->loop, &scene->dataplane, &announcer};
	struct gs_link *link = &announcer_fake.set.links[0];
	char vip[GS_ADDR_TEXT_MAX], file[64];
	const struct gs_snapshot *snapshot;
	struct gs_usable_view *view;

	assert_string_equal(why_not_ready(scene, NULL), "no generation is in force");
	start(scene);
	assert_string_equal(why_not_ready(scene, NULL), ""); /* a daemon without links to judge */

	*link = (struct gs_link){.ifindex = 2, .mac = {2, 0, 0, 0, 0, 2}, .is_up = true};
	fake_announcer_init(&announcer_fake, &announcer);
	snprintf(file, sizeof(file), "/tmp/test_api-drained-%d", getpid());
	unlink(file);
	assert_int_equal(gs_reach_new(&ports, GS_ANNOUNCE_ON, file, &scene->api.reach), 0);
	snapshot = gs_reconcile_look(scene->reconcile)->snapshot;
	gs_reach_follow(scene->api.reach, snapshot);
	assert_string_equal(why_not_ready(scene, NULL),
			    "no interface has the program of these maps");
	scene->dataplane_fake.carriers = 1u << 2;
	gs_reach_look(scene->api.reach);
	assert_string_equal(why_not_ready(scene, NULL), "");
	link->is_up = false;
	gs_reach_look(scene->api.reach);
	assert_string_equal(why_not_ready(scene, NULL), "no interface with the program is up");
	link->is_up = true;
	gs_reach_look(scene->api.reach);

	ask(scene, "{\"command\":\"edge.drain\",\"reason\":\"new kernel\"}");
	assert_string_equal(why_not_ready(scene, NULL), "the edge is drained: new kernel");
	assert_true(scene->dataplane_fake.reach_silent);
	assert_true(json_is_true(at(ask(scene, "{\"command\":\"status\"}"), "reach.drained")));
	ask(scene, "{\"command\":\"edge.drain\",\"reason\":7}");
	assert_non_null(strstr(text_at(scene->reply, "error"), "reason"));
	ask(scene, "{\"command\":\"edge.resume\"}");
	assert_string_equal(why_not_ready(scene, NULL), "");

	gs_addr_format(&snapshot->services[0].vip, vip);
	assert_string_equal(why_not_ready(scene, vip), "");
	assert_string_equal(why_not_ready(scene, "192.0.2.99"),
			    "no service has the address 192.0.2.99");
	view = (struct gs_usable_view *)gs_reconcile_look(scene->reconcile)->view;
	for (uint32_t i = 0; i < view->pool_count; i++)
		view->pools[i].word.state = GS_USABLE_DRAIN;
	assert_non_null(strstr(why_not_ready(scene, vip), "has a usable backend in any region"));
	assert_string_equal(why_not_ready(scene, NULL), ""); /* others may be fine */
	view->pools[0].word.state = GS_USABLE_UP;
	assert_string_equal(why_not_ready(scene, vip), "");
	gs_reach_free(scene->api.reach);
}

/* Any bytes as a body: an answer of 200 or a problem, never anything else (sanitizers). */
static void rest_takes_any_body(void **state)
{
	static const char sound[] = "{\"client_ip\": \"2001:db8::1\", \"service\": \"web\"}";
	struct scene *scene = *state;
	uint64_t seed = 20261125;
	uint32_t good = 0;

	start(scene);
	print_message("# seed %ju\n", (uintmax_t)seed);
	for (int round = 0; round < 20000; round++) {
		char body[sizeof(sound)];
		size_t length = sizeof(sound) - 1;
		struct gs_rest_response response;

		memcpy(body, sound, sizeof(sound));
		for (uint64_t i = world_draw(&seed) % 3; i > 0; i--)
			body[world_draw(&seed) % length] = (char)world_draw(&seed);
		if (world_draw(&seed) % 4 == 0)
			length = world_draw(&seed) % length;
		response = http(scene, "POST", "/api/v1/route", "application/json", body, length);
		if (response.status != 200 && response.status != 400 && response.status != 404)
			fail_msg("round %d: %u", round, response.status);
		good += response.status == 200;
		free(response.body);
	}
	assert_in_range(good, 1000, 19000); /* or nothing was tried */
}

/* ---- round trips that are ranked by ---------------------------------------------------------- */

static void round_trips_in_words(void **state)
{
	static const struct gs_latency cell = {"cell:DE/52,13", 1, 23, 45000, 1795600000000, 0, 0};
	static const struct gs_latency country = {"country:DE", 1, 230, 12100, 1795600000000, 0, 0};
	static const struct gs_latency probes = {"probes", 1, 600, 4000, 1795600000000, 0, 0};
	static const struct {
		struct gs_latency_estimate estimate;
		struct gs_recent_trip here; /* count 0: nothing */
		const char *source, *words;
	} cases[] = {
		{{3000, GS_LATENCY_DISTANCE, 0, NULL}, {0}, "distance", "distance"},
		{{7000, GS_LATENCY_DISTANCE, 4000, NULL},
		 {0},
		 "distance",
		 "distance and 4.0 ms, as is usual elsewhere"},
		{{7000, GS_LATENCY_PROBES, 4000, &probes},
		 {0},
		 "probes",
		 "of probes: distance and 4.0 ms, 600 samples, published 12 s ago"},
		{{15000, GS_LATENCY_PROBES, 12000, &probes},
		 {0},
		 "probes",
		 "of probes: distance and 12.0 ms (4.0 of theirs, +8.0 as clients need elsewhere), "
		 "600 samples, published 12 s ago"},
		{{15100, GS_LATENCY_COUNTRY, 12100, &country},
		 {0},
		 "country",
		 "of country:DE: distance and 12.1 ms, 230 samples, published 12 s ago"},
		{{15100, GS_LATENCY_COUNTRY, 12100, &country},
		 {.count = 3, .us = 20000},
		 "country",
		 "of country:DE: distance and 12.1 ms, 230 samples, published 12 s ago; here 20.0 ms "
		 "of 3 samples, 5 would count"},
		{{15100, GS_LATENCY_COUNTRY, 12100, &country},
		 {.count = 5, .us = 20000},
		 "country",
		 "of country:DE: distance and 12.1 ms, 230 samples, published 12 s ago; here 20.0 ms "
		 "now, not published yet"},
		{{45000, GS_LATENCY_CELL, 42000, &cell},
		 {.count = 9, .us = 41000},
		 "measured",
		 "measured, 23 samples, published 12 s ago; here 41.0 ms now: held, a change needs "
		 "15 % and 5 ms"},
		{{45000, GS_LATENCY_CELL, 42000, &cell},
		 {.count = 9, .us = 61000},
		 "measured",
		 "measured, 23 samples, published 12 s ago; here 61.0 ms now, followed if it stays"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct gs_recent_trip *here = cases[i].here.count ? &cases[i].here : NULL;
		json_t *json = json_object();

		gs_api_add_round_trip(json, &cases[i].estimate, here, 1795600012345);
		assert_string_equal(text_at(json, "round_trip_source"), cases[i].source);
		assert_string_equal(text_at(json, "round_trip"), cases[i].words);
		assert_true((at(json, "round_trip_here_ms") != NULL) == (here != NULL));
		assert_true((at(json, "round_trip_place") != NULL) ==
			    (cases[i].estimate.row != NULL));
		json_decref(json);
	}
}

/* As start(), with round trips published. */
static void start_with(struct scene *scene, enum gs_policy_kind kind, const struct gs_latency *rows,
		       uint32_t count)
{
	const struct gs_snapshot counts = {.latency_count = count};
	struct gs_snapshot *snapshot = fake_snapshot(6), *with;

	assert_int_equal(gs_snapshot_new(&counts, &with), 0);
	memcpy(with->latencies, rows, count * sizeof(*rows));
	snapshot->policies[0].kind = kind;
	free(snapshot->latencies);
	snapshot->latencies = with->latencies;
	snapshot->latency_count = with->latency_count;
	with->latencies = NULL;
	gs_snapshot_free(with);
	scene->store_fake.events->on_connection(scene->store_fake.context, true, "");
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_until(scene, all_known);
}

static void start_with_round_trips(struct scene *scene)
{
	static const struct gs_latency rows[] = {
		{"cell:DE-BE/52,13", FAKE_EU, 23, 45000, 1795600000000, 0, 0},
		{"cell:DE/51,9", FAKE_EU, 7, 15000, 1795600000000, 0, 0},
		{"cell:US-CA/37,-123", FAKE_US, 9, 70000, 1795600000000, 0, 0},
		{"country:DE", FAKE_EU, 30, 12000, 1795600000000, 0, 0},
		{"everybody", FAKE_EU, 39, 9000, 1795600000000, 0, 0},
		{"everybody", FAKE_US, 39, 300000, 1795600000000, 0, 0},
		{"probes", FAKE_EU, 600, 2000, 1795600000000, 0, 0},
		{"probes", FAKE_AP, 600, 5000, 1795600000000, 0, 0},
		{"subdivision:DE-BE", FAKE_EU, 23, 13000, 1795600000000, 0, 0},
	};

	start_with(scene, GS_POLICY_GEO, rows, ARRAY_SIZE(rows));
}

/* Somebody whose place the database knows. */
static struct gs_addr located_client(const struct world *world)
{
	uint64_t seed = 1;

	for (int i = 0; i < 10000; i++) {
		struct gs_addr client = world_client(world, &seed);
		uint16_t location = gs_geodata_find(&world->geo, &client, NULL);

		if (world->geo.locations[location].has_coord)
			return client;
	}
	fail_msg("%s", "the world has nobody");
	return (struct gs_addr){{0}};
}

/* Half of the clients of a place go by it, half still by what was before. */
static void what_changes_is_told(void **state)
{
	static const struct gs_latency rows[] = {
		{"country:DE", FAKE_EU, 39, 400000, 1795600000000, GS_LATENCY_NONE, 25},
		{"everybody", FAKE_EU, 39, 400000, 1795600000000, 9000, 25},
		{"everybody", FAKE_US, 39, GS_LATENCY_NONE, 1795600000000, 300000, 25},
		{"everybody", FAKE_AP, 39, 8000, 1795600000000, 500000, 25},
	};
	struct scene *scene = *state;
	char address[GS_ADDR_TEXT_MAX], request[128];
	struct gs_addr client = located_client(scene->world);
	json_t *reply;

	start_with(scene, GS_POLICY_LATENCY, rows, ARRAY_SIZE(rows));
	reply = ask(scene, "{\"command\":\"latency.list\"}");
	assert_true(json_is_null(at(reply, "latencies.0.before_ms")));
	assert_float_equal(json_real_value(at(reply, "latencies.1.more_ms")), 400, 1e-9);
	assert_float_equal(json_real_value(at(reply, "latencies.1.before_ms")), 9, 1e-9);
	assert_int_equal(number_at(reply, "latencies.1.moved_percent"), 75);
	assert_true(json_is_null(at(reply, "latencies.2.more_ms")));
	assert_float_equal(json_real_value(at(reply, "latencies.2.before_ms")), 300, 1e-9);
	snprintf(request, sizeof(request), "{\"command\":\"route.get\",\"address\":\"%s\"}",
		 gs_addr_format(&client, address));
	reply = ask(scene, request);
	assert_int_equal(number_at(reply, "moving.percent"), 75);
	assert_string_equal(text_at(reply, "moving.from.0"), "region-1");
	assert_string_not_equal(text_at(reply, "moving.to.0"), "region-1");
	assert_int_equal(json_array_size(at(reply, "moving.to")), 1);
	assert_string_equal(text_at(reply, "winner.why"), text_at(reply, "moving.why"));
	assert_non_null(strstr(text_at(reply, "moving.why"), "moving from region-1 to region-"));
	assert_non_null(
		strstr(text_at(reply, "moving.why"), ": 75 % so far, by measured round trips"));
}

static void published_round_trips_are_listed(void **state)
{
	static const struct {
		const char *request;
		int total, shown;
	} cases[] = {
		{"{\"command\":\"latency.list\"}", 9, 9},
		{"{\"command\":\"latency.list\",\"limit\":2}", 9, 2},
		{"{\"command\":\"latency.list\",\"place\":\"everybody\"}", 9, 9},
		{"{\"command\":\"latency.list\",\"place\":\"probes\"}", 2, 2},
		{"{\"command\":\"latency.list\",\"place\":\"country:DE\"}", 4, 4},
		{"{\"command\":\"latency.list\",\"place\":\"continent:EU\"}", 4, 4},
		{"{\"command\":\"latency.list\",\"place\":\"subdivision:DE-BE\"}", 2, 2},
		{"{\"command\":\"latency.list\",\"place\":\"subdivision:DE-B\"}", 0, 0},
		{"{\"command\":\"latency.list\",\"place\":\"cell:DE/51,9\"}", 1, 1},
		{"{\"command\":\"latency.list\",\"place\":\"country:FR\"}", 0, 0},
	};
	struct scene *scene = *state;
	json_t *reply;

	start_with_round_trips(scene);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		reply = ask(scene, cases[i].request);
		assert_int_equal(number_at(reply, "total"), cases[i].total);
		assert_int_equal(json_array_size(at(reply, "latencies")), cases[i].shown);
	}
	reply = ask(scene, "{\"command\":\"latency.list\"}");
	assert_string_equal(text_at(reply, "latencies.0.place"), "cell:DE-BE/52,13");
	assert_string_equal(text_at(reply, "latencies.0.region"), "region-1");
	assert_float_equal(json_real_value(at(reply, "latencies.0.round_trip_ms")), 45, 1e-9);
	assert_float_equal(json_real_value(at(reply, "latencies.3.more_ms")), 12, 1e-9);
	assert_true(json_is_true(at(reply, "connected")));
}

static void route_get_says_where_a_round_trip_is_from(void **state)
{
	struct scene *scene = *state;
	char address[GS_ADDR_TEXT_MAX], request[128];
	struct gs_addr client;
	json_t *reply, *candidate;
	int seen = 0;

	start_with_round_trips(scene);
	client = located_client(scene->world);
	snprintf(request, sizeof(request), "{\"command\":\"route.get\",\"address\":\"%s\"}",
		 gs_addr_format(&client, address));
	reply = ask(scene, request);
	for (size_t i = 0; i < FAKE_REGIONS; i++) {
		candidate = json_array_get(at(reply, "candidates"), i);
		assert_non_null(candidate);
		if (strcmp(text_at(candidate, "region"), "region-2") == 0) {
			seen++;
			assert_true(json_real_value(at(candidate, "round_trip_ms")) > 300);
			assert_string_equal(text_at(candidate, "round_trip_source"), "everybody");
			assert_non_null(strstr(text_at(candidate, "round_trip"),
					       "of everybody: distance and 300.0 ms"));
		} else if (strcmp(text_at(candidate, "region"), "region-3") == 0) {
			seen++;
			assert_string_equal(text_at(candidate, "round_trip_source"), "probes");
			assert_non_null(strstr(text_at(candidate, "round_trip"),
					       "of probes: distance and 12.0 ms (5.0 of theirs, "
					       "+7.0 as clients need"));
		}
	}
	assert_int_equal(seen, 2);
}

/* Where ids have run short: what is behind the exact choices is said to be so. */
static void what_is_not_exact_is_said(void **state)
{
	struct scene *scene = *state;
	struct gs_tables *tables;
	json_t *reply;
	size_t length;
	char *text;

	start(scene);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_null(at(reply, "generation.exact_choices"));
	tables = (struct gs_tables *)gs_reconcile_look(scene->reconcile)->tables;
	assert_int_equal(number_at(reply, "generation.plans"), gs_plan_set_count(tables->plans));
	assert_int_equal(tables->exact_choices, GS_PLAN_REGIONS);
	assert_null(strstr(text_at(ask_route(scene, "1.2.3.4"), "candidates.2.rank"), "exact"));
	tables->exact_choices = 2;
	reply = ask_route(scene, "1.2.3.4");
	assert_null(strstr(text_at(reply, "candidates.1.rank"), "exact"));
	assert_string_equal(text_at(reply, "candidates.2.rank"),
			    "in the policy's order: plans are too many for more than 2 exact "
			    "choices");
	assert_int_equal(
		number_at(ask(scene, "{\"command\":\"status\"}"), "generation.exact_choices"), 2);
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "\ngeostream_plan_exact_choices 2\n"));
	free(text);
}

static void round_trips_are_metrics(void **state)
{
	static const char *const lines[] = {
		"geostream_latency_estimates{source=\"measured\"} 3\n",
		"geostream_latency_estimates{source=\"everybody\"} 2\n",
		"geostream_latency_estimates{source=\"probes\"} 2\n",
		"geostream_latency_estimates{source=\"continent\"} 0\n",
		"geostream_latency_newest_timestamp_seconds 1795600000\n",
	};
	struct scene *scene = *state;
	size_t length;
	char *text;

	start_with_round_trips(scene);
	text = metrics_whole_of(&scene->api, &length);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!strstr(text, lines[i]))
			fail_msg("no %s", lines[i]);
	free(text);
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static struct gs_handshake shake(uint8_t prefix, uint16_t location, uint32_t rtt_us)
{
	struct gs_handshake handshake = {
		.rtt_us = rtt_us,
		.service = FAKE_WEB,
		.region = FAKE_US,
		.backend = fake_backend(FAKE_US, 0),
		.location = location,
		.client = {.length = 24, .is_v4 = true},
	};

	handshake.client.addr.bytes[13] = prefix;
	return handshake;
}

static bool syns_were_seen(struct scene *scene)
{
	return gs_handshakes_syns(scene->handshakes, fake_backend(FAKE_US, 0)).opened == 30;
}

static bool all_were_taken(struct scene *scene)
{
	return scene->dataplane_fake.handshake_count == 0;
}

/* Two handshakes of location 1, one of location 0 and one of a location that there is not. */
static void give_handshakes(struct scene *scene)
{
	struct fake_dataplane *fake = &scene->dataplane_fake;

	fake->syns[fake_backend(FAKE_US, 0)] =
		(struct gs_syns){.opened = 30, .repeated = 10, .measured = 4, .lost = 2};
	fake->syns[fake_backend(FAKE_EU, 1)] = (struct gs_syns){.opened = 5};
	/* By then it knows which locations are in force: what waited before would be of others. */
	run_until(scene, syns_were_seen);
	fake->handshakes[0] = shake(1, 1, 20000);
	fake->handshakes[1] = shake(2, 1, 20000);
	fake->handshakes[2] = shake(3, 0, 20000);
	fake->handshakes[3] = shake(4, 65535, 20000);
	fake->handshake_count = 4;
	run_until(scene, all_were_taken);
}

static void handshakes_are_named(void **state)
{
	struct scene *scene = *state;
	json_t *reply;

	start(scene);
	give_handshakes(scene);
	reply = ask(scene, "{\"command\":\"handshake.list\"}");
	assert_int_equal(number_at(reply, "one_in"), 64);
	assert_int_equal(json_array_size(at(reply, "regions")), 1);
	assert_string_equal(text_at(reply, "regions.0.service"), "web");
	assert_string_equal(text_at(reply, "regions.0.region"), "region-2");
	assert_int_equal(number_at(reply, "regions.0.count"), 4);
	assert_float_equal(json_real_value(at(reply, "regions.0.p50_ms")), 20, 1);
	assert_int_equal(json_array_size(at(reply, "locations")), 2);
	assert_int_equal(number_at(reply, "locations.0.location.id"), 1);
	assert_int_equal(number_at(reply, "locations.0.count"), 2);
	assert_int_equal(number_at(reply, "locations.1.location.id"), 0);
	assert_string_equal(text_at(reply, "locations.1.location.country"), "");
	assert_int_equal(json_array_size(at(reply, "backends")), 2);
	assert_string_equal(text_at(reply, "backends.0.backend"), "backend-2-0");
	assert_int_equal(number_at(reply, "backends.0.opened"), 30);
	assert_float_equal(json_real_value(at(reply, "backends.0.repeated_share")), 0.25, 1e-9);
	assert_int_equal(number_at(reply, "backends.0.lost"), 2);
	reply = ask(scene, "{\"command\":\"handshake.list\",\"limit\":1}");
	assert_int_equal(json_array_size(at(reply, "regions")), 1);
	assert_int_equal(json_array_size(at(reply, "locations")), 1);
	assert_int_equal(json_array_size(at(reply, "backends")), 1);
}

static void handshakes_are_metrics(void **state)
{
	static const char *const lines[] = {
		"geostream_handshake_seconds{service=\"web\",region=\"region-2\",quantile=\"0.99\"} "
		"0.0",
		"geostream_syns_total{backend=\"backend-2-0\"} 30\n",
		"geostream_syns_repeated_total{backend=\"backend-2-0\"} 10\n",
		"geostream_syns_repeated_total{backend=\"backend-1-1\"} 0\n",
		"geostream_handshakes_measured_total 4\n",
		"geostream_handshakes_lost_total 2\n",
	};
	struct scene *scene = *state;
	size_t length;
	char *text;

	start(scene);
	give_handshakes(scene);
	text = metrics_whole_of(&scene->api, &length);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!strstr(text, lines[i]))
			fail_msg("no %s", lines[i]);
	free(text);
}

/* ---- demand ---------------------------------------------------------------------------------- */

static bool flows_were_seen(struct scene *scene)
{
	uint64_t sum = 0;

	for (gs_id region = 0; region <= FAKE_REGIONS; region++)
		sum += gs_demand_sum_region(scene->demand, 1, region);
	return sum == 12;
}

static void demand_is_named(void **state)
{
	static const char *const by[] = {"policy", "location", "region", "country"};
	struct scene *scene = *state;
	char request[80];
	json_t *reply;
	size_t length;
	char *text;

	start(scene);
	/* two entries: those of unknown clients, and of location 1 */
	scene->dataplane_fake.demand[scene->dataplane_fake.info.slot][0] = 5;
	scene->dataplane_fake.demand[scene->dataplane_fake.info.slot][1] = 7;
	run_until(scene, flows_were_seen);
	for (size_t i = 0; i < ARRAY_SIZE(by); i++) {
		json_int_t sum = 0;
		json_t *row;
		size_t at_row;

		snprintf(request, sizeof(request), "{\"command\":\"demand.list\",\"by\":\"%s\"}",
			 by[i]);
		reply = ask(scene, request);
		assert_string_equal(text_at(reply, "by"), by[i]);
		json_array_foreach (at(reply, "demand"), at_row, row) {
			sum += json_integer_value(json_object_get(row, "flows"));
			assert_string_equal(text_at(row, "policy"), "nearest");
			assert_true(json_real_value(json_object_get(row, "per_second_1m")) > 0);
		}
		assert_int_equal(sum, 12);
		assert_int_equal(number_at(reply, "total"), json_array_size(at(reply, "demand")));
	}
	reply = ask(scene, "{\"command\":\"demand.list\",\"limit\":1}");
	assert_int_equal(json_array_size(at(reply, "demand")), 1);
	assert_int_equal(number_at(reply, "total"), 2);
	assert_int_equal(number_at(reply, "demand.0.flows"), 7);
	assert_int_equal(number_at(reply, "demand.0.location.id"), 1);
	reply = ask(scene, "{\"command\":\"demand.list\",\"policy\":\"nobody\"}");
	assert_string_equal(text_at(reply, "error"), "policy: there is no 'nobody'");
	reply = ask(scene, "{\"command\":\"demand.list\",\"by\":7}");
	assert_string_equal(text_at(reply, "error"), "by: is no text");
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "geostream_new_flows_total{policy=\"nearest\",region=\""));
	assert_non_null(strstr(text, "geostream_country_new_flows_total{country=\""));
	free(text);
}

/* ---- operators' overlays, and panic ---------------------------------------------------------- */

#define LAY "{\"command\":\"overlay.lay\",\"actor\":\"alice\","

/* On this edge alone: in force at once, shown beside what is configured and seen, taken back. */
static void overlays_of_this_edge(void **state)
{
	struct scene *scene = *state;
	const struct gs_usable *us = &scene->dataplane_fake.regions[FAKE_US];
	struct gs_rest_response response;
	json_t *reply;
	size_t length;
	char *text;

	start(scene);
	reply = ask(scene,
		    LAY "\"kind\":\"region\",\"names\":[\"*-2\"],\"admin\":\"drain\","
			"\"seconds\":60,\"reason\":\"a \\\"cable\\\"\",\"ticket\":\"OPS-1\"}");
	assert_string_equal(text_at(reply, "overlays.0.name"), "region-2");
	assert_string_equal(text_at(reply, "overlays.0.reason"), "a \"cable\"");
	assert_true(json_is_true(at(reply, "overlays.0.local")));
	assert_int_equal(us->state, GS_USABLE_DRAIN);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "regions.1.admin"), "drain");
	assert_string_equal(text_at(reply, "regions.1.configured"), "auto");
	assert_string_equal(text_at(reply, "regions.1.state"), "drain");
	assert_string_equal(text_at(reply, "regions.1.overlay.actor"), "alice");
	assert_string_equal(text_at(reply, "regions.1.overlay.ticket"), "OPS-1");
	assert_int_equal(number_at(reply, "regions.1.healthy"), FAKE_PER_REGION);
	assert_null(at(reply, "regions.0.overlay"));
	reply = ask_route(scene, "203.0.113.9");
	assert_string_equal(text_at(entry_of(reply, "candidates", "region-2"), "why"),
			    "drained by an operator: known flows only");
	assert_string_equal(text_at(entry_of(reply, "candidates", "region-2"), "overlay.admin"),
			    "drain");
	response = http(scene, "GET", "/api/v1/overlays", NULL, "", 0);
	assert_int_equal(response.status, 200);
	assert_non_null(strstr(response.body, "region-2"));
	free(response.body);
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "geostream_overlays{of=\"edge\"} 1\n"));
	assert_non_null(strstr(text, "geostream_panic{service=\"web\"} 0\n"));
	free(text);

	reply = ask(scene, LAY "\"kind\":\"service\",\"names\":[\"web@region-1\"],\"admin\":"
			       "\"drain\",\"seconds\":60}");
	assert_int_equal(json_array_size(at(reply, "overlays")), 0);
	assert_non_null(strstr(text_at(reply, "error"), "2 of 3 regions would take no new flows"));
	reply = ask(scene, LAY "\"kind\":\"service\",\"names\":[\"web@region-1\"],\"admin\":"
			       "\"drain\",\"seconds\":60,\"force\":true}");
	assert_int_equal(json_array_size(at(reply, "overlays")), 2);
	reply = ask_route(scene, "203.0.113.9");
	assert_string_equal(text_at(entry_of(reply, "candidates", "region-1"), "why"),
			    "the service is drained there by an operator: known flows only");
	ask(scene, "{\"command\":\"overlay.lift\",\"kind\":\"region\",\"names\":[\"region-2\"]}");
	assert_int_equal(us->state, GS_USABLE_UP);
	reply = ask(scene, "{\"command\":\"edge.show\"}");
	assert_string_equal(text_at(reply, "overlays.0.name"), "web@region-1");
}

static void bad_overlays(void **state)
{
	static const struct {
		const char *request, *want;
	} rows[] = {
		{LAY "\"kind\":\"planet\",\"names\":[\"a\"],\"admin\":\"drain\",\"seconds\":1}",
		 "kind: none of"},
		{LAY "\"kind\":\"region\",\"names\":[],\"admin\":\"drain\",\"seconds\":1}",
		 "names: a list"},
		{LAY "\"kind\":\"region\",\"names\":[7],\"admin\":\"drain\",\"seconds\":1}",
		 "a name is 1 to 63 bytes"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-9\"],\"admin\":\"drain\","
		     "\"seconds\":1}",
		 "no region is named \"region-9\"; did you mean"},
		{LAY "\"kind\":\"region\",\"names\":[\"mars*\"],\"admin\":\"drain\",\"seconds\":1}",
		 "no region matches"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-1\"],\"admin\":\"sideways\","
		     "\"seconds\":1}",
		 "admin: none of"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-1\"],\"admin\":\"drain\"}",
		 "seconds: not 1 to"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-1\"],\"admin\":\"drain\","
		     "\"seconds\":7776001}",
		 "seconds: not 1 to"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-1\"],\"admin\":\"drain\","
		     "\"seconds\":1,\"reason\":\"a\\u0007\"}",
		 "reason: no text"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-1\"],\"admin\":\"drain\","
		     "\"seconds\":1,\"ticket\":7}",
		 "ticket: no text"},
		{LAY "\"kind\":\"region\",\"names\":[\"region-1\",\"mars\"],\"admin\":\"drain\","
		     "\"seconds\":1}",
		 "\"mars\""},
		{"{\"command\":\"overlay.lift\",\"kind\":\"region\",\"names\":[\"region-1\"]}",
		 "nothing is laid over it"},
	};
	struct scene *scene = *state;

	start(scene);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *reply = ask(scene, rows[i].request);

		if (!strstr(text_at(reply, "error"), rows[i].want))
			fail_msg("row %zu: %s", i, text_at(reply, "error"));
	}
	assert_int_equal(scene->dataplane_fake.regions[FAKE_EU].state, GS_USABLE_UP);
}

static bool is_panic_told(struct scene *scene)
{
	json_t *reply = ask(scene, "{\"command\":\"status\"}");

	return strstr(text_at(reply, "services.0.panic"), "all down") != NULL;
}

/* Nothing answers any more: packets go on, and everything says that health is ignored. */
static void all_down_is_told(void **state)
{
	struct scene *scene = *state;
	json_t *reply;
	size_t length;
	char *text;

	start(scene);
	for (gs_id region = 1; region <= FAKE_REGIONS; region++)
		for (int n = 0; n < FAKE_PER_REGION; n++)
			scene->prober_fake.backend[fake_backend(region, n)].answer.class =
				GS_PROBE_REFUSED;
	run_until(scene, is_panic_told);
	for (gs_id region = 1; region <= FAKE_REGIONS; region++)
		assert_int_equal(scene->dataplane_fake.regions[region].state, GS_USABLE_UP);
	reply = ask_route(scene, "203.0.113.9");
	assert_string_equal(text_at(reply, "panic"), "all down: health is ignored");
	assert_string_not_equal(text_at(reply, "winner.region"), "(no text)");
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "geostream_panic{service=\"web\"} 2\n"));
	assert_non_null(strstr(text, "geostream_panics_total{service=\"web\"} 1\n"));
	free(text);
}

/* What may follow a metric's name. */
static bool is_sample_of(const char *rest, bool is_histogram)
{
	if (is_histogram)
		return strncmp(rest, "_bucket{le=", 11) == 0 || strncmp(rest, "_sum ", 5) == 0 ||
		       strncmp(rest, "_count ", 7) == 0;
	return *rest == '{' || *rest == ' ';
}

/* ---- capacity -------------------------------------------------------------------------------- */

static bool region_2_is_filled(struct scene *scene)
{
	struct gs_capacity_status status;

	return gs_capacity_get(scene->capacity, FAKE_US, &status) && status.away_percent > 30;
}

static bool some_are_shed(struct scene *scene)
{
	struct gs_capacity_status status;

	return gs_capacity_get(scene->capacity, FAKE_US, &status) && status.shed > 0;
}

static void hear_of(struct scene *scene, float per_second)
{
	const struct gs_demand_told row = {.home = "region-2",
					   .usable = "region-1,region-2,region-3",
					   .per_second = per_second};

	gs_capacity_hear(scene->capacity, &row, 1, 1);
}

/* Packets' own decision, by the words in force. */
static const char *drawn(struct scene *scene, const char *address)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(scene->reconcile);
	const struct gs_fill *words = gs_capacity_fill(scene->capacity);
	const struct gs_service *service = &state->snapshot->services[0];
	const bool usable[GS_PLAN_REGIONS] = {true, true, true};
	struct gs_fill fill[GS_PLAN_REGIONS];
	const struct gs_plan *plan;
	enum gs_plan_way way;
	struct gs_addr client;
	int picked;

	assert_int_equal(gs_addr_parse(address, &client), 0);
	plan = gs_tables_plan(state->tables, service->id,
			      gs_tables_locate(state->tables, &client, NULL, NULL));
	for (int i = 0; i < plan->count; i++)
		fill[i] = words[plan->region[i]];
	picked = gs_plan_pick_filled(plan, usable, fill, service->limit.priority,
				     gs_tables_draw(state->tables, service, &client), &way);
	return picked < 0 ? "" : gs_snapshot_region(state->snapshot, plan->region[picked])->name;
}

static void capacity_is_said(void **state)
{
	struct scene *scene = *state;
	bool is_shed;
	json_t *reply;
	size_t length;
	char *text;

	start(scene);
	reply = ask(scene, "{\"command\":\"capacity.list\"}");
	assert_int_equal(json_array_size(at(reply, "capacity")), 0);
	assert_true(json_is_null(at(reply, "heard_ms_ago")));
	assert_null(at(ask_route(scene, "203.0.113.9"), "capacity"));
	for (int i = 0; i < FAKE_REGIONS; i++)
		((struct gs_snapshot *)gs_reconcile_look(scene->reconcile)->snapshot)
			->regions[i]
			.capacity = 100;
	hear_of(scene, 150);
	run_until(scene, region_2_is_filled);
	reply = ask(scene, "{\"command\":\"capacity.list\"}");
	assert_int_equal(number_at(reply, "other_edges"), 1);
	assert_string_equal(text_at(reply, "capacity.1.region"), "region-2");
	assert_int_equal(number_at(reply, "capacity.1.capacity"), 100);
	assert_int_equal(number_at(reply, "capacity.1.target_percent"), 80);
	assert_true(json_real_value(at(reply, "capacity.1.load_percent")) <= 101);
	assert_true(json_real_value(at(reply, "capacity.0.taken")) > 20);
	for (int i = 0; i < 16; i++) {
		char address[64];

		/* one prefix, one draw: of both families the override's */
		snprintf(address, sizeof(address), i ? "2001:db8:7:%d::1" : "203.0.113.9", i);
		reply = ask_route(scene, address);
		assert_non_null(
			strstr(text_at(reply, "capacity.why"), "region-2 is filled to 80 %: "));
		assert_non_null(
			strstr(text_at(reply, "capacity.why"), "region-1 50 %, region-3 50 %"));
		assert_string_equal(text_at(reply, "winner.region"), drawn(scene, address));
		if (strcmp(text_at(reply, "winner.region"), "region-2") != 0)
			assert_non_null(strstr(text_at(reply, "winner.why"), "is full"));
	}
	hear_of(scene, 900);
	run_until(scene, some_are_shed);
	reply = ask_route(scene, "203.0.113.9");
	is_shed = strstr(text_at(reply, "winner.why"), "are full: shed, of priority 0") != NULL;
	assert_int_equal(is_shed, json_is_null(at(reply, "winner.region")));
	assert_non_null(
		strstr(text_at(reply, "capacity.why"), "% of region-2's clients of priority 0; "));
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "geostream_region_capacity{region=\"region-2\"} 100\n"));
	assert_non_null(strstr(text, "geostream_region_demand{region=\"region-2\"} 900\n"));
	assert_non_null(strstr(text, "geostream_demand_edges 1\n"));
	free(text);
}

/* Every sample has a HELP and a TYPE before it, and a number behind it. */
static void metrics_have_their_heads(void **state)
{
	struct scene *scene = *state;
	char typed[128] = "", *text, *line, *rest;
	bool is_histogram = false;
	size_t length = 0;
	int samples = 0;

	start(scene);
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(text);
	assert_int_equal(strlen(text), length);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *end;

		if (sscanf(line, "# TYPE %127s", typed) == 1 || strncmp(line, "# HELP ", 7) == 0) {
			is_histogram = strstr(line, " histogram") != NULL;
			continue;
		}
		assert_int_equal(strncmp(line, typed, strlen(typed)), 0);
		assert_true(is_sample_of(line + strlen(typed), is_histogram));
		strtod(strrchr(line, ' ') + 1, &end);
		assert_string_equal(end, "");
		samples++;
	}
	assert_true(samples > 30);
	free(text);
}

static void metrics_have_ways_of_probes(void **state)
{
	struct scene *scene = *state;
	size_t length = 0;
	char *text;

	start(scene);
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "\ngeostream_probe_tunnelled{backend=\"backend-3-1\"} 1\n"));
	assert_non_null(strstr(text, "\ngeostream_probe_packets_total{reason=\"sent\"} 12\n"));
	free(text);
	scene->detour_fake.why = "there is none";
	text = metrics_whole_of(&scene->api, &length);
	assert_non_null(strstr(text, "\ngeostream_probe_tunnelled{backend=\"backend-3-1\"} 0\n"));
	free(text);
	/* Who shows it asks nothing. */
	assert_int_equal(scene->detour_fake.looks, 0);
}

/* ---- other edges ----------------------------------------------------------------------------- */

/* Two of another site say so of region-2. */
static void hear_others(struct scene *scene, enum gs_vote vote)
{
	struct gs_edge_ballot edges[2] = {{.edge = "ams1", .site = "ams"},
					  {.edge = "ams2", .site = "ams", .self = "late"}};
	struct gs_edge_vote votes[2] = {{0, FAKE_US, vote}, {0, FAKE_US, vote}};
	const struct gs_ballots ballots = {.edges = edges, .count = 2, .rule = {500}};

	for (int i = 0; i < 2; i++) {
		edges[i].is_new = edges[i].is_whole = true;
		edges[i].votes = &votes[i];
		edges[i].count = 1;
		edges[i].geo_digest = 255;
		edges[i].selection_seed = 42; /* as fake_snapshot has it */
		edges[i].generation = 3;
		edges[i].revision = 6;
		snprintf(edges[i].version, sizeof(edges[i].version), "%s", GS_VERSION);
		snprintf(edges[i].self_why, sizeof(edges[i].self_why), "%s",
			 i ? "its loop is late" : "");
	}
	scene->store_fake.events->on_ballots(scene->store_fake.context, &ballots);
}

static bool has_voted(struct scene *scene)
{
	const struct gs_reconcile_state *look = gs_reconcile_look(scene->reconcile);

	return look->snapshot->revision == 6 &&
	       gs_votes_of(look->votes, 0, 0, FAKE_US) != GS_VOTE_UNKNOWN;
}

/* With timeouts that a busy machine does not make the edge doubt itself by. */
static void start_calmly(struct scene *scene)
{
	struct gs_snapshot *snapshot = region_as(6, GS_ADMIN_AUTO, GS_ADMIN_AUTO);

	start(scene);
	snapshot->services[0].probe.timeout_ms = 30000;
	scene->store_fake.events->on_snapshot(scene->store_fake.context, snapshot);
	run_until(scene, has_voted);
}

static void what_all_edges_say_is_shown(void **state)
{
	struct scene *scene = *state;
	struct gs_rest_response metrics;
	json_t *reply;

	start_calmly(scene);
	reply = ask(scene, "{\"command\":\"vote.list\",\"region\":\"region-2\"}");
	assert_int_equal(json_array_size(at(reply, "votes")), 1);
	assert_string_equal(text_at(reply, "votes.0.global"), "none");
	assert_string_equal(text_at(reply, "votes.0.why"),
			    "no quorum: 1 voters in 1 domains, 3 in 2 are needed");
	assert_null(at(reply, "votes.0.since_s"));

	hear_others(scene, GS_VOTE_DOWN);
	hear_others(scene, GS_VOTE_DOWN);
	reply = ask(scene, "{\"command\":\"vote.list\"}");
	assert_int_equal(json_array_size(at(reply, "votes")), FAKE_REGIONS);
	assert_int_equal(json_array_size(at(reply, "edges")), 3);
	assert_string_equal(text_at(reply, "edges.2.self_why"), "its loop is late");
	assert_string_equal(text_at(reply, "edges.1.geo_digest"), "00000000000000ff");
	/* Two of three are right, and this one is not. */
	assert_string_equal(text_at(reply, "edges.0.version"), GS_VERSION);
	assert_int_equal(json_integer_value(at(reply, "edges.0.revision")), 6);
	assert_string_equal(text_at(reply, "edges.0.differs_in"), "GeoIP database");
	assert_string_equal(text_at(reply, "edges.1.differs_in"), "");
	/* One site says down, this one up: a tie of two domains. */
	assert_string_equal(text_at(reply, "votes.1.why"), "undecided: 1 up, 2 down of 3 edges");
	assert_string_equal(text_at(reply, "votes.1.votes.0.vote"), "up");
	assert_string_equal(text_at(reply, "votes.1.votes.1.vote"), "down");
	assert_non_null(
		strstr(text_at(ask(scene, "{\"command\":\"vote.list\",\"region\":7}"), "error"),
		       "region: no"));

	hear_others(scene, GS_VOTE_UP);
	reply = ask(scene, "{\"command\":\"vote.list\",\"region\":\"region-2\"}");
	assert_string_equal(text_at(reply, "votes.0.global"), "up");
	assert_string_equal(text_at(reply, "votes.0.why"), "up by 3 of 3 edges in 2 of 2 domains");
	metrics = http(scene, "GET", "/metrics", NULL, "", 0);
	assert_non_null(strstr(metrics.body, "\ngeostream_region_global{region=\"region-2\"} 1\n"));
	assert_non_null(
		strstr(metrics.body, "\ngeostream_region_global{region=\"region-1\"} -1\n"));
	assert_non_null(strstr(metrics.body,
			       "\ngeostream_region_votes{region=\"region-2\",vote=\"up\"} 3\n"));
	assert_non_null(strstr(metrics.body, "\ngeostream_self_trusted 1\n"));
	assert_non_null(strstr(metrics.body, "\ngeostream_edges_compared 3\n"));
	assert_non_null(strstr(metrics.body, "\ngeostream_edges_differing 1\n"));
	assert_non_null(strstr(metrics.body, "\ngeostream_edge_differs{in=\"geoip\"} 1\n"));
	assert_non_null(strstr(metrics.body, "\ngeostream_edge_differs{in=\"plans\"} 0\n"));
	free(metrics.body);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "regions.1.global"), "up");
	assert_int_equal(json_integer_value(at(reply, "accord.edges")), 3);
	assert_int_equal(json_integer_value(at(reply, "accord.differing")), 1);
	assert_string_equal(text_at(reply, "accord.differs_in"), "GeoIP database");
}

static bool one_anchor_is_silent(struct scene *scene)
{
	uint32_t all, silent;

	gs_anchors_count(scene->anchors, &all, &silent);
	return silent == 1;
}

/* Which are silent, why, and whether the edge trusts itself (which a loaded machine may not). */
static void anchors_are_shown(void **state)
{
	struct scene *scene = *state;
	struct gs_rest_response metrics;
	const struct gs_self *self;
	struct gs_anchor_set set;
	char why[GS_SELF_TEXT_MAX];
	json_t *reply;

	start(scene);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_int_equal(json_array_size(at(reply, "anchors")), 0);
	assert_int_equal(
		gs_anchors_parse("icmp:192.0.2.1,tcp:[2001:db8::1]:443", &set, why, sizeof(why)),
		0);
	scene->anchor_fake.backend[1].answer.class = GS_PROBE_REFUSED;
	gs_anchors_set(scene->anchors, &set);
	run_until(scene, one_anchor_is_silent);
	self = gs_votes_self(gs_reconcile_look(scene->reconcile)->votes);
	reply = ask(scene, "{\"command\":\"status\"}");
	assert_string_equal(text_at(reply, "anchors.0.anchor"), "icmp:192.0.2.1");
	assert_string_equal(text_at(reply, "anchors.0.health"), "down");
	assert_string_equal(text_at(reply, "anchors.0.last_failure"), "refused");
	assert_string_equal(text_at(reply, "anchors.1.anchor"), "tcp:[2001:db8::1]:443");
	assert_null(at(reply, "anchors.1.last_failure"));
	assert_string_equal(text_at(reply, "self.state"), gs_self_name(self->state));
	assert_string_equal(text_at(reply, "self.why"), gs_self_text(self, why, sizeof(why)));
	metrics = http(scene, "GET", "/metrics", NULL, "", 0);
	assert_non_null(
		strstr(metrics.body, "\ngeostream_anchor_up{anchor=\"icmp:192.0.2.1\"} 0\n"));
	assert_non_null(strstr(metrics.body,
			       "\ngeostream_anchor_up{anchor=\"tcp:[2001:db8::1]:443\"} 1\n"));
	free(metrics.body);
}

/* This edge's probes say one thing, the others another: route get says both. */
static void others_may_see_more(void **state)
{
	struct scene *scene = *state;

	start_calmly(scene);
	hear_others(scene, GS_VOTE_UP);
	assert_string_equal(why_passed(scene), "");
	for (int n = 0; n < FAKE_PER_REGION; n++)
		scene->prober_fake.backend[fake_backend(FAKE_US, n)].answer.class =
			GS_PROBE_REFUSED;
	run_until(scene, us_is_down);
	assert_string_equal(why_passed(scene), "this edge cannot reach it, others can: "
					       "up by 3 of 3 edges in 2 of 2 domains");
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(hostile_requests),
		SCENE(deep_and_long_requests),
		SCENE(mutated_requests),
		SCENE(status_before_anything_is_known),
		SCENE(status_of_a_running_edge),
		SCENE(metrics_have_ways_of_probes),
		SCENE(an_override_is_named),
		SCENE(an_override_of_a_system_is_named),
		SCENE(each_region_passed_over_says_why),
		SCENE(a_half_open_breaker_says_so),
		SCENE(access_and_limits_are_named),
		SCENE(geography_is_right),
		SCENE(geo_load_answers_when_done),
		SCENE(geo_load_is_shown_refused_forced_and_taken_back),
		SCENE(rest_knows_its_calls),
		SCENE(rest_reads_its_query),
		SCENE(an_edge_is_ready_or_says_why_not),
		SCENE(rest_takes_any_body),
		SCENE(overlays_of_this_edge),
		SCENE(bad_overlays),
		SCENE(all_down_is_told),
		SCENE(metrics_have_their_heads),
		cmocka_unit_test(round_trips_in_words),
		SCENE(what_changes_is_told),
		SCENE(published_round_trips_are_listed),
		SCENE(route_get_says_where_a_round_trip_is_from),
		SCENE(what_is_not_exact_is_said),
		SCENE(round_trips_are_metrics),
		SCENE(handshakes_are_named),
		SCENE(handshakes_are_metrics),
		SCENE(demand_is_named),
		SCENE(capacity_is_said),
		SCENE(what_all_edges_say_is_shown),
		SCENE(anchors_are_shown),
		SCENE(others_may_see_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
