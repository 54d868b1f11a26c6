// SPDX-License-Identifier: Apache-2.0
/* What was, and who did it: history, audit, edges; and what operators force. From PostgreSQL. */
#include "user/adapters/pg_history.h"
#include "user/base/cleanup.h"
#include "user/core/accord.h"
#include "user/core/quorum.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EDGE_GONE_S = 30 }; /* its row is written every 10 s */

/* ---- options ---------------------------------------------------------------------------------*/

struct option_word {
	const char *name; /* "--kind" */
	const char **value;
};

/* Takes the options out of the arguments; GS_CTL_USAGE: told what is wrong. */
static int take_options(const char *object, const char *verb, int *argc, char **argv,
			const struct option_word *options, size_t count)
{
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		size_t o = 0;

		while (o < count && strcmp(options[o].name, argv[i]) != 0)
			o++;
		if (o == count) {
			argv[kept++] = argv[i];
			continue;
		}
		if (i + 1 == *argc)
			return gs_ctl_usage(object, verb, "%s: a value expected", argv[i]);
		*options[o].value = argv[++i];
	}
	*argc = kept;
	for (int i = 0; i < kept; i++)
		if (strncmp(argv[i], "--", 2) == 0)
			return gs_ctl_usage(object, verb, "unknown option %s", argv[i]);
	return GS_CTL_DONE;
}

static int read_limit(const char *object, const char *text, uint32_t *ret_limit)
{
	uint64_t limit;

	if (!text)
		return GS_CTL_DONE;
	if (!gs_ctl_digits(text, &limit) || limit < 1 || limit > 100000)
		return gs_ctl_usage(object, "", "--limit: '%s' is not 1 to 100000", text);
	*ret_limit = (uint32_t)limit;
	return GS_CTL_DONE;
}

/* ---- history ---------------------------------------------------------------------------------*/

static void print_transition(const json_t *row)
{
	static const char *const parts[] = {"service", "region", "backend"};

	gs_ctl_printf("%s  %-12s %-10s", gs_ctl_text(row, "at"), gs_ctl_text(row, "edge"),
		      gs_ctl_text(row, "kind"));
	for (size_t p = 0; p < ARRAY_SIZE(parts); p++)
		if (*gs_ctl_text(row, parts[p]))
			gs_ctl_printf(" %s", gs_ctl_text(row, parts[p]));
	gs_ctl_printf(": %s -> %s", gs_ctl_text(row, "from"), gs_ctl_text(row, "to"));
	if (*gs_ctl_text(row, "why"))
		gs_ctl_printf(", %s", gs_ctl_text(row, "why"));
	if (*gs_ctl_text(row, "actor"))
		gs_ctl_printf(" (%s)", gs_ctl_text(row, "actor"));
	putchar('\n');
}

static int history(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_pg_history_filter filter = {.limit = 100};
	const char *limit = NULL;
	const struct option_word options[] = {{"--kind", &filter.kind},
					      {"--region", &filter.region},
					      {"--service", &filter.service},
					      {"--backend", &filter.backend},
					      {"--edge", &filter.edge},
					      {"--since", &filter.since},
					      {"--limit", &limit}};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	GS_AUTO_JSON json_t *rows = NULL;
	struct gs_error error = {0};
	const json_t *row;
	size_t i;
	int ret = take_options("history", "", &argc, argv, options, ARRAY_SIZE(options));

	ret = ret ? ret : read_limit("history", limit, &filter.limit);
	if (ret)
		return ret;
	if (argc > 0)
		return gs_ctl_usage("history", "", "unexpected \"%s\"", argv[0]);
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_history(admin, &filter, &rows, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		return gs_ctl_print(rows);
	json_array_foreach (rows, i, row)
		print_transition(row);
	return GS_CTL_DONE;
}

/* ---- audit -----------------------------------------------------------------------------------*/

static void print_value(const json_t *value)
{
	char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);

	gs_ctl_printf("%s", text		       ? text
			    : json_string_value(value) ? json_string_value(value)
						       : "-");
	free(text);
}

static void print_changes(const json_t *before, const json_t *after)
{
	const char *separator = ": ";
	const json_t *value;
	const char *key;

	json_object_foreach ((json_t *)after, key, value) {
		const json_t *was = json_object_get(before, key);

		if (was && json_equal(was, value))
			continue;
		gs_ctl_printf("%s%s ", separator, key);
		print_value(was);
		fputs(" -> ", stdout);
		print_value(value);
		separator = ", ";
	}
}

static void print_audit(const json_t *row)
{
	const char *actor = gs_ctl_text(row, "actor"), *role = gs_ctl_text(row, "role");

	gs_ctl_printf("%s  rev %-6lld %s", gs_ctl_text(row, "at"), gs_ctl_number(row, "revision"),
		      actor);
	if (strcmp(actor, role) != 0)
		gs_ctl_printf(" (%s)", role);
	gs_ctl_printf(" %s %s %s", gs_ctl_text(row, "change"), gs_ctl_text(row, "kind"),
		      gs_ctl_text(row, "name"));
	if (strcmp(gs_ctl_text(row, "change"), "update") == 0)
		print_changes(json_object_get(row, "before"), json_object_get(row, "after"));
	putchar('\n');
}

static int audit(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_pg_audit_filter filter = {.limit = 100};
	const char *limit = NULL;
	const struct option_word options[] = {{"--kind", &filter.kind},
					      {"--name", &filter.name},
					      {"--by", &filter.actor},
					      {"--since", &filter.since},
					      {"--limit", &limit}};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	GS_AUTO_JSON json_t *rows = NULL;
	struct gs_error error = {0};
	const json_t *row;
	size_t i;
	int ret = take_options("audit", "", &argc, argv, options, ARRAY_SIZE(options));

	ret = ret ? ret : read_limit("audit", limit, &filter.limit);
	if (ret)
		return ret;
	if (argc > 0)
		return gs_ctl_usage("audit", "", "unexpected \"%s\"", argv[0]);
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_audit(admin, &filter, &rows, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		return gs_ctl_print(rows);
	json_array_foreach (rows, i, row)
		print_audit(row);
	return GS_CTL_DONE;
}

/* ---- edges -----------------------------------------------------------------------------------*/

/* How old its votes are, if it votes and trusts itself; else why not. */
static void print_voting(const json_t *row)
{
	const json_t *age = json_object_get(row, "vote_age_ms");
	const char *why = gs_ctl_text(row, "self_why");
	char text[32];

	if (!json_is_integer(age))
		snprintf(text, sizeof(text), "none");
	else
		snprintf(text, sizeof(text), "%.1f s%s", (double)json_integer_value(age) / 1000,
			 json_integer_value(age) < GS_VOTE_FRESH_MS ? "" : " stale");
	gs_ctl_printf("%-14s", text);
	if (*gs_ctl_text(row, "differs_in"))
		gs_ctl_printf(" DIFFERS in %s;", gs_ctl_text(row, "differs_in"));
	if (*why)
		gs_ctl_printf(" doubts itself: %s;", why);
}

static void print_edge(const json_t *row)
{
	const char *site = gs_ctl_text(row, "site");

	gs_ctl_printf("%-20s %-12s %-8s %10lld %10lld  %s %s %6lld s  ", gs_ctl_text(row, "name"),
		      *site ? site : "-", gs_ctl_text(row, "version"),
		      gs_ctl_number(row, "revision"), gs_ctl_number(row, "generation"),
		      gs_ctl_text(row, "digest"), gs_ctl_text(row, "geo_digest"),
		      gs_ctl_number(row, "age_s"));
	print_voting(row);
	gs_ctl_printf(" %s\n", gs_ctl_text(row, "geo_path"));
}

/* "differs_in" into each row: in what it decides otherwise than most edges that are there. */
static int compare_edges(json_t *rows)
{
	size_t count = json_array_size(rows);
	struct gs_accord_edge *edges = calloc(count + 1, sizeof(*edges));
	char words[GS_DIFFERS_TEXT_MAX];

	if (!edges)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const json_t *row = json_array_get(rows, i);

		edges[i] = (struct gs_accord_edge){
			.revision = (uint64_t)gs_ctl_number(row, "revision"),
			.digest = strtoull(gs_ctl_text(row, "digest"), NULL, 16),
			.geo_digest = strtoull(gs_ctl_text(row, "geo_digest"), NULL, 16),
			.selection_seed =
				(uint64_t)strtoll(gs_ctl_text(row, "selection_seed"), NULL, 10),
			.version = gs_ctl_text(row, "version"),
			.is_compared = gs_ctl_number(row, "age_s") <= EDGE_GONE_S &&
				       gs_ctl_number(row, "generation") > 0,
		};
	}
	gs_accord_judge(edges, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		json_object_set_new(
			json_array_get(rows, i), "differs_in",
			json_string(gs_differs_words(edges[i].differs, words, sizeof(words))));
	free(edges);
	return 0;
}

static int edge_list(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	GS_AUTO_JSON json_t *rows = NULL;
	struct gs_error error = {0};
	const json_t *row;
	size_t i;

	if (argc > 0)
		return gs_ctl_usage("edge", "list", "unexpected \"%s\"", argv[0]);
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_edges(admin, &rows, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (compare_edges(rows) != 0)
		return gs_ctl_fail("out of memory");
	if (ctl->json)
		return gs_ctl_print(rows);
	if (json_array_size(rows) > 0)
		gs_ctl_printf("%-20s %-12s %-8s %10s %10s  %-16s %-16s %8s  %-14s %s\n", "EDGE",
			      "SITE", "VERSION", "REVISION", "GENERATION", "DIGEST", "GEO DIGEST",
			      "SEEN", "VOTES", "GEOIP");
	json_array_foreach (rows, i, row)
		print_edge(row);
	return GS_CTL_DONE;
}

/* ---- breakers --------------------------------------------------------------------------------*/

uint32_t gs_ctl_span_within(const char *text, uint32_t max_s)
{
	static const struct {
		char letter;
		uint32_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t digits = strspn(text, "0123456789");
	unsigned long number = strtoul(text, NULL, 10);

	for (size_t u = 0; digits > 0 && digits < 8 && u < ARRAY_SIZE(units); u++)
		if (text[digits] == units[u].letter && !text[digits + 1])
			return number * units[u].seconds <= max_s
				       ? (uint32_t)(number * units[u].seconds)
				       : 0;
	return 0;
}

uint32_t gs_ctl_span_s(const char *text)
{
	return gs_ctl_span_within(text, 7 * 86400);
}

static int breaker_force(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_pg_force force = {.edge = "", .reason = ""};
	const char *span = NULL;
	const struct option_word options[] = {
		{"--for", &span}, {"--edge", &force.edge}, {"--reason", &force.reason}};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	struct gs_error error = {0};
	int ret = take_options("breaker", "force", &argc, argv, options, ARRAY_SIZE(options));

	if (ret)
		return ret;
	if (argc != 3)
		return gs_ctl_usage("breaker", "force", "SERVICE, REGION and open or closed");
	if (strcmp(argv[2], "open") != 0 && strcmp(argv[2], "closed") != 0)
		return gs_ctl_usage("breaker", "force", "'%s' is neither open nor closed", argv[2]);
	if (!span)
		return gs_ctl_usage("breaker", "force", "for how long? (--for 10m; 7d at most)");
	force.service = argv[0];
	force.region = argv[1];
	force.open = strcmp(argv[2], "open") == 0;
	force.seconds = gs_ctl_span_s(span);
	if (force.seconds == 0)
		return gs_ctl_usage("breaker", "force",
				    "--for: '%s' is no span of 1s to 7d (90s, 10m, 2h, 7d)", span);
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_force(admin, &force, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		return gs_ctl_print_json(json_pack(
			"{s:s,s:s,s:s,s:s,s:i}", "service", force.service, "region", force.region,
			"edge", force.edge, "forced", argv[2], "seconds", (int)force.seconds));
	gs_ctl_printf("breaker of %s in %s forced %s for %s%s%s\n", force.service, force.region,
		      argv[2], span, *force.edge ? " on edge " : "", force.edge);
	return GS_CTL_DONE;
}

static int breaker_release(const struct gs_ctl *ctl, int argc, char **argv)
{
	const char *edge = NULL;
	const struct option_word options[] = {{"--edge", &edge}};
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	struct gs_error error = {0};
	uint32_t count = 0;
	int ret = take_options("breaker", "release", &argc, argv, options, ARRAY_SIZE(options));

	if (ret)
		return ret;
	if (argc != 2)
		return gs_ctl_usage("breaker", "release", "SERVICE and REGION");
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_release(admin, argv[0], argv[1], edge, &count, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	if (count == 0)
		return gs_ctl_fail("nobody forces the breaker of %s in %s", argv[0], argv[1]);
	if (ctl->json)
		return gs_ctl_print_json(json_pack("{s:i}", "released", (int)count));
	gs_ctl_printf("breaker of %s in %s released\n", argv[0], argv[1]);
	return GS_CTL_DONE;
}

const struct gs_ctl_command gs_ctl_history_commands[] = {
	{"breaker", "force", "SERVICE REGION open|closed --for SPAN [--edge NAME] [--reason TEXT]",
	 "hold a breaker open or closed (SPAN: 90s, 10m, 2h, 7d)", breaker_force},
	{"breaker", "release", "SERVICE REGION [--edge NAME]", "leave a breaker to itself again",
	 breaker_release},
	{"history", "",
	 "[--kind KIND] [--region R] [--service S] [--backend B] [--edge E] [--since SPAN|TIME] "
	 "[--limit N]",
	 "what has changed of health, breakers, plans and generations", history},
	{"audit", "", "[--kind KIND] [--name NAME] [--by ACTOR] [--since SPAN|TIME] [--limit N]",
	 "who changed what of the configuration", audit},
	{"edge", "list", "", "the edges, what each runs on, who decides otherwise, who votes",
	 edge_list},
	{NULL, NULL, NULL, NULL, NULL},
};
