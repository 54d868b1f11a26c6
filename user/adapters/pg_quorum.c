// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_quorum.h"

#include "user/adapters/pg_admin_parts.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int gs_pg_admin_quorum(struct gs_pg_admin *admin, struct gs_quorum_rule *ret_rule,
		       uint64_t *ret_revision, struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result =
		PQexec(admin->connection, "SELECT q.down_permille, r.revision"
					  " FROM geostream.quorum q, geostream.revision r");

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return gs_pg_admin_error(admin->connection, result, "", error);
	if (PQntuples(result) != 1)
		return gs_error_set(-EIO, error,
				    "geostream.quorum has no row: restore it from a backup");
	ret_rule->down_permille = (uint16_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
	*ret_revision = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
	return 0;
}

static int write_rule(struct gs_pg_admin *admin, struct gs_pg_quorum_edit *edit,
		      struct gs_error *error)
{
	GS_AUTO_PGRESULT PGresult *result = NULL;
	struct gs_quorum_rule ignored;
	const char *values[1];
	char permille[8];
	int ret;

	snprintf(permille, sizeof(permille), "%u", edit->after.down_permille);
	values[0] = permille;
	result = PQexecParams(admin->connection,
			      "UPDATE geostream.quorum SET down_permille = $1::int", 1, NULL,
			      values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return gs_pg_admin_error(admin->connection, result, "refused: ", error);
	ret = gs_pg_admin_quorum(admin, &ignored, &edit->revision, error);
	return ret ? ret : gs_pg_admin_execute(admin, "COMMIT", error);
}

/* Inside the transaction. */
static int work_out(struct gs_pg_admin *admin, const struct gs_pg_quorum_change *change,
		    uint64_t since, struct gs_pg_quorum_edit *edit, struct gs_error *error)
{
	int ret = gs_pg_admin_quorum(admin, &edit->before, &edit->revision, error);
	bool differs;

	if (ret)
		return ret;
	edit->after = change->rule;
	differs = edit->before.down_permille != edit->after.down_permille;
	ret = gs_pg_admin_check_since(admin,
				      differs ? "[{\"kind\":\"quorum\",\"name\":\"rule\"}]" : NULL,
				      since, edit->revision, error);
	if (ret || !differs || change->dry_run)
		return ret;
	return write_rule(admin, edit, error);
}

int gs_pg_admin_set_quorum(struct gs_pg_admin *admin, const struct gs_pg_quorum_change *change,
			   struct gs_pg_quorum_edit *ret_edit, struct gs_error *error)
{
	struct gs_pg_quorum_edit edit = {.revision = 0};
	uint64_t since = change->since_revision;
	struct gs_quorum_rule ignored_rule;
	struct gs_error ignored;
	int ret = 0;

	/* What the caller acts on is what was there before he had to wait for the lock. */
	if (since == 0)
		ret = gs_pg_admin_quorum(admin, &ignored_rule, &since, error);
	ret = ret ? ret : gs_pg_admin_begin(admin, change->dry_run, error);
	ret = ret ? ret : work_out(admin, change, since, &edit, error);
	if (PQtransactionStatus(admin->connection) != PQTRANS_IDLE)
		gs_pg_admin_execute(admin, "ROLLBACK", &ignored);
	if (ret == 0)
		*ret_edit = edit;
	return ret;
}
