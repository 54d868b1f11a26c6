/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane_twin.h"

#include "dataplane_pin.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = GS_PATH_MAX + 32, BATCH = 4096 };

/* Maps the program only reads: the edge's own. */
static const char *const SHARED[] = {
	GS_MAP_SERVICES,  GS_MAP_GEO4,		GS_MAP_GEO6,	      GS_MAP_OVERRIDE4,
	GS_MAP_OVERRIDE6, GS_MAP_ROUTES,	GS_MAP_PLANS,	      GS_MAP_POOLS,
	GS_MAP_RINGS,	  GS_MAP_USABLE_POOL,	GS_MAP_USABLE_REGION, GS_MAP_USABLE_BACKEND,
	GS_MAP_BACKENDS,  GS_MAP_HOPS,		GS_MAP_TUNNELS,	      GS_MAP_ACCESS4,
	GS_MAP_ACCESS6,	  GS_MAP_REGION_LIMITS, GS_MAP_LINKS,	      GS_MAP_OWN_MACS,
	GS_MAP_FILL,
};

/*
 * Maps it reads and writes: copied when it is opened, whole. Only the program knows which buckets a
 * packet touches, and a tool that computes them once more may be wrong where it matters.
 */
static const char *const COPIED[] = {GS_MAP_TUNNEL_TOLD, GS_MAP_FLOWS,	   GS_MAP_FRAGMENTS,
				     GS_MAP_TRIALS,	 GS_MAP_NAT_FLOWS, GS_MAP_NAT_DETAILS};

/* For each CPU; all zero before each packet. */
static const char *const CLEARED[] = {GS_MAP_ASKED, GS_MAP_ANSWERS, GS_MAP_MONITOR_CPU};

/* `meta` and `limits` are copied for each packet; all others begin empty. */

/* ---- opening --------------------------------------------------------------------------------- */

int gs_twin_map(const struct gs_twin *twin, const char *name)
{
	return bpf_object__find_map_fd_by_name(twin->object, name);
}

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

/* An array, in large pieces. fd: the edge's. */
static int copy_map(const struct gs_twin *twin, const char *name, int fd, struct gs_error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(twin->object, name);
	uint32_t entries = bpf_map__max_entries(map), size = bpf_map__value_size(map);
	GS_AUTO_FREE uint32_t *keys = calloc(BATCH, sizeof(*keys));
	GS_AUTO_FREE uint8_t *values = calloc(BATCH, size);
	uint32_t batch, done = 0;

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

static int on_sample(void *context, void *data, size_t size)
{
	struct gs_twin *twin = context;

	if (size >= sizeof(twin->sample))
		memcpy(&twin->sample, data, sizeof(twin->sample));
	return 0;
}

/* Of each packet a sample, whoever it is from and whatever becomes of it. */
static int watch(struct gs_twin *twin, struct gs_error *error)
{
	struct gs_monitor_value all = {.reasons = ~0ull};
	__u32 zero = 0;

	if (bpf_map_update_elem(gs_twin_map(twin, GS_MAP_MONITOR), &zero, &all, BPF_ANY))
		return fail(error, -errno, "writing map", GS_MAP_MONITOR);
	twin->ring = ring_buffer__new(gs_twin_map(twin, GS_MAP_SAMPLES), on_sample, twin, NULL);
	return twin->ring ? 0 : fail(error, -errno, "opening map", GS_MAP_SAMPLES);
}

/* The one asked for, or the first: those that carry the program are looked for here, in this
 * network namespace. None is fine, unless one was asked for. */
static int find_interface(struct gs_twin *twin, const char *wanted, struct gs_error *error)
{
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *one = all; one && one->if_index; one++) {
		if (!gs_dataplane_pin_carries(twin->pin_dir, one->if_index))
			continue;
		twin->in.attached++;
		if (twin->in.ifindex || (wanted && strcmp(wanted, one->if_name) != 0))
			continue;
		twin->in.ifindex = one->if_index;
		snprintf(twin->in.name, sizeof(twin->in.name), "%s", one->if_name);
	}
	if_freenameindex(all);
	if (!wanted || twin->in.ifindex)
		return 0;
	return gs_error_set(-ENODEV, error, "%.20s: %s", wanted,
			    if_nametoindex(wanted)
				    ? "this interface does not carry the program"
				    : "there is no such interface in this network namespace");
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

static int open_twin(struct gs_twin *twin, const struct gs_twin_options *options,
		     struct gs_error *error)
{
	int result = load(twin, options->object, error);

	if (result == 0)
		result = open_pin(twin->pin_dir, GS_MAP_LIMITS, &twin->limits_fd, error);
	if (result == 0)
		result = find_interface(twin, options->interface, error);
	for (size_t i = 0; i < ARRAY_SIZE(COPIED) && result == 0; i++) {
		GS_AUTO_CLOSE int fd = -1;

		result = open_pin(twin->pin_dir, COPIED[i], &fd, error);
		if (result == 0)
			result = copy_map(twin, COPIED[i], fd, error);
	}
	return result ? result : watch(twin, error);
}

int gs_twin_open(const struct gs_twin_options *options, struct gs_twin **ret_twin,
		 struct gs_error *error)
{
	struct gs_twin *twin = calloc(1, sizeof(*twin));
	libbpf_print_fn_t before = libbpf_set_print(quiet);
	int result;

	if (!twin)
		return gs_error_set(-ENOMEM, error, "out of memory");
	snprintf(twin->pin_dir, sizeof(twin->pin_dir), "%s", options->pin_dir);
	twin->limits_fd = -1;
	result = open_twin(twin, options, error);
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
	ring_buffer__free(twin->ring);
	bpf_object__close(twin->object);
	if (twin->limits_fd >= 0)
		close(twin->limits_fd);
	free(twin);
}

const char *gs_twin_tag(const struct gs_twin *twin)
{
	return twin->tag;
}

const struct gs_twin_interface *gs_twin_interface(const struct gs_twin *twin)
{
	return &twin->in;
}

/* ---- a packet -------------------------------------------------------------------------------- */

/* Each verdict is sampled: drops within a limit that is as if nothing had been shown yet. */
static int copy_meta(struct gs_twin *twin, struct gs_error *error)
{
	struct gs_meta_value meta;
	GS_AUTO_CLOSE int fd = -1;
	__u32 zero = 0;
	int result = open_pin(twin->pin_dir, GS_MAP_META, &fd, error);

	if (result)
		return result;
	if (bpf_map_lookup_elem(fd, &zero, &twin->meta))
		return fail(error, -errno, "reading map", GS_MAP_META);
	meta = twin->meta;
	meta.monitor_until_ns = UINT64_MAX;
	meta.monitor_mask = 0;
	if (bpf_map_update_elem(gs_twin_map(twin, GS_MAP_META), &zero, &meta, BPF_ANY))
		return fail(error, -errno, "copying map", GS_MAP_META);
	return 0;
}

static int clear_map(const struct gs_twin *twin, const char *name, struct gs_error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(twin->object, name);
	int cpus = libbpf_num_possible_cpus();
	size_t size = ((size_t)bpf_map__value_size(map) + 7) / 8 * 8;
	GS_AUTO_FREE uint8_t *zero = calloc(cpus > 0 ? (size_t)cpus : 1, size);

	if (!zero || cpus <= 0)
		return gs_error_set(-ENOMEM, error, "out of memory");
	for (__u32 i = 0; i < bpf_map__max_entries(map); i++)
		if (bpf_map_update_elem(bpf_map__fd(map), &i, zero, BPF_ANY))
			return fail(error, -errno, "clearing map", name);
	return 0;
}

static int prepare(struct gs_twin *twin, struct gs_error *error)
{
	int result = copy_meta(twin, error);

	if (result == 0)
		result = copy_map(twin, GS_MAP_LIMITS, twin->limits_fd, error);
	for (size_t i = 0; i < ARRAY_SIZE(CLEARED) && result == 0; i++)
		result = clear_map(twin, CLEARED[i], error);
	memset(&twin->sample, 0, sizeof(twin->sample));
	return result;
}

int gs_twin_run(struct gs_twin *twin, const uint8_t *frame, uint32_t length,
		struct gs_twin_result *ret_result, struct gs_error *error)
{
	struct xdp_md context = {.data_end = length, .ingress_ifindex = twin->in.ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = length,
		    .data_out = ret_result->bytes, .data_size_out = sizeof(ret_result->bytes),
		    .repeat = 1);
	int result;

	memset(ret_result, 0, sizeof(*ret_result));
	if (length < GS_TWIN_FRAME_MIN || length > GS_TWIN_FRAME_MAX)
		return gs_error_set(-EINVAL, error, "a frame of %u bytes: %u to %u can be tried",
				    length, GS_TWIN_FRAME_MIN, GS_TWIN_FRAME_MAX);
	result = prepare(twin, error);
	if (result)
		return result;
	if (twin->in.ifindex) {
		opts.ctx_in = &context;
		opts.ctx_size_in = sizeof(context);
	}
	if (bpf_prog_test_run_opts(twin->prog_fd, &opts))
		return gs_error_set(-errno, error, "running the twin%s%s: %s",
				    twin->in.ifindex ? " for " : "", twin->in.name,
				    strerror(errno));
	result = ring_buffer__consume(twin->ring);
	if (result != 1)
		return gs_error_set(result < 0 ? result : -EPROTO, error,
				    "the twin has told nothing of the packet");
	ret_result->said = gs_dataplane_sampled(&twin->sample, 0);
	ret_result->said.unix_us = 0;
	ret_result->is_redirected = opts.retval == XDP_REDIRECT;
	ret_result->length = opts.data_size_out;
	return 0;
}
