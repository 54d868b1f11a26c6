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
		load->err = geodb->ops->load_asn(geodb->self, load->path, &load->asn, &load->error);
		return;
	}
	load->err = geodb->ops->load(geodb->self, load->path, &load->geo, &load->error);
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

static void geo_ended(struct gs_reconcile *r)
{
	struct gs_load *load = &r->load;

	if (load->err) {
		gs_log(GS_LOG_ERROR, "geoip_refused", "file=%s kept=%s why=%s", load->path,
		       r->geo ? r->geo->path : "none", load->error.text);
		snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s",
			 load->error.text);
		gs_reconcile_answer_load(r, load->err, load->error.text);
		return;
	}
	gs_log(GS_LOG_INFO, "geoip_loaded",
	       "file=%s type=%s networks4=%lu networks6=%lu locations=%u ms=%lu", load->geo->path,
	       load->geo->database_type, (unsigned long)load->geo->v4.networks,
	       (unsigned long)load->geo->v6.networks, load->geo->location_count - 1,
	       (unsigned long)(load->geo->load_us / 1000));
	r->state.geo_problem[0] = '\0';
	gs_reconcile_release_geo(r, r->fresh_geo);
	r->fresh_geo = load->geo;
	r->load_geo = load->geo;
	snprintf(r->settings.geoip, sizeof(r->settings.geoip), "%s", load->path);
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

/* path: shorter than GS_PATH_MAX, not the load's own. */
static void begin_load(struct gs_reconcile *r, const char *path, bool is_asn)
{
	memset(&r->load, 0, sizeof(r->load));
	strcpy(r->load.path, path);
	r->load.is_asn = is_asn;
	r->load.job = (struct gs_job){
		.run = run_load,
		.done = load_ended,
		.context = &r->load,
	};
	r->loading = true;
	gs_loop_work(r->ports.loop, &r->load.job);
}

int gs_reconcile_load_geo(struct gs_reconcile *r, const char *path,
			  void (*done)(void *context, int err, const char *problem), void *context)
{
	if (r->loading || r->load_done)
		return -EBUSY;
	if (strlen(path) >= sizeof(r->load.path))
		return -ENAMETOOLONG;
	r->load_done = done;
	r->load_context = context;
	begin_load(r, path, false);
	return 0;
}

void gs_reconcile_load_due(struct gs_reconcile *r)
{
	bool is_asn = !r->load_due[0];
	char *due = is_asn ? r->asn_due : r->load_due, path[GS_PATH_MAX];

	if (!due[0] || r->loading || r->load_done)
		return;
	strcpy(path, due);
	due[0] = '\0';
	begin_load(r, path, is_asn);
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
