// SPDX-License-Identifier: Apache-2.0
/*
 * mkgeoip GEOIP GEOIP6 ZONE_TAB OUT: Debian's tor-geoipdb (IPFire location data as text) and
 * tzdata's zone.tab -> an mmdb of countries with coordinates, in MaxMind's nested shape. Same
 * input, same bytes: the build date is the data's own.
 */
#include "lines.h"
#include "mmdb_writer.h"
#include "zone_tab.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/country.h"
#include "user/core/geo.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CODES (26 * 26)

static const char attribution[] =
	"Countries of IPFire location data (location.ipfire.org), by way of Debian's tor-geoipdb, "
	"licensed CC BY-SA 4.0 (creativecommons.org/licenses/by-sa/4.0); coordinates: tzdata's "
	"zone.tab, public domain. Converted by GeoStream, changed in format only.";

/* What is known of one code. */
struct code {
	bool has_zone;
	struct gs_coord zone; /* the one nearest to the country's coordinate */
	bool has_record;
	uint32_t record; /* offset in the data section */
};

struct maker {
	struct gs_mmdb_writer *writer;
	struct code codes[CODES + 1]; /* the last one is never used */
	uint64_t ranges, unknown, left_out;
	time_t built;
};

/* Number of a code of two upper-case letters; CODES if it is none. */
static unsigned code_index(const char *code)
{
	if (code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z')
		return CODES;
	return (unsigned)(code[0] - 'A') * 26 + (unsigned)(code[1] - 'A');
}

/* ---- zones ---------------------------------------------------------------------------------- */

/* Where a country has several zones: the one nearest to its coordinate in user/core/country.c. */
static void add_zone(void *context, const char name[3], const struct gs_coord *zone)
{
	struct maker *maker = context;
	struct code *code = &maker->codes[code_index(name)];
	const struct gs_country *country = gs_country_find(name);

	if (code->has_zone &&
	    (!country || gs_geo_distance_km(&country->coord, zone) >=
				 gs_geo_distance_km(&country->coord, &code->zone)))
		return;
	code->has_zone = true;
	code->zone = *zone;
}

/* ---- records -------------------------------------------------------------------------------- */

/* EU and AP are regions, not countries: continent and coordinate only. */
static uint32_t put_record(struct maker *maker, const struct gs_country *country)
{
	const struct code *code = &maker->codes[code_index(country->code)];
	const struct gs_coord *coord = code->has_zone ? &code->zone : &country->coord;
	bool is_region = strcmp(country->code, "EU") == 0 || strcmp(country->code, "AP") == 0;
	struct gs_mmdb_buffer *data = gs_mmdb_writer_data(maker->writer);
	uint32_t offset = (uint32_t)data->size;

	gs_mmdb_put_map(data, is_region ? 2 : 3);
	gs_mmdb_put_text(data, "continent");
	gs_mmdb_put_map(data, 1);
	gs_mmdb_put_text(data, "code");
	gs_mmdb_put_text(data, country->continent);
	if (!is_region) {
		gs_mmdb_put_text(data, "country");
		gs_mmdb_put_map(data, 1);
		gs_mmdb_put_text(data, "iso_code");
		gs_mmdb_put_text(data, country->code);
	}
	gs_mmdb_put_text(data, "location");
	gs_mmdb_put_map(data, 2);
	gs_mmdb_put_text(data, "latitude");
	gs_mmdb_put_double(data, coord->lat_deg);
	gs_mmdb_put_text(data, "longitude");
	gs_mmdb_put_double(data, coord->lon_deg);
	return offset;
}

/* ---- ranges --------------------------------------------------------------------------------- */

static bool parse_v4_number(const char *text, struct gs_addr *ret_addr)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long long number;

	if (digits == 0 || digits > 10 || text[digits] != '\0')
		return false;
	number = strtoull(text, NULL, 10);
	if (number > UINT32_MAX)
		return false;
	*ret_addr = gs_addr_from_v4((uint32_t)number);
	return true;
}

static bool parse_end(const char *text, bool is_v4, struct gs_addr *ret_addr)
{
	static const uint8_t v4_inside[12];

	if (is_v4)
		return parse_v4_number(text, ret_addr);
	/* ::/96 is where the IPv4 tree is. */
	return gs_addr_parse(text, ret_addr) == 0 && !gs_addr_is_v4(ret_addr) &&
	       memcmp(ret_addr->bytes, v4_inside, sizeof(v4_inside)) != 0;
}

static int add_range(struct maker *maker, const struct gs_addr *first, const struct gs_addr *last,
		     const char *name)
{
	const struct gs_country *country = gs_country_find(name);
	struct code *code;

	maker->ranges++;
	if (strcmp(name, "??") == 0) {
		maker->unknown++;
		return 0;
	}
	if (!country) {
		maker->left_out++;
		return 0;
	}
	code = &maker->codes[code_index(country->code)];
	if (!code->has_record) {
		code->record = put_record(maker, country);
		code->has_record = true;
	}
	return gs_mmdb_writer_insert(maker->writer, first, last, code->record);
}

/* "first,last,CC". last: the end of the range before, to see that they ascend; all zero at first.
 */
static int read_range(struct maker *maker, struct gs_lines *input, bool is_v4, struct gs_addr *last)
{
	char *second = strchr(input->line, ',');
	char *name = second ? strchr(second + 1, ',') : NULL;
	struct gs_addr first, end;

	if (!name)
		return gs_lines_fail(input, "not three fields separated by commas");
	*second++ = '\0';
	*name++ = '\0';
	if (!parse_end(input->line, is_v4, &first))
		return gs_lines_fail(input, "the range's first address is none");
	if (!parse_end(second, is_v4, &end))
		return gs_lines_fail(input, "the range's last address is none");
	if (strlen(name) != 2 || (code_index(name) == CODES && strcmp(name, "??") != 0))
		return gs_lines_fail(input, "the code is not two capital letters");
	if (gs_addr_compare(&first, &end) > 0)
		return gs_lines_fail(input, "the range's last address is before its first");
	if (gs_addr_compare(&first, last) <= 0)
		return gs_lines_fail(input, "the range begins before the one above ends");
	*last = end;
	return add_range(maker, &first, &end, name) ? gs_lines_complain("no memory") : 0;
}

/* "# Generated: Thu, 25 Jun 2026 04:33:59 GMT" */
static void read_date(struct maker *maker, const char *line)
{
	static const char key[] = "# Generated: ";
	struct tm date = {0};
	const char *end;
	time_t built;

	if (strncmp(line, key, sizeof(key) - 1) != 0)
		return;
	end = strptime(line + sizeof(key) - 1, "%a, %d %b %Y %H:%M:%S GMT", &date);
	built = end && *end == '\0' ? timegm(&date) : 0;
	if (built > maker->built)
		maker->built = built;
}

static int read_ranges(struct maker *maker, const char *path, bool is_v4)
{
	GS_CLEANUP(gs_lines_close) struct gs_lines input = {.path = path};
	struct gs_addr last = {0};
	uint64_t before = maker->ranges;
	int more = gs_lines_open(&input);

	while (!more && (more = gs_lines_next(&input)) > 0) {
		more = 0;
		if (input.line[0] == '#')
			read_date(maker, input.line);
		else if (input.line[0] != '\0')
			more = read_range(maker, &input, is_v4, &last);
	}
	if (!more && maker->ranges == before)
		return gs_lines_complain("%s: no ranges", path);
	return more;
}

/* Without the header's date the younger file's, which packages keep. */
static int date_of_files(struct maker *maker, const char *const paths[2])
{
	for (int i = 0; maker->built == 0 && i < 2; i++) {
		struct stat st;

		if (stat(paths[i], &st) < 0)
			return gs_lines_complain("%s: %s", paths[i], strerror(errno));
		if (st.st_mtime > maker->built)
			maker->built = st.st_mtime;
	}
	return 0;
}

/* ---- output --------------------------------------------------------------------------------- */

static int write_file(const struct gs_mmdb_buffer *bytes, const char *path)
{
	GS_AUTO_FREE char *aside = NULL;
	GS_AUTO_FCLOSE FILE *file = NULL;

	if (asprintf(&aside, "%s.tmp", path) < 0) {
		aside = NULL;
		return gs_lines_complain("no memory");
	}
	file = fopen(aside, "we");
	if (!file || fwrite(bytes->bytes, 1, bytes->size, file) != bytes->size || fflush(file))
		return gs_lines_complain("%s: %s", aside, strerror(errno));
	if (rename(aside, path) < 0)
		return gs_lines_complain("%s: %s", path, strerror(errno));
	return 0;
}

static int make(struct maker *maker, char **paths)
{
	const char *const ranges[] = {paths[0], paths[1]};
	struct gs_mmdb_metadata metadata = {
		.database_type = "GeoStream-Country",
		.description = attribution,
	};
	struct gs_mmdb_buffer file;
	int err;

	if ((err = gs_zone_tab_read(paths[2], add_zone, maker)) ||
	    (err = read_ranges(maker, paths[0], true)) ||
	    (err = read_ranges(maker, paths[1], false)) || (err = date_of_files(maker, ranges)))
		return err;
	metadata.build_unix_s = (uint64_t)maker->built;
	err = gs_mmdb_writer_finish(maker->writer, &metadata, &file);
	if (err)
		return gs_lines_complain("%s: %s", paths[3], strerror(-err));
	err = write_file(&file, paths[3]);
	gs_mmdb_buffer_done(&file);
	return err;
}

int main(int argc, char **argv)
{
	static struct maker maker;
	int err;

	if (argc != 5) {
		fputs("usage: mkgeoip GEOIP GEOIP6 ZONE_TAB OUT\n", stderr);
		return 2;
	}
	maker.writer = gs_mmdb_writer_new(6, 24);
	err = maker.writer ? make(&maker, argv + 1) : gs_lines_complain("no memory");
	gs_mmdb_writer_free(maker.writer);
	if (err)
		return 1;
	printf("%s: %llu ranges, of these %llu of no country, %llu of codes that are none\n",
	       argv[4], (unsigned long long)maker.ranges, (unsigned long long)maker.unknown,
	       (unsigned long long)maker.left_out);
	return 0;
}
