// SPDX-License-Identifier: Apache-2.0
/*
 * A client is reading (its request comes), waiting (for the reply to be made) or writing. Clients
 * live in a table; a token is a slot and the number of its use, so that a late reply never goes to
 * the slot's next client.
 */
#include "control.h"

#include "user/base/cleanup.h"
#include "user/base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { BACKLOG = 64, READ_BYTES = 4096, PAUSE_MS = 500 };

enum client_state { FREE, READING, WAITING, WRITING };

struct client {
	struct gs_control *control;
	enum client_state state;
	uint32_t uses;
	struct gs_io io;
	struct gs_timer idle;
	char *text; /* the request, then the reply */
	size_t length, room, written;
};

struct gs_control {
	struct gs_loop *loop;
	struct gs_control_events events;
	void *context;
	struct sockaddr_un address;
	dev_t device; /* the socket's file: only what is ours is removed */
	ino_t inode;
	struct gs_io listener;
	struct gs_timer pause;
	struct client clients[GS_CONTROL_CLIENTS_MAX];
};

/* ---- clients --------------------------------------------------------------------------------- */

static void drop(struct client *client)
{
	struct gs_control *control = client->control;

	gs_loop_io_clear(control->loop, &client->io);
	gs_loop_timer_clear(control->loop, &client->idle);
	close(client->io.fd);
	free(client->text);
	client->text = NULL;
	client->length = client->room = client->written = 0;
	client->state = FREE;
	client->uses++;
	if (!control->listener.is_set_)
		gs_loop_io_set(control->loop, &control->listener, EPOLLIN);
}

static void on_pause(struct gs_timer *timer)
{
	struct gs_control *control = timer->context;

	gs_loop_io_set(control->loop, &control->listener, EPOLLIN);
}

static void on_idle(struct gs_timer *timer)
{
	drop(timer->context);
}

static void write_more(struct client *client)
{
	while (client->written < client->length) {
		ssize_t n = send(client->io.fd, client->text + client->written,
				 client->length - client->written, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN &&
		    gs_loop_io_set(client->control->loop, &client->io, EPOLLOUT) == 0)
			return;
		if (n <= 0)
			break;
		client->written += (size_t)n;
	}
	drop(client);
}

static void start_reply(struct client *client, const char *line)
{
	size_t length = strlen(line);
	char *text = malloc(length + 2);

	if (!text) {
		drop(client);
		return;
	}
	memcpy(text, line, length + 1);
	text[length] = '\n';
	free(client->text);
	client->text = text;
	client->length = length + 1;
	client->written = 0;
	client->state = WRITING;
	gs_loop_timer_set(client->control->loop, &client->idle, GS_CONTROL_IDLE_MS);
	write_more(client);
}

static uint64_t token_of(const struct client *client)
{
	return (uint64_t)client->uses << 32 | (uint32_t)(client - client->control->clients);
}

/* Nobody waits for a reply with a clock: a GeoIP file may take its time. */
static void ask(struct client *client, size_t length)
{
	struct gs_control *control = client->control;

	client->state = WAITING;
	gs_loop_timer_clear(control->loop, &client->idle);
	gs_loop_io_set(control->loop, &client->io, 0);
	control->events.on_request(control->context, token_of(client), client->text, length);
}

static int make_room(struct client *client)
{
	size_t room = client->room ? client->room * 2 : READ_BYTES;
	char *text;

	if (client->length < client->room)
		return 0;
	if (room > GS_CONTROL_REQUEST_MAX + 1)
		room = GS_CONTROL_REQUEST_MAX + 1; /* the newline counts not */
	text = realloc(client->text, room);
	if (!text)
		return -ENOMEM;
	client->text = text;
	client->room = room;
	return 0;
}

/* A request ends with its newline, or where its sender ends the stream. */
static void read_more(struct client *client)
{
	for (;;) {
		const char *newline;
		ssize_t n;

		if (make_room(client)) {
			drop(client);
			return;
		}
		n = recv(client->io.fd, client->text + client->length,
			 client->room - client->length, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 || (n == 0 && client->length == 0)) {
			drop(client);
			return;
		}
		newline = n ? memchr(client->text + client->length, '\n', (size_t)n) : NULL;
		client->length += (size_t)n;
		if (newline || n == 0) {
			ask(client, newline ? (size_t)(newline - client->text) : client->length);
			return;
		}
		if (client->length > GS_CONTROL_REQUEST_MAX) {
			start_reply(client, "{\"error\": \"request larger than 64 KiB\"}");
			return;
		}
	}
}

static void on_client(struct gs_io *io, uint32_t epoll_events)
{
	struct client *client = io->context;

	if (client->state == READING)
		read_more(client);
	else if (client->state == WRITING && (epoll_events & EPOLLOUT))
		write_more(client);
	else
		drop(client); /* error or hang-up */
}

void gs_control_reply(struct gs_control *control, uint64_t token, const char *line)
{
	uint32_t slot = (uint32_t)token;
	struct client *client;

	if (slot >= GS_CONTROL_CLIENTS_MAX)
		return;
	client = &control->clients[slot];
	if (client->state == WAITING && token_of(client) == token)
		start_reply(client, line);
}

static struct client *find_free(struct gs_control *control)
{
	for (uint32_t i = 0; i < GS_CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].state == FREE)
			return &control->clients[i];
	return NULL;
}

static void on_listener(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_control *control = io->context;
	struct client *client;
	int fd;

	(void)epoll_events;
	while ((client = find_free(control))) {
		fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0) { /* no descriptors left: asking again at once would not help */
			gs_loop_io_clear(control->loop, io);
			gs_loop_timer_set(control->loop, &control->pause, PAUSE_MS);
			return;
		}
		client->control = control;
		client->state = READING;
		client->io = (struct gs_io){.fd = fd, .on_ready = on_client, .context = client};
		client->idle = (struct gs_timer){.on_due = on_idle, .context = client};
		if (gs_loop_io_set(control->loop, &client->io, EPOLLIN) ||
		    gs_loop_timer_set(control->loop, &client->idle, GS_CONTROL_IDLE_MS))
			drop(client);
	}
	gs_loop_io_clear(control->loop, io); /* full: until somebody leaves */
}

/* ---- the socket ------------------------------------------------------------------------------ */

static int make_address(const char *path, struct sockaddr_un *ret_address, struct gs_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (!*path || strlen(path) >= sizeof(address.sun_path))
		return gs_error_set(-EINVAL, error, "%s: a socket's path has 1 to %zu bytes", path,
				    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	*ret_address = address;
	return 0;
}

static int open_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* Makes way: 0 if nothing is at the path any more. */
static int remove_stale(const struct sockaddr_un *address, struct gs_error *error)
{
	GS_AUTO_CLOSE int fd = -1;
	const char *path = address->sun_path;
	struct stat status;

	if (lstat(path, &status))
		return errno == ENOENT
			       ? 0
			       : gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return gs_error_set(-EADDRINUSE, error, "%s: is no socket; not replaced", path);
	fd = open_socket();
	if (fd < 0)
		return gs_error_set(fd, error, "%s: %s", path, strerror(-fd));
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return gs_error_set(-EADDRINUSE, error, "%s: another geostreamd answers there",
				    path);
	if (errno != ECONNREFUSED)
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	if (unlink(path) && errno != ENOENT)
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	return 0;
}

static void make_folder(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	strcpy(folder, path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		mkdir(folder, 0755); /* if it cannot be, bind says so */
	}
}

static int listen_at(struct gs_control *control, struct gs_error *error)
{
	const char *path = control->address.sun_path;
	struct stat status;
	mode_t mask;
	int result;

	make_folder(path);
	result = remove_stale(&control->address, error);
	if (result)
		return result;
	control->listener.fd = open_socket();
	if (control->listener.fd < 0)
		return gs_error_set(control->listener.fd, error, "%s: %s", path,
				    strerror(-control->listener.fd));
	mask = umask(0117);
	result = bind(control->listener.fd, (const struct sockaddr *)&control->address,
		      sizeof(control->address));
	umask(mask);
	if (result || stat(path, &status) || listen(control->listener.fd, BACKLOG))
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	control->device = status.st_dev;
	control->inode = status.st_ino;
	return gs_loop_io_set(control->loop, &control->listener, EPOLLIN);
}

int gs_control_open(struct gs_loop *loop, const char *path, const struct gs_control_events *events,
		    void *context, struct gs_control **ret_control, struct gs_error *error)
{
	struct gs_control *control = calloc(1, sizeof(*control));
	int result;

	if (!control)
		return gs_error_set(-ENOMEM, error, "%s: out of memory", path);
	control->loop = loop;
	control->events = *events;
	control->context = context;
	control->listener = (struct gs_io){.fd = -1, .on_ready = on_listener, .context = control};
	control->pause = (struct gs_timer){.on_due = on_pause, .context = control};
	result = make_address(path, &control->address, error);
	if (!result)
		result = listen_at(control, error);
	if (result) {
		gs_control_close(control);
		return result;
	}
	*ret_control = control;
	return 0;
}

void gs_control_close(struct gs_control *control)
{
	struct stat status;

	if (!control)
		return;
	for (uint32_t i = 0; i < GS_CONTROL_CLIENTS_MAX; i++)
		if (control->clients[i].state != FREE)
			drop(&control->clients[i]);
	gs_loop_timer_clear(control->loop, &control->pause);
	gs_loop_io_clear(control->loop, &control->listener);
	gs_close_fd(&control->listener.fd);
	if (control->inode && lstat(control->address.sun_path, &status) == 0 &&
	    status.st_dev == control->device && status.st_ino == control->inode)
		unlink(control->address.sun_path);
	free(control);
}

/* ---- the client ------------------------------------------------------------------------------ */

static int read_reply(int fd, const char *path, char **ret_reply, struct gs_error *error)
{
	GS_AUTO_FREE char *reply = NULL;
	size_t length = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (room - length < 2) {
			char *larger = realloc(reply, room ? room * 2 : READ_BYTES);

			if (!larger)
				return gs_error_set(-ENOMEM, error, "out of memory");
			reply = larger;
			room = room ? room * 2 : READ_BYTES;
		}
		n = recv(fd, reply + length, room - length - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return gs_error_set(-ETIMEDOUT, error, "%s: geostreamd does not answer",
					    path);
		if (n <= 0)
			return gs_error_set(-EPROTO, error, "%s: geostreamd ended the conversation",
					    path);
		length += (size_t)n;
		if (reply[length - 1] == '\n') {
			reply[length - 1] = '\0';
			*ret_reply = gs_take_ptr(reply);
			return 0;
		}
	}
}

static int connect_to(const char *path, uint32_t timeout_ms, int *ret_fd, struct gs_error *error)
{
	const struct timeval limit = {
		.tv_sec = timeout_ms / 1000,
		.tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000,
	};
	GS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int result = make_address(path, &address, error);

	if (result)
		return result;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		return gs_error_set(-errno, error, "%s: %s", path, strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		const char *hint = errno == ENOENT || errno == ECONNREFUSED
					   ? ": geostreamd is not running there"
					   : "";

		return gs_error_set(-errno, error, "%s: %s%s", path, strerror(errno), hint);
	}
	*ret_fd = gs_take_fd(fd);
	return 0;
}

static bool send_all(int fd, const char *text, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = send(fd, text + done, length - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

int gs_control_begin(const char *path, const char *request, uint32_t timeout_ms, int *ret_fd,
		     struct gs_error *error)
{
	int result = connect_to(path, timeout_ms, ret_fd, error);

	if (result)
		return result;
	/* A daemon that refuses a request midway still says why. */
	if (send_all(*ret_fd, request, strlen(request)))
		send_all(*ret_fd, "\n", 1);
	return 0;
}

int gs_control_end(const char *path, int fd, char **ret_reply, struct gs_error *error)
{
	return read_reply(fd, path, ret_reply, error);
}

int gs_control_ask(const char *path, const char *request, uint32_t timeout_ms, char **ret_reply,
		   struct gs_error *error)
{
	GS_AUTO_CLOSE int fd = -1;
	int result = gs_control_begin(path, request, timeout_ms, &fd, error);

	return result ? result : gs_control_end(path, fd, ret_reply, error);
}
