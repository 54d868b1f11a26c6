/* SPDX-License-Identifier: Apache-2.0 */
#include "breaker.h"

#include "random.h"

#include <errno.h>
#include <string.h>

static const char *const STATE_NAMES[] = {
	[GS_BREAKER_CLOSED] = "closed",
	[GS_BREAKER_OPEN] = "open",
	[GS_BREAKER_HALF_OPEN] = "half_open",
	[GS_BREAKER_CLOSING] = "closing",
};
_Static_assert(sizeof(STATE_NAMES) / sizeof(STATE_NAMES[0]) == GS_BREAKER__COUNT, "a name each");

/* What a breaker that closes takes of the new flows, in per cent, each for a third of the ramp. */
static const uint8_t RAMP_PERCENT[] = {10, 25, 50};
enum { RAMP_STEPS = sizeof(RAMP_PERCENT) / sizeof(RAMP_PERCENT[0]) };

enum { EXPONENT_MAX = 31 };

/* ---- the spec -------------------------------------------------------------------------------- */

static const struct {
	struct gs_breaker_field field;
	uint8_t offset, size;
} FIELDS[GS_BREAKER_FIELDS] = {
#define FIELD(name, min, max)                                                        \
	{                                                                            \
		{#name, min, max}, __builtin_offsetof(struct gs_breaker_spec, name), \
			sizeof(((struct gs_breaker_spec *)0)->name)                  \
	}
	FIELD(enabled, 0, 1),	    FIELD(min_volume, 1, 1000000), FIELD(failure_percent, 1, 100),
	FIELD(consecutive, 0, 100), FIELD(open_ms, 100, 3600000),  FIELD(open_max_ms, 100, 3600000),
	FIELD(trials, 1, 10000),    FIELD(successes, 1, 100),	   FIELD(ramp_ms, 0, 3600000),
	FIELD(slow_ms, 0, 60000),   FIELD(slow_percent, 1, 100),
#undef FIELD
};

const struct gs_breaker_field *gs_breaker_field(uint32_t index)
{
	return &FIELDS[index].field;
}

int64_t gs_breaker_field_get(const struct gs_breaker_spec *spec, uint32_t index)
{
	const char *at = (const char *)spec + FIELDS[index].offset;
	uint8_t small;
	uint16_t medium;
	uint32_t large;

	switch (FIELDS[index].size) {
	case sizeof(small):
		memcpy(&small, at, sizeof(small));
		return small;
	case sizeof(medium):
		memcpy(&medium, at, sizeof(medium));
		return medium;
	default:
		memcpy(&large, at, sizeof(large));
		return large;
	}
}

void gs_breaker_field_set(struct gs_breaker_spec *spec, uint32_t index, int64_t value)
{
	char *at = (char *)spec + FIELDS[index].offset;
	uint8_t small = (uint8_t)value;
	uint16_t medium = (uint16_t)value;
	uint32_t large = (uint32_t)value;

	if (FIELDS[index].size == sizeof(small))
		memcpy(at, &small, sizeof(small));
	else if (FIELDS[index].size == sizeof(medium))
		memcpy(at, &medium, sizeof(medium));
	else
		memcpy(at, &large, sizeof(large));
}

struct gs_breaker_spec gs_breaker_spec_default(void)
{
	return (struct gs_breaker_spec){
		.enabled = true,
		.min_volume = GS_BREAKER_MIN_VOLUME,
		.failure_percent = GS_BREAKER_FAILURE_PERCENT,
		.consecutive = GS_BREAKER_CONSECUTIVE,
		.open_ms = GS_BREAKER_OPEN_MS,
		.open_max_ms = GS_BREAKER_OPEN_MAX_MS,
		.trials = GS_BREAKER_TRIALS,
		.successes = GS_BREAKER_SUCCESSES,
		.ramp_ms = GS_BREAKER_RAMP_MS,
		.slow_percent = GS_BREAKER_SLOW_PERCENT,
	};
}

/* ---- the window ------------------------------------------------------------------------------ */

static void clear_window(struct gs_breaker *breaker, uint64_t now_ms)
{
	memset(breaker->ok, 0, sizeof(breaker->ok));
	memset(breaker->failed, 0, sizeof(breaker->failed));
	memset(breaker->slow, 0, sizeof(breaker->slow));
	memset(breaker->handshakes, 0, sizeof(breaker->handshakes));
	memset(breaker->slow_handshakes, 0, sizeof(breaker->slow_handshakes));
	breaker->bucket = 0;
	breaker->bucket_start_ms = now_ms;
	breaker->consecutive = 0;
}

/* How many buckets have ended since the newest one began; all of them at most. */
static uint32_t buckets_over(const struct gs_breaker *breaker, uint64_t now_ms)
{
	uint64_t over;

	if (now_ms < breaker->bucket_start_ms)
		return 0;
	over = (now_ms - breaker->bucket_start_ms) / GS_BREAKER_BUCKET_MS;
	return over < GS_BREAKER_BUCKETS ? (uint32_t)over : GS_BREAKER_BUCKETS;
}

static void turn_window(struct gs_breaker *breaker, uint64_t now_ms)
{
	uint32_t over = buckets_over(breaker, now_ms);

	for (uint32_t i = 0; i < over; i++) {
		breaker->bucket = (breaker->bucket + 1) % GS_BREAKER_BUCKETS;
		breaker->ok[breaker->bucket] = 0;
		breaker->failed[breaker->bucket] = 0;
		breaker->slow[breaker->bucket] = 0;
		breaker->handshakes[breaker->bucket] = 0;
		breaker->slow_handshakes[breaker->bucket] = 0;
	}
	if (over > 0)
		breaker->bucket_start_ms =
			now_ms - (now_ms - breaker->bucket_start_ms) % GS_BREAKER_BUCKET_MS;
}

void gs_breaker_window(const struct gs_breaker *breaker, uint64_t now_ms, uint32_t *ret_ok,
		       uint32_t *ret_failed)
{
	uint32_t over = buckets_over(breaker, now_ms), ok = 0, failed = 0;

	/* The oldest ones follow the newest one in the ring. */
	for (uint32_t i = over + 1; i <= GS_BREAKER_BUCKETS; i++) {
		uint32_t bucket = (breaker->bucket + i) % GS_BREAKER_BUCKETS;

		ok += breaker->ok[bucket];
		failed += breaker->failed[bucket];
	}
	*ret_ok = ok;
	*ret_failed = failed;
}

/* ---- changes of state ------------------------------------------------------------------------ */

static void enter(struct gs_breaker *breaker, enum gs_breaker_state state, uint64_t now_ms)
{
	breaker->state = state;
	breaker->epoch = breaker->epoch == UINT32_MAX ? 1 : breaker->epoch + 1;
	breaker->since_ms = now_ms;
	breaker->until_ms = UINT64_MAX;
	breaker->good = 0;
	breaker->trials_left = 0;
	breaker->leases = breaker->completed = breaker->returned = 0;
	breaker->waits_for_trials = false;
	breaker->decay_ms = now_ms;
	clear_window(breaker, now_ms);
}

/* Full jitter: anything from 1 to the bound, so that edges do not try again in step. */
static void open(struct gs_breaker *breaker, const struct gs_breaker_spec *spec, uint64_t now_ms)
{
	uint64_t bound_ms = (uint64_t)(spec->open_ms ? spec->open_ms : 1) << breaker->exponent;
	uint64_t most_ms = spec->open_max_ms ? spec->open_max_ms : 1;

	if (bound_ms > most_ms)
		bound_ms = most_ms;
	enter(breaker, GS_BREAKER_OPEN, now_ms);
	breaker->until_ms = now_ms + 1 + gs_random(&breaker->random) % bound_ms;
}

static void trip(struct gs_breaker *breaker, const struct gs_breaker_spec *spec, uint64_t now_ms)
{
	open(breaker, spec, now_ms);
	if (breaker->exponent < EXPONENT_MAX)
		breaker->exponent++; /* of the next time */
}

static void half_open(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		      uint64_t now_ms)
{
	enter(breaker, GS_BREAKER_HALF_OPEN, now_ms);
	breaker->until_ms = now_ms + GS_BREAKER_HALF_OPEN_MS;
	breaker->trials_left = spec->trials;
}

static void close_up(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		     uint64_t now_ms)
{
	enter(breaker, spec->ramp_ms >= RAMP_STEPS ? GS_BREAKER_CLOSING : GS_BREAKER_CLOSED,
	      now_ms);
	if (breaker->state == GS_BREAKER_CLOSING)
		breaker->until_ms = now_ms + spec->ramp_ms / RAMP_STEPS;
}

static uint32_t ramp_step(const struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			  uint64_t now_ms)
{
	uint64_t step_ms = spec->ramp_ms / RAMP_STEPS;
	uint64_t step;

	if (step_ms == 0 || now_ms < breaker->since_ms)
		return step_ms == 0 ? RAMP_STEPS : 0;
	step = (now_ms - breaker->since_ms) / step_ms;
	return step < RAMP_STEPS ? (uint32_t)step : RAMP_STEPS;
}

/* One step down for each whole window that the breaker has been closed. */
static void decay(struct gs_breaker *breaker, uint64_t now_ms)
{
	const uint64_t window_ms = (uint64_t)GS_BREAKER_BUCKETS * GS_BREAKER_BUCKET_MS;

	while (breaker->exponent > 0 && now_ms >= breaker->decay_ms + window_ms) {
		breaker->exponent--;
		breaker->decay_ms += window_ms;
	}
}

/* ---- results --------------------------------------------------------------------------------- */

static void count(struct gs_breaker *breaker, enum gs_breaker_result result, uint64_t now_ms)
{
	turn_window(breaker, now_ms);
	if (result == GS_BREAKER_OK || result == GS_BREAKER_SLOW)
		breaker->ok[breaker->bucket]++;
	else
		breaker->failed[breaker->bucket]++;
	if (result == GS_BREAKER_SLOW)
		breaker->slow[breaker->bucket]++;
	if (result == GS_BREAKER_FAILED_CONNECT)
		breaker->consecutive++;
	else
		breaker->consecutive = 0;
}

static uint32_t sum(const uint32_t counts[GS_BREAKER_BUCKETS])
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < GS_BREAKER_BUCKETS; i++)
		total += counts[i];
	return total;
}

/* At least `percent` of all, which are enough to tell. */
static bool is_share(const struct gs_breaker_spec *spec, uint32_t count, uint32_t all,
		     uint32_t percent)
{
	return all >= (spec->min_volume ? spec->min_volume : 1) && count > 0 &&
	       (uint64_t)count * 100 >= (uint64_t)percent * all;
}

/* The window has just been turned. */
static bool is_slow(const struct gs_breaker *breaker, const struct gs_breaker_spec *spec)
{
	uint32_t probes = sum(breaker->ok) + sum(breaker->failed), slow = sum(breaker->slow);

	if (spec->slow_ms == 0)
		return false;
	if (is_share(spec, slow, probes, spec->slow_percent))
		return true;
	return slow > 0 && slow * 2 >= probes &&
	       is_share(spec, sum(breaker->slow_handshakes), sum(breaker->handshakes),
			spec->slow_percent);
}

static bool has_failed(const struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		       uint64_t now_ms)
{
	uint32_t ok, failed;

	if (spec->consecutive > 0 && breaker->consecutive >= spec->consecutive)
		return true;
	gs_breaker_window(breaker, now_ms, &ok, &failed);
	return is_share(spec, failed, ok + failed, spec->failure_percent) || is_slow(breaker, spec);
}

static bool disable(struct gs_breaker *breaker, uint64_t now_ms)
{
	breaker->exponent = 0;
	if (breaker->state == GS_BREAKER_CLOSED)
		return false;
	enter(breaker, GS_BREAKER_CLOSED, now_ms);
	return true;
}

/* Enough probes are good; and enough trials, unless there is nothing to wait for. */
static bool may_close(const struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		      uint64_t now_ms)
{
	uint32_t successes = spec->successes ? spec->successes : 1;
	uint32_t trials = successes < spec->trials ? successes : spec->trials;

	return breaker->good >= successes &&
	       (breaker->completed >= trials || breaker->leases == 0 ||
		now_ms >= breaker->since_ms + GS_LEASE_MS);
}

static bool close_if(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		     uint64_t now_ms)
{
	if (may_close(breaker, spec, now_ms)) {
		close_up(breaker, spec, now_ms);
		return true;
	}
	breaker->waits_for_trials = breaker->good >= (spec->successes ? spec->successes : 1);
	return false;
}

static bool on_trial(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		     enum gs_breaker_result result, uint64_t now_ms)
{
	if (result == GS_BREAKER_SLOW) /* neither well nor broken */
		return false;
	if (result != GS_BREAKER_OK) {
		trip(breaker, spec, now_ms);
		return true;
	}
	breaker->good++;
	return close_if(breaker, spec, now_ms);
}

bool gs_breaker_on_lease(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			 enum gs_lease_fate fate, uint64_t now_ms)
{
	if (!spec->enabled || breaker->state != GS_BREAKER_HALF_OPEN)
		return false;
	breaker->returned += gs_lease_gives_back(fate);
	if (fate == GS_LEASE_FAILED) {
		trip(breaker, spec, now_ms);
		return true;
	}
	breaker->completed += fate == GS_LEASE_DONE;
	return close_if(breaker, spec, now_ms);
}

bool gs_breaker_set_leases(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			   uint32_t leases, uint64_t now_ms)
{
	if (!spec->enabled || breaker->state != GS_BREAKER_HALF_OPEN)
		return false;
	breaker->leases = leases;
	return close_if(breaker, spec, now_ms);
}

bool gs_breaker_on_handshake(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			     uint32_t rtt_us, uint64_t now_ms)
{
	if (!spec->enabled || spec->slow_ms == 0 ||
	    (breaker->state != GS_BREAKER_CLOSED && breaker->state != GS_BREAKER_CLOSING))
		return false;
	turn_window(breaker, now_ms);
	breaker->handshakes[breaker->bucket]++;
	breaker->slow_handshakes[breaker->bucket] += rtt_us > spec->slow_ms * 1000u;
	if (!is_slow(breaker, spec))
		return false;
	trip(breaker, spec, now_ms);
	return true;
}

bool gs_breaker_on_result(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
			  uint32_t epoch, enum gs_breaker_result result, uint64_t now_ms)
{
	if (!spec->enabled)
		return disable(breaker, now_ms);
	if (epoch != breaker->epoch)
		return false;
	switch (breaker->state) {
	case GS_BREAKER_HALF_OPEN:
		return on_trial(breaker, spec, result, now_ms);
	case GS_BREAKER_CLOSED:
		decay(breaker, now_ms);
		/* fall through */
	case GS_BREAKER_CLOSING:
		count(breaker, result, now_ms);
		if (!has_failed(breaker, spec, now_ms))
			return false;
		trip(breaker, spec, now_ms);
		return true;
	default: /* OPEN ends by time alone */
		return false;
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool step_ramp(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		      uint64_t now_ms)
{
	uint32_t step = ramp_step(breaker, spec, now_ms);

	if (step == RAMP_STEPS)
		enter(breaker, GS_BREAKER_CLOSED, now_ms);
	else
		breaker->until_ms =
			breaker->since_ms + (step + 1) * (uint64_t)(spec->ramp_ms / RAMP_STEPS);
	return true;
}

static bool step_state(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		       uint64_t now_ms)
{
	if (!spec->enabled)
		return disable(breaker, now_ms);
	if (breaker->state == GS_BREAKER_CLOSED)
		decay(breaker, now_ms);
	if (breaker->state == GS_BREAKER_HALF_OPEN && close_if(breaker, spec, now_ms))
		return true;
	if (now_ms < breaker->until_ms)
		return false;
	switch (breaker->state) {
	case GS_BREAKER_OPEN:
		half_open(breaker, spec, now_ms);
		return true;
	case GS_BREAKER_HALF_OPEN: /* nobody told: no proof of anything, so no longer next time */
		if (breaker->exponent > 0)
			breaker->exponent--;
		trip(breaker, spec, now_ms);
		return true;
	case GS_BREAKER_CLOSING:
		return step_ramp(breaker, spec, now_ms);
	default:
		return false;
	}
}

bool gs_breaker_step(struct gs_breaker *breaker, const struct gs_breaker_spec *spec,
		     uint64_t now_ms)
{
	bool released = breaker->force != GS_BREAKER_AUTO && now_ms >= breaker->force_until_ms;

	if (released)
		breaker->force = GS_BREAKER_AUTO;
	return step_state(breaker, spec, now_ms) || released;
}

uint64_t gs_breaker_due_ms(const struct gs_breaker *breaker)
{
	uint64_t due_ms = breaker->state == GS_BREAKER_CLOSED ? UINT64_MAX : breaker->until_ms;

	/* Its probes are good enough: it waits for trials, but no longer. */
	if (breaker->state == GS_BREAKER_HALF_OPEN && breaker->waits_for_trials)
		due_ms = breaker->since_ms + GS_LEASE_MS;

	if (breaker->force != GS_BREAKER_AUTO && breaker->force_until_ms < due_ms)
		due_ms = breaker->force_until_ms;
	return due_ms;
}

/* ---- forces and permits ---------------------------------------------------------------------- */

void gs_breaker_set_force(struct gs_breaker *breaker, enum gs_breaker_force force,
			  uint64_t until_ms)
{
	breaker->force = force;
	breaker->force_until_ms = until_ms;
}

struct gs_permit gs_breaker_permit(const struct gs_breaker *breaker,
				   const struct gs_breaker_spec *spec, uint64_t now_ms)
{
	struct gs_permit permit = {.kind = GS_PERMIT_ALL, .accept = UINT16_MAX};

	if (breaker->force != GS_BREAKER_AUTO && now_ms < breaker->force_until_ms) {
		permit.forced = true;
		if (breaker->force == GS_BREAKER_FORCED_OPEN)
			permit.kind = GS_PERMIT_NONE;
		return permit;
	}
	if (!spec->enabled)
		return permit;
	if (breaker->state == GS_BREAKER_OPEN) {
		permit.kind = GS_PERMIT_NONE;
	} else if (breaker->state == GS_BREAKER_HALF_OPEN) {
		permit.kind = GS_PERMIT_TRIALS;
		permit.trials = spec->trials;
	} else if (breaker->state == GS_BREAKER_CLOSING) {
		uint32_t step = ramp_step(breaker, spec, now_ms);

		if (step < RAMP_STEPS) {
			permit.kind = GS_PERMIT_SHARE;
			permit.accept = (uint16_t)(UINT16_MAX * RAMP_PERCENT[step] / 100);
		}
	}
	return permit;
}

bool gs_breaker_take_trial(struct gs_breaker *breaker, uint64_t now_ms)
{
	if (breaker->force != GS_BREAKER_AUTO && now_ms < breaker->force_until_ms)
		return breaker->force == GS_BREAKER_FORCED_CLOSED;
	if (breaker->state != GS_BREAKER_HALF_OPEN)
		return breaker->state == GS_BREAKER_CLOSED;
	if (breaker->trials_left == 0)
		return false;
	breaker->trials_left--;
	return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

void gs_breaker_init(struct gs_breaker *breaker, uint64_t now_ms, uint64_t seed)
{
	memset(breaker, 0, sizeof(*breaker));
	breaker->random = seed;
	enter(breaker, GS_BREAKER_CLOSED, now_ms);
}

void gs_breaker_save(const struct gs_breaker *breaker, uint64_t now_ms,
		     struct gs_breaker_saved *ret_saved)
{
	uint64_t left_ms = 0;

	if (breaker->state == GS_BREAKER_OPEN && breaker->until_ms > now_ms)
		left_ms = breaker->until_ms - now_ms;
	*ret_saved = (struct gs_breaker_saved){
		.state = breaker->state,
		.exponent = breaker->exponent,
		.epoch = breaker->epoch,
		.left_ms = left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX,
	};
}

void gs_breaker_restore(struct gs_breaker *breaker, const struct gs_breaker_saved *saved,
			uint64_t away_ms, uint64_t now_ms)
{
	breaker->epoch = saved->epoch;
	breaker->exponent = saved->exponent < EXPONENT_MAX ? saved->exponent : EXPONENT_MAX;
	/* A quota that was being used up, a ramp that was under way: not known how far. */
	if (saved->state == GS_BREAKER_OPEN || saved->state == GS_BREAKER_HALF_OPEN) {
		uint64_t left_ms = saved->state == GS_BREAKER_OPEN ? saved->left_ms : 0;

		enter(breaker, GS_BREAKER_OPEN, now_ms);
		breaker->until_ms = now_ms + (left_ms > away_ms ? left_ms - away_ms : 0);
		return;
	}
	enter(breaker, saved->state == GS_BREAKER_CLOSING ? GS_BREAKER_CLOSING : GS_BREAKER_CLOSED,
	      now_ms);
	if (breaker->state == GS_BREAKER_CLOSING)
		breaker->until_ms = now_ms; /* the next step finds out where the ramp is */
	else
		decay(breaker, now_ms + away_ms);
	breaker->decay_ms = now_ms;
}

const char *gs_breaker_state_name(enum gs_breaker_state state)
{
	return (unsigned int)state < GS_BREAKER__COUNT ? STATE_NAMES[state] : "?";
}

int gs_breaker_state_parse(const char *text, enum gs_breaker_state *ret_state)
{
	for (int i = 0; i < GS_BREAKER__COUNT; i++) {
		if (strcmp(STATE_NAMES[i], text) == 0) {
			*ret_state = (enum gs_breaker_state)i;
			return 0;
		}
	}
	return -EINVAL;
}
