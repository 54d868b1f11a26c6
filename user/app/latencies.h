/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The round trips of this edge's clients to the store, every period, and, if it knows where it is,
 * what the network between it and each region takes by its probes; and, while it is this edge's
 * turn, what all edges measured to rows that all rank by (core/latency.h). Judging is done on the
 * worker. Without the store the last rows stay: they are the snapshot's.
 */
#pragma once

#include "handshakes.h"
#include "user/ports.h"

struct gs_latencies;

/* All borrowed; they outlive the latencies. */
struct gs_latencies_ports {
	struct gs_loop *loop;
	const struct gs_latency_store *store;
	struct gs_handshakes *handshakes;
	/* What is in force now; snapshot and tables may be NULL. */
	const struct gs_reconcile_state *(*look)(void *context);
	void *look_context;
};

struct gs_latencies_status {
	uint32_t period_ms;
	bool is_judge;	     /* the last turn was this edge's, within three periods */
	uint64_t told;	     /* rows told, ever */
	uint32_t probed;     /* regions of the last exchange that probes told of */
	uint64_t turns;	     /* evaluations */
	uint64_t published;  /* revisions made */
	uint64_t changes;    /* rows published or withdrawn by them */
	uint64_t failed;     /* publishes that came to nothing */
	uint32_t tracks;     /* of the last evaluation */
	uint32_t refused;    /* of it: no room */
	uint64_t longest_us; /* evaluation, on the worker */
};

/* 0 or -errno. period_ms: GS_LATENCY_PERIOD_MIN_MS .. GS_LATENCY_PERIOD_MAX_MS. */
int gs_latencies_new(const struct gs_latencies_ports *ports, uint32_t period_ms,
		     struct gs_latencies **ret_latencies);
/* After gs_loop_end_worker, before the store is closed. NULL is fine. */
void gs_latencies_free(struct gs_latencies *latencies);
/* From the next exchange on. */
void gs_latencies_period(struct gs_latencies *latencies, uint32_t period_ms);
/* Where this edge is, from the next exchange on; copied. NULL: nobody knows, and its probes tell
 * nothing. */
void gs_latencies_stand(struct gs_latencies *latencies, const struct gs_coord *coord);
/* What the judge has of a published row; NULL: nothing, or this edge does not judge just now. Until
 * the loop's next turn. */
const struct gs_latency_track *gs_latencies_track(const struct gs_latencies *latencies,
						  const struct gs_latency *row);
void gs_latencies_look(const struct gs_latencies *latencies,
		       struct gs_latencies_status *ret_status);
