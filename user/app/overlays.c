/* SPDX-License-Identifier: Apache-2.0 */
#include "overlays.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/file.h"
#include "user/base/suggest.h"
#include "user/core/cidr.h"
#include "user/core/moment.h"
#include "user/core/snapshot.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- names ----------------------------------------------------------------------------------- */

const char *gs_overlay_name(const struct gs_overlay_names *names, char out[GS_OVERLAY_NAME_MAX])
{
	if (names->service[0])
		snprintf(out, GS_OVERLAY_NAME_MAX, "%s@%s", names->service, names->region);
	else
		snprintf(out, GS_OVERLAY_NAME_MAX, "%s",
			 names->backend[0] ? names->backend : names->region);
	return out;
}

static int copy_name(char out[GS_NAME_MAX], const char *text, size_t length, struct gs_error *error)
{
	if (length == 0 || length >= GS_NAME_MAX)
		return gs_error_set(-EINVAL, error, "%s: a name is 1 to %d bytes", text,
				    GS_NAME_MAX - 1);
	memcpy(out, text, length);
	out[length] = '\0';
	return 0;
}

int gs_overlay_names_parse(const char *kind, const char *text, struct gs_overlay_names *ret_names,
			   struct gs_error *error)
{
	struct gs_overlay_names names = {.region = ""};
	const char *at = strchr(text, '@');
	int ret;

	if (strcmp(kind, "service") != 0) {
		ret = copy_name(strcmp(kind, "region") == 0 ? names.region : names.backend, text,
				strlen(text), error);
	} else if (!at) {
		return gs_error_set(-EINVAL, error,
				    "%s: in which region? (SERVICE@REGION; all of them: %s@*)",
				    text, text);
	} else {
		ret = copy_name(names.service, text, (size_t)(at - text), error);
		ret = ret ? ret : copy_name(names.region, at + 1, strlen(at + 1), error);
	}
	if (ret == 0)
		*ret_names = names;
	return ret;
}

bool gs_overlay_is_pattern(const char *text)
{
	return strpbrk(text, "*?[") != NULL;
}

static int add_name(const struct gs_overlay_names *one, struct gs_overlay_names *names,
		    uint32_t max, uint32_t *count, struct gs_error *error)
{
	for (uint32_t i = 0; i < *count; i++)
		if (memcmp(&names[i], one, sizeof(*one)) == 0)
			return 0;
	if (*count == max)
		return gs_error_set(-ENOSPC, error, "more than %u objects", max);
	names[(*count)++] = *one;
	return 0;
}

static bool is_wanted(const struct gs_overlay_names *wanted, const struct gs_overlay_names *one)
{
	return fnmatch(wanted->region, one->region, 0) == 0 &&
	       fnmatch(wanted->service, one->service, 0) == 0 &&
	       fnmatch(wanted->backend, one->backend, 0) == 0;
}

static int expand_regions(const struct gs_snapshot *snapshot, const struct gs_overlay_names *wanted,
			  struct gs_overlay_names *names, uint32_t max, uint32_t *count,
			  struct gs_error *error)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < snapshot->region_count; i++) {
		struct gs_overlay_names one = {.region = ""};

		strcpy(one.region, snapshot->regions[i].name);
		if (is_wanted(wanted, &one))
			ret = add_name(&one, names, max, count, error);
	}
	return ret;
}

/* Backends, and pools by the backends they have. */
static int expand_backends(const struct gs_snapshot *snapshot,
			   const struct gs_overlay_names *wanted, struct gs_overlay_names *names,
			   uint32_t max, uint32_t *count, struct gs_error *error)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < snapshot->backend_count; i++) {
		const struct gs_backend *backend = &snapshot->backends[i];
		const struct gs_service *service = gs_snapshot_service(snapshot, backend->service);
		const struct gs_region *region = gs_snapshot_region(snapshot, backend->region);
		struct gs_overlay_names one = {.region = ""};

		if (wanted->backend[0])
			strcpy(one.backend, backend->name);
		else
			strcpy(one.service, service ? service->name : "");
		if (!wanted->backend[0])
			strcpy(one.region, region ? region->name : "");
		if (is_wanted(wanted, &one))
			ret = add_name(&one, names, max, count, error);
	}
	return ret;
}

/* An object that is not there; what was probably meant. */
static int nothing_named(const struct gs_snapshot *snapshot, const struct gs_overlay_names *wanted,
			 const char *kind, const char *text, struct gs_error *error)
{
	uint32_t count = wanted->backend[0] ? snapshot->backend_count : snapshot->region_count;
	GS_AUTO_FREE const char **candidates = calloc(count + 1u, sizeof(char *));
	const char *nearest = NULL;

	if (gs_overlay_is_pattern(text))
		return gs_error_set(
			-ENOENT, error, "no %s matches \"%s\"",
			wanted->service[0] ? "service with a backend in a region" : kind, text);
	for (uint32_t i = 0; candidates && i < count; i++)
		candidates[i] =
			wanted->backend[0] ? snapshot->backends[i].name : snapshot->regions[i].name;
	if (candidates && !wanted->service[0])
		nearest = gs_suggest(text, candidates, count);
	return gs_error_set(-ENOENT, error, "no %s is named \"%s\"%s%s%s",
			    wanted->service[0] ? "service with a backend there" : kind, text,
			    nearest ? "; did you mean \"" : "", nearest ? nearest : "",
			    nearest ? "\"?" : "");
}

int gs_overlay_expand(const struct gs_snapshot *snapshot, const char *kind, const char *text,
		      struct gs_overlay_names *names, uint32_t max, uint32_t *count,
		      struct gs_error *error)
{
	struct gs_overlay_names wanted = {.region = ""};
	bool is_found = false;
	int ret = gs_overlay_names_parse(kind, text, &wanted, error);

	if (ret)
		return ret;
	ret = strcmp(kind, "region") == 0
		      ? expand_regions(snapshot, &wanted, names, max, count, error)
		      : expand_backends(snapshot, &wanted, names, max, count, error);
	for (uint32_t i = 0; i < *count; i++)
		is_found = is_found || is_wanted(&wanted, &names[i]);
	if (ret == 0 && !is_found)
		return nothing_named(snapshot, &wanted, kind, text, error);
	return ret;
}

bool gs_overlay_find_object(const struct gs_snapshot *snapshot,
			    const struct gs_overlay_names *names, struct gs_overlay *object)
{
	const struct gs_region *region = NULL;
	const struct gs_service *service = NULL;
	const struct gs_backend *backend = NULL;

	if (names->region[0])
		region = gs_snapshot_region_named(snapshot, names->region);
	if (names->service[0])
		service = gs_snapshot_service_named(snapshot, names->service);
	if (names->backend[0])
		backend = gs_snapshot_backend_named(snapshot, names->backend);
	if ((names->region[0] && !region) || (names->service[0] && !service) ||
	    (names->backend[0] && !backend))
		return false;
	object->region = region ? region->id : 0;
	object->service = service ? service->id : 0;
	object->backend = backend ? backend->id : 0;
	return region || backend;
}

struct gs_overlay_names gs_overlay_names_of(const struct gs_snapshot *snapshot,
					    const struct gs_overlay *overlay)
{
	const struct gs_region *region = gs_snapshot_region(snapshot, overlay->region);
	const struct gs_service *service = gs_snapshot_service(snapshot, overlay->service);
	const struct gs_backend *backend = gs_snapshot_backend(snapshot, overlay->backend);
	struct gs_overlay_names names = {.region = ""};

	if (region)
		strcpy(names.region, region->name);
	if (service)
		strcpy(names.service, service->name);
	if (backend)
		strcpy(names.backend, backend->name);
	return names;
}

json_t *gs_overlay_json(const struct gs_overlay *overlay, bool is_local)
{
	char until[GS_MOMENT_TEXT_MAX];
	json_t *json = json_pack("{s:s, s:s, s:s}", "admin", gs_admin_name(overlay->admin),
				 "reason", overlay->reason, "actor", overlay->actor);

	if (overlay->expires_unix_ms)
		json_object_set_new(json, "expires",
				    json_string(gs_moment_format(overlay->expires_unix_ms, until)));
	if (overlay->ticket[0])
		json_object_set_new(json, "ticket", json_string(overlay->ticket));
	if (is_local)
		json_object_set_new(json, "local", json_true());
	else
		json_object_set_new(json, "version", json_integer((json_int_t)overlay->version));
	if (overlay->edge[0])
		json_object_set_new(json, "edge", json_string(overlay->edge));
	return json;
}

/* ---- the file -------------------------------------------------------------------------------- */

static int save(const struct gs_local_overlays *local, struct gs_error *error)
{
	GS_AUTO_FREE char *text = NULL;
	json_t *list = json_array();

	for (uint32_t i = 0; i < local->entry_count; i++) {
		const struct gs_overlay_names *names = &local->entries[i].names;
		const struct gs_overlay *overlay = &local->entries[i].overlay;

		json_array_append_new(
			list,
			json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:s}", "region", names->region,
				  "service", names->service, "backend", names->backend, "admin",
				  gs_admin_name(overlay->admin), "made_unix_ms",
				  (json_int_t)overlay->made_unix_ms, "expires_unix_ms",
				  (json_int_t)overlay->expires_unix_ms, "reason", overlay->reason,
				  "actor", overlay->actor, "ticket", overlay->ticket));
	}
	text = json_array_size(list) == local->entry_count ? json_dumps(list, 0) : NULL;
	json_decref(list);
	if (local->entry_count == 0)
		return gs_file_remove(local->path, error);
	if (!text)
		return gs_error_set(-EINVAL, error, "a reason, actor or ticket is no UTF-8 text");
	return gs_file_replace(local->path, text, error);
}

static bool copy_text(char *out, size_t size, const char *text)
{
	if (!gs_text_is_valid(text, size - 1))
		return false;
	memcpy(out, text, strlen(text) + 1);
	return true;
}

static bool read_entry(json_t *json, struct gs_overlay_names *names, struct gs_overlay *overlay)
{
	const char *region, *service, *backend, *admin, *reason, *actor, *ticket;
	json_int_t made, expires;

	if (json_unpack(json, "{s:s,s:s,s:s,s:s,s:I,s:I,s:s,s:s,s:s}", "region", &region, "service",
			&service, "backend", &backend, "admin", &admin, "made_unix_ms", &made,
			"expires_unix_ms", &expires, "reason", &reason, "actor", &actor, "ticket",
			&ticket) != 0)
		return false;
	overlay->made_unix_ms = made;
	overlay->expires_unix_ms = expires;
	return gs_admin_parse(admin, &overlay->admin) == 0 && made >= 0 && expires > 0 &&
	       copy_text(names->region, sizeof(names->region), region) &&
	       copy_text(names->service, sizeof(names->service), service) &&
	       copy_text(names->backend, sizeof(names->backend), backend) &&
	       copy_text(overlay->reason, sizeof(overlay->reason), reason) &&
	       copy_text(overlay->actor, sizeof(overlay->actor), actor) &&
	       copy_text(overlay->ticket, sizeof(overlay->ticket), ticket);
}

int gs_local_overlays_load(struct gs_local_overlays *local, const char *path,
			   struct gs_error *error)
{
	json_error_t why;
	json_t *list = json_load_file(path, 0, &why), *one;
	size_t i;
	int ret = 0;

	memset(local, 0, sizeof(*local));
	snprintf(local->path, sizeof(local->path), "%s", path);
	if (!list && access(path, F_OK) && errno == ENOENT)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > GS_OVERLAYS_LOCAL_MAX)
		ret = -EINVAL;
	json_array_foreach (list, i, one)
		if (ret == 0 &&
		    !read_entry(one, &local->entries[i].names, &local->entries[i].overlay))
			ret = -EINVAL;
	local->entry_count = ret == 0 ? (uint32_t)json_array_size(list) : 0;
	json_decref(list);
	return ret ? gs_error_set(ret, error, "%s: not what this program writes there", path) : 0;
}

/* ---- changes --------------------------------------------------------------------------------- */

static uint32_t find_entry(const struct gs_local_overlays *local,
			   const struct gs_overlay_names *names)
{
	uint32_t i = 0;

	while (i < local->entry_count &&
	       (strcmp(local->entries[i].names.region, names->region) != 0 ||
		strcmp(local->entries[i].names.service, names->service) != 0 ||
		strcmp(local->entries[i].names.backend, names->backend) != 0))
		i++;
	return i;
}

static void remove_entry(struct gs_local_overlays *local, uint32_t i)
{
	local->entries[i] = local->entries[--local->entry_count];
}

/* `changed` takes the place of *local if it can be saved. */
static int commit(struct gs_local_overlays *local, const struct gs_local_overlays *changed,
		  struct gs_error *error)
{
	int ret = save(changed, error);

	if (ret == 0)
		*local = *changed;
	return ret;
}

int gs_local_overlays_set(struct gs_local_overlays *local, const struct gs_overlay_names *names,
			  uint32_t count, const struct gs_overlay *overlay, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_local_overlays *changed = malloc(sizeof(*changed));

	if (!changed)
		return gs_error_set(-ENOMEM, error, "no memory");
	*changed = *local;
	for (uint32_t n = 0; n < count; n++) {
		uint32_t i = find_entry(changed, &names[n]);

		if (i == GS_OVERLAYS_LOCAL_MAX)
			return gs_error_set(-ENOSPC, error, "more than %d on this edge alone",
					    GS_OVERLAYS_LOCAL_MAX);
		changed->entries[i].names = names[n];
		changed->entries[i].overlay = *overlay;
		changed->entry_count += i == changed->entry_count;
	}
	return commit(local, changed, error);
}

int gs_local_overlays_clear(struct gs_local_overlays *local, const struct gs_overlay_names *names,
			    uint32_t count, uint32_t *ret_cleared, struct gs_error *error)
{
	GS_AUTO_FREE struct gs_local_overlays *changed = malloc(sizeof(*changed));
	uint32_t cleared = 0;
	int ret;

	if (!changed)
		return gs_error_set(-ENOMEM, error, "no memory");
	*changed = *local;
	for (uint32_t n = 0; n < count; n++) {
		uint32_t i = find_entry(changed, &names[n]);

		if (i == changed->entry_count)
			continue;
		remove_entry(changed, i);
		cleared++;
	}
	ret = commit(local, changed, error);
	if (ret == 0)
		*ret_cleared = cleared;
	return ret;
}

/* What is gone holds no more, whether the disk takes it or not: it is dropped there the next time.
 */
static void save_if(const struct gs_local_overlays *local, uint32_t changes)
{
	struct gs_error ignored;

	if (changes > 0)
		save(local, &ignored);
}

uint32_t gs_local_overlays_expire(struct gs_local_overlays *local, int64_t unix_ms)
{
	uint32_t gone = 0;

	for (uint32_t i = local->entry_count; i > 0; i--)
		if (local->entries[i - 1].overlay.expires_unix_ms <= unix_ms) {
			remove_entry(local, i - 1);
			gone++;
		}
	save_if(local, gone);
	return gone;
}

static bool is_superseded(const struct gs_overlay *own, const struct gs_snapshot *snapshot,
			  const char *edge, int64_t unix_ms)
{
	for (uint32_t i = 0; i < snapshot->overlay_count; i++) {
		const struct gs_overlay *shared = &snapshot->overlays[i];

		if (shared->supersedes && shared->made_unix_ms > own->made_unix_ms &&
		    gs_overlay_same_object(shared, own) && gs_overlay_holds(shared, edge, unix_ms))
			return true;
	}
	return false;
}

uint32_t gs_local_overlays_follow(struct gs_local_overlays *local,
				  const struct gs_snapshot *snapshot, const char *edge,
				  int64_t unix_ms)
{
	uint32_t gone = 0;

	local->count = 0;
	for (uint32_t i = local->entry_count; i > 0; i--) {
		struct gs_overlay own = local->entries[i - 1].overlay;

		if (!gs_overlay_find_object(snapshot, &local->entries[i - 1].names, &own))
			continue;
		if (is_superseded(&own, snapshot, edge, unix_ms)) {
			remove_entry(local, i - 1);
			gone++;
		} else {
			local->overlays[local->count++] = own;
		}
	}
	save_if(local, gone);
	return gone;
}
