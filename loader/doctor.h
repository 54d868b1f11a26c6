/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would keep this machine from being a good edge, or a good backend: facts in, findings out.
 * The judging is pure (no I/O, clock, allocation); doctor_facts.h gathers.
 */
#pragma once

#include "loader/bond.h"
#include "loader/decap.h"
#include "loader/nic.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define GS_DOCTOR_VIPS_MAX 16
#define GS_DOCTOR_EDGES_MAX 64
#define GS_DOCTOR_TUNNELS_MAX 16
#define GS_DOCTOR_FINDINGS_MAX 96
#define GS_DOCTOR_PATH_MAX 512

/* What could not be found out is never taken for a no. */
enum gs_fact {
	GS_FACT_UNKNOWN,
	GS_FACT_NO,
	GS_FACT_YES,
};

/* How edges send to a backend. */
enum gs_doctor_forward {
	GS_DOCTOR_NOT_TOLD, /* taken for IPIP */
	GS_DOCTOR_IPIP,
	GS_DOCTOR_GUE,
	GS_DOCTOR_L2,
	GS_DOCTOR_NAT,
	GS_DOCTOR__FORWARDS,
};

/* An offload, as `ethtool -k` shows it. */
struct gs_doctor_offload {
	enum gs_fact is_on;
	bool is_fixed; /* it cannot be switched */
};

enum gs_tunnel_kind {
	GS_TUNNEL_IPIP, /* ipip: IPv4 in IPv4 */
	GS_TUNNEL_SIT,	/* sit: IPv6 in IPv4 */
	GS_TUNNEL_IP6,	/* ip6tnl: what is inside is told by `protocol` */
	GS_TUNNEL__COUNT,
};

struct gs_doctor_tunnel {
	char name[IF_NAMESIZE];
	enum gs_tunnel_kind kind;
	bool is_up;
	int protocol;  /* what it takes out: IPPROTO_IPIP, IPPROTO_IPV6, 0 any; -1 unknown */
	int rp_filter; /* its own; -1 unknown */
};

struct gs_doctor_vip {
	char text[INET6_ADDRSTRLEN];
	int family;		  /* AF_INET, AF_INET6 */
	char device[IF_NAMESIZE]; /* that has it; "": none */
	uint32_t prefix;
	bool is_on_wire; /* that device answers for it on a network: neither lo, dummy nor tunnel */
	bool is_up;	 /* that device */
};

/* The default route of one family. */
struct gs_doctor_route {
	enum gs_fact exists;
	uint32_t device_mtu;
	uint32_t mtu;	 /* the route's own; 0: none */
	uint32_t advmss; /* 0: none */
};

/* Numbers and words that are not known: -1, 0, "". */
struct gs_doctor_facts {
	char interface[IF_NAMESIZE];
	bool is_backend;

	/* the machine */
	uint32_t kernel_major, kernel_minor;
	uint32_t page_bytes;
	uint32_t cpus;
	enum gs_fact has_cap_bpf, has_cap_net_admin, has_cap_perfmon;
	enum gs_fact has_btf;
	enum gs_fact has_bpffs;
	bool is_mount_private; /* a bpffs mounted here would vanish with the command */
	uint64_t memlock_bytes;
	int rp_filter_all, arp_ignore_all, arp_announce_all, accept_local_all;
	int forwarding6; /* of all: IPv6 has no other */

	/* the interface; nothing below is meant unless it exists */
	bool exists;
	bool is_up;
	bool has_carrier;
	bool is_ethernet;
	char driver[32];
	uint32_t mtu;
	enum gs_fact xdp_native;       /* as the kernel says (6.3 and newer) */
	enum gs_fact xdp_redirect_out; /* ndo_xdp_xmit, now */
	struct gs_doctor_offload lro, gro_hw, rx_vlan, tx_checksum;
	char peer[IF_NAMESIZE]; /* veth: the other end, if it is in this network namespace */
	uint32_t peer_mtu;
	struct gs_doctor_offload peer_tx_checksum;
	struct gs_bond bond;
	uint32_t rx_queues, rx_queues_max;
	bool are_queues_combined; /* `ethtool -L` wants the word combined, not rx */
	int rp_filter, forwarding4, arp_ignore, arp_announce, accept_local;
	int disable_ipv6, lo_disable_ipv6;
	enum gs_fact is_attached; /* NO: not ours and not another's either; see nic */
	struct gs_nic nic;

	/* a backend */
	enum gs_doctor_forward forward;
	char decap_object[GS_DOCTOR_PATH_MAX]; /* gs_decap.bpf.o */
	struct gs_decap_status decap;	       /* the kit, as far as its pins may be read */
	uint32_t edge_count;		       /* that should be believed */
	struct gs_decap_edge_key edges[GS_DOCTOR_EDGES_MAX];
	uint32_t vip_count;
	struct gs_doctor_vip vips[GS_DOCTOR_VIPS_MAX];
	uint32_t tunnel_count;
	struct gs_doctor_tunnel tunnels[GS_DOCTOR_TUNNELS_MAX];
	struct gs_doctor_route route4, route6;
};

enum gs_level {
	GS_LEVEL_OK,
	GS_LEVEL_WARN,
	GS_LEVEL_BAD,
	GS_LEVEL__COUNT,
};

struct gs_finding {
	enum gs_level level;
	const char *check; /* one word */
	char text[256];
	char remedy[640]; /* a command to paste; "": nothing to do, or nothing a command does */
};

struct gs_findings {
	uint32_t count;
	struct gs_finding list[GS_DOCTOR_FINDINGS_MAX];
};

const char *gs_level_name(enum gs_level level);
/* -EINVAL: none of ipip, gue, l2, nat. */
int gs_doctor_parse_forward(const char *word, enum gs_doctor_forward *ret_forward);
/* In the order of the table of checks. */
void gs_doctor_judge(const struct gs_doctor_facts *facts, struct gs_findings *ret_findings);
/* GS_FACT_UNKNOWN for drivers this program has never heard of. */
enum gs_fact gs_doctor_driver_has_xdp(const char *driver);
uint32_t gs_doctor_count(const struct gs_findings *findings, enum gs_level level);
