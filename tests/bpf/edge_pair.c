/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

enum { MAX_CPUS = 256 };

static const size_t flows_bytes = sizeof(struct gs_flow_bucket) * EDGE_FLOW_BUCKETS;
static const size_t trials_bytes = sizeof(struct gs_trial_value) * EDGE_SERVICES * GS_MAX_REGIONS;
static const size_t demand_bytes = sizeof(uint32_t) * GS_DEMAND_BANKS * GS_DEMAND_ENTRIES;

/* All that counters of the small world say, every CPU's; the reasons first. */
static const struct {
	const char *map;
	uint32_t count, value_bytes;
} counters[] = {
	{GS_MAP_COUNT_REASON, GS_REASON__COUNT, sizeof(struct gs_count)},
	{GS_MAP_COUNT_SERVICE, EDGE_SERVICES, sizeof(struct gs_count)},
	{GS_MAP_COUNT_REGION, EDGE_REGIONS, sizeof(struct gs_count)},
	{GS_MAP_COUNT_BACKEND, EDGE_BACKENDS, sizeof(struct gs_count)},
	{GS_MAP_COUNT_SYN, EDGE_BACKENDS, sizeof(struct gs_syn_count)},
};
enum { COUNTED_BYTES = 512 * 64 * MAX_CPUS };
static uint8_t counted[EDGES][COUNTED_BYTES], counted_before[EDGES][COUNTED_BYTES];

/* ---- both edges ------------------------------------------------------------------------------ */

void edge_pair_set(const struct edge_pair *pair, const char *map, const void *key,
		   const void *value)
{
	for (int e = 0; e < EDGES; e++)
		xdp_edge_set(&pair->edge[e], map, key, value);
}

static void *mapped(const struct xdp_edge *edge, const char *map, size_t bytes)
{
	void *at =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, xdp_edge_map(edge, map), 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

void edge_stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	assert_int_equal(sched_setaffinity(0, sizeof(here), &here), 0);
}

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct gs_service_key));
}

static void read_services(struct edge_pair *pair)
{
	int fd = xdp_edge_map(&pair->edge[LANE], GS_MAP_SERVICES);
	const struct gs_service_key *previous = NULL;
	struct gs_service_key key;

	while (!bpf_map_get_next_key(fd, previous, &key)) {
		assert_true(pair->key_count < EDGE_PAIR_KEYS);
		pair->keys[pair->key_count] = key;
		previous = &pair->keys[pair->key_count++];
	}
	/* each map has an order of its own */
	qsort(pair->keys, pair->key_count, sizeof(key), compare_keys);
	for (uint32_t i = 0; i < pair->key_count; i++)
		xdp_edge_get(&pair->edge[LANE], GS_MAP_SERVICES, &pair->keys[i], &pair->values[i]);
}

void edge_pair_open(struct edge_pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	edge_stay_here();
	for (int e = 0; e < EDGES; e++) {
		struct xdp_edge *edge = &pair->edge[e];
		struct gs_meta_value *meta = &pair->first_meta[e];

		xdp_edge_open(edge);
		xdp_edge_fill(edge, 1, 2, 0x5eee, true);
		*meta = xdp_edge_meta(edge);
		meta->handshake_one_in = 1;
		meta->monitor_until_ns = e == WHOLE ? ~0ull >> 1 : 0;
		xdp_edge_set_meta(edge, meta);
		pair->flows[e] = mapped(edge, GS_MAP_FLOWS, flows_bytes);
		pair->trials[e] = mapped(edge, GS_MAP_TRIALS, trials_bytes);
		pair->demand[e] = mapped(edge, GS_MAP_DEMAND, demand_bytes);
	}
	read_services(pair);
	memset(counted_before, 0, sizeof(counted_before));
}

void edge_pair_close(struct edge_pair *pair)
{
	for (int e = 0; e < EDGES; e++) {
		munmap(pair->flows[e], flows_bytes);
		munmap(pair->trials[e], trials_bytes);
		munmap(pair->demand[e], demand_bytes);
		xdp_edge_close(&pair->edge[e]);
	}
}

/* ---- one packet through both ----------------------------------------------------------------- */

static size_t read_counters(const struct xdp_edge *edge, uint8_t *ret_counted)
{
	const size_t cpus = (size_t)libbpf_num_possible_cpus();
	static uint32_t places[GS_REASON__COUNT + EDGE_BACKENDS];
	size_t at = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
		uint32_t count = counters[i].count, batch;

		assert_true(at + count * counters[i].value_bytes * cpus <= COUNTED_BYTES);
		assert_int_equal(bpf_map_lookup_batch(xdp_edge_map(edge, counters[i].map), NULL,
						      &batch, places, ret_counted + at, &count,
						      NULL) == 0 ||
					 errno == ENOENT,
				 1);
		assert_int_equal(count, counters[i].count);
		at += count * counters[i].value_bytes * cpus;
	}
	return at;
}

/* Which reason counted the last packet. */
static uint32_t reason_of(int e)
{
	const size_t bytes = sizeof(struct gs_count) * (size_t)libbpf_num_possible_cpus();

	for (uint32_t reason = 0; reason < GS_REASON__COUNT; reason++)
		if (memcmp(counted[e] + reason * bytes, counted_before[e] + reason * bytes, bytes))
			return reason;
	return GS_REASON__COUNT;
}

/* Are the flow tables alike, but for a tick between the two packets? Then they are made the same.
 */
static bool same_flows(struct edge_pair *pair)
{
	if (memcmp(pair->flows[LANE], pair->flows[WHOLE], flows_bytes) == 0)
		return true;
	for (uint32_t i = 0; i < EDGE_FLOW_BUCKETS * GS_FLOW_WAYS; i++) {
		const struct gs_flow_entry *a = &pair->flows[LANE][0].entry[0] + i;
		const struct gs_flow_entry *b = &pair->flows[WHOLE][0].entry[0] + i;

		if (a->tag != b->tag || a->backend != b->backend ||
		    (a->seen ^ b->seen) & GS_FLOW_PROVEN ||
		    (((uint32_t)b->seen - a->seen) & GS_SEEN_TIME) > 1)
			return false;
	}
	memcpy(pair->flows[WHOLE], pair->flows[LANE], flows_bytes);
	return true;
}

static uint32_t send_by(const struct xdp_edge *edge, const struct packet *packet,
			struct packet *ret_out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = ret_out->bytes,
		    .data_size_out = sizeof(ret_out->bytes), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(edge->prog_fd, &opts), 0);
	ret_out->length = opts.data_size_out;
	return opts.retval;
}

void edge_pair_expect_alike(struct edge_pair *pair, const char *name, const struct packet *packet)
{
	static struct packet out[EDGES];
	uint32_t action[EDGES], reason[EDGES];
	size_t bytes = 0;

	for (int e = 0; e < EDGES; e++) {
		action[e] = send_by(&pair->edge[e], packet, &out[e]);
		bytes = read_counters(&pair->edge[e], counted[e]);
		reason[e] = reason_of(e);
	}
	if (action[LANE] != action[WHOLE] || reason[LANE] != reason[WHOLE])
		fail_msg("%s: lane %s (%u), whole way %s (%u)", name,
			 edge_reason_name(reason[LANE]), action[LANE],
			 edge_reason_name(reason[WHOLE]), action[WHOLE]);
	edge_expect_bytes(name, &out[LANE], &out[WHOLE]);
	if (memcmp(counted[LANE], counted[WHOLE], bytes) != 0)
		fail_msg("%s: %s, counted differently", name, edge_reason_name(reason[LANE]));
	if (!same_flows(pair))
		fail_msg("%s: %s, remembered differently", name, edge_reason_name(reason[LANE]));
	assert_memory_equal(pair->trials[LANE], pair->trials[WHOLE], trials_bytes);
	for (int e = 0; e < EDGES; e++)
		memcpy(counted_before[e], counted[e], bytes);
	pair->reasons[reason[LANE]]++;
	packet_case();
}

void edge_pair_expect_demand_alike(const struct edge_pair *pair)
{
	assert_memory_equal(pair->demand[LANE], pair->demand[WHOLE], demand_bytes);
}
