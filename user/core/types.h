/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Value types of the domain: what PostgreSQL stores, the planner reads and people name. Plain
 * data, no pointers to anything shared, host byte order unless a type says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	GS_NAME_MAX = 64, /* bytes, the final zero included; [a-z0-9][a-z0-9-]* */
	GS_ERROR_MAX = 320,
	GS_POLICY_ORDER_MAX = 16,
	GS_RANK_MAX = 4,
	GS_PLACE_CODE_MAX = 12,
	GS_FENCE_REGIONS_MAX = 32,
	GS_FENCES_MAX = 256,
	GS_OVERLAYS_MAX = 4096,
	GS_PATH_MAX = 256,
	GS_HTTP_PATH_MAX = 256,
	GS_FAILOVER_BUDGET_MAX_MS = 3600000,
	GS_LATENCY_PLACE_MAX = 32,
	GS_LATENCIES_MAX = 16384,
	GS_TARGET_DEFAULT = 80,
};

/* Ids are small, come from the database, and index the maps. 0 is no object (location: unknown). */
typedef uint16_t gs_id;

/* The highest ids of each kind: they index the maps. */
enum {
	GS_ID_MAX_REGION = 255,
	GS_ID_MAX_POLICY = 255,
	GS_ID_MAX_SERVICE = 1023,
	GS_ID_MAX_BACKEND = 16383,
};

/* An error for people: what is wrong and where ("file:line: ...", "services.port: ..."). */
struct gs_error {
	char text[GS_ERROR_MAX];
};

/* Bit r of word r / 64: region id r. */
struct gs_region_set {
	uint64_t words[(GS_ID_MAX_REGION + 1) / 64];
};

/* Network byte order; IPv4 as ::ffff:a.b.c.d, so that one comparison serves both families. */
struct gs_addr {
	uint8_t bytes[16];
};

/* length counts from the family's first bit: 0 .. 32 for IPv4, 0 .. 128 for IPv6. Host bits are 0.
 */
struct gs_prefix {
	struct gs_addr addr;
	uint8_t length;
	bool is_v4;
};

/* Prefixes that the sources of outer headers are spread over; addr all zero: not that family. */
struct gs_outer_sources {
	struct gs_prefix v4, v6;
};

/* Degrees, WGS 84; latitude -90 .. 90 north positive, longitude -180 .. 180 east positive. */
struct gs_coord {
	double lat_deg;
	double lon_deg;
};

enum gs_protocol { GS_PROTOCOL_TCP = 6, GS_PROTOCOL_UDP = 17 };

enum gs_admin {
	GS_ADMIN_AUTO,
	GS_ADMIN_FORCE_UP,
	GS_ADMIN_DRAIN,
	GS_ADMIN_MAINTENANCE,
	GS_ADMIN_FORCE_DOWN,
	GS_ADMIN__COUNT
};

enum gs_probe_kind {
	GS_PROBE_NONE,
	GS_PROBE_TCP,
	GS_PROBE_HTTP,
	GS_PROBE_HTTPS,
	GS_PROBE_UDP,
	GS_PROBE_DNS,
	GS_PROBE_GRPC,
	GS_PROBE_GRPCS, /* over TLS */
	GS_PROBE_ICMP,
	GS_PROBE_EXEC, /* a command of the operator's */
	GS_PROBE__COUNT
};

/* How a service's backends are probed. Times in milliseconds; defaults in health.h. */
struct gs_probe_spec {
	enum gs_probe_kind kind;
	uint16_t port; /* 0: the service's port */
	char path[GS_HTTP_PATH_MAX];
	char host[GS_NAME_MAX * 4]; /* HTTP Host, gRPC authority, TLS name; empty: the VIP */
	/* Texts, whose meaning and checks probe_spec.h has. "" is the default of each. */
	char status[64];     /* http, https: statuses that are good */
	char expect[128];    /* http, https, udp: what the body or reply must have */
	char expect_at[16];  /* where */
	char request[256];   /* udp: bytes sent; dns: name; grpc, grpcs: service, "" for all */
	char trust[256];     /* https, grpcs: whose certificates */
	char dns_type[16];   /* dns */
	char dns_rcode[16];  /* dns */
	char command[64];    /* exec: file name in the daemon's folder of commands */
	char arguments[256]; /* exec: joined by commas */
	char via[16];	     /* "auto", "direct", "tunnel": probe_via.h */
	uint32_t interval_ms;
	uint32_t timeout_ms;
	uint32_t fast_interval_ms;
	uint32_t down_interval_ms;
	uint8_t rise;
	uint8_t fall;
	uint8_t clear;
};

/* When a pool's circuit breaker opens, and how it closes again; defaults in breaker.h. */
struct gs_breaker_spec {
	bool enabled;
	uint32_t min_volume;	 /* results in the window before the ratio counts */
	uint8_t failure_percent; /* of the window's results: it opens */
	uint8_t consecutive;	 /* connection failures in a row: it opens */
	uint32_t open_ms;	 /* the first time; doubles, drawn at random below */
	uint32_t open_max_ms;	 /* never longer */
	uint16_t trials;	 /* new flows let through while half open, by all edges */
	uint8_t successes;	 /* good results while half open: it closes */
	uint32_t ramp_ms;	 /* from closing to all new flows; 0: at once */
	uint16_t slow_ms;	 /* what takes longer is slow; 0: nothing is */
	uint8_t slow_percent;	 /* of the window's results: it opens */
};

/* Which flows of a service must meet one backend, while nothing changes. */
enum gs_affine {
	GS_AFFINE_FLOW,	  /* every flow for itself */
	GS_AFFINE_CLIENT, /* those of one client address */
	GS_AFFINE_PREFIX, /* those of one client prefix */
	GS_AFFINE__COUNT
};

struct gs_affinity_spec {
	enum gs_affine kind;
	uint8_t prefix4; /* bits: 8 .. 32 */
	uint8_t prefix6; /* 16 .. 128 */
};

/* What one edge lets through, by token buckets. A second; 0: no limit. */
struct gs_limit_spec {
	uint32_t client_packets; /* of one client prefix, to the service */
	uint32_t client_flows;	 /* new ones */
	uint32_t packets;	 /* of the whole service */
	uint32_t flows;
	uint8_t prefix4;  /* bits of a client prefix: 8 .. 32 */
	uint8_t prefix6;  /* 16 .. 128 */
	uint8_t priority; /* 0 .. 7: where all regions are full, lower ones are shed first */
};

/* What an edge does with a service's packets when its controller has been away for long. */
enum gs_stale_kind {
	GS_STALE_IS_KEPT,   /* forwards as the last tables say */
	GS_STALE_IS_PASSED, /* hands them to its own stack */
	GS_STALE_IS_DROPPED,
	GS_STALE_IS__COUNT
};

struct gs_stale_spec {
	enum gs_stale_kind kind;
	uint32_t after_s; /* 10 .. 86,400 */
};

/* What becomes of a service none of whose backends is healthy; panic.h says more. */
enum gs_all_down {
	GS_ALL_DOWN_SERVES_ANY,	      /* health is ignored everywhere */
	GS_ALL_DOWN_SERVES_LAST_GOOD, /* in the backends that were the last to be healthy */
	GS_ALL_DOWN_SERVES_FIXED,     /* in one region */
	GS_ALL_DOWN_FAILS_CLOSED,     /* packets are dropped */
	GS_ALL_DOWN__COUNT
};

struct gs_panic_spec {
	uint8_t percent; /* of weight that is healthy, below it health is ignored; 0: never */
	enum gs_all_down all_down;
	gs_id region; /* SERVES_FIXED; else 0 */
};

/* When a target that goes up and down is held down; damping.h says more. */
struct gs_damping_spec {
	uint32_t suppress; /* from this penalty on; 0: never */
	uint32_t reuse;	   /* down to this one; less than suppress */
	uint32_t half_life_s;
	uint32_t ceiling_s; /* so long after its last flap at most */
};

/* How packets go to a backend. */
enum gs_forward {
	GS_FORWARD_AS_IPIP,
	GS_FORWARD_AS_GUE, /* IPIP behind UDP */
	GS_FORWARD_AS_L2,  /* as they came, to its MAC: on the edge's link, of the VIP's family */
	GS_FORWARD_AS_NAT, /* both addresses and ports rewritten; of the VIP's family */
	GS_FORWARD_AS__COUNT
};

/* In arrays below, objects are sorted by id and have distinct ids and names. */
struct gs_region {
	gs_id id;
	char name[GS_NAME_MAX];
	bool id_is_given; /* by a document: not for the database to choose */
	struct gs_coord coord;
	double cost;	     /* per GB, any currency; 0: free */
	uint64_t capacity;   /* new connections a second, of all edges; 0: not stated */
	uint8_t target;	     /* percent of it that it is filled to; 0: GS_TARGET_DEFAULT */
	double availability; /* percent, as promised; 0: not stated */
	enum gs_admin admin;
	int64_t drain_until_unix_ms; /* admin drain: then its flows go too; 0: no deadline */
	uint32_t limit_packets;	     /* a second, by one edge; 0: no limit */
	uint32_t limit_flows;	     /* new ones */
};

/* What regions are ranked by; policy.h says how. */
enum gs_criterion {
	GS_BY_ORDER,
	GS_BY_GEO,
	GS_BY_LATENCY,
	GS_BY_COST,
	GS_BY_AVAILABILITY,
	GS_BY_WEIGHT, /* last: what is tied by then shares its clients */
	GS_BY__COUNT
};

/* Names of common ranks; GS_POLICY_RANKED has a rank of its own. */
enum gs_policy_kind {
	GS_POLICY_GEO,
	GS_POLICY_FAILOVER,
	GS_POLICY_LATENCY,
	GS_POLICY_COST,
	GS_POLICY_AVAILABILITY,
	GS_POLICY_WEIGHTED,
	GS_POLICY_RANKED,
	GS_POLICY__COUNT
};

struct gs_policy {
	gs_id id;
	char name[GS_NAME_MAX];
	bool id_is_given; /* by a document: not for the database to choose */
	enum gs_policy_kind kind;
	uint8_t rank_count; /* of kind ranked only: gs_policy_rank (policy.h) knows the others */
	uint8_t rank[GS_RANK_MAX]; /* enum gs_criterion */
	uint16_t band_ms;	   /* tied by latency: within the larger of both of the best */
	uint8_t band_percent;
	uint8_t order_count;
	gs_id order[GS_POLICY_ORDER_MAX]; /* default order of regions, for what nothing else says */
	int8_t bias[GS_POLICY_ORDER_MAX]; /* of order[i], percent: > 0 draws clients, < 0 repels */
	uint16_t weight[GS_POLICY_ORDER_MAX]; /* of order[i]; 0: last resort. Others have 0 */
};

struct gs_service {
	gs_id id;
	char name[GS_NAME_MAX];
	bool id_is_given; /* by a document: not for the database to choose */
	struct gs_addr vip;
	uint16_t port; /* host byte order; 0: every port */
	enum gs_protocol protocol;
	gs_id policy;
	struct gs_probe_spec probe;
	uint32_t failover_budget_ms; /* how long a failover may take; 0: as the edge is set */
	struct gs_breaker_spec breaker;
	struct gs_affinity_spec affinity;
	struct gs_limit_spec limit;
	struct gs_stale_spec stale;
	struct gs_panic_spec panic;
	struct gs_damping_spec damping;
};

struct gs_backend {
	gs_id id;
	char name[GS_NAME_MAX];
	bool id_is_given; /* by a document: not for the database to choose */
	gs_id service;
	gs_id region;
	struct gs_addr addr;
	uint16_t weight; /* 1 .. 1000 */
	enum gs_forward forward;
	uint16_t port; /* NAT: where it listens, host byte order; 0: the packet's own */
	enum gs_admin admin;
	int64_t drain_until_unix_ms; /* as a region's */
};

/* Where clients are, by the GeoIP database. */
enum gs_place_kind {
	GS_PLACE_EVERYBODY,
	GS_PLACE_CONTINENT,   /* code "EU" */
	GS_PLACE_COUNTRY,     /* code "DE": ISO 3166-1 alpha-2 */
	GS_PLACE_SUBDIVISION, /* code "US-CA": ISO 3166-2 */
	GS_PLACE__COUNT
};

struct gs_place {
	enum gs_place_kind kind;
	char code[GS_PLACE_CODE_MAX];
};

/*
 * Sends clients to `region` first, whatever their policy says: those of one of the three
 * (gs_override_of); what it is not of is all zero.
 */
struct gs_override {
	struct gs_prefix prefix;
	gs_id region;
	char reason[GS_NAME_MAX * 2];
	struct gs_place place; /* kind not GS_PLACE_EVERYBODY: it is of a place */
	uint32_t asn;	       /* not 0: of an autonomous system */
};

/*
 * Clients of `place` are served by these regions only, whatever else says so. At most one for a
 * (place, service).
 */
struct gs_fence {
	struct gs_place place;
	gs_id service;	    /* 0: every service */
	bool holds_unknown; /* those, too, whose place the database does not tell */
	uint8_t region_count;
	gs_id regions[GS_FENCE_REGIONS_MAX];
	char reason[GS_NAME_MAX * 2];
};

/*
 * Who may come in: of the rules for a client the longest prefix decides, and of two as long the one
 * of the service. Whom none speaks of may. An allowed client is under no client limit.
 */
struct gs_access {
	struct gs_prefix prefix;
	gs_id service; /* 0: every service */
	bool allow;    /* or deny */
	char reason[GS_NAME_MAX * 2];
};

/*
 * An operator's hand on a breaker: holds it open or closed until it expires. Not part of a
 * configuration document. At most one for a (service, region, edge).
 */
struct gs_force {
	gs_id service;
	gs_id region;
	char edge[GS_NAME_MAX]; /* "": every edge; one that is named wins */
	bool open;		/* or closed */
	int64_t expires_unix_ms;
	char reason[GS_NAME_MAX * 2];
	char actor[GS_NAME_MAX];
};

/*
 * What clients of a place need to a region, as edges measured it and all rank by (latency.h). Made
 * by edges, not by people: not part of a configuration document.
 */
struct gs_latency {
	char place[GS_LATENCY_PLACE_MAX]; /* behind its end all zero */
	gs_id region;
	uint32_t samples; /* it was made of, when it was published */
	int32_t us;	  /* a cell: the round trip; larger: more than the model's; may be < 0.
			     GS_LATENCY_NONE: the row goes */
	int64_t at_unix_ms;
	/* Some clients still go by what was published before. */
	int32_t before_us;	/* GS_LATENCY_NONE: nothing was */
	uint8_t before_percent; /* of client prefixes, 1 to 99; 0: all go by us */
};
#define GS_LATENCY_NONE INT32_MIN

/*
 * An operator's hand on a region, a pool or a backend: instead of the object's own `admin`, until
 * it expires or is taken back. Not part of a configuration document. At most one for an (object,
 * edge). overlay.h says which of several counts.
 */
struct gs_overlay {
	gs_id region;		/* of a region or a pool; else 0 */
	gs_id service;		/* of a pool; else 0 */
	gs_id backend;		/* of a backend; else 0 */
	char edge[GS_NAME_MAX]; /* "": every edge */
	enum gs_admin admin;
	bool supersedes; /* what single edges have laid over the object before it goes */
	int64_t made_unix_ms;
	int64_t expires_unix_ms; /* 0: does not expire */
	uint64_t version;	 /* grows with every change, is never used twice */
	char reason[GS_NAME_MAX * 2];
	char actor[GS_NAME_MAX];
	char ticket[GS_NAME_MAX];
};

/*
 * The desired state at one revision. Owned by whoever got it; gs_snapshot_free (app/snapshot_io.h)
 * releases the arrays and the struct.
 */
struct gs_snapshot {
	uint64_t revision;
	uint64_t selection_seed;
	bool seed_is_given;	 /* by a document */
	char actor[GS_NAME_MAX]; /* who made this revision, as they said; "": not known */
	uint32_t region_count, policy_count, service_count, backend_count, override_count;
	uint32_t access_count, force_count, fence_count, latency_count, overlay_count;
	/* The database's clock less this machine's when it was read, in ms; 0: not known. */
	int64_t clock_ahead_ms;
	struct gs_region *regions;
	struct gs_policy *policies;
	struct gs_service *services;
	struct gs_backend *backends;
	struct gs_override *overrides;
	struct gs_access *access;     /* by prefix, service */
	struct gs_force *forces;      /* by service, region, edge */
	struct gs_fence *fences;      /* by place, service */
	struct gs_latency *latencies; /* by place, region */
	struct gs_overlay *overlays;  /* by object (gs_overlay_compare), edge */
};

/* One class of clients: a cell of one degree in one country, or a country. Id = index; 0: unknown.
 */
struct gs_location {
	char country[3];     /* ISO 3166-1 alpha-2, or "" */
	char continent[3];   /* AF AN AS EU NA OC SA, or "" */
	char subdivision[8]; /* ISO 3166-2 part after the dash, or "" */
	bool has_coord;
	struct gs_coord coord;
	gs_id override_region; /* != 0: an override sends its clients there first */
};
