// SPDX-License-Identifier: Apache-2.0
#include "user/app/fields.h"

#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/moment.h"
#include "user/core/override.h"
#include "user/core/panic.h"
#include "user/core/place.h"
#include "user/core/policy.h"
#include "user/core/probe_spec.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *plural;
} kinds[GS_KIND__COUNT] = {
	[GS_KIND_REGION] = {"region", "regions"},	[GS_KIND_POLICY] = {"policy", "policies"},
	[GS_KIND_SERVICE] = {"service", "services"},	[GS_KIND_BACKEND] = {"backend", "backends"},
	[GS_KIND_OVERRIDE] = {"override", "overrides"}, [GS_KIND_ACCESS] = {"access", "access"},
	[GS_KIND_FENCE] = {"fence", "fences"},
};

const char *gs_kind_name(enum gs_kind kind)
{
	return kinds[kind].name;
}

const char *gs_kind_plural(enum gs_kind kind)
{
	return kinds[kind].plural;
}

uint32_t gs_kind_count(const struct gs_snapshot *snapshot, enum gs_kind kind)
{
	const uint32_t counts[GS_KIND__COUNT] = {
		[GS_KIND_REGION] = snapshot->region_count,
		[GS_KIND_POLICY] = snapshot->policy_count,
		[GS_KIND_SERVICE] = snapshot->service_count,
		[GS_KIND_BACKEND] = snapshot->backend_count,
		[GS_KIND_OVERRIDE] = snapshot->override_count,
		[GS_KIND_ACCESS] = snapshot->access_count,
		[GS_KIND_FENCE] = snapshot->fence_count,
	};

	return counts[kind];
}

/* ---- where documents have them ---------------------------------------------------------------*/

static const struct {
	const char *prefix, *group;
} groups[] = {
	{"probe", "probe"}, {"breaker", "breaker"}, {"affinity", "affinity"}, {"limit", "limits"},
	{"stale", "stale"}, {"panic", "panic"},	    {"damping", "damping"},
};

void gs_field_place(const char *name, const char **ret_group, const char **ret_member)
{
	*ret_group = NULL;
	*ret_member = name;
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		size_t length = strlen(groups[g].prefix);

		if (strncmp(name, groups[g].prefix, length) != 0 ||
		    (name[length] != '_' && name[length] != '\0'))
			continue;
		*ret_group = groups[g].group;
		*ret_member = name[length] ? name + length + 1 : "kind";
	}
}

void gs_field_flat(const char *place, char *out, size_t size)
{
	const char *member = strchr(place, '.');

	for (size_t g = 0; member && g < sizeof(groups) / sizeof(groups[0]); g++) {
		const char *group = groups[g].group, *prefix = groups[g].prefix;
		size_t length = strlen(group);
		bool is_kind = strcmp(member, ".kind") == 0 &&
			       (strcmp(group, "affinity") == 0 || strcmp(group, "stale") == 0);

		if (strncmp(place, group, length) != 0 || place + length != member)
			continue;
		snprintf(out, size, "%s%s%s", prefix, is_kind ? "" : "_",
			 is_kind ? "" : member + 1);
		return;
	}
	snprintf(out, size, "%s", place);
}

const char *gs_fields_name(const struct gs_fields *fields, enum gs_kind kind,
			   char out[GS_OBJECT_NAME_MAX])
{
	const char *service = kind > GS_KIND_OVERRIDE ? gs_fields_text(fields, "service") : NULL;

	snprintf(out, GS_OBJECT_NAME_MAX, "%.63s%s%.63s", fields->field[0].text,
		 service && *service ? "@" : "", service ? service : "");
	return out;
}

/* ---- objects ---------------------------------------------------------------------------------*/

static void add_text(struct gs_fields *fields, const char *name, const char *text)
{
	struct gs_field *field = &fields->field[fields->count++];

	field->name = name;
	field->type = GS_FIELD_TEXT;
	field->is_unset = false;
	snprintf(field->text, sizeof(field->text), "%s", text);
}

static void add_integer(struct gs_fields *fields, const char *name, uint64_t value)
{
	struct gs_field *field = &fields->field[fields->count++];

	field->name = name;
	field->type = GS_FIELD_NUMBER;
	field->is_unset = false;
	snprintf(field->text, sizeof(field->text), "%" PRIu64, value);
}

/* The last one added: is it as it is where nobody says? */
static void unset_if(struct gs_fields *fields, bool is_unset)
{
	fields->field[fields->count - 1].is_unset = is_unset;
}

static void add_optional(struct gs_fields *fields, const char *name, uint64_t value,
			 uint64_t otherwise)
{
	add_integer(fields, name, value);
	unset_if(fields, value == otherwise);
}

static void add_drain(struct gs_fields *fields, int64_t until_unix_ms)
{
	char text[GS_MOMENT_TEXT_MAX];

	add_text(fields, "drain_until", gs_moment_format(until_unix_ms, text));
	unset_if(fields, until_unix_ms == 0);
}

/* The shortest decimal that reads back as the same number: what people wrote, mostly. */
static void add_double(struct gs_fields *fields, const char *name, double value)
{
	struct gs_field *field = &fields->field[fields->count++];

	field->name = name;
	field->type = GS_FIELD_NUMBER;
	field->is_unset = false;
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(field->text, sizeof(field->text), "%.*g", digits, value);
		if (strtod(field->text, NULL) == value)
			break;
	}
}

static void region_fields(const struct gs_snapshot *snapshot, uint32_t i, struct gs_fields *fields)
{
	const struct gs_region *region = &snapshot->regions[i];

	add_text(fields, "name", region->name);
	add_double(fields, "latitude", region->coord.lat_deg);
	add_double(fields, "longitude", region->coord.lon_deg);
	add_double(fields, "cost", region->cost);
	add_integer(fields, "capacity", region->capacity);
	add_double(fields, "availability", region->availability);
	unset_if(fields, region->availability == 0);
	add_optional(fields, "target", region->target, 0);
	add_optional(fields, "limit_packets", region->limit_packets, 0);
	add_optional(fields, "limit_flows", region->limit_flows, 0);
	add_text(fields, "admin", gs_admin_name(region->admin));
	add_drain(fields, region->drain_until_unix_ms);
}

static const char *region_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_region *region = gs_snapshot_region(snapshot, id);

	return region ? region->name : "?";
}

static struct gs_field *add_list(struct gs_fields *fields, const char *name,
				 enum gs_field_type type)
{
	struct gs_field *field = &fields->field[fields->count++];

	field->name = name;
	field->type = type;
	field->is_unset = false;
	field->text[0] = '\0';
	return field;
}

__attribute__((format(printf, 2, 3))) static void add_item(struct gs_field *list,
							   const char *format, ...)
{
	size_t length = strlen(list->text), room = sizeof(list->text) - length;
	va_list arguments;

	if (length && room > 1) {
		list->text[length++] = ',';
		room--;
	}
	va_start(arguments, format);
	vsnprintf(list->text + length, room, format, arguments);
	va_end(arguments);
}

/* What is as it is where nobody says is not named. */
static void add_rank(const struct gs_snapshot *snapshot, const struct gs_policy *policy,
		     struct gs_fields *fields)
{
	struct gs_field *list = add_list(fields, "rank", GS_FIELD_LIST);

	for (unsigned c = 0; c < policy->rank_count; c++)
		add_item(list, "%s", gs_criterion_name((enum gs_criterion)policy->rank[c]));
	unset_if(fields, policy->rank_count == 0);
	add_optional(fields, "band_ms", policy->band_ms, GS_BAND_MS_DEFAULT);
	add_optional(fields, "band_percent", policy->band_percent, GS_BAND_PERCENT_DEFAULT);
	list = add_list(fields, "bias", GS_FIELD_MAP);
	for (unsigned place = 0; place < policy->order_count; place++)
		if (policy->bias[place] != 0)
			add_item(list, "%s:%d", region_name(snapshot, policy->order[place]),
				 policy->bias[place]);
	unset_if(fields, !list->text[0]);
	list = add_list(fields, "weight", GS_FIELD_MAP);
	for (unsigned place = 0; place < policy->order_count; place++)
		if (policy->weight[place] != GS_POLICY_WEIGHT_DEFAULT)
			add_item(list, "%s:%u", region_name(snapshot, policy->order[place]),
				 policy->weight[place]);
	unset_if(fields, !list->text[0]);
}

static void policy_fields(const struct gs_snapshot *snapshot, uint32_t i, struct gs_fields *fields)
{
	const struct gs_policy *policy = &snapshot->policies[i];
	struct gs_field *order;

	add_text(fields, "name", policy->name);
	add_text(fields, "kind", gs_policy_kind_name(policy->kind));
	order = add_list(fields, "order", GS_FIELD_LIST);
	for (unsigned place = 0; place < policy->order_count; place++)
		add_item(order, "%s", region_name(snapshot, policy->order[place]));
	add_rank(snapshot, policy, fields);
}

static void add_breaker(struct gs_fields *fields, const struct gs_breaker_spec *spec)
{
	static const char *const names[GS_BREAKER_FIELDS] = {
		"breaker_enabled",     "breaker_min_volume",  "breaker_failure_percent",
		"breaker_consecutive", "breaker_open_ms",     "breaker_open_max_ms",
		"breaker_trials",      "breaker_successes",   "breaker_ramp_ms",
		"breaker_slow_ms",     "breaker_slow_percent"};

	for (uint32_t f = 0; f < GS_BREAKER_FIELDS; f++)
		add_integer(fields, names[f], (uint64_t)gs_breaker_field_get(spec, f));
	/* The one that is no number, but true or false. */
	snprintf(fields->field[fields->count - GS_BREAKER_FIELDS].text, GS_FIELD_TEXT_MAX, "%s",
		 spec->enabled ? "true" : "false");
}

static void add_spec(struct gs_fields *fields, const struct gs_service *service)
{
	const char *group = "";

	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++) {
		const struct gs_service_number *number = gs_service_number(n);
		bool is_first = strcmp(number->group, group) != 0;

		group = number->group;
		if (is_first && strcmp(group, "affinity") == 0) {
			add_text(fields, "affinity", gs_affine_name(service->affinity.kind));
			unset_if(fields, service->affinity.kind == GS_AFFINE_FLOW);
		} else if (is_first && strcmp(group, "stale") == 0) {
			add_text(fields, "stale", gs_stale_name(service->stale.kind));
			unset_if(fields, service->stale.kind == GS_STALE_IS_KEPT);
		}
		add_optional(fields, number->name, gs_service_number_get(service, n),
			     number->otherwise);
	}
}

static void add_panic(struct gs_fields *fields, const struct gs_snapshot *snapshot,
		      const struct gs_panic_spec *panic)
{
	bool is_fixed = panic->all_down == GS_ALL_DOWN_SERVES_FIXED;
	char text[GS_FIELD_TEXT_MAX];

	add_optional(fields, "panic_percent", panic->percent, GS_PANIC_PERCENT);
	snprintf(text, sizeof(text), "%s%s%s", gs_all_down_name(panic->all_down),
		 is_fixed ? ":" : "", is_fixed ? region_name(snapshot, panic->region) : "");
	add_text(fields, "panic_all_down", text);
	unset_if(fields, panic->all_down == GS_ALL_DOWN_SERVES_ANY);
}

static void add_probe_texts(struct gs_fields *fields, const struct gs_probe_spec *spec)
{
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++) {
		const struct gs_probe_text *text = gs_probe_text(t);
		const char *value = gs_probe_text_get(spec, t);

		add_text(fields, text->name, *value ? value : text->otherwise);
		if (text->is_list)
			fields->field[fields->count - 1].type = GS_FIELD_LIST;
		unset_if(fields, !*value || strcmp(value, text->otherwise) == 0);
	}
}

static void service_fields(const struct gs_snapshot *snapshot, uint32_t i, struct gs_fields *fields)
{
	const struct gs_service *service = &snapshot->services[i];
	const struct gs_policy *policy = gs_snapshot_policy(snapshot, service->policy);
	const struct gs_probe_spec *probe = &service->probe;
	char vip[GS_ADDR_TEXT_MAX];

	add_text(fields, "name", service->name);
	add_text(fields, "vip", gs_addr_format(&service->vip, vip));
	add_integer(fields, "port", service->port);
	add_text(fields, "protocol", gs_protocol_name(service->protocol));
	add_text(fields, "policy", policy ? policy->name : "?");
	add_text(fields, "probe_kind", gs_probe_kind_name(probe->kind));
	add_integer(fields, "probe_port", probe->port);
	add_text(fields, "probe_path", probe->path);
	add_text(fields, "probe_host", probe->host);
	add_integer(fields, "probe_interval_ms", probe->interval_ms);
	add_integer(fields, "probe_timeout_ms", probe->timeout_ms);
	add_integer(fields, "probe_fast_interval_ms", probe->fast_interval_ms);
	add_integer(fields, "probe_down_interval_ms", probe->down_interval_ms);
	add_integer(fields, "probe_rise", probe->rise);
	add_integer(fields, "probe_fall", probe->fall);
	add_integer(fields, "probe_clear", probe->clear);
	add_probe_texts(fields, probe);
	add_optional(fields, "failover_budget_ms", service->failover_budget_ms, 0);
	add_breaker(fields, &service->breaker);
	add_spec(fields, service);
	add_panic(fields, snapshot, &service->panic);
}

static void backend_fields(const struct gs_snapshot *snapshot, uint32_t i, struct gs_fields *fields)
{
	const struct gs_backend *backend = &snapshot->backends[i];
	const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);
	char addr[GS_ADDR_TEXT_MAX];

	add_text(fields, "name", backend->name);
	add_text(fields, "service", service ? service->name : "?");
	add_text(fields, "region", region_name(snapshot, backend->region));
	add_text(fields, "address", gs_addr_format(&backend->addr, addr));
	add_integer(fields, "weight", backend->weight);
	add_text(fields, "forward", gs_forward_name(backend->forward));
	add_optional(fields, "port", backend->port, 0);
	add_text(fields, "admin", gs_admin_name(backend->admin));
	add_drain(fields, backend->drain_until_unix_ms);
}

static void override_fields(const struct gs_snapshot *snapshot, uint32_t i,
			    struct gs_fields *fields)
{
	const struct gs_override *override = &snapshot->overrides[i];
	char clients[GS_OVERRIDE_TEXT_MAX];

	add_text(fields, gs_override_key(override), gs_override_format(override, clients));
	add_text(fields, "region", region_name(snapshot, override->region));
	add_text(fields, "reason", override->reason);
}

static void access_fields(const struct gs_snapshot *snapshot, uint32_t i, struct gs_fields *fields)
{
	const struct gs_access *access = &snapshot->access[i];
	const struct gs_service *service = gs_snapshot_service(snapshot, access->service);
	char prefix[GS_PREFIX_TEXT_MAX];

	add_text(fields, "prefix", gs_prefix_format(&access->prefix, prefix));
	add_text(fields, "service", service ? service->name : "");
	add_text(fields, "action", access->allow ? "allow" : "deny");
	add_text(fields, "reason", access->reason);
}

static void fence_fields(const struct gs_snapshot *snapshot, uint32_t i, struct gs_fields *fields)
{
	const struct gs_fence *fence = &snapshot->fences[i];
	const struct gs_service *service = gs_snapshot_service(snapshot, fence->service);
	char place[GS_PLACE_TEXT_MAX];
	struct gs_field *regions;

	add_text(fields, "place", gs_place_format(&fence->place, place));
	add_text(fields, "service", service ? service->name : "");
	regions = add_list(fields, "regions", GS_FIELD_LIST);
	for (unsigned r = 0; r < fence->region_count; r++)
		add_item(regions, "%s", region_name(snapshot, fence->regions[r]));
	add_text(fields, "unknown", fence->holds_unknown ? "fenced" : "free");
	add_text(fields, "reason", fence->reason);
}

void gs_fields_get(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
		   struct gs_fields *ret_fields)
{
	static void (*const makers[GS_KIND__COUNT])(const struct gs_snapshot *, uint32_t,
						    struct gs_fields *) = {
		[GS_KIND_REGION] = region_fields,     [GS_KIND_POLICY] = policy_fields,
		[GS_KIND_SERVICE] = service_fields,   [GS_KIND_BACKEND] = backend_fields,
		[GS_KIND_OVERRIDE] = override_fields, [GS_KIND_ACCESS] = access_fields,
		[GS_KIND_FENCE] = fence_fields,
	};

	ret_fields->count = 0;
	makers[kind](snapshot, index, ret_fields);
}

const char *gs_fields_text(const struct gs_fields *fields, const char *name)
{
	for (int f = 0; f < fields->count; f++)
		if (strcmp(fields->field[f].name, name) == 0)
			return fields->field[f].text;
	return NULL;
}

static json_t *list_json(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t length = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, length));
		text += length + (text[length] == ',');
	}
	return list;
}

/* "eu:70,us:30" */
static json_t *map_json(const char *text)
{
	json_t *map = json_object();

	while (*text) {
		size_t length = strcspn(text, ","), name = strcspn(text, ":,");
		char key[GS_NAME_MAX];

		snprintf(key, sizeof(key), "%.*s", (int)name, text);
		json_object_set_new(
			map, key,
			json_integer(name < length ? strtol(text + name + 1, NULL, 10) : 0));
		text += length + (text[length] == ',');
	}
	return map;
}

json_t *gs_fields_json(const struct gs_fields *fields)
{
	json_t *object = json_object();

	for (int f = 0; object && f < fields->count; f++) {
		const struct gs_field *field = &fields->field[f];
		json_t *value = NULL;

		if (field->type == GS_FIELD_LIST)
			value = list_json(field->text);
		else if (field->type == GS_FIELD_MAP)
			value = map_json(field->text);
		else if (field->type == GS_FIELD_NUMBER)
			value = json_loads(field->text, JSON_DECODE_ANY, NULL);
		else
			value = json_string(field->text);
		if (json_object_set_new(object, field->name, value) != 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}
