/* SPDX-License-Identifier: Apache-2.0 */
/* Every automatic change, told: one log line for people, one transition for the store. */
#pragma once

#include "usable.h"
#include "user/ports.h"

struct gs_telling {
	const struct gs_store *store;
	const struct gs_snapshot *snapshot;  /* names; of `after` */
	const struct gs_usable_view *before; /* NULL: nothing was known */
	const struct gs_usable_view *after;
	gs_id first; /* a backend whose verdict is its first: it was unknown; 0: none */
	const char *why;
};

/* Backends, pools, regions: those whose state differs. */
void gs_tell_changes(const struct gs_telling *telling);
