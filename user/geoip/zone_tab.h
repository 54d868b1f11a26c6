/* SPDX-License-Identifier: Apache-2.0 */
/* tzdata's zone.tab: which country's time zones are where. */
#pragma once

#include "user/core/types.h"

/* One line: code of two capital letters. */
typedef void gs_zone_tab_add(void *context, const char code[3], const struct gs_coord *zone);

/* 0; -EINVAL: the file or a line of it is bad, or there are no zones; said on stderr. */
int gs_zone_tab_read(const char *path, gs_zone_tab_add *add, void *context);
