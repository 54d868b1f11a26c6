/* SPDX-License-Identifier: Apache-2.0 */
/* The converter on small inputs: what it makes of them, and what it says of bad lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/mmdb_fixture.h"
#include "user/base/cleanup.h"

#include <math.h>
#include <string.h>

#define V4 "16777216,16777471,AU\n"
#define V6 "2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n"
#define ZONES "AU\t-3352+15113\tAustralia/Sydney\nJP\t+353916+1394441\tAsia/Tokyo\n"

static char folder[] = "/tmp/gs-test-mkgeoip-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	mmdb_fixture_make();
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"v4", "v6", "zones"};
	char path[80];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
	remove(folder);
	mmdb_fixture_remove();
	return 0;
}

static void put_file(const char *name, const char *text)
{
	char path[80];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* Runs it over the three texts; what it said, and its exit code. */
static int convert(const char *v4, const char *v6, const char *zones, char said[512])
{
	const char *build = getenv("BUILD");
	char command[600];
	size_t length;
	FILE *pipe;
	int status;

	put_file("v4", v4);
	put_file("v6", v6);
	put_file("zones", zones);
	snprintf(command, sizeof(command), "%.80s/geoip/mkgeoip %s/v4 %s/v6 %s/zones %s 2>&1",
		 build ? build : "build", folder, folder, folder, mmdb_fixture_path());
	pipe = popen(command, "re");
	assert_non_null(pipe);
	length = fread(said, 1, 511, pipe);
	said[length] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void bad_lines(void **state)
{
	static const struct {
		const char *v4, *v6, *zones, *want;
	} cases[] = {
		{V4 "16777472,16778239\n", V6, ZONES, "/v4:2: not three fields"},
		{"# one\n# two\n\nx,16777471,AU\n", V6, ZONES, "/v4:4: the range's first"},
		{"16777216,1.0.0.255,AU\n", V6, ZONES, "/v4:1: the range's last address is none"},
		{"16777216,4294967296,AU\n", V6, ZONES, "/v4:1: the range's last address is none"},
		{"-1,16777471,AU\n", V6, ZONES, "/v4:1: the range's first address is none"},
		{"16777471,16777216,AU\n", V6, ZONES, "/v4:1: the range's last address is before"},
		{V4 V4, V6, ZONES, "/v4:2: the range begins before"},
		{V4 "16777471,16777479,JP\n", V6, ZONES, "/v4:2: the range begins before"},
		{"16777216,16777471,Au\n", V6, ZONES, "/v4:1: the code is not two capital"},
		{"16777216,16777471,AUS\n", V6, ZONES, "/v4:1: the code is not two capital"},
		{"16777216,16777471,AU\r\n", V6, ZONES, "/v4:1: the code is not two capital"},
		{"# nothing\n", V6, ZONES, "/v4: no ranges"},
		{V4, V6 "2001:200::,2001:201::,JP\n", ZONES, "/v6:2: the range begins before"},
		{V4, "2001:200::,2001:zz::,JP\n", ZONES, "/v6:1: the range's last"},
		{V4, "192.0.2.0,192.0.2.1,JP\n", ZONES, "/v6:1: the range's first"},
		{V4, "::5,::6,JP\n", ZONES, "/v6:1: the range's first"},
		{V4, "", ZONES, "/v6: no ranges"},
		{V4, V6, "JP\t+353916\tAsia/Tokyo\n", "/zones:1: no coordinates"},
		{V4, V6, "JP\t+9539+13944\tAsia/Tokyo\n", "/zones:1: no coordinates"},
		{V4, V6, "JP\t+3569+13944\tAsia/Tokyo\n", "/zones:1: no coordinates"},
		{V4, V6, "JP\t+35a9+13944\tAsia/Tokyo\n", "/zones:1: no coordinates"},
		{V4, V6, ZONES "Japan\t+3539+13944\tAsia/Tokyo\n", "/zones:3: no code"},
		{V4, V6, ZONES "\n", "/zones:3: no code"},
		{V4, V6, "# none\n", "/zones: no zones"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char said[512];

		remove(mmdb_fixture_path());
		if (convert(cases[i].v4, cases[i].v6, cases[i].zones, said) != 1 ||
		    !strstr(said, cases[i].want))
			fail_msg("\"%s\" does not say \"%s\"", said, cases[i].want);
		assert_int_not_equal(access(mmdb_fixture_path(), F_OK), 0);
	}
}

static void converts(void **state)
{
	static const char zones[] = "# comment\n"
				    "US\t+340308-1181434\tAmerica/Los_Angeles\n"
				    "US\t+404251-0740023\tAmerica/New_York\n"
				    "JP\t+353916+1394441\tAsia/Tokyo\n";
	static const char v4[] = "# Generated: Thu, 25 Jun 2026 04:33:59 GMT\n"
				 "0,15726991,US\n"
				 "15726992,15726999,??\n"
				 "16777216,16777216,EU\n"
				 "16777217,16777217,UK\n"
				 "16777218,16777218,ZZ\n"
				 "4294967295,4294967295,BV\n";
	struct gs_geodata *geo = NULL;
	const struct gs_location *found;
	struct gs_error error;
	char said[512];
	(void)state;

	if (convert(v4, V6, zones, said) != 0)
		fail_msg("%s", said);
	assert_non_null(
		strstr(said, "7 ranges, of these 1 of no country, 1 of codes that are none"));
	if (mmdb_fixture_load(&geo, &error))
		fail_msg("%s", error.text);
	assert_int_equal(geo->build_unix_s, 1782362039);
	found = mmdb_fixture_find(geo, "0.0.0.0");
	assert_string_equal(found->country, "US");
	assert_true(fabs(found->coord.lon_deg + 74.00639) < 1e-3);
	assert_ptr_equal(mmdb_fixture_find(geo, "0.239.249.143"), found);
	assert_ptr_equal(mmdb_fixture_find(geo, "0.239.249.144"), &geo->locations[0]);
	found = mmdb_fixture_find(geo, "1.0.0.0");
	assert_string_equal(found->country, "");
	assert_string_equal(found->continent, "EU");
	assert_true(found->has_coord);
	assert_string_equal(mmdb_fixture_find(geo, "1.0.0.1")->country, "GB");
	assert_ptr_equal(mmdb_fixture_find(geo, "1.0.0.2"), &geo->locations[0]);
	found = mmdb_fixture_find(geo, "255.255.255.255");
	assert_string_equal(found->country, "BV");
	assert_true(fabs(found->coord.lat_deg + 54.4333) < 1e-3);
	assert_string_equal(mmdb_fixture_find(geo, "2001:200::1")->country, "JP");
	mmdb_fixture_release(geo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(converts),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
