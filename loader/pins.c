// SPDX-License-Identifier: Apache-2.0
#include "loader/pins.h"

#include "maps/gs_maps.h"
#include "user/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#define BPFFS "/sys/fs/bpf"
#define LOCK_WAIT_MS 10000
#define LOCK_POLL_MS 20

const char *const gs_pins_maps[] = {
	GS_MAP_SERVICES,      GS_MAP_GEO4,	    GS_MAP_GEO6,	GS_MAP_OVERRIDE4,
	GS_MAP_OVERRIDE6,     GS_MAP_ROUTES,	    GS_MAP_PLANS,	GS_MAP_POOLS,
	GS_MAP_RINGS,	      GS_MAP_USABLE_REGION, GS_MAP_USABLE_POOL, GS_MAP_USABLE_BACKEND,
	GS_MAP_TRIALS,	      GS_MAP_FILL,	    GS_MAP_BACKENDS,	GS_MAP_HOPS,
	GS_MAP_FLOWS,	      GS_MAP_FRAGMENTS,	    GS_MAP_ANSWERS,	GS_MAP_COUNT_REASON,
	GS_MAP_COUNT_SERVICE, GS_MAP_TUNNELS,	    GS_MAP_TUNNEL_TOLD, GS_MAP_COUNT_REGION,
	GS_MAP_COUNT_BACKEND, GS_MAP_ACCESS4,	    GS_MAP_ACCESS6,	GS_MAP_LIMITS,
	GS_MAP_REGION_LIMITS, GS_MAP_MONITOR,	    GS_MAP_MONITOR_CPU, GS_MAP_SAMPLES,
	GS_MAP_HANDSHAKES,    GS_MAP_EVENTS,	    GS_MAP_DEMAND,	GS_MAP_COUNT_SYN,
	GS_MAP_LINKS,	      GS_MAP_ASKED,	    GS_MAP_OWN_MACS,	GS_MAP_NAT_FLOWS,
	GS_MAP_NAT_DETAILS,   GS_MAP_LEASES,	    GS_MAP_META,	NULL,
};

bool gs_pins_is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* 0: no such process, or not ours to see. */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[512];
	GS_AUTO_FCLOSE FILE *file = NULL;
	const char *name_end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		return 0;
	name_end = strrchr(line, ')'); /* the name may hold anything; then " STATE PARENT" */
	return name_end && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0;
}

/* Private if an ancestor has another; a container's processes all have the container's. */
bool gs_pins_are_private(void)
{
	struct stat mine, theirs;
	char path[64];

	if (stat("/proc/self/ns/mnt", &mine))
		return false;
	for (pid_t pid = getppid(); pid > 0; pid = parent_of(pid)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
		if (!stat(path, &theirs) && theirs.st_ino != mine.st_ino)
			return true;
	}
	return false;
}

static int mount_bpffs(const char *dir, struct gs_loader_error *error)
{
	int err;

	if (gs_pins_are_private())
		return gs_loader_fail(error, -EMEDIUMTYPE,
				      "no bpffs on " BPFFS " in this mount namespace, and one "
				      "mounted here would vanish with the command; 'ip netns exec' "
				      "hides it: use 'nsenter --net=/run/netns/NAME'");
	if (mount("bpffs", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700")) {
		err = -errno;
		return gs_loader_fail(error, err,
				      "cannot mount bpffs on " BPFFS " for %s: %s "
				      "(by hand: mount -t bpf bpffs " BPFFS ")",
				      dir, strerror(-err));
	}
	return 0;
}

static int make_parents(const char *dir, struct gs_loader_error *error)
{
	char path[GS_PINS_DIR_MAX];
	char *slash;
	int err;

	snprintf(path, sizeof(path), "%s", dir);
	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST) {
			err = -errno;
			return gs_loader_fail(error, err, "cannot make %s: %s", path,
					      strerror(-err));
		}
		*slash = '/';
	}
	return 0;
}

/* The nearest folder that exists must be on a bpffs, before anything is made. */
static int check_place(const char *dir, bool make, struct gs_loader_error *error)
{
	char path[GS_PINS_DIR_MAX];
	struct stat st;
	char *slash;

	if (make && !strncmp(dir, BPFFS "/", strlen(BPFFS "/")) && !gs_pins_is_bpffs(BPFFS)) {
		int ret = mount_bpffs(dir, error);
		if (ret)
			return ret;
	}
	snprintf(path, sizeof(path), "%s", dir);
	while (stat(path, &st)) {
		int err = -errno;

		slash = strrchr(path, '/');
		if (err != -ENOENT || !slash)
			return gs_loader_fail(error, err, "%s: %s", path, strerror(-err));
		if (!make)
			return gs_loader_fail(error, err, "%s: nothing is pinned there", dir);
		slash[slash == path ? 1 : 0] = '\0';
	}
	if (!gs_pins_is_bpffs(path))
		return gs_loader_fail(error, -EMEDIUMTYPE,
				      "%s is not on a bpffs, only there BPF objects can be pinned "
				      "(default: " GS_PIN_DIR_DEFAULT ")",
				      dir);
	return 0;
}

static int lock_with_patience(int fd, const char *dir, struct gs_loader_error *error)
{
	const struct timespec tick = {.tv_nsec = LOCK_POLL_MS * 1000000L};
	int waited_ms = 0;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		int err = -errno;

		if (err != -EWOULDBLOCK && err != -EINTR)
			return gs_loader_fail(error, err, "cannot lock %s: %s", dir,
					      strerror(-err));
		if (waited_ms >= LOCK_WAIT_MS)
			return gs_loader_fail(
				error, -EBUSY,
				"%s is locked by another geostream-loader; waited %d s", dir,
				LOCK_WAIT_MS / 1000);
		nanosleep(&tick, NULL);
		waited_ms += LOCK_POLL_MS;
	}
	return 0;
}

/* Whoever removed the folder while we waited for its lock has locked a folder of the past. */
static bool is_still_there(int fd, const char *dir)
{
	struct stat opened, named;

	return !fstat(fd, &opened) && !stat(dir, &named) && opened.st_dev == named.st_dev &&
	       opened.st_ino == named.st_ino;
}

static int open_and_lock(struct gs_pins *pins, bool make, struct gs_loader_error *error)
{
	for (;;) {
		GS_AUTO_CLOSE int fd = -1;
		int ret;

		if (make && !mkdir(pins->dir, 0700))
			pins->was_made = true;
		fd = open(pins->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0) {
			ret = -errno;
			return gs_loader_fail(error, ret, "%s: %s", pins->dir, strerror(-ret));
		}
		ret = lock_with_patience(fd, pins->dir, error);
		if (ret)
			return ret;
		if (is_still_there(fd, pins->dir)) {
			pins->lock_fd = gs_take_fd(fd);
			return 0;
		}
	}
}

int gs_pins_open(const char *dir, bool make, struct gs_pins *ret_pins,
		 struct gs_loader_error *error)
{
	struct gs_pins pins = GS_PINS_NONE;
	size_t length = strlen(dir);
	int ret;

	while (length > 1 && dir[length - 1] == '/')
		length--;
	if (dir[0] != '/' || length >= sizeof(pins.dir))
		return gs_loader_fail(error, -EINVAL,
				      "pin folder '%.100s': wanted an absolute path of at most %zu "
				      "characters",
				      dir, sizeof(pins.dir) - 1);
	memcpy(pins.dir, dir, length);
	ret = check_place(pins.dir, make, error);
	if (ret)
		return ret;
	if (make) {
		ret = make_parents(pins.dir, error);
		if (ret)
			return ret;
	}
	ret = open_and_lock(&pins, make, error);
	if (ret)
		return ret;
	*ret_pins = pins;
	return 0;
}

void gs_pins_close(struct gs_pins *pins)
{
	if (pins->lock_fd < 0)
		return;
	if (pins->was_made)
		rmdir(pins->dir); /* fails, rightly, if something is pinned */
	close(pins->lock_fd);
	pins->lock_fd = -1;
}

void gs_pins_path(const struct gs_pins *pins, const char *prefix, const char *name,
		  char ret_path[GS_PINS_PATH_MAX])
{
	snprintf(ret_path, GS_PINS_PATH_MAX, "%s/%s%s", pins->dir, prefix, name);
}

void gs_pins_abandon_prog(const struct gs_pins *pins)
{
	char path[GS_PINS_PATH_MAX];

	gs_pins_path(pins, "", GS_PINS_PROG_NEW, path);
	unlink(path);
}

bool gs_pins_has(const struct gs_pins *pins, const char *name)
{
	char path[GS_PINS_PATH_MAX];
	struct stat st;

	gs_pins_path(pins, "", name, path);
	return !lstat(path, &st);
}

static int remove_pin(const struct gs_pins *pins, const char *name, uint32_t *count,
		      struct gs_loader_error *error)
{
	char path[GS_PINS_PATH_MAX];
	int err;

	gs_pins_path(pins, "", name, path);
	if (!unlink(path)) {
		(*count)++;
		return 0;
	}
	err = -errno;
	if (err == -ENOENT)
		return 0;
	return gs_loader_fail(error, err, "cannot remove %s: %s", path, strerror(-err));
}

int gs_pins_clear(const struct gs_pins *pins, uint32_t *ret_removed, struct gs_loader_error *error)
{
	static const char *const first[] = {GS_MAP_META, GS_PIN_PROG, GS_PINS_PROG_NEW, NULL};
	uint32_t removed = 0;
	const char *const *name;
	int ret;

	for (name = first; *name; name++) {
		ret = remove_pin(pins, *name, &removed, error);
		if (ret)
			return ret;
	}
	for (name = gs_pins_maps; *name; name++) {
		ret = remove_pin(pins, *name, &removed, error);
		if (ret)
			return ret;
	}
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}

int gs_pins_purge(const struct gs_pins *pins, uint32_t *ret_removed, struct gs_loader_error *error)
{
	int ret = gs_pins_clear(pins, ret_removed, error);

	if (!ret)
		rmdir(pins->dir); /* what others put there stays, and the folder with it */
	return ret;
}
