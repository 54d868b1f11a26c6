/* SPDX-License-Identifier: Apache-2.0 */
#include "anchors.h"

#include "user/base/log.h"
#include "user/core/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A prober's token: which place, and which probe of it. */
#define TOKEN_PLACE_BITS 8

/* Anchors stay in their places when the setting changes; the prober knows those as backends. */
struct place {
	struct gs_anchors *anchors;
	struct gs_anchor anchor;
	struct gs_probe_spec spec;
	struct gs_health health;
	struct gs_timer timer; /* the next probe, while none is under way */
	bool is_used;
	uint64_t token; /* of the one under way; 0: none is */
	uint64_t start_ms;
	uint32_t latency_us;
};

struct gs_anchors {
	struct gs_loop *loop;
	struct gs_prober prober;
	uint64_t random, serial;
	struct place places[GS_ANCHORS_MAX];
	uint32_t order[GS_ANCHORS_MAX]; /* the setting's: places */
	uint32_t count;
};

static gs_id backend_of(const struct place *place)
{
	return (gs_id)(place - place->anchors->places + 1);
}

/* ---- probes ---------------------------------------------------------------------------------- */

static void schedule(struct place *place)
{
	struct gs_anchors *anchors = place->anchors;
	uint64_t now_ms = gs_loop_now_ms(anchors->loop);
	uint32_t random = (uint32_t)(gs_random(&anchors->random) >> 32);
	uint64_t due_ms = place->start_ms + gs_health_next_ms(&place->health, &place->spec, random);

	if (gs_loop_timer_set(anchors->loop, &place->timer,
			      due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 0))
		gs_log_limited(GS_LOG_ERROR, "anchor_timer", "anchor=%s error=%s",
			       place->anchor.name, "out of memory");
}

static void take_result(struct place *place, enum gs_probe_class result)
{
	uint64_t now_ms = gs_loop_now_ms(place->anchors->loop);

	switch (gs_health_step(&place->health, &place->spec, result, now_ms)) {
	case GS_HEALTH_WENT_UP:
		gs_log(GS_LOG_INFO, "anchor_answers", "anchor=%s latency_us=%u", place->anchor.name,
		       place->latency_us);
		break;
	case GS_HEALTH_WENT_DOWN:
		gs_log(GS_LOG_WARNING, "anchor_silent", "anchor=%s why=%s", place->anchor.name,
		       gs_probe_class_name(result));
		break;
	default:
		break;
	}
	schedule(place);
}

static void start_probe(struct place *place)
{
	struct gs_anchors *anchors = place->anchors;
	struct gs_probe_target target = {
		.backend = backend_of(place),
		.addr = place->anchor.addr,
		.port = place->anchor.port,
		.spec = place->spec,
	};
	int err;

	memcpy(target.name, place->anchor.name, sizeof(target.name) - 1);
	place->start_ms = gs_loop_now_ms(anchors->loop);
	place->token = ++anchors->serial << TOKEN_PLACE_BITS | backend_of(place);
	err = anchors->prober.ops->probe(anchors->prober.self, &target, place->token);
	if (!err)
		return;
	gs_log_limited(GS_LOG_ERROR, "anchor_not_probed", "anchor=%s why=%s", place->anchor.name,
		       strerror(-err));
	place->token = 0;
	take_result(place, GS_PROBE_LOCAL);
}

static void on_due(struct gs_timer *timer)
{
	start_probe(timer->context);
}

static void on_result(void *context, uint64_t token, enum gs_probe_class result,
		      uint32_t latency_us, uint32_t rtt_us)
{
	struct gs_anchors *anchors = context;
	uint64_t number = token & ((1u << TOKEN_PLACE_BITS) - 1);
	struct place *place = &anchors->places[number - 1];

	(void)rtt_us;
	if (!place->is_used || place->token != token)
		return;
	place->token = 0;
	result = gs_anchor_class(result);
	if (result == GS_PROBE_OK)
		place->latency_us = latency_us > 0 ? latency_us : 1;
	take_result(place, result);
}

/* ---- the setting ----------------------------------------------------------------------------- */

static void leave(struct place *place)
{
	struct gs_anchors *anchors = place->anchors;

	gs_loop_timer_clear(anchors->loop, &place->timer);
	if (place->token != 0)
		anchors->prober.ops->cancel(anchors->prober.self, backend_of(place));
	place->is_used = false;
	place->token = 0;
}

static struct place *find(struct gs_anchors *anchors, const struct gs_anchor *anchor)
{
	for (uint32_t p = 0; p < GS_ANCHORS_MAX; p++)
		if (anchors->places[p].is_used &&
		    strcmp(anchors->places[p].anchor.name, anchor->name) == 0)
			return &anchors->places[p];
	return NULL;
}

static bool is_in(const struct gs_anchor_set *set, const struct gs_anchor *anchor)
{
	for (uint32_t i = 0; i < set->count; i++)
		if (strcmp(set->anchors[i].name, anchor->name) == 0)
			return true;
	return false;
}

/* There is a free place: as many as a set may have. */
static struct place *enter(struct gs_anchors *anchors, const struct gs_anchor *anchor)
{
	struct place *place = anchors->places;

	while (place->is_used)
		place++;
	*place = (struct place){
		.anchors = anchors,
		.anchor = *anchor,
		.spec = gs_anchor_spec(anchor),
		.timer = {.on_due = on_due, .context = place},
		.is_used = true,
		.start_ms = gs_loop_now_ms(anchors->loop),
	};
	gs_health_init(&place->health, GS_HEALTH_UNKNOWN, place->start_ms);
	schedule(place);
	return place;
}

void gs_anchors_set(struct gs_anchors *anchors, const struct gs_anchor_set *set)
{
	for (uint32_t p = 0; p < GS_ANCHORS_MAX; p++)
		if (anchors->places[p].is_used && !is_in(set, &anchors->places[p].anchor))
			leave(&anchors->places[p]);
	for (uint32_t i = 0; i < set->count; i++) {
		struct place *place = find(anchors, &set->anchors[i]);

		if (!place)
			place = enter(anchors, &set->anchors[i]);
		anchors->order[i] = (uint32_t)(place - anchors->places);
	}
	anchors->count = set->count;
}

/* ---- life and queries ------------------------------------------------------------------------ */

int gs_anchors_new(struct gs_loop *loop, const struct gs_prober *prober, uint64_t seed,
		   struct gs_anchors **ret_anchors)
{
	static const struct gs_prober_events events = {.on_result = on_result};
	struct gs_anchors *anchors = calloc(1, sizeof(*anchors));
	int ret;

	if (!anchors)
		return -ENOMEM;
	anchors->loop = loop;
	anchors->prober = *prober;
	anchors->random = seed;
	for (uint32_t p = 0; p < GS_ANCHORS_MAX; p++)
		anchors->places[p].anchors = anchors;
	ret = prober->ops->start(prober->self, &events, anchors);
	if (ret) {
		free(anchors);
		return ret;
	}
	*ret_anchors = anchors;
	return 0;
}

void gs_anchors_free(struct gs_anchors *anchors)
{
	if (!anchors)
		return;
	gs_anchors_set(anchors, &(struct gs_anchor_set){.count = 0});
	free(anchors);
}

static bool is_silent(const struct place *place)
{
	return place->health.state == GS_HEALTH_DOWN || place->health.state == GS_HEALTH_RECOVERING;
}

void gs_anchors_count(const struct gs_anchors *anchors, uint32_t *ret_all, uint32_t *ret_silent)
{
	*ret_all = anchors ? anchors->count : 0;
	*ret_silent = 0;
	for (uint32_t i = 0; i < *ret_all; i++)
		*ret_silent += is_silent(&anchors->places[anchors->order[i]]);
}

void gs_anchors_get(const struct gs_anchors *anchors, uint32_t index,
		    struct gs_anchor_status *ret_status)
{
	const struct place *place = &anchors->places[anchors->order[index]];

	*ret_status = (struct gs_anchor_status){
		.name = place->anchor.name,
		.state = place->health.state,
		.is_silent = is_silent(place),
		.why = place->health.why,
		.latency_us = place->latency_us,
		.since_ms = place->health.since_ms,
	};
}
