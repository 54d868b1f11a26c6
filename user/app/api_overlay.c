/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have laid over objects: shown, and on this edge alone made and taken back. */
#include "api.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct gs_overlay_set overlays_of(const struct gs_reconcile_state *state)
{
	return (struct gs_overlay_set){
		.shared = state->snapshot->overlays,
		.shared_count = state->snapshot->overlay_count,
		.local = state->local ? state->local->overlays : NULL,
		.local_count = state->local ? state->local->count : 0,
		.edge = state->edge ? state->edge : "",
		.unix_ms = gs_unix_ms() + state->clock_ahead_ms,
	};
}

static bool is_local(const struct gs_overlay_set *set, const struct gs_overlay *overlay)
{
	return set->local_count > 0 && overlay >= set->local &&
	       overlay < set->local + set->local_count;
}

void gs_api_add_overlay(json_t *json, const struct gs_reconcile_state *state,
			const struct gs_overlay *object)
{
	const struct gs_overlay_set set = overlays_of(state);
	const struct gs_overlay *found = gs_overlay_find(&set, object);

	if (!found)
		return;
	json_object_set_new(json, "configured", json_incref(json_object_get(json, "admin")));
	json_object_set_new(json, "admin", json_string(gs_admin_name(found->admin)));
	json_object_set_new(json, "overlay", gs_overlay_json(found, is_local(&set, found)));
}

void gs_api_add_panic(json_t *json, const struct gs_reconcile_state *state,
		      const struct gs_service *service)
{
	struct gs_panic_status status = gs_panics_get(state->panics, service->id);
	char text[GS_PANIC_TEXT_MAX];

	if (*gs_panic_text(state->snapshot, service, &status, text))
		json_object_set_new(json, "panic", json_string(text));
}

/* ---- lists ----------------------------------------------------------------------------------- */

static json_t *named_json(const struct gs_overlay_names *names, const struct gs_overlay *overlay,
			  bool own)
{
	json_t *json = gs_overlay_json(overlay, own);
	char name[GS_OVERLAY_NAME_MAX];

	json_object_set_new(json, "kind",
			    json_string(names->backend[0]   ? "backend"
					: names->service[0] ? "service"
							    : "region"));
	json_object_set_new(json, "name", json_string(gs_overlay_name(names, name)));
	return json;
}

json_t *gs_api_overlays(const struct gs_api *api)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	json_t *list = json_array();

	for (uint32_t i = 0; i < state->local->entry_count; i++)
		json_array_append_new(list, named_json(&state->local->entries[i].names,
						       &state->local->entries[i].overlay, true));
	for (uint32_t i = 0; state->snapshot && i < state->snapshot->overlay_count; i++) {
		const struct gs_overlay *overlay = &state->snapshot->overlays[i];
		const struct gs_overlay_names names = gs_overlay_names_of(state->snapshot, overlay);

		if (gs_overlay_holds(overlay, state->edge, gs_unix_ms() + state->clock_ahead_ms))
			json_array_append_new(list, named_json(&names, overlay, false));
	}
	return list;
}

json_t *gs_api_overlay_list(const struct gs_api *api, const json_t *request)
{
	(void)request;
	return json_pack("{s:s, s:o}", "edge", api->config->edge, "overlays", gs_api_overlays(api));
}

/* ---- changes on this edge -------------------------------------------------------------------- */

static double demand_of(const struct gs_api *api)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const struct gs_demand_query query = {.by = GS_DEMAND_BY_POLICY};
	struct gs_demand_row rows[GS_ID_MAX_POLICY + 1];
	struct gs_demand_top top = {.rows = rows, .room = GS_ID_MAX_POLICY + 1};
	double sum = 0;

	if (!api->demand || !state->snapshot || !state->tables)
		return -1;
	gs_demand_read(api->demand, &query, &top);
	for (uint32_t i = 0; i < top.count; i++)
		sum += rows[i].per_second[GS_DEMAND_MINUTE];
	return sum;
}

struct gs_overlay_names *gs_api_names(const struct gs_reconcile_state *state, const char *kind,
				      const json_t *list, uint32_t *ret_count, json_t **ret_error)
{
	const json_t *one;
	struct gs_overlay_names *names = calloc(GS_OVERLAYS_LOCAL_MAX, sizeof(*names));
	struct gs_error error = {""};
	uint32_t count = 0;
	int ret = 0;
	size_t i;

	if (!kind || (strcmp(kind, "region") != 0 && strcmp(kind, "service") != 0 &&
		      strcmp(kind, "backend") != 0))
		ret = gs_error_set(-EINVAL, &error, "kind: none of region, service and backend");
	else if (!names || !state->snapshot)
		ret = gs_error_set(-EAGAIN, &error, "there is no configuration yet");
	else if (json_array_size(list) == 0)
		ret = gs_error_set(-EINVAL, &error, "names: a list of names expected");
	json_array_foreach (list, i, one)
		if (ret == 0)
			ret = gs_overlay_expand(state->snapshot, kind,
						json_is_string(one) ? json_string_value(one) : "",
						names, GS_OVERLAYS_LOCAL_MAX, &count, &error);
	if (ret == 0) {
		*ret_count = count;
		return names;
	}
	free(names);
	*ret_error = gs_api_error("%s", error.text);
	return NULL;
}

static struct gs_overlay_names *read_names(const struct gs_reconcile_state *state,
					   const json_t *request, uint32_t *ret_count,
					   json_t **ret_error)
{
	return gs_api_names(state, json_string_value(json_object_get(request, "kind")),
			    json_object_get(request, "names"), ret_count, ret_error);
}

/* A text of the request, "" if it is not there. False: *ret_error. */
static bool read_text(const json_t *request, const char *key, char *out, size_t size,
		      json_t **ret_error)
{
	const json_t *value = json_object_get(request, key);
	const char *text = value ? json_string_value(value) : "";

	if (!text || !gs_text_is_valid(text, size - 1)) {
		*ret_error = gs_api_error("%s: no text of up to %zu bytes without control "
					  "characters",
					  key, size - 1);
		return false;
	}
	memcpy(out, text, strlen(text) + 1);
	return true;
}

/* All of what is to be laid but over what. False: *ret_error. */
static bool read_laying(const struct gs_api *api, const json_t *request,
			struct gs_reconcile_laying *laying, json_t **ret_error)
{
	const char *admin = json_string_value(json_object_get(request, "admin"));
	json_int_t seconds = json_integer_value(json_object_get(request, "seconds"));
	const json_t *demand = json_object_get(request, "demand");
	struct gs_overlay *overlay = &laying->overlay;

	if (!admin || gs_admin_parse(admin, &overlay->admin) != 0) {
		*ret_error = gs_api_error("admin: none of auto, force_up, drain, maintenance and "
					  "force_down");
		return false;
	}
	if (seconds < 1 || seconds > GS_OVERLAY_SECONDS_MAX) {
		*ret_error = gs_api_error("seconds: not 1 to %d: on one edge alone everything "
					  "expires",
					  GS_OVERLAY_SECONDS_MAX);
		return false;
	}
	laying->seconds = (uint32_t)seconds;
	laying->is_forced = json_is_true(json_object_get(request, "force"));
	laying->demand = json_is_number(demand) ? json_number_value(demand) : demand_of(api);
	return read_text(request, "reason", overlay->reason, sizeof(overlay->reason), ret_error) &&
	       read_text(request, "actor", overlay->actor, sizeof(overlay->actor), ret_error) &&
	       read_text(request, "ticket", overlay->ticket, sizeof(overlay->ticket), ret_error);
}

json_t *gs_api_overlay_lay(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	struct gs_reconcile_laying laying = {.seconds = 0};
	GS_AUTO_FREE struct gs_overlay_names *names = NULL;
	struct gs_error error = {""};
	json_t *refused = NULL;
	uint32_t count = 0;

	if (!read_laying(api, request, &laying, &refused))
		return refused;
	names = read_names(state, request, &count, &refused);
	if (!names)
		return refused;
	if (gs_reconcile_lay(api->reconcile, names, count, &laying, &error) != 0)
		return gs_api_error("%s", error.text);
	return gs_api_overlay_list(api, request);
}

json_t *gs_api_overlay_lift(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const char *actor = json_string_value(json_object_get(request, "actor"));
	GS_AUTO_FREE struct gs_overlay_names *names = NULL;
	struct gs_error error = {""};
	json_t *refused = NULL;
	uint32_t count = 0, lifted = 0;

	names = read_names(state, request, &count, &refused);
	if (!names)
		return refused;
	if (gs_reconcile_lift(api->reconcile, names, count, actor ? actor : "", &lifted, &error) !=
	    0)
		return gs_api_error("%s", error.text);
	if (lifted == 0)
		return gs_api_error("nothing is laid over it on this edge alone");
	return gs_api_overlay_list(api, request);
}
