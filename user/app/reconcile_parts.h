/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The business loop's own parts, for reconcile*.c only. One publish and one load at a time, on the
 * one worker. A newer snapshot that arrives meanwhile waits in `next`; only the newest one does.
 * Words are the loop's alone: the worker never writes one, so a failover never waits for a build.
 */
#pragma once

#include "accord_watch.h"
#include "dampings.h"
#include "overlays.h"
#include "panic.h"
#include "plan_counts.h"
#include "probe_minutes.h"
#include "probe_trips.h"
#include "reconcile.h"
#include "user/base/error.h"
#include "user/core/retry.h"

enum {
	HEARTBEAT_MS = 1000,
	HOPS_POLL_MS = 10000,	   /* all of them, though nothing was told */
	LAST_GOOD_AFTER_MS = 2000, /* without a word from the store */
	DRAIN_LOOK_MS = 10000,	   /* while a drain has a deadline: the wall clock may be set */
	RETRY_BASE_MS = 500,
	RETRY_CAP_MS = 30000,
};

enum gs_publish_stage {
	GS_PUBLISH_IS_MADE,	/* hops are gathered, then it is the worker's */
	GS_PUBLISH_IS_FOLLOWED, /* in force; who follows generations has its turns */
	GS_PUBLISH_IS_TAKEN,
	GS_PUBLISH_IS_TOLD,
};

/* How a GeoIP database is to be treated. */
struct gs_geo_how {
	bool is_forced, is_dry, is_rollback;
};

struct gs_publish {
	struct gs_job job;
	enum gs_publish_stage stage;
	/* in */
	struct gs_snapshot *snapshot;
	struct gs_geodata *geo;
	struct gs_asndata *asn;
	struct gs_hop *hops;
	uint32_t hops_at; /* how many are there */
	bool save;
	struct gs_usable_view *ahead;	/* words written ahead; NULL: none */
	bool has_new;			/* a database that is not in force */
	const struct gs_tables *before; /* to compare with; NULL: that is not asked */
	struct gs_geo_how how;		/* of a new GeoIP database */
	struct gs_client_count *clients;
	uint32_t client_count;
	uint32_t limit_percent;
	/* out */
	struct gs_tables *tables;
	struct gs_plan_counts *counts; /* NULL: no memory for them */
	struct gs_dataplane_info info;
	struct gs_geo_change *change; /* NULL: nothing was compared */
	bool is_turned_away;	      /* the database, and it is released already */
	int err;
	struct gs_error error;
	/* while it is taken over */
	bool is_new, new_geo, new_asn;
	uint64_t generation_before;
};

/* What another generation has replaced. Hundreds of megabytes, for a database of cities: giving
 * them back takes the kernel longer than the loop has. */
struct gs_rubbish {
	struct gs_job job;
	bool is_out; /* with the worker */
	struct gs_tables *tables;
	struct gs_geodata *geo;
	struct gs_asndata *asn;
};

/* The last-good file, after the words: a slow disk must not keep those waiting. */
struct gs_save {
	struct gs_job job;
	struct gs_snapshot *snapshot; /* a copy */
	int err;
	struct gs_error error;
};

/* The same file, read: 15 ms at 2,000 backends, and nobody knows how long a disk takes. */
struct gs_last_good {
	struct gs_job job;
	struct gs_snapshot *snapshot; /* read and not yet needed; NULL: none */
	bool is_reading;
	bool is_wanted; /* as soon as it is read */
	int err;
	struct gs_error error;
};

/* Who is damped, for the next daemon. */
struct gs_damping_save {
	struct gs_job job;
	char *text; /* NULL: the worker has none */
	bool is_due;
	int err;
	struct gs_error error;
};

/* Of either kind of database. */
struct gs_load {
	struct gs_job job;
	char path[GS_PATH_MAX];
	bool is_asn;
	struct gs_geo_how how;
	struct gs_geodata *geo;
	struct gs_asndata *asn;
	int err;
	struct gs_error error;
};

/* All next hops, one after the other, some a turn. A change in the middle begins a new round. */
struct gs_hops_walk {
	struct gs_timer poll_timer, turn_timer;
	struct gs_hop *hops; /* of each backend's id as it was last; all zero: not known */
	uint32_t at, left;   /* of the snapshot's backends */
	bool is_walking;     /* turn_timer is set */
	bool is_stale;	     /* a publish has hops from before a change */
	const char *why;
	uint32_t changed, down; /* in this walk */
	char first[GS_NAME_MAX];
};

/* What routers on the way to backends have told, by backend. */
struct gs_tunnels {
	struct gs_timer timer;
	uint32_t *mtu; /* 0: nothing */
	uint64_t *until_ms;
	uint32_t count; /* of those that are not 0 */
};

struct gs_reconcile {
	struct gs_reconcile_ports ports;
	struct gs_reconcile_settings settings;
	struct gs_reconcile_state state;
	struct gs_monitor *monitor;
	struct gs_probe_minutes *minutes;
	struct gs_probe_trips *trips;
	struct gs_breakers *breakers;
	struct gs_votes *votes;
	struct gs_accord_watch accord;
	struct gs_panics *panics;
	struct gs_dampings *dampings;
	struct gs_damping_save damping_save;
	struct gs_local_overlays local; /* what is laid over objects on this edge alone */
	int64_t clock_ahead_ms;		/* the database's clock less ours, as last read */
	struct gs_plan_counts *counts;	/* of the tables; NULL: none yet */

	struct gs_snapshot *snapshot; /* the words follow it */
	struct gs_tables *tables;     /* published; of `snapshot`, `geo` and `asn` */
	struct gs_geodata *geo;
	struct gs_asndata *asn;
	struct gs_usable_view *view;
	const struct gs_snapshot *viewed; /* what the view was made of */
	uint64_t saved_revision;	  /* in the last good file, as far as is known; 0: none */
	bool is_warm; /* the maps were in force before this daemon came to them */

	struct gs_snapshot *next;     /* newest one not yet built */
	bool next_is_file;	      /* it is the last good file's */
	struct gs_geodata *fresh_geo; /* loaded, not yet in force */
	struct gs_geo_how fresh_how;
	struct gs_geodata *geo_before;	  /* in force before `geo`, for a rollback; NULL: none */
	struct gs_geo_change *geo_change; /* the last one; NULL: none */
	struct gs_asndata *fresh_asn;	  /* the same */
	bool again;			  /* the maps are new and empty: publish what is in force */
	bool geo_alone;			  /* what is fresh goes first, with the snapshot in force */
	bool waiting;		 /* for the retry timer: nothing has changed since a failure */
	bool first_load_pending; /* nothing is published before the first ones have ended */

	struct gs_publish publish;
	bool publishing, publishing_file;
	struct gs_rubbish rubbish;
	struct gs_save save;
	bool saving, save_due;
	struct gs_last_good last_good;
	struct gs_load load;
	struct gs_progress progress; /* of a load, then of its publish */
	struct gs_load_state shown;  /* while one is under way: what it is of */
	char shown_path[GS_PATH_MAX];
	bool loading;
	char load_due[GS_PATH_MAX]; /* to be loaded after that, or "" */
	char asn_due[GS_PATH_MAX];  /* then, the ASN database */
	void (*load_done)(void *context, int err, const char *problem);
	void *load_context;
	const struct gs_geodata *load_geo; /* what load_done waits for, loaded */

	struct gs_retry retry;
	struct gs_timer retry_timer, publish_timer, heartbeat_timer, last_good_timer, drain_timer,
		lease_timer, panic_timer, damping_timer, damping_save_timer;
	bool watches_leases;
	struct gs_hops_walk walk;
	struct gs_tunnels tunnels;
};

/* ---- reconcile_words.c: verdicts and admin states to words; targets -------------------------- */

/* Writes the words of `snapshot` as health and admin states have them now, then tells the changes.
 * first: the backend whose first verdict it is, or 0. */
void gs_reconcile_apply_words(struct gs_reconcile *r, gs_id first, const char *why);
/* A drain's deadline has passed, or it is time to look whether it has. */
void gs_reconcile_on_drain(struct gs_timer *timer);
/* What decides the words: health, and what breakers let through. */
struct gs_usable_health gs_reconcile_usable_health(struct gs_reconcile *r);
void gs_reconcile_on_breaker(void *context, const struct gs_breakers_change *change);
/* What the monitor says of a backend; context: the reconcile. */
enum gs_health_state gs_reconcile_health(void *context, gs_id backend);
void gs_reconcile_on_verdict(void *context, const struct gs_monitor_verdict *verdict);
void gs_reconcile_on_result(void *context, const struct gs_monitor_result *result);
/* Probes go to this snapshot's backends. */
void gs_reconcile_watch(struct gs_reconcile *r, const struct gs_snapshot *snapshot);

/* ---- reconcile_votes.c: other edges ---------------------------------------------------------- */

/* 0 or -errno. */
int gs_reconcile_votes_new(struct gs_reconcile *r);
void gs_reconcile_on_ballots(void *context, const struct gs_ballots *ballots);
/* What the quorum holds of a pool; context: the reconcile. */
enum gs_global gs_reconcile_global(void *context, gs_id service, gs_id region);

/* ---- reconcile_leases.c: trials of half-open breakers ---------------------------------------- */

/* A pool is on trial: from now on what becomes of its trials is looked at. */
void gs_reconcile_watch_leases(struct gs_reconcile *r);
void gs_reconcile_on_leases(struct gs_timer *timer);

/* ---- reconcile_admin.c: panic, overlays of this edge ----------------------------------------- */

int gs_reconcile_admin_new(struct gs_reconcile *r);
void gs_reconcile_admin_free(struct gs_reconcile *r);
/* After words were judged: tells which services began or ceased to ignore health, and wakes up when
 * one may cease. True: one did, and `out` is why words change. */
bool gs_reconcile_tell_panics(struct gs_reconcile *r, char out[GS_PANIC_TEXT_MAX]);
/* This edge's own, to the objects of the snapshot the words follow; those it supersedes go. */
void gs_reconcile_follow_overlays(struct gs_reconcile *r);
/* Of this edge's own: from the file, too. */
void gs_reconcile_drop_expired(struct gs_reconcile *r);
/* What the store's clock says, of a snapshot that was just read. */
void gs_reconcile_note_clock(struct gs_reconcile *r, const struct gs_snapshot *snapshot);

/* ---- reconcile_damping.c: who flaps ---------------------------------------------------------- */

int gs_reconcile_damping_new(struct gs_reconcile *r);
void gs_reconcile_damping_free(struct gs_reconcile *r);
/* A verdict on a backend of `snapshot`, before words are judged. */
void gs_reconcile_damp(struct gs_reconcile *r, const struct gs_backend *backend,
		       const struct gs_monitor_verdict *verdict);
/* After words were judged: wakes up when one may return, and when it is to be saved. */
void gs_reconcile_wait_for_dampings(struct gs_reconcile *r);

/* ---- reconcile_hops.c: next hops ------------------------------------------------------------- */

int gs_reconcile_hops_new(struct gs_reconcile *r);
/* Looks at them when something changes, and now and then. 0 or -errno. */
int gs_reconcile_hops_start(struct gs_reconcile *r);
void gs_reconcile_hops_free(struct gs_reconcile *r);
/* At all of them, soon. */
void gs_reconcile_hops_look(struct gs_reconcile *r, const char *why);
/*
 * The hops of the backends that are to be published, some of them each time; those that are known
 * are not asked for again. True: all are there.
 */
bool gs_reconcile_hops_gather(struct gs_reconcile *r);
/* After it: hops (NULL: it failed) are in force; what changed meanwhile is looked at again. */
void gs_reconcile_hops_published(struct gs_reconcile *r, const struct gs_hop *hops);

/* ---- reconcile_tunnels.c: paths to backends -------------------------------------------------- */

int gs_reconcile_tunnels_new(struct gs_reconcile *r);
int gs_reconcile_tunnels_start(struct gs_reconcile *r);
void gs_reconcile_tunnels_free(struct gs_reconcile *r);
/* Its path is another one by now. */
void gs_reconcile_tunnels_forget(struct gs_reconcile *r, gs_id backend);
/* The least MTU that is believed of a path: what has to fit is inside. */
uint32_t gs_reconcile_tunnel_floor(const struct gs_backend *backend,
				   const struct gs_service *service);

/* ---- reconcile_publish.c: snapshot and GeoIP database to a generation ------------------------ */

/* Is there something to build, and nothing in its way? */
void gs_reconcile_consider(struct gs_reconcile *r);
/* The same after a change: what failed before may succeed now. */
void gs_reconcile_consider_now(struct gs_reconcile *r);
void gs_reconcile_on_retry(struct gs_timer *timer);
/* At the end, when there is no worker any more: what it has not come to. */
void gs_reconcile_drop_rubbish(struct gs_reconcile *r);
void gs_reconcile_on_publish_turn(struct gs_timer *timer);

/* ---- reconcile_geo.c: GeoIP and ASN files ---------------------------------------------------- */

/* Whoever waits for a load hears of it; nobody: nothing. */
void gs_reconcile_answer_load(struct gs_reconcile *r, int err, const char *problem);
/* In gs_load_state's words, as it is now. */
void gs_reconcile_look_at_load(struct gs_reconcile *r);
/* A database has been turned away (-EPERM, -ECANCELED, a dry run): it is told, and forgotten. */
void gs_reconcile_turned_away(struct gs_reconcile *r);
/* Compared, if it was; now it is in force. */
void gs_reconcile_geo_taken(struct gs_reconcile *r);
/* The loads that were asked for while another went on. */
void gs_reconcile_load_due(struct gs_reconcile *r);
/* NULL is fine. */
void gs_reconcile_release_geo(struct gs_reconcile *r, struct gs_geodata *geo);
void gs_reconcile_release_asn(struct gs_reconcile *r, struct gs_asndata *asn);
