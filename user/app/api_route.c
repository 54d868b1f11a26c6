/* SPDX-License-Identifier: Apache-2.0 */
/* Why does this client go there? The steps of a packet, from what is in memory. */
#include "api.h"

#include "user/core/cidr.h"
#include "user/core/geo.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <string.h>

struct route {
	const struct gs_reconcile_state *state;
	const struct gs_service *service;
	const struct gs_plan *plan;
	const struct gs_coord *from; /* where the GeoIP database has the client; NULL: nowhere */
	bool usable[GS_PLAN_REGIONS];
};

/* NULL: it is. Otherwise why the region is not usable for the service. */
static const char *why_not(const struct gs_reconcile_state *state, const struct gs_service *service,
			   gs_id region_id)
{
	const struct gs_usable_pool *pool;
	const struct gs_region *region = gs_snapshot_region(state->snapshot, region_id);
	struct gs_usable word = state->view->regions[region_id];

	if (word.state == GS_USABLE_DRAIN)
		return region && region->admin == GS_ADMIN_DRAIN
			       ? "drained by an operator: known flows only"
			       : "its backends are draining";
	if (word.state != GS_USABLE_UP)
		return region && region->admin != GS_ADMIN_AUTO ? "down by an operator"
								: "no backend is up";
	pool = gs_usable_view_pool(state->view, service->id, region_id);
	if (!pool)
		return "the service has no backend there";
	if (pool->word.state == GS_USABLE_TRIAL)
		return "its breaker is half open: some trials only";
	if (pool->word.state == GS_USABLE_DRAIN)
		return state->breakers &&
				       gs_breakers_permit(state->breakers, service->id, region_id)
						       .kind == GS_PERMIT_NONE
			       ? "its breaker is open: known flows only"
			       : "its backends are draining";
	return pool->word.state == GS_USABLE_UP ? NULL : "none of the service's backends is up";
}

/* Not the plan's own: equal plans of many locations are one, with the distances of the first. */
static double distance_km(const struct route *route, gs_id region_id)
{
	const struct gs_region *region = gs_snapshot_region(route->state->snapshot, region_id);

	return route->from && region ? gs_geo_distance_km(route->from, &region->coord) : -1.0;
}

/* A breaker that is closing takes a share of the new flows; the others go where spare says. */
static void add_ramp(const struct route *route, gs_id region_id, json_t *json)
{
	const struct gs_usable_pool *pool =
		gs_usable_view_pool(route->state->view, route->service->id, region_id);

	if (pool && pool->word.state == GS_USABLE_UP && pool->word.accept < UINT16_MAX)
		json_object_set_new(
			json, "accept_percent",
			json_integer((pool->word.accept * 100 + UINT16_MAX / 2) / UINT16_MAX));
}

static json_t *candidates_json(struct route *route)
{
	const struct gs_plan *plan = route->plan;
	json_t *list = json_array();
	uint16_t before = 0;

	for (int i = 0; i < plan->count; i++) {
		const struct gs_region *region =
			gs_snapshot_region(route->state->snapshot, plan->region[i]);
		const char *why = why_not(route->state, route->service, plan->region[i]);
		json_t *json;

		route->usable[i] = !why;
		json = json_pack(
			"{s:s, s:s, s:s, s:b, s:i, s:i}", "region", region ? region->name : "?",
			"admin", region ? gs_admin_name(region->admin) : "?", "state",
			gs_usable_name(route->state->view->regions[plan->region[i]]), "usable",
			!why, "share_percent", (plan->share[i] - before) * 100 / UINT16_MAX,
			"spare", (int)plan->spare[i]);
		if (route->from)
			json_object_set_new(json, "distance_km",
					    json_real(distance_km(route, plan->region[i])));
		if (why)
			json_object_set_new(json, "why", json_string(why));
		add_ramp(route, plan->region[i], json);
		json_array_append_new(list, json);
		before = plan->share[i];
	}
	return list;
}

static json_t *pool_json(const struct route *route, gs_id region)
{
	const struct gs_snapshot *snapshot = route->state->snapshot;
	json_t *list = json_array();

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		struct gs_monitor_status health;
		char text[GS_ADDR_TEXT_MAX];

		if (backend->service != route->service->id || backend->region != region)
			continue;
		health.state = GS_HEALTH_UNKNOWN;
		if (route->state->monitor)
			gs_monitor_get(route->state->monitor, backend->id, &health);
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "name", backend->name,
				  "address", gs_addr_format(&backend->addr, text), "weight",
				  (int)backend->weight, "admin", gs_admin_name(backend->admin),
				  "health", gs_health_state_name(health.state), "state",
				  gs_usable_name(route->state->view->backends[backend->id])));
	}
	return list;
}

/* Why the region before the winner was passed over. */
static const char *why_passed(const struct route *route, int place)
{
	return why_not(route->state, route->service, route->plan->region[place]);
}

static void explain_later_one(const struct route *route, int winner, char *out, size_t room)
{
	const struct gs_snapshot *snapshot = route->state->snapshot;
	const struct gs_region *first = gs_snapshot_region(snapshot, route->plan->region[0]);
	const char *name = first ? first->name : "?";
	int usable = 0;

	while (usable < winner && !route->usable[usable])
		usable++;
	if (route->usable[0])
		snprintf(out, room, "drawn by its share");
	else if (usable < winner)
		snprintf(out, room, "%s: %s; drawn by spare capacity from those that are usable",
			 name, why_passed(route, 0));
	else if (winner == 1)
		snprintf(out, room, "%s: %s; the next usable one in order", name,
			 why_passed(route, 0));
	else
		snprintf(out, room, "%s: %s, and %d more not usable; the next usable one in order",
			 name, why_passed(route, 0), winner - 1);
}

static void explain_winner(const struct route *route, const struct gs_policy *policy, int winner,
			   bool is_override, char *out, size_t room)
{
	double km;

	if (winner < 0) {
		snprintf(out, room, "no region of the plan is usable: packets are dropped");
		return;
	}
	/* Not the plan's own distance: it is shared by all locations that rank regions alike. */
	km = distance_km(route, route->plan->region[winner]);
	if (winner > 0)
		explain_later_one(route, winner, out, room);
	else if (is_override)
		snprintf(out, room, "an override names it, and it is usable");
	else if (policy->kind == GS_POLICY_FAILOVER)
		snprintf(out, room, "first usable one in the policy's order");
	else if (km < 0)
		snprintf(out, room, "location unknown: first usable one in the default order");
	else
		snprintf(out, room, "nearest usable one, %.0f km away", km);
}

static void add_region_limits(json_t *winner, const struct gs_region *region)
{
	if (region && region->limit_packets)
		json_object_set_new(winner, "limit_packets", json_integer(region->limit_packets));
	if (region && region->limit_flows)
		json_object_set_new(winner, "limit_flows", json_integer(region->limit_flows));
}

static void add_decision(json_t *json, struct route *route, const struct gs_addr *client,
			 bool is_override)
{
	const struct gs_snapshot *snapshot = route->state->snapshot;
	const struct gs_policy *policy = gs_snapshot_policy(snapshot, route->service->policy);
	json_t *candidates = candidates_json(route);
	const struct gs_region *region = NULL;
	char why[GS_ERROR_MAX];
	int winner;

	winner = gs_plan_pick(route->plan, route->usable,
			      gs_tables_draw(route->state->tables, route->service, client));
	explain_winner(route, policy, winner, is_override, why, sizeof(why));
	json_object_set_new(json, "candidates", candidates);
	if (gs_api_is_denied(snapshot, route->service, client, why, sizeof(why)))
		winner = -1;
	if (winner >= 0)
		region = gs_snapshot_region(snapshot, route->plan->region[winner]);
	json_object_set_new(json, "winner",
			    json_pack("{s:s?, s:s, s:o}", "region", region ? region->name : NULL,
				      "why", why, "backends",
				      region ? pool_json(route, region->id) : json_array()));
	add_region_limits(json_object_get(json, "winner"), region);
}

/* Whose override it is that matched: region and reason. */
static void add_override(json_t *json, const struct gs_snapshot *snapshot,
			 const struct gs_prefix *prefix)
{
	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		const struct gs_override *override = &snapshot->overrides[i];
		const struct gs_region *region;

		if (gs_prefix_compare(&override->prefix, prefix) != 0)
			continue;
		region = gs_snapshot_region(snapshot, override->region);
		json_object_set_new(json, "region", json_string(region ? region->name : "?"));
		json_object_set_new(json, "reason", json_string(override->reason));
		return;
	}
}

static json_t *match_json(const struct gs_tables *tables, const struct gs_addr *client,
			  uint16_t *ret_location, bool *ret_is_override)
{
	char text[GS_PREFIX_TEXT_MAX], inner_text[GS_ADDR_TEXT_MAX];
	struct gs_prefix prefix;
	struct gs_addr inner;
	json_t *json;

	*ret_is_override = false;
	*ret_location = gs_tables_locate(tables, client, &prefix, ret_is_override);
	json = json_pack("{s:s, s:s}", "source", *ret_is_override ? "override" : "geoip", "prefix",
			 gs_prefix_format(&prefix, text));
	if (*ret_is_override)
		add_override(json, tables->snapshot, &prefix);
	if ((!*ret_is_override || prefix.is_v4) && gs_geo_embedded_v4(client, &inner))
		json_object_set_new(json, "embedded_ipv4",
				    json_string(gs_addr_format(&inner, inner_text)));
	return json;
}

/* Without a name: the first one of the client's family, which is the one it can reach. */
static const struct gs_service *default_service(const struct gs_snapshot *snapshot,
						const struct gs_addr *client)
{
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		if (gs_addr_is_v4(&snapshot->services[i].vip) == gs_addr_is_v4(client))
			return &snapshot->services[i];
	return snapshot->service_count > 0 ? &snapshot->services[0] : NULL;
}

static const struct gs_service *find_service(const struct gs_snapshot *snapshot,
					     const struct gs_addr *client, const json_t *request,
					     json_t **ret_error)
{
	const json_t *value = json_object_get(request, "service");
	const char *name = json_string_value(value);
	const struct gs_service *service;

	if (!value || json_is_null(value)) {
		service = default_service(snapshot, client);
		if (!service)
			*ret_error = gs_api_error("service: there is none yet");
		return service;
	}
	service = name ? gs_snapshot_service_named(snapshot, name) : NULL;
	if (!service)
		*ret_error = gs_api_error("service: no '%.64s'", name ? name : "(no text)");
	return service;
}

/* Overrides do not move anybody: distances are from where the client is. */
static const struct gs_coord *client_coord(const struct gs_tables *tables,
					   const struct gs_addr *client)
{
	const struct gs_location *location;

	if (!tables->geo)
		return NULL;
	location = &tables->geo->locations[gs_geodata_find(tables->geo, client, NULL)];
	return location->has_coord ? &location->coord : NULL;
}

/* Whose new flows meet the backend this client's meet, where nothing else parts them. */
static json_t *affinity_json(const struct gs_service *service, const struct gs_addr *client)
{
	json_t *json = json_pack("{s:s}", "kind", gs_affine_name(service->affinity.kind));
	char text[GS_PREFIX_TEXT_MAX];
	struct gs_prefix prefix;

	if (gs_affinity_prefix(service, client, &prefix))
		json_object_set_new(json, "prefix", json_string(gs_prefix_format(&prefix, text)));
	return json;
}

json_t *gs_api_route(const struct gs_api *api, const json_t *request)
{
	return gs_api_route_of(gs_reconcile_look(api->reconcile), request);
}

json_t *gs_api_route_of(const struct gs_reconcile_state *state, const json_t *request)
{
	struct route route = {.state = state};
	const struct gs_policy *policy;
	struct gs_addr client;
	json_t *error = NULL, *json;
	uint16_t location;
	bool is_override;
	const char *text;

	text = gs_api_address(request, "address", &client, &error);
	if (!text)
		return error;
	if (!state->tables || !state->snapshot || !state->view)
		return gs_api_error("no generation of this daemon is in force yet");
	route.service = find_service(state->snapshot, &client, request, &error);
	if (!route.service)
		return error;
	policy = gs_snapshot_policy(state->snapshot, route.service->policy);
	json = json_pack("{s:s, s:s, s:s, s:s, s:I}", "client", text, "service",
			 route.service->name, "policy", policy->name, "policy_kind",
			 gs_policy_kind_name(policy->kind), "generation",
			 (json_int_t)state->info.generation);
	json_object_set_new(json, "match",
			    match_json(state->tables, &client, &location, &is_override));
	json_object_set_new(json, "location",
			    gs_api_location(location, &state->tables->locations[location]));
	json_object_set_new(json, "affinity", affinity_json(route.service, &client));
	gs_api_add_access(json, state->snapshot, route.service, &client);
	route.from = client_coord(state->tables, &client);
	route.plan = gs_tables_plan(state->tables, route.service->id, location);
	gs_api_add_skipped(json, state->snapshot, route.service, route.plan, route.from);
	if (!route.plan) {
		json_object_set_new(
			json, "winner",
			json_pack("{s:n, s:s, s:[]}", "region", "why",
				  "the service has no backend in any region that may be used",
				  "backends"));
		return json;
	}
	add_decision(json, &route, &client, is_override);
	return json;
}

/* Light in a fibre and back: 1 ms for 100 km, until somebody measures it. */
#define KM_PER_MS 100.0

void gs_api_decide(const struct gs_api *api, const struct gs_service *service,
		   const struct gs_addr *client, struct gs_route_decision *ret_decision)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const struct gs_policy *policy = gs_snapshot_policy(state->snapshot, service->policy);
	struct route route = {.state = state, .service = service};
	const struct gs_region *region;
	bool is_override = false;
	uint16_t location;
	int winner;
	double km;

	*ret_decision = (struct gs_route_decision){.latency_ms = -1};
	if (gs_api_is_denied(state->snapshot, service, client, ret_decision->reason,
			     sizeof(ret_decision->reason)))
		return;
	location = gs_tables_locate(state->tables, client, NULL, &is_override);
	route.from = client_coord(state->tables, client);
	route.plan = gs_tables_plan(state->tables, service->id, location);
	if (!route.plan) {
		snprintf(ret_decision->reason, sizeof(ret_decision->reason),
			 "the service has no backend in any region that may be used");
		return;
	}
	for (int i = 0; i < route.plan->count; i++)
		route.usable[i] = !why_not(state, service, route.plan->region[i]);
	winner = gs_plan_pick(route.plan, route.usable,
			      gs_tables_draw(state->tables, service, client));
	explain_winner(&route, policy, winner, is_override, ret_decision->reason,
		       sizeof(ret_decision->reason));
	if (winner < 0)
		return;
	region = gs_snapshot_region(state->snapshot, route.plan->region[winner]);
	ret_decision->region = region ? region->name : NULL;
	km = distance_km(&route, route.plan->region[winner]);
	ret_decision->latency_ms = km < 0 ? -1 : km / KM_PER_MS;
}

json_t *gs_api_geo_show(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	char prefix_text[GS_PREFIX_TEXT_MAX];
	struct gs_prefix prefix;
	struct gs_addr client;
	json_t *error = NULL;
	uint16_t location;
	const char *text;

	text = gs_api_address(request, "address", &client, &error);
	if (!text)
		return error;
	if (!state->geo)
		return gs_api_error("no GeoIP database is in force");
	location = gs_geodata_find(state->geo, &client, &prefix);
	return json_pack("{s:s, s:s, s:s, s:o}", "address", text, "prefix",
			 gs_prefix_format(&prefix, prefix_text), "file", state->geo->path,
			 "location", gs_api_location(location, &state->geo->locations[location]));
}
