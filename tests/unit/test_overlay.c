/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators lay over objects: which of several counts and until when, what may not be done
 * without force, and the file of what one edge has of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/app/overlays.h"
#include "user/base/cleanup.h"
#include "user/core/overlay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Regions 1 eu, 2 us, 3 ap, 4 sa; services 1 web in all of them, 2 dns in 1 and 2; backend ids:
 * service * 10 + region. */
enum { REGIONS = 4 };

struct scene {
	struct gs_region regions[REGIONS];
	struct gs_service services[2];
	struct gs_backend backends[6];
	struct gs_overlay overlays[16];
	struct gs_snapshot snapshot;
};

static void make_scene(struct scene *scene)
{
	static const char *const names[] = {"eu", "us", "ap", "sa"};
	uint32_t b = 0;

	memset(scene, 0, sizeof(*scene));
	for (gs_id r = 1; r <= REGIONS; r++) {
		scene->regions[r - 1].id = r;
		strcpy(scene->regions[r - 1].name, names[r - 1]);
	}
	for (gs_id s = 1; s <= 2; s++) {
		scene->services[s - 1].id = s;
		strcpy(scene->services[s - 1].name, s == 1 ? "web" : "dns");
		for (gs_id r = 1; r <= (s == 1 ? REGIONS : 2); r++) {
			struct gs_backend *backend = &scene->backends[b++];

			*backend = (struct gs_backend){
				.id = (gs_id)(s * 10 + r), .service = s, .region = r, .weight = 10};
			snprintf(backend->name, sizeof(backend->name), "%s-%s",
				 s == 1 ? "web" : "dns", names[r - 1]);
		}
	}
	scene->snapshot = (struct gs_snapshot){
		.region_count = REGIONS,
		.service_count = 2,
		.backend_count = b,
		.regions = scene->regions,
		.services = scene->services,
		.backends = scene->backends,
		.overlays = scene->overlays,
	};
}

/* ---- which counts ---------------------------------------------------------------------------- */

#define ANY ""

static struct gs_overlay over(gs_id region, gs_id service, gs_id backend, const char *edge,
			      enum gs_admin admin, int64_t expires_unix_ms)
{
	struct gs_overlay overlay = {.region = region,
				     .service = service,
				     .backend = backend,
				     .admin = admin,
				     .expires_unix_ms = expires_unix_ms};

	strcpy(overlay.edge, edge);
	return overlay;
}

static void the_nearest_counts(void **state)
{
	const struct gs_overlay shared[] = {
		over(1, 0, 0, ANY, GS_ADMIN_DRAIN, 0),
		over(2, 0, 0, ANY, GS_ADMIN_DRAIN, 1000),
		over(2, 0, 0, "fra1", GS_ADMIN_AUTO, 500),
		over(3, 0, 0, "ams1", GS_ADMIN_MAINTENANCE, 0),
		over(1, 1, 0, ANY, GS_ADMIN_FORCE_DOWN, 900),
		over(0, 0, 11, ANY, GS_ADMIN_FORCE_UP, 900),
	};
	const struct gs_overlay local[] = {over(1, 0, 0, "ignored", GS_ADMIN_FORCE_UP, 700)};
	static const struct {
		struct gs_overlay object;
		int64_t unix_ms;
		int want; /* enum gs_admin; -1: nothing */
		const char *edge;
	} rows[] = {
		{{.region = 1}, 0, GS_ADMIN_FORCE_UP, "fra1"}, /* its own before all */
		{{.region = 1}, 699, GS_ADMIN_FORCE_UP, "fra1"},
		{{.region = 1}, 700, GS_ADMIN_DRAIN, "fra1"},
		{{.region = 2}, 499, GS_ADMIN_AUTO, "fra1"}, /* that of its name before all's */
		{{.region = 2}, 499, GS_ADMIN_DRAIN, "ams1"},
		{{.region = 2}, 500, GS_ADMIN_DRAIN, "fra1"},
		{{.region = 2}, 1000, -1, "fra1"},
		{{.region = 3}, 0, -1, "fra1"}, /* of another edge */
		{{.region = 3}, 0, GS_ADMIN_MAINTENANCE, "ams1"},
		{{.region = 1, .service = 1}, 0, GS_ADMIN_FORCE_DOWN, "fra1"},
		{{.region = 1, .service = 2}, 0, -1, "fra1"},
		{{.backend = 11}, 899, GS_ADMIN_FORCE_UP, "fra1"},
		{{.backend = 11}, 900, -1, "fra1"},
		{{.backend = 12}, 0, -1, "fra1"},
	};
	static struct gs_admins admins;
	struct scene scene;
	(void)state;

	make_scene(&scene);
	memcpy(scene.overlays, shared, sizeof(shared));
	scene.snapshot.overlay_count = ARRAY_SIZE(shared);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct gs_overlay_set set = {.shared = scene.overlays,
						   .shared_count = ARRAY_SIZE(shared),
						   .local = local,
						   .local_count = 1,
						   .edge = rows[i].edge,
						   .unix_ms = rows[i].unix_ms};
		const struct gs_overlay *object = &rows[i].object;
		const struct gs_overlay *found = gs_overlay_find(&set, object);
		int resolved;

		if ((found ? (int)found->admin : -1) != rows[i].want)
			fail_msg("row %zu: %d", i, found ? (int)found->admin : -1);
		gs_admins_resolve(&scene.snapshot, &set, &admins);
		resolved = object->backend ? admins.backend[object->backend]
			   : object->service
				   ? (int)gs_admins_pool(&admins, object->service, object->region)
				   : admins.region[object->region];
		assert_int_equal(resolved, rows[i].want < 0 ? GS_ADMIN_AUTO : rows[i].want);
	}
}

/* The configuration's own, and drains whose deadline has come. */
static void over_the_configuration(void **state)
{
	static struct gs_admins admins;
	struct gs_overlay_set set = {.edge = "fra1", .unix_ms = 100};
	struct scene scene;
	(void)state;

	make_scene(&scene);
	scene.regions[0].admin = GS_ADMIN_DRAIN;
	scene.regions[0].drain_until_unix_ms = 100;
	scene.regions[1].admin = GS_ADMIN_MAINTENANCE;
	scene.overlays[0] = over(2, 0, 0, ANY, GS_ADMIN_AUTO, 0);
	set.shared = scene.overlays;
	set.shared_count = 1;
	gs_admins_resolve(&scene.snapshot, &set, &admins);
	assert_int_equal(admins.region[1], GS_ADMIN_FORCE_DOWN);
	assert_int_equal(admins.region[2], GS_ADMIN_AUTO);
	set.unix_ms = 99;
	gs_admins_resolve(&scene.snapshot, &set, &admins);
	assert_int_equal(admins.region[1], GS_ADMIN_DRAIN);
}

/* Pools by the hundred, in any order: each is found, and nothing else. */
static void many_pools(void **state)
{
	static struct gs_overlay overlays[GS_OVERLAYS_LOCAL_MAX];
	static struct gs_admins admins;
	struct gs_overlay_set set = {.local = overlays, .edge = "fra1"};
	struct scene scene;
	(void)state;

	make_scene(&scene);
	for (uint32_t i = 0; i < GS_OVERLAYS_LOCAL_MAX; i++)
		overlays[i] = over((gs_id)(1 + i * 7 % 16), (gs_id)(1 + i * 5 % 32), 0, ANY,
				   i % 2 ? GS_ADMIN_DRAIN : GS_ADMIN_FORCE_UP, 0);
	set.local_count = GS_OVERLAYS_LOCAL_MAX;
	gs_admins_resolve(&scene.snapshot, &set, &admins);
	for (gs_id service = 1; service <= 33; service++)
		for (gs_id region = 1; region <= 17; region++) {
			enum gs_admin want = GS_ADMIN_AUTO;

			for (uint32_t i = 0; i < GS_OVERLAYS_LOCAL_MAX; i++)
				if (overlays[i].service == service && overlays[i].region == region)
					want = overlays[i].admin;
			assert_int_equal(gs_admins_pool(&admins, service, region), want);
		}
}

static void the_next_end(void **state)
{
	const struct gs_overlay shared[] = {over(1, 0, 0, ANY, GS_ADMIN_DRAIN, 0),
					    over(2, 0, 0, ANY, GS_ADMIN_DRAIN, 1000),
					    over(3, 0, 0, "ams1", GS_ADMIN_DRAIN, 300)};
	const struct gs_overlay local[] = {over(1, 0, 0, ANY, GS_ADMIN_DRAIN, 700)};
	struct gs_overlay_set set = {.shared = shared,
				     .shared_count = 3,
				     .local = local,
				     .local_count = 1,
				     .edge = "fra1"};
	(void)state;

	assert_int_equal(gs_overlay_due_unix_ms(&set), 700);
	set.unix_ms = 700;
	assert_int_equal(gs_overlay_due_unix_ms(&set), 1000);
	set.unix_ms = 1000;
	assert_int_equal(gs_overlay_due_unix_ms(&set), INT64_MAX);
	set.edge = "ams1";
	set.unix_ms = 0;
	assert_int_equal(gs_overlay_due_unix_ms(&set), 300);
}

/* ---- rules ----------------------------------------------------------------------------------- */

#define AUTO GS_ADMIN_AUTO
#define UP GS_ADMIN_FORCE_UP
#define DRAIN GS_ADMIN_DRAIN
#define OUT GS_ADMIN_MAINTENANCE

static const struct {
	const char *name;
	enum gs_admin before[REGIONS], after[REGIONS];
	uint64_t capacity[REGIONS];
	bool down[REGIONS];
	double demand;
	const char *want; /* in the error; NULL: allowed */
} RULES[] = {
	{"one of four", {0}, {DRAIN}, {0}, {0}, -1, NULL},
	{"two of four are a half", {0}, {AUTO, AUTO, DRAIN, OUT}, {0}, {0}, -1, NULL},
	{"three of four are more",
	 {0},
	 {AUTO, DRAIN, DRAIN, OUT},
	 {0},
	 {0},
	 -1,
	 "3 of 4 regions would take no new flows, 50 % at most"},
	{"what one does not make worse is not asked",
	 {AUTO, DRAIN, DRAIN, OUT},
	 {UP, OUT, DRAIN, OUT},
	 {0},
	 {0},
	 -1,
	 NULL},
	{"nor what makes it better",
	 {OUT, OUT, OUT, OUT},
	 {OUT, OUT, OUT, AUTO},
	 {0},
	 {0},
	 -1,
	 NULL},
	{"both regions of a service",
	 {0},
	 {OUT, DRAIN, AUTO, AUTO},
	 {0},
	 {0},
	 -1,
	 "service dns would have no region left"},
	{"the other one of a service is down",
	 {0},
	 {DRAIN},
	 {0},
	 {false, true},
	 -1,
	 "service dns would have no region left that is up"},
	{"one that is down may go", {0}, {AUTO, AUTO, DRAIN}, {0}, {false, false, true}, -1, NULL},
	{"what is left has enough", {0}, {DRAIN}, {90, 40, 40, 30}, {0}, 100, NULL},
	{"what is left has not enough",
	 {0},
	 {DRAIN},
	 {90, 40, 40, 29},
	 {0},
	 100,
	 "a capacity of 109 new flows a second, 110 are needed"},
	{"a region that is down has none",
	 {0},
	 {DRAIN},
	 {90, 40, 40, 90},
	 {false, false, false, true},
	 100,
	 "a capacity of 80"},
	{"one does not state its own", {0}, {DRAIN}, {90, 40, 0, 29}, {0}, 100, NULL},
	{"nobody knows the demand", {0}, {DRAIN}, {90, 1, 1, 1}, {0}, -1, NULL},
};

static void rules(void **state)
{
	static struct gs_admins before, after;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(RULES); i++) {
		struct gs_rule_facts facts = {.demand = RULES[i].demand};
		struct gs_overlay_set set = {.edge = "fra1"};
		struct gs_error error = {""};
		struct scene scene;
		int ret;

		make_scene(&scene);
		for (int r = 0; r < REGIONS; r++) {
			scene.regions[r].admin = RULES[i].before[r];
			scene.regions[r].capacity = RULES[i].capacity[r];
			if (RULES[i].down[r])
				facts.down.words[0] |= 1ULL << (r + 1);
		}
		gs_admins_resolve(&scene.snapshot, &set, &before);
		for (int r = 0; r < REGIONS; r++)
			scene.overlays[r] = over((gs_id)(r + 1), 0, 0, ANY, RULES[i].after[r], 0);
		set.shared = scene.overlays;
		set.shared_count = REGIONS;
		gs_admins_resolve(&scene.snapshot, &set, &after);
		ret = gs_admins_check(&scene.snapshot, &before, &after, &facts, &error);
		if ((ret != 0) != (RULES[i].want != NULL) ||
		    (RULES[i].want && !strstr(error.text, RULES[i].want)))
			fail_msg("%s: %d, %s", RULES[i].name, ret, error.text);
	}
}

/* By its pools and backends a region goes as well. */
static void rules_for_parts(void **state)
{
	static struct gs_admins before, after;
	const struct gs_rule_facts facts = {.demand = -1};
	struct gs_overlay_set set = {.edge = "fra1"};
	struct gs_error error = {""};
	struct scene scene;
	(void)state;

	make_scene(&scene);
	gs_admins_resolve(&scene.snapshot, &set, &before);
	scene.overlays[0] = over(1, 2, 0, ANY, DRAIN, 0);
	scene.overlays[1] = over(0, 0, 22, ANY, OUT, 0);
	set.shared = scene.overlays;
	set.shared_count = 1;
	gs_admins_resolve(&scene.snapshot, &set, &after);
	assert_int_equal(gs_admins_check(&scene.snapshot, &before, &after, &facts, &error), 0);
	set.shared_count = 2;
	gs_admins_resolve(&scene.snapshot, &set, &after);
	assert_int_not_equal(gs_admins_check(&scene.snapshot, &before, &after, &facts, &error), 0);
	assert_non_null(strstr(error.text, "service dns would have no region left"));
}

/* ---- an edge's own, in its file -------------------------------------------------------------- */

static char *state_file(char out[64])
{
	snprintf(out, 64, "/tmp/test_overlay.%d.json", (int)getpid());
	unlink(out);
	return out;
}

static struct gs_overlay_names named(const char *kind, const char *text)
{
	struct gs_overlay_names names;
	struct gs_error error;

	assert_int_equal(gs_overlay_names_parse(kind, text, &names, &error), 0);
	return names;
}

static void an_edges_own(void **state)
{
	static struct gs_local_overlays local, again;
	struct gs_overlay drain = over(0, 0, 0, ANY, DRAIN, 5000);
	const struct gs_overlay_names both[] = {named("region", "eu"), named("service", "web@us"),
						named("backend", "web-ap")};
	struct gs_error error = {""};
	struct scene scene;
	uint32_t cleared;
	char path[64];
	(void)state;

	make_scene(&scene);
	strcpy(drain.reason, "a \"reason\"");
	strcpy(drain.actor, "alice");
	assert_int_equal(gs_local_overlays_load(&local, state_file(path), &error), 0);
	assert_int_equal(gs_local_overlays_set(&local, both, 3, &drain, &error), 0);
	assert_int_equal(gs_local_overlays_load(&again, path, &error), 0);
	assert_int_equal(again.entry_count, 3);
	assert_int_equal(gs_local_overlays_follow(&again, &scene.snapshot, "fra1", 0), 0);
	assert_int_equal(again.count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(again.overlays[i].admin, DRAIN);
		assert_string_equal(again.overlays[i].reason, "a \"reason\"");
	}
	/* What is not there yet is kept, and found when it comes. */
	scene.snapshot.region_count = 0;
	gs_local_overlays_follow(&again, &scene.snapshot, "fra1", 0);
	assert_int_equal(again.count, 1);
	scene.snapshot.region_count = REGIONS;
	gs_local_overlays_follow(&again, &scene.snapshot, "fra1", 0);
	assert_int_equal(again.count, 3);

	/* Another word for one of them; then it is taken back. */
	drain.admin = OUT;
	drain.expires_unix_ms = 9000;
	assert_int_equal(gs_local_overlays_set(&again, both, 1, &drain, &error), 0);
	assert_int_equal(again.entry_count, 3);
	assert_int_equal(gs_local_overlays_expire(&again, 4999), 0);
	assert_int_equal(gs_local_overlays_expire(&again, 5000), 2);
	assert_int_equal(gs_local_overlays_load(&local, path, &error), 0);
	assert_int_equal(local.entry_count, 1);
	assert_int_equal(gs_local_overlays_clear(&local, both, 3, &cleared, &error), 0);
	assert_int_equal(cleared, 1);
	assert_int_not_equal(access(path, F_OK), 0);
}

/* The database says otherwise, and means the edges that have their own word, too. */
static void is_superseded(void **state)
{
	static const struct {
		bool supersedes;
		int64_t made;
		const char *edge;
		gs_id region;
		uint32_t want_gone;
	} rows[] = {
		{true, 101, "", 1, 1},	   {false, 101, "", 1, 0},    {true, 100, "", 1, 0},
		{true, 101, "fra1", 1, 1}, {true, 101, "ams1", 1, 0}, {true, 101, "", 2, 0},
	};
	struct gs_overlay drain = over(0, 0, 0, ANY, DRAIN, 5000);
	const struct gs_overlay_names names = named("region", "eu");
	static struct gs_local_overlays local;
	struct gs_error error = {""};
	char path[64];
	(void)state;

	drain.made_unix_ms = 100;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct scene scene;

		make_scene(&scene);
		scene.overlays[0] = over(rows[i].region, 0, 0, rows[i].edge, AUTO, 0);
		scene.overlays[0].supersedes = rows[i].supersedes;
		scene.overlays[0].made_unix_ms = rows[i].made;
		scene.snapshot.overlay_count = 1;
		assert_int_equal(gs_local_overlays_load(&local, state_file(path), &error), 0);
		assert_int_equal(gs_local_overlays_set(&local, &names, 1, &drain, &error), 0);
		if (gs_local_overlays_follow(&local, &scene.snapshot, "fra1", 200) !=
			    rows[i].want_gone ||
		    local.count != 1 - rows[i].want_gone ||
		    (access(path, F_OK) == 0) != (rows[i].want_gone == 0))
			fail_msg("row %zu", i);
	}
	unlink(path);
}

static void bad_files(void **state)
{
	static const char *const texts[] = {
		"",
		"{}",
		"[1]",
		"[{}]",
		"[{\"region\":\"eu\",\"service\":\"\",\"backend\":\"\",\"admin\":\"sideways\","
		"\"made_unix_ms\":1,\"expires_unix_ms\":2,\"reason\":\"\",\"actor\":\"\","
		"\"ticket\":\"\"}]",
		"[{\"region\":\"eu\",\"service\":\"\",\"backend\":\"\",\"admin\":\"drain\","
		"\"made_unix_ms\":1,\"expires_unix_ms\":0,\"reason\":\"\",\"actor\":\"\","
		"\"ticket\":\"\"}]",
		"[{\"region\":\"eu\",\"service\":\"\",\"backend\":\"\",\"admin\":\"drain\","
		"\"made_unix_ms\":1,\"expires_unix_ms\":2,\"reason\":\"a\\u0007\",\"actor\":\"\","
		"\"ticket\":\"\"}]",
	};
	static struct gs_local_overlays local;
	struct gs_error error;
	char path[64];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		FILE *file = fopen(state_file(path), "we");

		assert_non_null(file);
		fputs(texts[i], file);
		fclose(file);
		error.text[0] = '\0';
		if (gs_local_overlays_load(&local, path, &error) == 0 || local.entry_count != 0 ||
		    !strstr(error.text, path))
			fail_msg("text %zu: %s", i, error.text);
	}
	unlink(path);
}

static void names(void **state)
{
	static const struct {
		const char *kind, *text, *want; /* NULL: refused */
	} rows[] = {
		{"region", "eu", "eu"},
		{"service", "web@eu", "web@eu"},
		{"backend", "b1", "b1"},
		{"service", "web", NULL},
		{"service", "@eu", NULL},
		{"service", "web@", NULL},
		{"region", "", NULL},
		{"service", "web@*", "web@*"},
		{"backend", "0123456789012345678901234567890123456789012345678901234567890123",
		 NULL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gs_overlay_names parsed;
		char text[GS_OVERLAY_NAME_MAX];
		struct gs_error error = {""};
		int ret = gs_overlay_names_parse(rows[i].kind, rows[i].text, &parsed, &error);

		assert_int_equal(ret == 0, rows[i].want != NULL);
		if (rows[i].want)
			assert_string_equal(gs_overlay_name(&parsed, text), rows[i].want);
		else
			assert_int_not_equal(error.text[0], '\0');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nearest_counts),
		cmocka_unit_test(over_the_configuration),
		cmocka_unit_test(many_pools),
		cmocka_unit_test(the_next_end),
		cmocka_unit_test(rules),
		cmocka_unit_test(rules_for_parts),
		cmocka_unit_test(an_edges_own),
		cmocka_unit_test(is_superseded),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
