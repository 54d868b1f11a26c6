/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a snapshot and a GeoIP database to a generation: built and published on the worker, taken
 * over on the loop. What is in force stays until something better exists whole.
 */
#include "reconcile_parts.h"

#include "snapshot_io.h"
#include "tell.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void run_publish(struct gs_job *job)
{
	struct gs_publish *p = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)p - offsetof(struct gs_reconcile, publish));
	const struct gs_dataplane *dataplane = r->ports.dataplane;

	p->err = gs_tables_build(p->snapshot, p->geo, &p->tables, &p->error);
	if (!p->err)
		p->counts = gs_plan_counts_new(p->tables);
	if (!p->err)
		p->err = dataplane->ops->publish(dataplane->self, p->tables, p->hops, &p->info,
						 &p->error);
}

static void report(struct gs_reconcile *r)
{
	struct gs_edge_report edge = {
		.generation = r->state.info.generation,
		.revision = r->snapshot->revision,
		.digest = r->state.info.digest,
		.published_unix_ms = gs_unix_ms(),
	};

	if (r->geo) {
		snprintf(edge.geo_path, sizeof(edge.geo_path), "%s", r->geo->path);
		edge.geo_build_unix_s = r->geo->build_unix_s;
	}
	r->ports.store->ops->report_edge(r->ports.store->self, &edge);
}

/*
 * A new GeoIP database went down with a new snapshot. Alone with the snapshot in force it will show
 * which of the two is to blame; without one in force it waits for the next snapshot.
 */
static void keep_geo(struct gs_reconcile *r, struct gs_geodata *geo)
{
	if (r->fresh_geo)
		r->ports.geodb->ops->release(r->ports.geodb->self, geo);
	else
		r->fresh_geo = geo;
	r->geo_alone = r->snapshot != NULL;
}

static void retry_later(struct gs_reconcile *r)
{
	r->waiting = true;
	gs_loop_timer_set(r->ports.loop, &r->retry_timer, gs_retry_next_ms(&r->retry));
}

/* The snapshot in force did not go with a new GeoIP database, or not into new maps. */
static void publish_again_failed(struct gs_reconcile *r, bool for_good)
{
	struct gs_publish *p = &r->publish;

	if (p->geo == r->geo) {
		r->again = !for_good;
	} else {
		snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s", p->error.text);
		if (for_good)
			r->ports.geodb->ops->release(r->ports.geodb->self, p->geo);
		else
			keep_geo(r, p->geo);
	}
	if (!for_good)
		retry_later(r);
}

static void publish_failed(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;
	bool for_good = p->err == -EINVAL || p->err == -EFBIG;

	snprintf(r->state.publish_problem, sizeof(r->state.publish_problem), "%s", p->error.text);
	gs_log(GS_LOG_ERROR, "publish_failed", "revision=%lu generation=%lu why=%s",
	       (unsigned long)p->snapshot->revision, (unsigned long)r->state.info.generation,
	       p->error.text);
	gs_tables_free(p->tables);
	free(gs_take_ptr(p->counts));
	/* Who loaded a database hears whether it stands; beside a new snapshot that is not known.
	 */
	if (p->geo && p->geo == r->load_geo && (p->snapshot == r->snapshot || !r->snapshot))
		gs_reconcile_answer_load(r, p->err, p->error.text);
	if (p->snapshot == r->snapshot) {
		publish_again_failed(r, for_good);
		return;
	}
	if (p->geo != r->geo)
		keep_geo(r, p->geo);
	if (r->next || (for_good && !r->geo_alone)) {
		gs_snapshot_free(p->snapshot);
	} else {
		r->next = p->snapshot;
		r->next_is_file = r->publishing_file;
		if (!for_good)
			retry_later(r);
	}
	if (r->snapshot)
		gs_reconcile_watch(r, r->snapshot);
}

static void save(struct gs_reconcile *r);

static void run_save(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;

	r->save.err = gs_snapshot_save(r->save.snapshot, r->settings.last_good, &r->save.error);
}

static void save_done(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;

	r->saving = false;
	gs_snapshot_free(gs_take_ptr(r->save.snapshot));
	if (r->save.err)
		r->saved_revision = 0;
	if (r->save.err)
		gs_log_limited(GS_LOG_WARNING, "last_good_not_saved", "why=%s", r->save.error.text);
	if (r->save_due)
		save(r);
}

/* One at a time; what comes meanwhile is saved afterwards, the newest only. */
static void save(struct gs_reconcile *r)
{
	r->save_due = r->saving;
	if (r->saving)
		return;
	if (gs_snapshot_copy(r->snapshot, 0, &r->save.snapshot)) {
		gs_log_limited(GS_LOG_WARNING, "last_good_not_saved", "why=%s", "out of memory");
		return;
	}
	r->saved_revision = r->snapshot->revision;
	r->saving = true;
	r->save.job = (struct gs_job){.run = run_save, .done = save_done, .context = r};
	gs_loop_work(r->ports.loop, &r->save.job);
}

/* Before the words: they ask the breakers of the snapshot's own pools. */
static void follow_breakers(struct gs_reconcile *r)
{
	if (gs_breakers_set(r->breakers, r->snapshot))
		gs_log(GS_LOG_ERROR, "breakers_kept", "why=%s", "out of memory");
}

static void tell_generation(struct gs_reconcile *r, uint64_t before, bool new_geo)
{
	const struct gs_publish *p = &r->publish;
	struct gs_generation_telling telling = {
		.store = r->ports.store,
		.snapshot = r->snapshot,
		.before = before,
		.after = p->info.generation,
		.counts_before = r->counts,
		.counts_after = p->counts,
	};

	if (new_geo && p->geo)
		snprintf(telling.why, sizeof(telling.why), "revision %lu, GeoIP %.60s",
			 (unsigned long)r->snapshot->revision, p->geo->path);
	else
		snprintf(telling.why, sizeof(telling.why), "revision %lu",
			 (unsigned long)r->snapshot->revision);
	gs_tell_generation(&telling);
}

static void tell_followers(struct gs_reconcile *r)
{
	const struct gs_generation_change change = {
		.before = r->tables,
		.after = r->publish.tables,
		.slot_before = r->state.info.slot,
		.slot_after = r->publish.info.slot,
		.generation = r->publish.info.generation,
	};

	if (r->ports.on_generation)
		r->ports.on_generation(r->ports.generation_context, &change);
}

static void publish_succeeded(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;
	bool is_new = p->info.generation != r->state.info.generation;
	bool new_geo = p->geo != r->geo;
	uint64_t before = r->state.info.generation;

	if (is_new)
		tell_followers(r);
	gs_tables_free(r->tables);
	r->tables = p->tables;
	if (p->snapshot != r->snapshot)
		gs_snapshot_free(r->snapshot);
	r->snapshot = p->snapshot;
	if (new_geo && r->geo)
		r->ports.geodb->ops->release(r->ports.geodb->self, r->geo);
	r->geo = p->geo;
	r->state.info = p->info;
	r->state.from_last_good = r->publishing_file;
	r->state.publish_problem[0] = '\0';
	r->again = false;
	gs_retry_reset(&r->retry);
	follow_breakers(r);
	gs_reconcile_apply_words(r, 0, "configuration");
	gs_reach_follow(r->ports.reach, r->snapshot);
	gs_log(GS_LOG_INFO, is_new ? "generation_in_force" : "generation_unchanged",
	       "generation=%lu revision=%lu digest=%016lx plans=%u locations=%u slot=%u from=%s",
	       (unsigned long)p->info.generation, (unsigned long)p->snapshot->revision,
	       (unsigned long)p->info.digest, gs_plan_set_count(p->tables->plans),
	       p->tables->location_count, p->info.slot,
	       r->publishing_file ? "last-good file" : "database");
	if (is_new)
		tell_generation(r, before, new_geo);
	free(r->counts);
	r->counts = gs_take_ptr(p->counts);
	report(r);
	if (p->save)
		save(r);
	if (p->geo && p->geo == r->load_geo)
		gs_reconcile_answer_load(r, 0, "");
}

static void publish_done(struct gs_job *job)
{
	struct gs_publish *p = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)p - offsetof(struct gs_reconcile, publish));

	r->publishing = false;
	if (p->err)
		publish_failed(r);
	else
		publish_succeeded(r);
	gs_reconcile_hops_published(r, p->err ? NULL : p->hops);
	free(gs_take_ptr(p->hops));
	if (p->ahead && r->view)
		gs_usable_write(r->ports.dataplane, p->ahead, r->view);
	gs_usable_view_free(gs_take_ptr(p->ahead));
	gs_reconcile_consider(r);
	gs_reconcile_load_due(r);
}

/* Up at the old address, not known at the new one, which is written before the flip. */
static void close_moved(struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *after = &snapshot->backends[i];
		const struct gs_backend *before = gs_snapshot_backend(r->snapshot, after->id);
		struct gs_usable word = r->publish.ahead->backends[after->id];

		if (before && gs_addr_compare(&before->addr, &after->addr) != 0)
			r->ports.dataplane->ops->set_usable(r->ports.dataplane->self,
							    GS_OBJECT_BACKEND, after->id, word);
	}
}

static void write_ahead(struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	const struct gs_usable_health health = gs_reconcile_usable_health(r);

	if (!r->view || !r->snapshot || gs_usable_view_new(snapshot, &health, &r->publish.ahead))
		return; /* a moment later will do */
	gs_usable_write_ahead(r->ports.dataplane, r->view, r->snapshot, r->publish.ahead, snapshot);
	close_moved(r, snapshot);
}

static void publish(struct gs_reconcile *r, struct gs_snapshot *snapshot, bool is_file)
{
	struct gs_publish *p = &r->publish;

	memset(p, 0, sizeof(*p));
	p->job = (struct gs_job){.run = run_publish, .done = publish_done, .context = p};
	p->snapshot = snapshot;
	p->geo = r->fresh_geo ? gs_take_ptr(r->fresh_geo) : r->geo;
	p->save = !is_file && snapshot->revision != r->saved_revision;
	p->hops = gs_reconcile_hops_of(r, snapshot);
	r->publishing = true;
	r->publishing_file = is_file;
	/* New backends are probed while their tables are built. */
	gs_reconcile_watch(r, snapshot);
	if (snapshot != r->snapshot)
		write_ahead(r, snapshot);
	if (!p->hops) {
		p->err = gs_error_set(-ENOMEM, &p->error, "out of memory");
		publish_done(&p->job);
		return;
	}
	gs_loop_work(r->ports.loop, &p->job);
}

/*
 * A GeoIP file that does not load must not cost the clients the tables that an earlier daemon put
 * in force: then only the words follow the snapshot, until a file loads.
 */
static bool would_lose_geo(const struct gs_reconcile *r)
{
	return r->settings.geoip[0] && !r->tables && !r->fresh_geo && r->state.info.generation != 0;
}

/* The words follow a snapshot whose tables are not built, or not yet. */
static void follow(struct gs_reconcile *r, struct gs_snapshot *snapshot, bool is_file)
{
	if (snapshot != r->snapshot) {
		gs_reconcile_watch(r, snapshot);
		gs_snapshot_free(r->snapshot);
		r->snapshot = snapshot;
		r->viewed = NULL;
		follow_breakers(r);
		gs_reconcile_hops_look(r, "another configuration");
	}
	r->state.from_last_good = is_file;
	gs_reconcile_apply_words(r, 0, "configuration");
}

static void keep_generation(struct gs_reconcile *r, struct gs_snapshot *snapshot, bool is_file)
{
	snprintf(r->state.publish_problem, sizeof(r->state.publish_problem),
		 "no GeoIP database could be loaded: the tables of generation %lu stay, only "
		 "states follow revision %lu",
		 (unsigned long)r->state.info.generation, (unsigned long)snapshot->revision);
	gs_log(GS_LOG_ERROR, "generation_kept", "why=%s", r->state.publish_problem);
	follow(r, snapshot, is_file);
}

/*
 * A restart: what is in force goes on being steered while the GeoIP file is read, which may take
 * seconds. The snapshot's own tables come after it.
 */
static void follow_early(struct gs_reconcile *r)
{
	struct gs_snapshot *snapshot = r->next;

	if (!snapshot || r->state.info.generation == 0)
		return;
	r->next = NULL;
	r->again = true;
	follow(r, snapshot, r->next_is_file);
}

/* Is there something to build, and nothing in its way? */
void gs_reconcile_consider(struct gs_reconcile *r)
{
	bool takes_next = r->next && !(r->geo_alone && r->fresh_geo && r->snapshot);
	struct gs_snapshot *snapshot = takes_next ? r->next : r->snapshot;
	bool is_file = takes_next ? r->next_is_file : r->state.from_last_good;

	if (r->first_load_pending) {
		follow_early(r);
		return;
	}
	if (r->publishing || !snapshot || r->waiting || (!takes_next && !r->fresh_geo && !r->again))
		return;
	if (takes_next)
		r->next = NULL;
	r->geo_alone = false;
	if (would_lose_geo(r))
		keep_generation(r, snapshot, is_file);
	else
		publish(r, snapshot, is_file);
}

/* Something has changed: what failed before may succeed now. */
void gs_reconcile_consider_now(struct gs_reconcile *r)
{
	r->waiting = false;
	gs_loop_timer_clear(r->ports.loop, &r->retry_timer);
	gs_reconcile_consider(r);
}

void gs_reconcile_on_retry(struct gs_timer *timer)
{
	gs_reconcile_consider_now(timer->context);
}
