/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics_text.h"

#include "user/core/snapshot.h"

#include <string.h>

void gs_metrics_head(const struct gs_metrics_part *t, const char *name, const char *type,
		     const char *help)
{
	fprintf(t->file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void gs_metrics_gauge(const struct gs_metrics_part *t, const char *name, const char *help,
		      double value)
{
	gs_metrics_head(t, name, "gauge", help);
	fprintf(t->file, "%s %.15g\n", name, value);
}

void gs_metrics_label(FILE *file, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", file);
		else if (*value == '"' || *value == '\\')
			fprintf(file, "\\%c", *value);
		else
			fputc(*value, file);
	}
}

/* ---- samples --------------------------------------------------------------------------------- */

static void put(struct gs_metrics_row *sample, const char *text)
{
	size_t length = strlen(text);

	if (length > sizeof(sample->text) - sample->length)
		length = sizeof(sample->text) - sample->length;
	memcpy(sample->text + sample->length, text, length);
	sample->length += length;
}

static void put_number(struct gs_metrics_row *sample, uint64_t number)
{
	char digits[24], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	put(sample, at);
}

struct gs_metrics_row gs_metrics_row_begin(const char *metric, const char *label, const char *value)
{
	struct gs_metrics_row sample;

	sample.length = 0;
	put(&sample, metric);
	put(&sample, "{");
	put(&sample, label);
	put(&sample, "=\"");
	put(&sample, value);
	return sample;
}

void gs_metrics_row_label(struct gs_metrics_row *sample, const char *label, const char *value)
{
	put(sample, "\",");
	put(sample, label);
	put(sample, "=\"");
	put(sample, value);
}

void gs_metrics_row_end(const struct gs_metrics_part *t, struct gs_metrics_row *sample,
			uint64_t number)
{
	put(sample, "\"} ");
	put_number(sample, number);
	put(sample, "\n");
	fwrite_unlocked(sample->text, sample->length, 1, t->file);
}

void gs_metrics_sample(const struct gs_metrics_part *t, const char *metric, const char *label,
		       const char *value, uint64_t number)
{
	struct gs_metrics_row sample = gs_metrics_row_begin(metric, label, value);

	gs_metrics_row_end(t, &sample, number);
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *gs_metrics_service_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, id);

	return service ? service->name : NULL;
}

const char *gs_metrics_region_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_region *region = gs_snapshot_region(snapshot, id);

	return region ? region->name : NULL;
}

const char *gs_metrics_backend_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_backend *backend = gs_snapshot_backend(snapshot, id);

	return backend ? backend->name : NULL;
}
