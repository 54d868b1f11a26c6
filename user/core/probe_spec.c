// SPDX-License-Identifier: Apache-2.0
#include "probe_spec.h"

#include <errno.h>
#include <string.h>

static const struct {
	struct gs_probe_text text;
	size_t offset;
} TEXTS[GS_PROBE_TEXTS] = {
#define TEXT(member, otherwise, is_list, what)                 \
	{                                                      \
		{"probe_" #member,                             \
		 #member,                                      \
		 otherwise,                                    \
		 what,                                         \
		 sizeof(((struct gs_probe_spec *)0)->member),  \
		 is_list},                                     \
			offsetof(struct gs_probe_spec, member) \
	}
	TEXT(status, "200-399", false,
	     "is not a list of up to 12 HTTP statuses and ranges of them (as 200-299,404)"),
	TEXT(expect, "", false,
	     "is not up to 127 printable ASCII characters and escapes (\\\\ \\n \\r \\t \\xHH)"),
	TEXT(expect_at, "anywhere", false, "is not one of anywhere and start"),
	TEXT(request, "", false,
	     "is not what the probe's kind asks: udp needs bytes (printable ASCII, \\\\ \\n \\r \\t "
	     "\\xHH), dns a domain name"),
	TEXT(trust, "system", false, "is not one of system, none and /the/path of a file of CAs"),
	TEXT(dns_type, "A", false, "is not a DNS type (as A, SOA or TYPE65)"),
	TEXT(dns_rcode, "noerror", false,
	     "is not one of noerror, formerr, servfail, nxdomain, notimp and refused"),
	TEXT(command, "", false,
	     "is not a command's file name (up to 63 of A-Z, a-z, 0-9, -, _ and ., not beginning "
	     "with . or -), which a probe of kind exec needs"),
	TEXT(arguments, "", true,
	     "is not a list of up to 255 printable ASCII characters without commas"),
	TEXT(via, "auto", false, "is not one of auto, direct and tunnel"),
#undef TEXT
};

const struct gs_probe_text *gs_probe_text(uint32_t index)
{
	return &TEXTS[index].text;
}

const char *gs_probe_text_get(const struct gs_probe_spec *spec, uint32_t index)
{
	return (const char *)spec + TEXTS[index].offset;
}

bool gs_probe_text_set(struct gs_probe_spec *spec, uint32_t index, const char *text)
{
	size_t length = strlen(text);

	if (length >= TEXTS[index].text.size)
		return false;
	memcpy((char *)spec + TEXTS[index].offset, text, length + 1);
	return true;
}

void gs_probe_texts_default(struct gs_probe_spec *spec)
{
	for (uint32_t i = 0; i < GS_PROBE_TEXTS; i++)
		gs_probe_text_set(spec, i, TEXTS[i].text.otherwise);
}

bool gs_probe_asks_same(const struct gs_probe_spec *a, const struct gs_probe_spec *b)
{
	for (uint32_t i = 0; i < GS_PROBE_TEXTS; i++)
		if (strcmp(gs_probe_text_get(a, i), gs_probe_text_get(b, i)) != 0)
			return false;
	return a->kind == b->kind && strcmp(a->path, b->path) == 0 && strcmp(a->host, b->host) == 0;
}

bool gs_probe_needs_port(enum gs_probe_kind kind)
{
	return kind != GS_PROBE_NONE && kind != GS_PROBE_ICMP && kind != GS_PROBE_EXEC;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

static bool is_escaped(const char *text)
{
	uint8_t bytes[sizeof(((struct gs_probe_spec *)0)->request)];

	return gs_probe_unescape(text, bytes) >= 0;
}

static bool is_request(const struct gs_probe_spec *spec)
{
	if (spec->kind == GS_PROBE_DNS)
		return gs_domain_is_valid(spec->request);
	return is_escaped(spec->request) && (spec->request[0] || spec->kind != GS_PROBE_UDP);
}

static bool is_trust(const char *text)
{
	return !*text || strcmp(text, "system") == 0 || strcmp(text, "none") == 0 ||
	       (text[0] == '/' && is_printable(text));
}

static bool is_via(const char *text)
{
	return !*text || strcmp(text, "auto") == 0 || strcmp(text, "direct") == 0 ||
	       strcmp(text, "tunnel") == 0;
}

static bool is_command(const struct gs_probe_spec *spec)
{
	const char *name = spec->command;

	if (!*name)
		return spec->kind != GS_PROBE_EXEC;
	return *name != '.' && *name != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		       strlen(name);
}

bool gs_probe_text_is_valid(const struct gs_probe_spec *spec, uint32_t index)
{
	const char *text = gs_probe_text_get(spec, index);
	struct gs_status_set set;

	if (strnlen(text, TEXTS[index].text.size) == TEXTS[index].text.size)
		return false;
	if (text == spec->status)
		return gs_status_set_parse(text, &set) == 0;
	if (text == spec->expect)
		return is_escaped(text);
	if (text == spec->via)
		return is_via(text);
	if (text == spec->expect_at)
		return !*text || strcmp(text, "anywhere") == 0 || strcmp(text, "start") == 0;
	if (text == spec->request)
		return is_request(spec);
	if (text == spec->trust)
		return is_trust(text);
	if (text == spec->dns_type)
		return gs_dns_type_parse(text) > 0;
	if (text == spec->dns_rcode)
		return gs_dns_rcode_parse(text) >= 0;
	return text == spec->command ? is_command(spec) : is_printable(text);
}

/* ---- statuses -------------------------------------------------------------------------------- */

/* Three digits, 100 .. 599; -EINVAL. */
static int read_status(const char *text)
{
	if (text[0] < '1' || text[0] > '5' || text[1] < '0' || text[1] > '9' || text[2] < '0' ||
	    text[2] > '9')
		return -EINVAL;
	return (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
}

int gs_status_set_parse(const char *text, struct gs_status_set *ret_set)
{
	struct gs_status_set set = {0};

	while (*text) {
		int low = read_status(text), high = low;

		if (low < 0 || set.count == GS_STATUS_RANGES_MAX)
			return -EINVAL;
		text += 3;
		if (*text == '-') {
			high = read_status(text + 1);
			text += high < 0 ? 0 : 4;
		}
		if (high < low || (*text && *text != ',') || (*text == ',' && !text[1]))
			return -EINVAL;
		set.ranges[set.count].low = (uint16_t)low;
		set.ranges[set.count++].high = (uint16_t)high;
		text += *text == ',';
	}
	*ret_set = set;
	return 0;
}

bool gs_status_set_has(const struct gs_status_set *set, uint16_t status)
{
	if (set->count == 0)
		return status >= 200 && status < 400;
	for (uint8_t i = 0; i < set->count; i++)
		if (status >= set->ranges[i].low && status <= set->ranges[i].high)
			return true;
	return false;
}

/* ---- escapes --------------------------------------------------------------------------------- */

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Of what stands behind a backslash: the byte, or -EINVAL; *ret_used: characters. */
static int read_escape(const char *text, size_t *ret_used)
{
	int high, low;

	*ret_used = 1;
	switch (*text) {
	case '\\':
		return '\\';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'x':
		high = hex_digit(text[1]);
		low = high < 0 ? -1 : hex_digit(text[2]);
		*ret_used = 3;
		return low < 0 ? -EINVAL : high * 16 + low;
	default:
		return -EINVAL;
	}
}

int gs_probe_unescape(const char *text, uint8_t *out)
{
	int count = 0;

	while (*text) {
		int byte = (unsigned char)*text;
		size_t used = 1;

		if (byte < ' ' || byte > '~')
			return -EINVAL;
		if (byte == '\\') {
			byte = read_escape(text + 1, &used);
			used++;
		}
		if (byte < 0)
			return -EINVAL;
		out[count++] = (uint8_t)byte;
		text += used;
	}
	return count;
}

/* ---- DNS ------------------------------------------------------------------------------------- */

bool gs_domain_is_valid(const char *name)
{
	size_t length = strlen(name), label = 0;

	if (strcmp(name, ".") == 0)
		return true;
	if (length > 0 && name[length - 1] == '.')
		length--;
	if (length < 1 || length > 253)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '\\')
			return false;
		label = name[i] == '.' ? 0 : label + 1;
		if (label > 63 || (label == 0 && (i == 0 || name[i - 1] == '.')))
			return false;
	}
	return label > 0;
}

int gs_dns_type_parse(const char *text)
{
	static const struct {
		const char *name;
		int type;
	} types[] = {
		{"A", 1},     {"NS", 2},     {"CNAME", 5},  {"SOA", 6},
		{"PTR", 12},  {"MX", 15},    {"TXT", 16},   {"AAAA", 28},
		{"SRV", 33},  {"NAPTR", 35}, {"DS", 43},    {"DNSKEY", 48},
		{"TLSA", 52}, {"SVCB", 64},  {"HTTPS", 65}, {"CAA", 257},
	};
	int type = 0;

	if (!*text)
		return 1;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, text) == 0)
			return types[i].type;
	if (strncmp(text, "TYPE", 4) != 0 || strlen(text) > 9)
		return -EINVAL;
	for (text += 4; *text >= '0' && *text <= '9'; text++)
		type = type * 10 + (*text - '0');
	return !*text && type > 0 && type <= UINT16_MAX ? type : -EINVAL;
}

int gs_dns_rcode_parse(const char *text)
{
	static const char *const names[] = {"noerror",	"formerr", "servfail",
					    "nxdomain", "notimp",  "refused"};

	if (!*text)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], text) == 0)
			return (int)i;
	return -EINVAL;
}
