/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dataplane adapter's own parts, for dataplane*.c only. Everything returns 0 or -errno and
 * says in *error which map and why.
 *
 * Threads: publish runs on the worker while the loop sets usable words and hops. `lock` guards
 * backends, hops and the lists of what exists; `words_lock` guards the usable words, so that
 * taking a region out never waits for a publish. Order: lock, then words_lock. Only the worker
 * writes slots, services and `active`.
 */
#pragma once

#include "maps/gs_maps.h"
#include "user/ports.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum gs_dataplane_map {
	GS_DATAPLANE_META,
	GS_DATAPLANE_SERVICES,
	GS_DATAPLANE_GEO4,
	GS_DATAPLANE_GEO6,
	GS_DATAPLANE_OVERRIDE4,
	GS_DATAPLANE_OVERRIDE6,
	GS_DATAPLANE_ROUTES,
	GS_DATAPLANE_PLANS,
	GS_DATAPLANE_POOLS,
	GS_DATAPLANE_RINGS,
	GS_DATAPLANE_ACCESS4,
	GS_DATAPLANE_ACCESS6,
	GS_DATAPLANE_USABLE_REGION,
	GS_DATAPLANE_USABLE_POOL,
	GS_DATAPLANE_USABLE_BACKEND,
	GS_DATAPLANE_TRIALS,
	GS_DATAPLANE_FILL,
	GS_DATAPLANE_LEASES,
	GS_DATAPLANE_REGION_LIMITS,
	GS_DATAPLANE_BACKENDS,
	GS_DATAPLANE_HOPS,
	GS_DATAPLANE_TUNNELS,
	GS_DATAPLANE_TUNNEL_TOLD,
	GS_DATAPLANE_LINKS,
	GS_DATAPLANE_OWN_MACS,
	GS_DATAPLANE_COUNT_REASON,
	GS_DATAPLANE_COUNT_SERVICE,
	GS_DATAPLANE_COUNT_REGION,
	GS_DATAPLANE_COUNT_BACKEND,
	GS_DATAPLANE_COUNT_SYN,
	GS_DATAPLANE_DEMAND,
	GS_DATAPLANE_EVENTS,
	GS_DATAPLANE__MAP_COUNT,
};

enum {
	GS_DATAPLANE_USABLE_KINDS = 3, /* enum gs_object_kind */
	GS_DATAPLANE_FAMILIES = 2,
	GS_DATAPLANE_NAME_MAX = 16, /* of a map, in the kernel */
};

/* ---- the pinned maps (dataplane_maps.c) ------------------------------------------------------ */

struct gs_dataplane_maps {
	char pin_dir[GS_PATH_MAX];
	int fd[GS_DATAPLANE__MAP_COUNT];
	struct gs_meta_value *meta; /* mapped */
	uint64_t *usable[GS_DATAPLANE_USABLE_KINDS];
	uint32_t usable_count[GS_DATAPLANE_USABLE_KINDS];
	uint64_t *told;	  /* struct gs_tunnel_told, by backend; entry 0 counts */
	uint32_t *demand; /* flat: of each bank GS_DEMAND_ENTRIES */
	uint64_t *trials; /* struct gs_trial_value, written whole; as many as pools */
	uint64_t *fill;	  /* struct gs_fill_word, by region */
	struct btf *btf;  /* of the loaded program; NULL: inner maps go without type names */
	int btf_fd;
};

int gs_dataplane_maps_open(const char *pin_dir, struct gs_dataplane_maps *ret_maps,
			   struct gs_error *error);
/* Harmless on a zeroed or half-open one. */
void gs_dataplane_maps_close(struct gs_dataplane_maps *maps);
/* -ESTALE if the pins are no longer these maps: whoever attached anew does not read these. */
int gs_dataplane_maps_check(const struct gs_dataplane_maps *maps, struct gs_error *error);
/* All `count` values of an array, with few system calls. */
int gs_dataplane_array_read(const struct gs_dataplane_maps *maps, enum gs_dataplane_map map,
			    uint32_t count, void *ret_values, struct gs_error *error);

/* "MAP: ACTION: strerror"; returns result (-errno). */
int gs_dataplane_refuse(struct gs_error *error, int result, enum gs_dataplane_map map,
			const char *action);

/* A new inner map for an outer one, filled. The caller owns *ret_fd. count >= 1. */
struct gs_dataplane_array {
	enum gs_dataplane_map outer;
	const char *name;	  /* at most 15 characters of [A-Za-z0-9_.] */
	const char *value_struct; /* its name in the BTF */
	uint32_t value_size;
	uint32_t count;
	const void *values; /* count * value_size bytes */
};
int gs_dataplane_array_new(const struct gs_dataplane_maps *maps,
			   const struct gs_dataplane_array *array, int *ret_fd,
			   struct gs_error *error);

struct gs_dataplane_trie {
	enum gs_dataplane_map outer;
	const char *name;
	const char *key_struct, *value_struct;
	uint32_t key_size, value_size;
	uint32_t max_entries;
	uint32_t count; /* 0: an empty trie */
	const void *keys;
	const void *values;
};
int gs_dataplane_trie_new(const struct gs_dataplane_maps *maps,
			  const struct gs_dataplane_trie *trie, int *ret_fd,
			  struct gs_error *error);

/* Points slot at inner_fd's map; nothing if it does already. Waits for the kernel (ms). */
int gs_dataplane_slot_set(const struct gs_dataplane_maps *maps, enum gs_dataplane_map outer,
			  uint32_t slot, int inner_fd, struct gs_error *error);

/* ---- backends and hops (dataplane_backends.c) ------------------------------------------------ */

#define GS_DATAPLANE_GRACE_MS 10000u /* before an unused hop or backend is used again */

struct gs_dataplane_hop_slot {
	struct gs_hop_value value;
	uint32_t users;	  /* backends that point here */
	bool is_written;  /* not all zero in the map */
	uint64_t free_ms; /* users == 0: since when */
};

struct gs_dataplane_backends {
	struct gs_backend_value value[GS_MAX_BACKENDS]; /* what the map holds */
	uint64_t retired_ms[GS_MAX_BACKENDS];		/* != 0: since when in no snapshot */
	struct gs_dataplane_hop_slot hop[GS_MAX_HOPS];
};

struct gs_dataplane_state {
	struct gs_dataplane_maps maps;
	pthread_mutex_t lock;
	pthread_mutex_t words_lock;
	struct gs_dataplane_backends backends;	 /* lock */
	bool has_service[GS_MAX_SERVICES];	 /* lock; those worth counting */
	struct gs_addr on_link[GS_MAX_SERVICES]; /* lock; VIPs answered for, sorted */
	uint32_t on_link_count;
	bool retired[GS_MAX_BACKENDS];	/* words_lock: words are kept DOWN */
	uint64_t held[GS_MAX_BACKENDS]; /* words_lock: what was set meanwhile */
	/* Loop only: of `tunnel_told`, what was passed on already. */
	uint64_t told[GS_MAX_BACKENDS];
	uint32_t told_at; /* the next entry to look at, if one call could not take all */
	struct ring_buffer *events;
	struct basket *basket; /* while events are taken */
	/* Worker only: inner maps of the geo tables in force; -1: unknown. */
	int geo_fd[GS_DATAPLANE_FAMILIES];
	char geo_name[GS_DATAPLANE_FAMILIES][GS_DATAPLANE_NAME_MAX];
};

/* Reads what the maps hold, after a restart. */
int gs_dataplane_backends_read(struct gs_dataplane_state *state, uint64_t now_ms,
			       struct gs_error *error);

/* What a publish has written to backends, to take back if it fails. */
struct gs_dataplane_undo {
	gs_id *ids;
	struct gs_backend_value *old;
	uint32_t count;
};
void gs_dataplane_undo_done(struct gs_dataplane_undo *undo);

/* All with the lock held. hops[i] belongs to snapshot->backends[i]. */
int gs_dataplane_backends_write(struct gs_dataplane_state *state,
				const struct gs_snapshot *snapshot, const struct gs_hop *hops,
				uint64_t now_ms, struct gs_dataplane_undo *ret_undo,
				struct gs_error *error);
void gs_dataplane_backends_restore(struct gs_dataplane_state *state,
				   const struct gs_dataplane_undo *undo, uint64_t now_ms);
/*
 * Ids that return, before the flip that sends flows to them: their words count from now on. Not
 * is_alive: the publish failed, and they are as gone as they were.
 */
void gs_dataplane_backends_revive(struct gs_dataplane_state *state,
				  const struct gs_snapshot *snapshot, bool is_alive);
/* Those in no snapshot any more: words DOWN, and after a grace forgotten. */
void gs_dataplane_backends_retire(struct gs_dataplane_state *state,
				  const struct gs_snapshot *snapshot, uint64_t now_ms);
int gs_dataplane_hop_set(struct gs_dataplane_state *state, gs_id backend, const struct gs_hop *hop,
			 uint64_t now_ms, struct gs_error *error);

/* ---- tunnels (dataplane_tunnels.c) ----------------------------------------------------------- */

/* After value[id] has become what it is; the lock held. `old`: what it was. Without memory for an
 * address errors about it are not heard, until the next start. */
void gs_dataplane_tunnels_follow(struct gs_dataplane_state *state, uint32_t id,
				 const struct gs_backend_value *old);
/* After a restart: exactly the backends there are. */
int gs_dataplane_tunnels_read(struct gs_dataplane_state *state, struct gs_error *error);
uint32_t gs_dataplane_tunnels_told(struct gs_dataplane_state *state, uint64_t now_ns,
				   struct gs_told *ret_told, uint32_t max);
/* What was passed on of this backend no longer holds; packets by the kernel's hop go by it, too. Of
 * the loop's thread. */
void gs_dataplane_tunnels_forget(struct gs_dataplane_state *state, uint32_t id);

/* ---- leases (dataplane_leases.c) ------------------------------------------------------------- */

uint32_t gs_dataplane_leases(struct gs_dataplane_state *state, struct gs_lease *ret_leases,
			     uint32_t most);
void gs_dataplane_lease_end(struct gs_dataplane_state *state, const struct gs_lease *lease,
			    bool give_back);

/* ---- usable words (dataplane_words.c) -------------------------------------------------------- */

void gs_dataplane_word_set(struct gs_dataplane_state *state, enum gs_object_kind kind,
			   uint32_t index, struct gs_usable usable);
void gs_dataplane_fill_set(struct gs_dataplane_state *state, gs_id region, struct gs_fill fill);
struct gs_fill gs_dataplane_fill_get(const struct gs_dataplane_state *state, gs_id region);
struct gs_usable gs_dataplane_word_get(const struct gs_dataplane_state *state,
				       enum gs_object_kind kind, uint32_t index);
/* A retired backend is DOWN whatever is set, until it is in a snapshot again. */
void gs_dataplane_word_retire(struct gs_dataplane_state *state, gs_id backend, bool is_retired);

/* ---- services (dataplane_services.c) --------------------------------------------------------- */

struct gs_dataplane_service {
	struct gs_service_key key;
	struct gs_service_value value;
};

struct gs_dataplane_service_list {
	struct gs_dataplane_service *entries; /* sorted by key */
	uint32_t count;
};

void gs_dataplane_services_done(struct gs_dataplane_service_list *list);
/* What the map should hold: every service, and a marker for every VIP and protocol. */
int gs_dataplane_services_want(const struct gs_snapshot *snapshot,
			       struct gs_dataplane_service_list *ret_list, struct gs_error *error);
/* What it holds. */
int gs_dataplane_services_list(const struct gs_dataplane_state *state,
			       struct gs_dataplane_service_list *ret_list, struct gs_error *error);
/* What CPUs have cached of services no longer holds: after every change of theirs, and whenever a
 * generation came into force. */
void gs_dataplane_services_changed(const struct gs_dataplane_state *state);
/* Entries of `in` that are not in `keep`: markers or services, as asked. */
int gs_dataplane_services_remove(const struct gs_dataplane_state *state,
				 const struct gs_dataplane_service_list *in,
				 const struct gs_dataplane_service_list *keep, bool markers,
				 struct gs_error *error);
/* Entries of `wanted` that `current` has not, or has otherwise. */
int gs_dataplane_services_add(const struct gs_dataplane_state *state,
			      const struct gs_dataplane_service_list *wanted,
			      const struct gs_dataplane_service_list *current,
			      struct gs_error *error);
/* Which services there are to count, after a restart. */
int gs_dataplane_services_read(struct gs_dataplane_state *state, struct gs_error *error);

/* ---- links and on-link VIPs (dataplane_links.c) ---------------------------------------------- */

/* Does the interface, of this network namespace, run the program of these maps? */
bool gs_dataplane_links_carry(const struct gs_dataplane_state *state, uint32_t ifindex);
/* With the lock held. */
int gs_dataplane_links_set(struct gs_dataplane_state *state, const struct gs_reach_set *reach,
			   struct gs_error *error);
/* Address markers in the list say on-link as the last set has it, and nothing otherwise. Lock. */
void gs_dataplane_links_mark(const struct gs_dataplane_state *state,
			     struct gs_dataplane_service_list *list);
/* What the map says is what was set last, after a restart. */
void gs_dataplane_links_adopt(struct gs_dataplane_state *state,
			      const struct gs_dataplane_service_list *list);

/* ---- generations (dataplane_slots.c, dataplane_publish.c) ------------------------------------ */

/* Takes over the geo maps in force, if it may ask the kernel for them. */
void gs_dataplane_geo_adopt(struct gs_dataplane_state *state);
/* Fills the free slot; until `active` names it no packet looks there. */
int gs_dataplane_slot_prepare(struct gs_dataplane_state *state, const struct gs_tables *tables,
			      uint32_t *ret_slot, struct gs_error *error);
int gs_dataplane_publish(struct gs_dataplane_state *state, const struct gs_tables *tables,
			 const struct gs_hop *hops, struct gs_error *error);

/* ---- access rules and limits (dataplane_limits.c) -------------------------------------------- */

/* Of one family's rules, an inner map for the generation. */
int gs_dataplane_access_new(const struct gs_dataplane_state *state,
			    const struct gs_snapshot *snapshot, bool is_v4, int *ret_fd,
			    struct gs_error *error);
/* Regions' limits, in place; a region that has gone has none. Only what differs is written. */
int gs_dataplane_limits_write(const struct gs_dataplane_state *state,
			      const struct gs_snapshot *snapshot, struct gs_error *error);

/* ---- handshakes and demand (dataplane_handshakes.c); as the ports' ------------------------------
 */

int gs_dataplane_handshakes_open(struct gs_dataplane_state *state, struct gs_error *error);
void gs_dataplane_handshakes_close(struct gs_dataplane_state *state);
int gs_dataplane_handshake_fd(const struct gs_dataplane_state *state);
uint32_t gs_dataplane_take_handshakes(struct gs_dataplane_state *state,
				      struct gs_handshake *ret_handshakes, uint32_t most);
void gs_dataplane_sample_handshakes(struct gs_dataplane_state *state, uint32_t one_in);
int gs_dataplane_syns(const struct gs_dataplane_state *state, gs_id backend,
		      struct gs_syns *ret_syns);
int gs_dataplane_demand(const struct gs_dataplane_state *state, uint32_t slot, uint32_t first,
			uint32_t count, uint32_t *ret_flows);
/* For a generation that is to come into force in this slot: an empty bank, not that of the one that
 * is in force. */
void gs_dataplane_demand_begin(struct gs_dataplane_state *state, uint32_t slot);

/* ---- counters (dataplane_count.c) ------------------------------------------------------------ */

int gs_dataplane_count(struct gs_dataplane_state *state, struct gs_counters *ret_counters);
