// SPDX-License-Identifier: Apache-2.0
#include "loader/foreign.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#define LINKS_MAX 8 /* more are counted, not named */

/*
 * Links that may be the one on this interface. A link tells its interface's number and its program,
 * but no network namespace, and numbers repeat there: lo is 1 in each of them.
 */
static uint32_t find_links(const struct gs_nic *nic, uint32_t ret_ids[LINKS_MAX])
{
	uint32_t id = 0, count = 0;

	while (!bpf_link_get_next_id(id, &id)) {
		struct bpf_link_info info = {0};
		uint32_t size = sizeof(info);
		GS_AUTO_CLOSE int fd = bpf_link_get_fd_by_id(id);

		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) ||
		    info.type != BPF_LINK_TYPE_XDP || info.xdp.ifindex != nic->ifindex ||
		    info.prog_id != nic->attached_id)
			continue;
		if (count < LINKS_MAX)
			ret_ids[count] = id;
		count++;
	}
	return count;
}

static int refuse_to_guess(const struct gs_nic *nic, const uint32_t *ids, uint32_t count,
			   struct gs_loader_error *error)
{
	char list[LINKS_MAX * 16] = "";
	size_t length = 0;

	for (uint32_t i = 0; i < count && i < LINKS_MAX; i++)
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%u",
					   i ? " and " : "", ids[i]);
	return gs_loader_fail(
		error, -EBUSY,
		"cannot remove '%s' (id %u): %u bpf_links hold it on an interface number %u, in "
		"different network namespaces, and the kernel does not tell which is here: links "
		"%s%s; nothing was changed. Detach the right one ('bpftool -f link' shows pins and "
		"processes, 'bpftool link detach id N'), then attach",
		nic->program.name, nic->program.id, count, nic->ifindex, list,
		count > LINKS_MAX ? " and more" : "");
}

/* Not known is as good as no: nothing is done then. */
static bool still_has_it(const struct gs_nic *nic)
{
	struct gs_loader_error ignored;
	struct gs_nic now;

	return !gs_nic_look(nic->name, NULL, &now, &ignored) && now.ifindex == nic->ifindex &&
	       now.attached_id == nic->attached_id;
}

/* The kernel has said that a link holds the program here; with one candidate, it is that one. */
static int remove_by_link(const struct gs_nic *nic, struct gs_loader_error *error)
{
	uint32_t ids[LINKS_MAX] = {0};
	uint32_t count = find_links(nic, ids);
	GS_AUTO_CLOSE int fd = -1;
	int ret;

	if (count > 1)
		return refuse_to_guess(nic, ids, count, error);
	if (!count)
		return gs_loader_fail(
			error, -EBUSY,
			"cannot remove '%s' (id %u): a bpf_link holds it, which is not "
			"to be seen (that needs CAP_SYS_ADMIN); nothing was changed",
			nic->program.name, nic->program.id);
	fd = bpf_link_get_fd_by_id(ids[0]);
	/* a link whose program was exchanged since would not have been found, another's would */
	if (fd >= 0 && !still_has_it(nic))
		return gs_loader_fail(error, -EEXIST,
				      "its XDP program '%s' (id %u) was exchanged at this very "
				      "moment; nothing was changed",
				      nic->program.name, nic->program.id);
	if (fd < 0 || bpf_link_detach(fd)) {
		ret = -errno;
		return gs_loader_fail(error, ret, "cannot remove '%s' (id %u), held by link %u: %s",
				      nic->program.name, nic->program.id, ids[0], strerror(-ret));
	}
	if (!still_has_it(nic))
		return 0;
	return gs_loader_fail(
		error, -EXDEV,
		"link %u of program '%s' (id %u) was detached, and this interface "
		"still has the program: AN INTERFACE NUMBER %u OF ANOTHER NETWORK "
		"NAMESPACE HAS LOST IT. It cannot be put back from here: its owner has "
		"to attach it again",
		ids[0], nic->program.name, nic->program.id, nic->ifindex);
}

int gs_foreign_remove(const struct gs_nic *nic, int program_fd, struct gs_loader_error *error)
{
	/* only what we looked at: somebody may have exchanged it since */
	LIBBPF_OPTS(bpf_xdp_attach_opts, opts, .old_prog_fd = program_fd);
	int ret = bpf_xdp_detach((int)nic->ifindex,
				 gs_xdp_mode_flags(nic->mode) | XDP_FLAGS_REPLACE, &opts);

	/* without a link that was all; with one the kernel refuses, which tells the two apart */
	if (ret == -EBUSY)
		return remove_by_link(nic, error);
	return ret ? gs_loader_fail(error, ret, "cannot remove '%s' (id %u): %s", nic->program.name,
				    nic->program.id, strerror(-ret))
		   : 0;
}
