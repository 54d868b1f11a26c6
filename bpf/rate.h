/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * So many a second and CPU, for what the edge does by itself: answers, and drops it shows a
 * monitor. The generic cell rate algorithm (ITU-T I.371). What clients are held to is limit.h.
 */
#pragma once

#include "parse.h"

#include <bpf/bpf_helpers.h>

/* until: this CPU's, ktime at which the limit will be used up no more. 1: one is taken. */
GS_INLINE int gs_rate_take(__u64 *until, __u64 interval_ns, __u64 burst)
{
	__u64 now = bpf_ktime_get_ns();

	if (*until < now)
		*until = now;
	if (*until - now >= burst * interval_ns)
		return 0;
	*until += interval_ns;
	return 1;
}
