/* SPDX-License-Identifier: Apache-2.0 */
/* Probes over TCP: a connection is all (tcp), or HTTP or gRPC follow, through TLS or without. */
#include "probe_grpc.h"
#include "probe_parts.h"
#include "probe_tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#define READ_BYTES 4096
/* What a server may say at all, TLS and HTTP/2 included. */
#define RECEIVED_MAX 262144
/* Handshakes take up to a millisecond each: no more of them in one turn of the loop. */
#define TURN_MS 5

static bool has_tls(const struct probe *probe)
{
	return probe->target.spec.kind == GS_PROBE_HTTPS ||
	       probe->target.spec.kind == GS_PROBE_GRPCS;
}

static bool is_grpc(const struct probe *probe)
{
	return probe->target.spec.kind == GS_PROBE_GRPC ||
	       probe->target.spec.kind == GS_PROBE_GRPCS;
}

/* ---- sending: true if it fails, *ret_class ----------------------------------------------------
 */

static bool put_raw(struct probe *probe, const char *bytes, size_t count,
		    enum gs_probe_class *ret_class)
{
	ssize_t sent = send(probe->io.fd, bytes, count, MSG_NOSIGNAL);

	if (sent == (ssize_t)count)
		return false;
	/* A fresh connection takes so few bytes at once, unless the server does not read. */
	*ret_class =
		sent < 0 && errno != EAGAIN ? gs_probe_class_of_answer(errno) : GS_PROBE_BAD_REPLY;
	return true;
}

static bool flush_tls(struct probe *probe, enum gs_probe_class *ret_class)
{
	char bytes[READ_BYTES];
	size_t count;

	while ((count = gs_tls_take(probe->tls, bytes, sizeof(bytes))) > 0)
		if (put_raw(probe, bytes, count, ret_class))
			return true;
	return false;
}

static bool put(struct probe *probe, const char *bytes, size_t count,
		enum gs_probe_class *ret_class)
{
	if (!probe->tls)
		return put_raw(probe, bytes, count, ret_class);
	*ret_class = GS_PROBE_TLS;
	return gs_tls_write(probe->tls, bytes, count) != 0 || flush_tls(probe, ret_class);
}

static bool flush_grpc(struct probe *probe, enum gs_probe_class *ret_class)
{
	const uint8_t *bytes;
	ssize_t count;

	while ((count = gs_grpc_take(probe->grpc, &bytes)) > 0)
		if (put(probe, (const char *)bytes, (size_t)count, ret_class))
			return true;
	*ret_class = GS_PROBE_BAD_REPLY;
	return count < 0;
}

/* ---- steps: true once the probe is over, *ret_class -------------------------------------------
 */

/* A request that cannot be one is our own mistake. */
static bool ask_http(struct probe *probe, enum gs_probe_class *ret_class)
{
	char request[GS_HTTP_REQUEST_MAX];
	int length = gs_http_format_request(&probe->target, request);

	*ret_class = GS_PROBE_LOCAL;
	if (length < 0 || gs_http_answer_init(&probe->http, &probe->target.spec) != 0)
		return true;
	return put(probe, request, (size_t)length, ret_class);
}

static bool ask(struct probe *probe, enum gs_probe_class *ret_class)
{
	probe->stage = STAGE_ASKED;
	if (!is_grpc(probe))
		return ask_http(probe, ret_class);
	*ret_class = GS_PROBE_LOCAL;
	return gs_grpc_open(&probe->target, &probe->grpc) != 0 || flush_grpc(probe, ret_class);
}

/* Bytes of the answer, out of TLS. */
static bool take_plain(struct probe *probe, const char *bytes, size_t count,
		       enum gs_probe_class *ret_class)
{
	if (!probe->grpc)
		return gs_http_feed(&probe->http, bytes, count, ret_class);
	return gs_grpc_feed(probe->grpc, (const uint8_t *)bytes, count, ret_class) ||
	       flush_grpc(probe, ret_class);
}

static enum gs_probe_class class_of_end(const struct probe *probe)
{
	if (probe->stage == STAGE_SHAKING)
		return GS_PROBE_TLS;
	return probe->grpc ? GS_PROBE_BAD_REPLY : gs_http_end(&probe->http);
}

static bool shake(struct probe *probe, enum gs_probe_class *ret_class)
{
	int ret = gs_tls_shake(probe->tls);
	bool failed = flush_tls(probe, ret_class);

	if (ret < 0) { /* and the server was told why, if it wants to know */
		*ret_class = GS_PROBE_TLS;
		return true;
	}
	return failed || (ret > 0 && ask(probe, ret_class));
}

static bool read_tls(struct probe *probe, enum gs_probe_class *ret_class)
{
	char bytes[READ_BYTES];
	ssize_t got;

	while ((got = gs_tls_read(probe->tls, bytes, sizeof(bytes))) > 0)
		if (take_plain(probe, bytes, (size_t)got, ret_class))
			return true;
	if (got == 0)
		return flush_tls(probe, ret_class);
	*ret_class = got == -ENODATA ? class_of_end(probe) : GS_PROBE_TLS;
	return true;
}

static bool take_raw(struct probe *probe, const char *bytes, size_t count,
		     enum gs_probe_class *ret_class)
{
	if (!probe->tls)
		return take_plain(probe, bytes, count, ret_class);
	*ret_class = GS_PROBE_LOCAL;
	if (gs_tls_feed(probe->tls, bytes, count) != 0)
		return true;
	if (probe->stage == STAGE_SHAKING && shake(probe, ret_class))
		return true;
	return probe->stage == STAGE_ASKED && read_tls(probe, ret_class);
}

static bool take_answer(struct probe *probe, enum gs_probe_class *ret_class)
{
	char bytes[READ_BYTES];
	ssize_t got;

	do
		got = recv(probe->io.fd, bytes, sizeof(bytes), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return false;
	probe->has_ended = got <= 0;
	if (got < 0) {
		*ret_class = gs_probe_class_of_answer(errno);
		return true;
	}
	if (got == 0) {
		*ret_class = class_of_end(probe); /* cut short */
		return true;
	}
	probe->received += (uint32_t)got;
	*ret_class = GS_PROBE_BAD_REPLY;
	return probe->received > RECEIVED_MAX || take_raw(probe, bytes, (size_t)got, ret_class);
}

/* Until there is no more. */
static bool take_all(struct probe *probe, enum gs_probe_class *ret_class)
{
	uint32_t before;

	do {
		before = probe->received;
		if (take_answer(probe, ret_class))
			return true;
	} while (probe->received != before);
	return false;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static bool watch(struct probe *probe, enum gs_probe_class *ret_class)
{
	*ret_class = GS_PROBE_LOCAL;
	return gs_loop_io_set(probe->prober->loop, &probe->io, EPOLLIN) != 0;
}

static bool begin_tls(struct probe *probe, enum gs_probe_class *ret_class)
{
	int ret = gs_tls_open(probe->prober->trust, &probe->target,
			      is_grpc(probe) ? "h2" : "http/1.1", &probe->tls);

	probe->stage = STAGE_WAITING;
	if (ret == -EINPROGRESS) {
		gs_loop_io_clear(probe->prober->loop, &probe->io);
		return false;
	}
	*ret_class = GS_PROBE_LOCAL; /* CAs that cannot be read are our own trouble */
	if (ret)
		return true;
	probe->stage = STAGE_SHAKING;
	return shake(probe, ret_class) || watch(probe, ret_class);
}

static int error_of(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
}

/*
 * 0, or why there is no connection; EINPROGRESS: there may be one yet. *ret_rtt_us: from the SYN to
 * its answer, by the kernel's own clock; 0: it has not measured it. Of a connection that stands one
 * question tells both.
 */
static int ask_kernel(int fd, uint32_t *ret_rtt_us)
{
	struct tcp_info info = {.tcpi_state = 0};
	socklen_t size = sizeof(info);
	int error;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size))
		return errno;
	if (info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT) {
		*ret_rtt_us = info.tcpi_rtt;
		return 0;
	}
	error = error_of(fd);
	if (!error)
		error = info.tcpi_state == TCP_CLOSE ? ECONNRESET : EINPROGRESS;
	return error;
}

static bool take_connection(struct probe *probe, enum gs_probe_class *ret_class)
{
	int error = ask_kernel(probe->io.fd, &probe->rtt_us);

	if (error == EINPROGRESS)
		return false;
	if (error || probe->target.spec.kind == GS_PROBE_TCP) {
		*ret_class = error ? gs_probe_class_of_answer(error) : GS_PROBE_OK;
		return true;
	}
	if (has_tls(probe))
		return begin_tls(probe, ret_class);
	return ask(probe, ret_class) || (!probe->socket && watch(probe, ret_class));
}

/* Is this turn to end soon? What is ready stays so. */
static bool is_late(const struct probe *probe)
{
	return gs_now_us() / 1000 > gs_loop_now_ms(probe->prober->loop) + TURN_MS;
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct probe *probe = io->context;
	enum gs_probe_class result;

	(void)epoll_events;
	if (has_tls(probe) && is_late(probe))
		return;
	if (probe->stage == STAGE_CONNECTING ? take_connection(probe, &result)
					     : take_answer(probe, &result))
		gs_probe_finish(probe, result);
}

/* What came before the request was sent is told only once, with the connection. */
void gs_probe_on_edge(struct probe *probe, uint32_t epoll_events)
{
	enum gs_probe_class result;
	bool is_over = false;

	if (probe->stage == STAGE_CONNECTING)
		is_over = take_connection(probe, &result);
	if (!is_over && probe->stage == STAGE_ASKED && (epoll_events & ~(uint32_t)EPOLLOUT))
		is_over = take_all(probe, &result);
	if (is_over)
		gs_probe_finish(probe, result);
}

/* Each in its own turn: there may be thousands. */
static void on_trust(void *context)
{
	struct prober *prober = context;

	for (struct probe *probe = prober->probes; probe; probe = probe->next) {
		if (probe->stage != STAGE_WAITING || probe->way != &gs_probe_streams)
			continue;
		probe->stage = STAGE_CONNECTING;
		if (gs_loop_io_set(prober->loop, &probe->io, EPOLLOUT) != 0) {
			gs_probe_fail(probe, GS_PROBE_LOCAL);
			gs_loop_timer_set(prober->loop, &probe->timer, 0);
		}
	}
}

/* In the clear and by no tunnel. */
static bool is_plain(const struct probe *probe)
{
	enum gs_probe_kind kind = probe->target.spec.kind;

	return !probe->is_through && (kind == GS_PROBE_TCP || kind == GS_PROBE_HTTP);
}

static int open_connection(struct probe *probe, int family)
{
	probe->io.on_ready = on_ready;
	probe->io.fd = is_plain(probe) ? gs_probe_socket_take(probe, family)
				       : gs_probe_open_socket(probe->prober, family);
	return probe->io.fd < 0 ? probe->io.fd : gs_probe_direct(probe, probe->io.fd);
}

static int watch_connection(struct probe *probe)
{
	return probe->socket ? gs_probe_socket_watch(probe)
			     : gs_loop_io_set(probe->prober->loop, &probe->io, EPOLLOUT);
}

static int begin(struct probe *probe)
{
	struct prober *prober = probe->prober;
	struct sockaddr_storage address;
	socklen_t size = gs_probe_aim(probe, &address);
	int ret = 0;

	if (has_tls(probe) && !prober->trust)
		ret = gs_tls_trust_new(prober->loop, on_trust, prober, &prober->trust);
	if (has_tls(probe) && !ret)
		ret = gs_tls_trust_ask(prober->trust, &probe->target.spec);
	if (ret && ret != -EINPROGRESS)
		return ret;
	ret = open_connection(probe, address.ss_family);
	if (ret)
		return ret;
	/* Connected at once (it happens on loopback) is told by EPOLLOUT as well. */
	if (connect(probe->io.fd, (const struct sockaddr *)&address, size) == 0 ||
	    errno == EINPROGRESS)
		return watch_connection(probe);
	gs_probe_fail(probe, gs_probe_class_of_connect(errno));
	return 0;
}

/* A connection there was no time to use is our own trouble. */
static bool look(struct probe *probe, enum gs_probe_class *ret_class)
{
	*ret_class = GS_PROBE_LOCAL;
	switch (probe->stage) {
	case STAGE_WAITING:
		return true;
	case STAGE_CONNECTING:
		if (!gs_probe_is_ready(probe, EPOLLOUT))
			return false;
		if (take_connection(probe, ret_class))
			return true;
		*ret_class = GS_PROBE_LOCAL;
		return probe->stage != STAGE_CONNECTING;
	default:
		return gs_probe_is_ready(probe, EPOLLIN) && take_answer(probe, ret_class);
	}
}

static void done(struct probe *probe)
{
	gs_grpc_close(probe->grpc);
	gs_tls_close(probe->tls);
	if (probe->is_through && probe->stage == STAGE_ASKED && !probe->has_ended)
		gs_probe_farewell(probe);
	gs_probe_socket_leave(probe);
}

const struct probe_way gs_probe_streams = {.begin = begin, .look = look, .done = done};
