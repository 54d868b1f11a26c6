/* SPDX-License-Identifier: Apache-2.0 */
/* The loop against its contract, and its timers against a sorted list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/cleanup.h"
#include "user/base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

enum { LIMIT_MS = 20000 };

struct fixture {
	struct gs_loop *loop;
	struct gs_timer limit;
	bool timed_out;
};

static void on_limit(struct gs_timer *timer)
{
	struct fixture *f = timer->context;

	f->timed_out = true;
	gs_loop_stop(f->loop);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->limit = (struct gs_timer){.on_due = on_limit, .context = f};
	return gs_loop_new(&f->loop);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	gs_loop_free(f->loop);
	free(f);
	return 0;
}

/* Until something stops it; nothing a test waits for takes LIMIT_MS. */
static void run(struct fixture *f)
{
	f->timed_out = false;
	assert_int_equal(gs_loop_timer_set(f->loop, &f->limit, LIMIT_MS), 0);
	assert_int_equal(gs_loop_run(f->loop), 0);
	gs_loop_timer_clear(f->loop, &f->limit);
	assert_false(f->timed_out);
}

/* ---- timers ---------------------------------------------------------------------------------- */

enum { TIMERS = 300 };

struct ordered {
	struct fixture *f;
	struct gs_timer timers[TIMERS];
	uint64_t due_us[TIMERS]; /* not before */
	bool is_set[TIMERS];
	int left;
	uint64_t last_due_ms;
};

static void on_ordered(struct gs_timer *timer)
{
	struct ordered *o = timer->context;
	ptrdiff_t i = timer - o->timers;

	assert_true(o->is_set[i]);
	assert_true(gs_now_us() >= o->due_us[i]);
	assert_true(timer->due_ms_ >= o->last_due_ms);
	o->last_due_ms = timer->due_ms_;
	o->is_set[i] = false;
	if (--o->left == 0)
		gs_loop_stop(o->f->loop);
}

/* Set, moved and cleared at random: each one that is set runs once, in order, not early. */
static void timers_run_in_order_and_not_early(void **state)
{
	struct ordered o = {.f = *state};
	uint64_t draw = gs_now_us() | 1;

	print_message("seed %lu\n", (unsigned long)draw);
	for (int i = 0; i < TIMERS; i++)
		o.timers[i] = (struct gs_timer){.on_due = on_ordered, .context = &o};
	for (int step = 0; step < 4 * TIMERS; step++) {
		uint32_t i, delay_ms;

		draw ^= draw << 13;
		draw ^= draw >> 7;
		draw ^= draw << 17;
		i = (uint32_t)(draw >> 20) % TIMERS;
		delay_ms = (uint32_t)(draw >> 40) % 40;
		if (draw % 4 == 0) {
			gs_loop_timer_clear(o.f->loop, &o.timers[i]);
			o.is_set[i] = false;
			continue;
		}
		o.due_us[i] = gs_now_us() / 1000 * 1000 + delay_ms * 1000;
		assert_int_equal(gs_loop_timer_set(o.f->loop, &o.timers[i], delay_ms), 0);
		o.is_set[i] = true;
	}
	for (int i = 0; i < TIMERS; i++)
		o.left += o.is_set[i];
	assert_true(o.left > 0);
	run(o.f);
	for (int i = 0; i < TIMERS; i++)
		assert_false(o.is_set[i]);
}

struct again {
	struct fixture *f;
	struct gs_timer timer, other;
	int count;
};

static void on_again(struct gs_timer *timer)
{
	struct again *a = timer->context;

	if (++a->count == 50)
		gs_loop_stop(a->f->loop);
	gs_loop_timer_set(a->f->loop, timer, 0);
}

static void on_never(struct gs_timer *timer)
{
	(void)timer;
	fail_msg("a cleared timer ran");
}

/* A timer that sets itself at once again starves nobody, and may be cleared from outside. */
static void a_timer_may_set_itself(void **state)
{
	struct again a = {.f = *state};

	a.timer = (struct gs_timer){.on_due = on_again, .context = &a};
	a.other = (struct gs_timer){.on_due = on_never, .context = &a};
	gs_loop_timer_set(a.f->loop, &a.timer, 0);
	gs_loop_timer_set(a.f->loop, &a.other, 0);
	gs_loop_timer_clear(a.f->loop, &a.other);
	gs_loop_timer_clear(a.f->loop, &a.other);
	run(a.f);
	gs_loop_timer_clear(a.f->loop, &a.timer);
	assert_int_equal(a.count, 50);
}

static void on_slow(struct gs_timer *timer)
{
	struct again *a = timer->context;
	uint64_t start = gs_now_us();

	while (gs_now_us() - start < 30000)
		continue;
	if (timer == &a->other)
		gs_loop_stop(a->f->loop);
}

/* Two at once, the first takes 30 ms: the second is at least that late. */
static void lag_is_seen_and_taken(void **state)
{
	struct again a = {.f = *state};

	a.timer = (struct gs_timer){.on_due = on_slow, .context = &a};
	a.other = (struct gs_timer){.on_due = on_slow, .context = &a};
	gs_loop_timer_set(a.f->loop, &a.timer, 1);
	gs_loop_timer_set(a.f->loop, &a.other, 2);
	run(a.f);
	assert_true(gs_loop_take_lag_ms(a.f->loop) >= 28);
	assert_int_equal(gs_loop_take_lag_ms(a.f->loop), 0);
}

enum { CROWD = 20 };

struct crowd {
	struct fixture *f;
	struct gs_timer timers[CROWD];
	struct gs_io io;
	int write_fd;
	int ran, ran_before_io; /* timers */
};

static void on_crowd(struct gs_timer *timer)
{
	struct crowd *c = timer->context;
	uint64_t start = gs_now_us();

	if (c->ran++ == 0)
		assert_int_equal(write(c->write_fd, "x", 1), 1);
	while (gs_now_us() - start < 4000)
		continue;
	if (c->ran == CROWD)
		gs_loop_stop(c->f->loop);
}

static void on_crowd_io(struct gs_io *io, uint32_t epoll_events)
{
	struct crowd *c = io->context;

	(void)epoll_events;
	c->ran_before_io = c->ran;
	gs_loop_io_clear(c->f->loop, io);
}

/* 80 ms of timers are due at once; a descriptor that is ready after the first waits for few of
 * them.
 */
static void a_crowd_of_timers_lets_others_in(void **state)
{
	struct crowd c = {.f = *state};
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	c.write_fd = fds[1];
	c.io = (struct gs_io){.fd = fds[0], .on_ready = on_crowd_io, .context = &c};
	assert_int_equal(gs_loop_io_set(c.f->loop, &c.io, EPOLLIN), 0);
	for (int i = 0; i < CROWD; i++) {
		c.timers[i] = (struct gs_timer){.on_due = on_crowd, .context = &c};
		gs_loop_timer_set(c.f->loop, &c.timers[i], 1);
	}
	run(c.f);
	assert_int_equal(c.ran, CROWD);
	assert_in_range(c.ran_before_io, 1, 4);
	close(fds[0]);
	close(fds[1]);
}

/* A callback that computes for 30 ms is a stall, one of none is not; both have their bucket. */
static void long_callbacks_are_counted(void **state)
{
	struct again a = {.f = *state};
	const struct gs_loop_calls *calls = gs_loop_calls(a.f->loop);
	uint64_t count = 0, over = 0;

	a.timer = (struct gs_timer){.on_due = on_again, .context = &a};
	gs_loop_timer_set(a.f->loop, &a.timer, 1);
	run(a.f);
	assert_int_equal(calls->stalls, 0);
	a.other = (struct gs_timer){.on_due = on_slow, .context = &a};
	gs_loop_timer_set(a.f->loop, &a.other, 1);
	run(a.f);
	gs_loop_timer_clear(a.f->loop, &a.timer);
	assert_true(calls->stalls >= 1);
	assert_true(calls->worst_us >= 30000);
	assert_true(calls->worst_cpu_us > 0 && calls->worst_cpu_us <= calls->worst_us + 1000);
	for (int b = 0; b < GS_LOOP_TOOK_BUCKETS; b++) {
		count += calls->took[b];
		over += b > 4 ? calls->took[b] : 0; /* past 20 ms */
	}
	assert_int_equal(over, calls->stalls);
	assert_true(count > over);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

struct pipes {
	struct fixture *f;
	struct gs_io io[2];
	int write_fd[2];
	int calls;
};

/* Whoever comes first clears the other: the other must not be called in the same turn. */
static void on_pipe(struct gs_io *io, uint32_t epoll_events)
{
	struct pipes *p = io->context;

	assert_true(epoll_events & EPOLLIN);
	p->calls++;
	gs_loop_io_clear(p->f->loop, &p->io[0]);
	gs_loop_io_clear(p->f->loop, &p->io[1]);
	gs_loop_stop(p->f->loop);
}

static void a_cleared_descriptor_is_not_called(void **state)
{
	struct pipes p = {.f = *state};

	for (int i = 0; i < 2; i++) {
		int fds[2];

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		p.io[i] = (struct gs_io){.fd = fds[0], .on_ready = on_pipe, .context = &p};
		p.write_fd[i] = fds[1];
		assert_int_equal(gs_loop_io_set(p.f->loop, &p.io[i], EPOLLIN), 0);
		assert_int_equal(write(fds[1], "x", 1), 1);
	}
	run(p.f);
	assert_int_equal(p.calls, 1);
	gs_loop_io_clear(p.f->loop, &p.io[0]);
	for (int i = 0; i < 2; i++) {
		close(p.io[i].fd);
		close(p.write_fd[i]);
	}
}

static void a_bad_descriptor_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct gs_io io = {.fd = -1, .on_ready = on_pipe};

	assert_int_equal(gs_loop_io_set(f->loop, &io, EPOLLIN), -EBADF);
	gs_loop_io_clear(f->loop, &io);
}

/* ---- signals --------------------------------------------------------------------------------- */

struct heard {
	struct fixture *f;
	int hup, usr1;
};

static void on_signal(int signal, void *context)
{
	struct heard *heard = context;

	heard->hup += signal == SIGHUP;
	heard->usr1 += signal == SIGUSR1;
	if (heard->hup && heard->usr1)
		gs_loop_stop(heard->f->loop);
}

static void signals_come_on_the_loop(void **state)
{
	struct heard heard = {.f = *state};

	assert_int_equal(gs_loop_signal(heard.f->loop, SIGHUP, on_signal, &heard), 0);
	assert_int_equal(gs_loop_signal(heard.f->loop, SIGUSR1, on_signal, &heard), 0);
	assert_int_equal(kill(getpid(), SIGHUP), 0);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	run(heard.f);
	assert_int_equal(heard.hup, 1);
	assert_int_equal(heard.usr1, 1);
	assert_int_equal(gs_loop_signal(heard.f->loop, 12345, on_signal, &heard), -EINVAL);
	for (int i = 2; i < 8; i++)
		assert_int_equal(gs_loop_signal(heard.f->loop, SIGUSR2, on_signal, &heard), 0);
	assert_int_equal(gs_loop_signal(heard.f->loop, SIGUSR2, on_signal, &heard), -ENOSPC);
}

/* ---- the worker ------------------------------------------------------------------------------ */

enum { JOBS = 64 };

struct works {
	struct fixture *f;
	pthread_t loop_thread;
	struct gs_job jobs[JOBS];
	int ran, done;
};

static void run_job(struct gs_job *job)
{
	struct works *w = job->context;

	assert_int_equal(job - w->jobs, w->ran); /* in order, one at a time */
	assert_false(pthread_equal(pthread_self(), w->loop_thread));
	w->ran++;
}

static void job_done(struct gs_job *job)
{
	struct works *w = job->context;

	assert_int_equal(job - w->jobs, w->done);
	assert_true(pthread_equal(pthread_self(), w->loop_thread));
	if (++w->done == JOBS)
		gs_loop_stop(w->f->loop);
	else if (w->done < JOBS / 2) /* jobs come from jobs' ends, too */
		gs_loop_work(w->f->loop, &w->jobs[JOBS / 2 + w->done]);
}

static void jobs_run_in_order_on_one_worker(void **state)
{
	struct works w = {.f = *state, .loop_thread = pthread_self()};

	for (int i = 0; i < JOBS; i++)
		w.jobs[i] = (struct gs_job){.run = run_job, .done = job_done, .context = &w};
	for (int i = 0; i <= JOBS / 2; i++)
		gs_loop_work(w.f->loop, &w.jobs[i]);
	run(w.f);
	assert_int_equal(w.done, JOBS);
}

struct slow {
	struct gs_job job, next;
	int gate[2];
	bool finished;
};

static void run_slow(struct gs_job *job)
{
	struct slow *s = job->context;
	char byte;

	assert_int_equal(read(s->gate[0], &byte, 1), 1);
	__atomic_store_n(&s->finished, true, __ATOMIC_RELEASE);
}

static void run_never(struct gs_job *job)
{
	(void)job;
	fail_msg("a job that had not begun was run");
}

static void never_done(struct gs_job *job)
{
	(void)job;
	fail_msg("done() after the end");
}

/*
 * Ending waits for the job under way and drops the next one. The gate is opened by the loop's own
 * thread before it waits, so that the worker may be anywhere in the first job.
 */
static void the_end_waits_for_the_job_under_way(void **state)
{
	struct fixture *f = *state;
	struct slow s = {.finished = false};

	assert_int_equal(pipe2(s.gate, O_CLOEXEC), 0);
	s.job = (struct gs_job){.run = run_slow, .done = never_done, .context = &s};
	gs_loop_work(f->loop, &s.job);
	assert_int_equal(write(s.gate[1], "x", 1), 1);
	while (!__atomic_load_n(&s.finished, __ATOMIC_ACQUIRE))
		sched_yield();
	gs_loop_end_worker(f->loop);
	s.next = (struct gs_job){.run = run_never, .done = never_done, .context = &s};
	gs_loop_work(f->loop, &s.next);
	gs_loop_end_worker(f->loop);
	gs_loop_free(f->loop);
	f->loop = NULL;
	close(s.gate[0]);
	close(s.gate[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_run_in_order_and_not_early, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_timer_may_set_itself, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lag_is_seen_and_taken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_crowd_of_timers_lets_others_in, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(long_callbacks_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cleared_descriptor_is_not_called, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_bad_descriptor_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(signals_come_on_the_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(jobs_run_in_order_on_one_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_end_waits_for_the_job_under_way, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
