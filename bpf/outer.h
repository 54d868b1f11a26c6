/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The bytes of outer headers: IPIP and GUE in either family, of clients' packets (forward.h) and of
 * probes (gs_probe.bpf.c) alike.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.h"

#define GS_OUTER_TTL 64

/* Bytes in front of the packet; 0 for what has no outer header. */
GS_INLINE __u32 gs_outer_size(const struct gs_backend_value *backend)
{
	if (backend->mode == GS_FORWARD_L2 || backend->mode == GS_FORWARD_NAT)
		return 0;
	return (backend->family == 4 ? GS_IP4_BYTES : GS_IP6_BYTES) +
	       (backend->mode == GS_FORWARD_GUE ? GS_UDP_BYTES : 0);
}

/* What of the packet's protocol number the outer header names in IPIP. */
GS_INLINE __u16 gs_inner_protocol(const struct gs_packet *packet)
{
	return packet->family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

/* The one's complement sum of RFC 1071 over the outer header's fields that are not constant 0. */
GS_INLINE __be16 gs_outer_checksum(__be16 version_ds, __be16 length, __be16 ttl_protocol,
				   __be32 src, __be32 dst)
{
	__u32 sum = version_ds;

	sum += length;
	sum += GS_BE16(0x4000);
	sum += ttl_protocol;
	sum += src & 0xffff;
	sum += src >> 16;
	sum += dst & 0xffff;
	sum += dst >> 16;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__be16)~sum;
}

/* protocol: of what follows; payload: its bytes. */
GS_INLINE void gs_write_outer4(__u8 *ip, const struct gs_packet *packet, __u16 protocol,
			       __u32 payload, __be32 src, __be32 dst)
{
	__be16 version_ds = GS_BE16((__u16)(0x4500 | packet->ds));
	__be16 length = GS_BE16((__u16)(payload + GS_IP4_BYTES));
	__be16 ttl_protocol = GS_BE16((__u16)(GS_OUTER_TTL << 8 | protocol));

	*(gs_wire16 *)ip = version_ds;
	*(gs_wire16 *)(ip + 2) = length;
	*(gs_wire32 *)(ip + 4) = GS_BE32(0x4000u); /* id 0, don't fragment */
	*(gs_wire16 *)(ip + 8) = ttl_protocol;
	*(gs_wire16 *)(ip + 10) = gs_outer_checksum(version_ds, length, ttl_protocol, src, dst);
	*(gs_wire32 *)(ip + 12) = src;
	*(gs_wire32 *)(ip + 16) = dst;
}

GS_INLINE void gs_write_outer6(__u8 *ip, const struct gs_packet *packet, __u16 protocol,
			       __u32 payload, const __be32 src[4], const __be32 dst[4])
{
	*(gs_wire32 *)ip = GS_BE32(6u << 28 | (__u32)packet->ds << 20);
	*(gs_wire32 *)(ip + 4) = GS_BE32(payload << 16 | (__u32)protocol << 8 | GS_OUTER_TTL);
	gs_wire_addr6((__be32 *)(ip + 8), (const __u8 *)src);
	gs_wire_addr6((__be32 *)(ip + 24), (const __u8 *)dst);
}

/*
 * 14 bits of the flow's, in the dynamic ports. The hash is secret (it decides about buckets), and
 * the port is seen on the way: so they are bits of a product and none of its own.
 */
GS_INLINE __u16 gs_gue_port(__u64 table_hash)
{
	return (__u16)(0xc000u | (__u32)(table_hash * 0x9e3779b97f4a7c15ULL >> 50));
}

/* Without a checksum: the packet inside has its own (RFC 768; over IPv6 RFC 6935 and 6936). */
GS_INLINE void gs_write_gue(__u8 *udp, const struct gs_packet *packet, __u64 table_hash)
{
	*(gs_wire16 *)udp = GS_BE16(gs_gue_port(table_hash));
	*(gs_wire16 *)(udp + 2) = GS_BE16(GS_GUE_PORT);
	*(gs_wire32 *)(udp + 4) = GS_BE32((__u32)(packet->length + GS_UDP_BYTES) << 16);
}
