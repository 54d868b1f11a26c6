/* SPDX-License-Identifier: Apache-2.0 */
/* GeoIP files: read on the worker, one at a time; in force with the next generation. */
#include "reconcile_parts.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"

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

static void run_load(struct gs_job *job)
{
	struct gs_load *load = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)load - offsetof(struct gs_reconcile, load));

	load->err = r->ports.geodb->ops->load(r->ports.geodb->self, load->path, &load->geo,
					      &load->error);
	if (load->err || load->geo->location_count > 1)
		return;
	/* Sound, but an ASN database, say: it would take all clients' geography away. */
	r->ports.geodb->ops->release(r->ports.geodb->self, gs_take_ptr(load->geo));
	load->err = gs_error_set(-EINVAL, &load->error,
				 "%s: no record names a country, a continent or coordinates",
				 load->path);
}

static void load_ended(struct gs_job *job)
{
	struct gs_load *load = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)load - offsetof(struct gs_reconcile, load));

	r->loading = false;
	r->first_load_pending = false;
	if (load->err) {
		gs_log(GS_LOG_ERROR, "geoip_refused", "file=%s kept=%s why=%s", load->path,
		       r->geo ? r->geo->path : "none", load->error.text);
		snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s",
			 load->error.text);
		gs_reconcile_answer_load(r, load->err, load->error.text);
	} else {
		gs_log(GS_LOG_INFO, "geoip_loaded",
		       "file=%s type=%s networks4=%lu networks6=%lu locations=%u ms=%lu",
		       load->geo->path, load->geo->database_type,
		       (unsigned long)load->geo->v4.networks, (unsigned long)load->geo->v6.networks,
		       load->geo->location_count - 1, (unsigned long)(load->geo->load_us / 1000));
		r->state.geo_problem[0] = '\0';
		if (r->fresh_geo)
			r->ports.geodb->ops->release(r->ports.geodb->self, r->fresh_geo);
		r->fresh_geo = load->geo;
		r->load_geo = load->geo;
		snprintf(r->settings.geoip, sizeof(r->settings.geoip), "%s", load->path);
		if (!r->snapshot && !r->next && !r->publishing)
			gs_reconcile_answer_load(r, 0, ""); /* in force with the first snapshot */
	}
	gs_reconcile_consider_now(r);
	gs_reconcile_load_due(r);
}

int gs_reconcile_load_geo(struct gs_reconcile *r, const char *path,
			  void (*done)(void *context, int err, const char *problem), void *context)
{
	if (r->loading || r->load_done)
		return -EBUSY;
	if (strlen(path) >= sizeof(r->load.path))
		return -ENAMETOOLONG;
	memset(&r->load, 0, sizeof(r->load));
	strcpy(r->load.path, path);
	r->load.job = (struct gs_job){
		.run = run_load,
		.done = load_ended,
		.context = &r->load,
	};
	r->load_done = done;
	r->load_context = context;
	r->loading = true;
	gs_loop_work(r->ports.loop, &r->load.job);
	return 0;
}

void gs_reconcile_load_due(struct gs_reconcile *r)
{
	char path[GS_PATH_MAX];

	if (!r->load_due[0] || r->loading || r->load_done)
		return;
	strcpy(path, r->load_due);
	r->load_due[0] = '\0';
	gs_reconcile_load_geo(r, path, NULL, NULL);
}

int gs_reconcile_reload_geo(struct gs_reconcile *r, const char *path)
{
	if (strlen(path) >= sizeof(r->load_due))
		return -ENAMETOOLONG;
	strcpy(r->load_due, path);
	gs_reconcile_load_due(r);
	return 0;
}
