/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The business loop: snapshot and GeoIP database -> tables -> data plane (on the worker); probe
 * verdicts and admin states -> usable words (at once, on the loop). What is in force stays until
 * something better has been built whole. Nothing here waits for the database.
 */
#pragma once

#include "anchors.h"
#include "breakers.h"
#include "dampings.h"
#include "geo_change.h"
#include "monitor.h"
#include "overlays.h"
#include "panic.h"
#include "reach.h"
#include "tables.h"
#include "usable.h"
#include "user/base/loop.h"
#include "user/ports.h"
#include "votes.h"

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
	const struct gs_detour *detour;	  /* NULL: none */
	struct gs_reach *reach;		  /* NULL: nobody looks after how the edge is reached */
	const struct gs_anchors *anchors; /* NULL: none */
	/*
	 * The loader may have made new maps under a running daemon: puts the dataplane port on
	 * those, in *dataplane. 0 or -errno, and the port is what it was.
	 */
	int (*reopen_dataplane)(void *context, struct gs_error *error);
	void *reopen_context;
	/* NULL: nobody follows. On the loop, before anything else is done about it. False: it is
	 * called again with the same, in another turn. */
	bool (*on_generation)(void *context, const struct gs_generation_change *change);
	void *generation_context;
	/* The same, of what other edges tell the store of demand. context: generation_context. */
	void (*on_demand)(void *context, const struct gs_demand_told *rows, uint32_t count,
			  uint32_t edges);
	/* The sample of the last hour's clients (gs_client_sample_read). NULL: there is none. The
	 * same context. */
	uint32_t (*clients)(void *context, struct gs_client_count *ret_counts);
};

struct gs_reconcile_settings {
	char geoip[GS_PATH_MAX];	  /* "": none */
	char asn[GS_PATH_MAX];		  /* the ASN database; "": none */
	char last_good[GS_PATH_MAX + 32]; /* file of the last good snapshot */
	char overlays[GS_PATH_MAX + 32];  /* file of what is laid over objects here; "": none */
	char dampings[GS_PATH_MAX + 32];  /* file of who flaps; "": none */
	char edge[GS_NAME_MAX];		  /* this edge's name */
	char site[GS_NAME_MAX];		  /* its failure domain; "": not told */
	uint64_t seed;			  /* any value; differs between edges and starts */
	uint32_t hops_poll_ms;		  /* 0: what is usual */
	uint32_t tunnel_keeps_ms;	  /* how long a told MTU holds; 0: what is usual */
	uint32_t geo_limit_percent; /* what another GeoIP database may move; GS_GEO_LIMIT_OFF */
};

/* A database on its way into force: read, compared, built, uploaded. */
struct gs_load_state {
	bool is_under_way;
	bool is_asn, is_dry, is_rollback;
	const char *path;
	uint64_t began_ms; /* gs_loop_now_ms */
	struct gs_progress_view progress;
};

/* What became of GeoIP databases since the daemon began. */
struct gs_geo_counts {
	uint64_t in_force; /* rollbacks among them */
	uint64_t refused;  /* above the limit */
	uint64_t failed;   /* files that are no good, and tables that did not fit */
	uint64_t cancelled;
};

/* What people may be told. Pointers are borrowed and hold until the loop's next turn. */
struct gs_reconcile_state {
	const struct gs_snapshot *snapshot; /* that the words follow; NULL: none yet */
	const struct gs_tables *tables;	    /* that this daemon published; NULL: none yet */
	const struct gs_geodata *geo;	    /* behind the tables; NULL: none */
	const struct gs_asndata *asn;	    /* the same */
	const struct gs_usable_view *view;  /* NULL: none yet */
	struct gs_monitor *monitor;
	struct gs_breakers *breakers;
	const struct gs_votes *votes; /* NULL: nobody votes */
	const struct gs_probe_trips *probe_trips;
	const char *edge; /* this one's name */
	const struct gs_panics *panics;
	const struct gs_dampings *dampings;
	const struct gs_local_overlays *local;	  /* laid over objects on this edge alone */
	int64_t clock_ahead_ms;			  /* the database's clock less this machine's */
	uint64_t region_since_ms[GS_MAX_REGIONS]; /* gs_loop_now_ms of its word's last change */
	struct gs_dataplane_info info;		  /* the generation in force */
	bool connected;				  /* to the store */
	bool pooled;			     /* through a pooler: it is asked, it does not tell */
	bool from_last_good;		     /* the snapshot is the file's, not the store's */
	bool maps_are_others;		     /* the pins are not the maps that are written */
	bool working;			     /* a build or a load goes on */
	char connection_why[GS_ERROR_MAX];   /* why not; connected: what is refused, or "" */
	uint64_t connection_since_ms;	     /* gs_loop_now_ms */
	char geo_problem[GS_ERROR_MAX];	     /* why the last GeoIP load failed, or "" */
	bool geo_refused;		     /* that is: it would move more than the limit allows */
	const struct gs_geodata *geo_before; /* what a rollback takes; NULL: there is none */
	const struct gs_geo_change *geo_change; /* the last that was compared; NULL: none was */
	struct gs_geo_counts geo_counts;
	struct gs_load_state load;
	char asn_problem[GS_ERROR_MAX];	    /* the same of the ASN database */
	char publish_problem[GS_ERROR_MAX]; /* why the last publish failed, or "" */
};

/* 0 or -errno. */
int gs_reconcile_new(const struct gs_reconcile_ports *ports,
		     const struct gs_reconcile_settings *settings,
		     struct gs_reconcile **ret_reconcile);
/* Starts the store, the first loads, the timers. 0 or -errno of the store's start. */
int gs_reconcile_start(struct gs_reconcile *reconcile);
/*
 * After gs_loop_end_worker, before gs_loop_free. The data plane is left as it is. NULL is fine.
 */
void gs_reconcile_free(struct gs_reconcile *reconcile);

/* Outer bytes a router on the way to a backend lets through; 0: none has complained of late. */
uint32_t gs_reconcile_tunnel_mtu(const struct gs_reconcile *reconcile, gs_id backend);

/* NULL: its probes go through the tunnel. Else why they go straight to it, for people. There is a
 * snapshot, and the backend is of it. */
const char *gs_reconcile_probe_direct_why(const struct gs_reconcile *reconcile,
					  const struct gs_backend *backend);
/* Packets of probes through the tunnel, by what became of them; how many counters. */
uint32_t gs_reconcile_probe_packets(const struct gs_reconcile *reconcile,
				    struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX]);

const struct gs_reconcile_state *gs_reconcile_look(struct gs_reconcile *reconcile);

/* What an operator lays over objects on this edge alone, whatever the database says. */
struct gs_reconcile_laying {
	struct gs_overlay overlay; /* admin, reason, actor, ticket */
	uint32_t seconds;	   /* until it expires; not 0 */
	bool is_forced;		   /* against the rules (gs_admins_check) */
	double demand;		   /* new flows a second, for those; < 0: not known */
};
/* All or nothing, in force at once. 0, -EAGAIN (no configuration yet), -ENOENT, -EPERM (against the
 * rules), -ENOSPC, -errno of the file. */
int gs_reconcile_lay(struct gs_reconcile *reconcile, const struct gs_overlay_names *names,
		     uint32_t count, const struct gs_reconcile_laying *laying,
		     struct gs_error *error);
/* Takes it back; *ret_lifted: of how many. */
int gs_reconcile_lift(struct gs_reconcile *reconcile, const struct gs_overlay_names *names,
		      uint32_t count, const char *actor, uint32_t *ret_lifted,
		      struct gs_error *error);
/*
 * Backends are no longer damped, as if they had never flapped. *ret_cleared: how many of them had.
 * 0; -EAGAIN: there is no snapshot.
 */
int gs_reconcile_undamp(struct gs_reconcile *reconcile, const struct gs_overlay_names *names,
			uint32_t count, const char *actor, uint32_t *ret_cleared,
			struct gs_error *error);

enum {
	GS_LOAD_FORCED = 1, /* whatever it moves */
	GS_LOAD_DRY = 2, /* only what it would change: nothing comes into force, nothing is kept */
};
/*
 * Loads a GeoIP file and puts it in force. Exactly one done() follows: err 0, or -errno and what
 * is wrong with it (what was in force stays); -EPERM: it moves more than the limit allows,
 * -ECANCELED. state->geo_change is of it then, if there was one in force to compare it with.
 * -EBUSY at once if a load is under way; -EAGAIN: dry, and nothing is in force.
 */
int gs_reconcile_load_geo(struct gs_reconcile *reconcile, const char *path, unsigned flags,
			  void (*done)(void *context, int err, const char *problem), void *context);
/* The same, of the database that was in force before the last load, from memory; the limit is not
 * asked. Then this one is what another rollback takes. -ENOENT: there is none. */
int gs_reconcile_rollback_geo(struct gs_reconcile *reconcile,
			      void (*done)(void *context, int err, const char *problem),
			      void *context);
/* The load under way ends soon, with -ECANCELED; unless it is too far for that. False: there is
 * none. Also at the daemon's end, so that the worker need not be waited for. */
bool gs_reconcile_cancel_load(struct gs_reconcile *reconcile);
/* From the next comparison on. */
void gs_reconcile_limit_geo(struct gs_reconcile *reconcile, uint32_t percent);
/* As above with nobody to answer, and after the load under way if there is one; the last one asked
 * for wins. 0 or -ENAMETOOLONG. */
int gs_reconcile_reload_geo(struct gs_reconcile *reconcile, const char *path);
/* The same of an ASN database. */
int gs_reconcile_reload_asn(struct gs_reconcile *reconcile, const char *path);
/* Why overrides of systems that the snapshot has are followed by nobody; "": they are, or there are
 * none. Returns out. */
const char *gs_reconcile_asn_missing(const struct gs_reconcile_state *state,
				     char out[GS_ERROR_MAX]);
