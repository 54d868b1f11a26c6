/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread for what may wait for a disk: files of CAs, programs to be started. Not the loop's
 * worker, which may be busy with a GeoIP file just when a probe is due.
 */
#pragma once

#include "user/base/loop.h"

struct gs_errands;

/* Caller's storage, until done. */
struct gs_errand {
	void (*run)(struct gs_errand *errand); /* on the thread */
	/* On the loop. is_over: the errands are being freed, and it may not even have run. */
	void (*done)(struct gs_errand *errand, bool is_over);
	struct gs_errand *next_;
};

/* 0 or -errno. The thread starts with the first errand. */
int gs_errands_new(struct gs_loop *loop, struct gs_errands **ret_errands);
/* One after the other, in order. 0, or -errno: no thread; then done() is not called. */
int gs_errands_add(struct gs_errands *errands, struct gs_errand *errand);
/* Waits for the one that is running; every other's done() is called, too. NULL is fine. */
void gs_errands_free(struct gs_errands *errands);
