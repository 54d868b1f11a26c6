/* SPDX-License-Identifier: Apache-2.0 */
/* One clear line for people beside every -errno, and what libbpf and libxdp had to say. */
#pragma once

#include <stdbool.h>

struct gs_loader_error {
	char text[640];
};

/* Writes error->text and returns code (a -errno), so that failing is one statement. */
int gs_loader_fail(struct gs_loader_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * From now on libbpf's and libxdp's prints are not shown (verbose: they are, on standard error);
 * the first warning since gs_loader_forget is kept for gs_loader_heard. Process-wide, because
 * the libraries' print functions are.
 */
void gs_loader_listen(bool verbose);
void gs_loader_forget(void);
/* The kernel's own message if there was one, else the first warning, else "". */
const char *gs_loader_heard(void);
