/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel.h"
#include "report.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 30000 };

/* ---- objects ---------------------------------------------------------------------------------*/

struct bpf_object *bench_object_open(const char *name)
{
	const char *build = getenv("BUILD");
	struct bpf_object *object;
	char path[256];

	snprintf(path, sizeof(path), "%s/bpf/%s", build ? build : "build", name);
	object = bpf_object__open_file(path, NULL);
	assert_non_null(object);
	return object;
}

static bool is_kept(const char *name, const char *const *others)
{
	if (strncmp(name, "bench_", 6) == 0 || name[0] == '.' || strchr(name, '.'))
		return true;
	for (; *others; others++)
		if (strcmp(name, *others) == 0)
			return true;
	return false;
}

void bench_object_keep(struct bpf_object *object, const char *const *others)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) if (!is_kept(bpf_map__name(map), others))
		assert_int_equal(bpf_map__set_autocreate(map, false), 0);
}

int bench_object_map(const struct bpf_object *object, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);

	assert_true(fd >= 0);
	return fd;
}

int bench_object_program(const struct bpf_object *object, const char *name)
{
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, name));

	assert_true(fd >= 0);
	return fd;
}

/* ---- what they take --------------------------------------------------------------------------*/

int bench_inner_map(int outer_fd, uint32_t at)
{
	uint32_t id;
	int fd;

	assert_int_equal(bpf_map_lookup_elem(outer_fd, &at, &id), 0);
	fd = bpf_map_get_fd_by_id(id);
	assert_true(fd >= 0);
	return fd;
}

/* The number behind a name in a file of the kernel's; 0: it is not there. */
static uint64_t number_in(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	size_t length = strlen(name);
	uint64_t found = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, length) == 0 && line[length] == ':')
			found = strtoull(line + length + 1, NULL, 10);
	fclose(file);
	return found;
}

uint64_t bench_map_bytes(int map_fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map_fd);
	return number_in(path, "memlock");
}

uint32_t bench_verified_instructions(int program_fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(program_fd, &info, &size), 0);
	return info.verified_insns;
}

double bench_close_and_wait(int map_fd, uint64_t bytes)
{
	uint64_t before_kb = number_in("/proc/meminfo", "MemFree");
	double began_ms = bench_now_ms(), took_ms;

	close(map_fd);
	do {
		took_ms = bench_now_ms() - began_ms;
		if (number_in("/proc/meminfo", "MemFree") >= before_kb + bytes / 1024 / 10 * 9)
			return took_ms;
		poll(NULL, 0, 1);
	} while (took_ms < WAIT_MS);
	return 0;
}
