/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libmaxminddb does not do: a bound on how deep and how much it reads. 1.7.1 skips nested maps
 * and arrays by recursion without an end, and lists a value as often as pointers lead to it. Every
 * value is looked at here, by the library's own decoding of one value, before the library is asked
 * for anything inside. Only the mmdb adapter uses it.
 */
#pragma once

#include "user/base/error.h"

#include <maxminddb.h>
#include <stddef.h>

/* gs_error_set, in a way that shows analyzers that the code is returned. */
#define gs_mmdb_fail(code, error, ...) (gs_error_set(code, error, __VA_ARGS__), (code))

struct gs_mmdb_guard {
	uint8_t *checked; /* a bit for each byte of the section: a small container that is sound;
			     owned; NULL: all are looked at again on each way to them */
	uint64_t budget;  /* values that may still be looked at */
};

/*
 * Is the value at the offset sound, all the way down? Then MMDB_aget_value on it cannot fail nor
 * run long; nor MMDB_get_entry_data_list, if `checked` is NULL. Of the section, data_section and
 * data_section_size (at least 3) count. -EINVAL: *error names the offset.
 */
int gs_mmdb_guard_check(struct gs_mmdb_guard *guard, const MMDB_s *section, uint32_t offset,
			struct gs_error *error);
