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

/* NAME=VALUE, decoded; NAME alone: "". */
struct gs_rest_parameter {
	const char *name, *value;
};

struct gs_rest_request {
	const char *method;
	const char *path;	  /* without the query, decoded */
	const char *content_type; /* NULL: none */
	const char *body;	  /* not terminated */
	size_t length;
	bool is_too_large;			    /* the body was longer than GS_REST_BODY_MAX */
	const struct gs_rest_parameter *parameters; /* of the query */
	uint32_t parameter_count;
};

struct gs_rest_response {
	unsigned int status;
	const char *content_type;
	const char *allow; /* 405: the methods there are; else NULL */
	char *body;	   /* to free(); NULL: no memory was left for one */
	size_t length;
	struct gs_metrics *metrics; /* not NULL: the body is made of its parts; to free */
};

void gs_rest_handle(const struct gs_api *api, const struct gs_rest_request *request,
		    struct gs_rest_response *ret_response);

/* The problem details of a request that never became one: it cannot be read, or is too large. */
void gs_rest_refuse(unsigned int status, const char *title, const char *detail,
		    struct gs_rest_response *ret_response);

/*
 * metrics.c: Prometheus' text format (version 0.0.4), in parts, each of them for a turn of the
 * loop: together they may be megabytes. The api outlives it.
 */
struct gs_metrics;
int gs_metrics_new(const struct gs_api *api, struct gs_metrics **ret_metrics);
/* 1: a part, to free(); 0: that was all; -ENOMEM. */
int gs_metrics_next(struct gs_metrics *metrics, char **ret_text, size_t *ret_length);
void gs_metrics_free(struct gs_metrics *metrics);
