// SPDX-License-Identifier: Apache-2.0
#include "user/base/error.h"

#include <stdarg.h>
#include <stdio.h>

int gs_error_set(int code, struct gs_error *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	return code;
}
