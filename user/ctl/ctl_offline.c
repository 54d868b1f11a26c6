// SPDX-License-Identifier: Apache-2.0
/*
 * A configuration tried at a desk: from a document and a GeoIP file the tables a daemon would make,
 * asked by the same code. Every backend counts as up, but for those of regions named --down.
 */
#include "user/adapters/adapters.h"
#include "user/app/api.h"
#include "user/app/document.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/loop.h"
#include "user/core/snapshot.h"
#include "user/ctl/ctl_ask.h"

#include <string.h>

enum { DOWN_MAX = 32 };

struct desk {
	const char *address, *service, *config, *geo_path, *asn_path;
	const char *down[DOWN_MAX];
	int down_count;
	struct gs_snapshot *snapshot;
	struct gs_geodb geodb;
	struct gs_geodata *geo;
	struct gs_asndata *asn;
	struct gs_tables *tables;
	struct gs_usable_view *view;
};

static int take_arguments(struct desk *desk, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		const char **value = NULL;

		if (strcmp(argv[i], "--offline") == 0)
			continue;
		if (strcmp(argv[i], "-f") == 0)
			value = &desk->config;
		else if (strcmp(argv[i], "--geo") == 0)
			value = &desk->geo_path;
		else if (strcmp(argv[i], "--asn") == 0)
			value = &desk->asn_path;
		else if (strcmp(argv[i], "--service") == 0)
			value = &desk->service;
		else if (strcmp(argv[i], "--down") == 0 && desk->down_count < DOWN_MAX)
			value = &desk->down[desk->down_count++];
		else if (argv[i][0] != '-' && !desk->address)
			desk->address = argv[i];
		else
			return gs_ctl_usage("route", "get", "unexpected \"%s\"", argv[i]);
		if (value && i + 1 == argc)
			return gs_ctl_usage("route", "get", "%s: a value expected", argv[i]);
		if (value)
			*value = argv[++i];
	}
	if (!desk->address || !desk->config || !desk->geo_path)
		return gs_ctl_usage("route", "get",
				    "--offline needs ADDRESS, -f CONFIG and --geo FILE");
	return GS_CTL_DONE;
}

static enum gs_health_state health_of(void *context, gs_id id)
{
	const struct desk *desk = context;
	const struct gs_backend *backend = gs_snapshot_backend(desk->snapshot, id);
	const struct gs_region *region =
		backend ? gs_snapshot_region(desk->snapshot, backend->region) : NULL;

	for (int i = 0; region && i < desk->down_count; i++)
		if (strcmp(region->name, desk->down[i]) == 0)
			return GS_HEALTH_DOWN;
	return GS_HEALTH_UP;
}

/* 0, or -errno with *error. */
static int build(struct desk *desk, struct gs_error *error)
{
	const struct gs_usable_health health = {
		.get = health_of, .context = desk, .unix_ms = gs_unix_ms()};
	int ret = gs_document_load(desk->config, &desk->snapshot, error);

	for (int i = 0; ret == 0 && i < desk->down_count; i++)
		if (!gs_snapshot_region_named(desk->snapshot, desk->down[i])) {
			snprintf(error->text, sizeof(error->text),
				 "--down: no region is named \"%.63s\"", desk->down[i]);
			return -1;
		}
	ret = ret ? ret : gs_mmdb_open(&desk->geodb);
	ret = ret ? ret
		  : desk->geodb.ops->load(desk->geodb.self, desk->geo_path, NULL, &desk->geo,
					  error);
	if (ret == 0 && desk->asn_path)
		ret = desk->geodb.ops->load_asn(desk->geodb.self, desk->asn_path, NULL, &desk->asn,
						error);
	if (ret == 0) {
		const struct gs_tables_sources sources = {
			.snapshot = desk->snapshot, .geo = desk->geo, .asn = desk->asn};

		ret = gs_tables_make(&sources, &desk->tables, error);
	}
	return ret ? ret : gs_usable_view_new(desk->snapshot, &health, &desk->view);
}

static int answer(const struct gs_ctl *ctl, const struct desk *desk)
{
	const struct gs_reconcile_state state = {.snapshot = desk->snapshot,
						 .tables = desk->tables,
						 .geo = desk->geo,
						 .asn = desk->asn,
						 .view = desk->view};
	GS_AUTO_JSON json_t *request = json_pack("{s:s}", "address", desk->address);
	GS_AUTO_JSON json_t *reply = NULL;

	if (request && desk->service)
		json_object_set_new(request, "service", json_string(desk->service));
	reply = request ? gs_api_route_of(&state, request) : NULL;
	if (!reply)
		return gs_ctl_fail("an argument is no UTF-8 text");
	if (*gs_ctl_text(reply, "error"))
		return gs_ctl_fail("%s", gs_ctl_text(reply, "error"));
	if (ctl->json)
		return gs_ctl_print(reply);
	gs_ctl_print_route(reply);
	return GS_CTL_DONE;
}

int gs_ctl_route_offline(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct desk desk = {.address = NULL};
	struct gs_error error = {"no memory"};
	int result = take_arguments(&desk, argc, argv);

	if (result)
		return result;
	result = build(&desk, &error) ? gs_ctl_fail("%s", error.text) : answer(ctl, &desk);
	gs_usable_view_free(desk.view);
	gs_tables_free(desk.tables);
	if (desk.geo)
		desk.geodb.ops->release(desk.geodb.self, desk.geo);
	if (desk.asn)
		desk.geodb.ops->release_asn(desk.geodb.self, desk.asn);
	gs_snapshot_free(desk.snapshot);
	return result;
}
