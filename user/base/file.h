/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of state: whole or not at all. */
#pragma once

#include "user/core/types.h"

/* The file holds `text`, on the disk, or what it held before. 0 or -errno, *error with the path. */
int gs_file_replace(const char *path, const char *text, struct gs_error *error);
/* It is not there. 0 or -errno. */
int gs_file_remove(const char *path, struct gs_error *error);
