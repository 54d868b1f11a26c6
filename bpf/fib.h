/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 5a: where the maps have no next hop, the kernel's own routes and neighbours may have one. It
 * answers only where it forwards itself (net.ipv4.ip_forward, net.ipv6.conf.*.forwarding, of the
 * interface the packet came in by). The way a packet without a hop goes, and no other one.
 */
#pragma once

#include "ingress.h"
#include "parse.h"

#include "maps/gs_maps.bpf.h"

/* AF_INET and AF_INET6, whose header is not for BPF. */
#define GS_AF_INET 2
#define GS_AF_INET6 10

/* The reason why the kernel knows no hop; NONE: it does. */
GS_INLINE enum gs_reason gs_fib_reason(long answer)
{
	if (answer == BPF_FIB_LKUP_RET_SUCCESS)
		return GS_REASON_NONE;
	if (answer == BPF_FIB_LKUP_RET_NO_NEIGH)
		return GS_REASON_drop_no_neighbour;
	/* Not forwarded: no route at all, or one that ends here. */
	if (answer == BPF_FIB_LKUP_RET_BLACKHOLE || answer == BPF_FIB_LKUP_RET_UNREACHABLE ||
	    answer == BPF_FIB_LKUP_RET_PROHIBIT || answer == BPF_FIB_LKUP_RET_NOT_FWDED)
		return GS_REASON_drop_no_route;
	return GS_REASON_drop_no_hop;
}

/* Sources of outer headers: the hop's own, else the edge's (entry 0). */
GS_INLINE void gs_fib_sources(const struct gs_hop_value *own, struct gs_hop_value *hop)
{
	const struct gs_hop_value *edge;
	__u32 zero = 0;

	edge = bpf_map_lookup_elem(&hops, &zero);
	if (!edge)
		return;
	hop->src4 = own && own->src4 ? own->src4 : edge->src4;
	hop->spread4 = own && own->src4 ? own->spread4 : edge->spread4;
	if (own && (own->src6[0] | own->src6[1] | own->src6[2] | own->src6[3]))
		edge = own;
	hop->spread6 = edge->spread6;
	for (int i = 0; i < 4; i++)
		hop->src6[i] = edge->src6[i];
}

/* Leaving by a VLAN interface is leaving by its NIC, with its tags. 0; -1: not known how. */
GS_INLINE int gs_fib_link(__u32 ingress, __u32 ifindex, struct gs_hop_value *hop)
{
	const struct gs_link_value *link = bpf_map_lookup_elem(&links, &ifindex);

	hop->ifindex = ifindex;
	hop->tags = 0;
	if (!link)
		return ifindex == ingress ? 0 : -1;
	hop->ifindex = link->ifindex;
	hop->tags = link->tags;
	hop->tag[0] = link->tag[0];
	hop->tag[1] = link->tag[1];
	return 0;
}

/* No gateway: its address stands where the backend's was. */
GS_INLINE int gs_fib_is_direct(const struct bpf_fib_lookup *fib,
			       const struct gs_backend_value *backend)
{
	if (backend->family == 4)
		return fib->family == GS_AF_INET && fib->ipv4_dst == backend->addr[3];
	return fib->ipv6_dst[0] == backend->addr[0] && fib->ipv6_dst[1] == backend->addr[1] &&
	       fib->ipv6_dst[2] == backend->addr[2] && fib->ipv6_dst[3] == backend->addr[3];
}

/* hop: with its sources. */
GS_INLINE enum gs_reason gs_fib_ask(struct xdp_md *ctx, const struct gs_backend_value *backend,
				    struct gs_hop_value *hop)
{
	__u32 ingress = gs_ingress(ctx);
	struct bpf_fib_lookup fib = {.ifindex = ingress};
	enum gs_reason reason;

	if (backend->family == 4) {
		fib.family = GS_AF_INET;
		fib.ipv4_src = hop->src4;
		fib.ipv4_dst = backend->addr[3];
	} else {
		fib.family = GS_AF_INET6;
		for (int i = 0; i < 4; i++) {
			fib.ipv6_src[i] = hop->src6[i];
			fib.ipv6_dst[i] = backend->addr[i];
		}
	}
	reason = gs_fib_reason(bpf_fib_lookup(ctx, &fib, sizeof(fib), 0));
	if (reason != GS_REASON_NONE)
		return reason;
	/* To a router, with the address it was sent to: round and round. */
	if (backend->mode == GS_FORWARD_L2 && !gs_fib_is_direct(&fib, backend))
		return GS_REASON_drop_no_hop;
	if (gs_fib_link(ingress, fib.ifindex, hop))
		return GS_REASON_drop_no_hop;
	hop->mtu = fib.mtu_result;
	__builtin_memcpy(hop->dst_mac, fib.dmac, sizeof(fib.dmac));
	__builtin_memcpy(hop->src_mac, fib.smac, sizeof(fib.smac));
	return GS_REASON_NONE;
}

GS_INLINE int gs_fib_has_source(const struct gs_backend_value *backend,
				const struct gs_hop_value *hop)
{
	if (backend->mode == GS_FORWARD_L2)
		return 1;
	return backend->family == 4
		       ? hop->src4 != 0
		       : (hop->src6[0] | hop->src6[1] | hop->src6[2] | hop->src6[3]) != 0;
}

/*
 * The next hop of a backend that has none in the maps, into this CPU's entry of `asked`. NONE, or
 * why the kernel has none either.
 */
__attribute__((noinline)) int gs_fib(struct xdp_md *ctx, const struct gs_backend_value *backend)
{
	const struct gs_hop_value *own = NULL;
	struct gs_hop_value *hop;
	enum gs_reason reason;
	__u32 id = 0;

	hop = bpf_map_lookup_elem(&asked, &id);
	if (!backend || !hop)
		return GS_REASON_drop_no_hop;
	id = *(const volatile __u32 *)&backend->hop;
	if (id)
		own = bpf_map_lookup_elem(&hops, &id);
	gs_fib_sources(own, hop);
	reason = gs_fib_ask(ctx, backend, hop);
	if (reason != GS_REASON_NONE)
		return (int)reason;
	return hop->mtu && gs_fib_has_source(backend, hop) ? GS_REASON_NONE : GS_REASON_drop_no_hop;
}

/* L2 back to whoever sent it, with the address it was sent to, would go round and round. */
GS_INLINE int gs_is_resolved(const struct gs_backend_value *backend, const struct gs_hop_value *hop)
{
	return hop && hop->mtu != 0 &&
	       !(hop->flags & GS_HOP_REFLECT && backend->mode == GS_FORWARD_L2);
}

/* The backend's hop, or the one gs_fib has found for it; NULL: none. */
GS_INLINE const struct gs_hop_value *gs_hop_of(const struct gs_backend_value *backend, int is_asked)
{
	const struct gs_hop_value *hop = NULL;
	__u32 id = 0;

	if (is_asked)
		return bpf_map_lookup_elem(&asked, &id);
	id = *(const volatile __u32 *)&backend->hop;
	if (id)
		hop = bpf_map_lookup_elem(&hops, &id);
	return gs_is_resolved(backend, hop) ? hop : NULL;
}
