/* SPDX-License-Identifier: Apache-2.0 */
#include "city.h"

#include "tests/lab/mmdb_file.h"
#include "user/core/cidr.h"
#include "user/core/random.h"
#include "user/geoip/mmdb_writer.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Records of a cell: towns whose networks lie beside each other without being one. */
#define TOWNS 8u
/* IPv6 prefixes are cut down to the size of one link. */
#define LONGEST6 64u
#define MARK " (made up: benchmarks and tests only)"

struct file {
	const struct city_places *places;
	struct gs_mmdb_writer *writer;
	uint32_t *records;		/* of all cells, TOWNS of each: offset, 0 if unused */
	uint32_t first[CITY_COUNTRIES]; /* a country's first cell among all */
	uint64_t state;
	unsigned width;
};

/* ---- records -------------------------------------------------------------------------------- */

static void put_pair(struct gs_mmdb_buffer *data, const char *key, const char *value)
{
	gs_mmdb_put_text(data, key);
	gs_mmdb_put_text(data, value);
}

static void put_name(struct gs_mmdb_buffer *data, const char *name)
{
	gs_mmdb_put_text(data, "names");
	gs_mmdb_put_map(data, 1);
	put_pair(data, "en", name);
}

/* Near the cell's, still in its degree, still nearest to its country. */
static struct gs_coord town_at(const struct file *file, unsigned country,
			       const struct city_cell *cell, unsigned town)
{
	struct gs_coord coord = {cell->coord.lat_deg + 0.02 * town,
				 cell->coord.lon_deg + 0.02 * town};

	if (floor(coord.lat_deg) != floor(cell->coord.lat_deg) ||
	    floor(coord.lon_deg) != floor(cell->coord.lon_deg) ||
	    city_places_nearest(file->places, &coord) != country)
		return cell->coord;
	return coord;
}

/* As GeoLite2-City has them. */
static uint32_t put_record(struct file *file, unsigned number, unsigned cell_number, unsigned town)
{
	const struct city_country *country = &file->places->countries[number];
	const struct city_cell *cell = &country->cells[cell_number];
	const struct gs_coord coord = town_at(file, number, cell, town);
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(file->writer);
	uint32_t offset = (uint32_t)data->size;
	char name[32], subdivision[8];

	snprintf(name, sizeof(name), "%s %u-%u", country->code, cell_number + 1, town + 1);
	snprintf(subdivision, sizeof(subdivision), "%u", cell->subdivision);
	gs_mmdb_put_map(data, 5);
	gs_mmdb_put_text(data, "city");
	gs_mmdb_put_map(data, 1);
	put_name(data, name);
	gs_mmdb_put_text(data, "continent");
	gs_mmdb_put_map(data, 1);
	put_pair(data, "code", country->continent);
	gs_mmdb_put_text(data, "country");
	gs_mmdb_put_map(data, 1);
	put_pair(data, "iso_code", country->code);
	gs_mmdb_put_text(data, "location");
	gs_mmdb_put_map(data, 3);
	gs_mmdb_put_text(data, "accuracy_radius");
	gs_mmdb_put_number(data, 5, 20);
	gs_mmdb_put_text(data, "latitude");
	gs_mmdb_put_double(data, coord.lat_deg);
	gs_mmdb_put_text(data, "longitude");
	gs_mmdb_put_double(data, coord.lon_deg);
	gs_mmdb_put_text(data, "subdivisions");
	gs_mmdb_put_array(data, 1);
	gs_mmdb_put_map(data, 1);
	put_pair(data, "iso_code", subdivision);
	return offset;
}

static uint32_t record_of(struct file *file, const struct city_block *prefix, unsigned town)
{
	size_t at = (size_t)(file->first[prefix->country] + prefix->cell) * TOWNS + town;

	/* 0 is no record's: the section begins with something else. */
	if (file->records[at] == 0)
		file->records[at] = put_record(file, prefix->country, prefix->cell, town);
	return file->records[at];
}

/* ---- networks ------------------------------------------------------------------------------- */

/* Pieces a prefix can be cut into, less one. */
static uint32_t cuts_room(unsigned width, unsigned length)
{
	unsigned longest = width == 32 ? 32 : LONGEST6;
	unsigned bits = length < longest ? longest - length : 0;

	return bits > 16 ? 0xffff : (1u << bits) - 1;
}

/* key: how often to cut a prefix. A quarter of them are cut, then whoever can be, until it is
 * enough. */
static void draw_cuts(struct city_blocks *prefixes, const struct city_shape *shape, uint64_t *state)
{
	uint64_t left = shape->networks > prefixes->count ? shape->networks - prefixes->count : 0;
	bool any = true;

	for (size_t i = 0; i < prefixes->count; i++) {
		struct city_block *prefix = &prefixes->at[i];
		uint64_t mean = left * 8 / (prefixes->count - i), drawn = gs_random(state);
		uint64_t cuts = drawn % 4 ? 0 : (drawn >> 8) % (mean + 2);
		uint64_t room = cuts_room(shape->width, prefix->length);

		cuts = cuts < room ? cuts : room;
		prefix->key = cuts < left ? cuts : left;
		left -= prefix->key;
	}
	while (left > 0 && any) {
		any = false;
		for (size_t i = 0; i < prefixes->count && left > 0; i++) {
			struct city_block *prefix = &prefixes->at[i];

			if (prefix->key < cuts_room(shape->width, prefix->length)) {
				prefix->key++;
				left--;
				any = true;
			}
		}
	}
}

static struct gs_addr addr_of(city_number number, unsigned width)
{
	struct gs_addr addr;

	if (width == 32)
		return gs_addr_from_v4((uint32_t)number);
	for (int i = 15; i >= 0; i--, number >>= 8)
		addr.bytes[i] = (uint8_t)number;
	return addr;
}

/* Each piece of another town than the one before: no two of them are one network. */
static int put_pieces(struct file *file, struct city_block piece, uint32_t cuts, unsigned *town)
{
	const city_number size = (city_number)1 << (file->width - piece.length);
	struct gs_addr first, last;
	uint32_t room, low;
	int err;

	if (cuts == 0) {
		*town = (*town + 1 + (unsigned)(gs_random(&file->state) % (TOWNS - 1))) % TOWNS;
		first = addr_of(piece.first, file->width);
		last = addr_of(piece.first + (size - 1), file->width);
		return gs_mmdb_writer_insert(file->writer, &first, &last,
					     record_of(file, &piece, *town));
	}
	cuts--;
	piece.length++;
	room = cuts_room(file->width, piece.length);
	low = (uint32_t)(gs_random(&file->state) % (cuts + 1));
	if (low > room)
		low = room;
	if (cuts - low > room)
		low = cuts - room;
	err = put_pieces(file, piece, low, town);
	piece.first += size / 2;
	return err ? err : put_pieces(file, piece, cuts - low, town);
}

static int put_networks(struct file *file, struct city_blocks *prefixes,
			const struct city_shape *shape)
{
	unsigned town = 0;
	int err = 0;

	file->width = shape->width;
	draw_cuts(prefixes, shape, &file->state);
	for (size_t i = 0; i < prefixes->count && !err; i++)
		err = put_pieces(file, prefixes->at[i], (uint32_t)prefixes->at[i].key, &town);
	return err;
}

static int put_all(struct file *file, struct city_blocks prefixes[2],
		   const struct city_shape shapes[2], const char *path)
{
	uint32_t cells = 0;
	int err;

	for (unsigned i = 0; i < CITY_COUNTRIES; i++) {
		file->first[i] = cells;
		cells += file->places->countries[i].cell_count;
	}
	file->records = calloc((size_t)cells * TOWNS, sizeof(*file->records));
	if (!file->records)
		return -ENOMEM;
	gs_mmdb_put_text(gs_mmdb_writer_data(file->writer), "made up");
	err = put_networks(file, &prefixes[0], &shapes[0]);
	if (!err)
		err = put_networks(file, &prefixes[1], &shapes[1]);
	return err ? err
		   : lab_mmdb_save(file->writer, "GeoStream-City",
				   "Prefixes of a city-level database's lengths, cells without "
				   "truth" MARK,
				   path);
}

int city_file_write(const struct city_places *places, struct city_blocks prefixes[2],
		    const struct city_shape shapes[2], uint64_t seed, const char *path,
		    uint32_t *ret_nodes)
{
	struct file *file = calloc(1, sizeof(*file));
	int err = -ENOMEM;

	if (!file)
		return err;
	file->places = places;
	file->state = seed;
	/* 15 million nodes and their data are more than 24 bits count. */
	file->writer = gs_mmdb_writer_new(6, 28);
	if (file->writer)
		err = put_all(file, prefixes, shapes, path);
	if (!err)
		*ret_nodes = gs_mmdb_writer_nodes(file->writer);
	gs_mmdb_writer_free(file->writer);
	free(file->records);
	free(file);
	return err;
}
