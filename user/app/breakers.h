/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The circuit breakers of all pools of this edge: feeds core/breaker.h with results, steps it on
 * the loop's timers, keeps what operators force. Acts on nothing: changes go to a callback, which
 * reads permits.
 */
#pragma once

#include "user/base/loop.h"
#include "user/core/breaker.h"
#include "user/core/types.h"
#include "user/ports.h"

struct gs_breakers;

/* A breaker's state, permit or force has changed. */
struct gs_breakers_change {
	gs_id service, region;
	enum gs_breaker_state from, to; /* equal: only its permit or force has changed */
	char why[96];
	char actor[GS_NAME_MAX]; /* of a force; "" */
	struct gs_breaker_saved saved;
};

struct gs_breakers_events {
	void (*on_change)(void *context, const struct gs_breakers_change *change);
};

/* What people are told of one. */
struct gs_breakers_status {
	gs_id service, region;
	struct gs_breaker breaker;
	struct gs_permit permit;
	uint32_t ok, failed;	      /* in the window */
	uint64_t since_ms;	      /* gs_loop_now_ms, of the state */
	const struct gs_force *force; /* in force, of the snapshot given last; NULL: none */
	char why[96];		      /* of the last change */
};

/* edge: this edge's name, copied. events is copied. 0 or -ENOMEM. */
int gs_breakers_new(struct gs_loop *loop, const char *edge, const struct gs_breakers_events *events,
		    void *context, uint64_t seed, struct gs_breakers **ret_breakers);
/* NULL is fine. */
void gs_breakers_free(struct gs_breakers *breakers);

/*
 * The pools of this snapshot (borrowed until the next call), its specs and forces. Breakers of
 * pools that stay keep their state; new ones are CLOSED, or as restored. Changes of forces call
 * on_change. 0 or -ENOMEM, and nothing has changed.
 */
int gs_breakers_set(struct gs_breakers *breakers, const struct gs_snapshot *snapshot);
/* What was saved of them; those whose state has changed since they began are left alone. Before or
 * after gs_breakers_set. */
void gs_breakers_restore(struct gs_breakers *breakers, const struct gs_breaker_record *records,
			 uint32_t count);
/* A probe result of a backend of the pool. */
void gs_breakers_on_probe(struct gs_breakers *breakers, gs_id service, gs_id region,
			  enum gs_probe_class result);

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
