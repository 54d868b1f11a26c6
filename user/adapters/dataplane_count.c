/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#define REASON_NAME(name, verdict, text) #name,
static const char *const reason_names[GS_REASON__COUNT] = {GS_REASONS(REASON_NAME)};
#undef REASON_NAME

struct reader {
	const struct gs_dataplane_state *state;
	struct gs_count *cpus; /* one look-up's worth */
	int cpu_count;
};

/* Sum of one entry over the CPUs. */
static int read_one(const struct reader *reader, enum gs_dataplane_map map, uint32_t index,
		    struct gs_count *ret_count)
{
	struct gs_count sum = {0};

	if (bpf_map_lookup_elem(reader->state->maps.fd[map], &index, reader->cpus))
		return -errno;
	for (int cpu = 0; cpu < reader->cpu_count; cpu++) {
		sum.packets += reader->cpus[cpu].packets;
		sum.bytes += reader->cpus[cpu].bytes;
	}
	*ret_count = sum;
	return 0;
}

/* Entries first .. limit - 1 that exist (exists NULL: all do) and are not zero. */
static int read_map(const struct reader *reader, enum gs_dataplane_map map, uint32_t first,
		    uint32_t limit, const bool *exists, struct gs_counter **ret_counters,
		    uint32_t *ret_count)
{
	GS_AUTO_FREE struct gs_counter *counters = calloc(limit, sizeof(*counters));
	uint32_t count = 0;
	int result;

	if (!counters)
		return -ENOMEM;
	for (uint32_t index = first; index < limit; index++) {
		struct gs_count sum = {0};

		if (exists && !exists[index])
			continue;
		result = read_one(reader, map, index, &sum);
		if (result)
			return result;
		if (sum.packets == 0 && sum.bytes == 0)
			continue;
		counters[count++] = (struct gs_counter){
			.name = map == GS_DATAPLANE_COUNT_REASON ? reason_names[index] : NULL,
			.id = map == GS_DATAPLANE_COUNT_REASON ? 0 : (gs_id)index,
			.packets = sum.packets,
			.bytes = sum.bytes,
		};
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
	cpus = calloc((size_t)reader.cpu_count, sizeof(*cpus));
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
