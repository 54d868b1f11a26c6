/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a health probe needs of HTTP/1.1 (RFC 9112), and no more: one GET, and the head of its
 * answer read byte by byte, kept nowhere, at most GS_HTTP_HEAD_MAX long. Pure; probe.c has the
 * sockets.
 */
#pragma once

#include "user/ports.h"

enum {
	GS_HTTP_REQUEST_MAX = 1024,
	GS_HTTP_HEAD_MAX = 65536, /* interim (1xx) heads included */
};

/* Bytes written to request, or -EINVAL: a path or host that does not belong on a request line or
 * in a header. An empty host is the target's address and port. */
int gs_http_format_request(const struct gs_probe_target *target, char request[GS_HTTP_REQUEST_MAX]);

enum gs_http_state {
	GS_HTTP_STATUS_LINE, /* its first bytes, which are fixed */
	GS_HTTP_LINE,	     /* the rest of a line */
	GS_HTTP_LINE_START,
	GS_HTTP_LAST_LF, /* CR at the start of a line: LF ends the head */
	GS_HTTP_DONE,
};

/* Zeroed before the first byte. */
struct gs_http_head {
	enum gs_http_state state;
	uint32_t bytes;
	uint8_t at;	 /* in the status line */
	uint16_t status; /* so far */
};

/*
 * True once the answer is judged, *ret_class: OK (2xx, 3xx), HTTP_STATUS, or BAD_REPLY (not
 * HTTP/1.x, or too long). What comes after that is not looked at.
 */
bool gs_http_feed(struct gs_http_head *head, const char *bytes, size_t count,
		  enum gs_probe_class *ret_class);
