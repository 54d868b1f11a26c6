/* SPDX-License-Identifier: Apache-2.0 */
/* vote.list: what all edges say, what they come to, and why. */
#include "accord_watch.h"
#include "api.h"

#include "user/core/snapshot.h"

#include <stdio.h>
#include <string.h>

static json_t *edge_json(const struct gs_votes *votes, uint32_t index, uint32_t differs)
{
	struct gs_votes_edge edge;
	char digest[20], geo[20], words[GS_DIFFERS_TEXT_MAX];
	json_t *json;

	gs_votes_edge(votes, index, &edge);
	snprintf(digest, sizeof(digest), "%016lx", (unsigned long)edge.digest);
	snprintf(geo, sizeof(geo), "%016lx", (unsigned long)edge.geo_digest);
	json = json_pack("{s:s, s:s, s:I, s:b, s:s, s:s, s:I, s:s, s:s}", "edge", edge.name, "site",
			 edge.site, "age_ms", (json_int_t)edge.age_ms, "fresh", edge.is_fresh,
			 "self", edge.self, "self_why", edge.self_why, "generation",
			 (json_int_t)edge.generation, "digest", digest, "geo_digest", geo);
	if (json)
		json_object_update_new(
			json, json_pack("{s:I, s:s, s:I, s:s}", "selection_seed",
					(json_int_t)edge.selection_seed, "version", edge.version,
					"revision", (json_int_t)edge.revision, "differs_in",
					gs_differs_words(differs, words, sizeof(words))));
	return json;
}

static json_t *ballots_json(const struct gs_votes *votes, const struct gs_votes_status *status)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < gs_votes_edge_count(votes); i++) {
		enum gs_vote vote = gs_votes_of(votes, i, status->service, status->region);
		struct gs_votes_edge edge;

		gs_votes_edge(votes, i, &edge);
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:I, s:b}", "edge", edge.name, "site",
					edge.site, "vote", gs_vote_name(vote), "age_ms",
					(json_int_t)edge.age_ms, "fresh", edge.is_fresh));
	}
	return list;
}

/* ballots: how many more there may be in the answer. */
static json_t *status_json(const struct gs_api *api, const struct gs_reconcile_state *state,
			   const struct gs_votes_status *status, uint32_t *ballots)
{
	uint32_t edges = gs_votes_edge_count(state->votes);
	const struct gs_region *region = gs_snapshot_region(state->snapshot, status->region);
	const struct gs_service *service = gs_snapshot_service(state->snapshot, status->service);
	uint64_t now_ms = gs_loop_now_ms(api->loop);
	char words[128];
	json_t *json;

	json = json_pack(
		"{s:s, s:s, s:s, s:s, s:s}", "region", region ? region->name : "?", "service",
		service ? service->name : "", "global", gs_global_name(status->quorum.state), "why",
		gs_votes_words(status, words, sizeof(words)), "own", gs_vote_name(status->own));
	if (json && status->quorum.state != GS_GLOBAL_NONE)
		json_object_set_new(
			json, "since_s",
			json_integer((json_int_t)(now_ms - status->quorum.since_ms) / 1000));
	if (json && *ballots >= edges) {
		*ballots -= edges;
		json_object_set_new(json, "votes", ballots_json(state->votes, status));
	}
	return json;
}

/* Regions; of their pools those that an edge has another vote for. */
static void add_region(json_t *list, const struct gs_api *api,
		       const struct gs_reconcile_state *state, const struct gs_region *region,
		       uint32_t *ballots)
{
	struct gs_votes_status status;

	gs_votes_get(state->votes, 0, region->id, &status);
	json_array_append_new(list, status_json(api, state, &status, ballots));
	for (uint32_t i = 0; i < state->snapshot->service_count; i++) {
		gs_id service = state->snapshot->services[i].id;

		if (!gs_votes_has_pool(state->votes, service, region->id))
			continue;
		gs_votes_get(state->votes, service, region->id, &status);
		json_array_append_new(list, status_json(api, state, &status, ballots));
	}
}

json_t *gs_api_votes(const struct gs_api *api, const char *region)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	json_t *edges = json_array(), *list = json_array();
	uint32_t ballots = GS_API_VOTES_BALLOTS;
	struct gs_accord_view view;

	gs_accord_view(state->votes, &view);
	for (uint32_t i = 0; i < gs_votes_edge_count(state->votes); i++)
		json_array_append_new(edges, edge_json(state->votes, i, view.differs[i]));
	for (uint32_t i = 0; state->snapshot && i < state->snapshot->region_count; i++)
		if (!region || strcmp(state->snapshot->regions[i].name, region) == 0)
			add_region(list, api, state, &state->snapshot->regions[i], &ballots);
	return json_pack("{s:i, s:b, s:o, s:o}", "down_permille",
			 (int)gs_votes_rule(state->votes)->down_permille, "database",
			 state->connected, "edges", edges, "votes", list);
}

json_t *gs_api_vote_list(const struct gs_api *api, const json_t *request)
{
	const struct gs_reconcile_state *state = gs_reconcile_look(api->reconcile);
	const json_t *given = json_object_get(request, "region");
	const char *region = json_string_value(given);

	if (!given)
		return gs_api_votes(api, NULL);
	if (!region || !state->snapshot || !gs_snapshot_region_named(state->snapshot, region))
		return gs_api_error("region: no '%.64s'", region ? region : "(no text)");
	return gs_api_votes(api, region);
}

bool gs_api_votes_word(const struct gs_reconcile_state *state, gs_id service, gs_id region,
		       bool is_alive, char *out, size_t room)
{
	struct gs_votes_status status;
	char words[128];

	if (!state->votes)
		return false;
	gs_votes_get(state->votes, 0, region, &status);
	if (status.quorum.state != GS_GLOBAL_DOWN)
		gs_votes_get(state->votes, service, region, &status);
	gs_votes_words(&status, words, sizeof(words));
	if (is_alive && status.quorum.state == GS_GLOBAL_DOWN)
		snprintf(out, room, "%s, though this edge reaches it", words);
	else if (!is_alive && status.quorum.state == GS_GLOBAL_DOWN)
		snprintf(out, room, "%s", words);
	else if (!is_alive && status.quorum.state == GS_GLOBAL_UP)
		snprintf(out, room, "this edge cannot reach it, others can: %s", words);
	else
		return false;
	return true;
}
