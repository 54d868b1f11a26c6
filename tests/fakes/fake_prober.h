/* SPDX-License-Identifier: Apache-2.0 */
/* A prober whose backends do as they are told. Answers come by timers of the loop it is given. */
#pragma once

#include "user/app/monitor.h"
#include "user/base/loop.h"
#include "user/ports.h"

enum { FAKE_PROBER_BACKENDS = 4096 };

struct fake_answer {
	enum gs_probe_class class; /* GS_PROBE_TIMEOUT: after the target's timeout */
	uint32_t after_ms;	   /* latency */
	int error;		   /* < 0: probe() itself fails with it */
};

struct fake_backend {
	struct fake_answer answer; /* given unless the script has one */
	/* Asked for each probe if set; n counts the backend's probes from 0. */
	struct fake_answer (*script)(void *context, gs_id backend, uint32_t n);
	void *context;
	uint32_t rtt_us; /* the network's, told with each answer; 0: not known */
	uint32_t probes;
	uint32_t running;
	uint32_t running_max;
	uint32_t cancels;
	uint64_t last_start_ms;
	struct gs_probe_target last_target;
};

struct fake_prober {
	struct gs_loop *loop;
	const struct gs_prober_events *events;
	void *context;
	int start_error;
	struct fake_probe *probes; /* under way */
	struct fake_backend backend[FAKE_PROBER_BACKENDS];
};

/* Caller's storage, zeroed; _done frees what is under way. */
void fake_prober_init(struct fake_prober *fake, struct gs_loop *loop, struct gs_prober *ret_prober);
void fake_prober_done(struct fake_prober *fake);

/* As gs_monitor_set_targets, a spec for each target; aborts if there is no memory. */
int fake_watch(struct gs_monitor *monitor, const struct gs_probe_target *targets, uint32_t count,
	       enum gs_health_state (*warm)(void *warm_context, gs_id backend), void *warm_context);
