// SPDX-License-Identifier: Apache-2.0
#include "lines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int gs_lines_complain(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return -EINVAL;
}

int gs_lines_fail(const struct gs_lines *lines, const char *wrong)
{
	return gs_lines_complain("%s:%u: %s", lines->path, lines->number, wrong);
}

int gs_lines_open(struct gs_lines *lines)
{
	lines->file = fopen(lines->path, "re");
	return lines->file ? 0 : gs_lines_complain("%s: %s", lines->path, strerror(errno));
}

int gs_lines_next(struct gs_lines *lines)
{
	ssize_t length = getline(&lines->line, &lines->room, lines->file);

	if (length < 0)
		return ferror(lines->file)
			       ? gs_lines_complain("%s: %s", lines->path, strerror(errno))
			       : 0;
	lines->number++;
	if (length > 0 && lines->line[length - 1] == '\n')
		lines->line[--length] = '\0';
	return strlen(lines->line) == (size_t)length ? 1 : gs_lines_fail(lines, "zero byte");
}

void gs_lines_close(struct gs_lines *lines)
{
	if (lines->file)
		fclose(lines->file);
	free(lines->line);
}
