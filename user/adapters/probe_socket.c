/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets between two probes of a backend. connect() to no address ends a connection by RST as
 * close() does, and leaves the socket as a new one is, but with its options and its place in the
 * loop: a probe takes half the system calls.
 *
 * Each is one backend's for ever: the kernel takes a socket's next first sequence number from its
 * last connection, and what a server saw of its own must not tell it another one's.
 */
#include "probe_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Idle for so long: the backend is probed no more, or so rarely that it does not matter. */
#define IDLE_MS 10000
#define AGED_AT_ONCE 8 /* a probe: nothing to notice, and more than come to be idle meanwhile */

struct gs_probe_socket {
	struct prober *prober;
	struct gs_io io;
	struct probe *probe; /* NULL: idle, and one of prober->idle */
	gs_id backend;
	struct gs_addr addr;
	uint64_t idle_ms; /* since when */
	struct gs_probe_socket *older, *newer;
};

static void free_socket(struct gs_probe_socket *socket)
{
	gs_loop_io_clear(socket->prober->loop, &socket->io);
	close(socket->io.fd);
	free(socket);
}

/* ---- idle ones ------------------------------------------------------------------------------- */

static void put_idle(struct gs_probe_socket *socket)
{
	struct gs_probe_idle *idle = &socket->prober->idle;

	socket->probe = NULL;
	socket->idle_ms = gs_loop_now_ms(socket->prober->loop);
	socket->newer = NULL;
	socket->older = idle->newest;
	if (socket->older)
		socket->older->newer = socket;
	else
		idle->oldest = socket;
	idle->newest = socket;
	idle->of[socket->backend] = socket;
	idle->count++;
}

static void take_idle(struct gs_probe_socket *socket)
{
	struct gs_probe_idle *idle = &socket->prober->idle;

	if (socket->older)
		socket->older->newer = socket->newer;
	else
		idle->oldest = socket->newer;
	if (socket->newer)
		socket->newer->older = socket->older;
	else
		idle->newest = socket->older;
	idle->of[socket->backend] = NULL;
	idle->count--;
}

static void drop(struct gs_probe_socket *socket)
{
	take_idle(socket);
	free_socket(socket);
}

void gs_probe_sockets_age(struct prober *prober)
{
	uint64_t now_ms = gs_loop_now_ms(prober->loop);

	for (int i = 0; i < AGED_AT_ONCE && prober->idle.oldest &&
			now_ms - prober->idle.oldest->idle_ms > IDLE_MS;
	     i++)
		drop(prober->idle.oldest);
}

void gs_probe_sockets_cancel(struct prober *prober, gs_id backend)
{
	if (backend < GS_MAX_BACKENDS && prober->idle.of[backend])
		drop(prober->idle.of[backend]);
}

int gs_probe_open_socket(struct prober *prober, int family)
{
	static const struct linger no_linger = {.l_onoff = 1, .l_linger = 0};
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* of no more descriptors those that wait for healthy backends go first */
	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && prober->idle.oldest) {
		drop(prober->idle.oldest);
		fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	}
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof(no_linger));
	return fd;
}

/* ---- a probe's ------------------------------------------------------------------------------- */

/* An idle one may still have something to say of the connection that was ended. */
static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_probe_socket *socket = io->context;

	if (socket->probe)
		gs_probe_on_edge(socket->probe, epoll_events);
}

static struct gs_probe_socket *find_idle(const struct probe *probe)
{
	const struct gs_probe_target *target = &probe->target;
	struct gs_probe_socket *socket = probe->prober->idle.of[target->backend];

	if (!socket)
		return NULL;
	take_idle(socket);
	if (memcmp(&socket->addr, &target->addr, sizeof(socket->addr)) == 0)
		return socket;
	free_socket(socket);
	return NULL;
}

static int new_socket(const struct probe *probe, int family, struct gs_probe_socket **ret_socket)
{
	struct gs_probe_socket *socket = calloc(1, sizeof(*socket));
	int fd = socket ? gs_probe_open_socket(probe->prober, family) : -ENOMEM;

	if (fd < 0) {
		free(socket);
		return fd;
	}
	socket->prober = probe->prober;
	socket->io = (struct gs_io){.fd = fd, .on_ready = on_ready, .context = socket};
	socket->backend = probe->target.backend;
	socket->addr = probe->target.addr;
	*ret_socket = socket;
	return 0;
}

int gs_probe_socket_take(struct probe *probe, int family)
{
	struct gs_probe_socket *socket = NULL;
	int ret;

	if (probe->target.backend >= GS_MAX_BACKENDS)
		return gs_probe_open_socket(probe->prober, family);
	socket = find_idle(probe);
	if (!socket) {
		ret = new_socket(probe, family, &socket);
		if (ret)
			return ret;
	}
	socket->probe = probe;
	probe->socket = socket;
	return socket->io.fd;
}

int gs_probe_socket_watch(struct probe *probe)
{
	struct gs_io *io = &probe->socket->io;

	if (io->is_set_)
		return 0;
	return gs_loop_io_set(probe->prober->loop, io, EPOLLIN | EPOLLOUT | EPOLLET);
}

void gs_probe_socket_leave(struct probe *probe)
{
	static const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	struct gs_probe_socket *socket = probe->socket;
	const struct gs_probe_idle *idle = &probe->prober->idle;

	if (!socket)
		return;
	probe->socket = NULL;
	probe->io.fd = -1;
	if (probe->is_good && idle->count < idle->limit && !idle->of[socket->backend] &&
	    connect(socket->io.fd, &nowhere, sizeof(nowhere)) == 0)
		put_idle(socket);
	else
		free_socket(socket);
}

void gs_probe_sockets_end(struct prober *prober)
{
	while (prober->idle.oldest)
		drop(prober->idle.oldest);
}
