// SPDX-License-Identifier: Apache-2.0
#include "cidr.h"

#include <errno.h>
#include <string.h>

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * A decimal number without sign, blanks or superfluous zeros, 0 .. max. Returns what follows it, or
 * NULL. inet_aton's octal reading of "010" is how two programs disagree about an address.
 */
static const char *parse_decimal(const char *text, unsigned max, unsigned *ret_value)
{
	unsigned value = 0;
	const char *c = text;

	if (*c == '0' && c[1] >= '0' && c[1] <= '9')
		return NULL;
	for (; *c >= '0' && *c <= '9'; c++) {
		value = value * 10 + (unsigned)(*c - '0');
		if (value > max)
			return NULL;
	}
	if (c == text)
		return NULL;
	*ret_value = value;
	return c;
}

/* Four octets into out; the text up to `end` exactly. */
static int parse_quad(const char *text, const char *end, uint8_t out[4])
{
	uint8_t octets[4];

	for (int i = 0; i < 4; i++) {
		unsigned value;

		if (i > 0 && *text++ != '.')
			return -EINVAL;
		text = parse_decimal(text, 255, &value);
		if (!text)
			return -EINVAL;
		octets[i] = (uint8_t)value;
	}
	if (text != end)
		return -EINVAL;
	memcpy(out, octets, sizeof(octets));
	return 0;
}

/* One to four hexadecimal digits; returns what follows them, or NULL. */
static const char *parse_group(const char *text, uint8_t out[2])
{
	unsigned value = 0;
	int digits = 0;

	for (; digits < 5 && hex_digit(*text) >= 0; digits++, text++)
		value = value << 4 | (unsigned)hex_digit(*text);
	if (digits == 0 || digits == 5)
		return NULL;
	out[0] = (uint8_t)(value >> 8);
	out[1] = (uint8_t)value;
	return text;
}

/* Is the group that starts here the dotted quad of RFC 4291, 2.2.3? */
static bool at_quad(const char *text, const char *end)
{
	while (text < end && *text >= '0' && *text <= '9')
		text++;
	return text < end && *text == '.';
}

/* The groups of an IPv6 address in order, and where "::" stood among them. */
struct groups {
	uint8_t bytes[16];
	size_t used;
	size_t gap; /* NO_GAP: nowhere */
};

#define NO_GAP SIZE_MAX

/* One group, or the quad at the end; returns what follows, or NULL. */
static const char *parse_part(const char *text, const char *end, struct groups *groups)
{
	size_t room = sizeof(groups->bytes) - groups->used;

	if (room >= 4 && at_quad(text, end)) {
		if (parse_quad(text, end, groups->bytes + groups->used))
			return NULL;
		groups->used += 4;
		return end;
	}
	text = room >= 2 ? parse_group(text, groups->bytes + groups->used) : NULL;
	groups->used += 2;
	return text;
}

/* The colon between two groups, or "::"; returns what follows, or NULL. */
static const char *parse_colon(const char *text, const char *end, struct groups *groups)
{
	if (*text++ != ':' || text == end)
		return NULL;
	if (*text != ':')
		return text;
	if (groups->gap != NO_GAP)
		return NULL;
	groups->gap = groups->used;
	return text + 1;
}

static int parse_v6(const char *text, const char *end, uint8_t out[16])
{
	struct groups groups = {.gap = NO_GAP};
	size_t behind;

	if (text[0] == ':' && text[1] == ':') {
		groups.gap = 0;
		text += 2;
	}
	while (text && text < end) {
		text = parse_part(text, end, &groups);
		if (text && text < end)
			text = parse_colon(text, end, &groups);
	}
	if (!text)
		return -EINVAL;
	/* "::" stands for one group at least */
	if (groups.gap == NO_GAP ? groups.used != 16 : groups.used > 14)
		return -EINVAL;
	if (groups.gap == NO_GAP)
		groups.gap = groups.used;
	behind = groups.used - groups.gap;
	memset(out, 0, 16);
	memcpy(out, groups.bytes, groups.gap);
	memcpy(out + 16 - behind, groups.bytes + groups.gap, behind);
	return 0;
}

static int parse_span(const char *text, const char *end, struct gs_addr *ret_addr)
{
	struct gs_addr addr;

	if (memchr(text, ':', (size_t)(end - text))) {
		if (parse_v6(text, end, addr.bytes))
			return -EINVAL;
	} else {
		memcpy(addr.bytes, v4_mapped, sizeof(v4_mapped));
		if (parse_quad(text, end, addr.bytes + 12))
			return -EINVAL;
	}
	*ret_addr = addr;
	return 0;
}

int gs_addr_parse(const char *text, struct gs_addr *ret_addr)
{
	return parse_span(text, text + strlen(text), ret_addr);
}

static char *put_decimal(char *out, unsigned value)
{
	if (value >= 100)
		*out++ = (char)('0' + value / 100);
	if (value >= 10)
		*out++ = (char)('0' + value / 10 % 10);
	*out++ = (char)('0' + value % 10);
	return out;
}

static char *put_quad(char *out, const uint8_t octets[4])
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*out++ = '.';
		out = put_decimal(out, octets[i]);
	}
	return out;
}

static char *put_group(char *out, unsigned value)
{
	static const char digits[] = "0123456789abcdef";
	int shift = 12;

	while (shift > 0 && value >> shift == 0)
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*out++ = digits[value >> shift & 15];
	return out;
}

/* The longest run of at least two zero groups, the first of equals (RFC 5952, 4.2). */
static void longest_zero_run(const unsigned groups[8], int *ret_start, int *ret_length)
{
	int best = -1, best_length = 1;

	for (int i = 0; i < 8; i++) {
		int length = 0;

		while (i + length < 8 && groups[i + length] == 0)
			length++;
		if (length > best_length) {
			best = i;
			best_length = length;
		}
		i += length;
	}
	*ret_start = best;
	*ret_length = best < 0 ? 0 : best_length;
}

static char *put_v6(char *out, const uint8_t bytes[16])
{
	unsigned groups[8];
	int run, run_length;

	for (size_t i = 0; i < 8; i++)
		groups[i] = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
	longest_zero_run(groups, &run, &run_length);
	for (int i = 0; i < 8; i++) {
		if (i == run) {
			*out++ = ':';
			i += run_length - 1;
			if (i == 7)
				*out++ = ':';
			continue;
		}
		if (i > 0)
			*out++ = ':';
		out = put_group(out, groups[i]);
	}
	return out;
}

static char *put_addr(char *out, const struct gs_addr *addr)
{
	return gs_addr_is_v4(addr) ? put_quad(out, addr->bytes + 12) : put_v6(out, addr->bytes);
}

const char *gs_addr_format(const struct gs_addr *addr, char out[GS_ADDR_TEXT_MAX])
{
	*put_addr(out, addr) = '\0';
	return out;
}

bool gs_addr_is_v4(const struct gs_addr *addr)
{
	return memcmp(addr->bytes, v4_mapped, sizeof(v4_mapped)) == 0;
}

struct gs_addr gs_addr_from_v4(uint32_t host_order)
{
	struct gs_addr addr;

	memcpy(addr.bytes, v4_mapped, sizeof(v4_mapped));
	addr.bytes[12] = (uint8_t)(host_order >> 24);
	addr.bytes[13] = (uint8_t)(host_order >> 16);
	addr.bytes[14] = (uint8_t)(host_order >> 8);
	addr.bytes[15] = (uint8_t)host_order;
	return addr;
}

uint32_t gs_addr_to_v4(const struct gs_addr *addr)
{
	return (uint32_t)addr->bytes[12] << 24 | (uint32_t)addr->bytes[13] << 16 |
	       (uint32_t)addr->bytes[14] << 8 | addr->bytes[15];
}

int gs_addr_compare(const struct gs_addr *a, const struct gs_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* bits: of all 128 */
static void clear_host_bits(struct gs_addr *addr, unsigned bits)
{
	for (unsigned i = bits / 8; i < sizeof(addr->bytes); i++) {
		unsigned keep = i == bits / 8 ? bits % 8 : 0;

		addr->bytes[i] &= (uint8_t)(0xff00u >> keep);
	}
}

/*
 * IPv4 written the IPv6 way ("::ffff:192.0.2.0/120") is the IPv4 prefix; a shorter length than its
 * /96 would reach over both families and has the mapping's own bits as host bits.
 */
int gs_prefix_parse(const char *text, struct gs_prefix *ret_prefix)
{
	const char *slash = strchr(text, '/');
	const char *end = slash ? slash : text + strlen(text);
	unsigned full = memchr(text, ':', (size_t)(end - text)) ? 128 : 32;
	unsigned length = full;
	struct gs_prefix prefix = {0};
	struct gs_addr masked;

	if (parse_span(text, end, &prefix.addr))
		return -EINVAL;
	if (slash) {
		const char *rest = parse_decimal(slash + 1, 999, &length);

		if (!rest || *rest != '\0')
			return -EINVAL;
	}
	if (length > full)
		return -ERANGE;
	masked = prefix.addr;
	clear_host_bits(&masked, 128 - full + length);
	if (gs_addr_compare(&masked, &prefix.addr) != 0)
		return -EDOM;
	prefix.is_v4 = gs_addr_is_v4(&prefix.addr);
	prefix.length = (uint8_t)(prefix.is_v4 && full == 128 ? length - 96 : length);
	*ret_prefix = prefix;
	return 0;
}

const char *gs_prefix_format(const struct gs_prefix *prefix, char out[GS_PREFIX_TEXT_MAX])
{
	char *end = put_addr(out, &prefix->addr);

	*end++ = '/';
	*put_decimal(end, prefix->length) = '\0';
	return out;
}

struct gs_prefix gs_prefix_make(const struct gs_addr *addr, uint8_t length)
{
	struct gs_prefix prefix = {.addr = *addr, .is_v4 = gs_addr_is_v4(addr)};
	uint8_t full = prefix.is_v4 ? 32 : 128;

	prefix.length = length < full ? length : full;
	clear_host_bits(&prefix.addr, 128u - full + prefix.length);
	return prefix;
}

/* Families do not contain each other: ::/0 holds no IPv4 address. */
bool gs_prefix_contains(const struct gs_prefix *prefix, const struct gs_addr *addr)
{
	struct gs_prefix around;

	if (gs_addr_is_v4(addr) != prefix->is_v4)
		return false;
	around = gs_prefix_make(addr, prefix->length);
	return gs_addr_compare(&around.addr, &prefix->addr) == 0;
}

int gs_prefix_compare(const struct gs_prefix *a, const struct gs_prefix *b)
{
	int order;

	if (a->is_v4 != b->is_v4)
		return a->is_v4 ? -1 : 1;
	order = gs_addr_compare(&a->addr, &b->addr);
	return order ? order : (int)a->length - (int)b->length;
}
