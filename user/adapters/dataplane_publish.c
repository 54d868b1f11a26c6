/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing a generation. First, unlocked, everything no packet sees: inner maps, the free slot,
 * its descriptor. Then, locked and quick, what packets see, in an order that leaves a data plane
 * which forwards wherever this process is killed: backends, services that are gone, the flip,
 * services that are new, markers and backends that are gone. What is there already is not written
 * again, so that a publish of what is in force only finishes what an interrupted one began.
 */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INNER_COUNT = 8 };

struct service_entry {
	struct gs_service_key key;
	struct gs_service_value value;
};

struct service_list {
	struct service_entry *entries; /* sorted by key */
	uint32_t count;
};

static void free_list(struct service_list *list)
{
	free(list->entries);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- services -------------------------------------------------------------------------------- */

static int compare_entries(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct gs_service_key));
}

static bool is_marker(const struct service_entry *entry)
{
	return entry->key.protocol == 0 && entry->key.port == 0;
}

static const struct service_entry *find_entry(const struct service_list *list,
					      const struct service_entry *entry)
{
	if (list->count == 0)
		return NULL;
	return bsearch(entry, list->entries, list->count, sizeof(*entry), compare_entries);
}

static bool is_same(const struct service_entry *a, const struct service_entry *b)
{
	return a && b && memcmp(&a->value, &b->value, sizeof(a->value)) == 0;
}

/* What the map should hold: every service, and a marker for every VIP. */
static int wanted_services(const struct gs_snapshot *snapshot, struct service_list *ret_list,
			   struct gs_error *error)
{
	GS_CLEANUP(free_list)
	struct service_list list = {
		.entries = calloc(2 * snapshot->service_count + 1, sizeof(*list.entries))};
	uint32_t unique = 0;

	if (!list.entries)
		return gs_dataplane_refuse(error, -ENOMEM, GS_DATAPLANE_SERVICES, "memory");
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];
		struct service_entry *entry = &list.entries[list.count++];
		struct service_entry *marker = &list.entries[list.count++];

		memcpy(entry->key.addr, service->vip.bytes, sizeof(entry->key.addr));
		marker->key = entry->key;
		entry->key.port = (__be16)__builtin_bswap16(service->port);
		entry->key.protocol = (__u8)service->protocol;
		entry->value.service = service->id;
	}
	qsort(list.entries, list.count, sizeof(*list.entries), compare_entries);
	for (uint32_t i = 0; i < list.count; i++) {
		if (i > 0 && compare_entries(&list.entries[i], &list.entries[unique - 1]) == 0) {
			if (!is_marker(&list.entries[i]))
				return gs_dataplane_refuse(
					error, -EEXIST, GS_DATAPLANE_SERVICES,
					"two services at one address, port and protocol");
			continue;
		}
		list.entries[unique++] = list.entries[i];
	}
	list.count = unique;
	*ret_list = list;
	list.entries = NULL;
	return 0;
}

static int read_services(const struct gs_dataplane_state *state, struct service_list *ret_list,
			 struct gs_error *error)
{
	int fd = state->maps.fd[GS_DATAPLANE_SERVICES];
	GS_CLEANUP(free_list)
	struct service_list list = {.entries = calloc(GS_MAX_SERVICE_KEYS, sizeof(*list.entries))};
	struct gs_service_key *previous = NULL;

	if (!list.entries)
		return gs_dataplane_refuse(error, -ENOMEM, GS_DATAPLANE_SERVICES, "memory");
	while (list.count < GS_MAX_SERVICE_KEYS) {
		struct service_entry *entry = &list.entries[list.count];

		if (bpf_map_get_next_key(fd, previous, &entry->key)) {
			if (errno == ENOENT)
				break;
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "listing it");
		}
		if (bpf_map_lookup_elem(fd, &entry->key, &entry->value))
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "reading it");
		previous = &entry->key;
		list.count++;
	}
	qsort(list.entries, list.count, sizeof(*list.entries), compare_entries);
	*ret_list = list;
	list.entries = NULL;
	return 0;
}

int gs_dataplane_services_read(struct gs_dataplane_state *state, struct gs_error *error)
{
	GS_CLEANUP(free_list) struct service_list list = {0};
	int result = read_services(state, &list, error);

	if (result)
		return result;
	for (uint32_t i = 0; i < list.count; i++)
		if (list.entries[i].value.service < GS_MAX_SERVICES)
			state->has_service[list.entries[i].value.service] = true;
	return 0;
}

/* Entries of `in` that are not in `keep`: markers or services, as asked. */
static int remove_services(const struct gs_dataplane_state *state, const struct service_list *in,
			   const struct service_list *keep, bool markers, struct gs_error *error)
{
	for (uint32_t i = 0; i < in->count; i++) {
		const struct service_entry *entry = &in->entries[i];

		if (is_marker(entry) != markers || find_entry(keep, entry))
			continue;
		if (bpf_map_delete_elem(state->maps.fd[GS_DATAPLANE_SERVICES], &entry->key) &&
		    errno != ENOENT)
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "removing a service");
	}
	return 0;
}

static int add_services(const struct gs_dataplane_state *state, const struct service_list *wanted,
			const struct service_list *current, struct gs_error *error)
{
	for (uint32_t i = 0; i < wanted->count; i++) {
		const struct service_entry *entry = &wanted->entries[i];

		if (is_same(entry, find_entry(current, entry)))
			continue;
		if (bpf_map_update_elem(state->maps.fd[GS_DATAPLANE_SERVICES], &entry->key,
					&entry->value, BPF_ANY))
			return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						   "adding a service");
	}
	return 0;
}

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
					 .key_size = sizeof(*keys),
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
					 .key_size = sizeof(*keys),
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

/* Fills the free slot; until `active` says so no packet looks there. */
static int prepare(struct gs_dataplane_state *state, const struct gs_tables *tables,
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
	for (int map = GS_DATAPLANE_GEO4; map <= GS_DATAPLANE_RINGS; map++) {
		result =
			gs_dataplane_slot_set(&state->maps, map, slot, *inner_of(&set, map), error);
		if (result)
			return result;
	}
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

/* ---- publish --------------------------------------------------------------------------------- */

struct change {
	struct service_list wanted;
	struct service_list current;
	struct gs_dataplane_undo undo;
	uint32_t old_slot;
	uint32_t new_slot;
	uint64_t now_ms;
};

static void change_done(struct change *change)
{
	free_list(&change->wanted);
	free_list(&change->current);
	gs_dataplane_undo_done(&change->undo);
}

static void flip(struct gs_dataplane_state *state, uint32_t slot)
{
	__atomic_store_n(&state->maps.meta->active, slot, __ATOMIC_RELEASE);
}

/* After a failure half-way: what was in force is in force. */
static void take_back(struct gs_dataplane_state *state, const struct change *change)
{
	struct gs_error ignored; /* the first error is the one to tell */

	remove_services(state, &change->wanted, &change->current, false, &ignored);
	flip(state, change->old_slot);
	/* First room, then what was there: the map may be full. */
	remove_services(state, &change->wanted, &change->current, true, &ignored);
	add_services(state, &change->current, &(struct service_list){0}, &ignored);
	gs_dataplane_backends_restore(state, &change->undo, change->now_ms);
}

static int switch_over(struct gs_dataplane_state *state, const struct gs_tables *tables,
		       const struct gs_hop *hops, struct change *change, struct gs_error *error)
{
	int result = gs_dataplane_backends_write(state, tables->snapshot, hops, change->now_ms,
						 &change->undo, error);

	if (result)
		return result;
	result = remove_services(state, &change->current, &change->wanted, false, error);
	if (result == 0) {
		if (change->new_slot != change->old_slot)
			flip(state, change->new_slot);
		result = add_services(state, &change->wanted, &change->current, error);
	}
	if (result == 0)
		result = remove_services(state, &change->current, &change->wanted, true, error);
	if (result) {
		take_back(state, change);
		return result;
	}
	gs_dataplane_backends_retire(state, tables->snapshot, change->now_ms);
	for (uint32_t i = 0; i < tables->snapshot->service_count; i++)
		state->has_service[tables->snapshot->services[i].id] = true;
	return 0;
}

static bool is_in_force(const struct gs_meta_value *meta, uint32_t slot,
			const struct gs_tables *tables)
{
	return slot < GS_GENERATIONS && meta->generation[slot].number != 0 &&
	       meta->generation[slot].digest == tables->digest;
}

int gs_dataplane_publish(struct gs_dataplane_state *state, const struct gs_tables *tables,
			 const struct gs_hop *hops, struct gs_error *error)
{
	GS_CLEANUP(change_done)
	struct change change = {.old_slot = state->maps.meta->active, .now_ms = now_ms()};
	int result = gs_dataplane_maps_check(&state->maps, error);

	change.new_slot = change.old_slot;
	if (result == 0)
		result = wanted_services(tables->snapshot, &change.wanted, error);
	if (result == 0)
		result = read_services(state, &change.current, error);
	if (result == 0 && !is_in_force(state->maps.meta, change.old_slot, tables))
		result = prepare(state, tables, &change.new_slot, error);
	if (result)
		return result;
	pthread_mutex_lock(&state->lock);
	result = switch_over(state, tables, hops, &change, error);
	pthread_mutex_unlock(&state->lock);
	return result;
}
