/* SPDX-License-Identifier: Apache-2.0 */
#include "user/adapters/twin.h"

#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAME_MIN = 14, PATH_BYTES = GS_PATH_MAX + 32, BATCH = 4096 };

struct gs_twin {
	char pin_dir[GS_PATH_MAX];
	struct bpf_object *object;
	int prog_fd;
	char tag[2 * BPF_TAG_SIZE + 1];
};

/* Maps the program only reads: the edge's own. */
static const char *const SHARED[] = {
	GS_MAP_META,	       GS_MAP_SERVICES,	 GS_MAP_GEO4,	       GS_MAP_GEO6,
	GS_MAP_OVERRIDE4,      GS_MAP_OVERRIDE6, GS_MAP_ROUTES,	       GS_MAP_PLANS,
	GS_MAP_POOLS,	       GS_MAP_RINGS,	 GS_MAP_USABLE_POOL,   GS_MAP_USABLE_REGION,
	GS_MAP_USABLE_BACKEND, GS_MAP_BACKENDS,	 GS_MAP_HOPS,	       GS_MAP_TUNNELS,
	GS_MAP_ACCESS4,	       GS_MAP_ACCESS6,	 GS_MAP_REGION_LIMITS, GS_MAP_LINKS,
	GS_MAP_OWN_MACS,
};

/* Maps it reads and writes: copied before each packet. All others begin empty. */
static const char *const COPIED[] = {GS_MAP_FLOWS,  GS_MAP_FRAGMENTS, GS_MAP_TRIALS,
				     GS_MAP_LIMITS, GS_MAP_NAT_FLOWS, GS_MAP_NAT_DETAILS};

/* ---- opening --------------------------------------------------------------------------------- */

static int fail(struct gs_error *error, int result, const char *what, const char *name)
{
	return gs_error_set(result, error, "%s %.200s: %s", what, name, strerror(-result));
}

static int open_pin(const char *pin_dir, const char *name, int *ret_fd, struct gs_error *error)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/%s", pin_dir, name);
	*ret_fd = bpf_obj_get(path);
	return *ret_fd < 0 ? fail(error, -errno, "opening", path) : 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static int share_maps(struct gs_twin *twin, struct gs_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(SHARED); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(twin->object, SHARED[i]);
		GS_AUTO_CLOSE int fd = -1;
		int result;

		if (!map)
			return gs_error_set(-ESTALE, error, "the object has no map %s", SHARED[i]);
		result = open_pin(twin->pin_dir, SHARED[i], &fd, error);
		if (result)
			return result;
		if (bpf_map__reuse_fd(map, fd))
			return fail(error, -errno, "sharing map", SHARED[i]);
	}
	return 0;
}

/* As large as the edge's: its size may be the operator's choice. */
static int size_copies(struct gs_twin *twin, struct gs_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(COPIED); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(twin->object, COPIED[i]);
		struct bpf_map_info info = {0};
		__u32 info_size = sizeof(info);
		GS_AUTO_CLOSE int fd = -1;
		int result = open_pin(twin->pin_dir, COPIED[i], &fd, error);

		if (result)
			return result;
		if (!map || bpf_obj_get_info_by_fd(fd, &info, &info_size) ||
		    info.value_size != bpf_map__value_size(map) ||
		    bpf_map__set_max_entries(map, info.max_entries))
			return gs_error_set(-ESTALE, error, "map %s is not as the object has it",
					    COPIED[i]);
	}
	return 0;
}

static int tag_of(int fd, char ret_tag[2 * BPF_TAG_SIZE + 1])
{
	struct bpf_prog_info info = {0};
	__u32 info_size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &info_size))
		return -errno;
	for (size_t i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(ret_tag + 2 * i, 3, "%02x", info.tag[i]);
	return 0;
}

/* The kernel's tag is a digest of the instructions: equal tags, equal programs. */
static int check_tag(struct gs_twin *twin, struct gs_error *error)
{
	char attached[2 * BPF_TAG_SIZE + 1];
	GS_AUTO_CLOSE int fd = -1;
	int result = open_pin(twin->pin_dir, GS_PIN_PROG, &fd, error);

	if (result)
		return result;
	result = tag_of(fd, attached);
	if (result == 0)
		result = tag_of(twin->prog_fd, twin->tag);
	if (result)
		return fail(error, result, "asking for the tag of", GS_PIN_PROG);
	if (strcmp(attached, twin->tag) == 0)
		return 0;
	return gs_error_set(-ESTALE, error,
			    "the attached program (tag %s) is not this object's (tag %s): it is of "
			    "another build; name its object with --object",
			    attached, twin->tag);
}

static int load(struct gs_twin *twin, const char *object, struct gs_error *error)
{
	int result;

	twin->object = bpf_object__open_file(object, NULL);
	if (!twin->object)
		return fail(error, -errno, "opening the BPF object", object);
	result = share_maps(twin, error);
	if (result == 0)
		result = size_copies(twin, error);
	if (result)
		return result;
	if (bpf_object__load(twin->object))
		return fail(error, -errno, "loading", object);
	twin->prog_fd = bpf_program__fd(bpf_object__find_program_by_name(twin->object, "gs_xdp"));
	if (twin->prog_fd < 0)
		return gs_error_set(-ESTALE, error, "%.200s: has no program gs_xdp", object);
	return check_tag(twin, error);
}

int gs_twin_open(const char *pin_dir, const char *object, struct gs_twin **ret_twin,
		 struct gs_error *error)
{
	struct gs_twin *twin = calloc(1, sizeof(*twin));
	libbpf_print_fn_t before = libbpf_set_print(quiet);
	int result;

	if (!twin)
		return gs_error_set(-ENOMEM, error, "out of memory");
	snprintf(twin->pin_dir, sizeof(twin->pin_dir), "%s", pin_dir);
	result = load(twin, object, error);
	libbpf_set_print(before);
	if (result) {
		gs_twin_close(twin);
		return result;
	}
	*ret_twin = twin;
	return 0;
}

void gs_twin_close(struct gs_twin *twin)
{
	if (!twin)
		return;
	bpf_object__close(twin->object);
	free(twin);
}

const char *gs_twin_tag(const struct gs_twin *twin)
{
	return twin->tag;
}

/* ---- a packet -------------------------------------------------------------------------------- */

/* Arrays both, in large pieces. */
static int copy_map(const struct gs_twin *twin, const char *name, struct gs_error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(twin->object, name);
	uint32_t entries = bpf_map__max_entries(map), size = bpf_map__value_size(map);
	GS_AUTO_FREE uint32_t *keys = calloc(BATCH, sizeof(*keys));
	GS_AUTO_FREE uint8_t *values = calloc(BATCH, size);
	GS_AUTO_CLOSE int fd = -1;
	uint32_t batch, done = 0;
	int result = open_pin(twin->pin_dir, name, &fd, error);

	if (result)
		return result;
	if (!keys || !values)
		return gs_error_set(-ENOMEM, error, "out of memory");
	while (done < entries) {
		uint32_t count = entries - done < BATCH ? entries - done : BATCH;

		if (bpf_map_lookup_batch(fd, done ? &batch : NULL, &batch, keys, values, &count,
					 NULL) &&
		    errno != ENOENT)
			return fail(error, -errno, "reading map", name);
		if (count == 0)
			break;
		done += count;
		if (bpf_map_update_batch(bpf_map__fd(map), keys, values, &count, NULL))
			return fail(error, -errno, "copying map", name);
	}
	return 0;
}

/* The only index whose counter has moved since all were 0; 0: none. Sets it to 0 again. */
static int take_count(const struct gs_twin *twin, const char *name, uint32_t *ret_index,
		      bool *ret_found)
{
	struct bpf_map *map = bpf_object__find_map_by_name(twin->object, name);
	int cpus = libbpf_num_possible_cpus();
	GS_AUTO_FREE struct gs_count *counts = NULL;

	*ret_index = 0;
	*ret_found = false;
	if (cpus <= 0)
		return -EINVAL;
	counts = calloc((size_t)cpus, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	for (uint32_t i = 0; i < bpf_map__max_entries(map) && !*ret_found; i++) {
		if (bpf_map_lookup_elem(bpf_map__fd(map), &i, counts))
			return -errno;
		for (int cpu = 0; cpu < cpus; cpu++)
			*ret_found = *ret_found || counts[cpu].packets > 0;
		*ret_index = *ret_found ? i : 0;
	}
	if (!*ret_found)
		return 0;
	memset(counts, 0, (size_t)cpus * sizeof(*counts));
	return bpf_map_update_elem(bpf_map__fd(map), ret_index, counts, BPF_ANY) ? -errno : 0;
}

static int read_counters(const struct gs_twin *twin, struct gs_twin_result *result)
{
#define NAME(name, verdict, text) #name,
#define TEXT(name, verdict, text) (text),
	static const char *const names[] = {GS_REASONS(NAME)};
	static const char *const texts[] = {GS_REASONS(TEXT)};
#undef NAME
#undef TEXT
	uint32_t reason, service, region, backend;
	bool found, ignored;
	int ret = take_count(twin, GS_MAP_COUNT_REASON, &reason, &found);

	if (ret == 0)
		ret = take_count(twin, GS_MAP_COUNT_SERVICE, &service, &ignored);
	if (ret == 0)
		ret = take_count(twin, GS_MAP_COUNT_REGION, &region, &ignored);
	if (ret == 0)
		ret = take_count(twin, GS_MAP_COUNT_BACKEND, &backend, &ignored);
	if (ret)
		return ret;
	if (!found || reason >= GS_REASON__COUNT)
		return -EPROTO;
	result->reason = names[reason];
	result->text = texts[reason];
	result->service = (gs_id)service;
	result->region = (gs_id)region;
	result->backend = (gs_id)backend;
	return 0;
}

static const char *verdict_name(uint32_t action)
{
	switch (action) {
	case XDP_PASS:
		return "pass";
	case XDP_TX:
	case XDP_REDIRECT: /* only the hop's interface tells: the twin came in by none */
		return "tx";
	default:
		return "drop";
	}
}

int gs_twin_run(struct gs_twin *twin, const uint8_t *frame, uint32_t length,
		struct gs_twin_result *ret_result, struct gs_error *error)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = length,
		    .data_out = ret_result->bytes, .data_size_out = sizeof(ret_result->bytes),
		    .repeat = 1);
	int result = 0;

	memset(ret_result, 0, sizeof(*ret_result));
	if (length < FRAME_MIN || length > GS_TWIN_BYTES_MAX - 128)
		return gs_error_set(-EINVAL, error, "a frame of %u bytes: 14 to %u can be tried",
				    length, GS_TWIN_BYTES_MAX - 128);
	for (size_t i = 0; i < ARRAY_SIZE(COPIED) && result == 0; i++)
		result = copy_map(twin, COPIED[i], error);
	if (result)
		return result;
	if (bpf_prog_test_run_opts(twin->prog_fd, &opts))
		return fail(error, -errno, "running", "the twin");
	ret_result->verdict = verdict_name(opts.retval);
	ret_result->length = opts.data_size_out;
	result = read_counters(twin, ret_result);
	return result ? fail(error, result, "reading", "the twin's counters") : 0;
}

int gs_twin_backend(const struct gs_twin *twin, gs_id backend, struct gs_twin_backend *ret_backend)
{
	static const char *const modes[] = {"none", "ipip", "gue", "l2", "nat"};
	struct bpf_map *map = bpf_object__find_map_by_name(twin->object, GS_MAP_BACKENDS);
	struct gs_backend_value value;
	struct gs_hop_value hop;
	uint32_t id = backend;

	if (bpf_map_lookup_elem(bpf_map__fd(map), &id, &value))
		return -errno;
	map = bpf_object__find_map_by_name(twin->object, GS_MAP_HOPS);
	if (bpf_map_lookup_elem(bpf_map__fd(map), &value.hop, &hop))
		return -errno;
	*ret_backend = (struct gs_twin_backend){
		.mode = value.mode < ARRAY_SIZE(modes) ? modes[value.mode] : "?",
		.ifindex = hop.ifindex,
		.mtu = hop.mtu,
		.reflect = hop.flags & GS_HOP_REFLECT,
	};
	return 0;
}
