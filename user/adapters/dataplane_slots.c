/* SPDX-License-Identifier: Apache-2.0 */
/* One generation's inner maps, and the slot they go into: all that no packet sees before a flip. */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INNER_COUNT = 10 };

/* ---- the generation's inner maps ------------------------------------------------------------- */

struct inner_set {
	int fd[INNER_COUNT]; /* in the order of enum gs_dataplane_map from GS_DATAPLANE_GEO4 */
};

static int *inner_of(struct inner_set *set, enum gs_dataplane_map map)
{
	return &set->fd[map - GS_DATAPLANE_GEO4];
}

static void close_set(struct inner_set *set)
{
	for (int i = 0; i < INNER_COUNT; i++)
		if (set->fd[i] >= 0)
			close(set->fd[i]);
}

/* The name says which table it is, so that a restarted controller knows its own again. */
static void geo_name(char out[GS_DATAPLANE_NAME_MAX], int family, const struct gs_geodata *geo)
{
	snprintf(out, GS_DATAPLANE_NAME_MAX, "g%d.%012llx", family == 0 ? 4 : 6,
		 (unsigned long long)((geo ? geo->digest : 0) & 0xffffffffffffULL));
}

static int make_geo(const struct gs_dataplane_state *state, const struct gs_tables *tables,
		    int family, int *ret_fd, struct gs_error *error)
{
	struct gs_geo_block unknown;
	char name[GS_DATAPLANE_NAME_MAX];
	struct gs_dataplane_array array = {.outer = GS_DATAPLANE_GEO4 + family,
					   .name = name,
					   .value_struct = "gs_geo_block",
					   .value_size = sizeof(unknown),
					   .count = 1,
					   .values = &unknown};

	/* No database: a root whose few entries are the unknown location, as is all beyond it. */
	for (uint32_t i = 0; i < GS_BLOCK_U32; i++)
		unknown.root[i] = GS_GEO_LEAF;
	if (tables->geo) {
		const struct gs_geodata_family *data =
			family == 0 ? &tables->geo->v4 : &tables->geo->v6;

		array.count = (uint32_t)data->block_count;
		array.values = data->blocks;
	}
	geo_name(name, family, tables->geo);
	return gs_dataplane_array_new(&state->maps, &array, ret_fd, error);
}

static int make_geos(struct gs_dataplane_state *state, const struct gs_tables *tables,
		     struct inner_set *set, struct gs_error *error)
{
	int result = 0;

	for (int i = 0; i < GS_DATAPLANE_FAMILIES && result == 0; i++) {
		int *fd = inner_of(set, GS_DATAPLANE_GEO4 + i);
		char name[GS_DATAPLANE_NAME_MAX];

		geo_name(name, i, tables->geo);
		if (state->geo_fd[i] >= 0 && strcmp(name, state->geo_name[i]) == 0)
			*fd = dup(state->geo_fd[i]);
		if (*fd < 0)
			result = make_geo(state, tables, i, fd, error);
	}
	return result;
}

static int make_overrides4(const struct gs_dataplane_state *state, const struct gs_tables *tables,
			   uint32_t count, int *ret_fd, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_override4_key *keys = calloc(count + 1, sizeof(*keys));
	GS_AUTO_FREE struct gs_override_value *values = calloc(count + 1, sizeof(*values));
	struct gs_dataplane_trie trie = {.outer = GS_DATAPLANE_OVERRIDE4,
					 .name = "override4_in",
					 .key_struct = "gs_override4_key",
					 .value_struct = "gs_override_value",
					 .key_size = sizeof(*keys),
					 .value_size = sizeof(*values),
					 .max_entries = GS_MAX_OVERRIDES,
					 .count = count,
					 .keys = keys,
					 .values = values};

	if (!keys || !values)
		return gs_dataplane_refuse(error, -ENOMEM, trie.outer, "memory");
	for (uint32_t i = 0; i < count; i++) {
		keys[i].prefix_len = tables->overrides[i].prefix.length;
		memcpy(&keys[i].addr, &tables->overrides[i].prefix.addr.bytes[12],
		       sizeof(keys[i].addr));
		values[i].location = tables->overrides[i].location;
	}
	return gs_dataplane_trie_new(&state->maps, &trie, ret_fd, error);
}

static int make_overrides6(const struct gs_dataplane_state *state, const struct gs_tables *tables,
			   uint32_t first, int *ret_fd, struct gs_error *error)
{
	uint32_t count = tables->override_count - first;
	GS_AUTO_FREE struct gs_override6_key *keys = calloc(count + 1, sizeof(*keys));
	GS_AUTO_FREE struct gs_override_value *values = calloc(count + 1, sizeof(*values));
	struct gs_dataplane_trie trie = {.outer = GS_DATAPLANE_OVERRIDE6,
					 .name = "override6_in",
					 .key_struct = "gs_override6_key",
					 .value_struct = "gs_override_value",
					 .key_size = sizeof(*keys),
					 .value_size = sizeof(*values),
					 .max_entries = GS_MAX_OVERRIDES,
					 .count = count,
					 .keys = keys,
					 .values = values};

	if (!keys || !values)
		return gs_dataplane_refuse(error, -ENOMEM, trie.outer, "memory");
	for (uint32_t i = 0; i < count; i++) {
		const struct gs_table_override *override = &tables->overrides[first + i];

		keys[i].prefix_len = override->prefix.length;
		memcpy(keys[i].addr, override->prefix.addr.bytes, sizeof(keys[i].addr));
		values[i].location = override->location;
	}
	return gs_dataplane_trie_new(&state->maps, &trie, ret_fd, error);
}

static uint32_t count_overrides4(const struct gs_tables *tables)
{
	uint32_t count = 0;

	while (count < tables->override_count && tables->overrides[count].prefix.is_v4)
		count++;
	return count;
}

static int make_plans(const struct gs_dataplane_state *state, const struct gs_tables *tables,
		      int *ret_fd, struct gs_error *error)
{
	uint32_t count = gs_plan_set_count(tables->plans) + 1;
	GS_AUTO_FREE struct gs_plan_value *values = calloc(count, sizeof(*values));
	struct gs_dataplane_array array = {.outer = GS_DATAPLANE_PLANS,
					   .name = "plans_in",
					   .value_struct = "gs_plan_value",
					   .value_size = sizeof(*values),
					   .count = count,
					   .values = values};

	if (!values)
		return gs_dataplane_refuse(error, -ENOMEM, array.outer, "memory");
	for (uint32_t id = 1; id < count; id++) {
		const struct gs_plan *plan = gs_plan_set_get(tables->plans, (gs_id)id);

		values[id].count = plan->count;
		for (uint32_t i = 0; i < plan->count; i++) {
			values[id].region[i] = (__u8)plan->region[i];
			values[id].share[i] = plan->share[i];
			values[id].spare[i] = plan->spare[i];
		}
	}
	return gs_dataplane_array_new(&state->maps, &array, ret_fd, error);
}

/* `count` 16-bit entries, in whole blocks, one at least. */
static int make_blocks(const struct gs_dataplane_state *state, enum gs_dataplane_map map,
		       const uint16_t *entries, size_t count, int *ret_fd, struct gs_error *error)
{
	bool is_routes = map == GS_DATAPLANE_ROUTES;
	size_t blocks = count / GS_BLOCK_U16 + 1;
	GS_AUTO_FREE struct gs_ring_block *values = calloc(blocks, sizeof(*values));
	struct gs_dataplane_array array = {.outer = map,
					   .name = is_routes ? "routes_in" : "rings_in",
					   .value_struct =
						   is_routes ? "gs_route_block" : "gs_ring_block",
					   .value_size = sizeof(*values),
					   .count = (uint32_t)blocks,
					   .values = values};

	if (!values)
		return gs_dataplane_refuse(error, -ENOMEM, map, "memory");
	if (count)
		memcpy(values, entries, count * sizeof(*entries));
	return gs_dataplane_array_new(&state->maps, &array, ret_fd, error);
}

static int make_pools(const struct gs_dataplane_state *state, const struct gs_tables *tables,
		      int *ret_fd, struct gs_error *error)
{
	struct gs_dataplane_array array = {.outer = GS_DATAPLANE_POOLS,
					   .name = "pools_in",
					   .value_struct = "gs_pool_value",
					   .value_size = sizeof(struct gs_pool_value),
					   .count = tables->service_stride * tables->region_stride,
					   .values = tables->pools};

	_Static_assert(sizeof(struct gs_table_pool) == sizeof(struct gs_pool_value), "one layout");
	return gs_dataplane_array_new(&state->maps, &array, ret_fd, error);
}

static int make_inner(struct gs_dataplane_state *state, const struct gs_tables *tables,
		      struct inner_set *set, struct gs_error *error)
{
	uint32_t overrides4 = count_overrides4(tables);
	int result = make_geos(state, tables, set, error);

	if (result == 0)
		result = make_overrides4(state, tables, overrides4,
					 inner_of(set, GS_DATAPLANE_OVERRIDE4), error);
	if (result == 0)
		result = make_overrides6(state, tables, overrides4,
					 inner_of(set, GS_DATAPLANE_OVERRIDE6), error);
	if (result == 0)
		result = make_blocks(state, GS_DATAPLANE_ROUTES, tables->routes,
				     (size_t)tables->row_count * tables->location_stride,
				     inner_of(set, GS_DATAPLANE_ROUTES), error);
	if (result == 0)
		result = make_plans(state, tables, inner_of(set, GS_DATAPLANE_PLANS), error);
	if (result == 0)
		result = make_pools(state, tables, inner_of(set, GS_DATAPLANE_POOLS), error);
	if (result == 0)
		result = make_blocks(state, GS_DATAPLANE_RINGS, tables->ring_slots,
				     tables->ring_slot_count, inner_of(set, GS_DATAPLANE_RINGS),
				     error);
	if (result == 0)
		result = gs_dataplane_access_new(state, tables->snapshot, true,
						 inner_of(set, GS_DATAPLANE_ACCESS4), error);
	if (result == 0)
		result = gs_dataplane_access_new(state, tables->snapshot, false,
						 inner_of(set, GS_DATAPLANE_ACCESS6), error);
	return result;
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* Not the one in force; the oldest of the others. *ret_number: one more than any there is. */
static uint32_t choose_slot(const struct gs_meta_value *meta, uint64_t *ret_number)
{
	uint32_t active = __atomic_load_n(&meta->active, __ATOMIC_ACQUIRE);
	uint32_t slot = GS_GENERATIONS;
	uint64_t number = 0;

	for (uint32_t i = 0; i < GS_GENERATIONS; i++) {
		if (meta->generation[i].number > number)
			number = meta->generation[i].number;
		/* Nothing in force yet: slot 0 first, which `active` names then. */
		if (i == active && meta->generation[i].number != 0)
			continue;
		if (slot == GS_GENERATIONS ||
		    meta->generation[i].number < meta->generation[slot].number)
			slot = i;
	}
	*ret_number = number + 1;
	return slot;
}

static void describe(struct gs_generation_value *generation, const struct gs_tables *tables,
		     uint64_t number)
{
	const struct gs_geodata *geo = tables->geo;
	uint32_t overrides4 = count_overrides4(tables);

	*generation = (struct gs_generation_value){
		.seed = tables->seed,
		.digest = tables->digest,
		.built_unix_s = (uint64_t)time(NULL),
		.locations = tables->location_stride,
		.regions = tables->region_stride,
		.overrides4 = overrides4,
		.overrides6 = tables->override_count - overrides4,
		.geo4_prefixes = geo ? (uint32_t)geo->v4.prefixes : 0,
		.geo6_prefixes = geo ? (uint32_t)geo->v6.prefixes : 0,
		.plans = gs_plan_set_count(tables->plans) + 1,
		.asks = tables->asks,
	};
	/* Last: a slot with a number is a whole one. */
	__atomic_store_n(&generation->number, number, __ATOMIC_RELEASE);
}

static void keep_geo(struct gs_dataplane_state *state, const struct gs_tables *tables,
		     struct inner_set *set)
{
	for (int i = 0; i < GS_DATAPLANE_FAMILIES; i++) {
		if (state->geo_fd[i] >= 0)
			close(state->geo_fd[i]);
		state->geo_fd[i] = gs_take_fd(*inner_of(set, GS_DATAPLANE_GEO4 + i));
		geo_name(state->geo_name[i], i, tables->geo);
	}
}

int gs_dataplane_slot_prepare(struct gs_dataplane_state *state, const struct gs_tables *tables,
			      uint32_t *ret_slot, struct gs_error *error)
{
	struct gs_meta_value *meta = state->maps.meta;
	GS_CLEANUP(close_set) struct inner_set set;
	uint64_t number;
	uint32_t slot = choose_slot(meta, &number);
	int result;

	memset(&set, 0xff, sizeof(set)); /* every fd -1 */
	result = make_inner(state, tables, &set, error);
	if (result)
		return result;
	__atomic_store_n(&meta->generation[slot].number, 0, __ATOMIC_RELEASE);
	for (int map = GS_DATAPLANE_GEO4; map <= GS_DATAPLANE_ACCESS6; map++) {
		result =
			gs_dataplane_slot_set(&state->maps, map, slot, *inner_of(&set, map), error);
		if (result)
			return result;
	}
	gs_dataplane_demand_begin(state, slot);
	describe(&meta->generation[slot], tables, number);
	keep_geo(state, tables, &set);
	*ret_slot = slot;
	return 0;
}

/* -1 if there is none, or the kernel does not let this process ask (CAP_SYS_ADMIN). */
static int open_inner(const struct gs_dataplane_state *state, enum gs_dataplane_map map,
		      uint32_t slot, char ret_name[GS_DATAPLANE_NAME_MAX])
{
	struct bpf_map_info info = {0};
	__u32 info_size = sizeof(info), id = 0;
	GS_AUTO_CLOSE int fd = -1;

	if (bpf_map_lookup_elem(state->maps.fd[map], &slot, &id))
		return -1;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &info_size))
		return -1;
	snprintf(ret_name, GS_DATAPLANE_NAME_MAX, "%s", info.name);
	return gs_take_fd(fd);
}

void gs_dataplane_geo_adopt(struct gs_dataplane_state *state)
{
	const struct gs_meta_value *meta = state->maps.meta;
	uint32_t active = __atomic_load_n(&meta->active, __ATOMIC_ACQUIRE);

	if (active >= GS_GENERATIONS || meta->generation[active].number == 0)
		return;
	for (int i = 0; i < GS_DATAPLANE_FAMILIES; i++)
		state->geo_fd[i] =
			open_inner(state, GS_DATAPLANE_GEO4 + i, active, state->geo_name[i]);
}
