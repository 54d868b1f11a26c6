// SPDX-License-Identifier: Apache-2.0
/* What clients see of each region: sampled handshakes, as the daemon has them. */
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <string.h>

static double number_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

static void print_trip(const json_t *row)
{
	gs_ctl_printf("%-16s %8lld  p50 %.3f ms  p90 %.3f ms  p99 %.3f ms\n",
		      gs_ctl_text(row, "region"), gs_ctl_number(row, "count"),
		      number_of(row, "p50_ms"), number_of(row, "p90_ms"), number_of(row, "p99_ms"));
}

static void print_location(const json_t *location)
{
	const char *country = gs_ctl_text(location, "country");
	const char *subdivision = gs_ctl_text(location, "subdivision");
	const char *override = gs_ctl_text(location, "override");
	char text[64];

	if (*override)
		snprintf(text, sizeof(text), "override %s", override);
	else if (!gs_ctl_number(location, "id"))
		snprintf(text, sizeof(text), "unknown");
	else
		snprintf(text, sizeof(text), "%s%s%s #%lld", *country ? country : "??",
			 *subdivision ? "-" : "", subdivision, gs_ctl_number(location, "id"));
	gs_ctl_printf("%-20s ", text);
}

static void print_all(const json_t *reply)
{
	json_int_t one_in = gs_ctl_number(reply, "one_in");
	const json_t *row;
	size_t i;

	if (one_in)
		gs_ctl_printf("one new TCP flow in %lld is watched\n", one_in);
	else
		gs_ctl_printf("no new flows are watched\n");
	json_array_foreach (json_object_get(reply, "regions"), i, row) {
		gs_ctl_printf("service  %-20s ", gs_ctl_text(row, "service"));
		print_trip(row);
	}
	json_array_foreach (json_object_get(reply, "locations"), i, row) {
		gs_ctl_printf("location ");
		print_location(json_object_get(row, "location"));
		print_trip(row);
	}
	json_array_foreach (json_object_get(reply, "backends"), i, row)
		gs_ctl_printf("backend  %-20s %-16s %8lld SYNs, %lld repeated (%.1f %%), %lld "
			      "reset, %lld measured, %lld lost\n",
			      gs_ctl_text(row, "backend"), gs_ctl_text(row, "region"),
			      gs_ctl_number(row, "opened"), gs_ctl_number(row, "repeated"),
			      100 * number_of(row, "repeated_share"), gs_ctl_number(row, "resets"),
			      gs_ctl_number(row, "measured"), gs_ctl_number(row, "lost"));
}

static int handshake_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "command", "handshake.list");
	uint64_t limit;

	if (argc > 0) {
		if (strcmp(argv[0], "--limit") != 0 || argc != 2 ||
		    !gs_ctl_digits(argv[1], &limit)) {
			json_decref(request);
			return gs_ctl_usage("handshake", "list", "unexpected \"%s\"",
					    argv[argc - 1]);
		}
		json_object_set_new(request, "limit", json_integer((json_int_t)limit));
	}
	return gs_ctl_show(ctl, request, print_all);
}

const struct gs_ctl_command gs_ctl_handshake_commands[] = {
	{"handshake", "list", "[--limit N]",
	 "round trips clients see, SYNs of backends (N: locations, backends)", handshake_list},
	{NULL, NULL, NULL, NULL, NULL},
};
