/* SPDX-License-Identifier: Apache-2.0 */
/* What a probe's texts mean, and which are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/health.h"
#include "user/core/probe_spec.h"

#include <errno.h>
#include <string.h>

static uint32_t index_of(const char *member)
{
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		if (strcmp(gs_probe_text(t)->member, member) == 0)
			return t;
	fail_msg("no text %s", member);
	return 0;
}

static char longest[300];

static void texts(void **state)
{
	static const struct {
		enum gs_probe_kind kind;
		const char *member, *text;
		bool valid;
	} cases[] = {
		{GS_PROBE_HTTP, "status", "", true},
		{GS_PROBE_HTTP, "status", "200", true},
		{GS_PROBE_HTTP, "status", "100-599,404", true},
		{GS_PROBE_HTTP, "status", "200,", false},
		{GS_PROBE_HTTP, "status", ",200", false},
		{GS_PROBE_HTTP, "status", "200-", false},
		{GS_PROBE_HTTP, "status", "299-200", false},
		{GS_PROBE_HTTP, "status", "99", false},
		{GS_PROBE_HTTP, "status", "600", false},
		{GS_PROBE_HTTP, "status", "200 ", false},
		{GS_PROBE_HTTP, "status", "2000", false},
		{GS_PROBE_HTTP, "status", "200,200,200,200,200,200,200,200,200,200,200,200", true},
		{GS_PROBE_HTTP, "status", "200,200,200,200,200,200,200,200,200,200,200,200,200",
		 false},
		{GS_PROBE_HTTP, "expect", "ok \\x00\\xFf\\\\\\n\\r\\t", true},
		{GS_PROBE_HTTP, "expect", "\\", false},
		{GS_PROBE_HTTP, "expect", "\\x1", false},
		{GS_PROBE_HTTP, "expect", "\\q", false},
		{GS_PROBE_HTTP, "expect", "a\nb", false},
		{GS_PROBE_HTTP, "expect", "\xc3\xa4", false},
		{GS_PROBE_HTTP, "expect_at", "start", true},
		{GS_PROBE_HTTP, "expect_at", "", true},
		{GS_PROBE_HTTP, "expect_at", "end", false},
		{GS_PROBE_TCP, "request", "", true},
		{GS_PROBE_UDP, "request", "", false},
		{GS_PROBE_UDP, "request", "\\x00", true},
		{GS_PROBE_GRPC, "request", "", true},
		{GS_PROBE_DNS, "request", "", false},
		{GS_PROBE_DNS, "request", ".", true},
		{GS_PROBE_DNS, "request", "a", true},
		{GS_PROBE_DNS, "request", "_sip._udp.example.net.", true},
		{GS_PROBE_DNS, "request", "a..b", false},
		{GS_PROBE_DNS, "request", ".a", false},
		{GS_PROBE_DNS, "request", "a..", false},
		{GS_PROBE_DNS, "request", "a b", false},
		{GS_PROBE_DNS, "request", "a\\.b", false},
		{GS_PROBE_HTTPS, "trust", "", true},
		{GS_PROBE_HTTPS, "trust", "system", true},
		{GS_PROBE_HTTPS, "trust", "none", true},
		{GS_PROBE_HTTPS, "trust", "/etc/ca.pem", true},
		{GS_PROBE_HTTPS, "trust", "ca.pem", false},
		{GS_PROBE_HTTPS, "trust", "None", false},
		{GS_PROBE_DNS, "dns_type", "", true},
		{GS_PROBE_DNS, "dns_type", "AAAA", true},
		{GS_PROBE_DNS, "dns_type", "TYPE65535", true},
		{GS_PROBE_DNS, "dns_type", "TYPE65536", false},
		{GS_PROBE_DNS, "dns_type", "TYPE0", false},
		{GS_PROBE_DNS, "dns_type", "TYPE", false},
		{GS_PROBE_DNS, "dns_type", "aaaa", false},
		{GS_PROBE_DNS, "dns_rcode", "nxdomain", true},
		{GS_PROBE_DNS, "dns_rcode", "NXDOMAIN", false},
		{GS_PROBE_TCP, "command", "", true},
		{GS_PROBE_EXEC, "command", "", false},
		{GS_PROBE_EXEC, "command", "check_it.sh", true},
		{GS_PROBE_EXEC, "command", "../sh", false},
		{GS_PROBE_EXEC, "command", "a/b", false},
		{GS_PROBE_EXEC, "command", ".hidden", false},
		{GS_PROBE_EXEC, "command", "-x", false},
		{GS_PROBE_EXEC, "arguments", "-x,y z", true},
		{GS_PROBE_EXEC, "arguments", "a\tb", false},
		{GS_PROBE_TCP, "via", "", true},
		{GS_PROBE_TCP, "via", "auto", true},
		{GS_PROBE_TCP, "via", "direct", true},
		{GS_PROBE_TCP, "via", "tunnel", true},
		{GS_PROBE_TCP, "via", "Tunnel", false},
		{GS_PROBE_TCP, "via", "path", false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_probe_spec spec = gs_probe_spec_default();
		uint32_t t = index_of(cases[i].member);

		spec.kind = cases[i].kind;
		assert_true(gs_probe_text_set(&spec, t, cases[i].text));
		if (gs_probe_text_is_valid(&spec, t) != cases[i].valid)
			fail_msg("%s %s: valid %d", cases[i].member, cases[i].text,
				 !cases[i].valid);
	}
}

static void lengths_and_defaults(void **state)
{
	struct gs_probe_spec spec = gs_probe_spec_default(), other = spec;
	(void)state;

	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++) {
		const struct gs_probe_text *text = gs_probe_text(t);

		assert_string_equal(gs_probe_text_get(&spec, t), text->otherwise);
		assert_true(gs_probe_text_is_valid(&spec, t));
		memset(longest, 'a', sizeof(longest));
		longest[text->size] = 0;
		assert_false(gs_probe_text_set(&spec, t, longest));
		assert_string_equal(gs_probe_text_get(&spec, t), text->otherwise);
		longest[text->size - 1] = 0;
		assert_true(gs_probe_text_set(&spec, t, longest));
		assert_false(gs_probe_asks_same(&spec, &other));
		assert_true(gs_probe_text_set(&spec, t, text->otherwise));
		assert_true(gs_probe_asks_same(&spec, &other));
		/* Rows and files are hostile: a text without its end is none. */
		memset((char *)&spec + (gs_probe_text_get(&spec, t) - (char *)&spec), 'a',
		       text->size);
		assert_false(gs_probe_text_is_valid(&spec, t));
		spec = other;
	}
	spec.interval_ms++;
	spec.fall++;
	assert_true(gs_probe_asks_same(&spec, &other));
	spec.host[0] = 'x';
	assert_false(gs_probe_asks_same(&spec, &other));
}

static void statuses(void **state)
{
	static const struct {
		const char *text;
		uint16_t good[4], bad[4];
	} cases[] = {
		{"", {200, 301, 399, 399}, {199, 400, 0, 503}},
		{"204", {204, 204, 204, 204}, {200, 203, 205, 404}},
		{"200-299,404", {200, 299, 250, 404}, {199, 300, 403, 405}},
		{"100-599", {100, 599, 200, 503}, {0, 99, 600, 999}},
	};
	struct gs_status_set set;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(gs_status_set_parse(cases[i].text, &set), 0);
		for (int n = 0; n < 4; n++) {
			assert_true(gs_status_set_has(&set, cases[i].good[n]));
			assert_false(gs_status_set_has(&set, cases[i].bad[n]));
		}
	}
	set.count = 7;
	assert_int_equal(gs_status_set_parse("200,x", &set), -EINVAL);
	assert_int_equal(set.count, 7); /* untouched */
}

static void escapes(void **state)
{
	static const struct {
		const char *text;
		int count;
		const char *bytes;
	} cases[] = {
		{"", 0, ""},
		{"PING", 4, "PING"},
		{"\\x00\\xff\\x7F", 3, "\x00\xff\x7f"},
		{"a\\r\\n\\t\\\\b", 6, "a\r\n\t\\b"},
		{"\\x", -EINVAL, NULL},
		{"\\x0", -EINVAL, NULL},
		{"\\xg0", -EINVAL, NULL},
		{"a\\", -EINVAL, NULL},
		{"\x7f", -EINVAL, NULL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* Never more bytes than characters (ASan would tell). */
		GS_AUTO_FREE uint8_t *out = malloc(strlen(cases[i].text) + 1);

		assert_int_equal(gs_probe_unescape(cases[i].text, out), cases[i].count);
		if (cases[i].count > 0)
			assert_memory_equal(out, cases[i].bytes, (size_t)cases[i].count);
	}
}

static void domains(void **state)
{
	char name[260];
	(void)state;

	memset(name, 'a', sizeof(name));
	name[63] = 0;
	assert_true(gs_domain_is_valid(name));
	name[63] = 'a';
	name[64] = 0;
	assert_false(gs_domain_is_valid(name));
	for (int i = 0; i < 254; i++)
		name[i] = i % 2 ? '.' : 'a';
	name[253] = 0;
	assert_true(gs_domain_is_valid(name));
	name[253] = '.';
	name[254] = 0;
	assert_true(gs_domain_is_valid(name));
	name[254] = 'a';
	name[255] = 0;
	assert_false(gs_domain_is_valid(name));
}

static void kinds_without_a_port(void **state)
{
	(void)state;

	for (int kind = 0; kind < GS_PROBE__COUNT; kind++)
		assert_int_equal(gs_probe_needs_port((enum gs_probe_kind)kind),
				 kind != GS_PROBE_NONE && kind != GS_PROBE_ICMP &&
					 kind != GS_PROBE_EXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),    cmocka_unit_test(lengths_and_defaults),
		cmocka_unit_test(statuses), cmocka_unit_test(escapes),
		cmocka_unit_test(domains),  cmocka_unit_test(kinds_without_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
