/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds a packet, net of the driver: `make bench`. README.md says how to read them.
 *
 *	bench_xdp [-r ROUNDS] [-n PACKETS] [-f FLOWS | -l FLOWS | -m] [-4] [-g MMDB]
 *
 * -f: only this many flows, 1, 1024, 65536 or 1048576. -l: no more than so many. -m: instead, the
 *ways packets can go (modes.c). -4: only IPv4. Without -g: a synthetic geo table of a city
 *database's size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"
#include "gs_bench.h"
#include "kernel.h"

#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const row_names[ROW__COUNT] = {
	"baseline",	 "xdp_tx",	"grow_20_tx", "floor", "classical_established",
	"classical_new", "established", "new"};
static const uint32_t flow_counts[] = {1, 1024, 65536, MAX_FLOWS};

/* What a row's net figure is compared with; itself: nothing. */
static const enum row ratio_to[ROW__COUNT] = {
	[ROW_DROP] = ROW_DROP,
	[ROW_TX] = ROW_TX,
	[ROW_GROW] = ROW_GROW,
	[ROW_FLOOR] = ROW_FLOOR,
	[ROW_CLASSICAL_KNOWN] = ROW_FLOOR,
	[ROW_CLASSICAL_NEW] = ROW_FLOOR,
	[ROW_ESTABLISHED] = ROW_CLASSICAL_KNOWN,
	[ROW_NEW] = ROW_CLASSICAL_NEW,
};

struct result {
	struct bench_sample ns[ROW__COUNT];
	double share[ROW__COUNT]; /* of packets that were what the row says */
};

static bool is_new(enum row row)
{
	return row == ROW_NEW || row == ROW_CLASSICAL_NEW;
}

/* SYNs of flows that nobody proved are decided each time; ACKs prove their flow. */
static uint8_t flags_of(enum row row)
{
	return is_new(row) ? 0x02 : 0x10;
}

/* So far, those that were what the row says. */
static uint64_t such_packets(const struct bench *bench, enum row row)
{
	if (row == ROW_CLASSICAL_KNOWN || row == ROW_CLASSICAL_NEW)
		return bench_rivals_packets(&bench->rivals,
					    is_new(row) ? BENCH_COUNT_NEW : BENCH_COUNT_KNOWN);
	return bench_reason_packets(&bench->edge[is_new(row)],
				    is_new(row) ? GS_REASON_tx_new : GS_REASON_tx_flow);
}

static void measure_row(struct bench *bench, struct run *r, struct result *result)
{
	uint64_t before = r->row >= ROW_CLASSICAL_KNOWN ? such_packets(bench, r->row) : 0;

	r->flags = flags_of(r->row);
	bench_add(&result->ns[r->row], bench_run(bench, r));
	if (r->row >= ROW_CLASSICAL_KNOWN)
		result->share[r->row] += (double)(such_packets(bench, r->row) - before) /
					 bench->packets / bench->rounds;
}

static void open_rivals(struct bench *bench, uint32_t flows)
{
	bench_rivals_open(&bench->rivals, &bench->geo, bench_buckets_for(flows) * GS_FLOW_WAYS,
			  REGIONS);
	bench_driver_set(bench->driver, ROW_FLOOR,
			 bench_object_program(bench->rivals.object, "bench_floor"));
	for (enum row row = ROW_CLASSICAL_KNOWN; row <= ROW_CLASSICAL_NEW; row++)
		bench_driver_set(bench->driver, row,
				 bench_object_program(bench->rivals.object, "bench_classical"));
}

static void measure(struct bench *bench, int family, uint32_t flows, struct result *ret_result)
{
	struct run r = {.family = family, .flows = flows};

	memset(ret_result, 0, sizeof(*ret_result));
	open_rivals(bench, flows);
	for (r.row = ROW_CLASSICAL_KNOWN; r.row <= ROW_NEW; r.row++) {
		if (r.row >= ROW_ESTABLISHED)
			bench_open_edge(bench, r.row, flows);
		r.flags = flags_of(r.row);
		r.packets = flows; /* each, and twice to prove it */
		bench_run(bench, &r);
		bench_run(bench, &r);
	}
	r.packets = bench->packets;
	for (uint32_t round = 0; round < bench->rounds; round++)
		for (r.row = ROW_DROP; r.row < ROW__COUNT; r.row++)
			measure_row(bench, &r, ret_result);
}

static void report(const struct bench *bench, int family, uint32_t flows,
		   const struct result *result)
{
	const struct bench_sample *drop = &result->ns[ROW_DROP];

	for (enum row row = ROW_DROP; row < ROW__COUNT; row++) {
		enum row base = ratio_to[row];

		bench_report(&(struct bench_row){
			.bench = "xdp",
			.variant = row_names[row],
			.value = &result->ns[row],
			.baseline = drop,
			.family = (uint32_t)family,
			.flows = flows,
			.prefixes = bench->geo.family[family == 6].prefixes,
			.ratio_to = base == row ? NULL : row_names[base],
			.ratio_base = bench_median(&result->ns[base]) - bench_median(drop),
			.has_share = row >= ROW_CLASSICAL_KNOWN,
			.share = result->share[row],
			.packets = bench->packets,
			.text_name = "geo",
			.text = bench->geo.name,
			.more = {{"flow_buckets", bench_buckets_for(flows)}},
		});
	}
}

static void measure_flows(struct bench *bench, uint32_t least, uint32_t most, int last_family)
{
	static struct result result;

	for (unsigned i = 0; i < sizeof(flow_counts) / sizeof(flow_counts[0]); i++)
		for (int family = 4; family <= last_family; family += 2) {
			if (flow_counts[i] < least || flow_counts[i] > most)
				continue;
			measure(bench, family, flow_counts[i], &result);
			report(bench, family, flow_counts[i], &result);
		}
}

static void close_all(struct bench *bench)
{
	for (int i = 0; i < 2; i++)
		if (bench->edge[i].object)
			xdp_edge_close(&bench->edge[i]);
	bpf_object__close(bench->rivals.object);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: bench_xdp [-r ROUNDS] [-n PACKETS] [-f FLOWS | -l FLOWS | -m] [-4] [-g MMDB]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct bench bench = {.rounds = 5, .packets = MAX_FLOWS, .laps = 1};
	int option, last_family = 6;
	const char *geo = NULL;
	bool modes = false;
	uint32_t least = 0, most = MAX_FLOWS;

	while ((option = getopt(argc, argv, "r:n:f:l:g:m4")) != -1) {
		if (option == 'r')
			bench.rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			bench.packets = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'f')
			least = most = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'l')
			most = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'g')
			geo = optarg;
		else if (option == 'm')
			modes = true;
		else if (option == '4')
			last_family = 4;
		else
			return usage();
	}
	if (bench.rounds < 1 || bench.rounds > BENCH_ROUNDS_MAX || bench.packets < 1)
		return usage();
	bench_begin();
	bench_geo_open(&bench.geo, geo);
	bench_open_driver(&bench);
	bench_title("packets: geo %s, %llu + %llu prefixes; net of the driver (low .. high)",
		    bench.geo.name, (unsigned long long)bench.geo.family[0].prefixes,
		    (unsigned long long)bench.geo.family[1].prefixes);
	if (modes) {
		for (int family = 4; family <= last_family; family += 2)
			bench_modes(&bench, family);
	} else {
		open_rivals(&bench, 1);
		bench_rivals_check(&bench.rivals, &bench.geo, REGIONS);
		measure_flows(&bench, least, most, last_family);
	}
	close_all(&bench);
	return 0;
}
