/* SPDX-License-Identifier: Apache-2.0 */
#include "city.h"

#include "user/core/country.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Finer IPv6 borders are of few clients and many prefixes: more than the data this imitates has. */
#define BORDER6 56u

int city_blocks_add(struct city_blocks *blocks, const struct city_block *block)
{
	if (blocks->count == blocks->room) {
		size_t room = blocks->room ? blocks->room * 2 : 1024;
		struct city_block *at = reallocarray(blocks->at, room, sizeof(*at));

		if (!at)
			return -ENOMEM;
		blocks->at = at;
		blocks->room = room;
	}
	blocks->at[blocks->count++] = *block;
	return 0;
}

void city_blocks_done(struct city_blocks *blocks)
{
	free(blocks->at);
	*blocks = (struct city_blocks){0};
}

unsigned city_country_number(const char *code)
{
	if (code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' || code[2])
		return CITY_COUNTRIES;
	return (unsigned)(code[0] - 'A') * 26 + (unsigned)(code[1] - 'A');
}

/* ---- what is no public address -------------------------------------------------------------- */

struct gap {
	city_number first, last;
};

/* IANA's registry of special addresses (RFC 6890 and what came after). */
static const struct gap gaps4[] = {
	{0x00000000, 0x00ffffff}, /* 0.0.0.0/8 */
	{0x0a000000, 0x0affffff}, /* 10.0.0.0/8 */
	{0x64400000, 0x647fffff}, /* 100.64.0.0/10 */
	{0x7f000000, 0x7fffffff}, /* 127.0.0.0/8 */
	{0xa9fe0000, 0xa9feffff}, /* 169.254.0.0/16 */
	{0xac100000, 0xac1fffff}, /* 172.16.0.0/12 */
	{0xc0000000, 0xc00000ff}, /* 192.0.0.0/24 */
	{0xc0000200, 0xc00002ff}, /* 192.0.2.0/24 */
	{0xc0586300, 0xc05863ff}, /* 192.88.99.0/24 */
	{0xc0a80000, 0xc0a8ffff}, /* 192.168.0.0/16 */
	{0xc6120000, 0xc613ffff}, /* 198.18.0.0/15 */
	{0xc6336400, 0xc63364ff}, /* 198.51.100.0/24 */
	{0xcb007100, 0xcb0071ff}, /* 203.0.113.0/24 */
	{0xe0000000, 0xffffffff}, /* 224.0.0.0/3 */
};

#define TOP(bits16) ((city_number)(bits16) << 112)

static const struct gap gaps6[] = {
	{0, TOP(0x2000) - 1},
	{TOP(0x2001) | (city_number)0x0db8 << 96, (TOP(0x2001) | (city_number)0x0db9 << 96) - 1},
	{TOP(0x3000), ~(city_number)0},
};

/* ---- space ---------------------------------------------------------------------------------- */

struct maker {
	struct city_blocks *space;
	unsigned width;
	const struct gap *gap, *gaps_end;
};

/* The fewest prefixes that are first .. last. */
static int add_prefixes(struct maker *maker, city_number first, city_number last,
			struct city_block block)
{
	for (;;) {
		unsigned bits = 0;

		while (bits < maker->width - 1 && !(first >> bits & 1) &&
		       ((city_number)2 << bits) - 1 <= last - first)
			bits++;
		block.first = first;
		block.length = (uint8_t)(maker->width - bits);
		if (city_blocks_add(maker->space, &block))
			return -ENOMEM;
		if (first + (((city_number)1 << bits) - 1) == last)
			return 0;
		first += (city_number)1 << bits;
	}
}

/* first .. last without the gaps; ascending from call to call. */
static int add_public(struct maker *maker, city_number first, city_number last,
		      struct city_block block)
{
	for (;;) {
		while (maker->gap < maker->gaps_end && maker->gap->last < first)
			maker->gap++;
		if (maker->gap == maker->gaps_end || maker->gap->first > last)
			return add_prefixes(maker, first, last, block);
		if (maker->gap->first > first &&
		    add_prefixes(maker, first, maker->gap->first - 1, block))
			return -ENOMEM;
		if (maker->gap->last >= last)
			return 0;
		first = maker->gap->last + 1;
	}
}

static unsigned country_at(const struct gs_geodata *countries,
			   const struct gs_geodata_family *family, size_t at)
{
	const char *code = countries->locations[family->start_locations[at]].country;

	return gs_country_find(code) ? city_country_number(code) : CITY_COUNTRIES;
}

static city_number start_of(const struct gs_geodata_family *family, size_t at, unsigned width)
{
	city_number start = (city_number)family->starts[at].high << 64 | family->starts[at].low;
	city_number step = width == 32 ? 1 : (city_number)1 << (width - BORDER6);

	return (start + step - 1) / step * step;
}

/* What is before the first country is that one's. */
static unsigned first_country(const struct gs_geodata *countries,
			      const struct gs_geodata_family *family)
{
	for (size_t i = 0; i < family->start_count; i++)
		if (country_at(countries, family, i) < CITY_COUNTRIES)
			return country_at(countries, family, i);
	return CITY_COUNTRIES;
}

int city_space_make(const struct gs_geodata *countries, unsigned width,
		    struct city_blocks *ret_space)
{
	const struct gs_geodata_family *family = width == 32 ? &countries->v4 : &countries->v6;
	const city_number end = width == 32 ? UINT32_MAX : ~(city_number)0;
	struct maker maker = {.space = ret_space, .width = width};
	struct city_block block = {.country = (uint16_t)first_country(countries, family)};

	if (block.country == CITY_COUNTRIES)
		return -EINVAL;
	maker.gap = width == 32 ? gaps4 : gaps6;
	maker.gaps_end = width == 32 ? gaps4 + sizeof(gaps4) / sizeof(gaps4[0])
				     : gaps6 + sizeof(gaps6) / sizeof(gaps6[0]);
	for (size_t i = 0; i < family->start_count; i++) {
		city_number first = start_of(family, i, width);
		city_number last = end;
		unsigned country = country_at(countries, family, i);

		if (i + 1 < family->start_count)
			last = start_of(family, i + 1, width) - 1;
		/* Between two borders that became one. */
		if (i + 1 < family->start_count && last + 1 <= first)
			continue;
		block.is_spare = country == CITY_COUNTRIES;
		if (!block.is_spare)
			block.country = (uint16_t)country;
		if (add_public(&maker, first, last, block))
			return -ENOMEM;
	}
	return 0;
}
