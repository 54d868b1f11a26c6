// SPDX-License-Identifier: Apache-2.0
#include "user/app/difference.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"
#include "user/core/place.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <string.h>

/* ---- matching --------------------------------------------------------------------------------*/

static const char *object_name(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t i)
{
	switch (kind) {
	case GS_KIND_REGION:
		return snapshot->regions[i].name;
	case GS_KIND_POLICY:
		return snapshot->policies[i].name;
	case GS_KIND_SERVICE:
		return snapshot->services[i].name;
	default:
		return snapshot->backends[i].name;
	}
}

/* Of two states, whose services of one name may have two ids. */
static int compare_services(const struct gs_snapshot *a_of, gs_id a, const struct gs_snapshot *b_of,
			    gs_id b)
{
	const struct gs_service *a_service = gs_snapshot_service(a_of, a);
	const struct gs_service *b_service = gs_snapshot_service(b_of, b);

	return strcmp(a_service ? a_service->name : "", b_service ? b_service->name : "");
}

static int compare_access(const struct gs_snapshot *a_of, const struct gs_access *a,
			  const struct gs_snapshot *b_of, const struct gs_access *b)
{
	int order = gs_prefix_compare(&a->prefix, &b->prefix);

	return order ? order : compare_services(a_of, a->service, b_of, b->service);
}

static int compare_fences(const struct gs_snapshot *a_of, const struct gs_fence *a,
			  const struct gs_snapshot *b_of, const struct gs_fence *b)
{
	int order = gs_place_compare(&a->place, &b->place);

	return order ? order : compare_services(a_of, a->service, b_of, b->service);
}

static int compare_objects(enum gs_kind kind, const struct gs_snapshot *a_of, uint32_t a,
			   const struct gs_snapshot *b_of, uint32_t b)
{
	if (kind == GS_KIND_OVERRIDE)
		return gs_override_compare(&a_of->overrides[a], &b_of->overrides[b]);
	if (kind == GS_KIND_ACCESS)
		return compare_access(a_of, &a_of->access[a], b_of, &b_of->access[b]);
	if (kind == GS_KIND_FENCE)
		return compare_fences(a_of, &a_of->fences[a], b_of, &b_of->fences[b]);
	return strcmp(object_name(a_of, kind, a), object_name(b_of, kind, b));
}

struct index {
	const struct gs_snapshot *snapshot;
	enum gs_kind kind;
	uint32_t count;
	uint32_t *sorted;
};

static int compare_indexed(const void *a, const void *b, void *context)
{
	const struct index *index = context;

	return compare_objects(index->kind, index->snapshot, *(const uint32_t *)a, index->snapshot,
			       *(const uint32_t *)b);
}

static int index_make(const struct gs_snapshot *snapshot, enum gs_kind kind,
		      struct index *ret_index)
{
	struct index index = {snapshot, kind, gs_kind_count(snapshot, kind), NULL};

	index.sorted = calloc(index.count + 1u, sizeof(*index.sorted));
	if (!index.sorted)
		return -ENOMEM;
	for (uint32_t i = 0; i < index.count; i++)
		index.sorted[i] = i;
	qsort_r(index.sorted, index.count, sizeof(*index.sorted), compare_indexed, &index);
	*ret_index = index;
	return 0;
}

static void index_done(struct index *index)
{
	free(index->sorted);
}

/* The object of the same name, or -1. */
static int64_t index_find(const struct index *index, const struct gs_snapshot *of, uint32_t i)
{
	uint32_t low = 0, high = index->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order =
			compare_objects(index->kind, index->snapshot, index->sorted[middle], of, i);

		if (order == 0)
			return index->sorted[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

static bool same_fields(const struct gs_fields *a, const struct gs_fields *b)
{
	for (int f = 0; f < a->count; f++)
		if (strcmp(a->field[f].text, b->field[f].text) != 0)
			return false;
	return true;
}

static void add_change(struct gs_difference *difference, struct gs_change change)
{
	difference->changes[difference->count++] = change;
}

static int compare_kind(struct gs_difference *difference, enum gs_kind kind)
{
	GS_CLEANUP(index_done) struct index have = {0};
	GS_CLEANUP(index_done) struct index want = {0};
	struct gs_fields *fields;

	if (index_make(difference->have, kind, &have) != 0 ||
	    index_make(difference->want, kind, &want) != 0)
		return -ENOMEM;
	fields = malloc(2 * sizeof(*fields));
	if (!fields)
		return -ENOMEM;
	for (uint32_t i = 0; i < have.count; i++)
		if (index_find(&want, difference->have, i) < 0)
			add_change(difference, (struct gs_change){kind, GS_CHANGE_REMOVE, i, 0});
	for (uint32_t i = 0; i < want.count; i++) {
		int64_t old = index_find(&have, difference->want, i);

		if (old < 0) {
			add_change(difference, (struct gs_change){kind, GS_CHANGE_ADD, 0, i});
			continue;
		}
		gs_fields_get(difference->have, kind, (uint32_t)old, &fields[0]);
		gs_fields_get(difference->want, kind, i, &fields[1]);
		if (!same_fields(&fields[0], &fields[1]))
			add_change(difference,
				   (struct gs_change){kind, GS_CHANGE_UPDATE, (uint32_t)old, i});
	}
	free(fields);
	return 0;
}

int gs_difference_make(const struct gs_snapshot *have, const struct gs_snapshot *want,
		       struct gs_difference *ret_difference)
{
	struct gs_difference difference = {.have = have, .want = want};
	size_t most = 1;

	for (int kind = 0; kind < GS_KIND__COUNT; kind++)
		most += gs_kind_count(have, kind) + gs_kind_count(want, kind);
	difference.changes = calloc(most, sizeof(*difference.changes));
	if (!difference.changes)
		return -ENOMEM;
	for (int kind = 0; kind < GS_KIND__COUNT; kind++) {
		int ret = compare_kind(&difference, kind);

		if (ret) {
			free(difference.changes);
			return ret;
		}
	}
	*ret_difference = difference;
	return 0;
}

void gs_difference_done(struct gs_difference *difference)
{
	free(difference->changes);
	difference->changes = NULL;
	difference->count = 0;
}

/* ---- for people and programs -----------------------------------------------------------------*/

static json_t *update_json(const struct gs_fields *from, const struct gs_fields *to)
{
	json_t *fields = json_object();
	json_t *old = gs_fields_json(from), *new = gs_fields_json(to);

	for (int f = 0; f < from->count; f++) {
		const char *name = from->field[f].name;

		if (strcmp(from->field[f].text, to->field[f].text) != 0)
			json_object_set_new(fields, name,
					    json_pack("{s:O,s:O}", "from",
						      json_object_get(old, name), "to",
						      json_object_get(new, name)));
	}
	json_decref(old);
	json_decref(new);
	return fields;
}

json_t *gs_change_json(const struct gs_difference *difference, const struct gs_change *change)
{
	static const char *const verbs[] = {"remove", "update", "add"};
	GS_AUTO_FREE struct gs_fields *from = calloc(2, sizeof(*from));
	char name[GS_OBJECT_NAME_MAX];
	json_t *fields = NULL;

	if (!from)
		return NULL;
	if (change->verb != GS_CHANGE_ADD)
		gs_fields_get(difference->have, change->kind, change->have, &from[0]);
	if (change->verb != GS_CHANGE_REMOVE)
		gs_fields_get(difference->want, change->kind, change->want, &from[1]);
	fields = change->verb == GS_CHANGE_UPDATE
			 ? update_json(&from[0], &from[1])
			 : gs_fields_json(&from[change->verb == GS_CHANGE_ADD]);
	return json_pack(
		"{s:s,s:s,s:s,s:o}", "change", verbs[change->verb], "kind",
		gs_kind_name(change->kind), "name",
		gs_fields_name(&from[change->verb != GS_CHANGE_REMOVE], change->kind, name),
		"fields", fields);
}

static void print_field(FILE *out, const struct gs_fields *from, const struct gs_fields *to, int f,
			int *printed)
{
	bool is_same = strcmp(from->field[f].text, to->field[f].text) == 0;

	if (from != to && is_same)
		return;
	fprintf(out, "%s %s ", (*printed)++ ? "," : ":", to->field[f].name);
	if (from != to)
		fprintf(out, "%s -> ", from->field[f].text[0] ? from->field[f].text : "\"\"");
	fputs(to->field[f].text[0] ? to->field[f].text : "\"\"", out);
}

char *gs_change_text(const struct gs_difference *difference, const struct gs_change *change)
{
	static const char marks[] = {'-', '~', '+'};
	GS_AUTO_FREE struct gs_fields *from = calloc(2, sizeof(*from));
	struct gs_fields *to = from + 1;
	char name[GS_OBJECT_NAME_MAX];
	char *text = NULL;
	size_t length;
	int printed = 0;
	FILE *out;

	if (!from)
		return NULL;
	out = open_memstream(&text, &length);
	if (!out)
		return NULL;
	if (change->verb != GS_CHANGE_ADD)
		gs_fields_get(difference->have, change->kind, change->have, from);
	if (change->verb != GS_CHANGE_REMOVE)
		gs_fields_get(difference->want, change->kind, change->want, to);
	fprintf(out, "%c %s %s", marks[change->verb], gs_kind_name(change->kind),
		gs_fields_name(change->verb == GS_CHANGE_REMOVE ? from : to, change->kind, name));
	for (int f = 1; change->verb != GS_CHANGE_REMOVE && f < to->count; f++)
		if (change->verb != GS_CHANGE_ADD || !to->field[f].is_unset)
			print_field(out, change->verb == GS_CHANGE_ADD ? to : from, to, f,
				    &printed);
	fclose(out);
	return text;
}
