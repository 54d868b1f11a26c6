// SPDX-License-Identifier: Apache-2.0
/*
 * A client that never stops: opens a fresh connection every period, asks one HTTP question, and
 * writes a line about each when it is over:
 *
 *	STARTED ENDED OUTCOME BACKEND [WHY]
 *
 * STARTED and ENDED are microseconds of CLOCK_MONOTONIC, which all namespaces share. OUTCOME is
 * "ok" or "failed"; BACKEND is the "backend" of a JSON answer, "-" without one. Ends on SIGTERM or
 * SIGINT, after a last line for each connection that is still open, with exit 0: judging is the
 * reader's business.
 *
 *	lab-flowgen [-p PERIOD_MS] [-l LIMIT_MS] [-n COUNT] ADDRESS PORT PATH
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FLOWS_MAX 256 /* open at once */
#define ANSWER_MAX 2048

struct flow {
	int fd; /* -1: free */
	bool asked;
	int64_t started_us;
	size_t length;
	char answer[ANSWER_MAX + 1];
};

struct generator {
	struct sockaddr_storage address;
	socklen_t address_length;
	char request[512];
	int64_t period_us;
	int64_t limit_us;
	uint64_t left; /* connections still to open */
	struct flow flows[FLOWS_MAX];
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void finish(struct flow *flow, const char *outcome, const char *backend, const char *why)
{
	printf("%" PRId64 " %" PRId64 " %s %s%s%s\n", flow->started_us, now_us(), outcome, backend,
	       *why ? " " : "", why);
	close(flow->fd);
	flow->fd = -1;
}

static void give_up(struct flow *flow, const char *why)
{
	finish(flow, "failed", "-", why);
}

/* The whole answer is there when the server has closed: the request asks for that. */
static void judge(struct flow *flow)
{
	static const char key[] = "\"backend\":\"";
	char *name, *end;

	flow->answer[flow->length] = '\0';
	if (strncmp(flow->answer, "HTTP/1.1 200 ", 13) != 0) {
		give_up(flow, "not-200");
		return;
	}
	name = strstr(flow->answer, key);
	end = name ? strchr(name + sizeof(key) - 1, '"') : NULL;
	if (!end) {
		finish(flow, "ok", "-", "");
		return;
	}
	*end = '\0';
	finish(flow, "ok", name + sizeof(key) - 1, "");
}

static void start_flow(struct generator *gen)
{
	struct flow *flow = NULL;

	for (size_t i = 0; i < FLOWS_MAX && !flow; i++)
		if (gen->flows[i].fd < 0)
			flow = &gen->flows[i];
	if (!flow) {
		fputs("lab-flowgen: too many open connections; is the limit far above the period?\n",
		      stderr);
		exit(1);
	}
	flow->asked = false;
	flow->length = 0;
	flow->started_us = now_us();
	flow->fd = socket(gen->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (flow->fd < 0) {
		perror("lab-flowgen: socket");
		exit(1);
	}
	if (connect(flow->fd, (struct sockaddr *)&gen->address, gen->address_length) < 0 &&
	    errno != EINPROGRESS)
		give_up(flow, strerrorname_np(errno));
}

static void on_writable(struct generator *gen, struct flow *flow)
{
	size_t length = strlen(gen->request);
	int error = 0;
	socklen_t size = sizeof(error);

	getsockopt(flow->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error) {
		give_up(flow, strerrorname_np(error));
		return;
	}
	if (send(flow->fd, gen->request, length, MSG_NOSIGNAL) != (ssize_t)length) {
		give_up(flow, "short-send");
		return;
	}
	flow->asked = true;
}

static void on_readable(struct flow *flow)
{
	ssize_t got = recv(flow->fd, flow->answer + flow->length, ANSWER_MAX - flow->length, 0);

	if (got > 0)
		flow->length += (size_t)got;
	else if (got == 0 || flow->length == ANSWER_MAX)
		judge(flow);
	else if (errno != EAGAIN && errno != EINTR)
		give_up(flow, strerrorname_np(errno));
}

static void expire(struct generator *gen)
{
	int64_t now = now_us();

	for (size_t i = 0; i < FLOWS_MAX; i++)
		if (gen->flows[i].fd >= 0 && now - gen->flows[i].started_us >= gen->limit_us)
			give_up(&gen->flows[i], "timeout");
}

/* Waits for events until `until_us`, not longer; returns whether any connection is open. */
static bool turn(struct generator *gen, int64_t until_us)
{
	struct pollfd wanted[FLOWS_MAX];
	struct flow *owner[FLOWS_MAX];
	nfds_t count = 0;
	int64_t now = now_us();
	struct timespec wait = {};

	for (size_t i = 0; i < FLOWS_MAX; i++) {
		struct flow *flow = &gen->flows[i];

		if (flow->fd < 0)
			continue;
		if (flow->started_us + gen->limit_us < until_us)
			until_us = flow->started_us + gen->limit_us;
		wanted[count] = (struct pollfd){
			.fd = flow->fd,
			.events = flow->asked ? POLLIN : POLLOUT,
		};
		owner[count++] = flow;
	}
	if (until_us > now) {
		wait.tv_sec = (until_us - now) / 1000000;
		wait.tv_nsec = (until_us - now) % 1000000 * 1000;
	}
	if (ppoll(wanted, count, &wait, NULL) > 0)
		for (nfds_t i = 0; i < count; i++) {
			if (!wanted[i].revents)
				continue;
			if (owner[i]->asked)
				on_readable(owner[i]);
			else
				on_writable(gen, owner[i]);
		}
	expire(gen);
	return count > 0;
}

static void run(struct generator *gen)
{
	int64_t next = now_us();

	while (!stopping && gen->left > 0) {
		if (now_us() >= next) {
			start_flow(gen);
			gen->left--;
			/* On time again after a stall: what was missed is not made up for. */
			next += gen->period_us;
			if (next < now_us())
				next = now_us() + gen->period_us;
		}
		turn(gen, next);
	}
	while (turn(gen, now_us() + gen->limit_us))
		;
}

static int parse_target(struct generator *gen, const char *address, const char *port,
			const char *path)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&gen->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&gen->address;
	long number = strtol(port, NULL, 10);
	bool is6 = strchr(address, ':') != NULL;
	int length;

	if (number < 1 || number > 65535)
		return -EINVAL;
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)number);
		gen->address_length = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)number);
		gen->address_length = sizeof(*v6);
	} else {
		return -EINVAL;
	}
	length = snprintf(gen->request, sizeof(gen->request),
			  "GET %s HTTP/1.1\r\nHost: %s%s%s\r\nConnection: close\r\n\r\n", path,
			  is6 ? "[" : "", address, is6 ? "]" : "");
	return length < (int)sizeof(gen->request) ? 0 : -EINVAL;
}

static int usage(void)
{
	fputs("usage: lab-flowgen [-p PERIOD_MS] [-l LIMIT_MS] [-n COUNT] ADDRESS PORT PATH\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static struct generator gen = {
		.period_us = 20000,
		.limit_us = 200000,
		.left = UINT64_MAX,
	};
	struct sigaction action = {.sa_handler = on_signal};
	int option;

	while ((option = getopt(argc, argv, "p:l:n:")) != -1) {
		long value = optarg ? strtol(optarg, NULL, 10) : 0;

		if (value <= 0)
			return usage();
		if (option == 'p')
			gen.period_us = value * 1000;
		else if (option == 'l')
			gen.limit_us = value * 1000;
		else if (option == 'n')
			gen.left = (uint64_t)value;
		else
			return usage();
	}
	if (argc - optind != 3 ||
	    parse_target(&gen, argv[optind], argv[optind + 1], argv[optind + 2]) < 0)
		return usage();
	for (size_t i = 0; i < FLOWS_MAX; i++)
		gen.flows[i].fd = -1;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	run(&gen);
	return 0;
}
