/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to send through the packet path, from what a test cares about; the rest has defaults
 * (documentation addresses of RFC 5737 and RFC 3849). Valid in every field, checksums included,
 * until a test changes a byte.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { PACKET_MAX = 3072, PACKET_L3 = 14 };

struct packet {
	uint8_t bytes[PACKET_MAX];
	uint32_t length;
	uint32_t l4;	  /* offset of the transport header */
	uint8_t protocol; /* which one that is */
};

struct packet_spec {
	uint8_t family;		/* 4, 6; 0: 4 */
	const char *src;	/* NULL: 192.0.2.1, 2001:db8:1::1 */
	const char *dst;	/* NULL: 198.51.100.10, 2001:db8:100::10 */
	uint8_t protocol;	/* 0: TCP */
	uint16_t sport;		/* 0: 40000 */
	uint16_t dport;		/* 0: 80 */
	uint8_t flags;		/* of TCP; 0: ACK */
	uint8_t ds;		/* DS field and ECN */
	uint8_t ip_options;	/* IPv4: bytes of options, a multiple of 4 up to 40 */
	uint16_t fragment;	/* IPv4: flags and offset */
	const char *extensions; /* IPv6, a letter each: hop by hop, routing, dest-options, auth:
				   h r d a; first, later, only ("atomic") fragment: f l o;
				   NULL: none */
	uint16_t payload;	/* bytes behind the transport header */
	uint16_t padding;	/* bytes behind the IP packet */
	uint16_t ethertype;	/* 0: the family's */
};

struct packet packet_build(const struct packet_spec *spec);

/* One row of a table of packets is being sent and judged: tests/run.sh tells how many there were.
 */
void packet_case(void);

/* A table's row was sent and judged: tests/run.sh tells how many were, by what this prints at exit.
 */
void packet_case_done(void);

/* The same frame with these VLAN tags (protocol << 16 | TCI), the outer one first. */
struct packet packet_tag(const struct packet *packet, const uint32_t *tags, uint32_t count);

/* What an outer header says besides what it takes from the packet inside. */
struct packet_outer {
	uint8_t dst_mac[6];
	uint8_t src_mac[6];
	const char *src; /* of the outer family */
	const char *dst;
};

/* The frame an edge must send for `inner`, by RFC 2003 and RFC 2473 and not by the code under test.
 */
struct packet packet_encapsulate(const struct packet *inner, const struct packet_outer *outer);

/* The same by GUE variant 1: a UDP header from this port to 6080 between them, without checksum. */
struct packet packet_gue(const struct packet *inner, const struct packet_outer *outer,
			 uint16_t sport);

/* An ICMP message to `dst` from `src` (of one family) with these bytes behind its 8-byte header. */
struct packet_icmp {
	const char *src, *dst;
	uint8_t type, code;
	uint32_t rest; /* of the header: identifier and sequence, or the MTU */
	const uint8_t *bytes;
	uint32_t length;
	uint8_t ds;
	uint8_t ttl; /* 0: 57 */
	uint16_t ip_options;
};
struct packet packet_icmp(const struct packet_icmp *icmp);

/* ---- NAT, by RFC 3022 and RFC 5508, with all checksums computed anew ---- */

struct packet_ends {
	const char *src, *dst; /* of the packet's family */
	uint16_t sport, dport;
	const uint8_t *dst_mac, *src_mac; /* 6 bytes each */
};
/* The frame a translating router must send for `in`: the hop limit one less. */
struct packet packet_translate(const struct packet *in, const struct packet_ends *to);
/* The same of what has no ports: a later fragment. */
struct packet packet_readdress(const struct packet *in, const struct packet_ends *to);
/* The same of an ICMP error that quotes the beginning of `quoted` (which went the other way). */
struct packet packet_translate_error(const struct packet *in, const struct packet *quoted,
				     const struct packet_ends *to);
/* A fragment's id with these bits of it turned (of IPv4 the low 16, as they are in memory). */
void packet_turn_id(struct packet *packet, uint32_t bits);
/* The checksum of TCP, UDP or ICMP, over all there is of the packet; UDP's 0 stays. */
void packet_fix_l4(struct packet *packet);

/* Addresses, ports and MACs the other way round: what is sent in answer. No checksum changes. */
struct packet packet_reverse(const struct packet *packet);

/* As map keys have it: IPv4 as ::ffff:a.b.c.d. Aborts if it is no address. */
void packet_addr(const char *text, uint8_t ret_addr[16]);
/* Of an address as above: none that a client can have, by RFC 1122, 3.2.1.3 and RFC 4291, 2.4. */
bool packet_is_martian(const uint8_t addr[16]);
/* RFC 1071; 0xffff less the sum, big endian value. */
uint16_t packet_checksum(const uint8_t *bytes, uint32_t length);
void packet_put16(uint8_t *at, uint16_t value);
uint16_t packet_get16(const uint8_t *at);
/* Sets an IPv4 header's checksum right again. */
void packet_fix_ip4(struct packet *packet);
