/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend kit on an interface: the decapsulator coming in (XDP) and the MSS clamp going out (tc
 * at egress), one object, one folder of pins for each interface.
 *
 * The lists belong to the program: other lists are another program, which takes the old one's place
 * in one step, counters and link staying. So no packet meets half of a list, or none.
 */
#pragma once

#include "loader/error.h"
#include "loader/nic.h"
#include "maps/gs_decap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define GS_DECAP_OBJECT "gs_decap.bpf.o"
#define GS_DECAP_TEXT_MAX 64 /* of an address with its length */

enum gs_decap_mss {
	GS_DECAP_MSS_OFF,
	GS_DECAP_MSS_AUTO,  /* what fits the interface's MTU with the largest outer header */
	GS_DECAP_MSS_FIXED, /* mss_bytes, both families */
	GS_DECAP_MSS__COUNT,
};

struct gs_decap_lists {
	uint32_t edge_count, vip_count;
	struct gs_decap_edge_key edges[GS_DECAP_MAX_EDGES];
	struct gs_decap_vip_key vips[GS_DECAP_MAX_VIPS];
};

struct gs_decap_request {
	const char *interface;
	const char *pin_dir;	 /* holds the interfaces' folders */
	const char *object_path; /* NULL: the usual places */
	enum gs_xdp_mode mode;	 /* NONE: the one it is attached in */
	enum gs_decap_mss mss;
	uint16_t mss_bytes; /* FIXED */
	struct gs_decap_lists lists;
};

/* What an interface has. */
struct gs_decap_status {
	struct gs_nic nic;
	bool is_attached;	 /* nic.holder is GS_NIC_LINK, by the folder's link */
	bool has_egress;	 /* the filter at egress is there, and ours */
	uint32_t foreign_egress; /* another's program in its place; 0: none */
	struct gs_decap_conf conf;
	struct gs_decap_lists lists;
	uint64_t counts[GS_DECAP__COUNT];
};

/* What was done. */
struct gs_decap_report {
	bool was_attached; /* attach: the program was exchanged; detach: there was one */
	struct gs_decap_status after;
};

/* "192.0.2.0/24", "2001:db8::/32", an address alone; bits beyond the length are refused. */
int gs_decap_parse_edge(const char *text, struct gs_decap_edge_key *ret_key);
int gs_decap_parse_vip(const char *text, struct gs_decap_vip_key *ret_key);
const char *gs_decap_format_edge(const struct gs_decap_edge_key *key, char text[GS_DECAP_TEXT_MAX]);
const char *gs_decap_format_vip(const struct gs_decap_vip_key *key, char text[GS_DECAP_TEXT_MAX]);
/* Would packets from this whole prefix be believed? */
bool gs_decap_covers(const struct gs_decap_lists *lists, const struct gs_decap_edge_key *edge);
bool gs_decap_has_vip(const struct gs_decap_lists *lists, const struct gs_decap_vip_key *vip);
/* "pass_other", and what it means. */
const char *gs_decap_reason_name(uint32_t reason);
const char *gs_decap_reason_text(uint32_t reason);

/*
 * Largest MSS of a packet that fits `mtu` in any tunnel from these edges: 40 bytes of outer header
 * if one of them is IPv6, else 20, and 8 for GUE. family: of the packet inside. 0: none does.
 */
uint16_t gs_decap_mss_of(uint32_t mtu, const struct gs_decap_lists *lists, int family);

/*
 * 0; -EBUSY: another's program or filter, or ours in another mode; -EINVAL: no edge, no VIP, or no
 * mode for a new one; another -errno. On failure what was attached is so still.
 */
int gs_decap_attach(const struct gs_decap_request *request, struct gs_decap_report *ret_report,
		    struct gs_loader_error *error);
/* Off come program, filter, the qdisc if it was made for it and serves nobody else, and the pins.
 * -ENOENT: nothing of ours is there. */
int gs_decap_detach(const struct gs_decap_request *request, struct gs_decap_report *ret_report,
		    struct gs_loader_error *error);
/* What is not there is no error. -ENODEV: no such interface; another -errno. */
int gs_decap_read(const char *interface, const char *pin_dir, struct gs_decap_status *ret_status,
		  struct gs_loader_error *error);
/* Calls for every interface that has a folder, by name, until one does not return 0. */
int gs_decap_each(const char *pin_dir, int (*visit)(const char *interface, void *context),
		  void *context);

/* ---- for people and programs (decap_report.c) ------------------------------------------------*/

void gs_decap_print(const struct gs_decap_status *status, FILE *out);
/* A JSON object without newline. -ENOMEM. */
int gs_decap_print_json(const struct gs_decap_status *status, FILE *out);
