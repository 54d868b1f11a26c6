/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fakes/fakes.h"

#include "user/app/snapshot_io.h"
#include "user/base/error.h"
#include "user/base/progress.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- store ----------------------------------------------------------------------------------- */

static int store_start(void *self, const struct gs_store_events *events, void *context)
{
	struct fake_store *fake = self;

	fake->events = events;
	fake->context = context;
	return 0;
}

static void store_record(void *self, const struct gs_transition *transition)
{
	struct fake_store *fake = self;

	if (fake->transition_count < FAKE_TRANSITIONS_MAX)
		fake->transitions[fake->transition_count] = *transition;
	fake->transition_count++;
}

static void store_record_probes(void *self, const struct gs_probe_minute *minutes, uint32_t count)
{
	struct fake_store *fake = self;

	for (uint32_t i = 0; i < count; i++)
		if (fake->minute_count + i < FAKE_MINUTES_MAX)
			fake->minutes[fake->minute_count + i] = minutes[i];
	fake->minute_count += count;
}

static void store_report(void *self, const struct gs_edge_report *report)
{
	struct fake_store *fake = self;

	fake->report = *report;
	fake->report_count++;
}

static void nothing_to_close(void *self)
{
	(void)self;
}

void fake_store_init(struct fake_store *fake, struct gs_store *ret_store)
{
	static const struct gs_store_ops ops = {
		.start = store_start,
		.record_transition = store_record,
		.record_probes = store_record_probes,
		.report_edge = store_report,
		.close = nothing_to_close,
	};

	*ret_store = (struct gs_store){.ops = &ops, .self = fake};
}

/* ---- geodb ----------------------------------------------------------------------------------- */

/* While the gate is closed it is as far as it ever gets, until it is opened or told to end. */
static int wait_at_gate(struct fake_geodb *fake, struct gs_progress *progress)
{
	gs_progress_size(progress, FAKE_GEODB_SIZE);
	gs_progress_begin(progress, GS_PHASE_LOCATING, 2);
	while (__atomic_load_n(&fake->is_gated, __ATOMIC_ACQUIRE) && !gs_progress_at(progress, 1))
		sched_yield();
	return gs_progress_at(progress, 1);
}

static int geodb_load(void *self, const char *path, struct gs_progress *progress,
		      struct gs_geodata **ret_geo, struct gs_error *error)
{
	struct fake_geodb *fake = self;
	struct gs_geodata *geo;

	__atomic_fetch_add(&fake->loads, 1, __ATOMIC_RELAXED);
	if (wait_at_gate(fake, progress))
		return gs_error_set(-ECANCELED, error, "%s: cancelled", path);
	if (fake->error)
		return gs_error_set(fake->error, error, "%s: scripted to be broken", path);
	geo = malloc(sizeof(*geo));
	if (!geo)
		return -ENOMEM;
	*geo = *fake->geo;
	strncpy(geo->path, path, sizeof(geo->path) - 1);
	__atomic_fetch_add(&fake->alive, 1, __ATOMIC_RELAXED);
	*ret_geo = geo;
	return 0;
}

static void geodb_release(void *self, struct gs_geodata *geo)
{
	struct fake_geodb *fake = self;

	__atomic_fetch_add(&fake->releases, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&fake->alive, 1, __ATOMIC_RELAXED);
	free(geo);
}

static int geodb_load_asn(void *self, const char *path, struct gs_progress *progress,
			  struct gs_asndata **ret_asn, struct gs_error *error)
{
	static struct gs_geo_key zero;
	static uint32_t nobody;
	static const struct gs_asndata empty = {
		.digest = 1,
		.v4 = {.starts = &zero, .asns = &nobody, .start_count = 1},
		.v6 = {.starts = &zero, .asns = &nobody, .start_count = 1},
	};
	struct fake_geodb *fake = self;
	struct gs_asndata *asn;

	(void)progress;
	__atomic_fetch_add(&fake->loads, 1, __ATOMIC_RELAXED);
	if (fake->asn_error)
		return gs_error_set(fake->asn_error, error, "%s: scripted to be broken", path);
	asn = malloc(sizeof(*asn));
	if (!asn)
		return -ENOMEM;
	*asn = fake->asn ? *fake->asn : empty;
	strncpy(asn->path, path, sizeof(asn->path) - 1);
	__atomic_fetch_add(&fake->alive, 1, __ATOMIC_RELAXED);
	*ret_asn = asn;
	return 0;
}

static void geodb_release_asn(void *self, struct gs_asndata *asn)
{
	struct fake_geodb *fake = self;

	__atomic_fetch_add(&fake->releases, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&fake->alive, 1, __ATOMIC_RELAXED);
	free(asn);
}

void fake_geodb_init(struct fake_geodb *fake, struct gs_geodb *ret_geodb)
{
	static const struct gs_geodb_ops ops = {.load = geodb_load,
						.release = geodb_release,
						.load_asn = geodb_load_asn,
						.release_asn = geodb_release_asn};

	*ret_geodb = (struct gs_geodb){.ops = &ops, .self = fake};
}

/* ---- nexthop --------------------------------------------------------------------------------- */

static int nexthop_start(void *self, const struct gs_nexthop_events *events, void *context)
{
	struct fake_nexthop *fake = self;

	fake->events = events;
	fake->context = context;
	return 0;
}

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int nexthop_resolve(void *self, const struct gs_addr *addr, uint32_t was_ifindex,
			   struct gs_hop *ret_hop)
{
	struct fake_nexthop *fake = self;
	uint64_t until_us = clock_us() + fake->spend_us;

	fake->resolves++;
	fake->was_ifindex = was_ifindex;
	*ret_hop = (struct gs_hop){
		.mtu = fake->error ? 0 : fake->mtu, .ifindex = 1, .reflect = fake->error != 0};
	memcpy(ret_hop->dst_mac, &addr->bytes[10], sizeof(ret_hop->dst_mac));
	while (fake->spend_us && clock_us() < until_us) {
	}
	return fake->error;
}

void fake_nexthop_init(struct fake_nexthop *fake, struct gs_nexthop *ret_nexthop)
{
	static const struct gs_nexthop_ops ops = {
		.start = nexthop_start,
		.resolve = nexthop_resolve,
		.close = nothing_to_close,
	};

	*ret_nexthop = (struct gs_nexthop){.ops = &ops, .self = fake};
}

/* ---- dataplane ------------------------------------------------------------------------------- */

static int publish_locked(struct fake_dataplane *fake, const struct gs_tables *tables,
			  const struct gs_hop *hops, struct gs_dataplane_info *ret_info,
			  struct gs_error *error)
{
	for (uint32_t i = 0; i < GS_MAX_BACKENDS; i++)
		fake->published_backend[i] = fake->backends[i].state;
	for (uint32_t i = 0; i < GS_MAX_REGIONS; i++)
		fake->published_region[i] = fake->regions[i].state;
	for (uint32_t i = 0; i < GS_MAX_SERVICES * GS_MAX_REGIONS; i++)
		fake->published_pool[i] = fake->pools[i].state;
	if (fake->publish_error) {
		int result = fake->publish_error;

		if (fake->publish_fails && --fake->publish_fails == 0)
			fake->publish_error = 0;
		return gs_error_set(result, error, "publish scripted to fail");
	}
	if (fake->info.digest != tables->digest || fake->info.generation == 0)
		fake->info.generation++;
	fake->info.digest = tables->digest;
	fake->info.slot = (uint32_t)(fake->info.generation % 3);
	fake->last_revision = tables->snapshot->revision;
	fake->last_geo = tables->geo;
	fake->last_hop_mtu = tables->snapshot->backend_count ? hops[0].mtu : 0;
	*ret_info = fake->info;
	return 0;
}

/* On the worker, as the real one. */
static int dataplane_publish(void *self, const struct gs_tables *tables, const struct gs_hop *hops,
			     struct gs_dataplane_info *ret_info, struct gs_error *error)
{
	struct fake_dataplane *fake = self;
	int result;

	__atomic_fetch_add(&fake->publishes, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&fake->gate);
	pthread_mutex_unlock(&fake->gate);
	pthread_mutex_lock(&fake->lock);
	result = publish_locked(fake, tables, hops, ret_info, error);
	pthread_mutex_unlock(&fake->lock);
	return result;
}

static struct gs_usable *word_of(struct fake_dataplane *fake, enum gs_object_kind kind,
				 uint32_t index)
{
	switch (kind) {
	case GS_OBJECT_REGION:
		return &fake->regions[index];
	case GS_OBJECT_POOL:
		return &fake->pools[index];
	default:
		return &fake->backends[index];
	}
}

static void dataplane_set_usable(void *self, enum gs_object_kind kind, uint32_t index,
				 struct gs_usable usable)
{
	struct fake_dataplane *fake = self;

	pthread_mutex_lock(&fake->lock);
	if (fake->write_count < FAKE_LOG_MAX)
		fake->writes[fake->write_count] =
			(struct fake_write){.kind = kind, .index = index, .word = usable};
	fake->write_count++;
	*word_of(fake, kind, index) = usable;
	pthread_mutex_unlock(&fake->lock);
}

static struct gs_usable dataplane_get_usable(void *self, enum gs_object_kind kind, uint32_t index)
{
	return *word_of(self, kind, index);
}

static void dataplane_set_fill(void *self, gs_id region, struct gs_fill fill)
{
	struct fake_dataplane *fake = self;

	fake->fill_sets++;
	fake->fill[region] = fill;
}

static struct gs_fill dataplane_get_fill(void *self, gs_id region)
{
	const struct fake_dataplane *fake = self;

	return fake->fill[region];
}

static int dataplane_set_hop(void *self, gs_id backend, const struct gs_hop *hop)
{
	struct fake_dataplane *fake = self;

	fake->hop_sets++;
	fake->hop_mtu = hop->mtu;
	fake->hop_told_mtu[backend] = hop->told_mtu;
	return 0;
}

static uint32_t dataplane_told(void *self, struct gs_told *ret_told, uint32_t max)
{
	struct fake_dataplane *fake = self;
	uint32_t count = fake->told_count < max ? fake->told_count : max;

	memcpy(ret_told, fake->told, count * sizeof(*ret_told));
	memmove(fake->told, fake->told + count, (fake->told_count - count) * sizeof(fake->told[0]));
	fake->told_count -= count;
	return count;
}

static void dataplane_info(void *self, struct gs_dataplane_info *ret_info)
{
	struct fake_dataplane *fake = self;

	pthread_mutex_lock(&fake->lock);
	*ret_info = fake->info;
	pthread_mutex_unlock(&fake->lock);
}

static int dataplane_count(void *self, struct gs_counters *ret_counters)
{
	struct fake_dataplane *fake = self;

	if (fake->count_error)
		return fake->count_error;
	*ret_counters = (struct gs_counters){
		.reasons = calloc(1, sizeof(struct gs_counter)),
		.services = calloc(1, sizeof(struct gs_counter)),
		.reason_count = 1,
		.service_count = 1,
	};
	if (!ret_counters->reasons || !ret_counters->services)
		abort();
	ret_counters->reasons[0] = (struct gs_counter){"tx_new", 0, 7, 700};
	ret_counters->services[0] = (struct gs_counter){NULL, 1, 7, 700};
	return 0;
}

static int dataplane_handshake_fd(void *self)
{
	const struct fake_dataplane *fake = self;

	return fake->handshake_fd;
}

static uint32_t dataplane_take_handshakes(void *self, struct gs_handshake *ret_handshakes,
					  uint32_t most)
{
	struct fake_dataplane *fake = self;
	uint32_t count = fake->handshake_count < most ? fake->handshake_count : most;

	fake->takes++;
	memcpy(ret_handshakes, fake->handshakes, count * sizeof(*ret_handshakes));
	memmove(fake->handshakes, fake->handshakes + count,
		(fake->handshake_count - count) * sizeof(fake->handshakes[0]));
	fake->handshake_count -= count;
	return count;
}

static void dataplane_sample_handshakes(void *self, uint32_t one_in)
{
	struct fake_dataplane *fake = self;

	fake->one_in = one_in;
	fake->one_in_count++;
}

static int dataplane_syns(void *self, gs_id backend, struct gs_syns *ret_syns)
{
	struct fake_dataplane *fake = self;

	fake->syns_asked++;
	if (fake->syns_error)
		return fake->syns_error;
	*ret_syns = fake->syns[backend];
	return 0;
}

static int dataplane_demand(void *self, uint32_t slot, uint32_t first, uint32_t count,
			    uint32_t *ret_flows)
{
	const struct fake_dataplane *fake = self;

	if (slot >= FAKE_SLOTS || first + count > GS_DEMAND_ENTRIES)
		return -ERANGE;
	for (uint32_t i = 0; i < count; i++)
		ret_flows[i] = first + i < FAKE_DEMAND ? fake->demand[slot][first + i] : 0;
	return 0;
}

static int dataplane_heartbeat(void *self)
{
	struct fake_dataplane *fake = self;

	fake->heartbeats++;
	return fake->heartbeat_result;
}

static bool dataplane_carries(void *self, uint32_t ifindex)
{
	const struct fake_dataplane *fake = self;

	return ifindex < 64 && fake->carriers >> ifindex & 1;
}

static int dataplane_set_reach(void *self, const struct gs_reach_set *reach, struct gs_error *error)
{
	struct fake_dataplane *fake = self;

	(void)error;
	fake->reach_sets++;
	fake->reach_links = reach->link_count;
	fake->reach_ports = reach->port_count;
	fake->reach_silent = reach->is_silent;
	fake->reach_vip_count = reach->vip_count;
	for (uint32_t i = 0; i < reach->vip_count && i < FAKE_VIPS_MAX; i++)
		fake->reach_vips[i] = reach->vips[i];
	return 0;
}

void fake_dataplane_init(struct fake_dataplane *fake, struct gs_dataplane *ret_dataplane)
{
	static const struct gs_dataplane_ops ops = {
		.publish = dataplane_publish,
		.set_usable = dataplane_set_usable,
		.get_usable = dataplane_get_usable,
		.set_fill = dataplane_set_fill,
		.get_fill = dataplane_get_fill,
		.set_hop = dataplane_set_hop,
		.carries = dataplane_carries,
		.set_reach = dataplane_set_reach,
		.info = dataplane_info,
		.count = dataplane_count,
		.told = dataplane_told,
		.handshake_fd = dataplane_handshake_fd,
		.take_handshakes = dataplane_take_handshakes,
		.sample_handshakes = dataplane_sample_handshakes,
		.syns = dataplane_syns,
		.demand = dataplane_demand,
		.heartbeat = dataplane_heartbeat,
		.close = nothing_to_close,
	};
	pthread_mutexattr_t recursive;

	fake->handshake_fd = -1;
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&fake->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	pthread_mutex_init(&fake->gate, NULL);
	*ret_dataplane = (struct gs_dataplane){.ops = &ops, .self = fake};
}

/* ---- announcer ------------------------------------------------------------------------------- */

static int announcer_look(void *self, struct gs_link_set *ret_set)
{
	const struct fake_announcer *fake = self;

	*ret_set = fake->set;
	return 0;
}

static int announcer_announce(void *self, const struct gs_link *link, const struct gs_addr *vip)
{
	struct fake_announcer *fake = self;

	if (fake->told_count < FAKE_TOLD_MAX)
		fake->told[fake->told_count] = (struct fake_told){link->ifindex, *vip};
	fake->told_count++;
	return fake->error;
}

void fake_announcer_init(struct fake_announcer *fake, struct gs_announcer *ret_announcer)
{
	static const struct gs_announcer_ops ops = {
		.look = announcer_look,
		.announce = announcer_announce,
		.close = nothing_to_close,
	};

	*ret_announcer = (struct gs_announcer){.ops = &ops, .self = fake};
}

/* ---- detour ---------------------------------------------------------------------------------- */

static const char *detour_look(void *self, const struct gs_probe_target *target,
			       struct gs_detour_way *ret_way)
{
	struct fake_detour *fake = self;

	(void)target;
	fake->looks += ret_way != NULL;
	if (ret_way && !fake->why)
		*ret_way = fake->way;
	return fake->why;
}

static uint32_t detour_count(void *self, struct gs_counter ret_counters[GS_DETOUR_COUNTERS_MAX])
{
	(void)self;
	ret_counters[0] = (struct gs_counter){.name = "sent", .packets = 12};
	return 1;
}

void fake_detour_init(struct fake_detour *fake, struct gs_detour *ret_detour)
{
	static const struct gs_detour_ops ops = {
		.look = detour_look, .count = detour_count, .close = nothing_to_close};

	*ret_detour = (struct gs_detour){.ops = &ops, .self = fake};
}

/* ---- a world of three regions ---------------------------------------------------------------- */

gs_id fake_backend(gs_id region, int n)
{
	return (gs_id)((region - 1) * FAKE_PER_REGION + n + 1);
}

static struct gs_probe_spec quick_spec(void)
{
	struct gs_probe_spec spec = gs_probe_spec_default();

	spec.interval_ms = 30;
	spec.fast_interval_ms = 10;
	spec.timeout_ms = 25;
	spec.down_interval_ms = 30;
	return spec;
}

struct gs_snapshot *fake_snapshot(uint64_t revision)
{
	static const struct gs_coord PLACES[] = {{50.1, 8.7}, {39.0, -77.5}, {1.3, 103.8}};
	const struct gs_snapshot counts = {
		.revision = revision,
		.selection_seed = 42,
		.region_count = FAKE_REGIONS,
		.policy_count = 1,
		.service_count = 1,
		.backend_count = FAKE_REGIONS * FAKE_PER_REGION,
	};
	struct gs_snapshot *s;

	if (gs_snapshot_new(&counts, &s))
		abort();
	s->policies[0] = (struct gs_policy){
		.id = 1, .name = "nearest", .order_count = 3, .order = {FAKE_EU, FAKE_US, FAKE_AP}};
	struct gs_breaker_spec breaker = gs_breaker_spec_default();

	breaker.enabled = false; /* who tests breakers switches them on */
	s->services[0] = (struct gs_service){.id = FAKE_WEB,
					     .name = "web",
					     .vip = gs_addr_from_v4(0xc633640a),
					     .port = 80,
					     .protocol = GS_PROTOCOL_TCP,
					     .policy = 1,
					     .probe = quick_spec(),
					     .breaker = breaker};
	for (gs_id r = 1; r <= FAKE_REGIONS; r++) {
		s->regions[r - 1] = (struct gs_region){.id = r, .coord = PLACES[r - 1]};
		snprintf(s->regions[r - 1].name, GS_NAME_MAX, "region-%d", r);
		for (int n = 0; n < FAKE_PER_REGION; n++) {
			struct gs_backend *b = &s->backends[fake_backend(r, n) - 1];

			*b = (struct gs_backend){.id = fake_backend(r, n),
						 .service = FAKE_WEB,
						 .region = r,
						 .addr = gs_addr_from_v4(0x0a000000u +
									 (uint32_t)(r << 8) +
									 (uint32_t)n + 1),
						 .weight = 100};
			snprintf(b->name, GS_NAME_MAX, "backend-%d-%d", r, n);
		}
	}
	return s;
}
