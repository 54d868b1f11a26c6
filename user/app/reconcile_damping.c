/* SPDX-License-Identifier: Apache-2.0 */
/* Backends that are held down because they flap: what the loop does of it. */
#include "reconcile_parts.h"

#include "user/base/cleanup.h"
#include "user/base/file.h"
#include "user/base/log.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is saved is saved so much later: what flaps does so again. */
enum { SAVE_AFTER_MS = 2000 };

/* ---- the file -------------------------------------------------------------------------------- */

static void load(struct gs_reconcile *r)
{
	json_error_t why;
	json_t *json;

	if (!r->settings.dampings[0] || access(r->settings.dampings, F_OK))
		return;
	json = json_load_file(r->settings.dampings, 0, &why);
	if (gs_dampings_load(r->dampings, json, gs_loop_now_ms(r->ports.loop), gs_unix_ms()))
		gs_log(GS_LOG_WARNING, "dampings_lost", "why=%s: not what this program writes",
		       r->settings.dampings);
	json_decref(json);
}

static void run_save(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;
	struct gs_damping_save *save = &r->damping_save;

	save->err = gs_file_replace(r->settings.dampings, save->text, &save->error);
}

static void save_done(struct gs_job *job)
{
	struct gs_reconcile *r = job->context;
	struct gs_damping_save *save = &r->damping_save;

	free(gs_take_ptr(save->text));
	if (save->err)
		gs_log_limited(GS_LOG_WARNING, "dampings_not_saved", "why=%s", save->error.text);
}

/* One at a time: the worker has it until its text is taken back. */
static void on_save(struct gs_timer *timer)
{
	struct gs_reconcile *r = timer->context;
	struct gs_damping_save *save = &r->damping_save;
	json_t *json;

	if (!r->snapshot || save->text) {
		gs_loop_timer_set(r->ports.loop, timer, SAVE_AFTER_MS);
		return;
	}
	save->is_due = false;
	json = gs_dampings_json(r->dampings, r->snapshot, gs_loop_now_ms(r->ports.loop),
				gs_unix_ms());
	save->text = json ? json_dumps(json, 0) : NULL;
	json_decref(json);
	if (!save->text)
		return;
	save->job = (struct gs_job){.run = run_save, .done = save_done, .context = r};
	gs_loop_work(r->ports.loop, &save->job);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void on_due(struct gs_timer *timer)
{
	gs_reconcile_apply_words(timer->context, 0, "damping ends");
}

void gs_reconcile_wait_for_dampings(struct gs_reconcile *r)
{
	uint64_t due_ms = gs_dampings_due_ms(r->dampings), now_ms = gs_loop_now_ms(r->ports.loop);
	uint64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 1;

	if (due_ms == UINT64_MAX)
		gs_loop_timer_clear(r->ports.loop, &r->damping_timer);
	else
		gs_loop_timer_set(r->ports.loop, &r->damping_timer,
				  left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX);
	if (!r->settings.dampings[0] || !gs_dampings_is_unsaved(r->dampings) ||
	    r->damping_save.is_due)
		return;
	r->damping_save.is_due = true;
	gs_loop_timer_set(r->ports.loop, &r->damping_save_timer, SAVE_AFTER_MS);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

void gs_reconcile_damp(struct gs_reconcile *r, const struct gs_backend *backend,
		       const struct gs_monitor_verdict *verdict)
{
	const struct gs_self *self = gs_votes_self(r->votes);
	uint64_t now_ms = gs_loop_now_ms(r->ports.loop);

	/* What fails with everything else, or because this edge does, is no flapping of its own. */
	if (self->state != GS_SELF_WELL) {
		uint64_t since_ms =
			self->since_ms > GS_SELF_WINDOW_MS ? self->since_ms - GS_SELF_WINDOW_MS : 0;

		gs_dampings_take_back(r->dampings, r->snapshot, since_ms, now_ms);
		return;
	}
	if (!verdict->up && !verdict->first)
		gs_dampings_on_down(r->dampings, r->snapshot, backend, now_ms);
}

/* ---- operators ------------------------------------------------------------------------------- */

int gs_reconcile_undamp(struct gs_reconcile *r, const struct gs_overlay_names *names,
			uint32_t count, const char *actor, uint32_t *ret_cleared,
			struct gs_error *error)
{
	char why[96];

	if (!r->snapshot)
		return gs_error_set(-EAGAIN, error, "there is no configuration yet");
	*ret_cleared = 0;
	for (uint32_t n = 0; n < count; n++) {
		const struct gs_backend *backend =
			gs_snapshot_backend_named(r->snapshot, names[n].backend);

		if (!backend || !gs_dampings_clear(r->dampings, backend->id))
			continue;
		(*ret_cleared)++;
		gs_log(GS_LOG_INFO, "damping_cleared", "backend=%s actor=%s", backend->name, actor);
	}
	snprintf(why, sizeof(why), "damping cleared by %.40s", actor);
	if (*ret_cleared > 0)
		gs_reconcile_apply_words(r, 0, why);
	return 0;
}

/* ---- ends ------------------------------------------------------------------------------------ */

int gs_reconcile_damping_new(struct gs_reconcile *r)
{
	r->damping_timer = (struct gs_timer){.on_due = on_due, .context = r};
	r->damping_save_timer = (struct gs_timer){.on_due = on_save, .context = r};
	r->dampings = gs_dampings_new();
	if (!r->dampings)
		return -ENOMEM;
	load(r);
	return 0;
}

void gs_reconcile_damping_free(struct gs_reconcile *r)
{
	gs_loop_timer_clear(r->ports.loop, &r->damping_timer);
	gs_loop_timer_clear(r->ports.loop, &r->damping_save_timer);
	free(r->damping_save.text);
	gs_dampings_free(r->dampings);
}
