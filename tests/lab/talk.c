/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes over TCP and UDP for the lab, in amounts that need fragments and path MTUs.
 *
 *	lab-talk serve ADDRESS PORT NAME	both protocols there; never ends by itself
 *	lab-talk put|get ADDRESS PORT BYTES	over TCP, to or from the server
 *	lab-talk udp ADDRESS PORT BYTES		one datagram there and back
 *	lab-talk hold ADDRESS PORT COUNT	so many connections, held until SIGTERM
 *	lab-talk stay ADDRESS PORT FLOWS	so many UDP flows, from port STAY_PORT on, that ask
 *and are answered for ever, as QUIC's connections do
 *
 * stay prints a line a round: its number, how many flows were answered in it, how many by another
 * server than their first, how many each server has.
 *
 * A client prints the server's NAME and how many bytes arrived as they were sent; exit 1 if not all
 * did within LIMIT_S, or not in their order.
 *
 * Of connections that are held a few bytes go there and back all the time. A line each, with the
 * wall clock's milliseconds: "open NAME MS" when they are all there, "lost NAME MS WHY" when one
 * ends, "held NAME ROUNDS" of those left at the end; "round N" after each: all of them answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	LIMIT_S = 20,
	UDP_TRIES = 5,
	PIECE = 65536,
	LINE = 128,
	HELD_MAX = 256,
	HELD_BYTES = 64,
	HELD_PAUSE_MS = 50
};

enum { STAY_PORT = 20000, STAY_MAX = 1024, STAY_WAIT_MS = 500 };

static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lab-talk: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_socket(const char *address, const char *port, int type, bool is_server)
{
	struct addrinfo hints = {.ai_socktype = type, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct timeval limit = {.tv_sec = LIMIT_S};
	struct addrinfo *found;
	int fd, one = 1;

	if (getaddrinfo(address, port, &hints, &found))
		die(address);
	fd = socket(found->ai_family, type, 0);
	if (fd < 0)
		die("socket");
	if (is_server) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, found->ai_addr, found->ai_addrlen))
			die("bind");
	} else {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		if (connect(fd, found->ai_addr, found->ai_addrlen))
			die("connect");
	}
	freeaddrinfo(found);
	return fd;
}

static bool send_bytes(int fd, uint64_t count)
{
	static uint8_t piece[PIECE];

	for (uint64_t at = 0; at < count;) {
		uint64_t size = count - at < PIECE ? count - at : PIECE;
		ssize_t sent;

		for (uint64_t i = 0; i < size; i++)
			piece[i] = byte_at(at + i);
		sent = send(fd, piece, size, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
		at += (uint64_t)sent;
	}
	return true;
}

/* How many of them came, as they should be. */
static uint64_t receive_bytes(int fd, uint64_t count)
{
	static uint8_t piece[PIECE];
	uint64_t at = 0;

	while (at < count) {
		ssize_t got = recv(fd, piece, sizeof(piece), 0);

		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got; i++)
			if (piece[i] != byte_at(at + (uint64_t)i))
				return at + (uint64_t)i;
		at += (uint64_t)got;
	}
	return at;
}

static bool receive_line(int fd, char line[LINE])
{
	for (int i = 0; i < LINE - 1; i++) {
		if (recv(fd, line + i, 1, 0) != 1)
			return false;
		if (line[i] == '\n') {
			line[i] = '\0';
			return true;
		}
	}
	return false;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* "put N", then N bytes; "get N"; "hold": whatever comes goes back. Answer: the name and how many
 * came; or the name, and N bytes. */
static void serve_connection(int fd, const char *name)
{
	char line[LINE];
	uint64_t count;

	if (!receive_line(fd, line))
		return;
	if (sscanf(line, "put %lu", &count) == 1) {
		dprintf(fd, "%s %lu\n", name, receive_bytes(fd, count));
	} else if (sscanf(line, "get %lu", &count) == 1) {
		dprintf(fd, "%s\n", name);
		send_bytes(fd, count);
	} else if (strcmp(line, "hold") == 0) {
		char bytes[HELD_BYTES];
		ssize_t got;

		dprintf(fd, "%s\n", name);
		while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
			send(fd, bytes, (size_t)got, MSG_NOSIGNAL);
	}
}

static void serve_tcp(const char *address, const char *port, const char *name)
{
	int fd = open_socket(address, port, SOCK_STREAM, true);

	if (listen(fd, 64))
		die("listen");
	for (;;) {
		int connection = accept(fd, NULL, NULL);

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (connection < 0)
			continue;
		if (fork() == 0) {
			close(fd);
			serve_connection(connection, name);
			exit(0);
		}
		close(connection);
	}
}

/* The datagram comes back with the name in front. */
static _Noreturn void serve_udp(const char *address, const char *port, const char *name)
{
	int fd = open_socket(address, port, SOCK_DGRAM, true);
	static char bytes[PIECE];

	for (;;) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		int head = snprintf(bytes, LINE, "%s\n", name);
		ssize_t got = recvfrom(fd, bytes + head, sizeof(bytes) - LINE, 0,
				       (struct sockaddr *)&from, &size);

		if (got >= 0)
			sendto(fd, bytes, (size_t)(head + got), 0, (struct sockaddr *)&from, size);
	}
}

/* ---- the clients ----------------------------------------------------------------------------- */

static int report(const char *name, uint64_t arrived, uint64_t wanted)
{
	printf("%s %lu\n", name, arrived);
	return arrived == wanted ? 0 : 1;
}

static int put(const char *address, const char *port, uint64_t count)
{
	int fd = open_socket(address, port, SOCK_STREAM, false);
	char line[LINE], name[LINE];
	uint64_t arrived;

	dprintf(fd, "put %lu\n", count);
	if (!send_bytes(fd, count) || !receive_line(fd, line) ||
	    sscanf(line, "%127s %lu", name, &arrived) != 2)
		die("put");
	return report(name, arrived, count);
}

static int get(const char *address, const char *port, uint64_t count)
{
	int fd = open_socket(address, port, SOCK_STREAM, false);
	char name[LINE];

	dprintf(fd, "get %lu\n", count);
	if (!receive_line(fd, name))
		die("get");
	return report(name, receive_bytes(fd, count), count);
}

/* UDP may lose some: asked again, a few times. */
static int udp(const char *address, const char *port, uint64_t count)
{
	int fd = open_socket(address, port, SOCK_DGRAM, false);
	struct timeval limit = {.tv_sec = 1};
	static uint8_t bytes[PIECE];
	char *body;
	ssize_t got = -1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (count > PIECE - LINE)
		die("udp: too many bytes");
	for (int try = 0; try < UDP_TRIES && got < 0; try++) {
		for (uint64_t i = 0; i < count; i++)
			bytes[i] = byte_at(i);
		if (send(fd, bytes, count, 0) == (ssize_t)count)
			got = recv(fd, bytes, sizeof(bytes), 0);
	}
	if (got < 0)
		die("udp");
	body = memchr(bytes, '\n', (size_t)got);
	if (!body)
		return 1;
	*body++ = '\0';
	for (uint64_t i = 0; i < count; i++)
		if (body + i >= (char *)bytes + got || (uint8_t)body[i] != byte_at(i))
			return report((char *)bytes, i, count);
	return report((char *)bytes, count, count);
}

/* ---- connections that are held ----------------------------------------------------------------*/

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct held {
	int fd; /* -1: lost */
	char name[LINE];
};

/* One round of one connection: a few bytes there and back. */
static void ask_held(struct held *held, uint64_t round)
{
	uint8_t bytes[HELD_BYTES], back[HELD_BYTES];
	size_t at = 0;
	ssize_t got = 1;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = byte_at(round * 7919 + i);
	if (send(held->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != (ssize_t)sizeof(bytes))
		got = -1;
	while (got > 0 && at < sizeof(back)) {
		/* A signal to stop ends no connection. */
		do
			got = recv(held->fd, back + at, sizeof(back) - at, 0);
		while (got < 0 && errno == EINTR);
		at += got > 0 ? (size_t)got : 0;
	}
	if (at == sizeof(back) && memcmp(bytes, back, sizeof(bytes)) == 0)
		return;
	printf("lost %s %ld %s\n", held->name, (long)unix_ms(),
	       got < 0	  ? strerror(errno)
	       : got == 0 ? "ended"
			  : "other bytes");
	close(held->fd);
	held->fd = -1;
}

static int hold(const char *address, const char *port, uint64_t count)
{
	const struct sigaction action = {.sa_handler = on_signal};
	static struct held held[HELD_MAX];
	uint64_t round = 0;

	if (count > HELD_MAX)
		die("hold: too many");
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGTERM, &action, NULL);
	for (uint64_t i = 0; i < count; i++) {
		held[i].fd = open_socket(address, port, SOCK_STREAM, false);
		dprintf(held[i].fd, "hold\n");
		if (!receive_line(held[i].fd, held[i].name))
			die("hold");
	}
	for (uint64_t i = 0; i < count; i++)
		printf("open %s %ld\n", held[i].name, (long)unix_ms());
	for (; !stopping; round++) {
		for (uint64_t i = 0; i < count; i++)
			if (held[i].fd >= 0)
				ask_held(&held[i], round);
		printf("round %lu\n", round);
		poll(NULL, 0, HELD_PAUSE_MS); /* their pace */
	}
	for (uint64_t i = 0; i < count; i++)
		if (held[i].fd >= 0)
			printf("held %s %lu\n", held[i].name, round);
	return 0;
}

/* ---- flows that stay ------------------------------------------------------------------------- */

static struct stay {
	int fd;
	uint64_t round; /* last answered */
	char first[LINE], now[LINE];
} stays[STAY_MAX];

static int open_stay(const char *address, const char *port, uint16_t from)
{
	struct sockaddr_storage local = {0};
	socklen_t size = sizeof(local);
	int fd = open_socket(address, port, SOCK_DGRAM, false);
	int again;

	/* the same address, another port: the kernel has chosen one already */
	if (getsockname(fd, (struct sockaddr *)&local, &size))
		die("getsockname");
	again = socket(local.ss_family, SOCK_DGRAM, 0);
	if (local.ss_family == AF_INET)
		((struct sockaddr_in *)&local)->sin_port = htons(from);
	else
		((struct sockaddr_in6 *)&local)->sin6_port = htons(from);
	if (again < 0 || bind(again, (struct sockaddr *)&local, size))
		die("bind");
	size = sizeof(local);
	if (getpeername(fd, (struct sockaddr *)&local, &size) ||
	    connect(again, (struct sockaddr *)&local, size))
		die("connect");
	close(fd);
	return again;
}

/* "NAME\nstay FLOW ROUND": an answer of this round, or a late one. */
static void take_stay(struct stay *stay, uint64_t round)
{
	char text[2 * LINE];
	ssize_t got = recv(stay->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	uint64_t flow, of;

	if (got <= 0)
		return;
	text[got] = '\0';
	if (sscanf(text, "%127s stay %lu %lu", stay->now, &flow, &of) != 3 || of != round ||
	    stay != &stays[flow % STAY_MAX])
		return;
	if (!stay->first[0])
		memcpy(stay->first, stay->now, sizeof(stay->first));
	stay->round = round;
}

static bool all_answered(uint64_t flows, uint64_t round)
{
	for (uint64_t i = 0; i < flows; i++)
		if (stays[i].round != round)
			return false;
	return true;
}

static void ask_all(uint64_t flows, uint64_t round)
{
	struct pollfd fds[STAY_MAX];

	for (uint64_t i = 0; i < flows; i++) {
		char text[LINE];
		int length = snprintf(text, sizeof(text), "stay %lu %lu", i, round);

		fds[i] = (struct pollfd){.fd = stays[i].fd, .events = POLLIN};
		send(stays[i].fd, text, (size_t)length, MSG_NOSIGNAL);
	}
	while (!all_answered(flows, round) && poll(fds, flows, STAY_WAIT_MS) > 0)
		for (uint64_t i = 0; i < flows; i++)
			take_stay(&stays[i], round);
}

static void tell_round(uint64_t flows, uint64_t round)
{
	uint64_t answered = 0, moved = 0;

	for (uint64_t i = 0; i < flows; i++) {
		answered += stays[i].round == round;
		moved += strcmp(stays[i].first, stays[i].now) != 0;
	}
	printf("%lu %lu %lu", round, answered, moved);
	for (uint64_t i = 0; i < flows; i++) {
		uint64_t same = 0, before = 0;

		for (uint64_t n = 0; n < flows; n++) {
			bool is_same = strcmp(stays[n].now, stays[i].now) == 0;

			same += is_same;
			before += is_same && n < i;
		}
		if (!before && stays[i].now[0])
			printf(" %s=%lu", stays[i].now, same);
	}
	printf("\n");
	fflush(stdout);
}

static _Noreturn void stay(const char *address, const char *port, uint64_t flows)
{
	if (flows < 1 || flows > STAY_MAX)
		die("stay: 1 to 1024 flows");
	for (uint64_t i = 0; i < flows; i++)
		stays[i].fd = open_stay(address, port, (uint16_t)(STAY_PORT + i));
	for (uint64_t round = 1;; round++) {
		ask_all(flows, round);
		tell_round(flows, round);
		poll(NULL, 0, STAY_WAIT_MS / 10);
	}
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fputs("usage: lab-talk serve ADDRESS PORT NAME | put|get|udp ADDRESS PORT BYTES |"
		      " hold ADDRESS PORT COUNT | stay ADDRESS PORT FLOWS\n",
		      stderr);
		return 2;
	}
	if (strcmp(argv[1], "serve") == 0) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			serve_udp(argv[2], argv[3], argv[4]);
		}
		serve_tcp(argv[2], argv[3], argv[4]);
	}
	if (strcmp(argv[1], "put") == 0)
		return put(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if (strcmp(argv[1], "get") == 0)
		return get(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if (strcmp(argv[1], "udp") == 0)
		return udp(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if (strcmp(argv[1], "hold") == 0)
		return hold(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	if (strcmp(argv[1], "stay") == 0)
		stay(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	fprintf(stderr, "lab-talk: no '%s'\n", argv[1]);
	return 2;
}
