/* SPDX-License-Identifier: Apache-2.0 */
/* edge.show, edge.drain, edge.resume, edge.ready: how this edge is reached. */
#include "ready.h"

#include "user/base/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

json_t *gs_api_reach(const struct gs_api *api)
{
	const struct gs_reach_state *reach = gs_reach_state(api->reach);
	json_t *json = json_pack("{s:b, s:i, s:i, s:i}", "drained", reach->drain.is_drained,
				 "interfaces", (int)reach->carrier_count, "interfaces_up",
				 (int)reach->up_count, "vips_on_link", (int)reach->vip_count);

	if (reach->drain.is_drained) {
		json_object_set_new(json, "reason", json_string(reach->drain.reason));
		json_object_set_new(
			json, "drained_s",
			json_integer((json_int_t)(time(NULL) - reach->drain.since_unix_s)));
	}
	if (reach->problem[0])
		json_object_set_new(json, "problem", json_string(reach->problem));
	return json;
}

static json_t *ready_json(const struct gs_api *api, const struct gs_addr *vip)
{
	struct gs_ready ready;
	json_t *json, *why = json_array();

	gs_ready_judge(api, vip, &ready);
	for (uint32_t i = 0; i < ready.count; i++)
		json_array_append_new(why, json_string(ready.why[i]));
	json = json_pack("{s:s, s:b, s:o}", "edge", api->config->edge, "ready", ready.count == 0,
			 "why", why);
	return json;
}

json_t *gs_api_edge_ready(const struct gs_api *api, const json_t *request)
{
	struct gs_addr vip;
	json_t *error = NULL;

	if (!json_object_get(request, "vip"))
		return ready_json(api, NULL);
	if (!gs_api_address(request, "vip", &vip, &error))
		return error;
	return ready_json(api, &vip);
}

json_t *gs_api_edge_show(const struct gs_api *api, const json_t *request)
{
	json_t *json = ready_json(api, NULL);

	(void)request;
	if (api->reach)
		json_object_set_new(json, "reach", gs_api_reach(api));
	json_object_set_new(json, "overlays", gs_api_overlays(api));
	return json;
}

json_t *gs_api_edge_drain(const struct gs_api *api, const json_t *request)
{
	const json_t *given = json_object_get(request, "reason");
	const char *reason = given ? json_string_value(given) : "";
	struct gs_error error = {""};

	if (!api->reach)
		return gs_api_error("this daemon has no links to look after");
	if (!reason || strlen(reason) >= GS_DRAIN_REASON_MAX)
		return gs_api_error("reason: a text of at most %d bytes", GS_DRAIN_REASON_MAX - 1);
	if (gs_reach_drain(api->reach, reason, &error))
		return gs_api_error("the edge is not drained: %s", error.text);
	return gs_api_edge_show(api, request);
}

json_t *gs_api_edge_resume(const struct gs_api *api, const json_t *request)
{
	struct gs_error error = {""};

	if (!api->reach)
		return gs_api_error("this daemon has no links to look after");
	if (gs_reach_resume(api->reach, &error))
		return gs_api_error("the edge stays drained: %s", error.text);
	return gs_api_edge_show(api, request);
}
