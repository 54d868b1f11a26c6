// SPDX-License-Identifier: Apache-2.0
#include "snapshot.h"

#include "cidr.h"
#include "place.h"

#include <errno.h>
#include <string.h>

/* ---- look-ups --------------------------------------------------------------------------------*/

/*
 * Every object begins with its id and its name, so that one search serves all kinds. Arrays are
 * sorted by id; names are not, and asked for by people only.
 */
struct object {
	gs_id id;
	char name[GS_NAME_MAX];
};

#define ASSERT_OBJECT(type)                                                     \
	_Static_assert(__builtin_offsetof(struct type, id) == 0 &&              \
			       __builtin_offsetof(struct type, name) ==         \
				       __builtin_offsetof(struct object, name), \
		       "struct " #type " begins as struct object does")
ASSERT_OBJECT(gs_region);
ASSERT_OBJECT(gs_policy);
ASSERT_OBJECT(gs_service);
ASSERT_OBJECT(gs_backend);

/* Ids begin with 1 and have few gaps: the first look is where it would be without any. */
static const void *find_id(const void *array, uint32_t count, size_t size, gs_id id)
{
	uint32_t low = 0, high = count, next = id > 0 ? id - 1u : 0;

	while (low < high) {
		uint32_t look = next < high ? next : low + (high - low) / 2;
		const void *at = (const char *)array + look * size;
		gs_id found;

		memcpy(&found, at, sizeof(found));
		if (found == id)
			return at;
		if (found < id)
			low = look + 1;
		else
			high = look;
		next = UINT32_MAX;
	}
	return NULL;
}

static const void *find_name(const void *array, uint32_t count, size_t size, const char *name)
{
	for (uint32_t i = 0; i < count; i++) {
		const char *at = (const char *)array + i * size;

		if (strcmp(at + __builtin_offsetof(struct object, name), name) == 0)
			return at;
	}
	return NULL;
}

const struct gs_region *gs_snapshot_region(const struct gs_snapshot *snapshot, gs_id id)
{
	return find_id(snapshot->regions, snapshot->region_count, sizeof(struct gs_region), id);
}

const struct gs_policy *gs_snapshot_policy(const struct gs_snapshot *snapshot, gs_id id)
{
	return find_id(snapshot->policies, snapshot->policy_count, sizeof(struct gs_policy), id);
}

const struct gs_service *gs_snapshot_service(const struct gs_snapshot *snapshot, gs_id id)
{
	return find_id(snapshot->services, snapshot->service_count, sizeof(struct gs_service), id);
}

const struct gs_backend *gs_snapshot_backend(const struct gs_snapshot *snapshot, gs_id id)
{
	return find_id(snapshot->backends, snapshot->backend_count, sizeof(struct gs_backend), id);
}

const struct gs_region *gs_snapshot_region_named(const struct gs_snapshot *snapshot,
						 const char *name)
{
	return find_name(snapshot->regions, snapshot->region_count, sizeof(struct gs_region), name);
}

const struct gs_policy *gs_snapshot_policy_named(const struct gs_snapshot *snapshot,
						 const char *name)
{
	return find_name(snapshot->policies, snapshot->policy_count, sizeof(struct gs_policy),
			 name);
}

const struct gs_service *gs_snapshot_service_named(const struct gs_snapshot *snapshot,
						   const char *name)
{
	return find_name(snapshot->services, snapshot->service_count, sizeof(struct gs_service),
			 name);
}

const struct gs_backend *gs_snapshot_backend_named(const struct gs_snapshot *snapshot,
						   const char *name)
{
	return find_name(snapshot->backends, snapshot->backend_count, sizeof(struct gs_backend),
			 name);
}

const struct gs_override *gs_snapshot_place_override(const struct gs_snapshot *snapshot,
						     const struct gs_location *location)
{
	const struct gs_override *best = NULL;

	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		const struct gs_override *override = &snapshot->overrides[i];

		if (override->place.kind != GS_PLACE_EVERYBODY &&
		    (!best || override->place.kind > best->place.kind) &&
		    gs_place_holds(&override->place, location) == GS_PLACE_YES)
			best = override;
	}
	return best;
}

/* ---- words -----------------------------------------------------------------------------------*/

static const char *const admin_names[] = {
	[GS_ADMIN_AUTO] = "auto",
	[GS_ADMIN_FORCE_UP] = "force_up",
	[GS_ADMIN_DRAIN] = "drain",
	[GS_ADMIN_MAINTENANCE] = "maintenance",
	[GS_ADMIN_FORCE_DOWN] = "force_down",
};
static const char *const policy_kind_names[] = {
	[GS_POLICY_GEO] = "geo",
	[GS_POLICY_FAILOVER] = "failover",
	[GS_POLICY_LATENCY] = "latency",
	[GS_POLICY_COST] = "cost",
	[GS_POLICY_AVAILABILITY] = "availability",
	[GS_POLICY_WEIGHTED] = "weighted",
	[GS_POLICY_RANKED] = "ranked",
};
static const char *const probe_kind_names[] = {
	[GS_PROBE_NONE] = "none",   [GS_PROBE_TCP] = "tcp",	[GS_PROBE_HTTP] = "http",
	[GS_PROBE_HTTPS] = "https", [GS_PROBE_UDP] = "udp",	[GS_PROBE_DNS] = "dns",
	[GS_PROBE_GRPC] = "grpc",   [GS_PROBE_GRPCS] = "grpcs", [GS_PROBE_ICMP] = "icmp",
	[GS_PROBE_EXEC] = "exec",
};
static const char *const forward_names[] = {
	[GS_FORWARD_AS_IPIP] = "ipip",
	[GS_FORWARD_AS_GUE] = "gue",
	[GS_FORWARD_AS_L2] = "l2",
	[GS_FORWARD_AS_NAT] = "nat",
};

_Static_assert(sizeof(admin_names) / sizeof(admin_names[0]) == GS_ADMIN__COUNT, "names");
_Static_assert(sizeof(policy_kind_names) / sizeof(policy_kind_names[0]) == GS_POLICY__COUNT,
	       "names");
_Static_assert(sizeof(probe_kind_names) / sizeof(probe_kind_names[0]) == GS_PROBE__COUNT, "names");
_Static_assert(sizeof(forward_names) / sizeof(forward_names[0]) == GS_FORWARD_AS__COUNT, "names");

static int find_word(const char *const *words, int count, const char *text)
{
	for (int i = 0; i < count; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -EINVAL;
}

const char *gs_admin_name(enum gs_admin admin)
{
	return admin < GS_ADMIN__COUNT ? admin_names[admin] : "?";
}

const char *gs_protocol_name(enum gs_protocol protocol)
{
	return protocol == GS_PROTOCOL_TCP ? "tcp" : protocol == GS_PROTOCOL_UDP ? "udp" : "?";
}

const char *gs_policy_kind_name(enum gs_policy_kind kind)
{
	return kind < GS_POLICY__COUNT ? policy_kind_names[kind] : "?";
}

const char *gs_probe_kind_name(enum gs_probe_kind kind)
{
	return kind < GS_PROBE__COUNT ? probe_kind_names[kind] : "?";
}

const char *gs_forward_name(enum gs_forward forward)
{
	return forward < GS_FORWARD_AS__COUNT ? forward_names[forward] : "?";
}

int gs_admin_parse(const char *text, enum gs_admin *ret_admin)
{
	int found = find_word(admin_names, GS_ADMIN__COUNT, text);

	if (found < 0)
		return found;
	*ret_admin = (enum gs_admin)found;
	return 0;
}

int gs_protocol_parse(const char *text, enum gs_protocol *ret_protocol)
{
	if (strcmp(text, "tcp") != 0 && strcmp(text, "udp") != 0)
		return -EINVAL;
	*ret_protocol = text[0] == 't' ? GS_PROTOCOL_TCP : GS_PROTOCOL_UDP;
	return 0;
}

int gs_policy_kind_parse(const char *text, enum gs_policy_kind *ret_kind)
{
	int found = find_word(policy_kind_names, GS_POLICY__COUNT, text);

	if (found < 0)
		return found;
	*ret_kind = (enum gs_policy_kind)found;
	return 0;
}

int gs_probe_kind_parse(const char *text, enum gs_probe_kind *ret_kind)
{
	int found = find_word(probe_kind_names, GS_PROBE__COUNT, text);

	if (found < 0)
		return found;
	*ret_kind = (enum gs_probe_kind)found;
	return 0;
}

int gs_forward_parse(const char *text, enum gs_forward *ret_forward)
{
	int found = find_word(forward_names, GS_FORWARD_AS__COUNT, text);

	if (found < 0)
		return found;
	*ret_forward = (enum gs_forward)found;
	return 0;
}

int gs_access_compare(const struct gs_access *a, const struct gs_access *b)
{
	int order = gs_prefix_compare(&a->prefix, &b->prefix);

	return order ? order : (int)a->service - (int)b->service;
}

int gs_override_compare(const struct gs_override *a, const struct gs_override *b)
{
	int order = gs_place_compare(&a->place, &b->place);

	if (!order && a->asn != b->asn)
		order = a->asn < b->asn ? -1 : 1;
	return order ? order : gs_prefix_compare(&a->prefix, &b->prefix);
}

int gs_fence_compare(const struct gs_fence *a, const struct gs_fence *b)
{
	int order = gs_place_compare(&a->place, &b->place);

	return order ? order : (int)a->service - (int)b->service;
}

/* ---- what names, texts and addresses may be --------------------------------------------------*/

bool gs_name_is_valid(const char *name)
{
	size_t length = strnlen(name, GS_NAME_MAX);

	if (length == 0 || length == GS_NAME_MAX || name[0] == '-')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

/* Bytes of the well-formed UTF-8 sequence at c that is no control character, or 0. RFC 3629, 4. */
static size_t utf8_length(const unsigned char *c)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;

	if (c[0] < 0x80)
		return c[0] >= 0x20 && c[0] != 0x7f;
	if (c[0] < 0xc2 || c[0] > 0xf4)
		return 0;
	if (c[0] == 0xc2 || c[0] == 0xe0)
		low = 0xa0; /* U+0080 .. U+009F are controls; E0 80 .. 9F would be overlong */
	else if (c[0] == 0xed)
		high = 0x9f;
	else if (c[0] == 0xf0)
		low = 0x90;
	else if (c[0] == 0xf4)
		high = 0x8f;
	if (c[1] < low || c[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

bool gs_text_is_valid(const char *text, size_t max_bytes)
{
	const unsigned char *c = (const unsigned char *)text;

	if (strnlen(text, max_bytes + 1) > max_bytes)
		return false;
	while (*c) {
		size_t length = utf8_length(c);

		if (!length)
			return false;
		c += length;
	}
	return true;
}

bool gs_addr_is_host(const struct gs_addr *addr)
{
	static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t zero[15];
	const uint8_t *b = addr->bytes;

	if (memcmp(b, v4_mapped, sizeof(v4_mapped)) == 0)
		return b[12] != 0 && b[12] != 127 && b[12] < 224;
	if (memcmp(b, zero, sizeof(zero)) == 0 && b[15] <= 1)
		return false;
	return b[0] != 0xff && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}
