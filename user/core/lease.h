/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a half-open breaker's trial: each is lent for a while. Pure.
 *
 * With direct return the edge sees the client's half of a handshake only, and anybody can send
 * that: one that is completed is some evidence, one that is not is none. With NAT the backend's own
 * answer comes by, which no client can make up: one that it does not give is a failure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GS_LEASE_MS = 3000 }; /* a SYN, and two more of it a second and two later */

enum gs_lease_fate {
	GS_LEASE_OPEN,	   /* nothing has come of it yet */
	GS_LEASE_DONE,	   /* completed */
	GS_LEASE_FAILED,   /* NAT: the backend has not answered in time */
	GS_LEASE_RETURNED, /* out of time, and it says nothing */
	GS_LEASE_STALE,	   /* of another epoch: whatever came of it, it is too late */
};

struct gs_lease_facts {
	bool is_current; /* of the pool's epoch */
	bool is_nat;
	bool is_answered; /* NAT: by the backend */
	bool is_proven;	  /* by an ACK in the client's name */
	uint32_t age_ms;
};

enum gs_lease_fate gs_lease_judge(const struct gs_lease_facts *facts);
/* Those whose time is over are given back: somebody else may try. */
bool gs_lease_gives_back(enum gs_lease_fate fate);
