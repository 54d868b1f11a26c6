/* SPDX-License-Identifier: Apache-2.0 */
/* GeoIP and ASN files: read on the worker, one at a time; in force with the next generation. */
#include "reconcile_parts.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/override.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void gs_reconcile_answer_load(struct gs_reconcile *r, int err, const char *problem)
{
	void (*done)(void *context, int err, const char *problem) = r->load_done;

	r->load_done = NULL;
	r->load_geo = NULL;
	if (done)
		done(r->load_context, err, problem);
}

void gs_reconcile_release_geo(struct gs_reconcile *r, struct gs_geodata *geo)
{
	if (geo)
		r->ports.geodb->ops->release(r->ports.geodb->self, geo);
}

void gs_reconcile_release_asn(struct gs_reconcile *r, struct gs_asndata *asn)
{
	if (asn)
		r->ports.geodb->ops->release_asn(r->ports.geodb->self, asn);
}

static struct gs_reconcile *reconcile_of(struct gs_load *load)
{
	return (struct gs_reconcile *)((char *)load - offsetof(struct gs_reconcile, load));
}

static void run_load(struct gs_job *job)
{
	struct gs_load *load = job->context;
	struct gs_reconcile *r = reconcile_of(load);
	const struct gs_geodb *geodb = r->ports.geodb;

	if (load->is_asn) {
		load->err = geodb->ops->load_asn(geodb->self, load->path, &r->progress, &load->asn,
						 &load->error);
		return;
	}
	load->err =
		geodb->ops->load(geodb->self, load->path, &r->progress, &load->geo, &load->error);
	if (load->err || load->geo->location_count > 1)
		return;
	/* Sound, but an ASN database, say: it would take all clients' geography away. */
	gs_reconcile_release_geo(r, gs_take_ptr(load->geo));
	load->err = gs_error_set(-EINVAL, &load->error,
				 "%s: no record names a country, a continent or coordinates",
				 load->path);
}

static void asn_ended(struct gs_reconcile *r)
{
	struct gs_load *load = &r->load;

	if (load->err) {
		gs_log(GS_LOG_ERROR, "asn_refused", "file=%s kept=%s why=%s", load->path,
		       r->asn ? r->asn->path : "none", load->error.text);
		snprintf(r->state.asn_problem, sizeof(r->state.asn_problem), "%s",
			 load->error.text);
		return;
	}
	gs_log(GS_LOG_INFO, "asn_loaded", "file=%s type=%s networks4=%lu networks6=%lu ms=%lu",
	       load->asn->path, load->asn->database_type, (unsigned long)load->asn->v4.networks,
	       (unsigned long)load->asn->v6.networks, (unsigned long)(load->asn->load_us / 1000));
	r->state.asn_problem[0] = '\0';
	gs_reconcile_release_asn(r, r->fresh_asn);
	r->fresh_asn = load->asn;
	snprintf(r->settings.asn, sizeof(r->settings.asn), "%s", load->path);
}

/* Nobody's fault, and nothing that was in force is touched. */
static void tell_cancelled(struct gs_reconcile *r, const char *path)
{
	r->state.geo_counts.cancelled++;
	gs_log(GS_LOG_WARNING, "geoip_cancelled", "file=%s kept=%s", path,
	       r->geo ? r->geo->path : "none");
}

static void geo_failed(struct gs_reconcile *r)
{
	struct gs_load *load = &r->load;

	if (load->err == -ECANCELED) {
		tell_cancelled(r, load->path);
		gs_reconcile_answer_load(r, load->err, load->error.text);
		return;
	}
	if (!load->how.is_dry) {
		gs_log(GS_LOG_ERROR, "geoip_refused", "file=%s kept=%s why=%s", load->path,
		       r->geo ? r->geo->path : "none", load->error.text);
		snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s",
			 load->error.text);
		r->state.geo_refused = false;
		r->state.geo_counts.failed++;
	}
	gs_reconcile_answer_load(r, load->err, load->error.text);
}

static void geo_ended(struct gs_reconcile *r)
{
	struct gs_load *load = &r->load;

	if (load->err) {
		geo_failed(r);
		return;
	}
	gs_log(GS_LOG_INFO, "geoip_loaded",
	       "file=%s type=%s networks4=%lu networks6=%lu locations=%u ms=%lu", load->geo->path,
	       load->geo->database_type, (unsigned long)load->geo->v4.networks,
	       (unsigned long)load->geo->v6.networks, load->geo->location_count - 1,
	       (unsigned long)(load->geo->load_us / 1000));
	gs_reconcile_release_geo(r, r->fresh_geo);
	r->fresh_geo = load->geo;
	r->fresh_how = load->how;
	r->load_geo = load->geo;
	if (!load->how.is_dry) {
		r->state.geo_problem[0] = '\0';
		r->state.geo_refused = false;
		snprintf(r->settings.geoip, sizeof(r->settings.geoip), "%s", load->path);
	}
	if (!r->snapshot && !r->next && !r->publishing)
		gs_reconcile_answer_load(r, 0, ""); /* in force with the first snapshot */
}

static void load_ended(struct gs_job *job)
{
	struct gs_load *load = job->context;
	struct gs_reconcile *r = reconcile_of(load);

	r->loading = false;
	if (load->is_asn)
		asn_ended(r);
	else
		geo_ended(r);
	if (!r->load_due[0] && !r->asn_due[0])
		r->first_load_pending = false;
	gs_reconcile_consider_now(r);
	gs_reconcile_load_due(r);
}

/* ---- what is shown of it --------------------------------------------------------------------- */

static void show(struct gs_reconcile *r, const char *path, bool is_asn,
		 const struct gs_geo_how *how)
{
	gs_progress_reset(&r->progress);
	snprintf(r->shown_path, sizeof(r->shown_path), "%s", path);
	r->shown = (struct gs_load_state){
		.is_asn = is_asn,
		.is_dry = how->is_dry,
		.is_rollback = how->is_rollback,
		.path = r->shown_path,
		.began_ms = gs_loop_now_ms(r->ports.loop),
	};
}

/* Also while what was loaded waits for another publish to end. */
static bool is_under_way(const struct gs_reconcile *r)
{
	return r->loading ||
	       (r->publishing && (r->publish.has_new || r->fresh_geo || r->fresh_asn));
}

void gs_reconcile_look_at_load(struct gs_reconcile *r)
{
	r->shown.is_under_way = is_under_way(r);
	gs_progress_look(&r->progress, &r->shown.progress);
	r->state.load = r->shown;
}

bool gs_reconcile_cancel_load(struct gs_reconcile *r)
{
	/* What is not compared with anything is published at once: it is too late. */
	if (!is_under_way(r) || (!r->loading && r->publish.has_new && !r->publish.before))
		return false;
	gs_progress_cancel(&r->progress);
	return true;
}

void gs_reconcile_limit_geo(struct gs_reconcile *r, uint32_t percent)
{
	r->settings.geo_limit_percent = percent;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* What was found of a database that is in force now, or is not. */
static void keep_change(struct gs_reconcile *r, enum gs_geo_outcome outcome)
{
	struct gs_geo_change *change = gs_take_ptr(r->publish.change);

	if (!change)
		return;
	change->outcome = outcome;
	if (outcome == GS_GEO_IS_IN_FORCE)
		change->shift.generation = r->publish.info.generation;
	gs_log(GS_LOG_INFO, "geoip_compared",
	       "file=%s before=%s outcome=%s moved4=%.4f moved6=%.4f moved_flows=%.3f "
	       "relocated4=%.4f relocated6=%.4f sampled=%.0f ms=%u",
	       change->path, change->before, gs_geo_outcome_name(outcome), change->v4.moved,
	       change->v6.moved, gs_geo_change_traffic(change), change->v4.relocated,
	       change->v6.relocated, change->shift.flows, change->took_ms);
	free(r->geo_change);
	r->geo_change = change;
}

static void tell_refused(struct gs_reconcile *r)
{
	const struct gs_publish *p = &r->publish;

	keep_change(r, GS_GEO_IS_REFUSED);
	r->state.geo_counts.refused++;
	r->state.geo_refused = true;
	snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s", p->error.text);
	gs_log(GS_LOG_ERROR, "geoip_refused", "file=%s kept=%s why=%s", r->geo_change->path,
	       r->geo->path, p->error.text);
}

void gs_reconcile_turned_away(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	if (p->how.is_rollback) {
		gs_reconcile_release_geo(r, r->geo_before);
		r->geo_before = p->geo;
	}
	if (p->err == -ECANCELED) {
		gs_error_set(p->err, &p->error, "cancelled");
		tell_cancelled(r, p->change ? p->change->path : r->shown_path);
	} else if (!p->how.is_dry) {
		tell_refused(r);
	} else if (!p->err) {
		keep_change(r, GS_GEO_IS_SHOWN);
	}
	free(gs_take_ptr(p->change));
	if (p->geo == r->load_geo) /* released by now, most often: only who asked matters */
		gs_reconcile_answer_load(r, p->err, p->error.text);
}

void gs_reconcile_geo_taken(struct gs_reconcile *r)
{
	r->state.geo_counts.in_force++;
	r->state.geo_refused = false;
	r->state.geo_problem[0] = '\0';
	keep_change(r, GS_GEO_IS_IN_FORCE);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* path: shorter than GS_PATH_MAX, not the load's own. */
static void begin_load(struct gs_reconcile *r, const char *path, bool is_asn,
		       const struct gs_geo_how *how)
{
	memset(&r->load, 0, sizeof(r->load));
	strcpy(r->load.path, path);
	r->load.is_asn = is_asn;
	r->load.how = *how;
	show(r, path, is_asn, how);
	r->load.job = (struct gs_job){
		.run = run_load,
		.done = load_ended,
		.context = &r->load,
	};
	r->loading = true;
	gs_loop_work(r->ports.loop, &r->load.job);
}

int gs_reconcile_load_geo(struct gs_reconcile *r, const char *path, unsigned flags,
			  void (*done)(void *context, int err, const char *problem), void *context)
{
	const struct gs_geo_how how = {.is_forced = flags & GS_LOAD_FORCED,
				       .is_dry = flags & GS_LOAD_DRY};

	/* A dry run would push out what waits to be tried again. */
	if (is_under_way(r) || r->load_done || (how.is_dry && r->fresh_geo))
		return -EBUSY;
	if (how.is_dry && (!r->tables || !r->geo))
		return -EAGAIN;
	if (strlen(path) >= sizeof(r->load.path))
		return -ENAMETOOLONG;
	r->load_done = done;
	r->load_context = context;
	begin_load(r, path, false, &how);
	return 0;
}

int gs_reconcile_rollback_geo(struct gs_reconcile *r,
			      void (*done)(void *context, int err, const char *problem),
			      void *context)
{
	const struct gs_geo_how how = {.is_forced = true, .is_rollback = true};

	if (is_under_way(r) || r->load_done)
		return -EBUSY;
	if (!r->geo_before)
		return -ENOENT;
	r->load_done = done;
	r->load_context = context;
	show(r, r->geo_before->path, false, &how);
	gs_reconcile_release_geo(r, r->fresh_geo);
	r->fresh_geo = gs_take_ptr(r->geo_before);
	r->fresh_how = how;
	r->load_geo = r->fresh_geo;
	gs_reconcile_consider_now(r);
	return 0;
}

void gs_reconcile_load_due(struct gs_reconcile *r)
{
	bool is_asn = !r->load_due[0];
	char *due = is_asn ? r->asn_due : r->load_due, path[GS_PATH_MAX];

	if (!due[0] || is_under_way(r) || r->load_done)
		return;
	strcpy(path, due);
	due[0] = '\0';
	begin_load(r, path, is_asn, &(struct gs_geo_how){.is_forced = false});
}

static int load_later(struct gs_reconcile *r, const char *path, char due[GS_PATH_MAX])
{
	if (strlen(path) >= GS_PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(due, path);
	gs_reconcile_load_due(r);
	return 0;
}

int gs_reconcile_reload_geo(struct gs_reconcile *r, const char *path)
{
	return load_later(r, path, r->load_due);
}

int gs_reconcile_reload_asn(struct gs_reconcile *r, const char *path)
{
	return load_later(r, path, r->asn_due);
}

/* ---- what is missing ------------------------------------------------------------------------- */

const char *gs_reconcile_asn_missing(const struct gs_reconcile_state *state, char out[GS_ERROR_MAX])
{
	const struct gs_snapshot *snapshot = state->snapshot;
	uint32_t count = 0;

	out[0] = '\0';
	for (uint32_t i = 0; snapshot && i < snapshot->override_count; i++)
		count += gs_override_of(&snapshot->overrides[i]) == GS_OVERRIDE_OF_ASN;
	if (count && !state->asn)
		snprintf(out, GS_ERROR_MAX,
			 "no ASN database is in force: nobody is under the overrides of systems "
			 "(%u)",
			 count);
	return out;
}
