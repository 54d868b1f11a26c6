/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan for clients who go over from one plan to another, a share of them at a time. Pure.
 */
#pragma once

#include "plan.h"

/*
 * `percent` in a hundred draws have the home (gs_plan_home) that `now` gives them, the others still
 * that of `before`. As percent grows from 0 to 100 a draw's home changes once at most, from
 * before's to now's: nobody passes through a third region, and nobody comes back. Regions without a
 * share stand, and clients whose home is lost are spread, as `now` has it.
 *
 * False: both give everybody the same home, percent is 100, or no plan can say it (regions that are
 * in both stand in another order): *ret_plan is `now`.
 */
bool gs_plan_blend(const struct gs_plan *before, const struct gs_plan *now, uint8_t percent,
		   struct gs_plan *ret_plan);
