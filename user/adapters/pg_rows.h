/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the desired state to a snapshot. For the pg adapters. */
#pragma once

#include "user/core/types.h"

#include <libpq-fe.h>

/* Results of the queries below, in order. */
enum gs_pg_result {
	GS_PG_REVISION,
	GS_PG_REGIONS,
	GS_PG_POLICIES,
	GS_PG_POLICY_REGIONS,
	GS_PG_SERVICES,
	GS_PG_BACKENDS,
	GS_PG_OVERRIDES,
	GS_PG_ACCESS,
	GS_PG_FORCES,
	GS_PG_FENCES,
	GS_PG_LATENCIES,
	GS_PG_OVERLAYS,
	GS_PG_RESULT__COUNT
};

/*
 * Queries only: the transaction around them is the caller's. LIMITs are one more than a snapshot
 * may hold, so that a table run wild is refused instead of read.
 */
extern const char gs_pg_snapshot_query[];
/* The same in a read-only transaction of its own, which sees one state of the database. */
extern const char gs_pg_read_query[];

/*
 * Everything is checked (rows are hostile): 0, -ENOMEM, or -EINVAL with the place in *error.
 * results: GS_PG_RESULT__COUNT of status PGRES_TUPLES_OK; they stay the caller's.
 */
int gs_pg_rows_to_snapshot(PGresult *const *results, struct gs_snapshot **ret_snapshot,
			   struct gs_error *error);
