/* SPDX-License-Identifier: Apache-2.0 */
/* What the maps say of the packet that a twin has just run: read only, and as packets read them. */
#include "dataplane_twin.h"

#include "maps/gs_hash.h"
#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/geotable.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <time.h>

static bool look_up(const struct gs_twin *twin, const char *map, const void *key, void *ret_value)
{
	return bpf_map_lookup_elem(gs_twin_map(twin, map), key, ret_value) == 0;
}

static struct gs_flow_tuple tuple_of(const struct gs_sample *sample)
{
	struct gs_flow_tuple tuple = {.src_port = sample->src_port,
				      .dst_port = sample->dst_port,
				      .protocol = sample->protocol};

	memcpy(tuple.src, sample->src, sizeof(tuple.src));
	memcpy(tuple.dst, sample->dst, sizeof(tuple.dst));
	return tuple;
}

/* As gs_flow_tag in bpf/flow.h. */
static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32) ? (uint32_t)(hash >> 32) : 1;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* ---- a backend and its next hop -------------------------------------------------------------- */

/* What the kernel gave on the CPU that ran it; all others are zero. */
static void read_asked(const struct gs_twin *twin, struct gs_hop_value *ret_hop)
{
	int cpus = libbpf_num_possible_cpus();
	GS_AUTO_FREE struct gs_hop_value *hops = NULL;
	__u32 zero = 0;

	if (cpus <= 0)
		return;
	hops = calloc((size_t)cpus, sizeof(*hops));
	if (!hops || !look_up(twin, GS_MAP_ASKED, &zero, hops))
		return;
	for (int cpu = 0; cpu < cpus; cpu++)
		if (hops[cpu].mtu)
			*ret_hop = hops[cpu];
}

int gs_twin_backend(const struct gs_twin *twin, gs_id backend, struct gs_twin_backend *ret_backend)
{
	static const char *const modes[] = {"none", "ipip", "gue", "l2", "nat"};
	bool is_asked = twin->sample.reason == GS_REASON_tx_fib;
	struct gs_hop_value hop = {.mtu = 0};
	struct gs_backend_value value;
	uint32_t id = backend;

	if (!look_up(twin, GS_MAP_BACKENDS, &id, &value))
		return -errno;
	if (is_asked)
		read_asked(twin, &hop);
	else if (!look_up(twin, GS_MAP_HOPS, &value.hop, &hop))
		return -errno;
	*ret_backend = (struct gs_twin_backend){
		.mode = value.mode < ARRAY_SIZE(modes) ? modes[value.mode] : "?",
		.service = value.service,
		.region = value.region,
		.ifindex = hop.ifindex,
		.mtu = hop.mtu,
		.reflect = hop.flags & GS_HOP_REFLECT,
		.is_asked = is_asked,
	};
	return 0;
}

/* ---- the flow -------------------------------------------------------------------------------- */

/* What can become of a packet whose backend is decided, but that it goes there. */
static bool is_stopped_behind_pick(uint32_t reason)
{
	switch (reason) {
	case GS_REASON_drop_no_hop:
	case GS_REASON_drop_no_route:
	case GS_REASON_drop_no_neighbour:
	case GS_REASON_drop_mode:
	case GS_REASON_drop_too_big:
	case GS_REASON_drop_would_fragment:
	case GS_REASON_drop_headroom:
	case GS_REASON_drop_ttl:
	case GS_REASON_drop_nat_full:
	case GS_REASON_drop_nat_unknown:
	case GS_REASON_tx_too_big:
		return true;
	default:
		return false;
	}
}

gs_id gs_twin_picked(const struct gs_twin *twin)
{
	struct gs_flow_tuple tuple = tuple_of(&twin->sample);
	uint64_t hash = gs_hash_flow(&tuple, twin->meta.table_seed);
	uint32_t index = (uint32_t)hash & twin->meta.flow_mask;
	struct gs_flow_bucket bucket;

	if (!twin->sample.service || !is_stopped_behind_pick(twin->sample.reason) ||
	    !look_up(twin, GS_MAP_FLOWS, &index, &bucket))
		return 0;
	for (uint32_t way = 0; way < GS_FLOW_WAYS; way++)
		if (bucket.entry[way].tag == tag_of(hash))
			return bucket.entry[way].backend & (__u16)~GS_FLOW_CLOSED;
	return 0;
}

/* ---- NAT ------------------------------------------------------------------------------------- */

/* The slot that the packet, as a reply, comes back to; as gs_nat_reply_slot in bpf/nat.h. */
static bool reply_slot(const struct gs_twin *twin, uint32_t *ret_index)
{
	const struct gs_sample *sample = &twin->sample;
	uint32_t slot = (uint32_t)ntohs(sample->dst_port) - GS_NAT_PORT_FIRST;

	if (!sample->family || sample->service || slot >= GS_NAT_SLOTS)
		return false;
	*ret_index =
		slot + GS_NAT_SLOTS * gs_nat_plane(sample->src, sample->src_port, sample->protocol,
						   twin->meta.table_seed, twin->meta.nat_mask);
	return true;
}

/* Details are of the entry's flow if they hash to its tag, and were sent from this address. */
static bool is_of(const struct gs_twin *twin, const struct gs_nat_detail *detail,
		  const struct gs_flow_entry *entry)
{
	const struct gs_sample *sample = &twin->sample;
	const uint64_t seed = twin->meta.table_seed;
	struct gs_flow_tuple tuple = {.src_port = detail->client_port,
				      .dst_port = detail->vip_port,
				      .protocol = sample->protocol};

	memcpy(tuple.src, detail->client, sizeof(tuple.src));
	memcpy(tuple.dst, detail->vip, sizeof(tuple.dst));
	return entry->tag && entry->tag == tag_of(gs_hash_flow(&tuple, seed)) &&
	       detail->source == (uint32_t)gs_hash_addr(sample->dst, sample->protocol, seed);
}

/* From where the backend listens. */
static bool is_from(const struct gs_sample *sample, const struct gs_backend_value *backend,
		    __be16 vip_port)
{
	return backend->mode == GS_FORWARD_NAT && backend->family == sample->family &&
	       memcmp(backend->addr, sample->src, sizeof(backend->addr)) == 0 &&
	       sample->src_port == (backend->port ? backend->port : vip_port);
}

bool gs_twin_reply(const struct gs_twin *twin, struct gs_twin_reply *ret_reply)
{
	struct gs_twin_reply reply = {.port = ntohs(twin->sample.dst_port)};
	struct gs_backend_value backend;
	struct gs_nat_detail detail;
	struct gs_flow_bucket bucket;
	struct gs_flow_entry *entry;
	uint32_t index, at, id;

	if (!reply_slot(twin, &index))
		return false;
	at = index / GS_FLOW_WAYS;
	if (!look_up(twin, GS_MAP_NAT_FLOWS, &at, &bucket) ||
	    !look_up(twin, GS_MAP_NAT_DETAILS, &index, &detail))
		return false;
	entry = &bucket.entry[index % GS_FLOW_WAYS];
	id = entry->backend & GS_NAT_BACKEND;
	if (!is_of(twin, &detail, entry) || !look_up(twin, GS_MAP_BACKENDS, &id, &backend) ||
	    !is_from(&twin->sample, &backend, detail.vip_port))
		return false;
	memcpy(reply.client.bytes, detail.client, sizeof(reply.client.bytes));
	memcpy(reply.vip.bytes, detail.vip, sizeof(reply.vip.bytes));
	reply.client_port = ntohs(detail.client_port);
	reply.vip_port = ntohs(detail.vip_port);
	reply.backend = (gs_id)id;
	reply.service = backend.service;
	reply.region = backend.region;
	*ret_reply = reply;
	return true;
}

/* ---- the service ----------------------------------------------------------------------------- */

/* By its port, or by every port, as gs_match_find in bpf/match.h asks. */
static bool find_service(const struct gs_twin *twin, struct gs_service_value *ret_service)
{
	const struct gs_sample *sample = &twin->sample;
	struct gs_service_key key = {.port = sample->dst_port, .protocol = sample->protocol};

	memcpy(key.addr, sample->dst, sizeof(key.addr));
	if (!sample->service)
		return false;
	if (!look_up(twin, GS_MAP_SERVICES, &key, ret_service)) {
		key.port = 0;
		if (!look_up(twin, GS_MAP_SERVICES, &key, ret_service))
			return false;
	}
	return ret_service->service == sample->service;
}

bool gs_twin_stale(const struct gs_twin *twin, struct gs_twin_stale *ret_stale)
{
	static const char *const kinds[] = {"keep", "pass", "drop"};
	struct gs_service_value service;
	uint64_t now = now_ns(), beat = twin->meta.heartbeat_ns;

	if (!find_service(twin, &service) || service.stale >= ARRAY_SIZE(kinds))
		return false;
	*ret_stale = (struct gs_twin_stale){
		.away_s = now > beat ? (uint32_t)((now - beat) / 1000000000u) : 0,
		.then = kinds[service.stale],
		.after_s = service.stale_after_s,
	};
	return true;
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Of a bucket's second; the word as in gs_maps.h. */
static uint32_t used_percent(uint64_t word)
{
	uint64_t now = now_ns() << GS_LIMIT_CLOCK_SHIFT, used = word > now ? word - now : 0;

	return (uint32_t)(used >= GS_LIMIT_SECOND ? 100 : used * 100 / GS_LIMIT_SECOND);
}

/* On the edge: the twin's own copy has the packet in it. 0: none such. */
static uint64_t limit_word(const struct gs_twin *twin, uint32_t block, uint32_t word)
{
	struct gs_limit_block found;

	if (bpf_map_lookup_elem(twin->limits_fd, &block, &found))
		return 0;
	return found.word[word % GS_LIMIT_WORDS];
}

static void add(struct gs_twin_limit *limits, int *count, struct gs_twin_limit limit)
{
	if (limit.a_second)
		limits[(*count)++] = limit;
}

/* The client's prefix, as gs_limit_prefix in bpf/limit.h. */
static struct gs_prefix prefix_of(const struct gs_sample *sample,
				  const struct gs_service_value *service)
{
	struct gs_addr client, inside;

	memcpy(client.bytes, sample->src, sizeof(client.bytes));
	inside = client;
	if (gs_addr_is_v4(&client) || gs_geo_embedded_v4(&client, &inside))
		return gs_prefix_make(&inside, service->limit4);
	return gs_prefix_make(&client, service->limit6);
}

/* The emptier of its two places. */
static uint64_t client_word(const struct gs_twin *twin, const struct gs_service_value *service,
			    enum gs_limit_kind kind)
{
	const uint32_t mask = (1u << GS_LIMIT_HALF_BITS) - 1;
	struct gs_prefix prefix = prefix_of(&twin->sample, service);
	__be32 addr[4];
	uint32_t place1, place2;
	uint64_t hash, first, second;

	memcpy(addr, prefix.addr.bytes, sizeof(addr));
	hash = gs_hash_limit(addr, service->service, kind, twin->meta.table_seed);
	place1 = (uint32_t)hash & mask;
	place2 = (uint32_t)(hash >> 32) & mask;
	first = limit_word(twin, GS_LIMIT_CLIENT_BLOCK + place1 / GS_LIMIT_WORDS, place1);
	second = limit_word(twin,
			    GS_LIMIT_CLIENT_BLOCK + GS_LIMIT_HALF_BLOCKS + place2 / GS_LIMIT_WORDS,
			    place2);
	return first < second ? first : second;
}

int gs_twin_limits(const struct gs_twin *twin, gs_id region,
		   struct gs_twin_limit ret_limits[GS_TWIN_LIMITS_MAX])
{
	static const char *const kinds[] = {
		[GS_LIMIT_PACKETS] = "packets", [GS_LIMIT_FLOWS] = "flows"};
	struct gs_region_limit_value of_region = {0};
	struct gs_service_value service;
	uint32_t id = region;
	int count = 0;

	if (!find_service(twin, &service))
		return 0;
	if (region && !look_up(twin, GS_MAP_REGION_LIMITS, &id, &of_region))
		return -errno;
	for (uint32_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		bool is_packets = kind == GS_LIMIT_PACKETS;

		add(ret_limits, &count,
		    (struct gs_twin_limit){"client", kinds[kind],
					   is_packets ? service.client_packets
						      : service.client_flows,
					   used_percent(client_word(twin, &service, kind))});
		add(ret_limits, &count,
		    (struct gs_twin_limit){"service", kinds[kind],
					   is_packets ? service.packets : service.flows,
					   used_percent(limit_word(twin, service.service, kind))});
		add(ret_limits, &count,
		    (struct gs_twin_limit){
			    "region", kinds[kind], is_packets ? of_region.packets : of_region.flows,
			    used_percent(limit_word(twin, GS_LIMIT_REGION_BLOCK + region, kind))});
	}
	return count;
}
