/* SPDX-License-Identifier: Apache-2.0 */
/* What Prometheus scrapes. Never a client's address: labels are the configuration's names. */
#include "ready.h"
#include "rest.h"

#include "user/base/cleanup.h"
#include "user/core/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct text {
	FILE *file;
	const struct gs_api *api;
	const struct gs_reconcile_state *state;
	struct gs_counters counters;
};

static void head(const struct text *t, const char *name, const char *type, const char *help)
{
	fprintf(t->file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(const struct text *t, const char *name, const char *help, double value)
{
	head(t, name, "gauge", help);
	fprintf(t->file, "%s %.15g\n", name, value);
}

/* A label's value, escaped: names are plain, paths may not be. */
static void print_label(FILE *file, const char *value)
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

/* ---- the daemon ------------------------------------------------------------------------------ */

static void print_daemon(const struct text *t)
{
	const struct gs_reconcile_state *state = t->state;
	uint64_t now_ms = gs_loop_now_ms(t->api->loop);
	struct gs_ready ready;

	head(t, "geostream_build_info", "gauge", "The running program.");
	fputs("geostream_build_info{version=\"" GS_VERSION "\",edge=\"", t->file);
	print_label(t->file, t->api->config->edge);
	fputs("\"} 1\n", t->file);
	gauge(t, "geostream_uptime_seconds", "How long the daemon has been running.",
	      (double)(now_ms - t->api->started_ms) / 1000);
	gauge(t, "geostream_loop_lag_seconds",
	      "Worst delay of the loop's timers in this minute and the one before.",
	      gs_monitor_worst_lag_ms(state->monitor) / 1000.0);
	gs_ready_judge(t->api, NULL, &ready);
	gauge(t, "geostream_edge_ready", "1 while routers may send clients to this edge.",
	      ready.count == 0);
	if (t->api->reach)
		gauge(t, "geostream_edge_drained", "1 while an operator has the edge drained.",
		      gs_reach_state(t->api->reach)->drain.is_drained);
	gauge(t, "geostream_database_connected", "1 while PostgreSQL is connected.",
	      state->connected);
	gauge(t, "geostream_database_state_seconds", "How long it has been so.",
	      (double)(now_ms - state->connection_since_ms) / 1000);
	gauge(t, "geostream_revision", "Revision of the desired state that is followed.",
	      state->snapshot ? (double)state->snapshot->revision : 0);
	gauge(t, "geostream_generation", "Number of the generation in force; 0: none.",
	      (double)state->info.generation);
	gauge(t, "geostream_generation_age_seconds", "How old the generation in force is.",
	      state->info.generation ? (double)((int64_t)time(NULL) - state->info.built_unix_s)
				     : 0);
	gauge(t, "geostream_generation_working", "1 while a build or a load goes on.",
	      state->working);
	gauge(t, "geostream_from_last_good", "1 if the snapshot is the last good file's.",
	      state->from_last_good);
	gauge(t, "geostream_geoip_age_seconds", "How old the GeoIP database in force is; 0: none.",
	      state->geo ? (double)(time(NULL) - (time_t)state->geo->build_unix_s) : 0);
}

static void print_http(const struct text *t)
{
	const struct gs_http_counts *http = t->api->http;

	if (!http)
		return;
	gauge(t, "geostream_http_connections", "Open connections to the REST interface.",
	      http->connections);
	head(t, "geostream_http_responses_total", "counter",
	     "Answers of the REST interface by class of status.");
	for (uint32_t class = 2; class < ARRAY_SIZE(http->responses); class ++)
		if (class != 3)
			fprintf(t->file, "geostream_http_responses_total{code=\"%uxx\"} %lu\n",
				class, (unsigned long)http->responses[class]);
}

/* ---- traffic --------------------------------------------------------------------------------- */

static void print_reasons(const struct text *t)
{
	head(t, "geostream_packets_total", "counter",
	     "Packets by the reason for what was done with them; every packet counts one.");
	for (uint32_t i = 0; i < t->counters.reason_count; i++) {
		const struct gs_counter *counter = &t->counters.reasons[i];

		fprintf(t->file, "geostream_packets_total{verdict=\"%.*s\",reason=\"%s\"} %lu\n",
			(int)strcspn(counter->name, "_"), counter->name, counter->name,
			(unsigned long)counter->packets);
	}
}

/* Of one kind of object; name(): NULL leaves it out. */
static void print_traffic(const struct text *t, const char *kind, const struct gs_counter *counters,
			  uint32_t count,
			  const char *(*name)(const struct gs_snapshot *snapshot, gs_id id))
{
	static const char *const units[] = {"packets", "bytes"};

	for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
		char metric[64], help[96];

		snprintf(metric, sizeof(metric), "geostream_%s_%s_total", kind, units[u]);
		snprintf(help, sizeof(help), "%s by %s.",
			 u == 0 ? "Packets, as received," : "Bytes of those packets,", kind);
		head(t, metric, "counter", help);
		for (uint32_t i = 0; t->state->snapshot && i < count; i++) {
			const char *label = name(t->state->snapshot, counters[i].id);

			if (label)
				fprintf(t->file, "%s{%s=\"%s\"} %lu\n", metric, kind, label,
					(unsigned long)(u == 0 ? counters[i].packets
							       : counters[i].bytes));
		}
	}
}

static const char *service_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, id);

	return service ? service->name : NULL;
}

static const char *region_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_region *region = gs_snapshot_region(snapshot, id);

	return region ? region->name : NULL;
}

static const char *backend_name(const struct gs_snapshot *snapshot, gs_id id)
{
	const struct gs_backend *backend = gs_snapshot_backend(snapshot, id);

	return backend ? backend->name : NULL;
}

/* ---- states ---------------------------------------------------------------------------------- */

/* As gs_usable_name has them: 0 down, 1 known flows only, 2 trials, 3 up. */
static void print_usable(const struct text *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;

	head(t, "geostream_region_usable", "gauge",
	     "What a region takes: 0 nothing, 1 known flows, 3 everything.");
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		fprintf(t->file, "geostream_region_usable{region=\"%s\"} %u\n",
			snapshot->regions[i].name,
			t->state->view->regions[snapshot->regions[i].id].state);
	head(t, "geostream_backend_usable", "gauge",
	     "What a backend takes: 0 nothing, 1 known flows, 3 everything.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		fprintf(t->file, "geostream_backend_usable{backend=\"%s\"} %u\n",
			snapshot->backends[i].name,
			t->state->view->backends[snapshot->backends[i].id].state);
}

static void print_health(const struct text *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	struct gs_monitor_status status;

	head(t, "geostream_backend_up", "gauge", "1 if its probes say that it is up.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status))
			fprintf(t->file, "geostream_backend_up{backend=\"%s\"} %d\n",
				snapshot->backends[i].name,
				status.state == GS_HEALTH_UP || status.state == GS_HEALTH_SUSPECT);
	head(t, "geostream_probe_latency_seconds", "gauge", "Of the last probe that was answered.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status) &&
		    status.latency_us > 0)
			fprintf(t->file, "geostream_probe_latency_seconds{backend=\"%s\"} %.6f\n",
				snapshot->backends[i].name, status.latency_us / 1e6);
	head(t, "geostream_probes_total", "counter", "Probes that counted.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status))
			fprintf(t->file, "geostream_probes_total{backend=\"%s\"} %lu\n",
				snapshot->backends[i].name, (unsigned long)status.results);
	head(t, "geostream_probe_failures_total", "counter", "Probes that counted, and failed.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status))
			fprintf(t->file, "geostream_probe_failures_total{backend=\"%s\"} %lu\n",
				snapshot->backends[i].name, (unsigned long)status.failed_results);
	head(t, "geostream_probe_local_failures_total", "counter",
	     "Probes that failed for a cause of this edge's own, and did not count.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (gs_monitor_get(t->state->monitor, snapshot->backends[i].id, &status))
			fprintf(t->file,
				"geostream_probe_local_failures_total{backend=\"%s\"} %lu\n",
				snapshot->backends[i].name, (unsigned long)status.local_failures);
}

static void print_breakers(const struct text *t)
{
	struct gs_breakers_status status;

	head(t, "geostream_breaker_state", "gauge",
	     "1 for the state a pool's circuit breaker is in.");
	for (uint32_t i = 0; i < gs_breakers_count(t->state->breakers); i++) {
		gs_breakers_get(t->state->breakers, i, &status);
		for (int state = 0; state < GS_BREAKER__COUNT; state++)
			fprintf(t->file,
				"geostream_breaker_state{service=\"%s\",region=\"%s\",state=\"%s\"} "
				"%d\n",
				service_name(t->state->snapshot, status.service),
				region_name(t->state->snapshot, status.region),
				gs_breaker_state_name((enum gs_breaker_state)state),
				status.state == (enum gs_breaker_state)state);
	}
	head(t, "geostream_breaker_opened_total", "counter", "How often it has opened.");
	for (uint32_t i = 0; i < gs_breakers_count(t->state->breakers); i++) {
		gs_breakers_get(t->state->breakers, i, &status);
		fprintf(t->file,
			"geostream_breaker_opened_total{service=\"%s\",region=\"%s\"} %u\n",
			service_name(t->state->snapshot, status.service),
			region_name(t->state->snapshot, status.region), status.opened);
	}
	head(t, "geostream_breaker_forced", "gauge", "1 while an operator holds it.");
	for (uint32_t i = 0; i < gs_breakers_count(t->state->breakers); i++) {
		gs_breakers_get(t->state->breakers, i, &status);
		fprintf(t->file, "geostream_breaker_forced{service=\"%s\",region=\"%s\"} %d\n",
			service_name(t->state->snapshot, status.service),
			region_name(t->state->snapshot, status.region), status.force != NULL);
	}
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static void print_quantiles(const struct text *t, const struct gs_round_trip *trip)
{
	const struct {
		const char *quantile;
		uint32_t us;
	} quantiles[] = {{"0.5", trip->p50_us}, {"0.9", trip->p90_us}, {"0.99", trip->p99_us}};
	const char *service = service_name(t->state->snapshot, trip->id);
	const char *region = region_name(t->state->snapshot, trip->region);

	for (size_t i = 0; service && region && i < ARRAY_SIZE(quantiles); i++)
		fprintf(t->file,
			"geostream_handshake_seconds{service=\"%s\",region=\"%s\",quantile=\"%s\"} "
			"%.6f\n",
			service, region, quantiles[i].quantile, quantiles[i].us / 1e6);
}

static void print_round_trips(const struct text *t)
{
	const struct gs_round_trips *trips = gs_handshakes_trips(t->api->handshakes);
	uint64_t now_ms = gs_loop_now_ms(t->api->loop);
	struct gs_round_trip trip;
	uint32_t at = 0;

	head(t, "geostream_handshake_seconds", "summary",
	     "From a client's SYN to its ACK, of sampled handshakes of the last five to ten "
	     "minutes.");
	while (gs_round_trips_next(trips, GS_ROUND_TRIPS_SERVICE, &at, now_ms, &trip))
		print_quantiles(t, &trip);
}

static void print_syns(const struct text *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	uint64_t measured = 0, lost = 0;

	head(t, "geostream_syns_total", "counter", "SYNs that opened a flow.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_syns syns =
			gs_handshakes_syns(t->api->handshakes, snapshot->backends[i].id);

		fprintf(t->file, "geostream_syns_total{backend=\"%s\"} %lu\n",
			snapshot->backends[i].name, (unsigned long)syns.opened);
		measured += syns.measured;
		lost += syns.lost;
	}
	head(t, "geostream_syns_repeated_total", "counter",
	     "SYNs of flows that no ACK had completed.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		fprintf(t->file, "geostream_syns_repeated_total{backend=\"%s\"} %lu\n",
			snapshot->backends[i].name,
			(unsigned long)gs_handshakes_syns(t->api->handshakes,
							  snapshot->backends[i].id)
				.repeated);
	head(t, "geostream_syns_reset_total", "counter",
	     "SYNs that a NAT backend answered with a RST.");
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		if (snapshot->backends[i].forward == GS_FORWARD_AS_NAT)
			fprintf(t->file, "geostream_syns_reset_total{backend=\"%s\"} %lu\n",
				snapshot->backends[i].name,
				(unsigned long)gs_handshakes_syns(t->api->handshakes,
								  snapshot->backends[i].id)
					.resets);
	head(t, "geostream_handshakes_measured_total", "counter",
	     "Sampled handshakes that were told to the daemon.");
	fprintf(t->file, "geostream_handshakes_measured_total %lu\n", (unsigned long)measured);
	head(t, "geostream_handshakes_lost_total", "counter",
	     "Sampled handshakes lost on the way to the daemon.");
	fprintf(t->file, "geostream_handshakes_lost_total %lu\n", (unsigned long)lost);
}

/* ---- demand ---------------------------------------------------------------------------------- */

/* Series are bounded by policies times regions, and by countries: not by locations, nor by both. */
static void print_demand(const struct text *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	char name[3];

	head(t, "geostream_new_flows_total", "counter",
	     "New flows by the policy and the region that its plans have first for their clients.");
	for (uint32_t p = 0; p < snapshot->policy_count; p++)
		for (uint32_t r = 0; r < snapshot->region_count; r++) {
			uint64_t flows = gs_demand_sum_region(
				t->api->demand, snapshot->policies[p].id, snapshot->regions[r].id);

			if (flows)
				fprintf(t->file,
					"geostream_new_flows_total{policy=\"%s\",region=\"%s\"} "
					"%lu\n",
					snapshot->policies[p].name, snapshot->regions[r].name,
					(unsigned long)flows);
		}
	head(t, "geostream_country_new_flows_total", "counter",
	     "New flows by the country of their clients; empty: unknown.");
	for (uint32_t country = 0; country < GS_DEMAND_COUNTRIES; country++) {
		uint64_t flows = gs_demand_sum_country(t->api->demand, country);

		if (flows)
			fprintf(t->file, "geostream_country_new_flows_total{country=\"%s\"} %lu\n",
				gs_demand_country_name(country, name), (unsigned long)flows);
	}
}

char *gs_metrics_text(const struct gs_api *api, size_t *ret_length)
{
	struct text t = {.api = api, .state = gs_reconcile_look(api->reconcile)};
	char *body = NULL;
	int err;

	t.file = open_memstream(&body, ret_length);
	if (!t.file)
		return NULL;
	err = api->dataplane->ops->count(api->dataplane->self, &t.counters);
	print_daemon(&t);
	gauge(&t, "geostream_counters_readable", "0 if the packet counters cannot be read.", !err);
	print_http(&t);
	print_reasons(&t);
	print_traffic(&t, "service", t.counters.services, t.counters.service_count, service_name);
	print_traffic(&t, "region", t.counters.regions, t.counters.region_count, region_name);
	print_traffic(&t, "backend", t.counters.backends, t.counters.backend_count, backend_name);
	if (t.state->snapshot && t.state->view) {
		print_usable(&t);
		print_health(&t);
		print_breakers(&t);
	}
	if (t.state->snapshot && api->handshakes) {
		print_round_trips(&t);
		print_syns(&t);
	}
	if (t.state->snapshot && api->demand)
		print_demand(&t);
	free(t.counters.reasons);
	free(t.counters.services);
	free(t.counters.regions);
	free(t.counters.backends);
	if (fclose(t.file) != 0) {
		free(body);
		return NULL;
	}
	return body;
}
