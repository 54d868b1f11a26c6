/* SPDX-License-Identifier: Apache-2.0 */
#include "reload.h"

#include "user/base/log.h"

#include <string.h>

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
	config->handshakes = next.handshakes;
	if (reload->handshakes)
		gs_handshakes_sample(reload->handshakes, next.handshakes);
	gs_log_setup(next.log_level, next.log_format);
	gs_log(GS_LOG_INFO, "reloaded", "geoip=%s", next.geoip);
	if (next.geoip[0]) {
		memcpy(config->geoip, next.geoip, sizeof(next.geoip));
		gs_reconcile_reload_geo(reload->reconcile, next.geoip);
	} else if (config->geoip[0]) {
		gs_log(GS_LOG_WARNING, "settings_kept", "settings=%s why=%s", "geoip",
		       "a running daemon keeps the GeoIP database it has");
	}
}
