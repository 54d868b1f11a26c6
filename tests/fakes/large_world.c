/* SPDX-License-Identifier: Apache-2.0 */
#include "large_world.h"
#include "world.h"

#include "user/app/snapshot_io.h"
#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/latency.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	POLICY_REGIONS = 16, /* of each policy; policies overlap */
	POLICY_STEP = 12,
	FIRST_NETWORK = 0x10000000, /* 16.0.0.0 */
};

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		abort();
	return memory;
}

/* All over the world, none at the place of another. */
static struct gs_coord coord_of(uint32_t n)
{
	return (struct gs_coord){(n * 37) % 140 - 70.0, (n * 73) % 360 - 180.0};
}

/* ---- snapshot -------------------------------------------------------------------------------- */

static gs_id region_of_policy(uint32_t policy, uint32_t at)
{
	return (gs_id)(1 + (policy * POLICY_STEP + at) % LARGE_REGIONS);
}

static void make_regions(struct gs_snapshot *s)
{
	for (uint32_t i = 0; i < LARGE_REGIONS; i++) {
		s->regions[i] = (struct gs_region){
			.id = (gs_id)(i + 1), .coord = coord_of(i), .capacity = 1000};
		snprintf(s->regions[i].name, GS_NAME_MAX, "region-%u", i + 1);
	}
	for (uint32_t p = 0; p < LARGE_POLICIES; p++) {
		struct gs_policy *policy = &s->policies[p];

		*policy = (struct gs_policy){
			.id = (gs_id)(p + 1), .kind = GS_POLICY_GEO, .order_count = POLICY_REGIONS};
		snprintf(policy->name, GS_NAME_MAX, "policy-%u", p + 1);
		for (uint32_t i = 0; i < POLICY_REGIONS; i++)
			policy->order[i] = region_of_policy(p, i);
	}
}

static void make_services(struct gs_snapshot *s)
{
	struct gs_probe_spec spec = gs_probe_spec_default();

	spec.kind = GS_PROBE_HTTP;
	strcpy(spec.path, "/health");
	spec.interval_ms = 10000;
	for (uint32_t i = 0; i < LARGE_SERVICES; i++) {
		s->services[i] = (struct gs_service){.id = (gs_id)(i + 1),
						     .vip = gs_addr_from_v4(0xc633640a),
						     .port = (uint16_t)(1000 + i),
						     .protocol = GS_PROTOCOL_TCP,
						     .policy = (gs_id)(i % LARGE_POLICIES + 1),
						     .probe = spec,
						     .breaker = gs_breaker_spec_default()};
		snprintf(s->services[i].name, GS_NAME_MAX, "service-%u", i + 1);
	}
}

static void make_backends(struct gs_snapshot *s)
{
	for (uint32_t i = 0; i < LARGE_BACKENDS; i++) {
		uint32_t service = i % LARGE_SERVICES, at = i / LARGE_SERVICES % POLICY_REGIONS;

		s->backends[i] = (struct gs_backend){
			.id = (gs_id)(i + 1),
			.service = (gs_id)(service + 1),
			.region = region_of_policy(service % LARGE_POLICIES, at),
			.addr = gs_addr_from_v4(0x0a010000 + i),
			.weight = 100,
		};
		snprintf(s->backends[i].name, GS_NAME_MAX, "backend-%u", i + 1);
	}
}

/* ---- what is laid beside it ------------------------------------------------------------------ */

static struct gs_location location_of(uint32_t n)
{
	struct gs_location location = {.has_coord = n > 0, .coord = coord_of(n)};

	if (n == 0)
		return location;
	location.country[0] = (char)('A' + n % 26);
	location.country[1] = (char)('A' + n / 26 % 10);
	memcpy(location.continent, "EU", 3);
	return location;
}

static int compare_latencies(const void *left, const void *right)
{
	return gs_latency_compare(left, right);
}

void large_sort_latencies(struct gs_snapshot *s)
{
	uint32_t count = 0;

	qsort(s->latencies, LARGE_LATENCIES, sizeof(*s->latencies), compare_latencies);
	for (uint32_t i = 0; i < LARGE_LATENCIES; i++)
		if (count == 0 ||
		    gs_latency_compare(&s->latencies[count - 1], &s->latencies[i]) != 0)
			s->latencies[count++] = s->latencies[i];
	s->latency_count = count;
}

static void make_latencies(struct gs_snapshot *s)
{
	for (uint32_t i = 0; i < LARGE_LATENCIES; i++) {
		struct gs_latency *row = &s->latencies[i];
		const struct gs_location location = location_of(i + 1);
		struct gs_latency_places places;

		gs_latency_places_of(&location, &places);
		*row = (struct gs_latency){.region = (gs_id)(1 + i % LARGE_REGIONS),
					   .samples = 100,
					   .us = 20000 + (int32_t)i,
					   .at_unix_ms = 1795600000000};
		memcpy(row->place, places.name[GS_LATENCY_CELL], sizeof(row->place));
	}
	large_sort_latencies(s);
}

/* Drained backends, with reasons. */
static void make_overlays(struct gs_snapshot *s)
{
	for (uint32_t i = 0; i < LARGE_OVERLAYS; i++) {
		s->overlays[i] = (struct gs_overlay){.backend = (gs_id)(1 + i * 7),
						     .admin = GS_ADMIN_DRAIN,
						     .made_unix_ms = 1795600000000,
						     .version = i + 1};
		snprintf(s->overlays[i].reason, sizeof(s->overlays[i].reason), "a new kernel");
		snprintf(s->overlays[i].actor, GS_NAME_MAX, "somebody");
	}
}

struct gs_snapshot *large_snapshot(uint64_t revision)
{
	const struct gs_snapshot counts = {
		.revision = revision,
		.selection_seed = 42,
		.region_count = LARGE_REGIONS,
		.policy_count = LARGE_POLICIES,
		.service_count = LARGE_SERVICES,
		.backend_count = LARGE_BACKENDS,
		.override_count = 1,
		.latency_count = LARGE_LATENCIES,
		.overlay_count = LARGE_OVERLAYS,
	};
	struct gs_snapshot *s;
	struct gs_error error;

	if (gs_snapshot_new(&counts, &s))
		abort();
	make_regions(s);
	make_services(s);
	make_backends(s);
	make_latencies(s);
	make_overlays(s);
	s->overrides[0] = (struct gs_override){
		.prefix = {.addr = gs_addr_from_v4(0xcb007100), .length = 24, .is_v4 = true},
		.region = 1};
	if (gs_snapshot_check(s, &error)) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
	return s;
}

/* ---- GeoIP ----------------------------------------------------------------------------------- */

static void compile(struct gs_geodata_family *family, enum gs_geo_family which,
		    const struct gs_geo_range *ranges, uint32_t count)
{
	world_compile(family, which, ranges, count);
	family->starts = allocate(count + 1, sizeof(*family->starts));
	family->start_locations = allocate(count + 1, sizeof(*family->start_locations));
	family->start_count = 1; /* all of it unknown, where nobody asks which prefix matched */
}

struct gs_geodata *large_geodata(void)
{
	struct gs_geodata *geo = allocate(1, sizeof(*geo));
	struct gs_geo_range *ranges = allocate(LARGE_LOCATIONS, sizeof(*ranges));

	geo->location_count = LARGE_LOCATIONS;
	geo->locations = allocate(LARGE_LOCATIONS, sizeof(*geo->locations));
	geo->digest = LARGE_LOCATIONS;
	for (uint32_t i = 0; i < LARGE_LOCATIONS; i++) {
		struct gs_addr first = gs_addr_from_v4(FIRST_NETWORK + i * 256);
		struct gs_addr last = gs_addr_from_v4(FIRST_NETWORK + i * 256 + 255);

		geo->locations[i] = location_of(i);
		ranges[i] = (struct gs_geo_range){.first = gs_geo_key_of(&first),
						  .last = gs_geo_key_of(&last),
						  .location = (uint16_t)i};
	}
	compile(&geo->v4, GS_GEO_V4, ranges, LARGE_LOCATIONS);
	compile(&geo->v6, GS_GEO_V6, NULL, 0);
	free(ranges);
	return geo;
}

void large_geodata_free(struct gs_geodata *geo)
{
	for (int i = 0; i < 2; i++) {
		struct gs_geodata_family *family = i ? &geo->v6 : &geo->v4;

		free(family->blocks);
		free(family->starts);
		free(family->start_locations);
	}
	free(geo->locations);
	free(geo);
}
