/* SPDX-License-Identifier: Apache-2.0 */
#include "packet.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ETH = 14, IP4 = 20, IP6 = 40, TCP = 20, UDP = 8, EXTENSION = 8 };

static const uint8_t edge_mac[6] = {2, 0, 0, 0, 0, 0xed};
static const uint8_t router_mac[6] = {2, 0, 0, 0, 0, 0x01};

void packet_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

uint16_t packet_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t sum_words(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
	for (uint32_t i = 0; i + 1 < length; i += 2)
		sum += packet_get16(bytes + i);
	if (length % 2)
		sum += (uint32_t)bytes[length - 1] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint16_t packet_checksum(const uint8_t *bytes, uint32_t length)
{
	return fold(sum_words(bytes, length, 0));
}

void packet_addr(const char *text, uint8_t ret_addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(ret_addr, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, text, ret_addr + 12) != 1 &&
	    inet_pton(AF_INET6, text, ret_addr) != 1)
		abort();
}

bool packet_is_martian(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t none[16] = {0}, loopback[16] = {[15] = 1};
	const uint8_t *v4 = addr + 12;

	if (memcmp(addr, mapped, sizeof(mapped)) == 0)
		return v4[0] == 0 || v4[0] == 127 || (v4[0] >= 224 && v4[0] < 240) ||
		       (v4[0] == 255 && v4[1] == 255 && v4[2] == 255 && v4[3] == 255);
	return addr[0] == 0xff || memcmp(addr, none, 16) == 0 || memcmp(addr, loopback, 16) == 0;
}

void packet_fix_ip4(struct packet *packet)
{
	uint8_t *ip = packet->bytes + ETH;

	packet_put16(ip + 10, 0);
	packet_put16(ip + 10, packet_checksum(ip, (uint32_t)(ip[0] & 15) * 4));
}

/* Addresses and pseudo header are 2 x size bytes at `addrs`. */
static void fill_l4(struct packet *packet, const struct packet_spec *spec, uint8_t protocol,
		    const uint8_t *addrs, uint32_t size)
{
	uint8_t *l4 = packet->bytes + packet->l4;
	uint32_t header = protocol == IPPROTO_TCP ? TCP : UDP, length = header + spec->payload;
	uint32_t at = protocol == IPPROTO_TCP ? 16 : 6;

	packet_put16(l4, spec->sport ? spec->sport : 40000);
	packet_put16(l4 + 2, spec->dport ? spec->dport : 80);
	if (protocol == IPPROTO_TCP) {
		packet_put16(l4 + 6, 0x1234);
		l4[12] = TCP / 4 << 4;
		l4[13] = spec->flags ? spec->flags : 0x10;
		packet_put16(l4 + 14, 65535);
	} else {
		packet_put16(l4 + 4, (uint16_t)length);
	}
	for (uint32_t i = header; i < length; i++)
		l4[i] = (uint8_t)(i * 7 + 1);
	packet_put16(l4 + at, 0);
	packet_put16(l4 + at,
		     fold(sum_words(l4, length, sum_words(addrs, 2 * size, protocol + length))));
	packet->length = packet->l4 + length;
}

static void build_ip4(struct packet *packet, const struct packet_spec *spec, uint8_t protocol)
{
	uint8_t *ip = packet->bytes + ETH, addr[16];
	uint32_t header = IP4 + spec->ip_options;

	ip[0] = (uint8_t)(0x40 | header / 4);
	ip[1] = spec->ds;
	packet_put16(ip + 4, 0xbeef);
	packet_put16(ip + 6, spec->fragment);
	ip[8] = 57;
	ip[9] = protocol;
	packet_addr(spec->src ? spec->src : "192.0.2.1", addr);
	memcpy(ip + 12, addr + 12, 4);
	packet_addr(spec->dst ? spec->dst : "198.51.100.10", addr);
	memcpy(ip + 16, addr + 12, 4);
	memset(ip + IP4, 1, spec->ip_options); /* NOP */
	packet->l4 = ETH + header;
	fill_l4(packet, spec, protocol, ip + 12, 4);
	packet_put16(ip + 2, (uint16_t)(packet->length - ETH));
	packet_fix_ip4(packet);
}

static uint8_t extension_number(char letter)
{
	switch (letter) {
	case 'h':
		return IPPROTO_HOPOPTS;
	case 'r':
		return IPPROTO_ROUTING;
	case 'd':
		return IPPROTO_DSTOPTS;
	case 'a':
		return IPPROTO_AH;
	case 'f':
	case 'l':
	case 'o':
		return IPPROTO_FRAGMENT;
	default:
		abort();
	}
}

static uint32_t extension_bytes(char letter)
{
	return letter == 'a' ? 2 * EXTENSION : EXTENSION;
}

static void build_ip6(struct packet *packet, const struct packet_spec *spec, uint8_t protocol)
{
	const char *letters = spec->extensions ? spec->extensions : "";
	uint8_t *ip = packet->bytes + ETH, *next = ip + 6;

	ip[0] = (uint8_t)(0x60 | spec->ds >> 4);
	ip[1] = (uint8_t)(spec->ds << 4 | 0x5); /* a flow label */
	packet_put16(ip + 2, 0x1234);
	ip[7] = 57;
	packet_addr(spec->src ? spec->src : "2001:db8:1::1", ip + 8);
	packet_addr(spec->dst ? spec->dst : "2001:db8:100::10", ip + 24);
	packet->l4 = ETH + IP6;
	for (; *letters; letters++) {
		uint8_t *at = packet->bytes + packet->l4;

		*next = extension_number(*letters);
		next = at;
		memset(at, 0, extension_bytes(*letters));
		if (*letters == 'a')
			at[1] = 2; /* 16 bytes, in 4-byte units less 2 */
		else if (*letters == 'h' || *letters == 'd')
			at[2] = 1, at[3] = 4; /* PadN */
		else if (*letters == 'f')
			at[3] = 1; /* more of them come */
		else if (*letters == 'l')
			at[2] = 0x05, at[3] = 0xa8; /* at byte 1448 */
		else if (*letters == 'o')
			at[1] = 0xff, at[3] = 0x06; /* reserved bits say nothing */
		packet->l4 += extension_bytes(*letters);
	}
	*next = protocol;
	fill_l4(packet, spec, protocol, ip + 8, 16);
	packet_put16(ip + 4, (uint16_t)(packet->length - ETH - IP6));
}

struct packet packet_build(const struct packet_spec *spec)
{
	uint8_t protocol = spec->protocol ? spec->protocol : IPPROTO_TCP;
	struct packet packet = {.protocol = protocol};
	uint16_t type = spec->family == 6 ? 0x86dd : 0x0800;

	memcpy(packet.bytes, edge_mac, sizeof(edge_mac));
	memcpy(packet.bytes + 6, router_mac, sizeof(router_mac));
	packet_put16(packet.bytes + 12, spec->ethertype ? spec->ethertype : type);
	if (spec->family == 6)
		build_ip6(&packet, spec, protocol);
	else
		build_ip4(&packet, spec, protocol);
	memset(packet.bytes + packet.length, 0xcc, spec->padding);
	packet.length += spec->padding;
	return packet;
}

struct packet packet_tag(const struct packet *packet, const uint32_t *tags, uint32_t count)
{
	struct packet out = *packet;

	memmove(out.bytes + 12 + 4 * count, packet->bytes + 12, packet->length - 12);
	for (uint32_t i = 0; i < count; i++) {
		packet_put16(out.bytes + 12 + 4 * i, (uint16_t)(tags[i] >> 16));
		packet_put16(out.bytes + 14 + 4 * i, (uint16_t)tags[i]);
	}
	out.length += 4 * count;
	out.l4 += 4 * count;
	return out;
}

static uint8_t ds_of(const uint8_t *ip)
{
	return ip[0] >> 4 == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

struct packet packet_encapsulate(const struct packet *inner, const struct packet_outer *outer)
{
	const uint8_t *inside = inner->bytes + ETH;
	uint32_t inner_family = inside[0] >> 4;
	uint32_t length = inner_family == 4 ? packet_get16(inside + 2)
					    : IP6 + (uint32_t)packet_get16(inside + 4);
	uint8_t protocol = inner_family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	int is_v6 = strchr(outer->dst, ':') != NULL;
	uint32_t header = is_v6 ? IP6 : IP4;
	struct packet out = {.length = inner->length + header, .l4 = inner->l4 + header};
	uint8_t *ip = out.bytes + ETH, addr[16];

	memcpy(out.bytes, outer->dst_mac, 6);
	memcpy(out.bytes + 6, outer->src_mac, 6);
	packet_put16(out.bytes + 12, is_v6 ? 0x86dd : 0x0800);
	memcpy(ip + header, inside, inner->length - ETH);
	if (is_v6) {
		ip[0] = (uint8_t)(0x60 | ds_of(inside) >> 4);
		ip[1] = (uint8_t)(ds_of(inside) << 4);
		packet_put16(ip + 4, (uint16_t)length);
		ip[6] = protocol;
		ip[7] = 64;
		packet_addr(outer->src, ip + 8);
		packet_addr(outer->dst, ip + 24);
		return out;
	}
	ip[0] = 0x45;
	ip[1] = ds_of(inside);
	packet_put16(ip + 2, (uint16_t)(length + IP4));
	packet_put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = protocol;
	packet_addr(outer->src, addr);
	memcpy(ip + 12, addr + 12, 4);
	packet_addr(outer->dst, addr);
	memcpy(ip + 16, addr + 12, 4);
	packet_fix_ip4(&out);
	return out;
}

struct packet packet_gue(const struct packet *inner, const struct packet_outer *outer,
			 uint16_t sport)
{
	struct packet ipip = packet_encapsulate(inner, outer), out = ipip;
	int is_v6 = strchr(outer->dst, ':') != NULL;
	uint32_t header = ETH + (is_v6 ? IP6 : IP4);
	uint8_t *ip = out.bytes + ETH, *udp = out.bytes + header;
	uint16_t payload = is_v6 ? packet_get16(ip + 4) : (uint16_t)(packet_get16(ip + 2) - IP4);

	memmove(udp + UDP, ipip.bytes + header, ipip.length - header);
	out.length += UDP;
	packet_put16(udp, sport);
	packet_put16(udp + 2, 6080);
	packet_put16(udp + 4, (uint16_t)(payload + UDP));
	packet_put16(udp + 6, 0);
	if (is_v6) {
		packet_put16(ip + 4, (uint16_t)(payload + UDP));
		ip[6] = IPPROTO_UDP;
		return out;
	}
	packet_put16(ip + 2, (uint16_t)(payload + UDP + IP4));
	ip[9] = IPPROTO_UDP;
	packet_fix_ip4(&out);
	return out;
}

struct packet packet_icmp(const struct packet_icmp *icmp)
{
	int is_v6 = strchr(icmp->dst, ':') != NULL;
	uint8_t protocol = is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	uint32_t length = 8 + icmp->length, sum = 0;
	struct packet out = packet_build(&(struct packet_spec){
		.family = is_v6 ? 6 : 4,
		.src = icmp->src,
		.dst = icmp->dst,
		.ds = icmp->ds,
		.ip_options = (uint8_t)icmp->ip_options,
	});
	uint8_t *ip = out.bytes + ETH, *at = out.bytes + out.l4;

	out.protocol = protocol;
	out.length = out.l4 + length;
	at[0] = icmp->type;
	at[1] = icmp->code;
	packet_put16(at + 2, 0);
	packet_put16(at + 4, (uint16_t)(icmp->rest >> 16));
	packet_put16(at + 6, (uint16_t)icmp->rest);
	memcpy(at + 8, icmp->bytes, icmp->length);
	if (is_v6) {
		packet_put16(ip + 4, (uint16_t)length);
		ip[6] = protocol;
		ip[7] = icmp->ttl ? icmp->ttl : 57;
		sum = sum_words(ip + 8, 32, protocol + length);
	} else {
		packet_put16(ip + 2, (uint16_t)(out.length - ETH));
		ip[8] = icmp->ttl ? icmp->ttl : 57;
		ip[9] = protocol;
		packet_fix_ip4(&out);
	}
	packet_put16(at + 2, fold(sum_words(at, length, sum)));
	return out;
}

static void swap(uint8_t *a, uint8_t *b, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		uint8_t was = a[i];

		a[i] = b[i];
		b[i] = was;
	}
}

struct packet packet_reverse(const struct packet *packet)
{
	struct packet out = *packet;
	uint8_t *ip = out.bytes + ETH;

	swap(out.bytes, out.bytes + 6, 6);
	if (ip[0] >> 4 == 4)
		swap(ip + 12, ip + 16, 4);
	else
		swap(ip + 8, ip + 24, 16);
	swap(out.bytes + out.l4, out.bytes + out.l4 + 2, 2);
	return out;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static unsigned packet_cases;

static void tell_cases(void)
{
	printf("# %u packet cases\n", packet_cases);
}

void packet_case(void)
{
	if (packet_cases++ == 0)
		atexit(tell_cases);
}

/* ---- NAT ------------------------------------------------------------------------------------- */

/* Where in the transport header its checksum is. */
static uint32_t check_offset(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
		return 6;
	default:
		return 2;
	}
}

static uint32_t is_ip4(const uint8_t *ip)
{
	return ip[0] >> 4 == 4;
}

void packet_fix_l4(struct packet *packet)
{
	uint8_t *ip = packet->bytes + ETH, *l4 = packet->bytes + packet->l4;
	uint8_t *check = l4 + check_offset(packet->protocol);
	uint32_t end = is_ip4(ip) ? packet_get16(ip + 2) : IP6 + (uint32_t)packet_get16(ip + 4);
	uint32_t length = end - (packet->l4 - ETH), sum = 0;
	uint16_t result;

	if (packet->protocol != IPPROTO_ICMP)
		sum = is_ip4(ip) ? sum_words(ip + 12, 8, packet->protocol + length)
				 : sum_words(ip + 8, 32, packet->protocol + length);
	if (packet->protocol == IPPROTO_UDP && packet_get16(check) == 0)
		return;
	packet_put16(check, 0);
	result = fold(sum_words(l4, length, sum));
	packet_put16(check, packet->protocol == IPPROTO_UDP && !result ? 0xffff : result);
}

static void put_addrs(struct packet *packet, const char *src, const char *dst)
{
	uint8_t *ip = packet->bytes + ETH, addr[16];
	uint32_t size = is_ip4(ip) ? 4 : 16, at = is_ip4(ip) ? 12 : 8;

	packet_addr(src, addr);
	memcpy(ip + at, addr + 16 - size, size);
	packet_addr(dst, addr);
	memcpy(ip + at + size, addr + 16 - size, size);
	if (is_ip4(ip))
		packet_fix_ip4(packet);
}

struct packet packet_readdress(const struct packet *in, const struct packet_ends *to)
{
	struct packet out = *in;
	uint8_t *ip = out.bytes + ETH;

	memcpy(out.bytes, to->dst_mac, 6);
	memcpy(out.bytes + 6, to->src_mac, 6);
	ip[is_ip4(ip) ? 8 : 7]--;
	put_addrs(&out, to->src, to->dst);
	return out;
}

struct packet packet_translate(const struct packet *in, const struct packet_ends *to)
{
	struct packet out = packet_readdress(in, to);

	packet_put16(out.bytes + out.l4, to->sport);
	packet_put16(out.bytes + out.l4 + 2, to->dport);
	packet_fix_l4(&out);
	return out;
}

void packet_turn_id(struct packet *packet, uint32_t bits)
{
	int is_v4 = is_ip4(packet->bytes + ETH);
	uint8_t *at = is_v4 ? packet->bytes + ETH + 4 : packet->bytes + packet->l4 - 4;
	uint32_t id = 0;

	memcpy(&id, at, is_v4 ? 2 : 4);
	id ^= bits;
	memcpy(at, &id, is_v4 ? 2 : 4);
	if (is_v4)
		packet_fix_ip4(packet);
}

struct packet packet_translate_error(const struct packet *in, const struct packet *quoted,
				     const struct packet_ends *to)
{
	struct packet out = packet_readdress(in, to), inside = *quoted;
	const uint8_t *ip = out.bytes + ETH;
	uint32_t end = is_ip4(ip) ? packet_get16(ip + 2) : IP6 + (uint32_t)packet_get16(ip + 4);

	put_addrs(&inside, to->dst, to->src);
	packet_put16(inside.bytes + inside.l4, to->dport);
	packet_put16(inside.bytes + inside.l4 + 2, to->sport);
	packet_fix_l4(&inside);
	memcpy(out.bytes + out.l4 + 8, inside.bytes + ETH, end + ETH - out.l4 - 8);
	packet_fix_l4(&out);
	return out;
}
