/* SPDX-License-Identifier: Apache-2.0 */
#include "anchor.h"

#include "cidr.h"
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char FORMS[] = "icmp:ADDRESS, tcp:ADDRESS:PORT, dns:ADDRESS[:PORT]";

/* One of the list, cut to length; its parts while it is read. */
struct item {
	char text[GS_ANCHOR_TEXT_MAX];
	const char *address, *port; /* port NULL: none */
};

/* "...", quoted and short enough for one line. */
static int refuse(const char *text, const char *problem, char *why, size_t room)
{
	snprintf(why, room, "'%.63s' %s", text, problem);
	return -EINVAL;
}

/* 1 .. 65535; 0: no such number. */
static uint16_t read_port(const char *text)
{
	uint32_t port = 0;

	if (strlen(text) > 5 || *text == '0')
		return 0;
	for (; *text >= '0' && *text <= '9'; text++)
		port = port * 10 + (uint32_t)(*text - '0');
	return *text || port > UINT16_MAX ? 0 : (uint16_t)port;
}

static bool read_kind(const char *word, size_t length, enum gs_probe_kind *ret_kind)
{
	static const enum gs_probe_kind kinds[] = {GS_PROBE_ICMP, GS_PROBE_TCP, GS_PROBE_DNS};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *name = gs_probe_kind_name(kinds[i]);

		if (strlen(name) == length && memcmp(name, word, length) == 0) {
			*ret_kind = kinds[i];
			return true;
		}
	}
	return false;
}

/* "192.0.2.1:53", "[2001:db8::1]:53", "2001:db8::1", in place. False: brackets that are none. */
static bool split(char *text, struct item *item)
{
	char *end;

	item->address = text;
	item->port = NULL;
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		item->address = text + 1;
		item->port = end[1] ? end + 2 : NULL;
		*end = '\0';
		return strchr(item->address, ':') != NULL;
	}
	end = strchr(text, ':');
	if (end && !strchr(end + 1, ':')) { /* one colon: more are an IPv6 address's own */
		item->port = end + 1;
		*end = '\0';
	}
	return true;
}

/* An address that another machine may have, and that says where it is. */
static bool is_elsewhere(const struct gs_addr *addr)
{
	static const struct gs_addr unspecified, loopback = {.bytes = {[15] = 1}};
	const uint8_t *bytes = addr->bytes;

	if (gs_addr_is_v4(addr))
		return bytes[12] != 0 && bytes[12] != 127 && bytes[12] < 224;
	return bytes[0] != 0xff && (bytes[0] != 0xfe || (bytes[1] & 0xc0) != 0x80) &&
	       gs_addr_compare(addr, &unspecified) != 0 && gs_addr_compare(addr, &loopback) != 0;
}

static void name_it(struct gs_anchor *anchor)
{
	bool needs_port = anchor->kind == GS_PROBE_TCP ||
			  (anchor->kind == GS_PROBE_DNS && anchor->port != GS_ANCHOR_DNS_PORT);
	bool is_bracketed = needs_port && !gs_addr_is_v4(&anchor->addr);
	char address[GS_ADDR_TEXT_MAX], port[8] = "";

	if (needs_port)
		snprintf(port, sizeof(port), ":%u", anchor->port);
	snprintf(anchor->name, sizeof(anchor->name), "%s:%s%s%s%s",
		 gs_probe_kind_name(anchor->kind), is_bracketed ? "[" : "",
		 gs_addr_format(&anchor->addr, address), is_bracketed ? "]" : "", port);
}

static int read_ports(const struct item *item, const char *text, struct gs_anchor *anchor,
		      char *why, size_t room)
{
	if (anchor->kind == GS_PROBE_ICMP)
		return item->port ? refuse(text, "has a port, and icmp has none", why, room) : 0;
	if (!item->port && anchor->kind == GS_PROBE_TCP)
		return refuse(text, "has no port (tcp:ADDRESS:PORT, IPv6 in brackets)", why, room);
	anchor->port = item->port ? read_port(item->port) : GS_ANCHOR_DNS_PORT;
	return anchor->port ? 0 : refuse(text, "has no port of 1 to 65535", why, room);
}

static int read_anchor(const char *text, struct gs_anchor *anchor, char *why, size_t room)
{
	const char *colon = strchr(text, ':');
	struct item item;
	int err;

	if (!colon || !read_kind(text, (size_t)(colon - text), &anchor->kind)) {
		snprintf(why, room, "'%.63s' is none of %s", text, FORMS);
		return -EINVAL;
	}
	snprintf(item.text, sizeof(item.text), "%s", colon + 1);
	if (!split(item.text, &item) || gs_addr_parse(item.address, &anchor->addr) != 0)
		return refuse(text, "has no IP address", why, room);
	if (!is_elsewhere(&anchor->addr))
		return refuse(text, "is no unicast address of another machine", why, room);
	err = read_ports(&item, text, anchor, why, room);
	if (!err)
		name_it(anchor);
	return err;
}

static bool has(const struct gs_anchor_set *set, const struct gs_anchor *anchor)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (strcmp(set->anchors[i].name, anchor->name) == 0)
			return true;
	return false;
}

/* Between commas, without spaces around it; false: too long for any. */
static bool cut_item(const char *text, size_t length, char out[GS_ANCHOR_TEXT_MAX])
{
	while (length > 0 && (*text == ' ' || *text == '\t')) {
		text++;
		length--;
	}
	while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	snprintf(out, GS_ANCHOR_TEXT_MAX, "%.*s", (int)(length < 4096 ? length : 4096), text);
	return length < GS_ANCHOR_TEXT_MAX;
}

static int add(struct gs_anchor_set *set, const char *text, size_t length, char *why, size_t room)
{
	struct gs_anchor anchor;
	char item[GS_ANCHOR_TEXT_MAX];
	int err;

	memset(&anchor, 0, sizeof(anchor));
	if (!cut_item(text, length, item))
		return refuse(item, "... is too long for an anchor", why, room);
	if (!*item) {
		snprintf(why, room, "an anchor is missing between commas (%s)", FORMS);
		return -EINVAL;
	}
	err = read_anchor(item, &anchor, why, room);
	if (err)
		return err;
	if (has(set, &anchor))
		return refuse(item, "is there twice", why, room);
	if (set->count == GS_ANCHORS_MAX) {
		snprintf(why, room, "'%s' is one too many: there may be %d", item, GS_ANCHORS_MAX);
		return -EINVAL;
	}
	set->anchors[set->count++] = anchor;
	return 0;
}

int gs_anchors_parse(const char *text, struct gs_anchor_set *ret_set, char *why, size_t room)
{
	struct gs_anchor_set set;

	memset(&set, 0, sizeof(set));
	while (*text) {
		size_t length = strcspn(text, ",");
		int err = add(&set, text, length, why, room);

		if (err)
			return err;
		if (text[length] == ',' && !text[length + 1])
			return add(&set, "", 0, why, room);
		text += length + (text[length] == ',');
	}
	*ret_set = set;
	return 0;
}

struct gs_probe_spec gs_anchor_spec(const struct gs_anchor *anchor)
{
	struct gs_probe_spec spec = gs_probe_spec_default();

	spec.kind = anchor->kind;
	spec.port = anchor->port;
	spec.interval_ms = GS_ANCHOR_INTERVAL_MS;
	spec.fast_interval_ms = GS_ANCHOR_FAST_INTERVAL_MS;
	spec.down_interval_ms = GS_ANCHOR_INTERVAL_MS;
	spec.timeout_ms = GS_ANCHOR_TIMEOUT_MS;
	if (anchor->kind == GS_PROBE_DNS) {
		snprintf(spec.request, sizeof(spec.request), "%s", ".");
		snprintf(spec.dns_type, sizeof(spec.dns_type), "%s", "NS");
	}
	return spec;
}

enum gs_probe_class gs_anchor_class(enum gs_probe_class result)
{
	return result == GS_PROBE_STATUS || result == GS_PROBE_BODY ? GS_PROBE_OK : result;
}
