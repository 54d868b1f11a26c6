/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capacity: who is to leave a region that is full, and where to. Pure; caller's memory; the same
 * demand gives the same answer, whatever order it was told in. docs/steering.md has it for people.
 *
 * Demand is known in groups: clients with one home (the region their first draw gives) who may go
 * to the same regions. What comes out is a few numbers a region, which the packet path draws by
 * (gs_fill_word): `away`, the share of its own clients that leaves; `room`, what it weighs among
 * those that take them; `spare`, the same for clients whose home is suddenly gone; `shed`.
 *
 * gs_capacity_solve says what would be right, gs_capacity_step moves there from what is in force:
 * at once as far as a region would be beyond its capacity, else at most 10 % of clients a second.
 */
#pragma once

#include "plan.h"
#include "types.h"

enum {
	GS_CAPACITY_GROUPS = 256,
	GS_CAPACITY_BUCKETS = 1024,
	GS_CAPACITY_REGIONS = GS_ID_MAX_REGION + 1, /* by id */
};

/* Shares of clients, each: what may move in a second, and what is too little to move for. */
#define GS_CAPACITY_RATE 0.10
#define GS_CAPACITY_STILL 0.01

struct gs_capacity_group {
	uint8_t home;
	uint8_t count;
	uint8_t usable[GS_PLAN_REGIONS]; /* ids, ascending; home is among them if it is usable */
	float per_second[GS_PRIORITIES]; /* new flows, by their service's priority */
};

struct gs_capacity_limit {
	uint64_t capacity; /* new flows a second; 0: not stated, never full */
	uint8_t target;	   /* percent; 0: GS_TARGET_DEFAULT */
};

/* Zeroed: nothing is asked of anybody. Fill in limits, add demand, solve. */
struct gs_capacity_input {
	struct gs_capacity_limit limit[GS_CAPACITY_REGIONS];
	struct gs_capacity_group group[GS_CAPACITY_GROUPS];
	uint16_t group_count;
	uint16_t bucket[GS_CAPACITY_BUCKETS]; /* 1 + index of a group */
	uint32_t merged;		      /* demands that found no group of their own */
};

/* Shares, as words have them. */
struct gs_capacity_words {
	double away[GS_CAPACITY_REGIONS]; /* 0 .. 1 */
	double room[GS_CAPACITY_REGIONS]; /* their sum is 1, or all are 0 */
	double spare[GS_CAPACITY_REGIONS];
	double shed[GS_CAPACITY_REGIONS]; /* priorities: 2.5: 0 and 1, and half of 2 */
};

/* What words come to: new flows a second. */
struct gs_capacity_load {
	double own[GS_CAPACITY_REGIONS];   /* demand of clients at home there, shed ones included */
	double kept[GS_CAPACITY_REGIONS];  /* of those, served there */
	double taken[GS_CAPACITY_REGIONS]; /* of others */
	double shed[GS_CAPACITY_REGIONS];  /* of its own, served nowhere */
	double over;			   /* beyond capacities, of all */
	double lost;			   /* of clients none of whose regions is usable */
};

/*
 * Demand of clients at home in `home` who may go to `count` regions (<= GS_PLAN_REGIONS, no id
 * twice). priority < GS_PRIORITIES.
 */
void gs_capacity_add(struct gs_capacity_input *input, gs_id home, const uint8_t *usable,
		     uint8_t count, uint8_t priority, double per_second);
/* Forgets demand, keeps limits. */
void gs_capacity_clear(struct gs_capacity_input *input);

/* Puts groups into an order that does not depend on who told of them first. */
void gs_capacity_sort(struct gs_capacity_input *input);
/* What would be right. Sorts the groups. */
void gs_capacity_solve(struct gs_capacity_input *input, struct gs_capacity_words *ret_words);
/* What these words come to. */
void gs_capacity_weigh(const struct gs_capacity_input *input, const struct gs_capacity_words *words,
		       struct gs_capacity_load *ret_load);

/*
 * From the words in force to those that are right, elapsed_ms later. is_up: as this edge sees the
 * regions: of one that is not up all clients are away, so that they come back slowly.
 */
void gs_capacity_step(const struct gs_capacity_input *input, const struct gs_capacity_words *right,
		      const bool is_up[GS_CAPACITY_REGIONS], uint32_t elapsed_ms,
		      struct gs_capacity_words *words);

/* As packets have them, and back. */
void gs_capacity_to_fill(const struct gs_capacity_words *words,
			 struct gs_fill ret_fill[GS_CAPACITY_REGIONS]);
void gs_capacity_from_fill(const struct gs_fill fill[GS_CAPACITY_REGIONS],
			   struct gs_capacity_words *ret_words);
/* The share of a priority's clients that `shed` drops. */
double gs_capacity_shed_share(double shed, uint8_t priority);
