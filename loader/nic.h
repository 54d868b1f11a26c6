/* SPDX-License-Identifier: Apache-2.0 */
/* Which XDP programs a network interface has, in which mode, and whose they are. */
#pragma once

#include "loader/error.h"
#include "loader/pins.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define GS_NIC_OTHERS_MAX 16 /* libxdp's dispatcher runs 10 */

enum gs_xdp_mode {
	GS_XDP_NONE, /* not named */
	GS_XDP_NATIVE,
	GS_XDP_GENERIC,
	GS_XDP_OFFLOAD,
	GS_XDP__COUNT,
};

enum gs_nic_holder {
	GS_NIC_FREE,		   /* no XDP program */
	GS_NIC_LINK,		   /* ours, alone, by a pinned bpf_link */
	GS_NIC_DISPATCHER,	   /* ours, among others, by libxdp's dispatcher */
	GS_NIC_FOREIGN,		   /* one program, not ours */
	GS_NIC_FOREIGN_DISPATCHER, /* libxdp's dispatcher, ours not among its programs */
	GS_NIC__COUNT,
};

struct gs_program_id {
	uint32_t id;
	char name[17]; /* as the kernel keeps it */
	char tag[17];  /* 16 hex digits */
};

struct gs_nic {
	char name[IF_NAMESIZE];
	uint32_t ifindex;
	enum gs_nic_holder holder;
	enum gs_xdp_mode mode; /* of what is attached */
	uint32_t attached_id;  /* program the driver calls: the dispatcher, if there is one */
	uint32_t link_id;      /* GS_NIC_LINK, else 0 */
	char link_pin[GS_PINS_PATH_MAX]; /* GS_NIC_LINK */
	struct gs_program_id program;	 /* ours (LINK, DISPATCHER), theirs (FOREIGN) */
	uint32_t other_count; /* in the dispatcher, besides ours, in the order they run */
	struct gs_program_id others[GS_NIC_OTHERS_MAX];
	/* DISPATCHER: more of ours, which forward too, of a replace that died half way */
	uint32_t leftover_count;
	struct gs_program_id leftovers[GS_NIC_OTHERS_MAX];
};

/* Words people type and read: "native", ...; "none" for GS_XDP_NONE. */
const char *gs_xdp_mode_name(enum gs_xdp_mode mode);
/* As `ip link set dev ... WORD off` has it. */
const char *gs_xdp_mode_ip(enum gs_xdp_mode mode);
/* -EINVAL: none of native, generic, offload. */
int gs_xdp_mode_parse(const char *word, enum gs_xdp_mode *ret_mode);
/* XDP_FLAGS_* of the mode. */
uint32_t gs_xdp_mode_flags(enum gs_xdp_mode mode);
/* "free", "link", "dispatcher", "foreign", "foreign dispatcher" */
const char *gs_nic_holder_name(enum gs_nic_holder holder);

/*
 * pins: by which ours are told from others'; NULL: none are ours. -ENODEV: no such interface in
 * this network namespace; -EPERM; another -errno.
 */
int gs_nic_look(const char *name, const struct gs_pins *pins, struct gs_nic *ret_nic,
		struct gs_loader_error *error);

/* id, name and tag of a loaded program. 0 or -errno. */
int gs_program_identify(uint32_t id, struct gs_program_id *ret_program);

/*
 * A pinned link is what its own information says, whatever its name: interfaces are renamed, go,
 * and come again. ifindex 0: its interface is gone.
 */
int gs_nic_read_link(const char *path, uint32_t *ret_link_id, uint32_t *ret_prog_id,
		     uint32_t *ret_ifindex);

/* Calls on every pinned link until one does not return 0; that is returned. */
int gs_nic_each_link(const struct gs_pins *pins,
		     int (*visit)(const char *path, const char *interface, void *context),
		     void *context);
