/* SPDX-License-Identifier: Apache-2.0 */
/* GeoIP databases: put into force, taken back, looked at; how far that is, and what it changes. */
#include "api.h"

#include "user/base/cleanup.h"
#include "user/core/moment.h"

#include <errno.h>
#include <string.h>

/* ---- what is shown --------------------------------------------------------------------------- */

static json_t *name_or_null(const char *name)
{
	return *name ? json_string(name) : json_null();
}

static json_t *family_json(const struct gs_geo_change_family *family)
{
	return json_pack("{s:f, s:f, s:f, s:o}", "addresses", family->located, "relocated_share",
			 family->relocated, "moved_share", family->moved, "service",
			 name_or_null(family->service));
}

static json_t *traffic_json(const struct gs_geo_change *change)
{
	double flows = change->shift.flows;

	return json_pack("{s:f, s:i, s:f, s:f, s:f, s:o}", "sampled", flows, "prefixes",
			 (int)change->shift.prefixes, "relocated_share",
			 flows > 0 ? change->relocated_flows / flows : 0.0, "moved",
			 change->shift.moved, "moved_share", gs_geo_change_traffic(change), "moves",
			 gs_api_shift_moves(&change->shift));
}

static json_t *moves_json(const struct gs_geo_change *change)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < change->move_count; i++) {
		const struct gs_geo_change_move *move = &change->moves[i];

		json_array_append_new(
			list, json_pack("{s:s, s:i, s:o, s:o, s:f, s:f}", "service", move->service,
					"services", (int)move->services, "from",
					name_or_null(move->from), "to", name_or_null(move->to),
					"ipv4_share", move->share4, "ipv6_share", move->share6));
	}
	return list;
}

static json_t *limit_json(uint32_t percent)
{
	return percent < GS_GEO_LIMIT_OFF ? json_integer((json_int_t)percent) : json_null();
}

static json_t *change_json(const struct gs_geo_change *change)
{
	char when[GS_MOMENT_TEXT_MAX];
	json_t *json =
		json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:b, s:i}", "file", change->path,
			  "before", change->before, "outcome", gs_geo_outcome_name(change->outcome),
			  "when", gs_moment_format(change->unix_ms, when), "limit_percent",
			  limit_json(change->limit_percent), "forced", change->is_forced, "same",
			  change->is_same, "took_ms", (int)change->took_ms);

	if (json && !change->is_same)
		json_object_update_new(
			json, json_pack("{s:o, s:o, s:o, s:o}", "ipv4", family_json(&change->v4),
					"ipv6", family_json(&change->v6), "traffic",
					traffic_json(change), "moves", moves_json(change)));
	return json;
}

static json_t *database_json(const struct gs_geodata *geo)
{
	return json_pack("{s:s, s:s, s:I, s:i, s:I, s:I, s:I}", "file", geo->path, "type",
			 geo->database_type, "build_unix_s", (json_int_t)geo->build_unix_s,
			 "locations", (int)geo->location_count - 1, "prefixes4",
			 (json_int_t)geo->v4.prefixes, "prefixes6", (json_int_t)geo->v6.prefixes,
			 "load_ms", (json_int_t)(geo->load_us / 1000));
}

json_t *gs_api_geoip(const struct gs_reconcile_state *state)
{
	json_t *json = state->geo ? database_json(state->geo) : json_object();

	if (state->geo_problem[0])
		json_object_set_new(json, "problem", json_string(state->geo_problem));
	json_object_set_new(json, "refused", json_boolean(state->geo_refused));
	if (state->geo_before)
		json_object_set_new(json, "before", database_json(state->geo_before));
	if (state->geo_change)
		json_object_set_new(json, "change", change_json(state->geo_change));
	return json;
}

json_t *gs_api_loading(const struct gs_api *api, const struct gs_reconcile_state *state)
{
	const struct gs_load_state *load = &state->load;
	const struct gs_progress_view *progress = &load->progress;

	if (!load->is_under_way)
		return NULL;
	return json_pack(
		"{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:b, s:b, s:b}", "file", load->path,
		"kind", load->is_asn ? "asn" : "geoip", "phase", gs_phase_name(progress->phase),
		"percent", (int)progress->percent, "done", (json_int_t)progress->done, "total",
		(json_int_t)progress->total, "size_bytes", (json_int_t)progress->size_bytes,
		"elapsed_ms", (json_int_t)(gs_loop_now_ms(api->loop) - load->began_ms), "dry_run",
		load->is_dry, "rollback", load->is_rollback, "cancelled", progress->is_cancelled);
}

json_t *gs_api_geo_status(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);

	(void)request;
	return json_pack("{s:o, s:o, s:o*}", "geoip", gs_api_geoip(state), "limit_percent",
			 limit_json(api->config->geoip_change_limit), "loading",
			 gs_api_loading(api, state));
}

/* ---- load, rollback, cancel ------------------------------------------------------------------ */

struct pending_load {
	const struct gs_api *api;
	void (*reply)(void *context, json_t *reply);
	void *context;
	bool is_dry;
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

static json_t *loaded_json(const struct gs_api *api, const struct gs_reconcile_state *state)
{
	json_t *json;

	if (!state->geo)
		return json_pack("{s:s}", "note", "loaded; in force with the first snapshot");
	json = json_pack("{s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:b}", "file", state->geo->path,
			 "type", state->geo->database_type, "networks4",
			 (json_int_t)state->geo->v4.networks, "networks6",
			 (json_int_t)state->geo->v6.networks, "locations",
			 (int)state->geo->location_count - 1, "load_ms",
			 (json_int_t)(state->geo->load_us / 1000), "generation",
			 (json_int_t)state->info.generation, "configured",
			 strcmp(state->geo->path, api->config->geoip) == 0);
	add_shift(api, state, json);
	/* What it was compared with; it is of this load if it is of this file. */
	if (state->geo_change && state->geo_change->outcome == GS_GEO_IS_IN_FORCE &&
	    strcmp(state->geo_change->path, state->geo->path) == 0)
		json_object_set_new(json, "change", change_json(state->geo_change));
	return json;
}

static void load_answered(void *context, int err, const char *problem)
{
	struct pending_load *pending = context;
	const struct gs_reconcile_state *state = gs_reconcile_look(pending->api->reconcile);
	json_t *json;

	if (err)
		json = gs_api_error("%s", problem);
	else if (pending->is_dry)
		json = json_pack("{s:b}", "dry_run", true);
	else
		json = loaded_json(pending->api, state);
	if (json && state->geo_change && (err == -EPERM || (!err && pending->is_dry)))
		json_object_set_new(json, "change", change_json(state->geo_change));
	pending->reply(pending->context, json);
	free(pending);
}

static void answer_error(int err, void (*reply)(void *context, json_t *reply), void *context)
{
	if (err == -EBUSY)
		reply(context, gs_api_error("another GeoIP load is under way"));
	else if (err == -EAGAIN)
		reply(context, gs_api_error("no GeoIP database is in force that it could be "
					    "compared with"));
	else if (err == -ENOENT)
		reply(context, gs_api_error("there is nothing to go back to: this daemon has had "
					    "no other GeoIP database in force since it started"));
	else
		reply(context, gs_api_error("path: %s", strerror(-err)));
}

static struct pending_load *make_pending(const struct gs_api *api,
					 void (*reply)(void *context, json_t *reply), void *context)
{
	struct pending_load *pending = malloc(sizeof(*pending));

	if (pending)
		*pending = (struct pending_load){.api = api, .reply = reply, .context = context};
	else
		reply(context, gs_api_error("out of memory"));
	return pending;
}

void gs_api_geo_load(const struct gs_api *api, const json_t *request,
		     void (*reply)(void *context, json_t *reply), void *context)
{
	const char *path = json_string_value(json_object_get(request, "path"));
	bool is_forced = json_is_true(json_object_get(request, "force"));
	bool is_dry = json_is_true(json_object_get(request, "dry_run"));
	unsigned flags = (is_forced ? GS_LOAD_FORCED : 0u) | (is_dry ? GS_LOAD_DRY : 0u);
	struct pending_load *pending;
	int err;

	if (!path || path[0] != '/') {
		reply(context, gs_api_error("path: missing, or no absolute path"));
		return;
	}
	pending = make_pending(api, reply, context);
	if (!pending)
		return;
	pending->is_dry = is_dry;
	err = gs_reconcile_load_geo(api->reconcile, path, flags, load_answered, pending);
	if (!err)
		return;
	free(pending);
	answer_error(err, reply, context);
}

void gs_api_geo_rollback(const struct gs_api *api, const json_t *request,
			 void (*reply)(void *context, json_t *reply), void *context)
{
	struct pending_load *pending = make_pending(api, reply, context);
	int err;

	(void)request;
	if (!pending)
		return;
	err = gs_reconcile_rollback_geo(api->reconcile, load_answered, pending);
	if (!err)
		return;
	free(pending);
	answer_error(err, reply, context);
}

json_t *gs_api_geo_cancel(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	bool is_late = state->load.progress.phase == GS_PHASE_UPLOADING;

	(void)request;
	if (!state->load.is_under_way)
		return gs_api_error("no load is under way");
	if (is_late)
		return gs_api_error("%.200s: is on its way into the kernel; geo rollback takes it "
				    "back",
				    state->load.path);
	gs_reconcile_cancel_load(api->reconcile);
	return json_pack("{s:s}", "file", state->load.path);
}
