/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of addresses are gathered by the pair of their locations, however many there are; what a
 * pair means to each service is asked once, when all are in, or when there is no room for more.
 */
#include "geo_change.h"

#include "user/base/cleanup.h"
#include "user/core/geodiff.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

enum {
	PAIRS = 1 << 18,
	PAIRS_MOST = PAIRS / 4 * 3,
	RUNS = 4096,	/* a call of the walk */
	MATRICES = 32,	/* services of which it is known from where to where; of others how much */
	SPLIT = 0xffff, /* a plan whose clients begin in more than one region */
	MILLION = 1000000,
};

struct pair {
	u128 addresses; /* 0: the place is free */
	uint16_t before, after;
};

/* Services whose plans are the same before, and the same after. */
struct lane {
	const struct gs_service *first;
	uint32_t services;
	const uint16_t *before, *after; /* plan of each location */
	double moved[2];		/* addresses, by family */
	double *moves[2];		/* [from * regions + to]; NULL: none yet, or no room */
};

/* One generation. */
struct side {
	const struct gs_tables *tables;
	uint16_t *homes; /* [plan] -> region; SPLIT */
	struct gs_geo_range *over[2];
	size_t over_count[2];
};

struct finding {
	const struct gs_geo_change_of *of;
	struct gs_geo_change *change;
	struct side before, after;
	struct pair *pairs;
	uint32_t pair_count;
	struct lane *lanes;
	uint32_t lane_count, matrix_count;
	size_t regions; /* ids are below */
	double located[2], relocated[2];
};

static void finding_done(struct finding *f)
{
	for (uint32_t i = 0; f->lanes && i < f->lane_count; i++) {
		free(f->lanes[i].moves[0]);
		free(f->lanes[i].moves[1]);
	}
	for (int i = 0; i < 2; i++) {
		free(f->before.over[i]);
		free(f->after.over[i]);
	}
	free(f->before.homes);
	free(f->after.homes);
	free(f->lanes);
	free(f->pairs);
}

/* ---- overrides: nested prefixes to what wins where ------------------------------------------- */

struct span {
	u128 first, last;
	uint16_t location;
};

static u128 number_of(struct gs_geo_key key)
{
	return (u128)key.high << 64 | key.low;
}

static struct gs_geo_key key_of(u128 number)
{
	return (struct gs_geo_key){.high = (uint64_t)(number >> 64), .low = (uint64_t)number};
}

static struct span span_of(const struct gs_table_override *override)
{
	struct gs_addr base = override->prefix.addr;
	unsigned bits = (override->prefix.is_v4 ? 32u : 128u) - override->prefix.length;
	u128 first = number_of(gs_geo_key_of(&base));
	u128 size = bits < 128 ? (u128)1 << bits : 0; /* 0: all */

	return (struct span){first, first + (size - 1), override->location};
}

static void add_range(struct gs_geo_range *ranges, size_t *count, u128 first, u128 last,
		      uint16_t location)
{
	ranges[(*count)++] = (struct gs_geo_range){key_of(first), key_of(last), location};
}

/* By their begin, the wider first. */
static int by_begin(const void *left, const void *right)
{
	const struct span *a = left, *b = right;

	if (a->first != b->first)
		return a->first < b->first ? -1 : 1;
	return a->last > b->last ? -1 : a->last < b->last;
}

/* spans: sorted, each inside another or apart. Twice as many ranges at most. */
static size_t flatten(const struct span *spans, size_t count, struct gs_geo_range *ranges)
{
	const struct span *open[129]; /* as many lengths as there are */
	unsigned depth = 0;
	size_t made = 0;
	u128 at = 0; /* where the innermost open one goes on */

	for (size_t i = 0; i <= count; i++) {
		while (depth > 0 && (i == count || open[depth - 1]->last < spans[i].first)) {
			const struct span *ends = open[--depth];

			if (at <= ends->last)
				add_range(ranges, &made, at, ends->last, ends->location);
			at = ends->last + 1;
			if (at == 0)
				return made;
		}
		if (i == count)
			return made;
		if (depth > 0 && at < spans[i].first)
			add_range(ranges, &made, at, spans[i].first - 1, open[depth - 1]->location);
		if (depth < ARRAY_SIZE(open))
			open[depth++] = &spans[i];
		at = spans[i].first;
	}
	return made;
}

static int make_over(struct side *side, int family)
{
	const struct gs_tables *tables = side->tables;
	GS_AUTO_FREE struct span *spans = calloc(tables->override_count + 1u, sizeof(*spans));
	size_t count = 0;

	side->over[family] = calloc(2 * (size_t)tables->override_count + 1, sizeof(**side->over));
	if (!spans || !side->over[family])
		return -ENOMEM;
	for (uint32_t i = 0; i < tables->override_count; i++)
		if (tables->overrides[i].prefix.is_v4 == (family == GS_GEO_V4))
			spans[count++] = span_of(&tables->overrides[i]);
	if (count > 1)
		qsort(spans, count, sizeof(*spans), by_begin);
	side->over_count[family] = flatten(spans, count, side->over[family]);
	return 0;
}

/* ---- what a pair of locations means ---------------------------------------------------------- */

static uint16_t home_of(const struct gs_plan *plan)
{
	if (!plan || plan->count == 0)
		return 0;
	return plan->share[0] == UINT16_MAX ? plan->region[0] : SPLIT;
}

static int make_side(struct side *side, const struct gs_tables *tables)
{
	uint32_t plans = gs_plan_set_count(tables->plans);

	side->tables = tables;
	side->homes = calloc(plans + 1u, sizeof(*side->homes));
	if (!side->homes || make_over(side, GS_GEO_V4) || make_over(side, GS_GEO_V6))
		return -ENOMEM;
	for (uint32_t id = 1; id <= plans; id++)
		side->homes[id] = home_of(gs_plan_set_get(tables->plans, (gs_id)id));
	return 0;
}

static const uint16_t *row_of(const struct gs_tables *tables, gs_id service)
{
	return tables->routes + (size_t)tables->service_row[service] * tables->location_stride;
}

static int make_lanes(struct finding *f)
{
	const struct gs_snapshot *snapshot = f->before.tables->snapshot;

	f->lanes = calloc(snapshot->service_count + 1u, sizeof(*f->lanes));
	if (!f->lanes)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->service_count; i++) {
		const struct gs_service *service = &snapshot->services[i];
		const uint16_t *before = row_of(f->before.tables, service->id);
		const uint16_t *after = row_of(f->after.tables, service->id);
		uint32_t at = 0;

		while (at < f->lane_count &&
		       (f->lanes[at].before != before || f->lanes[at].after != after))
			at++;
		f->lanes[at].first = f->lanes[at].first ? f->lanes[at].first : service;
		f->lanes[at].before = before;
		f->lanes[at].after = after;
		f->lanes[at].services++;
		if (at == f->lane_count)
			f->lane_count++;
	}
	return 0;
}

static void add_move(struct finding *f, struct lane *lane, int family, gs_id from, gs_id to,
		     double addresses)
{
	if (from == to)
		return;
	lane->moved[family] += addresses;
	if (!lane->moves[family] && f->matrix_count < 2 * MATRICES) {
		lane->moves[family] = calloc(f->regions * f->regions, sizeof(double));
		f->matrix_count += lane->moves[family] != NULL;
	}
	if (lane->moves[family] && from < f->regions && to < f->regions)
		lane->moves[family][from * f->regions + to] += addresses;
}

/* The draw is the client's in both; so slots that go elsewhere are what moves. */
static void add_split(struct finding *f, struct lane *lane, int family,
		      const struct gs_plan *before, const struct gs_plan *after, double addresses)
{
	static const struct gs_plan nowhere = {.count = 1, .share = {UINT16_MAX}};
	const uint32_t slots = UINT16_MAX + 1u;
	uint32_t i = 0, j = 0, at = 0;

	before = before && before->count > 0 ? before : &nowhere;
	after = after && after->count > 0 ? after : &nowhere;
	while (at < slots && i < before->count && j < after->count) {
		uint32_t end_i = before->share[i] + 1u, end_j = after->share[j] + 1u;
		uint32_t end = end_i < end_j ? end_i : end_j;

		if (end > at) {
			add_move(f, lane, family, before->region[i], after->region[j],
				 addresses * (end - at) / slots);
			at = end;
		}
		i += end_i <= at;
		j += end_j <= at;
	}
}

static bool is_same_location(const struct finding *f, const struct pair *pair)
{
	const struct gs_location *a = &f->before.tables->locations[pair->before];
	const struct gs_location *b = &f->after.tables->locations[pair->after];

	if ((pair->before == 0) != (pair->after == 0))
		return false;
	return strcmp(a->country, b->country) == 0 && strcmp(a->continent, b->continent) == 0 &&
	       strcmp(a->subdivision, b->subdivision) == 0 && a->has_coord == b->has_coord &&
	       (!a->has_coord ||
		(a->coord.lat_deg == b->coord.lat_deg && a->coord.lon_deg == b->coord.lon_deg)) &&
	       a->override_region == b->override_region;
}

static void judge_pair(struct finding *f, int family, const struct pair *pair)
{
	double addresses = (double)pair->addresses;

	f->located[family] += addresses;
	if (!is_same_location(f, pair))
		f->relocated[family] += addresses;
	for (uint32_t i = 0; i < f->lane_count; i++) {
		struct lane *lane = &f->lanes[i];
		gs_id before = lane->before[pair->before], after = lane->after[pair->after];
		uint16_t from = f->before.homes[before], to = f->after.homes[after];

		if (from != SPLIT && to != SPLIT)
			add_move(f, lane, family, from, to, addresses);
		else
			add_split(f, lane, family,
				  before ? gs_plan_set_get(f->before.tables->plans, before) : NULL,
				  after ? gs_plan_set_get(f->after.tables->plans, after) : NULL,
				  addresses);
	}
}

static void judge_pairs(struct finding *f, int family)
{
	for (uint32_t i = 0; i < PAIRS; i++)
		if (f->pairs[i].addresses)
			judge_pair(f, family, &f->pairs[i]);
	memset(f->pairs, 0, PAIRS * sizeof(*f->pairs));
	f->pair_count = 0;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static void add_run(struct finding *f, int family, const struct gs_geodiff_run *run)
{
	uint64_t key = (uint64_t)run->before << 16 | run->after;
	uint32_t at = (uint32_t)((key * 0x9e3779b97f4a7c15ULL) >> 40) % PAIRS;
	u128 addresses = number_of(run->last) - number_of(run->first) + 1;

	if (key == 0 || run->before >= f->before.tables->location_count ||
	    run->after >= f->after.tables->location_count)
		return;
	while (f->pairs[at].addresses &&
	       (f->pairs[at].before != run->before || f->pairs[at].after != run->after))
		at = (at + 1) % PAIRS;
	f->pair_count += f->pairs[at].addresses == 0;
	f->pairs[at].before = run->before;
	f->pairs[at].after = run->after;
	f->pairs[at].addresses += addresses;
	if (f->pair_count == PAIRS_MOST)
		judge_pairs(f, family);
}

static struct gs_geo_layers layers_of(const struct side *side, int family)
{
	const struct gs_geodata *geo = side->tables->geo;
	const struct gs_geodata_family *data = family == GS_GEO_V4 ? &geo->v4 : &geo->v6;

	return (struct gs_geo_layers){.blocks = data->blocks,
				      .block_count = data->block_count,
				      .over = side->over[family],
				      .over_count = side->over_count[family]};
}

/* In millionths of both families' addresses, IPv4 first. */
static uint64_t millionths(int family, struct gs_geo_key last)
{
	double part = family == GS_GEO_V4 ? (double)last.low / UINT32_MAX
					  : (double)last.high / (double)UINT64_MAX;

	return (uint64_t)((part + family) * MILLION / 2);
}

static int walk(struct finding *f, int family)
{
	const struct gs_geo_layers before = layers_of(&f->before, family);
	const struct gs_geo_layers after = layers_of(&f->after, family);
	GS_AUTO_FREE struct gs_geodiff_run *runs = calloc(RUNS, sizeof(*runs));
	struct gs_geodiff diff;
	uint32_t count;

	if (!runs)
		return -ENOMEM;
	gs_geodiff_init(&diff, (enum gs_geo_family)family, &before, &after);
	while ((count = gs_geodiff_next(&diff, runs, RUNS)) > 0) {
		int err = gs_progress_at(f->of->progress, millionths(family, runs[count - 1].last));

		if (err)
			return err;
		for (uint32_t i = 0; i < count; i++)
			add_run(f, family, &runs[i]);
	}
	judge_pairs(f, family);
	return 0;
}

/* ---- what comes of it ------------------------------------------------------------------------ */

static const char *region_name(const struct finding *f, gs_id region)
{
	const struct gs_region *found = gs_snapshot_region(f->before.tables->snapshot, region);

	return found ? found->name : "";
}

static double weight(const struct gs_geo_change_move *move)
{
	return move->share4 > move->share6 ? move->share4 : move->share6;
}

/* Into its place among the largest. */
static void keep_move(struct gs_geo_change *change, const struct gs_geo_change_move *move)
{
	uint32_t at = change->move_count;

	if (at == GS_GEO_CHANGE_MOVES && weight(&change->moves[at - 1]) >= weight(move))
		return;
	if (at < GS_GEO_CHANGE_MOVES)
		change->move_count++;
	else
		at--;
	for (; at > 0 && weight(&change->moves[at - 1]) < weight(move); at--)
		change->moves[at] = change->moves[at - 1];
	change->moves[at] = *move;
}

static double share_of(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

static void tell_lane(struct finding *f, const struct lane *lane)
{
	for (size_t at = 0; at < f->regions * f->regions; at++) {
		double v4 = lane->moves[GS_GEO_V4] ? lane->moves[GS_GEO_V4][at] : 0;
		double v6 = lane->moves[GS_GEO_V6] ? lane->moves[GS_GEO_V6][at] : 0;
		struct gs_geo_change_move move = {
			.services = lane->services,
			.share4 = share_of(v4, f->located[GS_GEO_V4]),
			.share6 = share_of(v6, f->located[GS_GEO_V6]),
		};

		if (v4 <= 0 && v6 <= 0)
			continue;
		memcpy(move.service, lane->first->name, GS_NAME_MAX);
		snprintf(move.from, sizeof(move.from), "%s",
			 region_name(f, (gs_id)(at / f->regions)));
		snprintf(move.to, sizeof(move.to), "%s", region_name(f, (gs_id)(at % f->regions)));
		keep_move(f->change, &move);
	}
}

static void tell_family(struct finding *f, int family, struct gs_geo_change_family *ret)
{
	ret->located = f->located[family];
	ret->relocated = share_of(f->relocated[family], f->located[family]);
	for (uint32_t i = 0; i < f->lane_count; i++) {
		double moved = share_of(f->lanes[i].moved[family], f->located[family]);

		if (moved <= ret->moved)
			continue;
		ret->moved = moved;
		memcpy(ret->service, f->lanes[i].first->name, GS_NAME_MAX);
	}
}

static void look_at_clients(struct finding *f)
{
	const struct gs_geo_change_of *of = f->of;

	gs_shift_judge(of->before, of->after, of->clients, of->client_count, &f->change->shift);
	for (uint32_t i = 0; i < of->client_count; i++) {
		const struct gs_addr *client = &of->clients[i].of.client.addr;
		const struct pair pair = {
			.before = gs_tables_locate(of->before, client, NULL, NULL),
			.after = gs_tables_locate(of->after, client, NULL, NULL),
		};

		/* as gs_shift_judge: those of services that are gone are in no total */
		if (gs_snapshot_service(of->before->snapshot, of->clients[i].of.service) &&
		    !is_same_location(f, &pair))
			f->change->relocated_flows += of->clients[i].flows;
	}
}

int gs_geo_change_find(const struct gs_geo_change_of *of, struct gs_geo_change *change)
{
	GS_CLEANUP(finding_done) struct finding f = {.of = of, .change = change};
	int err = 0;

	gs_progress_begin(of->progress, GS_PHASE_COMPARING, MILLION);
	change->is_same = of->before->geo->digest == of->after->geo->digest;
	if (change->is_same)
		return 0;
	f.regions = of->before->region_stride > of->after->region_stride ? of->before->region_stride
									 : of->after->region_stride;
	f.pairs = calloc(PAIRS, sizeof(*f.pairs));
	if (!f.pairs || make_side(&f.before, of->before) || make_side(&f.after, of->after) ||
	    make_lanes(&f))
		return -ENOMEM;
	for (int family = GS_GEO_V4; !err && family <= GS_GEO_V6; family++)
		err = walk(&f, family);
	if (err)
		return err;
	tell_family(&f, GS_GEO_V4, &change->v4);
	tell_family(&f, GS_GEO_V6, &change->v6);
	for (uint32_t i = 0; i < f.lane_count; i++)
		if (f.lanes[i].moves[0] || f.lanes[i].moves[1])
			tell_lane(&f, &f.lanes[i]);
	look_at_clients(&f);
	return 0;
}

double gs_geo_change_traffic(const struct gs_geo_change *change)
{
	return share_of(change->shift.moved, change->shift.flows);
}

bool gs_geo_change_exceeds(const struct gs_geo_change *change, char *out, size_t room)
{
	double limit = change->limit_percent / 100.0;
	/* Flows that are sampled stand for many; what counts is how many were seen. */
	bool is_known = change->shift.flows >= GS_GEO_CHANGE_FLOWS_LEAST;

	out[0] = '\0';
	if (change->limit_percent >= GS_GEO_LIMIT_OFF)
		return false;
	if (change->v4.moved > limit)
		snprintf(out, room, "%.1f %% of IPv4 addresses (service %s)",
			 100 * change->v4.moved, change->v4.service);
	else if (change->v6.moved > limit)
		snprintf(out, room, "%.1f %% of IPv6 addresses (service %s)",
			 100 * change->v6.moved, change->v6.service);
	else if (is_known && gs_geo_change_traffic(change) > limit)
		snprintf(out, room, "%.1f %% of the last hour's sampled flows",
			 100 * gs_geo_change_traffic(change));
	return out[0] != '\0';
}

const char *gs_geo_outcome_name(enum gs_geo_outcome outcome)
{
	static const char *const names[] = {"shown", "refused", "in force"};

	_Static_assert(ARRAY_SIZE(names) == GS_GEO_OUTCOME__COUNT, "a name for each outcome");
	return names[outcome];
}
