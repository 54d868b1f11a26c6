/* SPDX-License-Identifier: Apache-2.0 */
/* Operators' hands on this edge alone, and services that ignore health: what the loop does of it.
 */
#include "reconcile_parts.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PANIC_LOOK_MIN_MS = 100, CLOCK_TOLD_MS = 2000 };

/* ---- panic ----------------------------------------------------------------------------------- */

static void on_panic(struct gs_timer *timer)
{
	gs_reconcile_apply_words(timer->context, 0, "panic is looked at again");
}

static void wait_for_panics(struct gs_reconcile *r)
{
	uint64_t due_ms = gs_panics_due_ms(r->panics), now_ms = gs_loop_now_ms(r->ports.loop);
	uint64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 0;

	if (due_ms == UINT64_MAX)
		gs_loop_timer_clear(r->ports.loop, &r->panic_timer);
	else
		gs_loop_timer_set(r->ports.loop, &r->panic_timer,
				  left_ms < PANIC_LOOK_MIN_MS ? PANIC_LOOK_MIN_MS
							      : (uint32_t)left_ms);
}

bool gs_reconcile_tell_panics(struct gs_reconcile *r, char out[GS_PANIC_TEXT_MAX])
{
	bool found = false;

	for (uint32_t i = 0; i < r->snapshot->service_count; i++) {
		const struct gs_service *service = &r->snapshot->services[i];
		struct gs_panic_status status = gs_panics_get(r->panics, service->id);
		char text[GS_PANIC_TEXT_MAX];

		if (!status.changed)
			continue;
		gs_panic_text(r->snapshot, service, &status, text);
		gs_log(status.mode == GS_PANIC_CALM ? GS_LOG_INFO : GS_LOG_ERROR, "panic",
		       "service=%s mode=%s healthy_regions=%u of=%u norm=%u why=%s", service->name,
		       gs_panic_mode_name(status.mode), status.tally.healthy_regions,
		       status.tally.regions, status.tally.norm,
		       text[0] ? text : "health counts again");
		if (!found)
			snprintf(out, GS_PANIC_TEXT_MAX, "%.40s: %.100s", service->name,
				 text[0] ? text : "health counts again");
		found = true;
	}
	wait_for_panics(r);
	return found;
}

/* ---- the database's clock -------------------------------------------------------------------- */

void gs_reconcile_note_clock(struct gs_reconcile *r, const struct gs_snapshot *snapshot)
{
	r->clock_ahead_ms = snapshot->clock_ahead_ms;
	if (r->clock_ahead_ms > CLOCK_TOLD_MS || r->clock_ahead_ms < -CLOCK_TOLD_MS)
		gs_log_limited(GS_LOG_WARNING, "clock_differs", "database_ahead_ms=%ld why=%s",
			       (long)r->clock_ahead_ms,
			       "what expires does so by the database's clock");
}

/* ---- overlays of this edge ------------------------------------------------------------------- */

static int64_t clock_ms(const struct gs_reconcile *r)
{
	return gs_unix_ms() + r->clock_ahead_ms;
}

void gs_reconcile_drop_expired(struct gs_reconcile *r)
{
	uint32_t gone = gs_local_overlays_expire(&r->local, clock_ms(r));

	if (gone == 0)
		return;
	gs_log(GS_LOG_INFO, "edge_overlays_expired", "count=%u left=%u", gone,
	       r->local.entry_count);
	gs_reconcile_follow_overlays(r);
}

void gs_reconcile_follow_overlays(struct gs_reconcile *r)
{
	uint32_t gone;

	if (!r->snapshot)
		return;
	gone = gs_local_overlays_follow(&r->local, r->snapshot, r->settings.edge, clock_ms(r));
	if (gone > 0)
		gs_log(GS_LOG_WARNING, "edge_overlays_superseded", "count=%u why=%s", gone,
		       "the database says otherwise, and was told to");
}

/* Regions nobody answers in, as far as this edge sees. */
static struct gs_region_set regions_down(struct gs_reconcile *r)
{
	struct gs_region_set down;

	memset(&down, 0xff, sizeof(down));
	for (uint32_t i = 0; i < r->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &r->snapshot->backends[i];
		enum gs_health_state state = gs_reconcile_health(r, backend->id);

		if (state != GS_HEALTH_DOWN && state != GS_HEALTH_RECOVERING)
			down.words[backend->region / 64] &= ~(1ULL << backend->region % 64);
	}
	return down;
}

/* What would be laid over objects: the edge's own but those of `objects`, and `overlay` on them. */
static uint32_t lay_more(const struct gs_local_overlays *local, const struct gs_overlay *objects,
			 uint32_t count, struct gs_overlay *out)
{
	uint32_t made = 0;

	for (uint32_t i = 0; i < local->count; i++) {
		bool is_one = false;

		for (uint32_t o = 0; o < count && !is_one; o++)
			is_one = gs_overlay_same_object(&objects[o], &local->overlays[i]);
		if (!is_one)
			out[made++] = local->overlays[i];
	}
	memcpy(out + made, objects, count * sizeof(*objects));
	return made + count;
}

/* objects: with the overlay that is to be laid over each. */
static int check_rules(struct gs_reconcile *r, const struct gs_overlay *objects, uint32_t count,
		       double demand, struct gs_error *error)
{
	const struct gs_usable_health health = gs_reconcile_usable_health(r);
	struct gs_overlay_set set = gs_usable_overlays(r->snapshot, &health);
	GS_AUTO_FREE struct gs_admins *before = malloc(sizeof(*before));
	GS_AUTO_FREE struct gs_admins *after = malloc(sizeof(*after));
	GS_AUTO_FREE struct gs_overlay *laid = calloc(r->local.count + count, sizeof(*laid));
	struct gs_rule_facts facts = {.down = regions_down(r), .demand = demand};

	if (!before || !after || !laid)
		return gs_error_set(-ENOMEM, error, "no memory");
	gs_admins_resolve(r->snapshot, &set, before);
	set.local = laid;
	set.local_count = lay_more(&r->local, objects, count, laid);
	gs_admins_resolve(r->snapshot, &set, after);
	return gs_admins_check(r->snapshot, before, after, &facts, error);
}

/* The objects that are meant, with the overlay. -ENOENT: the snapshot has no such one. */
static int find_objects(const struct gs_reconcile *r, const struct gs_overlay_names *names,
			uint32_t count, const struct gs_overlay *overlay,
			struct gs_overlay *objects, struct gs_error *error)
{
	char name[GS_OVERLAY_NAME_MAX];

	for (uint32_t n = 0; n < count; n++) {
		objects[n] = *overlay;
		if (!gs_overlay_find_object(r->snapshot, &names[n], &objects[n]))
			return gs_error_set(-ENOENT, error,
					    "nothing in the configuration is named \"%s\"",
					    gs_overlay_name(&names[n], name));
	}
	return 0;
}

int gs_reconcile_lay(struct gs_reconcile *r, const struct gs_overlay_names *names, uint32_t count,
		     const struct gs_reconcile_laying *laying, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_overlay *objects = calloc(count + 1u, sizeof(*objects));
	struct gs_overlay overlay = laying->overlay;
	char name[GS_OVERLAY_NAME_MAX], why[96];
	int ret;

	if (!r->snapshot)
		return gs_error_set(-EAGAIN, error, "there is no configuration yet");
	if (!objects)
		return gs_error_set(-ENOMEM, error, "no memory");
	overlay.made_unix_ms = clock_ms(r);
	overlay.expires_unix_ms = overlay.made_unix_ms + laying->seconds * INT64_C(1000);
	ret = find_objects(r, names, count, &overlay, objects, error);
	if (ret == 0 && !laying->is_forced)
		ret = check_rules(r, objects, count, laying->demand, error);
	ret = ret ? ret : gs_local_overlays_set(&r->local, names, count, &overlay, error);
	if (ret)
		return ret;
	for (uint32_t n = 0; n < count; n++)
		gs_log(GS_LOG_WARNING, "edge_overlay",
		       "object=%s admin=%s seconds=%u actor=%s ticket=%s forced=%s reason=%s",
		       gs_overlay_name(&names[n], name), gs_admin_name(overlay.admin),
		       laying->seconds, overlay.actor, overlay.ticket,
		       laying->is_forced ? "yes" : "no", overlay.reason);
	snprintf(why, sizeof(why), "%s on this edge by %.20s: %.40s", gs_admin_name(overlay.admin),
		 overlay.actor, overlay.reason);
	gs_reconcile_follow_overlays(r);
	gs_reconcile_apply_words(r, 0, why);
	return 0;
}

int gs_reconcile_lift(struct gs_reconcile *r, const struct gs_overlay_names *names, uint32_t count,
		      const char *actor, uint32_t *ret_lifted, struct gs_error *error)
{
	int ret = gs_local_overlays_clear(&r->local, names, count, ret_lifted, error);
	char why[96];

	if (ret)
		return ret;
	gs_log(GS_LOG_INFO, "edge_overlays_lifted", "count=%u actor=%s", *ret_lifted, actor);
	snprintf(why, sizeof(why), "taken back on this edge by %.40s", actor);
	gs_reconcile_follow_overlays(r);
	gs_reconcile_apply_words(r, 0, why);
	return 0;
}

/* ---- ends ------------------------------------------------------------------------------------ */

int gs_reconcile_admin_new(struct gs_reconcile *r)
{
	struct gs_error error;

	r->panic_timer = (struct gs_timer){.on_due = on_panic, .context = r};
	r->panics = gs_panics_new();
	if (!r->panics)
		return -ENOMEM;
	if (r->settings.overlays[0] &&
	    gs_local_overlays_load(&r->local, r->settings.overlays, &error))
		gs_log(GS_LOG_ERROR, "edge_overlays_lost", "why=%s", error.text);
	if (r->local.entry_count > 0)
		gs_log(GS_LOG_WARNING, "edge_overlays", "count=%u since=before this start",
		       r->local.entry_count);
	return 0;
}

void gs_reconcile_admin_free(struct gs_reconcile *r)
{
	gs_loop_timer_clear(r->ports.loop, &r->panic_timer);
	gs_panics_free(r->panics);
}
