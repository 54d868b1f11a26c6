/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/access.h"
#include "user/core/cidr.h"
#include "user/core/random.h"
#include "user/core/snapshot.h"

#include <stdlib.h>

enum { RULES = 60, WORLDS = 200, CLIENTS = 200 };

static struct gs_prefix prefix(const char *text)
{
	struct gs_prefix parsed;

	assert_int_equal(gs_prefix_parse(text, &parsed), 0);
	return parsed;
}

static struct gs_addr addr(const char *text)
{
	struct gs_addr parsed;

	assert_int_equal(gs_addr_parse(text, &parsed), 0);
	return parsed;
}

static int compare(const void *left, const void *right)
{
	return gs_access_compare(left, right);
}

static void the_longest_decides(void **state)
{
	struct gs_access rules[] = {
		{prefix("192.0.0.0/16"), 0, false, ""},
		{prefix("192.0.2.0/24"), 0, true, ""},
		{prefix("192.0.2.0/24"), 3, false, ""},
		{prefix("192.0.2.9/32"), 0, true, ""},
		{prefix("0.0.0.0/0"), 7, false, ""},
		{prefix("2001:db8::/32"), 0, false, ""},
		{prefix("2002:c000:300::/40"), 0, true, ""},
	};
	static const struct {
		const char *client;
		gs_id service;
		const char *want; /* NULL: none */
		gs_id want_service;
	} cases[] = {
		{"192.0.1.1", 3, "192.0.0.0/16", 0},
		{"192.0.2.1", 4, "192.0.2.0/24", 0},
		{"192.0.2.1", 3, "192.0.2.0/24", 3},
		{"192.0.2.9", 3, "192.0.2.9/32", 0},
		{"198.51.100.1", 3, NULL, 0},
		{"198.51.100.1", 7, "0.0.0.0/0", 7},
		{"2001:db8:1::1", 3, "2001:db8::/32", 0},
		{"2001:db9::1", 7, NULL, 0},
		{"64:ff9b::192.0.2.1", 3, "192.0.2.0/24", 3},
		{"2002:c000:301::1", 3, "2002:c000:300::/40", 0},
		{"2002:c000:201::1", 4, "192.0.2.0/24", 0},
	};
	struct gs_snapshot snapshot = {.access = rules, .access_count = ARRAY_SIZE(rules)};

	(void)state;
	qsort(rules, ARRAY_SIZE(rules), sizeof(rules[0]), compare);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_addr client = addr(cases[i].client);
		const struct gs_access *found =
			gs_access_find(&snapshot, cases[i].service, &client);
		char text[GS_PREFIX_TEXT_MAX];

		if (!cases[i].want) {
			assert_null(found);
			continue;
		}
		assert_non_null(found);
		assert_string_equal(gs_prefix_format(&found->prefix, text), cases[i].want);
		assert_int_equal(found->service, cases[i].want_service);
	}
	snapshot.access_count = 0;
	assert_null(gs_access_find(&snapshot, 1, &(struct gs_addr){{0}}));
}

/* By looking at each rule. */
static const struct gs_access *find_plainly(const struct gs_snapshot *snapshot, gs_id service,
					    const struct gs_addr *client)
{
	const struct gs_access *best = NULL;

	for (uint32_t i = 0; i < snapshot->access_count; i++) {
		const struct gs_access *rule = &snapshot->access[i];

		if ((rule->service == 0 || rule->service == service) &&
		    gs_prefix_contains(&rule->prefix, client) &&
		    (!best || rule->prefix.length > best->prefix.length ||
		     (rule->prefix.length == best->prefix.length && rule->service)))
			best = rule;
	}
	return best;
}

static struct gs_addr random_client(uint64_t *seed)
{
	return gs_addr_from_v4(0xc0000000u | (uint32_t)(gs_random(seed) >> 52));
}

static void as_by_looking_at_each(void **state)
{
	static struct gs_access rules[RULES];
	uint64_t seed = 5;

	(void)state;
	for (int world = 0; world < WORLDS; world++) {
		struct gs_snapshot snapshot = {.access = rules};

		for (int i = 0; i < RULES; i++) {
			struct gs_addr client = random_client(&seed);

			rules[i] = (struct gs_access){
				.prefix = gs_prefix_make(&client,
							 (uint8_t)(16 + gs_random(&seed) % 17)),
				.service = (gs_id)(gs_random(&seed) % 3),
			};
		}
		qsort(rules, RULES, sizeof(rules[0]), compare);
		for (int i = 0; i < RULES; i++) /* each once */
			if (i == 0 || compare(&rules[i], &rules[snapshot.access_count - 1]) != 0)
				rules[snapshot.access_count++] = rules[i];
		for (int i = 0; i < CLIENTS; i++) {
			struct gs_addr client = random_client(&seed);
			gs_id service = (gs_id)(1 + gs_random(&seed) % 2);

			assert_ptr_equal(gs_access_find(&snapshot, service, &client),
					 find_plainly(&snapshot, service, &client));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_decides),
		cmocka_unit_test(as_by_looking_at_each),
	};

	return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
