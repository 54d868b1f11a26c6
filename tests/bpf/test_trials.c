/* SPDX-License-Identifier: Apache-2.0 */
/* A half-open breaker in the packet path: just as many new flows as the quota has, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SYN 0x02
#define ACK 0x10

enum { HOME = 1 /* region of clients in 192.0.2.0/24 */, EPOCH = 7, THREADS = 4, FLOWS = 2000 };

static struct xdp_edge edge;
static const uint32_t POOL = SERVICE_WEB4 * GS_MAX_REGIONS + HOME;

static struct packet client(uint32_t number, uint8_t flags)
{
	char src[32];

	snprintf(src, sizeof(src), "192.0.2.%u", number % 250 + 1);
	return packet_build(&(struct packet_spec){
		.src = src, .sport = (uint16_t)(1024 + number), .flags = flags});
}

static void begin_trial(uint16_t epoch, int32_t trials)
{
	struct gs_trial_value trial = {.epoch = epoch, .left = trials};

	xdp_edge_set(&edge, GS_MAP_TRIALS, &POOL, &trial);
	xdp_edge_set_pool(&edge, SERVICE_WEB4, HOME,
			  (struct gs_usable_word){
				  .state = GS_USABLE_TRIAL, .accept = 0xffff, .epoch = epoch});
}

static int32_t left(void)
{
	struct gs_trial_value trial;

	xdp_edge_get(&edge, GS_MAP_TRIALS, &POOL, &trial);
	return trial.left;
}

static void quota_is_kept(void **state)
{
	static const int32_t quotas[] = {0, 1, 10, 63, 64, 65, -5};
	(void)state;

	for (size_t i = 0; i < sizeof(quotas) / sizeof(quotas[0]); i++) {
		uint32_t want = quotas[i] < 0 ? 0 : quotas[i] > 64 ? 64 : (uint32_t)quotas[i];
		uint32_t trials = 0;

		xdp_edge_forget(&edge);
		begin_trial((uint16_t)(EPOCH + i), quotas[i]);
		for (uint32_t flow = 0; flow < 64; flow++) {
			struct packet syn = client(flow, SYN);
			struct xdp_result result = xdp_edge_send(&edge, &syn);

			if (result.reason == GS_REASON_tx_trial) {
				assert_int_equal(result.region, HOME);
				trials++;
			} else {
				assert_int_equal(result.reason, GS_REASON_tx_new);
				assert_int_not_equal(result.region, HOME);
			}
		}
		assert_int_equal(trials, want);
	}
}

/* What came through stays, what was there before too; only SYNs begin anew. */
static void known_flows_stay(void **state)
{
	struct packet before_syn = client(1, SYN), before = client(1, ACK);
	struct packet trial_syn = client(2, SYN), trial = client(2, ACK);
	struct xdp_result first, second;
	(void)state;

	first = xdp_edge_send(&edge, &before_syn);
	assert_int_equal(first.region, HOME);
	begin_trial(EPOCH, 1);
	second = xdp_edge_send(&edge, &trial_syn);
	assert_int_equal(second.reason, GS_REASON_tx_trial);
	for (int i = 0; i < 5; i++) {
		struct xdp_result again = xdp_edge_send(&edge, &before);

		assert_int_equal(again.reason, GS_REASON_tx_flow);
		assert_int_equal(again.backend, first.backend);
		again = xdp_edge_send(&edge, &trial);
		assert_int_equal(again.reason, GS_REASON_tx_flow);
		assert_int_equal(again.backend, second.backend);
	}
	assert_int_equal(left(), 0);
}

/* A SYN that is repeated belongs to the trial it has taken: its handshake is not torn in two. */
static void a_repeated_syn_keeps_its_trial(void **state)
{
	struct packet syn = client(3, SYN), ack = client(3, ACK), other = client(7, SYN);
	struct xdp_result first, again;
	(void)state;

	begin_trial(EPOCH, 2);
	first = xdp_edge_send(&edge, &syn);
	assert_int_equal(first.reason, GS_REASON_tx_trial);
	for (int i = 0; i < 3; i++) {
		again = xdp_edge_send(&edge, &syn);
		assert_int_equal(again.reason, GS_REASON_tx_flow);
		assert_int_equal(again.backend, first.backend);
	}
	assert_int_equal(left(), 1);
	assert_int_equal(xdp_edge_send(&edge, &other).reason, GS_REASON_tx_trial);
	assert_int_equal(xdp_edge_send(&edge, &syn).backend, first.backend);
	assert_int_equal(xdp_edge_send(&edge, &ack).backend, first.backend);
	/* of a region that no longer keeps anything it is none */
	syn = client(8, SYN);
	begin_trial(EPOCH + 1, 1);
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	xdp_edge_set_region(&edge, HOME, edge_down);
	again = xdp_edge_send(&edge, &syn);
	assert_int_equal(again.reason, GS_REASON_tx_new);
	assert_int_not_equal(again.region, HOME);
	xdp_edge_set_region(&edge, HOME, edge_up);
}

/* Where all is well a repeated SYN is decided anew, as ever. */
static void without_trials_a_repeated_syn_asks_again(void **state)
{
	struct packet syn = client(9, SYN);
	(void)state;

	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_new);
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_new);
	xdp_edge_set_pool(&edge, SERVICE_WEB4, HOME, edge_drain);
	assert_int_not_equal(xdp_edge_send(&edge, &syn).region, HOME);
}

/* The middle of a connection nobody knows would be reset there: no trial. */
static void only_a_beginning_is_tried(void **state)
{
	(void)state;

	begin_trial(EPOCH, 3);
	for (uint32_t flow = 40; flow < 50; flow++) {
		struct packet ack = client(flow, ACK);

		assert_int_not_equal(xdp_edge_send(&edge, &ack).region, HOME);
	}
	assert_int_equal(left(), 3);
	for (uint32_t flow = 50; flow < 53; flow++) {
		struct packet syn = client(flow, SYN);

		assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	}
}

/* What cannot be remembered would be torn apart by its next packet. */
static void what_is_not_tracked_is_not_tried(void **state)
{
	struct packet syn = client(77, SYN), ack = client(77, ACK);
	struct gs_flow_bucket full;
	struct timespec now;
	struct xdp_result first;
	(void)state;

	clock_gettime(CLOCK_MONOTONIC, &now);
	for (uint32_t way = 0; way < GS_FLOW_WAYS; way++)
		full.entry[way] = (struct gs_flow_entry){
			.tag = 0x1000 + way,
			.backend = 1,
			.seen = (uint16_t)((((uint64_t)now.tv_sec * 1000000000u +
					     (uint64_t)now.tv_nsec) >>
						    30 &
					    0x7fff) |
					   GS_FLOW_PROVEN)};
	for (uint32_t bucket = 0; bucket < EDGE_FLOW_BUCKETS; bucket++)
		xdp_edge_set(&edge, GS_MAP_FLOWS, &bucket, &full);
	begin_trial(EPOCH, 2);
	first = xdp_edge_send(&edge, &syn);
	assert_int_equal(first.reason, GS_REASON_tx_untracked);
	assert_int_not_equal(first.region, HOME);
	for (int i = 0; i < 3; i++)
		assert_int_equal(xdp_edge_send(&edge, &ack).backend, first.backend);
	assert_int_equal(left(), 2); /* nobody else has lost a trial by it */
	xdp_edge_forget(&edge);
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	assert_int_equal(left(), 1);
}

static void another_epochs_quota_is_not_ours(void **state)
{
	struct packet syn = client(4, SYN);
	(void)state;

	begin_trial(EPOCH, 5);
	xdp_edge_set_pool(&edge, SERVICE_WEB4, HOME,
			  (struct gs_usable_word){
				  .state = GS_USABLE_TRIAL, .accept = 0xffff, .epoch = EPOCH + 1});
	assert_int_not_equal(xdp_edge_send(&edge, &syn).region, HOME);
	assert_int_equal(left(), 5);
}

/* The clients of a region that is lost go to one that is whole, not to one that is on trial. */
static void what_others_lose_does_not_land_on_it(void **state)
{
	(void)state;

	begin_trial(EPOCH, 1000);
	for (uint32_t number = 0; number < 200; number++) {
		char src[32];
		struct packet syn;

		snprintf(src, sizeof(src), "203.0.113.%u", number % 120 + 1); /* home: 2 */
		syn = packet_build(&(struct packet_spec){
			.src = src, .sport = (uint16_t)(3000 + number), .flags = SYN});
		if (number == 0)
			assert_int_not_equal(xdp_edge_send(&edge, &syn).region, HOME);
		xdp_edge_set_region(&edge, 2, edge_down);
		assert_int_not_equal(xdp_edge_send(&edge, &syn).region, HOME);
	}
	assert_int_equal(left(), 1000);
}

static void a_lost_region_takes_no_trials(void **state)
{
	struct packet syn = client(5, SYN);
	(void)state;

	begin_trial(EPOCH, 5);
	xdp_edge_set_region(&edge, HOME, edge_drain);
	assert_int_not_equal(xdp_edge_send(&edge, &syn).region, HOME);
	assert_int_equal(left(), 5);
	xdp_edge_set_region(&edge, HOME, edge_up);
	assert_int_equal(xdp_edge_send(&edge, &syn).region, HOME);
}

/* TRIAL is a pool's word only: of a region or a backend it means "no new flows". */
static void regions_and_backends_have_no_trials(void **state)
{
	static const struct gs_usable_word trial = {.state = GS_USABLE_TRIAL, .accept = 0xffff};
	struct packet syn = client(6, SYN);
	(void)state;

	xdp_edge_set_region(&edge, HOME, trial);
	assert_int_not_equal(xdp_edge_send(&edge, &syn).region, HOME);
	xdp_edge_set_region(&edge, HOME, edge_up);
	for (uint32_t member = 0; member < 2; member++)
		xdp_edge_set_backend(&edge, edge_backend_id(SERVICE_WEB4, HOME, member), trial);
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_drop_no_backend);
}

/* ---- leases ---------------------------------------------------------------------------------- */

/* All there are; how many. */
static uint32_t leases(struct gs_lease_value *ret_values, uint64_t *ret_ids, uint32_t most)
{
	int fd = xdp_edge_map(&edge, GS_MAP_LEASES);
	uint64_t id, *before = NULL;
	uint32_t count = 0;

	while (bpf_map_get_next_key(fd, before, &id) == 0) {
		assert_true(count < most);
		assert_int_equal(bpf_map_lookup_elem(fd, &id, &ret_values[count]), 0);
		ret_ids[count++] = id;
		before = &id;
	}
	return count;
}

static uint32_t count_proven(void)
{
	struct gs_lease_value values[64];
	uint64_t ids[64];
	uint32_t count = leases(values, ids, 64), proven = 0;

	for (uint32_t i = 0; i < count; i++)
		proven += values[i].proven;
	return proven;
}

/* As the controller does with those whose time is over. */
static void give_back_all(void)
{
	struct gs_lease_value values[64];
	uint64_t ids[64];
	uint32_t count = leases(values, ids, 64);
	struct gs_trial_value trial;

	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(bpf_map_delete_elem(xdp_edge_map(&edge, GS_MAP_LEASES), &ids[i]),
				 0);
	xdp_edge_get(&edge, GS_MAP_TRIALS, &POOL, &trial);
	trial.left = (trial.left > 0 ? trial.left : 0) + (int32_t)count;
	xdp_edge_set(&edge, GS_MAP_TRIALS, &POOL, &trial);
}

/* Of 64 callers just the quota gets through, and of each it is known what came of it. */
static void each_trial_is_a_lease(void **state)
{
	enum { TRIALS = 10, COMPLETED = 7 };
	struct gs_lease_value values[64];
	uint32_t through[TRIALS], count = 0;
	uint64_t ids[64];
	(void)state;

	begin_trial(EPOCH, TRIALS);
	for (uint32_t flow = 0; flow < 64; flow++) {
		struct packet syn = client(flow, SYN);
		struct xdp_result result = xdp_edge_send(&edge, &syn);

		if (result.reason == GS_REASON_tx_trial)
			through[count++] = flow;
	}
	assert_int_equal(count, TRIALS);
	assert_int_equal(leases(values, ids, 64), TRIALS);
	for (uint32_t i = 0; i < TRIALS; i++) {
		assert_int_equal(values[i].pool, POOL);
		assert_int_equal(values[i].epoch, EPOCH);
		assert_int_not_equal(values[i].backend, 0);
		assert_int_equal(values[i].proven, 0);
		assert_int_equal(values[i].answered, 0);
	}
	for (uint32_t i = 0; i < COMPLETED; i++) {
		struct packet ack = client(through[i], ACK);

		assert_int_equal(xdp_edge_send(&edge, &ack).reason, GS_REASON_tx_flow);
	}
	assert_int_equal(count_proven(), COMPLETED);
	/* A repeated SYN, and what comes of flows that got no trial, say nothing. */
	for (uint32_t flow = 0; flow < 64; flow++) {
		struct packet again = client(flow, SYN);

		xdp_edge_send(&edge, &again);
	}
	for (uint32_t flow = 100; flow < 140; flow++) {
		struct packet ack = client(flow, ACK);

		xdp_edge_send(&edge, &ack);
	}
	assert_int_equal(count_proven(), COMPLETED);
	assert_int_equal(leases(values, ids, 64), TRIALS);
}

/* What was proven when the pool was not on trial, or is by a packet that ends it, is no trial's. */
static void only_completed_trials_are_proven(void **state)
{
	struct packet before_syn = client(1, SYN), before = client(1, ACK);
	struct packet syn = client(2, SYN), reset = client(2, ACK | 0x04), ack = client(2, ACK);
	struct gs_lease_value values[64];
	uint64_t ids[64];
	(void)state;

	xdp_edge_send(&edge, &before_syn);
	begin_trial(EPOCH, 1);
	assert_int_equal(xdp_edge_send(&edge, &before).reason, GS_REASON_tx_flow);
	assert_int_equal(leases(values, ids, 64), 0);
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	xdp_edge_send(&edge, &reset);
	assert_int_equal(count_proven(), 0);
	xdp_edge_forget(&edge);
	begin_trial(EPOCH + 1, 1);
	give_back_all();
	assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	/* The pool has closed again: nobody asks what became of it. */
	xdp_edge_set_pool(&edge, SERVICE_WEB4, HOME, edge_up);
	xdp_edge_send(&edge, &ack);
	assert_int_equal(count_proven(), 0);
}

/* SYNs and ACKs in everybody's name: never more than the quota, and as soon as it is given back
 * somebody else gets through. */
static void a_flood_uses_up_no_trials(void **state)
{
	enum { TRIALS = 10, ROUNDS = 5, FLOOD = 400 };
	struct gs_lease_value values[64];
	uint64_t ids[64];
	(void)state;

	begin_trial(EPOCH, TRIALS);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t trials = 0;

		for (uint32_t i = 0; i < FLOOD; i++) {
			uint32_t flow = 1000 + round * FLOOD + i;
			struct packet ack = client(flow, ACK), syn = client(flow, SYN);

			xdp_edge_send(&edge, &ack);
			trials += xdp_edge_send(&edge, &syn).reason == GS_REASON_tx_trial;
		}
		assert_in_range(trials, 0, TRIALS);
		assert_int_equal(leases(values, ids, 64), TRIALS);
		assert_int_equal(left(), 0);
		give_back_all();
		assert_int_equal(left(), TRIALS);
	}
	{
		struct packet syn = client(7, SYN);

		assert_int_equal(xdp_edge_send(&edge, &syn).reason, GS_REASON_tx_trial);
	}
}

/* ---- all CPUs at once ------------------------------------------------------------------------ */

static void *send_many(void *context)
{
	uint32_t first = *(const uint32_t *)context;

	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		struct packet syn = client(first + flow, SYN), out;
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = syn.bytes,
			    .data_size_in = syn.length, .data_out = out.bytes,
			    .data_size_out = sizeof(out.bytes), .repeat = 1);

		if (bpf_prog_test_run_opts(edge.prog_fd, &opts) || opts.retval != XDP_TX)
			return (void *)1;
	}
	return NULL;
}

static uint64_t counted(enum gs_reason reason)
{
	struct gs_count counts[256] = {0};
	uint64_t packets = 0;
	uint32_t key = reason;

	assert_true(libbpf_num_possible_cpus() <= 256);
	xdp_edge_get(&edge, GS_MAP_COUNT_REASON, &key, counts);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		packets += counts[cpu].packets;
	return packets;
}

static void quota_is_kept_by_all_cpus_and_through_epochs(void **state)
{
	enum { EPOCHS = 20, TRIALS = 150 };
	uint32_t first[THREADS];
	pthread_t threads[THREADS];
	uint64_t before = counted(GS_REASON_tx_trial), through;
	(void)state;

	begin_trial(EPOCH, TRIALS);
	for (uint32_t i = 0; i < THREADS; i++) {
		first[i] = i * FLOWS;
		assert_int_equal(pthread_create(&threads[i], NULL, send_many, &first[i]), 0);
	}
	/* As the controller does: closed for all, then a new quota under a new epoch. */
	for (uint16_t epoch = 1; epoch < EPOCHS; epoch++) {
		while (left() > TRIALS / 2 &&
		       counted(GS_REASON_tx_trial) + counted(GS_REASON_tx_new) < THREADS * FLOWS)
			;
		xdp_edge_set_pool(&edge, SERVICE_WEB4, HOME, edge_drain);
		begin_trial((uint16_t)(EPOCH + epoch), TRIALS);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	through = counted(GS_REASON_tx_trial) - before;
	assert_true(through > 0);
	assert_true(through <= (uint64_t)EPOCHS * TRIALS);
	assert_true(left() > -THREADS);
}

static void one_quota_many_cpus(void **state)
{
	uint32_t first[THREADS];
	pthread_t threads[THREADS];
	uint64_t before = counted(GS_REASON_tx_trial);
	(void)state;

	begin_trial(EPOCH, 1234);
	for (uint32_t i = 0; i < THREADS; i++) {
		first[i] = i * FLOWS;
		assert_int_equal(pthread_create(&threads[i], NULL, send_many, &first[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(counted(GS_REASON_tx_trial) - before, 1234);
	assert_in_range(left() + THREADS, 0, THREADS);
}

static int setup(void **state)
{
	(void)state;
	xdp_edge_open(&edge);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define TRIAL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRIAL_TEST(quota_is_kept),
		TRIAL_TEST(known_flows_stay),
		TRIAL_TEST(a_repeated_syn_keeps_its_trial),
		TRIAL_TEST(without_trials_a_repeated_syn_asks_again),
		TRIAL_TEST(only_a_beginning_is_tried),
		TRIAL_TEST(what_is_not_tracked_is_not_tried),
		TRIAL_TEST(another_epochs_quota_is_not_ours),
		TRIAL_TEST(what_others_lose_does_not_land_on_it),
		TRIAL_TEST(a_lost_region_takes_no_trials),
		TRIAL_TEST(regions_and_backends_have_no_trials),
		TRIAL_TEST(each_trial_is_a_lease),
		TRIAL_TEST(only_completed_trials_are_proven),
		TRIAL_TEST(a_flood_uses_up_no_trials),
		TRIAL_TEST(quota_is_kept_by_all_cpus_and_through_epochs),
		TRIAL_TEST(one_quota_many_cpus),
	};

	return cmocka_run_group_tests_name("trials", tests, NULL, NULL);
}
