/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prober port. Each probe is on its own: a fresh connection, datagram socket or command.
 * Whatever ends a connection does so by RST, some after a farewell: no side keeps a TIME_WAIT for
 * it.
 */
#include "adapters.h"
#include "probe_exec.h"
#include "probe_parts.h"
#include "probe_tls.h"

#include "user/core/cidr.h"
#include "user/core/random.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

/* A timeout that is noticed this much too late (1/5: 20 %) tells of us, not of the target. */
#define LATE_SHARE 5
#define TIMER_SLACK_US 2000 /* what timers are rounded by */
/* Sockets kept between probes: 4 KB of the kernel's memory each. */
#define IDLE_MAX 4096
#define IDLE_SHARE 4 /* 1/4 of the descriptors there may be */

/* ---- ends ------------------------------------------------------------------------------------ */

static void free_probe(struct probe *probe)
{
	struct gs_loop *loop = probe->prober->loop;

	gs_loop_timer_clear(loop, &probe->timer);
	probe->way->done(probe);
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

void gs_probe_finish(struct probe *probe, enum gs_probe_class result)
{
	struct prober *prober = probe->prober;
	uint64_t token = probe->token, took_us = gs_now_us() - probe->start_us;
	uint32_t rtt_us = probe->rtt_us;

	probe->is_good = result == GS_PROBE_OK;
	free_probe(probe); /* first: the callee may do anything */
	prober->events->on_result(prober->context, token, result,
				  took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX, rtt_us);
}

void gs_probe_fail(struct probe *probe, enum gs_probe_class result)
{
	probe->stage = STAGE_FAILED;
	probe->result = result;
}

/* connect() itself failed: our own machine's answer, from its routes or its resources. */
enum gs_probe_class gs_probe_class_of_connect(int error)
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

/* What came of a question under way: the answer of the target, or of a router before it. */
enum gs_probe_class gs_probe_class_of_answer(int error)
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

bool gs_probe_is_ready(const struct probe *probe, uint32_t epoll_events)
{
	struct pollfd ready = {.fd = probe->io.fd, .events = (short)epoll_events};

	_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT, "the same words");
	return probe->io.fd >= 0 && poll(&ready, 1, 0) == 1;
}

/*
 * Before silence is called silence: what has arrived and was not looked at yet, because the loop
 * has more to do than it can, counts as an answer. So a machine that cannot keep up does not find
 * everybody else dead.
 */
static void on_due(struct gs_timer *timer)
{
	struct probe *probe = timer->context;
	uint64_t timeout_us = (uint64_t)probe->target.spec.timeout_ms * 1000;
	uint64_t took_us = gs_now_us() - probe->start_us;
	enum gs_probe_class result = probe->result;

	if (probe->stage != STAGE_FAILED && !probe->way->look(probe, &result))
		result = took_us > timeout_us + timeout_us / LATE_SHARE + TIMER_SLACK_US ||
					 probe->held_us > timeout_us / LATE_SHARE
				 ? GS_PROBE_LOCAL
				 : GS_PROBE_TIMEOUT;
	gs_probe_finish(probe, result);
}

static socklen_t fill_address(const struct gs_addr *addr, uint16_t port,
			      struct sockaddr_storage *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)address;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (gs_addr_is_v4(addr)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, addr->bytes + 12, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, addr->bytes, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

socklen_t gs_probe_aim(struct probe *probe, struct sockaddr_storage *address)
{
	const struct gs_probe_target *target = &probe->target;
	const struct gs_detour *detour = probe->prober->detour;

	probe->is_through = target->is_through && detour && detour->ops &&
			    !detour->ops->look(detour->self, target, &probe->detour);
	return fill_address(probe->is_through ? &target->vip : &target->addr, target->port,
			    address);
}

int gs_probe_direct(const struct probe *probe, int fd)
{
	const uint32_t mark = probe->detour.mark;
	const int yes = 1;
	struct sockaddr_storage source;
	socklen_t size;

	if (!probe->is_through)
		return 0;
	size = fill_address(&probe->detour.source, 0, &source);
	/* The port is chosen when it is connected: it is one of this VIP, and not of all. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) ||
	    bind(fd, (const struct sockaddr *)&source, size))
		return -errno;
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

static const struct probe_way *way_of(enum gs_probe_kind kind)
{
	switch (kind) {
	case GS_PROBE_TCP:
	case GS_PROBE_HTTP:
	case GS_PROBE_HTTPS:
	case GS_PROBE_GRPC:
	case GS_PROBE_GRPCS:
		return &gs_probe_streams;
	case GS_PROBE_UDP:
	case GS_PROBE_DNS:
	case GS_PROBE_ICMP:
		return &gs_probe_packets;
	case GS_PROBE_EXEC:
		return &gs_probe_commands;
	default:
		return NULL;
	}
}

static int probe_target(void *self, const struct gs_probe_target *target, uint64_t token)
{
	struct prober *prober = self;
	const struct probe_way *way = way_of(target->spec.kind);
	struct probe *probe;
	int ret;

	if (!way)
		return -EINVAL;
	gs_probe_sockets_age(prober);
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return -ENOMEM;
	probe->prober = prober;
	probe->way = way;
	probe->target = *target;
	probe->token = token;
	probe->start_us = gs_now_us();
	probe->timer = (struct gs_timer){.on_due = on_due, .context = probe};
	probe->io = (struct gs_io){.fd = -1, .context = probe};
	probe->next = prober->probes;
	if (probe->next)
		probe->next->previous = probe;
	prober->probes = probe;

	ret = way->begin(probe);
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
	gs_probe_sockets_cancel(prober, backend);
}

static void close_prober(void *self)
{
	struct prober *prober = self;

	for (struct probe *probe = prober->probes, *next; probe; probe = next) {
		next = probe->next;
		free_probe(probe);
	}
	gs_probe_farewells_end(prober);
	gs_probe_sockets_end(prober);
	gs_exec_free(prober->exec);
	gs_tls_trust_free(prober->trust);
	free(prober);
}

/* A mass outage has `fall` probes or more of every target under way: with too few descriptors we
 * would see trouble of our own where the targets are dead. As many as we may have, then: how many.
 */
static rlim_t raise_descriptor_limit(void)
{
	struct rlimit limit, raised;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 0;
	raised = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
	/* If not: -EMFILE says so, later. */
	return setrlimit(RLIMIT_NOFILE, &raised) ? limit.rlim_cur : raised.rlim_cur;
}

static uint32_t idle_limit(rlim_t descriptors)
{
	return descriptors / IDLE_SHARE < IDLE_MAX ? (uint32_t)(descriptors / IDLE_SHARE)
						   : IDLE_MAX;
}

int gs_probe_open(struct gs_loop *loop, const struct gs_probe_settings *settings,
		  struct gs_prober *ret_prober, struct gs_error *error)
{
	static const struct gs_prober_ops ops = {
		.start = start, .probe = probe_target, .cancel = cancel, .close = close_prober};
	struct prober *prober = calloc(1, sizeof(*prober));

	if (!prober || gs_exec_new(loop, settings, &prober->exec) != 0) {
		free(prober);
		snprintf(error->text, sizeof(error->text), "prober: out of memory");
		return -ENOMEM;
	}
	prober->idle.limit = idle_limit(raise_descriptor_limit());
	prober->loop = loop;
	prober->detour = settings->detour;
	if (getrandom(&prober->random, sizeof(prober->random), GRND_NONBLOCK) < 0)
		prober->random = gs_now_us();
	*ret_prober = (struct gs_prober){.ops = &ops, .self = prober};
	return 0;
}
