// SPDX-License-Identifier: Apache-2.0
/* set, override add and remove: small changes of the desired state. */
#include "user/app/snapshot_io.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/core/cidr.h"
#include "user/core/snapshot.h"
#include "user/ctl/ctl_db.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static void free_snapshot_ptr(struct gs_snapshot **snapshot)
{
	gs_snapshot_free(*snapshot);
}
#define AUTO_SNAPSHOT GS_CLEANUP(free_snapshot_ptr)

/* ---- set -------------------------------------------------------------------------------------*/

struct setting {
	enum gs_kind kind;
	const char *name;
	int count;
	char **assignments; /* "admin=drain" */
};

static int set_admin(const char *value, enum gs_admin *admin, struct gs_error *error)
{
	if (gs_admin_parse(value, admin) != 0)
		return gs_error_set(-EINVAL, error,
				    "admin=%s: not one of auto, force_up, drain, maintenance and "
				    "force_down",
				    value);
	return 0;
}

static int parse_integer(const char *key, const char *value, long long min, long long max,
			 long long *ret_number, struct gs_error *error)
{
	char *end;
	long long number = 0;

	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno || end == value || *end || number < min || number > max)
		return gs_error_set(-EINVAL, error, "%s=%s: not a whole number from %lld to %lld",
				    key, value, min, max);
	*ret_number = number;
	return 0;
}

static int set_region(struct gs_region *region, const char *key, const char *value,
		      struct gs_error *error)
{
	long long number = 0;
	int ret;

	if (strcmp(key, "admin") == 0)
		return set_admin(value, &region->admin, error);
	if (strcmp(key, "capacity") == 0) {
		ret = parse_integer(key, value, 0, INT64_MAX, &number, error);
		if (ret == 0)
			region->capacity = (uint64_t)number;
		return ret;
	}
	if (strcmp(key, "cost") == 0) {
		char *end;
		double cost = strtod(value, &end);

		if (end == value || *end || !isfinite(cost) || cost < 0)
			return gs_error_set(-EINVAL, error, "cost=%s: not a number of 0 or more",
					    value);
		region->cost = cost;
		return 0;
	}
	return gs_error_set(-EINVAL, error,
			    "%s: a region has no such setting (admin, cost, capacity)", key);
}

static int set_backend(struct gs_backend *backend, const char *key, const char *value,
		       struct gs_error *error)
{
	long long number = 0;
	int ret;

	if (strcmp(key, "admin") == 0)
		return set_admin(value, &backend->admin, error);
	if (strcmp(key, "weight") == 0) {
		ret = parse_integer(key, value, 1, 1000, &number, error);
		if (ret == 0)
			backend->weight = (uint16_t)number;
		return ret;
	}
	return gs_error_set(-EINVAL, error, "%s: a backend has no such setting (admin, weight)",
			    key);
}

static int set_one(struct gs_snapshot *want, const struct setting *setting, const char *key,
		   const char *value, struct gs_error *error)
{
	if (setting->kind == GS_KIND_REGION) {
		const struct gs_region *region = gs_snapshot_region_named(want, setting->name);

		if (!region)
			return gs_error_set(-ENOENT, error, "no region is named \"%s\"",
					    setting->name);
		return set_region(&want->regions[region - want->regions], key, value, error);
	}
	const struct gs_backend *backend = gs_snapshot_backend_named(want, setting->name);

	if (!backend)
		return gs_error_set(-ENOENT, error, "no backend is named \"%s\"", setting->name);
	return set_backend(&want->backends[backend - want->backends], key, value, error);
}

static int make_setting(const struct gs_snapshot *have, void *context,
			struct gs_snapshot **ret_want, struct gs_error *error)
{
	const struct setting *setting = context;
	AUTO_SNAPSHOT struct gs_snapshot *want = NULL;

	if (gs_snapshot_copy(have, 0, &want) != 0)
		return gs_error_set(-ENOMEM, error, "no memory");
	for (int i = 0; i < setting->count; i++) {
		const char *assignment = setting->assignments[i];
		const char *equals = strchr(assignment, '=');
		char key[32];
		int ret;

		snprintf(key, sizeof(key), "%.*s", (int)(equals - assignment), assignment);
		ret = set_one(want, setting, key, equals + 1, error);
		if (ret)
			return ret;
	}
	*ret_want = gs_take_ptr(want);
	return 0;
}

static int set(const struct gs_ctl *ctl, enum gs_kind kind, int argc, char **argv)
{
	struct setting setting = {kind, argc > 0 ? argv[0] : "", argc - 1, argv + 1};

	if (argc < 2)
		return gs_ctl_usage(gs_kind_name(kind), "set", "set what of which %s?",
				    gs_kind_name(kind));
	for (int i = 1; i < argc; i++)
		if (!strchr(argv[i], '='))
			return gs_ctl_usage(gs_kind_name(kind), "set",
					    "\"%s\" is not of the form SETTING=VALUE", argv[i]);
	return gs_ctl_db_edit(ctl, make_setting, &setting, false);
}

int gs_ctl_region_set(const struct gs_ctl *ctl, int argc, char **argv)
{
	return set(ctl, GS_KIND_REGION, argc, argv);
}

int gs_ctl_backend_set(const struct gs_ctl *ctl, int argc, char **argv)
{
	return set(ctl, GS_KIND_BACKEND, argc, argv);
}

/* ---- overrides -------------------------------------------------------------------------------*/

struct override_change {
	struct gs_prefix prefix;
	const char *text; /* of the prefix */
	const char *region;
	char reason[GS_NAME_MAX * 2];
};

/* *ret_index: of the prefix, or override_count. */
static uint32_t find_override(const struct gs_snapshot *snapshot, const struct gs_prefix *prefix)
{
	uint32_t i = 0;

	while (i < snapshot->override_count &&
	       gs_prefix_compare(&snapshot->overrides[i].prefix, prefix) != 0)
		i++;
	return i;
}

static int make_added(const struct gs_snapshot *have, void *context, struct gs_snapshot **ret_want,
		      struct gs_error *error)
{
	const struct override_change *change = context;
	const struct gs_region *region = gs_snapshot_region_named(have, change->region);
	struct gs_snapshot *want = NULL;
	uint32_t i;

	if (!region)
		return gs_error_set(-ENOENT, error, "no region is named \"%s\"", change->region);
	if (gs_snapshot_copy(have, 1, &want) != 0)
		return gs_error_set(-ENOMEM, error, "no memory");
	i = find_override(want, &change->prefix);
	if (i == want->override_count)
		want->override_count++;
	want->overrides[i].prefix = change->prefix;
	want->overrides[i].region = region->id;
	memcpy(want->overrides[i].reason, change->reason, sizeof(change->reason));
	*ret_want = want;
	return 0;
}

static int make_removed(const struct gs_snapshot *have, void *context,
			struct gs_snapshot **ret_want, struct gs_error *error)
{
	const struct override_change *change = context;
	uint32_t i = find_override(have, &change->prefix);
	struct gs_snapshot *want = NULL;

	if (i == have->override_count)
		return gs_error_set(-ENOENT, error, "no override is for %s", change->text);
	if (gs_snapshot_copy(have, 0, &want) != 0)
		return gs_error_set(-ENOMEM, error, "no memory");
	want->override_count--;
	memmove(&want->overrides[i], &want->overrides[i + 1],
		(want->override_count - i) * sizeof(*want->overrides));
	*ret_want = want;
	return 0;
}

static int parse_prefix(const char *text, struct override_change *change)
{
	int ret = gs_prefix_parse(text, &change->prefix);

	change->text = text;
	if (ret)
		return gs_ctl_fail("%s: %s", text,
				   ret == -EDOM	    ? "bits are set beyond the prefix's length"
				   : ret == -ERANGE ? "not a length an address of its family has"
						    : "not an IPv4 or IPv6 prefix");
	return 0;
}

int gs_ctl_override_add(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct override_change change = {0};
	size_t length = 0;
	int first = 2;

	if (argc < 2)
		return gs_ctl_usage("override", "add", "which prefix, and to which region?");
	if (parse_prefix(argv[0], &change) != 0)
		return GS_CTL_FAILED;
	change.region = argv[1];
	if (argc > 2 && strcmp(argv[2], "--reason") == 0)
		first = 3;
	if (argc > 2 && (first == argc || strncmp(argv[first], "--", 2) == 0))
		return gs_ctl_usage("override", "add", "%s: a reason expected", argv[first - 1]);
	/* The rest is the reason, quoted or not. */
	for (int i = first; i < argc; i++) {
		length += (size_t)snprintf(change.reason + length, sizeof(change.reason) - length,
					   "%s%s", i > first ? " " : "", argv[i]);
		if (length >= sizeof(change.reason))
			return gs_ctl_fail("reason: longer than %zu bytes",
					   sizeof(change.reason) - 1);
	}
	return gs_ctl_db_edit(ctl, make_added, &change, false);
}

int gs_ctl_override_remove(const struct gs_ctl *ctl, int argc, char **argv)
{
	struct override_change change = {0};

	if (argc != 1)
		return gs_ctl_usage("override", "remove", "which prefix?");
	if (parse_prefix(argv[0], &change) != 0)
		return GS_CTL_FAILED;
	return gs_ctl_db_edit(ctl, make_removed, &change, false);
}
