/* SPDX-License-Identifier: Apache-2.0 */
#include "asn_world.h"

#include "user/core/cidr.h"

#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

static uint32_t below(uint64_t *seed, uint32_t limit)
{
	return (uint32_t)(world_draw(seed) % limit);
}

static u128 number_of(const struct gs_addr *addr)
{
	struct gs_geo_key key = gs_geo_key_of(addr);

	return (u128)key.high << 64 | key.low;
}

static u128 last_of(const struct gs_prefix *prefix)
{
	unsigned bits = (prefix->is_v4 ? 32u : 128u) - prefix->length;
	u128 first = number_of(&prefix->addr);

	return bits == 128 ? ~(u128)0 : first + (((u128)1 << bits) - 1);
}

static struct gs_addr addr_of(u128 number, bool is_v4)
{
	struct gs_addr addr;

	if (is_v4)
		return gs_addr_from_v4((uint32_t)number);
	for (int i = 15; i >= 0; i--, number >>= 8)
		addr.bytes[i] = (uint8_t)number;
	return addr;
}

/* Near something: as long as it, longer, shorter. */
static struct gs_prefix draw_prefix(const struct world *world, uint64_t *seed)
{
	struct gs_addr addr = world_client(world, seed);
	const struct gs_snapshot *snapshot = &world->snapshot;
	uint8_t length = (uint8_t)below(seed, gs_addr_is_v4(&addr) ? 33 : 129);

	if (snapshot->override_count && below(seed, 3) == 0) {
		const struct gs_prefix *near =
			&snapshot->overrides[below(seed, snapshot->override_count)].prefix;
		int longer = (int)below(seed, 9) - 4 + near->length;

		addr = near->addr;
		length = (uint8_t)(longer < 0 ? 0 : longer);
	}
	return gs_prefix_make(&addr, length);
}

/* Of this family's own addresses: the asn of the longest prefix around it. */
static uint32_t find_raw(const struct asn_world *asn, u128 at, bool is_v4)
{
	uint32_t found = 0;
	int longest = -1;

	for (uint32_t i = 0; i < ASN_WORLD_PREFIXES; i++) {
		const struct gs_prefix *prefix = &asn->prefixes[i];

		if (prefix->is_v4 != is_v4 || prefix->length <= longest ||
		    at < number_of(&prefix->addr) || at > last_of(prefix))
			continue;
		longest = prefix->length;
		found = asn->asns[i];
	}
	return found;
}

static int compare_numbers(const void *a, const void *b)
{
	u128 i = *(const u128 *)a, j = *(const u128 *)b;

	return (i > j) - (i < j);
}

static void compile(struct asn_world *asn, bool is_v4, struct gs_asndata_family *family)
{
	const u128 end = is_v4 ? UINT32_MAX : ~(u128)0;
	u128 starts[2 * ASN_WORLD_PREFIXES + 1] = {0};
	uint32_t count = 1;

	for (uint32_t i = 0; i < ASN_WORLD_PREFIXES; i++) {
		if (asn->prefixes[i].is_v4 != is_v4)
			continue;
		starts[count++] = number_of(&asn->prefixes[i].addr);
		if (last_of(&asn->prefixes[i]) != end)
			starts[count++] = last_of(&asn->prefixes[i]) + 1;
	}
	qsort(starts, count, sizeof(starts[0]), compare_numbers);
	family->starts = calloc(count, sizeof(*family->starts));
	family->asns = calloc(count, sizeof(*family->asns));
	if (!family->starts || !family->asns)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		uint32_t found = find_raw(asn, starts[i], is_v4);

		if (i > 0 &&
		    (starts[i] == starts[i - 1] || family->asns[family->start_count - 1] == found))
			continue;
		family->starts[family->start_count] = (struct gs_geo_key){
			.high = (uint64_t)(starts[i] >> 64), .low = (uint64_t)starts[i]};
		family->asns[family->start_count++] = found;
	}
}

struct asn_world *asn_world_new(const struct world *world, uint64_t *seed)
{
	struct asn_world *asn = calloc(1, sizeof(*asn));

	if (!asn)
		abort();
	for (uint32_t i = 0; i < ASN_WORLD_PREFIXES; i++) {
		asn->prefixes[i] = draw_prefix(world, seed);
		asn->asns[i] = below(seed, 4) ? 64500 + below(seed, ASN_WORLD_SYSTEMS) : 0;
		for (uint32_t j = 0; j < i; j++) /* one prefix, one system */
			if (gs_prefix_compare(&asn->prefixes[i], &asn->prefixes[j]) == 0)
				asn->asns[i] = asn->asns[j];
	}
	compile(asn, true, &asn->data.v4);
	compile(asn, false, &asn->data.v6);
	asn->data.digest = world_draw(seed);
	return asn;
}

void asn_world_free(struct asn_world *asn)
{
	free(asn->data.v4.starts);
	free(asn->data.v4.asns);
	free(asn->data.v6.starts);
	free(asn->data.v6.asns);
	free(asn);
}

uint32_t asn_world_find(const struct asn_world *asn, const struct gs_addr *client)
{
	struct gs_addr located = *client;

	gs_geo_embedded_v4(client, &located);
	return find_raw(asn, number_of(&located), gs_addr_is_v4(&located));
}

struct gs_addr asn_world_client(const struct asn_world *asn, uint64_t *seed)
{
	const struct gs_prefix *prefix = &asn->prefixes[below(seed, ASN_WORLD_PREFIXES)];
	u128 first = number_of(&prefix->addr), last = last_of(prefix);
	u128 limit = prefix->is_v4 ? UINT32_MAX : ~(u128)0;
	u128 random = (u128)world_draw(seed) << 64 | world_draw(seed);

	switch (below(seed, 5)) {
	case 0:
		return addr_of(first, prefix->is_v4);
	case 1:
		return addr_of(last, prefix->is_v4);
	case 2:
		return addr_of(first ? first - 1 : 0, prefix->is_v4);
	case 3:
		return addr_of(last == limit ? limit : last + 1, prefix->is_v4);
	default:
		return addr_of(first + (random & (last - first)), prefix->is_v4);
	}
}
