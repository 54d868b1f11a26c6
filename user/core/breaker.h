/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The circuit breaker of one pool (a service in a region), seen from one edge: a state machine on
 * counts and a passed-in time. Pure: time is a parameter, randomness a seed. Semantics and
 *defaults: user/core/README.md.
 *
 *   CLOSED     all new flows. Opens on a failure ratio (with a minimum volume) over a window of
 *		GS_BREAKER_BUCKETS seconds, or on connection failures in a row.
 *   OPEN	no new flows, until a time drawn from 1 .. min(open_max, open * 2^exponent).
 *   HALF_OPEN  `trials` new flows, counted in the data plane and lent (lease.h). Closes after
 *		`successes` good probes and as many completed trials; on probes alone when no trial
 *		is out, or after GS_LEASE_MS, since nobody may be there to try. Opens again on a bad
 *		result; without either it ends after GS_BREAKER_HALF_OPEN_MS.
 *   CLOSING	a rising share of new flows (10, 25, 50, 100 % over ramp_ms), judged like CLOSED.
 *
 * Each change begins a new epoch; results of an earlier one change nothing.
 */
#pragma once

#include "lease.h"
#include "types.h"

enum gs_breaker_state {
	GS_BREAKER_CLOSED,
	GS_BREAKER_OPEN,
	GS_BREAKER_HALF_OPEN,
	GS_BREAKER_CLOSING,
	GS_BREAKER__COUNT,
};

/* What one attempt came to. CONNECT: refused, reset or silent before anything was said. */
enum gs_breaker_result {
	GS_BREAKER_OK,
	GS_BREAKER_SLOW, /* good, but slower than the spec's slow_ms */
	GS_BREAKER_FAILED,
	GS_BREAKER_FAILED_CONNECT,
};

enum gs_breaker_force { GS_BREAKER_AUTO, GS_BREAKER_FORCED_OPEN, GS_BREAKER_FORCED_CLOSED };

#define GS_BREAKER_BUCKETS 10u /* of GS_BREAKER_BUCKET_MS */
#define GS_BREAKER_BUCKET_MS 1000u
#define GS_BREAKER_HALF_OPEN_MS 10000u
#define GS_BREAKER_MIN_VOLUME 20u
#define GS_BREAKER_FAILURE_PERCENT 50u
#define GS_BREAKER_CONSECUTIVE 5u
#define GS_BREAKER_OPEN_MS 2000u
#define GS_BREAKER_OPEN_MAX_MS 60000u
#define GS_BREAKER_TRIALS 10u
#define GS_BREAKER_SUCCESSES 4u
#define GS_BREAKER_RAMP_MS 4000u
#define GS_BREAKER_SLOW_PERCENT 80u

/* One number of a spec by name: documents, SQL and checks go through these. enabled: 0 or 1. */
enum { GS_BREAKER_FIELDS = 11, GS_BREAKER_OLD_FIELDS = 9 };
struct gs_breaker_field {
	const char *name;
	int64_t min, max;
};
/* index < GS_BREAKER_FIELDS */
const struct gs_breaker_field *gs_breaker_field(uint32_t index);
int64_t gs_breaker_field_get(const struct gs_breaker_spec *spec, uint32_t index);
/* value: min .. max */
void gs_breaker_field_set(struct gs_breaker_spec *spec, uint32_t index, int64_t value);

/* The defaults above, enabled. */
struct gs_breaker_spec gs_breaker_spec_default(void);

struct gs_breaker {
	enum gs_breaker_state state;
	uint32_t epoch;	   /* of the state; counts changes, never 0 */
	uint8_t exponent;  /* of the next opening; one less for each healthy window */
	uint64_t since_ms; /* of the state */
	uint64_t until_ms; /* OPEN, HALF_OPEN, CLOSING: when gs_breaker_step changes it next */
	uint64_t random;   /* state of the generator */

	uint64_t bucket_start_ms; /* of the newest bucket */
	uint32_t bucket;	  /* its index */
	uint32_t ok[GS_BREAKER_BUCKETS];
	uint32_t failed[GS_BREAKER_BUCKETS];
	uint32_t slow[GS_BREAKER_BUCKETS];	      /* of ok */
	uint32_t handshakes[GS_BREAKER_BUCKETS];      /* of clients */
	uint32_t slow_handshakes[GS_BREAKER_BUCKETS]; /* of these */
	uint32_t consecutive;			      /* connection failures in a row */
	uint32_t good;				      /* HALF_OPEN: results */
	uint32_t trials_left;			      /* HALF_OPEN: of gs_breaker_take_trial */
	uint32_t leases;       /* HALF_OPEN: trials that nothing has come of yet */
	uint32_t completed;    /* HALF_OPEN: trials that became connections */
	uint32_t returned;     /* HALF_OPEN: trials given back */
	bool waits_for_trials; /* HALF_OPEN: its probes are good enough */
	uint64_t decay_ms;     /* CLOSED: when the exponent was last lowered, or the state began */

	enum gs_breaker_force force;
	uint64_t force_until_ms;
};

/* What a restart takes up again. Times are spans, so that no clock has to be the same. */
struct gs_breaker_saved {
	enum gs_breaker_state state;
	uint8_t exponent;
	uint32_t epoch;
	uint32_t left_ms; /* OPEN: until HALF_OPEN */
};

/* What new flows may do now. */
enum gs_permit_kind { GS_PERMIT_NONE, GS_PERMIT_TRIALS, GS_PERMIT_SHARE, GS_PERMIT_ALL };
struct gs_permit {
	enum gs_permit_kind kind;
	uint16_t accept; /* SHARE: of 65535 */
	uint16_t trials; /* TRIALS: of this epoch in all */
	bool forced;	 /* by an operator */
};

void gs_breaker_init(struct gs_breaker *breaker, uint64_t now_ms, uint64_t seed);
/*
 * One result that was begun in `epoch`. True: the state has changed (gs_breaker_why).
 * A breaker that is not enabled stays, or becomes, CLOSED.
 */
bool gs_breaker_on_result(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			  uint32_t epoch, enum gs_breaker_result result, uint64_t now_ms);
/*
 * A client's handshake took so long. Anybody can send slow ones: they open it only where half of
 * the probes were slow, too. True: the state has changed.
 */
bool gs_breaker_on_handshake(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			     uint32_t rtt_us, uint64_t now_ms);
/* HALF_OPEN: something has become of a lease of this epoch. True: the state has changed. */
bool gs_breaker_on_lease(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			 enum gs_lease_fate fate, uint64_t now_ms);
/* HALF_OPEN: so many leases are out. True: the state has changed. */
bool gs_breaker_set_leases(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			   uint32_t leases, uint64_t now_ms);
/* What time alone changes. True: state, permit or force has changed. */
bool gs_breaker_step(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		     uint64_t now_ms);
/* When gs_breaker_step has something to do next; UINT64_MAX: never. */
uint64_t gs_breaker_due_ms(const struct gs_breaker *breaker);
/* AUTO releases. The state machine goes on underneath. until_ms: it ends by itself. */
void gs_breaker_set_force(struct gs_breaker *breaker, enum gs_breaker_force force,
			  uint64_t until_ms);
struct gs_permit gs_breaker_permit(const struct gs_breaker *breaker,
				   const struct gs_breaker_spec *spec, uint64_t now_ms);
/* HALF_OPEN: true exactly `trials` times an epoch; otherwise what the permit says (a share: false
 * for callers to draw themselves). For callers without a data plane. */
bool gs_breaker_take_trial(struct gs_breaker *breaker, uint64_t now_ms);

void gs_breaker_save(const struct gs_breaker *breaker, uint64_t now_ms,
		     struct gs_breaker_saved *ret_saved);
/* away_ms: since it was saved. CLOSED and CLOSING come back as they were, HALF_OPEN as OPEN that is
 * over, OPEN shortened by away_ms. Epochs go on. */
void gs_breaker_restore(struct gs_breaker *breaker, const struct gs_breaker_saved *saved,
			uint64_t away_ms, uint64_t now_ms);

/* The window as it is now. */
void gs_breaker_window(const struct gs_breaker *breaker, uint64_t now_ms, uint32_t *ret_ok,
		       uint32_t *ret_failed);
const char *gs_breaker_state_name(enum gs_breaker_state state); /* closed open half_open closing */
int gs_breaker_state_parse(const char *text, enum gs_breaker_state *ret_state); /* -EINVAL */
