/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A route's question and answer as most of them are: members that are known, texts of printable
 * ASCII that needs no escapes. That is read and written here, without a tree in between; anything
 * else is jansson's, and what both can do they do alike, byte by byte.
 */
#pragma once

#include "user/core/cidr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gs_route_decision;

struct gs_route_question {
	char client_ip[GS_ADDR_TEXT_MAX];
	char service[GS_NAME_MAX];
};

/* An object of just these two, each once. False: it is not so plain, or no JSON at all. */
bool gs_route_plain_read(const char *body, size_t length, struct gs_route_question *ret_question);

enum { GS_ROUTE_PLAIN_MAX = GS_ERROR_MAX + 3 * GS_NAME_MAX };

/* With a newline behind it. The length; 0: it is not so plain. */
size_t gs_route_plain_write(const struct gs_route_decision *decision, uint64_t generation,
			    char out[GS_ROUTE_PLAIN_MAX]);
