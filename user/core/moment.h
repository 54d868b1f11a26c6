/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as people and documents write them (RFC 3339). Pure: nobody asks for the time. */
#pragma once

#include <stdint.h>

enum { GS_MOMENT_TEXT_MAX = 32 };

/* What gs_moment_parse takes: 1970-01-01T00:00:00.001Z to the end of the year 9999. */
#define GS_MOMENT_MAX_MS INT64_C(253402300799999)

/*
 * "2026-11-26T03:00:00Z", with or without a fraction of a second, "Z" or an offset like "+01:00".
 * 0 or -EINVAL, *ret_unix_ms (milliseconds since 1970) untouched then.
 */
int gs_moment_parse(const char *text, int64_t *ret_unix_ms);
/* In UTC, the fraction only if there is one; "" for 0 and what gs_moment_parse would not take. */
const char *gs_moment_format(int64_t unix_ms, char out[GS_MOMENT_TEXT_MAX]);
