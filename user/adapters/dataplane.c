/* SPDX-License-Identifier: Apache-2.0 */
/* The dataplane port over the maps the loader pinned. How a publish goes: dataplane_publish.c. */
#include "dataplane.h"
#include "adapters.h"

#include "user/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void info(void *self, struct gs_dataplane_info *ret_info)
{
	const struct gs_dataplane_state *state = self;
	const struct gs_meta_value *meta = state->maps.meta;
	uint32_t slot = __atomic_load_n(&meta->active, __ATOMIC_ACQUIRE);
	struct gs_dataplane_info in_force = {.slot = slot};

	if (slot < GS_GENERATIONS) {
		in_force.generation = meta->generation[slot].number;
		in_force.digest = meta->generation[slot].digest;
		in_force.built_unix_s = (int64_t)meta->generation[slot].built_unix_s;
	}
	*ret_info = in_force;
}

static int publish(void *self, const struct gs_tables *tables, const struct gs_hop *hops,
		   struct gs_dataplane_info *ret_info, struct gs_error *error)
{
	struct gs_error ignored;
	int result = gs_dataplane_publish(self, tables, hops, error ? error : &ignored);

	if (result)
		return result;
	info(self, ret_info);
	return 0;
}

static void set_usable(void *self, enum gs_object_kind kind, uint32_t index,
		       struct gs_usable usable)
{
	gs_dataplane_word_set(self, kind, index, usable);
}

static struct gs_usable get_usable(void *self, enum gs_object_kind kind, uint32_t index)
{
	return gs_dataplane_word_get(self, kind, index);
}

static void set_fill(void *self, gs_id region, struct gs_fill fill)
{
	gs_dataplane_fill_set(self, region, fill);
}

static struct gs_fill get_fill(void *self, gs_id region)
{
	return gs_dataplane_fill_get(self, region);
}

static int set_hop(void *self, gs_id backend, const struct gs_hop *hop)
{
	struct gs_dataplane_state *state = self;
	struct gs_error ignored;
	int result;

	pthread_mutex_lock(&state->lock);
	result = gs_dataplane_hop_set(state, backend, hop, now_ns() / 1000000, &ignored);
	pthread_mutex_unlock(&state->lock);
	return result;
}

static bool carries(void *self, uint32_t ifindex)
{
	return gs_dataplane_links_carry(self, ifindex);
}

static int set_reach(void *self, const struct gs_reach_set *reach, struct gs_error *error)
{
	struct gs_dataplane_state *state = self;
	struct gs_error ignored;
	int result;

	pthread_mutex_lock(&state->lock);
	result = gs_dataplane_links_set(state, reach, error ? error : &ignored);
	pthread_mutex_unlock(&state->lock);
	return result;
}

static int count(void *self, struct gs_counters *ret_counters)
{
	return gs_dataplane_count(self, ret_counters);
}

static uint32_t told(void *self, struct gs_told *ret_told, uint32_t max)
{
	return gs_dataplane_tunnels_told(self, now_ns(), ret_told, max);
}

static int handshake_fd(void *self)
{
	return gs_dataplane_handshake_fd(self);
}

static uint32_t take_handshakes(void *self, struct gs_handshake *ret_handshakes, uint32_t most)
{
	return gs_dataplane_take_handshakes(self, ret_handshakes, most);
}

static void sample_handshakes(void *self, uint32_t one_in)
{
	gs_dataplane_sample_handshakes(self, one_in);
}

static int syns(void *self, gs_id backend, struct gs_syns *ret_syns)
{
	return gs_dataplane_syns(self, backend, ret_syns);
}

static uint32_t leases(void *self, struct gs_lease *ret_leases, uint32_t most)
{
	return gs_dataplane_leases(self, ret_leases, most);
}

static void end_lease(void *self, const struct gs_lease *lease, bool give_back)
{
	gs_dataplane_lease_end(self, lease, give_back);
}

static int demand(void *self, uint32_t slot, uint32_t first, uint32_t count, uint32_t *ret_flows)
{
	return gs_dataplane_demand(self, slot, first, count, ret_flows);
}

static int heartbeat(void *self)
{
	struct gs_dataplane_state *state = self;
	struct gs_error ignored;
	struct gs_meta_value *meta = state->maps.meta;

	__atomic_store_n(&meta->controller_pid, (__u32)getpid(), __ATOMIC_RELAXED);
	__atomic_store_n(&meta->heartbeat_ns, now_ns(), __ATOMIC_RELEASE);
	return gs_dataplane_maps_check(&state->maps, &ignored);
}

/* Nothing in the kernel changes: packets go on by the tables in force. */
static void close_dataplane(void *self)
{
	struct gs_dataplane_state *state = self;

	if (!state)
		return;
	for (int i = 0; i < GS_DATAPLANE_FAMILIES; i++)
		if (state->geo_fd[i] >= 0)
			close(state->geo_fd[i]);
	gs_dataplane_handshakes_close(state);
	gs_dataplane_maps_close(&state->maps);
	pthread_mutex_destroy(&state->lock);
	pthread_mutex_destroy(&state->words_lock);
	free(state);
}

static const struct gs_dataplane_ops ops = {
	.publish = publish,
	.set_usable = set_usable,
	.get_usable = get_usable,
	.set_fill = set_fill,
	.get_fill = get_fill,
	.set_hop = set_hop,
	.carries = carries,
	.set_reach = set_reach,
	.info = info,
	.count = count,
	.told = told,
	.handshake_fd = handshake_fd,
	.take_handshakes = take_handshakes,
	.sample_handshakes = sample_handshakes,
	.syns = syns,
	.leases = leases,
	.end_lease = end_lease,
	.demand = demand,
	.heartbeat = heartbeat,
	.close = close_dataplane,
};

int gs_dataplane_open(const char *pin_dir, struct gs_dataplane *ret_dataplane,
		      struct gs_error *error)
{
	struct gs_dataplane_state *state = calloc(1, sizeof(*state));
	struct gs_error ignored;
	int result;

	if (!error)
		error = &ignored;
	if (!state) {
		snprintf(error->text, sizeof(error->text), "dataplane: out of memory");
		return -ENOMEM;
	}
	for (int i = 0; i < GS_DATAPLANE_FAMILIES; i++)
		state->geo_fd[i] = -1;
	pthread_mutex_init(&state->lock, NULL);
	pthread_mutex_init(&state->words_lock, NULL);
	result = gs_dataplane_maps_open(pin_dir, &state->maps, error);
	if (result == 0)
		result = gs_dataplane_backends_read(state, now_ns() / 1000000, error);
	if (result == 0)
		result = gs_dataplane_services_read(state, error);
	if (result == 0)
		result = gs_dataplane_handshakes_open(state, error);
	if (result) {
		close_dataplane(state);
		return result;
	}
	gs_dataplane_geo_adopt(state);
	*ret_dataplane = (struct gs_dataplane){.ops = &ops, .self = state};
	return 0;
}
