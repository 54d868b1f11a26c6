/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "geo.h"
#include "report.h"
#include "user/adapters/adapters.h"
#include "user/core/geodata.h"
#include "user/core/random.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 u128;

enum { TRIE_BATCH = 65536 };

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){(uint64_t)(number >> 64), (uint64_t)number};
}

static unsigned bits_of(const struct bench_geo_family *family)
{
	return family->kind == GS_GEO_V4 ? 32 : 128;
}

/* Of interval i. */
static u128 last_of(const struct bench_geo_family *family, size_t i)
{
	if (i + 1 < family->start_count)
		return number_of(family->starts[i + 1]) - 1;
	return family->kind == GS_GEO_V4 ? 0xffffffffu : ~(u128)0;
}

/* ---- intervals as prefixes -------------------------------------------------------------------*/

static unsigned trailing_zeros(u128 number)
{
	if ((uint64_t)number)
		return (unsigned)__builtin_ctzll((uint64_t)number);
	return number ? 64 + (unsigned)__builtin_ctzll((uint64_t)(number >> 64)) : 128;
}

/* Host bits of the largest prefix that begins at `first` and does not reach beyond `last`. */
static unsigned host_bits(u128 first, u128 last, unsigned limit)
{
	unsigned bits = trailing_zeros(first);

	if (bits > limit)
		bits = limit;
	/* 2^128 - 1 in one step: shifting by 128 is not defined. */
	while (bits && ((((u128)1 << (bits - 1)) - 1) * 2 + 1) > last - first)
		bits--;
	return bits;
}

/* Calls with each prefix of a known location, by first address and length. */
static void each_prefix(const struct bench_geo_family *family,
			void (*call)(void *context, u128 first, unsigned length, uint16_t location),
			void *context)
{
	unsigned limit = bits_of(family);

	for (size_t i = 0; i < family->start_count; i++) {
		u128 at = number_of(family->starts[i]), last = last_of(family, i);

		while (family->locations[i]) {
			unsigned bits = host_bits(at, last, limit);
			u128 end = at + ((((u128)1 << (bits ? bits - 1 : 0)) - 1) * 2 + 1);

			if (bits == 0)
				end = at;
			call(context, at, limit - bits, family->locations[i]);
			if (end >= last)
				break;
			at = end + 1;
		}
	}
}

static void count_prefix(void *context, u128 first, unsigned length, uint16_t location)
{
	(void)first;
	(void)length;
	(void)location;
	++*(uint64_t *)context;
}

/* ---- opening ---------------------------------------------------------------------------------*/

static void open_file(struct bench_geo *geo, const char *path)
{
	struct gs_geodata_family *families[2];
	double started = bench_now_ms();
	struct gs_error error;
	struct gs_geodata *data;
	struct gs_geodb geodb;

	if (gs_mmdb_open(&geodb) < 0 ||
	    geodb.ops->load(geodb.self, path, NULL, &data, &error) < 0) {
		fprintf(stderr, "%s: %s\n", path, error.text);
		exit(1);
	}
	geo->load_ms = bench_now_ms() - started;
	families[0] = &data->v4;
	families[1] = &data->v6;
	for (int i = 0; i < 2; i++)
		geo->family[i] = (struct bench_geo_family){
			.kind = i ? GS_GEO_V6 : GS_GEO_V4,
			.blocks = families[i]->blocks,
			.block_count = families[i]->block_count,
			.starts = families[i]->starts,
			.locations = families[i]->start_locations,
			.start_count = families[i]->start_count,
		};
	snprintf(geo->name, sizeof(geo->name), "%s", data->database_type);
}

void bench_geo_open(struct bench_geo *geo, const char *path)
{
	memset(geo, 0, sizeof(*geo));
	if (path)
		open_file(geo, path);
	else
		bench_geo_synthesize(geo);
	for (int i = 0; i < 2; i++)
		each_prefix(&geo->family[i], count_prefix, &geo->family[i].prefixes);
}

/* ---- clients ---------------------------------------------------------------------------------*/

static bool is_client(const struct bench_geo_family *family, struct gs_geo_key key)
{
	if (family->kind == GS_GEO_V4)
		return key.low >> 24 > 0 && key.low >> 24 < 224 && key.low >> 24 != 127;
	return key.high >> 61 == 1 && key.high >> 48 != 0x2002;
}

static uint64_t between(uint64_t *seed, uint64_t first, uint64_t last)
{
	uint64_t size = last - first + 1;

	return first + (size ? gs_random(seed) % size : gs_random(seed));
}

void bench_geo_draw(const struct bench_geo_family *family, uint64_t *seed, uint32_t ret_addr[4])
{
	struct gs_geo_key first, last;
	size_t i;

	do {
		i = gs_random(seed) % family->start_count;
		first = family->starts[i];
		last = key_of(last_of(family, i));
		if (first.high == last.high) {
			first.low = between(seed, first.low, last.low);
		} else {
			first.high = between(seed, first.high, last.high - 1);
			first.low = gs_random(seed);
		}
	} while (!family->locations[i] || !is_client(family, first));
	if (family->kind == GS_GEO_V4) {
		ret_addr[0] = ret_addr[1] = 0;
		ret_addr[2] = htonl(0xffff);
		ret_addr[3] = htonl((uint32_t)first.low);
		return;
	}
	ret_addr[0] = htonl((uint32_t)(first.high >> 32));
	ret_addr[1] = htonl((uint32_t)first.high);
	ret_addr[2] = htonl((uint32_t)(first.low >> 32));
	ret_addr[3] = htonl((uint32_t)first.low);
}

uint16_t bench_geo_find(const struct bench_geo_family *family, const uint32_t addr[4])
{
	struct gs_geo_key key = {0, ntohl(addr[3])};

	if (family->kind == GS_GEO_V6)
		key = (struct gs_geo_key){(uint64_t)ntohl(addr[0]) << 32 | ntohl(addr[1]),
					  (uint64_t)ntohl(addr[2]) << 32 | ntohl(addr[3])};
	return gs_geo_find(family->blocks, family->block_count, family->kind, key);
}

/* ---- the kernel's trie -----------------------------------------------------------------------*/

struct filler {
	int fd;
	uint32_t key_size, count;
	uint8_t *keys;
	uint32_t *values;
};

static void flush(struct filler *filler)
{
	uint32_t count = filler->count;

	if (count)
		assert_int_equal(bpf_map_update_batch(filler->fd, filler->keys, filler->values,
						      &count, NULL),
				 0);
	filler->count = 0;
}

static void put_prefix(void *context, u128 first, unsigned length, uint16_t location)
{
	struct gs_geo_key at = key_of(first);
	struct filler *filler = context;
	struct gs_override6_key key = {.prefix_len = length};

	if (filler->key_size == sizeof(struct gs_override4_key)) {
		key.addr[0] = htonl((uint32_t)at.low);
	} else {
		key.addr[0] = htonl((uint32_t)(at.high >> 32));
		key.addr[1] = htonl((uint32_t)at.high);
		key.addr[2] = htonl((uint32_t)(at.low >> 32));
		key.addr[3] = htonl((uint32_t)at.low);
	}
	memcpy(filler->keys + (size_t)filler->count * filler->key_size, &key, filler->key_size);
	filler->values[filler->count] = location;
	if (++filler->count == TRIE_BATCH)
		flush(filler);
}

int bench_geo_trie(const struct bench_geo_family *family, double *ret_ms)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	struct filler filler = {.key_size = family->kind == GS_GEO_V4
						    ? sizeof(struct gs_override4_key)
						    : sizeof(struct gs_override6_key)};
	double started = bench_now_ms();

	filler.keys = calloc(TRIE_BATCH, filler.key_size);
	filler.values = calloc(TRIE_BATCH, sizeof(*filler.values));
	filler.fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "bench_trie", filler.key_size, 4,
				   (uint32_t)family->prefixes, &opts);
	assert_true(filler.keys && filler.values && filler.fd >= 0);
	each_prefix(family, put_prefix, &filler);
	flush(&filler);
	free(filler.keys);
	free(filler.values);
	*ret_ms = bench_now_ms() - started;
	return filler.fd;
}

/* ---- fewer prefixes --------------------------------------------------------------------------*/

static int grow(struct gs_geo_output *output, size_t limit)
{
	void *blocks = realloc(output->blocks, limit * sizeof(*output->blocks));

	if (!blocks)
		return -ENOMEM;
	output->blocks = blocks;
	output->block_limit = limit;
	return 0;
}

static void compile(struct bench_geo_family *family, double *ret_ms)
{
	struct gs_geo_range *ranges = calloc(family->start_count, sizeof(*ranges));
	struct gs_geo_input input = {.family = family->kind, .ranges = ranges};
	struct gs_geo_output output = {.grow = grow};
	double began_ms;
	size_t bad;

	assert_non_null(ranges);
	for (size_t i = 0; i < family->start_count; i++)
		if (family->locations[i])
			ranges[input.count++] =
				(struct gs_geo_range){family->starts[i], key_of(last_of(family, i)),
						      family->locations[i]};
	began_ms = bench_now_ms();
	assert_int_equal(gs_geo_build(&input, &output, &bad), 0);
	*ret_ms = bench_now_ms() - began_ms;
	free(ranges);
	family->blocks = output.blocks;
	family->block_count = output.block_count;
}

void bench_geo_thin(const struct bench_geo_family *all, uint64_t prefixes,
		    struct bench_geo_family *ret_family, double *ret_ms)
{
	struct bench_geo_family thin = *all;
	uint64_t seed = 3, skip = prefixes < all->prefixes ? all->prefixes / prefixes : 1;

	thin.prefixes = 0;
	thin.starts = calloc(all->start_count, sizeof(*thin.starts));
	thin.locations = calloc(all->start_count, sizeof(*thin.locations));
	assert_true(thin.starts && thin.locations);
	memcpy(thin.starts, all->starts, all->start_count * sizeof(*thin.starts));
	for (size_t i = 0; i < all->start_count; i++)
		if (gs_random(&seed) % skip == 0)
			thin.locations[i] = all->locations[i];
	each_prefix(&thin, count_prefix, &thin.prefixes);
	compile(&thin, ret_ms);
	*ret_family = thin;
}

void bench_geo_release(struct bench_geo_family *family)
{
	free(family->blocks);
	free(family->starts);
	free(family->locations);
}
