// SPDX-License-Identifier: Apache-2.0
/* New flows by policy and location, as the daemon counts them. */
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <string.h>

/* GS_CTL_DONE, and the request has what is asked for. */
static int take_options(int argc, char **argv, json_t *request)
{
	static const char *const options[] = {"--policy", "--by", "--limit"};

	for (int i = 0; i < argc; i += 2) {
		uint64_t limit;
		size_t option = 0;

		while (option < ARRAY_SIZE(options) && strcmp(options[option], argv[i]) != 0)
			option++;
		if (option == ARRAY_SIZE(options))
			return gs_ctl_unexpected("demand", "list", argv[i], options,
						 ARRAY_SIZE(options));
		if (i + 1 >= argc)
			return gs_ctl_usage("demand", "list", "%s: a value expected", argv[i]);
		if (strcmp(argv[i], "--limit") != 0)
			json_object_set_new(request, argv[i] + 2, json_string(argv[i + 1]));
		else if (gs_ctl_digits(argv[i + 1], &limit))
			json_object_set_new(request, "limit", json_integer((json_int_t)limit));
		else
			return gs_ctl_usage("demand", "list", "--limit: \"%s\" is no number",
					    argv[i + 1]);
	}
	return GS_CTL_DONE;
}

static const char *or_unknown(const char *text)
{
	return *text ? text : "unknown";
}

static void location_text(const json_t *location, char *out, size_t room)
{
	const char *country = gs_ctl_text(location, "country");
	const char *subdivision = gs_ctl_text(location, "subdivision");
	const char *override = gs_ctl_text(location, "override");

	if (*override)
		snprintf(out, room, "override %s", override);
	else if (!gs_ctl_number(location, "id"))
		snprintf(out, room, "unknown");
	else
		snprintf(out, room, "%s%s%s #%lld", *country ? country : "??",
			 *subdivision ? "-" : "", subdivision, gs_ctl_number(location, "id"));
}

static double number_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

static void print_row(const json_t *row)
{
	const json_t *location = json_object_get(row, "location");
	const char *region = gs_ctl_text(row, "region");
	char of[96] = "";

	if (location)
		location_text(location, of, sizeof(of));
	else if (json_object_get(row, "country"))
		snprintf(of, sizeof(of), "%s", or_unknown(gs_ctl_text(row, "country")));
	gs_ctl_printf("%-20s %-20s %-16s %12lld %12.3f %12.3f\n", gs_ctl_text(row, "policy"),
		      *of ? of : "-",
		      json_object_get(row, "region") ? *region ? region : "none" : "-",
		      gs_ctl_number(row, "flows"), number_of(row, "per_second_1m"),
		      number_of(row, "per_second_5m"));
}

static void print_all(const json_t *reply)
{
	const json_t *rows = json_object_get(reply, "demand"), *row;
	json_int_t more = gs_ctl_number(reply, "total") - (json_int_t)json_array_size(rows);
	size_t i;

	gs_ctl_printf("%-20s %-20s %-16s %12s %12s %12s\n", "policy",
		      strcmp(gs_ctl_text(reply, "by"), "country") == 0 ? "country" : "location",
		      "region first", "new flows", "a s (1 min)", "a s (5 min)");
	json_array_foreach (rows, i, row)
		print_row(row);
	if (more > 0)
		gs_ctl_printf("%lld more; --limit N shows them\n", more);
	if (gs_ctl_number(reply, "uncounted"))
		gs_ctl_printf("%lld pairs of policy and location are not counted: there are too "
			      "many\n",
			      gs_ctl_number(reply, "uncounted"));
}

static int demand_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "command", "demand.list");
	int result = take_options(argc, argv, request);

	if (result) {
		json_decref(request);
		return result;
	}
	return gs_ctl_show(ctl, request, print_all);
}

const struct gs_ctl_command gs_ctl_demand_commands[] = {
	{"demand", "list", "[--policy NAME] [--by policy|location|region|country] [--limit N]",
	 "new flows, in all and a second, the busiest first", demand_list},
	{NULL, NULL, NULL, NULL, NULL},
};
