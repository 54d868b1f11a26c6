/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The business loop: snapshot and GeoIP database -> tables -> data plane (on the worker); probe
 * verdicts and admin states -> usable words (at once, on the loop). What is in force stays until
 * something better has been built whole. Nothing here waits for the database.
 */
#pragma once

#include "breakers.h"
#include "monitor.h"
#include "reach.h"
#include "tables.h"
#include "usable.h"
#include "user/base/loop.h"
#include "user/ports.h"

struct gs_reconcile;

/* Another generation is in force; what was before is still whole. */
struct gs_generation_change {
	const struct gs_tables *before; /* NULL: not of this daemon */
	const struct gs_tables *after;
	uint32_t slot_before, slot_after;
	uint64_t generation; /* number of `after` */
};

/* All borrowed; they outlive the reconcile. */
struct gs_reconcile_ports {
	struct gs_loop *loop;
	const struct gs_store *store;
	const struct gs_geodb *geodb;
	const struct gs_dataplane *dataplane;
	const struct gs_nexthop *nexthop;
	const struct gs_prober *prober;
	struct gs_reach *reach; /* NULL: nobody looks after how the edge is reached */
	/*
	 * The loader may have made new maps under a running daemon: puts the dataplane port on
	 * those, in *dataplane. 0 or -errno, and the port is what it was.
	 */
	int (*reopen_dataplane)(void *context, struct gs_error *error);
	void *reopen_context;
	/* NULL: nobody follows. On the loop, before anything else is done about it. */
	void (*on_generation)(void *context, const struct gs_generation_change *change);
	void *generation_context;
};

struct gs_reconcile_settings {
	char geoip[GS_PATH_MAX];	  /* "": none */
	char last_good[GS_PATH_MAX + 32]; /* file of the last good snapshot */
	char edge[GS_NAME_MAX];		  /* this edge's name */
	uint64_t seed;			  /* any value; differs between edges and starts */
	uint32_t hops_poll_ms;		  /* 0: what is usual */
	uint32_t tunnel_keeps_ms;	  /* how long a told MTU holds; 0: what is usual */
};

/* What people may be told. Pointers are borrowed and hold until the loop's next turn. */
struct gs_reconcile_state {
	const struct gs_snapshot *snapshot; /* that the words follow; NULL: none yet */
	const struct gs_tables *tables;	    /* that this daemon published; NULL: none yet */
	const struct gs_geodata *geo;	    /* behind the tables; NULL: none */
	const struct gs_usable_view *view;  /* NULL: none yet */
	struct gs_monitor *monitor;
	struct gs_breakers *breakers;
	uint64_t region_since_ms[GS_MAX_REGIONS]; /* gs_loop_now_ms of its word's last change */
	struct gs_dataplane_info info;		  /* the generation in force */
	bool connected;				  /* to the store */
	bool from_last_good;			  /* the snapshot is the file's, not the store's */
	bool maps_are_others;			  /* the pins are not the maps that are written */
	bool working;				  /* a build or a load goes on */
	char connection_why[GS_ERROR_MAX];	  /* why not; connected: what is refused, or "" */
	uint64_t connection_since_ms;		  /* gs_loop_now_ms */
	char geo_problem[GS_ERROR_MAX];		  /* why the last GeoIP load failed, or "" */
	char publish_problem[GS_ERROR_MAX];	  /* why the last publish failed, or "" */
};

/* 0 or -errno. */
int gs_reconcile_new(const struct gs_reconcile_ports *ports,
		     const struct gs_reconcile_settings *settings,
		     struct gs_reconcile **ret_reconcile);
/* Starts the store, the first GeoIP load, the timers. 0 or -errno of the store's start. */
int gs_reconcile_start(struct gs_reconcile *reconcile);
/*
 * After gs_loop_end_worker, before gs_loop_free. The data plane is left as it is. NULL is fine.
 */
void gs_reconcile_free(struct gs_reconcile *reconcile);

/* Outer bytes a router on the way to a backend lets through; 0: none has complained of late. */
uint32_t gs_reconcile_tunnel_mtu(const struct gs_reconcile *reconcile, gs_id backend);

const struct gs_reconcile_state *gs_reconcile_look(struct gs_reconcile *reconcile);

/*
 * Loads a GeoIP file and puts it in force. Exactly one done() follows: err 0, or -errno and what
 * is wrong with it (what was in force stays). -EBUSY at once if a load is under way.
 */
int gs_reconcile_load_geo(struct gs_reconcile *reconcile, const char *path,
			  void (*done)(void *context, int err, const char *problem), void *context);
/* As above with nobody to answer, and after the load under way if there is one; the last one asked
 * for wins. 0 or -ENAMETOOLONG. */
int gs_reconcile_reload_geo(struct gs_reconcile *reconcile, const char *path);
