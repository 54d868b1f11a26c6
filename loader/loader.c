// SPDX-License-Identifier: Apache-2.0
#include "loader/loader.h"

#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define VERIFIER_LOG_BYTES (1u << 20)

struct gs_loader {
	struct bpf_object *object; /* owned */
	struct bpf_program *program;
	const struct gs_pins *pins; /* may be NULL */
	char *verifier_log;	    /* owned; VERIFIER_LOG_BYTES */
	char path[PATH_MAX];	    /* of the object */
	bool made_maps;
};

/* ---- the object ------------------------------------------------------------------------------*/

static bool find_beside(const char *file, char ret_path[PATH_MAX])
{
	char self[PATH_MAX - 64];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (length <= 0)
		return false;
	self[length] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return false;
	*slash = '\0';
	snprintf(ret_path, PATH_MAX, "%s/bpf/%s", self, file);
	return !access(ret_path, F_OK);
}

int gs_loader_find_object(const char *named, const char *file, char ret_path[PATH_MAX],
			  struct gs_loader_error *error)
{
	char beside[PATH_MAX] = "", installed[PATH_MAX];

	if (named) {
		if (access(named, R_OK)) {
			int err = -errno;
			return gs_loader_fail(error, err, "BPF object %s: %s", named,
					      strerror(-err));
		}
		snprintf(ret_path, PATH_MAX, "%s", named);
		return 0;
	}
	if (find_beside(file, beside)) {
		memcpy(ret_path, beside, PATH_MAX);
		return 0;
	}
	snprintf(installed, sizeof(installed), GS_PREFIX "/lib/geostream/bpf/%s", file);
	if (!access(installed, F_OK)) {
		memcpy(ret_path, installed, PATH_MAX);
		return 0;
	}
	return gs_loader_fail(error, -ENOENT, "no BPF object: neither %s nor %s (-o names another)",
			      beside, installed);
}

static int open_object(struct gs_loader *loader, struct gs_loader_error *error)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	int ret;

	gs_loader_forget();
	loader->object = bpf_object__open_file(loader->path, &opts);
	if (!loader->object) {
		ret = -errno;
		return gs_loader_fail(error, ret, "%s is no BPF object of ours: %s%s%s",
				      loader->path, strerror(-ret), *gs_loader_heard() ? ": " : "",
				      gs_loader_heard());
	}
	loader->program = bpf_object__find_program_by_name(loader->object, GS_LOADER_PROGRAM);
	if (!loader->program || bpf_program__type(loader->program) != BPF_PROG_TYPE_XDP)
		return gs_loader_fail(error, -EINVAL, "%s: no XDP program named " GS_LOADER_PROGRAM,
				      loader->path);
	for (const char *const *name = gs_pins_maps; *name; name++) {
		if (!bpf_object__find_map_by_name(loader->object, *name))
			return gs_loader_fail(error, -EINVAL, "%s: no map named %s", loader->path,
					      *name);
	}
	return 0;
}

/* ---- sizes, and the maps that are there ------------------------------------------------------*/

static bool is_power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

static int set_entries(struct gs_loader *loader, const char *name, uint32_t entries,
		       struct gs_loader_error *error)
{
	int ret = bpf_map__set_max_entries(bpf_object__find_map_by_name(loader->object, name),
					   entries);

	return ret ? gs_loader_fail(error, ret, "map %s: %s", name, strerror(-ret)) : 0;
}

static int set_nat_planes(struct gs_loader *loader, uint32_t planes, struct gs_loader_error *error)
{
	int ret;

	if (planes > GS_NAT_PLANES_MAX || !is_power_of_two(planes))
		return gs_loader_fail(error, -EINVAL,
				      "%u planes for NAT: wanted a power of two up to %u", planes,
				      GS_NAT_PLANES_MAX);
	ret = set_entries(loader, GS_MAP_NAT_FLOWS, planes * GS_NAT_BUCKETS, error);
	return ret ? ret : set_entries(loader, GS_MAP_NAT_DETAILS, planes * GS_NAT_SLOTS, error);
}

static int set_flow_buckets(struct gs_loader *loader, uint32_t buckets,
			    struct gs_loader_error *error)
{
	if (buckets > GS_FLOW_BUCKETS_MAX || !is_power_of_two(buckets))
		return gs_loader_fail(error, -EINVAL,
				      "%u flow buckets: wanted a power of two up to %u", buckets,
				      GS_FLOW_BUCKETS_MAX);
	return set_entries(loader, GS_MAP_FLOWS, buckets, error);
}

static int set_sizes(struct gs_loader *loader, const struct gs_loader_options *options,
		     struct gs_loader_error *error)
{
	struct bpf_map *map;
	int ret = 0;

	if (options->offload_ifindex) {
		bpf_program__set_ifindex(loader->program, options->offload_ifindex);
		bpf_object__for_each_map(map, loader->object)
			bpf_map__set_ifindex(map, options->offload_ifindex);
	}
	if (options->flow_buckets)
		ret = set_flow_buckets(loader, options->flow_buckets, error);
	if (!ret && options->nat_planes)
		ret = set_nat_planes(loader, options->nat_planes, error);
	return ret;
}

/* What to type when the maps there are of no use; ends every refusal. */
#define PURGE_HINT                                                               \
	"'geostream-loader detach INTERFACE --purge --pin-dir %s' removes them " \
	"(tables and flows are lost), then attach again"

static int open_pinned(const struct gs_pins *pins, const char *name, struct bpf_map_info *ret_info,
		       int *ret_fd, struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	GS_AUTO_CLOSE int fd = -1;
	int ret;

	gs_pins_path(pins, "", name, path);
	fd = bpf_obj_get(path);
	if (fd < 0) {
		ret = -errno;
		if (ret == -ENOENT)
			return gs_loader_fail(
				error, -ESTALE,
				"%s is missing, the other maps are there: " PURGE_HINT, path,
				pins->dir);
		return gs_loader_fail(error, ret, "%s: %s", path, strerror(-ret));
	}
	ret = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (ret)
		return gs_loader_fail(error, ret, "%s is no BPF map: %s", path, strerror(-ret));
	*ret_info = info;
	*ret_fd = gs_take_fd(fd);
	return 0;
}

/* The version is the first word of `meta` in every layout, whatever follows it. */
int gs_loader_check_version(const struct gs_pins *pins, struct gs_loader_error *error)
{
	struct bpf_map_info info = {0};
	GS_AUTO_FREE void *value = NULL;
	GS_AUTO_CLOSE int fd = -1;
	uint32_t version, key = 0;
	int ret;

	ret = open_pinned(pins, GS_MAP_META, &info, &fd, error);
	if (ret)
		return ret;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.key_size != sizeof(key) ||
	    info.value_size < sizeof(version))
		return gs_loader_fail(error, -ESTALE, "%s/" GS_MAP_META " is not GeoStream's",
				      pins->dir);
	value = calloc(1, info.value_size);
	if (!value)
		return gs_loader_fail(error, -ENOMEM, "out of memory");
	ret = bpf_map_lookup_elem(fd, &key, value);
	if (ret)
		return gs_loader_fail(error, ret, "%s/" GS_MAP_META ": %s", pins->dir,
				      strerror(-ret));
	memcpy(&version, value, sizeof(version));
	if (version != GS_MAPS_VERSION)
		return gs_loader_fail(error, -ESTALE,
				      "%s holds maps of layout version %u, this program has %u: "
				      "nothing was changed; " PURGE_HINT,
				      pins->dir, version, GS_MAPS_VERSION, pins->dir);
	return 0;
}

static int refuse_size(const struct gs_pins *pins, const char *name, const char *what,
		       uint32_t pinned, uint32_t wanted, struct gs_loader_error *error)
{
	return gs_loader_fail(
		error, -ESTALE,
		"%s/%s: pinned with %s %u, wanted %u: nothing was changed; " PURGE_HINT, pins->dir,
		name, what, pinned, wanted, pins->dir);
}

static int take_over(struct gs_loader *loader, struct bpf_map *map, bool keep_entries,
		     struct gs_loader_error *error)
{
	const char *name = bpf_map__name(map);
	struct bpf_map_info info = {0};
	GS_AUTO_CLOSE int fd = -1;
	int ret;

	ret = open_pinned(loader->pins, name, &info, &fd, error);
	if (ret)
		return ret;
	if (info.type != bpf_map__type(map))
		return refuse_size(loader->pins, name, "map type", info.type, bpf_map__type(map),
				   error);
	if (info.key_size != bpf_map__key_size(map))
		return refuse_size(loader->pins, name, "key size", info.key_size,
				   bpf_map__key_size(map), error);
	if (info.value_size != bpf_map__value_size(map))
		return refuse_size(loader->pins, name, "value size", info.value_size,
				   bpf_map__value_size(map), error);
	if (info.map_flags != bpf_map__map_flags(map))
		return refuse_size(loader->pins, name, "flags", info.map_flags,
				   bpf_map__map_flags(map), error);
	if (!keep_entries && info.max_entries != bpf_map__max_entries(map))
		return refuse_size(loader->pins, name, "entries", info.max_entries,
				   bpf_map__max_entries(map), error);
	ret = bpf_map__reuse_fd(map, fd); /* keeps a duplicate */
	return ret ? gs_loader_fail(error, ret, "map %s: %s", name, strerror(-ret)) : 0;
}

/* Of the size they are pinned with, whatever that is. */
static bool keeps_entries(const char *name, const struct gs_loader_options *options)
{
	if (!strcmp(name, GS_MAP_FLOWS))
		return !options->flow_buckets;
	return (!strcmp(name, GS_MAP_NAT_FLOWS) || !strcmp(name, GS_MAP_NAT_DETAILS)) &&
	       !options->nat_planes;
}

static int take_over_all(struct gs_loader *loader, const struct gs_loader_options *options,
			 struct gs_loader_error *error)
{
	int ret = gs_loader_check_version(loader->pins, error);

	if (ret)
		return ret;
	for (const char *const *name = gs_pins_maps; *name; name++) {
		struct bpf_map *map = bpf_object__find_map_by_name(loader->object, *name);

		ret = take_over(loader, map, keeps_entries(*name, options), error);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- loading ---------------------------------------------------------------------------------*/

const char *gs_loader_verdict(char *log)
{
	const char *last = "";
	char *line, *rest = log;

	while ((line = strsep(&rest, "\n"))) {
		if (!*line || !strncmp(line, "processed ", strlen("processed ")))
			continue;
		last = line;
	}
	return last;
}

static int load(struct gs_loader *loader, struct gs_loader_error *error)
{
	const char *why;
	int ret;

	loader->verifier_log = calloc(1, VERIFIER_LOG_BYTES);
	if (!loader->verifier_log)
		return gs_loader_fail(error, -ENOMEM, "out of memory");
	bpf_program__set_log_buf(loader->program, loader->verifier_log, VERIFIER_LOG_BYTES);
	gs_loader_forget();
	ret = bpf_object__load(loader->object);
	if (!ret)
		return 0;
	why = gs_loader_verdict(loader->verifier_log);
	if (*why)
		return gs_loader_fail(error, ret, "the kernel refused %s: %s (%s)", loader->path,
				      why, strerror(-ret));
	return gs_loader_fail(error, ret, "cannot load %s: %s%s%s", loader->path, strerror(-ret),
			      *gs_loader_heard() ? ": " : "", gs_loader_heard());
}

static int init_meta(const struct gs_loader *loader, struct gs_loader_error *error)
{
	const struct bpf_map *flows = bpf_object__find_map_by_name(loader->object, GS_MAP_FLOWS);
	const struct bpf_map *nat = bpf_object__find_map_by_name(loader->object, GS_MAP_NAT_FLOWS);
	struct gs_meta_value meta = {
		.layout_version = GS_MAPS_VERSION,
		.services_epoch = 1,
		.flow_mask = bpf_map__max_entries(flows) - 1,
		.nat_mask = bpf_map__max_entries(nat) / GS_NAT_BUCKETS - 1,
	};
	uint32_t key = 0;
	int ret;

	while (getrandom(&meta.table_seed, sizeof(meta.table_seed), 0) !=
	       (ssize_t)sizeof(meta.table_seed)) {
		if (errno != EINTR)
			return gs_loader_fail(error, -errno, "getrandom: %s", strerror(errno));
	}
	ret = bpf_map_update_elem(gs_loader_map_fd(loader, GS_MAP_META), &key, &meta, BPF_ANY);
	return ret ? gs_loader_fail(error, ret, "map " GS_MAP_META ": %s", strerror(-ret)) : 0;
}

static int pin_all(const struct gs_loader *loader, struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];

	/* gs_pins_maps ends with `meta`, which says that the others are there */
	for (const char *const *name = gs_pins_maps; *name; name++) {
		gs_pins_path(loader->pins, "", *name, path);
		if (bpf_obj_pin(gs_loader_map_fd(loader, *name), path)) {
			int err = -errno;
			return gs_loader_fail(error, err, "cannot pin %s: %s", path,
					      strerror(-err));
		}
	}
	return 0;
}

/* Pins without `meta`: someone died. Unless a link still forwards by them, they are nobody's. */
static int remove_leftovers(const struct gs_pins *pins, struct gs_loader_error *error)
{
	const size_t prefix = strlen(GS_PIN_LINK_PREFIX);
	struct dirent *entry;
	DIR *dir;
	bool has_link = false;

	dir = opendir(pins->dir);
	if (!dir)
		return gs_loader_fail(error, -errno, "%s: %s", pins->dir, strerror(errno));
	while ((entry = readdir(dir)))
		has_link |= !strncmp(entry->d_name, GS_PIN_LINK_PREFIX, prefix);
	closedir(dir);
	if (has_link)
		return gs_loader_fail(error, -ESTALE,
				      "%s has links but no " GS_MAP_META
				      " map: detach those interfaces first",
				      pins->dir);
	return gs_pins_clear(pins, NULL, error);
}

/* ---- the whole -------------------------------------------------------------------------------*/

static int prepare(struct gs_loader *loader, const struct gs_loader_options *options,
		   struct gs_loader_error *error)
{
	int ret;

	loader->pins = options->pins;
	ret = gs_loader_find_object(options->object_path, GS_LOADER_OBJECT, loader->path, error);
	if (ret)
		return ret;
	ret = open_object(loader, error);
	if (ret)
		return ret;
	ret = set_sizes(loader, options, error);
	if (ret)
		return ret;
	loader->made_maps = !options->pins || !gs_pins_has(options->pins, GS_MAP_META);
	return loader->made_maps ? 0 : take_over_all(loader, options, error);
}

static int complete(struct gs_loader *loader, struct gs_loader_error *error)
{
	int ret;

	if (loader->made_maps && loader->pins) {
		ret = remove_leftovers(loader->pins, error);
		if (ret)
			return ret;
	}
	ret = load(loader, error);
	if (ret || !loader->made_maps)
		return ret;
	ret = init_meta(loader, error);
	if (ret || !loader->pins)
		return ret;
	ret = pin_all(loader, error);
	if (ret)
		remove_leftovers(loader->pins, NULL);
	return ret;
}

static int fill(struct gs_loader *loader, const struct gs_loader_options *options, bool is_unloaded,
		struct gs_loader_error *error)
{
	int ret = prepare(loader, options, error);

	if (ret)
		return ret;
	if (!is_unloaded)
		return complete(loader, error);
	return loader->made_maps ? gs_loader_fail(error, -ENOENT, "no maps are pinned") : 0;
}

static int open_with(const struct gs_loader_options *options, bool is_unloaded,
		     struct gs_loader **ret_loader, struct gs_loader_error *error)
{
	struct gs_loader *loader = calloc(1, sizeof(*loader));
	int ret;

	if (!loader)
		return gs_loader_fail(error, -ENOMEM, "out of memory");
	ret = fill(loader, options, is_unloaded, error);
	if (ret) {
		gs_loader_close(loader);
		return ret;
	}
	*ret_loader = loader;
	return 0;
}

int gs_loader_open(const struct gs_loader_options *options, struct gs_loader **ret_loader,
		   struct gs_loader_error *error)
{
	return open_with(options, false, ret_loader, error);
}

int gs_loader_open_unloaded(const struct gs_loader_options *options, struct gs_loader **ret_loader,
			    struct gs_loader_error *error)
{
	return open_with(options, true, ret_loader, error);
}

void gs_loader_close(struct gs_loader *loader)
{
	if (!loader)
		return;
	bpf_object__close(loader->object);
	free(loader->verifier_log);
	free(loader);
}

struct bpf_object *gs_loader_object(const struct gs_loader *loader)
{
	return loader->object;
}

int gs_loader_prog_fd(const struct gs_loader *loader)
{
	return bpf_program__fd(loader->program);
}

int gs_loader_map_fd(const struct gs_loader *loader, const char *name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(loader->object, name);

	return map ? bpf_map__fd(map) : -ENOENT;
}

bool gs_loader_made_maps(const struct gs_loader *loader)
{
	return loader->made_maps;
}

int gs_loader_pin_begin(const struct gs_loader *loader, struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];
	int err;

	gs_loader_pin_abandon(loader);
	gs_pins_path(loader->pins, "", GS_PINS_PROG_NEW, path);
	if (!bpf_obj_pin(gs_loader_prog_fd(loader), path))
		return 0;
	err = -errno;
	return gs_loader_fail(error, err, "cannot pin %s: %s", path, strerror(-err));
}

int gs_loader_pin_commit(const struct gs_loader *loader, struct gs_loader_error *error)
{
	char from[GS_PINS_PATH_MAX], to[GS_PINS_PATH_MAX];
	int err;

	gs_pins_path(loader->pins, "", GS_PINS_PROG_NEW, from);
	gs_pins_path(loader->pins, "", GS_PIN_PROG, to);
	if (!rename(from, to))
		return 0;
	err = -errno;
	return gs_loader_fail(error, err, "cannot pin %s: %s", to, strerror(-err));
}

void gs_loader_pin_abandon(const struct gs_loader *loader)
{
	gs_pins_abandon_prog(loader->pins);
}
