/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's trie of client prefixes, as those that are compared with the program have it. */
#pragma once

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#define TRIE(name, key_type)                          \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);  \
		__uint(max_entries, 1);               \
		__uint(map_flags, BPF_F_NO_PREALLOC); \
		__type(key, struct key_type);         \
		__type(value, __u32);                 \
	} name SEC(".maps")
