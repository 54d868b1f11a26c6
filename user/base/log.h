/* SPDX-License-Identifier: Apache-2.0 */
/* One line an event, logfmt or JSON, on standard error. core is silent. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

enum gs_log_level { GS_LOG_ERROR, GS_LOG_WARNING, GS_LOG_INFO, GS_LOG_DEBUG };
enum gs_log_format { GS_LOG_LOGFMT, GS_LOG_JSON };

void gs_log_setup(enum gs_log_level level, enum gs_log_format format);

/*
 * event: snake_case word; then key, printf format and its arguments as one logfmt-like format:
 *   gs_log(GS_LOG_INFO, "region_failover", "region=%s why=%s", name, why);
 * Every value is one %-conversion following "key="; values with blanks or quotes are quoted, and
 * hostile bytes escaped, by the logger.
 */
void gs_log(enum gs_log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As gs_log, but at most one line in 10 s for each `event`, with the number left out. */
void gs_log_limited(enum gs_log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
