/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP on the loop: libmicrohttpd's epoll descriptor nested in ours, every request answered in the
 * loop's own turn. Nothing of the daemon's state is shared with another thread.
 */
#pragma once

#include "user/app/rest.h"
#include "user/base/loop.h"

struct gs_httpd;

/*
 * listen: "127.0.0.1:8080" or "[::1]:8080". api is borrowed. 0; -EINVAL (listen), -EADDRINUSE and
 * the like; *error says what.
 */
int gs_httpd_open(struct gs_loop *loop, const char *listen, const struct gs_api *api,
		  struct gs_httpd **ret_httpd, struct gs_error *error);
/* NULL is fine. */
void gs_httpd_close(struct gs_httpd *httpd);
