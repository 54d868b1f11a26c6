/* SPDX-License-Identifier: Apache-2.0 */
#include "retry.h"

#include "random.h"

void gs_retry_init(struct gs_retry *retry, uint32_t base_ms, uint32_t cap_ms, uint64_t seed)
{
	retry->base_ms = base_ms > 0 ? base_ms : 1;
	retry->cap_ms = cap_ms > 0 ? cap_ms : 1;
	retry->attempt = 0;
	retry->random = seed;
}

uint32_t gs_retry_next_ms(struct gs_retry *retry)
{
	/* From 2^32 on every base is above every cap. */
	uint64_t bound_ms = (uint64_t)retry->base_ms << (retry->attempt < 32 ? retry->attempt : 32);

	if (bound_ms > retry->cap_ms)
		bound_ms = retry->cap_ms;
	if (retry->attempt < UINT32_MAX)
		retry->attempt++;
	return (uint32_t)(1 + gs_random(&retry->random) % bound_ms);
}

void gs_retry_reset(struct gs_retry *retry)
{
	retry->attempt = 0;
}
