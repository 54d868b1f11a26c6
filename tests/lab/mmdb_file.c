/* SPDX-License-Identifier: Apache-2.0 */
#include "mmdb_file.h"

#include <errno.h>
#include <stdio.h>

int lab_mmdb_save(struct gs_mmdb_writer *writer, const char *database_type, const char *description,
		  const char *path)
{
	const struct gs_mmdb_metadata metadata = {
		.database_type = database_type,
		.description = description,
		.build_unix_s = 1767225600,
	};
	struct gs_mmdb_buffer file = {0};
	int err = gs_mmdb_writer_finish(writer, &metadata, &file);
	FILE *out;

	if (err)
		return err;
	out = fopen(path, "we");
	if (!out || fwrite(file.bytes, file.size, 1, out) != 1)
		err = -errno;
	if (out && fclose(out))
		err = -errno;
	gs_mmdb_buffer_done(&file);
	return err;
}
