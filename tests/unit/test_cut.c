/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/cut.h"
#include "user/core/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIXES_MOST = 12, RUNS_MOST = 12, PIECES_MOST = 4096 };

static struct gs_prefix prefix(const char *text)
{
	struct gs_prefix parsed;

	assert_int_equal(gs_prefix_parse(text, &parsed), 0);
	return parsed;
}

static struct gs_geo_key key(const char *text)
{
	struct gs_addr addr;

	assert_int_equal(gs_addr_parse(text, &addr), 0);
	return gs_geo_key_of(&addr);
}

static void by_hand(void **state)
{
	const struct gs_prefix prefixes[] = {prefix("10.0.0.0/8"), prefix("10.0.0.0/16"),
					     prefix("192.0.2.0/24")};
	const struct gs_cut_run runs[] = {{key("0.0.0.0"), 0},
					  {key("10.0.1.0"), 1}, /* inside the /16 */
					  {key("10.0.2.0"), 0},
					  {key("10.7.0.0"), 1}, /* two /16s */
					  {key("10.9.0.0"), 0}};
	static const struct {
		const char *prefix;
		uint32_t owner;
		uint16_t class;
	} want[] = {
		{"10.0.0.0/8", 0, 0},  {"10.7.0.0/16", 0, 1}, {"10.8.0.0/16", 0, 1},
		{"10.0.0.0/16", 1, 0}, {"10.0.1.0/24", 1, 1}, {"192.0.2.0/24", 2, 0},
	};
	struct gs_cut_piece pieces[ARRAY_SIZE(want)];
	struct gs_cut_output output = {.pieces = pieces, .limit = ARRAY_SIZE(want)};
	uint32_t scratch[3], at = 9;
	(void)state;

	assert_int_equal(gs_cut(prefixes, 3, scratch, runs, 5, &output, &at), 0);
	assert_int_equal(output.count, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct gs_prefix expected = prefix(want[i].prefix);

		assert_int_equal(gs_prefix_compare(&pieces[i].prefix, &expected), 0);
		assert_int_equal(pieces[i].owner, want[i].owner);
		assert_int_equal(pieces[i].class, want[i].class);
	}
	output.count = 0;
	output.limit--;
	assert_int_equal(gs_cut(prefixes, 3, scratch, runs, 5, &output, &at), -EFBIG);
	assert_int_equal(at, 2);
	output.count = 0;
	assert_int_equal(gs_cut(prefixes, 3, scratch, runs, 1, &output, &at), 0);
	assert_int_equal(output.count, 3); /* one class: whole */
}

/* ---- against brute force, over the 256 addresses of 192.0.2.0/24 and of a /120 -----------------
 */

struct draw {
	bool is_v4;
	struct gs_prefix prefixes[PREFIXES_MOST];
	uint32_t prefix_count;
	struct gs_cut_run runs[RUNS_MOST];
	uint32_t run_count;
};

static struct gs_addr address(bool is_v4, unsigned last)
{
	struct gs_addr addr;

	gs_addr_parse(is_v4 ? "192.0.2.0" : "2001:db8::", &addr);
	addr.bytes[15] = (uint8_t)last;
	return addr;
}

static int compare_prefixes(const void *a, const void *b)
{
	return gs_prefix_compare(a, b);
}

static void draw(uint64_t *seed, struct draw *d)
{
	uint32_t count = (uint32_t)(1 + gs_random(seed) % PREFIXES_MOST);
	unsigned at = 0;

	d->is_v4 = gs_random(seed) % 2;
	d->prefix_count = d->run_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct gs_addr addr = address(d->is_v4, (unsigned)(gs_random(seed) % 256));
		uint8_t shorter = (uint8_t)(gs_random(seed) % 9);
		bool is_new = true;

		d->prefixes[d->prefix_count] =
			gs_prefix_make(&addr, (uint8_t)((d->is_v4 ? 32 : 128) - shorter));
		for (uint32_t j = 0; j < d->prefix_count; j++)
			is_new = is_new && gs_prefix_compare(&d->prefixes[j],
							     &d->prefixes[d->prefix_count]) != 0;
		d->prefix_count += is_new;
	}
	qsort(d->prefixes, d->prefix_count, sizeof(d->prefixes[0]), compare_prefixes);
	d->runs[d->run_count++] = (struct gs_cut_run){{0, 0}, (uint16_t)(gs_random(seed) % 3)};
	while (d->run_count < RUNS_MOST && at < 256) {
		struct gs_addr addr = address(d->is_v4, at);

		d->runs[d->run_count++] =
			(struct gs_cut_run){gs_geo_key_of(&addr), (uint16_t)(gs_random(seed) % 3)};
		at += 1 + (unsigned)(gs_random(seed) % 60);
	}
}

static const struct gs_cut_piece *find_piece(const struct gs_cut_output *output,
					     const struct gs_addr *addr)
{
	const struct gs_cut_piece *best = NULL;

	for (uint32_t i = 0; i < output->count; i++)
		if (gs_prefix_contains(&output->pieces[i].prefix, addr) &&
		    (!best || output->pieces[i].prefix.length > best->prefix.length))
			best = &output->pieces[i];
	return best;
}

static void check_address(const struct draw *d, const struct gs_cut_output *output, unsigned last,
			  uint64_t round)
{
	struct gs_addr addr = address(d->is_v4, last);
	struct gs_geo_key at = gs_geo_key_of(&addr);
	const struct gs_cut_piece *piece = find_piece(output, &addr);
	int owner = -1;
	uint16_t class = 0;

	for (uint32_t i = 0; i < d->prefix_count; i++)
		if (gs_prefix_contains(&d->prefixes[i], &addr) &&
		    (owner < 0 || d->prefixes[i].length > d->prefixes[owner].length))
			owner = (int)i;
	for (uint32_t i = 0; i < d->run_count; i++)
		if (d->runs[i].start.high < at.high ||
		    (d->runs[i].start.high == at.high && d->runs[i].start.low <= at.low))
			class = d->runs[i].class;
	if (!piece != (owner < 0) ||
	    (piece && (piece->owner != (uint32_t)owner || piece->class != class)))
		fail_msg("seed %llu, address %u: owner %d class %u", (unsigned long long)round,
			 last, piece ? (int)piece->owner : -1, piece ? piece->class : 0);
}

static void agrees_with_brute_force(void **state)
{
	GS_AUTO_FREE struct gs_cut_piece *pieces = calloc(PIECES_MOST, sizeof(*pieces));
	(void)state;

	for (uint64_t round = 1; round <= 3000; round++) {
		struct gs_cut_output output = {.pieces = pieces, .limit = PIECES_MOST};
		uint32_t scratch[PREFIXES_MOST], at;
		uint64_t seed = round;
		struct draw d;

		draw(&seed, &d);
		assert_int_equal(gs_cut(d.prefixes, d.prefix_count, scratch, d.runs, d.run_count,
					&output, &at),
				 0);
		for (unsigned last = 0; last < 256; last++)
			check_address(&d, &output, last, round);
		for (uint32_t i = 0; i < output.count; i++)
			for (uint32_t j = 0; j < i; j++)
				assert_int_not_equal(
					gs_prefix_compare(&pieces[i].prefix, &pieces[j].prefix), 0);
	}
}

/* The whole space, both ends of it. */
static void ends_of_the_space(void **state)
{
	const struct gs_prefix v4 = prefix("0.0.0.0/0"), v6 = prefix("::/0");
	const struct gs_cut_run runs4[] = {{{0, 0}, 1}, {{0, 1}, 0}, {{0, 0xffffffff}, 2}};
	const struct gs_cut_run runs6[] = {{{0, 0}, 1}, {{0, 1}, 0}, {{UINT64_MAX, UINT64_MAX}, 2}};
	struct gs_cut_piece pieces[8];
	struct gs_cut_output output = {.pieces = pieces, .limit = 8};
	uint32_t scratch[1], at;
	(void)state;

	assert_int_equal(gs_cut(&v4, 1, scratch, runs4, 3, &output, &at), 0);
	assert_int_equal(output.count, 3);
	assert_int_equal(pieces[0].class, 0);
	assert_int_equal(pieces[1].prefix.length, 32);
	assert_int_equal(pieces[2].class, 2);
	output.count = 0;
	assert_int_equal(gs_cut(&v6, 1, scratch, runs6, 3, &output, &at), 0);
	assert_int_equal(output.count, 3);
	assert_int_equal(pieces[1].prefix.length, 128);
	assert_int_equal(pieces[2].class, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_hand),
		cmocka_unit_test(agrees_with_brute_force),
		cmocka_unit_test(ends_of_the_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
