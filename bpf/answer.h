/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the edge answers itself, in the service's name: echo requests, and "too large, so much
 * fits". Both go back where the packet came from, and both are limited (gs_answer in
 * maps/gs_maps.h).
 */
#pragma once

#include "head.h"
#include "rate.h"

#include "maps/gs_maps.bpf.h"

#define GS_ANSWER_TTL 64
/* Of the packet that is too large: enough for any IPv4 header and the ports behind it. */
#define GS_QUOTE4 68
#define GS_QUOTE6 128
#define GS_ICMP6_MTU_MIN 1280u

/* who: as gs_answer_word has it. Its own limit first: what is beyond that costs others nothing. */
__attribute__((noinline)) int gs_may_answer(__u32 kind, __u64 who)
{
	const struct gs_meta_value *found;
	__u64 *all, *own;
	__u32 zero = 0, word;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return 0;
	word = gs_answer_word(kind, who, found->table_seed);
	own = bpf_map_lookup_elem(&answers, &word);
	all = bpf_map_lookup_elem(&answers, &kind);
	return own && all && gs_rate_take(own, GS_ANSWER_CELL_INTERVAL_NS, GS_ANSWER_CELL_BURST) &&
	       gs_rate_take(all, GS_ANSWER_INTERVAL_NS, GS_ANSWER_BURST);
}

/* GS_ANSWER_CLIENT, which nobody asks for. */
GS_INLINE int gs_may_tell(void)
{
	__u32 kind = GS_ANSWER_CLIENT;
	__u64 *until = bpf_map_lookup_elem(&answers, &kind);

	return until && gs_rate_take(until, GS_ANSWER_CLIENT_INTERVAL_NS, GS_ANSWER_CLIENT_BURST);
}

/* RFC 1624, equation 3: a checksum after one of its words has changed. All in wire order. */
GS_INLINE __be16 gs_checksum_update(__be16 check, __be16 old, __be16 new)
{
	__u32 sum = (__u16)~check + (__u32)(__u16)~old + new;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__be16)~sum;
}

GS_INLINE __be16 gs_checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__be16)~sum;
}

GS_INLINE void gs_swap16(gs_wire16 *a, gs_wire16 *b, int count)
{
	for (int i = 0; i < count; i++) {
		__u16 was = a[i];

		a[i] = b[i];
		b[i] = was;
	}
}

/* ---- echo ------------------------------------------------------------------------------------*/

GS_INLINE void gs_echo_turn(__u8 *frame, __u8 *icmp, __u8 request, __u8 reply)
{
	gs_wire16 *word = (gs_wire16 *)icmp;
	__be16 check = gs_checksum_update(word[1], GS_BE16((__u16)(request << 8)),
					  GS_BE16((__u16)(reply << 8)));

	icmp[0] = reply;
	/* Of a reply that is all zeroes only this zero is right; of all others, both are. */
	word[1] = check ? check : 0xffff;
	gs_swap16((gs_wire16 *)frame, (gs_wire16 *)(frame + 6), 3);
}

/* The request becomes its reply where it is. 0; -1: the frame is not what it was. ip: behind the
 * frame's head, `frame + ETH_HLEN` is there. */
GS_INLINE int gs_echo_reply4(__u8 *frame, __u8 *ip, const void *end)
{
	const __be16 ttl_protocol = GS_BE16((__u16)(GS_ANSWER_TTL << 8 | IPPROTO_ICMP));
	__u8 *icmp;
	gs_wire16 *word = (gs_wire16 *)ip;

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return -1;
	icmp = ip + (__u32)(ip[0] & 15) * 4;
	if ((const void *)(icmp + GS_ICMP_BYTES) > end)
		return -1;
	gs_echo_turn(frame, icmp, 8, 0);
	word[5] = gs_checksum_update(word[5], word[4], ttl_protocol);
	word[4] = ttl_protocol;
	gs_swap16(word + 6, word + 8, 2);
	return 0;
}

/* -1 also behind extension headers. */
GS_INLINE int gs_echo_reply6(__u8 *frame, __u8 *ip, const void *end)
{
	__u8 *icmp = ip + GS_IP6_BYTES;

	if ((const void *)(icmp + GS_ICMP_BYTES) > end || ip[6] != IPPROTO_ICMPV6)
		return -1;
	gs_echo_turn(frame, icmp, 128, 129);
	ip[7] = GS_ANSWER_TTL;
	gs_swap16((gs_wire16 *)(ip + 8), (gs_wire16 *)(ip + 24), 8);
	return 0;
}

/* An echo request to an address of ours. The reason to count. */
__attribute__((noinline)) int gs_echo(struct xdp_md *ctx, const struct gs_packet *packet)
{
	__u8 *frame = (__u8 *)(long)ctx->data, *ip;
	const void *end = (const void *)(long)ctx->data_end;
	int failed;

	if (!packet || (const void *)(frame + ETH_HLEN) > end)
		return GS_REASON_pass_protocol;
	if (!gs_may_answer(GS_ANSWER_ECHO, gs_hash_client(packet->tuple.src, 0)))
		return GS_REASON_drop_answer_limit;
	ip = frame + ETH_HLEN + (packet->tag_bytes & GS_TAG_BYTES_MASK);
	failed = packet->family == 4 ? gs_echo_reply4(frame, ip, end)
				     : gs_echo_reply6(frame, ip, end);
	/* Not as it was, or behind extension headers: the kernel's. */
	return failed ? GS_REASON_pass_protocol : GS_REASON_tx_echo;
}

/* ---- too big ---------------------------------------------------------------------------------*/

/*
 * "Fragmentation needed" (RFC 792, RFC 1191) or "packet too big" (RFC 4443) from the address the
 * packet was for. ip: room for the answer's headers, the packet behind them.
 */
GS_INLINE void gs_write_too_big4(__u8 *ip, __u32 mtu, __be32 src, __be32 dst)
{
	const __u16 length = GS_IP4_BYTES + GS_ICMP_BYTES + GS_QUOTE4;
	__u8 *icmp = ip + GS_IP4_BYTES;

	*(gs_wire32 *)ip = GS_BE32(0x45c00000u | length); /* network control, RFC 1812, 4.3.2.5 */
	*(gs_wire32 *)(ip + 4) = GS_BE32(0x4000u);
	*(gs_wire32 *)(ip + 8) = GS_BE32((__u32)GS_ANSWER_TTL << 24 | IPPROTO_ICMP << 16);
	*(gs_wire32 *)(ip + 12) = src;
	*(gs_wire32 *)(ip + 16) = dst;
	*(gs_wire16 *)(ip + 10) =
		gs_checksum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)ip, GS_IP4_BYTES, 0));
	*(gs_wire32 *)icmp = GS_BE32(0x03040000u);
	*(gs_wire32 *)(icmp + 4) = GS_BE32(mtu);
	*(gs_wire16 *)(icmp + 2) = gs_checksum_fold(
		(__u32)bpf_csum_diff(NULL, 0, (__be32 *)icmp, GS_ICMP_BYTES + GS_QUOTE4, 0));
}

GS_INLINE void gs_write_too_big6(__u8 *ip, __u32 mtu, const __be32 src[4], const __be32 dst[4])
{
	const __u16 length = GS_ICMP_BYTES + GS_QUOTE6;
	__u8 *icmp = ip + GS_IP6_BYTES;
	__u32 sum;

	*(gs_wire32 *)ip = GS_BE32(6u << 28 | 0xc0u << 20);
	gs_wire_addr6((__be32 *)(ip + 8), (const __u8 *)src);
	gs_wire_addr6((__be32 *)(ip + 24), (const __u8 *)dst);
	/* The pseudo header first, where hop limit and next header will be. */
	*(gs_wire32 *)(ip + 4) = GS_BE32((__u32)length << 16 | IPPROTO_ICMPV6);
	*(gs_wire32 *)icmp = GS_BE32(0x02000000u);
	*(gs_wire32 *)(icmp + 4) = GS_BE32(mtu);
	sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(ip + 4),
				   GS_IP6_BYTES - 4 + GS_ICMP_BYTES + GS_QUOTE6, 0);
	*(gs_wire16 *)(icmp + 2) = gs_checksum_fold(sum);
	*(gs_wire32 *)(ip + 4) = GS_BE32((__u32)length << 16 | IPPROTO_ICMPV6 << 8 | GS_ANSWER_TTL);
}

/* The frame is grown in front by the answer's headers and cut behind the quote. 0 or -1. */
GS_INLINE int gs_make_room(struct xdp_md *ctx, const struct gs_packet *packet, __u32 headers,
			   __u32 quote)
{
	__u32 frame = (__u32)(ctx->data_end - ctx->data);
	__u32 keep = ETH_HLEN + packet->tag_bytes + quote;

	if (frame < keep || bpf_xdp_adjust_head(ctx, -(int)headers))
		return -1;
	return bpf_xdp_adjust_tail(ctx, -(int)(frame - keep)) ? -1 : 0;
}

/* mtu: what fits. The reason to count. */
__attribute__((noinline)) int gs_too_big(struct xdp_md *ctx, const struct gs_packet *packet,
					 __u32 mtu)
{
	struct gs_head head;
	__u8 *ip;

	if (!packet)
		return GS_REASON_drop_too_big;
	/* Of an error nobody is told an error (RFC 1122, 3.2.2): whom it quotes has sent nothing.
	 */
	if (packet->shape == GS_SHAPE_QUOTES)
		return GS_REASON_drop_too_big;
	if (!packet->has_df)
		return GS_REASON_drop_would_fragment;
	/* Nor of any but the first piece of a datagram, in IPv4 (there as well). */
	if (packet->family == 4 && packet->shape == GS_SHAPE_LATER)
		return GS_REASON_drop_too_big;
	/* No IPv6 host sends less than 1,280 bytes, whatever it is told (RFC 8200, 5). */
	if ((packet->family == 6 && mtu < GS_ICMP6_MTU_MIN) ||
	    !gs_may_answer(GS_ANSWER_TOO_BIG, gs_hash_client(packet->tuple.src, 0)))
		return GS_REASON_drop_too_big;
	if (gs_head_back(ctx, packet, &head))
		return GS_REASON_drop_too_big;
	if (packet->family == 4) {
		if (gs_make_room(ctx, packet, GS_IP4_BYTES + GS_ICMP_BYTES, GS_QUOTE4))
			return GS_REASON_drop_too_big;
		ip = gs_head_write(ctx, &head, ETH_P_IP, GS_IP4_BYTES + GS_ICMP_BYTES + GS_QUOTE4);
		if (!ip)
			return GS_REASON_drop_too_big;
		gs_write_too_big4(ip, mtu, packet->tuple.dst[3], packet->tuple.src[3]);
	} else {
		if (gs_make_room(ctx, packet, GS_IP6_BYTES + GS_ICMP_BYTES, GS_QUOTE6))
			return GS_REASON_drop_too_big;
		ip = gs_head_write(ctx, &head, ETH_P_IPV6,
				   GS_IP6_BYTES + GS_ICMP_BYTES + GS_QUOTE6);
		if (!ip)
			return GS_REASON_drop_too_big;
		gs_write_too_big6(ip, mtu, packet->tuple.dst, packet->tuple.src);
	}
	return GS_REASON_tx_too_big;
}
