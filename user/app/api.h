/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be asked of a running daemon: a JSON request in, a JSON reply out. No sockets here; the
 * control adapter brings the bytes, and REST will.
 *
 * Request: {"command": "status"} and so on, see COMMANDS in api.c. Reply: an object; what went
 * wrong is {"error": "..."}.
 */
#pragma once

#include "config.h"
#include "demand.h"
#include "handshakes.h"
#include "reconcile.h"

#include <jansson.h>

/* What the REST interface has done. */
struct gs_http_counts {
	uint64_t responses[6]; /* by the first digit of the status */
	uint32_t connections;  /* open now */
};

enum { GS_API_DEMAND = 20, GS_API_DEMAND_MAX = 20000 };
enum { GS_API_HANDSHAKES = 20, GS_API_HANDSHAKES_MAX = GS_MAX_BACKENDS };

struct gs_api {
	struct gs_reconcile *reconcile;
	struct gs_reach *reach; /* NULL: never drained, and no link is judged */
	const struct gs_dataplane *dataplane;
	struct gs_loop *loop;
	const struct gs_config *config;
	struct gs_handshakes *handshakes;  /* NULL: none */
	struct gs_demand *demand;	   /* NULL: none */
	uint64_t started_ms;		   /* gs_loop_now_ms */
	const struct gs_http_counts *http; /* borrowed; NULL: HTTP is off */
};

/*
 * One request. Exactly one reply() follows, now or later (geo.load); it owns the reply, which is
 * never NULL unless memory is out.
 */
void gs_api_handle(const struct gs_api *api, const char *request, size_t length,
		   void (*reply)(void *context, json_t *reply), void *context);

/* api_status.c, api_route.c, api_breaker.c, api_handshakes.c, api_demand.c. `request` has passed as
 * an object; new references. */
json_t *gs_api_status(const struct gs_api *api, const json_t *request);
json_t *gs_api_route(const struct gs_api *api, const json_t *request);
/* The same of any state: tables, snapshot and view are needed, monitor and breakers may be NULL. */
json_t *gs_api_route_of(const struct gs_reconcile_state *state, const json_t *request);
json_t *gs_api_geo_show(const struct gs_api *api, const json_t *request);
json_t *gs_api_breaker_list(const struct gs_api *api, const json_t *request);
/* api_edge.c */
json_t *gs_api_edge_show(const struct gs_api *api, const json_t *request);
json_t *gs_api_edge_ready(const struct gs_api *api, const json_t *request);
json_t *gs_api_edge_drain(const struct gs_api *api, const json_t *request);
json_t *gs_api_edge_resume(const struct gs_api *api, const json_t *request);
/* How the edge is reached, drained or not; api->reach is there. */
json_t *gs_api_reach(const struct gs_api *api);
/* "limit": 0 .. GS_API_HANDSHAKES_MAX. */
json_t *gs_api_handshake_list(const struct gs_api *api, const json_t *request);
/* limit: of locations, and of backends, the busiest first. */
json_t *gs_api_handshakes(const struct gs_api *api, uint32_t limit);
/* What the last generation did to the clients of the hour before it; NULL: none has come. */
json_t *gs_api_shift(const struct gs_api *api);
/* "policy", "by", "limit": 0 .. GS_API_DEMAND_MAX; all may be missing. */
json_t *gs_api_demand_list(const struct gs_api *api, const json_t *request);
/* The busiest first; offset and limit: GS_API_DEMAND_MAX at most. */
json_t *gs_api_demand(const struct gs_api *api, const struct gs_demand_query *query,
		      uint32_t offset, uint32_t limit);
/* policy, by: NULL: not asked for. NULL; or which of them, "policy", "by", there is not. */
const char *gs_api_demand_query(const struct gs_api *api, const char *policy, const char *by,
				struct gs_demand_query *ret_query);
/* One breaker as an object. */
json_t *gs_api_breaker(const struct gs_api *api, const struct gs_breakers_status *status);

/* Where a client goes, in brief: what is asked often. */
struct gs_route_decision {
	const char *region; /* of the snapshot; NULL: nowhere */
	double latency_ms;  /* of a round trip, estimated by distance; < 0: not known */
	char reason[GS_ERROR_MAX];
};
/* state->tables, snapshot and view are there. */
void gs_api_decide(const struct gs_api *api, const struct gs_service *service,
		   const struct gs_addr *client, struct gs_route_decision *ret_decision);

/* Does a rule deny this client of the service? Then why, for people. */
bool gs_api_is_denied(const struct gs_snapshot *snapshot, const struct gs_service *service,
		      const struct gs_addr *client, char *out, size_t room);
/* "access": the rule that decides; "limits": what the client's packets are held to. Neither: none.
 */
void gs_api_add_access(json_t *json, const struct gs_snapshot *snapshot,
		       const struct gs_service *service, const struct gs_addr *client);

/* "skipped": regions that are not in the plan (NULL: there is none), and why. from: where the
 * client is; NULL: not known. */
void gs_api_add_skipped(json_t *json, const struct gs_snapshot *snapshot,
			const struct gs_service *service, const struct gs_plan *plan,
			const struct gs_coord *from);

/* {"error": text} */
json_t *gs_api_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The location as {"id", "country", ...}. */
json_t *gs_api_location(uint16_t id, const struct gs_location *location);
/* NULL and *ret_error if `key` is missing or no address. */
const char *gs_api_address(const json_t *request, const char *key, struct gs_addr *ret_addr,
			   json_t **ret_error);
