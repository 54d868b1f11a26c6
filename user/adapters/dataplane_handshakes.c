/* SPDX-License-Identifier: Apache-2.0 */
/* What packets tell of handshakes and of new flows (bpf/handshake.h). */
#include "dataplane.h"

#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where the ring buffer's events go during one take. */
struct basket {
	struct gs_handshake *handshakes;
	uint32_t count, most;
};

static struct gs_handshake handshake_of(const struct gs_handshake_event *event)
{
	static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};
	struct gs_handshake handshake = {
		.rtt_us = event->rtt_us,
		.service = event->service,
		.region = event->region,
		.backend = event->backend,
		.location = event->location,
		.client = {.length = event->family == 4 ? 24 : 48, .is_v4 = event->family == 4},
	};
	uint8_t *bytes = handshake.client.addr.bytes;

	if (event->family == 4) {
		memcpy(bytes, v4_prefix, sizeof(v4_prefix));
		memcpy(bytes + sizeof(v4_prefix), event->prefix, 3);
	} else {
		memcpy(bytes, event->prefix, sizeof(event->prefix));
	}
	return handshake;
}

/* A negative result ends the ring buffer's turn; the event it was called with is taken all the
 * same. */
static int on_event(void *context, void *data, size_t size)
{
	struct basket *basket = context;

	if (size >= sizeof(struct gs_handshake_event))
		basket->handshakes[basket->count++] = handshake_of(data);
	return basket->count < basket->most ? 0 : -ENOSPC;
}

static int on_event_of_state(void *context, void *data, size_t size)
{
	const struct gs_dataplane_state *state = context;

	return on_event(state->basket, data, size);
}

int gs_dataplane_handshakes_open(struct gs_dataplane_state *state, struct gs_error *error)
{
	int fd = state->maps.fd[GS_DATAPLANE_EVENTS];

	state->events = ring_buffer__new(fd, on_event_of_state, state, NULL);
	if (!state->events)
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_EVENTS, "reading it");
	return 0;
}

void gs_dataplane_handshakes_close(struct gs_dataplane_state *state)
{
	ring_buffer__free(state->events);
	state->events = NULL;
}

int gs_dataplane_handshake_fd(const struct gs_dataplane_state *state)
{
	return ring_buffer__epoll_fd(state->events);
}

uint32_t gs_dataplane_take_handshakes(struct gs_dataplane_state *state,
				      struct gs_handshake *ret_handshakes, uint32_t most)
{
	struct basket basket = {.handshakes = ret_handshakes, .most = most};

	if (most == 0)
		return 0;
	state->basket = &basket;
	ring_buffer__consume(state->events);
	state->basket = NULL;
	return basket.count;
}

void gs_dataplane_sample_handshakes(struct gs_dataplane_state *state, uint32_t one_in)
{
	__atomic_store_n(&state->maps.meta->handshake_one_in, one_in, __ATOMIC_RELAXED);
}

int gs_dataplane_syns(const struct gs_dataplane_state *state, gs_id backend,
		      struct gs_syns *ret_syns)
{
	int cpu_count = libbpf_num_possible_cpus();
	GS_AUTO_FREE struct gs_syn_count *cpus = NULL;
	struct gs_syns sum = {0};
	uint32_t index = backend;

	if (cpu_count <= 0)
		return cpu_count ? cpu_count : -EINVAL;
	cpus = calloc((size_t)cpu_count, sizeof(*cpus));
	if (!cpus)
		return -ENOMEM;
	if (bpf_map_lookup_elem(state->maps.fd[GS_DATAPLANE_COUNT_SYN], &index, cpus))
		return -errno;
	for (int cpu = 0; cpu < cpu_count; cpu++) {
		sum.opened += cpus[cpu].syns;
		sum.repeated += cpus[cpu].repeated;
		sum.measured += cpus[cpu].measured;
		sum.lost += cpus[cpu].lost;
		sum.resets += cpus[cpu].resets;
	}
	*ret_syns = sum;
	return 0;
}

/* ---- demand ---------------------------------------------------------------------------------- */

static uint32_t *bank_of(const struct gs_dataplane_state *state, uint32_t slot)
{
	const struct gs_meta_value *meta = state->maps.meta;
	uint32_t bank = __atomic_load_n(&meta->demand_bank[slot], __ATOMIC_RELAXED);

	return state->maps.demand + (size_t)(bank % GS_DEMAND_BANKS) * GS_DEMAND_ENTRIES;
}

int gs_dataplane_demand(const struct gs_dataplane_state *state, uint32_t slot, uint32_t first,
			uint32_t count, uint32_t *ret_flows)
{
	const uint32_t *bank;

	if (slot >= GS_GENERATIONS)
		return -EINVAL;
	if (first > GS_DEMAND_ENTRIES || count > GS_DEMAND_ENTRIES - first)
		return -ERANGE;
	bank = bank_of(state, slot);
	for (uint32_t i = 0; i < count; i++)
		ret_flows[i] = __atomic_load_n(&bank[first + i], __ATOMIC_RELAXED);
	return 0;
}

/* The bank is that of a generation that went out of force when the present one came: no packet
 * counts there any more. */
void gs_dataplane_demand_begin(struct gs_dataplane_state *state, uint32_t slot)
{
	struct gs_meta_value *meta = state->maps.meta;
	uint32_t active = __atomic_load_n(&meta->active, __ATOMIC_ACQUIRE);
	uint8_t bank = active < GS_GENERATIONS && meta->generation[active].number != 0
			       ? (meta->demand_bank[active] + 1u) % GS_DEMAND_BANKS
			       : 0;

	__atomic_store_n(&meta->demand_bank[slot], bank, __ATOMIC_RELAXED);
	memset(bank_of(state, slot), 0, GS_DEMAND_ENTRIES * sizeof(uint32_t));
}
