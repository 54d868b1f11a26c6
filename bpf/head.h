/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The head of a frame that leaves: MACs, VLAN tags and type. It may be longer or shorter than the
 * one that came, so that everything behind it is at an offset only known at run time.
 */
#pragma once

#include "parse.h"

#include "maps/gs_maps.bpf.h"

struct gs_head {
	__u32 mac[3];		/* destination and source, as on the wire */
	__u32 tag[GS_TAGS_MAX]; /* as on the wire */
	__u32 tag_bytes;	/* so much of them is there */
};

/* No IP packet is so short that a frame with it is shorter. */
#define GS_HEAD_MAX (ETH_HLEN + GS_TAGS_MAX * sizeof(struct gs_tag))

/* Back to whoever sent the packet, in its VLAN. 0; -1: the frame has no head after all. */
GS_INLINE int gs_head_back(const struct xdp_md *ctx, const struct gs_packet *packet,
			   struct gs_head *ret_head)
{
	const gs_wire16 *frame = (const gs_wire16 *)(long)ctx->data;
	gs_wire16 *mac = (gs_wire16 *)ret_head->mac;

	if ((const void *)(frame + GS_HEAD_MAX / 2) > (const void *)(long)ctx->data_end)
		return -1;
	for (int i = 0; i < 6; i++)
		mac[i] = frame[(i + 3) % 6];
	ret_head->tag[0] = ((const gs_wire32 *)frame)[3];
	ret_head->tag[1] = ((const gs_wire32 *)frame)[4];
	ret_head->tag_bytes = packet->tag_bytes;
	return 0;
}

/* Where the IP header goes, with `more` bytes of room there (a constant); NULL: the frame ends. */
GS_INLINE __u8 *gs_head_write(const struct xdp_md *ctx, const struct gs_head *head, __u16 type,
			      __u32 more)
{
	__u8 *frame = (__u8 *)(long)ctx->data, *ip;

	if ((void *)(frame + GS_HEAD_MAX) > (void *)(long)ctx->data_end)
		return NULL;
	*(gs_wire32 *)frame = head->mac[0];
	*(gs_wire32 *)(frame + 4) = head->mac[1];
	*(gs_wire32 *)(frame + 8) = head->mac[2];
	if (head->tag_bytes) {
		*(gs_wire32 *)(frame + 12) = head->tag[0];
		if (head->tag_bytes > sizeof(struct gs_tag))
			*(gs_wire32 *)(frame + 16) = head->tag[1];
	}
	ip = frame + ETH_HLEN + (head->tag_bytes & GS_TAG_BYTES_MASK);
	if ((void *)(ip + more) > (void *)(long)ctx->data_end)
		return NULL;
	*(gs_wire16 *)(ip - 2) = GS_BE16(type);
	return ip;
}

/* Makes room for `outer` bytes behind the new head, which takes the place of the old one. */
GS_INLINE int gs_head_room(struct xdp_md *ctx, const struct gs_packet *packet,
			   const struct gs_head *head, __u32 outer)
{
	int grows = (int)(outer + head->tag_bytes - packet->tag_bytes);

	return grows ? (int)bpf_xdp_adjust_head(ctx, -grows) : 0;
}
