/* SPDX-License-Identifier: Apache-2.0 */
/* mmdb files the lab's tools make. */
#pragma once

#include "user/geoip/mmdb_writer.h"

/* Of one build time, so that the same input gives the same bytes. 0 or -errno. */
int lab_mmdb_save(struct gs_mmdb_writer *writer, const char *database_type, const char *description,
		  const char *path);
