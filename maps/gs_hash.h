/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The hashes that decide: compiled into the packet path and into the controller, so that both draw
 * the same slot and the same ring position. Pure functions of their arguments.
 */
#pragma once

#include "gs_maps.h"

/* Addresses as in struct gs_service_key; ports in network byte order; zeroed padding. */
struct gs_flow_tuple {
	__be32 src[4];
	__be32 dst[4];
	__be16 src_port;
	__be16 dst_port;
	__u8 protocol;
	__u8 _pad[3];
};
GS_ASSERT_SIZE(gs_flow_tuple, 40);

/* The finaliser of MurmurHash3 (Appleby, public domain): every input bit reaches every output bit.
 */
static inline __attribute__((always_inline)) __u64 gs_hash_mix(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

/*
 * A bijection of h for every word and of word for every h. Two multiplications, with the high half
 * folded into the low one between them: after the first alone the top bit of a word reaches known
 * bits only, whatever h is, and the next word could take the difference away again.
 */
static inline __attribute__((always_inline)) __u64 gs_hash_step(__u64 h, __u64 word)
{
	h ^= word;
	h *= 0x9e3779b97f4a7c15ULL;
	h ^= h >> 32;
	return h * 0xd6e8feb86659fd93ULL;
}

static inline __attribute__((always_inline)) __u64 gs_hash_pair(__be32 a, __be32 b)
{
	return (__u64)(__u32)b << 32 | (__u32)a;
}

/* Of an IPv4 address as ::ffff:a.b.c.d: the low half of gs_hash_pair(addr[2], addr[3]). */
#define GS_HASH_MAPPED ((__u64)(__u32)__builtin_bswap32(0x0000ffffu))

static inline __attribute__((always_inline)) __u64 gs_hash_ports(__be16 src, __be16 dst,
								 __u8 protocol)
{
	return (__u64)(__u16)src << 24 | (__u64)(__u16)dst << 8 | protocol;
}

/*
 * Of one word under one key. The halves of their sum multiplied, as in NH (UMAC, Black and others,
 * 1999), but with 2^32 and 1 more: (2^32 + low)(1 + high) - 2^32. So no key makes either half count
 * for nothing, and sums that differ in one half alone never come out alike.
 */
static inline __attribute__((always_inline)) __u64 gs_hash_word(__u64 word, __u64 key)
{
	__u64 sum = word + key;

	return (sum >> 32) * (__u32)sum + sum;
}

static inline __attribute__((always_inline)) __u64 gs_hash_flow4(__be32 src, __be32 dst,
								 __u64 ports, __u64 seed)
{
	return gs_hash_mix(gs_hash_word(gs_hash_pair(src, dst), seed) +
			   gs_hash_word(ports, seed * 0x94d049bb133111ebULL));
}

static inline __attribute__((always_inline)) __u64
gs_hash_flow6(const __u64 src[2], const __u64 dst[2], __u64 ports, __u64 seed)
{
	return gs_hash_mix(gs_hash_word(src[0], seed) +
			   gs_hash_word(src[1], seed * 0xbf58476d1ce4e5b9ULL) +
			   gs_hash_word(dst[0], seed * 0x9e3779b97f4a7c15ULL) +
			   gs_hash_word(dst[1], seed * 0xd6e8feb86659fd93ULL) +
			   gs_hash_word(ports, seed * 0x94d049bb133111ebULL));
}

/*
 * Of a whole flow, under the table seed (flow table) or the selection seed (rings). What all IPv4
 * addresses have in common is left out, and the words go beside each other: every packet waits for
 * this. Each has a multiple of the seed for its key. Two flows that nobody picked are alike once in
 * 2^64. Pairs can be picked, without knowing the seed, that are alike under one seed in some 2^10:
 * the bound of NH, 2^31, is of keys that are independent, and small sums of these are not.
 */
static inline __attribute__((always_inline)) __u64 gs_hash_flow(const struct gs_flow_tuple *t,
								__u64 seed)
{
	const __u64 src[2] = {gs_hash_pair(t->src[0], t->src[1]),
			      gs_hash_pair(t->src[2], t->src[3])};
	const __u64 dst[2] = {gs_hash_pair(t->dst[0], t->dst[1]),
			      gs_hash_pair(t->dst[2], t->dst[3])};
	__u64 ports = gs_hash_ports(t->src_port, t->dst_port, t->protocol);

	if (!src[0] && !dst[0] && (__u32)src[1] == GS_HASH_MAPPED &&
	    (__u32)dst[1] == GS_HASH_MAPPED)
		return gs_hash_flow4(t->src[3], t->dst[3], ports, seed);
	return gs_hash_flow6(src, dst, ports, seed);
}

/*
 * Of the client's prefix, under the selection seed: a client's /24 or /48 shares one draw. The low
 * 16 bits are its slot for gs_plan_value.share; bits 16 .. 47 its second draw, for spare; the high
 * 16 say whether it leaves a region that is full (gs_fill_leaves).
 * addr as in struct gs_service_key.
 */
static inline __attribute__((always_inline)) __u64 gs_hash_client(const __be32 addr[4], __u64 seed)
{
	int is_v4 =
		addr[0] == 0 && addr[1] == 0 && addr[2] == (__be32)__builtin_bswap32(0x0000ffffu);
	__u64 high = gs_hash_pair(addr[0], addr[1] & (__be32)__builtin_bswap32(0xffff0000u));
	__u64 low =
		is_v4 ? gs_hash_pair(addr[2], addr[3] & (__be32)__builtin_bswap32(0xffffff00u)) : 0;

	return gs_hash_mix(gs_hash_step(gs_hash_step(seed, high), low));
}

/*
 * What a client's draw (gs_hash_client) says of its region's word in `fill`. Both are draws of
 * their own: who leaves is no matter of shares, and who is shed none of who leaves. priority: of
 * the service, below GS_PRIORITIES; those below shed / GS_SHED_STEP are shed as far as any are.
 */
static inline __attribute__((always_inline)) int gs_fill_leaves(__u64 draw, __u16 away)
{
	return away == 0xffff || (draw >> 48) < away;
}

static inline __attribute__((always_inline)) int gs_fill_sheds(__u64 draw, __u16 shed,
							       __u32 priority)
{
	__u32 below = priority * GS_SHED_STEP;
	__u32 most = shed > below ? shed - below : 0;

	most = most < GS_SHED_MOST ? most : GS_SHED_MOST;
	return (gs_hash_mix(draw ^ 0x9e3779b97f4a7c15ULL) >> 51) < most;
}

/*
 * Leaves of a flow what its service's affinity (enum gs_affinity) goes by, so that flows which are
 * alike in it hash alike: of affinity client and prefix no ports, of prefix the first bits4 (IPv4)
 * or bits6 (IPv6) bits of the client's address alone. The region's draw is of the same address:
 * gs_hash_client of what is left, so that a prefix wider than its own shares one draw, too.
 */
static inline __attribute__((always_inline)) void
gs_affinity_reduce(struct gs_flow_tuple *t, __u8 affinity, __u8 bits4, __u8 bits6)
{
	int is_v4 = t->src[0] == 0 && t->src[1] == 0 &&
		    t->src[2] == (__be32)__builtin_bswap32(0x0000ffffu);
	__u32 bits = is_v4 ? 96u + bits4 : bits6;

	if (affinity == GS_AFFINITY_FLOW)
		return;
	t->src_port = 0;
	t->dst_port = 0;
	if (affinity != GS_AFFINITY_PREFIX)
		return;
	for (__u32 i = 0; i < 4; i++) {
		__u32 before = i * 32;
		__u32 mask = bits >= before + 32 ? 0xffffffffu
			     : bits <= before	 ? 0
						 : 0xffffffffu << (32 - (bits - before));

		t->src[i] &= (__be32)__builtin_bswap32(mask);
	}
}

/*
 * Of a client prefix (host bits zero, addr as in struct gs_service_key) under a service's limit of
 * one kind, under the table seed. Its places in `limits`: the low GS_LIMIT_HALF_BITS of each half
 * of the hash; the lowest 3 of these are the word in the block.
 */
static inline __attribute__((always_inline)) __u64
gs_hash_limit(const __be32 addr[4], __u32 service, __u32 kind, __u64 seed)
{
	__u64 h = gs_hash_step(seed, (__u64)kind << 32 | service);

	h = gs_hash_step(h, gs_hash_pair(addr[0], addr[1]));
	return gs_hash_mix(gs_hash_step(h, gs_hash_pair(addr[2], addr[3])));
}

/*
 * In `answers`, whose limit of a kind (enum gs_answer) it is that an asker uses up, under the table
 * seed. who: of a client gs_hash_client(address, 0), of a neighbour its MAC.
 */
static inline __attribute__((always_inline)) __u32 gs_answer_word(__u32 kind, __u64 who, __u64 seed)
{
	__u32 cell = (__u32)gs_hash_mix(gs_hash_step(seed, who)) % GS_ANSWER_CELLS;

	return GS_ANSWER__COUNT + kind * GS_ANSWER_CELLS + cell;
}

/* The n-th try in a ring of a flow whose selection hash is h: a slot below `slots`. */
static inline __attribute__((always_inline)) __u32 gs_hash_slot(__u64 h, __u32 n, __u32 slots)
{
	__u64 draw = n == 0 ? h : gs_hash_mix(h + n * 0x9e3779b97f4a7c15ULL);

	return (__u32)(((draw >> 32) * slots) >> 32);
}

/* ---- NAT -------------------------------------------------------------------------------------
 *
 * Both under the table seed; what they answer is of one edge only.
 */

/* Of an address, and what else there is to say. */
static inline __attribute__((always_inline)) __u64 gs_hash_addr(const __be32 addr[4], __u32 more,
								__u64 seed)
{
	__u64 h = gs_hash_step(seed, gs_hash_pair(addr[0], addr[1]));

	h = gs_hash_step(h, gs_hash_pair(addr[2], addr[3]));
	return gs_hash_mix(gs_hash_step(h, more));
}

/* The plane of what is sent to this address and port. mask: planes - 1. */
static inline __attribute__((always_inline)) __u32
gs_nat_plane(const __be32 addr[4], __be16 port, __u8 protocol, __u64 seed, __u32 mask)
{
	return (__u32)(gs_hash_addr(addr, (__u32)(__u16)port << 8 | protocol, seed) >> 32) & mask;
}

/*
 * What the ids of a client's fragments are changed by (xor), where their source becomes the edge's:
 * two clients may use one id at once. The same for all it sends to a VIP by a protocol, so that ids
 * that differ go on differing. IPv4: its low 16 bits. Seen on the way: bits of a product.
 */
static inline __attribute__((always_inline)) __u32
gs_nat_id(const __be32 client[4], const __be32 vip[4], __u8 protocol, __u64 seed)
{
	__u64 hash = gs_hash_addr(vip, protocol, gs_hash_addr(client, 0, seed));

	return (__u32)(hash * 0x9e3779b97f4a7c15ULL >> 32);
}

/* One of a flow's two buckets in its plane. hash: gs_hash_flow's; choice: 0, 1. */
static inline __attribute__((always_inline)) __u32 gs_nat_bucket(__u64 hash, __u32 choice)
{
	__u64 draw = choice ? gs_hash_mix(hash + 0x9e3779b97f4a7c15ULL) : hash;

	return (__u32)((draw & 0xffffffff) * GS_NAT_BUCKETS >> 32);
}
