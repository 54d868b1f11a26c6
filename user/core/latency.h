/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Round trips that clients really have, by place and region: what edges measured becomes estimates
 * that all edges rank by. Pure; caller's memory; time is a parameter.
 *
 * Places, from the smallest: a cell ("cell:DE-BE/52,13": a degree's square, by its south-western
 * corner, in a subdivision or country), "subdivision:DE-BE", "country:DE", "continent:EU",
 * "everybody". Of a cell the round trip itself is known. Of larger places it is what their clients
 * need more than the model (1 ms a 100 km) says of where each of them is: so that those who are
 * near do not speak for those who are far. "probes" is where edges are: what the network between
 * them and a region takes more than the model, which is without the last mile to clients.
 */
#pragma once

#include "rank.h"
#include "types.h"

#include <stddef.h>

enum gs_latency_level {
	GS_LATENCY_DISTANCE, /* no place: the model */
	GS_LATENCY_PROBES,
	GS_LATENCY_EVERYBODY,
	GS_LATENCY_CONTINENT,
	GS_LATENCY_COUNTRY,
	GS_LATENCY_SUBDIVISION,
	GS_LATENCY_CELL,
	GS_LATENCY__LEVELS
};

enum {
	GS_LATENCY_US_MAX = 60000000,
	GS_LATENCY_SAMPLES_MIN = 5,
	GS_LATENCY_CELLS_MIN = 3, /* that speak for a continent, or for everybody */
	GS_LATENCY_PERIOD_MS = 10000,
	GS_LATENCY_PERIOD_MIN_MS = 100,
	GS_LATENCY_PERIOD_MAX_MS = 600000,
	GS_LATENCY_FRESH_MS = 600000, /* what is older is not believed */
	GS_LATENCY_CHANGE_PERCENT = 15,
	GS_LATENCY_CHANGE_US = 5000,
	GS_LATENCY_TIMES = 3,	      /* evaluations in a row that want a change */
	GS_LATENCY_DWELL_PERIODS = 3, /* between two changes; doubled by each that turns back */
	GS_LATENCY_TURNS_MAX = 5,     /* so often */
	GS_LATENCY_RETURNS_MAX = 4,   /* how often the time that is remembered doubles */
	GS_LATENCY_QUIET_PERIODS = 6, /* between two revisions that change no value */
	GS_LATENCY_STEP_PERCENT = 25, /* of clients go over at a time; a part of 100 */
};

/* ---- places ----------------------------------------------------------------------------------*/

#define GS_LATENCY_PLACE_PROBES "probes"

/* The places of a location by level; "" where it is in none. */
struct gs_latency_places {
	char name[GS_LATENCY__LEVELS][GS_LATENCY_PLACE_MAX];
};
void gs_latency_places_of(const struct gs_location *location, struct gs_latency_places *ret_places);
/* Is it one that gs_latency_places_of makes? (rows and files are hostile) Everybody's location is
 * in "probes". */
bool gs_latency_place_is_valid(const char place[GS_LATENCY_PLACE_MAX]);
/* The subdivision or country a cell is in. False: it is no cell's name. */
bool gs_latency_cell_place(const char *place, struct gs_place *ret_place);
/* Of a valid place. */
enum gs_latency_level gs_latency_level_of(const char *place);
/* "measured" (a cell), "subdivision", "country", "continent", "everybody", "probes", "distance". */
const char *gs_latency_source_name(enum gs_latency_level level);
/* Order of gs_snapshot.latencies: place by bytes, then region. */
int gs_latency_compare(const struct gs_latency *a, const struct gs_latency *b);

/* ---- estimates: what every edge makes of published rows --------------------------------------*/

struct gs_latency_estimate {
	uint32_t us; /* GS_ROUND_TRIP_UNKNOWN: nobody knows where these clients are */
	enum gs_latency_level source;
	int32_t more_us;	      /* in it: what it is more than the model's */
	const struct gs_latency *row; /* the one that says so; NULL: source is distance */
};

/* Rows as seen from one location. */
struct gs_latency_view {
	const struct gs_latency *rows; /* sorted, kept by the caller */
	uint32_t count;
	bool is_before;	      /* seen as those clients see them who still go by values before */
	bool has_changed;     /* not all of the location's clients see it alike */
	int32_t last_mile_us; /* what clients need more than probes do, as is usual; may be < 0 */
	int32_t typical_us;   /* of a region nobody has measured: the middle one of all regions' */
	const struct gs_latency *best[GS_ID_MAX_REGION + 1]; /* by region id; NULL: none */
};

void gs_latency_view_init(struct gs_latency_view *view, const struct gs_latency *rows,
			  uint32_t count);
/* The same as it was before the last change. */
void gs_latency_view_init_before(struct gs_latency_view *view, const struct gs_latency *rows,
				 uint32_t count);
void gs_latency_view_move(struct gs_latency_view *view, const struct gs_location *location);
/* model_us: of the location and region, or GS_ROUND_TRIP_UNKNOWN. region <= GS_ID_MAX_REGION. */
struct gs_latency_estimate gs_latency_view_get(const struct gs_latency_view *view, gs_id region,
					       uint32_t model_us);
/* As if moved there, for one region only: the view may be where it likes. */
struct gs_latency_estimate gs_latency_view_at(const struct gs_latency_view *view,
					      const struct gs_location *location, gs_id region,
					      uint32_t model_us);
/* How many of a hundred clients still go by the values before, of rows that have changed: all such
 * rows go on together. 0: there is none. */
uint8_t gs_latency_before_percent(const struct gs_latency *rows, uint32_t count);
/* The view (which they move) as what regions are ranked by. */
struct gs_rank_facts gs_latency_facts(struct gs_latency_view *view);

/* ---- the judge: what edges measured to published rows ----------------------------------------*/

/* Handshakes of clients of one cell with one region, as all edges together have them; or probes of
 * it from where edges are. */
struct gs_latency_measured {
	char place[GS_LATENCY_PLACE_MAX]; /* a cell, or GS_LATENCY_PLACE_PROBES */
	char continent[3];		  /* or "" */
	gs_id region;
	uint32_t samples;
	uint32_t rtt_us;
	uint32_t model_us;  /* of where those clients are */
	uint32_t age_ms;    /* of the newest of them */
	int64_t at_unix_ms; /* the same by the database's clock: tells whether there are new ones */
};

/* The same of any place. Made by gs_latency_gather. */
struct gs_latency_input {
	char place[GS_LATENCY_PLACE_MAX];
	gs_id region;
	uint32_t samples;
	int32_t us;	  /* as gs_latency.us */
	uint32_t base_us; /* their round trip, which percents are of */
	uint32_t age_ms;
	int64_t at_unix_ms;
	uint32_t cells; /* of those it was made of: that count by themselves, too */
};

enum { GS_LATENCY_INPUTS = 5 /* places of a cell */ };

/*
 * Cells, the places they are in and probes, sorted as gs_latency_compare has it, each once; those
 * of a place weighted by samples. inputs: room for GS_LATENCY_INPUTS * count. Returns how many.
 * Measured rows of other places are left out.
 */
uint32_t gs_latency_gather(const struct gs_latency_measured *measured, uint32_t count,
			   struct gs_latency_input *inputs);

/* What is remembered of one (place, region). */
struct gs_latency_track {
	struct gs_latency row; /* as it is to be published, or was last */
	bool is_published;     /* it is to be */
	bool is_told;	       /* it is, as told_us */
	bool has_been;	       /* row.us says something */
	bool is_known;	       /* something was measured since the judge began */
	int8_t wants;	       /* a change: -1 down, 1 up, 0 none */
	int8_t went;	       /* the last change */
	uint8_t times;	       /* evaluations in a row that want it */
	uint8_t turns;	       /* changes that took the one before back */
	uint8_t returns;       /* times it was forgotten and came back the same */
	uint32_t samples;      /* now */
	uint32_t base_us;
	double smoothed_us;
	double wanted_us;      /* the mean of what wants the change: where it goes */
	uint64_t measured_ms;  /* when there was last enough of it */
	int64_t heard_unix_ms; /* at_unix_ms of what was heard last */
	uint64_t smoothed_ms;
	uint64_t wants_ms;   /* since when */
	uint64_t changed_ms; /* of the published value */
	int32_t told_us;
};

/* What one revision does. */
struct gs_latency_step {
	uint8_t from_percent; /* still go by values before, of what has changed; 0: nothing has */
	uint8_t to_percent;   /* and so many from here on; 0: none, the change is complete */
	bool begins;	      /* what is due is published, to a first GS_LATENCY_STEP_PERCENT */
};

struct gs_latency_board {
	struct gs_latency_track *tracks; /* the caller's; sorted */
	struct gs_latency_track *spare;	 /* as much room again */
	uint32_t count, room;
	uint32_t published;	     /* rows there are, or will be */
	uint8_t before_percent;	     /* of the change under way; 0: there is none */
	struct gs_latency_step step; /* of the last evaluation */
	uint32_t refused;	     /* of the last evaluation: no room for their tracks or rows */
	uint32_t period_ms;
	uint64_t told_ms; /* when rows last changed */
};

/*
 * What is published, before an evaluation: sorted rows. Those that the board does not know are
 * taken as they are, measured now; a judge that begins has count and published 0. now_unix_ms: the
 * wall clock at now_ms.
 */
void gs_latency_board_follow(struct gs_latency_board *board, const struct gs_latency *rows,
			     uint32_t count, uint64_t now_ms, int64_t now_unix_ms);
/*
 * One evaluation. inputs: sorted. True: it is time for board->step; once that is done the caller
 * calls gs_latency_board_told. If it was not, what is due stays so. A change goes on step by step,
 * one an evaluation; what gs_latency_is_due meanwhile begins when it is complete. So no client is
 * between three plans, and all of a place's rows change together.
 */
bool gs_latency_judge(struct gs_latency_board *board, const struct gs_latency_input *inputs,
		      uint32_t count, uint64_t now_ms, int64_t now_unix_ms);
/* Its row is another one than what was told (is_published), or is to go (not). */
bool gs_latency_is_due(const struct gs_latency_track *track);
void gs_latency_board_told(struct gs_latency_board *board, uint64_t now_ms);

/* How long a change waits behind the last one; how old a measurement may be. */
uint64_t gs_latency_dwell_ms(const struct gs_latency_track *track, uint32_t period_ms);
uint64_t gs_latency_fresh_ms(const struct gs_latency_track *track);
/* Is the difference one that is followed? base_us: the round trip that percents are of. */
bool gs_latency_differs(int32_t published_us, double wanted_us, uint32_t base_us);
