/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this edge is drained, in a file of its own: it holds over restarts and while the database
 * is away, and is the edge's alone.
 */
#pragma once

#include "user/core/types.h"

enum { GS_DRAIN_REASON_MAX = 160 };

struct gs_drain {
	bool is_drained;
	int64_t since_unix_s;
	char reason[GS_DRAIN_REASON_MAX];
};

/* No file: not drained. A file that says nothing sensible: drained, and why it is thought so. */
void gs_drain_load(const char *path, struct gs_drain *ret_drain);
/* Written whole or not at all; not drained: removed. 0 or -errno. */
int gs_drain_save(const char *path, const struct gs_drain *drain, struct gs_error *error);
