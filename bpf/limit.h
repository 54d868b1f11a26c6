/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 2b: who may come in, and how much. Access rules, then token buckets of the client prefix,
 * the service and the region. What buckets are, and the two places of a client, is described at
 * struct gs_limit_block in maps/gs_maps.h.
 *
 * No update is lost: a word that another CPU has changed meanwhile gets the token added. What CPUs
 * can do together is to see one last token at once: each may let one packet through beyond a limit.
 */
#pragma once

#include "locate.h"

/* ---- buckets ---------------------------------------------------------------------------------*/

GS_INLINE __u64 *gs_limit_word(__u32 block, __u32 word)
{
	struct gs_limit_block *found = bpf_map_lookup_elem(&limits, &block);

	return found ? &found->word[word % GS_LIMIT_WORDS] : NULL;
}

/* The coarse clock is a few ms behind, which is nothing in a bucket of a second. */
GS_INLINE __u64 gs_limit_now(void)
{
	return bpf_ktime_get_coarse_ns() << GS_LIMIT_CLOCK_SHIFT;
}

/* rate: not 0 */
GS_INLINE __u32 gs_limit_token(__u32 rate)
{
	return GS_LIMIT_SECOND / rate;
}

GS_INLINE int gs_limit_has(__u64 used, __u32 token, __u64 now)
{
	return used <= now + GS_LIMIT_SECOND - token;
}

GS_INLINE __u64 gs_limit_with(__u64 used, __u32 token, __u64 now)
{
	return (used > now ? used : now) + token;
}

GS_INLINE void gs_limit_set(__u64 *word, __u64 old, __u64 new, __u32 token)
{
	if (__sync_val_compare_and_swap(word, old, new) != old)
		__sync_fetch_and_add(word, token);
}

/* 1: a token was there, and is taken. rate 0: there is no limit. */
GS_INLINE int gs_limit_take(__u64 *word, __u32 rate, __u64 now)
{
	__u32 token;
	__u64 used;

	if (!rate || !word)
		return 1;
	token = gs_limit_token(rate);
	used = *(const volatile __u64 *)word;
	if (!gs_limit_has(used, token, now))
		return 0;
	gs_limit_set(word, used, gs_limit_with(used, token, now), token);
	return 1;
}

/* The same of two places, of which the emptier counts. Both are read before either is written: the
 * CPU waits for both cache lines at once. */
GS_INLINE int gs_limit_take_of_two(__u64 *first, __u64 *second, __u32 rate, __u64 now)
{
	const __u32 token = gs_limit_token(rate);
	__u64 used1 = *(const volatile __u64 *)first, used2 = *(const volatile __u64 *)second, used;

	used = used1 < used2 ? used1 : used2;
	if (!gs_limit_has(used, token, now))
		return 0;
	used = gs_limit_with(used, token, now);
	if (used1 < used)
		gs_limit_set(first, used1, used, token);
	if (used2 < used)
		gs_limit_set(second, used2, used, token);
	return 1;
}

/* ---- the client's prefix ---------------------------------------------------------------------*/

/* The first `bits` of 64, host byte order. */
GS_INLINE __u64 gs_limit_mask(__u32 bits)
{
	return bits >= 64 ? ~0ull : ~(~0ull >> bits);
}

/* As in struct gs_service_key, host bits zero. Clients in 6to4 and NAT64 are their IPv4 address, as
 * for their location. */
GS_INLINE void gs_limit_prefix(const struct gs_packet *packet,
			       const struct gs_service_value *service, __be32 ret_addr[4])
{
	const __be32 *src = packet->tuple.src;
	const __u64 *wide = (const __u64 *)packet->tuple.src;
	__u32 bits = service->limit6;
	__be32 ip4 = src[3];

	if (packet->family == 4 || gs_locate_embedded(src, &ip4)) {
		ret_addr[0] = 0;
		ret_addr[1] = 0;
		ret_addr[2] = GS_BE32(0xffff);
		ret_addr[3] = ip4 & (__be32)GS_BE32((__u32)(gs_limit_mask(service->limit4) >> 32));
		return;
	}
	((__u64 *)ret_addr)[0] = wide[0] & GS_BE64(gs_limit_mask(bits));
	((__u64 *)ret_addr)[1] = bits > 64 ? wide[1] & GS_BE64(gs_limit_mask(bits - 64)) : 0;
}

/* 1: the client's prefix has not used up `rate` a second, and has one less now. */
GS_INLINE int gs_limit_client(const struct gs_packet *packet,
			      const struct gs_service_value *service, enum gs_limit_kind kind,
			      __u32 rate, __u64 now)
{
	const __u32 mask = (1u << GS_LIMIT_HALF_BITS) - 1;
	__be32 prefix[4] __attribute__((aligned(8)));
	const struct gs_meta_value *found;
	__u64 *first, *second, hash;
	__u32 zero = 0, place1, place2;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return 1;
	gs_limit_prefix(packet, service, prefix);
	hash = gs_hash_limit(prefix, service->service, kind, found->table_seed);
	place1 = (__u32)hash & mask;
	place2 = (__u32)(hash >> 32) & mask;
	first = gs_limit_word(GS_LIMIT_CLIENT_BLOCK + place1 / GS_LIMIT_WORDS, place1);
	second = gs_limit_word(
		GS_LIMIT_CLIENT_BLOCK + GS_LIMIT_HALF_BLOCKS + place2 / GS_LIMIT_WORDS, place2);
	return !first || !second || gs_limit_take_of_two(first, second, rate, now);
}

/* ---- access rules ----------------------------------------------------------------------------*/

/* A rule found: its prefix's length and whether it allows. */
struct gs_access_rule {
	__s16 length; /* -1: none */
	__u16 allow;
};

GS_INLINE void gs_access_weigh(const struct gs_access_value *found, struct gs_access_rule *best)
{
	if (!found || found->length <= best->length)
		return;
	best->length = found->length;
	best->allow = found->allow;
}

/* The service's own is asked first: of two as long it stays. */
GS_INLINE void gs_access_ip4(__be32 addr, __u32 service, __u32 at, __u32 asks,
			     struct gs_access_rule *best)
{
	struct gs_access4_key key = {.prefix_len = GS_ACCESS_FIXED_BITS + 32, .addr = addr};
	void *table;

	if (!(asks & (GS_ASK_ACCESS4_ALL | GS_ASK_ACCESS4_OWN)))
		return;
	table = bpf_map_lookup_elem(&access4, &at);
	if (!table)
		return;
	if (asks & GS_ASK_ACCESS4_OWN) {
		key.service = (__u16)service;
		gs_access_weigh(bpf_map_lookup_elem(table, &key), best);
	}
	if (asks & GS_ASK_ACCESS4_ALL) {
		key.service = 0;
		gs_access_weigh(bpf_map_lookup_elem(table, &key), best);
	}
}

GS_INLINE void gs_access_ip6(const __be32 addr[4], __u32 service, __u32 at, __u32 asks,
			     struct gs_access_rule *best)
{
	struct gs_access6_key key = {.prefix_len = GS_ACCESS_FIXED_BITS + 128,
				     .addr = {addr[0], addr[1], addr[2], addr[3]}};
	void *table;

	if (!(asks & (GS_ASK_ACCESS6_ALL | GS_ASK_ACCESS6_OWN)))
		return;
	table = bpf_map_lookup_elem(&access6, &at);
	if (!table)
		return;
	if (asks & GS_ASK_ACCESS6_OWN) {
		key.service = (__u16)service;
		gs_access_weigh(bpf_map_lookup_elem(table, &key), best);
	}
	if (asks & GS_ASK_ACCESS6_ALL) {
		key.service = 0;
		gs_access_weigh(bpf_map_lookup_elem(table, &key), best);
	}
}

/* A rule of an IPv6 prefix holds for the 6to4 and NAT64 clients in it; if there is none, that of
 * the IPv4 address inside. */
GS_INLINE struct gs_access_rule gs_access(const struct gs_packet *packet, __u32 service, __u32 at,
					  __u32 asks)
{
	struct gs_access_rule best = {.length = -1, .allow = 1};
	__be32 ip4 = packet->tuple.src[3];

	if (packet->family == 6)
		gs_access_ip6(packet->tuple.src, service, at, asks, &best);
	if (packet->family == 4 || (best.length < 0 && gs_locate_embedded(packet->tuple.src, &ip4)))
		gs_access_ip4(ip4, service, at, asks, &best);
	return best;
}

/* ---- a packet, a new flow, a region ----------------------------------------------------------*/

#define GS_LIMIT_ALLOWED 0x100 /* beside no reason: a rule allows the client */

/* Is there anything to ask for each packet of the service? asks: the generation's. */
GS_INLINE int gs_limit_concerns(const struct gs_service_value *service, __u32 asks)
{
	return (service->client_packets | service->packets | (asks & GS_ASK_ACCESS)) != 0;
}

/*
 * Of every packet for a service, before anything is known of its flow: 0, GS_LIMIT_ALLOWED, or the
 * reason to drop it. at: the generation's slot. An ICMP error may come from anybody, so it is not
 * held against the client whose flow it quotes; it does count for the service.
 */
__attribute__((noinline)) int gs_limit_packet(const struct gs_packet *packet,
					      const struct gs_service_value *service, __u32 at,
					      __u32 asks)
{
	struct gs_access_rule rule;
	__u32 block;
	__u64 now;

	if (!packet || !service)
		return 0;
	rule = gs_access(packet, service->service, at, asks);
	if (!rule.allow)
		return GS_REASON_drop_denied;
	now = gs_limit_now();
	if (service->client_packets && rule.length < 0 && packet->shape != GS_SHAPE_QUOTES &&
	    !gs_limit_client(packet, service, GS_LIMIT_PACKETS, service->client_packets, now))
		return GS_REASON_drop_client_packets;
	block = service->service;
	if (!gs_limit_take(gs_limit_word(block, GS_LIMIT_PACKETS), service->packets, now))
		return GS_REASON_drop_service_packets;
	return rule.length < 0 ? 0 : GS_LIMIT_ALLOWED;
}

/* Of a flow that is not known and will be remembered: 0, or the reason to drop its packet. */
__attribute__((noinline)) int gs_limit_flow(const struct gs_packet *packet,
					    const struct gs_service_value *service,
					    __u32 is_allowed)
{
	__u32 block;
	__u64 now;

	if (!packet || !service)
		return 0;
	now = gs_limit_now();
	if (service->client_flows && !is_allowed &&
	    !gs_limit_client(packet, service, GS_LIMIT_FLOWS, service->client_flows, now))
		return GS_REASON_drop_client_flows;
	block = service->service;
	if (!gs_limit_take(gs_limit_word(block, GS_LIMIT_FLOWS), service->flows, now))
		return GS_REASON_drop_service_flows;
	return 0;
}

/* Of a packet that would go to the region, is_new as the first of a flow: 0, or the reason to drop
 * it. */
__attribute__((noinline)) int gs_limit_region(__u32 region, __u32 is_new)
{
	const struct gs_region_limit_value *limit = bpf_map_lookup_elem(&region_limits, &region);
	__u32 block = GS_LIMIT_REGION_BLOCK + region;
	__u64 now;

	if (!limit || !(limit->packets | limit->flows))
		return 0;
	now = gs_limit_now();
	if (is_new && !gs_limit_take(gs_limit_word(block, GS_LIMIT_FLOWS), limit->flows, now))
		return GS_REASON_drop_region_flows;
	if (!gs_limit_take(gs_limit_word(block, GS_LIMIT_PACKETS), limit->packets, now))
		return GS_REASON_drop_region_packets;
	return 0;
}

/* 1: a new flow would be let through to the region now. Takes nothing. */
GS_INLINE int gs_limit_region_has(__u32 region)
{
	const struct gs_region_limit_value *limit = bpf_map_lookup_elem(&region_limits, &region);
	const struct gs_limit_block *found;
	__u32 block = GS_LIMIT_REGION_BLOCK + region;
	__u64 now = gs_limit_now();

	found = bpf_map_lookup_elem(&limits, &block);
	if (!limit || !found)
		return 1;
	return (!limit->flows ||
		gs_limit_has(found->word[GS_LIMIT_FLOWS], gs_limit_token(limit->flows), now)) &&
	       (!limit->packets ||
		gs_limit_has(found->word[GS_LIMIT_PACKETS], gs_limit_token(limit->packets), now));
}
