/* SPDX-License-Identifier: Apache-2.0 */
/* `geostreamctl geo check FILE`: no daemon, no database, only the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/mmdb_fixture.h"
#include "user/base/cleanup.h"

#include <jansson.h>
#include <string.h>

static const char *build_folder(void)
{
	const char *build = getenv("BUILD");

	return build ? build : "build";
}

static int set_up(void **state)
{
	(void)state;
	mmdb_fixture_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mmdb_fixture_remove();
	return 0;
}

/* Both outputs and the exit code. */
static int run(const char *arguments, char said[4096])
{
	char command[512];
	size_t length;
	FILE *pipe;
	int status;

	/* A configuration or a database of the machine must not matter. */
	snprintf(command, sizeof(command), "env -i %.80s/geostreamctl %.300s 2>&1 </dev/null",
		 build_folder(), arguments);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	length = fread(said, 1, 4095, pipe);
	said[length] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void write_small(const char *record)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
	struct gs_mmdb_buffer bytes;
	uint32_t offset = mmdb_fixture_record(writer, record);

	mmdb_fixture_insert(writer, "192.0.2.0/25", offset);
	mmdb_fixture_insert(writer, "192.0.2.128/25", offset);
	mmdb_fixture_insert(writer, "2001:db8::/32", offset);
	bytes = mmdb_fixture_bytes(writer);
	mmdb_fixture_write(&bytes);
	gs_mmdb_buffer_done(&bytes);
}

static void says_what_a_file_holds(void **state)
{
	char arguments[256], said[4096];
	(void)state;

	write_small("{'country':{'iso_code':'DE'}}");
	snprintf(arguments, sizeof(arguments), "geo check %s", mmdb_fixture_path());
	assert_int_equal(run(arguments, said), 0);
	assert_non_null(strstr(said, "GeoIP.mmdb: Test-City, built 2023-11-14T22:13:20Z"));
	assert_non_null(strstr(said, "2 networks, 1 prefixes"));
	assert_non_null(strstr(said, "locations 1\n"));
	assert_null(strstr(said, "warning"));
}

static void says_it_as_json(void **state)
{
	static const char *const keys[] = {"path", "type", "built", "digest", "seconds"};
	char arguments[256], said[4096];
	json_int_t networks4, networks6, prefixes4, bytes4, locations, built;
	json_t *reply;
	(void)state;

	write_small("{'country':{'iso_code':'DE'}}");
	snprintf(arguments, sizeof(arguments), "-j geo check %s", mmdb_fixture_path());
	assert_int_equal(run(arguments, said), 0);
	reply = json_loads(said, 0, NULL);
	assert_non_null(reply);
	assert_int_equal(json_unpack(reply, "{s:{s:I,s:I,s:I},s:{s:I},s:I,s:I}", "ipv4", "networks",
				     &networks4, "prefixes", &prefixes4, "table_bytes", &bytes4,
				     "ipv6", "networks", &networks6, "locations", &locations,
				     "built_unix_s", &built),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(reply, keys[i]));
	json_decref(reply);
	assert_int_equal(networks4, 2);
	assert_int_equal(prefixes4, 1);
	assert_int_equal(networks6, 1);
	assert_int_equal(locations, 1);
	assert_int_equal(built, 1700000000);
	assert_true(bytes4 > 1000000);
}

static void says_what_is_wrong(void **state)
{
	char file[128], said[4096];
	(void)state;

	snprintf(file, sizeof(file), "geo check %s", mmdb_fixture_path());
	write_small("{'country':{'iso_code':'DEU'}}");
	assert_int_equal(run(file, said), 1);
	assert_non_null(strstr(said, "geostreamctl: "));
	assert_non_null(strstr(said, "(at 192.0.2.0/25): record at data offset 0: "
				     "country.iso_code is no code of two letters"));
	assert_int_equal(run("geo check /nonexistent/GeoIP.mmdb", said), 1);
	assert_non_null(strstr(said, "/nonexistent/GeoIP.mmdb: cannot open: No such file"));
	assert_int_equal(run("geo check /etc/passwd", said), 1);
	assert_non_null(strstr(said, "/etc/passwd: no MaxMind metadata"));
	assert_int_equal(run("-j geo check /", said), 1);
	assert_non_null(strstr(said, "/: is a directory"));
	assert_int_equal(run("geo check", said), 2);
	assert_non_null(strstr(said, "FILE"));
	assert_int_equal(run("geo check one two", said), 2);
}

static void warns_of_a_file_without_places(void **state)
{
	char file[128], said[4096];
	(void)state;

	write_small("{'autonomous_system_number':64496}");
	snprintf(file, sizeof(file), "geo check %s", mmdb_fixture_path());
	assert_int_equal(run(file, said), 0);
	assert_non_null(strstr(said, "locations 0\n"));
	assert_non_null(strstr(said, "warning: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_a_file_holds),
		cmocka_unit_test(says_it_as_json),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(warns_of_a_file_without_places),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
