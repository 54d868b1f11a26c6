// SPDX-License-Identifier: Apache-2.0
/* What the lists say, without I/O. */
#include "loader/decap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MAPPED_BITS 96u
#define OUTER4 20u
#define OUTER6 40u
#define GUE 8u
#define TCP 20u
#define MSS_MIN 88u /* the kernel's own least */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* ---- words -----------------------------------------------------------------------------------*/

/* IPv4 as ::ffff:a.b.c.d. *ret_is_v4: it was written as one. */
static int parse_address(const char *text, uint8_t ret_addr[16], bool *ret_is_v4)
{
	uint8_t addr[16];

	*ret_is_v4 = !strchr(text, ':');
	if (!*ret_is_v4) {
		if (inet_pton(AF_INET6, text, addr) != 1 || !memcmp(addr, mapped, sizeof(mapped)))
			return -EINVAL;
	} else {
		memcpy(addr, mapped, sizeof(mapped));
		if (inet_pton(AF_INET, text, addr + sizeof(mapped)) != 1)
			return -EINVAL;
	}
	memcpy(ret_addr, addr, sizeof(addr));
	return 0;
}

static bool has_bits_beyond(const uint8_t addr[16], uint32_t length)
{
	for (uint32_t bit = length; bit < 128; bit++) {
		if (addr[bit / 8] >> (7 - bit % 8) & 1)
			return true;
	}
	return false;
}

/* Of a key, before the ones a length counts. */
static uint32_t bits_before(bool is_v4)
{
	return GS_DECAP_FAMILY_BITS + (is_v4 ? MAPPED_BITS : 0);
}

int gs_decap_parse_edge(const char *text, struct gs_decap_edge_key *ret_key)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	struct gs_decap_edge_key key = {.prefix_len = GS_DECAP_FAMILY_BITS + 128};
	uint8_t bytes[16];
	bool is_v4;
	char *end;

	if (length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	if (parse_address(address, bytes, &is_v4))
		return -EINVAL;
	if (slash) {
		unsigned long bits = strtoul(slash + 1, &end, 10);

		if (slash[1] < '0' || slash[1] > '9' || *end || bits > (is_v4 ? 32 : 128))
			return -EINVAL;
		key.prefix_len = bits_before(is_v4) + (uint32_t)bits;
	}
	if (has_bits_beyond(bytes, key.prefix_len - GS_DECAP_FAMILY_BITS))
		return -EINVAL;
	key.family = is_v4 ? 4 : 6;
	memcpy(key.addr, bytes, sizeof(key.addr));
	*ret_key = key;
	return 0;
}

int gs_decap_parse_vip(const char *text, struct gs_decap_vip_key *ret_key)
{
	uint8_t bytes[16];
	bool is_v4;

	if (parse_address(text, bytes, &is_v4))
		return -EINVAL;
	memcpy(ret_key->addr, bytes, sizeof(ret_key->addr));
	return 0;
}

static bool is_v4_addr(const __be32 addr[4])
{
	return !memcmp(addr, mapped, sizeof(mapped));
}

const char *gs_decap_format_edge(const struct gs_decap_edge_key *key, char text[GS_DECAP_TEXT_MAX])
{
	char address[INET6_ADDRSTRLEN];
	bool is_v4 = key->family == 4;

	inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? &key->addr[3] : &key->addr[0], address,
		  sizeof(address));
	snprintf(text, GS_DECAP_TEXT_MAX, "%s/%u", address, key->prefix_len - bits_before(is_v4));
	return text;
}

const char *gs_decap_format_vip(const struct gs_decap_vip_key *key, char text[GS_DECAP_TEXT_MAX])
{
	bool is_v4 = is_v4_addr(key->addr);

	inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? &key->addr[3] : &key->addr[0], text,
		  GS_DECAP_TEXT_MAX);
	return text;
}

/* ---- look-ups --------------------------------------------------------------------------------*/

static bool is_within(const struct gs_decap_edge_key *inner, const struct gs_decap_edge_key *outer)
{
	const uint8_t *a = (const uint8_t *)inner->addr, *b = (const uint8_t *)outer->addr;

	if (outer->family != inner->family || outer->prefix_len > inner->prefix_len)
		return false;
	for (uint32_t bit = 0; bit < outer->prefix_len - GS_DECAP_FAMILY_BITS; bit++) {
		if ((a[bit / 8] ^ b[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	}
	return true;
}

bool gs_decap_covers(const struct gs_decap_lists *lists, const struct gs_decap_edge_key *edge)
{
	for (uint32_t i = 0; i < lists->edge_count; i++) {
		if (is_within(edge, &lists->edges[i]))
			return true;
	}
	return false;
}

bool gs_decap_has_vip(const struct gs_decap_lists *lists, const struct gs_decap_vip_key *vip)
{
	for (uint32_t i = 0; i < lists->vip_count; i++) {
		if (!memcmp(&lists->vips[i], vip, sizeof(*vip)))
			return true;
	}
	return false;
}

uint16_t gs_decap_mss_of(uint32_t mtu, const struct gs_decap_lists *lists, int family)
{
	uint32_t outer = OUTER4, headers;

	for (uint32_t i = 0; i < lists->edge_count; i++) {
		if (lists->edges[i].family == 6)
			outer = OUTER6;
	}
	if (mtu > UINT16_MAX)
		mtu = UINT16_MAX;
	headers = outer + GUE + (family == 4 ? OUTER4 : OUTER6) + TCP;
	return mtu < headers + MSS_MIN ? 0 : (uint16_t)(mtu - headers);
}

/* ---- reasons ---------------------------------------------------------------------------------*/

#define NAME(name, verdict, text) #name,
#define MSS_NAME(name, text) #name,
#define TEXT(name, verdict, text) text,
#define MSS_TEXT(name, text) text,

const char *gs_decap_reason_name(uint32_t reason)
{
	static const char *const names[] = {GS_DECAP_REASONS(NAME) GS_DECAP_MSS_REASONS(MSS_NAME)};

	return reason < GS_DECAP__COUNT ? names[reason] : "?";
}

const char *gs_decap_reason_text(uint32_t reason)
{
	static const char *const texts[] = {GS_DECAP_REASONS(TEXT) GS_DECAP_MSS_REASONS(MSS_TEXT)};

	return reason < GS_DECAP__COUNT ? texts[reason] : "?";
}
