/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probes of each backend came to, minute by minute of the wall clock: how many counted,
 * how many of those failed, how long the others took. One row a backend that was probed, all of
 * them handed to the store together, some seconds after the minute's end: edges that tell the same
 * minute do not write in step.
 */
#pragma once

#include "monitor.h"
#include "user/base/loop.h"
#include "user/ports.h"

enum { GS_PROBE_MINUTES_SPREAD_MS = 10000 };

struct gs_probe_minutes;

/* loop and store are borrowed. seed: any value; spreads edges. 0 or -ENOMEM. */
int gs_probe_minutes_new(struct gs_loop *loop, const struct gs_store *store, uint64_t seed,
			 struct gs_probe_minutes **ret_minutes);
/* What was not handed over yet is lost. NULL is fine. */
void gs_probe_minutes_free(struct gs_probe_minutes *minutes);
/* snapshot (borrowed for the call): has the names. A backend it does not know is not counted. */
void gs_probe_minutes_add(struct gs_probe_minutes *minutes, const struct gs_snapshot *snapshot,
			  const struct gs_monitor_result *result);
