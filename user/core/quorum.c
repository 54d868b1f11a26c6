/* SPDX-License-Identifier: Apache-2.0 */
#include "quorum.h"

#include <string.h>

struct domain {
	uint16_t up, down;
};

struct gs_tally gs_quorum_count(const struct gs_ballot *ballots, uint32_t count)
{
	struct domain domains[GS_QUORUM_DOMAINS_MAX];
	struct gs_tally tally = {0};

	memset(domains, 0, sizeof(domains));
	for (uint32_t i = 0; i < count; i++) {
		struct domain *domain = &domains[ballots[i].domain % GS_QUORUM_DOMAINS_MAX];
		bool is_up = ballots[i].vote == GS_VOTE_UP,
		     is_down = ballots[i].vote == GS_VOTE_DOWN;

		domain->up = (uint16_t)(domain->up + is_up);
		domain->down = (uint16_t)(domain->down + is_down);
		tally.up = (uint16_t)(tally.up + is_up);
		tally.down = (uint16_t)(tally.down + is_down);
		tally.unknown = (uint16_t)(tally.unknown + (!is_up && !is_down));
	}
	for (uint32_t i = 0; i < GS_QUORUM_DOMAINS_MAX; i++) {
		const struct domain *domain = &domains[i];

		tally.domains = (uint16_t)(tally.domains + (domain->up + domain->down > 0));
		tally.domains_up = (uint16_t)(tally.domains_up + (domain->up > domain->down));
		tally.domains_down = (uint16_t)(tally.domains_down + (domain->down > domain->up));
	}
	tally.is_quorate =
		tally.up + tally.down >= GS_QUORUM_VOTERS && tally.domains >= GS_QUORUM_DOMAINS;
	return tally;
}

/* NONE: neither has enough. A domain that is split is against either of them. */
static enum gs_global decide(const struct gs_quorum_rule *rule, const struct gs_tally *tally)
{
	uint32_t bar = (uint32_t)rule->down_permille * tally->domains;
	uint32_t not_up = (uint32_t)tally->domains - tally->domains_up;

	if (tally->domains_down == tally->domains || tally->domains_down * 1000u > bar)
		return GS_GLOBAL_DOWN;
	return not_up * 1000u < bar ? GS_GLOBAL_UP : GS_GLOBAL_NONE;
}

static bool enter(struct gs_quorum *quorum, enum gs_global state, uint64_t now_ms)
{
	if (quorum->state == state)
		return false;
	quorum->state = state;
	quorum->since_ms = now_ms;
	return true;
}

bool gs_quorum_step(struct gs_quorum *quorum, const struct gs_quorum_rule *rule,
		    const struct gs_tally *tally, uint64_t now_ms)
{
	enum gs_global decided;

	if (!tally->is_quorate) {
		if (now_ms < quorum->quorate_ms + GS_VOTE_FRESH_MS)
			return false;
		return enter(quorum, GS_GLOBAL_NONE, now_ms);
	}
	quorum->quorate_ms = now_ms;
	decided = decide(rule, tally);
	return decided != GS_GLOBAL_NONE && enter(quorum, decided, now_ms);
}

const char *gs_vote_name(enum gs_vote vote)
{
	static const char *const names[GS_VOTE__COUNT] = {"unknown", "up", "down"};

	return (unsigned int)vote < GS_VOTE__COUNT ? names[vote] : "?";
}

const char *gs_global_name(enum gs_global state)
{
	static const char *const names[GS_GLOBAL__COUNT] = {"none", "up", "down"};

	return (unsigned int)state < GS_GLOBAL__COUNT ? names[state] : "?";
}
