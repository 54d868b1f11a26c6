/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 5b: NAT, there and back. There: C:cp -> V:vp leaves as S:np -> B:bp. Back: B:bp -> S:np
 * leaves as V:vp -> C:cp, to whoever the client's packets come from. What comes for S and is no
 * reply of a flow we know is none of our business: S is the edge's own address, too.
 */
#pragma once

#include "fib.h"
#include "fragment.h"
#include "ingress.h"
#include "lease.h"
#include "nat_rewrite.h"
#include "nat_table.h"
#include "spread.h"

GS_INLINE void gs_nat_addr4(__be32 ret_addr[4], __be32 addr)
{
	ret_addr[0] = 0;
	ret_addr[1] = 0;
	ret_addr[2] = GS_BE32(0xffffu);
	ret_addr[3] = addr;
}

GS_INLINE void gs_nat_copy(__be32 ret_addr[4], const __be32 addr[4])
{
	for (int i = 0; i < 4; i++)
		ret_addr[i] = addr[i];
}

/* The largest packet the interface takes, 0: that by which this one came in. GS_MTU_MAX: nobody
 * knows. */
__attribute__((noinline)) int gs_nat_link_mtu(struct xdp_md *ctx, __u32 ifindex)
{
	__u32 mtu = 0;

	return bpf_check_mtu(ctx, ifindex, &mtu, 0, 0) < 0 ? (int)GS_MTU_MAX : (int)gs_most(mtu);
}

/* What fits into one segment of what both take; 0: not known, clamp nothing. to_backend: 0: not
 * known. */
GS_INLINE __u32 gs_nat_mss(const struct gs_packet *packet, __u32 to_client, __u32 to_backend)
{
	__u32 headers = (packet->family == 4 ? GS_IP4_BYTES : GS_IP6_BYTES) + GS_TCP_BYTES;
	__u32 mtu = to_backend && to_backend < to_client ? to_backend : to_client;

	return mtu > headers ? mtu - headers : 0;
}

/* The packet as `edit` says, its head apart. NONE, or why not. */
GS_INLINE int gs_nat_apply(struct xdp_md *ctx, const struct gs_packet *packet,
			   const struct gs_nat_edit *edit, __u32 mss)
{
	int reason;

	if (packet->shape == GS_SHAPE_QUOTES)
		return gs_nat_rewrite_quote(ctx, packet, edit);
	reason = gs_nat_rewrite(ctx, packet, edit);
	if (reason == GS_REASON_NONE && mss && packet->tcp_flags & GS_TCP_SYN)
		gs_nat_clamp(ctx, packet, mss);
	return reason;
}

/* ---- there -----------------------------------------------------------------------------------*/

/* Replies go back to where this packet came from. 0; -1: the frame has no head after all. */
GS_INLINE int gs_nat_learn(const struct xdp_md *ctx, const struct gs_packet *packet,
			   struct gs_nat_detail *detail)
{
	gs_wire32 *known = (gs_wire32 *)detail->dst_mac; /* src_mac and tags follow */
	struct gs_head head;

	if (gs_head_back(ctx, packet, &head))
		return -1;
	if (head.tag_bytes < sizeof(head.tag))
		head.tag[1] = 0;
	if (head.tag_bytes == 0)
		head.tag[0] = 0;
	if (known[0] == head.mac[0] && known[1] == head.mac[1] && known[2] == head.mac[2] &&
	    known[3] == head.tag[0] && known[4] == head.tag[1] &&
	    (detail->ifindex == ctx->ingress_ifindex || detail->ifindex == gs_ingress(ctx)))
		return 0;
	known[0] = head.mac[0];
	known[1] = head.mac[1];
	known[2] = head.mac[2];
	known[3] = head.tag[0];
	known[4] = head.tag[1];
	detail->ifindex = gs_ingress(ctx);
	return 0;
}

/* The flow's slot, noted as seen; new if need be and may be. Else minus the reason. */
GS_INLINE int gs_nat_slot(const struct gs_packet *packet, const struct gs_nat_ask *ask)
{
	int index = gs_nat_find(packet, ask);
	volatile __u64 *word = index < 0 ? NULL : gs_nat_word((__u32)index);

	if (word && packet->shape != GS_SHAPE_QUOTES)
		gs_nat_touch_out(word, packet, ask->now);
	if (word)
		return index;
	if (packet->shape != GS_SHAPE_WHOLE && packet->shape != GS_SHAPE_FIRST)
		return -GS_REASON_drop_nat_unknown;
	index = gs_nat_claim(packet, ask);
	return index >= 0 ? index : -GS_REASON_drop_nat_full;
}

/* S. 0; -1: the edge has no address of this family on the way to the backend. */
GS_INLINE int gs_nat_source_of(__be32 ret_addr[4], const struct gs_packet *packet,
			       const struct gs_hop_value *hop, __u64 hash)
{
	if (packet->family == 4) {
		gs_nat_addr4(ret_addr, gs_outer_src(hop->src4, hop->spread4, hash));
		return hop->src4 ? 0 : -1;
	}
	gs_nat_copy(ret_addr, hop->src6);
	ret_addr[3] = gs_outer_src(hop->src6[3], hop->spread6, hash);
	return hop->src6[0] | hop->src6[1] | hop->src6[2] | hop->src6[3] ? 0 : -1;
}

/* Where the backend listens. */
GS_INLINE __be16 gs_nat_port(const struct gs_packet *packet, const struct gs_backend_value *backend)
{
	return backend->port ? backend->port : packet->tuple.dst_port;
}

/*
 * The slot of a client's packet to backend `id` by this hop, noted as seen; gs_forward has found
 * the backend to be NAT's and of the packet's family. Else minus the reason. Apart from gs_nat_out,
 * or there would be too much on the stack at once.
 */
__attribute__((noinline)) int gs_nat_take(struct xdp_md *ctx, const struct gs_packet *packet,
					  __u32 id, __u32 is_asked)
{
	const struct gs_backend_value *backend = bpf_map_lookup_elem(&backends, &id);
	const struct gs_hop_value *hop = NULL;
	const struct gs_meta_value *found;
	struct gs_nat_detail *detail;
	struct gs_nat_ask ask;
	__be32 src[4];
	__u32 zero = 0;
	int index;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (backend)
		hop = gs_hop_of(backend, is_asked != 0);
	if (!packet || !backend || !hop || !found)
		return -GS_REASON_drop_no_backend;
	index = gs_nat_fault(ctx, packet);
	if (index != GS_REASON_NONE)
		return -index;
	ask.hash = gs_hash_flow(&packet->tuple, found->table_seed);
	ask.backend = id;
	ask.now = gs_nat_now();
	if (gs_nat_source_of(src, packet, hop, ask.hash))
		return -GS_REASON_drop_no_hop;
	ask.source = gs_nat_source(src, packet->tuple.protocol, found->table_seed);
	ask.plane = gs_nat_plane(backend->addr, gs_nat_port(packet, backend),
				 packet->tuple.protocol, found->table_seed, found->nat_mask);
	index = gs_nat_slot(packet, &ask);
	if (index < 0 || packet->shape == GS_SHAPE_QUOTES)
		return index;
	detail = gs_nat_detail((__u32)index);
	if (!detail)
		return -GS_REASON_drop_nat_full;
	return gs_nat_learn(ctx, packet, detail) ? -GS_REASON_drop_truncated : index;
}

/* What a fragment's id is changed by; 0: it is none. A function of its own: the stack again. */
__attribute__((noinline)) int gs_nat_piece(const struct gs_packet *packet)
{
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found || !packet ||
	    (packet->shape != GS_SHAPE_FIRST && packet->shape != GS_SHAPE_LATER))
		return 0;
	return (int)gs_nat_id(packet->tuple.src, packet->tuple.dst, packet->tuple.protocol,
			      found->table_seed);
}

/* With the slot it has. NONE: what is behind the packet's head is as it has to leave. */
__attribute__((noinline)) int gs_nat_out(struct xdp_md *ctx, const struct gs_packet *packet,
					 __u32 id, __u32 is_asked, __u32 index)
{
	const struct gs_backend_value *backend = bpf_map_lookup_elem(&backends, &id);
	const struct gs_hop_value *hop = NULL;
	const struct gs_meta_value *found;
	struct gs_nat_edit edit;
	__u32 zero = 0, mss = 0;
	__u64 hash = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (backend)
		hop = gs_hop_of(backend, is_asked != 0);
	if (!packet || !backend || !hop || !found)
		return GS_REASON_drop_no_backend;
	if (hop->spread4 | hop->spread6)
		hash = gs_hash_flow(&packet->tuple, found->table_seed);
	if (gs_nat_source_of(edit.src, packet, hop, hash))
		return GS_REASON_drop_no_hop;
	gs_nat_copy(edit.dst, backend->addr);
	edit.dst_port = gs_nat_port(packet, backend);
	edit.src_port = (__be16)GS_BE16(GS_NAT_PORT_FIRST + index % GS_NAT_SLOTS);
	edit.id = (__u32)gs_nat_piece(packet);
	if (packet->tcp_flags & GS_TCP_SYN)
		mss = gs_nat_mss(packet, (__u32)gs_nat_link_mtu(ctx, 0), gs_most(hop->mtu));
	return gs_nat_apply(ctx, packet, &edit, mss);
}

/* ---- back ------------------------------------------------------------------------------------*/

/* The table hash of the flow that this reply, as it is to be, is of. */
GS_INLINE __u64 gs_nat_reply_hash(const struct gs_nat_edit *edit, __u8 protocol, __u64 seed)
{
	struct gs_flow_tuple tuple = {0};

	gs_nat_copy(tuple.src, edit->dst);
	gs_nat_copy(tuple.dst, edit->src);
	tuple.src_port = edit->dst_port;
	tuple.dst_port = edit->src_port;
	tuple.protocol = protocol;
	return gs_hash_flow(&tuple, seed);
}

/* gs_flow_tag of it. A function of its own: in gs_nat_reply_slot there is no stack for it. */
__attribute__((noinline)) int gs_nat_reply_tag(const struct gs_nat_edit *edit, __u32 protocol)
{
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!edit || !found)
		return 0; /* no entry's */
	return (int)gs_flow_tag(gs_nat_reply_hash(edit, (__u8)protocol, found->table_seed));
}

/*
 * The slot of the flow that this packet, as a reply, is of, its entry, and the tuple it is to get;
 * -1: none, whatever *ret_edit holds by then. An ICMP error is one if what it quotes went to a
 * backend: the parser has its tuple the other way round.
 */
__attribute__((noinline)) int gs_nat_reply_slot(const struct gs_packet *packet,
						struct gs_nat_edit *ret_edit, __u64 *ret_word)
{
	const struct gs_meta_value *found;
	const struct gs_backend_value *backend;
	const struct gs_nat_detail *detail;
	union gs_flow_bits entry;
	volatile __u64 *word;
	__u32 zero = 0, index, id;
	__be16 port;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!packet || !found || !ret_edit || !ret_word)
		return -1;
	index = (__u32)(__u16)GS_BE16(packet->tuple.dst_port) - GS_NAT_PORT_FIRST;
	if (index >= GS_NAT_SLOTS)
		return -1;
	index += gs_nat_plane(packet->tuple.src, packet->tuple.src_port, packet->tuple.protocol,
			      found->table_seed, found->nat_mask) *
		 GS_NAT_SLOTS;
	word = gs_nat_word(index);
	if (!word)
		return -1;
	entry.word = *word;
	detail = gs_nat_detail(index);
	id = entry.as.backend & GS_NAT_BACKEND;
	if (!entry.as.tag || !detail ||
	    detail->source !=
		    gs_nat_source(packet->tuple.dst, packet->tuple.protocol, found->table_seed))
		return -1;
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend || backend->mode != GS_FORWARD_NAT || backend->family != packet->family ||
	    !gs_nat_same_addr(backend->addr, packet->tuple.src))
		return -1;
	gs_nat_copy(ret_edit->src, detail->vip);
	gs_nat_copy(ret_edit->dst, detail->client);
	ret_edit->src_port = detail->vip_port;
	ret_edit->dst_port = detail->client_port;
	port = backend->port ? backend->port : ret_edit->src_port;
	if (port != packet->tuple.src_port ||
	    (__u32)gs_nat_reply_tag(ret_edit, packet->tuple.protocol) != entry.as.tag)
		return -1;
	/* A reply's own id is its backend's; what an error quotes has been changed on its way. */
	ret_edit->id = packet->shape == GS_SHAPE_QUOTES
			       ? gs_nat_id(ret_edit->dst, ret_edit->src, packet->tuple.protocol,
					   found->table_seed)
			       : 0;
	*ret_word = entry.word;
	return (int)index;
}

/* The largest packet that the way to this backend takes; 0: not known. */
GS_INLINE __u32 gs_nat_mtu_of(__u32 id)
{
	const struct gs_backend_value *backend = bpf_map_lookup_elem(&backends, &id);
	const struct gs_hop_value *hop = NULL;
	__u32 hop_id = backend ? *(const volatile __u32 *)&backend->hop : 0;

	if (hop_id)
		hop = bpf_map_lookup_elem(&hops, &hop_id);
	return hop ? gs_most(hop->mtu) : 0;
}

GS_INLINE void gs_nat_head(const struct gs_nat_detail *detail, struct gs_head *ret_head)
{
	const gs_wire32 *known = (const gs_wire32 *)detail->dst_mac;

	ret_head->mac[0] = known[0];
	ret_head->mac[1] = known[1];
	ret_head->mac[2] = known[2];
	ret_head->tag[0] = known[3];
	ret_head->tag[1] = known[4];
	ret_head->tag_bytes = (ret_head->tag[0] ? sizeof(struct gs_tag) : 0) +
			      (ret_head->tag[1] ? sizeof(struct gs_tag) : 0);
}

/*
 * A RST that answers a SYN: once a connection, and never of one whose client has gone on. It has an
 * ACK; what answers a stray ACK has none (RFC 9293, 3.5.2).
 */
GS_INLINE void gs_nat_note_reset(const struct gs_packet *packet, union gs_flow_bits entry)
{
	__u32 id = entry.as.backend & GS_NAT_BACKEND;
	struct gs_syn_count *count;

	if ((packet->tcp_flags & (GS_TCP_RST | GS_TCP_ACK)) != (GS_TCP_RST | GS_TCP_ACK) ||
	    entry.as.seen & GS_FLOW_PROVEN || entry.as.backend & GS_NAT_OVER)
		return;
	count = bpf_map_lookup_elem(&count_syn, &id);
	if (count)
		count->resets++;
}

/* The backend has taken a connection: if a breaker's trial was spent on it, something came of that,
 * and no client can make it up. edit: of the reply. */
__attribute__((noinline)) int gs_nat_note_answer(const struct gs_nat_edit *edit)
{
	const struct gs_meta_value *found;
	struct gs_lease_value *lease;
	__u32 zero = 0;
	__u64 hash;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found || !edit)
		return 0;
	hash = gs_nat_reply_hash(edit, IPPROTO_TCP, found->table_seed);
	lease = bpf_map_lookup_elem(&leases, &hash);
	if (lease)
		lease->answered = 1;
	return 0;
}

/*
 * A packet for no service. -1: no reply of a flow we know. NONE: ready to leave by *ret_ifindex. A
 * reason: not sent.
 */
__attribute__((noinline)) int gs_nat_back(struct xdp_md *ctx, const struct gs_packet *packet,
					  __u32 *ret_ifindex)
{
	union gs_flow_bits entry = {.word = 0};
	struct gs_nat_detail *detail;
	struct gs_nat_edit edit = {0};
	volatile __u64 *word;
	struct gs_head head;
	__u32 mtu, mss = 0;
	int index, reason;

	if (!packet || !ret_ifindex)
		return -1;
	index = gs_nat_reply_slot(packet, &edit, &entry.word);
	if (index < 0)
		return -1;
	detail = gs_nat_detail((__u32)index);
	word = gs_nat_word((__u32)index);
	if (!detail || !word)
		return -1;
	reason = gs_nat_fault(ctx, packet);
	if (reason != GS_REASON_NONE)
		return reason;
	mtu = (__u32)gs_nat_link_mtu(ctx, detail->ifindex);
	if (packet->length > mtu)
		return gs_too_big(ctx, packet, mtu);
	gs_nat_head(detail, &head);
	*ret_ifindex = detail->ifindex;
	if (packet->shape != GS_SHAPE_QUOTES) {
		gs_nat_note_reset(packet, entry);
		gs_nat_touch_back(word, entry, packet, gs_nat_now());
		if ((packet->tcp_flags & (GS_TCP_SYN | GS_TCP_ACK)) == (GS_TCP_SYN | GS_TCP_ACK))
			gs_nat_note_answer(&edit);
	}
	if (packet->shape == GS_SHAPE_FIRST)
		gs_fragment_remember(packet);
	if (packet->tcp_flags & GS_TCP_SYN)
		mss = gs_nat_mss(packet, mtu, gs_nat_mtu_of(entry.as.backend & GS_NAT_BACKEND));
	reason = gs_nat_apply(ctx, packet, &edit, mss);
	if (reason != GS_REASON_NONE)
		return reason;
	if (gs_head_room(ctx, packet, &head, 0) ||
	    !gs_head_write(ctx, &head, packet->family == 4 ? ETH_P_IP : ETH_P_IPV6, 0))
		return GS_REASON_drop_headroom;
	return GS_REASON_NONE;
}
