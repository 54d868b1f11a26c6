/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>

enum {
	BLOCK_BYTES = 1 << 20,
	MAPPED_BYTES = 4 << 20, /* from here on a block is mapped, not of the heap */
	PAGE_BYTES = 4096,
	BLOCKS_MOST = 256,
};

static void touch(volatile char *block)
{
	for (size_t i = 0; i < BLOCK_BYTES; i += PAGE_BYTES)
		block[i] = 0;
}

void gs_heap_warm(size_t bytes)
{
	size_t count = 0, most = bytes / BLOCK_BYTES;
	char *blocks[BLOCKS_MOST];

	mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	while (count < most && count < BLOCKS_MOST) {
		blocks[count] = malloc(BLOCK_BYTES);
		if (!blocks[count])
			break;
		touch(blocks[count++]);
	}
	while (count > 0)
		free(blocks[--count]);
}
