/* SPDX-License-Identifier: Apache-2.0 */
/*
 * geostreamctl explain, as far as it goes without an edge: what it says of arguments and of
 * captures it will not take. A capture that is taken gets as far as the pins, which are not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"

#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>

#define NO_PINS "/gs-no-such-folder"

static char folder[] = "/tmp/gs-explain-XXXXXX", capture[64], config[64];

static int run(const char *arguments, char said[4096])
{
	const char *build = getenv("BUILD");
	char command[512];
	size_t length;
	FILE *pipe;
	int status;

	snprintf(command, sizeof(command),
		 "env -i %.80s/geostreamctl -c %s explain %.300s 2>&1 </dev/null",
		 build ? build : "build", config, arguments);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	length = fread(said, 1, 4095, pipe);
	said[length] = '\0';
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void expect(const char *arguments, int want_exit, const char *want)
{
	char said[4096];
	int result = run(arguments, said);

	if (result != want_exit || !strstr(said, want))
		fail_msg("explain %s: exit %d, says: %s", arguments, result, said);
}

static int setup(void **state)
{
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(capture, sizeof(capture), "%s/it.pcap", folder);
	snprintf(config, sizeof(config), "%s/conf", folder);
	file = fopen(config, "w");
	assert_non_null(file);
	fprintf(file, "pin_dir = %s\n", NO_PINS);
	fclose(file);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(capture);
	unlink(config);
	rmdir(folder);
	return 0;
}

/* ---- captures -------------------------------------------------------------------------------- */

enum { US = 0xa1b2c3d4, NS = 0xa1b23c4d, PCAPNG = 0x0a0d0d0a, ETHERNET = 1 };

struct writer {
	FILE *file;
	bool is_swapped;
};

static void put(struct writer *writer, uint32_t value)
{
	if (writer->is_swapped)
		value = __builtin_bswap32(value);
	assert_int_equal(fwrite(&value, sizeof(value), 1, writer->file), 1);
}

static struct writer begin(uint32_t magic, bool is_swapped, uint32_t link)
{
	struct writer writer = {.file = fopen(capture, "wb"), .is_swapped = is_swapped};

	assert_non_null(writer.file);
	put(&writer, magic);
	put(&writer, 0x00040002);
	put(&writer, 0);
	put(&writer, 0);
	put(&writer, 65535);
	put(&writer, link);
	return writer;
}

/* written: bytes that are there, whatever the record says. */
static void frame(struct writer *writer, uint32_t captured, uint32_t length, uint32_t written)
{
	put(writer, 0);
	put(writer, 0);
	put(writer, captured);
	put(writer, length);
	for (uint32_t i = 0; i < written; i++)
		putc(0, writer->file);
}

static void expect_capture(struct writer *writer, const char *want)
{
	char arguments[128];

	fclose(writer->file);
	snprintf(arguments, sizeof(arguments), "--pcap %s", capture);
	expect(arguments, 1, want);
}

/* It was taken whole if it gets to what is wrong behind it. */
static void expect_taken(struct writer *writer)
{
	expect_capture(writer, "opening " NO_PINS);
}

static void every_form_of_the_classic_format(void **state)
{
	static const uint32_t magics[] = {US, NS};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		for (int is_swapped = 0; is_swapped < 2; is_swapped++) {
			/* with and without the bits that say how long a frame's checksum is */
			struct writer writer =
				begin(magics[i], is_swapped,
				      is_swapped ? 0x14000000u | ETHERNET : ETHERNET);

			frame(&writer, 60, 60, 60);
			frame(&writer, 14, 14, 14);
			frame(&writer, 1920, 1920, 1920);
			frame(&writer, 96, 1514, 96); /* of a short snapshot */
			expect_taken(&writer);
		}
}

static void of_other_links(void **state)
{
	static const struct {
		uint32_t link;
		const char *text;
	} cases[] = {
		{0, "link type 0 (BSD loopback)"},
		{101, "link type 101 (raw IP)"},
		{113, "link type 113 (Linux cooked, of -i any)"},
		{276, "link type 276 (Linux cooked, of -i any)"},
		{9999, "link type 9999: capture on one NIC"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct writer writer = begin(US, i % 2, cases[i].link);

		frame(&writer, 60, 60, 60);
		expect_capture(&writer, cases[i].text);
	}
}

static void damaged_frames_are_named(void **state)
{
	static const struct {
		uint32_t captured, length, written;
		const char *text;
	} cases[] = {
		{60, 60, 59, "packet 2: the file ends within it"},
		{60, 60, 0, "packet 2: the file ends within it"},
		{13, 13, 13, "packet 2: a frame of 13 bytes: 14 to 1920 can be tried"},
		{0, 0, 0, "packet 2: a frame of 0 bytes"},
		{1921, 1921, 1921, "packet 2: a frame of 1921 bytes"},
		{13, 60, 13, "packet 2: only 13 of its 60 bytes were captured"},
		{61, 60, 61, "packet 2: 61 bytes captured of 60"},
		{0xffffffff, 0xffffffff, 60, "packet 2: a frame of 4294967295 bytes"},
	};
	struct writer writer;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		writer = begin(US, i % 2, ETHERNET);
		frame(&writer, 60, 60, 60);
		frame(&writer, cases[i].captured, cases[i].length, cases[i].written);
		expect_capture(&writer, cases[i].text);
	}
	writer = begin(US, false, ETHERNET);
	frame(&writer, 60, 60, 60);
	put(&writer, 0);
	expect_capture(&writer, "packet 2: the file ends within its header");
	writer = begin(US, false, ETHERNET);
	for (int i = 0; i < 1000; i++)
		frame(&writer, 60, 60, 60);
	expect_taken(&writer);
	writer = begin(US, false, ETHERNET);
	for (int i = 0; i < 1001; i++)
		frame(&writer, 60, 60, 60);
	expect_capture(&writer, "it.pcap: more than 1000 packets");
}

static void files_that_are_none(void **state)
{
	struct writer writer = begin(US, false, ETHERNET);
	(void)state;

	expect_capture(&writer, "it.pcap: no packets in it");
	writer = begin(PCAPNG, false, ETHERNET);
	expect_capture(&writer, "it.pcap: of the format pcapng");
	writer = begin(0x12345678, false, ETHERNET);
	expect_capture(&writer, "it.pcap: no capture of tcpdump's classic format");
	writer = (struct writer){.file = fopen(capture, "wb")};
	put(&writer, US);
	expect_capture(&writer, "it.pcap: no capture: shorter than its header");
	writer = (struct writer){.file = fopen(capture, "wb")};
	expect_capture(&writer, "it.pcap: no capture: shorter than its header");
	expect("--pcap /tmp", 1, "--pcap: /tmp: Is a directory");
	expect("--pcap " NO_PINS "/x", 1, "--pcap: " NO_PINS "/x: No such file or directory");
}

/* ---- arguments ------------------------------------------------------------------------------- */

static void arguments_are_looked_at(void **state)
{
	static const struct {
		const char *arguments;
		int exit;
		const char *text;
	} cases[] = {
		{"", 2, "--src, --dst and --dport expected, or --pcap"},
		{"--src 192.0.2.1 --dst 192.0.2.2", 2, "--src, --dst and --dport expected"},
		{"--src 192.0.2 --dst 192.0.2.2 --dport 1", 2, "\"192.0.2\" is no IPv4 or IPv6"},
		{"--src 192.0.2.1 --dst 192.0.2.2 --dport 0", 2, "--dport: \"0\" is no port"},
		{"--src 192.0.2.1 --dst 192.0.2.2 --dport 65536", 2, "\"65536\" is no port"},
		{"--src 192.0.2.1 --dst 192.0.2.2 --sport -1 --dport 1", 2, "\"-1\" is no port"},
		{"--proto icmp", 2, "\"icmp\" is neither tcp nor udp"},
		{"--iface", 2, "--iface: a value expected"},
		{"--ifaec eth0", 2, "--iface"},
		{"--src 192.0.2.1 --dst 192.0.2.2 --dport 1", 1, "opening " NO_PINS},
		{"--src 192.0.2.1 --dst 192.0.2.2 --dport 1 --ack --iface eth0 --proto udp", 1,
		 "opening " NO_PINS},
		{"--src 192.0.2.1 --dst 192.0.2.2 --dport 1 --object " NO_PINS "/x.o", 1,
		 NO_PINS "/x.o: No such file"},
		{"--src 192.0.2.1 --dst 2001:db8::1 --dport 1", 2, "of two IP versions"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(cases[i].arguments, cases[i].exit, cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_of_the_classic_format),
		cmocka_unit_test(of_other_links),
		cmocka_unit_test(damaged_frames_are_named),
		cmocka_unit_test(files_that_are_none),
		cmocka_unit_test(arguments_are_looked_at),
	};

	return cmocka_run_group_tests_name("explain", tests, setup, teardown);
}
