/* SPDX-License-Identifier: Apache-2.0 */
/* How GeoStream connects to PostgreSQL, asynchronously and not. For the pg and migrate adapters. */
#pragma once

#include "user/core/types.h"

#include <libpq-fe.h>
#include <stddef.h>

enum { GS_PG_PARAMETERS_MAX = 16 };

/* For PQconnectStartParams with expand_dbname: both arrays end with NULL. */
struct gs_pg_parameters {
	const char *keywords[GS_PG_PARAMETERS_MAX];
	const char *values[GS_PG_PARAMETERS_MAX];
};

/*
 * conninfo is passed on untouched (keywords, URI, service=, "" for libpq's own PG* and defaults);
 * time limits and keepalives are ours unless it says otherwise. Strings are borrowed.
 */
void gs_pg_parameters_fill(const char *conninfo, const char *application,
			   struct gs_pg_parameters *ret_parameters);

/* libpq's errors are of several lines: one line of it, cut to fit; returns out. */
const char *gs_pg_one_line(const char *text, char *out, size_t size);

/* Blocking, for commands. 0, -EINVAL, or -ECONNREFUSED with one line in *error. */
int gs_pg_connect(const char *conninfo, const char *application, PGconn **ret_connection,
		  struct gs_error *error);

void gs_pg_finish_ptr(PGconn **connection);
void gs_pg_clear_ptr(PGresult **result);
#define GS_AUTO_PGCONN GS_CLEANUP(gs_pg_finish_ptr)
#define GS_AUTO_PGRESULT GS_CLEANUP(gs_pg_clear_ptr)
