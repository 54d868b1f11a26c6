// SPDX-License-Identifier: Apache-2.0
/*
 * The geodb port on mmdb files: the tree is walked once, in address order, into intervals of one
 * class; classes become locations; intervals become the compiled tables. Nothing in force is
 * touched: all of it is built aside and handed over whole.
 */
#include "adapters.h"

#include "mmdb_file.h"
#include "mmdb_places.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__extension__ typedef unsigned __int128 u128;

/* Ids above are left to the locations of overrides, one a region. */
#define LOCATIONS_MAX (GS_MAX_LOCATIONS - GS_MAX_REGIONS)

/* Intervals of one class, as they are found; the first starts at 0. */
struct runs {
	struct gs_geo_key *starts;
	uint32_t *classes;
	size_t count, room;
	uint64_t networks;
};

struct load {
	struct gs_mmdb_file file;
	struct gs_mmdb_places *places;
	struct gs_error *error;
	uint64_t visited; /* nodes, in both walks */
	struct runs v4, v6;
};

static void free_runs(struct runs *runs)
{
	free(runs->starts);
	free(runs->classes);
}

static void free_load(struct load *load)
{
	gs_mmdb_file_close(&load->file);
	gs_mmdb_places_free(load->places);
	free_runs(&load->v4);
	free_runs(&load->v6);
}

static int fail_memory(struct gs_error *error)
{
	return gs_mmdb_fail(-ENOMEM, error, "no memory");
}

/* ---- walk ----------------------------------------------------------------------------------- */

static int grow_runs(struct runs *runs)
{
	size_t room = runs->room ? runs->room * 2 : 4096;
	struct gs_geo_key *starts = reallocarray(runs->starts, room, sizeof(*starts));
	uint32_t *classes;

	if (!starts)
		return -ENOMEM;
	runs->starts = starts;
	classes = reallocarray(runs->classes, room, sizeof(*classes));
	if (!classes)
		return -ENOMEM;
	runs->classes = classes;
	runs->room = room;
	return 0;
}

static int append_run(struct runs *runs, u128 start, uint32_t class)
{
	if (runs->count > 0 && runs->classes[runs->count - 1] == class)
		return 0;
	if (runs->count == runs->room && grow_runs(runs))
		return -ENOMEM;
	runs->starts[runs->count].high = (uint64_t)(start >> 64);
	runs->starts[runs->count].low = (uint64_t)start;
	runs->classes[runs->count++] = class;
	return 0;
}

/* A place in the tree: `bits` bits of an address of `width` bits were read. */
struct place {
	u128 first;
	unsigned bits;
	unsigned width;
	uint32_t node; /* where it was read; for people */
};

/* "node 1234 (at 10.0.0.0/8): <wrong>" */
static int fail_at(struct load *load, const struct place *place, const char *wrong)
{
	char text[GS_PREFIX_TEXT_MAX];
	struct gs_prefix prefix = {.is_v4 = place->width == 32, .length = (uint8_t)place->bits};

	if (prefix.is_v4)
		prefix.addr = gs_addr_from_v4((uint32_t)place->first);
	for (unsigned i = 0; !prefix.is_v4 && i < 16; i++)
		prefix.addr.bytes[i] = (uint8_t)(place->first >> (120 - 8 * i));
	return gs_mmdb_fail(-EINVAL, load->error, "node %u (at %s): %s", place->node,
			    gs_prefix_format(&prefix, text), wrong);
}

/* What a record that is no node says: nothing, or data. */
static int take_leaf(struct load *load, struct runs *runs, const struct place *place,
		     uint32_t record)
{
	uint32_t class = 0;
	struct gs_error inner;
	uint32_t offset;
	int err;

	if (record != load->file.mmdb.metadata.node_count) {
		if (!gs_mmdb_file_data_offset(&load->file, record, &offset))
			return fail_at(load, place, "record points past the data section");
		err = gs_mmdb_places_class(load->places, &load->file, offset, &class, &inner);
		if (err == -ENOMEM)
			return fail_memory(load->error);
		if (err) {
			char wrong[GS_ERROR_MAX];

			snprintf(wrong, sizeof(wrong), "record at data offset %u: %.240s", offset,
				 inner.text);
			return fail_at(load, place, wrong);
		}
		runs->networks++;
	}
	return append_run(runs, place->first, class) ? fail_memory(load->error) : 0;
}

/* IPv4 inside the IPv6 tree: once as itself, and not again where the tree points back to it. */
static bool is_v4_alias(const struct load *load, const struct place *place, uint32_t record)
{
	return place->width == 128 && record == load->file.mmdb.ipv4_start_node.node_value;
}

/* A node on the way down. */
struct frame {
	u128 first;
	uint32_t node;
	uint32_t records[2];
	unsigned side; /* to be looked at next; 2: both were */
};

static int enter_node(struct load *load, struct frame *frame, uint32_t node, u128 first)
{
	MMDB_search_node_s read;
	int status = MMDB_read_node(&load->file.mmdb, node, &read);

	if (status != MMDB_SUCCESS)
		return gs_mmdb_fail(-EINVAL, load->error, "node %u: %s", node,
				    MMDB_strerror(status));
	*frame = (struct frame){
		.first = first,
		.node = node,
		.records = {(uint32_t)read.left_record, (uint32_t)read.right_record},
	};
	load->visited++;
	return 0;
}

/*
 * Everything below one record, in address order. A tree visits each node once, so more visits than
 * nodes mean records that share or circle; a circle is also deeper than an address has bits.
 */
static int walk(struct load *load, struct runs *runs, uint32_t root, unsigned width)
{
	const uint32_t node_count = load->file.mmdb.metadata.node_count;
	struct frame frames[128];
	struct place place = {.width = width};
	unsigned depth = 0;
	int err;

	if (root >= node_count)
		return take_leaf(load, runs, &place, root);
	err = enter_node(load, &frames[depth++], root, 0);
	while (!err && depth > 0) {
		struct frame *frame = &frames[depth - 1];
		uint32_t record;

		if (frame->side == 2) {
			depth--;
			continue;
		}
		place.first = frame->first | (u128)frame->side << (width - depth);
		place.bits = depth;
		place.node = frame->node;
		record = frame->records[frame->side++];
		if (record >= node_count)
			err = take_leaf(load, runs, &place, record);
		else if (is_v4_alias(load, &place, record))
			err = append_run(runs, place.first, 0) ? fail_memory(load->error) : 0;
		else if (depth == width)
			return fail_at(load, &place,
				       "tree is deeper than an address has bits: it runs in a "
				       "circle");
		else if (load->visited >= node_count)
			return fail_at(load, &place,
				       "more nodes on the way than the file has: branches share "
				       "nodes or run in a circle");
		else
			err = enter_node(load, &frames[depth++], record, place.first);
	}
	return err;
}

static int walk_families(struct load *load)
{
	const MMDB_s *mmdb = &load->file.mmdb;
	const bool is_v6 = mmdb->metadata.ip_version == 6;
	int err;

	/* The IPv4 tree hangs below 96 zero bits, unless a shorter prefix says it all. */
	if (is_v6 && mmdb->ipv4_start_node.node_value == 0)
		return gs_mmdb_fail(-EINVAL, load->error,
				    "node 0 (at ::/96): tree runs in a circle");
	err = walk(load, &load->v4, mmdb->ipv4_start_node.node_value, 32);
	if (!err && is_v6)
		err = walk(load, &load->v6, 0, 128);
	if (!err && !is_v6 && append_run(&load->v6, 0, 0))
		err = fail_memory(load->error);
	if (!err && load->v4.networks + load->v6.networks == 0)
		err = gs_mmdb_fail(-EINVAL, load->error, "database holds no networks");
	return err;
}

/* ---- compile -------------------------------------------------------------------------------- */

/* Prefixes that cover first .. last exactly, at least. */
static uint64_t count_prefixes(u128 first, u128 last)
{
	uint64_t count = 0;

	for (;;) {
		u128 size = first ? first & -first : 0; /* 0: 2^128 */

		count++;
		if (first == 0 && last == ~(u128)0)
			return count;
		while (size == 0 || size - 1 > last - first)
			size = size ? size >> 1 : (u128)1 << 127;
		if (first + (size - 1) == last)
			return count;
		first += size;
	}
}

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static int grow_blocks(struct gs_geo_output *output, size_t block_limit)
{
	/* Lines of the cache do not straddle blocks this way. */
	output->blocks = aligned_alloc(sizeof(struct gs_geo_block),
				       block_limit * sizeof(struct gs_geo_block));
	if (!output->blocks)
		return -ENOMEM;
	output->block_limit = block_limit;
	return 0;
}

static int compile_blocks(struct gs_geodata_family *family, enum gs_geo_family kind,
			  struct gs_error *error)
{
	const u128 last_address = kind == GS_GEO_V4 ? UINT32_MAX : ~(u128)0;
	GS_AUTO_FREE struct gs_geo_range *ranges = calloc(family->start_count, sizeof(*ranges));
	struct gs_geo_input input = {.family = kind, .ranges = ranges};
	struct gs_geo_output output = {.grow = grow_blocks};
	size_t at;
	int err;

	if (!ranges)
		return fail_memory(error);
	for (size_t i = 0; i < family->start_count; i++) {
		struct gs_geo_range *range = &ranges[input.count];
		u128 last = i + 1 < family->start_count ? number_of(family->starts[i + 1]) - 1
							: last_address;

		if (family->start_locations[i] == 0)
			continue;
		range->first = family->starts[i];
		range->last.high = (uint64_t)(last >> 64);
		range->last.low = (uint64_t)last;
		range->location = family->start_locations[i];
		family->prefixes += count_prefixes(number_of(range->first), last);
		input.count++;
	}
	err = gs_geo_build(&input, &output, &at);
	if (err == -ENOMEM)
		return fail_memory(error);
	if (err)
		return gs_mmdb_fail(err, error, "table does not fit: %s", strerror(-err));
	family->blocks = output.blocks;
	family->block_count = output.block_count;
	return 0;
}

/* Takes the runs' starts; intervals that became one location become one. */
static int compile_family(struct runs *runs, const uint16_t *location_of, enum gs_geo_family kind,
			  struct gs_geodata_family *family, struct gs_error *error)
{
	size_t count = 0;

	family->networks = runs->networks;
	family->start_locations = calloc(runs->count, sizeof(*family->start_locations));
	if (!family->start_locations)
		return fail_memory(error);
	family->starts = gs_take_ptr(runs->starts);
	for (size_t i = 0; i < runs->count; i++) {
		uint16_t location = location_of[runs->classes[i]];

		if (count > 0 && family->start_locations[count - 1] == location)
			continue;
		family->starts[count] = family->starts[i];
		family->start_locations[count++] = location;
	}
	family->start_count = count;
	return compile_blocks(family, kind, error);
}

/* A word at a time; the same constants as the packet path's hash, but nobody compares the two. */
static uint64_t digest_step(uint64_t digest, uint64_t word)
{
	digest = (digest ^ word) * 0x9e3779b97f4a7c15ULL;
	return digest ^ (digest >> 29);
}

static uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t size)
{
	uint64_t word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		word = 0;
		memcpy(&word, (const char *)bytes + i,
		       size - i < sizeof(word) ? size - i : sizeof(word));
		digest = digest_step(digest, word);
	}
	return digest_step(digest, size);
}

static uint64_t digest_geodata(const struct gs_geodata *geo)
{
	uint64_t digest = geo->location_count;

	for (uint32_t i = 0; i < geo->location_count; i++) {
		const struct gs_location *location = &geo->locations[i];

		/* Field by field: padding has no value. */
		digest = digest_bytes(digest, location->country, sizeof(location->country));
		digest = digest_bytes(digest, location->continent, sizeof(location->continent));
		digest = digest_bytes(digest, location->subdivision, sizeof(location->subdivision));
		digest = digest_step(digest, location->has_coord);
		digest = digest_bytes(digest, &location->coord, sizeof(location->coord));
	}
	digest =
		digest_bytes(digest, geo->v4.blocks, geo->v4.block_count * sizeof(*geo->v4.blocks));
	return digest_bytes(digest, geo->v6.blocks, geo->v6.block_count * sizeof(*geo->v6.blocks));
}

static void free_geodata(struct gs_geodata *geo)
{
	if (!geo)
		return;
	free(geo->locations);
	free(geo->v4.blocks);
	free(geo->v4.starts);
	free(geo->v4.start_locations);
	free(geo->v6.blocks);
	free(geo->v6.starts);
	free(geo->v6.start_locations);
	free(geo);
}

static void free_geodata_ptr(struct gs_geodata **geo)
{
	free_geodata(*geo);
}

static int compile(struct load *load, struct gs_geodata **ret_geo)
{
	GS_CLEANUP(free_geodata_ptr) struct gs_geodata *geo = calloc(1, sizeof(*geo));
	GS_AUTO_FREE uint16_t *location_of = NULL;
	int err;

	if (!geo || gs_mmdb_places_finish(load->places, LOCATIONS_MAX, &geo->locations,
					  &geo->location_count, &location_of))
		return fail_memory(load->error);
	err = compile_family(&load->v4, location_of, GS_GEO_V4, &geo->v4, load->error);
	if (!err)
		err = compile_family(&load->v6, location_of, GS_GEO_V6, &geo->v6, load->error);
	if (err)
		return err;
	memcpy(geo->database_type, load->file.database_type, sizeof(geo->database_type));
	geo->build_unix_s = load->file.build_unix_s;
	geo->digest = digest_geodata(geo);
	*ret_geo = gs_take_ptr(geo);
	return 0;
}

/* ---- port ----------------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int load_file(const char *path, struct gs_geodata **ret_geo, struct gs_error *error)
{
	GS_CLEANUP(free_load) struct load load = {.error = error};
	int err;

	err = gs_mmdb_file_open(path, &load.file, error);
	if (err)
		return err;
	if (gs_mmdb_places_new(&load.places))
		return fail_memory(error);
	err = walk_families(&load);
	if (err)
		return err;
	/* What follows needs room, and the file no longer. */
	gs_mmdb_file_close(&load.file);
	return compile(&load, ret_geo);
}

static int load(void *self, const char *path, struct gs_geodata **ret_geo, struct gs_error *error)
{
	const uint64_t started_us = now_us();
	struct gs_geodata *geo = NULL;
	struct gs_error inner = {0};
	int err;

	(void)self;
	if (strlen(path) >= sizeof(geo->path))
		return gs_mmdb_fail(-ENAMETOOLONG, error, "%.60s...: path is longer than %d bytes",
				    path, GS_PATH_MAX - 1);
	err = load_file(path, &geo, &inner);
	if (err) {
		snprintf(error->text, sizeof(error->text), "%.150s: %.160s", path, inner.text);
		return err;
	}
	memcpy(geo->path, path, strlen(path) + 1);
	geo->load_us = now_us() - started_us;
	*ret_geo = geo;
	return 0;
}

static void release(void *self, struct gs_geodata *geo)
{
	(void)self;
	free_geodata(geo);
}

int gs_mmdb_open(struct gs_geodb *ret_geodb)
{
	static const struct gs_geodb_ops ops = {.load = load, .release = release};

	ret_geodb->ops = &ops;
	ret_geodb->self = NULL;
	return 0;
}
