/* SPDX-License-Identifier: Apache-2.0 */
#include "health.h"

#include "probe_spec.h"
#include "retry.h"

#include <string.h>

static const char *const STATE_NAMES[] = {
	[GS_HEALTH_UNKNOWN] = "unknown",       [GS_HEALTH_UP] = "up",
	[GS_HEALTH_SUSPECT] = "suspect",       [GS_HEALTH_DOWN] = "down",
	[GS_HEALTH_RECOVERING] = "recovering",
};
_Static_assert(sizeof(STATE_NAMES) / sizeof(STATE_NAMES[0]) == GS_HEALTH__COUNT, "a name each");

static const char *const CLASS_NAMES[] = {
	[GS_PROBE_OK] = "ok",
	[GS_PROBE_REFUSED] = "refused",
	[GS_PROBE_TIMEOUT] = "timeout",
	[GS_PROBE_RESET] = "reset",
	[GS_PROBE_TLS] = "tls",
	[GS_PROBE_STATUS] = "status",
	[GS_PROBE_BODY] = "body",
	[GS_PROBE_BAD_REPLY] = "bad_reply",
	[GS_PROBE_NO_ROUTE] = "no_route",
	[GS_PROBE_LOCAL] = "local",
};
_Static_assert(sizeof(CLASS_NAMES) / sizeof(CLASS_NAMES[0]) == GS_PROBE_CLASS__COUNT,
	       "a name each");

struct gs_probe_spec gs_probe_spec_default(void)
{
	struct gs_probe_spec spec = {
		.kind = GS_PROBE_TCP,
		.interval_ms = GS_HEALTH_INTERVAL_MS,
		.timeout_ms = GS_HEALTH_TIMEOUT_MS,
		.fast_interval_ms = GS_HEALTH_FAST_INTERVAL_MS,
		.down_interval_ms = GS_HEALTH_DOWN_INTERVAL_MS,
		.rise = GS_HEALTH_RISE,
		.fall = GS_HEALTH_FALL,
		.clear = GS_HEALTH_CLEAR,
	};

	gs_probe_texts_default(&spec);
	return spec;
}

/* ---- the state machine ----------------------------------------------------------------------- */

void gs_health_init(struct gs_health *health, enum gs_health_state state, uint64_t now_ms)
{
	memset(health, 0, sizeof(*health));
	health->state = state;
	health->since_ms = now_ms;
}

static uint8_t count_up(uint8_t counter)
{
	return counter < UINT8_MAX ? (uint8_t)(counter + 1) : UINT8_MAX;
}

/* Limits of 0 mean 1: a verdict takes at least one result. */
static bool reached(uint8_t counter, uint8_t limit)
{
	return counter >= (limit > 0 ? limit : 1);
}

static enum gs_health_change go_up(struct gs_health *health, uint64_t now_ms)
{
	health->state = GS_HEALTH_UP;
	health->failures = 0;
	health->since_ms = now_ms;
	return GS_HEALTH_WENT_UP;
}

static enum gs_health_change on_success(struct gs_health *health, const struct gs_probe_spec *spec,
					uint64_t now_ms)
{
	health->successes = count_up(health->successes);
	switch (health->state) {
	case GS_HEALTH_UNKNOWN:
		return go_up(health, now_ms);
	case GS_HEALTH_SUSPECT:
		if (reached(health->successes, spec->clear)) {
			health->state = GS_HEALTH_UP;
			health->failures = 0;
		}
		return GS_HEALTH_SAME;
	case GS_HEALTH_DOWN:
	case GS_HEALTH_RECOVERING:
		if (reached(health->successes, spec->rise))
			return go_up(health, now_ms);
		health->state = GS_HEALTH_RECOVERING;
		return GS_HEALTH_SAME;
	default:
		return GS_HEALTH_SAME;
	}
}

static enum gs_health_change on_failure(struct gs_health *health, const struct gs_probe_spec *spec,
					uint64_t now_ms)
{
	health->successes = 0;
	switch (health->state) {
	case GS_HEALTH_RECOVERING:
		health->failures = 0; /* it did answer: the back-off starts anew */
		health->state = GS_HEALTH_DOWN;
		return GS_HEALTH_SAME;
	case GS_HEALTH_DOWN:
		health->failures = count_up(health->failures);
		return GS_HEALTH_SAME;
	default:
		health->failures = count_up(health->failures);
		if (!reached(health->failures, spec->fall)) {
			if (health->state == GS_HEALTH_UP)
				health->state = GS_HEALTH_SUSPECT;
			return GS_HEALTH_SAME;
		}
		health->failures = 0;
		health->state = GS_HEALTH_DOWN;
		health->since_ms = now_ms;
		return GS_HEALTH_WENT_DOWN;
	}
}

enum gs_health_change gs_health_step(struct gs_health *health, const struct gs_probe_spec *spec,
				     enum gs_probe_class result, uint64_t now_ms)
{
	if (result == GS_PROBE_LOCAL)
		return GS_HEALTH_SAME;
	health->results++;
	if (result == GS_PROBE_OK)
		return on_success(health, spec, now_ms);
	health->why = result;
	health->failed_results++;
	return on_failure(health, spec, now_ms);
}

bool gs_health_is_up(const struct gs_health *health)
{
	return health->state == GS_HEALTH_UP || health->state == GS_HEALTH_SUSPECT;
}

uint32_t gs_health_missing(const struct gs_health *health, const struct gs_probe_spec *spec)
{
	bool is_down = health->state == GS_HEALTH_DOWN || health->state == GS_HEALTH_RECOVERING;
	uint32_t counted = is_down ? health->successes : health->failures;
	uint32_t limit = is_down ? spec->rise : spec->fall;

	return limit > counted ? limit - counted : 1;
}

/* ---- the schedule ---------------------------------------------------------------------------- */

static uint32_t at_most(uint64_t value, uint64_t limit)
{
	return (uint32_t)(value < limit ? value : limit);
}

/* Never slower than the normal interval, never 0. */
static uint32_t fast_interval_ms(const struct gs_probe_spec *spec)
{
	uint32_t fast_ms = at_most(spec->fast_interval_ms, spec->interval_ms);

	return fast_ms > 0 ? fast_ms : 1;
}

/*
 * Doubles with every failure of a target that is down, up to the failover budget: any region may
 * turn out to be the last one that is left, and then its recovery is what clients wait for.
 */
static uint32_t down_interval_ms(const struct gs_health *health, const struct gs_probe_spec *spec)
{
	uint32_t base_ms = spec->down_interval_ms;
	uint32_t cap_ms =
		base_ms > GS_HEALTH_FAILOVER_BUDGET_MS ? base_ms : GS_HEALTH_FAILOVER_BUDGET_MS;

	return gs_retry_bound_ms(base_ms, cap_ms, health->failures);
}

static uint32_t plain_interval_ms(const struct gs_health *health, const struct gs_probe_spec *spec)
{
	switch (health->state) {
	case GS_HEALTH_UP:
		return spec->interval_ms > 0 ? spec->interval_ms : 1;
	case GS_HEALTH_DOWN:
		return down_interval_ms(health, spec);
	default:
		return fast_interval_ms(spec);
	}
}

/* What jitter adds at most. */
static uint32_t jitter_ms(uint32_t interval_ms)
{
	return (uint32_t)((uint64_t)interval_ms * GS_HEALTH_JITTER_PERCENT / 100);
}

uint32_t gs_health_next_ms(const struct gs_health *health, const struct gs_probe_spec *spec,
			   uint32_t random)
{
	uint32_t interval_ms = plain_interval_ms(health, spec);
	uint64_t span_ms = jitter_ms(interval_ms);

	return at_most(interval_ms - span_ms + random % (2 * span_ms + 1), UINT32_MAX);
}

uint32_t gs_health_soft_deadline_ms(const struct gs_probe_spec *spec)
{
	uint32_t fast_ms = fast_interval_ms(spec);
	uint32_t timeout_ms = spec->timeout_ms > 0 ? spec->timeout_ms : 1;

	return at_most(fast_ms, timeout_ms);
}

/*
 * The target dies right after it answered: the next probe starts one interval later, `fall` probes
 * in a row fail, each started one fast interval after the one before (and no sooner than there is
 * room for it among GS_HEALTH_PIPELINE_MAX unanswered ones), the last one by timeout.
 */
uint32_t gs_health_worst_case_ms(const struct gs_probe_spec *spec)
{
	uint64_t start_ms[UINT8_MAX];
	uint32_t interval_ms = spec->interval_ms > 0 ? spec->interval_ms : 1;
	uint32_t fast_ms = fast_interval_ms(spec);
	uint32_t fall = spec->fall > 0 ? spec->fall : 1;

	start_ms[0] = (uint64_t)interval_ms + jitter_ms(interval_ms);
	for (uint32_t i = 1; i < fall; i++) {
		start_ms[i] = start_ms[i - 1] + fast_ms + jitter_ms(fast_ms);
		if (i >= GS_HEALTH_PIPELINE_MAX &&
		    start_ms[i] < start_ms[i - GS_HEALTH_PIPELINE_MAX] + spec->timeout_ms)
			start_ms[i] = start_ms[i - GS_HEALTH_PIPELINE_MAX] + spec->timeout_ms;
	}
	return at_most(start_ms[fall - 1] + spec->timeout_ms, UINT32_MAX);
}

uint32_t gs_health_failover_bound_ms(const struct gs_probe_spec *spec)
{
	return at_most((uint64_t)gs_health_worst_case_ms(spec) + GS_HEALTH_PUBLISH_MS, UINT32_MAX);
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *gs_health_state_name(enum gs_health_state state)
{
	return (unsigned int)state < GS_HEALTH__COUNT ? STATE_NAMES[state] : "?";
}

const char *gs_probe_class_name(enum gs_probe_class class)
{
	return (unsigned int)class < GS_PROBE_CLASS__COUNT ? CLASS_NAMES[class] : "?";
}
