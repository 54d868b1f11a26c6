/* SPDX-License-Identifier: Apache-2.0 */
/* Whom an override is for: the clients of a prefix, of an autonomous system, or of a place. Pure.
 */
#pragma once

#include "types.h"

enum { GS_OVERRIDE_TEXT_MAX = 64 };

/* In the order in which they win. */
enum gs_override_of {
	GS_OVERRIDE_OF_PREFIX,
	GS_OVERRIDE_OF_ASN,
	GS_OVERRIDE_OF_PLACE,
	GS_OVERRIDE_OF__COUNT
};

enum gs_override_of gs_override_of(const struct gs_override *override);
/* "prefix", "asn", "place": how documents call it. */
const char *gs_override_key(const struct gs_override *override);
/* "192.0.2.0/24", "AS64500", "country:DE"; writes to out and returns it. */
const char *gs_override_format(const struct gs_override *override, char out[GS_OVERRIDE_TEXT_MAX]);
/*
 * The same the other way; codes in capitals, "as64500" is as good. 0, *ret_override of these
 * clients and else all zero; what gs_prefix_parse has to say of what is nothing else.
 */
int gs_override_parse(const char *text, struct gs_override *ret_override);
