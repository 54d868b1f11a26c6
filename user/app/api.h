/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be asked of a running daemon: a JSON request in, a JSON reply out. No sockets here; the
 * control adapter brings the bytes, and REST will.
 *
 * Request: {"command": "status"} and so on, see COMMANDS in api.c. Reply: an object; what went
 * wrong is {"error": "..."}.
 */
#pragma once

#include "anchors.h"
#include "capacity.h"
#include "config.h"
#include "demand.h"
#include "handshakes.h"
#include "latencies.h"
#include "reconcile.h"

#include <jansson.h>

/* What the REST interface has done. */
struct gs_http_counts {
	uint64_t responses[6]; /* by the first digit of the status */
	uint32_t connections;  /* open now */
};

/* _ROWS, _BALLOTS, _BACKENDS: no more in one answer, which is made in one turn of the loop. */
enum { GS_API_DEMAND = 20, GS_API_DEMAND_MAX = 20000, GS_API_DEMAND_ROWS = 1000 };
enum { GS_API_STATUS_BACKENDS = 250, GS_API_VOTES_BALLOTS = 5000 };
enum {
	GS_API_LATENCIES = 100,
	GS_API_LATENCIES_MAX = GS_LATENCIES_MAX,
	GS_API_LATENCIES_ROWS = 2000
};
enum { GS_API_HANDSHAKES = 20, GS_API_HANDSHAKES_MAX = GS_MAX_BACKENDS };

struct gs_api {
	struct gs_reconcile *reconcile;
	struct gs_reach *reach; /* NULL: never drained, and no link is judged */
	const struct gs_dataplane *dataplane;
	struct gs_loop *loop;
	const struct gs_config *config;
	struct gs_handshakes *handshakes;  /* NULL: none */
	struct gs_demand *demand;	   /* NULL: none */
	struct gs_latencies *latencies;	   /* NULL: none */
	struct gs_capacity *capacity;	   /* NULL: none */
	const struct gs_anchors *anchors;  /* NULL: none */
	uint64_t started_ms;		   /* gs_loop_now_ms */
	const struct gs_http_counts *http; /* borrowed; NULL: HTTP is off */
};

/*
 * One request. Exactly one reply() follows, now or later (geo.load, geo.rollback); it owns the
 * reply, which is never NULL unless memory is out.
 */
void gs_api_handle(const struct gs_api *api, const char *request, size_t length,
		   void (*reply)(void *context, json_t *reply), void *context);

/* api_status.c, api_route.c, api_breaker.c, api_handshakes.c, api_demand.c, api_capacity.c.
 * `request` has passed as an object; new references. */
/* "backends_from": 0 if missing; GS_API_STATUS_BACKENDS from there, "backends_next" if there are
 * more. */
json_t *gs_api_status(const struct gs_api *api, const json_t *request);
json_t *gs_api_route(const struct gs_api *api, const json_t *request);
/* The same of any state: tables, snapshot and view are needed, monitor and breakers may be NULL. */
json_t *gs_api_route_of(const struct gs_reconcile_state *state, const json_t *request);
json_t *gs_api_geo_show(const struct gs_api *api, const json_t *request);
/* api_geo.c. Load: "path", "force", "dry_run"; the reply of one that was refused has "change"
 * beside "error". */
void gs_api_geo_load(const struct gs_api *api, const json_t *request,
		     void (*reply)(void *context, json_t *reply), void *context);
void gs_api_geo_rollback(const struct gs_api *api, const json_t *request,
			 void (*reply)(void *context, json_t *reply), void *context);
json_t *gs_api_geo_cancel(const struct gs_api *api, const json_t *request);
json_t *gs_api_geo_status(const struct gs_api *api, const json_t *request);
/* The database in force, the one before it, what the last one was found to change. */
json_t *gs_api_geoip(const struct gs_reconcile_state *state);
/* The load under way; NULL: none is. */
json_t *gs_api_loading(const struct gs_api *api, const struct gs_reconcile_state *state);
json_t *gs_api_breaker_list(const struct gs_api *api, const json_t *request);
/* api_edge.c */
json_t *gs_api_edge_show(const struct gs_api *api, const json_t *request);
json_t *gs_api_edge_ready(const struct gs_api *api, const json_t *request);
json_t *gs_api_edge_drain(const struct gs_api *api, const json_t *request);
json_t *gs_api_edge_resume(const struct gs_api *api, const json_t *request);
/* api_overlay.c. In lay and lift, "kind" and "names" (with patterns) say what is meant. */
json_t *gs_api_overlay_list(const struct gs_api *api, const json_t *request);
json_t *gs_api_overlay_lay(const struct gs_api *api, const json_t *request);
json_t *gs_api_overlay_lift(const struct gs_api *api, const json_t *request);
/* What is named, patterns as the names they match; at most GS_OVERLAYS_LOCAL_MAX. kind: "region",
 * "service" or "backend"; any text. NULL: *ret_error. The caller frees. */
struct gs_overlay_names *gs_api_names(const struct gs_reconcile_state *state, const char *kind,
				      const json_t *list, uint32_t *ret_count, json_t **ret_error);
/* api_damping.c. "names" of backends, with patterns: {"backends", "cleared"}. */
json_t *gs_api_damping_clear(const struct gs_api *api, const json_t *request);
/* "flap_penalty", "flaps" of a backend of the service that has flapped of late; "damped" (why, for
 * people) and "damped_s" (until it is let go) of one that is held, or would be. */
void gs_api_add_damping(json_t *json, const struct gs_reconcile_state *state,
			const struct gs_service *service, gs_id backend, uint64_t now_ms);
/* The edge's own, of objects that are not there too, then those of all that hold here. */
json_t *gs_api_overlays(const struct gs_api *api);
/* What is laid over an object: "overlay"; "admin" is what it says then, "configured" what was
 * there. Nothing: nothing. state->snapshot is there. */
void gs_api_add_overlay(json_t *json, const struct gs_reconcile_state *state,
			const struct gs_overlay *object);
/* How the edge is reached, drained or not; api->reach is there. */
json_t *gs_api_reach(const struct gs_api *api);
/* "limit": 0 .. GS_API_HANDSHAKES_MAX. */
json_t *gs_api_handshake_list(const struct gs_api *api, const json_t *request);
/* limit: of locations, and of backends, the busiest first. */
json_t *gs_api_handshakes(const struct gs_api *api, uint32_t limit);
/* What the last generation did to the clients of the hour before it; NULL: none has come. */
json_t *gs_api_shift(const struct gs_api *api);
json_t *gs_api_shift_moves(const struct gs_shift *shift);
/* "policy", "by", "limit": 0 .. GS_API_DEMAND_MAX; all may be missing. */
json_t *gs_api_capacity_list(const struct gs_api *api, const json_t *request);
json_t *gs_api_demand_list(const struct gs_api *api, const json_t *request);
/* The busiest first; offset and limit: GS_API_DEMAND_MAX at most; GS_API_DEMAND_ROWS rows at most.
 */
json_t *gs_api_demand(const struct gs_api *api, const struct gs_demand_query *query,
		      uint32_t offset, uint32_t limit);
/* policy, by: NULL: not asked for. NULL; or which of them, "policy", "by", there is not. */
const char *gs_api_demand_query(const struct gs_api *api, const char *policy, const char *by,
				struct gs_demand_query *ret_query);
/* api_latency.c. "place", "limit": 0 .. GS_API_LATENCIES_MAX; both may be missing. */
json_t *gs_api_latency_list(const struct gs_api *api, const json_t *request);
/* place: NULL, or those of it and of the places in it only; any text. */
json_t *gs_api_latencies(const struct gs_api *api, const char *place, uint32_t offset,
			 uint32_t limit);
bool gs_api_is_latency_place(const char *text);
/* api_votes.c. "region" may be missing. */
json_t *gs_api_vote_list(const struct gs_api *api, const json_t *request);
/* region: a name, or NULL: all. What comes after GS_API_VOTES_BALLOTS ballots has none. */
json_t *gs_api_votes(const struct gs_api *api, const char *region);
/*
 * What the quorum holds, where it says more than this edge's own view (is_alive: it reaches the
 * pool): "down by 4 of 5 edges in 2 of 3 domains". False: nothing.
 */
bool gs_api_votes_word(const struct gs_reconcile_state *state, gs_id service, gs_id region,
		       bool is_alive, char *out, size_t room);
/* One breaker as an object. */
json_t *gs_api_breaker(const struct gs_api *api, const struct gs_breakers_status *status);

/* Where a client goes, in brief: what is asked often. */
struct gs_route_decision {
	const char *region;	    /* of the snapshot; NULL: nowhere */
	double latency_ms;	    /* of a round trip, as regions are ranked by; < 0: not known */
	const char *latency_source; /* gs_latency_source_name, or "unknown" */
	char reason[GS_ERROR_MAX];
};
/* state->tables, snapshot and view are there. */
void gs_api_decide(const struct gs_api *api, const struct gs_service *service,
		   const struct gs_addr *client, struct gs_route_decision *ret_decision);

/* Does a rule deny this client of the service? Then why, for people. */
bool gs_api_is_denied(const struct gs_snapshot *snapshot, const struct gs_service *service,
		      const struct gs_addr *client, char *out, size_t room);
/* "panic": why health is ignored for the service, and how; nothing while it is not. */
void gs_api_add_panic(json_t *json, const struct gs_reconcile_state *state,
		      const struct gs_service *service);
/* "access": the rule that decides; "limits": what the client's packets are held to. Neither: none.
 */
void gs_api_add_access(json_t *json, const struct gs_snapshot *snapshot,
		       const struct gs_service *service, const struct gs_addr *client);

/* "skipped": regions that are not in the plan (NULL: there is none), and why. allowed: those that
 * fences leave; from: where the client is; either NULL: not known. */
void gs_api_add_skipped(json_t *json, const struct gs_snapshot *snapshot,
			const struct gs_service *service, const struct gs_plan *plan,
			const struct gs_region_set *allowed, const struct gs_coord *from);

/* {"error": text} */
json_t *gs_api_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The location as {"id", "country", ...}. */
json_t *gs_api_location(uint16_t id, const struct gs_location *location);
/* NULL and *ret_error if `key` is missing or no address. */
const char *gs_api_address(const json_t *request, const char *key, struct gs_addr *ret_addr,
			   json_t **ret_error);
