/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attached program's twin: the same program once more, on the edge's own read-only maps and on
 * copies of those it writes. A packet put through it is decided as the attached one would decide it
 * now, and leaves no trace on the edge.
 *
 * Packets put through one twin follow each other: flows, NAT's slots, fragments and trials are the
 * edge's of when the twin was opened, and what earlier packets have left there. So a later fragment
 * finds its first, and a handshake's ACK its SYN. What is measured in time (limits, and the limit
 * of the edge's own answers) is the edge's anew for each packet: a capture's packets came one after
 * the other, and not all in this moment.
 */
#pragma once

#include "user/adapters/sampler.h"
#include "user/base/error.h"
#include "user/core/types.h"

#define GS_TWIN_BYTES_MAX 2048u
#define GS_TWIN_FRAME_MIN 14u
#define GS_TWIN_FRAME_MAX (GS_TWIN_BYTES_MAX - 128u)

struct gs_twin;

struct gs_twin_options {
	const char *pin_dir;   /* the edge's */
	const char *object;    /* the BPF object's file */
	const char *interface; /* packets come in by; NULL: the first that carries the program */
};

/* Where packets come in. ifindex 0: no interface of this network namespace carries the program;
 * then whether and by what they leave cannot be told, nor what the kernel's routes would say. */
struct gs_twin_interface {
	uint32_t ifindex;
	char name[16];
	uint32_t attached; /* how many interfaces here carry the program */
};

struct gs_twin_result {
	struct gs_sampled said;		  /* the program's own account; unix_us is 0 */
	bool is_redirected;		  /* leaves by another interface than it came in by */
	uint8_t bytes[GS_TWIN_BYTES_MAX]; /* what would be sent or passed up */
	uint32_t length;
};

/*
 * -ESTALE: the object is not the program that is attached; -ENODEV: the interface named does not
 * carry it; -EPERM without the right to load programs. *error says what is wrong.
 */
int gs_twin_open(const struct gs_twin_options *options, struct gs_twin **ret_twin,
		 struct gs_error *error);
/* NULL is fine. */
void gs_twin_close(struct gs_twin *twin);
/* As "c0ffee0123456789"; the kernel's tag of both programs. */
const char *gs_twin_tag(const struct gs_twin *twin);
const struct gs_twin_interface *gs_twin_interface(const struct gs_twin *twin);

/* frame: from the Ethernet header on; GS_TWIN_FRAME_MIN to GS_TWIN_FRAME_MAX bytes, else -EINVAL.
 */
int gs_twin_run(struct gs_twin *twin, const uint8_t *frame, uint32_t length,
		struct gs_twin_result *ret_result, struct gs_error *error);

/* ---- what the maps say of the packet that was last run (dataplane_twin_look.c) --------------- */

/* What they say of a backend. */
struct gs_twin_backend {
	const char *mode; /* "ipip", "gue", "l2", "nat"; "none" */
	gs_id service, region;
	uint32_t ifindex; /* 0: the one packets come in by */
	uint32_t mtu;	  /* of the way there; 0: not known */
	bool reflect;	  /* sent back to whoever sent it */
	bool is_asked;	  /* the kernel gave the next hop, for this packet */
};
int gs_twin_backend(const struct gs_twin *twin, gs_id backend, struct gs_twin_backend *ret_backend);

/* The backend that the flow has, if the packet was stopped on its way there; 0: it was not, or the
 * flow is not remembered. */
gs_id gs_twin_picked(const struct gs_twin *twin);

/* The flow of a packet that comes back from NAT: client -> VIP, sent from `port` to `backend`. */
struct gs_twin_reply {
	struct gs_addr client, vip;
	uint16_t client_port, vip_port; /* host byte order */
	uint16_t port;
	gs_id backend, service, region;
};
/* False: it is no such packet. */
bool gs_twin_reply(const struct gs_twin *twin, struct gs_twin_reply *ret_reply);

enum { GS_TWIN_LIMITS_MAX = 6 };
struct gs_twin_limit {
	const char *of;	  /* "client", "service", "region" */
	const char *kind; /* "packets", "flows" */
	uint32_t a_second;
	uint32_t used_percent; /* of it, on the edge, before the packet */
};
/* Those in the way of the packet, and of the region's (0: of none). How many, or -errno. */
int gs_twin_limits(const struct gs_twin *twin, gs_id region,
		   struct gs_twin_limit ret_limits[GS_TWIN_LIMITS_MAX]);

/* How long the controller has been away, and what becomes of the packet's service then. */
struct gs_twin_stale {
	uint32_t away_s;
	const char *then; /* "keep", "pass", "drop" */
	uint32_t after_s;
};
/* False: the packet is for no service. */
bool gs_twin_stale(const struct gs_twin *twin, struct gs_twin_stale *ret_stale);
