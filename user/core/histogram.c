/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include <string.h>

#define FINE (1u << GS_HISTOGRAM_FINE_BITS)
#define VALUE_MAX ((1u << GS_HISTOGRAM_BITS) - 1)

/*
 * The first FINE buckets hold one number each. Then each doubling has FINE of them, which are the
 * number's bits below the highest one.
 */
static uint32_t bucket_of(uint32_t value)
{
	uint32_t shift;

	if (value < FINE)
		return value;
	shift = 31u - (uint32_t)__builtin_clz(value) - GS_HISTOGRAM_FINE_BITS;
	return (shift << GS_HISTOGRAM_FINE_BITS) + (value >> shift);
}

/* The number in the middle of a bucket. */
static uint32_t middle_of(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < FINE)
		return bucket;
	shift = (bucket >> GS_HISTOGRAM_FINE_BITS) - 1;
	return ((bucket - (shift << GS_HISTOGRAM_FINE_BITS)) << shift) + ((1u << shift) >> 1);
}

void gs_histogram_clear(struct gs_histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
}

void gs_histogram_add(struct gs_histogram *histogram, uint32_t value)
{
	uint32_t bucket = bucket_of(value < VALUE_MAX ? value : VALUE_MAX);

	if (value > histogram->max)
		histogram->max = value;
	if (histogram->count == 0 || bucket < histogram->first)
		histogram->first = bucket;
	if (histogram->buckets[bucket] == UINT16_MAX)
		return;
	histogram->buckets[bucket]++;
	histogram->count++;
}

void gs_histogram_merge(struct gs_histogram *into, const struct gs_histogram *from)
{
	if (from->count == 0)
		return;
	if (from->max > into->max)
		into->max = from->max;
	if (into->count == 0 || from->first < into->first)
		into->first = from->first;
	for (uint32_t bucket = from->first; bucket < GS_HISTOGRAM_BUCKETS; bucket++) {
		uint32_t room = (uint32_t)UINT16_MAX - into->buckets[bucket];
		uint32_t more = from->buckets[bucket] < room ? from->buckets[bucket] : room;

		into->buckets[bucket] = (uint16_t)(into->buckets[bucket] + more);
		into->count += more;
	}
}

uint32_t gs_histogram_percentile(const struct gs_histogram *histogram, uint32_t percent)
{
	uint64_t rank = ((uint64_t)histogram->count * percent + 99) / 100, seen = 0;
	uint32_t bucket = histogram->first, value;

	if (rank >= histogram->count)
		return histogram->max;
	for (; bucket < GS_HISTOGRAM_BUCKETS - 1; bucket++) {
		seen += histogram->buckets[bucket];
		if (seen >= rank)
			break;
	}
	value = middle_of(bucket);
	return value < histogram->max ? value : histogram->max;
}
