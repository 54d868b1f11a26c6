// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the program is compared with besides the driver's own: the floor, which parses and
 * encapsulates and asks no map, and a classical variant of the same job out of the kernel's own
 * maps: hash of services, LRU hash of flows, LPM tries of the clients' prefixes. Parser and outer
 * headers are those of bpf/. The world is put into the maps by rivals.c, which leaves out the maps
 * that bpf/'s headers bring.
 */
#include "bpf/head.h"
#include "bpf/outer.h"
#include "bpf/parse.h"

#include "gs_bench.h"
#include "gs_trie.bpf.h"
#include "maps/gs_hash.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#define ARRAY(name, map_type, entries, value_type) \
	struct {                                   \
		__uint(type, map_type);            \
		__uint(max_entries, entries);      \
		__type(key, __u32);                \
		__type(value, value_type);         \
	} name SEC(".maps")

TRIE(bench_trie4, gs_override4_key); /* client prefix -> location */
TRIE(bench_trie6, gs_override6_key);
ARRAY(bench_homes, BPF_MAP_TYPE_ARRAY, 65536, __u32); /* location -> region */
ARRAY(bench_backends, BPF_MAP_TYPE_ARRAY, BENCH_BACKENDS, struct gs_backend_value);
ARRAY(bench_hops, BPF_MAP_TYPE_ARRAY, 2, struct gs_hop_value);
ARRAY(bench_counts, BPF_MAP_TYPE_PERCPU_ARRAY, BENCH_COUNTS, struct gs_count);
ARRAY(bench_found, BPF_MAP_TYPE_ARRAY, 1, __u32); /* the last location */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct gs_service_key);
	__type(value, struct gs_service_value);
} bench_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct gs_flow_tuple);
	__type(value, __u32);
} bench_flows SEC(".maps");

/* packet: zeroed. As in the program: a function of its own. */
__attribute__((noinline)) int bench_take_apart(struct xdp_md *ctx, struct gs_packet *packet)
{
	if (!packet)
		return GS_REASON_pass_truncated;
	return gs_parse((const void *)(long)ctx->data, (const void *)(long)ctx->data_end, packet);
}

/* IPIP in IPv4. */
GS_INLINE int encapsulate(struct xdp_md *ctx, const struct gs_packet *packet, const __u32 mac[3],
			  __be32 src, __be32 dst)
{
	struct gs_head head = {.mac = {mac[0], mac[1], mac[2]}};
	__u8 *ip;

	if (gs_head_room(ctx, packet, &head, GS_IP4_BYTES))
		return XDP_ABORTED;
	ip = gs_head_write(ctx, &head, ETH_P_IP, GS_IP4_BYTES);
	if (!ip)
		return XDP_ABORTED;
	gs_write_outer4(ip, packet, gs_inner_protocol(packet), packet->length, src, dst);
	return XDP_TX;
}

/* ---- the floor -------------------------------------------------------------------------------*/

SEC("xdp")
int bench_floor(struct xdp_md *ctx)
{
	static const __u32 mac[3] = BENCH_FLOOR_MACS;
	struct gs_packet packet = {0};

	if (bench_take_apart(ctx, &packet) != GS_REASON_NONE)
		return XDP_PASS;
	return encapsulate(ctx, &packet, mac, GS_BE32(BENCH_FLOOR_SRC), GS_BE32(BENCH_FLOOR_DST));
}

/* ---- the classical variant -------------------------------------------------------------------*/

GS_INLINE void count(__u32 what, __u32 bytes)
{
	struct gs_count *counter = bpf_map_lookup_elem(&bench_counts, &what);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
}

GS_INLINE __u32 locate(const struct gs_packet *packet)
{
	const __u32 *found;

	if (packet->family == 4) {
		struct gs_override4_key key = {.prefix_len = 32, .addr = packet->tuple.src[3]};

		found = bpf_map_lookup_elem(&bench_trie4, &key);
	} else {
		const __be32 *src = packet->tuple.src;
		struct gs_override6_key key = {.prefix_len = 128,
					       .addr = {src[0], src[1], src[2], src[3]}};

		found = bpf_map_lookup_elem(&bench_trie6, &key);
	}
	return found ? *found : 0;
}

/* The backend of a flow that is decided anew; 0: none. */
GS_INLINE __u32 decide(const struct gs_packet *packet)
{
	__u32 location = locate(packet), zero = 0;
	const __u32 *home = bpf_map_lookup_elem(&bench_homes, &location);
	__u32 *found = bpf_map_lookup_elem(&bench_found, &zero);

	if (!home || !found)
		return 0;
	*found = location;
	return *home * BENCH_MEMBERS +
	       gs_hash_slot(gs_hash_flow(&packet->tuple, 0x5eed), 0, BENCH_MEMBERS);
}

GS_INLINE const struct gs_service_value *match(const struct gs_packet *packet)
{
	struct gs_service_key key = {.port = packet->tuple.dst_port,
				     .protocol = packet->tuple.protocol};

	key.addr[0] = packet->tuple.dst[0];
	key.addr[1] = packet->tuple.dst[1];
	key.addr[2] = packet->tuple.dst[2];
	key.addr[3] = packet->tuple.dst[3];
	return bpf_map_lookup_elem(&bench_services, &key);
}

/* SYNs are decided anew, as in the program those of flows that nobody proved. */
SEC("xdp")
int bench_classical(struct xdp_md *ctx)
{
	const struct gs_backend_value *backend;
	const struct gs_hop_value *hop;
	struct gs_packet packet = {0};
	__u32 id = 0, is_new, *known;

	if (bench_take_apart(ctx, &packet) != GS_REASON_NONE || !match(&packet))
		return XDP_PASS;
	is_new = (packet.tcp_flags & (GS_TCP_SYN | GS_TCP_ACK)) == GS_TCP_SYN;
	known = is_new ? NULL : bpf_map_lookup_elem(&bench_flows, &packet.tuple);
	if (known)
		id = *known;
	is_new = !known;
	if (is_new) {
		id = decide(&packet);
		if (id)
			bpf_map_update_elem(&bench_flows, &packet.tuple, &id, BPF_ANY);
	}
	backend = bpf_map_lookup_elem(&bench_backends, &id);
	if (!id || !backend)
		return XDP_DROP;
	hop = bpf_map_lookup_elem(&bench_hops, &backend->hop);
	if (!hop)
		return XDP_DROP;
	count(is_new ? BENCH_COUNT_NEW : BENCH_COUNT_KNOWN, packet.frame_bytes);
	return encapsulate(ctx, &packet, (const __u32 *)hop->dst_mac, hop->src4, backend->addr[3]);
}

char _license[] SEC("license") = "Dual BSD/GPL";
