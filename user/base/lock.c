/* SPDX-License-Identifier: Apache-2.0 */
#include "lock.h"

#include "cleanup.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_DIR "/run/geostream"

/* Who has it is in the file: for people; the lock itself is the kernel's. */
static void read_owner(int fd, char *out, size_t room)
{
	ssize_t length = pread(fd, out, room - 1, 0);

	out[length > 0 ? length : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

int gs_lock_take(const char *name, int *ret_fd, struct gs_error *error)
{
	char path[GS_PATH_MAX + 64], owner[32];
	GS_AUTO_CLOSE int fd = -1;
	int length;

	length = snprintf(path, sizeof(path), LOCK_DIR "/%s.lock", name);
	if (length < 0 || (size_t)length >= sizeof(path))
		return gs_error_set(-ENAMETOOLONG, error, "%s: too long", name);
	for (char *p = path + sizeof(LOCK_DIR); *p; p++)
		if (*p == '/')
			*p = '-';
	if (mkdir(LOCK_DIR, 0755) && errno != EEXIST)
		return gs_error_set(-errno, error, "%s: %s", LOCK_DIR, strerror(errno));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
		read_owner(fd, owner, sizeof(owner));
		return gs_error_set(-EBUSY, error, "%s: process %s steers it already", name, owner);
	}
	if (ftruncate(fd, 0) == 0)
		dprintf(fd, "%d\n", (int)getpid());
	*ret_fd = gs_take_fd(fd);
	return 0;
}
