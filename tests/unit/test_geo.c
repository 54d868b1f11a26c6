/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/geo.h"

#include <math.h>

#define HALF_TURN_KM (3.14159265358979323846 * GS_EARTH_RADIUS_KM)

static void known_distances(void **state)
{
	static const struct {
		const char *name;
		struct gs_coord a, b;
		double want_km, tolerance_km;
	} cases[] = {
		{"same place", {48.2, 16.4}, {48.2, 16.4}, 0, 0},
		{"one degree of the equator", {0, 0}, {0, 1}, HALF_TURN_KM / 180, 1e-6},
		{"one degree of a meridian", {45, 7}, {46, 7}, HALF_TURN_KM / 180, 1e-6},
		{"across the date line", {0, 179.5}, {0, -179.5}, HALF_TURN_KM / 180, 1e-6},
		{"both sides of the date line", {10, 180}, {10, -180}, 0, 1e-6},
		{"pole to pole", {90, 0}, {-90, 0}, HALF_TURN_KM, 1e-6},
		{"the pole from any side", {90, 17}, {90, -120}, 0, 1e-6},
		{"pole to equator", {-90, 55}, {0, -3}, HALF_TURN_KM / 2, 1e-6},
		{"antipodes on the equator", {0, 0}, {0, 180}, HALF_TURN_KM, 1e-6},
		{"antipodes", {40.5, -3.7}, {-40.5, 176.3}, HALF_TURN_KM, 1e-3},
		{"a metre", {0, 0}, {0, 8.9932e-6}, 0.001, 1e-7},
		/* Published: 2887.26 km on a globe of 6372.8 km. */
		{"Nashville to Los Angeles", {36.12, -86.67}, {33.94, -118.40}, 2886.4485, 0.001},
		{"London to Paris", {51.5074, -0.1278}, {48.8566, 2.3522}, 343.56, 0.05},
		{"Sydney to Santiago", {-33.8688, 151.2093}, {-33.4489, -70.6693}, 11340, 15},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double km = gs_geo_distance_km(&cases[i].a, &cases[i].b);

		if (fabs(km - cases[i].want_km) > cases[i].tolerance_km)
			fail_msg("%s: %.6f km, want %.6f", cases[i].name, km, cases[i].want_km);
		if (km != gs_geo_distance_km(&cases[i].b, &cases[i].a))
			fail_msg("%s: the way back differs", cases[i].name);
	}
}

/* Another formula: the angle between unit vectors by atan2 of their cross and dot products. */
static double vector_distance_km(const struct gs_coord *a, const struct gs_coord *b)
{
	const long double rad = 3.14159265358979323846L / 180;
	long double la = a->lat_deg * rad, oa = a->lon_deg * rad;
	long double lb = b->lat_deg * rad, ob = b->lon_deg * rad;
	long double ax = cosl(la) * cosl(oa), ay = cosl(la) * sinl(oa), az = sinl(la);
	long double bx = cosl(lb) * cosl(ob), by = cosl(lb) * sinl(ob), bz = sinl(lb);
	long double cx = ay * bz - az * by, cy = az * bx - ax * bz, cz = ax * by - ay * bx;

	return (double)(GS_EARTH_RADIUS_KM *
			atan2l(sqrtl(cx * cx + cy * cy + cz * cz), ax * bx + ay * by + az * bz));
}

static void agrees_with_vectors(void **state)
{
	unsigned short seed[3] = {1, 2, 3};
	(void)state;

	for (int i = 0; i < 20000; i++) {
		struct gs_coord a = {erand48(seed) * 180 - 90, erand48(seed) * 360 - 180};
		struct gs_coord b = {erand48(seed) * 180 - 90, erand48(seed) * 360 - 180};
		double km, want_km;

		if (i % 4 == 0) /* near each other's antipode, where haversine is weakest */
			b = (struct gs_coord){-a.lat_deg, a.lon_deg > 0 ? a.lon_deg - 179.999
									: a.lon_deg + 179.999};
		km = gs_geo_distance_km(&a, &b);
		want_km = vector_distance_km(&a, &b);
		if (!(fabs(km - want_km) < 0.01))
			fail_msg("(%f, %f) to (%f, %f): %.6f km, want %.6f", a.lat_deg, a.lon_deg,
				 b.lat_deg, b.lon_deg, km, want_km);
	}
}

static void validity(void **state)
{
	static const struct {
		struct gs_coord coord;
		bool want;
	} cases[] = {
		{{0, 0}, true},		{{90, 180}, true},	 {{-90, -180}, true},
		{{90.0001, 0}, false},	{{-91, 0}, false},	 {{0, 180.5}, false},
		{{0, -181}, false},	{{NAN, 0}, false},	 {{0, NAN}, false},
		{{INFINITY, 0}, false}, {{0, -INFINITY}, false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(gs_coord_is_valid(&cases[i].coord), cases[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_distances),
		cmocka_unit_test(agrees_with_vectors),
		cmocka_unit_test(validity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
