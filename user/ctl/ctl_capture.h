/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a file that tcpdump -w has written. */
#pragma once

#include <stdint.h>

#define GS_CTL_FRAMES_MAX 1000u

struct gs_ctl_frame {
	uint8_t *bytes;	   /* length of them; behind `captured` they are zeroes */
	uint32_t length;   /* on the wire */
	uint32_t captured; /* of them; at least what was asked for */
};

struct gs_ctl_capture {
	struct gs_ctl_frame *frames;
	uint32_t count;
};

/*
 * All of it, or GS_CTL_FAILED and it is told which file and which packet is wrong, and how. The
 * classic format, either byte order, micro- or nanoseconds; Ethernet; frames of min to max bytes.
 */
int gs_ctl_capture_read(const char *path, uint32_t min, uint32_t max,
			struct gs_ctl_capture *ret_capture);
/* Harmless on a zeroed one. */
void gs_ctl_capture_done(struct gs_ctl_capture *capture);
