/* SPDX-License-Identifier: Apache-2.0 */
#include "user/core/access.h"

#include "user/core/cidr.h"
#include "user/core/geotable.h"
#include "user/core/snapshot.h"

#include <stdlib.h>

static int compare(const void *left, const void *right)
{
	return gs_access_compare(left, right);
}

static const struct gs_access *find_exactly(const struct gs_snapshot *snapshot, gs_id service,
					    const struct gs_addr *client, uint8_t length)
{
	const struct gs_access key = {.prefix = gs_prefix_make(client, length), .service = service};

	return bsearch(&key, snapshot->access, snapshot->access_count, sizeof(key), compare);
}

static const struct gs_access *find_longest(const struct gs_snapshot *snapshot, gs_id service,
					    const struct gs_addr *client)
{
	for (int length = gs_addr_is_v4(client) ? 32 : 128; length >= 0; length--) {
		const struct gs_access *own =
			find_exactly(snapshot, service, client, (uint8_t)length);
		const struct gs_access *all = find_exactly(snapshot, 0, client, (uint8_t)length);

		if (own || all)
			return own ? own : all;
	}
	return NULL;
}

const struct gs_access *gs_access_find(const struct gs_snapshot *snapshot, gs_id service,
				       const struct gs_addr *client)
{
	const struct gs_access *found;
	struct gs_addr inside;

	if (snapshot->access_count == 0)
		return NULL;
	found = find_longest(snapshot, service, client);
	if (!found && gs_geo_embedded_v4(client, &inside))
		found = find_longest(snapshot, service, &inside);
	return found;
}
