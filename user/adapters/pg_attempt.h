/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting without making the loop wait. PQconnectPoll is asynchronous only once it has an
 * address: it resolves names, reads service and certificate files and blocks meanwhile, for many
 * seconds when DNS is away. So each attempt has a short-lived thread of its own. Part of the pg
 * adapter.
 */
#pragma once

#include <libpq-fe.h>

struct gs_pg_attempt;

/* *ret_fd (the attempt's) becomes readable when it is over. 0 or -errno. Strings are copied. */
int gs_pg_attempt_start(const char *conninfo, const char *application,
			struct gs_pg_attempt **ret_attempt, int *ret_fd);
/* After *ret_fd became readable: the connection, good or not (caller's; may be NULL). Frees. */
PGconn *gs_pg_attempt_finish(struct gs_pg_attempt *attempt);
/* At any time: whatever comes of it goes away by itself. NULL is fine. */
void gs_pg_attempt_abandon(struct gs_pg_attempt *attempt);
