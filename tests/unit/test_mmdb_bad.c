/* SPDX-License-Identifier: Apache-2.0 */
/* Broken and hostile files: refused with what is wrong and where, or loaded; never anything else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/mmdb_fixture.h"
#include "tests/fakes/world.h"
#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <string.h>
#include <sys/stat.h>

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

/* The file there now is refused, and the error names the file and says `want`. */
static void expect_refused(const char *name, const char *want)
{
	struct gs_geodata *const untouched = (struct gs_geodata *)&untouched;
	struct gs_geodata *geo = untouched;
	struct gs_error error = {{0}};
	int err = mmdb_fixture_load(&geo, &error);

	if (!err)
		fail_msg("%s: loaded", name);
	assert_ptr_equal(geo, untouched);
	if (strncmp(error.text, mmdb_fixture_path(), strlen(mmdb_fixture_path())) != 0 ||
	    !strstr(error.text, want))
		fail_msg("%s: \"%s\" does not say \"%s\"", name, error.text, want);
}

static void put_file(const void *bytes, size_t size)
{
	struct gs_mmdb_buffer buffer = {.bytes = (uint8_t *)bytes, .size = size};

	mmdb_fixture_write(&buffer);
}

static void no_database_at_all(void **state)
{
	struct gs_geodb geodb;
	struct gs_geodata *geo = NULL;
	struct gs_error error;
	char path[600];
	(void)state;

	put_file("", 0);
	expect_refused("empty", "file is empty");
	put_file("16777216,16777471,AU\n", 21);
	expect_refused("text", "not an mmdb file");
	put_file("\xab\xcd\xefMaxMind.com", 14);
	expect_refused("marker only", "metadata");

	remove(mmdb_fixture_path());
	expect_refused("missing", "No such file or directory");
	assert_int_equal(mkdir(mmdb_fixture_path(), 0700), 0);
	expect_refused("directory", "is a directory");
	assert_int_equal(remove(mmdb_fixture_path()), 0);
	assert_int_equal(mkfifo(mmdb_fixture_path(), 0600), 0);
	expect_refused("fifo", "is no regular file");
	assert_int_equal(remove(mmdb_fixture_path()), 0);

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(gs_mmdb_open(&geodb), 0);
	assert_true(geodb.ops->load(geodb.self, path, NULL, &geo, &error) < 0);
	assert_non_null(strstr(error.text, "longer than"));
	assert_null(geo);
}

/* Records whose fields are not what they must be, at 10.0.0.0/8. */
static void bad_fields(void **state)
{
	static const struct {
		const char *record, *want;
	} cases[] = {
		{"{'country_code':7}", "country_code is no text"},
		{"{'country_code':'DEU'}", "country_code is no code of two letters"},
		{"{'country_code':'D1'}", "country_code is no code of two letters"},
		{"{'country':{'iso_code':'D'}}", "country.iso_code is no code"},
		{"{'country':{'iso_code':{}}}", "country.iso_code is no text"},
		{"{'country':{'iso_code':1.5}}", "country.iso_code is no text"},
		{"{'registered_country':{'iso_code':'1 2'}}", "registered_country.iso_code is no"},
		{"{'continent':{'code':'XX'}}", "continent.code is none of the seven"},
		{"{'continent_code':'EUR'}", "continent_code is no code"},
		{"{'subdivisions':[{'iso_code':'ABCDEFGH'}]}", "subdivisions.0.iso_code is longer"},
		{"{'subdivisions':[{'iso_code':'A B'}]}", "subdivisions.0.iso_code is no ISO"},
		{"{'subdivisions':[{'iso_code':1}]}", "subdivisions.0.iso_code is no text"},
		{"{'location':{'latitude':90.01,'longitude':0.0}}", "location.latitude is not on"},
		{"{'location':{'latitude':0.0,'longitude':-180.5}}",
		 "location.longitude is not on"},
		{"{'latitude':nan,'longitude':0.5}", "latitude is not on the globe"},
		{"{'latitude':0.5,'longitude':inf}", "longitude is not on the globe"},
		{"{'latitude':-infinityf,'longitude':1.5}", "latitude is not on the globe"},
		{"{'latitude':'12 N','longitude':'5'}", "latitude is text that is no number"},
		{"{'latitude':'1e999','longitude':'5'}", "latitude is not on the globe"},
		{"{'latitude':'0x10','longitude':'5'}", "latitude is text that is no number"},
		{"{'latitude':'nan','longitude':'5'}", "latitude is text that is no number"},
		{"{'latitude':'1.2.3','longitude':'5'}", "latitude is text that is no number"},
		{"{'latitude':'123456789012345678901234567890123456789012','longitude':'5'}",
		 "latitude is text that is no number"},
		{"{'latitude':{},'longitude':'5'}", "latitude is no number"},
		{"{'latitude':1.5}", "latitude without the other coordinate"},
		{"{'location':{'longitude':1.5}}", "longitude without the other coordinate"},
		{"{'latitude':4000000000,'longitude':1}", "latitude is not on the globe"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
		struct gs_mmdb_buffer bytes;

		mmdb_fixture_insert(writer, "8.0.0.0/8",
				    mmdb_fixture_record(writer, "{'country_code':'US'}"));
		mmdb_fixture_insert(writer, "10.0.0.0/8",
				    mmdb_fixture_record(writer, cases[i].record));
		bytes = mmdb_fixture_bytes(writer);
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_refused(cases[i].record, cases[i].want);
		expect_refused(cases[i].record, "(at 10.0.0.0/8): record at data offset ");
	}
}

/* ---- data sections by the byte -------------------------------------------------------------- */

static void put_spans(struct gs_mmdb_buffer *data, const char *bytes, size_t size, unsigned times)
{
	while (times-- > 0)
		gs_mmdb_put_bytes(data, bytes, size);
}

#define PUT(data, literal) gs_mmdb_put_bytes(data, literal, sizeof(literal) - 1)

static void data_nested(struct gs_mmdb_buffer *data)
{
	put_spans(data, "\xe1\x41x", 3, 1000000);
	PUT(data, "\x41x");
}

static void data_nested_arrays(struct gs_mmdb_buffer *data)
{
	put_spans(data, "\x01\x04", 2, 200000);
	PUT(data, "\xa0");
}

static void data_circle(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x20\x00");
}

static void data_two_step_circle(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x20\x05\xe1\x41y\x20\x00");
}

static void data_pointer_to_pointer(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x20\x05\x20\x07\xa0");
}

static void data_pointer_outside(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x38\xff\xff\xff\xff");
}

static void data_pointer_cut(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x38\x00");
}

static void data_key_is_number(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\xa1\x07\x41x");
}

static void data_map_of_millions(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xff\xff\xff\xff");
}

static void data_text_too_long(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x5e\xff\xff");
}

static void data_unknown_type(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x00\x20");
}

static void data_zeros(struct gs_mmdb_buffer *data)
{
	put_spans(data, "\0", 1, 64);
}

static void data_cache_container(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\x00\x05");
}

static void data_narrow_double(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x43lat\x64\x00\x00\x00\x00");
}

static void data_wide_number(struct gs_mmdb_buffer *data)
{
	PUT(data, "\xe1\x41x\xa3\x01\x02\x03");
}

/*
 * Each level points twice to the one below: 2^29 ways through 30 levels; looked at once each. The
 * record stands behind them.
 */
static void data_many_ways(struct gs_mmdb_buffer *data)
{
	uint32_t below = 0;

	PUT(data, "\xa0");
	for (int level = 0; level < 29; level++) {
		uint32_t here = (uint32_t)data->size;

		PUT(data, "\xe2\x41x");
		gs_mmdb_put_pointer(data, below);
		PUT(data, "\x41y");
		gs_mmdb_put_pointer(data, below);
		below = here;
	}
}

static void bad_data(void **state)
{
	static const struct {
		const char *name;
		void (*put)(struct gs_mmdb_buffer *data);
		const char *want; /* NULL: good */
	} cases[] = {
		{"a million maps in each other", data_nested, "nested too deeply"},
		{"arrays in each other", data_nested_arrays, "nested too deeply"},
		{"map that holds itself", data_circle, "in a circle"},
		{"maps that hold each other", data_two_step_circle, "in a circle"},
		{"pointer to a pointer", data_pointer_to_pointer, "to another pointer"},
		{"pointer outside", data_pointer_outside, "past the section's end"},
		{"pointer cut short", data_pointer_cut, "cut short"},
		{"key that is a number", data_key_is_number, "key of a map is no text"},
		{"sixteen million pairs", data_map_of_millions, "past the section's end"},
		{"text past the end", data_text_too_long, "cut short"},
		{"type nobody knows", data_unknown_type, "type is unknown"},
		{"zeros", data_zeros, "type is unknown"},
		{"type of no value", data_cache_container, "type is unknown"},
		{"double of four bytes", data_narrow_double, "wrong width"},
		{"uint16 of three bytes", data_wide_number, "of a wrong width"},
		{"a billion ways through", data_many_ways, NULL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(4, 32);
		struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer), bytes;
		uint32_t offset = 0;

		cases[i].put(data);
		if (!cases[i].want) {
			offset = (uint32_t)data->size;
			PUT(data, "\xe1\x41x");
			gs_mmdb_put_pointer(data, offset - 14);
			mmdb_fixture_insert(writer, "11.0.0.0/8",
					    mmdb_fixture_record(writer, "{'country_code':'DE'}"));
		}
		mmdb_fixture_insert(writer, "10.0.0.0/8", offset);
		bytes = mmdb_fixture_bytes(writer);
		if (!cases[i].want) {
			mmdb_fixture_release(mmdb_fixture_good(&bytes));
			continue;
		}
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_refused(cases[i].name, cases[i].want);
		expect_refused(cases[i].name, "(at 10.0.0.0/8)");
	}
}

/*
 * Every byte of a long array of arrays is a record: to look at all of each would take as long as
 * the square of the size.
 */
static void overlapping_records(void **state)
{
	enum { RECORDS = 20000 };
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(4, 32);
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer), bytes;
	(void)state;

	/* An array of 285 + 40000 elements, each an empty one; begun again at each record. */
	for (int i = 0; i < RECORDS; i++)
		PUT(data, "\x1e\x04\x9c\x40");
	put_spans(data, "\x00\x04", 2, 50000);
	for (uint32_t i = 0; i < RECORDS; i++) {
		struct gs_addr addr = gs_addr_from_v4(i * 2);

		assert_int_equal(gs_mmdb_writer_insert(writer, &addr, &addr, i * 4), 0);
	}
	bytes = mmdb_fixture_bytes(writer);
	mmdb_fixture_write(&bytes);
	gs_mmdb_buffer_done(&bytes);
	expect_refused("overlapping records", "");
}

/*
 * One map of 20,000 pairs, pointed to by as many records: a look into it from each would take as
 * long as the square of the size.
 */
static void records_share_a_big_map(void **state)
{
	enum { COUNT = 20000 };
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(4, 32);
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer), bytes;
	(void)state;

	gs_mmdb_put_map(data, COUNT);
	for (int i = 0; i < COUNT; i++)
		PUT(data, "\x41x\xa0");
	for (uint32_t i = 0; i < COUNT; i++) {
		struct gs_addr addr = gs_addr_from_v4(i * 2);
		uint32_t record = (uint32_t)data->size;

		gs_mmdb_put_map(data, 1);
		gs_mmdb_put_text(data, "country");
		gs_mmdb_put_pointer(data, 0);
		assert_int_equal(gs_mmdb_writer_insert(writer, &addr, &addr, record), 0);
	}
	bytes = mmdb_fixture_bytes(writer);
	mmdb_fixture_write(&bytes);
	gs_mmdb_buffer_done(&bytes);
	expect_refused("a big map for everyone", "values overlap");
}

/* ---- frames --------------------------------------------------------------------------------- */

/* A file with both families, pointers and coordinates. */
static struct gs_mmdb_buffer small_file(unsigned record_bits)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, record_bits);
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer);
	uint32_t city = mmdb_fixture_record(
		writer, "{'country':{'iso_code':'DE'},'location':{'latitude':50.1,'longitude':8.7},"
			"'subdivisions':[{'iso_code':'HE'}]}");
	uint32_t flat = mmdb_fixture_record(
		writer, "{'country_code':'JP','latitude':'35.7','longitude':'139.7'}");
	uint32_t code = mmdb_fixture_record(writer, "{'code':'AF'}");
	uint32_t shared = (uint32_t)data->size;

	gs_mmdb_put_map(data, 2);
	gs_mmdb_put_text(data, "continent");
	gs_mmdb_put_pointer(data, code);
	gs_mmdb_put_text(data, "city");
	gs_mmdb_put_pointer(data, city);
	mmdb_fixture_insert(writer, "192.0.2.0/24", city);
	mmdb_fixture_insert(writer, "198.51.100.0/23", flat);
	mmdb_fixture_insert(writer, "2001:db8::/32", flat);
	mmdb_fixture_insert(writer, "2001:db8:1::/49", shared);
	mmdb_fixture_insert(writer, "2a00:1450:4001:800::1/128", shared);
	mmdb_fixture_alias(writer, "2002::/16");
	return mmdb_fixture_bytes(writer);
}

/* Replaces the only occurrence. */
static void patch(struct gs_mmdb_buffer *bytes, const char *from, const char *to, size_t size)
{
	uint8_t *at = memmem(bytes->bytes, bytes->size, from, size);

	assert_non_null(at);
	memcpy(at, to, size);
}

static void bad_metadata(void **state)
{
	static const struct {
		const char *name, *from, *to;
		size_t size;
		const char *want;
	} cases[] = {
		{"version 3", "major_version\xa1\x02", "major_version\xa1\x03", 15,
		 "format version 3"},
		{"record size 26", "record_size\xa1\x18", "record_size\xa1\x1a", 13,
		 "record_size 26"},
		{"record size 0", "record_size\xa1\x18", "record_size\xa1\x00", 13,
		 "record_size 0"},
		{"record size as text", "record_size\xa1\x18", "record_size\x41\x18", 13,
		 "record_size is no uint16"},
		{"record size of another file", "record_size\xa1\x18", "record_size\xa1\x20", 13,
		 "node_count is wrong"},
		{"ip version 5", "ip_version\xa1\x06", "ip_version\xa1\x05", 12, "ip_version 5"},
		{"no node_count", "node_count", "node_coxnt", 10, "no node_count"},
		{"no type", "database_type", "database_tyqe", 13, "no database_type"},
		{"no date", "build_epoch", "build_epoxh", 11, "no build_epoch"},
		{"no languages", "languages", "languagex", 9, "no languages"},
		{"languages that are numbers",
		 "languages\x01\x04\x42"
		 "en",
		 "languages\x01\x04\xa2"
		 "en",
		 14, "languages is no array of texts"},
		{"no map",
		 "\xe9\x5b"
		 "binary_format_major",
		 "\x09\x04"
		 "binary_format_major",
		 21, "metadata"},
		{"size past the end",
		 "\xe9\x5b"
		 "binary_format_major",
		 "\xef\x5b"
		 "binary_format_major",
		 21, "metadata"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_mmdb_buffer bytes = small_file(24);

		patch(&bytes, cases[i].from, cases[i].to, cases[i].size);
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_refused(cases[i].name, cases[i].want);
	}
}

/* One more pair, {"x": value}, before the others of the metadata. */
static void put_with_metadata(const struct gs_mmdb_buffer *value)
{
	struct gs_mmdb_buffer whole = small_file(24), bytes = {0};
	const uint8_t *at = memmem(whole.bytes, whole.size, "\xab\xcd\xefMaxMind.com\xe9", 15);
	size_t before;

	assert_non_null(at);
	before = (size_t)(at - whole.bytes) + 14;
	gs_mmdb_put_bytes(&bytes, whole.bytes, before);
	PUT(&bytes, "\xea\x41x");
	gs_mmdb_put_bytes(&bytes, value->bytes, value->size);
	gs_mmdb_put_bytes(&bytes, whole.bytes + before + 1, whole.size - before - 1);
	mmdb_fixture_write(&bytes);
	gs_mmdb_buffer_done(&bytes);
	gs_mmdb_buffer_done(&whole);
}

/* Before any record: opening the file is what makes the library read its metadata. */
static void hostile_metadata(void **state)
{
	enum { BEFORE = 3 };
	struct gs_mmdb_buffer value = {0};
	struct gs_geodata *geo = NULL;
	struct gs_error error;
	uint32_t below, here;
	(void)state;

	put_spans(&value, "\x01\x04", 2, 60000);
	PUT(&value, "\xa0");
	put_with_metadata(&value);
	expect_refused("arrays in each other", "metadata: offset 67: values are nested too deeply");
	value.size = 0;

	/* Each level points twice to the one below. */
	gs_mmdb_put_array(&value, 30);
	below = (uint32_t)value.size + BEFORE;
	PUT(&value, "\xa0");
	for (int level = 0; level < 29; level++) {
		here = (uint32_t)value.size + BEFORE;
		gs_mmdb_put_array(&value, 2);
		gs_mmdb_put_pointer(&value, below);
		gs_mmdb_put_pointer(&value, below);
		below = here;
	}
	put_with_metadata(&value);
	expect_refused("a billion ways through", "values overlap");
	value.size = 0;

	PUT(&value, "\xa0");
	put_with_metadata(&value);
	assert_int_equal(mmdb_fixture_load(&geo, &error), 0);
	mmdb_fixture_release(geo);
	gs_mmdb_buffer_done(&value);
}

/* Readable, but nobody could be sent anywhere by it. */
/* Sound, and everything in it is at the unknown location. */
static void expect_nowhere(const char *name)
{
	struct gs_geodata *geo = NULL;
	struct gs_error error = {{0}};
	struct gs_geodb geodb;

	if (mmdb_fixture_load(&geo, &error))
		fail_msg("%s: %s", name, error.text);
	assert_int_equal(geo->location_count, 1);
	assert_int_equal(gs_mmdb_open(&geodb), 0);
	geodb.ops->release(geodb.self, geo);
}

static void no_places(void **state)
{
	static const char *const records[] = {
		"{'autonomous_system_number':64496,'autonomous_system_organization':'Example'}",
		"{'country_code':'-','latitude':'','longitude':'-','continent_code':''}",
		"{'latitude':0.0,'longitude':0.0}",
		"{}",
		"'2001:db8::/32'",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
		struct gs_mmdb_buffer bytes;

		mmdb_fixture_insert(writer, "192.0.2.0/24",
				    mmdb_fixture_record(writer, records[i]));
		bytes = mmdb_fixture_bytes(writer);
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_nowhere(records[i]);
	}
}

/* node_count says more or fewer nodes than there are: the gap before the data is not where it says.
 */
static void wrong_node_count(void **state)
{
	(void)state;

	for (int off = -40; off <= 40; off++) {
		struct gs_mmdb_buffer bytes = small_file(28);
		uint8_t *at = memmem(bytes.bytes, bytes.size, "node_count", 10);
		unsigned count;

		assert_non_null(at);
		assert_int_equal(at[10], 0xc2); /* uint32 of two bytes */
		count = (unsigned)(at[11] << 8 | at[12]);
		at[11] = (uint8_t)(((int)count + off) >> 8);
		at[12] = (uint8_t)((int)count + off);
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		if (off != 0)
			expect_refused("node_count", "node_count is wrong");
	}
}

static void set_record(struct gs_mmdb_buffer *bytes, uint32_t node, unsigned side, uint32_t record)
{
	for (unsigned i = 0; i < 4; i++)
		bytes->bytes[8 * node + 4 * side + i] = (uint8_t)(record >> (24 - 8 * i));
}

static uint32_t get_record(const struct gs_mmdb_buffer *bytes, uint32_t node, unsigned side)
{
	uint32_t record = 0;

	for (unsigned i = 0; i < 4; i++)
		record = record << 8 | bytes->bytes[8 * node + 4 * side + i];
	return record;
}

static void bad_trees(void **state)
{
	static const struct {
		const char *name;
		uint32_t node;
		unsigned side;
		uint32_t record;
		const char *want;
	} cases[] = {
		{"root to itself", 0, 0, 0, "circle"},
		{"root's other side to itself", 0, 1, 0, "circle"},
		{"back to the root from deep down", 130, 0, 0, "circle"},
		{"a node twice", 0, 1, 1, "share nodes"},
		{"past the data", 5, 1, 0x7fffffff, "points past the data section"},
		{"the last number there is", 5, 1, 0xffffffff, "points past the data section"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_mmdb_buffer bytes = small_file(32);

		set_record(&bytes, cases[i].node, cases[i].side, cases[i].record);
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_refused(cases[i].name, cases[i].want);
		expect_refused(cases[i].name, ": node ");
	}
}

/* Records that point into the 16 bytes between tree and data. */
static void records_into_the_gap(void **state)
{
	(void)state;

	for (uint32_t into = 1; into < 16; into++) {
		struct gs_mmdb_buffer bytes = small_file(32);
		uint32_t node = 0, empty;

		/* The root's right side leads nowhere in this file: its number is node_count. */
		empty = get_record(&bytes, 0, 1);
		set_record(&bytes, node, 1, empty + into);
		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_refused("gap", "node 0 (at 8000::/1): record points past the data section");
	}
}

static void no_networks(void **state)
{
	static const struct {
		unsigned ip_version, bits;
	} cases[] = {{4, 24}, {6, 24}, {4, 28}, {6, 32}};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_mmdb_buffer bytes =
			mmdb_fixture_bytes(gs_mmdb_writer_new(cases[i].ip_version, cases[i].bits));

		mmdb_fixture_write(&bytes);
		gs_mmdb_buffer_done(&bytes);
		expect_refused("no networks", "holds no networks");
	}
}

static void cut_short_anywhere(void **state)
{
	static const unsigned sizes[] = {24, 28, 32};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct gs_mmdb_buffer whole = small_file(sizes[i]);

		for (size_t part = 0; part < 50; part++) {
			put_file(whole.bytes, whole.size * part / 50);
			expect_refused("cut at its end", "");
			put_file(whole.bytes + whole.size - whole.size * part / 50,
				 whole.size * part / 50);
			expect_refused("cut at its beginning", "");
		}
		/* And at every byte of its metadata. */
		for (size_t less = 1; less < 250; less++) {
			put_file(whole.bytes, whole.size - less);
			expect_refused("metadata cut", "");
		}
		gs_mmdb_buffer_done(&whole);
	}
}

/* Whatever is flipped: an error that names the file, or tables that answer. */
static void flipped_bytes(void **state)
{
	enum { SEEDS = 2000 };
	struct gs_mmdb_buffer whole[3] = {small_file(24), small_file(28), small_file(32)};
	unsigned loaded = 0;
	(void)state;

	print_message("seeds 1 .. %d\n", SEEDS);
	for (uint64_t start = 1; start <= SEEDS; start++) {
		struct gs_mmdb_buffer *bytes = &whole[start % 3];
		struct gs_geodata *geo = NULL;
		struct gs_error error = {{0}};
		uint64_t seed = start;
		size_t at[8];
		uint8_t kept[8], flips = (uint8_t)(1 + world_draw(&seed) % 8);

		for (uint8_t i = 0; i < flips; i++) {
			at[i] = world_draw(&seed) % bytes->size;
			kept[i] = bytes->bytes[at[i]];
			bytes->bytes[at[i]] =
				(uint8_t)(world_draw(&seed) % 4
						  ? world_draw(&seed)
						  : kept[i] ^ 1u << world_draw(&seed) % 8);
		}
		mmdb_fixture_write(bytes);
		while (flips-- > 0)
			bytes->bytes[at[flips]] = kept[flips];
		if (mmdb_fixture_load(&geo, &error)) {
			assert_null(geo);
			assert_non_null(strstr(error.text, "GeoIP.mmdb: "));
			continue;
		}
		loaded++;
		assert_true(geo->location_count >= 1);
		for (int i = 0; i < 50; i++) {
			struct gs_addr addr = gs_addr_from_v4((uint32_t)world_draw(&seed));

			if (i % 2)
				addr.bytes[world_draw(&seed) % 16] ^= 1;
			assert_true(gs_geodata_find(geo, &addr, NULL) < geo->location_count);
		}
		mmdb_fixture_release(geo);
	}
	/* Both ways out were taken. */
	assert_true(loaded > SEEDS / 100 && loaded < SEEDS * 99 / 100);
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
		gs_mmdb_buffer_done(&whole[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_database_at_all),
		cmocka_unit_test(bad_fields),
		cmocka_unit_test(bad_data),
		cmocka_unit_test(overlapping_records),
		cmocka_unit_test(records_share_a_big_map),
		cmocka_unit_test(hostile_metadata),
		cmocka_unit_test(no_places),
		cmocka_unit_test(bad_metadata),
		cmocka_unit_test(wrong_node_count),
		cmocka_unit_test(bad_trees),
		cmocka_unit_test(records_into_the_gap),
		cmocka_unit_test(no_networks),
		cmocka_unit_test(cut_short_anywhere),
		cmocka_unit_test(flipped_bytes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
