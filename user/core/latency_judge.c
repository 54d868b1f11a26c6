// SPDX-License-Identifier: Apache-2.0
/* What edges measured to what is published. */
#include "latency.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A (place, region) that nobody comes from is forgotten; a turn back is forgiven. */
enum { FORGET_MS = 4 * 3600000, FORGIVE_MS = 600000 };

/* ---- what was measured, by all places --------------------------------------------------------*/

static int compare_inputs(const void *left, const void *right)
{
	const struct gs_latency_input *a = left, *b = right;
	int places = strncmp(a->place, b->place, sizeof(a->place));

	return places ? places : (a->region > b->region) - (a->region < b->region);
}

/* a and b of one place and region; weighted by samples. */
static void merge_inputs(struct gs_latency_input *a, const struct gs_latency_input *b)
{
	uint64_t samples = (uint64_t)a->samples + b->samples;
	double of_a, of_b;

	if (samples == 0)
		return;
	of_a = (double)a->samples / (double)samples;
	of_b = (double)b->samples / (double)samples;
	a->us = (int32_t)lround(a->us * of_a + b->us * of_b);
	a->base_us = (uint32_t)lround(a->base_us * of_a + b->base_us * of_b);
	a->samples = samples < UINT32_MAX ? (uint32_t)samples : UINT32_MAX;
	a->cells += b->cells;
	if (b->age_ms < a->age_ms)
		a->age_ms = b->age_ms;
	if (b->at_unix_ms > a->at_unix_ms)
		a->at_unix_ms = b->at_unix_ms;
}

static int32_t clamp_us(int64_t us)
{
	return us > GS_LATENCY_US_MAX	 ? GS_LATENCY_US_MAX
	       : us < -GS_LATENCY_US_MAX ? -GS_LATENCY_US_MAX
					 : (int32_t)us;
}

/* Nothing is faster than light in a fibre: where it looks so, clients are not where the database
 * has them, and others are not to have it better for that. */
static int32_t more_than_model(const struct gs_latency_measured *m)
{
	return m->rtt_us > m->model_us ? clamp_us((int64_t)m->rtt_us - m->model_us) : 0;
}

static struct gs_latency_input *add_input(struct gs_latency_input *input,
					  const struct gs_latency_measured *m,
					  enum gs_latency_level level, const char *place)
{
	if (!*place)
		return input;
	memset(input, 0, sizeof(*input));
	memcpy(input->place, place, strnlen(place, sizeof(input->place) - 1));
	input->region = m->region;
	input->samples = m->samples;
	input->us = level == GS_LATENCY_CELL ? clamp_us(m->rtt_us) : more_than_model(m);
	input->base_us = m->rtt_us;
	input->age_ms = m->age_ms;
	input->at_unix_ms = m->at_unix_ms;
	input->cells = m->samples >= GS_LATENCY_SAMPLES_MIN && m->age_ms <= GS_LATENCY_FRESH_MS;
	return input + 1;
}

/* All places of one cell; or probes. Returns behind the last one. */
static struct gs_latency_input *add_inputs(struct gs_latency_input *input,
					   const struct gs_latency_measured *m)
{
	struct gs_location location = {.has_coord = false};
	struct gs_latency_places places;
	struct gs_place place;

	if (!gs_latency_place_is_valid(m->place) || m->region == 0 || m->region > GS_ID_MAX_REGION)
		return input;
	if (gs_latency_level_of(m->place) == GS_LATENCY_PROBES)
		return add_input(input, m, GS_LATENCY_PROBES, m->place);
	if (!gs_latency_cell_place(m->place, &place))
		return input;
	memcpy(location.country, place.code, 2);
	memcpy(location.continent, m->continent, sizeof(location.continent) - 1);
	if (place.kind == GS_PLACE_SUBDIVISION)
		memcpy(location.subdivision, place.code + 3, strlen(place.code + 3));
	gs_latency_places_of(&location, &places);
	for (int level = GS_LATENCY_EVERYBODY; level < GS_LATENCY_CELL; level++)
		input = add_input(input, m, (enum gs_latency_level)level, places.name[level]);
	return add_input(input, m, GS_LATENCY_CELL, m->place);
}

uint32_t gs_latency_gather(const struct gs_latency_measured *measured, uint32_t count,
			   struct gs_latency_input *inputs)
{
	struct gs_latency_input *end = inputs;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++)
		end = add_inputs(end, &measured[i]);
	qsort(inputs, (size_t)(end - inputs), sizeof(*inputs), compare_inputs);
	for (const struct gs_latency_input *input = inputs; input < end; input++) {
		if (kept > 0 && compare_inputs(&inputs[kept - 1], input) == 0)
			merge_inputs(&inputs[kept - 1], input);
		else
			inputs[kept++] = *input;
	}
	return kept;
}

/* ---- the judge -------------------------------------------------------------------------------*/

bool gs_latency_differs(int32_t published_us, double wanted_us, uint32_t base_us)
{
	double by = fabs(wanted_us - published_us);

	return by > GS_LATENCY_CHANGE_US && by * 100 > (double)base_us * GS_LATENCY_CHANGE_PERCENT;
}

uint64_t gs_latency_dwell_ms(const struct gs_latency_track *track, uint32_t period_ms)
{
	return (uint64_t)period_ms * GS_LATENCY_DWELL_PERIODS << track->turns;
}

uint64_t gs_latency_fresh_ms(const struct gs_latency_track *track)
{
	return (uint64_t)GS_LATENCY_FRESH_MS << track->returns;
}

bool gs_latency_is_due(const struct gs_latency_track *track)
{
	return track->is_published != track->is_told ||
	       (track->is_published && track->row.us != track->told_us);
}

/*
 * Which way it is to go: both what was heard and what it was smoothed to are beyond the margin, so
 * that neither one evaluation nor a little noise moves anything. Percents are of the published
 * round trip; of a larger place, of what its clients have now.
 */
static int8_t way_of(const struct gs_latency_track *track, const struct gs_latency_input *input)
{
	uint32_t base = track->base_us;
	int32_t us = track->row.us;

	if (!track->is_published)
		return 1;
	if (gs_latency_level_of(track->row.place) == GS_LATENCY_CELL && us > 0)
		base = (uint32_t)us;
	if (!gs_latency_differs(us, input->us, base) ||
	    !gs_latency_differs(us, track->smoothed_us, base) ||
	    (input->us > us) != (track->smoothed_us > us))
		return 0;
	return input->us > us ? 1 : -1;
}

/* Much worse is believed sooner than better, and than noise. */
static void smooth(struct gs_latency_track *track, const struct gs_latency_input *input,
		   uint32_t period_ms, uint64_t now_ms)
{
	bool is_worse = input->us > track->smoothed_us &&
			gs_latency_differs(input->us, track->smoothed_us, input->base_us);
	double tau_ms = period_ms * (is_worse ? 1.0 : 3.0);

	if (!track->is_known && !track->is_published)
		track->smoothed_us = input->us;
	else
		track->smoothed_us += (input->us - track->smoothed_us) *
				      (1 - exp(-(double)(now_ms - track->smoothed_ms) / tau_ms));
	track->smoothed_ms = now_ms;
	track->is_known = true;
	track->samples = input->samples;
	track->base_us = input->base_us;
}

/* One evaluation that wants `way`; of a change, the mean of the last ones is where it goes. */
static void want(struct gs_latency_track *track, int8_t way, int32_t us, uint64_t now_ms)
{
	if (way == 0 || way != track->wants) {
		track->times = 0;
		track->wants_ms = now_ms;
	}
	track->wants = way;
	if (way == 0)
		return;
	if (track->times < GS_LATENCY_TIMES)
		track->times++;
	if (track->times == 1)
		track->wanted_us = us;
	else
		track->wanted_us += (us - track->wanted_us) / track->times;
}

/* A change back costs the next one time; each quiet while gives some of it back. */
static void count_turns(struct gs_latency_track *track, int8_t goes, uint64_t now_ms)
{
	uint64_t forgiven = (now_ms - track->changed_ms) / FORGIVE_MS;

	track->turns = forgiven < track->turns ? (uint8_t)(track->turns - forgiven) : 0;
	if (track->went == -goes && track->turns < GS_LATENCY_TURNS_MAX)
		track->turns++;
	track->went = goes;
}

static void publish(struct gs_latency_track *track, uint64_t now_ms, int64_t now_unix_ms)
{
	int32_t us = (int32_t)lround(track->wanted_us);

	if (track->is_published)
		count_turns(track, us > track->row.us ? 1 : -1, now_ms);
	else if (!track->has_been || gs_latency_differs(track->row.us, us, track->base_us))
		track->returns = 0;
	else if (track->returns < GS_LATENCY_RETURNS_MAX)
		track->returns++;
	track->is_published = true;
	track->has_been = true;
	track->row.us = us;
	track->smoothed_us = us;
	track->row.samples = track->samples;
	track->row.at_unix_ms = now_unix_ms;
	track->changed_ms = now_ms;
	track->wants = 0;
	track->times = 0;
}

/* Does a change wait long enough, and does the last one? */
static bool is_ripe(const struct gs_latency_board *board, const struct gs_latency_track *track,
		    uint64_t now_ms)
{
	if (track->times < GS_LATENCY_TIMES || now_ms - track->wants_ms < board->period_ms)
		return false;
	return track->is_published
		       ? now_ms - track->changed_ms >= gs_latency_dwell_ms(track, board->period_ms)
		       : board->published < GS_LATENCIES_MAX;
}

/*
 * Where one country's clients are all that are measured, they are no measure of other countries'.
 */
static bool speaks(const struct gs_latency_input *input)
{
	enum gs_latency_level level = gs_latency_level_of(input->place);

	return (level != GS_LATENCY_CONTINENT && level != GS_LATENCY_EVERYBODY) ||
	       input->cells >= GS_LATENCY_CELLS_MIN;
}

static void hear(struct gs_latency_board *board, struct gs_latency_track *track,
		 const struct gs_latency_input *input, uint64_t now_ms, int64_t now_unix_ms)
{
	/* Nothing new is not the same again. */
	if (input->samples < GS_LATENCY_SAMPLES_MIN || input->age_ms > GS_LATENCY_FRESH_MS ||
	    (track->is_known && input->at_unix_ms <= track->heard_unix_ms) || !speaks(input))
		return;
	smooth(track, input, board->period_ms, now_ms);
	track->measured_ms = now_ms > input->age_ms ? now_ms - input->age_ms : 0;
	track->heard_unix_ms = input->at_unix_ms;
	want(track, way_of(track, input), input->us, now_ms);
	if (track->wants && is_ripe(board, track, now_ms)) {
		board->published += !track->is_published && !track->is_told;
		publish(track, now_ms, now_unix_ms);
	}
}

static void grow_old(struct gs_latency_board *board, struct gs_latency_track *track,
		     uint64_t now_ms)
{
	if (!track->is_published || now_ms - track->measured_ms <= gs_latency_fresh_ms(track))
		return;
	track->is_published = false;
	track->wants = 0;
	track->times = 0;
	board->published -= !track->is_told;
}

static bool is_forgotten(const struct gs_latency_track *track, uint64_t now_ms)
{
	return !track->is_published && !track->is_told && now_ms - track->measured_ms > FORGET_MS;
}

static struct gs_latency_track new_track(const struct gs_latency_input *input, uint64_t now_ms)
{
	struct gs_latency_track track = {.row.region = input->region, .measured_ms = 0};

	memcpy(track.row.place, input->place, sizeof(track.row.place));
	track.smoothed_ms = now_ms;
	track.wants_ms = now_ms;
	return track;
}

static int compare_track(const struct gs_latency_track *track, const struct gs_latency_input *input)
{
	int places = strncmp(track->row.place, input->place, sizeof(track->row.place));

	return places ? places
		      : (track->row.region > input->region) - (track->row.region < input->region);
}

/* Of tracks and inputs, the next of either or both; both are sorted. */
struct merge {
	const struct gs_latency_input *input, *inputs_end;
	const struct gs_latency_track *track, *tracks_end;
};

static void merge_next(struct gs_latency_board *board, struct merge *at, uint32_t *kept,
		       uint64_t now_ms, int64_t now_unix_ms)
{
	int order = at->track == at->tracks_end	  ? 1
		    : at->input == at->inputs_end ? -1
						  : compare_track(at->track, at->input);
	struct gs_latency_track track;
	bool is_new = order > 0;

	track = is_new ? new_track(at->input, now_ms) : *at->track++;
	if (order >= 0)
		hear(board, &track, at->input++, now_ms, now_unix_ms);
	grow_old(board, &track, now_ms);
	if (is_new ? !track.is_known : is_forgotten(&track, now_ms))
		return;
	/* Those that are still to come have their place for sure; a new one may not. */
	if (is_new && *kept + (uint32_t)(at->tracks_end - at->track) >= board->room) {
		board->refused++;
		return;
	}
	board->spare[(*kept)++] = track;
}

/* Is it time for what is due? Of published values that are others now at once. */
static bool may_begin(const struct gs_latency_board *board, uint64_t now_ms)
{
	bool is_due = false, is_urgent = false;

	for (uint32_t i = 0; i < board->count; i++) {
		const struct gs_latency_track *track = &board->tracks[i];

		is_due = is_due || gs_latency_is_due(track);
		is_urgent = is_urgent ||
			    (gs_latency_is_due(track) && track->is_told && track->is_published);
	}
	return is_urgent ||
	       (is_due &&
		(board->told_ms == 0 ||
		 now_ms - board->told_ms >= (uint64_t)board->period_ms * GS_LATENCY_QUIET_PERIODS));
}

/* What is under way goes on; once it is complete, what is due begins. */
static struct gs_latency_step next_step(const struct gs_latency_board *board, uint64_t now_ms)
{
	struct gs_latency_step step = {.from_percent = board->before_percent};

	if (board->before_percent > GS_LATENCY_STEP_PERCENT)
		step.to_percent = board->before_percent - GS_LATENCY_STEP_PERCENT;
	step.begins = step.to_percent == 0 && may_begin(board, now_ms);
	return step;
}

bool gs_latency_judge(struct gs_latency_board *board, const struct gs_latency_input *inputs,
		      uint32_t count, uint64_t now_ms, int64_t now_unix_ms)
{
	struct merge at = {inputs, inputs + count, board->tracks, board->tracks + board->count};
	struct gs_latency_track *swap = board->tracks;
	uint32_t kept = 0;

	board->refused = 0;
	while (at.track < at.tracks_end || at.input < at.inputs_end)
		merge_next(board, &at, &kept, now_ms, now_unix_ms);
	board->tracks = board->spare;
	board->spare = swap;
	board->count = kept;
	board->step = next_step(board, now_ms);
	return board->step.begins || board->step.from_percent > 0;
}

void gs_latency_board_told(struct gs_latency_board *board, uint64_t now_ms)
{
	board->before_percent = board->step.to_percent;
	if (!board->step.begins)
		return;
	board->before_percent = 100 - GS_LATENCY_STEP_PERCENT;
	board->told_ms = now_ms;
	for (uint32_t i = 0; i < board->count; i++) {
		board->published -= board->tracks[i].is_told && !board->tracks[i].is_published;
		board->tracks[i].is_told = board->tracks[i].is_published;
		board->tracks[i].told_us = board->tracks[i].row.us;
	}
}

/* The first row that stays, from here on: who follows knows of one that goes no more. */
static const struct gs_latency *next_row(const struct gs_latency *row, const struct gs_latency *end)
{
	while (row < end && row->us == GS_LATENCY_NONE)
		row++;
	return row;
}

static struct gs_latency_track published_track(const struct gs_latency *row, uint64_t now_ms,
					       int64_t now_unix_ms)
{
	int64_t since_ms = now_unix_ms - row->at_unix_ms;
	uint64_t ago_ms = since_ms > 0 ? (uint64_t)since_ms : 0;

	return (struct gs_latency_track){.row = *row,
					 .is_published = true,
					 .has_been = true,
					 .smoothed_us = row->us,
					 .smoothed_ms = now_ms,
					 .wants_ms = now_ms,
					 .measured_ms = now_ms,
					 .changed_ms = ago_ms < now_ms ? now_ms - ago_ms : 0};
}

void gs_latency_board_follow(struct gs_latency_board *board, const struct gs_latency *rows,
			     uint32_t count, uint64_t now_ms, int64_t now_unix_ms)
{
	const struct gs_latency_track *track = board->tracks, *end = track + board->count;
	const struct gs_latency *rows_end = rows + count, *row = next_row(rows, rows_end);
	struct gs_latency_track *swap = board->tracks;
	uint32_t kept = 0;

	board->before_percent = gs_latency_before_percent(rows, count);
	board->published = 0;
	for (uint32_t i = 0; i < count; i++)
		board->published += rows[i].us == GS_LATENCY_NONE;
	while ((track < end || row < rows_end) && kept < board->room) {
		int order = track == end      ? 1
			    : row == rows_end ? -1
					      : gs_latency_compare(&track->row, row);
		struct gs_latency_track *to = &board->spare[kept++];

		*to = order <= 0 ? *track++ : published_track(row, now_ms, now_unix_ms);
		to->is_told = order >= 0;
		if (order >= 0) {
			to->told_us = row->us;
			row = next_row(row + 1, rows_end);
		}
		board->published += to->is_published || to->is_told;
	}
	board->tracks = board->spare;
	board->spare = swap;
	board->count = kept;
}
