/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables of packets, one a row, and what must become of each in the world of xdp_edge.h: test_xdp.c
 * asks whether it does, tests/bench/bench_cases.c how long it takes.
 */
#pragma once

#include "maps/gs_maps.h"
#include "packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Another value for a byte of the IP header, counted from its first, or, from PACKET_CASE_L4 on, of
 * the transport header. No checksum changes. */
enum { PACKET_CASE_L4 = 100 };
struct packet_patch {
	uint8_t at;
	uint8_t value;
	bool used;
};

struct packet_case {
	const char *name;
	struct packet_spec spec;
	struct packet_patch patch[3];
	enum gs_reason want; /* of the first packet of a flow */
	uint32_t service;    /* whose counter moves */
};

/* Of a packet_spec: where it goes. */
#define VIP_ANY .dst = "198.51.100.11"
#define VIP_TCP6 .family = 6, .dst = "2001:db8:100::12"
#define NOT_OURS4 .dst = "198.51.100.99"
#define NOT_OURS6 .family = 6, .dst = "2001:db8:100::99"
#define UDP_DNS .protocol = IPPROTO_UDP, .dport = 53

/* For a service, and sent on by IPIP. */
extern const struct packet_case packet_cases_forwarded[];
extern const size_t packet_cases_forwarded_count;
/* Passed or dropped. */
extern const struct packet_case packet_cases_refused[];
extern const size_t packet_cases_refused_count;

struct packet packet_case_build(const struct packet_case *packet_case);
