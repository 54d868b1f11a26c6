/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane_pin.h"

#include "maps/gs_maps.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATH_BYTES = GS_PATH_MAX + 32 };

static int open_path(const char *path, int *ret_fd, struct bpf_map_info *ret_info,
		     struct gs_error *error)
{
	struct bpf_map_info info = {0};
	__u32 info_size = sizeof(info);
	GS_AUTO_CLOSE int fd = bpf_obj_get(path);

	if (fd < 0) {
		int result = -errno;

		return gs_error_set(result, error, "%.200s: %s%s", path, strerror(-result),
				    result == -EPERM || result == -EACCES
					    ? ": this is for root"
					    : ": no pinned map of GeoStream; has geostream-loader "
					      "attached?");
	}
	if (bpf_obj_get_info_by_fd(fd, &info, &info_size))
		return gs_error_set(-errno, error, "%.200s: %s", path, strerror(errno));
	*ret_info = info;
	*ret_fd = gs_take_fd(fd);
	return 0;
}

static int check_version(const char *pin_dir, struct gs_error *error)
{
	struct gs_meta_value meta = {0};
	struct bpf_map_info info = {0};
	char path[PATH_BYTES];
	GS_AUTO_CLOSE int fd = -1;
	__u32 zero = 0;
	int result;

	snprintf(path, sizeof(path), "%s/%s", pin_dir, GS_MAP_META);
	result = open_path(path, &fd, &info, error);
	if (result)
		return result;
	if (info.value_size == sizeof(meta) && bpf_map_lookup_elem(fd, &zero, &meta))
		return gs_error_set(-errno, error, "%.200s: %s", path, strerror(errno));
	if (meta.layout_version == GS_MAPS_VERSION)
		return 0;
	return gs_error_set(-EPROTO, error,
			    "%.200s: maps of layout version %u, this program has %u: use the "
			    "geostreamctl of the loader that attached",
			    path, meta.layout_version, GS_MAPS_VERSION);
}

int gs_dataplane_pin_open(const char *pin_dir, const struct gs_dataplane_pin *want, int *ret_fd,
			  uint32_t *ret_entries, struct gs_error *error)
{
	struct bpf_map_info info = {0};
	char path[PATH_BYTES];
	GS_AUTO_CLOSE int fd = -1;
	int result = check_version(pin_dir, error);

	if (result)
		return result;
	snprintf(path, sizeof(path), "%s/%s", pin_dir, want->name);
	result = open_path(path, &fd, &info, error);
	if (result)
		return result;
	if (info.type != want->type || info.value_size != want->value_size ||
	    (want->max_entries && info.max_entries != want->max_entries))
		return gs_error_set(-EPROTO, error,
				    "%.200s: type %u, value %u bytes, %u entries: not the map this "
				    "program knows",
				    path, info.type, info.value_size, info.max_entries);
	if (ret_entries)
		*ret_entries = info.max_entries;
	*ret_fd = gs_take_fd(fd);
	return 0;
}

static size_t pages(const struct gs_dataplane_pin *want, uint32_t entries)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)want->value_size * entries;

	return (bytes + page - 1) / page * page;
}

int gs_dataplane_pin_map(const char *pin_dir, const struct gs_dataplane_pin *want, bool writes,
			 void **ret_memory, uint32_t *ret_entries, struct gs_error *error)
{
	int protection = writes ? PROT_READ | PROT_WRITE : PROT_READ;
	GS_AUTO_CLOSE int fd = -1;
	uint32_t entries = 0;
	void *memory;
	int result = gs_dataplane_pin_open(pin_dir, want, &fd, &entries, error);

	if (result)
		return result;
	memory = mmap(NULL, pages(want, entries), protection, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return gs_error_set(-errno, error, "map %s: mapping it: %s", want->name,
				    strerror(errno));
	*ret_memory = memory;
	if (ret_entries)
		*ret_entries = entries;
	return 0;
}

void gs_dataplane_pin_unmap(void *memory, const struct gs_dataplane_pin *was, uint32_t entries)
{
	if (memory)
		munmap(memory, pages(was, entries));
}
