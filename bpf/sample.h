/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Step 7, only while somebody looks on: a verdict for the monitor. What is sampled, and how much of
 * it, is described at struct gs_monitor_value.
 */
#pragma once

#include "count.h"
#include "parse.h"
#include "rate.h"

#include "maps/gs_maps.bpf.h"

/* All there is to pay when nobody looks on: a word beside those every packet reads. */
GS_INLINE int gs_is_monitored(void)
{
	const struct gs_meta_value *found;
	__u32 zero = 0;

	found = bpf_map_lookup_elem(&meta, &zero);
	return found && *(const volatile __u64 *)&found->monitor_until_ns != 0;
}

/* 1: still on. The first packet after its end puts the word to 0, unless it was renewed meanwhile:
 * a monitor that was killed costs nobody anything any more. */
GS_INLINE int gs_monitor_is_on(struct gs_meta_value *found, __u64 now)
{
	__u64 until = *(const volatile __u64 *)&found->monitor_until_ns;

	if (now < until)
		return 1;
	__sync_val_compare_and_swap(&found->monitor_until_ns, until, 0);
	return 0;
}

GS_INLINE int gs_monitor_wants(const struct gs_monitor_value *want, const struct gs_packet *packet,
			       __u32 service, __u32 reason)
{
	__be32 differs = 0;

	for (int i = 0; i < 4; i++)
		differs |= (packet->tuple.src[i] & want->src_mask[i]) ^ want->src[i];
	return !differs && want->reasons >> (reason & 63) & 1 &&
	       (!want->service || want->service == service);
}

#define GS_IS_DROP(name, verdict, text) | (__u64)(XDP_##verdict == XDP_DROP) << GS_REASON_##name
#define GS_IS_SENT(name, verdict, text) | (__u64)(XDP_##verdict == XDP_TX) << GS_REASON_##name

GS_INLINE int gs_may_show_drop(struct gs_monitor_count *count)
{
	if (gs_rate_take(&count->drops_until_ns, GS_SAMPLE_DROP_INTERVAL_NS, GS_SAMPLE_DROP_BURST))
		return 1;
	count->held++;
	return 0;
}

/* One in mask + 1, whatever number that is; by chance, so that no rhythm of packets hides. */
GS_INLINE int gs_is_drawn(__u32 mask)
{
	return (__u64)bpf_get_prandom_u32() * ((__u64)mask + 1) >> 32 == 0;
}

GS_INLINE void gs_sample_fill(struct gs_sample *sample, const struct gs_packet *packet,
			      const struct gs_outcome *outcome)
{
	sample->time_ns = bpf_ktime_get_ns();
	for (int i = 0; i < 4; i++) {
		sample->src[i] = packet->tuple.src[i];
		sample->dst[i] = packet->tuple.dst[i];
	}
	sample->src_port = packet->tuple.src_port;
	sample->dst_port = packet->tuple.dst_port;
	sample->protocol = packet->tuple.protocol;
	sample->family = packet->family;
	sample->shape = packet->shape;
	sample->tcp_flags = packet->tcp_flags;
	sample->length = packet->frame_bytes > 0xffff ? 0xffff : (__u16)packet->frame_bytes;
	sample->service = (__u16)outcome->service;
	sample->region = (__u8)outcome->region;
	sample->backend = (__u16)outcome->backend;
}

/*
 * The verdict into the ring, if it is asked for. Nobody is woken: the reader comes by itself, so
 * that a flood is not a flood of interrupts as well. A function of its own for the verifier, which
 * goes through it once. 0.
 */
__attribute__((noinline)) int gs_sample(const struct gs_packet *packet,
					const struct gs_outcome *outcome, __u32 reason,
					__u32 in_ifindex)
{
	struct gs_monitor_value *want;
	struct gs_monitor_count *count;
	struct gs_meta_value *found;
	struct gs_sample *sample;
	__u64 now = bpf_ktime_get_coarse_ns();
	__u32 zero = 0;

	if (!packet || !outcome)
		return 0;
	found = bpf_map_lookup_elem(&meta, &zero);
	want = bpf_map_lookup_elem(&monitor, &zero);
	count = bpf_map_lookup_elem(&monitor_cpu, &zero);
	if (!found || !want || !count || !gs_monitor_is_on(found, now) ||
	    !gs_monitor_wants(want, packet, outcome->service, reason))
		return 0;
	if ((0 GS_REASONS(GS_IS_DROP)) >> (reason & 63) & 1) {
		if (!gs_may_show_drop(count))
			return 0;
	} else if (!gs_is_drawn(found->monitor_mask)) {
		return 0;
	}
	/* The ring has one lock for all CPUs: a full one is asked once a tick and CPU. */
	sample = NULL;
	if (count->full_ns != now)
		sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	if (!sample) {
		count->full_ns = now;
		count->lost++;
		return 0;
	}
	gs_sample_fill(sample, packet, outcome);
	sample->reason = (__u8)reason;
	sample->in_ifindex = in_ifindex;
	sample->out_ifindex = 0;
	if ((0 GS_REASONS(GS_IS_SENT)) >> (reason & 63) & 1)
		sample->out_ifindex = outcome->ifindex ? outcome->ifindex : in_ifindex;
	bpf_ringbuf_submit(sample, BPF_RB_NO_WAKEUP);
	count->sent++;
	return 0;
}
