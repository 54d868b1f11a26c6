/* SPDX-License-Identifier: Apache-2.0 */
/* What an interface runs, and what is pinned: gathered, then shown to people or programs. */
#pragma once

#include "loader/nic.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define GS_STATUS_PINNED_MAX 64

struct gs_status {
	struct gs_nic nic;
	char pin_dir[GS_PINS_DIR_MAX];
	uint32_t pinned_count; /* 0: nothing there */
	char pinned[GS_STATUS_PINNED_MAX][32];

	bool has_meta;
	uint32_t layout_version;
	/* of our own layout version only */
	bool is_readable;
	uint64_t generation; /* in force; 0: none yet */
	uint32_t slot;
	uint32_t flow_buckets;
	uint32_t nat_planes;
	uint32_t controller_pid;
	int64_t heartbeat_age_ms; /* -1: no controller yet */
};

/* 0; -ENODEV: no such interface; another -errno. What is not there is no error. */
int gs_status_read(const char *interface, const char *pin_dir, struct gs_status *ret_status,
		   struct gs_loader_error *error);
void gs_status_print(const struct gs_status *status, FILE *out);
/* One JSON object and a newline. -ENOMEM. */
int gs_status_print_json(const struct gs_status *status, FILE *out);
