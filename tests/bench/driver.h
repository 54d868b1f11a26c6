/* SPDX-License-Identifier: Apache-2.0 */
/* The driver (gs_bench.bpf.c) as its runners have it, and what they all count by. Asserts
 * inside. */
#pragma once

#include "maps/gs_maps.h"
#include "tests/bpf/xdp_edge.h"

#include <stddef.h>
#include <stdint.h>

struct bpf_object;

/* Loaded, with room for so many flows of each family; 0: as many as it comes with. */
struct bpf_object *bench_driver_open(uint32_t flows4, uint32_t flows6);
/* Mapped for good. */
void *bench_driver_map(const struct bpf_object *driver, const char *name, size_t bytes);
/* The program that place of its table calls. */
void bench_driver_set(const struct bpf_object *driver, uint32_t place, int program_fd);
/* Of all CPUs. */
uint64_t bench_reason_packets(const struct xdp_edge *edge, enum gs_reason reason);
