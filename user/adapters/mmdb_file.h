/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MaxMind DB file format, version 2.0, read from private memory with every bound checked
 * (specification: maxmind.github.io/MaxMind-DB). Knows nodes and values, not what they mean.
 * Only the mmdb adapter uses it.
 */
#pragma once

#include "user/base/error.h"
#include "user/core/types.h"

#include <stddef.h>

/* gs_error_set, in a way that shows analyzers that the code is returned. */
#define gs_mmdb_fail(code, error, ...) (gs_error_set(code, error, __VA_ARGS__), (code))

enum gs_mmdb_type {
	GS_MMDB_POINTER = 1,
	GS_MMDB_TEXT = 2,
	GS_MMDB_DOUBLE = 3,
	GS_MMDB_BYTES = 4,
	GS_MMDB_UINT16 = 5,
	GS_MMDB_UINT32 = 6,
	GS_MMDB_MAP = 7,
	GS_MMDB_INT32 = 8,
	GS_MMDB_UINT64 = 9,
	GS_MMDB_UINT128 = 10,
	GS_MMDB_ARRAY = 11,
	GS_MMDB_BOOL = 14,
	GS_MMDB_FLOAT = 15,
};

/* Values; pointers count from its first byte. */
struct gs_mmdb_section {
	const uint8_t *bytes;
	size_t size;
};

struct gs_mmdb_file {
	uint8_t *bytes; /* the whole file, owned */
	size_t size;
	uint32_t node_count;
	uint32_t record_bits; /* 24, 28 or 32 */
	uint32_t ip_version;  /* 4 or 6 */
	uint64_t build_unix_s;
	char database_type[GS_NAME_MAX]; /* printable ASCII */
	struct gs_mmdb_section data;
	uint8_t *checked; /* a bit for each byte of data: a pointer's target that is sound; owned */
	uint64_t budget;  /* values that may still be looked at while checking */
};

struct gs_mmdb_value {
	enum gs_mmdb_type type; /* never a pointer: it was followed */
	uint32_t count;		/* TEXT, BYTES: bytes; MAP: pairs; ARRAY: elements */
	const char *text;	/* TEXT, BYTES: not terminated */
	uint64_t number;	/* UINT16 .. UINT64, BOOL; INT32: as two's complement */
	double real;		/* DOUBLE, FLOAT */
	size_t content;		/* MAP, ARRAY: offset of the first key or element */
};

/*
 * Copies the file into memory, so that nobody can cut it short under the reader, and checks its
 * frame: metadata, sizes, the gap between tree and data. -EINVAL, -ENOMEM or an errno of opening
 * and reading; *error says what (the path not included).
 */
int gs_mmdb_file_open(const char *path, struct gs_mmdb_file *ret_file, struct gs_error *error);
void gs_mmdb_file_close(struct gs_mmdb_file *file);

/* node < node_count; side 0 or 1. < node_count: a node; == node_count: nothing; above: data. */
uint32_t gs_mmdb_file_record(const struct gs_mmdb_file *file, uint32_t node, unsigned side);
/* Offset in `data` of a record > node_count; false if it points elsewhere. */
bool gs_mmdb_file_data_offset(const struct gs_mmdb_file *file, uint32_t record, size_t *ret_offset);

/* Is the value at the offset sound, all the way down? To be asked before the functions below. */
int gs_mmdb_file_check(struct gs_mmdb_file *file, size_t offset, struct gs_error *error);
/* The value at an offset that was checked. */
struct gs_mmdb_value gs_mmdb_value_at(const struct gs_mmdb_section *section, size_t offset);
/* The offset behind the value at a checked offset: the next key, value or element. */
size_t gs_mmdb_value_after(const struct gs_mmdb_section *section, size_t offset);
/* The value of a key in a checked map. */
bool gs_mmdb_map_find(const struct gs_mmdb_section *section, const struct gs_mmdb_value *map,
		      const char *key, struct gs_mmdb_value *ret_value);
