/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_match.h"

#include "user/core/probe_spec.h"

#include <errno.h>
#include <string.h>

int gs_match_init(struct gs_match *match, const struct gs_probe_spec *spec)
{
	int length = gs_probe_unescape(spec->expect, match->text);
	uint8_t k = 0;

	if (length < 0)
		return -EINVAL;
	match->length = (uint8_t)length;
	match->matched = 0;
	match->at_start = strcmp(spec->expect_at, "start") == 0;
	match->fallback[0] = match->fallback[1] = 0;
	for (uint8_t n = 1; n < match->length; n++) {
		while (k > 0 && match->text[k] != match->text[n])
			k = match->fallback[k];
		k = (uint8_t)(k + (match->text[k] == match->text[n]));
		match->fallback[n + 1] = k;
	}
	return 0;
}

enum gs_match_result gs_match_feed(struct gs_match *match, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count && match->matched < match->length; i++) {
		if (match->at_start && bytes[i] != match->text[match->matched])
			return GS_MATCH_NOT;
		while (match->matched > 0 && bytes[i] != match->text[match->matched])
			match->matched = match->fallback[match->matched];
		if (bytes[i] == match->text[match->matched])
			match->matched++;
	}
	return match->matched == match->length ? GS_MATCH_FOUND : GS_MATCH_MORE;
}
