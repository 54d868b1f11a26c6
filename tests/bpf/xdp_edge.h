/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet path with a small world in its maps, filled here by hand and not by the controller:
 * three regions (id 3 answers through an IPv6 tunnel), seven services, two backends a pool. A test
 * changes words, sends packets and gets back what happened. Asserts inside.
 *
 * Clients: 192.0.2.0/24 and 2001:db8:1::/48 are location 1, 203.0.113.0/25 and 2001:db8:2::/48 are
 * 2, 203.0.113.128/25 and 2001:db8:3::/48 are 3, 172.16.0.0/12 and 2001:db8:4::/48 are 4 (a plan
 * with shares), 198.18.0.0/15 and 2001:db8:5::/48 are 5 (no plan). Everything else is unknown.
 */
#pragma once

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "user/core/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct bpf_object;

enum {
	EDGE_REGIONS = 4,    /* ids 1 .. 3 */
	EDGE_LOCATIONS = 32, /* the stride; 0 .. 6 have plans but 5 */
	EDGE_SERVICES = 8,   /* ids 1 .. 7 */
	EDGE_BACKENDS = 128,
	EDGE_SLOTS = 101, /* of each ring */
	EDGE_ROW = 1,	  /* of every service in routes but that of SERVICE_NO_PLAN */
	EDGE_POLICY = 2,  /* of every service, for what is counted by policy */
	EDGE_HOP = 1,
	EDGE_FLOW_BUCKETS = 64,
	EDGE_NAT_PLANES = 2,
};

/* Services, and at which VIP. */
enum {
	SERVICE_WEB4 = 1,    /* 198.51.100.10 tcp 80 */
	SERVICE_WEB6 = 2,    /* 2001:db8:100::10 tcp 80 */
	SERVICE_DNS4 = 3,    /* 198.51.100.10 udp 53 */
	SERVICE_DNS6 = 4,    /* 2001:db8:100::10 udp 53 */
	SERVICE_ANY = 5,     /* 198.51.100.11 tcp, every port; only in region 1 */
	SERVICE_EXACT = 6,   /* 198.51.100.11 tcp 443 */
	SERVICE_NO_PLAN = 7, /* 198.51.100.12 and 2001:db8:100::12 tcp 80; its row is empty */
};

const char *edge_reason_name(uint32_t reason);	    /* "tx_new"; "?": none */
uint32_t edge_reason_action(enum gs_reason reason); /* XDP_* */

struct xdp_edge {
	struct bpf_object *object;
	int prog_fd;
	/* What the words say now, for oracles. */
	struct gs_usable_word region[EDGE_REGIONS];
	struct gs_usable_word pool[EDGE_SERVICES][EDGE_REGIONS];
	struct gs_usable_word backend[EDGE_BACKENDS];
	struct gs_fill fill[EDGE_REGIONS];
	bool asks_fill;
	uint8_t priority[EDGE_SERVICES];
};

struct xdp_result {
	uint32_t action; /* XDP_* */
	enum gs_reason reason;
	uint32_t service, region, backend; /* whose counters moved; 0: nobody's */
	struct packet out;
};

/* Everything up, slot 0 in force with number 1 and seed 0x5eed. */
void xdp_edge_open(struct xdp_edge *edge);
/* The same with so many buckets for flows, a power of two. */
void xdp_edge_open_with(struct xdp_edge *edge, uint32_t flow_buckets);
/* The same program with nothing in its maps but meta (no generation yet) and this many buckets. */
void xdp_edge_load(struct xdp_edge *edge, uint32_t flow_buckets);
/* The same world in the maps the loader has pinned there, where its program forwards by them. */
void xdp_edge_adopt(struct xdp_edge *edge, const char *pin_dir);
void xdp_edge_close(struct xdp_edge *edge);
int xdp_edge_map(const struct xdp_edge *edge, const char *name);
void xdp_edge_set(const struct xdp_edge *edge, const char *map, const void *key, const void *value);
void xdp_edge_get(const struct xdp_edge *edge, const char *map, const void *key, void *ret_value);

/* One packet through the program; asserts that exactly one reason counted it. */
struct xdp_result xdp_edge_send(const struct xdp_edge *edge, const struct packet *packet);
/* Byte for byte, or the test named fails and says where they differ. */
void edge_expect_bytes(const char *name, const struct packet *got, const struct packet *want);
/* The same as xdp_edge_send; the reason must be this one, and what is passed on as it came. */
struct xdp_result xdp_edge_expect(const struct xdp_edge *edge, const char *name,
				  const struct packet *packet, enum gs_reason want);

/* Fills slot `at` with the world above and says so in meta (not in force yet). swap: the first two
 * regions of every plan change places. */
void xdp_edge_fill(const struct xdp_edge *edge, uint32_t at, uint64_t number, uint64_t seed,
		   bool swap);
void xdp_edge_flip(const struct xdp_edge *edge, uint32_t at);
struct gs_meta_value xdp_edge_meta(const struct xdp_edge *edge);
void xdp_edge_set_meta(const struct xdp_edge *edge, const struct gs_meta_value *meta);

/* Makes an array of `count` values and puts it into a slot of an outer map. */
void xdp_edge_put_array(const struct xdp_edge *edge, const char *outer, uint32_t at,
			uint32_t value_size, uint32_t count, const void *values);
/* Adds an override to a slot, and counts it in meta. */
void xdp_edge_override(const struct xdp_edge *edge, uint32_t at, const char *addr, uint32_t length,
		       uint32_t location);

/* Adds an access rule to a slot (service 0: of every one), and says in meta that there is one. */
void xdp_edge_access(const struct xdp_edge *edge, uint32_t at, const char *addr, uint32_t length,
		     uint32_t service, bool allow);

void xdp_edge_set_region(struct xdp_edge *edge, uint32_t region, struct gs_usable_word word);
void xdp_edge_set_pool(struct xdp_edge *edge, uint32_t service, uint32_t region,
		       struct gs_usable_word word);
void xdp_edge_set_backend(struct xdp_edge *edge, uint32_t backend, struct gs_usable_word word);
/* The region's word in `fill`, and says in meta of slot 0 that there is one. */
void xdp_edge_set_fill(struct xdp_edge *edge, uint32_t region, struct gs_fill fill);
/* Nobody states a capacity any more. */
void xdp_edge_clear_fill(struct xdp_edge *edge);
extern const struct gs_usable_word edge_up, edge_drain, edge_down;

uint32_t edge_backend_id(uint32_t service, uint32_t region, uint32_t member); /* member: 0, 1 */
/* Address of the backend, as text. */
const char *edge_backend_addr(uint32_t backend, char out[64]);
/* The same backend's value, for tests that change a field. */
struct gs_backend_value edge_backend_value(uint32_t backend);
struct gs_hop_value edge_hop_value(void);
/* What an edge sends for `in` to this backend. */
struct packet edge_expect_frame(const struct packet *in, uint32_t backend);
/*
 * The backend of a new flow from this location by the documented rules and user/core/plan.c.
 * 0: dropped.
 */
uint32_t edge_expect_backend(const struct xdp_edge *edge, const struct packet *packet,
			     uint32_t service, uint32_t location, uint64_t seed);
/* The same in two steps, of a flow as map keys have it: the region, and the backend in it. 0: none.
 */
uint32_t edge_expect_first_of(const struct gs_flow_tuple *tuple, uint32_t location, uint64_t seed);
/* How it comes there; GS_WAY_SHED and GS_WAY_NONE: *ret_region is 0. */
enum gs_plan_way edge_expect_way_of(const struct xdp_edge *edge, const struct gs_flow_tuple *tuple,
				    uint32_t service, uint32_t location, uint64_t seed,
				    uint32_t *ret_region);
uint32_t edge_expect_region_of(const struct xdp_edge *edge, const struct gs_flow_tuple *tuple,
			       uint32_t service, uint32_t location, uint64_t seed);
uint32_t edge_expect_backend_in(const struct xdp_edge *edge, const struct gs_flow_tuple *tuple,
				uint32_t service, uint32_t region, uint64_t seed);
struct gs_flow_tuple edge_tuple(const struct packet *packet);
/* Sets when a limit of `answers` will be used up no more, on every CPU: 0: it is not used, all ones
 * (less one bit): it is. who: as gs_answer_word has it; 0: of all askers together. */
void xdp_edge_set_answers(const struct xdp_edge *edge, uint32_t kind, uint64_t who,
			  uint64_t until_ns);
uint64_t edge_asker(const char *addr); /* a client as gs_answer_word has it */
/* Forgets all flows. */
void xdp_edge_forget(const struct xdp_edge *edge);
