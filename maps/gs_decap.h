/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The backend kit's own contract: what bpf/gs_decap.bpf.c and loader/decap.c agree on. Nothing of
 * it is shared with an edge. Rules as in gs_maps.h.
 *
 * Lists are never changed in place: new ones come with a new program, which takes the old one's
 * place in one step. Counters go on.
 */
#pragma once

#include <linux/types.h>

#define GS_DECAP_VERSION 1u
#define GS_DECAP_PIN_DIR "/sys/fs/bpf/geostream-decap" /* a folder in it for each interface */

/* Names of maps, and of what is pinned in the interface's folder. */
#define GS_DECAP_MAP_EDGES "decap_edges"
#define GS_DECAP_MAP_VIPS "decap_vips"
#define GS_DECAP_MAP_CONF "decap_conf"
#define GS_DECAP_MAP_COUNT "decap_count"
#define GS_DECAP_PROGRAM "gs_decap"
#define GS_DECAP_PROGRAM_MSS "gs_decap_mss"

#define GS_DECAP_MAX_EDGES 1024u
#define GS_DECAP_MAX_VIPS 1024u

/*
 * Every packet that comes in counts one of them. X(name, verdict, text); `verdict` is PASS or DROP.
 */
#define GS_DECAP_REASONS(X)                                                                   \
	X(pass_other, PASS, "neither IPIP nor GUE")                                           \
	X(pass_not_edge, PASS, "a tunnel packet, its sender is none of the edges")            \
	X(pass_transit, PASS, "an edge's tunnel packet for another host")                     \
	X(pass_fragment, PASS, "a piece of an edge's tunnel packet")                          \
	X(pass_options, PASS, "an edge's tunnel packet with IPv4 options")                    \
	X(pass_checksum, PASS, "an edge's GUE packet with a UDP checksum")                    \
	X(pass_ipip4, PASS, "taken out of IPIP over IPv4")                                    \
	X(pass_ipip6, PASS, "taken out of IPIP over IPv6")                                    \
	X(pass_gue4, PASS, "taken out of GUE over IPv4")                                      \
	X(pass_gue6, PASS, "taken out of GUE over IPv6")                                      \
	X(drop_truncated, DROP, "an edge's tunnel packet, cut short")                         \
	X(drop_malformed, DROP, "an edge's, its outer headers or their checksum are wrong")   \
	X(drop_inner, DROP, "inside: not as announced, too long, or headers that do not end") \
	X(drop_nested, DROP, "the packet inside is a tunnel packet itself")                   \
	X(drop_not_vip, DROP, "the packet inside is for none of the VIPs")                    \
	X(drop_congested, DROP, "marked on the way, and the packet inside cannot say so (RFC 6040)")

/* And of what leaves: SYN-ACKs from a VIP. All pass; with --mss off nobody looks. */
#define GS_DECAP_MSS_REASONS(X)                            \
	X(mss_clamped, "a SYN-ACK's MSS made smaller")     \
	X(mss_kept, "a SYN-ACK whose MSS is small enough") \
	X(mss_none, "a SYN-ACK without MSS, or malformed")

#define GS_DECAP_ENUM(name, verdict, text) GS_DECAP_##name,
#define GS_DECAP_MSS_ENUM(name, text) GS_DECAP_##name,
enum gs_decap_reason {
	GS_DECAP_REASONS(GS_DECAP_ENUM) GS_DECAP__VERDICTS,
	GS_DECAP__BEFORE_MSS = GS_DECAP__VERDICTS - 1,
	GS_DECAP_MSS_REASONS(GS_DECAP_MSS_ENUM) GS_DECAP__COUNT
};
#undef GS_DECAP_ENUM
#undef GS_DECAP_MSS_ENUM

/* `decap_count`: one element a CPU; packets, in the order of the enum. */
#define GS_DECAP_MEMBER(name, verdict, text) __u64 name;
#define GS_DECAP_MSS_MEMBER(name, text) __u64 name;
struct gs_decap_counts {
	GS_DECAP_REASONS(GS_DECAP_MEMBER) GS_DECAP_MSS_REASONS(GS_DECAP_MSS_MEMBER)
};
#undef GS_DECAP_MEMBER
#undef GS_DECAP_MSS_MEMBER

/*
 * `decap_edges`, an LPM trie: outer sources. The family goes first, so that ::/0 is of IPv6 only;
 * IPv4 as ::ffff:a.b.c.d. prefix_len counts from the family on: 32 + 96 + 24 for 192.0.2.0/24.
 */
#define GS_DECAP_FAMILY_BITS 32u
struct gs_decap_edge_key {
	__u32 prefix_len;
	__u32 family; /* 4, 6 */
	__be32 addr[4];
};

/* `decap_vips`, a hash: inner destinations. IPv4 as ::ffff:a.b.c.d. */
struct gs_decap_vip_key {
	__be32 addr[4];
};

/* `decap_conf`: one element, written before anything is attached. */
struct gs_decap_conf {
	__u32 version;
	__u16 mss4; /* largest MSS of SYN-ACKs over IPv4; 0: as the server has it */
	__u16 mss6;
	__u32 mss_mode;	  /* how mss4 and mss6 were come to: enum gs_decap_mss of loader/decap.h */
	__u32 has_clsact; /* the egress qdisc was made for this, and goes with it */
};

_Static_assert(sizeof(struct gs_decap_counts) == 8 * GS_DECAP__COUNT, "a counter for each reason");
_Static_assert(sizeof(struct gs_decap_edge_key) == 24, "size of struct gs_decap_edge_key");
_Static_assert(sizeof(struct gs_decap_conf) == 16, "size of struct gs_decap_conf");
