/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways a packet can go besides the one bench_xdp.c measures at many flow counts: forward modes
 * and outer families, NAT there and back, fragments, ICMP errors, with a monitor looking on, and
 * whole connections whose handshakes are timed. 1,024 flows: a hot cache, where a few instructions
 * more show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"
#include "gs_bench.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FLOWS = 1024,
	STEPS = 4,    /* packets of a connection: SYN, ACK, ACK, FIN */
	CHUNK = 12288 /* fits the rings of samples and events; whole laps of connections */
};

/* LIMITED: under limits that nobody meets. CLAIM: SYNs of flows there never were. REPLY: of NAT's
 * backends. CONNECTION: new each time. */
enum kind { WHOLE, LIMITED, CLAIM, FIRST, LATER, ERROR, REPLY, CONNECTION };

/* outer 4, 6; 0: the packet's own family (L2, NAT). every: a monitor shows one packet in so many,
 * or of CONNECTION one handshake in so many is timed. */
static const struct mode {
	const char *name;
	uint8_t mode, outer;
	enum kind kind;
	bool is_new;
	uint32_t every;
	enum gs_reason reason;
} modes[] = {
	{"established_ipip_in4", GS_FORWARD_IPIP, 4, WHOLE, false, 0, GS_REASON_tx_flow},
	{"established_ipip_in6", GS_FORWARD_IPIP, 6, WHOLE, false, 0, GS_REASON_tx_flow},
	{"established_gue_in4", GS_FORWARD_GUE, 4, WHOLE, false, 0, GS_REASON_tx_flow},
	{"established_gue_in6", GS_FORWARD_GUE, 6, WHOLE, false, 0, GS_REASON_tx_flow},
	{"established_l2", GS_FORWARD_L2, 0, WHOLE, false, 0, GS_REASON_tx_flow},
	{"established_nat", GS_FORWARD_NAT, 0, WHOLE, false, 0, GS_REASON_tx_flow},
	{"established_nat_reply", GS_FORWARD_NAT, 0, REPLY, false, 0, GS_REASON_tx_nat_reply},
	{"new_ipip_in4", GS_FORWARD_IPIP, 4, WHOLE, true, 0, GS_REASON_tx_new},
	{"new_ipip_in6", GS_FORWARD_IPIP, 6, WHOLE, true, 0, GS_REASON_tx_new},
	{"new_gue_in4", GS_FORWARD_GUE, 4, WHOLE, true, 0, GS_REASON_tx_new},
	{"new_gue_in6", GS_FORWARD_GUE, 6, WHOLE, true, 0, GS_REASON_tx_new},
	{"new_l2", GS_FORWARD_L2, 0, WHOLE, true, 0, GS_REASON_tx_new},
	{"new_nat", GS_FORWARD_NAT, 0, WHOLE, true, 0, GS_REASON_tx_new},
	{"new_nat_claim", GS_FORWARD_NAT, 0, CLAIM, true, 0, GS_REASON_tx_new},
	{"established_limited", GS_FORWARD_IPIP, 4, LIMITED, false, 0, GS_REASON_tx_flow},
	{"new_limited", GS_FORWARD_IPIP, 4, LIMITED, true, 0, GS_REASON_tx_new},
	{"fragment_first", GS_FORWARD_IPIP, 4, FIRST, false, 0, GS_REASON_tx_flow},
	{"fragment_later", GS_FORWARD_IPIP, 4, LATER, false, 0, GS_REASON_tx_fragment},
	{"icmp_error", GS_FORWARD_IPIP, 4, ERROR, false, 0, GS_REASON_tx_icmp},
	{"monitor_off", GS_FORWARD_IPIP, 4, WHOLE, false, 0, GS_REASON_tx_flow},
	{"monitor_1_in_1024", GS_FORWARD_IPIP, 4, WHOLE, false, 1024, GS_REASON_tx_flow},
	{"monitor_1_in_1", GS_FORWARD_IPIP, 4, WHOLE, false, 1, GS_REASON_tx_flow},
	{"handshake_off", GS_FORWARD_IPIP, 4, CONNECTION, true, 0, GS_REASON_tx_flow},
	{"handshake_1_in_1024", GS_FORWARD_IPIP, 4, CONNECTION, true, 1024, GS_REASON_tx_flow},
	{"handshake_1_in_1", GS_FORWARD_IPIP, 4, CONNECTION, true, 1, GS_REASON_tx_flow},
};
enum { MODES = sizeof(modes) / sizeof(modes[0]) };

struct measured {
	struct bench_sample ns, drop;
	double share;
};

/* ---- frames ---------------------------------------------------------------------------------- */

static struct packet whole_frame(int family)
{
	return packet_build(&(struct packet_spec){.family = (uint8_t)family, .payload = 10});
}

/* As long as a whole one, so that the driver need not know. */
static struct packet fragment_frame(int family, bool is_first)
{
	struct packet_spec spec = {.family = (uint8_t)family, .payload = 10};

	if (family == 6) {
		spec.payload = 2;
		spec.extensions = is_first ? "f" : "l";
	} else {
		spec.fragment = is_first ? 0x2000 : 0x00b9;
	}
	return packet_build(&spec);
}

static struct packet error_frame(int family)
{
	struct packet client = whole_frame(family), answer = packet_reverse(&client);

	return packet_icmp(&(struct packet_icmp){
		.src = family == 6 ? "2001:db8:2::77" : "203.0.113.77",
		.dst = family == 6 ? "2001:db8:100::10" : "198.51.100.10",
		.type = family == 6 ? 2 : 3,
		.code = family == 6 ? 0 : 4,
		.rest = 1400,
		.bytes = answer.bytes + PACKET_L3,
		.length = family == 6 ? 48 : 28,
	});
}

static struct packet reply_frame(int family)
{
	return packet_build(&(struct packet_spec){
		.family = (uint8_t)family,
		.dst = family == 6 ? "2001:db8:e::1" : "192.0.2.254", /* edge_hop_value */
		.sport = 80,
		.payload = 10,
	});
}

static struct packet frame_of(enum kind kind, int family)
{
	if (kind == ERROR)
		return error_frame(family);
	if (kind == REPLY)
		return reply_frame(family);
	return kind == FIRST || kind == LATER ? fragment_frame(family, kind == FIRST)
					      : whole_frame(family);
}

static const char *driver_of(enum kind kind, int family)
{
	if (kind == ERROR)
		return family == 6 ? "bench_drive6_error" : "bench_drive4_error";
	if (kind == REPLY)
		return family == 6 ? "bench_drive6_reply" : "bench_drive4_reply";
	return (kind == FIRST || kind == LATER) && family == 6 ? "bench_drive6_fragment" : NULL;
}

/* ---- a monitor ------------------------------------------------------------------------------- */

static int throw_away(void *context, void *data, size_t size)
{
	(void)context;
	(void)data;
	(void)size;
	return 0;
}

static void set_monitor(const struct xdp_edge *edge, uint32_t every)
{
	const struct gs_monitor_value all = {.reasons = ~0ull};
	struct gs_meta_value meta = xdp_edge_meta(edge);
	uint32_t zero = 0;

	xdp_edge_set(edge, GS_MAP_MONITOR, &zero, &all);
	meta.monitor_until_ns = every ? ~0ull : 0;
	meta.monitor_mask = every ? every - 1 : 0;
	xdp_edge_set_meta(edge, &meta);
}

static void set_handshakes(const struct xdp_edge *edge, uint32_t one_in)
{
	struct gs_meta_value meta = xdp_edge_meta(edge);

	meta.handshake_one_in = one_in;
	xdp_edge_set_meta(edge, &meta);
}

/* In pieces that fit the rings, which are read between them: ns a packet. */
static uint32_t run_watched(struct bench *bench, const struct xdp_edge *edge, struct run *r)
{
	struct ring_buffer *ring =
		ring_buffer__new(xdp_edge_map(edge, GS_MAP_SAMPLES), throw_away, NULL, NULL);
	uint32_t packets = r->packets, chunks = (packets + CHUNK - 1) / CHUNK;
	uint64_t ns = 0;

	assert_non_null(ring);
	assert_int_equal(
		ring_buffer__add(ring, xdp_edge_map(edge, GS_MAP_EVENTS), throw_away, NULL), 0);
	r->packets = CHUNK;
	for (uint32_t i = 0; i < chunks; i++) {
		ns += bench_run(bench, r);
		ring_buffer__consume(ring);
	}
	ring_buffer__free(ring);
	r->packets = packets;
	return (uint32_t)(ns / chunks);
}

/* ---- flows of a kind of their own ------------------------------------------------------------ */

static struct bench_flow4 kept4[STEPS * FLOWS];
static struct bench_flow6 kept6[STEPS * FLOWS];

static void keep_flows(const struct bench *bench)
{
	memcpy(kept4, bench->flows4, sizeof(kept4));
	memcpy(kept6, bench->flows6, sizeof(kept6));
}

static void give_flows_back(const struct bench *bench)
{
	memcpy(bench->flows4, kept4, sizeof(kept4));
	memcpy(bench->flows6, kept6, sizeof(kept6));
}

/* All SYNs, then all ACKs: between the two of a flow is more than a microsecond. */
static void make_connections(const struct bench *bench)
{
	static const uint8_t steps[STEPS] = {0x02, 0x10, 0x10, 0x11};

	for (uint32_t i = 0; i < STEPS * FLOWS; i++) {
		bench->flows4[i] = kept4[i % FLOWS];
		bench->flows4[i].flags = steps[i / FLOWS];
		bench->flows6[i] = kept6[i % FLOWS];
		bench->flows6[i].flags = steps[i / FLOWS];
	}
}

/* Of the i-th flow as the driver sends it. */
static struct packet packet_of(int family, uint32_t i)
{
	struct packet packet = whole_frame(family);
	uint8_t *ip = packet.bytes + PACKET_L3;

	if (family == 6)
		memcpy(ip + 8, kept6[i].src, 16);
	else
		memcpy(ip + 12, &kept4[i].src, 4);
	memcpy(packet.bytes + packet.l4, family == 6 ? &kept6[i].src_port : &kept4[i].src_port, 2);
	return packet;
}

/* What backends reply to: each flow is sent once, and where it went is where its replies are from.
 */
static void make_replies(const struct bench *bench, const struct xdp_edge *edge, int family)
{
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct packet in = packet_of(family, i), out;
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in.bytes, .data_size_in = in.length,
			    .data_out = out.bytes, .data_size_out = sizeof(out.bytes), .repeat = 1);
		const uint8_t *ip = out.bytes + PACKET_L3;

		assert_int_equal(bpf_prog_test_run_opts(edge->prog_fd, &opts), 0);
		assert_int_equal(opts.retval, XDP_TX);
		if (family == 6) {
			memcpy(bench->flows6[i].src, ip + 24, 16);
			memcpy(&bench->flows6[i].src_port, out.bytes + in.l4, 2);
		} else {
			memcpy(&bench->flows4[i].src, ip + 16, 4);
			memcpy(&bench->flows4[i].src_port, out.bytes + in.l4, 2);
		}
	}
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Later fragments find what first ones left, for two seconds. */
static void remember_fragments(struct bench *bench, int family)
{
	struct packet first = fragment_frame(family, true);
	const struct run r = {.driver = driver_of(FIRST, family),
			      .frame = &first,
			      .family = family,
			      .flows = FLOWS,
			      .row = ROW_ESTABLISHED,
			      .flags = 0x10,
			      .packets = FLOWS};

	bench_run(bench, &r);
}

static void prepare(struct bench *bench, int family, const struct mode *mode)
{
	bench_put_services(&bench->edge[mode->is_new], mode->kind == LIMITED);
	if (mode->kind == LATER)
		remember_fragments(bench, family);
	if (mode->kind == CONNECTION || mode->kind == CLAIM)
		bench_open_edge(bench, ROW_NEW, FLOWS); /* an empty table: all find room */
	if (mode->kind == CONNECTION)
		make_connections(bench);
	if (mode->kind == REPLY)
		make_replies(bench, &bench->edge[0], family);
}

/* Of so many packets, what is to be of the row's reason: all of a connection but its SYN. */
static uint32_t expected(const struct mode *mode, uint32_t packets)
{
	return mode->kind == CONNECTION ? packets / STEPS * (STEPS - 1) : packets;
}

static uint32_t run_mode(struct bench *bench, const struct xdp_edge *edge, const struct mode *mode,
			 struct run *r)
{
	uint32_t ns;

	if (!mode->every && mode->kind != CONNECTION)
		return bench_run(bench, r);
	if (mode->kind == CONNECTION)
		set_handshakes(edge, mode->every);
	else
		set_monitor(edge, mode->every);
	ns = run_watched(bench, edge, r);
	set_handshakes(edge, 0);
	set_monitor(edge, 0);
	return ns;
}

static void measure_mode(struct bench *bench, int family, const struct mode *mode,
			 struct measured *measured)
{
	const bool is_watched = mode->every || mode->kind == CONNECTION;
	struct packet frame = frame_of(mode->kind, family);
	const struct xdp_edge *edge = &bench->edge[mode->is_new];
	struct run r = {.driver = driver_of(mode->kind, family),
			.frame = &frame,
			.family = family,
			.flows = mode->kind == CONNECTION ? STEPS * FLOWS : FLOWS,
			.flags = mode->is_new ? 0x02 : 0x10,
			.packets = bench->packets};
	uint32_t sent = is_watched ? (r.packets + CHUNK - 1) / CHUNK * CHUNK : r.packets;
	uint64_t before;

	r.row = ROW_DROP;
	bench_add(&measured->drop, bench_run(bench, &r));
	r.row = mode->is_new ? ROW_NEW : ROW_ESTABLISHED;
	r.is_fresh = mode->kind == CLAIM || mode->kind == CONNECTION;
	bench_put_backends(edge, mode->mode, mode->outer ? mode->outer : (uint8_t)family);
	prepare(bench, family, mode);
	before = bench_reason_packets(edge, mode->reason);
	bench_add(&measured->ns, run_mode(bench, edge, mode, &r));
	measured->share += (double)(bench_reason_packets(edge, mode->reason) - before) /
			   expected(mode, sent) / bench->rounds;
	give_flows_back(bench);
}

/* The unvaried row that a varied one is compared with. */
static unsigned plain_of(const struct mode *mode)
{
	for (unsigned i = 0; i < MODES; i++)
		if (modes[i].is_new == mode->is_new)
			return i;
	return 0;
}

static void report_mode(const struct bench *bench, int family, unsigned at,
			const struct measured *measured)
{
	unsigned plain = plain_of(&modes[at]);

	bench_report(&(struct bench_row){
		.bench = "mode",
		.variant = modes[at].name,
		.value = &measured[at].ns,
		.baseline = &measured[at].drop,
		.family = (uint32_t)family,
		.flows = FLOWS,
		.prefixes = bench->geo.family[family == 6].prefixes,
		.ratio_to = plain == at ? NULL : modes[plain].name,
		.ratio_base =
			bench_median(&measured[plain].ns) - bench_median(&measured[plain].drop),
		.has_share = true,
		.share = measured[at].share,
		.packets = bench->packets,
		.text_name = "geo",
		.text = bench->geo.name,
		.more = {{"flow_buckets", GS_FLOW_BUCKETS_DEFAULT}},
	});
}

void bench_modes(struct bench *bench, int family)
{
	static struct measured measured[MODES];
	struct run r = {.family = family, .flows = FLOWS, .packets = FLOWS};

	memset(measured, 0, sizeof(measured));
	keep_flows(bench);
	for (r.row = ROW_ESTABLISHED; r.row <= ROW_NEW; r.row++) {
		bench_open_edge(bench, r.row, FLOWS);
		r.flags = r.row == ROW_NEW ? 0x02 : 0x10;
		bench_run(bench, &r); /* every flow, and twice to prove it */
		bench_run(bench, &r);
	}
	for (uint32_t round = 0; round < bench->rounds; round++)
		for (unsigned i = 0; i < MODES; i++)
			measure_mode(bench, family, &modes[i], &measured[i]);
	for (unsigned i = 0; i < MODES; i++)
		report_mode(bench, family, i, measured);
}
