// SPDX-License-Identifier: Apache-2.0
#include "asn.h"

#include "cidr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* An address of either family as a number. */
__extension__ typedef unsigned __int128 number;

/* ---- texts ----------------------------------------------------------------------------------- */

int gs_asn_parse(const char *text, uint32_t *ret_asn)
{
	uint64_t asn = 0;

	if ((text[0] != 'A' && text[0] != 'a') || (text[1] != 'S' && text[1] != 's'))
		return -EINVAL;
	text += 2;
	if (*text < '1' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		asn = asn * 10 + (uint64_t)(*text - '0');
		if (asn > UINT32_MAX)
			return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	*ret_asn = (uint32_t)asn;
	return 0;
}

const char *gs_asn_format(uint32_t asn, char out[GS_ASN_TEXT_MAX])
{
	snprintf(out, GS_ASN_TEXT_MAX, "AS%u", asn);
	return out;
}

/* ---- whose an address is --------------------------------------------------------------------- */

static number number_of(struct gs_geo_key key)
{
	return (number)key.high << 64 | key.low;
}

uint32_t gs_asn_find(const struct gs_asndata *asndata, const struct gs_addr *addr)
{
	struct gs_addr located = *addr;
	const struct gs_asndata_family *family;
	size_t low = 0, high;
	number at;

	gs_geo_embedded_v4(addr, &located);
	family = gs_addr_is_v4(&located) ? &asndata->v4 : &asndata->v6;
	at = number_of(gs_geo_key_of(&located));
	high = family->start_count;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (number_of(family->starts[middle]) <= at)
			low = middle;
		else
			high = middle;
	}
	return family->asns[low];
}

/* ---- prefixes -------------------------------------------------------------------------------- */

/* Ends included. */
struct range {
	number first, last;
};

#define KEY(high, low) ((number)(high) << 64 | (low))

/* What IPv6 clients are located by as such: the rest has an IPv4 address inside. */
static const struct range windows6[] = {
	{KEY(0, 0), KEY(0, 0xfffeffffffff)},
	{KEY(0, 0x1000000000000), KEY(0x0064ff9b00000000 - 1, ~0ULL)},
	{KEY(0x0064ff9b00000000, 0x100000000), KEY(0x2001ffffffffffff, ~0ULL)},
	{KEY(0x2003000000000000, 0), KEY(~0ULL, ~0ULL)},
};
static const struct range windows4[] = {{0, UINT32_MAX}};

static struct gs_prefix prefix_of(enum gs_geo_family family, number first, int bits)
{
	struct gs_addr addr;

	if (family == GS_GEO_V4) {
		addr = gs_addr_from_v4((uint32_t)first);
		return gs_prefix_make(&addr, (uint8_t)(32 - bits));
	}
	for (int i = 15; i >= 0; i--, first >>= 8)
		addr.bytes[i] = (uint8_t)first;
	return gs_prefix_make(&addr, (uint8_t)(128 - bits));
}

/* How many bits the largest prefix that begins there may leave free, and not reach beyond. */
static int free_bits(struct range range, int width)
{
	int bits = 0;

	while (bits < width) {
		number size = (number)1 << bits;

		/* 2^(bits + 1) of them, aligned? (2 * size may be 2^128: less one, then) */
		if ((range.first & size) || size + (size - 1) > range.last - range.first)
			break;
		bits++;
	}
	return bits;
}

static int add_range(enum gs_geo_family family, struct range range, uint32_t owner,
		     struct gs_asn_output *output)
{
	const int width = family == GS_GEO_V4 ? 32 : 128;

	for (;;) {
		int bits = free_bits(range, width);
		number last = bits == 128 ? ~(number)0 : range.first + (((number)1 << bits) - 1);

		if (output->count == output->limit)
			return -EFBIG;
		output->prefixes[output->count++] = (struct gs_asn_prefix){
			.prefix = prefix_of(family, range.first, bits), .owner = owner};
		if (last == range.last)
			return 0;
		range.first = last + 1;
	}
}

static int add_clipped(enum gs_geo_family family, struct range range, uint32_t owner,
		       struct gs_asn_output *output)
{
	const struct range *windows = family == GS_GEO_V4 ? windows4 : windows6;
	size_t count = family == GS_GEO_V4 ? 1 : sizeof(windows6) / sizeof(windows6[0]);

	for (size_t w = 0; w < count; w++) {
		struct range clipped = range;
		int ret;

		if (clipped.first < windows[w].first)
			clipped.first = windows[w].first;
		if (clipped.last > windows[w].last)
			clipped.last = windows[w].last;
		if (clipped.first > clipped.last)
			continue;
		ret = add_range(family, clipped, owner, output);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct gs_asn_wanted *find_wanted(const struct gs_asn_wanted *wanted, uint32_t count,
					       uint32_t asn)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (wanted[middle].asn < asn)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && wanted[low].asn == asn ? &wanted[low] : NULL;
}

int gs_asn_prefixes(const struct gs_asndata *asndata, enum gs_geo_family family,
		    const struct gs_asn_wanted *wanted, uint32_t wanted_count,
		    struct gs_asn_output *output, uint32_t *ret_at)
{
	const struct gs_asndata_family *data = family == GS_GEO_V4 ? &asndata->v4 : &asndata->v6;
	const number end = family == GS_GEO_V4 ? UINT32_MAX : ~(number)0;

	for (size_t i = 0; i < data->start_count; i++) {
		const struct gs_asn_wanted *found =
			data->asns[i] ? find_wanted(wanted, wanted_count, data->asns[i]) : NULL;
		struct range range = {.first = number_of(data->starts[i])};

		if (!found)
			continue;
		range.last = i + 1 < data->start_count ? number_of(data->starts[i + 1]) - 1 : end;
		if (add_clipped(family, range, found->owner, output)) {
			*ret_at = (uint32_t)(found - wanted);
			return -EFBIG;
		}
	}
	return 0;
}
