// SPDX-License-Identifier: Apache-2.0
#include "user/app/document.h"

#include "user/app/json_line.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/suggest.h"
#include "user/core/cidr.h"
#include "user/core/health.h"
#include "user/core/snapshot.h"

#include <errno.h>
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
		refuse(reader, key, value, "is not the name of a region of this document");
	return region ? region->id : 0;
}

static gs_id get_region(struct reader *reader, const struct gs_snapshot *snapshot)
{
	need(reader, "region");
	if (reader->ret)
		return 0;
	return region_id(reader, snapshot, "region", json_object_get(reader->object, "region"));
}

/* ---- objects ---------------------------------------------------------------------------------*/

static void read_region(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",     "latitude", "longitude", "cost",
					   "capacity", "admin",	   NULL};
	struct gs_region *region = &snapshot->regions[i];

	check_object(reader, keys);
	get_name(reader, region->name);
	need(reader, "latitude");
	need(reader, "longitude");
	region->id = (gs_id)(i + 1);
	region->coord.lat_deg =
		get_number(reader, "latitude", -90, 90, "is not a latitude (-90 to 90)");
	region->coord.lon_deg =
		get_number(reader, "longitude", -180, 180, "is not a longitude (-180 to 180)");
	region->cost = get_number(reader, "cost", 0, 1e300, "is not a cost (a number, 0 or more)");
	region->capacity = (uint64_t)get_integer(reader, "capacity", 0, 0, INT64_MAX,
						 "is not a capacity (0 or more, 0: not stated)");
	region->admin = get_admin(reader);
}

static void read_policy(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name", "kind", "order", NULL};
	struct gs_policy *policy = &snapshot->policies[i];
	const char *kind;
	json_t *order, *region;
	size_t place;

	check_object(reader, keys);
	get_name(reader, policy->name);
	need(reader, "kind");
	need(reader, "order");
	policy->id = (gs_id)(i + 1);
	kind = get_word(reader, "kind", "is not one of geo and failover");
	if (kind && gs_policy_kind_parse(kind, &policy->kind) != 0)
		refuse(reader, "kind", json_object_get(reader->object, "kind"),
		       "is not one of geo and failover");
	order = json_object_get(reader->object, "order");
	if (reader->ret)
		return;
	if (!json_is_array(order) || json_array_size(order) < 1 ||
	    json_array_size(order) > GS_POLICY_ORDER_MAX) {
		refuse(reader, "order", order, "is not a list of 1 to 16 regions");
		return;
	}
	json_array_foreach (order, place, region) {
		char key[32];

		snprintf(key, sizeof(key), "order[%zu]", place);
		policy->order[place] = region_id(reader, snapshot, key, region);
		for (size_t before = 0; before < place; before++)
			if (policy->order[before] == policy->order[place])
				refuse(reader, key, region, "is in the order twice");
	}
	policy->order_count = (uint8_t)json_array_size(order);
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

static void read_probe(struct reader *parent, json_t *object, struct gs_probe_spec *probe)
{
	static const char *const keys[] = {"kind",
					   "port",
					   "path",
					   "host",
					   "interval_ms",
					   "timeout_ms",
					   "fast_interval_ms",
					   "down_interval_ms",
					   "rise",
					   "fall",
					   "clear",
					   NULL};
	static const char what[] = "is not one of none, tcp and http";
	struct reader reader = {.object = object, .error = parent->error, .ret = parent->ret};
	const char *kind;

	*probe = gs_probe_spec_default();
	snprintf(probe->path, sizeof(probe->path), "/");
	if (!object)
		return;
	snprintf(reader.path, sizeof(reader.path), "%.80s.probe", parent->path);
	check_object(&reader, keys);
	kind = get_word(&reader, "kind", what);
	if (kind && gs_probe_kind_parse(kind, &probe->kind) != 0)
		refuse(&reader, "kind", json_object_get(object, "kind"), what);
	get_text(&reader, "path", probe->path, sizeof(probe->path));
	get_text(&reader, "host", probe->host, sizeof(probe->host));
	read_probe_numbers(&reader, probe);
	parent->ret = reader.ret;
}

static void read_service(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",   "vip",   "port", "protocol",
					   "policy", "probe", NULL};
	struct gs_service *service = &snapshot->services[i];
	const struct gs_policy *policy = NULL;
	const char *word;

	check_object(reader, keys);
	get_name(reader, service->name);
	get_addr(reader, "vip", &service->vip);
	need(reader, "port");
	need(reader, "protocol");
	need(reader, "policy");
	service->id = (gs_id)(i + 1);
	service->port = get_port(reader, "port");
	word = get_word(reader, "protocol", "is not one of tcp and udp");
	if (word && gs_protocol_parse(word, &service->protocol) != 0)
		refuse(reader, "protocol", json_object_get(reader->object, "protocol"),
		       "is not one of tcp and udp");
	word = get_word(reader, "policy", "is not the name of a policy of this document");
	if (word)
		policy = gs_snapshot_policy_named(snapshot, word);
	if (policy)
		service->policy = policy->id;
	else if (word)
		refuse(reader, "policy", json_object_get(reader->object, "policy"),
		       "is not the name of a policy of this document");
	read_probe(reader, json_object_get(reader->object, "probe"), &service->probe);
}

static void read_backend(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"name",   "service", "region", "address",
					   "weight", "admin",	NULL};
	struct gs_backend *backend = &snapshot->backends[i];
	const struct gs_service *service = NULL;
	const char *word;

	check_object(reader, keys);
	get_name(reader, backend->name);
	need(reader, "service");
	backend->id = (gs_id)(i + 1);
	word = get_word(reader, "service", "is not the name of a service of this document");
	if (word)
		service = gs_snapshot_service_named(snapshot, word);
	if (service)
		backend->service = service->id;
	else if (word)
		refuse(reader, "service", json_object_get(reader->object, "service"),
		       "is not the name of a service of this document");
	backend->region = get_region(reader, snapshot);
	get_addr(reader, "address", &backend->addr);
	backend->weight = (uint16_t)get_integer(reader, "weight", 100, 1, 1000,
						"is not a weight (1 to 1000)");
	backend->admin = get_admin(reader);
}

static void read_override(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i)
{
	static const char *const keys[] = {"prefix", "region", "reason", NULL};
	struct gs_override *override = &snapshot->overrides[i];
	const char *word;
	int ret;

	check_object(reader, keys);
	need(reader, "prefix");
	word = get_word(reader, "prefix", "is not a prefix");
	ret = word ? gs_prefix_parse(word, &override->prefix) : 0;
	if (ret)
		refuse(reader, "prefix", json_object_get(reader->object, "prefix"),
		       ret == -EDOM ? "has bits set beyond its length" : "is not a prefix");
	override->region = get_region(reader, snapshot);
	get_text(reader, "reason", override->reason, sizeof(override->reason));
}

/* ---- the document ----------------------------------------------------------------------------*/

/* In the order they are read: what is referred to comes first. */
static const struct {
	const char *name;
	void (*read)(struct reader *reader, struct gs_snapshot *snapshot, uint32_t i);
} lists[] = {
	{"regions", read_region},   {"policies", read_policy},	  {"services", read_service},
	{"backends", read_backend}, {"overrides", read_override},
};

static int check_lists(json_t *json, struct gs_error *error)
{
	static const char *const keys[] = {"regions",  "policies",  "services",
					   "backends", "overrides", NULL};
	struct reader reader = {.object = json, .path = "document", .error = error};
	char quoted[48];

	check_object(&reader, keys);
	for (size_t l = 0; reader.ret == 0 && l < ARRAY_SIZE(lists); l++) {
		json_t *list = json_object_get(json, lists[l].name);

		if (!list && lists[l].read != read_override)
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

static int read_document(json_t *json, struct gs_snapshot **ret_snapshot, struct gs_error *error)
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
	if (gs_snapshot_new(&counts, &snapshot) != 0)
		return gs_error_set(-ENOMEM, error, "no memory for the document");
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		json_t *list = json_object_get(json, lists[l].name);

		for (uint32_t i = 0; i < json_array_size(list); i++) {
			struct reader reader = {.object = json_array_get(list, i), .error = error};

			snprintf(reader.path, sizeof(reader.path), "%s[%u]", lists[l].name, i);
			lists[l].read(&reader, snapshot, i);
			if (reader.ret)
				return reader.ret;
		}
	}
	ret = gs_snapshot_check(snapshot, error);
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
	ret = read_document(json, ret_snapshot, &why);
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
