/* SPDX-License-Identifier: Apache-2.0 */
/* The program that wraps probes, on the pinned backends and hops, and whether it would. */
#include "dataplane_pin.h"
#include "detour.h"

#include "maps/gs_probe.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CPUS_MAX = 4096 };

const char gs_detour_device[] = GS_PROBE_DEVICE;

struct gs_detour_program {
	struct bpf_object *object; /* owned */
	char pin_dir[GS_PATH_MAX];
	int backends_fd, hops_fd, count_fd; /* of the object */
	uint32_t backends_id;
};

static const struct gs_dataplane_pin backends_pin = {
	GS_MAP_BACKENDS, BPF_MAP_TYPE_ARRAY, sizeof(struct gs_backend_value), GS_MAX_BACKENDS};
static const struct gs_dataplane_pin hops_pin = {GS_MAP_HOPS, BPF_MAP_TYPE_ARRAY,
						 sizeof(struct gs_hop_value), GS_MAX_HOPS};

uint32_t gs_detour_mark(gs_id backend)
{
	return GS_PROBE_MARK + backend;
}

struct gs_detour_plan gs_detour_program_plan(void)
{
	return (struct gs_detour_plan){
		.mtu = GS_PROBE_MTU,
		.mark = GS_PROBE_MARK,
		.mask = GS_PROBE_MARK_MASK,
		.table = GS_PROBE_TABLE,
		.priority = GS_PROBE_PRIORITY,
	};
}

/* ---- loading --------------------------------------------------------------------------------- */

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

static int share(struct gs_detour_program *program, const struct gs_dataplane_pin *pin,
		 struct gs_error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(program->object, pin->name);
	GS_AUTO_CLOSE int fd = -1;
	int err = gs_dataplane_pin_open(program->pin_dir, pin, &fd, NULL, error);

	if (err)
		return err;
	if (!map || bpf_map__reuse_fd(map, fd)) /* keeps a duplicate */
		return gs_error_set(-EINVAL, error, "the BPF object has no map %s", pin->name);
	return 0;
}

static int attach(const struct gs_detour_program *program, uint32_t ifindex, struct gs_error *error)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = BPF_TC_EGRESS);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1,
			    .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);

	if (err && err != -EEXIST)
		return gs_error_set(err, error, "cannot make its clsact qdisc: %s", strerror(-err));
	opts.prog_fd = bpf_program__fd(
		bpf_object__find_program_by_name(program->object, GS_PROBE_PROGRAM));
	err = bpf_tc_attach(&hook, &opts);
	return err ? gs_error_set(err, error, "cannot attach its program: %s", strerror(-err)) : 0;
}

static int load(struct gs_detour_program *program, const char *path, struct gs_error *error)
{
	int err;

	program->object = bpf_object__open_file(path, NULL);
	if (!program->object)
		return gs_error_set(-errno, error, "%.200s: %s", path, strerror(errno));
	err = share(program, &backends_pin, error);
	if (!err)
		err = share(program, &hops_pin, error);
	if (err)
		return err;
	if (!bpf_object__find_program_by_name(program->object, GS_PROBE_PROGRAM) ||
	    !bpf_object__find_map_by_name(program->object, GS_PROBE_MAP_COUNT))
		return gs_error_set(-EINVAL, error, "%.200s is not what wraps probes", path);
	err = bpf_object__load(program->object);
	if (err)
		return gs_error_set(err, error, "cannot load %.200s: %s", path, strerror(-err));
	program->backends_fd = bpf_object__find_map_fd_by_name(program->object, GS_MAP_BACKENDS);
	program->hops_fd = bpf_object__find_map_fd_by_name(program->object, GS_MAP_HOPS);
	program->count_fd = bpf_object__find_map_fd_by_name(program->object, GS_PROBE_MAP_COUNT);
	program->backends_id = map_id(program->backends_fd);
	return 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

int gs_detour_program_open(const char *pin_dir, const char *object, uint32_t ifindex,
			   struct gs_detour_program **ret_program, struct gs_error *error)
{
	struct gs_detour_program *program = calloc(1, sizeof(*program));
	libbpf_print_fn_t before;
	int err;

	if (!program)
		return gs_error_set(-ENOMEM, error, "out of memory");
	snprintf(program->pin_dir, sizeof(program->pin_dir), "%s", pin_dir);
	before = libbpf_set_print(quiet);
	err = load(program, object, error);
	if (!err)
		err = attach(program, ifindex, error);
	libbpf_set_print(before);
	if (err) {
		gs_detour_program_close(program);
		return err;
	}
	*ret_program = program;
	return 0;
}

void gs_detour_program_close(struct gs_detour_program *program)
{
	if (program)
		bpf_object__close(program->object);
	free(program);
}

/* ---- questions ------------------------------------------------------------------------------- */

bool gs_detour_program_is_current(const struct gs_detour_program *program)
{
	struct gs_error ignored;
	GS_AUTO_CLOSE int fd = -1;

	return gs_dataplane_pin_open(program->pin_dir, &backends_pin, &fd, NULL, &ignored) == 0 &&
	       map_id(fd) == program->backends_id;
}

const char *gs_detour_program_refuses(const struct gs_detour_program *program,
				      const struct gs_probe_target *target)
{
	struct gs_backend_value backend;
	struct gs_hop_value hop;
	uint32_t id = target->backend;

	if (bpf_map_lookup_elem(program->backends_fd, &id, &backend) ||
	    backend.mode == GS_FORWARD_NONE ||
	    memcmp(backend.addr, target->addr.bytes, sizeof(backend.addr)) != 0)
		return "its tables are not in force yet";
	if (backend.mode > GS_FORWARD_L2)
		return "its tables still have another mode";
	if (backend.hop == 0 || bpf_map_lookup_elem(program->hops_fd, &backend.hop, &hop) ||
	    hop.mtu == 0 || hop.ifindex == 0 || hop.flags & GS_HOP_REFLECT)
		return "its next hop is not known";
	return NULL;
}

uint32_t gs_detour_program_count(const struct gs_detour_program *program,
				 struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX])
{
#define NAME(name, verdict, text) #name,
	static const char *const names[GS_WRAP__COUNT] = {GS_WRAP_REASONS(NAME)};
#undef NAME
	int cpus = libbpf_num_possible_cpus();
	GS_AUTO_FREE uint64_t *values = NULL;
	uint32_t zero = 0;

	_Static_assert((int)GS_WRAP__COUNT <= (int)GS_DETOUR_COUNTERS_MAX, "room for all");
	if (cpus < 1 || cpus > CPUS_MAX)
		return 0;
	values = calloc((size_t)cpus * GS_WRAP__COUNT, sizeof(*values));
	if (!values || bpf_map_lookup_elem(program->count_fd, &zero, values))
		return 0;
	for (int i = 0; i < GS_WRAP__COUNT; i++)
		ret_counters[i] = (struct gs_counter){.name = names[i]};
	for (int i = 0; i < cpus * GS_WRAP__COUNT; i++)
		ret_counters[i % GS_WRAP__COUNT].packets += values[i];
	return GS_WRAP__COUNT;
}
