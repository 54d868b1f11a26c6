/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What limits and floods cost: `make bench`. Rows of one run, IPv4, in the small world of
 * tests/bpf/xdp_edge.h (its geo table is hot; bench_xdp has cold ones).
 *
 *	bench_flood [-r ROUNDS] [-n PACKETS]
 *
 * established   1,024 known flows
 * flood_*       SYNs, ACKs or UDP packets, each of another random source
 * beside_*      packets of the established flows with as many of the flood between them: what one
 *		 of the former takes, the flood's own time taken off
 * Each without limits and with (_limited): of packets and new flows of clients and the service.
 * share: of the packets that were what the row says, of the established ones in beside_*. known:
 * of the established flows, how many still were when the floods were over.
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
#include "tests/bpf/packet.h"
#include "tests/bpf/xdp_edge.h"
#include "user/core/random.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	ESTABLISHED = 1024,
	FLOWS = 1 << 20, /* of the driver's array, which is gone through in turn */
	SYN = 0x02,
	ACK = 0x10,
	DROP = 0, /* places in the driver's table */
	EDGE = 1,
};

/* What the driver's array is filled with. */
enum mix { ONLY_ESTABLISHED, ONLY_FLOOD, BOTH, MIX__COUNT };
enum flood { FLOOD_SYN, FLOOD_ACK, FLOOD_UDP, FLOOD__COUNT };

static const char *const flood_names[] = {"syn", "ack", "udp"};

struct bench {
	struct xdp_edge edge;
	struct bpf_object *driver;
	struct bench_conf *conf;   /* mapped */
	struct bench_flow4 *flows; /* mapped */
	uint64_t seed;		   /* never set back: no source comes twice */
	uint32_t rounds, packets;
};

static void open_all(struct bench *bench)
{
	struct packet template = packet_build(&(struct packet_spec){.payload = 10});

	bench->driver = bench_driver_open(FLOWS, 0);
	bench->conf = bench_driver_map(bench->driver, "bench_conf", sizeof(*bench->conf));
	bench->flows =
		bench_driver_map(bench->driver, "bench_flows4", FLOWS * sizeof(*bench->flows));
	memcpy(bench->conf->frame, template.bytes, template.length);
	bench->conf->mask = FLOWS - 1;
	bench->conf->lap_shift = BENCH_NO_LAPS;
	xdp_edge_open_with(&bench->edge, GS_FLOW_BUCKETS_DEFAULT);
	bench_driver_set(bench->driver, DROP, bench_object_program(bench->driver, "bench_drop"));
	bench_driver_set(bench->driver, EDGE, bench->edge.prog_fd);
}

/* Limits nobody of the established meets, and the flood's sources neither: what is measured is
 * asking. The service's new flows are used up by it. */
static void set_limits(const struct bench *bench, bool is_limited)
{
	static const struct {
		uint8_t protocol;
		uint16_t port, service;
	} services[] = {{IPPROTO_TCP, 80, SERVICE_WEB4}, {IPPROTO_UDP, 53, SERVICE_DNS4}};

	for (int i = 0; i < 2; i++) {
		struct gs_service_key key = {.port = htons(services[i].port),
					     .protocol = services[i].protocol};
		struct gs_service_value value = {
			.service = services[i].service, .limit4 = 24, .limit6 = 48};

		packet_addr("198.51.100.10", (uint8_t *)key.addr);
		if (is_limited) {
			value.client_packets = 100000000;
			value.packets = 100000000;
			value.client_flows = 1000;
			value.flows = 100000;
		}
		xdp_edge_set(&bench->edge, GS_MAP_SERVICES, &key, &value);
	}
}

static struct bench_flow4 flood_flow(enum flood flood, uint64_t *seed)
{
	struct bench_flow4 flow = {.src = htonl(0x20000000 | (uint32_t)(gs_random(seed) >> 35)),
				   .src_port = (uint16_t)gs_random(seed)};

	flow.flags = flood == FLOOD_SYN ? SYN : ACK;
	flow.is_udp = flood == FLOOD_UDP;
	return flow;
}

static struct bench_flow4 established_flow(uint32_t i)
{
	i %= ESTABLISHED;
	return (struct bench_flow4){.src = htonl(0xc0000201 + i % 200),
				    .src_port = htons((uint16_t)(2000 + i)),
				    .flags = ACK};
}

static void fill(struct bench *bench, enum mix mix, enum flood flood)
{
	for (uint32_t i = 0; i < FLOWS; i++) {
		if (mix == ONLY_ESTABLISHED || (mix == BOTH && i % 2))
			bench->flows[i] = established_flow(i / (mix == BOTH ? 2 : 1));
		else
			bench->flows[i] = flood_flow(flood, &bench->seed);
	}
}

/* ns a packet, less the driver's own. */
static double run_target(const struct bench *bench, uint32_t target, uint32_t packets)
{
	struct packet packet = packet_build(&(struct packet_spec){.payload = 10});
	uint8_t out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes, .data_size_in = packet.length,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = (int)packets);

	bench->conf->target = target;
	bench->conf->next = 0;
	assert_int_equal(
		bpf_prog_test_run_opts(bench_object_program(bench->driver, "bench_drive4"), &opts),
		0);
	return opts.duration;
}

static double run(const struct bench *bench, uint32_t packets)
{
	double all = run_target(bench, EDGE, packets);

	return all - run_target(bench, DROP, packets);
}

/* Of one kind of flood, with limits or without; by round. */
struct part {
	struct bench_sample ns;
	double share; /* of packets that were what they should be */
};
struct result {
	struct part established, flood, beside;
	double known; /* share of the established flows, afterwards */
};

/* What the array holds, and of so many packets the share of those that met a flow. */
static double run_known(const struct bench *bench, uint32_t packets, double *ret_share)
{
	uint64_t before = bench_reason_packets(&bench->edge, GS_REASON_tx_flow);
	double ns = run(bench, packets);

	*ret_share =
		(double)(bench_reason_packets(&bench->edge, GS_REASON_tx_flow) - before) / packets;
	return ns;
}

/* One round; shares are added up. */
static void measure_round(struct bench *bench, enum flood flood, struct result *result)
{
	double share, flood_ns;

	fill(bench, ONLY_ESTABLISHED, flood);
	bench_add(&result->established.ns, run_known(bench, bench->packets, &share));
	result->established.share += share;
	fill(bench, ONLY_FLOOD, flood);
	flood_ns = run_known(bench, bench->packets, &share);
	bench_add(&result->flood.ns, flood_ns);
	result->flood.share += 1 - share;
	fill(bench, BOTH, flood);
	bench_add(&result->beside.ns, 2 * run_known(bench, bench->packets, &share) - flood_ns);
	result->beside.share += 2 * share;
}

static void measure(struct bench *bench, enum flood flood, bool is_limited, struct result *result)
{
	set_limits(bench, is_limited);
	fill(bench, ONLY_ESTABLISHED, flood);
	run(bench, 4 * ESTABLISHED); /* known and proven */
	for (uint32_t round = 0; round < bench->rounds; round++)
		measure_round(bench, flood, result);
	result->established.share /= bench->rounds;
	result->flood.share /= bench->rounds;
	result->beside.share /= bench->rounds;
	fill(bench, ONLY_ESTABLISHED, flood);
	run_known(bench, ESTABLISHED, &result->known); /* each once */
}

/* established: ns of that row, without limits. known < 0: says nothing of it. */
static void report_row(const struct bench *bench, const char *name, const struct part *part,
		       double established, double known)
{
	bench_report(&(struct bench_row){
		.bench = "flood",
		.variant = name,
		.value = &part->ns,
		.family = 4,
		.flows = ESTABLISHED,
		.ratio_to = "established_syn",
		.ratio_base = established,
		.has_share = true,
		.share = part->share,
		.packets = bench->packets,
		.more = {{known >= 0 ? "known" : NULL, known}},
	});
}

static void report(const struct bench *bench, enum flood flood, bool is_limited,
		   const struct result *result, double established)
{
	const char *kind = flood_names[flood], *with = is_limited ? "_limited" : "";
	char name[64];

	snprintf(name, sizeof(name), "established_%s%s", kind, with);
	report_row(bench, name, &result->established, established, -1);
	snprintf(name, sizeof(name), "flood_%s%s", kind, with);
	report_row(bench, name, &result->flood, established, -1);
	snprintf(name, sizeof(name), "beside_%s%s", kind, with);
	report_row(bench, name, &result->beside, established, result->known);
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_flood [-r ROUNDS] [-n PACKETS]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct bench bench = {.rounds = 5, .packets = FLOWS};
	static struct result results[FLOOD__COUNT][2];
	int option;

	while ((option = getopt(argc, argv, "r:n:")) != -1) {
		if (option == 'r')
			bench.rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			bench.packets = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return usage();
	}
	if (bench.rounds < 1 || bench.rounds > BENCH_ROUNDS_MAX || bench.packets < 2)
		return usage();
	bench_begin();
	open_all(&bench);
	bench_title("floods: beside 1,024 established flows; net of the driver (low .. high)");
	for (int flood = 0; flood < FLOOD__COUNT; flood++)
		for (int is_limited = 0; is_limited < 2; is_limited++) {
			struct result *result = &results[flood][is_limited];
			double first;

			measure(&bench, flood, is_limited, result);
			first = bench_median(&results[0][0].established.ns);
			report(&bench, (enum flood)flood, is_limited, result, first);
		}
	return 0;
}
