/* SPDX-License-Identifier: Apache-2.0 */
#include "self.h"

#include <stdio.h>

/* Of the regions that a moment ago were well more than half fail now. One alone is no sign. */
static bool fails_at_once(const struct gs_self_facts *facts)
{
	return facts->failing >= 2 && facts->failing * 2 > facts->steady;
}

static bool is_failing(struct gs_self *self, const struct gs_self_facts *facts, uint64_t now_ms)
{
	if (fails_at_once(facts)) {
		if (self->failing_ms == 0 || facts->failing > self->failing) {
			self->failing = facts->failing;
			self->steady = facts->steady;
		}
		if (self->failing_ms == 0)
			self->failing_ms = now_ms ? now_ms : 1;
		self->until_ms = now_ms + GS_SELF_LATCH_MS;
		return true;
	}
	if (self->failing_ms == 0)
		return false;
	if (now_ms < self->until_ms || (now_ms < self->failing_ms + GS_SELF_FAILING_MS_MAX &&
					(facts->regions - facts->alive) * 2 > facts->regions))
		return true;
	self->failing_ms = 0;
	return false;
}

bool gs_self_step(struct gs_self *self, const struct gs_self_facts *facts, uint64_t now_ms)
{
	bool failing = is_failing(self, facts, now_ms);
	enum gs_self_state state = GS_SELF_WELL;

	if (facts->has_no_carrier)
		state = GS_SELF_NO_CARRIER;
	else if (facts->is_late)
		state = GS_SELF_LATE;
	else if (facts->anchors > 0 && facts->anchors_silent == facts->anchors)
		state = GS_SELF_ANCHORS;
	else if (facts->regions >= 2 && facts->alive == 0)
		state = GS_SELF_SILENT;
	else if (failing)
		state = GS_SELF_FAILING;
	if (state == self->state)
		return false;
	self->state = state;
	self->since_ms = now_ms;
	return true;
}

const char *gs_self_name(enum gs_self_state state)
{
	static const char *const names[GS_SELF__COUNT] = {
		[GS_SELF_WELL] = "well",
		[GS_SELF_LATE] = "late",
		[GS_SELF_NO_CARRIER] = "no_carrier",
		[GS_SELF_ANCHORS] = "anchors_silent",
		[GS_SELF_SILENT] = "silent",
		[GS_SELF_FAILING] = "failing",
	};

	return (unsigned int)state < GS_SELF__COUNT ? names[state] : "?";
}

const char *gs_self_text(const struct gs_self *self, char *out, size_t room)
{
	switch (self->state) {
	case GS_SELF_LATE:
		snprintf(out, room, "its loop is late");
		break;
	case GS_SELF_NO_CARRIER:
		snprintf(out, room, "no link with the program is up");
		break;
	case GS_SELF_ANCHORS:
		snprintf(out, room, "no anchor answers");
		break;
	case GS_SELF_SILENT:
		snprintf(out, room, "no region answers");
		break;
	case GS_SELF_FAILING:
		snprintf(out, room, "%u of %u regions began to fail at once", self->failing,
			 self->steady);
		break;
	default:
		snprintf(out, room, "%s", "");
		break;
	}
	return out;
}
