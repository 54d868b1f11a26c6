/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Probes through the data path: what bpf/gs_probe.bpf.c and the controller agree on. The program
 * reads `backends` and `hops` as the packet path does, and the mark of what a probing socket sends.
 * Rules as in gs_maps.h.
 */
#pragma once

#include "gs_maps.h"

#include <linux/types.h>

/* A mark is this plus the backend's id: a rule with this mask leads it to the device. */
#define GS_PROBE_MARK 0x47530000u
#define GS_PROBE_MARK_MASK 0xffffc000u
#define GS_PROBE_DEVICE "gs-probe"
#define GS_PROBE_TABLE 18259u	/* of routes; 0x4753 */
#define GS_PROBE_PRIORITY 4753u /* of the rule */
/* What IPv6 asks of every link: no probe is ever too large for the way on, whatever is around it.
 */
#define GS_PROBE_MTU 1280u

#define GS_PROBE_PROGRAM "gs_probe"
#define GS_PROBE_MAP_COUNT "probe_count"

/*
 * Every packet that leaves by the device counts one of them. X(name, verdict, text); `verdict` is
 * SEND, PASS (the device swallows it) or DROP.
 */
#define GS_WRAP_REASONS(X)                                                      \
	X(sent, SEND, "wrapped, and sent to the backend's next hop")            \
	X(pass_mark, PASS, "without a probe's mark")                            \
	X(drop_malformed, DROP, "neither a whole IPv4 nor a whole IPv6 packet") \
	X(drop_no_backend, DROP, "no backend has the mark's number")            \
	X(drop_mode, DROP, "the backend's mode is none of ipip, gue, l2")       \
	X(drop_no_hop, DROP, "the backend has no next hop that is known")       \
	X(drop_too_big, DROP, "too large for the way on")                       \
	X(drop_room, DROP, "the kernel gave no room for outer headers and tags")

#define GS_WRAP_ENUM(name, verdict, text) GS_WRAP_##name,
enum gs_wrap_reason { GS_WRAP_REASONS(GS_WRAP_ENUM) GS_WRAP__COUNT };
#undef GS_WRAP_ENUM

/* `probe_count`: one element a CPU; packets, in the order of the enum. */
#define GS_WRAP_MEMBER(name, verdict, text) __u64 name;
struct gs_wrap_counts {
	GS_WRAP_REASONS(GS_WRAP_MEMBER)
};
#undef GS_WRAP_MEMBER

_Static_assert(sizeof(struct gs_wrap_counts) == 8 * GS_WRAP__COUNT, "a counter for each reason");
_Static_assert((GS_PROBE_MARK & ~GS_PROBE_MARK_MASK) == 0, "ids are the mark's low bits");
_Static_assert(GS_MAX_BACKENDS - 1 <= (__u32)~GS_PROBE_MARK_MASK, "all ids are marks");
