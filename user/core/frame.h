/* SPDX-License-Identifier: Apache-2.0 */
/* A described packet as an Ethernet frame, for trying it out. Pure. */
#pragma once

#include "types.h"

#include <stdint.h>

#define GS_FRAME_MAX 128u

struct gs_frame_spec {
	struct gs_addr src, dst; /* of one family */
	enum gs_protocol protocol;
	uint16_t sport, dport;
	uint8_t tcp_flags; /* as in byte 13 of the header; UDP: 0 */
};

/*
 * Into out, without payload and without checksums (the packet path reads none). The MACs are
 * 02:00:00:00:00:01 to 02:00:00:00:00:02. The frame's bytes, or -EINVAL: two families.
 */
int gs_frame_build(const struct gs_frame_spec *spec, uint8_t out[GS_FRAME_MAX]);
