/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts of the attached program as they happen, a sample of them. One sampler an edge at a time;
 * one that dies is forgotten after GS_SAMPLER_LEASE_MS. One thread.
 */
#pragma once

#include "user/core/types.h"

#include <stdbool.h>
#include <stdint.h>

#define GS_SAMPLER_LEASE_MS 3000u

struct gs_sampler;

/* Which verdicts; all zero is "none". */
struct gs_sampler_ask {
	uint64_t reasons; /* gs_sampler_reasons */
	uint32_t every;	  /* one in so many, but drops: those as the packet path limits them */
	gs_id service;	  /* 0: all */
	bool has_src;
	struct gs_prefix src; /* only with has_src: clients */
};

/* Texts live for ever. */
struct gs_sampled {
	int64_t unix_us;
	const char *verdict;  /* "pass", "drop", "tx" */
	const char *reason;   /* a name of GS_REASONS */
	const char *text;     /* of it */
	const char *shape;    /* "whole", "first", "later" (of a fragment), "error", "echo" */
	const char *protocol; /* "tcp", "udp", "icmp"; "-": not known */
	bool has_addresses;
	struct gs_addr src, dst;	  /* of an ICMP error: of the flow it is about */
	uint16_t sport, dport;		  /* host byte order */
	uint8_t tcp_flags;		  /* as in byte 13 of the header */
	uint32_t length;		  /* of the frame as received */
	gs_id service, region, backend;	  /* 0: none */
	uint32_t in_ifindex, out_ifindex; /* 0: none */
};

struct gs_sampler_counts {
	uint64_t sent; /* by the packet path */
	uint64_t lost; /* the ring was full */
	uint64_t held; /* drops beyond their limit */
};

/* "tx_new" is that one reason; "drop", "pass", "tx" all with that verdict. 0: no such name. */
uint64_t gs_sampler_reasons(const char *name);
/* The name of a reason, number 0 on; NULL: no more. */
const char *gs_sampler_reason_name(uint32_t number);

/*
 * Begins. -EBUSY: another one has the edge, *error says which; a dead one's end is waited for.
 * -EPERM without the right to the maps.
 */
int gs_sampler_open(const char *pin_dir, const struct gs_sampler_ask *ask,
		    struct gs_sampler **ret_sampler, struct gs_error *error);
/* Ends. NULL is fine. */
void gs_sampler_close(struct gs_sampler *sampler);

/* Return false: enough for now. */
typedef bool gs_sampler_visit(void *context, const struct gs_sampled *sampled);
/*
 * Hands on what has come since; does not wait. Call it at least every GS_SAMPLER_LEASE_MS / 3: it
 * also renews. -ESTALE: it came too late, and another has taken over or nothing is sampled.
 */
int gs_sampler_read(struct gs_sampler *sampler, gs_sampler_visit *visit, void *context,
		    struct gs_error *error);
/* Since it was opened. */
int gs_sampler_count(const struct gs_sampler *sampler, struct gs_sampler_counts *ret_counts);
