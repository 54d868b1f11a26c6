/* SPDX-License-Identifier: Apache-2.0 */
/* How full regions are, and who leaves them. */
#include "api_capacity.h"

#include "api.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <string.h>

/* ---- all of it ------------------------------------------------------------------------------- */

static json_t *region_json(const struct gs_region *region, const struct gs_capacity_status *status)
{
	json_t *json = json_pack(
		"{s:s, s:o, s:i, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "region",
		region->name, "capacity",
		status->capacity ? json_integer((json_int_t)status->capacity) : json_null(),
		"target_percent", (int)status->target, "up", status->is_up, "demand",
		status->demand, "demand_here", status->here, "kept", status->kept, "taken",
		status->taken, "shed", status->shed, "away_percent", status->away_percent,
		"away_goal_percent", status->away_goal_percent, "room_percent",
		status->room_percent, "spare_percent", status->spare_percent, "shed_priority",
		status->shed_priority);

	if (status->capacity)
		json_object_set_new(
			json, "load_percent",
			json_real((status->kept + status->taken) * 100 / (double)status->capacity));
	return json;
}

json_t *gs_api_capacity_list(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	int64_t heard_ms = api->capacity ? gs_capacity_heard_ms_ago(api->capacity) : -1;
	json_t *list = json_array();

	(void)request;
	for (uint32_t i = 0; api->capacity && state->snapshot && i < state->snapshot->region_count;
	     i++) {
		struct gs_capacity_status status;

		if (gs_capacity_get(api->capacity, state->snapshot->regions[i].id, &status))
			json_array_append_new(list,
					      region_json(&state->snapshot->regions[i], &status));
	}
	return json_pack("{s:i, s:o, s:o}", "other_edges",
			 api->capacity ? (int)gs_capacity_edges(api->capacity) : 0, "heard_ms_ago",
			 heard_ms < 0 ? json_null() : json_integer((json_int_t)heard_ms),
			 "capacity", list);
}

/* ---- one client ------------------------------------------------------------------------------ */

int gs_api_pick_filled(struct gs_api_filled *filled)
{
	const struct gs_fill *words = gs_capacity_fill(filled->capacity);
	struct gs_fill fill[GS_PLAN_REGIONS];

	for (uint8_t i = 0; words && i < filled->plan->count; i++)
		fill[i] = words[filled->plan->region[i]];
	filled->home = gs_plan_home(filled->plan, filled->draw);
	return gs_plan_pick_filled(filled->plan, filled->usable, words ? fill : NULL,
				   filled->priority, filled->draw, &filled->way);
}

static const char *name_of(const struct gs_api_filled *filled, int at)
{
	const struct gs_region *region =
		at < 0 ? NULL : gs_snapshot_region(filled->snapshot, filled->plan->region[at]);

	return region ? region->name : "?";
}

bool gs_api_filled_why(const struct gs_api_filled *filled, char *out, size_t room)
{
	const char *home = name_of(filled, filled->home);

	if (filled->way == GS_WAY_SHED)
		snprintf(out, room, "%s and all it could go to are full: shed, of priority %u",
			 home, filled->priority);
	else if (filled->way == GS_WAY_ROOM)
		snprintf(out, room, "%s is full: drawn by headroom from the others", home);
	else
		return false;
	return true;
}

/* "us 60 %, ap 40 %": where clients who leave go, of the plan's usable regions. */
static void shares_text(const struct gs_api_filled *filled, const struct gs_fill *words, char *out,
			size_t room)
{
	size_t length = 0;
	double total = 0;

	out[0] = '\0';
	for (int i = 0; i < filled->plan->count; i++)
		if (i != filled->home && filled->usable[i])
			total += words[filled->plan->region[i]].room;
	for (int i = 0; i < filled->plan->count && length < room; i++) {
		uint16_t weight = words[filled->plan->region[i]].room;

		if (i != filled->home && filled->usable[i] && weight)
			length += (size_t)snprintf(out + length, room - length, "%s%s %.0f %%",
						   length ? ", " : "", name_of(filled, i),
						   weight * 100 / total);
	}
}

static void say(const struct gs_api_filled *filled, const struct gs_capacity_status *status,
		const char *shares, char *out, size_t room)
{
	const char *home = name_of(filled, filled->home);
	double shed = gs_capacity_shed_share(status->shed_priority, filled->priority) * 100;
	size_t length;

	out[0] = '\0';
	if (shed > 0)
		snprintf(out, room, "shed: %.1f %% of %s's clients of priority %u; ", shed, home,
			 filled->priority);
	length = strlen(out);
	if (status->away_percent <= 0)
		snprintf(out + length, room - length, "%s keeps the others", home);
	else if (!status->is_up)
		snprintf(out + length, room - length,
			 "%s is not up: its clients go elsewhere by headroom%s%s", home,
			 *shares ? ": " : "", shares);
	else
		snprintf(
			out + length, room - length,
			"%s is filled to %u %%: %.1f %% of its clients go elsewhere by headroom%s%s",
			home, status->target, status->away_percent,
			*shares ? ": " : ", but nobody has room", shares);
}

void gs_api_add_filled(json_t *json, const struct gs_api_filled *filled)
{
	const struct gs_fill *words = gs_capacity_fill(filled->capacity);
	struct gs_capacity_status status;
	char shares[512], text[1024];

	if (!words || filled->home < 0 ||
	    !gs_capacity_get(filled->capacity, filled->plan->region[filled->home], &status) ||
	    (status.away_percent <= 0 && status.shed_priority <= 0))
		return;
	shares_text(filled, words, shares, sizeof(shares));
	say(filled, &status, shares, text, sizeof(text));
	json_object_set_new(
		json, "capacity",
		json_pack("{s:s, s:f, s:i, s:f, s:s}", "region", name_of(filled, filled->home),
			  "away_percent", status.away_percent, "target_percent", (int)status.target,
			  "shed_percent",
			  gs_capacity_shed_share(status.shed_priority, filled->priority) * 100,
			  "why", text));
}
