/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fences, compiled: classes of clients for whom the same ones hold, and overrides' prefixes cut
 * where the class changes, so that an override leads nobody over a fence.
 */
#pragma once

#include "user/core/asn.h"
#include "user/core/cut.h"
#include "user/core/fence.h"
#include "user/core/geodata.h"

struct gs_fencing {
	uint32_t class_count; /* >= 1 */
	struct gs_fence_set *classes;
	uint16_t *location_class; /* of the database's locations, or of location 0 alone */
};

/* geo may be NULL. 0 or -ENOMEM, and nothing is kept then. */
int gs_fencing_make(const struct gs_snapshot *snapshot, const struct gs_geodata *geo,
		    struct gs_fencing *ret_fencing);
void gs_fencing_done(struct gs_fencing *fencing);

/*
 * The pieces of the snapshot's overrides of prefixes, and of autonomous systems: their prefixes (if
 * asn is not NULL) where none of the former is around them. IPv4 first, sorted as overrides are;
 * owner is the index in snapshot->overrides. Distinct prefixes are the caller's to see to. limit:
 * of a family. 0; -ENOMEM; -EFBIG: *error says which override is cut into too many. Free
 * *ret_pieces.
 */
int gs_fencing_cut(const struct gs_fencing *fencing, const struct gs_snapshot *snapshot,
		   const struct gs_geodata *geo, const struct gs_asndata *asn, uint32_t limit,
		   struct gs_cut_piece **ret_pieces, uint32_t *ret_count, struct gs_error *error);
