/* SPDX-License-Identifier: Apache-2.0 */
/* The last-good file: what is saved comes back, and nothing else is ever taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/app/difference.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/place.h"
#include "user/core/probe_spec.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORLDS = 20, BYTES_MAX = 1 << 20 };

static char folder[] = "/tmp/gs-test-snapshot-XXXXXX";
static char path[64];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/last-good.json", folder);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static size_t read_file(char *bytes)
{
	FILE *file = fopen(path, "rb");
	size_t length = file ? fread(bytes, 1, BYTES_MAX, file) : 0;

	if (file)
		fclose(file);
	return length;
}

static void write_file(const char *bytes, size_t length)
{
	FILE *file;

	/* Truncating a file makes some file systems write it out at close: a new one does not. */
	unlink(path);
	file = fopen(path, "wb");
	assert_non_null(file);
	fwrite(bytes, 1, length, file);
	assert_int_equal(fclose(file), 0);
}

/* Same revision, seed, ids and fields. */
static bool same(const struct gs_snapshot *a, const struct gs_snapshot *b)
{
	struct gs_difference difference = {0};
	bool is_same = gs_difference_make(a, b, &difference) == 0 && difference.count == 0 &&
		       a->revision == b->revision && a->selection_seed == b->selection_seed;

	gs_difference_done(&difference);
	for (uint32_t i = 0; is_same && i < a->region_count; i++)
		is_same = a->regions[i].id == b->regions[i].id &&
			  memcmp(&a->regions[i].coord, &b->regions[i].coord,
				 sizeof(a->regions[i].coord)) == 0;
	for (uint32_t i = 0; is_same && i < a->policy_count; i++)
		is_same = a->policies[i].id == b->policies[i].id;
	for (uint32_t i = 0; is_same && i < a->service_count; i++)
		is_same = a->services[i].id == b->services[i].id;
	for (uint32_t i = 0; is_same && i < a->backend_count; i++)
		is_same = a->backends[i].id == b->backends[i].id;
	return is_same && a->latency_count == b->latency_count &&
	       (a->latency_count == 0 ||
		memcmp(a->latencies, b->latencies, a->latency_count * sizeof(*a->latencies)) == 0);
}

/* Worlds have none but ipip: the packets of other tests go there. */
static void vary_forwards(struct gs_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_backend *backend = &snapshot->backends[i];
		const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);
		bool l2_fits = gs_addr_is_v4(&backend->addr) == gs_addr_is_v4(&service->vip);

		backend->forward =
			(enum gs_forward)(i % (l2_fits ? GS_FORWARD_AS__COUNT : GS_FORWARD_AS_L2));
	}
}

static void vary_steering(struct gs_snapshot *snapshot)
{
	static struct gs_fence fences[2];
	static struct gs_latency latencies[] = {
		{.place = "cell:DE-BE/52,13", .samples = UINT32_MAX, .us = 60000000},
		{.place = "cell:DE-BE/53,13",
		 .us = 1,
		 .before_us = GS_LATENCY_NONE,
		 .before_percent = 99},
		{.place = "continent:EU", .us = 1, .before_us = 60000000, .before_percent = 50},
		{.place = "country:DE",
		 .us = GS_LATENCY_NONE,
		 .before_us = -60000000,
		 .before_percent = 1},
		{.place = "everybody", .samples = 5, .us = -60000000, .at_unix_ms = 1795600000000},
		{.place = "probes", .samples = 600, .us = 1, .at_unix_ms = 1795600000000}};
	struct gs_policy *policy = &snapshot->policies[0];

	snapshot->regions[0].availability = 99.95;
	*policy = (struct gs_policy){.id = policy->id,
				     .kind = GS_POLICY_RANKED,
				     .rank_count = 2,
				     .rank = {GS_BY_LATENCY, GS_BY_WEIGHT},
				     .band_ms = 10000,
				     .band_percent = 100,
				     .order_count = 1,
				     .order = {snapshot->regions[0].id},
				     .bias = {-99},
				     .weight = {1000}};
	strcpy(policy->name, "ranked");
	if (snapshot->override_count > 1) {
		memset(&snapshot->overrides[1].prefix, 0, sizeof(snapshot->overrides[1].prefix));
		snapshot->overrides[1].asn = 4294967295;
	}
	if (snapshot->override_count > 0) {
		memset(&snapshot->overrides[0].prefix, 0, sizeof(snapshot->overrides[0].prefix));
		assert_int_equal(gs_place_parse("subdivision:US-CA", &snapshot->overrides[0].place),
				 0);
	}
	fences[0] = (struct gs_fence){.region_count = 1, .regions = {snapshot->regions[0].id}};
	fences[1] = fences[0];
	fences[1].service = snapshot->services[0].id;
	fences[1].holds_unknown = true;
	strcpy(fences[1].reason, "law");
	snapshot->fences = fences;
	snapshot->fence_count = 2;
	for (size_t i = 0; i < ARRAY_SIZE(latencies); i++)
		latencies[i].region = snapshot->regions[0].id;
	snapshot->latencies = latencies;
	snapshot->latency_count = ARRAY_SIZE(latencies);
}

/* What worlds leave as it is where nobody says. Access rules go to *ret_access, to free. */
static void vary_specs(struct gs_snapshot *snapshot, uint64_t seed, struct gs_access **ret_access)
{
	struct gs_access *access = calloc(2, sizeof(*access));

	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		struct gs_service *service = &snapshot->services[i];

		service->affinity.kind = (enum gs_affine)(world_draw(&seed) % GS_AFFINE__COUNT);
		service->stale.kind = (enum gs_stale_kind)(world_draw(&seed) % GS_STALE_IS__COUNT);
		for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++) {
			const struct gs_service_number *number = gs_service_number(n);

			gs_service_number_set(service, n,
					      number->min +
						      (uint32_t)(world_draw(&seed) %
								 (number->max - number->min + 1)));
		}
		/* They are in this order. */
		service->damping.reuse = 1 + service->damping.suppress / 2;
		service->damping.suppress += service->damping.suppress ? 2 : 0;
	}
	snapshot->regions[0].admin = GS_ADMIN_DRAIN;
	snapshot->regions[0].drain_until_unix_ms = 1893456000123;
	snapshot->regions[0].limit_packets = GS_LIMIT_MAX;
	snapshot->regions[0].limit_flows = 7;
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_backend *backend = &snapshot->backends[i];

		backend->port = backend->forward == GS_FORWARD_AS_NAT ? (uint16_t)(8000 + i) : 0;
		if (backend->admin == GS_ADMIN_DRAIN)
			backend->drain_until_unix_ms = 1893456000000 + i;
	}
	assert_int_equal(gs_prefix_parse("203.0.113.0/24", &access[0].prefix), 0);
	assert_int_equal(gs_prefix_parse("2001:db8::/32", &access[1].prefix), 0);
	access[0].allow = true;
	access[1].service = snapshot->services[0].id;
	strcpy(access[1].reason, "a \"reason\"");
	snapshot->access = access;
	snapshot->access_count = 2;
	vary_steering(snapshot);
	*ret_access = access;
}

static void test_what_is_saved_comes_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		struct world *world = world_new(seed);
		struct gs_snapshot *loaded = NULL;
		struct gs_access *access = NULL;
		struct gs_error error = {{0}};
		struct stat stat_;
		bool is_same;

		vary_forwards(&world->snapshot);
		vary_specs(&world->snapshot, seed, &access);
		world->snapshot.revision = seed * 1000003;
		world->snapshot.selection_seed = ~seed * 0x9e3779b97f4a7c15u;
		if (gs_snapshot_save(&world->snapshot, path, &error) != 0 ||
		    gs_snapshot_load(path, &loaded, &error) != 0)
			fail_msg("seed %ju: %s", (uintmax_t)seed, error.text);
		is_same = same(&world->snapshot, loaded);
		gs_snapshot_free(loaded);
		free(access);
		world->snapshot.access = NULL;
		world->snapshot.access_count = 0;
		world_free(world);
		if (!is_same)
			fail_msg("seed %ju: not the same", (uintmax_t)seed);
		assert_int_equal(stat(path, &stat_), 0);
		assert_int_equal(stat_.st_mode & 0777, 0600);
	}
}

/* Saves the smallest world there is and returns its bytes, to free. */
static char *saved(size_t *ret_length)
{
	char *bytes = malloc(BYTES_MAX);
	struct world *world = world_new(3);
	struct gs_error error;

	assert_int_equal(gs_snapshot_save(&world->snapshot, path, &error), 0);
	world_free(world);
	*ret_length = read_file(bytes);
	return bytes;
}

/* Refused with the file's name in the error, and nothing returned. */
static bool is_refused(void)
{
	struct gs_snapshot *loaded = NULL;
	struct gs_error error = {{0}};
	int ret = gs_snapshot_load(path, &loaded, &error);

	gs_snapshot_free(loaded);
	return ret < 0 && !loaded && strncmp(error.text, path, strlen(path)) == 0;
}

static void test_cut_at_every_byte(void **state)
{
	size_t length, step;
	char *bytes = saved(&length);

	(void)state;
	for (size_t cut = 0; cut < length; cut += step) {
		/* Every byte of the first line and of both ends; the middle is all alike. */
		step = cut < 600 || cut > length - 600 ? 1 : 7;
		write_file(bytes, cut);
		if (!is_refused())
			fail_msg("cut at %zu of %zu: accepted", cut, length);
	}
	free(bytes);
}

static void test_flipped_bits(void **state)
{
	uint64_t seed = 20261123;
	size_t length;
	char *bytes = saved(&length);

	(void)state;
	print_message("# seed %ju, %zu bytes\n", (uintmax_t)seed, length);
	for (int round = 0; round < 4000; round++) {
		/* All bits of the first line, then anywhere. */
		size_t bit = round < 800 ? (size_t)round : world_draw(&seed) % (length * 8);

		bytes[bit / 8] ^= (char)(1 << bit % 8);
		write_file(bytes, length);
		if (!is_refused())
			fail_msg("bit %zu flipped: accepted", bit);
		bytes[bit / 8] ^= (char)(1 << bit % 8);
	}
	write_file(bytes, length);
	free(bytes);
	assert_false(is_refused());
}

static void test_other_files_are_told_apart(void **state)
{
	static const struct {
		const char *bytes, *why;
	} rows[] = {
		{"", "cut short"},
		{"\n", "not a snapshot"},
		{"{}\n{}", "not a snapshot"},
		{"{\"format\":\"geostream snapshot\",\"version\":2,\"bytes\":2}\n{}", "version 2"},
		{"{\"format\":\"geostream snapshot\",\"version\":1,\"bytes\":2}\n{}", "damaged"},
	};
	struct gs_snapshot *loaded = NULL;
	struct gs_error error = {{0}};

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		write_file(rows[r].bytes, strlen(rows[r].bytes));
		assert_true(gs_snapshot_load(path, &loaded, &error) < 0);
		if (!strstr(error.text, rows[r].why))
			fail_msg("row %zu: %s", r, error.text);
	}
	unlink(path);
	assert_int_equal(gs_snapshot_load(path, &loaded, &error), -ENOENT);
	assert_true(gs_snapshot_load(folder, &loaded, &error) < 0);
	assert_non_null(strstr(error.text, "not a regular file"));
	assert_null(loaded);
}

/* A file whose checksum is right and whose content makes no sense: rows were hostile once. */
static void test_nonsense_with_a_right_checksum(void **state)
{
	struct world *world = world_new(5);
	struct gs_snapshot *copy = NULL, *loaded = NULL;
	struct gs_error error = {{0}};
	int ret;

	(void)state;
	assert_int_equal(gs_snapshot_copy(&world->snapshot, 0, &copy), 0);
	world_free(world);
	copy->regions[0].coord.lat_deg = 91;
	ret = gs_snapshot_save(copy, path, &error);
	gs_snapshot_free(copy);
	assert_int_equal(ret, 0);
	assert_int_equal(gs_snapshot_load(path, &loaded, &error), -EINVAL);
	assert_non_null(strstr(error.text, "regions[0].latitude"));
	assert_null(loaded);
}

/* What was there stays when the new one cannot be written. */
static void test_failed_save_keeps_the_old_file(void **state)
{
	size_t length, after;
	char *bytes = saved(&length), *now = malloc(BYTES_MAX);
	struct world *world = world_new(7);
	struct gs_error error = {{0}};
	char beside[80];
	int ret;

	(void)state;
	snprintf(beside, sizeof(beside), "%s.new", path);
	assert_int_equal(mkdir(beside, 0700), 0);
	ret = gs_snapshot_save(&world->snapshot, path, &error);
	rmdir(beside);
	world_free(world);
	after = read_file(now);
	assert_true(ret < 0);
	assert_non_null(strstr(error.text, path));
	assert_int_equal(after, length);
	assert_memory_equal(now, bytes, length);
	free(now);
	free(bytes);
	ret = gs_snapshot_save(&(struct gs_snapshot){0}, "/nonexistent/x.json", &error);
	assert_int_equal(ret, -ENOENT);
}

static void test_forces_and_actor_come_back(void **state)
{
	struct world *world = world_new(3);
	struct gs_snapshot *saved, *loaded = NULL;
	struct gs_error error = {{0}};
	static const char *const texts[GS_PROBE_TEXTS] = {"404",    "\\x00\"",	 "start",   "\\\\",
							  "none",   "TYPE65535", "refused", "check",
							  "-x,y z", "direct"};
	struct gs_force forces[2];
	struct gs_overlay overlays[2] = {{.edge = ""}};
	(void)state;

	forces[0] = (struct gs_force){.service = world->snapshot.services[0].id,
				      .region = world->snapshot.regions[0].id,
				      .open = true,
				      .expires_unix_ms = 1764092400123,
				      .reason = "a \"reason\"",
				      .actor = "alice@desk"};
	forces[1] = forces[0];
	strcpy(forces[1].edge, "fra1");
	forces[1].open = false;
	overlays[0] = (struct gs_overlay){.region = world->snapshot.regions[0].id,
					  .service = world->snapshot.services[0].id,
					  .admin = GS_ADMIN_FORCE_UP,
					  .supersedes = true,
					  .made_unix_ms = 1764092400001,
					  .expires_unix_ms = 1764092400123,
					  .version = 77,
					  .reason = "a \"reason\"",
					  .actor = "alice@desk",
					  .ticket = "OPS-1"};
	overlays[1].backend = world->snapshot.backends[0].id;
	overlays[1].admin = GS_ADMIN_DRAIN;
	strcpy(overlays[1].edge, "fra1");
	world->snapshot.overlays = overlays;
	world->snapshot.overlay_count = 2;
	world->snapshot.services[0].panic =
		(struct gs_panic_spec){33, GS_ALL_DOWN_SERVES_FIXED, world->snapshot.regions[0].id};
	world->snapshot.forces = forces;
	world->snapshot.force_count = 2;
	strcpy(world->snapshot.actor, "bob");
	world->snapshot.services[0].probe = gs_probe_spec_default();
	world->snapshot.services[0].probe.kind = GS_PROBE_EXEC;
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		assert_true(gs_probe_text_set(&world->snapshot.services[0].probe, t, texts[t]));
	world->snapshot.services[0].failover_budget_ms = 3600000;
	assert_int_equal(gs_snapshot_copy(&world->snapshot, 0, &saved), 0);
	world->snapshot.forces = NULL;
	world->snapshot.force_count = 0;
	world->snapshot.overlays = NULL;
	world->snapshot.overlay_count = 0;
	if (gs_snapshot_save(saved, path, &error) != 0 ||
	    gs_snapshot_load(path, &loaded, &error) != 0)
		fail_msg("%s", error.text);
	assert_string_equal(loaded->actor, "bob");
	assert_int_equal(loaded->force_count, 2);
	assert_memory_equal(loaded->forces, forces, sizeof(forces));
	assert_int_equal(loaded->overlay_count, 2);
	assert_memory_equal(loaded->overlays, overlays, sizeof(overlays));
	assert_int_equal(loaded->services[0].panic.percent, 33);
	assert_int_equal(loaded->services[0].panic.all_down, GS_ALL_DOWN_SERVES_FIXED);
	assert_int_equal(loaded->services[0].panic.region, saved->regions[0].id);
	assert_int_equal(loaded->services[0].probe.kind, GS_PROBE_EXEC);
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		assert_string_equal(gs_probe_text_get(&loaded->services[0].probe, t), texts[t]);
	assert_int_equal(loaded->services[0].failover_budget_ms, 3600000);
	assert_int_equal(loaded->services[0].breaker.trials, saved->services[0].breaker.trials);
	gs_snapshot_free(loaded);
	gs_snapshot_free(saved);
	world_free(world);
}

/* As version 0.1 wrote them, before there were breakers, forces, actors, forward modes, affinity...
 */
static void test_files_of_before_load(void **state)
{
	static const char body[] =
		"{\"revision\":5,\"selection_seed\":\"00000000000000ff\",\"regions\":[{\"id\":1,"
		"\"name\":\"eu\",\"latitude\":50.0,\"longitude\":8.0,\"cost\":0.0,\"capacity\":0,"
		"\"admin\":\"auto\"}],\"policies\":[{\"id\":1,\"name\":\"p\",\"kind\":\"geo\","
		"\"order\":[1]}],\"services\":[{\"id\":1,\"name\":\"web\",\"vip\":\"198.51.100.10\","
		"\"port\":80,\"protocol\":\"tcp\",\"policy\":1,\"probe\":{\"kind\":\"none\",\"port\":0,"
		"\"path\":\"/\",\"host\":\"\",\"interval_ms\":400,\"timeout_ms\":250,"
		"\"fast_interval_ms\":100,\"down_interval_ms\":1000,\"rise\":4,\"fall\":3,"
		"\"clear\":10}}],\"backends\":[{\"id\":7,\"name\":\"eu-1\",\"service\":1,\"region\":1,"
		"\"address\":\"10.1.0.1\",\"weight\":9,\"admin\":\"auto\"}],\"overrides\":[]}";
	struct gs_snapshot *loaded = NULL;
	struct gs_error error = {{0}};
	uint64_t hash = 0xcbf29ce484222325u;
	char bytes[1024];
	(void)state;

	for (const char *at = body; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 0x100000001b3u;
	snprintf(bytes, sizeof(bytes),
		 "{\"format\":\"geostream snapshot\",\"version\":1,\"bytes\":%zu,\"checksum\":"
		 "\"%016jx\"}\n%s",
		 strlen(body), (uintmax_t)hash, body);
	write_file(bytes, strlen(bytes));
	if (gs_snapshot_load(path, &loaded, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(loaded->revision, 5);
	assert_int_equal(loaded->backends[0].weight, 9);
	assert_int_equal(loaded->backends[0].forward, GS_FORWARD_AS_IPIP);
	assert_int_equal(loaded->force_count, 0);
	assert_int_equal(loaded->access_count, 0);
	assert_int_equal(loaded->services[0].affinity.kind, GS_AFFINE_FLOW);
	assert_int_equal(loaded->services[0].stale.kind, GS_STALE_IS_KEPT);
	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++)
		assert_int_equal(gs_service_number_get(&loaded->services[0], n),
				 gs_service_number(n)->otherwise);
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		assert_string_equal(gs_probe_text_get(&loaded->services[0].probe, t),
				    gs_probe_text(t)->otherwise);
	assert_int_equal(loaded->services[0].failover_budget_ms, 0);
	assert_int_equal(loaded->overlay_count, 0);
	assert_int_equal(loaded->services[0].panic.percent, 50);
	assert_int_equal(loaded->services[0].panic.all_down, GS_ALL_DOWN_SERVES_ANY);
	gs_snapshot_free(loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_saved_comes_back),
		cmocka_unit_test(test_forces_and_actor_come_back),
		cmocka_unit_test(test_files_of_before_load),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_other_files_are_told_apart),
		cmocka_unit_test(test_nonsense_with_a_right_checksum),
		cmocka_unit_test(test_failed_save_keeps_the_old_file),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
