/* SPDX-License-Identifier: Apache-2.0 */
/* The business loop's ends: what the store tells, the timers, starting and stopping. */
#include "reconcile_parts.h"

#include "snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
	if (!r->last_good.is_reading)
		gs_snapshot_free(gs_take_ptr(r->last_good.snapshot));
	gs_reconcile_note_clock(r, snapshot);
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
	gs_reconcile_consider_now(r);
}

static void on_breakers(void *context, const struct gs_breaker_record *records, uint32_t count)
{
	struct gs_reconcile *r = context;

	if (gs_breakers_restore(r->breakers, records, count))
		gs_log(GS_LOG_ERROR, "breakers_forgotten", "why=%s", "out of memory");
}

static void on_demand(void *context, const struct gs_demand_told *rows, uint32_t count,
		      uint32_t edges)
{
	struct gs_reconcile *r = context;

	if (r->ports.on_demand)
		r->ports.on_demand(r->ports.generation_context, rows, count, edges);
}

static void use_last_good(struct gs_reconcile *r)
{
	struct gs_last_good *last = &r->last_good;

	if (last->err == -ENOENT) {
		gs_log_limited(GS_LOG_WARNING, "waiting_for_database", "file=%s why=%s",
			       r->settings.last_good, "no last good snapshot either");
		return;
	}
	if (last->err) {
		gs_log(GS_LOG_ERROR, "last_good_refused", "why=%s", last->error.text);
		return;
	}
	gs_log(GS_LOG_WARNING, "using_last_good", "file=%s revision=%lu", r->settings.last_good,
	       (unsigned long)last->snapshot->revision);
	r->next = gs_take_ptr(last->snapshot);
	r->next_is_file = true;
	gs_reconcile_consider(r);
}

static bool needs_last_good(const struct gs_reconcile *r)
{
	return !r->snapshot && !r->next && !r->publishing;
}

static void run_last_good(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;

	r->last_good.err = gs_snapshot_load(r->settings.last_good, &r->last_good.snapshot,
					    &r->last_good.error);
}

static void last_good_read(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;
	bool is_wanted = r->last_good.is_wanted;

	r->last_good.is_reading = false;
	r->last_good.is_wanted = false;
	if (!needs_last_good(r))
		gs_snapshot_free(gs_take_ptr(r->last_good.snapshot));
	else if (is_wanted)
		use_last_good(r);
}

static void read_last_good(struct gs_reconcile *r)
{
	struct gs_last_good *last = &r->last_good;

	*last = (struct gs_last_good){
		.job = {.run = run_last_good, .done = last_good_read, .context = r},
		.is_reading = true,
	};
	gs_loop_work(r->ports.loop, &last->job);
}

/* At once if it has been read by now. */
static void load_last_good(struct gs_reconcile *r)
{
	if (!needs_last_good(r))
		return;
	/* While it is being read, what was read is the worker's. */
	if (!r->last_good.is_reading && r->last_good.snapshot) {
		use_last_good(r);
		return;
	}
	if (!r->last_good.is_reading)
		read_last_good(r);
	r->last_good.is_wanted = true;
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
	gs_votes_on_connection(r->votes, connected);
	if (!connected) /* who else is there is not known any more */
		gs_breakers_share(r->breakers, 1);
	snprintf(r->state.connection_why, sizeof(r->state.connection_why), "%s", why);
	if (!connected)
		load_last_good(r);
}

static void on_pooled(void *context, bool is_pooled)
{
	struct gs_reconcile *r = context;

	if (is_pooled && !r->state.pooled)
		gs_log(GS_LOG_WARNING, "database_pooled", "effect=%s advice=%s",
		       "notifications may not arrive: changes are looked for every second",
		       "connect to PostgreSQL itself, or by a pool of sessions");
	r->state.pooled = is_pooled;
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
	r->state.maps_are_others = false;
	gs_usable_view_free(gs_take_ptr(r->view));
	gs_reconcile_apply_words(r, 0, "new maps");
	r->again = true;
	gs_reconcile_consider_now(r);
}

static void on_heartbeat(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	int err = r->ports.dataplane->ops->heartbeat(r->ports.dataplane->self);

	r->state.maps_are_others = err != 0;
	if (err == -ESTALE && !r->publishing)
		reopen(r);
	gs_loop_timer_set(r->ports.loop, timer, HEARTBEAT_MS);
}

int gs_reconcile_new(const struct gs_reconcile_ports *ports,
		     const struct gs_reconcile_settings *settings,
		     struct gs_reconcile **ret_reconcile)
{
	const struct gs_monitor_events events = {.on_verdict = gs_reconcile_on_verdict,
						 .on_result = gs_reconcile_on_result};
	const struct gs_breakers_events breaker_events = {.on_change = gs_reconcile_on_breaker};
	struct gs_reconcile *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->ports = *ports;
	r->settings = *settings;
	r->retry_timer = (struct gs_timer){.on_due = gs_reconcile_on_retry, .context = r};
	r->publish_timer = (struct gs_timer){.on_due = gs_reconcile_on_publish_turn, .context = r};
	r->heartbeat_timer = (struct gs_timer){.on_due = on_heartbeat, .context = r};
	r->last_good_timer = (struct gs_timer){.on_due = on_last_good, .context = r};
	r->drain_timer = (struct gs_timer){.on_due = gs_reconcile_on_drain, .context = r};
	r->lease_timer = (struct gs_timer){.on_due = gs_reconcile_on_leases, .context = r};
	gs_retry_init(&r->retry, RETRY_BASE_MS, RETRY_CAP_MS, settings->seed);
	err = gs_reconcile_hops_new(r);
	if (!err)
		err = gs_reconcile_tunnels_new(r);
	if (!err)
		err = gs_reconcile_admin_new(r);
	if (!err)
		err = gs_reconcile_damping_new(r);
	if (!err)
		err = gs_probe_minutes_new(ports->loop, ports->store, settings->seed, &r->minutes);
	if (!err)
		err = gs_probe_trips_new(&r->trips);
	if (!err)
		err = gs_breakers_new(ports->loop, settings->edge, &breaker_events, r,
				      settings->seed ^ 0xb7ea4e5u, &r->breakers);
	if (!err)
		err = gs_reconcile_votes_new(r);
	if (!err)
		err = gs_monitor_new(ports->loop, ports->prober, &events, r, settings->seed,
				     &r->monitor);
	if (err) {
		gs_votes_free(r->votes);
		gs_breakers_free(r->breakers);
		gs_probe_trips_free(r->trips);
		gs_probe_minutes_free(r->minutes);
		gs_reconcile_damping_free(r);
		gs_reconcile_admin_free(r);
		gs_reconcile_tunnels_free(r);
		gs_reconcile_hops_free(r);
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
		.on_breakers = on_breakers,
		.on_demand = on_demand,
		.on_connection = on_connection,
		.on_pooled = on_pooled,
		.on_ballots = gs_reconcile_on_ballots,
	};
	int err;

	snprintf(r->state.connection_why, sizeof(r->state.connection_why), "connecting");
	/* Before databases, which take the worker for seconds: it may be needed soon. */
	read_last_good(r);
	r->first_load_pending = r->settings.geoip[0] || r->settings.asn[0];
	snprintf(r->load_due, sizeof(r->load_due), "%s", r->settings.geoip);
	snprintf(r->asn_due, sizeof(r->asn_due), "%s", r->settings.asn);
	gs_reconcile_load_due(r);
	err = gs_loop_timer_set(r->ports.loop, &r->last_good_timer, LAST_GOOD_AFTER_MS);
	if (!err)
		err = gs_reconcile_hops_start(r);
	if (!err)
		err = gs_reconcile_tunnels_start(r);
	if (!err)
		err = gs_votes_start(r->votes);
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
	r->state.asn = r->asn;
	r->state.view = r->view;
	r->state.monitor = r->monitor;
	r->state.breakers = r->breakers;
	r->state.votes = r->votes;
	r->state.probe_trips = r->trips;
	r->state.edge = r->settings.edge;
	r->state.panics = r->panics;
	r->state.dampings = r->dampings;
	r->state.local = &r->local;
	r->state.clock_ahead_ms = r->clock_ahead_ms;
	r->state.geo_before = r->geo_before;
	r->state.geo_change = r->geo_change;
	gs_reconcile_look_at_load(r);
	r->state.working = r->publishing || r->loading || r->saving;
	return &r->state;
}

void gs_reconcile_free(struct gs_reconcile *r)
{
	if (!r)
		return;
	gs_loop_timer_clear(r->ports.loop, &r->retry_timer);
	gs_loop_timer_clear(r->ports.loop, &r->publish_timer);
	gs_loop_timer_clear(r->ports.loop, &r->heartbeat_timer);
	gs_loop_timer_clear(r->ports.loop, &r->last_good_timer);
	gs_loop_timer_clear(r->ports.loop, &r->drain_timer);
	gs_loop_timer_clear(r->ports.loop, &r->lease_timer);
	gs_reconcile_answer_load(r, -ECANCELED, "the daemon is stopping");
	gs_monitor_free(r->monitor);
	gs_votes_free(r->votes);
	gs_breakers_free(r->breakers);
	gs_probe_trips_free(r->trips);
	gs_probe_minutes_free(r->minutes);
	gs_reconcile_damping_free(r);
	gs_reconcile_admin_free(r);
	gs_reconcile_tunnels_free(r);
	gs_reconcile_hops_free(r);
	gs_reconcile_drop_rubbish(r);
	gs_tables_free(r->tables);
	free(r->counts);
	if (r->publishing) { /* its done() will not come */
		free(r->publish.counts);
		gs_tables_free(r->publish.tables);
		gs_usable_view_free(r->publish.ahead);
		free(r->publish.hops);
		if (r->publish.snapshot != r->snapshot)
			gs_snapshot_free(r->publish.snapshot);
		free(r->publish.change);
		free(r->publish.clients);
		if (r->publish.geo != r->geo &&
		    (!r->publish.is_turned_away || r->publish.how.is_rollback))
			gs_reconcile_release_geo(r, r->publish.geo);
		if (r->publish.asn != r->asn)
			gs_reconcile_release_asn(r, r->publish.asn);
	}
	if (r->saving)
		gs_snapshot_free(r->save.snapshot);
	gs_snapshot_free(r->last_good.snapshot);
	if (r->loading) {
		gs_reconcile_release_geo(r, r->load.geo);
		gs_reconcile_release_asn(r, r->load.asn);
	}
	gs_reconcile_release_geo(r, r->fresh_geo);
	gs_reconcile_release_geo(r, r->geo_before);
	free(r->geo_change);
	gs_reconcile_release_geo(r, r->geo);
	gs_reconcile_release_asn(r, r->fresh_asn);
	gs_reconcile_release_asn(r, r->asn);
	gs_snapshot_free(r->next);
	gs_snapshot_free(r->snapshot);
	gs_usable_view_free(r->view);
	free(r);
}
