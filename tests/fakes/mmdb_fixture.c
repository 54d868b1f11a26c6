/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mmdb_fixture.h"
#include "user/adapters/adapters.h"
#include "user/core/cidr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static char file_path[96];

void mmdb_fixture_make(void)
{
	snprintf(folder, sizeof(folder), "/tmp/gs-test-mmdb-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(file_path, sizeof(file_path), "%s/GeoIP.mmdb", folder);
}

void mmdb_fixture_remove(void)
{
	unlink(file_path);
	rmdir(folder);
}

const char *mmdb_fixture_path(void)
{
	return file_path;
}

/* ---- records -------------------------------------------------------------------------------- */

static const char *put_value(struct gs_mmdb_buffer *data, const char *text);

static const char *put_string(struct gs_mmdb_buffer *data, const char *text)
{
	const char *end = strchr(text + 1, '\'');
	char copy[256];

	assert_non_null(end);
	assert_true((size_t)(end - text) < sizeof(copy));
	memcpy(copy, text + 1, (size_t)(end - text - 1));
	copy[end - text - 1] = '\0';
	gs_mmdb_put_text(data, copy);
	return end + 1;
}

static const char *put_number(struct gs_mmdb_buffer *data, const char *text)
{
	char *end;
	double number = strtod(text, &end);

	assert_true(end > text);
	if (*end == 'f') {
		gs_mmdb_put_float(data, (float)number);
		end++;
	} else if (memchr(text, '.', (size_t)(end - text)) || number - number != 0) {
		gs_mmdb_put_double(data, number);
	} else if (number < 0) {
		gs_mmdb_put_number(data, 8, (uint32_t)(int32_t)number);
	} else {
		gs_mmdb_put_number(data, 6, (uint32_t)number);
	}
	return end;
}

/* Counts elements first: sizes come before content. */
static const char *put_container(struct gs_mmdb_buffer *data, const char *text)
{
	struct gs_mmdb_buffer inside = {0};
	const char close = *text == '{' ? '}' : ']';
	uint32_t count = 0;

	for (text++; *text != close; count++) {
		if (count > 0)
			assert_int_equal(*text++, ',');
		if (close == '}') {
			text = put_string(&inside, text);
			assert_int_equal(*text++, ':');
		}
		text = put_value(&inside, text);
	}
	gs_mmdb_put_control(data, close == '}' ? 7 : 11, count);
	gs_mmdb_put_bytes(data, inside.bytes, inside.size);
	gs_mmdb_buffer_done(&inside);
	return text + 1;
}

static const char *put_value(struct gs_mmdb_buffer *data, const char *text)
{
	if (*text == '{' || *text == '[')
		return put_container(data, text);
	if (*text == '\'')
		return put_string(data, text);
	return put_number(data, text);
}

uint32_t mmdb_fixture_record(struct gs_mmdb_writer *writer, const char *text)
{
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer);
	uint32_t offset = (uint32_t)data->size;

	assert_int_equal(*put_value(data, text), '\0');
	return offset;
}

void mmdb_fixture_insert(struct gs_mmdb_writer *writer, const char *text, uint32_t record)
{
	struct gs_prefix prefix;
	struct gs_addr last;

	assert_int_equal(gs_prefix_parse(text, &prefix), 0);
	last = prefix.addr;
	for (unsigned bit = (prefix.is_v4 ? 96 : 0) + prefix.length; bit < 128; bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	assert_int_equal(gs_mmdb_writer_insert(writer, &prefix.addr, &last, record), 0);
}

void mmdb_fixture_alias(struct gs_mmdb_writer *writer, const char *text)
{
	struct gs_prefix prefix = {.length = 96};

	/* ::ffff:0:0/96 reads as IPv4's 0.0.0.0/0; it is the IPv6 prefix that is meant. */
	if (strcmp(text, "::ffff:0:0/96") == 0)
		prefix.addr.bytes[10] = prefix.addr.bytes[11] = 0xff;
	else
		assert_int_equal(gs_prefix_parse(text, &prefix), 0);
	assert_int_equal(gs_mmdb_writer_alias(writer, &prefix), 0);
}

struct gs_mmdb_buffer mmdb_fixture_bytes(struct gs_mmdb_writer *writer)
{
	static const struct gs_mmdb_metadata metadata = {"Test-City", "made by a test", 1700000000};
	struct gs_mmdb_buffer bytes = {0};

	assert_int_equal(gs_mmdb_writer_finish(writer, &metadata, &bytes), 0);
	gs_mmdb_writer_free(writer);
	return bytes;
}

void mmdb_fixture_write(const struct gs_mmdb_buffer *bytes)
{
	FILE *file = fopen(file_path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes->bytes, 1, bytes->size, file), bytes->size);
	assert_int_equal(fclose(file), 0);
}

int mmdb_fixture_load(struct gs_geodata **ret_geo, struct gs_error *error)
{
	struct gs_geodb geodb;

	assert_int_equal(gs_mmdb_open(&geodb), 0);
	return geodb.ops->load(geodb.self, file_path, NULL, ret_geo, error);
}

void mmdb_fixture_release(struct gs_geodata *geo)
{
	struct gs_geodb geodb;

	assert_int_equal(gs_mmdb_open(&geodb), 0);
	geodb.ops->release(geodb.self, geo);
}

struct gs_geodata *mmdb_fixture_good(struct gs_mmdb_buffer *bytes)
{
	struct gs_geodata *geo = NULL;
	struct gs_error error;

	mmdb_fixture_write(bytes);
	gs_mmdb_buffer_done(bytes);
	if (mmdb_fixture_load(&geo, &error))
		fail_msg("%s", error.text);
	return geo;
}

int mmdb_fixture_load_asn(struct gs_asndata **ret_asn, struct gs_error *error)
{
	struct gs_geodb geodb;

	assert_int_equal(gs_mmdb_open(&geodb), 0);
	return geodb.ops->load_asn(geodb.self, file_path, NULL, ret_asn, error);
}

void mmdb_fixture_release_asn(struct gs_asndata *asn)
{
	struct gs_geodb geodb;

	assert_int_equal(gs_mmdb_open(&geodb), 0);
	geodb.ops->release_asn(geodb.self, asn);
}

struct gs_asndata *mmdb_fixture_good_asn(struct gs_mmdb_buffer *bytes)
{
	struct gs_asndata *asn = NULL;
	struct gs_error error;

	mmdb_fixture_write(bytes);
	gs_mmdb_buffer_done(bytes);
	if (mmdb_fixture_load_asn(&asn, &error))
		fail_msg("%s", error.text);
	return asn;
}

const struct gs_location *mmdb_fixture_find(const struct gs_geodata *geo, const char *address)
{
	struct gs_addr addr;

	assert_int_equal(gs_addr_parse(address, &addr), 0);
	return &geo->locations[gs_geodata_find(geo, &addr, NULL)];
}
