/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of the packet path's model: what services and regions let in. A limit is none, one that nobody
 * reaches, or one a second: then one is let through and the next is not. A bucket of the latter
 * kind may be used up from the start. Time plays no part: who has taken a token too long ago finds
 * its bucket used up for good.
 *
 * And stale policies: the heartbeat is an age, old or not.
 */
#pragma once

#include "model_clients.h"

/* Other limits, policies and heartbeat; all buckets full, but some. values: to be filled with what
 * they have to say, by service. */
void model_limits_random(const struct xdp_edge *edge, uint64_t *seed,
			 struct gs_service_value values[EDGE_SERVICES]);
/* Before each packet. */
void model_limits_settle(const struct xdp_edge *edge);

/* GS_REASON__COUNT: nothing is against it. */
enum gs_reason model_stale(enum gs_stale policy, uint32_t after_s);
enum gs_reason model_stale_service(uint32_t service);
/* Of a packet, also of an ICMP error about the client's flow. */
enum gs_reason model_limit_packet(const uint32_t src[4], uint32_t service, bool is_error);
enum gs_reason model_limit_flow(const uint32_t src[4], uint32_t service);
enum gs_reason model_limit_region(uint32_t region, bool is_new);
/* Whether a new flow would be let through to it now; takes no token. */
bool model_region_lets_in(uint32_t region);
