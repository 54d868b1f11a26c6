/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends and their next hops. A hop entry that any packet may be reading is never written: a
 * changed hop is another entry and a switched index, and what nobody points to rests for
 * GS_DATAPLANE_GRACE_MS. Backends with one next hop share one entry.
 */
#include "dataplane.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_free(const struct gs_dataplane_hop_slot *slot, uint64_t now_ms)
{
	return slot->users == 0 &&
	       (!slot->is_written || now_ms - slot->free_ms >= GS_DATAPLANE_GRACE_MS);
}

static struct gs_hop_value hop_value(const struct gs_hop *hop)
{
	struct gs_hop_value value = {.mtu = hop->mtu};

	if (hop->told_mtu && hop->told_mtu < hop->mtu)
		value.mtu = hop->told_mtu;

	if (hop->reflect) {
		value.flags = GS_HOP_REFLECT;
	} else {
		memcpy(value.dst_mac, hop->dst_mac, sizeof(value.dst_mac));
		memcpy(value.src_mac, hop->src_mac, sizeof(value.src_mac));
		value.ifindex = hop->ifindex;
		value.tags = hop->tag_count;
		for (uint32_t i = 0; i < hop->tag_count && i < GS_TAGS_MAX; i++)
			value.tag[i] = (struct gs_tag){.protocol = htons(hop->tags[i].protocol),
						       .tci = htons(hop->tags[i].tci)};
	}
	value.spread4 = hop->spread4;
	value.spread6 = hop->spread6;
	memcpy(&value.src4, &hop->src4.bytes[12], sizeof(value.src4));
	memcpy(value.src6, hop->src6.bytes, sizeof(value.src6));
	return value;
}

/* ---- what the packet path needs when it asks the kernel -------------------------------------- */

/* How packets leave by the interface of a route, as the hop does. */
static int link_note(const struct gs_dataplane_state *state, const struct gs_hop_value *value,
		     uint32_t link, struct gs_error *error)
{
	int fd = state->maps.fd[GS_DATAPLANE_LINKS];
	struct gs_link_value now = {.ifindex = value->ifindex, .tags = value->tags}, before;

	if (link == 0 || value->flags & GS_HOP_REFLECT)
		return 0;
	memcpy(now.tag, value->tag, sizeof(now.tag));
	if (bpf_map_lookup_elem(fd, &link, &before) == 0 && memcmp(&before, &now, sizeof(now)) == 0)
		return 0;
	/* A full map is of links long gone; the kernel's hops by new ones are not taken then. */
	if (bpf_map_update_elem(fd, &link, &now, BPF_ANY) && errno != E2BIG)
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_LINKS, "writing a link");
	return 0;
}

static bool has_source6(const struct gs_hop_value *value)
{
	static const __be32 none[4];

	return memcmp(value->src6, none, sizeof(none)) != 0;
}

static bool is_source4(const struct gs_hop_value *value, const struct gs_hop_value *edge)
{
	return value->src4 == edge->src4 && value->spread4 == edge->spread4;
}

static bool is_source6(const struct gs_hop_value *value, const struct gs_hop_value *edge)
{
	return memcmp(value->src6, edge->src6, sizeof(edge->src6)) == 0 &&
	       value->spread6 == edge->spread6;
}

/* Does any hop that packets go by have the edge's source? */
static bool is_in_use(const struct gs_dataplane_state *state,
		      bool (*is_source)(const struct gs_hop_value *, const struct gs_hop_value *))
{
	const struct gs_hop_value *edge = &state->backends.hop[0].value;

	for (uint32_t id = 1; id < GS_MAX_HOPS; id++) {
		const struct gs_dataplane_hop_slot *slot = &state->backends.hop[id];

		if (slot->users > 0 && slot->value.mtu > 0 && is_source(&slot->value, edge))
			return true;
	}
	return false;
}

/*
 * The edge's sources, for hops that have none: entry 0. NAT's flows live by them, so the first one
 * stays as long as any hop in use has it; then it is that of the hop written.
 */
static int sources_note(struct gs_dataplane_state *state, const struct gs_hop_value *value,
			struct gs_error *error)
{
	struct gs_hop_value *edge = &state->backends.hop[0].value, now = *edge;
	uint32_t id = 0;

	if (value->src4 && !is_source4(value, edge) &&
	    (!edge->src4 || !is_in_use(state, is_source4))) {
		now.src4 = value->src4;
		now.spread4 = value->spread4;
	}
	if (has_source6(value) && !is_source6(value, edge) &&
	    (!has_source6(edge) || !is_in_use(state, is_source6))) {
		memcpy(now.src6, value->src6, sizeof(now.src6));
		now.spread6 = value->spread6;
	}
	if (memcmp(&now, edge, sizeof(now)) == 0)
		return 0;
	if (bpf_map_update_elem(state->maps.fd[GS_DATAPLANE_HOPS], &id, &now, BPF_ANY))
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_HOPS, "writing the sources");
	*edge = now;
	return 0;
}

/* ---- hops ------------------------------------------------------------------------------------ */

/* The entry that says this, written if none did; one more user. */
static int hop_hold(struct gs_dataplane_state *state, const struct gs_hop *hop, uint64_t now_ms,
		    uint32_t *ret_hop, struct gs_error *error)
{
	struct gs_hop_value value = hop_value(hop);
	uint32_t free_id = 0;
	int result = link_note(state, &value, hop->link, error);

	if (result == 0)
		result = sources_note(state, &value, error);
	if (result)
		return result;
	for (uint32_t id = 1; id < GS_MAX_HOPS; id++) {
		struct gs_dataplane_hop_slot *slot = &state->backends.hop[id];

		if (slot->is_written && memcmp(&slot->value, &value, sizeof(value)) == 0) {
			slot->users++;
			*ret_hop = id;
			return 0;
		}
		if (free_id == 0 && is_free(slot, now_ms))
			free_id = id;
	}
	if (free_id == 0)
		return gs_dataplane_refuse(error, -ENOSPC, GS_DATAPLANE_HOPS, "finding a free hop");
	if (bpf_map_update_elem(state->maps.fd[GS_DATAPLANE_HOPS], &free_id, &value, BPF_ANY))
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_HOPS, "writing a hop");
	state->backends.hop[free_id] =
		(struct gs_dataplane_hop_slot){.value = value, .users = 1, .is_written = true};
	*ret_hop = free_id;
	return 0;
}

static void hop_release(struct gs_dataplane_state *state, uint32_t hop, uint64_t now_ms)
{
	struct gs_dataplane_hop_slot *slot;

	if (hop == 0 || hop >= GS_MAX_HOPS)
		return;
	slot = &state->backends.hop[hop];
	if (slot->users > 0 && --slot->users == 0)
		slot->free_ms = now_ms;
}

static int write_backend(struct gs_dataplane_state *state, uint32_t id,
			 const struct gs_backend_value *value, struct gs_error *error)
{
	struct gs_backend_value old;

	if (bpf_map_update_elem(state->maps.fd[GS_DATAPLANE_BACKENDS], &id, value, BPF_ANY))
		return gs_dataplane_refuse(error, -errno, GS_DATAPLANE_BACKENDS,
					   "writing a backend");
	old = state->backends.value[id];
	state->backends.value[id] = *value;
	gs_dataplane_tunnels_follow(state, id, &old);
	return 0;
}

/* ---- after a restart ------------------------------------------------------------------------- */

int gs_dataplane_backends_read(struct gs_dataplane_state *state, uint64_t now_ms,
			       struct gs_error *error)
{
	static const struct gs_hop_value no_hop;
	struct gs_dataplane_backends *backends = &state->backends;
	GS_AUTO_FREE struct gs_hop_value *hops = calloc(GS_MAX_HOPS, sizeof(*hops));
	int result;

	if (!hops)
		return gs_dataplane_refuse(error, -ENOMEM, GS_DATAPLANE_HOPS, "memory");
	result = gs_dataplane_array_read(&state->maps, GS_DATAPLANE_HOPS, GS_MAX_HOPS, hops, error);
	if (result == 0)
		result = gs_dataplane_array_read(&state->maps, GS_DATAPLANE_BACKENDS,
						 GS_MAX_BACKENDS, backends->value, error);
	if (result)
		return result;
	for (uint32_t id = 0; id < GS_MAX_HOPS; id++)
		backends->hop[id] = (struct gs_dataplane_hop_slot){
			.value = hops[id],
			.is_written = memcmp(&hops[id], &no_hop, sizeof(no_hop)) != 0,
			.free_ms = now_ms,
		};
	for (uint32_t id = 1; id < GS_MAX_BACKENDS; id++) {
		const struct gs_backend_value *value = &backends->value[id];

		if (value->mode != GS_FORWARD_NONE && value->hop < GS_MAX_HOPS)
			backends->hop[value->hop].users++;
	}
	return gs_dataplane_tunnels_read(state, error);
}

/* ---- publish --------------------------------------------------------------------------------- */

void gs_dataplane_undo_done(struct gs_dataplane_undo *undo)
{
	free(undo->ids);
	free(undo->old);
	*undo = (struct gs_dataplane_undo){0};
}

static uint8_t forward_mode(enum gs_forward forward)
{
	static const uint8_t modes[GS_FORWARD_AS__COUNT] = {
		[GS_FORWARD_AS_IPIP] = GS_FORWARD_IPIP,
		[GS_FORWARD_AS_GUE] = GS_FORWARD_GUE,
		[GS_FORWARD_AS_L2] = GS_FORWARD_L2,
		[GS_FORWARD_AS_NAT] = GS_FORWARD_NAT,
	};

	return modes[forward];
}

static struct gs_backend_value backend_value(const struct gs_backend *backend, uint32_t hop)
{
	struct gs_backend_value value = {.hop = hop,
					 .service = backend->service,
					 .region = (uint8_t)backend->region,
					 .mode = forward_mode(backend->forward),
					 .port = (__be16)__builtin_bswap16(backend->port)};
	static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

	value.family = memcmp(backend->addr.bytes, v4_prefix, sizeof(v4_prefix)) == 0 ? 4 : 6;
	memcpy(value.addr, backend->addr.bytes, sizeof(value.addr));
	return value;
}

/* A packet as it came is for the VIP: whoever is not the backend would send it back to an edge. */
static bool is_hop_for(uint8_t mode, const struct gs_hop *hop)
{
	return mode != GS_FORWARD_L2 || (!hop->reflect && !hop->has_gateway);
}

/*
 * A next hop nobody knows now (mtu 0), or none that L2 can use, is no reason to forget the one that
 * works. Without one, packets are dropped with their reason.
 */
static int choose_hop(struct gs_dataplane_state *state, const struct gs_backend *backend,
		      const struct gs_hop *hop, uint64_t now_ms, uint32_t *ret_hop,
		      struct gs_error *error)
{
	static const struct gs_hop nowhere = {.reflect = true};
	const struct gs_backend_value *old = &state->backends.value[backend->id];
	uint8_t mode = forward_mode(backend->forward);

	if (!is_hop_for(mode, hop))
		hop = &nowhere;
	if (hop->mtu == 0 && (mode != GS_FORWARD_L2 || old->mode == mode) &&
	    old->mode != GS_FORWARD_NONE && old->hop > 0 && old->hop < GS_MAX_HOPS &&
	    memcmp(old->addr, backend->addr.bytes, sizeof(old->addr)) == 0) {
		state->backends.hop[old->hop].users++;
		*ret_hop = old->hop;
		return 0;
	}
	return hop_hold(state, hop, now_ms, ret_hop, error);
}

/* One user fewer for the old hop only once the new value is in the map. */
static int replace_backend(struct gs_dataplane_state *state, uint32_t id,
			   const struct gs_backend_value *value, uint64_t now_ms,
			   struct gs_error *error)
{
	uint32_t old_hop = state->backends.value[id].hop;
	int result = write_backend(state, id, value, error);

	hop_release(state, result ? value->hop : old_hop, now_ms);
	return result;
}

static int put_backend(struct gs_dataplane_state *state, const struct gs_backend *backend,
		       const struct gs_hop *hop, uint64_t now_ms, struct gs_dataplane_undo *undo,
		       struct gs_error *error)
{
	struct gs_backend_value old = state->backends.value[backend->id];
	struct gs_backend_value value;
	uint32_t hop_id;
	int result = choose_hop(state, backend, hop, now_ms, &hop_id, error);

	if (result)
		return result;
	value = backend_value(backend, hop_id);
	if (memcmp(&value, &old, sizeof(value)) == 0) {
		hop_release(state, hop_id, now_ms);
		return 0;
	}
	result = replace_backend(state, backend->id, &value, now_ms, error);
	if (result)
		return result;
	undo->ids[undo->count] = backend->id;
	undo->old[undo->count++] = old;
	return 0;
}

int gs_dataplane_backends_write(struct gs_dataplane_state *state,
				const struct gs_snapshot *snapshot, const struct gs_hop *hops,
				uint64_t now_ms, struct gs_dataplane_undo *ret_undo,
				struct gs_error *error)
{
	GS_CLEANUP(gs_dataplane_undo_done)
	struct gs_dataplane_undo undo = {
		.ids = calloc(snapshot->backend_count + 1, sizeof(*undo.ids)),
		.old = calloc(snapshot->backend_count + 1, sizeof(*undo.old)),
	};
	int result = 0;

	if (!undo.ids || !undo.old)
		return gs_dataplane_refuse(error, -ENOMEM, GS_DATAPLANE_BACKENDS, "memory");
	for (uint32_t i = 0; i < snapshot->backend_count && result == 0; i++)
		result = put_backend(state, &snapshot->backends[i], &hops[i], now_ms, &undo, error);
	if (result) {
		gs_dataplane_backends_restore(state, &undo, now_ms);
		return result;
	}
	*ret_undo = undo;
	undo = (struct gs_dataplane_undo){0};
	return 0;
}

void gs_dataplane_backends_restore(struct gs_dataplane_state *state,
				   const struct gs_dataplane_undo *undo, uint64_t now_ms)
{
	struct gs_error ignored; /* the first error is the one to tell */

	for (uint32_t i = undo->count; i-- > 0;) {
		const struct gs_backend_value *old = &undo->old[i];

		/* The old hop's grace has not passed: its entry still says what it said. */
		if (old->hop != 0 && old->hop < GS_MAX_HOPS)
			state->backends.hop[old->hop].users++;
		replace_backend(state, undo->ids[i], old, now_ms, &ignored);
	}
}

void gs_dataplane_backends_revive(struct gs_dataplane_state *state,
				  const struct gs_snapshot *snapshot, bool is_alive)
{
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (state->backends.retired_ms[snapshot->backends[i].id] != 0)
			gs_dataplane_word_retire(state, snapshot->backends[i].id, !is_alive);
}

void gs_dataplane_backends_retire(struct gs_dataplane_state *state,
				  const struct gs_snapshot *snapshot, uint64_t now_ms)
{
	static const struct gs_backend_value nothing;
	struct gs_dataplane_backends *backends = &state->backends;
	struct gs_error ignored; /* it stays retired, and is tried again at the next publish */
	uint32_t next = 0;

	for (uint32_t id = 1; id < GS_MAX_BACKENDS; id++) {
		while (next < snapshot->backend_count && snapshot->backends[next].id < id)
			next++;
		if (next < snapshot->backend_count && snapshot->backends[next].id == id) {
			backends->retired_ms[id] = 0;
			gs_dataplane_word_retire(state, (gs_id)id, false);
			continue;
		}
		if (backends->value[id].mode == GS_FORWARD_NONE)
			continue;
		gs_dataplane_word_retire(state, (gs_id)id, true);
		if (backends->retired_ms[id] == 0)
			backends->retired_ms[id] = now_ms;
		else if (now_ms - backends->retired_ms[id] >= GS_DATAPLANE_GRACE_MS)
			replace_backend(state, id, &nothing, now_ms, &ignored);
	}
}

/* The usual case, without a search. */
static bool has_hop(const struct gs_dataplane_state *state, gs_id backend, const struct gs_hop *hop)
{
	uint32_t id = state->backends.value[backend].hop;
	struct gs_hop_value value = hop_value(hop);

	return id > 0 && id < GS_MAX_HOPS && state->backends.hop[id].is_written &&
	       memcmp(&state->backends.hop[id].value, &value, sizeof(value)) == 0;
}

/* Without a way there the sources of the last one stay: the kernel's next hop gets them. */
static struct gs_hop with_sources(const struct gs_dataplane_state *state, gs_id backend,
				  const struct gs_hop *hop)
{
	static const struct gs_addr none;
	uint32_t id = state->backends.value[backend].hop;
	struct gs_hop with = *hop;
	const struct gs_hop_value *last;

	if (hop->mtu > 0 || id == 0 || id >= GS_MAX_HOPS)
		return with;
	last = &state->backends.hop[id].value;
	if (last->src4 && gs_addr_compare(&hop->src4, &none) == 0) {
		with.src4 = gs_addr_from_v4(ntohl(last->src4));
		with.spread4 = last->spread4;
	}
	if (has_source6(last) && gs_addr_compare(&hop->src6, &none) == 0) {
		memcpy(with.src6.bytes, last->src6, sizeof(last->src6));
		with.spread6 = last->spread6;
	}
	return with;
}

int gs_dataplane_hop_set(struct gs_dataplane_state *state, gs_id backend, const struct gs_hop *hop,
			 uint64_t now_ms, struct gs_error *error)
{
	struct gs_backend_value value;
	struct gs_hop with;
	uint32_t hop_id;
	int result;

	if (backend >= GS_MAX_BACKENDS || state->backends.value[backend].mode == GS_FORWARD_NONE)
		return -ENOENT;
	with = with_sources(state, backend, hop);
	if (hop->told_mtu == 0)
		gs_dataplane_tunnels_forget(state, backend);
	if (has_hop(state, backend, &with))
		return 0;
	value = state->backends.value[backend];
	/* A MAC not known now is nothing to tell; a link that is down is. */
	if (hop->mtu > 0 && !is_hop_for(value.mode, hop))
		return hop->has_gateway ? -EHOSTUNREACH : 0;
	result = hop_hold(state, &with, now_ms, &hop_id, error);
	if (result)
		return result;
	if (value.hop == hop_id) {
		hop_release(state, hop_id, now_ms);
		return 0;
	}
	value.hop = hop_id;
	return replace_backend(state, backend, &value, now_ms, error);
}
