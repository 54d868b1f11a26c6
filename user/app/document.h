/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration document: a whole desired state as JSON, references by name. Lists regions,
 * policies, services and backends are mandatory (an object that is not there is removed by apply:
 * forgetting a list must not empty it), overrides is not. Keys nobody knows are errors.
 *
 * A document of a whole configuration (gs_document_json, exact) also has "selection_seed" (16 hex
 * digits) and an "id" in its objects: then another database comes to the same decisions.
 */
#pragma once

#include "user/app/fields.h"
#include "user/core/types.h"

#include <jansson.h>
#include <stddef.h>

/*
 * name: of the document, for errors: "NAME:LINE: services[0].port: 70000 is not a port (0 to
 * 65535)". Ids that the document does not give (id_is_given) are the lowest free ones in its order;
 * revision is 0, and seed too unless seed_is_given. The result has passed gs_snapshot_check. 0,
 * -EINVAL or -ENOMEM.
 */
int gs_document_parse(const char *text, size_t length, const char *name,
		      struct gs_snapshot **ret_snapshot, struct gs_error *error);
/* The same of a document that is JSON already; places have no line. */
int gs_document_read(json_t *document, struct gs_snapshot **ret_snapshot, struct gs_error *error);
/* path: "-" is standard input. As above; -errno if it cannot be read, -EFBIG beyond 64 MB. */
int gs_document_load(const char *path, struct gs_snapshot **ret_snapshot, struct gs_error *error);

/*
 * The snapshot as a document, objects in the order of their ids, defaults written out. exact: ids
 * and seed too. New reference, NULL: no memory. Forces are no part of it.
 */
json_t *gs_document_json(const struct gs_snapshot *snapshot, bool exact);
/* One object of it; index < gs_kind_count. */
json_t *gs_document_object(const struct gs_snapshot *snapshot, enum gs_kind kind, uint32_t index,
			   bool exact);
