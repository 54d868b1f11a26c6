/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A part of step 4: what a half-open breaker's trials were spent on. Each is a lease (struct
 * gs_lease_value): put in by the packet that took the trial, marked by what shows that something
 * came of it. The controller gives back those that nothing came of.
 */
#pragma once

#include "turn.h"

/* Of a flow that has just taken a trial. Without room in the map the trial is spent all the same:
 * the quota holds, only nobody gives this one back. */
__attribute__((noinline)) int gs_lease_take(__u64 table_hash, __u32 service, __u32 backend)
{
	const struct gs_backend_value *found = bpf_map_lookup_elem(&backends, &backend);
	struct gs_lease_value lease = {.backend = (__u16)backend};

	if (!found)
		return 0;
	lease.pool = service * GS_MAX_REGIONS + found->region;
	lease.epoch = gs_usable_get(&usable_pool, lease.pool).epoch;
	lease.us = (__u32)(bpf_ktime_get_ns() / 1000);
	return (int)bpf_map_update_elem(&leases, &table_hash, &lease, BPF_ANY);
}

/* The client's first ACK, of any flow: most pools are not on trial, and that is all there is to it.
 */
__attribute__((noinline)) int gs_lease_prove(__u64 table_hash, __u32 service, __u32 backend)
{
	const struct gs_backend_value *found = bpf_map_lookup_elem(&backends, &backend);
	struct gs_lease_value *lease;

	if (!found || gs_usable_get(&usable_pool, service * GS_MAX_REGIONS + found->region).state !=
			      GS_USABLE_TRIAL)
		return 0;
	lease = bpf_map_lookup_elem(&leases, &table_hash);
	if (lease)
		lease->proven = 1;
	return 0;
}
