/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps themselves, as the packet path declares them: only SEC(".maps") definitions. Keys,
 * values, limits and meanings are in gs_maps.h; who writes what and when is in README.md.
 *
 * The variables' names are the GS_MAP_* strings (C cannot take a name from a string).
 */
#pragma once

#include "gs_maps.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

/* ---- plain maps ------------------------------------------------------------------------------*/

#define GS_ARRAY(name, entries, value_type, flags) \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(max_entries, entries);      \
		__uint(map_flags, flags);          \
		__type(key, __u32);                \
		__type(value, struct value_type);  \
	} name SEC(".maps")

#define GS_COUNTERS(name, entries)                       \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); \
		__uint(max_entries, entries);            \
		__type(key, __u32);                      \
		__type(value, struct gs_count);          \
	} name SEC(".maps")

GS_ARRAY(meta, 1, gs_meta_value, BPF_F_MMAPABLE);
GS_ARRAY(usable_region, GS_MAX_REGIONS, gs_usable_word, BPF_F_MMAPABLE);
GS_ARRAY(usable_pool, GS_MAX_SERVICES *GS_MAX_REGIONS, gs_usable_word, BPF_F_MMAPABLE);
GS_ARRAY(usable_backend, GS_MAX_BACKENDS, gs_usable_word, BPF_F_MMAPABLE);
GS_ARRAY(trials, GS_MAX_SERVICES *GS_MAX_REGIONS, gs_trial_value, BPF_F_MMAPABLE);
GS_ARRAY(fill, GS_MAX_REGIONS, gs_fill_word, BPF_F_MMAPABLE);
GS_ARRAY(backends, GS_MAX_BACKENDS, gs_backend_value, 0);
GS_ARRAY(tunnel_told, GS_MAX_BACKENDS, gs_tunnel_told, BPF_F_MMAPABLE);
GS_ARRAY(hops, GS_MAX_HOPS, gs_hop_value, 0);
/* The loader may choose another power of two; meta.flow_mask says which. What can be mapped begins
 * at a page, so that a bucket is one cache line. */
GS_ARRAY(flows, GS_FLOW_BUCKETS_DEFAULT, gs_flow_bucket, BPF_F_MMAPABLE);

GS_ARRAY(fragments, GS_FRAGMENT_BUCKETS, gs_fragment_bucket, 0);
/* The loader may choose another power of two of planes; meta.nat_mask says which. */
GS_ARRAY(nat_flows, GS_NAT_PLANES_DEFAULT *GS_NAT_BUCKETS, gs_flow_bucket, 0);
GS_ARRAY(nat_details, GS_NAT_PLANES_DEFAULT *GS_NAT_SLOTS, gs_nat_detail, 0);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GS_ANSWER_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} answers SEC(".maps");

GS_ARRAY(limits, GS_LIMIT_BLOCKS, gs_limit_block, 0);
GS_ARRAY(region_limits, GS_MAX_REGIONS, gs_region_limit_value, 0);
GS_ARRAY(monitor, 1, gs_monitor_value, BPF_F_MMAPABLE);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gs_monitor_count);
} monitor_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GS_SAMPLES_BYTES);
} samples SEC(".maps");
GS_ARRAY(handshakes, GS_HANDSHAKE_BLOCKS, gs_handshake_block, 0);
GS_ARRAY(demand, GS_DEMAND_BANKS *GS_DEMAND_ENTRIES / GS_DEMAND_WAYS, gs_demand_block,
	 BPF_F_MMAPABLE);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GS_EVENTS_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GS_MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct gs_syn_count);
} count_syn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GS_MAX_LEASES);
	__type(key, __u64);
	__type(value, struct gs_lease_value);
} leases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GS_MAX_OWN_MACS);
	__type(key, __u32);
	__type(value, struct gs_own_mac_value);
} own_macs SEC(".maps");

GS_COUNTERS(count_reason, GS_REASON__COUNT);
GS_COUNTERS(count_service, GS_MAX_SERVICES);
GS_COUNTERS(count_region, GS_MAX_REGIONS);
GS_COUNTERS(count_backend, GS_MAX_BACKENDS);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GS_MAX_SERVICE_KEYS);
	__type(key, struct gs_service_key);
	__type(value, struct gs_service_value);
} services SEC(".maps");

/* The program's own, and not pinned: it begins empty with every program. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GS_SERVICE_CACHE);
	__type(key, __u32);
	__type(value, struct gs_service_cached);
} service_cache SEC(".maps");

/* The same, of clients (bpf/straight.h). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GS_CLIENT_CACHE);
	__type(key, __u32);
	__type(value, struct gs_client_cached);
} client_cache SEC(".maps");

/* Room for what the express lane leaves undecided (struct gs_pending in plain.h): the stack has
 * none. Of nobody's concern. */
struct gs_scratch {
	__u64 word[40];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gs_scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GS_MAX_BACKENDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct gs_tunnel_key);
	__type(value, struct gs_tunnel_value);
} tunnels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GS_MAX_LINKS);
	__type(key, __u32);
	__type(value, struct gs_link_value);
} links SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gs_hop_value);
} asked SEC(".maps");

/* ---- maps of a generation --------------------------------------------------------------------
 *
 * Outer slot = generation slot. What is declared inside is only a template: of inner arrays
 * max_entries may differ (BPF_F_INNER_MAP), of tries it may anyway. libbpf 1.1 refuses a template
 * with __type(key, struct ...), hence the sizes.
 */
#define GS_GENERATION_ARRAY(name, value_type)                                  \
	struct {                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                      \
		__uint(max_entries, GS_GENERATIONS);                           \
		__type(key, __u32);                                            \
		__array(                                                       \
			values, struct {                                       \
				__uint(type, BPF_MAP_TYPE_ARRAY);              \
				__uint(max_entries, 1);                        \
				__uint(map_flags, BPF_F_INNER_MAP);            \
				__uint(key_size, sizeof(__u32));               \
				__uint(value_size, sizeof(struct value_type)); \
			});                                                    \
	} name SEC(".maps")

#define GS_GENERATION_TRIE(name, key_type, value_type, entries)                \
	struct {                                                               \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                      \
		__uint(max_entries, GS_GENERATIONS);                           \
		__type(key, __u32);                                            \
		__array(                                                       \
			values, struct {                                       \
				__uint(type, BPF_MAP_TYPE_LPM_TRIE);           \
				__uint(max_entries, entries);                  \
				__uint(map_flags, BPF_F_NO_PREALLOC);          \
				__uint(key_size, sizeof(struct key_type));     \
				__uint(value_size, sizeof(struct value_type)); \
			});                                                    \
	} name SEC(".maps")

GS_GENERATION_ARRAY(geo4, gs_geo_block);
GS_GENERATION_ARRAY(geo6, gs_geo_block);
GS_GENERATION_TRIE(override4, gs_override4_key, gs_override_value, GS_MAX_OVERRIDES);
GS_GENERATION_TRIE(override6, gs_override6_key, gs_override_value, GS_MAX_OVERRIDES);
GS_GENERATION_ARRAY(routes, gs_route_block);
GS_GENERATION_ARRAY(plans, gs_plan_value);
GS_GENERATION_ARRAY(pools, gs_pool_value);
GS_GENERATION_ARRAY(rings, gs_ring_block);
GS_GENERATION_TRIE(access4, gs_access4_key, gs_access_value, GS_MAX_ACCESS);
GS_GENERATION_TRIE(access6, gs_access6_key, gs_access_value, GS_MAX_ACCESS);

/*
 * Inner maps are made by the controller, which takes the BTF types of their keys and values from
 * the loaded program, so that bpftool names their fields. Nothing else in the object mentions
 * these types to the linker's eye, so this does: a section nobody loads.
 */
struct gs_inner_types {
	__u32 array_key;
	struct gs_geo_block geo_block;
	struct gs_route_block route_block;
	struct gs_plan_value plan_value;
	struct gs_pool_value pool_value;
	struct gs_ring_block ring_block;
	struct gs_override4_key override4_key;
	struct gs_override6_key override6_key;
	struct gs_override_value override_value;
	struct gs_access4_key access4_key;
	struct gs_access6_key access6_key;
	struct gs_access_value access_value;
};
const struct gs_inner_types gs_inner_types SEC(".types") = {};
