/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Step 2: destination -> service. */
#pragma once

#include "turn.h"

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

/* A service's key as three words: the address, then port, protocol, marker 0 and the epoch. */
struct gs_match_words {
	__u64 word[3];
};

GS_INLINE struct gs_match_words gs_match_words_of(__u64 high, __u64 low, __be16 port, __u8 protocol,
						  __u32 epoch)
{
	struct gs_service_cached as = {.key = {.port = port, .protocol = protocol}, .epoch = epoch};
	struct gs_match_words words = {{high, low, 0}};

	__builtin_memcpy(&words.word[2], &as.key.port, sizeof(words.word[2]));
	return words;
}

/* Where this CPU's cache has it, if it has it. */
GS_INLINE struct gs_service_cached *gs_match_place(const struct gs_match_words *words)
{
	__u64 h = (words->word[0] * 0x9e3779b97f4a7c15ULL ^ words->word[1]) +
		  (words->word[2] << 32 | (__u32)words->word[2] >> 16);
	__u32 index = (__u32)(h * 0xd6e8feb86659fd93ULL >> 56) % GS_SERVICE_CACHE;

	return bpf_map_lookup_elem(&service_cache, &index);
}

/* 1: it has. A meta without an epoch has no generation either, or was filled by hand. */
GS_INLINE int gs_match_is(const struct gs_service_cached *cached,
			  const struct gs_match_words *words, const struct gs_meta_value *found)
{
	const __u64 *key = (const __u64 *)cached;
	const union {
		__u32 half[2];
		__u64 word;
	} stamp = {.half = {GS_MAPS_VERSION, cached->active}};

	return !((key[0] ^ words->word[0]) | (key[1] ^ words->word[1]) | (key[2] ^ words->word[2]) |
		 (stamp.word ^ *(const volatile __u64 *)found)) &&
	       cached->epoch;
}

/* May packets of known flows go on at once, and is nothing asked of new ones before they are
 * decided? */
GS_INLINE int gs_match_is_plain(const struct gs_service_value *service,
				const struct gs_meta_value *found, __u32 at)
{
	const struct gs_generation_value *generation;

	if (at >= GS_GENERATIONS)
		return 0;
	generation = &found->generation[at];
	return found->layout_version == GS_MAPS_VERSION && generation->number && !service->stale &&
	       !(service->client_packets | service->packets) &&
	       !(generation->asks & (GS_ASK_ACCESS | GS_ASK_REGION_LIMITS));
}

/*
 * Looks the packet's service up, exact port before every port, and puts it into the cache. 1: there
 * is one. A function of its own: what follows it is gone through once. Stamp and epoch are read
 * before the look-up: a change meanwhile makes the entry old at once.
 */
__attribute__((noinline)) int gs_match_fill(const struct gs_packet *packet)
{
	const struct gs_service_value *service;
	const struct gs_meta_value *found;
	struct gs_service_cached *cached;
	struct gs_match_words words;
	__u32 zero = 0, epoch, at;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!packet || !found)
		return 0;
	epoch = *(const volatile __u32 *)&found->services_epoch;
	at = *(const volatile __u32 *)&found->active;
	service = gs_match_find(packet, packet->tuple.dst_port, packet->tuple.protocol, 0);
	if (!service)
		service = gs_match_find(packet, 0, packet->tuple.protocol, 0);
	words = gs_match_words_of(gs_hash_pair(packet->tuple.dst[0], packet->tuple.dst[1]),
				  gs_hash_pair(packet->tuple.dst[2], packet->tuple.dst[3]),
				  packet->tuple.dst_port, packet->tuple.protocol, epoch);
	cached = gs_match_place(&words);
	if (!service || !cached)
		return 0;
	((__u64 *)cached)[0] = words.word[0];
	((__u64 *)cached)[1] = words.word[1];
	((__u64 *)cached)[2] = words.word[2];
	cached->value = *service;
	if (gs_match_is_plain(service, found, at))
		cached->value.flags |= GS_SERVICE_PLAIN;
	if (at < GS_GENERATIONS)
		cached->row =
			gs_pool_get(at, found->generation[at].regions, service->service, 0).base;
	cached->active = at;
	return 1;
}

/* The service; NULL: none. */
GS_INLINE const struct gs_service_value *gs_match(const struct gs_packet *packet)
{
	const struct gs_service_cached *cached;
	const struct gs_meta_value *found;
	struct gs_match_words words;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	if (!found)
		return NULL;
	words = gs_match_words_of(gs_hash_pair(packet->tuple.dst[0], packet->tuple.dst[1]),
				  gs_hash_pair(packet->tuple.dst[2], packet->tuple.dst[3]),
				  packet->tuple.dst_port, packet->tuple.protocol,
				  *(const volatile __u32 *)&found->services_epoch);
	cached = gs_match_place(&words);
	if (!cached || (!gs_match_is(cached, &words, found) && !gs_match_fill(packet)))
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
