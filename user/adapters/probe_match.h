/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a text in a stream of bytes? Kept nowhere: Knuth, Morris and Pratt's table says how much of
 * the text the last bytes were. Pure.
 */
#pragma once

#include "user/core/types.h"

#include <stddef.h>

enum { GS_MATCH_MAX = sizeof(((struct gs_probe_spec *)0)->expect) };

struct gs_match {
	uint8_t text[GS_MATCH_MAX];
	uint8_t fallback[GS_MATCH_MAX]; /* [n]: of n matched bytes, what may still be a beginning */
	uint8_t length;
	uint8_t matched;
	bool at_start; /* only there */
};

enum gs_match_result { GS_MATCH_MORE, GS_MATCH_FOUND, GS_MATCH_NOT };

/* 0, or -EINVAL: spec->expect is no escaped text. No text at all is found at once. */
int gs_match_init(struct gs_match *match, const struct gs_probe_spec *spec);
/* The next bytes; after FOUND or NOT there is nothing more to say. */
enum gs_match_result gs_match_feed(struct gs_match *match, const uint8_t *bytes, size_t count);
