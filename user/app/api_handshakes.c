/* SPDX-License-Identifier: Apache-2.0 */
/* What clients see, by region and location; SYNs by backend. Never a client's address. */
#include "api.h"

#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <stdlib.h>

struct backend_row {
	const struct gs_backend *backend;
	struct gs_syns syns;
};

static double ms_of(uint32_t us)
{
	return us / 1000.0;
}

static void add_trip(json_t *json, const struct gs_round_trip *trip)
{
	json_object_set_new(json, "count", json_integer(trip->count));
	json_object_set_new(json, "p50_ms", json_real(ms_of(trip->p50_us)));
	json_object_set_new(json, "p90_ms", json_real(ms_of(trip->p90_us)));
	json_object_set_new(json, "p99_ms", json_real(ms_of(trip->p99_us)));
	json_object_set_new(json, "max_ms", json_real(ms_of(trip->max_us)));
}

/* All pairs of a kind in memory of the caller's: GS_ROUND_TRIPS_PAIRS. */
static uint32_t read_trips(const struct gs_api *api, enum gs_round_trips_kind kind,
			   struct gs_round_trip *ret_trips)
{
	const struct gs_round_trips *trips = gs_handshakes_trips(api->handshakes);
	uint64_t now_ms = gs_loop_now_ms(api->loop);
	uint32_t at = 0, count = 0;

	while (gs_round_trips_next(trips, kind, &at, now_ms, &ret_trips[count]))
		count++;
	return count;
}

/* ---- services and regions -------------------------------------------------------------------- */

static int by_id(const void *left, const void *right)
{
	const struct gs_round_trip *a = left, *b = right;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

static json_t *regions_json(const struct gs_api *api, const struct gs_snapshot *snapshot,
			    struct gs_round_trip *room)
{
	uint32_t count = read_trips(api, GS_ROUND_TRIPS_SERVICE, room);
	json_t *list = json_array();

	qsort(room, count, sizeof(*room), by_id);
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_service *service = gs_snapshot_service(snapshot, room[i].id);
		const struct gs_region *region = gs_snapshot_region(snapshot, room[i].region);
		json_t *json;

		if (!service || !region)
			continue;
		json = json_pack("{s:s, s:s}", "service", service->name, "region", region->name);
		add_trip(json, &room[i]);
		json_array_append_new(list, json);
	}
	return list;
}

/* ---- locations ------------------------------------------------------------------------------- */

static int by_count(const void *left, const void *right)
{
	const struct gs_round_trip *a = left, *b = right;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return by_id(left, right);
}

/* NULL: these tables have no such location. */
static json_t *location_json(const struct gs_reconcile_state *state, uint16_t id)
{
	const struct gs_location *location;
	const struct gs_region *region;
	json_t *json;

	if (!state->tables || id >= state->tables->location_count)
		return NULL;
	location = &state->tables->locations[id];
	json = gs_api_location(id, location);
	region = gs_snapshot_region(state->snapshot, location->override_region);
	if (region)
		json_object_set_new(json, "override", json_string(region->name));
	return json;
}

static json_t *locations_json(const struct gs_api *api, const struct gs_reconcile_state *state,
			      struct gs_round_trip *room, uint32_t limit)
{
	uint32_t count = read_trips(api, GS_ROUND_TRIPS_LOCATION, room);
	json_t *list = json_array();

	qsort(room, count, sizeof(*room), by_count);
	for (uint32_t i = 0; i < count && json_array_size(list) < limit; i++) {
		const struct gs_region *region =
			gs_snapshot_region(state->snapshot, room[i].region);
		json_t *location = region ? location_json(state, room[i].id) : NULL;
		json_t *json;

		if (!location)
			continue;
		json = json_pack("{s:o, s:s}", "location", location, "region", region->name);
		add_trip(json, &room[i]);
		json_array_append_new(list, json);
	}
	return list;
}

/* ---- backends -------------------------------------------------------------------------------- */

static int by_syns(const void *left, const void *right)
{
	const struct backend_row *a = left, *b = right;

	if (a->syns.opened != b->syns.opened)
		return a->syns.opened > b->syns.opened ? -1 : 1;
	return (a->backend->id > b->backend->id) - (a->backend->id < b->backend->id);
}

static json_t *backend_json(const struct gs_snapshot *snapshot, const struct backend_row *row)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, row->backend->service);
	const struct gs_region *region = gs_snapshot_region(snapshot, row->backend->region);
	double syns = (double)row->syns.opened + (double)row->syns.repeated;

	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:I, s:I, s:I}", "backend",
			 row->backend->name, "service", service ? service->name : "?", "region",
			 region ? region->name : "?", "opened", (json_int_t)row->syns.opened,
			 "repeated", (json_int_t)row->syns.repeated, "repeated_share",
			 (double)row->syns.repeated / syns, "resets", (json_int_t)row->syns.resets,
			 "measured", (json_int_t)row->syns.measured, "lost",
			 (json_int_t)row->syns.lost);
}

static json_t *backends_json(const struct gs_api *api, const struct gs_snapshot *snapshot,
			     uint32_t limit)
{
	GS_AUTO_FREE struct backend_row *rows = calloc(snapshot->backend_count + 1, sizeof(*rows));
	json_t *list = json_array();
	uint32_t count = 0;

	for (uint32_t i = 0; rows && i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		struct gs_syns syns = gs_handshakes_syns(api->handshakes, backend->id);

		if (syns.opened || syns.repeated)
			rows[count++] = (struct backend_row){backend, syns};
	}
	if (count > 0)
		qsort(rows, count, sizeof(*rows), by_syns);
	for (uint32_t i = 0; i < count && i < limit; i++)
		json_array_append_new(list, backend_json(snapshot, &rows[i]));
	return list;
}

/* ---- what a generation does to clients ------------------------------------------------------- */

static json_t *name_or_null(const char *name)
{
	return *name ? json_string(name) : json_null();
}

json_t *gs_api_shift_moves(const struct gs_shift *shift)
{
	json_t *moves = json_array();

	for (uint32_t i = 0; i < shift->move_count; i++)
		json_array_append_new(moves, json_pack("{s:s, s:o, s:o, s:f}", "service",
						       shift->moves[i].service, "from",
						       name_or_null(shift->moves[i].from), "to",
						       name_or_null(shift->moves[i].to), "flows",
						       shift->moves[i].flows));
	return moves;
}

json_t *gs_api_shift(const struct gs_api *api)
{
	const struct gs_shift *shift =
		api->handshakes ? gs_handshakes_shift(api->handshakes) : NULL;

	if (!shift)
		return NULL;
	return json_pack("{s:I, s:f, s:i, s:f, s:f, s:o}", "generation",
			 (json_int_t)shift->generation, "sampled", shift->flows, "prefixes",
			 (int)shift->prefixes, "moved", shift->moved, "share",
			 shift->flows > 0 ? shift->moved / shift->flows : 0.0, "moves",
			 gs_api_shift_moves(shift));
}

/* ---- all of it ------------------------------------------------------------------------------- */

json_t *gs_api_handshakes(const struct gs_api *api, uint32_t limit)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	GS_AUTO_FREE struct gs_round_trip *room = NULL;

	if (!api->handshakes || !state->snapshot)
		return json_pack("{s:i, s:[], s:[], s:[]}", "one_in",
				 api->handshakes ? (int)gs_handshakes_one_in(api->handshakes) : 0,
				 "regions", "locations", "backends");
	room = calloc(GS_ROUND_TRIPS_PAIRS, sizeof(*room));
	if (!room)
		return NULL;
	return json_pack("{s:i, s:o, s:o, s:o}", "one_in",
			 (int)gs_handshakes_one_in(api->handshakes), "regions",
			 regions_json(api, state->snapshot, room), "locations",
			 locations_json(api, state, room, limit), "backends",
			 backends_json(api, state->snapshot, limit));
}

json_t *gs_api_handshake_list(const struct gs_api *api, const json_t *request)
{
	const json_t *limit = json_object_get(request, "limit");

	if (!limit)
		return gs_api_handshakes(api, GS_API_HANDSHAKES);
	if (!json_is_integer(limit) || json_integer_value(limit) < 0 ||
	    json_integer_value(limit) > GS_API_HANDSHAKES_MAX)
		return gs_api_error("limit: is no whole number of 0 to %d", GS_API_HANDSHAKES_MAX);
	return gs_api_handshakes(api, (uint32_t)json_integer_value(limit));
}
