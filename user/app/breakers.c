/* SPDX-License-Identifier: Apache-2.0 */
#include "breakers.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/random.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One pool's. Names are kept: what was saved is found by them. */
struct entry {
	gs_id service, region;
	char service_name[GS_NAME_MAX], region_name[GS_NAME_MAX];
	struct gs_breaker_spec spec; /* trials: this edge's share */
	uint16_t trials;	     /* of all edges */
	uint32_t leases;	     /* out, while they are counted */
	struct gs_breaker breaker;
	struct gs_force force;
	bool is_forced;
	bool is_touched; /* its state has changed since it began: what was saved is older */
	uint32_t opened;
	char why[96];
};

/* Entries are asked for by it, thousands of times a verdict: close together. */
struct key {
	gs_id service, region;
};

/* So many a turn: each has words judged. */
enum { STEPS_MOST = 4 };

struct gs_breakers {
	struct gs_loop *loop;
	char edge[GS_NAME_MAX];
	struct gs_breakers_events events;
	void *context;
	uint64_t random;
	uint32_t edges;	       /* that share quotas */
	struct gs_timer timer; /* for the earliest that is due */
	uint32_t count;
	struct entry *entries; /* by service and region */
	struct key *keys;      /* of them */
	uint32_t saved_count;
	struct gs_breaker_record *saved; /* by names; for pools that are still to come */
};

/* ---- looking up ------------------------------------------------------------------------------ */

static int compare_keys(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

static struct entry *find(const struct gs_breakers *breakers, gs_id service, gs_id region)
{
	const struct key key = {.service = service, .region = region}, *found;

	if (breakers->count == 0)
		return NULL;
	found = bsearch(&key, breakers->keys, breakers->count, sizeof(key), compare_keys);
	return found ? &breakers->entries[found - breakers->keys] : NULL;
}

/* ---- telling --------------------------------------------------------------------------------- */

static const char *name_of(const struct entry *entry)
{
	if (entry->is_forced)
		return entry->force.open ? "forced_open" : "forced_closed";
	return gs_breaker_state_name(entry->breaker.state);
}

static void tell(struct gs_breakers *breakers, struct entry *entry, const char *from,
		 const char *why, const char *actor)
{
	struct gs_breakers_change change = {.service = entry->service, .region = entry->region};

	snprintf(entry->why, sizeof(entry->why), "%s", why);
	snprintf(change.from, sizeof(change.from), "%s", from);
	snprintf(change.to, sizeof(change.to), "%s", name_of(entry));
	snprintf(change.why, sizeof(change.why), "%s", why);
	snprintf(change.actor, sizeof(change.actor), "%s", actor);
	gs_breaker_save(&entry->breaker, gs_loop_now_ms(breakers->loop), &change.saved);
	breakers->events.on_change(breakers->context, &change);
}

/* After a step or a result has changed the state. */
static void tell_state(struct gs_breakers *breakers, struct entry *entry,
		       enum gs_breaker_state before, const char *why)
{
	entry->is_touched = true;
	if (entry->breaker.state == GS_BREAKER_OPEN && before != GS_BREAKER_OPEN)
		entry->opened++;
	tell(breakers, entry, gs_breaker_state_name(before), why, "");
}

/* ---- time ------------------------------------------------------------------------------------ */

static void set_timer(struct gs_breakers *breakers)
{
	uint64_t now_ms = gs_loop_now_ms(breakers->loop), due_ms = UINT64_MAX, wait_ms;

	for (uint32_t i = 0; i < breakers->count; i++) {
		uint64_t its_ms = gs_breaker_due_ms(&breakers->entries[i].breaker);

		if (its_ms < due_ms)
			due_ms = its_ms;
	}
	if (due_ms == UINT64_MAX) {
		gs_loop_timer_clear(breakers->loop, &breakers->timer);
		return;
	}
	wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
	/* A force of days: looked at again now and then. */
	if (gs_loop_timer_set(breakers->loop, &breakers->timer,
			      wait_ms < 3600000 ? (uint32_t)wait_ms : 3600000))
		gs_log_limited(GS_LOG_ERROR, "breaker_timer", "error=%s", "out of memory");
}

static const char *why_stepped(enum gs_breaker_state before, enum gs_breaker_state after)
{
	if (before == GS_BREAKER_OPEN)
		return "its time is over: trials";
	if (before == GS_BREAKER_HALF_OPEN)
		return "no result of a trial";
	return after == GS_BREAKER_CLOSED ? "all new flows again" : "more new flows";
}

static void step(struct gs_breakers *breakers, struct entry *entry, uint64_t now_ms)
{
	enum gs_breaker_state before = entry->breaker.state;
	bool was_forced = entry->is_forced;
	const char *name = name_of(entry);

	if (!gs_breaker_step(&entry->breaker, &entry->spec, now_ms))
		return;
	entry->is_forced = entry->breaker.force != GS_BREAKER_AUTO;
	if (was_forced && !entry->is_forced)
		tell(breakers, entry, name, "the force has expired", entry->force.actor);
	else
		tell_state(breakers, entry, before, why_stepped(before, entry->breaker.state));
}

static void on_due(struct gs_timer *timer)
{
	struct gs_breakers *breakers = timer->context;
	uint64_t now_ms = gs_loop_now_ms(breakers->loop);
	uint32_t left = STEPS_MOST;

	for (uint32_t i = 0; i < breakers->count && left > 0; i++) {
		if (gs_breaker_due_ms(&breakers->entries[i].breaker) > now_ms)
			continue;
		step(breakers, &breakers->entries[i], now_ms);
		left--;
	}
	set_timer(breakers);
}

/* ---- results --------------------------------------------------------------------------------- */

static enum gs_breaker_result result_of(enum gs_probe_class class)
{
	switch (class) {
	case GS_PROBE_OK:
		return GS_BREAKER_OK;
	case GS_PROBE_TLS:
	case GS_PROBE_STATUS:
	case GS_PROBE_BODY:
	case GS_PROBE_BAD_REPLY:
		return GS_BREAKER_FAILED;
	default: /* nobody was there to say anything */
		return GS_BREAKER_FAILED_CONNECT;
	}
}

static void explain(const struct entry *entry, enum gs_breaker_state before,
		    enum gs_probe_class result, char *out, size_t room)
{
	if (!entry->spec.enabled)
		snprintf(out, room, "switched off");
	else if (before == GS_BREAKER_HALF_OPEN && result == GS_PROBE_OK)
		snprintf(out, room, "%u good results", entry->spec.successes);
	else if (result == GS_PROBE_OK)
		snprintf(out, room, "%u %% and more took longer than %u ms",
			 entry->spec.slow_percent, entry->spec.slow_ms);
	else if (before == GS_BREAKER_HALF_OPEN)
		snprintf(out, room, "failed again: %s", gs_probe_class_name(result));
	else
		snprintf(out, room, "too many failures, the last one: %s",
			 gs_probe_class_name(result));
}

void gs_breakers_on_probe(struct gs_breakers *breakers, gs_id service, gs_id region,
			  enum gs_probe_class result, uint32_t latency_us, uint64_t began_ms)
{
	struct entry *entry = find(breakers, service, region);
	enum gs_breaker_result came_to = result_of(result);
	enum gs_breaker_state before;
	uint32_t epoch;
	char why[96];

	if (!entry || result == GS_PROBE_LOCAL)
		return;
	if (came_to == GS_BREAKER_OK && entry->spec.slow_ms > 0 &&
	    latency_us > entry->spec.slow_ms * 1000u)
		came_to = GS_BREAKER_SLOW;
	before = entry->breaker.state;
	/* What was sent before the state began is of another epoch. */
	epoch = began_ms >= entry->breaker.since_ms ? entry->breaker.epoch : 0;
	if (!gs_breaker_on_result(&entry->breaker, &entry->spec, epoch, came_to,
				  gs_loop_now_ms(breakers->loop)))
		return;
	explain(entry, before, result, why, sizeof(why));
	tell_state(breakers, entry, before, why);
	set_timer(breakers);
}

void gs_breakers_on_handshake(struct gs_breakers *breakers, gs_id service, gs_id region,
			      uint32_t rtt_us)
{
	struct entry *entry = find(breakers, service, region);
	enum gs_breaker_state before;
	char why[96];

	if (!entry)
		return;
	before = entry->breaker.state;
	if (!gs_breaker_on_handshake(&entry->breaker, &entry->spec, rtt_us,
				     gs_loop_now_ms(breakers->loop)))
		return;
	snprintf(why, sizeof(why),
		 "%u %% and more of its clients' handshakes took longer than %u ms",
		 entry->spec.slow_percent, entry->spec.slow_ms);
	tell_state(breakers, entry, before, why);
	set_timer(breakers);
}

/* ---- trials ---------------------------------------------------------------------------------- */

static void on_lease(struct gs_breakers *breakers, struct entry *entry, enum gs_lease_fate fate)
{
	enum gs_breaker_state before = entry->breaker.state;

	if (fate == GS_LEASE_OPEN)
		entry->leases++;
	else if (gs_breaker_on_lease(&entry->breaker, &entry->spec, fate,
				     gs_loop_now_ms(breakers->loop)))
		tell_state(breakers, entry, before,
			   fate == GS_LEASE_FAILED ? "a trial was not answered"
						   : "good results and completed trials");
}

void gs_breakers_on_leases(struct gs_breakers *breakers, const struct gs_breakers_lease *leases,
			   uint32_t count)
{
	for (uint32_t i = 0; i < breakers->count; i++)
		breakers->entries[i].leases = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct entry *entry = find(breakers, leases[i].service, leases[i].region);

		if (entry)
			on_lease(breakers, entry, leases[i].fate);
	}
	for (uint32_t i = 0; i < breakers->count; i++) {
		struct entry *entry = &breakers->entries[i];
		enum gs_breaker_state before = entry->breaker.state;

		if (gs_breaker_set_leases(&entry->breaker, &entry->spec, entry->leases,
					  gs_loop_now_ms(breakers->loop)))
			tell_state(breakers, entry, before, "good results, and no trial is out");
	}
	set_timer(breakers);
}

bool gs_breakers_on_trial(const struct gs_breakers *breakers)
{
	for (uint32_t i = 0; i < breakers->count; i++)
		if (breakers->entries[i].breaker.state == GS_BREAKER_HALF_OPEN)
			return true;
	return false;
}

static void share(const struct gs_breakers *breakers, struct entry *entry)
{
	uint32_t trials = entry->trials / breakers->edges;

	entry->spec.trials = trials > 0 ? (uint16_t)trials : 1;
}

void gs_breakers_share(struct gs_breakers *breakers, uint32_t edges)
{
	breakers->edges = edges > 0 ? edges : 1;
	for (uint32_t i = 0; i < breakers->count; i++)
		share(breakers, &breakers->entries[i]);
}

/* ---- what was saved -------------------------------------------------------------------------- */

static int compare_saved(const void *left, const void *right)
{
	const struct gs_breaker_record *a = left, *b = right;
	int services = strcmp(a->service, b->service);

	return services ? services : strcmp(a->region, b->region);
}

static const struct gs_breaker_record *find_saved(const struct gs_breakers *breakers,
						  const struct entry *entry)
{
	struct gs_breaker_record key;

	if (breakers->saved_count == 0)
		return NULL;
	memcpy(key.service, entry->service_name, sizeof(key.service));
	memcpy(key.region, entry->region_name, sizeof(key.region));
	return bsearch(&key, breakers->saved, breakers->saved_count, sizeof(key), compare_saved);
}

/* True: it is not closed, or has a longer way to go when it opens again. */
static bool restore(struct gs_breakers *breakers, struct entry *entry)
{
	const struct gs_breaker_record *record = find_saved(breakers, entry);
	int64_t away_ms;

	if (!record || entry->is_touched)
		return false;
	away_ms = gs_unix_ms() - record->unix_ms;
	gs_breaker_restore(&entry->breaker, &record->saved, away_ms > 0 ? (uint64_t)away_ms : 0,
			   gs_loop_now_ms(breakers->loop));
	entry->is_touched = true;
	return entry->breaker.state != GS_BREAKER_CLOSED;
}

int gs_breakers_restore(struct gs_breakers *breakers, const struct gs_breaker_record *records,
			uint32_t count)
{
	struct gs_breaker_record *copy = calloc(count + 1u, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count > 0)
		memcpy(copy, records, count * sizeof(*copy));
	if (count > 1)
		qsort(copy, count, sizeof(*copy), compare_saved);
	free(breakers->saved);
	breakers->saved = copy;
	breakers->saved_count = count;
	for (uint32_t i = 0; i < breakers->count; i++)
		if (restore(breakers, &breakers->entries[i]))
			tell(breakers, &breakers->entries[i], name_of(&breakers->entries[i]),
			     "taken up again", "");
	set_timer(breakers);
	return 0;
}

/* ---- the set of pools ------------------------------------------------------------------------ */

/* NULL: nobody forces it. One that names this edge wins. */
static const struct gs_force *find_force(const struct gs_breakers *breakers,
					 const struct gs_snapshot *snapshot,
					 const struct entry *entry)
{
	const struct gs_force *found = NULL;

	for (uint32_t i = 0; i < snapshot->force_count; i++) {
		const struct gs_force *force = &snapshot->forces[i];
		bool is_ours = strcmp(force->edge, breakers->edge) == 0;

		if (force->service != entry->service || force->region != entry->region ||
		    force->expires_unix_ms <= gs_unix_ms())
			continue;
		if (is_ours || (!force->edge[0] && !found))
			found = force;
		if (is_ours)
			break;
	}
	return found;
}

/* True: whether, or how, it is forced has changed. */
static bool set_force(struct gs_breakers *breakers, struct entry *entry,
		      const struct gs_force *force)
{
	bool was_forced = entry->is_forced, was_open = entry->force.open;
	uint64_t now_ms = gs_loop_now_ms(breakers->loop);

	entry->is_forced = force != NULL;
	if (!force) {
		gs_breaker_set_force(&entry->breaker, GS_BREAKER_AUTO, 0);
		return was_forced;
	}
	entry->force = *force;
	gs_breaker_set_force(&entry->breaker,
			     force->open ? GS_BREAKER_FORCED_OPEN : GS_BREAKER_FORCED_CLOSED,
			     now_ms + (uint64_t)(force->expires_unix_ms - gs_unix_ms()));
	return !was_forced || was_open != force->open;
}

static void begin(struct gs_breakers *breakers, struct entry *entry)
{
	const struct entry *old = find(breakers, entry->service, entry->region);

	/* Another pool may have the ids of one that is gone. */
	if (old && strcmp(old->service_name, entry->service_name) == 0 &&
	    strcmp(old->region_name, entry->region_name) == 0) {
		entry->breaker = old->breaker;
		entry->force = old->force;
		entry->is_forced = old->is_forced;
		entry->is_touched = old->is_touched;
		entry->opened = old->opened;
		memcpy(entry->why, old->why, sizeof(entry->why));
		return;
	}
	gs_breaker_init(&entry->breaker, gs_loop_now_ms(breakers->loop),
			gs_random(&breakers->random));
	restore(breakers, entry);
}

/* One a pool, sorted; room for as many as there are backends. NULL: no memory. */
static struct key *list_pools(const struct gs_snapshot *snapshot, uint32_t *ret_count)
{
	struct key *keys = calloc(snapshot->backend_count + 1u, sizeof(*keys));
	uint32_t count = 0;

	if (!keys)
		return NULL;
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		keys[i] = (struct key){.service = snapshot->backends[i].service,
				       .region = snapshot->backends[i].region};
	qsort(keys, snapshot->backend_count, sizeof(*keys), compare_keys);
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (count == 0 || compare_keys(&keys[count - 1], &keys[i]) != 0)
			keys[count++] = keys[i];
	*ret_count = count;
	return keys;
}

/* NULL: no memory. */
static struct entry *make_entries(struct gs_breakers *breakers, const struct gs_snapshot *snapshot,
				  const struct key *keys, uint32_t count)
{
	struct entry *entries = calloc(count + 1u, sizeof(*entries));

	for (uint32_t i = 0; entries && i < count; i++) {
		const struct gs_service *service = gs_snapshot_service(snapshot, keys[i].service);
		const struct gs_region *region = gs_snapshot_region(snapshot, keys[i].region);
		struct entry *entry = &entries[i];

		entry->service = keys[i].service;
		entry->region = keys[i].region;
		memcpy(entry->service_name, service->name, sizeof(entry->service_name));
		memcpy(entry->region_name, region->name, sizeof(entry->region_name));
		entry->spec = service->breaker;
		entry->trials = service->breaker.trials;
		share(breakers, entry);
		begin(breakers, entry);
	}
	return entries;
}

int gs_breakers_set(struct gs_breakers *breakers, const struct gs_snapshot *snapshot)
{
	uint32_t count = 0;
	struct key *keys = list_pools(snapshot, &count);
	struct entry *entries = keys ? make_entries(breakers, snapshot, keys, count) : NULL;
	uint64_t now_ms = gs_loop_now_ms(breakers->loop);

	if (!entries) {
		free(keys);
		return -ENOMEM;
	}
	free(breakers->entries);
	free(breakers->keys);
	breakers->entries = entries;
	breakers->keys = keys;
	breakers->count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct entry *entry = &entries[i];
		const char *before = name_of(entry);
		const struct gs_force *force = find_force(breakers, snapshot, entry);
		const char *actor = force ? force->actor : snapshot->actor;

		if (!set_force(breakers, entry, force)) {
			/* A spec that has just been switched off. */
			if (!entry->spec.enabled)
				step(breakers, entry, now_ms);
			continue;
		}
		tell(breakers, entry, before,
		     force && force->reason[0] ? force->reason
		     : force		       ? "by an operator"
					       : "released",
		     actor);
	}
	set_timer(breakers);
	return 0;
}

/* ---- life and queries ------------------------------------------------------------------------ */

int gs_breakers_new(struct gs_loop *loop, const char *edge, const struct gs_breakers_events *events,
		    void *context, uint64_t seed, struct gs_breakers **ret_breakers)
{
	struct gs_breakers *breakers = calloc(1, sizeof(*breakers));

	if (!breakers)
		return -ENOMEM;
	breakers->loop = loop;
	snprintf(breakers->edge, sizeof(breakers->edge), "%s", edge);
	breakers->events = *events;
	breakers->context = context;
	breakers->random = seed;
	breakers->edges = 1;
	breakers->timer = (struct gs_timer){.on_due = on_due, .context = breakers};
	*ret_breakers = breakers;
	return 0;
}

void gs_breakers_free(struct gs_breakers *breakers)
{
	if (!breakers)
		return;
	gs_loop_timer_clear(breakers->loop, &breakers->timer);
	free(breakers->entries);
	free(breakers->keys);
	free(breakers->saved);
	free(breakers);
}

struct gs_permit gs_breakers_permit(const struct gs_breakers *breakers, gs_id service, gs_id region)
{
	const struct entry *entry = find(breakers, service, region);

	if (!entry)
		return (struct gs_permit){.kind = GS_PERMIT_ALL, .accept = UINT16_MAX};
	return gs_breaker_permit(&entry->breaker, &entry->spec, gs_loop_now_ms(breakers->loop));
}

uint32_t gs_breakers_count(const struct gs_breakers *breakers)
{
	return breakers->count;
}

void gs_breakers_get(const struct gs_breakers *breakers, uint32_t index,
		     struct gs_breakers_status *ret_status)
{
	const struct entry *entry = &breakers->entries[index];
	uint64_t now_ms = gs_loop_now_ms(breakers->loop);

	*ret_status = (struct gs_breakers_status){
		.service = entry->service,
		.region = entry->region,
		.state = entry->breaker.state,
		.permit = gs_breaker_permit(&entry->breaker, &entry->spec, now_ms),
		.exponent = entry->breaker.exponent,
		.opened = entry->opened,
		.leases = entry->breaker.leases,
		.completed = entry->breaker.completed,
		.returned = entry->breaker.returned,
		.since_ms = entry->breaker.since_ms,
		.until_ms = entry->breaker.state == GS_BREAKER_OPEN ? entry->breaker.until_ms
								    : UINT64_MAX,
		.force = entry->is_forced ? &entry->force : NULL,
		.why = entry->why,
	};
	gs_breaker_window(&entry->breaker, now_ms, &ret_status->ok, &ret_status->failed);
}

bool gs_breakers_find(const struct gs_breakers *breakers, gs_id service, gs_id region,
		      struct gs_breakers_status *ret_status)
{
	const struct entry *entry = find(breakers, service, region);

	if (!entry)
		return false;
	gs_breakers_get(breakers, (uint32_t)(entry - breakers->entries), ret_status);
	return true;
}
