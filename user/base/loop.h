/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one event loop (epoll, signalfd) and its one worker thread. Everything except jobs'
 * run() happens on the loop's thread. Callbacks may add and remove anything, themselves included.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct gs_loop;

/* Caller's storage; must stay where it is while it is set. */
struct gs_io {
	int fd; /* not owned */
	void (*on_ready)(struct gs_io *io, uint32_t epoll_events);
	void *context;
	bool is_set_; /* the loop's own */
};

struct gs_timer {
	void (*on_due)(struct gs_timer *timer);
	void *context;
	uint64_t due_ms_;     /* the loop's own */
	uint32_t heap_index_; /* 0: not set */
};

/* run() on the worker, then done() on the loop. Jobs run one after the other, in order. */
struct gs_job {
	void (*run)(struct gs_job *job);
	void (*done)(struct gs_job *job);
	void *context;
	struct gs_job *next_;
};

int gs_loop_new(struct gs_loop **ret_loop);
/*
 * Waits for the job that is running and ends the worker; neither that job nor those not yet begun
 * get their done(). For those who must free what a job reads.
 */
void gs_loop_end_worker(struct gs_loop *loop);
/* Ends the worker first. NULL is fine. */
void gs_loop_free(struct gs_loop *loop);
/* Until gs_loop_stop. 0 or -errno. Of timers that are due at once descriptors wait for 10 ms at
 * most, and for the one that runs then. */
int gs_loop_run(struct gs_loop *loop);
void gs_loop_stop(struct gs_loop *loop);

/* CLOCK_MONOTONIC, read once a turn. */
uint64_t gs_loop_now_ms(const struct gs_loop *loop);
/* CLOCK_MONOTONIC, read now. */
uint64_t gs_now_us(void);
/* CLOCK_REALTIME, read now: for what people and databases are told. It may jump. */
int64_t gs_unix_ms(void);
/* Worst delay between a timer's due time and its call since last asked, ms: the loop's own lag. */
uint32_t gs_loop_take_lag_ms(struct gs_loop *loop);

/*
 * How long callbacks kept the loop from everything else, since it began. A stall is one that took
 * more than GS_LOOP_STALL_MS of time; its cpu_us says whether it computed or waited (for a disk, or
 * for a processor that others had).
 */
enum { GS_LOOP_STALL_MS = 20, GS_LOOP_TOOK_BUCKETS = 8 };
extern const uint32_t
	gs_loop_took_ms[GS_LOOP_TOOK_BUCKETS]; /* upper bounds; the last has none: 0 */

struct gs_loop_calls {
	uint64_t took[GS_LOOP_TOOK_BUCKETS]; /* how many took so long */
	uint64_t total_us;
	/* Not of the same call, as a rule. Processor time is right to a millisecond or two: of
	 * calls that took less than one it is the time they took. */
	uint32_t worst_us, worst_cpu_us;
	uint64_t stalls;
};
/* Lives as long as the loop. */
const struct gs_loop_calls *gs_loop_calls(const struct gs_loop *loop);

/* EPOLLIN, for those who have no business with epoll. */
#define GS_LOOP_READABLE 0x001u
/* epoll_events: EPOLLIN ...; sets or changes. 0 or -errno. */
int gs_loop_io_set(struct gs_loop *loop, struct gs_io *io, uint32_t epoll_events);
/* Before the fd is closed. Harmless if not set. */
void gs_loop_io_clear(struct gs_loop *loop, struct gs_io *io);

/* One shot; setting again moves it. -ENOMEM or 0. */
int gs_loop_timer_set(struct gs_loop *loop, struct gs_timer *timer, uint32_t delay_ms);
void gs_loop_timer_clear(struct gs_loop *loop, struct gs_timer *timer);

/* At most 8 signals; blocks the signal in this thread. */
int gs_loop_signal(struct gs_loop *loop, int signal, void (*on_signal)(int signal, void *context),
		   void *context);

void gs_loop_work(struct gs_loop *loop, struct gs_job *job);
