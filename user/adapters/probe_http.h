/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a health probe needs of HTTP/1.1 (RFC 9112), and no more: one GET, its answer read byte by
 * byte and kept nowhere, the head at most GS_HTTP_HEAD_MAX long; of the body, if a text has to be
 * in it, as much as it takes to find that, GS_HTTP_BODY_MAX at most. Pure; probe_stream.c has the
 * connections.
 */
#pragma once

#include "probe_match.h"

#include "user/core/probe_spec.h"
#include "user/ports.h"

enum {
	GS_HTTP_REQUEST_MAX = 1024,
	GS_HTTP_HEAD_MAX = 65536, /* interim (1xx) heads included */
	GS_HTTP_BODY_MAX = 65536, /* chunks' own lines included */
};

/* Bytes written to request, or -EINVAL: a path or host that does not belong on a request line or
 * in a header. An empty host is the target's address and port. */
int gs_http_format_request(const struct gs_probe_target *target, char request[GS_HTTP_REQUEST_MAX]);

enum gs_http_state {
	GS_HTTP_STATUS_LINE, /* its first bytes, which are fixed */
	GS_HTTP_LINE,	     /* the rest of a line */
	GS_HTTP_LINE_START,
	GS_HTTP_LAST_LF, /* CR at the start of a line: LF ends the head */
	GS_HTTP_BODY,
	GS_HTTP_CHUNK_SIZE,
	GS_HTTP_CHUNK_LINE, /* the rest of its line */
	GS_HTTP_CHUNK_DATA,
	GS_HTTP_CHUNK_END, /* the line end behind its data */
	GS_HTTP_DONE,
};

/* Zeroed before gs_http_answer_init; without that: 2xx and 3xx, any body. */
struct gs_http_answer {
	struct gs_status_set statuses;
	struct gs_match match;
	enum gs_http_state state;
	uint32_t bytes;	    /* of the head, then of the body */
	uint64_t left;	    /* of the body, or of the chunk */
	uint16_t status;    /* so far */
	uint8_t at;	    /* in the status line; in a header's name, or "chunked" */
	uint8_t candidates; /* headers whose names begin like this line */
	uint8_t header;	    /* this line's, once its colon is there */
	bool has_length;
	bool is_chunked;
	bool says_retry; /* Retry-After */
};

/* 0, or -EINVAL: what is wanted cannot be understood. */
int gs_http_answer_init(struct gs_http_answer *answer, const struct gs_probe_spec *spec);

/*
 * True once the answer is judged, *ret_class: OK, STATUS, BODY, or BAD_REPLY (not HTTP/1.x, or too
 * long). 429 and 503 with a Retry-After are OK: who says when to come back is there. What comes
 * after that is not looked at.
 */
bool gs_http_feed(struct gs_http_answer *answer, const char *bytes, size_t count,
		  enum gs_probe_class *ret_class);
/* The connection has ended before it was. */
enum gs_probe_class gs_http_end(const struct gs_http_answer *answer);
