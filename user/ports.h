/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outside world as the app sees it, on one screen. Each port is implemented by one adapter (or
 * a fake in tests/fakes). Named after what the app needs, never after a technology. Unless said
 * otherwise everything is called on the loop's thread, returns 0 or -errno, and does not block.
 */
#pragma once

#include "user/app/tables.h"
#include "user/core/asn.h"
#include "user/core/breaker.h"
#include "user/core/geodata.h"
#include "user/core/health.h"
#include "user/core/latency.h"
#include "user/core/quorum.h"
#include "user/core/types.h"

/* ---- store: desired and shared state (adapters/pg.c) ---------------------------------------- */

/* The first three have usable words; all have a history. */
enum gs_object_kind {
	GS_OBJECT_REGION,
	GS_OBJECT_POOL,
	GS_OBJECT_BACKEND,
	GS_OBJECT_BREAKER,    /* of a pool */
	GS_OBJECT_PLAN,	      /* of a service: how many locations have a region first */
	GS_OBJECT_GENERATION, /* of the edge */
	GS_OBJECT__COUNT
};

/* A change worth keeping: what, from which state to which, and why. Names are of the snapshot. */
struct gs_transition {
	int64_t unix_ms;
	enum gs_object_kind kind;
	char region[GS_NAME_MAX];
	char service[GS_NAME_MAX]; /* pool, backend, breaker, plan */
	char backend[GS_NAME_MAX]; /* backend */
	char from[24];		   /* "up", "down", "drain", "unknown"; "closed"; "120 locations" */
	char to[24];
	char why[96];
	char actor[GS_NAME_MAX];	 /* who caused it; "": the edge itself */
	struct gs_breaker_saved breaker; /* BREAKER: what a restart takes up again */
};

/* What an edge wrote of one of its breakers, read again when it starts. */
struct gs_breaker_record {
	char service[GS_NAME_MAX];
	char region[GS_NAME_MAX];
	struct gs_breaker_saved saved;
	int64_t unix_ms; /* when it was saved */
};

/* One backend's probes in one minute. */
struct gs_probe_minute {
	int64_t unix_s; /* of its begin, a multiple of 60 */
	char service[GS_NAME_MAX];
	char region[GS_NAME_MAX];
	char backend[GS_NAME_MAX];
	uint32_t count;				 /* that counted, failed ones included */
	uint32_t failures;			 /* of those */
	uint32_t local;				 /* that did not count: the edge's own trouble */
	uint32_t p50_us, p90_us, p99_us, max_us; /* of the successful ones; 0: there were none */
};

/* The edge's row: what it runs on. Written when it changes and every 10 s. */
struct gs_edge_report {
	uint64_t generation;
	uint64_t revision;
	uint64_t digest;
	int64_t published_unix_ms;
	char geo_path[GS_PATH_MAX];
	uint64_t geo_build_unix_s;
	uint64_t geo_digest;	 /* of the compiled GeoIP database; 0: none */
	uint64_t selection_seed; /* edges with equal ones draw alike */
};

/* What an edge says of a region, or of a pool where that is another than the region's. */
struct gs_edge_vote {
	gs_id service; /* 0: the region */
	gs_id region;
	enum gs_vote vote;
};

enum { GS_VOTERS_MAX = 256, GS_SELF_TEXT_MAX = 96, GS_VERSION_TEXT_MAX = 32 };

/* This edge's, whole. Sorted by service and region. Borrowed. */
struct gs_ballot_paper {
	char site[GS_NAME_MAX]; /* its failure domain; "": not told */
	char self[GS_NAME_MAX]; /* gs_self_name */
	char self_why[GS_SELF_TEXT_MAX];
	const struct gs_edge_vote *votes;
	uint32_t count;
};

/* Another edge's, as it was read. */
struct gs_edge_ballot {
	char edge[GS_NAME_MAX];
	char site[GS_NAME_MAX];
	char self[GS_NAME_MAX];
	char self_why[GS_SELF_TEXT_MAX];
	uint64_t seq;			   /* of what it wrote last; only grows */
	uint32_t age_ms;		   /* since then, by the database's clock */
	char version[GS_VERSION_TEXT_MAX]; /* of its program */
	uint64_t generation, revision, digest, geo_digest, selection_seed;
	bool is_new;   /* else votes are what they were; count is 0 */
	bool is_whole; /* is_new: in place of all there were; else of those named */
	struct gs_edge_vote *votes;
	uint32_t count;
};

/* Borrowed. */
struct gs_ballots {
	struct gs_edge_ballot *edges; /* all others, by name */
	uint32_t count;
	uint32_t left_out; /* beyond GS_VOTERS_MAX */
	struct gs_quorum_rule rule;
};

/* New flows a second of clients with one home and one choice; names of regions. */
struct gs_demand_told {
	char home[GS_NAME_MAX];
	char usable[GS_PLAN_REGIONS * GS_NAME_MAX]; /* in order, joined by commas; "": none */
	uint8_t priority;
	float per_second;
};
enum { GS_DEMAND_TOLD_MAX = 512 };

struct gs_store_events {
	/* A newer revision, whole. The callee owns it. */
	void (*on_snapshot)(void *context, struct gs_snapshot *snapshot);
	/*
	 * This edge's breakers as they were last saved: once, before the first snapshot that comes
	 * from the store. Borrowed.
	 */
	void (*on_breakers)(void *context, const struct gs_breaker_record *records, uint32_t count);
	/* What all other edges tell of demand, in sum, and how many they are. Borrowed. */
	void (*on_demand)(void *context, const struct gs_demand_told *rows, uint32_t count,
			  uint32_t edges);
	/*
	 * Connected or not; why: for people. Connected and not "": the newest rows are refused, and
	 * why.
	 */
	void (*on_connection)(void *context, bool connected, const char *why);
	/*
	 * Before the first on_connection of each connection. Pooled: something between here and the
	 * database lends its connections, notifications may not arrive, and changes are looked for.
	 * May be NULL.
	 */
	void (*on_pooled)(void *context, bool is_pooled);
	/* What the other edges say now; NULL: nobody asks. */
	void (*on_ballots)(void *context, const struct gs_ballots *ballots);
};

struct gs_store_ops {
	/* Connect, listen, deliver the first snapshot, reconnect for ever. */
	int (*start)(void *self, const struct gs_store_events *events, void *context);
	/* Queued (oldest dropped beyond 10,000, counted and logged); written when it can be. */
	void (*record_transition)(void *self, const struct gs_transition *transition);
	/* The same for minute summaries, of all backends at once; copied. */
	void (*record_probes)(void *self, const struct gs_probe_minute *minutes, uint32_t count);
	void (*report_edge)(void *self, const struct gs_edge_report *report);
	/* All of this edge's demand, in place of what was told before; copied. NULL: nobody cares.
	 */
	void (*report_demand)(void *self, const struct gs_demand_told *rows, uint32_t count);
	/* This edge's votes from now on; copied. Written when they change and every
	 * GS_VOTE_EVERY_MS. NULL: this store has no votes. */
	void (*vote)(void *self, const struct gs_ballot_paper *paper);
	void (*close)(void *self);
};

struct gs_store {
	const struct gs_store_ops *ops;
	void *self;
};

/* ---- latency store: what all edges measured, and whose turn it is to judge (adapters/pg.c) --- */

/* What this edge measured of a cell and a region. */
struct gs_latency_told {
	char place[GS_LATENCY_PLACE_MAX];
	char continent[3]; /* or "" */
	char region[GS_NAME_MAX];
	uint32_t samples; /* > 0 */
	uint32_t rtt_us;
	uint32_t model_us;
	uint32_t age_ms; /* of the newest one */
};

/* A row that is to be published, or to go, as a step begins it (core/latency.h). */
struct gs_latency_change {
	char place[GS_LATENCY_PLACE_MAX];
	gs_id region;
	bool is_gone;
	int32_t us;
	uint32_t samples;
};

struct gs_latency_store_events {
	/* It is this edge's turn: what all have measured of late. Borrowed. Epochs of turns that
	 * follow each other do, too. */
	void (*on_turn)(void *context, int64_t epoch, const struct gs_latency_measured *measured,
			uint32_t count);
	/* False: it is not, for the turn is over or the database did not take it. */
	void (*on_published)(void *context, bool is_published);
};

struct gs_latency_store_ops {
	/* Before anything else. events NULL: no more of them. */
	void (*start)(void *self, const struct gs_latency_store_events *events, void *context);
	/*
	 * Tells what is new (copied; each place and region once), then asks for the turn. False:
	 * nothing of it, the store is away or the last exchange goes on. period_ms: between two;
	 * 0: the turn is not asked for.
	 */
	bool (*exchange)(void *self, const struct gs_latency_told *rows, uint32_t count,
			 uint32_t period_ms);
	/* Within the turn of this epoch; copied. One on_published() follows, later. changes: none
	 * unless the step begins some. */
	void (*publish)(void *self, int64_t epoch, const struct gs_latency_step *step,
			const struct gs_latency_change *changes, uint32_t count);
};

struct gs_latency_store {
	const struct gs_latency_store_ops *ops; /* NULL: there is none */
	void *self;
};

/* ---- geodb: GeoIP and ASN files to compiled tables (adapters/mmdb.c) ------------------------- */

struct gs_progress; /* user/base/progress.h */

struct gs_geodb_ops {
	/*
	 * On the worker. On failure *error says what is wrong and where in the file. A sound file
	 * whose records name no places has location_count 1: nothing but the unknown one.
	 * progress (NULL: nobody asks): reading, locating, compiling; -ECANCELED if it says so.
	 */
	int (*load)(void *self, const char *path, struct gs_progress *progress,
		    struct gs_geodata **ret_geo, struct gs_error *error);
	void (*release)(void *self, struct gs_geodata *geo);
	/* The same of an ASN database; one whose records name no system is -EINVAL. */
	int (*load_asn)(void *self, const char *path, struct gs_progress *progress,
			struct gs_asndata **ret_asn, struct gs_error *error);
	void (*release_asn)(void *self, struct gs_asndata *asn);
};

struct gs_geodb {
	const struct gs_geodb_ops *ops;
	void *self;
};

/* ---- prober: one probe at a time (adapters/probe.c); app/monitor.c decides when -------------- */

struct gs_probe_target {
	gs_id backend;
	char service[GS_NAME_MAX]; /* what commands are told */
	char name[GS_NAME_MAX];
	struct gs_addr addr;
	uint16_t port;
	bool is_through;	   /* the tunnel, if there is a detour for it: to the VIP */
	struct gs_addr vip;	   /* then */
	struct gs_probe_spec spec; /* what it asks, timeout_ms */
};

struct gs_prober_events {
	/* rtt_us: the round trip of the network alone, without the target's own time; 0: a probe of
	 * this kind does not tell. */
	void (*on_result)(void *context, uint64_t token, enum gs_probe_class result,
			  uint32_t latency_us, uint32_t rtt_us);
};

struct gs_prober_ops {
	int (*start)(void *self, const struct gs_prober_events *events, void *context);
	/* Exactly one on_result(token) follows, later, within the target's timeout; unless
	 * cancelled. */
	int (*probe)(void *self, const struct gs_probe_target *target, uint64_t token);
	/* No on_result for this backend's running probes any more. */
	void (*cancel)(void *self, gs_id backend);
	void (*close)(void *self);
};

struct gs_prober {
	const struct gs_prober_ops *ops;
	void *self;
};

/* ---- detour: probes by the way clients' packets take (adapters/detour.c) --------------------- */

/* For the socket of a probe to the VIP. */
struct gs_detour_way {
	uint32_t mark;
	struct gs_addr source; /* to bind to: the edge's own, of the VIP's family */
};

struct gs_counter {
	const char *name; /* reason; NULL for others */
	gs_id id;	  /* service, region, backend */
	uint64_t packets;
	uint64_t bytes;
};

enum { GS_DETOUR_COUNTERS_MAX = 16 };

struct gs_detour_ops {
	/*
	 * NULL: what a socket with that mark and source sends to the VIP of this target gets to its
	 * backend as a client's packet would, and answers are taken. Else why not, for people: text
	 * of the detour's, valid until the next call. Cheap: the kernel is asked every 5 to 10 s.
	 * ret_way NULL: for people only, as it was found last.
	 */
	const char *(*look)(void *self, const struct gs_probe_target *target,
			    struct gs_detour_way *ret_way);
	/* Packets by what became of them; how many counters. bytes is 0. */
	uint32_t (*count)(void *self, struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX]);
	void (*close)(void *self);
};

/* ops NULL: there is none. */
struct gs_detour {
	const struct gs_detour_ops *ops;
	void *self;
};

/* ---- nexthop: how an address is reached (adapters/neighbour.c) ------------------------------- */

enum { GS_HOP_TAGS = 2 };

struct gs_vlan {
	uint16_t protocol; /* 0x8100, 0x88a8 */
	uint16_t tci;	   /* priority and VID */
};

struct gs_hop {
	uint8_t dst_mac[6];
	uint8_t src_mac[6];
	uint32_t ifindex; /* egress: what really sends, never a VLAN interface */
	uint32_t link;	  /* the route's own interface, if MACs are known */
	uint8_t tag_count;
	struct gs_vlan tags[GS_HOP_TAGS]; /* the outer one first */
	uint32_t mtu;			  /* 0: no way there; packets are dropped, with a reason */
	uint32_t told_mtu;		  /* a router on the way told so; 0: none did */
	bool reflect;			  /* MACs unknown: answer to whoever sent the packet */
	bool has_gateway;		  /* dst_mac is a router's, not the backend's own */
	struct gs_addr src4;		  /* outer sources; all zero: none */
	struct gs_addr src6;
	uint8_t spread4; /* low bits of them, zero there, that differ from flow to flow */
	uint8_t spread6;
};

struct gs_nexthop_events {
	/* Any hop may have changed; once a burst of changes, five times a second at most. why: for
	 * people. */
	void (*on_change)(void *context, const char *why);
};

struct gs_nexthop_ops {
	/* Tell of changes from now on. */
	int (*start)(void *self, const struct gs_nexthop_events *events, void *context);
	/*
	 * What the kernel knows now; asks it to resolve what it does not. was_ifindex: its egress
	 * until now, or 0. Always fills *ret_hop, with mtu 0 on failure. -ENETDOWN: its link, or
	 * the one it had, is down; -ENETUNREACH: the kernel has no route, or one that ends here;
	 * -EHOSTUNREACH: it is on the link, and does not answer. Other failures are of the asking,
	 * and say nothing of the way.
	 */
	int (*resolve)(void *self, const struct gs_addr *addr, uint32_t was_ifindex,
		       struct gs_hop *ret_hop);
	void (*close)(void *self);
};

struct gs_nexthop {
	const struct gs_nexthop_ops *ops;
	void *self;
};

/* ---- announcer: the links this machine is on (adapters/announce.c) --------------------------- */

enum { GS_LINKS_MAX = 64, GS_LINK_ADDRS_MAX = 1024 };

struct gs_link {
	uint32_t ifindex;
	char name[16];
	uint8_t mac[6]; /* all zero: no Ethernet, and nobody asks for addresses there */
	bool is_up;	/* and has a carrier */
	uint32_t bond;	/* the link it is a port of; 0: it is none */
};

/* An address of this machine, and how much of it is the link's prefix. */
struct gs_link_addr {
	uint32_t ifindex;
	struct gs_addr addr;
	uint8_t length;
};

/* What is too much is left out. */
struct gs_link_set {
	struct gs_link links[GS_LINKS_MAX];
	struct gs_link_addr addrs[GS_LINK_ADDRS_MAX];
	uint32_t link_count, addr_count;
};

struct gs_announcer_ops {
	int (*look)(void *self, struct gs_link_set *ret_set);
	/* Tells everybody on the link that the VIP is at the link's MAC. */
	int (*announce)(void *self, const struct gs_link *link, const struct gs_addr *vip);
	void (*close)(void *self);
};

struct gs_announcer {
	const struct gs_announcer_ops *ops;
	void *self;
};

/* ---- dataplane: the pinned maps (adapters/dataplane.c) --------------------------------------- */

struct gs_usable {
	uint16_t state; /* GS_USABLE_DOWN, _DRAIN, _TRIAL (pool only), _UP */
	uint16_t accept;
	gs_id fallback;	 /* pool only */
	uint16_t trials; /* TRIAL: new flows still let through; set: the quota of one that begins */
};

struct gs_counters {
	struct gs_counter *reasons, *services, *regions, *backends;
	uint32_t reason_count, service_count, region_count, backend_count; /* those not zero */
};

struct gs_dataplane_info {
	uint64_t generation; /* number in force; 0: none */
	uint64_t digest;
	int64_t built_unix_s;
	uint32_t slot;
};

/* A router on the way to this backend's address: outer packets of at most so many bytes fit. */
struct gs_told {
	gs_id backend;
	uint32_t mtu;
};

/* A sampled TCP handshake, completed; or a sampled UDP flow that began, which has none. */
struct gs_handshake {
	uint32_t rtt_us; /* SYN to the ACK that completes it; 0: UDP */
	gs_id service, region, backend;
	uint16_t location;
	struct gs_prefix client; /* /24 or /48 */
};

/* A new flow that the quota of a half-open breaker let through. */
struct gs_lease {
	uint64_t id;
	gs_id service, region, backend;
	uint32_t age_ms;
	bool is_current;  /* of the epoch its pool is in */
	bool is_answered; /* NAT: by the backend */
	bool is_proven;	  /* by an ACK in the client's name */
};

/* SYNs to one backend since the maps were made. */
struct gs_syns {
	uint64_t opened;   /* that opened a flow */
	uint64_t repeated; /* of flows that no ACK had completed */
	uint64_t measured; /* handshakes sampled */
	uint64_t lost;	   /* and lost on the way here */
	uint64_t resets;   /* NAT: SYNs that the backend answered with a RST */
};

/* How the edge is reached on its links. Borrowed. */
struct gs_reach_set {
	const struct gs_link *links; /* that carry the program */
	const struct gs_link *ports; /* of bonds among them, by which packets come in */
	const struct gs_addr *vips;  /* on-link: the program answers for them */
	uint32_t link_count, port_count, vip_count;
	bool is_silent; /* it answers for none: the edge is drained */
};

struct gs_dataplane_ops {
	/*
	 * On the worker: writes backends and hops, fills the free slot, removes services, flips,
	 * adds services. hops[i] belongs to tables->snapshot->backends[i]. On failure nothing in
	 * force has changed.
	 */
	int (*publish)(void *self, const struct gs_tables *tables, const struct gs_hop *hops,
		       struct gs_dataplane_info *ret_info, struct gs_error *error);
	/* One 8-byte store, seen by the next packet. index: region; backend; pool_index(). */
	void (*set_usable)(void *self, enum gs_object_kind kind, uint32_t index,
			   struct gs_usable usable);
	struct gs_usable (*get_usable)(void *self, enum gs_object_kind kind, uint32_t index);
	/* A region's word of capacity, the same way. */
	void (*set_fill)(void *self, gs_id region, struct gs_fill fill);
	struct gs_fill (*get_fill)(void *self, gs_id region);
	/* A new hop entry and a switched index; nothing if it is what it was. -EHOSTUNREACH: l2
	 * cannot use it, a router is between; what there was stays. */
	int (*set_hop)(void *self, gs_id backend, const struct gs_hop *hop);
	/* What is new since the last call, `max` at most; the rest comes with the next. Cheap. */
	uint32_t (*told)(void *self, struct gs_told *ret_told, uint32_t max);
	/* Does this interface run the program of these maps? */
	bool (*carries)(void *self, uint32_t ifindex);
	/* In place of what was set before; holds over restarts. Markers of VIPs that are not in
	 * force follow with their publish. */
	int (*set_reach)(void *self, const struct gs_reach_set *reach, struct gs_error *error);
	/* In force, counters (caller frees the arrays), and "I am alive". */
	void (*info)(void *self, struct gs_dataplane_info *ret_info);
	int (*count)(void *self, struct gs_counters *ret_counters);
	/* Readable when handshakes wait; -1: this data plane has none. */
	int (*handshake_fd)(void *self);
	/* Takes up to `most` of them; how many there were. */
	uint32_t (*take_handshakes)(void *self, struct gs_handshake *ret_handshakes, uint32_t most);
	/* One new TCP flow in `one_in` (a power of two) is sampled; 0: none. */
	void (*sample_handshakes)(void *self, uint32_t one_in);
	int (*syns)(void *self, gs_id backend, struct gs_syns *ret_syns);
	/* Those there are, `most` at most. NULL: this data plane has none. */
	uint32_t (*leases)(void *self, struct gs_lease *ret_leases, uint32_t most);
	/* It is over; give_back: its pool takes one more, if it is in the same epoch still. */
	void (*end_lease)(void *self, const struct gs_lease *lease, bool give_back);
	/*
	 * New flows, modulo 2^32, that packets have counted under the generation of this slot since
	 * it came into force: `count` entries (row * location_stride + location of its tables) from
	 * `first` on. Those of the one before it hold until the next publish. -ERANGE: beyond the
	 * GS_DEMAND_ENTRIES that are counted. Cheap.
	 */
	int (*demand)(void *self, uint32_t slot, uint32_t first, uint32_t count,
		      uint32_t *ret_flows);
	/* -ESTALE: the pins are other maps by now; close and open again. */
	int (*heartbeat)(void *self);
	void (*close)(void *self);
};

struct gs_dataplane {
	const struct gs_dataplane_ops *ops;
	void *self;
};

static inline uint32_t gs_pool_index(gs_id service, gs_id region)
{
	return (uint32_t)service * GS_MAX_REGIONS + region;
}
