/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people see of packets: sampled verdicts (adapters/sampler.h) and the flow table
 * (adapters/flow_table.h), on the real program's maps, filled by real packets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "user/adapters/flow_table.h"
#include "user/adapters/sampler.h"
#include "user/core/cidr.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYN 0x02
#define ACK 0x10
#define FIN 0x01
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
enum { SEEN_MAX = 32768 };

static struct xdp_edge edge;
static char pin_dir[64];
static const char *const pinned[] = {GS_MAP_META,    GS_MAP_MONITOR, GS_MAP_MONITOR_CPU,
				     GS_MAP_SAMPLES, GS_MAP_FLOWS,   GS_MAP_BACKENDS};

static struct gs_sampled seen[SEEN_MAX];
static uint32_t seen_count;

static bool on_sampled(void *context, const struct gs_sampled *sampled)
{
	(void)context;
	assert_true(seen_count < SEEN_MAX);
	seen[seen_count++] = *sampled;
	return true;
}

static struct gs_sampler_ask ask_for(const char *reasons)
{
	return (struct gs_sampler_ask){.every = 1, .reasons = gs_sampler_reasons(reasons)};
}

static struct gs_sampler *sampler_open(const struct gs_sampler_ask *ask)
{
	struct gs_sampler *sampler;
	struct gs_error error;

	if (gs_sampler_open(pin_dir, ask, &sampler, &error))
		fail_msg("%s", error.text);
	return sampler;
}

/* How many have come since the last time. */
static uint32_t take(struct gs_sampler *sampler)
{
	struct gs_error error;

	seen_count = 0;
	if (gs_sampler_read(sampler, on_sampled, NULL, &error))
		fail_msg("%s", error.text);
	return seen_count;
}

static struct gs_sampler_counts counts_of(const struct gs_sampler *sampler)
{
	struct gs_sampler_counts counts;

	assert_int_equal(gs_sampler_count(sampler, &counts), 0);
	return counts;
}

/* The same packet again and again; it must not be one that is forwarded, which grows each time. */
static void send_many(const struct packet *packet, uint32_t times)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .repeat = (int)times);

	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
}

/* ---- what is sampled --------------------------------------------------------------------------*/

static struct gs_addr addr_of(const char *text)
{
	struct gs_addr addr;

	packet_addr(text, addr.bytes);
	return addr;
}

/* One of each kind of verdict and shape; in this order. */
static const struct {
	const char *name;
	struct packet_spec spec;
	enum gs_reason reason;
	const char *shape, *protocol;
	bool has_ports;
} kinds[] = {
	{"new", {.flags = SYN, .payload = 9}, GS_REASON_tx_new, "whole", "tcp", true},
	{"known", {.flags = ACK}, GS_REASON_tx_flow, "whole", "tcp", true},
	{"its end", {.flags = FIN | ACK}, GS_REASON_tx_flow, "whole", "tcp", true},
	{"UDP",
	 {.protocol = IPPROTO_UDP, .dport = 53, .payload = 100},
	 GS_REASON_tx_new,
	 "whole",
	 "udp",
	 true},
	{"IPv6", {.family = 6, .flags = SYN}, GS_REASON_tx_new, "whole", "tcp", true},
	{"UDP over IPv6",
	 {.family = 6, .protocol = IPPROTO_UDP, .dport = 53},
	 GS_REASON_tx_new,
	 "whole",
	 "udp",
	 true},
	{"first fragment",
	 {.protocol = IPPROTO_UDP, .dport = 53, .sport = 7, .payload = 64, .fragment = 0x2000},
	 GS_REASON_tx_new,
	 "first",
	 "udp",
	 true},
	{"later fragment",
	 {.protocol = IPPROTO_UDP, .dport = 53, .sport = 7, .payload = 64, .fragment = 0x00b9},
	 GS_REASON_tx_fragment,
	 "later",
	 "udp",
	 true},
	{"later fragment of nobody",
	 {.src = "192.0.2.9", .protocol = IPPROTO_UDP, .payload = 64, .fragment = 0x00b9},
	 GS_REASON_drop_fragment,
	 "later",
	 "udp",
	 false},
	{"no plan",
	 {.dst = "198.51.100.12", .flags = SYN},
	 GS_REASON_drop_no_plan,
	 "whole",
	 "tcp",
	 true},
	{"no service", {.dport = 81}, GS_REASON_pass_not_service, "whole", "tcp", true},
	{"ARP", {.ethertype = 0x0806}, GS_REASON_pass_not_ip, "whole", "-", false},
};

static void check_sample(unsigned i, const struct gs_sampled *got, const struct packet *packet,
			 const struct xdp_result *result)
{
	const struct packet_spec *spec = &kinds[i].spec;
	bool is_v6 = spec->family == 6, is_sent = strncmp(got->reason, "tx", 2) == 0;
	struct gs_addr src = addr_of(spec->src ? spec->src : is_v6 ? "2001:db8:1::1" : "192.0.2.1");
	struct gs_addr dst = addr_of(spec->dst ? spec->dst
				     : is_v6   ? "2001:db8:100::10"
					       : "198.51.100.10");

	print_message("# %s\n", kinds[i].name);
	assert_string_equal(got->reason, edge_reason_name(result->reason));
	assert_true(strncmp(got->reason, got->verdict, strlen(got->verdict)) == 0);
	assert_string_equal(got->shape, kinds[i].shape);
	assert_string_equal(got->protocol, kinds[i].protocol);
	assert_int_equal(got->length, packet->length);
	assert_int_equal(got->service, result->service);
	assert_int_equal(got->region, result->region);
	assert_int_equal(got->backend, result->backend);
	assert_int_equal(got->has_addresses, kinds[i].reason != GS_REASON_pass_not_ip);
	if (!got->has_addresses)
		return;
	assert_memory_equal(&got->src, &src, sizeof(src));
	assert_memory_equal(&got->dst, &dst, sizeof(dst));
	assert_int_equal(got->sport, kinds[i].has_ports ? (spec->sport ? spec->sport : 40000) : 0);
	assert_int_equal(got->dport, kinds[i].has_ports ? (spec->dport ? spec->dport : 80) : 0);
	if (spec->flags)
		assert_int_equal(got->tcp_flags, spec->flags);
	assert_int_not_equal(got->in_ifindex, 0);
	assert_int_equal(got->out_ifindex, is_sent ? got->in_ifindex : 0);
}

static void every_verdict_is_sampled_as_it_was(void **state)
{
	struct gs_sampler_ask ask = ask_for("tx");
	struct gs_sampler *sampler;
	int64_t before = (int64_t)time(NULL) * 1000000;
	(void)state;

	ask.reasons |= gs_sampler_reasons("drop") | gs_sampler_reasons("pass");
	sampler = sampler_open(&ask);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct packet packet = packet_build(&kinds[i].spec);
		struct xdp_result result = xdp_edge_send(&edge, &packet);

		if (result.reason != kinds[i].reason)
			fail_msg("%s: %s", kinds[i].name, edge_reason_name(result.reason));
		assert_int_equal(take(sampler), 1);
		check_sample(i, &seen[0], &packet, &result);
		assert_in_range(seen[0].unix_us, before - 1000000, before + 60000000);
	}
	assert_int_equal(counts_of(sampler).sent, ARRAY_SIZE(kinds));
	assert_int_equal(counts_of(sampler).lost, 0);
	gs_sampler_close(sampler);
}

static void icmp_is_sampled(void **state)
{
	struct packet client = packet_build(&(struct packet_spec){.payload = 100, .sport = 99});
	struct packet answer = packet_reverse(&client);
	struct gs_sampler_ask ask = ask_for("tx");
	struct packet echo = packet_icmp(&(struct packet_icmp){
		.src = "192.0.2.7", .dst = "198.51.100.10", .type = 8, .rest = 1});
	struct packet error = packet_icmp(&(struct packet_icmp){.src = "203.0.113.77",
								.dst = "198.51.100.10",
								.type = 3,
								.code = 4,
								.bytes = answer.bytes + PACKET_L3,
								.length = 28});
	struct gs_sampler *sampler = sampler_open(&ask);
	(void)state;

	xdp_edge_send(&edge, &echo);
	assert_int_equal(take(sampler), 1);
	assert_string_equal(seen[0].reason, "tx_echo");
	assert_string_equal(seen[0].shape, "echo");
	assert_string_equal(seen[0].protocol, "icmp");
	xdp_edge_send(&edge, &error);
	assert_int_equal(take(sampler), 1);
	assert_string_equal(seen[0].reason, "tx_icmp");
	assert_string_equal(seen[0].shape, "error");
	assert_int_equal(seen[0].sport, 99);
	assert_memory_equal(&seen[0].src, &(struct gs_addr[]){addr_of("192.0.2.1")}, 16);
	gs_sampler_close(sampler);
}

/* ---- what is not -----------------------------------------------------------------------------*/

static void send_all_kinds(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct packet packet = packet_build(&kinds[i].spec);

		xdp_edge_send(&edge, &packet);
	}
}

static uint64_t sent_ever(void)
{
	struct gs_monitor_count cpus[1024];
	uint32_t zero = 0;
	uint64_t sent = 0;

	xdp_edge_get(&edge, GS_MAP_MONITOR_CPU, &zero, cpus);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sent += cpus[i].sent + cpus[i].lost + cpus[i].held;
	return sent;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void nobody_looks_on(void **state)
{
	struct gs_sampler_ask ask = ask_for("tx");
	struct gs_sampler *sampler;
	uint64_t before;
	(void)state;

	before = sent_ever();
	send_all_kinds();
	assert_int_equal(sent_ever(), before);
	/* once it has ended, too */
	sampler = sampler_open(&ask);
	gs_sampler_close(sampler);
	assert_int_equal(xdp_edge_meta(&edge).monitor_until_ns, 0);
	send_all_kinds();
	assert_int_equal(sent_ever(), before);
}

/* A monitor that was killed: its time passes, and the first packet then puts the word to 0. */
static void its_time_passes(void **state)
{
	const struct gs_monitor_value all = {.reasons = ~0ull};
	struct gs_meta_value meta = xdp_edge_meta(&edge);
	uint64_t before = sent_ever();
	uint32_t zero = 0;
	(void)state;

	xdp_edge_set(&edge, GS_MAP_MONITOR, &zero, &all);
	meta.monitor_until_ns = now_ns() - 1000000000u;
	xdp_edge_set_meta(&edge, &meta);
	send_all_kinds();
	assert_int_equal(sent_ever(), before);
	assert_int_equal(xdp_edge_meta(&edge).monitor_until_ns, 0);
	meta.monitor_until_ns = now_ns() + 60000000000u;
	xdp_edge_set_meta(&edge, &meta);
	send_all_kinds();
	assert_int_equal(sent_ever(), before + ARRAY_SIZE(kinds));
	assert_int_equal(xdp_edge_meta(&edge).monitor_until_ns, meta.monitor_until_ns);
	meta.monitor_until_ns = 0;
	xdp_edge_set_meta(&edge, &meta);
}

static void only_what_is_asked_for(void **state)
{
	static const struct {
		const char *reason, *prefix;
		gs_id service;
		uint32_t want; /* of send_all_kinds */
	} cases[] = {
		{"pass", NULL, 0, 2},
		{"drop", NULL, 0, 2},
		{"pass_not_ip", NULL, 0, 1},
		{"drop_no_plan", NULL, 0, 1},
		{"tx_fragment", NULL, 0, 1},
		{"tx", NULL, SERVICE_WEB6, 1},
		{"drop", NULL, SERVICE_NO_PLAN, 1},
		{"drop", NULL, SERVICE_WEB6, 0},
		{"tx", "2001:db8:1::/48", 0, 2},
		{"tx", "2001:db8:1::1/128", 0, 2},
		{"tx", "2001:db8:2::/48", 0, 0},
		{"tx", "192.0.2.0/24", 0, 6},
		{"tx", "192.0.2.1/32", 0, 6},
		{"tx", "192.0.2.2/32", 0, 0},
		{"drop", "192.0.2.9/32", 0, 1},
		{"pass", "0.0.0.0/0", 0, 1}, /* ARP has no address */
		{"tx", "::/0", 0, 8},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_sampler_ask ask = ask_for(cases[i].reason);
		struct gs_sampler *sampler;

		ask.service = cases[i].service;
		ask.has_src = cases[i].prefix != NULL;
		if (cases[i].prefix)
			assert_int_equal(gs_prefix_parse(cases[i].prefix, &ask.src), 0);
		assert_true(ask.reasons != 0);
		sampler = sampler_open(&ask);
		xdp_edge_forget(&edge);
		send_all_kinds();
		if (take(sampler) != cases[i].want)
			fail_msg("%s from %s, service %u: %u sampled, wanted %u", cases[i].reason,
				 cases[i].prefix ? cases[i].prefix : "anywhere", cases[i].service,
				 seen_count, cases[i].want);
		gs_sampler_close(sampler);
	}
	assert_int_equal(gs_sampler_reasons("drop_nothing"), 0);
}

static void one_in_so_many(void **state)
{
	struct packet packet = packet_build(&(struct packet_spec){.dport = 81});
	static const uint32_t every[] = {3, 64, 1000};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(every); i++) {
		struct gs_sampler_ask ask = ask_for("pass");
		uint32_t times = every[i] * 1000, count;
		struct gs_sampler *sampler;

		ask.every = every[i];
		sampler = sampler_open(&ask);
		send_many(&packet, times);
		count = take(sampler);
		assert_in_range(count, 800, 1200); /* 1,000, six sigma */
		gs_sampler_close(sampler);
	}
}

/* ---- floods ----------------------------------------------------------------------------------*/

/* Of the clock the packet path looks at. */
static void wait_for_tick(void)
{
	struct timespec began, now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &began);
	do
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	while (now.tv_nsec == began.tv_nsec);
}

static void a_full_ring_is_counted(void **state)
{
	enum { FITS = GS_SAMPLES_BYTES / (sizeof(struct gs_sample) + 8), TIMES = 20000 };
	struct packet packet = packet_build(&(struct packet_spec){.dport = 81});
	struct gs_sampler_ask ask = ask_for("pass");
	struct gs_sampler *sampler = sampler_open(&ask);
	struct gs_sampler_counts counts;
	(void)state;

	send_many(&packet, TIMES);
	counts = counts_of(sampler);
	assert_int_equal(counts.sent + counts.lost, TIMES);
	assert_in_range(counts.sent, FITS - 1, FITS);
	assert_int_equal(take(sampler), counts.sent);
	/* there is room again, which is noticed with the next tick */
	wait_for_tick();
	send_many(&packet, 1);
	assert_int_equal(take(sampler), 1);
	assert_int_equal(counts_of(sampler).lost, counts.lost);
	gs_sampler_close(sampler);
}

/* Drops have a limit of their own, whatever `every` is, and leave room for all others. */
static void a_flood_of_drops_blinds_nobody(void **state)
{
	enum { TIMES = 30000 };
	struct packet drop = packet_build(&(struct packet_spec){.dst = "198.51.100.12"});
	struct packet sent = packet_build(&(struct packet_spec){.flags = SYN, .sport = 555});
	struct gs_sampler_ask ask = ask_for("drop");
	struct gs_sampler_counts counts;
	struct gs_sampler *sampler;
	uint64_t began;
	(void)state;

	ask.reasons |= gs_sampler_reasons("tx");
	sampler = sampler_open(&ask);
	began = now_ns();
	send_many(&drop, TIMES);
	began = (now_ns() - began) / GS_SAMPLE_DROP_INTERVAL_NS;
	counts = counts_of(sampler);
	assert_int_equal(counts.sent + counts.held, TIMES);
	assert_int_equal(counts.lost, 0);
	assert_in_range(counts.sent, 1, GS_SAMPLE_DROP_BURST + began + 2);
	xdp_edge_send(&edge, &sent);
	assert_int_equal(take(sampler), counts.sent + 1);
	assert_string_equal(seen[seen_count - 1].reason, "tx_new");
	gs_sampler_close(sampler);
}

/* ---- one at a time ---------------------------------------------------------------------------*/

static void one_at_a_time(void **state)
{
	struct gs_sampler_ask ask = ask_for("tx");
	struct gs_sampler *first = sampler_open(&ask), *second = NULL;
	struct gs_error error;
	char pid[16];
	(void)state;

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_int_equal(gs_sampler_open(pin_dir, &ask, &second, &error), -EBUSY);
	assert_non_null(strstr(error.text, pid));
	assert_null(second);
	/* what was refused has changed nothing */
	assert_true(xdp_edge_meta(&edge).monitor_until_ns > now_ns());
	gs_sampler_close(first);
	second = sampler_open(&ask);
	gs_sampler_close(second);
}

/* One that died holds it until its lease ends; who comes then waits, and gets it. */
static void a_dead_one_is_waited_for(void **state)
{
	struct gs_sampler_ask ask = ask_for("tx");
	struct gs_monitor_value monitor;
	struct gs_sampler *sampler;
	uint32_t zero = 0;
	uint64_t lease;
	int status;
	pid_t pid = fork();
	(void)state;

	if (pid == 0) {
		struct gs_error error;

		_exit(gs_sampler_open(pin_dir, &ask, &sampler, &error) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	xdp_edge_get(&edge, GS_MAP_MONITOR, &zero, &monitor);
	assert_int_equal(monitor.holder_pid, pid);
	lease = monitor.lease_until_ns;
	assert_true(lease > now_ns());
	sampler = sampler_open(&ask);
	assert_true(now_ns() >= lease);
	gs_sampler_close(sampler);
}

/* Stopped for too long, and another has it: it says so, and leaves the other alone. */
static void who_comes_too_late_is_told(void **state)
{
	struct gs_sampler_ask ask = ask_for("tx");
	struct gs_sampler *sampler = sampler_open(&ask);
	struct gs_monitor_value other;
	struct gs_meta_value meta;
	struct gs_error error;
	uint32_t zero = 0;
	(void)state;

	xdp_edge_get(&edge, GS_MAP_MONITOR, &zero, &other);
	other.lease_until_ns += 1000000000u;
	other.holder_pid = 4242;
	xdp_edge_set(&edge, GS_MAP_MONITOR, &zero, &other);
	/* it only looks when it is time to renew */
	while (now_ns() + GS_SAMPLER_LEASE_MS * 1000000ull * 2 / 3 <
	       other.lease_until_ns - 1000000000u)
		;
	assert_int_equal(gs_sampler_read(sampler, on_sampled, NULL, &error), -ESTALE);
	assert_non_null(strstr(error.text, "4242"));
	gs_sampler_close(sampler);
	meta = xdp_edge_meta(&edge);
	assert_int_not_equal(meta.monitor_until_ns, 0);
	xdp_edge_get(&edge, GS_MAP_MONITOR, &zero, &other);
	assert_int_equal(other.holder_pid, 4242);
	meta.monitor_until_ns = 0;
	xdp_edge_set_meta(&edge, &meta);
	other = (struct gs_monitor_value){0};
	xdp_edge_set(&edge, GS_MAP_MONITOR, &zero, &other);
}

/* ---- the flow table --------------------------------------------------------------------------*/

static struct gs_flow_table *table_open(void)
{
	struct gs_flow_table *table;
	struct gs_error error;

	if (gs_flow_table_open(pin_dir, true, &table, &error))
		fail_msg("%s", error.text);
	return table;
}

static struct packet flow_packet(uint32_t i, uint8_t flags)
{
	return packet_build(&(struct packet_spec){.family = i % 2 ? 6 : 4,
						  .protocol = i % 3 ? IPPROTO_TCP : IPPROTO_UDP,
						  .sport = (uint16_t)(1000 + i),
						  .dport = i % 3 ? 80 : 53,
						  .flags = i % 3 ? flags : 0});
}

static struct gs_flow_key flow_key(const struct packet *packet)
{
	struct gs_flow_tuple tuple = edge_tuple(packet);
	struct gs_flow_key key = {.sport = ntohs(tuple.src_port),
				  .dport = ntohs(tuple.dst_port),
				  .protocol = (enum gs_protocol)tuple.protocol};

	memcpy(key.src.bytes, tuple.src, 16);
	memcpy(key.dst.bytes, tuple.dst, 16);
	return key;
}

static bool count_rows(void *context, const struct gs_flow_row *row)
{
	uint32_t *count = context;

	assert_int_not_equal(row->tag, 0);
	assert_true(row->bucket < EDGE_FLOW_BUCKETS && row->way < GS_FLOW_WAYS);
	(*count)++;
	return true;
}

static uint32_t rows_of(const struct gs_flow_table *table)
{
	uint32_t count = 0;

	gs_flow_table_walk(table, count_rows, &count);
	return count;
}

static void flows_are_found(void **state)
{
	struct gs_flow_table *table = table_open();
	(void)state;

	xdp_edge_forget(&edge);
	assert_int_equal(gs_flow_table_buckets(table), EDGE_FLOW_BUCKETS);
	assert_int_equal(rows_of(table), 0);
	for (uint32_t i = 0; i < 60; i++) {
		struct packet first = flow_packet(i, SYN), second = flow_packet(i, ACK);
		struct gs_flow_key key = flow_key(&first);
		struct xdp_result result;
		struct gs_flow_row row;

		assert_false(gs_flow_table_find(table, &key, &row));
		result = xdp_edge_send(&edge, &first);
		assert_int_equal(result.reason, GS_REASON_tx_new);
		assert_true(gs_flow_table_find(table, &key, &row));
		assert_int_equal(row.backend, result.backend);
		assert_int_equal(row.service, result.service);
		assert_int_equal(row.region, result.region);
		assert_int_equal(row.state, GS_FLOW_IS_UNPROVEN);
		assert_false(row.is_proven || row.is_closed);
		assert_in_range(row.age_s, 0, 3);
		xdp_edge_send(&edge, &second);
		assert_true(gs_flow_table_find(table, &key, &row));
		assert_int_equal(row.state, GS_FLOW_IS_ACTIVE);
		assert_int_equal(rows_of(table), i + 1);
		/* another protocol or port is another flow */
		key.protocol = key.protocol == GS_PROTOCOL_TCP ? GS_PROTOCOL_UDP : GS_PROTOCOL_TCP;
		assert_false(gs_flow_table_find(table, &key, &row));
	}
	gs_flow_table_close(table);
}

static void set_entry(const struct gs_flow_row *at, struct gs_flow_entry entry)
{
	struct gs_flow_bucket bucket;
	uint32_t index = at->bucket;

	xdp_edge_get(&edge, GS_MAP_FLOWS, &index, &bucket);
	bucket.entry[at->way] = entry;
	xdp_edge_set(&edge, GS_MAP_FLOWS, &index, &bucket);
}

static uint16_t seen_ago(uint32_t units)
{
	return (uint16_t)((uint32_t)(now_ns() >> 30) - units) & GS_SEEN_TIME;
}

static void states_are_those_of_the_packet_path(void **state)
{
	static const struct {
		uint32_t ago;
		uint16_t proven, closed;
		enum gs_flow_state state;
		uint32_t age_s;
	} cases[] = {
		{0, GS_FLOW_PROVEN, 0, GS_FLOW_IS_ACTIVE, 0},
		{(uint32_t)-3, GS_FLOW_PROVEN, 0, GS_FLOW_IS_ACTIVE, 0}, /* another CPU's clock */
		{50, GS_FLOW_PROVEN, 0, GS_FLOW_IS_ACTIVE, 53},
		{60, GS_FLOW_PROVEN, 0, GS_FLOW_IS_QUIET, 64},
		{60, 0, 0, GS_FLOW_IS_UNPROVEN, 64},
		{60, GS_FLOW_PROVEN, GS_FLOW_CLOSED, GS_FLOW_IS_CLOSED, 64},
		{60, 0, GS_FLOW_CLOSED, GS_FLOW_IS_CLOSED, 64},
		{850, GS_FLOW_PROVEN, 0, GS_FLOW_IS_ABANDONED, 912},
		{850, 0, GS_FLOW_CLOSED, GS_FLOW_IS_ABANDONED, 912},
	};
	struct gs_flow_table *table = table_open();
	struct packet packet = flow_packet(2, SYN);
	struct gs_flow_key key = flow_key(&packet);
	struct gs_flow_row row;
	(void)state;

	xdp_edge_forget(&edge);
	xdp_edge_send(&edge, &packet);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(gs_flow_table_find(table, &key, &row));
		set_entry(&row, (struct gs_flow_entry){
					.tag = row.tag,
					.backend = (uint16_t)(row.backend | cases[i].closed),
					.seen = seen_ago(cases[i].ago) | cases[i].proven});
		assert_true(gs_flow_table_find(table, &key, &row));
		assert_int_equal(row.state, cases[i].state);
		assert_in_range(row.age_s, cases[i].age_s, cases[i].age_s + 2);
		assert_int_equal(row.is_closed, cases[i].closed != 0);
		assert_int_equal(row.is_proven, cases[i].proven != 0);
	}
	/* of a backend that is gone only the id is known */
	set_entry(&row, (struct gs_flow_entry){.tag = row.tag, .backend = 9999});
	assert_true(gs_flow_table_find(table, &key, &row));
	assert_int_equal(row.backend, 9999);
	assert_int_equal(row.service, 0);
	gs_flow_table_close(table);
}

static void erased_flows_are_decided_anew(void **state)
{
	struct gs_flow_table *table = table_open();
	struct packet syn = flow_packet(4, SYN), ack = flow_packet(4, ACK);
	struct packet other = flow_packet(5, SYN);
	struct gs_flow_key key = flow_key(&syn), other_key = flow_key(&other);
	struct xdp_result result;
	struct gs_flow_row row, changed;
	(void)state;

	xdp_edge_forget(&edge);
	result = xdp_edge_send(&edge, &syn);
	xdp_edge_send(&edge, &other);
	assert_true(gs_flow_table_find(table, &key, &row));
	/* seen since, it is the same flow still */
	xdp_edge_send(&edge, &ack);
	xdp_edge_set_region(&edge, result.region, edge_drain);
	assert_int_equal(xdp_edge_send(&edge, &ack).backend, result.backend);
	assert_true(gs_flow_table_erase(table, &row));
	assert_false(gs_flow_table_find(table, &key, &changed));
	assert_true(gs_flow_table_find(table, &other_key, &changed));
	assert_false(gs_flow_table_erase(table, &row)); /* gone already */
	/* what it sends next goes where new flows go */
	result = xdp_edge_send(&edge, &ack);
	assert_int_equal(result.reason, GS_REASON_tx_new);
	assert_int_not_equal(result.backend, row.backend);
	/* another flow's, or moved: not what was asked to go */
	assert_false(gs_flow_table_erase(table, &row));
	assert_true(gs_flow_table_find(table, &key, &row));
	changed = row;
	changed.tag ^= 1;
	assert_false(gs_flow_table_erase(table, &changed));
	assert_true(gs_flow_table_find(table, &key, &row));
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(&edge, region, edge_up);
	gs_flow_table_close(table);
}

static void nothing_pinned_is_told(void **state)
{
	struct gs_sampler_ask ask = ask_for("tx");
	struct gs_flow_table *table;
	struct gs_sampler *sampler;
	struct gs_error error;
	struct gs_meta_value meta = xdp_edge_meta(&edge), old = meta;
	(void)state;

	assert_int_equal(gs_flow_table_open("/sys/fs/bpf/gs-none", false, &table, &error), -ENOENT);
	assert_non_null(strstr(error.text, "/sys/fs/bpf/gs-none"));
	assert_int_equal(gs_sampler_open("/sys/fs/bpf/gs-none", &ask, &sampler, &error), -ENOENT);
	old.layout_version = GS_MAPS_VERSION - 1;
	xdp_edge_set_meta(&edge, &old);
	assert_int_equal(gs_flow_table_open(pin_dir, false, &table, &error), -EPROTO);
	assert_int_equal(gs_sampler_open(pin_dir, &ask, &sampler, &error), -EPROTO);
	assert_non_null(strstr(error.text, "version"));
	xdp_edge_set_meta(&edge, &meta);
}

static int setup(void **state)
{
	char path[128];
	(void)state;

	xdp_edge_open(&edge);
	snprintf(pin_dir, sizeof(pin_dir), "/sys/fs/bpf/gs-test-%d", (int)getpid());
	assert_true(mkdir(pin_dir, 0700) == 0 || errno == EEXIST);
	for (unsigned i = 0; i < ARRAY_SIZE(pinned); i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_dir, pinned[i]);
		assert_int_equal(bpf_obj_pin(xdp_edge_map(&edge, pinned[i]), path), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	char path[128];
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(pinned); i++) {
		snprintf(path, sizeof(path), "%s/%s", pin_dir, pinned[i]);
		unlink(path);
	}
	rmdir(pin_dir);
	xdp_edge_close(&edge);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verdict_is_sampled_as_it_was),
		cmocka_unit_test(icmp_is_sampled),
		cmocka_unit_test(nobody_looks_on),
		cmocka_unit_test(its_time_passes),
		cmocka_unit_test(only_what_is_asked_for),
		cmocka_unit_test(one_in_so_many),
		cmocka_unit_test(a_full_ring_is_counted),
		cmocka_unit_test(a_flood_of_drops_blinds_nobody),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(a_dead_one_is_waited_for),
		cmocka_unit_test(who_comes_too_late_is_told),
		cmocka_unit_test(flows_are_found),
		cmocka_unit_test(states_are_those_of_the_packet_path),
		cmocka_unit_test(erased_flows_are_decided_anew),
		cmocka_unit_test(nothing_pinned_is_told),
	};

	return cmocka_run_group_tests_name("monitor", tests, setup, teardown);
}
