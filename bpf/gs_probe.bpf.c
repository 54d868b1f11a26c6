// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Wraps what a probing socket sends as the packet path wraps what clients send, and sends it to the
 * same next hop. At the egress of a device of the controller's own (user/adapters/detour.c), which
 * nothing but marked packets is routed to: no other packet of the machine meets this program.
 *
 * Checksums may still be the NIC's to fill in, and are: the kernel is told what is inside.
 */
#include "outer.h"
#include "spread.h"

#include "maps/gs_probe.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GS_MAX_BACKENDS);
	__type(key, __u32);
	__type(value, struct gs_backend_value);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GS_MAX_HOPS);
	__type(key, __u32);
	__type(value, struct gs_hop_value);
} hops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gs_wrap_counts);
} probe_count SEC(".maps");

struct probe {
	struct gs_packet packet; /* family, length, ds */
	const struct gs_backend_value *backend;
	const struct gs_hop_value *hop;
	__u32 outer; /* bytes of outer headers */
	__u64 hash;  /* of the flow */
};

/* What the kernel needs to know to finish checksums behind new headers. */
GS_INLINE __u64 room_flags(const struct gs_backend_value *backend)
{
	__u64 flags =
		backend->family == 4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;

	return backend->mode == GS_FORWARD_GUE ? flags | BPF_F_ADJ_ROOM_ENCAP_L4_UDP : flags;
}

/* 0; -1: it is not whole. */
GS_INLINE int read_packet(struct __sk_buff *skb, struct gs_packet *packet)
{
	const __u8 *ip = (const __u8 *)(long)skb->data + ETH_HLEN;
	const void *end = (const void *)(long)skb->data_end;
	__u32 length, least;

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return -1;
	if (skb->protocol == GS_BE16(ETH_P_IP) && ip[0] >> 4 == 4) {
		packet->family = 4;
		packet->ds = ip[1];
		length = gs_wire_u16(ip + 2);
		least = (__u32)(ip[0] & 15) * 4;
		if (least < GS_IP4_BYTES)
			return -1;
	} else if (skb->protocol == GS_BE16(ETH_P_IPV6) && ip[0] >> 4 == 6) {
		packet->family = 6;
		packet->ds = (__u8)(gs_wire_u16(ip) >> 4);
		length = gs_wire_u16(ip + 4) + GS_IP6_BYTES;
		least = GS_IP6_BYTES;
	} else {
		return -1;
	}
	packet->length = (__u16)length;
	return length < least || length > GS_MTU_MAX || length + ETH_HLEN != skb->len ? -1 : 0;
}

/* `sent`: nothing is in the way. */
GS_INLINE enum gs_wrap_reason judge(struct __sk_buff *skb, __u32 id, struct probe *probe)
{
	const struct gs_backend_value *backend;
	__u32 hop_id;

	if (read_packet(skb, &probe->packet))
		return GS_WRAP_drop_malformed;
	backend = bpf_map_lookup_elem(&backends, &id);
	if (!backend || !id || backend->mode == GS_FORWARD_NONE)
		return GS_WRAP_drop_no_backend;
	if (backend->mode > GS_FORWARD_L2 || (backend->family != 4 && backend->family != 6) ||
	    (backend->mode == GS_FORWARD_L2 && backend->family != probe->packet.family))
		return GS_WRAP_drop_mode;
	hop_id = *(const volatile __u32 *)&backend->hop;
	probe->backend = backend;
	probe->hop = bpf_map_lookup_elem(&hops, &hop_id);
	/* Nobody has sent the probe to whom it could be returned. */
	if (!hop_id || !probe->hop || !probe->hop->mtu || !probe->hop->ifindex ||
	    probe->hop->flags & GS_HOP_REFLECT)
		return GS_WRAP_drop_no_hop;
	probe->outer = gs_outer_size(backend);
	return gs_fits(probe->packet.length, probe->outer, probe->hop->mtu) ? GS_WRAP_sent
									    : GS_WRAP_drop_too_big;
}

/* Outer headers where there is room for them now. 0; -1: there is none. */
GS_INLINE int write4(struct __sk_buff *skb, const struct probe *probe)
{
	__u8 *ip = (__u8 *)(long)skb->data + ETH_HLEN;
	const struct gs_backend_value *backend = probe->backend;
	__be32 src = gs_outer_src(probe->hop->src4, probe->hop->spread4, probe->hash);
	const void *end = (const void *)(long)skb->data_end;

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return -1;
	*(gs_wire16 *)(ip - 2) = GS_BE16(ETH_P_IP);
	if (backend->mode != GS_FORWARD_GUE) {
		gs_write_outer4(ip, &probe->packet, gs_inner_protocol(&probe->packet),
				probe->packet.length, src, backend->addr[3]);
		return 0;
	}
	if ((const void *)(ip + GS_IP4_BYTES + GS_UDP_BYTES) > end)
		return -1;
	gs_write_outer4(ip, &probe->packet, IPPROTO_UDP, probe->packet.length + GS_UDP_BYTES, src,
			backend->addr[3]);
	gs_write_gue(ip + GS_IP4_BYTES, &probe->packet, probe->hash);
	return 0;
}

GS_INLINE int write6(struct __sk_buff *skb, const struct probe *probe)
{
	__u8 *ip = (__u8 *)(long)skb->data + ETH_HLEN;
	const struct gs_backend_value *backend = probe->backend;
	const void *end = (const void *)(long)skb->data_end;

	if ((const void *)(ip + GS_IP6_BYTES) > end)
		return -1;
	*(gs_wire16 *)(ip - 2) = GS_BE16(ETH_P_IPV6);
	if (backend->mode != GS_FORWARD_GUE) {
		gs_write_outer6(ip, &probe->packet, gs_inner_protocol(&probe->packet),
				probe->packet.length, probe->hop->src6, backend->addr);
	} else {
		if ((const void *)(ip + GS_IP6_BYTES + GS_UDP_BYTES) > end)
			return -1;
		gs_write_outer6(ip, &probe->packet, IPPROTO_UDP,
				probe->packet.length + GS_UDP_BYTES, probe->hop->src6,
				backend->addr);
		gs_write_gue(ip + GS_IP6_BYTES, &probe->packet, probe->hash);
	}
	if (probe->hop->spread6)
		*(gs_wire32 *)(ip + 20) =
			gs_outer_src(probe->hop->src6[3], probe->hop->spread6, probe->hash);
	return 0;
}

/* MACs, then tags, the inner one first. 0; -1: no room. */
GS_INLINE int write_head(struct __sk_buff *skb, const struct gs_hop_value *hop)
{
	if (bpf_skb_store_bytes(skb, 0, hop->dst_mac, 2 * ETH_ALEN, 0)) /* src_mac follows */
		return -1;
	if (hop->tags > 1 && bpf_skb_vlan_push(skb, hop->tag[1].protocol, GS_BE16(hop->tag[1].tci)))
		return -1;
	if (hop->tags && bpf_skb_vlan_push(skb, hop->tag[0].protocol, GS_BE16(hop->tag[0].tci)))
		return -1;
	return 0;
}

GS_INLINE enum gs_wrap_reason wrap(struct __sk_buff *skb, __u32 id, struct probe *probe)
{
	enum gs_wrap_reason reason = judge(skb, id, probe);
	const struct gs_hop_value *hop = probe->hop;

	if (reason != GS_WRAP_sent || !hop)
		return reason;
	probe->hash = bpf_get_hash_recalc(skb);
	if (probe->outer) {
		if (bpf_skb_adjust_room(skb, (__s32)probe->outer, BPF_ADJ_ROOM_MAC,
					room_flags(probe->backend)))
			return GS_WRAP_drop_room;
		if (probe->backend->family == 4 ? write4(skb, probe) : write6(skb, probe))
			return GS_WRAP_drop_room;
	}
	return write_head(skb, hop) ? GS_WRAP_drop_room : GS_WRAP_sent;
}

GS_INLINE void count(enum gs_wrap_reason reason)
{
	__u32 zero = 0;
	__u64 *counts = bpf_map_lookup_elem(&probe_count, &zero);

	if (counts && reason < GS_WRAP__COUNT)
		counts[reason]++;
}

SEC("tc")
int gs_probe(struct __sk_buff *skb)
{
	struct probe probe = {.outer = 0};
	enum gs_wrap_reason reason;

	if ((skb->mark & GS_PROBE_MARK_MASK) != GS_PROBE_MARK) {
		count(GS_WRAP_pass_mark);
		return TC_ACT_OK;
	}
	reason = wrap(skb, skb->mark & ~GS_PROBE_MARK_MASK, &probe);
	count(reason);
	if (reason != GS_WRAP_sent || !probe.hop)
		return TC_ACT_SHOT;
	skb->mark = 0;
	return (int)bpf_redirect(probe.hop->ifindex, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
