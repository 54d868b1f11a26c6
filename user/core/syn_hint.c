/* SPDX-License-Identifier: Apache-2.0 */
#include "syn_hint.h"

bool gs_syn_hint_step(struct gs_syn_hint *hint, const struct gs_syn_counts *counts, uint64_t now_ms)
{
	const struct gs_syn_counts last = hint->last;
	bool is_comparable = hint->is_known && counts->opened >= last.opened &&
			     counts->repeated >= last.repeated && counts->resets >= last.resets;
	uint64_t opened = counts->opened - last.opened;
	uint64_t failed = counts->repeated - last.repeated + (counts->resets - last.resets);

	hint->is_known = true;
	hint->last = *counts;
	/* Those that failed now may have been opened before: none opened since is no reason to
	 * wait. */
	if (!is_comparable || failed < GS_SYN_HINT_LEAST ||
	    failed < opened / 100 * GS_SYN_HINT_PERCENT + opened % 100 * GS_SYN_HINT_PERCENT / 100)
		return false;
	if (hint->hint_ms && now_ms - hint->hint_ms < GS_SYN_HINT_REST_MS)
		return false;
	hint->hint_ms = now_ms;
	return true;
}
