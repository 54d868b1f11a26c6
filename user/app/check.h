/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as all sources together have them, and what --check says of them. */
#pragma once

#include "config.h"

/*
 * Default, file (path; NULL: GEOSTREAM_CONFIG, else /etc/geostream/geostream.conf, which need not
 * exist), environment, then `sets`. Problems go to standard error, a line each. 0 or -EINVAL.
 */
int gs_check_config(const char *path, int set_count, char **sets, struct gs_config *ret_config);

/*
 * For --check: the last good snapshot, if there is one: every service's worst-case failover time
 * against the budget, the GeoIP file's presence. Prints; 0, or -EINVAL if anything is wrong.
 */
int gs_check_snapshot(const struct gs_config *config);
