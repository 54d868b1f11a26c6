/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Sources of what leaves in the edge's own name, if they differ from flow to flow. */
#pragma once

#include "parse.h"

/*
 * Bits by which the sources of outer headers differ from flow to flow, for routers and NICs that
 * spread by addresses. Seen on the way, like the port, and so from a fold of the hash.
 */
GS_INLINE __u32 gs_spread(__u64 table_hash, __u32 bits)
{
	__u32 mixed = (__u32)(table_hash ^ table_hash >> 32) * 0x85ebca6bu;

	return mixed >> 8 & ((1u << (bits & 31)) - 1);
}

/* The low 32 bits of an outer source. */
GS_INLINE __be32 gs_outer_src(__be32 base, __u32 bits, __u64 table_hash)
{
	return bits ? base | GS_BE32(gs_spread(table_hash, bits)) : base;
}
