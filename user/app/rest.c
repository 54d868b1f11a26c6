/* SPDX-License-Identifier: Apache-2.0 */
#include "rest.h"

#include "fields.h"
#include "ready.h"
#include "route_plain.h"
#include "user/base/cleanup.h"
#include "user/base/suggest.h"
#include "user/core/cidr.h"
#include "user/core/override.h"
#include "user/core/place.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define API "/api/v1/"
enum { LIMIT_DEFAULT = 1000, LIMIT_MAX = 20000 };
enum { SMALL_BYTES = 2048 }; /* of an answer that is written once, not first to learn its length */

struct call {
	const struct gs_api *api;
	const struct gs_reconcile_state *state;
	const struct gs_rest_request *request;
	struct gs_rest_response *response;
	const char *name; /* what follows the resource in the path; NULL: nothing */
};

/* ---- answers --------------------------------------------------------------------------------- */

/* Steals json. */
static void answer(struct call *call, unsigned int status, json_t *json)
{
	const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12);
	char small[SMALL_BYTES];
	size_t length = json ? json_dumpb(json, small, sizeof(small), flags) : 0;
	char *body = length > 0 ? malloc(length + 1) : NULL;

	if (body && length <= sizeof(small))
		memcpy(body, small, length);
	if (body && (length <= sizeof(small) || json_dumpb(json, body, length, flags) == length))
		body[length++] = '\n'; /* for people with curl */
	call->response->status = status;
	call->response->body = body;
	call->response->length = body ? length : 0;
	json_decref(json);
}

/* RFC 9457. field: what of the request is wrong, or NULL. */
static json_t *problem(unsigned int status, const char *title, const char *field,
		       const char *detail)
{
	json_t *json = json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title", title,
				 "status", (int)status, "detail", detail);

	if (!json) /* a detail that quotes what is no UTF-8 */
		json = json_pack("{s:s, s:s, s:i}", "type", "about:blank", "title", title, "status",
				 (int)status);
	if (field)
		json_object_set_new(json, "field", json_string(field));
	return json;
}

static void refuse(struct call *call, unsigned int status, const char *title, const char *field,
		   const char *format, ...) __attribute__((format(printf, 5, 6)));
static void refuse(struct call *call, unsigned int status, const char *title, const char *field,
		   const char *format, ...)
{
	char detail[GS_ERROR_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	answer(call, status, problem(status, title, field, detail));
	call->response->content_type = "application/problem+json";
}

void gs_rest_refuse(unsigned int status, const char *title, const char *detail,
		    struct gs_rest_response *ret_response)
{
	struct call call = {.response = ret_response};

	*ret_response = (struct gs_rest_response){.content_type = NULL};
	refuse(&call, status, title, NULL, "%s", detail);
}

static bool has_snapshot(struct call *call)
{
	if (call->state->snapshot && call->state->view)
		return true;
	refuse(call, 503, "Not ready", NULL, "no configuration is in force on this edge yet");
	return false;
}

/* ---- what is asked -------------------------------------------------------------------------- */

/* what: "member", "parameter". */
static bool is_known(struct call *call, const char *what, const char *word,
		     const char *const *words, size_t count)
{
	const char *nearest;

	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	nearest = gs_suggest(word, words, count);
	refuse(call, 400, "Unknown word", word, "the request has no %s '%.40s'%s%s%s", what, word,
	       nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
	return false;
}

/* NULL: not given. */
static const char *parameter(const struct call *call, const char *name)
{
	for (uint32_t i = 0; i < call->request->parameter_count; i++)
		if (strcmp(call->request->parameters[i].name, name) == 0)
			return call->request->parameters[i].value;
	return NULL;
}

/* Each of them known, and given once; else refused. */
static bool knows_parameters(struct call *call, const char *const *names, size_t count)
{
	const struct gs_rest_request *request = call->request;

	for (uint32_t i = 0; i < request->parameter_count; i++) {
		const char *name = request->parameters[i].name;

		if (!is_known(call, "parameter", name, names, count))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(request->parameters[j].name, name) == 0) {
				refuse(call, 400, "Parameter twice", name, "%s is given twice",
				       name);
				return false;
			}
	}
	return true;
}

/* ---- health ---------------------------------------------------------------------------------- */

static void get_live(struct call *call)
{
	answer(call, 200, json_pack("{s:b}", "live", true));
}

/* Parameters that are not known are left alone: balancers add such. */
static void get_health(struct call *call)
{
	const char *text = parameter(call, "vip");
	char why[GS_READY_REASONS_MAX * GS_ERROR_MAX];
	struct gs_ready ready;
	struct gs_addr vip;
	json_t *json;

	if (text && gs_addr_parse(text, &vip) != 0) {
		refuse(call, 400, "No address", "vip", "vip is no IPv4 or IPv6 address");
		return;
	}
	gs_ready_judge(call->api, text ? &vip : NULL, &ready);
	json = json_pack("{s:b, s:b, s:s, s:I, s:b}", "live", true, "ready", ready.count == 0,
			 "edge", call->api->config->edge, "generation",
			 (json_int_t)call->state->info.generation, "database",
			 call->state->connected);
	if (ready.count > 0)
		json_object_set_new(json, "why",
				    json_string(gs_ready_why(&ready, why, sizeof(why))));
	answer(call, ready.count > 0 ? 503 : 200, json);
}

/* ---- route ----------------------------------------------------------------------------------- */

static bool knows_key(struct call *call, const char *key)
{
	static const char *const keys[] = {"client_ip", "service"};

	return is_known(call, "member", key, keys, ARRAY_SIZE(keys));
}

/* application/json in any case, with parameters or without; but not application/jsonx. */
static bool is_json_type(const char *type)
{
	static const char json[] = "application/json";
	size_t length = sizeof(json) - 1;

	return type && strncasecmp(type, json, length) == 0 &&
	       (!type[length] || strchr("; \t", type[length]));
}

/* False: refused. */
static bool may_have_json(struct call *call)
{
	if (call->request->is_too_large)
		refuse(call, 413, "Body too large", NULL, "a body has %d bytes at most",
		       GS_REST_BODY_MAX);
	else if (!is_json_type(call->request->content_type))
		refuse(call, 415, "Not JSON", NULL, "send Content-Type: application/json");
	else
		return true;
	return false;
}

/* The body as an object with nothing in it that is not known; NULL: refused. */
static json_t *read_body(struct call *call)
{
	const struct gs_rest_request *request = call->request;
	json_error_t error;
	const char *key;
	json_t *json, *value;

	json = json_loadb(request->body ? request->body : "", request->length,
			  JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		refuse(call, 400, "Not a JSON object", NULL, "line %d, column %d: %s", error.line,
		       error.column, error.text);
		return NULL;
	}
	if (!json_is_object(json)) {
		refuse(call, 400, "Not a JSON object", NULL, "send an object, {...}");
		json_decref(json);
		return NULL;
	}
	json_object_foreach (json, key, value)
		if (!knows_key(call, key)) {
			json_decref(json);
			return NULL;
		}
	return json;
}

/* An estimate has no more than a tenth of a millisecond to tell. */
static double round_ms(double ms)
{
	return (double)(long long)(ms * 10 + 0.5) / 10;
}

static void answer_decision(struct call *call, const struct gs_route_decision *decision)
{
	uint64_t generation = call->state->info.generation;
	char plain[GS_ROUTE_PLAIN_MAX];
	size_t length = gs_route_plain_write(decision, generation, plain);

	if (length == 0) {
		answer(call, 200,
		       json_pack("{s:s?, s:o, s:s, s:s, s:I}", "region", decision->region,
				 "latency_ms",
				 decision->latency_ms < 0
					 ? json_null()
					 : json_real(round_ms(decision->latency_ms)),
				 "latency_source", decision->latency_source, "reason",
				 decision->reason, "generation", (json_int_t)generation));
		return;
	}
	call->response->status = 200;
	call->response->body = malloc(length);
	call->response->length = call->response->body ? length : 0;
	if (call->response->body)
		memcpy(call->response->body, plain, length);
}

/* client, service: NULL: missing, or no text. */
static void decide(struct call *call, const char *client, const char *name)
{
	const struct gs_service *service;
	struct gs_route_decision decision;
	struct gs_addr addr;

	if (!call->state->tables || !call->state->snapshot || !call->state->view) {
		refuse(call, 503, "Not ready", NULL,
		       "no generation of this daemon is in force yet");
		return;
	}
	if (!client || gs_addr_parse(client, &addr) != 0) {
		refuse(call, 400, "No client address", "client_ip", "%s",
		       client ? "client_ip is no IPv4 or IPv6 address"
			      : "client_ip is missing, or no text");
		return;
	}
	service = name ? gs_snapshot_service_named(call->state->snapshot, name) : NULL;
	if (!service) {
		refuse(call, name ? 404 : 400, "No such service", "service", "%s",
		       name ? "no service has this name" : "service is missing, or no text");
		return;
	}
	gs_api_decide(call->api, service, &addr, &decision);
	answer_decision(call, &decision);
}

static void post_route(struct call *call)
{
	const struct gs_rest_request *request = call->request;
	struct gs_route_question question;
	json_t *body;

	if (!knows_parameters(call, NULL, 0) || !may_have_json(call))
		return;
	if (request->body && gs_route_plain_read(request->body, request->length, &question)) {
		decide(call, question.client_ip, question.service);
		return;
	}
	body = read_body(call);
	if (body)
		decide(call, json_string_value(json_object_get(body, "client_ip")),
		       json_string_value(json_object_get(body, "service")));
	json_decref(body);
}

/* ---- objects --------------------------------------------------------------------------------- */

static const struct gs_backend *backend_at(const struct gs_snapshot *snapshot, uint32_t index)
{
	return &snapshot->backends[index];
}

static void add_backend_state(const struct call *call, uint32_t index, json_t *json)
{
	const struct gs_backend *backend = backend_at(call->state->snapshot, index);
	struct gs_monitor_status health;

	json_object_set_new(json, "state",
			    json_string(gs_usable_name(call->state->view->backends[backend->id])));
	if (!gs_monitor_get(call->state->monitor, backend->id, &health))
		return;
	json_object_set_new(json, "health", json_string(gs_health_state_name(health.state)));
	json_object_set_new(json, "latency_ms", json_real(health.latency_us / 1000.0));
	gs_api_add_damping(json, call->state,
			   gs_snapshot_service(call->state->snapshot, backend->service),
			   backend->id, gs_loop_now_ms(call->api->loop));
}

/* The object as it is configured, and how it is. */
static json_t *object_json(const struct call *call, enum gs_kind kind, uint32_t index)
{
	GS_AUTO_FREE struct gs_fields *fields = malloc(sizeof(*fields));
	const struct gs_snapshot *snapshot = call->state->snapshot;
	json_t *json;

	if (!fields)
		return NULL;
	gs_fields_get(snapshot, kind, index, fields);
	json = gs_fields_json(fields);
	if (json && kind == GS_KIND_REGION)
		gs_api_add_overlay(json, call->state,
				   &(struct gs_overlay){.region = snapshot->regions[index].id});
	if (json && kind == GS_KIND_BACKEND)
		gs_api_add_overlay(json, call->state,
				   &(struct gs_overlay){.backend = snapshot->backends[index].id});
	if (json && kind == GS_KIND_SERVICE)
		gs_api_add_panic(json, call->state, &snapshot->services[index]);
	if (json && kind == GS_KIND_REGION)
		json_object_set_new(
			json, "state",
			json_string(gs_usable_name(
				call->state->view->regions[snapshot->regions[index].id])));
	if (json && kind == GS_KIND_BACKEND)
		add_backend_state(call, index, json);
	return json;
}

/* 0 .. max of a query's number; false: refused. */
static bool read_number(struct call *call, const char *name, uint32_t otherwise, uint32_t max,
			uint32_t *ret_number)
{
	const char *text = parameter(call, name);
	unsigned long number;
	char *end;

	*ret_number = otherwise;
	if (!text)
		return true;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || number > max) {
		refuse(call, 400, "Not a number", name, "%s is a whole number of 0 to %u", name,
		       max);
		return false;
	}
	*ret_number = (uint32_t)number;
	return true;
}

static void get_list(struct call *call, enum gs_kind kind)
{
	static const char *const parameters[] = {"offset", "limit"};
	uint32_t count = gs_kind_count(call->state->snapshot, kind), offset, limit;
	json_t *list;

	if (!knows_parameters(call, parameters, ARRAY_SIZE(parameters)) ||
	    !read_number(call, "offset", 0, UINT32_MAX, &offset) ||
	    !read_number(call, "limit", LIMIT_DEFAULT, LIMIT_MAX, &limit))
		return;
	list = json_array();
	for (uint32_t i = offset; i < count && i - offset < limit; i++)
		json_array_append_new(list, object_json(call, kind, i));
	answer(call, 200,
	       json_pack("{s:i, s:I, s:o}", "total", (int)count, "revision",
			 (json_int_t)call->state->snapshot->revision, gs_kind_plural(kind), list));
}

/* A prefix, an AS or a place. */
static int64_t override_index(const struct gs_snapshot *snapshot, const char *name)
{
	struct gs_override wanted = {.region = 0};

	if (gs_override_parse(name, &wanted) != 0)
		return -ENOENT;
	for (uint32_t i = 0; i < snapshot->override_count; i++)
		if (gs_override_compare(&snapshot->overrides[i], &wanted) == 0)
			return i;
	return -ENOENT;
}

/* "WHAT" or "WHAT@SERVICE": false if there is no such service. */
static bool split_name(const struct gs_snapshot *snapshot, const char *name,
		       char what[GS_PREFIX_TEXT_MAX], gs_id *ret_service)
{
	const char *at = strchr(name, '@');
	const struct gs_service *service = at ? gs_snapshot_service_named(snapshot, at + 1) : NULL;

	snprintf(what, GS_PREFIX_TEXT_MAX, "%.*s", at ? (int)(at - name) : (int)strlen(name), name);
	*ret_service = service ? service->id : 0;
	return !at || service;
}

static int64_t access_index(const struct gs_snapshot *snapshot, const char *name)
{
	struct gs_access wanted = {.service = 0};
	char prefix[GS_PREFIX_TEXT_MAX];

	if (!split_name(snapshot, name, prefix, &wanted.service) ||
	    gs_prefix_parse(prefix, &wanted.prefix) != 0)
		return -ENOENT;
	for (uint32_t i = 0; i < snapshot->access_count; i++)
		if (gs_access_compare(&snapshot->access[i], &wanted) == 0)
			return i;
	return -ENOENT;
}

static int64_t fence_index(const struct gs_snapshot *snapshot, const char *name)
{
	struct gs_fence wanted = {.service = 0};
	char place[GS_PREFIX_TEXT_MAX];

	if (!split_name(snapshot, name, place, &wanted.service) ||
	    gs_place_parse(place, &wanted.place) != 0)
		return -ENOENT;
	for (uint32_t i = 0; i < snapshot->fence_count; i++)
		if (gs_fence_compare(&snapshot->fences[i], &wanted) == 0)
			return i;
	return -ENOENT;
}

/* Where the snapshot has the object of that name, or -ENOENT. */
static int64_t object_index(const struct gs_snapshot *snapshot, enum gs_kind kind, const char *name)
{
	const struct gs_region *region;
	const struct gs_policy *policy;
	const struct gs_service *service;
	const struct gs_backend *backend;

	switch (kind) {
	case GS_KIND_REGION:
		region = gs_snapshot_region_named(snapshot, name);
		return region ? region - snapshot->regions : -ENOENT;
	case GS_KIND_POLICY:
		policy = gs_snapshot_policy_named(snapshot, name);
		return policy ? policy - snapshot->policies : -ENOENT;
	case GS_KIND_SERVICE:
		service = gs_snapshot_service_named(snapshot, name);
		return service ? service - snapshot->services : -ENOENT;
	case GS_KIND_BACKEND:
		backend = gs_snapshot_backend_named(snapshot, name);
		return backend ? backend - snapshot->backends : -ENOENT;
	case GS_KIND_OVERRIDE:
		return override_index(snapshot, name);
	case GS_KIND_ACCESS:
		return access_index(snapshot, name);
	case GS_KIND_FENCE:
		return fence_index(snapshot, name);
	default:
		return -ENOENT;
	}
}

static void get_one(struct call *call, enum gs_kind kind)
{
	int64_t index = object_index(call->state->snapshot, kind, call->name);

	if (!knows_parameters(call, NULL, 0))
		return;
	if (index >= 0)
		answer(call, 200, object_json(call, kind, (uint32_t)index));
	else
		refuse(call, 404, "Not found", NULL, "no %s has this name", gs_kind_name(kind));
}

static void get_objects(struct call *call, enum gs_kind kind)
{
	if (!has_snapshot(call))
		return;
	if (call->name)
		get_one(call, kind);
	else
		get_list(call, kind);
}

#define GET_OBJECTS(object, kind)                   \
	static void get_##object(struct call *call) \
	{                                           \
		get_objects(call, kind);            \
	}
GET_OBJECTS(regions, GS_KIND_REGION)
GET_OBJECTS(policies, GS_KIND_POLICY)
GET_OBJECTS(services, GS_KIND_SERVICE)
GET_OBJECTS(backends, GS_KIND_BACKEND)
GET_OBJECTS(overrides, GS_KIND_OVERRIDE)
GET_OBJECTS(access, GS_KIND_ACCESS)
GET_OBJECTS(fences, GS_KIND_FENCE)

static void get_breakers(struct call *call)
{
	if (knows_parameters(call, NULL, 0))
		answer(call, 200, gs_api_breaker_list(call->api, NULL));
}

static void get_votes(struct call *call)
{
	static const char *const parameters[] = {"region"};
	const char *region = parameter(call, "region");

	if (!knows_parameters(call, parameters, ARRAY_SIZE(parameters)))
		return;
	if (region &&
	    (!call->state->snapshot || !gs_snapshot_region_named(call->state->snapshot, region)))
		refuse(call, 404, "No such region", "region", "no region has this name");
	else
		answer(call, 200, gs_api_votes(call->api, region));
}

static void get_overlays(struct call *call)
{
	if (knows_parameters(call, NULL, 0))
		answer(call, 200, gs_api_overlay_list(call->api, NULL));
}

static void get_handshakes(struct call *call)
{
	static const char *const parameters[] = {"limit"};
	uint32_t limit;

	if (knows_parameters(call, parameters, ARRAY_SIZE(parameters)) &&
	    read_number(call, "limit", GS_API_HANDSHAKES, GS_API_HANDSHAKES_MAX, &limit))
		answer(call, 200, gs_api_handshakes(call->api, limit));
}

static void get_demand(struct call *call)
{
	static const char *const parameters[] = {"policy", "by", "offset", "limit"};
	struct gs_demand_query query;
	uint32_t offset, limit;
	const char *wrong;

	if (!knows_parameters(call, parameters, ARRAY_SIZE(parameters)) || !has_snapshot(call) ||
	    !read_number(call, "offset", 0, GS_API_DEMAND_MAX, &offset) ||
	    !read_number(call, "limit", GS_API_DEMAND, GS_API_DEMAND_MAX, &limit))
		return;
	wrong = gs_api_demand_query(call->api, parameter(call, "policy"), parameter(call, "by"),
				    &query);
	if (!wrong)
		answer(call, 200, gs_api_demand(call->api, &query, offset, limit));
	else if (strcmp(wrong, "policy") == 0)
		refuse(call, 404, "No such policy", wrong, "no policy has this name");
	else
		refuse(call, 400, "Unknown word", wrong,
		       "by is one of policy, location, region, country");
}

static void get_latencies(struct call *call)
{
	static const char *const parameters[] = {"place", "offset", "limit"};
	const char *place = parameter(call, "place");
	uint32_t offset, limit;

	if (!knows_parameters(call, parameters, ARRAY_SIZE(parameters)) ||
	    !read_number(call, "offset", 0, GS_API_LATENCIES_MAX, &offset) ||
	    !read_number(call, "limit", GS_API_LATENCIES, GS_API_LATENCIES_MAX, &limit))
		return;
	if (place && !gs_api_is_latency_place(place))
		refuse(call, 400, "Not a place", "place",
		       "a place is one like everybody, country:DE or cell:DE-BE/52,13");
	else
		answer(call, 200, gs_api_latencies(call->api, place, offset, limit));
}

static void get_capacity(struct call *call)
{
	if (knows_parameters(call, NULL, 0))
		answer(call, 200, gs_api_capacity_list(call->api, NULL));
}

static void get_status(struct call *call)
{
	if (knows_parameters(call, NULL, 0))
		answer(call, 200, gs_api_status(call->api, NULL));
}

static void get_metrics(struct call *call)
{
	call->response->status = 200;
	call->response->content_type = "text/plain; version=0.0.4; charset=utf-8";
	if (gs_metrics_new(call->api, &call->response->metrics))
		call->response->metrics = NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct {
	const char *method, *path;
	bool has_names; /* PATH/NAME too */
	void (*handle)(struct call *call);
} CALLS[] = {
	{"GET", "/health", false, get_health},
	{"GET", "/health/live", false, get_live},
	{"GET", "/health/ready", false, get_health},
	{"GET", "/metrics", false, get_metrics},
	{"POST", API "route", false, post_route},
	{"GET", API "regions", true, get_regions},
	{"GET", API "policies", true, get_policies},
	{"GET", API "services", true, get_services},
	{"GET", API "backends", true, get_backends},
	{"GET", API "overrides", true, get_overrides},
	{"GET", API "access", true, get_access},
	{"GET", API "fences", true, get_fences},
	{"GET", API "breakers", false, get_breakers},
	{"GET", API "votes", false, get_votes},
	{"GET", API "overlays", false, get_overlays},
	{"GET", API "status", false, get_status},
	{"GET", API "handshakes", false, get_handshakes},
	{"GET", API "latencies", false, get_latencies},
	{"GET", API "demand", false, get_demand},
	{"GET", API "capacity", false, get_capacity},
};

/* True: the path is this call's; *ret_name: what follows, or NULL. */
static bool matches(const char *path, size_t i, const char **ret_name)
{
	size_t length = strlen(CALLS[i].path);

	*ret_name = NULL;
	if (strncmp(path, CALLS[i].path, length) != 0)
		return false;
	if (!path[length])
		return true;
	*ret_name = path + length + 1;
	return CALLS[i].has_names && path[length] == '/' && **ret_name;
}

void gs_rest_handle(const struct gs_api *api, const struct gs_rest_request *request,
		    struct gs_rest_response *ret_response)
{
	bool is_head = strcmp(request->method, "HEAD") == 0;
	const char *method = is_head ? "GET" : request->method;
	struct call call = {.api = api,
			    .state = gs_reconcile_look(api->reconcile),
			    .request = request,
			    .response = ret_response};

	*ret_response = (struct gs_rest_response){.content_type = "application/json"};
	for (size_t i = 0; i < ARRAY_SIZE(CALLS); i++) {
		if (!matches(request->path, i, &call.name))
			continue;
		if (strcmp(CALLS[i].method, method) == 0) {
			CALLS[i].handle(&call);
			return;
		}
		refuse(&call, 405, "Method not allowed", NULL, "%s takes %s", CALLS[i].path,
		       CALLS[i].method);
		ret_response->allow = strcmp(CALLS[i].method, "GET") == 0 ? "GET, HEAD" : "POST";
		return;
	}
	refuse(&call, 404, "Not found", NULL, "there is no such resource; see API_Reference.md");
}
