/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another GeoIP database would change, before it takes force: the share of addresses that get
 * another location and of those that begin in another region, by the plans of each service, and the
 * same of the clients of the last hour's sample. Of addresses exactly: the tables of both are
 * walked in step, overrides included. Whether a region is usable is no part of it, as in shift.h.
 */
#pragma once

#include "shift.h"
#include "tables.h"
#include "user/base/progress.h"

enum {
	GS_GEO_CHANGE_MOVES = 16,
	GS_GEO_CHANGE_FLOWS_LEAST = 100, /* sampled ones: of fewer a share says nothing */
	GS_GEO_LIMIT_OFF = 101,		 /* percent; what has no limit */
	GS_GEO_LIMIT_DEFAULT = 20,
};

/* Of the addresses of a family that have a location before or after. IPv6 without those that are
 * located by the IPv4 address in them. */
struct gs_geo_change_family {
	double located;		   /* how many */
	double relocated;	   /* share of them that has another location */
	double moved;		   /* that begins in another region, of the service it is most of */
	char service[GS_NAME_MAX]; /* that; "": nothing moves */
};

/* From one region to another, of one service and all that have the same plans. */
struct gs_geo_change_move {
	char service[GS_NAME_MAX];
	uint32_t services;	/* it and the others */
	char from[GS_NAME_MAX]; /* "": there is none */
	char to[GS_NAME_MAX];
	double share4, share6; /* of located */
};

enum gs_geo_outcome {
	GS_GEO_IS_SHOWN, /* a dry run: nothing came of it */
	GS_GEO_IS_REFUSED,
	GS_GEO_IS_IN_FORCE,
	GS_GEO_OUTCOME__COUNT
};

struct gs_geo_change {
	char path[GS_PATH_MAX];	  /* of the database that is new */
	char before[GS_PATH_MAX]; /* in force until then */
	enum gs_geo_outcome outcome;
	uint32_t limit_percent; /* that held for it; GS_GEO_LIMIT_OFF */
	int64_t unix_ms;
	bool is_forced; /* the limit was not asked */
	bool is_same;	/* both say the same of every address: nothing else was looked at */
	struct gs_geo_change_family v4, v6;
	double relocated_flows; /* of the sample's: they have another location */
	struct gs_shift shift;	/* what it does to the sample */
	uint32_t move_count;
	struct gs_geo_change_move moves[GS_GEO_CHANGE_MOVES]; /* the largest first */
	uint32_t took_ms;
};

struct gs_geo_change_of {
	const struct gs_tables *before, *after; /* of one snapshot, both with a database */
	const struct gs_client_count *clients;
	uint32_t client_count;
	struct gs_progress *progress; /* NULL: nobody asks */
};

/* On the worker: some seconds, for databases of cities. Fills what is found, nothing else. 0,
 * -ENOMEM, -ECANCELED. */
int gs_geo_change_find(const struct gs_geo_change_of *of, struct gs_geo_change *change);
/* More than limit_percent of anything begins in another region; out: of what, for people. */
bool gs_geo_change_exceeds(const struct gs_geo_change *change, char *out, size_t room);
/* Share of the sampled flows that begin in another region. */
double gs_geo_change_traffic(const struct gs_geo_change *change);
/* "shown", ... */
const char *gs_geo_outcome_name(enum gs_geo_outcome outcome);
