/* SPDX-License-Identifier: Apache-2.0 */
/* What Prometheus scrapes, whole. */
#pragma once

#include "user/app/rest.h"

/* All parts; frees metrics. To free(), terminated; aborts if there is no memory. */
char *metrics_whole(struct gs_metrics *metrics, size_t *ret_length);
/* Begun and read at once. */
char *metrics_whole_of(const struct gs_api *api, size_t *ret_length);
