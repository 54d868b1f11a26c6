/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of the last hour, by prefix (/24, /48): of each ten minutes a fixed number of flows, each
 * as likely to be among them as any other, whatever there were. So what of them share a property is
 * an estimate of what of all flows do, and many flows of one prefix are many of the sample, no more
 * and no less. Pure; caller's memory.
 */
#pragma once

#include "types.h"

enum {
	GS_CLIENT_SAMPLE_WINDOW_MS = 600000,
	GS_CLIENT_SAMPLE_WINDOWS = 7, /* the one that fills, and six whole ones */
	GS_CLIENT_SAMPLE_KEPT = 1024, /* of a window */
	GS_CLIENT_SAMPLE_MAX = GS_CLIENT_SAMPLE_WINDOWS * GS_CLIENT_SAMPLE_KEPT,
};

/* One flow's. */
struct gs_client_flow {
	struct gs_prefix client;
	gs_id service;
};

/* Zeroed but for `random`: any seed. */
struct gs_client_sample {
	uint64_t random;
	struct gs_client_window {
		uint64_t number; /* now_ms / GS_CLIENT_SAMPLE_WINDOW_MS */
		uint64_t flows;	 /* that were offered */
		struct gs_client_flow kept[GS_CLIENT_SAMPLE_KEPT];
	} windows[GS_CLIENT_SAMPLE_WINDOWS];
};

/* Flows of one prefix to one service, as many as it stands for. */
struct gs_client_count {
	struct gs_client_flow of;
	double flows;
};

/* now_ms never goes back. */
void gs_client_sample_add(struct gs_client_sample *sample, const struct gs_client_flow *flow,
			  uint64_t now_ms);
/* Of the last 60 to 70 minutes, each prefix and service once, ascending; how many, at most
 * GS_CLIENT_SAMPLE_MAX, for which ret_counts has room. Their sum is what was offered. */
uint32_t gs_client_sample_read(const struct gs_client_sample *sample, uint64_t now_ms,
			       struct gs_client_count *ret_counts);
