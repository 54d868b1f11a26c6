/* SPDX-License-Identifier: Apache-2.0 */
/* `geostreamd --check`: is a failover of each service within its budget, or the edge's? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "user/app/check.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/core/health.h"

#include <errno.h>
#include <string.h>

/* With the defaults it is 400 and 2 x 100, 10 % each, 250 and 10. */
#define BOUND_MS 920

static void budgets(void **state)
{
	static const struct {
		uint32_t edge_ms, service_ms;
		enum gs_probe_kind kind;
		int want;
	} cases[] = {
		{1000, 0, GS_PROBE_TCP, 0},
		{BOUND_MS, 0, GS_PROBE_TCP, 0},
		{BOUND_MS - 1, 0, GS_PROBE_TCP, -EINVAL},
		{BOUND_MS - 1, 0, GS_PROBE_NONE, 0},
		{1, BOUND_MS, GS_PROBE_HTTPS, 0},
		{10000, BOUND_MS - 1, GS_PROBE_DNS, -EINVAL},
	};
	struct gs_snapshot *snapshot = fake_snapshot(1);
	char folder[] = "/tmp/gs-check-XXXXXX", path[64];
	struct gs_geodb no_geodb = {0};
	struct gs_config config;
	struct gs_error error;
	(void)state;

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/last-good.json", folder);
	gs_config_default(&config);
	config.geoip[0] = 0;
	strcpy(config.state_dir, folder);
	assert_int_equal(gs_check_files(&config, &no_geodb), 0); /* nothing there */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint32_t s = 0; s < snapshot->service_count; s++) {
			struct gs_service *service = &snapshot->services[s];

			service->probe = gs_probe_spec_default();
			service->probe.kind = cases[i].kind;
			strcpy(service->probe.path, "/");
			strcpy(service->probe.request, "a.b");
			service->failover_budget_ms = cases[i].service_ms;
		}
		config.failover_budget_ms = cases[i].edge_ms;
		if (gs_snapshot_save(snapshot, path, &error) != 0)
			fail_msg("%s", error.text);
		assert_int_equal(gs_check_files(&config, &no_geodb), cases[i].want);
	}
	gs_snapshot_free(snapshot);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(budgets)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
