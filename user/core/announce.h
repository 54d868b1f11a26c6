/* SPDX-License-Identifier: Apache-2.0 */
/* "This address is mine now": the frames that tell a link so. Pure. */
#pragma once

#include "types.h"

#include <stdint.h>

enum { GS_ANNOUNCE_BYTES = 86 };

/*
 * For an IPv4 address an ARP announcement (RFC 5227, 2.3), for an IPv6 one an unsolicited neighbour
 * advertisement with the override flag (RFC 4861, 7.2.6), to everybody on the link. Returns the
 * frame's length, padding not included.
 */
uint32_t gs_announce_frame(const struct gs_addr *vip, const uint8_t mac[6],
			   uint8_t ret_frame[GS_ANNOUNCE_BYTES]);
