// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/httpd.h"

#include "user/adapters/httpd_parts.h"
#include "user/base/cleanup.h"
#include "user/base/error.h"
#include "user/base/log.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	CONNECTIONS_MAX = 512,
	CONNECTION_BYTES = 16384, /* request line and headers have to fit */
	SILENCE_S = 15,		  /* that a connection may keep */
};

/* ---- visitors -------------------------------------------------------------------------------- */

/*
 * The library ends a connection that is silent. One that sends a byte now and then, or reads a byte
 * now and then, would keep its place for ever: so a request has request_ms from the end of the one
 * before it to the end of its answer. Oldest first, since all have the same time.
 */
static void append_visitor(struct gs_httpd *httpd, struct gs_httpd_visitor *visitor)
{
	visitor->since_ms = gs_loop_now_ms(httpd->loop);
	visitor->next = NULL;
	visitor->back = httpd->last;
	*(httpd->last ? &httpd->last->next : &httpd->first) = visitor;
	httpd->last = visitor;
}

static void unlink_visitor(struct gs_httpd *httpd, struct gs_httpd_visitor *visitor)
{
	*(visitor->back ? &visitor->back->next : &httpd->first) = visitor->next;
	*(visitor->next ? &visitor->next->back : &httpd->last) = visitor->back;
}

static void set_patience(struct gs_httpd *httpd)
{
	uint64_t now_ms = gs_loop_now_ms(httpd->loop), due_ms;

	if (!httpd->first) {
		gs_loop_timer_clear(httpd->loop, &httpd->patience);
		return;
	}
	due_ms = httpd->first->since_ms + httpd->request_ms;
	gs_loop_timer_set(httpd->loop, &httpd->patience,
			  due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 0);
}

static void on_visitor(void *context, struct MHD_Connection *connection, void **socket_context,
		       enum MHD_ConnectionNotificationCode what)
{
	struct gs_httpd *httpd = context;
	struct gs_httpd_visitor *visitor = *socket_context;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		httpd->counts.connections--;
		if (visitor)
			unlink_visitor(httpd, visitor);
		free(visitor);
		*socket_context = NULL;
		return;
	}
	httpd->counts.connections++;
	visitor = calloc(1, sizeof(*visitor));
	*socket_context = visitor;
	if (!visitor)
		return; /* no place in the list: it stays as long as it likes */
	visitor->httpd = httpd;
	visitor->fd =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	append_visitor(httpd, visitor);
}

struct gs_httpd_visitor *gs_httpd_visitor_of(struct MHD_Connection *connection)
{
	return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
		->socket_context;
}

void gs_httpd_answered(struct MHD_Connection *connection)
{
	struct gs_httpd_visitor *visitor = gs_httpd_visitor_of(connection);

	if (!visitor)
		return;
	unlink_visitor(visitor->httpd, visitor);
	append_visitor(visitor->httpd, visitor);
}

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
	set_patience(httpd);
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

/* The library closes what it finds shut down. */
static void on_patience_over(struct gs_timer *timer)
{
	struct gs_httpd *httpd = timer->context;
	uint64_t now_ms = gs_loop_now_ms(httpd->loop);

	while (httpd->first && httpd->first->since_ms + httpd->request_ms <= now_ms) {
		struct gs_httpd_visitor *visitor = httpd->first;

		shutdown(visitor->fd, SHUT_RDWR);
		unlink_visitor(httpd, visitor);
		append_visitor(httpd, visitor);
	}
	run(httpd);
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
		  uint32_t request_ms, struct gs_httpd **ret_httpd, struct gs_error *error)
{
	struct gs_httpd *httpd = calloc(1, sizeof(*httpd));
	const union MHD_DaemonInfo *info;
	int ret;

	if (!httpd)
		return gs_error_set(-ENOMEM, error, "http: no memory");
	httpd->loop = loop;
	httpd->api = api;
	httpd->request_ms = request_ms;
	httpd->fd = -1;
	ret = open_socket(listen, &httpd->fd, error);
	if (ret) {
		gs_httpd_close(httpd);
		return ret;
	}
	httpd->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, gs_httpd_on_request, httpd,
		MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET,
		httpd->fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)SILENCE_S,
		MHD_OPTION_UNESCAPE_CALLBACK, gs_httpd_unescape, NULL, MHD_OPTION_NOTIFY_CONNECTION,
		on_visitor, httpd, MHD_OPTION_NOTIFY_COMPLETED, gs_httpd_on_completed, httpd,
		MHD_OPTION_END);
	info = httpd->daemon ? MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	httpd->io = (struct gs_io){
		.fd = info ? info->epoll_fd : -1, .on_ready = on_ready, .context = httpd};
	httpd->timer = (struct gs_timer){.on_due = on_due, .context = httpd};
	httpd->patience = (struct gs_timer){.on_due = on_patience_over, .context = httpd};
	ret = info ? gs_loop_io_set(loop, &httpd->io, EPOLLIN) : -EIO;
	if (ret) {
		gs_httpd_close(httpd);
		return gs_error_set(ret, error, "http: %s", strerror(-ret));
	}
	*ret_httpd = httpd;
	return 0;
}

const struct gs_http_counts *gs_httpd_counts(const struct gs_httpd *httpd)
{
	return httpd ? &httpd->counts : NULL;
}

void gs_httpd_close(struct gs_httpd *httpd)
{
	if (!httpd)
		return;
	gs_loop_io_clear(httpd->loop, &httpd->io);
	gs_loop_timer_clear(httpd->loop, &httpd->timer);
	gs_loop_timer_clear(httpd->loop, &httpd->patience);
	if (httpd->daemon)
		MHD_stop_daemon(httpd->daemon); /* closes the socket, too */
	else if (httpd->fd >= 0)
		close(httpd->fd);
	free(httpd);
}
