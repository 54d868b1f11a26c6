/* SPDX-License-Identifier: Apache-2.0 */
#include "client_sample.h"

#include "cidr.h"
#include "random.h"

#include <stdlib.h>

static uint64_t number_of(uint64_t now_ms)
{
	return now_ms / GS_CLIENT_SAMPLE_WINDOW_MS;
}

/* "Algorithm R" (Vitter 1985): after n offers each is kept with the same probability. */
void gs_client_sample_add(struct gs_client_sample *sample, const struct gs_client_flow *flow,
			  uint64_t now_ms)
{
	uint64_t number = number_of(now_ms), place;
	struct gs_client_window *window = &sample->windows[number % GS_CLIENT_SAMPLE_WINDOWS];

	if (window->number != number) {
		window->number = number;
		window->flows = 0;
	}
	place = window->flows++;
	if (place >= GS_CLIENT_SAMPLE_KEPT)
		place = gs_random(&sample->random) % window->flows;
	if (place < GS_CLIENT_SAMPLE_KEPT)
		window->kept[place] = *flow;
}

static int compare(const void *left, const void *right)
{
	const struct gs_client_flow *a = &((const struct gs_client_count *)left)->of;
	const struct gs_client_flow *b = &((const struct gs_client_count *)right)->of;
	int order = gs_prefix_compare(&a->client, &b->client);

	return order ? order : (a->service > b->service) - (a->service < b->service);
}

/* Sorted ones: neighbours that are equal become one. */
static uint32_t merge(struct gs_client_count *counts, uint32_t count)
{
	uint32_t merged = 0;

	for (uint32_t i = 0; i < count; i++)
		if (merged > 0 && compare(&counts[merged - 1], &counts[i]) == 0)
			counts[merged - 1].flows += counts[i].flows;
		else
			counts[merged++] = counts[i];
	return merged;
}

uint32_t gs_client_sample_read(const struct gs_client_sample *sample, uint64_t now_ms,
			       struct gs_client_count *ret_counts)
{
	uint32_t count = 0;

	for (uint32_t w = 0; w < GS_CLIENT_SAMPLE_WINDOWS; w++) {
		const struct gs_client_window *window = &sample->windows[w];
		uint64_t kept = window->flows;

		if (window->number + GS_CLIENT_SAMPLE_WINDOWS <= number_of(now_ms))
			continue;
		if (kept > GS_CLIENT_SAMPLE_KEPT)
			kept = GS_CLIENT_SAMPLE_KEPT;
		for (uint64_t i = 0; i < kept; i++)
			ret_counts[count++] = (struct gs_client_count){
				window->kept[i], (double)window->flows / (double)kept};
	}
	if (count > 1)
		qsort(ret_counts, count, sizeof(*ret_counts), compare);
	return merge(ret_counts, count);
}
