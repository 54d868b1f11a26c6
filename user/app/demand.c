/* SPDX-License-Identifier: Apache-2.0 */
#include "demand.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOOK_MS = 2000, /* at each counter */
	SLICE = 8192,	/* counters a turn: some milliseconds, if all have changed */
	SLICE_MS = 1,	/* from one slice to the next */
	POLICIES = GS_ID_MAX_POLICY + 1,
	REGIONS = GS_ID_MAX_REGION + 1,
	SLICES = (GS_DEMAND_ENTRIES + SLICE - 1) / SLICE,
};

/* Of one policy, by what does not change with a generation. */
struct sums {
	char name[GS_NAME_MAX]; /* the policy's; "": none yet */
	uint64_t regions[REGIONS];
	uint64_t countries[GS_DEMAND_COUNTRIES];
};

struct gs_demand {
	struct gs_demand_ports ports;
	struct gs_timer timer;
	uint64_t round_ms; /* when the look at all counters began */
	uint64_t told_ms;  /* when the last one ended */

	/* Of the tables in force; cells NULL: of none yet. */
	struct gs_demand_cell *cells; /* by entry */
	uint32_t cell_count;	      /* GS_DEMAND_ENTRIES at most */
	uint32_t uncounted;
	uint32_t slot;
	uint64_t digest;
	uint32_t at;		    /* the next entry to look at */
	bool is_ending;		    /* that look is the last one at this generation */
	uint64_t looked_ms[SLICES]; /* at each slice */
	uint32_t counters[SLICE];

	char region_names[REGIONS][GS_NAME_MAX];
	struct sums *policies[POLICIES]; /* NULL: nothing was counted */
};

static const struct gs_reconcile_state *look(const struct gs_demand *d)
{
	return d->ports.look(d->ports.look_context);
}

/* ---- what an entry is of --------------------------------------------------------------------- */

static const struct gs_location *location_of(const struct gs_tables *tables, uint32_t entry)
{
	uint32_t location = entry % tables->location_stride;

	return &tables->locations[location < tables->location_count ? location : 0];
}

static gs_id policy_of(const struct gs_tables *tables, uint32_t entry)
{
	return tables->row_policy[entry / tables->location_stride];
}

/* Most of these clients' home; 0: there is no plan. */
static gs_id region_of(const struct gs_tables *tables, uint32_t entry)
{
	const struct gs_plan *plan = tables->routes[entry]
					     ? gs_plan_set_get(tables->plans, tables->routes[entry])
					     : NULL;

	return plan ? gs_plan_largest(plan) : 0;
}

static uint32_t country_of(const struct gs_location *location)
{
	unsigned first = (unsigned char)location->country[0] - (unsigned)'A';
	unsigned second = first < 26 ? (unsigned char)location->country[1] - (unsigned)'A' : 26;

	return first < 26 && second < 26 ? 1 + first * 26 + second : 0;
}

const char *gs_demand_country_name(uint32_t key, char ret_name[3])
{
	memset(ret_name, 0, 3);
	if (key > 0 && key < GS_DEMAND_COUNTRIES) {
		ret_name[0] = (char)('A' + (key - 1) / 26);
		ret_name[1] = (char)('A' + (key - 1) % 26);
	}
	return ret_name;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* An id may be given to another policy or region, once its own is gone: then its sums go. */
static void follow_names(struct gs_demand *d, const struct gs_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];
		char *name = d->region_names[region->id];

		if (name[0] && strcmp(name, region->name) != 0)
			for (uint32_t policy = 0; policy < POLICIES; policy++)
				if (d->policies[policy])
					d->policies[policy]->regions[region->id] = 0;
		memcpy(name, region->name, GS_NAME_MAX);
	}
	for (uint32_t i = 0; i < snapshot->policy_count; i++) {
		const struct gs_policy *policy = &snapshot->policies[i];
		struct sums **sums = &d->policies[policy->id];

		if (*sums && strcmp((*sums)->name, policy->name) != 0)
			free(gs_take_ptr(*sums));
		if (!*sums)
			*sums = calloc(1, sizeof(**sums));
		if (*sums)
			memcpy((*sums)->name, policy->name, GS_NAME_MAX);
	}
}

static void add_to_sums(struct gs_demand *d, const struct gs_tables *tables, uint32_t entry,
			uint32_t flows)
{
	struct sums *sums = d->policies[policy_of(tables, entry) % POLICIES];

	if (!sums)
		return;
	sums->regions[region_of(tables, entry) % REGIONS] += flows;
	sums->countries[country_of(location_of(tables, entry))] += flows;
}

uint64_t gs_demand_sum_region(const struct gs_demand *d, gs_id policy, gs_id region)
{
	const struct sums *sums = policy < POLICIES ? d->policies[policy] : NULL;

	return sums && region < REGIONS ? sums->regions[region] : 0;
}

uint64_t gs_demand_sum_country(const struct gs_demand *d, uint32_t country)
{
	uint64_t sum = 0;

	for (uint32_t policy = 0; policy < POLICIES && country < GS_DEMAND_COUNTRIES; policy++)
		if (d->policies[policy])
			sum += d->policies[policy]->countries[country];
	return sum;
}

/* ---- counters -------------------------------------------------------------------------------- */

/* From d->at on, one slice; tables: the generation's whose cells they are. */
static void look_at_slice(struct gs_demand *d, const struct gs_tables *tables)
{
	const struct gs_dataplane *dataplane = d->ports.dataplane;
	uint64_t now_ms = gs_loop_now_ms(d->ports.loop), *looked_ms = &d->looked_ms[d->at / SLICE];
	uint32_t first = d->at, count = d->cell_count - first;
	struct gs_demand_look at_it;

	if (count > SLICE)
		count = SLICE;
	d->at = first + count < d->cell_count ? first + count : 0;
	if (dataplane->ops->demand(dataplane->self, d->slot, first, count, d->counters))
		return;
	/* A generation's last look may come in the millisecond of the one before. */
	gs_demand_look_init(&at_it, now_ms, now_ms > *looked_ms ? now_ms - *looked_ms : 1);
	*looked_ms = now_ms;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t flows = gs_demand_count(&at_it, &d->cells[first + i], d->counters[i]);

		if (flows)
			add_to_sums(d, tables, first + i, flows);
		if (flows && d->ports.on_flows)
			d->ports.on_flows(d->ports.flows_context, tables, first + i, flows);
	}
	if (d->at == 0 && d->ports.on_round)
		d->ports.on_round(d->ports.flows_context, now_ms - d->told_ms);
	if (d->at == 0)
		d->told_ms = now_ms;
}

/* One slice of it; false: there are more. */
static bool look_a_last_time(struct gs_demand *d, const struct gs_tables *tables)
{
	if (!d->is_ending)
		d->at = 0;
	d->is_ending = true;
	look_at_slice(d, tables);
	if (d->at > 0)
		return false;
	d->is_ending = false;
	return true;
}

/* What is in the counters now was there before. */
static void learn_counters(struct gs_demand *d)
{
	const struct gs_dataplane *dataplane = d->ports.dataplane;

	for (uint32_t first = 0; first < d->cell_count; first += SLICE) {
		uint32_t count = d->cell_count - first < SLICE ? d->cell_count - first : SLICE;

		if (dataplane->ops->demand(dataplane->self, d->slot, first, count, d->counters))
			continue;
		for (uint32_t i = 0; i < count; i++)
			d->cells[first + i].counter = d->counters[i];
	}
}

/* ---- generations ----------------------------------------------------------------------------- */

static void forget(struct gs_demand *d)
{
	free(gs_take_ptr(d->cells));
	d->cell_count = 0;
	d->uncounted = 0;
	d->at = 0;
	d->is_ending = false;
}

/* All cells zero, and so what their counters are held to be. */
static int adopt(struct gs_demand *d, const struct gs_tables *tables, uint32_t slot)
{
	uint64_t entries = (uint64_t)tables->row_count * tables->location_stride;

	forget(d);
	d->cell_count = entries < GS_DEMAND_ENTRIES ? (uint32_t)entries : GS_DEMAND_ENTRIES;
	d->cells = calloc(d->cell_count + 1u, sizeof(*d->cells));
	if (!d->cells) {
		d->cell_count = 0;
		return -ENOMEM;
	}
	d->uncounted = (uint32_t)(entries - d->cell_count);
	d->slot = slot;
	d->digest = tables->digest;
	for (uint32_t slice = 0; slice < SLICES; slice++)
		d->looked_ms[slice] = gs_loop_now_ms(d->ports.loop);
	follow_names(d, tables->snapshot);
	if (d->uncounted)
		gs_log(GS_LOG_WARNING, "demand_uncounted", "pairs=%u counted=%u", d->uncounted,
		       d->cell_count);
	return 0;
}

/* The next tables' row of the policy of that name: the one most like it; -1: there is none. */
static int64_t row_after(const struct gs_tables *before, uint32_t row,
			 const struct gs_tables *after)
{
	const struct gs_policy *was = gs_snapshot_policy(before->snapshot, before->row_policy[row]);
	const struct gs_policy *is =
		was ? gs_snapshot_policy_named(after->snapshot, was->name) : NULL;
	int64_t found = -1;
	int best = -1;

	for (uint32_t r = 0; is && r < after->row_count; r++) {
		int like = 2 * (memcmp(&before->row_served[row], &after->row_served[r],
				       sizeof(after->row_served[r])) == 0) +
			   (before->row_priority[row] == after->row_priority[r]);

		if (after->row_policy[r] != is->id || like <= best)
			continue;
		best = like;
		found = r;
	}
	return found;
}

/* Two rows of a policy may become one. */
static void add_cell(struct gs_demand_look *at_it, struct gs_demand_cell *to,
		     const struct gs_demand_cell *from)
{
	for (int span = 0; span < GS_DEMAND__SPANS; span++)
		to->per_second[span] =
			(float)(gs_demand_rate(at_it, to, (enum gs_demand_span)span) +
				gs_demand_rate(at_it, from, (enum gs_demand_span)span));
	to->at = at_it->at;
	to->flows += from->flows;
}

struct handing {
	const struct gs_tables *before, *after;
	const struct gs_demand_cell *cells; /* of before */
	uint32_t cell_count;
	const uint16_t *locations; /* of before -> of after; 0: gone, but for 0 */
};

static void hand_over_row(struct gs_demand *d, const struct handing *h, uint32_t row)
{
	uint32_t stride = h->before->location_stride, first = row * stride;
	int64_t to = row_after(h->before, row, h->after);
	struct gs_demand_look at_it;

	gs_demand_look_init(&at_it, gs_loop_now_ms(d->ports.loop), LOOK_MS);
	for (uint32_t i = 0; to >= 0 && i < h->before->location_count; i++) {
		uint64_t entry = (uint64_t)to * h->after->location_stride + h->locations[i];

		if (first + i >= h->cell_count)
			break;
		if (h->cells[first + i].flows && (i == 0 || h->locations[i]) &&
		    entry < d->cell_count)
			add_cell(&at_it, &d->cells[entry], &h->cells[first + i]);
	}
}

/* Without memory for it rates begin anew. */
static void hand_over(struct gs_demand *d, struct handing *h)
{
	GS_AUTO_FREE uint16_t *slots =
		calloc(gs_demand_match_slots(h->after->location_count), sizeof(*slots));
	GS_AUTO_FREE uint16_t *locations =
		calloc(h->before->location_count + 1u, sizeof(*locations));

	if (!slots || !locations)
		return;
	gs_demand_match(h->before->locations, h->before->location_count, h->after->locations,
			h->after->location_count, slots, locations);
	h->locations = locations;
	for (uint32_t row = 0; row < h->before->row_count; row++)
		hand_over_row(d, h, row);
}

bool gs_demand_replace(struct gs_demand *d, const struct gs_generation_change *change)
{
	bool is_known = d->cells && change->before && change->before->digest == d->digest &&
			change->slot_before == d->slot;
	GS_AUTO_FREE struct gs_demand_cell *cells = NULL;
	struct handing handing = {.before = change->before, .after = change->after};

	if (!d->ports.dataplane->ops->demand)
		return true;
	if (is_known) {
		if (!look_a_last_time(d, change->before))
			return false;
		handing.cell_count = d->cell_count;
		cells = gs_take_ptr(d->cells);
		handing.cells = cells;
	}
	if (adopt(d, change->after, change->slot_after) == 0 && is_known)
		hand_over(d, &handing);
	return true;
}

void gs_demand_reopen(struct gs_demand *d)
{
	if (d)
		forget(d);
}

/* The tables in force, if the cells are of them; NULL: there are none. */
static const struct gs_tables *follow(struct gs_demand *d)
{
	const struct gs_reconcile_state *state = look(d);

	if (!state->tables || !d->ports.dataplane->ops->demand)
		return NULL;
	if (d->cells && d->digest == state->tables->digest && d->slot == state->info.slot)
		return state->tables;
	/* In force before this daemon came to them, or in other maps. */
	if (adopt(d, state->tables, state->info.slot))
		return NULL;
	learn_counters(d);
	return state->tables;
}

static void on_look(struct gs_timer *timer)
{
	struct gs_demand *d = timer->context;
	const struct gs_tables *tables = follow(d);
	uint64_t now_ms = gs_loop_now_ms(d->ports.loop);

	if (d->at == 0)
		d->round_ms = now_ms;
	if (tables && d->cell_count > 0 && !d->is_ending)
		look_at_slice(d, tables);
	if (d->at > 0)
		gs_loop_timer_set(d->ports.loop, timer, SLICE_MS);
	else
		gs_loop_timer_set(d->ports.loop, timer,
				  now_ms - d->round_ms < LOOK_MS
					  ? (uint32_t)(LOOK_MS - (now_ms - d->round_ms))
					  : SLICE_MS);
}

/* ---- what is shown --------------------------------------------------------------------------- */

const char *gs_demand_by_name(enum gs_demand_by by)
{
	static const char *const names[] = {
		[GS_DEMAND_BY_POLICY] = "policy",
		[GS_DEMAND_BY_LOCATION] = "location",
		[GS_DEMAND_BY_REGION] = "region",
		[GS_DEMAND_BY_COUNTRY] = "country",
	};
	_Static_assert(ARRAY_SIZE(names) == GS_DEMAND_BY__COUNT, "a name each");

	return names[by];
}

uint32_t gs_demand_uncounted(const struct gs_demand *d)
{
	return d->uncounted;
}

/* Into rows by region, country or, all of it, 0. */
static uint32_t key_of(const struct gs_tables *tables, enum gs_demand_by by, uint32_t entry)
{
	if (by == GS_DEMAND_BY_REGION)
		return region_of(tables, entry);
	return by == GS_DEMAND_BY_COUNTRY ? country_of(location_of(tables, entry)) : 0;
}

static void add_rates(struct gs_demand_look *at_it, const struct gs_demand_cell *cell,
		      struct gs_demand_row *to)
{
	for (int span = 0; span < GS_DEMAND__SPANS; span++)
		to->per_second[span] += gs_demand_rate(at_it, cell, (enum gs_demand_span)span);
}

/* A cell each: rows of one policy may have other regions for the same location. */
static void offer_locations(struct gs_demand_look *at_it, const struct gs_demand *d,
			    const struct gs_tables *tables, uint32_t row, struct gs_demand_top *top)
{
	uint32_t first = row * tables->location_stride;

	for (uint32_t i = 0; i < tables->location_count && first + i < d->cell_count; i++) {
		const struct gs_demand_cell *cell = &d->cells[first + i];
		struct gs_demand_row line = {.key = i, .flows = cell->flows};

		if (!cell->flows)
			continue;
		line.policy = tables->row_policy[row];
		line.region = region_of(tables, first + i);
		add_rates(at_it, cell, &line);
		gs_demand_top_offer(top, &line);
	}
}

static void add_row(struct gs_demand_look *at_it, const struct gs_demand *d,
		    const struct gs_tables *tables, uint32_t row, enum gs_demand_by by,
		    struct gs_demand_row *lines)
{
	uint32_t first = row * tables->location_stride;

	for (uint32_t i = 0; i < tables->location_count && first + i < d->cell_count; i++)
		if (d->cells[first + i].flows)
			add_rates(at_it, &d->cells[first + i],
				  &lines[key_of(tables, by, first + i)]);
}

static void add_sums(const struct sums *sums, enum gs_demand_by by, struct gs_demand_row *lines)
{
	if (by == GS_DEMAND_BY_COUNTRY)
		for (uint32_t i = 0; i < GS_DEMAND_COUNTRIES; i++)
			lines[i].flows = sums->countries[i];
	else
		for (uint32_t i = 0; i < REGIONS; i++)
			lines[by == GS_DEMAND_BY_REGION ? i : 0].flows += sums->regions[i];
}

enum { LINES = GS_DEMAND_COUNTRIES };
_Static_assert((int)LINES > (int)REGIONS, "room for regions, too");

static void offer_sums(struct gs_demand_look *at_it, const struct gs_demand *d,
		       const struct gs_tables *tables, const struct gs_demand_query *query,
		       struct gs_demand_top *top)
{
	struct gs_demand_row lines[LINES] = {0};

	for (uint32_t row = 0; row < tables->row_count; row++)
		if (tables->row_policy[row] == query->policy)
			add_row(at_it, d, tables, row, query->by, lines);
	if (d->policies[query->policy])
		add_sums(d->policies[query->policy], query->by, lines);
	for (uint32_t key = 0; key < LINES; key++) {
		if (!lines[key].flows)
			continue;
		lines[key].policy = query->policy;
		lines[key].key = key;
		gs_demand_top_offer(top, &lines[key]);
	}
}

static void read_policy(struct gs_demand *d, const struct gs_tables *tables,
			const struct gs_demand_query *query, struct gs_demand_top *top)
{
	struct gs_demand_look at_it;

	gs_demand_look_init(&at_it, gs_loop_now_ms(d->ports.loop), LOOK_MS);
	if (query->by != GS_DEMAND_BY_LOCATION) {
		offer_sums(&at_it, d, tables, query, top);
		return;
	}
	for (uint32_t row = 0; row < tables->row_count; row++)
		if (tables->row_policy[row] == query->policy)
			offer_locations(&at_it, d, tables, row, top);
}

void gs_demand_read(struct gs_demand *d, const struct gs_demand_query *query,
		    struct gs_demand_top *top)
{
	const struct gs_tables *tables = follow(d);

	for (uint32_t i = 0; tables && i < tables->snapshot->policy_count; i++) {
		const struct gs_demand_query one = {tables->snapshot->policies[i].id, query->by};

		if (!query->policy || query->policy == one.policy)
			read_policy(d, tables, &one, top);
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

int gs_demand_new(const struct gs_demand_ports *ports, struct gs_demand **ret_demand)
{
	struct gs_demand *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->ports = *ports;
	d->timer = (struct gs_timer){.on_due = on_look, .context = d};
	d->told_ms = gs_loop_now_ms(ports->loop);
	err = gs_loop_timer_set(ports->loop, &d->timer, LOOK_MS);
	if (err) {
		free(d);
		return err;
	}
	*ret_demand = d;
	return 0;
}

void gs_demand_free(struct gs_demand *d)
{
	if (!d)
		return;
	gs_loop_timer_clear(d->ports.loop, &d->timer);
	for (uint32_t policy = 0; policy < POLICIES; policy++)
		free(d->policies[policy]);
	forget(d);
	free(d);
}
