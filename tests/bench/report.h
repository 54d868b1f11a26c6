/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every benchmark says, said in one place: a JSON object a line on standard output, and a line
 * for people on standard error. README.md has the fields. Asserts inside.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_ROUNDS_MAX = 31, BENCH_MORE = 8 };

/* One figure, measured in several rounds. */
struct bench_sample {
	double at[BENCH_ROUNDS_MAX];
	uint32_t count;
};

void bench_add(struct bench_sample *sample, double value);
/* Of no rounds: 0. */
double bench_median(const struct bench_sample *sample);
double bench_low(const struct bench_sample *sample);
double bench_high(const struct bench_sample *sample);

/* A figure of a row beside its main one. name NULL: there is none. */
struct bench_more {
	const char *name;
	double value;
};

/* What is NULL or 0 is left out; bench, variant and value must be there. */
struct bench_row {
	const char *bench;
	const char *variant;
	const char *unit; /* name of the field; NULL: nanoseconds of one packet or look-up */
	const struct bench_sample *value;
	/* The same work without what is measured, taken off value; NULL: value is net. */
	const struct bench_sample *baseline;
	uint32_t family; /* 4, 6 */
	uint64_t flows;
	uint64_t prefixes;
	const char *ratio_to; /* the variant whose net figure is ratio_base */
	double ratio_base;
	bool has_share; /* of packets that were what the row says */
	double share;
	uint64_t packets; /* of a round */
	const char *text_name;
	const char *text;
	struct bench_more more[BENCH_MORE];
};

/* First of all: where a check that failed was called is told, for addr2line; libbpf and the app are
 * quiet unless something is wrong. */
void bench_begin(void);
/* What the rows that follow are, for people. */
void bench_title(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bench_report(const struct bench_row *row);
/* Median of value less that of baseline. */
double bench_net(const struct bench_row *row);

/* Monotonic. */
double bench_now_ms(void);
