// SPDX-License-Identifier: Apache-2.0
#include "user/ctl/ctl_names.h"

#include "user/adapters/control.h"
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/suggest.h"
#include "user/ctl/ctl_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"service", "region", "backend"};
static const char *const lists[] = {"services", "regions", "backends"};

enum { IDS_MAX = 65536 };

static void add_name(struct gs_ctl_names *names, enum gs_ctl_kind kind, json_int_t id,
		     const char *name)
{
	if (id <= 0 || id >= IDS_MAX || !names->names[kind])
		return;
	free(names->names[kind][id]);
	names->names[kind][id] = strdup(name);
	names->counts[kind]++;
}

/* false: the daemon is away, or has no snapshot. */
static bool load_from_daemon(const struct gs_ctl *ctl, struct gs_ctl_names *names)
{
	GS_AUTO_FREE char *text = NULL;
	GS_AUTO_JSON json_t *reply = NULL;
	struct gs_error error;
	const json_t *object;
	size_t i;

	if (gs_control_ask(ctl->socket_path, "{\"command\":\"status\"}", GS_CTL_ASK_MS, &text,
			   &error))
		return false;
	reply = json_loads(text, 0, NULL);
	for (int kind = 0; kind < GS_CTL_KIND__COUNT; kind++)
		json_array_foreach (json_object_get(reply, lists[kind]), i, object)
			add_name(names, (enum gs_ctl_kind)kind, gs_ctl_number(object, "id"),
				 gs_ctl_text(object, "name"));
	return json_is_array(json_object_get(reply, "services"));
}

static bool load_from_file(const struct gs_ctl *ctl, struct gs_ctl_names *names)
{
	struct gs_snapshot *snapshot;
	char path[GS_PATH_MAX + 32];
	struct gs_error error;

	snprintf(path, sizeof(path), "%s/last-good.json", ctl->state_dir);
	if (gs_snapshot_load(path, &snapshot, &error))
		return false;
	for (uint32_t i = 0; i < snapshot->service_count; i++)
		add_name(names, GS_CTL_SERVICE, snapshot->services[i].id,
			 snapshot->services[i].name);
	for (uint32_t i = 0; i < snapshot->region_count; i++)
		add_name(names, GS_CTL_REGION, snapshot->regions[i].id, snapshot->regions[i].name);
	for (uint32_t i = 0; i < snapshot->backend_count; i++)
		add_name(names, GS_CTL_BACKEND, snapshot->backends[i].id,
			 snapshot->backends[i].name);
	gs_snapshot_free(snapshot);
	return true;
}

void gs_ctl_names_load(const struct gs_ctl *ctl, struct gs_ctl_names *ret_names)
{
	memset(ret_names, 0, sizeof(*ret_names));
	for (int kind = 0; kind < GS_CTL_KIND__COUNT; kind++)
		ret_names->names[kind] = calloc(IDS_MAX, sizeof(char *));
	if (!load_from_daemon(ctl, ret_names) && !load_from_file(ctl, ret_names))
		gs_ctl_fail("no names: the daemon does not answer at %s, and there is no "
			    "%s/last-good.json; ids stand for them",
			    ctl->socket_path, ctl->state_dir);
}

void gs_ctl_names_done(struct gs_ctl_names *names)
{
	for (int kind = 0; kind < GS_CTL_KIND__COUNT; kind++) {
		for (uint32_t id = 0; names->names[kind] && id < IDS_MAX; id++)
			free(names->names[kind][id]);
		free(names->names[kind]);
	}
	memset(names, 0, sizeof(*names));
}

static const char *find(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id)
{
	return names->names[kind] ? names->names[kind][id] : NULL;
}

bool gs_ctl_names_has(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id)
{
	return find(names, kind, id) != NULL;
}

const char *gs_ctl_name(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id,
			char out[GS_CTL_NAME_MAX])
{
	const char *name = find(names, kind, id);

	if (name)
		snprintf(out, GS_CTL_NAME_MAX, "%s", name);
	else if (id)
		snprintf(out, GS_CTL_NAME_MAX, "id %u", id);
	else
		snprintf(out, GS_CTL_NAME_MAX, "-");
	return out;
}

json_t *gs_ctl_name_json(const struct gs_ctl_names *names, enum gs_ctl_kind kind, gs_id id)
{
	char text[GS_CTL_NAME_MAX];

	return id ? json_string(gs_ctl_name(names, kind, id, text)) : json_null();
}

gs_id gs_ctl_name_id(const struct gs_ctl_names *names, enum gs_ctl_kind kind, const char *text)
{
	GS_AUTO_FREE const char **words = calloc(IDS_MAX, sizeof(*words));
	const char *nearest;
	size_t count = 0;
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	for (uint32_t id = 1; words && id < IDS_MAX; id++) {
		const char *name = find(names, kind, (gs_id)id);

		if (name && strcmp(name, text) == 0)
			return (gs_id)id;
		if (name)
			words[count++] = name;
	}
	if (count == 0 && *text >= '0' && *text <= '9' && !*end && number < IDS_MAX)
		return (gs_id)number;
	nearest = words ? gs_suggest(text, words, count) : NULL;
	gs_ctl_fail("no %s is named \"%s\"%s%s%s", kinds[kind], text,
		    nearest ? "; did you mean \"" : "", nearest ? nearest : "",
		    nearest ? "\"?" : "");
	return 0;
}
