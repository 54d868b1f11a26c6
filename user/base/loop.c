/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers are a binary heap ordered by due time, 1-based so that index 0 can mean "not set"; epoll
 * waits until the nearest one. Descriptors that are cleared while their events of the same turn
 * wait are taken out of that turn.
 */
#include "loop.h"

#include "cleanup.h"
#include "log.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>

_Static_assert(GS_LOOP_READABLE == EPOLLIN, "the kernel's word");

/* TIMERS_US: thousands of timers may be due at once; descriptors have a turn between them, which
 * must be long enough for the answers to as many probes as those timers send. */
enum { TURN_EVENTS = 256, SIGNALS_MAX = 8, TIMERS_US = 10000 };

/* Shorter callbacks are not told apart by processor time: to read it is a system call. */
enum { CPU_STEP_US = 1000 };

/* When it is due stands beside it: most of those compared are touched for nothing else. */
struct heap_entry {
	uint64_t due_ms;
	struct gs_timer *timer;
};

struct signal_handler {
	int signal;
	void (*on_signal)(int signal, void *context);
	void *context;
};

struct gs_loop {
	int epoll_fd;
	bool stopping;
	uint64_t now_ms;
	uint32_t lag_ms;
	struct gs_loop_calls calls;
	uint64_t cpu_us;     /* the thread's processor time, as read last */
	uint64_t read_at_us; /* when cpu_us was read before a call */
	uint32_t unread_us;  /* what callbacks took since */

	struct epoll_event turn[TURN_EVENTS];
	int turn_count, turn_at;

	struct heap_entry *heap; /* [1 .. timer_count] */
	uint32_t timer_count, timer_room;

	struct signal_handler handlers[SIGNALS_MAX];
	unsigned int handler_count;
	sigset_t signals;
	struct gs_io signal_io;

	pthread_t worker;
	bool has_worker;
	pthread_mutex_t lock; /* guards the two lists and worker_stop */
	pthread_cond_t wake;
	struct gs_job *waiting, *finished;
	bool worker_stop;
	struct gs_io done_io;
};

uint64_t gs_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t gs_unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t gs_loop_now_ms(const struct gs_loop *loop)
{
	return loop->now_ms;
}

uint32_t gs_loop_take_lag_ms(struct gs_loop *loop)
{
	uint32_t lag_ms = loop->lag_ms;

	loop->lag_ms = 0;
	return lag_ms;
}

/* ---- how long callbacks take ----------------------------------------------------------------- */

const uint32_t gs_loop_took_ms[GS_LOOP_TOOK_BUCKETS] = {1, 2, 5, 10, 20, 50, 100, 0};

static void read_cpu(struct gs_loop *loop)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	loop->cpu_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	loop->unread_us = 0;
}

/* When it begins. */
static uint64_t begin_call(struct gs_loop *loop)
{
	uint64_t now_us = gs_now_us();

	/* by the clock: what the loop itself took between calls is not in unread_us */
	if (now_us - loop->read_at_us > CPU_STEP_US) {
		read_cpu(loop);
		loop->read_at_us = now_us;
	}
	return now_us;
}

static uint32_t clip(uint64_t us)
{
	return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* callback: which function, for addr2line; where it is in the program, not in this run's memory. */
static void tell_stall(const void *callback, uint32_t us, uint32_t cpu_us)
{
	Dl_info place = {0};

	dladdr(callback, &place);
	gs_log_limited(GS_LOG_WARNING, "loop_stalled", "ms=%u cpu_ms=%u callback=%#lx", us / 1000,
		       cpu_us / 1000,
		       (unsigned long)((uintptr_t)callback - (uintptr_t)place.dli_fbase));
}

/* Of a callback that took so long: no more than that, and exactly only if it is long itself. */
static uint32_t cpu_of_call(struct gs_loop *loop, uint32_t us)
{
	uint64_t before_us = loop->cpu_us + loop->unread_us;

	if (us <= CPU_STEP_US) {
		loop->unread_us += us;
		return us;
	}
	read_cpu(loop);
	if (loop->cpu_us < before_us)
		return 0;
	return loop->cpu_us - before_us < us ? (uint32_t)(loop->cpu_us - before_us) : us;
}

static void end_call(struct gs_loop *loop, uint64_t began_us, const void *callback)
{
	struct gs_loop_calls *calls = &loop->calls;
	uint32_t us = clip(gs_now_us() - began_us);
	uint32_t cpu_us = cpu_of_call(loop, us);
	uint32_t bucket = 0;

	while (gs_loop_took_ms[bucket] && us > gs_loop_took_ms[bucket] * 1000)
		bucket++;
	calls->took[bucket]++;
	calls->total_us += us;
	if (us > calls->worst_us)
		calls->worst_us = us;
	if (cpu_us > calls->worst_cpu_us)
		calls->worst_cpu_us = cpu_us;
	if (us > GS_LOOP_STALL_MS * 1000) {
		calls->stalls++;
		tell_stall(callback, us, cpu_us);
	}
}

const struct gs_loop_calls *gs_loop_calls(const struct gs_loop *loop)
{
	return &loop->calls;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

int gs_loop_io_set(struct gs_loop *loop, struct gs_io *io, uint32_t epoll_events)
{
	struct epoll_event event = {.events = epoll_events, .data.ptr = io};

	if (epoll_ctl(loop->epoll_fd, io->is_set_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, io->fd, &event))
		return -errno;
	io->is_set_ = true;
	return 0;
}

void gs_loop_io_clear(struct gs_loop *loop, struct gs_io *io)
{
	if (!io->is_set_)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	io->is_set_ = false;
	for (int i = loop->turn_at; i < loop->turn_count; i++)
		if (loop->turn[i].data.ptr == io)
			loop->turn[i].data.ptr = NULL;
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void place(struct gs_loop *loop, uint32_t at, struct heap_entry entry)
{
	loop->heap[at] = entry;
	entry.timer->heap_index_ = at;
}

static void sift_up(struct gs_loop *loop, uint32_t at, struct heap_entry entry)
{
	for (; at > 1 && loop->heap[at / 2].due_ms > entry.due_ms; at /= 2)
		place(loop, at, loop->heap[at / 2]);
	place(loop, at, entry);
}

static void sift_down(struct gs_loop *loop, uint32_t at, struct heap_entry entry)
{
	for (;;) {
		uint32_t child = 2 * at;

		if (child > loop->timer_count)
			break;
		if (child < loop->timer_count &&
		    loop->heap[child + 1].due_ms < loop->heap[child].due_ms)
			child++;
		if (loop->heap[child].due_ms >= entry.due_ms)
			break;
		place(loop, at, loop->heap[child]);
		at = child;
	}
	place(loop, at, entry);
}

/* Where there is room for it now. */
static void settle(struct gs_loop *loop, uint32_t at, struct heap_entry entry)
{
	if (at > 1 && loop->heap[at / 2].due_ms > entry.due_ms)
		sift_up(loop, at, entry);
	else
		sift_down(loop, at, entry);
}

void gs_loop_timer_clear(struct gs_loop *loop, struct gs_timer *timer)
{
	uint32_t at = timer->heap_index_;
	struct heap_entry last;

	if (at == 0)
		return;
	timer->heap_index_ = 0;
	last = loop->heap[loop->timer_count--];
	if (last.timer != timer)
		settle(loop, at, last);
}

static int make_room(struct gs_loop *loop)
{
	uint32_t room = loop->timer_room ? loop->timer_room * 2 : 64;
	struct heap_entry *heap;

	if (loop->timer_count + 1 < loop->timer_room)
		return 0;
	heap = realloc(loop->heap, room * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	loop->heap = heap;
	loop->timer_room = room;
	return 0;
}

int gs_loop_timer_set(struct gs_loop *loop, struct gs_timer *timer, uint32_t delay_ms)
{
	struct heap_entry entry = {.timer = timer};

	/* From the clock, not from the turn's start: a long turn must not shorten what follows. */
	entry.due_ms = timer->due_ms_ = gs_now_us() / 1000 + delay_ms;
	if (timer->heap_index_ != 0) {
		settle(loop, timer->heap_index_, entry);
		return 0;
	}
	if (make_room(loop))
		return -ENOMEM;
	sift_up(loop, ++loop->timer_count, entry);
	return 0;
}

static void run_timers(struct gs_loop *loop)
{
	uint64_t due_ms = loop->now_ms, until_us = gs_now_us() + TIMERS_US;

	while (!loop->stopping && loop->timer_count > 0 && loop->heap[1].due_ms <= due_ms) {
		struct gs_timer *timer = loop->heap[1].timer;
		void (*on_due)(struct gs_timer * timer) = timer->on_due; /* it may be gone after */
		uint64_t began_us = begin_call(loop);
		uint64_t late_ms = began_us / 1000 - timer->due_ms_;

		if (began_us >= until_us)
			return;
		if (late_ms > loop->lag_ms)
			loop->lag_ms = late_ms < UINT32_MAX ? (uint32_t)late_ms : UINT32_MAX;
		gs_loop_timer_clear(loop, timer);
		on_due(timer);
		end_call(loop, began_us, (const void *)on_due);
	}
}

/* Events of a turn: as soon as there are any, or the nearest timer is due. Their number, or -1. */
static int wait_turn(struct gs_loop *loop)
{
	uint64_t due_us, now_us, rest_us;
	struct timespec rest;

	if (loop->timer_count == 0)
		return epoll_wait(loop->epoll_fd, loop->turn, TURN_EVENTS, -1);
	due_us = loop->heap[1].due_ms * 1000;
	now_us = gs_now_us();
	rest_us = due_us > now_us ? due_us - now_us : 0;
	rest = (struct timespec){.tv_sec = (time_t)(rest_us / 1000000),
				 .tv_nsec = (long)(rest_us % 1000000) * 1000};
	return epoll_pwait2(loop->epoll_fd, loop->turn, TURN_EVENTS, &rest, NULL);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signalfd(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_loop *loop = io->context;
	struct signalfd_siginfo info;

	(void)epoll_events;
	while (read(io->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		for (unsigned int i = 0; i < loop->handler_count; i++)
			if (loop->handlers[i].signal == (int)info.ssi_signo)
				loop->handlers[i].on_signal((int)info.ssi_signo,
							    loop->handlers[i].context);
}

int gs_loop_signal(struct gs_loop *loop, int signal, void (*on_signal)(int signal, void *context),
		   void *context)
{
	sigset_t one;
	int err;

	if (loop->handler_count == SIGNALS_MAX)
		return -ENOSPC;
	sigemptyset(&one);
	if (sigaddset(&one, signal) || sigaddset(&loop->signals, signal))
		return -errno;
	err = pthread_sigmask(SIG_BLOCK, &one, NULL);
	if (err)
		return -err;
	if (signalfd(loop->signal_io.fd, &loop->signals, SFD_NONBLOCK | SFD_CLOEXEC) < 0)
		return -errno;
	loop->handlers[loop->handler_count++] = (struct signal_handler){
		.signal = signal,
		.on_signal = on_signal,
		.context = context,
	};
	return 0;
}

/* ---- the worker ------------------------------------------------------------------------------ */

static void append(struct gs_job **list, struct gs_job *job)
{
	while (*list)
		list = &(*list)->next_;
	job->next_ = NULL;
	*list = job;
}

static struct gs_job *take_first(struct gs_job **list)
{
	struct gs_job *job = *list;

	if (job)
		*list = job->next_;
	return job;
}

static void *work(void *context)
{
	struct gs_loop *loop = context;
	const uint64_t one = 1;

	pthread_mutex_lock(&loop->lock);
	while (!loop->worker_stop) {
		struct gs_job *job = take_first(&loop->waiting);

		if (!job) {
			pthread_cond_wait(&loop->wake, &loop->lock);
			continue;
		}
		pthread_mutex_unlock(&loop->lock);
		job->run(job);
		pthread_mutex_lock(&loop->lock);
		append(&loop->finished, job);
		if (write(loop->done_io.fd, &one, sizeof(one)) < 0) {
			/* full only at 2^64 - 2: the loop is told already */
		}
	}
	pthread_mutex_unlock(&loop->lock);
	return NULL;
}

static void on_done(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_loop *loop = io->context;
	uint64_t count;

	(void)epoll_events;
	if (read(io->fd, &count, sizeof(count)) < 0)
		return;
	for (;;) {
		void (*done)(struct gs_job * job);
		struct gs_job *job;
		uint64_t began_us;

		pthread_mutex_lock(&loop->lock);
		job = take_first(&loop->finished);
		pthread_mutex_unlock(&loop->lock);
		if (!job)
			return;
		done = job->done;
		began_us = begin_call(loop);
		done(job);
		end_call(loop, began_us, (const void *)done);
	}
}

void gs_loop_work(struct gs_loop *loop, struct gs_job *job)
{
	pthread_mutex_lock(&loop->lock);
	append(&loop->waiting, job);
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
}

/* Signals are the loop's: the worker is born with all of them blocked. */
static int start_worker(struct gs_loop *loop)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = pthread_create(&loop->worker, NULL, work, loop);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	loop->has_worker = err == 0;
	return -err;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int add_own(struct gs_loop *loop, struct gs_io *io, int fd,
		   void (*on_ready)(struct gs_io *io, uint32_t epoll_events))
{
	if (fd < 0)
		return -errno;
	*io = (struct gs_io){.fd = fd, .on_ready = on_ready, .context = loop};
	return gs_loop_io_set(loop, io, EPOLLIN);
}

static int open_all(struct gs_loop *loop)
{
	int err;

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	err = add_own(loop, &loop->signal_io,
		      signalfd(-1, &loop->signals, SFD_NONBLOCK | SFD_CLOEXEC), on_signalfd);
	if (err)
		return err;
	err = add_own(loop, &loop->done_io, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), on_done);
	if (err)
		return err;
	return start_worker(loop);
}

int gs_loop_new(struct gs_loop **ret_loop)
{
	struct gs_loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = loop->signal_io.fd = loop->done_io.fd = -1;
	sigemptyset(&loop->signals);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->wake, NULL);
	loop->now_ms = gs_now_us() / 1000;
	err = open_all(loop);
	if (err) {
		gs_loop_free(loop);
		return err;
	}
	*ret_loop = loop;
	return 0;
}

void gs_loop_end_worker(struct gs_loop *loop)
{
	if (!loop->has_worker)
		return;
	pthread_mutex_lock(&loop->lock);
	loop->worker_stop = true;
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
	pthread_join(loop->worker, NULL);
	loop->has_worker = false;
}

void gs_loop_free(struct gs_loop *loop)
{
	if (!loop)
		return;
	gs_loop_end_worker(loop);
	for (uint32_t i = 1; i <= loop->timer_count; i++)
		loop->heap[i].timer->heap_index_ = 0;
	gs_close_fd(&loop->signal_io.fd);
	gs_close_fd(&loop->done_io.fd);
	gs_close_fd(&loop->epoll_fd);
	pthread_cond_destroy(&loop->wake);
	pthread_mutex_destroy(&loop->lock);
	free(loop->heap);
	free(loop);
}

void gs_loop_stop(struct gs_loop *loop)
{
	loop->stopping = true;
}

static void call_ready(struct gs_loop *loop, struct gs_io *io, uint32_t epoll_events)
{
	void (*on_ready)(struct gs_io * io, uint32_t epoll_events) = io->on_ready;
	uint64_t began_us;

	/* The jobs that are done are measured one by one. */
	if (io == &loop->done_io) {
		on_ready(io, epoll_events);
		return;
	}
	began_us = begin_call(loop);
	on_ready(io, epoll_events);
	end_call(loop, began_us, (const void *)on_ready);
}

int gs_loop_run(struct gs_loop *loop)
{
	loop->stopping = false;
	read_cpu(loop);
	while (!loop->stopping) {
		int count = wait_turn(loop);

		if (count < 0 && errno != EINTR)
			return -errno;
		loop->now_ms = gs_now_us() / 1000;
		loop->turn_count = count > 0 ? count : 0;
		for (loop->turn_at = 0; loop->turn_at < loop->turn_count && !loop->stopping;) {
			struct epoll_event *event = &loop->turn[loop->turn_at++];
			struct gs_io *io = event->data.ptr;

			if (io)
				call_ready(loop, io, event->events);
		}
		loop->turn_count = 0;
		run_timers(loop);
	}
	return 0;
}
