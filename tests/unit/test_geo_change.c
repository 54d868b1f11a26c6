/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another database would change, against a look-up between any two borders of what both were
 * made of, and every draw of every pair of plans.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/world.h"
#include "user/app/geo_change.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum { WORLDS = 10, BORDERS_MAX = 4096, CLIENTS = 60, REGIONS = 256, PAIRS_MAX = 4096 };

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static struct gs_addr address_of(u128 number, bool is_v4)
{
	struct gs_addr addr;

	if (is_v4)
		return gs_addr_from_v4((uint32_t)number);
	for (int i = 0; i < 16; i++)
		addr.bytes[i] = (uint8_t)(number >> (120 - 8 * i));
	return addr;
}

/* ---- the slow, obvious way ------------------------------------------------------------------- */

struct oracle {
	const struct gs_tables *before, *after;
	u128 borders[BORDERS_MAX]; /* where something may begin */
	size_t border_count;
	/* Of pairs of plans that were asked before: slots from one region to another. */
	struct known {
		const struct gs_plan *before, *after;
		uint32_t moved;
	} known[PAIRS_MAX];
	size_t known_count;
};

static void add_border(struct oracle *oracle, u128 number)
{
	assert_true(oracle->border_count < BORDERS_MAX);
	oracle->borders[oracle->border_count++] = number;
}

static int by_number(const void *left, const void *right)
{
	u128 a = *(const u128 *)left, b = *(const u128 *)right;

	return (a > b) - (a < b);
}

static void add_ranges(struct oracle *oracle, const struct gs_geo_range *ranges, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		add_border(oracle, number_of(ranges[i].first));
		add_border(oracle, number_of(ranges[i].last) + 1);
	}
}

static void find_borders(struct oracle *oracle, const struct world *before,
			 const struct world *after, bool is_v4)
{
	const struct gs_snapshot *snapshot = oracle->before->snapshot;

	oracle->border_count = 0;
	add_border(oracle, 0);
	add_ranges(oracle, is_v4 ? before->ranges4 : before->ranges6,
		   is_v4 ? before->range4_count : before->range6_count);
	add_ranges(oracle, is_v4 ? after->ranges4 : after->ranges6,
		   is_v4 ? after->range4_count : after->range6_count);
	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		const struct gs_prefix *prefix = &snapshot->overrides[i].prefix;
		u128 first = number_of(gs_geo_key_of(&prefix->addr));
		unsigned bits = (prefix->is_v4 ? 32u : 128u) - prefix->length;

		if (prefix->is_v4 != is_v4)
			continue;
		add_border(oracle, first);
		if (bits < 128)
			add_border(oracle, first + ((u128)1 << bits));
	}
	if (!is_v4) {
		add_border(oracle, (u128)0x0064ff9b << 96);
		add_border(oracle, ((u128)0x0064ff9b << 96) + ((u128)1 << 32));
		add_border(oracle, (u128)0x2002 << 112);
		add_border(oracle, (u128)0x2003 << 112);
	}
	qsort(oracle->borders, oracle->border_count, sizeof(oracle->borders[0]), by_number);
}

static gs_id region_at(const struct gs_plan *plan, uint64_t draw)
{
	int at = plan ? gs_plan_home(plan, draw) : -1;

	return at < 0 ? 0 : plan->region[at];
}

/* Of 65,536 draws, how many go elsewhere. */
static uint32_t moved_slots(struct oracle *oracle, const struct gs_plan *before,
			    const struct gs_plan *after)
{
	struct known *known = oracle->known;
	size_t at = 0;

	while (at < oracle->known_count && (known[at].before != before || known[at].after != after))
		at++;
	if (at < oracle->known_count)
		return known[at].moved;
	assert_true(at < PAIRS_MAX);
	known[at] = (struct known){before, after, 0};
	for (uint32_t draw = 0; draw <= UINT16_MAX; draw++)
		known[at].moved += region_at(before, draw) != region_at(after, draw);
	oracle->known_count++;
	return known[at].moved;
}

static bool is_elsewhere(const struct oracle *oracle, uint16_t before, uint16_t after)
{
	const struct gs_location *a = &oracle->before->locations[before];
	const struct gs_location *b = &oracle->after->locations[after];

	if (!before || !after)
		return before != after;
	return strcmp(a->country, b->country) != 0 || strcmp(a->continent, b->continent) != 0 ||
	       strcmp(a->subdivision, b->subdivision) != 0 || a->has_coord != b->has_coord ||
	       (a->has_coord &&
		(a->coord.lat_deg != b->coord.lat_deg || a->coord.lon_deg != b->coord.lon_deg)) ||
	       a->override_region != b->override_region;
}

struct sums {
	double located, relocated, moved[GS_MAX_SERVICES];
};

static void add_interval(struct oracle *oracle, struct sums *sums, u128 first, u128 size,
			 bool is_v4)
{
	const struct gs_snapshot *snapshot = oracle->before->snapshot;
	struct gs_addr addr = address_of(first, is_v4), inside;
	uint16_t before = gs_tables_locate(oracle->before, &addr, NULL, NULL);
	uint16_t after = gs_tables_locate(oracle->after, &addr, NULL, NULL);

	if ((!is_v4 && gs_geo_embedded_v4(&addr, &inside)) || (!before && !after))
		return;
	sums->located += (double)size;
	if (is_elsewhere(oracle, before, after))
		sums->relocated += (double)size;
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		gs_id service = snapshot->services[i].id;

		sums->moved[i] +=
			(double)size *
			moved_slots(oracle, gs_tables_plan(oracle->before, service, before),
				    gs_tables_plan(oracle->after, service, after)) /
			(UINT16_MAX + 1.0);
	}
}

static void sum_up(struct oracle *oracle, bool is_v4, struct sums *sums)
{
	u128 end = is_v4 ? (u128)1 << 32 : 0;

	memset(sums, 0, sizeof(*sums));
	for (size_t i = 0; i < oracle->border_count; i++) {
		u128 first = oracle->borders[i];
		u128 next = i + 1 < oracle->border_count ? oracle->borders[i + 1] : end;

		/* Behind the last address, or the same once more. */
		if (next != first && !(is_v4 && first == end))
			add_interval(oracle, sums, first, next - first, is_v4);
	}
}

/* ---- against it ------------------------------------------------------------------------------ */

static void assert_share(double share, double part, double whole)
{
	assert_true(fabs(share - (whole > 0 ? part / whole : 0)) < 1e-9);
}

static void check_family(struct oracle *oracle, const struct gs_geo_change_family *family,
			 bool is_v4)
{
	struct sums *sums = malloc(sizeof(*sums));
	double most = 0;

	assert_non_null(sums);
	sum_up(oracle, is_v4, sums);
	for (uint32_t i = 0; i < oracle->before->snapshot->service_count; i++)
		most = sums->moved[i] > most ? sums->moved[i] : most;
	if (fabs(family->located - sums->located) > sums->located * 1e-9)
		fail_msg("v4 %d: %.20g, oracle %.20g", is_v4, family->located, sums->located);
	assert_share(family->relocated, sums->relocated, sums->located);
	assert_share(family->moved, most, sums->located);
	assert_int_equal(family->service[0] != '\0', most > 0);
	free(sums);
}

static void check_moves(const struct gs_geo_change *change)
{
	double sum4 = 0, sum6 = 0;

	for (uint32_t i = 0; i < change->move_count; i++) {
		const struct gs_geo_change_move *move = &change->moves[i];

		assert_string_not_equal(move->from, move->to);
		if (strcmp(move->service, change->v4.service) == 0)
			sum4 += move->share4;
		if (strcmp(move->service, change->v6.service) == 0)
			sum6 += move->share6;
	}
	assert_true(change->v4.moved + change->v6.moved == 0 || change->move_count > 0);
	/* Not all of them are there. */
	assert_true(sum4 <= change->v4.moved + 1e-9);
	assert_true(sum6 <= change->v6.moved + 1e-9);
	assert_true(change->move_count == GS_GEO_CHANGE_MOVES ||
		    (sum4 >= change->v4.moved - 1e-9 && sum6 >= change->v6.moved - 1e-9));
}

static bool has_split(const struct gs_tables *tables)
{
	for (uint32_t id = 1; id <= gs_plan_set_count(tables->plans); id++)
		if (gs_plan_set_get(tables->plans, (gs_id)id)->share[0] < UINT16_MAX)
			return true;
	return false;
}

/* Plans that depend on the place, and share clients by weight there. */
static void share_by_weight(struct gs_snapshot *snapshot, uint64_t seed)
{
	for (uint32_t i = 0; i < snapshot->policy_count; i++) {
		struct gs_policy *policy = &snapshot->policies[i];

		policy->kind = GS_POLICY_RANKED;
		policy->rank_count = 2;
		policy->rank[0] = GS_BY_LATENCY;
		policy->rank[1] = GS_BY_WEIGHT;
		policy->band_ms = (uint16_t)(20 + world_draw(&seed) % 100);
		policy->order_count = (uint8_t)snapshot->region_count;
		for (uint32_t j = 0; j < snapshot->region_count; j++)
			policy->order[j] = snapshot->regions[j].id;
		for (uint32_t j = 0; j < policy->order_count; j++)
			policy->weight[j] = (uint16_t)(world_draw(&seed) % 5);
	}
}

static void it_is_what_look_ups_say(void **state)
{
	struct oracle *oracle = calloc(1, sizeof(*oracle));
	uint32_t with_moves = 0, splits = 0;

	(void)state;
	assert_non_null(oracle);
	for (uint64_t seed = 1; seed <= WORLDS; seed++) {
		struct world *before = world_new(seed), *after = world_new(1000 + seed);
		struct gs_client_count clients[CLIENTS];
		struct gs_geo_change change = {.limit_percent = 20};
		struct gs_tables *was, *is;
		struct gs_error error;
		uint64_t draw = seed;
		double elsewhere = 0;

		/* Somewhere to move to. */
		for (uint32_t r = 0; r < before->snapshot.region_count; r++)
			before->snapshot.regions[r].admin = GS_ADMIN_AUTO;
		if (seed % 2)
			share_by_weight(&before->snapshot, seed);
		assert_int_equal(gs_tables_build(&before->snapshot, &before->geo, &was, &error), 0);
		assert_int_equal(gs_tables_build(&before->snapshot, &after->geo, &is, &error), 0);
		splits += has_split(was);
		oracle->before = was;
		oracle->after = is;
		oracle->known_count = 0;
		for (int i = 0; i < CLIENTS; i++) {
			struct gs_addr client = world_client(before, &draw);
			uint32_t at =
				(uint32_t)(world_draw(&draw) % before->snapshot.service_count);

			clients[i] = (struct gs_client_count){
				.of = {gs_prefix_make(&client, gs_addr_is_v4(&client) ? 24 : 48),
				       before->snapshot.services[at].id},
				.flows = 1 + i};
			client = clients[i].of.client.addr;
			if (is_elsewhere(oracle, gs_tables_locate(was, &client, NULL, NULL),
					 gs_tables_locate(is, &client, NULL, NULL)))
				elsewhere += clients[i].flows;
		}
		assert_int_equal(
			gs_geo_change_find(&(struct gs_geo_change_of){.before = was,
								      .after = is,
								      .clients = clients,
								      .client_count = CLIENTS},
					   &change),
			0);
		find_borders(oracle, before, after, true);
		check_family(oracle, &change.v4, true);
		find_borders(oracle, before, after, false);
		check_family(oracle, &change.v6, false);
		check_moves(&change);
		assert_true(change.shift.flows == CLIENTS * (CLIENTS + 1) / 2.0);
		assert_true(fabs(change.relocated_flows - elsewhere) < 1e-6);
		assert_false(change.is_same);
		with_moves += change.move_count > 0;
		gs_tables_free(is);
		gs_tables_free(was);
		world_free(after);
		world_free(before);
	}
	assert_true(with_moves >= 3);
	assert_true(splits >= 2);
	free(oracle);
}

static void the_same_database_changes_nothing(void **state)
{
	struct world *world = world_new(7);
	struct gs_geo_change change = {.limit_percent = 0};
	struct gs_progress progress = {.phase_ = 0};
	struct gs_tables *tables;
	struct gs_error error;
	char what[64];
	const struct gs_geo_change_of of = {.before = NULL};
	struct gs_geo_change_of asked = of;

	(void)state;
	assert_int_equal(gs_tables_build(&world->snapshot, &world->geo, &tables, &error), 0);
	asked.before = asked.after = tables;
	asked.progress = &progress;
	assert_int_equal(gs_geo_change_find(&asked, &change), 0);
	assert_true(change.is_same);
	assert_false(gs_geo_change_exceeds(&change, what, sizeof(what)));
	gs_tables_free(tables);
	world_free(world);
}

static void it_ends_when_nobody_wants_it(void **state)
{
	struct world *before = world_new(1), *after = world_new(2);
	struct gs_geo_change change = {.limit_percent = 20};
	struct gs_progress progress = {.phase_ = 0};
	struct gs_tables *was, *is;
	struct gs_progress_view view;
	struct gs_error error;

	(void)state;
	assert_int_equal(gs_tables_build(&before->snapshot, &before->geo, &was, &error), 0);
	assert_int_equal(gs_tables_build(&before->snapshot, &after->geo, &is, &error), 0);
	gs_progress_reset(&progress);
	assert_int_equal(gs_geo_change_find(&(struct gs_geo_change_of){.before = was,
								       .after = is,
								       .progress = &progress},
					    &change),
			 0);
	gs_progress_look(&progress, &view);
	assert_int_equal(view.phase, GS_PHASE_COMPARING);
	assert_true(view.done > 999000);
	gs_progress_cancel(&progress);
	assert_int_equal(gs_geo_change_find(&(struct gs_geo_change_of){.before = was,
								       .after = is,
								       .progress = &progress},
					    &change),
			 -ECANCELED);
	gs_tables_free(is);
	gs_tables_free(was);
	world_free(after);
	world_free(before);
}

static void a_limit_is_of_anything(void **state)
{
	static const struct {
		double v4, v6, flows, moved;
		uint32_t limit;
		const char *what; /* NULL: it is not exceeded */
	} cases[] = {
		{0.2, 0.2, 1000, 200, 20, NULL},
		{0.21, 0, 0, 0, 20, "21.0 % of IPv4"},
		{0, 0.5, 0, 0, 20, "50.0 % of IPv6"},
		{0, 0, 1000, 300, 20, "30.0 % of the last hour's"},
		{0, 0, 99, 99, 20, NULL}, /* too few to say */
		{0, 0, 100, 99, 20, "99.0 % of the last hour's"},
		{0.001, 0, 0, 0, 0, "0.1 % of IPv4"},
		{0, 0, 1000, 0, 0, NULL},
		{1, 1, 1000, 1000, 100, NULL},
		{1, 1, 1000, 1000, GS_GEO_LIMIT_OFF, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_geo_change change = {.limit_percent = cases[i].limit};
		char what[128];

		change.v4.moved = cases[i].v4;
		change.v6.moved = cases[i].v6;
		change.shift.flows = cases[i].flows;
		change.shift.moved = cases[i].moved;
		if (gs_geo_change_exceeds(&change, what, sizeof(what)) != (cases[i].what != NULL) ||
		    strncmp(what, cases[i].what ? cases[i].what : "",
			    strlen(cases[i].what ? cases[i].what : "")) != 0)
			fail_msg("case %zu: '%s'", i, what);
	}
}

/* What is shown never goes back, whatever phases do. */
static void progress_only_grows(void **state)
{
	struct gs_progress progress = {.phase_ = 0};
	struct gs_progress_view view;
	uint32_t percent = 0;

	(void)state;
	gs_progress_reset(&progress);
	for (enum gs_phase phase = GS_PHASE_READING; phase < GS_PHASE__COUNT; phase++) {
		gs_progress_begin(&progress, phase, phase == GS_PHASE_PLANNING ? 0 : 7);
		for (uint64_t done = 0; done <= 9; done++) {
			assert_int_equal(gs_progress_at(&progress, done), 0);
			gs_progress_look(&progress, &view);
			assert_int_equal(view.phase, phase);
			assert_true(view.done <= view.total);
			assert_true(view.percent >= percent && view.percent <= 100);
			percent = view.percent;
		}
		assert_string_not_equal(gs_phase_name(phase), "");
	}
	assert_int_equal(percent, 100);
	gs_progress_begin(&progress, GS_PHASE_READING, 7);
	gs_progress_at(&progress, 1);
	gs_progress_look(&progress, &view);
	assert_int_equal(view.percent, 100);
	gs_progress_cancel(&progress);
	assert_int_equal(gs_progress_at(&progress, 2), -ECANCELED);
	gs_progress_reset(&progress);
	assert_int_equal(gs_progress_at(&progress, 2), 0);
	gs_progress_look(&progress, &view);
	assert_int_equal(view.percent, 0);
	/* Nobody asks. */
	gs_progress_begin(NULL, GS_PHASE_READING, 7);
	assert_int_equal(gs_progress_at(NULL, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_look_ups_say),
		cmocka_unit_test(the_same_database_changes_nothing),
		cmocka_unit_test(it_ends_when_nobody_wants_it),
		cmocka_unit_test(a_limit_is_of_anything),
		cmocka_unit_test(progress_only_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
