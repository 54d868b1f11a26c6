/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured becomes what is published, and that what regions are ranked by: hours of
 * simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/core/latency.h"
#include "user/core/random.h"

#include <stdlib.h>
#include <string.h>

enum { FRA = 1, AMS = 2, ROOM = 256, ROWS = 16, STEPS = 100 / GS_LATENCY_STEP_PERCENT };
#define START_MS 50000000ULL
#define UNIX_MS 1700000000000LL
#define MUNICH "cell:DE-BY/48,11"
#define BERLIN "cell:DE-BE/52,13"
#define PARIS "cell:FR-IDF/48,2"

static void set_place(char out[GS_LATENCY_PLACE_MAX], const char *place)
{
	memset(out, 0, GS_LATENCY_PLACE_MAX);
	memcpy(out, place, strlen(place));
}

/* ---- places ----------------------------------------------------------------------------------*/

static void places_of_a_location(void **state)
{
	static const struct {
		struct gs_location location;
		const char *name[GS_LATENCY__LEVELS];
	} cases[] = {
		{{.country = "US",
		  .continent = "NA",
		  .subdivision = "CA",
		  .has_coord = true,
		  .coord = {37.7, -122.4}},
		 {"", "probes", "everybody", "continent:NA", "country:US", "subdivision:US-CA",
		  "cell:US-CA/37,-123"}},
		{{.country = "AU", .continent = "OC", .has_coord = true, .coord = {-0.5, 180}},
		 {"", "probes", "everybody", "continent:OC", "country:AU", "", "cell:AU/-1,180"}},
		{{.country = "DE", .continent = "EU", .subdivision = "BE"},
		 {"", "probes", "everybody", "continent:EU", "country:DE", "subdivision:DE-BE",
		  ""}},
		/* An override's clients, and those nobody knows. */
		{{.has_coord = true, .coord = {1, 1}, .override_region = 3},
		 {"", "probes", "everybody", "", "", "", ""}},
		/* What no place can be called. */
		{{.country = "de", .continent = "XX", .subdivision = "BE", .has_coord = true},
		 {"", "probes", "everybody", "", "", "", ""}},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_latency_places places;

		gs_latency_places_of(&cases[i].location, &places);
		for (int level = 0; level < GS_LATENCY__LEVELS; level++) {
			assert_string_equal(places.name[level], cases[i].name[level]);
			if (!places.name[level][0])
				continue;
			assert_true(gs_latency_place_is_valid(places.name[level]));
			assert_int_equal(gs_latency_level_of(places.name[level]), level);
		}
	}
}

static void names_that_are_none(void **state)
{
	static const char *const names[] = {
		"",
		"cell:",
		"cell:DE",
		"cell:DE/",
		"cell:DE/52",
		"cell:DE/52,",
		"cell:DE/52,13,1",
		"cell:DE/52,13 ",
		"cell:DE/+52,13",
		"cell:DE/052,13",
		"cell:DE/-0,13",
		"cell:DE/91,13",
		"cell:DE/52,181",
		"cell:de/52,13",
		"cell:/52,13",
		"cell:DE-/52,13",
		"cell:DE-BEBE/52,13",
		"cell:EU/9999999999999,1",
		"country:de",
		"city:Berlin",
		"everybody:1",
		"probes:1",
		"probes ",
		"Probes",
		"probe",
		"continent:XX",
	};
	char place[GS_LATENCY_PLACE_MAX];
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		set_place(place, names[i]);
		assert_false(gs_latency_place_is_valid(place));
	}
	set_place(place, BERLIN);
	assert_true(gs_latency_place_is_valid(place));
	place[GS_LATENCY_PLACE_MAX - 1] = 'x'; /* behind its end */
	assert_false(gs_latency_place_is_valid(place));
	memset(place, 'x', sizeof(place)); /* no end */
	assert_false(gs_latency_place_is_valid(place));
}

/* ---- estimates -------------------------------------------------------------------------------*/

static struct gs_latency row_of(const char *place, gs_id region, int32_t us)
{
	struct gs_latency row = {.region = region, .us = us, .samples = 9, .at_unix_ms = UNIX_MS};

	set_place(row.place, place);
	return row;
}

static int compare_rows(const void *a, const void *b)
{
	return gs_latency_compare(a, b);
}

static const struct gs_location munich = {.country = "DE",
					  .continent = "EU",
					  .subdivision = "BY",
					  .has_coord = true,
					  .coord = {48.14, 11.58}};

/* Of a view that was moved there: asked without moving one, the same. */
static struct gs_latency_estimate estimate_of(const struct gs_latency_view *moved,
					      const struct gs_location *location, gs_id region,
					      uint32_t model_us)
{
	struct gs_latency_estimate estimate = gs_latency_view_get(moved, region, model_us), other;
	struct gs_latency_view view;

	if (moved->is_before)
		gs_latency_view_init_before(&view, moved->rows, moved->count);
	else
		gs_latency_view_init(&view, moved->rows, moved->count);
	other = gs_latency_view_at(&view, location, region, model_us);
	assert_int_equal(other.us, estimate.us);
	assert_int_equal(other.source, estimate.source);
	assert_int_equal(other.more_us, estimate.more_us);
	assert_ptr_equal(other.row, estimate.row);
	return estimate;
}

/* From the place itself to everybody, then the model and what is typical. */
static void sources_in_order(void **state)
{
	struct gs_latency all[] = {
		row_of(MUNICH, FRA, 12000),	  row_of("subdivision:DE-BY", FRA, 21000),
		row_of("country:DE", FRA, 22000), row_of("continent:EU", FRA, 23000),
		row_of("everybody", FRA, 24000),  row_of("probes", FRA, 5000),
		row_of("everybody", AMS, 4000),	  row_of("everybody", AMS + 1, 9000),
		row_of("probes", AMS, 1000),
	};
	static const struct {
		uint32_t us;
		enum gs_latency_level source;
	} wanted[] = {
		{12000, GS_LATENCY_CELL},
		{3000 + 21000, GS_LATENCY_SUBDIVISION},
		{3000 + 22000, GS_LATENCY_COUNTRY},
		{3000 + 23000, GS_LATENCY_CONTINENT},
		{3000 + 24000, GS_LATENCY_EVERYBODY},
		/* and the 3 ms that clients need more than probes to AMS */
		{3000 + 5000 + 3000, GS_LATENCY_PROBES},
		/* of 4 and 9 ms the lower middle one */
		{3000 + 4000, GS_LATENCY_DISTANCE},
	};
	(void)state;

	for (uint32_t gone = 0; gone < ARRAY_SIZE(wanted); gone++) {
		struct gs_latency rows[ARRAY_SIZE(all)];
		uint32_t count = (uint32_t)ARRAY_SIZE(all) - gone;
		struct gs_latency_estimate estimate;
		struct gs_latency_view view;

		memcpy(rows, all + gone, count * sizeof(*rows));
		qsort(rows, count, sizeof(*rows), compare_rows);
		gs_latency_view_init(&view, rows, count);
		gs_latency_view_move(&view, &munich);
		estimate = estimate_of(&view, &munich, FRA, 3000);
		assert_int_equal(estimate.source, wanted[gone].source);
		assert_int_equal(estimate.us, wanted[gone].us);
		assert_int_equal(estimate.more_us, (int32_t)wanted[gone].us - 3000);
		assert_true((estimate.row == NULL) == (wanted[gone].source == GS_LATENCY_DISTANCE));
		estimate = estimate_of(&view, &munich, FRA, GS_ROUND_TRIP_UNKNOWN);
		assert_int_equal(estimate.us, GS_ROUND_TRIP_UNKNOWN);
	}
}

/* Clients' rows and probes' are not of one kind: what is between them is made up for. */
static void what_only_probes_know(void **state)
{
	enum { NONE = INT32_MIN, REGIONS = 4 };
	static const struct {
		const char *name;
		int32_t clients[REGIONS], probes[REGIONS], more[REGIONS];
	} cases[] = {
		{"probes alone: the unknown region has what is usual",
		 {NONE, NONE, NONE, NONE},
		 {5000, 9000, 1000, NONE},
		 {5000, 9000, 1000, 5000}},
		{"clients need 10 and 8 ms more",
		 {20000, 12000, NONE, NONE},
		 {10000, 4000, 6000, NONE},
		 {20000, 12000, 6000 + 8000, 14000}},
		{"the example of docs/steering.md: fra, ams, iad, sin",
		 {16000, 12000, NONE, NONE},
		 {0, 0, 9000, 30000},
		 {16000, 12000, 9000 + 12000, 30000 + 12000}},
		{"no region is known of both: not better than what clients have",
		 {16000, 12000, NONE, NONE},
		 {NONE, NONE, 2000, NONE},
		 {16000, 12000, 2000 + 12000, 14000}},
		{"clients need less: probes have a detour, but nobody beats the model",
		 {3000, NONE, NONE, NONE},
		 {8000, 6000, 1000, NONE},
		 {3000, 6000 - 5000, 0, 1000}},
		{"clients alone",
		 {16000, 12000, NONE, NONE},
		 {NONE, NONE, NONE, NONE},
		 {16000, 12000, 12000, 12000}},
		{"the longest there can be",
		 {-60000000, NONE, NONE, NONE},
		 {60000000, 60000000, NONE, -60000000},
		 {1000 - 3000, 0, 0, 0}},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gs_latency rows[2 * REGIONS];
		struct gs_latency_view view;
		uint32_t count = 0;

		for (gs_id region = 1; region <= REGIONS; region++) {
			if (cases[i].clients[region - 1] != NONE)
				rows[count++] =
					row_of("everybody", region, cases[i].clients[region - 1]);
			if (cases[i].probes[region - 1] != NONE)
				rows[count++] =
					row_of("probes", region, cases[i].probes[region - 1]);
		}
		qsort(rows, count, sizeof(*rows), compare_rows);
		gs_latency_view_init(&view, rows, count);
		gs_latency_view_move(&view, &munich);
		for (gs_id region = 1; region <= REGIONS; region++) {
			struct gs_latency_estimate estimate =
				estimate_of(&view, &munich, region, 3000);

			if (estimate.more_us != cases[i].more[region - 1])
				fail_msg("%s: region %u has %d", cases[i].name, region,
					 estimate.more_us);
			assert_int_equal(estimate.source, cases[i].clients[region - 1] != NONE
								  ? GS_LATENCY_EVERYBODY
							  : cases[i].probes[region - 1] != NONE
								  ? GS_LATENCY_PROBES
								  : GS_LATENCY_DISTANCE);
		}
	}
}

static void of_nothing_the_model(void **state)
{
	struct gs_latency_view view;
	struct gs_latency row = row_of("country:DE", FRA, -5000);
	(void)state;

	gs_latency_view_init(&view, NULL, 0);
	gs_latency_view_move(&view, &munich);
	assert_int_equal(estimate_of(&view, &munich, FRA, 3040).us, 3040);
	assert_int_equal(estimate_of(&view, &munich, FRA, 3040).source, GS_LATENCY_DISTANCE);
	/* Less than the model is believed, less than its floor is not. */
	gs_latency_view_init(&view, &row, 1);
	gs_latency_view_move(&view, &munich);
	assert_int_equal(estimate_of(&view, &munich, FRA, 9000).us, 4000);
	assert_int_equal(estimate_of(&view, &munich, FRA, 3040).us, GS_MODEL_FLOOR_US);
}

/* Of rows that have changed, some clients see what was before: a value, none, or one that goes. */
static void two_views_of_what_has_changed(void **state)
{
	struct gs_latency rows[] = {
		row_of(MUNICH, FRA, 60000),	  row_of(MUNICH, AMS, 20000),
		row_of("country:DE", FRA, 18000), row_of("everybody", FRA, GS_LATENCY_NONE),
		row_of("everybody", AMS, 9000),
	};
	struct gs_latency_view before, now;
	(void)state;

	rows[0].before_us = 21000;
	rows[1].before_us = GS_LATENCY_NONE;
	rows[3].before_us = 5000;
	rows[0].before_percent = rows[1].before_percent = rows[3].before_percent = 50;
	assert_int_equal(gs_latency_before_percent(rows, ARRAY_SIZE(rows)), 50);
	assert_int_equal(gs_latency_before_percent(rows + 4, 1), 0);
	gs_latency_view_init(&now, rows, ARRAY_SIZE(rows));
	gs_latency_view_init_before(&before, rows, ARRAY_SIZE(rows));
	gs_latency_view_move(&now, &munich);
	gs_latency_view_move(&before, &munich);
	assert_true(now.has_changed && before.has_changed);
	assert_int_equal(estimate_of(&now, &munich, FRA, 3000).us, 60000);
	assert_int_equal(estimate_of(&before, &munich, FRA, 3000).us, 21000);
	assert_int_equal(estimate_of(&now, &munich, AMS, 7000).us, 20000);
	assert_int_equal(estimate_of(&before, &munich, AMS, 7000).source, GS_LATENCY_EVERYBODY);
	assert_int_equal(estimate_of(&before, &munich, AMS, 7000).us, 7000 + 9000);
	assert_int_equal(now.typical_us, 9000);
	assert_int_equal(before.typical_us, 5000);
	/* Where none of the rows is one's own, all see it alike. */
	gs_latency_view_init(&now, rows + 2, 1);
	gs_latency_view_move(&now, &munich);
	assert_false(now.has_changed);
}

/* ---- larger places ---------------------------------------------------------------------------*/

static struct gs_latency_measured measured_of(const char *place, gs_id region, uint32_t samples,
					      uint32_t rtt_us, uint32_t model_us)
{
	struct gs_latency_measured m = {.continent = "EU",
					.region = region,
					.samples = samples,
					.rtt_us = rtt_us,
					.model_us = model_us,
					.age_ms = 2000,
					.at_unix_ms = UNIX_MS};

	set_place(m.place, place);
	return m;
}

static const struct gs_latency_input *input_of(const struct gs_latency_input *inputs,
					       uint32_t count, const char *place, gs_id region)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(inputs[i].place, place) == 0 && inputs[i].region == region)
			return &inputs[i];
	return NULL;
}

static void a_place_has_its_cells(void **state)
{
	const struct gs_latency_measured measured[] = {
		measured_of(MUNICH, FRA, 30, 13000, 3000), /* 10 ms more */
		measured_of(BERLIN, FRA, 10, 34000, 4000), /* 30 ms more */
		measured_of(PARIS, FRA, 40, 25000, 5000),  /* 20 ms more */
		measured_of(BERLIN, AMS, 2, 20000, 6000),
		measured_of(PARIS, AMS, 2, 1000, 90000),      /* faster than light: 0 more */
		measured_of("country:DE", FRA, 99, 99999, 0), /* no cell */
		measured_of("cell:DE/1", FRA, 99, 99999, 0),
		measured_of(MUNICH, 0, 99, 99999, 0), /* no region */
	};
	struct gs_latency_input inputs[GS_LATENCY_INPUTS * ARRAY_SIZE(measured)];
	static const struct {
		const char *place;
		gs_id region;
		uint32_t samples;
		int32_t us;
		uint32_t base_us;
	} wanted[] = {
		{MUNICH, FRA, 30, 13000, 13000},
		{"subdivision:DE-BY", FRA, 30, 10000, 13000},
		{"country:DE", FRA, 40, 15000, 18250},
		{"country:FR", FRA, 40, 20000, 25000},
		{"continent:EU", FRA, 80, 17500, 21625},
		{"everybody", FRA, 80, 17500, 21625},
		{"country:DE", AMS, 2, 14000, 20000},
		{"country:FR", AMS, 2, 0, 1000},
		{"everybody", AMS, 4, 7000, 10500},
		{PARIS, AMS, 2, 1000, 1000},
	};
	uint32_t count = gs_latency_gather(measured, ARRAY_SIZE(measured), inputs);
	(void)state;

	assert_int_equal(count, 10 + 8);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const struct gs_latency_input *input =
			input_of(inputs, count, wanted[i].place, wanted[i].region);

		assert_non_null(input);
		assert_int_equal(input->samples, wanted[i].samples);
		assert_true(abs(input->us - wanted[i].us) <= 1);
		assert_in_range(input->base_us, wanted[i].base_us - 1, wanted[i].base_us + 1);
	}
}

/* They are in no other place, and no cell is in theirs. */
static void probes_are_a_place_of_their_own(void **state)
{
	const struct gs_latency_measured measured[] = {
		measured_of("probes", FRA, 600, 15000, 3000),
		measured_of(MUNICH, FRA, 30, 13000, 3000),
		measured_of("probes", AMS, 600, 2000, 6000), /* faster than light: 0 more */
		measured_of("probes", 0, 600, 2000, 6000),   /* no region */
		measured_of("probes:1", AMS, 600, 2000, 6000),
	};
	struct gs_latency_input inputs[GS_LATENCY_INPUTS * ARRAY_SIZE(measured)];
	uint32_t count = gs_latency_gather(measured, ARRAY_SIZE(measured), inputs);
	const struct gs_latency_input *input = input_of(inputs, count, "probes", FRA);
	(void)state;

	assert_int_equal(count, 5 + 2);
	assert_non_null(input);
	assert_int_equal(input->samples, 600);
	assert_int_equal(input->us, 12000);
	assert_int_equal(input->base_us, 15000);
	input = input_of(inputs, count, "probes", AMS);
	assert_non_null(input);
	assert_int_equal(input->us, 0);
	assert_int_equal(input_of(inputs, count, "everybody", FRA)->samples, 30);
}

/* ---- the judge -------------------------------------------------------------------------------*/

struct bench {
	struct gs_latency_board board;
	uint64_t now_ms;
	uint64_t random;
	struct gs_latency_measured measured[ROWS];
	uint32_t measured_count;
	uint32_t revisions;
	uint32_t changes; /* published values that became others */
	bool is_silent;	  /* the database takes nothing */
};

static struct gs_latency_track room[2][ROOM];

static void begin(struct bench *bench)
{
	*bench = (struct bench){
		.board = {.tracks = room[0],
			  .spare = room[1],
			  .room = ROOM,
			  .period_ms = GS_LATENCY_PERIOD_MS},
		.now_ms = START_MS,
		.random = 0x5eed,
	};
}

static int64_t unix_of(const struct bench *bench)
{
	return UNIX_MS + (int64_t)(bench->now_ms - START_MS);
}

/* A period later; what is measured is as new as can be. */
static void evaluate(struct bench *bench)
{
	struct gs_latency_input inputs[GS_LATENCY_INPUTS * ROWS];
	uint32_t count, at;

	bench->now_ms += bench->board.period_ms;
	for (at = 0; at < bench->measured_count; at++)
		bench->measured[at].at_unix_ms = unix_of(bench);
	count = gs_latency_gather(bench->measured, bench->measured_count, inputs);
	if (!gs_latency_judge(&bench->board, inputs, count, bench->now_ms, unix_of(bench)) ||
	    bench->is_silent)
		return;
	bench->revisions++;
	for (at = 0; at < bench->board.count && bench->board.step.begins; at++) {
		const struct gs_latency_track *track = &bench->board.tracks[at];

		bench->changes += track->is_told && track->is_published && gs_latency_is_due(track);
	}
	gs_latency_board_told(&bench->board, bench->now_ms);
}

static void evaluate_for(struct bench *bench, uint64_t ms)
{
	for (uint64_t end = bench->now_ms + ms; bench->now_ms < end;)
		evaluate(bench);
}

static void measure(struct bench *bench, const char *place, gs_id region, uint32_t samples,
		    uint32_t rtt_us)
{
	uint32_t at = 0;

	while (at < bench->measured_count && (strcmp(bench->measured[at].place, place) != 0 ||
					      bench->measured[at].region != region))
		at++;
	if (at == bench->measured_count)
		bench->measured_count++;
	bench->measured[at] = measured_of(place, region, samples, rtt_us, 3000);
}

static const struct gs_latency_track *track_of(const struct bench *bench, const char *place,
					       gs_id region)
{
	for (uint32_t i = 0; i < bench->board.count; i++)
		if (strcmp(bench->board.tracks[i].row.place, place) == 0 &&
		    bench->board.tracks[i].row.region == region)
			return &bench->board.tracks[i];
	return NULL;
}

/* What is in the database; INT32_MIN: nothing. */
static int32_t told_us(const struct bench *bench, const char *place, gs_id region)
{
	const struct gs_latency_track *track = track_of(bench, place, region);

	return track && track->is_told ? track->told_us : INT32_MIN;
}

static void three_times_make_a_row(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, GS_LATENCY_SAMPLES_MIN, 20000);
	evaluate(&bench);
	evaluate(&bench);
	assert_int_equal(told_us(&bench, MUNICH, FRA), INT32_MIN);
	evaluate(&bench);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 20000);
	assert_int_equal(told_us(&bench, "country:DE", FRA), 17000);
	assert_int_equal(bench.revisions, 1);
	evaluate_for(&bench, 3600000);
	assert_int_equal(bench.revisions, STEPS);
}

/* One country with slow lines says nothing of another: three cells do, of a continent and of all.
 */
static void few_cells_speak_for_nobody_else(void **state)
{
	static const struct gs_location paris = {
		.country = "FR", .continent = "EU", .has_coord = true, .coord = {48.9, 2.3}};
	static const struct {
		const char *name;
		struct {
			const char *cell;
			uint32_t samples;
		} cells[4];
		bool speak;
	} cases[] = {
		{"one", {{MUNICH, 900}}, false},
		{"two", {{MUNICH, 900}, {BERLIN, 900}}, false},
		{"three", {{MUNICH, 9}, {BERLIN, 9}, {"cell:DE-HH/53,9", 9}}, true},
		{"two and one with too few samples",
		 {{MUNICH, 9}, {BERLIN, 9}, {"cell:DE-HH/53,9", GS_LATENCY_SAMPLES_MIN - 1}},
		 false},
		{"two and one with just enough",
		 {{MUNICH, 9}, {BERLIN, 9}, {"cell:DE-HH/53,9", GS_LATENCY_SAMPLES_MIN}},
		 true},
	};
	(void)state;

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct gs_latency rows[ROOM];
		struct gs_latency_view view;
		struct bench bench;
		uint32_t count = 0;

		begin(&bench);
		print_message("# %s\n", cases[c].name);
		for (int i = 0; i < 4 && cases[c].cells[i].cell; i++)
			measure(&bench, cases[c].cells[i].cell, FRA, cases[c].cells[i].samples,
				90000);
		evaluate_for(&bench, 60000);
		assert_int_equal(told_us(&bench, "country:DE", FRA), 87000);
		assert_int_equal(told_us(&bench, "continent:EU", FRA),
				 cases[c].speak ? 87000 : INT32_MIN);
		assert_int_equal(told_us(&bench, "everybody", FRA),
				 cases[c].speak ? 87000 : INT32_MIN);
		for (uint32_t i = 0; i < bench.board.count; i++)
			if (bench.board.tracks[i].is_told)
				rows[count++] = bench.board.tracks[i].row;
		gs_latency_view_init(&view, rows, count);
		gs_latency_view_move(&view, &paris);
		assert_int_equal(estimate_of(&view, &paris, FRA, 5000).us,
				 cases[c].speak ? 92000 : 5000);
	}
}

/* One edge is enough for them; noise and few samples are not, and what nobody confirms goes. */
static void probes_are_judged_as_places_are(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, "probes", FRA, 600, 15000);
	measure(&bench, "probes", AMS, GS_LATENCY_SAMPLES_MIN - 1, 15000);
	evaluate_for(&bench, 2 * GS_LATENCY_PERIOD_MS);
	assert_int_equal(told_us(&bench, "probes", FRA), INT32_MIN);
	evaluate(&bench);
	assert_int_equal(told_us(&bench, "probes", FRA), 12000);
	assert_int_equal(told_us(&bench, "probes", AMS), INT32_MIN);
	assert_int_equal(bench.board.published, 1);
	measure(&bench, "probes", FRA, 600, 19000); /* not by more than 5 ms */
	evaluate_for(&bench, 600000);
	assert_int_equal(told_us(&bench, "probes", FRA), 12000);
	measure(&bench, "probes", FRA, 600, 45000);
	evaluate_for(&bench, 60000);
	assert_int_equal(told_us(&bench, "probes", FRA), 42000);
	assert_int_equal(bench.changes, 1);
	bench.measured_count = 0;
	evaluate_for(&bench, GS_LATENCY_FRESH_MS + 120000);
	assert_int_equal(told_us(&bench, "probes", FRA), INT32_MIN);
}

/* What was said by three is withdrawn when two are left, as what nobody confirms is. */
static void what_too_few_confirm_grows_old(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 9, 90000);
	measure(&bench, BERLIN, FRA, 9, 90000);
	measure(&bench, PARIS, FRA, 9, 90000);
	evaluate_for(&bench, 60000);
	assert_int_equal(told_us(&bench, "everybody", FRA), 87000);
	bench.measured_count = 2;
	evaluate_for(&bench, GS_LATENCY_FRESH_MS - 30000);
	assert_int_equal(told_us(&bench, "everybody", FRA), 87000);
	evaluate_for(&bench, 120000);
	assert_int_equal(told_us(&bench, "everybody", FRA), INT32_MIN);
	assert_int_equal(told_us(&bench, "country:DE", FRA), 87000);
}

/* The same row read again is nothing new. */
static void what_is_not_new_does_not_count(void **state)
{
	struct bench bench;
	struct gs_latency_input inputs[GS_LATENCY_INPUTS];
	uint32_t count;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 9, 20000);
	count = gs_latency_gather(bench.measured, 1, inputs);
	for (int i = 0; i < 30; i++) {
		bench.now_ms += GS_LATENCY_PERIOD_MS;
		assert_false(gs_latency_judge(&bench.board, inputs, count, bench.now_ms,
					      unix_of(&bench)));
	}
}

static void few_samples_are_their_parents_matter(void **state)
{
	static const struct gs_location berlin = {.country = "DE",
						  .continent = "EU",
						  .subdivision = "BE",
						  .has_coord = true,
						  .coord = {52.5, 13.4}};
	struct gs_latency rows[ROOM];
	struct gs_latency_view view;
	struct bench bench;
	uint32_t count = 0;
	(void)state;

	begin(&bench);
	measure(&bench, BERLIN, FRA, 3, 90000);
	measure(&bench, MUNICH, FRA, 60, 20000);
	evaluate_for(&bench, 60000);
	assert_int_equal(told_us(&bench, BERLIN, FRA), INT32_MIN);
	assert_int_equal(told_us(&bench, "subdivision:DE-BE", FRA), INT32_MIN);
	for (uint32_t i = 0; i < bench.board.count; i++)
		if (bench.board.tracks[i].is_told)
			rows[count++] = bench.board.tracks[i].row;
	gs_latency_view_init(&view, rows, count);
	gs_latency_view_move(&view, &berlin);
	assert_int_equal(estimate_of(&view, &berlin, FRA, 4000).source, GS_LATENCY_COUNTRY);
	/* 60 of 17 ms, 3 of 87 ms more than the model */
	assert_in_range(estimate_of(&view, &berlin, FRA, 4000).us, 4000 + 20300, 4000 + 20400);
	measure(&bench, BERLIN, FRA, 5, 90000);
	evaluate_for(&bench, 90000);
	assert_int_equal(told_us(&bench, BERLIN, FRA), 90000);
}

/* ---- noise and change ------------------------------------------------------------------------*/

/* us, and up to `percent` of it more or less. */
static uint32_t noisy(struct bench *bench, uint32_t us, uint32_t percent)
{
	uint32_t most = us * percent / 100;

	return us - most + (uint32_t)(gs_random(&bench->random) % (2 * most + 1));
}

/* Which of the two a policy without a band has first. */
static gs_id first_of_two(const struct bench *bench)
{
	int32_t fra = told_us(bench, MUNICH, FRA), ams = told_us(bench, MUNICH, AMS);

	return fra == INT32_MIN || ams == INT32_MIN ? 0 : fra <= ams ? FRA : AMS;
}

static void equal_regions_with_noise_never_switch(void **state)
{
	(void)state;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct bench bench;
		gs_id first = 0;

		begin(&bench);
		bench.random = seed;
		for (int i = 0; i < 360; i++) {
			gs_id now;

			measure(&bench, MUNICH, FRA, 20, noisy(&bench, 80000, 10));
			measure(&bench, MUNICH, AMS, 20, noisy(&bench, 80000, 10));
			evaluate(&bench);
			now = first_of_two(&bench);
			first = first ? first : now;
			if (now != first)
				fail_msg("seed %lu: switched after %d s", (unsigned long)seed,
					 10 * i);
		}
		assert_int_equal(bench.changes, 0);
	}
}

/* Long before the first evaluation that wants it, none is followed; soon after it, all are, once
 * what a larger place has begun is complete. */
static void a_true_change_is_followed(void **state)
{
	static const struct {
		uint32_t from_us, to_us;
		uint64_t first_ms, near_ms; /* followed at all; within 15 % */
	} cases[] = {
		{20000, 100000, 30000, 60000},	{20000, 40000, 30000, 60000},
		{100000, 120000, 60000, 60000}, {100000, 20000, 30000, 90000},
		{40000, 20000, 60000, 90000},	{5000, 1000000, 30000, 60000},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench bench;
		uint64_t changed_ms;

		begin(&bench);
		measure(&bench, MUNICH, FRA, 20, cases[i].from_us);
		evaluate_for(&bench, 600000);
		assert_int_equal(told_us(&bench, MUNICH, FRA), cases[i].from_us);
		measure(&bench, MUNICH, FRA, 20, cases[i].to_us);
		changed_ms = bench.now_ms;
		evaluate_for(&bench, 20000);
		assert_int_equal(told_us(&bench, MUNICH, FRA), cases[i].from_us);
		while (told_us(&bench, MUNICH, FRA) == (int32_t)cases[i].from_us)
			evaluate(&bench);
		assert_in_range(bench.now_ms - changed_ms, 1, cases[i].first_ms);
		evaluate_for(&bench, changed_ms + cases[i].near_ms - bench.now_ms);
		assert_false(gs_latency_differs(told_us(&bench, MUNICH, FRA), cases[i].to_us,
						cases[i].to_us));
	}
}

static void what_differs(void **state)
{
	static const struct {
		int32_t published_us;
		double wanted_us;
		uint32_t base_us;
		bool does;
	} cases[] = {
		{40000, 46000, 40000, false}, {40000, 46001, 40000, true},
		{40000, 34000, 40000, false}, {40000, 33999, 40000, true},
		{10000, 15000, 10000, false}, {10000, 15001, 10000, true},
		{-2000, 3001, 20000, true},   {-2000, 3001, 40000, false},
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(gs_latency_differs(cases[i].published_us, cases[i].wanted_us,
						    cases[i].base_us),
				 cases[i].does);
}

static void a_short_spike_changes_nothing(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	evaluate_for(&bench, 600000);
	for (int i = 0; i < 100; i++) {
		measure(&bench, MUNICH, FRA, 20, 60000);
		evaluate(&bench);
		measure(&bench, MUNICH, FRA, 20, 20000);
		evaluate_for(&bench, 90000);
	}
	assert_int_equal(bench.changes, 0);
}

/* What turns back every two minutes is followed less and less often, but never not at all; quiet
 * is forgiven. */
static void flapping_is_damped(void **state)
{
	struct bench bench;
	uint32_t before;
	(void)state;

	begin(&bench);
	for (int i = 0; i < 60; i++) {
		measure(&bench, MUNICH, FRA, 20, i % 2 ? 100000 : 20000);
		evaluate_for(&bench, 120000);
	}
	/* Undamped it would be three rows (cell, subdivision ...) of five for each of 60. */
	assert_in_range(bench.changes, 5 * 4, 5 * 16);
	assert_in_range(track_of(&bench, MUNICH, FRA)->turns, 3, GS_LATENCY_TURNS_MAX);
	before = bench.changes;
	for (int i = 0; i < 60; i++) {
		measure(&bench, MUNICH, FRA, 20, i % 2 ? 100000 : 20000);
		evaluate_for(&bench, 120000);
	}
	assert_true(bench.changes > before);
	measure(&bench, MUNICH, FRA, 20, 20000);
	evaluate_for(&bench, 7200000);
	assert_int_equal(told_us(&bench, MUNICH, FRA) / 1000, 20);
	measure(&bench, MUNICH, FRA, 20, 100000);
	evaluate_for(&bench, 60000);
	assert_int_equal(track_of(&bench, MUNICH, FRA)->turns, 1);
	assert_true(told_us(&bench, MUNICH, FRA) > 80000);
}

/* ---- age -------------------------------------------------------------------------------------*/

static void stale_data_falls_back(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	measure(&bench, PARIS, FRA, 20, 30000);
	evaluate_for(&bench, 600000);
	bench.measured[0] = bench.measured[1]; /* nobody of Munich comes any more */
	bench.measured_count = 1;
	evaluate_for(&bench, GS_LATENCY_FRESH_MS - 20000);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 20000);
	evaluate_for(&bench, 20000 + 60000);
	assert_int_equal(told_us(&bench, MUNICH, FRA), INT32_MIN);
	assert_int_equal(told_us(&bench, "country:DE", FRA), INT32_MIN);
	assert_int_not_equal(told_us(&bench, "country:FR", FRA), INT32_MIN);
	assert_int_equal(told_us(&bench, PARIS, FRA), 30000);
	/* It is not forgotten at once, and in the end it is. */
	assert_non_null(track_of(&bench, MUNICH, FRA));
	evaluate_for(&bench, 4 * 3600000);
	assert_null(track_of(&bench, MUNICH, FRA));
}

/* A few samples of a window that runs out neither hold a row nor change it. */
static void what_runs_out_goes(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	evaluate_for(&bench, 60000);
	measure(&bench, MUNICH, FRA, 4, 90000);
	evaluate_for(&bench, GS_LATENCY_FRESH_MS / 2);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 20000);
	evaluate_for(&bench, GS_LATENCY_FRESH_MS / 2 + 90000);
	assert_int_equal(told_us(&bench, MUNICH, FRA), INT32_MIN);
}

/* A region that is tried every time it has been forgotten, and is slower every time. */
static void what_came_back_the_same_is_remembered_longer(void **state)
{
	uint64_t held_ms[6];
	struct bench bench;
	(void)state;

	begin(&bench);
	for (size_t i = 0; i < ARRAY_SIZE(held_ms); i++) {
		uint64_t last_ms;

		measure(&bench, MUNICH, AMS, 20, 90000);
		evaluate_for(&bench, 120000);
		last_ms = bench.now_ms;
		assert_int_equal(told_us(&bench, MUNICH, AMS), 90000);
		bench.measured_count = 0;
		while (told_us(&bench, MUNICH, AMS) != INT32_MIN)
			evaluate(&bench);
		held_ms[i] = bench.now_ms - last_ms;
	}
	assert_in_range(held_ms[0], GS_LATENCY_FRESH_MS, GS_LATENCY_FRESH_MS + 60000);
	assert_in_range(held_ms[1], 2 * GS_LATENCY_FRESH_MS, 2 * GS_LATENCY_FRESH_MS + 60000);
	assert_in_range(held_ms[5], 16 * GS_LATENCY_FRESH_MS, 16 * GS_LATENCY_FRESH_MS + 60000);
	/* Another value begins anew. */
	measure(&bench, MUNICH, AMS, 20, 20000);
	evaluate_for(&bench, 300000);
	assert_int_equal(gs_latency_fresh_ms(track_of(&bench, MUNICH, AMS)), GS_LATENCY_FRESH_MS);
}

/* ---- who judges ------------------------------------------------------------------------------*/

static void take_over(struct bench *bench, const struct gs_latency *rows, uint32_t count)
{
	bench->board.count = bench->board.published = 0;
	gs_latency_board_follow(&bench->board, rows, count, bench->now_ms, unix_of(bench));
	assert_int_equal(bench->board.published, count);
}

/* Another edge goes on from what is published: nothing changes for that, and its time holds. */
static void another_judge_goes_on(void **state)
{
	struct gs_latency rows[ROOM];
	struct bench bench;
	uint32_t count = 0;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	evaluate_for(&bench, 60000);
	for (uint32_t i = 0; i < bench.board.count; i++)
		rows[count++] = bench.board.tracks[i].row;
	take_over(&bench, rows, count);
	bench.revisions = 0;
	measure(&bench, MUNICH, FRA, 20, 21500);
	evaluate_for(&bench, 3600000);
	assert_int_equal(bench.revisions, 0);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 20000);
	take_over(&bench, rows, count);
	bench.measured_count = 0;
	evaluate_for(&bench, GS_LATENCY_FRESH_MS + 30000);
	assert_int_equal(told_us(&bench, MUNICH, FRA), INT32_MIN);
}

/* New rows come together, changed ones at once; what could not be told is told later. */
static void revisions_are_few(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	for (uint32_t i = 0; i < ROWS; i++) {
		char place[GS_LATENCY_PLACE_MAX];

		snprintf(place, sizeof(place), "cell:DE/%u,10", i);
		measure(&bench, place, FRA, 20, 20000);
		evaluate(&bench);
	}
	evaluate_for(&bench, 120000);
	assert_int_equal(told_us(&bench, "cell:DE/15,10", FRA), 20000);
	assert_in_range(bench.revisions, 2, 5 * STEPS);
	bench.revisions = 0;
	bench.is_silent = true;
	measure(&bench, "cell:DE/15,10", FRA, 20, 200000);
	evaluate_for(&bench, 60000);
	assert_int_equal(told_us(&bench, "cell:DE/15,10", FRA), 20000);
	bench.is_silent = false;
	evaluate(&bench);
	assert_true(told_us(&bench, "cell:DE/15,10", FRA) > 150000);
	assert_int_equal(bench.revisions, 1);
}

/* ---- step by step ----------------------------------------------------------------------------*/

/* What of a hundred clients go by what was before, after each evaluation. */
static void expect_steps(struct bench *bench, const int *percents, int count)
{
	for (int i = 0; i < count; i++) {
		evaluate(bench);
		assert_int_equal(bench->board.before_percent, percents[i]);
	}
}

static void a_change_takes_four_steps(void **state)
{
	static const int first[] = {0, 0, 75, 50, 25, 0, 0};
	static const int change[] = {0, 0, 75, 50, 25, 0, 0};
	static const int failed[] = {75, 75};
	static const int late[] = {50, 25, 0, 0};
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	expect_steps(&bench, first, ARRAY_SIZE(first));
	evaluate_for(&bench, 600000);
	measure(&bench, MUNICH, FRA, 20, 100000);
	expect_steps(&bench, change, ARRAY_SIZE(change));
	assert_int_equal(told_us(&bench, MUNICH, FRA), 100000);
	/* What the database does not take is not taken twice later. */
	evaluate_for(&bench, 600000);
	measure(&bench, MUNICH, FRA, 20, 20000);
	expect_steps(&bench, change, 3);
	bench.is_silent = true;
	expect_steps(&bench, failed, ARRAY_SIZE(failed));
	bench.is_silent = false;
	expect_steps(&bench, late, ARRAY_SIZE(late));
}

/* So no client is between three values; and it turns back no sooner. */
static void what_is_due_meanwhile_begins_when_it_is_complete(void **state)
{
	static const int steps[] = {50, 25, 75, 50, 25, 0};
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	measure(&bench, PARIS, FRA, 20, 30000);
	evaluate_for(&bench, 600000);
	measure(&bench, MUNICH, FRA, 20, 100000);
	evaluate(&bench);
	measure(&bench, PARIS, FRA, 20, 200000);
	evaluate(&bench);
	evaluate(&bench);
	assert_int_equal(bench.board.before_percent, 75);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 100000);
	measure(&bench, MUNICH, FRA, 20, 20000);
	for (int i = 0; i < (int)ARRAY_SIZE(steps); i++) {
		expect_steps(&bench, &steps[i], 1);
		assert_int_equal(told_us(&bench, PARIS, FRA), i < 2 ? 30000 : 200000);
		assert_int_equal(told_us(&bench, MUNICH, FRA), i < 2 ? 100000 : 20000);
	}
}

/* Another judge finds a change half way: by what is published, it goes on from there. */
static void another_judge_goes_on_half_way(void **state)
{
	struct gs_latency rows[] = {row_of(BERLIN, FRA, GS_LATENCY_NONE),
				    row_of(MUNICH, FRA, 100000)};
	static const int steps[] = {25, 0, 0};
	struct bench bench;
	(void)state;

	begin(&bench);
	rows[0].before_us = 30000;
	rows[1].before_us = 20000;
	rows[0].before_percent = rows[1].before_percent = 50;
	gs_latency_board_follow(&bench.board, rows, 2, bench.now_ms, unix_of(&bench));
	assert_int_equal(bench.board.count, 1);
	assert_int_equal(bench.board.published, 2); /* what goes has its place until it is gone */
	assert_int_equal(told_us(&bench, MUNICH, FRA), 100000);
	expect_steps(&bench, steps, ARRAY_SIZE(steps));
	assert_int_equal(bench.revisions, 2);
	assert_int_equal(bench.changes, 0);
	/* What goes and is measured again is published anew. */
	measure(&bench, BERLIN, FRA, 20, 31000);
	evaluate_for(&bench, 90000);
	assert_int_equal(told_us(&bench, BERLIN, FRA), 31000);
}

/* A step more than what is there is none: so one who reads late does not go twice as fast. */
static void who_reads_late_goes_no_faster(void **state)
{
	struct gs_latency row = row_of(MUNICH, FRA, 100000);
	struct bench bench;
	(void)state;

	begin(&bench);
	row.before_us = 20000;
	row.before_percent = 75;
	for (int i = 0; i < 3; i++) {
		gs_latency_board_follow(&bench.board, &row, 1, bench.now_ms, unix_of(&bench));
		evaluate(&bench);
		assert_int_equal(bench.board.step.from_percent, 75);
		assert_int_equal(bench.board.step.to_percent, 50);
		assert_false(bench.board.step.begins);
	}
}

/* What somebody took out of the database comes back, and what came in by hand goes. */
static void the_database_is_followed(void **state)
{
	struct gs_latency strange[] = {row_of("cell:AT/47,13", FRA, 5000),
				       row_of("everybody", FRA, 1)};
	struct bench bench;
	(void)state;

	begin(&bench);
	measure(&bench, MUNICH, FRA, 20, 20000);
	measure(&bench, BERLIN, FRA, 20, 20000);
	measure(&bench, PARIS, FRA, 20, 20000);
	evaluate_for(&bench, 120000);
	gs_latency_board_follow(&bench.board, strange, 2, bench.now_ms, unix_of(&bench));
	assert_int_equal(told_us(&bench, MUNICH, FRA), INT32_MIN);
	assert_int_equal(told_us(&bench, "everybody", FRA), 1);
	assert_int_equal(bench.board.published, 11);
	evaluate(&bench);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 20000);
	assert_int_equal(told_us(&bench, "everybody", FRA), 17000);
	assert_int_equal(told_us(&bench, "cell:AT/47,13", FRA), 5000);
	evaluate_for(&bench, GS_LATENCY_FRESH_MS + 60000);
	assert_int_equal(told_us(&bench, "cell:AT/47,13", FRA), INT32_MIN);
}

/* More than there is room for: what is there stays, the rest is counted. */
static void what_has_no_room_is_refused(void **state)
{
	struct bench bench;
	(void)state;

	begin(&bench);
	bench.board.room = 5;
	measure(&bench, MUNICH, FRA, 20, 20000); /* three places */
	evaluate_for(&bench, 60000);
	assert_int_equal(bench.board.count, 3);
	measure(&bench, BERLIN, FRA, 20, 20000); /* two more */
	measure(&bench, PARIS, FRA, 20, 20000);	 /* and three, and the two that are of all */
	evaluate_for(&bench, 120000);
	assert_int_equal(bench.board.count, 5);
	assert_int_equal(bench.board.refused, 5);
	assert_int_equal(told_us(&bench, MUNICH, FRA), 20000);
	bench.measured[1] = bench.measured[2];
	bench.measured_count = 2;
	evaluate_for(&bench, 3600000 * 5);
	assert_int_equal(bench.board.refused, 1);
}

/* ---- anything at all -------------------------------------------------------------------------*/

/* However it comes: rows are sorted and sound, two changes of one are a dwell apart, and what is
 * told is what was asked for. */
static void whatever_comes_the_rules_hold(void **state)
{
	static const char *const places[] = {MUNICH, BERLIN, PARIS, "cell:DE-BE/53,13"};
	(void)state;

	for (uint64_t seed = 0; seed < 60; seed++) {
		struct bench bench;
		struct gs_latency_track before[ROOM];

		begin(&bench);
		bench.random = seed;
		bench.board.room = seed % 4 ? ROOM : 13;
		for (int i = 0; i < 400; i++) {
			uint32_t count = bench.board.count;
			uint64_t draw = gs_random(&bench.random);

			memcpy(before, bench.board.tracks, count * sizeof(*before));
			measure(&bench, places[draw % 4], draw & 64 ? FRA : AMS,
				(uint32_t)(draw >> 8) % 12, 1000 + (uint32_t)(draw >> 16) % 200000);
			bench.is_silent = draw >> 40 & 1;
			if (draw >> 41 & 1)
				bench.measured_count--;
			evaluate(&bench);
			for (uint32_t t = 0; t < bench.board.count; t++) {
				const struct gs_latency_track *now = &bench.board.tracks[t];
				uint32_t was = 0;

				assert_true(gs_latency_place_is_valid(now->row.place));
				assert_true(t == 0 ||
					    gs_latency_compare(&now[-1].row, &now->row) < 0);
				while (was < count &&
				       gs_latency_compare(&before[was].row, &now->row) != 0)
					was++;
				if (was == count || !before[was].is_published ||
				    !now->is_published || before[was].row.us == now->row.us)
					continue;
				assert_true(
					bench.now_ms - before[was].changed_ms >=
					gs_latency_dwell_ms(&before[was], GS_LATENCY_PERIOD_MS));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_of_a_location),
		cmocka_unit_test(names_that_are_none),
		cmocka_unit_test(sources_in_order),
		cmocka_unit_test(what_only_probes_know),
		cmocka_unit_test(of_nothing_the_model),
		cmocka_unit_test(two_views_of_what_has_changed),
		cmocka_unit_test(a_place_has_its_cells),
		cmocka_unit_test(probes_are_a_place_of_their_own),
		cmocka_unit_test(three_times_make_a_row),
		cmocka_unit_test(few_cells_speak_for_nobody_else),
		cmocka_unit_test(probes_are_judged_as_places_are),
		cmocka_unit_test(what_too_few_confirm_grows_old),
		cmocka_unit_test(what_is_not_new_does_not_count),
		cmocka_unit_test(few_samples_are_their_parents_matter),
		cmocka_unit_test(equal_regions_with_noise_never_switch),
		cmocka_unit_test(a_true_change_is_followed),
		cmocka_unit_test(what_differs),
		cmocka_unit_test(a_short_spike_changes_nothing),
		cmocka_unit_test(flapping_is_damped),
		cmocka_unit_test(stale_data_falls_back),
		cmocka_unit_test(what_runs_out_goes),
		cmocka_unit_test(what_came_back_the_same_is_remembered_longer),
		cmocka_unit_test(another_judge_goes_on),
		cmocka_unit_test(revisions_are_few),
		cmocka_unit_test(a_change_takes_four_steps),
		cmocka_unit_test(what_is_due_meanwhile_begins_when_it_is_complete),
		cmocka_unit_test(another_judge_goes_on_half_way),
		cmocka_unit_test(who_reads_late_goes_no_faster),
		cmocka_unit_test(the_database_is_followed),
		cmocka_unit_test(what_has_no_room_is_refused),
		cmocka_unit_test(whatever_comes_the_rules_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
