/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_http.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#define HEADER_BYTES_MAX 65536u
#define READ_BYTES 2048L /* what libcurl reads at once */
#define HANDLES_KEPT 64u
#define URL_MAX (sizeof("http://[]:65535/") + INET6_ADDRSTRLEN)

/* An easy handle with everything set that is the same for all exchanges. */
struct gs_probe_http_handle {
	CURL *easy;
	struct curl_slist *headers;
	struct gs_probe_http_handle *next; /* free ones */
};

struct gs_probe_http {
	struct gs_loop *loop;
	CURLM *multi;
	struct gs_timer timer; /* libcurl's */
	struct gs_probe_http_handle *handles;
	uint32_t handle_count; /* of the free ones */
};

/* ---- exchanges that are over ----------------------------------------------------------------- */

static void free_handle(struct gs_probe_http_handle *handle)
{
	curl_slist_free_all(handle->headers);
	curl_easy_cleanup(handle->easy);
	free(handle);
}

static void give_back(struct gs_probe_http *client, struct gs_probe_http_handle *handle)
{
	curl_easy_setopt(handle->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(handle->headers);
	handle->headers = NULL;
	if (client->handle_count >= HANDLES_KEPT) {
		free_handle(handle);
		return;
	}
	handle->next = client->handles;
	client->handles = handle;
	client->handle_count++;
}

void gs_probe_http_abort(struct gs_probe_http_get *get)
{
	if (!get->handle)
		return;
	curl_multi_remove_handle(get->client->multi, get->handle->easy);
	/* libcurl is through with the descriptor; this is for a version that forgets to say so. */
	gs_loop_io_clear(get->client->loop, &get->io);
	give_back(get->client, get->handle);
	get->handle = NULL;
	if (get->fd >= 0)
		close(get->fd);
	get->fd = -1;
}

static enum gs_probe_class class_of_errno(long error)
{
	switch (error) {
	case ECONNREFUSED:
		return GS_PROBE_REFUSED;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return GS_PROBE_LOCAL;
	default:
		return GS_PROBE_RESET;
	}
}

static enum gs_probe_class class_of(struct gs_probe_http_get *get, CURLcode code)
{
	long status = 0, error = 0;

	curl_easy_getinfo(get->handle->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(get->handle->easy, CURLINFO_OS_ERRNO, &error);
	switch (code) {
	case CURLE_OK:
	case CURLE_WRITE_ERROR: /* we stop it ourselves when the headers are complete */
		if (get->too_long || status < 100)
			return GS_PROBE_BAD_REPLY;
		return status >= 200 && status < 400 ? GS_PROBE_OK : GS_PROBE_HTTP_STATUS;
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_COULDNT_CONNECT:
		return class_of_errno(error);
	case CURLE_FAILED_INIT:
		return GS_PROBE_LOCAL;
	default:
		/* No reply at all, not HTTP, cut short. CURLE_OUT_OF_MEMORY, too: it is what an
		 * endless header line makes, and must not pass for our own trouble. */
		return GS_PROBE_BAD_REPLY;
	}
}

static void finish_done(struct gs_probe_http *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left))) {
		struct gs_probe_http_get *get = NULL;
		enum gs_probe_class class;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &get);
		class = class_of(get, message->data.result);
		gs_probe_http_abort(get); /* the message is gone after this */
		get->on_done(get, class);
	}
}

/* ---- libcurl in the loop --------------------------------------------------------------------- */

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_probe_http_get *get = io->context;
	struct gs_probe_http *client = get->client;
	int mask = 0, running;

	if (epoll_events & (EPOLLIN | EPOLLHUP))
		mask |= CURL_CSELECT_IN;
	if (epoll_events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (epoll_events & EPOLLERR)
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(client->multi, io->fd, mask, &running);
	finish_done(client);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket_context)
{
	struct gs_probe_http *client = context;
	struct gs_probe_http_get *get = socket_context;
	uint32_t events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (get)
			gs_loop_io_clear(client->loop, &get->io);
		curl_multi_assign(client->multi, fd, NULL);
		return 0;
	}
	if (!get) {
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &get);
		get->io = (struct gs_io){.fd = fd, .on_ready = on_ready, .context = get};
		curl_multi_assign(client->multi, fd, get);
	}
	if (what != CURL_POLL_OUT)
		events |= EPOLLIN;
	if (what != CURL_POLL_IN)
		events |= EPOLLOUT;
	return gs_loop_io_set(client->loop, &get->io, events) ? -1 : 0;
}

static void on_due(struct gs_timer *timer)
{
	struct gs_probe_http *client = timer->context;
	int running;

	curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	finish_done(client);
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct gs_probe_http *client = context;

	(void)multi;
	if (timeout_ms >= 0)
		return gs_loop_timer_set(client->loop, &client->timer, (uint32_t)timeout_ms) ? -1
											     : 0;
	gs_loop_timer_clear(client->loop, &client->timer);
	return 0;
}

/* ---- one exchange ---------------------------------------------------------------------------- */

/* The connection stands already: libcurl gets its descriptor, once. */
static curl_socket_t on_open_socket(void *context, curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	struct gs_probe_http_get *get = context;

	(void)purpose;
	(void)address;
	return gs_take_fd(get->fd);
}

static int on_socket_option(void *context, curl_socket_t fd, curlsocktype purpose)
{
	(void)context;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

/* A count other than the given one ends the exchange. */
static size_t on_header(char *line, size_t size, size_t count, void *context)
{
	struct gs_probe_http_get *get = context;
	size_t bytes = size * count;
	long status = 0;

	get->header_bytes += (uint32_t)(bytes < HEADER_BYTES_MAX ? bytes : HEADER_BYTES_MAX);
	if (get->header_bytes > HEADER_BYTES_MAX) {
		get->too_long = true;
		return 0;
	}
	if (line[0] != '\r' && line[0] != '\n')
		return bytes;
	/* The end of a head. A real answer's, or a 1xx that promises one? */
	curl_easy_getinfo(get->handle->easy, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 ? 0 : bytes;
}

/* Not reached by what has headers. */
static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	(void)data;
	(void)size;
	(void)count;
	(void)context;
	return 0;
}

static struct gs_probe_http_handle *new_handle(void)
{
	struct gs_probe_http_handle *handle = calloc(1, sizeof(*handle));
	CURL *easy = curl_easy_init();

	if (!handle || !easy) {
		free(handle);
		curl_easy_cleanup(easy);
		return NULL;
	}
	handle->easy = easy;
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, READ_BYTES);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "geostream-probe");
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket_option);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	return handle;
}

static struct gs_probe_http_handle *take_handle(struct gs_probe_http *client)
{
	struct gs_probe_http_handle *handle = client->handles;

	if (!handle)
		return new_handle();
	client->handles = handle->next;
	client->handle_count--;
	return handle;
}

/* Printable ASCII without blanks: nothing that could end a request line or a header. */
static bool is_clean(const char *text, size_t room)
{
	size_t length = strnlen(text, room);

	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return length < room;
}

static void format_url(const struct gs_probe_target *target, char url[URL_MAX])
{
	bool is_v4 = gs_addr_is_v4(&target->addr);
	char address[INET6_ADDRSTRLEN];

	inet_ntop(is_v4 ? AF_INET : AF_INET6, target->addr.bytes + (is_v4 ? 12 : 0), address,
		  sizeof(address));
	snprintf(url, URL_MAX, is_v4 ? "http://%s:%u/" : "http://[%s]:%u/", address,
		 (unsigned int)target->port);
}

/* What differs from one exchange to the next; 0 or -ENOMEM. */
static int aim(struct gs_probe_http_handle *handle, struct gs_probe_http_get *get,
	       const struct gs_probe_target *target)
{
	char url[URL_MAX], host[sizeof("Host: ") + sizeof(target->spec.host)];
	CURL *easy = handle->easy;

	format_url(target, url);
	if (target->spec.host[0]) {
		snprintf(host, sizeof(host), "Host: %s", target->spec.host);
		handle->headers = curl_slist_append(NULL, host);
		if (!handle->headers)
			return -ENOMEM;
	}
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handle->headers);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, get);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, get);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, get);
	/* The path as it is, whatever libcurl's URLs would make of its '#' or '?'. */
	if (curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET,
			     target->spec.path[0] ? target->spec.path : "/") ||
	    curl_easy_setopt(easy, CURLOPT_URL, url))
		return -ENOMEM;
	return 0;
}

int gs_probe_http_start(struct gs_probe_http *client, struct gs_probe_http_get *get,
			const struct gs_probe_target *target, int fd)
{
	struct gs_probe_http_handle *handle;

	if (!is_clean(target->spec.path, sizeof(target->spec.path)) ||
	    !is_clean(target->spec.host, sizeof(target->spec.host)) ||
	    (target->spec.path[0] && target->spec.path[0] != '/'))
		return -EINVAL;
	handle = take_handle(client);
	if (!handle)
		return -ENOMEM;
	get->client = client;
	get->handle = handle;
	get->fd = fd;
	if (aim(handle, get, target) || curl_multi_add_handle(client->multi, handle->easy)) {
		get->handle = NULL;
		get->fd = -1; /* stays the caller's */
		give_back(client, handle);
		return -ENOMEM;
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

int gs_probe_http_open(struct gs_loop *loop, struct gs_probe_http **ret_client)
{
	struct gs_probe_http *client;
	CURLM *multi;

	/* No TLS: nothing of libcurl's that needs setting up. */
	if (curl_global_init(CURL_GLOBAL_NOTHING))
		return -ENOMEM;
	multi = curl_multi_init();
	client = multi ? calloc(1, sizeof(*client)) : NULL;
	if (!client) {
		curl_multi_cleanup(multi);
		curl_global_cleanup();
		return -ENOMEM;
	}
	client->loop = loop;
	client->multi = multi;
	client->timer = (struct gs_timer){.on_due = on_due, .context = client};
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*ret_client = client;
	return 0;
}

void gs_probe_http_close(struct gs_probe_http *client)
{
	if (!client)
		return;
	while (client->handles) {
		struct gs_probe_http_handle *handle = client->handles;

		client->handles = handle->next;
		free_handle(handle);
	}
	curl_multi_cleanup(client->multi);
	gs_loop_timer_clear(client->loop, &client->timer);
	curl_global_cleanup();
	free(client);
}
