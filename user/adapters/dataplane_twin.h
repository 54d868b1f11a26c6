/* SPDX-License-Identifier: Apache-2.0 */
/* The twin from inside. For dataplane*.c only. */
#pragma once

#include "maps/gs_maps.h"
#include "user/adapters/twin.h"

#include <linux/bpf.h>

struct bpf_object;
struct ring_buffer;

struct gs_twin {
	char pin_dir[GS_PATH_MAX];
	struct bpf_object *object;
	struct ring_buffer *ring; /* of its own samples */
	int prog_fd;
	int limits_fd; /* the edge's */
	char tag[2 * BPF_TAG_SIZE + 1];
	struct gs_twin_interface in;
	struct gs_meta_value meta; /* the edge's, when the last packet was run */
	struct gs_sample sample;   /* of that packet; length 0: none came */
};

/* The twin's own, or shared. -1: there is none. */
int gs_twin_map(const struct gs_twin *twin, const char *name);

/* A sample in words (dataplane_sampler.c). unix_offset_us: of CLOCK_MONOTONIC. */
struct gs_sampled gs_dataplane_sampled(const struct gs_sample *sample, int64_t unix_offset_us);
