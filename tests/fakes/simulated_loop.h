/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop of simulated time. It is code, for one .c file of a program to include: it defines the
 * functions of base/loop.h itself, so the linker takes these and not base/loop.c. Timers only, and
 * descriptors that a test makes ready itself; with SIMULATED_WORKER defined, jobs, too.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/base/loop.h"

enum { TIMERS_MAX = 8192 };

struct gs_loop {
	uint64_t now_ms;
	uint32_t lag_ms;
	uint32_t count; /* timers set; heap_index_ is their place + 1 */
	struct gs_timer *timers[TIMERS_MAX];
	int timer_error;     /* < 0: the next gs_loop_timer_set fails */
	struct gs_io *io;    /* the one that is set; NULL: none */
	struct gs_job *jobs; /* given, in any order; done before time goes on */
	struct gs_loop_calls calls;
	/* Instead of timer->on_due(timer), which it calls; NULL: nobody looks on. */
	void (*call)(struct gs_loop *loop, struct gs_timer *timer);
};

/* The wall clock goes on with the loop's time; tests may make it jump. */
static int64_t wall_ms = 1795600000000;

int64_t gs_unix_ms(void)
{
	return wall_ms;
}

uint64_t gs_loop_now_ms(const struct gs_loop *loop)
{
	return loop->now_ms;
}

const uint32_t gs_loop_took_ms[GS_LOOP_TOOK_BUCKETS] = {1, 2, 5, 10, 20, 50, 100, 0};

const struct gs_loop_calls *gs_loop_calls(const struct gs_loop *loop)
{
	return &loop->calls;
}

uint32_t gs_loop_take_lag_ms(struct gs_loop *loop)
{
	uint32_t lag_ms = loop->lag_ms;

	loop->lag_ms = 0;
	return lag_ms;
}

void gs_loop_timer_clear(struct gs_loop *loop, struct gs_timer *timer)
{
	uint32_t at = timer->heap_index_;

	if (at == 0)
		return;
	loop->timers[at - 1] = loop->timers[--loop->count];
	loop->timers[at - 1]->heap_index_ = at;
	timer->heap_index_ = 0;
}

int gs_loop_timer_set(struct gs_loop *loop, struct gs_timer *timer, uint32_t delay_ms)
{
	if (loop->timer_error) {
		int ret = loop->timer_error;

		loop->timer_error = 0;
		return ret;
	}
	gs_loop_timer_clear(loop, timer);
	assert_true(loop->count < TIMERS_MAX);
	timer->due_ms_ = loop->now_ms + delay_ms;
	loop->timers[loop->count++] = timer;
	timer->heap_index_ = loop->count;
	return 0;
}

int gs_loop_io_set(struct gs_loop *loop, struct gs_io *io, uint32_t epoll_events)
{
	(void)epoll_events;
	assert_true(!loop->io || loop->io == io);
	loop->io = io;
	return 0;
}

void gs_loop_io_clear(struct gs_loop *loop, struct gs_io *io)
{
	if (loop->io == io)
		loop->io = NULL;
}

/* For those who have a worker of their own, this one is in the way. */
#ifdef SIMULATED_WORKER
uint64_t gs_now_us(void)
{
	return (uint64_t)wall_ms * 1000;
}

void gs_loop_work(struct gs_loop *loop, struct gs_job *job)
{
	job->next_ = loop->jobs;
	loop->jobs = job;
}
#endif

/* The worker takes no time. */
static inline void do_jobs(struct gs_loop *loop)
{
	while (loop->jobs) {
		struct gs_job *job = loop->jobs;

		loop->jobs = job->next_;
		job->run(job);
		job->done(job);
	}
}

static inline void move_clocks(struct gs_loop *loop, uint64_t now_ms)
{
	wall_ms += (int64_t)(now_ms - loop->now_ms);
	loop->now_ms = now_ms;
}

/* Runs what is due up to and including until_ms, and leaves the clock there. */
static inline void run_until(struct gs_loop *loop, uint64_t until_ms)
{
	for (;;) {
		struct gs_timer *first = NULL;

		do_jobs(loop);
		for (uint32_t i = 0; i < loop->count; i++)
			if (!first || loop->timers[i]->due_ms_ < first->due_ms_)
				first = loop->timers[i];
		if (!first || first->due_ms_ > until_ms)
			break;
		if (loop->now_ms < first->due_ms_)
			move_clocks(loop, first->due_ms_);
		if (loop->now_ms - first->due_ms_ > loop->lag_ms)
			loop->lag_ms = (uint32_t)(loop->now_ms - first->due_ms_);
		gs_loop_timer_clear(loop, first);
		if (loop->call)
			loop->call(loop, first);
		else
			first->on_due(first);
	}
	if (loop->now_ms < until_ms)
		move_clocks(loop, until_ms);
}

static inline void run_for(struct gs_loop *loop, uint64_t ms)
{
	run_until(loop, loop->now_ms + ms);
}

/* The loop is stuck in something else; what falls due meanwhile comes late. */
static inline void stall_for(struct gs_loop *loop, uint64_t ms)
{
	move_clocks(loop, loop->now_ms + ms);
	run_until(loop, loop->now_ms);
}
