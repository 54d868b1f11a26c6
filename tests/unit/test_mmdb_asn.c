/* SPDX-License-Identifier: Apache-2.0 */
/* ASN databases in files: every shape a record may have, trees, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/mmdb_fixture.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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

static uint32_t find(const struct gs_asndata *asn, const char *address)
{
	struct gs_addr addr;

	assert_int_equal(gs_addr_parse(address, &addr), 0);
	return gs_asn_find(asn, &addr);
}

/* A file with one record at 10.0.0.0/8, and AS64500 at 8.0.0.0/8. */
static void write_record(const char *record)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
	struct gs_mmdb_buffer bytes;

	mmdb_fixture_insert(writer, "8.0.0.0/8",
			    mmdb_fixture_record(writer, "{'autonomous_system_number':64500}"));
	mmdb_fixture_insert(writer, "10.0.0.0/8", mmdb_fixture_record(writer, record));
	bytes = mmdb_fixture_bytes(writer);
	mmdb_fixture_write(&bytes);
	gs_mmdb_buffer_done(&bytes);
}

static void shapes(void **state)
{
	static const struct {
		const char *record;
		uint32_t want;
		const char *refused; /* NULL: it is not */
	} cases[] = {
		{"{'autonomous_system_number':64501,'autonomous_system_organization':'Ex'}", 64501,
		 NULL},
		{"{'autonomous_system_number':4294967295}", 4294967295, NULL},
		{"{'autonomous_system_number':0}", 0, NULL},
		{"{'autonomous_system_number':'AS64502'}", 64502, NULL},
		{"{'traits':{'autonomous_system_number':64503}}", 64503, NULL},
		{"{'asn':'AS64504','country':'DE'}", 64504, NULL},
		{"{'asn':64505}", 64505, NULL},
		{"{'asn':''}", 0, NULL},
		{"{'asn':'-'}", 0, NULL},
		{"{'country':{'iso_code':'DE'}}", 0, NULL},
		{"'text'", 0, NULL},
		{"{'autonomous_system_number':1.5}", 0, "autonomous_system_number is no number"},
		{"{'autonomous_system_number':{}}", 0, "autonomous_system_number is no number"},
		{"{'autonomous_system_number':-1}", 0, "autonomous_system_number is no AS number"},
		{"{'autonomous_system_number':'64500'}", 0,
		 "autonomous_system_number is text that is no AS number"},
		{"{'asn':'AS0'}", 0, "asn is text that is no AS number"},
		{"{'asn':'AS4294967296'}", 0, "asn is text that is no AS number"},
		{"{'asn':'AS00000000000000000000000000000001'}", 0,
		 "asn is text that is no AS number"},
		{"{'traits':{'autonomous_system_number':[]}}", 0,
		 "traits.autonomous_system_number is no number"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_asndata *asn = NULL;
		struct gs_error error = {{0}};
		int err;

		write_record(cases[i].record);
		err = mmdb_fixture_load_asn(&asn, &error);
		if (!err != !cases[i].refused)
			fail_msg("%s: %d %s", cases[i].record, err, error.text);
		if (err) {
			if (!strstr(error.text, cases[i].refused) ||
			    !strstr(error.text, "(at 10.0.0.0/8): record at data offset ") ||
			    strncmp(error.text, mmdb_fixture_path(), strlen(mmdb_fixture_path())) !=
				    0)
				fail_msg("%s: %s", cases[i].record, error.text);
			assert_null(asn);
			continue;
		}
		if (find(asn, "10.1.2.3") != cases[i].want)
			fail_msg("%s: %u", cases[i].record, find(asn, "10.1.2.3"));
		assert_int_equal(find(asn, "8.255.255.255"), 64500);
		assert_int_equal(find(asn, "9.0.0.0"), 0);
		mmdb_fixture_release_asn(asn);
	}
}

/* Both kinds of tree, every size of record; neighbours of one system are one interval. */
static void trees(void **state)
{
	static const unsigned sizes[] = {24, 28, 32};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, sizes[i]);
		uint32_t one = mmdb_fixture_record(writer, "{'autonomous_system_number':1}");
		uint32_t also_one = mmdb_fixture_record(
			writer, "{'autonomous_system_number':1,'x':'another record'}");
		uint32_t two = mmdb_fixture_record(writer, "{'autonomous_system_number':2}");
		struct gs_mmdb_buffer bytes;
		struct gs_asndata *asn;

		mmdb_fixture_insert(writer, "192.0.2.0/25", one);
		mmdb_fixture_insert(writer, "192.0.2.128/25", also_one);
		mmdb_fixture_insert(writer, "192.0.3.0/24", two);
		mmdb_fixture_insert(writer, "2001:db8::/32", two);
		mmdb_fixture_insert(writer, "2001:db8:1::/48", one);
		mmdb_fixture_alias(writer, "2002::/16");
		bytes = mmdb_fixture_bytes(writer);
		asn = mmdb_fixture_good_asn(&bytes);
		assert_int_equal(asn->v4.networks, 3);
		assert_int_equal(asn->v4.start_count, 4); /* nobody, 1, 2, nobody */
		assert_int_equal(find(asn, "192.0.2.0"), 1);
		assert_int_equal(find(asn, "192.0.2.255"), 1);
		assert_int_equal(find(asn, "192.0.3.0"), 2);
		assert_int_equal(find(asn, "192.0.4.0"), 0);
		assert_int_equal(find(asn, "2001:db8::1"), 2);
		assert_int_equal(find(asn, "2001:db8:1:ffff::"), 1);
		assert_int_equal(find(asn, "2001:db9::"), 0);
		assert_int_equal(find(asn, "2002:c000:0301::1"), 2); /* 192.0.3.1 inside */
		assert_int_equal(find(asn, "64:ff9b::c000:201"), 1);
		mmdb_fixture_release_asn(asn);
	}
}

/* Files that say the same have one digest; another system at one address is another. */
static void digests(void **state)
{
	static const char *const records[] = {"{'autonomous_system_number':64500}",
					      "{'asn':'AS64500','x':1}",
					      "{'autonomous_system_number':64501}"};
	uint64_t digest[3];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		struct gs_asndata *asn = NULL;
		struct gs_error error;

		write_record(records[i]);
		assert_int_equal(mmdb_fixture_load_asn(&asn, &error), 0);
		digest[i] = asn->digest;
		mmdb_fixture_release_asn(asn);
	}
	assert_int_equal(digest[0], digest[1]);
	assert_int_not_equal(digest[0], digest[2]);
}

static void a_geoip_database_is_refused(void **state)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(4, 24);
	struct gs_asndata *asn = NULL;
	struct gs_mmdb_buffer bytes;
	struct gs_error error = {{0}};
	(void)state;

	mmdb_fixture_insert(writer, "8.0.0.0/8",
			    mmdb_fixture_record(writer, "{'country':{'iso_code':'US'}}"));
	bytes = mmdb_fixture_bytes(writer);
	mmdb_fixture_write(&bytes);
	gs_mmdb_buffer_done(&bytes);
	assert_int_equal(mmdb_fixture_load_asn(&asn, &error), -EINVAL);
	assert_non_null(strstr(error.text, "no record has an autonomous_system_number"));
	assert_null(asn);
}

/* Cut short at every length, and with any one byte of it changed: refused or loaded, and no more
 * (the sanitizers look). */
static void damaged_files(void **state)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 28);
	struct gs_mmdb_buffer bytes;
	uint32_t refused = 0, loaded = 0;
	(void)state;

	mmdb_fixture_insert(writer, "192.0.2.0/24",
			    mmdb_fixture_record(writer, "{'autonomous_system_number':64500}"));
	mmdb_fixture_insert(writer, "2001:db8::/32",
			    mmdb_fixture_record(writer, "{'asn':'AS64501'}"));
	bytes = mmdb_fixture_bytes(writer);
	for (size_t i = 0; i < 2 * bytes.size; i++) {
		struct gs_mmdb_buffer damaged = {.bytes = bytes.bytes, .size = bytes.size};
		struct gs_asndata *asn = NULL;
		struct gs_error error;
		bool is_cut = i < bytes.size;

		if (is_cut)
			damaged.size = i;
		else
			damaged.bytes[i - bytes.size] ^= 0x41;
		mmdb_fixture_write(&damaged);
		if (!is_cut)
			damaged.bytes[i - bytes.size] ^= 0x41;
		if (mmdb_fixture_load_asn(&asn, &error)) {
			refused++;
			continue;
		}
		loaded++;
		find(asn, "192.0.2.1");
		mmdb_fixture_release_asn(asn);
	}
	assert_true(refused > bytes.size / 2);
	assert_true(loaded > 0);
	gs_mmdb_buffer_done(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shapes),	 cmocka_unit_test(trees),
		cmocka_unit_test(digests),	 cmocka_unit_test(a_geoip_database_is_refused),
		cmocka_unit_test(damaged_files),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
