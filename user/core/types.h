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
	GS_PATH_MAX = 256,
	GS_HTTP_PATH_MAX = 256,
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

enum gs_probe_kind { GS_PROBE_NONE, GS_PROBE_TCP, GS_PROBE_HTTP, GS_PROBE__COUNT };

/* How a service's backends are probed. Times in milliseconds; defaults in health.h. */
struct gs_probe_spec {
	enum gs_probe_kind kind;
	uint16_t port; /* 0: the service's port */
	char path[GS_HTTP_PATH_MAX];
	char host[GS_NAME_MAX * 4]; /* HTTP Host header; empty: the VIP */
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
	uint16_t trials;	 /* new flows let through while half open */
	uint8_t successes;	 /* good results while half open: it closes */
	uint32_t ramp_ms;	 /* from closing to all new flows; 0: at once */
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
	uint8_t prefix4; /* bits of a client prefix: 8 .. 32 */
	uint8_t prefix6; /* 16 .. 128 */
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
	double cost;	   /* per GB, any currency; 0: free */
	uint64_t capacity; /* new connections a second; 0: not stated */
	enum gs_admin admin;
	int64_t drain_until_unix_ms; /* admin drain: then its flows go too; 0: no deadline */
	uint32_t limit_packets;	     /* a second, by one edge; 0: no limit */
	uint32_t limit_flows;	     /* new ones */
};

enum gs_policy_kind { GS_POLICY_GEO, GS_POLICY_FAILOVER, GS_POLICY__COUNT };

struct gs_policy {
	gs_id id;
	char name[GS_NAME_MAX];
	bool id_is_given;	  /* by a document: not for the database to choose */
	enum gs_policy_kind kind; /* geo: nearest first; failover: `order` for everybody */
	uint8_t order_count;
	gs_id order[GS_POLICY_ORDER_MAX]; /* default order of regions, for unknown locations */
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
	struct gs_breaker_spec breaker;
	struct gs_affinity_spec affinity;
	struct gs_limit_spec limit;
	struct gs_stale_spec stale;
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

/* Sends a client prefix to `region` first, whatever the geo table says. */
struct gs_override {
	struct gs_prefix prefix;
	gs_id region;
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
 * The desired state at one revision. Owned by whoever got it; gs_snapshot_free (app/snapshot_io.h)
 * releases the arrays and the struct.
 */
struct gs_snapshot {
	uint64_t revision;
	uint64_t selection_seed;
	bool seed_is_given;	 /* by a document */
	char actor[GS_NAME_MAX]; /* who made this revision, as they said; "": not known */
	uint32_t region_count, policy_count, service_count, backend_count, override_count;
	uint32_t access_count, force_count;
	struct gs_region *regions;
	struct gs_policy *policies;
	struct gs_service *services;
	struct gs_backend *backends;
	struct gs_override *overrides;
	struct gs_access *access; /* by prefix, service */
	struct gs_force *forces;  /* by service, region, edge */
};

/* One class of clients: a cell of one degree in one country, or a country. Id = index; 0: unknown.
 */
struct gs_location {
	char country[3];     /* ISO 3166-1 alpha-2, or "" */
	char continent[3];   /* AF AN AS EU NA OC SA, or "" */
	char subdivision[8]; /* ISO 3166-2 part after the dash, or "" */
	bool has_coord;
	struct gs_coord coord;
	gs_id override_region; /* != 0: synthetic location of an override */
};
