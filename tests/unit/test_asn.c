/* SPDX-License-Identifier: Apache-2.0 */
/* AS numbers as text, whose an address is, and the prefixes of systems, against plain prefixes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/asn_world.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/override.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLDS = 40, CLIENTS = 120, PREFIXES_MOST = 100000 };

static void texts(void **state)
{
	static const struct {
		const char *text;
		uint32_t want; /* 0: refused */
	} cases[] = {
		{"AS1", 1},
		{"as64500", 64500},
		{"As64500", 64500},
		{"AS4294967295", 4294967295},
		{"AS4294967296", 0},
		{"AS99999999999999999999", 0},
		{"AS0", 0},
		{"AS064500", 0},
		{"AS", 0},
		{"AS-1", 0},
		{"AS+1", 0},
		{"AS 1", 0},
		{"AS1 ", 0},
		{"AS1.5", 0},
		{"64500", 0},
		{"", 0},
		{"A", 0},
		{"BS1", 0},
		{"ASX", 0},
		{"AS1x", 0},
	};
	char out[GS_ASN_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t asn = 7;
		int ret = gs_asn_parse(cases[i].text, &asn);

		if (ret != (cases[i].want ? 0 : -EINVAL) || asn != (ret ? 7 : cases[i].want))
			fail_msg("%s: %d, %u", cases[i].text, ret, asn);
	}
	assert_string_equal(gs_asn_format(4294967295, out), "AS4294967295");
}

/* What an override is of, both ways. */
static void overrides(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
		enum gs_override_of of;
		const char *key;
	} cases[] = {
		{"as64500", "AS64500", GS_OVERRIDE_OF_ASN, "asn"},
		{"192.0.2.0/24", "192.0.2.0/24", GS_OVERRIDE_OF_PREFIX, "prefix"},
		{"2001:DB8::/32", "2001:db8::/32", GS_OVERRIDE_OF_PREFIX, "prefix"},
		{"country:DE", "country:DE", GS_OVERRIDE_OF_PLACE, "place"},
		{"subdivision:US-CA", "subdivision:US-CA", GS_OVERRIDE_OF_PLACE, "place"},
		{.text = "everybody"},
		{.text = "AS0"},
		{.text = "as64500/24"},
		{.text = "country:de"},
		{.text = "192.0.2.1/24"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_override override = {.region = 9};
		char out[GS_OVERRIDE_TEXT_MAX];

		if (!cases[i].want) {
			if (gs_override_parse(cases[i].text, &override) == 0)
				fail_msg("%s is taken", cases[i].text);
			assert_int_equal(override.region, 9);
			continue;
		}
		assert_int_equal(gs_override_parse(cases[i].text, &override), 0);
		assert_string_equal(gs_override_format(&override, out), cases[i].want);
		assert_int_equal(gs_override_of(&override), cases[i].of);
		assert_string_equal(gs_override_key(&override), cases[i].key);
	}
}

static void as_the_prefixes_say(void **state)
{
	uint64_t seed = 20261126;

	(void)state;
	for (int w = 0; w < WORLDS; w++) {
		struct world *world = world_new(world_draw(&seed));
		struct asn_world *asn = asn_world_new(world, &seed);

		for (int c = 0; c < CLIENTS; c++) {
			struct gs_addr client =
				c % 2 ? asn_world_client(asn, &seed) : world_client(world, &seed);

			assert_int_equal(gs_asn_find(&asn->data, &client),
					 asn_world_find(asn, &client));
		}
		asn_world_free(asn);
		world_free(world);
	}
}

/* Every other system. Owners are not in the order of systems. */
static const struct gs_asn_wanted wanted[] = {{64500, 9}, {64502, 3}, {64504, 5}};

static uint32_t owner_of(uint32_t asn)
{
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (wanted[i].asn == asn)
			return wanted[i].owner;
	return 0;
}

/* Of the prefixes: in order, none in another, no two that are one. */
static void check_order(const struct gs_asn_output *output)
{
	for (uint32_t i = 1; i < output->count; i++) {
		const struct gs_asn_prefix *a = &output->prefixes[i - 1], *b = a + 1;
		struct gs_prefix around;

		assert_true(gs_prefix_compare(&a->prefix, &b->prefix) < 0);
		assert_false(gs_prefix_contains(&a->prefix, &b->prefix.addr));
		if (a->owner != b->owner || a->prefix.length != b->prefix.length ||
		    a->prefix.length == 0)
			continue;
		around = gs_prefix_make(&a->prefix.addr, (uint8_t)(a->prefix.length - 1));
		assert_false(gs_prefix_contains(&around, &b->prefix.addr));
	}
}

static uint32_t find_owner(const struct gs_asn_output *output, const struct gs_addr *addr)
{
	for (uint32_t i = 0; i < output->count; i++)
		if (gs_prefix_contains(&output->prefixes[i].prefix, addr))
			return output->prefixes[i].owner;
	return 0;
}

static void prefixes_of_systems(void **state)
{
	struct gs_asn_output output = {.limit = PREFIXES_MOST};
	uint64_t seed = 64500;
	uint32_t found = 0, at;

	(void)state;
	output.prefixes = calloc(PREFIXES_MOST, sizeof(*output.prefixes));
	assert_non_null(output.prefixes);
	for (int w = 0; w < WORLDS; w++) {
		struct world *world = world_new(world_draw(&seed));
		struct asn_world *asn = asn_world_new(world, &seed);

		output.count = 0;
		assert_int_equal(gs_asn_prefixes(&asn->data, GS_GEO_V4, wanted, 3, &output, &at),
				 0);
		assert_int_equal(gs_asn_prefixes(&asn->data, GS_GEO_V6, wanted, 3, &output, &at),
				 0);
		check_order(&output);
		for (int c = 0; c < CLIENTS; c++) {
			struct gs_addr client = c % 4 ? asn_world_client(asn, &seed)
						      : world_client(world, &seed),
				       inside;
			uint32_t want = owner_of(asn_world_find(asn, &client));

			/* Who has an IPv4 address inside is found by that one. */
			if (gs_geo_embedded_v4(&client, &inside))
				want = 0;
			assert_int_equal(find_owner(&output, &client), want);
			found += want != 0;
		}
		asn_world_free(asn);
		world_free(world);
	}
	assert_true(found > WORLDS * CLIENTS / 10);
	free(output.prefixes);
}

/* All there is, less what has IPv4 addresses inside. */
static void all_of_it(void **state)
{
	struct gs_geo_key zero = {0};
	uint32_t asn = 64500, at = 7;
	struct gs_asndata data = {
		.v4 = {.starts = &zero, .asns = &asn, .start_count = 1},
		.v6 = {.starts = &zero, .asns = &asn, .start_count = 1},
	};
	struct gs_asn_prefix prefixes[512];
	struct gs_asn_output output = {.prefixes = prefixes, .limit = 512};
	static const struct {
		const char *address;
		bool is_there;
	} cases[] = {
		{"::", true},
		{"::fffe:ffff:ffff", true},
		{"::1:0:0:0", true},
		{"64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", true},
		{"64:ff9b::", false},
		{"64:ff9b::ffff:ffff", false},
		{"64:ff9b::1:0:0", true},
		{"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
		{"2002::", false},
		{"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
		{"2003::", true},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
		{"192.0.2.1", false}, /* the other family's */
	};

	(void)state;
	assert_int_equal(gs_asn_prefixes(&data, GS_GEO_V4, wanted, 3, &output, &at), 0);
	assert_int_equal(output.count, 1);
	assert_int_equal(prefixes[0].prefix.length, 0);
	assert_true(prefixes[0].prefix.is_v4);
	assert_int_equal(prefixes[0].owner, 9);
	output.count = 0;
	assert_int_equal(gs_asn_prefixes(&data, GS_GEO_V6, wanted, 3, &output, &at), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_addr addr;

		assert_int_equal(gs_addr_parse(cases[i].address, &addr), 0);
		if ((find_owner(&output, &addr) != 0) != cases[i].is_there)
			fail_msg("%s", cases[i].address);
	}
	/* No room: whose it was. */
	output.count = 0;
	output.limit = 5;
	asn = 64502;
	assert_int_equal(gs_asn_prefixes(&data, GS_GEO_V6, wanted, 3, &output, &at), -EFBIG);
	assert_int_equal(at, 1);
	assert_int_equal(output.count, 5);
	/* Nobody who is asked for. */
	output.count = 0;
	asn = 64501;
	assert_int_equal(gs_asn_prefixes(&data, GS_GEO_V6, wanted, 3, &output, &at), 0);
	assert_int_equal(output.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(overrides),
		cmocka_unit_test(as_the_prefixes_say),
		cmocka_unit_test(prefixes_of_systems),
		cmocka_unit_test(all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
