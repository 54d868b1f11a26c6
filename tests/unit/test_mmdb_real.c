/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The build's own database against the text it was made from, read once more here and searched by
 * interval, and against libmaxminddb's own way from an address to its record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/base/progress.h"
#include "user/core/cidr.h"
#include "user/core/country.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <maxminddb.h>
#include <string.h>
#include <sys/stat.h>

__extension__ typedef unsigned __int128 u128;

enum { RANDOM = 1000000, PEERS = 200000 };

struct interval {
	u128 first, last;
	char code[3];
};

struct text {
	struct interval *intervals;
	size_t count;
};

static struct {
	char path[128];
	struct gs_geodb geodb;
	struct gs_geodata *geo;
	struct gs_progress progress; /* of its load */
	struct text v4, v6;
} real;

static u128 parse_number(const char *text, bool is_v4)
{
	uint8_t bytes[16];
	u128 number = 0;

	if (is_v4)
		return strtoul(text, NULL, 10);
	assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
	for (int i = 0; i < 16; i++)
		number = number << 8 | bytes[i];
	return number;
}

static void read_text(const char *path, bool is_v4, struct text *text)
{
	GS_AUTO_FCLOSE FILE *file = fopen(path, "re");
	char first[64], last[64], line[160];
	size_t room = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		struct interval interval = {0};

		if (sscanf(line, "%63[^,#],%63[^,],%2s", first, last, interval.code) != 3)
			continue;
		if (text->count == room) {
			room = room ? 2 * room : 1024;
			text->intervals = reallocarray(text->intervals, room, sizeof(interval));
			assert_non_null(text->intervals);
		}
		interval.first = parse_number(first, is_v4);
		interval.last = parse_number(last, is_v4);
		text->intervals[text->count++] = interval;
	}
	assert_true(text->count > 100000);
}

static int set_up(void **state)
{
	const char *build = getenv("BUILD");
	struct gs_error error;
	(void)state;

	snprintf(real.path, sizeof(real.path), "%.80s/geoip/geostream-country.mmdb",
		 build ? build : "build");
	gs_mmdb_open(&real.geodb);
	if (real.geodb.ops->load(real.geodb.self, real.path, &real.progress, &real.geo, &error)) {
		print_error("%s\n", error.text);
		return -1;
	}
	read_text("/usr/share/tor/geoip", true, &real.v4);
	read_text("/usr/share/tor/geoip6", false, &real.v6);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	real.geodb.ops->release(real.geodb.self, real.geo);
	free(real.v4.intervals);
	free(real.v6.intervals);
	return 0;
}

/* What the text says of an address: its code, or "". */
static const char *text_code(const struct text *text, u128 number)
{
	size_t low = 0, high = text->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (text->intervals[middle].last < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == text->count || text->intervals[low].first > number)
		return "";
	return text->intervals[low].code;
}

static void check_number(const struct text *text, enum gs_geo_family family, u128 number)
{
	const struct gs_geodata_family *tables =
		family == GS_GEO_V4 ? &real.geo->v4 : &real.geo->v6;
	struct gs_geo_key key = {(uint64_t)(number >> 64), (uint64_t)number};
	const struct gs_country *want = gs_country_find(text_code(text, number));
	uint16_t id = gs_geo_find(tables->blocks, tables->block_count, family, key);
	const struct gs_location *location = &real.geo->locations[id];
	bool is_region = want && (!strcmp(want->code, "EU") || !strcmp(want->code, "AP"));

	if (id >= real.geo->location_count || (id == 0) != !want ||
	    (want && (strcmp(location->country, is_region ? "" : want->code) != 0 ||
		      strcmp(location->continent, want->continent) != 0 || !location->has_coord)))
		fail_msg("IPv%d %016llx%016llx: \"%s\", want \"%s\"", family == GS_GEO_V4 ? 4 : 6,
			 (unsigned long long)(number >> 64), (unsigned long long)number,
			 location->country, text_code(text, number));
}

static void check_family(const struct text *text, enum gs_geo_family family, uint64_t seed)
{
	const u128 end = family == GS_GEO_V4 ? UINT32_MAX : ~(u128)0;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (size_t i = 0; i < text->count; i++) {
		const struct interval *interval = &text->intervals[i];

		check_number(text, family, interval->first);
		check_number(text, family, interval->last);
		if (interval->first > 0)
			check_number(text, family, interval->first - 1);
		if (interval->last < end)
			check_number(text, family, interval->last + 1);
	}
	for (int i = 0; i < RANDOM; i++) {
		u128 number = (u128)world_draw(&seed) << 64 | world_draw(&seed);
		const struct interval *near = &text->intervals[world_draw(&seed) % text->count];

		/* IPv6 is mostly empty: half of the draws fall into a range. */
		if (i % 2)
			number = near->first + number % (near->last - near->first + 1);
		check_number(text, family, number & end);
	}
}

static void ipv4_as_in_the_text(void **state)
{
	(void)state;
	check_family(&real.v4, GS_GEO_V4, 7);
}

static void ipv6_as_in_the_text(void **state)
{
	(void)state;
	check_family(&real.v6, GS_GEO_V6, 8);
}

/* One lookup an address, where the adapter walks the whole tree once. */
static void as_libmaxminddb_looks_it_up(void **state)
{
	uint64_t seed = 9;
	MMDB_s mmdb;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)seed);
	assert_int_equal(MMDB_open(real.path, MMDB_MODE_MMAP, &mmdb), MMDB_SUCCESS);
	for (int i = 0; i < PEERS; i++) {
		const struct text *text = i % 2 ? &real.v6 : &real.v4;
		u128 number = text->intervals[world_draw(&seed) % text->count].last;
		struct sockaddr_in6 to = {.sin6_family = AF_INET6};
		struct gs_addr addr;
		MMDB_lookup_result_s result;
		MMDB_entry_data_s country = {0};
		const struct gs_location *location;
		int error;

		number += world_draw(&seed) % 3 - 1;
		for (int byte = 15; byte >= 0; byte--, number >>= 8)
			addr.bytes[byte] = (uint8_t)number;
		if (i % 2 == 0)
			addr = gs_addr_from_v4(gs_addr_to_v4(&addr));
		if (gs_geo_embedded_v4(&addr, &(struct gs_addr){{0}}))
			continue;
		memcpy(&to.sin6_addr, addr.bytes, 16);
		if (i % 2 == 0)
			memset(&to.sin6_addr, 0, 12);
		result = MMDB_lookup_sockaddr(&mmdb, (struct sockaddr *)&to, &error);
		assert_int_equal(error, MMDB_SUCCESS);
		if (result.found_entry)
			MMDB_get_value(&result.entry, &country, "country", "iso_code", NULL);
		location = &real.geo->locations[gs_geodata_find(real.geo, &addr, NULL)];
		assert_int_equal(strlen(location->country),
				 country.has_data ? country.data_size : 0);
		if (country.has_data)
			assert_memory_equal(location->country, country.utf8_string, 2);
	}
	MMDB_close(&mmdb);
}

/* "+DDMM", "-DDDMMSS": width digits of degrees. */
static double zone_degrees(const char *text, int width, size_t length)
{
	char degrees[4] = {0}, minutes[3] = {0}, seconds[3] = {0};

	memcpy(degrees, text + 1, (size_t)width);
	memcpy(minutes, text + 1 + width, 2);
	if (length > (size_t)width + 3)
		memcpy(seconds, text + 3 + width, 2);
	return (*text == '-' ? -1 : 1) *
	       (atof(degrees) + atof(minutes) / 60 + atof(seconds) / 3600);
}

/* Every country zone.tab knows stands at one of its zones there. */
static void coordinates_are_zones(void **state)
{
	GS_AUTO_FCLOSE FILE *file = fopen("/usr/share/zoneinfo/zone.tab", "re");
	bool met[26 * 26] = {false}, stands[26 * 26] = {false};
	char line[256], code[3], where[32];
	(void)state;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		size_t lat;

		if (line[0] == '#' || sscanf(line, "%2s %31s", code, where) != 2)
			continue;
		lat = 1 + strcspn(where + 1, "+-");
		for (uint32_t i = 1; i < real.geo->location_count; i++) {
			const struct gs_location *location = &real.geo->locations[i];
			int index = (code[0] - 'A') * 26 + code[1] - 'A';

			if (strcmp(location->country, code) != 0)
				continue;
			met[index] = true;
			if (fabs(location->coord.lat_deg - zone_degrees(where, 2, lat)) < 1e-6 &&
			    fabs(location->coord.lon_deg -
				 zone_degrees(where + lat, 3, strlen(where + lat))) < 1e-6)
				stands[index] = true;
		}
	}
	assert_memory_equal(met, stands, sizeof(met));
	assert_true(met[('D' - 'A') * 26 + 'E' - 'A']);
}

/* Attribution and date travel with the file; loading twice gives the same. */
static void metadata_and_digest(void **state)
{
	struct gs_geodata *again = NULL;
	struct gs_error error;
	MMDB_s mmdb;
	(void)state;

	assert_int_equal(MMDB_open(real.path, MMDB_MODE_MMAP, &mmdb), MMDB_SUCCESS);
	assert_int_equal(mmdb.metadata.description.count, 1);
	assert_non_null(strstr(mmdb.metadata.description.descriptions[0]->description, "IPFire"));
	assert_non_null(
		strstr(mmdb.metadata.description.descriptions[0]->description, "CC BY-SA 4.0"));
	assert_true(mmdb.metadata.build_epoch == real.geo->build_unix_s);
	assert_string_equal(mmdb.metadata.database_type, real.geo->database_type);
	assert_true(mmdb.metadata.build_epoch > 1600000000);
	MMDB_close(&mmdb);

	assert_int_equal(real.geodb.ops->load(real.geodb.self, real.path, NULL, &again, &error), 0);
	assert_true(again->digest == real.geo->digest);
	real.geodb.ops->release(real.geodb.self, again);
	assert_true(real.geo->v4.networks + real.geo->v6.networks > 1000000);
	assert_in_range(real.geo->location_count, 230, 260);
}

static void a_load_tells_how_far_it_is_and_ends_when_told(void **state)
{
	struct gs_progress_view view;
	struct gs_geodata *none = NULL;
	struct gs_error error;
	struct stat file;

	(void)state;
	assert_int_equal(stat(real.path, &file), 0);
	gs_progress_look(&real.progress, &view);
	assert_int_equal(view.size_bytes, file.st_size);
	assert_int_equal(view.phase, GS_PHASE_COMPILING);
	assert_int_equal(view.done, 1); /* of two families: the second one ended it */
	assert_in_range(view.percent, 60, 90);
	gs_progress_cancel(&real.progress);
	assert_int_equal(
		real.geodb.ops->load(real.geodb.self, real.path, &real.progress, &none, &error),
		-ECANCELED);
	assert_null(none);
	assert_non_null(strstr(error.text, "cancelled"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_as_in_the_text),
		cmocka_unit_test(ipv6_as_in_the_text),
		cmocka_unit_test(as_libmaxminddb_looks_it_up),
		cmocka_unit_test(coordinates_are_zones),
		cmocka_unit_test(metadata_and_digest),
		cmocka_unit_test(a_load_tells_how_far_it_is_and_ends_when_told),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
