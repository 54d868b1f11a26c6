/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "snapshot_io.h"
#include "user/core/health.h"
#include "user/core/override.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_problem(void *context, const char *place, const char *text)
{
	(void)context;
	fprintf(stderr, "%s: %s\n", place, text);
}

static const char USAGE[] =
	"usage: geostreamd [-c FILE] [-o KEY=VALUE]... [--check]\n"
	"  -c, --config FILE    settings (default " GS_CONFIG_PATH_DEFAULT ")\n"
	"  -o, --set KEY=VALUE  one setting; wins over GEOSTREAM_KEY and the file\n"
	"      --check          say what is wrong with the settings; exit 1 if anything is\n"
	"  -V, --version\n"
	"  -h, --help\n"
	"Runs in the foreground. SIGHUP: settings, GeoIP and ASN files again. SIGTERM: ends; the data\n"
	"plane forwards on.\n";

static int usage(FILE *out, int exit_code)
{
	fputs(USAGE, out);
	return exit_code;
}

int gs_check_arguments(int argc, char **argv, struct gs_arguments *ret_arguments)
{
	static const struct option OPTIONS[] = {
		{"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 'o'},
		{"check", no_argument, NULL, 'k'},	  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	  {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:o:Vh", OPTIONS, NULL)) != -1) {
		if (option == 'c')
			ret_arguments->config_path = optarg;
		else if (option == 'o' && ret_arguments->set_count < GS_SETS_MAX)
			ret_arguments->sets[ret_arguments->set_count++] = optarg;
		else if (option == 'k')
			ret_arguments->only_check = true;
		else if (option == 'V')
			return puts("geostreamd " GS_VERSION) < 0;
		else if (option == 'h')
			return usage(stdout, 0);
		else
			return usage(stderr, 2);
	}
	return optind == argc ? -1 : usage(stderr, 2);
}

int gs_check_config(const struct gs_arguments *arguments, struct gs_config *ret_config)
{
	const struct gs_config_problems problems = {.on_problem = print_problem};
	const char *path = arguments->config_path;
	int result = 0;

	gs_config_default(ret_config);
	if (!path)
		path = getenv("GEOSTREAM_CONFIG");
	if (!path && access(GS_CONFIG_PATH_DEFAULT, F_OK) == 0)
		path = GS_CONFIG_PATH_DEFAULT;
	if (!path && arguments->only_check)
		puts("no configuration file: " GS_CONFIG_PATH_DEFAULT " is not there");
	if (path && gs_config_read_file(ret_config, path, &problems))
		result = -EINVAL;
	if (gs_config_read_environment(ret_config, &problems))
		result = -EINVAL;
	for (int i = 0; i < arguments->set_count; i++)
		if (gs_config_set(ret_config, arguments->sets[i], "--set", &problems))
			result = -EINVAL;
	return result;
}

static int check_failover(const struct gs_config *config, const struct gs_snapshot *snapshot)
{
	int result = 0;

	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];
		uint32_t budget_ms = service->failover_budget_ms ? service->failover_budget_ms
								 : config->failover_budget_ms;
		uint32_t bound_ms;

		if (service->probe.kind == GS_PROBE_NONE)
			continue;
		bound_ms = gs_health_failover_bound_ms(&service->probe);
		printf("service %s: a silent backend is left after at most %u ms (budget %u ms)\n",
		       service->name, bound_ms, budget_ms);
		if (bound_ms <= budget_ms)
			continue;
		fprintf(stderr,
			"service %s: its probe times add up to %u ms, over failover_budget_ms = "
			"%u\n",
			service->name, bound_ms, budget_ms);
		result = -EINVAL;
	}
	return result;
}

static int check_geoip(const char *path, const struct gs_geodb *geodb)
{
	struct gs_geodata *geo;
	struct gs_error error;
	uint32_t count;

	if (!path[0])
		return 0;
	if (geodb->ops->load(geodb->self, path, NULL, &geo, &error)) {
		fprintf(stderr, "geoip: %s\n", error.text);
		return -EINVAL;
	}
	count = geo->location_count;
	geodb->ops->release(geodb->self, geo);
	if (count <= 1) {
		fprintf(stderr,
			"geoip: %s: no record names a country, a continent or coordinates\n", path);
		return -EINVAL;
	}
	printf("geoip %s: %u locations\n", path, count - 1);
	return 0;
}

static int check_asn(const char *path, const struct gs_geodb *geodb)
{
	struct gs_asndata *asn;
	struct gs_error error;

	if (!path[0])
		return 0;
	if (geodb->ops->load_asn(geodb->self, path, NULL, &asn, &error)) {
		fprintf(stderr, "asn: %s\n", error.text);
		return -EINVAL;
	}
	printf("asn %s: %lu networks\n", path,
	       (unsigned long)(asn->v4.networks + asn->v6.networks));
	geodb->ops->release_asn(geodb->self, asn);
	return 0;
}

/* Not a reason to fail: the rest of the configuration is in force without. */
static void warn_of_systems(const struct gs_config *config, const struct gs_snapshot *snapshot)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < snapshot->override_count; i++)
		count += gs_override_of(&snapshot->overrides[i]) == GS_OVERRIDE_OF_ASN;
	if (count && !config->asn[0])
		fprintf(stderr,
			"asn: is empty: nobody is under the overrides of autonomous systems (%u)\n",
			count);
}

int gs_check_files(const struct gs_config *config, const struct gs_geodb *geodb)
{
	char path[GS_PATH_MAX + 32];
	struct gs_snapshot *snapshot;
	struct gs_error error;
	int err, result;

	result = check_geoip(config->geoip, geodb);
	if (check_asn(config->asn, geodb))
		result = -EINVAL;
	snprintf(path, sizeof(path), "%s/last-good.json", config->state_dir);
	err = gs_snapshot_load(path, &snapshot, &error);
	if (!err) {
		if (check_failover(config, snapshot))
			result = -EINVAL;
		warn_of_systems(config, snapshot);
		gs_snapshot_free(snapshot);
	} else if (err != -ENOENT) {
		fprintf(stderr, "%s\n", error.text);
		result = -EINVAL;
	}
	return result;
}
