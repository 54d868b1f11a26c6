/* SPDX-License-Identifier: Apache-2.0 */
#include "reload.h"

#include "user/base/log.h"

#include <string.h>

/* Both files again. What a running daemon has it keeps when a setting goes. */
static void reload_files(struct gs_reload *reload, const struct gs_config *next)
{
	struct gs_config *config = reload->config;

	if (next->geoip[0]) {
		memcpy(config->geoip, next->geoip, sizeof(next->geoip));
		gs_reconcile_reload_geo(reload->reconcile, next->geoip);
	} else if (config->geoip[0]) {
		gs_log(GS_LOG_WARNING, "settings_kept", "settings=%s why=%s", "geoip",
		       "a running daemon keeps the GeoIP database it has");
	}
	if (next->asn[0]) {
		memcpy(config->asn, next->asn, sizeof(next->asn));
		gs_reconcile_reload_asn(reload->reconcile, next->asn);
	} else if (config->asn[0]) {
		gs_log(GS_LOG_WARNING, "settings_kept", "settings=%s why=%s", "asn",
		       "a running daemon keeps the ASN database it has");
	}
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
	config->handshakes = next.handshakes;
	if (reload->handshakes)
		gs_handshakes_sample(reload->handshakes, next.handshakes);
	config->latency_ms = next.latency_ms;
	config->coordinates = next.coordinates;
	if (reload->latencies) {
		gs_latencies_period(reload->latencies, next.latency_ms);
		gs_latencies_stand(reload->latencies,
				   next.coordinates.is_told ? &next.coordinates.coord : NULL);
	}
	config->anchors = next.anchors;
	if (reload->anchors)
		gs_anchors_set(reload->anchors, &next.anchors);
	config->geoip_change_limit = next.geoip_change_limit;
	gs_reconcile_limit_geo(reload->reconcile, next.geoip_change_limit);
	gs_log_setup(next.log_level, next.log_format);
	gs_log(GS_LOG_INFO, "reloaded", "geoip=%s asn=%s", next.geoip, next.asn);
	reload_files(reload, &next);
}
