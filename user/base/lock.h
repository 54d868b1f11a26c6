/* SPDX-License-Identifier: Apache-2.0 */
/* One at a time: a lock that ends with the process, however it ends. */
#pragma once

#include "user/core/types.h"

/*
 * Takes the lock of `name` (a path; what it names need not exist) in /run/geostream. The caller
 * closes *ret_fd to give it back. -EBUSY: another process has it, *error says which.
 */
int gs_lock_take(const char *name, int *ret_fd, struct gs_error *error);
