// SPDX-License-Identifier: Apache-2.0
/* Does a snapshot make sense? Rows and files are hostile, whatever constraints once stood. */
#include "breaker.h"
#include "cidr.h"
#include "geo.h"
#include "latency.h"
#include "maps/gs_maps.h"
#include "moment.h"
#include "overlay.h"
#include "override.h"
#include "place.h"
#include "policy.h"
#include "probe_spec.h"
#include "service_spec.h"
#include "snapshot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
	PROBE_INTERVAL_MIN_MS = 10,
	PROBE_INTERVAL_MAX_MS = 3600000,
	PROBE_TIMEOUT_MAX_MS = 60000,
	PROBE_COUNT_MAX = 100,
	WEIGHT_MAX = 1000,
	FORCES_MAX = 4096,
	ACCESS_MAX = 65536, /* of a family */
	PLACES_MAX = 1024,  /* overrides of places */
	ASNS_MAX = 1024,    /* overrides of autonomous systems */
};

_Static_assert(GS_ID_MAX_REGION == GS_MAX_REGIONS - 1 && GS_ID_MAX_POLICY == GS_MAX_POLICIES - 1 &&
		       GS_ID_MAX_SERVICE == GS_MAX_SERVICES - 1 &&
		       GS_ID_MAX_BACKEND == GS_MAX_BACKENDS - 1,
	       "ids are what the maps hold");

/* Sets *error and is -EINVAL. */
#define refuse(error, ...) (snprintf((error)->text, sizeof((error)->text), __VA_ARGS__), -EINVAL)

/* ---- duplicates ------------------------------------------------------------------------------
 *
 * Without allocating: a hash table of a fixed size on the stack, and as many passes over the
 * elements as it takes to fit them, each over those whose hash falls to it.
 */
enum { TABLE_SLOTS = 16384, TABLE_FILL = TABLE_SLOTS / 2 };

struct key {
	const void *bytes[2];
	size_t length[2];
};

struct keys {
	uint32_t count;
	struct key (*get)(const struct gs_snapshot *snapshot, uint32_t index);
};

/* FNV-1a (Fowler, Noll, Vo), finished by a multiplication so that its high bits are good. */
static uint64_t hash_key(const struct key *key)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (int part = 0; part < 2; part++)
		for (size_t i = 0; i < key->length[part]; i++)
			hash = (hash ^ ((const uint8_t *)key->bytes[part])[i]) * 0x100000001b3u;
	return (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
}

static bool same_key(const struct key *a, const struct key *b)
{
	for (int part = 0; part < 2; part++)
		if (a->length[part] != b->length[part] ||
		    (a->length[part] != 0 &&
		     memcmp(a->bytes[part], b->bytes[part], a->length[part]) != 0))
			return false;
	return true;
}

/* Puts `index` into the table unless an equal one is there: its index + 1, otherwise 0. */
static uint32_t table_add(const struct gs_snapshot *snapshot, const struct keys *keys,
			  uint32_t *table, uint32_t index, uint64_t hash)
{
	struct key key = keys->get(snapshot, index);
	uint32_t slot = (uint32_t)(hash >> 50);

	for (; table[slot]; slot = (slot + 1) % TABLE_SLOTS) {
		struct key other = keys->get(snapshot, table[slot] - 1);

		if (same_key(&key, &other))
			return table[slot];
	}
	table[slot] = index + 1;
	return 0;
}

/* Two elements of one key, the later one in *ret_later. */
static bool find_duplicate(const struct gs_snapshot *snapshot, const struct keys *keys,
			   uint32_t *ret_earlier, uint32_t *ret_later)
{
	uint32_t passes = keys->count / TABLE_FILL + 1;
	uint32_t table[TABLE_SLOTS];

	for (uint32_t pass = 0; pass < passes; pass++) {
		memset(table, 0, sizeof(table));
		for (uint32_t i = 0; i < keys->count; i++) {
			struct key key = keys->get(snapshot, i);
			uint64_t hash = hash_key(&key);
			uint32_t found;

			if ((uint32_t)hash % passes != pass)
				continue;
			found = table_add(snapshot, keys, table, i, hash);
			if (found) {
				*ret_earlier = found - 1;
				*ret_later = i;
				return true;
			}
		}
	}
	return false;
}

static struct key name_key(const char *name)
{
	return (struct key){{name, NULL}, {strlen(name), 0}};
}

static struct key region_name(const struct gs_snapshot *snapshot, uint32_t i)
{
	return name_key(snapshot->regions[i].name);
}

static struct key policy_name(const struct gs_snapshot *snapshot, uint32_t i)
{
	return name_key(snapshot->policies[i].name);
}

static struct key service_name(const struct gs_snapshot *snapshot, uint32_t i)
{
	return name_key(snapshot->services[i].name);
}

static struct key backend_name(const struct gs_snapshot *snapshot, uint32_t i)
{
	return name_key(snapshot->backends[i].name);
}

static struct key override_match(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_override *override = &snapshot->overrides[i];
	const struct gs_prefix *prefix = &override->prefix;
	const struct gs_place *place = &override->place;

	switch (gs_override_of(override)) {
	case GS_OVERRIDE_OF_PLACE:
		return (struct key){{&place->kind, place->code},
				    {sizeof(place->kind), strlen(place->code)}};
	case GS_OVERRIDE_OF_ASN:
		return (struct key){{&override->asn, NULL}, {sizeof(override->asn), 0}};
	default:
		return (struct key){{prefix->addr.bytes, &prefix->length},
				    {sizeof(prefix->addr.bytes), sizeof(prefix->length)}};
	}
}

static struct key backend_place(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_backend *backend = &snapshot->backends[i];

	return (struct key){{backend->addr.bytes, &backend->service},
			    {sizeof(backend->addr.bytes), sizeof(backend->service)}};
}

/* VIPs, then backends' addresses: an equal pair across the border is a loop. */
static struct key vip_or_address(const struct gs_snapshot *snapshot, uint32_t i)
{
	const uint8_t *bytes = i < snapshot->service_count
				       ? snapshot->services[i].vip.bytes
				       : snapshot->backends[i - snapshot->service_count].addr.bytes;

	return (struct key){{bytes, NULL}, {sizeof(struct gs_addr), 0}};
}

static int check_names(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	const struct {
		const char *what;
		struct keys keys;
	} lists[] = {
		{"regions", {snapshot->region_count, region_name}},
		{"policies", {snapshot->policy_count, policy_name}},
		{"services", {snapshot->service_count, service_name}},
		{"backends", {snapshot->backend_count, backend_name}},
	};

	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
		uint32_t earlier, later;

		if (find_duplicate(snapshot, &lists[l].keys, &earlier, &later))
			return refuse(error, "%s[%u].name: %s is also the name of %s[%u]",
				      lists[l].what, later,
				      (const char *)lists[l].keys.get(snapshot, later).bytes[0],
				      lists[l].what, earlier);
	}
	return 0;
}

/* ---- one object each -------------------------------------------------------------------------*/

static int check_object(const char *what, uint32_t i, gs_id id, gs_id previous, uint32_t limit,
			const char *name, struct gs_error *error)
{
	if (id < 1 || id >= limit)
		return refuse(error, "%s[%u].id: %u is not 1 to %u", what, i, id, limit - 1);
	if (i > 0 && id <= previous)
		return refuse(error, "%s[%u].id: %u does not come after %u", what, i, id, previous);
	if (!gs_name_is_valid(name))
		return refuse(error,
			      "%s[%u].name: not 1 to 63 of a-z, 0-9 and -, beginning with no -",
			      what, i);
	return 0;
}

/* A deadline says when a drain ends: of anything else it would say nothing. */
static int check_drain(const char *what, uint32_t i, enum gs_admin admin, int64_t until_unix_ms,
		       struct gs_error *error)
{
	if (until_unix_ms < 0 || until_unix_ms > GS_MOMENT_MAX_MS)
		return refuse(error, "%s[%u].drain_until: %lld ms is no time up to the year 9999",
			      what, i, (long long)until_unix_ms);
	if (until_unix_ms != 0 && admin != GS_ADMIN_DRAIN)
		return refuse(error, "%s[%u].drain_until: only with admin drain, it is %s", what, i,
			      gs_admin_name(admin));
	return 0;
}

static int check_region(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_region *region = &snapshot->regions[i];
	int ret = check_object("regions", i, region->id, i ? region[-1].id : 0, GS_MAX_REGIONS,
			       region->name, error);

	if (ret)
		return ret;
	if (!(fabs(region->coord.lat_deg) <= 90.0))
		return refuse(error, "regions[%u].latitude: %g is not -90 to 90", i,
			      region->coord.lat_deg);
	if (!(fabs(region->coord.lon_deg) <= 180.0))
		return refuse(error, "regions[%u].longitude: %g is not -180 to 180", i,
			      region->coord.lon_deg);
	if (!isfinite(region->cost) || region->cost < 0)
		return refuse(error, "regions[%u].cost: %g is not a number of 0 or more", i,
			      region->cost);
	if (region->capacity > INT64_MAX)
		return refuse(error, "regions[%u].capacity: more than the database can hold", i);
	if (!(region->availability >= 0 && region->availability <= 100))
		return refuse(error, "regions[%u].availability: %g is not 0 to 100 percent", i,
			      region->availability);
	if (region->target > 100)
		return refuse(error, "regions[%u].target: %u is not 0 to 100 percent", i,
			      region->target);
	if (region->admin >= GS_ADMIN__COUNT)
		return refuse(error, "regions[%u].admin: unknown state %u", i,
			      (unsigned)region->admin);
	if (region->limit_packets > GS_LIMIT_MAX || region->limit_flows > GS_LIMIT_MAX)
		return refuse(error, "regions[%u].limits: %u packets, %u flows: up to %d", i,
			      region->limit_packets, region->limit_flows, GS_LIMIT_MAX);
	return check_drain("regions", i, region->admin, region->drain_until_unix_ms, error);
}

static int check_order(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_policy *policy = &snapshot->policies[i];

	if (policy->order_count < 1 || policy->order_count > GS_POLICY_ORDER_MAX)
		return refuse(error, "policies[%u].order: %u regions, not 1 to %d", i,
			      policy->order_count, GS_POLICY_ORDER_MAX);
	for (unsigned place = 0; place < policy->order_count; place++) {
		if (!gs_snapshot_region(snapshot, policy->order[place]))
			return refuse(error, "policies[%u].order[%u]: no region has id %u", i,
				      place, policy->order[place]);
		if (gs_policy_place(policy, policy->order[place]) != (int)place)
			return refuse(error, "policies[%u].order[%u]: names a region twice", i,
				      place);
		if (policy->bias[place] < -GS_BIAS_MAX || policy->bias[place] > GS_BIAS_MAX)
			return refuse(error, "policies[%u].bias: %d is not -99 to 99 percent", i,
				      policy->bias[place]);
		if (policy->weight[place] > GS_POLICY_WEIGHT_MAX)
			return refuse(error, "policies[%u].weight: %u is not 0 to %d", i,
				      policy->weight[place], GS_POLICY_WEIGHT_MAX);
	}
	return 0;
}

static int check_rank(const struct gs_policy *policy, uint32_t i, struct gs_error *error)
{
	const char *wrong;

	if (policy->kind >= GS_POLICY__COUNT)
		return refuse(error, "policies[%u].kind: unknown kind %u", i,
			      (unsigned)policy->kind);
	if (policy->kind != GS_POLICY_RANKED && policy->rank_count != 0)
		return refuse(error, "policies[%u].rank: only of kind ranked, it is %s", i,
			      gs_policy_kind_name(policy->kind));
	wrong = policy->kind == GS_POLICY_RANKED ? gs_rank_error(policy->rank, policy->rank_count)
						 : NULL;
	if (wrong)
		return refuse(error, "policies[%u].rank: %s", i, wrong);
	if (policy->band_ms > GS_BAND_MS_MAX)
		return refuse(error, "policies[%u].band_ms: %u is not 0 to %d", i, policy->band_ms,
			      GS_BAND_MS_MAX);
	if (policy->band_percent > GS_BAND_PERCENT_MAX)
		return refuse(error, "policies[%u].band_percent: %u is not 0 to %d", i,
			      policy->band_percent, GS_BAND_PERCENT_MAX);
	return 0;
}

static int check_policy(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_policy *policy = &snapshot->policies[i];
	int ret = check_object("policies", i, policy->id, i ? policy[-1].id : 0, GS_MAX_POLICIES,
			       policy->name, error);

	if (ret)
		return ret;
	ret = check_rank(policy, i, error);
	return ret ? ret : check_order(snapshot, i, error);
}

static bool is_http_path(const char *path)
{
	size_t length = strnlen(path, GS_HTTP_PATH_MAX);

	if (path[0] != '/' || length == GS_HTTP_PATH_MAX)
		return false;
	for (size_t c = 0; c < length; c++)
		if (path[c] <= ' ' || path[c] > '~')
			return false;
	return true;
}

static bool is_http_host(const char *host, size_t size)
{
	size_t length = strnlen(host, size);

	return length < size && strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					     "0123456789.:_-[]") == length;
}

static int check_probe_times(const struct gs_probe_spec *probe, uint32_t i, struct gs_error *error)
{
	const struct {
		const char *name;
		uint32_t value, low, high;
	} numbers[] = {
		{"interval_ms", probe->interval_ms, PROBE_INTERVAL_MIN_MS, PROBE_INTERVAL_MAX_MS},
		{"timeout_ms", probe->timeout_ms, PROBE_INTERVAL_MIN_MS, PROBE_TIMEOUT_MAX_MS},
		{"fast_interval_ms", probe->fast_interval_ms, PROBE_INTERVAL_MIN_MS,
		 PROBE_INTERVAL_MAX_MS},
		{"down_interval_ms", probe->down_interval_ms, PROBE_INTERVAL_MIN_MS,
		 PROBE_INTERVAL_MAX_MS},
		{"rise", probe->rise, 1, PROBE_COUNT_MAX},
		{"fall", probe->fall, 1, PROBE_COUNT_MAX},
		{"clear", probe->clear, 1, PROBE_COUNT_MAX},
	};

	for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++)
		if (numbers[n].value < numbers[n].low || numbers[n].value > numbers[n].high)
			return refuse(error, "services[%u].probe.%s: %u is not %u to %u", i,
				      numbers[n].name, numbers[n].value, numbers[n].low,
				      numbers[n].high);
	return 0;
}

static int check_probe_texts(const struct gs_probe_spec *probe, uint32_t i, struct gs_error *error)
{
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		if (!gs_probe_text_is_valid(probe, t))
			return refuse(error, "services[%u].probe.%s: %s", i,
				      gs_probe_text(t)->member, gs_probe_text(t)->what);
	return 0;
}

static int check_probe(const struct gs_service *service, uint32_t i, struct gs_error *error)
{
	const struct gs_probe_spec *probe = &service->probe;
	bool is_http = probe->kind == GS_PROBE_HTTP || probe->kind == GS_PROBE_HTTPS;

	if (probe->kind >= GS_PROBE__COUNT)
		return refuse(error, "services[%u].probe.kind: unknown kind %u", i,
			      (unsigned)probe->kind);
	if (!is_http_path(probe->path) && (probe->path[0] != '\0' || is_http))
		return refuse(error,
			      "services[%u].probe.path: not / and up to 254 printable ASCII "
			      "characters without blanks",
			      i);
	if (!is_http_host(probe->host, sizeof(probe->host)))
		return refuse(error, "services[%u].probe.host: not a host name or address", i);
	if (check_probe_texts(probe, i, error) != 0)
		return -EINVAL;
	if (probe->kind == GS_PROBE_NONE)
		return 0;
	if (gs_probe_needs_port(probe->kind) && probe->port == 0 && service->port == 0)
		return refuse(error,
			      "services[%u].probe.port: a service of every port (0) needs one, or "
			      "probe kind none, icmp or exec",
			      i);
	return check_probe_times(probe, i, error);
}

static int check_breaker(const struct gs_service *service, uint32_t i, struct gs_error *error)
{
	for (uint32_t f = 0; f < GS_BREAKER_FIELDS; f++) {
		const struct gs_breaker_field *field = gs_breaker_field(f);
		int64_t value = gs_breaker_field_get(&service->breaker, f);

		if (value < field->min || value > field->max)
			return refuse(error, "services[%u].breaker.%s: %lld is not %lld to %lld", i,
				      field->name, (long long)value, (long long)field->min,
				      (long long)field->max);
	}
	if (service->breaker.open_max_ms < service->breaker.open_ms)
		return refuse(error,
			      "services[%u].breaker.open_max_ms: %u is less than open_ms (%u)", i,
			      service->breaker.open_max_ms, service->breaker.open_ms);
	return 0;
}

static int check_panic(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_panic_spec *panic = &snapshot->services[i].panic;

	if (panic->percent > 100)
		return refuse(error, "services[%u].panic.percent: %u is not 0 to 100", i,
			      panic->percent);
	if (panic->all_down >= GS_ALL_DOWN__COUNT)
		return refuse(error, "services[%u].panic.all_down: unknown kind %u", i,
			      (unsigned)panic->all_down);
	if (panic->all_down == GS_ALL_DOWN_SERVES_FIXED &&
	    !gs_snapshot_region(snapshot, panic->region))
		return refuse(error, "services[%u].panic.all_down: no region has id %u", i,
			      panic->region);
	if (panic->all_down != GS_ALL_DOWN_SERVES_FIXED && panic->region != 0)
		return refuse(error, "services[%u].panic.all_down: a region, and not \"fixed\"", i);
	return 0;
}

static int check_spec(const struct gs_service *service, uint32_t i, struct gs_error *error)
{
	if (service->affinity.kind >= GS_AFFINE__COUNT)
		return refuse(error, "services[%u].affinity.kind: unknown kind %u", i,
			      (unsigned)service->affinity.kind);
	if (service->stale.kind >= GS_STALE_IS__COUNT)
		return refuse(error, "services[%u].stale.kind: unknown kind %u", i,
			      (unsigned)service->stale.kind);
	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++) {
		const struct gs_service_number *number = gs_service_number(n);

		if (!gs_service_number_is_valid(service, n))
			return refuse(error, "services[%u].%s.%s: %u is not %u to %u", i,
				      number->group, number->member,
				      gs_service_number_get(service, n), number->min, number->max);
	}
	if (service->damping.suppress > 0 && service->damping.reuse >= service->damping.suppress)
		return refuse(error,
			      "services[%u].damping.reuse: %u is not less than suppress (%u)", i,
			      service->damping.reuse, service->damping.suppress);
	return 0;
}

static int check_service(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_service *service = &snapshot->services[i];
	int ret = check_object("services", i, service->id, i ? service[-1].id : 0, GS_MAX_SERVICES,
			       service->name, error);
	char text[GS_ADDR_TEXT_MAX];

	if (ret)
		return ret;
	if (!gs_addr_is_host(&service->vip))
		return refuse(error, "services[%u].vip: %s is not one unicast address", i,
			      gs_addr_format(&service->vip, text));
	if (service->protocol != GS_PROTOCOL_TCP && service->protocol != GS_PROTOCOL_UDP)
		return refuse(error, "services[%u].protocol: %u is neither tcp nor udp", i,
			      (unsigned)service->protocol);
	if (!gs_snapshot_policy(snapshot, service->policy))
		return refuse(error, "services[%u].policy: no policy has id %u", i,
			      service->policy);
	for (uint32_t before = 0; before < i; before++) {
		const struct gs_service *other = &snapshot->services[before];

		if (other->port == service->port && other->protocol == service->protocol &&
		    memcmp(&other->vip, &service->vip, sizeof(other->vip)) == 0)
			return refuse(error, "services[%u]: same VIP, port and protocol as %s", i,
				      other->name);
	}
	if (service->failover_budget_ms > GS_FAILOVER_BUDGET_MAX_MS)
		return refuse(error, "services[%u].failover_budget_ms: %u is not 0 to %u", i,
			      service->failover_budget_ms, GS_FAILOVER_BUDGET_MAX_MS);
	ret = check_probe(service, i, error);
	ret = ret ? ret : check_breaker(service, i, error);
	ret = ret ? ret : check_spec(service, i, error);
	return ret ? ret : check_panic(snapshot, i, error);
}

/* Without an outer header the packet itself is addressed to the VIP, and nothing but that. */
static int check_forward(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_backend *backend = &snapshot->backends[i];
	const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);
	bool vip_is_v4 = gs_addr_is_v4(&service->vip);
	char vip[GS_ADDR_TEXT_MAX], addr[GS_ADDR_TEXT_MAX];

	if (backend->forward >= GS_FORWARD_AS__COUNT)
		return refuse(error, "backends[%u].forward: unknown mode %u", i,
			      (unsigned)backend->forward);
	if ((backend->forward == GS_FORWARD_AS_L2 || backend->forward == GS_FORWARD_AS_NAT) &&
	    gs_addr_is_v4(&backend->addr) != vip_is_v4)
		return refuse(error,
			      "backends[%u].forward: %s needs an IPv%d address, as the VIP %s of "
			      "service %s is; %s is IPv%d",
			      i, gs_forward_name(backend->forward), vip_is_v4 ? 4 : 6,
			      gs_addr_format(&service->vip, vip), service->name,
			      gs_addr_format(&backend->addr, addr), vip_is_v4 ? 6 : 4);
	if (backend->port != 0 && backend->forward != GS_FORWARD_AS_NAT)
		return refuse(error, "backends[%u].port: only with forward nat, it is %s", i,
			      gs_forward_name(backend->forward));
	return 0;
}

static int check_backend(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_backend *backend = &snapshot->backends[i];
	int ret = check_object("backends", i, backend->id, i ? backend[-1].id : 0, GS_MAX_BACKENDS,
			       backend->name, error);
	char text[GS_ADDR_TEXT_MAX];

	if (ret)
		return ret;
	if (!gs_snapshot_service(snapshot, backend->service))
		return refuse(error, "backends[%u].service: no service has id %u", i,
			      backend->service);
	if (!gs_snapshot_region(snapshot, backend->region))
		return refuse(error, "backends[%u].region: no region has id %u", i,
			      backend->region);
	if (!gs_addr_is_host(&backend->addr))
		return refuse(error, "backends[%u].address: %s is not one unicast address", i,
			      gs_addr_format(&backend->addr, text));
	if (backend->weight < 1 || backend->weight > WEIGHT_MAX)
		return refuse(error, "backends[%u].weight: %u is not 1 to %d", i, backend->weight,
			      WEIGHT_MAX);
	if (backend->admin >= GS_ADMIN__COUNT)
		return refuse(error, "backends[%u].admin: unknown state %u", i,
			      (unsigned)backend->admin);
	ret = check_drain("backends", i, backend->admin, backend->drain_until_unix_ms, error);
	return ret ? ret : check_forward(snapshot, i, error);
}

static int check_prefix(const char *what, uint32_t i, const struct gs_prefix *prefix,
			struct gs_error *error)
{
	struct gs_prefix clean;

	if (prefix->length > (prefix->is_v4 ? 32 : 128))
		return refuse(error, "%s[%u].prefix: length %u", what, i, prefix->length);
	/* An IPv6 prefix inside ::ffff:0:0/96 would be an IPv4 one in disguise. */
	if (prefix->is_v4 != gs_addr_is_v4(&prefix->addr))
		return refuse(error, "%s[%u].prefix: of both families or none", what, i);
	clean = gs_prefix_make(&prefix->addr, prefix->length);
	if (memcmp(&clean.addr, &prefix->addr, sizeof(clean.addr)) != 0)
		return refuse(error, "%s[%u].prefix: host bits are set", what, i);
	return 0;
}

static int check_reason(const char *what, uint32_t i, const char *reason, size_t size,
			struct gs_error *error)
{
	if (!gs_text_is_valid(reason, size - 1))
		return refuse(error,
			      "%s[%u].reason: not up to %zu bytes of UTF-8 without control "
			      "characters",
			      what, i, size - 1);
	return 0;
}

static int check_override(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_override *override = &snapshot->overrides[i];

	if (!gs_place_is_valid(&override->place))
		return refuse(error, "overrides[%u].place: not a place", i);
	if (override->asn && override->place.kind != GS_PLACE_EVERYBODY)
		return refuse(error, "overrides[%u]: of a place and of an AS", i);
	if (gs_override_of(override) == GS_OVERRIDE_OF_PREFIX &&
	    check_prefix("overrides", i, &override->prefix, error) != 0)
		return -EINVAL;
	if (!gs_snapshot_region(snapshot, override->region))
		return refuse(error, "overrides[%u].region: no region has id %u", i,
			      override->region);
	return check_reason("overrides", i, override->reason, sizeof(override->reason), error);
}

static int check_access(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_access *access = &snapshot->access[i];

	if (check_prefix("access", i, &access->prefix, error) != 0)
		return -EINVAL;
	if (access->service != 0 && !gs_snapshot_service(snapshot, access->service))
		return refuse(error, "access[%u].service: no service has id %u", i,
			      access->service);
	if (i > 0 && gs_access_compare(access - 1, access) >= 0)
		return refuse(error, "access[%u]: not sorted, or twice", i);
	return check_reason("access", i, access->reason, sizeof(access->reason), error);
}

static int check_fence(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_fence *fence = &snapshot->fences[i];

	if (!gs_place_is_valid(&fence->place))
		return refuse(error, "fences[%u].place: not a place", i);
	if (fence->service != 0 && !gs_snapshot_service(snapshot, fence->service))
		return refuse(error, "fences[%u].service: no service has id %u", i, fence->service);
	if (fence->region_count < 1 || fence->region_count > GS_FENCE_REGIONS_MAX)
		return refuse(error, "fences[%u].regions: %u of them, not 1 to %d", i,
			      fence->region_count, GS_FENCE_REGIONS_MAX);
	for (unsigned r = 0; r < fence->region_count; r++) {
		if (!gs_snapshot_region(snapshot, fence->regions[r]))
			return refuse(error, "fences[%u].regions[%u]: no region has id %u", i, r,
				      fence->regions[r]);
		for (unsigned before = 0; before < r; before++)
			if (fence->regions[before] == fence->regions[r])
				return refuse(error, "fences[%u].regions[%u]: names a region twice",
					      i, r);
	}
	if (i > 0 && gs_fence_compare(fence - 1, fence) >= 0)
		return refuse(error, "fences[%u]: not sorted, or twice", i);
	return check_reason("fences", i, fence->reason, sizeof(fence->reason), error);
}

/* Sorted by service, region and edge, each once. */
static int compare_forces(const struct gs_force *a, const struct gs_force *b)
{
	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	if (a->region != b->region)
		return a->region < b->region ? -1 : 1;
	return strcmp(a->edge, b->edge);
}

static int check_force(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_force *force = &snapshot->forces[i];

	if (!gs_snapshot_service(snapshot, force->service))
		return refuse(error, "forces[%u].service: no service has id %u", i, force->service);
	if (!gs_snapshot_region(snapshot, force->region))
		return refuse(error, "forces[%u].region: no region has id %u", i, force->region);
	if (!gs_text_is_valid(force->edge, sizeof(force->edge) - 1) ||
	    !gs_text_is_valid(force->reason, sizeof(force->reason) - 1) ||
	    !gs_text_is_valid(force->actor, sizeof(force->actor) - 1))
		return refuse(error, "forces[%u]: edge, reason or actor is no clean text", i);
	if (i > 0 && compare_forces(force - 1, force) >= 0)
		return refuse(error, "forces[%u]: not sorted, or twice", i);
	return 0;
}

static bool is_estimate(int32_t us)
{
	return us >= -GS_LATENCY_US_MAX && us <= GS_LATENCY_US_MAX;
}

static int check_latency(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_latency *latency = &snapshot->latencies[i];

	if (!gs_latency_place_is_valid(latency->place))
		return refuse(error, "latencies[%u].place: not a place", i);
	if (!gs_snapshot_region(snapshot, latency->region))
		return refuse(error, "latencies[%u].region: no region has id %u", i,
			      latency->region);
	if (!is_estimate(latency->us) &&
	    (latency->us != GS_LATENCY_NONE || !latency->before_percent))
		return refuse(error, "latencies[%u].us: %d is out of range", i, latency->us);
	if (latency->before_percent > 99)
		return refuse(error, "latencies[%u].before_percent: %u is more than 99", i,
			      latency->before_percent);
	if (latency->before_percent && !is_estimate(latency->before_us) &&
	    (latency->before_us != GS_LATENCY_NONE || latency->us == GS_LATENCY_NONE))
		return refuse(error, "latencies[%u].before_us: %d is out of range", i,
			      latency->before_us);
	if (i > 0 && gs_latency_compare(latency - 1, latency) >= 0)
		return refuse(error, "latencies[%u]: not sorted, or twice", i);
	return 0;
}

static int check_overlay(const struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error)
{
	const struct gs_overlay *overlay = &snapshot->overlays[i];

	if (overlay->admin >= GS_ADMIN__COUNT)
		return refuse(error, "overlays[%u].admin: unknown state %u", i,
			      (unsigned)overlay->admin);
	if (overlay->backend && (overlay->service || overlay->region))
		return refuse(error, "overlays[%u]: of a backend, and of more", i);
	if (overlay->backend && !gs_snapshot_backend(snapshot, overlay->backend))
		return refuse(error, "overlays[%u].backend: no backend has id %u", i,
			      overlay->backend);
	if (!overlay->backend && !gs_snapshot_region(snapshot, overlay->region))
		return refuse(error, "overlays[%u].region: no region has id %u", i,
			      overlay->region);
	if (overlay->service && !gs_snapshot_service(snapshot, overlay->service))
		return refuse(error, "overlays[%u].service: no service has id %u", i,
			      overlay->service);
	if (gs_admin_must_expire(overlay->admin) && overlay->expires_unix_ms == 0)
		return refuse(error, "overlays[%u].expires: %s has to expire", i,
			      gs_admin_name(overlay->admin));
	if (overlay->made_unix_ms < 0 || overlay->expires_unix_ms < 0)
		return refuse(error, "overlays[%u]: made or expires before 1970", i);
	if (!gs_text_is_valid(overlay->edge, sizeof(overlay->edge) - 1) ||
	    !gs_text_is_valid(overlay->reason, sizeof(overlay->reason) - 1) ||
	    !gs_text_is_valid(overlay->actor, sizeof(overlay->actor) - 1) ||
	    !gs_text_is_valid(overlay->ticket, sizeof(overlay->ticket) - 1))
		return refuse(error, "overlays[%u]: edge, reason, actor or ticket is no clean text",
			      i);
	if (i > 0 && gs_overlay_compare(overlay - 1, overlay) >= 0)
		return refuse(error, "overlays[%u]: not sorted, or twice", i);
	return 0;
}

/* ---- whole lists -----------------------------------------------------------------------------*/

static int check_override_counts(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	uint32_t of[GS_OVERRIDE_OF__COUNT] = {0}, of_v4 = 0, of_v6;

	for (uint32_t i = 0; i < snapshot->override_count; i++) {
		const struct gs_override *override = &snapshot->overrides[i];
		enum gs_override_of what = gs_override_of(override);

		of[what]++;
		of_v4 += what == GS_OVERRIDE_OF_PREFIX && override->prefix.is_v4;
	}
	of_v6 = of[GS_OVERRIDE_OF_PREFIX] - of_v4;
	if (of[GS_OVERRIDE_OF_PLACE] > PLACES_MAX)
		return refuse(error, "overrides: %u of places, %d at most",
			      of[GS_OVERRIDE_OF_PLACE], PLACES_MAX);
	if (of[GS_OVERRIDE_OF_ASN] > ASNS_MAX)
		return refuse(error, "overrides: %u of autonomous systems, %d at most",
			      of[GS_OVERRIDE_OF_ASN], ASNS_MAX);
	if (of_v4 > GS_MAX_OVERRIDES || of_v6 > GS_MAX_OVERRIDES)
		return refuse(error, "overrides: %u for IPv4 and %u for IPv6, %u of each at most",
			      of_v4, of_v6, GS_MAX_OVERRIDES);
	return 0;
}

static int check_counts(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	const struct {
		const char *what;
		uint32_t count, limit;
	} lists[] = {
		{"regions", snapshot->region_count, GS_MAX_REGIONS - 1},
		{"policies", snapshot->policy_count, GS_MAX_POLICIES - 1},
		{"services", snapshot->service_count, GS_MAX_SERVICES - 1},
		{"backends", snapshot->backend_count, GS_MAX_BACKENDS - 1},
		{"overrides", snapshot->override_count,
		 2 * GS_MAX_OVERRIDES + PLACES_MAX + ASNS_MAX},
		{"access", snapshot->access_count, 2 * ACCESS_MAX},
		{"forces", snapshot->force_count, FORCES_MAX},
		{"fences", snapshot->fence_count, GS_FENCES_MAX},
		{"latencies", snapshot->latency_count, GS_LATENCIES_MAX},
		{"overlays", snapshot->overlay_count, GS_OVERLAYS_MAX},
	};
	uint32_t access4 = 0;

	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++)
		if (lists[l].count > lists[l].limit)
			return refuse(error, "%s: %u of them, %u at most", lists[l].what,
				      lists[l].count, lists[l].limit);
	if (check_override_counts(snapshot, error) != 0)
		return -EINVAL;
	for (uint32_t i = 0; i < snapshot->access_count; i++)
		access4 += snapshot->access[i].prefix.is_v4;
	if (access4 > ACCESS_MAX || snapshot->access_count - access4 > ACCESS_MAX)
		return refuse(error, "access: %u for IPv4 and %u for IPv6, %d of each at most",
			      access4, snapshot->access_count - access4, ACCESS_MAX);
	return 0;
}

/* In this order: references are looked up in lists known to be sorted. */
static int check_objects(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	const struct {
		uint32_t count;
		int (*check)(const struct gs_snapshot *snapshot, uint32_t i,
			     struct gs_error *error);
	} lists[] = {
		{snapshot->region_count, check_region},
		{snapshot->policy_count, check_policy},
		{snapshot->service_count, check_service},
		{snapshot->backend_count, check_backend},
		{snapshot->override_count, check_override},
		{snapshot->access_count, check_access},
		{snapshot->force_count, check_force},
		{snapshot->fence_count, check_fence},
		{snapshot->latency_count, check_latency},
		{snapshot->overlay_count, check_overlay},
	};

	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++)
		for (uint32_t i = 0; i < lists[l].count; i++) {
			int ret = lists[l].check(snapshot, i, error);

			if (ret)
				return ret;
		}
	return 0;
}

/* Services share VIPs, backends share addresses: only a pair of one of each is wrong. */
static int check_loops(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	uint32_t table[TABLE_SLOTS] = {0};
	const struct keys keys = {snapshot->service_count + snapshot->backend_count,
				  vip_or_address};

	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		struct key key = vip_or_address(snapshot, i);

		table_add(snapshot, &keys, table, i, hash_key(&key));
	}
	for (uint32_t b = 0; b < snapshot->backend_count; b++) {
		struct key key = vip_or_address(snapshot, snapshot->service_count + b);
		uint32_t slot = (uint32_t)(hash_key(&key) >> 50);

		for (; table[slot]; slot = (slot + 1) % TABLE_SLOTS) {
			const struct gs_service *service = &snapshot->services[table[slot] - 1];
			char text[GS_ADDR_TEXT_MAX];

			if (memcmp(&service->vip, key.bytes[0], sizeof(service->vip)) == 0)
				return refuse(error,
					      "backends[%u].address: %s is the VIP of service %s: "
					      "packets would loop",
					      b, gs_addr_format(&service->vip, text),
					      service->name);
		}
	}
	return 0;
}

static int check_pairs(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	const struct keys places = {snapshot->backend_count, backend_place};
	const struct keys overrides = {snapshot->override_count, override_match};
	uint32_t earlier, later;

	if (find_duplicate(snapshot, &places, &earlier, &later))
		return refuse(error, "backends[%u].address: backend %s of the service has it too",
			      later, snapshot->backends[earlier].name);
	if (find_duplicate(snapshot, &overrides, &earlier, &later)) {
		const struct gs_override *override = &snapshot->overrides[later];
		char text[GS_OVERRIDE_TEXT_MAX];

		return refuse(error, "overrides[%u].%s: %s is also overrides[%u]", later,
			      gs_override_key(override), gs_override_format(override, text),
			      earlier);
	}
	return 0;
}

int gs_snapshot_check(const struct gs_snapshot *snapshot, struct gs_error *error)
{
	int ret = check_counts(snapshot, error);

	ret = ret ? ret : check_objects(snapshot, error);
	ret = ret ? ret : check_names(snapshot, error);
	ret = ret ? ret : check_pairs(snapshot, error);
	return ret ? ret : check_loops(snapshot, error);
}
