/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "cidr.h"

#include <errno.h>
#include <string.h>

enum { ETHERNET = 14, IP4 = 20, IP6 = 40, TCP = 20, UDP = 8, TTL = 64 };

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static int put_ethernet(uint8_t *at, uint16_t type)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

	memcpy(at, macs, sizeof(macs));
	put16(at + 12, type);
	return ETHERNET;
}

static int put_ip4(uint8_t *at, const struct gs_frame_spec *spec, uint8_t protocol, uint32_t room)
{
	at[0] = 0x45;
	put16(at + 2, IP4 + room);
	put16(at + 6, 0x4000); /* don't fragment */
	at[8] = TTL;
	at[9] = protocol;
	memcpy(at + 12, spec->src.bytes + 12, 4);
	memcpy(at + 16, spec->dst.bytes + 12, 4);
	return IP4;
}

static int put_ip6(uint8_t *at, const struct gs_frame_spec *spec, uint8_t protocol, uint32_t room)
{
	at[0] = 0x60;
	put16(at + 4, room);
	at[6] = protocol;
	at[7] = TTL;
	memcpy(at + 8, spec->src.bytes, 16);
	memcpy(at + 24, spec->dst.bytes, 16);
	return IP6;
}

int gs_frame_build(const struct gs_frame_spec *spec, uint8_t out[GS_FRAME_MAX])
{
	bool is_v4 = gs_addr_is_v4(&spec->dst), is_tcp = spec->protocol == GS_PROTOCOL_TCP;
	uint32_t transport = is_tcp ? TCP : UDP;
	uint8_t protocol = is_tcp ? 6 : 17;
	int at;

	if (gs_addr_is_v4(&spec->src) != is_v4)
		return -EINVAL;
	memset(out, 0, GS_FRAME_MAX);
	at = put_ethernet(out, is_v4 ? 0x0800 : 0x86dd);
	at += is_v4 ? put_ip4(out + at, spec, protocol, transport)
		    : put_ip6(out + at, spec, protocol, transport);
	put16(out + at, spec->sport);
	put16(out + at + 2, spec->dport);
	if (is_tcp) {
		out[at + 12] = TCP / 4 << 4;
		out[at + 13] = spec->tcp_flags;
		put16(out + at + 14, 65535);
	} else {
		put16(out + at + 4, UDP);
	}
	return at + (int)transport;
}
