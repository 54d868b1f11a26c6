/* SPDX-License-Identifier: Apache-2.0 */
/* Text files line by line, and complaints about them, for programs of the build. */
#pragma once

#include <stddef.h>
#include <stdio.h>

struct gs_lines {
	const char *path;
	FILE *file;
	char *line; /* the current one, without its end */
	size_t room;
	unsigned number; /* of the current one, from 1 */
};

/* "program: <what>" on stderr; -EINVAL. */
int gs_lines_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "program: file:line: <wrong>"; -EINVAL. */
int gs_lines_fail(const struct gs_lines *lines, const char *wrong);

/* Opens path; 0 or -EINVAL, said. gs_lines_close also after a failure. */
int gs_lines_open(struct gs_lines *lines);
/* 1: the next line; 0: no more; -EINVAL, said. */
int gs_lines_next(struct gs_lines *lines);
void gs_lines_close(struct gs_lines *lines);
