/* SPDX-License-Identifier: Apache-2.0 */
/* The sample of clients of the last hour, under times that the tests choose; and what another
 * generation does to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fakes/fakes.h"
#include "user/app/shift.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <stdlib.h>
#include <string.h>

enum { START_MS = 36000000, MINUTE_MS = 60000 };

static struct gs_client_sample sample;
static struct gs_client_count counts[GS_CLIENT_SAMPLE_MAX];

static struct gs_client_flow flow_of(uint32_t who, gs_id service)
{
	struct gs_client_flow flow = {.client = {.length = 24, .is_v4 = true}, .service = service};

	flow.client.addr.bytes[10] = flow.client.addr.bytes[11] = 0xff;
	flow.client.addr.bytes[12] = (uint8_t)(who >> 16);
	flow.client.addr.bytes[13] = (uint8_t)(who >> 8);
	flow.client.addr.bytes[14] = (uint8_t)who;
	return flow;
}

static void add(uint32_t who, gs_id service, uint64_t now_ms)
{
	const struct gs_client_flow flow = flow_of(who, service);

	gs_client_sample_add(&sample, &flow, now_ms);
}

static double sum_of(uint32_t count)
{
	double sum = 0;

	for (uint32_t i = 0; i < count; i++)
		sum += counts[i].flows;
	return sum;
}

static int set_up(void **state)
{
	(void)state;
	memset(&sample, 0, sizeof(sample));
	sample.random = 5;
	return 0;
}

static void few_are_all_kept(void **state)
{
	struct gs_client_flow want;
	(void)state;

	assert_int_equal(gs_client_sample_read(&sample, START_MS, counts), 0);
	for (int i = 0; i < 5; i++)
		add(7, 1, START_MS);
	add(7, 2, START_MS);
	add(3, 1, START_MS + 1000);
	assert_int_equal(gs_client_sample_read(&sample, START_MS + 1000, counts), 3);
	want = flow_of(3, 1);
	assert_int_equal(gs_prefix_compare(&counts[0].of.client, &want.client), 0);
	assert_float_equal(counts[0].flows, 1, 1e-9);
	assert_int_equal(counts[1].of.service, 1);
	assert_float_equal(counts[1].flows, 5, 1e-9);
	assert_int_equal(counts[2].of.service, 2);
	assert_float_equal(counts[2].flows, 1, 1e-9);
}

static void flows_pass_after_an_hour(void **state)
{
	static const struct {
		uint64_t after_ms;
		uint32_t count;
	} cases[] = {
		{0, 1},
		{59 * MINUTE_MS, 1},
		{70 * MINUTE_MS - 1, 1}, /* it began a window */
		{70 * MINUTE_MS, 0},
		{71 * MINUTE_MS, 0},
		{1000ULL * MINUTE_MS, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_up(state);
		add(1, 1, START_MS);
		assert_int_equal(
			gs_client_sample_read(&sample, START_MS + cases[i].after_ms, counts),
			cases[i].count);
	}
}

/* A window is taken again by a later one, and has nothing of the old. */
static void windows_come_round(void **state)
{
	(void)state;
	for (uint32_t minute = 0; minute < 300; minute++)
		add(minute, 1, START_MS + (uint64_t)minute * MINUTE_MS);
	assert_int_equal(gs_client_sample_read(&sample, START_MS + 299ULL * MINUTE_MS, counts), 70);
	for (uint32_t i = 0; i < 70; i++) {
		struct gs_client_flow want = flow_of(230 + i, 1);

		assert_int_equal(gs_prefix_compare(&counts[i].of.client, &want.client), 0);
	}
}

/* One prefix with 30 % of all flows has 30 % of the sample; and the sum is what was offered. */
static void many_are_sampled_evenly(void **state)
{
	enum { FLOWS = 50000 };
	double of_one = 0;
	uint32_t count;
	(void)state;

	for (uint32_t i = 0; i < FLOWS; i++)
		add(i % 10 < 3 ? 0 : 1 + i, 1, START_MS);
	count = gs_client_sample_read(&sample, START_MS, counts);
	assert_in_range(count, GS_CLIENT_SAMPLE_KEPT / 2, GS_CLIENT_SAMPLE_KEPT);
	assert_float_equal(sum_of(count), FLOWS, 1);
	of_one = counts[0].flows;
	/* standard deviation: 1.4 % of all */
	assert_float_equal(of_one / FLOWS, 0.3, 0.07);
}

/* A busy window does not outweigh a quiet one beyond its flows, nor less. */
static void windows_weigh_what_they_had(void **state)
{
	uint32_t count;
	double quiet = 0;
	(void)state;

	for (uint32_t i = 0; i < 100000; i++)
		add(1 + i % 1000, 1, START_MS);
	for (uint32_t i = 0; i < 500; i++)
		add(1 + i % 1000, 2, START_MS + 10 * MINUTE_MS);
	count = gs_client_sample_read(&sample, START_MS + 10 * MINUTE_MS, counts);
	for (uint32_t i = 0; i < count; i++)
		quiet += counts[i].of.service == 2 ? counts[i].flows : 0;
	assert_float_equal(quiet, 500, 1e-6);
	assert_float_equal(sum_of(count), 100500, 1);
}

/* ---- shifts ---------------------------------------------------------------------------------- */

static struct gs_tables *build(const struct gs_snapshot *snapshot)
{
	struct gs_tables *tables = NULL;
	struct gs_error error;

	if (gs_tables_build(snapshot, NULL, &tables, &error))
		fail_msg("%s", error.text);
	return tables;
}

/* Without a GeoIP database all go where the policy's order says, but for overrides. */
static void moved_clients_are_weighed(void **state)
{
	struct gs_override override = {.region = FAKE_AP};
	struct gs_snapshot *before = fake_snapshot(1), *after = fake_snapshot(2);
	struct gs_client_count clients[] = {
		{flow_of(1 << 16, FAKE_WEB), 30},
		{flow_of(2 << 16, FAKE_WEB), 60},
		{flow_of(3 << 16, FAKE_WEB), 10},
		{flow_of(3 << 16, FAKE_WEB + 1), 1000}, /* of no service that there was */
	};
	struct gs_tables *was = build(before), *is;
	struct gs_shift shift;
	(void)state;

	override.prefix = clients[0].of.client;
	free(after->overrides);
	after->overrides = malloc(sizeof(override));
	after->overrides[0] = override;
	after->override_count = 1;
	is = build(after);
	gs_shift_judge(was, was, clients, ARRAY_SIZE(clients), &shift);
	assert_float_equal(shift.flows, 100, 1e-9);
	assert_float_equal(shift.moved, 0, 1e-9);
	assert_int_equal(shift.move_count, 0);
	gs_shift_judge(was, is, clients, ARRAY_SIZE(clients), &shift);
	assert_float_equal(shift.flows, 100, 1e-9);
	assert_float_equal(shift.moved, 30, 1e-9);
	assert_int_equal(shift.move_count, 1);
	assert_string_equal(shift.moves[0].service, "web");
	assert_string_equal(shift.moves[0].from, "region-1");
	assert_string_equal(shift.moves[0].to, "region-3");
	assert_float_equal(shift.moves[0].flows, 30, 1e-9);
	/* back again, and a service that goes */
	gs_shift_judge(is, was, clients, ARRAY_SIZE(clients), &shift);
	assert_string_equal(shift.moves[0].from, "region-3");
	strcpy(after->services[0].name, "other");
	gs_shift_judge(was, is, clients, ARRAY_SIZE(clients), &shift);
	assert_float_equal(shift.moved, 100, 1e-9);
	assert_string_equal(shift.moves[0].to, "");
	gs_shift_judge(was, is, clients, 0, &shift);
	assert_float_equal(shift.flows, 0, 1e-9);
	gs_tables_free(was);
	gs_tables_free(is);
	gs_snapshot_free(before);
	gs_snapshot_free(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(few_are_all_kept, set_up),
		cmocka_unit_test_setup(flows_pass_after_an_hour, set_up),
		cmocka_unit_test_setup(windows_come_round, set_up),
		cmocka_unit_test_setup(many_are_sampled_evenly, set_up),
		cmocka_unit_test_setup(windows_weigh_what_they_had, set_up),
		cmocka_unit_test(moved_clients_are_weighed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
