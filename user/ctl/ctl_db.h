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
int gs_ctl_db_edit(const struct gs_ctl *ctl,
		   int (*make)(const struct gs_snapshot *have, void *context,
			       struct gs_snapshot **ret_want, struct gs_error *error),
		   void *context, bool dry_run);

/* Prints and frees; GS_CTL_DONE. */
int gs_ctl_print_json(json_t *json);

/* ctl_db_show.c */
int gs_ctl_region_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_policy_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_service_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_backend_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_override_list(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_region_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_policy_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_service_show(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_backend_show(const struct gs_ctl *ctl, int argc, char **argv);

/* ctl_db_set.c */
int gs_ctl_region_set(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_backend_set(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_override_add(const struct gs_ctl *ctl, int argc, char **argv);
int gs_ctl_override_remove(const struct gs_ctl *ctl, int argc, char **argv);
