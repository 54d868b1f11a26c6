/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics_whole.h"

#include <stdio.h>
#include <stdlib.h>

char *metrics_whole(struct gs_metrics *metrics, size_t *ret_length)
{
	char *whole = NULL, *part;
	size_t length;
	FILE *file = open_memstream(&whole, ret_length);
	int ret;

	if (!file)
		abort();
	while ((ret = gs_metrics_next(metrics, &part, &length)) > 0) {
		fwrite(part, length, 1, file);
		free(part);
	}
	gs_metrics_free(metrics);
	if (ret < 0 || fclose(file) != 0)
		abort();
	return whole;
}

char *metrics_whole_of(const struct gs_api *api, size_t *ret_length)
{
	struct gs_metrics *metrics;

	if (gs_metrics_new(api, &metrics))
		abort();
	return metrics_whole(metrics, ret_length);
}
