/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/maglev.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What gs_tables_free needs to know besides what readers see. */
struct owner {
	struct gs_tables tables; /* first: readers hold a pointer to it */
	void *plan_memory;
};

/* A backend that gets ring slots, by the pool it belongs to. */
struct member {
	gs_id service;
	gs_id region;
	uint32_t backend; /* index in snapshot->backends */
};

struct build {
	const struct gs_snapshot *snapshot;
	const struct gs_geodata *geo;
	struct gs_tables *tables;
	struct owner *owner;
	struct gs_error *error;
	struct member *members; /* sorted by service, region, backend */
	uint32_t member_count;
	struct gs_region_set *served; /* [service id] */
};

static int refuse(const struct build *build, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(const struct build *build, int result, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (build->error)
		vsnprintf(build->error->text, sizeof(build->error->text), format, arguments);
	va_end(arguments);
	return result;
}

static int out_of_memory(const struct build *build, const char *what)
{
	return refuse(build, -ENOMEM, "%s: out of memory", what);
}

static uint32_t database_locations(const struct gs_geodata *geo)
{
	return geo ? geo->location_count : 1;
}

/* ---- what may not be ------------------------------------------------------------------------- */

static int check_services(const struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;

	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];

		if (service->id == 0 || service->id >= GS_MAX_SERVICES)
			return refuse(build, -EFBIG, "service %s: id %u, the limit is %u",
				      service->name, service->id, GS_MAX_SERVICES - 1);
		if (!gs_snapshot_policy(snapshot, service->policy))
			return refuse(build, -EINVAL, "service %s: no policy has id %u",
				      service->name, service->policy);
	}
	return 0;
}

static int check_backends(const struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		if (backend->id == 0 || backend->id >= GS_MAX_BACKENDS)
			return refuse(build, -EFBIG, "backend %s: id %u, the limit is %u",
				      backend->name, backend->id, GS_MAX_BACKENDS - 1);
		if (!gs_snapshot_service(snapshot, backend->service))
			return refuse(build, -EINVAL, "backend %s: no service has id %u",
				      backend->name, backend->service);
		if (!gs_snapshot_region(snapshot, backend->region))
			return refuse(build, -EINVAL, "backend %s: no region has id %u",
				      backend->name, backend->region);
		if (backend->weight == 0)
			return refuse(build, -EINVAL, "backend %s: a weight of 0", backend->name);
	}
	return 0;
}

/* Ids index arrays here and in the kernel, so they are checked whoever checked them before. */
static int check_ids(const struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	int result;

	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (snapshot->regions[i].id == 0 || snapshot->regions[i].id >= GS_MAX_REGIONS)
			return refuse(build, -EFBIG, "region %s: id %u, the limit is %u",
				      snapshot->regions[i].name, snapshot->regions[i].id,
				      GS_MAX_REGIONS - 1);
	result = check_services(build);
	if (result)
		return result;
	return check_backends(build);
}

/* ---- locations and overrides ----------------------------------------------------------------- */

static int compare_overrides(const void *left, const void *right)
{
	const struct gs_table_override *a = left;
	const struct gs_table_override *b = right;

	return gs_prefix_compare(&a->prefix, &b->prefix);
}

static int check_override(const struct build *build, const struct gs_override *override)
{
	char text[GS_PREFIX_TEXT_MAX];

	if (override->prefix.length > (override->prefix.is_v4 ? 32 : 128))
		return refuse(build, -EINVAL, "override: a prefix length of %u",
			      override->prefix.length);
	if (!gs_snapshot_region(build->snapshot, override->region))
		return refuse(build, -EINVAL, "override %s: no region has id %u",
			      gs_prefix_format(&override->prefix, text), override->region);
	return 0;
}

/* The trie holds each prefix once and GS_MAX_OVERRIDES of a family. */
static int check_override_table(const struct build *build)
{
	const struct gs_tables *tables = build->tables;
	char text[GS_PREFIX_TEXT_MAX];
	uint32_t count[2] = {0, 0};

	for (uint32_t i = 0; i < tables->override_count; i++) {
		const struct gs_prefix *prefix = &tables->overrides[i].prefix;

		if (i > 0 && gs_prefix_compare(&tables->overrides[i - 1].prefix, prefix) == 0)
			return refuse(build, -EINVAL, "override %s: there twice",
				      gs_prefix_format(prefix, text));
		if (++count[prefix->is_v4] > GS_MAX_OVERRIDES)
			return refuse(build, -EFBIG, "overrides: more than %u IPv%d prefixes",
				      GS_MAX_OVERRIDES, prefix->is_v4 ? 4 : 6);
	}
	return 0;
}

/* Only regions some override names get a location: the others would change nothing but digests. */
static int make_locations(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	uint16_t location_of[GS_MAX_REGIONS] = {0};
	uint32_t count = database_locations(build->geo);
	int result;

	if (count == 0 || count > GS_MAX_LOCATIONS)
		return refuse(build, -EFBIG, "GeoIP database: %u locations, the limit is %u", count,
			      GS_MAX_LOCATIONS);
	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		result = check_override(build, &snapshot->overrides[i]);
		if (result)
			return result;
		location_of[snapshot->overrides[i].region] = 1;
	}
	tables->locations = calloc(count + GS_MAX_REGIONS, sizeof(*tables->locations));
	tables->overrides = calloc(snapshot->override_count + 1, sizeof(*tables->overrides));
	if (!tables->locations || !tables->overrides)
		return out_of_memory(build, "locations");
	if (build->geo)
		memcpy(tables->locations, build->geo->locations,
		       count * sizeof(*tables->locations));
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];

		if (!location_of[region->id])
			continue;
		if (count >= GS_MAX_LOCATIONS)
			return refuse(build, -EFBIG,
				      "locations: the GeoIP database's %u and those of overrides "
				      "are more than %u",
				      database_locations(build->geo), GS_MAX_LOCATIONS);
		location_of[region->id] = (uint16_t)count;
		tables->locations[count].has_coord = true;
		tables->locations[count].coord = region->coord;
		tables->locations[count].override_region = region->id;
		count++;
	}
	tables->location_count = count;
	tables->location_stride = (count + GS_BLOCK_U16 - 1) / GS_BLOCK_U16 * GS_BLOCK_U16;
	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		tables->overrides[i].prefix = snapshot->overrides[i].prefix;
		tables->overrides[i].location = location_of[snapshot->overrides[i].region];
	}
	tables->override_count = snapshot->override_count;
	qsort(tables->overrides, tables->override_count, sizeof(*tables->overrides),
	      compare_overrides);
	return check_override_table(build);
}

/* ---- access rules and limits ----------------------------------------------------------------- */

static int check_access(const struct build *build, uint32_t i)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	const struct gs_access *access = &snapshot->access[i];
	char text[GS_PREFIX_TEXT_MAX];

	if (access->prefix.length > (access->prefix.is_v4 ? 32 : 128))
		return refuse(build, -EINVAL, "access: a prefix length of %u",
			      access->prefix.length);
	gs_prefix_format(&access->prefix, text);
	if (access->service != 0 && !gs_snapshot_service(snapshot, access->service))
		return refuse(build, -EINVAL, "access %s: no service has id %u", text,
			      access->service);
	if (i > 0 && gs_access_compare(access - 1, access) >= 0)
		return refuse(build, -EINVAL, "access %s: not sorted, or twice for one service",
			      text);
	return 0;
}

/* The rules stay the snapshot's; what packets need to know is which there are at all. */
static int find_asks(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	uint32_t count[2] = {0, 0};

	for (uint32_t i = 0; i < snapshot->access_count; i++) {
		const struct gs_access *access = &snapshot->access[i];
		uint32_t all = access->prefix.is_v4 ? GS_ASK_ACCESS4_ALL : GS_ASK_ACCESS6_ALL;
		uint32_t own = access->prefix.is_v4 ? GS_ASK_ACCESS4_OWN : GS_ASK_ACCESS6_OWN;
		int result = check_access(build, i);

		if (result)
			return result;
		if (++count[access->prefix.is_v4] > GS_MAX_ACCESS)
			return refuse(build, -EFBIG, "access: more than %u IPv%d prefixes",
				      GS_MAX_ACCESS, access->prefix.is_v4 ? 4 : 6);
		build->tables->asks |= access->service ? own : all;
	}
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (snapshot->regions[i].limit_packets || snapshot->regions[i].limit_flows)
			build->tables->asks |= GS_ASK_REGION_LIMITS;
	return 0;
}

/* ---- who is in which pool -------------------------------------------------------------------- */

static bool gets_slots(const struct gs_backend *backend)
{
	return backend->admin != GS_ADMIN_MAINTENANCE && backend->admin != GS_ADMIN_FORCE_DOWN;
}

static int compare_members(const void *left, const void *right)
{
	const struct member *a = left;
	const struct member *b = right;

	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	if (a->region != b->region)
		return a->region < b->region ? -1 : 1;
	return a->backend < b->backend ? -1 : a->backend > b->backend;
}

static int find_members(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	uint32_t regions = snapshot->region_count;
	uint32_t services = snapshot->service_count;

	tables->region_stride = regions ? snapshot->regions[regions - 1].id + 1u : 1;
	tables->service_stride = services ? snapshot->services[services - 1].id + 1u : 1;
	build->members = calloc(snapshot->backend_count + 1, sizeof(*build->members));
	build->served = calloc(GS_MAX_SERVICES, sizeof(*build->served));
	if (!build->members || !build->served)
		return out_of_memory(build, "pools");
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		if (!gets_slots(backend))
			continue;
		build->members[build->member_count++] =
			(struct member){backend->service, backend->region, i};
		build->served[backend->service].words[backend->region / 64] |=
			1ULL << backend->region % 64;
	}
	qsort(build->members, build->member_count, sizeof(*build->members), compare_members);
	return 0;
}

/* ---- rows and plans -------------------------------------------------------------------------- */

static int find_or_add_row(struct build *build, const struct gs_service *service, uint16_t *ret_row)
{
	struct gs_tables *tables = build->tables;
	const struct gs_region_set *served = &build->served[service->id];
	uint32_t row;

	for (row = 0; row < tables->row_count; row++)
		if (tables->row_policy[row] == service->policy &&
		    memcmp(&tables->row_served[row], served, sizeof(*served)) == 0)
			break;
	if (row == GS_MAX_ROUTE_ROWS)
		return refuse(build, -EFBIG,
			      "service %s: more than %u pairs of a policy and a set of regions",
			      service->name, GS_MAX_ROUTE_ROWS);
	if (row == tables->row_count) {
		tables->row_policy[row] = service->policy;
		tables->row_served[row] = *served;
		tables->row_count++;
	}
	*ret_row = (uint16_t)row;
	return 0;
}

static int make_rows(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	int result;

	tables->service_row = calloc(GS_MAX_SERVICES, sizeof(*tables->service_row));
	tables->row_policy = calloc(snapshot->service_count + 1, sizeof(*tables->row_policy));
	tables->row_served = calloc(snapshot->service_count + 1, sizeof(*tables->row_served));
	if (!tables->service_row || !tables->row_policy || !tables->row_served)
		return out_of_memory(build, "routes");
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];

		result = find_or_add_row(build, service, &tables->service_row[service->id]);
		if (result)
			return result;
	}
	return 0;
}

static const struct gs_policy *policy_of(const struct build *build, uint32_t row)
{
	return gs_snapshot_policy(build->snapshot, build->tables->row_policy[row]);
}

/*
 * Geo policies differ in the order for unknown locations only: an earlier row of one that serves
 * the same regions has this row's plans for all others already. NULL: there is none.
 */
static const uint16_t *find_twin(const struct build *build, uint32_t row)
{
	const struct gs_tables *tables = build->tables;

	if (policy_of(build, row)->kind != GS_POLICY_GEO)
		return NULL;
	for (uint32_t i = 0; i < row; i++)
		if (policy_of(build, i)->kind == GS_POLICY_GEO &&
		    memcmp(&tables->row_served[i], &tables->row_served[row],
			   sizeof(*tables->row_served)) == 0)
			return &tables->routes[(size_t)i * tables->location_stride];
	return NULL;
}

static int route_row(struct build *build, uint32_t row)
{
	struct gs_tables *tables = build->tables;
	const struct gs_policy *policy = policy_of(build, row);
	const uint16_t *twin = find_twin(build, row);
	uint16_t *routes = &tables->routes[(size_t)row * tables->location_stride];
	struct gs_plan plan;

	for (uint32_t location = 0; location < tables->location_count; location++) {
		if (twin && tables->locations[location].has_coord) {
			routes[location] = twin[location];
			continue;
		}
		gs_plan_make(policy, &tables->locations[location], build->snapshot->regions,
			     build->snapshot->region_count, &tables->row_served[row], &plan);
		if (plan.count == 0)
			continue;
		routes[location] = gs_plan_set_intern(tables->plans, &plan);
		if (routes[location] == 0)
			return refuse(build, -EFBIG, "plans: more than %u different ones",
				      GS_MAX_PLANS - 1);
	}
	return 0;
}

static int make_routes(struct build *build)
{
	struct gs_tables *tables = build->tables;
	size_t entries = (size_t)tables->row_count * tables->location_stride;
	uint32_t max_plans = entries < GS_MAX_PLANS ? (uint32_t)entries : GS_MAX_PLANS - 1;
	int result;

	if (max_plans == 0)
		max_plans = 1;
	build->owner->plan_memory = malloc(gs_plan_set_size(max_plans));
	tables->routes = calloc(entries + 1, sizeof(*tables->routes));
	if (!build->owner->plan_memory || !tables->routes)
		return out_of_memory(build, "plans");
	tables->plans = gs_plan_set_init(build->owner->plan_memory, max_plans);
	for (uint32_t row = 0; row < tables->row_count; row++) {
		result = route_row(build, row);
		if (result)
			return result;
	}
	return 0;
}

/* ---- rings ----------------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
		size_t left = size - i;
		uint64_t word = 0;

		memcpy(&word, at + i, left < sizeof(word) ? left : sizeof(word));
		hash = gs_hash_step(hash, word);
	}
	return gs_hash_step(hash, size);
}

static uint32_t pool_end(const struct build *build, uint32_t first)
{
	uint32_t end = first + 1;

	while (end < build->member_count &&
	       build->members[end].service == build->members[first].service &&
	       build->members[end].region == build->members[first].region)
		end++;
	return end;
}

static struct gs_table_pool *pool_of(const struct gs_tables *tables, gs_id service, gs_id region)
{
	return &tables->pools[(size_t)service * tables->region_stride + region];
}

/* members[first .. end) are one pool's; their ring goes behind those that are there. */
static int make_ring(struct build *build, uint32_t first, uint32_t end)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	uint32_t count = end - first;
	GS_AUTO_FREE struct gs_maglev_member *ring_members = calloc(count, sizeof(*ring_members));
	GS_AUTO_FREE void *scratch = malloc(gs_maglev_scratch(count));
	const struct member *pool = &build->members[first];
	struct gs_table_pool *entry = pool_of(tables, pool->service, pool->region);

	if (!ring_members || !scratch)
		return out_of_memory(build, "rings");
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_backend *backend = &snapshot->backends[pool[i].backend];

		ring_members[i].backend = backend->id;
		ring_members[i].weight = backend->weight;
		ring_members[i].key = gs_hash_mix(
			hash_bytes(0, backend->addr.bytes, sizeof(backend->addr.bytes)));
	}
	if (gs_maglev_build(ring_members, count, snapshot->selection_seed, scratch, entry->slots,
			    &tables->ring_slots[entry->base]))
		return refuse(build, -EINVAL,
			      "service %s, region %s: two of the %u backends have one address",
			      gs_snapshot_service(snapshot, pool->service)->name,
			      gs_snapshot_region(snapshot, pool->region)->name, count);
	return 0;
}

/*
 * All backends of each pool, [service * region_stride + region]: the ring's length counts those in
 * maintenance, too, so that maintenance of one never reshuffles the others' clients.
 */
static uint32_t *count_backends(const struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	size_t stride = build->tables->region_stride;
	uint32_t *counts = calloc(build->tables->service_stride * stride, sizeof(*counts));

	for (uint32_t i = 0; counts && i < snapshot->backend_count; i++)
		counts[snapshot->backends[i].service * stride + snapshot->backends[i].region]++;
	return counts;
}

static int make_pools(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	GS_AUTO_FREE uint32_t *counts = count_backends(build);
	uint32_t first;
	int result;

	tables->pools = calloc((size_t)tables->service_stride * tables->region_stride,
			       sizeof(*tables->pools));
	if (!tables->pools || !counts)
		return out_of_memory(build, "pools");
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];

		*pool_of(tables, service->id, 0) = (struct gs_table_pool){
			.base = tables->service_row[service->id], .slots = service->policy};
	}
	for (first = 0; first < build->member_count; first = pool_end(build, first)) {
		const struct member *pool = &build->members[first];
		struct gs_table_pool *entry = pool_of(tables, pool->service, pool->region);

		entry->base = tables->ring_slot_count;
		entry->slots = gs_maglev_slots(
			counts[(size_t)pool->service * tables->region_stride + pool->region]);
		tables->ring_slot_count += entry->slots;
	}
	tables->ring_slots = calloc(tables->ring_slot_count + 1, sizeof(*tables->ring_slots));
	if (!tables->ring_slots)
		return out_of_memory(build, "rings");
	for (first = 0; first < build->member_count; first = pool_end(build, first)) {
		result = make_ring(build, first, pool_end(build, first));
		if (result)
			return result;
	}
	return 0;
}

/* ---- digest ---------------------------------------------------------------------------------- */

static uint64_t hash_plan(const struct gs_plan *plan)
{
	uint64_t hash = plan->count;

	for (uint32_t i = 0; i < plan->count; i++)
		hash = gs_hash_step(hash, (uint64_t)plan->region[i] << 32 |
						  (uint64_t)plan->share[i] << 16 | plan->spare[i]);
	return gs_hash_mix(hash);
}

/* What the row says, not how its plans happen to be numbered. */
static uint64_t hash_row(const struct gs_tables *tables, const uint64_t *plan_hashes, uint32_t row)
{
	const uint16_t *routes = &tables->routes[(size_t)row * tables->location_stride];
	uint64_t hash = tables->location_count;

	for (uint32_t location = 0; location < tables->location_count; location++)
		hash = gs_hash_step(hash, plan_hashes[routes[location]]);
	return hash;
}

/* Bits that are not gone by are nobody's decision. */
static uint64_t hash_affinity(const struct gs_affinity_spec *affinity)
{
	uint64_t kind = (uint64_t)affinity->kind << 16;

	if (affinity->kind != GS_AFFINE_PREFIX)
		return kind;
	return kind | (uint64_t)affinity->prefix4 << 8 | affinity->prefix6;
}

static uint64_t hash_service(const struct gs_tables *tables, const struct gs_service *service,
			     uint64_t row_hash)
{
	uint64_t hash = row_hash;

	hash = hash_bytes(hash, service->vip.bytes, sizeof(service->vip.bytes));
	hash = gs_hash_step(hash, (uint64_t)service->id << 32 | (uint64_t)service->port << 8 |
					  (uint64_t)service->protocol);
	hash = gs_hash_step(hash, hash_affinity(&service->affinity));
	for (uint32_t region = 1; region < tables->region_stride; region++) {
		const struct gs_table_pool *pool = pool_of(tables, service->id, (gs_id)region);

		if (pool->slots)
			hash = hash_bytes(gs_hash_step(hash, region),
					  &tables->ring_slots[pool->base],
					  pool->slots * sizeof(*tables->ring_slots));
	}
	return hash;
}

static uint64_t hash_overrides(const struct gs_tables *tables, uint64_t hash)
{
	for (uint32_t i = 0; i < tables->override_count; i++) {
		const struct gs_table_override *override = &tables->overrides[i];
		gs_id region = tables->locations[override->location].override_region;

		hash = hash_bytes(hash, override->prefix.addr.bytes,
				  sizeof(override->prefix.addr.bytes));
		hash = gs_hash_step(hash, (uint64_t) override->prefix.is_v4 << 32 |
						  (uint64_t) override->prefix.length << 16 |
						  region);
	}
	return hash;
}

static uint64_t hash_access(const struct gs_snapshot *snapshot, uint64_t hash)
{
	for (uint32_t i = 0; i < snapshot->access_count; i++) {
		const struct gs_access *access = &snapshot->access[i];

		hash = hash_bytes(hash, access->prefix.addr.bytes,
				  sizeof(access->prefix.addr.bytes));
		hash = gs_hash_step(hash, (uint64_t)access->prefix.is_v4 << 40 |
						  (uint64_t)access->prefix.length << 32 |
						  (uint64_t)access->service << 8 | access->allow);
	}
	return hash;
}

static uint64_t hash_backends(const struct build *build, uint64_t hash)
{
	for (uint32_t i = 0; i < build->member_count; i++) {
		const struct gs_backend *backend =
			&build->snapshot->backends[build->members[i].backend];

		hash = gs_hash_step(hash, (uint64_t)backend->port << 40 |
						  (uint64_t)backend->forward << 32 | backend->id);
		hash = hash_bytes(hash, backend->addr.bytes, sizeof(backend->addr.bytes));
	}
	return hash;
}

static int make_digest(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	uint32_t plans = gs_plan_set_count(tables->plans);
	GS_AUTO_FREE uint64_t *plan_hashes = calloc(plans + 1, sizeof(*plan_hashes));
	GS_AUTO_FREE uint64_t *row_hashes = calloc(tables->row_count + 1, sizeof(*row_hashes));
	uint64_t hash;

	if (!plan_hashes || !row_hashes)
		return out_of_memory(build, "digest");
	for (uint32_t id = 1; id <= plans; id++)
		plan_hashes[id] = hash_plan(gs_plan_set_get(tables->plans, (gs_id)id));
	for (uint32_t row = 0; row < tables->row_count; row++)
		row_hashes[row] = hash_row(tables, plan_hashes, row);
	hash = gs_hash_step(GS_MAPS_VERSION, tables->seed);
	hash = gs_hash_step(hash, build->geo ? build->geo->digest : 0);
	hash = hash_overrides(tables, hash);
	hash = gs_hash_step(hash_access(snapshot, hash), tables->asks);
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];

		hash = gs_hash_step(hash,
				    hash_service(tables, service,
						 row_hashes[tables->service_row[service->id]]));
	}
	tables->digest = gs_hash_mix(hash_backends(build, hash));
	return 0;
}

/* ---- public ---------------------------------------------------------------------------------- */

static void free_tables_ptr(struct gs_tables **tables)
{
	gs_tables_free(*tables);
}

static int run(struct build *build)
{
	int (*const steps[])(struct build *) = {make_locations, find_asks,  find_members, make_rows,
						make_routes,	make_pools, make_digest};
	int result = check_ids(build);

	for (size_t i = 0; i < ARRAY_SIZE(steps) && result == 0; i++)
		result = steps[i](build);
	return result;
}

int gs_tables_build(const struct gs_snapshot *snapshot, const struct gs_geodata *geo,
		    struct gs_tables **ret_tables, struct gs_error *error)
{
	GS_CLEANUP(free_tables_ptr) struct gs_tables *tables = NULL;
	struct owner *owner = calloc(1, sizeof(*owner));
	struct build build = {.snapshot = snapshot, .geo = geo, .owner = owner, .error = error};
	int result;

	if (!owner)
		return out_of_memory(&build, "tables");
	tables = &owner->tables;
	tables->snapshot = snapshot;
	tables->geo = geo;
	tables->seed = snapshot->selection_seed;
	build.tables = tables;
	result = run(&build);
	free(build.members);
	free(build.served);
	if (result)
		return result;
	*ret_tables = gs_take_ptr(tables);
	return 0;
}

void gs_tables_free(struct gs_tables *tables)
{
	struct owner *owner = (struct owner *)tables;

	if (!owner)
		return;
	free(tables->locations);
	free(tables->overrides);
	free(tables->routes);
	free(tables->service_row);
	free(tables->row_policy);
	free(tables->row_served);
	free(tables->pools);
	free(tables->ring_slots);
	free(owner->plan_memory);
	free(owner);
}

/* Longest first, a binary search for each length. */
static const struct gs_table_override *find_override(const struct gs_tables *tables,
						     const struct gs_addr *client)
{
	for (int length = gs_addr_is_v4(client) ? 32 : 128; length >= 0; length--) {
		struct gs_table_override key = {.prefix = gs_prefix_make(client, (uint8_t)length)};
		const struct gs_table_override *found =
			tables->override_count
				? bsearch(&key, tables->overrides, tables->override_count,
					  sizeof(*tables->overrides), compare_overrides)
				: NULL;

		if (found)
			return found;
	}
	return NULL;
}

uint16_t gs_tables_locate(const struct gs_tables *tables, const struct gs_addr *client,
			  struct gs_prefix *ret_prefix, bool *ret_is_override)
{
	const struct gs_table_override *override = find_override(tables, client);
	struct gs_addr inside;

	/* As the packet path: an override of the IPv6 prefix is nearer to what people wrote. */
	if (!override && gs_geo_embedded_v4(client, &inside))
		override = find_override(tables, &inside);
	if (ret_is_override)
		*ret_is_override = override != NULL;
	if (override) {
		if (ret_prefix)
			*ret_prefix = override->prefix;
		return override->location;
	}
	if (tables->geo)
		return gs_geodata_find(tables->geo, client, ret_prefix);
	if (ret_prefix)
		*ret_prefix = gs_prefix_make(client, 0);
	return 0;
}

const struct gs_plan *gs_tables_plan(const struct gs_tables *tables, gs_id service,
				     uint16_t location)
{
	gs_id plan;

	if (!gs_snapshot_service(tables->snapshot, service) || location >= tables->location_count)
		return NULL;
	plan = tables->routes[(size_t)tables->service_row[service] * tables->location_stride +
			      location];
	return plan ? gs_plan_set_get(tables->plans, plan) : NULL;
}

uint64_t gs_tables_draw(const struct gs_tables *tables, const struct gs_service *service,
			const struct gs_addr *client)
{
	struct gs_addr asked = *client;
	struct gs_prefix prefix;
	__be32 words[4];

	if (gs_affinity_prefix(service, client, &prefix))
		asked = prefix.addr;
	memcpy(words, asked.bytes, sizeof(words));
	return gs_hash_client(words, tables->seed);
}
