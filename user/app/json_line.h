/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON text something stands: what jansson does not tell once it has parsed. */
#pragma once

#include <stddef.h>

/*
 * The line (1 first) of `path` ("services[0].probe.port") in a text that jansson has accepted, or
 * of as much of the path as there is. path ends at its first character that cannot be part of it.
 */
int gs_json_line(const char *text, size_t length, const char *path);
