// SPDX-License-Identifier: Apache-2.0
/* geostreamd: settings -> adapters -> ports wired -> the loop -> everything let go, in reverse. */
#include "user/adapters/adapters.h"
#include "user/adapters/control.h"
#include "user/app/api.h"
#include "user/app/check.h"
#include "user/app/config.h"
#include "user/app/reconcile.h"
#include "user/base/log.h"
#include "user/base/notify.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct daemon {
	const char *config_path;
	int set_count;
	char **sets;
	struct gs_config config;
	struct gs_loop *loop;
	struct gs_store store;
	struct gs_geodb geodb;
	struct gs_prober prober;
	struct gs_nexthop nexthop;
	struct gs_dataplane dataplane;
	struct gs_reconcile *reconcile;
	struct gs_api api;
	struct gs_control *control;
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
	struct gs_config next;
	char kept[256];

	(void)signal;
	if (gs_check_config(d->config_path, d->set_count, d->sets, &next)) {
		gs_log(GS_LOG_ERROR, "reload_refused", "file=%s", d->config_path);
		return;
	}
	gs_config_not_reloadable(&d->config, &next, kept, sizeof(kept));
	if (kept[0])
		gs_log(GS_LOG_WARNING, "settings_kept", "settings=%s why=%s", kept,
		       "they need a restart");
	memcpy(d->config.geoip, next.geoip, sizeof(next.geoip));
	d->config.log_level = next.log_level;
	d->config.log_format = next.log_format;
	gs_log_setup(next.log_level, next.log_format);
	gs_log(GS_LOG_INFO, "reloaded", "file=%s", d->config_path);
	if (next.geoip[0])
		gs_reconcile_load_geo(d->reconcile, next.geoip, NULL, NULL);
}

/* 0, or -errno with *error. */
static int open_adapters(struct daemon *d, struct gs_error *error)
{
	int err;

	err = gs_dataplane_open(d->config.pin_dir, &d->dataplane, error);
	if (!err)
		err = gs_mmdb_open(&d->geodb);
	if (!err)
		err = gs_probe_open(d->loop, &d->prober, error);
	if (!err)
		err = gs_neighbour_open(&d->nexthop, error);
	if (!err)
		err = gs_pg_open(d->loop, d->config.database, d->config.edge, &d->store, error);
	return err;
}

static int reopen_dataplane(void *context, struct gs_error *error)
{
	struct daemon *d = context;
	struct gs_dataplane fresh;
	int err = gs_dataplane_open(d->config.pin_dir, &fresh, error);

	if (err)
		return err;
	d->dataplane.ops->close(d->dataplane.self);
	d->dataplane = fresh;
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
	char *line = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

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

static int wire(struct daemon *d, struct gs_error *error)
{
	const struct gs_reconcile_ports ports = {
		.loop = d->loop,
		.store = &d->store,
		.geodb = &d->geodb,
		.dataplane = &d->dataplane,
		.nexthop = &d->nexthop,
		.prober = &d->prober,
		.reopen_dataplane = reopen_dataplane,
		.reopen_context = d,
	};
	const struct gs_control_events events = {.on_request = on_request};
	struct gs_reconcile_settings settings = {.seed = gs_now_us() ^ (uint64_t)getpid() << 40};
	int err;

	strcpy(settings.geoip, d->config.geoip);
	snprintf(settings.last_good, sizeof(settings.last_good), "%s/last-good.json",
		 d->config.state_dir);
	err = gs_reconcile_new(&ports, &settings, &d->reconcile);
	if (err)
		return err;
	d->api = (struct gs_api){
		.reconcile = d->reconcile,
		.dataplane = &d->dataplane,
		.loop = d->loop,
		.config = &d->config,
		.started_ms = gs_loop_now_ms(d->loop),
	};
	err = gs_control_open(d->loop, d->config.socket, &events, d, &d->control, error);
	if (!err)
		err = gs_loop_signal(d->loop, SIGTERM, on_stop, d);
	if (!err)
		err = gs_loop_signal(d->loop, SIGINT, on_stop, d);
	if (!err)
		err = gs_loop_signal(d->loop, SIGHUP, on_reload, d);
	return err ? err : gs_reconcile_start(d->reconcile);
}

static int run(struct daemon *d)
{
	struct gs_error error = {""};
	int err;

	gs_log_setup(d->config.log_level, d->config.log_format);
	signal(SIGPIPE, SIG_IGN);
	err = gs_loop_new(&d->loop);
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
	gs_control_close(d->control);
	gs_reconcile_free(d->reconcile);
	if (d->store.ops)
		d->store.ops->close(d->store.self);
	if (d->nexthop.ops)
		d->nexthop.ops->close(d->nexthop.self);
	if (d->prober.ops)
		d->prober.ops->close(d->prober.self);
	if (d->dataplane.ops)
		d->dataplane.ops->close(d->dataplane.self);
	gs_loop_free(d->loop);
	return err ? 1 : 0;
}

static const char USAGE[] =
	"usage: geostreamd [-c FILE] [-o KEY=VALUE]... [--check]\n"
	"  -c, --config FILE    settings (default " GS_CONFIG_PATH_DEFAULT ")\n"
	"  -o, --set KEY=VALUE  one setting; wins over GEOSTREAM_KEY and the file\n"
	"      --check          say what is wrong with the settings; exit 1 if anything is\n"
	"  -V, --version\n"
	"  -h, --help\n"
	"Runs in the foreground. SIGHUP: settings and the GeoIP file again. SIGTERM: ends; the data\n"
	"plane forwards on.\n";

int main(int argc, char **argv)
{
	static const struct option OPTIONS[] = {
		{"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 'o'},
		{"check", no_argument, NULL, 'k'},	  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	  {NULL, 0, NULL, 0},
	};
	static struct daemon daemon;
	bool only_check = false;
	static char *sets[64];
	int option;

	daemon.sets = sets;
	while ((option = getopt_long(argc, argv, "c:o:Vh", OPTIONS, NULL)) != -1) {
		if (option == 'c')
			daemon.config_path = optarg;
		else if (option == 'o' && daemon.set_count < 64)
			sets[daemon.set_count++] = optarg;
		else if (option == 'k')
			only_check = true;
		else if (option == 'V')
			return puts("geostreamd " GS_VERSION) < 0;
		else
			return fputs(USAGE, option == 'h' ? stdout : stderr), option == 'h' ? 0 : 2;
	}
	if (optind != argc)
		return fputs(USAGE, stderr), 2;
	if (gs_check_config(daemon.config_path, daemon.set_count, sets, &daemon.config))
		return 1;
	if (only_check)
		return gs_check_snapshot(&daemon.config) ? 1 : 0;
	return run(&daemon);
}
