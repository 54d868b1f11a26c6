/* SPDX-License-Identifier: Apache-2.0 */
/* Access rules, asked as the packet path asks them. */
#pragma once

#include "user/core/types.h"

/*
 * The rule that decides for this client of the service, or NULL: none speaks of it. The longest
 * prefix, of two as long that of the service; for an address of 6to4 or NAT64 no IPv6 rule speaks
 * of, that of the IPv4 address inside. The snapshot's.
 */
const struct gs_access *gs_access_find(const struct gs_snapshot *snapshot, gs_id service,
				       const struct gs_addr *client);
