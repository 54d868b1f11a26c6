// SPDX-License-Identifier: Apache-2.0
/* What all edges say of each region, as this edge has heard it. Asks geostreamd. */
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <string.h>

static void print_vote(const json_t *vote)
{
	bool fresh = json_is_true(json_object_get(vote, "fresh"));
	const char *site = gs_ctl_text(vote, "site");

	gs_ctl_printf("  %-20s %-12s ", gs_ctl_text(vote, "edge"), *site ? site : "-");
	gs_ctl_print_state(gs_ctl_text(vote, "vote"), 8);
	gs_ctl_printf("%.1f s%s\n", (double)gs_ctl_number(vote, "age_ms") / 1000,
		      fresh ? "" : "  stale: does not count");
}

static void print_state(const json_t *row)
{
	const char *service = gs_ctl_text(row, "service");
	const json_t *vote;
	size_t i;

	gs_ctl_printf("%s%s%s  ", gs_ctl_text(row, "region"), *service ? " for " : "", service);
	gs_ctl_print_state(gs_ctl_text(row, "global"), 5);
	gs_ctl_printf("%s", gs_ctl_text(row, "why"));
	if (json_object_get(row, "since_s"))
		gs_ctl_printf(", for %lld s", gs_ctl_number(row, "since_s"));
	gs_ctl_printf("\n");
	json_array_foreach (json_object_get(row, "votes"), i, vote)
		print_vote(vote);
}

static void print_votes(const json_t *reply)
{
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(reply, "edges"), i, row)
		if (*gs_ctl_text(row, "self_why"))
			gs_ctl_printf("%s does not trust what it sees: %s\n",
				      gs_ctl_text(row, "edge"), gs_ctl_text(row, "self_why"));
	if (!json_is_true(json_object_get(reply, "database")))
		gs_ctl_printf("the database is away: only this edge's own votes count\n");
	json_array_foreach (json_object_get(reply, "votes"), i, row)
		print_state(row);
}

static int vote_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	json_t *request;

	if (argc > 1)
		return gs_ctl_usage("vote", "list", "unexpected \"%s\"", argv[1]);
	request = json_pack("{s:s}", "command", "vote.list");
	if (argc == 1 && json_object_set_new(request, "region", json_string(argv[0]))) {
		json_decref(request);
		return gs_ctl_fail("the region's name is no UTF-8 text");
	}
	return gs_ctl_show(ctl, request, print_votes);
}

const struct gs_ctl_command gs_ctl_votes_commands[] = {
	{"vote", "list", "[REGION]",
	 "what each edge says of each region, and what all of them come to", vote_list},
	{NULL, NULL, NULL, NULL, NULL},
};
