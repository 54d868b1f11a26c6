/* SPDX-License-Identifier: Apache-2.0 */
#include "probe_errand.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct queue {
	struct gs_errand *first, **end;
};

struct gs_errands {
	struct gs_loop *loop;
	struct gs_io io; /* the eventfd: some are done */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool has_thread;
	bool is_over;
	struct queue todo, done; /* under the lock */
};

static void push(struct queue *queue, struct gs_errand *errand)
{
	errand->next_ = NULL;
	*queue->end = errand;
	queue->end = &errand->next_;
}

static struct gs_errand *pop(struct queue *queue)
{
	struct gs_errand *errand = queue->first;

	if (!errand)
		return NULL;
	queue->first = errand->next_;
	if (!queue->first)
		queue->end = &queue->first;
	return errand;
}

static void *run(void *context)
{
	struct gs_errands *errands = context;
	const uint64_t one = 1;

	pthread_mutex_lock(&errands->lock);
	while (!errands->is_over) {
		struct gs_errand *errand = pop(&errands->todo);

		if (!errand) {
			pthread_cond_wait(&errands->changed, &errands->lock);
			continue;
		}
		pthread_mutex_unlock(&errands->lock);
		errand->run(errand);
		pthread_mutex_lock(&errands->lock);
		push(&errands->done, errand);
		if (write(errands->io.fd, &one, sizeof(one)) < 0) {
			/* Full only at 2^64 - 2. */
		}
	}
	pthread_mutex_unlock(&errands->lock);
	return NULL;
}

static struct gs_errand *pop_done(struct gs_errands *errands)
{
	struct gs_errand *errand;

	pthread_mutex_lock(&errands->lock);
	errand = pop(&errands->done);
	pthread_mutex_unlock(&errands->lock);
	return errand;
}

static void on_done(struct gs_io *io, uint32_t epoll_events)
{
	struct gs_errands *errands = io->context;
	struct gs_errand *errand;
	uint64_t count;

	(void)epoll_events;
	if (read(io->fd, &count, sizeof(count)) < 0)
		return;
	while ((errand = pop_done(errands)))
		errand->done(errand, false);
}

int gs_errands_new(struct gs_loop *loop, struct gs_errands **ret_errands)
{
	struct gs_errands *errands = calloc(1, sizeof(*errands));
	int ret;

	if (!errands)
		return -ENOMEM;
	errands->loop = loop;
	errands->todo.end = &errands->todo.first;
	errands->done.end = &errands->done.first;
	errands->io = (struct gs_io){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
				     .on_ready = on_done,
				     .context = errands};
	ret = errands->io.fd < 0 ? -errno : gs_loop_io_set(loop, &errands->io, GS_LOOP_READABLE);
	if (ret) {
		if (errands->io.fd >= 0)
			close(errands->io.fd);
		free(errands);
		return ret;
	}
	pthread_mutex_init(&errands->lock, NULL);
	pthread_cond_init(&errands->changed, NULL);
	*ret_errands = errands;
	return 0;
}

/* Signals are the loop's: the thread is born with all of them blocked. */
static int start_thread(struct gs_errands *errands)
{
	sigset_t all, before;
	int err;

	if (errands->has_thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = pthread_create(&errands->thread, NULL, run, errands);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errands->has_thread = err == 0;
	return -err;
}

int gs_errands_add(struct gs_errands *errands, struct gs_errand *errand)
{
	int ret = start_thread(errands);

	if (ret)
		return ret;
	pthread_mutex_lock(&errands->lock);
	push(&errands->todo, errand);
	pthread_cond_signal(&errands->changed);
	pthread_mutex_unlock(&errands->lock);
	return 0;
}

void gs_errands_free(struct gs_errands *errands)
{
	struct gs_errand *errand;

	if (!errands)
		return;
	pthread_mutex_lock(&errands->lock);
	errands->is_over = true;
	pthread_cond_signal(&errands->changed);
	pthread_mutex_unlock(&errands->lock);
	if (errands->has_thread)
		pthread_join(errands->thread, NULL);
	while ((errand = pop(&errands->done)) || (errand = pop(&errands->todo)))
		errand->done(errand, true);
	gs_loop_io_clear(errands->loop, &errands->io);
	close(errands->io.fd);
	pthread_mutex_destroy(&errands->lock);
	pthread_cond_destroy(&errands->changed);
	free(errands);
}
