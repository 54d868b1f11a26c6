/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration document: what it says, every way to get it wrong, and differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/app/difference.h"
#include "user/app/document.h"
#include "user/app/json_line.h"
#include "user/app/snapshot_io.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char sound[] =
	"{\n"
	"  \"policies\": [{\"name\": \"nearest\", \"kind\": \"geo\", \"order\": [\"eu\", \"us\"]}],\n"
	"  \"regions\": [\n"
	"    {\"name\": \"eu\", \"latitude\": 50.1, \"longitude\": 8.7, \"cost\": 0.02,\n"
	"     \"capacity\": 1000, \"admin\": \"drain\"},\n"
	"    {\"name\": \"us\", \"latitude\": 39, \"longitude\": -77}\n"
	"  ],\n"
	"  \"services\": [{\"name\": \"web\", \"vip\": \"198.51.100.10\", \"port\": 80,\n"
	"                \"protocol\": \"tcp\", \"policy\": \"nearest\",\n"
	"                \"probe\": {\"kind\": \"http\", \"path\": \"/health\",\n"
	"                          \"rise\": 2}}],\n"
	"  \"backends\": [{\"name\": \"eu-1\", \"service\": \"web\", \"region\": \"eu\",\n"
	"                \"address\": \"10.1.0.11\"}],\n"
	"  \"overrides\": [{\"prefix\": \"203.0.113.0/24\", \"region\": \"us\"}]\n"
	"}\n";

static void test_what_it_says(void **state)
{
	struct gs_snapshot *s = NULL;
	struct gs_error error = {{0}};
	struct gs_addr addr;

	(void)state;
	if (gs_document_parse(sound, strlen(sound), "doc", &s, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(s->region_count, 2);
	assert_int_equal(s->regions[0].id, 1);
	assert_int_equal(s->regions[0].admin, GS_ADMIN_DRAIN);
	assert_int_equal(s->regions[0].capacity, 1000);
	assert_true(s->regions[1].coord.lat_deg == 39 && s->regions[1].cost == 0);
	assert_int_equal(s->policies[0].order_count, 2);
	assert_int_equal(s->policies[0].order[1], 2);
	assert_int_equal(s->services[0].policy, 1);
	assert_int_equal(s->services[0].probe.kind, GS_PROBE_HTTP);
	assert_int_equal(s->services[0].probe.rise, 2);
	assert_int_equal(s->services[0].probe.fall, GS_HEALTH_FALL);
	assert_string_equal(s->services[0].probe.path, "/health");
	assert_int_equal(gs_addr_parse("10.1.0.11", &addr), 0);
	assert_memory_equal(&s->backends[0].addr, &addr, sizeof(addr));
	assert_int_equal(s->backends[0].weight, 100);
	assert_int_equal(s->backends[0].forward, GS_FORWARD_AS_IPIP);
	assert_int_equal(s->overrides[0].region, 2);
	assert_string_equal(s->overrides[0].reason, "");
	gs_snapshot_free(s);
}

static void test_what_steering_says(void **state)
{
	static const char text[] =
		"{\"regions\": [{\"name\": \"eu\", \"latitude\": 50, \"longitude\": 8,"
		" \"availability\": 99.95}, {\"name\": \"us\", \"latitude\": 39, \"longitude\": -77}],"
		"\"policies\": [{\"name\": \"cheap\", \"rank\": [\"latency\", \"cost\", \"weight\"],"
		" \"band_ms\": 20, \"band_percent\": 0, \"order\": [\"us\", \"eu\"],"
		" \"bias\": {\"eu\": -20}, \"weight\": {\"us\": 0}},"
		"{\"name\": \"near\", \"kind\": \"geo\", \"order\": [\"eu\"]}],"
		"\"services\": [], \"backends\": [],"
		"\"overrides\": [{\"place\": \"subdivision:US-CA\", \"region\": \"us\"}],"
		"\"fences\": [{\"place\": \"country:DE\", \"regions\": [\"eu\", \"us\"]},"
		" {\"place\": \"everybody\", \"regions\": [\"us\"], \"unknown\": \"fenced\","
		" \"reason\": \"law\"}]}";
	struct gs_snapshot *s = NULL;
	struct gs_error error = {{0}};

	(void)state;
	if (gs_document_parse(text, strlen(text), "doc", &s, &error) != 0)
		fail_msg("%s", error.text);
	assert_true(s->regions[0].availability == 99.95 && s->regions[1].availability == 0);
	assert_int_equal(s->policies[0].kind, GS_POLICY_RANKED);
	assert_int_equal(s->policies[0].rank_count, 3);
	assert_int_equal(s->policies[0].rank[2], GS_BY_WEIGHT);
	assert_int_equal(s->policies[0].band_ms, 20);
	assert_int_equal(s->policies[0].band_percent, 0);
	assert_int_equal(s->policies[0].bias[0], 0);
	assert_int_equal(s->policies[0].bias[1], -20);
	assert_int_equal(s->policies[0].weight[0], 0);
	assert_int_equal(s->policies[0].weight[1], 100);
	assert_int_equal(s->policies[1].rank_count, 0);
	assert_int_equal(s->policies[1].band_ms, 5);
	assert_int_equal(s->policies[1].band_percent, 10);
	assert_int_equal(s->overrides[0].place.kind, GS_PLACE_SUBDIVISION);
	assert_string_equal(s->overrides[0].place.code, "US-CA");
	assert_int_equal(s->fences[0].place.kind, GS_PLACE_EVERYBODY); /* sorted */
	assert_true(s->fences[0].holds_unknown && !s->fences[1].holds_unknown);
	assert_string_equal(s->fences[0].reason, "law");
	assert_int_equal(s->fences[1].region_count, 2);
	assert_int_equal(s->fences[1].regions[1], 2);
	gs_snapshot_free(s);
}

/* The sound document with one text replaced by another. */
static char *replaced(const char *from, const char *to)
{
	const char *at = strstr(sound, from);
	char *text;

	assert_non_null(at);
	if (asprintf(&text, "%.*s%s%s", (int)(at - sound), sound, to, at + strlen(from)) < 0)
		fail();
	return text;
}

static const struct {
	const char *from, *to, *error;
} rows[] = {
	{"80,", "70000,", "doc:8: services[0].port: 70000 is not a port (0 to 65535)"},
	{"80,", "-1,", "doc:8: services[0].port: -1 is not a port (0 to 65535)"},
	{"80,", "80.5,", "doc:8: services[0].port: 80.5 is not a port (0 to 65535)"},
	{"80,", "\"80\",", "doc:8: services[0].port: \"80\" is not a port (0 to 65535)"},
	{"\"rise\": 2", "\"rise\": 0",
	 "doc:11: services[0].probe.rise: 0 is not a number of probes (1 to 100)"},
	{"\"rise\": 2", "\"rose\": 2",
	 "doc:10: services[0].probe: unknown key \"rose\", did you mean \"rise\"?"},
	{"\"vip\"", "\"vp\"", "doc:8: services[0]: unknown key \"vp\", did you mean \"vip\"?"},
	{"\"policies\"", "\"policy\"",
	 "doc:1: document: unknown key \"policy\", did you mean \"policies\"?"},
	{"\"vip\": \"198.51.100.10\", ", "", "doc:8: services[0]: \"vip\" is missing"},
	{"198.51.100.10", "198.51.100",
	 "doc:8: services[0].vip: \"198.51.100\" is not an IP address"},
	{"198.51.100.10", "127.0.0.1", "doc:8: services[0].vip: \"127.0.0.1\" is not one unicast"},
	{"198.51.100.10", "10.1.0.11",
	 "doc:13: backends[0].address: 10.1.0.11 is the VIP of service web: packets would loop"},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"forward\": \"gre\"",
	 "doc:13: backends[0].forward: \"gre\" is not one of ipip, gue, l2 and nat"},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"forward\": 2",
	 "doc:13: backends[0].forward: 2 is not one of ipip, gue, l2 and nat"},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"foward\": \"gue\"",
	 "doc:12: backends[0]: unknown key \"foward\", did you mean \"forward\"?"},
	{"\"10.1.0.11\"", "\"fd00::11\", \"forward\": \"l2\"",
	 "doc:13: backends[0].forward: l2 needs an IPv4 address, as the VIP 198.51.100.10 of"},
	{"\"tcp\"", "\"icmp\"", "doc:9: services[0].protocol: \"icmp\" is not one of tcp and udp"},
	{"\"policy\": \"nearest\"", "\"policy\": \"best\"",
	 "doc:9: services[0].policy: \"best\" is not the name of a policy"},
	{"50.1", "90.5", "doc:4: regions[0].latitude: 90.5 is not a latitude (-90 to 90)"},
	{"-77", "-277", "doc:6: regions[1].longitude: -277 is not a longitude (-180 to 180)"},
	{"0.02", "-1", "doc:4: regions[0].cost: -1 is not a cost"},
	{"0.02", "1e999", "doc:4: real number overflow"},
	{"1000", "-5", "doc:5: regions[0].capacity: -5 is not a capacity"},
	{"1000", "1.5", "doc:5: regions[0].capacity: 1.5 is not a capacity"},
	{"\"drain\"", "\"drained\"", "doc:5: regions[0].admin: \"drained\" is not one of auto"},
	{"\"us\", \"latitude\"", "\"eu\", \"latitude\"",
	 "doc:2: policies[0].order[1]: \"us\" is not"},
	{"\"eu\", \"latitude\"", "\"Eu\", \"latitude\"",
	 "doc:4: regions[0].name: \"Eu\" is not a name"},
	{"[\"eu\", \"us\"]", "[\"eu\", \"eu\"]",
	 "doc:2: policies[0].order[1]: \"eu\" is in the order twice"},
	{"[\"eu\", \"us\"]", "[]", "doc:2: policies[0].order: [] is not a list of 1 to 16 regions"},
	{"[\"eu\", \"us\"]", "[\"eu\", 7]", "doc:2: policies[0].order[1]: 7 is not the name"},
	{"\"geo\"", "\"geographic\"", "doc:2: policies[0].kind: \"geographic\" is not one of"},
	{"\"kind\": \"geo\", ", "", "doc:2: policies[0]: \"kind\" is missing"},
	{"\"geo\"", "\"geo\", \"rank\": [\"geo\"]",
	 "doc:2: policies[0].rank: [\"geo\"] needs \"kind\": \"ranked\", or no kind"},
	{"\"geo\"", "\"ranked\"", "doc:2: policies[0]: \"rank\" is missing"},
	{"\"kind\": \"geo\"", "\"rank\": [\"geo\", \"price\"]",
	 "doc:2: policies[0].rank: \"price\" is not one of order, geo, latency, cost"},
	{"\"kind\": \"geo\"", "\"rank\": [\"geo\", \"geo\"]",
	 "doc:2: policies[0].rank: [\"geo\",\"geo\"] names a criterion twice"},
	{"\"kind\": \"geo\"", "\"rank\": [\"weight\", \"geo\"]",
	 "doc:2: policies[0].rank: [\"weight\",\"geo\"] has criteria behind weight"},
	{"\"geo\"", "\"geo\", \"band_ms\": 10001",
	 "doc:2: policies[0].band_ms: 10001 is not a number of milliseconds (0 to 10000)"},
	{"\"geo\"", "\"geo\", \"bias\": {\"eu\": 100}",
	 "doc:2: policies[0].bias.eu: 100 is not a bias (-99 to 99 percent)"},
	{"\"geo\"", "\"geo\", \"weight\": {\"ap\": 1}",
	 "doc:2: policies[0].weight.ap: 1 is of no region of the policy's order"},
	{"\"geo\"", "\"geo\", \"weight\": {\"us\": -1}",
	 "doc:2: policies[0].weight.us: -1 is not a weight (0 to 1000)"},
	{"\"geo\"", "\"geo\", \"weight\": [1, 2]",
	 "doc:2: policies[0].weight: [1,2] is not an object of regions and numbers"},
	{"0.02,", "0.02, \"availability\": 101,",
	 "doc:4: regions[0].availability: 101 is not a percentage (0 to 100, 0: not stated)"},
	{"\"prefix\": \"203.0.113.0/24\"", "\"place\": \"country:Germany\"",
	 "doc:14: overrides[0].place: \"country:Germany\" is not a place (everybody, continent:EU"},
	{"\"prefix\": \"203.0.113.0/24\"", "\"place\": \"everybody\"",
	 "doc:14: overrides[0].place: \"everybody\" is for fences"},
	{"\"203.0.113.0/24\"", "\"203.0.113.0/24\", \"place\": \"country:DE\"",
	 "doc:14: overrides[0].place: \"country:DE\" is one thing too many beside \"prefix\""},
	{"\"prefix\": \"203.0.113.0/24\", \"region\"", "\"asn\": 64500, \"region\"",
	 "doc:14: overrides[0].asn: 64500 is not an AS number (AS64500)"},
	{"\"prefix\": \"203.0.113.0/24\", \"region\"", "\"asn\": \"AS0\", \"region\"",
	 "doc:14: overrides[0].asn: \"AS0\" is not an AS number (AS64500)"},
	{"\"prefix\": \"203.0.113.0/24\", \"region\"",
	 "\"prefix\": \"203.0.113.0/24\", \"asn\": \"AS64500\", \"region\"",
	 "doc:14: overrides[0].asn: \"AS64500\" is one thing too many beside \"prefix\""},
	{"\"prefix\": \"203.0.113.0/24\", \"region\"",
	 "\"place\": \"country:DE\", \"asn\": \"AS64500\", \"region\"",
	 "doc:14: overrides[0].place: \"country:DE\" is one thing too many beside \"asn\""},
	{"\"region\": \"us\"}]", "\"region\": \"us\"}], \"fences\": [{\"place\": \"country:DE\"}]",
	 "doc:14: fences[0]: \"regions\" is missing"},
	{"\"region\": \"us\"}]",
	 "\"region\": \"us\"}], \"fences\": [{\"place\": \"country:DE\", \"regions\": [\"ue\"]}]",
	 "doc:14: fences[0].regions[0]: \"ue\" is not the name of a region"},
	{"\"region\": \"us\"}]",
	 "\"region\": \"us\"}], \"fences\": [{\"place\": \"country:DE\", \"regions\": [\"us\", \"us\"]}]",
	 "doc:14: fences[0].regions[1]: \"us\" is in the list twice"},
	{"\"region\": \"us\"}]",
	 "\"region\": \"us\"}], \"fences\": [{\"place\": \"country:DE\", \"regions\": [\"us\"], "
	 "\"unknown\": \"yes\"}]",
	 "doc:14: fences[0].unknown: \"yes\" is not one of free and fenced"},
	{"\"region\": \"us\"}]",
	 "\"region\": \"us\"}], \"fences\": [{\"place\": \"country:FR\", \"regions\": [\"us\"]}, "
	 "{\"place\": \"country:DE\", \"regions\": [\"us\"]}, "
	 "{\"place\": \"country:FR\", \"regions\": [\"eu\"]}]",
	 "doc:14: fences[2].place: country:FR of the same service is also fences[0]"},
	{"\"region\": \"eu\"", "\"region\": \"mars\"",
	 "doc:12: backends[0].region: \"mars\" is not the name of a region"},
	{"\"service\": \"web\"", "\"service\": \"wob\"",
	 "doc:12: backends[0].service: \"wob\" is not the name of a service, did you mean "
	 "\"web\"?"},
	{"\"tcp\"", "\"tcp\", \"breaker\": {\"trials\": 0}",
	 "doc:9: services[0].breaker.trials: 0 is not a whole number from 1 to 10000"},
	{"\"tcp\"", "\"tcp\", \"breaker\": {\"enabled\": 1}",
	 "doc:9: services[0].breaker.enabled: 1 is not true or false"},
	{"\"tcp\"", "\"tcp\", \"breaker\": {\"trails\": 4}",
	 "doc:9: services[0].breaker: unknown key \"trails\", did you mean \"trials\"?"},
	{"\"tcp\"", "\"tcp\", \"breaker\": {\"open_ms\": 9000, \"open_max_ms\": 8000}",
	 "doc:9: services[0].breaker.open_max_ms: 8000 is less than open_ms"},
	{"\"tcp\"", "\"tcp\", \"breaker\": true",
	 "doc:9: services[0].breaker: true is not an object"},
	{"\"latitude\": 39", "\"latitude\": 39, \"id\": 256",
	 "doc:6: regions[1].id: 256 is not an id (1 to 255)"},
	{"\"latitude\": 39", "\"latitude\": 39, \"id\": \"1\"",
	 "doc:6: regions[1].id: \"1\" is not an id (1 to 255)"},
	{"\"regions\"", "\"selection_seed\": \"5eed\", \"regions\"",
	 "doc:3: selection_seed: \"5eed\" is not 16 hexadecimal digits"},
	{"113.0/24", "113.1/24",
	 "doc:14: overrides[0].prefix: \"203.0.113.1/24\" has bits set beyond its length"},
	{"113.0/24", "113.0/33", "doc:14: overrides[0].prefix: \"203.0.113.0/33\" is not a prefix"},
	{"\"/health\"", "\"health\"", "doc:10: services[0].probe.path: "},
	{"\"/health\"", "\"/a b\"", "doc:10: services[0].probe.path: "},
	{"\"http\"", "\"smtp\"",
	 "doc:10: services[0].probe.kind: \"smtp\" is not one of none, tcp, http, https, udp, dns, "
	 "grpc, grpcs, icmp and exec"},
	{"\"rise\": 2", "\"status\": \"2xx\"",
	 "doc:11: services[0].probe.status: \"2xx\" is not a list of up to 12 HTTP statuses"},
	{"\"rise\": 2", "\"status\": 200",
	 "doc:11: services[0].probe.status: 200 is not a list of"},
	{"\"rise\": 2", "\"expect\": \"a\\\\q\"",
	 "doc:11: services[0].probe.expect: \"a\\\\q\" is not up to 127 printable"},
	{"\"rise\": 2", "\"expect_at\": \"end\"",
	 "doc:11: services[0].probe.expect_at: \"end\" is not one of anywhere and start"},
	{"\"rise\": 2", "\"trust\": \"ca.pem\"",
	 "doc:11: services[0].probe.trust: \"ca.pem\" is not "},
	{"\"rise\": 2", "\"dns_type\": \"aaaa\"",
	 "doc:11: services[0].probe.dns_type: \"aaaa\" is not "},
	{"\"rise\": 2", "\"command\": \"../sh\"",
	 "doc:11: services[0].probe.command: \"../sh\" is not "},
	{"\"rise\": 2", "\"arguments\": \"a\"",
	 "doc:11: services[0].probe.arguments: \"a\" is not a list"},
	{"\"rise\": 2", "\"arguments\": [\"a,b\"]",
	 "doc:11: services[0].probe.arguments: [\"a,b\"] is not a list"},
	{"\"rise\": 2", "\"arguments\": [\"\"]",
	 "doc:11: services[0].probe.arguments: [\"\"] is not a list"},
	{"\"rise\": 2", "\"arguments\": [1]",
	 "doc:11: services[0].probe.arguments: [1] is not a list"},
	{"\"http\"", "\"dns\"",
	 "doc:10: services[0].probe.request: is not what the probe's kind asks"},
	{"\"http\"", "\"udp\"",
	 "doc:10: services[0].probe.request: is not what the probe's kind asks"},
	{"\"http\"", "\"exec\"", "doc:10: services[0].probe.command: is not a command's file name"},
	{"80,", "0, \"failover_budget_ms\": 3600001,",
	 "doc:8: services[0].failover_budget_ms: 3600001 is not a time"},
	{"80,", "0,", "doc:10: services[0].probe.port: a service of every port (0) needs one"},
	{"\"eu-1\"", "\"\\u001b[31m\"", "doc:12: backends[0].name: \"\\u001B[31m\" is not a name"},
	{"\"overrides\": [", "\"overrides\": 5, \"x\": [", "doc:1: document: unknown key \"x\""},
	{"\"tcp\"", "\"tcp\", \"affinity\": {\"kind\": \"host\"}",
	 "doc:9: services[0].affinity.kind: \"host\" is not one of flow, client and prefix"},
	{"\"tcp\"", "\"tcp\", \"affinity\": {\"prefix4\": 7}",
	 "doc:9: services[0].affinity.prefix4: 7 is not a whole number from 8 to 32"},
	{"\"tcp\"", "\"tcp\", \"affinity\": \"client\"",
	 "doc:9: services[0].affinity: \"client\" is not an object"},
	{"\"tcp\"", "\"tcp\", \"limits\": {\"client_packets\": -1}",
	 "doc:9: services[0].limits.client_packets: -1 is not a whole number from 0 to 1000000000"},
	{"\"tcp\"", "\"tcp\", \"limits\": {\"kind\": \"hard\"}",
	 "doc:9: services[0].limits: unknown key \"kind\""},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"all_down\": \"serve_none\"}",
	 "doc:9: services[0].panic.all_down: \"serve_none\" is not one of serve_any, last_good, "
	 "fixed:REGION and fail_closed"},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"all_down\": \"fixed\"}",
	 "doc:9: services[0].panic.all_down: \"fixed\" is not one of"},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"all_down\": \"fixed:mars\"}",
	 "doc:9: services[0].panic.all_down: \"fixed:mars\" does not name a region"},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"percent\": 101}",
	 "doc:9: services[0].panic.percent: 101 is not a whole number from 0"},
	{"\"tcp\"", "\"tcp\", \"damping\": {\"suppress\": 1500}",
	 "doc:9: services[0].damping.reuse: "},
	{"\"tcp\"", "\"tcp\", \"damping\": {\"reuse\": 2500}",
	 "doc:9: services[0].damping.reuse: 2500 is not less than suppress"},
	{"\"tcp\"", "\"tcp\", \"damping\": {\"half_life_s\": 0}",
	 "doc:9: services[0].damping.half_life_s: 0 is not a whole number from 1 to 3600"},
	{"\"tcp\"", "\"tcp\", \"damping\": {\"after\": 1}",
	 "doc:9: services[0].damping: unknown key"},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"when\": 1}", "doc:9: services[0].panic: unknown key"},
	{"\"tcp\"", "\"tcp\", \"stale\": {\"kind\": \"forget\"}",
	 "doc:9: services[0].stale.kind: \"forget\" is not one of keep, pass and drop"},
	{"\"tcp\"", "\"tcp\", \"stale\": {\"after_s\": 86401}",
	 "doc:9: services[0].stale.after_s: 86401 is not a whole number from 10 to 86400"},
	{"\"drain\"", "\"auto\", \"drain_until\": \"2030-01-01T00:00:00Z\"",
	 "doc:5: regions[0].drain_until: \"2030-01-01T00:00:00Z\" needs \"admin\": \"drain\""},
	{"\"drain\"", "\"drain\", \"drain_until\": \"2030-02-30T00:00:00Z\"",
	 "doc:5: regions[0].drain_until: \"2030-02-30T00:00:00Z\" is not a time"},
	{"\"drain\"", "\"drain\", \"drain_until\": 1893456000",
	 "doc:5: regions[0].drain_until: 1893456000 is not a time"},
	{"\"drain\"", "\"drain\", \"limits\": {\"packets\": 1.5}",
	 "doc:5: regions[0].limits.packets: 1.5 is not a limit"},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"port\": 80",
	 "doc:13: backends[0].port: 80 needs \"forward\": \"nat\""},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"forward\": \"nat\", \"port\": 65536",
	 "doc:13: backends[0].port: 65536 is not a port"},
	{"\"overrides\"",
	 "\"access\": [{\"prefix\": \"10.0.0.0/8\", \"action\": \"permit\"}], \"overrides\"",
	 "doc:14: access[0].action: \"permit\" is not one of allow and deny"},
	{"\"overrides\"",
	 "\"access\": [{\"prefix\": \"10.0.0.1/8\", \"action\": \"deny\"}], \"overrides\"",
	 "doc:14: access[0].prefix: \"10.0.0.1/8\" has bits set beyond its length"},
	{"\"overrides\"", "\"access\": [{\"prefix\": \"10.0.0.0/8\"}], \"overrides\"",
	 "doc:14: access[0]: \"action\" is missing"},
	{"\"overrides\"",
	 "\"access\": [{\"prefix\": \"10.0.0.0/8\", \"action\": \"deny\", \"service\": \"wob\"}],"
	 " \"overrides\"",
	 "doc:14: access[0].service: \"wob\" is not the name of a service, did you mean \"web\"?"},
	{"\"overrides\"",
	 "\"access\": [{\"prefix\": \"10.0.0.0/8\", \"action\": \"deny\"},\n"
	 "{\"prefix\": \"10.0.0.0/8\", \"action\": \"deny\", \"service\": \"web\"},\n"
	 "{\"prefix\": \"9.0.0.0/8\", \"action\": \"deny\"},\n"
	 "{\"prefix\": \"10.0.0.0/8\", \"action\": \"allow\", \"service\": \"\"}], \"overrides\"",
	 "doc:17: access[3].prefix: 10.0.0.0/8 of the same service is also access[0]"},
	{"\"overrides\"",
	 "\"access\": [{\"prefix\": \"10.0.0.0/8\", \"action\": \"deny\"},\n"
	 "{\"prefix\": \"9.0.0.0/8\", \"action\": \"deny\", \"reason\": \"\\u001b\"}], \"overrides\"",
	 "doc:15: access[1].reason: \"\\u001B\" has control characters"},
	{"\"latitude\": 39", "\"latitude\": 39, \"latitude\": 40", "doc:6: duplicate object key"},
	{"}\n  ],", "}\n  ,", "doc:8: "},
};

static void test_every_mistake_is_placed(void **state)
{
	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		char *text = replaced(rows[r].from, rows[r].to);
		struct gs_snapshot *s = NULL;
		struct gs_error error = {{0}};
		int ret = gs_document_parse(text, strlen(text), "doc", &s, &error);

		gs_snapshot_free(s);
		free(text);
		if (ret != -EINVAL)
			fail_msg("%s -> %s: accepted", rows[r].from, rows[r].to);
		if (strncmp(error.text, rows[r].error, strlen(rows[r].error)) != 0)
			fail_msg("%s -> %s: %s", rows[r].from, rows[r].to, error.text);
	}
}

static void test_missing_lists(void **state)
{
	static const struct {
		const char *text;
		bool sound;
	} documents[] = {
		{"{\"regions\":[],\"policies\":[],\"services\":[],\"backends\":[]}", true},
		{"{\"regions\":[],\"policies\":[],\"services\":[]}", false},
		{"{\"regions\":[],\"policies\":[],\"backends\":[]}", false},
		{"{\"regions\":[],\"services\":[],\"backends\":[]}", false},
		{"{\"policies\":[],\"services\":[],\"backends\":[]}", false},
		{"{\"regions\":{},\"policies\":[],\"services\":[],\"backends\":[]}", false},
		{"{\"regions\":[7],\"policies\":[],\"services\":[],\"backends\":[]}", false},
		{"{\"regions\":[null],\"policies\":[],\"services\":[],\"backends\":[]}", false},
		{"[]", false},
		{"", false},
		{"7", false},
		{"{\"regions\":[]", false},
	};

	(void)state;
	for (size_t d = 0; d < sizeof(documents) / sizeof(documents[0]); d++) {
		struct gs_snapshot *s = NULL;
		struct gs_error error = {{0}};
		int ret = gs_document_parse(documents[d].text, strlen(documents[d].text), "doc", &s,
					    &error);

		gs_snapshot_free(s);
		if ((ret == 0) != documents[d].sound)
			fail_msg("%s: %d %s", documents[d].text, ret, error.text);
		if (ret && strncmp(error.text, "doc:", 4) != 0)
			fail_msg("%s: %s", documents[d].text, error.text);
	}
}

/* Cut anywhere, any byte changed: an error or a sound snapshot, never anything else (sanitizers).
 */
static void test_damage(void **state)
{
	uint64_t seed = 20261123;
	size_t length = strlen(sound);
	char *text = malloc(length);

	(void)state;
	print_message("# seed %ju\n", (uintmax_t)seed);
	for (size_t round = 0; round < length + 20000; round++) {
		size_t cut = round < length ? round : length;
		struct gs_snapshot *s = NULL;
		struct gs_error error = {{0}};
		int ret;

		memcpy(text, sound, length);
		for (int i = 0; round >= length && i < 2; i++)
			text[world_draw(&seed) % length] = (char)world_draw(&seed);
		ret = gs_document_parse(text, cut, "doc", &s, &error);
		if (ret == 0 && gs_snapshot_check(s, &error) != 0)
			fail_msg("round %zu: %s", round, error.text);
		if (ret != 0 && (s || strncmp(error.text, "doc:", 4) != 0))
			fail_msg("round %zu: %s", round, error.text);
		gs_snapshot_free(s);
		if (cut < length - 1 && ret == 0)
			fail_msg("cut at %zu accepted", cut);
	}
	free(text);
}

static void test_lines(void **state)
{
	static const char text[] = "{\n\"a\": [\n1,\n{\"b\":\n \"x\\\"]}\"},\n[[2,3],\n[4]]\n],\n"
				   "\"c\\\"d\": 5, \"e\": {}\n}";
	static const struct {
		const char *path;
		int line;
	} places[] = {
		{"a", 2},	   {"a[0]", 3}, {"a[1]", 4},	 {"a[1].b", 5}, {"a[2][1][0]", 7},
		{"a[2][0]: x", 6}, {"e", 9},	{"nothing", 1},	 {"a[9]", 2},	{"a[1].x", 4},
		{"", 1},	   {"[0]", 1},	{"a[1].b.c", 5}, {"a[x]", 2},
	};

	(void)state;
	for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		int line = gs_json_line(text, strlen(text), places[p].path);

		if (line != places[p].line)
			fail_msg("%s: line %d, not %d", places[p].path, line, places[p].line);
	}
}

/* ---- differences -----------------------------------------------------------------------------*/

static struct gs_snapshot *parsed(const char *from, const char *to)
{
	char *text = replaced(from, to);
	struct gs_snapshot *s = NULL;
	struct gs_error error = {{0}};

	if (gs_document_parse(text, strlen(text), "doc", &s, &error) != 0)
		fail_msg("%s", error.text);
	free(text);
	return s;
}

static const struct {
	const char *from, *to, *lines;
} changes[] = {
	{"50.1", "50.1", ""},
	{"0.02", "0.5", "~ region eu: cost 0.02 -> 0.5\n"},
	{"\"rise\": 2", "\"fall\": 5", "~ service web: probe_rise 2 -> 4, probe_fall 3 -> 5\n"},
	{"\"rise\": 2", "\"rise\": 2, \"status\": \"200-399\", \"trust\": \"\", \"arguments\": []",
	 ""},
	{"\"http\"",
	 "\"exec\", \"command\": \"check\", \"arguments\": [\"-x\", \"y z\"], \"trust\": \"none\"",
	 "~ service web: probe_kind http -> exec, probe_trust system -> none, "
	 "probe_command \"\" -> check, probe_arguments \"\" -> -x,y z\n"},
	{"80,", "80, \"failover_budget_ms\": 3000,",
	 "~ service web: failover_budget_ms 0 -> 3000\n"},
	{"[\"eu\", \"us\"]", "[\"us\", \"eu\"]", "~ policy nearest: order eu,us -> us,eu\n"},
	{"\"eu-1\"", "\"eu-2\"",
	 "- backend eu-1\n+ backend eu-2: service web, region eu, address 10.1.0.11, weight 100, "
	 "forward ipip, admin auto\n"},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"forward\": \"ipip\"", ""},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"forward\": \"gue\"",
	 "~ backend eu-1: forward ipip -> gue\n"},
	{"\"10.1.0.11\"", "\"10.1.0.11\", \"forward\": \"l2\"",
	 "~ backend eu-1: forward ipip -> l2\n"},
	{"\"203.0.113.0/24\", \"region\": \"us\"",
	 "\"203.0.113.0/24\", \"region\": \"eu\", \"reason\": \"why not\"",
	 "~ override 203.0.113.0/24: region us -> eu, reason \"\" -> why not\n"},
	{"{\"prefix\": \"203.0.113.0/24\", \"region\": \"us\"}", "", "- override 203.0.113.0/24\n"},
	{"\"geo\"", "\"weighted\", \"weight\": {\"us\": 30}, \"bias\": {\"eu\": -5}",
	 "~ policy nearest: kind geo -> weighted, bias \"\" -> eu:-5, weight \"\" -> us:30\n"},
	{"\"kind\": \"geo\"", "\"rank\": [\"latency\", \"cost\"], \"band_ms\": 20",
	 "~ policy nearest: kind geo -> ranked, rank \"\" -> latency,cost, band_ms 5 -> 20\n"},
	{"\"overrides\": [", "\"overrides\": [{\"place\": \"country:DE\", \"region\": \"eu\"}, ",
	 "+ override country:DE: region eu, reason \"\"\n"},
	{"\"overrides\": [", "\"overrides\": [{\"asn\": \"as64500\", \"region\": \"eu\"}, ",
	 "+ override AS64500: region eu, reason \"\"\n"},
	{"\"overrides\"",
	 "\"fences\": [{\"place\": \"country:DE\", \"regions\": [\"us\", \"eu\"], "
	 "\"service\": \"web\"}], \"overrides\"",
	 "+ fence country:DE@web: service web, regions us,eu, unknown free, reason \"\"\n"},
	{"\"overrides\"",
	 "\"access\": [{\"prefix\": \"10.0.0.0/8\", \"action\": \"deny\", \"service\": \"web\"},"
	 " {\"prefix\": \"9.0.0.0/8\", \"action\": \"allow\"}], \"overrides\"",
	 "+ access 9.0.0.0/8: service \"\", action allow, reason \"\"\n"
	 "+ access 10.0.0.0/8@web: service web, action deny, reason \"\"\n"},
	{"\"drain\"", "\"drain\", \"drain_until\": \"2030-01-01T02:00:00.5+02:00\"",
	 "~ region eu: drain_until \"\" -> 2030-01-01T00:00:00.500Z\n"},
	{"\"drain\"", "\"drain\", \"drain_until\": null", ""},
	{"\"drain\"", "\"drain\", \"drain_until\": \"\"", ""},
	{"\"tcp\"", "\"tcp\", \"affinity\": {\"kind\": \"flow\", \"prefix4\": 24}", ""},
	{"\"tcp\"", "\"tcp\", \"stale\": {\"kind\": \"pass\"}, \"limits\": {\"prefix6\": 56}",
	 "~ service web: limit_prefix6 64 -> 56, stale keep -> pass\n"},
	{"\"tcp\"", "\"tcp\", \"damping\": {\"suppress\": 0, \"half_life_s\": 120}",
	 "~ service web: damping_suppress 2500 -> 0, damping_half_life_s 60 -> 120\n"},
	{"\"tcp\"", "\"tcp\", \"damping\": {\"suppress\": 2500, \"ceiling_s\": 300}", ""},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"percent\": 0, \"all_down\": \"fixed:eu\"}",
	 "~ service web: panic_percent 50 -> 0, panic_all_down serve_any -> fixed:eu\n"},
	{"\"tcp\"", "\"tcp\", \"panic\": {\"percent\": 50, \"all_down\": \"serve_any\"}", ""},
};

static void test_differences(void **state)
{
	(void)state;
	for (size_t c = 0; c < sizeof(changes) / sizeof(changes[0]); c++) {
		struct gs_snapshot *have = parsed("50.1", "50.1");
		struct gs_snapshot *want = parsed(changes[c].from, changes[c].to);
		struct gs_difference difference;
		char lines[1024] = "";

		assert_int_equal(gs_difference_make(have, want, &difference), 0);
		for (size_t i = 0; i < difference.count; i++) {
			char *text = gs_change_text(&difference, &difference.changes[i]);
			json_t *json = gs_change_json(&difference, &difference.changes[i]);

			strncat(lines, text, sizeof(lines) - strlen(lines) - 2);
			strcat(lines, "\n");
			free(text);
			assert_non_null(json_object_get(json, "fields"));
			json_decref(json);
		}
		gs_difference_done(&difference);
		gs_snapshot_free(have);
		gs_snapshot_free(want);
		if (strcmp(lines, changes[c].lines) != 0)
			fail_msg("%s -> %s:\n%s", changes[c].from, changes[c].to, lines);
	}
}

/* A world differs from every other one, and not from itself. */
static void test_worlds_equal_themselves_only(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 20; seed++) {
		struct world *a = world_new(seed), *b = world_new(seed + 1);
		struct gs_difference same, other;

		assert_int_equal(gs_difference_make(&a->snapshot, &a->snapshot, &same), 0);
		assert_int_equal(gs_difference_make(&a->snapshot, &b->snapshot, &other), 0);
		assert_int_equal(same.count, 0);
		assert_true(other.count > 0);
		gs_difference_done(&same);
		gs_difference_done(&other);
		world_free(a);
		world_free(b);
	}
}

/* ---- back to a document ----------------------------------------------------------------------*/

static void test_exact_documents_come_back_as_they_were(void **state)
{
	char *text = replaced("\"latitude\": 39", "\"latitude\": 39, \"id\": 200");
	struct gs_snapshot *first = NULL, *back = NULL;
	struct gs_difference difference;
	struct gs_error error = {{0}};
	json_t *document;
	(void)state;

	assert_int_equal(gs_document_parse(text, strlen(text), "doc", &first, &error), 0);
	first->selection_seed = 0xfedcba9876543210u;
	first->services[0].breaker.trials = 77;
	first->services[0].breaker.enabled = false;
	document = gs_document_json(first, true);
	if (gs_document_read(document, &back, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(gs_difference_make(first, back, &difference), 0);
	assert_int_equal(difference.count, 0);
	assert_true(back->selection_seed == 0xfedcba9876543210u && back->seed_is_given);
	assert_int_equal(back->regions[1].id, 200);
	assert_true(back->regions[1].id_is_given && back->backends[0].id_is_given);
	assert_int_equal(back->overrides[0].region, 200);
	assert_int_equal(back->services[0].breaker.trials, 77);
	assert_false(back->services[0].breaker.enabled);
	gs_difference_done(&difference);
	gs_snapshot_free(back);
	json_decref(document);

	document = gs_document_json(first, false);
	assert_int_equal(gs_document_read(document, &back, &error), 0);
	assert_int_equal(gs_difference_make(first, back, &difference), 0);
	assert_int_equal(difference.count, 0);
	assert_false(back->seed_is_given || back->regions[1].id_is_given);
	assert_int_equal(back->regions[1].id, 2);
	gs_difference_done(&difference);
	gs_snapshot_free(back);
	gs_snapshot_free(first);
	json_decref(document);
	free(text);
}

static void test_ids_some_give_and_some_do_not(void **state)
{
	char *text = replaced("\"latitude\": 39", "\"latitude\": 39, \"id\": 1");
	struct gs_snapshot *s = NULL;
	struct gs_error error = {{0}};
	(void)state;

	if (gs_document_parse(text, strlen(text), "doc", &s, &error) != 0)
		fail_msg("%s", error.text);
	assert_string_equal(s->regions[0].name, "us"); /* sorted by id */
	assert_int_equal(s->regions[0].id, 1);
	assert_string_equal(s->regions[1].name, "eu");
	assert_int_equal(s->regions[1].id, 2);
	assert_int_equal(s->backends[0].region, 2);
	assert_int_equal(s->policies[0].order[0], 2);
	gs_snapshot_free(s);
	free(text);
}

static void test_an_id_is_one_objects(void **state)
{
	static const char text[] =
		"{\"regions\":[{\"name\":\"a\",\"latitude\":1,\"longitude\":1,\"id\":7},"
		"{\"name\":\"b\",\"latitude\":1,\"longitude\":1,\"id\":7}],"
		"\"policies\":[],\"services\":[],\"backends\":[]}";
	struct gs_snapshot *s = NULL;
	struct gs_error error = {{0}};
	(void)state;

	assert_int_equal(gs_document_parse(text, strlen(text), "doc", &s, &error), -EINVAL);
	assert_string_equal(error.text, "doc:1: regions[1].id: 7 is another one's too");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_says),
		cmocka_unit_test(test_what_steering_says),
		cmocka_unit_test(test_every_mistake_is_placed),
		cmocka_unit_test(test_missing_lists),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_worlds_equal_themselves_only),
		cmocka_unit_test(test_exact_documents_come_back_as_they_were),
		cmocka_unit_test(test_ids_some_give_and_some_do_not),
		cmocka_unit_test(test_an_id_is_one_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
