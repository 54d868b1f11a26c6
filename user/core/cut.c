// SPDX-License-Identifier: Apache-2.0
#include "cut.h"

#include "cidr.h"

#include <errno.h>
#include <string.h>

/* An address of either family as a number. */
__extension__ typedef unsigned __int128 number;

/* Of a part of a prefix. */
enum { NOBODY = -1, /* all of it is of longer overrides */ MIXED = -2 };

struct cutting {
	const struct gs_prefix *prefixes;
	const uint32_t *around; /* of each the next shorter one around it, or itself */
	uint32_t first, end;	/* those inside the one that is cut */
	const struct gs_cut_run *runs;
	uint32_t run_count;
	struct gs_cut_output *output;
	uint32_t owner; /* the one that is cut */
	int bits;	/* of the family's addresses */
};

static number of_key(struct gs_geo_key key)
{
	return (number)key.high << 64 | key.low;
}

static number first_of(const struct gs_prefix *prefix)
{
	struct gs_geo_key key = gs_geo_key_of(&prefix->addr);

	return of_key(key);
}

/* The last address of the 2^bits that begin at `first`. */
static number last_of(number first, int bits)
{
	return bits >= 128 ? ~(number)0 : first + (((number)1 << bits) - 1);
}

static struct gs_prefix prefix_of(const struct cutting *cutting, number first, int bits)
{
	struct gs_addr addr;

	if (cutting->bits == 32) {
		addr = gs_addr_from_v4((uint32_t)first);
	} else {
		for (int i = 15; i >= 0; i--, first >>= 8)
			addr.bytes[i] = (uint8_t)first;
	}
	return gs_prefix_make(&addr, (uint8_t)(cutting->bits - bits));
}

/* Index of the run an address is in. */
static uint32_t find_run(const struct cutting *cutting, number at)
{
	uint32_t low = 0, high = cutting->run_count;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (of_key(cutting->runs[middle].start) <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static number last_of_run(const struct cutting *cutting, uint32_t run)
{
	return run + 1 < cutting->run_count ? of_key(cutting->runs[run + 1].start) - 1
					    : last_of(0, cutting->bits);
}

static number end_of(const struct cutting *cutting, uint32_t i)
{
	const struct gs_prefix *prefix = &cutting->prefixes[i];

	return last_of(first_of(prefix), cutting->bits - prefix->length);
}

/* A longer override an address is in: true, and the last address of it; else the last before one.
 */
static bool is_inside(const struct cutting *cutting, number at, number *ret_last)
{
	uint32_t low = cutting->first, high = cutting->end;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (first_of(&cutting->prefixes[middle]) <= at)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_last = low < cutting->end ? first_of(&cutting->prefixes[low]) - 1
				       : last_of(0, cutting->bits);
	if (low == cutting->first)
		return false;
	/* The last one that begins at or before the address, or one of those around it. */
	for (uint32_t i = low - 1; i != cutting->owner; i = cutting->around[i]) {
		if (end_of(cutting, i) < at)
			continue;
		*ret_last = end_of(cutting, i);
		return true;
	}
	return false;
}

/* The class of 2^bits addresses, those of longer overrides left out; or NOBODY, MIXED. */
static int class_of(const struct cutting *cutting, number first, int bits)
{
	number last = last_of(first, bits), at = first;
	int class = NOBODY;

	for (;;) {
		number end;

		if (!is_inside(cutting, at, &end)) {
			uint32_t run = find_run(cutting, at);
			number of_run = last_of_run(cutting, run);

			if (class != NOBODY && class != cutting->runs[run].class)
				return MIXED;
			class = cutting->runs[run].class;
			end = end < of_run ? end : of_run;
		}
		if (end >= last)
			return class;
		at = end + 1;
	}
}

static int append(struct cutting *cutting, number first, int bits, int class)
{
	struct gs_cut_output *output = cutting->output;

	if (output->count == output->limit)
		return -EFBIG;
	output->pieces[output->count++] = (struct gs_cut_piece){prefix_of(cutting, first, bits),
								cutting->owner, (uint16_t) class};
	return 0;
}

/* What is not of class `around`, which a larger piece says already. As deep as a family's bits. */
static int cut_part(struct cutting *cutting, number first, int bits, int around)
{
	int class = class_of(cutting, first, bits), ret;

	if (class == NOBODY || class == around)
		return 0;
	if (class != MIXED)
		return append(cutting, first, bits, class);
	ret = cut_part(cutting, first, bits - 1, around);
	return ret ? ret : cut_part(cutting, first + ((number)1 << (bits - 1)), bits - 1, around);
}

/* The class of the longest stretch: what it is that the whole is said to be. */
static int largest_class(const struct cutting *cutting, number first, int bits)
{
	number last = last_of(first, bits), longest = 0;
	int class = 0;

	for (uint32_t run = find_run(cutting, first);
	     run < cutting->run_count && of_key(cutting->runs[run].start) <= last; run++) {
		number from = of_key(cutting->runs[run].start), to = last_of_run(cutting, run);

		from = from < first ? first : from;
		to = to > last ? last : to;
		if (to - from >= longest) {
			longest = to - from;
			class = cutting->runs[run].class;
		}
	}
	return class;
}

static void find_around(const struct gs_prefix *prefixes, uint32_t count, uint32_t *around)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = i ? i - 1 : 0;

		around[i] = i;
		for (; i > 0; at = around[at]) {
			if (gs_prefix_contains(&prefixes[at], &prefixes[i].addr)) {
				around[i] = at;
				break;
			}
			if (around[at] == at)
				break;
		}
	}
}

static int cut_one(struct cutting *cutting, uint32_t count)
{
	const struct gs_prefix *prefix = &cutting->prefixes[cutting->owner];
	int bits = cutting->bits - prefix->length, class, ret;
	number first = first_of(prefix);

	cutting->first = cutting->end = cutting->owner + 1;
	while (cutting->end < count &&
	       first_of(&cutting->prefixes[cutting->end]) <= last_of(first, bits))
		cutting->end++;
	class = class_of(cutting, first, bits);
	/* Whole, even if nobody is left in it: that is what the operator wrote. */
	if (class == NOBODY)
		return append(cutting, first, bits, cutting->runs[find_run(cutting, first)].class);
	if (class != MIXED)
		return append(cutting, first, bits, class);
	class = largest_class(cutting, first, bits);
	ret = append(cutting, first, bits, class);
	return ret ? ret : cut_part(cutting, first, bits, class);
}

int gs_cut(const struct gs_prefix *prefixes, uint32_t count, uint32_t *scratch,
	   const struct gs_cut_run *runs, uint32_t run_count, struct gs_cut_output *output,
	   uint32_t *ret_at)
{
	struct cutting cutting = {.prefixes = prefixes,
				  .around = scratch,
				  .runs = runs,
				  .run_count = run_count,
				  .output = output};

	find_around(prefixes, count, scratch);
	for (uint32_t i = 0; i < count; i++) {
		int ret;

		cutting.bits = prefixes[i].is_v4 ? 32 : 128;
		cutting.owner = i;
		ret = run_count == 1 ? append(&cutting, first_of(&prefixes[i]),
					      cutting.bits - prefixes[i].length, runs[0].class)
				     : cut_one(&cutting, count);
		if (ret) {
			*ret_at = i;
			return ret;
		}
	}
	return 0;
}
