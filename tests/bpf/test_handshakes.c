/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What new flows tell: their count by route row and location, SYNs and repeated SYNs by backend,
 * and of sampled ones whose they are and how long the handshake took. And that none of it touches a
 * packet.
 */
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
#include <netinet/in.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define SYN 0x02
#define RST 0x04
#define ACK 0x10
#define FIN 0x01

enum { EVENTS_MAX = 16 };

static struct xdp_edge edge;
static struct ring_buffer *ring;
static struct gs_handshake_event events[EVENTS_MAX];
static unsigned event_count;

static int on_event(void *context, void *data, size_t size)
{
	(void)context;
	assert_int_equal(size, sizeof(struct gs_handshake_event));
	if (event_count < EVENTS_MAX)
		memcpy(&events[event_count], data, size);
	event_count++;
	return 0;
}

/* How many came since last asked; events[] has them. */
static unsigned take_events(void)
{
	event_count = 0;
	assert_true(ring_buffer__consume(ring) >= 0);
	return event_count;
}

static void sample(uint32_t one_in)
{
	struct gs_meta_value meta = xdp_edge_meta(&edge);

	meta.handshake_one_in = one_in;
	xdp_edge_set_meta(&edge, &meta);
}

static struct gs_syn_count syns_of(uint32_t backend)
{
	int cpus = libbpf_num_possible_cpus();
	struct gs_syn_count values[256] = {0}, sum = {0};

	assert_in_range(cpus, 1, 256);
	xdp_edge_get(&edge, GS_MAP_COUNT_SYN, &backend, values);
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.syns += values[cpu].syns;
		sum.repeated += values[cpu].repeated;
		sum.measured += values[cpu].measured;
		sum.lost += values[cpu].lost;
	}
	return sum;
}

static uint32_t demand_in(uint32_t bank, uint32_t row, uint32_t location)
{
	uint32_t entry = bank * GS_DEMAND_ENTRIES + row * EDGE_LOCATIONS + location;
	uint32_t block = entry / GS_DEMAND_WAYS;
	struct gs_demand_block value;

	xdp_edge_get(&edge, GS_MAP_DEMAND, &block, &value);
	return value.flows[entry % GS_DEMAND_WAYS];
}

static uint32_t demand_of(uint32_t row, uint32_t location)
{
	return demand_in(0, row, location);
}

static struct xdp_result send_flags(struct packet_spec spec, uint8_t flags)
{
	struct packet packet;

	spec.flags = flags;
	packet = packet_build(&spec);
	return xdp_edge_send(&edge, &packet);
}

/* The same of a whole handshake, without asking who counted it: for many. */
static void shake_quickly(struct packet_spec spec)
{
	static const uint8_t flags[] = {SYN, ACK};

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		struct packet packet;

		spec.flags = flags[i];
		packet = packet_build(&spec);
		{
			LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes,
				    .data_size_in = packet.length, .repeat = 1);

			assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
			assert_int_equal(opts.retval, XDP_TX);
		}
	}
}

/* ---- round trips ----------------------------------------------------------------------------- */

static const struct handshake_row {
	struct packet_spec client;
	uint32_t location;
	uint8_t prefix[6];
} rows[] = {
	{{.src = "192.0.2.77", .sport = 1001}, 1, {192, 0, 2}},
	{{.src = "203.0.113.200", .sport = 1002}, 3, {203, 0, 113}},
	{{.src = "172.16.9.1", .sport = 1003, .ip_options = 8}, 4, {172, 16, 9}},
	{{.src = "8.8.8.8", .sport = 1004}, 0, {8, 8, 8}},
	{{.family = 6, .src = "2001:db8:1::7", .sport = 1005}, 1, {0x20, 1, 0xd, 0xb8, 0, 1}},
	{{.family = 6, .src = "2001:db8:4:5::7", .sport = 1006, .extensions = "h"},
	 4,
	 {0x20, 1, 0xd, 0xb8, 0, 4}},
};

static void a_handshake_is_told_once(void **state)
{
	(void)state;
	sample(1);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct xdp_result syn = send_flags(rows[i].client, SYN);
		struct gs_syn_count before = syns_of(syn.backend), after;

		assert_int_equal(syn.reason, GS_REASON_tx_new);
		assert_int_equal(take_events(), 0);
		assert_int_equal(send_flags(rows[i].client, ACK).reason, GS_REASON_tx_flow);
		assert_int_equal(take_events(), 1);
		assert_int_equal(events[0].service, syn.service);
		assert_int_equal(events[0].backend, syn.backend);
		assert_int_equal(events[0].region, syn.region);
		assert_int_equal(events[0].location, rows[i].location);
		assert_int_equal(events[0].family, rows[i].client.family == 6 ? 6 : 4);
		assert_memory_equal(events[0].prefix, rows[i].prefix, sizeof(rows[i].prefix));
		assert_in_range(events[0].rtt_us, 1, GS_HANDSHAKE_US_MAX);
		send_flags(rows[i].client, ACK);
		assert_int_equal(take_events(), 0);
		after = syns_of(syn.backend);
		assert_int_equal(after.measured, before.measured + 1);
		assert_int_equal(after.syns, before.syns);
		packet_case();
	}
}

/* Every entry as if its SYN had come so long ago. */
static void age_handshakes(uint32_t us)
{
	for (uint32_t i = 0; i < GS_HANDSHAKE_BLOCKS; i++) {
		struct gs_handshake_block block;

		xdp_edge_get(&edge, GS_MAP_HANDSHAKES, &i, &block);
		for (uint32_t way = 0; way < GS_HANDSHAKE_WAYS; way++)
			block.entry[way].us -= us;
		xdp_edge_set(&edge, GS_MAP_HANDSHAKES, &i, &block);
	}
}

static void the_time_is_that_between_syn_and_ack(void **state)
{
	static const struct {
		uint32_t us;
		unsigned told;
	} ages[] = {{50000, 1}, {9000000, 1}, {GS_HANDSHAKE_US_MAX, 0}, {0x80000000u, 0}};

	(void)state;
	sample(1);
	for (unsigned i = 0; i < ARRAY_SIZE(ages); i++) {
		const struct packet_spec client = {.sport = (uint16_t)(2000 + i)};

		send_flags(client, SYN);
		age_handshakes(ages[i].us);
		send_flags(client, ACK);
		assert_int_equal(take_events(), ages[i].told);
		/* at most half a second of this test's own */
		if (ages[i].told)
			assert_in_range(events[0].rtt_us, ages[i].us, ages[i].us + 500000);
		packet_case();
	}
}

/* ---- what tells nothing ---------------------------------------------------------------------- */

static void what_completes_no_handshake_tells_nothing(void **state)
{
	static const struct {
		const char *name;
		struct packet_spec client;
		uint8_t first, second;
	} cases[] = {
		{"an ACK of nothing", {.sport = 3000}, ACK, ACK},
		{"reset", {.sport = 3001}, SYN, RST},
		{"closed by RST and ACK, before any ACK", {.sport = 3002}, SYN, RST | ACK},
		{"closed by FIN and ACK", {.sport = 3003}, SYN, FIN | ACK},
	};

	(void)state;
	sample(1);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		send_flags(cases[i].client, cases[i].first);
		send_flags(cases[i].client, cases[i].second);
		if (take_events() != 0)
			print_message("%s: told\n", cases[i].name);
		assert_int_equal(event_count, 0);
		packet_case();
	}
}

/* ---- UDP ------------------------------------------------------------------------------------- */

/* until: ktime; UDP's clients are told of after it. */
static void hold_clients(uint64_t until)
{
	uint32_t kind = GS_ANSWER_CLIENT;
	uint64_t values[256];

	for (unsigned cpu = 0; cpu < ARRAY_SIZE(values); cpu++)
		values[cpu] = until;
	xdp_edge_set(&edge, GS_MAP_ANSWERS, &kind, values);
}

static void a_udp_flow_that_begins_is_told_once(void **state)
{
	const struct packet_spec client = {.sport = 3500, .protocol = IPPROTO_UDP, .dport = 53};
	struct gs_syn_count before, after;
	struct xdp_result first;

	(void)state;
	sample(1);
	hold_clients(0);
	first = send_flags(client, 0);
	before = syns_of(first.backend);
	assert_int_equal(first.reason, GS_REASON_tx_new);
	assert_int_equal(take_events(), 1);
	assert_int_equal(events[0].rtt_us, 0);
	assert_int_equal(events[0].service, first.service);
	assert_int_equal(events[0].backend, first.backend);
	assert_int_equal(events[0].region, first.region);
	assert_int_equal(events[0].location, 1);
	send_flags(client, 0);
	send_flags(client, 0);
	assert_int_equal(take_events(), 0);
	after = syns_of(first.backend);
	assert_memory_equal(&after, &before, sizeof(after)); /* no handshake was measured */
	sample(0);
	send_flags((struct packet_spec){.sport = 3501, .protocol = IPPROTO_UDP, .dport = 53}, 0);
	assert_int_equal(take_events(), 0);
}

/* A flood of it is demand, each of it, and no flood of tellings. */
static void beyond_its_limit_udp_is_not_told_of(void **state)
{
	uint32_t before = demand_of(EDGE_ROW, 1);

	(void)state;
	sample(1);
	xdp_edge_forget(&edge);
	hold_clients(UINT64_MAX / 2);
	for (uint16_t i = 0; i < 20; i++) {
		struct packet_spec client = {.protocol = IPPROTO_UDP, .dport = 53};

		client.sport = (uint16_t)(10000 + i);
		send_flags(client, 0);
	}
	assert_int_equal(take_events(), 0);
	assert_int_equal(demand_of(EDGE_ROW, 1), before + 20);
	hold_clients(0);
}

/* Karn: nobody knows which of the two the ACK answers. */
static void a_repeated_syn_leaves_the_sample(void **state)
{
	const struct packet_spec client = {.sport = 3100};
	struct gs_syn_count before, after;
	struct xdp_result syn;

	(void)state;
	sample(1);
	syn = send_flags(client, SYN);
	before = syns_of(syn.backend);
	assert_int_equal(send_flags(client, SYN).backend, syn.backend);
	send_flags(client, SYN);
	send_flags(client, ACK);
	assert_int_equal(take_events(), 0);
	after = syns_of(syn.backend);
	assert_int_equal(after.syns, before.syns);
	assert_int_equal(after.repeated, before.repeated + 2);
	assert_int_equal(after.measured, before.measured);
}

/* Nothing reached the backend, and so its silence says nothing. */
static void what_is_not_sent_tells_nothing(void **state)
{
	const struct packet_spec client = {.src = "192.0.2.99", .sport = 3150};
	uint32_t demand = demand_of(EDGE_ROW, 1);

	(void)state;
	sample(1);
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(SERVICE_WEB4, 1, member);
		struct gs_backend_value value = edge_backend_value(id);

		value.mode = 77;
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(SERVICE_WEB4, 1, member);
		struct gs_syn_count before = syns_of(id), after;

		assert_int_equal(send_flags(client, SYN).reason, GS_REASON_drop_mode);
		assert_int_equal(send_flags(client, SYN).reason, GS_REASON_drop_mode);
		assert_int_equal(send_flags(client, ACK).reason, GS_REASON_drop_mode);
		after = syns_of(id);
		assert_memory_equal(&after, &before, sizeof(after));
	}
	assert_int_equal(take_events(), 0);
	assert_int_equal(demand_of(EDGE_ROW, 1), demand);
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(SERVICE_WEB4, 1, member);
		struct gs_backend_value value = edge_backend_value(id);

		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
}

static void off_samples_nothing_and_counts_on(void **state)
{
	const struct packet_spec client = {.sport = 3200};
	struct gs_syn_count before, after;
	struct xdp_result syn;

	(void)state;
	sample(0);
	before = syns_of(edge_backend_id(SERVICE_WEB4, 1, 0));
	after = syns_of(edge_backend_id(SERVICE_WEB4, 1, 1));
	before.syns += after.syns;
	syn = send_flags(client, SYN);
	send_flags(client, ACK);
	assert_int_equal(take_events(), 0);
	assert_int_equal(syn.region, 1);
	after = syns_of(edge_backend_id(SERVICE_WEB4, 1, 0));
	after.syns += syns_of(edge_backend_id(SERVICE_WEB4, 1, 1)).syns;
	assert_int_equal(after.syns, before.syns + 1);
}

/* One in 64: of 6,400 flows 100, and hardly ever fewer than 60 or more than 140 (4 sigma). */
static void so_many_are_sampled_as_asked(void **state)
{
	unsigned told = 0;

	(void)state;
	sample(64);
	for (uint16_t port = 1; port <= 6400; port++) {
		const struct packet_spec client = {.src = "192.0.2.200", .sport = port};

		if (port % 32 == 1)
			xdp_edge_forget(&edge);
		shake_quickly(client);
		told += take_events();
	}
	assert_in_range(told, 60, 140);
}

static void a_full_ring_is_counted(void **state)
{
	const uint32_t room = GS_EVENTS_BYTES / (sizeof(struct gs_handshake_event) + 8);
	uint64_t lost = 0, measured = 0;
	uint32_t sent;

	(void)state;
	sample(1);
	take_events();
	for (sent = 0; sent < room + 50; sent++) {
		const struct packet_spec client = {.src = "192.0.2.201",
						   .sport = (uint16_t)(1 + sent)};

		if (sent % 32 == 0)
			xdp_edge_forget(&edge);
		shake_quickly(client);
	}
	for (uint32_t id = 1; id < EDGE_BACKENDS; id++) {
		lost += syns_of(id).lost;
		measured += syns_of(id).measured;
	}
	assert_true(lost >= 50);
	assert_true(measured >= room / 2);
	assert_int_equal(take_events(), sent - lost);
}

/* ---- demand ---------------------------------------------------------------------------------- */

static void new_flows_count_by_row_and_location(void **state)
{
	(void)state;
	xdp_edge_forget(&edge);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t before = demand_of(EDGE_ROW, rows[i].location);
		uint32_t others = demand_of(EDGE_ROW + 1, rows[i].location);

		send_flags(rows[i].client, SYN);
		assert_int_equal(demand_of(EDGE_ROW, rows[i].location), before + 1);
		send_flags(rows[i].client, SYN);
		send_flags(rows[i].client, ACK);
		send_flags(rows[i].client, ACK);
		assert_int_equal(demand_of(EDGE_ROW, rows[i].location), before + 1);
		assert_int_equal(demand_of(EDGE_ROW + 1, rows[i].location), others);
		packet_case();
	}
}

static void what_goes_nowhere_is_no_demand(void **state)
{
	const struct packet_spec no_plan = {.src = "198.18.0.1", .sport = 3300};
	uint32_t before = demand_of(EDGE_ROW, 5);

	(void)state;
	assert_int_equal(send_flags(no_plan, SYN).reason, GS_REASON_drop_no_plan);
	assert_int_equal(demand_of(EDGE_ROW, 5), before);
}

/* Two generations never count in the same place. */
static void a_generation_counts_in_its_bank(void **state)
{
	struct gs_meta_value meta = xdp_edge_meta(&edge);
	uint32_t at = meta.active;

	(void)state;
	xdp_edge_forget(&edge);
	for (uint8_t bank = 0; bank < 2 * GS_DEMAND_BANKS; bank++) {
		const struct packet_spec client = {.sport = (uint16_t)(3600 + bank)};
		uint32_t in = bank % GS_DEMAND_BANKS, out = (bank + 1) % GS_DEMAND_BANKS;
		uint32_t before = demand_in(in, EDGE_ROW, 1), other = demand_in(out, EDGE_ROW, 1);

		meta.demand_bank[at] = bank;
		xdp_edge_set_meta(&edge, &meta);
		send_flags(client, SYN);
		assert_int_equal(demand_in(in, EDGE_ROW, 1), before + 1);
		assert_int_equal(demand_in(out, EDGE_ROW, 1), other);
		packet_case();
	}
	meta.demand_bank[at] = 0;
	xdp_edge_set_meta(&edge, &meta);
}

/* What lies beyond a bank is counted nowhere, least of all in the other bank. */
static void what_is_beyond_the_bank_is_not_counted(void **state)
{
	const uint32_t bank_blocks = GS_DEMAND_ENTRIES / GS_DEMAND_WAYS;
	struct gs_meta_value meta = xdp_edge_meta(&edge), beyond = meta;
	const struct packet_spec client = {.sport = 3700};
	struct gs_demand_block value;
	uint64_t sum[2] = {0};

	(void)state;
	xdp_edge_forget(&edge);
	beyond.generation[meta.active].locations = GS_DEMAND_ENTRIES;
	for (int look = 0; look < 2; look++) {
		for (uint32_t block = 0; block < GS_DEMAND_BANKS * bank_blocks; block += 1) {
			/* the first blocks of each bank are what a slip would hit */
			if (block % bank_blocks >= 64)
				block += bank_blocks - 64;
			if (block >= GS_DEMAND_BANKS * bank_blocks)
				break;
			xdp_edge_get(&edge, GS_MAP_DEMAND, &block, &value);
			for (uint32_t way = 0; way < GS_DEMAND_WAYS; way++)
				sum[look] += value.flows[way];
		}
		xdp_edge_set_meta(&edge, &beyond);
		send_flags(client, SYN);
	}
	assert_int_equal(sum[1], sum[0]);
	xdp_edge_set_meta(&edge, &meta);
}

static int set_up(void **state)
{
	(void)state;
	xdp_edge_open(&edge);
	ring = ring_buffer__new(xdp_edge_map(&edge, GS_MAP_EVENTS), on_event, NULL, NULL);
	assert_non_null(ring);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ring_buffer__free(ring);
	xdp_edge_close(&edge);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handshake_is_told_once),
		cmocka_unit_test(the_time_is_that_between_syn_and_ack),
		cmocka_unit_test(what_completes_no_handshake_tells_nothing),
		cmocka_unit_test(a_udp_flow_that_begins_is_told_once),
		cmocka_unit_test(beyond_its_limit_udp_is_not_told_of),
		cmocka_unit_test(a_repeated_syn_leaves_the_sample),
		cmocka_unit_test(what_is_not_sent_tells_nothing),
		cmocka_unit_test(off_samples_nothing_and_counts_on),
		cmocka_unit_test(so_many_are_sampled_as_asked),
		cmocka_unit_test(a_full_ring_is_counted),
		cmocka_unit_test(new_flows_count_by_row_and_location),
		cmocka_unit_test(what_goes_nowhere_is_no_demand),
		cmocka_unit_test(a_generation_counts_in_its_bank),
		cmocka_unit_test(what_is_beyond_the_bank_is_not_counted),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
