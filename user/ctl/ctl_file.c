// SPDX-License-Identifier: Apache-2.0
/* Commands that need neither daemon nor database. */
#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

static uint64_t table_bytes(const struct gs_geodata_family *family)
{
	return family->block_count * sizeof(struct gs_geo_block);
}

/* RFC 3339 in UTC; "?" for dates no calendar has. */
static const char *format_date(uint64_t unix_s, char out[40])
{
	time_t seconds = (time_t)unix_s;
	struct tm date;

	if (unix_s > INT32_MAX * 100ull || !gmtime_r(&seconds, &date) ||
	    !strftime(out, 40, "%Y-%m-%dT%H:%M:%SZ", &date))
		snprintf(out, 40, "?");
	return out;
}

static json_t *family_json(const struct gs_geodata_family *family)
{
	return json_pack("{s:I,s:I,s:I,s:I}", "networks", (json_int_t)family->networks, "prefixes",
			 (json_int_t)family->prefixes, "intervals", (json_int_t)family->start_count,
			 "table_bytes", (json_int_t)table_bytes(family));
}

static int print_json(const struct gs_geodata *geo)
{
	char date[40], digest[20];
	GS_AUTO_JSON json_t *reply = NULL;

	snprintf(digest, sizeof(digest), "%016" PRIx64, geo->digest);
	reply = json_pack("{s:s%,s:s,s:s,s:I,s:o,s:o,s:I,s:f,s:s}", "path", geo->path,
			  strlen(geo->path), "type", geo->database_type, "built",
			  format_date(geo->build_unix_s, date), "built_unix_s",
			  (json_int_t)geo->build_unix_s, "ipv4", family_json(&geo->v4), "ipv6",
			  family_json(&geo->v6), "locations", (json_int_t)geo->location_count - 1,
			  "seconds", (double)geo->load_us / 1e6, "digest", digest);
	if (!reply)
		return gs_ctl_fail("%s: the path is no UTF-8 and cannot be printed as JSON",
				   geo->path);
	return gs_ctl_print(reply);
}

static void print_family(const char *name, const struct gs_geodata_family *family)
{
	gs_ctl_printf("  %-9s %" PRIu64 " networks, %" PRIu64
		      " prefixes after merging, table %.1f MB\n",
		      name, family->networks, family->prefixes, (double)table_bytes(family) / 1e6);
}

static void print_text(const struct gs_geodata *geo)
{
	char date[40];

	gs_ctl_printf("%s: %s, built %s\n", geo->path, geo->database_type,
		      format_date(geo->build_unix_s, date));
	print_family("IPv4", &geo->v4);
	print_family("IPv6", &geo->v6);
	gs_ctl_printf("  %-9s %u\n", "locations", geo->location_count - 1);
	gs_ctl_printf("  %-9s %016" PRIx64 "\n", "digest", geo->digest);
	gs_ctl_printf("  %-9s %.3f s\n", "loaded in", (double)geo->load_us / 1e6);
}

static int geo_check(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct gs_geodb geodb;
	struct gs_geodata *geo;
	struct gs_error error;
	int result = GS_CTL_DONE;

	if (argc != 1)
		return gs_ctl_usage("geo", "check", "one FILE expected, not %d", argc);
	if (gs_mmdb_open(&geodb))
		return gs_ctl_fail("cannot read GeoIP databases");
	if (geodb.ops->load(geodb.self, argv[0], NULL, &geo, &error))
		return gs_ctl_fail("%s", error.text);
	if (ctl->json)
		result = print_json(geo);
	else
		print_text(geo);
	if (geo->location_count == 1)
		gs_ctl_fail("warning: %s: no record names a country, a continent or coordinates: "
			    "geo load will refuse it",
			    argv[0]);
	geodb.ops->release(geodb.self, geo);
	return result;
}

const struct gs_ctl_command gs_ctl_file_commands[] = {
	{"geo", "check", "FILE", "what a GeoIP database holds, or what is wrong with it",
	 geo_check},
	{NULL, NULL, NULL, NULL, NULL},
};
