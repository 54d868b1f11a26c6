// SPDX-License-Identifier: Apache-2.0
#include "mmdb_guard.h"

#include <errno.h>
#include <stdint.h>

/* Country and city databases use five levels. */
#define DEPTH_MAX 32u
/*
 * Larger containers are looked at, and counted, on each way to them: whoever asks for a key in a
 * map passes all the keys before it.
 */
#define SMALL_BYTES 1024u

struct checker {
	struct gs_mmdb_guard *guard;
	const MMDB_s *section;
	struct gs_error *error;
};

static int fail_value(const struct checker *checker, uint32_t offset, const char *wrong)
{
	return gs_mmdb_fail(-EINVAL, checker->error, "offset %u: %s", offset, wrong);
}

static bool is_container(const MMDB_entry_data_s *value)
{
	return value->type == MMDB_DATA_TYPE_MAP || value->type == MMDB_DATA_TYPE_ARRAY;
}

/* One value by the library, one pointer followed; a container is not entered. */
static int read_value(const struct checker *checker, uint32_t offset, MMDB_entry_data_s *ret_value)
{
	static const char *const nothing_inside[] = {NULL};
	MMDB_entry_s entry = {.mmdb = checker->section, .offset = offset};
	bool is_extended;

	if (offset >= checker->section->data_section_size)
		return fail_value(checker, offset, "value begins past the section's end");
	if (MMDB_aget_value(&entry, ret_value, nothing_inside) != MMDB_SUCCESS) {
		bool is_pointer =
			checker->section->data_section[offset] >> 5 == MMDB_DATA_TYPE_POINTER;

		return fail_value(checker, offset,
				  is_pointer ? "pointer is cut short, or leads past the section's "
					       "end, to another pointer or to a broken value"
					     : "value is cut short or of a wrong width");
	}
	/* The library takes zeros, as of a hole in the file, for an empty map. */
	is_extended =
		checker->section->data_section[ret_value->offset] >> 5 == MMDB_DATA_TYPE_EXTENDED;
	if ((is_extended && ret_value->type <= MMDB_DATA_TYPE_MAP) ||
	    ret_value->type == MMDB_DATA_TYPE_CONTAINER ||
	    ret_value->type == MMDB_DATA_TYPE_END_MARKER || ret_value->type > MMDB_DATA_TYPE_FLOAT)
		return fail_value(checker, offset, "type is unknown");
	return 0;
}

static int check_value(struct checker *checker, uint32_t offset, unsigned depth,
		       uint32_t *ret_after);

static int check_content(struct checker *checker, const MMDB_entry_data_s *container,
			 unsigned depth, uint32_t *ret_after)
{
	uint32_t after = container->offset_to_next;
	MMDB_entry_data_s key;
	int err = 0;

	for (uint32_t i = 0; !err && i < container->data_size; i++) {
		if (container->type == MMDB_DATA_TYPE_MAP) {
			err = read_value(checker, after, &key);
			if (!err && key.type != MMDB_DATA_TYPE_UTF8_STRING)
				err = fail_value(checker, after, "key of a map is no text");
			if (err)
				return err;
			after = key.offset_to_next;
		}
		err = check_value(checker, after, depth + 1, &after);
	}
	*ret_after = after;
	return err;
}

/* A container that a pointer leads to; a scalar there was read with the pointer. */
static int check_target(struct checker *checker, const MMDB_entry_data_s *target, unsigned depth)
{
	uint8_t *checked = checker->guard->checked;
	uint32_t after;
	int err;

	if (checked && checked[target->offset / 8] >> (target->offset % 8) & 1)
		return 0;
	err = check_value(checker, target->offset, depth + 1, &after);
	if (!err && checked && after - target->offset <= SMALL_BYTES)
		checked[target->offset / 8] |= (uint8_t)(1u << (target->offset % 8));
	return err;
}

/*
 * A value and all below it. Recursion ends at DEPTH_MAX, which also catches pointers in a circle;
 * the budget ends files whose records overlap so that looking at all of them would take ages.
 */
static int check_value(struct checker *checker, uint32_t offset, unsigned depth,
		       uint32_t *ret_after)
{
	MMDB_entry_data_s value;
	int err = read_value(checker, offset, &value);

	if (err)
		return err;
	if (depth > DEPTH_MAX)
		return fail_value(checker, offset, "values are nested too deeply, or in a circle");
	if (checker->guard->budget == 0)
		return fail_value(checker, offset,
				  "values overlap: the file is made up to keep its reader busy");
	checker->guard->budget--;
	if (!is_container(&value)) {
		*ret_after = value.offset_to_next;
		return 0;
	}
	if (value.offset == offset)
		return check_content(checker, &value, depth, ret_after);
	/* The library does not tell where a pointer to a container ends: behind one byte and as
	 * many more as two bits of it say. */
	*ret_after = offset + 2 + (checker->section->data_section[offset] >> 3 & 3);
	return check_target(checker, &value, depth);
}

int gs_mmdb_guard_check(struct gs_mmdb_guard *guard, const MMDB_s *section, uint32_t offset,
			struct gs_error *error)
{
	struct checker checker = {guard, section, error};
	uint32_t after;

	return check_value(&checker, offset, 0, &after);
}
