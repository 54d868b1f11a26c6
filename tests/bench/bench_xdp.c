/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds a packet, net of the driver: `make bench`. README.md says how to read them.
 *
 *	bench_xdp [-r ROUNDS] [-n PACKETS] [-f FLOWS | -m] [-g MMDB | -c]
 *
 * -f: only this many flows, 1, 1024, 65536 or 1048576. -m: instead, the ways packets can go
 * (bench_modes.c).
 * JSON, a line a row, on standard output; a table for people on standard error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"
#include "gs_bench.h"
#include "user/adapters/adapters.h"
#include "user/core/random.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const row_names[ROW__COUNT] = {"baseline", "xdp_tx", "grow_20_tx", "established",
						  "new"};
static const uint32_t flow_counts[] = {1, 1024, 65536, MAX_FLOWS};

/* ---- geo tables ------------------------------------------------------------------------------ */

static void use_file(struct bench *bench, const char *path)
{
	struct gs_geodata_family *families[2];
	struct gs_error error;
	struct gs_geodata *geo;
	struct gs_geodb geodb;

	if (gs_mmdb_open(&geodb) < 0 || geodb.ops->load(geodb.self, path, &geo, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		exit(1);
	}
	families[0] = &geo->v4;
	families[1] = &geo->v6;
	for (int i = 0; i < 2; i++)
		bench->family[i] = (struct family){families[i]->blocks, families[i]->block_count,
						   families[i]->starts, families[i]->start_count};
	snprintf(bench->geo, sizeof(bench->geo), "%s, %zu + %zu prefixes", geo->database_type,
		 (size_t)geo->v4.prefixes, (size_t)geo->v6.prefixes);
}

static void build_table(struct family *family, enum gs_geo_family kind,
			const struct gs_geo_range *ranges, size_t count)
{
	struct gs_geo_output output = {.block_limit = BLOCK_LIMIT};
	size_t bad;

	output.blocks = calloc(BLOCK_LIMIT, sizeof(*output.blocks));
	family->starts = calloc(count, sizeof(*family->starts));
	assert_true(output.blocks && family->starts);
	assert_int_equal(gs_geo_build(&(struct gs_geo_input){kind, ranges, count}, &output, &bad),
			 0);
	family->blocks = output.blocks;
	family->block_count = output.block_count;
	for (size_t i = 0; i < count; i++)
		family->starts[i] = ranges[i].first;
	family->start_count = count;
}

/*
 * Prefix lengths as a city-level database has them for IPv4: how many of each, roughly, in
 * thousands; /17 stands for all shorter ones.
 */
static uint32_t city_length4(uint64_t *seed)
{
	static const uint16_t weights[] = {18,	14,  29,  62,  124, 297, 589, 1931,
					   221, 252, 200, 180, 150, 120, 60,  150};
	uint32_t total = 0, point, i = 0;

	for (uint32_t n = 0; n < sizeof(weights) / sizeof(weights[0]); n++)
		total += weights[n];
	for (point = (uint32_t)(gs_random(seed) % total); point >= weights[i]; i++)
		point -= weights[i];
	return 17 + i;
}

/* Prefix behind prefix from 1.0.0.0 on, each with a location of its own drawing; none of them
 * loopback's, whose packets are dropped before they are located. */
static size_t city_ranges4(uint64_t *seed, struct gs_geo_range *ranges, size_t limit)
{
	uint64_t at = 1u << 24;
	size_t count = 0;

	while (count < limit) {
		uint64_t size = 1ull << (32 - city_length4(seed));

		at = (at + size - 1) / size * size;
		if (at >> 24 == 127)
			at = 1ull << 31;
		if (at + size > 0xe0000000)
			break;
		ranges[count++] =
			(struct gs_geo_range){{0, at},
					      {0, at + size - 1},
					      (uint16_t)(1 + gs_random(seed) % CITY_LOCATIONS)};
		at += size;
	}
	return count;
}

/* /48s and longer in runs, as providers hand them out below 2a00::/12. */
static size_t city_ranges6(uint64_t *seed, struct gs_geo_range *ranges, size_t limit)
{
	uint64_t at = 0x2a00ull << 48;

	for (size_t i = 0; i < limit; i++) {
		uint64_t size = 1ull << (64 - (40 + gs_random(seed) % 17));

		if (gs_random(seed) % 64 == 0)
			at += gs_random(seed) % 8 << 32; /* the next provider's /32 */
		at = (at + size - 1) / size * size;
		ranges[i] = (struct gs_geo_range){{at, 0},
						  {at + size - 1, ~0ull},
						  (uint16_t)(1 + gs_random(seed) % CITY_LOCATIONS)};
		at += size;
	}
	return limit;
}

static void use_city(struct bench *bench)
{
	struct gs_geo_range *ranges = calloc(CITY_PREFIXES4, sizeof(*ranges));
	uint64_t seed = 1;
	size_t counts[2];

	assert_non_null(ranges);
	counts[0] = city_ranges4(&seed, ranges, CITY_PREFIXES4);
	build_table(&bench->family[0], GS_GEO_V4, ranges, counts[0]);
	counts[1] = city_ranges6(&seed, ranges, CITY_PREFIXES6);
	build_table(&bench->family[1], GS_GEO_V6, ranges, counts[1]);
	free(ranges);
	snprintf(bench->geo, sizeof(bench->geo), "synthetic city level, %zu + %zu prefixes",
		 counts[0], counts[1]);
}

/* ---- the world ------------------------------------------------------------------------------- */

static uint32_t backend_id(uint32_t region, uint32_t member)
{
	return region * MEMBERS + member;
}

void bench_put_backends(const struct xdp_edge *edge, uint8_t mode, uint8_t family)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t hop_id = EDGE_HOP;

	xdp_edge_set(edge, GS_MAP_HOPS, &hop_id, &hop);
	for (uint32_t region = 1; region <= REGIONS; region++) {
		uint32_t pool = 1 * GS_MAX_REGIONS + region;

		xdp_edge_set(edge, GS_MAP_USABLE_REGION, &region, &edge_up);
		xdp_edge_set(edge, GS_MAP_USABLE_POOL, &pool, &edge_up);
		for (uint32_t member = 0; member < MEMBERS; member++) {
			uint32_t id = backend_id(region, member);
			struct gs_backend_value value = {
				.hop = EDGE_HOP,
				.service = 1,
				.region = (uint8_t)region,
				.mode = mode,
				.family = family,
				.addr = {0, 0, htonl(0xffff), htonl(0x0a000000 + id)}};

			if (family == 6) {
				packet_addr("2001:db8:b::", (uint8_t *)value.addr);
				value.addr[3] = htonl(id);
			}
			xdp_edge_set(edge, GS_MAP_BACKENDS, &id, &value);
			xdp_edge_set(edge, GS_MAP_USABLE_BACKEND, &id, &edge_up);
		}
	}
}

static void put_service(const struct xdp_edge *edge, const char *vip)
{
	struct gs_service_key key = {.port = htons(80), .protocol = IPPROTO_TCP};
	struct gs_service_value value = {.service = 1};

	packet_addr(vip, (uint8_t *)key.addr);
	xdp_edge_set(edge, GS_MAP_SERVICES, &key, &value);
}

/* One plan a region that comes first; locations take them in turn. */
static void put_plans(const struct xdp_edge *edge)
{
	struct gs_plan_value plans[REGIONS + 1] = {0};
	struct gs_route_block *routes = calloc(STRIDE / GS_BLOCK_U16, sizeof(*routes));

	assert_non_null(routes);
	for (uint32_t first = 0; first < REGIONS; first++) {
		struct gs_plan_value *plan = &plans[first + 1];

		plan->count = REGIONS;
		for (uint32_t i = 0; i < REGIONS; i++) {
			plan->region[i] = (uint8_t)((first + i) % REGIONS + 1);
			plan->share[i] = 65535;
			plan->spare[i] = 100;
		}
	}
	for (uint32_t i = 0; i < STRIDE; i++)
		routes[i / GS_BLOCK_U16].plan[i % GS_BLOCK_U16] = (uint16_t)(i % REGIONS + 1);
	xdp_edge_put_array(edge, GS_MAP_PLANS, 0, sizeof(plans[0]), REGIONS + 1, plans);
	xdp_edge_put_array(edge, GS_MAP_ROUTES, 0, sizeof(*routes), STRIDE / GS_BLOCK_U16, routes);
	free(routes);
}

static void put_pools(const struct xdp_edge *edge)
{
	enum { BLOCKS = REGIONS * SLOTS / GS_BLOCK_U16 + 1, POOLS = 2 * (REGIONS + 1) };
	struct gs_pool_value pools[POOLS] = {0};
	struct gs_ring_block *rings = calloc(BLOCKS, sizeof(*rings));

	assert_non_null(rings);
	for (uint32_t region = 1; region <= REGIONS; region++) {
		uint32_t base = (region - 1) * SLOTS;

		pools[REGIONS + 1 + region] = (struct gs_pool_value){base, SLOTS};
		for (uint32_t i = base; i < base + SLOTS; i++)
			rings[i / GS_BLOCK_U16].backend[i % GS_BLOCK_U16] =
				(uint16_t)backend_id(region, i * 7 % MEMBERS);
	}
	xdp_edge_put_array(edge, GS_MAP_POOLS, 0, sizeof(pools[0]), POOLS, pools);
	xdp_edge_put_array(edge, GS_MAP_RINGS, 0, sizeof(*rings), BLOCKS, rings);
	free(rings);
}

static void put_generation(const struct xdp_edge *edge)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	meta.generation[0] = (struct gs_generation_value){.number = 1,
							  .seed = 0x5eed,
							  .locations = STRIDE,
							  .regions = REGIONS + 1,
							  .plans = REGIONS + 1};
	xdp_edge_set_meta(edge, &meta);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void open_driver(struct bench *bench)
{
	struct bpf_object *driver = bench_driver_open(MAX_FLOWS, MAX_FLOWS);

	bench->driver = driver;
	bench_driver_set(driver, ROW_DROP, bench_driver_program(driver, "bench_drop"));
	bench_driver_set(driver, ROW_TX, bench_driver_program(driver, "bench_tx"));
	bench_driver_set(driver, ROW_GROW, bench_driver_program(driver, "bench_grow"));
	bench->conf = bench_driver_map(driver, "bench_conf", sizeof(*bench->conf));
	bench->flows4 =
		bench_driver_map(driver, "bench_flows4", MAX_FLOWS * sizeof(*bench->flows4));
	bench->flows6 =
		bench_driver_map(driver, "bench_flows6", MAX_FLOWS * sizeof(*bench->flows6));
}

static struct gs_geo_key pick_start(const struct family *family, uint64_t *seed)
{
	return family->starts[gs_random(seed) % family->start_count];
}

/* Clients: a prefix, each as likely as the other, and a little way into it. */
static void draw_flows(struct bench *bench)
{
	uint64_t seed = 7;

	for (uint32_t i = 0; i < MAX_FLOWS; i++) {
		struct gs_geo_key at4 = pick_start(&bench->family[0], &seed);
		struct gs_geo_key at6 = pick_start(&bench->family[1], &seed);
		uint64_t high = at6.high | gs_random(&seed) % 256, low = at6.low ^ gs_random(&seed);

		bench->flows4[i].src = htonl((uint32_t)at4.low | (uint32_t)(gs_random(&seed) % 4));
		bench->flows4[i].src_port = (uint16_t)gs_random(&seed);
		bench->flows6[i].src[0] = htonl((uint32_t)(high >> 32));
		bench->flows6[i].src[1] = htonl((uint32_t)high);
		bench->flows6[i].src[2] = htonl((uint32_t)(low >> 32));
		bench->flows6[i].src[3] = htonl((uint32_t)low);
		bench->flows6[i].src_port = (uint16_t)gs_random(&seed);
	}
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* Whole laps: the next ones are of other flows again. */
static uint64_t first_of(struct bench *bench, const struct run *run)
{
	uint64_t first = bench->laps * run->flows;

	if (!run->is_fresh)
		return 0;
	bench->laps += (run->packets + run->flows - 1) / run->flows;
	return first;
}

uint32_t bench_run(struct bench *bench, const struct run *run)
{
	struct packet_spec spec = {.family = (uint8_t)run->family, .payload = 10};
	struct packet packet = run->frame ? *run->frame : packet_build(&spec);
	const char *driver = run->family == 4 ? "bench_drive4" : "bench_drive6";
	uint8_t out[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes, .data_size_in = packet.length,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = (int)run->packets);

	assert_in_range(packet.length, 1, BENCH_FRAME_MAX);
	memcpy(bench->conf->frame, packet.bytes, packet.length);
	bench->conf->mask = run->flows - 1;
	bench->conf->target = run->row;
	bench->conf->flags = run->flags;
	bench->conf->next = first_of(bench, run);
	bench->conf->lap_shift =
		run->is_fresh ? (uint32_t)__builtin_ctz(run->flows) : BENCH_NO_LAPS;
	if (run->driver)
		driver = run->driver;
	assert_int_equal(bpf_prog_test_run_opts(bench_driver_program(bench->driver, driver), &opts),
			 0);
	assert_int_equal(opts.retval, run->row == ROW_DROP ? XDP_DROP : XDP_TX);
	return opts.duration;
}

struct result {
	uint32_t ns[ROW__COUNT][MAX_ROUNDS];
	double share[ROW__COUNT]; /* of packets that were what the row says */
};

/* A flow table sized to the traffic, as a user would: half full. */
static uint32_t buckets_for(uint32_t flows)
{
	uint32_t buckets = flows / (GS_FLOW_WAYS / 2);

	return buckets > GS_FLOW_BUCKETS_DEFAULT ? buckets : GS_FLOW_BUCKETS_DEFAULT;
}

static void forget_flows(const struct xdp_edge *edge, uint32_t buckets)
{
	struct gs_flow_bucket *empty = calloc(buckets, sizeof(*empty));
	uint32_t *keys = calloc(buckets, sizeof(*keys)), count = buckets;

	assert_true(empty && keys);
	for (uint32_t i = 0; i < buckets; i++)
		keys[i] = i;
	assert_int_equal(
		bpf_map_update_batch(xdp_edge_map(edge, GS_MAP_FLOWS), keys, empty, &count, NULL),
		0);
	free(empty);
	free(keys);
}

static void load_edge(struct bench *bench, enum row row, uint32_t buckets)
{
	struct xdp_edge *edge = &bench->edge[row - ROW_ESTABLISHED];

	if (edge->object)
		xdp_edge_close(edge);
	xdp_edge_load(edge, buckets);
	put_service(edge, "198.51.100.10");
	put_service(edge, "2001:db8:100::10");
	bench_put_backends(edge, GS_FORWARD_IPIP, 4);
	put_plans(edge);
	put_pools(edge);
	put_generation(edge);
	for (int i = 0; i < 2; i++)
		xdp_edge_put_array(edge, i ? GS_MAP_GEO6 : GS_MAP_GEO4, 0,
				   sizeof(struct gs_geo_block),
				   (uint32_t)bench->family[i].block_count, bench->family[i].blocks);
	bench_driver_set(bench->driver, row, edge->prog_fd);
	bench->buckets[row - ROW_ESTABLISHED] = buckets;
}

void bench_open_edge(struct bench *bench, enum row row, uint32_t flows)
{
	uint32_t buckets = buckets_for(flows);

	/* the verifier takes its time for each load */
	if (bench->buckets[row - ROW_ESTABLISHED] == buckets)
		forget_flows(&bench->edge[row - ROW_ESTABLISHED], buckets);
	else
		load_edge(bench, row, buckets);
}

static void close_edges(struct bench *bench)
{
	for (int i = 0; i < 2; i++)
		if (bench->edge[i].object)
			xdp_edge_close(&bench->edge[i]);
}

/* SYNs of flows that nobody proved are decided each time; ACKs prove their flow. */
static uint8_t flags_of(enum row row)
{
	return row == ROW_NEW ? 0x02 : 0x10;
}

static void measure_row(struct bench *bench, struct run *r, struct result *result, uint32_t round)
{
	enum gs_reason reason = r->row == ROW_NEW ? GS_REASON_tx_new : GS_REASON_tx_flow;
	const struct xdp_edge *edge = &bench->edge[r->row == ROW_NEW];
	uint64_t before = bench_reason_packets(edge, reason);

	r->flags = flags_of(r->row);
	result->ns[r->row][round] = bench_run(bench, r);
	if (r->row >= ROW_ESTABLISHED)
		result->share[r->row] += (double)(bench_reason_packets(edge, reason) - before) /
					 bench->packets / bench->rounds;
	else if (round == 0)
		result->share[r->row] = 1;
}

static void measure(struct bench *bench, int family, uint32_t flows, struct result *ret_result)
{
	struct run r = {.family = family, .flows = flows, .packets = bench->packets};

	memset(ret_result, 0, sizeof(*ret_result));
	for (r.row = ROW_ESTABLISHED; r.row <= ROW_NEW; r.row++) {
		bench_open_edge(bench, r.row, flows);
		r.flags = flags_of(r.row);
		r.packets = flows; /* each, and twice to prove it */
		bench_run(bench, &r);
		bench_run(bench, &r);
	}
	r.packets = bench->packets;
	for (uint32_t round = 0; round < bench->rounds; round++)
		for (r.row = ROW_DROP; r.row < ROW__COUNT; r.row++)
			if (!getenv("ONLY") || strchr(getenv("ONLY"), '0' + r.row))
				measure_row(bench, &r, ret_result, round);
}

/* ---- report ---------------------------------------------------------------------------------- */

static void report_row(const struct bench *bench, int family, uint32_t flows, enum row row,
		       struct result *result, double baseline, double tx)
{
	uint32_t *ns = result->ns[row];
	double net, share = result->share[row];

	qsort(ns, bench->rounds, sizeof(*ns), bench_compare_u32);
	net = ns[bench->rounds / 2] - baseline;
	printf("{\"row\":\"%s\",\"family\":%d,\"flows\":%u,\"ns_net\":%.0f,\"ns\":%u,\"ns_low\":%u,"
	       "\"ns_high\":%u,\"ns_baseline\":%.0f,\"ratio_to_xdp_tx\":%.2f,\"share\":%.4f,"
	       "\"rounds\":%u,\"packets\":%u,\"flow_buckets\":%u}\n",
	       row_names[row], family, flows, net, ns[bench->rounds / 2], ns[0],
	       ns[bench->rounds - 1], baseline, ns[bench->rounds / 2] / tx, share, bench->rounds,
	       bench->packets, buckets_for(flows));
	fprintf(stderr, "  %-12s %4s %9u %8.0f %7u .. %-6u %8.2f %8.2f %%\n", row_names[row],
		family == 4 ? "IPv4" : "IPv6", flows, net, ns[0], ns[bench->rounds - 1],
		ns[bench->rounds / 2] / tx, share * 100);
}

static void report(const struct bench *bench, int family, uint32_t flows, struct result *result)
{
	double baseline, tx;

	qsort(result->ns[ROW_DROP], bench->rounds, sizeof(uint32_t), bench_compare_u32);
	qsort(result->ns[ROW_TX], bench->rounds, sizeof(uint32_t), bench_compare_u32);
	baseline = result->ns[ROW_DROP][bench->rounds / 2];
	tx = result->ns[ROW_TX][bench->rounds / 2];
	for (enum row row = ROW_DROP; row < ROW__COUNT; row++)
		report_row(bench, family, flows, row, result, baseline, tx);
	fflush(stdout);
}

/* Types for the controller are in a section libbpf notes at every load that it skips. */
static int __attribute__((format(printf, 2, 0)))
on_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: bench_xdp [-r ROUNDS] [-n PACKETS] [-f FLOWS | -m] [-g MMDB | -c]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct bench bench = {.rounds = 5, .packets = MAX_FLOWS, .laps = 1};
	const char *geo_path = NULL;
	uint32_t only = 0;
	bool modes = false;
	int option;

	while ((option = getopt(argc, argv, "r:n:f:g:cm")) != -1) {
		if (option == 'r')
			bench.rounds = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'n')
			bench.packets = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'f')
			only = (uint32_t)strtoul(optarg, NULL, 10);
		else if (option == 'g')
			geo_path = optarg;
		else if (option == 'c')
			geo_path = NULL;
		else if (option == 'm')
			modes = true;
		else
			return usage();
	}
	if (bench.rounds < 1 || bench.rounds > MAX_ROUNDS || bench.packets < 1)
		return usage();
	libbpf_set_print(on_libbpf);
	open_driver(&bench);
	if (geo_path)
		use_file(&bench, geo_path);
	else
		use_city(&bench);
	draw_flows(&bench);
	fprintf(stderr, "geo table: %s\n  %-12s %4s %9s %8s %17s %8s %9s\n", bench.geo, "row", "",
		"flows", "ns net", "ns low .. high", "x TX", "such");
	for (int family = 4; family <= 6 && modes; family += 2)
		bench_modes(&bench, family);
	for (unsigned i = 0; i < sizeof(flow_counts) / sizeof(flow_counts[0]) && !modes; i++)
		for (int family = 4; family <= 6; family += 2) {
			static struct result result;

			if (getenv("FAM") && atoi(getenv("FAM")) != family)
				continue;
			if (only && only != flow_counts[i])
				continue;
			measure(&bench, family, flow_counts[i], &result);
			report(&bench, family, flow_counts[i], &result);
		}
	close_edges(&bench);
	return 0;
}
