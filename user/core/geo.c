/* SPDX-License-Identifier: Apache-2.0 */
#include "geo.h"

#include <math.h>

#define RAD_PER_DEG (3.14159265358979323846 / 180.0)

bool gs_coord_is_valid(const struct gs_coord *coord)
{
	return isfinite(coord->lat_deg) && isfinite(coord->lon_deg) &&
	       fabs(coord->lat_deg) <= 90.0 && fabs(coord->lon_deg) <= 180.0;
}

double gs_geo_distance_km(const struct gs_coord *a, const struct gs_coord *b)
{
	double sin_lat = sin((b->lat_deg - a->lat_deg) * (RAD_PER_DEG / 2));
	double sin_lon = sin((b->lon_deg - a->lon_deg) * (RAD_PER_DEG / 2));
	/* One product of both cosines, so that (a, b) and (b, a) give the same bits. */
	double cosines = cos(a->lat_deg * RAD_PER_DEG) * cos(b->lat_deg * RAD_PER_DEG);
	double h = sin_lat * sin_lat + cosines * (sin_lon * sin_lon);

	/* Rounding may carry antipodes a hair beyond 1, where asin has no value. */
	return 2 * GS_EARTH_RADIUS_KM * asin(sqrt(fmin(h, 1.0)));
}
