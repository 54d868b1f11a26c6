// SPDX-License-Identifier: Apache-2.0
#include "loader/attach.h"

#include "loader/bond.h"
#include "loader/dispatcher.h"
#include "loader/foreign.h"
#include "loader/loader.h"
#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <string.h>

/* "replaced N 'name'" and the like, for messages. */
static const char *say_program(const struct gs_program_id *program, char text[64])
{
	snprintf(text, 64, "'%s' (id %u, tag %s)", program->name, program->id, program->tag);
	return text;
}

/* ---- may we? ---------------------------------------------------------------------------------*/

static int refuse_ours(const struct gs_nic *nic, const struct gs_attach_request *request,
		       struct gs_loader_error *error)
{
	bool is_beside = nic->holder == GS_NIC_DISPATCHER;

	if (is_beside == request->beside)
		return gs_loader_fail(
			error, -EBUSY,
			"already attached, %s, mode %s: 'geostream-loader replace %s' "
			"exchanges the program",
			is_beside ? "beside others" : "alone", gs_xdp_mode_name(nic->mode),
			nic->name);
	return gs_loader_fail(error, -EBUSY,
			      "already attached %s; to attach it %s, 'geostream-loader detach %s' "
			      "first",
			      is_beside ? "beside others (libxdp's dispatcher)"
					: "alone (bpf_link)",
			      is_beside ? "alone" : "beside others", nic->name);
}

static int refuse_foreign(const struct gs_nic *nic, const struct gs_attach_request *request,
			  struct gs_loader_error *error)
{
	char text[64];

	if (nic->holder == GS_NIC_FOREIGN_DISPATCHER)
		return gs_loader_fail(error, -EBUSY,
				      "libxdp's dispatcher runs %u other program%s there (%s): "
				      "untouched. --beside joins, --force removes them",
				      nic->other_count, nic->other_count == 1 ? "" : "s",
				      nic->other_count ? say_program(&nic->others[0], text) : "?");
	if (request->beside)
		return gs_loader_fail(error, -EBUSY,
				      "it has another XDP program, %s, mode %s, attached alone: "
				      "untouched. Only programs attached through libxdp can have "
				      "others beside them",
				      say_program(&nic->program, text),
				      gs_xdp_mode_name(nic->mode));
	return gs_loader_fail(
		error, -EBUSY,
		"it has another XDP program, %s, mode %s: untouched. --force replaces "
		"it",
		say_program(&nic->program, text), gs_xdp_mode_name(nic->mode));
}

static int check_holder(const struct gs_nic *nic, const struct gs_attach_request *request,
			struct gs_loader_error *error)
{
	switch (nic->holder) {
	case GS_NIC_LINK:
	case GS_NIC_DISPATCHER:
		return refuse_ours(nic, request, error);
	case GS_NIC_FOREIGN_DISPATCHER:
		if (request->beside && nic->mode != request->mode)
			return gs_loader_fail(
				error, -EBUSY, "libxdp's dispatcher runs there in mode %s, not %s",
				gs_xdp_mode_name(nic->mode), gs_xdp_mode_name(request->mode));
		return request->beside || request->force ? 0 : refuse_foreign(nic, request, error);
	case GS_NIC_FOREIGN:
		return request->force ? 0 : refuse_foreign(nic, request, error);
	default:
		return 0;
	}
}

/* Packets come by all ports of a bond, and what is sent goes by the one the bond chooses. */
static int check_port(const struct gs_nic *nic, struct gs_loader_error *error)
{
	struct gs_bond bond;

	if (gs_bond_read(nic->name, &bond) || !bond.master[0])
		return 0;
	return gs_loader_fail(error, -EINVAL,
			      "it is a port of bond %s: attach to %s, and the program runs on all "
			      "its ports",
			      bond.master, bond.master);
}

/*
 * The pin link-NAME may be taken: by a link whose interface is gone (its pin is removed), or by one
 * of that name in another network namespace (-EBUSY).
 */
static int free_link_pin(const struct gs_pins *pins, const struct gs_nic *nic,
			 struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];
	uint32_t link_id, prog_id, ifindex;
	int ret;

	gs_pins_path(pins, GS_PIN_LINK_PREFIX, nic->name, path);
	ret = gs_nic_read_link(path, &link_id, &prog_id, &ifindex);
	if (ret == -ENOENT)
		return 0;
	if (ret)
		return gs_loader_fail(error, ret, "%s: %s", path, strerror(-ret));
	if (ifindex)
		return gs_loader_fail(error, -EBUSY,
				      "%s belongs to interface number %u of another network "
				      "namespace (or to one renamed): use another --pin-dir",
				      path, ifindex);
	if (unlink(path)) {
		ret = -errno;
		return gs_loader_fail(error, ret, "%s: %s", path, strerror(-ret));
	}
	return 0;
}

/* ---- alone: bpf_link -------------------------------------------------------------------------*/

static int fail_unsupported(struct gs_loader_error *error, int code, const struct gs_nic *nic,
			    enum gs_xdp_mode mode)
{
	char why[GS_BOND_TEXT_MAX] = "";
	struct gs_bond bond;

	if (mode == GS_XDP_NATIVE && !gs_bond_read(nic->name, &bond))
		gs_bond_explain(&bond, why);
	if (why[0])
		return gs_loader_fail(error, code,
				      "%s (--mode generic works on any, and is slower)", why);
	return gs_loader_fail(error, code,
			      "its driver has no %s XDP; another --mode has to be chosen by you "
			      "(generic works on any interface, and is slower)",
			      gs_xdp_mode_name(mode));
}

static int fail_link(struct gs_loader_error *error, int code, const struct gs_nic *nic,
		     enum gs_xdp_mode mode)
{
	switch (code) {
	case -EOPNOTSUPP:
		return fail_unsupported(error, code, nic, mode);
	case -EBUSY:
	case -EEXIST:
		return gs_loader_fail(error, -EBUSY,
				      "another XDP program was attached at this very moment");
	case -ERANGE:
	case -EINVAL:
		return gs_loader_fail(
			error, code,
			"its driver refuses mode %s: %s (an MTU too large for XDP, or "
			"LRO, are the usual causes)",
			gs_xdp_mode_name(mode), strerror(-code));
	default:
		return gs_loader_fail(error, code, "cannot attach in mode %s: %s",
				      gs_xdp_mode_name(mode), strerror(-code));
	}
}

int gs_attach_link(int prog_fd, const struct gs_nic *nic, enum gs_xdp_mode mode, const char *pin,
		   struct gs_loader_error *error)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = gs_xdp_mode_flags(mode));
	GS_AUTO_CLOSE int fd = -1;
	int ret;

	fd = bpf_link_create(prog_fd, (int)nic->ifindex, BPF_XDP, &opts);
	if (fd < 0)
		return fail_link(error, -errno, nic, mode);
	if (!bpf_obj_pin(fd, pin))
		return 0;
	ret = -errno;
	return gs_loader_fail(error, ret, "cannot pin %s: %s", pin, strerror(-ret));
}

static int attach_link(const struct gs_loader *loader, const struct gs_pins *pins,
		       const struct gs_nic *nic, enum gs_xdp_mode mode,
		       struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];

	gs_pins_path(pins, GS_PIN_LINK_PREFIX, nic->name, path);
	return gs_attach_link(gs_loader_prog_fd(loader), nic, mode, path, error);
}

int gs_attach_link_off(const char *pin, struct gs_loader_error *error)
{
	GS_AUTO_CLOSE int fd = bpf_obj_get(pin);
	int ret;

	/* detach now: dropping the last reference lets the kernel take its time */
	if (fd >= 0 && bpf_link_detach(fd) && errno != ENOLINK) {
		ret = -errno;
		return gs_loader_fail(error, ret, "cannot detach the link: %s", strerror(-ret));
	}
	if (unlink(pin) && errno != ENOENT) {
		ret = -errno;
		return gs_loader_fail(error, ret, "%s: %s", pin, strerror(-ret));
	}
	return 0;
}

/* ---- another's program, with --force ---------------------------------------------------------*/

static int attach_over(const struct gs_loader *loader, const struct gs_pins *pins,
		       const struct gs_nic *nic, enum gs_xdp_mode mode,
		       struct gs_loader_error *error)
{
	GS_AUTO_CLOSE int theirs = bpf_prog_get_fd_by_id(nic->attached_id);
	const char *fate = "it is attached again";
	struct gs_loader_error cause;
	int ret;

	if (theirs < 0) {
		ret = -errno;
		return gs_loader_fail(error, ret, "cannot open XDP program %u: %s",
				      nic->attached_id, strerror(-ret));
	}
	ret = gs_foreign_remove(nic, theirs, error);
	if (ret)
		return ret;
	ret = attach_link(loader, pins, nic, mode, &cause);
	if (!ret)
		return 0;
	if (bpf_xdp_attach((int)nic->ifindex, theirs,
			   gs_xdp_mode_flags(nic->mode) | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL))
		fate = "IT COULD NOT BE ATTACHED AGAIN";
	return gs_loader_fail(error, ret, "%.400s; '%s' (id %u) had been removed for that: %s",
			      cause.text, nic->program.name, nic->program.id, fate);
}

static int attach_over_dispatcher(const struct gs_loader *loader, const struct gs_pins *pins,
				  const struct gs_nic *nic, enum gs_xdp_mode mode,
				  struct gs_loader_error *error)
{
	struct gs_loader_error cause;
	int ret = gs_dispatcher_remove(nic, error);

	if (ret)
		return ret;
	ret = attach_link(loader, pins, nic, mode, &cause);
	return ret ? gs_loader_fail(error, ret,
				    "%.400s; libxdp's dispatcher and its programs had been removed "
				    "for that and ARE NOT ATTACHED ANY MORE",
				    cause.text)
		   : 0;
}

/* ---- attach ----------------------------------------------------------------------------------*/

static int attach_beside(const struct gs_loader_options *options, const struct gs_nic *nic,
			 enum gs_xdp_mode mode, struct gs_loader_error *error)
{
	GS_AUTO_LOADER struct gs_loader *component = NULL;
	int ret = gs_loader_open_unloaded(options, &component, error);

	return ret ? ret : gs_dispatcher_attach(component, nic, mode, error);
}

static int attach_alone(const struct gs_loader *loader, const struct gs_pins *pins,
			const struct gs_nic *nic, enum gs_xdp_mode mode,
			struct gs_loader_error *error)
{
	int ret = free_link_pin(pins, nic, error);

	if (ret)
		return ret;
	if (nic->holder == GS_NIC_FOREIGN)
		return attach_over(loader, pins, nic, mode, error);
	if (nic->holder == GS_NIC_FOREIGN_DISPATCHER)
		return attach_over_dispatcher(loader, pins, nic, mode, error);
	return attach_link(loader, pins, nic, mode, error);
}

static int fail_offload(struct gs_loader_error *error, int code)
{
	struct gs_loader_error cause = *error;

	return gs_loader_fail(error, code,
			      "mode offload: the card does not take the program: %.500s",
			      cause.text);
}

/* Makes maps if need be, and takes them away again if that was all that worked. */
static int load_and_attach(const struct gs_attach_request *request, const struct gs_pins *pins,
			   const struct gs_nic *nic, bool *ret_made_maps,
			   struct gs_loader_error *error)
{
	GS_AUTO_LOADER struct gs_loader *loader = NULL;
	const struct gs_loader_options options = {
		.object_path = request->object_path,
		.pins = pins,
		.flow_buckets = request->flow_buckets,
		.nat_planes = request->nat_planes,
		.offload_ifindex = request->mode == GS_XDP_OFFLOAD ? nic->ifindex : 0,
	};
	int ret = gs_loader_open(&options, &loader, error);

	if (ret)
		return request->mode == GS_XDP_OFFLOAD ? fail_offload(error, ret) : ret;
	ret = gs_loader_pin_begin(loader, error);
	if (!ret)
		ret = request->beside ? attach_beside(&options, nic, request->mode, error)
				      : attach_alone(loader, pins, nic, request->mode, error);
	if (ret) {
		gs_loader_pin_abandon(loader);
		if (gs_loader_made_maps(loader))
			gs_pins_clear(pins, NULL, NULL);
		return ret;
	}
	*ret_made_maps = gs_loader_made_maps(loader);
	return gs_loader_pin_commit(loader, error);
}

int gs_attach(const struct gs_attach_request *request, struct gs_attach_report *ret_report,
	      struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	struct gs_attach_report report = {0};
	int ret;

	/* before anything is made: a misspelt name leaves no folder behind */
	ret = gs_nic_look(request->interface, NULL, &report.before, error);
	if (!ret)
		ret = check_port(&report.before, error);
	if (ret)
		return ret;
	ret = gs_pins_open(request->pin_dir, true, &pins, error);
	if (ret)
		return ret;
	ret = gs_nic_look(request->interface, &pins, &report.before, error);
	if (ret)
		return ret;
	ret = check_holder(&report.before, request, error);
	if (ret)
		return ret;
	ret = load_and_attach(request, &pins, &report.before, &report.made_maps, error);
	if (ret)
		return ret;
	ret = gs_nic_look(request->interface, &pins, &report.after, error);
	if (ret)
		return ret;
	*ret_report = report;
	return 0;
}

/* ---- replace ---------------------------------------------------------------------------------*/

int gs_attach_link_update(int prog_fd, const char *pin, struct gs_loader_error *error)
{
	GS_AUTO_CLOSE int fd = bpf_obj_get(pin);
	int ret;

	if (fd < 0 || bpf_link_update(fd, prog_fd, NULL)) {
		ret = -errno;
		return gs_loader_fail(error, ret, "%s: cannot exchange the program: %s", pin,
				      strerror(-ret));
	}
	return 0;
}

static int detach_leftovers(const struct gs_nic *nic, struct gs_loader_error *error)
{
	for (uint32_t i = 0; i < nic->leftover_count; i++) {
		int ret = gs_dispatcher_detach(nic, nic->leftovers[i].id, error);

		if (ret)
			return ret;
	}
	return 0;
}

/*
 * New in, then old out: for a moment both run, which is harmless, as the first one's verdict on a
 * service's packet ends the chain. Whoever dies in that moment leaves both: leftovers go first, as
 * the dispatcher has ten places, and might have none for the new one.
 */
static int exchange_component(const struct gs_loader_options *options, const struct gs_nic *nic,
			      struct gs_loader_error *error)
{
	int ret = detach_leftovers(nic, error);

	if (!ret)
		ret = attach_beside(options, nic, nic->mode, error);
	return ret ? ret : gs_dispatcher_detach(nic, nic->program.id, error);
}

static int load_and_replace(const struct gs_attach_request *request, const struct gs_pins *pins,
			    const struct gs_nic *nic, struct gs_loader_error *error)
{
	GS_AUTO_LOADER struct gs_loader *loader = NULL;
	const struct gs_loader_options options = {
		.object_path = request->object_path,
		.pins = pins,
		.flow_buckets = request->flow_buckets,
		.nat_planes = request->nat_planes,
		.offload_ifindex = nic->mode == GS_XDP_OFFLOAD ? nic->ifindex : 0,
	};
	int ret = gs_loader_check_version(pins, error);

	if (!ret)
		ret = gs_loader_open(&options, &loader, error);
	if (ret)
		return ret;
	ret = gs_loader_pin_begin(loader, error);
	if (!ret)
		ret = nic->holder == GS_NIC_LINK ? gs_attach_link_update(gs_loader_prog_fd(loader),
									 nic->link_pin, error)
						 : exchange_component(&options, nic, error);
	if (ret) {
		gs_loader_pin_abandon(loader);
		return ret;
	}
	return gs_loader_pin_commit(loader, error);
}

static int fail_not_ours(const struct gs_nic *nic, struct gs_loader_error *error)
{
	char text[64];

	if (nic->holder == GS_NIC_FREE)
		return gs_loader_fail(error, -ENOENT, "not attached: it has no XDP program");
	if (nic->holder == GS_NIC_FOREIGN)
		return gs_loader_fail(error, -ENOENT,
				      "not attached: its XDP program is another's, %s; untouched",
				      say_program(&nic->program, text));
	return gs_loader_fail(error, -ENOENT,
			      "not attached: libxdp's dispatcher there runs others' programs only; "
			      "untouched");
}

static bool is_ours(const struct gs_nic *nic)
{
	return nic->holder == GS_NIC_LINK || nic->holder == GS_NIC_DISPATCHER;
}

int gs_replace(const struct gs_attach_request *request, struct gs_attach_report *ret_report,
	       struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	struct gs_attach_report report = {0};
	int ret;

	ret = gs_nic_look(request->interface, NULL, &report.before, error);
	if (ret)
		return ret;
	ret = gs_pins_open(request->pin_dir, false, &pins, error);
	if (ret == -ENOENT)
		return fail_not_ours(&report.before, error);
	if (ret)
		return ret;
	ret = gs_nic_look(request->interface, &pins, &report.before, error);
	if (ret)
		return ret;
	if (!is_ours(&report.before))
		return fail_not_ours(&report.before, error);
	ret = load_and_replace(request, &pins, &report.before, error);
	if (ret)
		return ret;
	ret = gs_nic_look(request->interface, &pins, &report.after, error);
	if (ret)
		return ret;
	*ret_report = report;
	return 0;
}

/* ---- detach ----------------------------------------------------------------------------------*/

/* The interface may be gone, and its pin still there. */
static int take_off(const struct gs_pins *pins, const char *interface,
		    struct gs_attach_report *report, struct gs_loader_error *error)
{
	const struct gs_nic *nic = &report->before;
	char path[GS_PINS_PATH_MAX];
	uint32_t link_id, prog_id, ifindex;
	int ret;

	if (nic->ifindex && nic->holder == GS_NIC_LINK) {
		report->was_attached = true;
		return gs_attach_link_off(nic->link_pin, error);
	}
	if (nic->ifindex && nic->holder == GS_NIC_DISPATCHER) {
		report->was_attached = true;
		ret = detach_leftovers(nic, error);
		return ret ? ret : gs_dispatcher_detach(nic, nic->program.id, error);
	}
	gs_pins_path(pins, GS_PIN_LINK_PREFIX, interface, path);
	if (gs_nic_read_link(path, &link_id, &prog_id, &ifindex) || ifindex)
		return 0;
	report->was_attached = true;
	return gs_attach_link_off(path, error);
}

/* Another interface that forwards by these maps. */
struct other_user {
	const struct gs_nic *nic; /* not this one */
	char interface[IF_NAMESIZE];
};

/* A link whose interface is gone forwards nothing: swept away. */
static int find_live_link(const char *path, const char *interface, void *context)
{
	struct other_user *other = context;
	uint32_t link_id, prog_id, ifindex;

	if (!strcmp(path, other->nic->link_pin))
		return 0;
	if (!gs_nic_read_link(path, &link_id, &prog_id, &ifindex) && !ifindex) {
		unlink(path);
		return 0;
	}
	snprintf(other->interface, sizeof(other->interface), "%s", interface);
	return 1;
}

/* libxdp's dispatchers leave no pin here; those of this network namespace can be seen. */
static bool find_live_component(const struct gs_pins *pins, struct other_user *other)
{
	struct if_nameindex *all = if_nameindex();
	bool is_found = false;

	for (struct if_nameindex *one = all; one && one->if_index && !is_found; one++) {
		struct gs_nic nic;

		if (one->if_index == other->nic->ifindex ||
		    gs_nic_look(one->if_name, pins, &nic, NULL) || nic.holder != GS_NIC_DISPATCHER)
			continue;
		snprintf(other->interface, sizeof(other->interface), "%s", nic.name);
		is_found = true;
	}
	if (all)
		if_freenameindex(all);
	return is_found;
}

static int check_purge(const struct gs_pins *pins, const struct gs_nic *nic,
		       struct gs_loader_error *error)
{
	struct other_user other = {.nic = nic};

	if (gs_nic_each_link(pins, find_live_link, &other) != 1 &&
	    !find_live_component(pins, &other))
		return 0;
	return gs_loader_fail(
		error, -EBUSY,
		"--purge: interface %s forwards by the maps in %s: nothing was changed; "
		"detach it first",
		other.interface, pins->dir);
}

/* Nothing may forward by maps that nobody can reach any more. */
static int purge(const struct gs_pins *pins, struct gs_attach_report *report,
		 struct gs_loader_error *error)
{
	struct gs_nic now;
	int ret;

	if (report->before.ifindex) {
		ret = gs_nic_look(report->before.name, pins, &now, error);
		if (ret && ret != -ENODEV)
			return ret;
		if (!ret && is_ours(&now))
			return gs_loader_fail(error, -EBUSY,
					      "program %u of ours is still attached: maps stay in "
					      "%s; detach again",
					      now.program.id, pins->dir);
	}
	return gs_pins_purge(pins, &report->purged_pins, error);
}

static int nothing_to_detach(const struct gs_attach_request *request, const struct gs_nic *nic,
			     struct gs_loader_error *error)
{
	if (!nic->ifindex)
		return gs_loader_fail(error, -ENODEV,
				      "no such interface in this network namespace, and nothing "
				      "pinned for one in %s",
				      request->pin_dir);
	return fail_not_ours(nic, error);
}

int gs_detach(const struct gs_attach_request *request, struct gs_attach_report *ret_report,
	      struct gs_loader_error *error)
{
	GS_AUTO_PINS struct gs_pins pins = GS_PINS_NONE;
	struct gs_attach_report report = {0};
	int ret;

	gs_nic_look(request->interface, NULL, &report.before, NULL);
	ret = gs_pins_open(request->pin_dir, false, &pins, error);
	if (ret == -ENOENT)
		return nothing_to_detach(request, &report.before, error);
	if (ret)
		return ret;
	ret = gs_nic_look(request->interface, &pins, &report.before, error);
	if (ret && ret != -ENODEV)
		return ret;
	if (request->purge) {
		ret = check_purge(&pins, &report.before, error);
		if (ret)
			return ret;
	}
	gs_pins_abandon_prog(&pins);
	ret = take_off(&pins, request->interface, &report, error);
	if (!ret && request->purge)
		ret = purge(&pins, &report, error);
	if (ret)
		return ret;
	if (!report.was_attached && !report.purged_pins)
		return nothing_to_detach(request, &report.before, error);
	*ret_report = report;
	return 0;
}
