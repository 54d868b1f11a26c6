/* SPDX-License-Identifier: Apache-2.0 */
#include "tables.h"

#include "fencing.h"
#include "gradual.h"
#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "plan_ids.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/maglev.h"
#include "user/core/override.h"
#include "user/core/place.h"
#include "user/core/plan_tail.h"
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
	const struct gs_asndata *asn;
	struct gs_tables *tables;
	struct owner *owner;
	struct gs_error *error;
	struct member *members; /* sorted by service, region, backend */
	uint32_t member_count;
	struct gs_region_set *served; /* [service id] */
	struct gs_fencing fencing;
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
	bool is_prefix = gs_override_of(override) == GS_OVERRIDE_OF_PREFIX;
	char text[GS_OVERRIDE_TEXT_MAX];

	if (is_prefix && override->prefix.length > (override->prefix.is_v4 ? 32 : 128))
		return refuse(build, -EINVAL, "override: a prefix length of %u",
			      override->prefix.length);
	if (!gs_snapshot_region(build->snapshot, override->region))
		return refuse(build, -EINVAL, "override %s: no region has id %u",
			      gs_override_format(override, text), override->region);
	return 0;
}

static int check_fence(const struct build *build, const struct gs_fence *fence)
{
	char place[GS_PLACE_TEXT_MAX];

	gs_place_format(&fence->place, place);
	if (fence->service != 0 && !gs_snapshot_service(build->snapshot, fence->service))
		return refuse(build, -EINVAL, "fence %s: no service has id %u", place,
			      fence->service);
	if (fence->region_count == 0 || fence->region_count > GS_FENCE_REGIONS_MAX)
		return refuse(build, -EINVAL, "fence %s: %u regions", place, fence->region_count);
	return 0;
}

static int check_steering(const struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	int result;

	if (snapshot->fence_count > GS_FENCES_MAX)
		return refuse(build, -EFBIG, "fences: more than %d", GS_FENCES_MAX);
	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		result = check_override(build, &snapshot->overrides[i]);
		if (result)
			return result;
	}
	for (uint32_t i = 0; i < snapshot->fence_count; i++) {
		result = check_fence(build, &snapshot->fences[i]);
		if (result)
			return result;
	}
	return 0;
}

/* Overrides of places are no locations of their own: they act on the database's. */
static int override_places(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	GS_AUTO_FREE struct gs_override *found =
		calloc(snapshot->override_count + 1u, sizeof(*found));
	GS_AUTO_FREE uint32_t *number = calloc(snapshot->override_count + 1u, sizeof(*number));
	struct gs_snapshot places = {.overrides = found};
	struct gs_tables *tables = build->tables;

	tables->place_override = calloc(GS_MAX_LOCATIONS, sizeof(*tables->place_override));
	if (!found || !number || !tables->place_override)
		return out_of_memory(build, "overrides");
	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		if (snapshot->overrides[i].place.kind == GS_PLACE_EVERYBODY)
			continue;
		number[places.override_count] = i + 1;
		found[places.override_count++] = snapshot->overrides[i];
	}
	for (uint32_t i = 0; i < tables->location_count && places.override_count; i++) {
		const struct gs_override *override =
			gs_snapshot_place_override(&places, &tables->locations[i]);

		if (!override)
			continue;
		tables->locations[i].override_region = override->region;
		tables->place_override[i] = number[override - found];
	}
	return 0;
}

static int make_locations(struct build *build)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	uint32_t count = database_locations(build->geo);
	int result = check_steering(build);

	if (result)
		return result;
	if (count == 0 || count > GS_MAX_LOCATIONS)
		return refuse(build, -EFBIG, "GeoIP database: %u locations, the limit is %u", count,
			      GS_MAX_LOCATIONS);
	tables->locations = calloc(GS_MAX_LOCATIONS, sizeof(*tables->locations));
	tables->location_class = calloc(GS_MAX_LOCATIONS, sizeof(*tables->location_class));
	if (!tables->locations || !tables->location_class ||
	    gs_fencing_make(snapshot, build->geo, &build->fencing) != 0)
		return out_of_memory(build, "locations");
	if (build->geo)
		memcpy(tables->locations, build->geo->locations,
		       count * sizeof(*tables->locations));
	memcpy(tables->location_class, build->fencing.location_class,
	       count * sizeof(*tables->location_class));
	tables->class_count = build->fencing.class_count;
	tables->classes = build->fencing.classes;
	tables->location_count = count;
	return override_places(build);
}

/* The location of an override's clients for whom the same fences hold; made if there is none. */
static int find_or_add_synthetic(struct build *build, gs_id region_id, uint16_t class,
				 uint16_t *ret_location)
{
	const struct gs_region *region = gs_snapshot_region(build->snapshot, region_id);
	struct gs_tables *tables = build->tables;
	uint32_t at = database_locations(build->geo);

	for (; at < tables->location_count; at++)
		if (tables->locations[at].override_region == region_id &&
		    tables->location_class[at] == class)
			break;
	if (at == GS_MAX_LOCATIONS)
		return refuse(build, -EFBIG,
			      "locations: the GeoIP database's %u and those of overrides "
			      "are more than %u",
			      database_locations(build->geo), GS_MAX_LOCATIONS);
	if (at == tables->location_count) {
		tables->locations[at] = (struct gs_location){
			.has_coord = true, .coord = region->coord, .override_region = region_id};
		tables->location_class[at] = class;
		tables->location_count++;
	}
	*ret_location = (uint16_t)at;
	return 0;
}

static int compare_pieces(const void *left, const void *right, void *context)
{
	const struct gs_cut_piece *a = left, *b = right;
	const struct gs_override *overrides = context;
	gs_id a_region = overrides[a->owner].region, b_region = overrides[b->owner].region;

	if (a_region != b_region)
		return a_region < b_region ? -1 : 1;
	return (a->class > b->class) - (a->class < b->class);
}

/* Only regions some override names get locations, by region and class: in this order their ids do
 * not depend on how many prefixes there are. */
static int take_pieces(struct build *build, struct gs_cut_piece *pieces, uint32_t count)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	struct gs_tables *tables = build->tables;
	int result = 0;

	qsort_r(pieces, count, sizeof(*pieces), compare_pieces, snapshot->overrides);
	for (uint32_t i = 0; i < count && !result; i++) {
		struct gs_table_override *override = &tables->overrides[i];

		override->prefix = pieces[i].prefix;
		override->override = pieces[i].owner;
		if (i > 0 && compare_pieces(&pieces[i - 1], &pieces[i], snapshot->overrides) == 0)
			override->location = tables->overrides[i - 1].location;
		else
			result = find_or_add_synthetic(build,
						       snapshot->overrides[pieces[i].owner].region,
						       pieces[i].class, &override->location);
	}
	tables->override_count = count;
	qsort(tables->overrides, count, sizeof(*tables->overrides), compare_overrides);
	return result;
}

/* The trie holds each prefix once. */
static int check_override_table(const struct build *build)
{
	const struct gs_tables *tables = build->tables;
	char text[GS_PREFIX_TEXT_MAX];

	for (uint32_t i = 1; i < tables->override_count; i++) {
		const struct gs_prefix *prefix = &tables->overrides[i].prefix;

		if (gs_prefix_compare(&tables->overrides[i - 1].prefix, prefix) == 0)
			return refuse(build, -EINVAL, "override %s: there twice",
				      gs_prefix_format(prefix, text));
	}
	return 0;
}

static int make_overrides(struct build *build)
{
	struct gs_tables *tables = build->tables;
	GS_AUTO_FREE struct gs_cut_piece *pieces = NULL;
	struct gs_error ignored;
	uint32_t count = 0;
	int result = gs_fencing_cut(&build->fencing, build->snapshot, build->geo, build->asn,
				    GS_MAX_OVERRIDES, &pieces, &count,
				    build->error ? build->error : &ignored);

	if (result)
		return result;
	tables->overrides = calloc(count + 1u, sizeof(*tables->overrides));
	if (!tables->overrides)
		return out_of_memory(build, "overrides");
	result = take_pieces(build, pieces, count);
	tables->location_stride =
		(tables->location_count + GS_BLOCK_U16 - 1) / GS_BLOCK_U16 * GS_BLOCK_U16;
	return result ? result : check_override_table(build);
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
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (snapshot->regions[i].capacity)
			build->tables->asks |= GS_ASK_FILL;
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
	struct gs_fence_set fences = gs_fences_of_service(build->snapshot, service->id);
	uint32_t row;

	for (row = 0; row < tables->row_count; row++)
		if (tables->row_policy[row] == service->policy &&
		    tables->row_priority[row] == service->limit.priority &&
		    memcmp(&tables->row_served[row], served, sizeof(*served)) == 0 &&
		    memcmp(&tables->row_fences[row], &fences, sizeof(fences)) == 0)
			break;
	if (row == GS_MAX_ROUTE_ROWS)
		return refuse(build, -EFBIG,
			      "service %s: more than %u different policies, priorities, sets of "
			      "regions and sets of fences",
			      service->name, GS_MAX_ROUTE_ROWS);
	if (row == tables->row_count) {
		tables->row_policy[row] = service->policy;
		tables->row_served[row] = *served;
		tables->row_fences[row] = fences;
		tables->row_priority[row] = service->limit.priority;
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
	tables->row_fences = calloc(snapshot->service_count + 1, sizeof(*tables->row_fences));
	tables->row_priority = calloc(snapshot->service_count + 1, sizeof(*tables->row_priority));
	if (!tables->service_row || !tables->row_policy || !tables->row_served ||
	    !tables->row_fences || !tables->row_priority)
		return out_of_memory(build, "routes");
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];

		result = find_or_add_row(build, service, &tables->service_row[service->id]);
		if (result)
			return result;
	}
	return 0;
}

/* What ranking needs, made once: regions, each row's policy, and what fences leave of a class. */
struct routing {
	struct gs_ranker ranker;
	struct gs_latency_view view;
	struct gs_gradual gradual;
	bool is_at_once;		   /* nobody stays with round trips of before */
	uint32_t *order;		   /* locations, by class */
	struct gs_ranked_policy *policies; /* [row] */
	bool *is_fenced;		   /* [row], for the class in hand */
	struct gs_region_set *allowed;
	struct gs_plan_ids ids;
};

static void routing_done(struct routing *routing)
{
	free(routing->order);
	free(routing->policies);
	free(routing->is_fenced);
	free(routing->allowed);
	free(routing->ids.places);
	gs_plan_ids_done(&routing->ids);
}

/* Counting sort: stable, so that locations of a class stay in order. */
static int sort_by_class(const struct gs_tables *tables, uint32_t *order)
{
	GS_AUTO_FREE uint32_t *next = calloc(tables->class_count + 1u, sizeof(*next));

	if (!next)
		return -ENOMEM;
	for (uint32_t i = 0; i < tables->location_count; i++)
		next[tables->location_class[i] + 1]++;
	for (uint32_t c = 1; c <= tables->class_count; c++)
		next[c] += next[c - 1];
	for (uint32_t i = 0; i < tables->location_count; i++)
		order[next[tables->location_class[i]]++] = i;
	return 0;
}

/* Without rows the model alone speaks. view: the caller's, for as long as the ranker. */
static void init_ranker(const struct gs_snapshot *snapshot, struct gs_latency_view *view,
			struct gs_ranker *ranker)
{
	struct gs_rank_facts facts = gs_latency_facts(view);

	gs_latency_view_init(view, snapshot->latencies, snapshot->latency_count);
	gs_ranker_init(ranker, snapshot->regions, snapshot->region_count,
		       snapshot->latency_count ? &facts : NULL);
}

/* An id each for as many plans as there may be; the order of their ends. */
static int ids_init(const struct build *build, struct routing *routing)
{
	const struct gs_tables *tables = build->tables;
	size_t entries = (size_t)tables->row_count * tables->location_stride;
	struct gs_plan_ids *ids = &routing->ids;

	ids->routes = tables->routes;
	ids->row_count = tables->row_count;
	ids->stride = tables->location_stride;
	ids->places = calloc(tables->row_count + 1u, sizeof(*ids->places));
	if (!ids->places)
		return -ENOMEM;
	for (uint32_t row = 0; row < tables->row_count; row++)
		gs_plan_tail_places(&routing->ranker, &routing->policies[row], ids->places[row]);
	return gs_plan_ids_init(ids,
				entries < GS_MAX_PLANS ? (uint32_t)entries + 1 : GS_MAX_PLANS - 1);
}

static int routing_init(const struct build *build, struct routing *routing)
{
	const struct gs_snapshot *snapshot = build->snapshot;
	const struct gs_tables *tables = build->tables;

	routing->order = calloc(tables->location_count + 1u, sizeof(*routing->order));
	routing->policies = calloc(tables->row_count + 1u, sizeof(*routing->policies));
	routing->is_fenced = calloc(tables->row_count + 1u, sizeof(*routing->is_fenced));
	routing->allowed = calloc(tables->row_count + 1u, sizeof(*routing->allowed));
	if (!routing->order || !routing->policies || !routing->is_fenced || !routing->allowed ||
	    sort_by_class(tables, routing->order) != 0)
		return out_of_memory(build, "plans");
	init_ranker(snapshot, &routing->view, &routing->ranker);
	gs_gradual_init(&routing->gradual, snapshot);
	if (routing->is_at_once)
		routing->gradual.percent = 100;
	build->tables->before_percent = (uint8_t)(100 - routing->gradual.percent);
	for (uint32_t row = 0; row < tables->row_count; row++)
		gs_ranked_policy_init(&routing->policies[row], &routing->ranker,
				      gs_snapshot_policy(snapshot, tables->row_policy[row]),
				      &tables->row_served[row]);
	return ids_init(build, routing) ? out_of_memory(build, "plans") : 0;
}

static void take_class(const struct build *build, struct routing *routing, uint16_t class)
{
	const struct gs_tables *tables = build->tables;

	for (uint32_t row = 0; row < tables->row_count; row++) {
		struct gs_fence_set both =
			gs_fences_both(&tables->classes[class], &tables->row_fences[row]);

		routing->is_fenced[row] = !gs_fences_are_none(&both);
		if (routing->is_fenced[row])
			routing->allowed[row] = gs_fences_leave(build->snapshot, &both);
	}
}

static int refuse_plans(const struct build *build, int err)
{
	if (err == -ENOMEM)
		return out_of_memory(build, "plans");
	return refuse(build, err,
		      "plans: more than %u different ones, even if only the first %u choices of "
		      "each are exact",
		      GS_MAX_PLANS - 1, GS_PLAN_EXACT_LEAST);
}

static int route_location(const struct build *build, struct routing *routing, uint32_t at)
{
	const struct gs_tables *tables = build->tables;
	const struct gs_location *location = &tables->locations[at];

	gs_ranker_move(&routing->ranker, (uint16_t)at, location);
	gs_gradual_move(&routing->gradual, &routing->view, (uint16_t)at, location);
	for (uint32_t row = 0; row < tables->row_count; row++) {
		const struct gs_region_set *allowed =
			routing->is_fenced[row] ? &routing->allowed[row] : NULL;
		struct gs_ranking ranking;
		struct gs_plan plan;
		int err;

		gs_rank(&routing->ranker, &routing->policies[row], allowed,
			location->override_region, &ranking);
		if (ranking.count == 0)
			continue;
		gs_plan_from_ranking(&routing->ranker, &ranking, &plan);
		gs_gradual_plan(&routing->gradual, &routing->policies[row], allowed,
				location->override_region, &plan, NULL);
		err = gs_plan_ids_route(&routing->ids, row, at, &plan);
		if (err)
			return refuse_plans(build, err);
	}
	return 0;
}

static int route_all(const struct build *build, struct routing *routing)
{
	const struct gs_tables *tables = build->tables;
	int result = routing_init(build, routing), class = -1;

	for (uint32_t i = 0; i < tables->location_count && !result; i++) {
		uint32_t at = routing->order[i];

		if (tables->location_class[at] != class) {
			class = tables->location_class[at];
			take_class(build, routing, (uint16_t) class);
		}
		result = route_location(build, routing, at);
	}
	return result;
}

static int fill_routes(struct build *build, bool is_at_once)
{
	struct gs_tables *tables = build->tables;
	struct routing *routing = calloc(1, sizeof(*routing));
	int result;

	if (!routing)
		return out_of_memory(build, "plans");
	routing->is_at_once = is_at_once;
	result = route_all(build, routing);
	tables->exact_choices = (uint8_t)routing->ids.exact;
	tables->plans = routing->ids.set;
	build->owner->plan_memory = gs_take_ptr(routing->ids.memory);
	routing_done(routing);
	free(routing);
	return result;
}

/* Plans between two are plans more. Where ids do not suffice for them all, the ends of plans would
 * give way for the sake of some seconds, or a generation: clients go over at once instead. */
static int make_routes(struct build *build)
{
	struct gs_tables *tables = build->tables;
	size_t entries = (size_t)tables->row_count * tables->location_stride;
	int result;

	tables->routes = calloc(entries + 1, sizeof(*tables->routes));
	if (!tables->routes)
		return out_of_memory(build, "plans");
	result = fill_routes(build, false);
	if (tables->before_percent == 0 ||
	    (result != -EFBIG && (result || tables->exact_choices == GS_PLAN_REGIONS)))
		return result;
	free(gs_take_ptr(build->owner->plan_memory));
	memset(tables->routes, 0, entries * sizeof(*tables->routes));
	return fill_routes(build, true);
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
		uint16_t class = tables->location_class[override->location];

		hash = hash_bytes(hash, override->prefix.addr.bytes,
				  sizeof(override->prefix.addr.bytes));
		hash = gs_hash_step(hash, (uint64_t) override->prefix.is_v4 << 32 |
						  (uint64_t) override->prefix.length << 16 |
						  region);
		hash = gs_hash_step(hash, class);
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
	int (*const steps[])(struct build *) = {make_locations, make_overrides, find_asks,
						find_members,	make_rows,	make_routes,
						make_pools,	make_digest};
	int result = check_ids(build);

	for (size_t i = 0; i < ARRAY_SIZE(steps) && result == 0; i++)
		result = steps[i](build);
	return result;
}

int gs_tables_make(const struct gs_tables_sources *sources, struct gs_tables **ret_tables,
		   struct gs_error *error)
{
	GS_CLEANUP(free_tables_ptr) struct gs_tables *tables = NULL;
	struct owner *owner = calloc(1, sizeof(*owner));
	struct build build = {.snapshot = sources->snapshot,
			      .geo = sources->geo,
			      .asn = sources->asn,
			      .owner = owner,
			      .error = error};
	int result;

	if (!owner)
		return out_of_memory(&build, "tables");
	tables = &owner->tables;
	tables->snapshot = sources->snapshot;
	tables->geo = sources->geo;
	tables->asn = sources->asn;
	tables->seed = sources->snapshot->selection_seed;
	gs_latency_view_init(&tables->latencies, sources->snapshot->latencies,
			     sources->snapshot->latency_count);
	build.tables = tables;
	result = run(&build);
	free(build.members);
	free(build.served);
	free(build.fencing.location_class); /* classes are the tables' */
	if (result)
		return result;
	*ret_tables = gs_take_ptr(tables);
	return 0;
}

int gs_tables_build(const struct gs_snapshot *snapshot, const struct gs_geodata *geo,
		    struct gs_tables **ret_tables, struct gs_error *error)
{
	const struct gs_tables_sources sources = {.snapshot = snapshot, .geo = geo};

	return gs_tables_make(&sources, ret_tables, error);
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
	free(tables->row_fences);
	free(tables->row_priority);
	free(tables->location_class);
	free(tables->place_override);
	free(tables->classes);
	free(tables->pools);
	free(tables->ring_slots);
	free(owner->plan_memory);
	free(owner);
}

uint64_t gs_tables_geo_digest(const struct gs_tables *tables)
{
	uint64_t digest = tables->geo ? tables->geo->digest : 0;

	return tables->asn ? gs_hash_mix(gs_hash_step(digest, tables->asn->digest)) : digest;
}

/* Longest first, a binary search for each length. */
static const struct gs_table_override *find_override(const struct gs_tables *tables,
						     const struct gs_addr *client)
{
	const struct gs_table_override *found = NULL;

	if (tables->override_count == 0)
		return NULL;
	for (int length = gs_addr_is_v4(client) ? 32 : 128; length >= 0 && !found; length--) {
		struct gs_table_override key = {.prefix = gs_prefix_make(client, (uint8_t)length)};

		found = bsearch(&key, tables->overrides, tables->override_count,
				sizeof(*tables->overrides), compare_overrides);
	}
	return found;
}

/* As the packet path: an override of the IPv6 prefix is nearer to what people wrote. */
static const struct gs_table_override *find_any_override(const struct gs_tables *tables,
							 const struct gs_addr *client)
{
	const struct gs_table_override *override = find_override(tables, client);
	struct gs_addr inside;

	if (!override && gs_geo_embedded_v4(client, &inside))
		override = find_override(tables, &inside);
	return override;
}

const struct gs_override *gs_tables_override(const struct gs_tables *tables,
					     const struct gs_addr *client)
{
	const struct gs_table_override *override = find_any_override(tables, client);
	uint32_t number;

	if (override)
		return &tables->snapshot->overrides[override->override];
	number = tables->geo ? tables->place_override[gs_geodata_find(tables->geo, client, NULL)]
			     : 0;
	return number ? &tables->snapshot->overrides[number - 1] : NULL;
}

uint16_t gs_tables_locate(const struct gs_tables *tables, const struct gs_addr *client,
			  struct gs_prefix *ret_prefix, bool *ret_is_override)
{
	const struct gs_table_override *override = find_any_override(tables, client);

	if (ret_is_override)
		*ret_is_override = override != NULL;
	if (override) {
		const struct gs_override *whose = &tables->snapshot->overrides[override->override];
		bool is_asn = gs_override_of(whose) == GS_OVERRIDE_OF_ASN;

		if (ret_prefix)
			*ret_prefix = is_asn ? override->prefix : whose->prefix;
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

/* Whether the first choices of both are the same regions, in any order. */
static bool begin_alike(const struct gs_plan *plan, const struct gs_tables_reasons *reasons,
			uint8_t count)
{
	struct gs_region_set first;

	memset(&first, 0, sizeof(first));
	for (uint8_t i = 0; i < count; i++)
		gs_region_set_add(&first, plan->region[i]);
	for (uint8_t i = 0; i < count; i++)
		if (!gs_region_set_has(&first,
				       reasons->ranker.regions[reasons->ranking.index[i]].id))
			return false;
	return true;
}

/* What is behind the exact choices stands as the plan has it; but in a plan between two
 * (gradual.h), which begins with others than the ranking. */
static void settle_ranking(const struct gs_tables *tables, const struct gs_plan *plan,
			   struct gs_tables_reasons *reasons)
{
	struct gs_ranking *ranking = &reasons->ranking;
	uint8_t index_of[GS_ID_MAX_REGION + 1], begin;

	reasons->exact_choices = tables->exact_choices;
	if (!plan || plan->count != ranking->count)
		return;
	begin = gs_plan_tail_begin(plan, tables->exact_choices);
	if (!begin_alike(plan, reasons, begin))
		return;
	for (uint8_t i = 0; i < ranking->count; i++)
		index_of[reasons->ranker.regions[ranking->index[i]].id] = ranking->index[i];
	for (uint8_t i = begin; i < plan->count; i++) {
		ranking->index[i] = index_of[plan->region[i]];
		ranking->behind[i] = GS_BEHIND_SETTLED;
	}
}

int gs_tables_explain(const struct gs_tables *tables, gs_id service, uint16_t location,
		      struct gs_tables_reasons *ret_reasons)
{
	const struct gs_snapshot *snapshot = tables->snapshot;
	GS_AUTO_FREE struct gs_ranked_policy *policy = calloc(1, sizeof(*policy));
	uint32_t row = tables->service_row[service];
	struct gs_region_set allowed;

	if (!policy)
		return -ENOMEM;
	ret_reasons->fences = gs_fences_both(&tables->classes[tables->location_class[location]],
					     &tables->row_fences[row]);
	allowed = gs_fences_leave(snapshot, &ret_reasons->fences);
	init_ranker(snapshot, &ret_reasons->view, &ret_reasons->ranker);
	gs_ranker_move(&ret_reasons->ranker, location, &tables->locations[location]);
	gs_ranked_policy_init(policy, &ret_reasons->ranker,
			      gs_snapshot_policy(snapshot, tables->row_policy[row]),
			      &tables->row_served[row]);
	gs_rank(&ret_reasons->ranker, policy, &allowed, tables->locations[location].override_region,
		&ret_reasons->ranking);
	settle_ranking(tables, gs_tables_plan(tables, service, location), ret_reasons);
	return 0;
}

bool gs_tables_move(const struct gs_tables *tables, gs_id service, uint16_t location,
		    struct gs_tables_move *ret_move)
{
	GS_AUTO_FREE struct gs_gradual *gradual = NULL;
	GS_AUTO_FREE struct gs_tables_reasons *reasons = NULL;
	const struct gs_plan *plan = gs_tables_plan(tables, service, location);
	const struct gs_location *at = &tables->locations[location];
	struct gs_ranked_policy policy;
	struct gs_region_set allowed;
	struct gs_plan between;

	if (tables->before_percent == 0)
		return false;
	gradual = calloc(1, sizeof(*gradual));
	reasons = calloc(1, sizeof(*reasons));
	if (!gradual || !reasons || !plan ||
	    gs_tables_explain(tables, service, location, reasons) != 0)
		return false;
	gs_gradual_init(gradual, tables->snapshot);
	gs_gradual_move(gradual, &reasons->view, location, at);
	allowed = gs_fences_leave(tables->snapshot, &reasons->fences);
	gs_ranked_policy_init(&policy, &gradual->ranker,
			      gs_snapshot_policy(tables->snapshot,
						 tables->row_policy[tables->service_row[service]]),
			      &tables->row_served[tables->service_row[service]]);
	gs_plan_from_ranking(&reasons->ranker, &reasons->ranking, &ret_move->now);
	between = ret_move->now;
	ret_move->percent = gradual->percent;
	return gs_gradual_plan(gradual, &policy, &allowed, at->override_region, &between,
			       &ret_move->before);
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
