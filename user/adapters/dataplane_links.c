/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the edge is reached on a link: which interfaces carry the program, the map of links, and
 * which address markers say on-link. All of it in place: packets meet each change by itself.
 */
#include "dataplane.h"
#include "dataplane_pin.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xdp/libxdp.h>

enum { PATH_BYTES = GS_PATH_MAX + 300 };

/* ---- which interfaces carry the program ------------------------------------------------------ */

/* Is this a pinned link of ours on the interface? */
static bool is_link_to(const char *path, uint32_t ifindex, uint32_t prog_id)
{
	GS_AUTO_CLOSE int fd = bpf_obj_get(path);
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);

	/* Numbers of interfaces repeat in other namespaces: the program must agree, too. */
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
	       info.type == BPF_LINK_TYPE_XDP && info.xdp.ifindex == ifindex &&
	       info.prog_id == prog_id;
}

static bool has_pinned_link(const char *pin_dir, uint32_t ifindex, uint32_t prog_id)
{
	const size_t prefix = strlen(GS_PIN_LINK_PREFIX);
	DIR *dir = opendir(pin_dir);
	char path[PATH_BYTES];
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, GS_PIN_LINK_PREFIX, prefix) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", pin_dir, entry->d_name);
		found = is_link_to(path, ifindex, prog_id);
	}
	if (dir)
		closedir(dir);
	return found;
}

static uint32_t pinned_program(const char *pin_dir)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	GS_AUTO_CLOSE int fd = -1;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/%s", pin_dir, GS_PIN_PROG);
	fd = bpf_obj_get(path);
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

/* Among the programs of libxdp's dispatcher; asking it takes CAP_SYS_ADMIN. */
static bool is_in_dispatcher(const char *pin_dir, uint32_t ifindex)
{
	struct xdp_multiprog *multiprog = xdp_multiprog__get_from_ifindex((int)ifindex);
	uint32_t ours = pinned_program(pin_dir);
	struct xdp_program *program = NULL;
	bool found = false;

	if (libxdp_get_error(multiprog))
		return false;
	while (!found && ours && !xdp_multiprog__is_legacy(multiprog) &&
	       (program = xdp_multiprog__next_prog(program, multiprog)))
		found = xdp_program__id(program) == ours;
	xdp_multiprog__close(multiprog);
	return found;
}

bool gs_dataplane_pin_carries(const char *pin_dir, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	if (bpf_xdp_query((int)ifindex, 0, &query) || !query.prog_id)
		return false;
	return has_pinned_link(pin_dir, ifindex, query.prog_id) ||
	       is_in_dispatcher(pin_dir, ifindex);
}

bool gs_dataplane_links_carry(const struct gs_dataplane_state *state, uint32_t ifindex)
{
	return gs_dataplane_pin_carries(state->maps.pin_dir, ifindex);
}

/* ---- the map of links ------------------------------------------------------------------------ */

static const struct gs_link *find_link(const struct gs_link *links, uint32_t count,
				       uint32_t ifindex)
{
	for (uint32_t i = 0; i < count; i++)
		if (links[i].ifindex == ifindex)
			return &links[i];
	return NULL;
}

static int remove_links(int fd, const struct gs_reach_set *reach)
{
	uint32_t gone[GS_MAX_OWN_MACS], count = 0, ifindex, *previous = NULL;

	while (count < GS_MAX_OWN_MACS && bpf_map_get_next_key(fd, previous, &ifindex) == 0) {
		if (!find_link(reach->links, reach->link_count, ifindex) &&
		    !find_link(reach->ports, reach->port_count, ifindex))
			gone[count++] = ifindex;
		previous = &ifindex;
	}
	for (uint32_t i = 0; i < count; i++)
		if (bpf_map_delete_elem(fd, &gone[i]) && errno != ENOENT)
			return -errno;
	return 0;
}

/* link: whose MAC is answered with, that of the bond for a port. */
static int write_link(int fd, uint32_t ifindex, const struct gs_link *link, bool is_silent)
{
	struct gs_own_mac_value value = {.flags = is_silent ? 0 : GS_OWN_MAC_ANSWERS};
	struct gs_own_mac_value old;

	memcpy(value.mac, link->mac, sizeof(value.mac));
	if (ifindex != link->ifindex)
		value.bond = link->ifindex;
	if (bpf_map_lookup_elem(fd, &ifindex, &old) == 0 &&
	    memcmp(&old, &value, sizeof(value)) == 0)
		return 0;
	return bpf_map_update_elem(fd, &ifindex, &value, BPF_ANY) ? -errno : 0;
}

static int write_links(int fd, const struct gs_reach_set *reach)
{
	int result = 0;

	for (uint32_t i = 0; result == 0 && i < reach->link_count; i++)
		result =
			write_link(fd, reach->links[i].ifindex, &reach->links[i], reach->is_silent);
	for (uint32_t i = 0; result == 0 && i < reach->port_count; i++) {
		const struct gs_link *port = &reach->ports[i];
		const struct gs_link *bond = find_link(reach->links, reach->link_count, port->bond);

		if (bond)
			result = write_link(fd, port->ifindex, bond, reach->is_silent);
	}
	return result;
}

/* ---- address markers ------------------------------------------------------------------------- */

static int compare_vips(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct gs_addr));
}

static bool is_address_marker(const struct gs_service_key *key)
{
	return key->marker && key->protocol == 0;
}

void gs_dataplane_links_mark(const struct gs_dataplane_state *state,
			     struct gs_dataplane_service_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		struct gs_dataplane_service *entry = &list->entries[i];

		if (!is_address_marker(&entry->key))
			continue;
		entry->value.flags = 0;
		if (bsearch(entry->key.addr, state->on_link, state->on_link_count,
			    sizeof(*state->on_link), compare_vips))
			entry->value.flags = GS_SERVICE_ON_LINK;
	}
}

void gs_dataplane_links_adopt(struct gs_dataplane_state *state,
			      const struct gs_dataplane_service_list *list)
{
	state->on_link_count = 0;
	for (uint32_t i = 0; i < list->count && state->on_link_count < GS_MAX_SERVICES; i++) {
		const struct gs_dataplane_service *entry = &list->entries[i];

		if (is_address_marker(&entry->key) && entry->value.flags & GS_SERVICE_ON_LINK)
			memcpy(&state->on_link[state->on_link_count++], entry->key.addr,
			       sizeof(*state->on_link));
	}
	qsort(state->on_link, state->on_link_count, sizeof(*state->on_link), compare_vips);
}

static int write_markers(const struct gs_dataplane_state *state, struct gs_error *error)
{
	GS_CLEANUP(gs_dataplane_services_done) struct gs_dataplane_service_list now = {0};
	int result = gs_dataplane_services_list(state, &now, error);
	int fd = state->maps.fd[GS_DATAPLANE_SERVICES];

	for (uint32_t i = 0; result == 0 && i < now.count; i++) {
		struct gs_dataplane_service_list one = {.entries = &now.entries[i], .count = 1};
		__u16 before = now.entries[i].value.flags;

		if (!is_address_marker(&now.entries[i].key))
			continue;
		gs_dataplane_links_mark(state, &one);
		if (now.entries[i].value.flags != before &&
		    bpf_map_update_elem(fd, &now.entries[i].key, &now.entries[i].value,
					BPF_EXIST) &&
		    errno != ENOENT)
			result = gs_dataplane_refuse(error, -errno, GS_DATAPLANE_SERVICES,
						     "marking an on-link address");
	}
	return result;
}

int gs_dataplane_links_set(struct gs_dataplane_state *state, const struct gs_reach_set *reach,
			   struct gs_error *error)
{
	int fd = state->maps.fd[GS_DATAPLANE_OWN_MACS];
	int result = remove_links(fd, reach);

	if (result == 0)
		result = write_links(fd, reach);
	if (result)
		return gs_dataplane_refuse(error, result, GS_DATAPLANE_OWN_MACS, "writing a link");
	state->on_link_count =
		reach->vip_count < GS_MAX_SERVICES ? reach->vip_count : GS_MAX_SERVICES;
	memcpy(state->on_link, reach->vips, state->on_link_count * sizeof(*state->on_link));
	qsort(state->on_link, state->on_link_count, sizeof(*state->on_link), compare_vips);
	return write_markers(state, error);
}
