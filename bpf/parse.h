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

#define GS_TCP_FIN 0x01u
#define GS_TCP_SYN 0x02u
#define GS_TCP_RST 0x04u
#define GS_TCP_ACK 0x10u

struct gs_packet {
	/* Addresses are set with family; protocol and ports when gs_parse returns NONE. */
	struct gs_flow_tuple tuple __attribute__((aligned(8)));
	__u32 frame_bytes; /* as received */
	__u16 length;	   /* of the IP packet by its own header, that header included */
	__u8 family;	   /* 4, 6; 0: addresses not known */
	__u8 ds;	   /* DS field and ECN */
	__u8 tcp_flags;	   /* 0 for UDP */
	__u8 _pad[7];
};

/* IPv4 options, VLAN-less Ethernet and extension headers put fields at any even address. */
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
	if (length < GS_UDP_BYTES || length > room)
		return GS_REASON_drop_bad_l4;
	packet->tuple.src_port = *(const gs_wire16 *)l4;
	packet->tuple.dst_port = *(const gs_wire16 *)(l4 + 2);
	return GS_REASON_NONE;
}

/* ip: the IP header, header: bytes from there to the transport header, length: its own claim. */
GS_INLINE enum gs_reason gs_parse_l4(const __u8 *ip, const void *end, __u32 header, __u32 length,
				     __u8 protocol, struct gs_packet *packet)
{
	const __u8 *l4 = ip + header;

	if (length > packet->frame_bytes - ETH_HLEN)
		return GS_REASON_drop_truncated;
	packet->length = (__u16)length;
	packet->tuple.protocol = protocol;
	if (protocol == IPPROTO_TCP)
		return gs_parse_tcp(l4, end, length - header, packet);
	return gs_parse_udp(l4, end, length - header, packet);
}

GS_INLINE enum gs_reason gs_parse_ip4(const __u8 *ip, const void *end, struct gs_packet *packet)
{
	__u32 header, length;
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
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return GS_REASON_pass_protocol;
	if (*(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff)) /* more fragments, or an offset */
		return GS_REASON_drop_fragment;
	return gs_parse_l4(ip, end, header, length, protocol, packet);
}

/* Headers whose second byte is a length: walked. (The fragment header ends the walk.) */
GS_INLINE int gs_is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH;
}

/*
 * Walks from *protocol, *header (as the fixed header says) to the transport header. A fragment of
 * what is neither TCP nor UDP (nor can still become that) is not for a service.
 */
GS_INLINE enum gs_reason gs_parse_extensions(const __u8 *ip, const void *end, __u8 *protocol,
					     __u32 *header)
{
	for (int i = 0; i <= GS_EXTENSIONS_MAX; i++) {
		const __u8 *at = ip + *header;
		__u32 is_auth = *protocol == IPPROTO_AH;

		if (*protocol == IPPROTO_FRAGMENT) {
			if ((const void *)(at + 8) > end)
				return GS_REASON_drop_truncated;
			if (at[0] != IPPROTO_TCP && at[0] != IPPROTO_UDP && !gs_is_extension(at[0]))
				return GS_REASON_pass_protocol;
			return GS_REASON_drop_fragment;
		}
		if (!gs_is_extension(*protocol))
			return GS_REASON_NONE;
		if (i == GS_EXTENSIONS_MAX)
			break;
		if ((const void *)(at + 8) > end)
			return GS_REASON_drop_truncated;
		*protocol = at[0];
		/* AH counts 4-byte units less 2, the others 8-byte units less 1. One formula: a
		 * branch here doubles the verifier's paths at every turn. */
		*header += (at[1] + 1u + is_auth) << (3 - is_auth);
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
	length = GS_IP6_BYTES + gs_wire_u16(ip + 4);
	/* Mapped addresses are not for the wire: they would pass for IPv4 clients and VIPs. */
	if (ip[0] >> 4 != 6 || gs_addr_is_mapped(packet->tuple.src) ||
	    gs_addr_is_mapped(packet->tuple.dst))
		return GS_REASON_drop_bad_ip;
	protocol = ip[6];
	reason = gs_parse_extensions(ip, end, &protocol, &header);
	if (reason != GS_REASON_NONE)
		return reason;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return GS_REASON_pass_protocol;
	if (header > length)
		return GS_REASON_drop_bad_ip;
	if (length > 0xffff) /* of 65,496 .. 65,535 bytes of payload: no frame is that long */
		return GS_REASON_drop_truncated;
	return gs_parse_l4(ip, end, header, length, protocol, packet);
}

/*
 * Takes the frame apart. packet: zeroed by the caller. NONE: a TCP or UDP packet, all of *packet is
 * set. A pass_ reason stands; a drop_ reason stands only if tuple.dst turns out to be ours (match.h
 * finds out).
 */
GS_INLINE enum gs_reason gs_parse(const void *data, const void *end, struct gs_packet *packet)
{
	const __u8 *frame = data;
	__be16 type;

	packet->frame_bytes = (__u32)((const __u8 *)end - frame);
	if ((const void *)(frame + ETH_HLEN) > end)
		return GS_REASON_pass_truncated;
	type = *(const gs_wire16 *)(frame + 12);
	if (type == GS_BE16(ETH_P_IP))
		return gs_parse_ip4(frame + ETH_HLEN, end, packet);
	if (type == GS_BE16(ETH_P_IPV6))
		return gs_parse_ip6(frame + ETH_HLEN, end, packet);
	if (type == GS_BE16(ETH_P_8021Q) || type == GS_BE16(ETH_P_8021AD))
		return GS_REASON_pass_vlan;
	return GS_REASON_pass_not_ip;
}
