/* SPDX-License-Identifier: Apache-2.0 */
/* Constructors of the adapters, nothing else: 0 or -errno, *error says what and where. */
#pragma once

#include "user/base/loop.h"
#include "user/ports.h"

/* conninfo: anything libpq takes; passed on untouched. edge: this edge's name. */
int gs_pg_open(struct gs_loop *loop, const char *conninfo, const char *edge,
	       struct gs_store *ret_store, struct gs_error *error);
/* The same database, of a store that gs_pg_open made; closed with it. */
struct gs_latency_store gs_pg_latency_store(const struct gs_store *store);
/*
 * What can be said of a conninfo without connecting: 0 or -EINVAL. It is never quoted in *error: it
 * may hold a password.
 */
int gs_pg_check_conninfo(const char *conninfo, struct gs_error *error);
int gs_mmdb_open(struct gs_geodb *ret_geodb);
struct gs_probe_settings {
	const char *commands; /* the folder of those that probes of kind exec run */
	/* Who but root may own it and what is in it; nobody else may be able to write there. */
	unsigned int commands_owner;
	/* For targets that are to be probed through the tunnel; outlives the prober. NULL: none. */
	const struct gs_detour *detour;
};
int gs_probe_open(struct gs_loop *loop, const struct gs_probe_settings *settings,
		  struct gs_prober *ret_prober, struct gs_error *error);
/*
 * pin_dir: as below. object: the BPF object's file; NULL: this build's. What is in the way of it
 * (no right, no device, no maps) is no failure: it is tried again, and look() says so. -ENOMEM.
 */
int gs_detour_open(const char *pin_dir, const char *object, struct gs_detour *ret_detour);
int gs_announcer_open(struct gs_announcer *ret_announcer);
/* sources: NULL for the edge's own addresses. */
int gs_neighbour_open(struct gs_loop *loop, const struct gs_outer_sources *sources,
		      struct gs_nexthop *ret_nexthop, struct gs_error *error);
/* pin_dir: where the loader pinned the maps. Refuses maps of another GS_MAPS_VERSION. */
int gs_dataplane_open(const char *pin_dir, struct gs_dataplane *ret_dataplane,
		      struct gs_error *error);
