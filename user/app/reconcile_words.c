/* SPDX-License-Identifier: Apache-2.0 */
/* From what probes and operators say to what packets may use, in the loop's own turn. */
#include "reconcile_parts.h"

#include "tell.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/cidr.h"
#include "user/core/probe_via.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- words and what is told of them ---------------------------------------------------------- */

enum gs_health_state gs_reconcile_health(void *context, gs_id backend)
{
	struct gs_reconcile *r = context;
	struct gs_monitor_status status;

	if (!gs_monitor_get(r->monitor, backend, &status))
		return GS_HEALTH_UNKNOWN;
	if ((status.state == GS_HEALTH_DOWN || status.state == GS_HEALTH_RECOVERING) &&
	    gs_votes_holds(r->votes, backend))
		return GS_HEALTH_UP;
	return status.state;
}

/* Probes find no way to it while others answer: nothing that is sent there arrives. */
static bool is_unreachable(void *context, gs_id backend)
{
	struct gs_reconcile *r = context;
	struct gs_monitor_status status;

	return gs_monitor_get(r->monitor, backend, &status) && status.state == GS_HEALTH_DOWN &&
	       status.why == GS_PROBE_NO_ROUTE;
}

static struct gs_permit permit_of(void *context, gs_id service, gs_id region)
{
	struct gs_reconcile *r = context;

	return gs_breakers_permit(r->breakers, service, region);
}

struct gs_usable_health gs_reconcile_usable_health(struct gs_reconcile *r)
{
	return (struct gs_usable_health){
		.get = gs_reconcile_health,
		.permit = permit_of,
		.global = gs_reconcile_global,
		.is_unreachable = is_unreachable,
		.context = r,
		.unix_ms = gs_unix_ms() + r->clock_ahead_ms,
		.edge = r->settings.edge,
		.local = r->local.overlays,
		.local_count = r->local.count,
		.panics = r->panics,
		.dampings = r->dampings,
		.now_ms = gs_loop_now_ms(r->ports.loop),
	};
}

/*
 * After words were judged, as of then: wakes up when a drain or an overlay ends. The wall clock may
 * be set meanwhile, and the timer goes by another: so it is asked again now and then.
 */
static void wait_for_drains(struct gs_reconcile *r, const struct gs_usable_health *judged)
{
	int64_t due = gs_usable_due_unix_ms(r->snapshot, judged);
	int64_t left_ms = due - gs_unix_ms() - r->clock_ahead_ms;

	if (due == INT64_MAX) {
		gs_loop_timer_clear(r->ports.loop, &r->drain_timer);
		return;
	}
	if (left_ms < 1)
		left_ms = 1;
	gs_loop_timer_set(r->ports.loop, &r->drain_timer,
			  left_ms < DRAIN_LOOK_MS ? (uint32_t)left_ms : DRAIN_LOOK_MS);
}

void gs_reconcile_on_drain(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;

	gs_reconcile_drop_expired(r);
	gs_reconcile_apply_words(
		r, 0, "the deadline of its drain has passed, or what was laid over it has expired");
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
void gs_reconcile_apply_words(struct gs_reconcile *r, gs_id first, const char *why)
{
	struct gs_usable_health health = gs_reconcile_usable_health(r);
	struct gs_usable_view *before = r->view, *after;
	char panic[GS_PANIC_TEXT_MAX];
	int err;

	if (!r->snapshot)
		return;
	health.steps = true;
	/* Thousands of backends may go down in one turn: what stays the same is not made again. */
	if (before && r->viewed == r->snapshot)
		err = gs_usable_view_next(before, r->snapshot, &health, &after);
	else
		err = gs_usable_view_new(r->snapshot, &health, &after);
	r->viewed = err ? NULL : r->snapshot;
	if (err) {
		gs_log_limited(GS_LOG_ERROR, "words_kept", "why=%s", "out of memory");
		gs_loop_timer_set(r->ports.loop, &r->drain_timer, DRAIN_LOOK_MS);
		return;
	}
	/* Of an earlier daemon's words only what differs is a change. */
	if (!before && r->is_warm && gs_usable_view_read(r->ports.dataplane, after, &before))
		before = NULL;
	gs_usable_write(r->ports.dataplane, before, after);
	r->view = after;
	wait_for_drains(r, &health);
	gs_reconcile_wait_for_dampings(r);
	if (gs_reconcile_tell_panics(r, panic))
		why = panic;
	note_since(r, before);
	gs_tell_changes(&(struct gs_telling){
		.store = r->ports.store,
		.snapshot = r->snapshot,
		.before = before,
		.after = after,
		.first = first,
		.why = why,
		.dampings = r->dampings,
		.now_ms = health.now_ms,
	});
	gs_usable_view_free(before);
}

void gs_reconcile_on_verdict(void *context, const struct gs_monitor_verdict *verdict)
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
	gs_reconcile_damp(r, backend, verdict);
	gs_reconcile_apply_words(r, verdict->first ? verdict->backend : 0, why);
	gs_votes_touch(r->votes);
}

void gs_reconcile_on_result(void *context, const struct gs_monitor_result *result)
{
	struct gs_reconcile *r = context;
	const struct gs_backend *backend;

	if (!r->snapshot)
		return;
	gs_probe_minutes_add(r->minutes, r->snapshot, result);
	backend = gs_snapshot_backend(r->snapshot, result->backend);
	if (backend && result->rtt_us > 0)
		gs_probe_trips_add(r->trips, backend, result->rtt_us,
				   gs_loop_now_ms(r->ports.loop));
	if (backend && (backend->admin == GS_ADMIN_AUTO || backend->admin == GS_ADMIN_DRAIN))
		gs_breakers_on_probe(r->breakers, backend->service, backend->region, result->class,
				     result->latency_us, result->began_ms);
}

void gs_reconcile_on_breaker(void *context, const struct gs_breakers_change *change)
{
	struct gs_reconcile *r = context;
	const struct gs_service *service;
	const struct gs_region *region;
	char why[96];

	service = r->snapshot ? gs_snapshot_service(r->snapshot, change->service) : NULL;
	region = r->snapshot ? gs_snapshot_region(r->snapshot, change->region) : NULL;
	if (!service || !region) /* of a snapshot that is being built */
		return;
	if (gs_breakers_on_trial(r->breakers))
		gs_reconcile_watch_leases(r);
	snprintf(why, sizeof(why), "breaker %s: %.60s", change->to, change->why);
	gs_reconcile_apply_words(r, 0, why);
	gs_tell_breaker(r->ports.store, service->name, region->name, change);
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

/* spec: where the service's is. */
static struct gs_monitor_target target_of(const struct gs_service *service,
					  const struct gs_backend *backend, uint32_t spec)
{
	struct gs_monitor_target target = {
		.backend = backend->id,
		.addr = backend->addr,
		.is_through = !gs_probe_direct_why(service, backend),
		.vip = service->vip,
		.spec = spec,
	};

	memcpy(target.service, service->name, sizeof(target.service));
	memcpy(target.name, backend->name, sizeof(target.name));
	target.port = service->port;
	if (backend->forward == GS_FORWARD_AS_NAT && backend->port)
		target.port = backend->port;
	if (service->probe.port)
		target.port = service->probe.port;
	return target;
}

const char *gs_reconcile_probe_direct_why(const struct gs_reconcile *r,
					  const struct gs_backend *backend)
{
	const struct gs_detour *detour = r->ports.detour;
	const struct gs_service *service = gs_snapshot_service(r->snapshot, backend->service);
	const struct gs_probe_target target = {
		.backend = backend->id, .addr = backend->addr, .vip = service->vip};
	const char *why = gs_probe_direct_why(service, backend);

	if (why)
		return why;
	if (!detour || !detour->ops)
		return "this edge has no detour";
	return detour->ops->look(detour->self, &target, NULL);
}

uint32_t gs_reconcile_probe_packets(const struct gs_reconcile *r,
				    struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX])
{
	const struct gs_detour *detour = r->ports.detour;

	return detour && detour->ops ? detour->ops->count(detour->self, ret_counters) : 0;
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

/* A spec is 1.4 kB: one of each service, not of each backend. 0 or -ENOMEM. */
static int make_set(const struct gs_snapshot *snapshot, struct gs_monitor_target **ret_targets,
		    struct gs_probe_spec **ret_specs)
{
	GS_AUTO_FREE struct gs_monitor_target *targets =
		calloc(snapshot->backend_count + 1u, sizeof(*targets));
	GS_AUTO_FREE struct gs_probe_spec *specs =
		calloc(snapshot->service_count + 1u, sizeof(*specs));

	if (!targets || !specs)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		specs[i] = snapshot->services[i].probe;
		if (!specs[i].host[0])
			name_host(&snapshot->services[i], specs[i].host, sizeof(specs[i].host));
	}
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);

		targets[i] = target_of(service, backend, (uint32_t)(service - snapshot->services));
	}
	*ret_targets = gs_take_ptr(targets);
	*ret_specs = gs_take_ptr(specs);
	return 0;
}

void gs_reconcile_watch(struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	struct warm warm = {.r = r, .snapshot = snapshot};
	GS_AUTO_FREE struct gs_monitor_target *targets = NULL;
	GS_AUTO_FREE struct gs_probe_spec *specs = NULL;
	int err = make_set(snapshot, &targets, &specs);

	if (!err)
		err = gs_monitor_set_targets(r->monitor,
					     &(struct gs_monitor_set){
						     .targets = targets,
						     .specs = specs,
						     .count = snapshot->backend_count,
						     .spec_count = snapshot->service_count,
						     .warm = warm_state,
						     .warm_context = &warm,
					     });
	if (err)
		gs_log(GS_LOG_ERROR, "targets_kept", "why=%s", strerror(-err));
}
