/* SPDX-License-Identifier: Apache-2.0 */
#include "drain.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = GS_PATH_MAX + 64 };

void gs_drain_load(const char *path, struct gs_drain *ret_drain)
{
	json_error_t error;
	json_t *json = json_load_file(path, 0, &error);
	const char *reason = json_string_value(json_object_get(json, "reason"));
	struct gs_drain drain = {.is_drained = true};

	if (!json && access(path, F_OK) && errno == ENOENT)
		drain.is_drained = false;
	else if (!json_is_object(json))
		snprintf(drain.reason, sizeof(drain.reason), "%.100s cannot be read", path);
	else
		snprintf(drain.reason, sizeof(drain.reason), "%s", reason ? reason : "");
	drain.since_unix_s = json_integer_value(json_object_get(json, "since_unix_s"));
	json_decref(json);
	*ret_drain = drain;
}

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

int gs_drain_save(const char *path, const struct gs_drain *drain, struct gs_error *error)
{
	char beside[PATH_BYTES];
	GS_AUTO_FREE char *text = NULL;
	json_t *json;
	int result;

	if (!drain->is_drained) {
		if (unlink(path) && errno != ENOENT)
			return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
		return 0;
	}
	json = json_pack("{s:I, s:s}", "since_unix_s", (json_int_t)drain->since_unix_s, "reason",
			 drain->reason);
	text = json ? json_dumps(json, 0) : NULL;
	json_decref(json);
	if (!text)
		return gs_error_set(-EINVAL, error, "the reason is no UTF-8 text");
	snprintf(beside, sizeof(beside), "%s.new", path);
	result = write_whole(beside, text);
	if (result == 0 && rename(beside, path))
		result = -errno;
	if (result == 0)
		return 0;
	unlink(beside);
	return gs_error_set(result, error, "%s: %s", path, strerror(-result));
}
