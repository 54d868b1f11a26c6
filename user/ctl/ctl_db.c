// SPDX-License-Identifier: Apache-2.0
/* Commands that go straight to PostgreSQL: no daemon has to run for them. */
#include "user/ctl/ctl_db.h"

#include "user/adapters/migrate.h"
#include "user/app/document.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct gs_pg_admin *gs_ctl_db_open(const struct gs_ctl *ctl)
{
	struct gs_pg_admin *admin = NULL;
	struct gs_error error = {0};

	if (gs_pg_admin_open(ctl->conninfo, NULL, &admin, &error) != 0) {
		gs_ctl_fail("%s", error.text);
		return NULL;
	}
	return admin;
}

void gs_ctl_db_close_ptr(struct gs_pg_admin **admin)
{
	gs_pg_admin_close(*admin);
}

int gs_ctl_print_json(json_t *json)
{
	if (!json)
		return gs_ctl_fail("no memory");
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(json);
	return GS_CTL_DONE;
}

static int print_edit_json(const struct gs_pg_edit *edit, bool dry_run)
{
	json_t *changes = json_array();

	for (size_t c = 0; c < edit->difference.count; c++)
		json_array_append_new(
			changes, gs_change_json(&edit->difference, &edit->difference.changes[c]));
	return gs_ctl_print_json(json_pack("{s:o,s:I,s:b}", "changes", changes, "revision",
					   (json_int_t)edit->revision, "dry_run", dry_run));
}

static int print_edit(const struct gs_pg_edit *edit, bool dry_run)
{
	for (size_t c = 0; c < edit->difference.count; c++) {
		GS_AUTO_FREE char *text =
			gs_change_text(&edit->difference, &edit->difference.changes[c]);

		if (!text)
			return gs_ctl_fail("no memory");
		puts(text);
	}
	if (edit->difference.count == 0)
		printf("nothing to change, revision %" PRIu64 "\n", edit->revision);
	else if (dry_run)
		printf("%zu change%s, not made (dry run)\n", edit->difference.count,
		       edit->difference.count == 1 ? "" : "s");
	else
		printf("%zu change%s, revision %" PRIu64 "\n", edit->difference.count,
		       edit->difference.count == 1 ? "" : "s", edit->revision);
	return GS_CTL_DONE;
}

int gs_ctl_db_edit(const struct gs_ctl *ctl,
		   int (*make)(const struct gs_snapshot *have, void *context,
			       struct gs_snapshot **ret_want, struct gs_error *error),
		   void *context, bool dry_run)
{
	GS_CLEANUP(gs_pg_edit_done) struct gs_pg_edit edit = {0};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = gs_ctl_db_open(ctl);
	struct gs_error error = {0};

	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_edit(
		    admin,
		    &(struct gs_pg_change){.make = make, .context = context, .dry_run = dry_run},
		    &edit, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	return ctl->json ? print_edit_json(&edit, dry_run) : print_edit(&edit, dry_run);
}

/* ---- apply -----------------------------------------------------------------------------------*/

/* The document was read and checked before the database was asked for anything. */
static int take_document(const struct gs_snapshot *have, void *context,
			 struct gs_snapshot **ret_want, struct gs_error *error)
{
	struct gs_snapshot **document = context;

	(void)have;
	(void)error;
	*ret_want = gs_take_ptr(*document);
	return 0;
}

static int apply(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_snapshot *document = NULL;
	struct gs_error error = {0};
	const char *file = NULL;
	bool dry_run = false;
	int ret;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--dry-run") == 0)
			dry_run = true;
		else if (strcmp(argv[i], "-f") == 0 && i + 1 < argc)
			file = argv[++i];
		else
			return gs_ctl_usage("apply", "", "unexpected \"%s\"", argv[i]);
	}
	if (!file)
		return gs_ctl_usage("apply", "", "which file? (-f FILE, -f - for standard input)");
	if (gs_document_load(file, &document, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	ret = gs_ctl_db_edit(ctl, take_document, &document, dry_run);
	gs_snapshot_free(document);
	return ret;
}

/* ---- db --------------------------------------------------------------------------------------*/

static void print_applied(void *context, int number, const char *name)
{
	const struct gs_ctl *ctl = context;

	(void)number;
	if (!ctl->json)
		printf("applied %s\n", name);
}

static int print_status(const struct gs_ctl *ctl, const struct gs_migration_status *status)
{
	if (ctl->json)
		return gs_ctl_print_json(json_pack("{s:i,s:i,s:i}", "known", status->known,
						   "applied", status->applied, "now", status->now));
	printf("schema: %d of %d migrations applied\n", status->applied, status->known);
	return GS_CTL_DONE;
}

static int db_migrate(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_migration_status status = {0};
	struct gs_ctl context = *ctl;
	struct gs_error error = {0};

	if (argc > 0)
		return gs_ctl_usage("db", "migrate", "unexpected \"%s\"", argv[0]);
	if (gs_migrate_run(ctl->conninfo, print_applied, &context, &status, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	return print_status(ctl, &status);
}

static int db_check(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_migration_status status = {0};
	struct gs_error error = {0};
	int ret;

	if (argc > 0)
		return gs_ctl_usage("db", "check", "unexpected \"%s\"", argv[0]);
	ret = gs_migrate_check(ctl->conninfo, &status, &error);
	if (ret == 0 || ret == -ENOENT)
		print_status(ctl, &status);
	return ret ? gs_ctl_fail("%s", error.text) : GS_CTL_DONE;
}

/* ---- the table -------------------------------------------------------------------------------*/

const struct gs_ctl_command gs_ctl_db_commands[] = {
	{"apply", "", "-f FILE [--dry-run]",
	 "make the database hold exactly this configuration document", apply},
	{"service", "list", "", "services", gs_ctl_service_list},
	{"service", "show", "NAME", "one service, and how its pools are", gs_ctl_service_show},
	{"region", "list", "", "regions", gs_ctl_region_list},
	{"region", "show", "NAME", "one region, and how the edges see it", gs_ctl_region_show},
	{"region", "set", "NAME [admin=STATE] [cost=N] [capacity=N]",
	 "change a region (STATE: auto, force_up, drain, maintenance, force_down)",
	 gs_ctl_region_set},
	{"backend", "list", "", "backends", gs_ctl_backend_list},
	{"backend", "show", "NAME", "one backend, and how the edges see it", gs_ctl_backend_show},
	{"backend", "set", "NAME [admin=STATE] [weight=N]", "change a backend", gs_ctl_backend_set},
	{"policy", "list", "", "policies and their default orders", gs_ctl_policy_list},
	{"policy", "show", "NAME", "one policy", gs_ctl_policy_show},
	{"override", "list", "", "client prefixes sent to a region first", gs_ctl_override_list},
	{"override", "add", "PREFIX REGION [[--reason] TEXT]",
	 "send a client prefix to a region first", gs_ctl_override_add},
	{"override", "remove", "PREFIX", "leave a client prefix to its policy again",
	 gs_ctl_override_remove},
	{"db", "migrate", "", "bring the database's schema up to this program's", db_migrate},
	{"db", "check", "", "does the database's schema fit this program? (exit 1: no)", db_check},
	{NULL, NULL, NULL, NULL, NULL},
};
