// SPDX-License-Identifier: Apache-2.0
#include "user/adapters/pg_attempt.h"

#include "user/adapters/pg_connection.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Two owners, the loop and the thread: whoever lets go last frees it. */
struct gs_pg_attempt {
	pthread_mutex_t lock;
	bool is_let_go; /* by one of them */
	int fd;
	char *conninfo;
	char *application;
	PGconn *connection;
};

static void free_attempt(struct gs_pg_attempt *attempt)
{
	if (attempt->fd >= 0)
		close(attempt->fd);
	PQfinish(attempt->connection);
	free(attempt->conninfo);
	free(attempt->application);
	pthread_mutex_destroy(&attempt->lock);
	free(attempt);
}

static void let_go(struct gs_pg_attempt *attempt)
{
	bool is_last;

	pthread_mutex_lock(&attempt->lock);
	is_last = attempt->is_let_go;
	attempt->is_let_go = true;
	pthread_mutex_unlock(&attempt->lock);
	if (is_last)
		free_attempt(attempt);
}

static void *attempt_connection(void *context)
{
	struct gs_pg_attempt *attempt = context;
	struct gs_pg_parameters parameters;
	const uint64_t one = 1;
	PGconn *connection;

	gs_pg_parameters_fill(attempt->conninfo, attempt->application, &parameters);
	connection = PQconnectdbParams(parameters.keywords, parameters.values, 1);
	pthread_mutex_lock(&attempt->lock);
	attempt->connection = connection;
	if (write(attempt->fd, &one, sizeof(one)) < 0) {
		/* Full only at 2^64 - 2. */
	}
	pthread_mutex_unlock(&attempt->lock);
	let_go(attempt);
	return NULL;
}

static int start_thread(struct gs_pg_attempt *attempt)
{
	sigset_t all, before;
	pthread_attr_t detached;
	pthread_t thread;
	int err;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	/* Signals are the loop's: the thread is born with all of them blocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = pthread_create(&thread, &detached, attempt_connection, attempt);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&detached);
	return -err;
}

int gs_pg_attempt_start(const char *conninfo, const char *application,
			struct gs_pg_attempt **ret_attempt, int *ret_fd)
{
	struct gs_pg_attempt *attempt = calloc(1, sizeof(*attempt));
	int fd, ret;

	if (!attempt)
		return -ENOMEM;
	pthread_mutex_init(&attempt->lock, NULL);
	attempt->fd = fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	attempt->conninfo = strdup(conninfo);
	attempt->application = strdup(application);
	if (fd < 0 || !attempt->conninfo || !attempt->application) {
		free_attempt(attempt);
		return fd < 0 ? -EMFILE : -ENOMEM;
	}
	ret = start_thread(attempt);
	if (ret) {
		free_attempt(attempt);
		return ret;
	}
	*ret_attempt = attempt;
	*ret_fd = fd;
	return 0;
}

PGconn *gs_pg_attempt_finish(struct gs_pg_attempt *attempt)
{
	PGconn *connection;

	pthread_mutex_lock(&attempt->lock);
	connection = attempt->connection;
	attempt->connection = NULL;
	pthread_mutex_unlock(&attempt->lock);
	let_go(attempt);
	return connection;
}

void gs_pg_attempt_abandon(struct gs_pg_attempt *attempt)
{
	if (attempt)
		let_go(attempt);
}
