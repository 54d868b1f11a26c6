/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_minutes.h"

#include "user/base/cleanup.h"
#include "user/base/log.h"
#include "user/core/histogram.h"
#include "user/core/random.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MINUTE_MS = 60000 };

/* A backend's minute so far. About 1 KB: some 16 MB if there are as many as there can be. */
struct minute {
	struct gs_probe_minute row; /* percentiles: when it is over */
	struct gs_histogram latencies;
};

struct gs_probe_minutes {
	struct gs_loop *loop;
	const struct gs_store *store;
	uint64_t random;
	struct gs_timer cut_timer;	    /* the end of the minute */
	struct gs_timer hand_timer;	    /* the rows' turn */
	int64_t number;			    /* of the minute that is being counted, since 1970 */
	struct minute *of[GS_MAX_BACKENDS]; /* NULL: not probed in this minute or the last one */
	struct gs_probe_minute *rows;	    /* of the last one, until they are handed over */
	uint32_t row_count;
};

/* ---- a minute's end -------------------------------------------------------------------------- */

static void hand_over(struct gs_probe_minutes *m)
{
	if (m->row_count > 0)
		m->store->ops->record_probes(m->store->self, m->rows, m->row_count);
	free(gs_take_ptr(m->rows));
	m->row_count = 0;
}

static void on_hand(struct gs_timer *timer)
{
	hand_over(timer->context);
}

static bool was_probed(const struct minute *minute)
{
	return minute && (minute->row.count > 0 || minute->row.local > 0);
}

static void fill_row(const struct minute *minute, int64_t unix_s, struct gs_probe_minute *row)
{
	*row = minute->row;
	row->unix_s = unix_s;
	row->p50_us = gs_histogram_percentile(&minute->latencies, 50);
	row->p90_us = gs_histogram_percentile(&minute->latencies, 90);
	row->p99_us = gs_histogram_percentile(&minute->latencies, 99);
	row->max_us = minute->latencies.max;
}

/* Rows of all that was counted; counting begins anew. Who was not probed is forgotten. */
static void cut(struct gs_probe_minutes *m)
{
	uint32_t count = 0;

	for (uint32_t id = 0; id < GS_MAX_BACKENDS; id++)
		count += was_probed(m->of[id]);
	m->rows = calloc(count + 1, sizeof(*m->rows));
	if (!m->rows)
		gs_log_limited(GS_LOG_WARNING, "probe_minute_lost", "why=%s", "out of memory");
	for (uint32_t id = 0; id < GS_MAX_BACKENDS; id++) {
		struct minute *minute = m->of[id];

		if (!was_probed(minute)) {
			free(gs_take_ptr(m->of[id]));
			continue;
		}
		if (m->rows)
			fill_row(minute, m->number * (MINUTE_MS / 1000), &m->rows[m->row_count++]);
		memset(minute, 0, sizeof(*minute));
	}
}

/* The wall clock decides where a minute ends. 0 or -ENOMEM. */
static int await_end(struct gs_probe_minutes *m)
{
	return gs_loop_timer_set(m->loop, &m->cut_timer,
				 MINUTE_MS - (uint32_t)(gs_unix_ms() % MINUTE_MS));
}

static void on_cut(struct gs_timer *timer)
{
	struct gs_probe_minutes *m = timer->context;
	int64_t number = gs_unix_ms() / MINUTE_MS;

	await_end(m); /* takes the place that has just become free */
	if (number == m->number)
		return; /* that clock is behind the loop's, by a little or because it jumped */
	hand_over(m);	/* nothing, unless it has jumped the other way */
	cut(m);
	m->number = number;
	if (gs_loop_timer_set(m->loop, &m->hand_timer,
			      (uint32_t)(gs_random(&m->random) % GS_PROBE_MINUTES_SPREAD_MS)))
		hand_over(m);
}

/* ---- results --------------------------------------------------------------------------------- */

static void name_row(const struct gs_snapshot *snapshot, const struct gs_backend *backend,
		     struct gs_probe_minute *row)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);
	const struct gs_region *region = gs_snapshot_region(snapshot, backend->region);

	snprintf(row->backend, sizeof(row->backend), "%s", backend->name);
	snprintf(row->service, sizeof(row->service), "%s", service ? service->name : "?");
	snprintf(row->region, sizeof(row->region), "%s", region ? region->name : "?");
}

/* NULL: not one of the snapshot's, or no memory. Names are those of the minute's first result. */
static struct minute *minute_of(struct gs_probe_minutes *m, const struct gs_snapshot *snapshot,
				gs_id id)
{
	const struct gs_backend *backend;

	if (id >= GS_MAX_BACKENDS)
		return NULL;
	if (was_probed(m->of[id]))
		return m->of[id];
	backend = gs_snapshot_backend(snapshot, id);
	if (!backend)
		return NULL;
	if (!m->of[id])
		m->of[id] = calloc(1, sizeof(struct minute));
	if (!m->of[id]) {
		gs_log_limited(GS_LOG_WARNING, "probe_not_counted", "backend=%s why=%s",
			       backend->name, "out of memory");
		return NULL;
	}
	name_row(snapshot, backend, &m->of[id]->row);
	return m->of[id];
}

void gs_probe_minutes_add(struct gs_probe_minutes *m, const struct gs_snapshot *snapshot,
			  const struct gs_monitor_result *result)
{
	struct minute *minute = minute_of(m, snapshot, result->backend);

	if (!minute)
		return;
	if (result->class == GS_PROBE_LOCAL) {
		minute->row.local++;
		return;
	}
	minute->row.count++;
	if (result->class == GS_PROBE_OK)
		gs_histogram_add(&minute->latencies, result->latency_us);
	else
		minute->row.failures++;
}

/* ---- life ------------------------------------------------------------------------------------ */

int gs_probe_minutes_new(struct gs_loop *loop, const struct gs_store *store, uint64_t seed,
			 struct gs_probe_minutes **ret_minutes)
{
	GS_AUTO_FREE struct gs_probe_minutes *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	m->loop = loop;
	m->store = store;
	m->random = seed;
	m->cut_timer = (struct gs_timer){.on_due = on_cut, .context = m};
	m->hand_timer = (struct gs_timer){.on_due = on_hand, .context = m};
	m->number = gs_unix_ms() / MINUTE_MS;
	ret = await_end(m);
	if (ret)
		return ret;
	*ret_minutes = gs_take_ptr(m);
	return 0;
}

void gs_probe_minutes_free(struct gs_probe_minutes *m)
{
	if (!m)
		return;
	gs_loop_timer_clear(m->loop, &m->cut_timer);
	gs_loop_timer_clear(m->loop, &m->hand_timer);
	for (uint32_t id = 0; id < GS_MAX_BACKENDS; id++)
		free(m->of[id]);
	free(m->rows);
	free(m);
}
