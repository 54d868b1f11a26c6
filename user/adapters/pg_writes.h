/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an edge tells the database: transitions, each once and in order, and its own row. Part of
 * the pg adapter, which decides when; nothing here waits.
 */
#pragma once

#include "user/ports.h"

#include <libpq-fe.h>

enum {
	GS_PG_TRANSITIONS_MAX = 10000, /* waiting; beyond that the oldest are dropped */
	GS_PG_BATCH_MAX = 200,	       /* written by one statement */
	GS_PG_MINUTES_MAX = 50000,     /* rows waiting; beyond that the oldest are dropped */
	GS_PG_MINUTES_BATCH = 250,     /* written by one statement */
};

struct gs_pg_queued; /* a transition and its number */

struct gs_pg_writes {
	const char *edge; /* borrowed */
	int64_t run;	  /* random, of this process: with a number the key of a transition */
	uint64_t next_number;
	struct gs_pg_queued *first, **last;
	uint32_t count;
	uint32_t in_flight; /* the first ones: sent, not yet known to be committed */
	uint32_t batch_limit;
	uint64_t dropped;
};

void gs_pg_writes_init(struct gs_pg_writes *writes, const char *edge);
void gs_pg_writes_done(struct gs_pg_writes *writes);

void gs_pg_writes_add(struct gs_pg_writes *writes, const struct gs_transition *transition);

/* Sends the next batch (count > 0). 0 or -errno: then nothing is in flight. */
int gs_pg_writes_send(struct gs_pg_writes *writes, PGconn *connection);
/* The batch is committed. */
void gs_pg_writes_committed(struct gs_pg_writes *writes);
/*
 * The batch was refused (sqlstate, may be NULL), or its fate is unknown (NULL): it stays queued. A
 * single transition the database can never take (a data error) is discarded. True if sending again
 * now makes sense.
 */
bool gs_pg_writes_refused(struct gs_pg_writes *writes, const char *sqlstate);

/* Minutes of probes that wait to be written, oldest first. */
struct gs_pg_minutes {
	struct gs_probe_minute *rows;
	uint32_t count, room;
	uint32_t in_flight; /* the first ones */
	uint64_t dropped;
};
void gs_pg_minutes_done(struct gs_pg_minutes *minutes);
/* Copied. */
void gs_pg_minutes_add(struct gs_pg_minutes *minutes, const struct gs_probe_minute *rows,
		       uint32_t count);
/* As gs_pg_writes_send. */
int gs_pg_minutes_send(struct gs_pg_minutes *minutes, const char *edge, PGconn *connection);
/* The batch is committed, or cannot be taken: it goes. Otherwise (was_lost) it stays. */
void gs_pg_minutes_sent(struct gs_pg_minutes *minutes, bool was_lost);

/* This edge's breakers: {service, region, state, exponent, epoch, left_ms, saved_at in unix ms}. */
int gs_pg_send_breakers(PGconn *connection, const char *edge);
/* Rows of that query; those that make no sense are left out. *ret_records to free. 0 or -ENOMEM. */
int gs_pg_breaker_records(const PGresult *result, struct gs_breaker_record **ret_records,
			  uint32_t *ret_count);

/* Upserts the edge's row and its generation's. is_first: since it connected. 0 or -errno. */
int gs_pg_send_edge(PGconn *connection, const char *edge, const struct gs_edge_report *report,
		    bool is_first);
