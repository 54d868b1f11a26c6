/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots on the heap and as JSON: the last-good file. */
#pragma once

#include "user/core/types.h"

/* NULL is fine. */
void gs_snapshot_free(struct gs_snapshot *snapshot);

/* Written beside, synced, renamed: a crash leaves the old file or the new one. */
int gs_snapshot_save(const struct gs_snapshot *snapshot, const char *path,
		     struct gs_error *error);
/* Checked by gs_snapshot_check. -ENOENT if there is no such file; *error names file and place. */
int gs_snapshot_load(const char *path, struct gs_snapshot **ret_snapshot, struct gs_error *error);
