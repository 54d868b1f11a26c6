/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Step 2: destination -> service. */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

GS_INLINE const struct gs_service_value *gs_match_find(const struct gs_packet *packet, __be16 port,
						       __u8 protocol, __u8 marker)
{
	struct gs_service_key key = {.port = port, .protocol = protocol, .marker = marker};

	key.addr[0] = packet->tuple.dst[0];
	key.addr[1] = packet->tuple.dst[1];
	key.addr[2] = packet->tuple.dst[2];
	key.addr[3] = packet->tuple.dst[3];
	return bpf_map_lookup_elem(&services, &key);
}

/* ---- the cache --------------------------------------------------------------------------------*/

/* Where this CPU's cache has what the packet's destination is, if it has it. */
GS_INLINE struct gs_service_cached *gs_match_place(const struct gs_packet *packet)
{
	const struct gs_flow_tuple *t = &packet->tuple;
	__u64 h = gs_hash_pair(t->dst[0], t->dst[1]) * 0x9e3779b97f4a7c15ULL;
	__u32 index;

	h ^= gs_hash_pair(t->dst[2], t->dst[3]) ^ (__u64)t->dst_port << 32 ^ t->protocol;
	index = (__u32)(h * 0xd6e8feb86659fd93ULL >> 56) % GS_SERVICE_CACHE;
	return bpf_map_lookup_elem(&service_cache, &index);
}

/* Of `services` now; 0: nothing may be cached. */
GS_INLINE __u32 gs_match_epoch(void)
{
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	return found ? *(const volatile __u32 *)&found->services_epoch : 0;
}

GS_INLINE int gs_match_is(const struct gs_service_cached *cached, const struct gs_packet *packet,
			  __u32 epoch)
{
	const struct gs_flow_tuple *t = &packet->tuple;
	const __be32 *addr = cached->key.addr;
	__be32 differs = (addr[0] ^ t->dst[0]) | (addr[1] ^ t->dst[1]) | (addr[2] ^ t->dst[2]) |
			 (addr[3] ^ t->dst[3]);

	differs |= (__be32)(cached->key.port ^ t->dst_port) |
		   (__be32)(cached->key.protocol ^ t->protocol) | (cached->epoch ^ epoch);
	return !differs && epoch;
}

/*
 * Looks the packet's service up, exact port before every port, and puts it into the cache. 1: there
 * is one. A function of its own: what follows it is gone through once. The epoch is read before the
 * look-up: a change meanwhile makes the entry old at once.
 */
__attribute__((noinline)) int gs_match_fill(const struct gs_packet *packet)
{
	const struct gs_service_value *found;
	struct gs_service_cached *cached;
	__u32 epoch = gs_match_epoch();

	if (!packet)
		return 0;
	found = gs_match_find(packet, packet->tuple.dst_port, packet->tuple.protocol, 0);
	if (!found)
		found = gs_match_find(packet, 0, packet->tuple.protocol, 0);
	cached = gs_match_place(packet);
	if (!found || !cached)
		return 0;
	cached->key.addr[0] = packet->tuple.dst[0];
	cached->key.addr[1] = packet->tuple.dst[1];
	cached->key.addr[2] = packet->tuple.dst[2];
	cached->key.addr[3] = packet->tuple.dst[3];
	cached->key.port = packet->tuple.dst_port;
	cached->key.protocol = packet->tuple.protocol;
	cached->value = *found;
	cached->epoch = epoch;
	return 1;
}

/* Of the cache alone; NULL: it does not know. */
GS_INLINE const struct gs_service_value *gs_match_cached(const struct gs_packet *packet)
{
	const struct gs_service_cached *cached = gs_match_place(packet);

	return cached && gs_match_is(cached, packet, gs_match_epoch()) ? &cached->value : NULL;
}

/* The service; NULL: none. */
GS_INLINE const struct gs_service_value *gs_match(const struct gs_packet *packet)
{
	const struct gs_service_cached *cached = gs_match_place(packet);

	if (!cached || (!gs_match_is(cached, packet, gs_match_epoch()) && !gs_match_fill(packet)))
		return NULL;
	return &cached->value;
}

/* Is a faulty packet without a port one of an address and protocol that a service has? */
GS_INLINE int gs_match_concerns(const struct gs_packet *packet)
{
	__u8 protocol = packet->tuple.protocol;

	if (protocol)
		return gs_match_find(packet, 0, protocol, 1) != NULL;
	return gs_match_find(packet, 0, IPPROTO_TCP, 1) || gs_match_find(packet, 0, IPPROTO_UDP, 1);
}

#define GS_FAULT_REASON 0xffu
#define GS_FAULT_SERVICE 8 /* shift */

/*
 * What the parser holds against a packet counts only where a service of ours is concerned. The
 * reason to count; above it, if its port is known, the service. A function of its own: the verifier
 * goes through it once, and not once for every fault there is.
 */
__attribute__((noinline)) int gs_match_fault(const struct gs_packet *packet, __u32 fault)
{
	const struct gs_service_value *found;
	__u32 service = 0;

	if (!packet || fault < GS_REASON_drop_bad_ip) /* a pass_ reason: whosever it is */
		return (int)fault;
	if (packet->has_ports) {
		found = gs_match(packet);
		service = found ? found->service : 0;
	}
	if (service || (!packet->has_ports && gs_match_concerns(packet)))
		return (int)(fault | service << GS_FAULT_SERVICE);
	if (fault == GS_REASON_drop_bad_ip)
		return GS_REASON_pass_bad_ip;
	if (fault == GS_REASON_drop_fragment || packet->shape != GS_SHAPE_WHOLE)
		return GS_REASON_pass_fragment;
	return GS_REASON_pass_not_service;
}
