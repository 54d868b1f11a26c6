/* SPDX-License-Identifier: Apache-2.0 */
/* Where this build's files are. */
#pragma once

#include <limits.h>

/* A BPF object's file: beside this program (a build), else where it is installed. */
void gs_installed_bpf(const char *file, char ret_path[PATH_MAX]);
