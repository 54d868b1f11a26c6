/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet path against a model of what its README promises, written for this test alone: a
 * thousand random configurations (words, trials, modes, hops, overrides, access rules, limits,
 * stale policies), a thousand random packets each, and what NAT's backends reply. Verdict, reason
 * and every byte must be the model's. MODEL_SEED=N repeats a run. Who clients are and what they may
 * is in model_clients.c, what services let in is in model_limits.c.
 *
 * The model knows the packet it has made; it does not parse. What it shares with the program are
 * the hashes and the plan's draw, which are contracts (maps/gs_hash.h, user/core/plan.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "model_clients.h"
#include "model_limits.h"
#include "packet.h"
#include "user/core/plan.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONFIGURATIONS = 1000, PACKETS = 1000, FLOWS_MAX = 4096, BUCKETS = 1024, CPUS_MAX = 1024 };
enum { VIPS = 5 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static struct xdp_edge edge;

/* ---- chance ---------------------------------------------------------------------------------- */

static uint64_t random_state;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t draw(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint32_t below(uint32_t limit)
{
	return (uint32_t)(draw() % limit);
}

/* ---- a configuration ------------------------------------------------------------------------- */

static struct {
	uint8_t mode[EDGE_BACKENDS];
	struct gs_hop_value hop;
	struct gs_service_value service[EDGE_SERVICES];
	struct gs_service_value marker[VIPS];	     /* of addresses */
	int32_t trials[EDGE_SERVICES][EDGE_REGIONS]; /* left; of no epoch but the word's */
	uint16_t port[EDGE_BACKENDS];		     /* where NAT's backend listens; 0: the VIP's */
} config;

static struct gs_usable_word random_word(void)
{
	/* mostly up, or nothing would be forwarded */
	static const uint16_t states[] = {GS_USABLE_UP, GS_USABLE_UP,	 GS_USABLE_UP,
					  GS_USABLE_UP, GS_USABLE_DRAIN, GS_USABLE_DOWN};

	return (struct gs_usable_word){.state = states[below(6)],
				       .accept = below(4) ? 0xffff : (uint16_t)draw()};
}

static uint32_t hop_tags[GS_TAGS_MAX];

static void random_hop(void)
{
	uint32_t id = EDGE_HOP;

	config.hop = edge_hop_value();
	config.hop.mtu = below(10) ? 1300 + below(300) : below(2) * 600;
	if (below(8) == 0)
		config.hop.flags = GS_HOP_REFLECT;
	config.hop.tags = (uint8_t)below(GS_TAGS_MAX + 1);
	for (uint32_t i = 0; i < config.hop.tags; i++) {
		hop_tags[i] = (below(2) ? 0x81000000u : 0x88a80000u) | below(0x10000);
		config.hop.tag[i] =
			(struct gs_tag){.protocol = htons((uint16_t)(hop_tags[i] >> 16)),
					.tci = htons((uint16_t)hop_tags[i])};
	}
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &config.hop);
}

/* Half open now and then, with a few trials, of this epoch or of one before. */
static void random_trial(uint32_t service, uint32_t region, struct gs_usable_word *word)
{
	static const int32_t quotas[] = {-1, 0, 1, 3, 1000};
	uint32_t index = service * GS_MAX_REGIONS + region;
	struct gs_trial_value trial = {.epoch = below(4) ? 7 : 6, .left = quotas[below(5)]};

	config.trials[service][region] = trial.epoch == 7 ? trial.left : 0;
	word->epoch = 7;
	if (below(6) == 0)
		word->state = GS_USABLE_TRIAL;
	xdp_edge_set(&edge, GS_MAP_TRIALS, &index, &trial);
}

/* Not changed under flows: a backend that listens elsewhere is another one. */
static void random_ports(void)
{
	for (uint32_t backend = 0; backend < EDGE_BACKENDS; backend++)
		config.port[backend] = (uint16_t)(below(2) ? 0 : 8000 + below(2));
}

static void random_backends(uint32_t service, uint32_t region)
{
	struct gs_usable_word word = random_word();

	random_trial(service, region, &word);
	/* known flows and those whose tries all fail find their way by it */
	if (below(2))
		word.fallback = (uint16_t)edge_backend_id(service, region, below(2));
	xdp_edge_set_pool(&edge, service, region, word);
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t backend = edge_backend_id(service, region, member);
		struct gs_backend_value value = edge_backend_value(backend);

		value.mode = below(20) ? (uint8_t)(1 + below(4)) : (uint8_t)below(6);
		config.mode[backend] = value.mode;
		value.port = htons(config.port[backend]);
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &backend, &value);
		xdp_edge_set_backend(&edge, backend, random_word());
	}
}

static void random_words(void)
{
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(&edge, region, random_word());
	for (uint32_t service = 1; service < EDGE_SERVICES; service++)
		for (uint32_t region = 1; region < EDGE_REGIONS; region++)
			random_backends(service, region);
}

static const char *const vips[VIPS] = {"198.51.100.10", "198.51.100.11", "198.51.100.12",
				       "2001:db8:100::10", "2001:db8:100::12"};

/* What is asked of an address. The controller derives it from its services; packets do not. */
static void random_markers(void)
{
	for (uint32_t i = 0; i < VIPS; i++) {
		struct gs_service_key key = {.marker = 1};
		struct gs_service_value *value = &config.marker[i];

		packet_addr(vips[i], (uint8_t *)key.addr);
		value->stale = (uint8_t)(below(2) ? below(3) : GS_STALE_KEEP);
		value->stale_after_s = below(2) ? 5 : 20;
		xdp_edge_set(&edge, GS_MAP_SERVICES, &key, value);
	}
}

static struct gs_service_key service_keys[2 * EDGE_SERVICES];
static uint16_t services_of_keys[2 * EDGE_SERVICES];
static uint32_t service_count; /* of keys */

/* Once: a map that is written to while one goes through it may never end. */
static void find_services(void)
{
	struct gs_service_key key, *previous = NULL;
	int fd = xdp_edge_map(&edge, GS_MAP_SERVICES);

	for (; bpf_map_get_next_key(fd, previous, &key) == 0; previous = &key) {
		struct gs_service_value value;

		xdp_edge_get(&edge, GS_MAP_SERVICES, &key, &value);
		if (key.marker)
			continue;
		assert_true(service_count < 2 * EDGE_SERVICES);
		services_of_keys[service_count] = value.service;
		service_keys[service_count++] = key;
	}
}

/* Every key of a service says the same of it. */
static void random_services(void)
{
	static struct gs_service_value values[EDGE_SERVICES];

	for (uint32_t service = 1; service < EDGE_SERVICES; service++) {
		values[service].service = (uint16_t)service;
		values[service].affinity = (uint8_t)below(3);
		values[service].affinity4 = (uint8_t)(8 + below(25));
		values[service].affinity6 = (uint8_t)(16 + below(113));
		values[service].priority = edge.priority[service] = (uint8_t)below(GS_PRIORITIES);
	}
	model_limits_random(&edge, &random_state, values);
	memcpy(config.service, values, sizeof(values));
	for (uint32_t i = 0; i < service_count; i++)
		xdp_edge_set(&edge, GS_MAP_SERVICES, &service_keys[i],
			     &values[services_of_keys[i]]);
	random_markers();
}

/* Of every region, or of none; much of it nothing. */
static void random_fill(void)
{
	for (uint32_t region = 1; region < EDGE_REGIONS; region++) {
		struct gs_fill fill = {
			.away = (uint16_t)(below(2) ? draw() : below(2) * 0xffff),
			.room = (uint16_t)(below(3) ? draw() : 0),
			.spare = (uint16_t)(below(3) ? draw() : 0),
			.shed = (uint16_t)(below(3) ? 0 : draw()),
		};

		xdp_edge_set_fill(&edge, region, fill);
	}
	if (below(2))
		xdp_edge_clear_fill(&edge);
}

static void random_settings(void)
{
	random_words();
	random_fill();
	random_services();
	model_clients_random(&edge, &random_state);
}

/* ---- what the model remembers ---------------------------------------------------------------- */

struct flow {
	struct gs_flow_tuple tuple;
	uint32_t backend; /* 0: no entry */
	bool proven, closed;
};

static struct flow flows[FLOWS_MAX];
static uint32_t flow_count;

static struct flow *flow_of(const struct gs_flow_tuple *tuple)
{
	for (uint32_t i = 0; i < flow_count; i++)
		if (memcmp(&flows[i].tuple, tuple, sizeof(*tuple)) == 0)
			return &flows[i];
	assert_true(flow_count < FLOWS_MAX);
	flows[flow_count] = (struct flow){.tuple = *tuple};
	return &flows[flow_count++];
}

/* A flow towards what a backend listens on, and the port NAT has chosen for it: any, but its own.
 */
struct nat {
	struct gs_flow_tuple tuple;
	uint32_t backend;
	uint16_t to, port; /* port 0: none of its packets was seen to leave yet */
};

static struct nat nats[FLOWS_MAX];
static uint32_t nat_count;
static const struct nat *nat_last; /* of the packet compared last; NULL: it was not NAT's */

static uint16_t listens_on(uint32_t backend, const struct gs_flow_tuple *tuple)
{
	return config.port[backend] ? config.port[backend] : ntohs(tuple->dst_port);
}

static struct nat *nat_find(const struct gs_flow_tuple *tuple, uint32_t backend)
{
	for (uint32_t i = 0; i < nat_count; i++)
		if (nats[i].backend == backend && nats[i].to == listens_on(backend, tuple) &&
		    memcmp(&nats[i].tuple, tuple, sizeof(*tuple)) == 0)
			return &nats[i];
	return NULL;
}

/* Towards what a backend listens on, each flow has a port of its own. */
static bool nat_is_taken(uint32_t backend, uint16_t to, uint8_t protocol, uint16_t port)
{
	for (uint32_t i = 0; i < nat_count; i++)
		if (nats[i].backend == backend && nats[i].port == port && nats[i].to == to &&
		    nats[i].tuple.protocol == protocol)
			return true;
	return false;
}

/* Or may be: by a flow none of whose packets was seen to leave. */
static bool nat_may_be_taken(const struct nat *like, uint16_t port)
{
	return nat_is_taken(like->backend, like->to, like->tuple.protocol, port) ||
	       nat_is_taken(like->backend, like->to, like->tuple.protocol, 0);
}

static struct nat *nat_add(const struct gs_flow_tuple *tuple, uint32_t backend)
{
	assert_true(nat_count < FLOWS_MAX);
	nats[nat_count] = (struct nat){*tuple, backend, listens_on(backend, tuple), 0};
	return &nats[nat_count++];
}

static void nat_see(struct nat *nat, uint16_t port)
{
	assert_in_range(port, GS_NAT_PORT_FIRST, GS_NAT_PORT_FIRST + GS_NAT_SLOTS - 1);
	assert_false(nat_is_taken(nat->backend, nat->to, nat->tuple.protocol, port));
	nat->port = port;
}

/* Hashes of the datagrams whose first piece was sent in this configuration. */
static uint64_t firsts[PACKETS];
static uint32_t first_count;

static uint64_t datagram_hash(const struct gs_flow_tuple *tuple, uint32_t id)
{
	struct gs_flow_tuple datagram = *tuple;
	uint32_t wire = htonl(id);

	memcpy(&datagram.src_port, &wire, 2);
	memcpy(&datagram.dst_port, (const uint8_t *)&wire + 2, 2);
	return gs_hash_flow(&datagram, 0x7ab1e);
}

/* One in 2^20 pairs of a bucket cannot be told apart, and says so in bpf/README.md. */
static bool is_like_another(uint64_t hash)
{
	for (uint32_t i = 0; i < first_count; i++)
		if ((firsts[i] & (GS_FRAGMENT_BUCKETS - 1)) == (hash & (GS_FRAGMENT_BUCKETS - 1)) &&
		    firsts[i] >> 44 == hash >> 44)
			return true;
	return false;
}

static void forget_fragments(void)
{
	static struct gs_fragment_bucket empty[GS_FRAGMENT_BUCKETS];
	static uint32_t keys[GS_FRAGMENT_BUCKETS];
	uint32_t count = GS_FRAGMENT_BUCKETS;

	for (uint32_t i = 0; i < GS_FRAGMENT_BUCKETS; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(xdp_edge_map(&edge, GS_MAP_FRAGMENTS), keys, empty,
					      &count, NULL),
			 0);
	first_count = 0;
}

static void empty_buckets(const char *map, uint32_t count)
{
	static struct gs_flow_bucket empty[EDGE_NAT_PLANES * GS_NAT_BUCKETS];
	static uint32_t keys[EDGE_NAT_PLANES * GS_NAT_BUCKETS];

	for (uint32_t i = 0; i < count; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(xdp_edge_map(&edge, map), keys, empty, &count, NULL),
			 0);
}

static void forget_flows(void)
{
	empty_buckets(GS_MAP_FLOWS, BUCKETS);
	empty_buckets(GS_MAP_NAT_FLOWS, EDGE_NAT_PLANES * GS_NAT_BUCKETS);
	flow_count = nat_count = 0;
	nat_last = NULL;
}

/* ---- decisions ------------------------------------------------------------------------------- */

/* A packet, as its maker knows it. */
struct made {
	struct packet packet;
	struct packet answer;	    /* QUOTES: all of what is quoted */
	struct gs_flow_tuple tuple; /* of the flow it belongs to, as the client sends it */
	uint32_t service;	    /* 0: nobody's */
	uint8_t family;
	uint8_t flags; /* of TCP */
	bool has_df;
	enum { WHOLE, FIRST, LATER, ORPHAN, QUOTES, ECHO, REPLY, STRANGER, TAGGED } shape;
	const char *src, *dst;
	bool is_fragment;
	bool is_martian;   /* from an address no client has */
	uint64_t datagram; /* its hash */
};

struct outcome {
	enum gs_reason reason;
	uint32_t backend; /* 0: none was picked */
};

/* Of the flow what its service's affinity goes by: bit by bit, from the last one on. */
static struct gs_flow_tuple in_common(const struct made *made)
{
	struct gs_flow_tuple tuple = made->tuple;
	uint8_t *address = (uint8_t *)tuple.src;
	uint32_t kept = made->family == 4 ? 96u + config.service[made->service].affinity4
					  : config.service[made->service].affinity6;

	if (config.service[made->service].affinity == GS_AFFINITY_FLOW)
		return tuple;
	tuple.src_port = tuple.dst_port = 0;
	for (uint32_t bit = 127;
	     config.service[made->service].affinity == GS_AFFINITY_PREFIX && bit >= kept; bit--)
		address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return tuple;
}

static uint32_t region_of(uint32_t backend)
{
	return backend / 4 % 4;
}

/* A pool on trial takes those whose first draw it is, if its region does, and will let them in. */
static bool is_trial(const struct gs_flow_tuple *common, uint32_t service, uint32_t region)
{
	const struct gs_usable_word word = edge.region[region];
	const uint16_t draw = (uint16_t)gs_hash_flow(common, 0x5eed);

	if (edge.pool[service][region].state != GS_USABLE_TRIAL || word.state != GS_USABLE_UP ||
	    draw > word.accept || config.trials[service][region] <= 0 ||
	    (service == SERVICE_ANY && region != 1) || !model_region_lets_in(region))
		return false;
	config.trials[service][region]--;
	return true;
}

/* is_new: as limits see it. begins: what may be a trial. */
static struct outcome decide(const struct made *made, bool is_new, bool begins)
{
	const struct gs_flow_tuple common = in_common(made);
	const uint32_t service = made->service, location = model_location(made->tuple.src);
	enum gs_reason refused, reason = GS_REASON_tx_new;
	enum gs_plan_way way;
	uint32_t region, first, backend;

	if (service == SERVICE_NO_PLAN || location == 5)
		return (struct outcome){GS_REASON_drop_no_plan, 0};
	way = edge_expect_way_of(&edge, &common, service, location, 0x5eed, &region);
	if (way == GS_WAY_SHED)
		return (struct outcome){GS_REASON_drop_shed, 0};
	first = edge_expect_first_of(&common, location, 0x5eed);
	if (way != GS_WAY_ROOM && begins && is_trial(&common, service, first)) {
		reason = GS_REASON_tx_trial;
		region = first;
	}
	if (!region)
		return (struct outcome){GS_REASON_drop_no_region, 0};
	refused = model_limit_region(region, is_new);
	if (refused != GS_REASON__COUNT)
		return (struct outcome){refused, 0};
	backend = edge_expect_backend_in(&edge, &common, service, region, 0x5eed);
	return backend ? (struct outcome){reason, backend}
		       : (struct outcome){GS_REASON_drop_no_backend, 0};
}

/* A known flow's way, unless its region has had enough. */
static struct outcome stay(enum gs_reason reason, uint32_t backend)
{
	enum gs_reason refused = model_limit_region(region_of(backend), false);

	return refused == GS_REASON__COUNT ? (struct outcome){reason, backend}
					   : (struct outcome){refused, 0};
}

static bool keeps(uint32_t backend)
{
	uint32_t service = backend / 16, region = region_of(backend);

	return edge.backend[backend].state != GS_USABLE_DOWN &&
	       edge.pool[service][region].state != GS_USABLE_DOWN &&
	       edge.region[region].state != GS_USABLE_DOWN;
}

/* A SYN begins anew, unless it repeats that of an open connection; all else belongs to its flow. */
static struct outcome follow(const struct made *made)
{
	struct flow *flow = flow_of(&made->tuple);
	bool is_syn = (made->flags & (SYN | ACK)) == SYN;
	bool is_known = flow->backend != 0, ends = made->flags & (FIN | RST);
	const bool is_new = !is_known || (is_syn && flow->closed);
	struct outcome outcome = {0};

	if (is_known && is_syn && !flow->proven && !flow->closed && keeps(flow->backend) &&
	    edge.pool[made->service][region_of(flow->backend)].state == GS_USABLE_TRIAL)
		return stay(GS_REASON_tx_flow, flow->backend); /* repeated: it had its trial */
	if (is_known && is_syn && !(flow->proven && !flow->closed))
		is_known = false;
	if (is_known && !is_syn) {
		flow->proven = true;
		flow->closed = flow->closed || ends;
	}
	if (is_known && keeps(flow->backend))
		return stay(GS_REASON_tx_flow, flow->backend);
	if (is_new)
		outcome.reason = model_limit_flow(made->tuple.src, made->service);
	if (is_new && outcome.reason != GS_REASON__COUNT)
		return (struct outcome){outcome.reason, 0};
	outcome =
		decide(made, is_new, !is_known && (is_syn || made->tuple.protocol == IPPROTO_UDP));
	if (!outcome.backend)
		return outcome;
	flow->closed = ends || (is_known && flow->closed);
	flow->proven = is_known && !is_syn;
	flow->backend = outcome.backend;
	if (is_known)
		outcome.reason = GS_REASON_tx_repicked;
	return outcome;
}

static struct outcome quoted(const struct made *made)
{
	struct flow *flow = flow_of(&made->tuple);
	struct outcome outcome;

	if (flow->backend && keeps(flow->backend))
		return stay(GS_REASON_tx_icmp, flow->backend);
	outcome = decide(made, false, false);
	if (outcome.backend)
		outcome.reason = GS_REASON_tx_icmp;
	return outcome;
}

/* ---- how it leaves --------------------------------------------------------------------------- */

static uint32_t ip_length(const struct packet *packet)
{
	const uint8_t *ip = packet->bytes + PACKET_L3;

	return ip[0] >> 4 == 4 ? packet_get16(ip + 2) : 40u + packet_get16(ip + 4);
}

static struct packet too_big_answer(const struct made *made, uint32_t mtu)
{
	bool is_v6 = made->family == 6;
	struct packet out = packet_icmp(&(struct packet_icmp){
		.src = made->dst,
		.dst = made->src,
		.type = is_v6 ? 2 : 3,
		.code = is_v6 ? 0 : 4,
		.rest = mtu,
		.bytes = made->packet.bytes + PACKET_L3,
		.length = is_v6 ? 128 : 68,
		.ds = 0xc0,
		.ttl = 64,
	});
	uint8_t *ip = out.bytes + PACKET_L3;

	memcpy(out.bytes, made->packet.bytes + 6, 6);
	memcpy(out.bytes + 6, made->packet.bytes, 6);
	if (is_v6) {
		ip[1] &= 0xf0;
		packet_put16(ip + 2, 0);
	} else {
		packet_put16(ip + 4, 0);
		packet_put16(ip + 6, 0x4000);
		packet_fix_ip4(&out);
	}
	return out;
}

static struct outcome too_big(const struct made *made, uint32_t mtu, struct packet *ret_out)
{
	bool is_v6 = made->family == 6;

	if (!made->has_df)
		return (struct outcome){GS_REASON_drop_would_fragment, 0};
	if (!is_v6 && made->shape == LATER)
		return (struct outcome){GS_REASON_drop_too_big, 0};
	if ((is_v6 && mtu < 1280) || made->packet.length < PACKET_L3 + (is_v6 ? 128u : 68u))
		return (struct outcome){GS_REASON_drop_too_big, 0};
	*ret_out = too_big_answer(made, mtu);
	return (struct outcome){GS_REASON_tx_too_big, 0};
}

static uint8_t *ttl_of(struct packet *packet)
{
	uint8_t *ip = packet->bytes + PACKET_L3;

	return ip + (ip[0] >> 4 == 4 ? 8 : 7);
}

static bool is_at_its_end(const struct packet *packet)
{
	struct packet copy = *packet;

	return *ttl_of(&copy) <= 1;
}

/* Where NAT's port is: in what is quoted, which went the other way, it is the destination. */
static uint32_t port_at(const struct made *made)
{
	const uint32_t icmp = 8, header = made->answer.l4 - PACKET_L3;

	return made->packet.l4 + (made->shape == QUOTES ? icmp + header + 2 : 0);
}

/* Translated; got: where the program chooses the port, any that is free. */
static struct outcome leave_by_nat(const struct made *made, struct outcome outcome,
				   struct packet_outer *outer, const struct packet *got,
				   struct packet *ret_out)
{
	struct nat *nat = nat_find(&made->tuple, outcome.backend);
	struct packet_ends to = {.src = outer->src,
				 .dst = outer->dst,
				 .dport = listens_on(outcome.backend, &made->tuple),
				 .dst_mac = outer->dst_mac,
				 .src_mac = outer->src_mac};

	if (is_at_its_end(&made->packet)) /* takes no slot */
		return (struct outcome){GS_REASON_drop_ttl, 0};
	if (!nat && (made->shape == WHOLE || made->shape == FIRST))
		nat = nat_add(&made->tuple, outcome.backend);
	if (!nat)
		return (struct outcome){GS_REASON_drop_nat_unknown, 0};
	if (!nat->port && made->shape != LATER)
		nat_see(nat, packet_get16(got->bytes + port_at(made)));
	nat_last = nat;
	to.sport = nat->port;
	if (made->shape == QUOTES)
		*ret_out = packet_translate_error(&made->packet, &made->answer, &to);
	else if (made->shape == LATER)
		*ret_out = packet_readdress(&made->packet, &to);
	else
		*ret_out = packet_translate(&made->packet, &to);
	if (made->shape == FIRST || made->shape == LATER)
		packet_turn_id(ret_out,
			       gs_nat_id(made->tuple.src, made->tuple.dst, made->tuple.protocol,
					 xdp_edge_meta(&edge).table_seed));
	return outcome;
}

/* The frame, or why not. got: what left; GUE's and NAT's ports are their own business. */
static struct outcome leave(const struct made *made, struct outcome outcome,
			    const struct packet *got, struct packet *ret_out)
{
	uint16_t sport = packet_get16(got->bytes + (got->bytes[12] == 0x86 ? 54 : 34));
	uint8_t mode = config.mode[outcome.backend],
		outer = edge_backend_value(outcome.backend).family;
	uint32_t room = mode >= GS_FORWARD_L2
				? 0
				: (outer == 4 ? 20u : 40u) + (mode == GS_FORWARD_GUE ? 8u : 0u);
	struct packet_outer to;
	char text[64];

	if (mode < GS_FORWARD_IPIP || mode > GS_FORWARD_NAT ||
	    (mode >= GS_FORWARD_L2 && outer != made->family))
		return (struct outcome){GS_REASON_drop_mode, 0};
	/* and no kernel that knows one: setup */
	if (config.hop.mtu == 0 || (mode == GS_FORWARD_L2 && config.hop.flags & GS_HOP_REFLECT))
		return (struct outcome){GS_REASON_drop_no_hop, 0};
	if (ip_length(&made->packet) + room > config.hop.mtu)
		return too_big(made, config.hop.mtu - room, ret_out);
	memcpy(to.dst_mac, config.hop.dst_mac, 6);
	memcpy(to.src_mac, config.hop.src_mac, 6);
	if (config.hop.flags & GS_HOP_REFLECT) {
		memcpy(to.dst_mac, made->packet.bytes + 6, 6);
		memcpy(to.src_mac, made->packet.bytes, 6);
	}
	to.dst = edge_backend_addr(outcome.backend, text);
	to.src = outer == 6 ? "2001:db8:e::1" : "192.0.2.254";
	if (mode == GS_FORWARD_NAT)
		return leave_by_nat(made, outcome, &to, got, ret_out);
	if (mode == GS_FORWARD_IPIP) {
		*ret_out = packet_encapsulate(&made->packet, &to);
	} else if (mode == GS_FORWARD_GUE) {
		*ret_out = packet_gue(&made->packet, &to, sport);
	} else {
		*ret_out = made->packet;
		memcpy(ret_out->bytes, to.dst_mac, 6);
		memcpy(ret_out->bytes + 6, to.src_mac, 6);
	}
	return outcome;
}

/* ---- packets --------------------------------------------------------------------------------- */

/* No client's; NULL: the VIP itself. */
static const char *const martians4[] = {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255",
					NULL};
static const char *const martians6[] = {"::", "::1", "ff02::1", "ff0e::1", NULL};

static const struct {
	const char *vip;
	uint8_t protocol;
	uint16_t port;
	uint32_t service;
} targets[] = {
	{"198.51.100.10", IPPROTO_TCP, 80, SERVICE_WEB4},
	{"198.51.100.10", IPPROTO_TCP, 81, 0},
	{"198.51.100.10", IPPROTO_UDP, 53, SERVICE_DNS4},
	{"198.51.100.11", IPPROTO_TCP, 443, SERVICE_EXACT},
	{"198.51.100.11", IPPROTO_TCP, 5060, SERVICE_ANY},
	{"198.51.100.12", IPPROTO_TCP, 80, SERVICE_NO_PLAN},
	{"198.51.100.99", IPPROTO_TCP, 80, 0},
	{"2001:db8:100::10", IPPROTO_TCP, 80, SERVICE_WEB6},
	{"2001:db8:100::10", IPPROTO_UDP, 53, SERVICE_DNS6},
	{"2001:db8:100::10", IPPROTO_UDP, 54, 0},
	{"2001:db8:100::12", IPPROTO_TCP, 80, SERVICE_NO_PLAN},
	{"2001:db8:100::99", IPPROTO_UDP, 53, 0},
};

static const char *const whole_extensions[] = {NULL, NULL, "h", "hd", "o", "rda", "hdrdad"};
static uint32_t datagrams; /* ids given so far */

static void set_id(struct made *made)
{
	uint8_t *ip = made->packet.bytes + PACKET_L3;
	uint32_t id = htonl(datagrams);

	if (made->family == 4) {
		packet_put16(ip + 4, (uint16_t)datagrams);
		packet_fix_ip4(&made->packet);
	} else {
		memcpy(made->packet.bytes + made->packet.l4 - 4, &id, 4);
	}
}

/* What a router on the way says of the service's answer to this packet. */
static void make_error(struct made *made)
{
	struct packet answer = packet_reverse(&made->packet);
	bool is_v6 = made->family == 6;
	uint32_t header = made->packet.l4 - PACKET_L3;

	made->answer = answer;
	made->packet = packet_icmp(&(struct packet_icmp){
		.src = is_v6 ? "2001:db8:77::1" : "192.0.2.77",
		.dst = made->dst,
		.type = is_v6 ? 2 : 3,
		.code = is_v6 ? 0 : 4,
		.rest = 1400,
		.bytes = answer.bytes + PACKET_L3,
		.length = header + 8 + below(3) * 10,
	});
	made->src = is_v6 ? "2001:db8:77::1" : "192.0.2.77";
	made->has_df = is_v6;
	made->flags = 0;
}

static void make_echo(struct made *made)
{
	static const uint8_t bytes[64] = {1, 2, 3};

	made->packet = packet_icmp(&(struct packet_icmp){.src = made->src,
							 .dst = made->dst,
							 .type = made->family == 6 ? 128 : 8,
							 .rest = (uint32_t)draw(),
							 .bytes = bytes,
							 .length = below(64)});
}

/* NULL: it is nobody's */
static const struct gs_service_value *marker_of(const char *address)
{
	for (uint32_t i = 0; i < VIPS; i++)
		if (strcmp(address, vips[i]) == 0)
			return &config.marker[i];
	return NULL;
}

/* All of the frame but what depends on its shape. */
static struct packet_spec random_spec(struct made *made, uint32_t target, char src[64])
{
	static const uint8_t flags[] = {SYN, SYN, ACK, ACK, ACK, ACK | FIN, RST, SYN | ACK};
	struct packet_spec spec = {.dst = targets[target].vip,
				   .protocol = targets[target].protocol,
				   .dport = targets[target].port,
				   .ds = (uint8_t)draw()};

	made->family = strchr(targets[target].vip, ':') ? 6 : 4;
	model_clients_draw(&random_state, made->family, src);
	made->is_martian = below(30) == 0;
	if (made->is_martian) {
		const char *martian = (made->family == 6 ? martians6 : martians4)[below(5)];

		snprintf(src, 64, "%s", martian ? martian : targets[target].vip);
	}
	made->service = targets[target].service;
	spec.family = made->family;
	spec.src = src;
	spec.sport = (uint16_t)(2000 + below(40));
	spec.payload = (uint16_t)(below(3) ? below(200) : below(1460));
	if (spec.protocol == IPPROTO_TCP)
		made->flags = spec.flags = flags[below(sizeof(flags))];
	made->src = src;
	made->dst = targets[target].vip;
	return spec;
}

/* At most one more router, now and then. */
static void let_age(struct packet *packet)
{
	if (below(32))
		return;
	*ttl_of(packet) = (uint8_t)below(3);
	if (packet->bytes[PACKET_L3] >> 4 == 4)
		packet_fix_ip4(packet);
}

static void make_packet(struct made *made, char src[64])
{
	uint32_t target = below(sizeof(targets) / sizeof(targets[0])), kind = below(16);
	struct packet_spec spec;

	memset(made, 0, sizeof(*made));
	spec = random_spec(made, target, src);
	if (kind < 10) {
		spec.extensions = whole_extensions[below(7)];
		spec.ip_options = (uint8_t)(below(4) ? 0 : 4 * below(11));
		spec.fragment = below(2) ? 0x4000 : 0;
		spec.padding = (uint16_t)(below(4) ? 0 : below(9));
		made->shape = below(128) ? WHOLE : TAGGED;
		made->has_df = spec.family == 6 || spec.fragment;
		made->packet = packet_build(&spec);
		let_age(&made->packet);
		made->tuple = edge_tuple(&made->packet);
		return;
	}
	made->packet = packet_build(&spec);
	made->tuple = edge_tuple(&made->packet);
	if (kind < 12) {
		made->shape = QUOTES;
		make_error(made);
	} else if (kind < 13) {
		made->shape = ECHO;
		make_echo(made);
	} else {
		made->shape = kind == 13 ? ORPHAN : FIRST;
		spec.fragment = kind == 13 ? 0x0010 : 0x2000;
		spec.extensions = kind == 13 ? "l" : "f";
		made->has_df = spec.family == 6;
		made->packet = packet_build(&spec);
		datagrams++;
		set_id(made);
		made->is_fragment = true;
		made->datagram = datagram_hash(
			&made->tuple, made->family == 4 ? (datagrams & 0xffff) << 16 : datagrams);
	}
}

/* The datagram's second piece: other bytes where the ports were, and no flags. */
static void make_later(const struct made *first, struct made *later)
{
	struct packet_spec spec = {.family = first->family,
				   .src = first->src,
				   .dst = first->dst,
				   .protocol = first->tuple.protocol,
				   .payload = (uint16_t)below(300),
				   .fragment = 0x0010,
				   .extensions = "l"};

	*later = *first;
	later->shape = LATER;
	later->flags = 0;
	later->packet = packet_build(&spec);
	memset(later->packet.bytes + later->packet.l4, (int)below(256), 8);
	set_id(later);
}

/* What the backend sends back, or a stranger that knows all but the port. */
static void make_reply(const struct made *there, const struct nat *nat, struct made *made)
{
	bool is_reply = below(4) != 0, is_v6 = there->family == 6;
	char text[64];
	struct packet_spec spec = {.family = there->family,
				   .src = edge_backend_addr(nat->backend, text),
				   .dst = is_v6 ? "2001:db8:e::1" : "192.0.2.254",
				   .protocol = nat->tuple.protocol,
				   .sport = nat->to,
				   .dport = is_reply ? nat->port : nat->port ^ 1,
				   .payload = (uint16_t)below(1400),
				   .extensions = whole_extensions[below(7)],
				   .ip_options = (uint8_t)(below(4) ? 0 : 4 * below(11)),
				   .ds = (uint8_t)draw()};

	*made = *there;
	made->shape = is_reply || nat_may_be_taken(nat, spec.dport) ? REPLY : STRANGER;
	spec.dport = made->shape == REPLY ? nat->port : spec.dport;
	made->service = 0;
	made->packet = packet_build(&spec);
	let_age(&made->packet);
}

static struct packet reply_frame(const struct made *made)
{
	const struct packet_ends to = {.src = made->dst,
				       .dst = made->src,
				       .sport = ntohs(made->tuple.dst_port),
				       .dport = ntohs(made->tuple.src_port),
				       .dst_mac = made->packet.bytes + 6,
				       .src_mac = made->packet.bytes};

	/* all routers of this world have one MAC address */
	return packet_translate(&made->packet, &to);
}

/* ---- the comparison -------------------------------------------------------------------------- */

static uint64_t tally[GS_REASON__COUNT];
static bool ports_are_kept; /* of the packet predicted last, for its later fragments */

static uint64_t counted(uint32_t reason)
{
	static struct gs_count cpus[CPUS_MAX];
	uint64_t packets = 0;

	xdp_edge_get(&edge, GS_MAP_COUNT_REASON, &reason, cpus);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		packets += cpus[cpu].packets;
	return packets;
}

/* Their limits are tested elsewhere. That of all is so high that it need not be reset each time. */
static void reset_answers(const struct made *made)
{
	static uint32_t packets;
	uint32_t kind = made->shape == ECHO ? GS_ANSWER_ECHO : GS_ANSWER_TOO_BIG;

	if (packets++ % (GS_ANSWER_BURST / 2) == 0) {
		xdp_edge_set_answers(&edge, GS_ANSWER_ECHO, 0, 0);
		xdp_edge_set_answers(&edge, GS_ANSWER_TOO_BIG, 0, 0);
	}
	if (made->shape == ECHO || made->packet.length > 500)
		xdp_edge_set_answers(&edge, kind, edge_asker(made->src), 0);
}

static struct outcome predict_echo(const struct made *made)
{
	const struct gs_service_value *marker = marker_of(made->dst);
	struct outcome outcome = {GS_REASON_pass_protocol, 0};

	if (!marker)
		return outcome;
	if (made->is_martian)
		return (struct outcome){GS_REASON_drop_martian, 0};
	outcome.reason = model_stale(marker->stale, marker->stale_after_s);
	if (outcome.reason == GS_REASON__COUNT)
		outcome.reason = GS_REASON_tx_echo; /* its bytes: test_icmp */
	return outcome;
}

/* Of a packet for a service. */
static struct outcome predict_service(const struct made *made, const struct packet *got,
				      struct packet *ret_out)
{
	struct outcome outcome = {GS_REASON_drop_martian, 0};

	if (made->is_martian)
		return outcome;
	outcome.reason = model_stale_service(made->service);
	ports_are_kept = outcome.reason == GS_REASON_pass_stale;
	if (outcome.reason == GS_REASON__COUNT)
		outcome.reason =
			model_limit_packet(made->tuple.src, made->service, made->shape == QUOTES);
	if (outcome.reason != GS_REASON__COUNT)
		return outcome;
	outcome = made->shape == QUOTES ? quoted(made) : follow(made);
	ports_are_kept = outcome.backend != 0;
	if (made->shape == LATER && outcome.reason == GS_REASON_tx_flow)
		outcome.reason = GS_REASON_tx_fragment;
	return outcome.backend ? leave(made, outcome, got, ret_out) : outcome;
}

/* What the model says of it; ret_out: the frame that leaves, if one does. */
static struct outcome predict(const struct made *made, bool first_was_kept,
			      const struct packet *got, struct packet *ret_out)
{
	*ret_out = made->packet;
	ports_are_kept = false;
	if (made->shape == ECHO)
		return predict_echo(made);
	if (made->shape == TAGGED)
		return (struct outcome){GS_REASON_pass_vlan, 0};
	if (made->shape == REPLY && is_at_its_end(&made->packet))
		return (struct outcome){GS_REASON_drop_ttl, 0};
	if (made->shape == REPLY) {
		*ret_out = reply_frame(made);
		return (struct outcome){GS_REASON_tx_nat_reply, 0};
	}
	if (made->shape == QUOTES && !made->service)
		return (struct outcome){GS_REASON_pass_protocol, 0};
	if (made->shape == ORPHAN || (made->shape == LATER && !first_was_kept)) {
		bool is_ours = marker_of(made->dst) && (strcmp(made->dst, "198.51.100.11") != 0 ||
							made->tuple.protocol == IPPROTO_TCP);

		return (struct outcome){is_ours ? GS_REASON_drop_fragment : GS_REASON_pass_fragment,
					0};
	}
	if (!made->service)
		return (struct outcome){made->shape == FIRST ? GS_REASON_pass_fragment
							     : GS_REASON_pass_not_service,
					0};
	return predict_service(made, got, ret_out);
}

static _Noreturn void differ(const struct made *made, const char *what, enum gs_reason want)
{
	print_message("%s; wanted %s; shape %d, %s to service %u, flags %x\n", what,
		      edge_reason_name(want), (int)made->shape, made->src, made->service,
		      made->flags);
	for (uint32_t reason = 0; reason < GS_REASON__COUNT; reason++)
		if (counted(reason) != tally[reason])
			print_message("  %s: %lu, the model has %lu\n", edge_reason_name(reason),
				      counted(reason), tally[reason]);
	fail_msg("the program and its model differ");
	abort();
}

/* Whether it was given a backend, or is the kernel's: then the rest of its datagram is known. */
static bool compare(const struct made *made, bool first_was_kept)
{
	static uint32_t client_tags[GS_TAGS_MAX], client_count;
	static struct packet got, bare;
	const uint32_t in_tags[] = {0x88a80000u | below(0x10000), 0x81000000u | below(0x10000),
				    0x81000001u};
	const uint32_t in_count = made->shape == TAGGED ? 3 : below(GS_TAGS_MAX + 1);
	const struct packet in = packet_tag(&made->packet, in_tags, in_count);
	const bool is_back = config.hop.flags & GS_HOP_REFLECT;
	const uint32_t sport_at = is_back ? in_count : config.hop.tags;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in.bytes, .data_size_in = in.length,
		    .data_out = got.bytes, .data_size_out = sizeof(got.bytes), .repeat = 1);
	struct packet want;
	struct outcome outcome;

	nat_last = NULL;
	reset_answers(made);
	model_limits_settle(&edge);
	assert_int_equal(bpf_prog_test_run_opts(edge.prog_fd, &opts), 0);
	memcpy(bare.bytes, got.bytes, 12);
	memcpy(bare.bytes + 12, got.bytes + 12 + 4 * sport_at,
	       sizeof(bare.bytes) - 12 - 4 * sport_at);
	outcome = predict(made, first_was_kept, &bare, &want);
	if (made->shape == REPLY)
		want = packet_tag(&want, client_tags, client_count);
	else if (outcome.backend && !is_back)
		want = packet_tag(&want, hop_tags, config.hop.tags);
	else
		want = packet_tag(&want, in_tags, in_count);
	if (nat_last && made->shape != QUOTES) { /* where its replies go */
		memcpy(client_tags, in_tags, sizeof(client_tags));
		client_count = in_count;
	}
	tally[outcome.reason]++;
	if (counted(outcome.reason) != tally[outcome.reason])
		differ(made, "another reason", outcome.reason);
	if (opts.retval != edge_reason_action(outcome.reason))
		differ(made, "another verdict", outcome.reason);
	if (opts.retval != XDP_DROP && outcome.reason != GS_REASON_tx_echo &&
	    (opts.data_size_out != want.length || memcmp(got.bytes, want.bytes, want.length) != 0))
		differ(made, "other bytes", outcome.reason);
	return made->shape == FIRST && ports_are_kept;
}

/* Every way there is for these packets was taken, or nothing was compared; and no other. */
static void expect_all_met(void)
{
	static const enum gs_reason wanted[] = {
		GS_REASON_pass_protocol,
		GS_REASON_pass_fragment,
		GS_REASON_pass_not_service,
		GS_REASON_pass_stale,
		GS_REASON_drop_fragment,
		GS_REASON_drop_martian,
		GS_REASON_drop_no_plan,
		GS_REASON_drop_no_region,
		GS_REASON_drop_shed,
		GS_REASON_drop_no_backend,
		GS_REASON_drop_no_hop,
		GS_REASON_drop_mode,
		GS_REASON_drop_too_big,
		GS_REASON_drop_would_fragment,
		GS_REASON_drop_stale,
		GS_REASON_drop_denied,
		GS_REASON_drop_client_packets,
		GS_REASON_drop_client_flows,
		GS_REASON_drop_service_packets,
		GS_REASON_drop_service_flows,
		GS_REASON_drop_region_packets,
		GS_REASON_drop_region_flows,
		GS_REASON_drop_nat_unknown,
		GS_REASON_tx_flow,
		GS_REASON_tx_new,
		GS_REASON_tx_trial,
		GS_REASON_drop_ttl,
		GS_REASON_pass_vlan,
		GS_REASON_tx_repicked,
		GS_REASON_tx_fragment,
		GS_REASON_tx_icmp,
		GS_REASON_tx_nat_reply,
		GS_REASON_tx_echo,
		GS_REASON_tx_too_big,
	};
	uint64_t want = 0;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		want |= 1ull << wanted[i];
	for (uint32_t reason = 0; reason < GS_REASON__COUNT; reason++)
		if ((tally[reason] != 0) != (want >> reason & 1))
			fail_msg("%s: met %lu times", edge_reason_name(reason), tally[reason]);
}

static void the_program_is_its_model(void **state)
{
	const char *seed = getenv("MODEL_SEED");
	(void)state;

	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	print_message("# MODEL_SEED=%lu\n", random_state);
	for (int c = 0; c < CONFIGURATIONS; c++) {
		forget_flows();
		forget_fragments();
		random_ports();
		random_settings();
		random_hop();
		for (int p = 0; p < PACKETS; p++) {
			static struct made made, later, reply;
			char src[64];
			bool kept;

			if (p == PACKETS / 2) { /* known flows meet other words */
				random_settings();
			}
			make_packet(&made, src);
			if (made.is_fragment && is_like_another(made.datagram))
				continue;
			kept = compare(&made, false);
			if (nat_last && made.shape != QUOTES) {
				make_reply(&made, nat_last, &reply);
				compare(&reply, false);
			}
			if (made.shape != FIRST)
				continue;
			if (kept)
				firsts[first_count++] = made.datagram;
			make_later(&made, &later);
			compare(&later, kept);
		}
		for (uint32_t reason = 0; reason < GS_REASON__COUNT; reason++)
			assert_int_equal(counted(reason), tally[reason]);
	}
	expect_all_met();
}

static int setup(void **state)
{
	(void)state;
	/* The kernel has no next hops of its own here. */
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(system("echo 0 >/proc/sys/net/ipv4/ip_forward"), 0);
	xdp_edge_open_with(&edge, BUCKETS);
	model_clients_open(&edge);
	find_services();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	model_clients_close();
	xdp_edge_close(&edge);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_program_is_its_model, setup, teardown),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
