/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static void addresses_parse_and_format(void **state)
{
	static const struct {
		const char *in, *want; /* NULL: refused */
	} cases[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"2001:DB8::00A0", "2001:db8::a0"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
		{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::ffff:c000:201", "192.0.2.1"},
		{"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
		{"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
		{"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
		{"", NULL},
		{"192.0.2", NULL},
		{"192.0.2.1.5", NULL},
		{"192.0.2.256", NULL},
		{"192.0.2.01", NULL},
		{"192.0.2.00", NULL},
		{"192.0.2.1 ", NULL},
		{" 192.0.2.1", NULL},
		{"192.0.2.-1", NULL},
		{"+1.2.3.4", NULL},
		{"192.0.2.0x1", NULL},
		{"3221225985", NULL},
		{"1.2.3.4294967297", NULL},
		{"192.0.2.1/32", NULL},
		{":", NULL},
		{":::", NULL},
		{"1:::2", NULL},
		{"::1::", NULL},
		{"1:2:3:4:5:6:7", NULL},
		{"1:2:3:4:5:6:7:8:9", NULL},
		{"1:2:3:4:5:6:7:8::", NULL},
		{"::1:2:3:4:5:6:7:8", NULL},
		{":1:2:3:4:5:6:7", NULL},
		{"1:2:3:4:5:6:7:", NULL},
		{"1::2:", NULL},
		{"12345::", NULL},
		{"g::", NULL},
		{"fe80::1%eth0", NULL},
		{"[::1]", NULL},
		{"::192.0.2.01", NULL},
		{"::192.0.2.1:1", NULL},
		{"192.0.2.1::", NULL},
		{"1:2:3:4:5:6:7:1.2.3.4", NULL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_addr addr, before;
		char text[GS_ADDR_TEXT_MAX];
		int err;

		memset(&addr, 0xa5, sizeof(addr));
		before = addr;
		err = gs_addr_parse(cases[i].in, &addr);
		if (!cases[i].want) {
			if (err != -EINVAL || memcmp(&addr, &before, sizeof(addr)) != 0)
				fail_msg("\"%s\" was taken, or its output touched", cases[i].in);
			continue;
		}
		if (err)
			fail_msg("\"%s\" was refused", cases[i].in);
		assert_string_equal(gs_addr_format(&addr, text), cases[i].want);
	}
}

/* Any 16 bytes: our text is what inet_pton reads back, and inet_ntop's text is what we read. */
static void agrees_with_libc_on_addresses(void **state)
{
	uint64_t seed = 20261123;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 100000; i++) {
		struct gs_addr addr, back;
		char ours[GS_ADDR_TEXT_MAX], theirs[INET6_ADDRSTRLEN];

		for (int byte = 0; byte < 16; byte++)
			addr.bytes[byte] = world_draw(&seed) % 3 ? 0 : (uint8_t)world_draw(&seed);
		gs_addr_format(&addr, ours);
		assert_int_equal(inet_pton(gs_addr_is_v4(&addr) ? AF_INET : AF_INET6, ours,
					   gs_addr_is_v4(&addr) ? back.bytes + 12 : back.bytes),
				 1);
		if (!gs_addr_is_v4(&addr))
			assert_memory_equal(&back, &addr, sizeof(addr));
		assert_non_null(inet_ntop(AF_INET6, addr.bytes, theirs, sizeof(theirs)));
		assert_int_equal(gs_addr_parse(theirs, &back), 0);
		assert_memory_equal(&back, &addr, sizeof(addr));
	}
}

/* Text made of an address's characters: taken exactly where libc takes it, with the same bytes. */
static void agrees_with_libc_on_garbage(void **state)
{
	static const char letters[] = "0123.::::afF1%/";
	uint64_t seed = 4711;
	unsigned taken = 0;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 400000; i++) {
		size_t length = world_draw(&seed) % 16;
		struct gs_addr ours, theirs;
		char text[17];
		bool good;

		for (size_t j = 0; j < length; j++)
			text[j] = letters[world_draw(&seed) % (sizeof(letters) - 1)];
		text[length] = '\0';
		theirs = gs_addr_from_v4(0);
		good = strchr(text, ':') ? inet_pton(AF_INET6, text, theirs.bytes) == 1
					 : inet_pton(AF_INET, text, theirs.bytes + 12) == 1;
		if ((gs_addr_parse(text, &ours) == 0) != good)
			fail_msg("\"%s\": libc says %s", text, good ? "good" : "bad");
		if (good)
			assert_memory_equal(&ours, &theirs, sizeof(ours));
		taken += good;
	}
	assert_true(taken > 100);
}

static void prefixes_parse_and_format(void **state)
{
	static const struct {
		const char *in, *want;
		int err;
	} cases[] = {
		{"192.0.2.0/24", "192.0.2.0/24", 0},
		{"192.0.2.1", "192.0.2.1/32", 0},
		{"0.0.0.0/0", "0.0.0.0/0", 0},
		{"128.0.0.0/1", "128.0.0.0/1", 0},
		{"2001:db8::/32", "2001:db8::/32", 0},
		{"2001:db8::1", "2001:db8::1/128", 0},
		{"::/0", "::/0", 0},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24", 0},
		{"::ffff:0:0/96", "0.0.0.0/0", 0},
		{"192.0.2.1/24", NULL, -EDOM},
		{"1.0.0.0/0", NULL, -EDOM},
		{"2001:db8::1/127", NULL, -EDOM},
		{"::ffff:0:0/95", NULL, -EDOM},
		{"192.0.2.0/33", NULL, -ERANGE},
		{"::/129", NULL, -ERANGE},
		{"::/999", NULL, -ERANGE},
		{"192.0.2.0/", NULL, -EINVAL},
		{"192.0.2.0/24/24", NULL, -EINVAL},
		{"192.0.2.0/024", NULL, -EINVAL},
		{"192.0.2.0/-1", NULL, -EINVAL},
		{"192.0.2.0/+8", NULL, -EINVAL},
		{"192.0.2.0/24 ", NULL, -EINVAL},
		{"192.0.2.0 /24", NULL, -EINVAL},
		{"192.0.2.0/4294967320", NULL, -EINVAL},
		{"192.0.2.0/255.255.255.0", NULL, -EINVAL},
		{"192.0.2/24", NULL, -EINVAL},
		{"/24", NULL, -EINVAL},
		{"", NULL, -EINVAL},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_prefix prefix, before;
		char text[GS_PREFIX_TEXT_MAX];
		int err;

		memset(&prefix, 0xa5, sizeof(prefix));
		before = prefix;
		err = gs_prefix_parse(cases[i].in, &prefix);
		if (err != cases[i].err)
			fail_msg("\"%s\": %d, want %d", cases[i].in, err, cases[i].err);
		if (err)
			assert_memory_equal(&prefix, &before, sizeof(prefix));
		else
			assert_string_equal(gs_prefix_format(&prefix, text), cases[i].want);
	}
}

static bool bit_of(const struct gs_addr *addr, unsigned bit)
{
	return addr->bytes[bit / 8] >> (7 - bit % 8) & 1;
}

/* Bit by bit: what make cleared and kept, and who is inside. */
static void masks_bit_by_bit(void **state)
{
	uint64_t seed = 99;
	(void)state;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int i = 0; i < 20000; i++) {
		bool is_v4 = world_draw(&seed) % 2;
		struct gs_addr addr, other;
		struct gs_prefix prefix;
		unsigned length, first = is_v4 ? 96 : 0;
		bool inside = true;

		for (int byte = 0; byte < 16; byte++)
			addr.bytes[byte] = (uint8_t)world_draw(&seed);
		if (is_v4)
			addr = gs_addr_from_v4((uint32_t)world_draw(&seed));
		length = (unsigned)(world_draw(&seed) % (is_v4 ? 33 : 129));
		other = addr;
		if (length > 0 || !is_v4)
			other.bytes[first / 8 + world_draw(&seed) % (16 - first / 8)] ^=
				(uint8_t)(1u << world_draw(&seed) % 8);
		prefix = gs_prefix_make(&addr, (uint8_t)length);
		assert_int_equal(prefix.is_v4, is_v4);
		assert_int_equal(prefix.length, length);
		for (unsigned bit = 0; bit < 128; bit++) {
			assert_int_equal(bit_of(&prefix.addr, bit),
					 bit < first + length ? bit_of(&addr, bit) : 0);
			if (bit < first + length && bit_of(&addr, bit) != bit_of(&other, bit))
				inside = false;
		}
		assert_true(gs_prefix_contains(&prefix, &addr));
		assert_int_equal(gs_prefix_contains(&prefix, &other), inside);
	}
}

static struct gs_prefix prefix_of(const char *text)
{
	struct gs_prefix prefix;

	assert_int_equal(gs_prefix_parse(text, &prefix), 0);
	return prefix;
}

static void families_stay_apart(void **state)
{
	struct gs_prefix everything = prefix_of("::/0"), v4 = prefix_of("0.0.0.0/0");
	struct gs_addr client4 = prefix_of("192.0.2.1").addr;
	struct gs_addr client6 = prefix_of("2001:db8::1").addr;
	(void)state;

	assert_false(gs_prefix_contains(&everything, &client4));
	assert_true(gs_prefix_contains(&everything, &client6));
	assert_true(gs_prefix_contains(&v4, &client4));
	assert_false(gs_prefix_contains(&v4, &client6));
	assert_int_equal(gs_prefix_make(&client4, 200).length, 32);
	assert_int_equal(gs_prefix_make(&client6, 200).length, 128);
}

static void orders(void **state)
{
	static const char *const ascending[] = {"0.0.0.0/0",  "0.0.0.0/8",    "10.0.0.0/8",
						"10.0.0.0/9", "192.0.2.1/32", "::/0",
						"::/128",     "2001:db8::/32"};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(ascending); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ascending); j++) {
			struct gs_prefix a = prefix_of(ascending[i]), b = prefix_of(ascending[j]);
			int order = gs_prefix_compare(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
		}
	for (uint32_t i = 0; i < 32; i++) {
		struct gs_addr low = gs_addr_from_v4(0x7fffffffu >> i);
		struct gs_addr high = gs_addr_from_v4(0x80000000u >> i);

		assert_true(gs_addr_compare(&low, &high) < 0);
		assert_int_equal(gs_addr_to_v4(&high), 0x80000000u >> i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_parse_and_format),
		cmocka_unit_test(agrees_with_libc_on_addresses),
		cmocka_unit_test(agrees_with_libc_on_garbage),
		cmocka_unit_test(prefixes_parse_and_format),
		cmocka_unit_test(masks_bit_by_bit),
		cmocka_unit_test(families_stay_apart),
		cmocka_unit_test(orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
