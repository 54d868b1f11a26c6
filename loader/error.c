// SPDX-License-Identifier: Apache-2.0
#include "loader/error.h"

#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The libraries call back without a context, so this is the one place that needs a static. */
static struct {
	bool verbose;
	char kernel[256]; /* extack */
	char first[256];
} said;

int gs_loader_fail(struct gs_loader_error *error, int code, const char *format, ...)
{
	va_list args;

	if (!error)
		return code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}

static void keep(char *slot, size_t size, const char *text)
{
	size_t length = strcspn(text, "\n");

	snprintf(slot, size, "%.*s", (int)(length < size ? length : size - 1), text);
}

static void __attribute__((format(printf, 2, 0)))
listen_line(bool is_warning, const char *format, va_list args)
{
	static const char marker[] = "Kernel error message: ";
	const char *extack;
	char line[512];

	if (!said.verbose && !is_warning)
		return;
	vsnprintf(line, sizeof(line), format, args);
	if (said.verbose)
		fputs(line, stderr);
	if (!is_warning)
		return;
	extack = strstr(line, marker);
	if (extack)
		keep(said.kernel, sizeof(said.kernel), extack + strlen(marker));
	else if (!said.first[0])
		keep(said.first, sizeof(said.first), line);
}

static int __attribute__((format(printf, 2, 0)))
on_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	listen_line(level == LIBBPF_WARN, format, args);
	return 0;
}

static int __attribute__((format(printf, 2, 0)))
on_libxdp(enum libxdp_print_level level, const char *format, va_list args)
{
	listen_line(level == LIBXDP_WARN, format, args);
	return 0;
}

void gs_loader_listen(bool verbose)
{
	said.verbose = verbose;
	gs_loader_forget();
	libbpf_set_print(on_libbpf);
	libxdp_set_print(on_libxdp);
}

void gs_loader_forget(void)
{
	said.kernel[0] = '\0';
	said.first[0] = '\0';
}

const char *gs_loader_heard(void)
{
	return said.kernel[0] ? said.kernel : said.first;
}
