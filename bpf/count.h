/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Step 6: one reason a packet; its service; and where it went, if it went. */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

/* What the steps found out about a packet besides its reason; 0: not known, none. */
struct gs_outcome {
	__u32 service;
	__u32 region;
	__u32 backend;
	__u32 ifindex;	/* leave by this interface; 0: the one it came in by */
	__u32 is_asked; /* 1: the next hop is one the kernel gave (fib.h) */
};

GS_INLINE void gs_count_add(void *map, __u32 index, __u32 bytes)
{
	struct gs_count *count = bpf_map_lookup_elem(map, &index);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
}

GS_INLINE void gs_count(const struct gs_outcome *outcome, enum gs_reason reason, __u32 bytes)
{
	gs_count_add(&count_reason, reason, bytes);
	if (!outcome->service)
		return;
	gs_count_add(&count_service, outcome->service, bytes);
	if (!outcome->backend)
		return;
	gs_count_add(&count_region, outcome->region, bytes);
	gs_count_add(&count_backend, outcome->backend, bytes);
}
