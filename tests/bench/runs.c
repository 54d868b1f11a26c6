/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"
#include "gs_bench.h"
#include "kernel.h"
#include "user/core/random.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <string.h>

/* Clients of the geo tables. */
static void draw_flows(struct bench *bench)
{
	uint64_t seed = 7;
	uint32_t addr[4];

	for (uint32_t i = 0; i < MAX_FLOWS; i++) {
		bench_geo_draw(&bench->geo.family[0], &seed, addr);
		bench->flows4[i].src = addr[3];
		bench->flows4[i].src_port = (uint16_t)gs_random(&seed);
		bench_geo_draw(&bench->geo.family[1], &seed, bench->flows6[i].src);
		bench->flows6[i].src_port = (uint16_t)gs_random(&seed);
	}
}

void bench_open_driver(struct bench *bench)
{
	struct bpf_object *driver = bench_driver_open(MAX_FLOWS, MAX_FLOWS);

	bench->driver = driver;
	bench_driver_set(driver, ROW_DROP, bench_object_program(driver, "bench_drop"));
	bench_driver_set(driver, ROW_TX, bench_object_program(driver, "bench_tx"));
	bench_driver_set(driver, ROW_GROW, bench_object_program(driver, "bench_grow"));
	bench->conf = bench_driver_map(driver, "bench_conf", sizeof(*bench->conf));
	bench->flows4 =
		bench_driver_map(driver, "bench_flows4", MAX_FLOWS * sizeof(*bench->flows4));
	bench->flows6 =
		bench_driver_map(driver, "bench_flows6", MAX_FLOWS * sizeof(*bench->flows6));
	draw_flows(bench);
}

/* Whole laps: the next ones are of other flows again. */
static uint64_t first_of(struct bench *bench, const struct run *run)
{
	uint64_t first = bench->laps * run->flows;

	if (!run->is_fresh)
		return 0;
	bench->laps += (run->packets + run->flows - 1) / run->flows;
	return first;
}

uint32_t bench_run(struct bench *bench, const struct run *run)
{
	struct packet_spec spec = {.family = (uint8_t)run->family, .payload = 10};
	struct packet packet = run->frame ? *run->frame : packet_build(&spec);
	const char *driver = run->family == 4 ? "bench_drive4" : "bench_drive6";
	uint8_t out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes, .data_size_in = packet.length,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = (int)run->packets);

	assert_in_range(packet.length, 1, BENCH_FRAME_MAX);
	memcpy(bench->conf->frame, packet.bytes, packet.length);
	bench->conf->mask = run->flows - 1;
	bench->conf->target = run->row;
	bench->conf->flags = run->flags;
	bench->conf->next = first_of(bench, run);
	bench->conf->lap_shift =
		run->is_fresh ? (uint32_t)__builtin_ctz(run->flows) : BENCH_NO_LAPS;
	if (run->driver)
		driver = run->driver;
	assert_int_equal(bpf_prog_test_run_opts(bench_object_program(bench->driver, driver), &opts),
			 0);
	assert_int_equal(opts.retval, run->row == ROW_DROP ? XDP_DROP : XDP_TX);
	return opts.duration;
}
