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

#include "driver.h"
#include "gs_bench.h"
#include "kernel.h"
#include "maps/gs_maps.h"
#include "report.h"
#include "tests/bpf/packet_cases.h"
#include "tests/bpf/xdp_edge.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PART = 8, DROP = 0, EDGE = 1 /* places in the driver's table */ };

struct bench {
	struct xdp_edge edge;
	struct bpf_object *driver;
	struct bench_conf *conf; /* mapped */
	uint32_t rounds, packets;
};

static void open_all(struct bench *bench)
{
	bench->driver = bench_driver_open(0, 0);
	bench->conf = bench_driver_map(bench->driver, "bench_conf", sizeof(*bench->conf));
	xdp_edge_open_with(&bench->edge, GS_FLOW_BUCKETS_DEFAULT);
	bench_driver_set(bench->driver, DROP, bench_object_program(bench->driver, "bench_drop"));
	bench_driver_set(bench->driver, EDGE, bench->edge.prog_fd);
}

/* ns a packet, driver included. */
static uint32_t run(const struct bench *bench, const struct packet *packet, uint32_t target)
{
	uint8_t out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out, .data_size_out = sizeof(out),
		    .repeat = (int)bench->packets);

	bench->conf->target = target;
	assert_int_equal(bpf_prog_test_run_opts(
				 bench_object_program(bench->driver, "bench_drive_case"), &opts),
			 0);
	return opts.duration;
}

/* As the row says; a packet that proves its flow finds it from the second time on. */
static uint64_t such_packets(const struct bench *bench, const struct packet_case *c)
{
	return bench_reason_packets(&bench->edge, c->want) +
	       (c->want == GS_REASON_tx_new ? bench_reason_packets(&bench->edge, GS_REASON_tx_flow)
					    : 0);
}

static void measure(const struct bench *bench, const struct packet_case *c)
{
	struct packet packet = packet_case_build(c);
	uint64_t before = such_packets(bench, c);
	struct bench_sample ns = {0}, drop = {0};

	assert_in_range(packet.length, 1, BENCH_FRAME_MAX);
	memcpy(bench->conf->frame, packet.bytes, packet.length);
	bench->conf->bytes = packet.length;
	for (uint32_t round = 0; round < bench->rounds; round++) {
		bench_add(&drop, run(bench, &packet, DROP));
		bench_add(&ns, run(bench, &packet, EDGE));
	}
	bench_report(&(struct bench_row){
		.bench = "case",
		.variant = c->name,
		.value = &ns,
		.baseline = &drop,
		.family = c->spec.family == 6 ? 6 : 4,
		.has_share = true,
		.share = (double)(such_packets(bench, c) - before) / bench->packets / bench->rounds,
		.packets = bench->packets,
		.text_name = "reason",
		.text = edge_reason_name(c->want),
		.more = {{"bytes", packet.length}},
	});
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
	if (bench.rounds < 1 || bench.rounds > BENCH_ROUNDS_MAX || bench.packets < 1)
		return usage();
	bench_begin();
	open_all(&bench);
	bench_title("packets of the packet tests, one again and again (low .. high)");
	/* later fragments are refused as long as no first one was forwarded */
	for (size_t i = 0; i < packet_cases_refused_count; i++)
		measure(&bench, &packet_cases_refused[i]);
	for (size_t i = 0; i < packet_cases_forwarded_count; i++)
		measure(&bench, &packet_cases_forwarded[i]);
	return 0;
}
