/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include "cleanup.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = GS_PATH_MAX + 64 };

static int write_whole(const char *beside, const char *text)
{
	GS_AUTO_CLOSE int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	size_t length = strlen(text);
	ssize_t written;

	if (fd < 0)
		return -errno;
	written = write(fd, text, length);
	if (written < 0 || fsync(fd))
		return -errno;
	return (size_t)written == length ? 0 : -ENOSPC;
}

int gs_file_replace(const char *path, const char *text, struct gs_error *error)
{
	char beside[PATH_BYTES];
	int result;

	snprintf(beside, sizeof(beside), "%s.new", path);
	result = write_whole(beside, text);
	if (result == 0 && rename(beside, path))
		result = -errno;
	if (result == 0)
		return 0;
	unlink(beside);
	return gs_error_set(result, error, "%s: %s", path, strerror(-result));
}

int gs_file_remove(const char *path, struct gs_error *error)
{
	if (unlink(path) && errno != ENOENT)
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	return 0;
}
