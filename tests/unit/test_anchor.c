/* SPDX-License-Identifier: Apache-2.0 */
/* Anchors as an operator writes them: what is taken, what is refused and how it is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/anchor.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void good_ones(void **state)
{
	static const struct {
		const char *text;
		uint32_t count;
		const char *names; /* of all of them, a line each */
	} cases[] = {
		{"", 0, ""},
		{"icmp:192.0.2.1", 1, "icmp:192.0.2.1\n"},
		{"tcp:198.51.100.7:443", 1, "tcp:198.51.100.7:443\n"},
		{"dns:203.0.113.9", 1, "dns:203.0.113.9\n"},
		{"dns:203.0.113.9:53", 1, "dns:203.0.113.9\n"},
		{"dns:203.0.113.9:5353", 1, "dns:203.0.113.9:5353\n"},
		{"icmp:2001:db8::1", 1, "icmp:2001:db8::1\n"},
		{"icmp:[2001:DB8:0::1]", 1, "icmp:2001:db8::1\n"},
		{"tcp:[2001:db8::1]:65535", 1, "tcp:[2001:db8::1]:65535\n"},
		{"dns:2001:db8::1", 1, "dns:2001:db8::1\n"},
		{"dns:[2001:db8::1]:5353", 1, "dns:[2001:db8::1]:5353\n"},
		{"tcp:[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 1,
		 "tcp:[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535\n"},
		{" icmp:192.0.2.1 ,\ttcp:192.0.2.1:80,dns:192.0.2.1 ", 3,
		 "icmp:192.0.2.1\ntcp:192.0.2.1:80\ndns:192.0.2.1\n"},
		{"icmp:192.0.2.1,icmp:192.0.2.2,icmp:192.0.2.3,icmp:192.0.2.4,"
		 "icmp:192.0.2.5,icmp:192.0.2.6,icmp:192.0.2.7,icmp:192.0.2.8",
		 8,
		 "icmp:192.0.2.1\nicmp:192.0.2.2\nicmp:192.0.2.3\nicmp:192.0.2.4\n"
		 "icmp:192.0.2.5\nicmp:192.0.2.6\nicmp:192.0.2.7\nicmp:192.0.2.8\n"},
	};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct gs_anchor_set set, again;
		char why[256] = "", names[512] = "";

		if (gs_anchors_parse(cases[c].text, &set, why, sizeof(why)))
			fail_msg("%s: %s", cases[c].text, why);
		assert_int_equal(set.count, cases[c].count);
		for (uint32_t i = 0; i < set.count; i++)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s\n",
				 set.anchors[i].name);
		assert_string_equal(names, cases[c].names);
		/* A name is a way to write it. */
		for (uint32_t i = 0; i < set.count; i++) {
			assert_int_equal(
				gs_anchors_parse(set.anchors[i].name, &again, why, sizeof(why)), 0);
			assert_string_equal(again.anchors[0].name, set.anchors[i].name);
			assert_int_equal(again.anchors[0].port, set.anchors[i].port);
		}
	}
}

#define FORMS "is none of icmp:ADDRESS, tcp:ADDRESS:PORT, dns:ADDRESS[:PORT]"
#define MISSING \
	"an anchor is missing between commas (icmp:ADDRESS, tcp:ADDRESS:PORT, dns:ADDRESS[:PORT])"

static void bad_ones(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"192.0.2.1", "'192.0.2.1' " FORMS},
		{"http:192.0.2.1:80", "'http:192.0.2.1:80' " FORMS},
		{"none:192.0.2.1", "'none:192.0.2.1' " FORMS},
		{"ICMP:192.0.2.1", "'ICMP:192.0.2.1' " FORMS},
		{":192.0.2.1", "':192.0.2.1' " FORMS},
		{"icmp", "'icmp' " FORMS},
		{"icmp:", "'icmp:' has no IP address"},
		{"icmp:example.com", "'icmp:example.com' has no IP address"},
		{"icmp:192.0.2.256", "'icmp:192.0.2.256' has no IP address"},
		{"icmp:192.0.2.0/24", "'icmp:192.0.2.0/24' has no IP address"},
		{"icmp:fe80::1%eth0", "'icmp:fe80::1%eth0' has no IP address"},
		{"icmp:[192.0.2.1]", "'icmp:[192.0.2.1]' has no IP address"},
		{"tcp:[2001:db8::1", "'tcp:[2001:db8::1' has no IP address"},
		{"tcp:[2001:db8::1]443", "'tcp:[2001:db8::1]443' has no IP address"},
		{"icmp:192.0.2.1:80", "'icmp:192.0.2.1:80' has a port, and icmp has none"},
		{"icmp:[2001:db8::1]:80", "'icmp:[2001:db8::1]:80' has a port, and icmp has none"},
		{"tcp:198.51.100.7",
		 "'tcp:198.51.100.7' has no port (tcp:ADDRESS:PORT, IPv6 in brackets)"},
		{"tcp:2001:db8::1:443",
		 "'tcp:2001:db8::1:443' has no port (tcp:ADDRESS:PORT, IPv6 in brackets)"},
		{"tcp:198.51.100.7:0", "'tcp:198.51.100.7:0' has no port of 1 to 65535"},
		{"tcp:198.51.100.7:65536", "'tcp:198.51.100.7:65536' has no port of 1 to 65535"},
		{"tcp:198.51.100.7:4294967376",
		 "'tcp:198.51.100.7:4294967376' has no port of 1 to 65535"},
		{"tcp:198.51.100.7:", "'tcp:198.51.100.7:' has no port of 1 to 65535"},
		{"tcp:198.51.100.7:-1", "'tcp:198.51.100.7:-1' has no port of 1 to 65535"},
		{"tcp:198.51.100.7:80x", "'tcp:198.51.100.7:80x' has no port of 1 to 65535"},
		{"dns:9.9.9.9:https", "'dns:9.9.9.9:https' has no port of 1 to 65535"},
		{"icmp:127.0.0.1", "'icmp:127.0.0.1' is no unicast address of another machine"},
		{"icmp:0.0.0.0", "'icmp:0.0.0.0' is no unicast address of another machine"},
		{"icmp:224.0.0.1", "'icmp:224.0.0.1' is no unicast address of another machine"},
		{"icmp:255.255.255.255",
		 "'icmp:255.255.255.255' is no unicast address of another machine"},
		{"icmp:::", "'icmp:::' is no unicast address of another machine"},
		{"icmp:::1", "'icmp:::1' is no unicast address of another machine"},
		{"icmp:ff02::1", "'icmp:ff02::1' is no unicast address of another machine"},
		{"icmp:fe80::1", "'icmp:fe80::1' is no unicast address of another machine"},
		{",", MISSING},
		{"icmp:192.0.2.1,", MISSING},
		{",icmp:192.0.2.1", MISSING},
		{"icmp:192.0.2.1, ,icmp:192.0.2.2", MISSING},
		{"icmp:192.0.2.1 icmp:192.0.2.2",
		 "'icmp:192.0.2.1 icmp:192.0.2.2' has no IP address"},
		{"icmp:192.0.2.1,icmp:192.0.2.1", "'icmp:192.0.2.1' is there twice"},
		{"dns:192.0.2.1,dns:192.0.2.1:53", "'dns:192.0.2.1:53' is there twice"},
		{"icmp:2001:db8::1,icmp:[2001:DB8::1]", "'icmp:[2001:DB8::1]' is there twice"},
		{"icmp:192.0.2.1,icmp:192.0.2.2,icmp:192.0.2.3,icmp:192.0.2.4,icmp:192.0.2.5,"
		 "icmp:192.0.2.6,icmp:192.0.2.7,icmp:192.0.2.8,icmp:192.0.2.9",
		 "'icmp:192.0.2.9' is one too many: there may be 8"},
		{"icmp:0000000000000000000000000000000000000000000000000000000000000000",
		 "'icmp:0000000000000000000000000000000000000000000000000000000000' ... is too "
		 "long for an anchor"},
	};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct gs_anchor_set set = {.count = 77};
		char why[256] = "";

		assert_int_equal(gs_anchors_parse(cases[c].text, &set, why, sizeof(why)), -EINVAL);
		assert_string_equal(why, cases[c].why);
		assert_int_equal(set.count, 77);
	}
}

/* Of any bytes: refused or taken, and never beyond what there is (ASan looks). */
static void hostile_bytes(void **state)
{
	static const char bytes[] = "icmptdns:.[],0123456789abcdef \t%/";
	uint64_t draw = 88172645463325252ull;
	(void)state;

	for (int round = 0; round < 20000; round++) {
		struct gs_anchor_set set = {.count = 0};
		char text[160], why[40];
		size_t length;

		draw ^= draw << 13;
		draw ^= draw >> 7;
		draw ^= draw << 17;
		length = draw % sizeof(text);
		for (size_t i = 0; i < length; i++) {
			draw ^= draw << 13;
			draw ^= draw >> 7;
			draw ^= draw << 17;
			text[i] = bytes[draw % (sizeof(bytes) - 1)];
		}
		text[length] = '\0';
		if (round % 4 == 0 && length > 5)
			memcpy(text, "tcp:[", 5);
		gs_anchors_parse(text, &set, why, sizeof(why));
		assert_true(set.count <= GS_ANCHORS_MAX);
	}
}

static void what_an_answer_is(void **state)
{
	struct gs_anchor_set set;
	struct gs_probe_spec spec;
	char why[256];
	(void)state;

	for (int class = 0; class < GS_PROBE_CLASS__COUNT; class ++) {
		bool has_answered =
			class == GS_PROBE_OK || class == GS_PROBE_STATUS || class == GS_PROBE_BODY;

		assert_int_equal(gs_anchor_class((enum gs_probe_class) class),
				 has_answered ? GS_PROBE_OK : class);
	}
	assert_int_equal(gs_anchors_parse("dns:9.9.9.9,tcp:192.0.2.1:80", &set, why, sizeof(why)),
			 0);
	spec = gs_anchor_spec(&set.anchors[0]);
	assert_string_equal(spec.request, ".");
	assert_string_equal(spec.dns_type, "NS");
	assert_int_equal(set.anchors[0].port, 53);
	spec = gs_anchor_spec(&set.anchors[1]);
	assert_int_equal(spec.kind, GS_PROBE_TCP);
	assert_int_equal(spec.interval_ms, 1000);
	assert_true(spec.timeout_ms <= spec.fast_interval_ms); /* one at a time */
	assert_true(gs_health_worst_case_ms(&spec) < 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
		cmocka_unit_test(hostile_bytes),
		cmocka_unit_test(what_an_answer_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
