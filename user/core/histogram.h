/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A histogram of numbers below 2^26 in fixed memory: log-linear, sixteen buckets to each doubling.
 * Below 16 it is exact; above, a percentile is at most 1/32 off. Greater numbers count as 2^26 - 1.
 * Pure.
 */
#pragma once

#include <stdint.h>

#define GS_HISTOGRAM_BITS 26u	  /* microseconds: 67 s */
#define GS_HISTOGRAM_FINE_BITS 4u /* buckets to a doubling, as a power of two */
#define GS_HISTOGRAM_BUCKETS \
	((GS_HISTOGRAM_BITS - GS_HISTOGRAM_FINE_BITS + 1) << GS_HISTOGRAM_FINE_BITS)

struct gs_histogram {
	uint32_t count;
	uint32_t max;	/* exact, however great */
	uint32_t first; /* the lowest bucket with anything in it */
	/* Each stays at UINT16_MAX once it is there: too many of one size look like fewer. */
	uint16_t buckets[GS_HISTOGRAM_BUCKETS];
};

void gs_histogram_clear(struct gs_histogram *histogram);
void gs_histogram_add(struct gs_histogram *histogram, uint32_t value);
/* Everything in `from` to `into`, as if it had been added there. */
void gs_histogram_merge(struct gs_histogram *into, const struct gs_histogram *from);
/* Nearest rank: the least value that `percent` (1 .. 100) of all do not exceed. Nothing in it: 0.
 */
uint32_t gs_histogram_percentile(const struct gs_histogram *histogram, uint32_t percent);
