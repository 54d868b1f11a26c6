/* SPDX-License-Identifier: Apache-2.0 */
/* Probes by one packet and its answer: udp, dns, icmp. Silence is failure. */
#include "probe_dns.h"
#include "probe_parts.h"

#include "user/core/probe_spec.h"
#include "user/core/random.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/epoll.h>

#define PACKET_MAX 65536 /* as large as one can be */
/* Strays that are looked at in one turn. */
#define TURN_PACKETS 8
#define ECHO_HEAD 8

/* linux/icmp.h, which does not go with the headers above */
#define RAW_ICMP_FILTER 1

/* ---- sockets --------------------------------------------------------------------------------- */

/*
 * For echo requests: a socket of the kernel's for just that, which needs no rights but those of
 * net.ipv4.ping_group_range, or a raw one.
 */
static int open_echo(struct probe *probe, int family)
{
	int protocol = family == AF_INET ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	uint32_t only_replies = ~(1u << ICMP_ECHOREPLY);
	struct icmp6_filter filter;

	if (fd >= 0 || errno != EACCES)
		return fd >= 0 ? fd : -errno;
	fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return -errno;
	probe->is_raw = true;
	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
	if (family == AF_INET)
		setsockopt(fd, SOL_RAW, RAW_ICMP_FILTER, &only_replies, sizeof(only_replies));
	else
		setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter));
	return fd;
}

static int open_socket(struct probe *probe, int family)
{
	const int yes = 1;
	int fd;

	if (probe->target.spec.kind == GS_PROBE_ICMP)
		fd = open_echo(probe, family);
	else
		fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return probe->target.spec.kind == GS_PROBE_ICMP ? fd : -errno;
	/* What routers say, even where it may be for a moment only. */
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_RECVERR, &yes, sizeof(yes));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &yes, sizeof(yes));
	return fd;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* RFC 1071; the kernel has its own idea of it for IPv6 and for its own echo sockets. */
static uint16_t checksum(const uint8_t *bytes, size_t count)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < count; i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static int format_echo(const struct probe *probe, int family, uint8_t *packet)
{
	uint16_t sum;

	memset(packet, 0, ECHO_HEAD);
	packet[0] = family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	memcpy(packet + 4, probe->nonce, 4); /* id and sequence */
	memcpy(packet + ECHO_HEAD, probe->nonce, sizeof(probe->nonce));
	sum = checksum(packet, ECHO_HEAD + sizeof(probe->nonce));
	packet[2] = (uint8_t)(sum >> 8);
	packet[3] = (uint8_t)sum;
	return ECHO_HEAD + (int)sizeof(probe->nonce);
}

static uint16_t query_id(const struct probe *probe)
{
	return (uint16_t)(probe->nonce[0] << 8 | probe->nonce[1]);
}

/* Bytes, or -EINVAL. */
static int format_request(const struct probe *probe, int family, uint8_t packet[GS_DNS_QUERY_MAX])
{
	const struct gs_probe_spec *spec = &probe->target.spec;

	_Static_assert(sizeof(spec->request) <= GS_DNS_QUERY_MAX, "room for both");
	if (spec->kind == GS_PROBE_DNS)
		return gs_dns_format_query(spec, query_id(probe), packet);
	if (spec->kind == GS_PROBE_UDP)
		return gs_probe_unescape(spec->request, packet);
	return format_echo(probe, family, packet);
}

/* ---- what comes back: true once the probe is over, *ret_class ----------------------------------
 */

static bool judge_echo(struct probe *probe, const uint8_t *packet, size_t count,
		       enum gs_probe_class *ret_class)
{
	bool is_v4 = probe->is_raw && count > 0 && packet[0] >> 4 == 4;
	size_t head = is_v4 ? (size_t)(packet[0] & 0x0f) * 4 : 0;

	*ret_class = GS_PROBE_OK;
	if (count < head + ECHO_HEAD + sizeof(probe->nonce))
		return false;
	packet += head;
	probe->rtt_us = (uint32_t)(gs_now_us() - probe->start_us); /* less than its timeout */
	return (packet[0] == ICMP_ECHOREPLY || packet[0] == ICMP6_ECHO_REPLY) &&
	       memcmp(packet + ECHO_HEAD, probe->nonce, sizeof(probe->nonce)) == 0;
}

static bool judge_dns(const struct probe *probe, const uint8_t *packet, size_t count,
		      enum gs_probe_class *ret_class)
{
	const struct gs_probe_spec *spec = &probe->target.spec;
	uint8_t query[GS_DNS_QUERY_MAX];
	int length = gs_dns_format_query(spec, query_id(probe), query);

	*ret_class = GS_PROBE_LOCAL;
	return length < 0 || gs_dns_judge(spec, query, (size_t)length, packet, count, ret_class);
}

static bool judge(struct probe *probe, const uint8_t *packet, size_t count,
		  enum gs_probe_class *ret_class)
{
	switch (probe->target.spec.kind) {
	case GS_PROBE_DNS:
		return judge_dns(probe, packet, count, ret_class);
	case GS_PROBE_ICMP:
		return judge_echo(probe, packet, count, ret_class);
	default:
		*ret_class = gs_match_feed(&probe->match, packet, count) == GS_MATCH_FOUND
				     ? GS_PROBE_OK
				     : GS_PROBE_BODY;
		return true;
	}
}

static bool take_packets(struct probe *probe, enum gs_probe_class *ret_class)
{
	uint8_t packet[PACKET_MAX];

	for (int i = 0; i < TURN_PACKETS; i++) {
		ssize_t got = recv(probe->io.fd, packet, sizeof(packet), 0);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (got < 0)
			*ret_class = gs_probe_class_of_answer(errno);
		if (got < 0 || judge(probe, packet, (size_t)got, ret_class))
			return true;
	}
	return false;
}

static void on_ready(struct gs_io *io, uint32_t epoll_events)
{
	struct probe *probe = io->context;
	enum gs_probe_class result;

	(void)epoll_events;
	if (take_packets(probe, &result))
		gs_probe_finish(probe, result);
}

/* ---- the way --------------------------------------------------------------------------------- */

static void draw_nonce(struct probe *probe)
{
	uint64_t random[2] = {gs_random(&probe->prober->random), gs_random(&probe->prober->random)};

	memcpy(probe->nonce, random, sizeof(random));
}

static int begin(struct probe *probe)
{
	struct sockaddr_storage address;
	socklen_t size = gs_probe_aim(probe, &address);
	uint8_t packet[GS_DNS_QUERY_MAX];
	int length, fd, ret;

	draw_nonce(probe);
	length = format_request(probe, address.ss_family, packet);
	if (length < 0 || gs_match_init(&probe->match, &probe->target.spec) != 0)
		return -EINVAL;
	if (probe->target.spec.kind == GS_PROBE_ICMP) {
		/* Raw sockets want none. */
		struct sockaddr_in *in = (struct sockaddr_in *)&address;

		in->sin_port = 0;
	}
	fd = open_socket(probe, address.ss_family);
	if (fd < 0)
		return fd;
	probe->io.fd = fd;
	probe->io.on_ready = on_ready;
	probe->stage = STAGE_ASKED;
	ret = gs_probe_direct(probe, fd);
	if (ret)
		return ret;
	if (connect(fd, (const struct sockaddr *)&address, size) != 0) {
		gs_probe_fail(probe, gs_probe_class_of_connect(errno));
		return 0;
	}
	if (send(fd, packet, (size_t)length, MSG_NOSIGNAL) < 0) {
		gs_probe_fail(probe, gs_probe_class_of_connect(errno));
		return 0;
	}
	return gs_loop_io_set(probe->prober->loop, &probe->io, EPOLLIN);
}

static bool look(struct probe *probe, enum gs_probe_class *ret_class)
{
	return gs_probe_is_ready(probe, EPOLLIN) && take_packets(probe, ret_class);
}

static void done(struct probe *probe)
{
	(void)probe;
}

const struct probe_way gs_probe_packets = {.begin = begin, .look = look, .done = done};
