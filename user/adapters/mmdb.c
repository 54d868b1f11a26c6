// SPDX-License-Identifier: Apache-2.0
/*
 * The geodb port on mmdb files: the tree is walked once into intervals of one class; classes become
 * locations; intervals become the compiled tables. Nothing in force is touched: all of it is built
 * aside and handed over whole.
 */
#include "adapters.h"

#include "mmdb_asn.h"
#include "mmdb_places.h"
#include "mmdb_walk.h"
#include "user/base/cleanup.h"
#include "user/base/progress.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__extension__ typedef unsigned __int128 u128;

/* Ids above are left to the locations of overrides, one a region. */
#define LOCATIONS_MAX (GS_MAX_LOCATIONS - GS_MAX_REGIONS)

struct load {
	struct gs_mmdb_walk walk;
	struct gs_mmdb_places *places;
	struct gs_error *error;
};

static void free_load(struct load *load)
{
	gs_mmdb_walk_done(&load->walk);
	gs_mmdb_places_free(load->places);
}

static int read_class(void *context, struct gs_mmdb_file *file, uint32_t offset,
		      uint32_t *ret_class, struct gs_error *error)
{
	return gs_mmdb_places_class(context, file, offset, ret_class, error);
}

/* ---- compile -------------------------------------------------------------------------------- */

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

/* How many prefixes it takes at least to cover first .. last exactly. */
static unsigned count_prefixes(u128 first, u128 last)
{
	const u128 differ = first ^ last;
	u128 half, left, right;

	if (differ == 0)
		return 1;
	/* The middle of the smallest prefix around them: what is left of it and what is right of it
	 * are blocks of the sizes of their lengths' bits. */
	half = (u128)1 << (differ >> 64 ? 127 - __builtin_clzll((uint64_t)(differ >> 64))
					: 63 - __builtin_clzll((uint64_t)differ));
	left = half - (first & (half - 1));
	right = (last & (half - 1)) + 1;
	if (left == half && right == half)
		return 1;
	return (unsigned)(__builtin_popcountll((uint64_t)(left >> 64)) +
			  __builtin_popcountll((uint64_t)left) +
			  __builtin_popcountll((uint64_t)(right >> 64)) +
			  __builtin_popcountll((uint64_t)right));
}

static int grow_blocks(struct gs_geo_output *output, size_t block_limit)
{
	output->blocks = gs_mmdb_alloc(block_limit * sizeof(struct gs_geo_block));
	if (!output->blocks)
		return -ENOMEM;
	output->block_limit = block_limit;
	return 0;
}

static int compile_blocks(struct gs_geodata_family *family, enum gs_geo_family kind,
			  struct gs_error *error)
{
	const struct gs_geo_starts input = {
		.family = kind,
		.count = family->start_count,
		.starts = family->starts,
		.locations = family->start_locations,
	};
	struct gs_geo_output output = {.grow = grow_blocks};
	size_t at;
	int err = gs_geo_build_starts(&input, &output, &at);

	if (err == -ENOMEM)
		return gs_mmdb_fail_memory(error);
	if (err)
		return gs_mmdb_fail(err, error, "table does not fit: %s", strerror(-err));
	family->blocks = output.blocks;
	family->block_count = output.block_count;
	return 0;
}

/* Takes the runs' starts; intervals that became one location become one. */
static int compile_family(struct gs_mmdb_runs *runs, const uint16_t *location_of,
			  enum gs_geo_family kind, struct gs_geodata_family *family,
			  struct gs_error *error)
{
	const u128 last_address = kind == GS_GEO_V4 ? UINT32_MAX : ~(u128)0;
	struct gs_geo_key *starts;
	size_t count = 0;

	family->networks = runs->networks;
	family->start_locations = gs_mmdb_alloc(runs->count * sizeof(*family->start_locations));
	if (!family->start_locations)
		return gs_mmdb_fail_memory(error);
	family->starts = gs_take_ptr(runs->starts);
	for (size_t i = 0; i < runs->count; i++) {
		uint16_t location = location_of[runs->classes[i]];

		if (count > 0 && family->start_locations[count - 1] == location)
			continue;
		family->starts[count] = family->starts[i];
		family->start_locations[count++] = location;
	}
	family->start_count = count;
	starts = reallocarray(family->starts, count, sizeof(*starts));
	if (starts)
		family->starts = starts;
	for (size_t i = 0; i < count; i++)
		if (family->start_locations[i] != 0)
			family->prefixes +=
				count_prefixes(number_of(family->starts[i]),
					       i + 1 < count ? number_of(family->starts[i + 1]) - 1
							     : last_address);
	return compile_blocks(family, kind, error);
}

static uint64_t digest_geodata(const struct gs_geodata *geo)
{
	uint64_t digest = geo->location_count;

	for (uint32_t i = 0; i < geo->location_count; i++) {
		const struct gs_location *location = &geo->locations[i];

		/* Field by field: padding has no value. */
		digest = gs_mmdb_digest_bytes(digest, location->country, sizeof(location->country));
		digest = gs_mmdb_digest_bytes(digest, location->continent,
					      sizeof(location->continent));
		digest = gs_mmdb_digest_bytes(digest, location->subdivision,
					      sizeof(location->subdivision));
		digest = gs_mmdb_digest_step(digest, location->has_coord);
		digest = gs_mmdb_digest_bytes(digest, &location->coord, sizeof(location->coord));
	}
	digest = gs_mmdb_digest_bytes(digest, geo->v4.blocks,
				      geo->v4.block_count * sizeof(*geo->v4.blocks));
	return gs_mmdb_digest_bytes(digest, geo->v6.blocks,
				    geo->v6.block_count * sizeof(*geo->v6.blocks));
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
		return gs_mmdb_fail_memory(load->error);
	gs_progress_begin(load->walk.progress, GS_PHASE_COMPILING, 2);
	err = compile_family(&load->walk.v4, location_of, GS_GEO_V4, &geo->v4, load->error);
	if (!err)
		err = gs_mmdb_progress(&load->walk, 1);
	if (!err)
		err = compile_family(&load->walk.v6, location_of, GS_GEO_V6, &geo->v6, load->error);
	if (err)
		return err;
	memcpy(geo->database_type, load->walk.file.database_type, sizeof(geo->database_type));
	geo->build_unix_s = load->walk.file.build_unix_s;
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

static int load_file(const char *path, struct gs_progress *progress, struct gs_geodata **ret_geo,
		     struct gs_error *error)
{
	GS_CLEANUP(free_load) struct load load = {.error = error};
	int err;

	err = gs_mmdb_file_open(path, progress, &load.walk.file, error);
	if (err)
		return err;
	if (gs_mmdb_places_new(&load.places))
		return gs_mmdb_fail_memory(error);
	load.walk.read = read_class;
	load.walk.context = load.places;
	load.walk.error = error;
	load.walk.progress = progress;
	err = gs_mmdb_walk(&load.walk);
	if (err)
		return err;
	/* What follows needs room, and the file no longer. */
	gs_mmdb_file_close(&load.walk.file);
	return compile(&load, ret_geo);
}

static int check_path(const char *path, struct gs_error *error)
{
	if (strlen(path) < GS_PATH_MAX)
		return 0;
	return gs_mmdb_fail(-ENAMETOOLONG, error, "%.60s...: path is longer than %d bytes", path,
			    GS_PATH_MAX - 1);
}

static int name_path(const char *path, const struct gs_error *inner, int err,
		     struct gs_error *error)
{
	snprintf(error->text, sizeof(error->text), "%.150s: %.160s", path, inner->text);
	return err;
}

static int load(void *self, const char *path, struct gs_progress *progress,
		struct gs_geodata **ret_geo, struct gs_error *error)
{
	const uint64_t started_us = now_us();
	struct gs_geodata *geo = NULL;
	struct gs_error inner = {0};
	int err = check_path(path, error);

	(void)self;
	if (err)
		return err;
	err = load_file(path, progress, &geo, &inner);
	if (!err && !geo) /* never; the analyzer does not see it */
		err = -EINVAL;
	if (err)
		return name_path(path, &inner, err, error);
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

static int load_asn(void *self, const char *path, struct gs_progress *progress,
		    struct gs_asndata **ret_asn, struct gs_error *error)
{
	const uint64_t started_us = now_us();
	struct gs_asndata *asn = NULL;
	struct gs_error inner = {0};
	int err = check_path(path, error);

	(void)self;
	if (err)
		return err;
	err = gs_mmdb_asn_load(path, progress, &asn, &inner);
	if (err)
		return name_path(path, &inner, err, error);
	memcpy(asn->path, path, strlen(path) + 1);
	asn->load_us = now_us() - started_us;
	*ret_asn = asn;
	return 0;
}

static void release_asn(void *self, struct gs_asndata *asn)
{
	(void)self;
	gs_mmdb_asn_free(asn);
}

int gs_mmdb_open(struct gs_geodb *ret_geodb)
{
	static const struct gs_geodb_ops ops = {
		.load = load,
		.release = release,
		.load_asn = load_asn,
		.release_asn = release_asn,
	};

	ret_geodb->ops = &ops;
	ret_geodb->self = NULL;
	return 0;
}
