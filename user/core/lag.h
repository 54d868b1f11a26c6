/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How late its own clockwork was while something was under way: the worst of what was seen since
 * then, without a look at everything that is under way each time it is late (being late must not
 * cost what makes one later). Of what was seen only that is kept which nothing later exceeds. Pure.
 */
#pragma once

#include <stdint.h>

enum { GS_LAG_SEEN = 16 };

/* Zeroed: never late. */
struct gs_lag {
	uint64_t moment; /* counts what was seen */
	uint32_t count;
	struct {
		uint64_t moment;
		uint32_t lag_ms;
	} seen[GS_LAG_SEEN]; /* oldest first, each smaller than the one before it */
};

/* Now it is so late. 0 is nothing to remember. */
void gs_lag_see(struct gs_lag *lag, uint32_t lag_ms);
/* To be kept with what begins now. */
uint64_t gs_lag_moment(const struct gs_lag *lag);
/*
 * The worst that was seen after `moment`; 0: it was never late. Of more than GS_LAG_SEEN ever
 * smaller ones the oldest two are one: the larger of them, at the later moment (too much, never
 * too little).
 */
uint32_t gs_lag_worst_ms(const struct gs_lag *lag, uint64_t moment);
