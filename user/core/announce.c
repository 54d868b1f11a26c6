/* SPDX-License-Identifier: Apache-2.0 */
#include "announce.h"

#include "cidr.h"

#include <string.h>

enum { ETHERNET = 14, IP6 = 40, ARP = 28, ADVERT = 32, MAC = 6 };

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t announce4(const struct gs_addr *vip, const uint8_t mac[MAC], uint8_t *frame)
{
	static const uint8_t head[] = {0, 1, 0x08, 0, MAC, 4, 0, 1}; /* a request */
	uint8_t *arp = frame + ETHERNET;

	memset(frame, 0xff, MAC);
	put16(frame + 12, 0x0806);
	memcpy(arp, head, sizeof(head));
	memcpy(arp + 8, mac, MAC);
	memcpy(arp + 14, vip->bytes + 12, 4);
	memcpy(arp + 24, vip->bytes + 12, 4);
	return ETHERNET + ARP;
}

/* RFC 1071, over the pseudo header and the advertisement. */
static uint16_t checksum(const uint8_t *ip)
{
	uint32_t sum = ADVERT + 58;

	for (uint32_t i = 8; i < IP6 + ADVERT; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t announce6(const struct gs_addr *vip, const uint8_t mac[MAC], uint8_t *frame)
{
	static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
	static const uint8_t group[MAC] = {0x33, 0x33, 0, 0, 0, 1};
	uint8_t *ip = frame + ETHERNET, *advert = ip + IP6;

	memcpy(frame, group, MAC);
	put16(frame + 12, 0x86dd);
	ip[0] = 6 << 4;
	put16(ip + 4, ADVERT);
	ip[6] = 58;  /* ICMPv6 */
	ip[7] = 255; /* nobody believes one that was routed */
	memcpy(ip + 8, vip->bytes, 16);
	memcpy(ip + 24, all_nodes, 16);
	advert[0] = 136;
	advert[4] = 0x20; /* override */
	memcpy(advert + 8, vip->bytes, 16);
	advert[24] = 2; /* target link-layer address */
	advert[25] = 1;
	memcpy(advert + 26, mac, MAC);
	put16(advert + 2, checksum(ip));
	return ETHERNET + IP6 + ADVERT;
}

uint32_t gs_announce_frame(const struct gs_addr *vip, const uint8_t mac[MAC],
			   uint8_t ret_frame[GS_ANNOUNCE_BYTES])
{
	memset(ret_frame, 0, GS_ANNOUNCE_BYTES);
	memcpy(ret_frame + MAC, mac, MAC);
	return gs_addr_is_v4(vip) ? announce4(vip, mac, ret_frame) : announce6(vip, mac, ret_frame);
}
