/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet path's flow table, read beside it. An entry holds no addresses: only a 32-bit tag, the
 * backend and when the flow was last seen. Who knows a flow finds its entry; an entry tells nobody
 * whose it is. Words are read whole, one at a time: a walk is no moment's picture.
 */
#pragma once

#include "user/core/types.h"

#include <stdbool.h>
#include <stdint.h>

/* How gladly the packet path gives an entry up: the later, the sooner (bpf/README.md). */
enum gs_flow_state {
	GS_FLOW_IS_ACTIVE,    /* proven, seen within 60 s */
	GS_FLOW_IS_QUIET,     /* proven, not seen for 60 s */
	GS_FLOW_IS_UNPROVEN,  /* no packet after its first yet */
	GS_FLOW_IS_CLOSED,    /* FIN or RST seen */
	GS_FLOW_IS_ABANDONED, /* not seen for 15 minutes */
	GS_FLOW_IS__COUNT
};

struct gs_flow_row {
	uint32_t bucket, way;
	uint32_t tag;
	gs_id backend;
	gs_id service, region; /* the backend's, as the packet path has it; 0: it is gone */
	bool is_proven, is_closed;
	enum gs_flow_state state;
	uint32_t age_s; /* since it was last seen, to a second or so; nine hours at most */
};

struct gs_flow_key {
	struct gs_addr src, dst; /* client, VIP */
	uint16_t sport, dport;	 /* host byte order */
	enum gs_protocol protocol;
};

struct gs_flow_table;

const char *gs_flow_state_name(enum gs_flow_state state); /* active quiet unproven ... */
/* -EINVAL */
int gs_flow_state_parse(const char *text, enum gs_flow_state *ret_state);

/* pin_dir: the edge's. writes: gs_flow_table_erase will be called. -errno and *error. */
int gs_flow_table_open(const char *pin_dir, bool writes, struct gs_flow_table **ret_table,
		       struct gs_error *error);
/* NULL is fine. */
void gs_flow_table_close(struct gs_flow_table *table);

uint32_t gs_flow_table_buckets(const struct gs_flow_table *table);
uint32_t gs_flow_table_ways(void);

/* Return false: enough. */
typedef bool gs_flow_visit(void *context, const struct gs_flow_row *row);
/* Every entry that is used, in the table's order. */
void gs_flow_table_walk(const struct gs_flow_table *table, gs_flow_visit *visit, void *context);

/* Where the flow's entry would be; true: it is there, and *ret_row is whole. */
bool gs_flow_table_find(const struct gs_flow_table *table, const struct gs_flow_key *key,
			struct gs_flow_row *ret_row);
/*
 * Forgets the entry, by one compare-and-swap of its word: an entry that has become another flow's,
 * or has moved to another backend meanwhile, stays. true: it is gone. A packet of the flow that was
 * on its way through the program at that very moment may write it again.
 */
bool gs_flow_table_erase(struct gs_flow_table *table, const struct gs_flow_row *row);
