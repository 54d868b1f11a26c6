/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What many edges make of one region (or of one pool of it) together: each says up, down or
 * unknown; the majority of a failure domain's voters is the domain's word, and the domains decide.
 * Pure: the same votes come to the same on every edge, so nobody has to lead.
 *
 * Unknown is no vote. Too few voters, or too few domains, move nothing: what was holds for a
 * while, then there is no common state at all, and each edge has only its own view.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum gs_vote { GS_VOTE_UNKNOWN, GS_VOTE_UP, GS_VOTE_DOWN, GS_VOTE__COUNT };
enum gs_global { GS_GLOBAL_NONE, GS_GLOBAL_UP, GS_GLOBAL_DOWN, GS_GLOBAL__COUNT };

enum {
	GS_QUORUM_DOMAINS_MAX = 256,
	GS_QUORUM_VOTERS = 3,
	GS_QUORUM_DOMAINS = 2,
	GS_QUORUM_DOWN_PERMILLE = 500,
	GS_QUORUM_DOWN_PERMILLE_MIN = 180,
	GS_QUORUM_DOWN_PERMILLE_MAX = 1000,
	GS_VOTE_EVERY_MS = 2000, /* an edge says so at least */
	GS_VOTE_FRESH_MS = 6000, /* and is believed for so long */
};

/* One edge's. One that is stale is the caller's to make UNKNOWN. */
struct gs_ballot {
	uint16_t domain; /* < GS_QUORUM_DOMAINS_MAX; equal: the same site or transit */
	enum gs_vote vote;
};

struct gs_tally {
	uint16_t up, down, unknown;		    /* edges */
	uint16_t domains, domains_up, domains_down; /* with a voter; the others are split */
	bool is_quorate;
};

/* down: of the domains, per mille: down with more than that share, or with all of them. */
struct gs_quorum_rule {
	uint16_t down_permille; /* GS_QUORUM_DOWN_PERMILLE_MIN .. _MAX */
};

struct gs_quorum {
	enum gs_global state;
	uint64_t since_ms;
	uint64_t quorate_ms; /* when there last were enough voters */
};

struct gs_tally gs_quorum_count(const struct gs_ballot *ballots, uint32_t count);
/*
 * Takes these votes, as of now_ms. A tie, and a share exactly at the rule's, keep what was; without
 * a quorum it is kept for GS_VOTE_FRESH_MS, then it is NONE. True: the state has changed.
 */
bool gs_quorum_step(struct gs_quorum *quorum, const struct gs_quorum_rule *rule,
		    const struct gs_tally *tally, uint64_t now_ms);

const char *gs_vote_name(enum gs_vote vote);	  /* unknown up down */
const char *gs_global_name(enum gs_global state); /* none up down */
