/* SPDX-License-Identifier: Apache-2.0 */
/* What the program is compared with (gs_rivals.bpf.c), its world put into its maps. Asserts inside.
 */
#pragma once

#include "geo.h"

#include <stdint.h>

struct bpf_object;

struct bench_rivals {
	struct bpf_object *object; /* NULL: not loaded yet */
	int trie[2];		   /* IPv4, IPv6: kept when it is loaded anew; 0: none yet */
	uint32_t flows;		   /* room in the flow table */
};

/* Loaded, with an empty flow table of so many flows; the tries hold the geo table's prefixes.
 * Regions 1 .. regions are given to locations in turn, as the other edges' plans do it. */
void bench_rivals_open(struct bench_rivals *rivals, const struct bench_geo *geo, uint32_t flows,
		       uint32_t regions);
/* Of all CPUs; index: BENCH_COUNT_*. */
uint64_t bench_rivals_packets(const struct bench_rivals *rivals, uint32_t index);
/* Sends SYNs of clients drawn anew: each must be located as the compiled table has it and leave
 * byte for byte as it should, or the benchmark ends here. */
void bench_rivals_check(const struct bench_rivals *rivals, const struct bench_geo *geo,
			uint32_t regions);
