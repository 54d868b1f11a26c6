/* SPDX-License-Identifier: Apache-2.0 */
/* Countries: continent and one representative coordinate, for databases that have none. Pure. */
#pragma once

#include "types.h"

struct gs_country {
	char code[3];	   /* ISO 3166-1 alpha-2, upper case */
	char continent[3]; /* AF AN AS EU NA OC SA */
	struct gs_coord coord;
};

/* code: two letters, any case. NULL if there is no such country. */
const struct gs_country *gs_country_find(const char *code);
