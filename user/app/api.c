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

/* ---- geo.load -------------------------------------------------------------------------------- */

struct pending_load {
	const struct gs_api *api;
	void (*reply)(void *context, json_t *reply);
	void *context;
};

/* If the database has made a generation of its own. */
static void add_shift(const struct gs_api *api, const struct gs_reconcile_state *state,
		      json_t *json)
{
	json_t *shift = gs_api_shift(api);

	if (shift && (uint64_t)json_integer_value(json_object_get(shift, "generation")) ==
			     state->info.generation)
		json_object_set(json, "shift", shift);
	json_decref(shift);
}

static void load_answered(void *context, int err, const char *problem)
{
	struct pending_load *pending = context;
	const struct gs_reconcile_state *state = gs_reconcile_look(pending->api->reconcile);
	json_t *json;

	if (err)
		json = gs_api_error("%s", problem);
	else if (!state->geo)
		json = json_pack("{s:s}", "note", "loaded; in force with the first snapshot");
	else
		json = json_pack("{s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:b}", "file",
				 state->geo->path, "type", state->geo->database_type, "networks4",
				 (json_int_t)state->geo->v4.networks, "networks6",
				 (json_int_t)state->geo->v6.networks, "locations",
				 (int)state->geo->location_count - 1, "load_ms",
				 (json_int_t)(state->geo->load_us / 1000), "generation",
				 (json_int_t)state->info.generation, "configured",
				 strcmp(state->geo->path, pending->api->config->geoip) == 0);
	if (!err && state->geo)
		add_shift(pending->api, state, json);
	pending->reply(pending->context, json);
	free(pending);
}

static void geo_load(const struct gs_api *api, const json_t *request,
		     void (*reply)(void *context, json_t *reply), void *context)
{
	const char *path = json_string_value(json_object_get(request, "path"));
	struct pending_load *pending;
	int err;

	if (!path || path[0] != '/') {
		reply(context, gs_api_error("path: missing, or no absolute path"));
		return;
	}
	pending = malloc(sizeof(*pending));
	if (!pending) {
		reply(context, gs_api_error("out of memory"));
		return;
	}
	*pending = (struct pending_load){api, reply, context};
	err = gs_reconcile_load_geo(api->reconcile, path, 0, load_answered, pending);
	if (!err)
		return;
	free(pending);
	if (err == -EBUSY)
		reply(context, gs_api_error("another GeoIP load is under way"));
	else
		reply(context, gs_api_error("path: %s", strerror(-err)));
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
	{"geo.load", NULL, geo_load},
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
