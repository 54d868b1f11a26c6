/* SPDX-License-Identifier: Apache-2.0 */
/* What one record of an mmdb says about a place, in any of the common shapes. */
#pragma once

#include "mmdb_guard.h"

/* What one record says. */
struct gs_mmdb_place {
	char country[3];
	char continent[3];
	char subdivision[8];
	bool has_coord; /* of its own */
	struct gs_coord coord;
};

/*
 * Reads a record that the guard found sound. A record without anything known about its place (or
 * that is no map) is all zero. -EINVAL: a field has a type or value it must not have; *error names
 * it.
 */
int gs_mmdb_place_read(const MMDB_s *mmdb, uint32_t offset, struct gs_mmdb_place *ret_place,
		       struct gs_error *error);
