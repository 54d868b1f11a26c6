/* SPDX-License-Identifier: Apache-2.0 */
/* A part of usable.c: what the edges' common state does to words. */
#pragma once

#include "usable.h"

/*
 * Pools of `view`, judged by what this edge sees alone, that the quorum holds to be down: they take
 * no new flows, while those they have stay, as the edge itself does reach them. Only while another
 * pool of the service takes clients that is not down for the quorum, too; and nothing that an
 * operator holds up. A region all of whose pools are so goes the same way.
 */
void gs_usable_limit_global(struct gs_usable_view *view, const struct gs_snapshot *snapshot,
			    const struct gs_usable_health *health);
