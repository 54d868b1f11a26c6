/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Demand between edges: what this one tells, and what all the others have told. Part of the pg
 * adapter, which decides when; nothing here waits.
 */
#pragma once

#include "user/ports.h"

#include <libpq-fe.h>

/* What is to be written: a copy of what was reported last, as JSON. */
struct gs_pg_demand {
	char *rows; /* NULL: nothing was reported yet */
	bool due;
	uint32_t edges; /* that others' demand came from */
};

void gs_pg_demand_done(struct gs_pg_demand *demand);
/* Without memory for it what was reported before stays due. */
void gs_pg_demand_set(struct gs_pg_demand *demand, const struct gs_demand_told *rows,
		      uint32_t count);
/* 0 or -EIO */
int gs_pg_demand_send(struct gs_pg_demand *demand, const char *edge, PGconn *connection);
/* Asks for the sums of the other edges. 0 or -EIO */
int gs_pg_demand_ask(const char *edge, PGconn *connection);
/* Its rows; those that make no sense are left out. *ret_rows to free. 0 or -ENOMEM */
int gs_pg_demand_rows(struct gs_pg_demand *demand, const PGresult *result,
		      struct gs_demand_told **ret_rows, uint32_t *ret_count);
/* How long until it is worth asking again: the more edges there are, the longer. */
uint32_t gs_pg_demand_pause_ms(const struct gs_pg_demand *demand);
