/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a snapshot, a GeoIP and an ASN database to a generation: built and published on the worker,
 * taken over on the loop. What is in force stays until something better exists whole.
 */
#include "reconcile_parts.h"

#include "snapshot_io.h"
#include "tell.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/override.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What the new database changes, and whether that is too much. */
static int compare(struct gs_publish *p, struct gs_progress *progress)
{
	const struct gs_geo_change_of of = {.before = p->before,
					    .after = p->tables,
					    .clients = p->clients,
					    .client_count = p->client_count,
					    .progress = progress};
	const uint64_t began_us = gs_now_us();
	char what[GS_ERROR_MAX / 2];
	int err;

	p->change = calloc(1, sizeof(*p->change));
	if (!p->change)
		return gs_error_set(-ENOMEM, &p->error, "out of memory");
	memcpy(p->change->path, p->geo->path, sizeof(p->change->path));
	memcpy(p->change->before, p->before->geo->path, sizeof(p->change->before));
	p->change->limit_percent = p->limit_percent;
	p->change->is_forced = p->how.is_forced;
	p->change->unix_ms = gs_unix_ms();
	err = gs_geo_change_find(&of, p->change);
	p->change->took_ms = (uint32_t)((gs_now_us() - began_us) / 1000);
	if (err)
		return gs_error_set(err, &p->error, "%s: cannot be compared with what is in force",
				    p->geo->path);
	if (p->how.is_forced || p->how.is_dry ||
	    !gs_geo_change_exceeds(p->change, what, sizeof(what)))
		return 0;
	return gs_error_set(-EPERM, &p->error,
			    "%.100s: would send %s to another region, more than geoip_change_limit "
			    "= %u %%; geostreamctl geo load --dry-run shows it, --force takes it",
			    p->geo->path, what, p->limit_percent);
}

/* Here and not on the loop: it may be half a gigabyte. What a rollback took is kept. */
static void turn_away(struct gs_reconcile *r, struct gs_publish *p)
{
	p->is_turned_away = true;
	gs_tables_free(gs_take_ptr(p->tables));
	free(gs_take_ptr(p->counts));
	if (!p->how.is_rollback)
		gs_reconcile_release_geo(r, p->geo);
}

static void run_publish(struct gs_job *job)
{
	struct gs_publish *p = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)p - offsetof(struct gs_reconcile, publish));
	const struct gs_dataplane *dataplane = r->ports.dataplane;
	const struct gs_tables_sources sources = {
		.snapshot = p->snapshot, .geo = p->geo, .asn = p->asn};
	struct gs_progress *progress = p->has_new ? &r->progress : NULL;

	gs_progress_begin(progress, GS_PHASE_PLANNING, 0);
	p->err = gs_tables_make(&sources, &p->tables, &p->error);
	if (!p->err)
		p->counts = gs_plan_counts_new(p->tables);
	if (!p->err && p->before)
		p->err = compare(p, progress);
	if (!p->err && p->before)
		p->err = gs_progress_at(progress, UINT64_MAX);
	if (p->how.is_dry || p->err == -EPERM || p->err == -ECANCELED) {
		turn_away(r, p);
		return;
	}
	gs_progress_begin(progress, GS_PHASE_UPLOADING, 0);
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
		.selection_seed = r->snapshot->selection_seed,
	};

	if (r->geo) {
		snprintf(edge.geo_path, sizeof(edge.geo_path), "%s", r->geo->path);
		edge.geo_build_unix_s = r->geo->build_unix_s;
	}
	edge.geo_digest = gs_tables_geo_digest(r->tables);
	gs_votes_set_running(r->votes, &edge);
	r->ports.store->ops->report_edge(r->ports.store->self, &edge);
}

/*
 * A new database went down with a new snapshot. Alone with the snapshot in force it will show which
 * of the two is to blame; without one in force it waits for the next snapshot.
 */
static void keep_geo(struct gs_reconcile *r, struct gs_geodata *geo)
{
	if (r->fresh_geo) {
		gs_reconcile_release_geo(r, geo);
	} else {
		r->fresh_geo = geo;
		r->fresh_how = r->publish.how;
	}
	r->geo_alone = r->snapshot != NULL;
}

static void keep_asn(struct gs_reconcile *r, struct gs_asndata *asn)
{
	if (r->fresh_asn)
		gs_reconcile_release_asn(r, asn);
	else
		r->fresh_asn = asn;
	r->geo_alone = r->snapshot != NULL;
}

static void retry_later(struct gs_reconcile *r)
{
	r->waiting = true;
	gs_loop_timer_set(r->ports.loop, &r->retry_timer, gs_retry_next_ms(&r->retry));
}

/* If both databases are new, the ASN database is blamed first, and the other one tried without it.
 */
static void blame_database(struct gs_reconcile *r, bool for_good)
{
	struct gs_publish *p = &r->publish;
	bool new_geo = p->geo != r->geo, new_asn = p->asn != r->asn;

	if (new_asn) {
		snprintf(r->state.asn_problem, sizeof(r->state.asn_problem), "%s", p->error.text);
		if (for_good)
			gs_reconcile_release_asn(r, p->asn);
		else
			keep_asn(r, p->asn);
	}
	if (!new_geo)
		return;
	if (!new_asn)
		snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s", p->error.text);
	if (for_good && !new_asn) {
		r->state.geo_counts.failed++;
		if (p->how.is_rollback && !r->geo_before)
			r->geo_before = p->geo; /* it is still what a rollback takes */
		else
			gs_reconcile_release_geo(r, p->geo);
	} else {
		keep_geo(r, p->geo);
	}
}

/* The snapshot in force did not go with a new database, or not into new maps. */
static void publish_again_failed(struct gs_reconcile *r, bool for_good)
{
	struct gs_publish *p = &r->publish;

	if (p->geo == r->geo && p->asn == r->asn)
		r->again = !for_good;
	else
		blame_database(r, for_good);
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
	free(gs_take_ptr(p->change));
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
	if (p->asn != r->asn)
		keep_asn(r, p->asn);
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

static void warn_of_missing(struct gs_reconcile *r)
{
	char why[GS_ERROR_MAX];

	if (*gs_reconcile_asn_missing(gs_reconcile_look(r), why))
		gs_log(GS_LOG_WARNING, "asn_missing", "why=%s", why);
}

/* ---- taking over what the worker has published: in turns, each well below what keeps the loop ---
 */

/* True: nobody has more to do about it. */
static bool tell_followers(struct gs_reconcile *r)
{
	const struct gs_generation_change change = {
		.before = r->tables,
		.after = r->publish.tables,
		.slot_before = r->state.info.slot,
		.slot_after = r->publish.info.slot,
		.generation = r->publish.info.generation,
	};

	return !r->publish.is_new || !r->ports.on_generation ||
	       r->ports.on_generation(r->ports.generation_context, &change);
}

void gs_reconcile_drop_rubbish(struct gs_reconcile *r)
{
	struct gs_rubbish *rubbish = &r->rubbish;

	gs_tables_free(gs_take_ptr(rubbish->tables));
	gs_reconcile_release_geo(r, gs_take_ptr(rubbish->geo));
	gs_reconcile_release_asn(r, gs_take_ptr(rubbish->asn));
}

static void run_drop(struct gs_job *job)
{
	gs_reconcile_drop_rubbish(job->context);
}

static void drop_done(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;

	r->rubbish.is_out = false;
}

/* The one that is in force no more is what a rollback takes; what that would have been until now is
 * nobody's. Another copy of the same is worth nothing. NULL: nothing goes. */
static struct gs_geodata *change_geo_before(struct gs_reconcile *r)
{
	struct gs_geodata *gone = r->geo;

	if (!r->publish.new_geo)
		return NULL;
	if (r->geo && r->publish.geo && r->geo->digest != r->publish.geo->digest) {
		gone = r->geo_before;
		r->geo_before = r->geo;
	}
	return gone;
}

/* Tables and databases that are in force no more: to the worker. While it still has those of the
 * generation before, they go here and now. */
static void put_away(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;
	struct gs_geodata *gone = change_geo_before(r);

	if (r->rubbish.is_out) {
		gs_tables_free(gs_take_ptr(r->tables));
		gs_reconcile_release_geo(r, gone);
		gs_reconcile_release_asn(r, p->new_asn ? r->asn : NULL);
		return;
	}
	r->rubbish = (struct gs_rubbish){
		.job = {.run = run_drop, .done = drop_done, .context = r},
		.is_out = true,
		.tables = gs_take_ptr(r->tables),
		.geo = gone,
		.asn = p->new_asn ? r->asn : NULL,
	};
	gs_loop_work(r->ports.loop, &r->rubbish.job);
}

static void take_over(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	p->new_geo = p->geo != r->geo;
	p->new_asn = p->asn != r->asn;
	p->generation_before = r->state.info.generation;
	put_away(r);
	r->tables = gs_take_ptr(p->tables);
	if (p->snapshot != r->snapshot)
		gs_snapshot_free(r->snapshot);
	r->snapshot = p->snapshot;
	r->geo = p->geo;
	r->asn = p->asn;
	r->state.info = p->info;
	r->state.from_last_good = r->publishing_file;
	r->state.publish_problem[0] = '\0';
	if (p->new_geo && p->geo)
		gs_reconcile_geo_taken(r);
	r->again = false;
	gs_retry_reset(&r->retry);
	follow_breakers(r);
	gs_reconcile_follow_overlays(r);
	gs_reconcile_apply_words(r, 0, "configuration");
	gs_reach_follow(r->ports.reach, r->snapshot);
}

static void tell_generation(struct gs_reconcile *r)
{
	const struct gs_publish *p = &r->publish;
	struct gs_generation_telling telling = {
		.store = r->ports.store,
		.snapshot = r->snapshot,
		.before = p->generation_before,
		.after = p->info.generation,
		.counts_before = r->counts,
		.counts_after = p->counts,
	};

	if (p->new_geo && p->geo)
		snprintf(telling.why, sizeof(telling.why), "revision %lu, GeoIP %.60s",
			 (unsigned long)r->snapshot->revision, p->geo->path);
	else if (p->new_asn && p->asn)
		snprintf(telling.why, sizeof(telling.why), "revision %lu, ASN %.60s",
			 (unsigned long)r->snapshot->revision, p->asn->path);
	else
		snprintf(telling.why, sizeof(telling.why), "revision %lu",
			 (unsigned long)r->snapshot->revision);
	gs_tell_generation(&telling);
}

static void warn_of_inexact(const struct gs_reconcile *r)
{
	if (r->tables->exact_choices < GS_PLAN_REGIONS)
		gs_log(GS_LOG_WARNING, "plans_inexact", "exact_choices=%u of=%u why=%s",
		       r->tables->exact_choices, GS_PLAN_REGIONS,
		       "more different plans than ids: behind those regions stand in the policy's "
		       "order");
}

static void tell_taken_over(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	gs_log(GS_LOG_INFO, p->is_new ? "generation_in_force" : "generation_unchanged",
	       "generation=%lu revision=%lu digest=%016lx plans=%u locations=%u slot=%u from=%s",
	       (unsigned long)p->info.generation, (unsigned long)p->snapshot->revision,
	       (unsigned long)p->info.digest, gs_plan_set_count(r->tables->plans),
	       r->tables->location_count, p->info.slot,
	       r->publishing_file ? "last-good file" : "database");
	warn_of_missing(r);
	warn_of_inexact(r);
	if (p->is_new)
		tell_generation(r);
	free(r->counts);
	r->counts = gs_take_ptr(p->counts);
	report(r);
	if (p->save)
		save(r);
	if (p->geo && p->geo == r->load_geo)
		gs_reconcile_answer_load(r, 0, "");
}

/* Hops and words that were ahead, of what was published or was not. */
static void settle(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	gs_reconcile_hops_published(r, p->err ? NULL : p->hops);
	free(gs_take_ptr(p->hops));
	free(gs_take_ptr(p->clients));
	if (p->ahead && r->view)
		gs_usable_write(r->ports.dataplane, p->ahead, r->view);
	gs_usable_view_free(gs_take_ptr(p->ahead));
}

static void publish_ended(struct gs_reconcile *r)
{
	r->publishing = false;
	gs_reconcile_consider(r);
	gs_reconcile_load_due(r);
}

/* False: that was the last one. */
static bool take_over_turn(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	switch (p->stage) {
	case GS_PUBLISH_IS_FOLLOWED:
		if (tell_followers(r))
			p->stage = GS_PUBLISH_IS_TAKEN;
		return true;
	case GS_PUBLISH_IS_TAKEN:
		take_over(r);
		settle(r);
		p->stage = GS_PUBLISH_IS_TOLD;
		return true;
	default:
		tell_taken_over(r);
		publish_ended(r);
		return false;
	}
}

static void take_over_more(struct gs_reconcile *r)
{
	/* Without memory for a timer all of it is this turn's. */
	while (take_over_turn(r))
		if (gs_loop_timer_set(r->ports.loop, &r->publish_timer, 0) == 0)
			return;
}

static void publish_done(struct gs_job *job)
{
	struct gs_publish *p = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)p - offsetof(struct gs_reconcile, publish));

	if (p->is_turned_away) {
		r->publishing = false;
		gs_reconcile_turned_away(r);
		p->err = -ECANCELED; /* its hops are not in force */
		settle(r);
		publish_ended(r);
		return;
	}
	if (!p->err) {
		p->is_new = p->info.generation != r->state.info.generation;
		p->stage = GS_PUBLISH_IS_FOLLOWED;
		take_over_more(r);
		return;
	}
	r->publishing = false;
	publish_failed(r);
	settle(r);
	publish_ended(r);
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

/* Everything else has its turn between two of ours. */
static void next_turn(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	if (p->hops && gs_loop_timer_set(r->ports.loop, &r->publish_timer, 0) == 0)
		return;
	p->err = gs_error_set(-ENOMEM, &p->error, "out of memory");
	publish_done(&p->job);
}

void gs_reconcile_on_publish_turn(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;

	if (r->publish.stage != GS_PUBLISH_IS_MADE)
		take_over_more(r);
	else if (gs_reconcile_hops_gather(r))
		gs_loop_work(r->ports.loop, &r->publish.job);
	else
		next_turn(r);
}

/* A new database beside the one in force, and nothing else is new. */
static void prepare_comparison(struct gs_reconcile *r)
{
	struct gs_publish *p = &r->publish;

	p->has_new = p->geo != r->geo || p->asn != r->asn;
	if (p->geo == r->geo || !p->geo || !r->geo || !r->tables || p->snapshot != r->snapshot)
		return;
	p->before = r->tables;
	p->limit_percent = r->settings.geo_limit_percent;
	if (!r->ports.clients)
		return;
	p->clients = calloc(GS_CLIENT_SAMPLE_MAX, sizeof(*p->clients));
	if (p->clients)
		p->client_count = r->ports.clients(r->ports.generation_context, p->clients);
}

static void publish(struct gs_reconcile *r, struct gs_snapshot *snapshot, bool is_file)
{
	struct gs_publish *p = &r->publish;
	bool takes_asn;

	memset(p, 0, sizeof(*p));
	p->job = (struct gs_job){.run = run_publish, .done = publish_done, .context = p};
	p->snapshot = snapshot;
	/* One new database at a time, so that a failure has one culprit; but the first ones
	 * together, or clients would move twice. */
	takes_asn = r->fresh_asn && !(r->tables && r->fresh_geo);
	p->how = r->fresh_geo ? r->fresh_how : (struct gs_geo_how){.is_forced = false};
	p->geo = r->fresh_geo ? gs_take_ptr(r->fresh_geo) : r->geo;
	p->asn = takes_asn ? gs_take_ptr(r->fresh_asn) : r->asn;
	p->save = !is_file && snapshot->revision != r->saved_revision;
	p->hops = calloc(snapshot->backend_count + 1, sizeof(*p->hops));
	prepare_comparison(r);
	r->publishing = true;
	r->publishing_file = is_file;
	/* New backends are probed while their tables are built. */
	gs_reconcile_watch(r, snapshot);
	if (snapshot != r->snapshot)
		write_ahead(r, snapshot);
	next_turn(r);
}

/*
 * A file that does not load must not cost the clients the tables that an earlier daemon put in
 * force: then only the words follow the snapshot, until it loads. NULL, or which database is
 * missing; that of systems only if an override is of one.
 */
static const char *would_lose(const struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	bool is_first = !r->tables && r->state.info.generation != 0;

	if (is_first && r->settings.geoip[0] && !r->fresh_geo)
		return "GeoIP";
	for (uint32_t i = 0;
	     is_first && r->settings.asn[0] && !r->fresh_asn && i < snapshot->override_count; i++)
		if (gs_override_of(&snapshot->overrides[i]) == GS_OVERRIDE_OF_ASN)
			return "ASN";
	return NULL;
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
		gs_reconcile_follow_overlays(r);
		gs_reconcile_hops_look(r, "another configuration");
	}
	r->state.from_last_good = is_file;
	gs_reconcile_apply_words(r, 0, "configuration");
}

static void keep_generation(struct gs_reconcile *r, struct gs_snapshot *snapshot, bool is_file,
			    const char *missing)
{
	snprintf(r->state.publish_problem, sizeof(r->state.publish_problem),
		 "no %s database could be loaded: the tables of generation %lu stay, only "
		 "states follow revision %lu",
		 missing, (unsigned long)r->state.info.generation,
		 (unsigned long)snapshot->revision);
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
	bool is_fresh = r->fresh_geo || r->fresh_asn;
	/* What a database changes is asked of it alone. */
	bool alone = r->geo_alone || (r->fresh_geo && r->tables);
	bool takes_next = r->next && !(alone && is_fresh && r->snapshot);
	struct gs_snapshot *snapshot = takes_next ? r->next : r->snapshot;
	bool is_file = takes_next ? r->next_is_file : r->state.from_last_good;
	const char *missing;

	if (r->first_load_pending) {
		follow_early(r);
		return;
	}
	if (r->publishing || !snapshot || r->waiting || (!takes_next && !is_fresh && !r->again))
		return;
	if (takes_next)
		r->next = NULL;
	r->geo_alone = false;
	missing = would_lose(r, snapshot);
	if (missing)
		keep_generation(r, snapshot, is_file, missing);
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
