/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration document: a whole desired state as JSON, references by name. Lists regions,
 * policies, services and backends are mandatory (an object that is not there is removed by apply:
 * forgetting a list must not empty it), overrides is not. Keys nobody knows are errors.
 */
#pragma once

#include "user/core/types.h"

#include <stddef.h>

/*
 * name: of the document, for errors: "NAME:LINE: services[0].port: 70000 is not a port (0 to
 * 65535)". Ids are given out in the document's order, 1 first; revision and seed are 0. The result
 * has passed gs_snapshot_check. 0, -EINVAL or -ENOMEM.
 */
int gs_document_parse(const char *text, size_t length, const char *name,
		      struct gs_snapshot **ret_snapshot, struct gs_error *error);
/* path: "-" is standard input. As above; -errno if it cannot be read, -EFBIG beyond 64 MB. */
int gs_document_load(const char *path, struct gs_snapshot **ret_snapshot, struct gs_error *error);
