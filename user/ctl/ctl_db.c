// SPDX-License-Identifier: Apache-2.0
/* Commands that go straight to PostgreSQL: no daemon has to run for them. */
#include "user/ctl/ctl_db.h"

#include "user/adapters/migrate.h"
#include "user/app/document.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/suggest.h"
#include "user/ctl/ctl_ask.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct gs_pg_admin *gs_ctl_db_open(const struct gs_ctl *ctl)
{
	struct gs_pg_admin *admin = NULL;
	struct gs_error error = {0};

	if (gs_pg_admin_open(ctl->conninfo, ctl->actor, &admin, &error) != 0) {
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
	int result = json ? gs_ctl_print(json) : gs_ctl_fail("no memory");

	json_decref(json);
	return result;
}

static int print_edit_json(const struct gs_pg_edit *edit, bool dry_run)
{
	json_t *changes = json_array();

	for (size_t c = 0; c < edit->difference.count; c++)
		json_array_append_new(
			changes, gs_change_json(&edit->difference, &edit->difference.changes[c]));
	return gs_ctl_print_json(json_pack("{s:o,s:I,s:b,s:b}", "changes", changes, "revision",
					   (json_int_t)edit->revision, "dry_run", dry_run,
					   "seed_changes", edit->seed_changes));
}

static int print_edit(const struct gs_pg_edit *edit, bool dry_run)
{
	for (size_t c = 0; c < edit->difference.count; c++) {
		GS_AUTO_FREE char *text =
			gs_change_text(&edit->difference, &edit->difference.changes[c]);

		if (!text)
			return gs_ctl_fail("no memory");
		gs_ctl_printf("%s\n", text);
	}
	if (edit->seed_changes)
		gs_ctl_printf("~ selection seed: %016" PRIx64 " -> %016" PRIx64
			      ": almost every client moves\n",
			      edit->have->selection_seed, edit->want->selection_seed);
	if (edit->difference.count == 0 && !edit->seed_changes)
		gs_ctl_printf("nothing to change, revision %" PRIu64 "\n", edit->revision);
	else if (dry_run)
		gs_ctl_printf("%zu change%s, not made (dry run)\n", edit->difference.count,
			      edit->difference.count == 1 ? "" : "s");
	else
		gs_ctl_printf("%zu change%s, revision %" PRIu64 "\n", edit->difference.count,
			      edit->difference.count == 1 ? "" : "s", edit->revision);
	return GS_CTL_DONE;
}

int gs_ctl_db_edit(const struct gs_ctl *ctl, const struct gs_pg_change *change)
{
	GS_CLEANUP(gs_pg_edit_done) struct gs_pg_edit edit = {0};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = gs_ctl_db_open(ctl);
	struct gs_error error = {0};

	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_edit(admin, change, &edit, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	return ctl->json ? print_edit_json(&edit, change->dry_run)
			 : print_edit(&edit, change->dry_run);
}

int gs_ctl_take_change(const char *object, const char *verb, int *argc, char **argv,
		       struct gs_pg_change *change)
{
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		char *end = NULL;

		if (strcmp(argv[i], "--dry-run") == 0) {
			change->dry_run = true;
		} else if (strcmp(argv[i], "--since") == 0) {
			const char *text = i + 1 < *argc ? argv[++i] : "";

			errno = 0;
			change->since_revision = strtoull(text, &end, 10);
			if (errno || *text < '0' || *text > '9' || *end ||
			    change->since_revision == 0)
				return gs_ctl_usage(object, verb,
						    "--since: '%s' is not a revision (1 or more)",
						    text);
		} else {
			argv[kept++] = argv[i];
		}
	}
	*argc = kept;
	return GS_CTL_DONE;
}

int gs_ctl_no_object(const struct gs_snapshot *snapshot, enum gs_kind kind, const char *name,
		     struct gs_error *error)
{
	uint32_t count = gs_kind_count(snapshot, kind);
	GS_AUTO_FREE const char **names = calloc(count + 1u, sizeof(char *));
	const char *nearest = NULL;

	if (kind == GS_KIND_OVERRIDE)
		return gs_error_set(-ENOENT, error, "no override is for %s", name);
	if (kind == GS_KIND_ACCESS)
		return gs_error_set(-ENOENT, error, "no access rule is for %s", name);
	if (kind == GS_KIND_FENCE)
		return gs_error_set(-ENOENT, error, "no fence is for %s", name);
	for (uint32_t i = 0; names && i < count; i++)
		names[i] = kind == GS_KIND_REGION    ? snapshot->regions[i].name
			   : kind == GS_KIND_POLICY  ? snapshot->policies[i].name
			   : kind == GS_KIND_SERVICE ? snapshot->services[i].name
						     : snapshot->backends[i].name;
	if (names)
		nearest = gs_suggest(name, names, count);
	return gs_error_set(-ENOENT, error, "no %s is named \"%s\"%s%s%s", gs_kind_name(kind), name,
			    nearest ? "; did you mean \"" : "", nearest ? nearest : "",
			    nearest ? "\"?" : "");
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
	struct gs_pg_change change = {.make = take_document, .context = &document};
	const char *file = NULL;
	int ret = gs_ctl_take_change("apply", "", &argc, argv, &change);

	if (ret)
		return ret;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "-f") == 0 && i + 1 < argc)
			file = argv[++i];
		else
			return gs_ctl_usage("apply", "", "unexpected \"%s\"", argv[i]);
	}
	if (!file)
		return gs_ctl_usage("apply", "", "which file? (-f FILE, -f - for standard input)");
	if (gs_document_load(file, &document, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	ret = gs_ctl_db_edit(ctl, &change);
	gs_snapshot_free(document);
	return ret;
}

/* ---- export ----------------------------------------------------------------------------------*/

/* With as few digits as bring every number back as it is: 50.1 and not 50.100000000000001. */
static char *dump_document(const json_t *document)
{
	const size_t flags = JSON_INDENT(2) | JSON_PRESERVE_ORDER;
	char *text = json_dumps(document, flags | JSON_REAL_PRECISION(15));
	json_t *back = text ? json_loads(text, 0, NULL) : NULL;

	if (back && !json_equal(document, back)) {
		free(text);
		text = json_dumps(document, flags | JSON_REAL_PRECISION(17));
	}
	json_decref(back);
	return text;
}

static int write_document(const json_t *document, const char *path)
{
	GS_AUTO_FREE char *text = dump_document(document);
	FILE *file = path ? fopen(path, "we") : stdout;
	bool failed;

	if (!text)
		return gs_ctl_fail("no memory");
	if (file)
		gs_ctl_put_json(text, file);
	failed = !file || ferror(file);
	if (path && file && fclose(file) != 0)
		failed = true;
	return failed ? gs_ctl_fail("%s: %s", path ? path : "export", strerror(errno))
		      : GS_CTL_DONE;
}

static int export_all(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	struct gs_snapshot *snapshot = NULL;
	struct gs_error error = {0};
	const char *path = NULL;
	bool portable = false;
	json_t *document;
	int result;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--portable") == 0)
			portable = true;
		else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
			path = argv[++i];
		else
			return gs_ctl_usage("export", "", "unexpected \"%s\"", argv[i]);
	}
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_read(admin, &snapshot, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	document = gs_document_json(snapshot, !portable);
	gs_snapshot_free(snapshot);
	result = document ? write_document(document, path) : gs_ctl_fail("no memory");
	json_decref(document);
	return result;
}

/* ---- db --------------------------------------------------------------------------------------*/

static void print_applied(void *context, int number, const char *name)
{
	const struct gs_ctl *ctl = context;

	(void)number;
	if (!ctl->json)
		gs_ctl_printf("applied %s\n", name);
}

static int print_status(const struct gs_ctl *ctl, const struct gs_migration_status *status)
{
	if (ctl->json)
		return gs_ctl_print_json(json_pack("{s:i,s:i,s:i}", "known", status->known,
						   "applied", status->applied, "now", status->now));
	gs_ctl_printf("schema: %d of %d migrations applied\n", status->applied, status->known);
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
	{"apply", "", "-f FILE [--dry-run] [--since REVISION]",
	 "make the database hold exactly this configuration document", apply},
	{"export", "", "[-o FILE] [--portable]",
	 "the whole configuration as a document (--portable: without ids and seed)", export_all},
	{"service", "list", "", "services", gs_ctl_service_list},
	{"service", "show", "NAME", "one service, and how its pools are", gs_ctl_service_show},
	{"service", "add",
	 "NAME vip=ADDRESS port=N protocol=tcp|udp policy=NAME [probe_...=] [failover_budget_ms=N] [breaker_...=] [affinity=flow|client|prefix] [limit_...=] [stale=keep|pass|drop] [damping_...=N] [panic_percent=N] [panic_all_down=serve_any|last_good|fixed:REGION|fail_closed]",
	 "a new service", gs_ctl_service_add},
	{"service", "set", "NAME FIELD=VALUE ... [--dry-run] [--since REVISION]",
	 "change a service", gs_ctl_service_set},
	{"service", "remove", "NAME [--dry-run] [--since REVISION]", "take a service away",
	 gs_ctl_service_remove},
	{"region", "list", "", "regions", gs_ctl_region_list},
	{"region", "show", "NAME", "one region, and how the edges see it", gs_ctl_region_show},
	{"region", "add",
	 "NAME latitude=N longitude=N [cost=N] [capacity=N] [target=PERCENT] [availability=PERCENT] [limit_...=N] [admin=STATE]",
	 "a new region", gs_ctl_region_add},
	{"region", "set", "NAME FIELD=VALUE ... [--dry-run] [--since REVISION]", "change a region",
	 gs_ctl_region_set},
	{"region", "remove", "NAME [--dry-run] [--since REVISION]", "take a region away",
	 gs_ctl_region_remove},
	{"backend", "list", "", "backends", gs_ctl_backend_list},
	{"backend", "show", "NAME", "one backend, and how the edges see it", gs_ctl_backend_show},
	{"backend", "add",
	 "NAME service=NAME region=NAME address=ADDRESS [weight=N] [forward=ipip|gue|l2|nat] [port=N] [admin=STATE]",
	 "a new backend", gs_ctl_backend_add},
	{"backend", "set", "NAME FIELD=VALUE ... [--dry-run] [--since REVISION]",
	 "change a backend", gs_ctl_backend_set},
	{"backend", "remove", "NAME [--dry-run] [--since REVISION]", "take a backend away",
	 gs_ctl_backend_remove},
	{"policy", "list", "", "policies and their default orders", gs_ctl_policy_list},
	{"policy", "show", "NAME", "one policy", gs_ctl_policy_show},
	{"policy", "add",
	 "NAME kind=geo|failover|latency|cost|availability|weighted|ranked [rank=CRITERION,...] order=REGION,... [weight=REGION:N,...] [bias=REGION:PERCENT,...] [band_ms=N] [band_percent=N]",
	 "a new policy", gs_ctl_policy_add},
	{"policy", "set", "NAME FIELD=VALUE ... [--dry-run] [--since REVISION]", "change a policy",
	 gs_ctl_policy_set},
	{"policy", "remove", "NAME [--dry-run] [--since REVISION]", "take a policy away",
	 gs_ctl_policy_remove},
	{"override", "list", "", "client prefixes, systems and places sent to a region first",
	 gs_ctl_override_list},
	{"override", "show", "PREFIX|ASN|PLACE", "one override", gs_ctl_override_show},
	{"override", "add", "PREFIX|ASN|PLACE REGION [[--reason] TEXT]",
	 "send a client prefix, AS64500, country:DE, continent:EU or subdivision:US-CA to a region first",
	 gs_ctl_override_add},
	{"override", "set", "PREFIX|ASN|PLACE FIELD=VALUE ... [--dry-run] [--since REVISION]",
	 "change an override", gs_ctl_override_set},
	{"override", "remove", "PREFIX|ASN|PLACE [--dry-run] [--since REVISION]",
	 "leave a client prefix, system or place to its policy again", gs_ctl_override_remove},
	{"fence", "list", "", "places whose clients stay in some regions", gs_ctl_fence_list},
	{"fence", "show", "PLACE[@SERVICE]", "one fence", gs_ctl_fence_show},
	{"fence", "add", "PLACE[@SERVICE] REGION,... [unknown=free|fenced] [[--reason] TEXT]",
	 "serve the clients of everybody, country:DE, continent:EU or subdivision:US-CA in these regions only",
	 gs_ctl_fence_add},
	{"fence", "set", "PLACE[@SERVICE] FIELD=VALUE ... [--dry-run] [--since REVISION]",
	 "change a fence", gs_ctl_fence_set},
	{"fence", "remove", "PLACE[@SERVICE] [--dry-run] [--since REVISION]",
	 "let the clients go anywhere again", gs_ctl_fence_remove},
	{"access", "list", "", "client prefixes let in or kept out", gs_ctl_access_list},
	{"access", "show", "PREFIX[@SERVICE]", "one access rule", gs_ctl_access_show},
	{"access", "add", "PREFIX[@SERVICE] allow|deny [[--reason] TEXT]",
	 "let a client prefix in, or keep it out", gs_ctl_access_add},
	{"access", "set", "PREFIX[@SERVICE] FIELD=VALUE ... [--dry-run] [--since REVISION]",
	 "change an access rule", gs_ctl_access_set},
	{"access", "remove", "PREFIX[@SERVICE] [--dry-run] [--since REVISION]",
	 "leave a client prefix to the other rules", gs_ctl_access_remove},
	{"db", "migrate", "", "bring the database's schema up to this program's", db_migrate},
	{"db", "check", "", "does the database's schema fit this program? (exit 1: no)", db_check},
	{NULL, NULL, NULL, NULL, NULL},
};
