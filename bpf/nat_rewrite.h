/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * NAT's changes to a packet, in place and behind its head: addresses, ports, TTL, the MSS of a SYN,
 * and of an ICMP error also what it quotes. Checksums are updated from what changed (RFC 1624,
 * equation 3) and never computed anew: a packet that came damaged leaves damaged.
 */
#pragma once

#include "answer.h"

#define GS_NAT_OPTIONS 12 /* TCP options walked */
#define GS_NAT_L4 0x3fffu /* transport headers start below this, for the verifier */
#define GS_TCP_CHECK 16u
#define GS_UDP_CHECK 6u

struct gs_nat_edit {
	__be32 src[4];
	__be32 dst[4];
	__be16 src_port;
	__be16 dst_port;
	__u32 id; /* of a fragment, or of one that an error quotes: changed by this (gs_nat_id) */
};

/* Where the IP header is in the frame as it came. */
GS_INLINE __u8 *gs_nat_ip(const struct xdp_md *ctx, const struct gs_packet *packet)
{
	return (__u8 *)(long)ctx->data + ETH_HLEN + (packet->tag_bytes & GS_TAG_BYTES_MASK);
}

/* Why it goes no further, whatever its flow: asked before anything is noted of it. NONE: it does.
 */
__attribute__((noinline)) int gs_nat_fault(struct xdp_md *ctx, const struct gs_packet *packet)
{
	const __u8 *ip;

	if (!packet)
		return GS_REASON_drop_truncated;
	ip = gs_nat_ip(ctx, packet);
	if ((const void *)(ip + GS_IP4_BYTES) > (const void *)(long)ctx->data_end)
		return GS_REASON_drop_truncated;
	return ip[packet->family == 4 ? 8 : 7] <= 1 ? GS_REASON_drop_ttl : GS_REASON_NONE;
}

/* Sums of one's complement: words of 16 and 32 bits that went and came; any order, any number. */
GS_INLINE __u64 gs_delta16(__be16 was, __be16 is)
{
	return (__u64)(__u16)~was + is;
}

GS_INLINE __u64 gs_delta32(__be32 was, __be32 is)
{
	return (__u64)(__u32)~was + is;
}

GS_INLINE __be16 gs_delta_apply(__be16 check, __u64 delta)
{
	return gs_checksum_fold((__u64)(__u16)~check + delta);
}

/* at: two addresses of IPv4 or IPv6. Returns what changed. */
GS_INLINE __u64 gs_put_pair4(__u8 *at, const __be32 first[4], const __be32 second[4])
{
	gs_wire32 *word = (gs_wire32 *)at;
	__u64 delta = gs_delta32(word[0], first[3]) + gs_delta32(word[1], second[3]);

	word[0] = first[3];
	word[1] = second[3];
	return delta;
}

GS_INLINE __u64 gs_put_pair6(__u8 *at, const __be32 first[4], const __be32 second[4])
{
	gs_wire32 *word = (gs_wire32 *)at;
	__u64 delta = 0;

	for (int i = 0; i < 4; i++) {
		delta += gs_delta32(word[i], first[i]) + gs_delta32(word[4 + i], second[i]);
		word[i] = first[i];
		word[4 + i] = second[i];
		/* Summed up here, or all of them would be on the stack at once. */
		asm volatile("" : "+r"(delta) : : "memory");
	}
	return delta;
}

/* The IP header, whose checksum takes what its addresses and TTL change. Returns what the addresses
 * change elsewhere. The header is known to be there. */
GS_INLINE __u64 gs_put_ip4(__u8 *ip, const struct gs_nat_edit *edit)
{
	gs_wire16 *word = (gs_wire16 *)ip;
	__be16 ttl = word[4], less = ttl - GS_BE16(0x0100);
	__u64 delta = gs_put_pair4(ip + 12, edit->src, edit->dst);

	word[4] = less;
	word[5] = gs_delta_apply(word[5], delta + gs_delta16(ttl, less));
	return delta;
}

/* The id of a fragment; returns what it changes in its header's checksum, which has to follow. */
GS_INLINE __u64 gs_put_id4(__u8 *ip, __u32 id)
{
	gs_wire16 *at = (gs_wire16 *)(ip + 4);
	__be16 was = *at;

	*at = (__be16)(was ^ (__u16)id);
	return gs_delta16(was, *at);
}

/* The fragment header is just before what packet->l4 says. 0; -1: there is none. */
GS_INLINE int gs_put_id6(__u8 *ip, const void *end, __u32 l4, __u32 id)
{
	__u8 *at = ip + ((l4 - GS_FRAGMENT_BYTES) & GS_NAT_L4);

	if (l4 < GS_IP6_BYTES + GS_FRAGMENT_BYTES || (const void *)(at + GS_FRAGMENT_BYTES) > end)
		return -1;
	*(gs_wire32 *)(at + 4) ^= id;
	return 0;
}

GS_INLINE __u64 gs_put_ip6(__u8 *ip, const struct gs_nat_edit *edit)
{
	ip[7]--;
	return gs_put_pair6(ip + 8, edit->src, edit->dst);
}

/* Ports, and the checksum `at` bytes on; delta: of the addresses. UDP's 0 is none and stays none.
 */
GS_INLINE void gs_put_ports(__u8 *l4, __u32 at, const struct gs_nat_edit *edit, __u64 delta)
{
	gs_wire16 *port = (gs_wire16 *)l4, *check = (gs_wire16 *)(l4 + at);
	__be16 sum;

	delta += gs_delta16(port[0], edit->src_port) + gs_delta16(port[1], edit->dst_port);
	port[0] = edit->src_port;
	port[1] = edit->dst_port;
	if (at == GS_UDP_CHECK && *check == 0)
		return;
	sum = gs_delta_apply(*check, delta);
	*check = at == GS_UDP_CHECK && sum == 0 ? 0xffff : sum;
}

/*
 * A whole packet, or a fragment of one. NONE: done; else nothing was changed.
 */
__attribute__((noinline)) int gs_nat_rewrite(struct xdp_md *ctx, const struct gs_packet *packet,
					     const struct gs_nat_edit *edit)
{
	__u8 *ip, *l4;
	const void *end = (const void *)(long)ctx->data_end;
	int has_ports, is_tcp;
	__u64 delta;

	if (!packet || !edit)
		return GS_REASON_drop_truncated;
	has_ports = packet->shape != GS_SHAPE_LATER;
	is_tcp = packet->tuple.protocol == IPPROTO_TCP;
	if (packet->l4 > GS_NAT_L4)
		return GS_REASON_drop_headers;
	ip = gs_nat_ip(ctx, packet);
	l4 = ip + (packet->l4 & GS_NAT_L4);
	if ((void *)(ip + GS_IP4_BYTES) > end)
		return GS_REASON_drop_truncated;
	if (has_ports && (const void *)(l4 + (is_tcp ? GS_TCP_BYTES : GS_UDP_BYTES)) > end)
		return GS_REASON_drop_truncated;
	if (packet->family == 4) {
		delta = gs_put_ip4(ip, edit);
		if (edit->id)
			*(gs_wire16 *)(ip + 10) =
				gs_delta_apply(*(gs_wire16 *)(ip + 10), gs_put_id4(ip, edit->id));
	} else {
		if ((const void *)(ip + GS_IP6_BYTES) > end)
			return GS_REASON_drop_truncated;
		if (edit->id && gs_put_id6(ip, end, packet->l4, edit->id))
			return GS_REASON_drop_truncated;
		delta = gs_put_ip6(ip, edit);
	}
	if (!has_ports)
		return GS_REASON_NONE;
	if (is_tcp) {
		if ((const void *)(l4 + GS_TCP_BYTES) > end)
			return GS_REASON_drop_truncated;
		gs_put_ports(l4, GS_TCP_CHECK, edit, delta);
	} else {
		if ((const void *)(l4 + GS_UDP_BYTES) > end)
			return GS_REASON_drop_truncated;
		gs_put_ports(l4, GS_UDP_CHECK, edit, delta);
	}
	return GS_REASON_NONE;
}

/* ---- ICMP errors -----------------------------------------------------------------------------*/

/*
 * What an error quotes went the other way: from edit->dst to edit->src. at: its ports; check_at:
 * its checksum's offset from there, or 0 if the quote ends before. Returns what changed in all.
 */
GS_INLINE __u64 gs_put_quoted_ports(__u8 *l4, __u8 *check_at, int is_udp,
				    const struct gs_nat_edit *edit, __u64 delta)
{
	gs_wire16 *port = (gs_wire16 *)l4, *check = (gs_wire16 *)check_at;
	__u64 ports = gs_delta16(port[0], edit->dst_port) + gs_delta16(port[1], edit->src_port);
	__be16 was, is;

	port[0] = edit->dst_port;
	port[1] = edit->src_port;
	if (!check)
		return ports;
	was = *check;
	if (is_udp && was == 0)
		return ports;
	is = gs_delta_apply(was, delta + ports);
	if (is_udp && is == 0)
		is = 0xffff;
	*check = is;
	return ports + gs_delta16(was, is);
}

/* Of the quote's ports on, which are at `l4`; the frame ends at `end`, the packet after `room`. */
GS_INLINE __u64 gs_put_quoted_l4(__u8 *l4, const void *end, __u32 room, int is_tcp,
				 const struct gs_nat_edit *edit, __u64 delta)
{
	if ((const void *)(l4 + GS_PORTS_BYTES) > end)
		return 0;
	if (is_tcp && room >= GS_TCP_CHECK + 2 && (const void *)(l4 + GS_TCP_CHECK + 2) <= end)
		return gs_put_quoted_ports(l4, l4 + GS_TCP_CHECK, 0, edit, delta);
	if (!is_tcp && room >= GS_UDP_BYTES && (const void *)(l4 + GS_UDP_BYTES) <= end)
		return gs_put_quoted_ports(l4, l4 + GS_UDP_CHECK, 1, edit, delta);
	return gs_put_quoted_ports(l4, NULL, 0, edit, delta);
}

/* icmp: of an IPv4 packet, `room` bytes of it. -1: not as it was parsed, and not changed. */
GS_INLINE int gs_quote_rewrite4(__u8 *icmp, const void *end, __u32 room, int is_tcp,
				const struct gs_nat_edit *edit)
{
	__u8 *quote = icmp + GS_ICMP_BYTES, *l4;
	gs_wire16 *check = (gs_wire16 *)(icmp + 2), *quoted = (gs_wire16 *)(quote + 10);
	__u64 addrs, head, delta;
	__u32 header;
	__be16 was;

	if ((const void *)(quote + GS_IP4_BYTES) > end)
		return -1;
	header = (__u32)(quote[0] & 15) * 4;
	l4 = quote + header;
	if ((const void *)(l4 + GS_PORTS_BYTES) > end)
		return -1;
	addrs = gs_put_pair4(quote + 12, edit->dst, edit->src);
	head = addrs;
	if (edit->id && *(const gs_wire16 *)(quote + 6) & GS_BE16(0x2000)) /* more fragments */
		head += gs_put_id4(quote, edit->id);
	was = *quoted;
	*quoted = gs_delta_apply(was, head);
	delta = head + gs_delta16(was, *quoted);
	delta += gs_put_quoted_l4(l4, end, room - GS_ICMP_BYTES - header, is_tcp, edit, addrs);
	*check = gs_delta_apply(*check, delta);
	return 0;
}

/* The id of the fragment an error quotes, whose header is at `at`. Returns what it changes. */
GS_INLINE __u64 gs_put_quoted_id6(__u8 *at, const void *end, __u32 id)
{
	gs_wire32 *word = (gs_wire32 *)(at + 4);
	__be32 was;

	if ((const void *)(at + GS_FRAGMENT_BYTES) > end)
		return 0;
	was = *word;
	*word = was ^ id;
	return gs_delta32(was, *word);
}

/* The same of IPv6, where the packet's own addresses are not done yet. */
GS_INLINE int gs_quote_rewrite6(__u8 *icmp, const void *end, const struct gs_packet *packet,
				const struct gs_nat_edit *edit)
{
	__u32 room = (__u32)packet->length - packet->l4, header = packet->quoted;
	__u8 *quote = icmp + GS_ICMP_BYTES, *l4 = quote + (header & GS_NAT_L4);
	gs_wire16 *check = (gs_wire16 *)(icmp + 2);
	__u64 delta;

	if ((const void *)(quote + GS_IP6_BYTES) > end || (const void *)(l4 + GS_PORTS_BYTES) > end)
		return -1;
	if (edit->id && packet->quoted_fragment)
		*check = gs_delta_apply(
			*check, gs_put_quoted_id6(quote + (packet->quoted_fragment & GS_NAT_L4),
						  end, edit->id));
	delta = gs_put_pair6(quote + 8, edit->dst, edit->src);
	delta += gs_put_quoted_l4(l4, end, room - GS_ICMP_BYTES - header,
				  packet->tuple.protocol == IPPROTO_TCP, edit, delta);
	*check = gs_delta_apply(*check, delta);
	return 0;
}

/* An ICMP error and what it quotes. As gs_nat_rewrite. */
__attribute__((noinline)) int gs_nat_rewrite_quote(struct xdp_md *ctx,
						   const struct gs_packet *packet,
						   const struct gs_nat_edit *edit)
{
	__u8 *ip, *icmp;
	const void *end = (const void *)(long)ctx->data_end;
	int is_tcp;
	__u32 room;
	__u64 delta;

	if (!packet || !edit)
		return GS_REASON_drop_truncated;
	if (packet->l4 > GS_NAT_L4)
		return GS_REASON_drop_headers;
	is_tcp = packet->tuple.protocol == IPPROTO_TCP;
	ip = gs_nat_ip(ctx, packet);
	icmp = ip + (packet->l4 & GS_NAT_L4);
	room = (__u32)packet->length - packet->l4;
	if ((const void *)(icmp + GS_ICMP_BYTES + GS_IP4_BYTES) > end ||
	    (const void *)(ip + GS_IP4_BYTES) > end)
		return GS_REASON_drop_truncated;
	if (packet->family == 4) {
		if (gs_quote_rewrite4(icmp, end, room, is_tcp, edit))
			return GS_REASON_drop_truncated;
		gs_put_ip4(ip, edit);
		return GS_REASON_NONE;
	}
	if ((const void *)(ip + GS_IP6_BYTES) > end)
		return GS_REASON_drop_truncated;
	if (gs_quote_rewrite6(icmp, end, packet, edit))
		return GS_REASON_drop_truncated;
	delta = gs_put_ip6(ip, edit);
	*(gs_wire16 *)(icmp + 2) = gs_delta_apply(*(gs_wire16 *)(icmp + 2), delta);
	return GS_REASON_NONE;
}

/* ---- MSS -------------------------------------------------------------------------------------*/

/* at: the option's value, `offset` bytes into TCP; check: TCP's checksum. Larger ones get `most`.
 */
GS_INLINE void gs_mss_put(gs_wire16 *at, gs_wire16 *check, __u32 offset, __u16 most)
{
	__be16 was = *at, is = GS_BE16(most);

	if ((__u16)GS_BE16(was) <= most)
		return;
	*at = is;
	if (offset & 1) { /* it lies across two words of the sum */
		was = (__be16)__builtin_bswap16(was);
		is = (__be16)__builtin_bswap16(is);
	}
	*check = gs_checksum_update(*check, was, is);
}

/*
 * Clamps a SYN's MSS option; most: what fits. Whatever the options are, they only lose by it. Says
 * nothing: a packet without it goes as it is.
 */
__attribute__((noinline)) int gs_nat_clamp(struct xdp_md *ctx, const struct gs_packet *packet,
					   __u32 most)
{
	__u8 *l4;
	const void *end = (const void *)(long)ctx->data_end;
	__u32 offset = GS_TCP_BYTES, header;

	if (!packet || packet->l4 > GS_NAT_L4)
		return 0;
	l4 = gs_nat_ip(ctx, packet) + (packet->l4 & GS_NAT_L4);
	if ((const void *)(l4 + GS_TCP_BYTES) > end)
		return 0;
	header = (__u32)(l4[12] >> 4) * 4;
	for (int i = 0; i < GS_NAT_OPTIONS; i++) {
		__u8 *at;

		if (offset >= header || offset > 60)
			return 0;
		at = l4 + offset;
		if ((const void *)(at + 4) > end) {
			/* too near the end for an MSS */
			return 0;
		}
		if (at[0] == 0)
			return 0;
		if (at[0] == 1) {
			offset++;
			continue;
		}
		if (at[0] == 2) {
			if (at[1] == 4 && offset + 4 <= header)
				gs_mss_put((gs_wire16 *)(at + 2), (gs_wire16 *)(l4 + GS_TCP_CHECK),
					   offset, (__u16)most);
			return 0;
		}
		if (at[1] < 2)
			return 0;
		offset += at[1];
	}
	return 0;
}
