// SPDX-License-Identifier: Apache-2.0
/* geostreamd: settings -> adapters -> ports wired -> the loop -> everything let go, in reverse. */
#include "user/adapters/adapters.h"
#include "user/adapters/control.h"
#include "user/adapters/httpd.h"
#include "user/app/anchors.h"
#include "user/app/api.h"
#include "user/app/capacity.h"
#include "user/app/check.h"
#include "user/app/config.h"
#include "user/app/demand.h"
#include "user/app/handshakes.h"
#include "user/app/latencies.h"
#include "user/app/reconcile.h"
#include "user/app/reload.h"
#include "user/base/cleanup.h"
#include "user/base/heap.h"
#include "user/base/lock.h"
#include "user/base/log.h"
#include "user/base/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct daemon {
	struct gs_arguments arguments;
	struct gs_config config;
	int lock_fd; /* one daemon for the pinned maps */
	struct gs_loop *loop;
	struct gs_store store;
	struct gs_latency_store latency_store; /* of the same */
	struct gs_geodb geodb;
	struct gs_detour detour;
	struct gs_prober prober, anchor_prober;
	struct gs_nexthop nexthop;
	struct gs_announcer announcer;
	struct gs_dataplane dataplane;
	struct gs_reach *reach;
	struct gs_anchors *anchors;
	struct gs_reconcile *reconcile;
	struct gs_handshakes *handshakes;
	struct gs_demand *demand;
	struct gs_latencies *latencies;
	struct gs_capacity *capacity;
	struct gs_api api;
	struct gs_reload reload;
	struct gs_control *control;
	struct gs_httpd *httpd; /* NULL: switched off, or its port is taken */
};

static void on_stop(int signal, void *context)
{
	struct daemon *d = context;

	gs_log(GS_LOG_INFO, "stopping", "signal=%d dataplane=%s", signal,
	       "forwards on with what is in force");
	gs_notify("STOPPING=1");
	gs_loop_stop(d->loop);
}

static void on_reload(int signal, void *context)
{
	struct daemon *d = context;

	(void)signal;
	gs_reload(&d->reload);
}

/* 0, or -errno with *error. */
static int open_adapters(struct daemon *d, struct gs_error *error)
{
	const struct gs_probe_settings probing = {.commands = d->config.probe_commands,
						  .detour = &d->detour};
	int err;

	err = gs_lock_take(d->config.pin_dir, &d->lock_fd, error);
	if (!err)
		err = gs_dataplane_open(d->config.pin_dir, &d->dataplane, error);
	if (!err)
		err = gs_mmdb_open(&d->geodb);
	if (!err)
		err = gs_detour_open(d->config.pin_dir, NULL, &d->detour);
	if (!err)
		err = gs_probe_open(d->loop, &probing, &d->prober, error);
	if (!err) /* without a detour: anchors are reached as this machine reaches them */
		err = gs_probe_open(
			d->loop, &(struct gs_probe_settings){.commands = d->config.probe_commands},
			&d->anchor_prober, error);
	if (!err)
		err = gs_neighbour_open(d->loop, &d->config.outer_sources, &d->nexthop, error);
	if (!err)
		err = gs_announcer_open(&d->announcer);
	if (!err)
		err = gs_pg_open(d->loop, d->config.database, d->config.edge, &d->store, error);
	if (!err)
		d->latency_store = gs_pg_latency_store(&d->store);
	return err;
}

/* What can be known without running: libpq's own judgement, the files. 0 or 1. */
static int check_only(struct daemon *d)
{
	struct gs_error error;
	int result = 0;

	if (gs_pg_check_conninfo(d->config.database, &error)) {
		fprintf(stderr, "%s\n", error.text);
		result = 1;
	}
	if (gs_mmdb_open(&d->geodb) || gs_check_files(&d->config, &d->geodb))
		result = 1;
	if (!result)
		puts("the configuration is good");
	return result;
}

/* ---- the data plane -------------------------------------------------------------------------- */

/* Packets need no handshakes: an edge that cannot hear them steers all the same, and says so. */
static void attach_handshakes(struct daemon *d)
{
	int err = d->handshakes ? gs_handshakes_attach(d->handshakes) : 0;

	if (err)
		gs_log(GS_LOG_ERROR, "handshakes_away", "why=%s", strerror(-err));
}

static const struct gs_reconcile_state *look(void *context)
{
	const struct daemon *d = context;

	return gs_reconcile_look(d->reconcile);
}

static int open_handshakes(struct daemon *d, uint64_t seed)
{
	const struct gs_handshakes_ports ports = {
		.loop = d->loop,
		.dataplane = &d->dataplane,
		.look = look,
		.look_context = d,
	};
	int err = gs_handshakes_new(&ports, seed, d->config.handshakes, &d->handshakes);

	if (!err)
		attach_handshakes(d);
	return err;
}

static void on_flows(void *context, const struct gs_tables *tables, uint32_t entry, uint32_t flows)
{
	const struct daemon *d = context;

	gs_capacity_count(d->capacity, tables, entry, flows);
}

static void on_round(void *context, uint64_t elapsed_ms)
{
	const struct daemon *d = context;

	gs_capacity_counted(d->capacity, elapsed_ms);
}

/* What is counted, and what is made of it. */
static int open_demand(struct daemon *d)
{
	const struct gs_demand_ports ports = {
		.loop = d->loop,
		.dataplane = &d->dataplane,
		.look = look,
		.look_context = d,
		.on_flows = on_flows,
		.on_round = on_round,
		.flows_context = d,
	};
	const struct gs_capacity_ports capacity = {
		.loop = d->loop,
		.dataplane = &d->dataplane,
		.store = &d->store,
		.look = look,
		.look_context = d,
	};
	int err = gs_capacity_new(&capacity, &d->capacity);

	return err ? err : gs_demand_new(&ports, &d->demand);
}

static void on_demand(void *context, const struct gs_demand_told *rows, uint32_t count,
		      uint32_t edges)
{
	const struct daemon *d = context;

	gs_capacity_hear(d->capacity, rows, count, edges);
}

static int open_latencies(struct daemon *d)
{
	const struct gs_latencies_ports ports = {
		.loop = d->loop,
		.store = &d->latency_store,
		.handshakes = d->handshakes,
		.look = look,
		.look_context = d,
	};
	int err = gs_latencies_new(&ports, d->config.latency_ms, &d->latencies);

	if (!err && d->config.coordinates.is_told)
		gs_latencies_stand(d->latencies, &d->config.coordinates.coord);
	return err;
}

static uint32_t clients(void *context, struct gs_client_count *ret_counts)
{
	const struct daemon *d = context;

	return d->handshakes ? gs_handshakes_clients(d->handshakes, ret_counts) : 0;
}

static bool on_generation(void *context, const struct gs_generation_change *change)
{
	struct daemon *d = context;

	if (!gs_demand_replace(d->demand, change))
		return false;
	gs_handshakes_replace(d->handshakes, change);
	return true;
}

static int reopen_dataplane(void *context, struct gs_error *error)
{
	struct daemon *d = context;
	struct gs_dataplane fresh;
	int err = gs_dataplane_open(d->config.pin_dir, &fresh, error);

	if (err)
		return err;
	gs_handshakes_detach(d->handshakes);
	d->dataplane.ops->close(d->dataplane.self);
	d->dataplane = fresh;
	attach_handshakes(d);
	gs_demand_reopen(d->demand);
	gs_capacity_reopen(d->capacity);
	return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

struct request {
	struct daemon *daemon;
	uint64_t token;
};

static void on_reply(void *context, json_t *reply)
{
	struct request *request = context;
	char *line = reply ? json_dumps(reply, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;

	gs_control_reply(request->daemon->control, request->token,
			 line ? line : "{\"error\":\"out of memory\"}");
	free(line);
	json_decref(reply);
	free(request);
}

static void on_request(void *context, uint64_t token, const char *text, size_t length)
{
	struct daemon *d = context;
	struct request *request = malloc(sizeof(*request));

	if (!request) {
		gs_control_reply(d->control, token, "{\"error\":\"out of memory\"}");
		return;
	}
	*request = (struct request){.daemon = d, .token = token};
	gs_api_handle(&d->api, text, length, on_reply, request);
}

static int open_anchors(struct daemon *d, uint64_t seed)
{
	int err = gs_anchors_new(d->loop, &d->anchor_prober, seed, &d->anchors);

	if (!err)
		gs_anchors_set(d->anchors, &d->config.anchors);
	return err;
}

static int wire_reach(struct daemon *d)
{
	const struct gs_reach_ports ports = {
		.loop = d->loop,
		.dataplane = &d->dataplane,
		.announcer = &d->announcer,
	};
	char drain_file[GS_PATH_MAX + 16];

	snprintf(drain_file, sizeof(drain_file), "%s/drained", d->config.state_dir);
	return gs_reach_new(&ports, d->config.announce, drain_file, &d->reach);
}

/* What is asked of the daemon, and told to it again. */
static void wire_api(struct daemon *d)
{
	d->reload = (struct gs_reload){
		.arguments = &d->arguments,
		.config = &d->config,
		.reconcile = d->reconcile,
		.handshakes = d->handshakes,
		.latencies = d->latencies,
		.anchors = d->anchors,
	};
	d->api = (struct gs_api){
		.reconcile = d->reconcile,
		.reach = d->reach,
		.dataplane = &d->dataplane,
		.loop = d->loop,
		.config = &d->config,
		.handshakes = d->handshakes,
		.demand = d->demand,
		.latencies = d->latencies,
		.capacity = d->capacity,
		.anchors = d->anchors,
		.started_ms = gs_loop_now_ms(d->loop),
	};
}

static int wire(struct daemon *d, struct gs_error *error)
{
	struct gs_reconcile_ports ports = {
		.loop = d->loop,
		.store = &d->store,
		.geodb = &d->geodb,
		.dataplane = &d->dataplane,
		.nexthop = &d->nexthop,
		.prober = &d->prober,
		.detour = &d->detour,
		.reopen_dataplane = reopen_dataplane,
		.reopen_context = d,
		.on_generation = on_generation,
		.on_demand = on_demand,
		.clients = clients,
		.generation_context = d,
	};
	const struct gs_control_events events = {.on_request = on_request};
	struct gs_reconcile_settings settings = {.seed = gs_now_us() ^ (uint64_t)getpid() << 40};
	int err;

	/* Made if it is not there; what goes wrong with it is told when a snapshot is saved. */
	mkdir(d->config.state_dir, 0750);
	strcpy(settings.geoip, d->config.geoip);
	strcpy(settings.asn, d->config.asn);
	settings.geo_limit_percent = d->config.geoip_change_limit;
	strcpy(settings.edge, d->config.edge);
	strcpy(settings.site, d->config.site);
	snprintf(settings.last_good, sizeof(settings.last_good), "%s/last-good.json",
		 d->config.state_dir);
	snprintf(settings.dampings, sizeof(settings.dampings), "%s/dampings.json",
		 d->config.state_dir);
	snprintf(settings.overlays, sizeof(settings.overlays), "%s/overlays.json",
		 d->config.state_dir);
	err = wire_reach(d);
	ports.reach = d->reach;
	if (!err)
		err = open_anchors(d, settings.seed);
	ports.anchors = d->anchors;
	if (!err)
		err = gs_reconcile_new(&ports, &settings, &d->reconcile);
	if (!err)
		err = open_handshakes(d, settings.seed);
	if (!err)
		err = open_demand(d);
	if (!err)
		err = open_latencies(d);
	if (err)
		return err;
	wire_api(d);
	/* Packets need no HTTP: an edge whose port is taken steers all the same, and says so. */
	if (d->config.http_listen[0] && gs_httpd_open(d->loop, d->config.http_listen, &d->api,
						      GS_HTTPD_REQUEST_MS, &d->httpd, error))
		gs_log(GS_LOG_ERROR, "http_away", "why=%s", error->text);
	d->api.http = gs_httpd_counts(d->httpd);
	error->text[0] = '\0';
	err = gs_control_open(d->loop, d->config.socket, &events, d, &d->control, error);
	return err ? err : gs_reconcile_start(d->reconcile);
}

/* From here on no signal ends the daemon half made; they are heard once the loop runs. */
static int hear_signals(struct daemon *d)
{
	int err;

	signal(SIGPIPE, SIG_IGN);
	err = gs_loop_signal(d->loop, SIGTERM, on_stop, d);
	if (!err)
		err = gs_loop_signal(d->loop, SIGINT, on_stop, d);
	if (!err)
		err = gs_loop_signal(d->loop, SIGHUP, on_reload, d);
	return err;
}

static int run(struct daemon *d)
{
	struct gs_error error = {""};
	int err;

	gs_log_setup(d->config.log_level, d->config.log_format);
	err = gs_loop_new(&d->loop);
	if (!err)
		err = hear_signals(d);
	if (!err)
		err = open_adapters(d, &error);
	if (!err)
		err = wire(d, &error);
	if (!err) {
		gs_heap_warm(GS_HEAP_WARM_BYTES);
		gs_log(GS_LOG_INFO, "started", "version=%s edge=%s pin_dir=%s socket=%s",
		       GS_VERSION, d->config.edge, d->config.pin_dir, d->config.socket);
		gs_notify("READY=1");
		err = gs_loop_run(d->loop);
	}
	if (err)
		gs_log(GS_LOG_ERROR, "cannot_run", "why=%s",
		       error.text[0] ? error.text : strerror(-err));

	if (d->reconcile) /* the worker may have seconds of a database before it */
		gs_reconcile_cancel_load(d->reconcile);
	if (d->loop)
		gs_loop_end_worker(d->loop);
	gs_httpd_close(d->httpd);
	gs_latencies_free(d->latencies);
	gs_handshakes_free(d->handshakes);
	gs_demand_free(d->demand);
	gs_capacity_free(d->capacity);
	gs_reconcile_free(d->reconcile); /* may still answer somebody */
	gs_anchors_free(d->anchors);
	gs_reach_free(d->reach);
	gs_control_close(d->control);
	if (d->announcer.ops)
		d->announcer.ops->close(d->announcer.self);
	if (d->store.ops)
		d->store.ops->close(d->store.self);
	if (d->nexthop.ops)
		d->nexthop.ops->close(d->nexthop.self);
	if (d->anchor_prober.ops)
		d->anchor_prober.ops->close(d->anchor_prober.self);
	if (d->prober.ops)
		d->prober.ops->close(d->prober.self);
	if (d->detour.ops)
		d->detour.ops->close(d->detour.self);
	if (d->dataplane.ops)
		d->dataplane.ops->close(d->dataplane.self);
	gs_loop_free(d->loop);
	gs_close_fd(&d->lock_fd);
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct daemon daemon = {.lock_fd = -1};
	int exit_code = gs_check_arguments(argc, argv, &daemon.arguments);

	if (exit_code >= 0)
		return exit_code;
	if (gs_check_config(&daemon.arguments, &daemon.config))
		return 1;
	return daemon.arguments.only_check ? check_only(&daemon) : run(&daemon);
}
