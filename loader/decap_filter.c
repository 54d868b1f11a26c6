// SPDX-License-Identifier: Apache-2.0
#include "loader/decap_filter.h"

#include "loader/netlink.h"
#include "user/base/cleanup.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Where ours is: early, so that nobody before it ends the chain, and by a number nobody guesses. */
#define PRIORITY 10u
#define HANDLE 0x6773u

#define HOOK(name, number)                                               \
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, name, .ifindex = (int)(number), \
			    .attach_point = BPF_TC_EGRESS)

int gs_decap_filter_mtu(const char *interface, uint32_t *ret_mtu)
{
	GS_AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request))
		return -errno;
	*ret_mtu = (uint32_t)request.ifr_mtu;
	return 0;
}

int gs_decap_filter_find(uint32_t ifindex, uint32_t *ret_prog_id)
{
	HOOK(hook, ifindex);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = PRIORITY);
	int ret = bpf_tc_query(&hook, &opts);

	/* without a qdisc there: EINVAL */
	if (ret && ret != -ENOENT && ret != -EINVAL)
		return ret;
	*ret_prog_id = ret ? 0 : opts.prog_id;
	return 0;
}

int gs_decap_filter_put(uint32_t ifindex, int prog_fd, bool replace, bool *ret_made,
			struct gs_loader_error *error)
{
	HOOK(hook, ifindex);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = PRIORITY,
			    .prog_fd = prog_fd, .flags = replace ? BPF_TC_F_REPLACE : 0);
	int ret = bpf_tc_hook_create(&hook);

	if (ret && ret != -EEXIST)
		return gs_loader_fail(error, ret, "cannot make its clsact qdisc: %s%s%s",
				      strerror(-ret), *gs_loader_heard() ? ": " : "",
				      gs_loader_heard());
	*ret_made = !ret;
	ret = bpf_tc_attach(&hook, &opts);
	return ret ? gs_loader_fail(error, ret, "cannot attach at egress: %s", strerror(-ret)) : 0;
}

int gs_decap_filter_take(uint32_t ifindex, struct gs_loader_error *error)
{
	HOOK(hook, ifindex);
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, opts, .handle = HANDLE, .priority = PRIORITY);
	int ret = bpf_tc_detach(&hook, &opts);

	if (ret && ret != -ENOENT && ret != -EINVAL)
		return gs_loader_fail(error, ret, "cannot detach at egress: %s", strerror(-ret));
	return 0;
}

int gs_decap_filter_end(uint32_t ifindex)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	bool is_used = true;
	int ret = gs_netlink_has_filters(ifindex, &is_used);

	return ret || is_used ? ret : bpf_tc_hook_destroy(&hook);
}
