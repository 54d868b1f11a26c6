/* SPDX-License-Identifier: Apache-2.0 */
/* Distances on the globe. Pure. */
#pragma once

#include "types.h"

#include <stddef.h>

/* Mean Earth radius (IUGG), as every haversine table uses it. */
#define GS_EARTH_RADIUS_KM 6371.0088

bool gs_coord_is_valid(const struct gs_coord *coord); /* in range and finite */
/* Great-circle distance in km by the haversine formula (Sinnott 1984). Both valid. */
double gs_geo_distance_km(const struct gs_coord *a, const struct gs_coord *b);
