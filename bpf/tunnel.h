/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 1b: a router between here and a backend says that outer packets are too large. What it says
 * is remembered for the controller, which gives the backend another hop within a moment; where the
 * kernel gives the hop (fib.h), what was told is heeded here. The error itself is the kernel's, as
 * ever.
 *
 * Believed is only what quotes a tunnel's packet from the hop's outer source to the backend, and
 * says no more than the hop does: whoever forges one knows both addresses, and gets smaller packets
 * for ten minutes, never less than every path takes.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

/* The largest of RFC 1191's plateaus (section 7) below `length`, for routers that tell none. */
GS_INLINE __u32 gs_plateau(__u32 length)
{
	if (length > 17914)
		return 17914;
	if (length > 8166)
		return 8166;
	if (length > 4352)
		return 4352;
	if (length > 2002)
		return 2002;
	if (length > 1492)
		return 1492;
	return length > 1006 ? 1006 : GS_TUNNEL_MTU4_MIN;
}

/* "Fragmentation needed" says what fits, unless the router is an old one. 0: it says neither. */
GS_INLINE __u32 gs_told4(const __u8 *ip, const void *end)
{
	const __u8 *icmp = ip + (__u32)(ip[0] & 15) * 4;
	__u32 mtu;

	if ((const void *)(icmp + GS_ICMP_BYTES + 4) > end || icmp[0] != 3 || icmp[1] != 4)
		return 0;
	mtu = gs_wire_u16(icmp + 6);
	return mtu ? mtu : gs_plateau(gs_wire_u16(icmp + GS_ICMP_BYTES + 2));
}

/* "Packet too big"; not behind extension headers, which no router sends. */
GS_INLINE __u32 gs_told6(const __u8 *ip, const void *end)
{
	const __u8 *icmp = ip + GS_IP6_BYTES;

	if ((const void *)(icmp + GS_ICMP_BYTES) > end || ip[6] != IPPROTO_ICMPV6 || icmp[0] != 2)
		return 0;
	return GS_BE32(*(const gs_wire32 *)(icmp + 4));
}

GS_INLINE __u32 gs_told_mtu(const struct xdp_md *ctx, const struct gs_packet *packet)
{
	const __u8 *ip =
		(const __u8 *)(long)ctx->data + ETH_HLEN + (packet->tag_bytes & GS_TAG_BYTES_MASK);
	__u32 family = packet->family;
	const void *end = (const void *)(long)ctx->data_end;
	__u32 mtu;

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return 0;
	mtu = family == 4 ? gs_told4(ip, end) : gs_told6(ip, end);
	return mtu < (family == 4 ? GS_TUNNEL_MTU4_MIN : GS_TUNNEL_MTU6_MIN) ? 0 : mtu;
}

/* The outer source without the low bits that differ from flow to flow. */
GS_INLINE __be32 gs_tunnel_base(__be32 addr, __u32 spread)
{
	return addr & ~(__be32)GS_BE32((1u << (spread & 31)) - 1);
}

/*
 * Did this edge send what the error quotes? The quote is turned round: its source is `dst`. A hop
 * without a source of its own has the edge's (fib.h).
 */
GS_INLINE int gs_tunnel_is_ours(const struct gs_packet *packet, const struct gs_hop_value *hop)
{
	const __be32 *from = packet->tuple.dst;
	const struct gs_hop_value *edge;
	__u32 zero = 0;

	edge = bpf_map_lookup_elem(&hops, &zero);
	if (!edge)
		return 0;
	if (packet->family == 4) {
		if (!hop->src4)
			hop = edge;
		return gs_tunnel_base(from[3], hop->spread4) == hop->src4;
	}
	if (!(hop->src6[0] | hop->src6[1] | hop->src6[2] | hop->src6[3]))
		hop = edge;
	return from[0] == hop->src6[0] && from[1] == hop->src6[1] && from[2] == hop->src6[2] &&
	       gs_tunnel_base(from[3], hop->spread6) == hop->src6[3];
}

GS_INLINE int gs_tunnel_remember(__u32 backend, __u32 mtu)
{
	struct gs_tunnel_told told = {
		.mtu = mtu,
		.seen = (__u32)(bpf_ktime_get_ns() >> 20),
	};
	struct gs_tunnel_told *entry = bpf_map_lookup_elem(&tunnel_told, &backend);
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&tunnel_told, &zero);

	if (!entry || !count || !backend)
		return 0;
	*(volatile __u64 *)entry = (__u64)told.seen << 32 | told.mtu;
	__sync_fetch_and_add(count, 1);
	return 1;
}

/* packet: of shape QUOTES. 1: it was about one of our tunnels, and is remembered. */
__attribute__((noinline)) int gs_tunnel_hear(struct xdp_md *ctx, const struct gs_packet *packet)
{
	const struct gs_tunnel_value *tunnel;
	const struct gs_backend_value *backend;
	const struct gs_hop_value *hop;
	struct gs_tunnel_key key;
	__u32 id, hop_id, mtu;

	if (!packet || (packet->tuple.protocol == IPPROTO_UDP &&
			packet->tuple.src_port != GS_BE16(GS_GUE_PORT)))
		return 0;
	key.addr[0] = packet->tuple.src[0];
	key.addr[1] = packet->tuple.src[1];
	key.addr[2] = packet->tuple.src[2];
	key.addr[3] = packet->tuple.src[3];
	tunnel = bpf_map_lookup_elem(&tunnels, &key);
	if (!tunnel)
		return 0;
	id = tunnel->backend;
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend)
		return 0;
	hop_id = *(const volatile __u32 *)&backend->hop;
	hop = bpf_map_lookup_elem(&hops, &hop_id);
	if (!hop || !gs_tunnel_is_ours(packet, hop))
		return 0;
	mtu = gs_told_mtu(ctx, packet);
	if (!mtu || (hop->mtu && mtu > hop->mtu)) /* 0: the kernel gives the hop */
		return 0;
	return gs_tunnel_remember(id, mtu);
}

/* Bytes of the smallest packet that is ever asked of a client, as the controller has it. */
GS_INLINE __u32 gs_tunnel_floor(__u8 family)
{
	return family == 4 ? GS_TUNNEL_MTU4_MIN : GS_TUNNEL_MTU6_MIN;
}

/*
 * What the way to the backend takes of a packet of this family with `outer` bytes in front, if the
 * kernel says `mtu` of its own link: less, if a router behind it has told so lately.
 */
__attribute__((noinline)) int gs_tunnel_most(const struct gs_backend_value *backend, __u32 mtu,
					     __u32 outer, __u32 family)
{
	const struct gs_tunnel_value *tunnel;
	const struct gs_tunnel_told *entry;
	struct gs_tunnel_told told;
	struct gs_tunnel_key key;
	__u32 id, age, least = outer + gs_tunnel_floor((__u8)family);
	__u64 word;

	if (!backend)
		return (int)mtu;
	key.addr[0] = backend->addr[0];
	key.addr[1] = backend->addr[1];
	key.addr[2] = backend->addr[2];
	key.addr[3] = backend->addr[3];
	tunnel = bpf_map_lookup_elem(&tunnels, &key);
	if (!tunnel)
		return (int)mtu;
	id = tunnel->backend;
	entry = bpf_map_lookup_elem(&tunnel_told, &id);
	if (!entry || !id)
		return (int)mtu;
	word = *(const volatile __u64 *)entry;
	told.mtu = (__u32)word;
	told.seen = (__u32)(word >> 32);
	age = (__u32)(bpf_ktime_get_coarse_ns() >> 20) - told.seen;
	if (!told.mtu || (age > GS_TUNNEL_KEEPS && age <= 0x7fffffff)) /* beyond: just now */
		return (int)mtu;
	if (told.mtu < least)
		told.mtu = least;
	return (int)(told.mtu < mtu ? told.mtu : mtu);
}
