// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The backend kit. Coming in (XDP): takes the outer headers off IPIP and GUE packets that an edge
 * has sent to this host for one of its VIPs, and passes the packet inside up. Going out (tc, at
 * egress): makes the MSS of SYN-ACKs from a VIP so small that clients' packets fit the tunnel.
 *
 *	geostream-loader decap attach eth0 --mode native --edge 192.0.2.0/24 --vip 198.51.100.10
 *
 * What is not from an edge passes as it came: the host may have tunnels of its own. What is from an
 * edge and not for a VIP is dropped. Of packets in several buffers (jumbo frames) only the first
 * one is touched, so the program takes them.
 */
#include "parse.h"

#include "maps/gs_decap.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define GS_AF_INET 2
#define GS_AF_INET6 10
#define GS_ECN_MASK 3u
#define GS_ECN_ECT0 2u
#define GS_ECN_ECT1 1u
#define GS_ECN_CE 3u
#define GS_TCP_OPTIONS_MAX 40u
#define GS_TCP_OPTION_MSS 2u
#define GS_TCP_OPTION_MSS_BYTES 4u

#define GS_DECAP_NONE GS_DECAP__COUNT /* nothing against it yet */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gs_decap_counts);
} decap_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gs_decap_conf);
} decap_conf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, GS_DECAP_MAX_EDGES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct gs_decap_edge_key);
	__type(value, __u32);
} decap_edges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GS_DECAP_MAX_VIPS);
	__type(key, struct gs_decap_vip_key);
	__type(value, __u32);
} decap_vips SEC(".maps");

struct gs_outer {
	__be32 src[4];
	__be32 dst[4];
	__u32 room; /* bytes of the packet inside, by the outer headers */
	__u8 family;
	__u8 inner; /* 4, 6 */
	__u8 ds;
	__u8 is_gue;
};

GS_INLINE void gs_decap_count(__u32 reason)
{
	__u32 zero = 0;
	__u64 *counts = bpf_map_lookup_elem(&decap_count, &zero);

	if (counts && reason < GS_DECAP__COUNT)
		counts[reason]++;
}

GS_INLINE int gs_is_vip(const __be32 addr[4])
{
	struct gs_decap_vip_key key;

	key.addr[0] = addr[0];
	key.addr[1] = addr[1];
	key.addr[2] = addr[2];
	key.addr[3] = addr[3];
	return bpf_map_lookup_elem(&decap_vips, &key) != NULL;
}

/* ---- coming in: the outer headers ------------------------------------------------------------*/

/* By branches and not a member: the verifier needs to see one of four constants. */
GS_INLINE __u32 gs_outer_bytes(const struct gs_outer *outer)
{
	if (outer->is_gue)
		return outer->family == 4 ? GS_IP4_BYTES + GS_UDP_BYTES
					  : GS_IP6_BYTES + GS_UDP_BYTES;
	return outer->family == 4 ? GS_IP4_BYTES : GS_IP6_BYTES;
}

GS_INLINE int gs_is_edge(const struct gs_outer *outer)
{
	struct gs_decap_edge_key key = {
		.prefix_len = GS_DECAP_FAMILY_BITS + 128,
		.family = outer->family,
	};

	key.addr[0] = outer->src[0];
	key.addr[1] = outer->src[1];
	key.addr[2] = outer->src[2];
	key.addr[3] = outer->src[3];
	return bpf_map_lookup_elem(&decap_edges, &key) != NULL;
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
		fib.ipv4_src = outer->src[3];
		fib.ipv4_dst = outer->dst[3];
	} else {
		fib.family = GS_AF_INET6;
		__builtin_memcpy(fib.ipv6_src, outer->src, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, outer->dst, sizeof(fib.ipv6_dst));
	}
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	return result == BPF_FIB_LKUP_RET_NOT_FWDED || result == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

GS_INLINE enum gs_decap_reason gs_may_judge(struct xdp_md *ctx, const struct gs_outer *outer)
{
	if (!gs_is_edge(outer))
		return GS_DECAP_pass_not_edge;
	return gs_is_local(ctx, outer) ? GS_DECAP_NONE : GS_DECAP_pass_transit;
}

/*
 * udp: behind the outer IP header, outer->room: bytes from there. NONE: GUE variant 1, whose packet
 * follows at once; its first bits have said so. A checksum is the kernel's to check.
 */
GS_INLINE enum gs_decap_reason gs_outer_gue(const __u8 *udp, const void *end,
					    struct gs_outer *outer)
{
	if ((const void *)(udp + GS_UDP_BYTES) > end)
		return GS_DECAP_drop_truncated;
	if (*(const gs_wire16 *)(udp + 6))
		return GS_DECAP_pass_checksum;
	if (outer->room < GS_UDP_BYTES || gs_wire_u16(udp + 4) != outer->room)
		return GS_DECAP_drop_malformed;
	outer->room -= GS_UDP_BYTES;
	return GS_DECAP_NONE;
}

/* Of UDP only what is surely GUE, to our port and with a packet behind it, is ours to judge. */
GS_INLINE int gs_is_gue(const __u8 *udp, const void *end, struct gs_outer *outer)
{
	if ((const void *)(udp + GS_UDP_BYTES + 1) > end ||
	    *(const gs_wire16 *)(udp + 2) != GS_BE16(GS_GUE_PORT))
		return 0;
	outer->inner = udp[GS_UDP_BYTES] >> 4;
	outer->is_gue = 1;
	return outer->inner == 4 || outer->inner == 6;
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

/* Options and fragments: edges send neither; the kernel knows what to do with them. */
GS_INLINE enum gs_decap_reason gs_judge_outer4(const __u8 *ip, const void *end, __u32 frame,
					       struct gs_outer *outer)
{
	__u32 length = gs_wire_u16(ip + 2);

	if (ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return GS_DECAP_drop_malformed;
	if (*(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff))
		return GS_DECAP_pass_fragment;
	if (ip[0] != 0x45)
		return GS_DECAP_pass_options;
	if (length < GS_IP4_BYTES || !gs_checksum_fits(ip))
		return GS_DECAP_drop_malformed;
	if (length > frame)
		return GS_DECAP_drop_truncated;
	outer->room = length - GS_IP4_BYTES;
	outer->ds = ip[1];
	return outer->is_gue ? gs_outer_gue(ip + GS_IP4_BYTES, end, outer) : GS_DECAP_NONE;
}

/* frame: bytes from `ip` on, in all buffers. */
GS_INLINE enum gs_decap_reason gs_outer4(struct xdp_md *ctx, const __u8 *ip, const void *end,
					 __u32 frame, struct gs_outer *outer)
{
	enum gs_decap_reason reason;

	if ((const void *)(ip + GS_IP4_BYTES) > end)
		return GS_DECAP_pass_other;
	outer->inner = gs_inner_family(ip[9]);
	/* A piece of UDP, or UDP behind options, is not known to be GUE. */
	if (!outer->inner && (ip[9] != IPPROTO_UDP || ip[0] != 0x45 ||
			      *(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff) ||
			      !gs_is_gue(ip + GS_IP4_BYTES, end, outer)))
		return GS_DECAP_pass_other;
	outer->family = 4;
	gs_wire_addr4(outer->src, ip + 12);
	gs_wire_addr4(outer->dst, ip + 16);
	reason = gs_may_judge(ctx, outer);
	return reason == GS_DECAP_NONE ? gs_judge_outer4(ip, end, frame, outer) : reason;
}

GS_INLINE enum gs_decap_reason gs_outer6(struct xdp_md *ctx, const __u8 *ip, const void *end,
					 __u32 frame, struct gs_outer *outer)
{
	enum gs_decap_reason reason;

	if ((const void *)(ip + GS_IP6_BYTES) > end)
		return GS_DECAP_pass_other;
	outer->inner = gs_inner_family(ip[6]);
	if (!outer->inner && (ip[6] != IPPROTO_UDP || !gs_is_gue(ip + GS_IP6_BYTES, end, outer)))
		return GS_DECAP_pass_other;
	outer->family = 6;
	gs_wire_addr6(outer->src, ip + 8);
	gs_wire_addr6(outer->dst, ip + 24);
	reason = gs_may_judge(ctx, outer);
	if (reason != GS_DECAP_NONE)
		return reason;
	if (ip[0] >> 4 != 6)
		return GS_DECAP_drop_malformed;
	outer->room = gs_wire_u16(ip + 4);
	if (outer->room + GS_IP6_BYTES > frame)
		return GS_DECAP_drop_truncated;
	outer->ds = (__u8)(gs_wire_u16(ip) >> 4);
	return outer->is_gue ? gs_outer_gue(ip + GS_IP6_BYTES, end, outer) : GS_DECAP_NONE;
}

/* ---- coming in: the packet inside ------------------------------------------------------------*/

/* ip: the inner header. Its ECN bits become `ecn`, the rest of the field stays. */
GS_INLINE void gs_set_ecn(__u8 *ip, __u8 inner_family, __u32 ecn)
{
	gs_wire16 *word = (gs_wire16 *)ip; /* version, .., DS and ECN */
	gs_wire16 *check = (gs_wire16 *)(ip + 10);
	__u32 shift = inner_family == 4 ? 0 : 4;
	__u16 old = (__u16)GS_BE16(*word);
	__u16 new = (__u16)((old & ~(GS_ECN_MASK << shift)) | ecn << shift);
	__u32 sum;

	*word = GS_BE16(new);
	if (inner_family != 4)
		return;
	/* RFC 1624, equation 3 */
	sum = (__u16) ~*check + (__u32)(__u16)~GS_BE16(old) + (__u32)GS_BE16(new);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	*check = (__u16)~sum;
}

/* RFC 6040, figure 4: what routers on the way marked must reach the receiver. */
GS_INLINE enum gs_decap_reason gs_copy_mark(__u8 *ip, const struct gs_outer *outer)
{
	__u32 shift = outer->inner == 4 ? 0 : 4;
	__u32 inner = (__u32)gs_wire_u16(ip) >> shift & GS_ECN_MASK;
	__u32 marked = outer->ds & GS_ECN_MASK;

	if (marked == GS_ECN_CE && inner == 0)
		return GS_DECAP_drop_congested;
	if (marked == GS_ECN_CE && inner != GS_ECN_CE)
		gs_set_ecn(ip, outer->inner, GS_ECN_CE);
	else if (marked == GS_ECN_ECT1 && inner == GS_ECN_ECT0)
		gs_set_ecn(ip, outer->inner, GS_ECN_ECT1);
	return GS_DECAP_NONE;
}

/*
 * Is the IPv6 packet inside, of `length` bytes, a tunnel's? Its headers are followed, as the kernel
 * would; what a later fragment is of stands in its fragment header. NONE: it is not. More headers
 * than an edge follows, or such that do not end, are no good either.
 */
GS_INLINE enum gs_decap_reason gs_check_headers(const __u8 *ip, const void *end, __u32 length)
{
	__u32 header = GS_IP6_BYTES;
	__u8 protocol = ip[6];

	for (int i = 0; i <= GS_EXTENSIONS_MAX; i++) {
		const __u8 *at = ip + header;
		int is_fragment = protocol == IPPROTO_FRAGMENT;

		if (gs_inner_family(protocol))
			return GS_DECAP_drop_nested;
		if (!is_fragment && !gs_is_extension(protocol))
			return GS_DECAP_NONE;
		if (i == GS_EXTENSIONS_MAX && !is_fragment)
			break;
		if ((const void *)(at + 8) > end)
			return GS_DECAP_drop_truncated;
		if (is_fragment && *(const gs_wire16 *)(at + 2) & GS_BE16(0xfff8))
			return gs_inner_family(at[0]) ? GS_DECAP_drop_nested : GS_DECAP_NONE;
		header += gs_extension_bytes(at, protocol);
		header = gs_unknown(header, length) & GS_HEADERS_MASK;
		if (header > length)
			return GS_DECAP_drop_inner;
		protocol = at[0];
	}
	return GS_DECAP_drop_inner;
}

/* The inner header fits in, is of the family the outer one announced, and is for a VIP. */
GS_INLINE enum gs_decap_reason gs_check_inner(__u8 *ip, const void *end,
					      const struct gs_outer *outer)
{
	enum gs_decap_reason reason = GS_DECAP_NONE;
	__be32 dst[4];
	__u32 length;

	if ((const void *)(ip + GS_IP4_BYTES) > end || outer->room < GS_IP4_BYTES)
		return GS_DECAP_drop_truncated;
	if (ip[0] >> 4 != outer->inner)
		return GS_DECAP_drop_inner;
	if (outer->inner == 4) {
		length = gs_wire_u16(ip + 2);
		if ((ip[0] & 15) < 5 || length < GS_IP4_BYTES)
			return GS_DECAP_drop_inner;
		if (gs_inner_family(ip[9]))
			reason = GS_DECAP_drop_nested;
		gs_wire_addr4(dst, ip + 16);
	} else {
		if (outer->room < GS_IP6_BYTES || (const void *)(ip + GS_IP6_BYTES) > end)
			return GS_DECAP_drop_truncated;
		length = GS_IP6_BYTES + gs_wire_u16(ip + 4);
		gs_wire_addr6(dst, ip + 24);
		if (gs_addr_is_mapped(dst))
			return GS_DECAP_drop_inner;
		reason = gs_check_headers(ip, end, length);
	}
	if (length > outer->room)
		return GS_DECAP_drop_inner;
	if (reason != GS_DECAP_NONE)
		return reason;
	if (!gs_is_vip(dst))
		return GS_DECAP_drop_not_vip;
	return gs_copy_mark(ip, outer);
}

GS_INLINE enum gs_decap_reason gs_taken_out(const struct gs_outer *outer)
{
	if (outer->is_gue)
		return outer->family == 4 ? GS_DECAP_pass_gue4 : GS_DECAP_pass_gue6;
	return outer->family == 4 ? GS_DECAP_pass_ipip4 : GS_DECAP_pass_ipip6;
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
	return gs_taken_out(outer);
}

GS_INLINE enum gs_decap_reason gs_decapsulate(struct xdp_md *ctx)
{
	__u8 *frame = (__u8 *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	enum gs_decap_reason reason = GS_DECAP_pass_other;
	struct gs_outer outer = {0};
	__u32 bytes;

	if ((const void *)(frame + ETH_HLEN) > end)
		return GS_DECAP_pass_other;
	bytes = (__u32)bpf_xdp_get_buff_len(ctx) - ETH_HLEN;
	if (*(gs_wire16 *)(frame + 12) == GS_BE16(ETH_P_IP))
		reason = gs_outer4(ctx, frame + ETH_HLEN, end, bytes, &outer);
	else if (*(gs_wire16 *)(frame + 12) == GS_BE16(ETH_P_IPV6))
		reason = gs_outer6(ctx, frame + ETH_HLEN, end, bytes, &outer);
	if (reason != GS_DECAP_NONE)
		return reason;
	reason = gs_check_inner(frame + ETH_HLEN + gs_outer_bytes(&outer), end, &outer);
	return reason == GS_DECAP_NONE ? gs_unwrap(ctx, &outer) : reason;
}

#define GS_DECAP_IS_PASS(name, verdict, text) | (XDP_##verdict == XDP_PASS) << GS_DECAP_##name

SEC("xdp.frags")
int gs_decap(struct xdp_md *ctx)
{
	__u32 reason = gs_decapsulate(ctx);

	gs_decap_count(reason);
	return (0 GS_DECAP_REASONS(GS_DECAP_IS_PASS)) >> reason & 1 ? XDP_PASS : XDP_DROP;
}

/* ---- going out: the MSS ----------------------------------------------------------------------*/

/* What of a SYN-ACK is asked for; offsets from the beginning of the frame. */
struct gs_synack {
	__u32 tcp;     /* its TCP header */
	__u32 options; /* bytes behind its fixed part */
	__u32 most;    /* the largest MSS allowed */
};

/* tcp: the transport header at `offset`. Is it a SYN-ACK, and where are its options? */
GS_INLINE int gs_synack_find(const __u8 *tcp, const void *end, __u32 offset, __u32 most,
			     struct gs_synack *synack)
{
	__u32 header;

	if ((const void *)(tcp + GS_TCP_BYTES) > end)
		return 0;
	header = (__u32)(tcp[12] >> 4) * 4;
	if ((tcp[13] & (GS_TCP_SYN | GS_TCP_ACK | GS_TCP_RST)) != (GS_TCP_SYN | GS_TCP_ACK))
		return 0;
	synack->tcp = offset;
	synack->options = header > GS_TCP_BYTES ? header - GS_TCP_BYTES : 0;
	synack->most = most;
	return 1;
}

/* Whole, without extension headers: what a server's own stack sends. */
GS_INLINE int gs_synack_parse(const struct __sk_buff *skb, const struct gs_decap_conf *conf,
			      struct gs_synack *synack)
{
	const __u8 *frame = (const __u8 *)(long)skb->data;
	const void *end = (const void *)(long)skb->data_end;
	const __u8 *ip = frame + ETH_HLEN;
	__be32 src[4];

	if ((const void *)(ip + GS_IP4_BYTES + GS_TCP_BYTES) > end)
		return 0;
	if (*(const gs_wire16 *)(frame + 12) == GS_BE16(ETH_P_IP)) {
		/* A server's stack sends no options, unless it answers some. */
		__u32 header = (__u32)(ip[0] & 15) * 4;

		if (!conf->mss4 || ip[9] != IPPROTO_TCP || header < GS_IP4_BYTES ||
		    *(const gs_wire16 *)(ip + 6) & GS_BE16(0x3fff))
			return 0;
		gs_wire_addr4(src, ip + 12);
		return gs_synack_find(ip + header, end, ETH_HLEN + header, conf->mss4, synack) &&
		       gs_is_vip(src);
	}
	if (*(const gs_wire16 *)(frame + 12) != GS_BE16(ETH_P_IPV6) || !conf->mss6 ||
	    (const void *)(ip + GS_IP6_BYTES) > end || ip[6] != IPPROTO_TCP)
		return 0;
	gs_wire_addr6(src, ip + 8);
	return gs_synack_find(ip + GS_IP6_BYTES, end, ETH_HLEN + GS_IP6_BYTES, conf->mss6,
			      synack) &&
	       gs_is_vip(src);
}

/* Offset of the MSS option in the frame; 0: there is none. */
GS_INLINE __u32 gs_mss_find(struct __sk_buff *skb, const struct gs_synack *synack)
{
	__u32 at = 0;

	for (__u32 i = 0; i < GS_TCP_OPTIONS_MAX && at < synack->options; i++) {
		__u8 option[2] = {0, 0};
		__u32 offset;

		/* Always true, and what the verifier forgets there are paths by. */
		asm volatile("%0 &= 63" : "+r"(at));
		offset = synack->tcp + GS_TCP_BYTES + at;

		if (bpf_skb_load_bytes(skb, offset, option, 1) || option[0] == 0)
			return 0;
		if (option[0] == 1) {
			at++;
			continue;
		}
		if (bpf_skb_load_bytes(skb, offset, option, 2) || option[1] < 2 ||
		    at + option[1] > synack->options)
			return 0;
		if (option[0] == GS_TCP_OPTION_MSS)
			return option[1] == GS_TCP_OPTION_MSS_BYTES ? offset : 0;
		at += option[1];
	}
	return 0;
}

GS_INLINE enum gs_decap_reason gs_mss_clamp(struct __sk_buff *skb, const struct gs_synack *synack)
{
	__u32 option = gs_mss_find(skb, synack);
	__be16 old, new = GS_BE16((__u16)synack->most);

	if (!option || bpf_skb_load_bytes(skb, option + 2, &old, sizeof(old)))
		return GS_DECAP_mss_none;
	if (GS_BE16(old) <= synack->most)
		return GS_DECAP_mss_kept;
	if (bpf_skb_store_bytes(skb, option + 2, &new, sizeof(new), 0))
		return GS_DECAP_mss_none;
	/* A checksum sums words: at an odd offset the value's bytes are in two of them. */
	if ((option + 2 - synack->tcp) & 1) {
		old = __builtin_bswap16(old);
		new = __builtin_bswap16(new);
	}
	/* Without the flag for pseudo headers, so one the card will finish is left alone. */
	bpf_l4_csum_replace(skb, synack->tcp + 16, old, new, sizeof(new));
	return GS_DECAP_mss_clamped;
}

SEC("tc")
int gs_decap_mss(struct __sk_buff *skb)
{
	__u32 zero = 0;
	const struct gs_decap_conf *conf = bpf_map_lookup_elem(&decap_conf, &zero);
	struct gs_synack synack = {0};

	if (conf && gs_synack_parse(skb, conf, &synack))
		gs_decap_count(gs_mss_clamp(skb, &synack));
	/* Filters of others behind it have their say. */
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
