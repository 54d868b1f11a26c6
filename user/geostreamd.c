// SPDX-License-Identifier: Apache-2.0
/* geostreamd: settings -> adapters -> ports wired -> the loop -> everything let go, in reverse. */
#include "user/adapters/adapters.h"
#include "user/adapters/control.h"
#include "user/adapters/httpd.h"
#include "user/app/api.h"
#include "user/app/check.h"
#include "user/app/config.h"
#include "user/app/demand.h"
#include "user/app/handshakes.h"
#include "user/app/reconcile.h"
#include "user/app/reload.h"
#include "user/base/cleanup.h"
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
	struct gs_geodb geodb;
	struct gs_prober prober;
	struct gs_nexthop nexthop;
	struct gs_announcer announcer;
	struct gs_dataplane dataplane;
	struct gs_reach *reach;
	struct gs_reconcile *reconcile;
	struct gs_handshakes *handshakes;
	struct gs_demand *demand;
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
	int err;

	err = gs_lock_take(d->config.pin_dir, &d->lock_fd, error);
	if (!err)
		err = gs_dataplane_open(d->config.pin_dir, &d->dataplane, error);
	if (!err)
		err = gs_mmdb_open(&d->geodb);
	if (!err)
		err = gs_probe_open(d->loop, &d->prober, error);
	if (!err)
		err = gs_neighbour_open(d->loop, &d->config.outer_sources, &d->nexthop, error);
	if (!err)
		err = gs_announcer_open(&d->announcer);
	if (!err)
		err = gs_pg_open(d->loop, d->config.database, d->config.edge, &d->store, error);
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

static int open_demand(struct daemon *d)
{
	const struct gs_demand_ports ports = {
		.loop = d->loop,
		.dataplane = &d->dataplane,
		.look = look,
		.look_context = d,
	};

	return gs_demand_new(&ports, &d->demand);
}

static void on_generation(void *context, const struct gs_generation_change *change)
{
	struct daemon *d = context;

	gs_demand_replace(d->demand, change);
	gs_handshakes_replace(d->handshakes, change);
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

static int wire(struct daemon *d, struct gs_error *error)
{
	struct gs_reconcile_ports ports = {
		.loop = d->loop,
		.store = &d->store,
		.geodb = &d->geodb,
		.dataplane = &d->dataplane,
		.nexthop = &d->nexthop,
		.prober = &d->prober,
		.reopen_dataplane = reopen_dataplane,
		.reopen_context = d,
		.on_generation = on_generation,
		.generation_context = d,
	};
	const struct gs_control_events events = {.on_request = on_request};
	struct gs_reconcile_settings settings = {.seed = gs_now_us() ^ (uint64_t)getpid() << 40};
	int err;

	/* Made if it is not there; what goes wrong with it is told when a snapshot is saved. */
	mkdir(d->config.state_dir, 0750);
	strcpy(settings.geoip, d->config.geoip);
	strcpy(settings.edge, d->config.edge);
	snprintf(settings.last_good, sizeof(settings.last_good), "%s/last-good.json",
		 d->config.state_dir);
	err = wire_reach(d);
	ports.reach = d->reach;
	if (!err)
		err = gs_reconcile_new(&ports, &settings, &d->reconcile);
	if (!err)
		err = open_handshakes(d, settings.seed);
	if (!err)
		err = open_demand(d);
	if (err)
		return err;
	d->reload = (struct gs_reload){
		.arguments = &d->arguments,
		.config = &d->config,
		.reconcile = d->reconcile,
		.handshakes = d->handshakes,
	};
	d->api = (struct gs_api){
		.reconcile = d->reconcile,
		.reach = d->reach,
		.dataplane = &d->dataplane,
		.loop = d->loop,
		.config = &d->config,
		.handshakes = d->handshakes,
		.demand = d->demand,
		.started_ms = gs_loop_now_ms(d->loop),
	};
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
		gs_log(GS_LOG_INFO, "started", "version=%s edge=%s pin_dir=%s socket=%s",
		       GS_VERSION, d->config.edge, d->config.pin_dir, d->config.socket);
		gs_notify("READY=1");
		err = gs_loop_run(d->loop);
	}
	if (err)
		gs_log(GS_LOG_ERROR, "cannot_run", "why=%s",
		       error.text[0] ? error.text : strerror(-err));

	if (d->loop)
		gs_loop_end_worker(d->loop);
	gs_httpd_close(d->httpd);
	gs_handshakes_free(d->handshakes);
	gs_demand_free(d->demand);
	gs_reconcile_free(d->reconcile); /* may still answer somebody */
	gs_reach_free(d->reach);
	gs_control_close(d->control);
	if (d->announcer.ops)
		d->announcer.ops->close(d->announcer.self);
	if (d->store.ops)
		d->store.ops->close(d->store.self);
	if (d->nexthop.ops)
		d->nexthop.ops->close(d->nexthop.self);
	if (d->prober.ops)
		d->prober.ops->close(d->prober.self);
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
