/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/geotable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REGIONS = 7, POLICIES = 4, SERVICES = 6, BACKENDS = 60, OVERRIDES = 24, LOCATIONS = 40 };

uint64_t world_draw(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint32_t below(uint64_t *seed, uint32_t limit)
{
	return (uint32_t)(world_draw(seed) % limit);
}

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		abort();
	return memory;
}

static struct gs_coord draw_coord(uint64_t *seed)
{
	return (struct gs_coord){below(seed, 18001) / 100.0 - 90.0,
				 below(seed, 36001) / 100.0 - 180.0};
}

static enum gs_admin draw_admin(uint64_t *seed)
{
	static const enum gs_admin likely[] = {
		GS_ADMIN_AUTO,	GS_ADMIN_AUTO,	   GS_ADMIN_AUTO,	 GS_ADMIN_AUTO,
		GS_ADMIN_DRAIN, GS_ADMIN_FORCE_UP, GS_ADMIN_MAINTENANCE, GS_ADMIN_FORCE_DOWN};

	return likely[below(seed, 8)];
}

static struct gs_addr draw_addr(uint64_t *seed, bool is_v4)
{
	struct gs_addr addr;

	if (is_v4)
		return gs_addr_from_v4((uint32_t)world_draw(seed));
	for (int i = 0; i < 16; i++)
		addr.bytes[i] = (uint8_t)world_draw(seed);
	addr.bytes[0] = 0x20 | (addr.bytes[0] & 1); /* unicast; 2002::/16 is among them */
	return addr;
}

/* ---- snapshot -------------------------------------------------------------------------------- */

static void make_regions(struct gs_snapshot *snapshot, uint64_t *seed)
{
	bool has_capacities = below(seed, 2);
	gs_id id = 0;

	snapshot->region_count = 1 + below(seed, REGIONS);
	snapshot->regions = allocate(snapshot->region_count, sizeof(*snapshot->regions));
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		struct gs_region *region = &snapshot->regions[i];

		id += 1 + below(seed, 3);
		region->id = id;
		snprintf(region->name, sizeof(region->name), "region-%u", id);
		region->coord = draw_coord(seed);
		region->capacity = has_capacities ? 1 + below(seed, 1000) : 0;
		region->admin = draw_admin(seed);
	}
}

static void make_policies(struct gs_snapshot *snapshot, uint64_t *seed)
{
	gs_id id = 0;

	snapshot->policy_count = 1 + below(seed, POLICIES);
	snapshot->policies = allocate(snapshot->policy_count, sizeof(*snapshot->policies));
	for (uint32_t i = 0; i < snapshot->policy_count; i++) {
		struct gs_policy *policy = &snapshot->policies[i];
		uint32_t first = below(seed, snapshot->region_count);

		id += 1 + below(seed, 3);
		policy->id = id;
		snprintf(policy->name, sizeof(policy->name), "policy-%u", id);
		policy->kind = below(seed, 3) == 0 ? GS_POLICY_FAILOVER : GS_POLICY_GEO;
		policy->order_count = (uint8_t)(1 + below(seed, snapshot->region_count));
		for (uint32_t j = 0; j < policy->order_count; j++)
			policy->order[j] =
				snapshot->regions[(first + j) % snapshot->region_count].id;
	}
}

static void make_services(struct gs_snapshot *snapshot, uint64_t *seed)
{
	gs_id id = 0;

	snapshot->service_count = 1 + below(seed, SERVICES);
	snapshot->services = allocate(snapshot->service_count, sizeof(*snapshot->services));
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		struct gs_service *service = &snapshot->services[i];
		char text[GS_ADDR_TEXT_MAX];

		id += 1 + below(seed, 4);
		service->id = id;
		snprintf(service->name, sizeof(service->name), "service-%u", id);
		/* Neighbours share a VIP now and then: one marker, two services. */
		snprintf(text, sizeof(text), below(seed, 2) ? "198.51.100.%u" : "2001:db8:100::%x",
			 10 + i / 2);
		gs_addr_parse(text, &service->vip);
		service->port = below(seed, 4) ? (uint16_t)(80 + i) : 0;
		service->protocol = i % 2 ? GS_PROTOCOL_UDP : GS_PROTOCOL_TCP;
		service->policy = snapshot->policies[below(seed, snapshot->policy_count)].id;
		service->breaker = gs_breaker_spec_default();
		service->breaker.trials = (uint16_t)(1 + id);
	}
}

static void make_backends(struct gs_snapshot *snapshot, uint64_t *seed)
{
	gs_id id = 0;

	snapshot->backend_count = below(seed, BACKENDS);
	snapshot->backends = allocate(snapshot->backend_count, sizeof(*snapshot->backends));
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_backend *backend = &snapshot->backends[i];
		char text[GS_ADDR_TEXT_MAX];

		id += 1 + below(seed, 3);
		backend->id = id;
		snprintf(backend->name, sizeof(backend->name), "backend-%u", id);
		backend->service = snapshot->services[below(seed, snapshot->service_count)].id;
		backend->region = snapshot->regions[below(seed, snapshot->region_count)].id;
		snprintf(text, sizeof(text), below(seed, 2) ? "10.1.0.%u" : "fd00:1::%x", 1 + i);
		gs_addr_parse(text, &backend->addr);
		backend->weight = below(seed, 3) ? 100 : (uint16_t)(1 + below(seed, 1000));
		backend->admin = draw_admin(seed);
	}
}

static bool is_there(const struct gs_snapshot *snapshot, const struct gs_prefix *prefix)
{
	for (uint32_t i = 0; i < snapshot->override_count; i++)
		if (gs_prefix_compare(&snapshot->overrides[i].prefix, prefix) == 0)
			return true;
	return false;
}

/* Half of them inside another one, so that lengths compete. */
static void make_overrides(struct gs_snapshot *snapshot, uint64_t *seed)
{
	uint32_t count = below(seed, OVERRIDES);

	snapshot->overrides = allocate(count, sizeof(*snapshot->overrides));
	for (uint32_t i = 0; i < count; i++) {
		bool is_v4 = below(seed, 2);
		uint8_t length = (uint8_t)below(seed, is_v4 ? 33 : 129);
		struct gs_addr addr = draw_addr(seed, is_v4);
		struct gs_prefix prefix;

		if (snapshot->override_count && below(seed, 2)) {
			const struct gs_prefix *outer =
				&snapshot->overrides[below(seed, snapshot->override_count)].prefix;
			uint8_t most = outer->is_v4 ? 32 : 128;

			addr = outer->addr;
			addr.bytes[15] ^= (uint8_t)below(seed, 2);
			length = (uint8_t)(outer->length + below(seed, most - outer->length + 1u));
		}
		prefix = gs_prefix_make(&addr, length);
		if (is_there(snapshot, &prefix))
			continue;
		snapshot->overrides[snapshot->override_count].prefix = prefix;
		snapshot->overrides[snapshot->override_count++].region =
			snapshot->regions[below(seed, snapshot->region_count)].id;
	}
}

/* ---- GeoIP ----------------------------------------------------------------------------------- */

static int compare_keys(const void *left, const void *right)
{
	const struct gs_geo_key *a = left;
	const struct gs_geo_key *b = right;

	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low < b->low ? -1 : a->low > b->low;
}

/* Pairs of sorted different numbers are disjoint intervals. */
static uint32_t make_ranges(struct gs_geo_range *ranges, bool is_v4, uint32_t locations,
			    uint64_t *seed)
{
	struct gs_geo_key keys[2 * WORLD_RANGES];
	uint32_t count = 0;

	for (uint32_t i = 0; i < 2 * WORLD_RANGES; i++) {
		struct gs_addr addr = draw_addr(seed, is_v4);

		keys[i] = gs_geo_key_of(&addr);
	}
	qsort(keys, 2 * WORLD_RANGES, sizeof(keys[0]), compare_keys);
	for (uint32_t i = 0; i < 2 * WORLD_RANGES; i += 2) {
		if (i > 0 && compare_keys(&keys[i], &keys[i - 1]) == 0)
			continue;
		ranges[count++] = (struct gs_geo_range){
			.first = keys[i],
			.last = keys[i + 1],
			.location = (uint16_t)below(seed, locations),
		};
	}
	return count;
}

static int grow(struct gs_geo_output *output, size_t block_limit)
{
	output->blocks = realloc(output->blocks, block_limit * sizeof(*output->blocks));
	if (!output->blocks)
		abort();
	memset(output->blocks + output->block_limit, 0,
	       (block_limit - output->block_limit) * sizeof(*output->blocks));
	output->block_limit = block_limit;
	return 0;
}

void world_compile(struct gs_geodata_family *family, enum gs_geo_family which,
		   const struct gs_geo_range *ranges, uint32_t count)
{
	struct gs_geo_input input = {.family = which, .ranges = ranges, .count = count};
	struct gs_geo_output output = {.grow = grow};
	size_t at;

	if (gs_geo_build(&input, &output, &at))
		abort();
	family->blocks = output.blocks;
	family->block_count = output.block_count;
}

static void compile(struct gs_geodata_family *family, enum gs_geo_family which,
		    const struct gs_geo_range *ranges, uint32_t count)
{
	world_compile(family, which, ranges, count);
	family->prefixes = count;
	family->starts = allocate(2 * count + 1, sizeof(*family->starts));
	family->start_locations = allocate(2 * count + 1, sizeof(*family->start_locations));
	family->start_count = 1; /* 0, unknown */
	for (uint32_t i = 0; i < count; i++) {
		struct gs_geo_key after = ranges[i].last;

		if (compare_keys(&family->starts[family->start_count - 1], &ranges[i].first) == 0)
			family->start_count--;
		family->starts[family->start_count] = ranges[i].first;
		family->start_locations[family->start_count++] = ranges[i].location;
		if (++after.low == 0)
			after.high++;
		family->starts[family->start_count++] = after;
	}
}

static void make_geo(struct world *world, uint64_t *seed)
{
	struct gs_geodata *geo = &world->geo;

	geo->digest = world_draw(seed);
	geo->location_count = 2 + below(seed, LOCATIONS);
	geo->locations = allocate(geo->location_count, sizeof(*geo->locations));
	for (uint32_t i = 1; i < geo->location_count; i++) {
		geo->locations[i].has_coord = below(seed, 8) != 0;
		if (geo->locations[i].has_coord)
			geo->locations[i].coord = draw_coord(seed);
	}
	world->range4_count = make_ranges(world->ranges4, true, geo->location_count, seed);
	world->range6_count = make_ranges(world->ranges6, false, geo->location_count, seed);
	compile(&geo->v4, GS_GEO_V4, world->ranges4, world->range4_count);
	compile(&geo->v6, GS_GEO_V6, world->ranges6, world->range6_count);
}

struct world *world_new(uint64_t seed)
{
	struct world *world = allocate(1, sizeof(*world));

	world->snapshot.revision = 1;
	world->snapshot.selection_seed = world_draw(&seed);
	make_regions(&world->snapshot, &seed);
	make_policies(&world->snapshot, &seed);
	make_services(&world->snapshot, &seed);
	make_backends(&world->snapshot, &seed);
	make_overrides(&world->snapshot, &seed);
	make_geo(world, &seed);
	return world;
}

static void free_family(struct gs_geodata_family *family)
{
	free(family->blocks);
	free(family->starts);
	free(family->start_locations);
}

void world_free(struct world *world)
{
	free(world->snapshot.regions);
	free(world->snapshot.policies);
	free(world->snapshot.services);
	free(world->snapshot.backends);
	free(world->snapshot.overrides);
	free(world->geo.locations);
	free_family(&world->geo.v4);
	free_family(&world->geo.v6);
	free(world);
}

/* ---- clients --------------------------------------------------------------------------------- */

static struct gs_addr addr_of(struct gs_geo_key key, bool is_v4)
{
	struct gs_addr addr;

	if (is_v4)
		return gs_addr_from_v4((uint32_t)key.low);
	for (int i = 0; i < 8; i++) {
		addr.bytes[i] = (uint8_t)(key.high >> (56 - 8 * i));
		addr.bytes[8 + i] = (uint8_t)(key.low >> (56 - 8 * i));
	}
	return addr;
}

static struct gs_addr draw_in_prefix(const struct gs_prefix *prefix, uint64_t *seed)
{
	struct gs_addr addr = prefix->addr;
	unsigned length = prefix->length + (prefix->is_v4 ? 96u : 0u);

	for (unsigned bit = length; bit < 128; bit++)
		if (world_draw(seed) & 1)
			addr.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return addr;
}

struct gs_addr world_client(const struct world *world, uint64_t *seed)
{
	const struct gs_snapshot *snapshot = &world->snapshot;
	bool is_v4 = below(seed, 2);
	const struct gs_geo_range *range =
		is_v4 ? &world->ranges4[below(seed, world->range4_count)]
		      : &world->ranges6[below(seed, world->range6_count)];
	struct gs_addr nat64 = {.bytes = {0x00, 0x64, 0xff, 0x9b}};
	struct gs_addr v4;

	switch (below(seed, 8)) {
	case 0:
		return addr_of(range->first, is_v4);
	case 1:
		return addr_of(range->last, is_v4);
	case 2:
		v4 = draw_addr(seed, true);
		memcpy(&nat64.bytes[12], &v4.bytes[12], 4);
		return nat64;
	case 3:
	case 4:
	case 5:
		if (snapshot->override_count)
			return draw_in_prefix(
				&snapshot->overrides[below(seed, snapshot->override_count)].prefix,
				seed);
		break;
	default:
		break;
	}
	return draw_addr(seed, is_v4);
}

uint16_t world_geo_location(const struct world *world, const struct gs_addr *client)
{
	struct gs_addr located = *client;
	const struct gs_geo_range *ranges;
	struct gs_geo_key key;
	uint32_t count;

	gs_geo_embedded_v4(client, &located);
	ranges = gs_addr_is_v4(&located) ? world->ranges4 : world->ranges6;
	count = gs_addr_is_v4(&located) ? world->range4_count : world->range6_count;
	key = gs_geo_key_of(&located);
	for (uint32_t i = 0; i < count; i++)
		if (compare_keys(&ranges[i].first, &key) <= 0 &&
		    compare_keys(&key, &ranges[i].last) <= 0)
			return ranges[i].location;
	return 0;
}
