/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health of one target, seen from one edge: a state machine stepped by probe results. Pure: time is
 * a parameter, randomness a seed. Semantics and defaults: user/core/README.md.
 */
#pragma once

#include "types.h"

enum gs_health_state {
	GS_HEALTH_UNKNOWN, /* no verdict yet: not eligible while anything is up */
	GS_HEALTH_UP,
	GS_HEALTH_SUSPECT, /* up, with failures counted */
	GS_HEALTH_DOWN,
	GS_HEALTH_RECOVERING, /* down, with successes counted */
	GS_HEALTH__COUNT,
};

/*
 * Why a probe failed. LOCAL (no file descriptors, own lag) never counts against a target. NO_ROUTE
 * (this machine has no way there) counts like any failure; the monitor lets it only while other
 * targets answer: without any way out nothing is learned about a target.
 */
enum gs_probe_class {
	GS_PROBE_OK,
	GS_PROBE_REFUSED,
	GS_PROBE_TIMEOUT,
	GS_PROBE_RESET,
	GS_PROBE_TLS,	 /* no TLS, or a certificate that is not trusted */
	GS_PROBE_STATUS, /* HTTP status, DNS rcode, gRPC not serving, exit code */
	GS_PROBE_BODY,	 /* the text that is expected is not there */
	GS_PROBE_BAD_REPLY,
	GS_PROBE_NO_ROUTE,
	GS_PROBE_LOCAL,
	GS_PROBE_CLASS__COUNT,
};

#define GS_HEALTH_INTERVAL_MS 400u
#define GS_HEALTH_JITTER_PERCENT 10u
#define GS_HEALTH_FAST_INTERVAL_MS 100u
#define GS_HEALTH_TIMEOUT_MS 250u
#define GS_HEALTH_DOWN_INTERVAL_MS 1000u
#define GS_HEALTH_RISE 4u
#define GS_HEALTH_FALL 3u
#define GS_HEALTH_CLEAR 10u
#define GS_HEALTH_FAILOVER_BUDGET_MS 1000u
/* From the verdict to words that packets read: the same turn of the loop, and then some. */
#define GS_HEALTH_PUBLISH_MS 10u
/* Probes of one target that may be unanswered at the same time. */
#define GS_HEALTH_PIPELINE_MAX 16u

/* The defaults above, kind TCP, port 0. */
struct gs_probe_spec gs_probe_spec_default(void);

struct gs_health {
	enum gs_health_state state;
	uint8_t successes;	 /* consecutive */
	uint8_t failures;	 /* accumulated; forgotten after `clear` successes; while DOWN:
				  * those since, for the back-off */
	enum gs_probe_class why; /* class of the last failure that counted */
	uint64_t since_ms;	 /* of the up/down verdict */
	uint64_t results;	 /* counted */
	uint64_t failed_results; /* of these */
};

/* What a step changed. */
enum gs_health_change { GS_HEALTH_SAME, GS_HEALTH_WENT_UP, GS_HEALTH_WENT_DOWN };

/* state UNKNOWN, or (warm start from the maps) UP or DOWN. */
void gs_health_init(struct gs_health *health, enum gs_health_state state, uint64_t now_ms);
/* One result. The first verdict of an UNKNOWN target takes one success or `fall` failures. */
enum gs_health_change gs_health_step(struct gs_health *health, const struct gs_probe_spec *spec,
				     enum gs_probe_class result, uint64_t now_ms);
/* UP and SUSPECT */
bool gs_health_is_up(const struct gs_health *health);
/*
 * Milliseconds from the start of one probe to the start of the next, given the state after what is
 * known now (fast while suspect or recovering, slow while down), jittered by `random` (any value).
 */
uint32_t gs_health_next_ms(const struct gs_health *health, const struct gs_probe_spec *spec,
			   uint32_t random);
/*
 * How many more results bring the next verdict: failures of a target that is up or unknown, good
 * ones in a row of one that is down. Probes beyond that, sent at the same time, bring it no sooner.
 */
uint32_t gs_health_missing(const struct gs_health *health, const struct gs_probe_spec *spec);
/* How long a probe may be silent before the next one is sent beside it (pipelining). */
uint32_t gs_health_soft_deadline_ms(const struct gs_probe_spec *spec);
/* Worst case from the target's last answer to the verdict, in ms. */
uint32_t gs_health_worst_case_ms(const struct gs_probe_spec *spec);
/* And until packets go elsewhere: the bound of a failover. Compared with a budget, and a metric. */
uint32_t gs_health_failover_bound_ms(const struct gs_probe_spec *spec);

const char *gs_health_state_name(enum gs_health_state state);
const char *gs_probe_class_name(enum gs_probe_class class);
