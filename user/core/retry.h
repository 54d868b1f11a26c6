/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS 2015). Pure. */
#pragma once

#include <stdint.h>

struct gs_retry {
	uint32_t base_ms;
	uint32_t cap_ms;
	uint32_t attempt; /* failures in a row */
	uint64_t random;  /* state of the generator; seed it */
};

void gs_retry_init(struct gs_retry *retry, uint32_t base_ms, uint32_t cap_ms, uint64_t seed);
/* After a failure: how long to wait, 1 .. min(cap, base * 2^attempt). */
uint32_t gs_retry_next_ms(struct gs_retry *retry);
/* After a success. */
void gs_retry_reset(struct gs_retry *retry);
