/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How clients reach this edge: on which links it answers for which VIPs, what it tells those links
 * when it takes a VIP over, and whether it is drained. The answers themselves are the data plane's.
 */
#pragma once

#include "config.h"
#include "drain.h"
#include "user/base/loop.h"
#include "user/ports.h"

enum { GS_ANNOUNCE_TIMES = 3, GS_ANNOUNCE_EVERY_MS = 1000 };

struct gs_reach;

/* All borrowed. */
struct gs_reach_ports {
	struct gs_loop *loop;
	const struct gs_dataplane *dataplane;
	const struct gs_announcer *announcer;
};

struct gs_reach_state {
	struct gs_drain drain;
	uint32_t carrier_count;	    /* links that carry the program */
	uint32_t up_count;	    /* of those, up */
	uint32_t vip_count;	    /* VIPs the edge answers for, unless it is drained */
	char problem[GS_ERROR_MAX]; /* why the last look came to nothing, or "" */
};

/* drain_file: see drain.h; its state is taken over. 0 or -errno. */
int gs_reach_new(const struct gs_reach_ports *ports, enum gs_announce announce,
		 const char *drain_file, struct gs_reach **ret_reach);
void gs_reach_free(struct gs_reach *reach);

/* The VIPs in force, and a look at the links. NULL reach: nothing. */
void gs_reach_follow(struct gs_reach *reach, const struct gs_snapshot *snapshot);
/* At the links again: something may have changed. Nothing before the first snapshot. */
void gs_reach_look(struct gs_reach *reach);

/* 0; -errno of keeping it: nothing has changed then. */
int gs_reach_drain(struct gs_reach *reach, const char *reason, struct gs_error *error);
int gs_reach_resume(struct gs_reach *reach, struct gs_error *error);

const struct gs_reach_state *gs_reach_state(const struct gs_reach *reach);
/* Is the VIP one the edge answers for on a link? */
bool gs_reach_has(const struct gs_reach *reach, const struct gs_addr *vip);
