/* SPDX-License-Identifier: Apache-2.0 */
/* An ASN database in an mmdb file: whose addresses are whose. Only the mmdb adapter uses it. */
#pragma once

#include "user/base/error.h"
#include "user/core/asn.h"

/*
 * path and load_us are the caller's to set. -errno of the file, -EINVAL (*error: what is wrong, and
 * where; or that no record names a system), -ENOMEM.
 */
struct gs_progress;
int gs_mmdb_asn_load(const char *path, struct gs_progress *progress, struct gs_asndata **ret_asn,
		     struct gs_error *error);
/* NULL is fine. */
void gs_mmdb_asn_free(struct gs_asndata *asn);
