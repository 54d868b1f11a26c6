/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean ...?": the word of a list that a mistyped one is nearest to. */
#pragma once

#include <stddef.h>

/* Of words[0 .. count), the one within three edits (Levenshtein 1966) of `word`; else NULL. */
const char *gs_suggest(const char *word, const char *const words[], size_t count);
