/* SPDX-License-Identifier: Apache-2.0 */
/* Why does this client go there? The steps of a packet, from what is in memory. */
#include "api.h"

#include "api_capacity.h"
#include "api_latency.h"
#include "api_steering.h"
#include "gradual.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/geo.h"
#include "user/core/override.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two lists of names, and what is said around them. */
enum { HOMES_MAX = 64, MOVING_MAX = 2 * HOMES_MAX + 64 };

struct route {
	const struct gs_reconcile_state *state;
	const struct gs_service *service;
	const struct gs_plan *plan;
	const struct gs_policy *policy;
	const struct gs_override *override;	 /* the one that wins, or NULL */
	const struct gs_tables_reasons *reasons; /* NULL: not asked for */
	char moving[MOVING_MAX]; /* clients are between two plans; "": they are not */
	uint16_t location;
	const struct gs_round_trips *trips; /* NULL: there are none */
	uint64_t now_ms;		    /* of them */
	const struct gs_coord *from; /* where the GeoIP database has the client; NULL: nowhere */
	bool usable[GS_PLAN_REGIONS];
	struct gs_api_filled filled;
	char *word; /* GS_ERROR_MAX bytes for what why_not says last */
};

/* Of what is not up: whose word that is. drained, closed: what to say of an operator's; health: of
 * what probes say; a third of what drains without an operator. */
static const char *whose(enum gs_admin admin, uint16_t state, const char *drained,
			 const char *closed, const char *health)
{
	if (admin == GS_ADMIN_DRAIN && state != GS_USABLE_DOWN)
		return drained;
	if (state == GS_USABLE_DRAIN)
		return "its backends are draining";
	return gs_admin_takes_new(admin) ? health : closed;
}

/* Is one of the service's backends there held, though it answers? */
static bool has_damped(const struct gs_reconcile_state *state, const struct gs_service *service,
		       gs_id region_id)
{
	for (uint32_t i = 0; i < state->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &state->snapshot->backends[i];
		struct gs_monitor_status health;

		if (backend->service == service->id && backend->region == region_id &&
		    gs_dampings_hold(state->dampings, backend->id) && state->monitor &&
		    gs_monitor_get(state->monitor, backend->id, &health) &&
		    (health.state == GS_HEALTH_UP || health.state == GS_HEALTH_SUSPECT))
			return true;
	}
	return false;
}

/* NULL: it is. Otherwise why the region is not usable for the service, by this edge's view. */
static const char *why_not_here(const struct gs_reconcile_state *state,
				const struct gs_service *service, gs_id region_id)
{
	const struct gs_admins *admins = &state->view->admins;
	struct gs_usable word = state->view->regions[region_id];
	const struct gs_usable_pool *pool;

	pool = gs_usable_view_pool(state->view, service->id, region_id);
	/* Of a region that is what its only service is there, the service's own. */
	if (word.state != GS_USABLE_UP &&
	    (!pool || gs_admin_takes_new(gs_admins_pool(admins, service->id, region_id)) ||
	     !gs_admin_takes_new((enum gs_admin)admins->region[region_id])))
		return whose((enum gs_admin)admins->region[region_id], word.state,
			     "drained by an operator: known flows only", "down by an operator",
			     has_damped(state, service, region_id)
				     ? "no backend is up: what answers is damped"
				     : "no backend is up");
	if (!pool)
		return "the service has no backend there";
	if (pool->word.state == GS_USABLE_TRIAL)
		return "its breaker is half open: some trials only";
	if (pool->word.state == GS_USABLE_DRAIN && state->breakers &&
	    gs_breakers_permit(state->breakers, service->id, region_id).kind == GS_PERMIT_NONE)
		return "its breaker is open: known flows only";
	if (pool->word.state == GS_USABLE_UP)
		return NULL;
	return whose(gs_admins_pool(admins, service->id, region_id), pool->word.state,
		     "the service is drained there by an operator: known flows only",
		     "the service is down there by an operator",
		     has_damped(state, service, region_id)
			     ? "none of the service's backends is up: what answers is damped"
			     : "none of the service's backends is up");
}

/* Does a backend of the service answer this edge there? */
static bool is_alive(const struct gs_reconcile_state *state, const struct gs_service *service,
		     gs_id region_id)
{
	for (uint32_t i = 0; i < state->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &state->snapshot->backends[i];

		if (backend->service == service->id && backend->region == region_id &&
		    state->view->backends[backend->id].state == GS_USABLE_UP)
			return true;
	}
	return false;
}

/* As above, and what the other edges say; `word` is where that is put. */
static const char *why_not(const struct gs_reconcile_state *state, const struct gs_service *service,
			   gs_id region_id, char word[GS_ERROR_MAX])
{
	const struct gs_region *region = gs_snapshot_region(state->snapshot, region_id);
	const char *why = why_not_here(state, service, region_id);

	if (why && region && region->admin == GS_ADMIN_AUTO &&
	    gs_usable_view_pool(state->view, service->id, region_id) &&
	    gs_api_votes_word(state, service->id, region_id, is_alive(state, service, region_id),
			      word, GS_ERROR_MAX))
		return word;
	return why;
}

/* Not the plan's own: equal plans of many locations are one, with the distances of the first. */
static double distance_km(const struct route *route, gs_id region_id)
{
	const struct gs_region *region = gs_snapshot_region(route->state->snapshot, region_id);

	return route->from && region ? gs_geo_distance_km(route->from, &region->coord) : -1.0;
}

/* winner: an index in the plan, or -1. */
static double winner_km(const struct route *route, int winner)
{
	return winner < 0 ? -1.0 : distance_km(route, route->plan->region[winner]);
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

/* Is the plan's first region there because an override names it? */
static bool is_overridden(const struct route *route)
{
	return route->override && route->plan && route->plan->count > 0 &&
	       route->plan->region[0] == route->override->region;
}

/* Of the ranking's i-th region. */
static void add_round_trip(const struct route *route, json_t *json, int i)
{
	const struct gs_tables_reasons *reasons = route->reasons;
	uint8_t index = reasons->ranking.index[i];
	uint32_t metres = reasons->ranker.metres[index];
	gs_id region = reasons->ranker.regions[index].id;
	struct gs_latency_estimate estimate;
	struct gs_recent_trip here;
	bool is_seen;

	if (!reasons->ranker.knows_round_trip)
		return;
	estimate = gs_latency_view_get(&reasons->view, region, gs_model_round_trip_us(metres));
	is_seen = route->trips && gs_round_trips_recent(route->trips, route->location, region,
							route->now_ms, &here);
	gs_api_add_round_trip(json, &estimate, is_seen ? &here : NULL, gs_unix_ms());
}

/* Plans between two have regions that the ranking has elsewhere, or not at all. */
static void add_reasons(const struct route *route, json_t *json, gs_id region)
{
	const struct gs_tables_reasons *reasons = route->reasons;

	for (int i = 0; i < reasons->ranking.count; i++) {
		if (reasons->ranker.regions[reasons->ranking.index[i]].id != region)
			continue;
		gs_api_add_standing(json, reasons, route->policy, i, is_overridden(route));
		add_round_trip(route, json, i);
		return;
	}
}

/* What operators have laid over the region; else what they have over the service there. */
static void add_overlays(const struct route *route, gs_id region, json_t *json)
{
	gs_api_add_overlay(json, route->state, &(struct gs_overlay){.region = region});
	if (!json_object_get(json, "overlay"))
		gs_api_add_overlay(
			json, route->state,
			&(struct gs_overlay){.region = region, .service = route->service->id});
}

static json_t *candidates_json(struct route *route)
{
	const struct gs_plan *plan = route->plan;
	json_t *list = json_array();
	uint16_t before = 0;

	for (int i = 0; i < plan->count; i++) {
		const struct gs_region *region =
			gs_snapshot_region(route->state->snapshot, plan->region[i]);
		const char *why =
			why_not(route->state, route->service, plan->region[i], route->word);
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
		add_overlays(route, plan->region[i], json);
		if (why)
			json_object_set_new(json, "why", json_string(why));
		if (route->reasons)
			add_reasons(route, json, plan->region[i]);
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
		json_t *json;

		if (backend->service != route->service->id || backend->region != region)
			continue;
		health.state = GS_HEALTH_UNKNOWN;
		if (route->state->monitor)
			gs_monitor_get(route->state->monitor, backend->id, &health);
		json = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "name", backend->name, "address",
				 gs_addr_format(&backend->addr, text), "weight",
				 (int)backend->weight, "admin", gs_admin_name(backend->admin),
				 "health", gs_health_state_name(health.state), "state",
				 gs_usable_name(route->state->view->backends[backend->id]));
		gs_api_add_damping(json, route->state, route->service, backend->id, route->now_ms);
		json_array_append_new(list, json);
	}
	return list;
}

/* Why the region before the winner was passed over. */
static const char *why_passed(const struct route *route, int place)
{
	return why_not(route->state, route->service, route->plan->region[place], route->word);
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

/* The first one of the plan, by the policy. */
static void explain_first(const struct route *route, double km, char *out, size_t room)
{
	const struct gs_policy *policy = route->policy;
	char rank[GS_API_RANK_TEXT_MAX];

	if (policy->kind == GS_POLICY_FAILOVER)
		snprintf(out, room, "first usable one in the policy's order");
	else if (policy->kind == GS_POLICY_WEIGHTED || route->plan->share[0] < UINT16_MAX)
		snprintf(out, room, "drawn by its share");
	else if (policy->kind != GS_POLICY_GEO)
		snprintf(out, room, "first usable one by %s%s", gs_api_rank_text(policy, rank),
			 km < 0 ? ", location unknown" : "");
	else if (km < 0)
		snprintf(out, room, "location unknown: first usable one in the default order");
	else
		snprintf(out, room, "nearest usable one, %lld km away", llrint(km));
}

/* Index in the plan, or -1. */
static int pick(struct route *route, const struct gs_addr *client)
{
	route->filled.snapshot = route->state->snapshot;
	route->filled.plan = route->plan;
	route->filled.usable = route->usable;
	route->filled.priority = route->service->limit.priority;
	route->filled.draw = gs_tables_draw(route->state->tables, route->service, client);
	return gs_api_pick_filled(&route->filled);
}

/* Of a location between two plans: who is not at home has lost it. */
static void explain_moving(const struct route *route, int winner, char *out, size_t room)
{
	int home = route->filled.home;
	const struct gs_region *lost =
		winner == home
			? NULL
			: gs_snapshot_region(route->state->snapshot, route->plan->region[home]);

	snprintf(out, room, "%s%s%s%s%s", lost ? lost->name : "", lost ? ": " : "",
		 lost ? why_passed(route, home) : "", lost ? "; " : "", route->moving);
}

/* km: winner_km. */
static void explain_winner(const struct route *route, int winner, double km, char *out, size_t room)
{
	char clients[GS_OVERRIDE_TEXT_MAX];

	if (gs_api_filled_why(&route->filled, out, room))
		return;
	if (winner < 0) {
		snprintf(out, room, "no region of the plan is usable: packets are dropped");
		return;
	}
	if (route->moving[0])
		explain_moving(route, winner, out, room);
	else if (winner > 0)
		explain_later_one(route, winner, out, room);
	else if (is_overridden(route))
		snprintf(out, room, "the override of %s names it, and it is usable",
			 gs_override_format(route->override, clients));
	else
		explain_first(route, km, out, room);
}

static void add_region_limits(json_t *winner, const struct gs_region *region)
{
	if (region && region->limit_packets)
		json_object_set_new(winner, "limit_packets", json_integer(region->limit_packets));
	if (region && region->limit_flows)
		json_object_set_new(winner, "limit_flows", json_integer(region->limit_flows));
}

/* Names of the regions that clients have at home: "fra", "fra and ams". */
static json_t *homes_json(const struct route *route, const struct gs_plan *plan, char *out,
			  size_t room)
{
	json_t *list = json_array();
	size_t length = 0;
	int before = -1;

	out[0] = '\0';
	for (uint8_t i = 0; i < plan->count; i++) {
		const struct gs_region *region =
			gs_snapshot_region(route->state->snapshot, plan->region[i]);

		if (plan->share[i] <= before || !region)
			continue;
		if (length < room)
			length += (size_t)snprintf(out + length, room - length, "%s%s",
						   length ? " and " : "", region->name);
		json_array_append_new(list, json_string(region->name));
		before = plan->share[i];
	}
	return list;
}

/* Clients of the location between two plans: from where, to where, how many so far. json: NULL, or
 * what gets it. */
static void find_move(struct route *route, json_t *json)
{
	char from_text[HOMES_MAX], to_text[HOMES_MAX];
	struct gs_tables_move move;
	json_t *from, *to;

	if (!gs_tables_move(route->state->tables, route->service->id, route->location, &move))
		return;
	from = homes_json(route, &move.before, from_text, sizeof(from_text));
	to = homes_json(route, &move.now, to_text, sizeof(to_text));
	snprintf(route->moving, sizeof(route->moving),
		 "moving from %s to %s: %u %% so far, by measured round trips", from_text, to_text,
		 move.percent);
	if (!json) {
		json_decref(from);
		json_decref(to);
		return;
	}
	json_object_set_new(json, "moving",
			    json_pack("{s:o, s:o, s:i, s:s}", "from", from, "to", to, "percent",
				      (int)move.percent, "why", route->moving));
}

static void add_decision(json_t *json, struct route *route, const struct gs_addr *client)
{
	const struct gs_snapshot *snapshot = route->state->snapshot;
	json_t *candidates = candidates_json(route);
	const struct gs_region *region = NULL;
	char why[GS_ERROR_MAX];
	int winner;

	winner = pick(route, client);
	explain_winner(route, winner, winner_km(route, winner), why, sizeof(why));
	json_object_set_new(json, "candidates", candidates);
	gs_api_add_filled(json, &route->filled);
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

/* Whose override it is that matched: region and reason; the system, if it is one's. */
static void add_override(json_t *json, const struct gs_tables *tables, const struct gs_addr *client)
{
	const struct gs_override *override = gs_tables_override(tables, client);
	const struct gs_region *region;
	char clients[GS_OVERRIDE_TEXT_MAX];

	if (!override)
		return;
	region = gs_snapshot_region(tables->snapshot, override->region);
	json_object_set_new(json, "region", json_string(region ? region->name : "?"));
	json_object_set_new(json, "reason", json_string(override->reason));
	if (gs_override_of(override) == GS_OVERRIDE_OF_ASN)
		json_object_set_new(json, "asn",
				    json_string(gs_override_format(override, clients)));
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
		add_override(json, tables, client);
	if ((!*ret_is_override || prefix.is_v4) && gs_geo_embedded_v4(client, &inner))
		json_object_set_new(json, "embedded_ipv4",
				    json_string(gs_addr_format(&inner, inner_text)));
	return json;
}

/* Whose address it is, if an ASN database says so. */
static void add_system(json_t *json, const struct gs_tables *tables, const struct gs_addr *client)
{
	uint32_t asn = tables->asn ? gs_asn_find(tables->asn, client) : 0;
	char text[GS_ASN_TEXT_MAX];

	if (asn)
		json_object_set_new(json, "asn", json_string(gs_asn_format(asn, text)));
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

/* The service serves nobody there: for lack of backends, or behind a fence. */
static const char *why_no_plan(const struct route *route, uint16_t location)
{
	const struct gs_tables *tables = route->state->tables;
	uint32_t row = tables->service_row[route->service->id];
	struct gs_fence_set fences = gs_fences_both(
		&tables->classes[tables->location_class[location]], &tables->row_fences[row]);

	return gs_fences_are_none(&fences)
		       ? "the service has no backend in any region that may be used"
		       : "the service has no backend in any region that fences leave";
}

static json_t *route_json(struct route route, const json_t *request)
{
	GS_AUTO_FREE struct gs_tables_reasons *reasons = NULL;
	const struct gs_reconcile_state *state = route.state;
	char word[GS_ERROR_MAX];
	struct gs_region_set allowed;
	struct gs_addr client;
	json_t *error = NULL, *json;
	uint16_t location;
	bool is_override;
	const char *text;

	route.word = word;
	text = gs_api_address(request, "address", &client, &error);
	if (!text)
		return error;
	if (!state->tables || !state->snapshot || !state->view)
		return gs_api_error("no generation of this daemon is in force yet");
	route.service = find_service(state->snapshot, &client, request, &error);
	if (!route.service)
		return error;
	route.policy = gs_snapshot_policy(state->snapshot, route.service->policy);
	json = json_pack("{s:s, s:s}", "client", text, "service", route.service->name);
	gs_api_add_policy(json, route.policy);
	json_object_set_new(json, "generation", json_integer((json_int_t)state->info.generation));
	json_object_set_new(json, "match",
			    match_json(state->tables, &client, &location, &is_override));
	json_object_set_new(json, "location",
			    gs_api_location(location, &state->tables->locations[location]));
	add_system(json, state->tables, &client);
	json_object_set_new(json, "affinity", affinity_json(route.service, &client));
	gs_api_add_access(json, state->snapshot, route.service, &client);
	route.location = location;
	gs_api_add_panic(json, state, route.service);
	route.from = client_coord(state->tables, &client);
	route.plan = gs_tables_plan(state->tables, route.service->id, location);
	route.override = gs_tables_override(state->tables, &client);
	find_move(&route, json);
	reasons = malloc(sizeof(*reasons));
	if (reasons &&
	    gs_tables_explain(state->tables, route.service->id, location, reasons) == 0) {
		route.reasons = reasons;
		gs_api_add_fences(json, state->snapshot, &reasons->fences);
		allowed = gs_fences_leave(state->snapshot, &reasons->fences);
	}
	gs_api_add_skipped(json, state->snapshot, route.service, route.plan,
			   route.reasons ? &allowed : NULL, route.from);
	if (route.override)
		gs_api_add_override(json, state->snapshot, route.override, route.plan);
	if (!route.plan) {
		json_object_set_new(json, "winner",
				    json_pack("{s:n, s:s, s:[]}", "region", "why",
					      why_no_plan(&route, location), "backends"));
		return json;
	}
	add_decision(json, &route, &client);
	return json;
}

json_t *gs_api_route(const struct gs_api *api, const json_t *request)
{
	struct route route = {
		.state = gs_reconcile_look(api->reconcile),
		.trips = api->handshakes ? gs_handshakes_trips(api->handshakes) : NULL,
		.now_ms = gs_loop_now_ms(api->loop),
		.filled.capacity = api->capacity,
	};

	return route_json(route, request);
}

json_t *gs_api_route_of(const struct gs_reconcile_state *state, const json_t *request)
{
	return route_json((struct route){.state = state}, request);
}

/* What the region is ranked by: latency_ms and its source. */
static void add_estimate(const struct route *route, gs_id region, double km,
			 struct gs_route_decision *decision)
{
	const struct gs_tables *tables = route->state->tables;
	struct gs_latency_estimate estimate;

	if (km < 0)
		return;
	estimate = gs_latency_view_at(&tables->latencies, &tables->locations[route->location],
				      region, gs_model_round_trip_us((uint32_t)(km * 1000)));
	decision->latency_ms = estimate.us / 1000.0;
	decision->latency_source = gs_latency_source_name(estimate.source);
}

void gs_api_decide(const struct gs_api *api, const struct gs_service *service,
		   const struct gs_addr *client, struct gs_route_decision *ret_decision)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	char word[GS_ERROR_MAX];
	struct route route = {.state = state,
			      .word = word,
			      .service = service,
			      .filled.capacity = api->capacity,
			      .policy = gs_snapshot_policy(state->snapshot, service->policy)};
	const struct gs_region *region;
	uint16_t location;
	int winner;
	double km;

	*ret_decision = (struct gs_route_decision){.latency_ms = -1, .latency_source = "unknown"};
	if (gs_api_is_denied(state->snapshot, service, client, ret_decision->reason,
			     sizeof(ret_decision->reason)))
		return;
	location = gs_tables_locate(state->tables, client, NULL, NULL);
	route.location = location;
	route.from = client_coord(state->tables, client);
	route.plan = gs_tables_plan(state->tables, service->id, location);
	route.override = gs_tables_override(state->tables, client);
	if (!route.plan) {
		snprintf(ret_decision->reason, sizeof(ret_decision->reason), "%s",
			 why_no_plan(&route, location));
		return;
	}
	for (int i = 0; i < route.plan->count; i++)
		route.usable[i] = !why_not_here(state, service, route.plan->region[i]);
	find_move(&route, NULL);
	winner = pick(&route, client);
	km = winner_km(&route, winner);
	explain_winner(&route, winner, km, ret_decision->reason, sizeof(ret_decision->reason));
	if (winner < 0)
		return;
	region = gs_snapshot_region(state->snapshot, route.plan->region[winner]);
	ret_decision->region = region ? region->name : NULL;
	add_estimate(&route, route.plan->region[winner], km, ret_decision);
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
