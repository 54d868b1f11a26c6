/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include "user/core/snapshot.h"

#include <stdio.h>
#include <time.h>

static json_t *force_json(const struct gs_force *force)
{
	time_t expires_s = (time_t)(force->expires_unix_ms / 1000);
	struct tm utc;
	char text[32];

	gmtime_r(&expires_s, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_pack("{s:s, s:s, s:s, s:s}", "state", force->open ? "open" : "closed",
			 "expires", text, "reason", force->reason, "actor", force->actor);
}

/* What the pool takes of new flows now: the word that is in force, not what the breaker asks for.
 */
static void add_word(json_t *json, const struct gs_api *api,
		     const struct gs_breakers_status *status)
{
	const struct gs_dataplane *dataplane = api->dataplane;
	struct gs_usable word = dataplane->ops->get_usable(
		dataplane->self, GS_OBJECT_POOL, gs_pool_index(status->service, status->region));

	json_object_set_new(json, "pool", json_string(gs_usable_name(word)));
	if (status->permit.kind == GS_PERMIT_TRIALS) {
		json_object_set_new(json, "trials", json_integer(status->permit.trials));
		json_object_set_new(json, "trials_left", json_integer(word.trials));
		json_object_set_new(json, "trials_out", json_integer(status->leases));
		json_object_set_new(json, "trials_completed", json_integer(status->completed));
		json_object_set_new(json, "trials_returned", json_integer(status->returned));
	}
	if (status->permit.kind == GS_PERMIT_SHARE)
		json_object_set_new(
			json, "accept_percent",
			json_integer((status->permit.accept * 100 + UINT16_MAX / 2) / UINT16_MAX));
}

json_t *gs_api_breaker(const struct gs_api *api, const struct gs_breakers_status *status)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const struct gs_service *service = gs_snapshot_service(state->snapshot, status->service);
	const struct gs_region *region = gs_snapshot_region(state->snapshot, status->region);
	uint64_t now_ms = gs_loop_now_ms(api->loop);
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:s}", "service",
		service ? service->name : "?", "region", region ? region->name : "?", "state",
		gs_breaker_state_name(status->state), "since_s",
		(json_int_t)(now_ms - status->since_ms) / 1000, "opened", (int)status->opened, "ok",
		(int)status->ok, "failed", (int)status->failed, "why", status->why);

	if (!json)
		return NULL;
	if (status->until_ms != UINT64_MAX)
		json_object_set_new(json, "half_open_in_ms",
				    json_integer(status->until_ms > now_ms
							 ? (json_int_t)(status->until_ms - now_ms)
							 : 0));
	if (status->force)
		json_object_set_new(json, "forced", force_json(status->force));
	add_word(json, api, status);
	return json;
}

json_t *gs_api_breaker_list(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	json_t *list = json_array();

	(void)request;
	for (uint32_t i = 0; state->snapshot && i < gs_breakers_count(state->breakers); i++) {
		struct gs_breakers_status status;

		gs_breakers_get(state->breakers, i, &status);
		json_array_append_new(list, gs_api_breaker(api, &status));
	}
	return json_pack("{s:o}", "breakers", list);
}
