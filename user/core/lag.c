// SPDX-License-Identifier: Apache-2.0
#include "lag.h"

#include <string.h>

void gs_lag_see(struct gs_lag *lag, uint32_t lag_ms)
{
	if (lag_ms == 0)
		return;
	lag->moment++;
	while (lag->count > 0 && lag->seen[lag->count - 1].lag_ms <= lag_ms)
		lag->count--;
	if (lag->count == GS_LAG_SEEN) {
		lag->seen[1].lag_ms = lag->seen[0].lag_ms;
		memmove(&lag->seen[0], &lag->seen[1], sizeof(lag->seen) - sizeof(lag->seen[0]));
		lag->count--;
	}
	lag->seen[lag->count].moment = lag->moment;
	lag->seen[lag->count++].lag_ms = lag_ms;
}

uint64_t gs_lag_moment(const struct gs_lag *lag)
{
	return lag->moment;
}

uint32_t gs_lag_worst_ms(const struct gs_lag *lag, uint64_t moment)
{
	for (uint32_t i = 0; i < lag->count; i++)
		if (lag->seen[i].moment > moment)
			return lag->seen[i].lag_ms;
	return 0;
}
