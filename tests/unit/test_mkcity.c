/* SPDX-License-Identifier: Apache-2.0 */
/* A city-level database in small: the shape that was asked for, and nothing that the loader would
 * make one of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bench/city.h"
#include "tests/fakes/mmdb_fixture.h"
#include "tests/fakes/world.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define SHAPE "tests/bench/city_prefixes.csv"
#define ZONES "/usr/share/zoneinfo/zone.tab"
#define SCALE 512u

static char shape_path[] = "/tmp/gs-test-mkcity-XXXXXX";
static struct city_places places;

static int set_up(void **state)
{
	int fd = mkstemp(shape_path);
	(void)state;

	assert_true(fd >= 0);
	close(fd);
	mmdb_fixture_make();
	assert_int_equal(city_places_read(ZONES, &places), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	city_places_done(&places);
	mmdb_fixture_remove();
	remove(shape_path);
	return 0;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static int read_text(const char *text, char said[512])
{
	const char *build = getenv("BUILD");
	FILE *file = fopen(shape_path, "we"), *pipe;
	char command[300];
	size_t length;
	int status;

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	snprintf(command, sizeof(command), "%.80s/bench/mkcity --histogram %s no no %s 2>&1",
		 build ? build : "build", shape_path, mmdb_fixture_path());
	pipe = popen(command, "re");
	assert_non_null(pipe);
	length = fread(said, 1, 511, pipe);
	said[length] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define V4 "4,networks,9\n4,cells,2\n4,8,1\n4,24,2\n"
#define V6 "6,networks,3\n6,cells,2\n6,32,2\n6,128,1\n"

static void bad_shapes(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{V4 "5,24,7\n" V6, ":5: not a family"},
		{"# one\n" V4 "6,24\n", ":6: not a family"},
		{V4 "\n" V6, ":5: not a family"},
		{"4,33,1\n", ":1: no prefix length of 1 to 32"},
		{"4,0,1\n", ":1: no prefix length of 1 to 32"},
		{V4 "6,129,1\n", ":5: no prefix length of 1 to 128"},
		{V4 "6,x,1\n", ":5: no prefix length of 1 to 128"},
		{"4,24,-1\n", ":1: the count is no number"},
		{"4,24,4294967296\n", ":1: the count is no number"},
		{"4,24,1 \n", ":1: the count is no number"},
		{V4 V6 "6,32,2\n", ":9: the same unit as a line above"},
		{V4 "4,cells,2\n" V6, ":5: the same unit as a line above"},
		{V4, ": no IPv6 prefixes"},
		{V4 "4,9,7\n" V6, ": IPv4: 9 networks cannot be 10 prefixes"},
		{V4 "6,networks,9\n6,cells,5\n6,32,3\n", ": IPv6: 5 cells are not"},
		{"4,networks,900\n4,cells,2\n4,8,255\n4,12,17\n" V6,
		 ": IPv4: prefixes of up to 12 bits hold more"},
		{V4 "6,networks,9\n6,cells,2\n6,1,2\n", ": IPv6: prefixes of up to 1 bits hold"},
	};
	char said[512];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (read_text(cases[i].text, said) != 1 || !strstr(said, cases[i].want) ||
		    strchr(said, '\n') != said + strlen(said) - 1)
			fail_msg("\"%s\" does not say \"%s\"", said, cases[i].want);
	/* This one is good; the database is not there. */
	assert_int_equal(read_text("family,unit,count\n" V4 V6, said), 1);
	assert_non_null(strstr(said, "mkcity: no: cannot open"));
	/* So is this one, of lengths alone. */
	assert_int_equal(read_text("family,prefix_length,count\n4,24,7\n6,48,7\n", said), 1);
	assert_non_null(strstr(said, "mkcity: no: cannot open"));
}

static void scales(void **state)
{
	struct city_shape shapes[2];
	(void)state;

	assert_int_equal(city_shape_read(SHAPE, shapes), 0);
	assert_int_equal(city_shape_prefixes(&shapes[0]), 4407660);
	assert_int_equal(city_shape_prefixes(&shapes[1]), 5795419);
	assert_int_equal(shapes[0].networks, 6324784);
	city_shape_scale(&shapes[0], 64);
	assert_true(labs((long)city_shape_prefixes(&shapes[0]) - 4407660 / 64) <= 1);
	assert_true(labs((long)shapes[0].prefixes[24] - 1931261 / 64) <= 1);
	assert_true(labs((long)shapes[0].networks - 6324784 / 64) <= 2);
	assert_int_equal(shapes[0].cells, 8300 / 64);
}

/* ---- prefixes ------------------------------------------------------------------------------- */

/* A world of four countries in strips, some of them nobody's or only "somewhere in Europe". */
enum { STRIPS = 600 };

static struct gs_location locations[] = {{.country = ""},   {.country = "US"}, {.country = "DE"},
					 {.country = "JP"}, {.country = "VA"}, {.continent = "EU"}};

static void make_family(struct gs_geodata_family *family, unsigned width, uint64_t *seed)
{
	static struct gs_geo_key starts[2][STRIPS];
	static uint16_t owners[2][STRIPS];
	const bool is_v6 = width == 128;
	uint64_t at = is_v6 ? 0x2001000000000000 : 0;

	for (size_t i = 0; i < STRIPS; i++) {
		starts[is_v6][i] = is_v6 ? (struct gs_geo_key){at, 0} : (struct gs_geo_key){0, at};
		owners[is_v6][i] = (uint16_t)(world_draw(seed) % (i % 5 ? 5 : 6));
		at += world_draw(seed) % (is_v6 ? 1ull << 46 : 14000000) + 1;
	}
	assert_true(is_v6 || at <= UINT32_MAX);
	starts[is_v6][0] = (struct gs_geo_key){0, 0};
	*family = (struct gs_geodata_family){
		.starts = starts[is_v6], .start_locations = owners[is_v6], .start_count = STRIPS};
}

static struct city_shape shape_of(int family)
{
	struct city_shape shapes[2];

	assert_int_equal(city_shape_read(SHAPE, shapes), 0);
	city_shape_scale(&shapes[family], SCALE);
	return shapes[family];
}

static struct city_blocks prefixes_of(int family, const struct city_shape *shape, uint64_t seed,
				      uint32_t ret_lacking[129])
{
	struct gs_geodata world = {.locations = locations, .location_count = 6};
	struct city_blocks space = {0}, prefixes = {0};
	uint64_t drawn = 7;

	make_family(family ? &world.v6 : &world.v4, shape->width, &drawn);
	assert_int_equal(city_space_make(&world, shape->width, &space), 0);
	assert_int_equal(city_split(&space, shape, seed, &prefixes, ret_lacking), 0);
	return prefixes;
}

/* Addresses of blocks; all disjoint and public. */
static city_number check_blocks(const struct city_blocks *blocks, unsigned width)
{
	city_number end = 0, sum = 0;

	for (size_t i = 0; i < blocks->count; i++) {
		const struct city_block *block = &blocks->at[i];
		city_number size = (city_number)1 << (width - block->length);

		assert_true(block->first >= end);
		assert_true((block->first & (size - 1)) == 0);
		assert_true(block->country < CITY_COUNTRIES);
		end = block->first + size;
		sum += size;
		if (width == 32)
			assert_true(block->first >> 24 != 10 && block->first >> 24 != 127 &&
				    block->first >> 24 != 0 && end <= 0xe0000000);
		else
			assert_true(block->first >> 124 == 2 && block->first >> 96 != 0x20010db8);
	}
	return sum;
}

static void space_is_all_that_is_public(void **state)
{
	struct gs_geodata world = {.locations = locations, .location_count = 6};
	uint64_t seed = 7;
	(void)state;

	for (unsigned width = 32; width <= 128; width += 96) {
		struct city_blocks space = {0};
		struct city_shape whole[2];
		city_number sum, want = 0;
		bool has_spare = false, has_given = false;

		make_family(width == 32 ? &world.v4 : &world.v6, width, &seed);
		assert_int_equal(city_space_make(&world, width, &space), 0);
		sum = check_blocks(&space, width);
		/* What was counted is all of it, too. */
		assert_int_equal(city_shape_read(SHAPE, whole), 0);
		for (unsigned i = 1; i <= width; i++)
			want += (city_number)whole[width == 128].prefixes[i] << (width - i);
		assert_true(sum == want);
		for (size_t i = 0; i < space.count; i++)
			*(space.at[i].is_spare ? &has_spare : &has_given) = true;
		assert_true(has_spare && has_given);
		city_blocks_done(&space);
	}
}

static void splits_to_the_shape(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++) {
		const struct city_shape shape = shape_of(family);
		uint32_t counts[129] = {0}, lacking[129] = {0};
		struct city_blocks prefixes = prefixes_of(family, &shape, 3, lacking);

		check_blocks(&prefixes, shape.width);
		for (size_t i = 0; i < prefixes.count; i++)
			counts[prefixes.at[i].length]++;
		for (unsigned i = 1; i <= shape.width; i++)
			if (counts[i] != shape.prefixes[i] || lacking[i])
				fail_msg("IPv%d /%u: %u, want %u", family ? 6 : 4, i, counts[i],
					 shape.prefixes[i]);
		city_blocks_done(&prefixes);
	}
}

static void says_what_is_lacking(void **state)
{
	struct city_shape shape = {.width = 32,
				   .part = 1,
				   .networks = 300,
				   .cells = 2,
				   .prefixes = {[4] = 9, [24] = 5}};
	uint32_t lacking[129] = {0};
	struct city_blocks prefixes = prefixes_of(0, &shape, 1, lacking);
	(void)state;

	/* No strip is that long. */
	assert_int_equal(lacking[4], 9);
	assert_int_equal(lacking[24], 0);
	assert_int_equal(prefixes.count, 5);
	city_blocks_done(&prefixes);
}

/* ---- places --------------------------------------------------------------------------------- */

static void cells_are_in_their_country(void **state)
{
	unsigned countries = 0;
	(void)state;

	for (unsigned i = 0; i < CITY_COUNTRIES; i++) {
		const struct city_country *country = &places.countries[i];

		if (country->code[0] == 0)
			continue;
		countries++;
		assert_true(country->cell_count >= 2);
		for (uint32_t j = 0; j < country->cell_count; j++)
			if (city_places_nearest(&places, &country->cells[j].coord) != i)
				fail_msg("%s: cell %u", country->code, j);
	}
	assert_true(countries > 240);
	assert_int_equal(places.countries[city_country_number("EU")].cell_count, 0);
}

static void gives_all_cells_and_no_neighbours_one(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++) {
		const struct city_shape shape = shape_of(family);
		static bool seen[CITY_COUNTRIES][1000];
		uint32_t lacking[129], cells, different = 0;
		struct city_blocks prefixes = prefixes_of(family, &shape, 5, lacking);

		memset(seen, 0, sizeof(seen));
		cells = city_places_give(&places, &prefixes, family, &shape, 5);
		for (size_t i = 0; i < prefixes.count; i++) {
			const struct city_block *prefix = &prefixes.at[i];
			const struct city_country *country = &places.countries[prefix->country];

			assert_true(prefix->cell < country->used[family]);
			assert_true(i == 0 || prefix[-1].country != prefix->country ||
				    prefix[-1].cell != prefix->cell);
			different += !seen[prefix->country][prefix->cell];
			seen[prefix->country][prefix->cell] = true;
		}
		assert_int_equal(different, cells);
		/* Four countries need two each. */
		assert_true(shape.cells >= 8);
		assert_int_equal(cells, shape.cells);
		city_blocks_done(&prefixes);
	}
}

/* ---- file ----------------------------------------------------------------------------------- */

static struct gs_geodata *make_file(uint64_t seed, struct city_shape shapes[2])
{
	struct city_blocks prefixes[2];
	struct gs_geodata *geo = NULL;
	struct gs_error error;
	uint32_t lacking[129], nodes = 0;

	for (int family = 0; family < 2; family++) {
		shapes[family] = shape_of(family);
		prefixes[family] = prefixes_of(family, &shapes[family], seed, lacking);
		city_places_give(&places, &prefixes[family], family, &shapes[family], seed);
	}
	assert_int_equal(
		city_file_write(&places, prefixes, shapes, seed, mmdb_fixture_path(), &nodes), 0);
	city_blocks_done(&prefixes[0]);
	city_blocks_done(&prefixes[1]);
	if (mmdb_fixture_load(&geo, &error))
		fail_msg("%s", error.text);
	/* two records a node: networks, nodes but the root, and what is empty */
	assert_true(nodes + 1ull >= geo->v4.networks + geo->v6.networks);
	assert_true(nodes < 4ull * (geo->v4.networks + geo->v6.networks));
	return geo;
}

static void check_family(const struct gs_geodata_family *family, const struct city_shape *shape)
{
	uint64_t counts[129];

	city_shape_count(family, shape->width, counts);
	for (unsigned i = 1; i <= shape->width; i++)
		if (counts[i] != shape->prefixes[i])
			fail_msg("/%u: %llu, want %u", i, (unsigned long long)counts[i],
				 shape->prefixes[i]);
	assert_int_equal(family->prefixes, city_shape_prefixes(shape));
	assert_int_equal(family->networks, shape->networks);
}

static void the_file_has_the_shape(void **state)
{
	struct city_shape shapes[2];
	struct gs_geodata *geo = make_file(1, shapes);
	(void)state;

	check_family(&geo->v4, &shapes[0]);
	check_family(&geo->v6, &shapes[1]);
	for (uint32_t i = 1; i < geo->location_count; i++) {
		const struct gs_location *location = &geo->locations[i];
		const struct city_country *country;

		assert_true(city_country_number(location->country) < CITY_COUNTRIES);
		country = &places.countries[city_country_number(location->country)];
		assert_string_equal(location->continent, country->continent);
		assert_true(location->has_coord && location->subdivision[0]);
		assert_int_equal(city_places_nearest(&places, &location->coord),
				 city_country_number(location->country));
	}
	mmdb_fixture_release(geo);
}

static uint64_t digest_of_file(void)
{
	FILE *file = fopen(mmdb_fixture_path(), "re");
	uint64_t digest = 14695981039346656037u;
	int byte;

	assert_non_null(file);
	while ((byte = getc(file)) != EOF)
		digest = (digest ^ (uint64_t)byte) * 1099511628211u;
	assert_int_equal(fclose(file), 0);
	return digest;
}

static void one_seed_is_one_file(void **state)
{
	static const uint64_t seeds[] = {1, 1, 2};
	uint64_t digests[3];
	struct city_shape shapes[2];
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		struct gs_geodata *geo = make_file(seeds[i], shapes);

		check_family(&geo->v6, &shapes[1]);
		mmdb_fixture_release(geo);
		digests[i] = digest_of_file();
	}
	assert_true(digests[0] == digests[1]);
	assert_true(digests[0] != digests[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_shapes),
		cmocka_unit_test(scales),
		cmocka_unit_test(space_is_all_that_is_public),
		cmocka_unit_test(splits_to_the_shape),
		cmocka_unit_test(says_what_is_lacking),
		cmocka_unit_test(cells_are_in_their_country),
		cmocka_unit_test(gives_all_cells_and_no_neighbours_one),
		cmocka_unit_test(the_file_has_the_shape),
		cmocka_unit_test(one_seed_is_one_file),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
