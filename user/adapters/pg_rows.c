// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_rows.h"

#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/loop.h"
#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/latency.h"
#include "user/core/overlay.h"
#include "user/core/override.h"
#include "user/core/panic.h"
#include "user/core/place.h"
#include "user/core/policy.h"
#include "user/core/probe_spec.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define DRAIN " coalesce((extract(epoch FROM drain_until) * 1000)::bigint, 0) AS drain_until"
#define QUERIES                                                                                                   \
	"SELECT revision, selection_seed, changed_as,"                                                            \
	" (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS clock FROM geostream.revision LIMIT 2;"       \
	"SELECT id, left(name, 64) AS name, latitude, longitude, cost, capacity, availability,"                   \
	" target, limit_packets, limit_flows, left(admin, 16) AS admin," DRAIN                                    \
	" FROM geostream.regions ORDER BY id LIMIT 257;"                                                          \
	"SELECT id, left(name, 64) AS name, left(kind, 16) AS kind,"                                              \
	" left(array_to_string(rank, ','), 128) AS rank, band_ms, band_percent"                                   \
	" FROM geostream.policies ORDER BY id LIMIT 257;"                                                         \
	"SELECT policy, region, bias, weight FROM geostream.policy_regions ORDER BY policy, position LIMIT 4097;" \
	"SELECT id, left(name, 64) AS name, host(vip) AS vip, port, left(protocol, 16) AS protocol,"              \
	" policy, left(probe_kind, 16) AS probe_kind, probe_port,"                                                \
	" left(probe_path, 256) AS probe_path, left(probe_host, 256) AS probe_host,"                              \
	" probe_interval_ms, probe_timeout_ms, probe_fast_interval_ms,"                                           \
	" probe_down_interval_ms, probe_rise, probe_fall, probe_clear,"                                           \
	" left(probe_status, 64) AS probe_status, left(probe_expect, 128) AS probe_expect,"                       \
	" left(probe_expect_at, 16) AS probe_expect_at,"                                                          \
	" left(probe_request, 256) AS probe_request, left(probe_trust, 256) AS probe_trust,"                      \
	" left(probe_dns_type, 16) AS probe_dns_type,"                                                            \
	" left(probe_dns_rcode, 16) AS probe_dns_rcode, left(probe_command, 64) AS probe_command,"                \
	" left(array_to_string(probe_arguments, ','), 256) AS probe_arguments,"                                   \
	" left(probe_via, 16) AS probe_via,"                                                                      \
	" failover_budget_ms, breaker_enabled::int,"                                                              \
	" breaker_min_volume, breaker_failure_percent, breaker_consecutive, breaker_open_ms,"                     \
	" breaker_open_max_ms, breaker_trials, breaker_successes, breaker_ramp_ms, breaker_slow_ms,"              \
	" breaker_slow_percent,"                                                                                  \
	" left(affinity, 16) AS affinity, affinity_prefix4, affinity_prefix6, limit_client_packets,"              \
	" limit_client_flows, limit_packets, limit_flows, limit_prefix4, limit_prefix6, limit_priority,"          \
	" left(stale, 16) AS stale, stale_after_s, damping_suppress, damping_reuse,"                              \
	" damping_half_life_s, damping_ceiling_s, panic_percent,"                                                 \
	" left(panic_all_down, 16) AS panic_all_down, coalesce(panic_region, 0) AS panic_region"                  \
	" FROM geostream.services ORDER BY id LIMIT 1025;"                                                        \
	"SELECT id, left(name, 64) AS name, service, region, host(address) AS address, weight,"                   \
	" left(forward, 16) AS forward, port, left(admin, 16) AS admin," DRAIN                                    \
	" FROM geostream.backends ORDER BY id LIMIT 16385;"                                                       \
	"SELECT coalesce(prefix::text, 'AS' || asn, left(place, 32)) AS clients, region,"                         \
	" left(reason, 128) AS reason"                                                                            \
	" FROM geostream.overrides ORDER BY prefix, asn, place LIMIT 133121;"                                     \
	"SELECT prefix, coalesce(service, 0) AS service, (action = 'allow')::int AS allow,"                       \
	" left(reason, 128) AS reason FROM geostream.access ORDER BY prefix, service LIMIT 131073;"               \
	"SELECT s.id AS service, r.id AS region, left(f.edge, 64) AS edge,"                                       \
	" (f.state = 'open')::int AS open,"                                                                       \
	" (extract(epoch FROM f.expires_at) * 1000)::bigint AS expires_at,"                                       \
	" left(f.reason, 128) AS reason, left(f.actor, 64) AS actor"                                              \
	" FROM geostream.breaker_forces f JOIN geostream.services s ON s.name = f.service"                        \
	" JOIN geostream.regions r ON r.name = f.region WHERE f.expires_at > now()"                               \
	" ORDER BY 1, 2, f.edge LIMIT 4097;"                                                                      \
	"SELECT left(place, 32) AS place, coalesce(service, 0) AS service,"                                       \
	" left(array_to_string(regions, ','), 256) AS regions, (unknown = 'fenced')::int AS unknown,"             \
	" left(reason, 128) AS reason FROM geostream.fences ORDER BY place, service LIMIT 257;"                   \
	"SELECT left(place, 32) AS place, region, samples,"                                                       \
	" CASE WHEN goes THEN -2147483648 ELSE us END AS us,"                                                     \
	" (extract(epoch FROM at) * 1000)::bigint AS at,"                                                         \
	" CASE WHEN goes THEN us WHEN before_percent = 0 THEN 0"                                                  \
	" ELSE coalesce(before_us, -2147483648) END AS before_us, before_percent"                                 \
	" FROM geostream.latency_estimates ORDER BY place, region LIMIT 16385;"                                   \
	"SELECT coalesce(r.id, 0) AS region, coalesce(s.id, 0) AS service, coalesce(b.id, 0) AS backend,"         \
	" left(o.edge, 64) AS edge, left(o.admin, 16) AS admin, o.supersedes::int AS supersedes,"                 \
	" (extract(epoch FROM o.made_at) * 1000)::bigint AS made_at,"                                             \
	" coalesce((extract(epoch FROM o.expires_at) * 1000)::bigint, 0) AS expires_at, o.version,"               \
	" left(o.reason, 128) AS reason, left(o.actor, 64) AS actor, left(o.ticket, 64) AS ticket"                \
	" FROM geostream.overlays o LEFT JOIN geostream.regions r ON r.name = o.region"                           \
	" LEFT JOIN geostream.services s ON s.name = o.service"                                                   \
	" LEFT JOIN geostream.backends b ON b.name = o.backend"                                                   \
	" WHERE o.expires_at IS NULL OR o.expires_at > now() ORDER BY 3, 2, 1, o.edge LIMIT 4097"

const char gs_pg_snapshot_query[] = QUERIES;
const char gs_pg_read_query[] =
	"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;" QUERIES ";COMMIT";

static const struct {
	const char *table;
	int columns;
} shapes[GS_PG_RESULT__COUNT] = {
	[GS_PG_REVISION] = {"revision", 4},
	[GS_PG_REGIONS] = {"regions", 12},
	[GS_PG_POLICIES] = {"policies", 6},
	[GS_PG_POLICY_REGIONS] = {"policy_regions", 4},
	[GS_PG_SERVICES] = {"services", 58},
	[GS_PG_BACKENDS] = {"backends", 10},
	[GS_PG_OVERRIDES] = {"overrides", 3},
	[GS_PG_ACCESS] = {"access", 4},
	[GS_PG_FORCES] = {"breaker_forces", 7},
	[GS_PG_FENCES] = {"fences", 5},
	[GS_PG_LATENCIES] = {"latency_estimates", 7},
	[GS_PG_OVERLAYS] = {"overlays", 12},
};

static void free_snapshot_ptr(struct gs_snapshot **snapshot)
{
	gs_snapshot_free(*snapshot);
}

/* One row being read, its columns in order. The first thing wrong is kept in error, ret. */
struct row {
	const PGresult *result;
	const char *table;
	int index;
	int column;
	int ret;
	struct gs_error *error;
};

static void refuse(struct row *row, const char *why)
{
	if (row->ret == 0)
		row->ret = gs_error_set(-EINVAL, row->error, "%s[%d].%s: %s", row->table,
					row->index, PQfname(row->result, row->column), why);
}

/* The next column's text; "" and an error if it is NULL. */
static const char *next_text(struct row *row)
{
	if (PQgetisnull(row->result, row->index, row->column)) {
		refuse(row, "is NULL");
		return "";
	}
	return PQgetvalue(row->result, row->index, row->column);
}

static void read_text(struct row *row, char *out, size_t size)
{
	const char *text = next_text(row);

	if (strlen(text) >= size)
		refuse(row, "too long");
	else
		memcpy(out, text, strlen(text) + 1);
	row->column++;
}

static int64_t read_integer(struct row *row, int64_t min, int64_t max)
{
	const char *text = next_text(row);
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max) {
		refuse(row, "not a number in range");
		value = min;
	}
	row->column++;
	return value;
}

static double read_double(struct row *row)
{
	const char *text = next_text(row);
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end)
		refuse(row, "not a number");
	row->column++;
	return value;
}

static void read_addr(struct row *row, struct gs_addr *addr)
{
	if (gs_addr_parse(next_text(row), addr) != 0)
		refuse(row, "not an address");
	row->column++;
}

static void read_admin(struct row *row, enum gs_admin *admin)
{
	if (gs_admin_parse(next_text(row), admin) != 0)
		refuse(row, "not an admin state");
	row->column++;
}

static void read_region(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_region *region = &snapshot->regions[row->index];

	region->id = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, region->name, sizeof(region->name));
	region->coord.lat_deg = read_double(row);
	region->coord.lon_deg = read_double(row);
	region->cost = read_double(row);
	region->capacity = (uint64_t)read_integer(row, 0, INT64_MAX);
	region->availability = read_double(row);
	region->target = (uint8_t)read_integer(row, 0, 100);
	region->limit_packets = (uint32_t)read_integer(row, 0, UINT32_MAX);
	region->limit_flows = (uint32_t)read_integer(row, 0, UINT32_MAX);
	read_admin(row, &region->admin);
	region->drain_until_unix_ms = read_integer(row, 0, INT64_MAX);
}

/* The next of words separated by commas, in out; false: there is none. */
static bool next_word(const char **text, char *out, size_t size)
{
	size_t length = strcspn(*text, ",");

	if (!**text)
		return false;
	snprintf(out, size, "%.*s", (int)length, *text);
	*text += length + ((*text)[length] == ',');
	return true;
}

static void read_rank(struct row *row, struct gs_policy *policy)
{
	const char *text = next_text(row);
	char word[16];

	while (row->ret == 0 && next_word(&text, word, sizeof(word))) {
		enum gs_criterion criterion = GS_BY__COUNT;

		if (policy->rank_count == GS_RANK_MAX || gs_criterion_parse(word, &criterion) != 0)
			refuse(row, "not up to 4 criteria");
		else
			policy->rank[policy->rank_count++] = (uint8_t)criterion;
	}
	row->column++;
}

static void read_policy(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_policy *policy = &snapshot->policies[row->index];

	policy->id = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, policy->name, sizeof(policy->name));
	if (gs_policy_kind_parse(next_text(row), &policy->kind) != 0)
		refuse(row, "not a kind of policy");
	row->column++;
	read_rank(row, policy);
	policy->band_ms = (uint16_t)read_integer(row, 0, GS_BAND_MS_MAX);
	policy->band_percent = (uint8_t)read_integer(row, 0, GS_BAND_PERCENT_MAX);
}

/* Appends a region to its policy's default order; policies are read by then. */
static void read_policy_region(struct row *row, struct gs_snapshot *snapshot)
{
	gs_id id = (gs_id)read_integer(row, 0, UINT16_MAX);
	gs_id region = (gs_id)read_integer(row, 0, UINT16_MAX);
	int8_t bias = (int8_t)read_integer(row, -GS_BIAS_MAX, GS_BIAS_MAX);
	uint16_t weight = (uint16_t)read_integer(row, 0, GS_POLICY_WEIGHT_MAX);

	if (row->ret)
		return;
	row->column = 0;
	for (uint32_t i = 0; i < snapshot->policy_count; i++) {
		struct gs_policy *policy = &snapshot->policies[i];

		if (policy->id != id)
			continue;
		if (policy->order_count >= GS_POLICY_ORDER_MAX) {
			refuse(row, "too many regions in its default order");
			return;
		}
		policy->bias[policy->order_count] = bias;
		policy->weight[policy->order_count] = weight;
		policy->order[policy->order_count++] = region;
		return;
	}
	refuse(row, "no such policy");
}

static void read_probe_texts(struct row *row, struct gs_probe_spec *probe)
{
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++) {
		if (!gs_probe_text_set(probe, t, next_text(row)))
			refuse(row, "too long");
		row->column++;
	}
}

/* Each kind stands before its numbers. */
static void read_spec(struct row *row, struct gs_service *service)
{
	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++) {
		const char *name = gs_service_number(n)->name;

		if (strcmp(name, "affinity_prefix4") == 0) {
			if (gs_affine_parse(next_text(row), &service->affinity.kind) != 0)
				refuse(row, "not a kind of affinity");
			row->column++;
		} else if (strcmp(name, "stale_after_s") == 0) {
			if (gs_stale_parse(next_text(row), &service->stale.kind) != 0)
				refuse(row, "neither keep, pass nor drop");
			row->column++;
		}
		gs_service_number_set(service, n,
				      (uint32_t)read_integer(row, gs_service_number(n)->min,
							     gs_service_number(n)->max));
	}
}

static void read_service(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_service *service = &snapshot->services[row->index];
	struct gs_probe_spec *probe = &service->probe;

	service->id = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, service->name, sizeof(service->name));
	read_addr(row, &service->vip);
	service->port = (uint16_t)read_integer(row, 0, UINT16_MAX);
	if (gs_protocol_parse(next_text(row), &service->protocol) != 0)
		refuse(row, "neither tcp nor udp");
	row->column++;
	service->policy = (gs_id)read_integer(row, 0, UINT16_MAX);
	if (gs_probe_kind_parse(next_text(row), &probe->kind) != 0)
		refuse(row, "not a kind of probe");
	row->column++;
	probe->port = (uint16_t)read_integer(row, 0, UINT16_MAX);
	read_text(row, probe->path, sizeof(probe->path));
	read_text(row, probe->host, sizeof(probe->host));
	probe->interval_ms = (uint32_t)read_integer(row, 0, UINT32_MAX);
	probe->timeout_ms = (uint32_t)read_integer(row, 0, UINT32_MAX);
	probe->fast_interval_ms = (uint32_t)read_integer(row, 0, UINT32_MAX);
	probe->down_interval_ms = (uint32_t)read_integer(row, 0, UINT32_MAX);
	probe->rise = (uint8_t)read_integer(row, 0, UINT8_MAX);
	probe->fall = (uint8_t)read_integer(row, 0, UINT8_MAX);
	probe->clear = (uint8_t)read_integer(row, 0, UINT8_MAX);
	read_probe_texts(row, probe);
	service->failover_budget_ms = (uint32_t)read_integer(row, 0, GS_FAILOVER_BUDGET_MAX_MS);
	for (uint32_t f = 0; f < GS_BREAKER_FIELDS; f++)
		gs_breaker_field_set(
			&service->breaker, f,
			read_integer(row, gs_breaker_field(f)->min, gs_breaker_field(f)->max));
	read_spec(row, service);
	service->panic.percent = (uint8_t)read_integer(row, 0, 100);
	if (gs_all_down_parse(next_text(row), &service->panic.all_down) != 0)
		refuse(row, "not what serves when all is down");
	row->column++;
	service->panic.region = (gs_id)read_integer(row, 0, UINT16_MAX);
}

static void read_backend(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_backend *backend = &snapshot->backends[row->index];

	backend->id = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, backend->name, sizeof(backend->name));
	backend->service = (gs_id)read_integer(row, 0, UINT16_MAX);
	backend->region = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_addr(row, &backend->addr);
	backend->weight = (uint16_t)read_integer(row, 0, UINT16_MAX);
	if (gs_forward_parse(next_text(row), &backend->forward) != 0)
		refuse(row, "not a forward mode");
	row->column++;
	backend->port = (uint16_t)read_integer(row, 0, UINT16_MAX);
	read_admin(row, &backend->admin);
	backend->drain_until_unix_ms = read_integer(row, 0, INT64_MAX);
}

static void read_override(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_override *override = &snapshot->overrides[row->index];

	if (gs_override_parse(next_text(row), override) != 0)
		refuse(row, "neither a prefix nor an AS nor a place");
	row->column++;
	override->region = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, override->reason, sizeof(override->reason));
}

static void read_access(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_access *access = &snapshot->access[row->index];

	if (gs_prefix_parse(next_text(row), &access->prefix) != 0)
		refuse(row, "not a prefix");
	row->column++;
	access->service = (gs_id)read_integer(row, 0, UINT16_MAX);
	access->allow = read_integer(row, 0, 1) == 1;
	read_text(row, access->reason, sizeof(access->reason));
}

/* PostgreSQL sorts prefixes by their bits before their lengths: not quite as the snapshot does. */
static int compare_access(const void *left, const void *right)
{
	return gs_access_compare(left, right);
}

static void read_force(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_force *force = &snapshot->forces[row->index];

	force->service = (gs_id)read_integer(row, 0, UINT16_MAX);
	force->region = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, force->edge, sizeof(force->edge));
	force->open = read_integer(row, 0, 1) == 1;
	force->expires_unix_ms = read_integer(row, 0, INT64_MAX);
	read_text(row, force->reason, sizeof(force->reason));
	read_text(row, force->actor, sizeof(force->actor));
}

static void read_fence(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_fence *fence = &snapshot->fences[row->index];
	const char *text;
	char word[16];

	if (gs_place_parse(next_text(row), &fence->place) != 0)
		refuse(row, "not a place");
	row->column++;
	fence->service = (gs_id)read_integer(row, 0, UINT16_MAX);
	text = next_text(row);
	while (row->ret == 0 && next_word(&text, word, sizeof(word))) {
		if (fence->region_count == GS_FENCE_REGIONS_MAX)
			refuse(row, "too many regions");
		else
			fence->regions[fence->region_count++] = (gs_id)strtoul(word, NULL, 10);
	}
	row->column++;
	fence->holds_unknown = read_integer(row, 0, 1) == 1;
	read_text(row, fence->reason, sizeof(fence->reason));
}

static void read_latency(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_latency *latency = &snapshot->latencies[row->index];

	read_text(row, latency->place, sizeof(latency->place));
	latency->region = (gs_id)read_integer(row, 0, UINT16_MAX);
	latency->samples = (uint32_t)read_integer(row, 0, UINT32_MAX);
	latency->us = (int32_t)read_integer(row, GS_LATENCY_NONE, GS_LATENCY_US_MAX);
	latency->at_unix_ms = read_integer(row, 0, INT64_MAX);
	latency->before_us = (int32_t)read_integer(row, GS_LATENCY_NONE, GS_LATENCY_US_MAX);
	latency->before_percent = (uint8_t)read_integer(row, 0, 99);
}

static void read_overlay(struct row *row, struct gs_snapshot *snapshot)
{
	struct gs_overlay *overlay = &snapshot->overlays[row->index];

	overlay->region = (gs_id)read_integer(row, 0, UINT16_MAX);
	overlay->service = (gs_id)read_integer(row, 0, UINT16_MAX);
	overlay->backend = (gs_id)read_integer(row, 0, UINT16_MAX);
	read_text(row, overlay->edge, sizeof(overlay->edge));
	read_admin(row, &overlay->admin);
	overlay->supersedes = read_integer(row, 0, 1) == 1;
	overlay->made_unix_ms = read_integer(row, 0, INT64_MAX);
	overlay->expires_unix_ms = read_integer(row, 0, INT64_MAX);
	overlay->version = (uint64_t)read_integer(row, 0, INT64_MAX);
	read_text(row, overlay->reason, sizeof(overlay->reason));
	read_text(row, overlay->actor, sizeof(overlay->actor));
	read_text(row, overlay->ticket, sizeof(overlay->ticket));
}

static int compare_overlays(const void *left, const void *right)
{
	return gs_overlay_compare(left, right);
}

static int compare_fences(const void *left, const void *right)
{
	return gs_fence_compare(left, right);
}

static void read_revision(struct row *row, struct gs_snapshot *snapshot)
{
	snapshot->revision = (uint64_t)read_integer(row, 0, INT64_MAX);
	snapshot->selection_seed = (uint64_t)read_integer(row, INT64_MIN, INT64_MAX);
	read_text(row, snapshot->actor, sizeof(snapshot->actor));
	snapshot->clock_ahead_ms = read_integer(row, 0, INT64_MAX) - gs_unix_ms();
}

static int read_rows(const PGresult *result, const char *table, struct gs_snapshot *snapshot,
		     void (*read)(struct row *row, struct gs_snapshot *snapshot),
		     struct gs_error *error)
{
	struct row row = {.result = result, .table = table, .error = error};
	int count = PQntuples(result);

	for (; row.index < count && row.ret == 0; row.index++) {
		row.column = 0;
		read(&row, snapshot);
	}
	return row.ret;
}

int gs_pg_rows_to_snapshot(PGresult *const *results, struct gs_snapshot **ret_snapshot,
			   struct gs_error *error)
{
	static void (*const readers[GS_PG_RESULT__COUNT])(struct row *, struct gs_snapshot *) = {
		[GS_PG_REVISION] = read_revision,  [GS_PG_REGIONS] = read_region,
		[GS_PG_POLICIES] = read_policy,	   [GS_PG_POLICY_REGIONS] = read_policy_region,
		[GS_PG_SERVICES] = read_service,   [GS_PG_BACKENDS] = read_backend,
		[GS_PG_OVERRIDES] = read_override, [GS_PG_ACCESS] = read_access,
		[GS_PG_FORCES] = read_force,	   [GS_PG_FENCES] = read_fence,
		[GS_PG_LATENCIES] = read_latency,  [GS_PG_OVERLAYS] = read_overlay,
	};
	GS_CLEANUP(free_snapshot_ptr) struct gs_snapshot *snapshot = NULL;
	struct gs_snapshot counts = {
		.region_count = (uint32_t)PQntuples(results[GS_PG_REGIONS]),
		.policy_count = (uint32_t)PQntuples(results[GS_PG_POLICIES]),
		.service_count = (uint32_t)PQntuples(results[GS_PG_SERVICES]),
		.backend_count = (uint32_t)PQntuples(results[GS_PG_BACKENDS]),
		.override_count = (uint32_t)PQntuples(results[GS_PG_OVERRIDES]),
		.access_count = (uint32_t)PQntuples(results[GS_PG_ACCESS]),
		.force_count = (uint32_t)PQntuples(results[GS_PG_FORCES]),
		.fence_count = (uint32_t)PQntuples(results[GS_PG_FENCES]),
		.latency_count = (uint32_t)PQntuples(results[GS_PG_LATENCIES]),
		.overlay_count = (uint32_t)PQntuples(results[GS_PG_OVERLAYS]),
	};
	int ret;

	for (int r = 0; r < GS_PG_RESULT__COUNT; r++)
		if (PQnfields(results[r]) != shapes[r].columns)
			return gs_error_set(-EINVAL, error, "%s: %d columns instead of %d",
					    shapes[r].table, PQnfields(results[r]),
					    shapes[r].columns);
	if (PQntuples(results[GS_PG_REVISION]) != 1)
		return gs_error_set(-EINVAL, error, "revision: %d rows instead of 1",
				    PQntuples(results[GS_PG_REVISION]));
	if (gs_snapshot_new(&counts, &snapshot) != 0)
		return gs_error_set(-ENOMEM, error, "no memory for the snapshot");
	for (int r = 0; r < GS_PG_RESULT__COUNT; r++) {
		ret = read_rows(results[r], shapes[r].table, snapshot, readers[r], error);
		if (ret)
			return ret;
	}
	qsort(snapshot->access, snapshot->access_count, sizeof(*snapshot->access), compare_access);
	qsort(snapshot->fences, snapshot->fence_count, sizeof(*snapshot->fences), compare_fences);
	qsort(snapshot->overlays, snapshot->overlay_count, sizeof(*snapshot->overlays),
	      compare_overlays);
	ret = gs_snapshot_check(snapshot, error);
	if (ret)
		return ret;
	*ret_snapshot = gs_take_ptr(snapshot);
	return 0;
}
