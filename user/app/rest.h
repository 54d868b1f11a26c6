/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be asked over HTTP: a request in, a response out, answered from memory on the loop's
 * thread. No sockets here; the httpd adapter brings the bytes. docs/API_Reference.md has every
 * call.
 */
#pragma once

#include "api.h"

#include <stddef.h>

enum { GS_REST_BODY_MAX = 65536 };

struct gs_rest_request {
	const char *method;
	const char *path;	  /* without the query, decoded */
	const char *content_type; /* NULL: none */
	const char *body;	  /* not terminated */
	size_t length;
	bool is_too_large; /* the body was longer than GS_REST_BODY_MAX */
	/* A parameter of the query, decoded, or NULL. */
	const char *(*query)(void *query_context, const char *name);
	void *query_context;
};

struct gs_rest_response {
	unsigned int status;
	const char *content_type;
	const char *allow; /* 405: the methods there are; else NULL */
	char *body;	   /* to free(); NULL: no memory was left for one */
	size_t length;
};

void gs_rest_handle(const struct gs_api *api, const struct gs_rest_request *request,
		    struct gs_rest_response *ret_response);

/* metrics.c: Prometheus' text format (version 0.0.4); to free(), NULL: no memory. */
char *gs_metrics_text(const struct gs_api *api, size_t *ret_length);
