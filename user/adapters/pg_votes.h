/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Votes by way of the database: this edge's, of which what differs from what is there is written;
 * the others', of which what is new is read. Part of the pg adapter, which decides when; nothing
 * here waits.
 */
#pragma once

#include "user/ports.h"

#include <libpq-fe.h>

/* What the database has, or should have. */
struct gs_pg_paper {
	char site[GS_NAME_MAX], self[GS_NAME_MAX], self_why[GS_SELF_TEXT_MAX];
	struct gs_edge_vote *votes; /* sorted */
	uint32_t count;
};

struct gs_pg_votes {
	const char *edge; /* borrowed */
	bool has_paper;
	bool is_written; /* `written` is what the database has; else all is written anew */
	struct gs_pg_paper wanted, sent, written;
	struct gs_pg_known {
		char edge[GS_NAME_MAX];
		uint64_t seq;
	} known[GS_VOTERS_MAX]; /* of the others, as last read */
	uint32_t known_count;
};

void gs_pg_votes_init(struct gs_pg_votes *votes, const char *edge);
void gs_pg_votes_done(struct gs_pg_votes *votes);
/* Another connection: nothing is known of what the database has. */
void gs_pg_votes_forget(struct gs_pg_votes *votes);

/* Copied. 0 or -ENOMEM: what was wanted before stays. */
int gs_pg_votes_take(struct gs_pg_votes *votes, const struct gs_ballot_paper *paper);
/* Is there more to write than that the edge still votes so? */
bool gs_pg_votes_is_news(const struct gs_pg_votes *votes);
/* 0 or -errno. */
int gs_pg_votes_send(struct gs_pg_votes *votes, PGconn *connection);
/* What was sent is committed. False: there is no row of the edge to hang votes on. */
bool gs_pg_votes_sent(struct gs_pg_votes *votes, const PGresult *result);

/* Asks for the others'. 0 or -errno. */
int gs_pg_votes_ask(struct gs_pg_votes *votes, PGconn *connection);
/* The answer; rows that make no sense are left out. *ret_ballots: gs_pg_ballots_done. 0 or -errno.
 */
int gs_pg_votes_read(struct gs_pg_votes *votes, const PGresult *result,
		     struct gs_ballots *ret_ballots);
void gs_pg_ballots_done(struct gs_ballots *ballots);
