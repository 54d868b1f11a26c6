// SPDX-License-Identifier: Apache-2.0
#include "override.h"

#include "asn.h"
#include "cidr.h"
#include "place.h"

#include <string.h>

_Static_assert((int)GS_OVERRIDE_TEXT_MAX >= (int)GS_PREFIX_TEXT_MAX &&
		       (int)GS_OVERRIDE_TEXT_MAX >= (int)GS_PLACE_TEXT_MAX,
	       "room for each");

enum gs_override_of gs_override_of(const struct gs_override *override)
{
	if (override->place.kind != GS_PLACE_EVERYBODY)
		return GS_OVERRIDE_OF_PLACE;
	return override->asn ? GS_OVERRIDE_OF_ASN : GS_OVERRIDE_OF_PREFIX;
}

const char *gs_override_key(const struct gs_override *override)
{
	static const char *const keys[] = {
		[GS_OVERRIDE_OF_PREFIX] = "prefix",
		[GS_OVERRIDE_OF_ASN] = "asn",
		[GS_OVERRIDE_OF_PLACE] = "place",
	};

	return keys[gs_override_of(override)];
}

const char *gs_override_format(const struct gs_override *override, char out[GS_OVERRIDE_TEXT_MAX])
{
	switch (gs_override_of(override)) {
	case GS_OVERRIDE_OF_PLACE:
		return gs_place_format(&override->place, out);
	case GS_OVERRIDE_OF_ASN:
		return gs_asn_format(override->asn, out);
	default:
		return gs_prefix_format(&override->prefix, out);
	}
}

int gs_override_parse(const char *text, struct gs_override *ret_override)
{
	struct gs_prefix prefix = {.length = 0};
	struct gs_place place = {.kind = GS_PLACE_EVERYBODY};
	uint32_t asn = 0;
	int ret = 0;

	if (gs_asn_parse(text, &asn) != 0 &&
	    (gs_place_parse(text, &place) != 0 || place.kind == GS_PLACE_EVERYBODY))
		ret = gs_prefix_parse(text, &prefix);
	if (ret)
		return ret;
	/* Padding, too: snapshots are compared by their bytes. */
	memset(ret_override, 0, sizeof(*ret_override));
	ret_override->prefix = prefix;
	ret_override->place = place;
	ret_override->asn = asn;
	return 0;
}
