/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "snapshot_io.h"
#include "user/core/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_problem(void *context, const char *place, const char *text)
{
	(void)context;
	fprintf(stderr, "%s: %s\n", place, text);
}

int gs_check_config(const char *path, int set_count, char **sets, struct gs_config *ret_config)
{
	const struct gs_config_problems problems = {.on_problem = print_problem};
	const char *named = path ? path : getenv("GEOSTREAM_CONFIG");
	int result = 0;

	gs_config_default(ret_config);
	if (named || access(GS_CONFIG_PATH_DEFAULT, F_OK) == 0)
		if (gs_config_read_file(ret_config, named ? named : GS_CONFIG_PATH_DEFAULT,
					&problems))
			result = -EINVAL;
	if (gs_config_read_environment(ret_config, &problems))
		result = -EINVAL;
	for (int i = 0; i < set_count; i++)
		if (gs_config_set(ret_config, sets[i], "--set", &problems))
			result = -EINVAL;
	return result;
}

static int check_failover(const struct gs_config *config, const struct gs_snapshot *snapshot)
{
	int result = 0;

	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];
		uint32_t worst_ms;

		if (service->probe.kind == GS_PROBE_NONE)
			continue;
		worst_ms = gs_health_worst_case_ms(&service->probe);
		printf("service %s: a silent backend is left after at most %u ms (budget %u ms)\n",
		       service->name, worst_ms, config->failover_budget_ms);
		if (worst_ms <= config->failover_budget_ms)
			continue;
		fprintf(stderr,
			"service %s: its probe times add up to %u ms, over failover_budget_ms = "
			"%u\n",
			service->name, worst_ms, config->failover_budget_ms);
		result = -EINVAL;
	}
	return result;
}

int gs_check_snapshot(const struct gs_config *config)
{
	char path[GS_PATH_MAX + 32];
	struct gs_snapshot *snapshot;
	struct gs_error error;
	int err, result = 0;

	if (config->geoip[0] && access(config->geoip, R_OK)) {
		fprintf(stderr, "geoip: %s: %s\n", config->geoip, strerror(errno));
		result = -EINVAL;
	}
	snprintf(path, sizeof(path), "%s/last-good.json", config->state_dir);
	err = gs_snapshot_load(path, &snapshot, &error);
	if (!err) {
		if (check_failover(config, snapshot))
			result = -EINVAL;
		gs_snapshot_free(snapshot);
	} else if (err != -ENOENT) {
		fprintf(stderr, "%s\n", error.text);
		result = -EINVAL;
	}
	if (!result)
		puts("the configuration is good");
	return result;
}
