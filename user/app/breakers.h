/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The circuit breakers of all pools of this edge: feeds core/breaker.h with results, steps it on a
 * timer of the loop, keeps what operators force. Acts on nothing: changes go to a callback, which
 * reads permits.
 */
#pragma once

#include "user/base/loop.h"
#include "user/core/breaker.h"
#include "user/core/health.h"
#include "user/core/types.h"
#include "user/ports.h"

struct gs_breakers;

/*
 * What new flows of a pool may do has changed. from, to: names of states, or forced_open,
 * forced_closed; equal: a breaker that was saved is taken up again, or a step of a ramp.
 */
struct gs_breakers_change {
	gs_id service, region;
	char from[24], to[24];
	char why[96];
	char actor[GS_NAME_MAX]; /* whose force it is; "": nobody's */
	struct gs_breaker_saved saved;
};

struct gs_breakers_events {
	/* May ask everything here, change nothing. */
	void (*on_change)(void *context, const struct gs_breakers_change *change);
};

/* What people are told of one. */
struct gs_breakers_status {
	gs_id service, region;
	enum gs_breaker_state state;
	struct gs_permit permit;
	uint8_t exponent;
	uint32_t opened;		      /* times, since the daemon began */
	uint32_t ok, failed;		      /* in the window */
	uint32_t leases, completed, returned; /* HALF_OPEN: of its trials */
	uint64_t since_ms;		      /* gs_loop_now_ms, of the state */
	uint64_t until_ms;		      /* OPEN: when it is half open; else UINT64_MAX */
	const struct gs_force *force; /* in force, until the next gs_breakers_set; NULL: none */
	const char *why;	      /* of the last change; "" */
};

/* edge: this edge's name, copied. events is copied. 0 or -ENOMEM. */
int gs_breakers_new(struct gs_loop *loop, const char *edge, const struct gs_breakers_events *events,
		    void *context, uint64_t seed, struct gs_breakers **ret_breakers);
/* NULL is fine. */
void gs_breakers_free(struct gs_breakers *breakers);

/*
 * The pools of this snapshot, its specs and forces; copied. Breakers of pools that stay keep their
 * state; new ones are CLOSED, or as saved. 0 or -ENOMEM, and nothing has changed.
 */
int gs_breakers_set(struct gs_breakers *breakers, const struct gs_snapshot *snapshot);
/* What was saved of them, before or after gs_breakers_set; those that have changed since they began
 * are left alone. 0 or -ENOMEM. */
int gs_breakers_restore(struct gs_breakers *breakers, const struct gs_breaker_record *records,
			uint32_t count);
/* A probe's result, of a backend of the pool; latency_us: of a success; began_ms: gs_loop_now_ms
 * when it was sent. */
void gs_breakers_on_probe(struct gs_breakers *breakers, gs_id service, gs_id region,
			  enum gs_probe_class result, uint32_t latency_us, uint64_t began_ms);
/* A client's handshake with the pool. */
void gs_breakers_on_handshake(struct gs_breakers *breakers, gs_id service, gs_id region,
			      uint32_t rtt_us);

/* What became of the pools' trials since the last call. */
struct gs_breakers_lease {
	gs_id service, region;
	enum gs_lease_fate fate; /* OPEN: it is out still */
};
/* All of them: of a pool that none is out of, none is. */
void gs_breakers_on_leases(struct gs_breakers *breakers, const struct gs_breakers_lease *leases,
			   uint32_t count);
/* Is any pool on trial? */
bool gs_breakers_on_trial(const struct gs_breakers *breakers);
/* So many edges share a quota from now on: each lets 1 / edges through, and at least one. */
void gs_breakers_share(struct gs_breakers *breakers, uint32_t edges);

/* GS_PERMIT_ALL for a pool there is none of. */
struct gs_permit gs_breakers_permit(const struct gs_breakers *breakers, gs_id service,
				    gs_id region);
uint32_t gs_breakers_count(const struct gs_breakers *breakers);
/* index < count, by service and region. */
void gs_breakers_get(const struct gs_breakers *breakers, uint32_t index,
		     struct gs_breakers_status *ret_status);
/* False: there is none. */
bool gs_breakers_find(const struct gs_breakers *breakers, gs_id service, gs_id region,
		      struct gs_breakers_status *ret_status);
