/* SPDX-License-Identifier: Apache-2.0 */
/* What Prometheus scrapes. Never a client's address: labels are the configuration's names. */
#include "accord_watch.h"
#include "metrics_text.h"
#include "ready.h"

#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the loop -------------------------------------------------------------------------------- */

static void print_loop(const struct gs_metrics_part *t)
{
	static const char name[] = "geostream_loop_callback_seconds";
	const struct gs_loop_calls *calls = gs_loop_calls(t->api->loop);
	uint64_t sum = 0;

	gs_metrics_head(t, name, "histogram",
			"How long callbacks kept the loop from everything else.");
	for (int b = 0; b < GS_LOOP_TOOK_BUCKETS; b++) {
		sum += calls->took[b];
		if (gs_loop_took_ms[b])
			fprintf(t->file, "%s_bucket{le=\"%g\"} %lu\n", name,
				gs_loop_took_ms[b] / 1000.0, (unsigned long)sum);
		else
			fprintf(t->file, "%s_bucket{le=\"+Inf\"} %lu\n", name, (unsigned long)sum);
	}
	fprintf(t->file, "%s_sum %.6f\n%s_count %lu\n", name, (double)calls->total_us / 1e6, name,
		(unsigned long)sum);
	gs_metrics_head(t, "geostream_loop_stalls_total", "counter",
			"Callbacks that took more than 20 ms.");
	fprintf(t->file, "geostream_loop_stalls_total %lu\n", (unsigned long)calls->stalls);
	gs_metrics_gauge(t, "geostream_loop_callback_max_seconds",
			 "The longest callback since the start.", calls->worst_us / 1e6);
	gs_metrics_gauge(t, "geostream_loop_callback_cpu_max_seconds",
			 "The most processor time of a callback since the start.",
			 calls->worst_cpu_us / 1e6);
}

/* ---- GeoIP databases ------------------------------------------------------------------------- */

static void print_change(const struct gs_metrics_part *t, const struct gs_geo_change *change)
{
	gs_metrics_head(t, "geostream_geoip_moved_ratio", "gauge",
			"What the GeoIP database that was compared last sends, or would have sent, "
			"to another region: of addresses, of sampled flows of the hour before.");
	fprintf(t->file,
		"geostream_geoip_moved_ratio{of=\"ipv4\"} %.6f\n"
		"geostream_geoip_moved_ratio{of=\"ipv6\"} %.6f\n"
		"geostream_geoip_moved_ratio{of=\"flows\"} %.6f\n",
		change->v4.moved, change->v6.moved, gs_geo_change_traffic(change));
}

static void print_loads(const struct gs_metrics_part *t)
{
	const struct gs_geo_counts *counts = &t->state->geo_counts;

	gs_metrics_gauge(t, "geostream_load_under_way",
			 "1 while a GeoIP or ASN database is on its way into force.",
			 t->state->load.is_under_way);
	gs_metrics_gauge(t, "geostream_load_ratio", "How far that is, about; 0: none is.",
			 t->state->load.is_under_way ? t->state->load.progress.percent / 100.0 : 0);
	gs_metrics_gauge(t, "geostream_geoip_refused",
			 "1 while the last GeoIP database stays out: it would move too much.",
			 t->state->geo_refused);
	gs_metrics_head(t, "geostream_geoip_loads_total", "counter",
			"GeoIP databases, by what became of them; rollbacks are in force.");
	fprintf(t->file,
		"geostream_geoip_loads_total{result=\"in_force\"} %lu\n"
		"geostream_geoip_loads_total{result=\"refused\"} %lu\n"
		"geostream_geoip_loads_total{result=\"failed\"} %lu\n"
		"geostream_geoip_loads_total{result=\"cancelled\"} %lu\n",
		(unsigned long)counts->in_force, (unsigned long)counts->refused,
		(unsigned long)counts->failed, (unsigned long)counts->cancelled);
	if (t->state->geo_change)
		print_change(t, t->state->geo_change);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void print_daemon(const struct gs_metrics_part *t)
{
	const struct gs_reconcile_state *state = t->state;
	uint64_t now_ms = gs_loop_now_ms(t->api->loop);
	char missing[GS_ERROR_MAX];
	struct gs_ready ready;

	gs_metrics_head(t, "geostream_build_info", "gauge", "The running program.");
	fputs("geostream_build_info{version=\"" GS_VERSION "\",edge=\"", t->file);
	gs_metrics_label(t->file, t->api->config->edge);
	fputs("\"} 1\n", t->file);
	gs_metrics_gauge(t, "geostream_uptime_seconds", "How long the daemon has been running.",
			 (double)(now_ms - t->api->started_ms) / 1000);
	print_loop(t);
	gs_metrics_gauge(t, "geostream_loop_lag_seconds",
			 "Worst delay of the loop's timers in this minute and the one before.",
			 gs_monitor_worst_lag_ms(state->monitor) / 1000.0);
	gs_ready_judge(t->api, NULL, &ready);
	gs_metrics_gauge(t, "geostream_edge_ready",
			 "1 while routers may send clients to this edge.", ready.count == 0);
	if (t->api->reach)
		gs_metrics_gauge(t, "geostream_edge_drained",
				 "1 while an operator has the edge drained.",
				 gs_reach_state(t->api->reach)->drain.is_drained);
	gs_metrics_gauge(t, "geostream_database_connected", "1 while PostgreSQL is connected.",
			 state->connected);
	gs_metrics_gauge(t, "geostream_database_pooled",
			 "1 while a pooler is in between: changes are looked for, not told.",
			 state->connected && state->pooled);
	gs_metrics_gauge(t, "geostream_database_state_seconds", "How long it has been so.",
			 (double)(now_ms - state->connection_since_ms) / 1000);
	gs_metrics_gauge(t, "geostream_revision", "Revision of the desired state that is followed.",
			 state->snapshot ? (double)state->snapshot->revision : 0);
	gs_metrics_gauge(t, "geostream_generation", "Number of the generation in force; 0: none.",
			 (double)state->info.generation);
	gs_metrics_gauge(
		t, "geostream_generation_age_seconds", "How old the generation in force is.",
		state->info.generation ? (double)((int64_t)time(NULL) - state->info.built_unix_s)
				       : 0);
	gs_metrics_gauge(t, "geostream_plans", "Different plans of the generation in force.",
			 state->tables ? gs_plan_set_count(state->tables->plans) : 0);
	gs_metrics_gauge(
		t, "geostream_plan_exact_choices",
		"First choices of each plan that stand as ranked; fewer than 16: there are "
		"too many plans. 0: none.",
		state->tables ? state->tables->exact_choices : 0);
	gs_metrics_gauge(t, "geostream_generation_working", "1 while a build or a load goes on.",
			 state->working);
	gs_metrics_gauge(t, "geostream_from_last_good",
			 "1 if the snapshot is the last good file's.", state->from_last_good);
	gs_metrics_gauge(t, "geostream_geoip_age_seconds",
			 "How old the GeoIP database in force is; 0: none.",
			 state->geo ? (double)(time(NULL) - (time_t)state->geo->build_unix_s) : 0);
	print_loads(t);
	gs_metrics_gauge(t, "geostream_asn_age_seconds",
			 "How old the ASN database in force is; 0: none.",
			 state->asn ? (double)(time(NULL) - (time_t)state->asn->build_unix_s) : 0);
	gs_metrics_gauge(t, "geostream_asn_missing",
			 "1 if there are overrides of autonomous systems and no ASN database.",
			 *gs_reconcile_asn_missing(state, missing) != 0);
}

static void print_http(const struct gs_metrics_part *t)
{
	const struct gs_http_counts *http = t->api->http;

	if (!http)
		return;
	gs_metrics_gauge(t, "geostream_http_connections", "Open connections to the REST interface.",
			 http->connections);
	gs_metrics_head(t, "geostream_http_responses_total", "counter",
			"Answers of the REST interface by class of status.");
	for (uint32_t class = 2; class < ARRAY_SIZE(http->responses); class ++)
		if (class != 3)
			fprintf(t->file, "geostream_http_responses_total{code=\"%uxx\"} %lu\n",
				class, (unsigned long)http->responses[class]);
}

/* ---- traffic --------------------------------------------------------------------------------- */

static void print_reasons(const struct gs_metrics_part *t)
{
	gs_metrics_head(
		t, "geostream_packets_total", "counter",
		"Packets by the reason for what was done with them; every packet counts one.");
	for (uint32_t i = 0; i < t->counters->reason_count; i++) {
		const struct gs_counter *counter = &t->counters->reasons[i];

		fprintf(t->file, "geostream_packets_total{verdict=\"%.*s\",reason=\"%s\"} %lu\n",
			(int)strcspn(counter->name, "_"), counter->name, counter->name,
			(unsigned long)counter->packets);
	}
}

/* which: 2 * kind + unit. Ids that the configuration has no more are left out. */
static void print_traffic(const struct gs_metrics_part *t)
{
	const struct {
		const char *kind;
		const struct gs_counter *counters;
		uint32_t count;
		const char *(*name)(const struct gs_snapshot *snapshot, gs_id id);
	} kinds[] = {
		{"service", t->counters->services, t->counters->service_count,
		 gs_metrics_service_name},
		{"region", t->counters->regions, t->counters->region_count, gs_metrics_region_name},
		{"backend", t->counters->backends, t->counters->backend_count,
		 gs_metrics_backend_name},
	};
	const struct gs_counter *counters = kinds[t->which / 2].counters;
	const char *kind = kinds[t->which / 2].kind;
	bool is_bytes = t->which % 2;
	char metric[64], help[96];

	snprintf(metric, sizeof(metric), "geostream_%s_%s_total", kind,
		 is_bytes ? "bytes" : "packets");
	snprintf(help, sizeof(help), "%s by %s.",
		 is_bytes ? "Bytes of those packets," : "Packets, as received,", kind);
	gs_metrics_head(t, metric, "counter", help);
	for (uint32_t i = 0; t->state->snapshot && i < kinds[t->which / 2].count; i++) {
		const char *label = kinds[t->which / 2].name(t->state->snapshot, counters[i].id);

		if (label)
			gs_metrics_sample(t, metric, kind, label,
					  is_bytes ? counters[i].bytes : counters[i].packets);
	}
}

/* ---- states ---------------------------------------------------------------------------------- */

/* As gs_usable_name has them: 0 down, 1 known flows only, 2 trials, 3 up. */
static void print_usable(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;

	gs_metrics_head(t, "geostream_region_usable", "gauge",
			"What a region takes: 0 nothing, 1 known flows, 3 everything.");
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		fprintf(t->file, "geostream_region_usable{region=\"%s\"} %u\n",
			snapshot->regions[i].name,
			t->state->view->regions[snapshot->regions[i].id].state);
	gs_metrics_head(t, "geostream_backend_usable", "gauge",
			"What a backend takes: 0 nothing, 1 known flows, 3 everything.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		gs_metrics_sample(t, "geostream_backend_usable", "backend",
				  snapshot->backends[i].name,
				  t->state->view->backends[snapshot->backends[i].id].state);
}

static uint64_t is_up(const struct gs_monitor_status *status)
{
	return status->state == GS_HEALTH_UP || status->state == GS_HEALTH_SUSPECT;
}

static uint64_t results(const struct gs_monitor_status *status)
{
	return status->results;
}

static uint64_t failed_results(const struct gs_monitor_status *status)
{
	return status->failed_results;
}

static uint64_t local_failures(const struct gs_monitor_status *status)
{
	return status->local_failures;
}

/* which: of the series, and the latency behind them. */
static void print_health(const struct gs_metrics_part *t)
{
	static const struct {
		const char *metric, *type, *help;
		uint64_t (*number)(const struct gs_monitor_status *status);
	} series[] = {
		{"geostream_backend_up", "gauge", "1 if its probes say that it is up.", is_up},
		{"geostream_probes_total", "counter", "Probes that counted.", results},
		{"geostream_probe_failures_total", "counter", "Probes that counted, and failed.",
		 failed_results},
		{"geostream_probe_local_failures_total", "counter",
		 "Probes that failed for a cause of this edge's own, and did not count.",
		 local_failures},
	};
	const struct gs_snapshot *snapshot = t->state->snapshot;
	struct gs_monitor_status status;

	if (t->which < ARRAY_SIZE(series)) {
		gs_metrics_head(t, series[t->which].metric, series[t->which].type,
				series[t->which].help);
		for (uint32_t i = 0; i < snapshot->backend_count; i++)
			if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status))
				gs_metrics_sample(t, series[t->which].metric, "backend",
						  snapshot->backends[i].name,
						  series[t->which].number(&status));
		return;
	}
	gs_metrics_head(t, "geostream_probe_latency_seconds", "gauge",
			"Of the last probe that was answered.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status) &&
		    status.latency_us > 0)
			fprintf(t->file, "geostream_probe_latency_seconds{backend=\"%s\"} %.6f\n",
				snapshot->backends[i].name, status.latency_us / 1e6);
}

static void print_probe_paths(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	struct gs_counter counters[GS_DETOUR_COUNTERS_MAX];
	uint32_t count = gs_reconcile_probe_packets(t->api->reconcile, counters);

	gs_metrics_head(t, "geostream_probe_tunnelled", "gauge",
			"1 if probes reach the backend as its clients' packets do, 0 if directly.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];

		if (gs_snapshot_service(snapshot, backend->service)->probe.kind != GS_PROBE_NONE)
			gs_metrics_sample(
				t, "geostream_probe_tunnelled", "backend", backend->name,
				!gs_reconcile_probe_direct_why(t->api->reconcile, backend));
	}
	gs_metrics_head(t, "geostream_probe_packets_total", "counter",
			"Packets of probes through tunnels, by what became of them.");
	for (uint32_t i = 0; i < count; i++)
		fprintf(t->file, "geostream_probe_packets_total{reason=\"%s\"} %lu\n",
			counters[i].name, (unsigned long)counters[i].packets);
}

static void print_bounds(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;

	gs_metrics_head(t, "geostream_failover_bound_seconds", "gauge",
			"How long a silent backend may get packets, by the service's probe times.");
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		if (snapshot->services[i].probe.kind != GS_PROBE_NONE)
			fprintf(t->file, "geostream_failover_bound_seconds{service=\"%s\"} %.3f\n",
				snapshot->services[i].name,
				gs_health_failover_bound_ms(&snapshot->services[i].probe) / 1e3);
}

static struct gs_metrics_row begin_pool(const struct gs_metrics_part *t, const char *metric,
					const struct gs_breakers_status *status)
{
	struct gs_metrics_row sample = gs_metrics_row_begin(
		metric, "service", gs_metrics_service_name(t->state->snapshot, status->service));

	gs_metrics_row_label(&sample, "region",
			     gs_metrics_region_name(t->state->snapshot, status->region));
	return sample;
}

static void print_breaker_states(const struct gs_metrics_part *t)
{
	struct gs_breakers_status status;

	gs_metrics_head(t, "geostream_breaker_state", "gauge",
			"1 for the state a pool's circuit breaker is in.");
	for (uint32_t i = 0; i < gs_breakers_count(t->state->breakers); i++) {
		gs_breakers_get(t->state->breakers, i, &status);
		for (enum gs_breaker_state state = 0; state < GS_BREAKER__COUNT; state++) {
			struct gs_metrics_row sample =
				begin_pool(t, "geostream_breaker_state", &status);

			gs_metrics_row_label(&sample, "state", gs_breaker_state_name(state));
			gs_metrics_row_end(t, &sample, status.state == state);
		}
	}
}

/* which: 0 or 1. */
static void print_breakers(const struct gs_metrics_part *t)
{
	const char *metric =
		t->which ? "geostream_breaker_forced" : "geostream_breaker_opened_total";
	struct gs_breakers_status status;

	gs_metrics_head(t, metric, t->which ? "gauge" : "counter",
			t->which ? "1 while an operator holds it." : "How often it has opened.");
	for (uint32_t i = 0; i < gs_breakers_count(t->state->breakers); i++) {
		struct gs_metrics_row sample;

		gs_breakers_get(t->state->breakers, i, &status);
		sample = begin_pool(t, metric, &status);
		gs_metrics_row_end(t, &sample, t->which ? status.force != NULL : status.opened);
	}
}

/* ---- other edges ----------------------------------------------------------------------------- */

/* Whether all edges decide alike. */
static void print_accord(const struct gs_metrics_part *t)
{
	static const struct {
		uint32_t bit;
		const char *label;
	} parts[] = {{GS_DIFFERS_REVISION, "revision"},
		     {GS_DIFFERS_GEO, "geoip"},
		     {GS_DIFFERS_SEED, "seed"},
		     {GS_DIFFERS_PROGRAM, "program"},
		     {GS_DIFFERS_PLANS, "plans"}};
	struct gs_accord_view view;

	gs_accord_view(t->state->votes, &view);
	gs_metrics_gauge(t, "geostream_edges_compared",
			 "Edges with fresh votes and a generation, this one included.",
			 view.compared);
	gs_metrics_gauge(t, "geostream_edges_differing",
			 "Of those, edges that decide otherwise than most.", view.differing);
	gs_metrics_head(t, "geostream_edge_differs", "gauge",
			"1 while this edge differs from most edges in that.");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		fprintf(t->file, "geostream_edge_differs{in=\"%s\"} %d\n", parts[i].label,
			(view.differs[0] & parts[i].bit) != 0);
}

static void print_anchors(const struct gs_metrics_part *t)
{
	uint32_t count, silent;

	gs_anchors_count(t->api->anchors, &count, &silent);
	gs_metrics_head(
		t, "geostream_anchor_up", "gauge",
		"0 while an anchor of this edge is silent; all of them: it trusts itself not.");
	for (uint32_t i = 0; i < count; i++) {
		struct gs_anchor_status anchor;

		gs_anchors_get(t->api->anchors, i, &anchor);
		fprintf(t->file, "geostream_anchor_up{anchor=\"%s\"} %d\n", anchor.name,
			!anchor.is_silent);
	}
}

static void print_votes(const struct gs_metrics_part *t)
{
	const struct gs_votes *votes = t->state->votes;
	const struct gs_snapshot *snapshot = t->state->snapshot;

	gs_metrics_gauge(t, "geostream_self_trusted",
			 "1 while this edge trusts what it sees; else its votes are unknown.",
			 gs_votes_self(votes)->state == GS_SELF_WELL);
	print_anchors(t);
	gs_metrics_gauge(t, "geostream_edges_live",
			 "Edges whose votes are fresh, this one included.", gs_votes_live(votes));
	gs_metrics_head(
		t, "geostream_region_global", "gauge",
		"What all edges hold of a region: 1 up, 0 down, -1 there is no common state.");
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		enum gs_global state = gs_votes_global(votes, 0, snapshot->regions[i].id);

		fprintf(t->file, "geostream_region_global{region=\"%s\"} %d\n",
			snapshot->regions[i].name,
			state == GS_GLOBAL_NONE ? -1 : state == GS_GLOBAL_UP);
	}
	gs_metrics_head(t, "geostream_region_votes", "gauge", "Edges that say so of a region.");
	for (uint32_t i = 0; i < snapshot->region_count; i++) {
		const char *name = snapshot->regions[i].name;
		struct gs_votes_status status;

		gs_votes_get(votes, 0, snapshot->regions[i].id, &status);
		fprintf(t->file,
			"geostream_region_votes{region=\"%s\",vote=\"up\"} %u\n"
			"geostream_region_votes{region=\"%s\",vote=\"down\"} %u\n"
			"geostream_region_votes{region=\"%s\",vote=\"unknown\"} %u\n",
			name, status.tally.up, name, status.tally.down, name, status.tally.unknown);
	}
}

/* ---- panic, overlays ------------------------------------------------------------------------- */

static void print_damped(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	uint32_t counts[GS_MAX_SERVICES] = {0};

	for (uint32_t i = 0; gs_dampings_held(t->state->dampings) && i < snapshot->backend_count;
	     i++)
		counts[snapshot->backends[i].service] +=
			gs_dampings_hold(t->state->dampings, snapshot->backends[i].id);
	gs_metrics_head(t, "geostream_damped", "gauge",
			"Backends that are held down because they flap.");
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		gs_metrics_sample(t, "geostream_damped", "service", snapshot->services[i].name,
				  counts[snapshot->services[i].id]);
}

static void print_admin(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	const struct gs_local_overlays *local = t->state->local;

	gs_metrics_head(t, "geostream_panic", "gauge",
			"Is health ignored: 0 no, 1 too little is healthy, 2 nothing is.");
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		fprintf(t->file, "geostream_panic{service=\"%s\"} %d\n", snapshot->services[i].name,
			gs_panics_get(t->state->panics, snapshot->services[i].id).mode);
	gs_metrics_head(t, "geostream_panics_total", "counter", "How often it has begun.");
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		fprintf(t->file, "geostream_panics_total{service=\"%s\"} %lu\n",
			snapshot->services[i].name,
			(unsigned long)gs_panics_get(t->state->panics, snapshot->services[i].id)
				.entered);
	gs_metrics_head(t, "geostream_overlays", "gauge",
			"What operators have laid over regions, pools and backends.");
	fprintf(t->file, "geostream_overlays{of=\"all\"} %u\ngeostream_overlays{of=\"edge\"} %u\n",
		snapshot->overlay_count, local ? local->entry_count : 0);
	gs_metrics_gauge(
		t, "geostream_database_clock_ahead_seconds",
		"The database's clock less this machine's; what expires does so by the former.",
		(double)t->state->clock_ahead_ms / 1000);
}

/* ---- all of it, in parts --------------------------------------------------------------------- */

enum { SNAPSHOT = 1, VIEW = 2, HANDSHAKES = 4, LATENCIES = 8, DEMAND = 16, CAPACITY = 32 };

/* At 2,000 backends, 100 services and 50 regions each takes a few milliseconds at most. */
static const struct {
	void (*print)(const struct gs_metrics_part *t);
	uint32_t which;
	uint32_t needs;
} PARTS[] = {
	{print_daemon, 0, 0},
	{print_http, 0, 0},
	{print_reasons, 0, 0},
	{print_traffic, 0, 0},
	{print_traffic, 1, 0},
	{print_traffic, 2, 0},
	{print_traffic, 3, 0},
	{print_traffic, 4, 0},
	{print_traffic, 5, 0},
	{print_usable, 0, SNAPSHOT | VIEW},
	{print_health, 0, SNAPSHOT | VIEW},
	{print_health, 1, SNAPSHOT | VIEW},
	{print_health, 2, SNAPSHOT | VIEW},
	{print_health, 3, SNAPSHOT | VIEW},
	{print_health, 4, SNAPSHOT | VIEW},
	{print_probe_paths, 0, SNAPSHOT | VIEW},
	{print_bounds, 0, SNAPSHOT | VIEW},
	{print_breaker_states, 0, SNAPSHOT | VIEW},
	{print_breakers, 0, SNAPSHOT | VIEW},
	{print_breakers, 1, SNAPSHOT | VIEW},
	{print_accord, 0, SNAPSHOT | VIEW},
	{print_votes, 0, SNAPSHOT | VIEW},
	{print_admin, 0, SNAPSHOT | VIEW},
	{print_damped, 0, SNAPSHOT | VIEW},
	{gs_metrics_round_trips, 0, SNAPSHOT | HANDSHAKES},
	{gs_metrics_syns, 0, SNAPSHOT | HANDSHAKES},
	{gs_metrics_syns, 1, SNAPSHOT | HANDSHAKES},
	{gs_metrics_syns, 2, SNAPSHOT | HANDSHAKES},
	{gs_metrics_syns, 3, SNAPSHOT | HANDSHAKES},
	{gs_metrics_estimates, 0, SNAPSHOT},
	{gs_metrics_judge, 0, LATENCIES},
	{gs_metrics_demand, 0, SNAPSHOT | DEMAND},
	{gs_metrics_capacity, 0, SNAPSHOT | CAPACITY},
};

struct gs_metrics {
	const struct gs_api *api;
	struct gs_counters counters; /* of the beginning */
	bool are_readable;
	uint32_t next; /* of PARTS */
};

int gs_metrics_new(const struct gs_api *api, struct gs_metrics **ret_metrics)
{
	struct gs_metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return -ENOMEM;
	metrics->api = api;
	metrics->are_readable =
		api->dataplane->ops->count(api->dataplane->self, &metrics->counters) == 0;
	*ret_metrics = metrics;
	return 0;
}

void gs_metrics_free(struct gs_metrics *metrics)
{
	if (!metrics)
		return;
	free(metrics->counters.reasons);
	free(metrics->counters.services);
	free(metrics->counters.regions);
	free(metrics->counters.backends);
	free(metrics);
}

/* Between two turns any of it may have come or gone. */
static uint32_t what_is_there(const struct gs_metrics *metrics,
			      const struct gs_reconcile_state *state)
{
	return (state->snapshot ? SNAPSHOT : 0) | (state->view ? VIEW : 0) |
	       (metrics->api->handshakes ? HANDSHAKES : 0) |
	       (metrics->api->latencies ? LATENCIES : 0) | (metrics->api->demand ? DEMAND : 0) |
	       (metrics->api->capacity ? CAPACITY : 0);
}

int gs_metrics_next(struct gs_metrics *metrics, char **ret_text, size_t *ret_length)
{
	struct gs_metrics_part part = {.api = metrics->api,
				       .state = gs_reconcile_look(metrics->api->reconcile),
				       .counters = &metrics->counters};
	uint32_t there = what_is_there(metrics, part.state), at;
	char *text = NULL;

	while (metrics->next < ARRAY_SIZE(PARTS) && PARTS[metrics->next].needs & ~there)
		metrics->next++;
	if (metrics->next == ARRAY_SIZE(PARTS))
		return 0;
	part.file = open_memstream(&text, ret_length);
	if (!part.file)
		return -ENOMEM;
	at = metrics->next++;
	part.which = PARTS[at].which;
	PARTS[at].print(&part);
	if (at == 0)
		gs_metrics_gauge(&part, "geostream_counters_readable",
				 "0 if the packet counters cannot be read.", metrics->are_readable);
	if (fclose(part.file) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret_text = text;
	return 1;
}
