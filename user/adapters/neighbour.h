/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nexthop adapter's own parts, for neighbour*.c only. What the kernel answered about links and
 * neighbours is remembered for a second at most, and only until the kernel tells of a change: who
 * asks reads what was told first (gs_neighbour_hear).
 */
#pragma once

#include "adapters.h"

#include <libmnl/libmnl.h>

enum {
	GS_NEIGHBOUR_LINKS = 64,      /* a power of two */
	GS_NEIGHBOUR_ENTRIES = 16384, /* a power of two */
	GS_NEIGHBOUR_MEMORY_MS = 1000
};

struct gs_neighbour_asker {
	struct mnl_socket *socket;
	uint32_t sequence;
	char *answer; /* of GS_NEIGHBOUR_ANSWER_BYTES */
};

struct gs_neighbour_route {
	uint32_t ifindex;
	uint32_t mtu; /* 0: the link's */
	uint8_t type; /* RTN_* */
	bool has_source;
	struct gs_addr source;
	struct gs_addr via; /* the gateway, or the address itself */
};

struct gs_neighbour_link {
	bool is_up; /* administratively, and it has a carrier */
	bool is_ethernet;
	bool has_program; /* of XDP */
	bool is_bond;
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t below;	     /* the interface it is a VLAN of; 0: it is none */
	struct gs_vlan vlan; /* if so */
};

struct gs_neighbour_entry {
	bool is_known;	 /* has a MAC that may be used */
	bool is_failed;	 /* was asked for and did not answer; until it is known */
	bool is_managed; /* or permanent: the kernel keeps it by itself */
	uint8_t mac[6];
};

struct gs_neighbour_link_slot {
	uint32_t ifindex;     /* 0: free */
	uint64_t asked_ms;    /* 0: to be asked again */
	bool is_xmit_checked; /* told, if it takes nothing of other links' programs */
	struct gs_neighbour_link link;
};

struct gs_neighbour_entry_slot {
	uint32_t ifindex; /* 0: free */
	bool is_shared;	  /* has been another neighbour's too: nobody knows of which last */
	struct gs_addr via;
	uint64_t asked_ms; /* 0: to be asked again */
	struct gs_neighbour_entry entry;
};

/* What was told, the least telling first. */
enum gs_neighbour_change {
	GS_NEIGHBOUR_NOTHING,
	GS_NEIGHBOUR_ADDRESS,
	GS_NEIGHBOUR_ENTRY,
	GS_NEIGHBOUR_ROUTE,
	GS_NEIGHBOUR_LINK,
	GS_NEIGHBOUR_ANYTHING, /* told too fast to be heard */
	GS_NEIGHBOUR__CHANGES
};

struct gs_neighbour {
	struct gs_neighbour_asker asker;
	struct gs_outer_sources sources;
	struct gs_neighbour_link_slot *links;	 /* GS_NEIGHBOUR_LINKS, by ifindex */
	struct gs_neighbour_entry_slot *entries; /* GS_NEIGHBOUR_ENTRIES, by a hash */

	struct gs_loop *loop;
	const struct gs_nexthop_events *events; /* NULL: nobody listens */
	void *context;
	struct mnl_socket *watch;
	struct gs_io watch_io;
	struct gs_timer tell_timer;
	bool is_telling;		 /* the timer is set */
	enum gs_neighbour_change change; /* since it was told last */
	uint64_t told_ms;
};

/* ---- neighbour_ask.c: one question, one answer from the kernel itself ------------------------ */

int gs_neighbour_asker_open(int protocol, struct gs_neighbour_asker *ret_asker);
void gs_neighbour_asker_close(struct gs_neighbour_asker *asker);

/* *ret_answer is valid until the next question. NULL: it is no question, and acknowledged. */
int gs_neighbour_ask(struct gs_neighbour_asker *asker, struct nlmsghdr *question,
		     const struct nlmsghdr **ret_answer);
int gs_neighbour_ask_route(struct gs_neighbour_asker *asker, const struct gs_addr *addr,
			   struct gs_neighbour_route *ret_route);
int gs_neighbour_ask_link(struct gs_neighbour_asker *asker, uint32_t ifindex,
			  struct gs_neighbour_link *ret_link);
/* -ENOENT: the kernel has no such entry. */
int gs_neighbour_ask_entry(struct gs_neighbour_asker *asker, uint32_t ifindex,
			   const struct gs_addr *via, struct gs_neighbour_entry *ret_entry);
/*
 * Lets the kernel find the neighbour out and keep it known (managed entries, 5.16); before that,
 * find it out once, which the next question repeats. An entry that is there keeps its MAC.
 */
void gs_neighbour_have_resolved(struct gs_neighbour_asker *asker, uint32_t ifindex,
				const struct gs_addr *via);
/* Whether the driver sends what a program on another link redirects; not known: yes. */
bool gs_neighbour_ask_xmit(uint32_t ifindex);

/* An RTM_NEWLINK. */
struct gs_neighbour_link gs_neighbour_read_link(const struct nlmsghdr *message);
/* What was there is asked for again and again: it goes on being failed until it answers. */
static inline void gs_neighbour_entry_after(const struct gs_neighbour_entry *before,
					    struct gs_neighbour_entry *now)
{
	now->is_failed = !now->is_known && (now->is_failed || before->is_failed);
}
/* An RTM_NEWNEIGH or RTM_DELNEIGH as an entry, and whose; false: it has no address. */
bool gs_neighbour_read_entry(const struct nlmsghdr *message, uint32_t *ret_ifindex,
			     struct gs_addr *ret_via, struct gs_neighbour_entry *ret_entry);

/* ---- neighbour_watch.c: what the kernel tells of its own accord ------------------------------ */

int gs_neighbour_watch_open(struct gs_neighbour *self);
/* -errno of the loop's. */
int gs_neighbour_watch_start(struct gs_neighbour *self);
void gs_neighbour_watch_close(struct gs_neighbour *self);
/* Reads what was told, and forgets what is no longer so. */
void gs_neighbour_hear(struct gs_neighbour *self);

struct gs_neighbour_link_slot *gs_neighbour_link_slot(struct gs_neighbour *self, uint32_t ifindex);
struct gs_neighbour_entry_slot *gs_neighbour_entry_slot(struct gs_neighbour *self, uint32_t ifindex,
							const struct gs_addr *via);
