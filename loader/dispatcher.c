// SPDX-License-Identifier: Apache-2.0
#include "loader/dispatcher.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <xdp/libxdp.h>

static enum xdp_attach_mode libxdp_mode(enum gs_xdp_mode mode)
{
	switch (mode) {
	case GS_XDP_NATIVE:
		return XDP_MODE_NATIVE;
	case GS_XDP_GENERIC:
		return XDP_MODE_SKB;
	case GS_XDP_OFFLOAD:
		return XDP_MODE_HW;
	default:
		return XDP_MODE_UNSPEC;
	}
}

static void close_program(struct xdp_program **program)
{
	if (!libxdp_get_error(*program))
		xdp_program__close(*program);
}
#define AUTO_PROGRAM __attribute__((cleanup(close_program)))

static void close_multiprog(struct xdp_multiprog **multiprog)
{
	if (!libxdp_get_error(*multiprog))
		xdp_multiprog__close(*multiprog);
}
#define AUTO_MULTIPROG __attribute__((cleanup(close_multiprog)))

static int fail_libxdp(struct gs_loader_error *error, int code, const char *what)
{
	char text[256] = "";

	libxdp_strerror(code, text, sizeof(text));
	return gs_loader_fail(error, code, "%s: %s%s%s", what, text, *gs_loader_heard() ? ": " : "",
			      gs_loader_heard());
}

/* libxdp attaches a program alone where the dispatcher does not work, and calls that a success. */
static bool is_alone(uint32_t ifindex)
{
	AUTO_MULTIPROG struct xdp_multiprog *multiprog =
		xdp_multiprog__get_from_ifindex((int)ifindex);

	return libxdp_get_error(multiprog) || xdp_multiprog__is_legacy(multiprog);
}

int gs_dispatcher_attach(const struct gs_loader *loader, const struct gs_nic *nic,
			 enum gs_xdp_mode mode, struct gs_loader_error *error)
{
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = gs_loader_object(loader),
			    .prog_name = GS_LOADER_PROGRAM);
	AUTO_PROGRAM struct xdp_program *program = xdp_program__create(&opts);
	int ret = (int)libxdp_get_error(program);

	if (ret)
		return fail_libxdp(error, ret, "libxdp does not take the program");
	gs_loader_forget();
	ret = xdp_program__attach(program, (int)nic->ifindex, libxdp_mode(mode), 0);
	if (ret)
		return fail_libxdp(error, ret, "libxdp's dispatcher");
	if (!is_alone(nic->ifindex))
		return 0;
	ret = xdp_program__detach(program, (int)nic->ifindex, libxdp_mode(mode), 0);
	if (ret)
		return fail_libxdp(error, ret,
				   "libxdp attached the program alone instead of beside others, "
				   "and taking it off again failed");
	return gs_loader_fail(
		error, -EOPNOTSUPP,
		"this kernel refuses libxdp's dispatcher (freplace programs), so there "
		"is no --beside here; nothing is attached%s%s%s",
		*gs_loader_heard() ? " (" : "", gs_loader_heard(), *gs_loader_heard() ? ")" : "");
}

int gs_dispatcher_detach(const struct gs_nic *nic, uint32_t prog_id, struct gs_loader_error *error)
{
	AUTO_PROGRAM struct xdp_program *program = xdp_program__from_id(prog_id);
	int ret = (int)libxdp_get_error(program);

	if (ret)
		return fail_libxdp(error, ret, "libxdp does not know the program");
	gs_loader_forget();
	ret = xdp_program__detach(program, (int)nic->ifindex, libxdp_mode(nic->mode), 0);
	return ret ? fail_libxdp(error, ret, "cannot leave libxdp's dispatcher") : 0;
}

int gs_dispatcher_remove(const struct gs_nic *nic, struct gs_loader_error *error)
{
	AUTO_MULTIPROG struct xdp_multiprog *multiprog =
		xdp_multiprog__get_from_ifindex((int)nic->ifindex);
	int ret = (int)libxdp_get_error(multiprog);

	gs_loader_forget();
	if (!ret)
		ret = xdp_multiprog__detach(multiprog);
	return ret ? fail_libxdp(error, ret, "cannot remove libxdp's dispatcher") : 0;
}
