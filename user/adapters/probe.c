/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prober port: fresh TCP connections on the loop, and a GET over them for HTTP. Whatever ends a
 * probe closes its connection by RST: no side keeps a TIME_WAIT for it.
 */
#include "adapters.h"
#include "probe_http.h"

#include "user/base/cleanup.h"
#include "user/core/cidr.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* A timeout that is noticed this much too late (1/5: 20 %) tells of us, not of the target. */
#define LATE_SHARE 5
#define TIMER_SLACK_US 2000 /* what timers are rounded by */
#define READ_BYTES 4096

struct prober {
	struct gs_loop *loop;
	const struct gs_prober_events *events;
	void *context;
	struct probe *probes; /* under way */
};

enum stage {
	STAGE_CONNECTING,
	STAGE_ASKED,  /* the request is sent */
	STAGE_FAILED, /* at once: `result` is reported by the timer */
};

struct probe {
	struct prober *prober;
	struct probe *next, *previous;
	struct gs_probe_target target;
	uint64_t token;
	uint64_t start_us;
	struct gs_timer timer; /* the timeout */
	struct gs_io io;       /* fd -1: none */
	enum stage stage;
	enum gs_probe_class result;
	struct gs_http_head head;
};

/* ---- ends ------------------------------------------------------------------------------------ */

static void free_probe(struct probe *probe)
{
	struct gs_loop *loop = probe->prober->loop;

	gs_loop_timer_clear(loop, &probe->timer);
	if (probe->io.fd >= 0) {
		gs_loop_io_clear(loop, &probe->io);
		close(probe->io.fd);
	}
	if (probe->previous)
		probe->previous->next = probe->next;
	else
		probe->prober->probes = probe->next;
	if (probe->next)
		probe->next->previous = probe->previous;
	free(probe);
}

static void finish(struct probe *probe, enum gs_probe_class result)
{
	struct prober *prober = probe->prober;
	uint64_t token = probe->token, took_us = gs_now_us() - probe->start_us;

	free_probe(probe); /* first: the callee may do anything */
	prober->events->on_result(prober->context, token, result,
				  took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX);
}

/* connect() itself failed: our own machine's answer, from its routes or its resources. */
static enum gs_probe_class class_of_connect(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return GS_PROBE_REFUSED;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EACCES: /* a prohibit route */
	case EINVAL: /* a blackhole route */
		return GS_PROBE_NO_ROUTE;
	default:
		return GS_PROBE_LOCAL;
	}
}

/* What came of a connection under way: the answer of the target, or of a router before it. */
static enum gs_probe_class class_of_answer(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case EHOSTUNREACH: /* ICMP, or nobody answers for the address on its link */
	case ENETUNREACH:
		return GS_PROBE_REFUSED;
	case ETIMEDOUT:
		return GS_PROBE_TIMEOUT;
	case ENOBUFS:
	case ENOMEM:
		return GS_PROBE_LOCAL;
	default:
		return GS_PROBE_RESET;
	}
}

/* ---- steps: true once the probe is over, *ret_result ----------------------------------------- */

static bool ask(struct probe *probe, enum gs_probe_class *ret_result)
{
	char request[GS_HTTP_REQUEST_MAX];
	int length = gs_http_format_request(&probe->target, request);

	*ret_result = GS_PROBE_LOCAL; /* a request that cannot be one is our own mistake */
	if (length < 0)
		return true;
	/* A fresh connection takes so few bytes at once or not at all. */
	if (send(probe->io.fd, request, (size_t)length, MSG_NOSIGNAL) != length) {
		*ret_result = class_of_answer(errno);
		return true;
	}
	probe->stage = STAGE_ASKED;
	return gs_loop_io_set(probe->prober->loop, &probe->io, EPOLLIN) != 0;
}

static bool take_connection(struct probe *probe, enum gs_probe_class *ret_result)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(probe->io.fd, SOL_SOCKET, SO_ERROR, &error, &size))
		error = errno;
	if (!error && probe->target.spec.kind == GS_PROBE_HTTP)
		return ask(probe, ret_result);
	*ret_result = error ? class_of_answer(error) : GS_PROBE_OK;
	return true;
}

static bool take_answer(struct probe *probe, enum gs_probe_class *ret_result)
{
	char bytes[READ_BYTES];
	ssize_t got = recv(probe->io.fd, bytes, sizeof(bytes), 0);

	if (got > 0)
		return gs_http_feed(&probe->head, bytes, (size_t)got, ret_result);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	*ret_result = got < 0 ? class_of_answer(errno) : GS_PROBE_BAD_REPLY; /* cut short */
	return true;
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct probe *probe = io->context;
	enum gs_probe_class result;

	(void)epoll_events;
	if (probe->stage == STAGE_CONNECTING ? take_connection(probe, &result)
					     : take_answer(probe, &result))
		finish(probe, result);
}

/*
 * Before silence is called silence: what has arrived and was not looked at yet, because the loop
 * has more to do than it can, counts as an answer; a connection there was no time to use counts as
 * our own trouble. So a machine that cannot keep up does not find everybody else dead.
 */
static bool look_once_more(struct probe *probe, enum gs_probe_class *ret_result)
{
	struct pollfd ready = {.fd = probe->io.fd,
			       .events = probe->stage == STAGE_CONNECTING ? POLLOUT : POLLIN};

	if (poll(&ready, 1, 0) != 1)
		return false;
	if (probe->stage == STAGE_ASKED)
		return take_answer(probe, ret_result);
	if (take_connection(probe, ret_result))
		return true;
	*ret_result = GS_PROBE_LOCAL;
	return true;
}

static void on_due(struct gs_timer *timer)
{
	struct probe *probe = timer->context;
	uint64_t timeout_us = (uint64_t)probe->target.spec.timeout_ms * 1000;
	uint64_t took_us = gs_now_us() - probe->start_us;
	enum gs_probe_class result = probe->result;

	if (probe->stage != STAGE_FAILED && !look_once_more(probe, &result))
		result = took_us > timeout_us + timeout_us / LATE_SHARE + TIMER_SLACK_US
				 ? GS_PROBE_LOCAL
				 : GS_PROBE_TIMEOUT;
	finish(probe, result);
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* A socket that is non-blocking and closes by RST; or -errno. */
static int open_socket(int family)
{
	static const struct linger no_linger = {.l_onoff = 1, .l_linger = 0};
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof(no_linger));
	return fd;
}

static socklen_t fill_address(const struct gs_probe_target *target,
			      struct sockaddr_storage *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (gs_addr_is_v4(&target->addr)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(target->port);
		memcpy(&in->sin_addr, target->addr.bytes + 12, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(target->port);
	memcpy(&in6->sin6_addr, target->addr.bytes, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

/* 0: under way, or failed with a class that is reported soon; -errno: nothing was begun. */
static int begin_connect(struct probe *probe)
{
	struct sockaddr_storage address;
	socklen_t size = fill_address(&probe->target, &address);
	int fd = open_socket(address.ss_family);

	if (fd < 0)
		return fd;
	probe->io.fd = fd;
	/* Connected at once (it happens on loopback) is told by EPOLLOUT as well. */
	if (connect(fd, (const struct sockaddr *)&address, size) == 0 || errno == EINPROGRESS)
		return gs_loop_io_set(probe->prober->loop, &probe->io, EPOLLOUT);
	probe->stage = STAGE_FAILED;
	probe->result = class_of_connect(errno);
	return 0;
}

/* ---- the port -------------------------------------------------------------------------------- */

static int start(void *self, const struct gs_prober_events *events, void *context)
{
	struct prober *prober = self;

	prober->events = events;
	prober->context = context;
	return 0;
}

static int probe_target(void *self, const struct gs_probe_target *target, uint64_t token)
{
	struct prober *prober = self;
	struct probe *probe;
	int ret;

	if (target->spec.kind != GS_PROBE_TCP && target->spec.kind != GS_PROBE_HTTP)
		return -EINVAL;
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	probe->prober = prober;
	probe->target = *target;
	probe->token = token;
	probe->start_us = gs_now_us();
	probe->timer = (struct gs_timer){.on_due = on_due, .context = probe};
	probe->io = (struct gs_io){.fd = -1, .on_ready = on_ready, .context = probe};
	probe->next = prober->probes;
	if (probe->next)
		probe->next->previous = probe;
	prober->probes = probe;

	ret = begin_connect(probe);
	if (!ret)
		ret = gs_loop_timer_set(prober->loop, &probe->timer,
					probe->stage == STAGE_FAILED ? 0 : target->spec.timeout_ms);
	if (ret)
		free_probe(probe);
	return ret;
}

static void cancel(void *self, gs_id backend)
{
	struct prober *prober = self;
	struct probe *next;

	for (struct probe *probe = prober->probes; probe; probe = next) {
		next = probe->next;
		if (probe->target.backend == backend)
			free_probe(probe);
	}
}

static void close_prober(void *self)
{
	struct prober *prober = self;

	for (struct probe *probe = prober->probes, *next; probe; probe = next) {
		next = probe->next;
		free_probe(probe);
	}
	free(prober);
}

/* A mass outage has `fall` probes or more of every target under way: with too few descriptors we
 * would see trouble of our own where the targets are dead. As many as we may have, then. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* if not: -EMFILE says so, later */
}

int gs_probe_open(struct gs_loop *loop, struct gs_prober *ret_prober, struct gs_error *error)
{
	static const struct gs_prober_ops ops = {
		.start = start, .probe = probe_target, .cancel = cancel, .close = close_prober};
	struct prober *prober = calloc(1, sizeof(*prober));

	if (!prober) {
		snprintf(error->text, sizeof(error->text), "prober: out of memory");
		return -ENOMEM;
	}
	raise_descriptor_limit();
	prober->loop = loop;
	*ret_prober = (struct gs_prober){.ops = &ops, .self = prober};
	return 0;
}
