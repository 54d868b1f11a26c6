/* SPDX-License-Identifier: Apache-2.0 */
/* The settings as all sources together have them, and what --check says of them. */
#pragma once

#include "config.h"
#include "user/ports.h"

enum { GS_SETS_MAX = 32 };

/* The command line of geostreamd. */
struct gs_arguments {
	const char *config_path;       /* NULL: not named */
	const char *sets[GS_SETS_MAX]; /* KEY=VALUE */
	int set_count;
	bool only_check;
};

/* -1: go on. Otherwise the exit code; what there was to say is printed. */
int gs_check_arguments(int argc, char **argv, struct gs_arguments *ret_arguments);

/*
 * Default, file (config_path; NULL: GEOSTREAM_CONFIG, else /etc/geostream/geostream.conf, which
 * need not exist), environment, then the sets. Problems go to standard error, a line each. 0 or
 * -EINVAL.
 */
int gs_check_config(const struct gs_arguments *arguments, struct gs_config *ret_config);

/*
 * For --check: the GeoIP file as a load would find it, and the last good snapshot, if there is one,
 * with every service's worst-case failover time against the budget. Prints; 0 or -EINVAL.
 */
int gs_check_files(const struct gs_config *config, const struct gs_geodb *geodb);
