/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detour's own parts, for detour.c, neighbour_detour.c and dataplane_detour.c only: what leads
 * a probe's packets to a device of ours, and what wraps them there.
 */
#pragma once

#include "user/ports.h"

/* ---- neighbour_detour.c: the device's attributes, rules and routes --------------------------- */

struct gs_detour_routes;

/* 0 or -errno. */
int gs_detour_routes_open(struct gs_detour_routes **ret_routes);
/* NULL is fine. What was added stays, unless it is of the device. */
void gs_detour_routes_close(struct gs_detour_routes *routes);

/* `mark` and `mask` lead to `table`, and there everything to the device; nothing without it. */
struct gs_detour_plan {
	uint32_t ifindex;
	uint32_t mtu;
	uint32_t mark, mask;
	uint32_t table, priority;
};

/* No ARP, no address of its own accord, packets of one segment; then up. 0 or -errno. */
int gs_detour_device_up(struct gs_detour_routes *routes, const struct gs_detour_plan *plan);
/* Of one family; what is there is taken over. 0 or -errno: the machine has not got that family. */
int gs_detour_routes_add(struct gs_detour_routes *routes, const struct gs_detour_plan *plan,
			 bool is_v4);
void gs_detour_routes_remove(struct gs_detour_routes *routes, const struct gs_detour_plan *plan,
			     bool is_v4);

/* What is asked of the kernel about one backend. */
struct gs_detour_question {
	struct gs_addr vip, backend;
	uint32_t mark;
	uint32_t ifindex; /* the device */
};

/* NULL and *ret_source: marked packets go there, and answers come in. Else why not. */
const char *gs_detour_ask(struct gs_detour_routes *routes,
			  const struct gs_detour_question *question, struct gs_addr *ret_source);

/* ---- dataplane_detour.c: the program at the device, on the pinned maps ----------------------- */

struct gs_detour_program;

/* Loads it and attaches it at the device's egress, in place of one that is there. */
int gs_detour_program_open(const char *pin_dir, const char *object, uint32_t ifindex,
			   struct gs_detour_program **ret_program, struct gs_error *error);
/* It goes with its device. NULL is fine. */
void gs_detour_program_close(struct gs_detour_program *program);
/* False: other maps are pinned by now. */
bool gs_detour_program_is_current(const struct gs_detour_program *program);
/* NULL: it would send what is marked for this target. Else why not. */
const char *gs_detour_program_refuses(const struct gs_detour_program *program,
				      const struct gs_probe_target *target);
uint32_t gs_detour_program_count(const struct gs_detour_program *program,
				 struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX]);
uint32_t gs_detour_mark(gs_id backend);
/* All but the ifindex. */
struct gs_detour_plan gs_detour_program_plan(void);
extern const char gs_detour_device[];
