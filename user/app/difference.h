/* SPDX-License-Identifier: Apache-2.0 */
/* What has to change to get from one desired state to another. Objects are matched by name. */
#pragma once

#include "user/app/fields.h"

enum gs_change_verb { GS_CHANGE_REMOVE, GS_CHANGE_UPDATE, GS_CHANGE_ADD };

struct gs_change {
	enum gs_kind kind;
	enum gs_change_verb verb;
	uint32_t have; /* index in the old state; not of ADD */
	uint32_t want; /* index in the new state; not of REMOVE */
};

struct gs_difference {
	const struct gs_snapshot *have; /* not owned */
	const struct gs_snapshot *want;
	struct gs_change *changes; /* by kind; the removed first, then in the new state's order */
	size_t count;
};

/* Both passed gs_snapshot_check. Ids, revision and seed do not count. 0 or -ENOMEM. */
int gs_difference_make(const struct gs_snapshot *have, const struct gs_snapshot *want,
		       struct gs_difference *ret_difference);
void gs_difference_done(struct gs_difference *difference);

/* {"change":"add","kind":"region","name":"eu","fields":{...}}; update: {"field":{"from","to"}} */
json_t *gs_change_json(const struct gs_difference *difference, const struct gs_change *change);
/* "+ region eu: latitude 50.1 ...", "~ region eu: cost 1 -> 2", "- region eu"; to free. */
char *gs_change_text(const struct gs_difference *difference, const struct gs_change *change);
