/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 5: to the backend, as its mode says. IPIP: in an outer IPv4 or IPv6 header (RFC 2003, RFC
 * 2473), addressed to the backend and, on the wire, to its next hop. GUE: the same behind UDP, with
 * a source port that differs from flow to flow, so that routers on the way spread them
 * (draft-ietf-intarea-gue, variant 1: the packet follows the UDP header at once). L2: as it came,
 * to the backend's own MAC. NAT: nat.h. The inner packet stays as it came, TTL and checksums
 * included: the edge stands for the backend, it is no router on the way.
 */
#pragma once

#include "answer.h"
#include "count.h"
#include "fib.h"
#include "head.h"
#include "nat.h"
#include "outer.h"
#include "spread.h"
#include "tunnel.h"

#define GS_WAY_NAT (GS_REASON_NONE + 1) /* of gs_way: as NONE, and to be translated */

/* Of the frame to send. 0; -1: the frame has no head after all. */
GS_INLINE int gs_forward_head(const struct xdp_md *ctx, const struct gs_packet *packet,
			      const struct gs_hop_value *hop, struct gs_head *ret_head)
{
	const gs_wire32 *mac = (const gs_wire32 *)hop->dst_mac; /* src_mac follows */

	if (hop->flags & GS_HOP_REFLECT)
		return gs_head_back(ctx, packet, ret_head);
	ret_head->mac[0] = mac[0];
	ret_head->mac[1] = mac[1];
	ret_head->mac[2] = mac[2];
	ret_head->tag[0] = *(const gs_wire32 *)&hop->tag[0];
	ret_head->tag[1] = *(const gs_wire32 *)&hop->tag[1];
	ret_head->tag_bytes = (hop->tags & 3) * sizeof(struct gs_tag);
	return 0;
}

GS_INLINE enum gs_reason gs_encapsulate4(struct xdp_md *ctx, const struct gs_packet *packet,
					 const struct gs_backend_value *backend,
					 const struct gs_hop_value *hop, const struct gs_head *head,
					 __u64 table_hash)
{
	__be32 src = gs_outer_src(hop->src4, hop->spread4, table_hash);
	__u8 *ip = gs_head_write(ctx, head, ETH_P_IP, GS_IP4_BYTES);

	if (!ip)
		return GS_REASON_drop_headroom;
	if (backend->mode != GS_FORWARD_GUE) {
		gs_write_outer4(ip, packet, gs_inner_protocol(packet), packet->length, src,
				backend->addr[3]);
		return GS_REASON_NONE;
	}
	if ((void *)(ip + GS_IP4_BYTES + GS_UDP_BYTES) > (void *)(long)ctx->data_end)
		return GS_REASON_drop_headroom;
	gs_write_outer4(ip, packet, IPPROTO_UDP, packet->length + GS_UDP_BYTES, src,
			backend->addr[3]);
	gs_write_gue(ip + GS_IP4_BYTES, packet, table_hash);
	return GS_REASON_NONE;
}

GS_INLINE enum gs_reason gs_encapsulate6(struct xdp_md *ctx, const struct gs_packet *packet,
					 const struct gs_backend_value *backend,
					 const struct gs_hop_value *hop, const struct gs_head *head,
					 __u64 table_hash)
{
	__u8 *ip = gs_head_write(ctx, head, ETH_P_IPV6, GS_IP6_BYTES);

	if (!ip)
		return GS_REASON_drop_headroom;
	if (backend->mode != GS_FORWARD_GUE) {
		gs_write_outer6(ip, packet, gs_inner_protocol(packet), packet->length, hop->src6,
				backend->addr);
	} else {
		if ((void *)(ip + GS_IP6_BYTES + GS_UDP_BYTES) > (void *)(long)ctx->data_end)
			return GS_REASON_drop_headroom;
		gs_write_outer6(ip, packet, IPPROTO_UDP, packet->length + GS_UDP_BYTES, hop->src6,
				backend->addr);
		gs_write_gue(ip + GS_IP6_BYTES, packet, table_hash);
	}
	if (hop->spread6)
		*(gs_wire32 *)(ip + 20) = gs_outer_src(hop->src6[3], hop->spread6, table_hash);
	return GS_REASON_NONE;
}

/*
 * The way to backend `id`. NONE: it is there, and the packet fits. A reason why it is not sent, or
 * what is sent instead, back where the packet came from. It and gs_send are functions of their own:
 * the stack has not room for all of them at once.
 */
__attribute__((noinline)) int gs_way(struct xdp_md *ctx, const struct gs_packet *packet, __u32 id,
				     struct gs_outcome *outcome)
{
	const struct gs_backend_value *backend = bpf_map_lookup_elem(&backends, &id);
	const struct gs_hop_value *hop;
	enum gs_reason reason;
	__u32 outer, mtu;

	if (!packet || !outcome || !backend)
		return GS_REASON_drop_no_backend;
	if (backend->mode < GS_FORWARD_IPIP || backend->mode > GS_FORWARD_NAT ||
	    (backend->family != 4 && backend->family != 6) ||
	    (backend->mode >= GS_FORWARD_L2 && backend->family != packet->family))
		return GS_REASON_drop_mode;
	hop = gs_hop_of(backend, 0);
	if (!hop) {
		reason = (enum gs_reason)gs_fib(ctx, backend);
		if (reason != GS_REASON_NONE)
			return reason;
		outcome->is_asked = 1;
		hop = gs_hop_of(backend, 1);
		if (!hop)
			return GS_REASON_drop_no_hop;
	}
	outer = gs_outer_size(backend);
	mtu = gs_most(hop->mtu);
	if (outer && outcome->is_asked)
		mtu = (__u32)gs_tunnel_most(backend, mtu, outer, packet->family);
	if (!gs_fits(packet->length, outer, mtu))
		return gs_too_big(ctx, packet, mtu - outer);
	return backend->mode == GS_FORWARD_NAT ? GS_WAY_NAT : GS_REASON_NONE;
}

/* NONE: the packet is ready to leave, and *outcome says where it goes. */
__attribute__((noinline)) int gs_send(struct xdp_md *ctx, const struct gs_packet *packet, __u32 id,
				      __u64 table_hash, struct gs_outcome *outcome)
{
	const struct gs_backend_value *backend = bpf_map_lookup_elem(&backends, &id);
	const struct gs_hop_value *hop;
	enum gs_reason reason = GS_REASON_NONE;
	struct gs_head head;
	__u32 outer;

	if (!packet || !outcome || !backend)
		return GS_REASON_drop_no_backend;
	hop = gs_hop_of(backend, outcome->is_asked != 0);
	if (!hop)
		return GS_REASON_drop_no_hop;
	outer = gs_outer_size(backend);
	if (gs_forward_head(ctx, packet, hop, &head) || gs_head_room(ctx, packet, &head, outer))
		return GS_REASON_drop_headroom;
	if (outer)
		reason = backend->family == 4
				 ? gs_encapsulate4(ctx, packet, backend, hop, &head, table_hash)
				 : gs_encapsulate6(ctx, packet, backend, hop, &head, table_hash);
	else if (!gs_head_write(ctx, &head, packet->family == 4 ? ETH_P_IP : ETH_P_IPV6, 0))
		reason = GS_REASON_drop_headroom;
	if (reason != GS_REASON_NONE)
		return reason;
	outcome->backend = id;
	outcome->region = backend->region;
	outcome->ifindex = hop->ifindex;
	return GS_REASON_NONE;
}

/*
 * NONE and tx_fib: the packet is ready to leave, and *outcome says where it goes. Another tx_
 * reason: something else is ready to leave, back where the packet came from. A function of its own
 * for the verifier and for the stack, of which all frames together have 512 bytes.
 */
__attribute__((noinline)) int gs_forward(struct xdp_md *ctx, const struct gs_packet *packet,
					 __u32 id, __u64 table_hash, struct gs_outcome *outcome)
{
	int reason, slot;

	if (!packet || !outcome)
		return GS_REASON_drop_no_backend;
	reason = gs_way(ctx, packet, id, outcome);
	if (reason == GS_WAY_NAT) {
		slot = gs_nat_take(ctx, packet, id, outcome->is_asked);
		reason = slot < 0 ? -slot
				  : gs_nat_out(ctx, packet, id, outcome->is_asked, (__u32)slot);
	}
	if (reason == GS_REASON_NONE)
		reason = gs_send(ctx, packet, id, table_hash, outcome);
	if (reason == GS_REASON_NONE && outcome->is_asked)
		return GS_REASON_tx_fib;
	return (enum gs_reason)reason;
}
