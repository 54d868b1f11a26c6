// SPDX-License-Identifier: Apache-2.0
#include "dampings.h"

#include "user/core/cidr.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is less is as good as none: not kept, not shown. */
#define WORTH_KEEPING 1.0
#define WORTH_SHOWING (GS_DAMPING_FLAP / 20.0)

enum release { LASTS_LONG_ENOUGH, IS_NEEDED, IS_CLEARED, IS_FORCED };

struct one {
	struct gs_damping damping;
	struct gs_addr addr; /* it is what is at this address that flaps */
	bool is_known;	     /* damping says something */
	bool is_held;
	bool stood;    /* is_held, as the last step left it */
	bool was_held; /* as the one before it did */
	enum release release;
};

/* Of a daemon before this one, until there is a snapshot. */
struct saved {
	char name[GS_NAME_MAX];
	struct gs_addr addr;
	double penalty;
	bool is_suppressed, is_held;
	uint32_t flaps;
	uint64_t away_ms; /* before it was loaded */
};

struct gs_dampings {
	struct one ones[GS_MAX_BACKENDS];
	uint32_t known, held, changed;
	uint64_t due_ms;
	const struct gs_snapshot *swept; /* only compared; another one may be at its place */
	uint64_t swept_revision;
	struct saved *saved;
	uint32_t saved_count;
	uint64_t loaded_ms;
	bool is_unsaved;
};

struct gs_dampings *gs_dampings_new(void)
{
	struct gs_dampings *dampings = calloc(1, sizeof(*dampings));

	if (dampings)
		dampings->due_ms = UINT64_MAX;
	return dampings;
}

void gs_dampings_free(struct gs_dampings *dampings)
{
	if (!dampings)
		return;
	free(dampings->saved);
	free(dampings);
}

bool gs_dampings_hold(const struct gs_dampings *dampings, gs_id backend)
{
	return dampings && dampings->ones[backend].is_held;
}

uint64_t gs_dampings_due_ms(const struct gs_dampings *dampings)
{
	return dampings ? dampings->due_ms : UINT64_MAX;
}

uint32_t gs_dampings_held(const struct gs_dampings *dampings)
{
	return dampings ? dampings->held : 0;
}

/* ---- what happens to one --------------------------------------------------------------------- */

static const struct gs_damping_spec *spec_of(const struct gs_snapshot *snapshot,
					     const struct gs_backend *backend)
{
	return &gs_snapshot_service(snapshot, backend->service)->damping;
}

static void forget(struct gs_dampings *dampings, struct one *one)
{
	if (one->is_known)
		dampings->known--;
	one->is_known = false;
	one->damping = (struct gs_damping){0};
}

static struct one *know(struct gs_dampings *dampings, const struct gs_backend *backend)
{
	struct one *one = &dampings->ones[backend->id];

	if (one->is_known && gs_addr_compare(&one->addr, &backend->addr) != 0)
		forget(dampings, one);
	if (!one->is_known)
		dampings->known++;
	one->is_known = true;
	one->addr = backend->addr;
	return one;
}

void gs_dampings_on_down(struct gs_dampings *dampings, const struct gs_snapshot *snapshot,
			 const struct gs_backend *backend, uint64_t now_ms)
{
	if (!dampings)
		return;
	gs_damping_flap(&know(dampings, backend)->damping, spec_of(snapshot, backend), now_ms);
	dampings->is_unsaved = true;
}

void gs_dampings_take_back(struct gs_dampings *dampings, const struct gs_snapshot *snapshot,
			   uint64_t since_ms, uint64_t now_ms)
{
	for (uint32_t i = 0; dampings && dampings->known > 0 && i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		struct one *one = &dampings->ones[backend->id];

		if (one->is_known)
			gs_damping_take_back(&one->damping, spec_of(snapshot, backend), since_ms,
					     now_ms);
	}
}

static void release(struct one *one, enum release why)
{
	if (one->is_held)
		one->release = why;
	one->is_held = false;
}

bool gs_dampings_clear(struct gs_dampings *dampings, gs_id backend)
{
	struct one *one = dampings ? &dampings->ones[backend] : NULL;

	if (!one || !one->is_known)
		return false;
	release(one, IS_CLEARED);
	forget(dampings, one);
	dampings->is_unsaved = true;
	return true;
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* One service, as the floor has it. */
struct floor {
	uint64_t all, serving;
	bool has_held; /* one that answers */
};

struct look {
	struct gs_dampings *dampings;
	const struct gs_usable_view *view;
	const struct gs_snapshot *snapshot;
	const struct gs_usable_health *health;
	struct floor floors[GS_MAX_SERVICES];
};

static bool is_alive(enum gs_health_state state)
{
	return state == GS_HEALTH_UP || state == GS_HEALTH_SUSPECT;
}

static enum gs_health_state seen(const struct look *look, const struct gs_backend *backend)
{
	return look->health->get(look->health->context, backend->id);
}

/* Forced up, by an operator's hand on it, its pool or its region. */
static bool is_forced(const struct look *look, const struct gs_backend *backend)
{
	return gs_usable_takes_new(look->view, backend) &&
	       !gs_usable_is_for_health(look->view, backend);
}

/* What is no more, or is somewhere else now, has not flapped. */
static void sweep(struct look *look)
{
	struct gs_dampings *dampings = look->dampings;

	if (dampings->swept == look->snapshot &&
	    dampings->swept_revision == look->snapshot->revision)
		return;
	dampings->swept = look->snapshot;
	dampings->swept_revision = look->snapshot->revision;
	for (uint32_t id = 1; dampings->known > 0 && id < GS_MAX_BACKENDS; id++) {
		struct one *one = &dampings->ones[id];
		const struct gs_backend *backend;

		if (!one->is_known)
			continue;
		backend = gs_snapshot_backend(look->snapshot, (gs_id)id);
		if (backend && gs_addr_compare(&backend->addr, &one->addr) == 0)
			continue;
		forget(dampings, one);
		one->is_held = false;
		one->stood = false;
		one->was_held = false;
	}
}

/* What was saved, once there is somebody it is of. */
static void take_saved(struct look *look)
{
	struct gs_dampings *dampings = look->dampings;
	uint64_t now_ms = look->health->now_ms;

	for (uint32_t i = 0; i < dampings->saved_count; i++) {
		const struct saved *saved = &dampings->saved[i];
		const struct gs_backend *backend =
			gs_snapshot_backend_named(look->snapshot, saved->name);
		const struct gs_damping then = {.penalty = saved->penalty};
		struct one *one;

		if (!backend || gs_addr_compare(&backend->addr, &saved->addr) != 0 ||
		    dampings->ones[backend->id].is_known)
			continue;
		one = know(dampings, backend);
		one->damping = (struct gs_damping){
			.penalty =
				gs_damping_penalty(&then, spec_of(look->snapshot, backend),
						   saved->away_ms + now_ms - dampings->loaded_ms),
			.at_ms = now_ms,
			.flaps = saved->flaps,
			.is_suppressed = saved->is_suppressed,
			.since_ms = now_ms,
			.flapped_ms = now_ms,
		};
		/* Who serves already is not taken out. */
		one->is_held = saved->is_held && !is_alive(seen(look, backend));
		one->stood = one->is_held;
	}
	free(dampings->saved);
	dampings->saved = NULL;
	dampings->saved_count = 0;
}

static void step_one(struct look *look, struct one *one, const struct gs_backend *backend)
{
	const struct gs_damping_spec *spec = spec_of(look->snapshot, backend);
	uint64_t now_ms = look->health->now_ms, due_ms;

	gs_damping_step(&one->damping, spec, now_ms);
	if (!one->damping.is_suppressed)
		release(one, LASTS_LONG_ENOUGH);
	else if (is_forced(look, backend))
		release(one, IS_FORCED);
	else if (!is_alive(seen(look, backend)))
		one->is_held = true;
	if (!one->damping.is_suppressed &&
	    gs_damping_penalty(&one->damping, spec, now_ms) < WORTH_KEEPING)
		forget(look->dampings, one);
	due_ms = gs_damping_due_ms(&one->damping, spec, now_ms);
	if (one->is_held && due_ms < look->dampings->due_ms)
		look->dampings->due_ms = due_ms;
}

/* A target of the floor. False: health has nothing to say of it. */
static bool is_counted(const struct look *look, const struct gs_backend *backend,
		       struct gs_damping_target *ret_target)
{
	const struct one *one = &look->dampings->ones[backend->id];
	enum gs_health_state state = seen(look, backend);
	bool forced = is_forced(look, backend);

	if (!gs_usable_takes_new(look->view, backend) || (!forced && state == GS_HEALTH_UNKNOWN))
		return false;
	*ret_target = (struct gs_damping_target){
		.weight = backend->weight,
		.is_healthy = is_alive(state) || forced,
		.is_held = one->is_held,
		.penalty = gs_damping_penalty(&one->damping, spec_of(look->snapshot, backend),
					      look->health->now_ms),
		.tag = backend->id,
	};
	return true;
}

static void count_floors(struct look *look)
{
	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];
		struct floor *floor = &look->floors[backend->service];
		struct gs_damping_target target;

		if (!is_counted(look, backend, &target))
			continue;
		floor->all += target.weight;
		floor->serving += target.is_healthy && !target.is_held ? target.weight : 0;
		floor->has_held = floor->has_held || (target.is_healthy && target.is_held);
	}
}

static uint32_t percent_of(const struct look *look, const struct gs_service *service)
{
	if (gs_panics_get(look->health->panics, service->id).mode != GS_PANIC_CALM)
		return 100;
	return service->panic.percent ? service->panic.percent : GS_PANIC_PERCENT;
}

/* Without memory nobody is held. */
static void let_go(struct look *look, const struct gs_service *service, uint32_t percent)
{
	struct gs_damping_target *targets =
		calloc(look->snapshot->backend_count + 1, sizeof(*targets));
	struct gs_damping_target **scratch =
		calloc(look->snapshot->backend_count + 1, sizeof(struct gs_damping_target *));
	uint32_t count = 0;

	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];

		if (backend->service != service->id)
			continue;
		if (!targets || !scratch)
			release(&look->dampings->ones[backend->id], IS_NEEDED);
		else if (is_counted(look, backend, &targets[count]))
			count++;
	}
	if (count > 0)
		gs_damping_keep_floor(targets, count, percent, scratch);
	for (uint32_t i = 0; i < count; i++)
		if (!targets[i].is_held)
			release(&look->dampings->ones[targets[i].tag], IS_NEEDED);
	free(targets);
	free(scratch);
}

static void keep_floors(struct look *look)
{
	count_floors(look);
	for (uint32_t i = 0; i < look->snapshot->service_count; i++) {
		const struct gs_service *service = &look->snapshot->services[i];
		const struct floor *floor = &look->floors[service->id];
		uint32_t percent = percent_of(look, service);

		if (floor->has_held && floor->serving * 100 < floor->all * percent)
			let_go(look, service, percent);
	}
}

/* All of the snapshot's but those that nothing is known of. True: one that answers is held. */
static bool step_all(struct look *look)
{
	struct gs_dampings *dampings = look->dampings;
	bool has_held = false;

	dampings->due_ms = UINT64_MAX;
	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];
		struct one *one = &dampings->ones[backend->id];

		one->was_held = one->stood;
		if (one->is_known)
			step_one(look, one, backend);
		has_held = has_held || (one->is_held && is_alive(seen(look, backend)));
	}
	return has_held;
}

static void count_changes(struct look *look)
{
	struct gs_dampings *dampings = look->dampings;

	dampings->held = 0;
	dampings->changed = 0;
	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		struct one *one = &dampings->ones[look->snapshot->backends[i].id];

		one->stood = one->is_held;
		dampings->held += one->is_held;
		dampings->changed += one->is_held != one->was_held;
	}
	if (dampings->changed > 0)
		dampings->is_unsaved = true;
}

void gs_dampings_step(struct gs_dampings *dampings, const struct gs_usable_view *view,
		      const struct gs_snapshot *snapshot, const struct gs_usable_health *health)
{
	struct look look = {
		.dampings = dampings, .view = view, .snapshot = snapshot, .health = health};

	if (!dampings || (dampings->known == 0 && dampings->held == 0 && dampings->changed == 0 &&
			  dampings->saved_count == 0))
		return;
	sweep(&look);
	take_saved(&look);
	if (step_all(&look))
		keep_floors(&look);
	count_changes(&look);
}

/* ---- for people ------------------------------------------------------------------------------ */

bool gs_dampings_get(const struct gs_dampings *dampings, const struct gs_service *service,
		     gs_id backend, uint64_t now_ms, struct gs_dampings_status *ret_status)
{
	const struct one *one = dampings ? &dampings->ones[backend] : NULL;
	uint64_t due_ms;

	*ret_status = (struct gs_dampings_status){0};
	if (!one || !one->is_known)
		return false;
	ret_status->penalty = gs_damping_penalty(&one->damping, &service->damping, now_ms);
	if (ret_status->penalty < WORTH_SHOWING && !one->is_held)
		return false;
	due_ms = gs_damping_due_ms(&one->damping, &service->damping, now_ms);
	ret_status->flaps = one->damping.flaps;
	ret_status->is_suppressed = one->damping.is_suppressed;
	ret_status->is_held = one->is_held;
	ret_status->left_ms = due_ms != UINT64_MAX ? due_ms - now_ms : 0;
	return true;
}

const char *gs_dampings_text(const struct gs_dampings_status *status, char out[GS_DAMPING_TEXT_MAX])
{
	out[0] = '\0';
	if (status->is_held)
		snprintf(out, GS_DAMPING_TEXT_MAX, "damped: down %u times, held for %lu s more",
			 status->flaps, (unsigned long)(status->left_ms + 999) / 1000);
	else if (status->is_suppressed)
		snprintf(out, GS_DAMPING_TEXT_MAX,
			 "to be damped (down %u times), but needed: too few would serve without it",
			 status->flaps);
	return out;
}

const char *gs_dampings_why(const struct gs_dampings *dampings, const struct gs_service *service,
			    gs_id backend, uint64_t now_ms, char out[GS_DAMPING_TEXT_MAX])
{
	static const char *const RELEASES[] = {
		[LASTS_LONG_ENOUGH] = "no longer damped",
		[IS_NEEDED] = "no longer damped: too few would serve without it",
		[IS_CLEARED] = "its damping was cleared",
		[IS_FORCED] = "no longer damped: forced up",
	};
	const struct one *one = dampings ? &dampings->ones[backend] : NULL;
	struct gs_dampings_status status;

	out[0] = '\0';
	if (!one || one->is_held == one->was_held)
		return out;
	if (!one->is_held) {
		snprintf(out, GS_DAMPING_TEXT_MAX, "%s", RELEASES[one->release]);
		return out;
	}
	gs_dampings_get(dampings, service, backend, now_ms, &status);
	return gs_dampings_text(&status, out);
}

/* ---- over a restart -------------------------------------------------------------------------- */

bool gs_dampings_is_unsaved(const struct gs_dampings *dampings)
{
	return dampings && dampings->is_unsaved;
}

json_t *gs_dampings_json(struct gs_dampings *dampings, const struct gs_snapshot *snapshot,
			 uint64_t now_ms, int64_t unix_ms)
{
	json_t *list = json_array();
	char addr[GS_ADDR_TEXT_MAX];

	for (uint32_t i = 0; list && dampings->known > 0 && i < snapshot->backend_count &&
			     json_array_size(list) < GS_DAMPINGS_SAVED_MAX;
	     i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		const struct one *one = &dampings->ones[backend->id];

		if (!one->is_known)
			continue;
		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:f, s:b, s:b, s:i, s:I}", "backend", backend->name,
				  "address", gs_addr_format(&backend->addr, addr), "penalty",
				  gs_damping_penalty(&one->damping, spec_of(snapshot, backend),
						     now_ms),
				  "suppressed", one->damping.is_suppressed, "held", one->is_held,
				  "flaps", (int)one->damping.flaps, "unix_ms",
				  (json_int_t)unix_ms));
	}
	dampings->is_unsaved = false;
	return list;
}

static bool read_saved(const json_t *json, int64_t now_unix_ms, struct saved *saved)
{
	const char *name, *address;
	int suppressed, held;
	json_int_t flaps, unix_ms;

	/* Jansson does not change what it unpacks. */
	if (json_unpack((json_t *)json, "{s:s, s:s, s:F, s:b, s:b, s:I, s:I}", "backend", &name,
			"address", &address, "penalty", &saved->penalty, "suppressed", &suppressed,
			"held", &held, "flaps", &flaps, "unix_ms", &unix_ms) != 0 ||
	    strlen(name) >= sizeof(saved->name) || gs_addr_parse(address, &saved->addr) != 0 ||
	    !(saved->penalty >= 0 && saved->penalty <= 1e12) || flaps < 0 || flaps > UINT32_MAX ||
	    unix_ms < 0)
		return false;
	strcpy(saved->name, name);
	saved->is_suppressed = suppressed;
	saved->is_held = held;
	saved->flaps = (uint32_t)flaps;
	saved->away_ms = now_unix_ms > unix_ms ? (uint64_t)(now_unix_ms - unix_ms) : 0;
	return true;
}

int gs_dampings_load(struct gs_dampings *dampings, const json_t *json, uint64_t now_ms,
		     int64_t unix_ms)
{
	size_t count = json_array_size(json);
	struct saved *saved;

	if (!json_is_array(json) || count > GS_DAMPINGS_SAVED_MAX)
		return -EINVAL;
	saved = calloc(count + 1, sizeof(*saved));
	if (!saved)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (!read_saved(json_array_get(json, i), unix_ms, &saved[i])) {
			free(saved);
			return -EINVAL;
		}
	free(dampings->saved);
	dampings->saved = saved;
	dampings->saved_count = (uint32_t)count;
	dampings->loaded_ms = now_ms;
	return 0;
}
