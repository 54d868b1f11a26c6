/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When each target is probed, and what its results come to: schedules all targets on the loop
 * through the prober port and steps core/health.h. Acts on nothing: verdicts go to a callback.
 *
 * Probes are pipelined: one that is silent at the soft deadline gets a second one sent beside it.
 * Probes that come sooner than regular ones are paid from a budget of the target's own: a fifth of
 * its regular ones, with what one verdict down and one up need always in store.
 * Probe results that fail for a cause of our own (no descriptors, a loop that lags by more than 20
 * % of the target's timeout) count neither for nor against the target; nor does a missing route,
 * unless other targets go on answering.
 */
#pragma once

#include "user/base/loop.h"
#include "user/core/health.h"
#include "user/ports.h"

struct gs_monitor;

/* A target's verdict has changed, its first one (from UNKNOWN) included. */
struct gs_monitor_verdict {
	gs_id backend;
	bool up;
	bool first;		 /* was UNKNOWN */
	enum gs_probe_class why; /* down: of the failure that decided it; up: GS_PROBE_OK */
	uint32_t latency_us;	 /* up: of the success that decided it; down: of the last one */
};

/* What one probe came to, as it was judged: with those that failed for a cause of our own. */
struct gs_monitor_result {
	gs_id backend;
	enum gs_probe_class class; /* LOCAL: does not count */
	uint32_t latency_us;	   /* of a success; else 0 */
	uint32_t rtt_us;	   /* of a success, the network's part; 0: not known */
	uint64_t began_ms;	   /* gs_loop_now_ms when the probe was sent */
};

struct gs_monitor_events {
	/* May call every function here except gs_monitor_free. */
	void (*on_verdict)(void *context, const struct gs_monitor_verdict *verdict);
	/* Every result, before the verdict it may bring; may only ask, not change. NULL: nobody. */
	void (*on_result)(void *context, const struct gs_monitor_result *result);
};

struct gs_monitor_status {
	enum gs_health_state state;
	uint8_t failures;	 /* counted against it now */
	enum gs_probe_class why; /* class of the last failure that counted; GS_PROBE_OK: none yet */
	uint32_t latency_us;	 /* of the last success; 0: none yet */
	uint64_t since_ms;	 /* gs_loop_now_ms of the up/down verdict */
	uint64_t results;	 /* counted */
	uint64_t failed_results; /* of these */
	uint64_t local_failures; /* not counted: our own trouble */
};

/*
 * Starts the prober (its `start`); loop, prober's self and context outlive the monitor. seed: any
 * value, spreads probes of edges that start together. events is copied. 0, -ENOMEM, or what the
 * prober's start returned.
 */
int gs_monitor_new(struct gs_loop *loop, const struct gs_prober *prober,
		   const struct gs_monitor_events *events, void *context, uint64_t seed,
		   struct gs_monitor **ret_monitor);
/* Cancels what is running; the prober stays open. NULL is fine. */
void gs_monitor_free(struct gs_monitor *monitor);

/* As struct gs_probe_target, whose spec is one of many targets'. */
struct gs_monitor_target {
	gs_id backend; /* > 0 */
	char service[GS_NAME_MAX];
	char name[GS_NAME_MAX];
	struct gs_addr addr;
	uint16_t port;
	bool is_through;
	struct gs_addr vip;
	uint32_t spec; /* which of the set's */
};

/* Borrowed. */
struct gs_monitor_set {
	const struct gs_monitor_target *targets; /* in any order, one a backend */
	const struct gs_probe_spec *specs;
	uint32_t count, spec_count;
	/* UP or DOWN (what the maps say), else UNKNOWN. NULL: they all are. */
	enum gs_health_state (*warm)(void *warm_context, gs_id backend);
	void *warm_context;
};

/*
 * The whole set of targets; copied. A target whose address, port, kind, path and host are what they
 * were keeps its state and its schedule (new times and limits take effect at once). Every other one
 * starts in the state `warm` returns. Kind NONE is UP, always. None of this calls on_verdict: read
 * the states with gs_monitor_get afterwards.
 * 0; -ENOMEM or -EINVAL (backend 0, a backend twice), and nothing has changed.
 */
int gs_monitor_set_targets(struct gs_monitor *monitor, const struct gs_monitor_set *set);

/*
 * Somebody has a hint about the backend: its next probe is sent now instead of when it is due. Paid
 * from its budget, of which what a verdict may need stays; what the probe comes to counts as any
 * other's. False: nothing is sent, because one is under way, or the target is down, never probed or
 * not there, or has had enough of this.
 */
bool gs_monitor_probe_now(struct gs_monitor *monitor, gs_id backend);

/* False: no such target, *ret_status untouched. */
bool gs_monitor_get(const struct gs_monitor *monitor, gs_id backend,
		    struct gs_monitor_status *ret_status);
/* Targets without a verdict yet; 0: the first round is over. */
uint32_t gs_monitor_unknown_count(const struct gs_monitor *monitor);
/* gs_loop_now_ms when the loop was last so late that timeouts did not count; 0: never. */
uint64_t gs_monitor_late_ms(const struct gs_monitor *monitor);
/* Worst lag of the loop in this minute and the one before, ms; asking changes nothing. */
uint32_t gs_monitor_worst_lag_ms(const struct gs_monitor *monitor);
