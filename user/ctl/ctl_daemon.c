// SPDX-License-Identifier: Apache-2.0
/* Commands that ask the running daemon over its control socket. */
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <jansson.h>
#include <string.h>

/* ---- status ---------------------------------------------------------------------------------- */

static void print_database(const json_t *database)
{
	if (json_is_true(json_object_get(database, "connected")))
		gs_ctl_printf("database    connected for %lld s%s%s%s\n",
			      gs_ctl_number(database, "since_s"),
			      json_is_true(json_object_get(database, "pooled"))
				      ? ", through a pooler: changes are looked for every second"
				      : "",
			      *gs_ctl_text(database, "why") ? "; its newest rows are refused: "
							    : "",
			      gs_ctl_text(database, "why"));
	else
		gs_ctl_printf("database    away for %lld s: %s\n",
			      gs_ctl_number(database, "since_s"), gs_ctl_text(database, "why"));
}

/* Only if this edge decides otherwise than most. */
static void print_accord(const json_t *accord)
{
	const char *in = gs_ctl_text(accord, "differs_in");

	if (*in)
		gs_ctl_printf("            DIFFERS from the other edges in: %s (%lld of %lld edges "
			      "do, edge list has them)\n",
			      in, gs_ctl_number(accord, "differing"),
			      gs_ctl_number(accord, "edges"));
}

/* Nothing, while all of every plan stands as it is ranked. */
static void print_exactness(const json_t *generation)
{
	long long exact = gs_ctl_number(generation, "exact_choices");

	if (exact > 0)
		gs_ctl_printf("            plans: order kept exact for the first %lld choices; "
			      "behind them the policy's, for there are too many plans\n",
			      exact);
}

static void print_generation(const json_t *status)
{
	const json_t *generation = json_object_get(status, "generation");
	const char *problem = gs_ctl_text(status, "publish_problem");

	if (gs_ctl_number(generation, "number") == 0)
		puts("generation  none in force yet");
	else
		gs_ctl_printf(
			"generation  %lld, digest %s, slot %lld, %lld s old, revision %lld%s\n",
			gs_ctl_number(generation, "number"), gs_ctl_text(generation, "digest"),
			gs_ctl_number(generation, "slot"), gs_ctl_number(generation, "age_s"),
			gs_ctl_number(status, "revision"),
			json_is_true(json_object_get(status, "from_last_good"))
				? " (from the last-good file)"
				: "");
	if (*problem)
		gs_ctl_printf("            the last one could not be published: %s\n", problem);
	print_exactness(generation);
	print_accord(json_object_get(status, "accord"));
}

/* Only what is amiss of the first; which anchors are silent of the second. */
static void print_self(const json_t *self, const json_t *anchors)
{
	const json_t *anchor;
	size_t i, silent = 0;

	if (*gs_ctl_text(self, "why"))
		gs_ctl_printf("self        doubts itself, its votes are unknown: %s\n",
			      gs_ctl_text(self, "why"));
	json_array_foreach (anchors, i, anchor)
		silent += json_is_true(json_object_get(anchor, "silent"));
	if (json_array_size(anchors) > 0)
		gs_ctl_printf("anchors     %zu, of which %zu silent\n", json_array_size(anchors),
			      silent);
	json_array_foreach (anchors, i, anchor)
		if (json_is_true(json_object_get(anchor, "silent")))
			gs_ctl_printf("            %s is silent for %lld s: %s\n",
				      gs_ctl_text(anchor, "anchor"),
				      gs_ctl_number(anchor, "since_s"),
				      gs_ctl_text(anchor, "last_failure"));
}

void gs_ctl_print_geoip(const json_t *geoip)
{
	const char *problem = gs_ctl_text(geoip, "problem");

	if (!*gs_ctl_text(geoip, "file"))
		puts("geoip       none: every location is unknown");
	else
		gs_ctl_printf(
			"geoip       %s (%s), %lld locations, %lld IPv4 and %lld IPv6 prefixes\n",
			gs_ctl_text(geoip, "file"), gs_ctl_text(geoip, "type"),
			gs_ctl_number(geoip, "locations"), gs_ctl_number(geoip, "prefixes4"),
			gs_ctl_number(geoip, "prefixes6"));
	if (*problem)
		gs_ctl_printf("            the last load was refused: %s\n", problem);
}

/* NULL: no such database, and nothing to say of it. */
static void print_asn(const json_t *asn)
{
	const char *problem = gs_ctl_text(asn, "problem"), *missing = gs_ctl_text(asn, "missing");

	if (*gs_ctl_text(asn, "file"))
		gs_ctl_printf("asn         %s (%s), %lld IPv4 and %lld IPv6 networks\n",
			      gs_ctl_text(asn, "file"), gs_ctl_text(asn, "type"),
			      gs_ctl_number(asn, "networks4"), gs_ctl_number(asn, "networks6"));
	else if (asn)
		gs_ctl_printf("asn         %s\n", *missing ? missing : "none");
	if (*problem)
		gs_ctl_printf("            the last load was refused: %s\n", problem);
}

/* Ends the line of a region or backend. */
static void print_drain(const json_t *object)
{
	const char *until = gs_ctl_text(object, "drain_until");

	gs_ctl_printf("%s%s\n", *until ? "  drained until " : "", until);
}

/* Who has laid what over a region, pool or backend. */
static void print_overlay(const json_t *overlay)
{
	const char *until = gs_ctl_text(overlay, "expires"), *reason, *ticket;

	if (!overlay)
		return;
	reason = gs_ctl_text(overlay, "reason");
	ticket = gs_ctl_text(overlay, "ticket");
	gs_ctl_printf("%-15s by %s%s%s%s%s%s%s%s%s\n", "", gs_ctl_text(overlay, "actor"),
		      json_is_true(json_object_get(overlay, "local")) ? " on this edge alone" : "",
		      *until ? " until " : "", until, *reason ? ": " : "", reason,
		      *ticket ? " (" : "", ticket, *ticket ? ")" : "");
}

static void print_panic(const char *label, const json_t *object)
{
	if (*gs_ctl_text(object, "panic"))
		gs_ctl_printf("%s %s\n", label, gs_ctl_text(object, "panic"));
}

static void print_reach(const json_t *reach)
{
	const char *reason = gs_ctl_text(reach, "reason");

	if (!reach)
		return;
	gs_ctl_printf("reach       %lld of %lld interfaces with the program up, answers for %lld "
		      "on-link VIPs\n",
		      gs_ctl_number(reach, "interfaces_up"), gs_ctl_number(reach, "interfaces"),
		      json_is_true(json_object_get(reach, "drained"))
			      ? 0
			      : gs_ctl_number(reach, "vips_on_link"));
	if (json_is_true(json_object_get(reach, "drained")))
		gs_ctl_printf("            DRAINED for %lld s%s%s\n",
			      gs_ctl_number(reach, "drained_s"), *reason ? ": " : "", reason);
	if (*gs_ctl_text(reach, "problem"))
		gs_ctl_printf("            %s\n", gs_ctl_text(reach, "problem"));
}

static void print_objects(const json_t *status)
{
	const json_t *object;
	size_t i;

	json_array_foreach (json_object_get(status, "services"), i, object) {
		gs_ctl_printf("service %-20s %s port %lld/%s  %lld packets\n",
			      gs_ctl_text(object, "name"), gs_ctl_text(object, "vip"),
			      gs_ctl_number(object, "port"), gs_ctl_text(object, "protocol"),
			      gs_ctl_number(object, "packets"));
		print_panic("               ", object);
	}
	json_array_foreach (json_object_get(status, "regions"), i, object) {
		gs_ctl_printf("region  %-20s ", gs_ctl_text(object, "name"));
		gs_ctl_print_state(gs_ctl_text(object, "state"), 6);
		gs_ctl_printf("admin %-12s for %lld s  %lld packets", gs_ctl_text(object, "admin"),
			      gs_ctl_number(object, "since_s"), gs_ctl_number(object, "packets"));
		gs_ctl_printf(", %lld of %lld backends healthy", gs_ctl_number(object, "healthy"),
			      gs_ctl_number(object, "backends"));
		print_drain(object);
		print_overlay(json_object_get(object, "overlay"));
	}
	json_array_foreach (json_object_get(status, "backends"), i, object) {
		gs_ctl_printf("backend %-20s ", gs_ctl_text(object, "name"));
		gs_ctl_print_state(gs_ctl_text(object, "state"), 6);
		gs_ctl_printf("%-8s %-10s %-24s %6lld us  for %lld s  %lld packets",
			      gs_ctl_text(object, "region"), gs_ctl_text(object, "health"),
			      gs_ctl_text(object, "address"), gs_ctl_number(object, "latency_us"),
			      gs_ctl_number(object, "since_s"), gs_ctl_number(object, "packets"));
		if (*gs_ctl_text(object, "damped"))
			gs_ctl_printf("  %s", gs_ctl_text(object, "damped"));
		print_drain(object);
		print_overlay(json_object_get(object, "overlay"));
	}
}

static void print_reasons(const json_t *reasons)
{
	const char *name;
	const json_t *count;

	json_object_foreach ((json_t *)reasons, name, count)
		gs_ctl_printf("reason  %-20s %lld\n", name, json_integer_value(count));
}

static const char *or_nowhere(const char *region)
{
	return *region ? region : "nowhere";
}

/* Nothing, if no generation has come into force yet, or if nobody was sampled before it. */
void gs_ctl_print_shift(const json_t *shift)
{
	double sampled = json_number_value(json_object_get(shift, "sampled"));
	const json_t *move;
	size_t i;

	if (sampled <= 0)
		return;
	gs_ctl_printf("clients     generation %lld: %.1f %% of the hour's sampled flows begin in "
		      "another region (%.0f of %.0f, %lld prefixes)\n",
		      gs_ctl_number(shift, "generation"),
		      100 * json_number_value(json_object_get(shift, "share")),
		      json_number_value(json_object_get(shift, "moved")), sampled,
		      gs_ctl_number(shift, "prefixes"));
	json_array_foreach (json_object_get(shift, "moves"), i, move)
		gs_ctl_printf("            %s: %s -> %s, %.0f\n", gs_ctl_text(move, "service"),
			      or_nowhere(gs_ctl_text(move, "from")),
			      or_nowhere(gs_ctl_text(move, "to")),
			      json_number_value(json_object_get(move, "flows")));
}

/* From as many pages as it has; they may be of different moments. */
json_t *gs_ctl_ask_status(const struct gs_ctl *ctl)
{
	json_t *whole = gs_ctl_ask(ctl, json_pack("{s:s}", "command", "status"), GS_CTL_ASK_MS);
	json_t *next;

	while (whole && (next = json_object_get(whole, "backends_next"))) {
		GS_AUTO_JSON json_t *page = gs_ctl_ask(
			ctl, json_pack("{s:s, s:O}", "command", "status", "backends_from", next),
			GS_CTL_ASK_MS);

		json_object_del(whole, "backends_next");
		if (!page) {
			json_decref(whole);
			return NULL;
		}
		json_array_extend(json_object_get(whole, "backends"),
				  json_object_get(page, "backends"));
		next = json_object_get(page, "backends_next");
		if (next)
			json_object_set(whole, "backends_next", next);
	}
	return whole;
}

static double degrees_of(const json_t *status, size_t which)
{
	return json_number_value(json_array_get(json_object_get(status, "coordinates"), which));
}

static int status(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_JSON json_t *reply = NULL;

	(void)argv;
	if (argc != 0)
		return gs_ctl_usage("status", "", "no arguments expected");
	reply = gs_ctl_ask_status(ctl);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return gs_ctl_print(reply);
	gs_ctl_printf("edge        %s, geostreamd %s, up for %lld s, loop lag %lld ms\n",
		      gs_ctl_text(reply, "edge"), gs_ctl_text(reply, "version"),
		      gs_ctl_number(reply, "uptime_s"), gs_ctl_number(reply, "loop_lag_ms"));
	if (json_object_get(reply, "coordinates"))
		gs_ctl_printf("            at %.2f,%.2f: its probes tell how far regions are\n",
			      degrees_of(reply, 0), degrees_of(reply, 1));
	print_database(json_object_get(reply, "database"));
	print_generation(reply);
	gs_ctl_print_geoip(json_object_get(reply, "geoip"));
	print_asn(json_object_get(reply, "asn"));
	gs_ctl_print_loading(json_object_get(reply, "loading"));
	gs_ctl_print_shift(json_object_get(json_object_get(reply, "generation"), "shift"));
	print_reach(json_object_get(reply, "reach"));
	print_self(json_object_get(reply, "self"), json_object_get(reply, "anchors"));
	print_objects(reply);
	print_reasons(json_object_get(reply, "reasons"));
	return GS_CTL_DONE;
}

/* ---- route get, geo show --------------------------------------------------------------------- */

static void print_location(const json_t *location)
{
	if (gs_ctl_number(location, "id") == 0) {
		puts("location   unknown");
		return;
	}
	gs_ctl_printf("location   %lld", gs_ctl_number(location, "id"));
	if (*gs_ctl_text(location, "country"))
		gs_ctl_printf(", %s", gs_ctl_text(location, "country"));
	if (*gs_ctl_text(location, "subdivision"))
		gs_ctl_printf("-%s", gs_ctl_text(location, "subdivision"));
	if (*gs_ctl_text(location, "continent"))
		gs_ctl_printf(", %s", gs_ctl_text(location, "continent"));
	if (json_object_get(location, "latitude"))
		gs_ctl_printf(", at %.2f %.2f",
			      json_real_value(json_object_get(location, "latitude")),
			      json_real_value(json_object_get(location, "longitude")));
	putchar('\n');
}

static void print_candidate(const json_t *candidate, size_t at)
{
	const json_t *km = json_object_get(candidate, "distance_km");
	const char *why = gs_ctl_text(candidate, "why");

	gs_ctl_printf("%-10s %zu. %-16s ", at == 0 ? "plan" : "", at + 1,
		      gs_ctl_text(candidate, "region"));
	if (km)
		gs_ctl_printf("%6.0f km  ", json_real_value(km));
	else
		gs_ctl_printf("%6s     ", "");
	gs_ctl_print_state(gs_ctl_text(candidate, "state"), 6);
	gs_ctl_printf("admin %s, share %lld %%, spare %lld%s%s\n", gs_ctl_text(candidate, "admin"),
		      gs_ctl_number(candidate, "share_percent"), gs_ctl_number(candidate, "spare"),
		      *why ? ": " : "", why);
	print_overlay(json_object_get(candidate, "overlay"));
	if (*gs_ctl_text(candidate, "rank"))
		gs_ctl_printf("%-13s %s\n", "", gs_ctl_text(candidate, "rank"));
	if (*gs_ctl_text(candidate, "round_trip"))
		gs_ctl_printf("%-13s round trip %.1f ms: %s\n", "",
			      json_number_value(json_object_get(candidate, "round_trip_ms")),
			      gs_ctl_text(candidate, "round_trip"));
}

static void print_skipped(const json_t *skipped, size_t at)
{
	const json_t *km = json_object_get(skipped, "distance_km");

	gs_ctl_printf("%-10s    %-16s ", at == 0 ? "skipped" : "", gs_ctl_text(skipped, "region"));
	if (km)
		gs_ctl_printf("%6.0f km  ", json_real_value(km));
	else
		gs_ctl_printf("%6s     ", "");
	gs_ctl_printf("admin %s: %s\n", gs_ctl_text(skipped, "admin"), gs_ctl_text(skipped, "why"));
}

static void print_access(const json_t *rule)
{
	const char *service = gs_ctl_text(rule, "service"), *reason = gs_ctl_text(rule, "reason");

	if (!rule)
		return;
	gs_ctl_printf("access     %s %s, by a rule of %s%s%s%s%s\n", gs_ctl_text(rule, "action"),
		      gs_ctl_text(rule, "prefix"), *service ? "service " : "every service", service,
		      *reason ? " (" : "", reason, *reason ? ")" : "");
}

static void print_limit(const char *label, const char *whose, const json_t *of, const char *packets,
			const char *flows)
{
	if (!json_object_get(of, packets) && !json_object_get(of, flows))
		return;
	gs_ctl_printf("%-10s %s: ", label, whose);
	if (json_object_get(of, packets))
		gs_ctl_printf("%lld packets%s", gs_ctl_number(of, packets),
			      json_object_get(of, flows) ? ", " : "");
	if (json_object_get(of, flows))
		gs_ctl_printf("%lld new flows", gs_ctl_number(of, flows));
	puts(" a second on this edge");
}

static void print_limits(const json_t *reply)
{
	const json_t *limits = json_object_get(reply, "limits");
	const json_t *winner = json_object_get(reply, "winner");

	print_limit("limit", gs_ctl_text(limits, "client_prefix"), limits, "client_packets",
		    "client_flows");
	print_limit("limit", "the service", limits, "packets", "flows");
	print_limit("limit", "the region", winner, "limit_packets", "limit_flows");
}

static void print_policy(const json_t *reply)
{
	const json_t *rank = json_object_get(reply, "policy_rank"), *criterion;
	size_t i;

	gs_ctl_printf("service    %s, policy %s (%s), generation %lld\n",
		      gs_ctl_text(reply, "service"), gs_ctl_text(reply, "policy"),
		      gs_ctl_text(reply, "policy_kind"), gs_ctl_number(reply, "generation"));
	if (json_array_size(rank) == 0)
		return;
	gs_ctl_printf("ranks by  ");
	json_array_foreach (rank, i, criterion)
		gs_ctl_printf("%s %s", i ? "," : "",
			      json_is_string(criterion) ? json_string_value(criterion) : "?");
	if (json_object_get(reply, "band_ms"))
		gs_ctl_printf("; tied by latency: within %lld ms or %lld %%",
			      gs_ctl_number(reply, "band_ms"),
			      gs_ctl_number(reply, "band_percent"));
	gs_ctl_printf("\n");
}

static void print_fence(const json_t *fence)
{
	const json_t *regions = json_object_get(fence, "regions"), *region;
	const char *service = gs_ctl_text(fence, "service"), *reason = gs_ctl_text(fence, "reason");
	size_t i;

	gs_ctl_printf("fence      %s, of %s%s: only", gs_ctl_text(fence, "place"),
		      *service ? "service " : "every service", service);
	json_array_foreach (regions, i, region)
		gs_ctl_printf("%s %s", i ? "," : "",
			      json_is_string(region) ? json_string_value(region) : "?");
	gs_ctl_printf("%s%s%s\n", *reason ? " (" : "", reason, *reason ? ")" : "");
}

/* The override that wins, where it is not told already, and the fences that hold. */
static void print_steering(const json_t *reply)
{
	const json_t *override = json_object_get(reply, "override"), *fence;
	bool is_of_prefix =
		strcmp(gs_ctl_text(json_object_get(reply, "match"), "source"), "override") == 0;
	const char *reason = gs_ctl_text(override, "reason");
	size_t i;

	if (override && !is_of_prefix)
		gs_ctl_printf("override   %s to %s%s%s%s\n", gs_ctl_text(override, "clients"),
			      gs_ctl_text(override, "region"), *reason ? " (" : "", reason,
			      *reason ? ")" : "");
	if (override && json_is_false(json_object_get(override, "followed")))
		gs_ctl_printf("           not followed: %s is not in the plan\n",
			      gs_ctl_text(override, "region"));
	json_array_foreach (json_object_get(reply, "fences"), i, fence)
		print_fence(fence);
}

void gs_ctl_print_route(const json_t *reply)
{
	const json_t *match = json_object_get(reply, "match");
	const json_t *affinity = json_object_get(reply, "affinity");
	const json_t *winner = json_object_get(reply, "winner");
	const json_t *object;
	const char *region;
	size_t i;

	gs_ctl_printf("client     %s\n", gs_ctl_text(reply, "client"));
	print_policy(reply);
	if (*gs_ctl_text(match, "embedded_ipv4"))
		gs_ctl_printf("inside     %s, by which it is located\n",
			      gs_ctl_text(match, "embedded_ipv4"));
	if (strcmp(gs_ctl_text(match, "source"), "override") == 0)
		gs_ctl_printf(
			"prefix     %s, by an override%s%s to %s%s%s%s\n",
			gs_ctl_text(match, "prefix"), *gs_ctl_text(match, "asn") ? " of " : "",
			gs_ctl_text(match, "asn"), gs_ctl_text(match, "region"),
			*gs_ctl_text(match, "reason") ? " (" : "", gs_ctl_text(match, "reason"),
			*gs_ctl_text(match, "reason") ? ")" : "");
	else
		gs_ctl_printf("prefix     %s, by GeoIP\n", gs_ctl_text(match, "prefix"));
	print_location(json_object_get(reply, "location"));
	if (*gs_ctl_text(reply, "asn"))
		gs_ctl_printf("system     %s\n", gs_ctl_text(reply, "asn"));
	print_steering(reply);
	if (*gs_ctl_text(affinity, "prefix"))
		gs_ctl_printf("affinity   %s: new flows of %s meet one backend\n",
			      gs_ctl_text(affinity, "kind"), gs_ctl_text(affinity, "prefix"));
	print_access(json_object_get(reply, "access"));
	print_limits(reply);
	print_panic("health    ", reply);
	object = json_object_get(reply, "moving");
	if (object)
		gs_ctl_printf("moving     %s\n", strchr(gs_ctl_text(object, "why"), ' ') + 1);
	json_array_foreach (json_object_get(reply, "candidates"), i, object)
		print_candidate(object, i);
	json_array_foreach (json_object_get(reply, "skipped"), i, object)
		print_skipped(object, i);
	object = json_object_get(reply, "capacity");
	if (object)
		gs_ctl_printf("capacity   %s\n", gs_ctl_text(object, "why"));
	region = gs_ctl_text(winner, "region");
	gs_ctl_printf("region     %s: %s\n", *region ? region : "none", gs_ctl_text(winner, "why"));
	json_array_foreach (json_object_get(winner, "backends"), i, object) {
		gs_ctl_printf("%-10s %-19s ", i == 0 ? "backends" : "",
			      gs_ctl_text(object, "name"));
		gs_ctl_print_state(gs_ctl_text(object, "state"), 6);
		gs_ctl_printf("health %s, admin %s, %s, weight %lld%s%s\n",
			      gs_ctl_text(object, "health"), gs_ctl_text(object, "admin"),
			      gs_ctl_text(object, "address"), gs_ctl_number(object, "weight"),
			      *gs_ctl_text(object, "damped") ? ", " : "",
			      gs_ctl_text(object, "damped"));
	}
}

static bool is_offline(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--offline") == 0)
			return true;
	return false;
}

static int route_get(const struct gs_ctl *ctl, int argc, char **argv)
{
	json_t *request;

	if (is_offline(argc, argv))
		return gs_ctl_route_offline(ctl, argc, argv);

	if (argc != 1 && !(argc == 3 && strcmp(argv[1], "--service") == 0))
		return gs_ctl_usage("route", "get", "one ADDRESS expected");
	request = json_pack("{s:s, s:s}", "command", "route.get", "address", argv[0]);
	if (argc == 3)
		json_object_set_new(request, "service", json_string(argv[2]));
	return gs_ctl_show(ctl, request, gs_ctl_print_route);
}

static int geo_show(const struct gs_ctl *ctl, int argc, char **argv)
{
	GS_AUTO_JSON json_t *reply = NULL;

	if (argc != 1)
		return gs_ctl_usage("geo", "show", "one ADDRESS expected");
	reply = gs_ctl_ask(ctl, json_pack("{s:s, s:s}", "command", "geo.show", "address", argv[0]),
			   GS_CTL_ASK_MS);
	if (!reply)
		return GS_CTL_FAILED;
	if (ctl->json)
		return gs_ctl_print(reply);
	gs_ctl_printf("address    %s\n", gs_ctl_text(reply, "address"));
	gs_ctl_printf("prefix     %s, of %s\n", gs_ctl_text(reply, "prefix"),
		      gs_ctl_text(reply, "file"));
	print_location(json_object_get(reply, "location"));
	print_steering(reply);
	return GS_CTL_DONE;
}

const struct gs_ctl_command gs_ctl_daemon_commands[] = {
	{"status", "", "", "how the daemon, its tables, regions and backends are", status},
	{"route", "get",
	 "ADDRESS [--service NAME] [--offline -f CONFIG --geo FILE [--asn FILE] [--down REGION]]",
	 "where a client goes, and why (--offline: by files alone)", route_get},
	{"geo", "show", "ADDRESS", "where the GeoIP database in force places an address", geo_show},
	{NULL, NULL, NULL, NULL, NULL},
};
