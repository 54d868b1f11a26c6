/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/lag.h"
#include "user/core/probe_spec.h"
#include "user/core/random.h"
#include "user/core/retry.h"

#include <errno.h>
#include <string.h>

/* Timeouts prove nothing if the loop that measures them was later than this share of them. */
#define LAG_SHARE 5 /* 1/5: 20 % */
/* Lag shows only where a timer is due: so one is, often enough for the shortest timeout. */
#define TICKS_PER_TIMEOUT 10
#define TICK_MIN_MS 5
#define TICK_MAX_MS 100

/* New targets are first probed at no more than this rate, lest we find them dead by our own load.
 */
#define NEW_TARGETS_PER_MS 5

#define TOKEN_SERIAL_BITS 48

/* A probe that has not been answered. */
struct flight {
	uint64_t token;
	uint64_t began_ms;
	uint64_t lag_moment; /* how late the loop was since then */
};

struct target {
	struct gs_monitor *monitor;
	struct gs_monitor_target probe;
	const struct gs_probe_spec *spec; /* one of the monitor's */
	bool stays;			  /* while the next set is made: in it, too */
	struct gs_health health;
	struct gs_timer timer; /* the next probe */
	struct flight flights[GS_HEALTH_PIPELINE_MAX];
	uint32_t flight_count;
	uint64_t last_token;
	uint64_t last_start_ms;
	uint32_t random;	 /* of the interval that follows the last probe */
	bool spread;		 /* that interval is a random part of a whole one */
	bool calm;		 /* the last probe failed for a cause of our own: no hurry */
	bool awaiting;		 /* nothing has been heard since the last probe was sent */
	bool extra;		 /* the next probe comes sooner than regular ones do */
	struct gs_budget budget; /* of those */
	uint32_t lent;		 /* paid because of silence, since the last answer */
	uint32_t latency_us;
	uint64_t local_failures;
	uint64_t no_route_ms; /* of the first such result in a row; 0: none */
};

struct gs_monitor {
	struct gs_loop *loop;
	struct gs_prober prober;
	struct gs_monitor_events events;
	void *context;
	uint64_t random;
	uint64_t serial;
	struct gs_timer tick;
	uint32_t timeout_ms; /* the shortest */
	struct gs_lag lag;
	uint32_t tick_ms;
	uint32_t worst_lag_ms[2]; /* of this minute, of the one before */
	uint64_t lag_minute;
	uint64_t late_ms; /* when it was last too much for a timeout; 0: never */
	uint32_t count;
	struct target **targets; /* sorted by backend */
	struct gs_probe_spec *specs;
	struct target *of[GS_MAX_BACKENDS]; /* the same by backend; asked of each with every word */
	uint64_t answered_ms;		    /* when any target last answered */
};

static uint32_t draw(struct gs_monitor *monitor)
{
	return (uint32_t)(gs_random(&monitor->random) >> 32);
}

static struct target *find(const struct gs_monitor *monitor, gs_id backend)
{
	return backend < GS_MAX_BACKENDS ? monitor->of[backend] : NULL;
}

/* ---- lag ------------------------------------------------------------------------------------- */

static void remember_lag(struct gs_monitor *monitor, uint32_t lag_ms)
{
	uint64_t minute = gs_loop_now_ms(monitor->loop) / 60000;

	if (minute != monitor->lag_minute) {
		monitor->worst_lag_ms[1] =
			minute == monitor->lag_minute + 1 ? monitor->worst_lag_ms[0] : 0;
		monitor->worst_lag_ms[0] = 0;
		monitor->lag_minute = minute;
	}
	if (lag_ms > monitor->worst_lag_ms[0])
		monitor->worst_lag_ms[0] = lag_ms;
}

/* Too late for a timeout of so many ms to be believed. */
static bool is_too_late(uint32_t lag_ms, uint32_t timeout_ms)
{
	return (uint64_t)lag_ms * LAG_SHARE > timeout_ms;
}

static void observe_lag(struct gs_monitor *monitor)
{
	uint32_t lag_ms = gs_loop_take_lag_ms(monitor->loop);

	remember_lag(monitor, lag_ms);
	gs_lag_see(&monitor->lag, lag_ms);
	if (!is_too_late(lag_ms, monitor->timeout_ms))
		return;
	monitor->late_ms = gs_loop_now_ms(monitor->loop);
	gs_log_limited(GS_LOG_WARNING, "probe_lag", "lag_ms=%u effect=%s", lag_ms,
		       "timeouts of probes under way do not count");
}

static void on_tick(struct gs_timer *timer)
{
	struct gs_monitor *monitor = timer->context;

	observe_lag(monitor);
	/* Takes the place that has just become free. */
	gs_loop_timer_set(monitor->loop, timer, monitor->tick_ms);
}

/* For these targets; 0 or -ENOMEM. */
static int set_tick(struct gs_monitor *monitor, const struct gs_monitor_set *set)
{
	uint32_t timeout_ms = TICK_MAX_MS * TICKS_PER_TIMEOUT;

	for (uint32_t i = 0; i < set->count; i++) {
		const struct gs_probe_spec *spec = &set->specs[set->targets[i].spec];

		if (spec->kind != GS_PROBE_NONE && spec->timeout_ms < timeout_ms)
			timeout_ms = spec->timeout_ms;
	}
	monitor->timeout_ms = timeout_ms;
	monitor->tick_ms = timeout_ms / TICKS_PER_TIMEOUT;
	if (monitor->tick_ms < TICK_MIN_MS)
		monitor->tick_ms = TICK_MIN_MS;
	if (set->count > 0)
		return gs_loop_timer_set(monitor->loop, &monitor->tick, monitor->tick_ms);
	gs_loop_timer_clear(monitor->loop, &monitor->tick);
	return 0;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void tell_result(const struct target *target, enum gs_probe_class class, uint32_t rtt_us,
			uint64_t began_ms)
{
	bool is_good = class == GS_PROBE_OK;
	const struct gs_monitor *monitor = target->monitor;

	if (monitor->events.on_result)
		monitor->events.on_result(monitor->context,
					  &(struct gs_monitor_result){
						  .backend = target->probe.backend,
						  .class = class,
						  .latency_us = is_good ? target->latency_us : 0,
						  .rtt_us = is_good ? rtt_us : 0,
						  .began_ms = began_ms,
					  });
}

/* ---- schedule -------------------------------------------------------------------------------- */

/* What a target's regular probes are apart while it is up. */
static uint32_t regular_wait_ms(const struct target *target)
{
	return gs_health_next_ms(&(struct gs_health){.state = GS_HEALTH_UP}, target->spec,
				 target->random);
}

/* As soon as things as they stand ask for it, from the start of the last probe. */
static uint32_t eager_wait_ms(const struct target *target)
{
	const struct gs_health *health = &target->health;
	const struct gs_probe_spec *spec = target->spec;
	uint32_t soft_ms = gs_health_soft_deadline_ms(spec);
	uint32_t interval_ms = gs_health_next_ms(health, spec, target->random);

	if (target->spread && health->state == GS_HEALTH_UP)
		interval_ms = 1 + target->random % interval_ms;
	/* A target that is down has nothing to prove in a hurry. */
	if (!target->awaiting || health->state == GS_HEALTH_DOWN ||
	    health->state == GS_HEALTH_RECOVERING)
		return interval_ms;
	return interval_ms < soft_ms ? interval_ms : soft_ms;
}

/* What one verdict down and one up may take; never spent on anything else. */
static uint32_t verdict_store(const struct gs_probe_spec *spec)
{
	return (uint32_t)spec->fall + spec->rise;
}

/* And for forgetting failures. */
static uint32_t whole_store(const struct gs_probe_spec *spec)
{
	return verdict_store(spec) + spec->clear;
}

/* May the next probe come sooner than a regular one? */
static bool may_hurry(const struct target *target)
{
	const struct gs_health *health = &target->health;
	const struct gs_probe_spec *spec = target->spec;
	bool is_clearing =
		health->state == GS_HEALTH_SUSPECT && !target->awaiting && health->successes > 0;

	return target->flight_count < gs_health_missing(health, spec) &&
	       gs_budget_has(&target->budget, is_clearing ? verdict_store(spec) : 0);
}

/* From the start of the last probe to the start of the next, as things stand. */
static uint32_t wait_ms(const struct target *target, bool *ret_extra)
{
	uint32_t eager_ms = eager_wait_ms(target), regular_ms = regular_wait_ms(target);
	enum gs_health_state state = target->health.state;
	bool is_regular = state == GS_HEALTH_DOWN || (state == GS_HEALTH_UP && !target->awaiting);

	*ret_extra = false;
	/* Trouble of our own does not get less by more probes. */
	if (target->calm && state != GS_HEALTH_DOWN)
		return regular_ms;
	if (is_regular || eager_ms >= regular_ms)
		return eager_ms;
	*ret_extra = may_hurry(target);
	return *ret_extra ? eager_ms : regular_ms;
}

static void schedule(struct target *target)
{
	struct gs_loop *loop = target->monitor->loop;
	uint64_t now_ms = gs_loop_now_ms(loop), due_ms;

	if (target->flight_count == GS_HEALTH_PIPELINE_MAX) {
		gs_loop_timer_clear(loop, &target->timer); /* a result will schedule again */
		return;
	}
	due_ms = target->last_start_ms + wait_ms(target, &target->extra);
	if (gs_loop_timer_set(loop, &target->timer,
			      due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 0))
		gs_log_limited(GS_LOG_ERROR, "probe_timer", "backend=%u error=%s",
			       (unsigned int)target->probe.backend, "out of memory");
}

static void pay(struct target *target)
{
	enum gs_health_state state = target->health.state;

	if (!target->extra) {
		gs_budget_earn(&target->budget);
		return;
	}
	gs_budget_spend(&target->budget);
	if (target->awaiting && state != GS_HEALTH_DOWN && state != GS_HEALTH_RECOVERING)
		target->lent++;
}

static struct gs_probe_target probe_of(const struct target *target)
{
	const struct gs_monitor_target *probe = &target->probe;
	struct gs_probe_target asked = {
		.backend = probe->backend,
		.addr = probe->addr,
		.port = probe->port,
		.is_through = probe->is_through,
		.vip = probe->vip,
		.spec = *target->spec,
	};

	memcpy(asked.service, probe->service, sizeof(asked.service));
	memcpy(asked.name, probe->name, sizeof(asked.name));
	return asked;
}

static void start_probe(struct target *target)
{
	struct gs_monitor *monitor = target->monitor;
	const struct gs_probe_target asked = probe_of(target);
	uint64_t token = (uint64_t)target->probe.backend << TOKEN_SERIAL_BITS |
			 (++monitor->serial & ((1ULL << TOKEN_SERIAL_BITS) - 1));
	int ret;

	pay(target);
	target->last_start_ms = gs_loop_now_ms(monitor->loop);
	target->last_token = token;
	target->random = draw(monitor);
	target->spread = target->health.state == GS_HEALTH_UNKNOWN;
	ret = monitor->prober.ops->probe(monitor->prober.self, &asked, token);
	target->awaiting = ret == 0;
	target->calm = ret != 0;
	if (ret) {
		target->local_failures++;
		gs_log_limited(GS_LOG_WARNING, "probe_local", "backend=%u error=%s",
			       (unsigned int)target->probe.backend, strerror(-ret));
		tell_result(target, GS_PROBE_LOCAL, 0, target->last_start_ms);
		return;
	}
	target->flights[target->flight_count++] = (struct flight){
		.token = token,
		.began_ms = target->last_start_ms,
		.lag_moment = gs_lag_moment(&monitor->lag),
	};
}

static void on_due(struct gs_timer *timer)
{
	struct target *target = timer->context;

	observe_lag(target->monitor);
	start_probe(target);
	schedule(target);
}

bool gs_monitor_probe_now(struct gs_monitor *monitor, gs_id backend)
{
	struct target *target = find(monitor, backend);

	if (!target || target->spec->kind == GS_PROBE_NONE || target->flight_count > 0 ||
	    target->health.state == GS_HEALTH_DOWN || target->last_token == 0 || target->calm ||
	    !gs_budget_has(&target->budget, verdict_store(target->spec)))
		return false;
	target->extra = true;
	start_probe(target);
	schedule(target);
	return true;
}

/* ---- results --------------------------------------------------------------------------------- */

/* False: no such probe is under way. */
static bool land(struct target *target, uint64_t token, struct flight *ret_flight)
{
	for (uint32_t i = 0; i < target->flight_count; i++) {
		if (target->flights[i].token != token)
			continue;
		*ret_flight = target->flights[i];
		target->flights[i] = target->flights[--target->flight_count];
		return true;
	}
	return false;
}

/*
 * No way to a target, while others answer since: the way to it is gone, and clients sent there are
 * lost. While nobody answers it may be our own cable, which says nothing about any target.
 */
static enum gs_probe_class judge_no_route(struct target *target, enum gs_probe_class result)
{
	struct gs_monitor *monitor = target->monitor;
	uint64_t now_ms = gs_loop_now_ms(monitor->loop);

	if (result == GS_PROBE_OK)
		monitor->answered_ms = now_ms;
	if (result != GS_PROBE_NO_ROUTE) {
		target->no_route_ms = 0;
		return result;
	}
	if (target->no_route_ms == 0)
		target->no_route_ms = now_ms;
	return monitor->answered_ms > target->no_route_ms ? result : GS_PROBE_LOCAL;
}

/* Is one that was sent before it still silent? */
static bool is_overtaking(const struct target *target, const struct flight *flight)
{
	for (uint32_t i = 0; i < target->flight_count; i++)
		if (target->flights[i].token < flight->token)
			return true;
	return false;
}

/* Probes sent beside one that is silent because it is far away cost nothing; those sent beside one
 * that is lost do. */
static void settle_loan(struct target *target, const struct flight *flight,
			enum gs_probe_class result)
{
	if (result == GS_PROBE_LOCAL || (result == GS_PROBE_OK && is_overtaking(target, flight)))
		return;
	if (result == GS_PROBE_OK)
		gs_budget_return(&target->budget, target->lent);
	target->lent = 0;
}

static void note_result(struct target *target, const struct flight *flight,
			enum gs_probe_class result, uint32_t latency_us)
{
	/* A success speaks for the probes sent before it, too: a target that is farther away than
	 * the soft deadline is not probed at full speed for ever. */
	if (result == GS_PROBE_OK || flight->token == target->last_token)
		target->awaiting = false;
	if (result == GS_PROBE_OK)
		target->latency_us = latency_us > 0 ? latency_us : 1;
	target->calm = result == GS_PROBE_LOCAL;
	if (result == GS_PROBE_LOCAL)
		target->local_failures++;
	settle_loan(target, flight, result);
}

static void on_result(void *context, uint64_t token, enum gs_probe_class result,
		      uint32_t latency_us, uint32_t rtt_us)
{
	struct gs_monitor *monitor = context;
	struct target *target = find(monitor, (gs_id)(token >> TOKEN_SERIAL_BITS));
	struct gs_monitor_verdict verdict;
	enum gs_health_change change;
	struct flight flight;

	observe_lag(monitor);
	if (!target || !land(target, token, &flight))
		return;
	/* An answer is proof at any time; only silence is measured with our own clock. */
	if (result == GS_PROBE_TIMEOUT &&
	    is_too_late(gs_lag_worst_ms(&monitor->lag, flight.lag_moment),
			target->spec->timeout_ms))
		result = GS_PROBE_LOCAL;
	result = judge_no_route(target, result);
	note_result(target, &flight, result, latency_us);
	verdict = (struct gs_monitor_verdict){
		.backend = target->probe.backend,
		.first = target->health.state == GS_HEALTH_UNKNOWN,
		.why = result,
		.latency_us = target->latency_us,
	};
	change = gs_health_step(&target->health, target->spec, result,
				gs_loop_now_ms(monitor->loop));
	schedule(target);
	tell_result(target, result, rtt_us, flight.began_ms);
	if (change == GS_HEALTH_SAME)
		return;
	verdict.up = change == GS_HEALTH_WENT_UP;
	/* Last: the callee may replace the targets, this one included. */
	monitor->events.on_verdict(monitor->context, &verdict);
}

/* ---- the set of targets ---------------------------------------------------------------------- */

static bool is_same_target(const struct target *target, const struct gs_monitor_target *probe,
			   const struct gs_probe_spec *spec)
{
	const struct gs_monitor_target *was = &target->probe;

	return memcmp(&was->addr, &probe->addr, sizeof(was->addr)) == 0 &&
	       was->port == probe->port && was->is_through == probe->is_through &&
	       (!was->is_through || memcmp(&was->vip, &probe->vip, sizeof(was->vip)) == 0) &&
	       gs_probe_asks_same(target->spec, spec);
}

static void free_target(struct target *target)
{
	struct gs_monitor *monitor = target->monitor;

	gs_loop_timer_clear(monitor->loop, &target->timer);
	if (target->flight_count > 0)
		monitor->prober.ops->cancel(monitor->prober.self, target->probe.backend);
	free(target);
}

/* 0 or -ENOMEM. Its first probe comes at a random moment of its first interval; `count`: targets
 * that may start with it. */
static int new_target(struct gs_monitor *monitor, const struct gs_monitor_target *probe,
		      const struct gs_probe_spec *spec, enum gs_health_state state, uint32_t count,
		      struct target **ret_target)
{
	GS_AUTO_FREE struct target *target = calloc(1, sizeof(*target));
	uint64_t now_ms = gs_loop_now_ms(monitor->loop);
	uint32_t within_ms;
	int ret;

	if (!target)
		return -ENOMEM;
	target->monitor = monitor;
	target->probe = *probe;
	target->spec = spec;
	target->timer = (struct gs_timer){.on_due = on_due, .context = target};
	if (spec->kind == GS_PROBE_NONE)
		state = GS_HEALTH_UP;
	gs_health_init(&target->health, state, now_ms);
	gs_budget_init(&target->budget, GS_BUDGET_PERCENT, whole_store(spec));
	if (spec->kind != GS_PROBE_NONE) {
		/* Those without a verdict, and those that may be back, at once. */
		within_ms = state == GS_HEALTH_UP ? gs_health_next_ms(&target->health, spec, 0)
						  : gs_health_soft_deadline_ms(spec);
		if (within_ms < count / NEW_TARGETS_PER_MS)
			within_ms = count / NEW_TARGETS_PER_MS;
		ret = gs_loop_timer_set(monitor->loop, &target->timer, draw(monitor) % within_ms);
		if (ret)
			return ret;
	}
	*ret_target = gs_take_ptr(target);
	return 0;
}

static int compare_backends(const void *a, const void *b)
{
	const struct gs_monitor_target *const *left = a, *const *right = b;

	return (int)(*left)->backend - (int)(*right)->backend;
}

/* Pointers into the set's targets, sorted by backend; NULL and *ret_error on failure. Caller frees.
 */
static const struct gs_monitor_target **sort_targets(const struct gs_monitor_set *set,
						     int *ret_error)
{
	GS_AUTO_FREE const struct gs_monitor_target **sorted =
		calloc(set->count + 1u, sizeof(struct gs_monitor_target *));

	*ret_error = -ENOMEM;
	if (!sorted)
		return NULL;
	for (uint32_t i = 0; i < set->count; i++)
		sorted[i] = &set->targets[i];
	qsort(sorted, set->count, sizeof(struct gs_monitor_target *), compare_backends);
	*ret_error = -EINVAL;
	for (uint32_t i = 0; i < set->count; i++)
		if (sorted[i]->backend == 0 || sorted[i]->backend >= GS_MAX_BACKENDS ||
		    (i > 0 && sorted[i]->backend == sorted[i - 1]->backend))
			return NULL;
	*ret_error = 0;
	return gs_take_ptr(sorted);
}

static enum gs_health_state warm_state(const struct gs_monitor_set *set, gs_id backend)
{
	enum gs_health_state state =
		set->warm ? set->warm(set->warm_context, backend) : GS_HEALTH_UNKNOWN;

	return state == GS_HEALTH_UP || state == GS_HEALTH_DOWN ? state : GS_HEALTH_UNKNOWN;
}

/* A set in the making. */
struct making {
	const struct gs_monitor_set *set;
	const struct gs_monitor_target **sorted;
	struct gs_probe_spec *specs; /* a copy of the set's */
	struct target **targets;     /* NULL behind what has been made */
};

static void drop_making(struct making *making)
{
	free(making->sorted);
	free(making->specs);
	free(making->targets);
}

static int begin_making(struct making *making)
{
	const struct gs_monitor_set *set = making->set;
	int ret;

	making->sorted = sort_targets(set, &ret);
	if (!making->sorted)
		return ret;
	making->targets = calloc(set->count + 1u, sizeof(struct target *));
	making->specs = calloc(set->spec_count + 1u, sizeof(*making->specs));
	if (!making->targets || !making->specs)
		return -ENOMEM;
	if (set->spec_count > 0)
		memcpy(making->specs, set->specs, set->spec_count * sizeof(*making->specs));
	return 0;
}

static int make_targets(struct gs_monitor *monitor, struct making *making)
{
	const struct gs_monitor_set *set = making->set;
	int ret;

	for (uint32_t i = 0; i < set->count; i++) {
		const struct gs_monitor_target *probe = making->sorted[i];
		const struct gs_probe_spec *spec = &making->specs[probe->spec];
		struct target *old = find(monitor, probe->backend);

		if (old && is_same_target(old, probe, spec)) {
			old->stays = true;
			making->targets[i] = old;
			continue;
		}
		ret = new_target(monitor, probe, spec, warm_state(set, probe->backend), set->count,
				 &making->targets[i]);
		if (ret)
			return ret;
	}
	return set_tick(monitor, set);
}

/* What was made is freed, and nothing has changed. */
static void undo(struct gs_monitor *monitor, struct making *making)
{
	for (uint32_t i = 0; making->targets && i < making->set->count; i++)
		if (making->targets[i] && !making->targets[i]->stays)
			free_target(making->targets[i]);
	for (uint32_t i = 0; i < monitor->count; i++)
		monitor->targets[i]->stays = false;
}

static void free_those_left(struct gs_monitor *monitor)
{
	for (uint32_t i = 0; i < monitor->count; i++) {
		struct target *target = monitor->targets[i];

		monitor->of[target->probe.backend] = NULL;
		if (!target->stays)
			free_target(target);
	}
	free(monitor->targets);
}

/* Times and limits of one that stays take effect at once. */
static void follow(struct target *target, const struct gs_monitor_target *probe,
		   const struct gs_probe_spec *spec)
{
	if (whole_store(spec) != whole_store(target->spec))
		gs_budget_init(&target->budget, GS_BUDGET_PERCENT, whole_store(spec));
	target->probe = *probe; /* it may have another name */
	target->spec = spec;
	/* Not those whose first probe is still to come. */
	if (target->last_token != 0)
		schedule(target);
}

int gs_monitor_set_targets(struct gs_monitor *monitor, const struct gs_monitor_set *set)
{
	struct making making = {.set = set};
	struct gs_probe_spec *old_specs = monitor->specs;
	int ret = begin_making(&making);

	if (!ret)
		ret = make_targets(monitor, &making);
	if (ret) {
		undo(monitor, &making);
		drop_making(&making);
		return ret;
	}
	free_those_left(monitor);
	monitor->targets = gs_take_ptr(making.targets);
	monitor->specs = gs_take_ptr(making.specs);
	monitor->count = set->count;
	for (uint32_t i = 0; i < set->count; i++) {
		struct target *target = monitor->targets[i];

		monitor->of[target->probe.backend] = target;
		target->stays = false;
		follow(target, making.sorted[i], &monitor->specs[making.sorted[i]->spec]);
	}
	free(old_specs);
	drop_making(&making);
	return 0;
}

/* ---- life and queries ------------------------------------------------------------------------ */

int gs_monitor_new(struct gs_loop *loop, const struct gs_prober *prober,
		   const struct gs_monitor_events *events, void *context, uint64_t seed,
		   struct gs_monitor **ret_monitor)
{
	static const struct gs_prober_events prober_events = {.on_result = on_result};
	GS_AUTO_FREE struct gs_monitor *monitor = calloc(1, sizeof(*monitor));
	int ret;

	if (!monitor)
		return -ENOMEM;
	monitor->loop = loop;
	monitor->prober = *prober;
	monitor->events = *events;
	monitor->context = context;
	monitor->random = seed;
	monitor->tick = (struct gs_timer){.on_due = on_tick, .context = monitor};
	ret = prober->ops->start(prober->self, &prober_events, monitor);
	if (ret)
		return ret;
	*ret_monitor = gs_take_ptr(monitor);
	return 0;
}

void gs_monitor_free(struct gs_monitor *monitor)
{
	if (!monitor)
		return;
	for (uint32_t i = 0; i < monitor->count; i++)
		free_target(monitor->targets[i]);
	gs_loop_timer_clear(monitor->loop, &monitor->tick);
	free(monitor->targets);
	free(monitor->specs);
	free(monitor);
}

bool gs_monitor_get(const struct gs_monitor *monitor, gs_id backend,
		    struct gs_monitor_status *ret_status)
{
	const struct target *target = find(monitor, backend);

	if (!target)
		return false;
	*ret_status = (struct gs_monitor_status){
		.state = target->health.state,
		.failures = target->health.failures,
		.why = target->health.why,
		.latency_us = target->latency_us,
		.since_ms = target->health.since_ms,
		.results = target->health.results,
		.failed_results = target->health.failed_results,
		.local_failures = target->local_failures,
	};
	return true;
}

uint32_t gs_monitor_unknown_count(const struct gs_monitor *monitor)
{
	uint32_t unknown = 0;

	for (uint32_t i = 0; i < monitor->count; i++)
		unknown += monitor->targets[i]->health.state == GS_HEALTH_UNKNOWN;
	return unknown;
}

uint64_t gs_monitor_late_ms(const struct gs_monitor *monitor)
{
	return monitor->late_ms;
}

uint32_t gs_monitor_worst_lag_ms(const struct gs_monitor *monitor)
{
	const uint32_t *worst = monitor->worst_lag_ms;

	return worst[0] > worst[1] ? worst[0] : worst[1];
}
