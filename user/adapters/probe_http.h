/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP half of probe.c: one GET over a connection that already stands, by libcurl in our loop.
 * Bounded: the answer is judged by its status line and headers, of which there may be 64 KB; the
 * body is not read, redirects are not followed, proxies and files of the user are not looked at.
 */
#pragma once

#include "user/base/loop.h"
#include "user/ports.h"

struct gs_probe_http; /* the client */

/* One exchange. Caller's storage; zeroed before gs_probe_http_start. */
struct gs_probe_http_get {
	/* Once, from the loop; the exchange is over and the connection closed. May free the get. */
	void (*on_done)(struct gs_probe_http_get *get, enum gs_probe_class class);

	/* The client's own. */
	struct gs_probe_http *client;
	struct gs_probe_http_handle *handle;
	struct gs_io io;
	int fd; /* connected, not yet libcurl's */
	uint32_t header_bytes;
	bool too_long;
};

int gs_probe_http_open(struct gs_loop *loop, struct gs_probe_http **ret_client);
/* After all exchanges have ended. NULL is fine. */
void gs_probe_http_close(struct gs_probe_http *client);

/*
 * Sends the request of target->spec. fd: connected, non-blocking; taken on success. 0, -ENOMEM, or
 * -EINVAL (a path or host that is no part of a request line or header).
 */
int gs_probe_http_start(struct gs_probe_http *client, struct gs_probe_http_get *get,
			const struct gs_probe_target *target, int fd);
/* Closes the connection; on_done will not come. Harmless if not started or over. */
void gs_probe_http_abort(struct gs_probe_http_get *get);
