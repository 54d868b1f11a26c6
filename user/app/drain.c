/* SPDX-License-Identifier: Apache-2.0 */
#include "drain.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

int gs_drain_save(const char *path, const struct gs_drain *drain, struct gs_error *error)
{
	GS_AUTO_FREE char *text = NULL;
	json_t *json;

	if (!drain->is_drained)
		return gs_file_remove(path, error);
	json = json_pack("{s:I, s:s}", "since_unix_s", (json_int_t)drain->since_unix_s, "reason",
			 drain->reason);
	text = json ? json_dumps(json, 0) : NULL;
	json_decref(json);
	if (!text)
		return gs_error_set(-EINVAL, error, "the reason is no UTF-8 text");
	return gs_file_replace(path, text, error);
}
