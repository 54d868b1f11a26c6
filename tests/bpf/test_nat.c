/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT there and back: what leaves, byte for byte, by checksums computed anew; whose replies are
 * taken; which slot a new flow may have. Client 192.0.2.1 or 2001:db8:3::9, edge 192.0.2.254 or
 * 2001:db8:e::1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_hash.h"
#include "maps/gs_maps.h"
#include "packet.h"
#include "xdp_edge.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

static const char edge4[] = "192.0.2.254", edge6[] = "2001:db8:e::1";
static const char client6[] = "2001:db8:3::9";
static const uint8_t router_mac[6] = {2, 0, 0, 0, 0, 0x01}, edge_mac[6] = {2, 0, 0, 0, 0, 0xed};

static struct xdp_edge edge;

/* ---- flows ----------------------------------------------------------------------------------- */

static void set_nat(uint32_t service, uint32_t region, uint16_t port)
{
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(service, region, member);
		struct gs_backend_value value = edge_backend_value(id);

		value.mode = GS_FORWARD_NAT;
		value.port = htons(port);
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
}

static void set_mtu(uint32_t mtu)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;

	hop.mtu = mtu;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
}

/* A flow that NAT has let through, with what its replies look like. */
struct nat {
	struct packet_spec spec; /* of the client's packets */
	struct packet_spec reply;
	char backend_addr[64];
	uint32_t backend;
	uint16_t port;	       /* S's */
	uint16_t backend_port; /* B's */
};

static const char *client_of(const struct nat *nat)
{
	if (nat->spec.src)
		return nat->spec.src;
	return nat->spec.family == 6 ? "2001:db8:1::1" : "192.0.2.1";
}

static const char *vip_of(const struct nat *nat)
{
	if (nat->spec.dst)
		return nat->spec.dst;
	return nat->spec.family == 6 ? "2001:db8:100::10" : "198.51.100.10";
}

static const char *source_of(const struct nat *nat)
{
	return nat->spec.family == 6 ? edge6 : edge4;
}

static struct packet_ends ends_out(const struct nat *nat)
{
	static struct gs_hop_value hop;

	hop = edge_hop_value();
	return (struct packet_ends){source_of(nat),    nat->backend_addr, nat->port,
				    nat->backend_port, hop.dst_mac,	  hop.src_mac};
}

static struct packet_ends ends_back(const struct nat *nat)
{
	return (struct packet_ends){vip_of(nat),
				    client_of(nat),
				    nat->spec.dport ? nat->spec.dport : 80,
				    nat->spec.sport ? nat->spec.sport : 40000,
				    router_mac,
				    edge_mac};
}

static struct packet expect_out(const struct nat *nat, const struct packet *in)
{
	const struct packet_ends to = ends_out(nat);

	return packet_translate(in, &to);
}

/* The ids of a client's fragments are turned by this. */
static uint32_t id_bits(const struct nat *nat, const struct packet *packet)
{
	struct gs_flow_tuple tuple = {0};

	packet_addr(client_of(nat), (uint8_t *)tuple.src);
	packet_addr(vip_of(nat), (uint8_t *)tuple.dst);
	return gs_nat_id(tuple.src, tuple.dst, packet->protocol, xdp_edge_meta(&edge).table_seed);
}

static struct packet expect_back(const struct nat *nat, const struct packet *in)
{
	const struct packet_ends to = ends_back(nat);

	return packet_translate(in, &to);
}

static struct packet expect_later(const struct nat *nat, const struct packet *in, bool is_out)
{
	const struct packet_ends to = is_out ? ends_out(nat) : ends_back(nat);
	struct packet out = packet_readdress(in, &to);

	if (is_out)
		packet_turn_id(&out, id_bits(nat, in));
	return out;
}

/* The flow's first packet; backend_port: 0: as the backends have it. */
static struct xdp_result nat_send(struct nat *nat, const struct packet *packet,
				  uint16_t backend_port)
{
	struct xdp_result result = xdp_edge_send(&edge, packet);

	assert_int_equal(result.action, XDP_TX);
	assert_true(result.backend > 0);
	nat->backend = result.backend;
	nat->backend_port = backend_port ? backend_port : nat->spec.dport ? nat->spec.dport : 80;
	nat->port = packet_get16(result.out.bytes + packet->l4);
	edge_backend_addr(nat->backend, nat->backend_addr);
	nat->reply = (struct packet_spec){.family = nat->spec.family,
					  .protocol = nat->spec.protocol,
					  .src = nat->backend_addr,
					  .dst = source_of(nat),
					  .sport = nat->backend_port,
					  .dport = nat->port};
	return result;
}

static void nat_open(struct nat *nat, const struct packet_spec *spec, uint16_t backend_port)
{
	struct packet packet = packet_build(spec);

	*nat = (struct nat){.spec = *spec};
	assert_int_equal(nat_send(nat, &packet, backend_port).reason, GS_REASON_tx_new);
}

/* Sends with these flags, from either side. */
static void nat_say(struct nat *nat, bool is_client, uint8_t flags)
{
	struct packet_spec spec = is_client ? nat->spec : nat->reply;
	struct packet packet;

	spec.flags = flags;
	packet = packet_build(&spec);
	assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_TX);
}

static void expect_pass(const char *name, const struct packet *packet, enum gs_reason reason)
{
	struct xdp_result result = xdp_edge_send(&edge, packet);

	if (result.reason != reason)
		fail_msg("%s: %s, wanted %s", name, edge_reason_name(result.reason),
			 edge_reason_name(reason));
	assert_int_equal(result.action, XDP_PASS);
	edge_expect_bytes(name, &result.out, packet);
}

/* ---- there and back -------------------------------------------------------------------------- */

static const struct row {
	const char *name;
	struct packet_spec spec;
	uint32_t service, region;
	uint16_t port; /* of the backends; 0: as the VIP's */
} rows[] = {
	{"TCP over IPv4", {.flags = SYN, .payload = 33, .ds = 0xbb}, SERVICE_WEB4, 1, 0},
	{"its own port", {.flags = SYN, .sport = 1}, SERVICE_WEB4, 1, 8080},
	{"odd length", {.flags = SYN, .payload = 1, .sport = 65535}, SERVICE_WEB4, 1, 65535},
	{"options, padding", {.flags = SYN, .ip_options = 40, .padding = 7}, SERVICE_WEB4, 1, 1},
	{"UDP over IPv4", {.protocol = IPPROTO_UDP, .dport = 53, .payload = 9}, SERVICE_DNS4, 1, 0},
	{"UDP, its own port", {.protocol = IPPROTO_UDP, .dport = 53}, SERVICE_DNS4, 1, 5353},
	{"every port", {.flags = SYN, .dst = "198.51.100.11", .dport = 5060}, SERVICE_ANY, 1, 0},
	{"TCP over IPv6",
	 {.family = 6, .flags = SYN, .src = client6, .ds = 0x2e, .payload = 5},
	 SERVICE_WEB6,
	 3,
	 8080},
	{"UDP over IPv6",
	 {.family = 6, .protocol = IPPROTO_UDP, .dport = 53, .src = client6, .payload = 1},
	 SERVICE_DNS6,
	 3,
	 0},
	{"extension headers",
	 {.family = 6, .flags = SYN, .src = client6, .extensions = "hrdo", .payload = 8},
	 SERVICE_WEB6,
	 3,
	 0},
};

static void both_ways_byte_for_byte(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct nat nat = {.spec = row->spec};
		struct packet packet = packet_build(&row->spec), want;
		struct xdp_result result;

		set_nat(row->service, row->region, row->port);
		result = nat_send(&nat, &packet, row->port);
		assert_int_equal(result.reason, GS_REASON_tx_new);
		assert_int_equal(result.service, row->service);
		assert_int_equal(result.region, row->region);
		assert_in_range(nat.port, GS_NAT_PORT_FIRST, 32767);
		want = expect_out(&nat, &packet);
		edge_expect_bytes(row->name, &result.out, &want);

		for (int again = 0; again < 3; again++) {
			nat.spec.flags = ACK;
			nat.spec.payload = (uint16_t)(again * 501);
			packet = packet_build(&nat.spec);
			result = xdp_edge_send(&edge, &packet);
			assert_int_equal(result.reason, GS_REASON_tx_flow);
			want = expect_out(&nat, &packet);
			edge_expect_bytes(row->name, &result.out, &want);

			nat.reply.payload = (uint16_t)(1400 - again);
			nat.reply.ds = row->spec.ds;
			nat.reply.flags = again ? ACK : SYN | ACK;
			nat.reply.padding = (uint16_t)again;
			nat.reply.ip_options = row->spec.ip_options;
			nat.reply.extensions = row->spec.extensions;
			packet = packet_build(&nat.reply);
			result = xdp_edge_send(&edge, &packet);
			assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
			assert_int_equal(result.action, XDP_TX);
			/* what counts of a service is what its clients send */
			assert_int_equal(result.service + result.region + result.backend, 0);
			want = expect_back(&nat, &packet);
			edge_expect_bytes(row->name, &result.out, &want);
		}
		xdp_edge_forget(&edge);
	}
}

/* 0 is "none" over IPv4, and stays it in both directions. */
static void udp_without_a_checksum(void **state)
{
	struct nat nat = {.spec = {.protocol = IPPROTO_UDP, .dport = 53, .payload = 20}};
	struct packet packet = packet_build(&nat.spec), want;
	struct xdp_result result;
	(void)state;

	set_nat(SERVICE_DNS4, 1, 5353);
	packet_put16(packet.bytes + packet.l4 + 6, 0);
	result = nat_send(&nat, &packet, 5353);
	want = expect_out(&nat, &packet);
	assert_int_equal(packet_get16(want.bytes + want.l4 + 6), 0);
	edge_expect_bytes("there", &result.out, &want);
	packet = packet_build(&nat.reply);
	packet_put16(packet.bytes + packet.l4 + 6, 0);
	result = xdp_edge_send(&edge, &packet);
	want = expect_back(&nat, &packet);
	edge_expect_bytes("back", &result.out, &want);
}

/* A sum that comes to 0 is sent as 0xffff, or it would mean that there is none (RFC 768). */
static void udp_checksums_of_zero(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct nat nat = {.spec = {.family = is_v6 ? 6 : 4,
					   .protocol = IPPROTO_UDP,
					   .dport = 53,
					   .src = is_v6 ? client6 : NULL,
					   .payload = 20}};
		struct packet packet, want;
		struct xdp_result result;
		uint8_t *word;
		uint32_t sum;

		set_nat(is_v6 ? SERVICE_DNS6 : SERVICE_DNS4, is_v6 ? 3 : 1, 5353);
		packet = packet_build(&nat.spec);
		nat_send(&nat, &packet, 5353);
		want = expect_out(&nat, &packet);
		/* payload that makes the sum of what leaves 0xffff */
		word = packet.bytes + packet.l4 + 8;
		sum = packet_get16(word) + (uint32_t)packet_get16(want.bytes + want.l4 + 6);
		packet_put16(word, (uint16_t)(sum + (sum >> 16)));
		packet_put16(packet.bytes + packet.l4 + 6, 1);
		packet_fix_l4(&packet);
		want = expect_out(&nat, &packet);
		assert_int_equal(packet_get16(want.bytes + want.l4 + 6), 0xffff);
		result = xdp_edge_send(&edge, &packet);
		edge_expect_bytes("0xffff", &result.out, &want);
	}
}

/* A damaged packet leaves damaged: its checksum is as wrong as it was. */
static void damage_is_not_mended(void **state)
{
	struct nat nat;
	struct packet packet, good;
	struct xdp_result result;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 8080);
	nat_open(&nat, &(struct packet_spec){.flags = SYN, .payload = 40}, 8080);
	good = packet_build(&nat.spec);
	packet = good;
	packet.bytes[packet.l4 + 30] ^= 0x41;
	good = expect_out(&nat, &good);
	good.bytes[packet.l4 + 30] ^= 0x41;
	result = xdp_edge_send(&edge, &packet);
	edge_expect_bytes("damaged", &result.out, &good);
}

/* ---- not ours -------------------------------------------------------------------------------- */

static void only_the_backends_replies_are_taken(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		int is_v6 = row->spec.family == 6, is_udp = row->spec.protocol == IPPROTO_UDP;
		struct nat nat;
		struct packet packet;

		set_nat(row->service, row->region, row->port);
		nat_open(&nat, &row->spec, row->port);
		const struct packet_spec good = nat.reply;
		const struct {
			const char *name;
			struct packet_spec spec;
		} others[] = {
#define OTHER(name, field, value)             \
	{name, ({                             \
		 struct packet_spec s = good; \
		 s.field = value;             \
		 s;                           \
	 })}
			OTHER("another port of the backend", sport, (uint16_t)(good.sport ^ 1)),
			OTHER("another host", src, is_v6 ? "fd00:3::9:9" : "10.9.9.9"),
			OTHER("another protocol", protocol, is_udp ? IPPROTO_TCP : IPPROTO_UDP),
			OTHER("another address of the edge", dst,
			      is_v6 ? "2001:db8:e::2" : "192.0.2.253"),
			OTHER("another slot", dport, (uint16_t)(good.dport ^ 1)),
			OTHER("a port of the kernel", dport, 40000),
			OTHER("a port below NAT's", dport, 22),
		};
		for (unsigned j = 0; j < ARRAY_SIZE(others); j++) {
			packet = packet_build(&others[j].spec);
			expect_pass(others[j].name, &packet, GS_REASON_pass_not_service);
		}
		packet = packet_build(&good);
		assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_tx_nat_reply);
		xdp_edge_forget(&edge);
	}
}

/* A reply cut anywhere is the kernel's, as it came. */
static void replies_cut_at_every_byte(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nat nat;
		struct packet packet;
		uint32_t whole;

		set_nat(rows[i].service, rows[i].region, rows[i].port);
		nat_open(&nat, &rows[i].spec, rows[i].port);
		nat.reply.ip_options = rows[i].spec.ip_options;
		nat.reply.extensions = rows[i].spec.extensions;
		packet = packet_build(&nat.reply);
		whole = packet.length;
		for (packet.length = 14; packet.length < whole; packet.length++) {
			struct xdp_result result = xdp_edge_send(&edge, &packet);

			assert_int_equal(result.action, XDP_PASS);
			edge_expect_bytes(rows[i].name, &result.out, &packet);
		}
		xdp_edge_forget(&edge);
	}
}

/* Of a backend that is no longer NAT's, or another one now. */
static void replies_of_what_was_a_backend(void **state)
{
	struct gs_backend_value value;
	struct packet packet;
	struct nat nat;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 0);
	packet = packet_build(&nat.reply);
	xdp_edge_get(&edge, GS_MAP_BACKENDS, &nat.backend, &value);
	value.addr[3] ^= htonl(1);
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &nat.backend, &value);
	expect_pass("another address", &packet, GS_REASON_pass_not_service);
	value.addr[3] ^= htonl(1);
	value.mode = GS_FORWARD_IPIP;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &nat.backend, &value);
	expect_pass("another mode", &packet, GS_REASON_pass_not_service);
	value.mode = GS_FORWARD_NAT;
	xdp_edge_set(&edge, GS_MAP_BACKENDS, &nat.backend, &value);
	/* down or not: what it still says is for its client */
	xdp_edge_set_backend(&edge, nat.backend, edge_down);
	assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_tx_nat_reply);
}

static void families_do_not_mix(void **state)
{
	struct packet four =
		packet_build(&(struct packet_spec){.flags = SYN, .src = "203.0.113.200"});
	struct packet six = packet_build(&(struct packet_spec){.family = 6, .flags = SYN});
	(void)state;

	set_nat(SERVICE_WEB4, 3, 0);
	set_nat(SERVICE_WEB6, 1, 0);
	assert_int_equal(xdp_edge_send(&edge, &four).reason, GS_REASON_drop_mode);
	assert_int_equal(xdp_edge_send(&edge, &six).reason, GS_REASON_drop_mode);
}

/* ---- the packet's way ------------------------------------------------------------------------ */

static void replies_follow_the_client(void **state)
{
	struct gs_nat_detail detail;
	struct packet packet, want;
	struct xdp_result result;
	struct nat nat;
	uint32_t index = 0, lo = 1;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 0);
	/* by another router of the client's */
	packet = packet_build(&nat.spec);
	packet.bytes[11] = 0x77;
	xdp_edge_send(&edge, &packet);
	packet = packet_build(&nat.reply);
	want = expect_back(&nat, &packet);
	want.bytes[5] = 0x77;
	result = xdp_edge_send(&edge, &packet);
	edge_expect_bytes("another router", &result.out, &want);
	/* by another interface */
	for (; index < EDGE_NAT_PLANES * GS_NAT_SLOTS; index++) {
		xdp_edge_get(&edge, GS_MAP_NAT_DETAILS, &index, &detail);
		if (detail.client_port)
			break;
	}
	detail.ifindex = 4711;
	xdp_edge_set(&edge, GS_MAP_NAT_DETAILS, &index, &detail);
	result = xdp_edge_send(&edge, &packet);
	assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
	assert_int_equal(result.action, XDP_REDIRECT);
	packet = packet_build(&nat.spec);
	xdp_edge_send(&edge, &packet);
	packet = packet_build(&nat.reply);
	assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_TX);
	/* by a port of a bond: whichever port it has then */
	xdp_edge_set(&edge, GS_MAP_OWN_MACS, &lo, &(struct gs_own_mac_value){.bond = 4712});
	detail.ifindex = 4711;
	xdp_edge_set(&edge, GS_MAP_NAT_DETAILS, &index, &detail);
	packet = packet_build(&nat.spec);
	xdp_edge_send(&edge, &packet);
	xdp_edge_get(&edge, GS_MAP_NAT_DETAILS, &index, &detail);
	assert_int_equal(detail.ifindex, 4712);
	packet = packet_build(&nat.reply);
	assert_int_equal(xdp_edge_send(&edge, &packet).action, XDP_TX);
	assert_int_equal(bpf_map_delete_elem(xdp_edge_map(&edge, GS_MAP_OWN_MACS), &lo), 0);
}

/* Tags of what leaves are the next hop's; of what comes back, those the client's last packet had.
 */
static void each_side_has_its_vlan(void **state)
{
	static const uint32_t tags[] = {0x88a80064, 0x8100000a}, other[] = {0x81000fff, 0x81000001};
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (uint32_t client = 0; client <= 2; client++)
			for (uint32_t backend = 0; backend <= 2; backend++) {
				struct packet plain = packet_build(&rows[i].spec), packet, want;
				struct nat nat = {.spec = rows[i].spec};
				struct xdp_result result;

				set_nat(rows[i].service, rows[i].region, rows[i].port);
				hop.tags = (uint8_t)backend;
				for (uint32_t j = 0; j < backend; j++)
					hop.tag[j] = (struct gs_tag){
						.protocol = htons((uint16_t)(other[j] >> 16)),
						.tci = htons((uint16_t)other[j])};
				xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
				packet = packet_tag(&plain, tags, client);
				result = xdp_edge_send(&edge, &packet);
				assert_int_equal(result.action, XDP_TX);
				nat.backend = result.backend;
				nat.port = packet_get16(result.out.bytes + plain.l4 + 4 * backend);
				nat.backend_port = rows[i].port		? rows[i].port
						   : rows[i].spec.dport ? rows[i].spec.dport
									: 80;
				edge_backend_addr(nat.backend, nat.backend_addr);
				want = expect_out(&nat, &plain);
				want = packet_tag(&want, other, backend);
				edge_expect_bytes("there", &result.out, &want);

				plain = packet_build(
					&(struct packet_spec){.family = nat.spec.family,
							      .protocol = nat.spec.protocol,
							      .src = nat.backend_addr,
							      .dst = source_of(&nat),
							      .sport = nat.backend_port,
							      .dport = nat.port,
							      .payload = 77});
				packet = packet_tag(&plain, other, backend);
				want = expect_back(&nat, &plain);
				want = packet_tag(&want, tags, client);
				result = xdp_edge_send(&edge, &packet);
				assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
				edge_expect_bytes("back", &result.out, &want);
				xdp_edge_forget(&edge);
			}
}

/* One of a prefix for each flow, and always the same one. */
static void sources_may_be_spread(void **state)
{
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP, different = 0;
	uint8_t seen[16] = {0};
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	hop.src4 = htonl(0xc00002e0);
	hop.spread4 = 4;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	for (uint16_t flow = 0; flow < 64; flow++) {
		struct packet_spec spec = {.flags = SYN, .sport = (uint16_t)(3000 + flow)};
		struct packet packet = packet_build(&spec), reply;
		struct xdp_result result = xdp_edge_send(&edge, &packet);
		uint8_t last = result.out.bytes[PACKET_L3 + 15];
		char addr[64], source[32];

		assert_int_equal(result.action, XDP_TX);
		assert_in_range(last, 0xe0, 0xef);
		different += !seen[last & 15];
		seen[last & 15] = 1;
		snprintf(source, sizeof(source), "192.0.2.%u", last);
		spec = (struct packet_spec){.src = edge_backend_addr(result.backend, addr),
					    .dst = source,
					    .sport = 80,
					    .dport = packet_get16(result.out.bytes + packet.l4)};
		reply = packet_build(&spec);
		assert_int_equal(xdp_edge_send(&edge, &reply).reason, GS_REASON_tx_nat_reply);
		reply.bytes[PACKET_L3 + 19] ^= 1;
		packet_fix_ip4(&reply);
		expect_pass("another one of them", &reply, GS_REASON_pass_not_service);
		packet = packet_build(&(struct packet_spec){.sport = (uint16_t)(3000 + flow)});
		result = xdp_edge_send(&edge, &packet);
		assert_int_equal(result.out.bytes[PACKET_L3 + 15], last);
	}
	assert_in_range(different, 12, 16);
}

/* A router with NAT takes one off; what has none left ends here, whichever way it goes. */
static void the_last_hop_is_here(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int at = PACKET_L3 + (rows[i].spec.family == 6 ? 7 : 8);
		struct packet packet = packet_build(&rows[i].spec), want;
		struct xdp_result result;
		struct nat nat;

		set_nat(rows[i].service, rows[i].region, rows[i].port);
		nat_open(&nat, &rows[i].spec, rows[i].port);
		for (int back = 0; back < 2; back++)
			for (uint8_t ttl = 0; ttl < 3; ttl++) {
				packet = packet_build(back ? &nat.reply : &rows[i].spec);
				packet.bytes[at] = ttl;
				if (rows[i].spec.family != 6)
					packet_fix_ip4(&packet);
				result = xdp_edge_send(&edge, &packet);
				if (ttl < 2) {
					assert_int_equal(result.reason, GS_REASON_drop_ttl);
					assert_int_equal(result.action, XDP_DROP);
					continue;
				}
				want = back ? expect_back(&nat, &packet)
					    : expect_out(&nat, &packet);
				edge_expect_bytes("the last but one", &result.out, &want);
			}
		xdp_edge_forget(&edge);
	}
}

static void as_large_as_the_hop_takes(void **state)
{
	struct packet_spec spec = {.flags = ACK, .payload = 1000, .fragment = 0x4000};
	struct packet packet = packet_build(&spec), want;
	struct xdp_result result;
	struct nat nat = {.spec = spec};
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	set_mtu(1040);
	result = nat_send(&nat, &packet, 0);
	want = expect_out(&nat, &packet);
	edge_expect_bytes("it fits", &result.out, &want);
	set_mtu(1039);
	result = xdp_edge_send(&edge, &packet);
	assert_int_equal(result.reason, GS_REASON_tx_too_big);
	assert_int_equal(packet_get16(result.out.bytes + PACKET_L3 + 20 + 6), 1039);
	/* what comes back is not measured by it */
	nat.reply.payload = 1400;
	packet = packet_build(&nat.reply);
	assert_int_equal(xdp_edge_send(&edge, &packet).reason, GS_REASON_tx_nat_reply);
}

/* Without an address to send from, nobody could reply. */
static void no_source_no_way(void **state)
{
	struct packet four = packet_build(&(struct packet_spec){.flags = SYN}), six;
	struct gs_hop_value hop = edge_hop_value();
	uint32_t id = EDGE_HOP;
	(void)state;

	six = packet_build(&(struct packet_spec){.family = 6, .flags = SYN, .src = client6});
	set_nat(SERVICE_WEB4, 1, 0);
	set_nat(SERVICE_WEB6, 3, 0);
	hop.src4 = 0;
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	assert_int_equal(xdp_edge_send(&edge, &four).reason, GS_REASON_drop_no_hop);
	assert_int_equal(xdp_edge_send(&edge, &six).action, XDP_TX);
	hop = edge_hop_value();
	memset(hop.src6, 0, sizeof(hop.src6));
	xdp_edge_set(&edge, GS_MAP_HOPS, &id, &hop);
	assert_int_equal(xdp_edge_send(&edge, &four).action, XDP_TX);
	assert_int_equal(xdp_edge_send(&edge, &six).reason, GS_REASON_drop_no_hop);
}

/* The backend is itself the client, or on the client's host: its packets are told apart by ports.
 */
static void a_backend_may_be_the_client(void **state)
{
	struct packet_spec spec = {.flags = SYN, .src = "192.0.2.11", .dport = 80};
	struct packet packet, want;
	struct xdp_result result;
	struct gs_backend_value value;
	struct nat nat;
	uint8_t addr[16];
	(void)state;

	packet_addr("192.0.2.11", addr);
	for (uint32_t member = 0; member < 2; member++) {
		uint32_t id = edge_backend_id(SERVICE_WEB4, 1, member);

		value = edge_backend_value(id);
		value.mode = GS_FORWARD_NAT;
		memcpy(value.addr, addr, 16);
		xdp_edge_set(&edge, GS_MAP_BACKENDS, &id, &value);
	}
	nat = (struct nat){.spec = spec};
	packet = packet_build(&spec);
	result = nat_send(&nat, &packet, 0);
	snprintf(nat.backend_addr, sizeof(nat.backend_addr), "192.0.2.11");
	want = expect_out(&nat, &packet);
	edge_expect_bytes("there", &result.out, &want);
	packet = packet_build(&nat.reply);
	result = xdp_edge_send(&edge, &packet);
	want = expect_back(&nat, &packet);
	edge_expect_bytes("back", &result.out, &want);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t now_units(void)
{
	return (uint32_t)(now_ns() >> 30) & 0x7fff;
}

static uint32_t now_fine(void)
{
	return (uint32_t)(now_ns() >> 24) & 0x7fff;
}

static uint32_t plane_of(uint32_t backend, uint16_t port, uint8_t protocol)
{
	struct gs_backend_value value = edge_backend_value(backend);

	return gs_nat_plane(value.addr, htons(port), protocol, xdp_edge_meta(&edge).table_seed,
			    EDGE_NAT_PLANES - 1);
}

static uint32_t slot_of(const struct nat *nat)
{
	uint8_t protocol = nat->spec.protocol ? nat->spec.protocol : IPPROTO_TCP;

	return plane_of(nat->backend, nat->backend_port, protocol) * GS_NAT_SLOTS + nat->port -
	       GS_NAT_PORT_FIRST;
}

static struct gs_flow_entry entry_of(const struct nat *nat)
{
	uint32_t slot = slot_of(nat), bucket = slot / GS_FLOW_WAYS;
	struct gs_flow_bucket value;

	xdp_edge_get(&edge, GS_MAP_NAT_FLOWS, &bucket, &value);
	return value.entry[slot % GS_FLOW_WAYS];
}

static void expect_entry(const char *name, const struct nat *nat, uint16_t done, bool proven)
{
	struct gs_flow_entry entry = entry_of(nat);

	if (entry.backend != (nat->backend | done) || !!(entry.seen & GS_FLOW_PROVEN) != proven)
		fail_msg("%s: backend %#x (%#x wanted), seen %#x", name, entry.backend,
			 nat->backend | done, entry.seen);
}

static void a_tcp_flow_is_proven_and_ends(void **state)
{
	struct nat nat;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 0);
	expect_entry("opened", &nat, 0, false);
	nat_say(&nat, true, SYN);
	nat_say(&nat, false, SYN | ACK);
	expect_entry("answered", &nat, 0, false);
	nat_say(&nat, true, ACK);
	expect_entry("acknowledged", &nat, GS_NAT_ACKED, false);
	nat_say(&nat, true, SYN); /* late */
	nat_say(&nat, false, SYN | ACK);
	expect_entry("answered again", &nat, GS_NAT_ACKED, false);
	nat_say(&nat, false, ACK);
	expect_entry("both have spoken", &nat, 0, true);
	nat_say(&nat, true, FIN | ACK);
	expect_entry("half closed", &nat, GS_NAT_CLIENT_DONE, true);
	nat_say(&nat, false, ACK);
	nat_say(&nat, true, SYN); /* starts anew: the client is done with it */
	expect_entry("anew", &nat, 0, false);
	nat_say(&nat, true, ACK);
	nat_say(&nat, false, FIN | ACK);
	expect_entry("by the backend", &nat, GS_NAT_BACKEND_DONE, true);
	nat_say(&nat, true, FIN | ACK);
	nat_say(&nat, false, ACK);
	expect_entry("closed", &nat, GS_NAT_OVER, true);
	nat_say(&nat, true, SYN);
	expect_entry("its next connection", &nat, 0, false);
	nat_say(&nat, false, RST);
	expect_entry("refused", &nat, GS_NAT_OVER, false);
	nat_say(&nat, true, SYN);
	nat_say(&nat, true, ACK);
	nat_say(&nat, false, ACK);
	nat_say(&nat, true, RST);
	expect_entry("aborted", &nat, GS_NAT_OVER, true);
}

static uint64_t resets_of(uint32_t backend)
{
	int cpus = libbpf_num_possible_cpus();
	struct gs_syn_count values[256] = {0};
	uint64_t sum = 0;

	assert_in_range(cpus, 1, 256);
	xdp_edge_get(&edge, GS_MAP_COUNT_SYN, &backend, values);
	for (int cpu = 0; cpu < cpus; cpu++)
		sum += values[cpu].resets;
	return sum;
}

/* Who says what after a SYN, and whether that is a SYN refused. C: the client, B: the backend. */
static void a_reset_that_answers_a_syn_counts(void **state)
{
	static const struct {
		const char *name;
		struct {
			char who;
			uint8_t flags;
		} said[6];
		uint64_t resets;
	} cases[] = {
		{"refused", {{'B', RST | ACK}}, 1},
		{"without an ACK: to one", {{'B', RST}}, 0},
		{"after a repeated SYN", {{'C', SYN}, {'B', RST | ACK}}, 1},
		{"said twice", {{'B', RST | ACK}, {'B', RST | ACK}}, 1},
		{"tried again, and refused again",
		 {{'B', RST | ACK}, {'C', SYN}, {'B', RST | ACK}},
		 2},
		{"answered, then given up", {{'B', SYN | ACK}, {'B', RST | ACK}}, 1},
		{"answered", {{'B', SYN | ACK}}, 0},
		{"of an established flow", {{'B', SYN | ACK}, {'C', ACK}, {'B', RST | ACK}}, 0},
		{"closed",
		 {{'B', SYN | ACK}, {'C', ACK}, {'C', FIN | ACK}, {'B', FIN | ACK}, {'B', RST}},
		 0},
		{"the client's own", {{'C', RST}}, 0},
		{"after the client's own", {{'C', RST}, {'B', RST}}, 0},
	};
	struct nat nat;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t before;

		print_message("# %s\n", cases[i].name);
		xdp_edge_forget(&edge);
		nat_open(&nat, &(struct packet_spec){.flags = SYN, .sport = (uint16_t)(5000 + i)},
			 0);
		before = resets_of(nat.backend);
		for (unsigned j = 0; j < ARRAY_SIZE(cases[i].said) && cases[i].said[j].who; j++)
			nat_say(&nat, cases[i].said[j].who == 'C', cases[i].said[j].flags);
		assert_int_equal(resets_of(nat.backend), before + cases[i].resets);
		packet_case();
	}
}

/* Of a breaker's trials it is the backend's SYN-ACK that counts, which no client can make up. */
static void a_trial_is_answered_by_its_backend(void **state)
{
	static const struct {
		const char *name;
		struct {
			char who;
			uint8_t flags;
		} said[4];
		bool answered;
	} cases[] = {
		{"nothing", {{0}}, false},
		{"answered", {{'B', SYN | ACK}}, true},
		{"refused", {{'B', RST | ACK}}, false},
		{"the client goes on by itself", {{'C', ACK}, {'C', ACK | PSH}}, false},
		{"the client's own SYN-ACK", {{'C', SYN | ACK}}, false},
		{"an ACK of the backend", {{'B', ACK}}, false},
		{"answered after a repeated SYN", {{'C', SYN}, {'B', SYN | ACK}}, true},
	};
	const uint32_t pool = SERVICE_WEB4 * GS_MAX_REGIONS + 1;
	struct gs_trial_value trial = {.epoch = 7, .left = 100};
	int fd = xdp_edge_map(&edge, GS_MAP_LEASES);
	struct nat nat;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	xdp_edge_set(&edge, GS_MAP_TRIALS, &pool, &trial);
	xdp_edge_set_pool(
		&edge, SERVICE_WEB4, 1,
		(struct gs_usable_word){.state = GS_USABLE_TRIAL, .accept = 0xffff, .epoch = 7});
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct packet_spec spec = {.flags = SYN, .sport = (uint16_t)(7000 + i)};
		struct packet packet = packet_build(&spec);
		struct gs_lease_value lease;
		uint64_t id;

		print_message("# %s\n", cases[i].name);
		nat = (struct nat){.spec = spec};
		assert_int_equal(nat_send(&nat, &packet, 0).reason, GS_REASON_tx_trial);
		for (unsigned j = 0; j < ARRAY_SIZE(cases[i].said) && cases[i].said[j].who; j++)
			nat_say(&nat, cases[i].said[j].who == 'C', cases[i].said[j].flags);
		assert_int_equal(bpf_map_get_next_key(fd, NULL, &id), 0);
		assert_int_equal(bpf_map_lookup_elem(fd, &id, &lease), 0);
		assert_int_equal(lease.answered, cases[i].answered);
		assert_int_equal(lease.backend, nat.backend);
		assert_int_equal(bpf_map_delete_elem(fd, &id), 0);
		assert_int_not_equal(bpf_map_get_next_key(fd, NULL, &id), 0);
		packet_case();
	}
}

/* Of no entry, or not from the backend: passed, and counted for nobody. */
static void a_reset_of_nothing_does_not_count(void **state)
{
	struct nat nat;
	uint64_t before = 0, after = 0;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.flags = SYN, .sport = 5100}, 0);
	const struct packet_spec good = nat.reply;
	struct packet_spec forged[] = {good, good, good, good};

	forged[0].dport ^= 1;
	forged[1].src = "10.9.9.9";
	forged[2].sport ^= 1;
	forged[3].dst = "192.0.2.253";
	for (uint32_t id = 1; id < EDGE_BACKENDS; id++)
		before += resets_of(id);
	for (unsigned i = 0; i < ARRAY_SIZE(forged); i++) {
		struct packet packet;

		forged[i].flags = RST | ACK;
		packet = packet_build(&forged[i]);
		expect_pass("forged", &packet, GS_REASON_pass_not_service);
	}
	for (uint32_t id = 1; id < EDGE_BACKENDS; id++)
		after += resets_of(id);
	assert_int_equal(after, before);
}

/* Whatever a client sends without having heard the backend, and what that says to it. */
static void a_tcp_flow_is_not_proven_by_less(void **state)
{
	static const struct {
		const char *name;
		struct {
			char who; /* C, B */
			uint8_t flags;
		} said[6];
		uint16_t done;
		bool proven;
	} cases[] = {
		{"an ACK", {{'C', ACK}}, 0, false},
		{"ACKs", {{'C', ACK}, {'C', ACK}, {'C', ACK}}, GS_NAT_ACKED, false},
		{"an ACK refused", {{'C', ACK}, {'B', RST}}, GS_NAT_OVER, false},
		{"ACKs refused",
		 {{'C', ACK}, {'B', RST}, {'C', ACK}, {'B', ACK}},
		 GS_NAT_OVER,
		 false},
		{"an ACK answered once", {{'C', ACK}, {'B', ACK}}, 0, false},
		{"a connection from before",
		 {{'C', ACK}, {'B', ACK}, {'C', ACK}, {'B', ACK}},
		 0,
		 true},
		{"SYNs", {{'C', SYN}, {'C', SYN}, {'B', SYN | ACK}, {'C', SYN}}, 0, false},
		{"SYN, no flags", {{'C', SYN}, {'B', SYN | ACK}, {'C', PSH}, {'B', ACK}}, 0, false},
		{"SYN, FIN", {{'C', SYN}, {'B', SYN | ACK}, {'C', FIN}, {'B', ACK}}, 0, false},
		{"SYN, SYN-ACK",
		 {{'C', SYN}, {'B', SYN | ACK}, {'C', SYN | ACK}, {'B', ACK}},
		 0,
		 false},
		{"SYN, ACK, nothing but SYN-ACKs",
		 {{'C', SYN}, {'B', SYN | ACK}, {'C', ACK}, {'B', SYN | ACK}, {'C', ACK}},
		 GS_NAT_ACKED,
		 false},
		{"a FIN", {{'C', FIN | ACK}}, 0, false},
		{"all said, at once",
		 {{'C', SYN}, {'B', SYN | ACK}, {'C', ACK}, {'C', FIN | ACK}, {'B', ACK}},
		 GS_NAT_CLIENT_DONE,
		 true},
		{"and over",
		 {{'C', SYN}, {'B', SYN | ACK}, {'C', FIN | ACK}, {'B', FIN | ACK}, {'C', ACK}},
		 GS_NAT_OVER,
		 true},
		{"begun anew before it was heard",
		 {{'C', SYN}, {'B', SYN | ACK}, {'C', FIN | ACK}, {'C', SYN}},
		 0,
		 false},
		{"a RST", {{'C', RST}, {'C', ACK}, {'B', ACK}}, GS_NAT_OVER, false},
	};
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nat nat;

		nat_open(&nat,
			 &(struct packet_spec){.flags = cases[i].said[0].flags,
					       .sport = (uint16_t)(6000 + i)},
			 0);
		for (unsigned j = 1; j < ARRAY_SIZE(cases[i].said) && cases[i].said[j].who; j++)
			nat_say(&nat, cases[i].said[j].who == 'C', cases[i].said[j].flags);
		expect_entry(cases[i].name, &nat, cases[i].done, cases[i].proven);
		packet_case();
	}
}

/* A flow of UDP is proven by a packet of the client's after an answer: strangers see none. */
static void a_udp_flow_is_proven_by_talking(void **state)
{
	struct nat nat;
	(void)state;

	set_nat(SERVICE_DNS4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.protocol = IPPROTO_UDP, .dport = 53}, 0);
	for (int i = 0; i < 5; i++)
		nat_say(&nat, true, 0);
	expect_entry("never answered", &nat, 0, false);
	nat_say(&nat, false, 0);
	nat_say(&nat, false, 0);
	expect_entry("answered", &nat, GS_NAT_ANSWERED, false);
	nat_say(&nat, true, 0);
	expect_entry("talking", &nat, GS_NAT_ANSWERED, true);
	/* and in use for 30 s, not for 180 */
	assert_in_range((now_units() - entry_of(&nat).seen) & 0x7fff,
			GS_NAT_IN_USE - GS_NAT_UDP_IN_USE, GS_NAT_IN_USE - GS_NAT_UDP_IN_USE + 4);
}

/* The first packet has no second chance: it proves nothing, whatever became of it. */
static void what_goes_no_further_takes_no_slot(void **state)
{
	static const struct {
		const char *name;
		struct packet_spec spec;
		uint32_t service, region, mtu;
		uint8_t ttl;
		enum gs_reason reason;
	} cases[] = {
		{"TTL 1", {.flags = ACK}, SERVICE_WEB4, 1, 1500, 1, GS_REASON_drop_ttl},
		{"TTL 0", {.flags = SYN}, SERVICE_WEB4, 1, 1500, 0, GS_REASON_drop_ttl},
		{"hop limit 1",
		 {.family = 6, .flags = ACK, .src = client6},
		 SERVICE_WEB6,
		 3,
		 1500,
		 1,
		 GS_REASON_drop_ttl},
		{"too big",
		 {.fragment = 0x4000, .payload = 1000},
		 SERVICE_WEB4,
		 1,
		 1000,
		 64,
		 GS_REASON_tx_too_big},
		{"too big, without DF",
		 {.payload = 1000},
		 SERVICE_WEB4,
		 1,
		 1000,
		 64,
		 GS_REASON_drop_would_fragment},
		{"a good one", {.flags = SYN}, SERVICE_WEB4, 1, 1500, 2, GS_REASON_tx_new},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bool is_v6 = cases[i].spec.family == 6;
		struct packet packet = packet_build(&cases[i].spec);
		uint32_t used = 0;

		xdp_edge_forget(&edge);
		set_nat(cases[i].service, cases[i].region, 0);
		set_mtu(cases[i].mtu);
		packet.bytes[PACKET_L3 + (is_v6 ? 7 : 8)] = cases[i].ttl;
		if (!is_v6)
			packet_fix_ip4(&packet);
		xdp_edge_expect(&edge, cases[i].name, &packet, cases[i].reason);
		for (uint32_t bucket = 0; bucket < EDGE_NAT_PLANES * GS_NAT_BUCKETS; bucket++) {
			struct gs_flow_bucket value;

			xdp_edge_get(&edge, GS_MAP_NAT_FLOWS, &bucket, &value);
			for (uint32_t way = 0; way < GS_FLOW_WAYS; way++)
				used += value.entry[way].tag != 0;
		}
		assert_int_equal(used, cases[i].reason == GS_REASON_tx_new);
		packet_case();
	}
	set_mtu(1500);
}

enum { IN_USE, HALF_CLOSED, QUIET, UNPROVEN, OVER, ABANDONED, EMPTY, CLASSES };

static struct gs_flow_entry entry_in(int class, uint32_t age)
{
	static const uint32_t base[CLASSES] = {[QUIET] = GS_NAT_IN_USE + 3, [ABANDONED] = 842};
	struct gs_flow_entry entry = {.tag = 0x7e57, .backend = 5};

	if (class == EMPTY)
		return (struct gs_flow_entry){0};
	entry.seen = (now_units() - base[class] - age) & 0x7fff;
	if (class == UNPROVEN) /* finer */
		entry.seen = (now_fine() - age) & 0x7fff;
	else
		entry.seen |= GS_FLOW_PROVEN;
	if (class == OVER)
		entry.backend |= GS_NAT_OVER;
	if (class == HALF_CLOSED)
		entry.backend |= GS_NAT_CLIENT_DONE;
	return entry;
}

/* Both buckets of the flow's, in the plane of this backend, full of this. */
static void fill_buckets(const struct packet *packet, uint32_t backend, uint16_t port, int class,
			 uint32_t ret_bucket[2])
{
	struct gs_flow_tuple tuple = edge_tuple(packet);
	uint64_t hash = gs_hash_flow(&tuple, xdp_edge_meta(&edge).table_seed);
	struct gs_flow_bucket value;

	for (uint32_t choice = 0; choice < 2; choice++) {
		ret_bucket[choice] = plane_of(backend, port, packet->protocol) * GS_NAT_BUCKETS +
				     gs_nat_bucket(hash, choice);
		for (int way = 0; way < 8; way++)
			value.entry[way] = entry_in(class, 1);
		xdp_edge_set(&edge, GS_MAP_NAT_FLOWS, &ret_bucket[choice], &value);
	}
}

static void set_entry(uint32_t bucket, uint32_t way, struct gs_flow_entry entry)
{
	struct gs_flow_bucket value;

	xdp_edge_get(&edge, GS_MAP_NAT_FLOWS, &bucket, &value);
	value.entry[way] = entry;
	xdp_edge_set(&edge, GS_MAP_NAT_FLOWS, &bucket, &value);
}

/* In each of the 16 places: it gives way to every class above it, and flows in use to none. */
static void who_makes_room(void **state)
{
	struct packet_spec spec = {.flags = SYN};
	struct packet packet = packet_build(&spec);
	uint32_t backend = xdp_edge_send(&edge, &packet).backend;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	for (int better = IN_USE; better < CLASSES; better++)
		for (uint32_t place = 0; place < 16; place++) {
			int worse = better <= HALF_CLOSED ? IN_USE : better - 1;
			uint32_t bucket[2], slot;
			struct xdp_result result;

			xdp_edge_forget(&edge);
			fill_buckets(&packet, backend, 80, worse, bucket);
			set_entry(bucket[place / 8], place % 8, entry_in(better, 0));
			result = xdp_edge_send(&edge, &packet);
			if (better <= HALF_CLOSED) {
				assert_int_equal(result.reason, GS_REASON_drop_nat_full);
				assert_int_equal(result.action, XDP_DROP);
				continue;
			}
			assert_int_equal(result.reason, GS_REASON_tx_new);
			assert_int_equal(result.backend, backend);
			slot = bucket[place / 8] * GS_FLOW_WAYS + place % 8;
			assert_int_equal(packet_get16(result.out.bytes + packet.l4),
					 GS_NAT_PORT_FIRST + slot % GS_NAT_SLOTS);
			/* and stays there, though others would now give way more gladly */
			set_entry(bucket[0], 7 - place % 8, entry_in(EMPTY, 0));
			if (place / 8 == 0 && place % 8 == 7 - place % 8)
				continue;
			result = xdp_edge_send(&edge, &packet);
			assert_int_equal(packet_get16(result.out.bytes + packet.l4),
					 GS_NAT_PORT_FIRST + slot % GS_NAT_SLOTS);
		}
}

/* Of equals the one that was silent longest. */
static void the_longest_silent_makes_room(void **state)
{
	struct packet_spec spec = {.flags = SYN};
	struct packet packet = packet_build(&spec);
	uint32_t backend = xdp_edge_send(&edge, &packet).backend;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	for (int class = QUIET; class < EMPTY; class ++)
		for (uint32_t place = 0; place < 16; place += 3) {
			struct xdp_result result;
			uint32_t bucket[2], slot;

			xdp_edge_forget(&edge);
			fill_buckets(&packet, backend, 80, class, bucket);
			set_entry(bucket[place / 8], place % 8, entry_in(class, 4));
			result = xdp_edge_send(&edge, &packet);
			slot = bucket[place / 8] * GS_FLOW_WAYS + place % 8;
			assert_int_equal(packet_get16(result.out.bytes + packet.l4),
					 GS_NAT_PORT_FIRST + slot % GS_NAT_SLOTS);
		}
}

/* Who lost its slot gets nobody else's replies, and its own replies go nowhere. */
static void a_slot_that_changed_hands(void **state)
{
	struct packet_spec first = {.flags = SYN, .sport = 2000}, second = first;
	uint32_t bucket[2], slot;
	struct packet packet;
	struct nat nat, other;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &first, 0);
	slot = slot_of(&nat);
	/* another flow of the same bucket, which has no other place */
	for (second.sport = 2001;; second.sport++) {
		packet = packet_build(&second);
		struct gs_flow_tuple tuple = edge_tuple(&packet);
		uint64_t hash = gs_hash_flow(&tuple, xdp_edge_meta(&edge).table_seed);

		if (gs_nat_bucket(hash, 0) == slot % GS_NAT_SLOTS / 8 &&
		    edge_expect_backend(&edge, &packet, SERVICE_WEB4, 1, 0x5eed) == nat.backend)
			break;
	}
	struct gs_flow_entry entry = entry_of(&nat);
	fill_buckets(&packet, nat.backend, 80, IN_USE, bucket);
	set_entry(slot / 8, slot % 8, entry);
	nat_open(&other, &second, 0);
	assert_int_equal(other.port, nat.port);
	packet = packet_build(&nat.reply);
	struct xdp_result result = xdp_edge_send(&edge, &packet);
	struct packet want = expect_back(&other, &packet);
	edge_expect_bytes("the new one's", &result.out, &want);
	/* the old one has to ask again, and gets another or none */
	packet = packet_build(&nat.spec);
	result = xdp_edge_send(&edge, &packet);
	assert_int_not_equal(packet_get16(result.out.bytes + packet.l4), other.port);
}

/* Details that are not the entry's: half written, or of the flow before. Nobody gets them. */
static void details_that_do_not_fit_are_not_used(void **state)
{
	static const size_t places[] = {
		offsetof(struct gs_nat_detail, client),
		offsetof(struct gs_nat_detail, client) + 15,
		offsetof(struct gs_nat_detail, vip) + 12,
		offsetof(struct gs_nat_detail, client_port),
		offsetof(struct gs_nat_detail, vip_port),
		offsetof(struct gs_nat_detail, source),
	};
	struct gs_nat_detail detail, bad;
	struct packet packet, reply;
	struct nat nat;
	uint32_t slot;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 8080);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 8080);
	slot = slot_of(&nat);
	reply = packet_build(&nat.reply);
	xdp_edge_get(&edge, GS_MAP_NAT_DETAILS, &slot, &detail);
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		bad = detail;
		((uint8_t *)&bad)[places[i]] ^= 0x10;
		xdp_edge_set(&edge, GS_MAP_NAT_DETAILS, &slot, &bad);
		expect_pass("half written", &reply, GS_REASON_pass_not_service);
	}
	/* the client's next packet does not take them for its own either */
	packet = packet_build(&nat.spec);
	struct xdp_result result = xdp_edge_send(&edge, &packet);
	assert_int_equal(result.action, XDP_TX);
	assert_int_not_equal(packet_get16(result.out.bytes + packet.l4), nat.port);
	xdp_edge_set(&edge, GS_MAP_NAT_DETAILS, &slot, &detail);
	assert_int_equal(xdp_edge_send(&edge, &reply).reason, GS_REASON_tx_nat_reply);
}

/* Moved to another backend, a flow has another slot, and the old backend's last words still pass.
 */
static void a_flow_that_is_picked_again(void **state)
{
	struct packet packet, reply;
	struct xdp_result result;
	struct nat nat, moved;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 0);
	nat_say(&nat, true, ACK);
	xdp_edge_set_backend(&edge, nat.backend, edge_down);
	moved = nat;
	moved.spec.flags = ACK;
	packet = packet_build(&moved.spec);
	result = nat_send(&moved, &packet, 0);
	assert_int_equal(result.reason, GS_REASON_tx_repicked);
	assert_int_not_equal(moved.backend, nat.backend);
	packet = expect_out(&moved, &packet);
	edge_expect_bytes("moved", &result.out, &packet);
	reply = packet_build(&nat.reply);
	assert_int_equal(xdp_edge_send(&edge, &reply).reason, GS_REASON_tx_nat_reply);
	reply = packet_build(&moved.reply);
	assert_int_equal(xdp_edge_send(&edge, &reply).reason, GS_REASON_tx_nat_reply);
}

/* ---- fragments ------------------------------------------------------------------------------- */

static void set_id(struct packet *packet, uint32_t id)
{
	uint8_t *ip = packet->bytes + PACKET_L3;
	uint32_t wire = htonl(id);

	if (ip[0] >> 4 == 4) {
		packet_put16(ip + 4, (uint16_t)id);
		packet_fix_ip4(packet);
	} else {
		memcpy(packet->bytes + packet->l4 - 4, &wire, 4);
	}
}

/* Later ones have other bytes where the ports would be. */
static struct packet piece(const struct packet_spec *spec, bool is_first, uint32_t id)
{
	struct packet_spec of = *spec;
	struct packet packet;

	of.payload = 64;
	of.ip_options = 0;
	if (of.family == 6)
		of.extensions = is_first ? "f" : "l";
	else
		of.fragment = is_first ? 0x2000 : 0x00b9;
	packet = packet_build(&of);
	if (!is_first)
		memset(packet.bytes + packet.l4, 0xee, 8);
	set_id(&packet, id);
	return packet;
}

static void pieces_go_both_ways(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct packet_spec spec = rows[i].spec;
		struct packet first, later, want;
		struct xdp_result result;
		struct nat nat = {.spec = spec};
		uint32_t id = 100 + i;

		set_nat(rows[i].service, rows[i].region, rows[i].port);
		first = piece(&spec, true, id);
		later = piece(&spec, false, id);
		assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_fragment);
		result = nat_send(&nat, &first, rows[i].port);
		want = expect_out(&nat, &first);
		packet_turn_id(&want, id_bits(&nat, &first));
		edge_expect_bytes("first", &result.out, &want);
		result = xdp_edge_send(&edge, &later);
		assert_int_equal(result.reason, GS_REASON_tx_fragment);
		want = expect_later(&nat, &later, true);
		edge_expect_bytes("later", &result.out, &want);

		later = piece(&nat.reply, false, id);
		expect_pass("its first has not come", &later, GS_REASON_pass_fragment);
		first = piece(&nat.reply, true, id);
		result = xdp_edge_send(&edge, &first);
		assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
		want = expect_back(&nat, &first);
		edge_expect_bytes("first back", &result.out, &want);
		result = xdp_edge_send(&edge, &later);
		assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
		want = expect_later(&nat, &later, false);
		edge_expect_bytes("later back", &result.out, &want);
		/* of another datagram, or of nobody's */
		later = piece(&nat.reply, false, id + 1000);
		expect_pass("another datagram", &later, GS_REASON_pass_fragment);
		nat.reply.dport ^= 1;
		first = piece(&nat.reply, true, id + 2000);
		later = piece(&nat.reply, false, id + 2000);
		expect_pass("nobody's first", &first, GS_REASON_pass_fragment);
		expect_pass("nobody's later", &later, GS_REASON_pass_fragment);
		xdp_edge_forget(&edge);
	}
}

/* As the backend sees it. */
static uint32_t id_of(const struct packet *packet)
{
	uint32_t id;

	if (packet->bytes[PACKET_L3] >> 4 == 4)
		return packet_get16(packet->bytes + PACKET_L3 + 4);
	memcpy(&id, packet->bytes + PACKET_L3 + 44, 4);
	return id;
}

/* A first fragment and a later one of this client and id: one id leaves, which is returned. */
static uint32_t id_that_leaves(const struct packet_spec *spec, uint32_t id)
{
	struct packet first = piece(spec, true, id), later = piece(spec, false, id);
	struct xdp_result result = xdp_edge_send(&edge, &first);
	uint32_t leaves;

	assert_int_equal(result.action, XDP_TX);
	leaves = id_of(&result.out);
	result = xdp_edge_send(&edge, &later);
	assert_int_equal(result.reason, GS_REASON_tx_fragment);
	assert_int_equal(id_of(&result.out), leaves);
	return leaves;
}

/*
 * Behind NAT all clients are one: their datagrams must not be put together for having one id. A
 * client's own, whatever its ports, go on being different.
 */
static void ids_of_clients_do_not_mix(void **state)
{
	enum { CLIENTS = 100, OF_ONE = 60 };
	(void)state;

	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		uint32_t ids[CLIENTS], same = 0;
		struct gs_meta_value meta = xdp_edge_meta(&edge);
		char client[64];
		struct packet_spec spec = {.family = is_v6 ? 6 : 4,
					   .protocol = IPPROTO_UDP,
					   .dport = 53,
					   .src = client};

		set_nat(is_v6 ? SERVICE_DNS6 : SERVICE_DNS4, is_v6 ? 3 : 1, 0);
		for (uint32_t i = 0; i < CLIENTS; i++) {
			snprintf(client, sizeof(client), is_v6 ? "2001:db8:3::%u" : "192.0.2.%u",
				 i + 1);
			ids[i] = id_that_leaves(&spec, 7);
			for (uint32_t j = 0; j < i; j++)
				same += ids[j] == ids[i];
		}
		assert_int_equal(same, 0); /* 0.08 are likely */
		for (uint32_t i = 0; i < OF_ONE; i++) {
			spec.sport = (uint16_t)(2000 + i);
			ids[i] = id_that_leaves(&spec, 100 + i);
			for (uint32_t j = 0; j < i; j++)
				assert_int_not_equal(ids[j], ids[i]);
		}
		meta.table_seed ^= 0x1234567;
		xdp_edge_set_meta(&edge, &meta);
		spec.sport = 2000;
		assert_int_not_equal(id_that_leaves(&spec, 100), ids[0]); /* nobody can tell */
		meta.table_seed ^= 0x1234567;
		xdp_edge_set_meta(&edge, &meta);
		assert_int_equal(id_that_leaves(&spec, 100), ids[0]);
		xdp_edge_forget(&edge);
	}
}

/* What is whole has no use for another id. */
static void whole_packets_keep_their_id(void **state)
{
	struct packet_spec spec = {.protocol = IPPROTO_UDP, .dport = 53, .payload = 20};
	struct packet packet;
	(void)state;

	set_nat(SERVICE_DNS4, 1, 0);
	for (int has_df = 0; has_df < 2; has_df++) {
		struct xdp_result result;

		spec.fragment = has_df ? 0x4000 : 0;
		packet = packet_build(&spec);
		set_id(&packet, 4711);
		result = xdp_edge_send(&edge, &packet);
		assert_int_equal(result.action, XDP_TX);
		assert_int_equal(id_of(&result.out), 4711);
	}
}

/* An error about a fragment tells its sender of the id that it knows. */
static void errors_about_fragments(void **state)
{
	static const struct {
		struct packet_spec spec;
		uint32_t service, region, length; /* of the quote */
		uint8_t type;
	} cases[] = {
		{{.protocol = IPPROTO_UDP, .dport = 53}, SERVICE_DNS4, 1, 28, 11},
		{{.family = 6, .protocol = IPPROTO_UDP, .dport = 53, .src = client6},
		 SERVICE_DNS6,
		 3,
		 56,
		 3},
	};
	(void)state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		bool is_v6 = cases[i].spec.family == 6;
		struct nat nat = {.spec = cases[i].spec};
		struct packet first, sent, error, want;
		struct packet_ends to;
		struct xdp_result result;

		set_nat(cases[i].service, cases[i].region, 5353);
		first = piece(&cases[i].spec, true, 815);
		sent = nat_send(&nat, &first, 5353).out;
		assert_int_not_equal(id_of(&sent), id_of(&first));
		sent.l4 = first.l4;
		sent.protocol = first.protocol;
		to = ends_back(&nat);
		error = packet_icmp(
			&(struct packet_icmp){.src = is_v6 ? "2001:db8:77::1" : "192.0.2.77",
					      .dst = source_of(&nat),
					      .type = cases[i].type,
					      .code = 1, /* reassembly took too long */
					      .bytes = sent.bytes + PACKET_L3,
					      .length = cases[i].length});
		/* it quotes what came in, but for the TTL */
		first.bytes[PACKET_L3 + (is_v6 ? 7 : 8)]--;
		if (!is_v6)
			packet_fix_ip4(&first);
		want = packet_translate_error(&error, &first, &to);
		result = xdp_edge_send(&edge, &error);
		assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
		edge_expect_bytes("back", &result.out, &want);
	}
}

static void forget_nat(void)
{
	static const struct gs_flow_bucket empty;

	for (uint32_t i = 0; i < EDGE_NAT_PLANES * GS_NAT_BUCKETS; i++)
		xdp_edge_set(&edge, GS_MAP_NAT_FLOWS, &i, &empty);
}

/* Another edge's flow, or one that lost its slot: there is no port to send its pieces from. */
static void pieces_of_unknown_flows(void **state)
{
	struct packet_spec spec = {.flags = SYN};
	struct packet first = piece(&spec, true, 5), later = piece(&spec, false, 5);
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	assert_int_equal(xdp_edge_send(&edge, &first).reason, GS_REASON_tx_new);
	forget_nat();
	assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_drop_nat_unknown);
	assert_int_equal(xdp_edge_send(&edge, &later).action, XDP_DROP);
	xdp_edge_send(&edge, &first);
	assert_int_equal(xdp_edge_send(&edge, &later).reason, GS_REASON_tx_fragment);
}

/* ---- ICMP errors ----------------------------------------------------------------------------- */

/* From a router on the way, about this packet; `quoted` bytes of it. */
static struct packet error_about(const struct packet *packet, const char *router, const char *to,
				 uint32_t quoted)
{
	bool is_v6 = strchr(to, ':') != NULL;

	return packet_icmp(&(struct packet_icmp){.src = router,
						 .dst = to,
						 .type = is_v6 ? 2 : 3,
						 .code = is_v6 ? 0 : 4,
						 .rest = 1400,
						 .bytes = packet->bytes + PACKET_L3,
						 .length = quoted,
						 .ds = 0xc0});
}

static void errors_are_translated_with_what_they_quote(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bool is_v6 = rows[i].spec.family == 6;
		const char *router = is_v6 ? "2001:db8:77::1" : "192.0.2.77";
		struct packet_spec spec = rows[i].spec;
		struct packet packet, about, error, want;
		struct packet_ends to;
		struct xdp_result result;
		struct nat nat;

		spec.payload = 60;
		set_nat(rows[i].service, rows[i].region, rows[i].port);
		nat_open(&nat, &spec, rows[i].port);
		nat.reply.payload = 60;
		nat.reply.extensions = spec.extensions;
		for (uint32_t behind = 4; behind <= 60; behind++) {
			if (behind == (spec.protocol == IPPROTO_UDP ? 7 : 17))
				continue; /* half of a checksum stays as it is */
			/* about the service's answer, which the client's side could not take */
			packet = packet_build(&spec);
			about = packet_reverse(&packet);
			error = error_about(&about, router, vip_of(&nat),
					    about.l4 - PACKET_L3 + behind);
			to = ends_out(&nat);
			want = packet_translate_error(&error, &about, &to);
			result = xdp_edge_send(&edge, &error);
			assert_int_equal(result.reason, GS_REASON_tx_icmp);
			edge_expect_bytes("there", &result.out, &want);
			/* about what the edge sent to the backend */
			packet = packet_build(&nat.reply);
			about = packet_reverse(&packet);
			error = error_about(&about, router, source_of(&nat),
					    about.l4 - PACKET_L3 + behind);
			to = ends_back(&nat);
			want = packet_translate_error(&error, &about, &to);
			result = xdp_edge_send(&edge, &error);
			assert_int_equal(result.reason, GS_REASON_tx_nat_reply);
			edge_expect_bytes("back", &result.out, &want);
		}
		/* they prove nothing and keep nothing alive */
		expect_entry("errors", &nat, 0, false);
		xdp_edge_forget(&edge);
	}
}

/* 0 in the quote is no checksum there either. */
static void errors_about_udp_without_a_checksum(void **state)
{
	struct packet_spec spec = {.protocol = IPPROTO_UDP, .dport = 53, .payload = 20};
	struct packet packet, about, error, want;
	struct packet_ends to;
	struct xdp_result result;
	struct nat nat;
	(void)state;

	set_nat(SERVICE_DNS4, 1, 5353);
	nat_open(&nat, &spec, 5353);
	packet = packet_build(&nat.reply);
	packet_put16(packet.bytes + packet.l4 + 6, 0);
	about = packet_reverse(&packet);
	error = error_about(&about, "192.0.2.77", edge4, 48 - 20);
	to = ends_back(&nat);
	want = packet_translate_error(&error, &about, &to);
	result = xdp_edge_send(&edge, &error);
	edge_expect_bytes("back", &result.out, &want);
}

/* About what we never sent: the kernel's, or nobody's. */
static void errors_about_unknown_flows(void **state)
{
	struct packet packet, about, error;
	struct xdp_result result;
	struct nat nat;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 8080);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 8080);
	packet = packet_build(&nat.reply);
	for (int what = 0; what < 4; what++) {
		struct packet_spec spec = nat.reply;

		if (what == 0)
			spec.dport ^= 1;
		else if (what == 1)
			spec.sport ^= 1;
		else if (what == 2)
			spec.src = "10.9.9.9";
		else
			spec.protocol = IPPROTO_UDP;
		packet = packet_build(&spec);
		about = packet_reverse(&packet);
		error = error_about(&about, "192.0.2.77", edge4, 28);
		expect_pass("not ours", &error, GS_REASON_pass_protocol);
	}
	/* another edge's flow: to which of the backend's connections it belongs is known there */
	packet = packet_build(&(struct packet_spec){.sport = 777});
	about = packet_reverse(&packet);
	error = error_about(&about, "192.0.2.77", vip_of(&nat), 28);
	result = xdp_edge_send(&edge, &error);
	assert_int_equal(result.reason, GS_REASON_drop_nat_unknown);
	assert_int_equal(result.action, XDP_DROP);
}

/* Cut anywhere, they are not translated; what is left of them passes as it came. */
static void errors_cut_at_every_byte(void **state)
{
	struct packet packet, about, error;
	struct nat nat;
	uint32_t whole;
	(void)state;

	set_nat(SERVICE_WEB6, 3, 0);
	nat_open(&nat, &(struct packet_spec){.family = 6, .flags = SYN, .src = client6}, 0);
	packet = packet_build(&nat.reply);
	about = packet_reverse(&packet);
	error = error_about(&about, "2001:db8:77::1", edge6, 60);
	whole = error.length;
	for (error.length = 14; error.length < whole; error.length++) {
		struct xdp_result result = xdp_edge_send(&edge, &error);

		assert_int_equal(result.action, XDP_PASS);
		edge_expect_bytes("cut", &result.out, &error);
	}
	assert_int_equal(xdp_edge_send(&edge, &error).reason, GS_REASON_tx_nat_reply);
}

static void the_last_hop_of_errors(void **state)
{
	struct packet packet, about, error;
	struct nat nat;
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	nat_open(&nat, &(struct packet_spec){.flags = SYN}, 0);
	packet = packet_build(&nat.reply);
	about = packet_reverse(&packet);
	error = error_about(&about, "192.0.2.77", edge4, 40);
	error.bytes[PACKET_L3 + 8] = 1;
	packet_fix_ip4(&error);
	assert_int_equal(xdp_edge_send(&edge, &error).reason, GS_REASON_drop_ttl);
}

/* ---- MSS ------------------------------------------------------------------------------------- */

/* TCP with these options, in 4-byte units. */
static struct packet with_options(const struct packet_spec *spec, const uint8_t *options,
				  uint32_t length)
{
	struct packet_spec of = *spec;
	struct packet packet;
	uint8_t *l4;

	of.payload = (uint16_t)(length + 3);
	packet = packet_build(&of);
	l4 = packet.bytes + packet.l4;
	memcpy(l4 + 20, options, length);
	l4[12] = (uint8_t)((20 + length) / 4 << 4);
	packet_fix_l4(&packet);
	return packet;
}

#define NOP4 1, 1, 1, 1
static const struct {
	const char *name;
	uint8_t options[40];
	uint8_t length;
	uint8_t at; /* of the MSS's value in the options that is clamped; 0: none is */
} mss_rows[] = {
	{"first", {2, 4, 0x05, 0xb4}, 4, 2},
	{"behind others", {4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 0xff, 0xff}, 16, 14},
	{"at an odd place", {1, 2, 4, 0x05, 0xb4, 1, 1, 1}, 8, 3},
	{"the last that fits", {1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 0x23, 0x28}, 12, 10},
	{"small enough", {2, 4, 0x05, 0x78}, 4, 0}, /* 1,400 */
	{"of another length", {2, 3, 0x05, 0xb4}, 4, 0},
	{"longer than it", {2, 5, 0x05, 0xb4, 9, 1, 1, 1}, 8, 0},
	{"behind the end", {0, 2, 4, 0x05, 0xb4, 0, 0, 0}, 8, 0},
	{"an option of no length", {8, 0, 2, 4, 0x05, 0xb4, 1, 1}, 8, 0},
	{"an option of one byte", {8, 1, 2, 4, 0x05, 0xb4, 1, 1}, 8, 0},
	{"an option beyond the header", {8, 40, 2, 4, 0x05, 0xb4, 1, 1}, 8, 0},
	{"an option of 255 bytes", {8, 255, 2, 4, 0x05, 0xb4, 1, 1}, 8, 0},
	{"cut off by the header's end", {1, 1, 1, 1, 1, 1, 2, 4}, 8, 0},
	{"nothing but NOPs", {NOP4, NOP4, NOP4, NOP4, NOP4, NOP4, NOP4, NOP4, NOP4, NOP4}, 40, 0},
	{"none", {0}, 0, 0},
};

/* To what fits the hop (1,440: 1,400 of TCP over IPv4, 1,380 over IPv6), in SYNs both ways only. */
static void mss_is_clamped(void **state)
{
	(void)state;
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		struct packet_spec spec = {
			.family = is_v6 ? 6 : 4, .flags = SYN, .src = is_v6 ? client6 : NULL};
		struct nat nat;

		set_nat(is_v6 ? SERVICE_WEB6 : SERVICE_WEB4, is_v6 ? 3 : 1, 8080);
		nat_open(&nat, &spec, 8080);
		set_mtu(is_v6 ? 1460 : 1440);
		for (unsigned i = 0; i < ARRAY_SIZE(mss_rows); i++)
			for (int what = 0; what < 4; what++) {
				struct packet_spec of = what % 2 ? nat.reply : spec;
				struct packet packet, want;
				struct xdp_result result;

				of.flags = what < 2 ? (what % 2 ? SYN | ACK : SYN) : ACK;
				packet = with_options(&of, mss_rows[i].options, mss_rows[i].length);
				want = what % 2 ? expect_back(&nat, &packet)
						: expect_out(&nat, &packet);
				if (mss_rows[i].at && what < 2) {
					packet_put16(want.bytes + want.l4 + 20 + mss_rows[i].at,
						     1400);
					packet_fix_l4(&want);
				}
				result = xdp_edge_send(&edge, &packet);
				assert_int_equal(result.action, XDP_TX);
				edge_expect_bytes(mss_rows[i].name, &result.out, &want);
			}
		set_mtu(1500);
	}
}

/* ---- many at once ---------------------------------------------------------------------------- */

/* Few enough that none has to go for another one, should both backends share a plane. */
enum { THREADS = 4, FLOWS = 1500 };

struct crowd {
	int prog_fd;
	uint32_t first;
	uint16_t port[FLOWS];
	uint8_t backend[FLOWS];
};

/* No asserts: another thread's longjmp would end here. Port 0 is a failure. */
static void *claim_many(void *context)
{
	struct crowd *crowd = context;

	for (uint32_t i = 0; i < FLOWS; i++) {
		uint32_t flow = crowd->first + i;
		char src[32];
		struct packet packet, out;

		snprintf(src, sizeof(src), "192.0.2.%u", 1 + flow % 200);
		packet = packet_build(&(struct packet_spec){
			.flags = SYN, .src = src, .sport = (uint16_t)(1024 + flow / 200)});
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet.bytes,
			    .data_size_in = packet.length, .data_out = out.bytes,
			    .data_size_out = sizeof(out.bytes), .repeat = 1);

		if (bpf_prog_test_run_opts(crowd->prog_fd, &opts) || opts.retval != XDP_TX)
			continue;
		crowd->port[i] = packet_get16(out.bytes + packet.l4);
		crowd->backend[i] = out.bytes[PACKET_L3 + 19];
	}
	return NULL;
}

/* Whoever claims at the same time: no two flows of a backend have one port. */
static void no_port_is_given_twice(void **state)
{
	static struct crowd crowds[THREADS];
	static uint8_t seen[256][65536 / 8];
	pthread_t threads[THREADS];
	(void)state;

	set_nat(SERVICE_WEB4, 1, 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		crowds[i] = (struct crowd){.prog_fd = edge.prog_fd, .first = i * FLOWS};
		assert_int_equal(pthread_create(&threads[i], NULL, claim_many, &crowds[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		for (uint32_t j = 0; j < FLOWS; j++) {
			uint16_t port = crowds[i].port[j];
			uint8_t *bits = &seen[crowds[i].backend[j]][port / 8];

			assert_in_range(port, GS_NAT_PORT_FIRST, 32767);
			assert_false(*bits >> port % 8 & 1);
			*bits |= (uint8_t)(1 << port % 8);
		}
}

/* ---- main ------------------------------------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	xdp_edge_open(&edge);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	xdp_edge_close(&edge);
	return 0;
}

#define NAT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NAT_TEST(both_ways_byte_for_byte),
		NAT_TEST(udp_without_a_checksum),
		NAT_TEST(udp_checksums_of_zero),
		NAT_TEST(damage_is_not_mended),
		NAT_TEST(only_the_backends_replies_are_taken),
		NAT_TEST(replies_cut_at_every_byte),
		NAT_TEST(replies_of_what_was_a_backend),
		NAT_TEST(families_do_not_mix),
		NAT_TEST(replies_follow_the_client),
		NAT_TEST(each_side_has_its_vlan),
		NAT_TEST(sources_may_be_spread),
		NAT_TEST(the_last_hop_is_here),
		NAT_TEST(as_large_as_the_hop_takes),
		NAT_TEST(no_source_no_way),
		NAT_TEST(a_backend_may_be_the_client),
		NAT_TEST(a_tcp_flow_is_proven_and_ends),
		NAT_TEST(a_tcp_flow_is_not_proven_by_less),
		NAT_TEST(a_reset_that_answers_a_syn_counts),
		NAT_TEST(a_trial_is_answered_by_its_backend),
		NAT_TEST(a_reset_of_nothing_does_not_count),
		NAT_TEST(a_udp_flow_is_proven_by_talking),
		NAT_TEST(what_goes_no_further_takes_no_slot),
		NAT_TEST(who_makes_room),
		NAT_TEST(the_longest_silent_makes_room),
		NAT_TEST(a_slot_that_changed_hands),
		NAT_TEST(details_that_do_not_fit_are_not_used),
		NAT_TEST(a_flow_that_is_picked_again),
		NAT_TEST(pieces_go_both_ways),
		NAT_TEST(ids_of_clients_do_not_mix),
		NAT_TEST(whole_packets_keep_their_id),
		NAT_TEST(errors_about_fragments),
		NAT_TEST(pieces_of_unknown_flows),
		NAT_TEST(errors_are_translated_with_what_they_quote),
		NAT_TEST(errors_about_udp_without_a_checksum),
		NAT_TEST(errors_about_unknown_flows),
		NAT_TEST(errors_cut_at_every_byte),
		NAT_TEST(the_last_hop_of_errors),
		NAT_TEST(mss_is_clamped),
		NAT_TEST(no_port_is_given_twice),
	};

	return cmocka_run_group_tests_name("nat", tests, NULL, NULL);
}
