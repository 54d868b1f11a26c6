// SPDX-License-Identifier: Apache-2.0
/* Round trips that all edges rank by, as the daemon has them. */
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <string.h>

/* What some clients still go by. */
static void print_before(const json_t *row, bool is_trip)
{
	const json_t *before = json_object_get(row, "before_ms");

	if (!before)
		return;
	gs_ctl_printf("; %lld %% of clients go by it, the others by ",
		      gs_ctl_number(row, "moved_percent"));
	if (json_is_null(before))
		gs_ctl_printf("what was without it");
	else
		gs_ctl_printf("%s%.1f ms", is_trip ? "" : "+", json_number_value(before));
}

static void print_row(const json_t *row)
{
	const json_t *trip = json_object_get(row, "round_trip_ms");
	const json_t *more = json_object_get(row, "more_ms");
	const json_t *now = json_object_get(row, "now_ms");

	gs_ctl_printf("%-22s %-16s ", gs_ctl_text(row, "place"), gs_ctl_text(row, "region"));
	if (json_is_null(trip ? trip : more))
		gs_ctl_printf("%13s", "withdrawn");
	else
		gs_ctl_printf("%s%9.1f ms", trip ? " " : "+",
			      json_number_value(trip ? trip : more));
	gs_ctl_printf(" %8lld samples, %lld s ago", gs_ctl_number(row, "samples"),
		      gs_ctl_number(row, "age_s"));
	print_before(row, trip != NULL);
	if (now)
		gs_ctl_printf("; now %s%.1f ms, %s", trip ? "" : "+", json_number_value(now),
			      gs_ctl_text(row, "judged"));
	putchar('\n');
}

static void print_all(const json_t *reply)
{
	const json_t *list = json_object_get(reply, "latencies"), *row;
	size_t i;

	if (json_is_true(json_object_get(reply, "judge")))
		gs_ctl_printf("this edge judges, every %.1f s\n",
			      (double)gs_ctl_number(reply, "period_ms") / 1000);
	if (gs_ctl_number(reply, "probed") > 0)
		gs_ctl_printf("this edge's probes tell of %lld regions\n",
			      gs_ctl_number(reply, "probed"));
	if (!json_is_true(json_object_get(reply, "connected")) && json_array_size(list) > 0)
		gs_ctl_printf("the database is away: the last of these is %lld s old\n",
			      gs_ctl_number(reply, "newest_s"));
	json_array_foreach (list, i, row)
		print_row(row);
	if (gs_ctl_number(reply, "total") > (json_int_t)json_array_size(list))
		gs_ctl_printf("%zu of %lld\n", json_array_size(list),
			      gs_ctl_number(reply, "total"));
	else if (json_array_size(list) == 0)
		gs_ctl_printf("nothing is published: distance decides\n");
}

static int latency_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	static const char *const options[] = {"--limit"};
	json_t *request = json_pack("{s:s}", "command", "latency.list");

	for (int i = 0; i < argc; i++) {
		uint64_t limit;

		if (strcmp(argv[i], options[0]) == 0 && i + 1 < argc &&
		    gs_ctl_digits(argv[i + 1], &limit)) {
			json_object_set_new(request, "limit", json_integer((json_int_t)limit));
			i++;
		} else if (argv[i][0] != '-' && !json_object_get(request, "place")) {
			json_object_set_new(request, "place", json_string(argv[i]));
		} else {
			json_decref(request);
			return gs_ctl_unexpected("latency", "list", argv[i], options,
						 ARRAY_SIZE(options));
		}
	}
	return gs_ctl_show(ctl, request, print_all);
}

const struct gs_ctl_command gs_ctl_latency_commands[] = {
	{"latency", "list", "[PLACE] [--limit N]",
	 "round trips regions are ranked by: of cells, and what larger places need more than "
	 "distance",
	 latency_list},
	{NULL, NULL, NULL, NULL, NULL},
};
