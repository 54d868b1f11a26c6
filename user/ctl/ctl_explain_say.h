/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What explain says of a packet: the twin's account, what the maps say beside it, and the daemon's
 * account of client and plan; as JSON, and that for people.
 */
#pragma once

#include "user/adapters/flow_table.h"
#include "user/adapters/twin.h"
#include "user/ctl/ctl.h"
#include "user/ctl/ctl_names.h"

#include <jansson.h>

struct gs_ctl_explainer {
	const struct gs_ctl *ctl;
	struct gs_twin *twin;	     /* owned */
	struct gs_flow_table *flows; /* owned; the edge's own */
	struct gs_ctl_names names;   /* owned */
	bool is_daemon_away;	     /* did not answer once: not asked again */
};

/* object: the BPF object's file; interface: NULL: any. Or GS_CTL_FAILED, and it is told why. */
int gs_ctl_explainer_open(const struct gs_ctl *ctl, const char *object, const char *interface,
			  struct gs_ctl_explainer *ret_explainer);
/* Harmless on a zeroed one. */
void gs_ctl_explainer_done(struct gs_ctl_explainer *explainer);

/* Runs the frame, after those before it. NULL and it is told what is wrong. */
json_t *gs_ctl_explain_frame(struct gs_ctl_explainer *explainer, const uint8_t *frame,
			     uint32_t length);
void gs_ctl_explain_print(const json_t *explained);
