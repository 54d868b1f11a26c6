// SPDX-License-Identifier: Apache-2.0
/*
 * drain, maintain, force-up, force-down and auto: what operators lay over regions, pools and
 * backends. Of all edges in PostgreSQL; of this one alone (edge region, edge service, edge backend)
 * by its daemon, whether there is a database or not.
 */
#include "user/ctl/ctl_overlay.h"

#include "user/adapters/control.h"
#include "user/adapters/pg_overlay.h"
#include "user/app/overlays.h"
#include "user/base/cleanup.h"
#include "user/core/moment.h"
#include "user/core/overlay.h"
#include "user/core/snapshot.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_db.h"

#include <errno.h>
#include <string.h>

enum { DEMAND_MS = 2000 };

static const struct word {
	const char *verb;
	enum gs_admin admin;
} WORDS[] = {
	{"drain", GS_ADMIN_DRAIN},	 {"maintain", GS_ADMIN_MAINTENANCE},
	{"force-up", GS_ADMIN_FORCE_UP}, {"force-down", GS_ADMIN_FORCE_DOWN},
	{"auto", GS_ADMIN_AUTO},
};

/* ---- list and show --------------------------------------------------------------------------- */

static bool concerns(const struct gs_snapshot *snapshot, const struct gs_overlay *overlay,
		     enum gs_kind kind, uint32_t index)
{
	switch (kind) {
	case GS_KIND_REGION:
		return !overlay->service && overlay->region == snapshot->regions[index].id;
	case GS_KIND_SERVICE:
		return overlay->service == snapshot->services[index].id;
	case GS_KIND_BACKEND:
		return overlay->backend == snapshot->backends[index].id;
	default:
		return false;
	}
}

const char *gs_ctl_overlay_text(const struct gs_snapshot *snapshot, enum gs_kind kind,
				uint32_t index, char *out, size_t room)
{
	size_t length = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < snapshot->overlay_count && length < room; i++) {
		const struct gs_overlay *o = &snapshot->overlays[i];
		const struct gs_region *region = gs_snapshot_region(snapshot, o->region);
		char until[GS_MOMENT_TEXT_MAX];

		if (!concerns(snapshot, o, kind, index))
			continue;
		gs_moment_format(o->expires_unix_ms / 1000 * 1000, until);
		length += (size_t)snprintf(
			out + length, room - length,
			"%s%s%s%s%s%s%s%s by %s%s%s%s%s%s, version %lu", length ? "; " : "",
			kind == GS_KIND_SERVICE && region ? region->name : "",
			kind == GS_KIND_SERVICE ? ": " : "", gs_admin_name(o->admin),
			o->edge[0] ? " on " : "", o->edge, *until ? " until " : "", until, o->actor,
			o->reason[0] ? ": " : "", o->reason, o->ticket[0] ? " (" : "", o->ticket,
			o->ticket[0] ? ")" : "", (unsigned long)o->version);
	}
	return out;
}

json_t *gs_ctl_overlay_json(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < snapshot->overlay_count; i++) {
		const struct gs_overlay *overlay = &snapshot->overlays[i];
		const struct gs_region *region = gs_snapshot_region(snapshot, overlay->region);
		json_t *json;

		if (!concerns(snapshot, overlay, kind, index))
			continue;
		json = gs_overlay_json(overlay, false);
		if (kind == GS_KIND_SERVICE && region)
			json_object_set_new(json, "region", json_string(region->name));
		json_array_append_new(list, json);
	}
	return list;
}

/* ---- arguments ------------------------------------------------------------------------------- */

struct options {
	const char *object, *verb; /* for usage */
	struct gs_pg_laying laying;
	const char *span;
	bool has_demand;
};

static int read_demand(struct options *options, const char *text)
{
	char *end;

	options->laying.demand = strtod(text, &end);
	options->has_demand = end != text && !*end && options->laying.demand >= 0;
	return options->has_demand ? GS_CTL_DONE
				   : gs_ctl_usage(options->object, options->verb,
						  "--demand: '%s' is no number of new flows a "
						  "second",
						  text);
}

static int read_version(struct options *options, const char *text)
{
	options->laying.has_version = true;
	return gs_ctl_digits(text, &options->laying.version)
		       ? GS_CTL_DONE
		       : gs_ctl_usage(options->object, options->verb,
				      "--if-version: '%s' is no version (0: nothing is laid)",
				      text);
}

static int take_value(struct options *options, const char *option, const char *value)
{
	if (strcmp(option, "--for") == 0)
		options->span = value;
	else if (strcmp(option, "--reason") == 0)
		options->laying.reason = value;
	else if (strcmp(option, "--ticket") == 0)
		options->laying.ticket = value;
	else if (strcmp(option, "--edge") == 0)
		options->laying.edge = value;
	else if (strcmp(option, "--demand") == 0)
		return read_demand(options, value);
	else
		return read_version(options, value);
	return GS_CTL_DONE;
}

/* Options of one edge's alone come first. */
static const char *const OPTIONS[] = {"--for",	 "--reason", "--ticket",     "--demand",
				      "--force", "--edge",   "--if-version", "--supersede"};
enum { OPTIONS_OF_EDGE = 5 };

/* Takes the options out; what stays are names. */
static int take_options(struct options *options, bool is_edge, int *argc, char **argv)
{
	const size_t known = is_edge ? OPTIONS_OF_EDGE : ARRAY_SIZE(OPTIONS);
	int kept = 0, ret = GS_CTL_DONE;

	for (int i = 0; i < *argc && ret == GS_CTL_DONE; i++) {
		bool has_value =
			strcmp(argv[i], "--force") != 0 && strcmp(argv[i], "--supersede") != 0;
		size_t o = 0;

		if (strncmp(argv[i], "--", 2) != 0) {
			argv[kept++] = argv[i];
			continue;
		}
		while (o < known && strcmp(OPTIONS[o], argv[i]) != 0)
			o++;
		if (o == known)
			return gs_ctl_unexpected(options->object, options->verb, argv[i], OPTIONS,
						 known);
		if (!has_value && strcmp(argv[i], "--force") == 0)
			options->laying.is_forced = true;
		else if (!has_value)
			options->laying.supersedes = true;
		else if (i + 1 == *argc)
			return gs_ctl_usage(options->object, options->verb, "%s: a value expected",
					    argv[i]);
		else
			ret = take_value(options, argv[i], argv[i + 1]);
		i += has_value;
	}
	*argc = kept;
	return ret;
}

static int read_span(struct options *options, bool must)
{
	uint32_t seconds;

	if (!options->span && must)
		return gs_ctl_usage(options->object, options->verb,
				    "for how long? (--for 1h; 90d at most)");
	if (!options->span)
		return GS_CTL_DONE;
	seconds = gs_ctl_span_within(options->span, GS_OVERLAY_SECONDS_MAX);
	if (seconds == 0)
		return gs_ctl_usage(options->object, options->verb,
				    "--for: '%s' is no span of 1s to 90d (90s, 10m, 2h, 7d)",
				    options->span);
	options->laying.seconds = seconds;
	return GS_CTL_DONE;
}

/* NULL: there is no daemon, or none that answers. */
static json_t *ask_quietly(const struct gs_ctl *ctl, const char *line)
{
	GS_AUTO_FREE char *text = NULL;
	struct gs_error error;

	if (gs_control_ask(ctl->socket_path, line, DEMAND_MS, &text, &error))
		return NULL;
	return json_loads(text, 0, NULL);
}

/* What the local daemon counts; < 0: there is none, or none is counted. */
static double ask_demand(const struct gs_ctl *ctl)
{
	GS_AUTO_JSON json_t *reply =
		ask_quietly(ctl, "{\"command\":\"demand.list\",\"by\":\"policy\",\"limit\":300}");
	const json_t *row;
	double sum = 0;
	size_t i;

	json_array_foreach (json_object_get(reply, "demand"), i, row)
		sum += json_number_value(json_object_get(row, "per_second_1m"));
	return json_object_get(reply, "demand") ? sum : -1;
}

/* ---- of all edges ---------------------------------------------------------------------------- */

static void print_rows(const json_t *rows, bool lifted)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row) {
		const char *expires = gs_ctl_text(row, "expires"), *edge = gs_ctl_text(row, "edge");

		gs_ctl_printf("%s %s: %s%s", gs_ctl_text(row, "kind"), gs_ctl_text(row, "name"),
			      lifted ? "no longer " : "", gs_ctl_text(row, "admin"));
		gs_ctl_printf("%s%s", *edge ? " on edge " : "", edge);
		if (!lifted)
			gs_ctl_printf("%s%s, version %lld", *expires ? " until " : "", expires,
				      gs_ctl_number(row, "version"));
		putchar('\n');
	}
}

static int change_all(const struct gs_ctl *ctl, struct options *options, bool lifts)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	GS_AUTO_JSON json_t *rows = NULL;
	struct gs_error error = {0};
	int ret;

	if (gs_pg_admin_open(ctl->conninfo, ctl->actor, &admin, &error) != 0)
		return gs_ctl_fail("%s; for this edge alone: geostreamctl edge %s %s ... --for 1h",
				   error.text, options->object, options->verb);
	if (!lifts && !options->has_demand && !options->laying.is_forced &&
	    !gs_admin_takes_new(options->laying.admin))
		options->laying.demand = ask_demand(ctl);
	ret = lifts ? gs_pg_admin_lift(admin, &options->laying, &rows, &error)
		    : gs_pg_admin_lay(admin, &options->laying, &rows, &error);
	if (ret)
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		return gs_ctl_print(rows);
	print_rows(rows, lifts);
	return GS_CTL_DONE;
}

static int change_object(const struct gs_ctl *ctl, const char *object, const struct word *word,
			 int argc, char **argv)
{
	struct options options = {.object = object,
				  .verb = word->verb,
				  .laying = {.kind = object,
					     .edge = "",
					     .reason = "",
					     .ticket = "",
					     .admin = word->admin,
					     .demand = -1}};
	int ret = take_options(&options, false, &argc, argv);

	ret = ret ? ret : read_span(&options, gs_admin_must_expire(word->admin));
	if (ret)
		return ret;
	if (argc < 1)
		return gs_ctl_usage(object, word->verb, "which %s?", object);
	options.laying.patterns = (const char *const *)argv;
	options.laying.pattern_count = (uint32_t)argc;
	/* auto for some time is laid over what the configuration says; without, nothing is. */
	return change_all(ctl, &options,
			  word->admin == GS_ADMIN_AUTO && !options.span &&
				  !options.laying.supersedes);
}

/* ---- of this edge alone ---------------------------------------------------------------------- */

static void print_own(const json_t *reply)
{
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(reply, "overlays"), i, row) {
		const char *reason = gs_ctl_text(row, "reason");
		const char *ticket = gs_ctl_text(row, "ticket");

		if (!json_is_true(json_object_get(row, "local")))
			continue;
		gs_ctl_printf("%s %s: %s on this edge alone (%s) until %s by %s%s%s%s%s%s\n",
			      gs_ctl_text(row, "kind"), gs_ctl_text(row, "name"),
			      gs_ctl_text(row, "admin"), gs_ctl_text(reply, "edge"),
			      gs_ctl_text(row, "expires"), gs_ctl_text(row, "actor"),
			      *reason ? ": " : "", reason, *ticket ? " (" : "", ticket,
			      *ticket ? ")" : "");
	}
}

static json_t *names_json(int argc, char **argv)
{
	json_t *list = json_array();

	for (int i = 0; i < argc; i++)
		json_array_append_new(list, json_string(argv[i]));
	return list;
}

static int change_own(const struct gs_ctl *ctl, const char *kind, int argc, char **argv)
{
	struct options options = {.object = "edge",
				  .verb = kind,
				  .laying = {.reason = "", .ticket = "", .demand = -1}};
	const struct word *word = NULL;
	json_t *request, *names;
	int ret;

	for (size_t w = 0; argc > 0 && w < ARRAY_SIZE(WORDS); w++)
		if (strcmp(WORDS[w].verb, argv[0]) == 0)
			word = &WORDS[w];
	if (!word)
		return gs_ctl_usage("edge", kind,
				    "drain, maintain, force-up, force-down or auto expected");
	argc--;
	argv++;
	ret = take_options(&options, true, &argc, argv);
	ret = ret ? ret : read_span(&options, word->admin != GS_ADMIN_AUTO);
	if (ret)
		return ret;
	if (argc < 1)
		return gs_ctl_usage("edge", kind, "which %s?", kind);
	names = names_json(argc, argv);
	if (json_array_size(names) != (size_t)argc) {
		json_decref(names);
		return gs_ctl_fail("a name is no UTF-8 text");
	}
	request = json_pack("{s:s,s:s,s:o,s:s,s:s}", "command",
			    options.span ? "overlay.lay" : "overlay.lift", "kind", kind, "names",
			    names, "admin", gs_admin_name(word->admin), "actor",
			    ctl->actor ? ctl->actor : "");
	if (!request ||
	    json_object_update_new(
		    request, json_pack("{s:i,s:s,s:s,s:b}", "seconds", (int)options.laying.seconds,
				       "reason", options.laying.reason, "ticket",
				       options.laying.ticket, "force", options.laying.is_forced))) {
		json_decref(request);
		return gs_ctl_fail("an argument is no UTF-8 text");
	}
	if (options.has_demand)
		json_object_set_new(request, "demand", json_real(options.laying.demand));
	return gs_ctl_show(ctl, request, print_own);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define CHANGE(object, verb, word)                                                  \
	static int object##_##verb(const struct gs_ctl *ctl, int argc, char **argv) \
	{                                                                           \
		return change_object(ctl, #object, &WORDS[word], argc, argv);       \
	}
#define CHANGES(object)               \
	CHANGE(object, drain, 0)      \
	CHANGE(object, maintain, 1)   \
	CHANGE(object, force_up, 2)   \
	CHANGE(object, force_down, 3) \
	CHANGE(object, auto, 4)
CHANGES(region)
CHANGES(service)
CHANGES(backend)

#define OWN(object)                                                               \
	static int edge_##object(const struct gs_ctl *ctl, int argc, char **argv) \
	{                                                                         \
		return change_own(ctl, #object, argc, argv);                      \
	}
OWN(region)
OWN(service)
OWN(backend)

#define SAYS "[--reason TEXT] [--ticket TEXT] [--edge NAME] [--if-version N] [--supersede]"
#define RULED SAYS " [--demand N] [--force]"
#define OWN_SAYS "[--reason TEXT] [--ticket TEXT] [--demand N] [--force]"
#define ROWS(object, name, what)                                                             \
	{#object, "drain", name " ... [--for SPAN] " RULED,                                  \
	 "no new flows to " what "; known ones stay", object##_drain},                       \
		{#object, "maintain", name " ... [--for SPAN] " RULED,                       \
		 "no flows to " what ", known ones move away", object##_maintain},           \
		{#object, "force-up", name " ... --for SPAN " SAYS,                          \
		 "flows to " what " whatever health says (SPAN: 90s, 10m, 2h, 90d at most)", \
		 object##_force_up},                                                         \
		{#object, "force-down", name " ... --for SPAN " RULED,                       \
		 "as maintain, for some time only", object##_force_down},                    \
	{                                                                                    \
#object, "auto", name " ... [--for SPAN] " SAYS,                             \
			"take the above back (--for: leave " what                            \
			" to health, whatever is configured)",                               \
			object##_auto                                                        \
	}

const struct gs_ctl_command gs_ctl_overlay_commands[] = {
	ROWS(region, "NAME", "a region"),
	ROWS(service, "SERVICE@REGION", "a service in a region"),
	ROWS(backend, "NAME", "a backend"),
	{"edge", "region", "drain|maintain|force-up|force-down|auto NAME ... --for SPAN " OWN_SAYS,
	 "the same on this edge alone, without the database", edge_region},
	{"edge", "service",
	 "drain|maintain|force-up|force-down|auto SERVICE@REGION ... --for SPAN " OWN_SAYS,
	 "the same on this edge alone, without the database", edge_service},
	{"edge", "backend", "drain|maintain|force-up|force-down|auto NAME ... --for SPAN " OWN_SAYS,
	 "the same on this edge alone, without the database", edge_backend},
	{NULL, NULL, NULL, NULL, NULL},
};
