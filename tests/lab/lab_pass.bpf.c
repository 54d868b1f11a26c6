// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Passes everything. For the internet's end of the edge's link: what XDP_TX sends over a veth is
 * queued at the other end, and that end is only woken at once if it has an XDP program too. With
 * GRO alone the frames wait there until some other packet comes along.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int lab_pass(struct xdp_md *context)
{
	(void)context;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
