/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the packet path on an interface, exchanges it, takes it off. Modes are the caller's choice
 * and never changed; another's program is not touched unless the caller insists.
 *
 * Two kinds, which refuse each other (-EBUSY), so that switching is explicit:
 *	alone	a bpf_link pinned as link-INTERFACE, exchanged by one update of the link
 *	beside	a component of libxdp's dispatcher, with other programs before and behind
 */
#pragma once

#include "loader/error.h"
#include "loader/nic.h"

#include <stdbool.h>
#include <stdint.h>

struct gs_attach_request {
	const char *interface;
	const char *pin_dir;
	const char *object_path; /* NULL: the usual places */
	enum gs_xdp_mode mode;	 /* attach only */
	bool beside;		 /* attach only */
	bool force;		 /* attach only: take off what another put there */
	bool purge;		 /* detach only: maps and program go too */
	uint32_t flow_buckets;	 /* as in gs_loader_options */
	uint32_t nat_planes;	 /* the same */
};

/* What was done, for people. */
struct gs_attach_report {
	struct gs_nic before;
	struct gs_nic after;
	bool made_maps;	      /* attach, replace: none were pinned */
	bool was_attached;    /* detach */
	uint32_t purged_pins; /* detach */
};

/* gs_attach: the interface must be free, or force. All: 0 or -errno, *error names the cause. */
int gs_attach(const struct gs_attach_request *request, struct gs_attach_report *ret_report,
	      struct gs_loader_error *error);
/* A program of ours must be attached; same maps, same mode, same link, no packet without. */
int gs_replace(const struct gs_attach_request *request, struct gs_attach_report *ret_report,
	       struct gs_loader_error *error);
/*
 * Maps stay pinned, for the next attach, unless purge. purge is refused (-EBUSY) while another
 * interface forwards by the same maps, and may be all there is to do.
 */
int gs_detach(const struct gs_attach_request *request, struct gs_attach_report *ret_report,
	      struct gs_loader_error *error);

/*
 * The pieces, for other programs that are attached alone. A link lives by its pin: if this process
 * dies in between, the interface is as it was. 0 or -errno.
 */
int gs_attach_link(int prog_fd, const struct gs_nic *nic, enum gs_xdp_mode mode, const char *pin,
		   struct gs_loader_error *error);
/* One step: no packet without a program. */
int gs_attach_link_update(int prog_fd, const char *pin, struct gs_loader_error *error);
int gs_attach_link_off(const char *pin, struct gs_loader_error *error);
