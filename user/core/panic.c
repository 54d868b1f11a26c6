/* SPDX-License-Identifier: Apache-2.0 */
#include "panic.h"

#include <errno.h>
#include <string.h>

static const char *const mode_names[] = {
	[GS_PANIC_CALM] = "calm",
	[GS_PANIC_ON] = "panic",
	[GS_PANIC_ALL_DOWN] = "all_down",
};
static const char *const all_down_names[] = {
	[GS_ALL_DOWN_SERVES_ANY] = "serve_any",
	[GS_ALL_DOWN_SERVES_LAST_GOOD] = "last_good",
	[GS_ALL_DOWN_SERVES_FIXED] = "fixed",
	[GS_ALL_DOWN_FAILS_CLOSED] = "fail_closed",
};

_Static_assert(sizeof(mode_names) / sizeof(mode_names[0]) == GS_PANIC__COUNT, "names");
_Static_assert(sizeof(all_down_names) / sizeof(all_down_names[0]) == GS_ALL_DOWN__COUNT, "names");

const char *gs_panic_mode_name(enum gs_panic_mode mode)
{
	return mode < GS_PANIC__COUNT ? mode_names[mode] : "?";
}

const char *gs_all_down_name(enum gs_all_down kind)
{
	return kind < GS_ALL_DOWN__COUNT ? all_down_names[kind] : "?";
}

int gs_all_down_parse(const char *text, enum gs_all_down *ret_kind)
{
	for (int i = 0; i < GS_ALL_DOWN__COUNT; i++)
		if (strcmp(text, all_down_names[i]) == 0) {
			*ret_kind = (enum gs_all_down)i;
			return 0;
		}
	return -EINVAL;
}

void gs_panic_count(struct gs_panic_tally *tally, uint64_t weight, uint64_t healthy)
{
	uint64_t part;

	if (weight == 0)
		return;
	part = GS_PANIC_WHOLE_AT * healthy / weight;
	tally->weight += weight;
	tally->healthy += healthy;
	tally->norm += part < 100 ? (uint32_t)part : 100;
	tally->regions++;
	tally->healthy_regions += healthy > 0;
}

static bool is_below(const struct gs_panic_tally *tally, uint32_t percent)
{
	return tally->norm < 100 && tally->healthy * 100 < percent * tally->weight;
}

/* Nobody is healthy: of backends without a verdict the worst is not known yet. */
static enum gs_panic_mode without_healthy(const struct gs_panic_tally *tally)
{
	return tally->weight > 0 && !tally->has_unknown ? GS_PANIC_ALL_DOWN : GS_PANIC_CALM;
}

static enum gs_panic_mode next_mode(struct gs_panic *panic, uint8_t percent,
				    const struct gs_panic_tally *tally, uint64_t now_ms)
{
	uint32_t leave =
		percent + GS_PANIC_LEAVES_ABOVE < 100 ? percent + GS_PANIC_LEAVES_ABOVE : 100;
	bool was_fine = panic->is_fine;

	panic->is_fine = false;
	if (tally->healthy == 0)
		return without_healthy(tally);
	if (is_below(tally, percent))
		return GS_PANIC_ON;
	if (panic->mode != GS_PANIC_ON || percent == 0)
		return GS_PANIC_CALM;
	if (is_below(tally, leave))
		return GS_PANIC_ON;
	panic->is_fine = true;
	if (!was_fine)
		panic->fine_ms = now_ms;
	if (now_ms - panic->fine_ms < GS_PANIC_HOLD_MS)
		return GS_PANIC_ON;
	panic->is_fine = false;
	return GS_PANIC_CALM;
}

bool gs_panic_step(struct gs_panic *panic, uint8_t percent, const struct gs_panic_tally *tally,
		   uint64_t now_ms)
{
	enum gs_panic_mode was = panic->mode;

	panic->mode = next_mode(panic, percent, tally, now_ms);
	return panic->mode != was;
}

uint64_t gs_panic_due_ms(const struct gs_panic *panic)
{
	return panic->is_fine ? panic->fine_ms + GS_PANIC_HOLD_MS : UINT64_MAX;
}
