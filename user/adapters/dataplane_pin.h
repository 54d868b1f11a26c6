/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pinned maps for those who need only a few of them, and not the daemon's whole adapter: monitor,
 * flow table and twin. For dataplane*.c only.
 */
#pragma once

#include "user/core/types.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gs_dataplane_pin {
	const char *name;
	enum bpf_map_type type;
	uint32_t value_size;
	uint32_t max_entries; /* 0: whatever there is */
};

/*
 * Opens pin_dir/name after looking at the layout version of pin_dir/meta. *ret_entries (may be
 * NULL): how many it has. The caller owns *ret_fd. 0 or -errno, and *error says what to do.
 */
int gs_dataplane_pin_open(const char *pin_dir, const struct gs_dataplane_pin *want, int *ret_fd,
			  uint32_t *ret_entries, struct gs_error *error);
/* The same, and its memory instead of it, for arrays with BPF_F_MMAPABLE. */
int gs_dataplane_pin_map(const char *pin_dir, const struct gs_dataplane_pin *want, bool writes,
			 void **ret_memory, uint32_t *ret_entries, struct gs_error *error);
/* NULL is fine. */
void gs_dataplane_pin_unmap(void *memory, const struct gs_dataplane_pin *was, uint32_t entries);
/* Does the interface, of this network namespace, run the program pinned there? (dataplane_links.c)
 */
bool gs_dataplane_pin_carries(const char *pin_dir, uint32_t ifindex);
