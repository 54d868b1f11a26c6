/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/random.h"
#include "user/core/retry.h"

#include <string.h>

/* ---- backoff --------------------------------------------------------------------------------- */

static void bounds_double_up_to_the_cap(void **state)
{
	static const struct {
		uint32_t base_ms, cap_ms;
		uint32_t want_bound_ms[6];
	} cases[] = {
		{100, 1000, {100, 200, 400, 800, 1000, 1000}},
		{1, 5, {1, 2, 4, 5, 5, 5}},
		{500, 100, {100, 100, 100, 100, 100, 100}},
		{0, 0, {1, 1, 1, 1, 1, 1}},
		{UINT32_MAX, UINT32_MAX, {UINT32_MAX, UINT32_MAX, UINT32_MAX}},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint64_t seed = 0; seed < 500; seed++) {
			struct gs_retry retry;

			gs_retry_init(&retry, cases[i].base_ms, cases[i].cap_ms, seed);
			for (int n = 0; n < 6 && cases[i].want_bound_ms[n]; n++) {
				uint32_t ms = gs_retry_next_ms(&retry);

				assert_in_range(ms, 1, cases[i].want_bound_ms[n]);
			}
		}
	}
}

static void jitter_is_full(void **state)
{
	uint32_t low = UINT32_MAX, high = 0;
	uint64_t sum = 0;
	struct gs_retry retry;
	(void)state;

	gs_retry_init(&retry, 1000, 1000, 7);
	for (int i = 0; i < 20000; i++) {
		uint32_t ms = gs_retry_next_ms(&retry);

		low = ms < low ? ms : low;
		high = ms > high ? ms : high;
		sum += ms;
	}
	assert_in_range(low, 1, 3);
	assert_in_range(high, 998, 1000);
	assert_in_range(sum / 20000, 490, 511);
}

static void never_overflows(void **state)
{
	struct gs_retry retry;
	(void)state;

	gs_retry_init(&retry, 100, 30000, 1);
	for (int i = 0; i < 10000; i++)
		assert_in_range(gs_retry_next_ms(&retry), 1, 30000);
	retry.attempt = UINT32_MAX;
	assert_in_range(gs_retry_next_ms(&retry), 1, 30000);
	assert_true(retry.attempt == UINT32_MAX);
}

static void success_starts_anew(void **state)
{
	struct gs_retry retry;
	(void)state;

	gs_retry_init(&retry, 10, 10000, 1);
	for (int i = 0; i < 20; i++)
		gs_retry_next_ms(&retry);
	gs_retry_reset(&retry);
	assert_in_range(gs_retry_next_ms(&retry), 1, 10);
}

/* The doubling is written out here, a step at a time, without a shift. */
static void bound_is_doubling(void **state)
{
	static const uint32_t values[] = {0, 1, 2, 3, 7, 400, 1000, 60000, 1u << 31, UINT32_MAX};
	(void)state;

	for (size_t b = 0; b < ARRAY_SIZE(values); b++) {
		for (size_t c = 0; c < ARRAY_SIZE(values); c++) {
			uint64_t want = values[b] ? values[b] : 1;
			uint64_t cap = values[c] ? values[c] : 1;

			for (uint32_t attempt = 0; attempt < 70; attempt++) {
				want = want < cap ? want : cap;
				assert_true(gs_retry_bound_ms(values[b], values[c], attempt) ==
					    want);
				want += want;
			}
			assert_true(gs_retry_bound_ms(values[b], values[c], UINT32_MAX) == cap);
		}
	}
}

static void seeds_matter(void **state)
{
	struct gs_retry a, b, c;
	uint32_t from_a[8], from_b[8], from_c[8];
	(void)state;

	gs_retry_init(&a, 1000, 60000, 1);
	gs_retry_init(&b, 1000, 60000, 1);
	gs_retry_init(&c, 1000, 60000, 2);
	for (int i = 0; i < 8; i++) {
		from_a[i] = gs_retry_next_ms(&a);
		from_b[i] = gs_retry_next_ms(&b);
		from_c[i] = gs_retry_next_ms(&c);
	}
	assert_memory_equal(from_a, from_b, sizeof(from_a));
	assert_memory_not_equal(from_a, from_c, sizeof(from_a));
}

/* ---- budget ---------------------------------------------------------------------------------- */

/* e: a regular attempt; s: an extra one, S: the same, and it must be refused; k, K: the same with
 * two kept in store; r: one is given back. */
static void budgets(void **state)
{
	static const struct {
		const char *name;
		uint32_t percent, store;
		const char *steps;
	} cases[] = {
		{"the store, and no more", 20, 3, "sssSS"},
		{"five regular ones pay for one", 20, 3, "sssSeeeeSesS"},
		{"the store has an end", 20, 2, "eeeeeeeeeeeeeeeeeeeessS"},
		{"what was none comes back", 20, 1, "sSrsS"},
		{"but does not fill beyond the store", 20, 1, "rrrsS"},
		{"two are kept", 20, 4, "kkKKssSK"},
		{"kept ones are not earned twice", 20, 2, "KeeeeeeeeeeKss"},
		{"nothing in store", 50, 0, "SeSeeeS"},
		{"half", 50, 1, "sSeSesS"},
		{"all", 100, 1, "sSesSes"},
		{"none", 0, 2, "sseeeeeeeeeeeeS"},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_budget budget;

		print_message("# %s\n", cases[i].name);
		gs_budget_init(&budget, cases[i].percent, cases[i].store);
		for (const char *step = cases[i].steps; *step; step++) {
			uint32_t keep = *step == 'k' || *step == 'K' ? 2 : 0;
			bool want = *step == 's' || *step == 'k';

			if (*step == 'e') {
				gs_budget_earn(&budget);
			} else if (*step == 'r') {
				gs_budget_return(&budget, 1);
			} else {
				assert_int_equal(gs_budget_has(&budget, keep), want);
				if (want)
					gs_budget_spend(&budget);
			}
		}
	}
}

static void budgets_do_not_overflow(void **state)
{
	struct gs_budget budget;
	(void)state;

	gs_budget_init(&budget, UINT32_MAX, UINT32_MAX);
	for (int i = 0; i < 3; i++) {
		gs_budget_earn(&budget);
		gs_budget_return(&budget, UINT32_MAX);
		assert_true(budget.left == budget.most);
	}
	assert_false(gs_budget_has(&budget, UINT32_MAX));
	gs_budget_init(&budget, 20, 0);
	gs_budget_spend(&budget);
	assert_int_equal(budget.left, 0);
}

/* Whatever happens in whatever order: extra ones <= store + a fifth of the regular ones. */
static void budget_holds_on_random_sequences(void **state)
{
	(void)state;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint64_t random = seed, regular = 0, extra = 0;
		uint32_t eager = 1 + (uint32_t)(gs_random(&random) % 99);
		struct gs_budget budget;

		print_message("# seed %d\n", (int)seed);
		gs_budget_init(&budget, 20, 7);
		for (int i = 0; i < 5000; i++) {
			if (gs_random(&random) % 100 >= eager) {
				gs_budget_earn(&budget);
				regular++;
			} else if (gs_budget_has(&budget, 0)) {
				gs_budget_spend(&budget);
				extra++;
			}
			assert_true(extra * 5 <= 7 * 5 + regular);
		}
		if (eager > 50) /* it was wanted all the time: it is all given, too */
			assert_true(extra * 5 + 5 > regular);
	}
}

/* A single failure is tried again at once, also soon after a long time of failing. */
static void one_failure_is_retried_at_once(void **state)
{
	struct gs_retry retry;
	(void)state;

	for (uint64_t seed = 0; seed < 100; seed++) {
		gs_retry_init(&retry, 200, 10000, seed);
		assert_in_range(gs_retry_next_ms(&retry), 1, 200);
		for (int i = 0; i < 1000; i++)
			gs_retry_next_ms(&retry);
		gs_retry_reset(&retry);
		assert_in_range(gs_retry_next_ms(&retry), 1, 200);
	}
}

/* Success and failure in turns: soon it waits as for something that is away. */
static void success_in_between_does_not_pay_for_all(void **state)
{
	(void)state;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct gs_retry retry;
		uint32_t quick = 0;

		gs_retry_init(&retry, 200, 10000, seed);
		for (uint32_t i = 0; i < 1000; i++) {
			uint32_t ms = gs_retry_next_ms(&retry);

			if (ms <= 200)
				quick++;
			else
				assert_in_range(ms, 5000, 10000);
			assert_true(quick <= GS_RETRY_STORE + 1 + i * GS_BUDGET_PERCENT / 100);
			gs_retry_reset(&retry);
		}
		assert_true(quick >= 1000 * GS_BUDGET_PERCENT / 100);
	}
}

/* ---- a hundred edges lose their database ----------------------------------------------------- */

enum {
	EDGES = 100,
	BASE_MS = 200, /* as adapters/pg.c has them */
	CAP_MS = 10000,
	BUCKET_MS = 100,
	BUCKETS = 20000 / BUCKET_MS, /* after the return */
	FIRST_MS = BASE_MS / 10,     /* a bucket of first retries */
	FIRSTS = CAP_MS / FIRST_MS + 1,
	SHARE_MAX = 12, /* of the edges in one bucket */
};

/* How one edge waits after its nth failure. */
struct client {
	uint32_t (*wait_ms)(struct client *client);
	void (*succeed)(struct client *client);
	struct gs_retry retry;
	uint32_t failures;
};

static uint32_t wait_by_budget(struct client *client)
{
	return gs_retry_next_ms(&client->retry);
}

static void succeed_by_budget(struct client *client)
{
	gs_retry_reset(&client->retry);
}

/* What programs do before somebody thinks of it. */
static uint32_t wait_fixed(struct client *client)
{
	(void)client;
	return 1000;
}

static uint32_t wait_doubling(struct client *client)
{
	uint32_t ms = BASE_MS;

	for (uint32_t i = 0; i < client->failures && ms < CAP_MS; i++)
		ms *= 2;
	client->failures++;
	return ms < CAP_MS ? ms : CAP_MS;
}

static void succeed_at_once(struct client *client)
{
	client->failures = 0;
}

/* What this module did before it had a budget: full jitter, and a success forgets everything. */
static uint32_t wait_jittered(struct client *client)
{
	uint32_t bound_ms = wait_doubling(client);

	return (uint32_t)(1 + gs_random(&client->retry.random) % bound_ms);
}

static const struct policy {
	const char *name;
	uint32_t (*wait_ms)(struct client *client);
	void (*succeed)(struct client *client);
	bool is_spread;	 /* edges do not return in step */
	bool is_bounded; /* a database that comes and goes is left alone */
} POLICIES[] = {
	{"backoff, jitter and budget", wait_by_budget, succeed_by_budget, true, true},
	{"every second", wait_fixed, succeed_at_once, false, false},
	{"doubling, no jitter", wait_doubling, succeed_at_once, false, false},
	{"jitter, no budget", wait_jittered, succeed_at_once, true, false},
};

static void begin_clients(struct client *clients, const struct policy *policy, uint64_t seed)
{
	memset(clients, 0, EDGES * sizeof(*clients));
	for (int i = 0; i < EDGES; i++) {
		clients[i].wait_ms = policy->wait_ms;
		clients[i].succeed = policy->succeed;
		gs_retry_init(&clients[i].retry, BASE_MS, CAP_MS, gs_random(&seed));
	}
}

struct outage {
	uint32_t attempts;	 /* of all edges, in vain */
	uint32_t first_in_step;	 /* most first retries in one tenth of the base interval */
	uint32_t return_in_step; /* most returns in one bucket */
	uint32_t last_return_ms; /* after the database's */
};

static uint32_t most_of(const uint32_t *buckets, uint32_t count)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < count; i++)
		most = buckets[i] > most ? buckets[i] : most;
	return most;
}

/* All lose it in the same millisecond; it is back after away_ms. */
static struct outage lose_database(struct client *clients, uint32_t away_ms)
{
	uint32_t returns[BUCKETS] = {0}, firsts[FIRSTS] = {0};
	struct outage outage = {0};

	for (int i = 0; i < EDGES; i++) {
		uint64_t at_ms = clients[i].wait_ms(&clients[i]);
		uint32_t after_ms;

		firsts[at_ms / FIRST_MS]++;
		while (at_ms < away_ms) {
			outage.attempts++;
			at_ms += clients[i].wait_ms(&clients[i]);
		}
		after_ms = (uint32_t)(at_ms - away_ms);
		assert_in_range(after_ms / BUCKET_MS, 0, BUCKETS - 1);
		returns[after_ms / BUCKET_MS]++;
		if (after_ms > outage.last_return_ms)
			outage.last_return_ms = after_ms;
		clients[i].succeed(&clients[i]);
	}
	outage.first_in_step = most_of(firsts, FIRSTS);
	outage.return_in_step = most_of(returns, BUCKETS);
	return outage;
}

static bool is_spread(const struct outage *outage)
{
	return outage->first_in_step <= EDGES / 4 && outage->return_in_step <= SHARE_MAX;
}

static void edges_do_not_return_in_step(void **state)
{
	static const uint32_t away_ms[] = {15000, 30000, 61000, 300000, 3600000};
	struct client clients[EDGES];
	(void)state;

	for (size_t p = 0; p < ARRAY_SIZE(POLICIES); p++) {
		for (uint64_t seed = 1; seed <= 20; seed++) {
			for (size_t a = 0; a < ARRAY_SIZE(away_ms); a++) {
				struct outage outage;

				begin_clients(clients, &POLICIES[p], seed);
				outage = lose_database(clients, away_ms[a]);
				print_message("# %s, seed %d, away %u ms: %u in vain, %u first and "
					      "%u returns in step, last after %u ms\n",
					      POLICIES[p].name, (int)seed, away_ms[a],
					      outage.attempts, outage.first_in_step,
					      outage.return_in_step, outage.last_return_ms);
				assert_int_equal(is_spread(&outage), POLICIES[p].is_spread);
				if (!POLICIES[p].is_spread)
					continue;
				/* A climb of six to the cap, then one in 5 s on average. */
				assert_true(outage.attempts <=
					    EDGES * (8 + away_ms[a] * 5 / 4 / (CAP_MS / 2)));
				assert_in_range(outage.last_return_ms, 0, CAP_MS);
			}
		}
	}
}

/* Ten outages in a row, of some seconds: the budget is empty in the later ones. */
static void nor_do_they_with_empty_budgets(void **state)
{
	struct client clients[EDGES];
	(void)state;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		begin_clients(clients, &POLICIES[0], seed);
		for (int i = 0; i < 10; i++) {
			struct outage outage = lose_database(clients, 20000);

			print_message("# seed %d, outage %d: %u returns in step\n", (int)seed, i,
				      outage.return_in_step);
			assert_true(is_spread(&outage));
		}
	}
}

/* It lets everybody in and drops everybody at once again, for ten minutes. */
static void one_that_comes_and_goes_is_left_alone(void **state)
{
	enum { LASTS_MS = 600000 };
	struct client clients[EDGES];
	(void)state;

	for (size_t p = 0; p < ARRAY_SIZE(POLICIES); p++) {
		for (uint64_t seed = 1; seed <= 5; seed++) {
			uint64_t attempts = 0, most;

			begin_clients(clients, &POLICIES[p], seed);
			for (int i = 0; i < EDGES; i++) {
				for (uint64_t ms = 0; ms < LASTS_MS; attempts++) {
					ms += clients[i].wait_ms(&clients[i]);
					clients[i].succeed(&clients[i]);
				}
			}
			print_message("# %s, seed %d: %d attempts\n", POLICIES[p].name, (int)seed,
				      (int)attempts);
			/* Those that waited, a fifth more, and what was in store. */
			most = EDGES * (GS_RETRY_STORE + 2 + LASTS_MS / (CAP_MS / 2) * 6 / 5);
			assert_int_equal(attempts <= most, POLICIES[p].is_bounded);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_double_up_to_the_cap),
		cmocka_unit_test(jitter_is_full),
		cmocka_unit_test(never_overflows),
		cmocka_unit_test(success_starts_anew),
		cmocka_unit_test(bound_is_doubling),
		cmocka_unit_test(seeds_matter),
		cmocka_unit_test(budgets),
		cmocka_unit_test(budgets_do_not_overflow),
		cmocka_unit_test(budget_holds_on_random_sequences),
		cmocka_unit_test(one_failure_is_retried_at_once),
		cmocka_unit_test(success_in_between_does_not_pay_for_all),
		cmocka_unit_test(edges_do_not_return_in_step),
		cmocka_unit_test(nor_do_they_with_empty_budgets),
		cmocka_unit_test(one_that_comes_and_goes_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
