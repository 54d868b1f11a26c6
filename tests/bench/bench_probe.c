/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it takes to probe 2,000 backends every 500 ms: share of a core, and how late the loop gets.
 * `make bench`.
 *
 *	bench_probe [-s SECONDS]	of a round
 *
 * In a network namespace of its own, backends at 127.1.x.y; another process answers for them all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "report.h"
#include "user/adapters/adapters.h"
#include "user/app/monitor.h"
#include "user/core/cidr.h"
#include "user/core/health.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKENDS = 2000,
	INTERVAL_MS = 500,
	WARM_UP_MS = 2000,
	LOOK_MS = 100,
	EVENTS = 256,
	ROUNDS = 5
};

struct bench {
	struct gs_loop *loop;
	struct gs_timer timer;
	double round_ms;
	double began_ms; /* 0: it warms up */
	double round_began_ms, round_began_cpu_ms;
	struct bench_sample share; /* of a core, in percent, by rounds */
	uint64_t results, failed, results_before, failed_before;
	double worst_lag_ms;
};

/* ---- those who answer ------------------------------------------------------------------------*/

static void take_client(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (fd < 0)
		return;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		close(fd);
}

static void answer(int fd)
{
	static const char reply[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
	char request[1024];

	if (recv(fd, request, sizeof(request), 0) > 0)
		send(fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL);
	close(fd);
}

/* For ever. */
static void serve(int listener)
{
	struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.fd = listener};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				take_client(epoll, listener);
			else
				answer(events[i].data.fd);
		}
	}
}

/* A process that listens at every address; its port. */
static pid_t start_server(uint16_t *ret_port)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(at);
	pid_t child;

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 4096), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
	*ret_port = ntohs(at.sin_port);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		serve(listener);
	close(listener);
	return child;
}

static void enter_namespace(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

/* ---- those who ask ---------------------------------------------------------------------------*/

static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void on_verdict(void *context, const struct gs_monitor_verdict *verdict)
{
	(void)context;
	(void)verdict;
}

static void on_result(void *context, const struct gs_monitor_result *result)
{
	struct bench *bench = context;

	bench->results++;
	bench->failed += result->class != GS_PROBE_OK;
}

static void begin_round(struct bench *bench, double now_ms)
{
	bench->round_began_ms = now_ms;
	bench->round_began_cpu_ms = cpu_ms();
}

static void end_round(struct bench *bench, double now_ms)
{
	bench_add(&bench->share,
		  (cpu_ms() - bench->round_began_cpu_ms) / (now_ms - bench->round_began_ms) * 100);
}

static void on_look(struct gs_timer *timer)
{
	struct bench *bench = timer->context;
	double lag_ms = gs_loop_take_lag_ms(bench->loop), now_ms = bench_now_ms();

	if (bench->began_ms == 0) {
		bench->began_ms = now_ms;
		bench->results_before = bench->results;
		bench->failed_before = bench->failed;
		begin_round(bench, now_ms);
	} else if (lag_ms > bench->worst_lag_ms) {
		bench->worst_lag_ms = lag_ms;
	}
	if (now_ms - bench->round_began_ms >= bench->round_ms) {
		end_round(bench, now_ms);
		begin_round(bench, now_ms);
	}
	if (bench->share.count == ROUNDS)
		gs_loop_stop(bench->loop);
	else
		gs_loop_timer_set(bench->loop, timer, LOOK_MS);
}

static void set_targets(struct gs_monitor *monitor, enum gs_probe_kind kind, uint16_t port)
{
	static struct gs_monitor_target targets[BACKENDS];
	struct gs_probe_spec spec = gs_probe_spec_default();

	spec.kind = kind;
	spec.interval_ms = INTERVAL_MS;
	strcpy(spec.path, "/");
	for (uint32_t i = 0; i < BACKENDS; i++) {
		targets[i] = (struct gs_monitor_target){
			.backend = (gs_id)(i + 1),
			.addr = gs_addr_from_v4(0x7f010000 + i + 1),
			.port = port,
			.vip = gs_addr_from_v4(0xc6336401),
		};
		snprintf(targets[i].service, GS_NAME_MAX, "service");
		snprintf(targets[i].name, GS_NAME_MAX, "backend-%u", i + 1);
	}
	assert_int_equal(
		gs_monitor_set_targets(monitor, &(struct gs_monitor_set){.targets = targets,
									 .specs = &spec,
									 .count = BACKENDS,
									 .spec_count = 1}),
		0);
}

static void report(const struct bench *bench, const char *variant)
{
	double took_ms = bench_now_ms() - bench->began_ms;
	double results = (double)(bench->results - bench->results_before);

	bench_report(&(struct bench_row){
		.bench = "probes",
		.variant = variant,
		.unit = "core_percent",
		.value = &bench->share,
		.has_share = true,
		.share = results ? 1 - (double)(bench->failed - bench->failed_before) / results : 0,
		.more = {{"lag_ms", bench->worst_lag_ms},
			 {"per_s", results / took_ms * 1000},
			 {"backends", BACKENDS},
			 {"interval_ms", INTERVAL_MS}},
	});
}

static void measure(enum gs_probe_kind kind, const char *variant, uint16_t port, double seconds)
{
	const struct gs_monitor_events events = {.on_verdict = on_verdict, .on_result = on_result};
	const struct gs_probe_settings settings = {.commands = NULL};
	struct bench bench = {.round_ms = seconds * 1000};
	struct gs_error error = {{0}};
	struct gs_monitor *monitor;
	struct gs_prober prober;

	assert_int_equal(gs_loop_new(&bench.loop), 0);
	assert_int_equal(gs_probe_open(bench.loop, &settings, &prober, &error), 0);
	assert_int_equal(gs_monitor_new(bench.loop, &prober, &events, &bench, 7, &monitor), 0);
	set_targets(monitor, kind, port);
	bench.timer = (struct gs_timer){.on_due = on_look, .context = &bench};
	assert_int_equal(gs_loop_timer_set(bench.loop, &bench.timer, WARM_UP_MS), 0);
	assert_int_equal(gs_loop_run(bench.loop), 0);
	report(&bench, variant);
	gs_monitor_free(monitor);
	prober.ops->close(prober.self);
	gs_loop_free(bench.loop);
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_probe [-s SECONDS]\n");
	return 2;
}

int main(int argc, char **argv)
{
	double seconds = 4;
	uint16_t port;
	pid_t server;
	int option;

	while ((option = getopt(argc, argv, "s:")) != -1) {
		if (option == 's')
			seconds = strtod(optarg, NULL);
		else
			return usage();
	}
	if (seconds <= 0)
		return usage();
	bench_begin();
	enter_namespace();
	server = start_server(&port);
	bench_title("probes: 2,000 backends every 500 ms; share of a core, worst lag of the loop");
	measure(GS_PROBE_TCP, "tcp", port, seconds);
	measure(GS_PROBE_HTTP, "http", port, seconds);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return 0;
}
