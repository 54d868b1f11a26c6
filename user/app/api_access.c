/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between a client and its route: access rules, and limits of rates. */
#include "api.h"

#include "user/core/access.h"
#include "user/core/cidr.h"
#include "user/core/geotable.h"
#include "user/core/snapshot.h"

#include <stdio.h>

static const char *rule_text(const struct gs_access *rule, char out[GS_PREFIX_TEXT_MAX])
{
	return gs_prefix_format(&rule->prefix, out);
}

bool gs_api_is_denied(const struct gs_snapshot *snapshot, const struct gs_service *service,
		      const struct gs_addr *client, char *out, size_t room)
{
	const struct gs_access *rule = gs_access_find(snapshot, service->id, client);
	char text[GS_PREFIX_TEXT_MAX];

	if (!rule || rule->allow)
		return false;
	snprintf(out, room, "an access rule denies %s%s%s%s: packets are dropped",
		 rule_text(rule, text), *rule->reason ? " (" : "", rule->reason,
		 *rule->reason ? ")" : "");
	return true;
}

static json_t *rule_json(const struct gs_snapshot *snapshot, const struct gs_access *rule)
{
	const struct gs_service *service = gs_snapshot_service(snapshot, rule->service);
	char text[GS_PREFIX_TEXT_MAX];

	return json_pack("{s:s, s:s, s:s?, s:s}", "action", rule->allow ? "allow" : "deny",
			 "prefix", rule_text(rule, text), "service", service ? service->name : NULL,
			 "reason", rule->reason);
}

/* As packets are counted: 6to4 and NAT64 clients by the IPv4 address inside. */
static struct gs_prefix limited_prefix(const struct gs_limit_spec *limit,
				       const struct gs_addr *client)
{
	struct gs_addr inside = *client;

	if (gs_addr_is_v4(client) || gs_geo_embedded_v4(client, &inside))
		return gs_prefix_make(&inside, limit->prefix4);
	return gs_prefix_make(client, limit->prefix6);
}

static void add_number(json_t *json, const char *key, uint32_t number)
{
	if (number)
		json_object_set_new(json, key, json_integer(number));
}

void gs_api_add_access(json_t *json, const struct gs_snapshot *snapshot,
		       const struct gs_service *service, const struct gs_addr *client)
{
	const struct gs_access *rule = gs_access_find(snapshot, service->id, client);
	const struct gs_limit_spec *limit = &service->limit;
	struct gs_prefix prefix = limited_prefix(limit, client);
	char text[GS_PREFIX_TEXT_MAX];
	json_t *limits;

	if (rule)
		json_object_set_new(json, "access", rule_json(snapshot, rule));
	limits = json_object();
	if (!rule && (limit->client_packets || limit->client_flows)) {
		json_object_set_new(limits, "client_prefix",
				    json_string(gs_prefix_format(&prefix, text)));
		add_number(limits, "client_packets", limit->client_packets);
		add_number(limits, "client_flows", limit->client_flows);
	}
	add_number(limits, "packets", limit->packets);
	add_number(limits, "flows", limit->flows);
	if (json_object_size(limits))
		json_object_set(json, "limits", limits);
	json_decref(limits);
}
