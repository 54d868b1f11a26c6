/* SPDX-License-Identifier: Apache-2.0 */
#include "accord_watch.h"
#include "api.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/moment.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <time.h>

static json_t *database_json(const struct gs_api *api, const struct gs_reconcile_state *state)
{
	json_t *json = json_pack("{s:b, s:b}", "connected", state->connected, "pooled",
				 state->connected && state->pooled);

	json_object_set_new(
		json, "since_s",
		json_integer((json_int_t)(gs_loop_now_ms(api->loop) - state->connection_since_ms) /
			     1000));
	json_object_set_new(json, "clock_ahead_ms",
			    json_integer((json_int_t)state->clock_ahead_ms));
	if (state->connection_why[0])
		json_object_set_new(json, "why", json_string(state->connection_why));
	return json;
}

static json_t *generation_json(const struct gs_api *api, const struct gs_reconcile_state *state)
{
	json_t *json, *shift = gs_api_shift(api);
	char digest[20];

	snprintf(digest, sizeof(digest), "%016lx", (unsigned long)state->info.digest);
	json = json_pack("{s:I, s:s, s:i, s:I, s:b}", "number", (json_int_t)state->info.generation,
			 "digest", digest, "slot", (int)state->info.slot, "age_s",
			 (json_int_t)(state->info.generation
					      ? (int64_t)time(NULL) - state->info.built_unix_s
					      : 0),
			 "published_by_this_daemon", state->tables != NULL);
	if (state->tables)
		json_object_set_new(json, "plans",
				    json_integer(gs_plan_set_count(state->tables->plans)));
	if (state->tables && state->tables->exact_choices < GS_PLAN_REGIONS)
		json_object_set_new(json, "exact_choices",
				    json_integer(state->tables->exact_choices));
	if (shift)
		json_object_set_new(json, "shift", shift);
	return json;
}

/* How many edges are compared, how many decide otherwise than most, and in what this one does. */
static json_t *accord_json(const struct gs_reconcile_state *state)
{
	char words[GS_DIFFERS_TEXT_MAX];
	struct gs_accord_view view;

	gs_accord_view(state->votes, &view);
	return json_pack("{s:i, s:i, s:s}", "edges", (int)view.compared, "differing",
			 (int)view.differing, "differs_in",
			 gs_differs_words(view.differs[0], words, sizeof(words)));
}

/* Does this edge trust what it sees? */
static json_t *self_json(const struct gs_reconcile_state *state)
{
	const struct gs_self *self = gs_votes_self(state->votes);
	char why[GS_SELF_TEXT_MAX];

	return json_pack("{s:s, s:s}", "state", gs_self_name(self->state), "why",
			 gs_self_text(self, why, sizeof(why)));
}

static json_t *anchors_json(const struct gs_api *api)
{
	json_t *list = json_array();
	uint32_t count, silent;

	gs_anchors_count(api->anchors, &count, &silent);
	for (uint32_t i = 0; i < count; i++) {
		struct gs_anchor_status anchor;
		json_t *json;

		gs_anchors_get(api->anchors, i, &anchor);
		json = json_pack("{s:s, s:s, s:b, s:I, s:I}", "anchor", anchor.name, "health",
				 gs_health_state_name(anchor.state), "silent", anchor.is_silent,
				 "latency_us", (json_int_t)anchor.latency_us, "since_s",
				 (json_int_t)(gs_loop_now_ms(api->loop) - anchor.since_ms) / 1000);
		if (json && anchor.why != GS_PROBE_OK)
			json_object_set_new(json, "last_failure",
					    json_string(gs_probe_class_name(anchor.why)));
		json_array_append_new(list, json);
	}
	return list;
}

/* NULL: there is none, and nobody misses it. */
static json_t *asn_json(const struct gs_reconcile_state *state)
{
	const struct gs_asndata *asn = state->asn;
	char missing[GS_ERROR_MAX];
	json_t *json = json_object();

	if (asn)
		json_object_update_new(json,
				       json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "file",
						 asn->path, "type", asn->database_type,
						 "build_unix_s", (json_int_t)asn->build_unix_s,
						 "networks4", (json_int_t)asn->v4.networks,
						 "networks6", (json_int_t)asn->v6.networks,
						 "load_ms", (json_int_t)(asn->load_us / 1000)));
	if (state->asn_problem[0])
		json_object_set_new(json, "problem", json_string(state->asn_problem));
	if (*gs_reconcile_asn_missing(state, missing))
		json_object_set_new(json, "missing", json_string(missing));
	if (json_object_size(json) > 0)
		return json;
	json_decref(json);
	return NULL;
}

/* Only while it drains to a deadline. */
static void add_drain(json_t *json, int64_t until_unix_ms)
{
	char text[GS_MOMENT_TEXT_MAX];

	if (until_unix_ms != 0)
		json_object_set_new(json, "drain_until",
				    json_string(gs_moment_format(until_unix_ms, text)));
}

/* ---- objects --------------------------------------------------------------------------------- */

static const struct gs_counter *find_counter(const struct gs_counter *counters, uint32_t count,
					     gs_id id)
{
	static const struct gs_counter NONE = {0};
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (counters[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && counters[low].id == id ? &counters[low] : &NONE;
}

static void add_traffic(json_t *json, const struct gs_counter *counter)
{
	json_object_set_new(json, "packets", json_integer((json_int_t)counter->packets));
	json_object_set_new(json, "bytes", json_integer((json_int_t)counter->bytes));
}

/* What probes see, whatever operators say. */
struct seen {
	uint32_t backends[GS_MAX_REGIONS], healthy[GS_MAX_REGIONS]; /* by region */
};

static void look_at_backends(const struct gs_reconcile_state *state, struct seen *seen)
{
	for (uint32_t i = 0; i < state->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &state->snapshot->backends[i];
		struct gs_monitor_status status;

		seen->backends[backend->region]++;
		seen->healthy[backend->region] +=
			gs_monitor_get(state->monitor, backend->id, &status) &&
			(status.state == GS_HEALTH_UP || status.state == GS_HEALTH_SUSPECT);
	}
}

static json_t *regions_json(const struct gs_api *api, const struct gs_reconcile_state *state,
			    const struct gs_counters *counters)
{
	struct seen seen = {.backends = {0}};
	json_t *list = json_array();

	look_at_backends(state, &seen);
	for (uint32_t i = 0; i < state->snapshot->region_count; i++) {
		const struct gs_region *region = &state->snapshot->regions[i];
		json_t *json = json_pack("{s:s, s:i, s:s, s:s}", "name", region->name, "id",
					 (int)region->id, "admin", gs_admin_name(region->admin),
					 "state", gs_usable_name(state->view->regions[region->id]));

		add_drain(json, region->drain_until_unix_ms);
		gs_api_add_overlay(json, state, &(struct gs_overlay){.region = region->id});
		json_object_set_new(json, "backends", json_integer(seen.backends[region->id]));
		json_object_set_new(json, "healthy", json_integer(seen.healthy[region->id]));
		json_object_set_new(json, "since_s",
				    json_integer((json_int_t)(gs_loop_now_ms(api->loop) -
							      state->region_since_ms[region->id]) /
						 1000));
		if (state->votes && gs_votes_global(state->votes, 0, region->id) != GS_GLOBAL_NONE)
			json_object_set_new(json, "global",
					    json_string(gs_global_name(
						    gs_votes_global(state->votes, 0, region->id))));
		add_traffic(json,
			    find_counter(counters->regions, counters->region_count, region->id));
		json_array_append_new(list, json);
	}
	return list;
}

static json_t *services_json(const struct gs_reconcile_state *state,
			     const struct gs_counters *counters)
{
	char text[GS_ADDR_TEXT_MAX];
	json_t *list = json_array();

	for (uint32_t i = 0; i < state->snapshot->service_count; i++) {
		const struct gs_service *service = &state->snapshot->services[i];
		json_t *json = json_pack(
			"{s:s, s:i, s:s, s:i, s:s}", "name", service->name, "id", (int)service->id,
			"vip", gs_addr_format(&service->vip, text), "port", (int)service->port,
			"protocol", gs_protocol_name(service->protocol));

		gs_api_add_panic(json, state, service);
		add_traffic(json,
			    find_counter(counters->services, counters->service_count, service->id));
		json_array_append_new(list, json);
	}
	return list;
}

static void add_probe_path(const struct gs_api *api, const struct gs_service *service,
			   const struct gs_backend *backend, json_t *json)
{
	const char *why;

	if (service->probe.kind == GS_PROBE_NONE)
		return;
	why = gs_reconcile_probe_direct_why(api->reconcile, backend);
	json_object_set_new(json, "probe_path", json_string(why ? "direct" : "tunnel"));
	if (why)
		json_object_set_new(json, "probe_direct_why", json_string(why));
}

static json_t *backend_json(const struct gs_api *api, const struct gs_reconcile_state *state,
			    const struct gs_backend *backend)
{
	const struct gs_service *service = gs_snapshot_service(state->snapshot, backend->service);
	const struct gs_region *region = gs_snapshot_region(state->snapshot, backend->region);
	char text[GS_ADDR_TEXT_MAX];
	struct gs_monitor_status health;
	json_t *json;

	json = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s}", "name", backend->name, "id",
			 (int)backend->id, "service", service->name, "region", region->name,
			 "address", gs_addr_format(&backend->addr, text), "admin",
			 gs_admin_name(backend->admin), "state",
			 gs_usable_name(state->view->backends[backend->id]));
	if (json)
		add_drain(json, backend->drain_until_unix_ms);
	if (json)
		gs_api_add_overlay(json, state, &(struct gs_overlay){.backend = backend->id});
	if (json && gs_reconcile_tunnel_mtu(api->reconcile, backend->id))
		json_object_set_new(
			json, "tunnel_mtu",
			json_integer(gs_reconcile_tunnel_mtu(api->reconcile, backend->id)));
	if (!json || !gs_monitor_get(state->monitor, backend->id, &health))
		return json;
	add_probe_path(api, service, backend, json);
	json_object_set_new(json, "health", json_string(gs_health_state_name(health.state)));
	json_object_set_new(json, "latency_us", json_integer(health.latency_us));
	json_object_set_new(
		json, "since_s",
		json_integer((json_int_t)(gs_loop_now_ms(api->loop) - health.since_ms) / 1000));
	gs_api_add_damping(json, state, service, backend->id, gs_loop_now_ms(api->loop));
	if (health.why != GS_PROBE_OK)
		json_object_set_new(json, "last_failure",
				    json_string(gs_probe_class_name(health.why)));
	return json;
}

/* A page of them, and where the next one begins: thousands would keep the loop too long. */
static void add_backends(json_t *json, const struct gs_api *api,
			 const struct gs_reconcile_state *state, const struct gs_counters *counters,
			 uint32_t from)
{
	uint32_t count = state->snapshot->backend_count;
	uint32_t end = from < count && count - from > GS_API_STATUS_BACKENDS
			       ? from + GS_API_STATUS_BACKENDS
			       : count;
	json_t *list = json_array();

	for (uint32_t i = from; i < end; i++) {
		const struct gs_backend *backend = &state->snapshot->backends[i];
		json_t *one = backend_json(api, state, backend);

		add_traffic(one,
			    find_counter(counters->backends, counters->backend_count, backend->id));
		json_array_append_new(list, one);
	}
	json_object_set_new(json, "backends", list);
	if (end < count)
		json_object_set_new(json, "backends_next", json_integer((json_int_t)end));
}

/* Those that are not plainly closed. */
static json_t *troubled_breakers(const struct gs_api *api, const struct gs_reconcile_state *state)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < gs_breakers_count(state->breakers); i++) {
		struct gs_breakers_status status;

		gs_breakers_get(state->breakers, i, &status);
		if (status.state != GS_BREAKER_CLOSED || status.force)
			json_array_append_new(list, gs_api_breaker(api, &status));
	}
	return list;
}

static json_t *reasons_json(const struct gs_counters *counters)
{
	json_t *json = json_object();

	for (uint32_t i = 0; i < counters->reason_count; i++)
		json_object_set_new(json, counters->reasons[i].name,
				    json_integer((json_int_t)counters->reasons[i].packets));
	return json;
}

json_t *gs_api_status(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	json_int_t from = json_integer_value(json_object_get(request, "backends_from"));
	struct gs_counters counters = {0};
	json_t *json;
	int err;

	if (from < 0 || from > GS_MAX_BACKENDS)
		return json_pack("{s:s}", "error", "backends_from: not so many backends");
	err = api->dataplane->ops->count(api->dataplane->self, &counters);
	json = json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o*, s:o*, s:i, s:b}", "edge",
			 api->config->edge, "version", GS_VERSION, "uptime_s",
			 (json_int_t)(gs_loop_now_ms(api->loop) - api->started_ms) / 1000,
			 "database", database_json(api, state), "generation",
			 generation_json(api, state), "geoip", gs_api_geoip(state), "asn",
			 asn_json(state), "loading", gs_api_loading(api, state), "loop_lag_ms",
			 (int)gs_monitor_worst_lag_ms(state->monitor), "working", state->working);
	if (!json)
		return NULL;
	if (api->config->coordinates.is_told)
		json_object_set_new(json, "coordinates",
				    json_pack("[f, f]", api->config->coordinates.coord.lat_deg,
					      api->config->coordinates.coord.lon_deg));
	if (state->publish_problem[0])
		json_object_set_new(json, "publish_problem", json_string(state->publish_problem));
	if (api->reach)
		json_object_set_new(json, "reach", gs_api_reach(api));
	if (state->votes)
		json_object_update_new(json, json_pack("{s:o, s:o, s:o}", "accord",
						       accord_json(state), "self", self_json(state),
						       "anchors", anchors_json(api)));
	json_object_set_new(json, "overlays", gs_api_overlays(api));
	if (err)
		json_object_set_new(json, "counters_problem", json_string("cannot be read"));
	json_object_set_new(json, "reasons", reasons_json(&counters));
	if (state->snapshot && state->view) {
		json_object_set_new(json, "revision",
				    json_integer((json_int_t)state->snapshot->revision));
		json_object_set_new(json, "from_last_good", json_boolean(state->from_last_good));
		json_object_set_new(json, "services", services_json(state, &counters));
		json_object_set_new(json, "regions", regions_json(api, state, &counters));
		add_backends(json, api, state, &counters, (uint32_t)from);
		json_object_set_new(json, "breakers", troubled_breakers(api, state));
	}
	free(counters.reasons);
	free(counters.services);
	free(counters.regions);
	free(counters.backends);
	return json;
}
