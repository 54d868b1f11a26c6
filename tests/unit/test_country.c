/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/country.h"
#include "user/core/geo.h"

#include <string.h>

/* iso3166.tab of tzdata: everything it lists is there, and only the two regions beside it. */
static void holds_every_country(void **state)
{
	GS_AUTO_FCLOSE FILE *file = fopen("/usr/share/zoneinfo/iso3166.tab", "re");
	bool listed[26][26] = {{false}};
	unsigned countries = 0;
	char line[256];
	(void)state;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		const struct gs_country *country;
		char code[3] = {line[0], line[1], '\0'};

		if (line[0] == '#')
			continue;
		country = gs_country_find(code);
		if (!country)
			fail_msg("%s is missing", code);
		assert_string_equal(country->code, code);
		listed[code[0] - 'A'][code[1] - 'A'] = true;
		countries++;
	}
	assert_true(countries > 240);
	for (char a = 'A'; a <= 'Z'; a++)
		for (char b = 'A'; b <= 'Z'; b++) {
			char code[3] = {a, b, '\0'};
			const struct gs_country *country = gs_country_find(code);

			if (!country)
				continue;
			assert_true(gs_coord_is_valid(&country->coord));
			assert_true(country->coord.lat_deg != 0 || country->coord.lon_deg != 0);
			assert_int_equal(strlen(country->continent), 2);
			assert_non_null(strstr("AF AN AS EU NA OC SA", country->continent));
			if (strcmp(country->code, "EU") != 0 && strcmp(country->code, "AP") != 0)
				assert_true(listed[country->code[0] - 'A'][country->code[1] - 'A']);
		}
}

static void places(void **state)
{
	static const struct {
		const char *code, *want, *continent;
		struct gs_coord near;
	} cases[] = {
		{"DE", "DE", "EU", {52.5, 13.4}},   {"de", "DE", "EU", {52.5, 13.4}},
		{"US", "US", "NA", {40.7, -74.0}},  {"BR", "BR", "SA", {-23.5, -46.6}},
		{"AU", "AU", "OC", {-33.9, 151.2}}, {"RU", "RU", "EU", {55.8, 37.6}},
		{"JP", "JP", "AS", {35.7, 139.7}},  {"ZA", "ZA", "AF", {-26.2, 28.0}},
		{"AQ", "AQ", "AN", {-77.8, 166.6}}, {"NZ", "NZ", "OC", {-36.9, 174.8}},
		{"UK", "GB", "EU", {51.5, -0.1}},   {"uk", "GB", "EU", {51.5, -0.1}},
		{"SU", "RU", "EU", {55.8, 37.6}},   {"EU", "EU", "EU", {50.8, 4.3}},
		{"AP", "AP", "AS", {1.3, 103.9}},   {"BV", "BV", "AN", {-54.4, 3.4}},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct gs_country *country = gs_country_find(cases[i].code);

		assert_non_null(country);
		assert_string_equal(country->code, cases[i].want);
		assert_string_equal(country->continent, cases[i].continent);
		assert_true(gs_geo_distance_km(&country->coord, &cases[i].near) < 25);
	}
}

static void refuses_what_is_no_country(void **state)
{
	static const char *const cases[] = {"",	     "D",	 "DEU", "??", "ZZ", "AB", "UN",
					    "D\xc4", "\xff\xff", "  ",	"A1", "--", "[[", "@@"};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_null(gs_country_find(cases[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_every_country),
		cmocka_unit_test(places),
		cmocka_unit_test(refuses_what_is_no_country),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
