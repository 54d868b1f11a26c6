// SPDX-License-Identifier: Apache-2.0
#include "geodata.h"

#include "cidr.h"

#include <string.h>

static bool is_at_or_below(struct gs_geo_key a, struct gs_geo_key b)
{
	return a.high < b.high || (a.high == b.high && a.low <= b.low);
}

/* Index of the interval that holds the key; the first one starts at 0. */
static size_t find_interval(const struct gs_geodata_family *family, struct gs_geo_key key)
{
	size_t low = 0, high = family->start_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (is_at_or_below(family->starts[middle], key))
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* Bits two different keys share from bit 127 on. */
static unsigned shared_bits(struct gs_geo_key a, struct gs_geo_key b)
{
	if (a.high != b.high)
		return (unsigned)__builtin_clzll(a.high ^ b.high);
	return 64 + (unsigned)__builtin_clzll(a.low ^ b.low);
}

/*
 * Length, of 128, of the largest prefix around the key inside its interval. A prefix leaves out a
 * neighbour if it is longer than what key and neighbour share; the neighbours that matter are the
 * last key before the interval and the first one after it.
 */
static unsigned length_inside(const struct gs_geodata_family *family, struct gs_geo_key key)
{
	const size_t interval = find_interval(family, key);
	unsigned length = 0;

	if (interval > 0) {
		struct gs_geo_key below = family->starts[interval];

		if (below.low-- == 0)
			below.high--;
		length = shared_bits(key, below) + 1;
	}
	if (interval + 1 < family->start_count) {
		unsigned above = shared_bits(key, family->starts[interval + 1]) + 1;

		if (above > length)
			length = above;
	}
	return length;
}

uint16_t gs_geodata_find(const struct gs_geodata *geo, const struct gs_addr *addr,
			 struct gs_prefix *ret_prefix)
{
	struct gs_addr located = *addr;
	bool embedded = gs_geo_embedded_v4(addr, &located);
	bool is_v4 = gs_addr_is_v4(&located);
	const struct gs_geodata_family *family = is_v4 ? &geo->v4 : &geo->v6;
	struct gs_geo_key key = gs_geo_key_of(&located);

	if (ret_prefix) {
		unsigned length = length_inside(family, key);

		/* From the key's 128 bits to the bits of the address the client has. */
		if (is_v4)
			length = length > 96 ? length - 96 : 0;
		if (embedded)
			length += addr->bytes[0] == 0x20 ? 16 : 96;
		*ret_prefix = gs_prefix_make(addr, (uint8_t)length);
	}
	return gs_geo_find(family->blocks, family->block_count, is_v4 ? GS_GEO_V4 : GS_GEO_V6, key);
}
