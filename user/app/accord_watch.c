/* SPDX-License-Identifier: Apache-2.0 */
#include "accord_watch.h"

#include "user/base/log.h"

void gs_accord_view(const struct gs_votes *votes, struct gs_accord_view *ret_view)
{
	struct gs_accord_edge edges[GS_VOTERS_MAX];
	uint32_t count = gs_votes_edge_count(votes);

	*ret_view = (struct gs_accord_view){.compared = 0};
	for (uint32_t i = 0; i < count; i++) {
		struct gs_votes_edge edge;

		gs_votes_edge(votes, i, &edge);
		edges[i] = (struct gs_accord_edge){.revision = edge.revision,
						   .digest = edge.digest,
						   .geo_digest = edge.geo_digest,
						   .selection_seed = edge.selection_seed,
						   .version = edge.version,
						   .is_compared =
							   edge.is_fresh && edge.generation != 0};
		ret_view->compared += edges[i].is_compared;
	}
	ret_view->differing = gs_accord_judge(edges, count);
	for (uint32_t i = 0; i < count; i++)
		ret_view->differs[i] = edges[i].differs;
}

static void tell(const struct gs_accord_watch *watch, const struct gs_accord_view *view)
{
	char words[GS_DIFFERS_TEXT_MAX];

	gs_differs_words(watch->differs ? watch->differs : watch->told, words, sizeof(words));
	if (watch->differs)
		gs_log(GS_LOG_WARNING, "edge_differs", "in=%s edges=%u differing=%u effect=%s",
		       words, view->compared, view->differing,
		       "clients may be sent elsewhere than by other edges");
	else
		gs_log(GS_LOG_INFO, "edge_agrees", "again_in=%s edges=%u", words, view->compared);
}

void gs_accord_watch_look(struct gs_accord_watch *watch, const struct gs_votes *votes,
			  uint64_t now_ms)
{
	struct gs_accord_view view;

	gs_accord_view(votes, &view);
	if (view.differs[0] != watch->differs || watch->since_ms == 0) {
		watch->differs = view.differs[0];
		watch->since_ms = now_ms;
	}
	if (watch->differs == watch->told || now_ms < watch->since_ms + GS_ACCORD_PATIENCE_MS)
		return;
	tell(watch, &view);
	watch->told = watch->differs;
}
