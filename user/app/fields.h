/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the desired state as named texts, references by name: what the CLI shows, what two
 * states are compared by, and what travels to the database. Field names are the columns' names.
 */
#pragma once

#include "user/core/types.h"

#include <jansson.h>
#include <stddef.h>

enum gs_kind {
	GS_KIND_REGION,
	GS_KIND_POLICY,
	GS_KIND_SERVICE,
	GS_KIND_BACKEND,
	GS_KIND_OVERRIDE,
	GS_KIND_ACCESS,
	GS_KIND_FENCE,
	GS_KIND__COUNT
};

enum {
	GS_FIELDS_MAX = 64,
	GS_FIELD_TEXT_MAX = GS_FENCE_REGIONS_MAX * GS_NAME_MAX + 64,
	GS_OBJECT_NAME_MAX = 128,
};

enum gs_field_type {
	GS_FIELD_TEXT,
	GS_FIELD_NUMBER /* or true, false */,
	GS_FIELD_LIST, /* comma-separated names */
	GS_FIELD_MAP,  /* names and numbers: "eu:70,us:30" */
};

struct gs_field {
	const char *name;
	enum gs_field_type type;
	bool is_unset; /* optional, and as it is where nobody says: tables leave it out */
	char text[GS_FIELD_TEXT_MAX];
};

/* field[0] is what identifies the object: its name; an access rule's prefix, a fence's place, an
 * override's prefix or place. */
struct gs_fields {
	int count;
	struct gs_field field[GS_FIELDS_MAX];
};

const char *gs_kind_name(enum gs_kind kind);   /* "region" */
const char *gs_kind_plural(enum gs_kind kind); /* "regions": list and table */
uint32_t gs_kind_count(const struct gs_snapshot *snapshot, enum gs_kind kind);

/* index < gs_kind_count. The snapshot passed gs_snapshot_check. */
void gs_fields_get(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
		   struct gs_fields *ret_fields);
/*
 * What people and the audit call the object: its name, prefix or place; an access rule or fence of
 * one service "PREFIX@SERVICE", "PLACE@SERVICE". Writes to out and returns it.
 */
const char *gs_fields_name(const struct gs_fields *fields, enum gs_kind kind,
			   char out[GS_OBJECT_NAME_MAX]);
/* Where documents have a field: in *ret_group (NULL: in the object itself) as *ret_member. */
void gs_field_place(const char *name, const char **ret_group, const char **ret_member);
/* The field a document has there: "limits.flows" is limit_flows; others as they are. */
void gs_field_flat(const char *place, char *out, size_t size);
/* NULL if there is none. */
const char *gs_fields_text(const struct gs_fields *fields, const char *name);
/* An object of numbers, strings, lists and objects of numbers. New reference, NULL: no memory. */
json_t *gs_fields_json(const struct gs_fields *fields);
