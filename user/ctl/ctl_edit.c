// SPDX-License-Identifier: Apache-2.0
/*
 * add, set and remove of every kind of object, one mechanism: the desired state as a document, one
 * object of it changed, read again by the checks that documents go through.
 */
#include "user/app/document.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/asn.h"
#include "user/core/cidr.h"
#include "user/core/moment.h"
#include "user/core/override.h"
#include "user/core/place.h"
#include "user/core/probe_spec.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_db.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum verb { ADD, SET, REMOVE };
static const char *const VERBS[] = {"add", "set", "remove"};

struct edit {
	enum gs_kind kind;
	enum verb verb;
	const char *name;
	int count;
	char **assignments; /* "admin=drain" */
};

/* ---- one value -------------------------------------------------------------------------------*/

static bool is_list_field(const char *key)
{
	return strcmp(key, "order") == 0 || strcmp(key, "rank") == 0 ||
	       strcmp(key, "regions") == 0 || strcmp(key, "probe_arguments") == 0;
}

static bool is_text_field(const char *key)
{
	static const char *const keys[] = {
		"name",	       "admin",	     "kind",	   "vip",      "protocol", "policy",
		"probe_kind",  "probe_path", "probe_host", "service",  "region",   "address",
		"forward",     "prefix",     "reason",	   "affinity", "stale",	   "action",
		"drain_until", "place",	     "unknown"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	for (uint32_t t = 0; t < GS_PROBE_TEXTS; t++)
		if (strcmp(gs_probe_text(t)->name, key) == 0)
			return true;
	return false;
}

static json_t *list_of(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t length = strcspn(text, ",");

		json_array_append_new(list, json_stringn(text, length));
		text += length + (text[length] == ',');
	}
	return list;
}

/* "eu:70,us:30"; a number that is none stays text, which the checks judge. */
static json_t *map_of(const char *text)
{
	json_t *map = json_object();

	while (*text) {
		size_t length = strcspn(text, ","), name = strcspn(text, ":,");
		char key[GS_NAME_MAX + 1], number[16] = "";
		json_t *value;

		if (name < length)
			snprintf(number, sizeof(number), "%.*s", (int)(length - name - 1),
				 text + name + 1);
		snprintf(key, sizeof(key), "%.*s", (int)name, text);
		value = json_loads(number, JSON_DECODE_ANY, NULL);
		json_object_set_new(map, key, value ? value : json_string(number));
		text += length + (text[length] == ',');
	}
	return map;
}

/* A number or true and false if it is one and may be; else text, which the checks judge. NULL: it
 * is no UTF-8. */
static json_t *value_of(const struct edit *edit, const char *key, const char *text)
{
	json_t *value = NULL;

	if (is_list_field(key))
		return list_of(text);
	if (edit->kind == GS_KIND_POLICY &&
	    (strcmp(key, "bias") == 0 || strcmp(key, "weight") == 0))
		return map_of(text);
	if (!is_text_field(key))
		value = json_loads(text, JSON_DECODE_ANY, NULL);
	if (value && (json_is_number(value) || json_is_boolean(value)))
		return value;
	json_decref(value);
	return json_string(text);
}

/* "probe_kind" is "kind" of "probe". */
static int put(json_t *object, const char *key, json_t *value)
{
	const char *group, *member;
	json_t *inner = object;

	gs_field_place(key, &group, &member);
	if (group) {
		inner = json_object_get(object, group);
		if (!inner) {
			inner = json_object();
			json_object_set_new(object, group, inner);
		}
	}
	return json_object_set_new(inner, member, value);
}

/* "drain_until=20m" is in twenty minutes. */
static json_t *drain_value(const char *text)
{
	uint32_t span_s = gs_ctl_span_s(text);
	char moment[GS_MOMENT_TEXT_MAX];

	if (span_s == 0)
		return json_string(text);
	return json_string(gs_moment_format(((int64_t)time(NULL) + span_s) * 1000, moment));
}

/* A drain that is over lets its flows go too, at once: nobody means that by a date. */
static bool is_past(const json_t *value)
{
	int64_t unix_ms;

	return gs_moment_parse(json_string_value(value), &unix_ms) == 0 &&
	       unix_ms <= (int64_t)time(NULL) * 1000;
}

static bool is_assigned(const struct edit *edit, const char *key)
{
	size_t length = strlen(key);

	for (int i = 0; i < edit->count; i++)
		if (strncmp(edit->assignments[i], key, length) == 0 &&
		    edit->assignments[i][length] == '=')
			return true;
	return false;
}

/* Numbers of regions that are in the order no more. */
static void drop_strangers(json_t *object, const char *key)
{
	const json_t *order = json_object_get(object, "order"), *region;
	json_t *map = json_object_get(object, key), *value;
	const char *name;
	void *next;
	size_t i;

	json_object_foreach_safe(map, next, name, value)
	{
		bool is_there = false;

		json_array_foreach (order, i, region)
			is_there = is_there || (json_is_string(region) &&
						strcmp(json_string_value(region), name) == 0);
		if (!is_there)
			json_object_del(map, name);
	}
}

/* A deadline goes with the drain it is of, a port with NAT, a rank with the kind ranked, numbers of
 * regions with the order, unless somebody says otherwise. */
static void drop_dependants(json_t *object, const struct edit *edit)
{
	if (is_assigned(edit, "admin") && !is_assigned(edit, "drain_until") &&
	    strcmp(gs_ctl_text(object, "admin"), "drain") != 0)
		json_object_del(object, "drain_until");
	if (is_assigned(edit, "forward") && !is_assigned(edit, "port") &&
	    strcmp(gs_ctl_text(object, "forward"), "nat") != 0)
		json_object_del(object, "port");
	if (edit->kind != GS_KIND_POLICY)
		return;
	if (is_assigned(edit, "kind") && !is_assigned(edit, "rank") &&
	    strcmp(gs_ctl_text(object, "kind"), "ranked") != 0)
		json_object_del(object, "rank");
	if (is_assigned(edit, "rank") && !is_assigned(edit, "kind"))
		json_object_del(object, "kind");
	if (is_assigned(edit, "order")) {
		drop_strangers(object, "bias");
		drop_strangers(object, "weight");
	}
}

static int assign(json_t *object, const struct edit *edit, struct gs_error *error)
{
	for (int i = 0; i < edit->count; i++) {
		const char *equals = strchr(edit->assignments[i], '=');
		char place[32], key[40];
		json_t *value;

		if (equals - edit->assignments[i] >= (ptrdiff_t)sizeof(place))
			return gs_error_set(-EINVAL, error, "%.40s...: no such field",
					    edit->assignments[i]);
		snprintf(place, sizeof(place), "%.*s", (int)(equals - edit->assignments[i]),
			 edit->assignments[i]);
		gs_field_flat(place, key, sizeof(key));
		if (strcmp(key, "name") == 0 || strcmp(key, "prefix") == 0 ||
		    strcmp(key, "place") == 0 || strcmp(key, "asn") == 0 ||
		    strcmp(key, "id") == 0 ||
		    (edit->kind > GS_KIND_OVERRIDE && strcmp(key, "service") == 0))
			return gs_error_set(-EINVAL, error,
					    "%s: cannot be set: it is what the object is known by",
					    key);
		value = strcmp(key, "drain_until") == 0 ? drain_value(equals + 1)
							: value_of(edit, key, equals + 1);
		if (!value || put(object, key, value) != 0)
			return gs_error_set(-EINVAL, error, "%s: the value is no UTF-8 text", key);
		if (strcmp(key, "drain_until") == 0 && is_past(value))
			return gs_error_set(-EINVAL, error,
					    "drain_until: %s is past; to let known flows go at "
					    "once: admin=maintenance",
					    equals + 1);
	}
	drop_dependants(object, edit);
	return 0;
}

/* ---- the document ----------------------------------------------------------------------------*/

/* As gs_fields_name has it. */
static const char *object_name(const json_t *object, enum gs_kind kind,
			       char out[GS_OBJECT_NAME_MAX])
{
	const char *service = kind > GS_KIND_OVERRIDE ? gs_ctl_text(object, "service") : "";
	const char *key = kind < GS_KIND_OVERRIDE	     ? "name"
			  : json_object_get(object, "place") ? "place"
			  : json_object_get(object, "asn")   ? "asn"
							     : "prefix";

	snprintf(out, GS_OBJECT_NAME_MAX, "%.63s%s%.63s", gs_ctl_text(object, key),
		 *service ? "@" : "", service);
	return out;
}

static size_t find_object(const json_t *list, const struct edit *edit)
{
	char name[GS_OBJECT_NAME_MAX];
	const json_t *object;
	size_t i;

	json_array_foreach (list, i, object)
		if (strcmp(object_name(object, edit->kind, name), edit->name) == 0)
			break;
	return i;
}

/* What an object of the edit's name is known by. */
static const char *key_of(const struct edit *edit)
{
	struct gs_override override;

	if (edit->kind < GS_KIND_OVERRIDE)
		return "name";
	if (edit->kind == GS_KIND_OVERRIDE && gs_override_parse(edit->name, &override) == 0)
		return gs_override_key(&override);
	return edit->kind == GS_KIND_ACCESS ? "prefix" : "place";
}

/* A new object of the edit's name: prefix, AS or place, and service. NULL: no UTF-8. */
static json_t *new_object(const struct edit *edit)
{
	const char *at = edit->kind > GS_KIND_OVERRIDE ? strchr(edit->name, '@') : NULL;
	const char *key = key_of(edit);

	if (at)
		return json_pack("{s:s%, s:s}", key, edit->name, (size_t)(at - edit->name),
				 "service", at + 1);
	return json_pack("{s:s}", key, edit->name);
}

/* "regions[3].latitude: ..." as people know it: "region eu.latitude: ..." */
static void name_place(const json_t *document, struct gs_error *error)
{
	for (int k = 0; k < GS_KIND__COUNT; k++) {
		const char *plural = gs_kind_plural((enum gs_kind)k);
		size_t length = strlen(plural);
		char name[GS_OBJECT_NAME_MAX];
		struct gs_error named;
		const json_t *object;
		char *end;

		if (strncmp(error->text, plural, length) != 0 || error->text[length] != '[')
			continue;
		object = json_array_get(json_object_get(document, plural),
					strtoul(error->text + length + 1, &end, 10));
		object_name(object, (enum gs_kind)k, name);
		if (*end != ']' || !*name)
			return;
		snprintf(named.text, sizeof(named.text), "%s %.70s%.220s",
			 gs_kind_name((enum gs_kind)k), name, end + 1);
		*error = named;
		return;
	}
}

/* Is the name one of a comma-separated list? */
static bool is_named(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (list &&
	       (strncmp(list, name, length) != 0 || (list[length] && list[length] != ','))) {
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	return list != NULL;
}

struct reference {
	enum gs_kind of, by;
	const char *field;
};

/* Appends to `out` who refers to `name` that way: three of them, and how many more there are. */
static size_t add_users(const struct gs_snapshot *have, const struct reference *reference,
			const char *name, char *out, size_t length, size_t room)
{
	GS_AUTO_FREE struct gs_fields *fields = malloc(sizeof(*fields));
	char user[GS_OBJECT_NAME_MAX];
	uint32_t found = 0;

	for (uint32_t i = 0; fields && i < gs_kind_count(have, reference->by); i++) {
		gs_fields_get(have, reference->by, i, fields);
		if (!is_named(gs_fields_text(fields, reference->field), name) || found++ >= 3 ||
		    length >= room)
			continue;
		length += (size_t)snprintf(out + length, room - length, "%s%s %s",
					   length ? ", " : "", gs_kind_name(reference->by),
					   gs_fields_name(fields, reference->by, user));
	}
	if (found > 3 && length < room)
		length += (size_t)snprintf(out + length, room - length, " and %u more", found - 3);
	return length;
}

/* Who refers to an object that shall go, or "". */
static void find_users(const struct gs_snapshot *have, const struct edit *edit, char *out,
		       size_t room)
{
	static const struct reference references[] = {{GS_KIND_REGION, GS_KIND_POLICY, "order"},
						      {GS_KIND_REGION, GS_KIND_BACKEND, "region"},
						      {GS_KIND_REGION, GS_KIND_OVERRIDE, "region"},
						      {GS_KIND_POLICY, GS_KIND_SERVICE, "policy"},
						      {GS_KIND_SERVICE, GS_KIND_BACKEND, "service"},
						      {GS_KIND_REGION, GS_KIND_FENCE, "regions"},
						      {GS_KIND_SERVICE, GS_KIND_ACCESS, "service"},
						      {GS_KIND_SERVICE, GS_KIND_FENCE, "service"}};
	size_t length = 0;

	out[0] = '\0';
	for (size_t r = 0; r < ARRAY_SIZE(references); r++)
		if (references[r].of == edit->kind)
			length = add_users(have, &references[r], edit->name, out, length, room);
}

static int change_list(json_t *list, const struct gs_snapshot *have, const struct edit *edit,
		       struct gs_error *error)
{
	size_t at = find_object(list, edit);
	char users[200];
	json_t *object;

	if (edit->verb == ADD) {
		/* Whoever says what becomes of clients says what it is now, not that it is new. */
		if (at < json_array_size(list) && edit->kind >= GS_KIND_OVERRIDE)
			return assign(json_array_get(list, at), edit, error);
		if (at < json_array_size(list))
			return gs_error_set(-EEXIST, error,
					    "%s %s is there already (set changes it)",
					    gs_kind_name(edit->kind), edit->name);
		object = new_object(edit);
		if (!object || json_array_append_new(list, object) != 0)
			return gs_error_set(-EINVAL, error, "name: no UTF-8 text");
		return assign(object, edit, error);
	}
	if (edit->verb == SET)
		return assign(json_array_get(list, at), edit, error);
	find_users(have, edit, users, sizeof(users));
	if (users[0])
		return gs_error_set(-EBUSY, error, "%s %s is still used by %s",
				    gs_kind_name(edit->kind), edit->name, users);
	json_array_remove(list, at);
	return 0;
}

static int make(const struct gs_snapshot *have, void *context, struct gs_snapshot **ret_want,
		struct gs_error *error)
{
	const struct edit *edit = context;
	GS_AUTO_JSON json_t *document = gs_document_json(have, true);
	json_t *list = json_object_get(document, gs_kind_plural(edit->kind));
	int ret;

	if (!document)
		return gs_error_set(-ENOMEM, error, "no memory");
	if (edit->verb != ADD && find_object(list, edit) == json_array_size(list))
		return gs_ctl_no_object(have, edit->kind, edit->name, error);
	ret = change_list(list, have, edit, error);
	if (ret)
		return ret;
	ret = gs_document_read(document, ret_want, error);
	if (ret)
		name_place(document, error);
	return ret;
}

/* ---- the commands ----------------------------------------------------------------------------*/

/* Each is FIELD=VALUE and no field is there twice; else told. */
static int check_assignments(const struct edit *edit)
{
	const char *object = gs_kind_name(edit->kind), *verb = VERBS[edit->verb];

	for (int i = 0; i < edit->count; i++) {
		const char *one = edit->assignments[i];
		size_t length = strcspn(one, "=");

		if (!one[length])
			return gs_ctl_usage(object, verb, "\"%s\" is not of the form FIELD=VALUE",
					    one);
		for (int j = 0; j < i; j++)
			if (strncmp(edit->assignments[j], one, length + 1) == 0)
				return gs_ctl_usage(
					object, verb, "%.*s is given twice: \"%s\" and \"%s\"",
					(int)length, one, edit->assignments[j] + length + 1,
					one + length + 1);
	}
	return GS_CTL_DONE;
}

static int edit_object(const struct gs_ctl *ctl, enum gs_kind kind, enum verb verb, int argc,
		       char **argv)
{
	struct edit edit = {.kind = kind, .verb = verb};
	struct gs_pg_change change = {.make = make, .context = &edit};
	const char *object = gs_kind_name(kind);
	int ret = gs_ctl_take_change(object, VERBS[verb], &argc, argv, &change);

	if (ret)
		return ret;
	if (argc < 1)
		return gs_ctl_usage(object, VERBS[verb], "which %s?", object);
	edit.name = argv[0];
	edit.count = argc - 1;
	edit.assignments = argv + 1;
	if (verb == REMOVE && edit.count > 0)
		return gs_ctl_usage(object, VERBS[verb], "unexpected \"%s\"", argv[1]);
	if (verb == SET && edit.count == 0)
		return gs_ctl_usage(object, VERBS[verb], "set what of %s?", argv[0]);
	ret = check_assignments(&edit);
	return ret ? ret : gs_ctl_db_edit(ctl, &change);
}

#define EDIT(object, word, verb, kind)                                                \
	int gs_ctl_##object##_##word(const struct gs_ctl *ctl, int argc, char **argv) \
	{                                                                             \
		return edit_object(ctl, kind, verb, argc, argv);                      \
	}
#define EDITS(object, kind)          \
	EDIT(object, add, ADD, kind) \
	EDIT(object, set, SET, kind) \
	EDIT(object, remove, REMOVE, kind)

EDITS(region, GS_KIND_REGION)
EDITS(policy, GS_KIND_POLICY)
EDITS(service, GS_KIND_SERVICE)
EDITS(backend, GS_KIND_BACKEND)

/* ---- overrides, access, fences: known by a prefix, which may be spelled in many ways, an AS or a
 * place */

static int parse_prefix(const char *text, char out[GS_PREFIX_TEXT_MAX])
{
	struct gs_prefix prefix;
	int ret = gs_prefix_parse(text, &prefix);

	if (ret == 0)
		gs_prefix_format(&prefix, out);
	return ret ? gs_ctl_fail("%s: %s", text,
				 ret == -EDOM	  ? "bits are set beyond the prefix's length"
				 : ret == -ERANGE ? "not a length an address of its family has"
						  : "not an IPv4 or IPv6 prefix")
		   : 0;
}

static int parse_place(const char *text, char out[GS_PREFIX_TEXT_MAX])
{
	char place_text[GS_PLACE_TEXT_MAX];
	struct gs_place place;

	if (gs_place_parse(text, &place) != 0)
		return gs_ctl_fail("%.80s: not a place (everybody, continent:EU, country:DE, "
				   "subdivision:US-CA)",
				   text);
	snprintf(out, GS_PREFIX_TEXT_MAX, "%s", gs_place_format(&place, place_text));
	return 0;
}

static int parse_asn(const char *text, char out[GS_PREFIX_TEXT_MAX])
{
	uint32_t asn;

	if (gs_asn_parse(text, &asn) != 0)
		return gs_ctl_fail("%.80s: not an AS number (AS1 to AS4294967295)", text);
	gs_asn_format(asn, out);
	return 0;
}

/* Of an override a prefix, or a place or an AS if it begins as one. */
static int parse_clients(enum gs_kind kind, const char *text, char out[GS_PREFIX_TEXT_MAX])
{
	static const char *const words[] = {"everybody", "continent", "country", "subdivision"};
	size_t length = strcspn(text, ":");

	for (size_t w = 0; kind == GS_KIND_OVERRIDE && w < ARRAY_SIZE(words); w++)
		if (strlen(words[w]) == length && strncmp(words[w], text, length) == 0)
			return parse_place(text, out);
	if (kind == GS_KIND_OVERRIDE && strncasecmp(text, "as", 2) == 0)
		return parse_asn(text, out);
	return kind == GS_KIND_FENCE ? parse_place(text, out) : parse_prefix(text, out);
}

/* The rest of the arguments is the reason, quoted or not. */
static int join_reason(int argc, char **argv, char *out, size_t room)
{
	size_t length = (size_t)snprintf(out, room, "reason=");

	for (int i = 0; i < argc && length < room; i++)
		length += (size_t)snprintf(out + length, room - length, "%s%s", i > 0 ? " " : "",
					   argv[i]);
	return length < room
		       ? 0
		       : gs_ctl_fail("reason: longer than %zu bytes", room - 1 - strlen("reason="));
}

/* "PREFIX", "ASN" or "PLACE"; of access rules and fences with "@SERVICE". Told what is wrong: not
 * 0. */
static int parse_name(enum gs_kind kind, const char *text, char out[GS_OBJECT_NAME_MAX])
{
	const char *at = kind > GS_KIND_OVERRIDE ? strchr(text, '@') : NULL;
	char prefix[GS_PREFIX_TEXT_MAX], before[GS_PREFIX_TEXT_MAX];

	if (!at)
		return parse_clients(kind, text, out);
	if (strlen(at + 1) >= GS_NAME_MAX || !at[1])
		return gs_ctl_fail("%.80s: no service's name after the @", text);
	snprintf(before, sizeof(before), "%.*s", (int)(at - text), text);
	if (parse_clients(kind, before, prefix) != 0)
		return GS_CTL_FAILED;
	snprintf(out, GS_OBJECT_NAME_MAX, "%s%.64s", prefix, at);
	return 0;
}

/* PREFIX, ASN or PLACE, a word for `field`, of a fence unknown=..., and a reason. what: what is
 * asked for if they are missing. */
static int add_clients(const struct gs_ctl *ctl, enum gs_kind kind, const char *field,
		       const char *what, int argc, char **argv)
{
	struct edit edit = {.kind = kind, .verb = ADD};
	struct gs_pg_change change = {.make = make, .context = &edit};
	const char *object = gs_kind_name(kind);
	char name[GS_OBJECT_NAME_MAX], word[GS_FIELD_TEXT_MAX];
	char reason[sizeof("reason=") + sizeof(((struct gs_override *)0)->reason) - 1];
	char *assignments[3] = {word, reason};
	size_t room = kind == GS_KIND_FENCE ? sizeof(word) - 16 : GS_NAME_MAX;
	int after = 2, first, ret = gs_ctl_take_change(object, "add", &argc, argv, &change);

	if (ret)
		return ret;
	if (argc < 2)
		return gs_ctl_usage(object, "add", "%s", what);
	if (parse_name(kind, argv[0], name) != 0)
		return GS_CTL_FAILED;
	edit.count = 2;
	if (argc > 2 && kind == GS_KIND_FENCE && strncmp(argv[2], "unknown=", 8) == 0) {
		assignments[edit.count++] = argv[2];
		after = 3;
	}
	first = argc > after && strcmp(argv[after], "--reason") == 0 ? after + 1 : after;
	if (argc > after && (first == argc || strncmp(argv[first], "--", 2) == 0))
		return gs_ctl_usage(object, "add", "%s: a reason expected", argv[first - 1]);
	if (join_reason(argc - first, argv + first, reason, sizeof(reason)) != 0)
		return GS_CTL_FAILED;
	if (strlen(argv[1]) >= room)
		return gs_ctl_fail("%.40s...: longer than %s", argv[1],
				   kind == GS_KIND_OVERRIDE ? "a region's name"
				   : kind == GS_KIND_FENCE  ? "a list of regions"
							    : "an action");
	snprintf(word, sizeof(word), "%s=%.*s", field, (int)room, argv[1]);
	edit.name = name;
	edit.assignments = assignments;
	return gs_ctl_db_edit(ctl, &change);
}

static int edit_clients(const struct gs_ctl *ctl, enum gs_kind kind, enum verb verb, int argc,
			char **argv)
{
	char name[GS_OBJECT_NAME_MAX];

	for (int i = 0; i < argc; i++) {
		if (argv[i][0] == '-' || strchr(argv[i], '='))
			continue;
		if (i > 0 && strncmp(argv[i - 1], "--since", 7) == 0)
			continue;
		if (parse_name(kind, argv[i], name) != 0)
			return GS_CTL_FAILED;
		argv[i] = name;
		break;
	}
	return edit_object(ctl, kind, verb, argc, argv);
}

int gs_ctl_override_add(const struct gs_ctl *ctl, int argc, char **argv)
{
	return add_clients(ctl, GS_KIND_OVERRIDE, "region",
			   "which prefix, AS or place, and to which region?", argc, argv);
}

int gs_ctl_access_add(const struct gs_ctl *ctl, int argc, char **argv)
{
	return add_clients(ctl, GS_KIND_ACCESS, "action", "which prefix, and allow or deny?", argc,
			   argv);
}

int gs_ctl_fence_add(const struct gs_ctl *ctl, int argc, char **argv)
{
	return add_clients(ctl, GS_KIND_FENCE, "regions", "which place, and which regions?", argc,
			   argv);
}

#define EDIT_CLIENTS(object, word, verb, kind)                                        \
	int gs_ctl_##object##_##word(const struct gs_ctl *ctl, int argc, char **argv) \
	{                                                                             \
		return edit_clients(ctl, kind, verb, argc, argv);                     \
	}
EDIT_CLIENTS(override, set, SET, GS_KIND_OVERRIDE)
EDIT_CLIENTS(override, remove, REMOVE, GS_KIND_OVERRIDE)
EDIT_CLIENTS(access, set, SET, GS_KIND_ACCESS)
EDIT_CLIENTS(access, remove, REMOVE, GS_KIND_ACCESS)
EDIT_CLIENTS(fence, set, SET, GS_KIND_FENCE)
EDIT_CLIENTS(fence, remove, REMOVE, GS_KIND_FENCE)
