/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of the packet path's model: who clients are, where they are and whether they may come in, by
 * lists that are gone through from end to end. Addresses as in struct gs_service_key.
 */
#pragma once

#include "xdp_edge.h"

#include <stdbool.h>
#include <stdint.h>

enum model_access { MODEL_UNSPOKEN, MODEL_ALLOWED, MODEL_DENIED };

/* Of the edge's slot 0, in force, whose tries it changes from now on. */
void model_clients_open(const struct xdp_edge *edge);
void model_clients_close(void);
/* An address somewhere in the world of xdp_edge.h, as text; also in 6to4 and NAT64. */
void model_clients_draw(uint64_t *seed, uint8_t family, char ret_src[64]);
/* Other overrides and other access rules, often none. */
void model_clients_random(const struct xdp_edge *edge, uint64_t *seed);

uint32_t model_location(const uint32_t src[4]);
/* service: not 0 */
enum model_access model_access(const uint32_t src[4], uint32_t service);
/* The address clients count by: their own, or the IPv4 one inside it. */
void model_client_inside(const uint32_t src[4], uint8_t ret_addr[16]);
/* Host bits off: the first `length` of 128 stay. */
void model_prefix(uint8_t addr[16], uint32_t length);
