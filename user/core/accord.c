/* SPDX-License-Identifier: Apache-2.0 */
#include "accord.h"

#include <stdio.h>
#include <string.h>

static bool are_peers(const struct gs_accord_edge *a, const struct gs_accord_edge *b)
{
	return a->is_compared && b->is_compared && a->revision == b->revision;
}

/* How many of its revision have its digest, itself included. */
static uint32_t count_alike(const struct gs_accord_edge *edges, uint32_t count,
			    const struct gs_accord_edge *edge)
{
	uint32_t alike = 0;

	for (uint32_t i = 0; i < count; i++)
		alike += are_peers(&edges[i], edge) && edges[i].digest == edge->digest;
	return alike;
}

/* Whom this one is compared with. NULL: it is itself of the most. */
static const struct gs_accord_edge *find_right(const struct gs_accord_edge *edges, uint32_t count,
					       const struct gs_accord_edge *edge)
{
	const struct gs_accord_edge *right = NULL;

	for (uint32_t i = 0; i < count; i++)
		if (are_peers(&edges[i], edge) && edges[i].digest != edge->digest &&
		    edges[i].alike_ >= edge->alike_ && (!right || edges[i].alike_ > right->alike_))
			right = &edges[i];
	return right;
}

static uint32_t compare(const struct gs_accord_edge *edge, const struct gs_accord_edge *right)
{
	uint32_t differs = 0;

	if (edge->geo_digest != right->geo_digest)
		differs |= GS_DIFFERS_GEO;
	if (edge->selection_seed != right->selection_seed)
		differs |= GS_DIFFERS_SEED;
	if (strcmp(edge->version, right->version) != 0)
		differs |= GS_DIFFERS_PROGRAM;
	return differs ? differs : GS_DIFFERS_PLANS;
}

uint32_t gs_accord_judge(struct gs_accord_edge *edges, uint32_t count)
{
	uint64_t newest = 0;
	uint32_t differing = 0;

	for (uint32_t i = 0; i < count; i++)
		if (edges[i].is_compared && edges[i].revision > newest)
			newest = edges[i].revision;
	for (uint32_t i = 0; i < count; i++)
		edges[i].alike_ = count_alike(edges, count, &edges[i]);
	for (uint32_t i = 0; i < count; i++) {
		struct gs_accord_edge *edge = &edges[i];
		const struct gs_accord_edge *right = NULL;

		edge->differs = 0;
		if (!edge->is_compared)
			continue;
		if (edge->revision < newest)
			edge->differs = GS_DIFFERS_REVISION;
		else
			right = find_right(edges, count, edge);
		if (right)
			edge->differs = compare(edge, right);
		differing += edge->differs != 0;
	}
	return differing;
}

const char *gs_differs_words(uint32_t differs, char *out, size_t room)
{
	static const struct {
		uint32_t bit;
		const char *word;
	} words[] = {
		{GS_DIFFERS_REVISION, "configuration revision"},
		{GS_DIFFERS_GEO, "GeoIP database"},
		{GS_DIFFERS_SEED, "selection seed"},
		{GS_DIFFERS_PROGRAM, "program"},
		{GS_DIFFERS_PLANS, "plans"},
	};
	size_t length = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && length < room; i++)
		if (differs & words[i].bit)
			length += (size_t)snprintf(out + length, room - length, "%s%s",
						   length ? ", " : "", words[i].word);
	return out;
}
