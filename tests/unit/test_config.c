/* SPDX-License-Identifier: Apache-2.0 */
/* geostream.conf: what each source may say, who wins, and that every complaint names its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/app/config.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct complaints {
	int count;
	char text[4096]; /* "place: text" lines */
};

static void on_problem(void *context, const char *place, const char *text)
{
	struct complaints *c = context;
	size_t length = strlen(c->text);

	c->count++;
	snprintf(c->text + length, sizeof(c->text) - length, "%s: %s\n", place, text);
}

static int read_text(struct gs_config *config, const char *text, struct complaints *c)
{
	const struct gs_config_problems problems = {.on_problem = on_problem, .context = c};

	*c = (struct complaints){.count = 0};
	return gs_config_read_text(config, "g.conf", text, strlen(text), &problems);
}

static void defaults(void **state)
{
	struct gs_config config;
	(void)state;

	gs_config_default(&config);
	assert_string_equal(config.database, "");
	assert_string_not_equal(config.edge, "");
	assert_string_equal(config.geoip, "");
	assert_string_equal(config.pin_dir, "/sys/fs/bpf/geostream");
	assert_string_equal(config.socket, "/run/geostream/geostreamd.sock");
	assert_string_equal(config.state_dir, "/var/lib/geostream");
	assert_int_equal(config.log_level, GS_LOG_INFO);
	assert_int_equal(config.log_format, GS_LOG_LOGFMT);
	assert_int_equal(config.failover_budget_ms, 1000);
	assert_int_equal(config.handshakes, 64);
	assert_false(config.coordinates.is_told);
	assert_int_equal(config.latency_ms, 10000);
	assert_int_equal(config.anchors.count, 0);
}

static void good_files(void **state)
{
	struct gs_config config;
	struct complaints c;
	(void)state;

	gs_config_default(&config);
	assert_int_equal(read_text(&config,
				   "# comment\r\n"
				   "\n"
				   "   \t \n"
				   "database = host=/tmp dbname=g password='a b = #c'\n"
				   "edge=fra-1\r\n"
				   "\tgeoip\t=\t/x/y z.mmdb\t\n"
				   "log_level = debug\n"
				   "log_format = json\n"
				   "outer_source4 = 192.0.2.0/24\nouter_source6 =\n"
				   "handshakes = 65536\n"
				   "anchors = icmp:192.0.2.1, tcp:[2001:db8::1]:443\n"
				   "failover_budget_ms = 3600000",
				   &c),
			 0);
	assert_string_equal(c.text, "");
	assert_string_equal(config.database, "host=/tmp dbname=g password='a b = #c'");
	assert_string_equal(config.edge, "fra-1");
	assert_string_equal(config.geoip, "/x/y z.mmdb");
	assert_int_equal(config.log_level, GS_LOG_DEBUG);
	assert_int_equal(config.log_format, GS_LOG_JSON);
	assert_int_equal(config.failover_budget_ms, 3600000);
	assert_int_equal(config.outer_sources.v4.length, 24);
	assert_int_equal(config.outer_sources.v6.addr.bytes[0], 0);
	assert_int_equal(config.handshakes, 65536);
	assert_int_equal(config.anchors.count, 2);
	assert_string_equal(config.anchors.anchors[1].name, "tcp:[2001:db8::1]:443");
	assert_int_equal(read_text(&config, "anchors =\n", &c), 0);
	assert_int_equal(config.anchors.count, 0);
	assert_int_equal(read_text(&config, "handshakes = 0\n", &c), 0);
	assert_int_equal(config.handshakes, 0);
	assert_int_equal(read_text(&config, "", &c), 0);
}

static void coordinates(void **state)
{
	static const struct {
		const char *value;
		double lat, lon;
	} good[] = {
		{"50.1,8.7", 50.1, 8.7}, {"-90,180", -90, 180},	   {"90, -180", 90, -180},
		{"0 ,0", 0, 0},		 {"+1.5,-.25", 1.5, -.25}, {"52.5,13.", 52.5, 13},
	};
	static const char *const bad[] = {
		"50.1",	     "50.1,",	 ",8.7",  "50.1 8.7", "50.1,8.7,1", "90.01,0",
		"0,-180.01", "nan,0",	 "0,inf", "0x10,1",   "5e1,8",	    "50.1;8.7",
		"--1,2",     "50.1N,8E", ",",	  "1,2 3",    "50,1,8,7",   ". , .",
	};
	char text[256], want[256];
	struct gs_config config;
	struct complaints c;
	(void)state;

	gs_config_default(&config);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "coordinates = %s\n", good[i].value);
		assert_int_equal(read_text(&config, text, &c), 0);
		assert_true(config.coordinates.is_told);
		assert_float_equal(config.coordinates.coord.lat_deg, good[i].lat, 0);
		assert_float_equal(config.coordinates.coord.lon_deg, good[i].lon, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "coordinates = %s\n", bad[i]);
		snprintf(want, sizeof(want),
			 "g.conf:1: coordinates: '%s' is no LATITUDE,LONGITUDE in degrees (-90 to "
			 "90, -180 to 180)\n",
			 bad[i]);
		assert_int_equal(read_text(&config, text, &c), -EINVAL);
		assert_string_equal(c.text, want);
		assert_float_equal(config.coordinates.coord.lat_deg, 52.5, 0); /* what it was */
	}
	assert_int_equal(read_text(&config, "coordinates =\n", &c), 0);
	assert_false(config.coordinates.is_told);
}

static void bad_lines(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"edge", "g.conf:1: expected `key = value`\n"},
		{"\n\nedgee = a\n", "g.conf:3: no setting 'edgee'; did you mean 'edge'?\n"},
		{"qqqqqqqq = a\n", "g.conf:1: no setting 'qqqqqqqq'\n"},
		{"= a\n", "g.conf:1: no setting ''\n"},
		{"edge =\n", "g.conf:1: edge: is empty\n"},
		{"edge = a\nedge = b\n", "g.conf:2: edge: set twice (first on line 1)\n"},
		{"geoip = a.mmdb\n", "g.conf:1: geoip: 'a.mmdb' is no absolute path\n"},
		{"log_level = loud\n",
		 "g.conf:1: log_level: 'loud' is none of error, warning, info, debug\n"},
		{"log_format = xml\n", "g.conf:1: log_format: 'xml' is none of logfmt, json\n"},
		{"failover_budget_ms = 0\n", "g.conf:1: failover_budget_ms: '0' is no number of "
					     "milliseconds (1 to 3600000)\n"},
		{"failover_budget_ms = -1\n", "g.conf:1: failover_budget_ms: '-1' is no number of "
					      "milliseconds (1 to 3600000)\n"},
		{"failover_budget_ms = 1e3\n", "g.conf:1: failover_budget_ms: '1e3' is no number "
					       "of milliseconds (1 to 3600000)\n"},
		{"failover_budget_ms = 99999999999999999999\n",
		 "g.conf:1: failover_budget_ms: '99999999999999999999' is no number of "
		 "milliseconds (1 to 3600000)\n"},
		{"outer_source4 = 10.0.0.0/7\n",
		 "g.conf:1: outer_source4: '10.0.0.0/7' is no unicast prefix of IPv4, /8 to /32\n"},
		{"outer_source4 = 192.0.2.1/24\n",
		 "g.conf:1: outer_source4: '192.0.2.1/24' is no unicast prefix of IPv4, /8 to /32\n"},
		{"outer_source4 = 224.0.0.0/8\n",
		 "g.conf:1: outer_source4: '224.0.0.0/8' is no unicast prefix of IPv4, /8 to /32\n"},
		{"outer_source4 = 2001:db8::/64\n",
		 "g.conf:1: outer_source4: '2001:db8::/64' is no unicast prefix of IPv4, "
		 "/8 to /32\n"},
		{"outer_source6 = 2001:db8::/63\n",
		 "g.conf:1: outer_source6: '2001:db8::/63' is no unicast prefix of IPv6, "
		 "/64 to /128\n"},
		{"latency_ms = 99\n",
		 "g.conf:1: latency_ms: '99' is no number of milliseconds (100 to 600000)\n"},
		{"latency_ms = 600001\n",
		 "g.conf:1: latency_ms: '600001' is no number of milliseconds (100 to 600000)\n"},
		{"handshakes = 48\n",
		 "g.conf:1: handshakes: '48' is neither 0 nor a power of two up to 65536\n"},
		{"handshakes = 131072\n",
		 "g.conf:1: handshakes: '131072' is neither 0 nor a power of two up to 65536\n"},
		{"handshakes = -1\n",
		 "g.conf:1: handshakes: '-1' is neither 0 nor a power of two up to 65536\n"},
		{"handshakes = 64x\n",
		 "g.conf:1: handshakes: '64x' is neither 0 nor a power of two up to 65536\n"},
		{"handshakes = 99999999999999999999\n",
		 "g.conf:1: handshakes: '99999999999999999999' is neither 0 nor a power of two up to 65536\n"},
		{"handshakes = \n",
		 "g.conf:1: handshakes: '' is neither 0 nor a power of two up to 65536\n"},
		{"\nanchors = icmp:192.0.2.1, tcp:192.0.2.1\n",
		 "g.conf:2: anchors: 'tcp:192.0.2.1' has no port (tcp:ADDRESS:PORT, IPv6 in "
		 "brackets)\n"},
		{"anchors = icmp:gateway\n",
		 "g.conf:1: anchors: 'icmp:gateway' has no IP address\n"},
		{"anchors = 192.0.2.1\n",
		 "g.conf:1: anchors: '192.0.2.1' is none of icmp:ADDRESS, tcp:ADDRESS:PORT, "
		 "dns:ADDRESS[:PORT]\n"},
		{"anchor = icmp:192.0.2.1\n",
		 "g.conf:1: no setting 'anchor'; did you mean 'anchors'?\n"},
		{"edge = a\x01z\n", "g.conf:1: edge: has a control character\n"},
		{"x\ny\n", "g.conf:1: expected `key = value`\ng.conf:2: expected `key = value`\n"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_config config;
		struct complaints c;

		gs_config_default(&config);
		assert_int_equal(read_text(&config, cases[i].text, &c), -EINVAL);
		assert_string_equal(c.text, cases[i].want);
	}
}

/* What is good is taken over even if another line is not; what is bad changes nothing. */
static void bad_lines_spoil_nothing_else(void **state)
{
	struct gs_config config;
	struct complaints c;
	(void)state;

	gs_config_default(&config);
	assert_int_equal(read_text(&config, "edge = one\nlog_level = x\npin_dir = /p\n", &c),
			 -EINVAL);
	assert_int_equal(c.count, 1);
	assert_string_equal(config.edge, "one");
	assert_string_equal(config.pin_dir, "/p");
	assert_int_equal(config.log_level, GS_LOG_INFO);
}

static void values_have_limits(void **state)
{
	static const struct {
		const char *key;
		size_t longest;
	} cases[] = {{"edge", 63}, {"socket", 107}, {"state_dir", 255}, {"database", 1023}};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t length = cases[i].longest; length <= cases[i].longest + 1; length++) {
			struct gs_config config;
			struct complaints c;
			char text[2048];
			int at = snprintf(text, sizeof(text), "%s = ", cases[i].key);

			memset(text + at, '/', length);
			text[at + (int)length] = '\0';
			gs_config_default(&config);
			assert_int_equal(read_text(&config, text, &c),
					 length == cases[i].longest ? 0 : -EINVAL);
		}
	}
}

/* Random bytes, lines of every length: an error or not, never out of bounds (ASan looks). */
static void hostile_bytes(void **state)
{
	uint64_t draw = 88172645463325252ull;
	(void)state;

	for (int round = 0; round < 2000; round++) {
		const struct gs_config_problems problems = {.on_problem = on_problem,
							    .context = &(struct complaints){0}};
		GS_AUTO_FREE char *text = NULL;
		struct gs_config config;
		size_t length;

		draw ^= draw << 13;
		draw ^= draw >> 7;
		draw ^= draw << 17;
		length = draw % 3000;
		text = malloc(length + 1);
		assert_non_null(text);
		for (size_t i = 0; i < length; i++) {
			draw ^= draw << 13;
			draw ^= draw >> 7;
			draw ^= draw << 17;
			text[i] = round % 2 ? (char)draw : "edg =\n#/a\0"[draw % 10];
		}
		gs_config_default(&config);
		gs_config_read_text(&config, "g.conf", text, length, &problems);
		assert_true(memchr(config.edge, 0, sizeof(config.edge)));
	}
}

static void zero_bytes_are_named(void **state)
{
	const char text[] = "edge = a\0b\nlog_level = info\n";
	struct complaints c = {.count = 0};
	const struct gs_config_problems problems = {.on_problem = on_problem, .context = &c};
	struct gs_config config;
	(void)state;

	gs_config_default(&config);
	assert_int_equal(gs_config_read_text(&config, "g.conf", text, sizeof(text) - 1, &problems),
			 -EINVAL);
	assert_string_equal(c.text, "g.conf:1: has a zero byte\n");
}

static void the_nearer_source_wins(void **state)
{
	struct complaints c = {.count = 0};
	const struct gs_config_problems problems = {.on_problem = on_problem, .context = &c};
	struct gs_config config;
	(void)state;

	gs_config_default(&config);
	assert_int_equal(read_text(&config, "edge = file\npin_dir = /file\ngeoip = /file\n", &c),
			 0);
	setenv("GEOSTREAM_EDGE", "environment", 1);
	setenv("GEOSTREAM_PIN_DIR", "/environment", 1);
	assert_int_equal(gs_config_read_environment(&config, &problems), 0);
	assert_int_equal(gs_config_set(&config, "edge=flag", "--set", &problems), 0);
	assert_string_equal(config.edge, "flag");
	assert_string_equal(config.pin_dir, "/environment");
	assert_string_equal(config.geoip, "/file");
	setenv("GEOSTREAM_LOG_LEVEL", "shout", 1);
	assert_int_equal(gs_config_read_environment(&config, &problems), -EINVAL);
	assert_non_null(strstr(c.text, "GEOSTREAM_LOG_LEVEL: log_level: 'shout'"));
	unsetenv("GEOSTREAM_EDGE");
	unsetenv("GEOSTREAM_PIN_DIR");
	unsetenv("GEOSTREAM_LOG_LEVEL");
	assert_int_equal(gs_config_set(&config, "edge", "--set", &problems), -EINVAL);
	assert_int_equal(gs_config_set(&config, "sockett=/x", "--set", &problems), -EINVAL);
	assert_non_null(strstr(c.text, "--set: no setting 'sockett'; did you mean 'socket'?"));
}

static void files_that_cannot_be_read(void **state)
{
	struct complaints c = {.count = 0};
	const struct gs_config_problems problems = {.on_problem = on_problem, .context = &c};
	char path[] = "/tmp/gs-test-XXXXXX";
	struct gs_config config;
	FILE *file;
	(void)state;

	gs_config_default(&config);
	assert_int_equal(gs_config_read_file(&config, "/nowhere/g.conf", &problems), -ENOENT);
	assert_string_equal(c.text, "/nowhere/g.conf: No such file or directory\n");
	assert_true(gs_config_read_file(&config, "/tmp", &problems) < 0);

	file = fdopen(mkstemp(path), "w");
	assert_non_null(file);
	for (int i = 0; i < 70000; i++)
		fputc('#', file);
	fclose(file);
	assert_int_equal(gs_config_read_file(&config, path, &problems), -EINVAL);
	assert_non_null(strstr(c.text, "larger than 64 KiB"));
	unlink(path);
}

static void what_a_reload_cannot_change(void **state)
{
	struct gs_config running, next;
	char out[64];
	(void)state;

	gs_config_default(&running);
	next = running;
	assert_string_equal(gs_config_not_reloadable(&running, &next, out, sizeof(out)), "");
	strcpy(next.geoip, "/new");
	next.log_level = GS_LOG_DEBUG;
	next.failover_budget_ms = 5;
	next.anchors.count = 1;
	next.coordinates.is_told = true;
	assert_string_equal(gs_config_not_reloadable(&running, &next, out, sizeof(out)), "");
	strcpy(next.edge, "another");
	strcpy(next.socket, "/another");
	assert_string_equal(gs_config_not_reloadable(&running, &next, out, sizeof(out)),
			    "edge,socket");
	assert_string_equal(gs_config_not_reloadable(&running, &next, out, 3), "ed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(good_files),
		cmocka_unit_test(coordinates),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(bad_lines_spoil_nothing_else),
		cmocka_unit_test(values_have_limits),
		cmocka_unit_test(hostile_bytes),
		cmocka_unit_test(zero_bytes_are_named),
		cmocka_unit_test(the_nearer_source_wins),
		cmocka_unit_test(files_that_cannot_be_read),
		cmocka_unit_test(what_a_reload_cannot_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
