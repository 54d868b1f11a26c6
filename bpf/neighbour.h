/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * "Who has this VIP?" on a link the edge is on: ARP requests (RFC 826) and neighbour solicitations
 * (RFC 4861) for on-link VIPs become their answers where they are. With the maps alone: the
 * controller may be away. Frames that ask nothing of ours are the kernel's, with the reason they
 * came with.
 */
#pragma once

#include "answer.h"
#include "stale.h"

#define GS_ARP_BYTES 28u
#define GS_NS_BYTES 24u
#define GS_NS_OPTIONS 4u /* units of 8 bytes that are looked at: who sends more asks the kernel */
#define GS_NA_BYTES 32u
#define GS_ND_SOLICIT 135u
#define GS_ND_ADVERT 136u
#define GS_ND_SOURCE 1u
#define GS_ND_TARGET 2u
#define GS_ND_SOLICITED 0x40000000u
#define GS_ND_OVERRIDE 0x20000000u

/* Cheap, for what is TCP or UDP anyway: such packets have no fault. */
GS_INLINE int gs_neighbour_may_ask(const struct gs_packet *packet, enum gs_reason fault)
{
	return fault == GS_REASON_pass_group_mac || fault == GS_REASON_pass_not_ip ||
	       (fault == GS_REASON_pass_protocol && packet->family == 6 &&
		packet->shape == GS_SHAPE_WHOLE);
}

union gs_mac {
	__u16 half[4]; /* the last one is not of it */
	__u64 word;
};

GS_INLINE union gs_mac gs_mac_read(const __u8 *at)
{
	union gs_mac mac = {.word = 0};

	for (int i = 0; i < 3; i++)
		mac.half[i] = ((const gs_wire16 *)at)[i];
	return mac;
}

GS_INLINE void gs_mac_write(__u8 *at, union gs_mac mac)
{
	for (int i = 0; i < 3; i++)
		((gs_wire16 *)at)[i] = mac.half[i];
}

GS_INLINE int gs_mac_is_group(union gs_mac mac)
{
	return (mac.half[0] & GS_BE16(0x0100)) != 0;
}

/* The edge's MAC where the frame came in; word 0: it answers nothing there. */
GS_INLINE union gs_mac gs_neighbour_mac(const struct xdp_md *ctx)
{
	union gs_mac none = {.word = 0};
	__u32 ifindex = ctx->ingress_ifindex;
	const struct gs_own_mac_value *link = bpf_map_lookup_elem(&own_macs, &ifindex);

	if (!link || !(link->flags & GS_OWN_MAC_ANSWERS))
		return none;
	return gs_mac_read(link->mac);
}

/* Does the edge answer for the address, and is it still to? */
GS_INLINE int gs_neighbour_is_ours(const struct gs_service_key *key)
{
	const struct gs_service_value *address = bpf_map_lookup_elem(&services, key);

	return address && address->flags & GS_SERVICE_ON_LINK &&
	       (!address->stale ||
		gs_stale(address->stale, address->stale_after_s) == GS_REASON_NONE);
}

/* ---- ARP -------------------------------------------------------------------------------------*/

/* A request of Ethernet and IPv4 that somebody asks, and does not tell (gratuitous ARP). */
GS_INLINE int gs_arp_asks(const __u8 *arp)
{
	const gs_wire16 *word = (const gs_wire16 *)arp;

	return word[0] == GS_BE16(1) && word[1] == GS_BE16(ETH_P_IP) &&
	       word[2] == GS_BE16(0x0604) && word[3] == GS_BE16(1) &&
	       *(const gs_wire32 *)(arp + 14) != *(const gs_wire32 *)(arp + 24) &&
	       !gs_mac_is_group(gs_mac_read(arp + 8));
}

GS_INLINE int gs_arp(struct xdp_md *ctx, union gs_mac own, __u32 fault)
{
	__u8 *frame = (__u8 *)(long)ctx->data, *arp = frame + ETH_HLEN;
	struct gs_service_key key = {.marker = 1};
	union gs_mac asker;
	__be32 target, sender;

	if ((const void *)(arp + GS_ARP_BYTES) > (const void *)(long)ctx->data_end ||
	    !gs_arp_asks(arp))
		return (int)fault;
	gs_wire_addr4(key.addr, arp + 24);
	if (!gs_neighbour_is_ours(&key))
		return (int)fault;
	asker = gs_mac_read(arp + 8);
	if (!gs_may_answer(GS_ANSWER_NEIGHBOUR, asker.word))
		return GS_REASON_pass_answer_limit;
	sender = *(gs_wire32 *)(arp + 14);
	target = *(gs_wire32 *)(arp + 24);
	gs_mac_write(frame, asker);
	gs_mac_write(frame + 6, own);
	*(gs_wire16 *)(arp + 6) = GS_BE16(2);
	gs_mac_write(arp + 8, own);
	*(gs_wire32 *)(arp + 14) = target;
	gs_mac_write(arp + 18, asker);
	*(gs_wire32 *)(arp + 24) = sender;
	return GS_REASON_tx_arp;
}

/* ---- neighbour discovery ---------------------------------------------------------------------*/

/* What the answer needs of the question, whose place it takes. */
struct gs_question {
	struct gs_service_key target __attribute__((aligned(8)));
	__be32 source[4] __attribute__((aligned(8)));
	union gs_mac asker;
	__u32 length; /* of the frame */
};

/* To the target itself, or to its solicited-node group. Both 16 bytes. */
GS_INLINE int gs_nd_is_to(const __u8 *dst, const __u8 *target)
{
	const gs_wire32 *to = (const gs_wire32 *)dst, *of = (const gs_wire32 *)target;

	if (dst[0] == 0xff)
		return to[0] == GS_BE32(0xff020000u) && to[1] == 0 && to[2] == GS_BE32(1u) &&
		       dst[12] == 0xff && dst[13] == target[13] &&
		       *(const gs_wire16 *)(dst + 14) == *(const gs_wire16 *)(target + 14);
	return to[0] == of[0] && to[1] == of[1] && to[2] == of[2] && to[3] == of[3];
}

/*
 * RFC 4861, 7.1.1: checksum and options of a solicitation of `length` bytes. is_probe: from the
 * unspecified address, which has no link-layer address to tell. 0: invalid, or too long for us.
 */
GS_INLINE int gs_nd_is_sound(const __u8 *ip, const void *end, __u32 length, int is_probe)
{
	const __u8 *nd = ip + GS_IP6_BYTES;
	__u64 sum = GS_BE32(length) + (__u64)GS_BE32((__u32)IPPROTO_ICMPV6);
	__u32 next = GS_NS_BYTES;

	if (length % 8 || length > GS_NS_BYTES + 8 * GS_NS_OPTIONS)
		return 0;
	for (int i = 8; i < 40; i += 4)
		sum += *(const gs_wire32 *)(ip + i);
	for (__u32 at = 0; at < GS_NS_BYTES + 8 * GS_NS_OPTIONS; at += 8) {
		if (at >= length)
			break;
		if ((const void *)(nd + at + 8) > end)
			return 0;
		sum += *(const gs_wire32 *)(nd + at);
		sum += *(const gs_wire32 *)(nd + at + 4);
		if (at != next)
			continue;
		if (nd[at + 1] == 0 || (is_probe && nd[at] == GS_ND_SOURCE))
			return 0;
		next = at + 8u * nd[at + 1];
	}
	return next == length && gs_checksum_fold(sum) == 0;
}

/* 0: it is no question, or none we understand. */
GS_INLINE int gs_nd_read(const __u8 *frame, const void *end, struct gs_question *question)
{
	const __u8 *ip = frame + ETH_HLEN, *nd = ip + GS_IP6_BYTES;
	const gs_wire64 *source = (const gs_wire64 *)(ip + 8);
	int is_probe;

	if ((const void *)(nd + GS_NS_BYTES) > end)
		return 0;
	if (ip[0] >> 4 != 6 || ip[6] != IPPROTO_ICMPV6 || ip[7] != 255 || nd[0] != GS_ND_SOLICIT ||
	    nd[1] != 0 || ip[8] == 0xff || nd[8] == 0xff || !gs_nd_is_to(ip + 24, nd + 8))
		return 0;
	is_probe = source[0] == 0 && source[1] == 0;
	if ((is_probe && ip[24] != 0xff) || !gs_nd_is_sound(ip, end, gs_wire_u16(ip + 4), is_probe))
		return 0;
	question->asker = gs_mac_read(frame + 6);
	if (gs_mac_is_group(question->asker))
		return 0;
	gs_wire_addr6(question->source, ip + 8);
	gs_wire_addr6(question->target.addr, nd + 8);
	/* An IPv4 VIP's key, and no address of a link (parse.h). */
	if (gs_addr_is_mapped(question->target.addr) || gs_addr_is_mapped(question->source))
		return 0;
	question->length = (__u32)((const __u8 *)end - frame);
	return 1;
}

/*
 * RFC 4861, 7.2.4: solicited, unless who asked has no address yet (a probe: then to all nodes). It
 * overrides: of edges on one link, the one that is not drained has the VIP.
 */
GS_INLINE void gs_nd_write(__u8 *frame, const struct gs_question *question, union gs_mac own)
{
	__u8 *ip = frame + ETH_HLEN, *nd = ip + GS_IP6_BYTES;
	union gs_mac to = question->asker;
	__u32 flags = GS_ND_SOLICITED | GS_ND_OVERRIDE;

	gs_wire_addr6((__be32 *)(ip + 8), (const __u8 *)question->target.addr);
	if (question->source[0] | question->source[1] | question->source[2] | question->source[3]) {
		gs_wire_addr6((__be32 *)(ip + 24), (const __u8 *)question->source);
	} else {
		*(gs_wire32 *)(ip + 24) = GS_BE32(0xff020000u);
		*(gs_wire32 *)(ip + 28) = 0;
		*(gs_wire32 *)(ip + 32) = 0;
		*(gs_wire32 *)(ip + 36) = GS_BE32(1u);
		to.half[0] = GS_BE16(0x3333);
		to.half[1] = 0;
		to.half[2] = GS_BE16(1);
		flags = GS_ND_OVERRIDE;
	}
	gs_mac_write(frame, to);
	gs_mac_write(frame + 6, own);
	*(gs_wire32 *)ip = GS_BE32(6u << 28 | 0xc0u << 20);
	*(gs_wire32 *)nd = GS_BE32(GS_ND_ADVERT << 24);
	*(gs_wire32 *)(nd + 4) = GS_BE32(flags);
	gs_wire_addr6((__be32 *)(nd + 8), (const __u8 *)question->target.addr);
	*(gs_wire16 *)(nd + 24) = GS_BE16(GS_ND_TARGET << 8 | 1);
	gs_mac_write(nd + 26, own);
	/* The pseudo header first, where hop limit and next header will be. */
	*(gs_wire32 *)(ip + 4) = GS_BE32(GS_NA_BYTES << 16 | IPPROTO_ICMPV6);
	*(gs_wire16 *)(nd + 2) = gs_checksum_fold((__u32)bpf_csum_diff(
		NULL, 0, (__be32 *)(ip + 4), GS_IP6_BYTES - 4 + GS_NA_BYTES, 0));
	*(gs_wire32 *)(ip + 4) = GS_BE32(GS_NA_BYTES << 16 | IPPROTO_ICMPV6 << 8 | 255);
}

GS_INLINE int gs_nd(struct xdp_md *ctx, union gs_mac own, __u32 fault)
{
	const __u32 answer = ETH_HLEN + GS_IP6_BYTES + GS_NA_BYTES;
	struct gs_question question = {.target = {.marker = 1}};
	__u8 *frame;

	if (!gs_nd_read((const __u8 *)(long)ctx->data, (const void *)(long)ctx->data_end,
			&question) ||
	    !gs_neighbour_is_ours(&question.target))
		return (int)fault;
	if (!gs_may_answer(GS_ANSWER_NEIGHBOUR, question.asker.word))
		return GS_REASON_pass_answer_limit;
	if (question.length != answer && bpf_xdp_adjust_tail(ctx, (int)(answer - question.length)))
		return (int)fault;
	frame = (__u8 *)(long)ctx->data;
	if ((const void *)(frame + answer) > (const void *)(long)ctx->data_end)
		return (int)fault;
	gs_nd_write(frame, &question, own);
	return GS_REASON_tx_nd;
}

/* fault: what the parser says of the frame. That, or the reason to count. */
__attribute__((noinline)) int gs_neighbour(struct xdp_md *ctx, __u32 fault)
{
	const __u8 *frame = (const __u8 *)(long)ctx->data;
	union gs_mac own, to;
	__be16 type;

	if ((const void *)(frame + ETH_HLEN + 8) > (const void *)(long)ctx->data_end)
		return (int)fault;
	type = *(const gs_wire16 *)(frame + 12);
	if (type != GS_BE16(ETH_P_ARP) &&
	    (type != GS_BE16(ETH_P_IPV6) || frame[ETH_HLEN + 6] != IPPROTO_ICMPV6))
		return (int)fault;
	own = gs_neighbour_mac(ctx);
	if (!own.word)
		return (int)fault;
	to = gs_mac_read(frame);
	/* A promiscuous interface also sees what is said to others. */
	if (to.word != own.word && !gs_mac_is_group(to))
		return (int)fault;
	return type == GS_BE16(ETH_P_ARP) ? gs_arp(ctx, own, fault) : gs_nd(ctx, own, fault);
}
