/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator has laid over objects on this edge alone (core/overlay.h), in a file of its own:
 * it is made, holds and expires without the database. By names, as the snapshot's ids may change.
 */
#pragma once

#include "user/core/overlay.h"
#include "user/core/types.h"

#include <jansson.h>

/* Which object: region; service and region; backend. The others are "". */
struct gs_overlay_names {
	char region[GS_NAME_MAX], service[GS_NAME_MAX], backend[GS_NAME_MAX];
};

/* "eu", "web@eu", "web-1" as people and commands write them. Returns out. */
enum { GS_OVERLAY_NAME_MAX = 2 * GS_NAME_MAX };
const char *gs_overlay_name(const struct gs_overlay_names *names, char out[GS_OVERLAY_NAME_MAX]);
/* kind: "region", "service" or "backend". 0; -EINVAL with *error. */
int gs_overlay_names_parse(const char *kind, const char *text, struct gs_overlay_names *ret_names,
			   struct gs_error *error);
/* Is it a pattern (* ? [...]) rather than a name? */
bool gs_overlay_is_pattern(const char *text);
/*
 * Adds what `text` names: an object of the snapshot, or all that a pattern matches ("eu-*",
 * "web@*"), each once. names: room for max. 0, -EINVAL, -ENOENT (matches nothing), -ENOSPC.
 */
int gs_overlay_expand(const struct gs_snapshot *snapshot, const char *kind, const char *text,
		      struct gs_overlay_names *names, uint32_t max, uint32_t *count,
		      struct gs_error *error);
/* The names' ids into region, service and backend. False: the snapshot has no such object. */
bool gs_overlay_find_object(const struct gs_snapshot *snapshot,
			    const struct gs_overlay_names *names, struct gs_overlay *object);
/* Back again. */
struct gs_overlay_names gs_overlay_names_of(const struct gs_snapshot *snapshot,
					    const struct gs_overlay *overlay);
/* {"admin", "expires"?, "reason", "ticket"?, "actor", "edge"?, "version"?, "local"?} */
json_t *gs_overlay_json(const struct gs_overlay *overlay, bool is_local);

struct gs_local_overlays {
	char path[GS_PATH_MAX + 32];
	struct {
		struct gs_overlay_names names;
		struct gs_overlay overlay; /* region, service, backend are of no meaning */
	} entries[GS_OVERLAYS_LOCAL_MAX];
	uint32_t entry_count;
	/* Of objects that are there, with the snapshot's ids. */
	struct gs_overlay overlays[GS_OVERLAYS_LOCAL_MAX];
	uint32_t count;
};

/* No file: none. One that says nothing sensible: none, 0 is not returned, and *error tells. */
int gs_local_overlays_load(struct gs_local_overlays *local, const char *path,
			   struct gs_error *error);
/* In the place of what there is for the object, if there is. All or nothing, file included. 0,
 * -ENOSPC (too many), -errno of the file. */
int gs_local_overlays_set(struct gs_local_overlays *local, const struct gs_overlay_names *names,
			  uint32_t count, const struct gs_overlay *overlay, struct gs_error *error);
/* As above; what nothing is laid over is passed over. *ret_cleared: how many. */
int gs_local_overlays_clear(struct gs_local_overlays *local, const struct gs_overlay_names *names,
			    uint32_t count, uint32_t *ret_cleared, struct gs_error *error);
/* Those whose time has come go, from the file too. How many. */
uint32_t gs_local_overlays_expire(struct gs_local_overlays *local, int64_t unix_ms);
/*
 * To the objects of a snapshot. Those that one of the snapshot's for this edge supersedes go, from
 * the file too; how many.
 */
uint32_t gs_local_overlays_follow(struct gs_local_overlays *local,
				  const struct gs_snapshot *snapshot, const char *edge,
				  int64_t unix_ms);
