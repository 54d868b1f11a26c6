// SPDX-License-Identifier: Apache-2.0
/* Commands that ask the running daemon over its control socket. */
#include "user/adapters/control.h"
#include "user/base/cleanup.h"
#include "user/ctl/ctl.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>

enum { ASK_MS = 5000, LOAD_MS = 120000 };

static void json_decref_ptr(json_t **json)
{
	json_decref(*json);
}
#define AUTO_JSON GS_CLEANUP(json_decref_ptr)

static bool has_colour(void)
{
	const char *no_colour = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
}

/* The state in its colour, padded by hand: escapes have no width. */
static void print_state(const char *state, int width)
{
	const char *colour = "";

	if (has_colour())
		colour = strcmp(state, "up") == 0
				 ? "\033[32m"
				 : (strcmp(state, "drain") == 0 ? "\033[33m" : "\033[31m");
	printf("%s%s%s%*s", colour, state, *colour ? "\033[0m" : "",
	       width > (int)strlen(state) ? width - (int)strlen(state) : 0, "");
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Steals `request`. The reply, or NULL and the error is printed. */
static json_t *ask(const struct gs_ctl *ctl, json_t *request, uint32_t timeout_ms)
{
	GS_AUTO_FREE char *line = json_dumps(request, JSON_COMPACT);
	GS_AUTO_FREE char *text = NULL;
	struct gs_error error = {""};
	json_error_t json_error;
	const char *problem;
	json_t *reply;

	json_decref(request);
	if (!line) {
		gs_ctl_fail("an argument is no UTF-8 text");
		return NULL;
	}
	if (gs_control_ask(ctl->socket_path, line, timeout_ms, &text, &error)) {
		gs_ctl_fail("%s", error.text);
		return NULL;
	}
	reply = json_loads(text, 0, &json_error);
	problem = json_string_value(json_object_get(reply, "error"));
	if (!json_is_object(reply))
		gs_ctl_fail("%s: answers no JSON object: %s", ctl->socket_path, json_error.text);
	else if (problem)
		gs_ctl_fail("%s", problem);
	else
		return reply;
	json_decref(reply);
	return NULL;
}

static int print_json(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
	putchar('\n');
	return GS_CTL_DONE;
}

/* ---- status ---------------------------------------------------------------------------------- */

static void print_database(const json_t *database)
{
	if (json_is_true(json_object_get(database, "connected")))
		printf("database    connected for %lld s%s%s\n", number_of(database, "since_s"),
		       *text_of(database, "why") ? "; its newest rows are refused: " : "",
		       text_of(database, "why"));
	else
		printf("database    away for %lld s: %s\n", number_of(database, "since_s"),
		       text_of(database, "why"));
}

static void print_generation(const json_t *status)
{
	const json_t *generation = json_object_get(status, "generation");
	const char *problem = text_of(status, "publish_problem");

	if (number_of(generation, "number") == 0)
		puts("generation  none in force yet");
	else
		printf("generation  %lld, digest %s, slot %lld, %lld s old, revision %lld%s\n",
		       number_of(generation, "number"), text_of(generation, "digest"),
		       number_of(generation, "slot"), number_of(generation, "age_s"),
		       number_of(status, "revision"),
		       json_is_true(json_object_get(status, "from_last_good"))
			       ? " (from the last-good file)"
			       : "");
	if (*problem)
		printf("            the last one could not be published: %s\n", problem);
}

static void print_geoip(const json_t *geoip)
{
	const char *problem = text_of(geoip, "problem");

	if (!*text_of(geoip, "file"))
		puts("geoip       none: every location is unknown");
	else
		printf("geoip       %s (%s), %lld locations, %lld IPv4 and %lld IPv6 prefixes\n",
		       text_of(geoip, "file"), text_of(geoip, "type"),
		       number_of(geoip, "locations"), number_of(geoip, "prefixes4"),
		       number_of(geoip, "prefixes6"));
	if (*problem)
		printf("            the last load was refused: %s\n", problem);
}

static void print_objects(const json_t *status)
{
	const json_t *object;
	size_t i;

	json_array_foreach (json_object_get(status, "services"), i, object)
		printf("service %-20s %s port %lld/%s  %lld packets\n", text_of(object, "name"),
		       text_of(object, "vip"), number_of(object, "port"),
		       text_of(object, "protocol"), number_of(object, "packets"));
	json_array_foreach (json_object_get(status, "regions"), i, object) {
		printf("region  %-20s ", text_of(object, "name"));
		print_state(text_of(object, "state"), 6);
		printf("admin %-12s for %lld s  %lld packets\n", text_of(object, "admin"),
		       number_of(object, "since_s"), number_of(object, "packets"));
	}
	json_array_foreach (json_object_get(status, "backends"), i, object) {
		printf("backend %-20s ", text_of(object, "name"));
		print_state(text_of(object, "state"), 6);
		printf("%-8s %-10s %-24s %6lld us  for %lld s  %lld packets\n",
		       text_of(object, "region"), text_of(object, "health"),
		       text_of(object, "address"), number_of(object, "latency_us"),
		       number_of(object, "since_s"), number_of(object, "packets"));
	}
}

static void print_reasons(const json_t *reasons)
{
	const char *name;
	const json_t *count;

	json_object_foreach ((json_t *)reasons, name, count)
		printf("reason  %-20s %lld\n", name, json_integer_value(count));
}

static int status(const struct gs_ctl *ctl, int argc, char **argv)
{
	AUTO_JSON json_t *reply = NULL;

	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("status", "", "no arguments expected");
	reply = ask(ctl, json_pack("{s:s}", "command", "status"), ASK_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return print_json(reply);
	printf("edge        %s, geostreamd %s, up for %lld s, loop lag %lld ms\n",
	       text_of(reply, "edge"), text_of(reply, "version"), number_of(reply, "uptime_s"),
	       number_of(reply, "loop_lag_ms"));
	print_database(json_object_get(reply, "database"));
	print_generation(reply);
	print_geoip(json_object_get(reply, "geoip"));
	print_objects(reply);
	print_reasons(json_object_get(reply, "reasons"));
	return GS_CTL_DONE;
}

/* ---- route get, geo show --------------------------------------------------------------------- */

static void print_location(const json_t *location)
{
	if (number_of(location, "id") == 0) {
		puts("location   unknown");
		return;
	}
	printf("location   %lld", number_of(location, "id"));
	if (*text_of(location, "country"))
		printf(", %s", text_of(location, "country"));
	if (*text_of(location, "subdivision"))
		printf("-%s", text_of(location, "subdivision"));
	if (*text_of(location, "continent"))
		printf(", %s", text_of(location, "continent"));
	if (json_object_get(location, "latitude"))
		printf(", at %.2f %.2f", json_real_value(json_object_get(location, "latitude")),
		       json_real_value(json_object_get(location, "longitude")));
	putchar('\n');
}

static void print_candidate(const json_t *candidate, size_t at)
{
	const json_t *km = json_object_get(candidate, "distance_km");
	const char *why = text_of(candidate, "why");

	printf("%-10s %zu. %-16s ", at == 0 ? "plan" : "", at + 1, text_of(candidate, "region"));
	if (km)
		printf("%6.0f km  ", json_real_value(km));
	else
		printf("%6s     ", "");
	print_state(text_of(candidate, "state"), 6);
	printf("admin %s, share %lld %%, spare %lld%s%s\n", text_of(candidate, "admin"),
	       number_of(candidate, "share_percent"), number_of(candidate, "spare"),
	       *why ? ": " : "", why);
}

static void print_route(const json_t *reply)
{
	const json_t *match = json_object_get(reply, "match");
	const json_t *winner = json_object_get(reply, "winner");
	const json_t *object;
	const char *region;
	size_t i;

	printf("client     %s\n", text_of(reply, "client"));
	printf("service    %s, policy %s (%s), generation %lld\n", text_of(reply, "service"),
	       text_of(reply, "policy"), text_of(reply, "policy_kind"),
	       number_of(reply, "generation"));
	if (*text_of(match, "embedded_ipv4"))
		printf("inside     %s, by which it is located\n", text_of(match, "embedded_ipv4"));
	if (strcmp(text_of(match, "source"), "override") == 0)
		printf("prefix     %s, by an override to %s%s%s%s\n", text_of(match, "prefix"),
		       text_of(match, "region"), *text_of(match, "reason") ? " (" : "",
		       text_of(match, "reason"), *text_of(match, "reason") ? ")" : "");
	else
		printf("prefix     %s, by GeoIP\n", text_of(match, "prefix"));
	print_location(json_object_get(reply, "location"));
	json_array_foreach (json_object_get(reply, "candidates"), i, object)
		print_candidate(object, i);
	region = text_of(winner, "region");
	printf("region     %s: %s\n", *region ? region : "none", text_of(winner, "why"));
	json_array_foreach (json_object_get(winner, "backends"), i, object) {
		printf("%-10s %-19s ", i == 0 ? "backends" : "", text_of(object, "name"));
		print_state(text_of(object, "state"), 6);
		printf("health %s, admin %s, %s, weight %lld\n", text_of(object, "health"),
		       text_of(object, "admin"), text_of(object, "address"),
		       number_of(object, "weight"));
	}
}

static int route_get(const struct gs_ctl *ctl, int argc, char **argv)
{
	AUTO_JSON json_t *reply = NULL;
	json_t *request;

	if (argc != 1 && !(argc == 3 && strcmp(argv[1], "--service") == 0))
		return gs_ctl_usage("route", "get", "one ADDRESS expected");
	request = json_pack("{s:s, s:s}", "command", "route.get", "address", argv[0]);
	if (argc == 3)
		json_object_set_new(request, "service", json_string(argv[2]));
	reply = ask(ctl, request, ASK_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return print_json(reply);
	print_route(reply);
	return GS_CTL_DONE;
}

static int geo_show(const struct gs_ctl *ctl, int argc, char **argv)
{
	AUTO_JSON json_t *reply = NULL;

	if (argc != 1)
		return gs_ctl_usage("geo", "show", "one ADDRESS expected");
	reply = ask(ctl, json_pack("{s:s, s:s}", "command", "geo.show", "address", argv[0]),
		    ASK_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return print_json(reply);
	printf("address    %s\nprefix     %s, of %s\n", text_of(reply, "address"),
	       text_of(reply, "prefix"), text_of(reply, "file"));
	print_location(json_object_get(reply, "location"));
	return GS_CTL_DONE;
}

/* ---- geo load -------------------------------------------------------------------------------- */

static int geo_load(const struct gs_ctl *ctl, int argc, char **argv)
{
	AUTO_JSON json_t *reply = NULL;
	char path[PATH_MAX];

	if (argc != 1)
		return gs_ctl_usage("geo", "load", "one FILE expected");
	/* The daemon stands elsewhere. */
	if (!realpath(argv[0], path))
		return gs_ctl_fail("%s: %s", argv[0], strerror(errno));
	reply = ask(ctl, json_pack("{s:s, s:s}", "command", "geo.load", "path", path), LOAD_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return print_json(reply);
	if (*text_of(reply, "note"))
		printf("%s: %s\n", path, text_of(reply, "note"));
	else
		printf("%s: %lld IPv4 and %lld IPv6 networks, %lld locations, in force in generation "
		       "%lld (loaded in %lld ms)\n",
		       path, number_of(reply, "networks4"), number_of(reply, "networks6"),
		       number_of(reply, "locations"), number_of(reply, "generation"),
		       number_of(reply, "load_ms"));
	if (!json_is_true(json_object_get(reply, "configured")))
		printf("a restart of the daemon takes the file its settings name again: geoip = %s\n",
		       path);
	return GS_CTL_DONE;
}

const struct gs_ctl_command gs_ctl_daemon_commands[] = {
	{"status", "", "", "how the daemon, its tables, regions and backends are", status},
	{"route", "get", "ADDRESS [--service NAME]", "where a client goes, and why", route_get},
	{"geo", "show", "ADDRESS", "where the GeoIP database in force places an address", geo_show},
	{"geo", "load", "FILE", "put another GeoIP database in force", geo_load},
	{NULL, NULL, NULL, NULL, NULL},
};
