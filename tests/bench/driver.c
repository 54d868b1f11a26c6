/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver.h"
#include "kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <sys/mman.h>

static void make_room(const struct bpf_object *driver, const char *map, uint32_t flows)
{
	if (flows)
		assert_int_equal(
			bpf_map__set_max_entries(bpf_object__find_map_by_name(driver, map), flows),
			0);
}

struct bpf_object *bench_driver_open(uint32_t flows4, uint32_t flows6)
{
	struct bpf_object *driver = bench_object_open("gs_bench.bpf.o");

	make_room(driver, "bench_flows4", flows4);
	make_room(driver, "bench_flows6", flows6);
	assert_int_equal(bpf_object__load(driver), 0);
	return driver;
}

void *bench_driver_map(const struct bpf_object *driver, const char *name, size_t bytes)
{
	int fd = bench_object_map(driver, name);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

void bench_driver_set(const struct bpf_object *driver, uint32_t place, int program_fd)
{
	int table = bench_object_map(driver, "bench_targets");

	assert_int_equal(bpf_map_update_elem(table, &place, &program_fd, 0), 0);
}

uint64_t bench_reason_packets(const struct xdp_edge *edge, enum gs_reason reason)
{
	static struct gs_count cpus[1024];
	uint32_t index = reason;
	uint64_t sum = 0;

	xdp_edge_get(edge, GS_MAP_COUNT_REASON, &index, cpus);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cpus[i].packets;
	return sum;
}
