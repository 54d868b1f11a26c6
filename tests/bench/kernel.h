/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of maps and programs. Asserts inside. */
#pragma once

#include <stdint.h>

struct bpf_object;

/* The object's file of this build, opened and not loaded. */
struct bpf_object *bench_object_open(const char *name);
/* Only maps whose names begin with "bench_", or are among these (NULL at the end), are made: the
 * others come with bpf/'s headers and are asked by nothing. */
void bench_object_keep(struct bpf_object *object, const char *const *others);
int bench_object_map(const struct bpf_object *object, const char *name);
int bench_object_program(const struct bpf_object *object, const char *name);

/* What is in place `at` of an array of maps: a file descriptor, the caller's. */
int bench_inner_map(int outer_fd, uint32_t at);
/* Bytes a map takes, as its fdinfo has it: an array's, or those of all entries. */
uint64_t bench_map_bytes(int map_fd);
/* Instructions that the verifier went through. */
uint32_t bench_verified_instructions(int program_fd);
/* Closes the map's last descriptor and waits until nine tenths of these bytes are free again: ms,
 * the kernel's grace period included; 0: it took longer than half a minute, or others took
 * memory meanwhile. */
double bench_close_and_wait(int map_fd, uint64_t bytes);
