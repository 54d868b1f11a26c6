/* SPDX-License-Identifier: Apache-2.0 */
#include "xdp_edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loader/pins.h"
#include "maps/gs_hash.h"
#include "user/core/geotable.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CPUS = 1024, PLANS = 8, GEO_BLOCKS = 70000 };

const struct gs_usable_word edge_up = {.state = GS_USABLE_UP, .accept = 0xffff};
const struct gs_usable_word edge_drain = {.state = GS_USABLE_DRAIN, .accept = 0xffff};
const struct gs_usable_word edge_down = {.state = GS_USABLE_DOWN};

/* [location] -> regions in order; none: no plan. Location 6 is for overrides. */
static const struct gs_plan_value plans_of_locations[] = {
	[0] = {.count = 3, .region = {3, 1, 2}, .share = {65535, 65535, 65535}, .spare = {0, 1}},
	[1] = {.count = 3, .region = {1, 2, 3}, .share = {65535, 65535, 65535}, .spare = {0, 1}},
	[2] = {.count = 3, .region = {2, 3, 1}, .share = {65535, 65535, 65535}, .spare = {0, 1}},
	[3] = {.count = 3, .region = {3, 2, 1}, .share = {65535, 65535, 65535}, .spare = {0, 0}},
	[4] = {.count = 3,
	       .region = {1, 3, 2},
	       .share = {20000, 40000, 65535},
	       .spare = {100, 200, 300}},
	[5] = {.count = 0},
	[6] = {.count = 2, .region = {2, 1}, .share = {65535, 65535}, .spare = {0, 1}},
};

/* ---- the object ------------------------------------------------------------------------------ */

int xdp_edge_map(const struct xdp_edge *edge, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(edge->object, name);

	assert_true(fd >= 0);
	return fd;
}

void xdp_edge_set(const struct xdp_edge *edge, const char *map, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(xdp_edge_map(edge, map), key, value, BPF_ANY), 0);
	if (!strcmp(map, GS_MAP_SERVICES)) {
		struct gs_meta_value meta = xdp_edge_meta(edge);

		xdp_edge_set_meta(edge, &meta);
	}
}

void xdp_edge_get(const struct xdp_edge *edge, const char *map, const void *key, void *ret_value)
{
	assert_int_equal(bpf_map_lookup_elem(xdp_edge_map(edge, map), key, ret_value), 0);
}

struct gs_meta_value xdp_edge_meta(const struct xdp_edge *edge)
{
	struct gs_meta_value meta;
	uint32_t zero = 0;

	xdp_edge_get(edge, GS_MAP_META, &zero, &meta);
	return meta;
}

void xdp_edge_set_meta(const struct xdp_edge *edge, const struct gs_meta_value *meta)
{
	struct gs_meta_value next = *meta;
	uint32_t zero = 0;

	next.services_epoch = xdp_edge_meta(edge).services_epoch + 1; /* nothing cached holds */
	xdp_edge_set(edge, GS_MAP_META, &zero, &next);
}

void xdp_edge_flip(const struct xdp_edge *edge, uint32_t at)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	meta.active = at;
	xdp_edge_set_meta(edge, &meta);
}

void xdp_edge_forget(const struct xdp_edge *edge)
{
	const struct gs_flow_bucket empty = {0};

	for (uint32_t i = 0; i < EDGE_FLOW_BUCKETS; i++)
		xdp_edge_set(edge, GS_MAP_FLOWS, &i, &empty);
}

/* ---- answers --------------------------------------------------------------------------------- */

uint64_t edge_asker(const char *addr)
{
	__be32 bytes[4];

	packet_addr(addr, (uint8_t *)bytes);
	return gs_hash_client(bytes, 0);
}

void xdp_edge_set_answers(const struct xdp_edge *edge, uint32_t kind, uint64_t who,
			  uint64_t until_ns)
{
	uint32_t word = who ? gs_answer_word(kind, who, xdp_edge_meta(edge).table_seed) : kind;
	static uint64_t times[1024];

	for (int cpu = 0; cpu < 1024; cpu++)
		times[cpu] = until_ns;
	xdp_edge_set(edge, GS_MAP_ANSWERS, &word, times);
}

/* ---- usable words ---------------------------------------------------------------------------- */

void xdp_edge_set_region(struct xdp_edge *edge, uint32_t region, struct gs_usable_word word)
{
	edge->region[region] = word;
	xdp_edge_set(edge, GS_MAP_USABLE_REGION, &region, &word);
}

void xdp_edge_set_pool(struct xdp_edge *edge, uint32_t service, uint32_t region,
		       struct gs_usable_word word)
{
	uint32_t index = service * GS_MAX_REGIONS + region;

	edge->pool[service][region] = word;
	xdp_edge_set(edge, GS_MAP_USABLE_POOL, &index, &word);
}

void xdp_edge_set_backend(struct xdp_edge *edge, uint32_t backend, struct gs_usable_word word)
{
	edge->backend[backend] = word;
	xdp_edge_set(edge, GS_MAP_USABLE_BACKEND, &backend, &word);
}

/* ---- capacity -------------------------------------------------------------------------------- */

void xdp_edge_set_fill(struct xdp_edge *edge, uint32_t region, struct gs_fill fill)
{
	struct gs_fill_word word = {
		.away = fill.away, .room = fill.room, .spare = fill.spare, .shed = fill.shed};
	struct gs_meta_value meta = xdp_edge_meta(edge);

	xdp_edge_set(edge, GS_MAP_FILL, &region, &word);
	meta.generation[0].asks |= GS_ASK_FILL;
	xdp_edge_set_meta(edge, &meta);
	edge->fill[region] = fill;
	edge->asks_fill = true;
}

void xdp_edge_clear_fill(struct xdp_edge *edge)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	meta.generation[0].asks &= ~GS_ASK_FILL;
	xdp_edge_set_meta(edge, &meta);
	edge->asks_fill = false;
}

/* ---- services, backends, hops ---------------------------------------------------------------- */

static void add_service(const struct xdp_edge *edge, const char *vip, uint16_t port,
			uint8_t protocol, uint16_t service)
{
	struct gs_service_key key = {.port = htons(port), .protocol = protocol};
	struct gs_service_value value = {.service = service};

	packet_addr(vip, (uint8_t *)key.addr);
	xdp_edge_set(edge, GS_MAP_SERVICES, &key, &value);
}

static void add_marker(const struct xdp_edge *edge, const char *vip, uint8_t protocol)
{
	struct gs_service_key key = {.protocol = protocol, .marker = 1};
	const struct gs_service_value value = {0};

	packet_addr(vip, (uint8_t *)key.addr);
	xdp_edge_set(edge, GS_MAP_SERVICES, &key, &value);
}

static void add_services(const struct xdp_edge *edge)
{
	static const char *const vips[] = {"198.51.100.10", "198.51.100.11", "198.51.100.12",
					   "2001:db8:100::10", "2001:db8:100::12"};

	add_service(edge, vips[0], 80, IPPROTO_TCP, SERVICE_WEB4);
	add_service(edge, vips[3], 80, IPPROTO_TCP, SERVICE_WEB6);
	add_service(edge, vips[0], 53, IPPROTO_UDP, SERVICE_DNS4);
	add_service(edge, vips[3], 53, IPPROTO_UDP, SERVICE_DNS6);
	add_service(edge, vips[1], 0, IPPROTO_TCP, SERVICE_ANY);
	add_service(edge, vips[1], 443, IPPROTO_TCP, SERVICE_EXACT);
	add_service(edge, vips[2], 80, IPPROTO_TCP, SERVICE_NO_PLAN);
	add_service(edge, vips[4], 80, IPPROTO_TCP, SERVICE_NO_PLAN);
	for (unsigned i = 0; i < sizeof(vips) / sizeof(vips[0]); i++)
		add_marker(edge, vips[i], IPPROTO_TCP);
	add_marker(edge, vips[0], IPPROTO_UDP);
	add_marker(edge, vips[3], IPPROTO_UDP);
}

uint32_t edge_backend_id(uint32_t service, uint32_t region, uint32_t member)
{
	return service * 16 + region * 4 + member;
}

const char *edge_backend_addr(uint32_t backend, char out[64])
{
	uint32_t service = backend / 16, region = backend / 4 % 4, member = backend % 4;

	if (region == 3)
		snprintf(out, 64, "fd00:3::%u:%u", service, 11 + member);
	else
		snprintf(out, 64, "10.%u.%u.%u", region, service, 11 + member);
	return out;
}

struct gs_backend_value edge_backend_value(uint32_t backend)
{
	uint32_t region = backend / 4 % 4;
	struct gs_backend_value value = {.hop = EDGE_HOP,
					 .service = (uint16_t)(backend / 16),
					 .region = (uint8_t)region,
					 .mode = GS_FORWARD_IPIP,
					 .family = region == 3 ? 6 : 4};
	char text[64];

	packet_addr(edge_backend_addr(backend, text), (uint8_t *)value.addr);
	return value;
}

struct gs_hop_value edge_hop_value(void)
{
	struct gs_hop_value hop = {
		.dst_mac = {2, 0, 0, 0, 0, 0xaa}, .src_mac = {2, 0, 0, 0, 0, 0xbb}, .mtu = 1500};

	assert_int_equal(inet_pton(AF_INET, "192.0.2.254", &hop.src4), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:e::1", hop.src6), 1);
	return hop;
}

struct packet edge_expect_frame(const struct packet *in, uint32_t backend)
{
	struct gs_hop_value hop = edge_hop_value();
	char text[64];
	struct packet_outer outer = {.dst = edge_backend_addr(backend, text)};

	outer.src = edge_backend_value(backend).family == 6 ? "2001:db8:e::1" : "192.0.2.254";
	memcpy(outer.dst_mac, hop.dst_mac, 6);
	memcpy(outer.src_mac, hop.src_mac, 6);
	return packet_encapsulate(in, &outer);
}

/* In which regions a service is. */
static bool edge_serves(uint32_t service, uint32_t region)
{
	return service >= 1 && region >= 1 && (service != SERVICE_ANY || region == 1);
}

static void add_backends(struct xdp_edge *edge)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;

	xdp_edge_set(edge, GS_MAP_HOPS, &id, &hop);
	for (uint32_t region = 1; region < EDGE_REGIONS; region++)
		xdp_edge_set_region(edge, region, edge_up);
	for (uint32_t service = 1; service < EDGE_SERVICES; service++)
		for (uint32_t region = 1; region < EDGE_REGIONS; region++) {
			xdp_edge_set_pool(edge, service, region, edge_up);
			for (uint32_t member = 0; member < 2; member++) {
				uint32_t backend = edge_backend_id(service, region, member);
				struct gs_backend_value value = edge_backend_value(backend);

				xdp_edge_set(edge, GS_MAP_BACKENDS, &backend, &value);
				xdp_edge_set_backend(edge, backend, edge_up);
			}
		}
}

/* ---- a generation ---------------------------------------------------------------------------- */

static int inner_create(enum bpf_map_type type, uint32_t key_size, uint32_t value_size,
			uint32_t count, uint32_t flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(type, "inner", key_size, value_size, count, &opts);

	assert_true(fd >= 0);
	return fd;
}

static void outer_put(const struct xdp_edge *edge, const char *outer, uint32_t at, int fd)
{
	xdp_edge_set(edge, outer, &at, &fd);
	close(fd); /* the outer map holds it */
}

void xdp_edge_put_array(const struct xdp_edge *edge, const char *outer, uint32_t at,
			uint32_t value_size, uint32_t count, const void *values)
{
	int fd = inner_create(BPF_MAP_TYPE_ARRAY, 4, value_size, count, BPF_F_INNER_MAP);
	uint32_t *keys = calloc(count, sizeof(*keys)), written = count;

	assert_non_null(keys);
	for (uint32_t i = 0; i < count; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(fd, keys, values, &written, NULL), 0);
	free(keys);
	outer_put(edge, outer, at, fd);
}

static void put_tries(const struct xdp_edge *edge, uint32_t at)
{
	outer_put(edge, GS_MAP_OVERRIDE4, at,
		  inner_create(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gs_override4_key),
			       sizeof(struct gs_override_value), GS_MAX_OVERRIDES,
			       BPF_F_NO_PREALLOC));
	outer_put(edge, GS_MAP_OVERRIDE6, at,
		  inner_create(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gs_override6_key),
			       sizeof(struct gs_override_value), GS_MAX_OVERRIDES,
			       BPF_F_NO_PREALLOC));
	outer_put(edge, GS_MAP_ACCESS4, at,
		  inner_create(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gs_access4_key),
			       sizeof(struct gs_access_value), GS_MAX_ACCESS, BPF_F_NO_PREALLOC));
	outer_put(edge, GS_MAP_ACCESS6, at,
		  inner_create(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct gs_access6_key),
			       sizeof(struct gs_access_value), GS_MAX_ACCESS, BPF_F_NO_PREALLOC));
}

static void put_geo(const struct xdp_edge *edge, const char *map, uint32_t at,
		    const struct gs_geo_input *input)
{
	struct gs_geo_output output = {.block_limit = GEO_BLOCKS};
	size_t bad;

	output.blocks = calloc(GEO_BLOCKS, sizeof(*output.blocks));
	assert_non_null(output.blocks);
	assert_int_equal(gs_geo_build(input, &output, &bad), 0);
	xdp_edge_put_array(edge, map, at, sizeof(struct gs_geo_block), (uint32_t)output.block_count,
			   output.blocks);
	free(output.blocks);
}

static struct gs_geo_range range4(uint32_t first, uint32_t last, uint16_t location)
{
	return (struct gs_geo_range){{0, first}, {0, last}, location};
}

/* A prefix of at most 64 bits: the high halves of its first and last address. */
static struct gs_geo_range range6(uint64_t first, uint64_t last, uint16_t location)
{
	return (struct gs_geo_range){{first, 0}, {last, ~0ull}, location};
}

static void put_geo_tables(const struct xdp_edge *edge, uint32_t at)
{
	const struct gs_geo_range v4[] = {
		range4(0xac100000, 0xac1fffff, 4), /* 172.16.0.0/12 */
		range4(0xc0000200, 0xc00002ff, 1), /* 192.0.2.0/24 */
		range4(0xc6120000, 0xc613ffff, 5), /* 198.18.0.0/15 */
		range4(0xcb007100, 0xcb00717f, 2), /* 203.0.113.0/25 */
		range4(0xcb007180, 0xcb0071ff, 3),
	};
	const struct gs_geo_range v6[] = {
		{{0x0064ff9b00000000, 0}, {0x0064ff9b00000000, 0xffffffff}, 5}, /* never asked */
		range6(0x20010db800010000, 0x20010db80001ffff, 1),
		range6(0x20010db800020000, 0x20010db80002ffff, 2),
		range6(0x20010db800030000, 0x20010db80003ffff, 3),
		range6(0x20010db800040000, 0x20010db80004ffff, 4),
		range6(0x20010db800050000, 0x20010db80005ffff, 5),
		range6(0x2002000000000000, 0x2002ffffffffffff, 5), /* never asked */
	};

	put_geo(edge, GS_MAP_GEO4, at,
		&(struct gs_geo_input){GS_GEO_V4, v4, sizeof(v4) / sizeof(v4[0])});
	put_geo(edge, GS_MAP_GEO6, at,
		&(struct gs_geo_input){GS_GEO_V6, v6, sizeof(v6) / sizeof(v6[0])});
}

static void put_plans(const struct xdp_edge *edge, uint32_t at, bool swap)
{
	struct gs_route_block routes[2 * EDGE_LOCATIONS / GS_BLOCK_U16] = {0};
	struct gs_plan_value plans[PLANS] = {0};

	for (uint32_t i = 0; i < sizeof(plans_of_locations) / sizeof(plans_of_locations[0]); i++) {
		struct gs_plan_value *plan = &plans[i + 1];

		*plan = plans_of_locations[i];
		if (swap) {
			plan->region[0] = plans_of_locations[i].region[1];
			plan->region[1] = plans_of_locations[i].region[0];
		}
		if (plan->count)
			routes[EDGE_ROW].plan[i] = (uint16_t)(i + 1);
	}
	xdp_edge_put_array(edge, GS_MAP_PLANS, at, sizeof(plans[0]), PLANS, plans);
	xdp_edge_put_array(edge, GS_MAP_ROUTES, at, sizeof(routes[0]),
			   sizeof(routes) / sizeof(routes[0]), routes);
}

static uint32_t pool_base(uint32_t service, uint32_t region)
{
	return (service * EDGE_REGIONS + region) * EDGE_SLOTS;
}

static uint32_t ring_member(uint32_t slot)
{
	return slot * 7 / 3 % 2;
}

static void put_pools(const struct xdp_edge *edge, uint32_t at)
{
	enum {
		POOLS = EDGE_SERVICES * EDGE_REGIONS,
		BLOCKS = POOLS * EDGE_SLOTS / GS_BLOCK_U16 + 1
	};
	struct gs_ring_block *rings = calloc(BLOCKS, sizeof(*rings));
	struct gs_pool_value pools[POOLS] = {0};

	assert_non_null(rings);
	for (uint32_t service = 1; service < EDGE_SERVICES; service++) {
		pools[service * EDGE_REGIONS].base = service == SERVICE_NO_PLAN ? 0 : EDGE_ROW;
		pools[service * EDGE_REGIONS].slots = EDGE_POLICY;
		for (uint32_t region = 1; region < EDGE_REGIONS; region++) {
			uint32_t base = pool_base(service, region);

			if (!edge_serves(service, region))
				continue;
			pools[service * EDGE_REGIONS + region].base = base;
			pools[service * EDGE_REGIONS + region].slots = EDGE_SLOTS;
			for (uint32_t i = 0; i < EDGE_SLOTS; i++)
				rings[(base + i) / GS_BLOCK_U16]
					.backend[(base + i) % GS_BLOCK_U16] =
					(uint16_t)edge_backend_id(service, region, ring_member(i));
		}
	}
	xdp_edge_put_array(edge, GS_MAP_POOLS, at, sizeof(pools[0]), POOLS, pools);
	xdp_edge_put_array(edge, GS_MAP_RINGS, at, sizeof(rings[0]), BLOCKS, rings);
	free(rings);
}

void xdp_edge_fill(const struct xdp_edge *edge, uint32_t at, uint64_t number, uint64_t seed,
		   bool swap)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	put_tries(edge, at);
	put_geo_tables(edge, at);
	put_plans(edge, at, swap);
	put_pools(edge, at);
	meta.generation[at] = (struct gs_generation_value){.number = number,
							   .seed = seed,
							   .locations = EDGE_LOCATIONS,
							   .regions = EDGE_REGIONS,
							   .plans = PLANS};
	xdp_edge_set_meta(edge, &meta);
}

void xdp_edge_override(const struct xdp_edge *edge, uint32_t at, const char *addr, uint32_t length,
		       uint32_t location)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);
	struct gs_override_value value = {.location = location};
	bool is_v6 = strchr(addr, ':') != NULL;
	struct gs_override6_key key6 = {.prefix_len = length};
	struct gs_override4_key key4 = {.prefix_len = length};
	uint32_t id;
	int fd;

	packet_addr(addr, (uint8_t *)key6.addr);
	key4.addr = key6.addr[3];
	xdp_edge_get(edge, is_v6 ? GS_MAP_OVERRIDE6 : GS_MAP_OVERRIDE4, &at, &id);
	fd = bpf_map_get_fd_by_id(id);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, is_v6 ? (void *)&key6 : (void *)&key4, &value, 0),
			 0);
	close(fd);
	*(is_v6 ? &meta.generation[at].overrides6 : &meta.generation[at].overrides4) += 1;
	xdp_edge_set_meta(edge, &meta);
}

void xdp_edge_access(const struct xdp_edge *edge, uint32_t at, const char *addr, uint32_t length,
		     uint32_t service, bool allow)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);
	struct gs_access_value value = {.length = (uint8_t)length, .allow = allow};
	bool is_v6 = strchr(addr, ':') != NULL;
	struct gs_access6_key key6 = {.prefix_len = GS_ACCESS_FIXED_BITS + length,
				      .service = (uint16_t)service};
	struct gs_access4_key key4 = {.prefix_len = key6.prefix_len, .service = key6.service};
	uint32_t id;
	int fd;

	packet_addr(addr, (uint8_t *)key6.addr);
	key4.addr = key6.addr[3];
	xdp_edge_get(edge, is_v6 ? GS_MAP_ACCESS6 : GS_MAP_ACCESS4, &at, &id);
	fd = bpf_map_get_fd_by_id(id);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, is_v6 ? (void *)&key6 : (void *)&key4, &value, 0),
			 0);
	close(fd);
	if (is_v6)
		meta.generation[at].asks |= service ? GS_ASK_ACCESS6_OWN : GS_ASK_ACCESS6_ALL;
	else
		meta.generation[at].asks |= service ? GS_ASK_ACCESS4_OWN : GS_ASK_ACCESS4_ALL;
	xdp_edge_set_meta(edge, &meta);
}

/* ---- life ------------------------------------------------------------------------------------ */

void xdp_edge_load(struct xdp_edge *edge, uint32_t flow_buckets)
{
	const char *build = getenv("BUILD");
	const struct gs_meta_value meta = {.layout_version = GS_MAPS_VERSION,
					   .table_seed = 0x7ab1e,
					   .flow_mask = flow_buckets - 1,
					   .nat_mask = EDGE_NAT_PLANES - 1};
	char path[256];

	memset(edge, 0, sizeof(*edge));
	snprintf(path, sizeof(path), "%s/bpf/gs_xdp.bpf.o", build ? build : "build");
	edge->object = bpf_object__open_file(path, NULL);
	assert_non_null(edge->object);
	assert_int_equal(
		bpf_map__set_max_entries(bpf_object__find_map_by_name(edge->object, GS_MAP_FLOWS),
					 flow_buckets),
		0);
	assert_int_equal(bpf_map__set_max_entries(
				 bpf_object__find_map_by_name(edge->object, GS_MAP_NAT_FLOWS),
				 EDGE_NAT_PLANES * GS_NAT_BUCKETS),
			 0);
	assert_int_equal(bpf_map__set_max_entries(
				 bpf_object__find_map_by_name(edge->object, GS_MAP_NAT_DETAILS),
				 EDGE_NAT_PLANES * GS_NAT_SLOTS),
			 0);
	assert_int_equal(bpf_object__load(edge->object), 0);
	edge->prog_fd = bpf_program__fd(bpf_object__find_program_by_name(edge->object, "gs_xdp"));
	assert_true(edge->prog_fd >= 0);
	xdp_edge_set_meta(edge, &meta);
}

void xdp_edge_open(struct xdp_edge *edge)
{
	xdp_edge_open_with(edge, EDGE_FLOW_BUCKETS);
}

static void fill_world(struct xdp_edge *edge)
{
	add_services(edge);
	add_backends(edge);
	xdp_edge_fill(edge, 0, 1, 0x5eed, false);
}

void xdp_edge_open_with(struct xdp_edge *edge, uint32_t flow_buckets)
{
	xdp_edge_load(edge, flow_buckets);
	fill_world(edge);
}

void xdp_edge_adopt(struct xdp_edge *edge, const char *pin_dir)
{
	const char *build = getenv("BUILD");
	struct bpf_map *map;
	char path[256];
	int fd;

	memset(edge, 0, sizeof(*edge));
	snprintf(path, sizeof(path), "%s/bpf/gs_xdp.bpf.o", build ? build : "build");
	edge->object = bpf_object__open_file(path, NULL);
	assert_non_null(edge->object);
	for (const char *const *name = gs_pins_maps; *name; name++) {
		map = bpf_object__find_map_by_name(edge->object, *name);
		assert_non_null(map);
		snprintf(path, sizeof(path), "%s/%s", pin_dir, *name);
		fd = bpf_obj_get(path);
		assert_true(fd >= 0);
		assert_int_equal(bpf_map__reuse_fd(map, fd), 0);
		close(fd);
	}
	snprintf(path, sizeof(path), "%s/%s", pin_dir, GS_PIN_PROG);
	edge->prog_fd = bpf_obj_get(path);
	assert_true(edge->prog_fd >= 0);
	fill_world(edge);
}

void xdp_edge_close(struct xdp_edge *edge)
{
	bpf_object__close(edge->object);
	edge->object = NULL;
}

/* ---- reasons --------------------------------------------------------------------------------- */

const char *edge_reason_name(uint32_t reason)
{
#define NAME(name, verdict, text) #name,
	static const char *const names[] = {GS_REASONS(NAME)};
#undef NAME
	return reason < GS_REASON__COUNT ? names[reason] : "?";
}

uint32_t edge_reason_action(enum gs_reason reason)
{
#define ACTION(name, verdict, text) XDP_##verdict,
	static const uint32_t actions[] = {GS_REASONS(ACTION)};
#undef ACTION
	return actions[reason];
}

/* ---- packets --------------------------------------------------------------------------------- */

static struct gs_count count_get(const struct xdp_edge *edge, const char *map, uint32_t index)
{
	static struct gs_count cpus[MAX_CPUS];
	struct gs_count sum = {0};
	int count = libbpf_num_possible_cpus();

	assert_in_range(count, 1, MAX_CPUS);
	xdp_edge_get(edge, map, &index, cpus);
	for (int i = 0; i < count; i++) {
		sum.packets += cpus[i].packets;
		sum.bytes += cpus[i].bytes;
	}
	return sum;
}

struct counts {
	struct gs_count reason[GS_REASON__COUNT];
	struct gs_count service[EDGE_SERVICES];
	struct gs_count region[EDGE_REGIONS];
	struct gs_count backend[EDGE_BACKENDS];
};

static void counts_get(const struct xdp_edge *edge, struct counts *ret_counts)
{
	for (uint32_t i = 0; i < GS_REASON__COUNT; i++)
		ret_counts->reason[i] = count_get(edge, GS_MAP_COUNT_REASON, i);
	for (uint32_t i = 0; i < EDGE_SERVICES; i++)
		ret_counts->service[i] = count_get(edge, GS_MAP_COUNT_SERVICE, i);
	for (uint32_t i = 0; i < EDGE_REGIONS; i++)
		ret_counts->region[i] = count_get(edge, GS_MAP_COUNT_REGION, i);
	for (uint32_t i = 0; i < EDGE_BACKENDS; i++)
		ret_counts->backend[i] = count_get(edge, GS_MAP_COUNT_BACKEND, i);
}

/* The one index that moved, by one packet of this many bytes; `none` if nothing did. */
static uint32_t moved(const struct gs_count *before, const struct gs_count *after, uint32_t count,
		      uint32_t bytes, uint32_t none)
{
	uint32_t found = none;

	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(&before[i], &after[i], sizeof(before[i])) == 0)
			continue;
		assert_int_equal(found, none);
		assert_int_equal(after[i].packets - before[i].packets, 1);
		assert_int_equal(after[i].bytes - before[i].bytes, bytes);
		found = i;
	}
	return found;
}

struct xdp_result xdp_edge_send(const struct xdp_edge *edge, const struct packet *packet)
{
	static struct counts before, after; /* large */
	struct xdp_result result = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = result.out.bytes,
		    .data_size_out = sizeof(result.out.bytes), .repeat = 1);

	counts_get(edge, &before);
	assert_int_equal(bpf_prog_test_run_opts(edge->prog_fd, &opts), 0);
	counts_get(edge, &after);
	result.action = opts.retval;
	result.out.length = opts.data_size_out;
	result.reason = moved(before.reason, after.reason, GS_REASON__COUNT, packet->length,
			      GS_REASON__COUNT);
	assert_int_not_equal(result.reason, GS_REASON__COUNT);
	result.service = moved(before.service, after.service, EDGE_SERVICES, packet->length, 0);
	result.region = moved(before.region, after.region, EDGE_REGIONS, packet->length, 0);
	result.backend = moved(before.backend, after.backend, EDGE_BACKENDS, packet->length, 0);
	return result;
}

/* ---- the oracle ------------------------------------------------------------------------------ */

struct gs_flow_tuple edge_tuple(const struct packet *packet)
{
	const uint8_t *ip = packet->bytes + PACKET_L3, *l4 = packet->bytes + packet->l4;
	struct gs_flow_tuple tuple = {.protocol = packet->protocol};

	if (ip[0] >> 4 == 4) {
		tuple.src[2] = tuple.dst[2] = htonl(0xffff);
		memcpy(&tuple.src[3], ip + 12, 4);
		memcpy(&tuple.dst[3], ip + 16, 4);
	} else {
		memcpy(tuple.src, ip + 8, 16);
		memcpy(tuple.dst, ip + 24, 16);
	}
	memcpy(&tuple.src_port, l4, 2);
	memcpy(&tuple.dst_port, l4 + 2, 2);
	return tuple;
}

static bool open_to(struct gs_usable_word word, uint64_t hash)
{
	return word.state == GS_USABLE_UP && (hash & 0xffff) <= word.accept;
}

/* Shares and all, as user/core/plan.c has it. */
static struct gs_plan plan_of(uint32_t location)
{
	const struct gs_plan_value *value = &plans_of_locations[location];
	struct gs_plan plan = {.count = value->count};

	for (int i = 0; i < plan.count; i++) {
		plan.region[i] = value->region[i];
		plan.share[i] = value->share[i];
		plan.spare[i] = value->spare[i];
	}
	return plan;
}

uint32_t edge_expect_first_of(const struct gs_flow_tuple *tuple, uint32_t location, uint64_t seed)
{
	const struct gs_plan plan = plan_of(location);
	bool usable[GS_PLAN_REGIONS];

	memset(usable, true, sizeof(usable));
	return plan.region[gs_plan_pick(&plan, usable, gs_hash_client(tuple->src, seed))];
}

enum gs_plan_way edge_expect_way_of(const struct xdp_edge *edge, const struct gs_flow_tuple *tuple,
				    uint32_t service, uint32_t location, uint64_t seed,
				    uint32_t *ret_region)
{
	const struct gs_plan plan = plan_of(location);
	uint64_t hash = gs_hash_flow(tuple, seed);
	struct gs_fill fill[GS_PLAN_REGIONS] = {0};
	bool usable[GS_PLAN_REGIONS] = {0};
	enum gs_plan_way way;
	int picked;

	for (int i = 0; i < plan.count; i++) {
		uint32_t region = plan.region[i];

		usable[i] = edge_serves(service, region) && open_to(edge->region[region], hash) &&
			    open_to(edge->pool[service][region], hash);
		fill[i] = edge->fill[region];
	}
	picked = gs_plan_pick_filled(&plan, usable, edge->asks_fill ? fill : NULL,
				     edge->priority[service], gs_hash_client(tuple->src, seed),
				     &way);
	*ret_region = picked < 0 ? 0 : plan.region[picked];
	return way;
}

uint32_t edge_expect_region_of(const struct xdp_edge *edge, const struct gs_flow_tuple *tuple,
			       uint32_t service, uint32_t location, uint64_t seed)
{
	uint32_t region;

	edge_expect_way_of(edge, tuple, service, location, seed, &region);
	return region;
}

uint32_t edge_expect_backend_in(const struct xdp_edge *edge, const struct gs_flow_tuple *tuple,
				uint32_t service, uint32_t region, uint64_t seed)
{
	uint64_t hash = gs_hash_flow(tuple, seed);
	uint32_t backend;

	for (uint32_t try = 0; try < GS_RING_TRIES; try++) {
		backend = edge_backend_id(service, region,
					  ring_member(gs_hash_slot(hash, try, EDGE_SLOTS)));
		if (open_to(edge->backend[backend], hash))
			return backend;
	}
	backend = edge->pool[service][region].fallback;
	return edge->backend[backend].state == GS_USABLE_UP ? backend : 0;
}

uint32_t edge_expect_backend(const struct xdp_edge *edge, const struct packet *packet,
			     uint32_t service, uint32_t location, uint64_t seed)
{
	struct gs_flow_tuple tuple = edge_tuple(packet);
	uint32_t region = edge_expect_region_of(edge, &tuple, service, location, seed);

	return region ? edge_expect_backend_in(edge, &tuple, service, region, seed) : 0;
}

void edge_expect_bytes(const char *name, const struct packet *got, const struct packet *want)
{
	uint32_t at = 0;

	while (at < got->length && at < want->length && got->bytes[at] == want->bytes[at])
		at++;
	if (got->length != want->length || at < want->length)
		fail_msg("%s: %u bytes, %u wanted; they differ from byte %u on", name, got->length,
			 want->length, at);
}

struct xdp_result xdp_edge_expect(const struct xdp_edge *edge, const char *name,
				  const struct packet *packet, enum gs_reason want)
{
	struct xdp_result result = xdp_edge_send(edge, packet);

	if (result.reason != want || result.action != edge_reason_action(want))
		fail_msg("%s: %s (action %u), wanted %s", name, edge_reason_name(result.reason),
			 result.action, edge_reason_name(want));
	if (result.action == XDP_PASS)
		edge_expect_bytes(name, &result.out, packet);
	return result;
}
