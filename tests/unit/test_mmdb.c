/* SPDX-License-Identifier: Apache-2.0 */
/* Good files of all shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/mmdb_fixture.h"
#include "tests/fakes/world.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/country.h"

#include <math.h>
#include <string.h>

static int set_up(void **state)
{
	(void)state;
	mmdb_fixture_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mmdb_fixture_remove();
	return 0;
}

/* One record at 192.0.2.0/24 and 2001:db8::/32: what it comes to. */
static void shapes(void **state)
{
	static const struct {
		const char *name, *record;
		const char *country, *continent, *subdivision;
		double lat_deg, lon_deg; /* 999: none */
	} cases[] = {
		{"MaxMind city",
		 "{'city':{'names':{'en':'Munich'}},'continent':{'code':'EU','geoname_id':1},"
		 "'country':{'iso_code':'DE','names':{'en':'Germany'}},'location':{'accuracy_radius'"
		 ":10,'latitude':48.1375,'longitude':11.575,'time_zone':'Europe/Berlin'},"
		 "'registered_country':{'iso_code':'FR'},'subdivisions':[{'iso_code':'BY'},"
		 "{'iso_code':'XX'}]}",
		 "DE", "EU", "BY", 48.1375, 11.575},
		{"MaxMind country", "{'continent':{'code':'NA'},'country':{'iso_code':'US'}}", "US",
		 "NA", "", 40.7142, -74.0064},
		{"registered country only", "{'registered_country':{'iso_code':'JP'}}", "JP", "AS",
		 "", 35.6544, 139.7447},
		{"flat, doubles", "{'country_code':'BR','latitude':-23.5,'longitude':-46.6}", "BR",
		 "SA", "", -23.5, -46.6},
		{"flat, floats", "{'country_code':'BR','latitude':-23.5f,'longitude':-46.5f}", "BR",
		 "SA", "", -23.5, -46.5},
		{"flat, text", "{'country_code':'AU','latitude':'-33.87','longitude':'+151.2e0'}",
		 "AU", "OC", "", -33.87, 151.2},
		{"flat, whole numbers", "{'country_code':'AU','latitude':-33,'longitude':151}",
		 "AU", "OC", "", -33, 151},
		{"flat, lat and lng", "{'country':'ZA','lat':'-26.2','lng':'28'}", "ZA", "AF", "",
		 -26.2, 28},
		{"flat, lat and lon", "{'country':'ZA','lat':-26.2,'lon':28.0}", "ZA", "AF", "",
		 -26.2, 28},
		{"flat, country only", "{'country_code':'KE'}", "KE", "AF", "", -1.2833, 36.8167},
		{"code beside a name",
		 "{'continent':'Europe','continent_code':'EU','country':'Norway','country_code':"
		 "'NO'}",
		 "NO", "EU", "", 59.9167, 10.75},
		{"continent as code", "{'continent':'AS','country':'IN'}", "IN", "AS", "", 22.5333,
		 88.3667},
		{"lower case", "{'country_code':'it','continent_code':'eu'}", "IT", "EU", "", 41.9,
		 12.4833},
		{"withdrawn code", "{'country_code':'UK'}", "GB", "EU", "", 51.5083, -0.1253},
		{"region of a registry", "{'country_code':'EU'}", "EU", "EU", "", 50.8333, 4.3333},
		{"unknown code", "{'country_code':'ZZ'}", "ZZ", "", "", 999, 999},
		{"continent only", "{'continent':{'code':'AF'}}", "", "AF", "", 999, 999},
		{"coordinates only", "{'latitude':10.5,'longitude':20.5}", "", "", "", 10.5, 20.5},
		{"null island is nowhere", "{'country_code':'KE','latitude':0.0,'longitude':0.0}",
		 "KE", "AF", "", -1.2833, 36.8167},
		{"empty subdivisions", "{'country':{'iso_code':'KE'},'subdivisions':[]}", "KE",
		 "AF", "", -1.2833, 36.8167},
		{"the globe's ends", "{'country_code':'AQ','latitude':-90,'longitude':180}", "AQ",
		 "AN", "", -90, 180},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
		uint32_t record = mmdb_fixture_record(writer, cases[i].record);
		struct gs_mmdb_buffer bytes;
		struct gs_geodata *geo;
		const struct gs_location *found;

		mmdb_fixture_insert(writer, "192.0.2.0/24", record);
		mmdb_fixture_insert(writer, "2001:db8::/32", record);
		bytes = mmdb_fixture_bytes(writer);
		geo = mmdb_fixture_good(&bytes);
		found = mmdb_fixture_find(geo, "192.0.2.77");
		if (strcmp(found->country, cases[i].country) != 0 ||
		    strcmp(found->continent, cases[i].continent) != 0 ||
		    strcmp(found->subdivision, cases[i].subdivision) != 0)
			fail_msg("%s: \"%s\" \"%s\" \"%s\"", cases[i].name, found->country,
				 found->continent, found->subdivision);
		if (found->has_coord != (cases[i].lat_deg < 999) ||
		    (found->has_coord && (fabs(found->coord.lat_deg - cases[i].lat_deg) > 1e-3 ||
					  fabs(found->coord.lon_deg - cases[i].lon_deg) > 1e-3)))
			fail_msg("%s: %d %f %f", cases[i].name, found->has_coord,
				 found->coord.lat_deg, found->coord.lon_deg);
		assert_ptr_equal(mmdb_fixture_find(geo, "2001:db8::1"), found);
		assert_ptr_equal(mmdb_fixture_find(geo, "192.0.3.0"), &geo->locations[0]);
		assert_ptr_equal(mmdb_fixture_find(geo, "2001:db9::"), &geo->locations[0]);
		assert_string_equal(geo->database_type, "Test-City");
		assert_int_equal(geo->build_unix_s, 1700000000);
		assert_int_equal(geo->v4.networks, 1);
		assert_int_equal(geo->v6.networks, 1);
		mmdb_fixture_release(geo);
	}
}

/* Sound records without a place, beside one with. */
static void nothing_said(void **state)
{
	static const char *const records[] = {
		"{'country_code':'-','latitude':'','longitude':'-','continent_code':''}",
		"{'autonomous_system_number':64496}",
		"{'country':{'names':{'en':'Nowhere'}},'subdivisions':[],'location':[]}",
		"{}",
		"[]",
		"'2001:db8::/32'",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 28);
		struct gs_mmdb_buffer bytes;
		struct gs_geodata *geo;

		mmdb_fixture_insert(writer, "10.0.0.0/8",
				    mmdb_fixture_record(writer, "{'country_code':'DE'}"));
		mmdb_fixture_insert(writer, "192.0.2.0/24",
				    mmdb_fixture_record(writer, records[i]));
		bytes = mmdb_fixture_bytes(writer);
		geo = mmdb_fixture_good(&bytes);
		assert_ptr_equal(mmdb_fixture_find(geo, "192.0.2.1"), &geo->locations[0]);
		assert_string_equal(mmdb_fixture_find(geo, "10.0.0.1")->country, "DE");
		assert_int_equal(geo->v4.networks, 2);
		mmdb_fixture_release(geo);
	}
}

/* Random nested prefixes in every record size and both kinds of tree, against a table of them. */
static void record_sizes_and_trees(void **state)
{
	static const char *const countries[] = {"DE", "US", "JP", "BR", "AU", "ZA", "IN"};
	uint64_t seed = 17;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int round = 0; round < 24; round++) {
		unsigned ip_version = round % 2 ? 6 : 4, bits = 24 + 4 * (unsigned)(round / 2 % 3);
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(ip_version, bits);
		struct gs_prefix prefixes[60];
		size_t count = 0;
		struct gs_mmdb_buffer bytes;
		struct gs_geodata *geo;

		while (count < ARRAY_SIZE(prefixes)) {
			char text[GS_PREFIX_TEXT_MAX];
			struct gs_addr addr;
			uint8_t length;

			for (int i = 0; i < 16; i++)
				addr.bytes[i] = (uint8_t)world_draw(&seed);
			addr.bytes[0] = (uint8_t)(0x26 + world_draw(&seed) % 2);
			if (ip_version == 4 || world_draw(&seed) % 2)
				addr = gs_addr_from_v4(0x0a000000 +
						       (uint32_t)world_draw(&seed) % 0x400000);
			length = (uint8_t)(world_draw(&seed) % (gs_addr_is_v4(&addr) ? 33 : 129));
			prefixes[count] = gs_prefix_make(&addr, length);
			if (length < 8)
				continue;
			snprintf(text, sizeof(text), "{'country_code':'%s'}",
				 countries[count % ARRAY_SIZE(countries)]);
			mmdb_fixture_insert(
				writer,
				gs_prefix_format(&prefixes[count], (char[GS_PREFIX_TEXT_MAX]){0}),
				mmdb_fixture_record(writer, text));
			count++;
		}
		bytes = mmdb_fixture_bytes(writer);
		geo = mmdb_fixture_good(&bytes);
		for (int i = 0; i < 3000; i++) {
			size_t near = world_draw(&seed) % count, match = SIZE_MAX;
			struct gs_addr addr = prefixes[near].addr;
			const struct gs_location *found;

			for (int flip = (int)(world_draw(&seed) % 3); flip >= 0; flip--)
				addr.bytes[15 -
					   world_draw(&seed) % (prefixes[near].is_v4 ? 3 : 15)] ^=
					(uint8_t)(1u << world_draw(&seed) % 8);
			/* Later ones were written over earlier ones. */
			for (size_t j = 0; j < count; j++)
				if (gs_prefix_contains(&prefixes[j], &addr))
					match = j;
			found = &geo->locations[gs_geodata_find(geo, &addr, NULL)];
			assert_string_equal(
				found->country,
				match == SIZE_MAX ? "" : countries[match % ARRAY_SIZE(countries)]);
		}
		mmdb_fixture_release(geo);
	}
}

/* The IPv4 tree seen from other places of the IPv6 tree is counted once, and found by its own way.
 */
static void aliases_count_once(void **state)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 28);
	uint32_t germany = mmdb_fixture_record(writer, "{'country_code':'DE'}");
	uint32_t japan = mmdb_fixture_record(writer, "{'country_code':'JP'}");
	struct gs_mmdb_buffer bytes;
	struct gs_geodata *geo;
	(void)state;

	mmdb_fixture_insert(writer, "192.0.2.0/24", germany);
	mmdb_fixture_insert(writer, "198.51.100.0/24", japan);
	mmdb_fixture_insert(writer, "2001:db8::/32", japan);
	mmdb_fixture_alias(writer, "::ffff:0:0/96");
	mmdb_fixture_alias(writer, "2002::/16");
	mmdb_fixture_alias(writer, "2001::/32");
	mmdb_fixture_alias(writer, "64:ff9b::/96");
	bytes = mmdb_fixture_bytes(writer);
	geo = mmdb_fixture_good(&bytes);
	assert_int_equal(geo->v4.networks, 2);
	assert_int_equal(geo->v6.networks, 1);
	assert_int_equal(geo->v4.prefixes, 2);
	assert_int_equal(geo->v6.prefixes, 1);
	assert_string_equal(mmdb_fixture_find(geo, "192.0.2.1")->country, "DE");
	assert_string_equal(mmdb_fixture_find(geo, "2002:c000:201::1")->country, "DE");
	assert_string_equal(mmdb_fixture_find(geo, "64:ff9b::198.51.100.1")->country, "JP");
	assert_string_equal(mmdb_fixture_find(geo, "2001:0:c000:201::1")->country, "");
	assert_string_equal(mmdb_fixture_find(geo, "::192.0.2.1")->country, "");
	mmdb_fixture_release(geo);
}

/* An IPv6 prefix shorter than /96 around the IPv4 tree's place holds all of IPv4. */
static void no_ipv4_tree(void **state)
{
	static const char *const prefixes[] = {"::/64", "::/1", "::/95"};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 32);
		struct gs_mmdb_buffer bytes;
		struct gs_geodata *geo;

		mmdb_fixture_insert(writer, prefixes[i],
				    mmdb_fixture_record(writer, "{'country_code':'KE'}"));
		bytes = mmdb_fixture_bytes(writer);
		geo = mmdb_fixture_good(&bytes);
		assert_string_equal(mmdb_fixture_find(geo, "192.0.2.1")->country, "KE");
		assert_string_equal(mmdb_fixture_find(geo, "::1")->country, "KE");
		assert_string_equal(mmdb_fixture_find(geo, "8000::1")->country, "");
		mmdb_fixture_release(geo);
	}
}

/* Data shared through pointers, as real writers do. */
static void pointers(void **state)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(4, 24);
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(writer), bytes;
	uint32_t key, country, record;
	struct gs_geodata *geo;
	(void)state;

	key = mmdb_fixture_record(writer, "'country'");
	country = mmdb_fixture_record(writer, "{'iso_code':'CL'}");
	record = (uint32_t)data->size;
	gs_mmdb_put_map(data, 2);
	gs_mmdb_put_text(data, "names");
	gs_mmdb_put_pointer(data, country);
	gs_mmdb_put_pointer(data, key);
	gs_mmdb_put_pointer(data, country);
	mmdb_fixture_insert(writer, "192.0.2.0/25", record);
	mmdb_fixture_insert(writer, "192.0.2.128/25", record);
	bytes = mmdb_fixture_bytes(writer);
	geo = mmdb_fixture_good(&bytes);
	assert_string_equal(mmdb_fixture_find(geo, "192.0.2.1")->country, "CL");
	assert_int_equal(geo->v4.networks, 2);
	assert_int_equal(geo->v4.prefixes, 1);
	assert_int_equal(geo->v6.networks, 0);
	assert_int_equal(geo->location_count, 2);
	mmdb_fixture_release(geo);
}

/* One location a country, subdivision and one-degree cell, at the mean of its distinct records. */
static void cells(void **state)
{
	static const struct {
		const char *prefix, *record;
	} cases[] = {
		{"10.0.0.0/24", "{'country_code':'DE','lat':50.25,'lon':8.5}"},
		{"10.0.1.0/24", "{'country_code':'DE','lat':50.75,'lon':8.0}"},
		{"10.0.2.0/24", "{'country_code':'DE','lat':51.0,'lon':8.5}"},
		{"10.0.3.0/24", "{'country_code':'FR','lat':50.25,'lon':8.5}"},
		{"10.0.4.0/24", "{'country':{'iso_code':'DE'},'subdivisions':[{'iso_code':'HE'}],"
				"'lat':50.25,'lon':8.5}"},
		{"10.0.5.0/24", "{'country_code':'DE'}"},
		{"10.0.6.0/24", "{'country_code':'DE','lat':-0.25,'lon':-0.25}"},
		{"10.0.7.0/24", "{'country_code':'DE','lat':0.25,'lon':0.25}"},
	};
	struct gs_geodata *geo[2];
	const struct gs_location *first;
	(void)state;

	for (int turn = 0; turn < 2; turn++) {
		struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
		struct gs_mmdb_buffer bytes;

		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			/* The second file holds the records the other way round. */
			size_t j = turn ? ARRAY_SIZE(cases) - 1 - i : i;
			uint32_t record = mmdb_fixture_record(writer, cases[j].record);

			mmdb_fixture_insert(writer, cases[j].prefix, record);
			/* Many networks of one record weigh no more than one. */
			if (j == 0)
				mmdb_fixture_insert(writer, "172.16.0.0/12", record);
		}
		bytes = mmdb_fixture_bytes(writer);
		geo[turn] = mmdb_fixture_good(&bytes);
	}
	first = mmdb_fixture_find(geo[0], "10.0.0.1");
	assert_ptr_equal(first, mmdb_fixture_find(geo[0], "10.0.1.1"));
	assert_true(fabs(first->coord.lat_deg - 50.5) < 1e-9);
	assert_true(fabs(first->coord.lon_deg - 8.25) < 1e-9);
	assert_int_equal(geo[0]->location_count, 8);
	assert_string_equal(mmdb_fixture_find(geo[0], "10.0.4.1")->subdivision, "HE");
	assert_ptr_not_equal(mmdb_fixture_find(geo[0], "10.0.6.1"),
			     mmdb_fixture_find(geo[0], "10.0.7.1"));
	assert_true(geo[0]->digest == geo[1]->digest);
	for (int turn = 0; turn < 2; turn++)
		mmdb_fixture_release(geo[turn]);
}

/* Twice as many classes as there are ids: coarser ones, none left out, all of them near. */
static void too_many_locations(void **state)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(4, 32);
	struct gs_mmdb_buffer bytes;
	struct gs_geodata *geo;
	(void)state;

	for (int lat = -90; lat < 90; lat++)
		for (int lon = -180; lon < 180; lon++)
			for (int country = 0; country < 2; country++) {
				char record[96];
				struct gs_addr addr = gs_addr_from_v4(
					(uint32_t)((lat + 90) * 1024 + lon + 180) * 2 +
					(uint32_t)country);

				snprintf(record, sizeof(record),
					 "{'country_code':'%s','lat':%.1f,'lon':%.1f}",
					 country ? "DE" : "US", lat + 0.5, lon + 0.5);
				assert_int_equal(
					gs_mmdb_writer_insert(writer, &addr, &addr,
							      mmdb_fixture_record(writer, record)),
					0);
			}
	bytes = mmdb_fixture_bytes(writer);
	geo = mmdb_fixture_good(&bytes);
	assert_true(geo->location_count <= GS_MAX_LOCATIONS - GS_MAX_REGIONS);
	/* Two-degree cells of two countries. */
	assert_int_equal(geo->location_count, 2 * 90 * 180 + 1);
	for (int lat = -90; lat < 90; lat += 7)
		for (int lon = -180; lon < 180; lon += 11) {
			struct gs_addr addr =
				gs_addr_from_v4((uint32_t)((lat + 90) * 1024 + lon + 180) * 2);
			const struct gs_location *found =
				&geo->locations[gs_geodata_find(geo, &addr, NULL)];

			assert_string_equal(found->country, "US");
			assert_true(fabs(found->coord.lat_deg - lat) <= 1.0);
			assert_true(fabs(found->coord.lon_deg - lon) <= 1.0);
		}
	mmdb_fixture_release(geo);
}

/* Fewer prefixes say the same: the count is of the smallest set. */
static void counts_prefixes(void **state)
{
	struct gs_mmdb_writer *writer = gs_mmdb_writer_new(6, 24);
	uint32_t germany = mmdb_fixture_record(writer, "{'country_code':'DE'}");
	uint32_t again = mmdb_fixture_record(writer, "{'country':{'iso_code':'DE'}}");
	struct gs_mmdb_buffer bytes;
	struct gs_geodata *geo;
	(void)state;

	mmdb_fixture_insert(writer, "10.0.0.0/25", germany);
	mmdb_fixture_insert(writer, "10.0.0.128/25", again);
	mmdb_fixture_insert(writer, "10.0.1.0/24", germany);
	mmdb_fixture_insert(writer, "10.0.2.0/32", germany);
	mmdb_fixture_insert(writer, "8000::/2", germany);
	mmdb_fixture_insert(writer, "c000::/2", again);
	bytes = mmdb_fixture_bytes(writer);
	geo = mmdb_fixture_good(&bytes);
	assert_int_equal(geo->v4.networks, 4);
	assert_int_equal(geo->v4.prefixes, 2); /* 10.0.0.0/23, 10.0.2.0/32 */
	assert_int_equal(geo->v6.networks, 2);
	assert_int_equal(geo->v6.prefixes, 1); /* 8000::/1 */
	mmdb_fixture_release(geo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shapes),
		cmocka_unit_test(nothing_said),
		cmocka_unit_test(record_sizes_and_trees),
		cmocka_unit_test(aliases_count_once),
		cmocka_unit_test(no_ipv4_tree),
		cmocka_unit_test(pointers),
		cmocka_unit_test(cells),
		cmocka_unit_test(too_many_locations),
		cmocka_unit_test(counts_prefixes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
