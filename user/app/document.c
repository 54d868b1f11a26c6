// SPDX-License-Identifier: Apache-2.0
#include "user/app/document.h"

#include "user/app/json_line.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/suggest.h"
#include "user/core/asn.h"
#include "user/core/breaker.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/moment.h"
#include "user/core/panic.h"
#include "user/core/place.h"
#include "user/core/policy.h"
#include "user/core/probe_spec.h"
#include "user/core/service_spec.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define DOCUMENT_BYTES_MAX (64u << 20)

static void decref_ptr(json_t **json)
{
	json_decref(*json);
}
#define AUTO_JSON GS_CLEANUP(decref_ptr)

static void free_snapshot_ptr(struct gs_snapshot **snapshot)
{
	gs_snapshot_free(*snapshot);
}

/* One object being read. The first thing wrong with it stays in error and ret. */
struct reader {
	json_t *object;
	char path[96]; /* "services[0].probe" */
	int ret;
	struct gs_error *error;
	struct ids *ids; /* of the list */
};

/* Which ids the objects of a list have: those they name, and the lowest others in their order. */
struct ids {
	uint8_t used[(UINT16_MAX + 1) / 8];
	uint32_t next;
	bool any_given;
};

/* ---- errors ----------------------------------------------------------------------------------*/

/* A value as an error quotes it: short, and nothing in it that a terminal would act on. */
static const char *quote(const json_t *value, char out[48])
{
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);

	snprintf(out, 48, "%.44s%s", text ? text : "?", text && strlen(text) > 44 ? "..." : "");
	free(text);
	return out;
}

static void refuse(struct reader *reader, const char *key, const json_t *value, const char *what)
{
	char quoted[48];

	if (reader->ret == 0)
		reader->ret = gs_error_set(-EINVAL, reader->error, "%s.%s: %s %s", reader->path,
					   key, quote(value, quoted), what);
}

/* kind: of what nobody of that name is; suggests the one that was meant. */
static void refuse_name(struct reader *reader, const char *key, const json_t *value,
			const struct gs_snapshot *snapshot, enum gs_kind kind)
{
	uint32_t count = gs_kind_count(snapshot, kind);
	GS_AUTO_FREE const char **names = calloc(count + 1u, sizeof(char *));
	const char *closest = NULL;
	char what[160];

	for (uint32_t i = 0; names && i < count; i++)
		names[i] = kind == GS_KIND_REGION   ? snapshot->regions[i].name
			   : kind == GS_KIND_POLICY ? snapshot->policies[i].name
						    : snapshot->services[i].name;
	if (names && json_is_string(value))
		closest = gs_suggest(json_string_value(value), names, count);
	snprintf(what, sizeof(what), "is not the name of a %s%s%s%s", gs_kind_name(kind),
		 closest ? ", did you mean \"" : "", closest ? closest : "", closest ? "\"?" : "");
	refuse(reader, key, value, what);
}

static void refuse_key(struct reader *reader, const char *key, const char *const *known)
{
	AUTO_JSON json_t *text = json_string(key);
	const char *closest;
	char quoted[48];
	size_t count = 0;

	while (known[count])
		count++;
	closest = gs_suggest(key, known, count);
	if (reader->ret == 0)
		reader->ret = gs_error_set(-EINVAL, reader->error, "%s: unknown key %s%s%s%s",
					   reader->path, quote(text, quoted),
					   closest ? ", did you mean \"" : "",
					   closest ? closest : "", closest ? "\"?" : "");
}

/* known: the keys it may have, ended by NULL. */
static void check_object(struct reader *reader, const char *const *known)
{
	char quoted[48];
	const char *key;
	json_t *value;

	if (!json_is_object(reader->object)) {
		reader->ret = gs_error_set(-EINVAL, reader->error, "%s: %s is not an object",
					   reader->path, quote(reader->object, quoted));
		return;
	}
	json_object_foreach (reader->object, key, value) {
		const char *const *k = known;

		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k)
			refuse_key(reader, key, known);
	}
}

/* ---- values ----------------------------------------------------------------------------------
 *
 * Each leaves *out alone if the key is not there. need() is for keys that must be.
 */
static void need(struct reader *reader, const char *key)
{
	if (reader->ret == 0 && !json_object_get(reader->object, key))
		reader->ret = gs_error_set(-EINVAL, reader->error, "%s: \"%s\" is missing",
					   reader->path, key);
}

static const char *get_word(struct reader *reader, const char *key, const char *what)
{
	json_t *value = json_object_get(reader->object, key);

	if (value && !json_is_string(value))
		refuse(reader, key, value, what);
	return json_string_value(value);
}

static void get_text(struct reader *reader, const char *key, char *out, size_t size)
{
	const char *text = get_word(reader, key, "is not a text");

	if (!text)
		return;
	if (strlen(text) >= size)
		refuse(reader, key, json_object_get(reader->object, key), "is too long");
	else
		memcpy(out, text, strlen(text) + 1);
}

static void get_name(struct reader *reader, char out[GS_NAME_MAX])
{
	need(reader, "name");
	get_text(reader, "name", out, GS_NAME_MAX);
	if (reader->ret == 0 && !gs_name_is_valid(out))
		refuse(reader, "name", json_object_get(reader->object, "name"),
		       "is not a name (1 to 63 of a-z, 0-9 and -, not beginning with -)");
}

static json_int_t get_integer(struct reader *reader, const char *key, json_int_t otherwise,
			      json_int_t min, json_int_t max, const char *what)
{
	json_t *value = json_object_get(reader->object, key);
	json_int_t number = json_integer_value(value);

	if (!value)
		return otherwise;
	if (!json_is_integer(value) || number < min || number > max) {
		refuse(reader, key, value, what);
		return otherwise;
	}
	return number;
}

static double get_number(struct reader *reader, const char *key, double min, double max,
			 const char *what)
{
	json_t *value = json_object_get(reader->object, key);
	double number = json_number_value(value);

	if (value && (!json_is_number(value) || !(number >= min && number <= max)))
		refuse(reader, key, value, what);
	return number;
}

/* The id it names, else the lowest that none of the list has. */
static gs_id take_id(struct reader *reader, gs_id limit, bool *ret_is_given)
{
	struct ids *ids = reader->ids;
	json_t *value = json_object_get(reader->object, "id");
	json_int_t id = json_integer_value(value);

	*ret_is_given = value != NULL;
	if (value && (!json_is_integer(value) || id < 1 || id > limit)) {
		char what[48];

		snprintf(what, sizeof(what), "is not an id (1 to %u)", limit);
		refuse(reader, "id", value, what);
		return 0;
	}
	if (value)
		return (gs_id)id;
	do
		ids->next++;
	while (ids->next <= UINT16_MAX && ids->used[ids->next / 8] & 1 << ids->next % 8);
	return (gs_id)ids->next;
}

/* What objects of a list name, before any of them is read. 0 or -EINVAL. */
static int find_ids(const json_t *list, const char *name, struct ids *ids, struct gs_error *error)
{
	const json_t *object;
	size_t i;

	memset(ids, 0, sizeof(*ids));
	json_array_foreach (list, i, object) {
		json_int_t id = json_integer_value(json_object_get(object, "id"));

		if (id < 1 || id > UINT16_MAX)
			continue;
		if (ids->used[id / 8] & 1 << id % 8)
			return gs_error_set(-EINVAL, error, "%s[%zu].id: %lld is another one's too",
					    name, i, (long long)id);
		ids->used[id / 8] = (uint8_t)(ids->used[id / 8] | 1 << id % 8);
		ids->any_given = true;
	}
	return 0;
}

static int compare_ids(const void *left, const void *right)
{
	gs_id a, b; /* every object begins with it */

	memcpy(&a, left, sizeof(a));
	memcpy(&b, right, sizeof(b));
	return (int)a - (int)b;
}

static uint16_t get_port(struct reader *reader, const char *key)
{
	return (uint16_t)get_integer(reader, key, 0, 0, UINT16_MAX, "is not a port (0 to 65535)");
}

static enum gs_admin get_admin(struct reader *reader)
{
	static const char what[] =
		"is not one of auto, force_up, drain, maintenance and force_down";
	const char *word = get_word(reader, "admin", what);
	enum gs_admin admin = GS_ADMIN_AUTO;

	if (word && gs_admin_parse(word, &admin) != 0)
		refuse(reader, "admin", json_object_get(reader->object, "admin"), what);
	return admin;
}

/* null and "" are no deadline, as if it were not there. */
static int64_t get_drain(struct reader *reader, enum gs_admin admin)
{
	const json_t *value = json_object_get(reader->object, "drain_until");
	const char *text = json_string_value(value);
	int64_t unix_ms = 0;

	if (!value || json_is_null(value) || (text && !*text))
		return 0;
	if (!text || gs_moment_parse(text, &unix_ms) != 0)
		refuse(reader, "drain_until", value,
		       "is not a time (as 2026-11-26T03:00:00Z, RFC 3339)");
	else if (admin != GS_ADMIN_DRAIN)
		refuse(reader, "drain_until", value, "needs \"admin\": \"drain\"");
	return unix_ms;
}

static void get_addr(struct reader *reader, const char *key, struct gs_addr *out)
{
	const char *word;

	need(reader, key);
	word = get_word(reader, key, "is not an IP address");
	if (word && gs_addr_parse(word, out) != 0)
		refuse(reader, key, json_object_get(reader->object, key), "is not an IP address");
	else if (word && !gs_addr_is_host(out))
		refuse(reader, key, json_object_get(reader->object, key),
		       "is not one unicast address (unspecified, loopback, multicast, link-local "
		       "or reserved)");
}

static gs_id region_id(struct reader *reader, const struct gs_snapshot *snapshot, const char *key,
		       const json_t *value)
{
	const struct gs_region *region =
		json_is_string(value) ? gs_snapshot_region_named(snapshot, json_string_value(value))
				      : NULL;

	if (!region)
		refuse_name(reader, key, value, snapshot, GS_KIND_REGION);
	return region ? region->id : 0;
}

static gs_id get_region(struct reader *reader, const struct gs_snapshot *snapshot)
{
	need(reader, "region");
	if (reader->ret)
		return 0;
	return region_id(reader, snapshot, "region", json_object_get(reader->object, "region"));
}

static uint32_t get_limit(struct reader *reader, const char *key)
{
	return (uint32_t)get_integer(reader, key, 0, 0, GS_LIMIT_MAX,
				     "is not a limit (1 to 1000000000 a second; 0: none)");
}

static void get_prefix(struct reader *reader, struct gs_prefix *out)
{
	const char *word;
	int ret;

	need(reader, "prefix");
	word = get_word(reader, "prefix", "is not a prefix");
	ret = word ? gs_prefix_parse(word, out) : 0;
	if (ret)
		refuse(reader, "prefix", json_object_get(reader->object, "prefix"),
		       ret == -EDOM ? "has bits set beyond its length" : "is not a prefix");
}

static void get_place(struct reader *reader, struct gs_place *out)
{
	static const char what[] = "is not a place (everybody, continent:EU, country:DE, "
				   "subdivision:US-CA)";
	const char *word;

	need(reader, "place");
	word = get_word(reader, "place", what);
	if (word && gs_place_parse(word, out) != 0)
		refuse(reader, "place", json_object_get(reader->object, "place"), what);
}

/* A reader of an object in the parent's; the caller takes its ret back. */
static struct reader inner_reader(const struct reader *parent, const char *key)
{
	struct reader reader = {.object = json_object_get(parent->object, key),
				.error = parent->error,
				.ret = parent->ret};

	snprintf(reader.path, sizeof(reader.path), "%.80s.%s", parent->path, key);
	return reader;
}

/* ---- objects ---------------------------------------------------------------------------------*/

static void read_region_limits(struct reader *parent, struct gs_region *region)
{
	static const char *const keys[] = {"packets", "flows", NULL};
	struct reader reader = inner_reader(parent, "limits");

	if (!reader.object)
		return;
	check_object(&reader, keys);
	region->limit_packets = get_limit(&reader, "packets");
	region->limit_flows = get_limit(&reader, "flows");
	parent->ret = reader.ret;
}

static void read_region(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",     "latitude",     "longitude", "cost",
					   "capacity", "availability", "target",    "admin",
					   "limits",   "drain_until",  "id",	    NULL};
	struct gs_region *region = &snapshot->regions[i];

	check_object(reader, keys);
	get_name(reader, region->name);
	need(reader, "latitude");
	need(reader, "longitude");
	region->id = take_id(reader, GS_ID_MAX_REGION, &region->id_is_given);
	region->coord.lat_deg =
		get_number(reader, "latitude", -90, 90, "is not a latitude (-90 to 90)");
	region->coord.lon_deg =
		get_number(reader, "longitude", -180, 180, "is not a longitude (-180 to 180)");
	region->cost = get_number(reader, "cost", 0, 1e300, "is not a cost (a number, 0 or more)");
	region->capacity = (uint64_t)get_integer(reader, "capacity", 0, 0, INT64_MAX,
						 "is not a capacity (0 or more, 0: not stated)");
	region->availability = get_number(reader, "availability", 0, 100,
					  "is not a percentage (0 to 100, 0: not stated)");
	region->target =
		(uint8_t)get_integer(reader, "target", 0, 0, 100,
				     "is not a percentage (1 to 100 of the capacity, 0: 80)");
	region->admin = get_admin(reader);
	region->drain_until_unix_ms = get_drain(reader, region->admin);
	read_region_limits(reader, region);
}

/* Without a kind a policy that has a rank is of kind ranked. */
static void read_policy_kind(struct reader *reader, struct gs_policy *policy)
{
	static const char what[] =
		"is not one of geo, failover, latency, cost, availability, weighted and ranked";
	const json_t *rank = json_object_get(reader->object, "rank");
	const char *kind = get_word(reader, "kind", what);

	policy->kind = GS_POLICY_RANKED;
	if (kind && gs_policy_kind_parse(kind, &policy->kind) != 0)
		refuse(reader, "kind", json_object_get(reader->object, "kind"), what);
	if (!kind && !rank)
		need(reader, "kind");
}

static void read_rank(struct reader *reader, struct gs_policy *policy)
{
	json_t *rank = json_object_get(reader->object, "rank"), *word;
	const char *wrong;
	size_t c;

	if (policy->kind == GS_POLICY_RANKED)
		need(reader, "rank");
	if (rank && (!json_is_array(rank) || json_array_size(rank) > GS_RANK_MAX))
		refuse(reader, "rank", rank, "is not a list of up to 4 criteria");
	if (reader->ret)
		return;
	json_array_foreach (rank, c, word) {
		enum gs_criterion criterion = GS_BY__COUNT;

		if (!json_is_string(word) ||
		    gs_criterion_parse(json_string_value(word), &criterion) != 0)
			refuse(reader, "rank", word,
			       "is not one of order, geo, latency, cost, availability and weight");
		policy->rank[c] = (uint8_t)criterion;
	}
	policy->rank_count = (uint8_t)json_array_size(rank);
	if (reader->ret)
		return;
	if (policy->kind != GS_POLICY_RANKED && policy->rank_count > 0) {
		refuse(reader, "rank", rank, "needs \"kind\": \"ranked\", or no kind");
		return;
	}
	wrong = policy->kind == GS_POLICY_RANKED ? gs_rank_error(policy->rank, policy->rank_count)
						 : NULL;
	if (wrong)
		refuse(reader, "rank", rank, wrong);
}

static void read_order(struct reader *reader, const struct gs_snapshot *snapshot,
		       struct gs_policy *policy)
{
	json_t *order = json_object_get(reader->object, "order"), *region;
	size_t place;

	need(reader, "order");
	if (reader->ret)
		return;
	if (!json_is_array(order) || json_array_size(order) < 1 ||
	    json_array_size(order) > GS_POLICY_ORDER_MAX) {
		refuse(reader, "order", order, "is not a list of 1 to 16 regions");
		return;
	}
	json_array_foreach (order, place, region) {
		char key[32];
		gs_id id;

		snprintf(key, sizeof(key), "order[%zu]", place);
		id = region_id(reader, snapshot, key, region);
		if (gs_policy_place(policy, id) >= 0)
			refuse(reader, key, region, "is in the order twice");
		gs_policy_add(policy, id);
	}
}

/* "bias" or "weight": {"eu": 70}, of regions of the order. */
static void read_numbers(struct reader *reader, const struct gs_snapshot *snapshot,
			 struct gs_policy *policy, const char *key)
{
	json_t *map = json_object_get(reader->object, key), *value;
	bool is_bias = strcmp(key, "bias") == 0;
	const char *name;

	if (map && !json_is_object(map))
		refuse(reader, key, map, "is not an object of regions and numbers");
	if (reader->ret)
		return;
	json_object_foreach (map, name, value) {
		const struct gs_region *region = gs_snapshot_region_named(snapshot, name);
		int place = region ? gs_policy_place(policy, region->id) : -1;
		json_int_t number = json_integer_value(value);
		char path[GS_NAME_MAX + 16];

		snprintf(path, sizeof(path), "%s.%.63s", key, name);
		if (place < 0)
			refuse(reader, path, value, "is of no region of the policy's order");
		else if (is_bias &&
			 (!json_is_integer(value) || number < -GS_BIAS_MAX || number > GS_BIAS_MAX))
			refuse(reader, path, value, "is not a bias (-99 to 99 percent)");
		else if (!is_bias &&
			 (!json_is_integer(value) || number < 0 || number > GS_POLICY_WEIGHT_MAX))
			refuse(reader, path, value, "is not a weight (0 to 1000)");
		else if (is_bias)
			policy->bias[place] = (int8_t)number;
		else
			policy->weight[place] = (uint16_t)number;
	}
}

static void read_policy(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",	   "kind", "order",  "rank", "band_ms",
					   "band_percent", "bias", "weight", "id",   NULL};
	struct gs_policy *policy = &snapshot->policies[i];

	check_object(reader, keys);
	get_name(reader, policy->name);
	gs_policy_default(policy);
	policy->id = take_id(reader, GS_ID_MAX_POLICY, &policy->id_is_given);
	read_policy_kind(reader, policy);
	read_rank(reader, policy);
	policy->band_ms =
		(uint16_t)get_integer(reader, "band_ms", policy->band_ms, 0, GS_BAND_MS_MAX,
				      "is not a number of milliseconds (0 to 10000)");
	policy->band_percent =
		(uint8_t)get_integer(reader, "band_percent", policy->band_percent, 0,
				     GS_BAND_PERCENT_MAX, "is not a percentage (0 to 100)");
	read_order(reader, snapshot, policy);
	read_numbers(reader, snapshot, policy, "bias");
	read_numbers(reader, snapshot, policy, "weight");
}

static void read_probe_numbers(struct reader *reader, struct gs_probe_spec *probe)
{
	static const char interval[] = "is not an interval (10 to 3600000 ms)";
	static const char count[] = "is not a number of probes (1 to 100)";

	probe->port = get_port(reader, "port");
	probe->interval_ms = (uint32_t)get_integer(reader, "interval_ms", probe->interval_ms, 10,
						   3600000, interval);
	probe->timeout_ms = (uint32_t)get_integer(reader, "timeout_ms", probe->timeout_ms, 10,
						  60000, "is not a timeout (10 to 60000 ms)");
	probe->fast_interval_ms = (uint32_t)get_integer(
		reader, "fast_interval_ms", probe->fast_interval_ms, 10, 3600000, interval);
	probe->down_interval_ms = (uint32_t)get_integer(
		reader, "down_interval_ms", probe->down_interval_ms, 10, 3600000, interval);
	probe->rise = (uint8_t)get_integer(reader, "rise", probe->rise, 1, 100, count);
	probe->fall = (uint8_t)get_integer(reader, "fall", probe->fall, 1, 100, count);
	probe->clear = (uint8_t)get_integer(reader, "clear", probe->clear, 1, 100, count);
}

/* A list of texts without commas, joined by them; false: it is something else, or too long. */
static bool join_texts(const json_t *list, char *out, size_t size)
{
	size_t length = 0, i;
	const json_t *value;

	out[0] = '\0';
	if (!json_is_array(list))
		return false;
	json_array_foreach (list, i, value) {
		const char *text = json_string_value(value);

		if (!text || !*text || strchr(text, ',') || length + strlen(text) + 2 > size)
			return false;
		length += (size_t)snprintf(out + length, size - length, "%s%s", i ? "," : "", text);
	}
	return true;
}

/* An empty text is the default, as if it were not there. */
static void read_probe_texts(struct reader *reader, struct gs_probe_spec *probe)
{
	for (uint32_t t = 0; reader->ret == 0 && t < GS_PROBE_TEXTS; t++) {
		const struct gs_probe_text *text = gs_probe_text(t);
		const json_t *value = json_object_get(reader->object, text->member);
		const char *word = json_string_value(value);
		char joined[sizeof(probe->arguments)];

		if (text->is_list && value)
			word = join_texts(value, joined, sizeof(joined)) ? joined : NULL;
		if (value &&
		    (!word || !gs_probe_text_set(probe, t, *word ? word : text->otherwise)))
			refuse(reader, text->member, value, text->what);
	}
	/* Here and not in the snapshot's check alone: errors quote what was written. */
	for (uint32_t t = 0; reader->ret == 0 && t < GS_PROBE_TEXTS; t++) {
		const struct gs_probe_text *text = gs_probe_text(t);
		const json_t *value = json_object_get(reader->object, text->member);

		if (value && !gs_probe_text_is_valid(probe, t))
			refuse(reader, text->member, value, text->what);
	}
}

static void read_probe(struct reader *parent, json_t *object, struct gs_probe_spec *probe)
{
	static const char *const numbers[] = {"kind",
					      "port",
					      "path",
					      "host",
					      "interval_ms",
					      "timeout_ms",
					      "fast_interval_ms",
					      "down_interval_ms",
					      "rise",
					      "fall",
					      "clear"};
	static const char what[] =
		"is not one of none, tcp, http, https, udp, dns, grpc, grpcs, icmp and exec";
	const char *keys[ARRAY_SIZE(numbers) + GS_PROBE_TEXTS + 1] = {NULL};
	struct reader reader = {.object = object, .error = parent->error, .ret = parent->ret};
	const char *kind;

	*probe = gs_probe_spec_default();
	snprintf(probe->path, sizeof(probe->path), "/");
	if (!object)
		return;
	snprintf(reader.path, sizeof(reader.path), "%.80s.probe", parent->path);
	memcpy(keys, numbers, sizeof(numbers));
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		keys[ARRAY_SIZE(numbers) + t] = gs_probe_text(t)->member;
	check_object(&reader, keys);
	kind = get_word(&reader, "kind", what);
	if (kind && gs_probe_kind_parse(kind, &probe->kind) != 0)
		refuse(&reader, "kind", json_object_get(object, "kind"), what);
	get_text(&reader, "path", probe->path, sizeof(probe->path));
	get_text(&reader, "host", probe->host, sizeof(probe->host));
	read_probe_texts(&reader, probe);
	read_probe_numbers(&reader, probe);
	parent->ret = reader.ret;
}

static void read_breaker(struct reader *parent, json_t *object, struct gs_breaker_spec *spec)
{
	struct reader reader = {.object = object, .error = parent->error, .ret = parent->ret};
	const char *keys[GS_BREAKER_FIELDS + 1] = {NULL};

	*spec = gs_breaker_spec_default();
	if (!object)
		return;
	snprintf(reader.path, sizeof(reader.path), "%.80s.breaker", parent->path);
	for (uint32_t f = 0; f < GS_BREAKER_FIELDS; f++)
		keys[f] = gs_breaker_field(f)->name;
	check_object(&reader, keys);
	for (uint32_t f = 0; reader.ret == 0 && f < GS_BREAKER_FIELDS; f++) {
		const struct gs_breaker_field *field = gs_breaker_field(f);
		json_t *value = json_object_get(object, field->name);
		char what[64];

		if (f == 0 && value && !json_is_boolean(value)) {
			refuse(&reader, field->name, value, "is not true or false");
		} else if (f == 0) {
			spec->enabled = !value || json_is_true(value);
		} else {
			snprintf(what, sizeof(what), "is not a whole number from %lld to %lld",
				 (long long)field->min, (long long)field->max);
			gs_breaker_field_set(spec, f,
					     get_integer(&reader, field->name,
							 gs_breaker_field_get(spec, f), field->min,
							 field->max, what));
		}
	}
	if (reader.ret == 0 && spec->open_max_ms < spec->open_ms)
		refuse(&reader, "open_max_ms", json_object_get(object, "open_max_ms"),
		       "is less than open_ms");
	parent->ret = reader.ret;
}

/* "affinity", "limits", "stale" or "damping". what: NULL, or what a kind has to be, which read_kind
 * knows. */
static void read_group(struct reader *parent, const char *group, struct gs_service *service,
		       const char *what,
		       int (*read_kind)(const char *word, struct gs_service *service))
{
	struct reader reader = inner_reader(parent, group);
	const char *keys[GS_SERVICE_NUMBERS + 2] = {NULL};
	const char *kind;
	size_t count = 0;

	if (!reader.object)
		return;
	if (what)
		keys[count++] = "kind";
	for (uint32_t n = 0; n < GS_SERVICE_NUMBERS; n++)
		if (strcmp(gs_service_number(n)->group, group) == 0)
			keys[count++] = gs_service_number(n)->member;
	check_object(&reader, keys);
	kind = what ? get_word(&reader, "kind", what) : NULL;
	if (kind && read_kind(kind, service) != 0)
		refuse(&reader, "kind", json_object_get(reader.object, "kind"), what);
	for (uint32_t n = 0; reader.ret == 0 && n < GS_SERVICE_NUMBERS; n++) {
		const struct gs_service_number *number = gs_service_number(n);
		char range[64];

		if (strcmp(number->group, group) != 0)
			continue;
		snprintf(range, sizeof(range), "is not a whole number from %u to %u", number->min,
			 number->max);
		gs_service_number_set(service, n,
				      (uint32_t)get_integer(&reader, number->member,
							    number->otherwise, number->min,
							    number->max, range));
	}
	parent->ret = reader.ret;
}

static int read_affine(const char *word, struct gs_service *service)
{
	return gs_affine_parse(word, &service->affinity.kind);
}

static int read_stale(const char *word, struct gs_service *service)
{
	return gs_stale_parse(word, &service->stale.kind);
}

static void read_spec(struct reader *reader, struct gs_service *service)
{
	gs_service_spec_default(service);
	read_group(reader, "affinity", service, "is not one of flow, client and prefix",
		   read_affine);
	read_group(reader, "limits", service, NULL, NULL);
	read_group(reader, "stale", service, "is not one of keep, pass and drop", read_stale);
	read_group(reader, "damping", service, NULL, NULL);
	if (reader->ret == 0 && service->damping.suppress > 0 &&
	    service->damping.reuse >= service->damping.suppress) {
		struct reader damping = inner_reader(reader, "damping");

		refuse(&damping, "reuse", json_object_get(damping.object, "reuse"),
		       "is not less than suppress");
		reader->ret = damping.ret;
	}
}

/* "fixed:REGION" is a kind and a region. */
static void read_all_down(struct reader *reader, const struct gs_snapshot *snapshot,
			  struct gs_panic_spec *panic)
{
	static const char what[] =
		"is not one of serve_any, last_good, fixed:REGION and fail_closed";
	const char *word = get_word(reader, "all_down", what);
	const struct gs_region *region = NULL;

	if (!word)
		return;
	if (strncmp(word, "fixed:", 6) == 0) {
		region = gs_snapshot_region_named(snapshot, word + 6);
		if (!region)
			refuse(reader, "all_down", json_object_get(reader->object, "all_down"),
			       "does not name a region");
		else
			*panic = (struct gs_panic_spec){.percent = panic->percent,
							.all_down = GS_ALL_DOWN_SERVES_FIXED,
							.region = region->id};
		return;
	}
	if (gs_all_down_parse(word, &panic->all_down) != 0 ||
	    panic->all_down == GS_ALL_DOWN_SERVES_FIXED)
		refuse(reader, "all_down", json_object_get(reader->object, "all_down"), what);
}

static void read_panic(struct reader *parent, const struct gs_snapshot *snapshot,
		       struct gs_panic_spec *panic)
{
	static const char *const keys[] = {"percent", "all_down", NULL};
	struct reader reader = inner_reader(parent, "panic");

	if (!reader.object)
		return;
	check_object(&reader, keys);
	panic->percent = (uint8_t)get_integer(&reader, "percent", GS_PANIC_PERCENT, 0, 100,
					      "is not a whole number from 0 (never) to 100");
	read_all_down(&reader, snapshot, panic);
	parent->ret = reader.ret;
}

static void read_service(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",   "vip",	"port",	   "protocol",
					   "policy", "probe",	"breaker", "affinity",
					   "limits", "stale",	"id",	   "failover_budget_ms",
					   "panic",  "damping", NULL};
	struct gs_service *service = &snapshot->services[i];
	const struct gs_policy *policy = NULL;
	const char *word;

	check_object(reader, keys);
	get_name(reader, service->name);
	get_addr(reader, "vip", &service->vip);
	need(reader, "port");
	need(reader, "protocol");
	need(reader, "policy");
	service->id = take_id(reader, GS_ID_MAX_SERVICE, &service->id_is_given);
	service->port = get_port(reader, "port");
	word = get_word(reader, "protocol", "is not one of tcp and udp");
	if (word && gs_protocol_parse(word, &service->protocol) != 0)
		refuse(reader, "protocol", json_object_get(reader->object, "protocol"),
		       "is not one of tcp and udp");
	word = get_word(reader, "policy", "is not the name of a policy");
	if (word)
		policy = gs_snapshot_policy_named(snapshot, word);
	if (policy)
		service->policy = policy->id;
	else if (word)
		refuse_name(reader, "policy", json_object_get(reader->object, "policy"), snapshot,
			    GS_KIND_POLICY);
	read_probe(reader, json_object_get(reader->object, "probe"), &service->probe);
	service->failover_budget_ms =
		(uint32_t)get_integer(reader, "failover_budget_ms", 0, 0, GS_FAILOVER_BUDGET_MAX_MS,
				      "is not a time (1 to 3600000 ms; 0: the edge's setting)");
	read_breaker(reader, json_object_get(reader->object, "breaker"), &service->breaker);
	read_spec(reader, service);
	read_panic(reader, snapshot, &service->panic);
}

static enum gs_forward get_forward(struct reader *reader)
{
	static const char what[] = "is not one of ipip, gue, l2 and nat";
	const char *word = get_word(reader, "forward", what);
	enum gs_forward forward = GS_FORWARD_AS_IPIP;

	if (word && gs_forward_parse(word, &forward) != 0)
		refuse(reader, "forward", json_object_get(reader->object, "forward"), what);
	return forward;
}

static void read_backend(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",	  "service", "region", "address",
					   "weight",	  "forward", "port",   "admin",
					   "drain_until", "id",	     NULL};
	struct gs_backend *backend = &snapshot->backends[i];
	const struct gs_service *service = NULL;
	const char *word;

	check_object(reader, keys);
	get_name(reader, backend->name);
	need(reader, "service");
	backend->id = take_id(reader, GS_ID_MAX_BACKEND, &backend->id_is_given);
	word = get_word(reader, "service", "is not the name of a service");
	if (word)
		service = gs_snapshot_service_named(snapshot, word);
	if (service)
		backend->service = service->id;
	else if (word)
		refuse_name(reader, "service", json_object_get(reader->object, "service"), snapshot,
			    GS_KIND_SERVICE);
	backend->region = get_region(reader, snapshot);
	get_addr(reader, "address", &backend->addr);
	backend->weight = (uint16_t)get_integer(reader, "weight", 100, 1, 1000,
						"is not a weight (1 to 1000)");
	backend->forward = get_forward(reader);
	backend->port = get_port(reader, "port");
	if (backend->port != 0 && backend->forward != GS_FORWARD_AS_NAT)
		refuse(reader, "port", json_object_get(reader->object, "port"),
		       "needs \"forward\": \"nat\"");
	backend->admin = get_admin(reader);
	backend->drain_until_unix_ms = get_drain(reader, backend->admin);
}

static void get_asn(struct reader *reader, uint32_t *ret_asn)
{
	static const char what[] = "is not an AS number (AS64500)";
	const char *text = get_word(reader, "asn", what);

	if (text && gs_asn_parse(text, ret_asn) != 0)
		refuse(reader, "asn", json_object_get(reader->object, "asn"), what);
}

static void read_override(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"prefix", "asn", "place", "region", "reason", NULL};
	struct gs_override *override = &snapshot->overrides[i];
	bool has_prefix, has_asn, has_place;

	check_object(reader, keys);
	has_prefix = json_object_get(reader->object, "prefix") != NULL;
	has_asn = json_object_get(reader->object, "asn") != NULL;
	has_place = json_object_get(reader->object, "place") != NULL;
	if (has_place && (has_prefix || has_asn))
		refuse(reader, "place", json_object_get(reader->object, "place"),
		       has_prefix ? "is one thing too many beside \"prefix\""
				  : "is one thing too many beside \"asn\"");
	else if (has_asn && has_prefix)
		refuse(reader, "asn", json_object_get(reader->object, "asn"),
		       "is one thing too many beside \"prefix\"");
	if (has_place)
		get_place(reader, &override->place);
	else if (has_asn)
		get_asn(reader, &override->asn);
	else
		get_prefix(reader, &override->prefix);
	if (has_place && override->place.kind == GS_PLACE_EVERYBODY)
		refuse(reader, "place", json_object_get(reader->object, "place"),
		       "is for fences: where everybody goes is a policy");
	override->region = get_region(reader, snapshot);
	get_text(reader, "reason", override->reason, sizeof(override->reason));
}

static gs_id get_service(struct reader *reader, const struct gs_snapshot *snapshot)
{
	const char *name = get_word(reader, "service", "is not the name of a service");
	const struct gs_service *service;

	if (!name || !*name)
		return 0;
	service = gs_snapshot_service_named(snapshot, name);
	if (!service)
		refuse_name(reader, "service", json_object_get(reader->object, "service"), snapshot,
			    GS_KIND_SERVICE);
	return service ? service->id : 0;
}

static void read_fenced_regions(struct reader *reader, const struct gs_snapshot *snapshot,
				struct gs_fence *fence)
{
	json_t *regions = json_object_get(reader->object, "regions"), *region;
	size_t r;

	need(reader, "regions");
	if (reader->ret)
		return;
	if (!json_is_array(regions) || json_array_size(regions) < 1 ||
	    json_array_size(regions) > GS_FENCE_REGIONS_MAX) {
		refuse(reader, "regions", regions, "is not a list of 1 to 32 regions");
		return;
	}
	json_array_foreach (regions, r, region) {
		char key[32];

		snprintf(key, sizeof(key), "regions[%zu]", r);
		fence->regions[r] = region_id(reader, snapshot, key, region);
		for (size_t before = 0; before < r; before++)
			if (fence->regions[before] == fence->regions[r])
				refuse(reader, key, region, "is in the list twice");
	}
	fence->region_count = (uint8_t)json_array_size(regions);
}

static void read_fence(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"place",   "service", "regions",
					   "unknown", "reason",	 NULL};
	static const char what[] = "is not one of free and fenced";
	struct gs_fence *fence = &snapshot->fences[i];
	const char *unknown;

	check_object(reader, keys);
	get_place(reader, &fence->place);
	fence->service = get_service(reader, snapshot);
	read_fenced_regions(reader, snapshot, fence);
	unknown = get_word(reader, "unknown", what);
	if (unknown && strcmp(unknown, "free") != 0 && strcmp(unknown, "fenced") != 0)
		refuse(reader, "unknown", json_object_get(reader->object, "unknown"), what);
	fence->holds_unknown = unknown && strcmp(unknown, "fenced") == 0;
	get_text(reader, "reason", fence->reason, sizeof(fence->reason));
	/* Here and not in the snapshot's check, which sees them sorted: places would be wrong. */
	if (!gs_text_is_valid(fence->reason, sizeof(fence->reason) - 1))
		refuse(reader, "reason", json_object_get(reader->object, "reason"),
		       "has control characters");
}

/* No service, or an empty name, is every service. */
static void read_access(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"prefix", "service", "action", "reason", NULL};
	struct gs_access *access = &snapshot->access[i];
	const char *action;

	check_object(reader, keys);
	get_prefix(reader, &access->prefix);
	need(reader, "action");
	access->service = get_service(reader, snapshot);
	action = get_word(reader, "action", "is not one of allow and deny");
	if (action && strcmp(action, "allow") != 0 && strcmp(action, "deny") != 0)
		refuse(reader, "action", json_object_get(reader->object, "action"),
		       "is not one of allow and deny");
	access->allow = action && action[0] == 'a';
	get_text(reader, "reason", access->reason, sizeof(access->reason));
	/* Here and not in the snapshot's check, which sees them sorted: places would be wrong. */
	if (!gs_text_is_valid(access->reason, sizeof(access->reason) - 1))
		refuse(reader, "reason", json_object_get(reader->object, "reason"),
		       "has control characters");
}

/* ---- the document ----------------------------------------------------------------------------*/

/* In the order they are read: what is referred to comes first. */
static const struct {
	const char *name;
	void (*read)(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i);
} lists[] = {
	[GS_KIND_REGION] = {"regions", read_region},
	[GS_KIND_POLICY] = {"policies", read_policy},
	[GS_KIND_SERVICE] = {"services", read_service},
	[GS_KIND_BACKEND] = {"backends", read_backend},
	[GS_KIND_OVERRIDE] = {"overrides", read_override},
	[GS_KIND_ACCESS] = {"access", read_access},
	[GS_KIND_FENCE] = {"fences", read_fence},
};

static int check_lists(json_t *json, struct gs_error *error)
{
	static const char *const keys[] = {"regions",  "policies",	 "services",
					   "backends", "overrides",	 "access",
					   "fences",   "selection_seed", NULL};
	struct reader reader = {.object = json, .path = "document", .error = error};
	char quoted[48];

	check_object(&reader, keys);
	for (size_t l = 0; reader.ret == 0 && l < ARRAY_SIZE(lists); l++) {
		json_t *list = json_object_get(json, lists[l].name);

		if (!list && l < GS_KIND_OVERRIDE)
			return gs_error_set(-EINVAL, error,
					    "document: \"%s\" is missing (an empty list [] would "
					    "say there are none)",
					    lists[l].name);
		if (list && !json_is_array(list))
			return gs_error_set(-EINVAL, error, "%s: %s is not a list", lists[l].name,
					    quote(list, quoted));
		/* Ids have 16 bits; gs_snapshot_check knows the real limits. */
		if (json_array_size(list) > 2 * UINT16_MAX + 2)
			return gs_error_set(-EINVAL, error, "%s: %zu of them are too many",
					    lists[l].name, json_array_size(list));
	}
	return reader.ret;
}

static int read_seed(const json_t *json, struct gs_snapshot *snapshot, struct gs_error *error)
{
	const json_t *value = json_object_get(json, "selection_seed");
	const char *text = json_string_value(value);
	char quoted[48];

	if (!value)
		return 0;
	if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return gs_error_set(-EINVAL, error,
				    "selection_seed: %s is not 16 hexadecimal digits (0-9, a-f)",
				    quote(value, quoted));
	snapshot->selection_seed = strtoull(text, NULL, 16);
	snapshot->seed_is_given = true;
	return 0;
}

/* As gs_snapshot wants them; with ids of its own choosing they are sorted already. */
static void sort_list(struct gs_snapshot *snapshot, size_t list, uint32_t count)
{
	switch (list) {
	case GS_KIND_REGION:
		qsort(snapshot->regions, count, sizeof(*snapshot->regions), compare_ids);
		break;
	case GS_KIND_POLICY:
		qsort(snapshot->policies, count, sizeof(*snapshot->policies), compare_ids);
		break;
	case GS_KIND_SERVICE:
		qsort(snapshot->services, count, sizeof(*snapshot->services), compare_ids);
		break;
	case GS_KIND_BACKEND:
		qsort(snapshot->backends, count, sizeof(*snapshot->backends), compare_ids);
		break;
	default:
		break;
	}
}

struct numbered {
	struct gs_access access;
	uint32_t place; /* in the document */
};

static int compare_numbered(const void *left, const void *right)
{
	const struct numbered *a = left, *b = right;
	int order = gs_access_compare(&a->access, &b->access);

	return order ? order : (a->place > b->place) - (a->place < b->place);
}

/* By prefix and service, as gs_snapshot has them; two of one are refused by their places. */
static int sort_access(struct gs_snapshot *snapshot, struct gs_error *error)
{
	uint32_t count = snapshot->access_count;
	GS_AUTO_FREE struct numbered *sorted = calloc(count + 1u, sizeof(*sorted));
	char text[GS_PREFIX_TEXT_MAX];

	if (!sorted)
		return gs_error_set(-ENOMEM, error, "no memory for the document");
	for (uint32_t i = 0; i < count; i++)
		sorted[i] = (struct numbered){snapshot->access[i], i};
	qsort(sorted, count, sizeof(*sorted), compare_numbered);
	for (uint32_t i = 0; i < count; i++) {
		snapshot->access[i] = sorted[i].access;
		if (i > 0 && gs_access_compare(&sorted[i - 1].access, &sorted[i].access) == 0)
			return gs_error_set(
				-EINVAL, error,
				"access[%u].prefix: %s of the same service is also access[%u]",
				sorted[i].place, gs_prefix_format(&sorted[i].access.prefix, text),
				sorted[i - 1].place);
	}
	return 0;
}

struct numbered_fence {
	struct gs_fence fence;
	uint32_t place;
};

static int compare_fences(const void *left, const void *right)
{
	const struct numbered_fence *a = left, *b = right;
	int order = gs_fence_compare(&a->fence, &b->fence);

	return order ? order : (a->place > b->place) - (a->place < b->place);
}

/* By place and service, as gs_snapshot has them; two of one are refused by their places. */
static int sort_fences(struct gs_snapshot *snapshot, struct gs_error *error)
{
	uint32_t count = snapshot->fence_count;
	GS_AUTO_FREE struct numbered_fence *sorted = calloc(count + 1u, sizeof(*sorted));
	char text[GS_PLACE_TEXT_MAX];

	if (!sorted)
		return gs_error_set(-ENOMEM, error, "no memory for the document");
	for (uint32_t i = 0; i < count; i++)
		sorted[i] = (struct numbered_fence){snapshot->fences[i], i};
	qsort(sorted, count, sizeof(*sorted), compare_fences);
	for (uint32_t i = 0; i < count; i++) {
		snapshot->fences[i] = sorted[i].fence;
		if (i > 0 && gs_fence_compare(&sorted[i - 1].fence, &sorted[i].fence) == 0)
			return gs_error_set(-EINVAL, error,
					    "fences[%u].place: %s of the same service is also "
					    "fences[%u]",
					    sorted[i].place,
					    gs_place_format(&sorted[i].fence.place, text),
					    sorted[i - 1].place);
	}
	return 0;
}

static int read_list(const json_t *json, size_t l, struct gs_snapshot *snapshot,
		     struct gs_error *error)
{
	const json_t *list = json_object_get(json, lists[l].name);
	uint32_t count = (uint32_t)json_array_size(list);
	struct ids ids;
	int ret = find_ids(list, lists[l].name, &ids, error);

	for (uint32_t i = 0; ret == 0 && i < count; i++) {
		struct reader reader = {
			.object = json_array_get(list, i), .error = error, .ids = &ids};

		snprintf(reader.path, sizeof(reader.path), "%s[%u]", lists[l].name, i);
		lists[l].read(&reader, snapshot, i);
		ret = reader.ret;
	}
	if (ret == 0 && ids.any_given)
		sort_list(snapshot, l, count);
	if (ret == 0 && l == GS_KIND_ACCESS)
		ret = sort_access(snapshot, error);
	if (ret == 0 && l == GS_KIND_FENCE)
		ret = sort_fences(snapshot, error);
	return ret;
}

int gs_document_read(json_t *json, struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	GS_CLEANUP(free_snapshot_ptr) struct gs_snapshot *snapshot = NULL;
	struct gs_snapshot counts = {0};
	int ret = check_lists(json, error);

	if (ret)
		return ret;
	counts.region_count = (uint32_t)json_array_size(json_object_get(json, "regions"));
	counts.policy_count = (uint32_t)json_array_size(json_object_get(json, "policies"));
	counts.service_count = (uint32_t)json_array_size(json_object_get(json, "services"));
	counts.backend_count = (uint32_t)json_array_size(json_object_get(json, "backends"));
	counts.override_count = (uint32_t)json_array_size(json_object_get(json, "overrides"));
	counts.access_count = (uint32_t)json_array_size(json_object_get(json, "access"));
	counts.fence_count = (uint32_t)json_array_size(json_object_get(json, "fences"));
	if (gs_snapshot_new(&counts, &snapshot) != 0)
		return gs_error_set(-ENOMEM, error, "no memory for the document");
	ret = read_seed(json, snapshot, error);
	for (size_t l = 0; ret == 0 && l < ARRAY_SIZE(lists); l++)
		ret = read_list(json, l, snapshot, error);
	ret = ret ? ret : gs_snapshot_check(snapshot, error);
	if (ret)
		return ret;
	*ret_snapshot = gs_take_ptr(snapshot);
	return 0;
}

int gs_document_parse(const char *text, size_t length, const char *name,
		      struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	struct gs_error why = {0};
	json_error_t syntax;
	AUTO_JSON json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &syntax);
	int ret;

	if (!json)
		return gs_error_set(-EINVAL, error, "%s:%d: %s", name, syntax.line, syntax.text);
	ret = gs_document_read(json, ret_snapshot, &why);
	if (ret)
		return gs_error_set(ret, error, "%s:%d: %s", name,
				    gs_json_line(text, length, why.text), why.text);
	return 0;
}

static int read_stream(FILE *file, char **ret_text, size_t *ret_length)
{
	GS_AUTO_FREE char *text = NULL;
	size_t length = 0, room = 0;

	for (;;) {
		size_t done;

		if (room - length < 65536) {
			char *bigger = realloc(text, room = room * 2 + 131072);

			if (!bigger)
				return -ENOMEM;
			text = bigger;
		}
		done = fread(text + length, 1, room - length, file);
		length += done;
		if (length > DOCUMENT_BYTES_MAX)
			return -EFBIG;
		if (ferror(file))
			return -EIO;
		if (done == 0)
			break;
	}
	*ret_text = gs_take_ptr(text);
	*ret_length = length;
	return 0;
}

int gs_document_load(const char *path, struct gs_snapshot **ret_snapshot, struct gs_error *error)
{
	bool is_stdin = strcmp(path, "-") == 0;
	GS_AUTO_FREE char *text = NULL;
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	size_t length = 0;
	int ret;

	if (!file)
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	ret = read_stream(file, &text, &length);
	if (!is_stdin)
		fclose(file);
	if (ret)
		return gs_error_set(ret, error, "%s: %s", path,
				    ret == -EIO ? "cannot be read" : strerror(-ret));
	return gs_document_parse(text, length, is_stdin ? "standard input" : path, ret_snapshot,
				 error);
}

/* ---- back to a document ----------------------------------------------------------------------*/

static gs_id id_of(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index)
{
	switch (kind) {
	case GS_KIND_REGION:
		return snapshot->regions[index].id;
	case GS_KIND_POLICY:
		return snapshot->policies[index].id;
	case GS_KIND_SERVICE:
		return snapshot->services[index].id;
	case GS_KIND_BACKEND:
		return snapshot->backends[index].id;
	default:
		return 0; /* what is known by its prefix has none */
	}
}

/* "probe_kind" goes into "probe" as "kind". */
static void put_field(json_t *object, const char *name, json_t *value)
{
	const char *group, *member;
	json_t *inner = object;

	gs_field_place(name, &group, &member);
	if (group) {
		inner = json_object_get(object, group);
		if (!inner) {
			inner = json_object();
			json_object_set_new(object, group, inner);
		}
	}
	json_object_set(inner, member, value);
}

json_t *gs_document_object(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
			   bool exact)
{
	GS_AUTO_FREE struct gs_fields *fields = malloc(sizeof(*fields));
	AUTO_JSON json_t *flat = NULL;
	json_t *object = json_object(), *value;
	const char *name;

	if (!fields || !object)
		return NULL;
	gs_fields_get(snapshot, kind, index, fields);
	flat = gs_fields_json(fields);
	if (!flat) {
		json_decref(object);
		return NULL;
	}
	json_object_foreach (flat, name, value)
		put_field(object, name, value);
	if (exact && kind < GS_KIND_OVERRIDE)
		json_object_set_new(object, "id", json_integer(id_of(snapshot, kind, index)));
	return object;
}

json_t *gs_document_json(const struct gs_snapshot *snapshot, bool exact)
{
	json_t *document = json_object();
	char seed[17];

	snprintf(seed, sizeof(seed), "%016" PRIx64, snapshot->selection_seed);
	if (exact)
		json_object_set_new(document, "selection_seed", json_string(seed));
	for (size_t l = 0; document && l < ARRAY_SIZE(lists); l++) {
		json_t *list = json_array();
		int failed = json_object_set_new(document, lists[l].name, list);

		for (uint32_t i = 0; !failed && i < gs_kind_count(snapshot, (enum gs_kind)l); i++)
			failed = json_array_append_new(
				list, gs_document_object(snapshot, (enum gs_kind)l, i, exact));
		if (failed) {
			json_decref(document);
			return NULL;
		}
	}
	return document;
}
