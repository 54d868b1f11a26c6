/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkcity [options] COUNTRY_MMDB ZONE_TAB OUT: an mmdb of a city-level database's shape over the
 * address space as countries have it, and what becomes of it when it is loaded.
 */
#include "city.h"

#include "user/adapters/adapters.h"
#include "user/base/cleanup.h"
#include "user/geoip/lines.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

struct options {
	const char *shape, *countries, *zones, *out;
	uint64_t seed;
	unsigned scale;
};

struct maker {
	struct options options;
	struct gs_geodb geodb;
	struct city_shape shapes[2];
	struct city_places places;
	struct city_blocks prefixes[2];
	uint32_t lacking[2][129];
	uint32_t nodes; /* of the file's tree */
	double began_s;
};

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int load(struct maker *maker, const char *path, struct gs_geodata **ret_geo)
{
	struct gs_error error;

	if (maker->geodb.ops->load(maker->geodb.self, path, NULL, ret_geo, &error))
		return gs_lines_complain("%s", error.text);
	return 0;
}

/* ---- make ----------------------------------------------------------------------------------- */

static int make_prefixes(struct maker *maker, const struct gs_geodata *countries, int family)
{
	const char *name = family ? "IPv6" : "IPv4";
	struct city_blocks space = {0};
	uint32_t cells;
	int err;

	err = city_space_make(countries, maker->shapes[family].width, &space);
	if (!err)
		err = city_split(&space, &maker->shapes[family], maker->options.seed,
				 &maker->prefixes[family], maker->lacking[family]);
	city_blocks_done(&space);
	if (err)
		return gs_lines_complain("%s: %s", name,
					 err == -EINVAL ? "the database names no country"
							: strerror(-err));
	cells = city_places_give(&maker->places, &maker->prefixes[family], family,
				 &maker->shapes[family], maker->options.seed);
	printf("%s  cells %u, wanted %u%s\n", name, cells, maker->shapes[family].cells,
	       cells > maker->shapes[family].cells ? ": countries have two at least" : "");
	return 0;
}

static int make(struct maker *maker)
{
	struct gs_geodata *countries;
	int err = load(maker, maker->options.countries, &countries);

	if (err)
		return err;
	err = city_places_read(maker->options.zones, &maker->places);
	for (int family = 0; family < 2 && !err; family++)
		err = make_prefixes(maker, countries, family);
	maker->geodb.ops->release(maker->geodb.self, countries);
	if (err)
		return err;
	err = city_file_write(&maker->places, maker->prefixes, maker->shapes, maker->options.seed,
			      maker->options.out, &maker->nodes);
	return err ? gs_lines_complain("%s: %s", maker->options.out, strerror(-err)) : 0;
}

/* ---- what it became ------------------------------------------------------------------------- */

static void print_family(const struct maker *maker, const struct gs_geodata_family *family, int i)
{
	const struct city_shape *shape = &maker->shapes[i];
	const char *name = i ? "IPv6" : "IPv4";
	uint64_t counts[129], off = 0;

	city_shape_count(family, shape->width, counts);
	for (unsigned length = 1; length <= shape->width; length++) {
		uint32_t want = shape->prefixes[length];
		const char *why = maker->lacking[i][length] ? "  nothing left to split" : "";

		if (counts[length] == 0 && want == 0)
			continue;
		printf("%s  /%-3u %8llu", name, length, (unsigned long long)counts[length]);
		if (counts[length] != want)
			printf("  wanted %u%s", want, why);
		putchar('\n');
		off += counts[length] > want ? counts[length] - want : want - counts[length];
	}
	printf("%s  %llu networks (wanted %u), %llu prefixes (wanted %llu), %llu not of the "
	       "length wanted\n",
	       name, (unsigned long long)family->networks, shape->networks,
	       (unsigned long long)family->prefixes, (unsigned long long)city_shape_prefixes(shape),
	       (unsigned long long)off);
	printf("%s  table of %zu blocks, %.1f MB\n", name, family->block_count,
	       (double)family->block_count * sizeof(struct gs_geo_block) / 1e6);
}

static long peak_kb(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_maxrss;
}

static int tell(struct maker *maker)
{
	const double made_s = now_s() - maker->began_s;
	const long made_kb = peak_kb();
	struct gs_geodata *geo;
	struct stat st = {0};
	int err = load(maker, maker->options.out, &geo);

	if (err)
		return err;
	if (stat(maker->options.out, &st) < 0)
		st.st_size = 0;
	print_family(maker, &geo->v4, 0);
	print_family(maker, &geo->v6, 1);
	printf("%s: %u nodes, %.1f MB, made in %.1f s with %ld MB of memory; %u locations, loaded in %.2f s\n",
	       maker->options.out, maker->nodes, (double)st.st_size / 1e6, made_s, made_kb / 1000,
	       geo->location_count - 1, (double)geo->load_us / 1e6);
	maker->geodb.ops->release(maker->geodb.self, geo);
	return 0;
}

/* ---- command line --------------------------------------------------------------------------- */

static int usage(void)
{
	fputs("usage: mkcity [--seed N] [--scale N] [--histogram FILE] COUNTRY_MMDB ZONE_TAB OUT\n"
	      "  --seed N      another database of the same shape (default 1)\n"
	      "  --scale N     one N-th of it, of 1 to 4096\n"
	      "  --histogram FILE  instead of tests/bench/city_prefixes.csv\n",
	      stderr);
	return 2;
}

/* 0 or -EINVAL. */
static int parse_number(const char *text, uint64_t most, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *ret_number <= most
		       ? 0
		       : -EINVAL;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"seed", required_argument, NULL, 's'},
		{"scale", required_argument, NULL, 'n'},
		{"histogram", required_argument, NULL, 'f'},
		{NULL, 0, NULL, 0},
	};
	uint64_t scale = 1;
	int option, err = 0;

	*options = (struct options){.shape = "tests/bench/city_prefixes.csv", .seed = 1};
	while (!err && (option = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (option) {
		case 's':
			err = parse_number(optarg, UINT64_MAX, &options->seed);
			break;
		case 'n':
			err = parse_number(optarg, 4096, &scale);
			break;
		case 'f':
			options->shape = optarg;
			break;
		default:
			err = -EINVAL;
		}
	if (err || scale == 0 || argc - optind != 3)
		return -EINVAL;
	options->scale = (unsigned)scale;
	options->countries = argv[optind];
	options->zones = argv[optind + 1];
	options->out = argv[optind + 2];
	return 0;
}

int main(int argc, char **argv)
{
	static struct maker maker;
	int err;

	if (parse_options(argc, argv, &maker.options))
		return usage();
	maker.began_s = now_s();
	err = city_shape_read(maker.options.shape, maker.shapes);
	if (!err && gs_mmdb_open(&maker.geodb))
		err = gs_lines_complain("cannot read GeoIP databases");
	for (int family = 0; family < 2; family++)
		city_shape_scale(&maker.shapes[family], maker.options.scale);
	if (!err)
		err = make(&maker);
	city_blocks_done(&maker.prefixes[0]);
	city_blocks_done(&maker.prefixes[1]);
	city_places_done(&maker.places);
	return err || tell(&maker) ? 1 : 0;
}
