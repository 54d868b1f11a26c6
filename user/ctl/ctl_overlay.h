/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have laid over objects, for list and show. */
#pragma once

#include "user/app/fields.h"

#include <jansson.h>

/* "drain until ... by alice: kernel (OPS-1), version 7", those of several edges behind each other;
 * "": nothing. Returns out. */
const char *gs_ctl_overlay_text(const struct gs_snapshot *snapshot, enum gs_kind kind,
				uint32_t index, char *out, size_t room);
/* The same as a list of objects; of a service with the region's name. */
json_t *gs_ctl_overlay_json(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index);
