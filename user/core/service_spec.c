// SPDX-License-Identifier: Apache-2.0
#include "service_spec.h"

#include "cidr.h"
#include "damping.h"
#include "panic.h"

#include <errno.h>
#include <string.h>

static const char *const affine_names[] = {
	[GS_AFFINE_FLOW] = "flow",
	[GS_AFFINE_CLIENT] = "client",
	[GS_AFFINE_PREFIX] = "prefix",
};
static const char *const stale_names[] = {
	[GS_STALE_IS_KEPT] = "keep",
	[GS_STALE_IS_PASSED] = "pass",
	[GS_STALE_IS_DROPPED] = "drop",
};

_Static_assert(sizeof(affine_names) / sizeof(affine_names[0]) == GS_AFFINE__COUNT, "names");
_Static_assert(sizeof(stale_names) / sizeof(stale_names[0]) == GS_STALE_IS__COUNT, "names");

const char *gs_affine_name(enum gs_affine affine)
{
	return affine < GS_AFFINE__COUNT ? affine_names[affine] : "?";
}

const char *gs_stale_name(enum gs_stale_kind kind)
{
	return kind < GS_STALE_IS__COUNT ? stale_names[kind] : "?";
}

int gs_affine_parse(const char *text, enum gs_affine *ret_affine)
{
	for (int i = 0; i < GS_AFFINE__COUNT; i++)
		if (strcmp(text, affine_names[i]) == 0) {
			*ret_affine = (enum gs_affine)i;
			return 0;
		}
	return -EINVAL;
}

int gs_stale_parse(const char *text, enum gs_stale_kind *ret_kind)
{
	for (int i = 0; i < GS_STALE_IS__COUNT; i++)
		if (strcmp(text, stale_names[i]) == 0) {
			*ret_kind = (enum gs_stale_kind)i;
			return 0;
		}
	return -EINVAL;
}

/* ---- numbers ---------------------------------------------------------------------------------*/

static const struct {
	struct gs_service_number number;
	uint16_t offset;
	uint16_t size;
} NUMBERS[GS_SERVICE_NUMBERS] = {
#define NUMBER(name, group, member, at, min, max, otherwise)       \
	{                                                          \
		{name, group, member, min, max, otherwise},        \
			__builtin_offsetof(struct gs_service, at), \
			sizeof(((struct gs_service *)0)->at)       \
	}
	NUMBER("affinity_prefix4", "affinity", "prefix4", affinity.prefix4, 8, 32, 24),
	NUMBER("affinity_prefix6", "affinity", "prefix6", affinity.prefix6, 16, 128, 48),
	NUMBER("limit_client_packets", "limits", "client_packets", limit.client_packets, 0,
	       GS_LIMIT_MAX, 0),
	NUMBER("limit_client_flows", "limits", "client_flows", limit.client_flows, 0, GS_LIMIT_MAX,
	       0),
	NUMBER("limit_packets", "limits", "packets", limit.packets, 0, GS_LIMIT_MAX, 0),
	NUMBER("limit_flows", "limits", "flows", limit.flows, 0, GS_LIMIT_MAX, 0),
	NUMBER("limit_prefix4", "limits", "prefix4", limit.prefix4, 8, 32, 32),
	NUMBER("limit_prefix6", "limits", "prefix6", limit.prefix6, 16, 128, 64),
	NUMBER("limit_priority", "limits", "priority", limit.priority, 0, 7, 4),
	NUMBER("stale_after_s", "stale", "after_s", stale.after_s, 10, 86400, 300),
	NUMBER("damping_suppress", "damping", "suppress", damping.suppress, 0,
	       GS_DAMPING_PENALTY_MAX, GS_DAMPING_SUPPRESS),
	NUMBER("damping_reuse", "damping", "reuse", damping.reuse, 1, GS_DAMPING_PENALTY_MAX - 1,
	       GS_DAMPING_REUSE),
	NUMBER("damping_half_life_s", "damping", "half_life_s", damping.half_life_s, 1, 3600,
	       GS_DAMPING_HALF_LIFE_S),
	NUMBER("damping_ceiling_s", "damping", "ceiling_s", damping.ceiling_s, 1, 86400,
	       GS_DAMPING_CEILING_S),
#undef NUMBER
};

const struct gs_service_number *gs_service_number(uint32_t index)
{
	return &NUMBERS[index].number;
}

uint32_t gs_service_number_get(const struct gs_service *service, uint32_t index)
{
	const char *at = (const char *)service + NUMBERS[index].offset;
	uint8_t small;
	uint32_t large;

	if (NUMBERS[index].size == sizeof(small)) {
		memcpy(&small, at, sizeof(small));
		return small;
	}
	memcpy(&large, at, sizeof(large));
	return large;
}

void gs_service_number_set(struct gs_service *service, uint32_t index, uint32_t value)
{
	char *at = (char *)service + NUMBERS[index].offset;
	uint8_t small = (uint8_t)value;

	if (NUMBERS[index].size == sizeof(small))
		memcpy(at, &small, sizeof(small));
	else
		memcpy(at, &value, sizeof(value));
}

static bool uses_group(const struct gs_service *service, const char *group)
{
	if (strcmp(group, "affinity") == 0)
		return service->affinity.kind == GS_AFFINE_PREFIX;
	if (strcmp(group, "stale") == 0)
		return service->stale.kind != GS_STALE_IS_KEPT;
	if (strcmp(group, "damping") == 0)
		return service->damping.suppress > 0;
	return service->limit.client_packets > 0 || service->limit.client_flows > 0;
}

bool gs_service_number_is_valid(const struct gs_service *service, uint32_t index)
{
	const struct gs_service_number *number = &NUMBERS[index].number;
	uint32_t value = gs_service_number_get(service, index);

	if (value == 0 && !uses_group(service, number->group))
		return true;
	return value >= number->min && value <= number->max;
}

void gs_service_spec_default(struct gs_service *service)
{
	service->affinity.kind = GS_AFFINE_FLOW;
	service->stale.kind = GS_STALE_IS_KEPT;
	service->panic = (struct gs_panic_spec){.percent = GS_PANIC_PERCENT};
	for (uint32_t i = 0; i < GS_SERVICE_NUMBERS; i++)
		gs_service_number_set(service, i, NUMBERS[i].number.otherwise);
}

bool gs_affinity_prefix(const struct gs_service *service, const struct gs_addr *client,
			struct gs_prefix *ret_prefix)
{
	bool is_v4 = gs_addr_is_v4(client);

	if (service->affinity.kind == GS_AFFINE_PREFIX)
		*ret_prefix = gs_prefix_make(client, is_v4 ? service->affinity.prefix4
							   : service->affinity.prefix6);
	else if (service->affinity.kind == GS_AFFINE_CLIENT)
		*ret_prefix = gs_prefix_make(client, is_v4 ? 32 : 128);
	return service->affinity.kind != GS_AFFINE_FLOW;
}
