/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the driver program and the program that runs it share. */
#pragma once

#include <linux/types.h>

#define BENCH_TARGETS 16
#define BENCH_FRAME_MAX 192
#define BENCH_NO_LAPS 63 /* as lap_shift: ports stay */

struct bench_conf {
	__u64 next; /* flow of the next packet, counts up */
	__u32 mask; /* flows - 1 */
	__u32 target;
	__u32 lap_shift; /* next >> lap_shift changes ports: in each lap all flows are new */
	__u32 bytes;	 /* of the frame, where the driver does not know */
	__u8 flags;	 /* TCP */
	__u8 _pad[7];
	__u8 frame[BENCH_FRAME_MAX]; /* the template */
};

struct bench_flow4 {
	__be32 src;
	__be16 src_port;
	__u8 flags;  /* TCP; 0: those of bench_conf */
	__u8 is_udp; /* to port 53 */
};

struct bench_flow6 {
	__be32 src[4];
	__be16 src_port;
	__u8 flags; /* TCP; 0: those of bench_conf */
	__u8 _pad[5];
};

/* Frames of the template: Ethernet, IP, TCP, 10 bytes. */
#define BENCH_FRAME4 (14 + 20 + 20 + 10)
#define BENCH_FRAME6 (14 + 40 + 20 + 10)

/* ICMP errors: Ethernet, IP, ICMP, and of the packet quoted IP and eight bytes. */
#define BENCH_ERROR4 (14 + 20 + 8 + 20 + 8)
#define BENCH_ERROR6 (14 + 40 + 8 + 40 + 8)

/* ---- the floor's outer header: MACs as they are on the wire, in a PC's byte order -------------*/

#define BENCH_FLOOR_MACS                           \
	{                                          \
		0x00000002, 0x0002aa00, 0xbb000000 \
	}
#define BENCH_FLOOR_SRC 0xc00002feu /* 192.0.2.254 */
#define BENCH_FLOOR_DST 0x0a000001u /* 10.0.0.1 */

/* ---- the classical variant -------------------------------------------------------------------*/

#define BENCH_MEMBERS 16u    /* backends of a region; backend = region * members + member */
#define BENCH_BACKENDS 4096u /* room for so many */
#define BENCH_COUNT_KNOWN 0u /* indexes of what it counts */
#define BENCH_COUNT_NEW 1u
#define BENCH_COUNTS 2u

/* ---- look-ups alone --------------------------------------------------------------------------*/

#define BENCH_BURST 256u /* look-ups of one run */

struct bench_address {
	__be32 addr[4]; /* as in struct gs_service_key */
};

struct bench_lookup {
	__u64 next; /* address of the next look-up, counts up */
	__u64 sum;  /* of the locations found */
	__u32 mask; /* addresses - 1 */
	__u32 _pad;
};
