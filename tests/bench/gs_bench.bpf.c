// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The driver: makes the frame what it was before the last run, writes the next flow's source into
 * it, and hands it to the program under test by a tail call. With a target that only drops, the
 * same driver is the baseline.
 */
#include "gs_bench.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_conf);
} bench_conf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_flow4);
} bench_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_flow6);
} bench_flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, BENCH_TARGETS);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} bench_targets SEC(".maps");

typedef __u16 __attribute__((may_alias)) wire16;
typedef __u32 __attribute__((may_alias)) wire32;
typedef __u64 __attribute__((may_alias)) wire64;

/* The frame's length, and what its first `bytes` were. NULL: out of bounds, which does not happen.
 */
static inline __attribute__((always_inline)) __u8 *
restore(struct xdp_md *ctx, const struct bench_conf *conf, __u32 bytes, __u32 length)
{
	__u64 now = (long)ctx->data_end - (long)ctx->data;
	__u8 *frame;
	int grown;

	asm volatile("" : "+r"(now)); /* or pointers are added to numbers, which is not allowed */
	grown = (int)now - (int)length;
	if (grown && bpf_xdp_adjust_head(ctx, grown))
		return 0;
	frame = (__u8 *)(long)ctx->data;
	if ((void *)(frame + bytes) > (void *)(long)ctx->data_end)
		return 0;
#pragma unroll
	for (__u32 i = 0; i + 8 <= bytes; i += 8)
		*(wire64 *)(frame + i) = *(const wire64 *)(conf->frame + i);
	return frame;
}

/* The template's TCP header as that of a datagram of the same length. */
static inline __attribute__((always_inline)) void make_udp(__u8 *ip)
{
	ip[9] = 17;
	*(wire16 *)(ip + 20 + 2) = __builtin_bswap16(53);
	*(wire16 *)(ip + 20 + 4) = __builtin_bswap16(BENCH_FRAME4 - 14 - 20);
}

/* The flow's, by the lap another one: any that does not come again for 65,536 laps. */
static inline __attribute__((always_inline)) __u16 port_of(const struct bench_conf *conf,
							   __u64 next, __u16 port)
{
	return port ^ (__u16)(next >> (conf->lap_shift & 63));
}

/* Where a frame has what makes it one flow's, in bytes; flags 0: it has none. */
struct shape {
	__u32 bytes, addr, port, flags;
};

static inline __attribute__((always_inline)) int drive4(struct xdp_md *ctx, struct shape at)
{
	__u32 index = 0;
	struct bench_conf *conf = bpf_map_lookup_elem(&bench_conf, &index);
	const struct bench_flow4 *flow;
	__u8 *frame;
	__u64 next;

	if (!conf)
		return XDP_ABORTED;
	next = conf->next++;
	index = next & conf->mask;
	flow = bpf_map_lookup_elem(&bench_flows4, &index);
	frame = restore(ctx, conf, at.bytes, at.bytes);
	if (!flow || !frame)
		return XDP_ABORTED;
	*(wire32 *)(frame + at.addr) = flow->src;
	*(wire16 *)(frame + at.port) = port_of(conf, next, flow->src_port);
	if (at.flags)
		frame[at.flags] = flow->flags ? flow->flags : conf->flags;
	if (flow->is_udp)
		make_udp(frame + 14);
	bpf_tail_call(ctx, &bench_targets, conf->target);
	return XDP_ABORTED;
}

static inline __attribute__((always_inline)) int drive6(struct xdp_md *ctx, struct shape at)
{
	__u32 index = 0;
	struct bench_conf *conf = bpf_map_lookup_elem(&bench_conf, &index);
	const struct bench_flow6 *flow;
	__u8 *frame;
	__u64 next;

	if (!conf)
		return XDP_ABORTED;
	next = conf->next++;
	index = next & conf->mask;
	flow = bpf_map_lookup_elem(&bench_flows6, &index);
	frame = restore(ctx, conf, at.bytes, at.bytes);
	if (!flow || !frame)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < 4; i++)
		*(wire32 *)(frame + at.addr + 4 * i) = flow->src[i];
	*(wire16 *)(frame + at.port) = port_of(conf, next, flow->src_port);
	if (at.flags)
		frame[at.flags] = flow->flags ? flow->flags : conf->flags;
	bpf_tail_call(ctx, &bench_targets, conf->target);
	return XDP_ABORTED;
}

/* A whole packet, or an IPv4 fragment of one. */
SEC("xdp")
int bench_drive4(struct xdp_md *ctx)
{
	return drive4(ctx, (struct shape){BENCH_FRAME4, 14 + 12, 14 + 20, 14 + 20 + 13});
}

SEC("xdp")
int bench_drive6(struct xdp_md *ctx)
{
	return drive6(ctx, (struct shape){BENCH_FRAME6, 14 + 8, 14 + 40, 14 + 40 + 13});
}

/* Behind a fragment header. */
SEC("xdp")
int bench_drive6_fragment(struct xdp_md *ctx)
{
	return drive6(ctx, (struct shape){BENCH_FRAME6, 14 + 8, 14 + 48, 14 + 48 + 13});
}

/* An error about what was sent to the flow's client: destination and its port in the quote. */
SEC("xdp")
int bench_drive4_error(struct xdp_md *ctx)
{
	return drive4(ctx, (struct shape){BENCH_ERROR4, 14 + 28 + 16, 14 + 28 + 20 + 2, 0});
}

SEC("xdp")
int bench_drive6_error(struct xdp_md *ctx)
{
	return drive6(ctx, (struct shape){BENCH_ERROR6, 14 + 48 + 24, 14 + 48 + 40 + 2, 0});
}

/* What a backend replies: its address, and the port that NAT has given the flow. */
SEC("xdp")
int bench_drive4_reply(struct xdp_md *ctx)
{
	return drive4(ctx, (struct shape){BENCH_FRAME4, 14 + 12, 14 + 20 + 2, 14 + 20 + 13});
}

SEC("xdp")
int bench_drive6_reply(struct xdp_md *ctx)
{
	return drive6(ctx, (struct shape){BENCH_FRAME6, 14 + 8, 14 + 40 + 2, 14 + 40 + 13});
}

/* A row of tests/bpf/packet_cases.h, the same each time. What is in front of its last seven bytes
 * is restored; no program changes those. */
SEC("xdp")
int bench_drive_case(struct xdp_md *ctx)
{
	__u32 index = 0;
	struct bench_conf *conf = bpf_map_lookup_elem(&bench_conf, &index);
	__u8 *frame = conf ? restore(ctx, conf, 0, conf->bytes) : 0;

	if (!conf || !frame)
		return XDP_ABORTED;
	for (__u32 i = 0; i + 8 <= BENCH_FRAME_MAX; i += 8) {
		if ((void *)(frame + i + 8) > (void *)(long)ctx->data_end)
			break;
		*(wire64 *)(frame + i) = *(const wire64 *)(conf->frame + i);
	}
	bpf_tail_call(ctx, &bench_targets, conf->target);
	return XDP_ABORTED;
}

/* ---- what the program under test is compared with -------------------------------------------- */

SEC("xdp")
int bench_drop(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_DROP;
}

static inline __attribute__((always_inline)) void swap_macs(wire16 *frame)
{
	for (int i = 0; i < 3; i++) {
		__u16 half = frame[i];

		frame[i] = frame[i + 3];
		frame[i + 3] = half;
	}
}

SEC("xdp")
int bench_tx(struct xdp_md *ctx)
{
	wire16 *frame = (wire16 *)(long)ctx->data;

	if ((void *)(frame + 7) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	swap_macs(frame);
	return XDP_TX;
}

/* 20 bytes more in front: the least that any IPIP forwarder does. */
SEC("xdp")
int bench_grow(struct xdp_md *ctx)
{
	wire16 *frame;

	if (bpf_xdp_adjust_head(ctx, -20))
		return XDP_ABORTED;
	frame = (wire16 *)(long)ctx->data;
	if ((void *)(frame + 17) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	for (int i = 0; i < 17; i++)
		frame[i] = (__u16)i;
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
