/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on the heap and as JSON: the last-good file. */
#pragma once

#include "user/core/types.h"

/*
 * Room for `counts`' numbers of objects, all zero; revision and seed are those of `counts` too, its
 * pointers are not looked at. 0 or -ENOMEM.
 */
int gs_snapshot_new(const struct gs_snapshot *counts, struct gs_snapshot **ret_snapshot);
/* A copy with room for `spare_overrides` more overrides, not counted. 0 or -ENOMEM. */
int gs_snapshot_copy(const struct gs_snapshot *snapshot, uint32_t spare_overrides,
		     struct gs_snapshot **ret_copy);
/* NULL is fine. */
void gs_snapshot_free(struct gs_snapshot *snapshot);

/*
 * The file: a line with format, version and checksum of what follows, then the snapshot as one line
 * of JSON. Written beside ("PATH.new"), synced, renamed: a crash leaves the old file or the new
 * one.
 */
int gs_snapshot_save(const struct gs_snapshot *snapshot, const char *path, struct gs_error *error);
/* Checked by gs_snapshot_check. -ENOENT if there is no such file; *error names file and place. */
int gs_snapshot_load(const char *path, struct gs_snapshot **ret_snapshot, struct gs_error *error);
