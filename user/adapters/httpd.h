/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP on the loop: libmicrohttpd's epoll descriptor nested in ours, every request answered in the
 * loop's own turn. Nothing of the daemon's state is shared with another thread.
 */
#pragma once

#include "user/app/rest.h"
#include "user/base/loop.h"

struct gs_httpd;

#define GS_HTTPD_REQUEST_MS 30000u

/*
 * listen: "127.0.0.1:8080" or "[::1]:8080". api is borrowed. request_ms: what one request may take,
 * from the end of the one before it to the end of its answer (GS_HTTPD_REQUEST_MS). 0; -EINVAL
 * (listen), -EADDRINUSE and the like; *error says what.
 */
int gs_httpd_open(struct gs_loop *loop, const char *listen, const struct gs_api *api,
		  uint32_t request_ms, struct gs_httpd **ret_httpd, struct gs_error *error);
/* Valid until the httpd is closed. NULL of NULL. */
const struct gs_http_counts *gs_httpd_counts(const struct gs_httpd *httpd);
/* NULL is fine. */
void gs_httpd_close(struct gs_httpd *httpd);
