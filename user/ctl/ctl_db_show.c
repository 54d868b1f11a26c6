// SPDX-License-Identifier: Apache-2.0
/* list and show: the desired state as tables or JSON, with what edges told of it. */
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/ctl/ctl_ask.h"
#include "user/ctl/ctl_db.h"
#include "user/ctl/ctl_overlay.h"

#include <string.h>

static void free_snapshot_ptr(struct gs_snapshot **snapshot)
{
	gs_snapshot_free(*snapshot);
}
#define AUTO_SNAPSHOT GS_CLEANUP(free_snapshot_ptr)

/*
 * A service's probe is for `show`: a table of 25 columns nobody reads. What is optional has a
 * column (its width is not 0) if one of the objects says something.
 */
static bool is_listed(const struct gs_field *field, size_t width)
{
	return width > 0 &&
	       (strncmp(field->name, "probe_", 6) != 0 || strcmp(field->name, "probe_kind") == 0) &&
	       strncmp(field->name, "breaker_", 8) != 0;
}

static void measure(const struct gs_fields *fields, size_t *widths)
{
	for (int f = 0; f < fields->count; f++) {
		size_t width = strlen(fields->field[f].text);

		if (fields->field[f].is_unset && widths[f] == 0)
			continue;
		if (strlen(fields->field[f].name) > width)
			width = strlen(fields->field[f].name);
		if (width > widths[f])
			widths[f] = width;
	}
}

static void print_cell(const struct gs_field *field, size_t width, bool is_head)
{
	size_t length = strlen(is_head ? field->name : field->text);
	bool is_right = field->type == GS_FIELD_NUMBER && !is_head;

	gs_ctl_printf("%*s", is_right ? (int)(width - length) : 0, "");
	for (size_t i = 0; is_head && i < length; i++)
		putchar(field->name[i] >= 'a' ? field->name[i] - 'a' + 'A' : field->name[i]);
	if (!is_head)
		gs_ctl_printf("%s", field->text);
}

static void print_row(const struct gs_fields *fields, const size_t *widths, bool is_head)
{
	size_t pad = 0; /* of the last cell: written only if another follows */

	for (int f = 0; f < fields->count; f++) {
		const struct gs_field *field = &fields->field[f];

		if (!is_listed(field, widths[f]))
			continue;
		gs_ctl_printf("%*s", (int)pad, "");
		print_cell(field, widths[f], is_head);
		pad = 2;
		if (is_head || field->type != GS_FIELD_NUMBER)
			pad += widths[f] - strlen(is_head ? field->name : field->text);
	}
	putchar('\n');
}

/* The object's fields, and in one more what operators have laid over it. */
static void get_fields(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
		       struct gs_fields *fields)
{
	struct gs_field *field;

	gs_fields_get(snapshot, kind, index, fields);
	if ((kind != GS_KIND_REGION && kind != GS_KIND_SERVICE && kind != GS_KIND_BACKEND) ||
	    fields->count == GS_FIELDS_MAX)
		return;
	field = &fields->field[fields->count++];
	*field = (struct gs_field){.name = "overlay", .type = GS_FIELD_TEXT};
	gs_ctl_overlay_text(snapshot, kind, index, field->text, sizeof(field->text));
	field->is_unset = !field->text[0];
}

static json_t *object_json(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
			   struct gs_fields *fields)
{
	json_t *json, *overlays = gs_ctl_overlay_json(snapshot, kind, index);

	gs_fields_get(snapshot, kind, index, fields);
	json = gs_fields_json(fields);
	if (json_array_size(overlays) > 0)
		json_object_set(json, "overlays", overlays);
	json_decref(overlays);
	return json;
}

static int print_list(const struct gs_snapshot *snapshot, enum gs_kind kind, bool as_json)
{
	GS_AUTO_FREE struct gs_fields *fields = calloc(1, sizeof(*fields));
	size_t widths[GS_FIELDS_MAX] = {0};
	uint32_t count = gs_kind_count(snapshot, kind);
	json_t *list = as_json ? json_array() : NULL;

	if (!fields)
		return gs_ctl_fail("no memory");
	for (uint32_t i = 0; i < count; i++) {
		get_fields(snapshot, kind, i, fields);
		measure(fields, widths);
		if (as_json)
			json_array_append_new(list, object_json(snapshot, kind, i, fields));
	}
	if (as_json)
		return gs_ctl_print_json(list);
	/* Prefixes, systems and places stand in one column. */
	if (kind == GS_KIND_OVERRIDE && count > 0) {
		fields->field[0].name = "clients";
		widths[0] = widths[0] < strlen("clients") ? strlen("clients") : widths[0];
	}
	if (count > 0)
		print_row(fields, widths, true);
	for (uint32_t i = 0; i < count; i++) {
		get_fields(snapshot, kind, i, fields);
		print_row(fields, widths, false);
	}
	return GS_CTL_DONE;
}

static int list(const struct gs_ctl *ctl, enum gs_kind kind, int argc, char **argv)
{
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	AUTO_SNAPSHOT struct gs_snapshot *snapshot = NULL;
	struct gs_error error = {0};

	if (argc > 0)
		return gs_ctl_usage(gs_kind_name(kind), "list", "unexpected \"%s\"", argv[0]);
	admin = gs_ctl_db_open(ctl);
	if (!admin)
		return GS_CTL_FAILED;
	if (gs_pg_admin_read(admin, &snapshot, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	return print_list(snapshot, kind, ctl->json);
}

/* ---- show ------------------------------------------------------------------------------------*/

/* Is the row about the object, or about a part of it? */
static bool concerns(const struct gs_pg_health *row, enum gs_kind kind, const char *name)
{
	switch (kind) {
	case GS_KIND_REGION:
		return strcmp(row->region, name) == 0;
	case GS_KIND_SERVICE:
		return strcmp(row->service, name) == 0;
	case GS_KIND_BACKEND:
		return strcmp(row->backend, name) == 0;
	default:
		return false;
	}
}

static json_t *health_json(const struct gs_pg_health *row)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "edge", row->edge, "kind", row->kind,
			 "region", row->region, "service", row->service, "backend", row->backend,
			 "state", row->state, "why", row->why, "since", row->since);
}

static void print_health(const struct gs_pg_health *row)
{
	const char *names[] = {row->region, row->service, row->backend};

	gs_ctl_printf("%-24s", row->kind);
	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		if (names[n][0])
			gs_ctl_printf(" %s", names[n]);
	gs_ctl_printf(": %s since %s, edge %s%s%s\n", row->state, row->since, row->edge,
		      row->why[0] ? ": " : "", row->why);
}

static int print_object(const struct gs_fields *fields, enum gs_kind kind, uint64_t revision,
			const struct gs_pg_health *rows, size_t count, json_t *object)
{
	char name[GS_OBJECT_NAME_MAX];
	bool as_json = object != NULL;
	json_t *health = as_json ? json_array() : NULL;

	gs_fields_name(fields, kind, name);
	for (int f = 0; !as_json && f < fields->count; f++)
		gs_ctl_printf("%-24s %s\n", fields->field[f].name,
			      fields->field[f].text[0] ? fields->field[f].text : "-");
	if (!as_json)
		gs_ctl_printf("%-24s %lu\n", "revision", (unsigned long)revision);
	for (size_t i = 0; i < count; i++) {
		if (!concerns(&rows[i], kind, name))
			continue;
		if (as_json)
			json_array_append_new(health, health_json(&rows[i]));
		else
			print_health(&rows[i]);
	}
	if (!as_json)
		return GS_CTL_DONE;
	json_object_set_new(object, "revision", json_integer((json_int_t)revision));
	json_object_set_new(object, "health", health);
	return gs_ctl_print_json(object);
}

static int show(const struct gs_ctl *ctl, enum gs_kind kind, int argc, char **argv)
{
	GS_AUTO_FREE struct gs_fields *fields = calloc(1, sizeof(*fields));
	GS_AUTO_ADMIN struct gs_pg_admin *admin = NULL;
	AUTO_SNAPSHOT struct gs_snapshot *snapshot = NULL;
	GS_AUTO_FREE struct gs_pg_health *rows = NULL;
	struct gs_error error = {0};
	char name[GS_OBJECT_NAME_MAX];
	size_t count = 0;

	if (argc != 1)
		return gs_ctl_usage(gs_kind_name(kind), "show", "which %s?", gs_kind_name(kind));
	admin = gs_ctl_db_open(ctl);
	if (!admin || !fields)
		return GS_CTL_FAILED;
	if (gs_pg_admin_read(admin, &snapshot, &error) != 0 ||
	    gs_pg_admin_health(admin, &rows, &count, &error) != 0)
		return gs_ctl_fail("%s", error.text);
	for (uint32_t i = 0; i < gs_kind_count(snapshot, kind); i++) {
		get_fields(snapshot, kind, i, fields);
		if (strcmp(gs_fields_name(fields, kind, name), argv[0]) == 0)
			return print_object(fields, kind, snapshot->revision, rows, count,
					    ctl->json ? object_json(snapshot, kind, i, fields)
						      : NULL);
	}
	gs_ctl_no_object(snapshot, kind, argv[0], &error);
	return gs_ctl_fail("%s", error.text);
}

/* ---- a command each --------------------------------------------------------------------------*/

#define COMMAND(object, verb, kind)                                                   \
	int gs_ctl_##object##_##verb(const struct gs_ctl *ctl, int argc, char **argv) \
	{                                                                             \
		return verb(ctl, kind, argc, argv);                                   \
	}

COMMAND(region, list, GS_KIND_REGION)
COMMAND(policy, list, GS_KIND_POLICY)
COMMAND(service, list, GS_KIND_SERVICE)
COMMAND(backend, list, GS_KIND_BACKEND)
COMMAND(override, list, GS_KIND_OVERRIDE)
COMMAND(access, list, GS_KIND_ACCESS)
COMMAND(fence, list, GS_KIND_FENCE)
COMMAND(region, show, GS_KIND_REGION)
COMMAND(policy, show, GS_KIND_POLICY)
COMMAND(service, show, GS_KIND_SERVICE)
COMMAND(backend, show, GS_KIND_BACKEND)
COMMAND(override, show, GS_KIND_OVERRIDE)
COMMAND(access, show, GS_KIND_ACCESS)
COMMAND(fence, show, GS_KIND_FENCE)
