/* SPDX-License-Identifier: Apache-2.0 */
#include "votes.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/snapshot.h"
#include "user/core/types.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOOK_MS = 250, /* when nothing happens: ages, doubts */
	TOUCH_MS = 10, /* after a verdict: more may follow in the same turn */
	WHY_MAX = 128,
};

/* This edge (the first one), or another. */
struct voter {
	char name[GS_NAME_MAX], site[GS_NAME_MAX];
	char self[GS_NAME_MAX], self_why[GS_SELF_TEXT_MAX];
	uint64_t seq;
	uint64_t told_ms; /* when it wrote that, by this loop's clock */
	char version[GS_VERSION_TEXT_MAX];
	uint64_t generation, revision, digest, geo_digest, selection_seed;
	uint16_t domain;
	struct gs_edge_vote *votes; /* sorted */
	uint32_t count;
};

struct pool {
	gs_id service, region;
	struct gs_quorum quorum;
	struct gs_tally tally;
};

struct gs_votes {
	struct gs_votes_ports ports;
	struct gs_timer timer;
	struct voter voters[GS_VOTERS_MAX];
	uint32_t voter_count;
	bool is_started, is_connected;
	struct gs_quorum_rule rule;
	struct gs_self self;
	struct gs_quorum regions[GS_MAX_REGIONS];
	struct gs_tally tallies[GS_MAX_REGIONS];
	struct pool *pools; /* that somebody has a vote of its own for; sorted */
	uint32_t pool_count;
	bool was_grouped; /* when the doubt began, there was a common state */
	bool is_holding;
	uint64_t held[(GS_MAX_BACKENDS + 63) / 64];
	uint8_t seen[GS_MAX_SERVICES * GS_MAX_REGIONS]; /* scratch: ALIVE ... of pools */
};

enum { ALIVE = 1, DEAD = 2, UNSURE = 4 };

/* ---- votes by key ---------------------------------------------------------------------------- */

static int compare_votes(const void *left, const void *right)
{
	const struct gs_edge_vote *a = left, *b = right;

	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

static const struct gs_edge_vote *find_vote(const struct voter *voter, gs_id service, gs_id region)
{
	const struct gs_edge_vote key = {.service = service, .region = region};

	if (voter->count == 0)
		return NULL;
	return bsearch(&key, voter->votes, voter->count, sizeof(key), compare_votes);
}

static enum gs_vote vote_of(const struct voter *voter, gs_id service, gs_id region)
{
	const struct gs_edge_vote *vote = find_vote(voter, service, region);

	if (!vote && service != 0)
		vote = find_vote(voter, 0, region);
	return vote ? vote->vote : GS_VOTE_UNKNOWN;
}

static int compare_pools(const void *left, const void *right)
{
	const struct pool *a = left, *b = right;

	if (a->service != b->service)
		return a->service < b->service ? -1 : 1;
	return (a->region > b->region) - (a->region < b->region);
}

static struct pool *find_pool(const struct gs_votes *votes, gs_id service, gs_id region)
{
	const struct pool key = {.service = service, .region = region};

	if (votes->pool_count == 0)
		return NULL;
	return bsearch(&key, votes->pools, votes->pool_count, sizeof(key), compare_pools);
}

/* ---- what this edge sees --------------------------------------------------------------------- */

struct sight {
	struct gs_self_facts facts;
	uint8_t regions[GS_MAX_REGIONS]; /* ALIVE, DEAD, UNSURE */
	uint16_t steady[GS_MAX_REGIONS]; /* targets that answered, a window ago */
	uint16_t failing[GS_MAX_REGIONS];
	uint64_t answered[(GS_MAX_BACKENDS + 63) / 64]; /* these targets */
};

static void see_backend(struct gs_votes *votes, struct sight *sight,
			const struct gs_backend *backend, uint64_t now_ms)
{
	struct gs_monitor_status status;
	uint8_t mark = UNSURE;
	bool is_recent;

	if (!votes->ports.health(votes->ports.context, backend->id, &status))
		return;
	is_recent = now_ms < status.since_ms + GS_SELF_WINDOW_MS;
	if (status.state == GS_HEALTH_UP || status.state == GS_HEALTH_SUSPECT)
		mark = ALIVE;
	else if (status.state != GS_HEALTH_UNKNOWN)
		mark = DEAD;
	sight->regions[backend->region] |= mark;
	votes->seen[gs_pool_index(backend->service, backend->region)] |= mark;
	if (mark == ALIVE || (mark == DEAD && is_recent)) {
		sight->steady[backend->region]++;
		sight->answered[backend->id / 64] |= 1ull << (backend->id % 64);
	}
	if (status.state == GS_HEALTH_SUSPECT || (mark == DEAD && is_recent))
		sight->failing[backend->region]++;
}

static enum gs_vote vote_from(uint8_t marks)
{
	if (marks & ALIVE)
		return GS_VOTE_UP;
	return marks == DEAD ? GS_VOTE_DOWN : GS_VOTE_UNKNOWN;
}

/* Backends that nobody probes show nothing. */
static bool is_probed(const struct gs_snapshot *snapshot, const struct gs_backend *backend)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);

	return service && service->probe.kind != GS_PROBE_NONE;
}

static void see(struct gs_votes *votes, const struct gs_snapshot *snapshot, struct sight *sight)
{
	uint64_t now_ms = gs_loop_now_ms(votes->ports.loop);

	memset(sight, 0, sizeof(*sight));
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (is_probed(snapshot, &snapshot->backends[i]))
			see_backend(votes, sight, &snapshot->backends[i], now_ms);
	for (uint32_t id = 1; id < GS_MAX_REGIONS; id++) {
		struct gs_self_facts *facts = &sight->facts;

		facts->regions += (sight->regions[id] & (ALIVE | DEAD)) != 0;
		facts->alive += (sight->regions[id] & ALIVE) != 0;
		facts->steady += sight->steady[id] > 0;
		facts->failing += sight->failing[id] * 2 > sight->steady[id];
	}
	votes->ports.look_at_self(votes->ports.context, &sight->facts);
}

/* Of each region, and of each pool that is otherwise; leaves `seen` empty. NULL: no memory. */
static struct gs_edge_vote *collect(struct gs_votes *votes, const struct gs_snapshot *snapshot,
				    const struct sight *sight, uint32_t *ret_count)
{
	bool is_well = votes->self.state == GS_SELF_WELL;
	struct gs_edge_vote *list;
	uint32_t count = 0;

	list = calloc(snapshot->region_count + snapshot->backend_count + 1u, sizeof(*list));
	for (uint32_t i = 0; list && i < snapshot->region_count; i++) {
		gs_id id = snapshot->regions[i].id;

		list[count++] = (struct gs_edge_vote){
			.region = id,
			.vote = is_well ? vote_from(sight->regions[id]) : GS_VOTE_UNKNOWN,
		};
	}
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		uint8_t *seen = &votes->seen[gs_pool_index(backend->service, backend->region)];
		enum gs_vote vote = vote_from(*seen);

		if (list && is_well && *seen && vote != vote_from(sight->regions[backend->region]))
			list[count++] =
				(struct gs_edge_vote){backend->service, backend->region, vote};
		*seen = 0;
	}
	if (list)
		qsort(list, count, sizeof(*list), compare_votes);
	*ret_count = count;
	return list;
}

static bool same_votes(const struct voter *own, const struct gs_edge_vote *list, uint32_t count)
{
	if (own->count != count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (compare_votes(&own->votes[i], &list[i]) != 0 ||
		    own->votes[i].vote != list[i].vote)
			return false;
	return true;
}

static void tell_store(struct gs_votes *votes)
{
	const struct voter *own = &votes->voters[0];
	struct gs_ballot_paper paper = {.votes = own->votes, .count = own->count};

	if (!votes->ports.store->ops->vote)
		return;
	snprintf(paper.site, sizeof(paper.site), "%s", own->site);
	snprintf(paper.self, sizeof(paper.self), "%s", own->self);
	snprintf(paper.self_why, sizeof(paper.self_why), "%s", own->self_why);
	votes->ports.store->ops->vote(votes->ports.store->self, &paper);
}

/* The own votes, and to the store what is new. */
static void vote(struct gs_votes *votes, const struct gs_snapshot *snapshot,
		 const struct sight *sight)
{
	struct voter *own = &votes->voters[0];
	uint32_t count;
	struct gs_edge_vote *list = collect(votes, snapshot, sight, &count);
	char why[GS_SELF_TEXT_MAX];
	bool same;

	own->told_ms = gs_loop_now_ms(votes->ports.loop);
	if (!list) {
		gs_log_limited(GS_LOG_ERROR, "votes_kept", "why=%s", "out of memory");
		return;
	}
	gs_self_text(&votes->self, why, sizeof(why));
	same = same_votes(own, list, count) && strcmp(own->self_why, why) == 0 && own->seq > 0;
	free(own->votes);
	own->votes = list;
	own->count = count;
	if (same)
		return;
	own->seq++;
	snprintf(own->self, sizeof(own->self), "%s", gs_self_name(votes->self.state));
	snprintf(own->self_why, sizeof(own->self_why), "%s", why);
	tell_store(votes);
}

/* ---- doubt ----------------------------------------------------------------------------------- */

static bool is_grouped(const struct gs_votes *votes)
{
	for (uint32_t id = 1; id < GS_MAX_REGIONS; id++)
		if (votes->regions[id].state != GS_GLOBAL_NONE)
			return true;
	return false;
}

/* True: what is held has changed. */
static bool doubt(struct gs_votes *votes, const struct sight *sight)
{
	enum gs_self_state before = votes->self.state;
	bool was_holding = votes->is_holding, can_hold;
	char why[GS_SELF_TEXT_MAX];

	if (gs_self_step(&votes->self, &sight->facts, gs_loop_now_ms(votes->ports.loop))) {
		gs_self_text(&votes->self, why, sizeof(why));
		gs_log(votes->self.state == GS_SELF_WELL ? GS_LOG_INFO : GS_LOG_WARNING,
		       "self_health", "state=%s why=%s votes=%s", gs_self_name(votes->self.state),
		       why, votes->self.state == GS_SELF_WELL ? "as seen" : "unknown");
	}
	if (votes->self.state == GS_SELF_WELL)
		votes->was_grouped = false;
	else if (before == GS_SELF_WELL)
		votes->was_grouped = is_grouped(votes);
	/* Until nothing answers: what answered last. */
	if (!votes->is_holding && sight->facts.alive > 0)
		memcpy(votes->held, sight->answered, sizeof(votes->held));
	can_hold = votes->self.state != GS_SELF_WELL && votes->self.state != GS_SELF_LATE;
	votes->is_holding = can_hold && votes->was_grouped && sight->facts.alive == 0;
	return votes->is_holding != was_holding;
}

/* ---- together -------------------------------------------------------------------------------- */

static bool is_fresh(const struct gs_votes *votes, const struct voter *voter, uint64_t now_ms)
{
	return voter == &votes->voters[0] ||
	       (votes->is_connected && now_ms < voter->told_ms + GS_VOTE_FRESH_MS);
}

static struct gs_tally tally_of(const struct gs_votes *votes, gs_id service, gs_id region)
{
	uint64_t now_ms = gs_loop_now_ms(votes->ports.loop);
	struct gs_ballot ballots[GS_VOTERS_MAX];

	for (uint32_t i = 0; i < votes->voter_count; i++) {
		const struct voter *voter = &votes->voters[i];

		ballots[i] = (struct gs_ballot){
			.domain = voter->domain,
			.vote = is_fresh(votes, voter, now_ms) ? vote_of(voter, service, region)
							       : GS_VOTE_UNKNOWN,
		};
	}
	return gs_quorum_count(ballots, votes->voter_count);
}

static const char *name_of_region(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_region *region = snapshot ? gs_snapshot_region(snapshot, id) : NULL;

	return region ? region->name : "?";
}

static const char *name_of_service(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_service *service = snapshot ? gs_snapshot_service(snapshot, id) : NULL;

	return service ? service->name : "";
}

struct changes {
	uint32_t count;
	char first[WHY_MAX];
};

static void note(struct gs_votes *votes, const struct gs_votes_status *status,
		 enum gs_global before, struct changes *changes)
{
	const struct gs_snapshot *snapshot = votes->ports.snapshot(votes->ports.context);
	const char *region = name_of_region(snapshot, status->region);
	const char *service = name_of_service(snapshot, status->service);
	char words[WHY_MAX];

	gs_votes_words(status, words, sizeof(words));
	gs_log(status->quorum.state == GS_GLOBAL_DOWN ? GS_LOG_WARNING : GS_LOG_INFO,
	       "global_state", "region=%s service=%s from=%s to=%s why=%s", region, service,
	       gs_global_name(before), gs_global_name(status->quorum.state), words);
	if (changes->count++ == 0)
		snprintf(changes->first, sizeof(changes->first), "%.32s %.90s", region, words);
}

/* One region or pool; true if its state has changed. */
static void judge(struct gs_votes *votes, gs_id service, gs_id region, struct gs_quorum *quorum,
		  struct gs_tally *tally, struct changes *changes)
{
	enum gs_global before = quorum->state;
	struct gs_votes_status status;

	*tally = tally_of(votes, service, region);
	if (!gs_quorum_step(quorum, &votes->rule, tally, gs_loop_now_ms(votes->ports.loop)))
		return;
	status = (struct gs_votes_status){
		.service = service, .region = region, .quorum = *quorum, .tally = *tally};
	note(votes, &status, before, changes);
}

/* Pools that a voter has a vote of its own for. NULL: no memory. */
static struct pool *list_pools(const struct gs_votes *votes, uint32_t *ret_count)
{
	struct pool *pools;
	uint32_t count = 0, kept = 0;

	for (uint32_t i = 0; i < votes->voter_count; i++)
		count += votes->voters[i].count;
	pools = calloc(count + 1u, sizeof(*pools));
	if (!pools)
		return NULL;
	count = 0;
	for (uint32_t i = 0; i < votes->voter_count; i++)
		for (uint32_t j = 0; j < votes->voters[i].count; j++)
			if (votes->voters[i].votes[j].service != 0)
				pools[count++] =
					(struct pool){.service = votes->voters[i].votes[j].service,
						      .region = votes->voters[i].votes[j].region};
	if (count > 0)
		qsort(pools, count, sizeof(*pools), compare_pools);
	for (uint32_t i = 0; i < count; i++)
		if (kept == 0 || compare_pools(&pools[kept - 1], &pools[i]) != 0)
			pools[kept++] = pools[i];
	*ret_count = kept;
	return pools;
}

/* Those that stay go on from what they were, new ones from what their regions are. */
static void follow_pools(struct gs_votes *votes)
{
	uint32_t count;
	struct pool *pools = list_pools(votes, &count);

	if (!pools)
		return;
	for (uint32_t i = 0; i < count; i++) {
		const struct pool *was = find_pool(votes, pools[i].service, pools[i].region);

		pools[i].quorum = was ? was->quorum : votes->regions[pools[i].region];
	}
	free(votes->pools);
	votes->pools = pools;
	votes->pool_count = count;
}

/* The whole of what all edges come to. True: some of it has changed. */
static bool judge_all(struct gs_votes *votes, struct changes *changes)
{
	const struct gs_snapshot *snapshot = votes->ports.snapshot(votes->ports.context);

	if (!snapshot)
		return false;
	follow_pools(votes);
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		gs_id id = snapshot->regions[i].id;

		judge(votes, 0, id, &votes->regions[id], &votes->tallies[id], changes);
	}
	for (uint32_t i = 0; i < votes->pool_count; i++) {
		struct pool *pool = &votes->pools[i];

		judge(votes, pool->service, pool->region, &pool->quorum, &pool->tally, changes);
	}
	return changes->count > 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void look(struct gs_votes *votes)
{
	const struct gs_snapshot *snapshot = votes->ports.snapshot(votes->ports.context);
	struct changes changes = {.count = 0};
	struct sight *sight = snapshot ? malloc(sizeof(*sight)) : NULL;
	bool has_doubt = false;

	if (sight) {
		see(votes, snapshot, sight);
		has_doubt = doubt(votes, sight);
		vote(votes, snapshot, sight);
	}
	free(sight);
	if (has_doubt)
		snprintf(changes.first, sizeof(changes.first), "%s",
			 votes->is_holding ? "this edge hears nobody: what answered last stays"
					   : "this edge hears others again");
	if (judge_all(votes, &changes) || has_doubt)
		votes->ports.on_change(votes->ports.context, changes.first);
}

static void on_look(struct gs_timer *timer)
{
	struct gs_votes *votes = timer->context;

	gs_loop_timer_set(votes->ports.loop, timer, LOOK_MS);
	look(votes);
}

void gs_votes_touch(struct gs_votes *votes)
{
	if (votes->is_started)
		gs_loop_timer_set(votes->ports.loop, &votes->timer, TOUCH_MS);
}

/* ---- what others say ------------------------------------------------------------------------- */

static struct voter *find_voter(struct gs_votes *votes, const char *name)
{
	for (uint32_t i = 1; i < votes->voter_count; i++)
		if (strcmp(votes->voters[i].name, name) == 0)
			return &votes->voters[i];
	return NULL;
}

static void set_domains(struct gs_votes *votes)
{
	uint16_t count = 0;

	for (uint32_t i = 0; i < votes->voter_count; i++) {
		struct voter *voter = &votes->voters[i];
		uint32_t j = 0;

		while (j < i && strcmp(votes->voters[j].site, voter->site) != 0)
			j++;
		voter->domain = j < i ? votes->voters[j].domain : count++;
	}
}

/* `news` in place of those of the same key, sorted. NULL: no memory. */
static struct gs_edge_vote *merge(const struct voter *voter, const struct gs_edge_ballot *news,
				  uint32_t *ret_count)
{
	uint32_t kept = 0, count = news->is_whole ? 0 : voter->count;
	struct gs_edge_vote *list = calloc(count + news->count + 1u, sizeof(*list));

	if (!list)
		return NULL;
	if (news->count > 0)
		qsort(news->votes, news->count, sizeof(*list), compare_votes);
	for (uint32_t i = 0; i < count; i++)
		if (news->count == 0 || !bsearch(&voter->votes[i], news->votes, news->count,
						 sizeof(*list), compare_votes))
			list[kept++] = voter->votes[i];
	/* One that is as its region's has no vote of its own any more. */
	for (uint32_t i = 0; i < news->count; i++)
		if (news->votes[i].vote != GS_VOTE__COUNT)
			list[kept++] = news->votes[i];
	if (kept > 0)
		qsort(list, kept, sizeof(*list), compare_votes);
	*ret_count = kept;
	return list;
}

static void hear(struct gs_votes *votes, struct voter *voter, const struct gs_edge_ballot *news)
{
	uint64_t now_ms = gs_loop_now_ms(votes->ports.loop);

	memcpy(voter->site, news->site, sizeof(voter->site));
	memcpy(voter->self, news->self, sizeof(voter->self));
	memcpy(voter->self_why, news->self_why, sizeof(voter->self_why));
	voter->told_ms = now_ms > news->age_ms ? now_ms - news->age_ms : 0;
	memcpy(voter->version, news->version, sizeof(voter->version));
	voter->generation = news->generation;
	voter->revision = news->revision;
	voter->digest = news->digest;
	voter->geo_digest = news->geo_digest;
	voter->selection_seed = news->selection_seed;
	if (news->is_new) {
		uint32_t count;
		struct gs_edge_vote *list = merge(voter, news, &count);

		if (!list)
			return;
		free(voter->votes);
		voter->votes = list;
		voter->count = count;
	}
	voter->seq = news->seq;
}

/* Those that are not named any more are gone. */
static void forget_others(struct gs_votes *votes, const struct gs_ballots *ballots)
{
	uint32_t kept = 1;

	for (uint32_t i = 1; i < votes->voter_count; i++) {
		bool is_named = false;

		for (uint32_t j = 0; j < ballots->count && !is_named; j++)
			is_named = strcmp(ballots->edges[j].edge, votes->voters[i].name) == 0;
		if (is_named)
			votes->voters[kept++] = votes->voters[i];
		else
			free(votes->voters[i].votes);
	}
	votes->voter_count = kept;
}

void gs_votes_on_ballots(struct gs_votes *votes, const struct gs_ballots *ballots)
{
	struct changes changes = {.count = 0};

	votes->rule = ballots->rule;
	forget_others(votes, ballots);
	for (uint32_t i = 0; i < ballots->count; i++) {
		const struct gs_edge_ballot *news = &ballots->edges[i];
		struct voter *voter = find_voter(votes, news->edge);

		if (!voter && votes->voter_count < GS_VOTERS_MAX) {
			voter = &votes->voters[votes->voter_count++];
			memset(voter, 0, sizeof(*voter));
			memcpy(voter->name, news->edge, sizeof(voter->name));
		}
		if (voter)
			hear(votes, voter, news);
	}
	if (ballots->left_out > 0)
		gs_log_limited(GS_LOG_WARNING, "edges_not_heard", "count=%u most=%d",
			       ballots->left_out, GS_VOTERS_MAX);
	set_domains(votes);
	if (judge_all(votes, &changes))
		votes->ports.on_change(votes->ports.context, changes.first);
}

void gs_votes_set_running(struct gs_votes *votes, const struct gs_edge_report *report)
{
	struct voter *own = &votes->voters[0];

	own->generation = report->generation;
	own->revision = report->revision;
	own->digest = report->digest;
	own->geo_digest = report->geo_digest;
	own->selection_seed = report->selection_seed;
}

void gs_votes_on_connection(struct gs_votes *votes, bool connected)
{
	votes->is_connected = connected;
}

/* ---- life and queries ------------------------------------------------------------------------ */

int gs_votes_new(const struct gs_votes_ports *ports, const char *edge, const char *site,
		 struct gs_votes **ret_votes)
{
	struct gs_votes *votes = calloc(1, sizeof(*votes));

	if (!votes)
		return -ENOMEM;
	votes->ports = *ports;
	votes->timer = (struct gs_timer){.on_due = on_look, .context = votes};
	votes->rule.down_permille = GS_QUORUM_DOWN_PERMILLE;
	votes->voter_count = 1;
	snprintf(votes->voters[0].name, GS_NAME_MAX, "%s", edge);
	snprintf(votes->voters[0].site, GS_NAME_MAX, "%s", site);
	snprintf(votes->voters[0].self, GS_NAME_MAX, "%s", gs_self_name(GS_SELF_WELL));
	snprintf(votes->voters[0].version, GS_VERSION_TEXT_MAX, "%s", GS_VERSION);
	*ret_votes = votes;
	return 0;
}

void gs_votes_free(struct gs_votes *votes)
{
	if (!votes)
		return;
	gs_loop_timer_clear(votes->ports.loop, &votes->timer);
	for (uint32_t i = 0; i < votes->voter_count; i++)
		free(votes->voters[i].votes);
	free(votes->pools);
	free(votes);
}

int gs_votes_start(struct gs_votes *votes)
{
	votes->is_started = true;
	return gs_loop_timer_set(votes->ports.loop, &votes->timer, LOOK_MS);
}

enum gs_global gs_votes_global(const struct gs_votes *votes, gs_id service, gs_id region)
{
	const struct pool *pool = service ? find_pool(votes, service, region) : NULL;

	if (!pool || votes->regions[region].state == GS_GLOBAL_DOWN)
		return votes->regions[region].state;
	return pool->quorum.state;
}

bool gs_votes_holds(const struct gs_votes *votes, gs_id backend)
{
	return votes->is_holding && votes->held[backend / 64] >> (backend % 64) & 1;
}

uint32_t gs_votes_live(const struct gs_votes *votes)
{
	uint64_t now_ms = gs_loop_now_ms(votes->ports.loop);
	uint32_t live = 0;

	for (uint32_t i = 0; i < votes->voter_count; i++)
		live += is_fresh(votes, &votes->voters[i], now_ms);
	return live;
}

const struct gs_self *gs_votes_self(const struct gs_votes *votes)
{
	return &votes->self;
}

uint32_t gs_votes_edge_count(const struct gs_votes *votes)
{
	return votes->voter_count;
}

void gs_votes_edge(const struct gs_votes *votes, uint32_t index, struct gs_votes_edge *ret_edge)
{
	const struct voter *voter = &votes->voters[index];
	uint64_t now_ms = gs_loop_now_ms(votes->ports.loop);

	*ret_edge = (struct gs_votes_edge){
		.name = voter->name,
		.site = voter->site,
		.self = voter->self,
		.self_why = voter->self_why,
		.age_ms = now_ms > voter->told_ms ? now_ms - voter->told_ms : 0,
		.seq = voter->seq,
		.is_fresh = is_fresh(votes, voter, now_ms),
		.version = voter->version,
		.generation = voter->generation,
		.revision = voter->revision,
		.digest = voter->digest,
		.geo_digest = voter->geo_digest,
		.selection_seed = voter->selection_seed,
	};
}

enum gs_vote gs_votes_of(const struct gs_votes *votes, uint32_t index, gs_id service, gs_id region)
{
	return vote_of(&votes->voters[index], service, region);
}

bool gs_votes_has_pool(const struct gs_votes *votes, gs_id service, gs_id region)
{
	return find_pool(votes, service, region) != NULL;
}

void gs_votes_get(const struct gs_votes *votes, gs_id service, gs_id region,
		  struct gs_votes_status *ret_status)
{
	const struct pool *pool = service ? find_pool(votes, service, region) : NULL;

	*ret_status = (struct gs_votes_status){
		.service = service,
		.region = region,
		.quorum = pool ? pool->quorum : votes->regions[region],
		.tally = pool ? pool->tally : votes->tallies[region],
		.own = vote_of(&votes->voters[0], service, region),
	};
}

const struct gs_quorum_rule *gs_votes_rule(const struct gs_votes *votes)
{
	return &votes->rule;
}

const char *gs_votes_words(const struct gs_votes_status *status, char *out, size_t room)
{
	const struct gs_tally *tally = &status->tally;
	uint32_t voters = (uint32_t)tally->up + tally->down;

	if (!tally->is_quorate)
		snprintf(out, room, "%s: %u voters in %u domains, %d in %d are needed",
			 status->quorum.state == GS_GLOBAL_NONE ? "no quorum" : "no quorum now",
			 voters, tally->domains, GS_QUORUM_VOTERS, GS_QUORUM_DOMAINS);
	else if (status->quorum.state == GS_GLOBAL_DOWN)
		snprintf(out, room, "down by %u of %u edges in %u of %u domains", tally->down,
			 voters, tally->domains_down, tally->domains);
	else if (status->quorum.state == GS_GLOBAL_UP)
		snprintf(out, room, "up by %u of %u edges in %u of %u domains", tally->up, voters,
			 tally->domains_up, tally->domains);
	else
		snprintf(out, room, "undecided: %u up, %u down of %u edges", tally->up, tally->down,
			 voters);
	return out;
}
