// SPDX-License-Identifier: Apache-2.0
/* How full regions are, as the daemon fills them. */
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <string.h>

static double number_of(const json_t *row, const char *key)
{
	return json_number_value(json_object_get(row, key));
}

static void print_region(const json_t *row)
{
	gs_ctl_printf("%-16s ", gs_ctl_text(row, "region"));
	if (json_is_integer(json_object_get(row, "capacity")))
		gs_ctl_printf("%9lld %5lld %% %6.1f %%", gs_ctl_number(row, "capacity"),
			      gs_ctl_number(row, "target_percent"), number_of(row, "load_percent"));
	else
		gs_ctl_printf("%9s %7s %8s", "-", "-", "-");
	gs_ctl_printf(" %10.1f %10.1f %10.1f %9.1f %6.1f %% %6.1f %%%s\n", number_of(row, "demand"),
		      number_of(row, "kept"), number_of(row, "taken"), number_of(row, "shed"),
		      number_of(row, "away_percent"), number_of(row, "room_percent"),
		      json_is_true(json_object_get(row, "up")) ? "" : "  not up here");
}

static void print_all(const json_t *reply)
{
	const json_t *rows = json_object_get(reply, "capacity"), *heard, *row;
	size_t i;

	if (json_array_size(rows) == 0) {
		puts("no region states its capacity");
		return;
	}
	gs_ctl_printf("%-16s %9s %7s %8s %10s %10s %10s %9s %8s %8s\n", "region", "capacity",
		      "target", "load", "demand", "kept", "taken", "shed", "away", "room");
	json_array_foreach (rows, i, row)
		print_region(row);
	heard = json_object_get(reply, "heard_ms_ago");
	if (json_is_integer(heard))
		gs_ctl_printf(
			"new flows a second, of this edge and %lld more, as told %.1f s ago\n",
			gs_ctl_number(reply, "other_edges"),
			(double)json_integer_value(heard) / 1000);
	else
		puts("new flows a second, of this edge alone: nothing was heard of others");
}

static int capacity_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	if (argc > 0)
		return gs_ctl_unexpected("capacity", "list", argv[0], NULL, 0);
	return gs_ctl_show(ctl, json_pack("{s:s}", "command", "capacity.list"), print_all);
}

const struct gs_ctl_command gs_ctl_capacity_commands[] = {
	{"capacity", "list", "", "how full the regions are, who leaves them and who is shed",
	 capacity_list},
	{NULL, NULL, NULL, NULL, NULL},
};
