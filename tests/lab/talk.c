/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes over TCP and UDP for the lab, in amounts that need fragments and path MTUs.
 *
 *	lab-talk serve ADDRESS PORT NAME	both protocols there; never ends by itself
 *	lab-talk put|get ADDRESS PORT BYTES	over TCP, to or from the server
 *	lab-talk udp ADDRESS PORT BYTES		one datagram there and back
 *	lab-talk hold ADDRESS PORT COUNT	so many connections, held until SIGTERM
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
		got = recv(held->fd, back + at, sizeof(back) - at, 0);
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

int main(int argc, char **argv)
{
	if (argc != 5) {
		fputs("usage: lab-talk serve ADDRESS PORT NAME | put|get|udp ADDRESS PORT BYTES |"
		      " hold ADDRESS PORT COUNT\n",
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
	fprintf(stderr, "lab-talk: no '%s'\n", argv[1]);
	return 2;
}
