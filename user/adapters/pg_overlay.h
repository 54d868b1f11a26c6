/* SPDX-License-Identifier: Apache-2.0 */
/* What operators lay over objects of all edges, or of one: rows of geostream.overlays. Blocking. */
#pragma once

#include "user/adapters/pg_admin.h"

#include <jansson.h>

struct gs_pg_laying {
	const char *kind;	     /* region, service (in a region) or backend */
	const char *const *patterns; /* names, and patterns of names */
	uint32_t pattern_count;
	const char *edge;    /* "": all */
	enum gs_admin admin; /* ignored by a lift */
	uint32_t seconds;    /* until it expires; 0: it does not */
	const char *reason, *ticket;
	bool is_forced;	  /* against the rules (gs_admins_check) */
	bool supersedes;  /* what single edges have of their own goes */
	double demand;	  /* new flows a second; < 0: not known */
	bool has_version; /* of one object only: that is the version it has; 0: none is laid */
	uint64_t version;
};

/*
 * All or nothing. *ret_rows: [{"kind", "name", "admin", "expires"?, "version", ...}] of what was
 * laid. 0, -EINVAL, -ENOENT, -EPERM (against the rules), -ESTALE (another version), -EIO, -EBUSY,
 * -ENOMEM.
 */
int gs_pg_admin_lay(struct gs_pg_admin *admin, const struct gs_pg_laying *laying, json_t **ret_rows,
		    struct gs_error *error);
/* Takes it back; *ret_rows: what was laid until now. -ENOENT, too, if that is nothing. */
int gs_pg_admin_lift(struct gs_pg_admin *admin, const struct gs_pg_laying *laying,
		     json_t **ret_rows, struct gs_error *error);
