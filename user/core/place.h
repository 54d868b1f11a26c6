/* SPDX-License-Identifier: Apache-2.0 */
/* Places that overrides and fences name, and who is there. Pure. */
#pragma once

#include "types.h"

enum { GS_PLACE_TEXT_MAX = 32 };

/* "everybody", "continent:EU", "country:DE", "subdivision:US-CA"; codes in capitals. -EINVAL */
int gs_place_parse(const char *text, struct gs_place *ret_place);
/* Writes to out and returns it. */
const char *gs_place_format(const struct gs_place *place, char out[GS_PLACE_TEXT_MAX]);
/* Is it what gs_place_parse makes? (rows and files are hostile) */
bool gs_place_is_valid(const struct gs_place *place);
/* By kind, then code: everybody first, the smallest places last. */
int gs_place_compare(const struct gs_place *a, const struct gs_place *b);

enum gs_place_answer { GS_PLACE_NO, GS_PLACE_YES, GS_PLACE_UNKNOWN };
/* Are the location's clients in the place? Unknown: the database does not tell so much of them. */
enum gs_place_answer gs_place_holds(const struct gs_place *place,
				    const struct gs_location *location);
