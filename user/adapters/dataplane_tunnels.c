/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses get outer headers, so that the packet path knows whose errors about them are; and
 * what it was told. Several backends share an address: one of them stands for it.
 */
#include "dataplane.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

/* Told longer ago than this is nothing new after a restart. */
#define TOLD_KEEPS_NS (600ULL * 1000000000ULL)

static bool is_tunnel(const struct gs_backend_value *value)
{
	return value->mode == GS_FORWARD_IPIP || value->mode == GS_FORWARD_GUE;
}

static bool has_address(const struct gs_backend_value *value, const struct gs_tunnel_key *key)
{
	return is_tunnel(value) && memcmp(value->addr, key->addr, sizeof(key->addr)) == 0;
}

static int put(const struct gs_dataplane_state *state, const struct gs_tunnel_key *key, uint32_t id,
	       struct gs_error *error)
{
	struct gs_tunnel_value value = {.backend = id};

	if (bpf_map_update_elem(state->maps.fd[GS_DATAPLANE_TUNNELS], key, &value, BPF_ANY))
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_TUNNELS,
					   "writing an address");
	return 0;
}

/* Another backend that has the address stands for it; without one it goes. */
static void give_up(const struct gs_dataplane_state *state, const struct gs_tunnel_key *key,
		    uint32_t id)
{
	int fd = state->maps.fd[GS_DATAPLANE_TUNNELS];
	struct gs_tunnel_value value;
	struct gs_error ignored;

	if (bpf_map_lookup_elem(fd, key, &value) || value.backend != id)
		return;
	for (uint32_t other = 1; other < GS_MAX_BACKENDS; other++) {
		if (has_address(&state->backends.value[other], key)) {
			put(state, key, other, &ignored);
			return;
		}
	}
	bpf_map_delete_elem(fd, key);
}

static struct gs_tunnel_key key_of(const struct gs_backend_value *value)
{
	struct gs_tunnel_key key;

	memcpy(key.addr, value->addr, sizeof(key.addr));
	return key;
}

void gs_dataplane_tunnels_follow(struct gs_dataplane_state *state, uint32_t id,
				 const struct gs_backend_value *old)
{
	const struct gs_backend_value *now = &state->backends.value[id];
	struct gs_tunnel_key was = key_of(old), is = key_of(now);
	struct gs_error ignored;

	if (is_tunnel(old) && !has_address(now, &was)) {
		give_up(state, &was, id);
		/* What was told was of that address. */
		__atomic_store_n(&state->maps.told[id], 0, __ATOMIC_RELAXED);
	}
	if (is_tunnel(now) && !has_address(old, &is))
		put(state, &is, id, &ignored);
}

/* Entries of backends that are others by now: the controller died between two writes. */
static void remove_strangers(struct gs_dataplane_state *state)
{
	int fd = state->maps.fd[GS_DATAPLANE_TUNNELS];
	struct gs_tunnel_key key, next;
	struct gs_tunnel_value value;
	const struct gs_tunnel_key *last = NULL;

	while (bpf_map_get_next_key(fd, last, &next) == 0) {
		bool is_known = bpf_map_lookup_elem(fd, &next, &value) == 0 && value.backend > 0 &&
				value.backend < GS_MAX_BACKENDS &&
				has_address(&state->backends.value[value.backend], &next);

		if (!is_known)
			bpf_map_delete_elem(fd, &next); /* the walk begins anew */
		key = next;
		last = is_known ? &key : NULL;
	}
}

int gs_dataplane_tunnels_read(struct gs_dataplane_state *state, struct gs_error *error)
{
	remove_strangers(state);
	for (uint32_t id = 1; id < GS_MAX_BACKENDS; id++) {
		const struct gs_backend_value *value = &state->backends.value[id];
		struct gs_tunnel_key key = key_of(value);
		int result = is_tunnel(value) ? put(state, &key, id, error) : 0;

		if (result)
			return result;
	}
	return 0;
}

/* `seen` counts units of 2^20 ns and comes round after 52 days: an age is a difference. A packet
 * may have told after now_ns was read: what is ahead of it is new. */
static uint64_t age_ns(struct gs_tunnel_told told, uint64_t now_ns)
{
	uint32_t age = (uint32_t)(now_ns >> 20) - told.seen;

	return age > INT32_MAX ? 0 : (uint64_t)age << 20;
}

uint32_t gs_dataplane_tunnels_told(struct gs_dataplane_state *state, uint64_t now_ns,
				   struct gs_told *ret_told, uint32_t max)
{
	uint64_t tellings = __atomic_load_n(&state->maps.told[0], __ATOMIC_ACQUIRE);
	uint32_t count = 0;

	if (tellings == state->told[0] && state->told_at == 0)
		return 0;
	if (state->told_at == 0)
		state->told_at = 1;
	state->told[0] = tellings;
	while (state->told_at < GS_MAX_BACKENDS && count < max) {
		uint32_t id = state->told_at++;
		uint64_t word = __atomic_load_n(&state->maps.told[id], __ATOMIC_RELAXED);
		struct gs_tunnel_told told;

		if (word == state->told[id])
			continue;
		state->told[id] = word;
		memcpy(&told, &word, sizeof(told));
		if (told.mtu && age_ns(told, now_ns) < TOLD_KEEPS_NS)
			ret_told[count++] = (struct gs_told){.backend = (gs_id)id, .mtu = told.mtu};
	}
	if (state->told_at >= GS_MAX_BACKENDS)
		state->told_at = 0;
	return count;
}

void gs_dataplane_tunnels_forget(struct gs_dataplane_state *state, uint32_t id)
{
	uint64_t word = state->told[id];

	if (word && __atomic_compare_exchange_n(&state->maps.told[id], &word, 0, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
		state->told[id] = 0;
}
