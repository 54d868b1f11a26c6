// SPDX-License-Identifier: Apache-2.0
#include "capacity.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TICK_MS = 1000,
	MOST_MS = 10000,     /* that a step is taken for */
	TELL_MS = 2000,	     /* at most so often */
	TELL_ALL_MS = 10000, /* though nothing has changed */
	ORIGINS = 512,
	ORIGIN_BUCKETS = 2048,
	HEARD_MAX = GS_DEMAND_TOLD_MAX,
	REGIONS = GS_CAPACITY_REGIONS,
};

#define SMOOTH_MS 10000.0
#define CHANGED 0.05   /* of a rate: worth telling */
#define GONE 0.001     /* flows a second */
#define TELL_LEAST 0.1 /* flows a second that make a change */

/* Clients with one home and one plan, whatever is usable of it now. */
struct origin {
	struct gs_capacity_group of; /* home, regions ascending; rates */
	double flows[GS_PRIORITIES]; /* since the last round */
	double seen_ms; /* how long it has been counted: a young rate is not yet smooth */
};

/* What others have told, in ids. */
struct heard {
	gs_id home;
	uint8_t count, priority;
	uint8_t usable[GS_PLAN_REGIONS];
	float per_second;
};

/* A tick takes three turns of the loop: others come between. */
enum stage { TO_GATHER, TO_SOLVE, TO_STEP };

struct gs_capacity {
	struct gs_capacity_ports ports;
	struct gs_timer timer;
	uint64_t ticked_ms;
	uint32_t elapsed_ms; /* from the tick before to that one */
	enum stage stage;    /* what the next turn does */

	struct origin origin[ORIGINS];
	uint32_t origin_count;
	uint16_t bucket[ORIGIN_BUCKETS]; /* 1 + index */

	struct heard heard[HEARD_MAX];
	uint32_t heard_count, edges;
	uint64_t heard_ms; /* 0: never */

	struct gs_capacity_input input;
	struct gs_capacity_words right, words;
	struct gs_capacity_load load; /* of words */
	double here[REGIONS];
	struct gs_fill fill[REGIONS]; /* in the data plane */
	bool is_up[REGIONS];
	bool is_on; /* a region states its capacity */

	struct gs_demand_told *told; /* as the store was told last */
	uint32_t told_count;
	uint64_t told_ms;
};

static const struct gs_reconcile_state *look(const struct gs_capacity *c)
{
	return c->ports.look(c->ports.look_context);
}

/* ---- what is counted ------------------------------------------------------------------------- */

static uint32_t bucket_of(const struct gs_capacity_group *key)
{
	uint32_t hash = key->home * 0x9e3779b1u + key->count;

	for (uint8_t i = 0; i < key->count; i++)
		hash = (hash ^ key->usable[i]) * 0x01000193u;
	return (hash ^ hash >> 15) % ORIGIN_BUCKETS;
}

static bool is_key(const struct gs_capacity_group *group, const struct gs_capacity_group *key)
{
	return group->home == key->home && group->count == key->count &&
	       memcmp(group->usable, key->usable, key->count) == 0;
}

/* Where there is no place for another: the first with this home, or simply the first. */
static struct origin *any_origin(struct gs_capacity *c, uint8_t home)
{
	for (uint32_t i = 0; i < c->origin_count; i++)
		if (c->origin[i].of.home == home)
			return &c->origin[i];
	return &c->origin[0];
}

static struct origin *origin_of(struct gs_capacity *c, const struct gs_capacity_group *key)
{
	uint32_t at = bucket_of(key);

	for (; c->bucket[at]; at = (at + 1) % ORIGIN_BUCKETS)
		if (is_key(&c->origin[c->bucket[at] - 1].of, key))
			return &c->origin[c->bucket[at] - 1];
	if (c->origin_count == ORIGINS)
		return any_origin(c, key->home);
	c->origin[c->origin_count] = (struct origin){.of = *key};
	c->bucket[at] = (uint16_t)++c->origin_count;
	return &c->origin[c->origin_count - 1];
}

static struct gs_capacity_group key_of(const struct gs_plan *plan, gs_id home)
{
	struct gs_capacity_group key = {.home = (uint8_t)home};

	for (uint8_t i = 0; i < plan->count; i++) {
		uint8_t at = key.count++;

		for (; at > 0 && key.usable[at - 1] > plan->region[i]; at--)
			key.usable[at] = key.usable[at - 1];
		key.usable[at] = (uint8_t)plan->region[i];
	}
	return key;
}

void gs_capacity_count(struct gs_capacity *c, const struct gs_tables *tables, uint32_t entry,
		       uint32_t flows)
{
	uint8_t priority = tables->row_priority[entry / tables->location_stride] % GS_PRIORITIES;
	const struct gs_plan *plan = tables->routes[entry]
					     ? gs_plan_set_get(tables->plans, tables->routes[entry])
					     : NULL;
	uint32_t before = 0;

	if (!plan || !(tables->asks & GS_ASK_FILL))
		return;
	for (uint8_t i = 0; i < plan->count && before <= UINT16_MAX; i++) {
		double share = (plan->share[i] + 1u - before) / 65536.0;
		struct gs_capacity_group key;
		double shed;

		before = plan->share[i] + 1u;
		if (share <= 0)
			continue;
		key = key_of(plan, plan->region[i]);
		/* Those who are shed are not counted: the others tell how many they are. */
		shed = gs_capacity_shed_share(c->fill[key.home].shed / (double)GS_SHED_STEP,
					      priority);
		origin_of(c, &key)->flows[priority] += flows * share / (1 - shed);
	}
}

static bool is_gone(const struct origin *origin)
{
	for (uint32_t p = 0; p < GS_PRIORITIES; p++)
		if ((double)origin->of.per_second[p] > GONE)
			return false;
	return true;
}

/* An origin that is young has the mean of what was counted. */
static void smooth(struct origin *origin, double elapsed_ms)
{
	double weight;

	origin->seen_ms += elapsed_ms;
	weight = 1 - exp(-elapsed_ms / SMOOTH_MS);
	weight = fmax(weight, elapsed_ms / origin->seen_ms);
	for (uint32_t p = 0; p < GS_PRIORITIES; p++) {
		double rate = origin->flows[p] / (elapsed_ms / 1000);

		origin->of.per_second[p] +=
			(float)(weight * (rate - (double)origin->of.per_second[p]));
		origin->flows[p] = 0;
	}
}

void gs_capacity_counted(struct gs_capacity *c, uint64_t elapsed_ms)
{
	uint32_t kept = 0;

	if (elapsed_ms == 0)
		return;
	memset(c->bucket, 0, sizeof(c->bucket));
	for (uint32_t i = 0; i < c->origin_count; i++) {
		uint32_t at;

		smooth(&c->origin[i], (double)elapsed_ms);
		if (is_gone(&c->origin[i]))
			continue;
		c->origin[kept] = c->origin[i];
		for (at = bucket_of(&c->origin[kept].of); c->bucket[at];)
			at = (at + 1) % ORIGIN_BUCKETS;
		c->bucket[at] = (uint16_t)++kept;
	}
	c->origin_count = kept;
}

/* ---- what others tell ------------------------------------------------------------------------ */

static uint8_t ids_of(const struct gs_snapshot *snapshot, const char *names,
		      uint8_t ret_ids[GS_PLAN_REGIONS])
{
	uint8_t count = 0;

	while (*names && count < GS_PLAN_REGIONS) {
		size_t length = strcspn(names, ",");
		const struct gs_region *region;
		char name[GS_NAME_MAX];

		snprintf(name, sizeof(name), "%.*s", (int)length, names);
		region = gs_snapshot_region_named(snapshot, name);
		if (region)
			ret_ids[count++] = (uint8_t)region->id;
		names += length + (names[length] == ',');
	}
	return count;
}

void gs_capacity_hear(struct gs_capacity *c, const struct gs_demand_told *rows, uint32_t count,
		      uint32_t edges)
{
	const struct gs_snapshot *snapshot = look(c)->snapshot;

	if (!snapshot)
		return;
	c->heard_count = 0;
	for (uint32_t i = 0; i < count && c->heard_count < HEARD_MAX; i++) {
		const struct gs_region *home = gs_snapshot_region_named(snapshot, rows[i].home);
		struct heard *heard = &c->heard[c->heard_count];

		if (!home || rows[i].priority >= GS_PRIORITIES)
			continue;
		*heard = (struct heard){.home = home->id,
					.priority = rows[i].priority,
					.per_second = rows[i].per_second};
		heard->count = ids_of(snapshot, rows[i].usable, heard->usable);
		c->heard_count++;
	}
	c->edges = edges;
	c->heard_ms = gs_loop_now_ms(c->ports.loop);
}

/* ---- what is told ---------------------------------------------------------------------------- */

/* Names in their order, so that all edges call a choice the same. */
static void names_of(const struct gs_snapshot *snapshot, const struct gs_capacity_group *group,
		     char *out, size_t room)
{
	const char *names[GS_PLAN_REGIONS];
	uint8_t count = 0;
	size_t length = 0;

	for (uint8_t i = 0; i < group->count; i++) {
		const struct gs_region *region = gs_snapshot_region(snapshot, group->usable[i]);
		uint8_t at = count;

		if (!region)
			continue;
		for (; at > 0 && strcmp(names[at - 1], region->name) > 0; at--)
			names[at] = names[at - 1];
		names[at] = region->name;
		count++;
	}
	out[0] = '\0';
	for (uint8_t i = 0; i < count && length < room; i++)
		length += (size_t)snprintf(out + length, room - length, "%s%s", i ? "," : "",
					   names[i]);
}

/* Of one priority of a group. */
static bool make_row(const struct gs_snapshot *snapshot, const struct gs_capacity_group *group,
		     uint8_t priority, struct gs_demand_told *row)
{
	const struct gs_region *home = gs_snapshot_region(snapshot, group->home);

	if (!home || (double)group->per_second[priority] <= GONE)
		return false;
	memset(row, 0, sizeof(*row));
	memcpy(row->home, home->name, sizeof(row->home));
	names_of(snapshot, group, row->usable, sizeof(row->usable));
	row->priority = priority;
	row->per_second = group->per_second[priority];
	return true;
}

static bool is_same_row(const struct gs_demand_told *a, const struct gs_demand_told *b)
{
	return a->priority == b->priority && strcmp(a->home, b->home) == 0 &&
	       strcmp(a->usable, b->usable) == 0;
}

/* Groups stand in the same order each time: so do rows. */
static bool has_changed(const struct gs_capacity *c, const struct gs_demand_told *rows,
			uint32_t count)
{
	if (count != c->told_count)
		return true;
	for (uint32_t i = 0; i < count; i++) {
		double was = (double)c->told[i].per_second, is = (double)rows[i].per_second;

		if (!is_same_row(&rows[i], &c->told[i]) ||
		    (fabs(is - was) > was * CHANGED && fabs(is - was) > TELL_LEAST))
			return true;
	}
	return false;
}

/* own: this edge's groups alone, sorted. */
static void tell(struct gs_capacity *c, const struct gs_snapshot *snapshot,
		 const struct gs_capacity_input *own)
{
	uint64_t since_ms = gs_loop_now_ms(c->ports.loop) - c->told_ms;
	GS_AUTO_FREE struct gs_demand_told *rows = NULL;
	uint32_t count = 0;

	if (!c->ports.store->ops->report_demand || (c->told_ms && since_ms < TELL_MS))
		return;
	rows = calloc(HEARD_MAX, sizeof(*rows));
	if (!rows)
		return;
	for (uint16_t g = 0; g < own->group_count; g++)
		for (uint8_t p = 0; p < GS_PRIORITIES && count < HEARD_MAX; p++)
			count += make_row(snapshot, &own->group[g], p, &rows[count]);
	if (c->told_ms && since_ms < TELL_ALL_MS && !has_changed(c, rows, count))
		return;
	c->ports.store->ops->report_demand(c->ports.store->self, rows, count);
	free(c->told);
	c->told = gs_take_ptr(rows);
	c->told_count = count;
	c->told_ms = gs_loop_now_ms(c->ports.loop);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void take_limits(struct gs_capacity *c, const struct gs_snapshot *snapshot)
{
	memset(c->input.limit, 0, sizeof(c->input.limit));
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const struct gs_region *region = &snapshot->regions[i];

		c->input.limit[region->id] = (struct gs_capacity_limit){
			.capacity = region->capacity, .target = region->target};
	}
}

static void take_own(struct gs_capacity *c)
{
	memset(c->here, 0, sizeof(c->here));
	for (uint32_t i = 0; i < c->origin_count; i++) {
		const struct gs_capacity_group *of = &c->origin[i].of;
		uint8_t usable[GS_PLAN_REGIONS], count = 0;

		for (uint8_t r = 0; r < of->count; r++)
			if (c->is_up[of->usable[r]])
				usable[count++] = of->usable[r];
		for (uint8_t p = 0; p < GS_PRIORITIES; p++) {
			gs_capacity_add(&c->input, of->home, usable, count, p,
					(double)of->per_second[p]);
			c->here[of->home] += (double)of->per_second[p];
		}
	}
}

static void write_words(struct gs_capacity *c)
{
	struct gs_fill fill[REGIONS];

	gs_capacity_to_fill(&c->words, fill);
	for (uint32_t r = 1; r < REGIONS; r++) {
		if (memcmp(&fill[r], &c->fill[r], sizeof(fill[r])) == 0)
			continue;
		c->ports.dataplane->ops->set_fill(c->ports.dataplane->self, (gs_id)r, fill[r]);
		c->fill[r] = fill[r];
	}
}

/* Nobody states a capacity any more. */
static void switch_off(struct gs_capacity *c)
{
	if (!c->is_on)
		return;
	c->is_on = false;
	memset(&c->words, 0, sizeof(c->words));
	write_words(c);
}

static bool asks_of(const struct gs_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		if (snapshot->regions[i].capacity)
			return true;
	return false;
}

/* Demand of this edge's own, which others are told. */
static void gather(struct gs_capacity *c, const struct gs_reconcile_state *state)
{
	for (uint32_t r = 0; r < REGIONS; r++)
		c->is_up[r] = state->view->regions[r].state == GS_USABLE_UP;
	take_limits(c, state->snapshot);
	gs_capacity_clear(&c->input);
	take_own(c);
	gs_capacity_sort(&c->input);
	tell(c, state->snapshot, &c->input);
}

/* What is right now, theirs included: most of the work. */
static void solve(struct gs_capacity *c)
{
	for (uint32_t i = 0; i < c->heard_count; i++)
		gs_capacity_add(&c->input, c->heard[i].home, c->heard[i].usable, c->heard[i].count,
				c->heard[i].priority, (double)c->heard[i].per_second);
	gs_capacity_solve(&c->input, &c->right);
}

/* A step towards it. */
static void step(struct gs_capacity *c)
{
	if (!c->is_on)
		gs_capacity_from_fill(c->fill, &c->words);
	c->is_on = true;
	gs_capacity_step(&c->input, &c->right, c->is_up, c->elapsed_ms, &c->words);
	gs_capacity_weigh(&c->input, &c->words, &c->load);
	write_words(c);
}

/* The first turn of a tick; false: there is nothing to do in the others. */
static bool begin_tick(struct gs_capacity *c)
{
	const struct gs_reconcile_state *state = look(c);
	uint64_t now_ms = gs_loop_now_ms(c->ports.loop);
	uint64_t elapsed_ms = now_ms - c->ticked_ms;

	c->ticked_ms = now_ms;
	if (!c->ports.dataplane->ops->set_fill || !state->snapshot || !state->view)
		return false;
	if (!asks_of(state->snapshot)) {
		switch_off(c);
		return false;
	}
	c->elapsed_ms = elapsed_ms < MOST_MS ? (uint32_t)elapsed_ms : MOST_MS;
	gather(c, state);
	return true;
}

static void on_tick(struct gs_timer *timer)
{
	struct gs_capacity *c = timer->context;
	enum stage stage = c->stage;
	uint32_t wait_ms = 0;
	uint64_t spent_ms;

	c->stage = TO_GATHER;
	if (stage == TO_STEP) {
		step(c);
	} else if (stage == TO_SOLVE) {
		solve(c);
		c->stage = TO_STEP;
	} else if (begin_tick(c)) {
		c->stage = TO_SOLVE;
	}
	if (c->stage == TO_GATHER) {
		spent_ms = gs_loop_now_ms(c->ports.loop) - c->ticked_ms;
		wait_ms = spent_ms < TICK_MS ? (uint32_t)(TICK_MS - spent_ms) : 0;
	}
	gs_loop_timer_set(c->ports.loop, timer, wait_ms);
}

/* ---- for people ------------------------------------------------------------------------------ */

bool gs_capacity_get(const struct gs_capacity *c, gs_id region,
		     struct gs_capacity_status *ret_status)
{
	const struct gs_capacity_limit *limit;

	if (!c->is_on || region >= REGIONS)
		return false;
	limit = &c->input.limit[region];
	*ret_status = (struct gs_capacity_status){
		.capacity = limit->capacity,
		.target = limit->target ? limit->target : GS_TARGET_DEFAULT,
		.demand = c->load.own[region],
		.here = c->here[region],
		.kept = c->load.kept[region],
		.taken = c->load.taken[region],
		.shed = c->load.shed[region],
		.away_percent = c->words.away[region] * 100,
		.away_goal_percent = c->right.away[region] * 100,
		.room_percent = c->words.room[region] * 100,
		.spare_percent = c->words.spare[region] * 100,
		.shed_priority = c->words.shed[region],
		.is_up = c->is_up[region],
	};
	return true;
}

const struct gs_fill *gs_capacity_fill(const struct gs_capacity *c)
{
	return c && c->is_on ? c->fill : NULL;
}

uint32_t gs_capacity_edges(const struct gs_capacity *c)
{
	return c->edges;
}

int64_t gs_capacity_heard_ms_ago(const struct gs_capacity *c)
{
	return c->heard_ms ? (int64_t)(gs_loop_now_ms(c->ports.loop) - c->heard_ms) : -1;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* What an earlier daemon left in force is where this one begins. */
void gs_capacity_reopen(struct gs_capacity *c)
{
	if (!c || !c->ports.dataplane->ops->get_fill)
		return;
	for (uint32_t r = 1; r < REGIONS; r++)
		c->fill[r] = c->ports.dataplane->ops->get_fill(c->ports.dataplane->self, (gs_id)r);
	gs_capacity_from_fill(c->fill, &c->words);
}

int gs_capacity_new(const struct gs_capacity_ports *ports, struct gs_capacity **ret_capacity)
{
	struct gs_capacity *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->ports = *ports;
	c->timer = (struct gs_timer){.on_due = on_tick, .context = c};
	c->ticked_ms = gs_loop_now_ms(ports->loop);
	gs_capacity_reopen(c);
	err = gs_loop_timer_set(ports->loop, &c->timer, TICK_MS);
	if (err) {
		free(c);
		return err;
	}
	*ret_capacity = c;
	return 0;
}

void gs_capacity_free(struct gs_capacity *c)
{
	if (!c)
		return;
	gs_loop_timer_clear(c->ports.loop, &c->timer);
	free(c->told);
	free(c);
}
