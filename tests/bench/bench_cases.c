/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each packet of the tables the packet tests send (tests/bpf/packet_cases.h), again and again: what
 * it takes, with everything in the cache. `make bench`.
 *
 *	bench_cases [-r ROUNDS] [-n PACKETS]
 *
 * Rows are many: each is given an eighth of PACKETS.
 * JSON, a line a row, on standard output; a table for people on standard error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gs_bench.h"
#include "maps/gs_maps.h"
#include "tests/bpf/packet_cases.h"
#include "tests/bpf/xdp_edge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_ROUNDS = 31, PART = 8, DROP = 0, EDGE = 1 /* places in the driver's table */ };

struct bench {
	struct xdp_edge edge;
	struct bpf_object *driver;
	struct bench_conf *conf; /* mapped */
	uint32_t rounds, packets;
};

static int driver_fd(const struct bench *bench, const char *program)
{
	return bpf_program__fd(bpf_object__find_program_by_name(bench->driver, program));
}

static void set_target(const struct bench *bench, uint32_t target, int fd)
{
	int targets = bpf_object__find_map_fd_by_name(bench->driver, "bench_targets");

	assert_int_equal(bpf_map_update_elem(targets, &target, &fd, 0), 0);
}

static void open_all(struct bench *bench)
{
	const char *build = getenv("BUILD");
	char path[256];
	void *memory;

	snprintf(path, sizeof(path), "%s/bpf/gs_bench.bpf.o", build ? build : "build");
	bench->driver = bpf_object__open_file(path, NULL);
	assert_non_null(bench->driver);
	assert_int_equal(bpf_object__load(bench->driver), 0);
	memory = mmap(NULL, sizeof(*bench->conf), PROT_READ | PROT_WRITE, MAP_SHARED,
		      bpf_object__find_map_fd_by_name(bench->driver, "bench_conf"), 0);
	assert_true(memory != MAP_FAILED);
	bench->conf = memory;
	xdp_edge_open_with(&bench->edge, GS_FLOW_BUCKETS_DEFAULT);
	set_target(bench, DROP, driver_fd(bench, "bench_drop"));
	set_target(bench, EDGE, bench->edge.prog_fd);
}

/* ns a packet, driver included. */
static uint32_t run(const struct bench *bench, const struct packet *packet, uint32_t target)
{
	uint8_t out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out, .data_size_out = sizeof(out),
		    .repeat = (int)bench->packets);

	bench->conf->target = target;
	assert_int_equal(bpf_prog_test_run_opts(driver_fd(bench, "bench_drive_case"), &opts), 0);
	return opts.duration;
}

static uint64_t reason_packets(const struct bench *bench, enum gs_reason reason)
{
	static struct gs_count cpus[1024];
	uint32_t index = reason;
	uint64_t sum = 0;

	xdp_edge_get(&bench->edge, GS_MAP_COUNT_REASON, &index, cpus);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cpus[i].packets;
	return sum;
}

/* As the row says; a packet that proves its flow finds it from the second time on. */
static uint64_t such_packets(const struct bench *bench, const struct packet_case *c)
{
	return reason_packets(bench, c->want) +
	       (c->want == GS_REASON_tx_new ? reason_packets(bench, GS_REASON_tx_flow) : 0);
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static void measure(const struct bench *bench, const struct packet_case *c)
{
	uint32_t ns[MAX_ROUNDS], drop[MAX_ROUNDS], middle = bench->rounds / 2;
	struct packet packet = packet_case_build(c);
	uint64_t before = such_packets(bench, c);
	double net, share;

	assert_in_range(packet.length, 1, BENCH_FRAME_MAX);
	memcpy(bench->conf->frame, packet.bytes, packet.length);
	bench->conf->bytes = packet.length;
	for (uint32_t round = 0; round < bench->rounds; round++) {
		drop[round] = run(bench, &packet, DROP);
		ns[round] = run(bench, &packet, EDGE);
	}
	share = (double)(such_packets(bench, c) - before) / bench->packets / bench->rounds;
	qsort(ns, bench->rounds, sizeof(*ns), compare);
	qsort(drop, bench->rounds, sizeof(*drop), compare);
	net = (double)ns[middle] - drop[middle];
	printf("{\"row\":\"case\",\"case\":\"%s\",\"reason\":\"%s\",\"family\":%d,\"bytes\":%u,"
	       "\"ns_net\":%.0f,\"ns\":%u,\"ns_low\":%u,\"ns_high\":%u,\"ns_baseline\":%u,"
	       "\"share\":%.4f,\"rounds\":%u,\"packets\":%u}\n",
	       c->name, edge_reason_name(c->want), c->spec.family == 6 ? 6 : 4, packet.length, net,
	       ns[middle], ns[0], ns[bench->rounds - 1], drop[middle], share, bench->rounds,
	       bench->packets);
	fprintf(stderr, "  %-50s %-18s %6.0f %6u .. %-6u %8.2f %%\n", c->name,
		edge_reason_name(c->want), net, ns[0], ns[bench->rounds - 1], share * 100);
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_cases [-r ROUNDS] [-n PACKETS]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct bench bench = {.rounds = 5, .packets = (1 << 20) / PART};
	int option;

	while ((option = getopt(argc, argv, "r:n:")) != -1) {
		if (option == 'r')
			bench.rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			bench.packets = (uint32_t)strtoul(optarg, NULL, 10) / PART;
		else
			return usage();
	}
	if (bench.rounds < 1 || bench.rounds > MAX_ROUNDS || bench.packets < 1)
		return usage();
	open_all(&bench);
	fprintf(stderr, "  %-50s %-18s %6s %16s %10s\n", "packet", "reason", "ns net",
		"ns low .. high", "such");
	/* later fragments are refused as long as no first one was forwarded */
	for (size_t i = 0; i < packet_cases_refused_count; i++)
		measure(&bench, &packet_cases_refused[i]);
	for (size_t i = 0; i < packet_cases_forwarded_count; i++)
		measure(&bench, &packet_cases_forwarded[i]);
	return 0;
}
