/* SPDX-License-Identifier: Apache-2.0 */
/* What the controller is measured with: a configuration and a GeoIP database. Asserts inside. */
#pragma once

#include "user/core/geodata.h"
#include "user/core/types.h"

#include <stdint.h>

enum {
	PLANNER_POLICIES = 20, /* by turns geo and latency */
	PLANNER_REGIONS = 50,
	PLANNER_BACKENDS = 2000, /* two in each region for each of 20 services */
};

/* Every service in every region, so that each policy ranks all of them. The caller's. */
struct gs_snapshot *bench_snapshot(uint64_t revision);
/* By the adapter, as the daemon does; ret_ms: what it took. The caller's until the process ends. */
struct gs_geodata *bench_geodata(const char *path, double *ret_ms);
