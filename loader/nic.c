// SPDX-License-Identifier: Apache-2.0
#include "loader/nic.h"

#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <string.h>
#include <xdp/libxdp.h>

#define PROGRAM_MAPS_MAX 64

static const char *const mode_names[] = {
	[GS_XDP_NONE] = "none",
	[GS_XDP_NATIVE] = "native",
	[GS_XDP_GENERIC] = "generic",
	[GS_XDP_OFFLOAD] = "offload",
};
_Static_assert(ARRAY_SIZE(mode_names) == GS_XDP__COUNT, "a mode without a name");

static const char *const holder_names[] = {
	[GS_NIC_FREE] = "free",
	[GS_NIC_LINK] = "link",
	[GS_NIC_DISPATCHER] = "dispatcher",
	[GS_NIC_FOREIGN] = "foreign",
	[GS_NIC_FOREIGN_DISPATCHER] = "foreign dispatcher",
};
_Static_assert(ARRAY_SIZE(holder_names) == GS_NIC__COUNT, "a holder without a name");

const char *gs_xdp_mode_name(enum gs_xdp_mode mode)
{
	return mode_names[mode];
}

const char *gs_xdp_mode_ip(enum gs_xdp_mode mode)
{
	static const char *const words[] = {"xdp", "xdpdrv", "xdpgeneric", "xdpoffload"};

	return words[mode];
}

int gs_xdp_mode_parse(const char *word, enum gs_xdp_mode *ret_mode)
{
	for (enum gs_xdp_mode mode = GS_XDP_NATIVE; mode < GS_XDP__COUNT; mode++) {
		if (!strcmp(word, mode_names[mode])) {
			*ret_mode = mode;
			return 0;
		}
	}
	return -EINVAL;
}

uint32_t gs_xdp_mode_flags(enum gs_xdp_mode mode)
{
	switch (mode) {
	case GS_XDP_NATIVE:
		return XDP_FLAGS_DRV_MODE;
	case GS_XDP_GENERIC:
		return XDP_FLAGS_SKB_MODE;
	case GS_XDP_OFFLOAD:
		return XDP_FLAGS_HW_MODE;
	default:
		return 0;
	}
}

const char *gs_nic_holder_name(enum gs_nic_holder holder)
{
	return holder_names[holder];
}

/* ---- programs --------------------------------------------------------------------------------*/

static int program_info(uint32_t id, struct bpf_prog_info *info)
{
	GS_AUTO_CLOSE int fd = bpf_prog_get_fd_by_id(id);
	uint32_t size = sizeof(*info);

	if (fd < 0)
		return -errno;
	return bpf_obj_get_info_by_fd(fd, info, &size) ? -errno : 0;
}

int gs_program_identify(uint32_t id, struct gs_program_id *ret_program)
{
	struct bpf_prog_info info = {0};
	struct gs_program_id program = {.id = id};
	int ret = program_info(id, &info);

	if (ret)
		return ret;
	snprintf(program.name, sizeof(program.name), "%s", info.name);
	for (size_t i = 0; i < sizeof(info.tag); i++)
		snprintf(program.tag + 2 * i, 3, "%02x", info.tag[i]);
	*ret_program = program;
	return 0;
}

/* Ours is what uses our `meta`. Names and tags can be anybody's, or an older version of ours. */
static bool uses_map(uint32_t prog_id, uint32_t map_id)
{
	uint32_t ids[PROGRAM_MAPS_MAX] = {0};
	struct bpf_prog_info info = {
		.nr_map_ids = PROGRAM_MAPS_MAX,
		.map_ids = (uint64_t)(uintptr_t)ids,
	};

	if (!map_id || program_info(prog_id, &info))
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < PROGRAM_MAPS_MAX; i++) {
		if (ids[i] == map_id)
			return true;
	}
	return false;
}

static uint32_t meta_id(const struct gs_pins *pins)
{
	char path[GS_PINS_PATH_MAX];
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	GS_AUTO_CLOSE int fd = -1;

	gs_pins_path(pins, "", GS_MAP_META, path);
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return 0;
	return info.id;
}

/* ---- links -----------------------------------------------------------------------------------*/

int gs_nic_read_link(const char *path, uint32_t *ret_link_id, uint32_t *ret_prog_id,
		     uint32_t *ret_ifindex)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	GS_AUTO_CLOSE int fd = bpf_obj_get(path);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.type != BPF_LINK_TYPE_XDP)
		return -EINVAL;
	*ret_link_id = info.id;
	*ret_prog_id = info.prog_id;
	*ret_ifindex = info.xdp.ifindex;
	return 0;
}

int gs_nic_each_link(const struct gs_pins *pins,
		     int (*visit)(const char *path, const char *interface, void *context),
		     void *context)
{
	const size_t prefix = strlen(GS_PIN_LINK_PREFIX);
	char path[GS_PINS_PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(pins->dir);
	int ret = 0;

	if (!dir)
		return -errno;
	while (!ret && (entry = readdir(dir))) {
		const char *interface = entry->d_name + prefix;

		if (strncmp(entry->d_name, GS_PIN_LINK_PREFIX, prefix) != 0 ||
		    strlen(interface) >= IF_NAMESIZE)
			continue;
		gs_pins_path(pins, GS_PIN_LINK_PREFIX, interface, path);
		ret = visit(path, interface, context);
	}
	closedir(dir);
	return ret;
}

/* ifindex numbers repeat in other network namespaces, so the program must agree too. */
static int match_link(const char *path, const char *interface, void *context)
{
	struct gs_nic *nic = context;
	uint32_t link_id, prog_id, ifindex = 0;

	(void)interface;
	if (gs_nic_read_link(path, &link_id, &prog_id, &ifindex) || ifindex != nic->ifindex ||
	    prog_id != nic->attached_id)
		return 0;
	nic->holder = GS_NIC_LINK;
	nic->link_id = link_id;
	snprintf(nic->link_pin, sizeof(nic->link_pin), "%s", path);
	return 1;
}

/* ---- an interface ----------------------------------------------------------------------------*/

static void add_program(const struct gs_program_id *program, struct gs_program_id *list,
			uint32_t *count)
{
	if (*count < GS_NIC_OTHERS_MAX)
		list[(*count)++] = *program;
}

static void read_dispatcher(struct gs_nic *nic, const struct xdp_multiprog *multiprog,
			    uint32_t our_meta)
{
	struct xdp_program *program = NULL;

	nic->holder = GS_NIC_FOREIGN_DISPATCHER;
	while ((program = xdp_multiprog__next_prog(program, multiprog))) {
		struct gs_program_id one = {.id = xdp_program__id(program)};

		gs_program_identify(one.id, &one);
		if (!uses_map(one.id, our_meta)) {
			add_program(&one, nic->others, &nic->other_count);
		} else if (nic->holder == GS_NIC_DISPATCHER) {
			add_program(&one, nic->leftovers, &nic->leftover_count);
		} else {
			nic->holder = GS_NIC_DISPATCHER;
			nic->program = one;
		}
	}
}

static void read_holder(struct gs_nic *nic, const struct gs_pins *pins)
{
	struct xdp_multiprog *multiprog;

	if (pins && gs_nic_each_link(pins, match_link, nic) == 1) {
		gs_program_identify(nic->attached_id, &nic->program);
		return;
	}
	/* what libxdp cannot make sense of is a program of somebody else's all the same */
	nic->holder = GS_NIC_FOREIGN;
	multiprog = xdp_multiprog__get_from_ifindex((int)nic->ifindex);
	if (!libxdp_get_error(multiprog)) {
		if (!xdp_multiprog__is_legacy(multiprog))
			read_dispatcher(nic, multiprog, pins ? meta_id(pins) : 0);
		xdp_multiprog__close(multiprog);
	}
	if (nic->holder == GS_NIC_FOREIGN) {
		nic->program.id = nic->attached_id;
		gs_program_identify(nic->attached_id, &nic->program);
	}
}

static void read_mode(struct gs_nic *nic, const struct bpf_xdp_query_opts *query)
{
	if (query->drv_prog_id) {
		nic->mode = GS_XDP_NATIVE;
		nic->attached_id = query->drv_prog_id;
	} else if (query->skb_prog_id) {
		nic->mode = GS_XDP_GENERIC;
		nic->attached_id = query->skb_prog_id;
	} else if (query->hw_prog_id) {
		nic->mode = GS_XDP_OFFLOAD;
		nic->attached_id = query->hw_prog_id;
	}
}

int gs_nic_look(const char *name, const struct gs_pins *pins, struct gs_nic *ret_nic,
		struct gs_loader_error *error)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	struct gs_nic nic = {.holder = GS_NIC_FREE};
	int ret;

	nic.ifindex = strlen(name) < IF_NAMESIZE ? if_nametoindex(name) : 0;
	if (!nic.ifindex)
		return gs_loader_fail(error, -ENODEV,
				      "no such interface in this network namespace");
	memcpy(nic.name, name, strlen(name));
	ret = bpf_xdp_query((int)nic.ifindex, 0, &query);
	if (ret)
		return gs_loader_fail(error, ret, "cannot ask which XDP program it has: %s",
				      strerror(-ret));
	read_mode(&nic, &query);
	if (nic.attached_id)
		read_holder(&nic, pins);
	*ret_nic = nic;
	return 0;
}
