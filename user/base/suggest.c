// SPDX-License-Identifier: Apache-2.0
#include "suggest.h"

#include <string.h>

enum { WORD_MAX = 48, EDITS_MAX = 3 };

/* Levenshtein's distance, one row at a time; both at most WORD_MAX long. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[WORD_MAX + 1];
	size_t width = strlen(b);

	for (unsigned int j = 0; j <= width; j++)
		row[j] = j;
	for (unsigned int i = 1; a[i - 1]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= width; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[width];
}

const char *gs_suggest(const char *word, const char *const words[], size_t count)
{
	const char *nearest = NULL;
	unsigned int best = EDITS_MAX + 1;

	for (size_t i = 0; i < count && strlen(word) <= WORD_MAX; i++) {
		unsigned int distance;

		if (strlen(words[i]) > WORD_MAX)
			continue;
		distance = edit_distance(word, words[i]);
		/* Three edits of a three-letter word are another word. */
		if (distance < best && distance < strlen(words[i])) {
			best = distance;
			nearest = words[i];
		}
	}
	return nearest;
}
