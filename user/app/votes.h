/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many vantages: what this edge says of each region (and of each pool that is otherwise than its
 * region), whether it trusts itself (core/self.h), and what all edges come to together
 * (core/quorum.h). Ballots travel through the store; nothing here waits for them, and an edge
 * acts on its own view at once. Acts on nothing: changes go to a callback.
 */
#pragma once

#include "monitor.h"
#include "user/base/loop.h"
#include "user/core/quorum.h"
#include "user/core/self.h"
#include "user/ports.h"

struct gs_votes;

/* All borrowed; they outlive the votes. */
struct gs_votes_ports {
	struct gs_loop *loop;
	const struct gs_store *store;
	/* In force now; NULL: none yet. */
	const struct gs_snapshot *(*snapshot)(void *context);
	/* False: no such target. */
	bool (*health)(void *context, gs_id backend, struct gs_monitor_status *ret_status);
	/* Fills in what the edge knows of itself: is_late, has_no_carrier, anchors. */
	void (*look_at_self)(void *context, struct gs_self_facts *facts);
	/* What gs_votes_global or gs_votes_holds say has changed. */
	void (*on_change)(void *context, const char *why);
	void *context;
};

/* What people are told of one region or pool. */
struct gs_votes_status {
	gs_id service; /* 0: the region */
	gs_id region;
	struct gs_quorum quorum;
	struct gs_tally tally;
	enum gs_vote own;
};

/* And of one edge; [0] is this one. */
struct gs_votes_edge {
	const char *name, *site, *self, *self_why; /* until the loop's next turn */
	uint64_t age_ms, seq;
	bool is_fresh;
	const char *version;
	uint64_t generation, revision, digest, geo_digest, selection_seed;
};

/* edge, site: copied. 0 or -ENOMEM. */
int gs_votes_new(const struct gs_votes_ports *ports, const char *edge, const char *site,
		 struct gs_votes **ret_votes);
/* NULL is fine. */
void gs_votes_free(struct gs_votes *votes);
/* From now on it looks, and tells the store. 0 or -ENOMEM. */
int gs_votes_start(struct gs_votes *votes);

void gs_votes_on_ballots(struct gs_votes *votes, const struct gs_ballots *ballots);
/* Away: what was heard of others counts no more, what came of it holds for GS_VOTE_FRESH_MS. */
void gs_votes_on_connection(struct gs_votes *votes, bool connected);
/* What this edge runs on from now on, as the store is told. */
void gs_votes_set_running(struct gs_votes *votes, const struct gs_edge_report *report);
/* A verdict has changed, or the snapshot: looks again within milliseconds. */
void gs_votes_touch(struct gs_votes *votes);

/* service 0: the region alone; else DOWN also if the region is. */
enum gs_global gs_votes_global(const struct gs_votes *votes, gs_id service, gs_id region);
/*
 * The backend answered until this edge began to hear nobody at all, and the edge is one of a group:
 * it keeps its word, since what is broken is most likely the edge.
 */
bool gs_votes_holds(const struct gs_votes *votes, gs_id backend);
/* Edges that are heard of, this one included. */
uint32_t gs_votes_live(const struct gs_votes *votes);

const struct gs_self *gs_votes_self(const struct gs_votes *votes);
uint32_t gs_votes_edge_count(const struct gs_votes *votes);
void gs_votes_edge(const struct gs_votes *votes, uint32_t index, struct gs_votes_edge *ret_edge);
/* What this edge (index 0) or another one says. */
enum gs_vote gs_votes_of(const struct gs_votes *votes, uint32_t index, gs_id service, gs_id region);
/* A pool that no edge has a vote of its own for is as its region. */
void gs_votes_get(const struct gs_votes *votes, gs_id service, gs_id region,
		  struct gs_votes_status *ret_status);
/* Is there a vote of its own for the pool? */
bool gs_votes_has_pool(const struct gs_votes *votes, gs_id service, gs_id region);
/* "down by 4 of 5 edges in 2 of 3 domains", "no quorum: ..."; returns out. */
const char *gs_votes_words(const struct gs_votes_status *status, char *out, size_t room);
const struct gs_quorum_rule *gs_votes_rule(const struct gs_votes *votes);
