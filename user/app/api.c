/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

json_t *gs_api_error(const char *format, ...)
{
	char text[GS_ERROR_MAX + 64];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return json_pack("{s:s%}", "error", text, strlen(text));
}

json_t *gs_api_location(uint16_t id, const struct gs_location *location)
{
	json_t *json =
		json_pack("{s:i, s:s, s:s, s:s}", "id", id, "country", location->country,
			  "continent", location->continent, "subdivision", location->subdivision);

	if (json && location->has_coord) {
		json_object_set_new(json, "latitude", json_real(location->coord.lat_deg));
		json_object_set_new(json, "longitude", json_real(location->coord.lon_deg));
	}
	return json;
}

const char *gs_api_address(const json_t *request, const char *key, struct gs_addr *ret_addr,
			   json_t **ret_error)
{
	const char *text = json_string_value(json_object_get(request, key));

	if (!text) {
		*ret_error = gs_api_error("%s: missing, or no text", key);
		return NULL;
	}
	if (gs_addr_parse(text, ret_addr)) {
		*ret_error = gs_api_error("%s: '%.64s' is no IPv4 or IPv6 address", key, text);
		return NULL;
	}
	return text;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	json_t *(*now)(const struct gs_api *api, const json_t *request);
	void (*later)(const struct gs_api *api, const json_t *request,
		      void (*reply)(void *context, json_t *reply), void *context);
} COMMANDS[] = {
	{"status", gs_api_status, NULL},
	{"route.get", gs_api_route, NULL},
	{"breaker.list", gs_api_breaker_list, NULL},
	{"vote.list", gs_api_vote_list, NULL},
	{"handshake.list", gs_api_handshake_list, NULL},
	{"demand.list", gs_api_demand_list, NULL},
	{"latency.list", gs_api_latency_list, NULL},
	{"capacity.list", gs_api_capacity_list, NULL},
	{"geo.show", gs_api_geo_show, NULL},
	{"edge.show", gs_api_edge_show, NULL},
	{"edge.ready", gs_api_edge_ready, NULL},
	{"edge.drain", gs_api_edge_drain, NULL},
	{"edge.resume", gs_api_edge_resume, NULL},
	{"overlay.list", gs_api_overlay_list, NULL},
	{"overlay.lay", gs_api_overlay_lay, NULL},
	{"overlay.lift", gs_api_overlay_lift, NULL},
	{"damping.clear", gs_api_damping_clear, NULL},
	{"geo.status", gs_api_geo_status, NULL},
	{"geo.cancel", gs_api_geo_cancel, NULL},
	{"geo.load", NULL, gs_api_geo_load},
	{"geo.rollback", NULL, gs_api_geo_rollback},
};

void gs_api_handle(const struct gs_api *api, const char *request, size_t length,
		   void (*reply)(void *context, json_t *reply), void *context)
{
	json_error_t error;
	json_t *json = json_loadb(request, length, JSON_REJECT_DUPLICATES, &error);
	const char *command = json_string_value(json_object_get(json, "command"));
	bool found = false;

	if (!json) {
		reply(context, gs_api_error("request: column %d: %s", error.column, error.text));
		return;
	}
	for (size_t i = 0; command && !found && i < ARRAY_SIZE(COMMANDS); i++) {
		if (strcmp(COMMANDS[i].name, command) != 0)
			continue;
		found = true;
		if (COMMANDS[i].now)
			reply(context, COMMANDS[i].now(api, json));
		else
			COMMANDS[i].later(api, json, reply, context);
	}
	if (!command)
		reply(context, gs_api_error("command: missing, or no text"));
	else if (!found)
		reply(context, gs_api_error("command: no '%.64s'", command));
	json_decref(json);
}
