/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the httpd adapter share: httpd.c has connections, httpd_request.c requests. */
#pragma once

#include "user/adapters/httpd.h"

#include <microhttpd.h>

struct gs_httpd_visitor {
	struct gs_httpd *httpd;
	struct gs_httpd_visitor *next, *back;
	int fd;		   /* the library's */
	uint64_t since_ms; /* gs_loop_now_ms: here, or its last answer done */
};

struct gs_httpd {
	struct gs_loop *loop;
	const struct gs_api *api;
	uint32_t request_ms;
	struct MHD_Daemon *daemon;
	struct gs_io io;
	struct gs_timer timer;	  /* of the library's limits */
	struct gs_timer patience; /* of ours */
	struct gs_httpd_visitor *first, *last;
	struct gs_http_counts counts;
	int fd;
};

/* Callbacks for MHD_start_daemon; context: the httpd. */
enum MHD_Result gs_httpd_on_request(void *context, struct MHD_Connection *connection,
				    const char *url, const char *method, const char *version,
				    const char *upload, size_t *upload_length,
				    void **request_context);
void gs_httpd_on_completed(void *context, struct MHD_Connection *connection, void **request_context,
			   enum MHD_RequestTerminationCode why);
size_t gs_httpd_unescape(void *context, struct MHD_Connection *connection, char *text);

/* NULL: memory was out when the connection was taken. */
struct gs_httpd_visitor *gs_httpd_visitor_of(struct MHD_Connection *connection);
/* A request of this connection is over: its time begins anew. */
void gs_httpd_answered(struct MHD_Connection *connection);
