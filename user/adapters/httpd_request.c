// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/httpd_parts.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	PARAMETERS_MAX = 8,
	/* Of a body that is too large so much is read: who sends it would not hear otherwise. */
	DRAIN_MAX = 4 * GS_REST_BODY_MAX,
};

enum { PART_BYTES = 32768, SMALL_BYTES = 256 };

/* A request while its body arrives. */
struct pending {
	char *body; /* small, or allocated */
	size_t length, room, dropped;
	bool is_too_large;
	char small[SMALL_BYTES]; /* what most bodies fit into */
};

/* ---- answers --------------------------------------------------------------------------------- */

typedef enum MHD_Result (*queue_fn)(struct MHD_Connection *connection, unsigned int status,
				    struct MHD_Response *response);

static queue_fn library_queue(void)
{
	static queue_fn queue;

	if (!queue)
		*(void **)&queue = dlsym(RTLD_NEXT, "MHD_queue_response");
	return queue;
}

/* What comes in parts, as it is asked for. */
struct parts {
	struct gs_metrics *metrics;
	char *text; /* the part that is being sent */
	size_t length, sent;
};

static ssize_t read_parts(void *context, uint64_t at, char *out, size_t room)
{
	struct parts *parts = context;
	size_t count;
	int ret;

	(void)at;
	if (parts->sent == parts->length) {
		free(parts->text);
		parts->text = NULL;
		parts->length = parts->sent = 0;
		ret = gs_metrics_next(parts->metrics, &parts->text, &parts->length);
		if (ret <= 0)
			return ret == 0 ? MHD_CONTENT_READER_END_OF_STREAM
					: MHD_CONTENT_READER_END_WITH_ERROR;
	}
	count = parts->length - parts->sent < room ? parts->length - parts->sent : room;
	memcpy(out, parts->text + parts->sent, count);
	parts->sent += count;
	return (ssize_t)count;
}

static void free_parts(void *context)
{
	struct parts *parts = context;

	free(parts->text);
	gs_metrics_free(parts->metrics);
	free(parts);
}

/* Steals it. NULL: no memory. */
static struct MHD_Response *in_parts(struct gs_metrics *metrics)
{
	struct parts *parts = calloc(1, sizeof(*parts));
	struct MHD_Response *response = NULL;

	if (!parts) {
		gs_metrics_free(metrics);
		return NULL;
	}
	parts->metrics = metrics;
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PART_BYTES, read_parts,
						     parts, free_parts);
	if (!response)
		free_parts(parts);
	return response;
}

/* Steals the body. */
static struct MHD_Response *whole(struct gs_rest_response *rest)
{
	static char nothing[] = "";
	struct MHD_Response *response = MHD_create_response_from_buffer(
		rest->body ? rest->length : 0, rest->body ? rest->body : nothing,
		rest->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

	if (!response)
		free(rest->body);
	return response;
}

/* Steals the body. NULL: no memory. */
static struct MHD_Response *make_response(struct gs_rest_response *rest)
{
	struct MHD_Response *response = rest->metrics ? in_parts(rest->metrics) : whole(rest);

	if (!response)
		return NULL;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, rest->content_type);
	if (rest->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, rest->allow);
	return response;
}

/* Steals the body. */
static enum MHD_Result respond(struct MHD_Connection *connection, struct gs_rest_response *rest)
{
	const struct gs_httpd_visitor *visitor = gs_httpd_visitor_of(connection);
	unsigned int status = rest->body || rest->metrics ? rest->status : 500;
	struct MHD_Response *response = make_response(rest);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	if (visitor)
		visitor->httpd->counts.responses[status / 100]++;
	result = library_queue()(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned int status,
			      const char *title, const char *detail)
{
	struct gs_rest_response rest;

	gs_rest_refuse(status, title, detail, &rest);
	return respond(connection, &rest);
}

/*
 * What the library cannot read it answers by itself, in HTML and without a hook: broken framing
 * (400), a head that is too large (414, 431), a version it has never heard of (505). It does so
 * through its own public function, and that call is the dynamic linker's to resolve, which finds
 * this one first. Linked statically the HTML would be back: tests/unit/test_httpd.c would tell.
 */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status,
				   struct MHD_Response *response)
{
	const char *detail;

	(void)response; /* its maker destroys it */
	switch (status) {
	case MHD_HTTP_URI_TOO_LONG:
	case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
		detail = "request line and headers are larger than 16 KiB";
		break;
	case MHD_HTTP_CONTENT_TOO_LARGE:
		detail = "the body, or a chunk of it, is too large";
		break;
	default:
		detail = "the request does not follow HTTP/1.1";
		break;
	}
	return refuse(connection, status, MHD_get_reason_phrase_for(status), detail);
}

/* ---- the head -------------------------------------------------------------------------------- */

/* name: a literal. Lengths first: most headers are told apart by them. */
#define IS_NAMED(key, length, name) \
	((length) == sizeof(name) - 1 && strncasecmp(key, name, sizeof(name) - 1) == 0)

struct framing {
	unsigned int lengths, encodings, hosts;
	unsigned long long length; /* of the body */
};

static enum MHD_Result note_framing(void *context, enum MHD_ValueKind kind, const char *key,
				    size_t key_length, const char *value, size_t value_length)
{
	struct framing *framing = context;

	(void)kind;
	(void)value_length;
	if (IS_NAMED(key, key_length, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
		framing->lengths++;
		framing->length = value ? strtoull(value, NULL, 10) : 0;
	} else if (IS_NAMED(key, key_length, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
		framing->encodings++;
	} else if (IS_NAMED(key, key_length, MHD_HTTP_HEADER_HOST)) {
		framing->hosts++;
	}
	return MHD_YES;
}

/* NULL: no memory. */
static struct pending *new_pending(void)
{
	struct pending *pending = malloc(sizeof(*pending));

	if (!pending)
		return NULL;
	pending->body = pending->small;
	pending->length = pending->dropped = 0;
	pending->room = sizeof(pending->small);
	pending->is_too_large = false;
	return pending;
}

static void free_pending(struct pending *pending)
{
	if (pending && pending->body != pending->small)
		free(pending->body);
	free(pending);
}

/*
 * Before any of the body is read. Two opinions of where a body ends are how requests are smuggled
 * past a proxy (RFC 9112, 6.3): the library takes the first.
 */
static enum MHD_Result begin(struct MHD_Connection *connection, const char *version,
			     void **request_context)
{
	struct framing framing = {0};

	*request_context = new_pending();
	if (!*request_context)
		return MHD_NO;
	MHD_get_connection_values_n(connection, MHD_HEADER_KIND, note_framing, &framing);
	if (framing.hosts != 1 && (framing.hosts > 1 || strcmp(version, MHD_HTTP_VERSION_1_1) == 0))
		return refuse(connection, 400, "No host", "send Host, once");
	if (framing.lengths + framing.encodings > 1)
		return refuse(connection, 400, "Ambiguous body",
			      "one Content-Length, or one Transfer-Encoding");
	if (framing.length > DRAIN_MAX)
		return refuse(connection, 413, "Body too large", "a body has 65536 bytes at most");
	return MHD_YES;
}

size_t gs_httpd_unescape(void *context, struct MHD_Connection *connection, char *text)
{
	(void)context;
	(void)connection;
	/* A zero byte would end the text early: left as it is, it matches nothing. */
	return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

/* ---- the body -------------------------------------------------------------------------------- */

static enum MHD_Result drop(struct pending *pending, size_t length)
{
	pending->is_too_large = true;
	pending->dropped += length;
	return pending->dropped > DRAIN_MAX ? MHD_NO : MHD_YES;
}

/* MHD_NO: this is hopeless, end the connection. */
static enum MHD_Result take_body(struct pending *pending, const char *bytes, size_t length)
{
	if (pending->length + length > GS_REST_BODY_MAX)
		return drop(pending, length);
	if (pending->length + length > pending->room) {
		size_t room = 2 * (pending->length + length);
		bool is_small = pending->body == pending->small;
		char *bigger = realloc(is_small ? NULL : pending->body, room);

		if (!bigger)
			return drop(pending, length);
		if (is_small)
			memcpy(bigger, pending->small, pending->length);
		pending->body = bigger;
		pending->room = room;
	}
	memcpy(pending->body + pending->length, bytes, length);
	pending->length += length;
	return MHD_YES;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* What a call may want to know of the head. */
struct head {
	struct gs_rest_parameter parameters[PARAMETERS_MAX];
	uint32_t parameter_count; /* PARAMETERS_MAX + 1: too many */
	const char *content_type; /* the first; NULL: none */
};

static enum MHD_Result note_head(void *context, enum MHD_ValueKind kind, const char *key,
				 size_t key_length, const char *value, size_t value_length)
{
	struct head *head = context;

	(void)value_length;
	if (kind == MHD_HEADER_KIND) {
		if (!head->content_type && IS_NAMED(key, key_length, MHD_HTTP_HEADER_CONTENT_TYPE))
			head->content_type = value;
		return MHD_YES;
	}
	if (head->parameter_count < PARAMETERS_MAX)
		head->parameters[head->parameter_count] =
			(struct gs_rest_parameter){key, value ? value : ""};
	return ++head->parameter_count > PARAMETERS_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result handle(const struct gs_httpd *httpd, struct MHD_Connection *connection,
			      const char *url, const char *method, const struct pending *pending)
{
	struct gs_rest_response response;
	struct gs_rest_request request;
	struct head head;

	head.parameter_count = 0;
	head.content_type = NULL;
	MHD_get_connection_values_n(connection, MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND, note_head,
				    &head);
	if (head.parameter_count > PARAMETERS_MAX)
		return refuse(connection, 400, "Too many parameters",
			      "a query has 8 parameters at most");
	request = (struct gs_rest_request){
		.method = method,
		.path = url,
		.content_type = head.content_type,
		.body = pending->body,
		.length = pending->length,
		.is_too_large = pending->is_too_large,
		.parameters = head.parameters,
		.parameter_count = head.parameter_count,
	};
	gs_rest_handle(httpd->api, &request, &response);
	return respond(connection, &response);
}

enum MHD_Result gs_httpd_on_request(void *context, struct MHD_Connection *connection,
				    const char *url, const char *method, const char *version,
				    const char *upload, size_t *upload_length,
				    void **request_context)
{
	struct pending *pending = *request_context;
	enum MHD_Result result;

	if (!pending)
		return begin(connection, version, request_context);
	if (*upload_length == 0)
		return handle(context, connection, url, method, pending);
	result = take_body(pending, upload, *upload_length);
	*upload_length = 0;
	return result;
}

void gs_httpd_on_completed(void *context, struct MHD_Connection *connection, void **request_context,
			   enum MHD_RequestTerminationCode why)
{
	(void)context;
	(void)why;
	free_pending(*request_context);
	*request_context = NULL;
	gs_httpd_answered(connection);
}
