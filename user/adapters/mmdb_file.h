/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mmdb file as libmaxminddb reads it: opened on a copy that nobody can change, and only after
 * its metadata and sizes were found to be ones the library can bear. Only the mmdb adapter uses it.
 */
#pragma once

#include "mmdb_guard.h"
#include "user/base/progress.h"

struct gs_mmdb_file {
	MMDB_s mmdb; /* data_section_size ends at the metadata, not at the file's end */
	struct gs_mmdb_guard guard;
	char database_type[GS_NAME_MAX]; /* printable ASCII */
	uint64_t build_unix_s;
};

/*
 * Copies the file into memory, so that nobody can cut it short under the library, and has the
 * library open that. Then: record_size, ip_version and format version are known ones, the tree has
 * 1 .. node_count nodes, all inside the file, and ends where the data begins. -EINVAL, -ENOMEM or
 * an errno of opening and reading; *error says what (the path not included).
 */
int gs_mmdb_file_open(const char *path, struct gs_progress *progress, struct gs_mmdb_file *ret_file,
		      struct gs_error *error);
/* Also after a failure, and twice. What was read of the metadata stays. */
void gs_mmdb_file_close(struct gs_mmdb_file *file);

/* Offset in the data section of a tree's record > node_count; false if it points elsewhere. */
bool gs_mmdb_file_data_offset(const struct gs_mmdb_file *file, uint32_t record,
			      uint32_t *ret_offset);
