/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include "cleanup.h"

#include <errno.h>

/* Where each phase begins, in thousandths of the whole, as they took with a database of cities. */
static const uint32_t BEGINS[GS_PHASE__COUNT + 1] = {0, 0, 50, 600, 750, 800, 900, 1000};
static const char *const NAMES[] = {"",		"reading",   "locating", "compiling",
				    "planning", "comparing", "uploading"};
_Static_assert(ARRAY_SIZE(NAMES) == GS_PHASE__COUNT, "a name for each phase");

#define SET(member, value) __atomic_store_n(&(member), value, __ATOMIC_RELAXED)
#define GET(member) __atomic_load_n(&(member), __ATOMIC_RELAXED)

const char *gs_phase_name(enum gs_phase phase)
{
	return NAMES[phase];
}

void gs_progress_size(struct gs_progress *progress, uint64_t size_bytes)
{
	if (progress)
		SET(progress->size_, size_bytes);
}

void gs_progress_begin(struct gs_progress *progress, enum gs_phase phase, uint64_t total)
{
	if (!progress)
		return;
	SET(progress->phase_, phase);
	SET(progress->done_, 0);
	SET(progress->total_, total);
	if (BEGINS[phase] > GET(progress->permille_))
		SET(progress->permille_, BEGINS[phase]);
}

int gs_progress_at(struct gs_progress *progress, uint64_t done)
{
	uint32_t phase, permille;
	uint64_t total;

	if (!progress)
		return 0;
	phase = GET(progress->phase_);
	total = GET(progress->total_);
	if (done > total)
		done = total;
	SET(progress->done_, done);
	permille = BEGINS[phase];
	if (total > 0)
		permille += (uint32_t)((double)(BEGINS[phase + 1] - BEGINS[phase]) * (double)done /
				       (double)total);
	if (permille > GET(progress->permille_))
		SET(progress->permille_, permille);
	return GET(progress->is_cancelled_) ? -ECANCELED : 0;
}

void gs_progress_reset(struct gs_progress *progress)
{
	SET(progress->phase_, GS_PHASE_NONE);
	SET(progress->permille_, 0);
	SET(progress->done_, 0);
	SET(progress->total_, 0);
	SET(progress->size_, 0);
	SET(progress->is_cancelled_, false);
}

void gs_progress_cancel(struct gs_progress *progress)
{
	SET(progress->is_cancelled_, true);
}

void gs_progress_look(const struct gs_progress *progress, struct gs_progress_view *ret_view)
{
	*ret_view = (struct gs_progress_view){
		.phase = (enum gs_phase)GET(progress->phase_),
		.done = GET(progress->done_),
		.total = GET(progress->total_),
		.size_bytes = GET(progress->size_),
		.percent = GET(progress->permille_) / 10,
		.is_cancelled = GET(progress->is_cancelled_),
	};
}
