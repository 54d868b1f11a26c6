/* SPDX-License-Identifier: Apache-2.0 */
/*
 * geostreamctl's command table. OBJECT VERB [ARGUMENT ...], as ip and bpftool have it. A command
 * prints its result on standard output (JSON with -j), its errors on standard error as
 * "geostreamctl: ...", and returns the exit code.
 */
#pragma once

#include "user/core/types.h"

#include <stdbool.h>
#include <stddef.h>

enum gs_ctl_exit { GS_CTL_DONE = 0, GS_CTL_FAILED = 1, GS_CTL_USAGE = 2 };

struct gs_ctl {
	bool json;
	const char *config_path; /* geostream.conf; flag, then GEOSTREAM_CONFIG, then /etc */
	const char *socket_path; /* the daemon's; flag, GEOSTREAM_SOCKET, config file, default */
	const char *conninfo;	 /* flag, GEOSTREAM_DATABASE, config file, "" (libpq's own PG*) */
	const char *pin_dir;	 /* of the maps: configuration */
	const char *state_dir;	 /* of the daemon: configuration */
	const char *actor;	 /* who makes changes; flag, GEOSTREAM_ACTOR, USER@HOST */
};

struct gs_ctl_command {
	const char *object; /* "region"; with verb "" a command of one word: "status" */
	const char *verb;
	const char *arguments; /* as usage shows them */
	const char *summary;
	/* argv: what follows the verb */
	int (*run)(const struct gs_ctl *ctl, int argc, char **argv);
};

/* Each ends with a row whose object is NULL. */
extern const struct gs_ctl_command gs_ctl_db_commands[];      /* ctl_db.c: straight to PostgreSQL */
extern const struct gs_ctl_command gs_ctl_daemon_commands[];  /* ctl_daemon.c: asks geostreamd */
extern const struct gs_ctl_command gs_ctl_geo_commands[];     /* ctl_geo.c: GeoIP databases */
extern const struct gs_ctl_command gs_ctl_history_commands[]; /* ctl_history.c: what was */
extern const struct gs_ctl_command gs_ctl_edge_commands[];    /* ctl_edge.c: this edge's reach */
extern const struct gs_ctl_command gs_ctl_live_commands[];    /* ctl_live.c: health, breakers */
extern const struct gs_ctl_command
	gs_ctl_explain_commands[]; /* ctl_explain.c: the program itself */
extern const struct gs_ctl_command gs_ctl_monitor_commands[]; /* ctl_monitor.c: verdicts, live */
extern const struct gs_ctl_command gs_ctl_flow_commands[];    /* ctl_flow.c: the flow table */
extern const struct gs_ctl_command
	gs_ctl_handshake_commands[]; /* ctl_handshake.c: what clients see */
extern const struct gs_ctl_command gs_ctl_capacity_commands[]; /* ctl_capacity.c: full regions */
extern const struct gs_ctl_command gs_ctl_demand_commands[];   /* ctl_demand.c: new flows */
extern const struct gs_ctl_command gs_ctl_latency_commands[];  /* ctl_latency.c: round trips */
extern const struct gs_ctl_command gs_ctl_votes_commands[];    /* ctl_votes.c: many vantages */
extern const struct gs_ctl_command gs_ctl_quorum_commands[];   /* ctl_quorum.c: their rule */
extern const struct gs_ctl_command gs_ctl_overlay_commands[];  /* ctl_overlay.c: drain, ... */
extern const struct gs_ctl_command gs_ctl_file_commands[];     /* ctl_file.c: files only */
extern const struct gs_ctl_command *const gs_ctl_tables[];     /* all of them; ends with NULL */

/* "geostreamctl: <format>" and a newline; returns GS_CTL_FAILED. */
int gs_ctl_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints the command's usage line; returns GS_CTL_USAGE. */
int gs_ctl_usage(const char *object, const char *verb, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* An option the command has not; names the one of these that was probably meant. The same. */
int gs_ctl_unexpected(const char *object, const char *verb, const char *option,
		      const char *const *options, size_t count);
/* Decimal digits and nothing else, up to 2^64 - 1. False: no such number, *ret_number as it was. */
bool gs_ctl_digits(const char *text, uint64_t *ret_number);
