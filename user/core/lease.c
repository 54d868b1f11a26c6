/* SPDX-License-Identifier: Apache-2.0 */
#include "lease.h"

enum gs_lease_fate gs_lease_judge(const struct gs_lease_facts *facts)
{
	if (!facts->is_current)
		return GS_LEASE_STALE;
	if (facts->is_nat ? facts->is_answered : facts->is_proven)
		return GS_LEASE_DONE;
	if (facts->age_ms < GS_LEASE_MS)
		return GS_LEASE_OPEN;
	return facts->is_nat ? GS_LEASE_FAILED : GS_LEASE_RETURNED;
}

bool gs_lease_gives_back(enum gs_lease_fate fate)
{
	return fate == GS_LEASE_FAILED || fate == GS_LEASE_RETURNED;
}
