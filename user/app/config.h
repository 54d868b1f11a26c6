/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of one edge. A flag wins over the environment (GEOSTREAM_DATABASE ...), that over
 * the file (`key = value` lines, # comments), that over the default.
 */
#pragma once

#include "user/base/log.h"
#include "user/core/anchor.h"
#include "user/core/types.h"

#include <stddef.h>

#define GS_CONFIG_PATH_DEFAULT "/etc/geostream/geostream.conf"

/* Which VIPs the edge answers for on its links, by ARP and neighbour discovery. */
enum gs_announce {
	GS_ANNOUNCE_AUTO, /* those in a prefix of a link that carries the program */
	GS_ANNOUNCE_ON,	  /* all, on all such links */
	GS_ANNOUNCE_OFF,
};

/* Where the edge is. */
struct gs_config_coord {
	bool is_told;
	struct gs_coord coord;
};

struct gs_config {
	char database[1024]; /* anything libpq takes; "": libpq's own PG* variables */
	char edge[GS_NAME_MAX];
	char site[GS_NAME_MAX];	 /* what it shares fate with; "": not told */
	char geoip[GS_PATH_MAX]; /* "": none, every client's location is unknown */
	char asn[GS_PATH_MAX];	 /* "": none, nobody is under an override of a system */
	char pin_dir[GS_PATH_MAX];
	char socket[108];
	char state_dir[GS_PATH_MAX];
	char http_listen[64]; /* "": no HTTP */
	enum gs_log_level log_level;
	enum gs_log_format log_format;
	uint32_t failover_budget_ms;
	char probe_commands[GS_PATH_MAX]; /* the folder probes of kind exec find theirs in */
	struct gs_outer_sources outer_sources;
	enum gs_announce announce;
	struct gs_config_coord coordinates; /* its probes' round trips count if they are told */
	uint32_t latency_ms;		    /* how often round trips are told and judged */
	struct gs_anchor_set anchors;
	uint32_t geoip_change_limit; /* percent; GS_GEO_LIMIT_OFF: none */
	uint32_t handshakes; /* of so many new TCP flows one is watched; a power of two; 0: none */
};

/* Told of each problem; place: "FILE:LINE", "GEOSTREAM_EDGE", "--set". */
struct gs_config_problems {
	void (*on_problem)(void *context, const char *place, const char *text);
	void *context;
};

void gs_config_default(struct gs_config *ret_config);
/* Each returns 0 or -EINVAL (something was reported; what was good is set). */
int gs_config_read_text(struct gs_config *config, const char *name, const char *text, size_t length,
			const struct gs_config_problems *problems);
/* Also -ENOENT and other open errors, reported too. */
int gs_config_read_file(struct gs_config *config, const char *path,
			const struct gs_config_problems *problems);
int gs_config_read_environment(struct gs_config *config, const struct gs_config_problems *problems);
/* "key=value", as of a flag. */
int gs_config_set(struct gs_config *config, const char *assignment, const char *place,
		  const struct gs_config_problems *problems);
/* Settings that a running daemon cannot take over (they differ): their names, or "". */
const char *gs_config_not_reloadable(const struct gs_config *running, const struct gs_config *next,
				     char *out, size_t room);
