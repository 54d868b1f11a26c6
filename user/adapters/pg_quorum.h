/* SPDX-License-Identifier: Apache-2.0 */
/* The quorum's rule (core/quorum.h) as commands read and change it. Blocking; libpq does not show.
 */
#pragma once

#include "user/adapters/pg_admin.h"
#include "user/core/quorum.h"

/* revision: of the desired state it is a part of. 0, -EIO (also: the rule's row is missing). */
int gs_pg_admin_quorum(struct gs_pg_admin *admin, struct gs_quorum_rule *ret_rule,
		       uint64_t *ret_revision, struct gs_error *error);

struct gs_pg_quorum_change {
	struct gs_quorum_rule rule; /* within its limits */
	bool dry_run;		    /* only says what would change, nobody waits */
	uint64_t since_revision;    /* as of struct gs_pg_change */
};

struct gs_pg_quorum_edit {
	struct gs_quorum_rule before, after;
	uint64_t revision; /* after */
};

/*
 * Nothing to change: nothing is written, the revision stays. 0, -EINVAL, -ESTALE (somebody else
 * changed it; *error says who and what), -EIO (*error is the database's), -EBUSY, -ENOMEM.
 */
int gs_pg_admin_set_quorum(struct gs_pg_admin *admin, const struct gs_pg_quorum_change *change,
			   struct gs_pg_quorum_edit *ret_edit, struct gs_error *error);
