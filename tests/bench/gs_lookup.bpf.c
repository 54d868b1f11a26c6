// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The look-up of a client's location and nothing else: by the compiled table, as the packet path
 * does it, and by the kernel's LPM trie. A run asks for BENCH_BURST addresses, so that what it
 * takes to be called hardly shows; with the program that only reads the addresses as the baseline.
 * The sum of what was found is kept: it says that all find the same.
 */
#include "bpf/locate.h"

#include "gs_bench.h"
#include "gs_trie.bpf.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_lookup);
} bench_lookup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bench_address);
} bench_addresses SEC(".maps");

TRIE(bench_trie4, gs_override4_key); /* client prefix -> location */
TRIE(bench_trie6, gs_override6_key);

static const struct gs_generation_value generation; /* without overrides */

/* Functions of their own: the verifier goes through each once and not once for each address. */
__attribute__((noinline)) int bench_table4(const struct bench_address *address)
{
	return address ? (int)gs_locate_ip4(address->addr[3], &generation, 0) : 0;
}

__attribute__((noinline)) int bench_table6(const struct bench_address *address)
{
	return address ? (int)gs_locate_ip6(address->addr, &generation, 0) : 0;
}

__attribute__((noinline)) int bench_in_trie4(const struct bench_address *address)
{
	struct gs_override4_key key = {.prefix_len = 32};
	const __u32 *found;

	if (!address)
		return 0;
	key.addr = address->addr[3];
	found = bpf_map_lookup_elem(&bench_trie4, &key);
	return found ? (int)*found : 0;
}

__attribute__((noinline)) int bench_in_trie6(const struct bench_address *address)
{
	struct gs_override6_key key = {.prefix_len = 128};
	const __u32 *found;

	if (!address)
		return 0;
	for (int i = 0; i < 4; i++)
		key.addr[i] = address->addr[i];
	found = bpf_map_lookup_elem(&bench_trie6, &key);
	return found ? (int)*found : 0;
}

__attribute__((noinline)) int bench_nowhere(const struct bench_address *address)
{
	return address ? (int)(address->addr[3] & 1) : 0;
}

#define BURST(name, locate)                                                            \
	SEC("xdp")                                                                     \
	int name(struct xdp_md *ctx __attribute__((unused)))                           \
	{                                                                              \
		__u32 zero = 0, index, mask;                                           \
		struct bench_lookup *conf = bpf_map_lookup_elem(&bench_lookup, &zero); \
		const struct bench_address *address;                                   \
		__u64 sum = 0, next;                                                   \
                                                                                       \
		if (!conf)                                                             \
			return XDP_ABORTED;                                            \
		next = conf->next;                                                     \
		mask = conf->mask;                                                     \
		for (__u32 i = 0; i < BENCH_BURST; i++) {                              \
			index = (__u32)(next + i) & mask;                              \
			address = bpf_map_lookup_elem(&bench_addresses, &index);       \
			sum += address ? (__u32)locate(address) : 0;                   \
		}                                                                      \
		conf->next = next + BENCH_BURST;                                       \
		conf->sum += sum;                                                      \
		return XDP_DROP;                                                       \
	}

BURST(bench_lookup_table4, bench_table4)
BURST(bench_lookup_table6, bench_table6)
BURST(bench_lookup_trie4, bench_in_trie4)
BURST(bench_lookup_trie6, bench_in_trie6)
BURST(bench_lookup_none, bench_nowhere)

char _license[] SEC("license") = "Dual BSD/GPL";
