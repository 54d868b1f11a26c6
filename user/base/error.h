/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a struct gs_error, in one expression with the code that is returned. */
#pragma once

#include "user/core/types.h"

/* Returns code: `return gs_error_set(-EINVAL, error, "%s: ...", path)`. Cuts what is too long. */
int gs_error_set(int code, struct gs_error *error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
