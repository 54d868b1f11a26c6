/* SPDX-License-Identifier: Apache-2.0 */
/* Look-ups in snapshots, and every way in which one can make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "maps/gs_maps.h"
#include "tests/fakes/world.h"
#include "user/app/snapshot_io.h"
#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a sound one to spoil --------------------------------------------------------------------*/

static struct gs_addr addr(const char *text)
{
	struct gs_addr parsed;

	assert_int_equal(gs_addr_parse(text, &parsed), 0);
	return parsed;
}

static struct gs_prefix prefix(const char *text)
{
	struct gs_prefix parsed;

	assert_int_equal(gs_prefix_parse(text, &parsed), 0);
	return parsed;
}

static void set_name(char out[GS_NAME_MAX], const char *format, unsigned number)
{
	memset(out, 0, GS_NAME_MAX);
	snprintf(out, GS_NAME_MAX, "%s%u", format, number);
}

/* Regions 2, 4, 6; policies 3, 5; services 10, 20, 30; backends 7, 14, 21, 28; 5 overrides; 3
 * access rules. What tests of other things leave 0 is 0 here, too. */
static struct gs_snapshot *sound(void)
{
	static const char *const addresses[] = {"10.1.0.1", "10.1.0.2", "fd00::1", "10.1.0.1"};
	const struct gs_snapshot counts = {.region_count = 3,
					   .policy_count = 2,
					   .service_count = 3,
					   .backend_count = 4,
					   .override_count = 5,
					   .fence_count = 2,
					   .access_count = 3,
					   .latency_count = 3};
	struct gs_snapshot *s;

	assert_int_equal(gs_snapshot_new(&counts, &s), 0);
	for (unsigned i = 0; i < 3; i++) {
		s->regions[i].id = (gs_id)(2 * i + 2);
		s->regions[i].coord = (struct gs_coord){40.0 * i - 40, 90.0 * i - 90};
		set_name(s->regions[i].name, "region", i);
		s->services[i].id = (gs_id)(10 * i + 10);
		s->services[i].vip = addr(i == 2 ? "2001:db8::10" : "198.51.100.10");
		s->services[i].port = (uint16_t)(80 + i);
		s->services[i].protocol = GS_PROTOCOL_TCP;
		s->services[i].policy = 3;
		s->services[i].probe = gs_probe_spec_default();
		s->services[i].breaker = gs_breaker_spec_default();
		set_name(s->services[i].name, "service", i);
	}
	for (unsigned i = 0; i < 2; i++) {
		s->policies[i] = (struct gs_policy){
			.id = (gs_id)(2 * i + 3), .order_count = 3, .order = {6, 2, 4}};
		set_name(s->policies[i].name, "policy", i);
	}
	for (unsigned i = 0; i < 4; i++) {
		s->backends[i] = (struct gs_backend){.id = (gs_id)(7 * i + 7),
						     .service = i == 3 ? 20 : 10,
						     .region = 2,
						     .addr = addr(addresses[i]),
						     .weight = 100};
		set_name(s->backends[i].name, "backend", i);
	}
	s->overrides[0] = (struct gs_override){.prefix = prefix("10.0.0.0/8"), .region = 4};
	s->overrides[1] = (struct gs_override){.prefix = prefix("10.0.0.0/16"), .region = 6};
	s->overrides[2] = (struct gs_override){.prefix = prefix("::/0"), .region = 2};
	s->overrides[3] = (struct gs_override){.place = {GS_PLACE_COUNTRY, "DE"}, .region = 2};
	s->overrides[4] = (struct gs_override){.asn = 4294967295, .region = 2};
	s->fences[0] = (struct gs_fence){
		.place = {GS_PLACE_COUNTRY, "DE"}, .region_count = 1, .regions = {6}};
	s->fences[1] = (struct gs_fence){.place = {GS_PLACE_COUNTRY, "DE"},
					 .service = 20,
					 .region_count = 2,
					 .regions = {2, 4}};
	s->access[0] = (struct gs_access){.prefix = prefix("203.0.113.0/24")};
	s->access[1] = (struct gs_access){
		.prefix = prefix("203.0.113.0/24"), .service = 10, .allow = true};
	s->access[2] = (struct gs_access){.prefix = prefix("2001:db8::/32"), .service = 30};
	s->latencies[0] =
		(struct gs_latency){.place = "cell:DE-BE/52,13", .region = 4, .us = 20000};
	s->latencies[1] = (struct gs_latency){.place = "cell:DE-BE/52,13",
					      .region = 6,
					      .us = 1,
					      .before_us = 9,
					      .before_percent = 99};
	s->latencies[2] = (struct gs_latency){.place = "everybody", .region = 2, .us = -20000};
	return s;
}

/* ---- every way to spoil it -------------------------------------------------------------------*/

#define SPOIL(name, code)                               \
	static void spoil_##name(struct gs_snapshot *s) \
	{                                               \
		code;                                   \
	}
SPOIL(region_id_zero, s->regions[0].id = 0)
SPOIL(region_id_big, s->regions[2].id = GS_MAX_REGIONS)
SPOIL(region_order, s->regions[1].id = 2)
SPOIL(region_name_empty, s->regions[0].name[0] = '\0')
SPOIL(region_name_case, s->regions[0].name[0] = 'R')
SPOIL(region_name_dash, s->regions[0].name[0] = '-')
SPOIL(region_name_endless, memset(s->regions[0].name, 'a', GS_NAME_MAX))
SPOIL(region_name_twice, memcpy(s->regions[2].name, s->regions[0].name, GS_NAME_MAX))
SPOIL(region_latitude, s->regions[1].coord.lat_deg = 90.001)
SPOIL(region_latitude_nan, s->regions[1].coord.lat_deg = NAN)
SPOIL(region_longitude, s->regions[1].coord.lon_deg = -180.001)
SPOIL(region_longitude_inf, s->regions[1].coord.lon_deg = INFINITY)
SPOIL(region_cost, s->regions[1].cost = -0.5)
SPOIL(region_cost_nan, s->regions[1].cost = NAN)
SPOIL(region_capacity, s->regions[1].capacity = UINT64_MAX)
SPOIL(region_admin, s->regions[1].admin = GS_ADMIN__COUNT)
SPOIL(policy_kind, s->policies[1].kind = GS_POLICY__COUNT)
SPOIL(region_availability, s->regions[1].availability = 100.1)
SPOIL(region_availability_nan, s->regions[1].availability = NAN)
SPOIL(policy_rank_of_geo, s->policies[1].rank_count = 1)
SPOIL(policy_no_rank, s->policies[1].kind = GS_POLICY_RANKED)
SPOIL(policy_rank_twice, s->policies[1].kind = GS_POLICY_RANKED; s->policies[1].rank_count = 2)
SPOIL(policy_band_ms, s->policies[1].band_ms = 10001)
SPOIL(policy_band_percent, s->policies[1].band_percent = 101)
SPOIL(policy_bias, s->policies[1].bias[2] = -100)
SPOIL(policy_weight, s->policies[1].weight[2] = 1001)
SPOIL(override_place, s->overrides[3].place.code[0] = 'd')
SPOIL(override_place_twice, s->overrides[2] = s->overrides[3])
SPOIL(override_asn_twice, s->overrides[3] = s->overrides[4])
SPOIL(override_asn_and_place, s->overrides[3].asn = 64500)
SPOIL(override_asn_region, s->overrides[4].region = 3)
SPOIL(fence_place, s->fences[0].place.kind = GS_PLACE__COUNT)
SPOIL(fence_service, s->fences[1].service = 11)
SPOIL(fence_no_regions, s->fences[1].region_count = 0)
SPOIL(fence_many_regions, s->fences[1].region_count = GS_FENCE_REGIONS_MAX + 1)
SPOIL(fence_region, s->fences[1].regions[1] = 5)
SPOIL(fence_region_twice, s->fences[1].regions[1] = 2)
SPOIL(fence_reason, s->fences[0].reason[0] = '\n')
SPOIL(fence_twice, s->fences[1].service = 0)
SPOIL(latency_place, s->latencies[0].place[0] = 'C')
SPOIL(latency_place_end, s->latencies[2].place[GS_LATENCY_PLACE_MAX - 1] = 'x')
SPOIL(latency_region, s->latencies[1].region = 5)
SPOIL(latency_us, s->latencies[1].us = 60000001)
SPOIL(latency_us_low, s->latencies[0].us = INT32_MIN)
SPOIL(latency_gone, {
	s->latencies[1].us = s->latencies[1].before_us = GS_LATENCY_NONE;
	s->latencies[1].before_percent = 50;
})
SPOIL(latency_before, {
	s->latencies[1].before_us = -60000001;
	s->latencies[1].before_percent = 50;
})
SPOIL(latency_before_percent, s->latencies[1].before_percent = 100)
SPOIL(latency_twice, s->latencies[1].region = 4)
SPOIL(policy_no_order, s->policies[1].order_count = 0)
SPOIL(policy_long_order, s->policies[1].order_count = GS_POLICY_ORDER_MAX + 1)
SPOIL(policy_order_unknown, s->policies[1].order[1] = 5)
SPOIL(policy_order_twice, s->policies[1].order[2] = 6)
SPOIL(policy_name_twice, memcpy(s->policies[1].name, s->policies[0].name, GS_NAME_MAX))
SPOIL(service_vip_zero, s->services[0].vip = addr("0.0.0.0"))
SPOIL(service_vip_loopback, s->services[0].vip = addr("127.0.0.1"))
SPOIL(service_vip_multicast, s->services[0].vip = addr("224.0.0.1"))
SPOIL(service_vip_broadcast, s->services[0].vip = addr("255.255.255.255"))
SPOIL(service_vip6_zero, s->services[0].vip = addr("::"))
SPOIL(service_vip6_loopback, s->services[0].vip = addr("::1"))
SPOIL(service_vip6_multicast, s->services[0].vip = addr("ff02::1"))
SPOIL(service_vip6_link, s->services[0].vip = addr("fe80::1"))
SPOIL(service_protocol, s->services[0].protocol = (enum gs_protocol)1)
SPOIL(service_policy, s->services[0].policy = 4)
SPOIL(service_same_place, s->services[1].port = 80)
SPOIL(service_name_twice, memcpy(s->services[2].name, s->services[1].name, GS_NAME_MAX))
SPOIL(probe_kind, s->services[0].probe.kind = GS_PROBE__COUNT)
SPOIL(probe_port, s->services[0].port = 0)
SPOIL(probe_http_path, s->services[0].probe.kind = GS_PROBE_HTTP)
SPOIL(probe_path_blank, strcpy(s->services[0].probe.path, "/a b"))
SPOIL(probe_path_line, strcpy(s->services[0].probe.path, "/a\r\nHost: x"))
SPOIL(probe_path_endless, memset(s->services[0].probe.path, '/', GS_HTTP_PATH_MAX))
SPOIL(probe_host_line, strcpy(s->services[0].probe.host, "a\nb"))
SPOIL(probe_host_endless, memset(s->services[0].probe.host, 'a', sizeof(s->services[0].probe.host)))
SPOIL(probe_interval, s->services[0].probe.interval_ms = 9)
SPOIL(probe_timeout, s->services[0].probe.timeout_ms = 60001)
SPOIL(probe_fast, s->services[0].probe.fast_interval_ms = 0)
SPOIL(probe_down, s->services[0].probe.down_interval_ms = UINT32_MAX)
SPOIL(probe_rise, s->services[0].probe.rise = 0)
SPOIL(probe_fall, s->services[0].probe.fall = 101)
SPOIL(probe_clear, s->services[0].probe.clear = 0)
SPOIL(backend_service, s->backends[0].service = 11)
SPOIL(backend_region, s->backends[0].region = 3)
SPOIL(backend_addr, s->backends[0].addr = addr("240.0.0.1"))
SPOIL(backend_weight_zero, s->backends[0].weight = 0)
SPOIL(backend_weight_big, s->backends[0].weight = 1001)
SPOIL(backend_admin, s->backends[0].admin = GS_ADMIN__COUNT)
SPOIL(backend_forward, s->backends[0].forward = GS_FORWARD_AS__COUNT)
SPOIL(backend_l2_family, s->backends[2].forward = GS_FORWARD_AS_L2)
SPOIL(backend_l2_family6, (s->backends[3].service = 30, s->backends[3].forward = GS_FORWARD_AS_L2))
SPOIL(backend_nat_family, s->backends[2].forward = GS_FORWARD_AS_NAT)
SPOIL(backend_port, s->backends[0].port = 80)
SPOIL(backend_drain, s->backends[0].drain_until_unix_ms = 1893456000000)
SPOIL(backend_drain_past,
      (s->backends[0].admin = GS_ADMIN_DRAIN, s->backends[0].drain_until_unix_ms = -1))
SPOIL(region_drain,
      (s->regions[0].admin = GS_ADMIN_MAINTENANCE, s->regions[0].drain_until_unix_ms = 1))
SPOIL(region_drain_far,
      (s->regions[0].admin = GS_ADMIN_DRAIN, s->regions[0].drain_until_unix_ms = INT64_MAX))
SPOIL(region_limit, s->regions[0].limit_flows = GS_LIMIT_MAX + 1u)
SPOIL(affinity_kind, s->services[0].affinity.kind = GS_AFFINE__COUNT)
SPOIL(affinity_prefix_none, s->services[0].affinity.kind = GS_AFFINE_PREFIX)
SPOIL(affinity_prefix4, s->services[0].affinity.prefix4 = 33)
SPOIL(affinity_prefix6, s->services[0].affinity.prefix6 = 15)
SPOIL(limit_prefix_none, s->services[0].limit.client_flows = 5)
SPOIL(limit_flows, s->services[0].limit.flows = UINT32_MAX)
SPOIL(stale_kind, s->services[0].stale.kind = GS_STALE_IS__COUNT)
SPOIL(stale_after_none, s->services[0].stale.kind = GS_STALE_IS_PASSED)
SPOIL(stale_after, s->services[0].stale.after_s = 9)
SPOIL(damping_order, s->services[0].damping.reuse = s->services[0].damping.suppress = 1500;
      s->services[0].damping.half_life_s = 60; s->services[0].damping.ceiling_s = 300)
SPOIL(damping_half_life, s->services[0].damping.suppress = 2500; s->services[0].damping.reuse = 1;
      s->services[0].damping.half_life_s = 0; s->services[0].damping.ceiling_s = 300)
SPOIL(panic_percent, s->services[0].panic.percent = 101)
SPOIL(panic_kind, s->services[0].panic.all_down = GS_ALL_DOWN__COUNT)
SPOIL(panic_nowhere, s->services[0].panic.all_down = GS_ALL_DOWN_SERVES_FIXED)
SPOIL(panic_region, s->services[0].panic.region = 1)
SPOIL(access_service, s->access[0].service = 11)
SPOIL(access_host_bits, s->access[0].prefix.addr.bytes[15] = 1)
SPOIL(access_length, s->access[2].prefix.length = 129)
SPOIL(access_twice, s->access[1].service = 0)
SPOIL(access_unsorted, s->access[0].service = 20)
SPOIL(access_reason, strcpy(s->access[1].reason, "a\x1b"))
SPOIL(backend_same_place, s->backends[1].addr = s->backends[0].addr)
SPOIL(backend_is_vip, s->backends[3].addr = addr("198.51.100.10"))
SPOIL(backend_is_vip6, s->backends[3].addr = addr("2001:db8::10"))
SPOIL(backend_name_twice, memcpy(s->backends[3].name, s->backends[0].name, GS_NAME_MAX))
SPOIL(override_region, s->overrides[2].region = 3)
SPOIL(override_length, s->overrides[0].prefix.length = 33)
SPOIL(override_length6, s->overrides[2].prefix.length = 129)
SPOIL(override_host_bits, s->overrides[1].prefix.addr = addr("10.0.1.0"))
SPOIL(override_family, s->overrides[0].prefix.is_v4 = false)
SPOIL(override_family6, s->overrides[2].prefix.is_v4 = true)
SPOIL(override_twice, s->overrides[1].prefix = s->overrides[0].prefix)
SPOIL(override_reason_control, strcpy(s->overrides[1].reason, "a\x1b[31m"))
SPOIL(override_reason_utf8, strcpy(s->overrides[1].reason, "a\xc3"))
SPOIL(override_reason_endless, memset(s->overrides[1].reason, 'a', sizeof(s->overrides[1].reason)))

static const struct {
	void (*spoil)(struct gs_snapshot *snapshot);
	const char *place; /* how *error begins */
} spoils[] = {
	{spoil_region_id_zero, "regions[0].id:"},
	{spoil_region_id_big, "regions[2].id:"},
	{spoil_region_order, "regions[1].id:"},
	{spoil_region_name_empty, "regions[0].name:"},
	{spoil_region_name_case, "regions[0].name:"},
	{spoil_region_name_dash, "regions[0].name:"},
	{spoil_region_name_endless, "regions[0].name:"},
	{spoil_region_name_twice, "regions[2].name:"},
	{spoil_region_latitude, "regions[1].latitude:"},
	{spoil_region_latitude_nan, "regions[1].latitude:"},
	{spoil_region_longitude, "regions[1].longitude:"},
	{spoil_region_longitude_inf, "regions[1].longitude:"},
	{spoil_region_cost, "regions[1].cost:"},
	{spoil_region_cost_nan, "regions[1].cost:"},
	{spoil_region_capacity, "regions[1].capacity:"},
	{spoil_region_admin, "regions[1].admin:"},
	{spoil_policy_kind, "policies[1].kind:"},
	{spoil_region_availability, "regions[1].availability:"},
	{spoil_region_availability_nan, "regions[1].availability:"},
	{spoil_policy_rank_of_geo, "policies[1].rank:"},
	{spoil_policy_no_rank, "policies[1].rank:"},
	{spoil_policy_rank_twice, "policies[1].rank:"},
	{spoil_policy_band_ms, "policies[1].band_ms:"},
	{spoil_policy_band_percent, "policies[1].band_percent:"},
	{spoil_policy_bias, "policies[1].bias:"},
	{spoil_policy_weight, "policies[1].weight:"},
	{spoil_override_place, "overrides[3].place:"},
	{spoil_override_place_twice, "overrides[3].place:"},
	{spoil_override_asn_twice, "overrides[4].asn: AS4294967295 is also overrides[3]"},
	{spoil_override_asn_and_place, "overrides[3]: of a place and of an AS"},
	{spoil_override_asn_region, "overrides[4].region:"},
	{spoil_fence_place, "fences[0].place:"},
	{spoil_fence_service, "fences[1].service:"},
	{spoil_fence_no_regions, "fences[1].regions:"},
	{spoil_fence_many_regions, "fences[1].regions:"},
	{spoil_fence_region, "fences[1].regions[1]:"},
	{spoil_fence_region_twice, "fences[1].regions[1]:"},
	{spoil_fence_reason, "fences[0].reason:"},
	{spoil_fence_twice, "fences[1]:"},
	{spoil_latency_place, "latencies[0].place:"},
	{spoil_latency_place_end, "latencies[2].place:"},
	{spoil_latency_region, "latencies[1].region:"},
	{spoil_latency_us, "latencies[1].us:"},
	{spoil_latency_us_low, "latencies[0].us:"},
	{spoil_latency_gone, "latencies[1].before_us:"},
	{spoil_latency_before, "latencies[1].before_us:"},
	{spoil_latency_before_percent, "latencies[1].before_percent:"},
	{spoil_latency_twice, "latencies[1]:"},
	{spoil_policy_no_order, "policies[1].order:"},
	{spoil_policy_long_order, "policies[1].order:"},
	{spoil_policy_order_unknown, "policies[1].order[1]:"},
	{spoil_policy_order_twice, "policies[1].order[2]:"},
	{spoil_policy_name_twice, "policies[1].name:"},
	{spoil_service_vip_zero, "services[0].vip:"},
	{spoil_service_vip_loopback, "services[0].vip:"},
	{spoil_service_vip_multicast, "services[0].vip:"},
	{spoil_service_vip_broadcast, "services[0].vip:"},
	{spoil_service_vip6_zero, "services[0].vip:"},
	{spoil_service_vip6_loopback, "services[0].vip:"},
	{spoil_service_vip6_multicast, "services[0].vip:"},
	{spoil_service_vip6_link, "services[0].vip:"},
	{spoil_service_protocol, "services[0].protocol:"},
	{spoil_service_policy, "services[0].policy:"},
	{spoil_service_same_place, "services[1]:"},
	{spoil_service_name_twice, "services[2].name:"},
	{spoil_probe_kind, "services[0].probe.kind:"},
	{spoil_probe_port, "services[0].probe.port:"},
	{spoil_probe_http_path, "services[0].probe.path:"},
	{spoil_probe_path_blank, "services[0].probe.path:"},
	{spoil_probe_path_line, "services[0].probe.path:"},
	{spoil_probe_path_endless, "services[0].probe.path:"},
	{spoil_probe_host_line, "services[0].probe.host:"},
	{spoil_probe_host_endless, "services[0].probe.host:"},
	{spoil_probe_interval, "services[0].probe.interval_ms:"},
	{spoil_probe_timeout, "services[0].probe.timeout_ms:"},
	{spoil_probe_fast, "services[0].probe.fast_interval_ms:"},
	{spoil_probe_down, "services[0].probe.down_interval_ms:"},
	{spoil_probe_rise, "services[0].probe.rise:"},
	{spoil_probe_fall, "services[0].probe.fall:"},
	{spoil_probe_clear, "services[0].probe.clear:"},
	{spoil_backend_service, "backends[0].service:"},
	{spoil_backend_region, "backends[0].region:"},
	{spoil_backend_addr, "backends[0].address:"},
	{spoil_backend_weight_zero, "backends[0].weight:"},
	{spoil_backend_weight_big, "backends[0].weight:"},
	{spoil_backend_admin, "backends[0].admin:"},
	{spoil_backend_forward, "backends[0].forward:"},
	{spoil_backend_l2_family,
	 "backends[2].forward: l2 needs an IPv4 address, as the VIP 198.51.100.10 of service "
	 "service0 is; fd00::1 is IPv6"},
	{spoil_backend_l2_family6, "backends[3].forward: l2 needs an IPv6 address"},
	{spoil_backend_nat_family, "backends[2].forward: nat needs an IPv4 address"},
	{spoil_backend_port, "backends[0].port: only with forward nat"},
	{spoil_backend_drain, "backends[0].drain_until: only with admin drain"},
	{spoil_backend_drain_past, "backends[0].drain_until: -1 ms is no time"},
	{spoil_region_drain, "regions[0].drain_until: only with admin drain, it is maintenance"},
	{spoil_region_drain_far, "regions[0].drain_until:"},
	{spoil_region_limit, "regions[0].limits:"},
	{spoil_affinity_kind, "services[0].affinity.kind:"},
	{spoil_affinity_prefix_none, "services[0].affinity.prefix4: 0 is not 8 to 32"},
	{spoil_affinity_prefix4, "services[0].affinity.prefix4: 33 is not 8 to 32"},
	{spoil_affinity_prefix6, "services[0].affinity.prefix6: 15 is not 16 to 128"},
	{spoil_limit_prefix_none, "services[0].limits.prefix4: 0 is not"},
	{spoil_limit_flows, "services[0].limits.flows:"},
	{spoil_stale_kind, "services[0].stale.kind:"},
	{spoil_stale_after_none, "services[0].stale.after_s: 0 is not 10 to 86400"},
	{spoil_stale_after, "services[0].stale.after_s: 9 is not"},
	{spoil_damping_order, "services[0].damping.reuse: 1500 is not less than suppress (1500)"},
	{spoil_damping_half_life, "services[0].damping.half_life_s: 0 is not 1 to 3600"},
	{spoil_panic_percent, "services[0].panic.percent: 101"},
	{spoil_panic_kind, "services[0].panic.all_down: unknown"},
	{spoil_panic_nowhere, "services[0].panic.all_down: no region has id 0"},
	{spoil_panic_region, "services[0].panic.all_down: a region, and not"},
	{spoil_access_service, "access[0].service: no service has id 11"},
	{spoil_access_host_bits, "access[0].prefix: host bits"},
	{spoil_access_length, "access[2].prefix: length"},
	{spoil_access_twice, "access[1]: not sorted, or twice"},
	{spoil_access_unsorted, "access[1]: not sorted, or twice"},
	{spoil_access_reason, "access[1].reason:"},
	{spoil_backend_same_place, "backends[1].address:"},
	{spoil_backend_is_vip, "backends[3].address:"},
	{spoil_backend_is_vip6, "backends[3].address:"},
	{spoil_backend_name_twice, "backends[3].name:"},
	{spoil_override_region, "overrides[2].region:"},
	{spoil_override_length, "overrides[0].prefix:"},
	{spoil_override_length6, "overrides[2].prefix:"},
	{spoil_override_host_bits, "overrides[1].prefix:"},
	{spoil_override_family, "overrides[0].prefix:"},
	{spoil_override_family6, "overrides[2].prefix:"},
	{spoil_override_twice, "overrides[1].prefix:"},
	{spoil_override_reason_control, "overrides[1].reason:"},
	{spoil_override_reason_utf8, "overrides[1].reason:"},
	{spoil_override_reason_endless, "overrides[1].reason:"},
};

static void test_check_accepts_what_is_sound(void **state)
{
	struct gs_error error = {{0}};
	struct gs_snapshot empty = {0};
	struct gs_snapshot *s = sound();
	int ret;

	(void)state;
	s->backends[1].forward = GS_FORWARD_AS_L2;
	s->backends[2].forward = GS_FORWARD_AS_GUE; /* IPv4 inside IPv6 */
	s->backends[1].port = 0;
	s->backends[0].forward = GS_FORWARD_AS_NAT;
	s->backends[0].port = 8080;
	s->backends[0].admin = GS_ADMIN_DRAIN;
	s->backends[0].drain_until_unix_ms = 1; /* long over: still a state there may be */
	gs_service_spec_default(&s->services[0]);
	s->services[0].affinity.kind = GS_AFFINE_PREFIX;
	s->services[0].limit.client_flows = GS_LIMIT_MAX;
	s->services[0].stale.kind = GS_STALE_IS_DROPPED;
	ret = gs_snapshot_check(s, &error);
	gs_snapshot_free(s);
	if (ret)
		fail_msg("%s", error.text);
	assert_int_equal(gs_snapshot_check(&empty, &error), 0);
}

static void test_check_names_the_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		struct gs_snapshot *s = sound();
		struct gs_error error = {{0}};
		int ret;

		spoils[i].spoil(s);
		ret = gs_snapshot_check(s, &error);
		gs_snapshot_free(s);
		if (ret != -EINVAL)
			fail_msg("%s accepted", spoils[i].place);
		if (strncmp(error.text, spoils[i].place, strlen(spoils[i].place)) != 0)
			fail_msg("\"%s\" does not begin with %s", error.text, spoils[i].place);
	}
}

/* What is laid over objects: one that is good, and what it may not be. */
static void test_check_knows_overlays(void **state)
{
	static const struct {
		struct gs_overlay overlays[2];
		const char *want; /* NULL: sound */
	} rows[] = {
		{{{.region = 1}, {.region = 1, .edge = "fra1"}}, NULL},
		{{{.region = 1, .service = 10}, {.backend = 100, .admin = GS_ADMIN_DRAIN}}, NULL},
		{{{.region = 1, .admin = GS_ADMIN_FORCE_UP, .expires_unix_ms = 1},
		  {.backend = 100}},
		 NULL},
		{{{.region = 1, .admin = GS_ADMIN_FORCE_UP}}, "overlays[0].expires: force_up"},
		{{{.region = 1, .admin = GS_ADMIN_FORCE_DOWN}}, "overlays[0].expires: force_down"},
		{{{.region = 1, .admin = GS_ADMIN__COUNT}}, "overlays[0].admin: unknown"},
		{{{.region = 0}}, "overlays[0].region: no region has id 0"},
		{{{.region = 77}}, "overlays[0].region: no region has id 77"},
		{{{.region = 1, .service = 77}}, "overlays[0].service: no service"},
		{{{.backend = 7777}}, "overlays[0].backend: no backend"},
		{{{.region = 1, .backend = 100}}, "overlays[0]: of a backend, and of more"},
		{{{.region = 1, .expires_unix_ms = -1}}, "overlays[0]: made or expires"},
		{{{.region = 1, .reason = "a\x1b"}}, "overlays[0]: edge, reason"},
		{{{.region = 1}, {.region = 1}}, "overlays[1]: not sorted, or twice"},
		{{{.region = 1, .edge = "b"}, {.region = 1, .edge = "a"}},
		 "overlays[1]: not sorted, or twice"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gs_overlay overlays[2] = {rows[i].overlays[0], rows[i].overlays[1]};
		struct gs_snapshot *s = sound();
		struct gs_error error = {{0}};

		for (int o = 0; o < 2; o++) {
			if (overlays[o].region == 1)
				overlays[o].region = s->regions[0].id;
			if (overlays[o].service == 10)
				overlays[o].service = s->services[0].id;
			if (overlays[o].backend == 100)
				overlays[o].backend = s->backends[0].id;
		}
		free(s->overlays);
		s->overlays = overlays;
		s->overlay_count = overlays[1].region || overlays[1].backend ? 2 : 1;
		if ((gs_snapshot_check(s, &error) != 0) != (rows[i].want != NULL) ||
		    (rows[i].want && !strstr(error.text, rows[i].want)))
			fail_msg("row %zu: %s", i, error.text);
		s->overlays = NULL;
		gs_snapshot_free(s);
	}
}

static void test_check_knows_the_limits(void **state)
{
	static const struct {
		size_t offset;
		uint32_t limit;
		const char *place;
	} rows[] = {
		{offsetof(struct gs_snapshot, region_count), GS_MAX_REGIONS, "regions:"},
		{offsetof(struct gs_snapshot, policy_count), GS_MAX_POLICIES, "policies:"},
		{offsetof(struct gs_snapshot, service_count), GS_MAX_SERVICES, "services:"},
		{offsetof(struct gs_snapshot, backend_count), GS_MAX_BACKENDS, "backends:"},
		{offsetof(struct gs_snapshot, override_count), 2 * GS_MAX_OVERRIDES + 2049,
		 "overrides:"},
		{offsetof(struct gs_snapshot, fence_count), GS_FENCES_MAX + 1, "fences:"},
		{offsetof(struct gs_snapshot, latency_count), GS_LATENCIES_MAX + 1, "latencies:"},
	};

	(void)state;
	/* Counts are looked at before anything they count. */
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		struct gs_snapshot s = {0};
		struct gs_error error = {{0}};

		*(uint32_t *)((char *)&s + rows[r].offset) = rows[r].limit;
		assert_int_equal(gs_snapshot_check(&s, &error), -EINVAL);
		assert_memory_equal(error.text, rows[r].place, strlen(rows[r].place));
	}
}

/* As many as the maps hold, then one pair alike at places drawn: found wherever it is. */
static void test_check_finds_one_pair_among_all(void **state)
{
	enum { COUNT = GS_MAX_OVERRIDES };
	const struct gs_snapshot counts = {
		.region_count = 1, .policy_count = 0, .override_count = COUNT};
	uint64_t seed = 20261123;
	struct gs_error error = {{0}};
	struct gs_snapshot *s;

	(void)state;
	print_message("# seed %ju\n", (uintmax_t)seed);
	assert_int_equal(gs_snapshot_new(&counts, &s), 0);
	s->regions[0].id = 1;
	set_name(s->regions[0].name, "r", 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct gs_addr at = gs_addr_from_v4(0x0a000000u + i * 256);

		s->overrides[i] =
			(struct gs_override){.prefix = gs_prefix_make(&at, 24), .region = 1};
	}
	assert_int_equal(gs_snapshot_check(s, &error), 0);
	for (int round = 0; round < 8; round++) {
		uint32_t a = (uint32_t)(world_draw(&seed) % COUNT);
		uint32_t b = (a + 1 + (uint32_t)(world_draw(&seed) % (COUNT - 1))) % COUNT;
		struct gs_override kept = s->overrides[a];
		char place[64];

		s->overrides[a] = s->overrides[b];
		assert_int_equal(gs_snapshot_check(s, &error), -EINVAL);
		snprintf(place, sizeof(place), "overrides[%u].prefix:", a > b ? a : b);
		assert_memory_equal(error.text, place, strlen(place));
		s->overrides[a] = kept;
	}
	gs_snapshot_free(s);
}

static void test_look_ups(void **state)
{
	struct gs_snapshot *s = sound();

	(void)state;
	for (unsigned id = 0; id <= 40; id++) {
		const struct gs_region *region = gs_snapshot_region(s, (gs_id)id);
		const struct gs_policy *policy = gs_snapshot_policy(s, (gs_id)id);
		const struct gs_service *service = gs_snapshot_service(s, (gs_id)id);
		const struct gs_backend *backend = gs_snapshot_backend(s, (gs_id)id);

		assert_int_equal(region ? region->id : 0, id == 2 || id == 4 || id == 6 ? id : 0);
		assert_int_equal(policy ? policy->id : 0, id == 3 || id == 5 ? id : 0);
		assert_int_equal(service ? service->id : 0,
				 id == 10 || id == 20 || id == 30 ? id : 0);
		assert_int_equal(backend ? backend->id : 0,
				 id > 0 && id <= 28 && id % 7 == 0 ? id : 0);
	}
	assert_ptr_equal(gs_snapshot_region_named(s, "region1"), &s->regions[1]);
	assert_ptr_equal(gs_snapshot_policy_named(s, "policy1"), &s->policies[1]);
	assert_ptr_equal(gs_snapshot_service_named(s, "service2"), &s->services[2]);
	assert_ptr_equal(gs_snapshot_backend_named(s, "backend3"), &s->backends[3]);
	assert_null(gs_snapshot_region_named(s, "region"));
	assert_null(gs_snapshot_backend_named(s, ""));
	gs_snapshot_free(s);
}

static void test_words(void **state)
{
	enum gs_admin admin;
	enum gs_protocol protocol;
	enum gs_policy_kind policy;
	enum gs_probe_kind probe;
	enum gs_forward forward;

	(void)state;
	for (unsigned i = 0; i < GS_ADMIN__COUNT; i++) {
		assert_int_equal(gs_admin_parse(gs_admin_name((enum gs_admin)i), &admin), 0);
		assert_int_equal(admin, i);
	}
	for (unsigned i = 0; i < GS_POLICY__COUNT; i++) {
		assert_int_equal(
			gs_policy_kind_parse(gs_policy_kind_name((enum gs_policy_kind)i), &policy),
			0);
		assert_int_equal(policy, i);
	}
	for (unsigned i = 0; i < GS_PROBE__COUNT; i++) {
		assert_int_equal(
			gs_probe_kind_parse(gs_probe_kind_name((enum gs_probe_kind)i), &probe), 0);
		assert_int_equal(probe, i);
	}
	for (unsigned i = 0; i < GS_FORWARD_AS__COUNT; i++) {
		assert_int_equal(gs_forward_parse(gs_forward_name((enum gs_forward)i), &forward),
				 0);
		assert_int_equal(forward, i);
	}
	assert_int_equal(gs_forward_parse("gre", &forward), -EINVAL);
	assert_int_equal(gs_forward_parse("", &forward), -EINVAL);
	assert_int_equal(gs_protocol_parse("udp", &protocol), 0);
	assert_int_equal(protocol, GS_PROTOCOL_UDP);
	admin = GS_ADMIN_DRAIN;
	assert_int_equal(gs_admin_parse("Auto", &admin), -EINVAL);
	assert_int_equal(gs_admin_parse("", &admin), -EINVAL);
	assert_int_equal(admin, GS_ADMIN_DRAIN);
	assert_int_equal(gs_protocol_parse("tcpx", &protocol), -EINVAL);
	assert_int_equal(gs_protocol_parse("", &protocol), -EINVAL);
}

static void test_texts(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{"", true},
		{"plain text, with ~ and \"quotes\"", true},
		{"h\u00e9, \u4e2d, \U0001f600", true},
		{"\x7f", false},
		{"tab\t", false},
		{"\xc2\x80", false},	     /* a control character */
		{"\xc2\xa0", true},	     /* the first after them */
		{"\xc0\xaf", false},	     /* overlong */
		{"\xe0\x80\xaf", false},     /* overlong */
		{"\xf0\x80\x80\xaf", false}, /* overlong */
		{"\xed\xa0\x80", false},     /* a surrogate */
		{"\xed\x9f\xbf", true},	     /* the last before them */
		{"\xf4\x8f\xbf\xbf", true},  /* the last there is */
		{"\xf4\x90\x80\x80", false}, /* beyond */
		{"\xf5\x80\x80\x80", false}, /* beyond */
		{"\x80", false},	     /* no start */
		{"\xe4\xb8", false},	     /* cut short */
		{"\xe4\xb8x", false},	     /* cut short */
		{"\xff", false},
	};

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
		if (gs_text_is_valid(rows[r].text, 64) != rows[r].valid)
			fail_msg("row %zu", r);
	assert_true(gs_text_is_valid("1234", 4));
	assert_false(gs_text_is_valid("12345", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_accepts_what_is_sound),
		cmocka_unit_test(test_check_names_the_place),
		cmocka_unit_test(test_check_knows_the_limits),
		cmocka_unit_test(test_check_knows_overlays),
		cmocka_unit_test(test_check_finds_one_pair_among_all),
		cmocka_unit_test(test_look_ups),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
