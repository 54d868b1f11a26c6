/* SPDX-License-Identifier: Apache-2.0 */
/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): any seed is a good seed. Not for secrets. */
#pragma once

#include <stdint.h>

/* 64 bits; state: the generator's, seeded with anything. */
static inline uint64_t gs_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}
