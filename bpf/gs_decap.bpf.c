// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The backend kit's decapsulator, for hosts without (or better off without) a tunnel device: takes
 * the outer headers off IPIP and GUE packets addressed to this host and passes the inner packet up.
 *
 *	ip link set dev eth0 xdpdrv obj gs_decap.bpf.o sec xdp
 *
 * By default any sender is believed, as an ipip device with "remote any" does. To believe only
 * edges, put their addresses into gs_decap_edges (16 bytes, IPv4 as ::ffff:a.b.c.d) and 1 into
 * gs_decap_conf, with bpftool map update. Everything that is no tunnel packet of ours passes.
 */
#include "decap.h"
#include "parse.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#define GS_AF_INET 2
#define GS_AF_INET6 10
#define GS_ECN_CE 3u

#define GS_DECAP_NONE GS_DECAP__COUNT /* nothing against it yet */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GS_DECAP__COUNT);
	__type(key, __u32);
	__type(value, __u64);
} gs_decap_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32); /* 1: only what gs_decap_edges lists */
} gs_decap_conf SEC(".maps");

struct gs_decap_addr {
	__be32 addr[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct gs_decap_addr);
	__type(value, __u32);
} gs_decap_edges SEC(".maps");

struct gs_outer {
	struct gs_decap_addr src;
	struct gs_decap_addr dst;
	__u32 room; /* bytes of the packet inside, by the outer headers */
	__u8 family;
	__u8 inner; /* 4, 6 */
	__u8 ds;
	__u8 is_gue;
};

/* By branches and not a member: the verifier needs to see one of four constants. */
GS_INLINE __u32 gs_outer_bytes(const struct gs_outer *outer)
{
	if (outer->is_gue)
		return outer->family == 4 ? GS_IP4_BYTES + GS_UDP_BYTES
					  : GS_IP6_BYTES + GS_UDP_BYTES;
	return outer->family == 4 ? GS_IP4_BYTES : GS_IP6_BYTES;
}

/*
 * udp: behind the outer IP header, outer->room: bytes from there. NONE: GUE variant 1, whose packet
 * follows at once; its first bits say so. A checksum is the kernel's to check.
 */
GS_INLINE enum gs_decap_reason gs_outer_gue(const __u8 *udp, const void *end,
					    struct gs_outer *outer)
{
	if ((const void *)(udp + GS_UDP_BYTES + 1) > end ||
	    *(const gs_wire16 *)(udp + 2) != GS_BE16(GS_GUE_PORT))
		return GS_DECAP_pass_other;
	outer->inner = udp[GS_UDP_BYTES] >> 4;
	if (outer->inner != 4 && outer->inner != 6)
		return GS_DECAP_pass_other;
	if (*(const gs_wire16 *)(udp + 6))
		return GS_DECAP_pass_transit;
	if (outer->room < GS_UDP_BYTES || gs_wire_u16(udp + 4) != outer->room)
		return GS_DECAP_drop_malformed;
	outer->room -= GS_UDP_BYTES;
	outer->is_gue = 1;
	return GS_DECAP_NONE;
}

GS_INLINE int gs_checksum_fits(const __u8 *ip)
{
	__u32 sum = 0;

	for (__u32 i = 0; i < GS_IP4_BYTES; i += 2)
		sum += *(const gs_wire16 *)(ip + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* 4, 6; 0: no tunnel of the kind we take apart */
GS_INLINE __u8 gs_inner_family(__u8 protocol)
{
	if (protocol == IPPROTO_IPIP)
		return 4;
	return protocol == IPPROTO_IPV6 ? 6 : 0;
}

/* Whole, without options, and to our port. */
GS_INLINE int gs_is_gue4(const __u8 *ip, const void *end)
{
	return (const void *)(ip + GS_IP4_BYTES + GS_PORTS_BYTES) <= end && ip[0] == 0x45 &&
	       !(*(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff)) &&
	       *(const gs_wire16 *)(ip + GS_IP4_BYTES + 2) == GS_BE16(GS_GUE_PORT);
}

GS_INLINE enum gs_decap_reason gs_outer4(const __u8 *ip, const void *end, struct gs_outer *outer)
{
	__u32 length, frame = (__u32)((const __u8 *)end - ip);

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return GS_DECAP_pass_other;
	outer->inner = gs_inner_family(ip[9]);
	if (!outer->inner && ip[9] != IPPROTO_UDP)
		return GS_DECAP_pass_other;
	/* Of UDP only what is surely GUE is ours to judge. */
	if (!outer->inner && !gs_is_gue4(ip, end))
		return GS_DECAP_pass_other;
	if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return GS_DECAP_drop_malformed;
	/* Options and fragments: edges send neither; the kernel knows what to do with them. */
	if (ip[0] != 0x45 || *(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff))
		return GS_DECAP_pass_transit;
	length = gs_wire_u16(ip + 2);
	if (length < GS_IP4_BYTES || !gs_checksum_fits(ip))
		return GS_DECAP_drop_malformed;
	if (length > frame)
		return GS_DECAP_drop_truncated;
	gs_wire_addr4(outer->src.addr, ip + 12);
	gs_wire_addr4(outer->dst.addr, ip + 16);
	outer->room = length - GS_IP4_BYTES;
	outer->family = 4;
	outer->ds = ip[1];
	return outer->inner ? GS_DECAP_NONE : gs_outer_gue(ip + GS_IP4_BYTES, end, outer);
}

GS_INLINE int gs_is_gue6(const __u8 *ip, const void *end)
{
	return (const void *)(ip + GS_IP6_BYTES + GS_PORTS_BYTES) <= end &&
	       *(const gs_wire16 *)(ip + GS_IP6_BYTES + 2) == GS_BE16(GS_GUE_PORT);
}

GS_INLINE enum gs_decap_reason gs_outer6(const __u8 *ip, const void *end, struct gs_outer *outer)
{
	__u32 frame = (__u32)((const __u8 *)end - ip);

	if ((const void *)(ip + GS_IP6_BYTES) > end)
		return GS_DECAP_pass_other;
	outer->inner = gs_inner_family(ip[6]);
	if (!outer->inner && (ip[6] != IPPROTO_UDP || !gs_is_gue6(ip, end)))
		return GS_DECAP_pass_other;
	if (ip[0] >> 4 != 6)
		return GS_DECAP_drop_malformed;
	outer->room = gs_wire_u16(ip + 4);
	if (outer->room + GS_IP6_BYTES > frame)
		return GS_DECAP_drop_truncated;
	gs_wire_addr6(outer->src.addr, ip + 8);
	gs_wire_addr6(outer->dst.addr, ip + 24);
	outer->family = 6;
	outer->ds = (__u8)(gs_wire_u16(ip) >> 4);
	return outer->inner ? GS_DECAP_NONE : gs_outer_gue(ip + GS_IP6_BYTES, end, outer);
}

/*
 * For this host? A host that does not forward is only ever sent its own packets; one that does is
 * asked for its route: a local one is not forwarded.
 */
GS_INLINE int gs_is_local(struct xdp_md *ctx, const struct gs_outer *outer)
{
	struct bpf_fib_lookup fib = {.ifindex = ctx->ingress_ifindex};
	long result;

	if (outer->family == 4) {
		fib.family = GS_AF_INET;
		fib.ipv4_src = outer->src.addr[3];
		fib.ipv4_dst = outer->dst.addr[3];
	} else {
		fib.family = GS_AF_INET6;
		__builtin_memcpy(fib.ipv6_src, outer->src.addr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, outer->dst.addr, sizeof(fib.ipv6_dst));
	}
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

GS_INLINE int gs_is_trusted(const struct gs_outer *outer)
{
	__u32 zero = 0;
	const __u32 *only = bpf_map_lookup_elem(&gs_decap_conf, &zero);

	return !only || !*only || bpf_map_lookup_elem(&gs_decap_edges, &outer->src);
}

/* RFC 6040: what routers on the way marked must reach the receiver. ip: the inner header. */
GS_INLINE enum gs_decap_reason gs_copy_mark(__u8 *ip, __u8 inner_family)
{
	gs_wire16 *word = (gs_wire16 *)ip; /* version, .., DS and ECN */
	gs_wire16 *check = (gs_wire16 *)(ip + 10);
	__u32 shift = inner_family == 4 ? 0 : 4;
	__u16 old = (__u16)GS_BE16(*word), new = old | (__u16)(GS_ECN_CE << shift);
	__u32 sum;

	if ((old >> shift & GS_ECN_CE) == 0)
		return GS_DECAP_drop_congested;
	*word = GS_BE16(new);
	if (inner_family != 4)
		return GS_DECAP_NONE;
	/* RFC 1624, equation 3 */
	sum = (__u16) ~*check + (__u32)(__u16)~GS_BE16(old) + (__u32)GS_BE16(new);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*check = (__u16)~sum;
	return GS_DECAP_NONE;
}

/* The inner header fits in and is of the family the outer one announced. */
GS_INLINE enum gs_decap_reason gs_check_inner(__u8 *ip, const void *end,
					      const struct gs_outer *outer)
{
	__u32 length;

	if ((const void *)(ip + GS_IP4_BYTES) > end || outer->room < GS_IP4_BYTES)
		return GS_DECAP_drop_truncated;
	if (ip[0] >> 4 != outer->inner)
		return GS_DECAP_drop_malformed;
	length = outer->inner == 4 ? gs_wire_u16(ip + 2) : GS_IP6_BYTES + gs_wire_u16(ip + 4);
	if (outer->inner == 6 && outer->room < GS_IP6_BYTES)
		return GS_DECAP_drop_truncated;
	if (length > outer->room)
		return GS_DECAP_drop_malformed;
	if ((outer->ds & GS_ECN_CE) == GS_ECN_CE)
		return gs_copy_mark(ip, outer->inner);
	return GS_DECAP_NONE;
}

/* The Ethernet header moves to in front of the inner packet. */
GS_INLINE enum gs_decap_reason gs_unwrap(struct xdp_md *ctx, const struct gs_outer *outer)
{
	const __u8 *from = (const __u8 *)(long)ctx->data;
	gs_wire32 macs[3], *to;

	if ((const void *)(from + ETH_HLEN) > (const void *)(long)ctx->data_end)
		return GS_DECAP_drop_truncated;
	for (int i = 0; i < 3; i++)
		macs[i] = ((const gs_wire32 *)from)[i];
	if (bpf_xdp_adjust_head(ctx, (int)gs_outer_bytes(outer)))
		return GS_DECAP_drop_truncated;
	to = (gs_wire32 *)(long)ctx->data;
	if ((void *)((__u8 *)to + ETH_HLEN) > (void *)(long)ctx->data_end)
		return GS_DECAP_drop_truncated;
	for (int i = 0; i < 3; i++)
		to[i] = macs[i];
	*(gs_wire16 *)(to + 3) = outer->inner == 4 ? GS_BE16(ETH_P_IP) : GS_BE16(ETH_P_IPV6);
	return GS_DECAP_pass_inner;
}

GS_INLINE enum gs_decap_reason gs_decapsulate(struct xdp_md *ctx)
{
	__u8 *frame = (__u8 *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	enum gs_decap_reason reason = GS_DECAP_pass_other;
	struct gs_outer outer = {0};

	if ((const void *)(frame + ETH_HLEN) > end)
		return GS_DECAP_pass_other;
	if (*(gs_wire16 *)(frame + 12) == GS_BE16(ETH_P_IP))
		reason = gs_outer4(frame + ETH_HLEN, end, &outer);
	else if (*(gs_wire16 *)(frame + 12) == GS_BE16(ETH_P_IPV6))
		reason = gs_outer6(frame + ETH_HLEN, end, &outer);
	if (reason != GS_DECAP_NONE)
		return reason;
	if (!gs_is_local(ctx, &outer))
		return GS_DECAP_pass_transit;
	if (!gs_is_trusted(&outer))
		return GS_DECAP_drop_stranger;
	reason = gs_check_inner(frame + ETH_HLEN + gs_outer_bytes(&outer), end, &outer);
	return reason == GS_DECAP_NONE ? gs_unwrap(ctx, &outer) : reason;
}

#define GS_DECAP_IS_PASS(name, verdict, text) | (XDP_##verdict == XDP_PASS) << GS_DECAP_##name

SEC("xdp")
int gs_decap(struct xdp_md *ctx)
{
	__u32 reason = gs_decapsulate(ctx);
	__u64 *count = bpf_map_lookup_elem(&gs_decap_count, &reason);

	if (count)
		(*count)++;
	return (0 GS_DECAP_REASONS(GS_DECAP_IS_PASS)) >> reason & 1 ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
