/* SPDX-License-Identifier: Apache-2.0 */
#include "reload.h"

#include "user/base/log.h"

#include <errno.h>
#include <string.h>

static void load_geo(struct gs_reload *reload);

static void geo_loaded(void *context, int err, const char *problem)
{
	struct gs_reload *reload = context;

	(void)err; /* reconcile has told */
	(void)problem;
	if (reload->geo_waits)
		load_geo(reload);
}

static void load_geo(struct gs_reload *reload)
{
	const char *path = reload->config->geoip;
	int err = gs_reconcile_load_geo(reload->reconcile, path, geo_loaded, reload);

	reload->geo_waits = err == -EBUSY;
	if (err && err != -EBUSY)
		gs_log(GS_LOG_ERROR, "geoip_refused", "file=%s why=%s", path, strerror(-err));
}

void gs_reload(struct gs_reload *reload)
{
	struct gs_config *config = reload->config, next;
	char kept[256];

	if (gs_check_config(reload->arguments, &next)) {
		gs_log(GS_LOG_ERROR, "reload_refused", "why=%s",
		       "the settings do not stand; those in use stay");
		return;
	}
	gs_config_not_reloadable(config, &next, kept, sizeof(kept));
	if (kept[0])
		gs_log(GS_LOG_WARNING, "settings_kept", "settings=%s why=%s", kept,
		       "they need a restart");
	config->log_level = next.log_level;
	config->log_format = next.log_format;
	config->failover_budget_ms = next.failover_budget_ms;
	gs_log_setup(next.log_level, next.log_format);
	gs_log(GS_LOG_INFO, "reloaded", "geoip=%s", next.geoip);
	if (next.geoip[0]) {
		memcpy(config->geoip, next.geoip, sizeof(next.geoip));
		load_geo(reload);
	} else if (config->geoip[0]) {
		gs_log(GS_LOG_WARNING, "settings_kept", "settings=%s why=%s", "geoip",
		       "a running daemon keeps the GeoIP database it has");
	}
}
