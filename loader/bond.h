/* SPDX-License-Identifier: Apache-2.0 */
/* Bonds and their ports, as far as they decide where a program may be attached. */
#pragma once

#include "loader/nic.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GS_BOND_PORTS_MAX 16
#define GS_BOND_TEXT_MAX 320

/* BOND_MODE_*, an ABI; the header that has it excludes net/if.h. */
enum gs_bond_mode {
	GS_BOND_ROUND_ROBIN,
	GS_BOND_ACTIVE_BACKUP,
	GS_BOND_XOR,
	GS_BOND_BROADCAST,
	GS_BOND_8023AD,
	GS_BOND_TLB,
	GS_BOND_ALB,
	GS_BOND__MODES,
};
#define GS_BOND_POLICY_VLAN_SRCMAC 5u

struct gs_bond_port {
	char name[IF_NAMESIZE];
	char driver[32];
	bool lacks_native;	      /* its driver is known to have no native XDP */
	enum gs_xdp_mode mode;	      /* of a program of its own; NONE: it has none */
	struct gs_program_id program; /* if it has */
};

struct gs_bond {
	char master[IF_NAMESIZE]; /* the bond this interface is a port of; "": of none */
	bool is_bond;		  /* nothing below is meant if it is none */
	uint8_t mode;		  /* enum gs_bond_mode */
	uint8_t policy;		  /* of hashing, xmit_hash_policy */
	uint32_t port_count;
	struct gs_bond_port ports[GS_BOND_PORTS_MAX];
};

/* Why the kernel would not run a native program on a bond. */
enum gs_bond_fault {
	GS_BOND_FINE,
	GS_BOND_BAD_MODE,
	GS_BOND_BAD_POLICY,
	GS_BOND_PORT_PROGRAM, /* a port has one of its own */
	GS_BOND_PORT_DRIVER,
};

/* 0 or -errno, *ret_bond untouched. */
int gs_bond_read(const char *interface, struct gs_bond *ret_bond);

/* Pure. ret_port: which one it is, of the two that are about one. */
enum gs_bond_fault gs_bond_judge(const struct gs_bond *bond, const struct gs_bond_port **ret_port);
/* "" if it is fine. */
void gs_bond_explain(const struct gs_bond *bond, char ret_text[GS_BOND_TEXT_MAX]);
/* As `ip link` has it; "?": unknown. */
const char *gs_bond_mode_name(uint8_t mode);
