/* SPDX-License-Identifier: Apache-2.0 */
/* New flows, by what people ask for. Never a client's address. */
#include "api.h"

#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <stdlib.h>
#include <string.h>

static json_t *location_json(const struct gs_reconcile_state *state,
			     const struct gs_demand_row *row)
{
	const struct gs_location *location = &state->tables->locations[row->key];
	json_t *json = gs_api_location((uint16_t)row->key, location);
	const struct gs_region *region =
		gs_snapshot_region(state->snapshot, location->override_region);

	if (region)
		json_object_set_new(json, "override", json_string(region->name));
	return json;
}

static json_t *region_json(const struct gs_reconcile_state *state, gs_id id)
{
	const struct gs_region *region = gs_snapshot_region(state->snapshot, id);

	return region ? json_string(region->name) : json_null();
}

/* NULL: the configuration has no such policy. */
static json_t *row_json(const struct gs_reconcile_state *state, enum gs_demand_by by,
			const struct gs_demand_row *row)
{
	const struct gs_policy *policy = gs_snapshot_policy(state->snapshot, row->policy);
	char country[3];
	json_t *json;

	if (!policy || !state->tables)
		return NULL;
	json = json_pack("{s:s}", "policy", policy->name);
	if (by == GS_DEMAND_BY_LOCATION)
		json_object_set_new(json, "location", location_json(state, row));
	if (by == GS_DEMAND_BY_LOCATION)
		json_object_set_new(json, "region", region_json(state, row->region));
	if (by == GS_DEMAND_BY_REGION)
		json_object_set_new(json, "region", region_json(state, (gs_id)row->key));
	if (by == GS_DEMAND_BY_COUNTRY)
		json_object_set_new(json, "country",
				    json_string(gs_demand_country_name(row->key, country)));
	json_object_set_new(json, "flows", json_integer((json_int_t)row->flows));
	json_object_set_new(json, "per_second_1m", json_real(row->per_second[GS_DEMAND_MINUTE]));
	json_object_set_new(json, "per_second_5m",
			    json_real(row->per_second[GS_DEMAND_FIVE_MINUTES]));
	return json;
}

json_t *gs_api_demand(const struct gs_api *api, const struct gs_demand_query *query,
		      uint32_t offset, uint32_t limit)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	struct gs_demand_top top = {
		.room = offset + (limit < GS_API_DEMAND_ROWS ? limit : GS_API_DEMAND_ROWS)};
	GS_AUTO_FREE struct gs_demand_row *rows = calloc(top.room + 1u, sizeof(*rows));
	json_t *list = json_array();

	top.rows = rows;
	if (!rows) {
		json_decref(list);
		return gs_api_error("out of memory");
	}
	if (api->demand && state->snapshot && state->tables)
		gs_demand_read(api->demand, query, &top);
	gs_demand_top_sort(&top);
	for (uint32_t i = offset; i < top.count; i++) {
		json_t *json = row_json(state, query->by, &rows[i]);

		if (json)
			json_array_append_new(list, json);
	}
	return json_pack("{s:s, s:I, s:I, s:o}", "by", gs_demand_by_name(query->by), "total",
			 (json_int_t)top.offered, "uncounted",
			 api->demand ? (json_int_t)gs_demand_uncounted(api->demand) : 0, "demand",
			 list);
}

const char *gs_api_demand_query(const struct gs_api *api, const char *policy, const char *by,
				struct gs_demand_query *ret_query)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	struct gs_demand_query query = {.by = GS_DEMAND_BY_LOCATION};
	const struct gs_policy *found;

	if (by) {
		for (query.by = 0; query.by < GS_DEMAND_BY__COUNT; query.by++)
			if (strcmp(gs_demand_by_name(query.by), by) == 0)
				break;
		if (query.by == GS_DEMAND_BY__COUNT)
			return "by";
	}
	if (policy) {
		found = state->snapshot ? gs_snapshot_policy_named(state->snapshot, policy) : NULL;
		if (!found)
			return "policy";
		query.policy = found->id;
	}
	*ret_query = query;
	return NULL;
}

json_t *gs_api_demand_list(const struct gs_api *api, const json_t *request)
{
	const json_t *policy = json_object_get(request, "policy");
	const json_t *by = json_object_get(request, "by");
	const json_t *limit = json_object_get(request, "limit");
	json_int_t rows = limit ? json_integer_value(limit) : GS_API_DEMAND;
	struct gs_demand_query query;
	const char *wrong;

	if ((limit && !json_is_integer(limit)) || rows < 0 || rows > GS_API_DEMAND_MAX)
		return gs_api_error("limit: is no whole number of 0 to %d", GS_API_DEMAND_MAX);
	if ((policy && !json_is_string(policy)) || (by && !json_is_string(by)))
		return gs_api_error("%s: is no text",
				    policy && !json_is_string(policy) ? "policy" : "by");
	wrong = gs_api_demand_query(api, json_string_value(policy), json_string_value(by), &query);
	if (!wrong)
		return gs_api_demand(api, &query, 0, (uint32_t)rows);
	if (strcmp(wrong, "policy") == 0)
		return gs_api_error("policy: there is no '%.64s'", json_string_value(policy));
	return gs_api_error("by: '%.64s' is none of policy, location, region, country",
			    json_string_value(by));
}
