/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells by netlink only: XDP features, a veth's other end, bonds, metrics of a
 * route, filters of tc. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* NETDEV_XDP_ACT_*, an ABI of linux/netdev.h, which Debian 12's headers do not have yet */
#define GS_XDP_FEATURE_BASIC (1u << 0)
#define GS_XDP_FEATURE_NDO_XMIT (1u << 2)

struct gs_netlink_bond {
	uint32_t master; /* the bond it is a port of; 0: of none */
	bool is_bond;
	uint8_t mode;	/* BOND_MODE_* */
	uint8_t policy; /* BOND_XMIT_POLICY_* */
};

struct gs_default_route {
	bool exists;
	uint32_t ifindex; /* of its first way */
	uint32_t mtu;	  /* the route's own; 0: none */
	uint32_t advmss;  /* 0: none */
};

/* 0; -ENOENT: this kernel does not tell (before 6.3); another -errno. */
int gs_netlink_xdp_features(uint32_t ifindex, uint64_t *ret_features);
/* A veth's other end; 0: it is in another network namespace, where numbers mean others. 0 or
 * -errno. */
int gs_netlink_peer(uint32_t ifindex, uint32_t *ret_peer);
int gs_netlink_bond(uint32_t ifindex, struct gs_netlink_bond *ret_bond);
/* Of the main table: the one in force, by its priority. family: AF_INET, AF_INET6. 0 or -errno. */
int gs_netlink_default_route(int family, struct gs_default_route *ret_route);
/* Has its clsact qdisc filters, at either end? 0 or -errno. */
int gs_netlink_has_filters(uint32_t ifindex, bool *ret_has);
