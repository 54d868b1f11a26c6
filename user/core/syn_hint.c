/* SPDX-License-Identifier: Apache-2.0 */
#include "syn_hint.h"

bool gs_syn_hint_step(struct gs_syn_hint *hint, uint64_t opened, uint64_t repeated, uint64_t now_ms)
{
	bool is_comparable = hint->is_known && opened >= hint->opened && repeated >= hint->repeated;
	uint64_t new_opened = opened - hint->opened, new_repeated = repeated - hint->repeated;

	hint->is_known = true;
	hint->opened = opened;
	hint->repeated = repeated;
	/* Those repeated now may have been opened before: none opened since is no reason to wait.
	 */
	if (!is_comparable || new_repeated < GS_SYN_HINT_LEAST ||
	    new_repeated < new_opened / 100 * GS_SYN_HINT_PERCENT +
				   new_opened % 100 * GS_SYN_HINT_PERCENT / 100)
		return false;
	if (hint->hint_ms && now_ms - hint->hint_ms < GS_SYN_HINT_REST_MS)
		return false;
	hint->hint_ms = now_ms;
	return true;
}
