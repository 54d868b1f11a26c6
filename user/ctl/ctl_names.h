/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for the ids that maps have: the daemon's, or those of the last snapshot it saved if it does
 * not answer.
 */
#pragma once

#include "user/ctl/ctl.h"

#include <jansson.h>

enum gs_ctl_kind { GS_CTL_SERVICE, GS_CTL_REGION, GS_CTL_BACKEND, GS_CTL_KIND__COUNT };

struct gs_ctl_names {
	char **names[GS_CTL_KIND__COUNT]; /* by id; owned */
	uint32_t counts[GS_CTL_KIND__COUNT];
};
#define GS_CTL_NAME_MAX (GS_NAME_MAX + 16)

/* Says on standard error if there are none; then ids stand for them. */
void gs_ctl_names_load(const struct gs_ctl *ctl, struct gs_ctl_names *ret_names);
/* Harmless on a zeroed one. */
void gs_ctl_names_done(struct gs_ctl_names *names);
bool gs_ctl_names_has(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id);
/* The name; "id 7" if it has none; "-" for 0. Into out, and returns it. */
const char *gs_ctl_name(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id,
			char out[GS_CTL_NAME_MAX]);
/* The same for JSON: null for 0. */
json_t *gs_ctl_name_json(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id);
/* A name, or a number where there are no names. 0 and it is told what is wrong: none. */
gs_id gs_ctl_name_id(const struct gs_ctl_names *names, enum gs_ctl_kind kind, const char *text);
