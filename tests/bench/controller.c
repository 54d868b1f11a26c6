/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller.h"
#include "report.h"
#include "user/adapters/adapters.h"
#include "user/app/snapshot_io.h"
#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS = PLANNER_BACKENDS / PLANNER_POLICIES / PLANNER_REGIONS };

/* All over the world, none at the place of another. */
static struct gs_coord coord_of(uint32_t n)
{
	return (struct gs_coord){(n * 37) % 140 - 70.0, (n * 73) % 360 - 180.0};
}

static void make_policy(struct gs_policy *policy, uint32_t n)
{
	*policy = (struct gs_policy){.id = (gs_id)(n + 1),
				     .kind = n % 2 ? GS_POLICY_LATENCY : GS_POLICY_GEO,
				     .band_ms = 2,
				     .order_count = GS_POLICY_ORDER_MAX};
	snprintf(policy->name, GS_NAME_MAX, "policy-%u", n + 1);
	for (uint32_t i = 0; i < GS_POLICY_ORDER_MAX; i++) {
		policy->order[i] = (gs_id)(1 + (n * 3 + i) % PLANNER_REGIONS);
		policy->bias[i] = policy->kind == GS_POLICY_GEO ? (int8_t)(i * 2) : 0;
	}
}

static void make_service(struct gs_service *service, uint32_t n)
{
	*service = (struct gs_service){.id = (gs_id)(n + 1),
				       .vip = gs_addr_from_v4(0xc633640a),
				       .port = (uint16_t)(1000 + n),
				       .protocol = GS_PROTOCOL_TCP,
				       .policy = (gs_id)(n + 1),
				       .probe = gs_probe_spec_default(),
				       .breaker = gs_breaker_spec_default()};
	snprintf(service->name, GS_NAME_MAX, "service-%u", n + 1);
}

static void make_backend(struct gs_backend *backend, uint32_t n)
{
	*backend = (struct gs_backend){
		.id = (gs_id)(n + 1),
		.service = (gs_id)(n / MEMBERS / PLANNER_REGIONS + 1),
		.region = (gs_id)(n / MEMBERS % PLANNER_REGIONS + 1),
		.addr = gs_addr_from_v4(0x0a010000 + n),
		.weight = 100,
	};
	snprintf(backend->name, GS_NAME_MAX, "backend-%u", n + 1);
}

struct gs_snapshot *bench_snapshot(uint64_t revision)
{
	const struct gs_snapshot counts = {
		.revision = revision,
		.selection_seed = 42,
		.region_count = PLANNER_REGIONS,
		.policy_count = PLANNER_POLICIES,
		.service_count = PLANNER_POLICIES,
		.backend_count = PLANNER_BACKENDS,
	};
	struct gs_error error = {{0}};
	struct gs_snapshot *s;

	assert_int_equal(gs_snapshot_new(&counts, &s), 0);
	for (uint32_t i = 0; i < PLANNER_REGIONS; i++) {
		s->regions[i] = (struct gs_region){
			.id = (gs_id)(i + 1), .coord = coord_of(i), .capacity = 1000};
		snprintf(s->regions[i].name, GS_NAME_MAX, "region-%u", i + 1);
	}
	for (uint32_t i = 0; i < PLANNER_POLICIES; i++) {
		make_policy(&s->policies[i], i);
		make_service(&s->services[i], i);
	}
	for (uint32_t i = 0; i < PLANNER_BACKENDS; i++)
		make_backend(&s->backends[i], i);
	if (gs_snapshot_check(s, &error))
		fail_msg("%s", error.text);
	return s;
}

struct gs_geodata *bench_geodata(const char *path, double *ret_ms)
{
	double began_ms = bench_now_ms();
	struct gs_error error = {{0}};
	struct gs_geodata *data;
	struct gs_geodb geodb;

	assert_int_equal(gs_mmdb_open(&geodb), 0);
	if (geodb.ops->load(geodb.self, path, NULL, &data, &error))
		fail_msg("%s: %s", path, error.text);
	*ret_ms = bench_now_ms() - began_ms;
	return data;
}
