/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define REASON_NAME(name, verdict, text) #name,
static const char *const reason_names[GS_REASON__COUNT] = {GS_REASONS(REASON_NAME)};
#undef REASON_NAME

enum { CHUNK = 128 };

struct reader {
	const struct gs_dataplane_state *state;
	struct gs_count *cpus; /* a chunk's entries, each on every CPU */
	int cpu_count;
};

/* Entries first .. first + count - 1, into reader->cpus. A system call an entry costs 10 ms. */
static int read_chunk(const struct reader *reader, enum gs_dataplane_map map, uint32_t first,
		      uint32_t count)
{
	uint32_t before = first - 1, next, keys[CHUNK], got = count;

	/* It goes on behind the key it is given; at the map's end it says that there is no more. */
	if (bpf_map_lookup_batch(reader->state->maps.fd[map], first > 0 ? &before : NULL, &next,
				 keys, reader->cpus, &got, NULL) &&
	    errno != ENOENT)
		return -errno;
	return got == count ? 0 : -EIO;
}

static struct gs_count sum_entry(const struct reader *reader, uint32_t at)
{
	const struct gs_count *cpus = &reader->cpus[(size_t)at * (size_t)reader->cpu_count];
	struct gs_count sum = {0};

	for (int cpu = 0; cpu < reader->cpu_count; cpu++) {
		sum.packets += cpus[cpu].packets;
		sum.bytes += cpus[cpu].bytes;
	}
	return sum;
}

static bool has_any(const bool *exists, uint32_t first, uint32_t end)
{
	for (uint32_t index = first; exists && index < end; index++)
		if (exists[index])
			return true;
	return !exists;
}

/* Entries first .. limit - 1 that exist (exists NULL: all do) and are not zero. */
static int read_map(const struct reader *reader, enum gs_dataplane_map map, uint32_t first,
		    uint32_t limit, const bool *exists, struct gs_counter **ret_counters,
		    uint32_t *ret_count)
{
	GS_AUTO_FREE struct gs_counter *counters = calloc(limit, sizeof(*counters));
	uint32_t count = 0, end;
	int result;

	if (!counters)
		return -ENOMEM;
	for (; first < limit; first = end) {
		end = limit - first > CHUNK ? first + CHUNK : limit;
		if (!has_any(exists, first, end))
			continue;
		result = read_chunk(reader, map, first, end - first);
		if (result)
			return result;
		for (uint32_t index = first; index < end; index++) {
			struct gs_count sum = sum_entry(reader, index - first);

			if ((exists && !exists[index]) || (sum.packets == 0 && sum.bytes == 0))
				continue;
			counters[count++] = (struct gs_counter){
				.name = map == GS_DATAPLANE_COUNT_REASON ? reason_names[index]
									 : NULL,
				.id = map == GS_DATAPLANE_COUNT_REASON ? 0 : (gs_id)index,
				.packets = sum.packets,
				.bytes = sum.bytes,
			};
		}
	}
	*ret_counters = gs_take_ptr(counters);
	*ret_count = count;
	return 0;
}

struct presence {
	bool services[GS_MAX_SERVICES];
	bool backends[GS_MAX_BACKENDS];
};

static int read_all(const struct reader *reader, const struct presence *presence,
		    struct gs_counters *counters)
{
	int result = read_map(reader, GS_DATAPLANE_COUNT_REASON, 0, GS_REASON__COUNT, NULL,
			      &counters->reasons, &counters->reason_count);

	if (result == 0)
		result =
			read_map(reader, GS_DATAPLANE_COUNT_SERVICE, 1, GS_MAX_SERVICES,
				 presence->services, &counters->services, &counters->service_count);
	if (result == 0)
		result = read_map(reader, GS_DATAPLANE_COUNT_REGION, 1, GS_MAX_REGIONS, NULL,
				  &counters->regions, &counters->region_count);
	if (result == 0)
		result =
			read_map(reader, GS_DATAPLANE_COUNT_BACKEND, 1, GS_MAX_BACKENDS,
				 presence->backends, &counters->backends, &counters->backend_count);
	return result;
}

int gs_dataplane_count(struct gs_dataplane_state *state, struct gs_counters *ret_counters)
{
	struct gs_counters counters = {0};
	struct reader reader = {.state = state, .cpu_count = libbpf_num_possible_cpus()};
	GS_AUTO_FREE struct presence *presence = malloc(sizeof(*presence));
	GS_AUTO_FREE struct gs_count *cpus = NULL;
	int result;

	if (reader.cpu_count <= 0)
		return reader.cpu_count ? reader.cpu_count : -EINVAL;
	cpus = calloc((size_t)reader.cpu_count * CHUNK, sizeof(*cpus));
	if (!presence || !cpus)
		return -ENOMEM;
	reader.cpus = cpus;
	pthread_mutex_lock(&state->lock);
	for (uint32_t id = 0; id < GS_MAX_SERVICES; id++)
		presence->services[id] = state->has_service[id];
	for (uint32_t id = 0; id < GS_MAX_BACKENDS; id++)
		presence->backends[id] = state->backends.value[id].mode != GS_FORWARD_NONE;
	pthread_mutex_unlock(&state->lock);
	result = read_all(&reader, presence, &counters);
	if (result) {
		free(counters.reasons);
		free(counters.services);
		free(counters.regions);
		free(counters.backends);
		return result;
	}
	*ret_counters = counters;
	return 0;
}
