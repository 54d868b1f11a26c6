/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections through the tunnel whose probe is over: each is kept until its server has ended it,
 * or for a second. Closed at once, what the server had sent already would find no socket, and the
 * kernel's RST to that has no mark: it would leave by the default route, to the VIP, and come back
 * as a client's packet.
 */
#include "probe_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WAIT_MS 1000
#define BYTES_MAX 262144u
#define AT_ONCE 4096u /* beyond: closed at once */

struct farewell {
	struct prober *prober;
	struct farewell *next, *previous;
	struct gs_io io;
	struct gs_timer timer;
	uint32_t received; /* bytes */
};

static void end(struct farewell *farewell)
{
	struct prober *prober = farewell->prober;

	gs_loop_io_clear(prober->loop, &farewell->io);
	gs_loop_timer_clear(prober->loop, &farewell->timer);
	close(farewell->io.fd);
	if (farewell->previous)
		farewell->previous->next = farewell->next;
	else
		prober->farewells = farewell->next;
	if (farewell->next)
		farewell->next->previous = farewell->previous;
	prober->farewell_count--;
	free(farewell);
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct farewell *farewell = io->context;
	char bytes[4096];
	ssize_t got = recv(io->fd, bytes, sizeof(bytes), 0);

	(void)epoll_events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0)
		farewell->received += (uint32_t)got;
	if (got <= 0 || farewell->received > BYTES_MAX)
		end(farewell);
}

static void on_due(struct gs_timer *timer)
{
	end(timer->context);
}

void gs_probe_farewell(struct probe *probe)
{
	struct prober *prober = probe->prober;
	struct farewell *farewell;

	if (prober->farewell_count >= AT_ONCE || !(farewell = calloc(1, sizeof(*farewell))))
		return;
	gs_loop_io_clear(prober->loop, &probe->io);
	farewell->prober = prober;
	farewell->io =
		(struct gs_io){.fd = probe->io.fd, .on_ready = on_ready, .context = farewell};
	farewell->timer = (struct gs_timer){.on_due = on_due, .context = farewell};
	probe->io.fd = -1;
	farewell->next = prober->farewells;
	if (farewell->next)
		farewell->next->previous = farewell;
	prober->farewells = farewell;
	prober->farewell_count++;
	if (gs_loop_io_set(prober->loop, &farewell->io, EPOLLIN) != 0 ||
	    gs_loop_timer_set(prober->loop, &farewell->timer, WAIT_MS) != 0)
		end(farewell);
}

void gs_probe_farewells_end(struct prober *prober)
{
	for (struct farewell *farewell = prober->farewells, *next; farewell; farewell = next) {
		next = farewell->next;
		end(farewell);
	}
}
