/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "report.h"
#include "user/base/log.h"

#include <bpf/libbpf.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- begin -----------------------------------------------------------------------------------*/

enum { FAILED = 255, FRAMES = 32 }; /* FAILED: how cmocka ends what is no test */

static void on_end(int status, void *context)
{
	void *frames[FRAMES];

	(void)context;
	if ((status & 0xff) != FAILED)
		return;
	fprintf(stderr, "a check failed; called from\n");
	backtrace_symbols_fd(frames, backtrace(frames, FRAMES), STDERR_FILENO);
}

/* Types for the controller are in a section libbpf notes at every load that it skips. */
static int __attribute__((format(printf, 2, 0)))
on_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

void bench_begin(void)
{
	on_exit(on_end, NULL);
	libbpf_set_print(on_libbpf);
	gs_log_setup(GS_LOG_ERROR, GS_LOG_LOGFMT);
}

/* ---- samples ---------------------------------------------------------------------------------*/

void bench_add(struct bench_sample *sample, double value)
{
	assert_true(sample->count < BENCH_ROUNDS_MAX);
	sample->at[sample->count++] = value;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* The value that `at` of the sorted ones are below, at in 0 .. count - 1. */
static double ranked(const struct bench_sample *sample, uint32_t at)
{
	struct bench_sample sorted = *sample;

	if (sorted.count == 0)
		return 0;
	qsort(sorted.at, sorted.count, sizeof(sorted.at[0]), compare);
	return sorted.at[at];
}

double bench_median(const struct bench_sample *sample)
{
	return ranked(sample, sample->count / 2);
}

double bench_low(const struct bench_sample *sample)
{
	return ranked(sample, 0);
}

double bench_high(const struct bench_sample *sample)
{
	return ranked(sample, sample->count ? sample->count - 1 : 0);
}

double bench_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* ---- rows ------------------------------------------------------------------------------------*/

static double baseline_of(const struct bench_row *row)
{
	return row->baseline ? bench_median(row->baseline) : 0;
}

double bench_net(const struct bench_row *row)
{
	return bench_median(row->value) - baseline_of(row);
}

/* Three significant digits, and whole numbers whole. */
static void put_number(FILE *to, const char *name, double value)
{
	double size = value < 0 ? -value : value;
	int decimals = size >= 100 || value == (double)(int64_t)value ? 0 : size >= 10 ? 1 : 3;

	fprintf(to, ",\"%s\":%.*f", name, decimals, value);
}

static void put_json(const struct bench_row *row)
{
	double net = bench_net(row), taken = baseline_of(row);

	printf("{\"bench\":\"%s\",\"variant\":\"%s\"", row->bench, row->variant);
	if (row->text)
		printf(",\"%s\":\"%s\"", row->text_name, row->text);
	if (row->family)
		printf(",\"family\":%u", row->family);
	if (row->flows)
		printf(",\"flows\":%llu", (unsigned long long)row->flows);
	if (row->prefixes)
		printf(",\"prefixes\":%llu", (unsigned long long)row->prefixes);
	put_number(stdout, row->unit ? row->unit : "ns", bench_median(row->value));
	if (!row->unit) {
		put_number(stdout, "net_ns", net);
		put_number(stdout, "baseline_ns", taken);
	}
	put_number(stdout, "low", bench_low(row->value) - taken);
	put_number(stdout, "high", bench_high(row->value) - taken);
	if (row->ratio_to && row->ratio_base > 0) {
		printf(",\"ratio_to\":\"%s\"", row->ratio_to);
		put_number(stdout, "ratio", net / row->ratio_base);
	}
	if (row->has_share)
		printf(",\"share\":%.4f", row->share);
	for (int i = 0; i < BENCH_MORE && row->more[i].name; i++)
		put_number(stdout, row->more[i].name, row->more[i].value);
	printf(",\"rounds\":%u", row->value->count);
	if (row->packets)
		printf(",\"packets\":%llu", (unsigned long long)row->packets);
	puts("}");
	fflush(stdout);
}

static const char *short_number(double value, char out[32])
{
	double size = value < 0 ? -value : value;

	snprintf(out, 32, "%.*f",
		 size >= 100 || value == (double)(int64_t)value ? 0
		 : size >= 10					? 1
								: 2,
		 value);
	return out;
}

static void put_line(const struct bench_row *row)
{
	char net[32], low[32], high[32], ratio[32], at[32] = "";
	double taken = baseline_of(row);

	if (row->flows || row->prefixes)
		snprintf(at, sizeof(at), "%llu",
			 (unsigned long long)(row->flows ? row->flows : row->prefixes));
	fprintf(stderr, "  %-30s %-4s %9s %10s %s", row->variant,
		row->family == 4   ? "IPv4"
		: row->family == 6 ? "IPv6"
				   : "",
		at, short_number(bench_net(row), net), row->unit ? row->unit : "ns");
	if (row->value->count > 1)
		fprintf(stderr, " (%s .. %s)", short_number(bench_low(row->value) - taken, low),
			short_number(bench_high(row->value) - taken, high));
	if (row->ratio_to && row->ratio_base > 0)
		fprintf(stderr, "  %s x %s", short_number(bench_net(row) / row->ratio_base, ratio),
			row->ratio_to);
	if (row->has_share)
		fprintf(stderr, "  such %.2f %%", row->share * 100);
	for (int i = 0; i < BENCH_MORE && row->more[i].name; i++)
		fprintf(stderr, "  %s %s", row->more[i].name,
			short_number(row->more[i].value, net));
	if (row->text)
		fprintf(stderr, "  %s", row->text);
	fputc('\n', stderr);
}

void bench_report(const struct bench_row *row)
{
	assert_true(row->bench && row->variant && row->value);
	put_json(row);
	put_line(row);
}

void bench_title(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}
