/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the records of an mmdb to locations: what a record says about a place, and which records
 * are one location. Only the mmdb adapter uses it.
 */
#pragma once

#include "mmdb_file.h"

/* The records of one file, each read once. */
struct gs_mmdb_places;

int gs_mmdb_places_new(struct gs_mmdb_places **ret_places);
void gs_mmdb_places_free(struct gs_mmdb_places *places);
/*
 * The class of the record at a data offset, read and checked when first met: 0 for "says nothing",
 * otherwise a number for gs_mmdb_places_finish. -EINVAL (*error), -ENOMEM.
 */
int gs_mmdb_places_class(struct gs_mmdb_places *places, struct gs_mmdb_file *file, uint32_t offset,
			 uint32_t *ret_class, struct gs_error *error);
/*
 * Classes to locations, ordered by country, continent, subdivision and cell, so that ids do not
 * depend on the order of the file. If there are more than `limit` (the unknown one included), first
 * subdivisions are dropped, then cells grow to 2, 4, 8 ... degrees: nothing is left out.
 * ret_location_of[class], owned by the caller as is *ret_locations.
 */
int gs_mmdb_places_finish(const struct gs_mmdb_places *places, uint32_t limit,
			  struct gs_location **ret_locations, uint32_t *ret_count,
			  uint16_t **ret_location_of);
