/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BATCH = 4096, PATH_BYTES = GS_PATH_MAX + 32 };

struct expected {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_size, value_size, max_entries;
};

#define OUTER(name)                                                                            \
	{                                                                                      \
		name, BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), sizeof(__u32), GS_GENERATIONS \
	}
#define ARRAY(name, value, entries)                                                    \
	{                                                                              \
		name, BPF_MAP_TYPE_ARRAY, sizeof(__u32), sizeof(struct value), entries \
	}
#define COUNTERS(name, entries)                                                                  \
	{                                                                                        \
		name, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32), sizeof(struct gs_count), entries \
	}

static const struct expected expected[GS_DATAPLANE__MAP_COUNT] = {
	[GS_DATAPLANE_META] = ARRAY(GS_MAP_META, gs_meta_value, 1),
	[GS_DATAPLANE_SERVICES] = {GS_MAP_SERVICES, BPF_MAP_TYPE_HASH,
				   sizeof(struct gs_service_key), sizeof(struct gs_service_value),
				   GS_MAX_SERVICE_KEYS},
	[GS_DATAPLANE_GEO4] = OUTER(GS_MAP_GEO4),
	[GS_DATAPLANE_GEO6] = OUTER(GS_MAP_GEO6),
	[GS_DATAPLANE_OVERRIDE4] = OUTER(GS_MAP_OVERRIDE4),
	[GS_DATAPLANE_OVERRIDE6] = OUTER(GS_MAP_OVERRIDE6),
	[GS_DATAPLANE_ROUTES] = OUTER(GS_MAP_ROUTES),
	[GS_DATAPLANE_PLANS] = OUTER(GS_MAP_PLANS),
	[GS_DATAPLANE_POOLS] = OUTER(GS_MAP_POOLS),
	[GS_DATAPLANE_RINGS] = OUTER(GS_MAP_RINGS),
	[GS_DATAPLANE_ACCESS4] = OUTER(GS_MAP_ACCESS4),
	[GS_DATAPLANE_ACCESS6] = OUTER(GS_MAP_ACCESS6),
	[GS_DATAPLANE_USABLE_REGION] = ARRAY(GS_MAP_USABLE_REGION, gs_usable_word, GS_MAX_REGIONS),
	[GS_DATAPLANE_USABLE_POOL] =
		ARRAY(GS_MAP_USABLE_POOL, gs_usable_word, GS_MAX_SERVICES *GS_MAX_REGIONS),
	[GS_DATAPLANE_USABLE_BACKEND] =
		ARRAY(GS_MAP_USABLE_BACKEND, gs_usable_word, GS_MAX_BACKENDS),
	[GS_DATAPLANE_TRIALS] =
		ARRAY(GS_MAP_TRIALS, gs_trial_value, GS_MAX_SERVICES *GS_MAX_REGIONS),
	[GS_DATAPLANE_FILL] = ARRAY(GS_MAP_FILL, gs_fill_word, GS_MAX_REGIONS),
	[GS_DATAPLANE_LEASES] = {GS_MAP_LEASES, BPF_MAP_TYPE_HASH, sizeof(__u64),
				 sizeof(struct gs_lease_value), GS_MAX_LEASES},
	[GS_DATAPLANE_REGION_LIMITS] =
		ARRAY(GS_MAP_REGION_LIMITS, gs_region_limit_value, GS_MAX_REGIONS),
	[GS_DATAPLANE_BACKENDS] = ARRAY(GS_MAP_BACKENDS, gs_backend_value, GS_MAX_BACKENDS),
	[GS_DATAPLANE_HOPS] = ARRAY(GS_MAP_HOPS, gs_hop_value, GS_MAX_HOPS),
	[GS_DATAPLANE_TUNNELS] = {GS_MAP_TUNNELS, BPF_MAP_TYPE_HASH, sizeof(struct gs_tunnel_key),
				  sizeof(struct gs_tunnel_value), GS_MAX_BACKENDS},
	[GS_DATAPLANE_TUNNEL_TOLD] = ARRAY(GS_MAP_TUNNEL_TOLD, gs_tunnel_told, GS_MAX_BACKENDS),
	[GS_DATAPLANE_LINKS] = {GS_MAP_LINKS, BPF_MAP_TYPE_HASH, sizeof(__u32),
				sizeof(struct gs_link_value), GS_MAX_LINKS},
	[GS_DATAPLANE_OWN_MACS] = {GS_MAP_OWN_MACS, BPF_MAP_TYPE_HASH, sizeof(__u32),
				   sizeof(struct gs_own_mac_value), GS_MAX_OWN_MACS},
	[GS_DATAPLANE_COUNT_REASON] = COUNTERS(GS_MAP_COUNT_REASON, GS_REASON__COUNT),
	[GS_DATAPLANE_COUNT_SERVICE] = COUNTERS(GS_MAP_COUNT_SERVICE, GS_MAX_SERVICES),
	[GS_DATAPLANE_COUNT_REGION] = COUNTERS(GS_MAP_COUNT_REGION, GS_MAX_REGIONS),
	[GS_DATAPLANE_COUNT_BACKEND] = COUNTERS(GS_MAP_COUNT_BACKEND, GS_MAX_BACKENDS),
	[GS_DATAPLANE_COUNT_SYN] = {GS_MAP_COUNT_SYN, BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(__u32),
				    sizeof(struct gs_syn_count), GS_MAX_BACKENDS},
	[GS_DATAPLANE_DEMAND] = ARRAY(GS_MAP_DEMAND, gs_demand_block,
				      GS_DEMAND_BANKS *GS_DEMAND_ENTRIES / GS_DEMAND_WAYS),
	[GS_DATAPLANE_EVENTS] = {GS_MAP_EVENTS, BPF_MAP_TYPE_RINGBUF, 0, 0, GS_EVENTS_BYTES},
};

int gs_dataplane_refuse(struct gs_error *error, int result, enum gs_dataplane_map map,
			const char *action)
{
	if (error)
		snprintf(error->text, sizeof(error->text), "map %s: %s: %s", expected[map].name,
			 action, strerror(-result));
	return result;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_one(const char *pin_dir, enum gs_dataplane_map map, int *ret_fd,
		    struct gs_error *error)
{
	const struct expected *want = &expected[map];
	char path[PATH_BYTES];
	struct bpf_map_info info = {0};
	__u32 info_size = sizeof(info);
	GS_AUTO_CLOSE int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", pin_dir, want->name);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		int result = -errno;

		snprintf(error->text, sizeof(error->text),
			 "%.160s: %s: no pinned map of GeoStream; has geostream-loader attached?",
			 path, strerror(-result));
		return result;
	}
	/* A pinned program or link has another info, whose sizes do not fit by accident. */
	if (bpf_obj_get_info_by_fd(fd, &info, &info_size))
		return gs_dataplane_refuse(error, -errno, map, "asking the kernel about it");
	if (info.type != want->type || info.key_size != want->key_size ||
	    info.value_size != want->value_size || info.max_entries != want->max_entries) {
		snprintf(error->text, sizeof(error->text),
			 "%.160s: type %u, key %u, value %u bytes, %u entries; this program wants "
			 "%u, %u, %u, %u (layout version %u)",
			 path, info.type, info.key_size, info.value_size, info.max_entries,
			 want->type, want->key_size, want->value_size, want->max_entries,
			 GS_MAPS_VERSION);
		return -EPROTO;
	}
	*ret_fd = gs_take_fd(fd);
	return 0;
}

static size_t map_bytes(enum gs_dataplane_map map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (size_t)expected[map].value_size * expected[map].max_entries;

	return (bytes + page - 1) / page * page;
}

static int map_memory(const struct gs_dataplane_maps *maps, enum gs_dataplane_map map,
		      void **ret_memory, struct gs_error *error)
{
	void *memory =
		mmap(NULL, map_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED, maps->fd[map], 0);

	if (memory == MAP_FAILED)
		return gs_dataplane_refuse(error, -errno, map, "mapping it");
	*ret_memory = memory;
	return 0;
}

/* Of maps made by a loader of another version nothing may be believed, sizes least. */
static int check_version(const char *pin_dir, int meta_fd, struct gs_error *error)
{
	struct gs_meta_value meta;
	__u32 zero = 0;

	if (bpf_map_lookup_elem(meta_fd, &zero, &meta))
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_META, "reading it");
	if (meta.layout_version == GS_MAPS_VERSION)
		return 0;
	snprintf(
		error->text, sizeof(error->text),
		"%.160s/%s: maps of layout version %u, this program has %u: detach and attach with "
		"this version's geostream-loader",
		pin_dir, GS_MAP_META, meta.layout_version, GS_MAPS_VERSION);
	return -EPROTO;
}

/* Without the right to ask (CAP_SYS_ADMIN on most kernels) dumps of inner maps show bytes. */
static void load_types(struct gs_dataplane_maps *maps)
{
	struct bpf_map_info info = {0};
	__u32 info_size = sizeof(info);

	if (bpf_obj_get_info_by_fd(maps->fd[GS_DATAPLANE_SERVICES], &info, &info_size) ||
	    info.btf_id == 0)
		return;
	maps->btf_fd = bpf_btf_get_fd_by_id(info.btf_id);
	if (maps->btf_fd >= 0)
		maps->btf = btf__load_from_kernel_by_id(info.btf_id);
}

static int open_all(const char *pin_dir, struct gs_dataplane_maps *maps, struct gs_error *error)
{
	int result = open_one(pin_dir, GS_DATAPLANE_META, &maps->fd[GS_DATAPLANE_META], error);

	if (result == 0)
		result = check_version(pin_dir, maps->fd[GS_DATAPLANE_META], error);
	for (int map = 0; map < GS_DATAPLANE__MAP_COUNT && result == 0; map++)
		if (maps->fd[map] < 0)
			result = open_one(pin_dir, map, &maps->fd[map], error);
	if (result == 0)
		result = map_memory(maps, GS_DATAPLANE_META, (void **)&maps->meta, error);
	for (int kind = 0; kind < GS_DATAPLANE_USABLE_KINDS && result == 0; kind++) {
		enum gs_dataplane_map map = GS_DATAPLANE_USABLE_REGION + kind;

		maps->usable_count[kind] = expected[map].max_entries;
		result = map_memory(maps, map, (void **)&maps->usable[kind], error);
	}
	if (result == 0)
		result = map_memory(maps, GS_DATAPLANE_TRIALS, (void **)&maps->trials, error);
	if (result == 0)
		result = map_memory(maps, GS_DATAPLANE_FILL, (void **)&maps->fill, error);
	if (result == 0)
		result = map_memory(maps, GS_DATAPLANE_TUNNEL_TOLD, (void **)&maps->told, error);
	if (result == 0)
		result = map_memory(maps, GS_DATAPLANE_DEMAND, (void **)&maps->demand, error);
	if (result == 0)
		load_types(maps);
	return result;
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {0};
	__u32 info_size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &info_size) ? 0 : info.id;
}

int gs_dataplane_maps_check(const struct gs_dataplane_maps *maps, struct gs_error *error)
{
	char path[PATH_BYTES];
	GS_AUTO_CLOSE int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", maps->pin_dir, GS_MAP_META);
	fd = bpf_obj_get(path);
	if (fd >= 0 && map_id(fd) == map_id(maps->fd[GS_DATAPLANE_META]))
		return 0;
	snprintf(
		error->text, sizeof(error->text),
		"%.160s: no longer the map this program opened: the loader has detached, or made new "
		"maps; restart to take them",
		path);
	return -ESTALE;
}

int gs_dataplane_maps_open(const char *pin_dir, struct gs_dataplane_maps *ret_maps,
			   struct gs_error *error)
{
	struct gs_dataplane_maps maps = {.btf_fd = -1};
	int result;

	for (int map = 0; map < GS_DATAPLANE__MAP_COUNT; map++)
		maps.fd[map] = -1;
	if ((size_t)snprintf(maps.pin_dir, sizeof(maps.pin_dir), "%s", pin_dir) >=
	    sizeof(maps.pin_dir)) {
		snprintf(error->text, sizeof(error->text), "pin_dir: longer than %d bytes",
			 GS_PATH_MAX - 1);
		return -ENAMETOOLONG;
	}
	result = open_all(maps.pin_dir, &maps, error);
	if (result) {
		gs_dataplane_maps_close(&maps);
		return result;
	}
	*ret_maps = maps;
	return 0;
}

void gs_dataplane_maps_close(struct gs_dataplane_maps *maps)
{
	btf__free(maps->btf);
	if (maps->btf_fd > 0)
		close(maps->btf_fd);
	for (int kind = 0; kind < GS_DATAPLANE_USABLE_KINDS; kind++)
		if (maps->usable[kind])
			munmap(maps->usable[kind], map_bytes(GS_DATAPLANE_USABLE_REGION + kind));
	if (maps->told)
		munmap(maps->told, map_bytes(GS_DATAPLANE_TUNNEL_TOLD));
	if (maps->demand)
		munmap(maps->demand, map_bytes(GS_DATAPLANE_DEMAND));
	if (maps->trials)
		munmap(maps->trials, map_bytes(GS_DATAPLANE_TRIALS));
	if (maps->fill)
		munmap(maps->fill, map_bytes(GS_DATAPLANE_FILL));
	if (maps->meta)
		munmap(maps->meta, map_bytes(GS_DATAPLANE_META));
	for (int map = 0; map < GS_DATAPLANE__MAP_COUNT; map++)
		if (maps->fd[map] > 0)
			close(maps->fd[map]);
	*maps = (struct gs_dataplane_maps){.btf_fd = -1};
}

int gs_dataplane_array_read(const struct gs_dataplane_maps *maps, enum gs_dataplane_map map,
			    uint32_t count, void *ret_values, struct gs_error *error)
{
	GS_AUTO_FREE __u32 *keys = calloc(count, sizeof(*keys));
	__u32 batch, got = count;

	if (!keys)
		return gs_dataplane_refuse(error, -ENOMEM, map, "memory");
	if (bpf_map_lookup_batch(maps->fd[map], NULL, &batch, keys, ret_values, &got, NULL) &&
	    errno != ENOENT) /* the end */
		return gs_dataplane_refuse(error, -errno, map, "reading it");
	return got == count ? 0 : gs_dataplane_refuse(error, -EPROTO, map, "reading it");
}

/* ---- inner maps ------------------------------------------------------------------------------ */

/* Sets the types only if the BTF has all of them: the kernel wants both or none. */
static void set_types(const struct gs_dataplane_maps *maps, const char *key, uint32_t key_kind,
		      const char *value, struct bpf_map_create_opts *opts)
{
	int key_id, value_id;

	if (!maps->btf)
		return;
	key_id = btf__find_by_name_kind(maps->btf, key, key_kind);
	value_id = btf__find_by_name_kind(maps->btf, value, BTF_KIND_STRUCT);
	if (key_id <= 0 || value_id <= 0)
		return;
	opts->btf_fd = (__u32)maps->btf_fd;
	opts->btf_key_type_id = (__u32)key_id;
	opts->btf_value_type_id = (__u32)value_id;
}

/* keys NULL: 0, 1, 2, ... */
static int fill_chunk(int fd, const void *keys, const void *values, uint32_t count,
		      uint32_t key_size, uint32_t value_size)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	__u32 done = count;

	if (bpf_map_update_batch(fd, keys, values, &done, &opts) == 0)
		return 0;
	if (errno != ENOTSUP && errno != 524 /* the kernel's own ENOTSUPP */ && errno != EINVAL)
		return -errno;
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_update_elem(fd, (const char *)keys + (size_t)i * key_size,
					(const char *)values + (size_t)i * value_size, BPF_ANY))
			return -errno;
	return 0;
}

static int fill_array(int fd, const struct gs_dataplane_array *array)
{
	__u32 keys[BATCH];
	int result = 0;

	for (uint32_t first = 0; first < array->count && result == 0; first += BATCH) {
		uint32_t left = array->count - first;
		uint32_t count = left < BATCH ? left : BATCH;

		for (uint32_t i = 0; i < count; i++)
			keys[i] = first + i;
		result = fill_chunk(fd, keys,
				    (const char *)array->values + (size_t)first * array->value_size,
				    count, sizeof(keys[0]), array->value_size);
	}
	return result;
}

int gs_dataplane_array_new(const struct gs_dataplane_maps *maps,
			   const struct gs_dataplane_array *array, int *ret_fd,
			   struct gs_error *error)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	GS_AUTO_CLOSE int fd = -1;
	int result;

	set_types(maps, "unsigned int", BTF_KIND_INT, array->value_struct, &opts);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, array->name, sizeof(__u32), array->value_size,
			    array->count, &opts);
	if (fd < 0)
		return gs_dataplane_refuse(error, -errno, array->outer, "making an inner map");
	result = fill_array(fd, array);
	if (result)
		return gs_dataplane_refuse(error, result, array->outer, "filling an inner map");
	*ret_fd = gs_take_fd(fd);
	return 0;
}

int gs_dataplane_trie_new(const struct gs_dataplane_maps *maps,
			  const struct gs_dataplane_trie *trie, int *ret_fd, struct gs_error *error)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	GS_AUTO_CLOSE int fd = -1;
	int result = 0;

	set_types(maps, trie->key_struct, BTF_KIND_STRUCT, trie->value_struct, &opts);
	fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, trie->name, trie->key_size, trie->value_size,
			    trie->max_entries, &opts);
	if (fd < 0)
		return gs_dataplane_refuse(error, -errno, trie->outer, "making an inner map");
	if (trie->count)
		result = fill_chunk(fd, trie->keys, trie->values, trie->count, trie->key_size,
				    trie->value_size);
	if (result)
		return gs_dataplane_refuse(error, result, trie->outer, "filling an inner map");
	*ret_fd = gs_take_fd(fd);
	return 0;
}

int gs_dataplane_slot_set(const struct gs_dataplane_maps *maps, enum gs_dataplane_map outer,
			  uint32_t slot, int inner_fd, struct gs_error *error)
{
	struct bpf_map_info info = {0};
	__u32 info_size = sizeof(info), id = 0;

	/* Asking is cheap; setting waits for every packet under way. */
	if (bpf_obj_get_info_by_fd(inner_fd, &info, &info_size) == 0 &&
	    bpf_map_lookup_elem(maps->fd[outer], &slot, &id) == 0 && id == info.id)
		return 0;
	if (bpf_map_update_elem(maps->fd[outer], &slot, &inner_fd, BPF_ANY))
		return gs_dataplane_refuse(error, -errno, outer, "filling a slot");
	return 0;
}
