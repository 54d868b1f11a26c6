/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ports of user/ports.h in memory: what was asked of them is kept, what they answer is
 * scripted. Caller's storage, zeroed. The prober has its own file, fake_prober.h.
 */
#pragma once

#include "user/ports.h"

#include <pthread.h>

enum {
	FAKE_LOG_MAX = 65536,
	FAKE_TRANSITIONS_MAX = 256,
	FAKE_MINUTES_MAX = 64,
	FAKE_VIPS_MAX = 16,
	FAKE_TOLD_MAX = 256,
	FAKE_HANDSHAKES_MAX = 1024,
	FAKE_SLOTS = 3,
	FAKE_DEMAND = 64
};

/* ---- store: the test calls events->on_snapshot and on_connection itself ---------------------- */

struct fake_store {
	const struct gs_store_events *events;
	void *context;
	struct gs_transition transitions[FAKE_TRANSITIONS_MAX];
	uint32_t transition_count; /* may exceed the array */
	struct gs_probe_minute minutes[FAKE_MINUTES_MAX];
	uint32_t minute_count; /* may exceed the array */
	struct gs_edge_report report;
	uint32_t report_count;
};

void fake_store_init(struct fake_store *fake, struct gs_store *ret_store);

/* ---- geodb: gives copies of one database of each kind, or an error
 * ---------------------------------------- */

enum { FAKE_GEODB_SIZE = 123456 }; /* of each file, bytes */

struct fake_geodb {
	const struct gs_geodata *geo; /* what a load gives a copy of; arrays are shared */
	int error;		      /* < 0: what a load fails with, named after the path */
	const struct gs_asndata *asn; /* the same of systems; NULL: nobody's */
	int asn_error;
	bool is_gated; /* GeoIP loads wait until it is not, or until they are cancelled */
	uint32_t loads, releases;
	uint32_t alive; /* given and not yet released */
};

void fake_geodb_init(struct fake_geodb *fake, struct gs_geodb *ret_geodb);

/* ---- nexthop: one hop for everybody, from `mtu` and the address ------------------------------ */

struct fake_nexthop {
	uint32_t mtu;
	int error; /* < 0: what everybody's resolve fails with */
	uint32_t resolves;
	uint32_t was_ifindex;			/* of the last one */
	uint32_t spend_us;			/* so long does one take */
	const struct gs_nexthop_events *events; /* for the test to call */
	void *context;
};

void fake_nexthop_init(struct fake_nexthop *fake, struct gs_nexthop *ret_nexthop);

/* ---- dataplane: words, a log of their writes in order, publishes ----------------------------- */

struct fake_write {
	enum gs_object_kind kind;
	uint32_t index;
	struct gs_usable word;
};

struct fake_dataplane {
	struct gs_usable regions[GS_MAX_REGIONS];
	struct gs_usable backends[GS_MAX_BACKENDS];
	struct gs_usable pools[GS_MAX_SERVICES * GS_MAX_REGIONS];
	struct fake_write writes[FAKE_LOG_MAX];
	uint32_t write_count; /* may exceed the log */

	struct gs_dataplane_info info;
	int publish_error;	/* < 0: publishes fail with it */
	uint32_t publish_fails; /* only the next so many; 0: all of them */
	uint32_t publishes;	/* tried */
	uint64_t last_revision; /* of the last one that succeeded */
	const struct gs_geodata *last_geo;
	uint32_t last_hop_mtu;
	/* Words as they were when the last publish came into force. */
	uint16_t published_backend[GS_MAX_BACKENDS];
	uint16_t published_region[GS_MAX_REGIONS];
	uint16_t published_pool[GS_MAX_SERVICES * GS_MAX_REGIONS];
	pthread_mutex_t gate; /* a publish takes it: hold it to keep the worker busy */
	pthread_mutex_t
		lock; /* recursive; of all the rest: hold it to look while a publish may run */

	uint32_t fill_sets;
	struct gs_fill fill[GS_MAX_REGIONS];
	uint32_t hop_sets;
	uint32_t hop_mtu;
	uint32_t hop_told_mtu[GS_MAX_BACKENDS];
	struct gs_told told[8]; /* what the next calls tell */
	uint32_t told_count;
	uint32_t heartbeats;
	int heartbeat_result;
	int count_error;

	uint64_t carriers; /* a bit an ifindex: it has the program */
	uint32_t reach_sets;
	uint32_t reach_links; /* of the last set_reach, as all of these */
	uint32_t reach_ports;
	bool reach_silent;
	uint32_t reach_vip_count;
	struct gs_addr reach_vips[FAKE_VIPS_MAX];
	int handshake_fd;				     /* what is heard; a test's own */
	struct gs_handshake handshakes[FAKE_HANDSHAKES_MAX]; /* what the next calls give */
	uint32_t handshake_count;
	uint32_t takes;
	uint32_t one_in;       /* as last told */
	uint32_t one_in_count; /* how often */
	struct gs_syns syns[GS_MAX_BACKENDS];
	uint32_t syns_asked;
	int syns_error;				  /* < 0: syns fails with it */
	uint32_t demand[FAKE_SLOTS][FAKE_DEMAND]; /* the first entries; the others are 0 */
};

void fake_dataplane_init(struct fake_dataplane *fake, struct gs_dataplane *ret_dataplane);

/* ---- announcer: the links a test says there are, and what was told on them ------------------- */

struct fake_told {
	uint32_t ifindex;
	struct gs_addr vip;
};

struct fake_announcer {
	struct gs_link_set set;
	struct fake_told told[FAKE_TOLD_MAX];
	uint32_t told_count; /* may exceed the array */
	int error;	     /* what announcing returns */
};

void fake_announcer_init(struct fake_announcer *fake, struct gs_announcer *ret_announcer);

/* ---- detour: one way for everybody, or why there is none ------------------------------------- */

struct fake_detour {
	const char *why; /* NULL: there is one */
	struct gs_detour_way way;
	uint32_t looks; /* of those who want to go */
};

void fake_detour_init(struct fake_detour *fake, struct gs_detour *ret_detour);

/* ---- a desired state: one service, policy "nearest" of kind geo, two backends in each region - */

enum { FAKE_EU = 1, FAKE_US, FAKE_AP, FAKE_REGIONS = 3, FAKE_PER_REGION = 2, FAKE_WEB = 1 };

/*
 * region-1 (Frankfurt), region-2 (Virginia), region-3 (Singapore), backend-REGION-N, quick probes,
 * breakers switched off. gs_snapshot_free frees it; aborts if there is no memory.
 */
struct gs_snapshot *fake_snapshot(uint64_t revision);
/* n: 0 or 1 */
gs_id fake_backend(gs_id region, int n);
