/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One publish and one load at a time, on the one worker. A newer snapshot that arrives meanwhile
 * waits in `next`; only the newest one does. Words are the loop's alone: the worker never writes
 * one, so a failover never waits for a build.
 */
#include "reconcile.h"

#include "snapshot_io.h"
#include "tell.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/retry.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	HEARTBEAT_MS = 1000,
	HOPS_TICK_MS = 200, /* a tenth of the hops each: all of them every 2 s */
	HOPS_TICKS = 10,
	LAST_GOOD_AFTER_MS = 2000, /* without a word from the store */
	RETRY_BASE_MS = 500,
	RETRY_CAP_MS = 30000,
};

struct publish {
	struct gs_job job;
	/* in */
	struct gs_snapshot *snapshot;
	struct gs_geodata *geo;
	struct gs_hop *hops;
	bool save;
	struct gs_usable_view *ahead; /* words written ahead; NULL: none */
	/* out */
	struct gs_tables *tables;
	struct gs_dataplane_info info;
	int err;
	struct gs_error error;
};

/* The last-good file, after the words: a slow disk must not keep those waiting. */
struct save {
	struct gs_job job;
	struct gs_snapshot *snapshot; /* a copy */
	int err;
	struct gs_error error;
};

struct load {
	struct gs_job job;
	char path[GS_PATH_MAX];
	struct gs_geodata *geo;
	int err;
	struct gs_error error;
};

struct gs_reconcile {
	struct gs_reconcile_ports ports;
	struct gs_reconcile_settings settings;
	struct gs_reconcile_state state;
	struct gs_monitor *monitor;

	struct gs_snapshot *snapshot; /* the words follow it */
	struct gs_tables *tables;     /* published; of `snapshot` and `geo` */
	struct gs_geodata *geo;
	struct gs_usable_view *view;
	const struct gs_snapshot *viewed; /* what the view was made of */
	uint64_t saved_revision;	  /* in the last good file, as far as is known; 0: none */
	bool is_warm; /* the maps were in force before this daemon came to them */

	struct gs_snapshot *next;     /* newest one not yet built */
	bool next_is_file;	      /* it is the last good file's */
	struct gs_geodata *fresh_geo; /* loaded, not yet in force */
	bool again;		      /* the maps are new and empty: publish what is in force */
	bool geo_alone;		      /* fresh_geo goes first, with the snapshot in force */
	bool waiting;		      /* for the retry timer: nothing has changed since a failure */
	bool first_load_pending;      /* nothing is published before it has ended */

	struct publish publish;
	bool publishing, publishing_file;
	struct save save;
	bool saving, save_due;
	struct load load;
	bool loading;
	char load_due[GS_PATH_MAX]; /* to be loaded after that, or "" */
	void (*load_done)(void *context, int err, const char *problem);
	void *load_context;
	const struct gs_geodata *load_geo; /* what load_done waits for, loaded */

	struct gs_retry retry;
	struct gs_timer retry_timer, heartbeat_timer, hops_timer, last_good_timer;
	uint32_t hops_at;
};

static void consider(struct gs_reconcile *r);
static void load_what_is_due(struct gs_reconcile *r);

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- words and what is told of them ---------------------------------------------------------- */

static enum gs_health_state health_of(void *context, gs_id backend)
{
	struct gs_reconcile *r = context;
	struct gs_monitor_status status;

	return gs_monitor_get(r->monitor, backend, &status) ? status.state : GS_HEALTH_UNKNOWN;
}

/* Since when each region is what it is, for people. */
static void note_since(struct gs_reconcile *r, const struct gs_usable_view *before)
{
	for (uint32_t id = 1; id < GS_MAX_REGIONS; id++)
		if (!before || r->state.region_since_ms[id] == 0 ||
		    before->regions[id].state != r->view->regions[id].state)
			r->state.region_since_ms[id] = gs_loop_now_ms(r->ports.loop);
}

/* The words first, the telling afterwards. */
static void apply_words(struct gs_reconcile *r, gs_id first, const char *why)
{
	const struct gs_usable_health health = {.get = health_of, .context = r};
	struct gs_usable_view *before = r->view, *after;
	int err;

	if (!r->snapshot)
		return;
	/* Thousands of backends may go down in one turn: what stays the same is not made again. */
	if (before && r->viewed == r->snapshot)
		err = gs_usable_view_next(before, r->snapshot, &health, &after);
	else
		err = gs_usable_view_new(r->snapshot, &health, &after);
	r->viewed = err ? NULL : r->snapshot;
	if (err) {
		gs_log_limited(GS_LOG_ERROR, "words_kept", "why=%s", "out of memory");
		return;
	}
	/* Of an earlier daemon's words only what differs is a change. */
	if (!before && r->is_warm && gs_usable_view_read(r->ports.dataplane, after, &before))
		before = NULL;
	gs_usable_write(r->ports.dataplane, before, after);
	r->view = after;
	note_since(r, before);
	gs_tell_changes(&(struct gs_telling){
		.store = r->ports.store,
		.snapshot = r->snapshot,
		.before = before,
		.after = after,
		.first = first,
		.why = why,
	});
	gs_usable_view_free(before);
}

static void on_verdict(void *context, const struct gs_monitor_verdict *verdict)
{
	struct gs_reconcile *r = context;
	const struct gs_backend *backend;
	char why[96];

	backend = r->snapshot ? gs_snapshot_backend(r->snapshot, verdict->backend) : NULL;
	if (!backend) /* of a snapshot that is being built */
		return;
	if (verdict->up)
		snprintf(why, sizeof(why), "%.60s answered in %u us", backend->name,
			 verdict->latency_us);
	else
		snprintf(why, sizeof(why), "%.60s: %s", backend->name,
			 gs_probe_class_name(verdict->why));
	apply_words(r, verdict->first ? verdict->backend : 0, why);
}

/* ---- targets --------------------------------------------------------------------------------- */

/* The Host header clients send: the VIP, with the port unless it is HTTP's own. */
static void name_host(const struct gs_service *service, char *out, size_t room)
{
	char text[GS_ADDR_TEXT_MAX];
	bool is_v4 = gs_addr_is_v4(&service->vip);
	int length;

	gs_addr_format(&service->vip, text);
	length = snprintf(out, room, is_v4 ? "%s" : "[%s]", text);
	if (service->port != 0 && service->port != 80 && length > 0 && (size_t)length < room)
		snprintf(out + length, room - (size_t)length, ":%u", service->port);
}

static struct gs_probe_target target_of(const struct gs_snapshot *snapshot,
					const struct gs_backend *backend)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);
	struct gs_probe_target target = {
		.backend = backend->id,
		.addr = backend->addr,
		.spec = service->probe,
	};

	target.port = service->probe.port ? service->probe.port : service->port;
	if (!target.spec.host[0])
		name_host(service, target.spec.host, sizeof(target.spec.host));
	return target;
}

struct warm {
	struct gs_reconcile *r;
	const struct gs_snapshot *snapshot; /* to be watched */
};

/*
 * What the maps say of a backend is what the last daemon knew: a restart does not flap. Nor does a
 * snapshot that is taken back; but what is new, or moved to another address, must answer first.
 */
static enum gs_health_state warm_state(void *context, gs_id id)
{
	const struct warm *warm = context;
	struct gs_reconcile *r = warm->r;
	const struct gs_backend *before, *after;
	struct gs_usable word;

	if (r->state.info.generation == 0)
		return GS_HEALTH_UNKNOWN;
	if (r->snapshot) {
		before = gs_snapshot_backend(r->snapshot, id);
		after = gs_snapshot_backend(warm->snapshot, id);
		if (!before || !after || gs_addr_compare(&before->addr, &after->addr) != 0)
			return GS_HEALTH_UNKNOWN;
	}
	word = r->ports.dataplane->ops->get_usable(r->ports.dataplane->self, GS_OBJECT_BACKEND, id);
	return word.state == GS_USABLE_DOWN ? GS_HEALTH_UNKNOWN : GS_HEALTH_UP;
}

static void watch(struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	struct warm warm = {.r = r, .snapshot = snapshot};
	GS_AUTO_FREE struct gs_probe_target *targets = NULL;
	int err = -ENOMEM;

	targets = calloc(snapshot->backend_count + 1, sizeof(*targets));
	if (targets) {
		for (uint32_t i = 0; i < snapshot->backend_count; i++)
			targets[i] = target_of(snapshot, &snapshot->backends[i]);
		err = gs_monitor_set_targets(r->monitor, targets, snapshot->backend_count,
					     warm_state, &warm);
	}
	if (err)
		gs_log(GS_LOG_ERROR, "targets_kept", "why=%s", strerror(-err));
}

/* ---- next hops ------------------------------------------------------------------------------- */

static struct gs_hop *resolve_hops(struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	const struct gs_nexthop *nexthop = r->ports.nexthop;
	struct gs_hop *hops = calloc(snapshot->backend_count + 1, sizeof(*hops));

	for (uint32_t i = 0; hops && i < snapshot->backend_count; i++)
		nexthop->ops->resolve(nexthop->self, &snapshot->backends[i].addr, &hops[i]);
	return hops;
}

static void on_hops(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	const struct gs_nexthop *nexthop = r->ports.nexthop;
	uint32_t count = r->snapshot && !r->publishing ? r->snapshot->backend_count : 0;
	uint32_t share = (count + HOPS_TICKS - 1) / HOPS_TICKS;

	for (uint32_t i = 0; i < share; i++) {
		const struct gs_backend *backend;
		struct gs_hop hop;
		int err;

		if (r->hops_at >= count)
			r->hops_at = 0;
		backend = &r->snapshot->backends[r->hops_at++];
		if (nexthop->ops->resolve(nexthop->self, &backend->addr, &hop))
			continue;
		err = r->ports.dataplane->ops->set_hop(r->ports.dataplane->self, backend->id, &hop);
		if (err)
			gs_log_limited(GS_LOG_ERROR, "hop_kept", "backend=%s why=%s", backend->name,
				       strerror(-err));
	}
	gs_loop_timer_set(r->ports.loop, timer, HOPS_TICK_MS);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void run_publish(struct gs_job *job)
{
	struct publish *p = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)p - offsetof(struct gs_reconcile, publish));
	const struct gs_dataplane *dataplane = r->ports.dataplane;

	p->err = gs_tables_build(p->snapshot, p->geo, &p->tables, &p->error);
	if (!p->err)
		p->err = dataplane->ops->publish(dataplane->self, p->tables, p->hops, &p->info,
						 &p->error);
}

static void answer_load(struct gs_reconcile *r, int err, const char *problem)
{
	void (*done)(void *context, int err, const char *problem) = r->load_done;

	r->load_done = NULL;
	r->load_geo = NULL;
	if (done)
		done(r->load_context, err, problem);
}

static void report(struct gs_reconcile *r)
{
	struct gs_edge_report edge = {
		.generation = r->state.info.generation,
		.revision = r->snapshot->revision,
		.digest = r->state.info.digest,
		.published_unix_ms = unix_ms(),
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
	struct publish *p = &r->publish;

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
	struct publish *p = &r->publish;
	bool for_good = p->err == -EINVAL || p->err == -EFBIG;

	snprintf(r->state.publish_problem, sizeof(r->state.publish_problem), "%s", p->error.text);
	gs_log(GS_LOG_ERROR, "publish_failed", "revision=%lu generation=%lu why=%s",
	       (unsigned long)p->snapshot->revision, (unsigned long)r->state.info.generation,
	       p->error.text);
	gs_tables_free(p->tables);
	/* Who loaded a database hears whether it stands; beside a new snapshot that is not known.
	 */
	if (p->geo && p->geo == r->load_geo && (p->snapshot == r->snapshot || !r->snapshot))
		answer_load(r, p->err, p->error.text);
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
		watch(r, r->snapshot);
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

static void publish_succeeded(struct gs_reconcile *r)
{
	struct publish *p = &r->publish;
	bool is_new = p->info.generation != r->state.info.generation;
	bool new_geo = p->geo != r->geo;

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
	apply_words(r, 0, "configuration");
	gs_log(GS_LOG_INFO, is_new ? "generation_in_force" : "generation_unchanged",
	       "generation=%lu revision=%lu digest=%016lx plans=%u locations=%u slot=%u from=%s",
	       (unsigned long)p->info.generation, (unsigned long)p->snapshot->revision,
	       (unsigned long)p->info.digest, gs_plan_set_count(p->tables->plans),
	       p->tables->location_count, p->info.slot,
	       r->publishing_file ? "last-good file" : "database");
	report(r);
	if (p->save)
		save(r);
	if (p->geo && p->geo == r->load_geo)
		answer_load(r, 0, "");
}

static void publish_done(struct gs_job *job)
{
	struct publish *p = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)p - offsetof(struct gs_reconcile, publish));

	r->publishing = false;
	free(gs_take_ptr(p->hops));
	if (p->err)
		publish_failed(r);
	else
		publish_succeeded(r);
	if (p->ahead && r->view)
		gs_usable_write(r->ports.dataplane, p->ahead, r->view);
	gs_usable_view_free(gs_take_ptr(p->ahead));
	consider(r);
	load_what_is_due(r);
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
	const struct gs_usable_health health = {.get = health_of, .context = r};

	if (!r->view || gs_usable_view_new(snapshot, &health, &r->publish.ahead))
		return; /* a moment later will do */
	gs_usable_write_ahead(r->ports.dataplane, r->view, r->publish.ahead);
	close_moved(r, snapshot);
}

static void publish(struct gs_reconcile *r, struct gs_snapshot *snapshot, bool is_file)
{
	struct publish *p = &r->publish;

	memset(p, 0, sizeof(*p));
	p->job = (struct gs_job){.run = run_publish, .done = publish_done, .context = p};
	p->snapshot = snapshot;
	p->geo = r->fresh_geo ? gs_take_ptr(r->fresh_geo) : r->geo;
	p->save = !is_file && snapshot->revision != r->saved_revision;
	p->hops = resolve_hops(r, snapshot);
	r->publishing = true;
	r->publishing_file = is_file;
	/* New backends are probed while their tables are built. */
	watch(r, snapshot);
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
		watch(r, snapshot);
		gs_snapshot_free(r->snapshot);
		r->snapshot = snapshot;
		r->viewed = NULL;
	}
	r->state.from_last_good = is_file;
	apply_words(r, 0, "configuration");
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
static void consider(struct gs_reconcile *r)
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
static void consider_now(struct gs_reconcile *r)
{
	r->waiting = false;
	gs_loop_timer_clear(r->ports.loop, &r->retry_timer);
	consider(r);
}

static void on_retry(struct gs_timer *timer)
{
	consider_now(timer->context);
}

/* ---- the store ------------------------------------------------------------------------------- */

static bool is_known(const struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	const struct gs_snapshot *newest = r->next ? r->next : r->snapshot;
	bool is_file = r->next ? r->next_is_file : r->state.from_last_good;

	if (r->publishing && !r->next) {
		newest = r->publish.snapshot;
		is_file = r->publishing_file;
	}
	return newest && !is_file && newest->revision == snapshot->revision &&
	       newest->selection_seed == snapshot->selection_seed;
}

static void on_snapshot(void *context, struct gs_snapshot *snapshot)
{
	struct gs_reconcile *r = context;

	gs_loop_timer_clear(r->ports.loop, &r->last_good_timer);
	if (is_known(r, snapshot)) {
		gs_snapshot_free(snapshot);
		return;
	}
	gs_log(GS_LOG_INFO, "snapshot",
	       "revision=%lu services=%u regions=%u backends=%u overrides=%u",
	       (unsigned long)snapshot->revision, snapshot->service_count, snapshot->region_count,
	       snapshot->backend_count, snapshot->override_count);
	gs_snapshot_free(r->next);
	r->next = snapshot;
	r->next_is_file = false;
	consider_now(r);
}

static void load_last_good(struct gs_reconcile *r)
{
	struct gs_snapshot *snapshot;
	struct gs_error error;
	int err;

	if (r->snapshot || r->next || r->publishing)
		return;
	err = gs_snapshot_load(r->settings.last_good, &snapshot, &error);
	if (err == -ENOENT) {
		gs_log_limited(GS_LOG_WARNING, "waiting_for_database", "file=%s why=%s",
			       r->settings.last_good, "no last good snapshot either");
		return;
	}
	if (err) {
		gs_log(GS_LOG_ERROR, "last_good_refused", "why=%s", error.text);
		return;
	}
	gs_log(GS_LOG_WARNING, "using_last_good", "file=%s revision=%lu", r->settings.last_good,
	       (unsigned long)snapshot->revision);
	r->next = snapshot;
	r->next_is_file = true;
	consider(r);
}

static void on_last_good(struct gs_timer *timer)
{
	load_last_good(timer->context);
}

static void on_connection(void *context, bool connected, const char *why)
{
	struct gs_reconcile *r = context;

	if (connected != r->state.connected || r->state.connection_since_ms == 0) {
		r->state.connection_since_ms = gs_loop_now_ms(r->ports.loop);
		if (connected)
			gs_log(GS_LOG_INFO, "database_connected", "state=%s", "connected");
		else
			gs_log(GS_LOG_WARNING, "database_away", "why=%s", why);
	}
	r->state.connected = connected;
	snprintf(r->state.connection_why, sizeof(r->state.connection_why), "%s", why);
	if (!connected)
		load_last_good(r);
}

/* ---- GeoIP ----------------------------------------------------------------------------------- */

static void run_load(struct gs_job *job)
{
	struct load *load = job->context;
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
	struct load *load = job->context;
	struct gs_reconcile *r =
		(struct gs_reconcile *)((char *)load - offsetof(struct gs_reconcile, load));

	r->loading = false;
	r->first_load_pending = false;
	if (load->err) {
		gs_log(GS_LOG_ERROR, "geoip_refused", "file=%s kept=%s why=%s", load->path,
		       r->geo ? r->geo->path : "none", load->error.text);
		snprintf(r->state.geo_problem, sizeof(r->state.geo_problem), "%s",
			 load->error.text);
		answer_load(r, load->err, load->error.text);
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
			answer_load(r, 0, ""); /* in force with the first snapshot */
	}
	consider_now(r);
	load_what_is_due(r);
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

static void load_what_is_due(struct gs_reconcile *r)
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
	load_what_is_due(r);
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* New maps know nothing: every word and the whole generation are written again. */
static void reopen(struct gs_reconcile *r)
{
	struct gs_error error;
	int err = r->ports.reopen_dataplane(r->ports.reopen_context, &error);

	if (err) {
		gs_log_limited(GS_LOG_ERROR, "dataplane_away", "why=%s", error.text);
		return;
	}
	r->ports.dataplane->ops->info(r->ports.dataplane->self, &r->state.info);
	gs_log(GS_LOG_WARNING, "dataplane_reopened", "generation=%lu why=%s",
	       (unsigned long)r->state.info.generation, "the pinned maps are new ones");
	r->is_warm = r->state.info.generation != 0;
	gs_usable_view_free(gs_take_ptr(r->view));
	apply_words(r, 0, "new maps");
	r->again = true;
	consider_now(r);
}

static void on_heartbeat(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	int err = r->ports.dataplane->ops->heartbeat(r->ports.dataplane->self);

	if (err == -ESTALE && !r->publishing)
		reopen(r);
	gs_loop_timer_set(r->ports.loop, timer, HEARTBEAT_MS);
}

int gs_reconcile_new(const struct gs_reconcile_ports *ports,
		     const struct gs_reconcile_settings *settings,
		     struct gs_reconcile **ret_reconcile)
{
	const struct gs_monitor_events events = {.on_verdict = on_verdict};
	struct gs_reconcile *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->ports = *ports;
	r->settings = *settings;
	r->retry_timer = (struct gs_timer){.on_due = on_retry, .context = r};
	r->heartbeat_timer = (struct gs_timer){.on_due = on_heartbeat, .context = r};
	r->hops_timer = (struct gs_timer){.on_due = on_hops, .context = r};
	r->last_good_timer = (struct gs_timer){.on_due = on_last_good, .context = r};
	gs_retry_init(&r->retry, RETRY_BASE_MS, RETRY_CAP_MS, settings->seed);
	err = gs_monitor_new(ports->loop, ports->prober, &events, r, settings->seed, &r->monitor);
	if (err) {
		free(r);
		return err;
	}
	ports->dataplane->ops->info(ports->dataplane->self, &r->state.info);
	r->is_warm = r->state.info.generation != 0;
	*ret_reconcile = r;
	return 0;
}

int gs_reconcile_start(struct gs_reconcile *r)
{
	static const struct gs_store_events events = {
		.on_snapshot = on_snapshot,
		.on_connection = on_connection,
	};
	int err;

	snprintf(r->state.connection_why, sizeof(r->state.connection_why), "connecting");
	if (r->settings.geoip[0]) {
		char path[GS_PATH_MAX];

		snprintf(path, sizeof(path), "%s", r->settings.geoip);
		r->first_load_pending = true;
		gs_reconcile_load_geo(r, path, NULL, NULL);
	}
	err = gs_loop_timer_set(r->ports.loop, &r->last_good_timer, LAST_GOOD_AFTER_MS);
	if (!err)
		err = gs_loop_timer_set(r->ports.loop, &r->hops_timer, HOPS_TICK_MS);
	if (err)
		return err;
	on_heartbeat(&r->heartbeat_timer);
	return r->ports.store->ops->start(r->ports.store->self, &events, r);
}

const struct gs_reconcile_state *gs_reconcile_look(struct gs_reconcile *r)
{
	r->state.snapshot = r->snapshot;
	r->state.tables = r->tables;
	r->state.geo = r->geo;
	r->state.view = r->view;
	r->state.monitor = r->monitor;
	r->state.working = r->publishing || r->loading || r->saving;
	return &r->state;
}

static void release_geo(struct gs_reconcile *r, struct gs_geodata *geo)
{
	if (geo)
		r->ports.geodb->ops->release(r->ports.geodb->self, geo);
}

void gs_reconcile_free(struct gs_reconcile *r)
{
	if (!r)
		return;
	gs_loop_timer_clear(r->ports.loop, &r->retry_timer);
	gs_loop_timer_clear(r->ports.loop, &r->heartbeat_timer);
	gs_loop_timer_clear(r->ports.loop, &r->hops_timer);
	gs_loop_timer_clear(r->ports.loop, &r->last_good_timer);
	answer_load(r, -ECANCELED, "the daemon is stopping");
	gs_monitor_free(r->monitor);
	gs_tables_free(r->tables);
	if (r->publishing) { /* its done() will not come */
		gs_tables_free(r->publish.tables);
		gs_usable_view_free(r->publish.ahead);
		free(r->publish.hops);
		if (r->publish.snapshot != r->snapshot)
			gs_snapshot_free(r->publish.snapshot);
		if (r->publish.geo != r->geo)
			release_geo(r, r->publish.geo);
	}
	if (r->saving)
		gs_snapshot_free(r->save.snapshot);
	if (r->loading)
		release_geo(r, r->load.geo);
	release_geo(r, r->fresh_geo);
	release_geo(r, r->geo);
	gs_snapshot_free(r->next);
	gs_snapshot_free(r->snapshot);
	gs_usable_view_free(r->view);
	free(r);
}
