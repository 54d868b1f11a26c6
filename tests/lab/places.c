// SPDX-License-Identifier: Apache-2.0
/*
 * places COUNT OUT: an mmdb of COUNT places all over the world, one block of addresses of each
 * family to a place, in the shape of a city-level database. For tests of size; same COUNT, same
 * bytes.
 */

#include "mmdb_file.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Neighbours on a spiral from pole to pole, evenly spread. */
static void place(uint32_t i, uint32_t count, double *ret_lat_deg, double *ret_lon_deg)
{
	double golden_deg = 137.50776405003785;

	*ret_lat_deg = asin(1 - 2 * (i + 0.5) / count) * 180 / M_PI;
	*ret_lon_deg = fmod(i * golden_deg, 360) - 180;
}

static void put_code(struct gs_mmdb_buffer *data, const char *what, const char *key,
		     const char *code)
{
	gs_mmdb_put_text(data, what);
	gs_mmdb_put_map(data, 1);
	gs_mmdb_put_text(data, key);
	gs_mmdb_put_text(data, code);
}

static uint32_t put_record(struct gs_mmdb_writer *writer, uint32_t i, uint32_t count)
{
	static const char *const countries[][2] = {
		{"DE", "EU"}, {"US", "NA"}, {"BR", "SA"}, {"KE", "AF"}, {"JP", "AS"}, {"AU", "OC"},
	};
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer);
	uint32_t offset = (uint32_t)data->size;
	double lat_deg, lon_deg;

	place(i, count, &lat_deg, &lon_deg);
	gs_mmdb_put_map(data, 3);
	put_code(data, "continent", "code", countries[i % 6][1]);
	put_code(data, "country", "iso_code", countries[i % 6][0]);
	gs_mmdb_put_text(data, "location");
	gs_mmdb_put_map(data, 2);
	gs_mmdb_put_text(data, "latitude");
	gs_mmdb_put_double(data, lat_deg);
	gs_mmdb_put_text(data, "longitude");
	gs_mmdb_put_double(data, lon_deg);
	return offset;
}

/* A /20 from 16.0.0.0 on, and a /44 from 2400:: on. */
static int insert(struct gs_mmdb_writer *writer, uint32_t i, uint32_t offset)
{
	uint32_t v4 = 0x10000000u + (i << 12);
	struct gs_addr first = gs_addr_from_v4(v4), last = gs_addr_from_v4(v4 | 0xfff);
	uint64_t v6 = 0x2400000000000000u + ((uint64_t)i << 20);
	int err = gs_mmdb_writer_insert(writer, &first, &last, offset);

	memset(&last, 0xff, sizeof(last));
	memset(&first, 0, sizeof(first));
	for (int byte = 0; byte < 8; byte++) {
		first.bytes[byte] = (uint8_t)(v6 >> (56 - 8 * byte));
		last.bytes[byte] = (uint8_t)((v6 | 0xfffff) >> (56 - 8 * byte));
	}
	return err ? err : gs_mmdb_writer_insert(writer, &first, &last, offset);
}

int main(int argc, char **argv)
{
	uint32_t count = argc == 3 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	struct gs_mmdb_writer *writer;
	int err = 0;

	if (count < 1 || count > 65536) {
		fprintf(stderr, "usage: places COUNT OUT (1 to 65536 places)\n");
		return 2;
	}
	writer = gs_mmdb_writer_new(6, 28);
	if (!writer)
		err = -ENOMEM;
	for (uint32_t i = 0; i < count && !err; i++)
		err = insert(writer, i, put_record(writer, i, count));
	if (!err)
		err = lab_mmdb_save(writer, "GeoStream-Places", "Places that are none", argv[2]);
	gs_mmdb_writer_free(writer);
	if (err)
		fprintf(stderr, "places: %s: %s\n", argv[2], strerror(-err));
	return err ? 1 : 0;
}
