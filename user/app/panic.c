/* SPDX-License-Identifier: Apache-2.0 */
#include "panic.h"

#include "user/core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct one {
	struct gs_panic panic;
	struct gs_panic_status status;
};

struct gs_panics {
	struct one services[GS_MAX_SERVICES];
	bool lets[GS_MAX_BACKENDS];
	bool was_healthy[GS_MAX_BACKENDS];
	uint64_t lost_ms[GS_MAX_BACKENDS]; /* when it was healthy for the last time; 0: never */
	bool is_good[GS_MAX_BACKENDS];	   /* when its service went down as a whole */
};

struct gs_panics *gs_panics_new(void)
{
	return calloc(1, sizeof(struct gs_panics));
}

void gs_panics_free(struct gs_panics *panics)
{
	free(panics);
}

bool gs_panics_let(const struct gs_panics *panics, gs_id backend)
{
	return panics && panics->lets[backend];
}

struct gs_panic_status gs_panics_get(const struct gs_panics *panics, gs_id service)
{
	return panics ? panics->services[service].status : (struct gs_panic_status){0};
}

uint64_t gs_panics_due_ms(const struct gs_panics *panics)
{
	uint64_t due = UINT64_MAX;

	for (gs_id id = 1; panics && id < GS_MAX_SERVICES; id++) {
		uint64_t one = gs_panic_due_ms(&panics->services[id].panic);

		due = one < due ? one : due;
	}
	return due;
}

/* ---- counting -------------------------------------------------------------------------------- */

/* One pool's weights, by its place in the view. */
struct weights {
	uint64_t all, healthy;
};

/* What a step looks at. */
struct look {
	struct gs_panics *panics;
	const struct gs_usable_view *view;
	const struct gs_snapshot *snapshot;
	const struct gs_usable_health *health;
	struct weights *pools;
	bool has_unknown[GS_MAX_SERVICES];
};

static void note_healthy(struct gs_panics *panics, gs_id backend, bool is_healthy, uint64_t now_ms)
{
	if (panics->was_healthy[backend] && !is_healthy)
		panics->lost_ms[backend] = now_ms ? now_ms : 1;
	panics->was_healthy[backend] = is_healthy;
}

/* Backends that operators let take new flows; those they force up are healthy. */
static void count_backends(struct look *look)
{
	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];
		const struct gs_usable_view *view = look->view;
		bool is_healthy = gs_usable_is_healthy(view, backend, look->health);
		struct weights *pool = &look->pools[view->pool_of[i]];

		note_healthy(look->panics, backend->id, is_healthy, look->health->now_ms);
		look->panics->lets[backend->id] = false;
		if (!gs_usable_takes_new(view, backend))
			continue;
		if (!is_healthy && gs_usable_is_for_health(view, backend) &&
		    look->health->get(look->health->context, backend->id) == GS_HEALTH_UNKNOWN) {
			look->has_unknown[backend->service] = true;
			continue;
		}
		pool->all += backend->weight;
		pool->healthy += is_healthy ? backend->weight : 0;
	}
}

/* ---- judging --------------------------------------------------------------------------------- */

static void remember_good(struct look *look, gs_id service)
{
	struct gs_panics *panics = look->panics;
	uint64_t now_ms = look->health->now_ms;

	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];
		uint64_t lost_ms = panics->lost_ms[backend->id];

		if (backend->service == service)
			panics->is_good[backend->id] =
				lost_ms != 0 && now_ms - lost_ms <= GS_PANIC_RECENT_MS;
	}
}

static void judge_service(struct look *look, const struct gs_service *service,
			  const struct gs_panic_tally *tally)
{
	struct one *one = &look->panics->services[service->id];

	one->status.changed =
		gs_panic_step(&one->panic, service->panic.percent, tally, look->health->now_ms);
	if (one->status.changed && one->status.mode == GS_PANIC_CALM)
		one->status.entered++;
	if (one->status.changed && one->panic.mode == GS_PANIC_ALL_DOWN)
		remember_good(look, service->id);
	one->status.mode = one->panic.mode;
	one->status.tally = *tally;
}

static void judge_services(struct look *look)
{
	const struct gs_usable_view *view = look->view;
	uint32_t i = 0, p = 0;

	/* Services and pools are both sorted by the service's id; what is no more is calm. */
	for (gs_id id = 1; id < GS_MAX_SERVICES; id++) {
		struct gs_panic_tally tally = {.has_unknown = look->has_unknown[id]};

		for (; p < view->pool_count && view->pools[p].service == id; p++)
			gs_panic_count(&tally, look->pools[p].all, look->pools[p].healthy);
		if (i < look->snapshot->service_count && look->snapshot->services[i].id == id)
			judge_service(look, &look->snapshot->services[i++], &tally);
		else
			look->panics->services[id] = (struct one){.status.mode = GS_PANIC_CALM};
	}
}

/* ---- who serves ------------------------------------------------------------------------------ */

/* Was any backend that could serve now good when the last one went down? */
static bool has_good(const struct look *look, gs_id service)
{
	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];

		if (backend->service == service && look->panics->is_good[backend->id] &&
		    gs_usable_is_for_health(look->view, backend))
			return true;
	}
	return false;
}

static bool serves_when_down(const struct look *look, const struct gs_service *service,
			     const struct gs_backend *backend, bool knows_good)
{
	switch (service->panic.all_down) {
	case GS_ALL_DOWN_SERVES_ANY:
		return true;
	case GS_ALL_DOWN_SERVES_LAST_GOOD:
		return !knows_good || look->panics->is_good[backend->id];
	case GS_ALL_DOWN_SERVES_FIXED:
		return backend->region == service->panic.region;
	default:
		return false;
	}
}

static void let_backends(struct look *look)
{
	const struct gs_usable_health *health = look->health;
	gs_id asked = 0;
	bool knows_good = false;

	for (uint32_t i = 0; i < look->snapshot->backend_count; i++) {
		const struct gs_backend *backend = &look->snapshot->backends[i];
		const struct one *one = &look->panics->services[backend->service];
		bool serves;

		if (one->status.mode == GS_PANIC_CALM ||
		    !gs_usable_is_for_health(look->view, backend) ||
		    (health->is_unreachable &&
		     health->is_unreachable(health->context, backend->id)))
			continue;
		if (one->status.mode == GS_PANIC_ALL_DOWN && asked != backend->service) {
			asked = backend->service;
			knows_good = has_good(look, asked);
		}
		serves = one->status.mode == GS_PANIC_ON
				 ? look->pools[look->view->pool_of[i]].healthy > 0
				 : serves_when_down(
					   look,
					   gs_snapshot_service(look->snapshot, backend->service),
					   backend, knows_good);
		look->panics->lets[backend->id] = serves;
	}
}

void gs_panics_step(struct gs_panics *panics, const struct gs_usable_view *view,
		    const struct gs_snapshot *snapshot, const struct gs_usable_health *health)
{
	struct look look = {.panics = panics, .view = view, .snapshot = snapshot, .health = health};

	if (!panics)
		return;
	look.pools = calloc(view->pool_count + 1, sizeof(*look.pools));
	if (!look.pools) /* as it was, until the next step */
		return;
	count_backends(&look);
	judge_services(&look);
	let_backends(&look);
	free(look.pools);
}

/* ---- for people ------------------------------------------------------------------------------ */

const char *gs_panic_text(const struct gs_snapshot *snapshot, const struct gs_service *service,
			  const struct gs_panic_status *status, char out[GS_PANIC_TEXT_MAX])
{
	const struct gs_panic_tally *tally = &status->tally;
	const struct gs_region *fixed = gs_snapshot_region(snapshot, service->panic.region);

	out[0] = '\0';
	if (status->mode == GS_PANIC_ON)
		snprintf(out, GS_PANIC_TEXT_MAX,
			 "panic: %u %% of it is healthy, in %u of %u regions: health is ignored "
			 "inside those",
			 (unsigned)(tally->healthy * 100 / tally->weight), tally->healthy_regions,
			 tally->regions);
	if (status->mode != GS_PANIC_ALL_DOWN)
		return out;
	switch (service->panic.all_down) {
	case GS_ALL_DOWN_SERVES_ANY:
		return strcpy(out, "all down: health is ignored");
	case GS_ALL_DOWN_SERVES_LAST_GOOD:
		return strcpy(out, "all down: what was healthy last serves");
	case GS_ALL_DOWN_SERVES_FIXED:
		snprintf(out, GS_PANIC_TEXT_MAX, "all down: region %s serves",
			 fixed ? fixed->name : "?");
		return out;
	default:
		return strcpy(out, "all down: packets are dropped, as the service wants it");
	}
}
