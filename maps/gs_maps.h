/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the packet path and everything else: every map key and value, every limit
 * and every reason. Both compilers read this file and both evaluate its asserts.
 *
 * maps/README.md has the table of maps and the update protocol. Whoever changes a size, an offset
 * or a meaning here raises GS_MAPS_VERSION: the loader refuses pinned maps of another version.
 *
 * Rules: fixed-width types only, padding is explicit and zero, an id of 0 is never a valid object
 * (location 0 is the one exception: it means "unknown"), what changes in place is one aligned
 * word of at most 8 bytes.
 */
#pragma once

#include <linux/types.h>

#define GS_MAPS_VERSION 10u

/* Where everything is pinned unless the user names another folder. */
#define GS_PIN_DIR_DEFAULT "/sys/fs/bpf/geostream"

/* Names of pinned objects in that folder. The kernel keeps 15 characters of a name. */
#define GS_MAP_META "meta"
#define GS_MAP_SERVICES "services"
#define GS_MAP_GEO4 "geo4"
#define GS_MAP_GEO6 "geo6"
#define GS_MAP_OVERRIDE4 "override4"
#define GS_MAP_OVERRIDE6 "override6"
#define GS_MAP_ROUTES "routes"
#define GS_MAP_PLANS "plans"
#define GS_MAP_POOLS "pools"
#define GS_MAP_RINGS "rings"
#define GS_MAP_USABLE_REGION "usable_region"
#define GS_MAP_USABLE_POOL "usable_pool"
#define GS_MAP_USABLE_BACKEND "usable_backend"
#define GS_MAP_TRIALS "trials"
#define GS_MAP_FILL "fill"
#define GS_MAP_LEASES "leases"
#define GS_MAP_BACKENDS "backends"
#define GS_MAP_HOPS "hops"
#define GS_MAP_LINKS "links"
#define GS_MAP_ASKED "asked"
#define GS_MAP_FLOWS "flows"
#define GS_MAP_FRAGMENTS "fragments"
#define GS_MAP_NAT_FLOWS "nat_flows"
#define GS_MAP_NAT_DETAILS "nat_details"
#define GS_MAP_ANSWERS "answers"
#define GS_MAP_TUNNELS "tunnels"
#define GS_MAP_TUNNEL_TOLD "tunnel_told"
#define GS_MAP_ACCESS4 "access4"
#define GS_MAP_ACCESS6 "access6"
#define GS_MAP_LIMITS "limits"
#define GS_MAP_REGION_LIMITS "region_limits"
#define GS_MAP_MONITOR "monitor"
#define GS_MAP_MONITOR_CPU "monitor_cpu"
#define GS_MAP_SAMPLES "samples"
#define GS_MAP_HANDSHAKES "handshakes"
#define GS_MAP_EVENTS "events"
#define GS_MAP_DEMAND "demand"
#define GS_MAP_OWN_MACS "own_macs"
#define GS_MAP_COUNT_REASON "count_reason"
#define GS_MAP_COUNT_SERVICE "count_service"
#define GS_MAP_COUNT_REGION "count_region"
#define GS_MAP_COUNT_BACKEND "count_backend"
#define GS_MAP_COUNT_SYN "count_syn"
#define GS_PIN_PROG "prog"
#define GS_PIN_LINK_PREFIX "link-" /* followed by the interface's name */

/* ---- limits ---------------------------------------------------------------------------------- */

#define GS_GENERATIONS 3u	       /* slots: in force, kept for rollback, being built */
#define GS_MAX_SERVICES 1024u	       /* ids 1 .. 1023 */
#define GS_MAX_SERVICE_KEYS 4096u      /* keys of `services`: up to three a service */
#define GS_MAX_REGIONS 256u	       /* ids 1 .. 255 */
#define GS_MAX_POLICIES 256u	       /* ids 1 .. 255 */
#define GS_MAX_ROUTE_ROWS 1024u	       /* rows 0 .. 1023: (policy, set of regions) pairs */
#define GS_MAX_BACKENDS 16384u	       /* ids 1 .. 16383 */
#define GS_MAX_HOPS 4096u	       /* ids 1 .. 4095 */
#define GS_MAX_OWN_MACS 64u	       /* interfaces the edge answers on */
#define GS_MAX_LOCATIONS 65536u	       /* ids 0 (unknown) .. 65535 */
#define GS_MAX_PLANS 65536u	       /* ids 1 .. 65535; 0: no plan */
#define GS_MAX_OVERRIDES 65536u	       /* prefixes per family and generation */
#define GS_MAX_ACCESS 65536u	       /* access rules per family and generation */
#define GS_PLAN_REGIONS 16u	       /* regions one plan can hold */
#define GS_FLOW_WAYS 8u		       /* entries of one flow bucket */
#define GS_FLOW_BUCKETS_DEFAULT 65536u /* 4 MB, 524,288 flows; a power of two */
#define GS_FRAGMENT_WAYS 8u
#define GS_FRAGMENT_BUCKETS 4096u /* 256 KB, 32,768 datagrams within 2 s; a power of two */
#define GS_RING_TRIES 8u	  /* hashes tried before a pool's fallback backend is taken */
#define GS_SAMPLES_BYTES 1048576u /* ring of `samples`: 14,563 of them */

#define GS_NAT_PORT_FIRST 1024u /* a slot's port on the backend's side is this plus its number */
#define GS_NAT_BUCKETS 3968u	/* of a plane; its last port is 32767: below the kernel's own */
#define GS_NAT_SLOTS (GS_NAT_BUCKETS * GS_FLOW_WAYS) /* of a plane */
#define GS_NAT_PLANES_DEFAULT 4u		     /* 9 MB, 126,976 flows; a power of two */
#define GS_NAT_PLANES_MAX 256u

#define GS_BLOCK_BYTES 64u
#define GS_BLOCK_U16 32u
#define GS_BLOCK_U32 16u
#define GS_BLOCK_NODES 2u

/* ---- reasons ---------------------------------------------------------------------------------
 *
 * Every packet counts exactly one. X(name, verdict, text): the enum, the names in bpftool, the
 * metric labels and the tests all come from this list. `verdict` is PASS, DROP or TX.
 */
#define GS_REASONS(X)                                                                        \
	X(pass_truncated, PASS, "too short to carry a destination address")                  \
	X(pass_group_mac, PASS, "broadcast or multicast frame")                              \
	X(pass_not_ip, PASS, "neither IPv4 nor IPv6 (ARP, LLDP, ...)")                       \
	X(pass_vlan, PASS, "more than two VLAN tags")                                        \
	X(pass_bad_ip, PASS, "malformed IP header, no service address")                      \
	X(pass_protocol, PASS, "neither TCP nor UDP nor ICMP about a service")               \
	X(pass_tunnel_mtu, PASS, "ICMP error: too large on the way to a backend")            \
	X(pass_fragment, PASS, "fragment, for no service")                                   \
	X(pass_not_service, PASS, "no service at this address, port and protocol")           \
	X(pass_no_meta, PASS, "maps are not initialised")                                    \
	X(pass_stale, PASS, "the controller is away too long for this service")              \
	X(pass_answer_limit, PASS, "asked for a service's MAC address, beyond the limit")    \
	X(drop_bad_ip, DROP, "malformed IP header, for a service address")                   \
	X(drop_truncated, DROP, "transport header cut short, for a service address")         \
	X(drop_bad_l4, DROP, "malformed transport header, for a service address")            \
	X(drop_fragment, DROP, "fragment without its first, for a service address")          \
	X(drop_martian, DROP, "from an address no client can have, for a service address")   \
	X(drop_headers, DROP, "IPv6 headers: too many, or in a fragment, for a service")     \
	X(drop_no_plan, DROP, "the service's policy has no plan for the location")           \
	X(drop_no_region, DROP, "no region of the plan is usable")                           \
	X(drop_shed, DROP, "all regions of the plan are full: shed by priority")             \
	X(drop_no_backend, DROP, "the region's pool has no usable backend")                  \
	X(drop_no_hop, DROP, "the backend has no next hop, and the kernel gives none")       \
	X(drop_no_route, DROP, "no next hop: the kernel has no route to the backend")        \
	X(drop_no_neighbour, DROP, "no next hop: the kernel does not know its MAC")          \
	X(drop_mode, DROP, "forward mode unknown to this program")                           \
	X(drop_too_big, DROP, "too large for the way on, and its sender is not told")        \
	X(drop_would_fragment, DROP, "too large for the way on, without DF")                 \
	X(drop_answer_limit, DROP, "echo request to a service address, beyond the limit")    \
	X(drop_stale, DROP, "the controller is away too long for this service")              \
	X(drop_headroom, DROP, "no room in front of the packet for the outer header")        \
	X(drop_denied, DROP, "an access rule denies the client")                             \
	X(drop_client_packets, DROP, "the client prefix is beyond its limit of packets")     \
	X(drop_client_flows, DROP, "the client prefix is beyond its limit of new flows")     \
	X(drop_service_packets, DROP, "the service is beyond its limit of packets")          \
	X(drop_service_flows, DROP, "the service is beyond its limit of new flows")          \
	X(drop_region_packets, DROP, "the region is beyond its limit of packets")            \
	X(drop_region_flows, DROP, "the region is beyond its limit of new flows")            \
	X(drop_ttl, DROP, "TTL or hop limit used up, where NAT would send it on")            \
	X(drop_nat_full, DROP, "NAT: both places for the new flow hold only flows in use")   \
	X(drop_nat_unknown, DROP, "NAT: ICMP error or fragment of an unknown flow")          \
	X(tx_flow, TX, "forwarded: known flow")                                              \
	X(tx_new, TX, "forwarded: new flow, remembered")                                     \
	X(tx_trial, TX, "forwarded: new flow, a trial of a half-open breaker")               \
	X(tx_untracked, TX,                                                                  \
	  "forwarded: new flow, not remembered (its bucket holds only flows "                \
	  "in use)")                                                                         \
	X(tx_repicked, TX, "forwarded: known flow whose backend is no longer usable, moved") \
	X(tx_fib, TX, "forwarded: to a next hop the kernel gave, none was in the maps")      \
	X(tx_fragment, TX, "forwarded: later fragment, to where its first went")             \
	X(tx_icmp, TX, "forwarded: ICMP error, to the backend of the flow it quotes")        \
	X(tx_nat_reply, TX, "forwarded: NAT, a backend's reply, to the client")              \
	X(tx_echo, TX, "answered: echo request to a service address")                        \
	X(tx_arp, TX, "answered: ARP request for a service address")                         \
	X(tx_nd, TX, "answered: neighbour solicitation for a service address")               \
	X(tx_too_big, TX, "answered: too large for the way on, so much fits")

#define GS_REASON_ENUM_(name, verdict, text) GS_REASON_##name,
enum gs_reason { GS_REASONS(GS_REASON_ENUM_) GS_REASON__COUNT };
#undef GS_REASON_ENUM_

/* ---- generations and meta --------------------------------------------------------------------*/

/* What a packet needs to know of one generation; written before the generation is in force. */
struct gs_generation_value {
	__u64 number;	    /* counts up; 0: this slot was never filled */
	__u64 seed;	    /* selection seed: slots and rings; shared by all edges */
	__u64 digest;	    /* of everything in it: equal digests, equal decisions */
	__u64 built_unix_s; /* when */
	__u32 locations;    /* stride of `routes`, a multiple of GS_BLOCK_U16 */
	__u32 regions;	    /* stride of `pools` */
	__u32 overrides4;   /* entries of the override tries; 0: need not be asked */
	__u32 overrides6;
	__u32 geo4_prefixes; /* for people */
	__u32 geo6_prefixes;
	__u32 plans; /* ids in use, the unused 0 included */
	__u32 asks;  /* GS_ASK_*: what need be asked at all */
};

/* Is there an access rule of every service, of one service, by family; has a region a limit; does
 * one state its capacity? */
#define GS_ASK_ACCESS4_ALL 1u
#define GS_ASK_ACCESS4_OWN 2u
#define GS_ASK_ACCESS6_ALL 4u
#define GS_ASK_ACCESS6_OWN 8u
#define GS_ASK_ACCESS \
	(GS_ASK_ACCESS4_ALL | GS_ASK_ACCESS4_OWN | GS_ASK_ACCESS6_ALL | GS_ASK_ACCESS6_OWN)
#define GS_ASK_REGION_LIMITS 16u
#define GS_ASK_FILL 32u

/* `meta`: one element, mapped into the controller. */
struct gs_meta_value {
	__u32 layout_version; /* GS_MAPS_VERSION of whoever created the maps */
	__u32 active;	      /* slot of the generation in force; one 4-byte store flips it */
	__u64 table_seed;     /* secret of this edge, new with every new flow table */
	__u64 heartbeat_ns;   /* CLOCK_MONOTONIC of the controller's last turn */
	__u32 flow_mask;      /* buckets of `flows` - 1 */
	__u32 controller_pid;
	__u64 monitor_until_ns; /* CLOCK_MONOTONIC; verdicts are sampled until then; 0: not at all
				 */
	__u32 monitor_mask;	/* one packet in mask + 1 */
	__u32 handshake_one_in; /* new TCP flow is watched, a power of two; 0: none is */
	__u32 nat_mask;		/* planes of `nat_flows` - 1 */
	__u8 demand_bank[4];	/* by slot: 0 or 1, which half of `demand` */
	__u32 services_epoch;	/* counts changes of `services` and `active`; not 0 */
	__u32 _pad2;
	struct gs_generation_value generation[GS_GENERATIONS];
};

/* ---- services --------------------------------------------------------------------------------*/

/*
 * Key of `services`. addr is an IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. port is 0 for
 * "every port". Besides its services every (VIP, protocol) has a marker, "this address has services
 * of this protocol": port 0, marker 1, service id 0. It is asked for packets whose port cannot be
 * read. And every VIP has a marker with protocol 0, of the address itself.
 */
struct gs_service_key {
	__be32 addr[4];
	__be16 port;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 marker;   /* 1: marker; 0: service */
};

/* What the flows of a service that must meet one backend have in common: what rings are asked by.
 */
enum gs_affinity {
	GS_AFFINITY_FLOW = 0,
	GS_AFFINITY_CLIENT = 1, /* the client's address */
	GS_AFFINITY_PREFIX = 2, /* its first affinity4 or affinity6 bits */
};

/* What becomes of packets once the controller's heartbeat is older than stale_after_s. */
enum gs_stale {
	GS_STALE_KEEP = 0, /* as ever */
	GS_STALE_PASS = 1, /* to the kernel's stack */
	GS_STALE_DROP = 2,
};

#define GS_SERVICE_ON_LINK 1u /* address marker: the edge answers for it on its link */

/*
 * Of a service. A marker has service 0 and its own flags, and an address marker the stale policy of
 * its services: KEEP unless none of them is kept, then PASS if one of them is passed, after the
 * longest time of all. Limits: 0 is none.
 */
struct gs_service_value {
	__u16 service; /* id; 0: marker */
	__u16 flags;   /* GS_SERVICE_* */
	__u8 affinity; /* enum gs_affinity */
	__u8 affinity4;
	__u8 affinity6;
	__u8 stale; /* enum gs_stale */
	__u32 stale_after_s;
	__u32 client_packets; /* a second, of one client prefix */
	__u32 client_flows;   /* new ones a second, of one client prefix */
	__u32 packets;	      /* a second, of the service on this edge */
	__u32 flows;
	__u8 limit4; /* bits of a client prefix */
	__u8 limit6;
	__u8 priority; /* 0 .. GS_PRIORITIES - 1: who is shed last */
	__u8 _pad;
};

/*
 * `service_cache`: what each CPU has lately found in `services`, a cache line each; direct-mapped
 * by a hash of the key. Good while stamp and epoch are meta's: whoever changes `services` or puts a
 * generation in force counts the epoch up afterwards. Nothing but the packet path reads or writes
 * the cache.
 */
#define GS_SERVICE_CACHE 256u /* entries, 16 KB a CPU; a power of two */
struct gs_service_cached {
	struct gs_service_key
		key; /* as the packet has it: its port, also of an every-port service */
	__u32 epoch; /* meta's, read before the service was looked up; 0: empty */
	struct gs_service_value value; /* flags also: GS_SERVICE_PLAIN */
	__u32 row;		       /* in `routes`, of the generation in ... */
	__u32 active;		       /* ... this slot, meta's */
};
#define GS_SERVICE_PLAIN 0x8000u /* in the cache: of no packet anything is asked but its flow */

/* ---- access ----------------------------------------------------------------------------------
 *
 * Who may come in. A rule of every service stands under service 0. A client is looked up under
 * both: the longer prefix decides, and of two as long that of the service.
 */
#define GS_ACCESS_FIXED_BITS 32u /* of prefix_len: service and _pad, always compared whole */
struct gs_access4_key {
	__u32 prefix_len; /* GS_ACCESS_FIXED_BITS + the prefix's length */
	__u16 service;	  /* 0: every service */
	__u16 _pad;
	__be32 addr;
};

struct gs_access6_key {
	__u32 prefix_len;
	__u16 service;
	__u16 _pad;
	__be32 addr[4];
};

struct gs_access_value {
	__u8 length; /* of the rule's prefix */
	__u8 allow;  /* 1; 0: deny */
	__u8 _pad[6];
};

/* ---- location: overrides and the compiled geo table ------------------------------------------*/

struct gs_override4_key {
	__u32 prefix_len;
	__be32 addr;
};

struct gs_override6_key {
	__u32 prefix_len;
	__be32 addr[4];
};

struct gs_override_value {
	__u32 location;
	__u32 _pad;
};

/*
 * The compiled geo table of one family and generation: one array of 64-byte blocks holding the
 * direct root and behind it nodes and long leaf runs, near each other as a look-up meets them
 * (after "Poptrie", Asai and Ohara, SIGCOMM 2015, with the first four runs kept in the node
 *itself).
 *
 *   root  entry i covers the i-th prefix of ROOT_BITS bits: GS_GEO_LEAF | location, or the
 *	   absolute number of a node.   entry i = block[i / 16].root[i % 16]
 *   node  64 slots, one for each value of the next 6 bits.  node n = block[n / 2].node[n % 2]
 *	   slot v has a child if bit v of child_map is set: node child_base + (number of bits
 *	   set in child_map below v). Otherwise it is a leaf: run = (bits set in leaf_map up to
 *	   and including v) - 1, where leaf_map has a bit for each slot that starts a run of equal
 *	   locations (child slots neither start nor end a run). The locations of runs 0 to 3 are
 *	   in leaf[], that of a later one is leaf number leaf_base + run - 4.
 *   leaf  leaf l = block[l / 32].leaf[l % 32]
 *
 * Numbers are absolute in the array: node 2 is in block 1, leaf 32 is in block 1.
 * An address's bits beyond its length (IPv4: 32, IPv6: 128) read as zero.
 */
#define GS_GEO4_ROOT_BITS 18u
#define GS_GEO6_ROOT_BITS 20u
#define GS_GEO_STRIDE 6u
#define GS_GEO_LEAF 0x80000000u
#define GS_GEO_INLINE_LEAVES 4u
#define GS_GEO4_LEVELS 3u  /* ceil((32 - 18) / 6) */
#define GS_GEO6_LEVELS 18u /* ceil((128 - 20) / 6) */

struct gs_geo_node {
	__u64 child_map;
	__u64 leaf_map;
	__u32 child_base;
	__u32 leaf_base; /* of run 4; 0 without one */
	__u16 leaf[GS_GEO_INLINE_LEAVES];
};

struct gs_geo_block {
	union {
		__u32 root[GS_BLOCK_U32];
		struct gs_geo_node node[GS_BLOCK_NODES];
		__u16 leaf[GS_BLOCK_U16];
	};
};

/* ---- plans -----------------------------------------------------------------------------------*/

/*
 * `routes`: entry row * generation.locations + location, 32 to a block; plan 0: none. A row is a
 * policy as applied to a set of regions: services of one policy that are in the same regions share
 * it. Which row a service has stands in `pools`, so that it changes with the generation.
 */
struct gs_route_block {
	__u16 plan[GS_BLOCK_U16];
};

/*
 * Regions in order of preference. A client draws 64 bits (gs_hash_client); its slot is the low 16.
 *   1. slot = draw & 0xffff. The first i with slot <= share[i]; its region is taken if usable.
 *   2. otherwise a second draw over `spare`, unusable regions left out:
 *	  total = sum of spare[i] over usable i		(at most 16 * 65535, fits 20 bits)
 *	  point = (((draw >> 16) & 0xffffffff) * total) >> 32	(64-bit; 0 .. total - 1)
 *	in order over usable i: taken if point < spare[i], else point -= spare[i].
 *   3. total == 0 (all usable ones weigh nothing): the first usable region in order.
 * No usable region, or count 0: no region. share[] is cumulative and share[count - 1] is 65535, so
 * that 1 always finds an i. user/core/plan.c has the same walk (gs_plan_pick). Where a region
 *states its capacity, `fill` has a say in it (struct gs_fill_word).
 */
struct gs_plan_value {
	__u8 count;
	__u8 _pad[15];
	__u8 region[GS_PLAN_REGIONS];
	__u16 share[GS_PLAN_REGIONS];
	__u16 spare[GS_PLAN_REGIONS];
	__u8 _pad2[32];
};

/* ---- pools and rings -------------------------------------------------------------------------*/

/*
 * `pools`: entry service * generation.regions + region. slots 0: the service is not in the region.
 * Region 0 is no region: that entry's `base` is the service's row in `routes`.
 */
struct gs_pool_value {
	__u32 base;  /* first slot in `rings`; region 0: row in `routes` */
	__u32 slots; /* length, a prime; region 0: the service's policy */
};

/* `rings`: slot s = block[s / 32].backend[s % 32]; a flow takes slot base + (hash32 * slots >> 32)
 */
struct gs_ring_block {
	__u16 backend[GS_BLOCK_U16];
};

/*
 * `client_cache`: of clients that each CPU has lately decided a new flow of, what does not depend
 * on the flow: entry of `routes`, the region their draw falls to, its pool. Direct-mapped by a hash
 * of the address; good while the stamp is that of meta and service.
 */
#define GS_CLIENT_CACHE 4096u /* entries, 160 KB a CPU; a power of two */
struct gs_client_cached {
	__u64 src[2]; /* as in struct gs_service_key */
	__u64 stamp;  /* meta's services_epoch, slot of the generation, service; 0: empty */
	__u32 route;
	__u32 region;
	struct gs_pool_value pool;
};

/* ---- usable words ----------------------------------------------------------------------------*/

enum gs_usable_state {
	GS_USABLE_DOWN = 0,  /* no flow, old or new */
	GS_USABLE_DRAIN = 1, /* known flows only */
	GS_USABLE_TRIAL = 2, /* pool: known flows, and new ones of its own as `trials` has them */
	GS_USABLE_UP = 3,
};

/* One 8-byte word a region, a pool (service * GS_MAX_REGIONS + region), a backend. */
struct gs_usable_word {
	__u16 state;	/* enum gs_usable_state */
	__u16 accept;	/* new flows whose 16-bit hash is at most this are taken: ramps */
	__u16 fallback; /* pool: a usable backend for flows whose tries found none; else 0 */
	__u16 epoch;	/* counts changes, for people and for late results */
};

/*
 * `trials`, one a pool, as in usable_pool: how many new flows a pool in state TRIAL still takes.
 * Only flows whose first draw is this region ask: those that others have lost never do. A packet
 * takes one by an atomic decrement of `left`, if `epoch` is that of the pool's word. The controller
 * writes the whole entry before the word that makes it count; packets only decrement.
 */
struct gs_trial_value {
	__u32 epoch; /* gs_usable_word.epoch it belongs to */
	__s32 left;  /* 0 or less: none; each CPU may go one below */
};

/* ---- capacity --------------------------------------------------------------------------------
 *
 * `fill`, one 8-byte word a region: what of its own clients (the first draw of a plan, above) does
 * not stay there, and how much it takes of others'. Asked for new flows only, and only if a region
 * of the generation states its capacity (GS_ASK_FILL). All zero: as if there were none. In order:
 *
 *   shed	a client beyond it is dropped, by its service's priority (gs_fill_sheds).
 *   away	of the others this share leaves the region (gs_fill_leaves): a second draw as in 2
 *above, over `room` instead of spare, the region itself left out. Nobody has room: it stays. spare
 *in place of the plan's own spare in 2, for clients whose region is not usable; if all usable ones
 *have 0, the plan's own.
 *
 * Only regions of the client's plan are drawn, so that fences hold. A client's prefix has the same
 * draws every time: a share that changes by one percent moves one percent.
 */
struct gs_fill_word {
	__u16 away; /* of 65,536; 65,535: all of them */
	__u16 room;
	__u16 spare;
	__u16 shed;
};
#define GS_PRIORITIES 8u
#define GS_SHED_STEP 8192u /* of `shed`, a priority */
#define GS_SHED_MOST 8064u /* of a step: one client in 64 comes through, and shows the demand */
/*
 * `leases`, by the hash of a flow: what a trial was spent on, so that it can be given back. A
 * packet puts it in where it takes a trial, so there are no more than all quotas have; later ones
 * mark it. The controller takes it out: when its time is over, or its word has another epoch.
 */
#define GS_MAX_LEASES 4096
struct gs_lease_value {
	__u32 pool; /* index into usable_pool */
	__u32 us;   /* CLOCK_MONOTONIC when it was taken, modulo 2^32 */
	__u16 epoch;
	__u16 backend;
	__u8 proven;   /* 1: an ACK of the client has come, as anybody can send one */
	__u8 answered; /* 1: NAT: the backend's own SYN-ACK has come */
	__u8 _pad[2];
};

/* ---- backends and hops -----------------------------------------------------------------------*/

enum gs_forward_mode {
	GS_FORWARD_NONE = 0,
	GS_FORWARD_IPIP = 1, /* IPv4 or IPv6 in IPv4 or IPv6 */
	GS_FORWARD_GUE = 2,  /* the same behind UDP and a GUE header, port GS_GUE_PORT */
	GS_FORWARD_L2 = 3,   /* as it came, to the backend's own MAC: it is on the hop's link */
	GS_FORWARD_NAT = 4,  /* addresses and ports rewritten, replies back again */
};
#define GS_GUE_PORT 6080u

struct gs_backend_value {
	__u32 hop; /* index into `hops` */
	__u16 service;
	__u8 region;
	__u8 mode;   /* enum gs_forward_mode */
	__u8 family; /* of the outer header, or of what leaves: 4 or 6 */
	__u8 _pad;
	__be16 port; /* NAT: of the backend; 0: the packet's own */
	__u8 _pad2[4];
	__be32 addr[4]; /* IPv4 in addr[3], as in ::ffff:a.b.c.d */
};

/* A VLAN tag as on the wire: 802.1Q or 802.1ad, then priority and VID. */
struct gs_tag {
	__be16 protocol;
	__be16 tci;
};
#define GS_TAGS_MAX 2u /* of one frame */

/*
 * Never changed in place: a changed hop is a new entry and a switched index. mtu 0: not resolved,
 * the kernel is asked. Entry 0 is no hop: its sources are for headers to hops that have none.
 */
#define GS_HOP_REFLECT 1u /* MACs and tags of the received frame: back to whoever sent it */
#define GS_SPREAD_MAX 24u /* bits */
struct gs_hop_value {
	__u8 dst_mac[6];
	__u8 src_mac[6];
	__u32 ifindex; /* 0: the interface it came in by */
	__u32 mtu;     /* of the path to the backend: largest outer IP packet */
	__u32 flags;   /* GS_HOP_* */
	__be32 src4;   /* source of outer IPv4 headers */
	__u8 tags;     /* used of tag[] */
	__u8 spread4;  /* low bits of src4 that differ from flow to flow; 0 in src4 */
	__u8 spread6;
	__u8 _pad;
	__be32 src6[4]; /* source of outer IPv6 headers */
	struct gs_tag tag[GS_TAGS_MAX];
	__u8 _pad2[8];
};

/* ---- paths of tunnels ------------------------------------------------------------------------
 *
 * What routers between here and a backend say of outer packets: "too large, so much fits".
 */

/* `tunnels`: of each address that gets outer headers, one of the backends that have it. */
struct gs_tunnel_key {
	__be32 addr[4]; /* IPv4 as ::ffff:a.b.c.d */
};
struct gs_tunnel_value {
	__u32 backend; /* index into `tunnel_told` */
	__u32 _pad;
};

/* `tunnel_told`, by backend; written whole. Entry 0 counts the tellings, as one 8-byte number. */
struct gs_tunnel_told {
	__u32 mtu;  /* 0: nothing was told */
	__u32 seen; /* ktime >> 20 */
};
#define GS_TUNNEL_KEEPS \
	572204u /* units of 2^20 ns, ten minutes (RFC 1191, 6.3): so long it holds */
#define GS_TUNNEL_MTU4_MIN 576u	 /* less is not believed (RFC 1122: every host takes it) */
#define GS_TUNNEL_MTU6_MIN 1280u /* less does not exist (RFC 8200) */

/*
 * `asked`, for each CPU: the next hop the kernel gave for the packet at hand.
 *
 * `links`: what a packet leaves by whose route is by the interface of this ifindex: a VLAN
 * interface sends nothing itself, its NIC does. Only interfaces in here may be sent by when the
 * kernel gives the next hop.
 */
struct gs_link_value {
	__u32 ifindex;
	__u8 tags;
	__u8 _pad[3];
	struct gs_tag tag[GS_TAGS_MAX];
};
#define GS_MAX_LINKS 256u

/* ---- flows -----------------------------------------------------------------------------------
 *
 * A bucket is one cache line; an entry is one 8-byte word, read and written whole. Bucket =
 * low bits of the flow's keyed hash, tag = its high 32 bits (never 0: 0 marks an empty entry).
 */
#define GS_FLOW_PROVEN 0x8000u /* in `seen`: a packet that is no SYN came after the first */
#define GS_FLOW_CLOSED 0x8000u /* in `backend`: a FIN or RST came; until a SYN starts anew */
struct gs_flow_entry {
	__u32 tag;
	__u16 backend; /* bit 15: GS_FLOW_CLOSED; else the id */
	__u16 seen;    /* bit 15: GS_FLOW_PROVEN; else ktime >> 30, 15 bits */
};
#define GS_SEEN_TIME 0x7fffu
#define GS_SEEN_AHEAD 8u  /* units of 2^30 ns: how far another CPU's clock may be ahead of ours */
#define GS_SYN_KEEPS 56u  /* the same units, 60 s: a proven flow seen within it is in use */
#define GS_FLOW_IDLE 838u /* the same units, 15 minutes: then a flow counts as abandoned */

struct gs_flow_bucket {
	struct gs_flow_entry entry[GS_FLOW_WAYS];
};

/* ---- fragments -------------------------------------------------------------------------------
 *
 * What the first fragment of a datagram tells of the later ones: its ports. Bucket = low bits of
 * the keyed hash of source, destination, protocol and id; an entry is one 8-byte word.
 */
struct gs_fragment_entry {
	__be16 src_port;
	__be16 dst_port;
	__u32 tag_seen; /* tag: 20 bits; GS_FRAGMENT_SEEN: ktime >> 27; 0: empty */
};
#define GS_FRAGMENT_SEEN 0xfffu
#define GS_FRAGMENT_KEEPS 15u /* units of 2^27 ns: 2 s */

struct gs_fragment_bucket {
	struct gs_fragment_entry entry[GS_FRAGMENT_WAYS];
};

/* ---- NAT -------------------------------------------------------------------------------------
 *
 * A client's flow C:cp -> V:vp leaves as S:np -> B:bp; a reply B:bp -> S:np leaves as V:vp -> C:cp.
 * S is the hop's source address, bp the backend's port (or vp), np the number of the flow's slot,
 * plus GS_NAT_PORT_FIRST. Slots come in planes, one for all that is sent to (B, bp, protocol):
 *
 *   plane	gs_nat_plane(B, bp, protocol)
 *   bucket	plane * GS_NAT_BUCKETS + one of two that the keyed hash of C:cp, V:vp, protocol
 * names slot	bucket * GS_FLOW_WAYS + way; np = GS_NAT_PORT_FIRST + slot % GS_NAT_SLOTS
 *
 * so a reply finds its slot by its own source and destination port. `nat_flows` has the entries,
 * like those of `flows` (same hash, same tag), `nat_details` what must be put back, by slot.
 * Entries change by compare-and-swap only: a slot, and so a port, is never two flows'. Details are
 * good if the tuple in them hashes to the entry's tag: half-written ones do not.
 */
#define GS_NAT_BACKEND 0x3fffu				       /* in `backend` */
#define GS_NAT_CLIENT_DONE 0x4000u			       /* the client sent FIN */
#define GS_NAT_BACKEND_DONE 0x8000u			       /* the backend sent FIN */
#define GS_NAT_OVER (GS_NAT_CLIENT_DONE | GS_NAT_BACKEND_DONE) /* or somebody sent RST */
/*
 * Before a flow is proven these bits say how far it has come. TCP: the client has sent an ACK since
 * its first packet (ACKED; with FIN: CLIENT_DONE), and what the backend now sends without SYN or
 * RST proves it. UDP: the backend has answered, and the client's next packet proves it.
 */
#define GS_NAT_ACKED GS_NAT_BACKEND_DONE
#define GS_NAT_ANSWERED GS_NAT_CLIENT_DONE
/*
 * `seen` is in units of 2^30 ns once a flow is proven, and so long it keeps its slot while it is
 * silent: 180 s; of UDP 30 s, by setting it back. Before that it is in units of 2^24 ns: in a flood
 * the oldest of many in one second have to go.
 */
#define GS_NAT_FINE 6u
#define GS_NAT_IN_USE 168u
#define GS_NAT_UDP_IN_USE 28u

struct gs_nat_detail {
	__be32 client[4];
	__be32 vip[4];
	__be16 client_port;
	__be16 vip_port;
	__u32 source; /* hash of S and protocol */
	/* Of replies: MACs and VLAN tags to where the client's last packet came from; no tag is 0.
	 */
	__u8 dst_mac[6];
	__u8 src_mac[6];
	struct gs_tag tag[GS_TAGS_MAX];
	__u32 ifindex;
};

/* ---- answers ---------------------------------------------------------------------------------
 *
 * What the edge answers by itself is limited, for each CPU: `answers` has the time (ktime, ns) at
 * which a limit will be used up no more (the "theoretical arrival time" of the generic cell rate
 * algorithm, ITU-T I.371). First, by kind, that of all answers; then GS_ANSWER_CELLS of each kind.
 * Who asks has one of them, by hash: the client's /24 or /48, on a link the neighbour's MAC.
 */
enum gs_answer {
	GS_ANSWER_ECHO,
	GS_ANSWER_TOO_BIG,
	GS_ANSWER_NEIGHBOUR,
	GS_ANSWER_CLIENT,
	GS_ANSWER__COUNT
};
#define GS_ANSWER_INTERVAL_NS 100000u	      /* of all 10,000 a second, ... */
#define GS_ANSWER_BURST 1000u		      /* ... and so many at once */
#define GS_ANSWER_CELL_INTERVAL_NS 10000000u  /* of one cell 100 a second, ... */
#define GS_ANSWER_CELL_BURST 50u	      /* ... and so many at once */
#define GS_ANSWER_CELLS 1024u		      /* a power of two; of three kinds: 24 KB */
#define GS_ANSWER_CLIENT_INTERVAL_NS 1000000u /* nobody asks: no cells; 1,000 a second, ... */
#define GS_ANSWER_CLIENT_BURST 100u	      /* ... and so many at once */
#define GS_ANSWER_WORDS (GS_ANSWER__COUNT + GS_ANSWER_CLIENT * GS_ANSWER_CELLS)

/* ---- limits of rates -------------------------------------------------------------------------
 *
 * Token buckets, as the time (ktime in units of 2^-2 ns) at which a bucket will be full again: the
 * "theoretical arrival time" as in `answers`. Every limit of N a second is a bucket of N tokens
 * that fills in one second, GS_LIMIT_SECOND; one token is GS_LIMIT_SECOND / N. So words say how
 * much of a bucket is used, whatever its size, and clients with different limits may share one.
 *
 * `limits` in blocks of one cache line: first those of services (word 0: packets, word 1: flows),
 * then those of regions, then the places of clients in two halves. A client prefix has one place in
 * each half (gs_hash_limit): it has used what the emptier of the two has; a token moves both up to
 * what it makes of that one. So no client gets more than its limit, and one is refused without
 * having used it only if others have used up both of its places.
 */
enum gs_limit_kind { GS_LIMIT_PACKETS, GS_LIMIT_FLOWS };
#define GS_LIMIT_SECOND 4000000000u
#define GS_LIMIT_CLOCK_SHIFT 2
#define GS_LIMIT_HALF_BITS 18u /* places in each half: 2 MB */
#define GS_LIMIT_REGION_BLOCK GS_MAX_SERVICES
#define GS_LIMIT_CLIENT_BLOCK (GS_LIMIT_REGION_BLOCK + GS_MAX_REGIONS)
#define GS_LIMIT_HALF_BLOCKS ((1u << GS_LIMIT_HALF_BITS) / GS_LIMIT_WORDS)
#define GS_LIMIT_BLOCKS (GS_LIMIT_CLIENT_BLOCK + 2 * GS_LIMIT_HALF_BLOCKS)
#define GS_LIMIT_WORDS 8u
struct gs_limit_block {
	__u64 word[GS_LIMIT_WORDS];
};

/* `region_limits`: what one edge sends to a region a second, of all services. 0: no limit. */
struct gs_region_limit_value {
	__u32 packets;
	__u32 flows; /* new ones */
};

/* ---- monitor ---------------------------------------------------------------------------------
 *
 * While meta.monitor_until_ns is in the future, verdicts that `monitor` asks for go into the ring
 * `samples`: of those that forward or pass one in meta.monitor_mask + 1, drawn by chance; drops
 * all, as far as each CPU's limit goes (a limit as in `answers`). One reader at a time: whoever has
 * the lease, a word that packets never look at.
 */
#define GS_SAMPLE_DROP_INTERVAL_NS 2000000u /* 500 drops a second and CPU, ... */
#define GS_SAMPLE_DROP_BURST 100u	    /* ... and so many at once */

struct gs_monitor_value {
	__u64 lease_until_ns; /* CLOCK_MONOTONIC; taken by compare-and-swap */
	__u64 reasons;	      /* bit n: enum gs_reason n is asked for */
	__be32 src[4];	      /* only clients whose (address & src_mask) this is */
	__be32 src_mask[4];
	__u32 holder_pid; /* of the lease */
	__u16 service;	  /* 0: every one, and packets of none */
	__u8 _pad[10];
};

struct gs_monitor_count {
	__u64 sent; /* into the ring */
	__u64 lost; /* it was full */
	__u64 held; /* drops beyond the limit */
	__u64 drops_until_ns;
	__u64 full_ns; /* the coarse clock when the ring was last found full */
};

/* One packet and what became of it. Of a packet without (readable) addresses family is 0. */
struct gs_sample {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__be32 src[4]; /* as in struct gs_service_key; of an ICMP error: of the flow it quotes */
	__be32 dst[4];
	__be16 src_port;
	__be16 dst_port;
	__u8 protocol; /* 0: not known */
	__u8 family;
	__u8 shape;  /* enum gs_shape: whole, first or later fragment, quotes, echo */
	__u8 reason; /* enum gs_reason */
	__u16 service;
	__u16 backend;
	__u8 region;
	__u8 tcp_flags;
	__u16 length;	   /* of the frame as received */
	__u32 in_ifindex;  /* came in by */
	__u32 out_ifindex; /* left by; 0: it did not */
};

/* ---- handshakes ------------------------------------------------------------------------------
 *
 * Of one new TCP flow in meta.handshake_one_in the time from its SYN to the ACK that completes
 * it is taken: the round trip its client sees, the backend's own included. The SYN's time waits in
 * `handshakes`, a direct-mapped table of 8-byte words that any later SYN may overwrite; the ACK
 * sends an event. A SYN that is repeated takes its flow out of the sample (Karn's rule).
 */
struct gs_handshake_entry {
	__u32 tag; /* the flow's; 0: empty */
	__u32 us;  /* ktime, microseconds; wraps in 71 minutes */
};
#define GS_HANDSHAKE_WAYS 8u	  /* of one 64-byte block: only packing */
#define GS_HANDSHAKE_BLOCKS 4096u /* 32,768 entries; a power of two */
#define GS_HANDSHAKE_US_MAX 10000000u

struct gs_handshake_block {
	struct gs_handshake_entry entry[GS_HANDSHAKE_WAYS];
};

/* One in `events`. */
struct gs_handshake_event {
	__u32 rtt_us; /* 1 .. GS_HANDSHAKE_US_MAX; 0: of a UDP flow that began, which has none */
	__u16 service;
	__u16 backend;
	__u16 location;
	__u8 region;
	__u8 family;	/* 4 or 6, of the client */
	__u8 prefix[6]; /* of the client: IPv4 /24 in the first 3 bytes, IPv6 /48 */
	__u8 _pad[6];
};
#define GS_EVENTS_BYTES 262144u /* of the ring buffer */

/* `count_syn`, by backend. */
struct gs_syn_count {
	__u64 syns;	/* that opened a flow */
	__u64 repeated; /* SYNs of flows that no ACK had completed yet */
	__u64 measured; /* events sent */
	__u64 lost;	/* events that found the ring buffer full */
	__u64 resets;	/* NAT: replies that were the RST to a SYN */
};

/*
 * `demand`: new flows by route row (a policy, and the regions its services have backends in) and
 * location: entry row * generation.locations + location of its bank, 16 to a block. A generation
 * has the bank that its predecessor has not (meta.demand_bank), empty when it comes into force: so
 * what was counted under other rows and locations is never mixed up. What lies beyond a bank's last
 * entry is not counted. Atomic; readers take differences, modulo 2^32.
 */
#define GS_DEMAND_BANKS 2u
#define GS_DEMAND_ENTRIES 1048576u /* of a bank */
#define GS_DEMAND_WAYS 16u
struct gs_demand_block {
	__u32 flows[GS_DEMAND_WAYS];
};

/* ---- own MACs ------------------------------------------------------------------------------
 *
 * `own_macs`: interface index -> who the edge is there. ARP and neighbour solicitations for on-link
 * addresses (GS_SERVICE_ON_LINK) are answered with this MAC; where there is no entry, by nobody.
 * The ports of a bond are in it, too: packets come in by them, and hops and routes know the bond.
 */
#define GS_OWN_MAC_ANSWERS 1u /* not set: the edge is drained */
struct gs_own_mac_value {
	__u8 mac[6]; /* of the bond, if it is a port */
	__u16 flags; /* GS_OWN_MAC_* */
	__u32 bond;  /* the interface it is a port of; 0: it is none */
};

/* ---- counters --------------------------------------------------------------------------------*/

struct gs_count {
	__u64 packets;
	__u64 bytes; /* of the frames as received */
};

/* ---- asserts ---------------------------------------------------------------------------------*/

#define GS_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(struct type) == (size), "size of struct " #type)
#define GS_ASSERT_OFFSET(type, member, offset)                              \
	_Static_assert(__builtin_offsetof(struct type, member) == (offset), \
		       "offset of " #type "." #member)

GS_ASSERT_SIZE(gs_generation_value, 64);
GS_ASSERT_SIZE(gs_meta_value, 256);
GS_ASSERT_OFFSET(gs_meta_value, active, 4);
GS_ASSERT_OFFSET(gs_meta_value, table_seed, 8);
GS_ASSERT_OFFSET(gs_meta_value, heartbeat_ns, 16);
GS_ASSERT_OFFSET(gs_meta_value, generation, 64);
GS_ASSERT_SIZE(gs_service_key, 20);
GS_ASSERT_SIZE(gs_service_value, 32);
GS_ASSERT_SIZE(gs_service_cached, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_access4_key, 12);
GS_ASSERT_OFFSET(gs_access4_key, addr, 8);
GS_ASSERT_SIZE(gs_access6_key, 24);
GS_ASSERT_OFFSET(gs_access6_key, addr, 8);
GS_ASSERT_SIZE(gs_access_value, 8);
GS_ASSERT_SIZE(gs_limit_block, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_region_limit_value, 8);
GS_ASSERT_SIZE(gs_override4_key, 8);
GS_ASSERT_SIZE(gs_override6_key, 20);
GS_ASSERT_SIZE(gs_override_value, 8);
GS_ASSERT_SIZE(gs_geo_node, 32);
GS_ASSERT_SIZE(gs_geo_block, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_route_block, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_plan_value, 128);
GS_ASSERT_OFFSET(gs_plan_value, region, 16);
GS_ASSERT_OFFSET(gs_plan_value, share, 32);
GS_ASSERT_OFFSET(gs_plan_value, spare, 64);
GS_ASSERT_SIZE(gs_pool_value, 8);
GS_ASSERT_SIZE(gs_ring_block, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_usable_word, 8);
GS_ASSERT_SIZE(gs_trial_value, 8);
GS_ASSERT_SIZE(gs_fill_word, 8);
GS_ASSERT_SIZE(gs_lease_value, 16);
GS_ASSERT_SIZE(gs_backend_value, 32);
GS_ASSERT_OFFSET(gs_backend_value, addr, 16);
GS_ASSERT_SIZE(gs_hop_value, 64);
GS_ASSERT_OFFSET(gs_hop_value, src6, 32);
GS_ASSERT_SIZE(gs_tunnel_key, 16);
GS_ASSERT_SIZE(gs_tunnel_value, 8);
GS_ASSERT_SIZE(gs_tunnel_told, 8);
GS_ASSERT_OFFSET(gs_hop_value, tag, 48);
GS_ASSERT_SIZE(gs_link_value, 16);
GS_ASSERT_SIZE(gs_flow_entry, 8);
GS_ASSERT_SIZE(gs_flow_bucket, GS_BLOCK_BYTES);
_Static_assert(GS_MAX_BACKENDS <= 0x4000, "ids of backends leave bit 15 to GS_FLOW_CLOSED");
GS_ASSERT_SIZE(gs_fragment_entry, 8);
GS_ASSERT_SIZE(gs_fragment_bucket, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_monitor_value, 64);
GS_ASSERT_SIZE(gs_monitor_count, 40);
GS_ASSERT_SIZE(gs_sample, 64);
_Static_assert(GS_REASON__COUNT <= 64, "gs_monitor_value.reasons: one bit a reason");
GS_ASSERT_SIZE(gs_own_mac_value, 12);
GS_ASSERT_SIZE(gs_nat_detail, GS_BLOCK_BYTES);
_Static_assert(GS_MAX_BACKENDS <= GS_NAT_BACKEND + 1, "ids of backends leave two bits to NAT");
_Static_assert(GS_NAT_PORT_FIRST + GS_NAT_SLOTS <= 32768, "the kernel's own ports");
GS_ASSERT_SIZE(gs_count, 16);
GS_ASSERT_SIZE(gs_handshake_block, GS_BLOCK_BYTES);
GS_ASSERT_SIZE(gs_handshake_event, 24);
GS_ASSERT_SIZE(gs_syn_count, 40);
GS_ASSERT_SIZE(gs_demand_block, GS_BLOCK_BYTES);
