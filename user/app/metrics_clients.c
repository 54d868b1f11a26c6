/* SPDX-License-Identifier: Apache-2.0 */
/* Of what Prometheus scrapes: what clients have, and want. */
#include "metrics_text.h"

#include "user/base/cleanup.h"

#include <string.h>

/* ---- handshakes ------------------------------------------------------------------------------ */

static void print_quantiles(const struct gs_metrics_part *t, const struct gs_round_trip *trip)
{
	const struct {
		const char *quantile;
		uint32_t us;
	} quantiles[] = {{"0.5", trip->p50_us}, {"0.9", trip->p90_us}, {"0.99", trip->p99_us}};
	const char *service = gs_metrics_service_name(t->state->snapshot, trip->id);
	const char *region = gs_metrics_region_name(t->state->snapshot, trip->region);

	for (size_t i = 0; service && region && i < ARRAY_SIZE(quantiles); i++)
		fprintf(t->file,
			"geostream_handshake_seconds{service=\"%s\",region=\"%s\",quantile=\"%s\"} "
			"%.6f\n",
			service, region, quantiles[i].quantile, quantiles[i].us / 1e6);
}

void gs_metrics_round_trips(const struct gs_metrics_part *t)
{
	const struct gs_round_trips *trips = gs_handshakes_trips(t->api->handshakes);
	uint64_t now_ms = gs_loop_now_ms(t->api->loop);
	struct gs_round_trip trip;
	uint32_t at = 0;

	gs_metrics_head(
		t, "geostream_handshake_seconds", "summary",
		"From a client's SYN to its ACK, of sampled handshakes of the last five to ten "
		"minutes.");
	while (gs_round_trips_next(trips, GS_ROUND_TRIPS_SERVICE, &at, now_ms, &trip))
		print_quantiles(t, &trip);
}

struct syns_series {
	const char *metric, *help;
	uint64_t (*number)(const struct gs_syns *syns);
	bool is_of_nat; /* of no other backends */
};

static uint64_t opened(const struct gs_syns *syns)
{
	return syns->opened;
}

static uint64_t repeated(const struct gs_syns *syns)
{
	return syns->repeated;
}

static uint64_t resets(const struct gs_syns *syns)
{
	return syns->resets;
}

static void print_samples_lost(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	uint64_t measured = 0, lost = 0;

	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_syns syns =
			gs_handshakes_syns(t->api->handshakes, snapshot->backends[i].id);

		measured += syns.measured;
		lost += syns.lost;
	}
	gs_metrics_head(t, "geostream_handshakes_measured_total", "counter",
			"Sampled handshakes that were told to the daemon.");
	fprintf(t->file, "geostream_handshakes_measured_total %lu\n", (unsigned long)measured);
	gs_metrics_head(t, "geostream_handshakes_lost_total", "counter",
			"Sampled handshakes lost on the way to the daemon.");
	fprintf(t->file, "geostream_handshakes_lost_total %lu\n", (unsigned long)lost);
}

void gs_metrics_syns(const struct gs_metrics_part *t)
{
	static const struct syns_series series[] = {
		{"geostream_syns_total", "SYNs that opened a flow.", opened, false},
		{"geostream_syns_repeated_total", "SYNs of flows that no ACK had completed.",
		 repeated, false},
		{"geostream_syns_reset_total", "SYNs that a NAT backend answered with a RST.",
		 resets, true},
	};
	const struct gs_snapshot *snapshot = t->state->snapshot;
	const struct syns_series *s = &series[t->which % ARRAY_SIZE(series)];

	if (t->which >= ARRAY_SIZE(series)) {
		print_samples_lost(t);
		return;
	}
	gs_metrics_head(t, s->metric, "counter", s->help);
	for (uint32_t i = 0; i < snapshot->backend_count; i++) {
		struct gs_syns syns =
			gs_handshakes_syns(t->api->handshakes, snapshot->backends[i].id);

		if (!s->is_of_nat || snapshot->backends[i].forward == GS_FORWARD_AS_NAT)
			gs_metrics_sample(t, s->metric, "backend", snapshot->backends[i].name,
					  s->number(&syns));
	}
}

/* ---- round trips that are ranked by ---------------------------------------------------------- */

void gs_metrics_estimates(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	uint32_t count[GS_LATENCY__LEVELS] = {0};
	int64_t newest_ms = 0;

	for (uint32_t i = 0; i < snapshot->latency_count; i++) {
		count[gs_latency_level_of(snapshot->latencies[i].place)] +=
			snapshot->latencies[i].us != GS_LATENCY_NONE;
		if (snapshot->latencies[i].at_unix_ms > newest_ms)
			newest_ms = snapshot->latencies[i].at_unix_ms;
	}
	gs_metrics_head(t, "geostream_latency_estimates", "gauge",
			"Published round trips that regions are ranked by, by what they are of.");
	for (int level = GS_LATENCY_PROBES; level < GS_LATENCY__LEVELS; level++)
		fprintf(t->file, "geostream_latency_estimates{source=\"%s\"} %u\n",
			gs_latency_source_name((enum gs_latency_level)level), count[level]);
	if (newest_ms)
		gs_metrics_gauge(t, "geostream_latency_newest_timestamp_seconds",
				 "When a published round trip last changed.",
				 (double)newest_ms / 1000);
}

void gs_metrics_judge(const struct gs_metrics_part *t)
{
	struct gs_latencies_status status;

	gs_latencies_look(t->api->latencies, &status);
	gs_metrics_gauge(t, "geostream_latency_judge",
			 "1 while this edge judges what all measured.", status.is_judge);
	gs_metrics_gauge(t, "geostream_latency_probed_regions",
			 "Regions this edge's probes told of last; 0: it has no coordinates.",
			 status.probed);
	gs_metrics_head(t, "geostream_latency_told_total", "counter", "Rows of round trips told.");
	fprintf(t->file, "geostream_latency_told_total %lu\n", (unsigned long)status.told);
	gs_metrics_head(t, "geostream_latency_revisions_total", "counter",
			"Revisions this edge published, and those that came to nothing.");
	fprintf(t->file, "geostream_latency_revisions_total{result=\"published\"} %lu\n",
		(unsigned long)status.published);
	fprintf(t->file, "geostream_latency_revisions_total{result=\"failed\"} %lu\n",
		(unsigned long)status.failed);
	gs_metrics_head(t, "geostream_latency_changes_total", "counter",
			"Round trips this edge published or withdrew.");
	fprintf(t->file, "geostream_latency_changes_total %lu\n", (unsigned long)status.changes);
	gs_metrics_gauge(t, "geostream_latency_refused",
			 "Places and regions the last evaluation had no room for.", status.refused);
}

/* ---- demand ---------------------------------------------------------------------------------- */

/* Series are bounded by policies times regions, and by countries: not by locations, nor by both. */
void gs_metrics_demand(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	char name[3];

	gs_metrics_head(
		t, "geostream_new_flows_total", "counter",
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
	gs_metrics_head(t, "geostream_country_new_flows_total", "counter",
			"New flows by the country of their clients; empty: unknown.");
	for (uint32_t country = 0; country < GS_DEMAND_COUNTRIES; country++) {
		uint64_t flows = gs_demand_sum_country(t->api->demand, country);

		if (flows)
			fprintf(t->file, "geostream_country_new_flows_total{country=\"%s\"} %lu\n",
				gs_demand_country_name(country, name), (unsigned long)flows);
	}
}

/* ---- capacity -------------------------------------------------------------------------------- */

static const struct {
	const char *name, *help;
	size_t offset; /* of a double in the status */
	double scale;
} CAPACITY[] = {
#define CAPACITY_METRIC(name, member, scale, help)                                   \
	{                                                                            \
		"geostream_region_" name, help,                                      \
			__builtin_offsetof(struct gs_capacity_status, member), scale \
	}
	CAPACITY_METRIC("demand", demand, 1,
			"New flows a second of clients whose region it is, of all edges."),
	CAPACITY_METRIC("demand_here", here, 1, "Of those, on this edge."),
	CAPACITY_METRIC("kept", kept, 1, "New flows a second of its own clients that it serves."),
	CAPACITY_METRIC("taken", taken, 1, "New flows a second that it takes of other regions."),
	CAPACITY_METRIC("shed", shed, 1, "New flows a second of its clients that are dropped."),
	CAPACITY_METRIC("away_ratio", away_percent, 0.01,
			"Share of its clients that go elsewhere."),
	CAPACITY_METRIC("room_ratio", room_percent, 0.01,
			"Share that it takes of clients whose own region is full."),
#undef CAPACITY_METRIC
};

void gs_metrics_capacity(const struct gs_metrics_part *t)
{
	const struct gs_snapshot *snapshot = t->state->snapshot;
	struct gs_capacity_status status;

	gs_metrics_head(t, "geostream_region_capacity", "gauge",
			"New flows a second, as configured.");
	for (uint32_t r = 0; r < snapshot->region_count; r++)
		if (snapshot->regions[r].capacity)
			fprintf(t->file, "geostream_region_capacity{region=\"%s\"} %lu\n",
				snapshot->regions[r].name,
				(unsigned long)snapshot->regions[r].capacity);
	for (size_t m = 0; m < ARRAY_SIZE(CAPACITY); m++) {
		gs_metrics_head(t, CAPACITY[m].name, "gauge", CAPACITY[m].help);
		for (uint32_t r = 0; r < snapshot->region_count; r++) {
			double value;

			if (!gs_capacity_get(t->api->capacity, snapshot->regions[r].id, &status))
				continue;
			memcpy(&value, (const char *)&status + CAPACITY[m].offset, sizeof(value));
			fprintf(t->file, "%s{region=\"%s\"} %.6g\n", CAPACITY[m].name,
				snapshot->regions[r].name, value * CAPACITY[m].scale);
		}
	}
	gs_metrics_gauge(t, "geostream_demand_edges", "Other edges whose demand is in the sums.",
			 gs_capacity_edges(t->api->capacity));
}
