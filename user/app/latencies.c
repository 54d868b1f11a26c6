/* SPDX-License-Identifier: Apache-2.0 */
#include "latencies.h"

#include "probe_trips.h"
#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/geo.h"
#include "user/core/latency.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TRACKS = 2 * GS_LATENCIES_MAX, HOLDS_PERIODS = 3 };

/* One evaluation, on the worker. */
struct judging {
	struct gs_job job;
	int64_t epoch;
	bool begins; /* the turn before this one was not ours */
	uint64_t now_ms;
	int64_t now_unix_ms;
	struct gs_latency_measured *measured;
	uint32_t measured_count;
	struct gs_latency *rows; /* published, as this edge knows it */
	uint32_t row_count;
	bool is_due; /* out: there is something to publish */
	struct gs_latency_step step;
	struct gs_latency_change *changes; /* NULL: none */
	uint32_t change_count;
	uint64_t took_us;
	int err;
};

struct gs_latencies {
	struct gs_latencies_ports ports;
	uint32_t period_ms;
	bool has_coord;
	struct gs_coord coord; /* where this edge is */
	struct gs_timer timer;
	uint64_t told_ms; /* until when what was measured has been told; 0: nothing yet */
	int64_t epoch;	  /* of the last turn; 0: there was none */
	uint64_t turn_ms;
	struct gs_latency_board board; /* no room before the first turn */
	struct judging judging;
	bool is_judging, is_publishing;
	struct gs_latencies_status status;
};

/* ---- what this edge measured -----------------------------------------------------------------*/

static int compare_told(const void *left, const void *right)
{
	const struct gs_latency_told *a = left, *b = right;
	int places = strcmp(a->place, b->place);

	return places ? places : strcmp(a->region, b->region);
}

/* Locations of several classes of networks may be in one cell. */
static void merge_told(struct gs_latency_told *into, const struct gs_latency_told *from)
{
	uint64_t samples = (uint64_t)into->samples + from->samples;

	into->rtt_us = (uint32_t)(((uint64_t)into->rtt_us * into->samples +
				   (uint64_t)from->rtt_us * from->samples) /
				  samples);
	into->model_us = (uint32_t)(((uint64_t)into->model_us * into->samples +
				     (uint64_t)from->model_us * from->samples) /
				    samples);
	into->samples = samples < INT32_MAX ? (uint32_t)samples : INT32_MAX;
	if (from->age_ms < into->age_ms)
		into->age_ms = from->age_ms;
}

static uint32_t merge_all(struct gs_latency_told *rows, uint32_t count)
{
	uint32_t kept = 0;

	qsort(rows, count, sizeof(*rows), compare_told);
	for (uint32_t i = 0; i < count; i++) {
		if (kept > 0 && compare_told(&rows[kept - 1], &rows[i]) == 0)
			merge_told(&rows[kept - 1], &rows[i]);
		else
			rows[kept++] = rows[i];
	}
	return kept;
}

static uint32_t model_us(const struct gs_coord *from, const struct gs_region *region)
{
	return gs_model_round_trip_us((uint32_t)(gs_geo_distance_km(from, &region->coord) * 1000));
}

/* False: of no cell (unknown clients, overrides' prefixes), or of no region. */
static bool tell_trip(const struct gs_reconcile_state *state, const struct gs_recent_trip *trip,
		      struct gs_latency_told *row)
{
	const struct gs_region *region = gs_snapshot_region(state->snapshot, trip->region);
	const struct gs_location *location;
	struct gs_latency_places places;

	if (!region || trip->id >= state->tables->location_count)
		return false;
	location = &state->tables->locations[trip->id];
	gs_latency_places_of(location, &places);
	if (!places.name[GS_LATENCY_CELL][0])
		return false;
	memset(row, 0, sizeof(*row));
	memcpy(row->place, places.name[GS_LATENCY_CELL], sizeof(row->place));
	if (places.name[GS_LATENCY_CONTINENT][0])
		memcpy(row->continent, location->continent, sizeof(row->continent));
	memcpy(row->region, region->name, sizeof(row->region));
	row->model_us = model_us(&location->coord, region);
	row->samples = trip->count;
	row->rtt_us = trip->us;
	row->age_ms = trip->age_ms;
	return true;
}

static uint32_t collect(struct gs_latencies *l, struct gs_latency_told *rows)
{
	const struct gs_reconcile_state *state = l->ports.look(l->ports.look_context);
	const struct gs_round_trips *trips = gs_handshakes_trips(l->ports.handshakes);
	uint64_t now_ms = gs_loop_now_ms(l->ports.loop);
	struct gs_recent_trip trip;
	uint32_t at = 0, count = 0;

	if (!state->snapshot || !state->tables || state->snapshot != state->tables->snapshot)
		return 0;
	while (gs_round_trips_next_recent(trips, &at, l->told_ms, now_ms, &trip))
		count += tell_trip(state, &trip, &rows[count]);
	return merge_all(rows, count);
}

/* By probes: their distance is the edge's own. */
static uint32_t collect_probed(const struct gs_latencies *l, struct gs_latency_told *rows)
{
	const struct gs_reconcile_state *state = l->ports.look(l->ports.look_context);
	struct gs_probe_trip trips[GS_ID_MAX_REGION];
	uint64_t now_ms = gs_loop_now_ms(l->ports.loop);
	uint32_t found = 0, count = 0;

	if (l->has_coord && state->snapshot && state->probe_trips)
		found = gs_probe_trips_look(state->probe_trips, state->snapshot, now_ms, trips);
	for (uint32_t i = 0; i < found; i++) {
		const struct gs_region *region =
			gs_snapshot_region(state->snapshot, trips[i].region);
		struct gs_latency_told *row = &rows[count];

		if (!region || trips[i].at_ms < l->told_ms)
			continue;
		*row = (struct gs_latency_told){.place = GS_LATENCY_PLACE_PROBES,
						.samples = trips[i].count,
						.rtt_us = trips[i].us,
						.model_us = model_us(&l->coord, region),
						.age_ms = (uint32_t)(now_ms - trips[i].at_ms)};
		memcpy(row->region, region->name, sizeof(row->region));
		count++;
	}
	return count;
}

/* Who has refused what the database has judges by rows that are not the newest: it would begin a
 * change that is under way again and again, and never go on with it. Let others. */
static bool may_judge(const struct gs_reconcile_state *state)
{
	return state->snapshot && !state->publish_problem[0];
}

static void on_period(struct gs_timer *timer)
{
	struct gs_latencies *l = timer->context;
	const struct gs_reconcile_state *state = l->ports.look(l->ports.look_context);
	GS_AUTO_FREE struct gs_latency_told *rows =
		calloc(GS_ROUND_TRIPS_PAIRS + GS_ID_MAX_REGION, sizeof(*rows));
	uint32_t count = rows ? collect(l, rows) : 0;
	uint32_t probed = rows ? collect_probed(l, rows + count) : 0;

	count += probed;
	gs_loop_timer_set(l->ports.loop, timer, l->period_ms);
	if (!l->ports.store->ops->exchange(l->ports.store->self, rows, count,
					   may_judge(state) ? l->period_ms : 0))
		return;
	l->told_ms = gs_loop_now_ms(l->ports.loop);
	l->status.told += count;
	l->status.probed = probed;
}

/* ---- judging ---------------------------------------------------------------------------------*/

static void judging_done(struct judging *j)
{
	free(gs_take_ptr(j->measured));
	free(gs_take_ptr(j->rows));
	free(gs_take_ptr(j->changes));
}

static int give_room(struct gs_latency_board *board)
{
	if (board->room)
		return 0;
	board->tracks = calloc(TRACKS, sizeof(*board->tracks));
	board->spare = calloc(TRACKS, sizeof(*board->spare));
	if (!board->tracks || !board->spare) {
		free(gs_take_ptr(board->tracks));
		free(gs_take_ptr(board->spare));
		return -ENOMEM;
	}
	board->room = TRACKS;
	return 0;
}

static int take_changes(const struct gs_latency_board *board, struct judging *j)
{
	j->changes = calloc(board->count + 1u, sizeof(*j->changes));
	if (!j->changes)
		return -ENOMEM;
	for (uint32_t i = 0; i < board->count; i++) {
		const struct gs_latency_track *track = &board->tracks[i];
		struct gs_latency_change *change = &j->changes[j->change_count];

		if (!gs_latency_is_due(track))
			continue;
		memcpy(change->place, track->row.place, sizeof(change->place));
		change->region = track->row.region;
		change->is_gone = !track->is_published;
		change->us = track->row.us;
		change->samples = track->row.samples;
		j->change_count++;
	}
	return 0;
}

static int judge(struct gs_latency_board *board, struct judging *j)
{
	GS_AUTO_FREE struct gs_latency_input *inputs =
		calloc((size_t)j->measured_count * GS_LATENCY_INPUTS + 1, sizeof(*inputs));
	uint32_t count;

	if (!inputs || give_room(board))
		return -ENOMEM;
	if (j->begins)
		board->count = board->published = 0;
	gs_latency_board_follow(board, j->rows, j->row_count, j->now_ms, j->now_unix_ms);
	count = gs_latency_gather(j->measured, j->measured_count, inputs);
	j->is_due = gs_latency_judge(board, inputs, count, j->now_ms, j->now_unix_ms);
	j->step = board->step;
	return j->step.begins ? take_changes(board, j) : 0;
}

static void run_judge(struct gs_job *job)
{
	struct gs_latencies *l = job->context;
	uint64_t began_us = gs_now_us();

	l->judging.err = judge(&l->board, &l->judging);
	l->judging.took_us = gs_now_us() - began_us;
}

static void judge_done(struct gs_job *job)
{
	struct gs_latencies *l = job->context;
	struct judging *j = &l->judging;

	l->is_judging = false;
	l->status.turns++;
	l->status.tracks = l->board.count;
	l->status.refused = l->board.refused;
	if (j->took_us > l->status.longest_us)
		l->status.longest_us = j->took_us;
	if (j->err)
		gs_log_limited(GS_LOG_ERROR, "latency_not_judged", "why=%s", "out of memory");
	if (l->board.refused)
		gs_log_limited(GS_LOG_WARNING, "latency_refused", "rows=%u why=%s",
			       l->board.refused, "more places and regions than are kept");
	if (!j->err && j->is_due) {
		l->is_publishing = true;
		l->status.changes += j->change_count;
		gs_log(GS_LOG_INFO, "latency_judged",
		       "changes=%u published=%u measured=%u before_percent=%u epoch=%ld",
		       j->change_count, l->board.published, j->measured_count,
		       j->step.begins ? 100u - GS_LATENCY_STEP_PERCENT : j->step.to_percent,
		       (long)j->epoch);
		l->ports.store->ops->publish(l->ports.store->self, j->epoch, &j->step, j->changes,
					     j->change_count);
	}
	judging_done(j);
}

static int copy_rows(const void *rows, uint32_t count, size_t size, void *ret_copy)
{
	void *copy = calloc(count + 1u, size);

	if (!copy)
		return -ENOMEM;
	if (count > 0)
		memcpy(copy, rows, count * size);
	memcpy(ret_copy, &copy, sizeof(copy));
	return 0;
}

static void on_turn(void *context, int64_t epoch, const struct gs_latency_measured *measured,
		    uint32_t count)
{
	struct gs_latencies *l = context;
	const struct gs_reconcile_state *state = l->ports.look(l->ports.look_context);
	struct judging *j = &l->judging;

	l->turn_ms = gs_loop_now_ms(l->ports.loop);
	if (l->is_judging || l->is_publishing || !may_judge(state)) {
		l->epoch = epoch;
		return;
	}
	*j = (struct judging){
		.job = {.run = run_judge, .done = judge_done, .context = l},
		.epoch = epoch,
		.begins = l->epoch == 0 || epoch != l->epoch + 1,
		.now_ms = l->turn_ms,
		.now_unix_ms = gs_unix_ms(),
	};
	l->epoch = epoch;
	l->board.period_ms = l->period_ms;
	if (copy_rows(measured, count, sizeof(*measured), &j->measured) ||
	    copy_rows(state->snapshot->latencies, state->snapshot->latency_count,
		      sizeof(*state->snapshot->latencies), &j->rows)) {
		judging_done(j);
		return;
	}
	j->measured_count = count;
	j->row_count = state->snapshot->latency_count;
	l->is_judging = true;
	gs_loop_work(l->ports.loop, &j->job);
}

/* What was not published is due at the next turn, if it is ours. */
static void on_published(void *context, bool is_published)
{
	struct gs_latencies *l = context;

	l->is_publishing = false;
	l->status.published += is_published;
	l->status.failed += !is_published;
	if (is_published)
		gs_latency_board_told(&l->board, gs_loop_now_ms(l->ports.loop));
	else
		gs_log_limited(GS_LOG_WARNING, "latency_not_published", "epoch=%ld why=%s",
			       (long)l->epoch, "the turn is over, or the database did not take it");
}

/* ---- life ------------------------------------------------------------------------------------*/

int gs_latencies_new(const struct gs_latencies_ports *ports, uint32_t period_ms,
		     struct gs_latencies **ret_latencies)
{
	static const struct gs_latency_store_events events = {.on_turn = on_turn,
							      .on_published = on_published};
	struct gs_latencies *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->ports = *ports;
	l->period_ms = period_ms;
	l->timer = (struct gs_timer){.on_due = on_period, .context = l};
	err = gs_loop_timer_set(ports->loop, &l->timer, period_ms);
	if (err) {
		free(l);
		return err;
	}
	ports->store->ops->start(ports->store->self, &events, l);
	*ret_latencies = l;
	return 0;
}

void gs_latencies_free(struct gs_latencies *l)
{
	if (!l)
		return;
	l->ports.store->ops->start(l->ports.store->self, NULL, NULL);
	gs_loop_timer_clear(l->ports.loop, &l->timer);
	judging_done(&l->judging); /* its done() will not come */
	free(l->board.tracks);
	free(l->board.spare);
	free(l);
}

void gs_latencies_period(struct gs_latencies *l, uint32_t period_ms)
{
	if (period_ms == l->period_ms)
		return;
	l->period_ms = period_ms;
	gs_loop_timer_set(l->ports.loop, &l->timer, period_ms);
}

void gs_latencies_stand(struct gs_latencies *l, const struct gs_coord *coord)
{
	l->has_coord = coord != NULL;
	if (coord)
		l->coord = *coord;
}

void gs_latencies_look(const struct gs_latencies *l, struct gs_latencies_status *ret_status)
{
	*ret_status = l->status;
	ret_status->period_ms = l->period_ms;
	ret_status->is_judge = l->epoch != 0 && gs_loop_now_ms(l->ports.loop) - l->turn_ms <
							(uint64_t)HOLDS_PERIODS * l->period_ms;
}

const struct gs_latency_track *gs_latencies_track(const struct gs_latencies *l,
						  const struct gs_latency *row)
{
	uint32_t low = 0, high = l->board.count;
	struct gs_latencies_status status;

	gs_latencies_look(l, &status);
	if (!status.is_judge || l->is_judging)
		return NULL;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = gs_latency_compare(&l->board.tracks[middle].row, row);

		if (order == 0)
			return &l->board.tracks[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
