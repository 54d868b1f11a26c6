/* SPDX-License-Identifier: Apache-2.0 */
/* What the database commands share. */
#pragma once

#include "user/adapters/pg_admin.h"
#include "user/ctl/ctl.h"

/* gs_pg_admin_open, its error already printed. */
struct gs_pg_admin *gs_ctl_db_open(const struct gs_ctl *ctl);
void gs_ctl_db_close_ptr(struct gs_pg_admin **admin);
#define GS_AUTO_ADMIN GS_CLEANUP(gs_ctl_db_close_ptr)

/*
 * Opens the database, makes the change (gs_pg_admin_edit), prints what changed or would change, as
 * +, - and ~ lines or as JSON. The exit code.
 */
int gs_ctl_db_edit(const struct gs_ctl *ctl, const struct gs_pg_change *change);
/*
 * Takes --dry-run and --since REVISION, which every change has, out of the arguments into *change.
 * GS_CTL_USAGE: told what is wrong with them.
 */
int gs_ctl_take_change(const char *object, const char *verb, int *argc, char **argv,
		       struct gs_pg_change *change);
/* "no region is named "eo"; did you mean "eu"?"; -ENOENT */
int gs_ctl_no_object(const struct gs_snapshot *snapshot, enum gs_kind kind, const char *name,
		     struct gs_error *error);

/* "90s", "10m", "2h", "7d" in seconds; 0: none of these (7 days at most). ctl_history.c */
uint32_t gs_ctl_span_s(const char *text);
uint32_t gs_ctl_span_within(const char *text, uint32_t max_s);

/* Prints and frees; GS_CTL_DONE. */
int gs_ctl_print_json(json_t *json);

/* ctl_db_show.c */
int gs_ctl_region_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_policy_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_service_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_backend_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_override_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_access_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_fence_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_region_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_policy_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_service_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_backend_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_override_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_access_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_fence_show(const struct gs_ctl *ctl, int argc, char **argv);

/* ctl_edit.c */
#define GS_CTL_EDITS(object)                                                        \
	int gs_ctl_##object##_add(const struct gs_ctl *ctl, int argc, char **argv); \
	int gs_ctl_##object##_set(const struct gs_ctl *ctl, int argc, char **argv); \
	int gs_ctl_##object##_remove(const struct gs_ctl *ctl, int argc, char **argv)
GS_CTL_EDITS(region);
GS_CTL_EDITS(policy);
GS_CTL_EDITS(service);
GS_CTL_EDITS(backend);
GS_CTL_EDITS(override);
GS_CTL_EDITS(access);
GS_CTL_EDITS(fence);
