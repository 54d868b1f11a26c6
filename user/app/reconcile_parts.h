/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The business loop's own parts, for reconcile*.c only. One publish and one load at a time, on the
 * one worker. A newer snapshot that arrives meanwhile waits in `next`; only the newest one does.
 * Words are the loop's alone: the worker never writes one, so a failover never waits for a build.
 */
#pragma once

#include "plan_counts.h"
#include "probe_minutes.h"
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

struct gs_publish {
	struct gs_job job;
	/* in */
	struct gs_snapshot *snapshot;
	struct gs_geodata *geo;
	struct gs_hop *hops;
	bool save;
	struct gs_usable_view *ahead; /* words written ahead; NULL: none */
	/* out */
	struct gs_tables *tables;
	struct gs_plan_counts *counts; /* NULL: no memory for them */
	struct gs_dataplane_info info;
	int err;
	struct gs_error error;
};

/* The last-good file, after the words: a slow disk must not keep those waiting. */
struct gs_save {
	struct gs_job job;
	struct gs_snapshot *snapshot; /* a copy */
	int err;
	struct gs_error error;
};

struct gs_load {
	struct gs_job job;
	char path[GS_PATH_MAX];
	struct gs_geodata *geo;
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
	struct gs_breakers *breakers;
	struct gs_plan_counts *counts; /* of the tables; NULL: none yet */

	struct gs_snapshot *snapshot; /* the words follow it */
	struct gs_tables *tables;     /* published; of `snapshot` and `geo` */
	struct gs_geodata *geo;
	struct gs_usable_view *view;
	const struct gs_snapshot *viewed; /* what the view was made of */
	uint64_t saved_revision;	  /* in the last good file, as far as is known; 0: none */
	bool is_warm; /* the maps were in force before this daemon came to them */

	struct gs_snapshot *next;     /* newest one not yet built */
	bool next_is_file;	      /* it is the last good file's */
	struct gs_geodata *fresh_geo; /* loaded, not yet in force */
	bool again;		      /* the maps are new and empty: publish what is in force */
	bool geo_alone;		      /* fresh_geo goes first, with the snapshot in force */
	bool waiting;		      /* for the retry timer: nothing has changed since a failure */
	bool first_load_pending;      /* nothing is published before it has ended */

	struct gs_publish publish;
	bool publishing, publishing_file;
	struct gs_save save;
	bool saving, save_due;
	struct gs_load load;
	bool loading;
	char load_due[GS_PATH_MAX]; /* to be loaded after that, or "" */
	void (*load_done)(void *context, int err, const char *problem);
	void *load_context;
	const struct gs_geodata *load_geo; /* what load_done waits for, loaded */

	struct gs_retry retry;
	struct gs_timer retry_timer, heartbeat_timer, last_good_timer, drain_timer;
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

/* ---- reconcile_hops.c: next hops ------------------------------------------------------------- */

int gs_reconcile_hops_new(struct gs_reconcile *r);
/* Looks at them when something changes, and now and then. 0 or -errno. */
int gs_reconcile_hops_start(struct gs_reconcile *r);
void gs_reconcile_hops_free(struct gs_reconcile *r);
/* At all of them, soon. */
void gs_reconcile_hops_look(struct gs_reconcile *r, const char *why);
/* For a publish: one a backend, asked for only if not known, for the caller to free; NULL: out of
 * memory. */
struct gs_hop *gs_reconcile_hops_of(struct gs_reconcile *r, const struct gs_snapshot *snapshot);
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

/* ---- reconcile_geo.c: GeoIP files ------------------------------------------------------------ */

/* Whoever waits for a load hears of it; nobody: nothing. */
void gs_reconcile_answer_load(struct gs_reconcile *r, int err, const char *problem);
/* The load that was asked for while another went on. */
void gs_reconcile_load_due(struct gs_reconcile *r);
