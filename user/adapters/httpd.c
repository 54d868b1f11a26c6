// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/httpd.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	CONNECTIONS_MAX = 512,
	CONNECTION_BYTES = 16384, /* request line and headers have to fit */
	TIMEOUT_S = 15,		  /* of a silent connection */
};

struct gs_httpd {
	struct gs_loop *loop;
	const struct gs_api *api;
	struct MHD_Daemon *daemon;
	struct gs_io io;
	struct gs_timer timer;
	int fd;
};

/* A request while its body arrives. */
struct pending {
	char *body;
	size_t length, room;
	bool is_too_large;
};

/* ---- the loop -------------------------------------------------------------------------------- */

/* The library has time limits of its own. */
static void set_timer(struct gs_httpd *httpd)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	if (MHD_get_timeout(httpd->daemon, &wait_ms) == MHD_YES)
		gs_loop_timer_set(httpd->loop, &httpd->timer,
				  wait_ms < 60000 ? (uint32_t)wait_ms : 60000);
	else
		gs_loop_timer_clear(httpd->loop, &httpd->timer);
}

static unsigned int connection_count(const struct gs_httpd *httpd)
{
	return MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
		->num_connections;
}

/*
 * With all its connections taken the library stops listening, and listens again at the beginning of
 * the first run that finds room. Without connections nothing would ever bring that run: no event,
 * no time limit. So runs go on until one has closed none.
 */
static void run(struct gs_httpd *httpd)
{
	unsigned int before;

	do {
		before = connection_count(httpd);
		MHD_run(httpd->daemon);
	} while (connection_count(httpd) < before);
	set_timer(httpd);
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	(void)epoll_events;
	run(io->context);
}

static void on_due(struct gs_timer *timer)
{
	run(timer->context);
}

/* ---- requests -------------------------------------------------------------------------------- */

static const char *get_query(void *context, const char *name)
{
	return MHD_lookup_connection_value(context, MHD_GET_ARGUMENT_KIND, name);
}

static void take_body(struct pending *pending, const char *bytes, size_t length)
{
	if (pending->length + length > GS_REST_BODY_MAX) {
		pending->is_too_large = true;
		return;
	}
	if (pending->length + length > pending->room) {
		size_t room = 2 * (pending->length + length);
		char *bigger = realloc(pending->body, room);

		if (!bigger) {
			pending->is_too_large = true;
			return;
		}
		pending->body = bigger;
		pending->room = room;
	}
	memcpy(pending->body + pending->length, bytes, length);
	pending->length += length;
}

static enum MHD_Result respond(struct MHD_Connection *connection, struct gs_rest_response *rest)
{
	static char nothing[] = "";
	struct MHD_Response *response = MHD_create_response_from_buffer(
		rest->body ? rest->length : 0, rest->body ? rest->body : nothing,
		rest->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	if (!response) {
		free(rest->body);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, rest->content_type);
	if (rest->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, rest->allow);
	result = MHD_queue_response(connection, rest->body ? rest->status : 500, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_length, void **request_context)
{
	struct gs_httpd *httpd = context;
	struct pending *pending = *request_context;
	struct gs_rest_response response;
	struct gs_rest_request request;

	(void)version;
	if (!pending) { /* the headers; the body, if there is one, comes next */
		*request_context = calloc(1, sizeof(*pending));
		return *request_context ? MHD_YES : MHD_NO;
	}
	if (*upload_length > 0) {
		take_body(pending, upload, *upload_length);
		*upload_length = 0;
		return MHD_YES;
	}
	request = (struct gs_rest_request){
		.method = method,
		.path = url,
		.content_type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
							    MHD_HTTP_HEADER_CONTENT_TYPE),
		.body = pending->body,
		.length = pending->length,
		.is_too_large = pending->is_too_large,
		.query = get_query,
		.query_context = connection,
	};
	gs_rest_handle(httpd->api, &request, &response);
	return respond(connection, &response);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
			 enum MHD_RequestTerminationCode why)
{
	struct pending *pending = *request_context;

	(void)context;
	(void)connection;
	(void)why;
	if (pending)
		free(pending->body);
	free(pending);
	*request_context = NULL;
}

__attribute__((format(printf, 2, 0))) static void on_library_log(void *context, const char *format,
								 va_list arguments)
{
	char line[GS_ERROR_MAX];

	(void)context;
	vsnprintf(line, sizeof(line), format, arguments);
	line[strcspn(line, "\r\n")] = '\0';
	gs_log_limited(GS_LOG_DEBUG, "httpd", "text=%s", line);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int parse_listen(const char *listen, struct sockaddr_storage *ret_addr,
			socklen_t *ret_length, struct gs_error *error)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_addr;
	struct sockaddr_in *in4 = (struct sockaddr_in *)ret_addr;
	const char *colon = strrchr(listen, ':');
	unsigned long port = 0;
	struct gs_addr addr;
	char host[64], *end = NULL;

	memset(ret_addr, 0, sizeof(*ret_addr));
	if (colon)
		port = strtoul(colon + 1, &end, 10);
	if (colon && listen[0] == '[' && colon > listen + 1 && colon[-1] == ']')
		snprintf(host, sizeof(host), "%.*s", (int)(colon - listen - 2), listen + 1);
	else
		snprintf(host, sizeof(host), "%.*s", colon ? (int)(colon - listen) : 0, listen);
	if (!colon || colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > UINT16_MAX ||
	    gs_addr_parse(host, &addr) != 0)
		return gs_error_set(
			-EINVAL, error,
			"http_listen: '%.64s' is not ADDRESS:PORT, as 127.0.0.1:8080 or "
			"[::1]:8080",
			listen);
	if (gs_addr_is_v4(&addr)) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)port);
		memcpy(&in4->sin_addr, addr.bytes + 12, 4);
		*ret_length = sizeof(*in4);
	} else {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		memcpy(&in6->sin6_addr, addr.bytes, 16);
		*ret_length = sizeof(*in6);
	}
	return 0;
}

/* Bound by us, so that errors are ours to tell. */
static int open_socket(const char *listen_text, int *ret_fd, struct gs_error *error)
{
	struct sockaddr_storage addr;
	socklen_t length = 0;
	int ret = parse_listen(listen_text, &addr, &length, error), one = 1;
	GS_AUTO_CLOSE int fd = -1;

	if (ret)
		return ret;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&addr, length) || listen(fd, 1024))
		return gs_error_set(-errno, error, "http_listen: %s: %s", listen_text,
				    strerror(errno));
	*ret_fd = gs_take_fd(fd);
	return 0;
}

int gs_httpd_open(struct gs_loop *loop, const char *listen, const struct gs_api *api,
		  struct gs_httpd **ret_httpd, struct gs_error *error)
{
	struct gs_httpd *httpd = calloc(1, sizeof(*httpd));
	const union MHD_DaemonInfo *info;
	int ret;

	if (!httpd)
		return gs_error_set(-ENOMEM, error, "http: no memory");
	httpd->loop = loop;
	httpd->api = api;
	httpd->fd = -1;
	ret = open_socket(listen, &httpd->fd, error);
	if (ret) {
		gs_httpd_close(httpd);
		return ret;
	}
	httpd->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, httpd,
		MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET,
		httpd->fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)TIMEOUT_S, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, NULL, MHD_OPTION_END);
	info = httpd->daemon ? MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	httpd->io = (struct gs_io){
		.fd = info ? info->epoll_fd : -1, .on_ready = on_ready, .context = httpd};
	httpd->timer = (struct gs_timer){.on_due = on_due, .context = httpd};
	ret = info ? gs_loop_io_set(loop, &httpd->io, EPOLLIN) : -EIO;
	if (ret) {
		gs_httpd_close(httpd);
		return gs_error_set(ret, error, "http: %s", strerror(-ret));
	}
	*ret_httpd = httpd;
	return 0;
}

void gs_httpd_close(struct gs_httpd *httpd)
{
	if (!httpd)
		return;
	gs_loop_io_clear(httpd->loop, &httpd->io);
	gs_loop_timer_clear(httpd->loop, &httpd->timer);
	if (httpd->daemon)
		MHD_stop_daemon(httpd->daemon); /* closes the socket, too */
	else if (httpd->fd >= 0)
		close(httpd->fd);
	free(httpd);
}
