// SPDX-License-Identifier: Apache-2.0
#include "user/app/snapshot_io.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/asn.h"
#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/latency.h"
#include "user/core/override.h"
#include "user/core/panic.h"
#include "user/core/place.h"
#include "user/core/policy.h"
#include "user/core/probe_spec.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_VERSION 1
#define FILE_BYTES_MAX (128u << 20)
/* The whole first line, so that any change of it is seen. */
#define FILE_HEADER                                                                                  \
	"{\"format\":\"geostream snapshot\",\"version\":%d,\"bytes\":%zu,\"checksum\":\"%016" PRIx64 \
	"\"}\n"

static void decref_ptr(json_t **json)
{
	json_decref(*json);
}
#define AUTO_JSON GS_CLEANUP(decref_ptr)

/* ---- on the heap -----------------------------------------------------------------------------*/

void gs_snapshot_free(struct gs_snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->regions);
	free(snapshot->policies);
	free(snapshot->services);
	free(snapshot->backends);
	free(snapshot->overrides);
	free(snapshot->access);
	free(snapshot->forces);
	free(snapshot->fences);
	free(snapshot->latencies);
	free(snapshot->overlays);
	free(snapshot);
}

static void free_snapshot_ptr(struct gs_snapshot **snapshot)
{
	gs_snapshot_free(*snapshot);
}
#define AUTO_SNAPSHOT GS_CLEANUP(free_snapshot_ptr)

int gs_snapshot_new(const struct gs_snapshot *counts, struct gs_snapshot **ret_snapshot)
{
	AUTO_SNAPSHOT struct gs_snapshot *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	*made = *counts;
	/* One more than asked, since calloc(0) may be NULL. */
	made->regions = calloc(counts->region_count + 1u, sizeof(*made->regions));
	made->policies = calloc(counts->policy_count + 1u, sizeof(*made->policies));
	made->services = calloc(counts->service_count + 1u, sizeof(*made->services));
	made->backends = calloc(counts->backend_count + 1u, sizeof(*made->backends));
	made->overrides = calloc(counts->override_count + 1u, sizeof(*made->overrides));
	made->access = calloc(counts->access_count + 1u, sizeof(*made->access));
	made->forces = calloc(counts->force_count + 1u, sizeof(*made->forces));
	made->fences = calloc(counts->fence_count + 1u, sizeof(*made->fences));
	made->latencies = calloc(counts->latency_count + 1u, sizeof(*made->latencies));
	made->overlays = calloc(counts->overlay_count + 1u, sizeof(*made->overlays));
	if (!made->regions || !made->policies || !made->services || !made->backends ||
	    !made->overrides || !made->access || !made->forces || !made->fences ||
	    !made->latencies || !made->overlays)
		return -ENOMEM;
	*ret_snapshot = gs_take_ptr(made);
	return 0;
}

int gs_snapshot_copy(const struct gs_snapshot *snapshot, uint32_t spare_overrides,
		     struct gs_snapshot **ret_copy)
{
	struct gs_snapshot counts = *snapshot;
	struct gs_snapshot *copy = NULL;

	counts.override_count += spare_overrides;
	if (gs_snapshot_new(&counts, &copy) != 0)
		return -ENOMEM;
	copy->override_count = snapshot->override_count;
	memcpy(copy->regions, snapshot->regions, snapshot->region_count * sizeof(*copy->regions));
	memcpy(copy->policies, snapshot->policies,
	       snapshot->policy_count * sizeof(*copy->policies));
	memcpy(copy->services, snapshot->services,
	       snapshot->service_count * sizeof(*copy->services));
	memcpy(copy->backends, snapshot->backends,
	       snapshot->backend_count * sizeof(*copy->backends));
	memcpy(copy->overrides, snapshot->overrides,
	       snapshot->override_count * sizeof(*copy->overrides));
	if (snapshot->access_count > 0)
		memcpy(copy->access, snapshot->access,
		       snapshot->access_count * sizeof(*copy->access));
	if (snapshot->force_count > 0)
		memcpy(copy->forces, snapshot->forces,
		       snapshot->force_count * sizeof(*copy->forces));
	if (snapshot->fence_count > 0)
		memcpy(copy->fences, snapshot->fences,
		       snapshot->fence_count * sizeof(*copy->fences));
	if (snapshot->latency_count > 0)
		memcpy(copy->latencies, snapshot->latencies,
		       snapshot->latency_count * sizeof(*copy->latencies));
	if (snapshot->overlay_count > 0)
		memcpy(copy->overlays, snapshot->overlays,
		       snapshot->overlay_count * sizeof(*copy->overlays));
	*ret_copy = copy;
	return 0;
}

/* ---- to JSON ---------------------------------------------------------------------------------*/

static json_t *region_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_region *region = &snapshot->regions[i];

	return json_pack("{s:i,s:s,s:f,s:f,s:f,s:I,s:f,s:s,s:I,s:I,s:I,s:i}", "id", region->id,
			 "name", region->name, "latitude", region->coord.lat_deg, "longitude",
			 region->coord.lon_deg, "cost", region->cost, "capacity",
			 (json_int_t)region->capacity, "availability", region->availability,
			 "admin", gs_admin_name(region->admin), "drain_until_unix_ms",
			 (json_int_t)region->drain_until_unix_ms, "limit_packets",
			 (json_int_t)region->limit_packets, "limit_flows",
			 (json_int_t)region->limit_flows, "target", (int)region->target);
}

static json_t *policy_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_policy *policy = &snapshot->policies[i];
	json_t *order = json_array(), *rank = json_array();
	json_t *bias = json_array(), *weight = json_array();

	for (unsigned place = 0; place < policy->order_count; place++) {
		json_array_append_new(order, json_integer(policy->order[place]));
		json_array_append_new(bias, json_integer(policy->bias[place]));
		json_array_append_new(weight, json_integer(policy->weight[place]));
	}
	for (unsigned c = 0; c < policy->rank_count; c++)
		json_array_append_new(
			rank, json_string(gs_criterion_name((enum gs_criterion)policy->rank[c])));
	return json_pack("{s:i,s:s,s:s,s:o,s:o,s:o,s:o,s:i,s:i}", "id", policy->id, "name",
			 policy->name, "kind", gs_policy_kind_name(policy->kind), "order", order,
			 "rank", rank, "bias", bias, "weight", weight, "band_ms",
			 (int)policy->band_ms, "band_percent", (int)policy->band_percent);
}

static json_t *breaker_json(const struct gs_breaker_spec *spec)
{
	json_t *json = json_object();

	for (uint32_t f = 0; f < GS_BREAKER_FIELDS; f++)
		json_object_set_new(json, gs_breaker_field(f)->name,
				    json_integer(gs_breaker_field_get(spec, f)));
	return json;
}

/* The numbers of affinity, limits and stale policy, and the two kinds. */
static json_t *spec_json(const struct gs_service *service)
{
	json_t *json = json_pack("{s:s,s:s}", "affinity", gs_affine_name(service->affinity.kind),
				 "stale", gs_stale_name(service->stale.kind));

	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++)
		json_object_set_new(json, gs_service_number(n)->name,
				    json_integer(gs_service_number_get(service, n)));
	return json;
}

static json_t *panic_json(const struct gs_panic_spec *panic)
{
	return json_pack("{s:i,s:s,s:i}", "percent", panic->percent, "all_down",
			 gs_all_down_name(panic->all_down), "region", panic->region);
}

static json_t *probe_json(const struct gs_probe_spec *probe)
{
	json_t *json =
		json_pack("{s:s,s:i,s:s,s:s,s:I,s:I,s:I,s:I,s:i,s:i,s:i}", "kind",
			  gs_probe_kind_name(probe->kind), "port", probe->port, "path", probe->path,
			  "host", probe->host, "interval_ms", (json_int_t)probe->interval_ms,
			  "timeout_ms", (json_int_t)probe->timeout_ms, "fast_interval_ms",
			  (json_int_t)probe->fast_interval_ms, "down_interval_ms",
			  (json_int_t)probe->down_interval_ms, "rise", probe->rise, "fall",
			  probe->fall, "clear", probe->clear);

	for (uint32_t t = 0; json && t < GS_PROBE_TEXTS; t++)
		json_object_set_new(json, gs_probe_text(t)->member,
				    json_string(gs_probe_text_get(probe, t)));
	return json;
}

static json_t *service_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_service *service = &snapshot->services[i];
	char vip[GS_ADDR_TEXT_MAX];

	return json_pack("{s:i,s:s,s:s,s:i,s:s,s:i,s:o,s:I,s:o,s:o,s:o}", "id", service->id, "name",
			 service->name, "vip", gs_addr_format(&service->vip, vip), "port",
			 service->port, "protocol", gs_protocol_name(service->protocol), "policy",
			 service->policy, "probe", probe_json(&service->probe),
			 "failover_budget_ms", (json_int_t)service->failover_budget_ms, "breaker",
			 breaker_json(&service->breaker), "spec", spec_json(service), "panic",
			 panic_json(&service->panic));
}

static json_t *backend_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_backend *backend = &snapshot->backends[i];
	char addr[GS_ADDR_TEXT_MAX];

	return json_pack("{s:i,s:s,s:i,s:i,s:s,s:i,s:s,s:i,s:s,s:I}", "id", backend->id, "name",
			 backend->name, "service", backend->service, "region", backend->region,
			 "address", gs_addr_format(&backend->addr, addr), "weight", backend->weight,
			 "forward", gs_forward_name(backend->forward), "port", backend->port,
			 "admin", gs_admin_name(backend->admin), "drain_until_unix_ms",
			 (json_int_t)backend->drain_until_unix_ms);
}

static json_t *override_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_override *override = &snapshot->overrides[i];
	char clients[GS_OVERRIDE_TEXT_MAX];

	return json_pack("{s:s,s:i,s:s}", gs_override_key(override),
			 gs_override_format(override, clients), "region", override->region,
			 "reason", override->reason);
}

static json_t *fence_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_fence *fence = &snapshot->fences[i];
	char place[GS_PLACE_TEXT_MAX];
	json_t *regions = json_array();

	for (unsigned r = 0; r < fence->region_count; r++)
		json_array_append_new(regions, json_integer(fence->regions[r]));
	return json_pack("{s:s,s:i,s:b,s:o,s:s}", "place", gs_place_format(&fence->place, place),
			 "service", fence->service, "holds_unknown", fence->holds_unknown,
			 "regions", regions, "reason", fence->reason);
}

/* null: there is none. */
static json_t *estimate_json(int32_t us)
{
	return us == GS_LATENCY_NONE ? json_null() : json_integer(us);
}

static json_t *latency_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_latency *latency = &snapshot->latencies[i];

	json_t *json = json_pack("{s:s,s:i,s:I,s:o,s:I}", "place", latency->place, "region",
				 latency->region, "samples", (json_int_t)latency->samples, "us",
				 estimate_json(latency->us), "at_unix_ms",
				 (json_int_t)latency->at_unix_ms);

	if (latency->before_percent) {
		json_object_set_new(json, "before_us", estimate_json(latency->before_us));
		json_object_set_new(json, "before_percent", json_integer(latency->before_percent));
	}
	return json;
}

static json_t *access_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_access *access = &snapshot->access[i];
	char prefix[GS_PREFIX_TEXT_MAX];

	return json_pack("{s:s,s:i,s:b,s:s}", "prefix", gs_prefix_format(&access->prefix, prefix),
			 "service", access->service, "allow", access->allow, "reason",
			 access->reason);
}

static json_t *force_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_force *force = &snapshot->forces[i];

	return json_pack("{s:i,s:i,s:s,s:b,s:I,s:s,s:s}", "service", force->service, "region",
			 force->region, "edge", force->edge, "open", force->open, "expires_unix_ms",
			 (json_int_t)force->expires_unix_ms, "reason", force->reason, "actor",
			 force->actor);
}

static json_t *overlay_json(const struct gs_snapshot *snapshot, uint32_t i)
{
	const struct gs_overlay *overlay = &snapshot->overlays[i];

	return json_pack(
		"{s:i,s:i,s:i,s:s,s:s,s:b,s:I,s:I,s:I,s:s,s:s,s:s}", "region", overlay->region,
		"service", overlay->service, "backend", overlay->backend, "edge", overlay->edge,
		"admin", gs_admin_name(overlay->admin), "supersedes", overlay->supersedes,
		"made_unix_ms", (json_int_t)overlay->made_unix_ms, "expires_unix_ms",
		(json_int_t)overlay->expires_unix_ms, "version", (json_int_t)overlay->version,
		"reason", overlay->reason, "actor", overlay->actor, "ticket", overlay->ticket);
}

static json_t *list_json(const struct gs_snapshot *snapshot, uint32_t count,
			 json_t *(*make)(const struct gs_snapshot *snapshot, uint32_t i))
{
	json_t *list = json_array();

	for (uint32_t i = 0; list && i < count; i++)
		if (json_array_append_new(list, make(snapshot, i)) != 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* NULL: out of memory, or text that is no UTF-8 (which gs_snapshot_check refuses). */
static json_t *snapshot_json(const struct gs_snapshot *snapshot)
{
	char seed[17];

	snprintf(seed, sizeof(seed), "%016" PRIx64, snapshot->selection_seed);
	return json_pack("{s:I,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "revision",
			 (json_int_t)snapshot->revision, "selection_seed", seed, "actor",
			 snapshot->actor, "regions",
			 list_json(snapshot, snapshot->region_count, region_json), "policies",
			 list_json(snapshot, snapshot->policy_count, policy_json), "services",
			 list_json(snapshot, snapshot->service_count, service_json), "backends",
			 list_json(snapshot, snapshot->backend_count, backend_json), "overrides",
			 list_json(snapshot, snapshot->override_count, override_json), "access",
			 list_json(snapshot, snapshot->access_count, access_json), "forces",
			 list_json(snapshot, snapshot->force_count, force_json), "fences",
			 list_json(snapshot, snapshot->fence_count, fence_json), "latencies",
			 list_json(snapshot, snapshot->latency_count, latency_json), "overlays",
			 list_json(snapshot, snapshot->overlay_count, overlay_json));
}

/* FNV-1a (Fowler, Noll, Vo): against torn and rotten files, not against forgers. */
static uint64_t checksum(const char *bytes, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001b3u;
	return hash;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t done = write(fd, bytes, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		bytes += done;
		length -= (size_t)done;
	}
	return 0;
}

static int write_synced(const char *path, const char *header, const char *body)
{
	GS_AUTO_CLOSE int fd =
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write_all(fd, header, strlen(header));
	ret = ret ? ret : write_all(fd, body, strlen(body));
	if (ret == 0 && fsync(fd) != 0)
		ret = -errno;
	return ret;
}

/* The rename itself lasts only once the folder is on disk. */
static int sync_folder(const char *path)
{
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "%s", path);
	GS_AUTO_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0)
		return -errno;
	return 0;
}

int gs_snapshot_save(const struct gs_snapshot *snapshot, const char *path, struct gs_error *error)
{
	AUTO_JSON json_t *json = snapshot_json(snapshot);
	GS_AUTO_FREE char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
	char header[160], beside[PATH_MAX];
	int ret;

	if (!body)
		return gs_error_set(-ENOMEM, error, "%s: no memory for the snapshot", path);
	snprintf(header, sizeof(header), FILE_HEADER, FILE_VERSION, strlen(body),
		 checksum(body, strlen(body)));
	if ((size_t)snprintf(beside, sizeof(beside), "%s.new", path) >= sizeof(beside))
		return gs_error_set(-ENAMETOOLONG, error, "%s: %s", path, strerror(ENAMETOOLONG));
	ret = write_synced(beside, header, body);
	if (ret == 0 && rename(beside, path) != 0)
		ret = -errno;
	if (ret) {
		unlink(beside);
		return gs_error_set(ret, error, "%s: %s", path, strerror(-ret));
	}
	ret = sync_folder(path);
	return ret ? gs_error_set(ret, error, "%s: its folder: %s", path, strerror(-ret)) : 0;
}

/* ---- from JSON -------------------------------------------------------------------------------*/

/* A number of the file that has to fit something smaller. */
struct number {
	const char *name;
	json_int_t value, max;
};

static int check_numbers(const char *list, uint32_t i, const struct number *numbers, size_t count,
			 struct gs_error *error)
{
	for (size_t n = 0; n < count; n++)
		if (numbers[n].value < 0 || numbers[n].value > numbers[n].max)
			return gs_error_set(-EINVAL, error, "%s[%u].%s: %lld is not 0 to %lld",
					    list, i, numbers[n].name, (long long)numbers[n].value,
					    (long long)numbers[n].max);
	return 0;
}

static int copy_text(char *out, size_t size, const char *list, uint32_t i, const char *name,
		     const char *text, struct gs_error *error)
{
	if (strlen(text) >= size)
		return gs_error_set(-EINVAL, error, "%s[%u].%s: longer than %zu bytes", list, i,
				    name, size - 1);
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

static int shape_error(const char *list, uint32_t i, const json_error_t *json_error,
		       struct gs_error *error)
{
	return gs_error_set(-EINVAL, error, "%s[%u]: %s", list, i, json_error->text);
}

/* What of it a file of an earlier program does not have is as it is where nobody says. */
static int read_region(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		       struct gs_error *error)
{
	struct gs_region *region = &snapshot->regions[i];
	json_int_t id, capacity, drain = 0, packets = 0, flows = 0, target = 0;
	json_t *availability = NULL;
	const char *name, *admin;
	json_error_t why;

	if (json_unpack_ex(
		    json, &why, JSON_STRICT, "{s:I,s:s,s:F,s:F,s:F,s:I,s:s,s?I,s?I,s?I,s?o,s?I}",
		    "id", &id, "name", &name, "latitude", &region->coord.lat_deg, "longitude",
		    &region->coord.lon_deg, "cost", &region->cost, "capacity", &capacity, "admin",
		    &admin, "drain_until_unix_ms", &drain, "limit_packets", &packets, "limit_flows",
		    &flows, "availability", &availability, "target", &target) != 0)
		return shape_error("regions", i, &why, error);
	const struct number numbers[] = {{"id", id, UINT16_MAX},
					 {"capacity", capacity, INT64_MAX},
					 {"drain_until_unix_ms", drain, INT64_MAX},
					 {"limit_packets", packets, UINT32_MAX},
					 {"limit_flows", flows, UINT32_MAX},
					 {"target", target, 100}};

	if (gs_admin_parse(admin, &region->admin) != 0)
		return gs_error_set(-EINVAL, error, "regions[%u].admin: unknown state", i);
	if (check_numbers("regions", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	region->id = (gs_id)id;
	region->capacity = (uint64_t)capacity;
	region->drain_until_unix_ms = drain;
	region->limit_packets = (uint32_t)packets;
	region->limit_flows = (uint32_t)flows;
	region->target = (uint8_t)target;
	region->availability = json_number_value(availability);
	return copy_text(region->name, sizeof(region->name), "regions", i, "name", name, error);
}

/* Of each region of the order a number; a file of an earlier program has none: `otherwise`. */
static int read_numbers(const json_t *list, uint32_t i, const char *name, json_int_t min,
			json_int_t max, json_int_t otherwise, size_t count,
			json_int_t ret_numbers[GS_POLICY_ORDER_MAX], struct gs_error *error)
{
	for (size_t place = 0; place < count; place++) {
		const json_t *number = json_array_get(list, place);

		ret_numbers[place] = list ? json_integer_value(number) : otherwise;
		if (list && (!json_is_integer(number) || ret_numbers[place] < min ||
			     ret_numbers[place] > max))
			return gs_error_set(-EINVAL, error,
					    "policies[%u].%s[%zu]: missing, or not %lld to %lld", i,
					    name, place, (long long)min, (long long)max);
	}
	return 0;
}

static int read_order(const json_t *order, const json_t *bias, const json_t *weight, uint32_t i,
		      struct gs_policy *policy, struct gs_error *error)
{
	json_int_t biases[GS_POLICY_ORDER_MAX] = {0}, weights[GS_POLICY_ORDER_MAX] = {0};
	size_t count = json_array_size(order), place;
	const json_t *region;

	if (read_numbers(bias, i, "bias", -GS_BIAS_MAX, GS_BIAS_MAX, 0, count, biases, error) ||
	    read_numbers(weight, i, "weight", 0, GS_POLICY_WEIGHT_MAX, GS_POLICY_WEIGHT_DEFAULT,
			 count, weights, error))
		return -EINVAL;
	json_array_foreach (order, place, region) {
		const struct number number = {"order", json_integer_value(region), UINT16_MAX};

		if (check_numbers("policies", i, &number, 1, error) != 0)
			return -EINVAL;
		policy->order[place] = (gs_id)number.value;
		policy->bias[place] = (int8_t)biases[place];
		policy->weight[place] = (uint16_t)weights[place];
	}
	policy->order_count = (uint8_t)count;
	return 0;
}

static int read_rank(const json_t *rank, uint32_t i, struct gs_policy *policy,
		     struct gs_error *error)
{
	const json_t *word;
	size_t c;

	if (json_array_size(rank) > GS_RANK_MAX)
		return gs_error_set(-EINVAL, error, "policies[%u].rank: more than %d criteria", i,
				    GS_RANK_MAX);
	json_array_foreach (rank, c, word) {
		enum gs_criterion criterion;

		if (!json_is_string(word) ||
		    gs_criterion_parse(json_string_value(word), &criterion) != 0)
			return gs_error_set(-EINVAL, error, "policies[%u].rank[%zu]: no criterion",
					    i, c);
		policy->rank[c] = (uint8_t)criterion;
	}
	policy->rank_count = (uint8_t)json_array_size(rank);
	return 0;
}

/* A file of before there were ranks has neither rank nor bands. */
static int read_policy(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		       struct gs_error *error)
{
	json_int_t id, band_ms = GS_BAND_MS_DEFAULT, band_percent = GS_BAND_PERCENT_DEFAULT;
	struct gs_policy *policy = &snapshot->policies[i];
	json_t *order, *rank = NULL, *bias = NULL, *weight = NULL;
	const char *name, *kind;
	json_error_t why;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:I,s:s,s:s,s:o,s?o,s?o,s?o,s?I,s?I}", "id",
			   &id, "name", &name, "kind", &kind, "order", &order, "rank", &rank,
			   "bias", &bias, "weight", &weight, "band_ms", &band_ms, "band_percent",
			   &band_percent) != 0)
		return shape_error("policies", i, &why, error);
	const struct number numbers[] = {
		{"id", id, UINT16_MAX},
		{"order", (json_int_t)json_array_size(order), GS_POLICY_ORDER_MAX},
		{"band_ms", band_ms, GS_BAND_MS_MAX},
		{"band_percent", band_percent, GS_BAND_PERCENT_MAX}};

	if (gs_policy_kind_parse(kind, &policy->kind) != 0)
		return gs_error_set(-EINVAL, error, "policies[%u].kind: unknown kind", i);
	if (check_numbers("policies", i, numbers, ARRAY_SIZE(numbers), error) != 0 ||
	    read_rank(rank, i, policy, error) != 0 ||
	    read_order(order, bias, weight, i, policy, error) != 0)
		return -EINVAL;
	policy->id = (gs_id)id;
	policy->band_ms = (uint16_t)band_ms;
	policy->band_percent = (uint8_t)band_percent;
	return copy_text(policy->name, sizeof(policy->name), "policies", i, "name", name, error);
}

/* Takes them out of json. What a file of an earlier program does not have is as nobody says. */
static int take_probe_texts(json_t *json, struct gs_probe_spec *probe, uint32_t i,
			    struct gs_error *error)
{
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++) {
		const struct gs_probe_text *text = gs_probe_text(t);
		const json_t *value = json_object_get(json, text->member);
		const char *word = value ? json_string_value(value) : text->otherwise;

		if (!word || !gs_probe_text_set(probe, t, word))
			return gs_error_set(-EINVAL, error,
					    "services[%u].probe.%s: no text of up to %zu bytes", i,
					    text->member, text->size - 1);
		json_object_del(json, text->member);
	}
	return 0;
}

static int read_probe(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		      struct gs_error *error)
{
	struct gs_probe_spec *probe = &snapshot->services[i].probe;
	json_int_t port, interval, timeout, fast, down, rise, fall, clear;
	const char *kind, *path, *host;
	json_error_t why;

	if (take_probe_texts(json, probe, i, error) != 0)
		return -EINVAL;
	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s,s:I,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
			   "kind", &kind, "port", &port, "path", &path, "host", &host,
			   "interval_ms", &interval, "timeout_ms", &timeout, "fast_interval_ms",
			   &fast, "down_interval_ms", &down, "rise", &rise, "fall", &fall, "clear",
			   &clear) != 0)
		return shape_error("services", i, &why, error);
	const struct number numbers[] = {
		{"probe.port", port, UINT16_MAX},
		{"probe.interval_ms", interval, UINT32_MAX},
		{"probe.timeout_ms", timeout, UINT32_MAX},
		{"probe.fast_interval_ms", fast, UINT32_MAX},
		{"probe.down_interval_ms", down, UINT32_MAX},
		{"probe.rise", rise, UINT8_MAX},
		{"probe.fall", fall, UINT8_MAX},
		{"probe.clear", clear, UINT8_MAX},
	};

	if (gs_probe_kind_parse(kind, &probe->kind) != 0)
		return gs_error_set(-EINVAL, error, "services[%u].probe.kind: unknown kind", i);
	if (check_numbers("services", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	probe->port = (uint16_t)port;
	probe->interval_ms = (uint32_t)interval;
	probe->timeout_ms = (uint32_t)timeout;
	probe->fast_interval_ms = (uint32_t)fast;
	probe->down_interval_ms = (uint32_t)down;
	probe->rise = (uint8_t)rise;
	probe->fall = (uint8_t)fall;
	probe->clear = (uint8_t)clear;
	if (copy_text(probe->path, sizeof(probe->path), "services", i, "probe.path", path, error) !=
	    0)
		return -EINVAL;
	return copy_text(probe->host, sizeof(probe->host), "services", i, "probe.host", host,
			 error);
}

/* A file of before there were breakers has none. */
static int read_breaker(const json_t *json, struct gs_snapshot *snapshot, uint32_t i,
			struct gs_error *error)
{
	struct gs_breaker_spec *spec = &snapshot->services[i].breaker;

	*spec = gs_breaker_spec_default();
	if (!json)
		return 0;
	if (json_object_size(json) > GS_BREAKER_FIELDS)
		return gs_error_set(-EINVAL, error,
				    "services[%u].breaker: more than its %d members", i,
				    GS_BREAKER_FIELDS);
	for (uint32_t f = 0; f < GS_BREAKER_FIELDS; f++) {
		const struct gs_breaker_field *field = gs_breaker_field(f);
		json_t *value = json_object_get(json, field->name);

		if (!value && f >= GS_BREAKER_OLD_FIELDS)
			continue; /* a file of before there were these */
		if (!json_is_integer(value) || json_integer_value(value) < field->min ||
		    json_integer_value(value) > field->max)
			return gs_error_set(-EINVAL, error,
					    "services[%u].breaker.%s: missing, or out of range", i,
					    field->name);
		gs_breaker_field_set(spec, f, json_integer_value(value));
	}
	return 0;
}

/* A file of before there were affinity, limits and stale policy has none, and one of before there
 * was a number not that one. */
static int read_spec(const json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		     struct gs_error *error)
{
	struct gs_service *service = &snapshot->services[i];
	const char *affinity = json_string_value(json_object_get(json, "affinity"));
	const char *stale = json_string_value(json_object_get(json, "stale"));

	gs_service_spec_default(service);
	if (!json)
		return 0;
	if (json_object_size(json) > GS_SERVICE_NUMBERS + 2)
		return gs_error_set(-EINVAL, error, "services[%u].spec: more than its %d members",
				    i, GS_SERVICE_NUMBERS + 2);
	if (!affinity || gs_affine_parse(affinity, &service->affinity.kind) != 0)
		return gs_error_set(-EINVAL, error, "services[%u].spec.affinity: unknown kind", i);
	if (!stale || gs_stale_parse(stale, &service->stale.kind) != 0)
		return gs_error_set(-EINVAL, error, "services[%u].spec.stale: unknown kind", i);
	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++) {
		const struct gs_service_number *number = gs_service_number(n);
		const json_t *value = json_object_get(json, number->name);

		if (!value)
			continue;
		if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		    json_integer_value(value) > number->max)
			return gs_error_set(-EINVAL, error, "services[%u].spec.%s: out of range", i,
					    number->name);
		gs_service_number_set(service, n, (uint32_t)json_integer_value(value));
	}
	return 0;
}

/* A file of before there was panic has none. */
static int read_panic(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		      struct gs_error *error)
{
	struct gs_panic_spec *panic = &snapshot->services[i].panic;
	json_int_t percent, region;
	const char *all_down;
	json_error_t why;

	if (!json)
		return 0;
	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:I,s:s,s:I}", "percent", &percent,
			   "all_down", &all_down, "region", &region) != 0)
		return shape_error("services", i, &why, error);
	const struct number numbers[] = {{"panic.percent", percent, 100},
					 {"panic.region", region, UINT16_MAX}};

	if (gs_all_down_parse(all_down, &panic->all_down) != 0)
		return gs_error_set(-EINVAL, error, "services[%u].panic.all_down: unknown kind", i);
	panic->percent = (uint8_t)percent;
	panic->region = (gs_id)region;
	return check_numbers("services", i, numbers, ARRAY_SIZE(numbers), error);
}

static int read_service(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
			struct gs_error *error)
{
	struct gs_service *service = &snapshot->services[i];
	const char *name, *vip, *protocol;
	json_int_t id, port, policy, budget = 0;
	json_error_t why;
	json_t *probe, *breaker = NULL, *spec = NULL, *panic = NULL;
	int ret;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:I,s:s,s:s,s:I,s:s,s:I,s:o,s?I,s?o,s?o,s?o}",
			   "id", &id, "name", &name, "vip", &vip, "port", &port, "protocol",
			   &protocol, "policy", &policy, "probe", &probe, "failover_budget_ms",
			   &budget, "breaker", &breaker, "spec", &spec, "panic", &panic) != 0)
		return shape_error("services", i, &why, error);
	const struct number numbers[] = {{"id", id, UINT16_MAX},
					 {"port", port, UINT16_MAX},
					 {"policy", policy, UINT16_MAX},
					 {"failover_budget_ms", budget, GS_FAILOVER_BUDGET_MAX_MS}};

	if (gs_addr_parse(vip, &service->vip) != 0)
		return gs_error_set(-EINVAL, error, "services[%u].vip: not an address", i);
	if (gs_protocol_parse(protocol, &service->protocol) != 0)
		return gs_error_set(-EINVAL, error, "services[%u].protocol: neither tcp nor udp",
				    i);
	if (check_numbers("services", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	service->id = (gs_id)id;
	service->port = (uint16_t)port;
	service->policy = (gs_id)policy;
	service->failover_budget_ms = (uint32_t)budget;
	if (copy_text(service->name, sizeof(service->name), "services", i, "name", name, error) !=
	    0)
		return -EINVAL;
	ret = read_probe(probe, snapshot, i, error);
	ret = ret ? ret : read_breaker(breaker, snapshot, i, error);
	ret = ret ? ret : read_spec(spec, snapshot, i, error);
	return ret ? ret : read_panic(panic, snapshot, i, error);
}

/* A file of before there were modes says none: ipip; others have neither port nor deadline. */
static int read_backend(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
			struct gs_error *error)
{
	struct gs_backend *backend = &snapshot->backends[i];
	json_int_t id, service, region, weight, port = 0, drain = 0;
	const char *name, *address, *admin, *forward = "ipip";
	json_error_t why;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:I,s:s,s:I,s:I,s:s,s:I,s?s,s?I,s:s,s?I}",
			   "id", &id, "name", &name, "service", &service, "region", &region,
			   "address", &address, "weight", &weight, "forward", &forward, "port",
			   &port, "admin", &admin, "drain_until_unix_ms", &drain) != 0)
		return shape_error("backends", i, &why, error);
	const struct number numbers[] = {
		{"id", id, UINT16_MAX},		{"service", service, UINT16_MAX},
		{"region", region, UINT16_MAX}, {"weight", weight, UINT16_MAX},
		{"port", port, UINT16_MAX},	{"drain_until_unix_ms", drain, INT64_MAX}};

	if (gs_addr_parse(address, &backend->addr) != 0)
		return gs_error_set(-EINVAL, error, "backends[%u].address: not an address", i);
	if (gs_admin_parse(admin, &backend->admin) != 0)
		return gs_error_set(-EINVAL, error, "backends[%u].admin: unknown state", i);
	if (gs_forward_parse(forward, &backend->forward) != 0)
		return gs_error_set(-EINVAL, error, "backends[%u].forward: unknown mode", i);
	if (check_numbers("backends", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	backend->id = (gs_id)id;
	backend->service = (gs_id)service;
	backend->region = (gs_id)region;
	backend->weight = (uint16_t)weight;
	backend->port = (uint16_t)port;
	backend->drain_until_unix_ms = drain;
	return copy_text(backend->name, sizeof(backend->name), "backends", i, "name", name, error);
}

static int read_override(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
			 struct gs_error *error)
{
	struct gs_override *override = &snapshot->overrides[i];
	const char *prefix = NULL, *asn = NULL, *place = NULL, *reason;
	json_error_t why;
	json_int_t region;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s?s,s?s,s?s,s:I,s:s}", "prefix", &prefix,
			   "asn", &asn, "place", &place, "region", &region, "reason", &reason) != 0)
		return shape_error("overrides", i, &why, error);
	const struct number number = {"region", region, UINT16_MAX};

	if (!!prefix + !!asn + !!place != 1)
		return gs_error_set(-EINVAL, error, "overrides[%u]: not a prefix, an AS or a place",
				    i);
	if (asn && gs_asn_parse(asn, &override->asn) != 0)
		return gs_error_set(-EINVAL, error, "overrides[%u].asn: not an AS number", i);
	if (prefix && gs_prefix_parse(prefix, &override->prefix) != 0)
		return gs_error_set(-EINVAL, error, "overrides[%u].prefix: not a prefix", i);
	if (place && (gs_place_parse(place, &override->place) != 0 ||
		      override->place.kind == GS_PLACE_EVERYBODY))
		return gs_error_set(-EINVAL, error, "overrides[%u].place: not a place", i);
	if (check_numbers("overrides", i, &number, 1, error) != 0)
		return -EINVAL;
	override->region = (gs_id)region;
	return copy_text(override->reason, sizeof(override->reason), "overrides", i, "reason",
			 reason, error);
}

static int read_access(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		       struct gs_error *error)
{
	struct gs_access *access = &snapshot->access[i];
	const char *prefix, *reason;
	json_error_t why;
	json_int_t service;
	int allow;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s,s:I,s:b,s:s}", "prefix", &prefix,
			   "service", &service, "allow", &allow, "reason", &reason) != 0)
		return shape_error("access", i, &why, error);
	const struct number number = {"service", service, UINT16_MAX};

	if (gs_prefix_parse(prefix, &access->prefix) != 0)
		return gs_error_set(-EINVAL, error, "access[%u].prefix: not a prefix", i);
	if (check_numbers("access", i, &number, 1, error) != 0)
		return -EINVAL;
	access->service = (gs_id)service;
	access->allow = allow;
	return copy_text(access->reason, sizeof(access->reason), "access", i, "reason", reason,
			 error);
}

static int read_force(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		      struct gs_error *error)
{
	struct gs_force *force = &snapshot->forces[i];
	const char *edge, *reason, *actor;
	json_int_t service, region, expires;
	json_error_t why;
	int open;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:I,s:I,s:s,s:b,s:I,s:s,s:s}", "service",
			   &service, "region", &region, "edge", &edge, "open", &open,
			   "expires_unix_ms", &expires, "reason", &reason, "actor", &actor) != 0)
		return shape_error("forces", i, &why, error);
	const struct number numbers[] = {{"service", service, UINT16_MAX},
					 {"region", region, UINT16_MAX},
					 {"expires_unix_ms", expires, INT64_MAX}};

	if (check_numbers("forces", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	force->service = (gs_id)service;
	force->region = (gs_id)region;
	force->open = open;
	force->expires_unix_ms = expires;
	if (copy_text(force->edge, sizeof(force->edge), "forces", i, "edge", edge, error) != 0 ||
	    copy_text(force->reason, sizeof(force->reason), "forces", i, "reason", reason, error) !=
		    0)
		return -EINVAL;
	return copy_text(force->actor, sizeof(force->actor), "forces", i, "actor", actor, error);
}

static int read_fence(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
		      struct gs_error *error)
{
	struct gs_fence *fence = &snapshot->fences[i];
	const char *place, *reason;
	json_int_t service;
	json_t *regions, *region;
	int holds_unknown;
	json_error_t why;
	size_t r;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s,s:I,s:b,s:o,s:s}", "place", &place,
			   "service", &service, "holds_unknown", &holds_unknown, "regions",
			   &regions, "reason", &reason) != 0)
		return shape_error("fences", i, &why, error);
	const struct number numbers[] = {
		{"service", service, UINT16_MAX},
		{"regions", (json_int_t)json_array_size(regions), GS_FENCE_REGIONS_MAX}};

	if (gs_place_parse(place, &fence->place) != 0)
		return gs_error_set(-EINVAL, error, "fences[%u].place: not a place", i);
	if (check_numbers("fences", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	json_array_foreach (regions, r, region) {
		const struct number number = {"regions", json_integer_value(region), UINT16_MAX};

		if (check_numbers("fences", i, &number, 1, error) != 0)
			return -EINVAL;
		fence->regions[r] = (gs_id)number.value;
	}
	fence->region_count = (uint8_t)json_array_size(regions);
	fence->service = (gs_id)service;
	fence->holds_unknown = holds_unknown;
	return copy_text(fence->reason, sizeof(fence->reason), "fences", i, "reason", reason,
			 error);
}

/* Absent or null: there is none. */
static int read_estimate(const json_t *json, uint32_t i, const char *name, int32_t *ret_us,
			 struct gs_error *error)
{
	json_int_t us = json ? json_integer_value(json) : 0;

	*ret_us = GS_LATENCY_NONE;
	if (!json || json_is_null(json))
		return 0;
	if (!json_is_integer(json))
		return gs_error_set(-EINVAL, error, "latencies[%u].%s: is no whole number", i,
				    name);
	if (us < -GS_LATENCY_US_MAX || us > GS_LATENCY_US_MAX)
		return gs_error_set(-EINVAL, error, "latencies[%u].%s: %lld is out of range", i,
				    name, (long long)us);
	*ret_us = (int32_t)us;
	return 0;
}

static int read_latency(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
			struct gs_error *error)
{
	struct gs_latency *latency = &snapshot->latencies[i];
	json_int_t region, samples, at, before = 0;
	const json_t *us, *before_us = NULL;
	const char *place;
	json_error_t why;

	if (json_unpack_ex(json, &why, JSON_STRICT, "{s:s,s:I,s:I,s:o,s:I,s?o,s?I}", "place",
			   &place, "region", &region, "samples", &samples, "us", &us, "at_unix_ms",
			   &at, "before_us", &before_us, "before_percent", &before) != 0)
		return shape_error("latencies", i, &why, error);
	const struct number numbers[] = {
		{"region", region, UINT16_MAX},
		{"samples", samples, UINT32_MAX},
		{"at_unix_ms", at, INT64_MAX},
		{"before_percent", before, 99},
	};

	if (check_numbers("latencies", i, numbers, ARRAY_SIZE(numbers), error) != 0 ||
	    read_estimate(us, i, "us", &latency->us, error) != 0 ||
	    read_estimate(before_us, i, "before_us", &latency->before_us, error) != 0)
		return -EINVAL;
	latency->region = (gs_id)region;
	latency->samples = (uint32_t)samples;
	latency->at_unix_ms = at;
	latency->before_percent = (uint8_t)before;
	if (!before)
		latency->before_us = 0; /* it says nothing: the same as from the database */
	return copy_text(latency->place, sizeof(latency->place), "latencies", i, "place", place,
			 error);
}

static int read_overlay(json_t *json, struct gs_snapshot *snapshot, uint32_t i,
			struct gs_error *error)
{
	struct gs_overlay *overlay = &snapshot->overlays[i];
	json_int_t region, service, backend, made, expires, version;
	const char *edge, *admin, *reason, *actor, *ticket;
	json_error_t why;
	int supersedes;

	if (json_unpack_ex(json, &why, JSON_STRICT,
			   "{s:I,s:I,s:I,s:s,s:s,s:b,s:I,s:I,s:I,s:s,s:s,s:s}", "region", &region,
			   "service", &service, "backend", &backend, "edge", &edge, "admin", &admin,
			   "supersedes", &supersedes, "made_unix_ms", &made, "expires_unix_ms",
			   &expires, "version", &version, "reason", &reason, "actor", &actor,
			   "ticket", &ticket) != 0)
		return shape_error("overlays", i, &why, error);
	const struct number numbers[] = {
		{"region", region, UINT16_MAX},		 {"service", service, UINT16_MAX},
		{"backend", backend, UINT16_MAX},	 {"made_unix_ms", made, INT64_MAX},
		{"expires_unix_ms", expires, INT64_MAX}, {"version", version, INT64_MAX}};

	if (gs_admin_parse(admin, &overlay->admin) != 0)
		return gs_error_set(-EINVAL, error, "overlays[%u].admin: unknown state", i);
	if (check_numbers("overlays", i, numbers, ARRAY_SIZE(numbers), error) != 0)
		return -EINVAL;
	overlay->region = (gs_id)region;
	overlay->service = (gs_id)service;
	overlay->backend = (gs_id)backend;
	overlay->supersedes = supersedes;
	overlay->made_unix_ms = made;
	overlay->expires_unix_ms = expires;
	overlay->version = (uint64_t)version;
	if (copy_text(overlay->edge, sizeof(overlay->edge), "overlays", i, "edge", edge, error) !=
		    0 ||
	    copy_text(overlay->reason, sizeof(overlay->reason), "overlays", i, "reason", reason,
		      error) != 0 ||
	    copy_text(overlay->actor, sizeof(overlay->actor), "overlays", i, "actor", actor,
		      error) != 0)
		return -EINVAL;
	return copy_text(overlay->ticket, sizeof(overlay->ticket), "overlays", i, "ticket", ticket,
			 error);
}

/* The lists, in the order of the file. A file of an earlier program may lack the last ones. */
enum { LIST_COUNT = 10 };
static const struct {
	const char *name;
	int (*read)(json_t *json, struct gs_snapshot *snapshot, uint32_t i, struct gs_error *error);
} lists[LIST_COUNT] = {
	{"regions", read_region},   {"policies", read_policy},	  {"services", read_service},
	{"backends", read_backend}, {"overrides", read_override}, {"forces", read_force},
	{"access", read_access},    {"fences", read_fence},	  {"latencies", read_latency},
	{"overlays", read_overlay},
};

static int parse_seed(const char *text, uint64_t *ret_seed)
{
	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return -EINVAL;
	*ret_seed = strtoull(text, NULL, 16);
	return 0;
}

static int read_snapshot(json_t *json, struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	AUTO_SNAPSHOT struct gs_snapshot *snapshot = NULL;
	json_t *arrays[LIST_COUNT] = {NULL};
	uint32_t sizes[LIST_COUNT];
	struct gs_snapshot counts = {0};
	json_int_t revision;
	json_error_t why;
	const char *seed, *actor = "";

	if (json_unpack_ex(json, &why, JSON_STRICT,
			   "{s:I,s:s,s?s,s:o,s:o,s:o,s:o,s:o,s?o,s?o,s?o,s?o,s?o}", "revision",
			   &revision, "selection_seed", &seed, "actor", &actor, lists[0].name,
			   &arrays[0], lists[1].name, &arrays[1], lists[2].name, &arrays[2],
			   lists[3].name, &arrays[3], lists[4].name, &arrays[4], lists[5].name,
			   &arrays[5], lists[6].name, &arrays[6], lists[7].name, &arrays[7],
			   lists[8].name, &arrays[8], lists[9].name, &arrays[9]) != 0)
		return gs_error_set(-EINVAL, error, "%s", why.text);
	if (revision < 0 || parse_seed(seed, &counts.selection_seed) != 0)
		return gs_error_set(-EINVAL, error, "revision or selection_seed is no number");
	if (!gs_text_is_valid(actor, sizeof(counts.actor) - 1))
		return gs_error_set(-EINVAL, error, "actor: no clean text of up to %zu bytes",
				    sizeof(counts.actor) - 1);
	memcpy(counts.actor, actor, strlen(actor) + 1);
	for (size_t l = 0; l < LIST_COUNT; l++) {
		if (arrays[l] && !json_is_array(arrays[l]))
			return gs_error_set(-EINVAL, error, "%s: not a list", lists[l].name);
		sizes[l] = (uint32_t)json_array_size(arrays[l]);
	}
	counts.revision = (uint64_t)revision;
	counts.region_count = sizes[0];
	counts.policy_count = sizes[1];
	counts.service_count = sizes[2];
	counts.backend_count = sizes[3];
	counts.override_count = sizes[4];
	counts.force_count = sizes[5];
	counts.access_count = sizes[6];
	counts.fence_count = sizes[7];
	counts.latency_count = sizes[8];
	counts.overlay_count = sizes[9];
	if (gs_snapshot_new(&counts, &snapshot) != 0)
		return gs_error_set(-ENOMEM, error, "no memory for the snapshot");
	for (size_t l = 0; l < LIST_COUNT; l++)
		for (uint32_t i = 0; i < sizes[l]; i++) {
			int ret = lists[l].read(json_array_get(arrays[l], i), snapshot, i, error);

			if (ret)
				return ret;
		}
	*ret_snapshot = gs_take_ptr(snapshot);
	return 0;
}

/* The whole file with a final zero. */
static int read_file(const char *path, char **ret_bytes, size_t *ret_length)
{
	GS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	GS_AUTO_FREE char *bytes = NULL;
	size_t length = 0;
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat) != 0)
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return -EINVAL;
	if (stat.st_size > FILE_BYTES_MAX)
		return -EFBIG;
	bytes = malloc((size_t)stat.st_size + 1);
	if (!bytes)
		return -ENOMEM;
	while (length < (size_t)stat.st_size) {
		ssize_t done = read(fd, bytes + length, (size_t)stat.st_size - length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			break;
		length += (size_t)done;
	}
	bytes[length] = '\0';
	*ret_bytes = gs_take_ptr(bytes);
	*ret_length = length;
	return 0;
}

/* *ret_body: what follows the first line, if that line tells its length and checksum rightly. */
static int check_header(const char *bytes, size_t length, const char **ret_body,
			struct gs_error *error)
{
	const char *end = memchr(bytes, '\n', length);
	static const char prefix[] = "{\"format\":\"geostream snapshot\",\"version\":";
	char header[160];
	long version;

	if (!end)
		return gs_error_set(-EINVAL, error,
				    "line 1: cut short, or not a snapshot of GeoStream");
	if (strncmp(bytes, prefix, strlen(prefix)) != 0)
		return gs_error_set(-EINVAL, error, "line 1: not a snapshot of GeoStream");
	version = strtol(bytes + strlen(prefix), NULL, 10);
	if (version != FILE_VERSION)
		return gs_error_set(-EINVAL, error,
				    "line 1: version %ld, this program reads version %d", version,
				    FILE_VERSION);
	end++;
	length -= (size_t)(end - bytes);
	snprintf(header, sizeof(header), FILE_HEADER, FILE_VERSION, length, checksum(end, length));
	if (strncmp(bytes, header, (size_t)(end - bytes)) != 0)
		return gs_error_set(-EINVAL, error,
				    "cut short or damaged: length and checksum do not fit");
	*ret_body = end;
	return 0;
}

static int parse_bytes(const char *bytes, size_t length, struct gs_snapshot **ret_snapshot,
		       struct gs_error *error)
{
	AUTO_SNAPSHOT struct gs_snapshot *snapshot = NULL;
	AUTO_JSON json_t *json = NULL;
	const char *body = NULL;
	json_error_t why;
	int ret = check_header(bytes, length, &body, error);

	if (ret)
		return ret;
	json = json_loadb(body, length - (size_t)(body - bytes), JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return gs_error_set(-EINVAL, error, "line 2: %s", why.text);
	ret = read_snapshot(json, &snapshot, error);
	ret = ret ? ret : gs_snapshot_check(snapshot, error);
	if (ret)
		return ret;
	*ret_snapshot = gs_take_ptr(snapshot);
	return 0;
}

int gs_snapshot_load(const char *path, struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	GS_AUTO_FREE char *bytes = NULL;
	struct gs_error why = {0};
	size_t length = 0;
	int ret = read_file(path, &bytes, &length);

	if (!bytes)
		return gs_error_set(ret, error, "%s: %s", path,
				    ret == -EINVAL ? "not a regular file" : strerror(-ret));
	ret = parse_bytes(bytes, length, ret_snapshot, &why);
	if (ret)
		return gs_error_set(ret, error, "%s: %s", path, why.text);
	return 0;
}
