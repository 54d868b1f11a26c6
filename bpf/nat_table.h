/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * NAT's memory: which slot, and so which port, a flow has, and what its replies get put back (the
 * layout is described in maps/gs_maps.h). The flow table still says which backend a flow has; this
 * one only how it looks there.
 */
#pragma once

#include "flow.h"

#define GS_NAT_TRIES 3 /* claims that other CPUs were faster with */

/* Of a flow towards a backend; numbers only, so that it may be handed to a function. */
struct gs_nat_ask {
	__u64 hash; /* of the flow, under the table seed */
	__u32 plane;
	__u32 backend; /* id */
	__u32 source;  /* gs_nat_detail.source */
	__u32 now;
};

GS_INLINE __u32 gs_nat_source(const __be32 addr[4], __u8 protocol, __u64 seed)
{
	return (__u32)gs_hash_addr(addr, protocol, seed);
}

/* In units of 2^24 ns. */
GS_INLINE __u32 gs_nat_now(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() >> 24);
}

/* `seen` of a flow that is proven (GS_FLOW_PROVEN) or not (0). */
GS_INLINE __u16 gs_nat_stamp(__u16 proven, __u8 protocol, __u32 now)
{
	__u32 back = protocol == IPPROTO_TCP ? 0 : GS_NAT_IN_USE - GS_NAT_UDP_IN_USE;

	if (!proven)
		return (__u16)(now & GS_SEEN_TIME);
	return (__u16)((((now >> GS_NAT_FINE) - back) & GS_SEEN_TIME) | GS_FLOW_PROVEN);
}

/* index: of a slot. NULL: no such one. */
GS_INLINE volatile __u64 *gs_nat_word(__u32 index)
{
	__u32 bucket = index / GS_FLOW_WAYS;
	volatile __u64 *words = bpf_map_lookup_elem(&nat_flows, &bucket);

	return words ? words + index % GS_FLOW_WAYS : NULL;
}

GS_INLINE struct gs_nat_detail *gs_nat_detail(__u32 index)
{
	return bpf_map_lookup_elem(&nat_details, &index);
}

/* Only if it still is what it was. 1: done. */
GS_INLINE int gs_nat_swap(volatile __u64 *word, __u64 was, __u64 now)
{
	return __sync_val_compare_and_swap((__u64 *)word, was, now) == was;
}

GS_INLINE int gs_nat_same_addr(const __be32 a[4], const __be32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Are these the details of this flow, as sent from this source? */
GS_INLINE int gs_nat_is(const struct gs_nat_detail *detail, const struct gs_flow_tuple *tuple,
			__u32 source)
{
	return detail->source == source && detail->client_port == tuple->src_port &&
	       detail->vip_port == tuple->dst_port &&
	       gs_nat_same_addr(detail->client, tuple->src) &&
	       gs_nat_same_addr(detail->vip, tuple->dst);
}

/* The i-th of a flow's 16 slots. */
GS_INLINE __u32 gs_nat_place(const struct gs_nat_ask *ask, __u32 i)
{
	__u32 bucket = gs_nat_bucket(ask->hash, i / GS_FLOW_WAYS % 2);

	return (ask->plane * GS_NAT_BUCKETS + bucket) * GS_FLOW_WAYS + i % GS_FLOW_WAYS;
}

/* The slot that the flow has with this backend; -1: none. */
__attribute__((noinline)) int gs_nat_find(const struct gs_packet *packet,
					  const struct gs_nat_ask *ask)
{
	if (!packet || !ask)
		return -1;
	for (__u32 i = 0; i < 2 * GS_FLOW_WAYS; i++) {
		__u32 index = gs_nat_place(ask, i);
		volatile __u64 *word = gs_nat_word(index);
		const struct gs_nat_detail *detail;
		union gs_flow_bits entry;

		if (!word)
			return -1;
		entry.word = *word;
		if (entry.as.tag != gs_flow_tag(ask->hash) ||
		    (entry.as.backend & GS_NAT_BACKEND) != ask->backend)
			continue;
		detail = gs_nat_detail(index);
		if (detail && gs_nat_is(detail, &packet->tuple, ask->source))
			return (int)index;
	}
	return -1;
}

/* How gladly the slot of this entry is given up (enum gs_flow_class), and age; 0: in use. */
GS_INLINE __u32 gs_nat_worth(__u64 word, __u32 now)
{
	const union gs_flow_bits entry = {.word = word};
	int is_proven = entry.as.seen & GS_FLOW_PROVEN;
	__u32 age = gs_flow_age(is_proven ? now >> GS_NAT_FINE : now, entry.as.seen);

	if (entry.as.tag == 0)
		return GS_FLOW_EMPTY << 15;
	if (is_proven && age > GS_FLOW_IDLE)
		return GS_FLOW_ABANDONED << 15 | age;
	if ((entry.as.backend & GS_NAT_OVER) == GS_NAT_OVER)
		return GS_FLOW_OVER << 15 | (is_proven ? age : age >> GS_NAT_FINE);
	if (!is_proven)
		return GS_FLOW_UNPROVEN << 15 | age;
	return age > GS_NAT_IN_USE ? GS_FLOW_QUIET << 15 | age : 0;
}

/*
 * The better of the best so far and place i, which has this entry: worth and, in the low 4 bits,
 * place; 0: none. A function of its own, so that the verifier knows nothing of the result: it would
 * follow all orders of 16 otherwise.
 */
__attribute__((noinline)) int gs_nat_better(__u32 best, __u32 i, __u64 word, __u32 now)
{
	__u32 worth = gs_nat_worth(word, now);

	return (int)(worth && (worth << 4 | i) > best ? worth << 4 | i : best);
}

/* The slot of both buckets that is given up most gladly; -1: all are in use. */
__attribute__((noinline)) int gs_nat_choose(const struct gs_nat_ask *ask)
{
	__u32 best = 0;

	if (!ask)
		return -1;
	for (__u32 i = 0; i < 2 * GS_FLOW_WAYS; i++) {
		volatile __u64 *word = gs_nat_word(gs_nat_place(ask, i));

		if (!word)
			return -1;
		best = (__u32)gs_nat_better(best, i, *word, ask->now);
	}
	return best ? (int)gs_nat_place(ask, best) : -1;
}

/* Bits to set in `backend` for a packet that ends its direction (`fin`), or both. Without a branch.
 */
GS_INLINE __u16 gs_nat_ends(__u8 tcp_flags, __u16 fin)
{
	__u16 is_fin = tcp_flags & 1u, is_rst = tcp_flags >> 2 & 1u;

	_Static_assert(GS_TCP_FIN == 1 && GS_TCP_RST == 4, "bits");
	return (__u16)((fin & -is_fin) | (GS_NAT_OVER & -is_rst));
}

/*
 * A slot for a new flow, its details written; -1: none. The word is taken first, so that nobody
 * else writes these details; until they are whole they do not hash to the word's tag.
 */
__attribute__((noinline)) int gs_nat_claim(const struct gs_packet *packet,
					   const struct gs_nat_ask *ask)
{
	struct gs_nat_detail *detail = NULL;
	union gs_flow_bits entry;
	int index = -1;

	if (!packet || !ask)
		return -1;
	entry.as.tag = gs_flow_tag(ask->hash);
	entry.as.backend = (__u16)ask->backend | gs_nat_ends(packet->tcp_flags, 0);
	entry.as.seen = gs_nat_stamp(0, packet->tuple.protocol, ask->now);
	for (int try = 0; try < GS_NAT_TRIES; try++) {
		volatile __u64 *word;
		__u64 was;

		index = gs_nat_choose(ask);
		word = index < 0 ? NULL : gs_nat_word((__u32)index);
		if (!word)
			return -1;
		was = *word;
		if (gs_nat_worth(was, ask->now) && gs_nat_swap(word, was, entry.word)) {
			detail = gs_nat_detail((__u32)index);
			break;
		}
	}
	if (!detail)
		return -1;
	for (int i = 0; i < 4; i++) {
		detail->client[i] = packet->tuple.src[i];
		detail->vip[i] = packet->tuple.dst[i];
	}
	detail->client_port = packet->tuple.src_port;
	detail->vip_port = packet->tuple.dst_port;
	detail->source = ask->source;
	return index;
}

/*
 * A packet of the client's that came after its first. A SYN on a connection that is over begins it
 * anew. An ACK is half of the proof: the sender of a forged one has not seen the backend's number,
 * and what comes for it is a RST, or nothing.
 */
GS_INLINE void gs_nat_tcp_out(struct gs_flow_entry *is, __u8 flags)
{
	__u16 done = is->backend & GS_NAT_OVER;

	if (flags & GS_TCP_RST) {
		is->backend |= GS_NAT_OVER;
	} else if ((flags & (GS_TCP_SYN | GS_TCP_ACK)) == GS_TCP_SYN) {
		if (is->seen & GS_FLOW_PROVEN ? done : done & GS_NAT_CLIENT_DONE) {
			is->backend &= GS_NAT_BACKEND;
			is->seen = 0;
		}
	} else if (is->seen & GS_FLOW_PROVEN) {
		is->backend |= gs_nat_ends(flags, GS_NAT_CLIENT_DONE);
	} else if (flags & GS_TCP_ACK && !(flags & GS_TCP_SYN) && done != GS_NAT_OVER) {
		if (flags & GS_TCP_FIN)
			is->backend = (is->backend & GS_NAT_BACKEND) | GS_NAT_CLIENT_DONE;
		else if (!done)
			is->backend |= GS_NAT_ACKED;
	}
}

/* A packet of the backend's. */
GS_INLINE void gs_nat_tcp_back(struct gs_flow_entry *is, __u8 flags)
{
	__u16 done = is->backend & GS_NAT_OVER;

	if (flags & GS_TCP_RST) {
		is->backend |= GS_NAT_OVER;
	} else if (is->seen & GS_FLOW_PROVEN) {
		is->backend |= gs_nat_ends(flags, GS_NAT_BACKEND_DONE);
	} else if (!(flags & GS_TCP_SYN) && done && done != GS_NAT_OVER) {
		is->seen |= GS_FLOW_PROVEN;
		is->backend &= (__u16)~GS_NAT_ACKED;
		is->backend |= gs_nat_ends(flags, GS_NAT_BACKEND_DONE);
	}
}

/* Notes a packet of the client's, which has its slot already: the one that took it proves nothing.
 */
GS_INLINE void gs_nat_touch_out(volatile __u64 *word, const struct gs_packet *packet, __u32 now)
{
	union gs_flow_bits was, is;

	was.word = *word;
	is = was;
	if (packet->tuple.protocol == IPPROTO_TCP)
		gs_nat_tcp_out(&is.as, packet->tcp_flags);
	else if (was.as.backend & GS_NAT_ANSWERED)
		is.as.seen |= GS_FLOW_PROVEN;
	is.as.seen = gs_nat_stamp(is.as.seen & GS_FLOW_PROVEN, packet->tuple.protocol, now);
	if (is.word != was.word)
		gs_nat_swap(word, was.word, is.word);
}

/* Notes a packet of the backend's. */
GS_INLINE void gs_nat_touch_back(volatile __u64 *word, union gs_flow_bits was,
				 const struct gs_packet *packet, __u32 now)
{
	union gs_flow_bits is = was;

	if (packet->tuple.protocol == IPPROTO_TCP)
		gs_nat_tcp_back(&is.as, packet->tcp_flags);
	else
		is.as.backend |= GS_NAT_ANSWERED;
	is.as.seen = gs_nat_stamp(is.as.seen & GS_FLOW_PROVEN, packet->tuple.protocol, now);
	if (is.word != was.word)
		gs_nat_swap(word, was.word, is.word);
}
