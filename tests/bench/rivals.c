/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gs_bench.h"
#include "kernel.h"
#include "maps/gs_maps.h"
#include "rivals.h"
#include "tests/bpf/packet.h"
#include "tests/bpf/xdp_edge.h"
#include "user/core/random.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKS = 4096, HOP = 1 };

static void set(const struct bench_rivals *rivals, const char *map, const void *key,
		const void *value)
{
	assert_int_equal(bpf_map_update_elem(bench_object_map(rivals->object, map), key, value, 0),
			 0);
}

static void put_service(const struct bench_rivals *rivals, const char *vip)
{
	struct gs_service_key key = {.port = htons(80), .protocol = IPPROTO_TCP};
	struct gs_service_value value = {.service = 1};

	packet_addr(vip, (uint8_t *)key.addr);
	set(rivals, "bench_services", &key, &value);
}

static void put_world(const struct bench_rivals *rivals, uint32_t regions)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t hop_id = HOP;

	put_service(rivals, "198.51.100.10");
	put_service(rivals, "2001:db8:100::10");
	set(rivals, "bench_hops", &hop_id, &hop);
	for (uint32_t id = BENCH_MEMBERS; id < (regions + 1) * BENCH_MEMBERS; id++) {
		struct gs_backend_value backend = {
			.hop = HOP, .addr = {0, 0, htonl(0xffff), htonl(0x0a000000 + id)}};

		set(rivals, "bench_backends", &id, &backend);
	}
	for (uint32_t location = 0; location <= UINT16_MAX; location++) {
		uint32_t home = location % regions + 1;

		set(rivals, "bench_homes", &location, &home);
	}
}

static void reuse(const struct bench_rivals *rivals, const char *name, int fd)
{
	assert_int_equal(bpf_map__reuse_fd(bpf_object__find_map_by_name(rivals->object, name), fd),
			 0);
}

void bench_rivals_open(struct bench_rivals *rivals, const struct bench_geo *geo, uint32_t flows,
		       uint32_t regions)
{
	static const char *const none[] = {NULL};
	double ms;

	if (rivals->object && rivals->flows == flows)
		return;
	bpf_object__close(rivals->object);
	for (int i = 0; i < 2; i++)
		if (!rivals->trie[i])
			rivals->trie[i] = bench_geo_trie(&geo->family[i], &ms);
	rivals->object = bench_object_open("gs_rivals.bpf.o");
	rivals->flows = flows;
	bench_object_keep(rivals->object, none);
	reuse(rivals, "bench_trie4", rivals->trie[0]);
	reuse(rivals, "bench_trie6", rivals->trie[1]);
	assert_int_equal(
		bpf_map__set_max_entries(
			bpf_object__find_map_by_name(rivals->object, "bench_flows"), flows),
		0);
	assert_int_equal(bpf_object__load(rivals->object), 0);
	put_world(rivals, regions);
}

uint64_t bench_rivals_packets(const struct bench_rivals *rivals, uint32_t index)
{
	static struct gs_count cpus[1024];
	uint64_t sum = 0;

	assert_int_equal(
		bpf_map_lookup_elem(bench_object_map(rivals->object, "bench_counts"), &index, cpus),
		0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cpus[i].packets;
	return sum;
}

/* What the program sends for `packet`. */
static struct packet sent(const struct bench_rivals *rivals, const char *program,
			  const struct packet *packet)
{
	struct packet out = *packet;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet->bytes,
		    .data_size_in = packet->length, .data_out = out.bytes,
		    .data_size_out = sizeof(out.bytes), .repeat = 1);

	assert_int_equal(
		bpf_prog_test_run_opts(bench_object_program(rivals->object, program), &opts), 0);
	assert_int_equal(opts.retval, XDP_TX);
	out.length = opts.data_size_out;
	return out;
}

static struct packet packet_from(int family, const uint32_t addr[4])
{
	struct packet packet = packet_build(
		&(struct packet_spec){.family = (uint8_t)family, .flags = 0x02, .payload = 10});

	if (family == 4) {
		memcpy(packet.bytes + PACKET_L3 + 12, &addr[3], 4);
		packet_fix_ip4(&packet);
	} else {
		memcpy(packet.bytes + PACKET_L3 + 8, addr, 16);
	}
	return packet;
}

/* Byte for byte what the program under test would send to that backend. */
static void check_frame(const struct packet *in, const struct packet *out, const uint8_t *macs,
			uint32_t backend)
{
	struct packet_outer outer = {.src = "192.0.2.254"};
	struct in_addr addr = {.s_addr = htonl(0x0a000000 + backend)};
	char text[INET_ADDRSTRLEN];
	struct packet want;

	outer.dst = inet_ntop(AF_INET, &addr, text, sizeof(text));
	memcpy(outer.dst_mac, macs, 6);
	memcpy(outer.src_mac, macs + 6, 6);
	want = packet_encapsulate(in, &outer);
	edge_expect_bytes("what it is compared with", out, &want);
}

static void check_client(const struct bench_rivals *rivals, int family, const uint32_t addr[4],
			 uint32_t location, uint32_t regions)
{
	static const uint32_t floor_macs[3] = BENCH_FLOOR_MACS;
	struct packet in = packet_from(family, addr), out = sent(rivals, "bench_classical", &in);
	struct gs_hop_value hop = edge_hop_value();
	uint32_t zero = 0, found, backend;
	uint8_t macs[12];

	assert_int_equal(
		bpf_map_lookup_elem(bench_object_map(rivals->object, "bench_found"), &zero, &found),
		0);
	assert_int_equal(found, location);
	memcpy(&backend, out.bytes + PACKET_L3 + 16, sizeof(backend));
	backend = ntohl(backend) & 0xffffff;
	assert_int_equal(backend / BENCH_MEMBERS, location % regions + 1);
	memcpy(macs, hop.dst_mac, 6);
	memcpy(macs + 6, hop.src_mac, 6);
	check_frame(&in, &out, macs, backend);
	out = sent(rivals, "bench_floor", &in);
	check_frame(&in, &out, (const uint8_t *)floor_macs, BENCH_FLOOR_DST & 0xffffff);
}

void bench_rivals_check(const struct bench_rivals *rivals, const struct bench_geo *geo,
			uint32_t regions)
{
	uint64_t seed = 11;
	uint32_t addr[4];

	for (int n = 0; n < CHECKS; n++)
		for (int i = 0; i < 2; i++) {
			bench_geo_draw(&geo->family[i], &seed, addr);
			check_client(rivals, i ? 6 : 4, addr, bench_geo_find(&geo->family[i], addr),
				     regions);
		}
}
