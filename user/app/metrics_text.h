/* SPDX-License-Identifier: Apache-2.0 */
/* How what Prometheus scrapes is written: shared by the files that know what to write. */
#pragma once

#include "rest.h"

#include <stdio.h>

/* Of all that is scraped, what one turn of the loop writes. */
struct gs_metrics_part {
	FILE *file;
	const struct gs_api *api;
	const struct gs_reconcile_state *state;
	const struct gs_counters *counters;
	uint32_t which; /* of the parts of one function */
};

void gs_metrics_head(const struct gs_metrics_part *t, const char *name, const char *type,
		     const char *help);
/* Its head, and its one sample. */
void gs_metrics_gauge(const struct gs_metrics_part *t, const char *name, const char *help,
		      double value);
/* A label's value, escaped: names are plain, paths may not be. */
void gs_metrics_label(FILE *file, const char *value);

/*
 * There may be tens of thousands of these: put together by hand, they cost a tenth of what printf
 * takes. Values are names of the configuration, which need no escapes.
 */
struct gs_metrics_row {
	char text[512];
	size_t length;
};

struct gs_metrics_row gs_metrics_row_begin(const char *metric, const char *label,
					   const char *value);
void gs_metrics_row_label(struct gs_metrics_row *sample, const char *label, const char *value);
void gs_metrics_row_end(const struct gs_metrics_part *t, struct gs_metrics_row *sample,
			uint64_t number);
/* metric{label="value"} number */
void gs_metrics_sample(const struct gs_metrics_part *t, const char *metric, const char *label,
		       const char *value, uint64_t number);

/* NULL: the snapshot has none of that id. */
const char *gs_metrics_service_name(const struct gs_snapshot *snapshot, gs_id id);
const char *gs_metrics_region_name(const struct gs_snapshot *snapshot, gs_id id);
const char *gs_metrics_backend_name(const struct gs_snapshot *snapshot, gs_id id);

/* metrics_clients.c: what clients have and want. The snapshot is there, and what they read. */
void gs_metrics_round_trips(const struct gs_metrics_part *t);
void gs_metrics_syns(const struct gs_metrics_part *t); /* which: 0 to 3 */
void gs_metrics_estimates(const struct gs_metrics_part *t);
void gs_metrics_judge(const struct gs_metrics_part *t);
void gs_metrics_demand(const struct gs_metrics_part *t);
void gs_metrics_capacity(const struct gs_metrics_part *t);
