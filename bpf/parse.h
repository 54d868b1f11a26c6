/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 1: frame -> struct gs_packet. Plain C without helpers: the unit tests compile it on the
 * host.
 *
 * Every read is preceded by its own `pointer + size > end`, the form the verifier follows. What the
 * frame lacks is "truncated"; what contradicts itself is "bad".
 */
#pragma once

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>

#define GS_INLINE static inline __attribute__((always_inline))

/* A step that has found nothing against the packet: go on with the next. */
#define GS_REASON_NONE GS_REASON__COUNT

#define GS_EXTENSIONS_MAX 6 /* IPv6 extension headers walked */
#define GS_IP4_BYTES 20u
#define GS_IP6_BYTES 40u
#define GS_TCP_BYTES 20u
#define GS_UDP_BYTES 8u
#define GS_PORTS_BYTES 4u /* the first ones of both */
#define GS_FRAGMENT_BYTES 8u
#define GS_ICMP_BYTES 8u
#define GS_MTU_MAX 0xffffu
#define GS_HEADERS_MASK 0x3fffu /* of an IP packet's headers, all of them: for the verifier */
#define GS_TAG_BYTES_MASK 12u	/* of one or two VLAN tags: for the verifier */

#define GS_TCP_FIN 0x01u
#define GS_TCP_SYN 0x02u
#define GS_TCP_RST 0x04u
#define GS_TCP_ACK 0x10u

/* What a packet is besides a whole one of TCP or UDP. */
enum gs_shape {
	GS_SHAPE_WHOLE,
	GS_SHAPE_FIRST,	 /* fragment, with its ports */
	GS_SHAPE_LATER,	 /* fragment, whose ports are not known yet */
	GS_SHAPE_QUOTES, /* ICMP error: the tuple is that of the packets it complains about the
			  * answers to, as clients send them */
	GS_SHAPE_ECHO,	 /* echo request, to whomever */
};

struct gs_packet {
	/* Addresses are set with family; protocol and ports when gs_parse returns NONE. With a
	 * fault: protocol as far as it is known (else 0), ports if has_ports. */
	struct gs_flow_tuple tuple __attribute__((aligned(8)));
	__u32 frame_bytes; /* as received */
	__u16 length;	   /* of the IP packet by its own header, that header included */
	__u8 family;	   /* 4, 6; 0: addresses not known */
	__u8 ds;	   /* DS field and ECN */
	__u8 tcp_flags;	   /* 0 for UDP */
	__u8 has_ports;	   /* only with a fault: the ports could be read all the same */
	__u8 shape;	   /* enum gs_shape */
	__u8 has_df;	   /* the sender does not want it fragmented; IPv6: always */
	__u32 id;	   /* of the datagram; only of fragments */
	__u16 tag_bytes;   /* of VLAN tags between MACs and type: 4 each */
	__u16 l4; /* bytes from the IP header to TCP, UDP or ICMP, or to a later fragment's part */
	/* ICMPv6 errors: bytes from the IP header they quote to its TCP or UDP, and to the fragment
	 * header if it is a first fragment (else 0). */
	__u16 quoted;
	__u16 quoted_fragment;
};

/* IPv4 options, Ethernet and extension headers put fields at any even address. */
#ifdef __bpf__
typedef __u16 __attribute__((may_alias)) gs_wire16;
typedef __u32 __attribute__((may_alias)) gs_wire32;
typedef __u64 __attribute__((may_alias)) gs_wire64;
#else
typedef __u16 __attribute__((may_alias, aligned(1))) gs_wire16;
typedef __u32 __attribute__((may_alias, aligned(1))) gs_wire32;
typedef __u64 __attribute__((may_alias, aligned(1))) gs_wire64;
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define GS_BE16(value) ((__be16)__builtin_bswap16(value))
#define GS_BE32(value) ((__be32)__builtin_bswap32(value))
#define GS_BE64(value) ((__be64)__builtin_bswap64(value))
#else
#define GS_BE16(value) ((__be16)(value))
#define GS_BE32(value) ((__be32)(value))
#define GS_BE64(value) ((__be64)(value))
#endif

/* May an IP packet of this length get an outer header? No IP packet is longer than 65,535 bytes,
 * whatever the link takes (loopback's MTU is 65,536). */
GS_INLINE __u32 gs_most(__u32 mtu)
{
	return mtu > GS_MTU_MAX ? GS_MTU_MAX : mtu;
}

GS_INLINE int gs_fits(__u32 length, __u32 outer, __u32 mtu)
{
	return length + outer <= gs_most(mtu);
}

GS_INLINE __u16 gs_wire_u16(const __u8 *at)
{
	return (__u16)GS_BE16(*(const gs_wire16 *)at);
}

GS_INLINE void gs_wire_addr6(__be32 ret_addr[4], const __u8 *at)
{
	gs_wire64 *to = (gs_wire64 *)ret_addr;

	to[0] = ((const gs_wire64 *)at)[0];
	to[1] = ((const gs_wire64 *)at)[1];
}

GS_INLINE void gs_wire_addr4(__be32 ret_addr[4], const __u8 *at)
{
	ret_addr[0] = 0;
	ret_addr[1] = 0;
	ret_addr[2] = GS_BE32(0xffffu);
	ret_addr[3] = *(const gs_wire32 *)at;
}

GS_INLINE int gs_addr_is_mapped(const __be32 addr[4])
{
	return addr[0] == 0 && addr[1] == 0 && addr[2] == GS_BE32(0xffffu);
}

/* What the compiler knows and the verifier must not: it would go through all that follows once for
 * each value. seen: anything it does not know. */
GS_INLINE __u32 gs_unknown(__u32 value, __u32 seen)
{
#ifdef __bpf__
	__u32 same = seen;

	asm volatile("" : "+r"(same));
	return value + (same - seen);
#else
	(void)seen;
	return value;
#endif
}

/* Bytes of the frame behind MACs, tags and type. */
GS_INLINE __u32 gs_behind_head(const struct gs_packet *packet)
{
	return packet->frame_bytes - ETH_HLEN - packet->tag_bytes;
}

/* Of a faulty packet, to know whose it is. Arguments as gs_parse_tcp's. */
GS_INLINE void gs_parse_ports(const __u8 *l4, const void *end, __u32 room, struct gs_packet *packet)
{
	if ((const void *)(l4 + GS_PORTS_BYTES) > end || room < GS_PORTS_BYTES)
		return;
	packet->tuple.src_port = *(const gs_wire16 *)l4;
	packet->tuple.dst_port = *(const gs_wire16 *)(l4 + 2);
	packet->has_ports = 1;
}

/* l4: the transport header; room: bytes of the IP packet from there to its end. */
GS_INLINE enum gs_reason gs_parse_tcp(const __u8 *l4, const void *end, __u32 room,
				      struct gs_packet *packet)
{
	__u32 header;

	if ((const void *)(l4 + GS_TCP_BYTES) > end || room < GS_TCP_BYTES)
		return GS_REASON_drop_truncated;
	header = (__u32)(l4[12] >> 4) * 4;
	if (header < GS_TCP_BYTES || header > room)
		return GS_REASON_drop_bad_l4;
	packet->tuple.src_port = *(const gs_wire16 *)l4;
	packet->tuple.dst_port = *(const gs_wire16 *)(l4 + 2);
	packet->tcp_flags = l4[13];
	return GS_REASON_NONE;
}

GS_INLINE enum gs_reason gs_parse_udp(const __u8 *l4, const void *end, __u32 room,
				      struct gs_packet *packet)
{
	__u32 length;

	if ((const void *)(l4 + GS_UDP_BYTES) > end || room < GS_UDP_BYTES)
		return GS_REASON_drop_truncated;
	length = gs_wire_u16(l4 + 4);
	if (length < GS_UDP_BYTES || (length > room && packet->shape != GS_SHAPE_FIRST))
		return GS_REASON_drop_bad_l4;
	packet->tuple.src_port = *(const gs_wire16 *)l4;
	packet->tuple.dst_port = *(const gs_wire16 *)(l4 + 2);
	return GS_REASON_NONE;
}

/* ip: the IP header, header: bytes from there to the transport header, length: its own claim. */
GS_INLINE enum gs_reason gs_parse_l4(const __u8 *ip, const void *end, __u32 header, __u32 length,
				     __u8 protocol, struct gs_packet *packet)
{
	enum gs_reason reason = GS_REASON_drop_truncated;
	const __u8 *l4 = ip + header;

	packet->tuple.protocol = protocol;
	/* IPv6 can claim more than 65,535 bytes with its own header; no frame is that long. */
	if (length <= gs_behind_head(packet) && length <= 0xffff) {
		packet->length = (__u16)length;
		packet->l4 = (__u16)header;
		if (protocol == IPPROTO_TCP)
			reason = gs_parse_tcp(l4, end, length - header, packet);
		else
			reason = gs_parse_udp(l4, end, length - header, packet);
	}
	if (reason != GS_REASON_NONE)
		gs_parse_ports(l4, end, length - header, packet);
	return reason;
}

/* ---- IPv6 extension headers ------------------------------------------------------------------*/

/* Headers that are walked. Fragment headers are, too, if their packet is whole. */
GS_INLINE int gs_is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH;
}

/*
 * Bytes of the extension header of this protocol at `at`, 8 of which are there. AH counts 4-byte
 * units less 2, fragment headers are 8 bytes, the others count 8-byte units less 1. One formula: a
 * branch here doubles the verifier's paths at every turn.
 */
GS_INLINE __u32 gs_extension_bytes(const __u8 *at, __u8 protocol)
{
	__u32 is_auth = protocol == IPPROTO_AH;
	__u32 is_fragment = protocol == IPPROTO_FRAGMENT;

	return (at[1] * (1 - is_fragment) + 1u + is_auth) << (3 - is_auth);
}

/* ---- ICMP ------------------------------------------------------------------------------------*/

/* Ports of the flow a quote is of, reversed: it is one of our services' answers that failed. */
GS_INLINE void gs_quote_ports(const __u8 *l4, const void *end, __u32 room, __u8 protocol,
			      struct gs_packet *packet)
{
	/* What quotes a tunnel is for no service: without ports none matches. tunnel.h looks. */
	if (protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6) {
		packet->tuple.protocol = protocol;
		packet->shape = GS_SHAPE_QUOTES;
		return;
	}
	if ((const void *)(l4 + GS_PORTS_BYTES) > end || room < GS_PORTS_BYTES ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return;
	packet->tuple.protocol = protocol;
	packet->tuple.src_port = *(const gs_wire16 *)(l4 + 2);
	packet->tuple.dst_port = *(const gs_wire16 *)l4;
	packet->shape = GS_SHAPE_QUOTES;
}

/*
 * at: what an error quotes; room: bytes of it. Whoever is told must be who sent what is quoted; who
 * sent it stands in the quote, and the source of the error may be any router.
 */
GS_INLINE void gs_quote4(const __u8 *at, const void *end, __u32 room, struct gs_packet *packet)
{
	__u32 header;

	if ((const void *)(at + GS_IP4_BYTES) > end || room < GS_IP4_BYTES)
		return;
	header = (__u32)(at[0] & 15) * 4;
	if (at[0] >> 4 != 4 || header < GS_IP4_BYTES || header > room ||
	    *(const gs_wire32 *)(at + 12) != packet->tuple.dst[3] ||
	    *(const gs_wire16 *)(at + 6) & GS_BE16(0x1fff)) /* a later fragment has no ports */
		return;
	packet->tuple.src[3] = *(const gs_wire32 *)(at + 16);
	gs_quote_ports(at + header, end, room - header, at[9], packet);
}

/*
 * From *protocol (as the quote's fixed header says) on: bytes from the quote to its transport
 * header, never more than `room`; 0: it is not there to be found. Of a fragment only the first one
 * has it.
 */
GS_INLINE __u32 gs_quote_headers(const __u8 *quote, const void *end, __u32 room, __u8 *protocol,
				 struct gs_packet *packet)
{
	__u32 header = GS_IP6_BYTES;

	for (int i = 0; i <= GS_EXTENSIONS_MAX; i++) {
		const __u8 *at = quote + header;

		if (*protocol != IPPROTO_FRAGMENT && !gs_is_extension(*protocol))
			return header;
		if (i == GS_EXTENSIONS_MAX || (const void *)(at + 8) > end)
			return 0;
		if (*protocol == IPPROTO_FRAGMENT) {
			if (*(const gs_wire16 *)(at + 2) & GS_BE16(0xfff8))
				return 0;
			if (*(const gs_wire16 *)(at + 2) & GS_BE16(1)) /* more of them come */
				packet->quoted_fragment = (__u16)header;
		}
		header += gs_extension_bytes(at, *protocol);
		header = gs_unknown(header, room) & GS_HEADERS_MASK;
		if (header > room)
			return 0;
		*protocol = at[0];
	}
	return 0;
}

GS_INLINE void gs_quote6(const __u8 *at, const void *end, __u32 room, struct gs_packet *packet)
{
	const gs_wire64 *src = (const gs_wire64 *)(at + 8);
	const __u64 *vip = (const __u64 *)packet->tuple.dst;
	__u32 header;
	__u8 protocol;

	if ((const void *)(at + GS_IP6_BYTES) > end || room < GS_IP6_BYTES || at[0] >> 4 != 6 ||
	    src[0] != vip[0] || src[1] != vip[1])
		return;
	gs_wire_addr6(packet->tuple.src, at + 24);
	protocol = at[6];
	header = gs_quote_headers(at, end, room, &protocol, packet);
	if (!header || gs_addr_is_mapped(packet->tuple.src))
		return;
	packet->quoted = (__u16)header;
	gs_quote_ports(at + header, end, room - header, protocol, packet);
}

/* Destination unreachable ("fragmentation needed" too), time exceeded, parameter problem. */
GS_INLINE int gs_icmp4_is_error(__u8 type)
{
	return type == 3 || type == 11 || type == 12;
}

/* ip, header, length: as gs_parse_l4. What is neither echo nor an error we can read stays WHOLE. */
GS_INLINE enum gs_reason gs_parse_icmp(const __u8 *ip, const void *end, __u32 header, __u32 length,
				       struct gs_packet *packet)
{
	const __u8 *icmp = ip + header;
	__u32 room = length - header;

	if (length > gs_behind_head(packet) || length > 0xffff || length < header ||
	    room < GS_ICMP_BYTES || (const void *)(icmp + GS_ICMP_BYTES) > end)
		return GS_REASON_pass_protocol;
	packet->length = (__u16)length;
	packet->l4 = (__u16)header;
	if (packet->family == 4) {
		if (icmp[0] == 8 && icmp[1] == 0)
			packet->shape = GS_SHAPE_ECHO;
		else if (gs_icmp4_is_error(icmp[0]))
			gs_quote4(icmp + GS_ICMP_BYTES, end, room - GS_ICMP_BYTES, packet);
	} else {
		if (icmp[0] == 128 && icmp[1] == 0)
			packet->shape = GS_SHAPE_ECHO;
		else if (icmp[0] >= 1 && icmp[0] <= 4)
			gs_quote6(icmp + GS_ICMP_BYTES, end, room - GS_ICMP_BYTES, packet);
	}
	return GS_REASON_pass_protocol;
}

/* ---- IP --------------------------------------------------------------------------------------*/

/* A fragment of TCP or UDP. offset: 0, or what of the datagram came before. As gs_parse_l4. */
GS_INLINE enum gs_reason gs_parse_piece(const __u8 *ip, const void *end, __u32 header, __u32 length,
					__u8 protocol, int is_first, struct gs_packet *packet)
{
	packet->tuple.protocol = protocol;
	if (is_first) {
		packet->shape = GS_SHAPE_FIRST;
		return gs_parse_l4(ip, end, header, length, protocol, packet);
	}
	if (length > gs_behind_head(packet) || length > 0xffff)
		return GS_REASON_drop_truncated;
	packet->length = (__u16)length;
	packet->l4 = (__u16)header;
	packet->shape = GS_SHAPE_LATER;
	return GS_REASON_drop_fragment;
}

GS_INLINE enum gs_reason gs_parse_ip4(const __u8 *ip, const void *end, struct gs_packet *packet)
{
	__u32 header, length;
	__be16 fragment;
	__u8 protocol;

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return GS_REASON_pass_truncated;
	gs_wire_addr4(packet->tuple.src, ip + 12);
	gs_wire_addr4(packet->tuple.dst, ip + 16);
	packet->family = 4;
	packet->ds = ip[1];
	header = (__u32)(ip[0] & 15) * 4;
	length = gs_wire_u16(ip + 2);
	if (ip[0] >> 4 != 4 || header < GS_IP4_BYTES || length < header)
		return GS_REASON_drop_bad_ip;
	protocol = ip[9];
	fragment = *(const gs_wire16 *)(ip + 6);
	packet->has_df = (fragment & GS_BE16(0x4000)) != 0;
	fragment &= GS_BE16(0x3fff); /* more fragments, offset */
	if (protocol == IPPROTO_ICMP && !fragment)
		return gs_parse_icmp(ip, end, header, length, packet);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return GS_REASON_pass_protocol;
	if (!fragment)
		return gs_parse_l4(ip, end, header, length, protocol, packet);
	packet->id = *(const gs_wire16 *)(ip + 4);
	return gs_parse_piece(ip, end, header, length, protocol, !(fragment & GS_BE16(0x1fff)),
			      packet);
}

/* header: where a fragment header is that is all there; length: as gs_parse_extensions. */
GS_INLINE enum gs_reason gs_parse_fragment(const __u8 *ip, const void *end, __u32 header,
					   __u32 length, struct gs_packet *packet)
{
	const __u8 *at = ip + header;
	__u32 before = header + GS_FRAGMENT_BYTES;

	if (before > length)
		return GS_REASON_drop_bad_ip;
	/* More headers behind it: later fragments could not say what they are pieces of. */
	if (gs_is_extension(at[0]) || at[0] == IPPROTO_FRAGMENT)
		return GS_REASON_drop_headers;
	if (at[0] != IPPROTO_TCP && at[0] != IPPROTO_UDP)
		return GS_REASON_pass_protocol;
	packet->id = *(const gs_wire32 *)(at + 4);
	return gs_parse_piece(ip, end, before, length, at[0],
			      !(*(const gs_wire16 *)(at + 2) & GS_BE16(0xfff8)), packet);
}

/*
 * Walks from *protocol, *header (as the fixed header says) to the transport header; length: the
 * packet's own claim, beyond which no header reaches. A fragment of what is neither TCP nor UDP is
 * not for a service. A fragment header of a whole packet is one more header (RFC 6946).
 */
GS_INLINE enum gs_reason gs_parse_extensions(const __u8 *ip, const void *end, __u32 length,
					     __u8 *protocol, __u32 *header,
					     struct gs_packet *packet)
{
	for (int i = 0; i <= GS_EXTENSIONS_MAX; i++) {
		const __u8 *at = ip + *header;
		int is_fragment = *protocol == IPPROTO_FRAGMENT;

		if (!is_fragment && !gs_is_extension(*protocol))
			return GS_REASON_NONE;
		if (i == GS_EXTENSIONS_MAX && !is_fragment)
			break;
		if ((const void *)(at + 8) > end)
			return GS_REASON_drop_truncated;
		if (is_fragment && *(const gs_wire16 *)(at + 2) & GS_BE16(0xfff9))
			return gs_parse_fragment(ip, end, *header, length, packet);
		*header += gs_extension_bytes(at, *protocol);
		*header = gs_unknown(*header, length) & GS_HEADERS_MASK;
		if (*header > length)
			return GS_REASON_drop_bad_ip;
		*protocol = at[0];
	}
	return GS_REASON_drop_headers;
}

GS_INLINE enum gs_reason gs_parse_ip6(const __u8 *ip, const void *end, struct gs_packet *packet)
{
	__u32 header = GS_IP6_BYTES, length;
	enum gs_reason reason;
	__u8 protocol;

	if ((const void *)(ip + GS_IP6_BYTES) > end)
		return GS_REASON_pass_truncated;
	gs_wire_addr6(packet->tuple.src, ip + 8);
	gs_wire_addr6(packet->tuple.dst, ip + 24);
	packet->family = 6;
	packet->ds = (__u8)(gs_wire_u16(ip) >> 4);
	packet->has_df = 1;
	length = GS_IP6_BYTES + gs_wire_u16(ip + 4);
	/* Mapped addresses are not for the wire: they would pass for IPv4 clients and VIPs. */
	if (ip[0] >> 4 != 6 || gs_addr_is_mapped(packet->tuple.src) ||
	    gs_addr_is_mapped(packet->tuple.dst))
		return GS_REASON_drop_bad_ip;
	protocol = ip[6];
	reason = gs_parse_extensions(ip, end, length, &protocol, &header, packet);
	if (reason != GS_REASON_NONE || packet->shape == GS_SHAPE_FIRST)
		return reason;
	header = gs_unknown(header, packet->frame_bytes) & GS_HEADERS_MASK;
	if (protocol == IPPROTO_ICMPV6)
		return gs_parse_icmp(ip, end, header, length, packet);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return GS_REASON_pass_protocol;
	return gs_parse_l4(ip, end, header, length, protocol, packet);
}

/* ---- Ethernet --------------------------------------------------------------------------------*/

/* 0x9100 is what switches called their outer tags before 802.1ad. */
GS_INLINE int gs_is_tag(__be16 type)
{
	return type == GS_BE16(ETH_P_8021Q) || type == GS_BE16(ETH_P_8021AD) ||
	       type == GS_BE16(ETH_P_QINQ1);
}

/* Of a frame that has a tag: the type behind all of them, and *ret_bytes of tags. 0: cut short; a
 * tag's type: there are too many. */
GS_INLINE __be16 gs_parse_tags(const __u8 *frame, const void *end, __u32 *ret_bytes)
{
	const __u8 *at = frame + ETH_HLEN;

	if ((const void *)(at + sizeof(struct gs_tag)) > end)
		return 0;
	*ret_bytes = sizeof(struct gs_tag);
	if (!gs_is_tag(*(const gs_wire16 *)(at + 2)))
		return *(const gs_wire16 *)(at + 2);
	if ((const void *)(at + 2 * sizeof(struct gs_tag)) > end)
		return 0;
	*ret_bytes = 2 * sizeof(struct gs_tag);
	return *(const gs_wire16 *)(at + 6);
}

/*
 * Takes the frame apart. packet: zeroed by the caller. NONE: a TCP or UDP packet or the first
 * fragment of one, all of *packet is set. A pass_ reason stands, unless packet->shape says that it
 * is ICMP which may concern a service; a drop_ reason stands only if the packet turns out to be for
 * a service (match.h finds out), drop_fragment only if nobody knows the ports (fragment.h).
 */
GS_INLINE enum gs_reason gs_parse(const void *data, const void *end, struct gs_packet *packet)
{
	const __u8 *frame = data, *ip;
	__u32 tags = 0;
	__be16 type;

	packet->frame_bytes = (__u32)((const __u8 *)end - frame);
	if ((const void *)(frame + ETH_HLEN) > end)
		return GS_REASON_pass_truncated;
	/* Flooded to everybody: an edge that sent it on would answer for the one it is for. */
	if (frame[0] & 1)
		return GS_REASON_pass_group_mac;
	type = *(const gs_wire16 *)(frame + 12);
	if (gs_is_tag(type)) {
		type = gs_parse_tags(frame, end, &tags);
		if (type == 0)
			return GS_REASON_pass_truncated;
		if (gs_is_tag(type))
			return GS_REASON_pass_vlan;
	}
	tags = gs_unknown(tags, packet->frame_bytes) & GS_TAG_BYTES_MASK;
	packet->tag_bytes = (__u16)tags;
	ip = frame + ETH_HLEN + tags;
	if (type == GS_BE16(ETH_P_IP))
		return gs_parse_ip4(ip, end, packet);
	if (type == GS_BE16(ETH_P_IPV6))
		return gs_parse_ip6(ip, end, packet);
	return GS_REASON_pass_not_ip;
}
