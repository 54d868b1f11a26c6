// SPDX-License-Identifier: Apache-2.0
#include "loader/decap.h"

#include "loader/attach.h"
#include "loader/decap_filter.h"
#include "loader/loader.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#define PIN_LINK "link-xdp" /* as gs_nic_look looks for it */
#define PIN_PROG "prog"
#define PIN_MSS "mss"
#define ASIDE "new-" /* not yet in force */
#define LOG_BYTES (1u << 20)
#define CPUS_MAX 4096

static const char *const pinned_maps[] = {GS_DECAP_MAP_EDGES, GS_DECAP_MAP_VIPS, GS_DECAP_MAP_CONF,
					  GS_DECAP_MAP_COUNT};
/* Everything a folder may hold, the link last: while it is there, packets go through. */
static const char *const pinned[] = {
	GS_DECAP_MAP_EDGES, GS_DECAP_MAP_VIPS, GS_DECAP_MAP_CONF, GS_DECAP_MAP_COUNT,
	PIN_PROG,	    PIN_MSS,	       PIN_LINK,
};

/* ---- folders ---------------------------------------------------------------------------------*/

/* bpffs allows no dots in names, interfaces no colons. */
static int folder_of(const char *pin_dir, const char *interface, char ret_dir[GS_PINS_DIR_MAX],
		     struct gs_loader_error *error)
{
	int length = snprintf(ret_dir, GS_PINS_DIR_MAX, "%s/", pin_dir);

	if (length < 0 || (size_t)length + IF_NAMESIZE >= GS_PINS_DIR_MAX)
		return gs_loader_fail(error, -EINVAL, "pin folder '%.100s': too long", pin_dir);
	if (!interface[0] || strlen(interface) >= IF_NAMESIZE || strchr(interface, '/'))
		return gs_loader_fail(error, -ENODEV,
				      "no such interface in this network namespace");
	for (const char *at = interface; *at; at++)
		ret_dir[length++] = *at == '.' ? ':' : *at;
	ret_dir[length] = '\0';
	return 0;
}

int gs_decap_each(const char *pin_dir, int (*visit)(const char *interface, void *context),
		  void *context)
{
	struct dirent **list = NULL;
	int count = scandir(pin_dir, &list, NULL, alphasort), ret = 0;

	for (int i = 0; i < count; i++) {
		char name[IF_NAMESIZE] = "";

		if (list[i]->d_name[0] != '.' && strlen(list[i]->d_name) < sizeof(name) && !ret) {
			strcpy(name, list[i]->d_name);
			for (char *at = name; *at; at++)
				*at = *at == ':' ? '.' : *at;
			ret = visit(name, context);
		}
		free(list[i]);
	}
	free(list);
	return ret;
}

static void remove_aside(const struct gs_pins *pins)
{
	char path[GS_PINS_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(pinned); i++) {
		gs_pins_path(pins, ASIDE, pinned[i], path);
		unlink(path);
	}
}

static void remove_all(const struct gs_pins *pins)
{
	char path[GS_PINS_PATH_MAX];

	remove_aside(pins);
	for (size_t i = 0; i < ARRAY_SIZE(pinned); i++) {
		gs_pins_path(pins, "", pinned[i], path);
		unlink(path);
	}
	rmdir(pins->dir);
}

static int pin_aside(const struct gs_pins *pins, const char *name, int fd,
		     struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];
	int ret;

	gs_pins_path(pins, ASIDE, name, path);
	if (!bpf_obj_pin(fd, path))
		return 0;
	ret = -errno;
	return gs_loader_fail(error, ret, "cannot pin %s: %s", path, strerror(-ret));
}

static int open_pin(const struct gs_pins *pins, const char *name)
{
	char path[GS_PINS_PATH_MAX];

	gs_pins_path(pins, "", name, path);
	return bpf_obj_get(path);
}

/* ---- the object ------------------------------------------------------------------------------*/

struct kit {
	struct bpf_object *object; /* owned */
	char *log;		   /* owned; LOG_BYTES */
	char path[PATH_MAX];
};

static void kit_done(struct kit *kit)
{
	bpf_object__close(kit->object);
	free(kit->log);
}

static int map_fd(const struct kit *kit, const char *name)
{
	return bpf_object__find_map_fd_by_name(kit->object, name);
}

static int prog_fd(const struct kit *kit, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(kit->object, name));
}

/* Counters of the program before go on, if they are of this kind. */
static int keep_counters(struct kit *kit, const struct gs_pins *pins, struct gs_loader_error *error)
{
	struct bpf_map *map = bpf_object__find_map_by_name(kit->object, GS_DECAP_MAP_COUNT);
	GS_AUTO_CLOSE int fd = open_pin(pins, GS_DECAP_MAP_COUNT);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	int ret;

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) ||
	    info.type != BPF_MAP_TYPE_PERCPU_ARRAY ||
	    info.value_size != sizeof(struct gs_decap_counts))
		return 0;
	ret = bpf_map__reuse_fd(map, fd);
	return ret ? gs_loader_fail(error, ret, "map " GS_DECAP_MAP_COUNT ": %s", strerror(-ret))
		   : 0;
}

static int check_object(const struct kit *kit, struct gs_loader_error *error)
{
	for (size_t i = 0; i < ARRAY_SIZE(pinned_maps); i++) {
		if (!bpf_object__find_map_by_name(kit->object, pinned_maps[i]))
			return gs_loader_fail(error, -EINVAL, "%s: no map named %s", kit->path,
					      pinned_maps[i]);
	}
	if (!bpf_object__find_program_by_name(kit->object, GS_DECAP_PROGRAM) ||
	    !bpf_object__find_program_by_name(kit->object, GS_DECAP_PROGRAM_MSS))
		return gs_loader_fail(error, -EINVAL, "%s is not the backend kit", kit->path);
	return 0;
}

static int load(struct kit *kit, const char *named, const struct gs_pins *pins,
		struct gs_loader_error *error)
{
	struct bpf_program *program;
	const char *why;
	int ret = gs_loader_find_object(named, GS_DECAP_OBJECT, kit->path, error);

	if (ret)
		return ret;
	gs_loader_forget();
	kit->log = calloc(1, LOG_BYTES);
	kit->object = kit->log ? bpf_object__open_file(kit->path, NULL) : NULL;
	if (!kit->object) {
		ret = -errno;
		return gs_loader_fail(error, ret, "%s is no BPF object of ours: %s", kit->path,
				      strerror(-ret));
	}
	ret = check_object(kit, error);
	if (!ret)
		ret = keep_counters(kit, pins, error);
	if (ret)
		return ret;
	bpf_object__for_each_program(program, kit->object)
		bpf_program__set_log_buf(program, kit->log, LOG_BYTES);
	ret = bpf_object__load(kit->object);
	if (!ret)
		return 0;
	why = gs_loader_verdict(kit->log);
	return gs_loader_fail(error, ret, "cannot load %s: %s (%s)", kit->path,
			      *why ? why : gs_loader_heard(), strerror(-ret));
}

/* ---- the lists -------------------------------------------------------------------------------*/

static int put(const struct kit *kit, const char *name, const void *key, const void *value,
	       struct gs_loader_error *error)
{
	int ret;

	if (!bpf_map_update_elem(map_fd(kit, name), key, value, BPF_ANY))
		return 0;
	ret = -errno;
	return gs_loader_fail(error, ret, "map %s: %s", name, strerror(-ret));
}

static int fill(const struct kit *kit, const struct gs_decap_lists *lists,
		const struct gs_decap_conf *conf, struct gs_loader_error *error)
{
	uint32_t one = 1, zero = 0;
	int ret = put(kit, GS_DECAP_MAP_CONF, &zero, conf, error);

	for (uint32_t i = 0; i < lists->edge_count && !ret; i++)
		ret = put(kit, GS_DECAP_MAP_EDGES, &lists->edges[i], &one, error);
	for (uint32_t i = 0; i < lists->vip_count && !ret; i++)
		ret = put(kit, GS_DECAP_MAP_VIPS, &lists->vips[i], &one, error);
	return ret;
}

static int pin_all_aside(const struct kit *kit, const struct gs_pins *pins,
			 struct gs_loader_error *error)
{
	int ret = 0;

	remove_aside(pins);
	for (size_t i = 0; i < ARRAY_SIZE(pinned_maps) && !ret; i++)
		ret = pin_aside(pins, pinned_maps[i], map_fd(kit, pinned_maps[i]), error);
	if (!ret)
		ret = pin_aside(pins, PIN_PROG, prog_fd(kit, GS_DECAP_PROGRAM), error);
	if (!ret)
		ret = pin_aside(pins, PIN_MSS, prog_fd(kit, GS_DECAP_PROGRAM_MSS), error);
	return ret;
}

/* What is attached now is what is pinned. */
static int put_in_place(const struct gs_pins *pins, struct gs_loader_error *error)
{
	char from[GS_PINS_PATH_MAX], to[GS_PINS_PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(pinned); i++) {
		gs_pins_path(pins, ASIDE, pinned[i], from);
		gs_pins_path(pins, "", pinned[i], to);
		if (rename(from, to) && errno != ENOENT)
			return gs_loader_fail(error, -errno, "cannot pin %s: %s", to,
					      strerror(errno));
	}
	return 0;
}

/* ---- reading ---------------------------------------------------------------------------------*/

static void read_lists(const struct gs_pins *pins, struct gs_decap_lists *lists)
{
	GS_AUTO_CLOSE int edges = open_pin(pins, GS_DECAP_MAP_EDGES);
	GS_AUTO_CLOSE int vips = open_pin(pins, GS_DECAP_MAP_VIPS);
	const void *last = NULL;

	while (edges >= 0 && lists->edge_count < GS_DECAP_MAX_EDGES &&
	       !bpf_map_get_next_key(edges, last, &lists->edges[lists->edge_count]))
		last = &lists->edges[lists->edge_count++];
	last = NULL;
	while (vips >= 0 && lists->vip_count < GS_DECAP_MAX_VIPS &&
	       !bpf_map_get_next_key(vips, last, &lists->vips[lists->vip_count]))
		last = &lists->vips[lists->vip_count++];
}

static void read_counts(const struct gs_pins *pins, uint64_t ret_counts[GS_DECAP__COUNT])
{
	GS_AUTO_CLOSE int fd = open_pin(pins, GS_DECAP_MAP_COUNT);
	int cpus = libbpf_num_possible_cpus();
	GS_AUTO_FREE uint64_t *values = NULL;
	uint32_t zero = 0;

	if (fd < 0 || cpus < 1 || cpus > CPUS_MAX)
		return;
	values = calloc((size_t)cpus * GS_DECAP__COUNT, sizeof(*values));
	if (!values || bpf_map_lookup_elem(fd, &zero, values))
		return;
	for (int i = 0; i < cpus * GS_DECAP__COUNT; i++)
		ret_counts[i % GS_DECAP__COUNT] += values[i];
}

static uint32_t pinned_prog_id(const struct gs_pins *pins, const char *name)
{
	GS_AUTO_CLOSE int fd = open_pin(pins, name);
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : info.id;
}

/* Whatever of ours is at egress, also if the process died between exchanging and renaming. */
static bool is_our_filter(const struct gs_pins *pins, uint32_t prog_id)
{
	char aside[GS_PINS_PATH_MAX];

	snprintf(aside, sizeof(aside), ASIDE "%s", PIN_MSS);
	return prog_id &&
	       (prog_id == pinned_prog_id(pins, PIN_MSS) || prog_id == pinned_prog_id(pins, aside));
}

static int look(const char *interface, const struct gs_pins *pins,
		struct gs_decap_status *ret_status, struct gs_loader_error *error)
{
	GS_AUTO_CLOSE int conf = -1;
	uint32_t zero = 0, filter = 0;
	int ret = gs_nic_look(interface, pins, &ret_status->nic, error);

	if (ret)
		return ret;
	ret_status->is_attached = ret_status->nic.holder == GS_NIC_LINK;
	ret = gs_decap_filter_find(ret_status->nic.ifindex, &filter);
	if (ret)
		return gs_loader_fail(error, ret, "cannot ask for its filters: %s", strerror(-ret));
	ret_status->has_egress = is_our_filter(pins, filter);
	ret_status->foreign_egress = ret_status->has_egress ? 0 : filter;
	conf = open_pin(pins, GS_DECAP_MAP_CONF);
	if (conf >= 0)
		bpf_map_lookup_elem(conf, &zero, &ret_status->conf);
	read_lists(pins, &ret_status->lists);
	read_counts(pins, ret_status->counts);
	return 0;
}

int gs_decap_read(const char *interface, const char *pin_dir, struct gs_decap_status *ret_status,
		  struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	GS_AUTO_FREE struct gs_decap_status *status = calloc(1, sizeof(*status));
	char dir[GS_PINS_DIR_MAX];
	int ret;

	if (!status)
		return gs_loader_fail(error, -ENOMEM, "out of memory");
	ret = gs_nic_look(interface, NULL, &status->nic, error);
	if (!ret)
		ret = folder_of(pin_dir, interface, dir, error);
	if (ret)
		return ret;
	ret = gs_pins_open(dir, false, &pins, error);
	if (!ret)
		ret = look(interface, &pins, status, error);
	else if (ret == -ENOENT || ret == -EMEDIUMTYPE)
		ret = 0;
	if (!ret)
		*ret_status = *status;
	return ret;
}

/* ---- attach ----------------------------------------------------------------------------------*/

static int check_request(const struct gs_decap_request *request, struct gs_loader_error *error)
{
	if (!request->lists.edge_count)
		return gs_loader_fail(error, -EINVAL,
				      "which --edge? (--edge 0.0.0.0/0 --edge ::/0 believes "
				      "everybody)");
	if (!request->lists.vip_count)
		return gs_loader_fail(error, -EINVAL, "which --vip?");
	return 0;
}

static int check_holder(const struct gs_decap_status *before,
			const struct gs_decap_request *request, struct gs_loader_error *error)
{
	const struct gs_nic *nic = &before->nic;

	if (before->foreign_egress)
		return gs_loader_fail(error, -EBUSY,
				      "program %u is where the kit's egress filter belongs: "
				      "untouched (tc filter show dev %s egress)",
				      before->foreign_egress, nic->name);
	if (nic->holder == GS_NIC_FREE)
		return request->mode == GS_XDP_NONE
			       ? gs_loader_fail(error, -EINVAL,
						"which --mode: native, generic or offload?")
			       : 0;
	if (!before->is_attached)
		return gs_loader_fail(error, -EBUSY,
				      "it has another XDP program, '%s' (id %u, tag %s), mode %s: "
				      "untouched. If it is not needed: ip link set dev %s %s off",
				      nic->program.name, nic->program.id, nic->program.tag,
				      gs_xdp_mode_name(nic->mode), nic->name,
				      gs_xdp_mode_ip(nic->mode));
	if (request->mode != GS_XDP_NONE && request->mode != nic->mode)
		return gs_loader_fail(error, -EBUSY,
				      "attached in mode %s; to attach it in mode %s, "
				      "'geostream-loader decap detach %s' first",
				      gs_xdp_mode_name(nic->mode), gs_xdp_mode_name(request->mode),
				      nic->name);
	return 0;
}

static int make_conf(const struct gs_decap_request *request, const struct gs_decap_status *before,
		     struct gs_decap_conf *ret_conf, struct gs_loader_error *error)
{
	struct gs_decap_conf conf = {
		.version = GS_DECAP_VERSION,
		.mss_mode = request->mss,
		.has_clsact = before->conf.has_clsact,
	};
	uint32_t mtu;
	int ret = gs_decap_filter_mtu(request->interface, &mtu);

	if (ret)
		return gs_loader_fail(error, ret, "cannot ask for its MTU: %s", strerror(-ret));
	if (request->mss == GS_DECAP_MSS_FIXED) {
		conf.mss4 = request->mss_bytes;
		conf.mss6 = request->mss_bytes;
	} else if (request->mss == GS_DECAP_MSS_AUTO) {
		conf.mss4 = gs_decap_mss_of(mtu, &request->lists, 4);
		conf.mss6 = gs_decap_mss_of(mtu, &request->lists, 6);
	}
	*ret_conf = conf;
	return 0;
}

/* The filter first: a SYN-ACK with a large MSS is worse than one with a small one too soon. */
static int attach_both(const struct kit *kit, const struct gs_pins *pins,
		       const struct gs_decap_request *request, const struct gs_decap_status *before,
		       bool *ret_made_clsact, struct gs_loader_error *error)
{
	char link[GS_PINS_PATH_MAX];
	int ret = 0;

	if (request->mss != GS_DECAP_MSS_OFF)
		ret = gs_decap_filter_put(before->nic.ifindex, prog_fd(kit, GS_DECAP_PROGRAM_MSS),
					  before->has_egress, ret_made_clsact, error);
	else if (before->has_egress)
		ret = gs_decap_filter_take(before->nic.ifindex, error);
	if (ret)
		return ret;
	if (before->is_attached)
		return gs_attach_link_update(prog_fd(kit, GS_DECAP_PROGRAM), before->nic.link_pin,
					     error);
	gs_pins_path(pins, "", PIN_LINK, link);
	return gs_attach_link(prog_fd(kit, GS_DECAP_PROGRAM), &before->nic, request->mode, link,
			      error);
}

/* After a failure: the filter there was, or none. */
static void take_back(const struct gs_pins *pins, const struct gs_decap_status *before,
		      bool made_clsact)
{
	GS_AUTO_CLOSE int old = open_pin(pins, PIN_MSS);
	bool ignored;

	if (before->has_egress && old >= 0)
		gs_decap_filter_put(before->nic.ifindex, old, true, &ignored, NULL);
	else
		gs_decap_filter_take(before->nic.ifindex, NULL);
	if (made_clsact)
		gs_decap_filter_end(before->nic.ifindex);
	if (before->is_attached)
		remove_aside(pins);
	else
		remove_all(pins);
}

static int load_and_attach(const struct gs_decap_request *request, const struct gs_pins *pins,
			   const struct gs_decap_status *before, struct gs_loader_error *error)
{
	GS_CLEANUP(kit_done) struct kit kit = {0};
	struct gs_decap_conf conf;
	bool made_clsact = false;
	uint32_t zero = 0;
	int ret = make_conf(request, before, &conf, error);

	if (!ret)
		ret = load(&kit, request->object_path, pins, error);
	if (!ret)
		ret = fill(&kit, &request->lists, &conf, error);
	if (!ret)
		ret = pin_all_aside(&kit, pins, error);
	if (ret) {
		remove_aside(pins);
		return ret;
	}
	ret = attach_both(&kit, pins, request, before, &made_clsact, error);
	if (ret) {
		take_back(pins, before, made_clsact);
		return ret;
	}
	if (made_clsact) {
		conf.has_clsact = 1;
		bpf_map_update_elem(map_fd(&kit, GS_DECAP_MAP_CONF), &zero, &conf, BPF_ANY);
	}
	return put_in_place(pins, error);
}

int gs_decap_attach(const struct gs_decap_request *request, struct gs_decap_report *ret_report,
		    struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	GS_AUTO_FREE struct gs_decap_status *before = calloc(1, sizeof(*before));
	char dir[GS_PINS_DIR_MAX];
	int ret;

	if (!before)
		return gs_loader_fail(error, -ENOMEM, "out of memory");
	ret = check_request(request, error);
	/* before anything is made: a misspelt name leaves no folder behind */
	if (!ret)
		ret = gs_nic_look(request->interface, NULL, &before->nic, error);
	if (!ret)
		ret = folder_of(request->pin_dir, request->interface, dir, error);
	if (!ret)
		ret = gs_pins_open(dir, true, &pins, error);
	if (!ret)
		ret = look(request->interface, &pins, before, error);
	if (!ret)
		ret = check_holder(before, request, error);
	if (!ret)
		ret = load_and_attach(request, &pins, before, error);
	if (ret)
		return ret;
	memset(ret_report, 0, sizeof(*ret_report));
	ret_report->was_attached = before->is_attached;
	return look(request->interface, &pins, &ret_report->after, error);
}

/* ---- detach ----------------------------------------------------------------------------------*/

int gs_decap_detach(const struct gs_decap_request *request, struct gs_decap_report *ret_report,
		    struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	GS_AUTO_FREE struct gs_decap_status *before = calloc(1, sizeof(*before));
	char dir[GS_PINS_DIR_MAX], link[GS_PINS_PATH_MAX];
	int ret;

	if (!before)
		return gs_loader_fail(error, -ENOMEM, "out of memory");
	ret = folder_of(request->pin_dir, request->interface, dir, error);
	if (ret)
		return ret;
	ret = gs_pins_open(dir, false, &pins, error);
	if (ret == -ENOENT)
		return gs_loader_fail(error, ret, "the backend kit is not attached: nothing in %s",
				      dir);
	if (ret)
		return ret;
	/* The interface may be gone, and its folder still there. */
	ret = look(request->interface, &pins, before, error);
	if (ret && ret != -ENODEV)
		return ret;
	gs_pins_path(&pins, "", PIN_LINK, link);
	ret = gs_pins_has(&pins, PIN_LINK) ? gs_attach_link_off(link, error) : 0;
	if (!ret && before->has_egress)
		ret = gs_decap_filter_take(before->nic.ifindex, error);
	if (ret)
		return ret;
	if (before->conf.has_clsact && before->nic.ifindex)
		gs_decap_filter_end(before->nic.ifindex);
	remove_all(&pins);
	memset(ret_report, 0, sizeof(*ret_report));
	ret_report->was_attached = before->is_attached;
	return 0;
}
