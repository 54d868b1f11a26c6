// SPDX-License-Identifier: Apache-2.0
#include "installed.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void gs_installed_bpf(const char *file, char ret_path[PATH_MAX])
{
	char self[PATH_MAX / 2];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	snprintf(ret_path, PATH_MAX, "%s/bpf/%s", self, file);
	if (access(ret_path, F_OK) != 0)
		snprintf(ret_path, PATH_MAX, GS_PREFIX "/lib/geostream/bpf/%s", file);
}
