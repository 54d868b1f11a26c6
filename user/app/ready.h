/* SPDX-License-Identifier: Apache-2.0 */
/* May routers send clients to this edge now, and if not, why? */
#pragma once

#include "api.h"

enum { GS_READY_REASONS_MAX = 8 };

struct gs_ready {
	uint32_t count; /* 0: ready */
	char why[GS_READY_REASONS_MAX][GS_ERROR_MAX];
};

/*
 * vip: the edge as a whole and this address of it: also not ready if none of the address's services
 * has a backend that takes new flows; NULL: the edge as a whole.
 */
void gs_ready_judge(const struct gs_api *api, const struct gs_addr *vip,
		    struct gs_ready *ret_ready);
/* All of them in one line, separated by "; ". */
const char *gs_ready_why(const struct gs_ready *ready, char *out, size_t room);
