/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips in the database: what this edge tells, the turn to judge, and what is published. Part
 * of the pg adapter, which decides when; nothing here waits.
 */
#pragma once

#include "user/ports.h"

#include <libpq-fe.h>

struct gs_pg_latency {
	const char *edge; /* borrowed */
	char *told;	  /* waits to be sent; NULL: nothing */
	char *changes;	  /* the same of what is to be published */
	struct gs_latency_step step;
	int64_t epoch; /* that they are of */
	uint32_t period_ms;
	bool turn_is_due;
};

/* What waits goes. */
void gs_pg_latency_done(struct gs_pg_latency *latency);
bool gs_pg_latency_is_busy(const struct gs_pg_latency *latency);
/* Kept for later. -ENOMEM: it is not. */
int gs_pg_latency_tell(struct gs_pg_latency *latency, const struct gs_latency_told *rows,
		       uint32_t count);
int gs_pg_latency_change(struct gs_pg_latency *latency, int64_t epoch,
			 const struct gs_latency_step *step,
			 const struct gs_latency_change *changes, uint32_t count);
/* Each sends what waits, which waits no longer. 0 or -EIO. */
int gs_pg_latency_send_told(struct gs_pg_latency *latency, PGconn *connection);
int gs_pg_latency_send_turn(struct gs_pg_latency *latency, PGconn *connection);
int gs_pg_latency_send_changes(struct gs_pg_latency *latency, PGconn *connection);
/*
 * The answer to the second: -EAGAIN: it is another edge's turn; 0: ours, and what all have measured
 * (to free); rows that make no sense are left out. -ENOMEM.
 */
int gs_pg_latency_turn(const PGresult *result, int64_t *ret_epoch,
		       struct gs_latency_measured **ret_measured, uint32_t *ret_count);
/* To the third. */
bool gs_pg_latency_is_published(const PGresult *result);
