/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's schema: numbered migrations that travel inside the program. Blocking, for
 * commands. user/migrations/README.md says what is in them.
 */
#pragma once

#include "user/core/types.h"

struct gs_migration_status {
	int known;   /* migrations of this program */
	int applied; /* of the database, after the call */
	int now;     /* applied by this call */
};

/*
 * Applies what is missing, one transaction each, under an advisory lock: two at once are safe, the
 * second finds nothing left to do. on_applied may be NULL.
 *
 * 0; -EINVAL: conninfo, or a migration that ran has another text here (nobody knows what the
 * database looks like); -EPROTO: the database is newer than this program, or its server older than
 * PostgreSQL 14; -ECONNREFUSED: unreachable; -EIO: SQL failed, that migration is undone.
 */
int gs_migrate_run(const char *conninfo,
		   void (*on_applied)(void *context, int number, const char *name), void *context,
		   struct gs_migration_status *ret_status, struct gs_error *error);

/* Changes nothing. As above; -ENOENT: migrations are missing, *ret_status is filled all the same.
 */
int gs_migrate_check(const char *conninfo, struct gs_migration_status *ret_status,
		     struct gs_error *error);
