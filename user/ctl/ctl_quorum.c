// SPDX-License-Identifier: Apache-2.0
/* The rule by which edges come to one state of a region: shown and changed, in PostgreSQL. */
#include "user/adapters/pg_quorum.h"
#include "user/base/cleanup.h"
#include "user/base/suggest.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_db.h"

#include <inttypes.h>
#include <string.h>

static const char FIELD[] = "down_permille";

static int quorum_show(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	struct gs_error error = {0};
	struct gs_quorum_rule rule;
	uint64_t revision;

	if (argc > 0)
		return gs_ctl_usage("quorum", "show", "unexpected \"%s\"", argv[0]);
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_quorum(admin, &rule, &revision, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		return gs_ctl_print_json(json_pack("{s:i,s:I}", FIELD, (int)rule.down_permille,
						   "revision", (json_int_t)revision));
	gs_ctl_printf("%-14s  %u\n", FIELD, rule.down_permille);
	gs_ctl_printf("%-14s  %" PRIu64 "\n", "revision", revision);
	return GS_CTL_DONE;
}

/* ---- set -------------------------------------------------------------------------------------*/

static int unknown_field(const char *key)
{
	const char *const fields[] = {FIELD};
	const char *nearest = gs_suggest(key, fields, ARRAY_SIZE(fields));

	return gs_ctl_fail("quorum: unknown key \"%.40s\"%s%s%s", key,
			   nearest ? ", did you mean \"" : "", nearest ? nearest : "",
			   nearest ? "\"" : "");
}

static int read_permille(const char *text, struct gs_quorum_rule *rule)
{
	uint64_t permille;

	if (!gs_ctl_digits(text, &permille) || permille < GS_QUORUM_DOWN_PERMILLE_MIN ||
	    permille > GS_QUORUM_DOWN_PERMILLE_MAX)
		return gs_ctl_fail("quorum.%s: \"%.40s\" is not a share of the failure domains (%d "
				   "to %d per mille)",
				   FIELD, text, GS_QUORUM_DOWN_PERMILLE_MIN,
				   GS_QUORUM_DOWN_PERMILLE_MAX);
	rule->down_permille = (uint16_t)permille;
	return GS_CTL_DONE;
}

static int read_rule(int argc, char **argv, struct gs_quorum_rule *rule)
{
	const char *given = NULL;

	for (int i = 0; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals)
			return gs_ctl_usage("quorum", "set",
					    "\"%s\" is not of the form FIELD=VALUE", argv[i]);
		if ((size_t)(equals - argv[i]) != strlen(FIELD) ||
		    strncmp(argv[i], FIELD, strlen(FIELD)) != 0) {
			*equals = '\0';
			return unknown_field(argv[i]);
		}
		if (given)
			return gs_ctl_usage("quorum", "set", "%s is given twice: \"%s\" and \"%s\"",
					    FIELD, given, equals + 1);
		given = equals + 1;
	}
	if (!given)
		return gs_ctl_usage("quorum", "set", "set what of the rule?");
	return read_permille(given, rule);
}

static int print_edit(const struct gs_ctl *ctl, const struct gs_pg_quorum_edit *edit, bool dry_run)
{
	unsigned int from = edit->before.down_permille, to = edit->after.down_permille;
	json_t *changes = json_array();

	if (from != to)
		json_array_append_new(changes,
				      json_pack("{s:s,s:s,s:s,s:{s:{s:i,s:i}}}", "change", "update",
						"kind", "quorum", "name", "rule", "fields", FIELD,
						"from", (int)from, "to", (int)to));
	if (ctl->json)
		return gs_ctl_print_json(json_pack("{s:o,s:I,s:b}", "changes", changes, "revision",
						   (json_int_t)edit->revision, "dry_run", dry_run));
	json_decref(changes);
	if (from != to)
		gs_ctl_printf("~ quorum rule: %s %u -> %u\n", FIELD, from, to);
	if (from == to)
		gs_ctl_printf("nothing to change, revision %" PRIu64 "\n", edit->revision);
	else if (dry_run)
		gs_ctl_printf("1 change, not made (dry run)\n");
	else
		gs_ctl_printf("1 change, revision %" PRIu64 "\n", edit->revision);
	return GS_CTL_DONE;
}

static int quorum_set(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_pg_quorum_change change = {.dry_run = false};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	struct gs_pg_quorum_edit edit;
	struct gs_pg_change words = {.dry_run = false};
	struct gs_error error = {0};
	int ret = gs_ctl_take_change("quorum", "set", &argc, argv, &words);

	ret = ret ? ret : read_rule(argc, argv, &change.rule);
	if (ret)
		return ret;
	change.dry_run = words.dry_run;
	change.since_revision = words.since_revision;
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_set_quorum(admin, &change, &edit, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	return print_edit(ctl, &edit, change.dry_run);
}

const struct gs_ctl_command gs_ctl_quorum_commands[] = {
	{"quorum", "show", "", "how much of the failure domains must say down", quorum_show},
	{"quorum", "set", "down_permille=N [--dry-run] [--since REVISION]",
	 "a region is down for all with more than N per mille of the failure domains (180 to 1000)",
	 quorum_set},
	{NULL, NULL, NULL, NULL, NULL},
};
