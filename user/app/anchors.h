/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes of this edge's anchors (core/anchor.h): a second apart, one at a time of each, by a prober
 * of their own, so that none goes through the tunnel and none is a backend's. Whether they answer
 * is for the votes (votes.h), which look at it; here is only what is asked, and a line in the log.
 */
#pragma once

#include "user/base/loop.h"
#include "user/core/anchor.h"
#include "user/core/health.h"
#include "user/ports.h"

struct gs_anchors;

/* What people are told of one. */
struct gs_anchor_status {
	const char *name; /* borrowed until gs_anchors_set or _free */
	enum gs_health_state state;
	bool is_silent; /* down, by as many results as a backend is; one without a verdict is not */
	enum gs_probe_class why; /* of the last failure that counted; GS_PROBE_OK: none yet */
	uint32_t latency_us;	 /* of the last answer; 0: none yet */
	uint64_t since_ms;	 /* gs_loop_now_ms of the verdict */
};

/*
 * None yet. Starts the prober (its `start`); loop and the prober's self outlive the anchors, which
 * alone use it. seed: any value. 0, -ENOMEM, or what the prober's start returned.
 */
int gs_anchors_new(struct gs_loop *loop, const struct gs_prober *prober, uint64_t seed,
		   struct gs_anchors **ret_anchors);
/* Cancels what is running; the prober stays open. NULL is fine. */
void gs_anchors_free(struct gs_anchors *anchors);
/* These from now on; one that was there before goes on as it is. */
void gs_anchors_set(struct gs_anchors *anchors, const struct gs_anchor_set *set);

/* How many there are, and how many of them are silent. NULL: none. */
void gs_anchors_count(const struct gs_anchors *anchors, uint32_t *ret_all, uint32_t *ret_silent);
/* index: less than all of them; in the order of the setting. */
void gs_anchors_get(const struct gs_anchors *anchors, uint32_t index,
		    struct gs_anchor_status *ret_status);
