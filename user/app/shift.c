/* SPDX-License-Identifier: Apache-2.0 */
#include "shift.h"

#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More pairs of regions than this are possible; those that come late are summed up, not listed. */
enum { ROOM = 256 };

/* Where the service's plan sends the client if everything is usable; "": nowhere. */
static const char *region_of(const struct gs_tables *tables, const char *service_name,
			     const struct gs_prefix *client)
{
	const struct gs_service *service =
		gs_snapshot_service_named(tables->snapshot, service_name);
	bool usable[GS_PLAN_REGIONS];
	const struct gs_region *region;
	const struct gs_plan *plan;
	int at;

	if (!service)
		return "";
	plan = gs_tables_plan(tables, service->id,
			      gs_tables_locate(tables, &client->addr, NULL, NULL));
	if (!plan)
		return "";
	memset(usable, true, sizeof(usable));
	at = gs_plan_pick(plan, usable, gs_tables_draw(tables, service, &client->addr));
	region = at >= 0 ? gs_snapshot_region(tables->snapshot, plan->region[at]) : NULL;
	return region ? region->name : "";
}

static void add_move(struct gs_shift_move *moves, uint32_t *count, const char *service,
		     const char *from, const char *to, double flows)
{
	for (uint32_t i = 0; i < *count; i++)
		if (strcmp(moves[i].service, service) == 0 && strcmp(moves[i].from, from) == 0 &&
		    strcmp(moves[i].to, to) == 0) {
			moves[i].flows += flows;
			return;
		}
	if (*count == ROOM)
		return;
	snprintf(moves[*count].service, GS_NAME_MAX, "%s", service);
	snprintf(moves[*count].from, GS_NAME_MAX, "%s", from);
	snprintf(moves[*count].to, GS_NAME_MAX, "%s", to);
	moves[(*count)++].flows = flows;
}

static int by_flows(const void *left, const void *right)
{
	const struct gs_shift_move *a = left, *b = right;

	return a->flows > b->flows ? -1 : a->flows < b->flows;
}

void gs_shift_judge(const struct gs_tables *before, const struct gs_tables *after,
		    const struct gs_client_count *clients, uint32_t count,
		    struct gs_shift *ret_shift)
{
	GS_AUTO_FREE struct gs_shift_move *moves = calloc(ROOM, sizeof(*moves));
	struct gs_shift shift = {.prefixes = count};
	uint32_t moved = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct gs_service *service =
			gs_snapshot_service(before->snapshot, clients[i].of.service);
		const char *from, *to;

		if (!service)
			continue;
		from = region_of(before, service->name, &clients[i].of.client);
		to = region_of(after, service->name, &clients[i].of.client);
		shift.flows += clients[i].flows;
		if (strcmp(from, to) == 0)
			continue;
		shift.moved += clients[i].flows;
		if (moves)
			add_move(moves, &moved, service->name, from, to, clients[i].flows);
	}
	if (moves && moved > 1)
		qsort(moves, moved, sizeof(*moves), by_flows);
	shift.move_count = moved < GS_SHIFT_MOVES ? moved : GS_SHIFT_MOVES;
	for (uint32_t i = 0; i < shift.move_count; i++)
		shift.moves[i] = moves[i];
	*ret_shift = shift;
}
